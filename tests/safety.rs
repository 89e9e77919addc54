//! What surrounds a rollback: several scopes at once, aborting, what a start may do meanwhile, and what becomes of the tree from
//! before.

use crate::harness::{Tree, World};
use serde_json::{Value, json};

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

    std::fs::remove_file(world.path("run/units")).unwrap();
    world.run("eco-restore").args(["-s", "automation:a", "-s", "experiment:b"]).exits(3).says("experiment:b");
    assert_eq!(world.read("run/units"), "disable a\nstop b\nenable a\n");
    world.run("eco-restore").args(["-s", "automation:a", "-s", "automation:c"]).exits(0);
    assert_eq!(world.read("run/units"), "disable a\nstop b\nenable a\ndisable a\ndisable c\n");
}
