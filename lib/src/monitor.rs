//! One sample of health as monitoring systems read it: the line of a monitoring plugin, and metrics as text.
//!
//! Both are made from the record that a pipe would carry. What is not known is left out, never written as a number.

mod metrics;
mod plugin;

pub use metrics::metrics;
pub use plugin::{Status, plugin, unknown};

use crate::record::{Health, Reading};
use std::collections::BTreeMap;

/// A share that can be one.
fn share(value: &Reading<f64>) -> Option<f64> {
    value.known().copied().filter(|share| (0.0..=1.0).contains(share))
}

/// A length of time or a number of things.
fn amount(value: &Reading<f64>) -> Option<f64> {
    value.known().copied().filter(|value| value.is_finite() && *value >= 0.0)
}

/// The failed share of the requests, also where only the successful one is told.
fn errors(health: &Health) -> Option<f64> {
    share(&health.error_rate).or_else(|| share(&health.success_rate).map(|well| 1.0 - well))
}

/// The states that a module can be in.
const STATES: [&str; 4] = ["ok", "degraded", "failed", "unknown"];

/// A module's state as one of [`STATES`].
fn state(said: &Reading<String>) -> &'static str {
    STATES.into_iter().find(|state| said.known().is_some_and(|said| said == state)).unwrap_or("unknown")
}

/// A number in plain digits: no exponent, no locale, at most six decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The names of the probes, told apart where two are the same: nobody takes a series twice.
fn probe_names(health: &Health) -> Vec<String> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let told_apart = health.probes.iter().map(|probe| {
        let times = seen.entry(&probe.probe).or_default();
        *times += 1;
        if *times == 1 { probe.probe.clone() } else { format!("{} ({times})", probe.probe) }
    });
    told_apart.collect()
}

#[cfg(test)]
mod tests;
