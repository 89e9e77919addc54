//! Instants and spans as records, flags and `eco.toml` write them. The clock is asked in [`crate::tool`] only.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An instant: RFC 3339 in UTC, with `Z`, in records.
pub use jiff::Timestamp;

/// A length of time, written as a number and a unit: `250ms`, `90s`, `5m`, `2h`, `7d`, `4w`, `12mo` (30 days each), `1y` (365 days).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 8] = [
    ("y", 365 * 86_400_000),
    ("mo", 30 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    /// Its length in seconds, with fractions.
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let wrong = || format!("'{text}' is not a duration: write a number and a unit, such as 90s, 5m, 2h or 7d");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = text[..split].parse().map_err(|_| wrong())?;
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &text[split..]).ok_or_else(wrong)?;
        let millis = number.checked_mul(*unit).filter(|ms| *ms <= 1000 * UNITS[0].1).ok_or_else(|| format!("'{text}' is longer than 1000 years"))?;
        Ok(Span(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis() as u64;
        let exact =
            |names: &[&str]| UNITS.iter().find(|(name, unit)| names.contains(name) && millis >= *unit && millis.is_multiple_of(*unit)).copied();
        let (name, unit) = exact(&["d", "h", "m", "s"]).unwrap_or(("ms", 1));
        write!(f, "{}{name}", millis / unit)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads an instant as people write it: RFC 3339, or a span ago such as `2h ago`.
///
/// # Errors
/// A sentence that names the text and both accepted forms.
pub fn parse_instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Some(span) = text.strip_suffix(" ago") {
        let span: Span = span.trim().parse()?;
        return now.checked_sub(span.0).map_err(|_| format!("'{text}' is before the beginning of time"));
    }
    text.parse().map_err(|_| format!("'{text}' is not a time: write 2026-03-01T10:00:00Z or 2h ago"))
}

/// Whole seconds from `earlier` to `later`; negative when they are the other way round.
pub fn seconds_between(earlier: Timestamp, later: Timestamp) -> i64 {
    later.as_second() - earlier.as_second()
}

/// The compact form used in archive names, to the second: `20260301T083000Z`.
pub fn compact(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Reads an instant as our records have it, `2026-03-01T10:00:00Z` or with three digits of milliseconds, and nothing else: a log is
/// made of them, and a tenth of the time of a replay went into the general form.
pub(crate) fn read_utc(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0i64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
    };
    let millis = match bytes.len() {
        20 => 0,
        24 if bytes[19] == b'.' => number(20, 23)?,
        _ => return None,
    };
    let frame = [bytes[4], bytes[7], bytes[10], bytes[13], bytes[16], bytes[bytes.len() - 1]];
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if &frame != b"--T::Z" || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970-01-01, counted in years that begin in March, so that the leap day is the last one
    // (Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013).
    let (march_year, march_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        march_year * 365 + march_year.div_euclid(4) - march_year.div_euclid(100) + march_year.div_euclid(400) + (153 * march_month + 2) / 5 + day
            - 719_469;
    Timestamp::new(days * 86_400 + hour * 3600 + minute * 60 + second, millis as i32 * 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_back_as_they_are_written() {
        for text in ["250ms", "90s", "5m", "2h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("4w".parse::<Span>().unwrap(), "28d".parse().unwrap());
        assert_eq!("0s".parse::<Span>().unwrap().0, Duration::ZERO);
    }

    #[test]
    fn spans_without_unit_or_number_are_refused() {
        for text in ["", "5", "m", "5 m", "-5m", "5.5m", "5q", "99999999999y"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_instant_may_be_relative() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        assert_eq!(parse_instant("2h ago", now).unwrap().to_string(), "2026-03-01T08:00:00Z");
        assert_eq!(parse_instant("2026-02-01T00:00:00Z", now).unwrap().to_string(), "2026-02-01T00:00:00Z");
        assert!(parse_instant("yesterday", now).is_err());
        assert_eq!(compact(now), "20260301T100000Z");
    }

    #[test]
    fn instants_of_records_mean_the_same_read_either_way() {
        let same = |text: &str| assert_eq!(read_utc(text), text.parse().ok(), "{text}");
        for year in [0, 1, 3, 4, 99, 100, 399, 400, 1600, 1899, 1900, 1969, 1970, 1972, 2000, 2023, 2024, 2026, 2100, 9998] {
            for month in 0..14 {
                for day in [0, 1, 9, 10, 27, 28, 29, 30, 31, 32] {
                    same(&format!("{year:04}-{month:02}-{day:02}T23:59:59Z"));
                    same(&format!("{year:04}-{month:02}-{day:02}T00:00:00.007Z"));
                }
            }
        }
        for text in ["2026-03-01T24:00:00Z", "2026-03-01T10:60:00Z", "2026-03-01T1a:00:00Z", "2026:03-01T10:00:00Z"] {
            assert_eq!((read_utc(text), text.parse::<Timestamp>().ok()), (None, None), "{text}");
        }
        for left_to_others in
            ["2026-03-01T10:00:60Z", "2026-03-01t10:00:00z", "2026-03-01 10:00:00Z", "2026-03-01T10:00:00.5Z", "2026-03-01T10:00:00+00:00", "", "é"]
        {
            assert_eq!(read_utc(left_to_others), None);
        }
    }
}
