//! eco-gate: it opens only if every check was made and passed, and the state before the deployment is kept.

use crate::harness::{Ran, World};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const CHECKS: &str = r#"
[gate]
checks = [
  { name = "tests", command = ["bin/test", "all"] },
  { name = "security", command = ["bin/audit"], timeout = "20s" },
]
"#;

/// A service whose checks pass, with a restore point from the day before.
fn ready() -> World {
    let world = World::new();
    world.config(CHECKS);
    world.write("data/a", "alpha").write("config/c", "gamma");
    world.program("bin/test", "#!/bin/sh\necho \"$1 well\"\n").program("bin/audit", "#!/bin/sh\n");
    world.at("2026-03-01T08:00:00Z").run("eco-snap").arg("--good").exits(0);
    world.at("2026-03-02T08:00:00Z");
    world
}

/// The names of the checks that were made, with their answers.
fn answers(ran: &Ran) -> Vec<(String, bool)> {
    ran.all("gate").iter().map(|gate| (gate["check"].as_str().unwrap().to_owned(), gate["ok"].as_bool().unwrap())).collect()
}

#[track_caller]
fn gate(ran: &Ran, check: &str) -> Value {
    ran.all("gate").into_iter().find(|gate| gate["check"] == check).unwrap_or_else(|| panic!("no check {check}\n{ran}"))
}

/// Closed because of this check, the others passed, no snapshot.
#[track_caller]
fn closed_by(ran: &Ran, check: &str) -> Value {
    for (name, ok) in answers(ran) {
        assert_eq!(ok, name != check && name != "backup", "{name}\n{ran}");
    }
    assert!(gate(ran, "backup")["error"].as_str().unwrap().starts_with("not taken: "), "{ran}");
    assert!(ran.all("snapshot").iter().all(|snapshot| snapshot["kind"] != "pre-deployment"), "{ran}");
    gate(ran, check)
}

#[test]
fn it_opens_when_all_checks_pass_and_leaves_a_verified_snapshot() {
    let world = ready();
    let health = "{\"type\":\"health\",\"time\":\"2026-03-02T07:59:00Z\",\"up\":true}\n";
    let ran = world.run("eco-gate").stdin(health).exits(0).says("open: every check passed");
    assert!(ran.stdout.starts_with(health), "{ran}");
    let names = ["incident", "version", "restore-point", "tests", "security", "backup"];
    assert_eq!(answers(&ran), names.map(|name| (name.to_owned(), true)));
    let tests = gate(&ran, "tests");
    assert_eq!((&tests["exit"], &tests["output"], &tests["error"]), (&json!(0), &json!("all well"), &Value::Null));
    assert!(tests["took_s"].as_f64().unwrap() < 20.0 && gate(&ran, "security")["output"].is_null());
    let taken = ran.last("snapshot");
    assert_eq!(
        (&taken["kind"], &taken["verified"], &taken["health"], &taken["mode"]),
        (&json!("pre-deployment"), &json!(true), &json!("ok"), &json!("full"))
    );
    assert_eq!(world.run("eco-ls").arg("latest:pre-deployment").exits(0).only()["id"], taken["id"]);
    // Without a stream, and without copying it.
    let ran = world.run("eco-gate").exits(0);
    assert_eq!(ran.last("snapshot")["health"], "unknown");
    assert!(world.run("eco-gate").arg("--only").stdin(health).exits(0).all("health").is_empty());
}

#[test]
fn every_check_is_made_and_one_that_fails_closes_the_gate() {
    let world = ready();
    world.program("bin/test", "#!/bin/sh\ni=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; done; echo oops >&2; exit 7\n");
    let ran = world.run("eco-gate").exits(1).says("closed: tests did not pass");
    let tests = closed_by(&ran, "tests");
    assert_eq!((&tests["exit"], &tests["error"]), (&json!(7), &json!("bin/test ended with 7")));
    let output = tests["output"].as_str().unwrap();
    assert!(output.starts_with("line 12\n") && output.ends_with("line 30\noops"), "{output}");
    assert_eq!(gate(&ran, "security")["ok"], true);
    let shown = world.run("eco-gate").arg("--human").exits(1);
    assert!(shown.stdout.contains("FAILED") && shown.stdout.contains("bin/test ended with 7") && shown.stdout.contains("oops"), "{shown}");
}

#[test]
fn a_check_that_could_not_run_is_a_no() {
    let world = ready();
    for (make, why) in [
        ("rm bin/audit", "cannot run bin/audit: no such program"),
        ("printf '#!/bin/sh\\nkill -9 $$\\n' >bin/audit && chmod +x bin/audit", "bin/audit was ended by signal 9"),
        ("chmod -x bin/audit", "cannot run bin/audit: permission denied"),
    ] {
        world.shell(make);
        let ran = world.run("eco-gate").exits(1);
        let found = closed_by(&ran, "security");
        assert_eq!((&found["error"], &found["exit"]), (&json!(why), &Value::Null));
    }
    world.program("bin/audit", "#!/bin/sh\necho started; sleep 1000\n");
    world.write("eco.toml", world.read("eco.toml").replace("20s", "200ms"));
    let began = Instant::now();
    let ran = world.run("eco-gate").exits(1);
    let found = closed_by(&ran, "security");
    assert_eq!((&found["error"], &found["output"]), (&json!("bin/audit took longer than 200ms and was ended"), &json!("started")));
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_signal_ends_the_check_that_runs_and_closes_the_gate() {
    let world = ready();
    world.program("bin/test", "#!/bin/sh\n: >../started\nexec sleep 1000\n");
    let child = world.run("eco-gate").command().stdout(std::process::Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !world.folder().join("started").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came to the check");
        std::thread::sleep(Duration::from_millis(2));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(3), "{said}");
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((&last["check"], &last["ok"], &last["error"]), (&json!("tests"), &json!(false), &json!("interrupted by a signal")));
    assert!(world.processes().is_empty(), "the check is still there");
}

#[test]
fn of_a_flood_of_output_the_end_is_kept() {
    let world = ready();
    world.program("bin/audit", "#!/bin/sh\nhead -c 5000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1\n");
    let found = closed_by(&world.run("eco-gate").exits(1), "security");
    let output = found["output"].as_str().unwrap();
    assert!(output.len() <= 4096 && output.ends_with("x\nthe end"), "{}", output.len());
}

#[test]
fn an_open_incident_a_quarantined_version_and_no_way_back_close_it() {
    let world = ready();
    let decision = |action: &str| {
        format!(
            "{{\"type\":\"decision\",\"time\":\"2026-03-02T07:00:00Z\",\"ecosystem\":\"shop\",\"id\":\"i-1\",\"incident\":\"i\",\"severity\":\"high\",\"action\":\"{action}\",\"scope\":null,\"snapshot\":null}}\n"
        )
    };
    let ran = world.run("eco-gate").stdin(decision("investigate")).exits(1);
    assert!(closed_by(&ran, "incident")["error"].as_str().unwrap().starts_with("incident i is open"));
    world.run("eco-gate").stdin(decision("investigate") + &decision("resolved")).exits(0);

    let back = "{\"type\":\"rollout\",\"time\":\"2026-03-02T07:00:00Z\",\"id\":\"r\",\"version\":\"v2\",\"target\":\"full\",\"phase\":\"canary\",\"state\":\"rolled_back\",\"exposure\":0,\"since\":\"2026-03-02T06:00:00Z\",\"reasons\":[]}\n";
    let ran = world.run("eco-gate").stdin(back).exits(1);
    assert_eq!(closed_by(&ran, "version")["error"], "version v2 was rolled back at 2026-03-02T07:00:00Z and has not been released since");
    world.run("eco-gate").args(["--deploy", "v3"]).stdin(back).exits(0);
    let release = "{\"type\":\"operator\",\"time\":\"2026-03-02T07:30:00Z\",\"do\":\"release\",\"version\":\"v2\"}\n";
    world.run("eco-gate").stdin(format!("{back}{release}")).exits(0);

    let bare = World::new();
    bare.config(CHECKS).write("data/a", "alpha").write("config/c", "gamma").program("bin/test", "#!/bin/sh\n").program("bin/audit", "#!/bin/sh\n");
    bare.at("2026-03-02T08:00:00Z");
    let ran = bare.run("eco-gate").exits(1);
    assert!(closed_by(&ran, "restore-point")["error"].as_str().unwrap().starts_with("no good and verified snapshot covers full: "));
    let point = "{\"type\":\"snapshot\",\"time\":\"2026-03-01T07:00:00Z\",\"id\":\"p\",\"good\":true,\"verified\":true,\"covers\":[\"config\"]}\n";
    closed_by(&bare.run("eco-gate").stdin(point).exits(1), "restore-point");
    bare.run("eco-gate").args(["--scope", "config"]).stdin(point).exits(0);
}

#[test]
fn built_in_checks_can_be_switched_off_and_wrong_words_are_told() {
    let world = ready();
    world.config("[gate]\nskip = [\"version\", \"restore-point\"]\n");
    let ran = world.run("eco-gate").exits(0).says("names no checks: nothing was tested");
    assert_eq!(answers(&ran), [("incident".to_owned(), true), ("backup".to_owned(), true)]);
    for (text, why) in [
        ("skip = [\"tests\"]", "[gate]: skip names 'tests', which is none of incident, version, restore-point"),
        ("checks = [ { name = \"backup\", command = [\"x\"] } ]", "there is another check called 'backup'"),
        ("checks = [ { name = \"a\", command = [] } ]", "check 'a' needs a name and a command"),
        ("checks = [ { name = \"a\", comand = [\"x\"] } ]", "did you mean `command`?"),
    ] {
        world.config(&format!("[gate]\n{text}\n"));
        world.run("eco-gate").exits(2).says(why);
    }
    world.run("eco-gate").args(["--scope", "everything"]).exits(2);
}

#[test]
fn a_backup_that_cannot_be_taken_or_is_not_sound_closes_it() {
    let world = ready();
    world.config(&format!("{CHECKS}[snapshot]\nbefore = [\"bin/still\"]\n"));
    world.program("bin/still", "#!/bin/sh\nexit 1\n");
    let ran = world.run("eco-gate").exits(1).says("closed: the backup did not succeed");
    let backup = gate(&ran, "backup");
    assert!(backup["ok"] == false && backup["error"].as_str().unwrap().starts_with("no snapshot was taken: "), "{backup}");
    assert!(answers(&ran).iter().all(|(name, ok)| *ok != (name == "backup")));
    // A store that is not there and cannot be made.
    world.config(CHECKS).write("wall", "");
    let ran = world.run("eco-gate").args(["--store", "wall/store"]).ran();
    assert!(ran.code == 1 || ran.code == 3, "{ran}");
    let ran = world.run("eco-gate").arg("--only").stdin("hello\n").exits(3).says("line 1 is not a record").says("closed: incident did not pass");
    assert_eq!(ran.all("gate")[0]["error"], "lines of the stream that are no records: 1; nobody knows what they say");
}
