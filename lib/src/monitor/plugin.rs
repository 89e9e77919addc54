//! The answer of a monitoring plugin: one line, a bar, numbers for graphs, and below it what is not well.

use super::{amount, errors, number, probe_names, share, state};
use crate::error::Exit;
use crate::health;
use crate::policy::{Bounds, Judge, Options, Policy};
use crate::record::{Health, Reading, Record, Severity, Stamp};
use crate::report::words::{percent, shorten, visible};
use crate::verdict::Verdict;

/// Lines below the first: enough to see what is wrong, and well within the 4 KiB that old remote executors pass on.
const MOST_LINES: usize = 12;
/// Characters of a line for people.
const LONGEST_LINE: usize = 240;

/// The four answers that monitoring systems know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Healthy.
    Ok,
    /// Not healthy, and it serves.
    Warning,
    /// Not up, or as ill as the policy's severities high and critical.
    Critical,
    /// It could not be found out.
    Unknown,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::Warning => "WARNING",
            Status::Critical => "CRITICAL",
            Status::Unknown => "UNKNOWN",
        }
    }

    /// The exit code that monitoring systems want for it: 0, 1, 2, 3. The third has our name for another meaning of 2.
    pub fn exit(self) -> Exit {
        match self {
            Status::Ok => Exit::Done,
            Status::Warning => Exit::No,
            Status::Critical => Exit::Usage,
            Status::Unknown => Exit::Unfinished,
        }
    }
}

/// The answer that nothing could be found out, and why.
pub fn unknown(why: &str) -> String {
    format!("ECO UNKNOWN - {}\n", plain(why))
}

/// The answer to a sample: healthy or not as [`health::verdict`] says, and how ill by the policy's severities, as far as one
/// sample can show. Lines in the graphs are the policy's bounds; processor, memory and response time have such lines too, but
/// do not change the answer, because the policy wants them to last.
pub fn plugin(stamp: &Stamp, health: &Health, policy: Policy) -> (Status, String) {
    let name = stamp.ecosystem.as_deref().unwrap_or("the service");
    let (verdict, why) = health::verdict(health);
    let status = match verdict {
        Verdict::Yes => Status::Ok,
        Verdict::Unknown => Status::Unknown,
        Verdict::No => severity(stamp, health, policy.clone()),
    };
    let first = match why {
        Some(why) => format!("{name}: {why}"),
        None => format!("{name} is healthy{}", figures(health)),
    };
    let mut text = format!("ECO {} - {}", status.word(), plain(&first));
    let numbers = performance(health, &policy);
    if !numbers.is_empty() {
        text.push_str(" | ");
        text.push_str(&numbers.join(" "));
    }
    text.push('\n');
    let below = not_well(health);
    for line in below.iter().take(MOST_LINES) {
        text.push_str(&plain(line));
        text.push('\n');
    }
    if below.len() > MOST_LINES {
        text.push_str(&format!("and {} more\n", below.len() - MOST_LINES));
    }
    (status, text)
}

/// How ill a service is that is not healthy.
fn severity(stamp: &Stamp, health: &Health, policy: Policy) -> Status {
    if health.up.known() == Some(&false) {
        return Status::Critical;
    }
    let lasting = Health { cpu_usage: Reading::Absent, memory_usage: Reading::Absent, response_ms: Reading::Absent, ..health.clone() };
    let mut judge = Judge::new(policy, Options { now: true, dry_run: true });
    judge.feed(stamp, &Record::Health(lasting));
    if judge.severity().is_some_and(|severity| severity >= Severity::High) { Status::Critical } else { Status::Warning }
}

/// What a person wants to know about a service that is well.
fn figures(health: &Health) -> String {
    let mut said: Vec<String> = Vec::new();
    said.extend(health.up.known().map(|_| "up".to_owned()));
    said.extend(errors(health).map(|errors| format!("{} errors", percent(errors))));
    said.extend(amount(&health.response_ms).map(|ms| format!("{ms:.0} ms")));
    if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) }
}

/// `'label'=value[UOM];warn;crit;min;max`, one for each number that is known.
fn performance(health: &Health, policy: &Policy) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(up) = health.up.known() {
        all.push(format!("up={};;1:;0;1", u8::from(*up)));
    }
    let mut add = |label: &str, value: Option<f64>, unit: &str, scale: f64, bounds: Bounds, most: &str| {
        let Some(value) = value else { return };
        let bound = |bound: Option<f64>| bound.map_or_else(String::new, |bound| number(bound * scale));
        let ends = format!("{}={}{unit};{};{};0;{most}", quoted(label), number(value * scale), bound(bounds.warn), bound(bounds.critical));
        all.push(ends.trim_end_matches(';').to_owned());
    };
    let none = Bounds::default();
    add("errors", errors(health), "%", 100.0, policy.bounds("error_rate"), "100");
    add("response", amount(&health.response_ms), "s", 0.001, policy.bounds("response_ms"), "");
    add("cpu", share(&health.cpu_usage), "%", 100.0, policy.bounds("cpu_usage"), "100");
    add("memory", share(&health.memory_usage), "%", 100.0, policy.bounds("memory_usage"), "100");
    add("requests", amount(&health.requests), "", 1.0, none, "");
    if !health.modules.is_empty() {
        for word in ["failed", "degraded"] {
            let label = format!("modules_{word}");
            let count = health.modules.values().filter(|said| state(said) == word).count() as f64;
            add(&label, Some(count), "", 1.0, policy.bounds(&label), &health.modules.len().to_string());
        }
    }
    for (name, probe) in probe_names(health).iter().zip(&health.probes) {
        add(&format!("probe {name}"), Some(probe.took_ms as f64), "s", 0.001, none, "");
    }
    all
}

/// A label as the guidelines want it: quoted where a blank, `=` or `'` is in it, a quote doubled.
fn quoted(label: &str) -> String {
    let label = one_line(label);
    let is_plain = label.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:".contains(c));
    if is_plain { label } else { format!("'{}'", label.replace('\'', "''")) }
}

/// One line per thing that is not well.
fn not_well(health: &Health) -> Vec<String> {
    let modules = health.modules.iter().filter(|(_, said)| state(said) != "ok").map(|(name, said)| format!("module {name} {}", state(said)));
    let probes = health.probes.iter().filter(|probe| probe.ok != Some(true)).map(|probe| {
        let how = if probe.ok.is_some() { "failed" } else { "not checked" };
        format!("probe {} {how}: {}", probe.probe, probe.error.as_deref().unwrap_or("it does not say why"))
    });
    let parts = [("integrity", &health.integrity), ("integration", &health.integration)];
    let parts = parts.into_iter().filter(|(_, value)| value.known() == Some(&false)).map(|(name, _)| format!("{name} false"));
    modules.chain(parts).chain(probes).collect()
}

fn plain(text: &str) -> String {
    shorten(&one_line(text), LONGEST_LINE)
}

/// Without anything that would end the line or begin the numbers.
fn one_line(text: &str) -> String {
    visible(text).replace('|', "\\u{7c}")
}
