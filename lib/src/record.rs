//! Every type that crosses a pipe, and its JSON. One Rust type writes and reads each.
//!
//! A line on the stream is one JSON object: the [`Stamp`] that all records share (`type`, `time`, `ecosystem`, `host`) and the
//! body of one [`Record`]. Names carry their unit; shares are 0..1; ids are opaque text. A reader keeps the bytes of the line
//! beside what it understood, so forwarding never rewrites anything.

mod bodies;
mod path;
mod scope;

pub use bodies::*;
pub use path::RecordPath;
pub use scope::Scope;

use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// The longest line that is still a record, in bytes: 16 MiB.
pub const LONGEST_LINE: usize = 16 << 20;

/// What every record carries beside its body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// When the thing happened, in UTC.
    pub time: Timestamp,
    /// Which service it is about; absent is an ecosystem of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecosystem: Option<String>,
    /// The machine that said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

macro_rules! records {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A record's body, by its `type`.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Record {
            $($(#[doc = $doc])* $variant($variant),)*
            /// A type that this version does not know: passed on, never acted on.
            Other(String),
        }

        impl Record {
            /// The `type` as it stands in the JSON.
            pub fn kind(&self) -> &str {
                match self {
                    $(Record::$variant(_) => $name,)*
                    Record::Other(name) => name,
                }
            }

            fn parse(kind: &str, line: &[u8]) -> Result<Record, serde_json::Error> {
                match kind {
                    $($name => serde_json::from_slice(line).map(Record::$variant),)*
                    other => Ok(Record::Other(other.to_owned())),
                }
            }

            fn write_body(&self, stamp: &Stamp) -> Result<Vec<u8>, serde_json::Error> {
                match self {
                    $(Record::$variant(body) => serde_json::to_vec(&Written { kind: $name, stamp, body }),)*
                    Record::Other(name) => serde_json::to_vec(&Written { kind: name, stamp, body: &Nothing {} }),
                }
            }
        }

        $(impl From<$variant> for Record {
            fn from(body: $variant) -> Record {
                Record::$variant(body)
            }
        })*
    };
}

records! {
    /// One sample of the service's health.
    Health = "health",
    /// Something was changed on purpose.
    Change = "change",
    /// Somebody or something raised an alarm, or cleared it.
    Signal = "signal",
    /// A person's word.
    Operator = "operator",
    /// What the policy concluded.
    Decision = "decision",
    /// One archive in the store.
    Snapshot = "snapshot",
    /// One entry of a snapshot.
    Entry = "entry",
    /// What reading an archive back showed.
    Verification = "verification",
    /// One path at which two trees differ.
    Difference = "difference",
    /// What a rollback is about to do.
    Plan = "plan",
    /// One step of a rollback and how it ended.
    Step = "step",
    /// A rollback's beginning or end.
    Restore = "restore",
    /// A service or unit was controlled.
    Control = "control",
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Written<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    stamp: &'a Stamp,
    #[serde(flatten)]
    body: &'a T,
}

/// A line that was read: its stamp, its body, and nothing of its bytes lost on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its number in the input, from 1.
    pub number: u64,
    /// The line as it was read, without its newline.
    pub raw: Vec<u8>,
    /// Time, ecosystem and host. The epoch where the line is no record.
    pub stamp: Stamp,
    /// The body; [`Record::Other`] for unknown types and for lines that are no record.
    pub record: Record,
    /// Why the line is no record, or not the record that its type promises.
    pub fault: Option<String>,
}

impl Line {
    /// Understands one line (without its newline). Never fails: what cannot be understood says so in [`Line::fault`].
    pub fn parse(number: u64, raw: Vec<u8>) -> Line {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            time: Timestamp,
            #[serde(default)]
            ecosystem: Option<String>,
            #[serde(default)]
            host: Option<String>,
        }
        let understood = (|| {
            if raw.len() > LONGEST_LINE {
                return Err(("", format!("longer than {} MiB", LONGEST_LINE >> 20)));
            }
            if raw.first().is_none_or(|byte| *byte != b'{') && raw.trim_ascii_start().first() != Some(&b'{') {
                return Err(("", "not a JSON object".to_owned()));
            }
            let head: Head = serde_json::from_slice(&raw).map_err(|e| ("", explain(&e)))?;
            let stamp = Stamp { time: head.time, ecosystem: head.ecosystem, host: head.host };
            match Record::parse(&head.kind, &raw) {
                Ok(record) => Ok((stamp, record, None)),
                Err(e) => Ok((stamp, Record::Other(head.kind.into_owned()), Some(explain(&e)))),
            }
        })();
        let (stamp, record, fault) = understood.unwrap_or_else(|(kind, why)| (Stamp::default(), Record::Other(kind.to_owned()), Some(why)));
        Line { number, raw, stamp, record, fault }
    }
}

/// serde_json's message without the position inside the line, which has no meaning for a person.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// The JSON of one record, without a newline.
pub fn to_json(stamp: &Stamp, record: &Record) -> Vec<u8> {
    // Every body is a struct of strings, numbers, lists and string-keyed maps: serde_json cannot refuse one.
    record.write_body(stamp).expect("records serialize")
}

/// A value that somebody else wrote: known, absent (or null), or of a type that cannot be used. The last is kept, so that it
/// can be named in a warning; it never counts as a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Reading<T> {
    /// A value of the right type.
    Known(T),
    /// Missing or null.
    #[default]
    Absent,
    /// Something else, as it stood there.
    Unusable(serde_json::Value),
}

impl<T> Reading<T> {
    /// The value, if there is a usable one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Reading::Known(value) => Some(value),
            _ => None,
        }
    }

    /// Whether nothing was said.
    pub fn is_absent(&self) -> bool {
        matches!(self, Reading::Absent)
    }
}

impl<T> From<Option<T>> for Reading<T> {
    fn from(value: Option<T>) -> Reading<T> {
        value.map_or(Reading::Absent, Reading::Known)
    }
}

impl<T: Serialize> Serialize for Reading<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Reading::Known(value) => value.serialize(to),
            Reading::Absent => to.serialize_none(),
            Reading::Unusable(value) => value.serialize(to),
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for Reading<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Reading<T>, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        if value.is_null() {
            return Ok(Reading::Absent);
        }
        Ok(match T::deserialize(&value) {
            Ok(known) => Reading::Known(known),
            Err(_) => Reading::Unusable(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(json: &str) {
        let line = Line::parse(1, json.as_bytes().to_vec());
        assert_eq!(line.fault, None, "{json}");
        assert!(!matches!(line.record, Record::Other(_)), "{json}");
        let printed = to_json(&line.stamp, &line.record);
        let (was, is): (serde_json::Value, serde_json::Value) = (serde_json::from_str(json).unwrap(), serde_json::from_slice(&printed).unwrap());
        assert_eq!(was, is);
        assert!(printed.starts_with(format!("{{\"type\":\"{}\",\"time\":", line.record.kind()).as_bytes()));
    }

    #[test]
    fn every_record_prints_what_it_read() {
        for json in include_str!("record/examples.ndjson").lines() {
            round_trip(json);
        }
    }

    #[test]
    fn every_type_has_an_example() {
        let examples = include_str!("record/examples.ndjson");
        for kind in [
            "health",
            "change",
            "signal",
            "operator",
            "decision",
            "snapshot",
            "entry",
            "verification",
            "difference",
            "plan",
            "step",
            "restore",
            "control",
        ] {
            assert!(examples.contains(&format!("{{\"type\":\"{kind}\",")), "{kind}");
        }
    }

    #[test]
    fn an_unknown_type_is_a_record_that_says_nothing() {
        let line = Line::parse(3, br#"{"type":"weather","time":"2026-03-01T10:00:00Z","ecosystem":"shop","sky":"blue"}"#.to_vec());
        assert_eq!((line.fault, line.record), (None, Record::Other("weather".into())));
        assert_eq!(line.stamp.ecosystem.as_deref(), Some("shop"));
    }

    #[test]
    fn what_is_no_record_says_why() {
        for (text, why) in [
            ("hello", "not a JSON object"),
            ("[1]", "not a JSON object"),
            ("{\"time\":\"2026-03-01T10:00:00Z\"}", "missing field `type`"),
            ("{\"type\":\"health\"}", "missing field `time`"),
            ("{\"type\":\"step\",\"time\":\"2026-03-01T10:00:00Z\"}", "missing field `restore`"),
        ] {
            let fault = Line::parse(1, text.as_bytes().to_vec()).fault.unwrap_or_default();
            assert!(fault.contains(why), "{text}: {fault}");
        }
    }

    #[test]
    fn a_metric_of_the_wrong_type_is_kept_but_unusable() {
        let line = Line::parse(1, br#"{"type":"health","time":"2026-03-01T10:00:00Z","up":true,"error_rate":"high"}"#.to_vec());
        let Record::Health(health) = line.record else { panic!("not a health record") };
        assert_eq!(health.error_rate.known(), None);
        assert_eq!(health.error_rate, Reading::Unusable("high".into()));
        assert_eq!(health.up.known(), Some(&true));
    }
}
