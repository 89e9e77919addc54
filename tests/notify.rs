//! People are told of decisions and of the end of rollbacks, and nothing that the telling does can hurt either.

use crate::harness::{Ran, World};
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Writes down what it is told: the subject, and the text behind it.
const TELL: &str = "#!/bin/sh\n{ echo \"$1\"; cat; } >run/new.$$ && mv run/new.$$ run/told.$$\n";

/// The pretend service, spoilt, with a notifier.
fn world(notifier: &str, more: &str) -> World {
    let world = World::service();
    world.program("bin/tell", notifier);
    let toml = world.read("eco.toml");
    world.write("eco.toml", format!("{toml}[notify]\ncommand = [\"bin/tell\", \"[{{subject}}]\"]\n{more}"));
    world.good();
    world.spoil();
    world
}

/// What people were told, in the order of their subjects.
fn told(world: &World) -> Vec<String> {
    let names = world.tree("run").names().into_iter().filter(|name| name.to_string_lossy().starts_with("told."));
    let mut told: Vec<String> = names.map(|name| world.read(format!("run/{}", name.display()))).collect();
    told.sort();
    told
}

fn decision(id: &str, action: &str, more: Value) -> String {
    let mut record = json!({"type": "decision", "time": "2026-03-01T10:00:00Z", "ecosystem": "shop", "id": id, "incident": "i1", "severity": "critical",
        "action": action, "scope": "config", "snapshot": null, "cut": "2999-01-01T00:00:00Z", "suspects": [],
        "reasons": [{"rule": "errors-25", "metric": "error_rate", "observed": 0.31, "threshold": "> 0.25"}]});
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    format!("{record}\n")
}

#[test]
fn people_are_told_of_a_decision_and_of_the_rollback_that_it_led_to() {
    let world = world(TELL, "");
    let done = world.run("eco-restore").stdin(decision("i1/1", "rollback", json!({}))).exits(0);
    let [decided, ended] = &told(&world)[..] else { panic!("{:?}\n{done}", told(&world)) };
    assert!(decided.starts_with("[shop: critical, rolling back config]\nshop, 2026-03-01 10:00:00 UTC\n"), "{decided}");
    assert!(decided.contains("errors-25: error_rate 0.31, limit > 0.25"), "{decided}");
    assert!(ended.starts_with("[shop: rollback of config completed]\nshop on "), "{ended}");
    let id = done.last("restore")["id"].clone();
    assert!(ended.contains(&format!("eco-restore --undo {}\n", id.as_str().unwrap())) && ended.contains("Down for:"), "{ended}");

    // Carried out before: no news.
    world.run("eco-restore").stdin(decision("i1/1", "rollback", json!({}))).exits(0);
    assert_eq!(told(&world).len(), 2);
}

#[test]
fn people_are_told_what_they_have_to_do_and_not_what_is_only_watched() {
    let world = world(TELL, "");
    let stream = [
        decision("i1/1", "watch", json!({})),
        decision("i1/2", "propose", json!({"deadline": "2026-03-01T11:00:00Z"})),
        decision("i1/3", "propose", json!({"reminder": true, "overdue": true})),
        decision("i1/4", "escalate", json!({})),
        decision("i1/5", "resolved", json!({})),
    ];
    world.run("eco-restore").stdin(stream.concat()).exits(0);
    let subjects: Vec<String> = told(&world).iter().map(|text| text.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        subjects,
        [
            "[shop: critical, a person is needed now]",
            "[shop: critical, a rollback of config is proposed]",
            "[shop: overdue: critical, a rollback of config is proposed]",
            "[shop: resolved]"
        ]
    );
}

#[test]
fn people_are_told_of_bad_ends_too_and_only_of_what_they_asked_for() {
    let world = world(TELL, "on = [\"restore\"]\n");
    world.write("fail/selftest", "");
    world.run("eco-restore").stdin(decision("i1/1", "rollback", json!({}))).exits(5);
    let [reverted] = &told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert!(reverted.starts_with("[shop: rollback of config REVERTED]\n") && reverted.contains("bin/selftest ended with 1"), "{reverted}");
    fs::remove_file(world.path("bin/start")).unwrap();
    world.run("eco-restore").arg("latest-good").exits(4);
    assert!(told(&world)[1].contains("cannot run bin/start: no such program"), "{:?}", told(&world));
    assert_eq!(told(&world).len(), 2);

    // What changes nothing is no news.
    world.run("eco-restore").args(["latest-good", "--dry-run"]).exits(4);
    world.run("eco-restore").args(["latest-good", "--target"]).arg(world.folder().join("look")).exits(0);
    assert_eq!(told(&world).len(), 2);
}

/// A rollback with this notifier; it must not differ from one without.
#[track_caller]
fn harmless(notifier: &str) -> (World, Ran) {
    let world = world(notifier, "timeout = \"500ms\"\n");
    let began = Instant::now();
    let done = world.run("eco-restore").stdin(decision("i1/1", "rollback", json!({}))).exits(0);
    assert_eq!((done.last("restore")["phase"].clone(), world.read("config/state")), (json!("completed"), "well\n".into()));
    assert!(began.elapsed() < Duration::from_secs(10), "{done}");
    (world, done)
}

#[test]
fn a_notifier_that_hangs_delays_nothing_and_is_ended_with_its_children() {
    let (world, done) = harmless("#!/bin/sh\ntrap '' TERM\nsleep 4321 & echo $! >>run/children\nwhile :; do wait; done\n");
    assert!(done.last("restore")["took_ms"].as_u64().unwrap() < 500, "nobody waits for it: {done}");
    assert_eq!(done.stderr.lines().count(), 2, "{done}");
    let id = done.last("restore")["id"].as_str().unwrap().to_owned();
    let done = done.says("nobody was told of decision i1/1: bin/tell took longer than 500ms and was ended");
    done.says(&format!("nobody was told of rollback {id}: bin/tell took longer than 500ms and was ended"));
    for child in world.read("run/children").lines() {
        assert!(!world.processes().contains(&child.parse().unwrap()), "{child} still runs");
    }
}

#[test]
fn a_notifier_that_fails_is_one_sentence() {
    let (_, done) = harmless("#!/bin/sh\necho first line\necho no connection to mail.example >&2\nexit 3\n");
    assert_eq!(done.stderr.lines().count(), 2, "{done}");
    done.says("nobody was told of decision i1/1: bin/tell ended with 3: no connection to mail.example\n");
    let (_, done) = harmless("#!/no/such/shell\n");
    done.says("nobody was told of decision i1/1: cannot run bin/tell: no such program");
}

#[test]
fn a_notifier_that_does_not_listen_or_does_not_stop_talking_does_no_harm() {
    let (_, done) = harmless("#!/bin/sh\nexec <&-\nexit 0\n");
    assert_eq!(done.stderr, "");
    let (_, done) = harmless("#!/bin/sh\nexec yes\n");
    assert_eq!(done.stderr.lines().count(), 2, "{}", done.stderr.len());
    // It leaves a process behind that holds its output.
    let (_, done) = harmless("#!/bin/sh\nsleep 5 &\nexit 0\n");
    assert_eq!(done.stderr, "");
}

#[test]
fn a_notifier_gets_nothing_of_ours_even_where_nothing_is_open() {
    let world = world("#!/bin/sh\nls /proc/self/fd >run/fds\ncat >run/text\n", "on = [\"restore\"]\n");
    let ours = |redirect: &str| world.shell(&format!("'{}' latest-good {redirect}", crate::harness::program("eco-restore").display()));
    ours("<&- >/dev/null 2>/dev/null");
    assert!(world.read("run/text").contains("a rollback is complete"));
    fs::remove_file(world.path("run/text")).unwrap();
    ours("<&- >&- 2>&-");
    assert!(world.read("run/text").contains("a rollback is complete"), "all three closed");
    world.run("bin/tell").exits(0);
    let given = world.read("run/fds");
    ours(">/dev/null");
    assert_eq!(world.read("run/fds"), given);
}

#[test]
fn a_full_disk_behind_stdout_is_told_by_the_exit_code_and_the_notifier_is_run_all_the_same() {
    let world = world(TELL, "");
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    let mut command = world.run("eco-restore").arg("latest-good").command();
    let with = command.stdout(full()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(told(&world).len(), 1);
    let toml = world.read("eco.toml");
    world.write("eco.toml", toml.split("[notify]").next().unwrap());
    let mut command = world.run("eco-restore").arg("latest-good").command();
    let without = command.stdout(full()).stderr(Stdio::null()).status().unwrap();
    assert_eq!((with.code(), world.read("config/state")), (without.code(), "well\n".into()));
}

#[test]
fn a_stream_of_old_decisions_starts_no_thousand_mailers() {
    let world = world("#!/bin/sh\necho $$ >run/told.$$\nsleep 100\n", "timeout = \"1s\"\n");
    let stream: String = (0..200).map(|at| decision(&format!("i1/{at}"), "investigate", json!({}))).collect();
    let done = world.run("eco-restore").stdin(stream).exits(0);
    assert!(told(&world).len() <= 16, "{}", told(&world).len());
    assert_eq!(done.stderr.lines().count(), 200, "each of them is accounted for");
    done.says("notifications are still under way");
}

#[test]
fn the_section_is_shown_and_a_wrong_one_is_refused() {
    let world = World::service();
    let toml = world.read("eco.toml");
    let with = |section: &str| {
        world.write("eco.toml", format!("{toml}[notify]\n{section}"));
        world.run("eco-health").arg("--check-config")
    };
    let shown = with("command = [\"mail\", \"-s\", \"{subject}\", \"admin@example.com\"]\n").exits(0);
    assert!(shown.stdout.contains("[notify]\n  command    mail (from PATH) \"-s\""), "{shown}");
    assert!(shown.stdout.contains("  on         decision, restore\n  timeout    30s\n"), "{shown}");
    with("on = [\"restore\"]\n").exits(2).says("[notify] needs a command");
    with("command = [\"mail\"]\non = [\"restor\"]\n").exits(2).says("did you mean `restore`?");
    with("command = [\"mail\"]\ntimout = \"3s\"\n").exits(2).says("did you mean `timeout`?");
}
