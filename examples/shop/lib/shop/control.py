"""From outside: start the shop, stop it, ask it something."""
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

from . import files
from .files import Problem

START_WAIT = 5.0  # seconds, both; a stop has to be over before the `grace` of eco.toml is
STOP_WAIT = 4.5


def running(root):
    """Process id of the shop, or None. A held lock means it lives; run/shop.pid alone proves nothing."""
    path = root / "run" / "shop.lock"
    if not path.parent.is_dir():
        return None
    for _ in range(100):  # in its first moment the holder has not written its pid yet
        held = files.lock(path)
        if held is not None:
            held.close()
            return None
        text = path.read_text()
        if text.endswith("\n"):
            return int(text)
        time.sleep(0.01)
    raise Problem("somebody holds run/shop.lock without a word who it is")


def start(root):
    """Starts the shop in the background and returns its pid once it answers."""
    pid = running(root)
    if pid:
        if ask(root, "GET", "/health", wait=2)[0] == 200:
            return pid
        raise Problem(f"it is running already, pid {pid}, but does not answer")
    for name in ("logs", "run"):
        (root / name).mkdir(exist_ok=True)
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            daemonise(root, mouth)
        except OSError as error:
            os.write(mouth, f"0\n{error}".encode())
        finally:
            os._exit(1)
    os.close(mouth)
    os.waitpid(child, 0)
    return await_ready(ear)


def daemonise(root, mouth):
    """Cuts every tie to who called us, then becomes `bin/shop serve`."""
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setpgid(0, 0)  # a group of its own, so that killing the group kills the shop and nobody else
    os.umask(0o022)
    os.chdir(root)
    mouth = fcntl.fcntl(mouth, fcntl.F_DUPFD, 10)  # out of the way of 0 to 3
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(root / "logs" / "shop.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.dup2(mouth, 3)
    os.closerange(4, 1024)  # nor any lock or pipe of theirs
    os.set_inheritable(3, True)
    os.write(3, f"{os.getpid()}\n".encode())
    # -S: of site-packages it needs nothing, and looking there can take longer than all the rest
    os.execv(sys.executable, [sys.executable, "-S", str(root / "bin" / "shop"), "serve", "--ready-fd", "3"])


def await_ready(ear):
    """The pid that the child says first, once it has said "ready" as well."""
    said, deadline = b"", time.monotonic() + START_WAIT
    while b"ready\n" not in said:
        if not select.select([ear], [], [], max(0, deadline - time.monotonic()))[0]:
            for pid in said.split()[:1]:
                signal_to(int(pid), signal.SIGKILL)
            raise Problem(f"did not come up within {START_WAIT:.0f} s; see logs/shop.log")
        piece = os.read(ear, 4096)
        if not piece:  # it ended; what it said last is why
            words = said.decode().partition("\n")[2].strip()
            raise Problem(words or "ended while starting; see logs/shop.log")
        said += piece
    os.close(ear)
    return int(said.split()[0])


def stop(root):
    """Ends the shop and waits until it is gone; its pid, or None if it was not running."""
    pid = running(root)
    if pid:
        signal_to(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_WAIT
        while alive(pid):
            if time.monotonic() > deadline:
                raise Problem(f"pid {pid} did not end within {STOP_WAIT} s")
            time.sleep(0.01)
    (root / "run" / "shop.pid").unlink(missing_ok=True)  # left behind by a kill
    return pid


def alive(pid):
    """A zombie that nobody has collected yet is not alive."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OSError:  # no /proc: the signal's word has to do, unless it ended in between
        return not os.path.isdir("/proc/self")


def signal_to(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise Problem(f"may not signal pid {pid}") from None


def ask(root, method, path, body=None, wait=10.0):
    """(status, answer) of the running shop, or (None, why there is no answer).

    Written on a plain socket: importing an HTTP client would take longer than asking.
    """
    if running(root) is None:
        return None, "it is not running"
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
    try:
        # As the running shop noted it: config/shop.json may have been broken since.
        port = int((root / "run" / "port").read_text())
        with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
            connection.sendall(head.encode() + data)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        top, _, text = answer.partition(b"\r\n\r\n")
        return int(top.split()[1]), json.loads(text)
    except (OSError, ValueError, IndexError) as error:
        return None, f"no answer: {error}"
