"""Code from modules/<id>/module.py, run so that its faults stay its own.

A module file defines `class Module` with `__init__(self, shop)`, `check(self)`, which does
a sample of its real work without leaving a trace, and whatever else the shop calls.
"""
import importlib.util
import json
import threading
from collections import deque

from .files import log

STRIKES = 3  # errors in a row that make a module failed


class Refused(Exception):
    """The customer's mistake, not the module's: never counted as an error."""


class Down(Exception):
    """A module raised, or has failed before; says which and why."""


class Board:
    """Where modules share data. Values are copied, so that nobody changes another's behind his back."""

    def __init__(self):
        self.values = {}

    def put(self, owner, key, value):
        self.values[owner, key] = json.dumps(value)

    def get(self, owner, key):
        text = self.values.get((owner, key))
        return None if text is None else json.loads(text)

    def drop(self, owner, key):
        self.values.pop((owner, key), None)


class Counter:
    """All that a module sees of the shop: its side of the shop's counter."""

    Refused = Refused

    def __init__(self, name, root, config, board):
        self.name, self.config, self.board = name, config, board
        self.folder = root / "data" / name

    def share(self, key, value):
        self.board.put(self.name, key, value)

    def shared(self, owner, key):
        return self.board.get(owner, key)


class Loaded:
    """One module with its history: integrated, degraded (erred lately) or failed (down)."""

    def __init__(self, root, name, config, board):
        self.name = name
        self.path = root / "modules" / name / "module.py"
        self.counter = Counter(name, root, config, board)
        self.lock = threading.RLock()
        self.run_count = self.error_count = 0
        self.recent = deque(maxlen=10)  # True: went well
        self.code = self.seen = None
        self.reason = "not loaded"
        self.refresh()

    @property
    def status(self):
        if self.code is None or (len(self.recent) >= STRIKES and not any(list(self.recent)[-STRIKES:])):
            return "failed"
        return "integrated" if all(self.recent) else "degraded"

    def refresh(self):
        """Loads the file again if it is not the one that was loaded: a repair needs no restart."""
        with self.lock:
            try:
                stat = self.path.stat()
                now = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            except OSError:
                now = "missing"
            if now != self.seen:
                self.seen = now
                self.load()

    def load(self):
        self.code = None
        self.recent.clear()
        try:
            spec = importlib.util.spec_from_file_location(f"shop_module_{self.name}", self.path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self.code = module.Module(self.counter)
        except (Exception, SystemExit) as error:
            self.note(error)

    def call(self, method, *args):
        """Does it, or raises `Down`. A failed module is only let in for its check."""
        with self.lock:
            if self.code is None or (self.status == "failed" and method != "check"):
                raise Down(f"module {self.name} has failed: {self.reason}")
            self.run_count += 1
            try:
                result = getattr(self.code, method)(*args)
            except Refused:
                self.recent.append(True)
                raise
            except (Exception, SystemExit) as error:
                self.recent.append(False)
                self.note(error)
                raise Down(f"module {self.name}: {self.reason}") from error
            self.recent.append(True)
            return result

    def probe(self):
        """Its state, found by using it. A steady fault shows at once as failed, a hiccup as degraded."""
        with self.lock:
            self.refresh()
            for _ in range(STRIKES):
                try:
                    self.call("check")
                    break
                except Down:
                    continue
            return {"status": self.status, "run_count": self.run_count, "error_count": self.error_count}

    def note(self, error):
        self.error_count += 1
        reason = f"{type(error).__name__}: {error}"
        if reason != self.reason:  # a fault that stays is one line in the log, not one a second
            log(f"module {self.name}: {reason}")
        self.reason = reason
