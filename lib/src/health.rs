//! The probes: what they ask the running service, and what the answers mean.
//!
//! All probes are asked at the same time, each within its own, so that one that hangs delays nobody beyond its timeout. A
//! service that does not answer is *not up*; a probe that cannot be run says *not known*, and the two are never mixed up.

mod ask;
mod body;
mod history;
mod http;
mod limits;
mod log;
mod machine;
mod probe;
mod prometheus;

pub use history::History;
pub use limits::{Check, Checklist, Limits, Memory};
pub use log::{Patterns, TimeForm};
pub use probe::{LOG_WINDOW, Probe, Says};
pub use prometheus::Metric;

use crate::record::{Health, ProbeResult, Reading};
use crate::service::{Service, millis};
use crate::time::Timestamp;
use crate::verdict::Verdict;
use ask::Answer;
use std::borrow::Cow;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// From this failed share of the requests on a service is not healthy: where the lowest band of the policy begins.
pub const UNHEALTHY_ERROR_RATE: f64 = 0.05;
/// Rates of fewer requests prove nothing.
pub const FEWEST_REQUESTS: f64 = 20.0;
/// What a probe gets on top of its timeout before it is given up: its own message is better than ours.
const GIVE_UP_AFTER: Duration = Duration::from_millis(150);

/// Probes get this long when the time for a last sample has nearly run out.
const SHORTEST_ASKING: Duration = Duration::from_millis(100);

/// What is known about the service being up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Up {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Asked, and not found out.
    Unknown,
    /// That was not the question.
    #[default]
    Silent,
}

/// Asks every probe at once and adds up what they say. Without any probe the process of `[control]` is looked for. Takes as
/// long as the slowest probe, at most the longest timeout.
///
/// `up` is false if one probe says so, unknown (with `error`) if one could not be run, else true. The first probe that has a
/// metric gives it; of two words about a module the worse counts, and `integrity` and `integration` are false if anybody says so.
/// Processor and memory are measured where no probe gives them: of the service's processes, else of the whole machine.
pub fn check(probes: &[Probe], service: &Service, now: Timestamp, history: &mut History) -> Health {
    sample(probes, service, now, None, Measured::from(service), history)
}

/// Whose processor and memory are measured.
#[derive(Clone, Copy)]
enum Measured {
    Nobody,
    Service,
    /// Where it cannot be said which processes are the service's.
    Machine,
}

impl From<&Service> for Measured {
    fn from(service: &Service) -> Measured {
        if service.can_find() { Measured::Service } else { Measured::Machine }
    }
}

fn sample(probes: &[Probe], service: &Service, now: Timestamp, longest: Option<Duration>, measured: Measured, history: &mut History) -> Health {
    match measured {
        Measured::Service => history.begin(service),
        Measured::Machine => history.begin_host(),
        Measured::Nobody => {}
    }
    let answers = ask_all(probes, service, now, longest, history);
    let mut health = add_up(answers, history, Instant::now());
    let usage = match measured {
        Measured::Service => history.usage(service).unwrap_or_default(),
        Measured::Machine => history.host_usage(),
        Measured::Nobody => history::Usage::default(),
    };
    keep_first(&mut health.cpu_usage, usage.cpu.into());
    keep_first(&mut health.memory_usage, usage.memory.into());
    health
}

/// The probes that can tell how a service is that has just been started. The others look back: the rates of the last minutes, as
/// Prometheus has them, and the age of a snapshot are about the one before.
pub fn of_now(probes: &[Probe]) -> Cow<'_, [Probe]> {
    if probes.iter().any(Probe::looks_back) {
        Cow::Owned(probes.iter().filter(|probe| !probe.looks_back()).cloned().collect())
    } else {
        Cow::Borrowed(probes)
    }
}

/// Asks until the service is healthy, at most for `limit`; the last answers, and what they add up to. Processor and memory
/// are not measured, which would delay the answer, and probes that look back are not asked: see [`of_now`].
pub fn wait(
    probes: &[Probe],
    service: &Service,
    limit: Duration,
    now: impl Fn() -> Timestamp,
    asked_to_stop: impl Fn() -> bool,
) -> (Health, Verdict, Option<String>) {
    let health = watch(probes, service, limit, false, now, |health, _| verdict(health).0 == Verdict::Yes || asked_to_stop());
    let (verdict, why) = verdict(&health);
    (health, verdict, why)
}

/// Asks until a sample is `enough`, at most for `limit`; the last one. With `usage` processor and memory are measured too, where
/// the service's processes are known. Only probes that can tell how it is now are asked: see [`of_now`]; a log counts from now on.
pub fn watch(
    probes: &[Probe],
    service: &Service,
    limit: Duration,
    usage: bool,
    now: impl Fn() -> Timestamp,
    mut enough: impl FnMut(&Health, &History) -> bool,
) -> Health {
    let began = Instant::now();
    let (all, probes) = (probes, of_now(probes));
    let measured = if usage && service.can_find() { Measured::Service } else { Measured::Nobody };
    let mut history = History::from_now();
    let mut pause = Duration::from_millis(50);
    loop {
        let left = limit.saturating_sub(began.elapsed()).max(SHORTEST_ASKING);
        let mut health = sample(&probes, service, now(), Some(left), measured, &mut history);
        if health.probes.is_empty() && !all.is_empty() {
            health.error = Some("nothing to ask while waiting: every [[probe]] is about the time before, and [control] names no process".into());
        }
        let rest = limit.saturating_sub(began.elapsed() + SHORTEST_ASKING);
        if enough(&health, &history) || rest.is_zero() {
            return health;
        }
        // The last sample is taken at the end, not up to a pause before it: the service may come up in the last second.
        thread::sleep(pause.min(rest));
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
}

/// Whether a sample shows a healthy service, and what speaks against it or cannot be told.
///
/// Not healthy: not up, a module that is degraded or failed, `integrity` or `integration` false, 5 % of at least twenty requests
/// failed, or a probe that says no. Not known: nobody could tell whether it is up, or a probe could not be run. A slow answer or
/// a busy processor speaks against a service only when it lasts, which one sample cannot show.
pub fn verdict(health: &Health) -> (Verdict, Option<String>) {
    let no = |why: String| (Verdict::No, Some(why));
    let of_probe = |ok| health.probes.iter().find(|probe| probe.ok == ok);
    let said = |probe: &ProbeResult| match &probe.error {
        Some(error) => format!("{}: {error}", probe.probe),
        None => probe.probe.clone(),
    };
    if health.up.known() == Some(&false) {
        return no(of_probe(Some(false)).map_or_else(|| "it is not up".into(), |probe| format!("it is not up: {}", said(probe))));
    }
    for (name, value) in [("integrity", &health.integrity), ("integration", &health.integration)] {
        if value.known() == Some(&false) {
            let database = health.probes.iter().find(|probe| name == "integrity" && probe.ok == Some(false) && probe.probe.starts_with("sqlite "));
            return no(database.map_or_else(|| format!("{name} is false"), |probe| format!("{name} is false: {}", said(probe))));
        }
    }
    for bad in ["failed", "degraded"] {
        let named: Vec<&str> =
            health.modules.iter().filter(|(_, state)| state.known().is_some_and(|s| s == bad)).map(|(name, _)| name.as_str()).collect();
        if !named.is_empty() {
            return no(format!("module {} {bad}", named.join(", ")));
        }
    }
    let share = |value: &Reading<f64>| value.known().copied().filter(|share| (0.0..=1.0).contains(share));
    let failed = share(&health.error_rate).or_else(|| share(&health.success_rate).map(|well| 1.0 - well));
    let enough = health.requests.known().is_none_or(|requests| *requests >= FEWEST_REQUESTS);
    if let Some(failed) = failed.filter(|failed| enough && *failed >= UNHEALTHY_ERROR_RATE) {
        return no(format!("{:.1} % of the requests fail", failed * 100.0));
    }
    if let Some(probe) = of_probe(Some(false)) {
        return no(said(probe));
    }
    let unknown = |why: String| (Verdict::Unknown, Some(why));
    if let Some(probe) = of_probe(None) {
        return unknown(said(probe));
    }
    match health.up.known() {
        Some(_) => (Verdict::Yes, None),
        // Nobody was asked whether it is up, and everybody who was asked is content.
        None if health.up.is_absent() && health.error.is_none() && !health.probes.is_empty() => (Verdict::Yes, None),
        None => unknown(health.error.clone().unwrap_or_else(|| "nothing says whether it is up".into())),
    }
}

/// What a snapshot's record says about health: `ok`, `failed` or `unknown`. How old the snapshots are is left out: one that is
/// not good because the last good one is old would never be followed by a good one.
pub fn word(health: &Health) -> &'static str {
    let mut health = Cow::Borrowed(health);
    if health.probes.iter().any(|probe| probe.probe.starts_with("snapshot ")) {
        health.to_mut().probes.retain(|probe| !probe.probe.starts_with("snapshot "));
    }
    match verdict(&health).0 {
        Verdict::Yes => "ok",
        Verdict::No => "failed",
        Verdict::Unknown => "unknown",
    }
}

struct Asked {
    name: String,
    answer: Answer,
    took_ms: u64,
}

fn ask_all(probes: &[Probe], service: &Service, now: Timestamp, longest: Option<Duration>, history: &mut History) -> Vec<Asked> {
    let implied = [Probe::Process {}];
    let probes = if probes.is_empty() && service.can_find() { &implied } else { probes };
    let began = Instant::now();
    let from_now = history.is_from_now();
    let waiting: Vec<_> = probes
        .iter()
        .enumerate()
        .map(|(at, probe)| {
            let limit = longest.map_or(probe.timeout(), |longest| probe.timeout().min(longest));
            let (sender, receiver) = mpsc::channel();
            let Some(turn) = history.turn(at) else {
                // The receiver is right here.
                let _ = sender.send((Answer::open(probe), 0));
                return (probe, limit, receiver);
            };
            let (asked, service, again) = (probe.clone(), service.clone(), sender.clone());
            let started = thread::Builder::new().spawn(move || {
                let answer = ask::ask(&asked, &service, now, limit, &turn, from_now);
                // Given back before the answer is out: the next sample may follow at once.
                drop(turn);
                // Nobody waits any more for one that comes too late.
                let _ = sender.send((answer, millis(began)));
            });
            if let Err(e) = started {
                let _ = again.send((Answer::unknown(format!("it cannot be asked: {e}")), 0));
            }
            (probe, limit, receiver)
        })
        .collect();
    let given = |(probe, limit, receiver): (&Probe, Duration, mpsc::Receiver<(Answer, u64)>)| {
        // A command that hangs is ended, which takes a moment; that is waited for, so that nothing of ours is left behind.
        let patience = if matches!(probe, Probe::Command { .. }) { GIVE_UP_AFTER * 4 } else { GIVE_UP_AFTER };
        let left = (limit + patience).saturating_sub(began.elapsed());
        let (answer, took_ms) = match receiver.recv_timeout(left) {
            Ok(given) => given,
            Err(mpsc::RecvTimeoutError::Timeout) => (Answer::late(probe, limit), millis(began)),
            Err(mpsc::RecvTimeoutError::Disconnected) => (Answer::unknown("the probe broke off"), millis(began)),
        };
        Asked { name: probe.name(), answer, took_ms }
    };
    waiting.into_iter().map(given).collect()
}

fn add_up(answers: Vec<Asked>, history: &mut History, at: Instant) -> Health {
    let mut health = Health::default();
    if answers.is_empty() {
        health.error = Some("nothing to ask: eco.toml has no [[probe]], and [control] has no pidfile, no process and no unit".into());
        return health;
    }
    let mut measured = Reading::Absent;
    let (mut any_yes, mut any_no) = (false, false);
    for Asked { name, answer, took_ms } in answers {
        match answer.up {
            Up::Yes => any_yes = true,
            Up::No => any_no = true,
            Up::Unknown if health.error.is_none() => health.error = Some(format!("{name}: {}", answer.error.as_deref().unwrap_or("unknown"))),
            Up::Unknown | Up::Silent => {}
        }
        if let Some(took) = answer.response_ms {
            keep_first(&mut measured, Reading::Known(took));
        }
        if let Some(sound) = answer.integrity {
            keep_worse(&mut health.integrity, Reading::Known(sound));
        }
        if let Some(body) = answer.body {
            take_over(&mut health, body, history, at);
        }
        health.probes.push(ProbeResult { probe: name, ok: answer.ok, took_ms, error: answer.error });
    }
    if health.error.is_none() && !any_no && !any_yes {
        // Nobody says that it is up; what kept somebody from looking is the best reason there is.
        let open = health.probes.iter().find(|probe| probe.ok.is_none());
        health.error = open.map(|probe| format!("{}: {}", probe.probe, probe.error.as_deref().unwrap_or("unknown")));
    }
    if any_no {
        health.up = Reading::Known(false);
    } else if any_yes && health.error.is_none() {
        health.up = Reading::Known(true);
    }
    keep_first(&mut health.response_ms, measured);
    health
}

fn take_over(health: &mut Health, body: body::Body, history: &mut History, at: Instant) {
    let said = body.health;
    keep_first(&mut health.requests, said.requests);
    keep_first(&mut health.error_rate, said.error_rate);
    keep_first(&mut health.success_rate, said.success_rate);
    keep_first(&mut health.response_ms, said.response_ms);
    keep_first(&mut health.baseline_ms, said.baseline_ms);
    keep_first(&mut health.cpu_usage, said.cpu_usage);
    keep_first(&mut health.memory_usage, said.memory_usage);
    keep_worse(&mut health.integrity, said.integrity);
    keep_worse(&mut health.integration, said.integration);
    health.cohort = health.cohort.take().or(said.cohort);
    for (name, state) in said.modules {
        let state = match body.error_counts.get(&name) {
            Some(count) if history.errors_grow(&name, *count, at) && state.known().is_none_or(|state| state != "failed") => {
                Reading::Known("degraded".into())
            }
            _ => state,
        };
        let badness = |state: &Reading<String>| match state.known().map(String::as_str) {
            Some("failed") => 3,
            Some("degraded") => 2,
            Some("ok") => 1,
            _ => 0,
        };
        let known = health.modules.entry(name).or_default();
        if badness(&state) > badness(known) || known.is_absent() {
            *known = state;
        }
    }
}

/// A value that can be used wins over one that cannot, and the first over later ones.
fn keep_first(known: &mut Reading<f64>, said: Reading<f64>) {
    if known.is_absent() || (known.known().is_none() && said.known().is_some()) {
        *known = said;
    }
}

/// False wins over everything.
fn keep_worse(known: &mut Reading<bool>, said: Reading<bool>) {
    if said.known() == Some(&false) || known.is_absent() || (known.known().is_none() && said.known().is_some()) {
        *known = said;
    }
}

#[cfg(test)]
mod tests;
