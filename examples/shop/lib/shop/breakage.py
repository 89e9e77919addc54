"""Breaking a shop on purpose, each kind so that health shows a different picture."""
import os
import signal
import sqlite3
import time

from . import control, files
from .files import Problem, read_json
from .setup import free_port

PAGE = 4096


def config(root):
    """Runs on, but could not be started again: integration false."""
    path = root / "config" / "shop.json"
    files.replace(path, path.read_text(encoding="utf-8")[:-3] + ",,,\n")


def data(root):
    """A third of the database is garbage: integrity false, old orders cannot be read, modules are fine."""
    path = root / "data" / "shop.db"
    try:  # what still is in the log would hide the damage
        db = sqlite3.connect(path)
        db.execute("pragma wal_checkpoint(truncate)")
        db.close()
    except sqlite3.Error:
        pass  # damaged before
    with open(path, "r+b") as file:
        pages = file.seek(0, os.SEEK_END) // PAGE
        file.seek(pages // 3 * PAGE)
        file.write(b"\xde\xad\xbe\xef" * (PAGE // 4) * max(1, pages // 3))


def module(root, name):
    """One module raises whatever it is asked: failed, everything else goes on."""
    path = root / "modules" / name / "module.py"
    if not path.is_file():
        raise Problem(f"no module {name}")
    methods = "\n".join(f"    {method} = _broken" for method in
                        ("check", "products", "lines", "total", "prepare", "receipt", "learn", "suggest"))
    files.replace(path, path.read_text(encoding="utf-8") + f'''

class Module(Module):
    def _broken(self, *_):
        raise RuntimeError("broken on purpose")

{methods}
''')


def degraded(root, name):
    """One module fails its check every other time: degraded, and its work goes on."""
    path = root / "modules" / name / "module.py"
    if not path.is_file():
        raise Problem(f"no module {name}")
    files.replace(path, path.read_text(encoding="utf-8") + '''

class Module(Module):
    asked = 0

    def check(self):
        self.asked += 1
        if self.asked % 2:
            raise RuntimeError("a hiccup on purpose")
        super().check()
''')


def automation(root, name):
    """Its rule has lost its numbers: every order that it looks at fails, until it is switched off."""
    def spoil(rule):
        rule.update((key, None) for key in rule if key != "runs")
    spoil_entry(root / "data" / "state" / "automations.json", "automation", name, spoil)


def experiment(root, name):
    """A variant that nobody has prepared: every order that is to see it fails, until the trial is stopped."""
    def spoil(trial):
        trial["variants"].append("unprepared")
    spoil_entry(root / "data" / "state" / "experiments.json", "experiment", name, spoil)


def optimization(root, name):
    """It sets its value to something that is no value: whoever uses that fails, until it is reverted."""
    def spoil(change):
        change.update(after="spoiled", applied=True)
    spoil_entry(root / "config" / "optimizations.json", "optimization", name, spoil)
    take_up(root)


def slow(root, milliseconds):
    """Every request takes this much longer: a setting of config/shop.json."""
    set_fault(root, "delay_ms", milliseconds)


def errors(root, percent):
    """So many of a hundred requests fail: a setting of config/shop.json."""
    set_fault(root, "error_percent", percent)


def cpu(root):
    """Processes of the shop that only burn: a setting of config/shop.json. Enough to be served first on a busy machine."""
    set_fault(root, "burners", 16 * (os.cpu_count() or 1))


def kill(root):
    """Gone without a word: nobody listens, the pid file is stale."""
    pid = alive(root)
    control.signal_to(pid, signal.SIGKILL)
    while control.alive(pid):
        time.sleep(0.01)


def hang(root):
    """There, and deaf: connections are taken and never answered; only SIGKILL ends it."""
    control.signal_to(alive(root), signal.SIGSTOP)


def port(root):
    """Runs and is well, but where nobody asks: the process is there, the probe finds no one."""
    control.stop(root)
    path = root / "config" / "shop.json"
    settings = read_json(path)
    files.write_json(path, {**settings, "port": free_port()})
    control.start(root)


def spoil_entry(path, thing, name, spoil):
    entries = read_json(path)
    if name not in entries:
        raise Problem(f"no {thing} {name!r}; there are: {', '.join(entries)}")
    spoil(entries[name])
    files.write_json(path, entries)


def set_fault(root, fault, amount):
    try:
        amount = int(amount)
    except ValueError:
        raise Problem(f"{amount!r} is not a whole number") from None
    path = root / "config" / "shop.json"
    settings = read_json(path)
    files.write_json(path, {**settings, "faults": {**settings.get("faults", {}), fault: amount}})
    take_up(root)


def take_up(root):
    status, answer = control.ask(root, "POST", "/reload")
    if status != 200 and answer != "it is not running":
        raise Problem(f"written, but the shop did not take it up: {answer}")


def alive(root):
    pid = control.running(root)
    if pid is None:
        raise Problem("it is not running")
    return pid


# How to break it, and what has to be named with that.
KINDS = {"config": (config, None), "data": (data, None), "module": (module, "ID"), "degraded": (degraded, "ID"),
         "automation": (automation, "ID"), "optimization": (optimization, "ID"), "experiment": (experiment, "ID"),
         "slow": (slow, "MILLISECONDS"), "errors": (errors, "PERCENT"), "cpu": (cpu, None),
         "kill": (kill, None), "hang": (hang, None), "port": (port, None)}
