//! What the health records of an incident say: how bad it was, when it was over, where its state changed.

use super::words::{clock, list, percent, span};
use super::{Impact, Measured, incident::Incident};
use crate::record::{Health, Reading, Reason};
use crate::time::{Timestamp, seconds_between};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeMap;

/// Silence between two samples that is longer than this says nothing about the time between them.
pub(super) const STALE_S: i64 = 180;

/// Healthy again means this far inside the limit, as in the policy's default.
const MARGIN: f64 = 0.10;

/// For how long the limits of an incident must be kept before a decision closes it, as in the policy's default: every reopening doubles
/// it, and not beyond an hour.
const CLEAR_S: i64 = 300;
const LONGEST_CLEAR_S: i64 = 3600;

/// How many samples a learned normal response time needs, and how far back they may lie.
const NORMAL_SAMPLES: usize = 30;
const NORMAL_WINDOW_S: i64 = 86_400;

/// One health record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    pub(super) time: Timestamp,
    pub(super) health: &'a Health,
}

/// A limit that a rule of the incident is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limit {
    pub(super) rule: String,
    pub(super) metric: String,
    pub(super) comparison: String,
    pub(super) bound: f64,
}

/// What response time is normal, and how that is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Normal {
    pub(super) ms: f64,
    pub(super) how: String,
}

pub(super) fn usable(reading: &Reading<f64>) -> Option<f64> {
    reading.known().copied().filter(|value| *value >= 0.0)
}

fn share(reading: &Reading<f64>) -> Option<f64> {
    usable(reading).filter(|value| *value <= 1.0)
}

/// The failed share of the requests.
fn errors(health: &Health) -> Option<f64> {
    // An error rate that stands there but cannot be used is not replaced by its complement.
    if health.error_rate.is_absent() { share(&health.success_rate).map(|success| 1.0 - success) } else { share(&health.error_rate) }
}

/// How many modules are in this state, of how many whose state is known.
fn modules(health: &Health, state: &str) -> Option<(f64, f64)> {
    let known = || health.modules.values().filter_map(Reading::known).filter(|word| matches!(word.as_str(), "ok" | "degraded" | "failed"));
    let count = known().filter(|word| *word == state).count();
    (known().next().is_some()).then(|| (count as f64, known().count() as f64))
}

fn has_failed_module(health: &Health) -> bool {
    health.modules.values().any(|state| state.known().is_some_and(|state| state == "failed"))
}

/// The value of a metric as the policy means it; truth is 1. While the service is down nothing else is known.
pub(super) fn metric(health: &Health, name: &str, normal: Option<&Normal>) -> Option<f64> {
    let up = health.up.known().copied();
    let truth = |reading: &Reading<bool>| reading.known().map(|yes| f64::from(u8::from(*yes)));
    if name == "up" {
        return truth(&health.up);
    }
    if up == Some(false) {
        return None;
    }
    match name {
        "error_rate" => errors(health),
        "success_rate" => share(&health.success_rate),
        "response_ms" => usable(&health.response_ms),
        "response_ratio" => usable(&health.response_ms).zip(normal).map(|(ms, normal)| ms / normal.ms),
        "cpu_usage" => share(&health.cpu_usage),
        "memory_usage" => share(&health.memory_usage),
        "integrity" => truth(&health.integrity),
        "integration" => truth(&health.integration),
        "modules_failed" => modules(health, "failed").map(|(count, _)| count),
        "modules_degraded" => modules(health, "degraded").map(|(count, _)| count),
        "modules_failed_share" => modules(health, "failed").map(|(count, known)| count / known),
        // Which modules are critical is in the policy and not in the stream: certain is only that none failed where none did.
        "critical_failed" => modules(health, "failed").map(|(count, _)| count).filter(|count| *count == 0.0),
        _ => None,
    }
}

impl Limit {
    /// Reads a decision's reason, as in `error_rate` and `> 0.25`.
    fn new(reason: &Reason) -> Option<Limit> {
        let (comparison, bound) = reason.threshold.split_once(' ')?;
        let bound = match bound.trim() {
            "true" => 1.0,
            "false" => 0.0,
            number => number.parse().ok()?,
        };
        Some(Limit { rule: reason.rule.clone(), metric: reason.metric.clone(), comparison: comparison.to_owned(), bound })
    }

    fn has_margin(&self) -> bool {
        matches!(self.metric.as_str(), "error_rate" | "success_rate" | "response_ms" | "response_ratio" | "cpu_usage" | "memory_usage")
    }

    /// Whether the value is safely inside the limit; `None` where it is unknown.
    fn inside(&self, health: &Health, normal: Option<&Normal>) -> Option<bool> {
        let value = metric(health, &self.metric, normal)?;
        if !self.has_margin() {
            return Some(!self.compare(value, self.bound));
        }
        Some(match self.comparison.as_str() {
            ">" | ">=" => value <= self.bound * (1.0 - MARGIN),
            "<" | "<=" => value >= (self.bound * (1.0 + MARGIN)).min(if self.metric == "success_rate" { 1.0 } else { f64::MAX }),
            _ => !self.compare(value, self.bound),
        })
    }

    fn compare(&self, value: f64, bound: f64) -> bool {
        match self.comparison.as_str() {
            ">" => value > bound,
            ">=" => value >= bound,
            "<" => value < bound,
            "<=" => value <= bound,
            "==" => value == bound,
            _ => false,
        }
    }
}

/// The limits that the decisions of an incident name, each once.
pub(super) fn limits(incident: &Incident) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    for reason in incident.decisions.iter().flat_map(|(_, decision)| &decision.reasons) {
        if let Some(limit) = Limit::new(reason)
            && !limits.contains(&limit)
        {
            limits.push(limit);
        }
    }
    limits
}

/// The normal response time before the trouble: what the prober says, else the median of a day of samples.
pub(super) fn normal(samples: &[Sample], onset: Timestamp) -> Option<Normal> {
    let before = || samples.iter().filter(|sample| sample.time < onset);
    let said = before().filter_map(|sample| usable(&sample.health.baseline_ms)).next_back();
    if let Some(ms) = said.filter(|ms| *ms > 0.0) {
        return Some(Normal { ms, how: format!("{ms:.0} ms, as the prober says") });
    }
    let recent = before().filter(|sample| seconds_between(sample.time, onset) <= NORMAL_WINDOW_S && sample.health.up.known() == Some(&true));
    let mut times: Vec<f64> = recent.filter_map(|sample| usable(&sample.health.response_ms)).collect();
    times.sort_by(f64::total_cmp);
    let median = *times.get(times.len() / 2).filter(|ms| times.len() >= NORMAL_SAMPLES && **ms > 0.0)?;
    Some(Normal { ms: median, how: format!("{median:.0} ms, the median of {} samples before the onset", times.len()) })
}

/// How bad it was between `from` and `to`, as numbers.
pub(super) fn measured(samples: &[Sample], from: Timestamp, to: Timestamp) -> Measured {
    let inside = || samples.iter().filter(|sample| sample.time >= from && sample.time < to).map(|sample| sample.health);
    let answering = || inside().filter(|health| health.up.known() != Some(&false));
    let failed: Vec<f64> = answering().filter_map(|health| Some(errors(health)? * usable(&health.requests)?)).collect();
    Measured {
        failed_requests: (!failed.is_empty()).then(|| failed.iter().sum::<f64>().round()),
        peak_error_rate: answering().filter_map(errors).reduce(f64::max),
        worst_response_ms: answering().filter_map(|health| usable(&health.response_ms)).reduce(f64::max),
        down_s: down_seconds(samples, from, to).and_then(|(seen, seconds)| (seen == 0 || seconds > 0).then_some(seconds)),
        ..Measured::default()
    }
}

/// How bad it was between `from` and `to`.
pub(super) fn impact(samples: &[Sample], from: Timestamp, to: Timestamp, normal: Option<&Normal>) -> Impact {
    let inside: Vec<&Sample> = samples.iter().filter(|sample| sample.time >= from && sample.time < to).collect();
    // What a service that is down says about itself means nothing.
    let answering: Vec<&Sample> = inside.iter().filter(|sample| sample.health.up.known() != Some(&false)).copied().collect();
    let rated: Vec<(Timestamp, f64, Option<f64>)> =
        answering.iter().filter_map(|sample| errors(sample.health).map(|rate| (sample.time, rate, usable(&sample.health.requests)))).collect();
    let counted: Vec<f64> = rated.iter().filter_map(|(_, rate, requests)| requests.map(|requests| requests * rate)).collect();
    let failed_requests = (!counted.is_empty()).then(|| {
        let partly =
            if counted.len() < inside.len() { format!(" ({} of {} samples say how many)", counted.len(), inside.len()) } else { String::new() };
        format!("{:.0}{partly}", counted.iter().sum::<f64>())
    });
    // The first of equal peaks: when it got that bad.
    let first_max = |found: Option<(Timestamp, f64)>, next: (Timestamp, f64)| match found {
        Some(found) if found.1 >= next.1 => Some(found),
        _ => Some(next),
    };
    let peak = rated.iter().map(|(time, rate, _)| (*time, *rate)).fold(None, first_max);
    let slow = answering.iter().filter_map(|sample| usable(&sample.health.response_ms).map(|ms| (sample.time, ms))).fold(None, first_max);
    let mut worst: BTreeMap<&str, &str> = BTreeMap::new();
    let mut listed = false;
    for sample in &answering {
        for (name, state) in &sample.health.modules {
            listed = true;
            match (state.known().map(String::as_str), worst.get(name.as_str())) {
                (Some("failed"), _) => _ = worst.insert(name, "failed"),
                (Some("degraded"), None) => _ = worst.insert(name, "degraded"),
                _ => {}
            }
        }
    }
    let affected: Vec<String> = worst.iter().map(|(name, state)| format!("{name} ({state})")).collect();
    Impact {
        failed_requests,
        peak_errors: peak.map(|(time, rate)| format!("{} at {}", percent(rate), clock(time))),
        worst_response: slow.map(|(time, ms)| {
            let times = normal.map_or_else(String::new, |normal| format!(", {:.1} times the normal ({})", ms / normal.ms, normal.how));
            format!("{ms:.0} ms at {}{times}", clock(time))
        }),
        down: down(samples, from, to),
        modules: listed.then(|| if affected.is_empty() { "none".to_owned() } else { list(&affected) }),
    }
}

fn down(samples: &[Sample], from: Timestamp, to: Timestamp) -> Option<String> {
    Some(match down_seconds(samples, from, to)? {
        (0, _) => "none seen".to_owned(),
        (_, 0) => "seen down, for how long is not known".to_owned(),
        (_, seconds) => span(seconds),
    })
}

/// In how many samples the service did not answer, and for how long: from a sample that says so to the next that knows, silences left
/// out.
fn down_seconds(samples: &[Sample], from: Timestamp, to: Timestamp) -> Option<(usize, i64)> {
    let known: Vec<(Timestamp, bool)> =
        samples.iter().filter(|sample| sample.time >= from).filter_map(|sample| sample.health.up.known().map(|up| (sample.time, *up))).collect();
    if !known.iter().any(|(time, _)| *time < to) {
        return None;
    }
    let pairs = known.iter().zip(known.iter().skip(1)).filter(|((time, up), _)| !up && *time < to);
    let seconds: i64 = pairs.map(|((time, _), (next, _))| seconds_between(*time, *next)).filter(|seconds| *seconds <= STALE_S).sum();
    let seen = known.iter().filter(|(time, up)| !up && *time < to).count();
    Some((seen, seconds))
}

/// The limits that no sample after `from` up to `to` says anything about: those over events, and those whose metric is not there.
pub(super) fn unseen<'a>(samples: &[Sample], from: Timestamp, to: Timestamp, limits: &'a [Limit], normal: Option<&Normal>) -> Vec<&'a Limit> {
    let between = || samples.iter().filter(|sample| sample.time > from && sample.time <= to);
    // A failed module leaves it open whether a critical one failed, which is something to go by.
    let speaks = |limit: &Limit, health: &Health| {
        limit.inside(health, normal).is_some() || (limit.metric == "critical_failed" && modules(health, "failed").is_some())
    };
    limits.iter().filter(|limit| !between().any(|sample| speaks(limit, sample.health))).collect()
}

/// The latest beginning of the healthy period that a decision had proof of when it closed an incident that was reopened so often.
pub(super) fn cleared_from(resolved: Timestamp, reopened: u64) -> Timestamp {
    let doubled = CLEAR_S.saturating_mul(1_i64 << reopened.min(30));
    resolved.checked_sub(SignedDuration::from_secs(doubled.min(LONGEST_CLEAR_S))).unwrap_or(resolved)
}

/// The first sample of the unbroken healthy period that ends at `to`: after `from`, up, no module failed, and inside every one of the
/// limits. A sample that does not know a value neither begins nor breaks it.
pub(super) fn recovered(samples: &[Sample], from: Timestamp, to: Timestamp, limits: &[&Limit], normal: Option<&Normal>) -> Option<Timestamp> {
    let mut since = None;
    for sample in samples.iter().filter(|sample| sample.time > from && sample.time <= to) {
        let health = sample.health;
        let kept: Vec<Option<bool>> = limits.iter().map(|limit| limit.inside(health, normal)).collect();
        let unsound = [&health.up, &health.integrity, &health.integration].iter().any(|reading| reading.known() == Some(&false));
        if unsound || has_failed_module(health) || kept.contains(&Some(false)) {
            since = None;
        } else if health.up.known() == Some(&true) && kept.iter().all(|kept| *kept == Some(true)) {
            since = since.or(Some(sample.time));
        }
    }
    since
}

/// Where the state of health changed: one line each.
pub(super) fn changes(samples: &[Sample], limits: &[Limit], normal: Option<&Normal>) -> Vec<(Timestamp, String)> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = Vec::new();
    for sample in samples {
        let mut news: Vec<String> = Vec::new();
        for Part { what, now, is_fine, text } in state(sample.health, limits, normal) {
            match known.insert(what, now.clone()) {
                // What is fine at the first look is no news.
                None if is_fine => {}
                None => news.push(text),
                Some(was) if was != now => news.push(text),
                Some(_) => {}
            }
        }
        if !news.is_empty() {
            lines.push((sample.time, format!("health: {}", news.join("; "))));
        }
    }
    lines
}

/// One thing that a sample knows.
struct Part {
    what: String,
    now: String,
    is_fine: bool,
    /// Both as a person says them.
    text: String,
}

impl Part {
    fn new(what: impl Into<String>, now: &str, is_fine: bool) -> Part {
        let what = what.into();
        Part { text: format!("{what} {now}"), what, now: now.to_owned(), is_fine }
    }
}

/// What one sample knows. Of a service that is down nothing else is known.
fn state(health: &Health, limits: &[Limit], normal: Option<&Normal>) -> Vec<Part> {
    let mut parts = vec![match health.up.known() {
        Some(true) => Part::new("service", "up", true),
        Some(false) => return vec![Part::new("service", "down", false)],
        None => Part::new("service", "unknown", false),
    }];
    let truths = [(&health.integrity, "data", "consistent", "not consistent"), (&health.integration, "integration", "working", "broken")];
    for (reading, what, good, bad) in truths {
        parts.extend(reading.known().map(|fine| Part::new(what, if *fine { good } else { bad }, *fine)));
    }
    for (name, state) in &health.modules {
        parts.extend(state.known().map(|state| Part::new(format!("module {name}"), state, state == "ok")));
    }
    for limit in limits.iter().filter(|limit| !matches!(limit.metric.as_str(), "up" | "integrity" | "integration")) {
        let Some(value) = metric(health, &limit.metric, normal) else { continue };
        let Limit { rule, metric, comparison, bound } = limit;
        let broken = limit.compare(value, *bound);
        let word = if broken { "" } else { "no longer " };
        // Three digits are as many as a person compares.
        let text = format!("{metric} {} is {word}{comparison} {bound} ({rule})", (value * 1000.0).round() / 1000.0);
        parts.push(Part { what: format!("{rule} {comparison} {bound}"), now: broken.to_string(), is_fine: !broken, text });
    }
    parts
}

/// The usual distance between two samples there, in seconds; `None` where fewer than three say so.
pub(super) fn distance(samples: &[Sample], from: Timestamp, to: Timestamp) -> Option<i64> {
    let times: Vec<Timestamp> = samples.iter().map(|sample| sample.time).filter(|time| (from..=to).contains(time)).collect();
    let mut distances: Vec<i64> = times.iter().zip(times.iter().skip(1)).map(|(one, next)| seconds_between(*one, *next)).collect();
    distances.sort_unstable();
    distances.get(distances.len() / 2).filter(|seconds| distances.len() >= 2 && **seconds > 0).copied()
}

/// Rules of the incident whose limits had been crossed in the day before, and were not any more when the trouble began: how often, and
/// when last.
pub(super) fn flickers(samples: &[Sample], limits: &[Limit], normal: Option<&Normal>, onset: Timestamp) -> Vec<(String, u64, Timestamp)> {
    let before = || samples.iter().filter(|sample| sample.time < onset && seconds_between(sample.time, onset) <= NORMAL_WINDOW_S);
    let mut found = Vec::new();
    for limit in limits {
        let (mut crossed, mut times, mut last) = (false, 0, None);
        for sample in before() {
            let Some(value) = metric(sample.health, &limit.metric, normal) else { continue };
            let now = limit.compare(value, limit.bound);
            if now && !crossed {
                times += 1;
            }
            if now {
                last = Some(sample.time);
            }
            crossed = now;
        }
        // What is still crossed when the trouble begins belongs to it.
        let times = if crossed { times - 1 } else { times };
        found.extend(last.filter(|_| times > 0).map(|last| (limit.rule.clone(), times, last)));
    }
    found.sort();
    found.dedup_by(|one, other| one.0 == other.0);
    found
}

/// Silences of the monitoring between `from` and `to`.
pub(super) fn gaps(samples: &[Sample], from: Timestamp, to: Timestamp) -> Vec<String> {
    let pairs = samples.iter().zip(samples.iter().skip(1));
    let long = pairs.filter(|(one, next)| seconds_between(one.time, next.time) > STALE_S && next.time >= from && one.time <= to);
    long.map(|(one, next)| {
        format!("{} without a health record, from {} to {}", span(seconds_between(one.time, next.time)), clock(one.time), clock(next.time))
    })
    .collect()
}

/// Metrics that stand in a sample and cannot be used: of the wrong type, negative, or a share above 1.
pub(super) fn unusable(health: &Health) -> u64 {
    let bad = |reading: &Reading<f64>, is_share: bool| match reading {
        Reading::Absent => false,
        Reading::Unusable(_) => true,
        Reading::Known(value) => *value < 0.0 || (is_share && *value > 1.0),
    };
    let shares = [&health.error_rate, &health.success_rate, &health.cpu_usage, &health.memory_usage];
    let others = [&health.requests, &health.response_ms, &health.baseline_ms];
    let truths = [&health.up, &health.integrity, &health.integration];
    let count = shares.iter().filter(|reading| bad(reading, true)).count() + others.iter().filter(|reading| bad(reading, false)).count();
    (count + truths.iter().filter(|reading| matches!(reading, Reading::Unusable(_))).count()) as u64
}

/// A reason's observed value: text without its quotes.
pub(super) fn observed(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
