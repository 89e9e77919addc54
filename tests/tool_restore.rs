//! eco-restore, for real: flags, exit codes, and what is on the disk afterwards, down to the nanosecond.

use crate::harness::{Tree, World, latin1, not_shown, program};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

const ROOTS: [&str; 3] = ["config", "data", "modules"];

/// Every byte and attribute of the roots.
fn roots(world: &World) -> [Tree; 3] {
    ROOTS.map(|root| world.tree(root))
}

#[track_caller]
fn same(before: &[Tree; 3], after: &[Tree; 3]) {
    before.iter().zip(after).for_each(|(before, after)| before.same_as(after));
}

/// Paths of `data` that a rollback leaves as they are: what is preserved and what is left out.
const STAY: [&str; 8] = ["cache.tmp", "metrics", "sub/day.log", "new", "new/week.log", "new/x.tmp", "sub/late.log", "later"];

/// The roots are as they were at the snapshot, and what is preserved is as it was before the rollback.
#[track_caller]
fn rolled_back(snapshot: &[Tree; 3], before: &[Tree; 3], after: &[Tree; 3]) {
    snapshot[0].same_as(&after[0]);
    snapshot[1].without(&STAY).same_as(&after[1].without(&STAY));
    snapshot[2].same_as(&after[2]);
    kept(&before[1], &after[1]);
}

#[track_caller]
fn kept(before: &Tree, after: &Tree) {
    for name in ["cache.tmp", "metrics/2026-03", "metrics/2026-04", "metrics/old", "sub/day.log", "new/week.log", "new/x.tmp"] {
        assert!(before.has(name), "{name} is missing in the test itself");
        before.only(name).same_as(&after.only(name));
    }
}

/// A decision as eco-decide writes it.
fn decision(id: &str, action: &str, scope: &str, snapshot: Option<&Value>) -> Value {
    json!({"type": "decision", "time": "2026-03-01T10:00:00Z", "id": id, "incident": "i1", "severity": "critical", "action": action,
        "scope": scope, "snapshot": snapshot, "cut": "2999-01-01T00:00:00Z", "reasons": [], "suspects": []})
}

fn stream<'a>(records: impl IntoIterator<Item = &'a Value>) -> String {
    records.into_iter().map(|record| format!("{record}\n")).collect()
}

/// What of ours is left in the tree.
fn ours(world: &World) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(world.path(".eco")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Nothing is pending, nothing was left behind but memory and one folder for each rollback that can be undone.
#[track_caller]
fn tidy(world: &World, undoable: usize) {
    let names = ours(world);
    let known = names.iter().filter(|name| ["lock", "memory"].contains(&name.as_str())).count();
    assert_eq!(names.len(), known + undoable, "{names:?}");
    let trial = world.tree("").names().into_iter().find(|path| path.to_string_lossy().contains(".eco-trial"));
    assert_eq!(trial, None);
}

// Scopes.

#[test]
fn hazard_07_a_full_rollback_puts_everything_back_and_keeps_what_is_preserved() {
    let world = World::service();
    let (snapshot, was) = (world.good(), roots(&world));
    world.spoil();
    let (broken, pid) = (roots(&world), world.pid());
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    rolled_back(&was, &broken, &roots(&world));
    let (plan, restore) = (done.last("plan"), done.last("restore"));
    assert_eq!(restore["phase"], "completed");
    assert_eq!(restore["snapshot"], snapshot["id"]);
    assert_eq!(restore["by"], "operator");
    assert_eq!(plan["roots"], json!(["config", "data", "modules/recommend", "modules/ui"]));
    for count in ["created", "updated", "deleted", "kept"] {
        assert_eq!(plan[count], restore[count]);
        assert!(restore[count].as_u64().unwrap() > 0, "{count}: {restore}");
    }
    let steps: Vec<String> = done.all("step").iter().map(|step| step["step"].as_str().unwrap().to_owned()).collect();
    assert_eq!(steps, ["preflight", "stage", "flush", "check", "stop", "swap", "carry", "start", "health", "process", "selftest", "safety"]);
    assert!(done.all("step").iter().all(|step| step["ok"] == true), "{done}");
    assert!(world.pid().is_some() && world.pid() != pid, "the service runs, and is another process");
    tidy(&world, 1);
}

#[test]
fn a_rollback_of_the_configuration_leaves_everything_else_alone() {
    let world = World::service();
    world.good();
    let was = roots(&world);
    world.spoil();
    let broken = roots(&world);
    world.run("eco-restore").args(["latest", "--scope", "config"]).exits(0);
    same(&[was[0].clone(), broken[1].clone(), broken[2].clone()], &roots(&world));
}

#[test]
fn a_rollback_of_a_module_restores_exactly_its_roots_and_switches_it_off_meanwhile() {
    let world = World::service();
    world.good();
    let was = roots(&world);
    world.spoil();
    world.write("data/recommend/pairs", "broken\n").write("modules/ui/code", "newer\n");
    let broken = roots(&world);
    let done = world.run("eco-restore").args(["latest-good", "--scope", "module:recommend"]).exits(0);
    let now = roots(&world);
    broken[0].same_as(&now[0]);
    broken[1].without(&["recommend"]).same_as(&now[1].without(&["recommend"]));
    was[1].only("recommend").same_as(&now[1].only("recommend"));
    was[2].only("recommend").same_as(&now[2].only("recommend"));
    broken[2].only("ui").same_as(&now[2].only("ui"));
    assert_eq!(world.read("run/units"), "disable recommend\nenable recommend\n");
    assert_eq!(done.last("plan")["roots"], json!(["data/recommend", "modules/recommend"]));
}

#[test]
fn a_decision_brings_no_archive_along() {
    let world = World::service();
    let elsewhere = world.folder().join("elsewhere.tar.gz");
    fs::copy(world.good()["path"].as_str().unwrap(), &elsewhere).unwrap();
    world.spoil();
    let broken = roots(&world);
    let said = stream([&decision("i1-1", "rollback", "full", Some(&json!(elsewhere)))]);
    world.run("eco-restore").stdin(&said).exits(4).says("is no id of a snapshot in the store");
    same(&broken, &roots(&world));
}

#[test]
fn hazard_12_units_without_files_are_switched_off_by_their_command_and_nothing_is_stopped() {
    let world = World::service();
    let (was, pid) = (roots(&world), world.pid());
    for (scope, did) in [("automation:nightly", "disable nightly\n"), ("optimization:cache", "revert cache\n"), ("experiment:blue", "stop blue\n")] {
        let done = world.run("eco-restore").args(["--scope", scope]).exits(0);
        assert_eq!((done.last("restore")["phase"].clone(), done.last("restore")["strategy"].clone()), ("completed".into(), "command".into()));
        assert_eq!(world.read("run/units"), did);
        fs::remove_file(world.path("run/units")).unwrap();
    }
    assert_eq!(world.pid(), pid);
    same(&was, &roots(&world));
    world.write("fail/disable", "");
    let failed = world.run("eco-restore").args(["--scope", "automation:nightly"]).exits(3);
    assert_eq!(failed.last("restore")["phase"], "failed");
}

#[test]
fn an_unknown_scope_or_selector_is_told_apart() {
    let world = World::service();
    world.good();
    world.run("eco-restore").args(["latest", "--scope", "module:nobody"]).exits(2).says("its modules are: recommend, ui");
    world.run("eco-restore").args(["latest", "--scope", "everything"]).exits(2);
    world.run("eco-restore").args(["latest", "--scope", "automation:nightly"]).exits(2);
    world.run("eco-restore").arg("latest:weekly").exits(1).says("no snapshot 'latest:weekly'");
    world.run("eco-restore").arg("no/such/archive.tar.gz").exits(3).says("no/such/archive.tar.gz");
    world.run("eco-restore").args(["latest", "--undo"]).exits(2);
    assert!(!world.path("run/units").exists());
}

// Decisions on the stream.

#[test]
fn a_decision_is_carried_out_once() {
    let world = World::service();
    let (snapshot, was) = (world.good(), roots(&world));
    world.spoil();
    let broken = roots(&world);
    let input = stream(&[
        json!({"type": "health", "time": "2026-03-01T10:00:00Z", "up": false}),
        decision("i1/1", "rollback", "full", Some(&snapshot["id"])),
    ]);
    let done = world.run("eco-restore").stdin(&input).exits(0);
    assert!(done.stdout.starts_with(&input), "the input is forwarded first\n{done}");
    let restore = done.last("restore");
    assert_eq!((&restore["decision"], &restore["phase"], &restore["by"]), (&json!("i1/1"), &json!("completed"), &Value::Null));
    rolled_back(&was, &broken, &roots(&world));

    world.spoil();
    let (broken, pid) = (roots(&world), world.pid());
    let again = world.run("eco-restore").stdin(&input).exits(0).says("was carried out before");
    assert_eq!((again.stdout.as_str(), again.stderr.lines().count()), (input.as_str(), 1));
    same(&broken, &roots(&world));
    assert_eq!(world.pid(), pid);
    world.run("eco-restore").arg("--again").stdin(&input).exits(0).last("restore");
    rolled_back(&was, &broken, &roots(&world));
}

#[test]
fn a_proposal_waits_for_a_person() {
    let world = World::service();
    let (snapshot, was) = (world.good(), roots(&world));
    world.spoil();
    let broken = roots(&world);
    let word = |verb: &str, of: Option<&str>| json!({"type": "operator", "time": "2026-03-01T10:01:00Z", "do": verb, "decision": of});
    let propose = decision("i1/1", "propose", "config", Some(&snapshot["id"]));
    let alone = world.run("eco-restore").stdin(stream([&propose])).exits(0).says("--approve");
    assert_eq!(alone.stdout, stream([&propose]));
    for words in [vec![word("reject", None), word("approve", None)], vec![word("approve", Some("another"))]] {
        let input = stream(&[vec![propose.clone()], words].concat());
        assert_eq!(world.run("eco-restore").stdin(&input).exits(0).stdout, input);
    }
    same(&broken, &roots(&world));

    let done = world.run("eco-restore").stdin(stream(&[propose.clone(), word("approve", Some("i1/1"))])).exits(0);
    assert_eq!(done.last("restore")["by"], "operator");
    was[0].same_as(&world.tree("config"));
    let once = world.run("eco-restore").arg("--approve").stdin(stream(&[propose])).exits(0).says("was carried out before");
    assert!(once.all("restore").is_empty());
    let other = decision("i1/2", "propose", "data", None);
    world.run("eco-restore").arg("--approve").stdin(stream(&[other])).exits(3).says("line 1");
    let full = decision("i1/3", "propose", "full", None);
    world.run("eco-restore").args(["--approve", "--only"]).stdin(stream(&[full])).exits(0).last("restore");
    rolled_back(&was, &broken, &roots(&world));
}

#[test]
fn an_answer_to_a_paused_rollout_is_no_yes_to_a_rollback() {
    let world = World::service();
    let (snapshot, was) = (world.good(), roots(&world));
    world.spoil();
    let broken = roots(&world);
    let word = |verb: &str, of: Option<&str>| json!({"type": "operator", "time": "2026-03-01T10:01:00Z", "do": verb, "decision": of});
    let propose = decision("i1/1", "propose", "config", Some(&snapshot["id"]));
    let mut asked = decision("rollout-r7-1-propose", "propose", "config", None);
    (asked["incident"], asked["notes"]) = (json!("rollout-r7"), json!(["no-data", "store", "rollout"]));
    let mut reminder = asked.clone();
    (reminder["id"], reminder["reminder"]) = (json!("rollout-r7-1-propose-again"), json!(true));
    let run = |lines: &[Value]| world.run("eco-restore").arg("--only").stdin(stream(lines)).exits(0);
    for words in [
        vec![asked.clone(), word("approve", None)],
        vec![asked.clone(), word("approve", Some("rollout-r7-1-propose"))],
        vec![asked.clone(), reminder.clone(), word("approve", Some("rollout-r7-1-propose-again"))],
        vec![propose.clone(), asked.clone(), word("approve", None)],
        vec![propose.clone(), asked.clone(), word("approve", None), word("approve", None)],
        vec![propose.clone(), asked.clone(), word("approve", Some("rollout-r7-1-propose"))],
    ] {
        let ran = run(&words);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("eco-ctl resume lets it go on"), "{ran}");
    }
    run(&[propose.clone(), asked.clone(), word("approve", None)]).says("decision i1/1 stays open: eco-ctl approve i1/1");
    let shown = world.run("eco-restore").arg("--human").stdin(stream(&[asked.clone()])).exits(0);
    assert!(shown.stdout.contains("eco-ctl resume goes on, eco-ctl reject rollout-r7-1-propose rolls back"), "{shown}");
    same(&broken, &roots(&world));
    // The other question is still there, and a yes to it is one.
    let done = run(&[propose, asked, word("approve", Some("i1/1"))]);
    assert_eq!((&done.last("restore")["decision"], &done.last("restore")["by"]), (&json!("i1/1"), &json!("operator")));
    was[0].same_as(&world.tree("config"));
}

#[test]
fn other_actions_pass_by() {
    let world = World::service();
    let snapshot = world.good();
    let input = stream(&["watch", "investigate", "escalate", "resolved"].map(|action| decision(action, action, "full", Some(&snapshot["id"]))));
    let pid = world.pid();
    assert_eq!(world.run("eco-restore").stdin(&input).exits(0).stdout, input);
    assert_eq!(world.pid(), pid);
}

#[test]
fn a_decision_without_a_snapshot_takes_the_newest_good_one_before_its_cut() {
    let world = World::service();
    let wanted = world.at("2026-03-01T08:00:00Z").good();
    world.at("2026-03-01T08:30:00Z").run("eco-snap").exits(0);
    world.at("2026-03-01T09:00:00Z").good();
    let mut order = decision("i1/1", "rollback", "full", None);
    order["cut"] = json!("2026-03-01T08:59:00Z");
    let done = world.at("2026-03-01T10:00:00Z").run("eco-restore").stdin(stream([&order])).exits(0);
    assert_eq!(done.last("restore")["snapshot"], wanted["id"]);
    assert_eq!(done.last("restore")["data_loss_s"], 7200);
    (order["id"], order["cut"]) = (json!("i1/2"), json!("2026-03-01T07:00:00Z"));
    world.run("eco-restore").stdin(stream(&[order])).exits(4).says("no good snapshot of full at or before 2026-03-01T07:00:00Z");
}

#[test]
fn a_snapshot_that_failed_before_is_not_chosen_again() {
    let world = World::service();
    let older = world.at("2026-03-01T08:00:00Z").good();
    world.write("config/state", "ill\n");
    world.at("2026-03-01T09:00:00Z").good();
    world.write("config/state", "well\n");
    world.impatient().at("2026-03-01T10:00:00Z").run("eco-restore").stdin(stream(&[decision("i1/1", "rollback", "full", None)])).exits(5);
    world.write("eco.toml", world.read("eco.toml").replace("100ms", "10s"));
    let done = world.run("eco-restore").stdin(stream(&[decision("i1/2", "rollback", "full", None)])).exits(0);
    assert_eq!(done.last("restore")["snapshot"], older["id"]);
}

#[test]
fn the_latest_good_one_is_the_latest_that_holds_what_is_rolled_back() {
    let world = World::service();
    let whole = world.at("2026-03-01T08:00:00Z").good();
    let part = world.at("2026-03-01T09:00:00Z").run("eco-snap").args(["--good", "config"]).exits(0).last("snapshot").clone();
    let restored = |words: &str| world.run("eco-restore").args(words.split(' ')).exits(0).last("restore")["snapshot"].clone();
    assert_eq!(restored("latest-good"), whole["id"]);
    assert_eq!(restored("latest-good --scope config"), part["id"]);
}

#[test]
fn a_decision_about_another_ecosystem_passes_by() {
    let world = World::service();
    let snapshot = world.good();
    world.spoil();
    let before = world.tree("config");
    let about = |id: &str, action: &str, whose: &str| {
        let mut said = decision(id, action, "config", Some(&snapshot["id"]));
        said["ecosystem"] = json!(whose);
        said
    };
    let theirs = [about("i1/1", "rollback", "mail"), about("i1/2", "propose", "mail"), about("i2/1", "watch", "news")];
    let approve = json!({"type": "operator", "time": "2026-03-01T10:01:00Z", "ecosystem": "mail", "do": "approve"});
    let input = stream(&[theirs.as_slice(), &[approve]].concat());
    let ran = world.run("eco-restore").arg("--approve").stdin(&input).exits(0).says("decisions about 'mail' pass by: this is 'shop'");
    assert_eq!(ran.stdout, input, "they are passed on, and nothing is added");
    assert_eq!(ran.stderr.matches("pass by").count(), 1, "{ran}");
    before.same_as(&world.tree("config"));
    // Ours is heard in between, and so is one that names nobody.
    let input = stream(&[theirs[0].clone(), about("i1/3", "rollback", "shop"), decision("i1/4", "rollback", "config", Some(&snapshot["id"]))]);
    let done = world.run("eco-restore").stdin(input).exits(0).all("restore");
    let carried_out: Vec<&Value> = done.iter().filter(|restore| restore["phase"] == "completed").map(|restore| &restore["decision"]).collect();
    assert_eq!(carried_out, ["i1/3", "i1/4"]);
}

#[test]
fn one_decision_that_cannot_be_carried_out_does_not_silence_the_next() {
    let world = World::service();
    let snapshot = world.good();
    let input = stream(&[
        decision("i1/1", "rollback", "module:nobody", Some(&snapshot["id"])),
        decision("i1/2", "rollback", "config", Some(&snapshot["id"])),
    ]);
    let done = world.run("eco-restore").stdin(input).exits(2);
    assert_eq!(done.last("restore")["decision"], "i1/2");
    assert_eq!(done.last("restore")["phase"], "completed");
}

// A snapshot on the stream.

#[test]
fn with_a_scope_the_stream_names_the_snapshot() {
    let world = World::service();
    let snapshot = world.good();
    let was = roots(&world);
    world.spoil();
    let broken = roots(&world);
    let ran = world.pipe(["eco-ls latest-good", "eco-verify", "eco-restore --scope config"]).exits([0, 0, 0]);
    assert_eq!((&ran.last("restore")["snapshot"], &ran.last("verification")["ok"]), (&snapshot["id"], &json!(true)));
    same(&[was[0].clone(), broken[1].clone(), broken[2].clone()], &roots(&world));
    world.pipe(["eco-verify", "eco-restore --scope full"]).stdin(stream([&snapshot])).exits([0, 0]);
    rolled_back(&was, &broken, &roots(&world));
    let twice = stream(&[snapshot.clone(), snapshot.clone()]);
    world.run("eco-restore").args(["--scope", "full"]).stdin(twice).exits(4).says("exactly one snapshot");
    world.run("eco-restore").args(["--scope", "full"]).stdin("").exits(4).says("there are 0");
    world.run("eco-restore").args(["--scope", "full"]).exits(4);
}

#[test]
fn a_failed_verification_on_the_stream_stops_everything() {
    let world = World::service();
    let snapshot = world.good();
    damage(Path::new(snapshot["path"].as_str().unwrap()));
    let (was, pid) = (roots(&world), world.pid());
    let ran = world.pipe(["eco-ls latest-good", "eco-verify", "eco-restore --scope full"]).exits([0, 1, 4]).says("did not pass its verification");
    assert!(ran.all("plan").is_empty());
    same(&was, &roots(&world));
    assert_eq!(world.pid(), pid);
}

/// Changes bytes in the middle of an archive.
fn damage(archive: &Path) {
    let mut bytes = fs::read(archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 16].fill(0x5a);
    fs::write(archive, bytes).unwrap();
}

// Dry runs, undo, recovery, the lock.

#[test]
fn a_dry_run_changes_nothing() {
    let world = World::service();
    let snapshot = world.good();
    world.spoil();
    let (before, pid) = (world.tree(""), world.pid());
    let done = world.run("eco-restore").args(["latest-good", "--dry-run"]).exits(0);
    assert_eq!(done.only()["type"], "plan");
    let input = stream(&[decision("i1/1", "rollback", "full", Some(&snapshot["id"]))]);
    assert_eq!(world.run("eco-restore").args(["--dry-run", "--only"]).stdin(input).exits(0).only()["type"], "plan");
    world.run("eco-restore").args(["--scope", "automation:a", "--dry-run"]).exits(0);
    world.run("eco-restore").args(["--undo", "--dry-run"]).exits(1);
    before.same_as(&world.tree(""));
    assert_eq!(world.pid(), pid);
}

#[test]
fn an_undo_brings_the_tree_from_before_back_and_can_be_undone() {
    let world = World::service();
    world.good();
    let was = roots(&world);
    world.spoil();
    let broken = roots(&world);
    let first = world.run("eco-restore").arg("latest-good").exits(0).last("restore");
    // What is preserved goes on growing, in places that nobody has seen before, too.
    world.write("data/metrics/2026-04", "d\ne\n").write("data/sub/late.log", "late\n").write("data/later/x.log", "x\n");
    let grown = world.tree("data");
    let undone = world.run("eco-restore").arg("--undo").exits(0).last("restore");
    assert_eq!((&undone["undoes"], &undone["phase"]), (&first["id"], &json!("completed")));
    let now = roots(&world);
    broken[0].same_as(&now[0]);
    broken[2].same_as(&now[2]);
    broken[1].without(&STAY).same_as(&now[1].without(&STAY));
    for name in ["metrics/2026-03", "metrics/2026-04", "sub/day.log", "sub/late.log", "later/x.log", "new/week.log", "cache.tmp"] {
        grown.only(name).same_as(&now[1].only(name));
    }
    broken[1].only("new/thing").same_as(&now[1].only("new/thing"));
    assert!(world.pid().is_some());

    let again = world.run("eco-restore").arg("--undo").exits(0).last("restore");
    assert_eq!(again["undoes"], undone["id"]);
    was[0].same_as(&world.tree("config"));
    grown.same_as(&world.tree("data"));
    tidy(&world, 3);
}

#[test]
fn an_undo_is_of_the_rollback_that_is_named() {
    let world = World::service();
    world.run("eco-restore").arg("--undo").exits(1).says("there is no rollback of");
    world.good();
    world.write("config/state", "first\n");
    let first = world.run("eco-restore").args(["latest", "--scope", "config"]).exits(0).last("restore");
    world.write("modules/ui/code", "second\n");
    world.run("eco-restore").args(["latest", "--scope", "module:ui"]).exits(0);
    world.run("eco-restore").args(["--undo", "no-such-id"]).exits(1).says("'no-such-id'");
    let id = first["id"].as_str().unwrap();
    world.run("eco-restore").args(["--undo", &id[id.len() - 6..]]).exits(0);
    assert_eq!((world.read("config/state"), world.read("modules/ui/code")), ("first\n".into(), "u\n".into()));
}

#[test]
fn an_undo_stands_even_if_the_tree_from_before_is_ill() {
    let world = World::service();
    world.good();
    world.write("config/state", "ill\n");
    world.run("eco-restore").arg("latest-good").exits(0);
    let done = world.impatient().run("eco-restore").arg("--undo").exits(0).says("is back as it was");
    assert_eq!(world.read("config/state"), "ill\n");
    assert_eq!(done.step("health")["ok"], false);
}

#[test]
fn with_nothing_pending_there_is_nothing_to_recover() {
    let world = World::service();
    let done = world.run("eco-restore").arg("--recover").exits(0).says("nothing to recover");
    assert_eq!(done.stdout, "");
}

#[test]
fn hazard_17_the_second_one_is_told_who_holds_the_lock() {
    let world = World::service();
    let snapshot = world.good();
    // It stays in its start command until the test lets go.
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("run/gate"), 0o600.into()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("run/here"), 0o600.into()).unwrap();
    let start = world.read("bin/start");
    world.program("bin/start", &format!("{}\necho >run/here; read line <run/gate\n", start.trim_end()));
    let first = world.run("eco-restore").arg("latest-good").command().stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut first = first.unwrap();
    fs::read(world.path("run/here")).unwrap();
    let names = format!("eco-restore, pid {}, since", first.id());
    for words in [vec!["latest-good"], vec!["--undo"], vec!["--recover"], vec!["--scope", "automation:a"]] {
        let second = world.run("eco-restore").args(words).exits(7).says(&names);
        assert_eq!(second.stdout, "");
    }
    let input = stream(&[decision("i1/1", "rollback", "full", Some(&snapshot["id"]))]);
    world.run("eco-restore").stdin(input).exits(7);
    world.run("eco-snap").exits(3).says("eco-restore --recover");
    fs::write(world.path("run/gate"), "\n").unwrap();
    assert!(first.wait().unwrap().success());
    world.run("eco-restore").arg("--recover").exits(0);
}

#[test]
fn hazard_17_of_two_at_once_one_does_it_and_the_other_leaves_it() {
    let world = World::service();
    let snapshot = world.good();
    let was = roots(&world);
    world.spoil();
    let broken = roots(&world);
    let input = stream(&[decision("i1/1", "rollback", "full", Some(&snapshot["id"]))]);
    let both = std::thread::scope(|scope| {
        let one = || scope.spawn(|| world.run("eco-restore").stdin(&input).ran());
        [one(), one()].map(|ran| ran.join().unwrap())
    });
    let mut codes = both.each_ref().map(|ran| ran.code);
    codes.sort_unstable();
    assert!(codes == [0, 7] || codes == [0, 0], "{} {}", both[0], both[1]);
    let done: usize = both.iter().map(|ran| ran.all("restore").iter().filter(|restore| restore["phase"] == "completed").count()).sum();
    assert_eq!(done, 1, "{} {}", both[0], both[1]);
    rolled_back(&was, &broken, &roots(&world));
    tidy(&world, 1);
}

#[test]
fn after_a_crash_the_next_run_finishes_first_what_was_begun() {
    let world = World::service();
    world.good();
    let was = roots(&world);
    world.spoil();
    let broken = roots(&world);
    let start = world.read("bin/start");
    for fifo in ["run/here", "run/gate"] {
        rustix::fs::mkfifoat(rustix::fs::CWD, world.path(fifo), 0o600.into()).unwrap();
    }
    world.program("bin/start", "#!/bin/sh\necho >run/here; read line <run/gate\n");
    let mut killed = world.run("eco-restore").arg("latest-good").command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    fs::read(world.path("run/here")).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    for pid in world.processes() {
        world.shell(&format!("kill -9 {pid}"));
    }
    world.program("bin/start", &start);

    let before = world.tree("");
    world.run("eco-restore").args(["latest-good", "--dry-run"]).exits(6).says("run eco-restore --recover first");
    world.run("eco-snap").exits(3).says("run eco-restore --recover first");
    before.same_as(&world.tree(""));
    let done = world.run("eco-restore").args(["latest-good", "--scope", "config"]).exits(0).says("had been interrupted and is finished now");
    let phases: Vec<Value> = done.all("restore").iter().map(|restore| json!([restore["scope"], restore["phase"]])).collect();
    assert_eq!(phases, [json!(["full", "completed"]), json!(["config", "started"]), json!(["config", "completed"])]);
    rolled_back(&was, &broken, &roots(&world));
    assert!(world.pid().is_some());
    tidy(&world, 2);
}

#[test]
fn a_journal_that_cannot_be_understood_stops_everything() {
    let world = World::service();
    let snapshot = world.good();
    world.run("eco-restore").arg("--recover").exits(0);
    for journal in ["", "half a line", "0123\n{}\n"] {
        world.write(".eco/journal", journal);
        let before = everything(&world);
        for words in [vec!["latest"], vec!["--undo"], vec!["--recover"], vec!["latest", "--dry-run"]] {
            world.run("eco-restore").args(words).exits(6).says("journal");
        }
        let input = stream(&[decision("i1/1", "rollback", "full", Some(&snapshot["id"]))]);
        world.run("eco-restore").stdin(input).exits(6);
        before.0.same_as(&everything(&world).0);
        assert_eq!(before.1, world.pid());
    }
}

/// Everything but what a run that is refused may write: who holds the lock.
fn everything(world: &World) -> (Tree, Option<u32>) {
    (world.tree("").without(&["", ".eco/lock"]).but_for_times_of_folders(), world.pid())
}

#[test]
fn a_root_that_somebody_else_replaces_meanwhile_stops_the_rollback() {
    let world = World::service();
    world.good();
    world.spoil();
    // While the service is stopped, somebody else puts another folder in the place of a root.
    let stop = world.read("bin/stop");
    world.program("bin/stop", &format!("{}\nmv config elsewhere; mkdir config\n", stop.trim_end()));
    let done = world.run("eco-restore").arg("latest").exits(4).says("somebody else has replaced it");
    assert_eq!(done.last("restore")["phase"], "failed");
    assert_eq!((world.read("elsewhere/state"), world.read("data/orders")), ("well, but wrong\n".into(), "garbage\n".into()));
    assert!(world.pid().is_some());
    tidy(&world, 0);
    // Whoever it was has gone: the next one finds a tree that stands still.
    world.program("bin/stop", &stop).run("eco-restore").arg("latest").exits(0);
    assert_eq!((world.read("config/state"), world.read("data/orders")), ("well\n".into(), "1\n2\n3\n".into()));
}

#[test]
fn without_control_the_service_is_left_alone() {
    let world = World::service();
    world.good();
    let was = roots(&world);
    world.spoil();
    let (broken, pid) = (roots(&world), world.pid());
    let done = world.run("eco-restore").args(["latest", "--no-control"]).exits(0);
    for step in ["stop", "start", "health"] {
        let step = done.step(step);
        assert!(step["ok"].is_null() && step["note"].as_str().unwrap().starts_with("not checked"), "{step}");
    }
    assert_eq!(done.last("restore")["downtime_ms"], Value::Null);
    rolled_back(&was, &broken, &roots(&world));
    assert_eq!(world.pid(), pid);
}

#[test]
fn a_tree_without_a_service_is_rolled_back_and_says_what_was_not_checked() {
    let world = World::new();
    world.write("data/a", "one\n").write("config/b", "one\n");
    world.good();
    world.write("data/a", "two\n");
    let done = world.run("eco-restore").arg("latest").exits(0);
    for step in ["stop", "start", "health", "selftest"] {
        assert!(done.step(step)["note"].as_str().unwrap().starts_with("not checked"), "{done}");
    }
    assert_eq!(world.read("data/a"), "one\n");
}

// Whose archive, and what kind.

#[test]
fn an_archive_of_another_ecosystem_needs_a_word() {
    let (world, other) = (World::service(), World::service());
    let toml = other.read("eco.toml").replace("name = \"shop\"", "name = \"bakery\"");
    other.write("eco.toml", toml).write("config/state", "of the bakery\n");
    let theirs = other.good();
    let path = theirs["path"].as_str().unwrap();
    let (was, pid) = (roots(&world), world.pid());
    world.run("eco-restore").arg(path).exits(4).says("a snapshot of 'bakery', and this is 'shop'");
    same(&was, &roots(&world));
    assert_eq!(world.pid(), pid);
    world.run("eco-restore").args([path, "--adopt"]).exits(0);
    assert_eq!(world.read("config/state"), "of the bakery\n");
}

#[test]
fn hazard_06_archives_of_all_three_old_layouts_are_restored() {
    // As the old procedures called tar: absolute paths, dated folders, one folder around everything.
    for (layout, line) in [
        ("absolute", "mkdir -p $T/backups/e && cp -a data config $T/backups/e/ && tar -czPf $T/old.tar.gz $T/backups/e"),
        ("dated", "mkdir -p $T/b && cp -a data $T/b/data-20251216 && cp -a config $T/b/config-20251216 && tar -czf $T/old.tar.gz -C $T b"),
        (
            "folder",
            "mkdir -p $T/ecosystem-weekly-20251215 && cp -a data config $T/ecosystem-weekly-20251215 && tar -czf $T/old.tar.gz -C $T ecosystem-weekly-20251215",
        ),
    ] {
        let world = World::service();
        world.shell(&format!("T=..; case '{layout}' in absolute) T=$(cd .. && pwd);; esac; {line}"));
        let was = roots(&world);
        world.spoil();
        let (broken, archive) = (roots(&world), world.folder().join("old.tar.gz"));
        let plan = world.run("eco-restore").arg(&archive).exits(0).last("plan");
        assert_eq!(plan["roots"], json!(["config", "data"]), "{layout}");
        let now = roots(&world);
        broken[2].same_as(&now[2]);
        kept(&broken[1], &now[1]);
        // GNU tar's ustar header has whole seconds and no attributes, so times and attributes are its own.
        assert_eq!(now[0].names(), was[0].names(), "{layout}");
        assert_eq!(now[1].without(&STAY).names(), was[1].without(&STAY).names(), "{layout}");
        for path in ["config/state", "data/orders", "data/sub/deep/file"] {
            assert_eq!(fs::metadata(world.path(path)).unwrap().mode() & 0o7777, 0o644);
        }
        assert_eq!((world.read("data/orders"), world.read("config/state")), ("1\n2\n3\n".into(), "well\n".into()));
        assert_eq!(fs::read(world.path(latin1())).unwrap(), b"latin one\n");
        let ino = |path: &str| fs::metadata(world.path(path)).unwrap().ino();
        assert_eq!(ino("data/orders"), ino("data/sub/same-orders"), "{layout}");
    }
}

#[test]
fn hazard_06_an_archive_with_two_generations_or_no_root_is_refused() {
    let world = World::service();
    let (was, pid) = (roots(&world), world.pid());
    world.shell("mkdir -p ../x/a ../x/b ../y/z && cp -a data ../x/a && cp -a data ../x/b && tar -czf ../two.tar.gz -C .. x && tar -czf ../none.tar.gz -C .. y");
    world.run("eco-restore").arg(world.folder().join("two.tar.gz")).exits(4).says("more than once");
    world.run("eco-restore").arg(world.folder().join("none.tar.gz")).exits(4).says("none of the roots");
    same(&was, &roots(&world));
    assert_eq!(world.pid(), pid);
}

#[test]
fn damage_is_found_before_the_service_is_stopped() {
    let world = World::service();
    let snapshot = world.good();
    damage(Path::new(snapshot["path"].as_str().unwrap()));
    let (was, pid) = (roots(&world), world.pid());
    let done = world.run("eco-restore").arg(snapshot["path"].as_str().unwrap()).exits(4);
    assert!(done.all("step").iter().all(|step| step["step"] != "stop"), "{done}");
    same(&was, &roots(&world));
    assert_eq!(world.pid(), pid);
    tidy(&world, 0);

    world.shell("tar -czf ../old.tar.gz data config && truncate -s 3000 ../old.tar.gz");
    world.run("eco-restore").arg(world.folder().join("old.tar.gz")).exits(4).says("damaged");
    same(&was, &roots(&world));
    assert_eq!(world.pid(), pid);
}

// The way back.

/// Runs a rollback that must be swapped back, with the preserved paths growing while the new tree is live.
#[track_caller]
fn swapped_back(world: &World) {
    let (broken, pid) = (roots(world), world.pid());
    let done = world.run("eco-restore").arg("latest").exits(5).says("the tree from before the rollback is back");
    same(&broken, &roots(world));
    let restore = done.last("restore");
    assert_eq!((&restore["phase"], &restore["exit"]), (&json!("reverted"), &json!(5)));
    assert_eq!(done.all("step").iter().filter(|step| step["step"] == "swap").count(), 1, "never a second try: {done}");
    assert!(world.pid().is_some() && world.pid() != pid);
    tidy(world, 0);
}

#[test]
fn a_tree_that_is_not_healthy_is_swapped_back() {
    let world = World::service();
    world.impatient().write("config/state", "ill\n");
    world.good();
    world.spoil();
    swapped_back(&world);
}

#[test]
fn a_selftest_that_fails_swaps_back() {
    let world = World::service();
    world.good();
    world.spoil();
    world.write("fail/selftest", "");
    swapped_back(&world);
}

#[test]
fn a_start_that_fails_swaps_back() {
    let world = World::service();
    world.program("modules/ui/start", "#!/bin/sh\nexit 1\n");
    let start = world.read("bin/start").replace("#!/bin/sh\n", "#!/bin/sh\n[ ! -e modules/ui/start ] || modules/ui/start || exit 1\n");
    world.program("bin/start", &start);
    world.good();
    world.spoil();
    fs::remove_file(world.path("modules/ui/start")).unwrap();
    swapped_back(&world);
}

#[test]
fn what_is_preserved_survives_the_way_back_too() {
    let world = World::service();
    world.good();
    world.spoil();
    let broken = world.tree("data");
    // The new tree is live when the self-test runs; what is written then is as precious as what was written before.
    world.program(
        "bin/selftest",
        "#!/bin/sh\necho f >>data/metrics/2026-04; mkdir -p data/later; echo g >data/later/x.log; echo h >data/metrics/2026-05; exit 1\n",
    );
    world.run("eco-restore").arg("latest").exits(5);
    assert_eq!(
        [world.read("data/metrics/2026-04"), world.read("data/later/x.log"), world.read("data/metrics/2026-05"), world.read("data/sub/day.log")],
        ["d\nf\n", "g\n", "h\n", "one\ntwo\n"]
    );
    let changed = ["", "metrics", "later"];
    let differ: Vec<String> = broken.differences(&world.tree("data"));
    assert!(differ.iter().all(|line| changed.iter().any(|name| line[2..].starts_with(name))), "{differ:?}");
    assert_eq!(world.read("data/orders"), "garbage\n");
}

#[test]
fn a_service_that_cannot_be_stopped_keeps_its_tree() {
    let world = World::service();
    world.good();
    world.spoil();
    let toml = world.read("eco.toml").replace("pidfile = \"run/shop.pid\"\n", "");
    world.write("eco.toml", toml).write("fail/stop", "");
    let (broken, pid) = (roots(&world), world.pid());
    let done = world.run("eco-restore").arg("latest").exits(3).says("could not be stopped");
    same(&broken, &roots(&world));
    assert_eq!(done.last("restore")["phase"], "failed");
    assert!(world.processes().contains(&pid.unwrap()), "it runs on");
    tidy(&world, 0);
}

// Into another folder.

#[test]
fn hazard_27_a_target_gets_the_tree_with_what_is_preserved_and_nothing_else_changes() {
    let world = World::service();
    world.good();
    let was = roots(&world);
    let (before, pid) = (world.tree(""), world.pid());
    fs::create_dir(world.folder().join("empty")).unwrap();
    for target in ["empty", "new/below"] {
        let target = world.folder().join(target);
        let done = world.run("eco-restore").arg("latest-good").arg("--target").arg(&target).exits(0);
        assert_eq!(done.last("restore")["phase"], "completed");
        let names: Vec<_> = Tree::of(&target).names().into_iter().filter(|name| name.components().count() == 1).collect();
        assert_eq!(
            names,
            ["", "config", "data", "modules"]
                .map(Into::into)
                .into_iter()
                .filter(|name: &std::path::PathBuf| !name.as_os_str().is_empty())
                .collect::<Vec<_>>()
        );
        was[0].same_as(&Tree::of(&target.join("config")));
        was[1].without(&["", "cache.tmp"]).same_as(&Tree::of(&target.join("data")).without(&["", "cache.tmp"]));
    }
    let one = world.folder().join("one");
    world.run("eco-restore").args(["latest", "--scope", "config", "--target"]).arg(&one).exits(0);
    assert!(one.join("config/state").exists() && !one.join("data").exists());
    let full = world.run("eco-restore").arg("latest").arg("--target").arg(&one).exits(2).says("is not empty");
    assert_eq!(full.stdout, "");
    before.same_as(&world.tree(""));
    assert_eq!(world.pid(), pid);
}

#[test]
fn a_target_that_could_not_be_filled_is_left_as_it_was() {
    let world = World::service();
    let snapshot = world.good();
    damage(Path::new(snapshot["path"].as_str().unwrap()));
    let target = world.folder().join("new");
    world.run("eco-restore").arg(snapshot["path"].as_str().unwrap()).arg("--target").arg(&target).exits(4);
    assert!(!target.exists());
}

// Trees that are hard.

#[test]
fn a_root_that_did_not_exist_goes_and_comes_back() {
    let world = World::service();
    fs::rename(world.path("modules/ui"), world.path("later")).unwrap();
    world.good();
    fs::rename(world.path("later"), world.path("modules/ui")).unwrap();
    let with = world.tree("modules");
    world.run("eco-restore").arg("latest").exits(0);
    assert!(!world.path("modules/ui").exists());
    world.run("eco-restore").arg("--undo").exits(0);
    with.only("ui").same_as(&world.tree("modules").only("ui"));
}

#[test]
fn a_root_that_is_gone_is_made_again() {
    let world = World::service();
    world.good();
    let was = roots(&world);
    for root in ROOTS {
        fs::remove_dir_all(world.path(root)).unwrap();
    }
    world.run("eco-restore").arg("latest").exits(0);
    let now = roots(&world);
    was[0].same_as(&now[0]);
    // Nothing is left of what was preserved, so the snapshot's copy is better than none; what it left out is gone.
    was[1].without(&["", "cache.tmp"]).same_as(&now[1].without(&["", "cache.tmp"]));
    was[2].without(&[""]).same_as(&now[2].without(&[""]));
}

#[test]
fn a_root_that_is_a_file_is_exchanged_as_well() {
    let world = World::service();
    let toml = world.read("eco.toml").replace("[module.ui]\nroots = [\"modules/ui\"]", "[module.ui]\nroots = [\"modules/ui\", \"ui.json\"]");
    world.write("eco.toml", toml).write("ui.json", "one\n");
    world.good();
    world.write("ui.json", "two\n");
    world.run("eco-restore").args(["latest", "--scope", "module:ui"]).exits(0);
    assert_eq!(world.read("ui.json"), "one\n");
    world.run("eco-restore").arg("--undo").exits(0);
    assert_eq!(world.read("ui.json"), "two\n");
}

// Whoever calls it.

#[test]
fn a_reader_that_leaves_does_not_stop_the_work() {
    let world = World::service();
    world.good();
    let was = roots(&world);
    world.spoil();
    let broken = roots(&world);
    let mut command = world.run("eco-restore").arg("latest-good").command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), line.contains("\"plan\"")), (Some(3), true), "{said}");
    rolled_back(&was, &broken, &roots(&world));
    assert!(world.pid().is_some());
    tidy(&world, 1);
}

#[test]
fn nothing_to_read_is_an_empty_stream() {
    let world = World::service();
    assert_eq!(world.run("eco-restore").exits(0).stdout, "");
    // With stdin closed altogether.
    world.run("/bin/sh").args(["-c", "exec \"$0\" <&-"]).arg(program("eco-restore")).exits(0);
    let line = world.run("eco-restore").stdin("not a record\n").exits(3);
    assert_eq!(line.stdout, "not a record\n");
}

/// Whether this test runs as root; says aloud what cannot be shown otherwise.
fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        not_shown(what, "it takes root");
    }
    root
}

#[test]
fn an_ordinary_user_rolls_back_what_is_theirs() {
    if !is_root("a rollback by an ordinary user in a world that root has made") {
        return;
    }
    let world = World::service();
    let nobody = 65534;
    world.shell(
        "kill $(cat run/shop.pid); rm run/shop.pid; chown -hR 65534:65534 . && chmod 711 ..; mkdir ../shop-store; chown 65534:65534 ../shop-store",
    );
    // The programs are wherever Cargo put them, which only their owner may see.
    let as_nobody = |words: &[&str]| world.run("eco-restore").args(words).user(nobody).ran();
    let started = world.run("bin/start").user(nobody).exits(0);
    drop(started);
    world.run("eco-snap").arg("--good").user(nobody).exits(0);
    let was = roots(&world);
    world.spoil();
    world.shell("chown -hR 65534:65534 .");
    let broken = roots(&world);
    let done = as_nobody(&["latest-good"]);
    assert_eq!(done.code, 0, "{done}");
    rolled_back(&was, &broken, &roots(&world));

    // What belongs to somebody else cannot be put back whole by this user, so nothing is.
    world.shell("chown 0:0 data/orders");
    world.run("eco-snap").arg("--good").exits(0);
    world.shell("chown -R 65534:65534 ../shop-store .eco data");
    let (broken, pid) = (roots(&world), world.pid());
    let refused = as_nobody(&["latest-good"]);
    assert_eq!(refused.code, 4, "{refused}");
    assert!(refused.stderr.contains("which only root can set"), "{refused}");
    same(&broken, &roots(&world));
    assert_eq!(world.pid(), pid);
}

#[test]
fn hazard_25_a_full_disk_leaves_everything_as_it_was() {
    if !is_root("a rollback on a full filesystem of its own") {
        return;
    }
    let world = World::service();
    world.shell("kill $(cat run/shop.pid); rm run/shop.pid");
    let (from, to) = (world.root(), world.folder().join("moved"));
    fs::rename(&from, &to).unwrap();
    fs::create_dir(&from).unwrap();
    let mounted = std::process::Command::new("/bin/mount").args(["-t", "tmpfs", "-o", "size=2m", "eco-test"]).arg(&from).status();
    if !mounted.is_ok_and(|done| done.success()) {
        not_shown("a rollback on a full filesystem of its own", "nothing can be mounted here");
        return;
    }
    let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.shell("cp -a ../moved/. .");
        let pid = world.start();
        world.good();
        world.spoil();
        let _ = fs::write(world.path("ballast"), vec![1; 1 << 20]);
        let _ = fs::write(world.path("ballast-2"), vec![1; 1 << 20]);
        let room = rustix::fs::statvfs(world.root()).unwrap();
        assert!(room.f_bavail * room.f_frsize < 200_000);
        let before = roots(&world);
        let done = world.run("eco-restore").arg("latest-good").exits(4);
        same(&before, &roots(&world));
        assert_eq!(world.pid(), Some(pid), "{done}");
        tidy(&world, 0);
    }));
    world.shell("kill $(cat run/shop.pid) || :; cd ..; umount -l shop");
    if let Err(why) = shown {
        std::panic::resume_unwind(why);
    }
}

#[test]
fn the_shop_itself_is_rolled_back() {
    let world = World::shop();
    let snapshot = world.snapshot();
    let orders = world.orders();
    world.shop_does("order 5");
    world.break_it("data");
    let unhealthy = world.run("eco-health").exits(1).only();
    assert_eq!(unhealthy["integrity"], false);
    let input = stream(&[decision("i1/1", "rollback", "full", Some(&snapshot["id"]))]);
    let done = world.run("eco-restore").stdin(input).exits(0);
    assert_eq!(done.step("selftest")["ok"], true);
    assert_eq!((world.orders(), world.health().unwrap()["overall_health"].clone()), (orders, json!("healthy")));
    world.run("eco-health").exits(0);
    world.break_it("module recommend");
    world.run("eco-restore").args(["latest-good", "--scope", "module:recommend"]).exits(0);
    assert_eq!(world.health().unwrap()["modules"]["recommend"]["status"], "integrated");
}

#[test]
fn a_shop_that_hangs_or_was_killed_is_rolled_back_too() {
    for how in ["hang", "kill"] {
        let world = World::shop();
        world.snapshot();
        world.break_it(how);
        world.run("eco-restore").arg("latest-good").exits(0);
        assert_eq!(world.health().unwrap()["overall_health"], "healthy", "{how}");
    }
}

#[test]
fn a_file_that_has_another_name_outside_the_scope_is_restored_by_itself() {
    let world = World::service();
    world.shell("ln config/state data/recommend/state");
    world.good();
    world.shell("rm data/recommend/state; echo other >data/recommend/state; echo two >modules/recommend/code");
    let ran = world.run("eco-restore").args(["latest", "--scope", "module:recommend"]).exits(0);
    assert_eq!((world.read("data/recommend/state"), world.read("modules/recommend/code")), ("well\n".into(), "one\n".into()), "{ran}");
}
