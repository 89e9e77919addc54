//! eco-verify: every way an archive can be damaged, edited or made to do harm, and what is said about each. What eco-restore does with
//! the same archives stands beside it: it never writes outside its folder.

use crate::harness::{Dice, Ran, Tree, World, not_shown, program};
use crate::reference_readers::{is_root, noise, text};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A small tree with something of everything, and its archive.
fn captured() -> (World, PathBuf) {
    let world = World::new();
    world
        .write("data/a", "alpha")
        .write("data/empty", "")
        .write("config/c", "gamma")
        .write("data/log", text(9000))
        .write("data/noise", noise(700, 1));
    world.write("data/same-1", noise(600, 2)).write("data/same-2", noise(600, 3));
    fs::create_dir(world.path("data/folder")).unwrap();
    symlink("../a", world.path("data/folder/link")).unwrap();
    fs::hard_link(world.path("data/a"), world.path("data/also-a")).unwrap();
    let out = world.folder().join("made");
    fs::create_dir(&out).unwrap();
    let archive = out.join("full.tar.gz");
    world.run("eco-snap").arg("-o").arg(&archive).exits(0);
    (world, archive)
}

/// An archive taken apart: what stands before the index, and the index.
pub struct Parts {
    pub body: Vec<u8>,
    pub index: Value,
}

impl Parts {
    pub fn of(archive: &Path) -> Parts {
        let bytes = fs::read(archive).unwrap();
        let footer = &bytes[bytes.len() - 51..];
        let at = usize::from_str_radix(std::str::from_utf8(&footer[16..32]).unwrap(), 16).unwrap();
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&bytes[at..bytes.len() - 51]).read_to_end(&mut tar).unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&tar[124..135]).unwrap(), 8).unwrap();
        Parts { body: bytes[..at].to_vec(), index: serde_json::from_slice(&tar[512..512 + size]).unwrap() }
    }

    /// The position of the entry of this path in the index.
    fn at(&self, path: &str) -> usize {
        let entries = self.index["entries"].as_array().unwrap();
        entries.iter().position(|e| e["name"].as_str().unwrap().split_once('/').is_some_and(|(_, rest)| rest == path)).unwrap()
    }

    pub fn entry(&mut self, path: &str) -> &mut Value {
        let at = self.at(path);
        &mut self.index["entries"][at]
    }

    /// Puts it together again, with the index as this text.
    fn written_as(&self, path: &Path, json: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_path("stargz.index.json").unwrap();
        header.set_size(json.len() as u64);
        header.set_mode(0o444);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        let mut member = GzEncoder::new(self.body.clone(), Compression::new(6));
        member.write_all(header.as_bytes()).unwrap();
        member.write_all(json).unwrap();
        member.write_all(&vec![0; (512 - json.len() % 512) % 512 + 1024]).unwrap();
        let mut bytes = member.finish().unwrap();
        bytes.extend_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0]);
        bytes.extend_from_slice(format!("{:016x}STARGZ", self.body.len()).as_bytes());
        bytes.extend_from_slice(&[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        fs::write(path, bytes).unwrap();
    }

    pub fn written(&self, path: &Path) {
        self.written_as(path, &serde_json::to_vec(&self.index).unwrap());
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut member = GzEncoder::new(Vec::new(), Compression::new(6));
    member.write_all(bytes).unwrap();
    member.finish().unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verified(world: &World, archive: &Path) -> Ran {
    world.run("eco-verify").arg(archive).ran()
}

/// It must be damage, at this path, said with these words.
#[track_caller]
fn damaged(world: &World, archive: &Path, path: &str, words: &str) -> Value {
    let ran = verified(world, archive).exits(1);
    let found = ran.only();
    assert_eq!(found["ok"], false, "{found}");
    let is_it = |damage: &&Value| damage["path"] == path && damage["why"].as_str().unwrap_or_default().contains(words);
    assert!(found["damage"].as_array().unwrap().iter().any(|damage| is_it(&damage)), "no damage at {path} that says '{words}': {found:#}");
    found
}

/// eco-restore must refuse it with these words, and leave nothing anywhere.
#[track_caller]
fn not_restored(world: &World, archive: &Path, words: &str) {
    let before = Tree::of(&world.folder());
    let ran = world.run("eco-restore").arg(archive).arg("--target").arg(world.folder().join("out")).ran();
    assert!((ran.code == 4 || ran.code == 3) && ran.stderr.contains(words), "{ran}");
    unchanged(&before, world);
}

/// Nothing came, went or changed in the world, save for the time of its folder.
#[track_caller]
fn unchanged(before: &Tree, world: &World) {
    let own = |line: &String| line.starts_with("-  ") || line.starts_with("+  ");
    let differences: Vec<String> = before.differences(&Tree::of(&world.folder())).into_iter().filter(|line| !own(line)).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn a_whole_archive_is_whole_and_the_verdict_lies_beside_it() {
    let (world, archive) = captured();
    let seal = archive.with_extension("gz.verified");
    fs::remove_file(&seal).unwrap();
    let found = verified(&world, &archive).exits(0).only();
    assert_eq!((&found["ok"], &found["depth"], &found["files"], &found["damage"]), (&json!(true), &json!("data"), &json!(7), &json!([])));
    let left: Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
    assert_eq!((&left["ok"], &left["depth"], fs::metadata(&seal).unwrap().permissions().mode() & 0o777), (&json!(true), &json!("data"), 0o600));
    fs::remove_file(&seal).unwrap();
    let found = world.run("eco-verify").args(["--depth", "index"]).arg(&archive).exits(0).only();
    assert_eq!((&found["ok"], &found["depth"]), (&json!(true), &json!("index")));
    assert!(!seal.exists(), "a look at the index proves nothing about the content");
}

#[test]
fn a_flipped_bit_is_named_or_does_not_matter() {
    let (world, archive) = captured();
    let bytes = fs::read(&archive).unwrap();
    let folder = world.folder().join("flipped");
    fs::create_dir(&folder).unwrap();
    let mut dice = Dice::new(7);
    let places: Vec<usize> = (0..260).map(|_| dice.roll(bytes.len() * 8)).collect();
    let names: Vec<PathBuf> = places.iter().enumerate().map(|(n, bit)| folder.join(format!("{n}-bit-{bit}.tar.gz"))).collect();
    for (bit, name) in places.iter().zip(&names) {
        let mut copy = bytes.clone();
        copy[bit / 8] ^= 1 << (bit % 8);
        fs::write(name, copy).unwrap();
    }
    let ran = world.run("eco-verify").args(&names).exits(1);
    let found = ran.records();
    assert_eq!(found.len(), names.len(), "one bad archive does not stop the next");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let mut harmless = 0;
    for (name, found) in names.iter().zip(&found) {
        let damage = found["damage"].as_array().unwrap();
        if found["ok"] == true && found["depth"] == "data" {
            harmless += 1;
            assert!(damage.is_empty());
            let target = folder.join("out");
            world.run("eco-restore").arg(name).arg("--target").arg(&target).exits(0);
            for root in ["config", "data"] {
                world.tree("").only(root).same_as(&Tree::of(&target).only(root));
            }
            fs::remove_dir_all(target).unwrap();
        } else {
            assert!(found["ok"] == false && damage.iter().all(|d| !d["path"].as_str().unwrap().is_empty()) && !damage.is_empty(), "{found}");
        }
    }
    assert!(harmless < 40, "{harmless} of {} flips were not noticed", names.len());
}

#[test]
fn every_truncation_is_damage() {
    let (world, archive) = captured();
    let bytes = fs::read(&archive).unwrap();
    let folder = world.folder().join("cut");
    fs::create_dir(&folder).unwrap();
    let mut dice = Dice::new(11);
    let mut lengths: Vec<usize> = (0..40).map(|_| dice.roll(bytes.len())).chain(bytes.len() - 60..bytes.len()).chain([0, 1, 17, 18, 512]).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let names: Vec<PathBuf> = lengths.iter().map(|length| folder.join(format!("{length}.tar.gz"))).collect();
    for (length, name) in lengths.iter().zip(&names) {
        fs::write(name, &bytes[..*length]).unwrap();
    }
    let ran = world.run("eco-verify").args(&names).exits(1);
    for found in ran.records() {
        assert!(found["ok"] == false && !found["damage"].as_array().unwrap().is_empty(), "{found}");
    }
    assert_eq!(ran.records().len(), names.len());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), names.len(), "no verdict is left beside what is no archive");
}

#[test]
fn an_entry_that_only_the_stream_has_is_damage() {
    let (world, archive) = captured();
    let mut parts = Parts::of(&archive);
    let top = parts.index["eco"]["top"].as_str().unwrap().to_owned();
    let mut header = tar::Header::new_ustar();
    header.set_path(format!("{top}/data/smuggled")).unwrap();
    header.set_size(4);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend_from_slice(b"evil");
    entry.resize(1024, 0);
    let last = parts.index["entries"].as_array().unwrap().iter().filter_map(|e| e["offset"].as_u64()).max().unwrap();
    let whole = parts.body.clone();
    // At the end, after everything that the index knows; stock tar would unpack it.
    parts.body.extend(gzip(&entry));
    let edited = archive.with_file_name("smuggled.tar.gz");
    parts.written(&edited);
    let said = verified(&world, &edited).exits(1).only();
    assert!(said["damage"][0]["why"].as_str().unwrap().contains("smuggled' is not in the index"), "{said:#}");
    // Between two members: everything behind it moves, and the index with it.
    parts.body = whole;
    let extra = gzip(&entry);
    parts.body.splice(last as usize..last as usize, extra.iter().copied());
    for entry in parts.index["entries"].as_array_mut().unwrap() {
        if entry["offset"] == last {
            entry["offset"] = json!(last + extra.len() as u64);
        }
    }
    parts.written(&edited);
    let said = verified(&world, &edited).exits(1).only();
    assert!(said["damage"].as_array().unwrap().iter().any(|d| d["what"] == "header"), "{said:#}");
}

#[test]
fn headers_and_index_that_disagree_are_damage() {
    let (world, archive) = captured();
    let edited = archive.with_file_name("edited.tar.gz");
    for (path, key, value, words) in [
        ("data/a", "mode", json!(0o4777), "disagree about the permissions"),
        ("data/a", "uid", json!(12345), "disagree about the owner"),
        ("data/empty", "modtime", json!("2001-01-01T00:00:00Z"), "disagree about the time"),
        ("data/folder/link", "linkName", json!("/etc/shadow"), "disagree about the kind, size or link"),
        ("data/folder/link", "type", json!("fifo"), "disagree about the kind, size or link"),
        ("data/noise", "xattrs", json!({"user.x": "eA=="}), "disagree about the attributes"),
        ("data/also-a", "linkName", json!("TOP/config/c"), "disagree about the kind, size or link"),
    ] {
        let mut parts = Parts::of(&archive);
        let top = parts.index["eco"]["top"].as_str().unwrap().to_owned();
        // Of the names of one file the first in the archive is the file.
        parts.entry(path)[key] = value.as_str().map_or(value.clone(), |text| json!(text.replace("TOP", &top)));
        parts.written(&edited);
        damaged(&world, &edited, path, words);
    }
    let mut parts = Parts::of(&archive);
    let name = parts.entry("data/empty")["name"].as_str().unwrap().replace("empty", "emptx");
    parts.entry("data/empty")["name"] = json!(name);
    parts.written(&edited);
    damaged(&world, &edited, "data/emptx", "its header names");
    let mut parts = Parts::of(&archive);
    let at = parts.at("data/empty");
    parts.index["entries"].as_array_mut().unwrap().remove(at);
    parts.written(&edited);
    assert_eq!(verified(&world, &edited).exits(1).only()["damage"][0]["what"], "header");
}

#[test]
fn swapped_members_are_damage_of_both_files() {
    let (world, archive) = captured();
    let mut parts = Parts::of(&archive);
    let [one, two] = ["data/same-1", "data/same-2"].map(|path| parts.entry(path)["offset"].as_u64().unwrap() as usize);
    // Noise is stored, so both members are as long as each other.
    let length = 600 + 23;
    let (first, second) = (parts.body[one..one + length].to_vec(), parts.body[two..two + length].to_vec());
    parts.body[one..one + length].copy_from_slice(&second);
    parts.body[two..two + length].copy_from_slice(&first);
    let edited = archive.with_file_name("swapped.tar.gz");
    parts.written(&edited);
    let found = damaged(&world, &edited, "data/same-1", "other bytes than were captured");
    assert_eq!(found["damage"].as_array().unwrap().len(), 2, "{found}");
    // Whichever of the two a core comes to first.
    not_restored(&world, &edited, " is damaged in it");
}

/// Replaces a file's content consistently: member, digests, everything that is inside the archive.
fn forge(archive: &Path) {
    let mut parts = Parts::of(archive);
    let at = parts.entry("data/same-1")["offset"].as_u64().unwrap() as usize;
    let forged = noise(600, 99);
    let mut member = GzEncoder::new(Vec::new(), Compression::none());
    member.write_all(&forged).unwrap();
    let member = member.finish().unwrap();
    assert_eq!(member.len(), 623);
    parts.body[at..at + 623].copy_from_slice(&member);
    let digest = json!(format!("sha256:{}", sha256(&forged)));
    parts.entry("data/same-1")["digest"] = digest.clone();
    parts.entry("data/same-1")["chunkDigest"] = digest;
    let length = fs::metadata(archive).unwrap().len();
    // Which inode it was may be left out; blanks, which do not shrink to nothing, make up for the length.
    for entry in parts.index["entries"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("eco");
    }
    let json = serde_json::to_string(&parts.index).unwrap();
    for (blanks, seed) in (0..4000).flat_map(|blanks| [5, 6, 7].map(|seed| (blanks, seed))) {
        let padding: String = noise(blanks, seed).iter().map(|byte| if byte % 2 == 0 { ' ' } else { '\t' }).collect();
        parts.written_as(archive, (padding + &json).as_bytes());
        match fs::metadata(archive).unwrap().len() {
            now if now == length => return,
            now => assert!(now < length + 100, "no forgery of the same length: {now} {length} after {blanks}"),
        }
    }
    panic!("no forgery of the same length");
}

#[test]
fn a_consistent_forgery_is_held_against_what_was_verified_before() {
    let world = World::new();
    world.write("config/c", "x").write("data/same-1", noise(600, 2)).write("data/log", text(3000));
    let snapshot = world.run("eco-snap").exits(0).only();
    let archive = PathBuf::from(snapshot["path"].as_str().unwrap());
    forge(&archive);
    for _ in 0..2 {
        // By the verdict beside it, and the second time still.
        let found = damaged(&world, &archive, "<index>", "not the one that was verified here before");
        assert_eq!(found["damage"][0]["what"], "record");
    }
    let listed = world.pipe(["eco-ls latest", "eco-verify --only"]).exits([0, 1]);
    assert_eq!(listed.only()["damage"][0]["what"], "record");
    // By its record alone, where the verdict is gone.
    fs::remove_file(archive.with_extension("gz.verified")).unwrap();
    let found = world.run("eco-verify").arg("--only").stdin(format!("{snapshot}\n")).exits(1).only();
    assert!(found["damage"][0]["what"] == "record" && found["damage"][0]["why"].as_str().unwrap().contains("its record promises"), "{found}");
}

#[test]
fn a_forgery_of_what_was_verified_is_not_restored() {
    let world = World::new();
    world.write("config/c", "x").write("data/same-1", noise(600, 2)).write("data/log", text(3000));
    let archive = PathBuf::from(world.run("eco-snap").exits(0).only()["path"].as_str().unwrap());
    forge(&archive);
    not_restored(&world, &archive, "its index has changed");
}

#[test]
fn a_record_that_says_otherwise_is_damage() {
    let (world, archive) = captured();
    let right = world.run("eco-ls").arg(&archive).exits(0).only();
    let wrong = |key: &str, value: Value| {
        let mut record = right.clone();
        record[key] = value;
        let ran = world.run("eco-verify").stdin(format!("{record}\n")).exits(1);
        let found = ran.last("verification");
        assert_eq!(found["damage"][0]["what"], "record", "{found}");
        assert!(ran.stdout.starts_with(&record.to_string()), "the record passes through");
    };
    wrong("sha256_toc", json!("0".repeat(64)));
    wrong("id", json!("019ca8f1-5a40-7d21-9c3e-0f4b6d2a91b7"));
    world.run("eco-verify").stdin(format!("{right}\n")).exits(0);
    let mut nowhere = right.clone();
    nowhere.as_object_mut().unwrap().remove("path");
    world.run("eco-verify").stdin(format!("{nowhere}\n{right}\n")).exits(3).says("names no archive");
}

#[test]
fn a_bad_one_does_not_stop_the_next_and_the_worst_code_wins() {
    let (world, archive) = captured();
    let bad = archive.with_file_name("bad.tar.gz");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle..middle + 20].fill(0x55);
    fs::write(&bad, bytes).unwrap();
    let oks = |ran: &Ran| ran.records().iter().map(|found| found["ok"].clone()).collect::<Vec<_>>();
    let ran = world.run("eco-verify").args([&bad, &archive]).exits(1);
    assert_eq!(oks(&ran), [json!(false), json!(true)]);
    let gone = archive.with_file_name("gone.tar.gz");
    let ran = world.run("eco-verify").args([&gone, &bad, &archive]).exits(3).says("no such file or directory");
    assert_eq!(oks(&ran), [Value::Null, json!(false), json!(true)]);
    let pipe = archive.with_file_name("pipe.tar.gz");
    world.run("mkfifo").arg(&pipe).exits(0);
    for other in [archive.parent().unwrap(), &pipe] {
        assert_eq!(oks(&world.run("eco-verify").arg(other).exits(3).says("not a file")), [Value::Null]);
    }
    let ran = world.run("eco-verify").arg("latest").arg(&archive).exits(1).says("no snapshot 'latest'");
    assert_eq!(oks(&ran), [json!(true)]);
    world.run("eco-verify").stdin("no record\n").exits(3);
    world.run("eco-verify").args(["--depth", "guess", "x"]).exits(2);
    world.run("eco-verify").args(["--live", "--depth", "data", "x"]).exits(2);
}

#[test]
fn what_is_no_archive_at_all_is_damage_and_gets_no_verdict_beside_it() {
    let (world, _) = captured();
    let found = damaged(&world, &world.path("data/log"), "<index>", "not an archive that can be read");
    assert_eq!(found["damage"][0]["what"], "index");
    assert!(!world.path("data/log.verified").exists());
}

#[test]
fn the_live_tree_is_compared_path_by_path() {
    let world = World::new();
    world.config("[snapshot]\npreserve = [\"data/metrics\"]\nexclude = [\"*.tmp\"]\n");
    for name in ["data/same", "data/content", "data/deleted", "data/mode", "data/time", "data/kind", "data/metrics/m", "config/c"] {
        world.write(name, name);
    }
    symlink("one", world.path("data/link")).unwrap();
    world.run("eco-snap").exits(0);
    world.run("eco-verify").args(["latest", "--live"]).exits(0);
    world
        .write("data/content", "DATA/CONTENT")
        .write("data/created", "x")
        .write("data/metrics/m", "more")
        .write("data/x.tmp", "x")
        .write("data/new/y", "y");
    fs::remove_file(world.path("data/deleted")).unwrap();
    fs::set_permissions(world.path("data/mode"), fs::Permissions::from_mode(0o600)).unwrap();
    let touched = File::options().write(true).open(world.path("data/time")).unwrap();
    touched.set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::remove_file(world.path("data/kind")).unwrap();
    fs::create_dir(world.path("data/kind")).unwrap();
    fs::remove_file(world.path("data/link")).unwrap();
    symlink("two", world.path("data/link")).unwrap();
    let ran = world.run("eco-verify").args(["latest", "--live"]).exits(1);
    let found: Vec<(String, String)> =
        ran.all("difference").iter().map(|d| (d["path"].as_str().unwrap().into(), d["what"].as_str().unwrap().into())).collect();
    let what = |path: &str| found.iter().find(|(p, _)| p == path).map(|(_, what)| what.as_str());
    for (path, expected) in [
        ("data/content", Some("content")),
        ("data/created", Some("created")),
        ("data/new", Some("created")),
        ("data/new/y", Some("created")),
        ("data/deleted", Some("deleted")),
        ("data/mode", Some("metadata")),
        ("data/time", Some("metadata")),
        ("data/kind", Some("kind")),
        ("data/metrics/m", None),
        ("data/x.tmp", None),
        ("data/same", None),
        ("config/c", None),
    ] {
        assert_eq!(what(path), expected, "{path}: {found:?}");
    }
    assert!(what("data/link").is_some(), "{found:?}");
}

/// `--live --changes`, with these words more; stdin is empty.
#[track_caller]
fn changes(world: &World, words: &[&str], code: i32) -> Vec<Value> {
    world.run("eco-verify").args(["--live", "--changes"]).args(words).exits(code).records()
}

#[test]
fn what_nobody_has_announced_is_found_as_a_change_of_its_unit() {
    let world = World::service();
    let good = world.good();
    assert!(changes(&world, &[], 0).is_empty());
    // What happens by itself is no change: data, touched files, folders, what is preserved or left out.
    world.write("data/orders", "1\n2\n3\n4\n").write("data/recommend/pairs", "q\n").write("config/new.tmp", "x").write("config/new.log", "x");
    world.shell("touch config/limits.json config modules/ui/code");
    assert!(changes(&world, &[], 0).is_empty());

    world.write("config/limits.json", "{\"orders\": 11}\n").write("config/more.json", "{}\n").write("modules/ui/code", "two\n");
    world.shell("touch -d '2 hours ago' config/limits.json config/more.json; touch -d 2999-01-01 modules/ui/code");
    let before = jiff::Timestamp::now();
    let found = changes(&world, &[], 1);
    let brief = |record: &Value| json!([record["type"], record["target"], record["from"], record["by"], record["paths"]]);
    assert_eq!(brief(&found[0]), json!(["change", "config", good["id"], "eco-verify", 2]));
    assert_eq!(brief(&found[1]), json!(["change", "module:ui", good["id"], "eco-verify", 1]));
    assert_eq!(found.len(), 2);
    // A file's own time can be set by hand; when it was set cannot.
    for record in &found {
        let time: jiff::Timestamp = record["time"].as_str().unwrap().parse().unwrap();
        assert!(time <= before && before.duration_since(time).as_secs() < 60, "{record}");
    }
    assert_eq!(changes(&world, &[good["id"].as_str().unwrap()], 1), found, "the same, and not a new one");

    world.write("config/limits.json", "{\"orders\": 12}\n");
    let other = changes(&world, &[], 1);
    assert_ne!(other[0]["id"], found[0]["id"]);
    assert_eq!(other[1]["id"], found[1]["id"]);
    // A file that is gone: its folder tells when.
    fs::remove_file(world.path("config/more.json")).unwrap();
    fs::remove_file(world.path("config/limits.json")).unwrap();
    let gone = changes(&world, &[], 1);
    assert_eq!((&gone[0]["target"], &gone[0]["paths"]), (&json!("config"), &json!(1)));
    assert!(gone[0]["time"].as_str() > other[0]["time"].as_str());
}

#[test]
fn a_change_that_was_announced_is_not_found_again() {
    let world = World::service();
    world.good();
    world.write("config/limits.json", "{\"orders\": 11}\n").write("modules/ui/code", "two\n");
    let said = |target: &str| world.run("eco-ctl").args(["change", target, "--no-inbox"]).exits(0).stdout;
    let found = |stream: &str| {
        let ran = world.run("eco-verify").args(["--live", "--changes", "-"]).stdin(stream).exits(1);
        assert!(ran.stdout.starts_with(stream), "{ran}");
        let new = ran.records().split_off(stream.lines().count());
        new.iter().map(|record| record["target"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(""), ["config", "module:ui"]);
    assert_eq!(found(&said("config:limits")), ["module:ui"]);
    assert_eq!(found(&said("module:ui")), ["config"]);
    assert_eq!(found(&said("module:recommend")), ["config", "module:ui"], "somebody else's change explains nothing");
    // Commands that switch an optimization write files.
    assert!(found(&said("optimization:cache")).is_empty());
    let old = json!({"type": "change", "time": "2026-03-01T10:00:00Z", "target": "config"});
    assert_eq!(found(&format!("{old}\n")), ["config", "module:ui"], "of another day");
}

#[test]
fn what_a_rollback_has_changed_is_its_own() {
    let world = World::service();
    let first = world.good();
    world.write("config/limits.json", "{\"orders\": 11}\n");
    world.good();
    world.run("eco-restore").args([first["id"].as_str().unwrap(), "--scope", "config"]).exits(0);
    let found = changes(&world, &[], 1);
    assert_eq!((found.len(), &found[0]["target"], &found[0]["by"]), (1, &json!("config"), &json!("eco-restore")));
    world.write("config/limits.json", "{\"orders\": 13}\n");
    assert_eq!(changes(&world, &[], 1)[0]["by"], "eco-verify");
}

#[test]
fn changes_are_found_in_what_the_snapshot_holds() {
    let world = World::service();
    world.run("eco-snap").args(["--good", "config"]).exits(0);
    world.write("config/limits.json", "{\"orders\": 11}\n").write("modules/ui/code", "two\n");
    let ran = world.run("eco-verify").args(["--live", "--changes"]).exits(1).says("does not hold module:recommend,module:ui");
    assert_eq!(ran.only()["target"], "config");
    world.run("eco-verify").args(["--live", "--changes", "nothing"]).exits(1);
    for words in [&["--changes"][..], &["--live", "--changes", "latest", "latest-good"], &["--live", "--changes", "--only"]] {
        world.run("eco-verify").args(words).exits(2);
    }
}

#[test]
fn a_live_database_that_holds_the_same_is_the_same() {
    let world = World::new();
    world.write("config/c", "x").write("data/x", "x");
    let database = rusqlite::Connection::open(world.path("data/shop.db")).unwrap();
    database.execute_batch("pragma journal_mode=wal; create table t(n); insert into t values (1), (2)").unwrap();
    world.run("eco-snap").exits(0);
    world.run("eco-verify").args(["latest", "--live"]).exits(0);
    database.execute_batch("insert into t values (3)").unwrap();
    let ran = world.run("eco-verify").args(["latest", "--live"]).exits(1);
    assert_eq!((ran.records().len(), &ran.only()["path"], &ran.only()["what"]), (1, &json!("data/shop.db"), &json!("content")));
}

/// A folder for rehearsals, which must be empty again after each.
fn stage(world: &World) -> PathBuf {
    let folder = world.folder().join("stage");
    fs::create_dir(&folder).unwrap();
    folder
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn a_rehearsal_restores_all_of_it_and_leaves_nothing_but_the_verdict() {
    let world = World::service();
    world.shell("mkdir -m 0500 data/closed; mkfifo data/pipe; ln data/big data/closed/../big-too");
    let taken = world.at("2026-03-01T08:00:00Z").good();
    let known = |snapshot: &Value| ["verified", "verified_at", "verified_depth", "restored_at"].map(|key| snapshot[key].clone());
    assert_eq!(known(&taken), [json!(true), json!("2026-03-01T08:00:00Z"), json!("data"), Value::Null]);
    let stage = stage(&world);
    world.at("2026-03-02T08:00:00Z");
    let found = world.run("eco-verify").args(["latest", "--depth", "restored", "--scratch"]).arg(&stage).exits(0).only();
    assert_eq!((&found["ok"], &found["depth"], &found["damage"], &found["files"]), (&json!(true), &json!("restored"), &json!([]), &taken["files"]));
    assert!(is_empty(&stage));
    let listed = || known(&world.run("eco-ls").arg("latest").exits(0).only());
    assert_eq!(listed(), [json!(true), json!("2026-03-02T08:00:00Z"), json!("restored"), json!("2026-03-02T08:00:00Z")]);
    let table = world.run("eco-ls").args(["--human", "latest"]).exits(0).stdout;
    assert!(table.contains("restore rehearsed 2026-03-02 08:00:00, /"), "{table}");
    // A look that is less deep says when and how deep it was, and does not take back what was proven.
    world.at("2026-03-03T08:00:00Z").run("eco-verify").arg("latest").exits(0);
    assert_eq!(listed(), [json!(true), json!("2026-03-03T08:00:00Z"), json!("data"), json!("2026-03-02T08:00:00Z")]);
    world.run("eco-verify").args(["latest", "--depth", "index"]).exits(0);
    assert_eq!(listed()[1], json!("2026-03-03T08:00:00Z"));
}

#[test]
fn what_is_damaged_is_not_rehearsed_and_takes_back_what_was_proven() {
    let world = World::service();
    let archive = PathBuf::from(world.good()["path"].as_str().unwrap());
    let stage = stage(&world);
    let rehearse = || world.run("eco-verify").args(["--depth", "restored", "--scratch"]).args([&stage, &archive]);
    rehearse().exits(0);
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes.len() / 3;
    bytes[at..at + 20].fill(0x55);
    fs::write(&archive, bytes).unwrap();
    let found = rehearse().exits(1).only();
    assert_eq!((&found["ok"], &found["depth"]), (&json!(false), &json!("data")), "{found}");
    let listed = world.run("eco-ls").arg(&archive).exits(0).only();
    assert_eq!((&listed["verified"], &listed["verified_depth"], &listed["restored_at"]), (&json!(false), &json!("data"), &Value::Null));
    assert!(is_empty(&stage));
}

#[test]
fn a_rehearsal_by_somebody_who_may_not_give_files_away_says_so() {
    if !is_root() {
        return not_shown("a rehearsal without privileges", "this is not root");
    }
    let world = World::service();
    let archive = world.folder().join("copy.tar.gz");
    world.run("eco-snap").arg("-o").arg(&archive).exits(0);
    let stage = stage(&world);
    for path in [&world.folder(), &archive, &stage] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::chown(&stage, Some(65534), Some(65534)).unwrap();
    let ran = world.run("eco-verify").args(["--depth", "restored", "--scratch"]).args([&stage, &archive]).user(65534).exits(0);
    let found = ran.only();
    assert_eq!((&found["ok"], &found["depth"], &found["damage"]), (&json!(true), &json!("restored"), &json!([])), "{found:#}");
    assert!(found["warnings"][0].as_str().unwrap().contains("entries were restored as yours"), "{found:#}");
    assert!(is_empty(&stage));
}

#[test]
fn a_rehearsal_without_room_says_what_is_missing_and_writes_nothing() {
    let (world, archive) = captured();
    let stage = stage(&world);
    // A promise of so much that no disk has it; the archive is whole as far as the index can tell.
    let mut parts = Parts::of(&archive);
    parts.entry("data/noise")["size"] = json!(1_u64 << 55);
    parts.written(&archive.with_file_name("lies.tar.gz"));
    world.run("eco-verify").args(["--depth", "restored", "--scratch"]).arg(&stage).arg(archive.with_file_name("lies.tar.gz")).exits(1);
    let mounted = world.run("mount").args(["-t", "tmpfs", "-o", "size=16k", "none"]).arg(&stage).ran();
    if mounted.code != 0 {
        return not_shown("a rehearsal without room", "nothing can be mounted here");
    }
    let ran = world.run("eco-verify").args(["--depth", "restored", "--scratch"]).arg(&stage).arg(&archive).ran();
    let empty = is_empty(&stage);
    world.run("umount").arg(&stage).exits(0);
    let found = ran.exits(3).says("no room to restore it: 1 MiB are needed in").only();
    assert!(empty && found["ok"] == Value::Null && found["error"].as_str().unwrap().contains("--scratch"), "{found}");
    // It is still known to be right, as deep as that went.
    assert_eq!(world.run("eco-ls").arg(&archive).exits(0).only()["verified_depth"], "data");
}

#[test]
fn an_interrupted_rehearsal_leaves_nothing() {
    let (world, archive) = captured();
    // Not zeros, which may be restored as holes, and in no time.
    world.shell("yes | head -c 300000000 >data/large");
    fs::remove_file(&archive).unwrap();
    world.run("eco-snap").arg("-o").arg(&archive).exits(0);
    let stage = stage(&world);
    let mut command = world.run("eco-verify").args(["--depth", "restored", "--scratch"]).args([&stage, &archive, &archive]).command();
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let began = std::time::Instant::now();
    while Tree::of(&stage).names().len() < 4 {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "it never began to restore");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "eco-verify: interrupted by a signal; what was restored is removed\n");
    assert!(is_empty(&stage));
}

#[test]
fn a_differential_one_is_rehearsed_and_sampled_with_its_base() {
    let world = World::service();
    let base = world.good();
    world.write("data/orders", "1\n2\n3\n4\n");
    let taken = world.run("eco-snap").args(["--differential"]).exits(0).only();
    assert_eq!(taken["mode"], "differential", "{taken}");
    let stage = stage(&world);
    let found = world.run("eco-verify").args(["latest", "--depth", "restored", "--scratch"]).arg(&stage).exits(0).only();
    assert_eq!((&found["ok"], &found["depth"], &found["files"]), (&json!(true), &json!("restored"), &taken["files"]), "{found:#}");
    assert!(is_empty(&stage));
    let found = world.run("eco-verify").args(["latest", "--sample", "100%"]).exits(0).only();
    assert_eq!((&found["ok"], &found["bytes"]), (&json!(true), &taken["bytes"]), "{found:#}");
    let ran = world.run("eco-ls").args(["--diff", base["id"].as_str().unwrap(), "latest"]).exits(1);
    assert!(ran.all("difference").iter().any(|d| d["path"] == "data/orders" && d["what"] == "content"), "{ran}");
    // Without its base there is nothing to rehearse, and nothing is called right.
    fs::remove_file(base["path"].as_str().unwrap()).unwrap();
    let found = world.run("eco-verify").arg(taken["path"].as_str().unwrap()).args(["--depth", "restored", "--scratch"]).arg(&stage).exits(1).only();
    assert!(found["ok"] == false && found["damage"][0]["what"] == "base" && is_empty(&stage), "{found:#}");
}

#[test]
fn a_sample_reads_its_share_and_another_one_each_day() {
    let world = World::new();
    for number in 0..40 {
        world.write(format!("data/{number}"), noise(1000, number));
    }
    world.write("config/c", "x");
    let taken = world.at("2026-03-01T08:00:00Z").run("eco-snap").exits(0).only();
    let seal = Path::new(taken["path"].as_str().unwrap()).with_extension("gz.verified");
    let sample = |share: &str| world.run("eco-verify").args(["latest", "--sample", share]);
    fs::remove_file(&seal).unwrap();
    let found = sample("10%").exits(0).only();
    assert_eq!((&found["depth"], &found["sample"], &found["ok"]), (&json!("data"), &json!(0.1), &json!(true)));
    let read = found["bytes"].as_u64().unwrap();
    assert!((4000..=6000).contains(&read) && found["files"].as_u64().unwrap() <= 6, "{found}");
    assert_eq!(sample("100%").exits(0).only()["bytes"], taken["bytes"]);
    assert!(!seal.exists(), "what is not all of it proves nothing about all of it");
    // One damaged file is found on one of ten days in a row, or on two where it lies across midnight.
    let archive = PathBuf::from(taken["path"].as_str().unwrap());
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes.windows(100).position(|window| window == &noise(1000, 17)[..100]).unwrap();
    bytes[at + 500] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let mut hits = 0;
    for day in 1..=10 {
        world.at(&format!("2026-03-{day:02}T23:59:59Z"));
        let ran = sample("10%").ran();
        let found = ran.only();
        hits += usize::from(ran.code == 1);
        assert!(ran.code == 0 || (found["ok"] == false && found["damage"][0]["path"] == "data/17"), "{ran}");
        assert_eq!(seal.exists(), hits > 0, "damage is proven by any look that finds it");
    }
    assert!((1..=2).contains(&hits), "{hits}");
    assert_eq!(world.run("eco-ls").arg("latest").exits(0).only()["verified"], false);
}

#[test]
fn a_share_has_its_sign_and_is_of_the_data() {
    let (world, archive) = captured();
    for words in ["--sample=10", "--sample=0%", "--sample=101%", "--sample=-5%", "--sample=%", "--sample=NaN%"] {
        world.run("eco-verify").arg(words).arg(&archive).exits(2).says("written like 10%");
    }
    for depth in ["index", "restored"] {
        world.run("eco-verify").args(["--sample", "5%", "--depth", depth]).arg(&archive).exits(2).says("--depth data only");
    }
    world.run("eco-verify").args(["--sample", "5%", "--live", "latest"]).exits(2);
    world.run("eco-verify").args(["--scratch", "/tmp"]).arg(&archive).exits(2).says("--scratch goes with --depth restored");
    assert_eq!(world.run("eco-verify").args(["--sample", "33.3%"]).arg(&archive).exits(0).only()["sample"], 0.333);
}

#[test]
fn archives_of_old_are_read_to_their_end() {
    let (world, _) = captured();
    for (name, flags) in
        [("old.tar.gz", "-czf"), ("old.tgz", "-czf"), ("old.tar", "-cf"), ("posix.tar", "--format=posix -cf"), ("sparse.tar", "-Scf")]
    {
        let old = world.folder().join(name);
        world.run("tar").args(flags.split(' ')).arg(&old).arg("-C").arg(world.root()).args(["data", "config"]).exits(0);
        let found = verified(&world, &old).exits(0).only();
        assert_eq!(
            (&found["ok"], &found["depth"], &found["files"], &found["snapshot"]),
            (&json!(true), &json!("stream"), &json!(7), &json!(name.split('.').next().unwrap()))
        );
        assert!(found["warnings"][0].as_str().unwrap().starts_with("no digests in it"), "{found}");
        let target = world.folder().join(format!("out-{name}"));
        world.run("eco-restore").arg(&old).arg("--target").arg(&target).exits(0);
        // To the second, which is all that these formats know, save for one.
        let contents = |root: &Path| ["a", "also-a", "log", "noise", "empty", "folder/link"].map(|name| fs::read(root.join("data").join(name)).ok());
        assert_eq!(contents(&world.root()), contents(&target));
    }
}

#[test]
fn a_long_name_with_a_newline_in_a_stock_archive_is_kept() {
    let world = World::new();
    let name = format!("{}\nsecond line", "n".repeat(120));
    world.write(format!("data/{name}"), "x").write("config/c", "x");
    let old = world.folder().join("old.tar");
    world.run("tar").args(["--format=posix", "-cf"]).arg(&old).arg("-C").arg(world.root()).args(["data", "config"]).exits(0);
    let target = world.folder().join("out");
    world.run("eco-restore").arg(&old).arg("--target").arg(&target).exits(0);
    world.tree("").only("data").same_as(&Tree::of(&target).only("data"));
}

/// A tar made by hand: name, kind, link target, content.
fn hostile(world: &World, name: &str, entries: &[(&str, tar::EntryType, &str, &[u8])]) -> PathBuf {
    let mut bytes = Vec::new();
    for (name, kind, link, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    let path = world.folder().join(format!("{name}.tar.gz"));
    fs::write(&path, gzip(&bytes)).unwrap();
    path
}

#[test]
fn hostile_archives_are_refused_with_a_sentence_and_write_nothing_anywhere() {
    use tar::EntryType as Is;
    let world = World::new();
    world.write("config/c", "x").write("data/x", "x");
    let outside = world.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let outside_text = outside.to_str().unwrap();
    let absolute_secret = format!("{outside_text}/secret");
    let file = |name| (name, Is::Regular, "", &b"evil"[..]);
    for (name, entries, words) in [
        ("traversal", vec![file("data/ok"), file("data/../../outside/evil")], "leads outside"),
        ("dots", vec![file("../data/evil")], "leads outside"),
        ("through-link", vec![("data/l", Is::Symlink, outside_text, b""), file("data/l/evil")], "below something that is no folder"),
        ("through-dir-link", vec![("data", Is::Symlink, outside_text, b""), file("data/evil")], "below something that is no folder"),
        ("hard-outside", vec![file("data/ok"), ("data/h", Is::Link, "../outside/secret", b"")], "hard link to nothing"),
        ("hard-absolute", vec![file("data/ok"), ("data/h", Is::Link, &absolute_secret, b"")], "hard link to nothing"),
        ("hard-self", vec![("data/h", Is::Link, "data/h", b"")], "hard link to nothing"),
        ("hard-dir", vec![("data/d", Is::Directory, "", b""), ("data/h", Is::Link, "data/d", b"")], "hard link to nothing"),
        ("twice", vec![file("data/a"), file("data/a")], "two entries of one name"),
        ("twice-spelled", vec![file("data/a"), file("./data//a")], "two entries of one name"),
        ("replaced-by-link", vec![file("data/a"), ("data/a", Is::Symlink, outside_text, b"")], "two entries of one name"),
        ("below-file", vec![file("data/a"), file("data/a/b")], "below something that is no folder"),
        ("unknown-kind", vec![file("data/a"), ("data/b", Is::new(b'Q'), "", b"")], "unknown type"),
    ] {
        let archive = hostile(&world, name, &entries);
        let found = verified(&world, &archive).exits(1).only();
        let said = found["damage"].to_string();
        assert!(found["ok"] == false && said.contains(words), "{name}: {said}");
        not_restored(&world, &archive, words);
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn absolute_names_are_taken_below_the_target() {
    let world = World::new();
    let archive =
        hostile(&world, "absolute", &[("/data/a", tar::EntryType::Regular, "", b"x"), ("/config/l", tar::EntryType::Symlink, "/etc/passwd", b"")]);
    world.run("eco-restore").arg(&archive).arg("--target").arg(world.folder().join("out")).exits(0);
    assert_eq!(fs::read(world.folder().join("out/data/a")).unwrap(), b"x");
    assert_eq!(fs::read_link(world.folder().join("out/config/l")).unwrap(), Path::new("/etc/passwd"));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let world = World::new();
    let write = |name: &str, bytes: &[u8]| {
        let path = world.folder().join(name);
        fs::write(&path, gzip(bytes)).unwrap();
        path
    };
    let header = |name: &str, kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let absurd = [
        header("data/a", tar::EntryType::Regular, 4),
        b"text".to_vec(),
        vec![0; 508],
        header("data/b", tar::EntryType::Regular, 1 << 60),
        vec![0; 2048],
    ]
    .concat();
    let pax_size = {
        let record = b"32 size=9223372036854775807\n".to_vec();
        let record = [b"28".to_vec(), record[2..].to_vec()].concat();
        let mut body = record.clone();
        body.resize(512, 0);
        [header("x", tar::EntryType::XHeader, record.len() as u64), body, header("data/b", tar::EntryType::Regular, 0), vec![0; 1024]].concat()
    };
    for (name, bytes) in [("absurd.tar.gz", absurd), ("pax-size.tar.gz", pax_size)] {
        let archive = write(name, &bytes);
        assert_eq!(verified(&world, &archive).exits(1).only()["ok"], false);
        let before = Tree::of(&world.folder());
        let ran = world.run("eco-restore").arg(&archive).arg("--target").arg(world.folder().join("out")).ran();
        assert!(ran.code == 3 || ran.code == 4, "{ran}");
        unchanged(&before, &world);
    }
    // 256 MiB of one extended header, or of one long name, in 256 KiB.
    for (name, kind) in [("pax-bomb.tar.gz", tar::EntryType::XHeader), ("name-bomb.tar.gz", tar::EntryType::GNULongName)] {
        let mut member = GzEncoder::new(Vec::new(), Compression::new(1));
        member.write_all(&header("x", kind, 256 << 20)).unwrap();
        let page = vec![b'a'; 1 << 20];
        for _ in 0..256 {
            member.write_all(&page).unwrap();
        }
        let path = world.folder().join(name);
        fs::write(&path, member.finish().unwrap()).unwrap();
        let limited = |program: &str, words: &[&str]| {
            let binary = Path::new(env!("CARGO_BIN_EXE_eco-verify")).with_file_name(program);
            world.run("sh").args(["-c", "ulimit -v 262144; exec \"$0\" \"$@\""]).arg(binary).arg(&path).args(words).ran()
        };
        let ran = limited("eco-verify", &[]);
        assert!(ran.code == 1 && ran.stdout.contains("an extended header of absurd size"), "{ran}");
        limited("eco-ls", &[]).exits(3);
        let out = world.folder().join("out");
        let ran = limited("eco-restore", &["--target", out.to_str().unwrap()]);
        assert!((ran.code == 3 || ran.code == 4) && !out.exists(), "{ran}");
    }
}

#[test]
fn an_index_that_lies_is_refused_before_anything_is_allocated() {
    let (world, archive) = captured();
    let edited = archive.with_file_name("lies.tar.gz");
    let refused = |words: &str| {
        damaged(&world, &edited, "<index>", words);
        not_restored(&world, &edited, words);
    };
    let change = |path: &str, key: &str, value: Value, words: &str| {
        let mut parts = Parts::of(&archive);
        let top = parts.index["eco"]["top"].as_str().unwrap().to_owned();
        parts.entry(path)[key] = value.as_str().map_or(value.clone(), |text| json!(text.replace("TOP", &top)));
        parts.written(&edited);
        refused(words);
    };
    change("data/a", "name", json!("TOP/data/../../../outside"), "cannot be a path");
    change("data/a", "name", json!("/etc/passwd"), "outside the top folder");
    change("data/noise", "name", json!("TOP/data/log"), "two entries of one name");
    change("data/a", "name", json!("TOP/data/log/a"), "its folder does not stand before it");
    change("data/log", "size", json!(1_u64 << 60), "a piece of");
    change("data/log", "chunkSize", json!(1_u64 << 60), "a piece of");
    change("data/log", "size", json!(60 << 20), "a piece of");
    change("data/log", "offset", json!(1_u64 << 60), "pieces out of order");
    change("data/log", "offset", json!(0), "pieces out of order");
    change("data/log", "digest", json!("md5:0"), "is not a sha256 digest");
    change("data/log", "type", json!("door"), "unknown type");
    change("data/also-a", "linkName", json!("TOP/data/also-a"), "does not stand before it");
    change("data/also-a", "linkName", json!("/etc/passwd"), "outside the top folder");
    let parts = Parts::of(&archive);
    parts.written_as(&edited, &serde_json::to_vec(&parts.index).unwrap()[..900]);
    refused("its index is damaged");
    let blanks = format!("{}{}", " ".repeat(64 << 20), parts.index);
    parts.written_as(&edited, blanks.as_bytes());
    refused("cannot have come out of");
    let mut parts = Parts::of(&archive);
    parts.index["eco"]["format"] = json!(2);
    parts.written(&edited);
    refused("newer version");
    parts.index["eco"]["format"] = json!(1);
    parts.index["eco"]["top"] = json!("../..");
    parts.written(&edited);
    refused("its index is damaged");
}

#[test]
fn an_index_that_is_far_away_takes_no_memory() {
    let (world, archive) = captured();
    let bytes = fs::read(&archive).unwrap();
    let index = Parts::of(&archive).body.len();
    // The index of one is what follows a file's content, of the other there is no content at all.
    let empty = World::new();
    fs::create_dir(empty.path("data")).unwrap();
    let other = world.folder().join("empty.tar.gz");
    empty.run("eco-snap").arg("-o").arg(&other).exits(0);
    for (name, bytes, index) in [("far", &bytes, index), ("far-and-empty", &fs::read(&other).unwrap(), Parts::of(&other).body.len())] {
        let path = world.folder().join(format!("{name}.tar.gz"));
        let file = File::create(&path).unwrap();
        let end = bytes.len() - 51;
        let far = 1_u64 << 40;
        file.write_all_at(&bytes[..index], 0).unwrap();
        if file.write_all_at(&bytes[index..end], far).is_err() {
            return not_shown("archives of a terabyte", "there are no such files here");
        }
        let mut footer = bytes[end..].to_vec();
        footer[16..32].copy_from_slice(format!("{far:016x}").as_bytes());
        file.write_all_at(&footer, far + (end - index) as u64).unwrap();
        let binary = program("eco-verify");
        for words in [&[][..], &["--sample", "100%"]] {
            let ran = world.run("sh").args(["-c", "ulimit -v 262144; exec \"$0\" \"$@\""]).arg(&binary).arg(&path).args(words).ran();
            assert!(ran.code == 1 || (ran.code == 0 && !words.is_empty()), "{ran}");
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn bytes_behind_the_footer_are_a_warning() {
    let (world, archive) = captured();
    let longer = archive.with_file_name("longer.tar.gz");
    for behind in [&b"\n"[..], &[0; 10_000]] {
        fs::write(&longer, [&fs::read(&archive).unwrap(), behind].concat()).unwrap();
        let found = verified(&world, &longer).exits(0).only();
        assert_eq!(
            (&found["depth"], &found["warnings"]),
            (&json!("data"), &json!([format!("{} bytes behind its footer, where nothing belongs", behind.len())]))
        );
        assert_eq!(world.run("eco-ls").arg(&longer).exits(0).only()["files"], 7);
    }
    fs::write(&longer, [fs::read(&archive).unwrap(), noise(100_000, 4)].concat()).unwrap();
    damaged(&world, &longer, "<footer>", "its footer does not lead there");
}
