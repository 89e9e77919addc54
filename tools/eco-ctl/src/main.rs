//! eco-ctl: stop, start, look at the service; disable, enable, revert its units: one `control` record each. Pins snapshots. Or says
//! something to the pipeline that watches it: one `operator`, `signal` or `change` record.
mod args;
mod pin;
mod words;

use args::{Args, Asked, Task};
use eco::report;
use eco::service::{Notifier, Service, outcome};
use eco::tool;
use eco::verdict::Verdict;
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool| -> anyhow::Result<Verdict> {
        let (asked, copies) = args.asked()?;
        let task = match asked {
            Asked::Deed(task) => task,
            // It takes no lock and needs no service.
            Asked::Word(word) => {
                copy(tool, copies)?;
                words::say(&args, tool, word, copies)?;
                return Ok(Verdict::Yes);
            }
        };
        let config = tool.config()?;
        let service = Service::new(&config.root, &config.control, &config.units);
        copy(tool, copies)?;
        if !matches!(task, Task::Status | Task::Tell(_)) {
            tool.changes_something()?;
        }
        // A rollback stops and starts the service too; it must not be disturbed half-way.
        let _lock = match task {
            Task::Status | Task::Tell(_) | Task::Pin(..) => None,
            _ => Some(config.ecosystem().lock(&tool.holder())?),
        };
        let contacts = if matches!(task, Task::Status) { config.contacts.clone() } else { Vec::new() };
        let control = match task {
            Task::Status => outcome::status(&service),
            Task::Stop => outcome::stop(&service)?,
            Task::Start => outcome::start(&service)?,
            Task::Restart => outcome::restart(&service)?,
            Task::Unit(verb, unit) => outcome::unit(&service, verb, unit)?,
            Task::Tell(subject) => outcome::tell(Notifier::new(service, config.notify.unwrap_or_default()), subject, tool.read_all()?),
            Task::Pin(selector, on) => return pin::pin(tool, &config, &selector, on),
        };
        let verdict = control.ok.map_or(Verdict::Unknown, Verdict::from);
        tool.emit(control)?;
        // For eyes only: a log that is kept for years is no place for telephone numbers.
        if tool.is_human() && !contacts.is_empty() {
            tool.print(&report::contacts(&contacts))?;
        }
        Ok(verdict)
    })
}

/// With `-`: what is on stdin, first.
fn copy(tool: &mut tool::Tool, copies: bool) -> eco::error::Result<()> {
    if copies {
        tool.open_input("pipe records in, or leave out the '-'")?;
        while tool.read()?.is_some() {}
    }
    Ok(())
}
