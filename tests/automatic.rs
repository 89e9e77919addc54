//! Automatic rollback as a service: the script that joins the three programs, and the unit that runs it.

use crate::harness::{World, not_shown, program};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

/// What takes minutes in the built-in policy takes seconds here.
const POLICY: &str = r#"
[time]
clear = "3s"
samples = 2
[rollback]
blame = "5m"
tie = "1s"
cooldown = "6s"
[rules.high]
integration = { when = "integration == false", for = "1s" }
"#;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Waits for it, at most a minute.
#[track_caller]
fn until(what: &str, watch: &Watch, reached: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < patience, "{what}: not within a minute\n{}\n{}", watch.said(), watch.text());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The script, running.
struct Watch {
    child: Child,
    folder: PathBuf,
}

impl Watch {
    /// Starts it in a world, with this variable set besides the usual ones.
    fn start(world: &World, (name, value): (&str, &str)) -> Watch {
        let folder = world.folder().join("auto");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policy.toml"), POLICY).unwrap();
        let programs = program("eco-health").parent().unwrap().display().to_string();
        let run = world.run(here("scripts/auto-rollback").to_str().unwrap()).env("PATH", format!("{programs}:/usr/bin:/bin"));
        let run = run.env("ECO_EVERY", "400ms").env("ECO_DIR", &folder).env("ECO_POLICY", folder.join("policy.toml"));
        let said = File::options().append(true).create(true).open(folder.join("said")).unwrap();
        let child = run.env(name, value).command().stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let watch = Watch { child, folder };
        let before = watch.samples();
        until("the first samples", &watch, || watch.samples() > before + 1);
        watch
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("stream.ndjson")).unwrap_or_default()).into_owned()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }

    /// The records of its log, of one type; a line that is being written is not there yet.
    fn all(&self, kind: &str) -> Vec<Value> {
        let text = self.text();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let records = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["type"] == kind).collect()
    }

    /// The beginnings and ends of rollbacks. The log has an end where it came about, and once more where the decision was told.
    fn phases(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        let mut restores = self.all("restore");
        restores.retain(|restore| {
            !seen.contains(restore) && {
                seen.push(restore.clone());
                true
            }
        });
        restores.iter().map(|restore| restore["phase"].clone()).collect()
    }

    fn samples(&self) -> usize {
        self.all("health").len()
    }

    fn has(&self, kind: &str, field: &str, value: &str) -> bool {
        self.all(kind).iter().any(|record| record[field] == value)
    }

    /// The process of one of the programs.
    fn member(&self, name: &str) -> u32 {
        let own = self.child.id().to_string();
        let is_it = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let has = |line: String| status.lines().any(|other| other == line);
            has(format!("Name:\t{name}")) && has(format!("PPid:\t{own}"))
        };
        let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        all.into_iter().find(is_it).unwrap_or_else(|| panic!("no {name} runs\n{}", self.said()))
    }

    fn signal(&self, pid: u32, signal: &str) {
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    }

    /// Tells it to stop; it must end well.
    fn stop(mut self) {
        self.signal(self.child.id(), "-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.said());
    }
}

/// The largest memory that a process has used, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Announces a change, and makes it: the configuration is no longer one.
fn break_config(world: &World, watch: &Watch) {
    world.run("eco-ctl").args(["change", "config", "--id", "r42"]).exits(0);
    until("the change is in the stream", watch, || watch.has("change", "id", "r42"));
    world.break_it("config");
}

#[test]
fn a_change_that_breaks_the_shop_is_rolled_back_while_nobody_looks() {
    let world = World::shop();
    let good = world.read("config/shop.json");
    world.snapshot();
    let watch = Watch::start(&world, ("ECO_METRICS", world.folder().join("shop.prom").to_str().unwrap()));
    break_config(&world, &watch);
    until("the rollback", &watch, || watch.has("restore", "phase", "completed"));
    until("the end of the incident", &watch, || watch.has("decision", "action", "resolved"));

    let decisions: Vec<String> = watch.all("decision").iter().map(|decision| format!("{} {}", decision["action"], decision["scope"])).collect();
    assert_eq!(decisions, ["\"rollback\" \"config\"", "\"resolved\" null"], "{}", watch.said());
    assert_eq!(watch.phases(), ["started", "completed"], "exactly one rollback");
    assert_eq!(world.read("config/shop.json"), good);
    assert_eq!(world.health().unwrap()["overall_health"], "healthy");
    assert!(fs::read_to_string(world.folder().join("shop.prom")).unwrap().contains("eco_up{ecosystem=\"shop\"} 1\n"));
    for name in ["eco-health", "eco-decide", "eco-restore"] {
        let most = peak(watch.member(name));
        println!("{name}: {most} KiB at most");
        assert!(most < 64 << 10, "{name} has used {most} KiB");
    }
    // What the rollback has started is nobody's child here, and hears no signal of ours.
    let pid = world.pid().unwrap();
    watch.stop();
    assert_eq!(world.pid(), Some(pid), "the shop goes on without its watch");
    let ignored = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ignored = ignored.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & (1 << 1 | 1 << 2), 0, "INT and QUIT are not ignored by what a rollback has started");
}

#[test]
fn a_pipe_that_is_killed_in_the_middle_of_an_incident_goes_on_from_its_state() {
    let world = World::shop();
    world.snapshot();
    let mut watch = Watch::start(&world, ("ECO_METRICS", ""));
    break_config(&world, &watch);
    until("the rollback", &watch, || watch.has("restore", "phase", "completed"));
    assert!(!watch.has("decision", "action", "resolved"), "still in its middle");
    let members = ["eco-health", "eco-decide", "eco-restore"].map(|name| watch.member(name));
    for pid in [watch.child.id()].into_iter().chain(members) {
        watch.signal(pid, "-KILL");
    }
    watch.child.wait().unwrap();

    let watch = Watch::start(&world, ("ECO_METRICS", ""));
    until("the end of the incident", &watch, || watch.has("decision", "action", "resolved"));
    let decisions = watch.all("decision");
    let (first, last) = (&decisions[0], decisions.last().unwrap());
    assert_eq!(first["incident"], last["incident"], "one incident, before the kill and after it");
    let rollbacks = decisions.iter().filter(|decision| decision["action"] == "rollback").count();
    let completed = watch.phases().iter().filter(|phase| **phase == "completed").count();
    assert_eq!((rollbacks, completed), (1, 1), "{}", watch.text());
    watch.stop();
}

#[test]
fn a_rollback_that_was_killed_with_the_pipe_is_finished_by_the_next_one() {
    let world = World::shop();
    world.snapshot();
    world.program("bin/patient", "#!/bin/sh\nwhile [ -e block ]; do sleep 0.05; done\nexec bin/selftest\n").write("block", "");
    world.write("eco.toml", world.read("eco.toml").replace("bin/selftest", "bin/patient"));
    let mut watch = Watch::start(&world, ("ECO_METRICS", ""));
    break_config(&world, &watch);
    until("the new tree is live, and being proven", &watch, || watch.has("step", "step", "start"));
    let members = ["eco-health", "eco-decide", "eco-restore"].map(|name| watch.member(name));
    for pid in [watch.child.id()].into_iter().chain(members) {
        watch.signal(pid, "-KILL");
    }
    watch.child.wait().unwrap();
    assert!(!watch.has("restore", "phase", "completed"), "killed in its middle");
    fs::remove_file(world.path("block")).unwrap();

    let watch = Watch::start(&world, ("ECO_METRICS", ""));
    let phases = watch.phases();
    assert!(phases.len() == 2 && phases[0] == "started" && ["completed", "reverted"].contains(&phases[1].as_str().unwrap()), "{phases:?}");
    world.run("eco-restore").arg("--recover").exits(0).says("nothing to recover");
    assert!(world.pid().is_some(), "{}", watch.said());
    watch.stop();
}

#[test]
fn a_rollback_that_was_taken_back_is_handed_to_people_at_once() {
    let world = World::shop();
    world.snapshot();
    world.program("bin/never", "#!/bin/sh\nexit 1\n");
    world.write("eco.toml", world.read("eco.toml").replace("bin/selftest", "bin/never"));
    let watch = Watch::start(&world, ("ECO_METRICS", ""));
    break_config(&world, &watch);
    until("an escalation", &watch, || watch.has("decision", "action", "escalate"));
    let escalation = watch.all("decision").into_iter().find(|decision| decision["action"] == "escalate").unwrap();
    assert_eq!(escalation["notes"], serde_json::json!(["rollback-failed"]), "not after the cooldown, as one that did not help");
    let reverted: Vec<Value> = watch.all("restore").into_iter().filter(|restore| restore["phase"] == "reverted").collect();
    assert_eq!((reverted.len(), &reverted[0]), (2, &reverted[1]), "where it ended, and where the decision was told");
    watch.stop();
}

#[test]
fn a_member_that_is_killed_ends_the_whole_and_is_named() {
    let world = World::shop();
    for name in ["eco-health", "eco-decide", "eco-restore"] {
        let mut watch = Watch::start(&world, ("ECO_METRICS", ""));
        let members = ["eco-health", "eco-decide", "eco-restore"].map(|name| watch.member(name));
        watch.signal(watch.member(name), "-KILL");
        assert_eq!(watch.child.wait().unwrap().code(), Some(3), "{}", watch.said());
        let said = watch.said();
        assert!(said.contains(&format!("auto-rollback: {name} was ended by signal 9 (KILL), so the whole pipe was ended")), "{said}");
        assert!(members.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()), "nobody is left behind");
    }
}

#[test]
fn a_person_holds_it_back_and_the_log_is_opened_anew() {
    let world = World::shop();
    world.snapshot();
    let watch = Watch::start(&world, ("ECO_METRICS", ""));
    world.run("eco-ctl").arg("hold").exits(0);
    until("the word is in the stream", &watch, || watch.has("operator", "do", "hold"));
    fs::remove_file(watch.folder.join("stream.ndjson")).unwrap();
    watch.signal(watch.child.id(), "-HUP");
    until("the log is there again", &watch, || watch.folder.join("stream.ndjson").exists() && watch.samples() > 1);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(watch.folder.join("stream.ndjson")).unwrap());
    assert_eq!(mode & 0o777, 0o600, "nobody else's business");
    // The hold is remembered by the new pipe.
    break_config(&world, &watch);
    until("a proposal", &watch, || watch.has("decision", "action", "propose"));
    let proposal = watch.all("decision").pop().unwrap();
    assert!(proposal["notes"].as_array().unwrap().contains(&"hold".into()), "{proposal}");
    world.run("eco-ctl").args(["approve", proposal["id"].as_str().unwrap()]).exits(0);
    until("the rollback", &watch, || watch.has("restore", "phase", "completed"));
    assert_eq!(watch.all("restore").last().unwrap()["by"], "operator");
    watch.stop();
}

#[test]
fn without_its_shell_the_pipe_runs_dry() {
    let world = World::shop();
    let mut watch = Watch::start(&world, ("ECO_METRICS", ""));
    let members = ["eco-health", "eco-decide", "eco-restore"].map(|name| watch.member(name));
    watch.signal(watch.child.id(), "-KILL");
    watch.child.wait().unwrap();
    until("all of them are gone", &watch, || !members.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()));
}

#[test]
fn a_pipe_that_cannot_work_says_so_and_ends() {
    let world = World::shop();
    let script = here("scripts/auto-rollback");
    let run = || world.run(script.to_str().unwrap()).env("ECO_DIR", world.folder().join("auto")).env("ECO_STATE", "");
    run().exits(2).says("auto-rollback: there is no eco-health in PATH");
    let programs = format!("{}:/usr/bin:/bin", program("eco-health").parent().unwrap().display());
    run().arg("--help").env("PATH", &programs).exits(2).says("it takes no words");
    let run = run().env("PATH", &programs).env("ECO_POLICY", "/no/such/policy");
    run.exits(3).says("eco-decide: cannot read /no/such/policy").says("auto-rollback: eco-decide ended with 2");
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = fs::read_to_string(here("examples/systemd/eco-auto-rollback.service")).unwrap();
    let world = World::new();
    // The pages may not be installed here, and the script is where it is.
    let script = here("scripts/auto-rollback");
    let kept = unit.lines().filter(|line| !line.starts_with("Documentation="));
    let text: String = kept.map(|line| line.replace("/usr/lib/eco/auto-rollback", script.to_str().unwrap()) + "\n").collect();
    assert_ne!(unit, text);
    let path = world.folder().join("eco-auto-rollback.service");
    fs::write(&path, text).unwrap();
    let Ok(done) = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&path).env("LC_ALL", "C").output() else {
        return not_shown("systemd takes the unit of automatic rollback", "there is no systemd-analyze");
    };
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
}
