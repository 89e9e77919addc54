"""Small files that are never half written, locks that die with their holder, and the time."""
import contextlib
import fcntl
import json
import os
import sys
import threading
from datetime import datetime, timezone


class Problem(Exception):
    """Something a person has to hear about, in one lower-case line."""


def now():
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log(sentence):
    """A line for logs/shop.log, which is where stderr goes in the background."""
    print(f"{now()} {sentence}", file=sys.stderr, flush=True)


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Problem(f"cannot read {path.parent.name}/{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise Problem(f"{path.parent.name}/{path.name} is not JSON: {error}") from error


def ours(path, flags):
    """An opener: whatever the umask, nobody else may write."""
    return os.open(path, flags, 0o644)


def replace(path, text, sync=True):
    """New file beside the old, then rename: a reader, or a snapshot, sees one or the other.

    `sync=False` is for counters, where losing the last second in a power cut is no loss.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    with open(fresh, "w", encoding="utf-8", opener=ours) as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    os.replace(fresh, path)
    if sync:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path, value, sync=True):
    replace(path, json.dumps(value, indent=2) + "\n", sync)


def append_line(path, value):
    """One write per line, so that lines of different threads never mix."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value) + "\n")


def lock(path):
    """The file, locked for as long as it stays open; None if somebody else holds it.

    A kernel lock, not the existence of a file: kill -9 frees it, and a stale pid that
    now belongs to a stranger cannot be mistaken for the shop.
    """
    file = open(path, "a", opener=ours)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def turn(path):
    """Waits for its turn: read, change and write back without losing somebody's change."""
    with open(path, "a", opener=ours) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
