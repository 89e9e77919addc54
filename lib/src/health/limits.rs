//! What a service must keep after a rollback: the limits of `[verify.limits]`, and the checklist that they make with what the
//! probes say.

use super::{FEWEST_REQUESTS, History, UNHEALTHY_ERROR_RATE};
use crate::record::{Health, Reading};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use std::fmt;

/// `[verify.limits]`: each must be kept at some moment while health is waited for, because a service that has just been started
/// is busy and slow. Named and measured like the metrics of a `health` record.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Failed share of the requests, 0..1.
    pub error_rate: Option<f64>,
    /// Errors that one module has counted since it was started.
    pub errors: Option<u64>,
    /// Response time.
    pub response_ms: Option<f64>,
    /// Share of the processors that the service may use, 0..1.
    pub cpu_usage: Option<f64>,
    /// Memory of the service.
    pub memory_usage: Option<Memory>,
}

/// A limit for memory, in either of the two ways in which people think of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Memory {
    /// Of the memory that the service may use, 0..1.
    Share(f64),
    /// In bytes; written as in `"4GiB"`.
    Bytes(u64),
}

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Memory::Share(share) => write!(f, "{share}"),
            Memory::Bytes(bytes) => {
                let (unit, shift) = UNITS.into_iter().find(|(_, shift)| bytes.trailing_zeros() >= *shift && bytes >> shift > 0).unwrap_or(("B", 0));
                write!(f, "{}{unit}", bytes >> shift)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Memory, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Memory;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as 0.5, or a size such as \"4GiB\"")
            }

            fn visit_f64<E>(self, share: f64) -> Result<Memory, E> {
                Ok(Memory::Share(share))
            }

            fn visit_i64<E>(self, share: i64) -> Result<Memory, E> {
                Ok(Memory::Share(share as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Memory, E> {
                let size = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.parse::<u64>().ok()?, shift)));
                let bytes = size.and_then(|(number, shift)| number.checked_mul(1 << shift));
                bytes
                    .map(Memory::Bytes)
                    .ok_or_else(|| E::custom(format!("'{text}' is not a size: write a number and a unit, such as 512MiB or 4GiB")))
            }
        }

        from.deserialize_any(Either)
    }
}

impl Limits {
    /// Whether they can be meant.
    ///
    /// # Errors
    /// A sentence about the one that cannot.
    pub fn check(&self) -> Result<(), String> {
        let memory = self.memory_usage.and_then(|memory| if let Memory::Share(share) = memory { Some(share) } else { None });
        for (key, share) in [("error_rate", self.error_rate), ("cpu_usage", self.cpu_usage), ("memory_usage", memory)] {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                return Err(format!("{key} is a share, from 0 to 1: write 0.3 for 30 %"));
            }
        }
        if self.response_ms.is_some_and(|limit| !(limit > 0.0 && limit.is_finite())) {
            return Err("response_ms is a number of milliseconds above 0".into());
        }
        Ok(())
    }

    /// Those that are set: key and limit.
    pub fn set(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("error_rate", self.error_rate.map(|limit| limit.to_string())),
            ("errors", self.errors.map(|limit| limit.to_string())),
            ("response_ms", self.response_ms.map(|limit| limit.to_string())),
            ("cpu_usage", self.cpu_usage.map(|limit| limit.to_string())),
            ("memory_usage", self.memory_usage.map(|limit| limit.to_string())),
        ];
        all.into_iter().filter_map(|(key, limit)| Some((key, limit?))).collect()
    }

    /// Whether processor or memory have to be measured for them, which takes a moment.
    pub fn need_usage(&self) -> bool {
        self.cpu_usage.is_some() || self.memory_usage.is_some()
    }
}

/// One line of the checklist.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is checked, in one word.
    pub name: &'static str,
    /// Kept, exceeded, or (`None`) not measured by anybody.
    pub ok: Option<bool>,
    /// What was observed, and the limit.
    pub note: String,
}

/// The checklist over all samples of one wait. A line that was right once stays right where it is about a limit; what the probes
/// say about modules and data is as the last sample has it.
#[derive(Debug)]
pub struct Checklist<'a> {
    limits: &'a Limits,
    lines: Vec<Check>,
}

impl<'a> Checklist<'a> {
    /// An empty one.
    pub fn new(limits: &'a Limits) -> Checklist<'a> {
        Checklist { limits, lines: Vec::new() }
    }

    /// Takes the next sample in.
    pub fn look(&mut self, health: &Health, history: &History) {
        let known = std::mem::take(&mut self.lines);
        let kept = |check: &Check| known.iter().find(|old| old.name == check.name && old.ok == Some(true)).cloned();
        let limits = [self.errors(health, history), self.response(health), self.cpu(health), self.memory(health, history)];
        let limits = limits.into_iter().flatten().map(|check| if check.ok == Some(true) { check } else { kept(&check).unwrap_or(check) });
        self.lines = modules(health).into_iter().chain(limits).chain(integrity(health)).collect();
    }

    /// Whether nothing that is measured speaks against the service; with `usage`, also what has not been measured yet.
    pub fn is_settled(&self, usage: bool) -> bool {
        self.lines.iter().all(|line| line.ok.unwrap_or(!(usage && matches!(line.name, "cpu" | "memory"))))
    }

    /// Its lines, in a fixed order. What nobody measures and nothing limits has none.
    pub fn lines(&self) -> &[Check] {
        &self.lines
    }

    fn errors(&self, health: &Health, history: &History) -> Option<Check> {
        let failed = share(&health.error_rate).or_else(|| share(&health.success_rate).map(|well| 1.0 - well));
        // Rates of a few requests prove nothing, neither way.
        let rate = failed.filter(|_| health.requests.known().is_none_or(|requests| *requests >= FEWEST_REQUESTS));
        let rate = match (rate, self.limits.error_rate) {
            (Some(rate), None) => Some(Check { name: "errors", ok: Some(rate < UNHEALTHY_ERROR_RATE), note: format!("error_rate {}", round(rate)) }),
            (rate, limit) => held("errors", "error_rate", rate, limit),
        };
        let most = history.most_errors();
        let count = held("errors", "errors", most.map(|(_, count)| count), self.limits.errors.map(|limit| limit as f64)).map(|mut check| {
            if let Some((module, _)) = most {
                check.note = format!("{} (module {module})", check.note);
            }
            check
        });
        match (rate, count) {
            (Some(rate), Some(count)) => {
                let ok = if rate.ok == Some(false) || count.ok == Some(false) { Some(false) } else { rate.ok.or(count.ok) };
                Some(Check { name: "errors", ok, note: format!("{}; {}", rate.note, count.note) })
            }
            (rate, count) => rate.or(count),
        }
    }

    fn response(&self, health: &Health) -> Option<Check> {
        held("response", "response_ms", health.response_ms.known().copied(), self.limits.response_ms)
    }

    fn cpu(&self, health: &Health) -> Option<Check> {
        held("cpu", "cpu_usage", share(&health.cpu_usage), self.limits.cpu_usage)
    }

    fn memory(&self, health: &Health, history: &History) -> Option<Check> {
        match self.limits.memory_usage? {
            Memory::Share(limit) => held("memory", "memory_usage", share(&health.memory_usage), Some(limit)),
            limit @ Memory::Bytes(most) => Some(match history.memory_bytes() {
                Some(bytes) => {
                    let used = if bytes >> 20 > 0 { Memory::Bytes(bytes >> 20 << 20) } else { Memory::Bytes(bytes) };
                    Check { name: "memory", ok: Some(bytes <= most), note: format!("memory_usage {used}, limit {limit}") }
                }
                None => not_measured("memory", "memory_usage in bytes"),
            }),
        }
    }
}

/// One observed value and its limit; nothing without a limit.
fn held(name: &'static str, key: &str, observed: Option<f64>, limit: Option<f64>) -> Option<Check> {
    let limit = limit?;
    Some(match observed {
        Some(observed) => Check { name, ok: Some(observed <= limit), note: format!("{key} {}, limit {limit}", round(observed)) },
        None => not_measured(name, key),
    })
}

fn not_measured(name: &'static str, key: &str) -> Check {
    Check { name, ok: None, note: format!("not checked: nobody measures {key}") }
}

fn modules(health: &Health) -> Option<Check> {
    let named = |word: &str| -> Vec<&str> {
        let is = |state: &Reading<String>| state.known().map_or("unknown", String::as_str) == word;
        health.modules.iter().filter(|(_, state)| is(state)).map(|(name, _)| name.as_str()).collect()
    };
    let (all, well) = (health.modules.len(), named("ok").len());
    let bad: Vec<String> =
        ["failed", "degraded"].into_iter().filter(|word| !named(word).is_empty()).map(|word| format!("{} {word}", named(word).join(", "))).collect();
    let ok = if !bad.is_empty() { Some(false) } else { (well == all).then_some(true) };
    let more = if bad.is_empty() { String::new() } else { format!("; {}", bad.join("; ")) };
    (all > 0).then(|| Check { name: "modules", ok, note: format!("{well} of {all} ok{more}") })
}

fn integrity(health: &Health) -> Option<Check> {
    let sound = *health.integrity.known()?;
    Some(Check { name: "integrity", ok: Some(sound), note: if sound { "the data is consistent" } else { "the data is not consistent" }.into() })
}

fn share(value: &Reading<f64>) -> Option<f64> {
    value.known().copied().filter(|share| (0.0..=1.0).contains(share))
}

/// As many digits as say something.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Limits {
        toml::from_str(text).unwrap()
    }

    fn health(json: &str) -> Health {
        serde_json::from_str(json).unwrap()
    }

    fn lines(limits: &Limits, samples: &[&str]) -> Vec<(&'static str, Option<bool>, String)> {
        let mut list = Checklist::new(limits);
        samples.iter().for_each(|json| list.look(&health(json), &History::default()));
        list.lines().iter().map(|line| (line.name, line.ok, line.note.clone())).collect()
    }

    #[test]
    fn a_size_and_a_share_are_told_apart() {
        let memory = |text: &str| limits(&format!("memory_usage = {text}")).memory_usage.unwrap();
        assert_eq!([memory("0.5"), memory("1"), memory("\"4GiB\"")], [Memory::Share(0.5), Memory::Share(1.0), Memory::Bytes(4 << 30)]);
        assert_eq!([memory("\"1536MiB\"").to_string(), memory("\"1000B\"").to_string(), memory("\"0B\"").to_string()], ["1536MiB", "1000B", "0B"]);
        for wrong in ["\"4\"", "\"4GB\"", "\"GiB\"", "\"-1GiB\"", "\"99999999999TiB\"", "true"] {
            assert!(toml::from_str::<Limits>(&format!("memory_usage = {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_that_cannot_be_meant_is_refused() {
        for (text, word) in
            [("cpu_usage = 30", "cpu_usage"), ("error_rate = -0.1", "error_rate"), ("memory_usage = 4", "memory"), ("response_ms = 0", "response")]
        {
            assert!(limits(text).check().unwrap_err().contains(word), "{text}");
        }
        assert_eq!(limits("cpu_usage = 0.3\nresponse_ms = 10\nerrors = 10\nmemory_usage = \"4GiB\"").check(), Ok(()));
    }

    #[test]
    fn a_limit_is_kept_if_it_was_kept_once_and_health_is_as_it_is_now() {
        let limits = limits("cpu_usage = 0.3\nresponse_ms = 10");
        let seen =
            lines(&limits, &[r#"{"cpu_usage":0.2,"response_ms":50,"integrity":true}"#, r#"{"cpu_usage":0.9,"response_ms":11,"integrity":false}"#]);
        assert_eq!(
            seen,
            [
                ("response", Some(false), "response_ms 11, limit 10".into()),
                ("cpu", Some(true), "cpu_usage 0.2, limit 0.3".into()),
                ("integrity", Some(false), "the data is not consistent".into())
            ]
        );
    }

    #[test]
    fn what_nobody_measures_is_not_checked_and_what_nobody_limits_is_left_out() {
        assert_eq!(lines(&Limits::default(), &[r#"{"cpu_usage":1.0,"response_ms":5000}"#]), []);
        let unmeasured = lines(&limits("response_ms = 10\nerrors = 3\nmemory_usage = \"1GiB\""), &[r#"{"response_ms":"fast"}"#]);
        assert!(unmeasured.iter().all(|(_, ok, note)| ok.is_none() && note.starts_with("not checked: nobody measures ")), "{unmeasured:?}");
        assert_eq!(unmeasured.len(), 3);
    }

    #[test]
    fn rates_of_few_requests_prove_nothing() {
        let of = |json| lines(&limits("error_rate = 0.01"), &[json])[0].1;
        assert_eq!(of(r#"{"error_rate":0.5,"requests":3}"#), None);
        assert_eq!(of(r#"{"error_rate":0.02,"requests":300}"#), Some(false));
        assert_eq!(of(r#"{"success_rate":1.0}"#), Some(true));
    }

    #[test]
    fn a_module_of_which_nobody_knows_is_neither_well_nor_ill() {
        let of = |json| lines(&Limits::default(), &[json]).remove(0);
        assert_eq!(of(r#"{"modules":{"a":"ok","b":"ok"}}"#), ("modules", Some(true), "2 of 2 ok".into()));
        assert_eq!(of(r#"{"modules":{"a":"ok","b":"asleep"}}"#), ("modules", None, "1 of 2 ok".into()));
        assert_eq!(of(r#"{"modules":{"a":"failed","b":"ok","c":"degraded"}}"#), ("modules", Some(false), "1 of 3 ok; a failed; c degraded".into()));
    }
}
