//! Every type that crosses a pipe, and its JSON. One Rust type writes and reads each.
//!
//! A line on the stream is one JSON object: the [`Stamp`] that all records share (`type`, `time`, `ecosystem`, `host`) and the
//! body of one [`Record`]. Names carry their unit; shares are 0..1; ids are opaque text. A reader keeps the bytes of the line
//! beside what it understood, so forwarding never rewrites anything.

mod bodies;
mod path;
mod rollout;
mod sample;
#[cfg(feature = "schema")]
mod schema;
mod scope;
mod whole;

pub use bodies::*;
pub use path::RecordPath;
#[cfg(feature = "schema")]
pub use schema::any as schema_of_any;
pub use scope::Scope;

use crate::time::Timestamp;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The longest line that is still a record, in bytes: 16 MiB.
pub const LONGEST_LINE: usize = 16 << 20;

/// What every record carries beside its body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

            /// Reads stamp and body in one pass; `None` for types that this version does not know.
            fn parse_whole(kind: &str, line: &str) -> Option<Result<(Stamp, Record), serde_json::Error>> {
                Some(match kind {
                    $($name => whole::read(line).map(|(stamp, body)| (stamp, Record::$variant(body))),)*
                    _ => return None,
                })
            }

            fn write_body(&self, stamp: &Stamp) -> Result<Vec<u8>, serde_json::Error> {
                match self {
                    $(Record::$variant(body) => serde_json::to_vec(&Written { kind: $name, stamp, body }),)*
                    Record::Other(name) => serde_json::to_vec(&Written { kind: name, stamp, body: &Nothing {} }),
                }
            }
        }

        /// The JSON Schema of every type, by its name: of what is read as one, or of what our programs write.
        #[cfg(feature = "schema")]
        pub fn schemas(written: bool) -> Vec<(&'static str, serde_json::Value)> {
            vec![$(($name, schema::of::<$variant>($name, written))),*]
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
    /// A gradual rollout entered a state.
    Rollout = "rollout",
    /// One check before a deployment.
    Gate = "gate",
    /// What the retention rules say about a snapshot.
    Retention = "retention",
}

impl Record {
    /// Whether this is about the present: too late, it is worth nothing. A change or a snapshot is a fact that stays true.
    pub fn is_news(&self) -> bool {
        matches!(self, Record::Health(_) | Record::Signal(_) | Record::Operator(_) | Record::Restore(_))
    }
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
        // A line of ours, as most are, is read in one pass; whatever is odd about a line is found out in two.
        let text = Some(&raw).filter(|raw| raw.len() <= LONGEST_LINE).and_then(|raw| std::str::from_utf8(raw).ok());
        if let Some((stamp, health)) = text.and_then(sample::read) {
            return Line { number, raw, stamp, record: Record::Health(health), fault: None };
        }
        if let Some((kind, text)) = text.and_then(|text| Some((whole::kind_up_front(text)?, text)))
            && let Some(Ok((stamp, record))) = Record::parse_whole(kind, text)
        {
            return Line { number, raw, stamp, record, fault: None };
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

impl<'de, T: DeserializeOwned> Deserialize<'de> for Reading<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Reading<T>, D::Error> {
        from.deserialize_any(Reader(PhantomData))
    }
}

/// Takes any JSON value, and keeps it as it is only where it is of no use.
struct Reader<T>(PhantomData<T>);

impl<T: DeserializeOwned> Reader<T> {
    fn read<V: Copy + Into<serde_json::Value> + IntoDeserializer<'static, serde::de::value::Error>>(value: V) -> Reading<T> {
        T::deserialize(value.into_deserializer()).map_or_else(|_| Reading::Unusable(value.into()), Reading::Known)
    }

    fn read_json(value: serde_json::Value) -> Reading<T> {
        T::deserialize(&value).map_or_else(|_| Reading::Unusable(value), Reading::Known)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Reader<T> {
    type Value = Reading<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Reading<T>, E> {
        Ok(Reading::Absent)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Reading<T>, E> {
        Ok(Reader::read(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Reading<T>, E> {
        Ok(Reader::read(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Reading<T>, E> {
        Ok(Reader::read(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Reading<T>, E> {
        Ok(Reader::read(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Reading<T>, E> {
        let deserializer: StrDeserializer<serde::de::value::Error> = value.into_deserializer();
        Ok(T::deserialize(deserializer).map_or_else(|_| Reading::Unusable(value.into()), Reading::Known))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Reading<T>, A::Error> {
        serde_json::Value::deserialize(SeqAccessDeserializer::new(seq)).map(Reader::read_json)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Reading<T>, A::Error> {
        serde_json::Value::deserialize(MapAccessDeserializer::new(map)).map(Reader::read_json)
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
            "rollout",
            "gate",
            "retention",
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
    fn one_pass_over_a_line_and_two_understand_the_same() {
        for json in include_str!("record/examples.ndjson").lines() {
            // With a space in it the line is no longer as we write it, and is read the long way.
            let long = Line::parse(1, json.replacen("{\"type\":", "{ \"type\":", 1).into_bytes());
            let short = Line::parse(1, json.as_bytes().to_vec());
            assert_eq!((short.stamp, short.record, short.fault), (long.stamp, long.record, long.fault));
        }
        let early = br#"{"type":"change","target":"config","host":"a1","time":"2026-03-01T10:00:00Z","id":"c\u0031","type2":{"time":1}}"#;
        let line = Line::parse(1, early.to_vec());
        assert_eq!((line.stamp.time.to_string(), line.stamp.host.as_deref()), ("2026-03-01T10:00:00Z".into(), Some("a1")));
        let Record::Change(change) = line.record else { panic!("not a change") };
        assert_eq!((change.id.as_deref(), &*change.target), (Some("c1"), "config"));
    }

    #[test]
    fn modules_that_are_no_table_cost_only_themselves() {
        for modules in ["null", "[\"core\"]", "\"ok\"", "1", "-1", "0.5", "true"] {
            let json = format!("{{\"type\":\"health\",\"time\":\"2026-03-01T10:00:00Z\",\"up\":true,\"modules\":{modules}}}");
            let line = Line::parse(1, json.into_bytes());
            let Record::Health(health) = line.record else { panic!("{modules}: {:?}", line.fault) };
            assert_eq!((health.up, health.modules.len()), (Reading::Known(true), 0));
        }
    }

    #[test]
    fn a_reading_keeps_what_it_cannot_use() {
        let read = |json: &str| serde_json::from_str::<Reading<f64>>(json).unwrap();
        assert_eq!((read("1"), read("-2"), read("0.5")), (Reading::Known(1.0), Reading::Known(-2.0), Reading::Known(0.5)));
        assert_eq!(read("null"), Reading::Absent);
        for json in ["true", "\"1\"", "[1]", "{\"a\":1}"] {
            assert_eq!(read(json), Reading::Unusable(serde_json::from_str(json).unwrap()));
        }
        assert_eq!(serde_json::from_str::<Reading<String>>("\"ok\"").unwrap(), Reading::Known("ok".into()));
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
