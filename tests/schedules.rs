//! Schedules: the very lines of the units and of the crontab, with the real programs and the shop.

use crate::harness::{Ran, Run, World, not_shown, program};
use rustix::fs::FlockOperation;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes down what it is told.
const TELL: &str = "#!/bin/sh\n{ echo \"$1\"; cat; } >>run/told\n";
/// Stands in front of the real one and writes down that it was called.
const PRUNE: &str = "#!/bin/sh\necho \"$*\" >>run/pruned\n";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The shop with a notifier, as `shop` in a folder of descriptions: a link, as scripts/install makes it.
fn scheduled() -> World {
    let world = World::shop();
    world.program("bin/tell", TELL);
    let toml = world.read("eco.toml");
    world.write("eco.toml", format!("{toml}\n[notify]\ncommand = [\"bin/tell\", \"{{subject}}\"]\n"));
    fs::create_dir(world.folder().join("configs")).unwrap();
    std::os::unix::fs::symlink(world.path("eco.toml"), world.folder().join("configs/shop.toml")).unwrap();
    let real = program("eco-prune");
    let exec = if real.is_file() { format!("exec {} \"$@\"\n", real.display()) } else { "cat >/dev/null\n".to_owned() };
    world.program("bin/eco-prune", &format!("{PRUNE}{exec}"));
    world
}

/// A line of a unit or of a crontab, with the paths of this folder.
fn line<'w>(world: &'w World, words: &str) -> Run<'w> {
    let words = words.replace("/usr/lib/eco/", &format!("{}/", here("scripts").display()));
    let mut words = words.split_whitespace();
    let folder = world.folder();
    // The stand-in of eco-prune first; the other programs are not in the shop's bin.
    let path = format!("{}:{}:/usr/bin:/bin", world.path("bin").display(), program("eco-ls").parent().unwrap().display());
    let run = world.run(words.next().unwrap()).args(words).env("PATH", path).env("ECO_CONFIGS", folder.join("configs"));
    run.env("STATE_DIRECTORY", folder.join("state")).env("LOGS_DIRECTORY", folder.join("logs")).env("ECO_SCRATCH", &folder)
}

/// What the unit starts, for this instance.
fn unit<'w>(world: &'w World, name: &str, instance: &str) -> Run<'w> {
    let text = fs::read_to_string(here("examples/systemd").join(name)).unwrap();
    let starts: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("ExecStart=")).collect();
    assert_eq!(starts.len(), 1, "{name}");
    assert!(text.contains("\nEnvironment=ECO_CONFIGS=%E/eco\n"), "{name}");
    line(world, &starts[0].replace("%i", instance))
}

/// The command of the line of the crontab with this step.
fn cron<'w>(world: &'w World, step: &str) -> Run<'w> {
    let text = fs::read_to_string(here("examples/cron/eco")).unwrap();
    let jobs: Vec<Vec<&str>> =
        text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(jobs.len(), 4);
    assert!(jobs.iter().all(|job| job[1..6] == ["*", "*", "*", "*", "root"]), "{jobs:?}");
    let job = jobs.iter().find(|job| job[9..].contains(&step)).unwrap();
    assert_eq!(job[9], "shop");
    line(world, &job[6..].join(" "))
}

/// The records of the log, of one type.
fn logged(world: &World, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.folder().join("logs/shop.ndjson")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|record| record["type"] == kind).collect()
}

fn kinds(world: &World) -> Vec<String> {
    logged(world, "snapshot").iter().map(|snapshot| snapshot["kind"].as_str().unwrap().to_owned()).collect()
}

/// Nothing can be written to the store from here on, not by root either.
fn lose_the_store(world: &World) {
    fs::rename(world.store(), world.folder().join("lost")).unwrap();
    fs::write(world.store(), "").unwrap();
}

#[track_caller]
fn silent(ran: Ran) {
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "{ran}");
}

#[test]
fn the_lines_of_the_units_take_snapshots_verify_rehearse_and_prune() {
    let world = scheduled();
    unit(&world, "eco-weekly@.service", "shop").exits(0);
    unit(&world, "eco-daily@.service", "shop").exits(0);
    assert_eq!(kinds(&world), ["weekly", "daily"]);
    let snapshots = logged(&world, "snapshot");
    assert!(snapshots.iter().all(|snapshot| snapshot["good"] == true), "{snapshots:?}");
    assert_eq!((&snapshots[0]["mode"], &snapshots[1]["mode"]), (&"full".into(), &"differential".into()));
    // The newest good one in full, and a sample of both.
    let looks = logged(&world, "verification");
    assert_eq!(looks.len(), 3, "{looks:?}");
    assert_eq!((&looks[0]["snapshot"], &looks[0]["sample"]), (&snapshots[1]["id"], &Value::Null));
    assert!(looks[1..].iter().all(|look| look["sample"] == 0.1), "{looks:?}");
    assert_eq!(world.read("run/pruned"), "--json --only --apply --yes --no-progress\n");
    if program("eco-prune").is_file() {
        assert_eq!(logged(&world, "retention").len(), 2);
    } else {
        not_shown("the daily job removes what is too old", "there is no eco-prune");
    }
    unit(&world, "eco-monthly@.service", "shop").exits(0);
    unit(&world, "eco-rehearse@.service", "shop").exits(0);
    assert_eq!(kinds(&world)[2], "monthly");
    assert_eq!(logged(&world, "verification").last().unwrap()["depth"], "restored");
    assert_eq!(world.read("run/told"), "-", "nobody is told of what went well");
    let all = line(&world, "/usr/lib/eco/scheduled shop verify").env("ECO_SAMPLE", "all");
    all.exits(0);
    assert!(logged(&world, "verification").iter().rev().take(4).all(|look| look["sample"].is_null()), "all of them, in full");
}

#[test]
fn a_store_that_cannot_be_written_is_told_of_and_nothing_is_pruned() {
    let world = scheduled();
    unit(&world, "eco-weekly@.service", "shop").exits(0);
    lose_the_store(&world);
    let ran = unit(&world, "eco-daily@.service", "shop").exits(3);
    ran.says("scheduled: daily of shop ended with 3").says("nothing is removed, because a step before that did not go well");
    assert_eq!(world.read("run/pruned"), "-");
    // What systemd starts then: OnFailure=eco-failed@%n.service, whose instance is the unit.
    let text = fs::read_to_string(here("examples/systemd/eco-daily@.service")).unwrap();
    assert!(text.contains("\nOnFailure=eco-failed@%n.service\n"));
    unit(&world, "eco-failed@.service", "eco-daily@shop.service").exits(0);
    let told = world.read("run/told");
    assert!(told.starts_with("shop on ") && told.contains(": eco-daily@shop.service failed\n"), "{told}");
    // Without anybody to tell it is loud, and fails itself.
    world.program("bin/tell", "#!/bin/sh\necho no route to mail.example\nexit 7\n");
    let ran = unit(&world, "eco-failed@.service", "eco-daily@shop.service").exits(3);
    ran.says("NOBODY WAS TOLD: shop on ").says("eco-daily@shop.service failed").says("bin/tell ended with 7: no route to mail.example");
}

#[test]
fn a_snapshot_that_is_not_good_is_a_failure_that_keeps_the_old_ones() {
    let world = scheduled();
    world.snapshot();
    world.break_it("module recommend");
    let ran = unit(&world, "eco-daily@.service", "shop").exits(1);
    ran.says("the daily snapshot was taken and is not good").says("nothing is removed");
    assert_eq!((kinds(&world), logged(&world, "verification").len()), (vec!["daily".to_owned()], 3), "verified all the same");
    assert_eq!(world.read("run/pruned"), "-");
}

#[test]
fn the_lines_of_the_crontab_do_their_jobs_once_and_catch_up_with_what_was_missed() {
    let world = scheduled();
    let calls = || {
        for step in ["daily", "weekly", "monthly", "rehearse"] {
            silent(cron(&world, step).exits(0));
        }
        (kinds(&world).join(" "), world.read("run/pruned").lines().count(), logged(&world, "verification").len())
    };
    let first = "daily weekly monthly";
    world.at("2026-03-03T02:07:00Z"); // a Tuesday
    // Three looks by verify, the rehearsal, and one more look for each snapshot that is in the sample.
    assert_eq!(calls(), (first.to_owned(), 1, 3));
    let done = calls();
    assert_eq!(done.0, first, "each job is done once");
    world.at("2026-03-04T01:59:59Z");
    assert_eq!(calls(), done, "the day begins at two");
    world.at("2026-03-04T02:00:00Z");
    assert_eq!(calls().0, format!("{first} daily"));
    // The machine was off from Wednesday to Monday.
    world.at("2026-03-09T13:07:00Z");
    assert_eq!(calls().0, format!("{first} daily daily weekly"));
    world.at("2026-04-01T08:07:00Z");
    assert_eq!(calls().0, format!("{first} daily daily weekly daily weekly monthly"));
    let depths: Vec<Value> = logged(&world, "verification").iter().map(|look| look["depth"].clone()).collect();
    assert_eq!(depths.iter().filter(|depth| **depth == "restored").count(), 2, "one in March, one in April");
    assert_eq!(world.read("run/told"), "-");
}

#[test]
fn a_failure_under_cron_keeps_its_code_is_told_once_and_tried_again_the_next_day() {
    let world = scheduled();
    world.at("2026-03-03T02:07:00Z");
    silent(cron(&world, "daily").exits(0));
    lose_the_store(&world);
    world.at("2026-03-04T02:07:00Z");
    cron(&world, "daily").exits(3).says("scheduled: daily of shop ended with 3");
    let told = world.read("run/told");
    assert!(told.contains(": daily verify prune ended with 3\n") && told.contains("eco-snap: "), "{told}");
    world.at("2026-03-04T03:07:00Z");
    silent(cron(&world, "daily").exits(0));
    assert_eq!(world.read("run/told"), told, "not every hour");
    // A notification that fails hides nothing.
    world.program("bin/tell", "#!/bin/sh\nexit 7\n").at("2026-03-05T02:07:00Z");
    cron(&world, "daily").exits(3).says("scheduled: daily of shop ended with 3").says("NOBODY WAS TOLD");
    fs::remove_file(world.store()).unwrap();
    fs::rename(world.folder().join("lost"), world.store()).unwrap();
    world.at("2026-03-06T02:07:00Z");
    silent(cron(&world, "daily").exits(0));
    assert_eq!(kinds(&world), ["daily", "daily"]);
}

#[test]
fn two_jobs_of_one_ecosystem_do_not_overlap() {
    let world = scheduled();
    fs::create_dir(world.folder().join("state")).unwrap();
    let lock = File::options().append(true).create(true).open(world.folder().join("state/shop.lock")).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    silent(cron(&world, "daily").exits(0));
    unit(&world, "eco-weekly@.service", "shop").env("ECO_PATIENCE", "1").exits(3).says("another job of shop has run for 1 s and still does");
    // One that hangs is not waited for in silence.
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    lock.set_modified(long_ago).unwrap();
    cron(&world, "daily").exits(3).says("another job of shop has run for more than 21600 s");
    assert!(kinds(&world).is_empty());
    drop(lock);
    unit(&world, "eco-weekly@.service", "shop").exits(0);
}

#[test]
fn wrong_words_of_a_schedule_touch_nothing() {
    let world = scheduled();
    let with = |words: &str| line(&world, &format!("/usr/lib/eco/scheduled {words}"));
    with("shop").exits(2).says("it takes the name of an ecosystem and steps");
    with("shop daily tidy").exits(2).says("'tidy' is no step");
    with("shpo daily").exits(2).says("configs/shpo.toml: make it a link");
    with("../shop daily").exits(2).says("cannot be a name");
    with("--once-a year shop daily").exits(2).says("day, week or month");
    with("shop daily").env("PATH", "/usr/bin:/bin").exits(2).says("there is no eco-health in PATH");
    assert!(!world.folder().join("state").exists() && !world.folder().join("logs").exists());
}

#[test]
fn eco_ctl_tells_people_what_it_is_given() {
    let world = scheduled();
    let told = world.run("eco-ctl").args(["tell", "two words"]).stdin(b"caf\xe9\n").exits(0).only();
    assert_eq!((&told["do"], &told["ok"]), (&"tell".into(), &true.into()));
    assert_eq!(world.read("run/told"), "two words\ncaf\u{fffd}\n");
    world.run("eco-ctl").arg("tell").exits(2).says("tell needs a subject");
    world.run("eco-ctl").args(["tell", "a", "-"]).exits(2).says("leave out the '-'");
    world.program("bin/tell", "#!/bin/sh\necho no mail today >&2\nexit 1\n");
    let told = world.run("eco-ctl").args(["tell", "a"]).stdin("").exits(1).only();
    assert_eq!(told["note"], "bin/tell ended with 1: no mail today");
    let toml = world.read("eco.toml");
    world.write("eco.toml", toml.split("[notify]").next().unwrap());
    let told = world.run("eco-ctl").args(["tell", "a"]).stdin("").exits(1).only();
    assert_eq!(told["note"], "[notify] of eco.toml names no command");
}

#[test]
fn systemd_takes_the_units_and_their_times() {
    let world = World::new();
    let folder = world.folder();
    let mut names = Vec::new();
    let mut times = Vec::new();
    for entry in fs::read_dir(here("examples/systemd")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some((stem, kind)) = name.split_once("@.") else { continue };
        let text = fs::read_to_string(here("examples/systemd").join(&name)).unwrap();
        assert!(kind != "timer" || text.contains("\nPersistent=yes\n") && text.contains("\nRandomizedDelaySec="), "{name}");
        times.extend(text.lines().filter_map(|line| line.strip_prefix("OnCalendar=")).map(str::to_owned));
        let text = text.replace("/usr/lib/eco/", &format!("{}/", here("scripts").display()));
        // As templates, and as an instance that is looked at.
        fs::write(folder.join(&name), &text).unwrap();
        fs::write(folder.join(format!("{stem}@shop.{kind}")), &text).unwrap();
        names.push(folder.join(format!("{stem}@shop.{kind}")));
    }
    assert_eq!((names.len(), times.len()), (10, 4));
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(&names).env("LC_ALL", "C").env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display()));
    let Ok(done) = verify.output() else { return not_shown("systemd takes the units of the schedules", "there is no systemd-analyze") };
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
    let done = Command::new("systemd-analyze").arg("calendar").args(&times).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout).matches("Next elapse:").count(), 4);
}
