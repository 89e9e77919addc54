//! Samples on a grid, and samples until the service is well.

use crate::args::Args;
use crate::renew;
use eco::config::Config;
use eco::error::{Exit, Result};
use eco::health::{self, History};
use eco::record::{Health, Stamp};
use eco::service::Service;
use eco::time::Span;
use eco::tool::{Live, Tool};
use eco::verdict::Verdict;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether a signal came or the terminal has another size.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Samples at 0, `every`, 2 × `every` … after the start, whatever each one takes; a point that was missed is left out.
pub fn sample(tool: &mut Tool, config: &Config, service: &Service, every: Span, args: &Args) -> Result<Exit> {
    let (began, mut history, mut taken) = (Instant::now(), History::default(), 0);
    let grid = every.0.as_nanos().max(1);
    // What people say elsewhere has its place between the records, not in a table that is rewritten.
    let mut live = if args.listen { None } else { tool.live(every) };
    let mut metrics = args.openmetrics.as_deref().map(Metrics::new);
    let (mut last, mut missed): (Option<Verdict>, u64) = (None, 0);
    tool.listen(args.listen.then_some(&config.root));
    loop {
        tool.hear()?;
        let stamp = tool.stamp(tool.now());
        let point = began.elapsed().as_nanos() / grid;
        let health = health::check(&config.probes, service, stamp.time, &mut history);
        if tool.asked_to_stop()
            && let Some(verdict) = last
        {
            // Ctrl-C ends the probes' commands as well: what they say then is about them, not about the service.
            return Ok(metrics.map_or(Exit::Done, |metrics| metrics.worst).and(verdict.into()));
        }
        let (verdict, why) = health::verdict(&health);
        if let Some(metrics) = &mut metrics {
            metrics.renew(tool, &mut live, &stamp, &health)?;
        }
        match &mut live {
            Some(live) => {
                live.sample(&stamp, &health, missed);
                live.draw(tool.now())?;
            }
            None => {
                tool.emit_at(&stamp, health)?;
                // Once per change: the records have the rest.
                if last != Some(verdict) {
                    say(tool, verdict, why, "");
                }
            }
        }
        last = Some(verdict);
        taken += 1;
        let due = began.elapsed().as_nanos() / grid + 1;
        missed = (due - point - 1) as u64;
        let next = Duration::from_nanos((due * grid) as u64);
        let over = args.count.is_some_and(|count| taken >= count) || args.lasting.is_some_and(|lasting| next > lasting.0);
        while !over && !tool.asked_to_stop() && began.elapsed() < next {
            thread::sleep(next.saturating_sub(began.elapsed()).min(LOOK_EVERY));
            tool.hear()?;
            if let Some(live) = &mut live {
                live.draw(tool.now())?;
            }
        }
        if over || tool.asked_to_stop() {
            return Ok(metrics.map_or(Exit::Done, |metrics| metrics.worst).and(verdict.into()));
        }
    }
}

/// The file of metrics during a series. A disk that is full must not stop the series, which somebody may be rolling back by.
struct Metrics<'a> {
    file: &'a Path,
    failing: bool,
    worst: Exit,
}

impl<'a> Metrics<'a> {
    fn new(file: &'a Path) -> Metrics<'a> {
        Metrics { file, failing: false, worst: Exit::Done }
    }

    fn renew(&mut self, tool: &Tool, live: &mut Option<Live>, stamp: &Stamp, health: &Health) -> Result<()> {
        let Err(e) = renew(self.file, stamp, health) else {
            self.failing = false;
            return Ok(());
        };
        self.worst = e.exit();
        // Once, until it has worked again.
        if !std::mem::replace(&mut self.failing, true) {
            live.as_mut().map_or(Ok(()), Live::make_room)?;
            tool.error(&format!("{e}; the metrics in it grow old, the samples go on"));
        }
        Ok(())
    }
}

/// Asks until the service is healthy, and says on the way what stands in it.
pub fn wait(tool: &mut Tool, config: &Config, service: &Service, limit: Span) -> Result<Verdict> {
    let began = Instant::now();
    let line = tool.waiting();
    let until = format!("waiting at most {limit} until {} is healthy", config.name);
    line.on(&until);
    let health = health::watch(
        &config.probes,
        service,
        limit.0,
        false,
        || tool.now(),
        |health, _| {
            let (verdict, why) = health::verdict(health);
            if let Some(why) = why {
                line.on(&format!("{until}; now: {why}"));
            }
            verdict == Verdict::Yes || tool.asked_to_stop()
        },
    );
    drop(line);
    let (verdict, why) = health::verdict(&health);
    tool.emit(health)?;
    let waited = if tool.asked_to_stop() { "stopped by a signal after" } else { "waited" };
    let took = began.elapsed().as_millis() as u64;
    let took = Duration::from_millis(if took < 1000 { took } else { (took + 500) / 1000 * 1000 });
    say(tool, verdict, why, &format!("{waited} {}: ", Span(took)));
    Ok(verdict)
}

/// Names on stderr what is wrong with a service that is not well.
pub fn say(tool: &Tool, verdict: Verdict, why: Option<String>, lead: &str) {
    match (verdict, why) {
        (Verdict::No, Some(why)) => tool.say(&format!("{lead}not healthy: {why}")),
        (Verdict::Unknown, Some(why)) => tool.say(&format!("{lead}cannot tell whether it is healthy: {why}")),
        _ => {}
    }
}
