//! The commands that a rollback is going to run, looked at while the service still does: one that cannot be run must not be found
//! out when it is down.

use super::Ecosystem;
use crate::error::{Error, Result};
use crate::record::Scope;
use crate::service::{Argv, Service, UnitVerb};
use std::path::{Path, PathBuf};

/// Refuses a rollback of these roots if one of its commands is not there or may not be run. What the new tree brings along is
/// passed over until it is `staged`, and is looked for there then.
///
/// # Errors
/// [`Error::Refused`], naming the command.
pub(super) fn check(eco: &Ecosystem, control: bool, unit: Option<&Scope>, roots: &[PathBuf], staged: Option<&Path>) -> Result<()> {
    let switch = |verb| unit.and_then(|unit| eco.service.unit_command(verb, unit).ok());
    let controlled = |argv: &Argv| control.then(|| argv.clone());
    // Which tree a command is run on, the one from before or the new one, decides where it must be.
    let before = [("disable", switch(UnitVerb::Disable)), ("stop", controlled(eco.service.stop_command()))];
    let verify = (control || !(eco.service.can_stop() || eco.service.can_start())).then(|| eco.verify.command.clone());
    let after = [("start", controlled(eco.service.start_command())), ("enable", switch(UnitVerb::Enable)), ("verify", verify)];
    let refuse = |name: &str, why: String| Err(Error::Refused(format!("the {name} command of eco.toml would fail: {why}")));
    for (name, argv) in before {
        if let Some(why) = argv.filter(|_| staged.is_none()).and_then(|argv| eco.service.cannot_run(&argv)) {
            return refuse(name, why);
        }
    }
    for (name, argv) in after {
        let Some(argv) = argv else { continue };
        let inside = eco.service.place_of(&argv).filter(|place| roots.iter().any(|root| place.starts_with(root)));
        let why = match (inside, staged) {
            (None, None) => eco.service.cannot_run(&argv),
            // What is preserved or excluded comes from the live tree.
            (Some(place), Some(tree)) => eco.service.cannot_run(&argv).filter(|_| !Service::may_run(&tree.join(place))),
            _ => None,
        };
        if let Some(why) = why {
            return refuse(name, why);
        }
    }
    Ok(())
}

/// The same for a unit that has no files, and for one command.
///
/// # Errors
/// [`Error::Refused`], naming the command.
pub(super) fn check_unit(eco: &Ecosystem, verb: UnitVerb, unit: &Scope) -> Result<()> {
    let why = eco.service.cannot_run(&eco.service.unit_command(verb, unit)?);
    why.map_or(Ok(()), |why| Err(Error::Refused(format!("the {} command of {unit} would fail: {why}", verb.word()))))
}
