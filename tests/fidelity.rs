//! Trees that are hard to capture: what comes back must be what was there.

use crate::harness::{Tree, World};
use crate::reference_readers::{is_root, noise};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, fsetxattr, mkdirat, openat, readlinkat, statat, symlinkat, utimensat};
use rustix::fs::{Timespec, Timestamps, XattrFlags};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, FOLDER, Mode::empty()).unwrap()
}

/// A file with two names, a link and a pipe.
fn fill(folder: &OwnedFd, depth: usize) {
    let file = openat(folder, "file", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o640)).unwrap();
    let _ = fsetxattr(&file, "user.depth", depth.to_string().as_bytes(), XattrFlags::empty());
    File::from(file).write_all(format!("{depth} levels down").as_bytes()).unwrap();
    rustix::fs::linkat(folder, "file", folder, "same", AtFlags::empty()).unwrap();
    rustix::fs::mknodat(folder, "pipe", FileType::Fifo, Mode::RUSR, 0).unwrap();
    symlinkat("file", folder, "link").unwrap();
    let time = Timespec { tv_sec: 1_600_000_000 + depth as i64, tv_nsec: 7 };
    let times = Timestamps { last_access: time, last_modification: time };
    for name in ["file", "pipe", "link"] {
        utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// Folders in folders below `at`, every eighth with something in it.
fn dig(at: OwnedFd, names: impl Iterator<Item = String>) {
    let mut here = at;
    for (depth, name) in names.enumerate() {
        mkdirat(&here, &name, Mode::RWXU).unwrap();
        let below = openat(&here, &name, FOLDER, Mode::empty()).unwrap();
        // Where the filesystem has no attributes, both sides are without.
        let _ = fsetxattr(&below, "user.depth", depth.to_string().as_bytes(), XattrFlags::empty());
        if depth % 8 == 0 {
            fill(&below, depth);
        }
        here = below;
    }
}

/// What is below a folder in which no folder holds two others, one line for each name.
fn descend(top: OwnedFd) -> Vec<String> {
    let (mut seen, mut here, mut depth) = (Vec::new(), Some(top), 0);
    while let Some(folder) = here.take() {
        let mut names: Vec<OsString> = Dir::read_from(&folder)
            .unwrap()
            .map(|entry| OsString::from_vec(entry.unwrap().file_name().to_bytes().to_vec()))
            .filter(|name| name != "." && name != "..")
            .collect();
        names.sort();
        for name in names {
            let stat = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let content = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let below = openat(&folder, &name, FOLDER, Mode::empty()).unwrap();
                    let told = attribute(&below);
                    here = Some(below);
                    told
                }
                FileType::Symlink => format!("{:?}", readlinkat(&folder, &name, Vec::new()).unwrap()),
                FileType::RegularFile => {
                    let mut file = File::from(openat(&folder, &name, OFlags::RDONLY, Mode::empty()).unwrap());
                    let mut content = String::new();
                    file.read_to_string(&mut content).unwrap();
                    content + &attribute(&file)
                }
                _ => String::new(),
            };
            seen.push(format!("{depth} {name:?} {} {content}", metadata(&stat)));
        }
        depth += 1;
    }
    seen
}

fn metadata(stat: &Stat) -> String {
    let links = if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile { stat.st_nlink } else { 0 };
    format!("{:o} {} {}.{} links {links}", stat.st_mode, stat.st_uid, stat.st_mtime, stat.st_mtime_nsec)
}

fn attribute(file: impl std::os::fd::AsFd) -> String {
    let mut value = [0; 16];
    fgetxattr(file, "user.depth", &mut value).map_or(String::new(), |length| String::from_utf8_lossy(&value[..length]).into_owned())
}

/// Captured, verified beside the live tree and restored with few open files: the copy is the same.
fn survives(names: impl Iterator<Item = String>) {
    let world = World::new();
    world.write("data/first", "x").write("config/settings", "y");
    dig(open(&world.path("data")), names);
    let before = descend(open(&world.path("data")));
    let out = world.folder().join("out");
    let few = |words: &str| {
        let program = words.split(' ').next().unwrap();
        let words = words.replacen(program, &format!("exec {}", crate::harness::program(program).display()), 1);
        world.run("sh").args(["-c", &format!("ulimit -n 128; {words}")])
    };
    few("eco-snap").exits(0);
    let record = few("eco-ls").exits(0).stdout;
    few("eco-verify").stdin(&record).exits(0);
    few("eco-verify --live").stdin(&record).exits(0);
    few(&format!("eco-restore latest --target {}", out.display())).exits(0);
    let after = descend(open(&out.join("data")));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    // The harness removes its folder by recursion.
    world.run("rm").args(["-rf"]).arg(world.path("data")).arg(&out).exits(0);
}

#[test]
fn paths_longer_than_the_system_takes_come_back() {
    survives((0..25).map(|depth| format!("{depth:0200}")));
}

#[test]
fn folders_deeper_than_there_are_descriptors_come_back() {
    survives((0..1500).map(|depth| format!("d{depth}")));
}

/// The parts of a file that are no holes: where, how long, and their digest.
fn data(path: &Path) -> Vec<(u64, u64, Vec<u8>)> {
    use rustix::fs::{SeekFrom, seek};
    let file = File::open(path).unwrap();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(start)).unwrap();
        let mut bytes = vec![0; (at - start) as usize];
        file.read_exact_at(&mut bytes, start).unwrap();
        found.push((start, at - start, Sha256::digest(&bytes).to_vec()));
    }
    found
}

#[test]
fn a_file_that_is_mostly_a_hole_takes_no_room_and_comes_back_with_it() {
    // Ten times as large it works just as well, and reading that many zeros six times takes minutes.
    const SIZE: u64 = 2 << 30;
    let world = World::new();
    world.write("config/settings", "y").write("data/image", "");
    let image = File::options().write(true).open(world.path("data/image")).unwrap();
    image.set_len(SIZE).unwrap();
    image.write_all_at(&noise(1 << 20, 5), SIZE / 2).unwrap();
    // Zeros that are no hole, in a file that begins and ends with one.
    world.write("data/small", "");
    let small = File::options().write(true).open(world.path("data/small")).unwrap();
    small.write_all_at(&[0; 65536], 65536).unwrap();
    small.write_all_at(b"x", 200_000).unwrap();
    small.set_len(500_000).unwrap();
    let blocks = |path: &Path| fs::symlink_metadata(path).unwrap().blocks();
    if blocks(&world.path("data/image")) * 512 > SIZE / 2 {
        return crate::harness::not_shown("sparse files", "this filesystem has none");
    }

    let archive = world.run("eco-snap").exits(0).only()["archive_bytes"].as_u64().unwrap();
    // What cannot shrink, and deflate's best for the rest: a thousandth.
    assert!(archive < (1 << 20) + SIZE / 900, "{archive} bytes");
    world.run("eco-verify").arg("latest").exits(0);
    world.run("eco-verify").args(["latest", "--live"]).exits(0);
    let out = world.folder().join("out");
    world.run("eco-restore").arg("latest").arg("--target").arg(&out).exits(0);
    for name in ["data/image", "data/small"] {
        let (was, is) = (world.path(name), out.join(name));
        assert_eq!(fs::metadata(&was).unwrap().len(), fs::metadata(&is).unwrap().len());
        assert!(blocks(&is).abs_diff(blocks(&was)) <= blocks(&was) / 10, "{name}: {} blocks, {} before", blocks(&is), blocks(&was));
        assert_eq!(data(&was), data(&is), "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_counted_and_nothing_is_stored() {
    if !is_root() {
        return crate::harness::not_shown("files of somebody else", "only root can give files away");
    }
    let world = World::new();
    for number in 0..30 {
        world.write(format!("data/closed-{number:02}"), "secret");
        fs::set_permissions(world.path(format!("data/closed-{number:02}")), fs::Permissions::from_mode(0o600)).unwrap();
    }
    world.write("data/open", "x").write("data/folder/inside", "x").write("config/settings", "y");
    fs::set_permissions(world.path("data/folder"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(world.store()).unwrap();
    std::os::unix::fs::chown(world.store(), Some(1234), Some(1234)).unwrap();
    let stored = |world: &World| world.tree("../shop-store").names().len();

    let program = world.folder().join("eco-snap");
    fs::copy(crate::harness::program("eco-snap"), &program).unwrap();
    let snap = || world.run(program.to_str().unwrap()).user(1234);
    let ran = snap().exits(3).says("31 cannot be read: cannot read ").says("data/closed-19: permission denied; and 11 more").says("run it as");
    assert!(!ran.stderr.contains("closed-20") && ran.stdout.is_empty(), "{ran}");
    assert!(!world.tree("../shop-store").names().iter().any(|name| name.to_string_lossy().contains("tar.gz")), "{}", world.tree("../shop-store"));

    // A single one is told as it is; one that is left out is in nobody's way.
    world.config("[snapshot]\nexclude = [\"folder\", \"closed-*\"]\n").write("data/one", "x");
    fs::set_permissions(world.path("data/one"), fs::Permissions::from_mode(0o000)).unwrap();
    snap().exits(3).says("shop/data/one: permission denied; run it as the owner or as root, or exclude it in eco.toml");
    let before = stored(&world);
    fs::remove_file(world.path("data/one")).unwrap();
    snap().exits(0);
    assert!(stored(&world) > before);
}

/// Unpacks the latest snapshot with eco-restore and with the two tars, and hands each result to `check`.
fn unpacked(world: &World, check: impl Fn(&str, &Path)) {
    let archive = world.run("eco-ls").arg("latest").exits(0).only()["path"].as_str().unwrap().to_owned();
    let out = world.folder().join("restored");
    world.run("eco-restore").arg("latest").arg("--target").arg(&out).exits(0);
    check("eco-restore", &out);
    let stock: [(&str, &[&str]); 2] =
        [("tar", &["--xattrs", "--xattrs-include=*", "--strip-components=1", "-xpzf"]), ("bsdtar", &["--strip-components=1", "-xpf"])];
    for (program, words) in stock {
        let out = world.folder().join(program);
        fs::create_dir(&out).unwrap();
        world.run(program).args(words).arg(&archive).arg("-C").arg(&out).env("LC_ALL", "C.UTF-8").exits(0);
        check(program, &out);
    }
}

#[test]
fn every_byte_that_a_name_may_hold_comes_back() {
    let world = World::new();
    world.write("config/settings", "y").write("data/plain", "x");
    let every: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    for byte in &every {
        for name in [vec![b'n', *byte], vec![*byte, b'n'], vec![*byte]] {
            if name != b"." {
                fs::write(world.path("data").join(OsString::from_vec(name.clone())), &name).unwrap();
            }
        }
    }
    fs::write(world.path("data").join(OsString::from_vec(every.clone())), "all").unwrap();
    let before = world.tree("data");
    world.run("eco-snap").exits(0);
    world.run("eco-verify").args(["latest", "--live"]).exits(0);

    let listed = world.run("eco-ls").args(["latest", "--files"]).exits(0).all("entry");
    let mut names: Vec<PathBuf> = listed.iter().map(path_of).filter(|path| path.starts_with("data") && path != Path::new("data")).collect();
    names.sort();
    let there: Vec<PathBuf> = before.names().into_iter().filter(|name| name != Path::new("")).map(|name| Path::new("data").join(name)).collect();
    assert!(names == there, "{} names are listed, {} are there", names.len(), there.len());

    unpacked(&world, |program, out| {
        let differences = before.differences(&Tree::of(&out.join("data")));
        assert!(differences.is_empty(), "{program}:\n{}", differences.join("\n"));
    });
}

/// The path of a record, from its bytes where there are any.
fn path_of(record: &Value) -> PathBuf {
    match record["path_b64"].as_str() {
        None => record["path"].as_str().unwrap().into(),
        Some(b64) => OsString::from_vec(base64(b64)).into(),
    }
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|d| *d == c);
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for value in text.bytes().filter_map(digit) {
        (bits, held) = (bits << 6 | value as u32, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[test]
fn attributes_come_back_whatever_bytes_their_names_are() {
    let world = World::new();
    world.write("config/settings", "y").write("data/file", "x");
    for name in [&b"user.\xff"[..], b"user.\xfe\x80 odd", b"user.\xc3\xa9", b"user.a=b", b"user.=", b"user.50%3D", b"user.%25", b"user.a%b"] {
        for path in ["data", "data/file"] {
            let value = [name, b"\0\xff\n="].concat();
            if let Err(e) = rustix::fs::lsetxattr(world.path(path), OsStr::from_bytes(name), &value, XattrFlags::empty()) {
                return crate::harness::not_shown("extended attributes", &e.to_string());
            }
        }
    }
    let before = world.tree("data");
    world.run("eco-snap").exits(0);
    world.run("eco-verify").args(["latest", "--live"]).exits(0);
    unpacked(&world, |program, out| {
        let tree = Tree::of(&out.join("data"));
        // It takes the escapes of GNU tar for a part of the name.
        let known = |line: &String| program != "bsdtar" || !line.contains('=');
        let differences: Vec<String> = before.differences(&tree).into_iter().filter(known).collect();
        assert!(differences.is_empty(), "{program}:\n{}", differences.join("\n"));
    });
}

#[test]
fn owners_with_other_numbers_here_are_told() {
    if !is_root() {
        return crate::harness::not_shown("owners", "only root can give files away");
    }
    let world = World::new();
    world.write("old/data/by-name", "x").write("old/data/strange", "x").write("old/config/settings", "y");
    let archive = world.folder().join("old.tar");
    let pack = |owner: &str, group: &str, path: &str, how: &str| {
        let words = [format!("--owner={owner}"), format!("--group={group}"), how.to_owned()];
        world.run("tar").args(words).arg(&archive).arg("-C").arg(world.path("old")).arg(path).exits(0);
    };
    // Nobody's numbers are these anywhere.
    pack("root:0", "root:0", "config", "-cf");
    pack("daemon:54321", "daemon:1", "data/by-name", "-rf");
    pack("no-such-user:54322", "no-such-group:54323", "data/strange", "-rf");
    let restore = |out: &str, words: &[&str]| {
        let out = world.folder().join(out);
        let ran = world.run("eco-restore").arg(&archive).arg("--target").arg(&out).args(words).exits(0);
        (ran, out)
    };
    let (ran, out) = restore("out", &[]);
    let ran = ran.says("1 name of owners has another number here, which is used; 2 are unknown here: the number is used");
    assert!(!ran.stderr.contains("no-such-user"), "{ran}");
    let owner = |name: &str| fs::metadata(out.join(name)).map(|meta| (meta.uid(), meta.gid())).unwrap();
    assert_eq!(owner("data/by-name"), (1, 1));
    assert_eq!(owner("data/strange"), (54322, 54323));
    let (ran, _) = restore("again", &["-v"]);
    let said = ["user daemon was 54321 and is 1 here", "user no-such-user is unknown here: 54322 is used", "group no-such-group is unknown"];
    said.into_iter().fold(ran, |ran, words| ran.says(words));
}

#[test]
fn pipes_with_several_names_keep_them() {
    let world = World::new();
    world.config("[module.mail]\nroots = [\"mail\"]\n");
    world.write("config/c", "x").write("data/x", noise(100_000, 1)).write("mail/y", "y");
    world.shell("mkfifo config/pipe; ln config/pipe data/pipe; ln config/pipe mail/one; ln config/pipe mail/two");
    world.run("eco-snap").exits(0);
    let out = world.folder().join("out");
    world.run("eco-restore").arg("latest").arg("--target").arg(&out).exits(0);
    for root in ["config", "data", "mail"] {
        world.tree("").only(root).same_as(&Tree::of(&out).only(root));
    }
    // Without the first one, the next stands for it.
    let out = world.folder().join("mail");
    world.run("eco-restore").args(["latest", "--scope", "module:mail"]).arg("--target").arg(&out).exits(0);
    let inode = |name: &str| fs::symlink_metadata(out.join("mail").join(name)).map(|meta| (meta.ino(), meta.nlink())).unwrap();
    assert!(inode("one") == inode("two") && inode("one").1 == 2);
    // A name that has come since, in an archive that does not hold the others.
    world.shell("ln config/pipe mail/three; ln config/pipe mail/four; mkfifo mail/other; ln mail/other mail/same");
    let ran = world.run("eco-snap").arg("--differential").exits(0);
    assert_eq!(ran.only()["mode"], "differential", "{ran}");
    world.run("eco-verify").args(["latest", "--live"]).exits(0);
}

#[test]
fn one_name_of_a_file_with_several_brings_its_content() {
    let world = World::new();
    world.config("[module.mail]\nroots = [\"mail\"]\n");
    // The first name, which the others are links to in the archive, lies where this rollback does not go.
    world.write("config/first", "one file, many names").write("data/x", "x").write("mail/other", "y");
    for name in ["mail/second", "mail/third"] {
        fs::hard_link(world.path("config/first"), world.path(name)).unwrap();
    }
    world.run("eco-snap").exits(0);
    let out = world.folder().join("out");
    world.run("eco-restore").args(["latest", "--scope", "module:mail"]).arg("--target").arg(&out).exits(0);
    assert!(!out.join("config").exists());
    assert_eq!(fs::read(out.join("mail/second")).unwrap(), b"one file, many names");
    let inode = |name: &str| fs::metadata(out.join(name)).unwrap().ino();
    assert_eq!(inode("mail/second"), inode("mail/third"));
    assert_ne!(inode("mail/second"), inode("mail/other"));
}

#[test]
fn sparse_files_in_archives_of_gnu_tar_come_back_in_all_of_its_versions() {
    let world = World::new();
    world.write("config/settings", "y").write("data/plain", "x");
    let name = format!("data/{}", "long name ".repeat(12));
    for (name, size, islands) in [("data/image", 9 << 20, 5), (name.as_str(), 3 << 20, 1), ("data/many", 40 << 20, 300), ("data/none", 1 << 20, 0)] {
        world.write(name, "");
        let file = File::options().write(true).open(world.path(name)).unwrap();
        file.set_len(size).unwrap();
        for number in 0..islands {
            file.write_all_at(&noise(5000, number), (number + 1) * size / (islands + 2)).unwrap();
        }
    }
    let before = world.tree("");
    for version in ["0.0", "0.1", "1.0"] {
        let archive = world.folder().join(format!("sparse-{version}.tar.gz"));
        let words = ["--format=posix", "--sparse", &format!("--sparse-version={version}"), "-czf"];
        world.run("tar").args(words).arg(&archive).arg("-C").arg(world.root()).args(["data", "config"]).exits(0);
        world.run("eco-verify").arg(&archive).exits(0);
        let out = world.folder().join(format!("out-{version}"));
        world.run("eco-restore").arg(&archive).arg("--target").arg(&out).exits(0);
        for root in ["data", "config"] {
            before.only(root).same_as(&Tree::of(&out).only(root));
        }
        let blocks = |path: PathBuf| fs::metadata(path).unwrap().blocks();
        assert!(blocks(out.join("data/image")) <= blocks(world.path("data/image")) * 11 / 10, "{version}");
    }
}
