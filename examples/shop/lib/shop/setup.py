"""Making an instance: code, settings and a little history, the same bytes each time but for the port."""
import json
import os
import random
import shutil
import socket
import sqlite3

from . import files, store
from .files import Problem

CODE = ("bin", "lib", "modules")
ORDERS = 600  # of the past: enough for a database with a middle to damage


def setup(source, dest, port=None):
    """Makes DEST, absent or an empty folder, a shop that can be started; returns its port."""
    template = source / "template"
    if not template.is_dir():
        raise Problem(f"{source} is an instance itself: set up from examples/shop")
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise Problem(f"{dest} is not an empty folder")
    dest.mkdir(parents=True, exist_ok=True)
    port = port or free_port()

    leave = shutil.ignore_patterns("__pycache__", ".*")
    for name in CODE:
        shutil.copytree(source / name, dest / name, ignore=leave)
    for name in ("config", "data"):
        shutil.copytree(template / name, dest / name, ignore=leave)
    for name in ("data/metrics", "data/checkout", "data/recommend", "logs", "run"):
        (dest / name).mkdir(exist_ok=True)

    settings = files.read_json(dest / "config" / "shop.json")
    settings["port"] = port
    files.write_json(dest / "config" / "shop.json", settings)
    words = {"@PORT@": str(port), "@STORE@": json.dumps(str(dest.with_name(dest.name + "-store")), ensure_ascii=False)}
    toml = (template / "eco.toml").read_text(encoding="utf-8")
    for word, value in words.items():
        toml = toml.replace(word, value)
    files.replace(dest / "eco.toml", toml)
    history(dest, files.read_json(dest / "data" / "catalog" / "products.json"))
    tidy(dest)
    return port


def free_port():
    """A port that nobody listens on, below the range from which outgoing connections take theirs."""
    for port in random.SystemRandom().sample(range(10000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Problem("no free port found; name one with --port")


def history(dest, products):
    """Past orders, the receipts for them, and what was bought together."""
    rng = random.Random(1)
    pairs = {}
    with open(dest / "data" / "checkout" / "receipts.jsonl", "w", encoding="utf-8") as receipts:
        orders = [past_order(rng, number, products, pairs, receipts) for number in range(1, ORDERS + 1)]
    files.replace(dest / "data" / "recommend" / "pairs.json", json.dumps(pairs, sort_keys=True) + "\n")

    db = sqlite3.connect(dest / "data" / "shop.db")
    db.execute("pragma page_size = 4096")
    db.execute("pragma journal_mode = wal")
    db.executescript(store.SCHEMA)
    db.executemany("insert into products values(?, ?)", [(product["sku"], 60) for product in products])
    db.executemany("insert into orders values(?, ?, ?, ?, ?)", orders)
    db.commit()
    db.execute("pragma wal_checkpoint(truncate)")
    db.close()


def past_order(rng, number, products, pairs, receipts):
    """One row of `orders`: every quarter of an hour somebody bought something."""
    time = f"2026-01-{1 + number // 96:02d}T{number // 4 % 24:02d}:{number % 4 * 15:02d}:00.000Z"
    chosen = sorted(rng.sample(products, rng.randint(1, 4)), key=lambda product: product["sku"])
    lines = [{**product, "quantity": rng.randint(1, 6)} for product in chosen]
    total = sum(line["price_cents"] * line["quantity"] for line in lines)
    country = rng.choice(["DE", "DE", "AT", "FR", "NL"])
    for one in chosen:
        for other in chosen:
            if one is not other:
                counts = pairs.setdefault(one["sku"], {})
                counts[other["sku"]] = counts.get(other["sku"], 0) + 1
    receipts.write(json.dumps({"order": number, "time": time, "country": country, "total_cents": total,
                               "tax_cents": round(total - total / 1.19)}) + "\n")
    return number, time, country, total, json.dumps(lines)


def tidy(dest):
    """Nobody but the owner may change anything, whatever the umask and the checkout say: eco.toml names commands."""
    for folder, _, names in os.walk(dest):
        os.chmod(folder, 0o755)
        for name in names:
            program = os.path.relpath(folder, dest) == "bin"
            os.chmod(os.path.join(folder, name), 0o755 if program else 0o644)
