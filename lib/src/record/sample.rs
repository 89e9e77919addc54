//! The short way through a `health` line as eco-health writes it: fields in our order, no space, no escape, numbers of up to fifteen
//! digits. A year of a stream is half a million of them and little else, and this reads one in a third of the time. Whatever it
//! does not expect it leaves to the general reader, which alone says what is wrong; a test holds the two to the same answers.

use super::{Health, ProbeResult, Reading, Stamp};
use crate::time;
use std::collections::BTreeMap;

/// What a line says, or `None` where it is not as expected.
pub(super) fn read(line: &str) -> Option<(Stamp, Health)> {
    let mut scan = Scan { line, at: 0 };
    scan.word("{\"type\":\"health\",\"time\":").then_some(())?;
    let mut stamp = Stamp { time: time::read_utc(scan.text()?)?, ..Stamp::default() };
    let mut health = Health::default();
    macro_rules! field {
        ($name:literal => $place:expr, $read:ident) => {
            if scan.word(concat!(",\"", $name, "\":")) {
                $place = scan.$read()?.into();
            }
        };
    }
    field!("ecosystem" => stamp.ecosystem, owned);
    field!("host" => stamp.host, owned);
    field!("up" => health.up, truth);
    field!("error" => health.error, owned);
    field!("cohort" => health.cohort, owned);
    field!("requests" => health.requests, number);
    field!("error_rate" => health.error_rate, number);
    field!("success_rate" => health.success_rate, number);
    field!("response_ms" => health.response_ms, number);
    field!("baseline_ms" => health.baseline_ms, number);
    field!("cpu_usage" => health.cpu_usage, number);
    field!("memory_usage" => health.memory_usage, number);
    field!("modules" => health.modules, states);
    field!("integrity" => health.integrity, truth);
    field!("integration" => health.integration, truth);
    field!("probes" => health.probes, probes);
    (scan.word("}") && scan.at == line.len()).then_some((stamp, health))
}

/// Bytes that end a string or stand for something else in it.
const NOT_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte < 0x20 || byte == b'"' as usize || byte == b'\\' as usize;
        byte += 1;
    }
    table
};

/// A place in a line.
struct Scan<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        self.line.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Goes past this word, if it stands here.
    #[inline(always)] // So that the word is compared as one or two numbers: most of what is read is words.
    fn word(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'a str> {
        self.word("\"").then_some(())?;
        let from = self.at;
        let length = self.rest().iter().position(|byte| NOT_PLAIN[usize::from(*byte)])?;
        self.at += length;
        self.word("\"").then_some(())?;
        self.line.get(from..from + length)
    }

    fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    fn truth(&mut self) -> Option<Reading<bool>> {
        if self.word("true") {
            return Some(Reading::Known(true));
        }
        if self.word("false") {
            return Some(Reading::Known(false));
        }
        self.word("null").then_some(Reading::Absent)
    }

    /// A number whose digits and whose power of ten are both exact in an `f64`, so that one division gives the nearest one (Clinger,
    /// "How to read floating point numbers accurately", 1990).
    fn number(&mut self) -> Option<Reading<f64>> {
        const EXACT: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
        if self.word("null") {
            return Some(Reading::Absent);
        }
        let negative = self.word("-");
        let (whole, places) = self.whole()?;
        let pointed = self.word(".");
        let (all, below_point) = if pointed { self.digits(whole) } else { (whole, 0) };
        if (pointed && below_point == 0) || places + below_point > 15 {
            return None;
        }
        let value = all as f64 / EXACT[below_point];
        Some(Reading::Known(if negative { -value } else { value }))
    }

    fn count(&mut self) -> Option<u64> {
        self.whole().filter(|(_, places)| *places <= 15).map(|(count, _)| count)
    }

    /// Digits as JSON wants them, and how many: at least one, and no zeros up front.
    fn whole(&mut self) -> Option<(u64, usize)> {
        let (whole, places) = self.digits(0);
        (places == 1 || (places > 1 && self.line.as_bytes()[self.at - places] != b'0')).then_some((whole, places))
    }

    /// The digits from here on, behind those of `value`; how many there are, up to what fits.
    fn digits(&mut self, value: u64) -> (u64, usize) {
        let digits = self.rest().iter().take(16).map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10);
        let (value, count) = digits.fold((value, 0), |(value, count), digit| (value.wrapping_mul(10).wrapping_add(u64::from(digit)), count + 1));
        self.at += count;
        (value, count)
    }

    fn states(&mut self) -> Option<BTreeMap<String, Reading<String>>> {
        let mut states = BTreeMap::new();
        self.word("{").then_some(())?;
        if self.word("}") {
            return Some(states);
        }
        loop {
            let name = self.owned()?;
            self.word(":").then_some(())?;
            states.insert(name, Reading::Known(self.owned()?));
            if self.word("}") {
                return Some(states);
            }
            self.word(",").then_some(())?;
        }
    }

    fn probes(&mut self) -> Option<Vec<ProbeResult>> {
        let mut probes = Vec::new();
        self.word("[").then_some(())?;
        loop {
            let mut probe = ProbeResult::default();
            self.word("{\"probe\":").then_some(())?;
            probe.probe = self.owned()?;
            if self.word(",\"ok\":") {
                probe.ok = self.truth()?.known().copied();
            }
            self.word(",\"took_ms\":").then_some(())?;
            probe.took_ms = self.count()?;
            if self.word(",\"error\":") {
                probe.error = Some(self.owned()?);
            }
            probes.push(probe);
            if self.word("}]") {
                return Some(probes);
            }
            self.word("},").then_some(())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Line, Record, whole};

    /// As eco-health writes a sample.
    const LINE: &str = concat!(
        r#"{"type":"health","time":"2026-03-01T10:00:00.250Z","ecosystem":"shop","host":"a1","up":true,"cohort":"stable","requests":1200.0,"#,
        r#""error_rate":0.0125,"success_rate":0.9875,"response_ms":118,"baseline_ms":-0,"cpu_usage":0.41,"memory_usage":null,"#,
        r#""modules":{"core":"ok","größe":"failed"},"integrity":true,"integration":false,"#,
        r#""probes":[{"probe":"http x","ok":true,"took_ms":3},{"probe":"tcp","took_ms":0,"error":"ü"}]}"#
    );

    /// What the general reader says, if it takes the line for a record.
    fn slow(line: &str) -> Option<(Stamp, Health)> {
        whole::read(line).ok()
    }

    #[test]
    fn a_sample_of_ours_goes_the_short_way_and_means_the_same() {
        let quick = read(LINE).unwrap();
        assert_eq!(Some(&quick), slow(LINE).as_ref());
        assert_eq!(quick.1.requests, Reading::Known(1200.0));
        let empty = r#"{"type":"health","time":"2026-03-01T10:00:00Z","up":null,"error":"no","modules":{}}"#;
        assert_eq!(read(empty), slow(empty));
        assert!(read(empty).is_some());
        let Record::Health(health) = Line::parse(1, LINE.into()).record else { panic!("no sample") };
        assert_eq!(health, quick.1);
    }

    #[test]
    fn whatever_it_takes_the_general_reader_takes_for_the_same() {
        // Each byte of the line left out, doubled, and replaced by bytes that mean something in JSON.
        let mut taken = 0;
        let mut hold = |line: &str| {
            if let Some(quick) = read(line) {
                taken += 1;
                assert_eq!(Some(quick), slow(line), "{line}");
            }
        };
        for (at, byte) in LINE.char_indices() {
            let (before, after) = (&LINE[..at], &LINE[at + byte.len_utf8()..]);
            hold(&format!("{before}{after}"));
            hold(&format!("{before}{byte}{byte}{after}"));
            hold(before);
            for other in "0123456789.-+eE\"\\{}[]:,tfn \u{1}\u{7f}é".chars() {
                hold(&format!("{before}{other}{after}"));
                hold(&format!("{before}{other}{byte}{after}"));
            }
        }
        assert!(taken > 1000, "{taken} lines were read the short way");
    }

    #[test]
    fn numbers_mean_the_same_or_are_left_to_the_general_reader() {
        let line = |number: &str| format!(r#"{{"type":"health","time":"2026-03-01T10:00:00Z","up":true,"requests":{number}}}"#);
        for number in ["0", "-0", "-0.0", "0.1", "0.30000000000001", "123456789012345", "0.00000000000001", "999999999999.999", "-17.25", "1.10"] {
            let (quick, general) = (read(&line(number)).unwrap().1.requests, slow(&line(number)).unwrap().1.requests);
            let bits = |reading: Reading<f64>| reading.known().unwrap().to_bits();
            assert_eq!(bits(quick), bits(general), "{number}");
        }
        for number in [
            "",
            "-",
            "01",
            "-01",
            ".5",
            "1.",
            "1e3",
            "1234567890123456",
            "0.3000000000000001",
            "18446744073709551617",
            "1 ",
            "+1",
            "\"1\"",
            "[1]",
            "1.2.3",
        ] {
            assert_eq!(read(&line(number)), None, "{number}");
        }
    }

    #[test]
    fn another_order_another_field_or_a_field_twice_are_left_to_the_general_reader() {
        for (was, is) in
            [("\"host\":\"a1\"", "\"up\":false"), ("\"host\":\"a1\"", "\"more\":1"), ("\"time\"", "\"tide\""), ("\"up\":true", "\"integrity\":true")]
        {
            assert_eq!(read(&LINE.replacen(was, is, 1)), None, "{is}");
        }
    }
}
