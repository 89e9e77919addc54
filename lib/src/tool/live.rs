//! A service that is watched at a terminal: a few lines that are rewritten where they stand. Words say everything; colour only
//! underlines it. The last state stays on the screen.

use super::human::{BAD, DIM, DOUBT, GOOD, HEAD, PLAIN};
use crate::error::{Error, Result};
use crate::health;
use crate::policy::{Bounds, Policy};
use crate::record::{Health, Reading, Stamp};
use crate::report::words::{percent, span, visible};
use crate::time::{Span, Timestamp, seconds_between};
use crate::verdict::Verdict;
use anstyle::Style;
use std::collections::VecDeque;
use std::io::{self, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Samples that are remembered: as many as there is room for on a wide screen.
const REMEMBERED: usize = 240;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Names of lines, and their values, are this wide.
const LABEL: usize = 10;
const VALUE: usize = 9;
/// Below this many columns a sparkline has no room for its scale beside it.
const ROOM_FOR_SCALE: usize = 56;

/// The lines, and what they are made from.
pub struct Live {
    name: String,
    every: Span,
    colour: bool,
    began: Option<Timestamp>,
    taken: u64,
    now: Option<Seen>,
    before: Option<Seen>,
    series: [Series; 4],
    /// The widths of the lines on the screen.
    drawn: Vec<usize>,
    text: String,
}

/// What was seen of the service at one time, or from one time on.
struct Seen {
    /// Since when the word is what it is.
    word_since: Timestamp,
    /// Since when the verdict is, too.
    since: Timestamp,
    sampled: Timestamp,
    word: &'static str,
    verdict: Verdict,
    why: Option<String>,
    modules: (usize, Vec<String>),
}

impl Seen {
    /// Its state in words.
    fn state(&self) -> String {
        let health = match self.verdict {
            Verdict::Yes => "healthy",
            Verdict::No => "not healthy",
            Verdict::Unknown => "not known whether healthy",
        };
        if self.verdict == Verdict::Unknown && self.word == "UNKNOWN" { self.word.to_owned() } else { format!("{}, {health}", self.word) }
    }
}

/// The last samples of one metric, oldest first; what was not known is a gap.
struct Series {
    label: &'static str,
    values: VecDeque<Option<f64>>,
    print: fn(f64) -> String,
    /// The top of the scale, at least. A share of 1 is the top of every processor; errors are seen long before they are all.
    top: f64,
    /// From where on the policy that ships calls it too much.
    bounds: Bounds,
}

impl Series {
    fn new(label: &'static str, metric: &str, top: f64, print: fn(f64) -> String) -> Series {
        Series { label, values: VecDeque::new(), print, top, bounds: Policy::default().bounds(metric) }
    }

    /// The bound that a value is beyond, if it is beyond one.
    fn beyond(&self, value: Option<f64>) -> Option<(f64, Style)> {
        let over = |bound: Option<f64>, style| bound.filter(|bound| value.is_some_and(|value| value > *bound)).map(|bound| (bound, style));
        over(self.bounds.critical, BAD).or(over(self.bounds.warn, DOUBT))
    }

    fn add(&mut self, value: Option<f64>) {
        if self.values.len() == REMEMBERED {
            self.values.pop_front();
        }
        self.values.push_back(value.filter(|value| value.is_finite() && *value >= 0.0));
    }

    fn line(&self, width: usize) -> Vec<(String, Style)> {
        let last = self.values.back().copied().flatten();
        let value = last.map_or_else(|| "-".to_owned(), self.print);
        let beyond = self.beyond(last);
        let head = format!("{:LABEL$} {value:>VALUE$}{} ", self.label, if beyond.is_some() { '!' } else { ' ' });
        let above = beyond.map_or_else(String::new, |(bound, _)| format!(", above {}", (self.print)(bound)));
        let scale_width = if width < ROOM_FOR_SCALE { 0 } else { 16 + above.width() };
        let room = width.saturating_sub(head.width() + scale_width);
        let shown = self.values.iter().skip(self.values.len().saturating_sub(room));
        let highest = shown.clone().flatten().copied().fold(0.0, f64::max);
        let top = highest.max(self.top);
        let bars: String = shown.map(|value| value.map_or(' ', |value| bar(value, top))).collect();
        let mut parts = vec![(head, beyond.map_or(PLAIN, |(_, style)| style)), (bars, PLAIN)];
        if scale_width > 0 && self.values.iter().any(Option::is_some) {
            parts.push((format!("  top {}{above}", (self.print)(top)), DIM));
        }
        parts
    }
}

/// A response time: from parts of a millisecond to minutes.
fn response(ms: f64) -> String {
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..9_999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

fn bar(value: f64, top: f64) -> char {
    let step = (value / top * BARS.len() as f64).ceil();
    BARS[(step as usize).clamp(1, BARS.len()) - 1]
}

impl Live {
    pub(super) fn new(name: String, every: Span, colour: bool) -> Live {
        let series = [
            Series::new("errors", "error_rate", 0.05, percent),
            Series::new("response", "response_ms", 1.0, response),
            Series::new("cpu", "cpu_usage", 1.0, percent),
            Series::new("memory", "memory_usage", 1.0, percent),
        ];
        Live { name, every, colour, began: None, taken: 0, now: None, before: None, series, drawn: Vec::new(), text: String::new() }
    }

    /// Takes a sample in. `missed` points of the grid before it had none.
    pub fn sample(&mut self, stamp: &Stamp, health: &Health, missed: u64) {
        let errors = health.error_rate.known().copied().or_else(|| health.success_rate.known().map(|well| 1.0 - well));
        let values = [errors, health.response_ms.known().copied(), health.cpu_usage.known().copied(), health.memory_usage.known().copied()];
        for (series, value) in self.series.iter_mut().zip(values) {
            for _ in 0..missed.min(REMEMBERED as u64) {
                series.add(None);
            }
            series.add(value);
        }
        self.taken += 1;
        self.began.get_or_insert(stamp.time);
        let word = match health.up {
            Reading::Known(true) => "UP",
            Reading::Known(false) => "DOWN",
            _ => "UNKNOWN",
        };
        let (verdict, why) = health::verdict(health);
        let ill = health.modules.iter().filter(|(_, state)| state.known().is_none_or(|state| state != "ok"));
        let ill = ill.map(|(name, state)| format!("{} {}", visible(name), visible(state.known().map_or("unknown", String::as_str)))).collect();
        let modules = (health.modules.len(), ill);
        let seen = Seen { word_since: stamp.time, since: stamp.time, sampled: stamp.time, word, verdict, why, modules };
        self.now = Some(match self.now.take() {
            Some(known) if known.word == seen.word && known.verdict == seen.verdict => {
                Seen { word_since: known.word_since, since: known.since, ..seen }
            }
            known => {
                let word_since = known.as_ref().filter(|known| known.word == seen.word).map_or(seen.since, |known| known.word_since);
                self.before = known;
                Seen { word_since, ..seen }
            }
        });
    }

    /// The lines for a terminal of this size, most important first, each with its width.
    fn frame(&self, columns: usize, rows: usize, now: Timestamp) -> Vec<(String, usize)> {
        let Some(seen) = &self.now else { return Vec::new() };
        let width = columns.saturating_sub(1);
        let style = match (seen.word, seen.verdict) {
            ("DOWN", _) | (_, Verdict::No) => BAD,
            ("UP", Verdict::Yes) => GOOD,
            _ => DOUBT,
        };
        let labelled = |label: &str, text: String, style: Style| vec![(format!("{label:LABEL$} "), PLAIN), (text, style)];
        let lasted = span(seconds_between(seen.word_since, now).max(0));
        let or_before = if self.began == Some(seen.word_since) { " or before" } else { "" };
        let since = format!("  since {}{or_before} ({lasted})", clock(seen.word_since, now));
        let mut lines = vec![vec![(visible(&self.name), HEAD), ("  ".to_owned(), PLAIN), (seen.word.to_owned(), style), (since, PLAIN)]];
        let (health, style) = match seen.verdict {
            Verdict::Yes => ("healthy".to_owned(), PLAIN),
            Verdict::No => (format!("not healthy: {}", visible(seen.why.as_deref().unwrap_or("it does not say why"))), BAD),
            Verdict::Unknown => (format!("cannot tell: {}", visible(seen.why.as_deref().unwrap_or("it does not say why"))), DOUBT),
        };
        lines.push(labelled("health", health, style));
        match &seen.modules {
            (0, _) => {}
            (all, ill) if ill.is_empty() => lines.push(labelled("modules", format!("{all} of {all} ok"), PLAIN)),
            (all, ill) => lines.push(labelled("modules", format!("{} of {all} not ok: {}", ill.len(), ill.join(", ")), BAD)),
        }
        lines.extend(self.series.iter().map(|series| series.line(width)));
        let change = match &self.before {
            Some(before) => format!("{}  {} -> {}", clock(seen.since, now), before.state(), seen.state()),
            None => format!("none since {}", clock(seen.since, now)),
        };
        lines.push(labelled("last change", change, PLAIN));
        let ago = match seconds_between(seen.sampled, now) {
            age if age >= 5 && age as f64 > self.every.as_secs_f64() => format!(" ({} ago)", span(age)),
            _ => String::new(),
        };
        lines.push(labelled("sample", format!("{} UTC{ago}, {} so far, every {}", clock(seen.sampled, now), self.taken, self.every), DIM));
        // The cursor needs a row of its own below.
        lines.truncate(rows.saturating_sub(1).max(1));
        lines.iter().map(|parts| self.fit(parts, width)).collect()
    }

    /// One line, cut where the terminal ends.
    fn fit(&self, parts: &[(String, Style)], width: usize) -> (String, usize) {
        let all: usize = parts.iter().map(|(text, _)| text.width()).sum();
        // The last column is for the mark that something is missing.
        let most = if all > width { width.saturating_sub(1) } else { width };
        let (mut line, mut used) = (String::new(), 0);
        for (text, style) in parts {
            let kept: String = text.chars().take_while(|letter| take(&mut used, letter.width().unwrap_or(0), most)).collect();
            let is_cut = kept.len() < text.len();
            if self.colour && *style != PLAIN {
                line.push_str(&format!("{style}{kept}{style:#}"));
            } else {
                line.push_str(&kept);
            }
            if is_cut {
                line.push('…');
                used += 1;
                break;
            }
        }
        (line, used)
    }

    /// Rewrites the lines, if they have changed or the terminal has.
    ///
    /// # Errors
    /// [`Error::ReaderGone`] when the terminal is gone.
    pub fn draw(&mut self, now: Timestamp) -> Result<()> {
        let (columns, rows) = size();
        let lines = self.frame(columns, rows, now);
        let text: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
        let key = format!("{columns}x{rows}\n{text}");
        if key == self.text {
            return Ok(());
        }
        let above = self.wipe(columns);
        write(&format!("{above}{text}"))?;
        self.text = key;
        self.drawn = lines.into_iter().map(|(_, width)| width).collect();
        Ok(())
    }

    /// Takes the lines away, for a sentence on stderr, and draws them again below it when they are next drawn.
    ///
    /// # Errors
    /// As [`Live::draw`].
    pub fn make_room(&mut self) -> Result<()> {
        let above = self.wipe(size().0);
        self.drawn.clear();
        self.text.clear();
        write(&above)
    }

    /// What takes the cursor to the first of our lines and clears what is below. On a terminal that has become narrower since, the
    /// lines have been folded and take more rows.
    fn wipe(&self, columns: usize) -> String {
        let rows: usize = self.drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
        if rows == 0 { "\r\x1b[J".to_owned() } else { format!("\r\x1b[{rows}A\x1b[J") }
    }
}

/// Whether there is room for `more` columns; if so they are used.
fn take(used: &mut usize, more: usize, most: usize) -> bool {
    let fits = *used + more <= most;
    *used += if fits { more } else { 0 };
    fits
}

/// The time of day, with the day if it is not today's.
fn clock(time: Timestamp, now: Timestamp) -> String {
    let today = time.strftime("%F").to_string() == now.strftime("%F").to_string();
    time.strftime(if today { "%H:%M:%S" } else { "%F %H:%M:%S" }).to_string()
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    let known = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|_| Error::ReaderGone)
}

#[cfg(test)]
mod tests;
