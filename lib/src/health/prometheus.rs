//! Kind `prometheus`: one number from a Prometheus server. The server is not the service: whatever keeps it from answering is
//! *not known*, and only a number that it gives can speak against the service.

use super::ask::{Answer, plain};
use super::body::Body;
use super::{Up, http};
use crate::record::{Health, Reading};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// A longer file holds no token.
const LONGEST_TOKEN: u64 = 16 << 10;
/// As much of the server's own words as fits a line.
const LONGEST_COMPLAINT: usize = 200;

/// The field of the record that a query gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Whether the service is up: 1 or 0.
    Up,
    /// Whether the data is sound: 1 or 0.
    Integrity,
    /// Whether the parts work together: 1 or 0.
    Integration,
    /// How many requests the rates are about.
    Requests,
    /// Failed share of the requests, 0..1.
    ErrorRate,
    /// Successful share of the requests, 0..1.
    SuccessRate,
    /// Response time in milliseconds.
    ResponseMs,
    /// The response time that is normal, in milliseconds.
    BaselineMs,
    /// Share of the processors, 0..1.
    CpuUsage,
    /// Share of the memory, 0..1.
    MemoryUsage,
}

impl Metric {
    /// Its name in records.
    pub fn word(self) -> &'static str {
        match self {
            Metric::Up => "up",
            Metric::Integrity => "integrity",
            Metric::Integration => "integration",
            Metric::Requests => "requests",
            Metric::ErrorRate => "error_rate",
            Metric::SuccessRate => "success_rate",
            Metric::ResponseMs => "response_ms",
            Metric::BaselineMs => "baseline_ms",
            Metric::CpuUsage => "cpu_usage",
            Metric::MemoryUsage => "memory_usage",
        }
    }

    /// Whether it is yes or no, and no quantity.
    pub(super) fn is_a_word(self) -> bool {
        matches!(self, Metric::Up | Metric::Integrity | Metric::Integration)
    }

    fn is_share(self) -> bool {
        matches!(self, Metric::ErrorRate | Metric::SuccessRate | Metric::CpuUsage | Metric::MemoryUsage)
    }

    /// What could not be found out; only the question whether it is up leaves that open.
    fn unknown(self, why: impl Into<String>) -> Answer {
        Answer { up: if self == Metric::Up { Up::Unknown } else { Up::Silent }, ..Answer::unknown(why) }
    }

    /// What a number says.
    fn answer(self, number: f64) -> Answer {
        if self.is_a_word() {
            let yes = match number {
                1.0 => true,
                0.0 => false,
                other => return self.unknown(format!("{} is 0 or 1, and the query gives {other}", self.word())),
            };
            let (up, error) = match (self, yes) {
                (Metric::Up, true) => (Up::Yes, None),
                (Metric::Up, false) => (Up::No, Some("the query gives 0".into())),
                (_, yes) => (Up::Silent, (!yes).then(|| "the query gives 0".into())),
            };
            let mut health = Health::default();
            match self {
                Metric::Integrity => health.integrity = Reading::Known(yes),
                Metric::Integration => health.integration = Reading::Known(yes),
                _ => {}
            }
            return Answer { up, ok: Some(yes), error, body: Some(Body { health, ..Body::default() }), ..Answer::default() };
        }
        // Quotients of counters may miss their bound by a rounding.
        const ROUNDING: f64 = 1e-9;
        if number < -ROUNDING {
            return self.unknown(format!("{} is never negative, and the query gives {number}", self.word()));
        }
        if self.is_share() && number > 1.0 + ROUNDING {
            return self.unknown(format!("{} is a share from 0 to 1, and the query gives {number}: a percentage needs scale = 0.01", self.word()));
        }
        let number = Reading::Known(if self.is_share() { number.clamp(0.0, 1.0) } else { number.max(0.0) });
        let mut health = Health::default();
        *match self {
            Metric::Requests => &mut health.requests,
            Metric::ErrorRate => &mut health.error_rate,
            Metric::SuccessRate => &mut health.success_rate,
            Metric::BaselineMs => &mut health.baseline_ms,
            Metric::CpuUsage => &mut health.cpu_usage,
            Metric::MemoryUsage => &mut health.memory_usage,
            _ => &mut health.response_ms,
        } = number;
        Answer { ok: Some(true), body: Some(Body { health, ..Body::default() }), ..Answer::default() }
    }
}

/// The question, as `eco.toml` has it.
pub(super) struct Question<'a> {
    pub(super) url: &'a str,
    pub(super) query: &'a str,
    pub(super) metric: Metric,
    pub(super) scale: f64,
}

/// Asks the server. `token` holds what it wants to see first, and is read each time, because such files are renewed.
pub(super) fn ask(question: &Question<'_>, token: Option<&Path>, limit: Duration) -> Answer {
    let Question { url, query, metric, scale } = *question;
    let authorization = match token.map(authorization).transpose() {
        Ok(authorization) => authorization,
        Err(why) => return metric.unknown(why),
    };
    let place = format!("{}/api/v1/query", url.trim_end_matches('/'));
    // Told to give up as well, so that nobody works on an answer that nobody waits for.
    let patience = format!("{}ms", limit.as_millis().max(1));
    let reply = match http::get(&place, &[("query", query), ("timeout", &patience)], authorization.as_deref(), limit) {
        Ok(reply) => reply,
        Err(answer) => return metric.unknown(format!("prometheus cannot be asked: {}", answer.error.unwrap_or_default())),
    };
    let Some(body) = reply.body else { return metric.unknown("prometheus gives too long an answer: let the query give one number") };
    match number(reply.status, &body) {
        Ok(number) => metric.answer(number * scale),
        Err(why) => metric.unknown(why),
    }
}

/// The value of the `Authorization` header. A bearer token never holds a colon; a user and a password are written with one.
fn authorization(file: &Path) -> Result<String, String> {
    let mut text = Vec::new();
    let opened = super::ask::open(file).and_then(|file| file.take(LONGEST_TOKEN).read_to_end(&mut text));
    opened.map_err(|e| format!("the token_file {} cannot be read: {}", file.display(), plain(&e)))?;
    // What the file holds must not get into a message.
    let usable = |text: &&str| !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let token = std::str::from_utf8(&text).ok().map(str::trim).filter(usable);
    let token = token.ok_or_else(|| format!("the token_file {} holds no token on one line", file.display()))?;
    Ok(if token.contains(':') { format!("Basic {}", BASE64_STANDARD.encode(token)) } else { format!("Bearer {token}") })
}

/// The one number of an answer.
fn number(status: u16, body: &[u8]) -> Result<f64, String> {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let error = said.as_ref().and_then(|said| said.get("error")).and_then(Value::as_str);
    if let Some(error) = error {
        let shown: String = error.lines().next().unwrap_or_default().chars().take(LONGEST_COMPLAINT).collect();
        return Err(format!("prometheus refuses the query: {}", shown.escape_debug()));
    }
    if !(200..300).contains(&status) {
        let hint = match status {
            401 | 403 => ": it wants a token_file, or another one",
            404 => ": is the url that of the server, without /api?",
            _ => "",
        };
        return Err(format!("prometheus answered with status {status}{hint}"));
    }
    let data = said.as_ref().filter(|said| said.get("status").and_then(Value::as_str) == Some("success")).and_then(|said| said.get("data"));
    let unreadable = || "what answered is no prometheus: its answer cannot be understood".to_owned();
    let data = data.ok_or_else(unreadable)?;
    let result = data.get("result").and_then(Value::as_array).ok_or_else(unreadable)?;
    let sample = match data.get("resultType").and_then(Value::as_str) {
        Some("scalar") => result.get(1),
        Some("vector") => match result.as_slice() {
            [] => return Err("the query gives nothing: no series fits, or none has been written lately".into()),
            [one] => one.get("value").and_then(|value| value.get(1)),
            many => return Err(format!("the query gives {} series: let it give one, as sum() or max() do", many.len())),
        },
        Some(other) => return Err(format!("the query gives a {}: let it give one number", other.escape_debug())),
        None => None,
    };
    let Some(sample) = sample.and_then(Value::as_str) else {
        // Native histograms have no single value.
        return Err("the query gives no number".into());
    };
    match sample.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(format!("the query gives {}: where nothing was counted there is no rate", sample.escape_debug())),
        Err(_) => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn vector(value: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1772359200.1,"{value}"]}}]}}}}"#)
    }

    #[test]
    fn a_scalar_and_a_vector_of_one_are_numbers() {
        assert_eq!(number(200, vector("0.31").as_bytes()), Ok(0.31));
        assert_eq!(number(200, br#"{"status":"success","data":{"resultType":"scalar","result":[1,"7"]}}"#), Ok(7.0));
    }

    #[test]
    fn what_is_no_single_number_is_told_apart() {
        let series = r#"{"metric":{},"value":[1,"1"]}"#;
        let of = |kind: &str, result: &str| format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":[{result}]}}}}"#);
        for (status, body, why) in [
            (200, of("vector", ""), "the query gives nothing"),
            (200, of("vector", &format!("{series},{series}")), "gives 2 series"),
            (200, of("matrix", ""), "gives a matrix"),
            (200, of("string", "1,\"a\""), "gives a string"),
            (200, of("vector", r#"{"metric":{},"histogram":[1,{}]}"#), "gives no number"),
            (200, vector("NaN"), "gives NaN"),
            (200, vector("+Inf"), "gives +Inf"),
            (200, vector("many"), "cannot be understood"),
            (200, "<html>".into(), "is no prometheus"),
            (200, String::new(), "is no prometheus"),
            (200, "{}".into(), "is no prometheus"),
            (400, r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#.into(), "refuses the query: parse error"),
            (422, r#"{"status":"error","error":"many-to-many\nmatching"}"#.into(), "refuses the query: many-to-many"),
            (401, String::new(), "status 401: it wants a token_file"),
            (404, "page not found".into(), "status 404: is the url"),
            (503, "down".into(), "status 503"),
            (302, String::new(), "status 302"),
        ] {
            let said = number(status, body.as_bytes()).unwrap_err();
            assert!(said.contains(why) && !said.contains('\n'), "{status} {body}: {said}");
        }
    }

    #[test]
    fn a_number_becomes_its_field_or_is_not_believed() {
        let field = |metric: Metric, number: f64| metric.answer(number).body.map(|body| body.health);
        assert_eq!(field(Metric::ErrorRate, 0.25).unwrap().error_rate, Reading::Known(0.25));
        assert_eq!(field(Metric::ErrorRate, 1.000_000_000_000_000_2).unwrap().error_rate, Reading::Known(1.0), "a rounding");
        assert_eq!(field(Metric::ResponseMs, 118.0).unwrap().response_ms, Reading::Known(118.0));
        assert_eq!(field(Metric::Requests, 1200.0).unwrap().requests, Reading::Known(1200.0));
        assert_eq!(field(Metric::Integrity, 0.0).unwrap().integrity, Reading::Known(false));
        for (metric, number) in [(Metric::CpuUsage, 41.0), (Metric::ResponseMs, -1.0), (Metric::Integration, 0.5)] {
            let answer = metric.answer(number);
            assert!(answer.ok.is_none() && answer.up == Up::Silent && answer.body.is_none(), "{metric:?}");
        }
        let (yes, no, odd) = (Metric::Up.answer(1.0), Metric::Up.answer(0.0), Metric::Up.answer(3.0));
        assert_eq!((yes.up, no.up, odd.up), (Up::Yes, Up::No, Up::Unknown));
    }

    #[test]
    fn a_token_is_read_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let of = |text: &str| {
            fs::write(&file, text).unwrap();
            authorization(&file)
        };
        assert_eq!(of("abc.def-ghi\n").unwrap(), "Bearer abc.def-ghi");
        assert_eq!(of("eco:s3cret\n").unwrap(), "Basic ZWNvOnMzY3JldA==");
        for text in ["", "\n", "one\ntwo", "s\u{e9}cret"] {
            let said = of(text).unwrap_err();
            assert!(said.ends_with("holds no token on one line") && !said.contains("two"), "{said}");
        }
        assert!(authorization(&folder.path().join("none")).unwrap_err().ends_with("cannot be read: no such file or directory"));
    }
}
