//! The words of eco-ctl.

use clap::{Parser, ValueEnum};
use eco::error::{Error, Result};
use eco::record::Scope;
use eco::service::UnitVerb;
use eco::tool::{Common, Words};

/// Control the service and its units
///
/// Runs the commands of eco.toml and writes one `control` record that says how it ended.
#[derive(Parser)]
#[command(name = "eco-ctl", version)]
pub struct Args {
    /// What to do
    #[arg(value_name = "VERB")]
    pub verb: Verb,
    /// For disable, enable and revert: module:ID, automation:ID, optimization:ID or experiment:ID; for pin and unpin: a snapshot as eco-ls
    /// selects it; last, -: copy the records on stdin first
    #[arg(value_name = "UNIT | SNAPSHOT | -", num_args = 0..=2)]
    pub operands: Vec<String>,
    #[command(flatten)]
    pub common: Common,
}

/// What eco-ctl can do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    /// Does the service run?
    Status,
    /// End it, and prove that it ended
    Stop,
    /// Start it
    Start,
    /// Stop it, then start it
    Restart,
    /// Switch a unit off
    Disable,
    /// Switch a unit on again
    Enable,
    /// Take back what a unit did
    Revert,
    /// Keep a snapshot, whatever the retention rules say
    Pin,
    /// Leave it to the retention rules again
    Unpin,
}

/// What is asked of whom.
pub enum Task {
    /// Look at the service.
    Status,
    /// Stop it.
    Stop,
    /// Start it.
    Start,
    /// Stop and start it.
    Restart,
    /// Do something to one unit.
    Unit(UnitVerb, Scope),
    /// Pin the snapshot that this selects, or unpin it.
    Pin(String, bool),
}

impl Args {
    /// The task, and whether stdin is copied first.
    ///
    /// # Errors
    /// [`Error::Usage`] for a unit that is missing, superfluous or none.
    pub fn task(&self) -> Result<(Task, bool)> {
        let (units, copies) = match self.operands.split_last() {
            Some((last, rest)) if last == "-" => (rest, true),
            _ => (&self.operands[..], false),
        };
        let of_unit = match self.verb {
            Verb::Disable => Some(UnitVerb::Disable),
            Verb::Enable => Some(UnitVerb::Enable),
            Verb::Revert => Some(UnitVerb::Revert),
            _ => None,
        };
        let task = match (of_unit, units) {
            (Some(verb), [unit]) => Task::Unit(verb, unit.parse().map_err(Error::Usage)?),
            (Some(verb), _) => return Err(Error::Usage(format!("{} needs one unit, such as module:ID", verb.word()))),
            (None, [snapshot]) if matches!(self.verb, Verb::Pin | Verb::Unpin) => Task::Pin(snapshot.clone(), self.verb == Verb::Pin),
            (None, _) if matches!(self.verb, Verb::Pin | Verb::Unpin) => return Err(Error::Usage("name one snapshot, such as latest-good".into())),
            (None, [_, ..]) => return Err(Error::Usage(format!("'{}' is one word too many: this verb is about the whole service", units[0]))),
            (None, []) if self.verb == Verb::Status => Task::Status,
            (None, []) if self.verb == Verb::Stop => Task::Stop,
            (None, []) if self.verb == Verb::Start => Task::Start,
            (None, []) => Task::Restart,
        };
        Ok((task, copies))
    }
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
