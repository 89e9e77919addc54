//! What a service says about itself: the fields of a `health` record, or the older `health_check()` form with
//! `ecosystem_state`, `overall_health` and a table per module.

use super::Up;
use crate::record::{Health, Reading};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An answer's body, understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Body {
    /// Every metric that it has; `up` and `error` are in [`Body::up`].
    pub(super) health: Health,
    /// What it says about being up; `None` where it does not.
    pub(super) up: Option<Up>,
    /// Errors that each module has counted since it was started.
    pub(super) error_counts: BTreeMap<String, f64>,
    /// Its own word for itself, where that is not one for healthy.
    pub(super) complaint: Option<String>,
}

/// The metrics that are taken over as they stand.
const METRICS: [&str; 10] =
    ["requests", "error_rate", "success_rate", "response_ms", "baseline_ms", "cpu_usage", "memory_usage", "integrity", "integration", "cohort"];

/// Understands a body: one JSON object, or lines of which the last is one. `None` where it says nothing about health.
pub(super) fn parse(text: &[u8]) -> Option<Body> {
    let text = text.trim_ascii();
    let last_line = || text.rsplit(|byte| *byte == b'\n').next().and_then(|line| serde_json::from_slice(line).ok());
    match serde_json::from_slice(text).ok().or_else(last_line)? {
        Value::Object(said) => understand(&said),
        _ => None,
    }
}

fn understand(said: &Map<String, Value>) -> Option<Body> {
    let known = ["up", "modules", "ecosystem_state", "overall_health"];
    if !METRICS.iter().chain(&known).any(|name| said.contains_key(*name)) {
        return None;
    }
    let metrics: Map<String, Value> = said
        .iter()
        .filter(|(name, value)| METRICS.contains(&name.as_str()) && (*name != "cohort" || value.is_string()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    // Every metric is a Reading, which takes any value, so this cannot fail.
    let mut body = Body { health: serde_json::from_value(Value::Object(metrics)).unwrap_or_default(), ..Body::default() };
    body.up = said.get("up").map(|up| match up {
        Value::Bool(true) => Up::Yes,
        Value::Bool(false) => Up::No,
        _ => Up::Unknown,
    });
    if body.up.is_none() {
        body.up = match said.get("ecosystem_state").and_then(word).as_deref() {
            Some("running") => Some(Up::Yes),
            Some("error" | "shutdown" | "stopped" | "failed") => Some(Up::No),
            _ => None,
        };
    }
    body.complaint = said.get("overall_health").and_then(word).filter(|word| !matches!(word.as_str(), "healthy" | "ok" | "running"));
    for (name, module) in said.get("modules").and_then(Value::as_object).into_iter().flatten() {
        let (state, errors) = match module {
            Value::Object(fields) => (fields.get("status").or_else(|| fields.get("state")), fields.get("error_count")),
            state => (Some(state), None),
        };
        body.health.modules.insert(name.clone(), state.map_or(Reading::Absent, module_state));
        body.error_counts.extend(errors.and_then(Value::as_f64).map(|count| (name.clone(), count)));
    }
    Some(body)
}

fn module_state(said: &Value) -> Reading<String> {
    let Some(word) = word(said) else { return if said.is_null() { Reading::Absent } else { Reading::Unusable(said.clone()) } };
    Reading::Known(match word.as_str() {
        "integrated" | "running" | "ok" | "healthy" => "ok".into(),
        "degraded" | "warning" | "integrating" => "degraded".into(),
        "failed" | "error" => "failed".into(),
        _ => word,
    })
}

/// A word as programs print it: `running`, `RUNNING`, `EcosystemState.RUNNING`.
fn word(said: &Value) -> Option<String> {
    let word = said.as_str()?.rsplit('.').next()?.trim();
    Some(word.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(body: &Body) -> Vec<(&str, &str)> {
        body.health.modules.iter().map(|(name, state)| (name.as_str(), state.known().map_or("?", String::as_str))).collect()
    }

    #[test]
    fn the_older_form_is_understood() {
        let body = parse(
            br#"{"ecosystem_state":"EcosystemState.RUNNING","overall_health":"degraded","modules":{
              "a":{"status":"integrated","run_count":7,"error_count":3},"b":{"status":"integrating"},"c":{"status":"ERROR"},"d":{"status":"asleep"}}}"#,
        )
        .unwrap();
        assert_eq!(body.up, Some(Up::Yes));
        assert_eq!(body.complaint.as_deref(), Some("degraded"));
        assert_eq!(states(&body), [("a", "ok"), ("b", "degraded"), ("c", "failed"), ("d", "asleep")]);
        assert_eq!(body.error_counts, BTreeMap::from([("a".into(), 3.0)]));
        for (state, up) in [("error", Some(Up::No)), ("shutdown", Some(Up::No)), ("initializing", None)] {
            assert_eq!(parse(format!("{{\"ecosystem_state\":\"{state}\"}}").as_bytes()).unwrap().up, up, "{state}");
        }
    }

    #[test]
    fn the_fields_of_a_record_are_taken_over_and_wrong_types_kept_apart() {
        let body = parse(br#"{"up":true,"error_rate":"high","requests":12,"integrity":false,"modules":{"a":"ok","b":3}}"#).unwrap();
        assert_eq!(body.up, Some(Up::Yes));
        assert_eq!(body.health.requests, Reading::Known(12.0));
        assert_eq!(body.health.error_rate, Reading::Unusable("high".into()));
        assert_eq!(body.health.integrity, Reading::Known(false));
        assert_eq!(states(&body), [("a", "ok"), ("b", "?")]);
        assert_eq!(parse(br#"{"up":null}"#).unwrap().up, Some(Up::Unknown));
    }

    #[test]
    fn what_says_nothing_about_health_is_no_body() {
        for text in ["", "OK", "<html>", "[1]", "{}", r#"{"error":"cannot connect"}"#] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert!(parse(b"warming up\n{\"up\":true}\n").is_some(), "the last line counts");
    }
}
