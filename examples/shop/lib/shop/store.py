"""data/shop.db: the orders and the stock.

It changes when an order comes in and at no other time. Starting, stopping and asking for
health leave its content alone, so two equal digests mean that nothing was sold.
"""
import json
import sqlite3

SCHEMA = """
create table products(sku text primary key, stock integer not null check(stock >= 0));
create table orders(id integer primary key, time text not null, country text not null,
                    total_cents integer not null, lines text not null);
create index orders_by_time on orders(time);
"""


class SoldOut(Exception):
    """Not enough of something on the shelf."""


class Store:
    """One connection for all writing; the caller sees to it that orders come one at a time."""

    def __init__(self, path):
        self.path = path
        self.db = None

    def connected(self):
        # mode=rw: a database that is gone must be missed, not silently made anew.
        if self.db is None:
            db = sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True, timeout=5,
                                 isolation_level=None, check_same_thread=False)
            db.execute("pragma synchronous = normal")  # a power cut may cost an order, never the database
            self.db = db
        return self.db

    def place(self, order, restock):
        """Takes the goods off the shelf, files the order; its id and what was restocked. All or nothing."""
        try:
            db = self.connected()
            db.execute("begin immediate")
            try:
                restocked = [self.take(db, line, restock) for line in order["lines"]]
                row = db.execute("insert into orders(time, country, total_cents, lines) values(?, ?, ?, ?)",
                                 (order["time"], order["country"], order["total_cents"], json.dumps(order["lines"])))
                db.execute("commit")
                return row.lastrowid, sum(restocked)
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise
        except sqlite3.DatabaseError:
            self.close()  # do not trust what this connection remembers of a damaged file
            raise

    @staticmethod
    def take(db, line, restock):
        row = db.execute("select stock from products where sku = ?", (line["sku"],)).fetchone()
        left = (row[0] if row else 0) - line["quantity"]
        again = bool(restock) and left < restock["below"]
        if again:
            left += restock["add"]
        if left < 0:
            raise SoldOut(f"only {left + line['quantity']} of {line['sku']} left")
        db.execute("update products set stock = ? where sku = ?", (left, line["sku"]))
        return again

    def totals(self):
        """Number and value of all orders."""
        count, cents = self.connected().execute("select count(*), coalesce(sum(total_cents), 0) from orders").fetchone()
        return {"orders": count, "total_cents": cents}

    def close(self):
        """The last one out moves the log into the database file."""
        if self.db is not None:
            try:
                self.db.execute("pragma wal_checkpoint(truncate)")
                self.db.close()
            except sqlite3.Error:
                pass  # a damaged file: nothing that closing could save
            self.db = None


def integrity(path):
    """(True, False or None for "cannot tell", why), of the file on disk.

    A connection of its own each time: the long-lived one would answer from its cache.
    "Busy" is not "damaged": a false alarm here would roll the whole shop back.
    """
    try:
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1)
        try:
            found = db.execute("pragma quick_check(1)").fetchone()[0]
            if found == "ok":
                db.execute("select max(id) from orders").fetchone()
                db.execute("select max(stock) from products").fetchone()
            return found == "ok", " ".join(found.split())
        finally:
            db.close()
    except sqlite3.Error as error:
        busy = "locked" in str(error) or ("unable to open" in str(error) and path.exists())
        return (None if busy else False), str(error)
