//! Trees that nobody thought of: whatever is captured is unpacked by GNU tar, bsdtar and eco-restore, and other programs say whether
//! it is the same. Then they are changed, and captured again as what differs. `ECO_SEED` makes the trees of another run, `ECO_EVERY_MOMENT` ten times as many of them.

use crate::harness::{Dice, World, not_shown};
use crate::reference_readers::{is_root, noise, not_tested, set_time, text, top};
use rustix::fs::{AtFlags, CWD, FileType, Mode, XattrFlags, linkat, lsetxattr, mknodat};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

const DEEPEST: usize = 4;

const MOST_ENTRIES: usize = 25;

/// One tree that is being made below `data/N` and `config/N`, and what was done.
struct Growing<'w> {
    world: &'w World,
    dice: &'w mut Dice,
    said: String,
    folders: Vec<(PathBuf, usize)>,
    /// Files and pipes, which may get further names.
    nodes: Vec<PathBuf>,
    /// What has attributes and permissions of its own, and what is a link.
    made: Vec<(PathBuf, FileType)>,
}

impl Growing<'_> {
    fn say(&mut self, what: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.said, "  {what}");
    }

    /// A name of any bytes that is still free.
    fn name(&mut self, folder: &Path) -> PathBuf {
        loop {
            let length = match self.dice.roll(40) {
                0 => 255,
                1..5 => 60 + self.dice.roll(120),
                _ => 1 + self.dice.roll(12),
            };
            let strange = self.dice.roll(2) == 0;
            let name: Vec<u8> = (0..length)
                .map(|_| match self.dice.roll(255) as u8 + 1 {
                    b'/' => b'_',
                    byte if strange => byte,
                    byte => b'a' + byte % 26,
                })
                .collect();
            let path = folder.join(OsStr::from_bytes(&name));
            if name != b"." && name != b".." && path.symlink_metadata().is_err() {
                return path;
            }
        }
    }

    fn grow(&mut self) {
        let count = 1 + self.dice.roll(MOST_ENTRIES);
        for _ in 0..count {
            let (folder, depth) = self.folders[self.dice.roll(self.folders.len())].clone();
            let path = self.name(&folder);
            let shown = path.strip_prefix(self.world.root()).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
            match self.dice.roll(20) {
                0..5 if depth < DEEPEST => {
                    fs::create_dir(&path).unwrap();
                    self.say(format_args!("folder {shown}"));
                    self.folders.push((path.clone(), depth + 1));
                    self.made.push((path, FileType::Directory));
                }
                5 | 6 => {
                    let length = [1, 5, 30, 99, 100, 101, 300][self.dice.roll(7)];
                    let target: Vec<u8> = (0..length).map(|_| self.dice.roll(255) as u8 + 1).collect();
                    symlink(OsStr::from_bytes(&target), &path).unwrap();
                    self.say(format_args!("link {shown} to {}", target.escape_ascii()));
                    self.made.push((path, FileType::Symlink));
                }
                7 | 8 if !self.nodes.is_empty() => {
                    let first = self.nodes[self.dice.roll(self.nodes.len())].clone();
                    linkat(CWD, &first, CWD, &path, AtFlags::empty()).unwrap();
                    let first = first.strip_prefix(self.world.root()).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
                    self.say(format_args!("further name {shown} of {first}"));
                }
                9 => {
                    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
                    self.say(format_args!("pipe {shown}"));
                    self.nodes.push(path.clone());
                    self.made.push((path, FileType::Fifo));
                }
                _ => {
                    self.file(&path, &shown);
                    self.nodes.push(path.clone());
                    self.made.push((path, FileType::RegularFile));
                }
            }
        }
        // From below, so that nobody's time is changed again, and last the two tops.
        for (path, kind) in std::mem::take(&mut self.made).into_iter().rev() {
            self.dress(&path, kind);
        }
    }

    fn file(&mut self, path: &Path, shown: &str) {
        let size = match self.dice.roll(60) {
            0 => (1 << 20) - 1 + self.dice.roll(3),
            n => [0, 1, 511, 512, 513, 100 + n * 37][n % 6],
        };
        let seed = self.dice.roll(1 << 20) as u64;
        match self.dice.roll(12) {
            0 => {
                let length = (1 + self.dice.roll(40)) as u64 * 65_537;
                let file = File::create(path).unwrap();
                file.set_len(length).unwrap();
                let islands: Vec<u64> = (0..self.dice.roll(3)).map(|_| self.dice.roll(length as usize - 100) as u64).collect();
                islands.iter().for_each(|at| file.write_all_at(b"an island", *at).unwrap());
                self.say(format_args!("file {shown} of {length} bytes with data at {islands:?}"));
            }
            1..6 => {
                fs::write(path, noise(size, seed)).unwrap();
                self.say(format_args!("file {shown} of {size} bytes of noise, seed {seed}"));
            }
            _ => {
                fs::write(path, text(size)).unwrap();
                self.say(format_args!("file {shown} of {size} bytes of text"));
            }
        }
    }

    /// Owner, permissions, attributes, times, in the order in which one does not undo the other.
    fn dress(&mut self, path: &Path, kind: FileType) {
        let mut done = String::new();
        if is_root() && self.dice.roll(3) == 0 {
            let ids = [0, 1, 1234, 65_534, 3_000_000, 4_000_000_000];
            let (uid, gid) = (ids[self.dice.roll(6)], ids[self.dice.roll(6)]);
            lchown(path, Some(uid), Some(gid)).unwrap();
            let _ = write!(done, " {uid}:{gid}");
        }
        if kind != FileType::Symlink {
            // Others than root must be able to read it.
            let mode = if is_root() { self.dice.roll(0o10000) } else { self.dice.roll(0o100) | 0o700 } as u32;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            let _ = write!(done, " {mode:04o}");
        }
        if matches!(kind, FileType::Directory | FileType::RegularFile) {
            for _ in 0..self.dice.roll(8).saturating_sub(5) {
                let mut name = b"user.".to_vec();
                name.extend((0..1 + self.dice.roll(8)).map(|_| self.dice.roll(255) as u8 + 1));
                let value: Vec<u8> = (0..self.dice.roll(20)).map(|_| self.dice.roll(256) as u8).collect();
                self.attribute(path, &name, &value);
                let _ = write!(done, " {}={}", name.escape_ascii(), value.escape_ascii());
            }
            for (name, folder) in [("system.posix_acl_access", false), ("system.posix_acl_default", true)] {
                if self.dice.roll(8) == 0 && (!folder || kind == FileType::Directory) {
                    let bits: Vec<u16> = (0..5).map(|_| self.dice.roll(8) as u16).collect();
                    self.attribute(path, name.as_bytes(), &acl(&bits));
                    let _ = write!(done, " {name} {bits:?}");
                }
            }
        }
        let seconds = match self.dice.roll(4) {
            0 => -(self.dice.roll(2_000_000_000) as i64),
            1 => [0, -1, -2, 1, 4_000_000_000, 8_589_934_592][self.dice.roll(6)],
            _ => 1_700_000_000 + self.dice.roll(100_000_000) as i64,
        };
        let nanos = [0, 1, 999_999_999, self.dice.roll(1_000_000_000) as i64][self.dice.roll(4)];
        set_time(path, seconds, nanos);
        let shown = path.strip_prefix(self.world.root()).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
        self.say(format_args!("{shown}:{done} {seconds}+{nanos}ns"));
    }

    fn attribute(&self, path: &Path, name: &[u8], value: &[u8]) {
        if let Err(e) = lsetxattr(path, OsStr::from_bytes(name), value, XattrFlags::empty()) {
            not_tested("attributes of random trees", &e.to_string());
        }
    }
}

/// A list with entries for owner, user 1234, group, mask and others, as the kernel keeps it.
fn acl(bits: &[u16]) -> Vec<u8> {
    let tags = [(0x01, u32::MAX), (0x02, 1234), (0x04, u32::MAX), (0x10, u32::MAX), (0x20, u32::MAX)];
    let entries = tags.iter().zip(bits).flat_map(|((tag, id), bits)| [&u16::to_le_bytes(*tag)[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat());
    2_u32.to_le_bytes().into_iter().chain(entries).collect()
}

/// Grows so many trees beside each other, and says how.
fn grown(world: &World, dice: &mut Dice, count: usize) -> String {
    let mut said = String::new();
    for number in 0..count {
        let tops = ["data", "config"].map(|root| world.path(format!("{root}/{number}")));
        tops.iter().for_each(|top| fs::create_dir_all(top).unwrap());
        let folders = tops.iter().map(|top| (top.clone(), 1)).collect();
        let made = tops.into_iter().map(|top| (top, FileType::Directory)).collect();
        let mut growing = Growing { world, dice, said: format!("tree {number}\n"), folders, nodes: Vec::new(), made };
        growing.grow();
        said += &growing.said;
    }
    said
}

/// Does something to every twelfth name of the trees, and says what.
fn changed(world: &World, dice: &mut Dice) -> String {
    let mut said = String::new();
    for name in ["data", "config"].into_iter().flat_map(|root| world.tree(root).names().into_iter().map(move |name| Path::new(root).join(name))) {
        let path = world.path(&name);
        // What stood above it may be gone or something else by now.
        let Ok(meta) = path.symlink_metadata() else { continue };
        if name.components().count() < 3 || dice.roll(12) != 0 {
            continue;
        }
        let remove = || if meta.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() };
        let beside = path.with_file_name(format!("new {}", dice.roll(1 << 30)));
        let what = match dice.roll(7) {
            0 => {
                remove();
                "removed"
            }
            1 if meta.is_file() => {
                let file = File::options().write(true).open(&path).unwrap();
                file.write_all_at(b"something else", meta.len() / 2).unwrap();
                "written"
            }
            2 if !meta.is_symlink() => {
                fs::set_permissions(&path, fs::Permissions::from_mode(dice.roll(0o100) as u32 | 0o700)).unwrap();
                "other permissions"
            }
            3 => {
                remove();
                match dice.roll(4) {
                    0 => fs::create_dir(&path).unwrap(),
                    1 => symlink("somewhere", &path).unwrap(),
                    2 => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap(),
                    _ => fs::write(&path, "a file now").unwrap(),
                }
                "of another kind, perhaps"
            }
            4 if !meta.is_dir() && !meta.is_symlink() => {
                linkat(CWD, &path, CWD, &beside, AtFlags::empty()).unwrap();
                "a further name"
            }
            5 => {
                fs::rename(&path, &beside).unwrap();
                "renamed"
            }
            _ => {
                set_time(&path, dice.roll(1 << 30) as i64, dice.roll(1_000_000_000) as i64);
                "another time"
            }
        };
        let _ = writeln!(said, "  {}: {what}", name.as_os_str().as_bytes().escape_ascii());
    }
    said
}

/// Whether a difference is known of the program: what is told, how it was told before, how it is told now.
type Known = fn(&str, Option<&str>, Option<&str>) -> bool;

/// What other programs say about `data` and `config` below a folder, sorted; and of each name its first one with the same inode.
struct Portrait {
    lines: BTreeMap<String, String>,
}

fn ask(world: &World, folder: &Path, program: &str, words: &[&str]) -> String {
    let mut command = world.run(program).args(words).env("LC_ALL", "C").command();
    let done = command.current_dir(folder).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    // Exactly: names and attributes are any bytes.
    let mut said = String::new();
    for byte in done.stdout {
        if byte.is_ascii() { said.push(char::from(byte)) } else { said += &format!("\\x{byte:02x}") }
    }
    said
}

impl Portrait {
    fn of(world: &World, folder: &Path) -> Portrait {
        let mut lines = BTreeMap::new();
        let wanted = "--options=!all,type,mode,uid,gid,time,size,sha256,link,nlink";
        for line in
            ask(world, folder, "bsdtar", &["--format=mtree", wanted, "-cf", "-", "data", "config"]).lines().filter(|line| !line.starts_with('#'))
        {
            let (name, told) = line.split_once(' ').unwrap();
            lines.insert(format!("entry {name}"), told.to_owned());
        }
        for (program, words) in [("getfattr", &["-dRh", "-m-", "-ehex", "--", "data", "config"][..]), ("getfacl", &["-RnP", "--", "data", "config"])]
        {
            for block in ask(world, folder, program, words).split("\n\n").filter(|block| !block.is_empty()) {
                let (name, told) = block.split_once('\n').unwrap();
                lines.insert(format!("{program} {name}"), told.to_owned());
            }
        }
        let mut first: HashMap<String, String> = HashMap::new();
        let listed = ask(world, folder, "find", &["data", "config", "-type", "f", "-links", "+1", "-printf", "%i %p\\0"]);
        let named: BTreeSet<(&str, &str)> = listed.split_terminator('\0').map(|line| line.split_once(' ').unwrap()).map(|(i, p)| (p, i)).collect();
        for (path, inode) in named {
            let first = first.entry(inode.to_owned()).or_insert_with(|| path.to_owned());
            lines.insert(format!("same {path}"), first.clone());
        }
        Portrait { lines }
    }

    /// How the other one differs, but for what is known of the program that made it.
    fn differences(&self, other: &Portrait, known: Known) -> Vec<String> {
        let keys: BTreeSet<&String> = self.lines.keys().chain(other.lines.keys()).collect();
        let both = keys.into_iter().map(|key| (key, self.lines.get(key).map(String::as_str), other.lines.get(key).map(String::as_str)));
        let different = both.filter(|(key, was, is)| was != is && !known(key, *was, *is));
        different.map(|(key, was, is)| format!("{key}\n  was {}\n  is  {}", was.unwrap_or("-"), is.unwrap_or("-"))).collect()
    }
}

/// bsdtar loses the sign of a fraction: it reads -1.5 as half a second after -1. And it takes the escapes of GNU tar for a part of an
/// attribute's name.
fn known_of_bsdtar(key: &str, was: Option<&str>, is: Option<&str>) -> bool {
    let (Some(was), Some(is)) = (was, is) else { return false };
    if key.starts_with("getfattr") {
        let plain = |told: &str| told.lines().filter(|line| !line.contains("\\075") && !line.contains('%')).map(str::to_owned).collect::<Vec<_>>();
        let escaped = |told: &str| told.lines().count() - plain(told).len();
        return plain(was) == plain(is) && escaped(was) == escaped(is);
    }
    let apart = |told: &str| -> Option<(String, i64, i64)> {
        let time = told.split(' ').find_map(|word| word.strip_prefix("time="))?;
        let (seconds, nanos) = time.split_once('.')?;
        Some((told.replace(time, ""), seconds.parse().ok()?, nanos.parse().ok()?))
    };
    let (Some((was, seconds, nanos)), Some((is, other, _))) = (apart(was), apart(is)) else { return false };
    was == is && seconds < 0 && nanos > 0 && (other - seconds).abs() <= 1
}

/// Captures so many random trees together, unpacks them with everything there is, and compares.
fn survive(seed: u64, count: usize) {
    let mut dice = Dice::new(seed);
    let world = World::new();
    let said = grown(&world, &mut dice, count);
    if count > 1 {
        // What differs must not be half of it.
        world.write("data/ballast", noise(3 << 20, seed));
    }
    // One in the store can be the base of another one.
    let archive = if count == 1 { world.folder().join("full.tar.gz") } else { world.store().join("full.tar.gz") };
    fs::create_dir_all(world.store()).unwrap();
    world.run("eco-snap").arg("-o").arg(&archive).exits(0);
    let before = Portrait::of(&world, &world.root());
    let out = |name: &str| {
        let out = world.folder().join(name);
        fs::create_dir(&out).unwrap();
        out
    };
    let same = |before: &Portrait, program: &str, folder: &Path, known: Known| {
        let differences = before.differences(&Portrait::of(&world, folder), known);
        assert!(differences.is_empty(), "{program}, ECO_SEED={seed} for {count} trees:\n{}\n{said}", differences.join("\n"));
        world.run("rm").arg("-rf").arg(folder).exits(0);
    };
    let gnu = out("gnu");
    let words = ["--acls", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "--exclude=stargz.index.json", "-xpzf"];
    world.run("tar").args(words).arg(&archive).arg("-C").arg(&gnu).exits(0);
    same(&before, "tar", &top(&gnu), |_, _, _| false);
    let bsd = out("bsd");
    let ran = world.run("bsdtar").args(["--exclude=stargz.index.json", "-xpf"]).arg(&archive).arg("-C").arg(&bsd).env("LC_ALL", "C.UTF-8").exits(0);
    assert_eq!(ran.stderr, "");
    same(&before, "bsdtar", &top(&bsd), known_of_bsdtar);
    let own = out("own");
    world.run("eco-restore").arg(&archive).arg("--target").arg(&own).exits(0);
    same(&before, "eco-restore", &own, |_, _, _| false);
    if count == 1 {
        return;
    }
    let said = said + "then\n" + &changed(&world, &mut dice);
    let ran = world.run("eco-snap").arg("--differential").exits(0);
    // Names of a file that were moved are a reason for a full one.
    assert!(ran.only()["mode"] == "differential" || ran.stderr.contains("several names"), "{ran}");
    world.run("eco-verify").arg("latest").exits(0);
    let own = out("differential");
    world.run("eco-restore").arg("latest").arg("--target").arg(&own).exits(0);
    let differences = Portrait::of(&world, &world.root()).differences(&Portrait::of(&world, &own), |_, _, _| false);
    assert!(differences.is_empty(), "a differential snapshot, ECO_SEED={seed}:\n{}\n{said}", differences.join("\n"));
}

/// The seeds of so many worlds.
fn seeds(worlds: u64) -> Vec<u64> {
    if let Some(seed) = std::env::var_os("ECO_SEED") {
        return vec![seed.to_str().and_then(|seed| seed.parse().ok()).expect("ECO_SEED is a number")];
    }
    let times = if std::env::var_os("ECO_EVERY_MOMENT").is_some() { 10 } else { 1 };
    (1..=worlds * times).collect()
}

fn can_ask() -> bool {
    let missing: Vec<&str> = ["bsdtar", "getfattr", "getfacl"].into_iter().filter(|program| !Path::new("/usr/bin").join(program).exists()).collect();
    if !missing.is_empty() {
        not_tested("random trees", &format!("{} cannot be asked", missing.join(", ")));
    } else if !is_root() {
        not_shown("owners of random trees", "only root can give files away");
    }
    missing.is_empty()
}

#[test]
fn five_hundred_random_trees_survive_in_company() {
    if can_ask() {
        // Most of the time goes by with waiting for the disk.
        let seeds = seeds(20);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                        survive(*seed, 25);
                    }
                });
            }
        });
    }
}

#[test]
fn twenty_random_trees_survive_alone() {
    if can_ask() {
        seeds(20).into_iter().for_each(|seed| survive(1000 + seed, 1));
    }
}
