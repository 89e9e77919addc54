//! Roots that are symbolic links to a generation, as deployments leave them: a rollback makes a new generation beside the live one and
//! turns the link. What it made is removed when nobody needs it any more, and nothing else ever is.

use crate::harness::{World, apart, not_shown};
use crate::kill::{Due, KILL, sweep};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The service, with `data` a link that says this. Relative ones lead from the ecosystem's root.
fn linked(to: &str) -> World {
    let world = World::new();
    let to = to.replace("OUTSIDE", world.folder().to_str().unwrap());
    fs::create_dir_all(world.path(&to)).unwrap();
    symlink(to, world.path("data")).unwrap();
    world.with_service()
}

fn released() -> World {
    linked("releases/7/data")
}

/// What is beside the generation that `data` leads to, hidden names as well, without what our marks have of chance.
fn beside(world: &World) -> Vec<String> {
    let live = fs::canonicalize(world.path("data")).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(live.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(world: &World) -> String {
    fs::read_link(world.path("data")).unwrap().into_os_string().into_string().unwrap()
}

/// What the generation of this restore is called.
fn named(restore: &serde_json::Value) -> String {
    let id = restore["id"].as_str().unwrap();
    format!("data.eco-{}", &id[id.len() - 6..])
}

/// Good, then spoiled.
fn due(world: &World) {
    world.good();
    world.spoil();
}

#[test]
fn a_new_generation_stands_beside_the_old_one_and_the_link_is_written_like_the_old_one() {
    for to in ["releases/7/data", "../releases/data", "OUTSIDE/releases/7/data", "data-7/data"] {
        let world = linked(to);
        due(&world);
        let (old, said) = (fs::canonicalize(world.path("data")).unwrap(), text(&world));
        let before = world.tree("data/.");
        world.run("eco-restore").args(["latest-good", "--dry-run"]).exits(0);
        assert!(!world.path(".eco/journal").exists() && beside(&world) == ["data"], "{to}: a dry run changes nothing");
        let done = world.run("eco-restore").arg("latest-good").exits(0);
        let (plan, restore) = (done.last("plan"), done.last("restore"));
        assert_eq!((&plan["strategy"], &restore["strategy"]), (&"pointer".into(), &"pointer".into()));
        assert!(plan["guarantee"].as_str().unwrap().contains("link"), "{plan}");
        assert_eq!(text(&world), said.strip_suffix("data").unwrap().to_owned() + &named(&restore), "{to}");
        assert_eq!(beside(&world), ["data", &named(&restore)]);
        assert_eq!(fs::canonicalize(world.path("data")).unwrap().parent(), old.parent());
        assert_eq!(world.read("data/orders"), "1\n2\n3\n");
        // What is preserved went along, and all else that was there is there.
        assert_eq!((world.read("data/metrics/2026-04"), old.join("metrics/2026-04").exists()), ("d\n".into(), false));
        assert!(done.step("safety")["note"].as_str().unwrap().contains("what it led to stays"), "{done}");
        // The folder of a preserved file that is new since the snapshot is there for that.
        assert_eq!(world.run("eco-verify").args(["latest-good", "--live"]).exits(1).last("difference")["path"], "data/new");

        let undone = world.run("eco-restore").arg("--undo").exits(0);
        assert_eq!((text(&world), &undone.last("restore")["strategy"]), (said, &"pointer".into()));
        before.but_for_times_of_folders().same_as(&world.tree("data/.").but_for_times_of_folders());
        assert_eq!(beside(&world), ["data", &named(&restore)], "an undo can be undone");
    }
}

#[test]
fn a_rollback_that_ends_otherwise_leaves_no_generation_behind() {
    let world = released();
    due(&world);
    for (fails, code) in [("before", 4), ("after", 5)] {
        let stop = world.read("bin/stop");
        match fails {
            "before" => drop(world.program("bin/stop", &format!("{stop}cp -a config other; rm -r config; mv other config\n"))),
            _ => drop(world.write("fail/selftest", "")),
        }
        world.run("eco-restore").arg("latest-good").exits(code);
        world.program("bin/stop", &stop);
        assert_eq!((text(&world).as_str(), beside(&world)), ("releases/7/data", vec!["data".to_owned()]), "{fails}");
        assert_eq!((world.read("data/orders"), world.read("data/metrics/2026-04")), ("garbage\n".into(), "d\n".into()));
    }
}

#[test]
fn generations_of_ours_go_when_nobody_needs_them_and_those_of_others_never_do() {
    let world = released();
    let (mut made, mut last) = (Vec::new(), Vec::new());
    for day in ["01", "02", "03", "20", "21"] {
        world.at(&format!("2026-03-{day}T08:00:00Z"));
        due(&world);
        made.push(named(&world.run("eco-restore").arg("latest-good").exits(0).last("restore")));
        assert_eq!(text(&world), format!("releases/7/{}", made.last().unwrap()));
        last = beside(&world);
        if day == "03" {
            let all: Vec<&String> = made.iter().collect();
            assert!(all.iter().all(|name| last.contains(name)), "{last:?}");
        }
        world.run("eco-restore").arg("--undo").exits(0);
        world.run("eco-restore").arg("--undo").exits(0);
    }
    // By the last day the three of the beginning are over, but for what the undo of a later one leads to.
    let mut expected: Vec<String> = made[2..].to_vec();
    expected.push("data".into());
    expected.sort();
    assert_eq!(last, expected);
    world.at("2026-06-01T08:00:00Z");
    due(&world);
    world.run("eco-restore").arg("latest-good").exits(0);
    world.at("2026-09-01T08:00:00Z");
    due(&world);
    world.run("eco-restore").arg("latest-good").exits(0);
    let left = beside(&world);
    assert_eq!((left.len(), left[0].as_str()), (3, "data"), "the one of others, the live one, the one before: {left:?}");
}

#[test]
fn links_that_cannot_be_turned_are_refused_and_nothing_is_changed() {
    let world = released();
    due(&world);
    let pid = world.pid();
    let refused = |says: &str| {
        for words in [&["latest-good", "--dry-run"][..], &["latest-good"]] {
            let seen = || world.tree("").without(&[".eco"]).but_for_times_of_folders();
            let before = seen();
            world.run("eco-restore").args(words).exits(4).says(says);
            before.same_as(&seen());
        }
        assert_eq!(world.pid(), pid);
    };
    for (to, says) in [("releases/8/data", "cannot follow the link"), ("config", "the root config holds as well"), (".", "not a tree of its own")] {
        world.shell(&format!("ln -sfn {to} data"));
        refused(says);
    }
    world.shell("ln -sfn releases/7/data data; mv modules releases/7/; ln -s releases/7/modules modules");
    refused("lies behind a symbolic link");
    world.shell("rm modules; mv releases/7/modules modules");
    world.run("eco-restore").arg("latest-good").exits(0);

    // Somebody has put a folder where the link was: there is no way back by itself.
    world.shell("cp -a releases/7/data other; rm data; mv other data");
    world.run("eco-restore").arg("--undo").exits(4).says("on one side of the rollback only");
}

#[test]
fn a_link_that_somebody_else_turns_meanwhile_ends_the_rollback() {
    let world = released();
    due(&world);
    world.shell("cp -a releases/7 releases/8");
    world.program("bin/stop", "#!/bin/sh\nkill $(cat run/shop.pid); rm run/shop.pid\nln -sfn releases/8/data data\n");
    world.run("eco-restore").arg("latest-good").exits(4).says("leads elsewhere by now");
    assert_eq!((text(&world).as_str(), beside(&world)), ("releases/8/data", vec!["data".to_owned()]));
    assert!(world.pid().is_some() && fs::read_dir(world.path("releases/7")).unwrap().count() == 1);
    // From there on it is the one that is rolled back.
    world.program("bin/stop", "#!/bin/sh\nkill $(cat run/shop.pid); rm run/shop.pid\n");
    world.run("eco-restore").arg("latest-good").exits(0);
    assert!(text(&world).starts_with("releases/8/data.eco-"));
    world.run("eco-restore").arg("--undo").exits(0);
    assert_eq!(text(&world), "releases/8/data");
}

#[test]
fn a_snapshot_of_nothing_but_the_link_is_not_restored() {
    let world = released();
    world.shell("tar -czf ../old.tar.gz data config");
    world.run("eco-restore").args(["../old.tar.gz", "--adopt"]).exits(4).says("nothing of what that led to");
    assert_eq!(text(&world), "releases/7/data");
}

#[test]
fn a_link_to_a_mount_point_is_refused() {
    apart("generations::a_link_to_a_mount_point_is_refused", "a link to a mount point", || {
        let world = World::new();
        for (at, says) in [("volume", "is a mount point"), ("volume/inside", "has a mount point inside")] {
            if !world.mount("mount", &["-ttmpfs", "eco-test"], &world.path(at)) {
                return not_shown("a link to a mount point", "nothing can be mounted here");
            }
            if at == "volume" {
                symlink("volume", world.path("data")).unwrap();
                world.write("data/a", "a").write("config/c", "c");
                world.run("eco-snap").arg("--good").exits(0);
            } else {
                world.unmount();
                world.unmount();
                fs::create_dir_all(world.path("volume")).unwrap();
                world.mount("mount", &["-ttmpfs", "eco-test"], &world.path(at));
            }
            world.run("eco-restore").arg("latest-good").exits(4).says(says);
        }
    });
}

/// One generation more if the new tree is live, none of ours if it is not, and nothing half-made.
fn tidy(due: &Due, new: bool, at: &dyn std::fmt::Debug) {
    let names = beside(&due.world);
    assert_eq!((names.len(), names[0].as_str()), (1 + usize::from(new), "data"), "{at:?}: {names:?}");
    let live = fs::canonicalize(due.world.path("data")).unwrap();
    assert_eq!(live.file_name() == Some("data".as_ref()), !new, "{at:?}: {names:?}");
    let all = due.world.tree("").names();
    assert!(!all.iter().any(|path| path.iter().any(|name| name == Path::new("late"))), "{at:?}");
    assert_ne!(fs::metadata(live).unwrap().permissions().mode() & 0o7777, 0o700, "{at:?}: a generation is as open as it was captured");
}

#[test]
fn hazard_18_a_turn_of_a_link_that_is_killed_anywhere_is_recovered() {
    for to in ["releases/7/data", "OUTSIDE/volumes/data"] {
        sweep(
            "link",
            KILL,
            20,
            || Due::full(linked(to)),
            (&["latest-good"], 0),
            |due, at| {
                let new = due.recovers(at, &[0], 0..2);
                tidy(due, new, at);
                if new {
                    due.undone(at, &due.old);
                }
                new
            },
        );
    }
}

#[test]
fn hazard_18_a_way_back_from_a_generation_that_is_killed_anywhere_is_recovered() {
    let unproven = || {
        let due = Due::full(released());
        due.world.write("fail/selftest", "");
        due
    };
    sweep("link, way back", KILL, 12, unproven, (&["latest-good"], 5), |due, at| {
        let new = due.recovers(at, &[0, 5], 0..1);
        assert!(!new, "{at:?}: a tree that proves nothing was left live");
        tidy(due, new, at);
        new
    });
}

#[test]
fn hazard_18_an_undo_of_a_turned_link_that_is_killed_anywhere_is_recovered() {
    let done = || {
        let due = Due::full(released());
        due.world.run("eco-restore").arg("latest-good").exits(0);
        due
    };
    sweep("link, undo", KILL, 10, done, (&["--undo"], 0), |due, at| {
        let new = due.recovers(at, &[0], 1..3);
        assert_eq!(beside(&due.world).len(), 2, "{at:?}: both generations are needed");
        due.undone(at, if new { &due.old } else { &due.new });
        new
    });
}
