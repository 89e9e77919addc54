//! States over time, in rows: the modules, and whether the service answers.

use super::frame::{Frame, Key, LEFT, RIGHT, TOP};
use super::svg::{Anchor, Steps, width};
use super::{Chart, Scene};
use crate::report::health::STALE_S;
use crate::report::words::{count, list, shorten, span};
use crate::time::{Timestamp, seconds_between};
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// How high a row is, and how much of that is its cells.
const ROW: f64 = 20.0;
const CELL: f64 = 14.0;
/// Cells are no narrower than this, so that one bad sample among a week of good ones can be seen.
const COLUMN: f64 = 2.0;
const COLUMNS: usize = ((RIGHT - LEFT) / COLUMN) as usize;
/// More rows than this nobody reads: the worst are drawn, the others counted.
const MOST_ROWS: usize = 24;
/// A sentence names no more modules than this.
const MOST_NAMED: usize = 6;
/// How much of a name fits beside its row.
const NAME: usize = 13;

/// What is known of something at one time, the worst last: where several share a column, the worst is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Unknown,
    Degraded,
    Failed,
}

const STATES: [State; 4] = [State::Ok, State::Degraded, State::Failed, State::Unknown];

impl State {
    fn class(self) -> &'static str {
        match self {
            State::Ok => "cell ok",
            State::Unknown => "cell unknown",
            State::Degraded => "cell degraded",
            State::Failed => "cell failed",
        }
    }

    /// The pattern that says the same without colour.
    fn pattern(self) -> &'static str {
        match self {
            State::Ok => "",
            State::Unknown => "unknown",
            State::Degraded => "degraded",
            State::Failed => "failed",
        }
    }
}

/// One row: what each sample says.
#[derive(Default)]
struct Row(Vec<(Timestamp, State)>);

impl Row {
    /// Each sample with its end: the next sample, or where silence begins to mean nothing is known.
    fn stretches(&self) -> impl Iterator<Item = (Timestamp, Timestamp, State)> {
        let usual = self.0.windows(2).map(|pair| seconds_between(pair[0].0, pair[1].0)).min().unwrap_or(60).clamp(1, STALE_S);
        self.0.iter().enumerate().map(move |(at, (time, state))| {
            let next = self.0.get(at + 1).map(|(next, _)| *next).filter(|next| seconds_between(*time, *next) <= STALE_S);
            let end = next.unwrap_or_else(|| time.saturating_add(SignedDuration::from_secs(usual)).unwrap_or(*time));
            (*time, end, *state)
        })
    }

    /// The worst of each column.
    fn columns(&self, scene: &Scene) -> Vec<Option<State>> {
        let mut columns = vec![None; COLUMNS];
        for (from, to, state) in self.stretches() {
            let at = |time| (scene.axis.inside(time) - LEFT) / COLUMN;
            let first = (at(from).floor() as usize).min(COLUMNS - 1);
            let last = (at(to).ceil() as usize).clamp(first + 1, COLUMNS);
            for column in &mut columns[first..last] {
                *column = (*column).max(Some(state));
            }
        }
        columns
    }

    fn seconds(&self, wanted: State) -> i64 {
        self.stretches().filter(|(_, _, state)| *state == wanted).map(|(from, to, _)| seconds_between(from, to)).sum()
    }

    fn worst(&self) -> Option<State> {
        self.0.iter().map(|(_, state)| *state).filter(|state| *state != State::Unknown).max()
    }
}

/// Draws a row's cells, one path for each state, and the names of those that are wide enough.
fn draw(frame: &mut Frame, columns: &[Option<State>], top: f64, name: impl Fn(State) -> &'static str) {
    for state in STATES {
        let mut cells = Steps::default();
        let mut x = LEFT;
        for run in columns.chunk_by(|one, next| one == next) {
            let wide = run.len() as f64 * COLUMN;
            if run[0] == Some(state) {
                cells.bar((x, top), (wide, CELL));
                let word = name(state);
                if !word.is_empty() && wide > width(word) + 8.0 {
                    frame.over.text("note", Anchor::Middle, (x + wide / 2.0, top + CELL - 3.5), word);
                }
            }
            x += wide;
        }
        frame.body.path(state.class(), &cells);
        if !state.pattern().is_empty() {
            let pattern = frame.pattern(state.pattern());
            frame.body.filled("over", &pattern, &cells);
        }
    }
    let mut x = LEFT;
    for run in columns.chunk_by(|one, next| one == next) {
        let wide = run.len() as f64 * COLUMN;
        if run[0].is_none() {
            frame.hatch(x, x + wide, top, CELL);
        }
        x += wide;
    }
}

pub(super) fn modules(scene: &Scene) -> Option<Chart> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    // Of a service that is down, and of one that nobody could ask, nothing is known.
    let dark = scene.samples.iter().filter(|sample| sample.health.up.known() != Some(&true) && sample.health.modules.is_empty());
    let dark: Vec<Timestamp> = dark.map(|sample| sample.time).collect();
    for sample in &scene.samples {
        for (name, state) in &sample.health.modules {
            let state = match state.known().map(String::as_str) {
                Some("ok") => State::Ok,
                Some("degraded") => State::Degraded,
                Some("failed") => State::Failed,
                _ => State::Unknown,
            };
            rows.entry(name).or_default().0.push((sample.time, state));
        }
    }
    if rows.is_empty() {
        return None;
    }
    for row in rows.values_mut() {
        row.0.extend(dark.iter().map(|time| (*time, State::Unknown)));
        row.0.sort_by_key(|(time, _)| *time);
    }
    let all = rows.len();
    let mut rows: Vec<(&str, Row)> = rows.into_iter().collect();
    if all > MOST_ROWS {
        rows.sort_by_key(|(name, row)| (std::cmp::Reverse(row.worst()), *name));
        rows.truncate(MOST_ROWS);
        rows.sort_by_key(|(name, _)| *name);
    }
    let mut frame = Frame::new(scene, "modules", rows.len() as f64 * ROW + 6.0);
    let mut bad = Vec::new();
    for (at, (name, row)) in rows.iter().enumerate() {
        let top = TOP + 6.0 + at as f64 * ROW;
        let short = shorten(&crate::report::words::visible(name), NAME);
        frame.under.text_with("row", Anchor::End, (LEFT - 6.0, top + CELL - 3.0), &short, name);
        draw(&mut frame, &row.columns(scene), top, |_| "");
        for state in [State::Failed, State::Degraded] {
            let word = if state == State::Failed { "failed" } else { "degraded" };
            if row.0.iter().any(|(_, seen)| *seen == state) {
                bad.push(format!("{} {word} for {}", shorten(name, 40), span(row.seconds(state))));
            }
        }
    }
    for (state, word) in [(State::Ok, "ok"), (State::Degraded, "degraded"), (State::Failed, "failed"), (State::Unknown, "unknown")] {
        frame.legend.push(Key::Area(state.class(), state.pattern(), word.into()));
    }
    let left_out = if all > rows.len() { format!(" {} of {all} modules are drawn, the worst ones.", rows.len()) } else { String::new() };
    let found = match bad.len() {
        0 => "No module was seen degraded or failed".to_owned(),
        1..=MOST_NAMED => list(&bad),
        more => format!("{} and {} more", bad[..MOST_NAMED].join(", "), more - MOST_NAMED),
    };
    Some(frame.finish(format!("State of {}, by sample. {found}.{left_out}", count(all as u64, "module"))))
}

pub(super) fn availability(scene: &Scene) -> Option<Chart> {
    let state = |up: Option<&bool>| match up {
        Some(true) => State::Ok,
        Some(false) => State::Failed,
        None => State::Unknown,
    };
    let row = Row(scene.samples.iter().map(|sample| (sample.time, state(sample.health.up.known()))).collect());
    if row.0.iter().all(|(_, state)| *state == State::Unknown) {
        return None;
    }
    let mut frame = Frame::new(scene, "availability", ROW + 6.0);
    frame.under.text("row", Anchor::End, (LEFT - 6.0, TOP + 6.0 + CELL - 3.0), "service");
    draw(&mut frame, &row.columns(scene), TOP + 6.0, |state| match state {
        State::Ok => "up",
        State::Failed => "down",
        State::Unknown => "unknown",
        State::Degraded => "",
    });
    for (state, word) in [(State::Ok, "up"), (State::Failed, "down"), (State::Unknown, "unknown")] {
        frame.legend.push(Key::Area(state.class(), state.pattern(), word.into()));
    }
    let seen = |wanted: State| row.0.iter().filter(|(_, state)| *state == wanted).count() as u64;
    let one = |word: &str, state: State| match seen(state) {
        0 => format!("{word} never"),
        samples => format!("{word} for {} ({})", span(row.seconds(state)), count(samples, "sample")),
    };
    let text = [one("up", State::Ok), one("down", State::Failed), one("unknown", State::Unknown)];
    Some(frame.finish(format!("Whether the service answered: {}.", list(&text))))
}
