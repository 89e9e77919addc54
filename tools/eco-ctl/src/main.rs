//! eco-ctl: stop, start, look at the service; disable, enable, revert its units: one `control` record each. Pins snapshots.
mod args;
mod pin;

use args::{Args, Task};
use eco::service::{Service, outcome};
use eco::tool;
use eco::verdict::Verdict;
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool| -> anyhow::Result<Verdict> {
        let (task, copies) = args.task()?;
        let config = tool.config()?;
        let service = Service::new(&config.root, &config.control, &config.units);
        if copies {
            tool.open_input("pipe records in, or leave out the '-'")?;
            while tool.read()?.is_some() {}
        }
        if !matches!(task, Task::Status) {
            tool.changes_something()?;
        }
        // A rollback stops and starts the service too; it must not be disturbed half-way.
        let _lock = match task {
            Task::Status | Task::Pin(..) => None,
            _ => Some(config.ecosystem().lock(&tool.holder())?),
        };
        let control = match task {
            Task::Status => outcome::status(&service),
            Task::Stop => outcome::stop(&service)?,
            Task::Start => outcome::start(&service)?,
            Task::Restart => outcome::restart(&service)?,
            Task::Unit(verb, unit) => outcome::unit(&service, verb, unit)?,
            Task::Pin(selector, on) => return pin::pin(tool, &config, &selector, on),
        };
        let verdict = control.ok.map_or(Verdict::Unknown, Verdict::from);
        tool.emit(control)?;
        Ok(verdict)
    })
}
