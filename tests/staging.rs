//! How files that have not changed get into the new tree: cloned, linked or written, the tree is the same, and nothing that is
//! written afterwards gets from one tree into the other.

use crate::harness::{Ran, Tree, World, apart, not_shown};
use crate::kill::Due;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// An ecosystem on an XFS of its own, which lives in a file for as long as the value does; `None`, and said aloud, where it cannot.
fn on_xfs(what: &str) -> Option<(World, tempfile::TempDir)> {
    let (world, disk) = (World::new(), tempfile::tempdir().unwrap());
    let image = disk.path().join("image");
    // The least that XFS takes; most of it stays a hole.
    fs::File::create(&image).unwrap().set_len(300 << 20).unwrap();
    let made = Command::new("mkfs.xfs").arg("-q").arg(&image).status();
    let words = ["-o".as_ref(), "loop".as_ref(), image.as_os_str()];
    if !made.is_ok_and(|done| done.success()) || !world.mount("mount", &words, &world.root()) {
        not_shown(what, "XFS cannot be made and mounted here");
        return None;
    }
    Some((world.with_service(), disk))
}

/// The tree from before is kept as it is, not as a snapshot.
fn without_store(world: &World) {
    let toml = world.read("eco.toml");
    let without: Vec<&str> = toml.lines().filter(|line| !line.starts_with("store = ")).collect();
    world.write("eco.toml", without.join("\n"));
}

/// The newest archive, as a path.
fn archive(world: &World) -> String {
    let found = world.run("eco-ls").arg("latest").exits(0).only();
    found["path"].as_str().unwrap().to_owned()
}

#[track_caller]
fn same(wanted: &[Tree], now: &[Tree]) {
    wanted.iter().zip(now).for_each(|(wanted, now)| wanted.same_as(now));
}

/// An undo gives back what was live before the rollback.
#[track_caller]
fn undone(due: &Due) {
    due.world.run("eco-restore").arg("--undo").exits(0);
    same(&due.old, &due.roots());
}

/// How many files the new tree shares with the one that was live.
fn shared(done: &Ran) -> Option<u64> {
    let step = done.step("stage");
    step["note"].as_str().unwrap().split("; ").nth(1)?.split(' ').next()?.parse().ok()
}

/// Writes into a file, which stays the same one.
const WRITE_INTO: &str = "printf X | dd of=data/big conv=notrunc status=none";

#[test]
fn what_is_cloned_is_a_file_of_its_own() {
    apart("staging::what_is_cloned_is_a_file_of_its_own", "cloning", || {
        let Some((world, _disk)) = on_xfs("cloning") else { return };
        let config = world.tree("config");
        let due = Due::full(world);
        let (world, archive) = (&due.world, archive(&due.world));
        without_store(world);
        let written = world.run("eco-restore").args([&archive, "--stage", "extract"]).exits(0);
        assert_eq!(shared(&written), None, "{written}");
        same(&due.new, &due.roots());
        undone(&due);

        let cloned = world.run("eco-restore").args([&archive, "--stage", "clone"]).exits(0);
        assert!(shared(&cloned).is_some_and(|files| files > 3), "{cloned}");
        assert_eq!(cloned.last("restore")["strategy"], "exchange");
        same(&due.new, &due.roots());
        config.same_as(&world.tree("config"));
        world.shell(WRITE_INTO);
        undone(&due);
        // And the other way round: what is live now was shared as well.
        world.shell(WRITE_INTO);
        world.run("eco-restore").arg("--undo").exits(0);
        assert_eq!(fs::read(world.path("data/big")).unwrap()[0], b'X');
    });
}

#[test]
fn where_there_is_no_room_for_a_second_tree_it_is_cloned() {
    apart("staging::where_there_is_no_room_for_a_second_tree_it_is_cloned", "cloning on a full disk", || {
        let Some((world, _disk)) = on_xfs("cloning on a full disk") else { return };
        world.shell("head -c 24M /dev/urandom >data/large");
        let due = Due::full(world);
        let world = &due.world;
        world.shell("sync -f .; free=$(($(stat -f -c '%a*%S' .))); fallocate -l $((free - (12 << 20))) run/filler");
        let written = world.run("eco-restore").args(["latest-good", "--stage", "extract", "--dry-run"]).exits(0);
        assert_eq!(written.only()["strategy"], "in-place", "it does not fit twice");
        let done = world.run("eco-restore").arg("latest-good").exits(0);
        assert_eq!(done.last("restore")["strategy"], "exchange");
        assert!(shared(&done).is_some(), "{done}");
        same(&due.new, &due.roots());
        undone(&due);
    });
}

#[test]
fn what_is_linked_is_the_live_file_unless_it_was_written_to_meanwhile() {
    let world = World::service();
    world.write("data/one", "pair\n");
    fs::hard_link(world.path("data/one"), world.path("data/sub/other")).unwrap();
    let due = Due::full(world);
    let (world, archive) = (&due.world, archive(&due.world));
    without_store(world);
    let look = |path: &str| fs::symlink_metadata(world.path(path)).unwrap();
    let before = ["data/one", "data/sub/other", "data/recommend", "data/run-me"].map(look);
    let big = look("data/big");
    let stop = world.read("bin/stop");
    world.program("bin/stop", &format!("{stop}{WRITE_INTO}\n"));

    let done = world.run("eco-restore").args([&archive, "--stage", "link"]).exits(0);
    assert!(shared(&done).is_some_and(|files| files > 3), "{done}");
    assert!(done.step("look-again")["note"].as_str().unwrap().starts_with("1 linked files were written to"), "{done}");
    let now = ["data/one", "data/sub/other", "data/recommend", "data/run-me"].map(look);
    let inodes = |all: &[fs::Metadata; 4]| [all[0].ino(), all[1].ino()];
    assert_eq!(inodes(&before), inodes(&now), "a group of names stays one");
    for (was, is) in before.iter().zip(&now).take(2) {
        let all = |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.gid(), meta.len(), meta.mtime(), meta.mtime_nsec());
        assert_eq!(all(was), all(is));
    }
    // One whose permissions had changed is no link: they would change in both trees.
    assert_ne!(before[3].ino(), now[3].ino());
    assert_ne!(big.ino(), look("data/big").ino());
    let alone = |trees: &[Tree]| trees.iter().map(|tree| tree.without(&["one", "sub/other"])).collect::<Vec<_>>();
    same(&alone(&due.new), &alone(&due.roots()));
    assert_eq!(world.read("data/one"), "pair\n");

    world.program("bin/stop", &stop);
    world.run("eco-restore").arg("--undo").exits(0);
    assert_eq!(fs::read(world.path("data/big")).unwrap()[0], b'X', "in the tree from before it was written to");
    same(&due.old[..1], &due.roots()[..1]);
}

#[test]
fn a_file_that_is_mapped_for_writing_is_not_linked() {
    let world = World::service();
    world.write("data/mapped", "mapped\n").write("data/other", "other\n");
    let due = Due::full(world);
    let world = &due.world;
    let ino = |path: &str| fs::symlink_metadata(world.path(path)).unwrap().ino();
    let before = [ino("data/mapped"), ino("data/other")];
    let code = "import mmap,time; f=open('data/mapped','r+b'); m=mmap.mmap(f.fileno(),0); print('mapped',flush=True); time.sleep(1000)";
    let mut python = Command::new("python3").args(["-c", code]).current_dir(world.root()).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(python.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let done = world.run("eco-restore").args(["latest-good", "--stage", "link"]).exits(0);
    python.kill().unwrap();
    python.wait().unwrap();
    assert_ne!(before[0], ino("data/mapped"), "{done}");
    assert_eq!(before[1], ino("data/other"), "{done}");
    same(&due.new, &due.roots());
}

#[test]
fn a_quick_look_finds_what_a_long_one_finds() {
    let due = Due::full(World::service());
    let plan = |words: &[&str]| due.world.run("eco-restore").args(["latest-good", "--dry-run"]).args(words).exits(0).only();
    let (long, quick) = (plan(&[]), plan(&["--quick"]));
    for field in ["tree", "created", "updated", "deleted", "kept", "preserved", "bytes", "examples"] {
        assert_eq!(long[field], quick[field], "{field}");
    }
    due.world.run("eco-restore").args(["latest-good", "--quick"]).exits(0);
    same(&due.new, &due.roots());
    undone(&due);
}
