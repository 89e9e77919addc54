//! What people say with eco-ctl: one record each, and its way into the pipeline that is running.

use crate::harness::{Ran, World, not_shown, program};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const NOW: &str = "2026-03-01T10:00:00Z";

fn says(world: &World, words: &str) -> Ran {
    world.run("eco-ctl").args(words.split_whitespace()).exits(0)
}

#[track_caller]
fn until(what: &str, reached: impl Fn() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Programs that run until the test is over.
struct Running<'w> {
    world: &'w World,
    shell: Child,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.world.kill();
        let _ = self.shell.wait();
    }
}

/// A shell line of programs, running, with stdout in `out` and stderr in `err` of the ecosystem.
fn running<'w>(world: &'w World, line: &str) -> Running<'w> {
    let folder = program("eco-health").parent().unwrap().to_owned();
    let line = format!("PATH={}:$PATH; {{ {line}; }} >>out 2>>err", folder.display());
    let shell = world.run("/bin/sh").args(["-c", &line]).command().stdout(Stdio::null()).spawn().unwrap();
    Running { world, shell }
}

fn out(world: &World, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path("out")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap()).filter(|record: &Value| record["type"] == kind).collect()
}

/// Healthy for as long as nobody spoils `config/state`; nothing but that matters.
fn service() -> World {
    let world = World::service();
    world.write("policy.toml", "[rollback]\ncooldown = \"0s\"\n[rules.high]\nill = { when = \"up == false\" }\n");
    world
}

const LIVE: &str = "eco-health --every 100ms --listen | eco-decide -p policy.toml | eco-restore";

#[test]
fn every_word_is_one_record() {
    let world = World::new();
    world.write("eco.toml", world.read("eco.toml") + "[module.planner]\nroots = [\"planner\"]\n");
    world.at(NOW);
    for (words, fields) in [
        ("hold", json!({"type": "operator", "do": "hold"})),
        ("hold --for 90m", json!({"type": "operator", "do": "hold", "until": "2026-03-01T11:30:00Z"})),
        ("hold --until 2026-03-01T12:00:00Z", json!({"type": "operator", "do": "hold", "until": "2026-03-01T12:00:00Z"})),
        ("resume", json!({"type": "operator", "do": "resume"})),
        ("approve", json!({"type": "operator", "do": "approve"})),
        ("approve i1-2", json!({"type": "operator", "do": "approve", "decision": "i1-2"})),
        ("reject", json!({"type": "operator", "do": "reject"})),
        ("release planner@r42", json!({"type": "operator", "do": "release", "version": "planner@r42"})),
        ("resolve", json!({"type": "operator", "do": "resolve"})),
        ("signal user_complaint", json!({"type": "signal", "signal": "user_complaint"})),
        (
            "signal security_breach --source audit --target module:planner --since 2026-03-01T07:00:00Z",
            json!({"type": "signal", "signal": "security_breach", "source": "audit", "target": "module:planner", "since": "2026-03-01T07:00:00Z"}),
        ),
        ("signal security_breach --cleared", json!({"type": "signal", "signal": "security_breach", "cleared": true})),
        ("change config", json!({"type": "change", "target": "config"})),
        (
            "change config:limits --from r41 --to r42 --id c1 --affects planner --irreversible --by deploy",
            json!({"type": "change", "target": "config:limits", "from": "r41", "to": "r42", "id": "c1", "affects": ["planner"],
                "reversible": false, "by": "deploy"}),
        ),
    ] {
        let mut said = says(&world, words).only();
        assert_eq!((said["time"].as_str(), said["ecosystem"].as_str()), (Some(NOW), Some("shop")), "{words}");
        for stamp in ["time", "ecosystem", "host"] {
            said.as_object_mut().unwrap().remove(stamp);
        }
        assert_eq!(said, fields, "{words}");
    }
    let past = world.run("eco-ctl").args(["change", "module:planner", "--since", "20m ago"]).exits(0).only();
    assert_eq!(past["time"], "2026-03-01T09:40:00Z", "it was made then");
    for (words, why) in [
        ("hold --until 2026-03-01T09:00:00Z", "is over already"),
        ("hold now", "one word too many"),
        ("hold --since 2026-03-01T09:00:00Z", "--since goes with signal and change, not with hold"),
        ("resume --cleared", "--cleared goes with signal"),
        ("stop --no-inbox", "--no-inbox goes with what is said"),
        ("release", "needs a version"),
        ("signal", "needs a type"),
        ("signal x --since 2026-03-01T10:00:01Z", "still to come"),
        ("signal x --target module:plan", "no module 'plan'; it has planner"),
        ("change", "change needs one unit"),
        ("change plan", "is not a scope"),
        ("change module:plan", "no module 'plan'; it has planner"),
        ("change config --affects plan", "no module 'plan'"),
    ] {
        let refused = world.run("eco-ctl").args(words.split_whitespace()).exits(2).says(why);
        assert_eq!(refused.stdout, "", "{words}");
    }
    says(&world, "signal security_breech").says("has no rule for the signal 'security_breech'");
}

#[test]
fn a_word_needs_neither_service_nor_lock_nor_configuration() {
    let world = World::service();
    world.kill();
    let lock = fs::File::options().create(true).append(true).open({
        says(&world, "hold");
        world.path(".eco/lock")
    });
    rustix::fs::flock(lock.as_ref().unwrap(), rustix::fs::FlockOperation::LockExclusive).unwrap();
    world.run("eco-ctl").arg("stop").exits(7);
    says(&world, "resume").says("nobody listens now");
    assert_eq!(fs::read_to_string(world.path(".eco/inbox")).unwrap().lines().count(), 2);
    let mode = |path: &str| fs::metadata(world.path(path)).unwrap().mode() & 0o777;
    assert_eq!((mode(".eco"), mode(".eco/inbox")), (0o700, 0o600));

    fs::remove_file(world.path("eco.toml")).unwrap();
    let alone = says(&world, "hold").says("no eco.toml here");
    assert_eq!(alone.only()["ecosystem"], Value::Null);
}

#[test]
fn a_word_in_a_pipe_is_in_that_pipe_and_nowhere_else() {
    let world = World::new();
    let line = "{\"time\":\"2026-03-01T10:00:00Z\",  \"type\":\"weather\"}\n";
    let copied = world.run("eco-ctl").args(["release", "r42", "-"]).stdin(line).exits(0);
    assert!(copied.stdout.starts_with(line) && copied.stdout.lines().count() == 2, "{copied}");
    says(&world, "hold --no-inbox").only();
    assert!(!world.path(".eco").exists());
}

#[test]
fn who_may_not_write_the_folder_may_not_speak() {
    let world = World::new();
    says(&world, "hold");
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    if !rustix::process::geteuid().is_root() {
        return not_shown("somebody else's word is refused", "only root can become somebody else");
    }
    let refused = world.run("eco-ctl").arg("approve").user(12_345).exits(3).says("permission denied");
    assert_eq!(refused.stdout, "", "what is on stdout was said");
    fs::set_permissions(world.path(".eco"), fs::Permissions::from_mode(0o777)).unwrap();
    world.run("eco-ctl").arg("approve").exits(4).says("not a private folder");
}

#[test]
fn what_is_said_elsewhere_comes_into_the_stream_once_and_at_once() {
    let world = World::service();
    let before = says(&world, "hold --for 1h").says("nobody listens now").stdout;
    // The next sample is far away.
    let mut child = world.run("eco-health").args(["--every", "1h", "--listen"]).command().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap() + "\n", before, "byte for byte, and before the first sample");
    assert!(lines.next().unwrap().starts_with("{\"type\":\"health\""));
    let word = world.run("eco-ctl").args(["resume", "-v"]).exits(0).says(&format!("passed on by eco-health, pid {}", child.id()));
    assert_eq!(lines.next().unwrap() + "\n", word.stdout);
    until("the inbox is empty", || fs::metadata(world.path(".eco/inbox")).is_err() && !world.path(".eco/inbox.taken").exists());

    // A second one gets nothing, says why, and takes over when the first is gone, however that ended.
    let _next = running(&world, "exec eco-health --every 1h --listen");
    until("the second one says why", || world.read("err").contains("somebody else listens to eco-ctl"));
    let word = says(&world, "approve").stdout;
    assert_eq!(lines.next().unwrap() + "\n", word);
    child.kill().unwrap();
    child.wait().unwrap();
    let word = says(&world, "reject").stdout;
    until("the second one listens", || world.read("out").ends_with(&word));
    assert_eq!(out(&world, "operator").len(), 1, "what the first one passed on is not passed on again");
}

#[test]
fn what_a_listener_took_and_could_not_pass_on_is_passed_on_by_the_next() {
    let world = World::service();
    world.shell("mkdir -m 700 .eco");
    // As a kill leaves it that comes between taking and passing on.
    world.write(".eco/inbox.taken", format!("{}\n{{\"type\":\"oper", json!({"type": "operator", "time": jiff::Timestamp::now(), "do": "hold"})));
    says(&world, "resume");
    let ran = world.run("eco-health").args(["--every", "20ms", "--count", "2", "--listen"]).exits(0).says("is no record");
    let verbs: Vec<Value> = ran.all("operator").iter().map(|word| word["do"].clone()).collect();
    assert_eq!(verbs, ["hold", "resume"]);
    assert!(world.run("eco-health").args(["--every", "20ms", "--count", "2", "--listen"]).exits(0).all("operator").is_empty());
}

#[test]
fn a_word_outlives_a_reader_that_leaves() {
    let world = World::service();
    let mut child = world.run("eco-health").args(["--every", "1h", "--listen"]).command().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    says(&world, "hold");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.run("eco-health").args(["--every", "20ms", "--count", "1", "--listen"]).exits(0).all("operator").len(), 1);
}

#[test]
fn a_proposal_is_carried_out_when_somebody_at_another_terminal_agrees() {
    let world = service();
    world.good();
    let was = world.tree("config");
    let _pipeline = running(&world, LIVE);
    until("the pipeline runs", || out(&world, "health").len() > 1);
    says(&world, "approve");
    until("the word is in the stream", || out(&world, "operator").len() == 1);
    world.write("config/state", "ill\n");
    until("a rollback is proposed", || out(&world, "decision").iter().any(|decision| decision["action"] == "propose"));
    until("it says how to agree", || world.read("err").contains("to agree: eco-ctl approve"));
    assert!(world.read("err").contains("changes nothing: no proposal is open"), "agreeing to what is not yet proposed: {}", world.read("err"));
    assert!(out(&world, "restore").is_empty(), "nobody has agreed");

    says(&world, "approve");
    until("it is rolled back", || out(&world, "restore").iter().any(|restore| restore["phase"] == "completed"));
    assert_eq!(out(&world, "restore").last().unwrap()["by"], "operator");
    was.same_as(&world.tree("config"));
    says(&world, "approve");
    until("agreeing twice is once", || world.read("err").matches("no proposal is open").count() == 2);
}

#[test]
fn a_proposal_that_somebody_rejects_is_not_carried_out() {
    let world = service();
    world.good();
    let _pipeline = running(&world, LIVE);
    world.write("config/state", "ill\n");
    until("a rollback is proposed", || world.read("err").contains("to agree: eco-ctl approve"));
    says(&world, "reject");
    says(&world, "approve");
    until("there is nothing to agree to", || world.read("err").contains("no proposal is open"));
    assert!(out(&world, "restore").is_empty());
    assert_eq!(world.read("config/state"), "ill\n");
}

#[test]
fn a_hold_makes_a_proposal_of_a_rollback() {
    let world = service();
    world.good();
    says(&world, "hold");
    says(&world, "change config --id c1");
    let _pipeline = running(&world, LIVE);
    until("the pipeline runs", || out(&world, "health").len() > 1);
    world.write("config/state", "ill\n");
    until("somebody is asked", || world.read("err").contains("to agree: eco-ctl approve"));
    let decision = out(&world, "decision").remove(0);
    assert_eq!((&decision["action"], &decision["scope"], &decision["notes"]), (&json!("propose"), &json!("config"), &json!(["store", "hold"])));
    says(&world, &format!("approve {}", decision["id"].as_str().unwrap()));
    until("it is rolled back", || out(&world, "restore").iter().any(|restore| restore["phase"] == "completed"));
}

/// A decision of incident i1, and a word, on paper.
fn decision(id: &str, clock: &str, action: &str, more: Value) -> Value {
    let mut decision = json!({"type": "decision", "time": format!("2026-03-01T{clock}Z"), "id": id, "incident": "i1", "severity": "high",
        "action": action, "scope": "config", "cut": "2999-01-01T00:00:00Z", "reasons": [], "suspects": []});
    decision.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    decision
}

fn word(clock: &str, verb: &str, more: Value) -> Value {
    let mut word = json!({"type": "operator", "time": format!("2026-03-01T{clock}Z"), "do": verb});
    word.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    word
}

#[test]
fn an_approval_is_about_what_is_open_when_it_comes() {
    let world = World::service();
    world.good();
    let run = |flag: &[&str], records: &[Value]| {
        let stream: String = records.iter().map(|record| format!("{record}\n")).collect();
        world.run("eco-restore").args(["--dry-run", "--only"]).args(flag).stdin(stream).ran()
    };
    let plans = |records: &[Value]| {
        let ran = run(&[], records);
        (ran.all("plan").iter().map(|plan| format!("{} {}", plan["decision"], plan["scope"]).replace('"', "")).collect::<Vec<_>>(), ran.stderr)
    };
    let propose = decision("i1-1", "10:00:00", "propose", json!({}));
    let none = json!({});
    let approve = word("10:05:00", "approve", none.clone());

    assert_eq!(plans(&[propose.clone(), approve.clone(), approve.clone()]).0, ["i1-1 config"], "once");
    // Said before, and kept by a slow way until the proposal was there.
    let (done, said) = plans(&[propose.clone(), word("09:59:59", "approve", none.clone())]);
    assert!(done.is_empty() && said.contains("is older than the proposal that is open"), "{said}");
    let named = word("09:59:59", "approve", json!({"decision": "i1-1"}));
    assert_eq!(plans(&[propose.clone(), named.clone()]).0, ["i1-1 config"], "whoever names it means it");
    // Another proposal took its place: the last one is meant, and the first can no longer be agreed to.
    let wider = decision("i1-2", "10:03:00", "propose", json!({"scope": "full", "severity": "critical"}));
    assert_eq!(plans(&[propose.clone(), wider.clone(), approve.clone()]).0, ["i1-2 full"]);
    let (done, said) = plans(&[propose.clone(), wider.clone(), named]);
    assert!(done.is_empty() && said.contains("another decision than the one that is open, i1-2"), "{said}");
    // It is over, or a person's business: a late word must not roll back a service that is well.
    for action in ["resolved", "escalate", "investigate"] {
        let (done, said) = plans(&[propose.clone(), decision("i1-2", "10:04:00", action, none.clone()), approve.clone()]);
        assert!(done.is_empty() && said.contains("no proposal is open"), "{action}: {said}");
    }
    // Silence is no answer.
    let silence = decision("no-data-1", "10:04:00", "investigate", json!({"incident": "no-data", "scope": null}));
    assert_eq!(plans(&[propose.clone(), silence, approve.clone()]).0, ["i1-1 config"]);
    // A reminder is the same proposal under another id; both are on somebody's screen.
    let again = decision("i1-2", "10:04:00", "propose", json!({"reminder": true}));
    for id in ["i1-1", "i1-2"] {
        let named = word("10:05:00", "approve", json!({"decision": id}));
        assert_eq!(plans(&[propose.clone(), again.clone(), named]).0, ["i1-1 config"]);
    }
    let agreed: Vec<Value> = run(&["--approve"], &[propose.clone(), again.clone()]).all("plan");
    assert_eq!(agreed.len(), 1, "a reminder of what was done is not done again");
    assert_eq!(plans(&[propose.clone(), approve.clone(), again, approve.clone()]).0, ["i1-1 config"]);
    // Somebody else's shop.
    let (mine, theirs) = (json!({"ecosystem": "shop"}), word("10:05:00", "approve", json!({"ecosystem": "other"})));
    let propose = decision("i1-1", "10:00:00", "propose", mine);
    assert!(plans(&[propose.clone(), theirs]).0.is_empty());
    assert_eq!(plans(&[propose, approve]).0, ["i1-1 config"]);
}

#[test]
fn words_that_are_told_twice_change_nothing() {
    let world = World::new();
    let sample = |minute: u32, errors: f64| json!({"type": "health", "time": format!("2026-03-01T10:{minute:02}:00Z"), "up": true, "requests": 1200, "error_rate": errors});
    let change = json!({"type": "change", "time": "2026-03-01T09:58:00Z", "id": "c1", "target": "config"});
    let hold = word("10:00:30", "hold", json!({}));
    let resume = word("10:03:30", "resume", json!({}));
    let decisions = |twice: bool| {
        let times = if twice { 2 } else { 1 };
        let mut stream: Vec<Value> = [&change, &hold, &resume].into_iter().flat_map(|said| vec![said.clone(); times]).collect();
        stream.extend((0..10).map(|minute| sample(minute, if minute == 0 { 0.0 } else { 0.5 })));
        stream.sort_by_key(|record| record["time"].as_str().unwrap().to_owned());
        let stream: String = stream.iter().map(|record| format!("{record}\n")).collect();
        world.run("eco-decide").arg("--only").stdin(stream).exits(0).stdout
    };
    assert_eq!(decisions(true), decisions(false));
    assert!(decisions(true).contains("\"action\":\"propose\"") && decisions(true).contains("\"action\":\"rollback\""), "{}", decisions(true));
}
