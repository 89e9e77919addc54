//! Kind `log`: requests and failed requests, counted in the lines of a log. Only what was added since the last look is read, and
//! never more than a bounded piece of it; the file is followed through rotation by renaming and by truncating.

use super::Up;
use super::ask::{Answer, open, plain};
use super::body::Body;
use crate::record::{Health, Reading};
use crate::time::{Span, Timestamp};
use regex::bytes::{Regex, RegexSet};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

/// What a first look reads, from the end.
const FIRST_LOOK: u64 = 1 << 20;
/// What a later look reads at most. Where more was written its end stands for the rest: rates stay right, counts are too low.
const LATER_LOOK: u64 = 16 << 20;
/// Of a longer line only the beginning is looked at.
const LONGEST_LINE: usize = 64 << 10;
/// As much as tells a file that goes on from one that was emptied and filled again.
const REMEMBERED: u64 = 64;
/// Into so many pieces the window is cut, which bounds what is remembered.
const PIECES: i64 = 60;

/// Regular expressions of which one must match; written as one or as a list.
#[derive(Clone, Debug)]
pub struct Patterns {
    words: Vec<String>,
    set: RegexSet,
}

impl Patterns {
    fn new(words: Vec<String>) -> Result<Patterns, String> {
        if words.is_empty() {
            return Err("an empty list of regular expressions matches nothing".into());
        }
        for word in &words {
            // The last line of a long explanation says what is wrong.
            let why = |e: regex::Error| e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Regex::new(word).map_err(|e| format!("'{}' is not a regular expression: {}", word.escape_debug(), why(e)))?;
        }
        let set = RegexSet::new(&words).map_err(|_| "these regular expressions are too large together".to_owned())?;
        Ok(Patterns { words, set })
    }

    /// As they were written.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    fn fit(&self, line: &[u8]) -> bool {
        self.set.is_match(line)
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Patterns) -> bool {
        self.words == other.words
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Patterns, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a regular expression, or a list of them")
            }

            fn visit_str<E>(self, word: &str) -> Result<Vec<String>, E> {
                Ok(vec![word.to_owned()])
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(words)
            }
        }

        Patterns::new(from.deserialize_any(OneOrMany)?).map_err(serde::de::Error::custom)
    }
}

/// How a line says when it was written: the first such time in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeForm {
    /// `2026-03-01T10:00:00.123Z`, also with a space, a comma, or an offset such as `+01:00`.
    Rfc3339,
    /// `[01/Mar/2026:10:00:00 +0000]`, as web servers write it.
    Common,
}

impl TimeForm {
    /// As `eco.toml` writes it.
    pub fn word(self) -> &'static str {
        match self {
            TimeForm::Rfc3339 => "rfc3339",
            TimeForm::Common => "common",
        }
    }

    fn find(self, line: &[u8]) -> Option<Timestamp> {
        // Both are constants, and a test reads with each.
        static RFC3339: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"(?-u)\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:[Zz]|[+-]\d\d:?\d\d)").ok());
        static COMMON: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?-u)\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]").ok());
        match self {
            TimeForm::Rfc3339 => {
                let found = RFC3339.as_ref()?.find(line)?;
                std::str::from_utf8(found.as_bytes()).ok()?.replace(',', ".").replace(' ', "T").parse().ok()
            }
            TimeForm::Common => {
                let found = COMMON.as_ref()?.captures(line)?.get(1)?;
                let text = std::str::from_utf8(found.as_bytes()).ok()?;
                jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", text).and_then(|time| time.to_timestamp()).ok()
            }
        }
    }
}

/// What counts.
pub(super) struct Rule<'a> {
    pub(super) error: &'a Patterns,
    pub(super) request: Option<&'a Patterns>,
    pub(super) window: Span,
    pub(super) time: Option<TimeForm>,
}

/// What is remembered of one log from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Tail {
    file: Option<Followed>,
    /// Requests and errors by the piece of the window in which they were written.
    counts: BTreeMap<i64, (u64, u64)>,
    /// The time of the last line that had one: those below it belong to it.
    dated: Option<Timestamp>,
    /// Whether lines were left out because none had a time yet.
    undated: bool,
}

/// The file of the last look, held open: after a rotation its last lines have another name.
#[derive(Debug)]
struct Followed {
    file: File,
    id: (u64, u64),
    offset: u64,
    /// The bytes right before `offset`.
    before: Vec<u8>,
}

impl Tail {
    /// Reads on and adds up. `from_now`: what is there at the first look was written by a service that is gone.
    pub(super) fn look(&mut self, path: &Path, rule: &Rule<'_>, now: Timestamp, from_now: bool, deadline: Instant) -> Answer {
        match self.read_on(path, rule, now, from_now, deadline) {
            Ok(()) => self.add_up(rule, now),
            Err(why) => Answer { up: Up::Silent, ..Answer::unknown(why) },
        }
    }

    fn read_on(&mut self, path: &Path, rule: &Rule<'_>, now: Timestamp, from_now: bool, deadline: Instant) -> Result<(), String> {
        let unreadable = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "the log is not there".to_owned(),
            _ => format!("the log cannot be read: {}", plain(&e)),
        };
        let file = open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err("the log is not a file".into());
        }
        let (id, length) = ((about.dev(), about.ino()), about.len());
        let first = self.file.is_none();
        if first {
            // Also after a read that failed: what is read again must not count twice.
            (self.counts, self.dated) = (BTreeMap::new(), None);
        }
        let mut begin = match self.file.take() {
            None if rule.time.is_some() && !from_now => length.saturating_sub(FIRST_LOOK),
            None => length,
            Some(known) if known.id == id && known.goes_on(length) => known.offset,
            Some(known) if known.id == id => 0,
            Some(known) => {
                // Renamed away: its last lines first, complete or not.
                let end = known.file.metadata().map_or(known.offset, |about| about.len());
                let begin = known.offset.max(end.saturating_sub(LATER_LOOK));
                self.lines(&known.file, begin, end, begin > known.offset, true, rule, now, deadline).map_err(unreadable)?;
                0
            }
        };
        // Where reading does not begin with a line, the first piece is none.
        let mut cut = first && begin > 0;
        if length.saturating_sub(begin) > LATER_LOOK {
            (begin, cut) = (length - LATER_LOOK, true);
        }
        let offset = self.lines(&file, begin, length, cut, false, rule, now, deadline).map_err(unreadable)?;
        let mut before = vec![0; offset.min(REMEMBERED) as usize];
        let from = offset - before.len() as u64;
        file.read_exact_at(&mut before, from).map_err(unreadable)?;
        self.file = Some(Followed { file, id, offset, before });
        match rule.time {
            None if first && !from_now => {
                Err("a first look has nothing to count from: ask again with --every, or say with `time` how lines are dated".into())
            }
            Some(form) if self.undated && self.dated.is_none() => {
                Err(format!("no line at its end has a time in the form {} with an offset from UTC", form.word()))
            }
            _ => Ok(()),
        }
    }

    /// Counts the lines from `begin` to `end`; where the last whole one ended. `cut`: the first is only the end of one. `all`: the
    /// last counts without its line feed.
    #[expect(clippy::too_many_arguments, reason = "one loop over one piece of a file")]
    fn lines(
        &mut self,
        file: &File,
        begin: u64,
        end: u64,
        cut: bool,
        all: bool,
        rule: &Rule<'_>,
        now: Timestamp,
        deadline: Instant,
    ) -> io::Result<u64> {
        let (mut room, mut line) = (vec![0; 64 << 10], Vec::new());
        let (mut at, mut done, mut skip) = (begin, begin, cut);
        while at < end && Instant::now() < deadline {
            let wanted = room.len().min((end - at) as usize);
            let read = match file.read_at(&mut room[..wanted], at) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            for piece in room[..read].split_inclusive(|byte| *byte == b'\n') {
                at += piece.len() as u64;
                let whole = piece.strip_suffix(b"\n");
                let text = whole.unwrap_or(piece);
                line.extend_from_slice(&text[..text.len().min(LONGEST_LINE - line.len())]);
                if whole.is_some() {
                    if !std::mem::take(&mut skip) {
                        self.count(&line, rule, now);
                    }
                    line.clear();
                    done = at;
                }
            }
        }
        if all && !line.is_empty() && !skip {
            self.count(&line, rule, now);
        }
        Ok(done)
    }

    fn count(&mut self, line: &[u8], rule: &Rule<'_>, now: Timestamp) {
        let written = match rule.time {
            None => now,
            Some(form) => {
                self.dated = form.find(line).or(self.dated);
                // The end of a log may begin within a message of many lines.
                let Some(written) = self.dated else {
                    self.undated = true;
                    return;
                };
                written.min(now)
            }
        };
        let piece = piece_of(written, rule.window);
        if piece <= oldest(now, rule.window) {
            return;
        }
        let is_request = rule.request.is_none_or(|request| request.fit(line));
        let is_error = rule.error.fit(line);
        if is_request || is_error {
            let (requests, errors) = self.counts.entry(piece).or_default();
            *requests += u64::from(is_request);
            *errors += u64::from(is_error);
        }
    }

    fn add_up(&mut self, rule: &Rule<'_>, now: Timestamp) -> Answer {
        let within = oldest(now, rule.window) + 1..=piece_of(now, rule.window);
        self.counts.retain(|piece, _| within.contains(piece));
        let (requests, errors) = self.counts.values().fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
        let rate = (requests > 0).then(|| (errors as f64 / requests as f64).min(1.0));
        let rate = rate.map(|rate| (rate * 1e6).round() / 1e6);
        let health = Health { requests: Reading::Known(requests as f64), error_rate: rate.into(), ..Health::default() };
        Answer { ok: Some(true), body: Some(Body { health, ..Body::default() }), ..Answer::default() }
    }
}

impl Followed {
    /// Whether a file of this length is the one that was read up to here, and not one that was emptied in between.
    fn goes_on(&self, length: u64) -> bool {
        let mut before = vec![0; self.before.len()];
        let from = self.offset - self.before.len() as u64;
        length >= self.offset && self.file.read_exact_at(&mut before, from).is_ok() && before == self.before
    }
}

fn grain_ms(window: Span) -> i64 {
    i64::try_from(window.0.as_millis()).unwrap_or(i64::MAX).div_euclid(PIECES).max(1)
}

fn piece_of(time: Timestamp, window: Span) -> i64 {
    time.as_millisecond().div_euclid(grain_ms(window))
}

/// The last piece that lies before the window.
fn oldest(now: Timestamp, window: Span) -> i64 {
    let began = now.as_millisecond().saturating_sub(i64::try_from(window.0.as_millis()).unwrap_or(i64::MAX));
    began.div_euclid(grain_ms(window))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;
    use std::time::Duration;

    struct Log {
        folder: tempfile::TempDir,
        tail: Tail,
        error: Patterns,
        request: Option<Patterns>,
        time: Option<TimeForm>,
    }

    fn patterns(words: &[&str]) -> Patterns {
        Patterns::new(words.iter().map(|word| (*word).to_owned()).collect()).unwrap()
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().unwrap()
    }

    impl Log {
        fn new(time: Option<TimeForm>) -> Log {
            let folder = tempfile::tempdir().unwrap();
            let log = Log { folder, tail: Tail::default(), error: patterns(&["ERROR"]), request: None, time };
            fs::write(log.path(), "").unwrap();
            log
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("app.log")
        }

        fn add(&self, text: impl AsRef<[u8]>) {
            fs::OpenOptions::new().append(true).create(true).open(self.path()).unwrap().write_all(text.as_ref()).unwrap();
        }

        fn ask(&mut self, now: &str) -> Answer {
            let (path, deadline) = (self.path(), Instant::now() + Duration::from_secs(60));
            let rule = Rule { error: &self.error, request: self.request.as_ref(), window: Span::seconds(300), time: self.time };
            self.tail.look(&path, &rule, at(now), false, deadline)
        }

        /// Requests and the share of them that failed; why that is not known.
        fn look(&mut self, now: &str) -> Result<(f64, Option<f64>), String> {
            let answer = self.ask(now);
            assert_eq!(answer.up, Up::Silent, "a log never says whether the service is up");
            match answer.body {
                Some(body) => Ok((*body.health.requests.known().unwrap(), body.health.error_rate.known().copied())),
                None => Err(answer.error.unwrap()),
            }
        }
    }

    #[test]
    fn lines_that_were_added_since_the_last_look_are_counted() {
        let mut log = Log::new(None);
        log.add("ERROR of last week\n".repeat(1000));
        assert!(log.look("10:00:00").unwrap_err().starts_with("a first look has nothing to count from"));
        assert_eq!(log.look("10:00:10"), Ok((0.0, None)), "where nothing was asked there is no rate");
        log.add("ok\nok\nERROR 1\nok\nhalf an ERR");
        assert_eq!(log.look("10:00:20"), Ok((4.0, Some(0.25))));
        log.add("OR\n");
        assert_eq!(log.look("10:00:30"), Ok((5.0, Some(0.4))), "a line counts once it is whole");
        assert_eq!(log.look("10:05:25"), Ok((1.0, Some(1.0))), "the window moves on");
        assert_eq!(log.look("10:06:00"), Ok((0.0, None)));
    }

    #[test]
    fn requests_and_errors_may_be_lines_of_their_own() {
        let mut log = Log::new(None);
        (log.request, log.error) = (Some(patterns(&["^GET", "^POST"])), patterns(&[r#"" 5\d\d "#, "panicked"]));
        let _ = log.look("10:00:00");
        log.add("GET \"/\" 200 1\nGET \"/\" 503 1\nnothing\nPOST \"/\" 500 7\nthread panicked\n");
        assert_eq!(log.look("10:00:10"), Ok((3.0, Some(1.0))), "never more than all of them");
        log.add("GET \"/\" 200 1\n".repeat(3));
        assert_eq!(log.look("10:00:20"), Ok((6.0, Some(0.5))));
    }

    #[test]
    fn a_log_is_followed_through_both_kinds_of_rotation() {
        let mut log = Log::new(None);
        let _ = log.look("10:00:00");
        log.add("one\n");
        assert_eq!(log.look("10:00:01"), Ok((1.0, Some(0.0))));
        log.add("two\nERROR at the end");
        fs::rename(log.path(), log.folder.path().join("app.log.1")).unwrap();
        assert_eq!(log.look("10:00:02"), Err("the log is not there".into()), "between the two steps of a rotation");
        log.add("four\n");
        assert_eq!(log.look("10:00:03"), Ok((4.0, Some(0.25))), "what was written after the rename is counted");
        // Emptied in place, and by now longer than it was.
        fs::write(log.path(), "5\n6\n7\n8\n9\nERROR\n").unwrap();
        assert_eq!(log.look("10:00:04"), Ok((10.0, Some(0.2))));
        fs::write(log.path(), "10\n").unwrap();
        assert_eq!(log.look("10:00:05"), Ok((11.0, Some(0.181_818))), "emptied, and shorter");
    }

    #[test]
    fn the_last_lines_of_a_log_that_was_renamed_are_not_lost() {
        let mut log = Log::new(None);
        let _ = log.look("10:00:00");
        log.add("one\nERROR without an end");
        fs::rename(log.path(), log.folder.path().join("app.log.1")).unwrap();
        log.add("three\n");
        assert_eq!(log.look("10:00:01"), Ok((3.0, Some(0.333_333))));
    }

    #[test]
    fn a_single_look_goes_by_the_times_in_the_lines() {
        let mut log = Log::new(Some(TimeForm::Rfc3339));
        log.add("2026-03-01T09:00:00Z ERROR long ago\n");
        log.add("2026-03-01 09:58:00,250+00:00 fine\n2026-03-01T10:59:00+01:00 ERROR\n  its second line\n");
        assert_eq!(log.look("10:00:00"), Ok((3.0, Some(0.333_333))));
        log.add("2026-03-01T10:00:30Z fine\n2026-03-01T23:00:00Z ERROR of a clock that is ahead\n");
        assert_eq!(log.look("10:01:00"), Ok((5.0, Some(0.4))), "and goes on with --every");

        let mut log = Log::new(Some(TimeForm::Common));
        log.add("::1 - - [01/Mar/2026:09:50:00 +0000] \"GET / HTTP/1.1\" 500 12\n::1 - - [01/Mar/2026:11:59:00 +0200] \"GET / HTTP/1.1\" 200 12\n");
        log.error = patterns(&[r#"" 5\d\d "#]);
        assert_eq!(log.look("10:00:00"), Ok((1.0, Some(0.0))));

        let mut log = Log::new(Some(TimeForm::Rfc3339));
        log.add("2026-03-01 10:00:00,123 ERROR in somebody's local time\n");
        for _ in 0..2 {
            assert!(log.look("10:00:00").unwrap_err().starts_with("no line at its end has a time in the form rfc3339"));
        }
    }

    #[test]
    fn of_a_large_log_only_the_end_is_read() {
        let mut log = Log::new(Some(TimeForm::Rfc3339));
        let file = File::create(log.path()).unwrap();
        file.set_len(1 << 40).unwrap();
        log.add("\n2026-03-01T10:00:00Z ok\n2026-03-01T10:00:00Z ERROR\n");
        let began = Instant::now();
        assert_eq!(log.look("10:00:00"), Ok((2.0, Some(0.5))));
        assert!(began.elapsed() < Duration::from_secs(5), "a terabyte: {:?}", began.elapsed());
        let one = "2026-03-01T10:00:00Z ERROR some more words\n";
        log.add(one.repeat((LATER_LOOK as usize + (1 << 20)) / one.len()));
        let (requests, _) = log.look("10:00:10").unwrap();
        let most = LATER_LOOK as f64 / one.len() as f64;
        assert!(requests <= most + 2.0 && requests > most - 2.0, "{requests} of at most {most}");
    }

    #[test]
    fn bytes_that_are_no_text_and_lines_without_end_are_lines() {
        let mut log = Log::new(None);
        let _ = log.look("10:00:00");
        log.add([b"\xff\xfe ERROR \xff\n".as_slice(), b"\0\0\n", &vec![b'x'; 300 << 10], b"ERROR\n"].concat());
        assert_eq!(log.look("10:00:01"), Ok((3.0, Some(0.333_333))), "of a very long line the beginning counts");
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let mut log = Log::new(None);
        fs::remove_file(log.path()).unwrap();
        assert_eq!(log.look("10:00:00"), Err("the log is not there".into()));
        fs::create_dir(log.path()).unwrap();
        assert_eq!(log.look("10:00:00"), Err("the log is not a file".into()));
    }

    #[test]
    fn after_a_start_only_what_comes_then_counts() {
        let mut log = Log::new(Some(TimeForm::Rfc3339));
        log.add("2026-03-01T09:59:59Z ERROR from before\n");
        let (path, deadline) = (log.path(), Instant::now() + Duration::from_secs(60));
        let rule = Rule { error: &log.error, request: None, window: Span::seconds(300), time: log.time };
        let answer = log.tail.look(&path, &rule, at("10:00:00"), true, deadline);
        assert_eq!((answer.ok, answer.body.unwrap().health.requests), (Some(true), Reading::Known(0.0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut log = Log::new(Some(TimeForm::Rfc3339));
        for second in 0..600 {
            log.add(format!("2026-03-01T09:{:02}:{:02}Z ok\n", 50 + second / 60, second % 60));
        }
        let _ = log.look("10:00:00");
        assert!(log.tail.counts.len() as i64 <= PIECES + 1, "{}", log.tail.counts.len());
    }
}
