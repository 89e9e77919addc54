//! The commands that a rollback is going to run, looked at while the service still does: one that cannot be run must not be found
//! out when it is down.

use super::Ecosystem;
use super::journal::Journal;
use super::run::off;
use crate::error::{Error, Result};
use crate::record::Scope;
use crate::service::{Argv, Service, UnitVerb};

/// Refuses a rollback if one of its commands is not there or may not be run. A program that the new tree may bring along is passed
/// over, until [`check_staged`] looks for it there.
///
/// # Errors
/// [`Error::Refused`], naming the command.
pub(super) fn check(eco: &Ecosystem, journal: &Journal) -> Result<()> {
    check_units(eco, &journal.units)?;
    if journal.control {
        look(eco, "stop", eco.service.stop_command())?;
    }
    let outside = commands_after(eco, journal).into_iter().filter(|(_, argv)| !is_inside(eco, journal, argv));
    outside.into_iter().try_for_each(|(name, argv)| look(eco, &name, &argv))
}

/// The rest of [`check`]: programs in the roots are in the staged tree, or come from the live one because they are preserved or
/// left out.
///
/// # Errors
/// [`Error::Refused`], naming the command.
pub(super) fn check_staged(eco: &Ecosystem, journal: &Journal) -> Result<()> {
    let staged = |argv: &Argv| eco.service.place_of(argv).is_some_and(|place| Service::may_run(&journal.aside(&eco.root, &place)));
    let inside = commands_after(eco, journal).into_iter().filter(|(_, argv)| is_inside(eco, journal, argv) && !staged(argv));
    inside.into_iter().try_for_each(|(name, argv)| look(eco, &name, &argv))
}

/// Refuses to switch units off whose commands cannot be run.
///
/// # Errors
/// [`Error::Refused`], naming the command; [`Error::Usage`] when a unit without files has none.
pub(super) fn check_units(eco: &Ecosystem, units: &[Scope]) -> Result<()> {
    for unit in units {
        let verb = if unit.needs_snapshot() { UnitVerb::Disable } else { off(eco, unit)? };
        // A module needs no commands.
        if let Ok(argv) = eco.service.unit_command(verb, unit) {
            look(eco, &format!("{} ({unit})", verb.word()), &argv)?;
        }
    }
    Ok(())
}

/// What is run on the new tree.
fn commands_after(eco: &Ecosystem, journal: &Journal) -> Vec<(String, Argv)> {
    let modules = journal.units.iter().filter(|unit| unit.needs_snapshot());
    let enable = modules.filter_map(|unit| Some((format!("enable ({unit})"), eco.service.unit_command(UnitVerb::Enable, unit).ok()?)));
    let start = journal.control.then(|| ("start".to_owned(), eco.service.start_command().clone()));
    // A service that is left as it is is not tested either.
    let tested = journal.control || !(eco.service.can_stop() || eco.service.can_start());
    let verify = tested.then(|| ("verify".to_owned(), eco.verify.command.clone()));
    start.into_iter().chain(enable).chain(verify).collect()
}

fn is_inside(eco: &Ecosystem, journal: &Journal, argv: &Argv) -> bool {
    eco.service.place_of(argv).is_some_and(|place| journal.roots.iter().any(|root| place.starts_with(root.to_path())))
}

fn look(eco: &Ecosystem, name: &str, argv: &Argv) -> Result<()> {
    let why = eco.service.cannot_run(argv);
    why.map_or(Ok(()), |why| Err(Error::Refused(format!("the {name} command of eco.toml would fail: {why}"))))
}
