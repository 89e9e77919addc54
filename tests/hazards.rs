//! What the old procedures got wrong: each situation is set up again, and survived. The numbers are those of the manual's list;
//! those that belong to one program stand with its other tests.

use crate::harness::{Tree, World};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};

/// Everything that belongs to the ecosystem, and the process that runs.
fn everything(world: &World) -> (Tree, Option<u32>) {
    (world.tree("").without(&["", ".eco"]), world.pid())
}

#[track_caller]
fn untouched(before: &(Tree, Option<u32>), world: &World) {
    let now = everything(world);
    before.0.same_as(&now.0);
    assert_eq!(before.1, now.1);
}

#[test]
fn hazard_01_an_archive_that_cannot_be_restored_deletes_nothing() {
    // Cut short, empty, no archive, and one in which the roots are not where they are looked for.
    for make in [
        "tar -czf ../old.tar.gz data config && truncate -s -2000 ../old.tar.gz",
        ": >../old.tar.gz",
        "head -c 5000 data/big >../old.tar.gz",
        "mkdir -p ../x/elsewhere && cp -a data/sub ../x/elsewhere && tar -czf ../old.tar.gz -C .. x",
    ] {
        let world = World::service();
        world.shell(make);
        let before = everything(&world);
        let ran = world.run("eco-restore").arg(world.folder().join("old.tar.gz")).ran();
        assert!([3, 4].contains(&ran.code), "{make}: {ran}");
        untouched(&before, &world);
    }
}

#[test]
fn hazard_01_what_an_archive_does_not_hold_is_not_deleted() {
    let world = World::service();
    world.shell("tar -czf ../old.tar.gz config");
    world.spoil();
    let data = world.tree("data");
    world.run("eco-restore").arg(world.folder().join("old.tar.gz")).exits(0);
    assert_eq!(world.read("config/state"), "well\n");
    data.same_as(&world.tree("data"));
}

#[test]
fn hazard_02_leftovers_of_other_runs_are_not_mixed_in() {
    let world = World::service();
    world.good();
    let was = world.tree("config");
    world.spoil();
    let temporary = world.folder().join("tmp");
    for leftover in [temporary.join("ecosystem-weekly-20251215/config"), world.path(".eco/ecosystem-emergency/tree/config")] {
        fs::create_dir_all(&leftover).unwrap();
        fs::write(leftover.join("state"), "of another generation\n").unwrap();
        fs::write(leftover.join("stray"), "stray\n").unwrap();
    }
    let before = Tree::of(&temporary);
    world.run("eco-restore").arg("latest-good").env("TMPDIR", &temporary).exits(0);
    was.same_as(&world.tree("config"));
    before.same_as(&Tree::of(&temporary));
}

#[test]
fn hazard_03_the_tree_from_before_is_kept_until_its_time_is_over() {
    let world = World::service();
    world.at("2026-03-01T08:00:00Z").good();
    world.write("config/state", "well, on the first\n");
    let first = world.at("2026-03-01T09:00:00Z").run("eco-restore").args(["latest", "--scope", "config"]).exits(0).last("restore");
    assert_eq!(first["safety"], first["id"]);
    let kept = world.path(".eco").join(first["id"].as_str().unwrap());
    for (now, there) in [("2026-03-02T09:00:00Z", true), ("2026-03-08T08:59:59Z", true), ("2026-03-08T09:00:01Z", false)] {
        world.at(now).run("eco-restore").arg("--recover").exits(0);
        world.run("eco-restore").args(["latest", "--scope", "module:ui"]).exits(0);
        assert_eq!(kept.exists(), there, "{now}");
    }
    world.run("eco-restore").args(["--undo", first["id"].as_str().unwrap()]).exits(1);
}

#[test]
fn hazard_04_neither_a_copy_nor_a_broken_state_nor_damage_is_the_latest_good_one() {
    let world = World::service();
    let first = world.at("2026-03-01T08:00:00Z").good();
    world.write("config/state", "well, second\n");
    let second = world.at("2026-03-02T08:00:00Z").good();
    world.write("config/state", "broken\n");
    world.at("2026-03-03T08:00:00Z").run("eco-snap").exits(0);
    world.write("config/state", "well, but damaged\n");
    let damaged = world.at("2026-03-04T08:00:00Z").good();
    world.shell(&format!("truncate -s -100 {}", damaged["path"].as_str().unwrap()));
    // The old way takes what was written last.
    world.shell(&format!("cp {} ../shop-store/shop-manual/shop-manual-20991231.tar.gz", first["path"].as_str().unwrap()));
    let done = world.at("2026-03-05T08:00:00Z").run("eco-restore").arg("latest-good").exits(0);
    assert_eq!(done.last("restore")["snapshot"], second["id"]);
    assert_eq!(world.read("config/state"), "well, second\n");
}

#[test]
fn hazard_05_changed_content_in_a_sound_gzip_is_found_before_the_stop() {
    let world = World::service();
    let snapshot = world.good();
    let archive = snapshot["path"].as_str().unwrap();
    world.shell(&format!("gzip -dc {archive} | LC_ALL=C sed 's/\"orders\": 10/\"orders\": 99/' | gzip >../changed && tar -tzf ../changed >/dev/null && mv ../changed {archive}"));
    let before = everything(&world);
    for selector in [archive, snapshot["id"].as_str().unwrap()] {
        let ran = world.run("eco-restore").arg(selector).ran();
        // By its id it is not to be had any more: what is there does not say that it is this snapshot.
        assert!(ran.code == 4 || ran.code == 1 && selector != archive, "{ran}");
        untouched(&before, &world);
    }
    world.run("eco-verify").arg(archive).exits(1);
}

#[test]
fn hazard_07_nothing_of_a_files_metadata_is_lost_whatever_the_umask() {
    let world = World::service();
    world.shell("chmod 4751 data/run-me; chmod 1777 data/sub; chmod 0604 config/limits.json; mkfifo -m 0620 data/pipe; ln data/big data/sub/big-too");
    world.shell("touch -d '1999-12-31 23:59:59.123456789' data/big; touch -h -d '2001-01-01 00:00:00.5' data/dangling");
    world.good();
    let was = world.tree("data");
    // What is preserved stays as it is, and so may the times of its folders.
    let stays = ["metrics", "sub/day.log", "cache.tmp"];
    world.shell("rm data/sub/big-too data/pipe; cp data/big data/sub/big-too; touch data/pipe; chmod -R u=rwX,go= data config; touch data/big");
    let _ = rustix::fs::removexattr(world.path("data/orders"), "user.note");
    let program = crate::harness::program("eco-restore");
    world.run("sh").args(["-c", "umask 077; exec \"$0\" latest"]).arg(program).exits(0);
    let folders = ["", "sub"];
    let (was, now) = (was.without(&stays), world.tree("data").without(&stays));
    let differences: Vec<String> =
        was.differences(&now).into_iter().filter(|line| !folders.iter().any(|name| line[2..].starts_with(&format!("{name} ")))).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    let mode = |path: &str| fs::metadata(world.path(path)).unwrap().mode() & 0o7777;
    assert_eq!(["data/run-me", "data/sub", "config/limits.json", "data/pipe"].map(mode), [0o4751, 0o1777, 0o604, 0o620]);
}

#[test]
fn hazard_07_metadata_that_cannot_be_put_back_stops_the_rollback_before_anything_changes() {
    if !rustix::process::geteuid().is_root() {
        return crate::harness::not_shown("a rollback by somebody who may not give files away", "it takes root to set up");
    }
    let world = World::service();
    world.good();
    world.spoil();
    // Everything is theirs but, in the snapshot, the files of root.
    world.shell("kill $(cat run/shop.pid); rm run/shop.pid; chown -hR 65534:65534 . ../shop-store; chmod 711 ..");
    let before = everything(&world);
    world.run("eco-restore").arg("latest-good").user(65534).exits(4).says("cannot be put back whole: owner root:root, which only root can set");
    untouched(&before, &world);
    // The same is only told where nothing live is at stake.
    let stage = world.folder().join("stage");
    fs::create_dir(&stage).unwrap();
    std::os::unix::fs::chown(&stage, Some(65534), Some(65534)).unwrap();
    let found = world.run("eco-verify").args(["latest-good", "--depth", "restored", "--scratch"]).arg(&stage).user(65534).exits(0).only();
    assert!(found["ok"] == true && found["warnings"][0].as_str().unwrap().contains("only root can give them"), "{found}");
}

#[test]
fn hazard_08_nothing_of_ours_has_a_name_that_others_can_wait_at() {
    let world = World::service();
    let snapshot = world.good();
    world.spoil();
    let temporary = world.folder().join("tmp");
    fs::create_dir(&temporary).unwrap();
    world.run("eco-restore").arg("latest-good").env("TMPDIR", &temporary).exits(0);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&world.path(".eco")), mode(snapshot["path"].as_str().unwrap().as_ref())), (0o700, 0o600));

    // Somebody was there first: a link to where they want our files, or a folder that they can write to.
    fs::remove_dir_all(world.path(".eco")).unwrap();
    symlink(&temporary, world.path(".eco")).unwrap();
    let before = everything(&world);
    world.run("eco-restore").arg("latest-good").exits(4).says("not a private folder");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    world.shell("rm .eco && mkdir -m 777 .eco");
    world.run("eco-restore").arg("latest-good").exits(4).says("not a private folder");
    untouched(&before, &world);
}

#[test]
fn hazard_13_every_check_of_a_verification_can_fail() {
    let world = World::service();
    world.good();
    world.run("eco-verify").args(["latest", "--live"]).exits(0);
    for (spoil, mend) in [
        ("echo 99 >config/limits.json", "echo '{\"orders\": 10}' >config/limits.json"),
        ("chmod 600 config/limits.json", "chmod 644 config/limits.json"),
        ("touch config/stray", "rm config/stray"),
    ] {
        world.shell(&format!("cp -a config ../kept && {spoil}"));
        world.run("eco-verify").args(["latest", "--live"]).exits(1);
        world.shell(&format!("{mend}; rm -rf config && cp -a ../kept config && rm -r ../kept"));
    }
    world.write("fail/selftest", "");
    let failed = world.run("eco-restore").arg("latest").exits(5);
    assert_eq!((failed.step("health")["ok"].clone(), failed.step("selftest")["ok"].clone()), (json!(true), json!(false)));
    fs::remove_file(world.path("fail/selftest")).unwrap();
    world.program("bin/health", "#!/bin/sh\nexit 1\n");
    let failed = world.impatient().run("eco-restore").arg("latest").exits(5);
    assert_eq!(failed.step("health")["ok"], false);
}

#[test]
fn hazard_14_exit_code_and_last_record_tell_the_same_truth() {
    let world = World::service();
    let snapshot = world.good();
    let truth = |code: i32, phase: &str| {
        let ran = world.run("eco-restore").arg("latest").ran().exits(code);
        let mut records = ran.records();
        // What becomes of the tree from before is told when all is over.
        records.retain(|record| record["step"] != "safety" && record["kind"] != "safety");
        let last = records.pop().unwrap();
        assert_eq!((&last["type"], &last["phase"]), (&json!("restore"), &json!(phase)), "{ran}");
        assert_eq!(last["exit"].as_i64().unwrap_or(0), i64::from(code), "{ran}");
        assert_eq!(last["error"].is_null(), code == 0, "{ran}");
    };
    truth(0, "completed");
    world.write("fail/selftest", "");
    truth(5, "reverted");
    fs::remove_file(world.path("fail/selftest")).unwrap();
    world.write("fail/stop", "");
    let toml = world.read("eco.toml");
    world.write("eco.toml", toml.replace("pidfile = \"run/shop.pid\"\n", ""));
    truth(3, "failed");
    fs::remove_file(world.path("fail/stop")).unwrap();
    world.write("eco.toml", toml);
    let path = snapshot["path"].as_str().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    truth(4, "failed");
}

#[test]
fn hazard_15_a_module_is_its_declared_roots_and_no_name_that_looks_like_it() {
    let world = World::service();
    let alike = ["modules/ui-old/code", "modules/gui/code", "modules/my ui/code", "data/ui/code", "ui/code", "modules/u/code"];
    for path in alike {
        world.write(path, "one\n");
    }
    world.good();
    for path in alike.iter().chain(&["modules/ui/code"]) {
        world.write(path, "two\n");
    }
    let before = everything(&world).0;
    world.run("eco-restore").args(["latest", "--scope", "module:ui"]).exits(0);
    assert_eq!(world.read("modules/ui/code"), "u\n");
    let ours = ["modules/ui", "run"];
    before.without(&ours).same_as(&everything(&world).0.without(&ours));
}

#[test]
fn hazard_16_history_keeps_every_byte_even_from_a_writer_that_has_it_open() {
    let world = World::service();
    world.good();
    let mut open = fs::File::options().append(true).open(world.path("data/metrics/2026-03")).unwrap();
    open.write_all(b"since the snapshot\n").unwrap();
    world.write("data/metrics/2026-04", "a new month\n");
    world.run("eco-restore").arg("latest").exits(0);
    open.write_all(b"since the rollback\n").unwrap();
    assert_eq!(world.read("data/metrics/2026-03"), "a\nb\nsince the snapshot\nsince the rollback\n");
    assert_eq!(world.read("data/metrics/2026-04"), "a new month\n");
    world.run("eco-restore").arg("--undo").exits(0);
    open.write_all(b"since the undo\n").unwrap();
    assert_eq!(world.read("data/metrics/2026-03"), "a\nb\nsince the snapshot\nsince the rollback\nsince the undo\n");
}

#[test]
fn hazard_21_backups_that_fail_for_weeks_never_age_the_last_good_one_away() {
    let world = World::service();
    world.write("eco.toml", world.read("eco.toml") + "\n[retention]\ndaily = \"7d\"\nweekly = \"4w\"\nmanual = \"7d\"\n");
    let take = |now: &str, words: &[&str]| world.at(now).run("eco-snap").args(words).exits(0).only();
    let base = take("2026-01-01T03:00:00Z", &["--kind=weekly", "--good"]);
    let good = take("2026-01-02T03:00:00Z", &["--kind=daily", "--good"]);
    let pinned = take("2026-01-02T04:00:00Z", &["--kind=daily", "--full", "--pin"]);
    let read = take("2026-01-02T05:00:00Z", &["--kind=daily", "--full"]);
    let plain = take("2026-01-02T06:00:00Z", &["--kind=daily", "--full"]);
    // From then on the service is ill when its backups are taken, and one of these is damaged.
    take("2026-02-27T03:00:00Z", &["--kind=weekly"]);
    take("2026-02-28T03:00:00Z", &["--kind=daily", "--full"]);
    let damaged = take("2026-03-01T03:00:00Z", &["--kind=daily", "--full"]);
    world.shell(&format!("truncate -s -100 {}", damaged["path"].as_str().unwrap()));
    let reader = fs::File::open(read["path"].as_str().unwrap()).unwrap();
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).unwrap();
    assert_eq!(good["base"], base["id"]);

    world.at("2026-03-01T04:00:00Z");
    let there = |snapshot: &serde_json::Value| std::path::Path::new(snapshot["path"].as_str().unwrap()).exists();
    for _ in 0..2 {
        let listed = world.run("eco-ls").ran().stdout;
        let ran = world.run("eco-prune").args(["--apply", "--yes"]).stdin(listed).exits(0);
        // What was cut off says no more what it is.
        let aside: Vec<_> = ran.all("retention").into_iter().filter(|record| record["set_aside"] == true).collect();
        assert!(aside.len() == 1 && aside[0]["path"] == damaged["path"], "{ran}");
        assert_eq!([&base, &good, &pinned, &read, &plain, &damaged].map(there), [true, true, true, true, false, true]);
    }
    world.spoil();
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    assert_eq!(done.last("restore")["snapshot"], good["id"]);
    assert_eq!(world.read("config/state"), "well\n");
}

#[test]
fn hazard_22_the_safety_copy_covers_the_whole_scope() {
    let world = World::service();
    world.good();
    world.spoil();
    let before = everything(&world).0;
    world.run("eco-restore").arg("latest").exits(0);
    for root in ["config", "modules"] {
        fs::remove_dir_all(world.path(root)).unwrap();
    }
    world.run("eco-restore").arg("--undo").exits(0);
    before.without(&["run", "modules"]).same_as(&everything(&world).0.without(&["run", "modules"]));
    assert_eq!(world.read("modules/recommend/code"), "two\n");
}

#[test]
fn hazard_27_a_drill_touches_neither_the_live_tree_nor_the_store() {
    let world = World::service();
    world.good();
    world.spoil();
    let stage = world.folder().join("stage");
    fs::create_dir(&stage).unwrap();
    let before = everything(&world);
    // The verdict beside the archive is what a drill is for.
    let store = || {
        let tree = Tree::of(&world.store());
        let verdicts: Vec<String> = tree.names().iter().map(|name| name.display().to_string()).filter(|name| name.ends_with(".verified")).collect();
        (tree.without(&verdicts.iter().map(String::as_str).collect::<Vec<_>>())).but_for_times_of_folders()
    };
    let was = store();
    let found = world.run("eco-verify").args(["latest-good", "--depth", "restored", "--scratch"]).arg(&stage).exits(0).only();
    assert_eq!((&found["ok"], &found["depth"]), (&json!(true), &json!("restored")));
    untouched(&before, &world);
    was.same_as(&store());
    assert_eq!(fs::read_dir(&stage).unwrap().count(), 0, "what was rehearsed is gone");
}
