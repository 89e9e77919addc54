//! The running service: stopped, started, and its units disabled, enabled and reverted, through the commands of `eco.toml`.
//!
//! A stop ends with proof: the processes that were seen before are gone, by their number and the moment at which they began.
//! What is signalled is exactly what the pid file or the process rule names, and its process group where that belongs to the
//! service alone; never anything that merely contains a word.

mod command;
mod notify;
pub mod outcome;
mod pidfd;
mod process;
mod quiesce;
mod steering;
mod systemd;
mod watch;

use command::Output;
pub use command::{Ended, Ran};
pub use notify::{NOTIFY_DEADLINE, Notice, Notifier, Notify, Occasion};
pub use process::{Holder, Process};
pub use quiesce::{HOOK_DEADLINE, Hooks, Quiesce};
pub use steering::Steering;

use crate::error::{Error, Result};
use crate::record::Scope;
use crate::time::Span;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};
use watch::Watch;

/// How long a command may take where the configuration does not say.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// How long the service may take to end by itself, where `[control] grace` does not say.
pub const GRACE: Duration = Duration::from_secs(10);
/// How often it is looked whether a process is gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// systemd answers at once, or is itself in trouble.
const ASK_SYSTEMD: Duration = Duration::from_secs(5);

/// A command as an argument vector; never a shell string.
pub type Argv = Vec<String>;

/// `[control]`: how the service is stopped and started, and how it is recognised.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// Stops the service; run in the ecosystem's root.
    pub stop: Argv,
    /// Starts it; may return before it is healthy.
    pub start: Argv,
    /// Holds the process id; relative to the ecosystem's root.
    pub pidfile: Option<PathBuf>,
    /// The systemd unit that the service is; in place of the two others.
    pub unit: Option<String>,
    /// Recognises the process where there is no pid file.
    pub process: Option<ProcessMatch>,
    /// How long the service may take to end by itself before TERM, and again before KILL.
    pub grace: Option<Span>,
    /// How long every other command may take before its process group is ended.
    pub timeout: Option<Span>,
}

/// Recognises a process by what it runs, exactly.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessMatch {
    /// The executable: its path, or its file name.
    pub exe: String,
    /// Patterns that must each match one argument.
    pub args: Vec<String>,
}

/// The commands of one unit, or of every unit of a kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnitCommands {
    /// Switches the unit off; `{id}` stands for its id.
    pub disable: Argv,
    /// Switches it on again.
    pub enable: Argv,
    /// Takes back what it did.
    pub revert: Argv,
    /// Its folders and files, where it has any.
    pub roots: Vec<PathBuf>,
}

/// `[automation]`, `[optimization]`, `[experiment]`: commands for every unit of the kind, and for single ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitKind {
    /// For every unit that has no entry of its own.
    pub every: UnitCommands,
    /// By id.
    pub one: BTreeMap<String, UnitCommands>,
}

/// The commands of all units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Units {
    /// Modules by id.
    pub module: BTreeMap<String, UnitCommands>,
    /// Modules that nothing works without.
    pub critical: Vec<String>,
    /// Automations.
    pub automation: UnitKind,
    /// Optimizations.
    pub optimization: UnitKind,
    /// Experiments.
    pub experiment: UnitKind,
}

impl Control {
    /// The same with the commands that follow from `unit`, where it has none of its own.
    pub fn complete(mut self) -> Control {
        if let Some(unit) = &self.unit {
            for (verb, argv) in [("stop", &mut self.stop), ("start", &mut self.start)] {
                if argv.is_empty() {
                    *argv = ["systemctl", verb, "--", unit].map(String::from).to_vec();
                }
            }
        }
        self
    }

    /// Whether the service can be told apart by these rules.
    ///
    /// # Errors
    /// A sentence about the rule that would match nothing, or anything.
    pub fn check(&self) -> Result<(), String> {
        if let Some(unit) = &self.unit {
            if unit.is_empty() || unit.starts_with('-') || unit.contains(|c: char| c == '/' || c == '*' || c.is_whitespace() || c.is_control()) {
                return Err(format!("unit '{}' is no unit's name, such as shop.service", unit.escape_debug()));
            }
            if self.pidfile.is_some() || self.process.is_some() {
                return Err("a unit knows its processes: leave pidfile and process out".into());
            }
        }
        if let Some(rule) = &self.process {
            if rule.exe.is_empty() {
                return Err("process needs an exe: the program's path or its file name".into());
            }
            process::matches(rule, std::process::id())?;
        }
        Ok(())
    }
}

impl Units {
    /// The commands of one unit: its own, and those of its kind for what it does not have itself.
    fn commands(&self, unit: &Scope) -> Option<UnitCommands> {
        let of_kind = |kind: &UnitKind, id: &str| {
            let mut commands = kind.one.get(id).cloned().unwrap_or_default();
            for (own, every) in
                [(&mut commands.disable, &kind.every.disable), (&mut commands.enable, &kind.every.enable), (&mut commands.revert, &kind.every.revert)]
            {
                if own.is_empty() {
                    own.clone_from(every);
                }
            }
            commands
        };
        match unit {
            Scope::Full | Scope::Config(_) => None,
            Scope::Module(id) => self.module.get(id).cloned(),
            Scope::Automation(id) => Some(of_kind(&self.automation, id)),
            Scope::Optimization(id) => Some(of_kind(&self.optimization, id)),
            Scope::Experiment(id) => Some(of_kind(&self.experiment, id)),
        }
    }
}

/// What is done to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitVerb {
    /// Switched off.
    Disable,
    /// Switched on again.
    Enable,
    /// What it did is taken back.
    Revert,
}

impl UnitVerb {
    /// The word, as `eco.toml` and records write it.
    pub fn word(self) -> &'static str {
        match self {
            UnitVerb::Disable => "disable",
            UnitVerb::Enable => "enable",
            UnitVerb::Revert => "revert",
        }
    }
}

/// Whether the service runs, by its pid file or its process rule.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It runs; its first process first.
    Running(Vec<Process>),
    /// It does not; with a sentence about a pid file that is out of date.
    Stopped(Option<String>),
    /// It cannot be told, and why.
    Unknown(String),
}

impl State {
    /// The number of the service's first process.
    pub fn pid(&self) -> Option<u32> {
        match self {
            State::Running(processes) => processes.first().map(|process| process.pid),
            _ => None,
        }
    }
}

/// What is known after a stop.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// It was seen and is gone, or it was not running.
    Proven,
    /// The stop command said that it did it; nobody could check, and why.
    NotProven(String),
    /// It still runs, or the stop command failed and nothing shows that it worked all the same.
    Failed(String),
}

/// A stop and how it ended.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// What is known now.
    pub proof: Proof,
    /// The process that ran before.
    pub pid: Option<u32>,
    /// What else there is to say, in one sentence.
    pub note: Option<String>,
    /// What the stop command took of the time; 0 without one.
    pub command_ms: u64,
    /// From the first look to the proof.
    pub took_ms: u64,
}

/// A start and how it ended.
#[derive(Clone, Debug)]
pub struct Started {
    /// Whether the start command ended well, or the service ran already.
    pub ok: bool,
    /// The process that runs now, if it is already seen.
    pub pid: Option<u32>,
    /// What there is to say, in one sentence.
    pub note: Option<String>,
    /// What the start command took; 0 if it was not needed.
    pub command_ms: u64,
    /// From the first look to the last.
    pub took_ms: u64,
}

/// One service: where it lives, and how it is controlled.
#[derive(Clone, Debug)]
pub struct Service {
    root: PathBuf,
    control: Control,
    units: Units,
    path: Option<OsString>,
}

impl Service {
    /// The service in `root` (absolute).
    pub fn new(root: &Path, control: &Control, units: &Units) -> Service {
        Service { root: root.to_owned(), control: control.clone(), units: units.clone(), path: None }
    }

    /// The same, knowing where programs without a slash in their name are looked for: `$PATH`.
    pub fn with_path(self, path: Option<OsString>) -> Service {
        Service { path, ..self }
    }

    /// The ecosystem's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is a unit, a pid file or a process rule to find the service by.
    pub fn can_find(&self) -> bool {
        self.control.pidfile.is_some() || self.control.process.is_some() || self.control.unit.is_some()
    }

    /// Whether there is any way to stop it.
    pub fn can_stop(&self) -> bool {
        !self.control.stop.is_empty() || self.can_find()
    }

    /// Whether there is a command to start it.
    pub fn can_start(&self) -> bool {
        !self.control.start.is_empty()
    }

    /// The command that stops it; empty if there is none.
    pub fn stop_command(&self) -> &Argv {
        &self.control.stop
    }

    /// The command that starts it; empty if there is none.
    pub fn start_command(&self) -> &Argv {
        &self.control.start
    }

    /// Why a command cannot be run, as far as can be told without running it. An empty one needs no program.
    pub fn cannot_run(&self, argv: &[String]) -> Option<String> {
        command::cannot_run(&self.root, argv, self.path.as_deref())
    }

    /// Where a command's program lies in the ecosystem's root, if it does.
    pub(crate) fn place_of(&self, argv: &[String]) -> Option<PathBuf> {
        let program = command::resolve(&self.root, argv.first()?);
        program.strip_prefix(&self.root).ok().map(Path::to_owned)
    }

    /// Whether this file is a program that can be run, as far as can be told without running it.
    pub(crate) fn may_run(place: &Path) -> bool {
        command::may_run(place).is_ok()
    }

    fn timeout(&self) -> Duration {
        self.control.timeout.map_or(COMMAND_DEADLINE, |span| span.0)
    }

    /// Runs a command in the ecosystem's root. Its output goes to our stderr; `env` comes on top of our own environment. After
    /// `deadline` its process group gets TERM, and KILL two seconds later. Only the command itself is waited for.
    pub fn run(&self, argv: &[String], env: &[(&str, &str)], deadline: Duration) -> Ran {
        command::run(&self.root, argv, env, deadline, Output::ToStderr, None)
    }

    /// As [`Service::run`], with the output in [`Ran::stdout`].
    pub(crate) fn ask(&self, argv: &[String], deadline: Duration) -> Ran {
        command::run(&self.root, argv, &[], deadline, Output::Kept, None)
    }

    /// As [`Service::run`], with the last bytes of all its output, no more than so many, in [`Ran::stdout`]. When `stop` becomes true the
    /// command is ended as at its deadline.
    pub(crate) fn listen(&self, argv: &[String], deadline: Duration, most: usize, stop: &AtomicBool) -> Ran {
        command::run_until(&self.root, argv, &[], (deadline, Some(stop)), Output::LastKept(most), None)
    }

    /// As [`Service::run`], with a text on standard input; why it failed, with the last line of what it printed.
    fn tell(&self, argv: &[String], env: &[(&str, &str)], text: String, deadline: Duration) -> Option<String> {
        let ran = command::run(&self.root, argv, env, deadline, Output::AllKept, Some(text));
        let said = String::from_utf8_lossy(&ran.stdout);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).map_or_else(String::new, |line| format!(": {line}"));
        ran.why().map(|why| format!("{why}{last}"))
    }

    /// Whether the service runs now.
    pub fn find(&self) -> State {
        if let Some(unit) = &self.control.unit {
            return systemd::state(unit, &self.ask(&systemd::question(unit), ASK_SYSTEMD));
        }
        let rule = self.control.process.as_ref();
        let by_file = self.control.pidfile.as_ref().map(|path| process::by_pidfile(&self.root.join(path), rule));
        match (by_file, rule) {
            (Some(running @ State::Running(_)), _) => running,
            // A pid file may be lost or late while its service runs; with a rule it can still be found.
            (Some(other), Some(rule)) => match process::by_rule(rule) {
                State::Stopped(_) if matches!(other, State::Stopped(_)) => other,
                found => found,
            },
            (Some(other), None) => other,
            (None, Some(rule)) => process::by_rule(rule),
            (None, None) => State::Unknown("[control] has no pidfile, no process and no unit to find the service by".into()),
        }
    }

    /// The processes of the service and those below it, for measuring.
    pub(crate) fn family(&self) -> BTreeSet<u32> {
        match self.find() {
            State::Running(found) => process::with_descendants(&found, &process::all().unwrap_or_default()),
            _ => BTreeSet::new(),
        }
    }

    /// Who holds something open below these roots (absolute paths): files written now would be lost in a swap. Complete for
    /// root only; other users' processes do not show what they hold.
    pub fn holders(&self, roots: &[PathBuf]) -> Vec<Holder> {
        process::holders(roots)
    }

    /// Stops the service: the stop command, then a wait for what was seen running; TERM when `[control] grace` is over, KILL
    /// when it is over again, both to the service's own processes only. The command is run even if nothing runs, because a
    /// supervisor may be about to start it again.
    pub fn stop(&self, env: &[(&str, &str)]) -> Stopped {
        let began = Instant::now();
        let grace = self.control.grace.map_or(GRACE, |span| span.0);
        let before = self.find();
        // A unit says itself who belongs to it, and whether it is empty.
        let mut watch = Watch::new(&before, self.control.unit.as_ref().map(|_| self));
        let mut notes = Vec::new();
        if let State::Stopped(Some(why)) = &before {
            notes.push(why.clone());
        }
        let ran = (!self.control.stop.is_empty()).then(|| {
            // Where the process can be watched, its grace is also the command's: what hangs there will not stop it any more.
            let limit = if watch.is_empty() { grace.max(self.timeout()) } else { grace };
            self.run(&self.control.stop, env, limit)
        });
        let failed = ran.as_ref().and_then(Ran::why);
        let ended = |proof, notes: Vec<String>| Stopped {
            proof,
            pid: before.pid(),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            command_ms: ran.as_ref().map_or(0, |ran| ran.took_ms),
            took_ms: millis(began),
        };
        if let State::Unknown(why) = &before {
            let proof = match failed {
                Some(failed) => Proof::Failed(format!("the stop command failed: {failed}")),
                None if ran.is_none() => Proof::Failed(format!("there is no stop command, and {why}")),
                None => Proof::NotProven(why.clone()),
            };
            return ended(proof, notes);
        }
        if let Err(why) = watch.see_out(began, grace, ran.is_some(), &mut notes) {
            notes.extend(failed);
            return ended(Proof::Failed(why), notes);
        }
        notes.extend(failed.map(|failed| format!("it is stopped, although {failed}")));
        notes.extend(watch.left_behind());
        match self.find() {
            State::Running(again) if !again.iter().all(|process| watch.seen.contains(process)) => {
                let pid = again.first().map_or(0, |process| process.pid);
                ended(Proof::Failed(format!("it runs again as process {pid}: something restarts it")), notes)
            }
            // Its processes are gone, but nobody says whether its group is empty.
            State::Unknown(why) if self.control.unit.is_some() => ended(Proof::NotProven(why), notes),
            _ => ended(Proof::Proven, notes),
        }
    }

    /// Starts the service, unless it runs. Whether it is well is not asked here.
    ///
    /// # Errors
    /// [`Error::Usage`] where no start command is configured.
    pub fn start(&self, env: &[(&str, &str)]) -> Result<Started> {
        if !self.can_start() {
            return Err(Error::Usage("[control] has no start command in eco.toml".into()));
        }
        let began = Instant::now();
        if let State::Running(processes) = self.find() {
            let pid = processes.first().map(|process| process.pid);
            return Ok(Started { ok: true, pid, note: Some("it was running already".into()), command_ms: 0, took_ms: millis(began) });
        }
        let ran = self.run(&self.control.start, env, self.timeout());
        let note = ran.why().map(|why| format!("the start command failed: {why}"));
        Ok(Started { ok: ran.ok(), pid: self.find().pid(), note, command_ms: ran.took_ms, took_ms: millis(began) })
    }

    /// Looks until the service is seen running, at most so long.
    pub fn wait_running(&self, limit: Duration) -> State {
        let began = Instant::now();
        loop {
            let state = self.find();
            if matches!(state, State::Running(_)) || !self.can_find() || began.elapsed() >= limit {
                return state;
            }
            thread::sleep(LOOK_EVERY * 2);
        }
    }

    /// Whether the configuration knows this unit, as far as it can: of automations and the like it knows the kind alone.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the modules that there are.
    pub fn check_unit(&self, unit: &Scope) -> Result<()> {
        match unit {
            Scope::Module(id) if self.units.commands(unit).is_none() => Err(self.no_module(id)),
            _ => Ok(()),
        }
    }

    fn no_module(&self, id: &str) -> Error {
        let known: Vec<&str> = self.units.module.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
        Error::Usage(format!("eco.toml has no module '{}'; {known}", id.escape_debug()))
    }

    /// Whether a unit has a command for this.
    pub fn has_unit_command(&self, verb: UnitVerb, unit: &Scope) -> bool {
        self.unit_command(verb, unit).is_ok()
    }

    /// Switches a unit off or on, or takes back what it did, through its command; `{id}` in an argument becomes the unit's id
    /// and stays inside that argument.
    ///
    /// # Errors
    /// [`Error::Usage`] where the configuration has no such command for the unit.
    pub fn unit(&self, verb: UnitVerb, unit: &Scope, env: &[(&str, &str)]) -> Result<Ran> {
        Ok(self.run(&self.unit_command(verb, unit)?, env, self.timeout()))
    }

    /// The command that [`Service::unit`] runs.
    ///
    /// # Errors
    /// As [`Service::unit`].
    pub(crate) fn unit_command(&self, verb: UnitVerb, unit: &Scope) -> Result<Argv> {
        let word = verb.word();
        let Some(id) = unit.id().filter(|_| !matches!(unit, Scope::Config(_))) else {
            return Err(Error::Usage(format!("cannot {word} {unit}: only modules, automations, optimizations and experiments have commands")));
        };
        let commands = self.units.commands(unit).ok_or_else(|| self.no_module(id))?;
        let argv = match verb {
            UnitVerb::Disable => commands.disable,
            UnitVerb::Enable => commands.enable,
            UnitVerb::Revert => commands.revert,
        };
        if argv.is_empty() {
            let section = if matches!(unit, Scope::Module(_)) { format!("[module.{id}]") } else { format!("[{}]", unit.kind()) };
            return Err(Error::Usage(format!("{section} has no '{word}' command in eco.toml")));
        }
        Ok(argv.iter().map(|argument| argument.replace("{id}", id)).collect())
    }
}

pub(crate) fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

#[cfg(test)]
mod tests;
