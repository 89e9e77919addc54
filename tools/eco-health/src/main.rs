//! eco-health: ask the running service how it is, once, on a grid, or until it is well: one `health` record a sample.
mod args;

use args::Args;
use eco::config::Config;
use eco::health::{self, History};
use eco::service::Service;
use eco::tool::{self, Tool};
use eco::verdict::Verdict;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    tool::run(|args: Args, tool| -> anyhow::Result<Verdict> {
        args.check()?;
        let config = tool.config()?;
        if args.check_config {
            let (text, verdict) = config.describe();
            tool.print(&text)?;
            return Ok(verdict);
        }
        if args.stdin.is_some() {
            tool.open_input("pipe records in, or leave out the '-'")?;
            while tool.read()?.is_some() {}
        }
        tool.catch_signals()?;
        let service = Service::new(&config.root, &config.control, &config.units);
        match (args.every, args.timeout) {
            (Some(every), _) => sample(tool, &config, &service, every.0, &args),
            (_, Some(timeout)) => wait(tool, &config, &service, timeout.0),
            _ => once(tool, &config, &service, &mut History::default()),
        }
    })
}

/// One sample. A service that is not well is named on stderr too: a person may be waiting.
fn once(tool: &mut Tool, config: &Config, service: &Service, history: &mut History) -> anyhow::Result<Verdict> {
    let asked = tool.now();
    let health = health::check(&config.probes, service, asked, history);
    let (verdict, why) = health::verdict(&health);
    tool.emit_at(&tool.stamp(asked), health)?;
    say(tool, verdict, why);
    Ok(verdict)
}

fn wait(tool: &mut Tool, config: &Config, service: &Service, limit: Duration) -> anyhow::Result<Verdict> {
    let (health, verdict, why) = health::wait(&config.probes, service, limit, || tool.now(), || tool.asked_to_stop());
    tool.emit(health)?;
    say(tool, verdict, why);
    Ok(verdict)
}

/// Samples at 0, `every`, 2 × `every` … after the start, whatever each one takes; a point that was missed is left out.
fn sample(tool: &mut Tool, config: &Config, service: &Service, every: Duration, args: &Args) -> anyhow::Result<Verdict> {
    let (began, mut history, mut taken) = (Instant::now(), History::default(), 0);
    let mut before = None;
    tool.listen(args.listen.then_some(&config.root));
    loop {
        tool.hear()?;
        let asked = tool.now();
        let health = health::check(&config.probes, service, asked, &mut history);
        let (verdict, why) = health::verdict(&health);
        tool.emit_at(&tool.stamp(asked), health)?;
        // Once per change: the records have the rest.
        if before.replace(verdict) != Some(verdict) {
            say(tool, verdict, why);
        }
        taken += 1;
        let grid = every.as_nanos().max(1);
        let next = Duration::from_nanos(((began.elapsed().as_nanos() / grid + 1) * grid) as u64);
        let over = args.count.is_some_and(|count| taken >= count) || args.lasting.is_some_and(|lasting| next > lasting.0);
        while !over && !tool.asked_to_stop() && began.elapsed() < next {
            thread::sleep(next.saturating_sub(began.elapsed()).min(Duration::from_millis(50)));
            tool.hear()?;
        }
        if over || tool.asked_to_stop() {
            return Ok(verdict);
        }
    }
}

fn say(tool: &Tool, verdict: Verdict, why: Option<String>) {
    match (verdict, why) {
        (Verdict::No, Some(why)) => tool.say(&format!("not healthy: {why}")),
        (Verdict::Unknown, Some(why)) => tool.say(&format!("cannot tell whether it is healthy: {why}")),
        _ => {}
    }
}
