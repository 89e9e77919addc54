//! The running service: stopped, started, and its units disabled, enabled and reverted, through the commands of `eco.toml`.

use crate::time::Span;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    /// Recognises the process where there is no pid file.
    pub process: Option<ProcessMatch>,
    /// How long the service may take to end by itself before TERM, and again before KILL.
    pub grace: Option<Span>,
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
