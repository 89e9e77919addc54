//! The commands around a rollback: looked at before the service is stopped, run apart from everything of ours, ended when they hang.

use crate::harness::{Ran, World};
use serde_json::json;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Which key of the usual configuration is which command.
const COMMANDS: [(&str, &str); 5] = [
    ("disable", "disable = [\"bin/unit\", \"disable\", \"{id}\"]\nenable"),
    ("stop", "stop = [\"bin/stop\"]"),
    ("start", "start = [\"bin/start\"]"),
    ("enable", "enable = [\"bin/unit\", \"enable\", \"{id}\"]"),
    ("verify", "command = [\"bin/selftest\"]"),
];

/// The pretend service with another program for one of its commands.
fn with(name: &str, program: &str) -> World {
    let world = World::service();
    let (_, old) = COMMANDS.iter().find(|(known, _)| *known == name).unwrap();
    let key = if name == "verify" { "command" } else { name };
    let more = if name == "disable" { "\nenable" } else { "" };
    let toml = world.read("eco.toml");
    assert!(toml.contains(old), "{old}");
    world.write("eco.toml", toml.replacen(old, &format!("{key} = [{program:?}, \"{name}\"]{more}"), 1));
    world.good();
    world.spoil();
    world
}

fn rolls_back(world: &World, more: &[&str]) -> Ran {
    world.run("eco-restore").args(["latest-good", "--scope", "module:recommend"]).args(more).ran()
}

#[test]
fn a_command_that_is_not_there_is_found_out_before_the_service_is_stopped() {
    for (name, _) in COMMANDS {
        let world = with(name, "bin/nobody");
        let everything = || ["config", "data", "modules", "run"].map(|folder| world.tree(folder));
        let (before, pid) = (everything(), world.pid());
        let dry = rolls_back(&world, &["--dry-run"]).exits(4);
        let unit = if name.ends_with("able") { " (module:recommend)" } else { "" };
        assert!(dry.stderr.contains(&format!("the {name}{unit} command of eco.toml would fail: cannot run bin/nobody: no such program")), "{dry}");
        let done = rolls_back(&world, &[]).exits(4).says("cannot run bin/nobody: no such program");
        assert_eq!((done.step("preflight")["ok"].clone(), done.last("restore")["phase"].clone()), (json!(false), json!("failed")));
        before.iter().zip(everything()).for_each(|(before, now)| before.same_as(&now));
        assert_eq!((world.pid(), world.read("run/units")), (pid, "-".into()));
    }
}

#[test]
fn a_command_that_may_not_be_run_or_whose_interpreter_is_gone_is_as_bad() {
    let world = with("start", "bin/odd");
    let refused = |why: &str| {
        rolls_back(&world, &[]).exits(4).says(why);
    };
    world.write("bin/odd", "#!/bin/sh\n");
    refused("cannot run bin/odd: permission denied");
    world.program("bin/odd", "#!/usr/bin/python2.4 -u\n");
    refused("cannot run bin/odd: its first line asks for /usr/bin/python2.4, which cannot be run");
    fs::remove_file(world.path("bin/odd")).unwrap();
    fs::create_dir(world.path("bin/odd")).unwrap();
    refused("cannot run bin/odd: permission denied");

    let world = with("verify", "no-such-program-in-the-path");
    rolls_back(&world, &[]).exits(4).says("cannot run no-such-program-in-the-path: no such program");
    world.program("no-such-program-in-the-path", "#!/bin/sh\n");
    rolls_back(&world, &[]).exits(4).says("write ./no-such-program-in-the-path");
    let path = format!("/nowhere:{}:/usr/bin:/bin", world.root().display());
    world.run("eco-restore").args(["latest-good", "--scope", "module:recommend"]).env("PATH", path).exits(0);
}

#[test]
fn a_command_of_a_unit_without_files_is_looked_at_too() {
    let world = World::service();
    let toml = world.read("eco.toml").replace("[automation]\ndisable = [\"bin/unit\"", "[automation]\ndisable = [\"bin/nobody\"");
    world.write("eco.toml", toml);
    for more in [&["--dry-run"][..], &[]] {
        let words = [&["--scope", "automation:nightly"], more].concat();
        world.run("eco-restore").args(words).exits(4).says("the disable (automation:nightly) command of eco.toml would fail");
    }
}

#[test]
fn a_command_that_the_new_tree_brings_along_may_be_missing_in_the_old_one() {
    let world = World::service();
    let toml = world.read("eco.toml").replace("command = [\"bin/selftest\"]", "command = [\"modules/recommend/test\"]");
    world.write("eco.toml", &toml).program("modules/recommend/test", "#!/bin/sh\n");
    world.good();
    fs::remove_file(world.path("modules/recommend/test")).unwrap();
    rolls_back(&world, &["--dry-run"]).exits(0);
    let done = rolls_back(&world, &[]).exits(0);
    assert_eq!(done.step("selftest")["ok"], true);

    // In neither tree: found out when the new one is staged, and the service runs on.
    let (pid, toml) = (world.pid(), toml.replace("recommend/test", "recommend/other"));
    world.write("eco.toml", toml);
    let done = rolls_back(&world, &[]).exits(4).says("the verify command of eco.toml would fail");
    assert_eq!((done.step("check")["ok"].clone(), world.pid()), (json!(false), pid));
}

#[test]
fn a_command_inherits_nothing_of_ours_and_is_told_what_for_it_is_run() {
    for (name, _) in COMMANDS {
        let world = with(name, "bin/look");
        world.program(
            "bin/look",
            "#!/bin/sh\necho \"$ECO_PHASE $ECO_RESTORE\" >run/env\nls /proc/self/fd >run/fds\ncut -d' ' -f5 /proc/$$/stat >run/group; echo $$ >>run/group\n\
             case $1 in start) exec bin/start ;; stop) exec bin/stop ;; *) exit 0 ;; esac\n",
        );
        // What this test itself was given is not ours.
        world.run("bin/look").exits(0);
        let given = world.read("run/fds");
        let done = rolls_back(&world, &[]).exits(0);
        assert_eq!(world.read("run/env"), format!("{name} {}\n", done.last("restore")["id"].as_str().unwrap()), "{name}");
        assert_eq!(world.read("run/fds"), given, "{name}: neither lock nor archive");
        let group = world.read("run/group");
        assert_eq!(group.lines().next(), group.lines().nth(1), "{name}: its own process group");
    }
}

#[test]
fn a_command_that_hangs_is_ended_with_its_children() {
    // What the rollback is worth without this command. Each takes seconds of waiting, so all wait at once.
    let cases = [("disable", 0), ("stop", 0), ("start", 5), ("enable", 5), ("verify", 5)];
    thread::scope(|all| cases.into_iter().for_each(|(name, code)| drop(all.spawn(move || hangs(name, code)))));
}

fn hangs(name: &str, code: i32) {
    let world = with(name, "bin/hang");
    world.program("bin/hang", "#!/bin/sh\ntrap '' TERM\nsleep 1234 & echo $! >>run/children\nwhile :; do wait; done\n");
    let toml =
        world.read("eco.toml").replace("grace = \"2s\"", "grace = \"200ms\"\ntimeout = \"200ms\"").replace("health = \"10s\"", "health = \"500ms\"");
    world.write("eco.toml", toml);
    let began = Instant::now();
    let done = rolls_back(&world, &[]).exits(code);
    let step = done.step(if name == "verify" { "selftest" } else { name });
    assert!(began.elapsed() < Duration::from_secs(30), "{name}");
    assert!(step["note"].as_str().unwrap().contains("bin/hang took longer than"), "{name}: {step}");
    for child in world.read("run/children").lines() {
        assert!(!world.processes().contains(&child.parse().unwrap()), "{name}: its child {child} still runs");
    }
}

#[test]
fn the_time_for_a_command_is_shown() {
    let world = World::service();
    let toml = world.read("eco.toml").replace("grace = \"2s\"", "grace = \"2s\"\ntimeout = \"5m\"");
    world.write("eco.toml", toml);
    let shown = world.run("eco-health").arg("--check-config").exits(0);
    assert!(shown.stdout.contains("commands have 5m"), "{shown}");
}
