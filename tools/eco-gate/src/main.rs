//! eco-gate: may this be deployed? One `gate` record a check, and at the end a verified snapshot of the state before.
mod args;
mod backup;

use args::Args;
use eco::gate::{self, BACKUP, Told};
use eco::record::{Gate, Record, Scope};
use eco::store::Store;
use eco::tool::{self, Tool};
use eco::verdict::Verdict;
use eco::{health, restore};
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Verdict> {
        let config = tool.config()?;
        let store = Store::new(config.store()?, &config.name, tool.now());
        tool.open_input_if_any();
        if args.only {
            tool.drop_input();
        }
        let (mut told, mut health) = (Told::about(&config.name), "unknown");
        while let Some(line) = tool.read()? {
            told.hear(&line);
            if let Record::Health(sample) = &line.record {
                health = health::word(sample);
            }
        }
        tool.changes_something()?;
        let mut failed: Vec<String> = Vec::new();
        let mut answer = |tool: &mut Tool, gate: Gate| {
            if !gate.ok {
                failed.push(gate.check.clone());
            }
            tool.emit(gate)
        };
        for name in gate::BUILT_IN.into_iter().filter(|name| !config.gate.skip.iter().any(|skipped| skipped == name)) {
            let found = match name {
                "incident" => match tool.bad_lines() {
                    0 => told.no_incident().and_then(|()| restore::refuse_while_pending(&config.root).map_err(|e| e.to_string())),
                    bad => Err(format!("lines of the stream that are no records: {bad}; nobody knows what they say")),
                },
                "version" => told.not_quarantined(args.deploy.as_deref()),
                _ => restore_point(tool, &told, &store, &args.scope),
            };
            answer(tool, gate::found(name, found))?;
        }
        let (service, stop) = (config.service(), tool.stop_flag());
        for check in &config.gate.checks {
            if tool.asked_to_stop() {
                break;
            }
            answer(tool, gate::run(&service, check, &stop))?;
        }
        if tool.asked_to_stop() {
            return Err(eco::error::Error::Interrupted("not every check was made".into()).into());
        }
        if config.gate.checks.is_empty() {
            tool.say("[gate] of eco.toml names no checks: nothing was tested");
        }
        // Storing a state that nobody will change costs time and room for nothing.
        if !failed.is_empty() {
            let why = format!("not taken: {} did not pass", failed.join(", "));
            tool.emit(gate::found(BACKUP, Err(why)))?;
            tool.say(&format!("closed: {} did not pass", failed.join(", ")));
            return Ok(Verdict::No);
        }
        let taken = backup::take(tool, &config, &store, health)?;
        let open = taken.ok;
        tool.emit(taken)?;
        tool.say(if open { "open: every check passed, and the state before is kept" } else { "closed: the backup did not succeed" });
        Ok(Verdict::from(open))
    })
}

/// That there is a way back from what comes: in the store, or on the stream.
fn restore_point(tool: &Tool, told: &Told, store: &Store, scope: &Scope) -> Result<(), String> {
    let stored = store.newest_good(std::slice::from_ref(scope), tool.now(), told.useless()).map_err(|e| e.to_string());
    if told.has_point(scope, tool.now()) || stored?.is_some() {
        return Ok(());
    }
    Err(format!("no good and verified snapshot covers {scope}: take one with eco-snap --good while the service is healthy"))
}
