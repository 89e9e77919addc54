//! A bit that flips and an end that is missing, many hundred times: either nobody can tell from what is restored, or it is said to be
//! damage. The library is asked in this process, where a panic would be seen; a part of them goes through the programs, which get
//! little memory.

use crate::harness::{Dice, Tree, World, program};
use crate::reference_readers::{is_root, noise, set_time, text};
use eco::archive::{Archive, Content, extract};
use eco::store::{Depth, Meter, verify};
use eco::time::Timestamp;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Everything that a tree may hold, and little of it, so that headers and index are a large part of the archive.
fn nasty(world: &World) {
    let data = world.path("data");
    for (name, size) in [("0", 0), ("511", 511), ("512", 512), ("513", 513), ("large", (2 << 20) + 1)] {
        world.write(format!("data/{name}"), text(size));
    }
    world.write("data/noise", noise(20_000, 1)).write("config/c", "gamma");
    for number in 0..30 {
        world.write(format!("data/folder-{}/{number}", number % 5), noise(number, number as u64));
    }
    fs::write(data.join(OsStr::from_bytes(b"caf\xe9")), "strange").unwrap();
    fs::write(data.join(OsStr::from_bytes(&[0xe9; 180])), "strange and long").unwrap();
    world.write(format!("data/{}", "n".repeat(200)), "long");
    fs::create_dir(data.join("empty")).unwrap();
    symlink("../config/c", data.join("link")).unwrap();
    symlink(OsStr::from_bytes(&[0xfe; 150]), data.join("odd")).unwrap();
    fs::hard_link(data.join("noise"), world.path("config/also")).unwrap();
    mknodat(CWD, data.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    let sparse = File::create(data.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    sparse.write_all_at(b"an island", 1 << 20).unwrap();
    for (name, value) in [(&b"user.text"[..], &b"value"[..]), (b"user.\xff=%3D", b"\0\n=\xff")] {
        // Where there are none, both sides are without.
        let _ = lsetxattr(data.join("513"), OsStr::from_bytes(name), value, XattrFlags::empty());
    }
    if is_root() {
        lchown(data.join("512"), Some(3_000_000), Some(4_000_000_000)).unwrap();
    }
    fs::set_permissions(data.join("511"), fs::Permissions::from_mode(0o4711)).unwrap();
    set_time(&data.join("511"), -2, 500_000_001);
    set_time(&data.join("0"), 4_000_000_000, 5);
}

/// An archive that is damaged again and again, and the tree that it is of.
struct Victim<'w> {
    world: &'w World,
    archive: PathBuf,
    /// The file that is damaged: the archive itself, or its base.
    file: PathBuf,
    bytes: Vec<u8>,
    was: Tree,
    harmless: usize,
}

impl<'w> Victim<'w> {
    fn new(world: &'w World, archive: &Path, file: &Path) -> Victim<'w> {
        let was = world.tree("").without(&["eco.toml"]);
        Victim { world, archive: archive.into(), file: file.into(), bytes: fs::read(file).unwrap(), was, harmless: 0 }
    }

    fn flip(&mut self, bit: usize) {
        let mut bytes = self.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&self.file, bytes).unwrap();
        if self.is_said_to_be_right(&format!("bit {bit}")) {
            self.harmless += 1;
            let out = tempfile::tempdir_in(self.world.folder()).unwrap();
            let archive = Archive::open(&self.archive).unwrap().unwrap();
            let (index, _) = archive.whole().unwrap();
            let wanted: Vec<usize> = (0..index.entries.len()).collect();
            extract(Content::Seekable(&archive), &index, &wanted, out.path(), None, &|_| (), &AtomicBool::new(false)).unwrap();
            let is = Tree::of(out.path());
            for root in ["config", "data"] {
                let differences = self.was.only(root).differences(&is.only(root));
                assert!(differences.is_empty(), "bit {bit} of {}: {differences:#?}", self.file.display());
            }
        }
    }

    fn cut(&self, length: usize) {
        fs::write(&self.file, &self.bytes[..length]).unwrap();
        assert!(!self.is_said_to_be_right(&format!("its first {length} bytes")), "{length} of {}", self.bytes.len());
    }

    /// What a verification says; it leaves no doubt, and no verdict for the next one.
    fn is_said_to_be_right(&self, what: &str) -> bool {
        let (found, _) = verify(&self.archive, None, Depth::Data, Timestamp::UNIX_EPOCH, &Meter { expect: &|_| (), progress: &|_| () });
        let _ = fs::remove_file(self.archive.with_extension("gz.verified"));
        let ok = found.ok.unwrap_or_else(|| panic!("{what} of {}: {found:?}", self.file.display()));
        assert_eq!(ok, found.damage.is_empty(), "{what}: {found:?}");
        ok && found.depth == "data"
    }
}

/// Where the index begins, as the footer says.
fn index_of(bytes: &[u8]) -> usize {
    let footer = &bytes[bytes.len() - 51..];
    usize::from_str_radix(std::str::from_utf8(&footer[16..32]).unwrap(), 16).unwrap()
}

/// A world with a nasty tree and its archive.
fn captured() -> (World, PathBuf) {
    let world = World::new();
    nasty(&world);
    let archive = world.folder().join("full.tar.gz");
    world.run("eco-snap").arg("-o").arg(&archive).exits(0);
    (world, archive)
}

/// A world with a nasty tree that was captured, changed, and captured again with the first archive as the base of the second.
fn captured_twice() -> (World, PathBuf, PathBuf) {
    let world = World::new();
    nasty(&world);
    // It has to be worth the while.
    world.write("data/ballast", noise(300_000, 9));
    let path = |taken: Value| PathBuf::from(taken["path"].as_str().unwrap());
    let base = path(world.run("eco-snap").exits(0).only());
    let large = File::options().write(true).open(world.path("data/large")).unwrap();
    large.write_all_at(b"another line in its middle", 1_500_000).unwrap();
    world.write("data/new", noise(500, 5)).write("data/513", "another");
    fs::remove_file(world.path("data/512")).unwrap();
    fs::remove_dir_all(world.path("data/folder-3")).unwrap();
    let taken = world.run("eco-snap").arg("--differential").exits(0).only();
    assert_eq!(taken["mode"], "differential", "{taken}");
    (world, base, path(taken))
}

#[test]
fn a_thousand_flipped_bits_are_damage_or_do_not_matter() {
    let (world, archive) = captured();
    let mut victim = Victim::new(&world, &archive, &archive);
    let (length, index) = (victim.bytes.len() * 8, index_of(&victim.bytes) * 8);
    let mut dice = Dice::new(1);
    for number in 0..1000 {
        // Every fourth in the index, which is small and says what all the rest is.
        let bit = if number % 4 == 0 { index + dice.roll(length - index) } else { dice.roll(length) };
        victim.flip(bit);
    }
    assert!(victim.harmless < 150, "{} of 1000 flips were not noticed", victim.harmless);
}

#[test]
fn two_hundred_missing_ends_are_damage() {
    let (world, archive) = captured();
    let victim = Victim::new(&world, &archive, &archive);
    let mut dice = Dice::new(2);
    let last = victim.bytes.len();
    let index = index_of(&victim.bytes);
    for number in 0..200 {
        match number {
            0..60 => victim.cut(last - 1 - number),
            60..100 => victim.cut(index - 20 + number - 60),
            _ => victim.cut(dice.roll(last)),
        }
    }
}

#[test]
fn flipped_bits_in_a_differential_archive_are_damage_or_do_not_matter() {
    let (world, _, archive) = captured_twice();
    let mut victim = Victim::new(&world, &archive, &archive);
    let mut dice = Dice::new(3);
    for _ in 0..250 {
        victim.flip(dice.roll(victim.bytes.len() * 8));
    }
    assert!(victim.harmless < 50, "{} of 250 flips were not noticed", victim.harmless);
    (0..60).for_each(|_| victim.cut(dice.roll(victim.bytes.len())));
}

#[test]
fn flipped_bits_in_the_base_are_damage_of_what_needs_it_or_do_not_matter() {
    let (world, base, archive) = captured_twice();
    let mut victim = Victim::new(&world, &archive, &base);
    let mut dice = Dice::new(4);
    let index = index_of(&victim.bytes) * 8;
    for number in 0..300 {
        let length = victim.bytes.len() * 8;
        let bit = if number % 4 == 0 { index + dice.roll(length - index) } else { dice.roll(length) };
        victim.flip(bit);
    }
    // Headers in the base, and files that have changed since, are of no use to this one.
    assert!(victim.harmless < 150, "{} of 300 flips were not noticed", victim.harmless);
    (0..40).for_each(|_| victim.cut(dice.roll(victim.bytes.len())));
}

#[test]
fn damage_takes_the_programs_no_memory_and_ends_none_of_them() {
    let (world, archive) = captured();
    let bytes = fs::read(&archive).unwrap();
    let folder = world.folder().join("flipped");
    fs::create_dir(&folder).unwrap();
    let mut dice = Dice::new(5);
    let names: Vec<PathBuf> = (0..100).map(|number| folder.join(format!("{number}.tar.gz"))).collect();
    for (number, name) in names.iter().enumerate() {
        let mut copy = bytes.clone();
        let bit = dice.roll(copy.len() * 8);
        copy[bit / 8] ^= 1 << (bit % 8);
        copy.truncate(if number % 5 == 0 { bit / 8 } else { copy.len() });
        fs::write(name, copy).unwrap();
    }
    let limited = |name: &str| world.run("sh").args(["-c", "ulimit -v 262144; exec \"$0\" \"$@\""]).arg(program(name));
    let ran = limited("eco-verify").args(&names).exits(1);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let found = ran.records();
    assert_eq!(found.len(), names.len());
    let before = world.tree("").without(&["eco.toml"]);
    for (number, (name, found)) in names.iter().zip(&found).enumerate() {
        assert!(found["ok"].is_boolean(), "{found}");
        let right = found["ok"] == true;
        // Each that is right, and some of the others.
        if right || number % 6 == 0 {
            let out = folder.join("out");
            let ran = limited("eco-restore").arg(name).arg("--target").arg(&out).ran();
            // It does not need the headers, which are damaged where it restores everything all the same.
            if ran.code == 0 {
                ["config", "data"].into_iter().for_each(|root| before.only(root).same_as(&Tree::of(&out).only(root)));
                fs::remove_dir_all(out).unwrap();
            } else {
                assert!(!right && (ran.code == 3 || ran.code == 4) && !out.exists(), "{ran}");
            }
        }
    }
}
