#!/usr/bin/env python3
"""corpus: a service's tree to measure on, the same bytes every time.

    corpus.py DEST [--mib 512] [--small-files 8000] [--seed 1]    make it; DEST must be absent or empty
    corpus.py DEST --tiny 100000 [--seed 1]                       instead: so many files of some 150 bytes, 500 to a folder
    corpus.py DEST --mutate 0.01 [--seed 2]                       change a share of its files, as a day would

What is in it, by share of --mib, and what gzip -6 leaves of it (0.28 of the whole):

    45 %  data/events/*.jsonl       event logs                              0.18
    20 %  data/state/*.db           SQLite databases                        0.16
    15 %  data/vectors/*.f32        float32 embeddings                      0.93
    10 %  data/metrics/*.jsonl      time series                             0.14
    and   feature-NN-*/**/*.py      --small-files sources, most of them     0.15
                                    small, a few large; 46 MB if 8000
          config/*.yaml             60 files of settings                    0.12

Text is drawn afresh, word by word, and never repeated from a pool: a compressor or a
deduplicating store with a large window must not find what real data would not offer it.
Every file has a random source of its own, so they can be made in parallel and in any order.
SQLite versions that lay out pages differently give different databases; all else is equal everywhere.
"""
import argparse
import os
import random
import sqlite3
import sys
from array import array
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import NormalDist

WORDS = """account balance campaign catalog checkout complaint customer delivery discount exchange feedback
forecast inventory invoice loyalty merchant notification packaging payment preference promotion purchase
quantity receipt refund retention shipment statement subscription supplier voucher warehouse""".split()
LEVELS = ("debug", "info", "notice", "warning")
FEATURES = WORDS[:11]
EPOCH = 1_767_225_600  # 2026-01-01T00:00:00Z: file times are fixed as well


def words(rng, count):
    """That many words; one random byte each, looked up in C."""
    return list(map(VOCABULARY.__getitem__, rng.randbytes(count)))


VOCABULARY = [WORDS[byte % len(WORDS)] for byte in range(256)]


def clock(seconds):
    """A time in the first four weeks of 2026."""
    day, second = divmod(seconds, 86400)
    return f"2026-01-{day % 28 + 1:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


def event(rng, seconds, length):
    message = " ".join(words(rng, length))
    return (f'{{"time":"{clock(seconds)}","level":"{LEVELS[rng.getrandbits(2)]}",'
            f'"module":"{WORDS[rng.getrandbits(5)]}",'
            f'"request":"{rng.getrandbits(64):016x}","took_ms":{rng.expovariate(0.1):.3f},"message":"{message}"}}\n')


def events(path, size, rng):
    seconds = rng.randrange(10**6)
    with open(path, "w", encoding="ascii") as file:
        while size > 0:
            seconds += rng.getrandbits(5)
            size -= file.write(event(rng, seconds, 3 + int(rng.random() * 12)))


def series(path, size, rng):
    """Readings that wander, ten seconds apart."""
    orders, cpu, millis = rng.randrange(10**5), 0.3, 12.0
    seconds = rng.randrange(10**6)
    with open(path, "w", encoding="ascii") as file:
        while size > 0:
            seconds += 10
            orders += rng.getrandbits(3)
            cpu = min(0.99, max(0.01, cpu + rng.uniform(-0.02, 0.02)))
            millis = max(1.0, millis + rng.uniform(-0.5, 0.5))
            size -= file.write(f'{{"time":"{clock(seconds)}","orders":{orders},"cpu_usage":{cpu:.4f},'
                               f'"memory_usage":{0.4 + cpu / 9:.4f},"response_ms":{millis:.3f}}}\n')


def vectors(path, size, rng):
    """Normally distributed float32, little endian.

    The upper half of each (sign, exponent, 7 bits) is looked up among the quantiles of the
    distribution, the lower half is noise: as dense as the real thing and fifty times faster.
    """
    with open(path, "wb") as file:
        while size > 0:
            count = min(size // 4, 1 << 18)
            block = array("H", bytes(4 * count))
            block[0::2] = array("H", rng.randbytes(2 * count))
            block[1::2] = array("H", map(quantiles().__getitem__, array("H", rng.randbytes(2 * count))))
            if sys.byteorder == "big":
                block.byteswap()
            size -= file.write(block.tobytes()) or size


def quantiles(_cache=[]):
    """Upper halves of the float32 values that split the normal distribution in 65536 equal parts."""
    if not _cache:
        curve = NormalDist()
        floats = array("f", (curve.inv_cdf((i + 0.5) / 65536) for i in range(65536)))
        _cache.extend(bits >> 16 for bits in array("I", floats.tobytes()))
    return _cache


def database(path, size, rng):
    db = sqlite3.connect(path)
    db.executescript("pragma page_size = 4096; pragma journal_mode = off; pragma synchronous = off;"
                     "create table notes(id integer primary key, title text, weight real, body text)")
    rows = max(1, size // 548)  # what one takes, with its place in the index
    db.executemany("insert into notes(title, weight, body) values(?, ?, ?)",
                   ((" ".join(words(rng, 3)), rng.random(), " ".join(words(rng, 45))) for _ in range(rows)))
    db.execute("create index notes_by_title on notes(title)")
    db.commit()
    db.close()
    hide_version(path)


def hide_version(path):
    """Blanks the number of the SQLite version that wrote last, kept for information at byte 96."""
    with open(path, "r+b") as file:
        file.seek(96)
        file.write(bytes(4))


def source(path, rng):
    """Mostly a few functions, sometimes hundreds."""
    count = 4 + int(rng.paretovariate(1.1) * 8) % 400
    with open(path, "w", encoding="ascii") as file:
        for _ in range(count):
            name, argument, *sentence = words(rng, 11)
            file.write(f'def {name}_{rng.randrange(1000)}(self, {argument}):\n'
                       f'    """{" ".join(sentence)}."""\n    return {rng.randrange(10**6)}\n')


def settings(path, rng):
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{word}_{line}: {rng.randrange(100)}\n" for line, word in enumerate(words(rng, 40)))


# Making


def files(mib, small_files):
    """(path, writer, size or None) of the whole tree."""
    total = mib << 20
    parts = [("data/events/events-{:02d}.jsonl", 8, events, 0.45),
             ("data/state/store-{:02d}.db", 3, database, 0.20),
             ("data/vectors/embedding-{:02d}.f32", 4, vectors, 0.15),
             ("data/metrics/series-{:02d}.jsonl", 4, series, 0.10)]
    for pattern, count, write, share in parts:
        for number in range(count):
            yield pattern.format(number), write, int(total * share) // count // 4096 * 4096
    for number in range(60):
        yield f"config/{WORDS[number % len(WORDS)]}-{number:02d}.yaml", settings, None
    for number in range(small_files):
        feature, package = number % len(FEATURES), number // len(FEATURES) % 37
        folder = f"feature-{feature + 1:02d}-{FEATURES[feature]}/src/part{package:02d}"
        yield f"{folder}/unit_{number:06d}.py", source, None


def tiny_files(count):
    for number in range(count):
        folder = number // 500
        yield f"data/{folder // 50:03d}/{folder % 50:02d}/{number:07d}.py", tiny, None


def tiny(path, rng):
    with open(path, "w", encoding="ascii") as file:
        file.write(" ".join(words(rng, 16)))


def make(dest, plan, seed):
    if dest.exists() and any(dest.iterdir()):
        sys.exit(f"corpus: {dest} is not empty")
    for folder in {os.path.dirname(path) for path, _, _ in plan}:
        (dest / folder).mkdir(parents=True, exist_ok=True)
    big = [entry for entry in plan if entry[2] is not None]
    small = [entry for entry in plan if entry[2] is None]
    jobs = [[entry] for entry in sorted(big, key=lambda entry: -entry[2])] + [small[i::8] for i in range(8)]
    with ProcessPoolExecutor() as pool:
        for done in [pool.submit(write_all, dest, job, seed) for job in jobs]:
            done.result()
    folders = sorted((folder for folder, _, _ in os.walk(dest)), reverse=True)
    for folder in folders:
        os.utime(folder, (EPOCH, EPOCH))
    print(f"{len(plan)} files, {sum((dest / path).stat().st_size for path, _, _ in plan)} bytes")


def write_all(dest, job, seed):
    for path, write, size in job:
        rng = random.Random(f"{seed}:{path}")
        write(dest / path, rng) if size is None else write(dest / path, size, rng)
        os.utime(dest / path, (EPOCH, EPOCH))


# Changing


def mutate(dest, share, seed):
    """Logs grow, some rows and vectors change, sources are edited; of ten files one goes and one comes."""
    paths = sorted(path.relative_to(dest).as_posix() for path in dest.rglob("*") if path.is_file())
    if not paths:
        sys.exit(f"corpus: nothing in {dest}")
    rng = random.Random(f"mutate:{seed}")
    chosen = rng.sample(paths, min(len(paths), max(1, round(len(paths) * share))))
    removed = 0
    for number, name in enumerate(chosen):
        path = dest / name
        if number % 10 == 9 and path.suffix in (".py", ".yaml"):
            path.unlink()
            source(path.with_name(f"new_{seed}_{number:06d}.py"), rng)
            removed += 1
        else:
            EDITS[path.suffix](path, rng)
    print(f"{len(chosen)} files changed, {removed} of them replaced by new ones")


def grow(path, rng):
    with open(path, "a", encoding="ascii") as file:
        seconds = rng.randrange(10**6)
        file.writelines(event(rng, seconds + number, 8) for number in range(200))


def update_rows(path, rng):
    db = sqlite3.connect(path)
    db.executescript("pragma journal_mode = delete; pragma synchronous = off")
    db.execute("update notes set weight = weight + 1 where id % 997 = ?", (rng.randrange(997),))
    db.commit()
    db.close()
    hide_version(path)


def retrain(path, rng):
    with open(path, "r+b") as file:
        rows = max(1, file.seek(0, os.SEEK_END) // 4096)
        for _ in range(8):
            file.seek(rng.randrange(rows) * 4096)
            file.write(rng.randbytes(4096))


def edit_line(path, rng):
    lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    lines[rng.randrange(len(lines))] = f"# {' '.join(words(rng, 6))}: {rng.randrange(100)}\n"
    path.write_text("".join(lines), encoding="ascii")


EDITS = {".jsonl": grow, ".db": update_rows, ".f32": retrain, ".py": edit_line, ".yaml": edit_line}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dest", type=Path, metavar="DEST")
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--small-files", type=int, default=8000)
    parser.add_argument("--tiny", type=int, metavar="COUNT")
    parser.add_argument("--seed", type=int, help="default: 1, for --mutate 2")
    parser.add_argument("--mutate", type=float, metavar="SHARE")
    args = parser.parse_args()
    if args.mutate is None:
        plan = list(files(args.mib, args.small_files) if args.tiny is None else tiny_files(args.tiny))
        make(args.dest, plan, 1 if args.seed is None else args.seed)
    else:
        mutate(args.dest, args.mutate, 2 if args.seed is None else args.seed)


if __name__ == "__main__":
    main()
