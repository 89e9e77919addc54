//! The probes: what they ask the running service, and what the answers mean.
//!
//! All probes are asked at the same time, each within its own, so that one that hangs delays nobody beyond its timeout. A
//! service that does not answer is *not up*; a probe that cannot be run says *not known*, and the two are never mixed up.

mod ask;
mod body;
mod history;
mod limits;

pub use history::History;
pub use limits::{Check, Checklist, Limits, Memory};

use crate::record::{Health, ProbeResult, Reading};
use crate::service::{Argv, Service, millis};
use crate::time::{Span, Timestamp};
use crate::verdict::Verdict;
use ask::Answer;
use serde::Deserialize;
use std::path::PathBuf;
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

/// `[[probe]]`: one question to the running service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Probe {
    /// The process of `[control]` runs.
    Process {},
    /// A command that prints JSON, or says it all with its exit code.
    Command {
        /// The command.
        command: Argv,
        /// How long it may take; default 10s.
        timeout: Option<Span>,
    },
    /// An HTTP answer, with a JSON body if there is one.
    Http {
        /// Where: `http://HOST:PORT/PATH`.
        url: String,
        /// How long it may take; default 5s.
        timeout: Option<Span>,
    },
    /// A port that takes connections.
    Tcp {
        /// Where: `HOST:PORT`.
        address: String,
        /// How long it may take; default 5s.
        timeout: Option<Span>,
    },
    /// A file that must be there, and not too old.
    File {
        /// Relative to the ecosystem's root.
        path: PathBuf,
        /// Older than this is not healthy.
        max_age: Option<Span>,
    },
    /// A file with a JSON body.
    Json {
        /// Relative to the ecosystem's root.
        path: PathBuf,
        /// Older than this is not healthy.
        max_age: Option<Span>,
    },
    /// A SQLite database that must pass `quick_check`.
    Sqlite {
        /// Relative to the ecosystem's root.
        path: PathBuf,
        /// How long it may take; default 10s.
        timeout: Option<Span>,
    },
}

impl Probe {
    /// Its kind and what it looks at, as records name it.
    pub fn name(&self) -> String {
        match self {
            Probe::Process {} => "process".into(),
            Probe::Command { command, .. } => format!("command {}", command.join(" ")),
            Probe::Http { url, .. } => format!("http {}", without_password(url)),
            Probe::Tcp { address, .. } => format!("tcp {address}"),
            Probe::File { path, .. } => format!("file {}", path.display()),
            Probe::Json { path, .. } => format!("json {}", path.display()),
            Probe::Sqlite { path, .. } => format!("sqlite {}", path.display()),
        }
    }

    /// How long it may take.
    pub fn timeout(&self) -> Duration {
        let (said, default) = match self {
            Probe::Command { timeout, .. } | Probe::Sqlite { timeout, .. } => (*timeout, 10),
            Probe::Http { timeout, .. } | Probe::Tcp { timeout, .. } => (*timeout, 5),
            Probe::Process {} | Probe::File { .. } | Probe::Json { .. } => (None, 5),
        };
        said.map_or(Duration::from_secs(default), |span| span.0)
    }
}

/// An address without `user:password@`: records are mailed around.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (place, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", place.rsplit('@').next().unwrap_or(place))
}

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
pub fn check(probes: &[Probe], service: &Service, now: Timestamp, history: &mut History) -> Health {
    sample(probes, service, now, None, service.can_find(), history)
}

fn sample(probes: &[Probe], service: &Service, now: Timestamp, longest: Option<Duration>, usage: bool, history: &mut History) -> Health {
    if usage {
        history.begin(service);
    }
    let answers = ask_all(probes, service, now, longest);
    let mut health = add_up(answers, history, Instant::now());
    if usage && let Some(usage) = history.usage(service) {
        keep_first(&mut health.cpu_usage, Reading::Known(usage.cpu));
        keep_first(&mut health.memory_usage, Reading::Known(usage.memory));
    }
    health
}

/// Asks until the service is healthy, at most for `limit`; the last answers, and what they add up to. Processor and memory
/// are not measured, which would delay the answer.
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
/// the service's processes are known.
pub fn watch(
    probes: &[Probe],
    service: &Service,
    limit: Duration,
    usage: bool,
    now: impl Fn() -> Timestamp,
    mut enough: impl FnMut(&Health, &History) -> bool,
) -> Health {
    let began = Instant::now();
    let mut history = History::default();
    let mut pause = Duration::from_millis(50);
    loop {
        let left = limit.saturating_sub(began.elapsed()).max(SHORTEST_ASKING);
        let health = sample(probes, service, now(), Some(left), usage && service.can_find(), &mut history);
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

/// What a snapshot's record says about health: `ok`, `failed` or `unknown`.
pub fn word(health: &Health) -> &'static str {
    match verdict(health).0 {
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

fn ask_all(probes: &[Probe], service: &Service, now: Timestamp, longest: Option<Duration>) -> Vec<Asked> {
    let implied = [Probe::Process {}];
    let probes = if probes.is_empty() && service.can_find() { &implied } else { probes };
    let began = Instant::now();
    let waiting: Vec<_> = probes
        .iter()
        .map(|probe| {
            let limit = longest.map_or(probe.timeout(), |longest| probe.timeout().min(longest));
            let (sender, receiver) = mpsc::channel();
            let (probe, service) = (probe.clone(), service.clone());
            let asked = probe.clone();
            thread::spawn(move || {
                let answer = ask::ask(&asked, &service, now, limit);
                // Nobody waits any more for one that comes too late.
                let _ = sender.send((answer, millis(began)));
            });
            (probe, limit, receiver)
        })
        .collect();
    let given = |(probe, limit, receiver): (Probe, Duration, mpsc::Receiver<(Answer, u64)>)| {
        // A command that hangs is ended, which takes a moment; that is waited for, so that nothing of ours is left behind.
        let patience = if matches!(probe, Probe::Command { .. }) { GIVE_UP_AFTER * 4 } else { GIVE_UP_AFTER };
        let left = (limit + patience).saturating_sub(began.elapsed());
        let (answer, took_ms) = match receiver.recv_timeout(left) {
            Ok(given) => given,
            Err(mpsc::RecvTimeoutError::Timeout) => (Answer::late(&probe, limit), millis(began)),
            Err(mpsc::RecvTimeoutError::Disconnected) => (Answer::unknown("the probe broke off"), millis(began)),
        };
        Asked { name: probe.name(), answer, took_ms }
    };
    waiting.into_iter().map(given).collect()
}

fn add_up(answers: Vec<Asked>, history: &mut History, at: Instant) -> Health {
    let mut health = Health::default();
    if answers.is_empty() {
        health.error = Some("nothing to ask: eco.toml has no [[probe]], and [control] has no pidfile and no process".into());
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
