//! What surrounds a rollback: several scopes at once, aborting, what a start may do meanwhile, and what becomes of the tree from
//! before.

use crate::harness::{Tree, World};
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;

/// Every byte and attribute of the roots.
fn roots(world: &World) -> [Tree; 3] {
    ["config", "data", "modules"].map(|root| world.tree(root))
}

fn steps(records: &[Value]) -> Vec<String> {
    records.iter().filter(|record| record["type"] == "step").map(|step| step["step"].as_str().unwrap().to_owned()).collect()
}

/// An automation that can be switched on again, and one that cannot.
fn with_enable(world: &World) {
    let toml = world.read("eco.toml").replace("[automation]\n", "[automation]\nenable = [\"bin/unit\", \"enable\", \"{id}\"]\n");
    world.write("eco.toml", toml);
}

// Several scopes at once.

#[test]
fn several_scopes_are_one_transaction() {
    let world = World::service();
    let snapshot = world.good();
    let was = roots(&world);
    world.spoil();
    world.write("data/recommend/pairs", "broken\n");
    let broken = roots(&world);
    let words = ["latest-good", "--scope", "config", "--scope", "module:recommend", "--scope", "automation:nightly", "-s", "optimization:cache"];
    let done = world.run("eco-restore").args(words).args(["-s", "config"]).exits(0);
    let now = roots(&world);
    was[0].same_as(&now[0]);
    was[2].only("recommend").same_as(&now[2].only("recommend"));
    was[1].only("recommend").same_as(&now[1].only("recommend"));
    broken[1].without(&["recommend"]).same_as(&now[1].without(&["recommend"]));
    broken[2].only("ui").same_as(&now[2].only("ui"));
    // The module comes on again; what was rolled back by being switched off stays off.
    assert_eq!(world.read("run/units"), "disable recommend\ndisable nightly\nrevert cache\nenable recommend\n");
    let scope = "config,module:recommend,automation:nightly,optimization:cache";
    let (plan, restore) = (done.last("plan"), done.last("restore"));
    assert_eq!((&plan["scope"], &restore["scope"], &restore["snapshot"]), (&json!(scope), &json!(scope), &snapshot["id"]));
    assert_eq!(plan["roots"], json!(["config", "data/recommend", "modules/recommend"]));
    assert_eq!(done.all("restore").len(), 2, "{done}");
    let control = plan["control"].as_str().unwrap();
    assert!(control.ends_with("; automation:nightly is switched off; optimization:cache is reverted"), "{control}");
    assert_eq!(done.all("step").iter().filter(|step| step["step"] == "stop").count(), 1);

    world.run("eco-restore").arg("--undo").exits(0);
    broken[0].same_as(&world.tree("config"));
    world.run("eco-restore").args(["latest", "-s", "automation:a", "-s", "experiment:b"]).exits(2).says("leave the snapshot out");
    world.run("eco-restore").args(["latest", "-s", "config", "-s", "module:nobody"]).exits(2).says("no module:nobody");
}

#[test]
fn what_was_switched_off_comes_on_again_with_the_tree_from_before() {
    let world = World::service();
    with_enable(&world);
    world.good();
    world.spoil();
    world.write("fail/selftest", "");
    let broken = roots(&world);
    let words = ["latest", "-s", "module:recommend", "-s", "automation:nightly", "-s", "optimization:cache"];
    let done = world.run("eco-restore").args(words).exits(5);
    broken.iter().zip(&roots(&world)).for_each(|(before, now)| before.same_as(now));
    assert_eq!(world.read("run/units"), "disable recommend\ndisable nightly\nrevert cache\nenable recommend\nenable recommend\nenable nightly\n");
    let last = done.all("step").pop().unwrap();
    assert_eq!((&last["ok"], &last["note"]), (&Value::Null, &json!("not done: optimization:cache was reverted, and stays so")));
}

#[test]
fn a_unit_that_cannot_be_switched_off_stops_a_rollback_of_several() {
    let world = World::service();
    with_enable(&world);
    world.good();
    world.spoil();
    world.program("bin/unit", "#!/bin/sh\necho $1 $2 >>run/units\n[ $1 != stop ]\n");
    let broken = roots(&world);
    let done = world.run("eco-restore").args(["latest", "-s", "config", "-s", "automation:a", "-s", "experiment:b"]).exits(3).says("experiment:b");
    broken.iter().zip(&roots(&world)).for_each(|(before, now)| before.same_as(now));
    assert_eq!(world.read("run/units"), "disable a\nstop b\nenable a\n");
    assert_eq!(done.last("restore")["phase"], "failed");
    assert!(world.pid().is_some() && !steps(&done.records()).contains(&"swap".into()));

    fs::remove_file(world.path("run/units")).unwrap();
    world.run("eco-restore").args(["-s", "automation:a", "-s", "experiment:b"]).exits(3).says("experiment:b");
    assert_eq!(world.read("run/units"), "disable a\nstop b\nenable a\n");
    world.run("eco-restore").args(["-s", "automation:a", "-s", "automation:c"]).exits(0);
    assert_eq!(world.read("run/units"), "disable a\nstop b\nenable a\ndisable a\ndisable c\n");
}

// Aborting.

/// Starts eco-restore with these words and kills it while it waits for a command that never ends.
fn killed_in(world: &World, command: &str, words: &[&str]) {
    let whole = world.read(command);
    fifos(world);
    world.program(command, "#!/bin/sh\necho >run/here; read line <run/gate\n");
    let mut run = world.run("eco-restore").args(words).command();
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    fs::read(world.path("run/here")).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    for pid in world.processes().into_iter().filter(|pid| Some(*pid) != world.pid()) {
        world.shell(&format!("kill -9 {pid}"));
    }
    world.program(command, &whole);
}

fn fifos(world: &World) {
    for fifo in ["run/here", "run/gate"].iter().filter(|fifo| !world.path(fifo).exists()) {
        rustix::fs::mkfifoat(rustix::fs::CWD, world.path(fifo), 0o600.into()).unwrap();
    }
}

#[track_caller]
fn same(before: &[Tree; 3], after: &[Tree; 3]) {
    before.iter().zip(after).for_each(|(before, after)| before.same_as(after));
}

/// Names below `.eco`, but for what every run may leave.
fn left(world: &World) -> Vec<String> {
    let names = fs::read_dir(world.path(".eco")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !["lock", "memory"].contains(&name.as_str())).collect()
}

#[test]
fn an_interrupted_rollback_can_be_aborted_from_wherever_it_is() {
    let world = World::service();
    world.run("eco-restore").arg("--abort").exits(0).says("nothing to abort");
    let snapshot = world.good();
    world.spoil();
    let broken = roots(&world);
    for (command, phase) in [("bin/stop", "failed"), ("bin/start", "reverted")] {
        killed_in(&world, command, &["latest"]);
        let done = world.run("eco-restore").arg("--abort").exits(0).says("the tree from before it is live");
        same(&broken, &roots(&world));
        assert_eq!(done.last("restore")["phase"], phase);
        assert_eq!(done.last("restore")["snapshot"], snapshot["id"]);
        assert!(world.pid().is_some(), "{done}");
        assert_eq!(left(&world), [""; 0]);
        assert_eq!(world.run("eco-restore").arg("--abort").exits(0).says("nothing to abort").stdout, "");
    }
    assert!(world.read(".eco/memory").contains("\"phase\":\"reverted\""));
    world.run("eco-restore").args(["--abort", "--recover"]).exits(2);
}

#[test]
fn an_interrupted_undo_can_be_aborted_and_done_again() {
    let world = World::service();
    world.good();
    world.write("config/state", "other\n");
    world.run("eco-restore").arg("latest").exits(0);
    for command in ["bin/stop", "bin/start"] {
        killed_in(&world, command, &["--undo"]);
        world.run("eco-restore").arg("--abort").exits(0);
        assert_eq!(world.read("config/state"), "well\n");
    }
    world.run("eco-restore").arg("--undo").exits(0);
    assert_eq!(world.read("config/state"), "other\n");
}

#[test]
fn what_is_under_way_cannot_be_aborted_by_another() {
    let world = World::service();
    world.good();
    fifos(&world);
    let start = world.read("bin/start");
    world.program("bin/start", &format!("{}\necho >run/here; read line <run/gate\n", start.trim_end()));
    let mut first = world.run("eco-restore").arg("latest").command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    fs::read(world.path("run/here")).unwrap();
    world.run("eco-restore").arg("--abort").exits(7).says(&format!("eco-restore, pid {}, since", first.id()));
    fs::write(world.path("run/gate"), "\n").unwrap();
    assert!(first.wait().unwrap().success());
    world.run("eco-restore").arg("--abort").exits(0).says("nothing to abort");
}

// What becomes of a tree that does not prove healthy.

#[test]
fn a_tree_that_proves_nothing_can_be_left_live() {
    for (failing, step) in [("fail/selftest", "selftest"), ("fail/start", "start"), ("ill", "health")] {
        let world = World::service();
        if failing == "ill" {
            world.impatient().write("config/state", "ill\n");
        }
        world.good();
        world.write("config/state", "another\n").write("data/orders", "garbage\n");
        if failing != "ill" {
            world.write(failing, "");
        }
        let done = world.run("eco-restore").args(["latest", "--on-failure", "keep"]).exits(1).says("the new tree was left live");
        let restore = done.last("restore");
        assert_eq!((&restore["phase"], &restore["exit"]), (&json!("completed"), &json!(1)), "{done}");
        assert!(restore["error"].is_string() && done.step(step)["ok"] == false, "{done}");
        assert_eq!(world.read("data/orders"), "1\n2\n3\n");
        assert!(!steps(&done.records()).contains(&"swap-back".into()));
        let _ = fs::remove_file(world.path(failing));
        world.run("eco-restore").arg("--undo").exits(0);
        assert_eq!((world.read("data/orders"), world.read("config/state")), ("garbage\n".into(), "another\n".into()));
        assert!(world.pid().is_some());
    }
}

#[test]
fn that_a_tree_is_to_stay_live_survives_a_crash() {
    let world = World::service();
    world.good();
    world.write("config/state", "another\n");
    killed_in(&world, "bin/start", &["latest", "--on-failure=keep"]);
    world.write("fail/selftest", "");
    let done = world.run("eco-restore").arg("--recover").exits(1).says("the new tree was left live");
    assert_eq!((done.last("restore")["phase"].clone(), world.read("config/state")), ("completed".into(), "well\n".into()));
    world.run("eco-restore").args(["latest", "--on-failure", "perhaps"]).exits(2);
}
