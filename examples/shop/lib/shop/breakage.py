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


def alive(root):
    pid = control.running(root)
    if pid is None:
        raise Problem("it is not running")
    return pid


KINDS = {"config": config, "data": data, "module": module, "kill": kill, "hang": hang, "port": port}
