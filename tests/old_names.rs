//! The old procedures' names: what they do now, what they say without their argument, and that failure is told as failure.

use crate::harness::{Ran, Run, World, program};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/compat")
}

fn path() -> String {
    format!("{}:/usr/bin:/bin", program("eco-health").parent().unwrap().display())
}

/// One of the old names, with the programs in its PATH.
fn old<'w>(world: &'w World, name: &str) -> Run<'w> {
    world.run(folder().join(name).to_str().unwrap()).env("PATH", path())
}

/// What lies in the ecosystem's root and begins so.
fn found(world: &World, start: &str) -> Vec<String> {
    let all = fs::read_dir(world.root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    all.filter(|name| name.starts_with(start)).collect()
}

#[track_caller]
fn completed(ran: &Ran, scope: &str) {
    let restore = ran.last("restore");
    assert_eq!((&restore["phase"], &restore["scope"]), (&"completed".into(), &scope.into()), "{ran}");
}

#[test]
fn every_old_name_says_how_it_is_called_and_does_nothing_without_its_argument() {
    let world = World::service();
    world.good();
    let before = world.tree("");
    let words = |name: &str| match name {
        "rollback_module.sh" => " <module_name>",
        "rollback_automation.sh" => " <automation_id>",
        "rollback_optimization.sh" => " <optimization_id>",
        "rollback_experiment.sh" => " <experiment_id>",
        "backup_ecosystem.sh" => " <type>",
        "restore_ecosystem.sh" => " <backup_file>",
        "verify_backup.sh" => " [<backup_file>]...",
        "incident_report.sh" => " [<log>]",
        _ => "",
    };
    let mut seen = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "common.sh" {
            continue;
        }
        seen += 1;
        let usage = format!("Usage: {name}{}\n", words(&name));
        assert_eq!(old(&world, &name).arg("--help").exits(0).stdout, usage);
        if words(&name).starts_with(" <") {
            old(&world, &name).exits(2).says(&usage);
            old(&world, &name).arg("").exits(2).says(&usage);
        }
        if name != "verify_backup.sh" {
            let ran = old(&world, &name).args(["one", "two"]).exits(2).says(&usage);
            assert_eq!(ran.stdout, "");
        }
        let ran = old(&world, &name).env("PATH", "/usr/bin:/bin").arg("x").ran();
        assert!(ran.code == 2 && ran.stderr.contains("there is no eco-restore in PATH"), "{ran}");
    }
    assert_eq!(seen, 13);
    before.same_as(&world.tree(""));
}

#[test]
fn the_service_is_the_one_that_the_link_lies_in_and_eco_config_wins() {
    let (world, other) = (World::service(), World::service());
    // A blank in the way breaks what is not quoted.
    fs::create_dir(world.path("old scripts")).unwrap();
    symlink(folder().join("backup_ecosystem.sh"), world.path("old scripts/backup_ecosystem.sh")).unwrap();
    let link = world.path("old scripts/backup_ecosystem.sh");
    let snapshots = |world: &World| world.run("eco-ls").ran().stdout.lines().count();
    let run = |from: &Path, config: Option<PathBuf>| {
        let mut command = Command::new(&link);
        command.arg("manual").current_dir(from).env_clear().env("PATH", path()).env("HOME", world.folder()).stdin(Stdio::null());
        let done = command.envs(config.map(|file| ("ECO_CONFIG", file))).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    run(Path::new("/"), None);
    run(&other.root(), None);
    assert_eq!((snapshots(&world), snapshots(&other)), (2, 0), "wherever it is called from");
    run(&world.root(), Some(other.path("eco.toml")));
    assert_eq!((snapshots(&world), snapshots(&other)), (2, 1));
    // By its real name it finds what the programs find.
    old(&other, "backup_ecosystem.sh").arg("manual").exits(0);
    assert_eq!((snapshots(&world), snapshots(&other)), (2, 2));
}

#[test]
fn emergency_rollback_brings_the_shop_back_and_writes_its_report() {
    let world = World::shop();
    let good = world.read("config/shop.json");
    world.snapshot();
    // Healthy: nothing to blame, and no banner.
    let pid = world.pid();
    let ran = old(&world, "emergency_rollback.sh").exits(1).says("nothing was rolled back: the policy finds nothing that is wrong.");
    assert_eq!((ran.stdout.as_str(), world.pid()), ("", pid));
    assert!(found(&world, "incident_report_").is_empty());

    // Errors that nothing is known to cause: the person is told how to go on, and nothing is guessed.
    world.break_it("errors 15");
    world.run(world.path("bin/shop").to_str().unwrap()).args(["order", "60"]).exits(1);
    old(&world, "emergency_rollback.sh").exits(1).says("the policy says 'investigate', and finds nothing to blame").says("eco-restore latest-good");
    assert_eq!(world.pid(), pid);
    world.break_it("errors 0");

    // The policy alone would propose this; the call is the word of a person.
    world.break_it("config");
    let ran = old(&world, "emergency_rollback.sh").exits(0).says("the report is ");
    completed(&ran, "full");
    assert_eq!(world.read("config/shop.json"), good);
    assert_eq!(world.health().unwrap()["overall_health"], "healthy");
    let reports = found(&world, "incident_report_");
    assert_eq!(reports.len(), 1);
    let text = world.read(&reports[0]);
    assert!(text.contains("- **Outcome:** completed"), "{text}");
    let mode = fs::metadata(world.path(&reports[0])).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A second one within the same minute has a report of its own; the shop is down this time.
    world.break_it("kill");
    completed(&old(&world, "emergency_rollback.sh").exits(0), "full");
    assert_eq!(found(&world, "incident_report_").len(), 2);
}

#[test]
fn hazard_14_an_emergency_rollback_that_fails_says_so_and_ends_so() {
    let world = World::shop();
    world.break_it("data");
    let before = world.tree("data/shop.db");
    // There is nothing to go back to.
    let ran = old(&world, "emergency_rollback.sh").exits(4).says("the rollback did not succeed: eco-restore ended with 4");
    assert!(!ran.stdout.contains("\"phase\":\"completed\""), "{ran}");
    assert!(!ran.stderr.to_lowercase().contains("complete"), "{ran}");
    before.same_as(&world.tree("data/shop.db"));
    // Nor is there a service of which anything is known.
    world.write("eco.toml", "[ecosystem]\nnam = 1\n");
    old(&world, "emergency_rollback.sh").exits(2).says("nam").says("nothing was rolled back: it could not be found out how the service is");
    old(&world, "auto_rollback.sh").env("ECO_DIR", world.folder().join("auto")).exits(3).says("nothing is watched until that is mended");
    old(&world, "health_monitor.sh").exits(2).says("nam");
}

#[test]
fn an_emergency_does_not_wait_for_a_report_that_cannot_be_written() {
    let world = World::shop();
    world.snapshot();
    world.break_it("data");
    // A folder in which nobody can make a file, not even root.
    let script = format!("cd /proc && exec {}/emergency_rollback.sh", folder().display());
    let ran = world.run("/bin/sh").args(["-c", &script]).env("PATH", path()).env("ECO_CONFIG", world.path("eco.toml")).exits(0);
    completed(&ran, "full");
    assert_eq!(world.health().unwrap()["overall_health"], "healthy");
}

#[test]
fn a_module_goes_back_and_nothing_else_does() {
    let world = World::shop();
    world.snapshot();
    let good = world.read("modules/checkout/module.py");
    world.break_it("module checkout");
    world.write("modules/catalog/note", "of today\n").write("config/note", "of today\n");
    completed(&old(&world, "rollback_module.sh").arg("checkout").exits(0), "module:checkout");
    assert_eq!(world.read("modules/checkout/module.py"), good);
    assert_eq!((world.read("modules/catalog/note"), world.read("config/note")), ("of today\n".into(), "of today\n".into()));
    // A part of a name is no name, and a pattern is none either.
    for name in ["check", "*", "checkout ", "../checkout"] {
        let ran = old(&world, "rollback_module.sh").arg(name).ran();
        assert!(ran.code == 2 && ran.stdout.is_empty(), "{name}: {ran}");
    }
}

#[test]
fn the_configuration_goes_back_and_the_orders_stay() {
    let world = World::shop();
    world.snapshot();
    let good = world.read("config/shop.json");
    world.shop_does("order 3");
    let orders = world.orders();
    world.break_it("config");
    completed(&old(&world, "rollback_config.sh").exits(0), "config");
    assert_eq!((world.read("config/shop.json"), world.orders()), (good, orders));
    fs::remove_dir_all(world.store()).unwrap();
    old(&world, "rollback_config.sh").exits(1).says("no good snapshot");
}

#[test]
fn an_automation_an_optimization_and_an_experiment_are_switched_off() {
    let world = World::shop();
    let pid = world.pid();
    for (name, id, file) in [
        ("rollback_automation.sh", "loyalty", "data/state/switches.json"),
        ("rollback_optimization.sh", "early-free-shipping", "config/optimizations.json"),
        ("rollback_experiment.sh", "checkout-page", "data/state/switches.json"),
    ] {
        let kind = name.trim_start_matches("rollback_").trim_end_matches(".sh");
        if kind == "optimization" {
            world.run(world.path("bin/ctl").to_str().unwrap()).args(["apply-optimization", id]).exits(0);
        }
        let before = world.read(file);
        completed(&old(&world, name).arg(id).exits(0), &format!("{kind}:{id}"));
        assert_ne!(before, world.read(file), "{name}");
        let ran = old(&world, name).arg("nobody").ran();
        assert!(ran.code > 1 && ran.stderr.contains("nobody") && ran.last("restore")["phase"] == "failed", "{ran}");
    }
    assert_eq!(world.pid(), pid, "the shop was not stopped");
}

#[test]
fn a_backup_is_good_if_the_service_is_and_its_type_is_a_known_one() {
    let world = World::shop();
    for kind in ["manual", "daily", "weekly", "monthly", "pre-deployment"] {
        let snapshot = old(&world, "backup_ecosystem.sh").arg(kind).exits(0).last("snapshot");
        assert_eq!((&snapshot["kind"], &snapshot["good"]), (&kind.into(), &true.into()), "{snapshot}");
    }
    old(&world, "backup_ecosystem.sh").arg("hourly").exits(2).says("hourly");
    world.break_it("module checkout");
    let ran = old(&world, "backup_ecosystem.sh").arg("daily").exits(1).says("not healthy");
    assert_eq!(ran.last("snapshot")["good"], false);
    // The store is a file: no backup, and nobody says that there is one.
    fs::remove_dir_all(world.store()).unwrap();
    fs::write(world.store(), "").unwrap();
    let ran = old(&world, "backup_ecosystem.sh").arg("weekly").exits(3);
    assert!(ran.all("snapshot").is_empty(), "{ran}");
}

#[test]
fn everything_goes_back_to_a_file_that_is_named() {
    let world = World::shop();
    let archive = world.snapshot()["path"].as_str().unwrap().to_owned();
    let good = world.read("config/shop.json");
    assert!(good.contains("0.19"), "{good}");
    let spoil = || world.write("config/shop.json", good.replace("0.19", "0.20"));
    spoil();
    completed(&old(&world, "restore_ecosystem.sh").arg(&archive).exits(0), "full");
    assert_eq!(world.read("config/shop.json"), good);
    // As the old procedure wrote them, by a name without a slash or an end.
    world.shell("mkdir ../ecosystem-20251216 && cp -a data config ../ecosystem-20251216 && tar -czf old -C .. ecosystem-20251216");
    spoil();
    completed(&old(&world, "restore_ecosystem.sh").arg("old").exits(0), "full");
    assert_eq!(world.read("config/shop.json"), good);

    spoil();
    let (before, pid) = (world.tree("config"), world.pid());
    fs::write(world.path("cut.tar.gz"), &fs::read(&archive).unwrap()[..9000]).unwrap();
    for name in ["cut.tar.gz", "nowhere.tar.gz"] {
        let ran = old(&world, "restore_ecosystem.sh").arg(name).ran();
        assert!([3, 4].contains(&ran.code), "{ran}");
    }
    before.same_as(&world.tree("config"));
    assert_eq!(world.pid(), pid, "nobody was stopped for it");
}

#[test]
fn backups_are_read_back_and_damage_or_none_at_all_is_no_success() {
    let world = World::shop();
    old(&world, "verify_backup.sh").exits(1);
    let archive = world.snapshot()["path"].as_str().unwrap().to_owned();
    assert_eq!(old(&world, "verify_backup.sh").exits(0).only()["ok"], true);
    assert_eq!(old(&world, "verify_backup.sh").arg(&archive).exits(0).only()["ok"], true);
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    assert_eq!(old(&world, "verify_backup.sh").exits(1).only()["ok"], false);
    old(&world, "verify_backup.sh").arg("nowhere.tar.gz").exits(3).says("nowhere.tar.gz");
}

#[test]
fn a_deployment_waits_for_every_check_and_a_verified_backup() {
    let world = World::shop();
    let check = || old(&world, "pre_deployment_check.sh");
    check().exits(1).says("closed: restore-point did not pass");
    world.snapshot();
    let ran = check().exits(0);
    let snapshot = ran.last("snapshot");
    assert_eq!((&snapshot["kind"], &snapshot["good"]), (&"pre-deployment".into(), &true.into()));
    assert!(ran.all("gate").iter().any(|gate| gate["check"] == "selftest" && gate["ok"] == true), "{ran}");
    world.break_it("errors 15");
    world.run(world.path("bin/shop").to_str().unwrap()).args(["order", "60"]).exits(1);
    let ran = check().exits(1).says("not healthy: ").says("closed: selftest did not pass");
    assert!(ran.all("snapshot").is_empty(), "{ran}");
    world.break_it("module checkout");
    let ran = check().exits(1).says("closed: selftest did not pass");
    assert!(ran.all("snapshot").is_empty(), "{ran}");
}

#[test]
fn health_is_watched_until_it_is_enough() {
    let world = World::shop();
    let run = old(&world, "health_monitor.sh").env("ECO_EVERY", "100ms");
    let log = world.folder().join("watched");
    let watch = || {
        let mut child = run.command().stdout(fs::File::create(&log).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        let patience = Instant::now() + Duration::from_secs(60);
        while fs::read_to_string(&log).unwrap().lines().count() < 3 && Instant::now() < patience {
            thread::sleep(Duration::from_millis(20));
        }
        // The program has taken the script's place: one signal, no orphan.
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let code = child.wait().unwrap().code();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.lines().count() >= 3 && text.lines().all(|line| line.starts_with("{\"type\":\"health\"")), "{text}");
        code
    };
    assert_eq!(watch(), Some(0));
    world.break_it("kill");
    assert_eq!(watch(), Some(1));
}

#[test]
fn the_old_watcher_rolls_back_at_last() {
    let world = World::shop();
    world.snapshot();
    let folder = world.folder().join("auto");
    let run = old(&world, "auto_rollback.sh").env("ECO_EVERY", "200ms").env("ECO_DIR", &folder).env("TMPDIR", world.folder());
    let mut child = run.command().stderr(Stdio::null()).spawn().unwrap();
    let log = || fs::read_to_string(folder.join("stream.ndjson")).unwrap_or_default();
    let until = |what: &str| {
        let patience = Instant::now() + Duration::from_secs(60);
        while !log().contains(what) {
            assert!(Instant::now() < patience, "no {what} within a minute\n{}", log());
            thread::sleep(Duration::from_millis(20));
        }
    };
    until("\"type\":\"health\"");
    world.break_it("data");
    until("\"phase\":\"completed\"");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.health().unwrap()["overall_health"], "healthy");

    // The report is about that log, and so it says what happened.
    let ran = old(&world, "incident_report.sh").env("ECO_DIR", &folder).exits(0);
    assert!(world.read(ran.stdout.trim()).contains("- **Outcome:** completed"));
}

#[test]
fn a_report_needs_a_log_and_an_incident() {
    let world = World::shop();
    let log = world.folder().join("log");
    let healthy = world.run("eco-health").exits(0).stdout;
    fs::write(&log, &healthy).unwrap();
    let ran = old(&world, "incident_report.sh").arg(&log).exits(1);
    let first = ran.stdout.trim().to_owned();
    assert!(first.starts_with("incident_report_2") && first.ends_with(".md"));
    // One more, at once, does not take the first one's place.
    let second = old(&world, "incident_report.sh").env("ECO_LOG", &log).exits(1).stdout;
    assert_ne!(first, second.trim());
    assert_eq!(world.read(&first), world.read(second.trim()));
    let ran = old(&world, "incident_report.sh").arg("/no/such/log").exits(3).says("cannot read /no/such/log");
    assert_eq!(ran.stdout, "");
    assert_eq!(found(&world, "incident_report_").len(), 2, "nothing is left of what failed");
}
