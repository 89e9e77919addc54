//! What surrounds a rollback: several scopes at once, aborting, what a start may do meanwhile, and what becomes of the tree from
//! before.

use crate::harness::{Dice, Tree, World, not_shown, program};
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

// The guard: `eco-restore --recover --quiet` before the service starts.

/// Puts the guard in front of the start command, as a unit file would, and into the stop command, where a start would be wrong.
/// What it said is in `run/guard`.
fn guarded(world: &World) {
    let guard =
        |at: &str| format!("{} --recover --quiet >/dev/null 2>>run/said; code=$?; echo {at} $code >>run/guard", program("eco-restore").display());
    let start = world.read("bin/start").replacen("#!/bin/sh\n", &format!("#!/bin/sh\n{}\n[ $code = 0 ] || exit 1\n", guard("start")), 1);
    let stop = world.read("bin/stop");
    world.program("bin/start", &start).program("bin/stop", &format!("{}\n{}\n", stop.trim_end(), guard("stop")));
}

#[track_caller]
fn guard_said(world: &World, lines: &str) {
    assert_eq!(world.read("run/guard"), lines, "{}", world.read("run/said"));
    fs::remove_file(world.path("run/guard")).unwrap();
}

#[test]
fn the_start_of_a_rollback_passes_its_own_guard() {
    let world = World::service();
    guarded(&world);
    world.good();
    world.spoil();
    world.run("eco-restore").arg("latest").exits(0);
    guard_said(&world, "stop 7\nstart 0\n");
    assert!(world.read("run/said").contains("must not start now") && world.read("run/said").contains("eco-restore, pid"));
    world.run("eco-restore").arg("--undo").exits(0);
    guard_said(&world, "stop 7\nstart 0\n");
    world.write("fail/selftest", "");
    world.run("eco-restore").arg("latest").exits(5);
    guard_said(&world, "stop 7\nstart 0\nstop 7\nstart 0\n");
    fs::remove_file(world.path("fail/selftest")).unwrap();

    // A signal while the service is stopped: nothing was changed, and it starts again.
    let stop = world.read("bin/stop");
    world.program("bin/stop", &format!("{stop}kill -TERM $PPID\n"));
    for words in ["latest", "--undo"] {
        let before = roots(&world);
        world.run("eco-restore").arg(words).exits(3).says("interrupted");
        guard_said(&world, "stop 7\nstart 0\n");
        same(&before, &roots(&world));
        assert!(world.pid().is_some());
    }
}

#[test]
fn the_guard_finishes_what_was_interrupted_and_leaves_the_start_to_whoever_asked() {
    for (command, state) in [("bin/stop", "another\n"), ("bin/start", "well\n")] {
        let world = World::service();
        world.good();
        world.write("config/state", "another\n");
        killed_in(&world, command, &["latest"]);
        if let Some(pid) = world.pid() {
            world.shell(&format!("kill -9 {pid}"));
        }
        let done = world.run("eco-restore").args(["--recover", "--quiet"]).exits(0);
        assert_eq!((done.stderr.as_str(), world.read("config/state").as_str()), ("", state));
        assert!(world.pid().is_none() && !world.path(".eco/journal").exists());
    }
    // Going back is finished as well, and the service may start on the tree from before.
    let world = World::service();
    world.good();
    world.write("config/state", "another\n").write("fail/selftest", "");
    let stop = world.read("bin/stop");
    world.program("bin/stop", &format!("{stop}[ ! -e run/once ] || kill -KILL $PPID\n: >run/once\n"));
    world.run("eco-restore").arg("latest").exits(-9);
    assert_eq!(world.read("config/state"), "well\n");
    world.program("bin/stop", &stop).run("eco-restore").args(["--recover", "--quiet"]).exits(0);
    assert_eq!(world.read("config/state"), "another\n");

    world.write(".eco/journal", "half a line");
    world.run("eco-restore").args(["--recover", "--quiet"]).exits(6).says("journal");
}

#[test]
fn with_nothing_pending_the_guard_opens_two_files_and_writes_nothing() {
    let world = World::service();
    world.run("eco-restore").arg("--recover").exits(0);
    let trace = world.folder().join("trace");
    let run = world.run("strace").args(["-f", "-e", "trace=%file,%desc,flock"]).arg("-o").arg(&trace);
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run("strace").args(["-o", "/dev/null", "true"]).ran().code)).ok() != Some(0) {
        return not_shown("what the guard opens", "strace is missing or may not trace");
    }
    let done = run.arg(program("eco-restore")).args(["--recover", "--quiet"]).exits(0);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
    let calls = fs::read_to_string(trace).unwrap();
    let opened: Vec<&str> = calls.lines().filter(|line| line.contains("open")).collect();
    let own: Vec<&&str> = opened.iter().filter(|line| line.contains(world.root().to_str().unwrap()) || line.contains("eco")).collect();
    assert!(own.len() == 2 && own[0].contains("eco.toml") && own[1].contains(".eco/journal"), "{own:#?}");
    for word in ["O_WRONLY", "O_RDWR", "O_CREAT", "flock(", "mkdir", "rename", "unlink"] {
        assert!(!calls.contains(word), "{word}:\n{calls}");
    }
}

#[test]
fn the_guard_needs_neither_rights_nor_a_filesystem_that_can_be_written() {
    if !rustix::process::geteuid().is_root() {
        return not_shown("the guard as another user and on a filesystem that cannot be written", "it takes root");
    }
    let world = World::service();
    world.shell("chmod 711 ..");
    world.run("eco-restore").args(["--recover", "--quiet"]).user(65534).exits(0);
    assert!(!world.path(".eco").exists());
    let line = format!(
        "mount --bind . . && mount -o remount,bind,ro . && cd $PWD && ! touch x 2>/dev/null && exec {} --recover --quiet",
        program("eco-restore").display()
    );
    let done = world.run("unshare").args(["-m", "sh", "-c", &line]).ran();
    if done.stderr.contains("unshare:") || done.stderr.contains("mount:") {
        return not_shown("the guard on a filesystem that cannot be written", "nothing can be mounted here");
    }
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done}");
}

// What becomes of the tree from before.

/// What lies in the folder of the only rollback that can be undone.
fn kept(world: &World) -> Vec<String> {
    let folders = left(world);
    assert_eq!(folders.len(), 1, "{folders:?}");
    let names = fs::read_dir(world.path(".eco").join(&folders[0])).unwrap();
    let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The roots without what no rollback changes.
fn rolled(world: &World) -> [Tree; 3] {
    const STAY: [&str; 7] = ["cache.tmp", "metrics", "sub/day.log", "new", "new/week.log", "new/x.tmp", "sub"];
    roots(world).map(|root| root.without(&STAY))
}

#[test]
fn the_tree_from_before_becomes_a_safety_snapshot() {
    let world = World::service();
    let good = world.good();
    let was = rolled(&world);
    world.spoil();
    let broken = rolled(&world);
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    let (restore, snapshot, step) = (done.last("restore"), done.last("snapshot"), done.step("safety"));
    assert_eq!((&step["ok"], &snapshot["id"], &snapshot["kind"]), (&json!(true), &restore["safety"], &json!("safety")), "{done}");
    assert_eq!((&snapshot["mode"], &snapshot["base"]), (&json!("differential"), &good["id"]));
    assert_eq!((&snapshot["verified"], &snapshot["good"]), (&json!(true), &json!(false)));
    let order: Vec<String> = done.records().iter().rev().take(3).map(|record| record["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(order, ["step", "snapshot", "restore"], "the service is up before anything else is done");
    assert_eq!(kept(&world), ["undo"]);
    let listed = world.run("eco-ls").args(["--kind", "safety"]).exits(0).only();
    assert_eq!((&listed["id"], &listed["time"]), (&snapshot["id"], &snapshot["time"]));
    for selector in ["latest", "latest-good"] {
        assert_eq!(world.run("eco-ls").arg(selector).exits(0).only()["id"], good["id"]);
    }

    // Back, and forth, and back, each from what was kept of the one before.
    let mut undoes = restore["id"].clone();
    for (turn, wanted) in [&broken, &was, &broken].into_iter().enumerate() {
        let done = world.run("eco-restore").arg("--undo").exits(0);
        let undone = done.last("restore");
        assert_eq!((&undone["undoes"], &undone["phase"], &undone["by"]), (&undoes, &json!("completed"), &json!("operator")), "{done}");
        same(wanted, &rolled(&world));
        assert_eq!((world.read("data/metrics/2026-04"), world.read("data/sub/day.log")), ("d\n".into(), "one\ntwo\n".into()));
        assert_eq!(left(&world).len(), turn + 2);
        assert!(world.pid().is_some());
        undoes = undone["id"].clone();
    }
    // An older one, by its name; and by hand.
    world.run("eco-restore").args(["latest", "--scope", "full"]).exits(0);
    same(&was, &rolled(&world));
    world.run("eco-restore").args(["--undo", restore["id"].as_str().unwrap()]).exits(0);
    same(&broken, &rolled(&world));
    world.run("eco-restore").arg(good["id"].as_str().unwrap()).exits(0);
    let done = world.run("eco-restore").arg("latest:safety").exits(0);
    same(&broken, &rolled(&world));
    assert_eq!(done.last("restore")["undoes"], Value::Null);
}

#[test]
fn an_undo_from_a_snapshot_stands_even_if_it_is_ill() {
    let world = World::service();
    world.good();
    world.write("config/state", "ill\n");
    world.run("eco-restore").arg("latest").exits(0);
    assert_eq!(kept(&world), ["undo"]);
    world.impatient();
    let plan = world.run("eco-restore").args(["--undo", "--dry-run"]).exits(0).last("plan");
    assert_eq!(plan["verify"], json!(["health is reported and decides nothing"]));
    let done = world.run("eco-restore").arg("--undo").exits(0).says("is back as it was");
    assert_eq!((world.read("config/state"), done.step("health")["ok"].clone()), ("ill\n".into(), json!(false)));
}

#[test]
fn where_a_snapshot_would_have_to_be_a_full_one_the_tree_stays() {
    let world = World::service();
    world.at("2026-03-01T10:00:00Z");
    world.good();
    world.at("2026-03-01T11:00:00Z").write("config/state", "another\n");
    let done = world.run("eco-restore").args(["latest", "--scope", "config"]).exits(0);
    let step = done.step("safety");
    assert_eq!(step["ok"], Value::Null);
    let note = step["note"].as_str().unwrap();
    assert!(note.contains("stays where it is until 2026-03-08T11:00:00Z: no differential snapshot"), "{note}");
    assert_eq!((kept(&world), done.all("snapshot").len()), (vec!["tree".to_owned(), "undo".into()], 0));
    world.run("eco-restore").arg("--undo").exits(0);
    assert_eq!(world.read("config/state"), "another\n");

    // More has changed than half of the full one is long.
    let world = World::service();
    world.good();
    let mut dice = Dice::new(7);
    world.write("data/big", (0..200_000).map(|_| dice.roll(256) as u8).collect::<Vec<u8>>());
    let (big, done) = (world.tree("data"), world.run("eco-restore").arg("latest").exits(0));
    assert!(done.step("safety")["note"].as_str().unwrap().contains("half of the full one"), "{done}");
    assert_eq!(fs::read_dir(world.store().join("shop-safety")).unwrap().count(), 0);
    world.run("eco-restore").arg("--undo").exits(0);
    big.only("big").same_as(&world.tree("data").only("big"));
}

#[test]
fn without_a_store_that_takes_it_the_tree_stays_and_the_rollback_is_as_good() {
    let world = World::service();
    let path = world.good()["path"].as_str().unwrap().to_owned();
    world.write("config/state", "another\n");
    fs::write(world.store().join("shop-safety"), "no folder").unwrap();
    let done = world.run("eco-restore").arg("latest").exits(0);
    assert!(done.step("safety")["ok"].is_null() && done.step("safety")["note"].as_str().unwrap().contains("shop-safety"), "{done}");
    let toml = world.read("eco.toml").lines().filter(|line| !line.starts_with("store")).collect::<Vec<_>>().join("\n");
    world.write("eco.toml", toml).write("config/state", "a third\n");
    let done = world.run("eco-restore").arg(path).exits(0);
    assert!(done.step("safety")["note"].as_str().unwrap().ends_with("there is no store"), "{done}");
    world.run("eco-restore").arg("--undo").exits(0);
    assert_eq!(world.read("config/state"), "a third\n");
}

#[test]
fn a_safety_snapshot_that_is_gone_is_said_to_be() {
    let world = World::service();
    world.good();
    world.write("config/state", "another\n");
    world.run("eco-restore").arg("latest").exits(0);
    fs::remove_dir_all(world.store().join("shop-safety")).unwrap();
    world.run("eco-restore").arg("--undo").exits(1).says("no snapshot");
    assert_eq!(world.read("config/state"), "well\n");
}

#[test]
fn what_is_kept_goes_when_its_time_is_over_and_what_a_crash_left_goes_with_it() {
    let world = World::service();
    world.at("2026-03-01T10:00:00Z");
    world.good();
    let config = |state: &str| {
        world.write("config/state", state);
        world.run("eco-restore").args(["latest-good", "--scope", "config"]).exits(0).last("restore")["id"].as_str().unwrap().to_owned()
    };
    let first = config("first\n");
    world.at("2026-03-08T10:00:00Z");
    let second = config("second\n");
    assert_eq!(left(&world).len(), 2, "seven days are not over");
    // Half removed, by a run that was killed: nobody may take that for a tree.
    fs::rename(world.path(".eco").join(&first).join("tree"), world.path(".eco").join(&first).join("trash")).unwrap();
    world.run("eco-restore").args(["--undo", &first]).exits(1).says("there is no rollback");
    fs::create_dir_all(world.path(".eco/gone/trash/x")).unwrap();
    world.at("2026-03-08T10:00:01Z");
    let third = config("third\n");
    let mut now = left(&world);
    now.sort();
    assert_eq!(now, [second, third]);
}
