"""The programs that are measured, each with the same verbs: `prepare` empties its store, the others return what they cost.

Everybody keeps everything in the working folder: stores, caches, configuration. Nobody asks the network for anything.
"""
import os
import shutil
import subprocess
import sys

from measure import Failed, count, difference, size

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(ROOT, "target", "peers")
PACKAGES = {"restic": "restic", "borg": "borgbackup", "pigz": "pigz", "zstd": "zstd", "jq": "jq", "tar": "tar", "find": "findutils", "time": "time"}
RUSTIC = ("rustic-rs", "--version", "0.11.3", "--locked", "--no-default-features")  # needs Rust 1.88


def where(program):
    """Its path, or None."""
    own = os.path.join(CACHE, "bin", program)
    return own if os.access(own, os.X_OK) else shutil.which(program)


def install():
    """Gets what is missing, as far as this user can; what stays missing is said where it would be measured."""
    packages = [package for program, package in PACKAGES.items() if not where(program)]
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {' '.join(packages)}", file=sys.stderr)
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        subprocess.run(["apt-get", "update", "-qq"], env=env, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages], env=env, stdout=subprocess.DEVNULL)
    cargo = shutil.which("cargo") or shutil.which("cargo", path=os.path.expanduser("~/.cargo/bin:/usr/local/cargo/bin"))
    if not where("rustic") and cargo:
        print(f"building {RUSTIC[0]} {RUSTIC[2]} in {CACHE}: once, some minutes", file=sys.stderr)
        subprocess.run([cargo, "install", "--quiet", *RUSTIC, "--root", CACHE, "--target-dir", os.path.join(CACHE, "build")])


def version(program, *words):
    path = where(program)
    said = path and subprocess.run([path, *(words or ["--version"])], capture_output=True, text=True).stdout.strip()
    return said.splitlines()[0] if said else "not installed"


class Program:
    name = binary = ""
    metadata = True  # whether it promises to restore permissions and times

    def __init__(self, runner, folder):
        self.run, self.folder, self.store = runner, folder, os.path.join(folder, "store")
        self.path = where(self.binary)
        self.env, self.tree = {}, None

    def check(self):
        if not where(self.binary):
            raise Failed(f"{self.binary} is not installed")

    def prepare(self, tree):
        """An empty store for this tree."""
        self.check()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.tree = tree

    def ready(self, tree):
        """A store that holds this tree."""
        if self.tree != tree or not os.path.exists(self.store):
            self.prepare(tree)
            self.first()

    def call(self, *words, **more):
        return self.run([self.path, *words], env=self.env, **more)

    def size(self):
        return size(self.store)

    def restored(self, to):
        """Where the tree is after `restore`."""
        return os.path.join(to, os.path.basename(self.tree))

    def proven(self, to):
        """Complains about a restored tree that is not the source."""
        differs = difference(self.tree, self.restored(to), self.metadata)
        if differs:
            raise Failed(f"what {self.name} restored is not the source: {differs}")


class Tar(Program):
    """tar through one compressor; what changed or not makes no difference."""
    binary, name, packs, unpacks = "tar", "tar", "", ""

    def prepare(self, tree):
        super().prepare(tree)
        for words in (self.packs, self.unpacks):
            if not where(words.split()[0]):
                raise Failed(f"{words.split()[0]} is not installed")

    def first(self):
        return self.call("-I", self.packs, "-cf", self.store, "-C", os.path.dirname(self.tree), os.path.basename(self.tree), flush=True)

    def verify(self):
        return self.run([*self.unpacks.split(), "-t", self.store], stdin=self.store)

    def restore(self, to):
        os.makedirs(to)
        return self.call("-I", self.unpacks, "-xf", self.store, "-C", to, flush=True)


class Pigz(Tar):
    name, packs, unpacks = "tar, pigz -6", "pigz -6", "pigz -d"


class Zstd(Tar):
    name, packs, unpacks = "tar, zstd -3", f"zstd -q -3 -T{os.cpu_count()}", "zstd -q -d"


class OldWay(Tar):
    """What the old scripts did: a copy, and tar with gzip over the copy."""
    name, packs, unpacks, metadata = "cp, tar -z", "gzip", "gzip -d", False

    def first(self):
        copy = os.path.join(self.folder, "copy")
        shutil.rmtree(copy, ignore_errors=True)
        return self.run(["cp", "-r", self.tree, copy], ["tar", "-czf", self.store, "-C", self.folder, "copy"], flush=True)

    def verify(self):
        return self.run(["gzip", "-t"], stdin=self.store)

    def restored(self, to):
        return os.path.join(to, "copy")


class Copy(Program):
    """No backup at all: the least that writing the tree once can take."""
    name, binary, metadata = "cp -r", "cp", False

    def prepare(self, tree):
        super().prepare(tree)
        os.makedirs(self.store)

    def first(self):
        pass

    def restore(self, to):
        return self.call("-r", self.tree, to, flush=True)

    def restored(self, to):
        return to


class Restic(Program):
    name = binary = "restic"

    def prepare(self, tree):
        super().prepare(tree)
        self.env = {"RESTIC_REPOSITORY": self.store, "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": os.path.join(self.folder, "cache")}
        self.call("init")

    def first(self):
        return self.call("backup", "--quiet", os.path.basename(self.tree), cwd=os.path.dirname(self.tree), flush=True)

    def again(self):
        return self.first()

    def verify(self):
        return self.call("check", "--quiet", "--read-data")

    def restore(self, to):
        return self.call("restore", "--quiet", "latest", "--target", to, flush=True)


class Rustic(Program):
    name = binary = "rustic"

    def prepare(self, tree):
        super().prepare(tree)
        self.env = {"RUSTIC_REPOSITORY": self.store, "RUSTIC_PASSWORD": "bench", "RUSTIC_CACHE_DIR": os.path.join(self.folder, "cache"),
                    "RUSTIC_NO_PROGRESS": "true", "RUSTIC_LOG_LEVEL": "warn"}
        self.call("init")

    def first(self):
        return self.call("backup", os.path.basename(self.tree), cwd=os.path.dirname(self.tree), flush=True)

    def again(self):
        return self.first()

    def verify(self):
        return self.call("check", "--read-data")

    def restore(self, to):
        return self.call("restore", "latest", to, flush=True)

    def put_back(self):
        """Restores over the tree itself."""
        return self.call("restore", "--delete", f"latest:{os.path.basename(self.tree)}", self.tree, flush=True)


class Borg(Program):
    name = binary = "borg"
    number = 0

    def prepare(self, tree):
        super().prepare(tree)
        self.env = {"BORG_BASE_DIR": self.folder, "BORG_REPO": self.store, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        self.call("init", "--encryption", "none")

    def first(self):
        self.number += 1
        name = os.path.basename(self.tree)
        return self.call("create", "--compression", "zstd,3", f"::{self.number}", name, cwd=os.path.dirname(self.tree), flush=True)

    def again(self):
        return self.first()

    def verify(self):
        return self.call("check", "--verify-data")

    def restore(self, to):
        os.makedirs(to)
        return self.call("extract", f"::{self.number}", cwd=to, flush=True)


class Ours(Program):
    name = "ours"

    def __init__(self, runner, folder, binaries):
        super().__init__(runner, folder)
        self.binaries = binaries
        self.config = os.path.join(folder, "eco.toml")
        self.flags = self.help("eco-snap")

    def check(self):
        if not self.flags:
            raise Failed(f"no eco-snap in {self.binaries}: cargo build --release")

    def help(self, tool):
        try:
            return subprocess.run([os.path.join(self.binaries, tool), "--help"], capture_output=True, text=True).stdout
        except OSError:
            return ""

    def prepare(self, tree, module=None):
        """With the roots that are there, and one of them as a module."""
        super().prepare(tree)
        roots = sorted(name for name in os.listdir(tree) if name not in (module, ".eco"))
        with open(self.config, "w") as file:
            file.write(f'[ecosystem]\nname = "bench"\nroot = "{tree}"\nstore = "{self.store}"\n'
                       f'[scopes]\ndata = {roots}\nconfig = []\n[control]\nstop = ["true"]\nstart = ["true"]\n')
            if module:
                file.write(f'[module.part]\nroots = ["{module}"]\n')

    def call(self, tool, *words, **more):
        return self.run([os.path.join(self.binaries, tool), *words, "-c", self.config, "--json", "--quiet"], **more)

    def first(self):
        return self.call("eco-snap", *(["--full"] if "--full" in self.flags else []), flush=True)

    def again(self):
        if "--differential" not in self.flags:
            raise Failed("this eco-snap has no --differential")
        return self.call("eco-snap", "--differential", flush=True)

    def verify(self):
        return self.call("eco-verify", "latest")

    def restore(self, to, scope="full"):
        return self.call("eco-restore", "latest", "--target", to, "--scope", scope, flush=True)

    def restored(self, to):
        return to

    def module(self, tree):
        """The root whose share of the tree is nearest to one percent: its name, and its shares of bytes and files."""
        bytes_, files = size(tree), count(tree)
        roots = {name: os.path.join(tree, name) for name in sorted(os.listdir(tree)) if name != "config"}
        name = min(roots, key=lambda name: abs(size(roots[name]) / bytes_ - 0.01))
        return name, size(roots[name]) / bytes_, count(roots[name]) / files
