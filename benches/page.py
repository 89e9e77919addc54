"""Results, what they are held to, and the page that shows them."""
import json
import os
import platform
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, Optional

from measure import Cost, exponent
from programs import ROOT, RUSTIC, version

PAGE = os.path.join(ROOT, "docs", "performance.md")
RAW = os.path.join(ROOT, "docs", "performance.json")
COLUMNS = ["ours", "cp, tar -z", "tar, pigz -6", "tar, zstd -3", "restic", "borg", "rustic"]
KEEP, KEPT = "<!-- keep -->", "<!-- /keep -->"


@dataclass
class Row:
    """One job: what each program answered, every time it was asked."""
    number: str
    job: str
    unit: str = "s"
    values: dict = field(default_factory=dict)
    mib: dict = field(default_factory=dict)
    commands: dict = field(default_factory=dict)
    points: list = field(default_factory=list)
    measured: str = ""

    def add(self, name, value, command=""):
        if isinstance(value, Cost):
            self.mib[name] = max(self.mib.get(name, 0), round(value.mib, 1))
            value = value.seconds
        self.values.setdefault(name, []).append(round(value, 6))
        if command:
            self.commands.setdefault(name, command)

    def drop(self, name):
        """A program that failed once has no median."""
        for kept in (self.values, self.mib, self.commands):
            kept.pop(name, None)

    def median(self, name):
        values = self.values.get(name)
        return statistics.median(values) if values else None

    def key(self):
        """What a later run replaces: the same job, whatever stands in brackets."""
        return self.number, self.unit, self.job.split(" (")[0]


class Target(NamedTuple):
    number: str
    job: str  # or its beginning
    unit: str
    peer: Optional[str]  # None: the number itself is held to the limit
    limit: float  # the most; of rates the least

    def told(self):
        return f"≤ {self.limit:.3g} × {self.peer}" if self.peer else f"{'≥' if self.unit == '/s' else '≤'} {shown(self.limit, self.unit)}"

    def judge(self, rows):
        """(job, what was measured, met or short) for each row that it is about."""
        for row in rows:
            if row.number != self.number or row.unit != self.unit or not row.job.startswith(self.job):
                continue
            mine, theirs = row.median("ours"), row.median(self.peer) if self.peer else 1
            if mine is None or not theirs:
                yield row.job, "not measured", "unknown"
                continue
            excess = self.limit / (mine / theirs) if self.unit == "/s" else mine / theirs / self.limit
            verdict = "met" if excess <= 1 else f"**short by {excess:.2f} ×**"
            yield row.job, f"{mine / theirs:.3g} ×" if self.peer else shown(mine, self.unit), verdict


TARGETS = [
    Target("P1", "first snapshot", "s", "restic", 0.5),
    Target("P1", "first snapshot", "s", "rustic", 0.5),
    Target("P1", "first snapshot", "s", "cp, tar -z", 0.125),
    Target("P1", "its size", "MB", "restic", 1.02),
    Target("P1", "size, sources only", "MB", "restic", 1.08),
    Target("P2", "snapshot, nothing changed", "s", "rustic", 0.25),
    Target("P2", "the same, ", "s", "find", 3),
    Target("P3", "snapshot, 1 %", "s", "restic", 0.5),
    Target("P3", "snapshot, 1 %", "s", "rustic", 0.5),
    Target("P3", "bytes added", "MB", "restic", 0.5),
    Target("P3", "bytes added", "MB", "rustic", 0.5),
    Target("P4", "verify", "s", "restic", 0.35),
    Target("P4", "verify", "s", "rustic", 0.5),
    Target("P5", "restore", "s", "rustic", 0.8),
    Target("P5", "restore", "s", "cp -r", 1.1),
    Target("P6", "downtime", "ms", None, 50),
    Target("P7", "rollback", "s", "rustic", 1.5),
    Target("P8", "one module", "s", "all of it", 0.1),
    Target("P9", "largest", "MiB", None, 64),
    Target("P9", "at 10^6", "MiB", None, 256),
    Target("P10", "listing", "s", None, 0.1),
    Target("P11", "records a second", "/s", None, 500_000),
    Target("P11", "health samples", "s", "jq", 0.1),
    Target("P12", "", "exponent", None, 1.1),
]


class Results:
    def __init__(self):
        self.rows, self.machine, self.tree, self.floor = [], {}, {}, 0.0

    def row(self, number, job, unit="s"):
        """The row of this job, new if need be."""
        found = [row for row in self.rows if (row.number, row.job, row.unit) == (number, job, unit)]
        if not found:
            found = [Row(number, job, unit, measured=f"{time.strftime('%Y-%m-%d')} at {commit()}")]
            self.rows += found
        return found[0]

    def finish(self):
        """Drops what nobody could answer, sums up memory, and puts the rows in order."""
        self.rows = [row for row in self.rows if row.values]
        jobs = [row for row in self.rows if row.mib.get("ours") and row.number in ("P1", "P2", "P3", "P4", "P5", "P7", "P8")]
        if jobs:
            most = self.row("P9", "largest process of any job above", "MiB")
            for name in COLUMNS:
                used = [row.mib[name] for row in jobs if name in row.mib]
                if used:
                    most.values[name] = [max(used)]
        self.rows.sort(key=lambda row: int(row.number[1:]))


def commit():
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    said = git("rev-parse", "--short", "HEAD").stdout.strip() or "an unknown commit"
    return f"{said} with changes" if git("diff", "--quiet", "HEAD", "--", ".", ":!docs").returncode == 1 else said


def machine(bench):
    def value(path, key):
        with open(path) as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(key)), "unknown")
    filesystem = subprocess.run(["findmnt", "-no", "FSTYPE,OPTIONS", "-T", bench.work], capture_output=True, text=True).stdout.split()
    old = [version(*words) for words in (("tar",), ("cp",), ("gzip",), ("pigz",), ("zstd",), ("find",), ("jq",))]
    return {
        "processor": f"{value('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{int(value('/proc/meminfo', 'MemTotal').split()[0]) >> 10} MiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, {' '.join(filesystem) or 'unknown filesystem'}",
        "others": "; ".join([version("restic", "version"), version("borg"), f"{version('rustic')} (cargo install {' '.join(RUSTIC)})", *old]),
    }


def shown(value, unit):
    if value is None:
        return ""
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms" if value >= 0.02 else f"{1000 * value:.1f} ms"
    if unit == "exponent":
        return f"{value:.2f}"
    return f"{value:,.0f} {unit}".replace(",", " ") if value >= 100 else f"{value:.3g} {unit}"


def table(head, lines):
    """Markdown that can be read as it is; the first two columns to the left, numbers to the right."""
    lines = [[str(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(head, *lines)]
    line = lambda cells: "| " + " | ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))) + " |\n"
    rule = "|" + "|".join("-" * (w + 2) if i < 2 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|\n"
    return line(head) + rule + "".join(map(line, lines))


def measured(rows, of):
    """A table of `of(row, name)`, with a column for everybody who answers more than once and one for the rest."""
    columns = [name for name in COLUMNS if any(of(row, name) for row in rows)]
    rest = lambda row: ", ".join(f"{name} {of(row, name)}" for name in {**row.values, **row.mib} if name not in COLUMNS)
    others = ["beside"] if any(map(rest, rows)) else []
    return table(["", "job", *columns, *others],
                 [[row.number, row.job, *(of(row, name) for name in columns), *([rest(row)] if others else [])] for row in rows])


def judged(rows):
    return [(target.number, job, target.told(), found, verdict) for target in TARGETS for job, found, verdict in target.judge(rows)]


def show(results):
    """Prints the tables; whether a target is missed."""
    results.finish()
    verdicts = judged(results.rows)
    print(measured(results.rows, lambda row, name: shown(row.median(name), row.unit)))
    print(table(["", "job", "target", "measured", ""], verdicts))
    return any("short" in line[-1] for line in verdicts)


def write(new):
    """Joins these results with those of earlier runs on this machine, keeps them, and renews the page; all of them."""
    new.finish()
    joined = Results()
    joined.machine, joined.tree, joined.floor = new.machine, new.tree, new.floor
    replaced = {row.key() for row in new.rows}
    if os.path.exists(RAW):
        with open(RAW) as file:
            old = json.load(file)
        if (old["machine"]["processor"], old["tree"]) == (new.machine["processor"], new.tree):
            joined.rows = [row for row in (Row(**row) for row in old["rows"]) if row.key() not in replaced]
        else:
            print(f"the rows of {old['machine']['processor']}, {old['tree']['files']} files, are dropped: another machine or tree")
    joined.rows += new.rows
    joined.finish()
    os.makedirs(os.path.dirname(PAGE), exist_ok=True)
    with open(RAW, "w") as file:
        json.dump({"machine": joined.machine, "tree": joined.tree, "floor": joined.floor, "rows": [asdict(row) for row in joined.rows]},
                  file, indent=1, ensure_ascii=False)
        file.write("\n")
    kept = "\n\n"
    if os.path.exists(PAGE):
        with open(PAGE) as file:
            before = file.read()
        if KEEP in before and KEPT in before:
            kept = before.split(KEEP, 1)[1].rsplit(KEPT, 1)[0]
    with open(PAGE, "w") as file:
        file.write(text(joined, kept))
    return joined


def text(results, kept):
    rows, tree = results.rows, results.tree
    newest = max((row.measured for row in rows), default="")
    older = [f"{row.number} {row.job}: {row.measured}" for row in rows if row.measured != newest]
    used = [row for row in rows if row.mib]
    climbs = [row for row in rows if row.points]
    commands = "".join(f"# {row.number} {row.job}\n" + "".join(f"{command}\n" for command in row.commands.values()) + "\n"
                       for row in rows if row.commands)
    point = lambda row, x, y: f"{x:,}: ".replace(",", " ") + shown(y, "MiB" if "memory" in row.job else "s")
    return f"""# How fast

Written by `benches/peers --write`, which measures the tools beside what they replace and beside other backup programs. Every
single value is in [performance.json](performance.json).

Measured {newest}{''.join(f"; {line}" for line in older)}.

## How to read it

- The tree is a service's, made by `benches/corpus.py`: {tree.get('files', 0)} files, {tree.get('bytes', 0) / 1e6:.0f} MB; logs, databases, embeddings, sources.
- A value is the median of {max((len(v) for row in rows for v in row.values.values()), default=0)} runs, or of fewer where performance.json has fewer. Programs take turns within a run.
- The page cache is warm for everybody. Whoever writes pays for one `sync` after it.
- Stores are made outside the time. restic and rustic encrypt, and take a moment to make the key from the password each time they
  start; ours, borg and tar do not encrypt.
- What was restored is compared with the source outside the time: contents, permissions, times; of `cp -r`, which the old way
  began with, contents only.
- Memory is that of the largest process. `true` takes {results.floor:.1f} MiB.
- Machines differ and are noisy. Ratios travel better than seconds.

## The machine

{''.join(f"- {name}: {what}{chr(10)}" for name, what in results.machine.items())}
## Results

{measured(rows, lambda row, name: shown(row.median(name), row.unit))}
## Targets

{table(["", "job", "target", "measured", ""], judged(rows))}
## Causes

{KEEP}{kept}{KEPT}

## Memory

{measured(used, lambda row, name: shown(row.mib.get(name), "MiB"))}
## Growth

{''.join(f"- {row.job}: " + ', '.join(point(row, x, y) for x, y in row.points)
                + f"; exponent of the last step {exponent(row.points[-2:]):.2f}" + chr(10) for row in climbs) or 'Not measured: `benches/peers --scaling --write`.' + chr(10)}
## Commands

`$WORK` is a temporary folder; passwords and caches are given in the environment.

```sh
{commands.rstrip()}
```
"""
