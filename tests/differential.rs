//! Differential snapshots, and full ones that take over what has not changed: day after day they are the tree of that day, they cost
//! what has changed, and what they need of another archive cannot be missing, damaged or exchanged unnoticed.

use crate::harness::Dice;
use crate::harness::{Ran, Tree, World, not_shown};
use crate::reference_readers::{has, is_root, nasty, noise, reference, set_time, text};
use crate::tool_snap::{in_the_middle, stored, while_busy};
use crate::tool_verify::{Parts, sha256};
use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

const MIB: usize = 1 << 20;

#[track_caller]
fn snap(world: &World, words: &[&str]) -> Value {
    world.run("eco-snap").args(words).exits(0).last("snapshot")
}

#[track_caller]
fn full(world: &World) -> Value {
    let taken = snap(world, &["--full"]);
    assert!(taken["mode"] == "full" && taken["base"].is_null(), "{taken}");
    taken
}

#[track_caller]
fn differential(world: &World) -> Value {
    let taken = snap(world, &["--differential"]);
    assert!(taken["mode"] == "differential" && taken["base"].is_string(), "{taken}");
    taken
}

fn archive(snapshot: &Value) -> PathBuf {
    snapshot["path"].as_str().unwrap().into()
}

fn id(snapshot: &Value) -> &str {
    snapshot["id"].as_str().unwrap()
}

fn size(snapshot: &Value) -> u64 {
    snapshot["archive_bytes"].as_u64().unwrap()
}

/// Gives an archive another index, and the verdict that belongs to it.
fn reindexed(snapshot: &Value, change: impl FnOnce(&mut Parts)) {
    let path = archive(snapshot);
    let mut parts = Parts::of(&path);
    change(&mut parts);
    parts.written(&path);
    let beside = path.with_extension("gz.verified");
    let mut verdict: Value = serde_json::from_slice(&fs::read(&beside).unwrap()).unwrap();
    verdict["sha256_toc"] = sha256(&serde_json::to_vec(&parts.index).unwrap()).into();
    verdict["archive_bytes"] = fs::metadata(&path).unwrap().len().into();
    fs::write(&beside, verdict.to_string()).unwrap();
}

/// Makes a snapshot an hour younger than the files in it, so that their times are believed.
fn aged(snapshot: &Value) {
    reindexed(snapshot, |parts| {
        let began = parts.index["eco"]["began_ns"].as_i64().unwrap();
        parts.index["eco"]["began_ns"] = (began + 3_600_000_000_000).into();
    });
}

/// Names of regular files whose content is in the archive itself, whole or in part, below its top folder.
fn held(snapshot: &Value) -> Vec<String> {
    let parts = Parts::of(&archive(snapshot));
    let files = parts.index["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == "reg");
    files.map(|entry| entry["name"].as_str().unwrap().split_once('/').unwrap().1.to_owned()).collect()
}

/// What eco-restore makes of a snapshot, in a folder of its own.
#[track_caller]
fn restored(world: &World, selector: &str) -> Tree {
    let out = world.folder().join("out");
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    world.run("eco-restore").args([selector, "--target"]).arg(&out).exits(0);
    let tree = Tree::of(&out);
    fs::remove_dir_all(&out).unwrap();
    tree
}

/// The roots as they are, as the oracle sees them.
fn original(world: &World) -> Tree {
    world.tree("").roots()
}

/// The snapshot must be the tree as it is, by every way that there is to find out.
#[track_caller]
fn is_the_tree(world: &World, snapshot: &Value) {
    let (id, now) = (id(snapshot), original(world));
    now.same_as(&restored(world, id).roots());
    for depth in ["index", "restored"] {
        let found = world.run("eco-verify").args([id, "--depth", depth]).exits(0).only();
        assert!(found["ok"] == true && found["files"] == snapshot["files"], "{found:#}");
    }
    let live = world.run("eco-verify").args([id, "--live"]).exits(0).says(" 0 differ, ");
    assert!(live.stdout.is_empty(), "{live}");
    let listed = world.run("eco-ls").args([id, "--files"]).exits(0);
    let path = |entry: &Value| serde_json::from_value::<eco::record::RecordPath>(entry.clone()).unwrap().to_path();
    let mut names: Vec<PathBuf> = listed.all("entry").iter().map(path).collect();
    names.retain(|name| name != Path::new("modules"));
    names.sort();
    let mut expected = now.names();
    expected.sort();
    assert_eq!(names, expected);
}

/// Something of everything, small files in numbers, and three that are large.
fn plant(world: &World) {
    world.write("config/settings", "port 80\n").write("data/big", noise(6 * MIB, 1)).write("data/app.log", text(3 * MIB));
    for number in 0..200 {
        world.write(format!("data/small/{}/{number}", number % 7), noise(100 + number * 20, number as u64));
    }
    for (name, at) in [("a", "data/kinds/a"), ("b", "data/kinds/b/inside"), ("c", "data/kinds/c"), ("empty", "data/empty")] {
        world.write(at, if name == "empty" { "" } else { name });
    }
    symlink("a", world.path("data/kinds/link")).unwrap();
    symlink("/no/where", world.path("data/kinds/dangling")).unwrap();
    mknodat(CWD, world.path("data/kinds/pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    fs::create_dir_all(world.path("data/nothing/in/it")).unwrap();
    fs::write(world.path("data").join(OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
    fs::write(world.path("data").join(OsStr::from_bytes(b"large\xff")), noise(2 * MIB, 77)).unwrap();
    world.write("data/names/one", "one file").write("data/two/x", "x");
    for name in ["data/names/two", "data/names/three", "config/other-root"] {
        fs::hard_link(world.path("data/names/one"), world.path(name)).unwrap();
    }
    let database = Connection::open(world.path("data/shop.db")).unwrap();
    database.execute_batch("pragma synchronous = off; create table t(id integer primary key, n text); begin").unwrap();
    for id in 0..2000 {
        database.execute("insert into t values (?, ?)", (id, "x".repeat(500))).unwrap();
    }
    database.execute_batch("commit").unwrap();
}

/// What a day does to it: about one file in a hundred changes, and something of everything else that can happen.
fn live_through(world: &World, day: usize) {
    let path = |name: &str| world.path(name);
    let mut dice = Dice::new(day as u64);
    for _ in 0..2 {
        let number = dice.roll(200);
        world.write(format!("data/small/{}/{number}", number % 7), noise(100 + dice.roll(5000), dice.roll(1000) as u64));
    }
    let big = File::options().write(true).open(path("data/big")).unwrap();
    big.write_all_at(&noise(64, day as u64), dice.roll(MIB) as u64 + if day.is_multiple_of(2) { 0 } else { MIB as u64 }).unwrap();
    let strange = File::options().write(true).open(path("data").join(OsStr::from_bytes(b"large\xff"))).unwrap();
    strange.write_all_at(b"x", day as u64).unwrap();
    let mut log = File::options().append(true).open(path("data/app.log")).unwrap();
    log.write_all(&text(30_000 + day)).unwrap();
    let database = Connection::open(path("data/shop.db")).unwrap();
    database.execute("update t set n = ? where id = ?", (format!("day {day}").repeat(20), day as i64)).unwrap();
    drop(database);
    let gone = dice.roll(200);
    let _ = fs::remove_file(path(&format!("data/small/{}/{gone}", gone % 7)));
    world.write(format!("data/new/{day}/file"), format!("{day}"));
    match day % 10 {
        1 => {
            fs::rename(path("data/small/3"), path("data/small/renamed")).unwrap();
            fs::remove_file(path("data/names/three")).unwrap();
        }
        2 => {
            fs::set_permissions(path("data/big"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::set_permissions(path("data/small/2"), fs::Permissions::from_mode(0o2750)).unwrap();
            fs::hard_link(path("data/names/one"), path("data/names/a-first-one")).unwrap();
        }
        3 => {
            // A file becomes a folder, a folder a file, a link a file, and a file a link.
            fs::remove_file(path("data/kinds/a")).unwrap();
            world.write("data/kinds/a/deep/er", "a");
            fs::remove_dir_all(path("data/kinds/b")).unwrap();
            world.write("data/kinds/b", "no folder any more");
            fs::remove_file(path("data/kinds/dangling")).unwrap();
            world.write("data/kinds/dangling", "a file");
            fs::remove_file(path("data/kinds/c")).unwrap();
            symlink("b", path("data/kinds/c")).unwrap();
        }
        4 => {
            // The first name of a file with several gets a file of its own.
            fs::remove_file(path("data/names/one")).unwrap();
            world.write("data/names/one", "one file");
            fs::remove_file(path("data/kinds/link")).unwrap();
            symlink("b", path("data/kinds/link")).unwrap();
            fs::remove_file(path("data/kinds/pipe")).unwrap();
        }
        5 => {
            let _ = lsetxattr(path("data/two/x"), "user.note", b"new", XattrFlags::empty());
            let _ = lsetxattr(path("data/small/1"), "user.note", b"of a folder", XattrFlags::empty());
            let _ = lsetxattr(path("data/app.log"), "user.note", b"of a large file", XattrFlags::empty());
        }
        6 => {
            // Names of one file move with their folder, which leaves the file itself untouched.
            fs::rename(path("data/names"), path("data/renamed-names")).unwrap();
            fs::rename(path("data/app.log"), path("data/app.log.1")).unwrap();
            world.write("data/app.log", "a new one\n");
        }
        7 => {
            fs::remove_dir_all(path("data/small/4")).unwrap();
            fs::remove_dir_all(path("data/nothing")).unwrap();
            world.write("data/nothing", "");
            world.write("data/empty", "no more");
        }
        8 => {
            File::options().write(true).open(path("data/big")).unwrap().set_len(5 * MIB as u64 + 17).unwrap();
            set_time(&path("data/small/2"), 1_500_000_000, 5);
            set_time(&path("config/settings"), -2, 500_000_000);
        }
        9 => {
            File::options().write(true).open(path("data/big")).unwrap().set_len(4 * MIB as u64).unwrap();
            File::options().write(true).open(path("data/app.log.1")).unwrap().set_len(5).unwrap();
            if is_root() {
                lchown(path("data/two/x"), Some(1234), Some(2345)).unwrap();
            }
        }
        _ => {}
    }
}

#[test]
fn ten_days_of_differential_snapshots_are_the_trees_of_their_days() {
    let world = World::new();
    plant(&world);
    let base = full(&world);
    aged(&base);
    let idle = differential(&world);
    assert!(size(&idle) < 2000 && held(&idle).is_empty(), "{idle} {:?}", held(&idle));
    is_the_tree(&world, &idle);
    let mut days = Vec::new();
    for day in 1..=10 {
        live_through(&world, day);
        let taken = snap(world.at(&format!("2099-03-{day:02}T03:00:00Z")), &["--kind", "daily"]);
        assert_eq!((&taken["mode"], &taken["base"]), (&json!("differential"), &base["id"]), "day {day}: {taken}");
        is_the_tree(&world, &taken);
        // Two pieces of the big file, one of the other large ones, what is left of the log, and the changes of all days so far.
        let large: u64 = if day == 1 { 2 } else { 3 } * MIB as u64 + 200_000;
        assert!(size(&taken) < large + day as u64 * 20_000, "day {day}: {} of {}", size(&taken), size(&base));
        days.push((taken, original(&world)));
    }
    // Each of them still is what it was.
    for (taken, tree) in &days {
        tree.same_as(&restored(&world, id(taken)).roots());
    }
    let listed = world.run("eco-ls").exits(0).all("snapshot");
    assert!(listed.len() == 12 && listed.iter().all(|snapshot| snapshot["verified"] == true), "{listed:#?}");
}

#[test]
fn names_of_one_file_stay_names_of_one_file_whatever_moves() {
    let world = World::new();
    world.config("[module.ui]\nroots = [\"modules/ui\"]\n");
    // The group spans roots, the first name moves, a further one moves, both do; large and small; and a pipe of two names.
    for (name, size) in [("first", 10), ("further", 20), ("both", 30), ("large", 2 * MIB + 5), ("alone", 40)] {
        world.write(format!("config/{name}/one"), noise(size, size as u64));
        for other in ["two", "three"] {
            fs::create_dir_all(world.path(format!("data/{name}"))).unwrap();
            fs::hard_link(world.path(format!("config/{name}/one")), world.path(format!("data/{name}/{other}"))).unwrap();
        }
    }
    fs::create_dir(world.path("data/pipes")).unwrap();
    mknodat(CWD, world.path("data/pipes/a"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fs::hard_link(world.path("data/pipes/a"), world.path("data/pipes/b")).unwrap();
    world.write("data/ballast", noise(8 * MIB, 9)).write("modules/ui/x", "x");
    world.write("data/shared", "shared");
    fs::hard_link(world.path("data/shared"), world.path("modules/ui/shared")).unwrap();
    aged(&full(&world));
    world.shell(
        "mv config/first config/moved; mv data/further data/gone; mv config/both config/x; mv data/both data/y; mv data/large data/larger
         mkdir data/alone-again; mv data/alone/two data/alone-again; rm data/alone/three; chmod 640 data/pipes/b; mv modules/ui/shared modules/ui/b",
    );
    let moved = differential(&world);
    is_the_tree(&world, &moved);
    world.shell(
        "mv data/pipes data/tubes; rm config/x/one; ln data/y/two data/linked; ln data/gone/two config/new; mkdir data/z; mv data/larger data/z",
    );
    let again = differential(&world);
    is_the_tree(&world, &again);
    // One scope alone has what lies in it, also where the file's first name is elsewhere.
    for root in ["config", "modules"] {
        let out = world.folder().join("alone");
        let scope = if root == "modules" { "module:ui" } else { root };
        world.run("eco-restore").args([id(&again), "--scope", scope, "--target"]).arg(&out).exits(0);
        let alone = |top: &Path| Tree::of(&top.join(if root == "modules" { "modules/ui" } else { root }));
        alone(&world.root()).same_as(&alone(&out));
        fs::remove_dir_all(&out).unwrap();
    }
    // And a full one that builds on the differential one is the same tree again.
    let full = full(&world);
    is_the_tree(&world, &full);
}

#[test]
fn what_was_only_touched_or_put_back_costs_next_to_nothing() {
    let world = World::new();
    plant(&world);
    full(&world);
    // Every inode is new, and everything else is as it was.
    world.shell("cp -a data ../copy && rm -r data && mv ../copy data");
    let taken = differential(&world);
    is_the_tree(&world, &taken);
    // Names that were shared across roots are no more, so one of them is a file now.
    assert_eq!(held(&taken), ["data/names/one"]);
    world.shell("chmod -R g+w data; touch -d '2020-01-01' data/big");
    let taken = differential(&world);
    is_the_tree(&world, &taken);
    assert!(held(&taken).contains(&".eco/pieces/data/big".to_owned()) && size(&taken) < 1_200_000, "{}", size(&taken));
}

#[test]
fn a_differential_after_a_rollback_is_small_and_right() {
    let world = World::service();
    world.write("data/large", noise(3 * MIB, 5));
    let base = world.good();
    world.spoil();
    world.run("eco-restore").arg("latest-good").exits(0);
    let taken = differential(&world);
    assert_eq!(taken["base"], base["id"]);
    // What is preserved was carried over, and has grown.
    let mut held = held(&taken);
    held.retain(|name| !name.ends_with(".log") && !name.contains("/metrics/"));
    assert!(held.is_empty() && size(&taken) < 4000, "{held:?} {}", size(&taken));
    is_the_tree(&world, &taken);
}

#[test]
fn a_rollback_to_a_differential_one_is_live_scoped_and_undone_like_any_other() {
    let world = World::service();
    world.write("data/large", noise(3 * MIB, 5));
    world.good();
    let large = File::options().write(true).open(world.path("data/large")).unwrap();
    large.write_all_at(b"changed", MIB as u64 + 5).unwrap();
    world.write("config/state", "well, on the second day\n").write("modules/recommend/code", "one and a half\n");
    fs::remove_file(world.path("data/run-me")).unwrap();
    world.program("data/run-me", "#!/bin/sh\n# the second\n");
    let second = world.run("eco-snap").args(["--differential", "--good"]).exits(0).only();
    assert_eq!((&second["mode"], &second["good"]), (&json!("differential"), &json!(true)));
    let kept = |tree: Tree| tree.roots().without(&["data/metrics", "data/sub/day.log", "data/new", "data/cache.tmp"]);
    let was = original(&world);
    world.spoil();
    let spoilt = original(&world);
    for (scope, roots) in [("config", &["config"][..]), ("module:recommend", &["modules/recommend", "data/recommend"]), ("full", &["config", "data"])]
    {
        let ran = world.run("eco-restore").args(["latest-good", "--scope", scope]).exits(0);
        assert_eq!(ran.last("restore")["snapshot"], second["id"], "{ran}");
        assert!(world.pid().is_some());
        for root in roots {
            kept(was.only(root)).but_for_times_of_folders().same_as(&kept(world.tree("").only(root)).but_for_times_of_folders());
        }
        world.run("eco-restore").arg("--undo").exits(0);
        spoilt.same_as(&original(&world));
    }
}

#[test]
fn what_is_excluded_now_or_no_more_is_gone_or_there() {
    let world = World::new();
    world.config("[snapshot]\nexclude = [\"*.dump\", \"data/old/**\"]\n");
    world.write("data/a", "a").write("data/b.dump", "b").write("data/c.bak", "c").write("data/old/x/y", "y").write("data/ballast", noise(60_000, 1));
    aged(&full(&world));
    world.config("[snapshot]\nexclude = [\"*.bak\"]\n");
    let taken = differential(&world);
    original(&world).without(&["data/c.bak"]).same_as(&restored(&world, id(&taken)).roots());
    assert_eq!(Parts::of(&archive(&taken)).index["eco"]["gone"], json!([{"path": "data/c.bak"}]));
}

#[test]
fn more_than_half_no_base_and_other_roots_make_a_full_one_and_say_why() {
    let world = World::new();
    world.write("config/c", "c").write("data/a", noise(300_000, 1)).write("data/b", noise(200_000, 2));
    let promoted = |words: &[&str], why: &str| {
        let ran = world.run("eco-snap").args(words).exits(0).says(&format!("eco-snap: a full snapshot instead of a differential one: {why}"));
        let taken = ran.only();
        assert!(taken["mode"] == "full" && taken["base"].is_null(), "{ran}");
        is_the_tree_of_roots(&world, &taken);
        taken
    };
    let none = "there is no verified full one of the same roots to build on";
    promoted(&["--kind", "daily"], none);
    promoted(&["--differential", "config"], none);
    assert_eq!(snap(&world, &["--differential", "config"])["mode"], "full", "what is not half of almost nothing");
    // The same roots in other words are the same.
    world.write("data/b", noise(200_000, 3));
    let taken = differential(&world);
    is_the_tree(&world, &taken);
    world.write("data/a", noise(300_000, 4));
    let new_base = promoted(&["--differential"], "it would have grown beyond half of the full one that it builds on");
    is_the_tree(&world, &new_base);
    assert_eq!(differential(&world)["base"], new_base["id"]);
    // Without its verdict, or with a bad one, nothing is built on it.
    for snapshot in world.run("eco-ls").exits(0).all("snapshot") {
        if snapshot["mode"] == "full" {
            fs::remove_file(archive(&snapshot).with_extension("gz.verified")).unwrap();
        }
    }
    promoted(&["--differential"], none);
    // Asked for in full, nothing needs to be explained.
    let ran = world.run("eco-snap").args(["--kind", "daily", "--full"]).exits(0);
    assert!(ran.only()["mode"] == "full" && ran.stderr.is_empty(), "{ran}");
}

#[track_caller]
fn is_the_tree_of_roots(world: &World, snapshot: &Value) {
    let out = world.folder().join("roots");
    let only_config = snapshot["roots"] == json!(["config"]);
    let scope = if only_config { "config" } else { "full" };
    world.run("eco-restore").args([id(snapshot), "--scope", scope, "--target"]).arg(&out).exits(0);
    let tree = Tree::of(&out);
    fs::remove_dir_all(&out).unwrap();
    for root in snapshot["roots"].as_array().unwrap() {
        let root = root.as_str().unwrap();
        original(world).only(root).same_as(&tree.only(root));
    }
}

#[test]
fn small_changes_to_very_many_files_make_a_full_one_too() {
    let world = World::new();
    for number in 0..1500 {
        world.write(format!("data/{number}"), "");
    }
    let base = full(&world);
    world.shell("chmod 600 data/*");
    let ran = world.run("eco-snap").arg("--differential").exits(0).says("it would have grown beyond half");
    assert!(ran.only()["mode"] == "full" && size(&ran.only()) < size(&base) * 3 / 2, "{ran}");
    is_the_tree(&world, &ran.only());
}

#[test]
fn a_file_whose_time_was_set_back_is_captured_and_one_that_hides_its_change_only_with_rehash() {
    let world = World::new();
    world.write("data/back", "before").write("data/hidden", "before").write("data/ballast", noise(50_000, 1));
    let base = full(&world);
    let meta = fs::metadata(world.path("data/back")).unwrap();
    world.write("data/back", "after!");
    set_time(&world.path("data/back"), meta.mtime(), meta.mtime_nsec());
    // What nothing shows: the base says of this inode, with these times, that it held something else.
    let times = fs::metadata(world.path("data/hidden")).unwrap();
    fs::write(world.path("data/hidden"), "after!").unwrap();
    set_time(&world.path("data/hidden"), times.mtime(), times.mtime_nsec());
    let now = fs::metadata(world.path("data/hidden")).unwrap();
    let touch = |parts: &mut Parts| {
        let ctime = now.ctime() * 1_000_000_000 + now.ctime_nsec();
        parts.entry("data/hidden")["eco"]["ctime_ns"] = ctime.into();
        parts.index["eco"]["began_ns"] = (ctime + 2_000_000_001).into();
    };
    reindexed(&base, touch);
    let taken = differential(&world);
    assert_eq!(held(&taken), ["data/back"]);
    let taken = snap(&world, &["--differential", "--rehash"]);
    assert_eq!((&taken["mode"], held(&taken)), (&json!("differential"), vec!["data/back".to_owned(), "data/hidden".into()]));
    is_the_tree(&world, &taken);
    // Two seconds are too short, to the nanosecond; and so is a time that has not come yet.
    reindexed(&base, |parts| {
        touch(parts);
        let began = parts.index["eco"]["began_ns"].as_i64().unwrap();
        parts.index["eco"]["began_ns"] = (began - 1).into();
    });
    assert_eq!(held(&differential(&world)), ["data/back", "data/hidden"]);
    // A full one believes the same, and does not when it is told not to.
    reindexed(&base, touch);
    for snapshot in world.run("eco-ls").exits(3).all("snapshot") {
        if snapshot["id"] != base["id"] {
            fs::remove_file(archive(&snapshot)).unwrap();
        }
    }
    let believing = full(&world);
    let content = |snapshot: &Value| {
        let out = world.folder().join("content");
        world.run("eco-restore").args([id(snapshot), "--target"]).arg(&out).exits(0);
        let content = fs::read_to_string(out.join("data/hidden")).unwrap();
        fs::remove_dir_all(out).unwrap();
        content
    };
    assert_eq!(content(&believing), "before");
    assert_eq!(content(&snap(&world, &["--full", "--rehash"])), "after!");
}

#[test]
fn what_was_written_right_before_or_after_a_snapshot_is_read_again() {
    let world = World::new();
    world.write("data/ballast", noise(50_000, 1)).write("data/f", "0");
    full(&world);
    // All within the two seconds, and many within one tick of the filesystem's clock.
    for round in 1..30 {
        world.write("data/f", format!("{round:03}"));
        let taken = differential(&world);
        let out = world.folder().join("content");
        world.run("eco-restore").args([id(&taken), "--target"]).arg(&out).exits(0);
        assert_eq!(fs::read_to_string(out.join("data/f")).unwrap(), format!("{round:03}"));
        fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn a_full_one_that_takes_pieces_over_is_the_one_that_reads_everything() {
    let world = World::new();
    plant(&world);
    let _ = fs::remove_file(world.path("data/empty"));
    nasty(&world);
    let first = full(&world);
    aged(&first);
    live_through(&world, 3);
    let taken = full(&world);
    let read = snap(&world, &["--full", "--rehash"]);
    // A chain: on a differential one, and on that.
    aged(&taken);
    let between = differential(&world);
    aged(&between);
    let chained = full(&world);
    let digests = |snapshot: &Value| {
        let listed = world.run("eco-ls").args([id(snapshot), "--files"]).exits(0).all("entry");
        listed.into_iter().map(|mut entry| (entry["snapshot"] = Value::Null, entry["time"] = Value::Null, entry).2).collect::<Vec<_>>()
    };
    let expected = digests(&read);
    let tree = restored(&world, id(&read));
    for snapshot in [&taken, &chained, &between] {
        assert_eq!(digests(snapshot), expected);
        tree.roots().same_as(&restored(&world, id(snapshot)).roots());
        let found = world.run("eco-verify").arg(id(snapshot)).exits(0).only();
        assert_eq!(found["ok"], true);
    }
    // But for the place of each member and the folder's name it is the same archive.
    assert!(size(&taken).abs_diff(size(&read)) < size(&read) / 1000, "{} {}", size(&taken), size(&read));
}

/// A base, and a good differential one beside it that holds another piece of `data/large`, and of `data/small` nothing.
fn pair() -> (World, Value, Value) {
    let world = World::service();
    world.write("data/large", noise(3 * MIB, 5)).write("data/small", noise(900, 6)).write("data/replaced", noise(800, 7));
    let base = world.at("2026-03-01T08:00:00Z").good();
    File::options().write(true).open(world.path("data/large")).unwrap().write_all_at(b"changed", MIB as u64 + 5).unwrap();
    world.write("data/replaced", noise(800, 8));
    let taken = world.at("2026-03-02T08:00:00Z").run("eco-snap").args(["--differential", "--good"]).exits(0).only();
    assert!(taken["mode"] == "differential" && taken["good"] == true, "{taken}");
    (world, base, taken)
}

/// Where the `piece` of this file begins in an archive.
fn place(snapshot: &Value, path: &str, piece: usize) -> u64 {
    let mut parts = Parts::of(&archive(snapshot));
    let first = parts.entry(path)["name"].clone();
    let pieces: Vec<u64> =
        parts.index["entries"].as_array().unwrap().iter().filter(|e| e["name"] == first).map(|e| e["offset"].as_u64().unwrap()).collect();
    pieces[piece]
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// eco-ls must say that the base is not what it was, and nothing may build on the snapshot any more.
#[track_caller]
fn is_told_of(world: &World, taken: &Value, why: &str) {
    let ran = world.run("eco-ls").arg(id(taken)).exits(3).says(why).says(taken["base"].as_str().unwrap());
    assert!(ran.only()["good"] == false && ran.only()["verified"] == false, "{ran}");
    assert!(world.run("eco-ls").exits(3).all("snapshot").iter().any(|snapshot| snapshot["id"] == taken["id"]));
    let good = world.run("eco-ls").arg("--good").ran().all("snapshot");
    assert!(good.iter().all(|snapshot| snapshot["id"] != taken["id"]), "{good:#?}");
}

/// eco-verify must name the base, at this path or by its id, and eco-restore refuse, live and aside, before anything is touched.
#[track_caller]
fn is_refused(world: &World, taken: &Value, names: &str) {
    let ran = world.run("eco-verify").arg(archive(taken)).exits(1);
    let damage = ran.only()["damage"].as_array().unwrap().clone();
    assert!(damage.iter().any(|found| found["what"] == "base" && found["why"].as_str().unwrap().contains(names)), "{ran}");
    let before = (world.tree("").without(&["", ".eco"]), world.pid());
    for scope in ["full", "config"] {
        let ran = world.run("eco-restore").args(["--scope", scope]).arg(archive(taken)).ran();
        let needed = scope == "full" || !names.contains("data/");
        assert!(if needed { ran.code == 4 } else { ran.code == 0 }, "{ran}");
        if !needed {
            world.run("eco-restore").arg("--undo").exits(0);
            world.shell("touch run/shop.pid");
        }
    }
    let now = world.tree("").without(&["", ".eco"]);
    before.0.without(&["run"]).same_as(&now.without(&["run"]));
    let out = world.folder().join("out");
    let ran = world.run("eco-restore").arg(archive(taken)).arg("--target").arg(&out).ran();
    assert!([3, 4].contains(&ran.code) && !out.exists(), "{ran}");
}

#[test]
fn hazard_21_the_base_cannot_go_away_unnoticed() {
    let (world, base, taken) = pair();
    let elsewhere = world.folder().join("elsewhere.tar.gz");
    fs::rename(archive(&base), &elsewhere).unwrap();
    is_told_of(&world, &taken, "is not in the store: without it nothing of it can be restored");
    world.run("eco-ls").args([id(&taken), "--files"]).exits(3);
    is_refused(&world, &taken, base["id"].as_str().unwrap());
    world.run("eco-restore").arg("latest-good").exits(1);
    // It is found again wherever in the store it is put; the verdict of the last look stands until somebody looks again.
    for folder in ["shop-weekly", "", "shop-manual"] {
        let place = world.store().join(folder).join(archive(&base).file_name().unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::rename(&elsewhere, &place).unwrap();
        world.run("eco-verify").arg(archive(&taken)).exits(0);
        original(&world).same_as(&restored(&world, id(&taken)).roots());
        fs::rename(&place, &elsewhere).unwrap();
    }
    // And so is the base of one that lies at the top of the store.
    let top = world.store().join(archive(&taken).file_name().unwrap());
    fs::rename(archive(&taken), &top).unwrap();
    fs::rename(&elsewhere, archive(&base)).unwrap();
    world.run("eco-verify").arg(&top).exits(0);
}

#[test]
fn an_older_good_one_stands_in_for_one_whose_base_is_gone() {
    let (world, base, taken) = pair();
    world.at("2026-03-03T08:00:00Z");
    world.write("data/replaced", noise(800, 9));
    let second_base = world.run("eco-snap").args(["--full", "--good"]).exits(0).only();
    world.write("data/replaced", noise(800, 10));
    let newest = world.at("2026-03-04T08:00:00Z").run("eco-snap").args(["--differential", "--good"]).exits(0).only();
    assert_eq!(newest["base"], second_base["id"]);
    fs::remove_file(archive(&second_base)).unwrap();
    let ran = world.run("eco-restore").arg("latest-good").exits(0);
    assert_eq!((&ran.last("restore")["snapshot"], &base["mode"]), (&taken["id"], &json!("full")));
}

#[test]
fn a_damaged_base_is_named_where_it_is_needed_and_does_not_matter_where_it_is_not() {
    // A piece of a small file, the first piece of the large one, and the index.
    for (path, piece, needed) in
        [("data/small", 0, true), ("data/large", 0, true), ("data/large", 2, true), ("data/large", 1, false), ("data/replaced", 0, false)]
    {
        let (world, base, taken) = pair();
        flip(&archive(&base), place(&base, path, piece) + 300);
        // Nobody has looked yet.
        assert_eq!(world.run("eco-ls").arg(id(&taken)).exits(0).only()["good"], true);
        if needed {
            is_refused(&world, &taken, path);
            let why = world.run("eco-verify").arg(archive(&taken)).exits(1).only();
            assert!(why["damage"].as_array().unwrap().iter().all(|damage| damage["path"] == path), "{why}");
            assert!(why.to_string().contains(archive(&base).to_str().unwrap()), "{why}");
        } else {
            world.run("eco-verify").arg(id(&taken)).exits(0);
            original(&world).same_as(&restored(&world, id(&taken)).roots());
        }
        // Whoever looks at the base says of it what is true, and it counts for what builds on it.
        world.run("eco-verify").arg(id(&base)).exits(1);
        is_told_of(&world, &taken, "was found damaged");
        // Nor is anything built on it from here on.
        let ran = world.run("eco-snap").arg("--differential").exits(0).says("there is no verified full one");
        is_the_tree(&world, &ran.only());
    }
}

#[test]
fn another_archive_under_the_name_of_the_base_is_not_taken_for_it() {
    let (world, base, taken) = pair();
    let other = world.folder().join("other.tar.gz");
    // Without a verdict its length must tell, and two archives of nearly the same tree may well be of one length.
    world.write("config/other", noise(4096, 99));
    world.run("eco-snap").arg("-o").arg(&other).exits(0);
    for with_verdict in [false, true] {
        fs::copy(&other, archive(&base)).unwrap();
        if with_verdict {
            fs::copy(other.with_extension("gz.verified"), archive(&base).with_extension("gz.verified")).unwrap();
        }
        is_told_of(&world, &taken, if with_verdict { "is another archive than the one" } else { "has another length" });
        is_refused(&world, &taken, "its index is another one");
    }
    // Half of it, nothing of it, and a folder.
    fs::write(archive(&base), &fs::read(&other).unwrap()[..5000]).unwrap();
    is_refused(&world, &taken, "is cut off or damaged");
    fs::write(archive(&base), "").unwrap();
    is_refused(&world, &taken, "is cut off or damaged");
    fs::remove_file(archive(&base)).unwrap();
    fs::create_dir(archive(&base)).unwrap();
    is_refused(&world, &taken, "is not in the store");
}

#[test]
fn damage_in_the_snapshot_before_does_not_get_into_the_next_nor_prevent_it() {
    let world = World::new();
    plant(&world);
    let first = full(&world);
    aged(&first);
    for (path, piece) in [("data/small/3/10", 0), ("data/big", 2), ("data/app.log", 1)] {
        flip(&archive(&first), place(&first, path, piece) + 40);
    }
    world.write("data/new", "new");
    let next = full(&world);
    is_the_tree(&world, &next);
    // Its index: what it says is not believed, every file is read, and somebody is told.
    fs::remove_file(archive(&first)).unwrap();
    aged(&next);
    let bytes = fs::read(archive(&next)).unwrap();
    let index = usize::from_str_radix(std::str::from_utf8(&bytes[bytes.len() - 35..bytes.len() - 19]).unwrap(), 16).unwrap() as u64;
    let mut dice = Dice::new(7);
    let length = bytes.len() - index as usize;
    for at in [length / 4, length / 3 + dice.roll(1000), length / 2 + dice.roll(1000), length - 1000] {
        fs::write(archive(&next), &bytes).unwrap();
        flip(&archive(&next), index + at as u64);
        for words in [&["--full"][..], &["--differential"]] {
            let ran = world.run("eco-snap").args(words).exits(0).says("every file was read: ");
            assert!(ran.stderr.contains("its index is damaged") || ran.stderr.contains("is not the same file any more"), "{ran}");
            assert_eq!(ran.only()["mode"], "full");
            is_the_tree(&world, &ran.only());
            fs::remove_file(archive(&ran.only())).unwrap();
        }
    }
    // Cut off, it is no archive at all.
    File::options().write(true).open(archive(&next)).unwrap().set_len(bytes.len() as u64 / 2).unwrap();
    is_the_tree(&world, &full(&world));
}

/// A database of a few MiB that does not shrink, in this journal mode.
fn database(path: &Path, journal: &str) -> Connection {
    let database = Connection::open(path).unwrap();
    database.pragma_update(None, "journal_mode", journal).unwrap();
    database.pragma_update(None, "synchronous", "off").unwrap();
    database.execute_batch("create table t(id integer primary key, n blob); begin").unwrap();
    for id in 0..6000 {
        database.execute("insert into t values (?, ?)", (id, noise(700, id as u64))).unwrap();
    }
    database.execute_batch("commit").unwrap();
    database
}

#[test]
fn a_database_in_use_costs_what_has_changed_in_it() {
    let world = World::new();
    fs::create_dir_all(world.path("data")).unwrap();
    let open = ["wal", "delete"].map(|mode| database(&world.path(format!("data/{mode}.db")), mode));
    let base = full(&world);
    aged(&base);
    let rows = |top: &Path, mode: &str| -> (String, i64, i64) {
        let database = Connection::open(top.join(format!("data/{mode}.db"))).unwrap();
        let one = |sql: &str| database.query_row(sql, [], |row| row.get(0)).unwrap();
        let check = database.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
        (check, one("select count(*) from t"), one("select sum(length(n)) from t"))
    };
    let is_right = |taken: &Value, count: i64| {
        let out = world.folder().join("out");
        world.run("eco-restore").args([id(taken), "--target"]).arg(&out).exits(0);
        for mode in ["wal", "delete"] {
            assert_eq!(rows(&out, mode), ("ok".into(), count, 700 * 6000 + (count - 6000) * 10), "{mode}");
            for end in ["-wal", "-shm", "-journal"] {
                assert!(!out.join(format!("data/{mode}.db{end}")).exists());
            }
        }
        fs::remove_dir_all(out).unwrap();
        for depth in ["data", "restored"] {
            world.run("eco-verify").args([id(taken), "--depth", depth]).exits(0);
        }
        world.run("eco-verify").args([id(taken), "--live"]).exits(0);
    };
    // In use, and nobody has changed anything.
    let idle = differential(&world);
    assert!(held(&idle).is_empty() && size(&idle) < 3000, "{:?} {}", held(&idle), size(&idle));
    is_right(&idle, 6000);
    // A row at the end: the counters at the beginning, the last pages, and what leads there.
    for database in &open {
        database.execute("insert into t values (9999, ?)", (noise(10, 1),)).unwrap();
    }
    let changed = differential(&world);
    assert_eq!(held(&changed), [".eco/pieces/data/delete.db", ".eco/pieces/data/wal.db"]);
    assert!(size(&changed) < size(&base) / 2, "{} of {}", size(&changed), size(&base));
    is_right(&changed, 6001);
    // At rest again: as bytes, journals and all, whatever the base has.
    drop(open);
    let at_rest = differential(&world);
    is_the_tree(&world, &at_rest);
    is_right(&at_rest, 6001);
    // And in use over a base in which it was at rest, with a journal that was not there.
    aged(&full(&world));
    let again = ["wal", "delete"].map(|mode| Connection::open(world.path(format!("data/{mode}.db"))).unwrap());
    for database in &again {
        database.execute("insert into t values (99999, ?)", (noise(10, 1),)).unwrap();
    }
    is_right(&differential(&world), 6002);
}

#[test]
fn files_that_change_grow_and_vanish_meanwhile_are_named_and_the_rest_is_right() {
    let world = World::new();
    plant(&world);
    let busy = File::create(world.path("data/busy")).unwrap();
    busy.write_all_at(&noise(12 * MIB, 3), 0).unwrap();
    world.write("data/growing", "").write("data/come/0", "0");
    aged(&full(&world));
    let mut growing = File::options().append(true).open(world.path("data/growing")).unwrap();
    let ran = while_busy(
        |round| {
            busy.write_all_at(&round.to_le_bytes(), (round * 4096) % (12 << 20)).unwrap();
            if round % 16 == 0 {
                growing.write_all(b"one more line\n").unwrap();
                world.write(format!("data/come/{}", round % 512 / 16), "come");
                let _ = fs::remove_file(world.path(format!("data/come/{}", (round + 256) % 512 / 16)));
            }
        },
        || world.run("eco-snap").arg("--differential").exits(3),
    );
    let taken = ran.only();
    assert!(taken["unstable"].as_array().unwrap().contains(&json!({"path": "data/busy"})), "{taken}");
    let moving = ["data/busy", "data/growing", "data/come"];
    original(&world).without(&moving).same_as(&restored(&world, id(&taken)).roots().without(&moving));
    world.run("eco-verify").arg(id(&taken)).args(["--depth", "restored"]).exits(0);
    // The next one is whole.
    is_the_tree(&world, &snap(&world, &["--differential"]));
}

#[test]
fn an_interrupted_differential_leaves_nothing_that_anybody_sees() {
    let world = World::new();
    world.write("data/a", "a").write("data/ballast", noise(100_000, 1));
    full(&world);
    let before = stored(&world);
    let child = in_the_middle(&world, &["--differential"]);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(3), 0));
    assert_eq!(stored(&world), before);
    let mut child = in_the_middle(&world, &["--differential"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(world.run("eco-ls").exits(0).all("snapshot").len(), 1);
    fs::remove_file(world.path("data/large")).unwrap();
    is_the_tree(&world, &differential(&world));
    assert_eq!(stored(&world).len(), before.len() + 2, "{:?}", stored(&world));
}

/// Takes a filesystem away again, whatever becomes of the test.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("/bin/umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_store_without_room_is_left_as_it_was() {
    let what = "a full store";
    if !is_root() {
        return not_shown(what, "only root can mount a small filesystem");
    }
    let world = World::new();
    fs::create_dir(world.store()).unwrap();
    let mount = std::process::Command::new("/bin/mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(world.store()).status();
    if !mount.is_ok_and(|done| done.success()) {
        return not_shown(what, "nothing can be mounted here");
    }
    let mounted = Mounted(world.store());
    world.write("data/a", noise(2 * MIB, 1)).write("data/b", noise(400_000, 2));
    full(&world);
    let filler = world.store().join("filler");
    fs::write(&filler, noise(MIB + 500_000, 3)).unwrap();
    world.write("data/b", noise(400_000, 4));
    let before = stored(&world);
    let ran = world.run("eco-snap").arg("--differential").exits(3).says("no snapshot was taken").says("no space left");
    assert!(ran.stdout.is_empty() && stored(&world) == before, "{ran}");
    // Where the differential one fits, the full one that would be better may not: then there is none.
    fs::write(&filler, noise(MIB, 3)).unwrap();
    let taken = differential(&world);
    is_the_tree(&world, &taken);
    world.write("data/a", noise(2 * MIB, 5));
    let before = stored(&world);
    world.run("eco-snap").arg("--differential").exits(3).says("no space left");
    assert_eq!(stored(&world), before);
    drop(mounted);
}

#[test]
fn somebody_who_is_not_root_takes_and_restores_them_too() {
    if !is_root() {
        return not_shown("differential snapshots by another user than that of the base", "only root can be two users");
    }
    let world = World::new();
    plant(&world);
    let give = || world.shell("chown -hR 65534:65534 . ; mkdir -p ../shop-store ; chown -R 65534:65534 ../shop-store; chmod 711 ..");
    give();
    let theirs = |program: &str, words: &[&str]| world.run(program).args(words).user(65534);
    let base = theirs("eco-snap", &["--full"]).exits(0).only();
    live_through(&world, 1);
    give();
    // Nobody has to be able to write to the base.
    fs::set_permissions(archive(&base), fs::Permissions::from_mode(0o400)).unwrap();
    let taken = theirs("eco-snap", &["--kind", "daily"]).exits(0).only();
    assert_eq!((&taken["mode"], &taken["base"]), (&json!("differential"), &base["id"]), "{taken}");
    let out = world.folder().join("shop-store/out");
    theirs("eco-restore", &[id(&taken), "--target", out.to_str().unwrap()]).exits(0);
    original(&world).same_as(&Tree::of(&out).roots());
    theirs("eco-verify", &[id(&taken), "--live"]).exits(0);
    fs::remove_dir_all(&out).unwrap();
    // A base that may not be read is not a damaged one: nobody can tell, and nothing is built on it.
    lchown(archive(&base), Some(0), Some(0)).unwrap();
    theirs("eco-ls", &[]).exits(3).says("permission denied");
    let found = theirs("eco-verify", &["--only", taken["path"].as_str().unwrap()]).exits(3).only();
    assert!(found["ok"].is_null() && found["error"].as_str().unwrap().contains("permission denied"), "{found}");
    theirs("eco-restore", &[taken["path"].as_str().unwrap(), "--target", out.to_str().unwrap()]).exits(3);
    assert!(!out.exists());
    theirs("eco-snap", &["--differential"]).exits(0).says("there is no verified full one");
}

/// Unpacks an archive without its top folder.
fn unpack(world: &World, with: &str, archive: &Path, into: &Path) -> Ran {
    fs::create_dir_all(into).unwrap();
    let keep: &[&str] = if with == "tar" { &["--acls", "--xattrs", "--xattrs-include=*"] } else { &[] };
    let ran = world.run(with).args(keep).args(["--strip-components=1", "--exclude=stargz.index.json", "-xpzf"]).arg(archive).arg("-C").arg(into);
    let ran = ran.env("LC_ALL", "C.UTF-8").exits(0);
    let complaints: Vec<&str> = ran.stderr.lines().filter(|line| !line.contains("time stamp")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    ran
}

#[test]
fn stock_tools_unpack_a_differential_one_and_leave_no_half_file_under_a_real_name() {
    let world = World::new();
    plant(&world);
    let base = full(&world);
    let was = world.folder().join("was");
    world.run("eco-restore").args([id(&base), "--target"]).arg(&was).exits(0);
    live_through(&world, 1);
    live_through(&world, 2);
    let taken = differential(&world);
    let now = original(&world);
    for tool in ["tar", "bsdtar"] {
        if tool == "bsdtar" && !has(tool) {
            continue;
        }
        let (alone, over) = (world.folder().join("alone"), world.folder().join("over"));
        unpack(&world, tool, &archive(&taken), &alone);
        unpack(&world, tool, &archive(&base), &over);
        unpack(&world, tool, &archive(&taken), &over);
        for (out, then) in [(&alone, None), (&over, Some(was.as_path()))] {
            let tree = Tree::of(out).roots();
            assert!(tree.has("data/new/1/file"));
            for name in tree.names() {
                let meta = fs::symlink_metadata(out.join(&name)).unwrap();
                if meta.is_file() {
                    let content = fs::read(out.join(&name)).unwrap();
                    let live = fs::read(world.path(&name)).is_ok_and(|live| live == content);
                    let old = then.is_some_and(|then: &Path| fs::read(then.join(&name)).is_ok_and(|old| old == content));
                    assert!(live || old, "{tool}: {} is neither what it was nor what it is", name.display());
                }
            }
        }
        assert!(alone.join(".eco/pieces/data/big").exists() && !alone.join("data/big").exists());
        fs::remove_dir_all(alone).unwrap();
        fs::remove_dir_all(over).unwrap();
    }
    now.same_as(&original(&world));
}

/// The script of eco-archive(5), as it was before roff.
fn script() -> String {
    const PAGE: &str = include_str!("../man/eco-archive.5");
    let lines = PAGE.lines().skip_while(|line| !line.starts_with("import base64")).take_while(|line| *line != ".Ed");
    lines.map(|line| line.replace("\\e", "\\") + "\n").collect()
}

#[test]
fn the_script_of_the_page_puts_one_together_without_any_of_our_tools() {
    let world = World::new();
    plant(&world);
    let base = full(&world);
    // But for a new name of an old file, which only who reads our part of the index knows as such.
    for day in [1, 3, 4, 5, 7, 8] {
        live_through(&world, day);
        world.write(format!("data/more/{day}"), noise(60_000, day as u64));
    }
    let taken = differential(&world);
    let (out, pieces) = (world.folder().join("full"), world.folder().join("diff"));
    unpack(&world, "tar", &archive(&base), &out);
    unpack(&world, "tar", &archive(&taken), &pieces);
    world.run("tar").arg("-xzf").arg(archive(&taken)).arg("-C").arg(world.folder()).arg("stargz.index.json").exits(0);
    world.write("join.py", script());
    let index = world.folder().join("stargz.index.json");
    world.run("python3").arg(world.path("join.py")).arg(index).args([&out, &pieces]).exits(0);
    world
        .run("tar")
        .args(["--acls", "--xattrs", "--xattrs-include=*", "--strip-components=1", "--exclude=.eco", "-xpzf"])
        .arg(archive(&taken))
        .arg("-C")
        .arg(&out)
        .exits(0);
    original(&world).same_as(&Tree::of(&out).roots());
}

#[test]
fn the_reference_reader_of_estargz_opens_and_verifies_a_differential_one() {
    let Some(reference) = reference() else { return };
    let world = World::new();
    plant(&world);
    aged(&full(&world));
    for day in 0..3 {
        if day > 0 {
            live_through(&world, day);
        }
        let taken = differential(&world);
        let ran = world.run(reference.to_str().unwrap()).arg(archive(&taken)).exits(0);
        assert_eq!(ran.stderr.trim(), format!("sha256:{}", taken["sha256_toc"].as_str().unwrap()));
        let seen = ran.records();
        let files = seen.iter().filter(|entry| entry["type"] == "reg").count();
        assert!(files >= held(&taken).len() && seen.len() > usize::from(day > 0) * 5, "{ran}");
    }
}

#[test]
fn what_is_written_through_a_memory_map_is_not_missed() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    const WRITER: &str = "import mmap, sys\nf = open(sys.argv[1], 'r+b')\nm = mmap.mmap(f.fileno(), 4096)\nf.close()\n\
                          for line in sys.stdin:\n  m[0:4] = line[:4].encode()\n  print(line, end='', flush=True)\n";
    let world = World::new();
    world.write("data/mapped", noise(4096, 1)).write("data/ballast", noise(50_000, 1));
    let mut writer = Command::new("python3")
        .args(["-c", WRITER])
        .arg(world.path("data/mapped"))
        .current_dir(world.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (writer.stdin.take().unwrap(), BufReader::new(writer.stdout.take().unwrap()));
    let mut write = |text: &str| {
        writeln!(to, "{text}").unwrap();
        from.read_line(&mut String::new()).unwrap();
        fs::metadata(world.path("data/mapped")).unwrap()
    };
    let before = write("one!");
    aged(&full(&world));
    let after = write("two!");
    if (before.ctime(), before.ctime_nsec()) != (after.ctime(), after.ctime_nsec()) {
        not_shown("a write that leaves no trace", "this filesystem had just written the page to the disk");
    }
    let taken = differential(&world);
    is_the_tree(&world, &taken);
    assert_eq!(held(&taken), ["data/mapped"]);
    aged(&full(&world));
    write("3333");
    is_the_tree(&world, &full(&world));
    drop(to);
    writer.wait().unwrap();
}

#[test]
fn a_differential_one_that_lies_is_refused_with_a_sentence_and_writes_nothing() {
    type Lie = fn(&mut Parts);
    let lies: [(&str, Lie); 18] = [
        ("its pieces are not those that it names", |parts| large(parts)["held"] = json!([7])),
        ("its pieces are not those that it names", |parts| large(parts)["held"] = json!([1, 0])),
        ("its pieces are not those that it names", |parts| large(parts)["held"] = json!([])),
        ("neither it nor its base holds piece 3", |parts| large(parts)["size"] = json!(4 * MIB)),
        ("of which the pieces cannot be counted", |parts| large(parts)["size"] = json!(1u64 << 60)),
        ("put together to something else", |parts| large(parts)["held"] = json!([0])),
        ("put together to something else", |parts| large(parts)["digest"] = json!(format!("sha256:{}", "0".repeat(64)))),
        ("pieces of a file outside their folder", |parts| {
            let name = parts.index["eco"]["top"].as_str().unwrap().to_owned() + "/data/large";
            parts.entry(".eco/pieces/data/large")["name"] = name.into();
        }),
        ("pieces of a file outside their folder", |parts| {
            parts.entry("data/linked")["eco"]["partial"] = json!({"size": 5, "digest": format!("sha256:{}", "0".repeat(64)), "held": []})
        }),
        ("cannot be a path", |parts| parts.entry("data/new")["eco"]["same_as"] = json!({"path": "../../etc/passwd"})),
        ("does not stand before it", |parts| parts.entry("data/new")["eco"]["same_as"] = json!({"path": "data/zzz"})),
        ("does not stand before it", |parts| parts.entry("data/new")["eco"]["same_as"] = json!({"path": "data/new"})),
        ("does not stand before it", |parts| parts.entry("data/new")["eco"]["same_as"] = json!({"path": "data"})),
        ("another name of a file that is no whole file", |parts| parts.entry("data/linked")["eco"]["same_as"] = json!({"path": "data/a"})),
        ("is not in the store", |parts| parts.index["eco"]["base"]["file"] = json!("../shop-manual/../base.tar.gz")),
        ("is not in the store", |parts| parts.index["eco"]["base"]["file"] = json!("/etc/hostname")),
        ("its index is another one", |parts| parts.index["eco"]["base"]["sha256_toc"] = json!("0".repeat(64))),
        ("is a differential one itself", |parts| {
            let own = parts.index["eco"]["top"].as_str().unwrap().to_owned() + ".tar.gz";
            parts.index["eco"]["base"]["file"] = own.into();
        }),
    ];
    let world = World::new();
    world.write("data/a", "a").write("data/large", noise(3 * MIB, 1)).write("data/gone/x", "x");
    let base = full(&world);
    File::options().write(true).open(world.path("data/large")).unwrap().write_all_at(b"changed", MIB as u64).unwrap();
    world.write("data/new", "new");
    symlink("a", world.path("data/linked")).unwrap();
    fs::remove_dir_all(world.path("data/gone")).unwrap();
    let taken = differential(&world);
    fs::copy(archive(&base), world.store().join("base.tar.gz")).unwrap();
    let honest = fs::read(archive(&taken)).unwrap();
    let before = original(&world);
    for (words, lie) in lies {
        fs::write(archive(&taken), &honest).unwrap();
        reindexed(&taken, lie);
        let ran = world.run("eco-verify").arg(archive(&taken)).exits(1);
        assert!(ran.stdout.contains(words), "it does not say '{words}':\n{}", ran.stdout);
        let out = world.folder().join("out");
        let ran = world.run("eco-restore").arg(archive(&taken)).arg("--target").arg(&out).ran();
        // What each piece proves of itself, the whole proves in a rollback and here: by the digest of what was written.
        assert!([3, 4].contains(&ran.code) && !out.exists() || words.starts_with("put together"), "{words}: {ran}");
        let _ = fs::remove_dir_all(out);
        let ran = world.run("eco-restore").arg(archive(&taken)).args(["--yes", "--no-control"]).ran();
        assert!(ran.code == 4, "{words}: {ran}");
        before.same_as(&original(&world));
    }
}

fn large(parts: &mut Parts) -> &mut Value {
    &mut parts.entry(".eco/pieces/data/large")["eco"]["partial"]
}

/// A few things that can happen to a tree, whatever is there.
fn happens(world: &World, dice: &mut Dice) {
    let all: Vec<PathBuf> = original(world).names().into_iter().filter(|name| name.components().count() > 1).collect();
    let mut any = || world.path(&all[dice.roll(all.len())]);
    let (one, other) = (any(), any());
    let fresh = one.parent().unwrap().join(["a", "m", "z"][dice.roll(3)].to_owned() + &dice.roll(40).to_string());
    let other_place = other.parent().unwrap().join(["b", "n", "y"][dice.roll(3)].to_owned() + &dice.roll(40).to_string());
    let is_ballast = |path: &Path| world.path("data/ballast").starts_with(path);
    if is_ballast(&one) || is_ballast(&other) || fresh.exists() || other_place.exists() {
        return;
    }
    // Much of this cannot be, such as a folder into itself; then nothing happens.
    let _ = match dice.roll(12) {
        0 | 1 => fs::rename(&one, &other_place),
        // Two names of a symbolic link are captured as two links.
        2 | 3 if !one.is_symlink() => fs::hard_link(&one, &other_place),
        2..=4 => fs::write(&fresh, noise(dice.roll(3000), dice.roll(99) as u64)),
        5 => fs::create_dir(&fresh),
        6 => symlink(&other, &fresh),
        7 => mknodat(CWD, &fresh, FileType::Fifo, Mode::from_raw_mode(0o600), 0).map_err(Into::into),
        8 if one.is_dir() && !one.is_symlink() => fs::remove_dir_all(&one),
        8 | 9 => fs::remove_file(&one),
        10 if one.is_file() && !one.is_symlink() => fs::write(&one, noise(dice.roll(3000), dice.roll(99) as u64)),
        10 => fs::rename(&one, &other),
        _ => fs::set_permissions(&one, fs::Permissions::from_mode([0o700, 0o750][dice.roll(2)])),
    };
}

/// Two are enough for every day; `SEEDS=100..200` tries others.
fn seeds() -> std::ops::Range<u64> {
    let said = std::env::var("SEEDS").unwrap_or("0..2".into());
    let (from, to) = said.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn whatever_happens_to_a_tree_is_what_a_differential_one_restores() {
    for seed in seeds() {
        let world = World::new();
        world.write("data/ballast", noise(MIB, 1)).write("config/c", "c");
        for number in 0..30 {
            world.write(format!("data/{}/{}/{number}", number % 3, number % 4), noise(number * 50, number as u64));
        }
        let mut dice = Dice::new(seed);
        for _ in 0..60 {
            happens(&world, &mut dice);
        }
        let base = full(&world);
        if seed % 2 == 0 {
            aged(&base);
        }
        for round in 0..6 {
            for _ in 0..10 {
                happens(&world, &mut dice);
            }
            let taken = differential(&world);
            let differences = original(&world).differences(&restored(&world, id(&taken)).roots());
            assert!(differences.is_empty(), "seed {seed}, round {round}: {differences:#?}");
            let found = world.run("eco-verify").arg(id(&taken)).exits(0).only();
            assert_eq!(found["files"], taken["files"], "seed {seed}, round {round}: {found}");
            if round == 3 {
                aged(&taken);
                let whole = full(&world);
                original(&world).same_as(&restored(&world, id(&whole)).roots());
                fs::remove_file(archive(&whole)).unwrap();
            }
        }
    }
}
