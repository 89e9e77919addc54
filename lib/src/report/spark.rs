//! How the metrics went, in characters: a glance at the shape where no picture can be shown.

use super::health::{Sample, metric};
use super::words::{percent, span};
use super::{Mark, MarkKind, Spark, Sparks, Window};
use crate::time::{Timestamp, seconds_between};

/// Name and numbers beside it still fit a terminal of 80 columns.
const COLUMNS: i64 = 48;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const NO_SAMPLE: char = '.';
const DOWN: char = '!';

/// What is shown: the metric, its name, whether all of it is 1, and how a value is written.
type Shown = (&'static str, &'static str, bool, fn(f64) -> String);
const SHOWN: [Shown; 4] = [
    ("error_rate", "error rate", false, percent),
    ("response_ms", "response", false, |ms| format!("{ms:.0} ms")),
    ("cpu_usage", "processor", true, percent),
    ("memory_usage", "memory", true, percent),
];

/// The metrics of a window; `None` where no sample in it has one.
pub(super) fn sparks(samples: &[Sample], window: Window, marks: &[Mark]) -> Option<Sparks> {
    // Whole minutes: the usual distance between samples then gives no holes.
    let each = (seconds_between(window.from, window.to).max(1) + COLUMNS * 60 - 1) / (COLUMNS * 60) * 60;
    let columns = usize::try_from((seconds_between(window.from, window.to).max(0) / each + 1).min(COLUMNS)).unwrap_or(1);
    let column = |time: Timestamp| usize::try_from(seconds_between(window.from, time) / each).unwrap_or(0).min(columns - 1);
    let inside: Vec<&Sample> = samples.iter().filter(|sample| (window.from..=window.to).contains(&sample.time)).collect();
    let lines: Vec<Spark> = SHOWN.iter().filter_map(|shown| line(&inside, shown, columns, &column)).collect();
    (!lines.is_empty()).then(|| Sparks { each: span(each), marks: letters(marks, columns, &column), lines })
}

fn line(samples: &[&Sample], (name, label, is_share, write): &Shown, columns: usize, column: &impl Fn(Timestamp) -> usize) -> Option<Spark> {
    let mut highest: Vec<Option<f64>> = vec![None; columns];
    let mut down = vec![false; columns];
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for sample in samples {
        let at = column(sample.time);
        down[at] |= sample.health.up.known() == Some(&false);
        if let Some(value) = metric(sample.health, name, None) {
            highest[at] = Some(highest[at].map_or(value, |known| known.max(value)));
            (low, high) = (low.min(value), high.max(value));
        }
    }
    if high < low {
        return None;
    }
    // From 0, so that a small wobble is no mountain.
    let top = if *is_share { 1.0 } else { high };
    let bar = |value: f64| BARS[if top > 0.0 { ((value / top * 8.0).ceil() as usize).clamp(1, 8) - 1 } else { 0 }];
    let sign = |(value, down): (Option<f64>, bool)| if down { DOWN } else { value.map_or(NO_SAMPLE, bar) };
    let line = highest.into_iter().zip(down).map(sign).collect();
    Some(Spark { name: (*label).to_owned(), line, lowest: write(low), highest: write(high) })
}

/// A letter for each mark in its place; where two fall together, the later one moves on.
fn letters(marks: &[Mark], columns: usize, column: &impl Fn(Timestamp) -> usize) -> String {
    let mut row = vec![' '; columns];
    for mark in marks {
        let at = column(mark.time);
        if let Some(free) = (at..columns).find(|at| row[*at] == ' ') {
            row[free] = match mark.kind {
                MarkKind::Suspect => 's',
                MarkKind::Onset => 'o',
                MarkKind::Detected => 'd',
                MarkKind::Rollback => 'r',
                MarkKind::Restored => 'h',
            };
        }
    }
    row.into_iter().collect::<String>().trim_end().to_owned()
}

impl Sparks {
    /// As lines of type in which every letter is as wide as the others.
    pub(super) fn rows(&self) -> Vec<String> {
        let mut rows = vec![format!("{:<11} {}", "", self.marks).trim_end().to_owned()];
        rows.retain(|row| !row.is_empty());
        rows.extend(self.lines.iter().map(|spark| format!("{:<11} {}  {} .. {}", spark.name, spark.line, spark.lowest, spark.highest)));
        rows
    }

    /// What the signs mean.
    pub(super) fn legend(&self) -> String {
        format!(
            "One sign is {}: s the suspected change, o onset, d detected, r rollback, h healthy again; {DOWN} down, {NO_SAMPLE} no sample",
            self.each
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Health, Reading};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_line_has_bars_holes_and_downtime_in_their_places() {
        let sample = |error_rate: Option<f64>, up: bool| Health { up: Reading::Known(up), error_rate: error_rate.into(), ..Health::default() };
        let healths = [sample(Some(0.0), true), sample(Some(0.5), true), sample(None, false), sample(Some(1.0), true)];
        let times = [0, 60, 120, 240];
        let samples: Vec<Sample> = healths.iter().zip(times).map(|(health, time)| Sample { time: at(time), health }).collect();
        let mark = |kind, time| Mark { kind, time: at(time), label: String::new() };
        let marks = [mark(MarkKind::Onset, 60), mark(MarkKind::Detected, 61), mark(MarkKind::Restored, 240)];
        let sparks = sparks(&samples, Window { from: at(0), to: at(300) }, &marks).unwrap();
        assert_eq!((sparks.each.as_str(), sparks.marks.as_str()), ("1 min", " od h"));
        assert_eq!(sparks.rows(), ["             od h", "error rate  ▁▄!.█.  0 % .. 100 %"]);
    }

    #[test]
    fn a_month_fits_as_well_and_no_samples_give_no_lines() {
        let health = Health { up: Reading::Known(true), cpu_usage: Some(0.5).into(), ..Health::default() };
        let samples: Vec<Sample> = (0..43_200).map(|minute| Sample { time: at(minute * 60), health: &health }).collect();
        let month = Window { from: at(0), to: at(43_200 * 60) };
        let found = sparks(&samples, month, &[]).unwrap();
        assert_eq!(found.lines[0].line, "▄".repeat(48));
        assert_eq!(sparks(&[], month, &[]), None);
    }
}
