"""The shop: a small real service to snapshot, break and roll back.

files      atomic JSON files, locks, the time
config     config/*.json: read, checked, optimizations applied
modules    code in modules/<id>/, loaded while running, errors counted, faults contained
store      data/shop.db: orders and stock
service    what the shop does: orders, health, reload
server     the same over HTTP, from start to SIGTERM
control    start, stop and ask the running service
commands   the words of bin/shop; setup, breakage: making an instance, spoiling it

Uses point only upward in this list.
"""
