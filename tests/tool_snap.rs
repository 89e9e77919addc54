//! eco-snap: what it captures, what it calls good, what it refuses, and what is left of it when it is interrupted.

use crate::harness::{Tree, World};
use crate::reference_readers::{is_root, noise, text};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn small() -> World {
    let world = World::new();
    world.write("data/a", "alpha").write("config/c", "gamma");
    world
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn archive(snapshot: &Value) -> PathBuf {
    snapshot["path"].as_str().unwrap().into()
}

/// What the store holds, hidden names included.
pub fn stored(world: &World) -> Vec<String> {
    Tree::of(&world.store()).names().iter().map(|name| name.display().to_string()).filter(|name| name.contains('/')).collect()
}

#[test]
fn a_snapshot_is_private_verified_and_says_what_it_holds() {
    let world = small();
    let snapshot = world.at("2026-03-01T08:30:00Z").run("eco-snap").exits(0).only();
    let path = archive(&snapshot);
    let id = snapshot["id"].as_str().unwrap();
    assert_eq!(path, world.store().join(format!("shop-manual/shop-manual-20260301T083000Z-{}.tar.gz", &id[id.len() - 6..])));
    assert_eq!((mode(&path), mode(path.with_extension("gz.verified")), mode(path.parent().unwrap())), (0o600, 0o600, 0o700));
    for (key, value) in [
        ("time", json!("2026-03-01T08:30:00Z")),
        ("ecosystem", json!("shop")),
        ("kind", json!("manual")),
        ("mode", json!("full")),
        ("covers", json!(["config", "data", "modules"])),
        ("roots", json!(["config", "data"])),
        ("files", json!(2)),
        ("bytes", json!(10)),
        ("archive_bytes", json!(fs::metadata(&path).unwrap().len())),
        ("health", json!("unknown")),
        ("good", json!(false)),
        ("verified", json!(true)),
    ] {
        assert_eq!(snapshot[key], value, "{key}");
    }
    assert_eq!(stored(&world).len(), 2, "no more than the archive and the verdict");
}

#[test]
fn health_on_the_stream_or_a_persons_word_makes_it_good() {
    let world = small();
    let taken = |args: &[&str], lines: &str| world.run("eco-snap").args(args).stdin(lines).exits(0);
    let sample = |up: bool| format!("{{\"type\":\"health\",\"time\":\"2026-03-01T08:00:00Z\",\"up\":{up}}}\n");
    for (lines, health, good) in [
        (sample(true), "ok", true),
        (sample(false), "failed", false),
        (sample(false) + &sample(true), "ok", true),
        (sample(true) + &sample(false), "failed", false),
        ("{\"type\":\"weather\",\"time\":\"2026-03-01T08:00:00Z\"}\n".into(), "unknown", false),
        (String::new(), "unknown", false),
    ] {
        let ran = taken(&["-"], &lines);
        assert!(ran.stdout.starts_with(&lines), "the stream passes through: {}", ran.stdout);
        let snapshot = ran.last("snapshot");
        assert_eq!((&snapshot["health"], &snapshot["good"]), (&json!(health), &json!(good)), "{lines}");
    }
    assert_eq!(taken(&["--good"], "").only()["good"], true);
    // Without the dash stdin is not even read.
    assert_eq!(taken(&[], &sample(true)).only()["health"], "unknown");
}

#[test]
fn single_roots_kinds_and_levels() {
    let world = small();
    world.write("data/log", text(200_000));
    let config = world.run("eco-snap").args(["config", "--kind", "daily"]).exits(0).only();
    assert_eq!((&config["roots"], &config["covers"], &config["kind"]), (&json!(["config"]), &json!(["config"]), &json!("daily")));
    assert!(archive(&config).starts_with(world.store().join("shop-daily")));
    let nested = world.run("eco-snap").args(["data", "data/log", "data"]).exits(0).only();
    assert_eq!(nested["roots"], json!(["data"]));
    let size = |level: &str| world.run("eco-snap").args(["--level", level]).exits(0).only()["archive_bytes"].as_u64().unwrap();
    assert!(size("0") > 200_000 && size("12") < 60_000);
}

#[test]
fn words_that_cannot_be_are_refused_and_nothing_is_touched() {
    let world = small();
    for args in [
        &["--kind", "safety"][..],
        &["--kind", "odd"],
        &["--level", "13"],
        &["--level", "-1"],
        &["../etc"],
        &["/etc"],
        &[".eco"],
        &["data/../.."],
        &["-o", "data/new.tar.gz"],
    ] {
        let ran = world.run("eco-snap").args(args).exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran}");
    }
    assert!(!world.store().exists());
}

#[test]
fn an_output_of_ones_own_is_never_written_over() {
    let world = small();
    let out = world.folder().join("mine.tar.gz");
    assert_eq!(archive(&world.run("eco-snap").arg("-o").arg(&out).exits(0).only()), out);
    assert!(mode(&out) == 0o600 && !world.store().exists());
    let before = fs::read(&out).unwrap();
    world.run("eco-snap").arg("-o").arg(&out).exits(2).says("is there already");
    assert_eq!(fs::read(&out).unwrap(), before);
    world.run("eco-snap").arg("-o").arg(world.folder().join("no/such/folder.tar.gz")).exits(3);
}

#[test]
fn a_store_inside_what_it_has_to_hold_is_refused() {
    let world = small();
    world.run("eco-snap").arg("--store").arg(world.path("data/backups")).exits(2).says("lies inside 'data'");
    // Through a link, and in a root that only this run captures.
    world.write("attic/old", "x");
    world.run("eco-snap").args(["attic", "--store"]).arg(world.path("attic/store")).exits(2).says("would lie inside 'attic'");
    std::os::unix::fs::symlink(world.path("attic"), world.folder().join("elsewhere")).unwrap();
    world.run("eco-snap").args(["attic", "--store"]).arg(world.folder().join("elsewhere/store")).exits(2).says("would lie inside 'attic'");
    assert!(!world.path("attic/store").exists());
}

#[test]
fn roots_that_are_not_there_are_noted_and_none_at_all_is_refused() {
    let world = World::new();
    let ran = world.run("eco-snap").exits(2);
    assert!(ran.stderr.contains("nothing to capture") && ran.stdout.is_empty(), "{ran}");
    assert!(!world.store().exists());
    world.write("data/a", "x");
    world.run("eco-snap").exits(0);
}

#[test]
fn what_is_excluded_ours_or_a_socket_is_left_out() {
    let world = small();
    world.config("[snapshot]\nexclude = [\"*.tmp\", \"data/cache\"]\npreserve = [\"data/metrics\"]\n");
    world.write("data/x.tmp", "x").write("data/cache/c", "x").write("data/metrics/m", "x").write(".eco/memory", "x");
    let _socket = std::os::unix::net::UnixListener::bind(world.path("data/socket")).unwrap();
    let ran = world.run("eco-snap").arg("-v").exits(0).says("data/socket is a socket: noted, not captured");
    let listed = world.run("eco-ls").args(["latest", "--files"]).exits(0).all("entry");
    let names: Vec<_> = listed.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["config", "config/c", "data", "data/a", "data/metrics", "data/metrics/m"], "{ran}");
}

#[test]
fn a_file_that_cannot_be_read_stops_it_and_nothing_is_stored() {
    let world = small();
    world.write("data/secret", "x");
    fs::set_permissions(world.path("data/secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut snap = world.run("eco-snap");
    if is_root() {
        fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(world.store()).unwrap();
        for path in [world.store(), world.path("data"), world.path("data/a"), world.path("config"), world.path("config/c")] {
            lchown(path, Some(65534), Some(65534)).unwrap();
        }
        snap = snap.user(65534);
    }
    let ran = snap.exits(3).says("no snapshot was taken: cannot read ").says("data/secret: permission denied");
    assert!(ran.stdout.is_empty() && stored(&world).is_empty(), "{ran}");
}

#[test]
fn hazard_23_two_snapshots_within_one_second_both_exist() {
    let world = small();
    world.at("2026-03-01T08:30:00Z");
    let running: Vec<Child> = (0..6).map(|_| world.run("eco-snap").command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for child in running {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    world.run("eco-snap").exits(0);
    let listed = world.run("eco-ls").exits(0).all("snapshot");
    let mut ids: Vec<_> = listed.iter().map(|s| s["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((listed.len(), ids.len()), (7, 7));
    assert!(listed.iter().all(|s| s["verified"] == true), "{listed:?}");
    assert_eq!(stored(&world).len(), 14, "{:?}", stored(&world));
}

/// Starts eco-snap on a tree that takes long enough, and returns when it is in the middle of it.
pub fn in_the_middle(world: &World, words: &[&str]) -> Child {
    File::create(world.path("data/large")).unwrap().set_len(8 << 30).unwrap();
    let child = world.run("eco-snap").args(words).command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !stored(world).iter().any(|name| name.ends_with(".tmp")) {
        assert!(began.elapsed() < Duration::from_secs(10), "it never began");
        thread::sleep(Duration::from_millis(2));
    }
    thread::sleep(Duration::from_millis(100));
    child
}

#[test]
fn an_interrupted_snapshot_cleans_up_after_itself() {
    let world = small();
    let child = in_the_middle(&world, &[]);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(3), 0));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("no snapshot was taken: interrupted by a signal"), "{said}");
    assert!(stored(&world).is_empty(), "{:?}", stored(&world));
}

#[test]
fn what_a_killed_snapshot_leaves_is_never_listed_and_swept_by_the_next() {
    let world = small();
    let mut child = in_the_middle(&world, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(stored(&world).iter().any(|name| name.ends_with(".tmp")), "{:?}", stored(&world));
    world.run("eco-ls").exits(1);
    fs::remove_file(world.path("data/large")).unwrap();
    // One that is still at work is not swept.
    fs::create_dir_all(world.store().join("shop-manual")).unwrap();
    let busy = world.store().join("shop-manual/.busy.tmp");
    let lock = File::create(&busy).unwrap();
    lock.lock_shared().unwrap();
    world.run("eco-snap").exits(0);
    let mut left = stored(&world);
    left.retain(|name| !name.ends_with(".tar.gz") && !name.ends_with(".verified"));
    assert_eq!(left, ["shop-manual/.busy.tmp"]);
    assert_eq!(world.run("eco-ls").exits(0).all("snapshot").len(), 1);
}

/// Does `work` again and again while `meanwhile` runs.
pub fn while_busy<T>(mut work: impl FnMut(u64) + Send, meanwhile: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                work(round);
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_file_that_never_stands_still_is_named_and_the_exit_code_is_3() {
    let world = small();
    let file = File::create(world.path("data/busy")).unwrap();
    file.set_len(24 << 20).unwrap();
    let mut growing = File::create(world.path("data/growing")).unwrap();
    let ran = while_busy(
        |round| {
            file.write_all_at(&round.to_le_bytes(), (round * 4096) % (24 << 20)).unwrap();
            if round % 64 == 0 {
                growing.write_all(b"one more line\n").unwrap();
            }
        },
        || world.run("eco-snap").exits(3),
    );
    let snapshot = ran.last("snapshot");
    let unstable = snapshot["unstable"].as_array().unwrap();
    assert!(unstable.contains(&json!({"path": "data/busy"})) || unstable.contains(&json!("data/busy")), "{snapshot}");
    assert!(ran.stderr.contains("kept changing while"), "{ran}");
    // What is stored is whole in itself, and goes on saying what is doubtful in it.
    let listed = world.pipe(["eco-ls latest", "eco-verify"]).exits([0, 0]);
    assert_eq!(listed.last("snapshot")["unstable"], snapshot["unstable"]);
    let names: Vec<_> = world.run("eco-ls").args(["latest", "--files", "data/*"]).exits(0).all("entry");
    assert_eq!(names.len(), 3);
}

const SUM: i64 = 1000;

/// A ledger whose balances always add up to the same, in some journal mode.
fn ledger(path: &Path, journal: &str) -> Connection {
    let database = Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(20)).unwrap();
    database.pragma_update(None, "journal_mode", journal).unwrap();
    database.pragma_update(None, "synchronous", "off").unwrap();
    database.execute_batch("create table t(id integer primary key, n integer, filler text)").unwrap();
    for id in 0..500 {
        database.execute("insert into t values (?, ?, ?)", (id, if id == 0 { SUM } else { 0 }, "x".repeat(200))).unwrap();
    }
    database
}

fn transfer(database: &Connection, round: u64) {
    let (from, to) = ((round * 7 % 500) as i64, (round * 131 % 500) as i64);
    let change = format!("begin immediate; update t set n = n - 1 where id = {from}; update t set n = n + 1 where id = {to}; commit");
    database.execute_batch(&change).unwrap();
}

fn assert_whole(path: &Path) {
    let database = Connection::open(path).unwrap();
    let check: String = database.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    let sum: i64 = database.query_row("select sum(n) from t", [], |row| row.get(0)).unwrap();
    assert_eq!((check.as_str(), sum), ("ok", SUM), "{}", path.display());
}

#[test]
fn hazard_24_a_database_under_full_load_is_captured_whole() {
    let world = small();
    let databases: Vec<Connection> = ["wal", "delete", "truncate"].map(|mode| ledger(&world.path(format!("data/{mode}.db")), mode)).into();
    while_busy(
        move |round| databases.iter().for_each(|database| transfer(database, round)),
        || {
            for number in 0..3 {
                let target = world.folder().join(format!("out-{number}"));
                world.run("eco-snap").exits(0);
                world.run("eco-restore").args(["latest", "--target"]).arg(&target).exits(0);
                for mode in ["wal", "delete", "truncate"] {
                    for end in ["-wal", "-shm", "-journal"] {
                        assert!(!target.join(format!("data/{mode}.db{end}")).exists());
                    }
                    assert_whole(&target.join(format!("data/{mode}.db")));
                }
            }
        },
    );
}

#[test]
fn a_database_whose_writer_died_in_a_transaction_is_captured_with_what_heals_it() {
    let world = small();
    let scratch = world.folder().join("scratch");
    fs::create_dir(&scratch).unwrap();
    for journal in ["delete", "wal"] {
        let database = ledger(&scratch.join("l.db"), journal);
        database.execute_batch("pragma cache_size = 5; begin immediate; update t set n = n + 1, filler = 'torn'").unwrap();
        if journal == "delete" {
            assert!(fs::metadata(scratch.join("l.db-journal")).unwrap().len() > 512, "the journal is hot");
        }
        // What a crash leaves: the files as they are now, and nobody who has them open.
        for name in fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
            if !name.ends_with("-shm") {
                fs::copy(scratch.join(&name), world.path(format!("data/{journal}-{name}"))).unwrap();
            }
        }
        drop(database);
        fs::remove_dir_all(&scratch).unwrap();
        fs::create_dir(&scratch).unwrap();
    }
    let before = world.tree("data");
    world.run("eco-snap").exits(0);
    // SQLite may leave its index of the log behind, and nothing else.
    let touched = before.differences(&world.tree("data"));
    assert!(touched.iter().all(|line| line.contains("wal-l.db-") || line.starts_with("-  ") || line.starts_with("+  ")), "{touched:#?}");
    let target = world.folder().join("out");
    world.run("eco-restore").args(["latest", "--target"]).arg(&target).exits(0);
    for journal in ["delete", "wal"] {
        assert_whole(&target.join(format!("data/{journal}-l.db")));
    }
}

#[test]
fn a_tree_in_the_middle_of_a_rollback_is_not_captured() {
    let world = small();
    world.write(".eco/journal", "{\"version\":1,\"phase\":\"staging\"");
    fs::set_permissions(world.path(".eco"), fs::Permissions::from_mode(0o700)).unwrap();
    world.run("eco-snap").exits(3);
    assert!(!world.store().exists());
}

/// A service that is told to hold still: it writes what it had in memory, and notes every word that it hears.
fn told(more: &str) -> World {
    let world = small();
    world.config(&format!("[snapshot]\nbefore = [\"bin/ctl\", \"hold\"]\nafter = [\"bin/ctl\", \"release\"]\n{more}"));
    world.program(
        "bin/ctl",
        "#!/bin/sh\necho \"$1\" >>heard\n[ ! -e hang-$1 ] || { sleep 1000 & sleep 1000; }\n[ ! -e slow-$1 ] || sleep 1\n\
         case $1 in hold) echo $ECO_SNAPSHOT >data/flushed ;; *) rm -f data/flushed; echo x >data/later ;; esac\n[ ! -e \"fail-$1\" ]\n",
    );
    world
}

#[test]
fn the_service_holds_still_exactly_while_it_is_read() {
    let world = told("");
    let snapshot = world.run("eco-snap").exits(0).only();
    assert_eq!(world.read("heard"), "hold\nrelease\n");
    assert!(snapshot["quiesced_ms"].is_u64(), "{snapshot}");
    let files = world.run("eco-ls").args(["latest", "--files=data/*"]).exits(0).all("entry");
    let names: Vec<&str> = files.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["data/a", "data/flushed"], "looked at after the one and before the other");
    let out = world.folder().join("out");
    world.run("eco-restore").args(["latest", "--target"]).arg(&out).exits(0);
    assert_eq!(fs::read_to_string(out.join("data/flushed")).unwrap().trim(), snapshot["id"].as_str().unwrap());
    let said = world.run("eco-health").arg("--check-config").exits(0).stdout;
    for line in ["bin/ctl \"hold\"\n", "bin/ctl \"release\"\n", "  timeout    30s for each of the two"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // Words that are wrong, and a tree in which there is nothing, disturb nobody.
    world.run("eco-snap").arg("-o").arg(world.path("data/a")).exits(2);
    world.run("eco-snap").args(["--output", "data/x.tar.gz"]).exits(2);
    assert_eq!(world.read("heard"), "hold\nrelease\n");
}

#[test]
fn a_service_that_does_not_hold_still_is_not_captured_and_goes_on() {
    for (how, why) in [("fail-hold", "bin/ctl ended with 1"), ("hang-hold", "bin/ctl took longer than 300ms and was ended")] {
        let world = told("hook_timeout = \"300ms\"\n");
        world.write(how, "");
        let ran = world.run("eco-snap").exits(3).says(&format!("no snapshot was taken: [snapshot] before: {why}; after was run"));
        assert!(ran.stdout.is_empty() && stored(&world).is_empty(), "{ran}");
        assert_eq!((world.read("heard"), world.processes()), ("hold\nrelease\n".into(), vec![]), "{how}");
    }
    let world = told("");
    world.write("fail-hold", "").write("fail-release", "");
    world.run("eco-snap").exits(3).says("after failed too: bin/ctl ended with 1; the service may still hold still");
    let world = told("");
    fs::remove_file(world.path("bin/ctl")).unwrap();
    world.run("eco-snap").exits(3).says("[snapshot] before: cannot run bin/ctl: no such program; after failed too");
}

#[test]
fn a_service_that_does_not_go_on_is_told_of_and_the_snapshot_stays() {
    let world = told("hook_timeout = \"300ms\"\n");
    world.write("fail-release", "");
    let ran = world.run("eco-snap").exits(3).says("[snapshot] after: bin/ctl ended with 1; the service may still hold still");
    assert!(ran.only()["verified"] == true && ran.only()["quiesced_ms"].is_u64(), "{ran}");
    assert_eq!(world.run("eco-ls").exits(0).all("snapshot").len(), 1);
    let world = told("hook_timeout = \"300ms\"\n");
    world.program("bin/ctl", "#!/bin/sh\n[ \"$1\" = hold ] || { sleep 1000 & sleep 1000; }\n");
    world.run("eco-snap").exits(3).says("took longer than 300ms and was ended");
    assert!(world.processes().is_empty() && world.run("eco-ls").exits(0).all("snapshot").len() == 1);
}

#[test]
fn a_capture_that_fails_or_is_interrupted_lets_the_service_go_on() {
    let world = told("");
    // A database that says it is one and is none, with a journal beside it, cannot be copied.
    world.write("data/broken.db", [b"SQLite format 3\0".as_slice(), &[7; 5000]].concat()).write("data/broken.db-wal", [1; 100]);
    let ran = world.run("eco-snap").ran();
    assert!(ran.code == 3 && ran.stdout.is_empty(), "{ran}");
    assert_eq!(world.read("heard"), "hold\nrelease\n");

    let world = told("");
    let child = in_the_middle(&world, &[]);
    assert_eq!(world.read("heard"), "hold\n");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(3));
    assert_eq!(world.read("heard"), "hold\nrelease\n");
    assert!(stored(&world).is_empty());
}

#[test]
fn a_signal_while_the_service_is_asked_to_hold_still_lets_it_go_on() {
    let world = told("");
    world.write("slow-hold", "");
    let child = world.run("eco-snap").command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while world.read("heard") != "hold\n" {
        assert!(began.elapsed() < Duration::from_secs(10), "it was never asked");
        thread::sleep(Duration::from_millis(2));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(3) && done.stdout.is_empty() && said.contains("interrupted by a signal; [snapshot] after was run"), "{said}");
    assert_eq!(world.read("heard"), "hold\nrelease\n");
}

#[test]
fn a_base_is_found_wherever_in_the_store_either_of_the_two_is() {
    let world = World::new();
    world.write("config/c", "x").write("data/x", noise(100_000, 1));
    let full = PathBuf::from(world.run("eco-snap").exits(0).only()["path"].as_str().unwrap());
    world.write("data/y", "y");
    let taken = world.run("eco-snap").arg("--differential").exits(0).only();
    assert_eq!(taken["mode"], "differential", "{taken}");
    let differential = PathBuf::from(taken["path"].as_str().unwrap());
    let at_top = |archive: &Path| world.store().join(archive.file_name().unwrap());
    let verify = |archive: &Path| world.run("eco-verify").arg(archive);
    verify(&differential).exits(0);
    fs::rename(&full, at_top(&full)).unwrap();
    verify(&differential).exits(0);
    fs::rename(&differential, at_top(&differential)).unwrap();
    verify(&at_top(&differential)).exits(0);
    fs::rename(at_top(&full), &full).unwrap();
    verify(&at_top(&differential)).exits(0);
    fs::remove_file(full).unwrap();
    verify(&at_top(&differential)).exits(1);
}

#[test]
fn a_large_file_of_which_only_the_permissions_changed_is_in_a_differential_archive_that_is_whole() {
    let world = World::new();
    world.write("config/c", "x").write("data/before", "x").write("data/large", noise((2 << 20) + 3, 1)).write("data/later", "y");
    world.run("eco-snap").exits(0);
    fs::set_permissions(world.path("data/large"), fs::Permissions::from_mode(0o600)).unwrap();
    // What stands before it and after it in the archive, too.
    world.write("data/before", "xx").write("data/later", "yyy");
    let ran = world.run("eco-snap").arg("--differential").exits(0);
    assert_eq!(ran.only()["mode"], "differential", "{ran}");
    world.run("eco-verify").arg("latest").exits(0);
    let out = world.folder().join("out");
    world.run("eco-restore").arg("latest").arg("--target").arg(&out).exits(0);
    world.tree("data").same_as(&Tree::of(&out.join("data")));
}

#[test]
fn names_of_one_file_stay_together_when_a_folder_with_one_of_them_is_moved() {
    let world = World::new();
    world.write("config/c", "x").write("data/ballast", noise(100_000, 1)).write("data/a", "one file").write("data/folder/x", "x");
    fs::hard_link(world.path("data/a"), world.path("data/folder/b")).unwrap();
    world.run("eco-snap").exits(0);
    // Nothing is left of it in the times of the file.
    fs::rename(world.path("data/folder"), world.path("data/moved")).unwrap();
    let ran = world.run("eco-snap").arg("--differential").exits(0);
    assert_eq!(ran.only()["mode"], "differential", "{ran}");
    world.run("eco-verify").args(["latest", "--live"]).exits(0);
    let out = world.folder().join("out");
    world.run("eco-restore").arg("latest").arg("--target").arg(&out).exits(0);
    world.tree("data").same_as(&Tree::of(&out.join("data")));
}

/// `data` is a link to a generation; outside of the ecosystem lies another one.
fn with_generations() -> World {
    let world = World::new();
    world.write("releases/7/data/a", "alpha").write("releases/7/data/sub/b", "beta").write("config/c", noise(20_000, 7));
    world.shell("ln -s a releases/7/data/link; chmod 2750 releases/7/data; ln -s releases/7/data data; cp -a releases/7/data ../elsewhere");
    world
}

#[test]
fn a_root_that_is_a_link_is_captured_as_what_it_leads_to() {
    for to in ["releases/7/data", "../elsewhere"] {
        let world = with_generations();
        world.shell(&format!("ln -sfn {to} data; touch -d 2025-12-15 data/."));
        let snapshot = world.run("eco-snap").arg("--good").exits(0).only();
        assert_eq!((&snapshot["roots"], &snapshot["files"]), (&json!(["config", "data"]), &json!(3)), "{to}");
        let kinds = world.run("eco-ls").args(["latest", "--files", "data/**"]).exits(0).all("entry");
        let kinds: Vec<_> = kinds.iter().map(|entry| (entry["path"].as_str().unwrap(), entry["kind"].as_str().unwrap())).collect();
        assert_eq!(kinds, [("data/a", "file"), ("data/link", "symlink"), ("data/sub", "dir"), ("data/sub/b", "file")]);
        let out = world.folder().join("out");
        world.run("eco-restore").arg("latest").arg("--target").arg(&out).exits(0);
        Tree::of(&out.join("data")).same_as(&world.tree("data/."));

        // What looks at the live tree sees the same, a differential snapshot builds on it, and a database is copied.
        world.run("eco-verify").args(["latest", "--live"]).exits(0);
        world.write("data/a", "other");
        let live = world.run("eco-verify").args(["latest", "--live"]).exits(1);
        assert_eq!(live.last("difference")["path"], "data/a");
        let database = Connection::open(world.path("data/shop.db")).unwrap();
        database.execute_batch("pragma journal_mode=wal; create table t(x); insert into t values (1);").unwrap();
        let snapshot = world.run("eco-snap").arg("--differential").exits(0).only();
        assert_eq!((&snapshot["mode"], &snapshot["files"]), (&json!("differential"), &json!(4)));
        world.run("eco-verify").args(["latest", "--live"]).exits(0);
        assert!(!world.run("eco-ls").args(["latest", "--files", "data/*"]).exits(0).stdout.contains("-wal"));
    }
}

#[test]
fn a_root_that_is_a_link_to_nothing_or_to_what_is_not_its_own_is_refused_by_name() {
    let world = with_generations();
    fs::create_dir_all(world.store().join("inside")).unwrap();
    for (number, (to, code, says)) in [
        ("releases/8/data", 3, "cannot follow the link"),
        ("config", 2, "the root config holds as well"),
        ("config/below", 2, "the root config holds as well"),
        (".", 2, "not a tree of its own"),
        ("..", 2, "not a tree of its own"),
        (".eco/x", 2, "not a tree of its own"),
        ("../shop-store", 2, "would lie inside 'data'"),
        ("../shop-store/inside", 2, "leads into the store"),
    ]
    .into_iter()
    .enumerate()
    {
        world.shell(&format!("mkdir -p config/below .eco/x; ln -sfn {to} data"));
        let ran = world.run("eco-snap").exits(code).says(says);
        assert!(ran.stderr.contains("data") && ran.stdout.is_empty(), "{to}: {ran}");
        assert!(stored(&world).is_empty(), "{to}");
        // Whoever does not ask for it is not kept from anything.
        world.run("eco-snap").args(["config", "-o"]).arg(world.folder().join(format!("{number}.tar.gz"))).exits(0);
    }
}
