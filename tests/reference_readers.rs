//! Archives as others read them: the reference implementation of eStargz, GNU tar, bsdtar and Python's tarfile, and beside them our
//! own eco-restore. What each of them unpacks must be the tree that was captured, as precisely as it can say times and attributes.

use crate::harness::{Tree, World};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Says on the real stderr, which no test runner swallows, that something could not be tested. Where everything must be, it fails.
pub fn not_tested(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** NOT TESTED: {what}: {why} ***");
    assert!(std::env::var_os("CI").is_none(), "{what}: {why}");
}

pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Bytes that no codec can shrink, the same every time.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    (0..length.div_ceil(32) as u64).flat_map(|n| Sha256::digest([seed.to_le_bytes(), n.to_le_bytes()].concat())).take(length).collect()
}

/// Text of this length that shrinks.
pub fn text(length: usize) -> Vec<u8> {
    let page: String = (0..1000).map(|n| format!("line {n} of a log\n")).collect();
    let mut text = page.repeat(length / page.len() + 1).into_bytes();
    text.truncate(length);
    text
}

pub fn set_time(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn bytes(name: &[u8]) -> OsString {
    OsString::from_vec(name.to_vec())
}

/// Everything that a tree may hold and that some tool has got wrong before.
pub fn nasty(world: &World) {
    let data = world.path("data");
    let at = |name: &[u8]| data.join(OsStr::from_bytes(name));
    for (name, size) in [
        ("0", 0),
        ("1", 1),
        ("511", 511),
        ("512", 512),
        ("513", 513),
        ("1M-1", (1 << 20) - 1),
        ("1M", 1 << 20),
        ("1M+1", (1 << 20) + 1),
        ("3M", 3 << 20),
    ] {
        world.write(format!("data/sizes/{name}"), text(size));
    }
    world.write("data/noise", noise((2 << 20) + 77, 1));
    let sparse = File::create(at(b"sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    sparse.write_all_at(b"an island", 3 << 20).unwrap();
    for number in 0..200 {
        world.write(format!("data/tiny/{number}"), format!("{number}"));
    }

    let names = data.join("names");
    let long = |letter: &[u8], length| OsString::from_vec(letter.repeat(length));
    for name in [
        bytes("with space".as_bytes()),
        bytes(b"new\nline"),
        bytes("ünïcödé-日本語-🎉".as_bytes()),
        bytes(b"caf\xe9"),
        bytes(b"caf\\xe9"),
        bytes(b"-rf"),
        bytes(b"*"),
        bytes(b"back\\slash"),
        bytes(b"\ttab\""),
        bytes(b" "),
        bytes(b"\x01\x7f"),
        long(b"n", 255),
        long(b"\xff", 255),
        long("é".as_bytes(), 127),
        [long(b"long ", 30), bytes(b"\nand a second line")].into_iter().collect(),
    ] {
        fs::create_dir_all(&names).unwrap();
        fs::write(names.join(&name), name.as_bytes()).unwrap();
    }
    // Beyond the 100 bytes of a ustar name, beyond the 256 with its prefix; folders too; and the same in another encoding.
    let deep: PathBuf = (0..6).map(|depth| format!("folder-{depth}-{}", "d".repeat(50))).collect();
    fs::create_dir_all(names.join(&deep)).unwrap();
    fs::write(names.join(&deep).join("file"), "deep").unwrap();
    let foreign: PathBuf = [long(b"\xe4", 90), long(b"\xf6", 90)].iter().collect();
    fs::create_dir_all(names.join(&foreign)).unwrap();
    fs::write(names.join(&foreign).join(bytes(b"\xfc")), "not text").unwrap();
    // Exactly what fits, with the archive's own top folder in front, and one more on either side.
    let top = "shop-manual-20260301T100000Z-123456/data/fit/".len();
    for length in [98, 99, 100, 101, 102] {
        world.write(format!("data/fit/{}", "f".repeat(length - top)), "fits");
        fs::create_dir(data.join("fit").join("g".repeat(length - top))).unwrap();
    }

    for (name, target) in [
        (&b"dangling"[..], &b"no/such/file"[..]),
        (b"absolute", b"/etc/hostname"),
        (b"relative", b"../noise"),
        (b"up", b"../../.."),
        (b"loop", b"loop"),
        (b"odd", b"\xff\xfe\nx"),
        (b"dir", b"."),
        (b"long", &[b'l'; 300]),
        (b"long-odd", &[0xee; 200]),
        (b"spaced", b" "),
    ] {
        fs::create_dir_all(at(b"links")).unwrap();
        symlink(OsStr::from_bytes(target), at(b"links").join(OsStr::from_bytes(name))).unwrap();
    }
    set_time(&at(b"links/dangling"), 1_600_000_000, 123_456_789);
    // The second name stands in another root, and in the archive's order before the first.
    world.write("data/hard/first", "one file, many names");
    fs::create_dir_all(world.path("config/hard")).unwrap();
    for name in ["data/hard/second", "data/hard/third", "config/hard/other"] {
        fs::hard_link(world.path("data/hard/first"), world.path(name)).unwrap();
    }
    fs::hard_link(names.join(long(b"n", 255)), at(b"hard").join("to-long")).unwrap();
    fs::hard_link(names.join(long(b"\xff", 255)), at(b"hard").join("to-strange")).unwrap();

    fs::create_dir_all(at(b"empty/inner")).unwrap();
    mknodat(CWD, at(b"pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    let attributes = at(b"attributes");
    fs::create_dir(&attributes).unwrap();
    fs::write(attributes.join("file"), "x").unwrap();
    for path in [attributes.join("file"), attributes.clone()] {
        for (name, value) in [("user.text", &b"value"[..]), ("user.bytes", b"\0\n=\xff"), ("user.empty", b"")] {
            if let Err(e) = lsetxattr(&path, name, value, XattrFlags::empty()) {
                not_tested("extended attributes", &e.to_string());
            }
        }
    }
    if is_root() {
        fs::write(attributes.join("shared"), "x").unwrap();
        for (name, path) in [("system.posix_acl_access", "shared"), ("system.posix_acl_access", ""), ("system.posix_acl_default", "")] {
            if let Err(e) = lsetxattr(attributes.join(path), name, ACL, XattrFlags::empty()) {
                not_tested("access control lists", &e.to_string());
            }
        }
        lsetxattr(attributes.join("file"), "security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", XattrFlags::empty()).unwrap();
        for (name, uid, gid) in [("small", 1234, 2345), ("large", 3_000_000, 4_000_000_000)] {
            world.write(format!("data/owners/{name}"), name);
            lchown(world.path(format!("data/owners/{name}")), Some(uid), Some(gid)).unwrap();
        }
        lchown(at(b"links/absolute"), Some(1234), Some(2345)).unwrap();
    } else {
        not_tested("owners", "only root can give files away");
    }
    for (name, mode) in [("set-uid", 0o4755), ("set-gid", 0o2711), ("closed", 0o000), ("read-only", 0o444), ("all", 0o7777)] {
        world.write(format!("data/modes/{name}"), "x");
        fs::set_permissions(world.path(format!("data/modes/{name}")), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, mode) in [("sticky", 0o1777), ("shared", 0o2775), ("closed-dir", 0o555)] {
        world.write(format!("data/modes/{name}/inside"), "x");
        fs::set_permissions(world.path(format!("data/modes/{name}")), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, seconds, nanos) in TIMES {
        world.write(format!("data/times/{name}"), "x");
        set_time(&world.path(format!("data/times/{name}")), *seconds, *nanos);
    }
    world.write("config/settings.yaml", "port: 8080\n");
    set_time(&at(b"empty"), 1_500_000_000, 1);
    set_time(&world.root(), 1_700_000_000, 999_999_999);
}

/// The owner rwx, user 1234 rw-, the group r-x, the mask rwx, others r--; as the kernel keeps it.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x06\0\xd2\x04\0\0\x04\0\x05\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";

const TIMES: &[(&str, i64, i64)] = &[
    ("now", 1_772_359_200, 123_456_789),
    ("one-nano", 1_772_359_200, 1),
    ("epoch", 0, 0),
    ("after-epoch", 0, 1),
    ("before-1970", -86_400, 0),
    ("before-1970-and-a-half", -2, 500_000_001),
    ("just-before-1970", -1, 999_999_999),
    ("after-2038", 4_000_000_000, 5),
];

/// A world with the nasty tree, and its archive.
fn captured() -> (World, PathBuf) {
    let world = World::new();
    nasty(&world);
    let archive = world.folder().join("full.tar.gz");
    world.run("eco-snap").arg("-o").arg(&archive).exits(0);
    (world, archive)
}

/// The one folder in `out`, which everything lies in.
pub fn top(out: &Path) -> PathBuf {
    let mut tops = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let top = tops.next().unwrap();
    assert!(tops.next().is_none());
    top
}

fn original(world: &World) -> Tree {
    world.tree("").without(&["eco.toml"])
}

/// Every name below `root`, folders after what is in them.
pub fn names(root: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = Tree::of(root).names().into_iter().filter(|name| *name != Path::new("eco.toml")).collect();
    names.reverse();
    names
}

/// Where `unpacked` has other times than `root`, by how many nanoseconds; afterwards it has the same.
fn correct_times(root: &Path, unpacked: &Path, allowed: impl Fn(&Path, i128) -> bool) {
    for name in names(root) {
        let (was, is) = (fs::symlink_metadata(root.join(&name)).unwrap(), fs::symlink_metadata(unpacked.join(&name)).unwrap());
        let nanos = |meta: &fs::Metadata| i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        let off = nanos(&is) - nanos(&was);
        assert!(off == 0 || allowed(&name, off), "{}: its time is off by {off} ns", name.display());
        set_time(&unpacked.join(&name), was.mtime(), was.mtime_nsec());
    }
}

pub fn has(program: &str) -> bool {
    let found = Path::new("/usr/bin").join(program).exists();
    if !found {
        not_tested(&format!("archives in {program}"), "it is not installed");
    }
    found
}

#[test]
fn gnu_tar_unpacks_the_identical_tree() {
    let (world, archive) = captured();
    let out = world.folder().join("out");
    fs::create_dir(&out).unwrap();
    // The index comes out as a file of its own, unless it is left out.
    let ran = world
        .run("tar")
        .args(["--acls", "--xattrs", "--xattrs-include=*", "--exclude=stargz.index.json", "-xpzf"])
        .arg(&archive)
        .arg("-C")
        .arg(&out)
        .exits(0);
    // Times from before 1970 and far ahead surprise it; it says so, and sets them.
    let complaints: Vec<&str> = ran.stderr.lines().filter(|line| !line.contains("time stamp")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    correct_times(&world.root(), &top(&out), |_, _| false);
    original(&world).same_as(&Tree::of(&top(&out)));
}

#[test]
fn bsdtar_unpacks_the_identical_tree() {
    if !has("bsdtar") {
        return;
    }
    let (world, archive) = captured();
    let out = world.folder().join("out");
    fs::create_dir(&out).unwrap();
    let ran = world.run("bsdtar").args(["--exclude=stargz.index.json", "-xpf"]).arg(&archive).arg("-C").arg(&out).env("LC_ALL", "C.UTF-8").exits(0);
    assert_eq!(ran.stderr, "");
    // It reads -1.5 as half a second after -1: it loses the sign of a fraction.
    correct_times(&world.root(), &top(&out), |name, off| name.to_string_lossy().contains("before-1970") && off.abs() < 2_000_000_000);
    original(&world).same_as(&Tree::of(&top(&out)));
}

#[test]
fn pythons_tarfile_unpacks_the_identical_tree() {
    let (world, archive) = captured();
    let out = world.folder().join("out");
    let script = "import sys, tarfile\nwith tarfile.open(sys.argv[1]) as t: t.extractall(sys.argv[2], **({'filter': 'fully_trusted'} if hasattr(tarfile, 'data_filter') else {}))";
    world.run("python3").args(["-c", script]).arg(&archive).arg(&out).exits(0);
    // It keeps times as floating-point numbers, those of links not at all, and knows no attributes.
    let is_link = |name: &Path| world.path(name).is_symlink();
    correct_times(&world.root(), &top(&out), |name, off| is_link(name) || off.abs() < 1000);
    let kept = |tree: Tree| tree.without(&["data/attributes"]);
    kept(original(&world)).same_as(&kept(Tree::of(&top(&out))));
}

#[test]
fn eco_restore_unpacks_the_identical_tree() {
    let (world, archive) = captured();
    let out = world.folder().join("out");
    world.run("eco-restore").arg(&archive).arg("--target").arg(&out).exits(0);
    for root in ["config", "data"] {
        // Hard links across roots keep their names within each.
        original(&world).only(root).same_as(&Tree::of(&out).only(root));
    }
    let of_links = |root: &Path| {
        names(&root.join("data/links"))
            .into_iter()
            .map(|n| fs::symlink_metadata(root.join("data/links").join(n)).unwrap())
            .map(|m| (m.mtime(), m.mtime_nsec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of_links(&world.root()), of_links(&out));
}

/// The program of `tests/stargz`, built once, without the network.
pub fn reference() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        const LIBRARY: &str = "/usr/share/gocode";
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = folder.join("stargz");
        let missing = |why: &str| {
            not_tested("archives in the reference reader of eStargz", why);
            None
        };
        if !Path::new(LIBRARY).join("src/github.com/containerd/stargz-snapshotter/estargz").is_dir() {
            return missing("golang-github-containerd-stargz-snapshotter-dev is not installed");
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stargz");
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(".").current_dir(source);
        go.env("GO111MODULE", "off").env("GOPATH", LIBRARY).env("GOFLAGS", "").env("GOPROXY", "off").env("GOCACHE", folder.join("go"));
        match go.output() {
            Err(e) => missing(&format!("go cannot be run: {e}")),
            Ok(done) if done.status.success() => Some(program),
            Ok(done) => panic!("{}", String::from_utf8_lossy(&done.stderr)),
        }
    };
    BUILT.get_or_init(build).as_deref()
}

/// A part of a name as text; one that is no text is written with escapes, and the beginning of its digest sets it apart.
fn readable(part: &OsStr) -> String {
    let sum: String = Sha256::digest(part.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    part.to_str().map_or_else(|| format!("{}~{sum}", part.as_bytes().escape_ascii()), str::to_owned)
}

#[test]
fn the_reference_reader_of_estargz_sees_the_identical_tree() {
    let Some(reference) = reference() else { return };
    let (world, archive) = captured();
    let ran = world.run(reference.to_str().unwrap()).arg(&archive).exits(0);
    let seal: Value = serde_json::from_slice(&fs::read(world.folder().join("full.tar.gz.verified")).unwrap()).unwrap();
    assert_eq!(ran.stderr.trim(), format!("sha256:{}", seal["sha256_toc"].as_str().unwrap()));

    let seen: BTreeMap<String, Value> = ran.records().into_iter().map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry)).collect();
    let (folder, _) = seen.iter().find(|(name, _)| !name.contains('/')).unwrap();
    let root = world.root();
    let expected = names(&root);
    assert_eq!(seen.len(), expected.len(), "one for each name, the top folder included");
    for name in expected {
        let meta = fs::symlink_metadata(root.join(&name)).unwrap();
        let text: Vec<String> = name.iter().map(readable).collect();
        let full = if text.is_empty() { folder.clone() } else { format!("{folder}/{}", text.join("/")) };
        let entry = seen.get(&full).unwrap_or_else(|| panic!("{full} is missing"));
        let kind = meta.file_type();
        let word = if kind.is_dir() {
            "dir"
        } else if kind.is_symlink() {
            "symlink"
        } else if kind.is_file() {
            "reg"
        } else {
            "fifo"
        };
        let is = (entry["type"].as_str().unwrap(), entry["mode"].as_u64().unwrap(), entry["uid"].as_u64().unwrap(), entry["gid"].as_u64().unwrap());
        assert_eq!(is, (word, u64::from(meta.mode() & 0o7777), u64::from(meta.uid()), u64::from(meta.gid())), "{entry}");
        assert_eq!((entry["sec"].as_i64(), entry["nanos"].as_i64()), (Some(meta.mtime()), Some(meta.mtime_nsec())), "{entry}");
        if kind.is_file() {
            let content = fs::read(root.join(&name)).unwrap();
            let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((entry["size"].as_u64(), entry["sha256"].as_str()), (Some(content.len() as u64), Some(digest.as_str())), "{entry}");
            assert_eq!(entry["links"].as_u64(), Some(meta.nlink()), "{entry}");
        }
        if let Some(target) = kind.is_symlink().then(|| fs::read_link(root.join(&name)).unwrap())
            && let Some(target) = target.to_str()
        {
            assert_eq!(entry["link"].as_str(), Some(target));
        }
        let attributes = entry["xattrs"].as_object().map_or(0, |all| all.len());
        assert_eq!(attributes > 0, name.starts_with("data/attributes"), "{entry}");
    }
}
