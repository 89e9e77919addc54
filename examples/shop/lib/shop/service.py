"""What the shop does: take orders, say how it feels, take up changed settings."""
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque

from . import config, files, store
from .files import Problem, log
from .modules import Board, Down, Loaded, Refused

BURNER = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(100000))"  # ends when the shop does, however that ends
VITAL = ("catalog", "pricing", "checkout")  # no order without them


class Shop:
    """Everything between an HTTP request and the files.

    One order at a time: the database, data/state and the modules' files move together.
    """

    def __init__(self, root):
        self.root = root
        self.order_lock = threading.Lock()
        self.board = Board()
        self.store = store.Store(root / "data" / "shop.db")
        self.recent = deque(maxlen=100)  # (went well, milliseconds) of the last requests
        self.errors = 0
        self.asked = 0
        self.burners = []
        self.modules = {}
        self.apply(config.load(root))
        try:
            self.orders = self.store.totals()["orders"]
        except sqlite3.Error as error:  # damaged data: stay up and say so
            self.orders = None
            log(f"database: {error}")

    def apply(self, fresh):
        """Lets these settings count from now on; modules start anew with them."""
        self.config = fresh
        self.faults = fresh["shop"].get("faults", {})
        self.burn(self.faults.get("burners", 0))
        self.modules = {name: Loaded(self.root, name, fresh, self.board)
                        for name, module in fresh["modules"].items() if module["enabled"]}

    def reload(self):
        """Takes up what bin/ctl or a person changed. Bad settings are refused, the old ones stay."""
        with self.order_lock:
            self.apply(config.load(self.root))
        return {"modules": list(self.modules), "switched_off": self.switches()}

    # Faults that `shop break` has put into the settings

    def mishap(self):
        """Lets a request wait, and fails it if it is one of those that are to fail."""
        time.sleep(self.faults.get("delay_ms", 0) / 1000)
        percent = self.faults.get("error_percent", 0)
        with self.order_lock:
            self.asked += 1
            unlucky = self.asked * percent // 100 > (self.asked - 1) * percent // 100
        return (500, {"error": "broken on purpose"}) if unlucky else None

    def burn(self, count):
        """So many processes do nothing but take processor time."""
        for burner in self.burners:
            burner.kill()
            burner.wait()
        words = [sys.executable, "-S", "-c", BURNER, str(os.getpid())]
        # Each in a session of its own: Linux shares the processors out among sessions first.
        self.burners = [subprocess.Popen(words, start_new_session=True) for _ in range(count)]

    # Orders

    def order(self, wanted):
        """Files one order, or raises: `Refused` and `SoldOut` for the customer, the rest is our error."""
        if not isinstance(wanted, dict):
            raise Refused("an order is an object")
        with self.order_lock:
            lines = self.call("catalog", "lines", wanted.get("items"))
            order = self.call("pricing", "total", lines)
            order = self.call("checkout", "prepare", order, wanted.get("country", "DE"))
            order["time"] = files.now()
            automations, off = self.state("automations"), self.switches()
            discount = self.loyalty(order, automations, off)
            restock = None if "restock" in off["automation"] else automations["restock"]

            order_id, restocked = self.store.place(order, restock)
            self.orders = order_id if self.orders is None else self.orders + 1

            # The order stands. What goes wrong from here on is noted, not refunded.
            if restocked or discount:
                automations["restock"]["runs"] += restocked
                automations["loyalty"]["runs"] += bool(discount)
                self.keep("automations", automations)
            answer = {"id": order_id, "total_cents": order["total_cents"], "discount_cents": discount,
                      "variant": self.experiment(order_id, off)}
            self.gently("checkout", "receipt", order_id, order)
            self.gently("recommend", "learn", [line["sku"] for line in lines])
            self.metric("order")
            return answer

    def loyalty(self, order, automations, off):
        """Every so-manyth order is cheaper."""
        rule = automations["loyalty"]
        if "loyalty" in off["automation"] or ((self.orders or 0) + 1) % rule["every"]:
            return 0
        discount = min(rule["discount_cents"], order["total_cents"])
        order["total_cents"] -= discount
        return discount

    def experiment(self, order_id, off):
        """The variant of the checkout page that this order saw; None if nothing is being tried."""
        if not self.config["shop"]["features"].get("experiments"):
            return None
        experiments = self.state("experiments")
        shown = None
        for name, trial in experiments.items():
            if name not in off["experiment"]:
                shown = trial["variants"][order_id % len(trial["variants"])]
                trial["seen"][shown] += 1
        if shown:
            self.keep("experiments", experiments)
        return shown

    def totals(self):
        with self.order_lock:  # the connection is shared: no look at half an order
            return self.store.totals()

    def suggest(self, sku):
        return {"sku": sku, "suggestions": self.call("recommend", "suggest", sku)}

    def products(self):
        return {"products": self.call("catalog", "products")}

    def call(self, name, method, *args):
        if name not in self.modules:
            raise Down(f"module {name} is switched off")
        return self.modules[name].call(method, *args)

    def gently(self, name, method, *args):
        try:
            self.call(name, method, *args)
        except Down:
            pass  # counted and logged by the module itself

    # State: the server writes automations and experiments, bin/ctl writes switches; never each other's

    def state(self, name):
        return files.read_json(self.root / "data" / "state" / f"{name}.json")

    def keep(self, name, value):
        files.write_json(self.root / "data" / "state" / f"{name}.json", value, sync=False)

    def switches(self):
        """Ids that a person turned off. Read every time: off means off, reloaded or not."""
        return self.state("switches")

    # Health

    def health(self):
        """The truth about the running shop, found by using every part of it once."""
        began = time.perf_counter()
        integrity, _ = store.integrity(self.store.path)
        modules = {name: module.probe() for name, module in self.modules.items()}
        integration = self.integration()

        failed = [name for name, module in modules.items() if module["status"] == "failed"]
        recent = list(self.recent)
        error_rate = sum(not well for well, _ in recent) / len(recent) if recent else 0.0
        if integrity is False or not integration or any(name in VITAL for name in failed):
            overall = "unhealthy"
        elif integrity is None or error_rate > 0.1 or any(m["status"] != "integrated" for m in modules.values()):
            overall = "degraded"
        else:
            overall = "healthy"

        took = (time.perf_counter() - began) * 1000
        body = {"ecosystem_state": "running", "overall_health": overall, "modules": modules}
        if recent:
            body["error_rate"] = round(error_rate, 4)
            took = sum(ms for _, ms in recent) / len(recent)
        body.update(requests=len(recent), response_ms=round(took, 3), integrity=integrity, integration=integration)
        return body

    def integration(self):
        """Do the parts fit together: settings that a restart could read, and modules that can share data?"""
        try:
            config.load(self.root)
            for name in ("automations", "experiments", "switches"):
                self.state(name)
            names = list(self.modules)
            return not names or self.share(names[0], names[-1], 123) == 123
        except (Problem, Down):
            return False

    def share(self, giver, taker, value):
        """Sends a value from one module to another and back; nothing of it stays."""
        for name in (giver, taker):
            if name not in self.modules:
                raise Down(f"module {name} is switched off")
        there, back = self.modules[giver].counter, self.modules[taker].counter
        key = f"round-trip-{threading.get_ident()}"  # several may ask at once
        try:
            there.share(key, value)
            back.share(key + "-back", back.shared(giver, key))
            return there.shared(taker, key + "-back")
        finally:
            self.board.drop(giver, key)
            self.board.drop(taker, key + "-back")

    def note(self, well, milliseconds):
        """Remembers how one request went."""
        self.recent.append((well, milliseconds))
        self.errors += not well

    # History

    def metric(self, event):
        """One line of data/metrics/requests.jsonl, which no rollback takes back."""
        try:
            folder = self.root / "data" / "metrics"
            folder.mkdir(exist_ok=True)
            files.append_line(folder / "requests.jsonl", {"time": files.now(), "event": event,
                                                          "orders": self.orders, "errors": self.errors})
        except OSError as error:
            log(f"metrics: {error}")

    def close(self):
        self.burn(0)
        with self.order_lock:
            self.store.close()
