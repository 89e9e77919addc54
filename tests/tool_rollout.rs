//! eco-rollout with real commands: what it asks of them, in which order, and what is left when it is killed in the middle.

use crate::harness::{World, program};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PHASES: &str = r#"
[[phase]]
name = "canary"
percentage = 10
duration = "2h"
rollback_on_error_rate = 0.05

[[phase]]
name = "staged"
percentage = 50
duration = "4h"
rollback_on_error_rate = 0.03

[[phase]]
name = "full"
percentage = 100
duration = "24h"
rollback_on_error_rate = 0.02
"#;

const COMMANDS: &str = "set = \"bin/call set {percentage}\"\ngate = \"bin/call gate\"\nrollback = \"bin/call rollback\"\n";

/// Notes how it was called and what it read, says a word on its stdout, and fails or waits where the test says so.
const CALL: &str = r#"#!/bin/sh
cat >>stdin
echo "$@" >>calls
echo "$1 speaks"
while [ -e "wait/$1$2" ]; do sleep 0.02; done
[ ! -e "fail/$1$2" ]
"#;

fn world() -> World {
    let world = World::new();
    world.write("rollout.toml", format!("{COMMANDS}{PHASES}")).program("bin/call", CALL);
    fs::create_dir(world.path("fail")).unwrap();
    fs::create_dir(world.path("wait")).unwrap();
    world
}

fn at(minute: i64) -> String {
    let time: jiff::Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    (time + jiff::SignedDuration::from_mins(minute)).to_string()
}

fn start(minute: i64, version: &str) -> Value {
    json!({"type": "rollout", "time": at(minute), "id": "r7", "version": version, "target": "module:planner", "state": "idle"})
}

fn sample(minute: i64, cohort: &str, requests: u64, errors: u64) -> Value {
    json!({"type": "health", "time": at(minute), "cohort": cohort, "up": true, "requests": requests, "error_rate": errors as f64 / requests as f64})
}

/// Two hours of a service that is well, and its restore points.
fn before() -> Vec<Value> {
    let point = |minute, id| json!({"type": "snapshot", "time": at(minute), "id": id, "covers": ["data", "config", "modules"], "verified": true});
    let mut all = vec![point(-480, "p1"), point(-90, "p2")];
    for minute in -120..0 {
        all.push(
            json!({"type": "health", "time": at(minute), "up": true, "requests": 1200, "error_rate": 0.01, "response_ms": 120, "cpu_usage": 0.4}),
        );
    }
    all.sort_by_key(|record| record["time"].as_str().unwrap().to_owned());
    all
}

/// A minute's traffic of both, for so many minutes from this one on: requests and errors of the canary, then of the old version.
fn traffic(from: i64, to: i64, canary: (u64, u64), stable: (u64, u64)) -> Vec<Value> {
    (from..=to).flat_map(|minute| [sample(minute, "canary", canary.0, canary.1), sample(minute, "stable", stable.0, stable.1)]).collect()
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// A canary with six errors in a hundred, and an old version with one.
fn failing() -> Vec<Value> {
    [before(), vec![start(0, "planner@r42")], traffic(0, 6, (100, 6), (900, 9))].concat()
}

/// `10:04 canary rolling_back 0 fast`: what is pinned of each rollout record.
fn states(records: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let entered = records.iter().filter(|record| record["type"] == "rollout" && record["state"] != "idle");
    let line = |record: &Value| {
        let notes: Vec<String> = record["notes"].as_array().into_iter().flatten().map(text).collect();
        let time = &record["time"].as_str().unwrap()[11..16];
        format!("{time} {} {} {} {}", text(&record["phase"]), text(&record["state"]), record["exposure"].as_f64().unwrap(), notes.join(","))
            .trim_end()
            .to_owned()
    };
    entered.map(line).collect()
}

fn calls(world: &World) -> Vec<String> {
    world.read("calls").lines().map(String::from).filter(|line| line != "-").collect()
}

#[test]
fn a_failing_canary_loses_its_traffic_and_is_rolled_back_by_the_decision_on_stdin() {
    let world = world();
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(lines(&failing())).exits(0);
    assert_eq!(states(&ran.records()), ["10:00 canary canary 10", "10:04 canary rolling_back 0 sustained", "10:04 canary rolled_back 0 sustained"]);
    assert_eq!(calls(&world), ["gate", "set 10", "set 0", "rollback"]);
    let breach = &ran.all("rollout")[1]["reasons"][0];
    let seen = json!({"rule": "sustained", "metric": "error_rate", "observed": 0.06, "threshold": "> 0.05", "window_s": 120.0, "requests": 300.0, "stable": 0.01});
    assert_eq!(*breach, seen);
    // The command read the decision that stands in the stream, after the gate had read how the service is and what it is asked about.
    let read: Vec<Value> = world.read("stdin").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decision = ran.last("decision");
    assert_eq!((read.len(), &read[2], &read[1]["version"]), (3, &decision, &json!("planner@r42")));
    assert_eq!((&read[0]["type"], &read[0]["time"]), (&json!("health"), &json!(at(-1))));
    for (key, value) in [("action", "rollback"), ("severity", "high"), ("scope", "module:planner"), ("cut", "2026-03-01T10:00:00Z")] {
        assert_eq!(decision[key], value, "{decision}");
    }
    // What commands print is for people.
    assert!(ran.stderr.contains("set speaks") && !ran.stdout.contains("speaks"), "{ran}");
}

#[test]
fn too_few_requests_hold_a_phase_and_then_ask_a_person() {
    let world = world();
    let mut stream = [before(), vec![start(0, "planner@r42")]].concat();
    for minute in 0..=250 {
        // One request in six minutes; in between nobody came.
        let quiet = json!({"type": "health", "time": at(minute), "cohort": "canary", "up": true, "requests": 0});
        stream.push(if minute % 6 == 3 { sample(minute, "canary", 1, 0) } else { quiet });
        stream.push(sample(minute, "stable", 1200, 12));
    }
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(lines(&stream)).exits(0);
    assert_eq!(states(&ran.records()), ["10:00 canary canary 10", "12:00 canary holding 10", "14:00 canary paused 10 inconclusive"]);
    assert_eq!(calls(&world), ["gate", "set 10"]);
    let asked = ran.last("decision");
    assert_eq!((&asked["action"], &asked["severity"], &asked["deadline"]), (&json!("propose"), &json!("medium"), &json!("2026-03-02T14:00:00Z")));
}

#[test]
fn errors_that_both_versions_share_pause_and_roll_nothing_back() {
    let world = world();
    let bad = traffic(30, 45, (100, 8), (900, 72));
    let stream = [before(), vec![start(0, "planner@r42")], traffic(0, 29, (100, 1), (900, 9)), bad].concat();
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(lines(&stream)).exits(0);
    assert_eq!(states(&ran.records()), ["10:00 canary canary 10", "10:35 canary paused 10 shared-cause"]);
    assert_eq!(calls(&world), ["gate", "set 10"]);
}

#[test]
fn the_input_is_copied_and_each_record_follows_the_line_that_caused_it() {
    let world = world();
    let stream = lines(&failing());
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml"]).stdin(&stream).exits(0);
    let (own, copied): (Vec<&str>, Vec<&str>) =
        ran.stdout.lines().partition(|line| line.contains("\"begun\"") || line.contains("\"type\":\"decision\""));
    assert_eq!((copied.join("\n") + "\n", own.len()), (stream.clone(), 4));
    let at = |part: &str| ran.stdout.lines().position(|line| line.contains(part)).unwrap();
    assert!(ran.stdout.lines().nth(at("\"state\":\"canary\"") - 1).unwrap().contains("\"state\":\"idle\""));
    assert!(ran.stdout.lines().nth(at("\"state\":\"rolling_back\"") - 1).unwrap().contains("10:04:00"));
    // The same stream, the same bytes.
    let again = world.run("eco-rollout").args(["--plan", "rollout.toml"]).stdin(&stream).exits(0);
    assert_eq!(ran.stdout, again.stdout);
}

#[test]
fn a_saved_stream_with_its_own_records_in_it_is_read_without_acting_on_them_again() {
    let world = world();
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml"]).stdin(lines(&failing())).exits(0);
    fs::remove_file(world.path("calls")).unwrap();
    world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(&ran.stdout).exits(0);
    assert_eq!(calls(&world), ["gate", "set 10", "set 0", "rollback"]);
}

#[test]
fn the_plan_may_stand_in_eco_toml_or_in_the_old_guides_yaml() {
    let world = world();
    world.config(&format!("[rollout]\n{COMMANDS}{}", PHASES.replace("[[phase]]", "[[rollout.phase]]")));
    let ran = world.run("eco-rollout").arg("--only").stdin(lines(&failing())).exits(0);
    assert_eq!(states(&ran.records()).len(), 3);
    assert_eq!(ran.last("rollout")["ecosystem"], "shop");
    let shown = world.run("eco-health").arg("--check-config").ran();
    assert!(shown.stdout.contains("[rollout]") && shown.stdout.contains("10 % for 2h, judged after 2m"), "{shown}");

    // As people have it lying about: no commands, no duration of the last phase.
    let guide = "# deployment_config.yaml\ndeployment:\n  strategy: gradual\n  phases:\n    - name: \"canary\"\n      percentage: 10\n      duration_hours: 2\n      \
                 rollback_on_error_rate: 0.05\n    \n    - name: \"staged\"\n      percentage: 50\n      duration_hours: 4\n      rollback_on_error_rate: 0.03\n    \n    \
                 - name: \"full\"\n      percentage: 100\n      rollback_on_error_rate: 0.02\n";
    world.write("deployment_config.yaml", guide);
    fs::remove_file(world.path("calls")).unwrap();
    let ran = world.run("eco-rollout").args(["--plan", "deployment_config.yaml", "--only"]).stdin(lines(&failing())).exits(0);
    // Nobody rolls it back, so that is waited for.
    assert_eq!(states(&ran.records()), ["10:00 canary canary 10", "10:04 canary rolling_back 0 sustained"]);
    assert_eq!(calls(&world), [""; 0]);
    let healthy = [vec![start(0, "v1")], traffic(0, 31 * 60, (100, 1), (900, 9))].concat();
    let ran = world.run("eco-rollout").args(["--plan", "deployment_config.yaml", "--only"]).stdin(lines(&healthy)).exits(0);
    assert_eq!(states(&ran.records()), ["10:00 canary canary 10", "12:00 staged staged 50", "16:00 full full 100", "16:00 full done 100"]);
}

#[test]
fn a_plan_with_a_mistake_in_it_is_refused_with_its_line() {
    let world = world();
    let plan = world.read("rollout.toml");
    for (file, text, wants) in [
        ("a.toml", plan.replacen("percentage = 50", "percentge = 50", 1), vec!["a.toml:13: unknown field `percentge`", "did you mean `percentage`?"]),
        ("b.toml", plan.replacen("gate =", "gat =", 1), vec!["b.toml:2: unknown field `gat`", "did you mean `gate`?"]),
        ("c.toml", plan.replacen("0.03", "3", 1), vec!["phase staged", "write 5 % as 0.05"]),
        ("d.toml", String::new(), vec!["needs phases"]),
        (
            "e.yaml",
            "deployment:\n  phases:\n    - name: x\n      percentag: 100\n".into(),
            vec!["e.yaml:4: unknown field `percentag`", "did you mean `percentage`?"],
        ),
        ("f.yaml", "deployment: [\n".into(), vec!["f.yaml:"]),
        ("none.toml", String::new(), vec![]),
    ] {
        if !wants.is_empty() {
            world.write(file, text);
        }
        let ran = world.run("eco-rollout").args(["--plan", file]).stdin(lines(&failing())).exits(2);
        assert!(wants.iter().all(|part| ran.stderr.contains(part)) && ran.stdout.is_empty() && ran.stderr.lines().count() == 1, "{file}: {ran}");
    }
    let ran = world.run("eco-rollout").stdin("").exits(2);
    assert!(ran.stderr.contains("no plan: name one with --plan FILE"), "{ran}");
    assert_eq!(calls(&world), [""; 0]);
}

#[test]
fn a_plan_that_others_may_write_runs_no_commands() {
    let world = world();
    let writable = |file: &str| fs::set_permissions(world.path(file), fs::Permissions::from_mode(0o666)).unwrap();
    writable("rollout.toml");
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml"]).stdin(lines(&failing())).exits(2);
    assert!(ran.stderr.contains("may be written by others"), "{ran}");
    assert_eq!(calls(&world), [""; 0]);
    // Without commands it can do no harm.
    world.write("phases.toml", PHASES);
    writable("phases.toml");
    world.run("eco-rollout").args(["--plan", "phases.toml"]).stdin(lines(&failing())).exits(0);
}

#[test]
fn what_a_failed_command_leaves_behind() {
    for (fails, wants, called, code) in [
        (&["gate"][..], &["10:00 - refused 0 gate"][..], &["gate"][..], 0),
        (&["set10"], &["10:00 - refused 0 set-failed"], &["gate", "set 10", "set 0"], 0),
        (&["set10", "set0"], &["10:00 - stuck 0 set-failed"], &["gate", "set 10", "set 0"], 3),
        (
            &["set0"],
            &["10:00 canary canary 10", "10:04 canary rolling_back 0 sustained", "10:04 canary stuck 10 set-failed"],
            &["gate", "set 10", "set 0"],
            3,
        ),
        (
            &["rollback"],
            &["10:00 canary canary 10", "10:04 canary rolling_back 0 sustained", "10:04 canary stuck 0 rollback-failed"],
            &["gate", "set 10", "set 0", "rollback"],
            3,
        ),
    ] {
        let world = world();
        for name in fails {
            world.write(format!("fail/{name}"), "");
        }
        let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(lines(&failing())).exits(code);
        assert_eq!(
            (states(&ran.records()), calls(&world)),
            (wants.iter().map(|s| s.to_string()).collect(), called.iter().map(|s| s.to_string()).collect()),
            "{fails:?}"
        );
        assert!(ran.stderr.contains("bin/call ended with 1"), "{ran}");
        if code == 3 {
            let asked = ran.last("decision");
            assert_eq!((&asked["action"], &asked["severity"]), (&json!("escalate"), &json!("high")));
        }
    }
}

#[test]
fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let world = world();
    world.write("rollout.toml", format!("timeout = \"300ms\"\n{COMMANDS}{PHASES}"));
    world.program("bin/call", "#!/bin/sh\necho \"$@\" >>calls\n[ \"$1\" != set ] || { sleep 600 & wait; }\n");
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(lines(&failing())).exits(3);
    assert!(ran.stderr.contains("the traffic of the new version was not set to 10 %: bin/call took longer than 300ms and was ended"), "{ran}");
    assert_eq!(states(&ran.records()), ["10:00 - stuck 0 set-failed"]);
    let patience = Instant::now() + Duration::from_secs(10);
    while !world.processes().is_empty() {
        assert!(Instant::now() < patience, "somebody was left: {:?}", world.processes());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_start_record_is_written_for_deployment_scripts() {
    let world = world();
    let ran = world.run("eco-rollout").args(["--start", "planner@r43", "--target", "module:planner"]).exits(0);
    let record = ran.only();
    assert_eq!((&record["type"], &record["state"], &record["ecosystem"]), (&json!("rollout"), &json!("idle"), &json!("shop")));
    assert_eq!((&record["version"], &record["target"]), (&json!("planner@r43"), &json!("module:planner")));
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(&ran.stdout).exits(0);
    assert_eq!(ran.only()["id"], record["id"]);
    for words in [&["--start", "v1"][..], &["--target", "full"], &["--start", "a\nb", "--target", "full"], &["--start", "v1", "--target", "all"]] {
        world.run("eco-rollout").args(words).exits(2);
    }
}

#[test]
fn people_see_a_table() {
    let world = world();
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only", "--human"]).stdin(lines(&failing())).exits(0);
    let shown: Vec<&str> = ran.stdout.lines().map(str::trim_end).collect();
    let row = "2026-03-01 10:04:00  planner@r42           module:planner                    canary      rolling_back      0 %  sustained";
    assert!(shown.contains(&row), "{ran}");
    assert!(shown.contains(&"    because    error_rate 0.06, limit > 0.05, 300 requests in 2 min; the version before: 0.01"), "{ran}");
}

#[test]
fn a_line_that_is_no_record_passes_and_shows_in_the_exit_code() {
    let world = world();
    let stream = format!("hello\n{}", lines(&failing()));
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml"]).stdin(stream).exits(3);
    assert!(ran.stdout.starts_with("hello\n") && ran.stderr.contains("line 1 is not a record"), "{ran}");
    assert_eq!(calls(&world), ["gate", "set 10", "set 0", "rollback"]);
}

#[test]
fn eco_restore_carries_the_rollback_out_and_only_once() {
    let world = world();
    world.config("[module.planner]\nroots = [\"modules/planner\"]\n");
    world.write("modules/planner/code", "old\n").write("data/orders", "1\n").write("config/limits", "1\n");
    world.at("2026-03-01T08:30:00Z").run("eco-snap").arg("--good").exits(0);
    world.write("modules/planner/code", "new\n").write("data/orders", "1\n2\n");
    // A point that may hold the new version already.
    world.at("2026-03-01T10:01:00Z").run("eco-snap").arg("--good").exits(0);
    world.write("rollout.toml", format!("rollback = {:?}\n{PHASES}", program("eco-restore")));
    world.at("2026-03-01T10:04:00Z");
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml"]).stdin(lines(&failing())).exits(0);
    assert_eq!(states(&ran.records()).last().unwrap(), "10:04 canary rolled_back 0 sustained");
    assert_eq!((world.read("modules/planner/code"), world.read("data/orders")), ("old\n".into(), "1\n2\n".into()));
    // As after a crash in the middle: the rollback is asked for again, and the decision is known.
    world.write("modules/planner/code", "by hand\n");
    let last = ran.all("rollout").into_iter().find(|record| record["state"] == "rolling_back").unwrap();
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(lines(&[last])).exits(0);
    assert_eq!(states(&ran.records()), ["10:04 canary rolled_back 0 sustained"]);
    assert!(ran.stderr.contains("was carried out before"), "{ran}");
    assert_eq!(world.read("modules/planner/code"), "by hand\n");
}

/// A service with a restore point, and a plan whose gate is the real one.
fn gated() -> World {
    let world = world();
    world.config("[module.planner]\nroots = [\"modules/planner\"]\n\n[gate]\nchecks = [ { name = \"tests\", command = [\"bin/test\"] } ]\n");
    world.program("bin/test", "#!/bin/sh\n[ ! -e broken ]\n");
    world.write("modules/planner/code", "old\n").write("data/orders", "1\n").write("config/limits", "1\n");
    world.at("2026-03-01T08:30:00Z").run("eco-snap").arg("--good").exits(0);
    let commands = COMMANDS.replace("gate = \"bin/call gate\"", &format!("gate = {:?}", program("eco-gate")));
    world.write("rollout.toml", format!("{commands}{PHASES}"));
    world.at("2026-03-01T10:00:00Z");
    world
}

fn judged(minute: i64, action: &str) -> Value {
    json!({"type": "decision", "time": at(minute), "id": format!("i1/{action}"), "incident": "i1", "severity": "medium", "action": action,
        "scope": "full", "snapshot": null})
}

#[test]
fn eco_gate_lets_a_rollout_begin_and_keeps_the_state_before_it() {
    let world = gated();
    let solved = [before(), vec![judged(-30, "watch"), judged(-10, "resolved"), start(0, "planner@r42")], traffic(0, 3, (100, 1), (900, 9))].concat();
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(lines(&solved)).exits(0).says("open: every check passed");
    assert_eq!((states(&ran.records()), calls(&world)), (vec!["10:00 canary canary 10".into()], vec!["set 10".to_owned()]));
    // It was told how the service is, so the backup is one to go back to.
    let kept = world.run("eco-ls").arg("latest:pre-deployment").exits(0).only();
    assert_eq!((&kept["good"], &kept["verified"], &kept["health"]), (&json!(true), &json!(true), &json!("ok")));
}

#[test]
fn eco_gate_refuses_a_rollout_while_an_incident_is_open_or_a_check_fails() {
    let refused = |world: &World, words: &[&str], stream: &[Value], why: &str| {
        let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).args(words).stdin(lines(stream)).exits(0).says(why);
        assert_eq!((states(&ran.records()), calls(world)), (vec!["10:00 - refused 0 gate".into()], Vec::new()), "{ran}");
        world.run("eco-ls").arg("latest:pre-deployment").exits(1);
        ran
    };
    let world = gated();
    let open = [before(), vec![judged(-10, "investigate"), start(0, "planner@r42")], traffic(0, 3, (100, 1), (900, 9))].concat();
    let ran = refused(&world, &[], &open, "closed: incident did not pass");
    assert!(ran.stderr.contains("incident i1 is open"), "{ran}");
    // What was said before a crash counts as well.
    world.write("log", lines(&open[..open.len() - 9]));
    refused(
        &world,
        &["--resume", "log"],
        &[vec![start(0, "planner@r42")], traffic(0, 3, (100, 1), (900, 9))].concat(),
        "closed: incident did not pass",
    );
    world.write("broken", "");
    refused(&world, &[], &[before(), vec![start(0, "planner@r42")]].concat(), "closed: tests did not pass");
}

#[test]
fn a_version_that_was_rolled_back_is_refused_by_both_until_it_is_released() {
    let world = gated();
    let plan = ["--plan", "rollout.toml"];
    let log = world.run("eco-rollout").args(plan).stdin(lines(&failing())).exits(0);
    assert_eq!(states(&log.records()).last().unwrap(), "10:04 canary rolled_back 0 sustained");
    let again = [vec![start(20, "planner@r42")], traffic(20, 22, (100, 1), (900, 9))].concat();
    let gate = |stream: &str, code: i32| {
        world.at("2026-03-01T10:20:00Z");
        let ran = world.run("eco-gate").arg("--only").stdin(format!("{stream}{}\n", again[0])).exits(code);
        ran.all("gate").into_iter().filter(|gate| gate["ok"] == false).map(|gate| gate["check"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The rollout that failed is over: its version is kept away, and no other.
    assert_eq!(gate(&log.stdout, 1), ["version", "backup"]);
    world.write("log", &log.stdout);
    let resumed = ["--plan", "rollout.toml", "--only", "--resume", "log"];
    let ran = world.run("eco-rollout").args(resumed).stdin(lines(&again)).exits(0);
    assert_eq!(states(&ran.records()), ["10:20 - refused 0 quarantined"]);
    let release = world.at("2026-03-01T10:19:00Z").run("eco-ctl").args(["release", "planner@r42", "--no-inbox"]).exits(0).stdout;
    assert_eq!(gate(&format!("{}{release}", log.stdout), 0), [""; 0]);
    let ran = world.run("eco-rollout").args(resumed).stdin(format!("{release}{}", lines(&again))).exits(0);
    assert_eq!(states(&ran.records()), ["10:20 canary canary 10"]);
}

#[test]
fn an_approval_lets_a_paused_rollout_go_on_and_eco_restore_leaves_it_alone() {
    let world = gated();
    let hold = json!({"type": "operator", "time": at(4), "do": "hold"});
    let story = [before(), vec![start(0, "planner@r42")], traffic(0, 3, (100, 1), (900, 9)), vec![hold], traffic(5, 6, (100, 1), (900, 9))].concat();
    let answered = |verb: &str| {
        let word = json!({"type": "operator", "time": at(6), "do": verb});
        let stream = [story.clone(), vec![word], traffic(7, 8, (100, 1), (900, 9))].concat();
        world.run("eco-rollout").args(["--plan", "rollout.toml"]).stdin(lines(&stream)).exits(0)
    };
    let (approved, rejected) = (answered("approve"), answered("reject"));
    // Only now: the gate has kept the state before the deployment.
    world.write("modules/planner/code", "new\n");
    let ran = approved;
    assert_eq!(states(&ran.records()), ["10:00 canary canary 10", "10:04 canary paused 10 operator", "10:06 canary canary 10"]);
    let asked = ran.last("decision");
    assert_eq!((&asked["action"], &asked["notes"]), (&json!("propose"), &json!(["operator", "store", "rollout"])));
    // Not even when every proposal is to be carried out.
    for words in [&["--only"][..], &["--only", "--approve"]] {
        let id = asked["id"].as_str().unwrap();
        let says = format!("a rollout is paused, decision {id}: eco-ctl resume lets it go on, eco-ctl reject {id} rolls module:planner back");
        let ran = world.run("eco-restore").args(words).stdin(&ran.stdout).exits(0).says(&says);
        assert!(ran.stdout.is_empty() && world.read("modules/planner/code") == "new\n", "{ran}");
    }
    // A rejection is written as a rollback, and that is carried out.
    let ran = rejected;
    assert_eq!(states(&ran.records()).last().unwrap(), "10:06 canary rolled_back 0 operator");
    let back = world.run("eco-restore").arg("--only").stdin(&ran.stdout).exits(0).last("restore");
    assert_eq!((&back["phase"], &back["decision"]), (&json!("completed"), &ran.last("decision")["id"]));
    assert_eq!(world.read("modules/planner/code"), "old\n");
}

/// Waits until the calls end like this.
fn called(world: &World, last: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    while calls(world).last().is_none_or(|call| call != last) {
        assert!(Instant::now() < patience, "never called {last}: {:?}", calls(world));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs it on this input with the log as its output, to be killed.
fn running(world: &World, words: &[&str], input: &str) -> Child {
    world.write("input", input);
    let log = File::options().create(true).append(true).open(world.path("log")).unwrap();
    let mut command = world.run("eco-rollout").args(["--plan", "rollout.toml"]).args(words).command();
    command.stdin(File::open(world.path("input")).unwrap()).stdout(log).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn killed_during_any_command_it_goes_on_where_the_log_ends() {
    let whole = [failing(), traffic(7, 20, (100, 6), (900, 9))].concat();
    for (wait, call) in [("gate", "gate"), ("set10", "set 10"), ("set0", "set 0"), ("rollback", "rollback")] {
        let world = world();
        world.write(format!("wait/{wait}"), "");
        let mut first = running(&world, &[], &lines(&whole));
        called(&world, call);
        first.kill().unwrap();
        first.wait().unwrap();
        world.kill();
        fs::remove_file(world.path(format!("wait/{wait}"))).unwrap();
        // What was not copied yet is what the stream still brings.
        let log = world.read("log");
        let mut rest = whole.iter().map(Value::to_string).collect::<Vec<_>>();
        for line in log.lines() {
            if rest.first().is_some_and(|next| next == line) {
                rest.remove(0);
            }
        }
        assert!(!rest.is_empty() && rest.len() < whole.len(), "{call}: {} lines are left", rest.len());
        let before = calls(&world).len();
        let mut second = running(&world, &["--resume", "log"], &format!("{}\n", rest.join("\n")));
        assert!(second.wait().unwrap().success());
        let records: Vec<Value> = world.read("log").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let wanted = ["10:00 canary canary 10", "10:04 canary rolling_back 0 sustained", "10:04 canary rolled_back 0 sustained"];
        assert_eq!(states(&records), wanted, "{call}");
        let after = calls(&world).split_off(before);
        let wanted: &[&str] = match call {
            "gate" | "set 10" => &["gate", "set 10", "set 0", "rollback"],
            _ => &["set 0", "rollback"],
        };
        assert_eq!(after, wanted, "{call}");
    }
}

#[test]
fn a_log_with_a_torn_end_or_none_at_all() {
    let world = world();
    let canary = json!({"type": "rollout", "time": at(0), "version": "v1", "target": "module:planner", "phase": "canary", "state": "canary"});
    world.write("log", [format!("{canary}\n").as_bytes(), b"{\"type\":\"health\",\"ti\xff"].concat());
    world.run("eco-rollout").args(["--plan", "rollout.toml", "--resume", "log"]).exits(0);
    assert_eq!(calls(&world), ["set 10"]);
    world.run("eco-rollout").args(["--plan", "rollout.toml", "--resume", "none"]).exits(2).says("cannot read none: no such file");
}

#[test]
fn the_last_record_alone_is_enough_to_go_on() {
    let world = world();
    let canary = json!({"type": "rollout", "time": at(0), "id": "r7", "version": "v1", "target": "module:planner", "phase": "canary", "state": "canary",
        "exposure": 10, "since": at(0)});
    // An hour without anybody looking.
    let stream = [vec![canary], traffic(60, 190, (100, 1), (900, 9))].concat();
    let ran = world.run("eco-rollout").args(["--plan", "rollout.toml", "--only"]).stdin(lines(&stream)).exits(0);
    assert_eq!((states(&ran.records()), calls(&world)), (vec!["13:00 staged staged 50".into()], vec!["set 10".to_owned(), "set 50".into()]));
}

#[test]
fn each_record_is_out_before_the_next_command_runs() {
    let world = world();
    world.write("wait/rollback", "");
    // All of the input lies ready, so nothing but the command makes it write.
    let mut child = running(&world, &[], &lines(&failing()));
    called(&world, "rollback");
    let log = world.read("log");
    assert!(log.contains("\"state\":\"rolling_back\"") && log.contains("\"action\":\"rollback\""), "{log}");
    fs::remove_file(world.path("wait/rollback")).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_live_stream_is_answered_line_by_line() {
    let world = world();
    let mut child = world.run("eco-rollout").args(["--plan", "rollout.toml"]).command();
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    writeln!(to, "{}", start(0, "v1")).unwrap();
    called(&world, "set 10");
    for record in traffic(0, 4, (100, 50), (100, 0)) {
        writeln!(to, "{record}").unwrap();
    }
    called(&world, "rollback");
    drop(to);
    assert!(child.wait().unwrap().success());
}
