"""What a command costs, whether two trees are the same, how a cost grows."""
import filecmp
import math
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from typing import NamedTuple


class Cost(NamedTuple):
    seconds: float
    mib: float  # the largest process among the commands and their children


class Failed(Exception):
    """Something could not be measured, and why."""


class Runner:
    """Runs commands one at a time."""

    def __init__(self, work, verbose):
        self.work, self.verbose, self.last = work, verbose, ""
        # A process is never reported as smaller than the one that started it, so a small one does.
        self.peak = os.path.join(work, "peak")
        self.starter = ["time", "--quiet", "--format=%M", f"--output={self.peak}", "--"] if shutil.which("time") else []
        self.env = dict(os.environ, HOME=work, XDG_CONFIG_HOME=work, XDG_CACHE_HOME=work, LC_ALL="C.UTF-8")

    def __call__(self, *commands, cwd=None, env=None, flush=False, stdin=os.devnull, stdout=os.devnull):
        """Runs them one after the other. With `flush` their time ends when what they wrote is on the medium."""
        self.last = "; ".join(self.told(argv, cwd) for argv in commands)
        if self.verbose:
            print(f"  $ {self.last}", file=sys.stderr, flush=True)
        os.sync()  # nobody pays for what was left dirty before
        start, peak = time.monotonic(), 0
        for argv in commands:
            peak = max(peak, self.one(argv, cwd, {**self.env, **(env or {})}, stdin, stdout))
        if flush:
            os.sync()
        return Cost(time.monotonic() - start, peak / 1024)

    def one(self, argv, cwd, env, stdin, stdout):
        complaints = os.path.join(self.work, "stderr")
        with open(stdin, "rb") as read, open(stdout, "wb") as write, open(complaints, "wb") as said:
            try:
                child = subprocess.Popen([*self.starter, *argv], cwd=cwd, env=env, stdin=read, stdout=write, stderr=said)
            except OSError as error:
                raise Failed(f"{argv[0]}: {error.strerror}") from error
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            with open(complaints, errors="replace") as said:
                lines = said.read().strip().splitlines() or ["no word"]
            raise Failed(f"{os.path.basename(argv[0])} ended with {child.returncode}: {lines[-1][:200]}")
        if not self.starter:
            return usage.ru_maxrss
        with open(self.peak) as file:
            return int(file.read())

    def told(self, argv, cwd):
        """The command as a person would write it, short where the paths are long."""
        line = shlex.join([os.path.basename(argv[0]), *argv[1:]]).replace(self.work, "$WORK")
        return f"cd {cwd.replace(self.work, '$WORK')} && {line}" if cwd else line


def size(path):
    """Bytes of all files at or below it."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def count(path):
    return sum(len(names) for _, _, names in os.walk(path))


def difference(left, right, metadata=True):
    """The first thing in which two trees differ, or None: names, contents; permissions and times as well with `metadata`."""
    for folder, folders, files in os.walk(left):
        below = os.path.relpath(folder, left)
        other = os.path.normpath(os.path.join(right, below))
        if not os.path.isdir(other):
            return f"{below} is missing"
        if sorted(os.listdir(other)) != sorted(folders + files):
            return f"other names in {below}"
        _, differ, strange = filecmp.cmpfiles(folder, other, files, shallow=False)
        filecmp.clear_cache()
        if differ or strange:
            return f"content of {os.path.join(below, (differ + strange)[0])}"
        for name in folders + files if metadata else ():
            was, became = os.lstat(os.path.join(folder, name)), os.lstat(os.path.join(other, name))
            if stat.S_IMODE(was.st_mode) != stat.S_IMODE(became.st_mode):
                return f"mode of {os.path.join(below, name)}"
            if was.st_mtime_ns != became.st_mtime_ns:
                return f"time of {os.path.join(below, name)}"
    return None


def exponent(points):
    """The slope of log y over log x, by least squares: 1 is linear."""
    xs = [math.log(x) for x, _ in points]
    ys = [math.log(max(y, 1e-9)) for _, y in points]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)
