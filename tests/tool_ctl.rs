//! eco-ctl with a real service: what is stopped, what survives, and what the record says.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A service that writes its pid file once it hears signals, notes where it runs, and appends to a file while it lives.
/// `deaf`: TERM is not heard. `slow`: after TERM it goes on writing for half a second.
const SERVICE: &str = r#"
import os, signal, sys, time
words = sys.argv[1:]
ending = []
def on_term(*_):
    ending.append(time.monotonic() + (0.5 if "slow" in words else 0))
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in words else on_term)
os.makedirs("data", exist_ok=True)
open("where", "w").write(os.getcwd())
log = open("data/log", "a")
with open("svc.pid.new", "w") as f:
    f.write("%d\n" % os.getpid())
os.rename("svc.pid.new", "svc.pid")
while not ending or time.monotonic() < ending[0]:
    log.write("x"); log.flush()
    time.sleep(0.01)
"#;

/// Starts the service as a daemon and returns when it is ready.
const START: &str = "#!/bin/sh\nrm -f svc.pid\nsetsid python3 svc.py $(cat mode 2>/dev/null) >/dev/null 2>&1 </dev/null &\nwhile [ ! -e svc.pid ]; do sleep 0.01; done\n";

pub struct World {
    folder: tempfile::TempDir,
    others: Vec<Child>,
}

pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn records(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{}", self.stderr))).collect()
    }

    /// Its only record, after the exit code was checked.
    pub fn exits(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        let records = self.records();
        assert_eq!(records.len(), 1, "{}", self.stdout);
        records.into_iter().next().unwrap()
    }

    /// What is said when nothing was done.
    pub fn refuses(&self) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{}", self.stderr);
        &self.stderr
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for other in &mut self.others {
            let _ = other.kill();
            let _ = other.wait();
        }
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

impl World {
    pub fn new(eco_toml: &str) -> World {
        let world = World { folder: tempfile::Builder::new().prefix("eco").tempdir().unwrap(), others: Vec::new() };
        world.file("eco.toml", eco_toml);
        world.file("svc.py", SERVICE);
        world.file("start", START);
        world
    }

    /// With a pid file, a stop command that only asks, and a short grace.
    pub fn usual() -> World {
        World::new(
            r#"
            [ecosystem]
            name = "shop"
            [control]
            start = ["./start"]
            stop = ["sh", "-c", "kill $(cat svc.pid)"]
            pidfile = "svc.pid"
            grace = "3s"
            "#,
        )
    }

    pub fn root(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.root().join(name), text).unwrap();
        fs::set_permissions(self.root().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program with a clean environment, in the root.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root()).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, mut command: Command) -> Ran {
        let done = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ran { code: done.status.code().unwrap_or(-1), stdout: text(&done.stdout), stderr: text(&done.stderr) }
    }

    fn ctl(&self, args: &[&str]) -> Ran {
        self.run(self.command(env!("CARGO_BIN_EXE_eco-ctl"), args))
    }

    pub fn start(&self) -> u32 {
        let started = self.ctl(&["start"]).exits(0);
        assert_eq!(started["do"], "start");
        started["pid"].as_u64().unwrap() as u32
    }

    /// The process that the pid file names, if it is one of this world.
    pub fn pid(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.root().join("svc.pid")).ok()?.trim().parse().ok()?;
        (fs::read_link(format!("/proc/{pid}/cwd")).ok()? == self.root()).then_some(pid)
    }

    /// Somebody else at work, with these words in the arguments.
    fn somebody(&mut self, argv: &[&str]) -> u32 {
        let child =
            Command::new(argv[0]).args(&argv[1..]).current_dir(self.root()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
        self.others.push(child.unwrap());
        self.others.last().unwrap().id()
    }
}

pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat[stat.rfind(')').unwrap()..].starts_with(") Z"))
}

pub fn until(what: &str, reached: impl Fn() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < Duration::from_secs(10), "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

#[test]
fn a_service_is_started_seen_and_stopped() {
    let world = World::usual();
    assert_eq!(world.ctl(&["status"]).exits(1)["ok"], false);
    let pid = world.start();
    let seen = world.ctl(&["status"]).exits(0);
    assert_eq!((seen["type"].as_str(), seen["do"].as_str(), seen["pid"].as_u64()), (Some("control"), Some("status"), Some(pid.into())));
    assert_eq!(seen["ecosystem"], "shop");
    let stopped = world.ctl(&["stop"]).exits(0);
    assert_eq!((stopped["ok"].as_bool(), stopped["pid"].as_u64()), (Some(true), Some(pid.into())));
    assert!(!is_alive(pid));
    assert_eq!(world.ctl(&["stop"]).exits(0)["ok"], true, "stopping twice is fine");
}

#[test]
fn a_service_that_ignores_term_is_stopped_all_the_same() {
    let world = World::usual();
    world.file("eco.toml", &fs::read_to_string(world.root().join("eco.toml")).unwrap().replace("\"3s\"", "\"200ms\""));
    world.file("mode", "deaf");
    let pid = world.start();
    let stopped = world.ctl(&["stop"]).exits(0);
    assert!(stopped["note"].as_str().unwrap().contains("got KILL") && !is_alive(pid), "{stopped}");
}

#[test]
fn hazard_09_only_the_service_and_its_group_are_stopped() {
    let mut world = World::new(
        r#"
        [control]
        start = ["./start"]
        process = { exe = "python3", args = ["ROOT/svc.py"] }
        grace = "200ms"
        "#,
    );
    // Other tests run a svc.py of their own: the rule names this one.
    let script = world.root().join("svc.py");
    let rule = fs::read_to_string(world.root().join("eco.toml")).unwrap().replace("ROOT/svc.py", script.to_str().unwrap());
    world.file("eco.toml", &rule);
    world.file("start", &START.replace("python3 svc.py", &format!("python3 {}", script.display())));
    world.file("mode", "deaf");
    let pid = world.start();
    // What `pkill -f svc.py` would take along: an editor, a pager on a copy, and the script that the stop was typed in.
    let editor = world.somebody(&["tail", "-f", "/dev/null", "svc.py"]);
    let copy = world.somebody(&["python3", "-c", "import time; time.sleep(60)", "notes-about-svc.py"]);
    let mut script = world.command("sh", &["-c", "\"$1\" stop; echo survived >&2; true svc.py", "svc.py", env!("CARGO_BIN_EXE_eco-ctl")]);
    script.env("WORD", "svc.py");
    let stopped = world.run(script);
    assert!(stopped.stderr.contains("survived"), "{}", stopped.stderr);
    assert_eq!(stopped.records()[0]["ok"], true, "{}", stopped.stdout);
    assert!(!is_alive(pid), "the service itself");
    assert!(is_alive(editor) && is_alive(copy), "everybody else");
}

#[test]
fn hazard_09_a_process_is_found_under_another_name() {
    let world = World::usual();
    let pid = world.start();
    // Renamed as far as `ps` and `pkill` can see; the pid file does not care.
    fs::write(format!("/proc/{pid}/comm"), "renamed").unwrap_or_default();
    assert_eq!(world.ctl(&["stop"]).exits(0)["pid"], pid);
    assert!(!is_alive(pid));
}

#[test]
fn hazard_09_an_old_pid_file_kills_nobody() {
    let mut world = World::usual();
    world.file("eco.toml", "[control]\npidfile = \"svc.pid\"\ngrace = \"100ms\"\n");
    let bystander = world.somebody(&["sleep", "60"]);
    world.file("svc.pid", &bystander.to_string());
    let written = fs::File::options().append(true).open(world.root().join("svc.pid")).unwrap();
    written.set_modified(std::time::SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    let seen = world.ctl(&["status"]).exits(1);
    assert!(seen["note"].as_str().unwrap().contains("must be another one"), "{seen}");
    world.ctl(&["stop"]).exits(0);
    assert!(is_alive(bystander));
}

#[test]
fn hazard_10_a_stop_returns_when_nothing_is_written_any_more() {
    let world = World::usual();
    world.file("mode", "slow");
    world.start();
    let stopped = world.ctl(&["stop"]).exits(0);
    assert!(stopped["took_ms"].as_u64().unwrap() >= 450, "the stop command itself returns at once: {stopped}");
    let log = world.root().join("data/log");
    let after = size(&log);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(size(&log), after);
}

#[test]
fn hazard_10_a_stop_that_nobody_can_prove_says_so() {
    let world = World::new("[control]\nstop = [\"true\"]\n");
    let stopped = world.ctl(&["stop"]).exits(3);
    assert!(stopped["ok"].is_null() && stopped["note"].as_str().unwrap().starts_with("not proven: "), "{stopped}");
}

#[test]
fn hazard_10_a_stop_command_that_lies_is_found_out() {
    let world = World::usual();
    let stop = "#!/bin/sh\nkill $(cat svc.pid); rm -f svc.pid\n./start\necho stopped\n";
    world.file("stop", stop);
    world.file("eco.toml", "[control]\nstart = [\"./start\"]\nstop = [\"./stop\"]\npidfile = \"svc.pid\"\n");
    world.start();
    let stopped = world.ctl(&["stop"]);
    assert!(stopped.exits(1)["note"].as_str().unwrap().contains("something restarts it"), "{}", stopped.stdout);
    assert!(stopped.stderr.contains("stopped"), "what a command prints goes to stderr");
}

#[test]
fn hazard_19_a_start_runs_in_the_root_and_outlives_the_shell() {
    let world = World::usual();
    let shell = world.run(world.command(
        "setsid",
        &["sh", "-c", "\"$1\" -c ../$2/eco.toml start", "sh", env!("CARGO_BIN_EXE_eco-ctl"), world.root().file_name().unwrap().to_str().unwrap()],
    ));
    let pid = shell.exits(0)["pid"].as_u64().unwrap() as u32;
    assert_eq!(fs::read_to_string(world.root().join("where")).unwrap(), world.root().to_str().unwrap());
    assert!(is_alive(pid));
    assert_eq!(world.ctl(&["start"]).exits(0)["note"], "it was running already");
    let again = world.ctl(&["restart"]).exits(0);
    assert!(again["pid"].as_u64().unwrap() as u32 != pid && !is_alive(pid) && again["do"] == "restart", "{again}");
}

#[test]
fn hazard_19_a_service_that_dies_at_once_is_not_called_started() {
    let world = World::new("[control]\nstart = [\"true\"]\npidfile = \"svc.pid\"\n");
    let started = world.ctl(&["start"]).exits(1);
    assert!(started["note"].as_str().unwrap().contains("is not seen running"), "{started}");
    let world = World::new("[control]\nstart = [\"sh\", \"-c\", \"exit 7\"]\npidfile = \"svc.pid\"\n");
    assert_eq!(world.ctl(&["start"]).exits(1)["note"], "the start command failed: sh ended with 7");
}

#[test]
fn a_unit_is_switched_through_its_command() {
    let world = World::new(
        r#"
        [module.planner]
        roots = ["planner"]
        disable = ["sh", "-c", 'printf "%s" "$1" > said', "sh", "{id}"]
        [automation]
        disable = ["false"]
        "#,
    );
    let done = world.ctl(&["disable", "module:planner"]).exits(0);
    assert_eq!((done["unit"].as_str(), done["ok"].as_bool()), (Some("module:planner"), Some(true)));
    assert_eq!(fs::read_to_string(world.root().join("said")).unwrap(), "planner");
    let failed = world.ctl(&["disable", "automation:a 'b'"]).exits(1);
    assert_eq!((failed["unit"].as_str(), failed["note"].as_str()), (Some("automation:a 'b'"), Some("false ended with 1")));
    for (args, why) in [
        (&["enable", "module:planner"][..], "[module.planner] has no 'enable' command"),
        (&["disable", "module:plan"], "no module 'plan'; it has planner"),
        (&["disable", "full"], "cannot disable full"),
        (&["disable", "plan"], "is not a scope"),
        (&["disable"], "needs one unit"),
        (&["stop", "module:planner"], "one word too many"),
        (&["stop"], "nothing to stop the service with"),
        (&["start"], "no start command"),
        (&["restart"], "no start command"),
    ] {
        let refused = world.ctl(args);
        assert!(refused.refuses().contains(why), "{args:?}: {}", refused.stderr);
    }
    assert!(world.ctl(&["status"]).exits(3)["ok"].is_null());
}

#[test]
fn a_dash_copies_the_stream_before_anything_is_done() {
    use std::io::Write;
    let world = World::usual();
    let mut command = world.command(env!("CARGO_BIN_EXE_eco-ctl"), &["status", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let line = "{\"time\":\"2026-03-01T10:00:00Z\",  \"type\":\"weather\",\"sky\":\"blue\"}\n";
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(done.stdout).unwrap();
    assert!(stdout.starts_with(line), "byte for byte: {stdout}");
    assert_eq!((stdout.lines().count(), done.status.code()), (2, Some(1)));
}

#[test]
fn a_stop_returns_at_once_when_the_process_is_gone_and_where_processes_cannot_be_held_as_well() {
    let world = World::usual();
    let log = world.root().join("trace");
    for fault in ["", "ENOSYS", "EPERM", "EMFILE"] {
        world.start();
        let ctl = env!("CARGO_BIN_EXE_eco-ctl");
        let inject = format!("inject=pidfd_open:error={fault}");
        let mut words = vec!["-f", "-o", log.to_str().unwrap(), "-e", "trace=pidfd_open,pidfd_send_signal,kill", ctl, "stop"];
        if !fault.is_empty() {
            words.splice(5..5, ["-e", &inject]);
        }
        let stopped = world.run(world.command("strace", &words)).exits(0);
        assert_eq!((&stopped["ok"], &stopped["note"]), (&Value::Bool(true), &Value::Null), "{fault}: {stopped}");
        assert!(fs::read_to_string(&log).unwrap().contains("pidfd_open("), "{fault}");
    }
}

#[test]
fn a_service_of_many_processes_takes_few_descriptors() {
    let world = World::usual();
    world.file("eco.toml", "[control]\nstart = [\"./start\"]\npidfile = \"svc.pid\"\ngrace = \"10s\"\n");
    world.file("many", "#!/bin/sh\ni=0; while [ $i -lt 400 ]; do sleep 1000 & i=$((i + 1)); done\necho $$ >svc.new; mv svc.new svc.pid\nwait\n");
    world.file("start", "#!/bin/sh\nsetsid ./many >/dev/null 2>&1 </dev/null &\nwhile [ ! -e svc.pid ]; do sleep 0.01; done\n");
    world.ctl(&["start"]).exits(0);
    let line = format!("ulimit -n 80; exec {} stop", env!("CARGO_BIN_EXE_eco-ctl"));
    let began = Instant::now();
    let stopped = world.run(world.command("sh", &["-c", &line])).exits(0);
    assert_eq!((&stopped["ok"], &stopped["note"]), (&Value::Bool(true), &Value::String("ended with TERM".into())), "{stopped}");
    assert!(began.elapsed() < Duration::from_secs(8), "all of them at once, not one after the other");
}

#[test]
fn the_status_for_eyes_says_whom_to_call_and_the_record_does_not() {
    let world = crate::harness::World::new();
    world.config("[contacts]\non-call = \"555 0101\"\nescalation = \"555 0103\"\n");
    let shown = world.run("eco-ctl").args(["status", "--human"]).exits(3).stdout;
    assert!(shown.ends_with("  on-call             555 0101\n  escalation          555 0103\n"), "{shown}");
    let ran = world.run("eco-ctl").args(["status"]).exits(3);
    assert!(!ran.stdout.contains("555") && !ran.stderr.contains("555"), "{}", ran.stdout);
}
