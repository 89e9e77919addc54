//! eco-health: ask the running service how it is, once, on a grid, or until it is well: one `health` record a sample.
mod args;
mod series;

use args::Args;
use eco::config::Config;
use eco::error::{Exit, Result};
use eco::health::{self, History};
use eco::monitor::{self, Status};
use eco::policy::Policy;
use eco::record::{Health, Stamp};
use eco::service::Service;
use eco::tool::{self, Tool};
use eco::verdict::Verdict;
use std::path::Path;
use std::process::ExitCode;

/// Everybody may read metrics: the collector is another user.
const METRICS_MODE: u32 = 0o644;

fn main() -> ExitCode {
    tool::run(|args: Args, tool| -> anyhow::Result<Exit> {
        args.check()?;
        if args.plugin {
            return Ok(plugin(tool)?);
        }
        let config = tool.config()?;
        if args.check_config {
            let (text, verdict) = config.describe();
            tool.print(&text)?;
            return Ok(verdict.into());
        }
        if args.stdin.is_some() {
            tool.open_input("pipe records in, or leave out the '-'")?;
            while tool.read()?.is_some() {}
        }
        tool.catch_signals()?;
        let service = Service::new(&config.root, &config.control, &config.units);
        match (args.every, args.timeout) {
            (Some(every), _) => Ok(series::sample(tool, &config, &service, every, &args)?),
            (_, Some(timeout)) => Ok(series::wait(tool, &config, &service, timeout)?.into()),
            _ => Ok(once(tool, &config, &service, args.openmetrics.as_deref())?.into()),
        }
    })
}

/// One sample. A service that is not well is named on stderr too: a person may be waiting.
fn once(tool: &mut Tool, config: &Config, service: &Service, metrics: Option<&Path>) -> Result<Verdict> {
    let stamp = tool.stamp(tool.now());
    let health = health::check(&config.probes, service, stamp.time, &mut History::default());
    let (verdict, why) = health::verdict(&health);
    if metrics == Some(Path::new("-")) {
        tool.print(&monitor::metrics(&stamp, &health))?;
        series::say(tool, verdict, why, "");
        return Ok(verdict);
    }
    tool.emit_at(&stamp, health.clone())?;
    series::say(tool, verdict, why, "");
    metrics.map_or(Ok(()), |file| renew(file, &stamp, &health))?;
    Ok(verdict)
}

/// Replaces the file of metrics, whole: whoever reads it sees the old text or the new one.
fn renew(file: &Path, stamp: &Stamp, health: &Health) -> Result<()> {
    eco::disk::replace(file, monitor::metrics(stamp, health).as_bytes(), METRICS_MODE)
}

/// One sample as a monitoring system reads it. Whatever prevents one is an answer too.
fn plugin(tool: &mut Tool) -> Result<Exit> {
    let config = match tool.config() {
        Ok(config) => config,
        Err(e) => return tool.print(&monitor::unknown(&e.to_string())).map(|()| Status::Unknown.exit()),
    };
    let service = Service::new(&config.root, &config.control, &config.units);
    let stamp = tool.stamp(tool.now());
    let health = health::check(&config.probes, &service, stamp.time, &mut History::default());
    let mut policy = Policy::default();
    policy.add_critical(&config.units.critical);
    let (status, text) = monitor::plugin(&stamp, &health, policy);
    tool.print(&text)?;
    Ok(status.exit())
}
