//! Watching closely: a pipe that looks for a while, says how it was, and never acts.

use crate::harness::{Run, World, program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn world(world: World) -> World {
    world.program("bin/tell", "#!/bin/sh\n{ echo \"$1\"; cat; } >>run/told\n");
    let toml = world.read("eco.toml");
    world.write("eco.toml", format!("{toml}\n[notify]\ncommand = [\"bin/tell\", \"{{subject}}\"]\n"));
    fs::create_dir_all(world.folder().join("configs")).unwrap();
    std::os::unix::fs::symlink(world.path("eco.toml"), world.folder().join("configs/shop.toml")).unwrap();
    world
}

/// What the unit starts, but for a shorter time.
fn watch<'w>(world: &'w World, span: &str) -> Run<'w> {
    let unit = fs::read_to_string(here("examples/systemd/eco-monitor-closely@.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/lib/eco/monitor-closely ")).unwrap();
    assert_eq!(start, "--for 24h --every 60s %i");
    let words = start.replace("24h", span).replace("60s", "200ms").replace("%i", "shop");
    let programs = program("eco-health").parent().unwrap().display().to_string();
    let run = world.run(here("scripts/monitor-closely").to_str().unwrap()).args(words.split(' '));
    run.env("PATH", format!("{programs}:/usr/bin:/bin")).env("ECO_CONFIGS", world.folder().join("configs")).env("LOGS_DIRECTORY", world.folder())
}

/// The only report or log in the world's folder.
fn left(world: &World, end: &str) -> String {
    let names = fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> = names.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].file_name().unwrap().to_str().unwrap().starts_with("shop-closely-2"), "{found:?}");
    fs::read_to_string(&found[0]).unwrap()
}

#[test]
fn a_service_that_stays_healthy_ends_with_0_and_a_report_that_says_so() {
    let world = world(World::shop());
    let done = watch(&world, "1s").exits(0).says("it stayed healthy for 1s, ");
    assert_eq!(done.stdout, "");
    assert_eq!(done.stderr.lines().count(), 2, "that, and that there is no incident to report: {done}");
    let samples = left(&world, ".ndjson").matches("\"type\":\"health\"").count();
    assert!(samples > 1 && done.stderr.contains(&format!(", {samples} samples;")), "{done}");
    assert!(left(&world, ".md").to_lowercase().contains("no incident"), "{}", left(&world, ".md"));
    assert_eq!(world.read("run/told"), "-");
}

#[test]
fn a_service_that_falls_ill_is_told_of_at_once_and_nothing_is_done_about_it() {
    let world = world(World::shop());
    world.snapshot();
    world.break_it("config");
    let broken = world.read("config/shop.json");
    let pid = world.pid();
    watch(&world, "1s").exits(1).says("it did not stay healthy");
    assert!(world.read("run/told").contains(", watched closely: high, propose\n"), "{}", world.read("run/told"));
    let log = left(&world, ".ndjson");
    assert!(log.contains("\"action\":\"propose\"") && !log.contains("\"action\":\"rollback\"") && !log.contains("\"type\":\"restore\""), "{log}");
    assert_eq!((world.read("config/shop.json"), world.pid()), (broken, pid));
    assert!(!world.path(".eco/listener").exists(), "the words of people are left to automatic rollback");
    assert!(left(&world, ".md").contains("integration"), "{}", left(&world, ".md"));
}

#[test]
fn what_ends_well_and_was_ill_in_between_did_not_stay_healthy() {
    let world = world(World::service());
    world.write("config/state", "ill\n");
    let mut child = watch(&world, "3s").command().stderr(Stdio::null()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while world.read("run/told") == "-" {
        assert!(Instant::now() < patience, "nobody was told");
        thread::sleep(Duration::from_millis(10));
    }
    world.write("config/state", "well\n");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let log = left(&world, ".ndjson");
    let last = log.lines().rfind(|line| line.starts_with("{\"type\":\"health\"")).unwrap();
    assert!(last.contains("\"up\":true"), "{log}");
}

#[test]
fn a_service_that_cannot_be_asked_is_not_known() {
    let world = world(World::service());
    fs::remove_file(world.path("bin/health")).unwrap();
    watch(&world, "500ms").exits(3).says("whether it stayed healthy is not known: eco-health ended with 3 after");
}

#[test]
fn a_watch_that_is_ended_early_writes_its_report_and_dies_of_the_signal() {
    use std::os::unix::process::ExitStatusExt;
    let world = world(World::service());
    let mut child = watch(&world, "1h").command().stderr(Stdio::null()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while !fs::read_dir(world.folder()).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|end| end == "ndjson") && fs::read_to_string(path).unwrap().contains("\"type\":\"health\"")
    }) {
        assert!(Instant::now() < patience, "no sample came");
        thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert!(!left(&world, ".md").is_empty());
    let sleeping = Instant::now() + Duration::from_secs(10);
    while world.processes().iter().any(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("eco-"))) {
        assert!(Instant::now() < sleeping, "a member was left behind");
    }
}

#[test]
fn wrong_words_and_a_wrong_policy_are_found_before_the_watch_begins() {
    let world = world(World::service());
    let with = |word: &str, value: &str| watch(&world, "1h").args([word, value]);
    with("--evry", "1s").exits(2).says("'--evry' is no flag");
    with("--policy", "/no/such").exits(2).says("/no/such");
    with("--log", "/no/such/log").exits(2).says("/no/such/log");
    with("--every", "often").exits(2);
    world.write("policy.toml", "[rules.high]\na = { when = \"erorr_rate > 1\" }\n");
    with("--policy", "policy.toml").exits(2).says("policy.toml:2");
    world.run("eco-decide").arg("--check").arg(here("examples/policies/closely.toml")).exits(0);
}

#[test]
fn a_rollback_that_is_told_of_begins_the_watch() {
    let world = World::service();
    let stand_in = |name: &str| world.program(&format!("bin/{name}"), &format!("#!/bin/sh\necho {name} \"$*\" >>run/done\n")).read("run/done");
    stand_in("systemctl");
    stand_in("mail");
    let toml = world.read("eco.toml");
    let command = here("examples/notify/tell-and-watch");
    world.write("eco.toml", format!("{toml}\n[notify]\ncommand = [{:?}, \"shop\", \"{{subject}}\"]\n", command.to_str().unwrap()));
    world.good();
    world.spoil();
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    world.run("eco-restore").arg("latest-good").env("PATH", &path).exits(0);
    assert_eq!(
        world.read("run/done"),
        "systemctl restart --no-block eco-monitor-closely@shop.service\nmail -s shop: rollback of full completed root\n"
    );
    // What the watch itself says begins no other.
    world.run("eco-ctl").args(["tell", "shop on a1, watched closely: high, propose"]).stdin("").env("PATH", &path).exits(0);
    assert_eq!(world.read("run/done").matches("systemctl").count(), 1);
}
