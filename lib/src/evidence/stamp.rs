//! When a line of a log was written, as the line itself says it.

use crate::time::{Timestamp, seconds_between};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use regex::bytes::{Captures, Regex};
use serde::{Deserialize, Deserializer};
use std::sync::LazyLock;

/// A time further behind in its line belongs to the message.
const HEAD: usize = 400;

/// The zone of times that name none.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    word: String,
    zone: TimeZone,
}

impl Default for Zone {
    fn default() -> Zone {
        Zone { word: "UTC".into(), zone: TimeZone::UTC }
    }
}

impl Zone {
    /// `UTC`, an offset such as `+01:00`, or a name such as `Europe/Berlin` from the system's list.
    ///
    /// # Errors
    /// A sentence that names the word.
    pub fn new(word: &str) -> Result<Zone, String> {
        let zone = match word {
            "UTC" | "Z" => Some(TimeZone::UTC),
            offset if offset.starts_with(['+', '-']) => offset_of(offset.as_bytes()).map(Offset::to_time_zone),
            name => TimeZone::get(name).ok(),
        };
        let wrong = || {
            format!(
                "'{}' is not a time zone: write UTC, an offset such as +01:00, or a name such as Europe/Berlin that this system knows",
                word.escape_debug()
            )
        };
        zone.map(|zone| Zone { word: word.to_owned(), zone }).ok_or_else(wrong)
    }

    /// As it was written.
    pub fn word(&self) -> &str {
        &self.word
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Zone, D::Error> {
        Zone::new(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// Reads times in one file. Which form a line has is mostly that of the line before.
pub(super) struct Reader<'a> {
    zone: &'a Zone,
    /// Times without a year are in the one that brings them nearest to this.
    near: Timestamp,
    last: usize,
}

/// The forms, each with the names of its parts: y mo mon d h mi s f z, or e (an epoch).
static FORMS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    const CLOCK: &str = r"(?<h>\d\d):(?<mi>\d\d):(?<s>\d\d)";
    const MONTH: &str = r"(?<mon>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)";
    let forms = [
        // RFC 3339, PostgreSQL, log4j, Python's logging, nginx's error log.
        format!(
            r"(?<y>\d{{4}})[-/](?<mo>\d\d)[-/](?<d>\d\d)[Tt _]{CLOCK}(?:[.,](?<f>\d{{1,9}}))?(?<z>[Zz]\b|[+-]\d\d(?::?\d\d)?\b| (?:UTC|GMT|Z)\b| [+-]\d{{4}}\b| [+-]\d\d:\d\d\b)?"
        ),
        // Access logs.
        format!(r"(?<d>\d\d)/{MONTH}/(?<y>\d{{4}}):{CLOCK}(?<z> [+-]\d{{4}})?"),
        // asctime, and Apache's error log.
        format!(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {MONTH} +(?<d>\d{{1,2}}) {CLOCK}(?:\.(?<f>\d{{1,9}}))? (?<y>\d{{4}})"),
        // Tomcat, RFC 2822.
        format!(r"\b(?<d>\d{{1,2}})[ -]{MONTH}[ -](?<y>\d{{4}})[ :]{CLOCK}(?:[.,](?<f>\d{{1,9}}))?(?<z> (?:UTC|GMT|Z)\b| [+-]\d{{4}}\b)?"),
        // syslog.
        format!(r"^(?:<\d{{1,3}}>)?{MONTH} +(?<d>\d{{1,2}}) {CLOCK}(?:\.(?<f>\d{{1,9}}))?"),
        // klog.
        format!(r"^[IWEF](?<mo>\d\d)(?<d>\d\d) +{CLOCK}(?:\.(?<f>\d{{1,9}}))?"),
        // Seconds, or thousandths, millionths or billionths of one, since 1970.
        r#"(?:^\[?|"(?:ts|t|time|timestamp|@timestamp)"\s*:\s*"?)(?<e>\d{10}|\d{13}|\d{16}|\d{19})(?:\.(?<f>\d{1,9})\d*)?(?:[^0-9A-Za-z.]|$)"#
            .to_owned(),
    ];
    // They are constants, and a test reads with each.
    forms.iter().map(|form| Regex::new(&format!("(?-u){form}")).expect("a built-in pattern")).collect()
});

impl<'a> Reader<'a> {
    pub(super) fn new(zone: &'a Zone, near: Timestamp) -> Reader<'a> {
        Reader { zone, near, last: 0 }
    }

    /// The first time in the line's head. A line that is indented goes on with the message of the one before.
    pub(super) fn read(&mut self, line: &[u8]) -> Option<Timestamp> {
        let head = &line[..line.len().min(HEAD)];
        if head.first().is_none_or(u8::is_ascii_whitespace) {
            return None;
        }
        let known = FORMS[self.last].captures(head).and_then(|found| self.time(&found));
        if known.is_some() {
            return known;
        }
        let all = FORMS.iter().enumerate().filter_map(|(number, form)| Some((number, form.captures(head)?)));
        let (number, found) = all.min_by_key(|(_, found)| found.get(0).map(|whole| whole.start()))?;
        self.last = number;
        self.time(&found)
    }

    fn time(&self, found: &Captures<'_>) -> Option<Timestamp> {
        let bytes = |name: &str| found.name(name).map(|part| part.as_bytes());
        let number = |name: &str| std::str::from_utf8(bytes(name)?).ok()?.parse::<i64>().ok();
        let nanos = bytes("f").map_or(0, |digits| digits.iter().chain(b"000000000").take(9).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')));
        if let (Some(digits), Some(epoch)) = (bytes("e"), number("e")) {
            let per_second = 10_i64.pow(digits.len() as u32 - 10);
            let nanos = if per_second == 1 { nanos } else { epoch % per_second * (1_000_000_000 / per_second) };
            return Timestamp::new(epoch / per_second, nanos as i32).ok();
        }
        const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = match bytes("mon") {
            Some(name) => MONTHS.chunks(3).position(|month| month == name)? as i64 + 1,
            None => number("mo")?,
        };
        let at = |year: i64| {
            let part = |value: i64| i8::try_from(value).ok();
            // A leap second is the one before, as everywhere else.
            let second = number("s")?.min(59);
            let civil = DateTime::new(
                i16::try_from(year).ok()?,
                part(month)?,
                part(number("d")?)?,
                part(number("h")?)?,
                part(number("mi")?)?,
                part(second)?,
                nanos as i32,
            );
            let offset = bytes("z").map(|zone| offset_of(zone.trim_ascii()));
            match offset {
                Some(offset) => offset?.to_timestamp(civil.ok()?).ok(),
                None => Some(self.zone.zone.to_ambiguous_timestamp(civil.ok()?).compatible().ok()?),
            }
        };
        match number("y") {
            Some(year) => at(year),
            None => {
                let near = i64::from(self.near.to_zoned(self.zone.zone.clone()).year());
                (near - 1..=near + 1).filter_map(at).min_by_key(|time| seconds_between(*time, self.near).abs())
            }
        }
    }
}

/// `Z`, `UTC`, `+01`, `+0100`, `+01:00`.
fn offset_of(text: &[u8]) -> Option<Offset> {
    let (sign, rest) = match text {
        b"Z" | b"z" | b"UTC" | b"GMT" => return Some(Offset::UTC),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let digits: Vec<i32> =
        rest.iter().filter(|byte| **byte != b':').map(|byte| char::from(*byte).to_digit(10).map(|d| d as i32)).collect::<Option<_>>()?;
    let (hours, minutes) = match digits[..] {
        [a, b] => (a * 10 + b, 0),
        [a, b, c, d] => (a * 10 + b, c * 10 + d),
        _ => return None,
    };
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().filter(|_| minutes < 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[track_caller]
    fn reads(line: &str, time: &str) {
        let zone = Zone::default();
        let mut reader = Reader::new(&zone, at("2026-03-01T10:00:00Z"));
        assert_eq!(reader.read(line.as_bytes()), Some(at(time)), "{line}");
    }

    #[test]
    fn every_form_of_time_is_read() {
        for line in [
            "2026-03-01T10:00:00Z started",
            "2026-03-01T11:00:00.000+01:00 started",
            "2026-03-01 10:00:00,000 INFO [main] started",
            "2026-03-01 10:00:00.000 UTC [4711] LOG:  ready",
            "2026-03-01 05:00:00-05 [4711] LOG:  ready",
            "2026/03/01 10:00:00 [error] 7#7: *1 connect() failed",
            "10.0.0.1 - - [01/Mar/2026:11:00:00 +0100] \"GET / HTTP/1.1\" 500 12",
            "[Sun Mar 01 10:00:00.000000 2026] [core:error] [pid 1]",
            "01-Mar-2026 10:00:00.000 SEVERE [main] org.apache",
            "01 Mar 2026 10:00:00,000 WARN",
            "Mar  1 10:00:00 host shop[17]: started",
            "<34>Mar  1 10:00:00 host su: failed",
            "E0301 10:00:00.000000   17 server.go:12] failed",
            "1772359200 started",
            "1772359200.000 127.0.0.1 TCP_MISS/200",
            "[1772359200000] started",
            "{\"level\":50,\"time\":1772359200000,\"msg\":\"x\"}",
            "{\"ts\":1772359200.0,\"msg\":\"x\"}",
            "{\"msg\":\"x\",\"time\":\"2026-03-01T10:00:00Z\"}",
            "web_1  | 2026-03-01T10:00:00.000Z started",
        ] {
            reads(line, "2026-03-01T10:00:00Z");
        }
        reads("2026-03-01 10:00:00.25 x", "2026-03-01T10:00:00.25Z");
        reads("1772359200.5 x", "2026-03-01T10:00:00.5Z");
    }

    #[test]
    fn what_is_no_time_is_none() {
        let zone = Zone::default();
        let mut reader = Reader::new(&zone, at("2026-03-01T10:00:00Z"));
        for line in [
            "",
            "  at Shop.main(Shop.java:12)",
            "\t2026-03-01T10:00:00Z in a dump",
            "order 17723592001 done",
            "2026-13-01 10:00:00",
            "Error: 10:00:00",
        ] {
            assert_eq!(reader.read(line.as_bytes()), None, "{line}");
        }
        let far = format!("{} 2026-03-01T10:00:00Z", "x".repeat(HEAD));
        assert_eq!(reader.read(far.as_bytes()), None);
        assert_eq!(reader.read(b"\xff\xfe 2026-03-01T10:00:00Z"), Some(at("2026-03-01T10:00:00Z")));
    }

    #[test]
    fn a_line_without_a_year_is_of_the_year_that_is_nearest() {
        let zone = Zone::default();
        let mut reader = Reader::new(&zone, at("2026-01-01T00:02:00Z"));
        assert_eq!(reader.read(b"Dec 31 23:59:00 host a: b"), Some(at("2025-12-31T23:59:00Z")));
        assert_eq!(reader.read(b"Jan  1 00:01:00 host a: b"), Some(at("2026-01-01T00:01:00Z")));
    }

    #[test]
    fn a_line_without_a_zone_is_in_the_one_that_was_named() {
        let read = |zone: &str, line: &str| {
            let zone = Zone::new(zone).unwrap();
            Reader::new(&zone, at("2026-03-01T10:00:00Z")).read(line.as_bytes()).unwrap()
        };
        assert_eq!(read("+02:00", "2026-03-01 12:00:00 x"), at("2026-03-01T10:00:00Z"));
        assert_eq!(read("-0330", "2026-03-01 06:30:00 x"), at("2026-03-01T10:00:00Z"));
        assert_eq!(read("+02:00", "2026-03-01 10:00:00Z x"), at("2026-03-01T10:00:00Z"));
        if let Ok(zone) = Zone::new("Europe/Berlin") {
            let mut reader = Reader::new(&zone, at("2026-03-01T10:00:00Z"));
            assert_eq!(reader.read(b"2026-03-01 11:00:00 x"), Some(at("2026-03-01T10:00:00Z")));
            assert_eq!(reader.read(b"2026-07-01 12:00:00 x"), Some(at("2026-07-01T10:00:00Z")));
        } else {
            eprintln!("NOT SHOWN, because this system has no list of time zones: Europe/Berlin");
        }
        assert!(Zone::new("Mars/Olympus").unwrap_err().contains("'Mars/Olympus' is not a time zone"));
        assert!(Zone::new("+1").is_err() && Zone::new("+01:99").is_err());
    }
}
