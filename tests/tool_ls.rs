//! eco-ls: which snapshot a word means, what is listed, and how little is read for it.

use crate::harness::{Ran, World};
use crate::reference_readers::{not_tested, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Three snapshots, an hour apart: a manual good one, a daily one, a manual one.
fn three() -> (World, Vec<Value>) {
    let world = World::new();
    world.write("data/a", "alpha").write("config/c", "gamma");
    let mut taken = Vec::new();
    for (time, arg) in [("08:00", "--good"), ("09:00", "--kind=daily"), ("10:00", "--kind=manual")] {
        world.write("data/at", time);
        taken.push(world.at(&format!("2026-03-01T{time}:00Z")).run("eco-snap").args(["--full", arg]).exits(0).only());
    }
    world.at("2026-03-01T12:00:00Z");
    (world, taken)
}

fn id(snapshot: &Value) -> &str {
    snapshot["id"].as_str().unwrap()
}

fn path(snapshot: &Value) -> PathBuf {
    snapshot["path"].as_str().unwrap().into()
}

#[track_caller]
fn listed(world: &World, args: &[&str]) -> Vec<String> {
    world.run("eco-ls").args(args).exits(0).all("snapshot").iter().map(|s| id(s).to_owned()).collect()
}

#[test]
fn the_listing_is_newest_first_and_says_what_eco_snap_said() {
    let (world, taken) = three();
    let seen = world.run("eco-ls").exits(0).records();
    assert_eq!(seen.iter().map(id).collect::<Vec<_>>(), taken.iter().rev().map(id).collect::<Vec<_>>());
    for (mut said, now) in taken.into_iter().rev().zip(seen) {
        said.as_object_mut().unwrap().remove("took_ms");
        assert_eq!(said, now);
    }
}

#[test]
fn every_form_of_selector_finds_its_snapshot() {
    let (world, taken) = three();
    let [good, daily, last] = [0, 1, 2].map(|n| id(&taken[n]));
    let one = |selector: &str, wanted: &str| assert_eq!(listed(&world, &[selector]), [wanted], "{selector}");
    one(daily, daily);
    one(&daily[daily.len() - 6..], daily);
    // Ids begin with the time, so a beginning that is long enough is unique.
    one(&daily[..14], daily);
    one("latest", last);
    one("latest-good", good);
    one("latest:daily", daily);
    one("latest:manual", last);
    one(path(&taken[0]).to_str().unwrap(), good);
    assert_eq!(listed(&world, &["latest", good]), [last, good]);
}

#[test]
fn a_name_in_the_current_folder_needs_no_store() {
    let (world, taken) = three();
    let folder = world.folder().join("elsewhere");
    fs::create_dir(&folder).unwrap();
    fs::copy(path(&taken[0]), folder.join("copy.tar.gz")).unwrap();
    for program in ["eco-ls", "eco-verify"] {
        let done = world.run(program).arg("copy.tar.gz").command().current_dir(&folder).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn no_match_is_1_and_an_ambiguous_one_2() {
    let (world, taken) = three();
    for selector in ["nothing", "latest:weekly", "latest:safety", "ffff", "0"] {
        let ran = world.run("eco-ls").arg(selector).exits(1);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("no snapshot"), "{ran}");
    }
    let shared = &id(&taken[0])[..5];
    world.run("eco-ls").arg(shared).exits(2).says("fits 3 snapshots");
    let empty = World::new();
    empty.run("eco-ls").exits(1);
    empty.run("eco-ls").arg("latest").exits(1).says("it is empty");
    empty.run("eco-ls").arg("./no.tar.gz").exits(3).says("cannot read ./no.tar.gz: no such file or directory");
}

#[test]
fn filters_narrow_the_listing() {
    let (world, taken) = three();
    let [good, daily, last] = [0, 1, 2].map(|n| id(&taken[n]));
    assert_eq!(listed(&world, &["--kind", "manual"]), [last, good]);
    assert_eq!(listed(&world, &["--good"]), [good]);
    assert_eq!(listed(&world, &["--before", "2026-03-01T09:00:00Z"]), [good]);
    assert_eq!(listed(&world, &["--after", "2026-03-01T08:00:00Z"]), [last, daily]);
    assert_eq!(listed(&world, &["--after", "150m ago", "--before", "1h ago"]), [last]);
    assert_eq!(listed(&world, &["--after", "210m ago", "--before", "150m ago"]), [daily]);
    world.run("eco-ls").args(["--before", "2026-01-01T00:00:00Z"]).exits(1);
    world.run("eco-ls").args(["--before", "yesterday-ish"]).exits(2);
}

#[test]
fn hazard_04_the_newest_is_so_by_the_time_inside() {
    let (world, taken) = three();
    let [old, new] = [path(&taken[0]), path(&taken[2])];
    // Copied later, named later, touched later: still the old one.
    let copy = old.with_file_name("shop-manual-20991231T235959Z-ffffff.tar.gz");
    fs::copy(&old, &copy).unwrap();
    fs::rename(&old, old.with_file_name("zzz.tar.gz")).unwrap();
    let touch = |path: &Path, ahead| {
        fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() + Duration::from_secs(ahead)).unwrap()
    };
    touch(&copy, 9000);
    touch(&new, 0);
    assert_eq!(listed(&world, &["latest"]), [id(&taken[2])]);
    assert_eq!(listed(&world, &[])[..2], [id(&taken[2]), id(&taken[1])]);
    // Without its verdict the copy is not known to be whole, so it is not good either.
    assert_eq!(world.run("eco-ls").arg(&copy).exits(0).only()["good"], false);
}

#[test]
fn a_snapshot_from_the_future_is_the_latest_of_nothing() {
    let (world, taken) = three();
    world.at("2031-01-01T00:00:00Z").run("eco-snap").args(["--full", "--good"]).exits(0);
    world.at("2026-03-01T12:00:00Z");
    let all = world.run("eco-ls").exits(0).says("taken in the future");
    assert_eq!(all.records().len(), 4);
    assert_eq!(world.run("eco-ls").arg("latest").exits(0).only()["id"], taken[2]["id"]);
    assert_eq!(world.run("eco-ls").arg("latest-good").exits(0).only()["id"], taken[0]["id"]);
    // By its name it can be had.
    world.run("eco-ls").arg(id(&all.records()[0])).exits(0);
}

#[test]
fn hazard_04_a_damaged_one_is_reported_and_never_the_latest() {
    let (world, taken) = three();
    let newest = path(&taken[2]);
    let bytes = fs::read(&newest).unwrap();
    // The index begins where the footer says; without its first bytes the archive cannot describe itself.
    let at = usize::from_str_radix(std::str::from_utf8(&bytes[bytes.len() - 35..bytes.len() - 19]).unwrap(), 16).unwrap();
    let mut broken = bytes.clone();
    broken[at + 40..at + 80].fill(0);
    fs::write(&newest, &broken).unwrap();
    let ran = world.run("eco-ls").exits(3).says("its index is damaged");
    assert_eq!(ran.all("snapshot").len(), 2);
    assert_eq!(listed(&world, &["latest"]), [id(&taken[1])]);
}

#[test]
fn old_archives_are_listed_and_never_the_latest() {
    let (world, taken) = three();
    world.write("home/backups/ecosystem-weekly-20251215/data/a", "old");
    let old = world.store().join("ecosystem-weekly-20251215.tar.gz");
    world.run("tar").args(["-czf"]).arg(&old).args(["--mtime=2027-01-01", "-C"]).arg(world.path("home")).arg("backups").exits(0);
    let all = world.run("eco-ls").exits(0).all("snapshot");
    assert_eq!((all.len(), &all[0]["legacy"], &all[0]["good"]), (4, &json!(true), &json!(false)));
    assert_eq!(listed(&world, &["latest"]), [id(&taken[2])]);
    assert_eq!(listed(&world, &["ecosystem-weekly-20251215"]), ["ecosystem-weekly-20251215"]);
    let files = world.run("eco-ls").args(["ecosystem-weekly-20251215", "--files", "**/a"]).exits(0).all("entry");
    assert_eq!(files[0]["path"], "backups/ecosystem-weekly-20251215/data/a");
}

#[test]
fn snapshots_of_another_ecosystem_are_not_ours() {
    let (world, _) = three();
    world.write("eco.toml", format!("[ecosystem]\nname = \"other\"\nstore = {:?}\n", world.store()));
    world.run("eco-ls").exits(1);
}

#[test]
fn files_are_listed_with_everything_that_is_known_of_them() {
    let (world, _) = three();
    std::os::unix::fs::symlink("a", world.path("data/link")).unwrap();
    world.write("data/sub/b.txt", "b").write("data/sub/c.log", "c");
    let snapshot = world.run("eco-snap").exits(0).only();
    let all = world.run("eco-ls").args(["latest", "--files"]).exits(0).all("entry");
    let names: Vec<_> = all.iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["config", "config/c", "data", "data/a", "data/at", "data/link", "data/sub", "data/sub/b.txt", "data/sub/c.log"]);
    let a = &all[3];
    assert_eq!((&a["snapshot"], &a["kind"], &a["size_bytes"], &a["mode"]), (&snapshot["id"], &json!("file"), &json!(5), &json!("0644")));
    assert_eq!(a["digest"], "sha256:8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8");
    assert_eq!((&all[5]["kind"], &all[5]["link"]), (&json!("symlink"), &json!("a")));
    let matching = |glob: &str| world.run("eco-ls").args(["latest", "--files", glob]).exits(0).all("entry").len();
    assert_eq!((matching("*.txt"), matching("data/*"), matching("data/**"), matching("nothing")), (1, 4, 6, 0));
    world.run("eco-ls").args(["latest", "--files", "a[b"]).exits(2);
}

#[test]
fn a_dash_copies_the_stream_first() {
    let (world, _) = three();
    let lines = "{\"type\":\"weather\",\"time\":\"2026-03-01T10:00:00Z\"}\n\n{\"type\":\"health\",\"time\":\"2026-03-01T10:00:00Z\",\"up\":true}\n";
    let ran = world.run("eco-ls").args(["-", "latest"]).stdin(lines).exits(0);
    assert!(ran.stdout.starts_with(lines) && ran.stdout.lines().count() == 4, "{ran}");
    let ran = world.run("eco-ls").arg("-").stdin("no record\n").exits(3).says("line 1 is not a record");
    assert!(ran.stdout.starts_with("no record\n{"), "{ran}");
    assert_eq!(world.run("eco-ls").stdin(lines).exits(0).records().len(), 3, "without the dash stdin is not read");
}

#[test]
fn a_listing_reads_the_footer_and_the_beginning_of_the_index_only() {
    let world = World::new();
    world.write("data/large", crate::reference_readers::noise(6 << 20, 5));
    for number in 0..3000 {
        world.write(format!("data/many/{number}"), text(number % 7));
    }
    let snapshot = world.run("eco-snap").exits(0).only();
    assert!(fs::metadata(path(&snapshot)).unwrap().len() > 6 << 20);
    if !Path::new("/usr/bin/strace").exists() {
        return not_tested("how much a listing reads", "strace is not installed");
    }
    let log = world.folder().join("strace");
    let program = Path::new(env!("CARGO_BIN_EXE_eco-ls"));
    world.run("strace").args(["-f", "-y", "-e", "trace=read,pread64,readv,preadv,mmap", "-o"]).arg(&log).arg(program).exits(0);
    let log = fs::read_to_string(log).unwrap();
    let name = path(&snapshot).file_name().unwrap().to_str().unwrap().to_owned();
    let reads: Vec<&str> = log.lines().filter(|line| line.contains(&format!("{name}>"))).collect();
    let bytes: u64 = reads.iter().filter_map(|line| line.rsplit(" = ").next()?.trim().parse::<u64>().ok()).sum();
    assert!(!reads.is_empty() && reads.iter().all(|line| !line.contains("mmap")), "{reads:#?}");
    assert!(bytes <= 128 << 10, "{bytes} bytes of the archive were read:\n{}", reads.join("\n"));
}

#[test]
fn a_full_disk_behind_stdout_is_told_once() {
    let world = World::service();
    world.good();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let done =
        world.run("eco-ls").arg("--json").command().stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), said.as_str()), (Some(3), "eco-ls: cannot write <stdout>: no space left on device\n"));
}

/// Paths and what is said about them, in the order of the records.
fn differences(ran: &Ran) -> Vec<String> {
    ran.all("difference").iter().map(|d| format!("{} {}", d["path"].as_str().unwrap(), d["what"].as_str().unwrap())).collect()
}

#[test]
fn two_snapshots_are_compared_as_the_live_tree_was_and_is() {
    let world = World::service();
    let first = world.at("2026-03-01T08:00:00Z").good();
    let same = world.at("2026-03-01T09:00:00Z").good();
    let diff = |a: &str, b: &str| world.run("eco-ls").args(["--diff", a, b]);
    let ran = diff(id(&first), id(&same)).exits(0).says("0 created, 0 deleted, 0 changed");
    assert!(ran.stdout.is_empty(), "{ran}");
    world.spoil();
    // Preserved paths are in both, and what became of them is told; only what was left out is not.
    let live = world.run("eco-verify").args(["--live", id(&same)]).exits(1);
    let second = world.at("2026-03-01T10:00:00Z").good();
    let ran = diff(id(&same), "latest").exits(1);
    let preserved = |line: &String| line.contains(".log ") || line.contains("data/metrics");
    let (kept, other): (Vec<String>, Vec<String>) = differences(&ran).into_iter().partition(preserved);
    // Their times changed with what was left out, or is preserved, inside.
    let folders = ["data metadata", "data/sub metadata"].map(str::to_owned);
    let expected: Vec<String> = differences(&live);
    assert!(other.iter().all(|line| expected.contains(line) || folders.contains(line)), "{other:#?}\n{expected:#?}");
    assert!(expected.iter().all(|line| other.contains(line)), "{other:#?}\n{expected:#?}");
    assert!(kept.contains(&"data/metrics/2026-03 content".to_owned()) && kept.contains(&"data/metrics/2026-04 created".to_owned()), "{kept:?}");
    let record = &ran.all("difference")[0];
    assert_eq!((&record["snapshot"], &record["time"], &record["ecosystem"]), (&same["id"], &second["time"], &json!("shop")));
    // The other way round, and narrowed.
    assert!(differences(&diff("latest", id(&same)).exits(1)).contains(&"data/metrics/2026-04 deleted".to_owned()));
    let narrowed = world.run("eco-ls").args(["--diff", id(&same), "latest", "--files=config/**"]).exits(1).says("1 created, 0 deleted, 1 changed");
    assert_eq!(differences(&narrowed), ["config/new.json created", "config/state content"]);
    world.run("eco-ls").args(["--diff", id(&same), "latest", "--files=modules/ui/**"]).exits(0);
    diff("latest", "nothing-like-it").exits(1).says("no snapshot 'nothing-like-it'");
    world.run("eco-ls").args(["--diff", "latest"]).exits(2);
    world.run("eco-ls").args(["latest", "--diff", "latest", "latest"]).exits(2);
}

#[test]
fn a_part_is_compared_with_the_whole_in_what_both_hold() {
    let world = World::service();
    let whole = world.good();
    world.write("config/state", "well again\n").write("data/orders", "4\n");
    let part = world.run("eco-snap").args(["config", "modules/ui/code"]).exits(0).only();
    let ran = world
        .run("eco-ls")
        .args(["--diff", id(&whole), id(&part)])
        .exits(1)
        .says("only one of them holds all of it: data, modules/recommend, modules/ui");
    assert_eq!(differences(&ran), ["config/state content"]);
    let other = world.run("eco-snap").arg("data/orders").exits(0).only();
    world.run("eco-ls").args(["--diff", id(&other), id(&part)]).exits(2).says("nothing in common: data/orders, and config, modules/ui/code");
}

#[test]
fn an_archive_of_old_is_compared_with_a_snapshot() {
    let world = World::new();
    world.write("data/a", "alpha").write("data/b", "beta").write("config/c", "gamma");
    world.shell("ln data/b data/another; ln -s a data/link");
    let taken = world.run("eco-snap").exits(0).only();
    // The content stands under the name that comes last.
    world.shell("tar -czf ../old.tar.gz data/link data/b data/another data/a config --no-recursion data");
    let old = world.folder().join("old.tar.gz");
    let old = old.to_str().unwrap();
    for words in [["--diff", old, id(&taken)], ["--diff", id(&taken), old]] {
        world.run("eco-ls").args(words).exits(0).says("0 changed, 7 the same");
    }
    world.write("data/b", "two");
    // The archive of old knows whole seconds only.
    world.shell("touch -d 2001-02-03T04:05:06Z data/b");
    world.run("eco-snap").exits(0);
    assert_eq!(differences(&world.run("eco-ls").args(["--diff", old, "latest"]).exits(1)), ["data/another content", "data/b metadata"]);
    // Without any configuration both are found by their paths.
    let elsewhere = world.run("eco-ls").args(["--root", "/nowhere", "--diff", old, path(&taken).to_str().unwrap(), "--files=data/**"]).exits(0);
    assert!(elsewhere.stdout.is_empty(), "{elsewhere}");
}

#[test]
fn a_database_that_nobody_changed_is_the_same_in_both() {
    let world = World::new();
    world.write("config/c", "x").write("data/x", "x");
    let database = rusqlite::Connection::open(world.path("data/shop.db")).unwrap();
    database.execute_batch("pragma journal_mode=wal; create table t(n); insert into t values (1)").unwrap();
    let first = world.run("eco-snap").exits(0).only();
    let second = world.run("eco-snap").exits(0).only();
    world.run("eco-ls").args(["--diff", id(&first), id(&second), "--files=shop.db"]).exits(0);
    database.execute_batch("insert into t values (2)").unwrap();
    world.run("eco-snap").exits(0);
    assert_eq!(differences(&world.run("eco-ls").args(["--diff", id(&first), "latest", "--files=shop.db"]).exits(1)), ["data/shop.db content"]);
}
