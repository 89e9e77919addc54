//! Records as people read them at a terminal: aligned rows, a header where the kind changes, small blocks for what needs
//! more than a row. Colour only underlines what the words already say; text from records cannot reach the terminal raw.

mod layout;

use crate::health as wellbeing;
use crate::record::{
    Action, Change, Control, Decision, Difference, Entry, Gate, Health, Operator, Plan, Reading, Record, RecordPath, Restore, Retention, Rollout,
    Severity, Signal, Snapshot, Stamp, Step, Verification,
};
use crate::report::words::{self, clock, count, id6, millis, percent, size, span, visible};
use crate::time::{Timestamp, seconds_between};
use crate::verdict::Verdict;
use anstyle::{AnsiColor, Style};
use layout::{Cell, Column, Page, cell, either, left, note, place, rest, right, styled};
use std::collections::HashMap;

pub(super) const PLAIN: Style = Style::new();
pub(super) const HEAD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const DOUBT: Style = AnsiColor::Yellow.on_default();

/// Damages that are shown of one archive; the records have them all.
const DAMAGES: usize = 10;

/// Prints records as rows; a header stands before the first row of a kind.
pub(super) struct Table {
    page: Page,
    /// Asked for each row, because people make their windows larger and smaller.
    width: Box<dyn Fn() -> Option<usize>>,
    now: Timestamp,
    last: String,
    /// The kind of record that this program is run for.
    own: Option<&'static str>,
    sums: Sums,
    /// When the snapshots that came in were taken, and of which kind they are.
    known: HashMap<String, (Timestamp, Option<String>)>,
}

/// What the rows of the own kind come to.
#[derive(Default)]
struct Sums {
    rows: u64,
    good: u64,
    bad: u64,
    bytes: u64,
    /// The age of the youngest good one.
    youngest: Option<i64>,
}

/// A record as a row, and the lines that belong below it.
struct Row {
    /// None: a headline.
    columns: &'static [Column],
    cells: Vec<Cell>,
    below: Vec<(Cell, Cell)>,
}

impl Table {
    /// `width` tells the terminal's, if there is one; `now` is what ages count from.
    pub(super) fn new(colour: bool, width: Box<dyn Fn() -> Option<usize>>, now: Timestamp) -> Table {
        let page = Page { width: width(), colour };
        Table { page, width, now, last: String::new(), own: None, sums: Sums::default(), known: HashMap::new() }
    }

    /// This program is run for records of this kind: those that they are about are not shown beside them, and a sum stands at the end.
    pub(super) fn is_for(&mut self, kind: &'static str) {
        self.own = Some(kind);
    }

    /// A record that came in: a row, unless a row of this program will say it all.
    pub(super) fn forwarded(&mut self, stamp: &Stamp, record: &Record) -> String {
        match (record, self.own) {
            (Record::Snapshot(body), Some("verification" | "retention")) => {
                self.knows(stamp, body);
                String::new()
            }
            _ => self.row(stamp, record),
        }
    }

    /// A snapshot that rows will name.
    pub(super) fn knows(&mut self, stamp: &Stamp, body: &Snapshot) {
        self.known.insert(body.id.clone(), (stamp.time, body.kind.clone()));
    }

    pub(super) fn row(&mut self, stamp: &Stamp, record: &Record) -> String {
        let time = moment(stamp.time, self.now);
        let age = seconds_between(stamp.time, self.now).max(0);
        let row = match record {
            Record::Health(body) => health(time, body),
            Record::Change(body) => change(time, body),
            Record::Signal(body) => signal(time, body),
            Record::Operator(body) => operator(time, body),
            Record::Decision(body) => decision(time, body),
            Record::Snapshot(body) => snapshot(time, body, age),
            Record::Entry(body) => entry(body, self.now),
            Record::Verification(body) => self.verification(time, body),
            Record::Difference(body) => difference(body),
            Record::Plan(body) => self.plan(time, body, stamp.time),
            Record::Step(body) => step(time, body),
            Record::Restore(body) => restore(time, body),
            Record::Control(body) => control(time, body),
            Record::Rollout(body) => rollout(time, body),
            Record::Gate(body) => gate(time, body),
            Record::Retention(body) => retention(body, self.now),
            Record::Other(kind) => headline(time, styled(visible(kind), DIM), Vec::new()),
        };
        if self.own == Some(record.kind()) {
            self.sums.add(record, age);
        }
        let mut text = String::new();
        let width = (self.width)();
        let is_news = self.last != record.kind();
        // The steps of a rollback are one block with its beginning and its end.
        let goes_on = matches!((self.last.as_str(), record.kind()), ("restore", "step") | ("step", "restore"));
        if is_news && !goes_on && !self.last.is_empty() {
            text.push('\n');
        }
        if is_news || self.page.width != width {
            self.page.width = width;
            if !row.columns.is_empty() && record.kind() != "step" {
                self.page.head(&mut text, row.columns, HEAD);
            }
            record.kind().clone_into(&mut self.last);
        }
        match row.cells.as_slice() {
            [time, words] if row.columns.is_empty() => self.page.headline(&mut text, time, words),
            cells => self.page.row(&mut text, row.columns, cells),
        }
        for (label, words) in &row.below {
            self.page.below(&mut text, label, words);
        }
        text
    }

    /// What all of it comes to.
    pub(super) fn end(&self) -> String {
        let mut text = String::new();
        if let Some(sentence) = self.own.and_then(|kind| self.sums.sentence(kind)) {
            text.push('\n');
            self.page.sentence(&mut text, &sentence);
        }
        text
    }

    fn verification(&self, time: Cell, body: &Verification) -> Row {
        let mut below: Vec<(Cell, Cell)> = Vec::new();
        for damage in body.damage.iter().take(DAMAGES) {
            let why = damage.why.as_deref().map_or_else(String::new, |why| format!(", {}", visible(why)));
            below.push((styled("damaged", BAD), note(format!("{}: {}{why}", name(&damage.path), visible(&damage.what)), PLAIN)));
        }
        if body.damage.len() > DAMAGES {
            below.push((cell(""), note(format!("… and {} more; --json has them all", body.damage.len() - DAMAGES), PLAIN)));
        }
        below.extend(body.warnings.iter().map(|warning| (styled("warning", DOUBT), note(visible(warning), PLAIN))));
        below.extend(body.error.iter().map(|error| (styled("error", BAD), note(visible(error), PLAIN))));
        let depth = body.sample.map_or_else(|| visible(&body.depth), |share| format!("{:.3}%", share * 100.0).replace(".000%", "%"));
        let known = self.known.get(&body.snapshot);
        let mut cells = vec![time, styled(id6(&body.snapshot), HEAD)];
        if self.own == Some("verification") {
            cells.push(known.map_or_else(|| cell("-"), |(taken, _)| how_old(seconds_between(*taken, self.now))));
            cells.push(cell(or_dash(known.and_then(|(_, kind)| kind.as_deref()))));
        }
        cells.extend([
            answer(body.ok, "ok", "damaged", "cannot tell"),
            cell(depth),
            cell(body.files.to_string()),
            cell(size(body.bytes)),
            cell(millis(body.took_ms)),
            layout::path(name(&body.archive)),
        ]);
        Row { columns: if self.own == Some("verification") { VERIFICATION_OF } else { VERIFICATION }, cells, below }
    }

    fn plan(&self, time: Cell, body: &Plan, at: Timestamp) -> Row {
        let taken = |snapshot: &String| self.known.get(snapshot).map(|(taken, kind)| (*taken, kind.as_deref().map_or_else(String::new, visible)));
        let which = |snapshot: &String| match taken(snapshot) {
            Some((taken, kind)) => {
                let age = span(seconds_between(taken, at).max(0));
                format!("snapshot {} ({kind}{}{age} old)", id6(snapshot), if kind.is_empty() { "" } else { ", " })
            }
            None => format!("snapshot {}", id6(snapshot)),
        };
        let what = match (&body.snapshot, &body.target) {
            (Some(snapshot), Some(target)) => format!("unpack {} of {} into {}", visible(&body.scope), which(snapshot), visible(target)),
            (Some(snapshot), None) => format!("roll back {} to {}", visible(&body.scope), which(snapshot)),
            (None, _) if body.roots.is_empty() => format!("roll back {}; no snapshot is needed", visible(&body.scope)),
            (None, _) => format!("bring back {} as it was before a rollback", visible(&body.scope)),
        };
        let said = |text: String| note(text, PLAIN);
        let mut below = vec![(cell("roots"), said(if body.roots.is_empty() { "none".to_owned() } else { visible(&body.roots.join(", ")) }))];
        // Without a snapshot nothing is compared and nothing is written: the trees change places as they are.
        if body.snapshot.is_some() {
            below.push((cell("changes"), said(changes(body.created, body.updated, body.deleted, body.kept, body.preserved))));
            below.push((cell("to write"), said(size(body.bytes))));
        }
        if let Some(loss) = body.data_loss_s {
            let from = body.snapshot.as_ref().and_then(taken).map(|(taken, _)| format!(", since {} UTC,", clock(taken))).unwrap_or_default();
            below.push((cell("data"), note(format!("what was written in the last {}{from} is set aside, not lost", span(loss)), DOUBT)));
        }
        let how = body.guarantee.as_ref().map_or(visible(&body.strategy), |means| format!("{}: {}", visible(&body.strategy), visible(means)));
        below.push((cell("how"), said(how)));
        below.push((cell("service"), said(visible(&body.control))));
        let verify =
            if body.verify.is_empty() { note("not checked: nothing is configured", DOUBT) } else { said(visible(&body.verify.join(", then "))) };
        below.push((cell("verify"), verify));
        // A rollback without a tree has none to go back to.
        if body.snapshot.is_some() && body.target.is_none() {
            below.push((cell("undo"), said(format!("eco-restore --undo {}", words::shell_word(&id6(&body.restore))))));
        }
        below.extend(body.examples.iter().enumerate().map(|(at, example)| {
            let label = if at == 0 { "first" } else { "" };
            (cell(label), layout::path(format!("{}  {}", effect(&example.what), name(&example.path))))
        }));
        let total = body.created + body.updated + body.deleted;
        let shown = body.examples.len() as u64;
        if shown > 0 && total > shown {
            below.push((cell(""), said(format!("… and {} more", total - shown))));
        }
        headline(time, styled(format!("plan {}: {what}", id6(&body.restore)), HEAD), below)
    }
}

const TIME: Column = left("TIME (UTC)", 19).or(11);
const AGE: Column = right("AGE", 11).or(6);
/// How wide a column of units may be.
const UNIT: usize = 32;

const VERIFICATION: &[Column] = &[
    TIME.rank(6),
    left("ID", 6),
    left("RESULT", 11),
    left("DEPTH", 8).rank(4),
    right("FILES", 7).rank(3),
    right("SIZE", 8).rank(2),
    right("TOOK", 7).rank(1),
    rest("ARCHIVE", 24).rank(5),
];
/// Where its program shows it: whether an archive is whole is read beside how old it is.
const VERIFICATION_OF: &[Column] = &[
    TIME.rank(8),
    left("ID", 6),
    AGE.rank(1),
    left("KIND", 14).rank(2),
    left("RESULT", 11),
    left("DEPTH", 8).rank(5),
    right("FILES", 7).rank(6),
    right("SIZE", 8).rank(3),
    right("TOOK", 7).rank(4),
    rest("ARCHIVE", 24).rank(7),
];

impl Sums {
    fn add(&mut self, record: &Record, age: i64) {
        self.rows += 1;
        match record {
            Record::Snapshot(body) => {
                self.bytes += body.archive_bytes.unwrap_or(0);
                if body.good == Some(true) {
                    self.good += 1;
                    self.youngest = Some(self.youngest.map_or(age, |youngest| youngest.min(age)));
                }
            }
            Record::Verification(body) => {
                self.good += u64::from(body.ok == Some(true));
                self.bad += u64::from(body.ok == Some(false));
            }
            _ => {}
        }
    }

    fn sentence(&self, kind: &str) -> Option<String> {
        match kind {
            "snapshot" if self.rows > 1 => {
                let good = match (self.good, self.youngest) {
                    (1, Some(age)) => format!("one of them good, {} old", span(age)),
                    (good, Some(age)) => format!("{good} of them good, the latest {} old", span(age)),
                    _ => "none of them good".to_owned(),
                };
                Some(format!("{}, {good}; {} on disk", count(self.rows, "snapshot"), size(self.bytes)))
            }
            "verification" if self.rows > 1 || self.bad > 0 => {
                let untold = self.rows - self.good - self.bad;
                let parts = [(self.good, "ok"), (self.bad, "damaged"), (untold, "that cannot be told")];
                let parts: Vec<String> = parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
                let next = match self.bad {
                    0 => "",
                    _ => ". What is damaged is never restored: take a new one with eco-snap --full; eco-ls --good shows what is left",
                };
                Some(format!("{}: {}{next}", count(self.rows, "snapshot"), parts.join(", ")))
            }
            _ => None,
        }
    }
}

/// A headline, and what belongs below it.
fn headline(time: Cell, words: Cell, below: Vec<(Cell, Cell)>) -> Row {
    Row { columns: &[], cells: vec![time, words], below }
}

/// When it was: where there is little room, the time of day, or the day and the minute if that was another day.
fn moment(time: Timestamp, now: Timestamp) -> Cell {
    let day = |time: Timestamp| time.as_second().div_euclid(86_400);
    let short = if day(time) == day(now) { "%H:%M:%S" } else { "%m-%d %H:%M" };
    either(clock(time), time.strftime(short).to_string())
}

/// Yes, no and cannot tell, in words.
fn answer(ok: Option<bool>, yes: &str, no: &str, unknown: &str) -> Cell {
    match ok {
        Some(true) => styled(yes, GOOD),
        Some(false) => styled(no, BAD),
        None => styled(unknown, DOUBT),
    }
}

fn name(path: &RecordPath) -> String {
    visible(&path.path)
}

fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), visible)
}

fn metric(reading: &Reading<f64>, print: impl Fn(f64) -> String) -> Cell {
    match reading {
        Reading::Known(value) => cell(print(*value)),
        Reading::Absent => cell("-"),
        Reading::Unusable(_) => styled("unusable", DOUBT),
    }
}

fn health(time: Cell, body: &Health) -> Row {
    let mut notes: Vec<String> = Vec::new();
    let mut style = PLAIN;
    for (name, state) in &body.modules {
        let state = state.known().map_or("unknown", String::as_str);
        if state != "ok" {
            style = if state == "failed" { BAD } else { style };
            notes.push(format!("{} {}", visible(name), visible(state)));
        }
    }
    for (reading, what) in [(&body.integrity, "data not consistent"), (&body.integration, "modules do not work together")] {
        if reading.known() == Some(&false) {
            style = BAD;
            notes.push(what.to_owned());
        }
    }
    // A sample often carries the words of the probe that made it.
    let said_by_probe = |error: &str| body.probes.iter().any(|probe| probe.ok != Some(true) && probe.error.as_deref() == Some(error));
    notes.extend(body.error.as_deref().filter(|error| !said_by_probe(error)).map(visible));
    notes.extend(body.probes.iter().filter(|probe| probe.ok != Some(true)).map(|probe| {
        let how = if probe.ok.is_some() { "failed" } else { "not checked" };
        let why = probe.error.as_deref().map_or_else(String::new, |why| format!(": {}", visible(why)));
        format!("{} {how}{why}", visible(&probe.probe))
    }));
    notes.extend(body.cohort.as_deref().map(|cohort| format!("cohort {}", visible(cohort))));
    let errors = match (&body.error_rate, &body.success_rate) {
        (Reading::Absent, Reading::Known(success)) => Reading::Known(1.0 - success),
        (errors, _) => errors.clone(),
    };
    let verdict = match (body.up.known(), wellbeing::verdict(body).0) {
        (Some(false), _) => styled("down", BAD),
        (_, Verdict::Yes) => styled("healthy", GOOD),
        (_, Verdict::No) => styled("not healthy", BAD),
        (_, Verdict::Unknown) => styled("unknown", DOUBT),
    };
    Row {
        columns: const {
            &[
                TIME,
                left("HEALTH", 11),
                right("ERRORS", 8).rank(1),
                right("RESPONSE", 8).rank(2),
                right("CPU", 5).rank(4),
                right("MEMORY", 6).rank(5),
                right("REQUESTS", 8).rank(6),
                rest("NOTES", 20).rank(3),
            ]
        },
        cells: vec![
            time,
            verdict,
            metric(&errors, percent),
            metric(&body.response_ms, |ms| format!("{ms:.0} ms")),
            metric(&body.cpu_usage, percent),
            metric(&body.memory_usage, percent),
            metric(&body.requests, |requests| format!("{requests:.0}")),
            note(notes.join(", "), style),
        ],
        below: Vec::new(),
    }
}

fn change(time: Cell, body: &Change) -> Row {
    let mut notes: Vec<String> = Vec::new();
    match (&body.from, &body.to) {
        (Some(from), Some(to)) => notes.push(format!("{} -> {}", visible(from), visible(to))),
        (None, Some(to)) => notes.push(format!("to {}", visible(to))),
        (Some(from), None) => notes.push(format!("from {}", visible(from))),
        (None, None) => {}
    }
    if !body.affects.is_empty() {
        notes.push(format!("affects {}", visible(&body.affects.join(", "))));
    }
    if body.reversible == Some(false) {
        notes.push("not reversible".to_owned());
    }
    notes.extend(body.paths.map(|paths| count(paths, "path")));
    notes.extend(body.by.as_deref().map(|by| format!("by {}", visible(by))));
    Row {
        columns: const { &[TIME.rank(2), left("CHANGE", 20).least(12).rank(1), left("TARGET", UNIT).least(12), rest("WHAT", 20).rank(3)] },
        cells: vec![time, cell(or_dash(body.id.as_deref())), unit(visible(&body.target)), note(notes.join(", "), PLAIN)],
        below: Vec::new(),
    }
}

/// A unit is what people type next: where it is too long for its column it goes on in the next line.
fn unit(text: String) -> Cell {
    note(text, PLAIN)
}

fn signal(time: Cell, body: &Signal) -> Row {
    let cleared = body.cleared == Some(true);
    let since = body.since.map_or_else(String::new, |since| format!("since {}", clock(since)));
    Row {
        columns: const {
            &[
                TIME.rank(3),
                left("SIGNAL", 20).least(15),
                left("STATE", 7),
                left("SOURCE", 10).rank(2),
                left("TARGET", UNIT).least(12).rank(1),
                rest("SINCE", 25).rank(4),
            ]
        },
        cells: vec![
            time,
            cell(visible(&body.signal)),
            if cleared { styled("cleared", GOOD) } else { styled("raised", BAD) },
            cell(or_dash(body.source.as_deref())),
            unit(or_dash(body.target.as_deref())),
            cell(since),
        ],
        below: Vec::new(),
    }
}

fn operator(time: Cell, body: &Operator) -> Row {
    let until = body.until.map(|until| format!("until {}", clock(until)));
    let about = [until, body.decision.as_deref().map(|id| format!("decision {}", visible(id))), body.version.as_deref().map(visible)];
    Row {
        columns: const { &[TIME.rank(1), left("OPERATOR", 9), rest("ABOUT", 20)] },
        cells: vec![time, styled(visible(&body.verb), HEAD), note(about.into_iter().flatten().collect::<Vec<_>>().join(", "), PLAIN)],
        below: Vec::new(),
    }
}

fn decision(time: Cell, body: &Decision) -> Row {
    let severity = match body.severity {
        Severity::Critical => styled("critical", BAD),
        Severity::High => styled("high", BAD),
        Severity::Medium => styled("medium", DOUBT),
        Severity::Low => cell("low"),
        Severity::Unknown => styled("unknown", DOUBT),
    };
    let action = match body.action {
        Action::Watch => cell("watch"),
        Action::Investigate => styled("investigate", DOUBT),
        Action::Propose => styled("propose", DOUBT),
        Action::Rollback => styled("rollback", BAD),
        Action::Escalate => styled("escalate", BAD),
        Action::Resolved => styled("resolved", GOOD),
    };
    let mut below: Vec<(Cell, Cell)> = Vec::new();
    for reason in &body.reasons {
        let held = reason.held_s.map_or_else(String::new, |s| format!(", held {}", span(s as i64)));
        let (rule, metric) = (visible(&reason.rule), visible(&reason.metric));
        let (observed, threshold) = (visible(&reason.observed.to_string()), visible(&reason.threshold));
        below.push((cell("because"), note(format!("{rule}: {metric} {observed}, limit {threshold}{held}"), PLAIN)));
    }
    for suspect in &body.suspects {
        let when = span(suspect.before_onset_s as i64);
        let change = suspect.change.as_deref().map_or_else(String::new, |id| format!(" (change {})", visible(id)));
        below.push((cell("suspect"), note(format!("{}{change}, {when} before onset", visible(&suspect.target)), PLAIN)));
    }
    if !body.notes.is_empty() {
        below.push((cell("notes"), note(visible(&body.notes.join(", ")), PLAIN)));
    }
    if body.overdue || body.reminder {
        let what = if body.overdue { "nobody has answered and the deadline has passed" } else { "nobody has answered yet" };
        below.push((styled("reminder", DOUBT), note(what, PLAIN)));
    }
    if body.is_rollouts_question() {
        below.push((cell("to act"), note(format!("eco-ctl resume goes on, eco-ctl reject {} rolls back", visible(&body.id)), PLAIN)));
    } else if body.action == Action::Propose {
        below.push((cell("to act"), note(format!("eco-ctl approve {}, or eco-restore --approve on this stream", visible(&body.id)), PLAIN)));
    }
    Row {
        columns: const {
            &[
                TIME.rank(1),
                left("SEVERITY", 8),
                left("ACTION", 11),
                left("SCOPE", UNIT).least(12),
                left("SNAPSHOT", 8).rank(2),
                left("DEADLINE", 19).rank(3),
            ]
        },
        cells: vec![
            time,
            severity,
            action,
            unit(body.scope.as_ref().map_or_else(|| "-".to_owned(), |scope| visible(&scope.to_string()))),
            cell(body.snapshot.as_deref().map_or_else(|| "-".to_owned(), id6)),
            cell(body.deadline.map_or_else(|| "-".to_owned(), clock)),
        ],
        below,
    }
}

fn snapshot(time: Cell, body: &Snapshot, age: i64) -> Row {
    let health = match body.health.as_deref() {
        Some("ok") => styled("ok", GOOD),
        Some("failed") => styled("failed", BAD),
        other => styled(visible(other.unwrap_or("unknown")), DOUBT),
    };
    let mut notes: Vec<String> = Vec::new();
    notes.extend(body.base.as_deref().map(|base| format!("needs {}", id6(base))));
    notes.extend((!body.unstable.is_empty()).then(|| format!("{} changed while read", count(body.unstable.len() as u64, "file"))));
    notes.extend((body.pinned == Some(true)).then(|| "pinned".to_owned()));
    notes.extend((body.legacy == Some(true)).then(|| "legacy".to_owned()));
    notes.extend(body.restored_at.map(|time| format!("restore rehearsed {}", clock(time))));
    Row {
        columns: const {
            &[
                left("ID", 6),
                TIME.rank(5),
                AGE,
                left("KIND", 14).rank(1),
                left("HEALTH", 7).rank(7),
                left("GOOD", 4),
                left("VERIFIED", 8).rank(3),
                right("FILES", 7).rank(6),
                right("SIZE", 8).rank(2),
                rest("NOTES, WHERE", 13).rank(4),
            ]
        },
        cells: vec![
            styled(id6(&body.id), HEAD),
            time,
            how_old(age),
            cell(or_dash(body.kind.as_deref())),
            health,
            answer(body.good, "yes", "no", "-"),
            answer(body.verified, "yes", "no", "-"),
            cell(body.files.map_or_else(|| "-".to_owned(), |files| files.to_string())),
            cell(body.bytes.map_or_else(|| "-".to_owned(), size)),
            place(notes.join(", "), body.path.as_ref().map(name).unwrap_or_default()),
        ],
        below: Vec::new(),
    }
}

fn entry(body: &Entry, now: Timestamp) -> Row {
    let owner = |name: &Option<String>, id: u64| name.as_deref().map_or_else(|| id.to_string(), visible);
    let link = body.link.as_deref().map_or_else(String::new, |link| format!(" -> {}", visible(link)));
    Row {
        columns: const {
            &[
                left("KIND", 8).rank(2),
                left("MODE", 5).rank(4),
                left("OWNER", 17).rank(5),
                right("SIZE", 8).rank(1),
                left("MODIFIED (UTC)", 19).or(14).rank(3),
                rest("PATH", 32),
            ]
        },
        cells: vec![
            cell(visible(&body.kind)),
            cell(visible(&body.mode)),
            cell(format!("{}:{}", owner(&body.user, body.uid), owner(&body.group, body.gid))),
            cell(body.size_bytes.map_or_else(|| "-".to_owned(), size)),
            moment(body.mtime, now),
            layout::path(format!("{}{link}", name(&body.path))),
        ],
        below: Vec::new(),
    }
}

fn difference(body: &Difference) -> Row {
    let details = if body.details.is_empty() { String::new() } else { format!(" ({})", visible(&body.details.join(", "))) };
    let style = if body.what == "deleted" { BAD } else { PLAIN };
    Row {
        columns: const { &[left("ID", 6), left("WHAT", 8), rest("PATH", 16)] },
        cells: vec![cell(id6(&body.snapshot)), styled(visible(&body.what), style), layout::path(format!("{}{details}", name(&body.path)))],
        below: Vec::new(),
    }
}

/// An age; where there is little room, in one unit.
fn how_old(seconds: i64) -> Cell {
    let seconds = seconds.max(0);
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    either(span(seconds), span(seconds / unit * unit))
}

/// What a rollback does about a difference: what the tree no longer has is created, and what it has gained is deleted.
fn effect(what: &str) -> &'static str {
    match what {
        "deleted" => "create",
        "created" => "delete",
        _ => "update",
    }
}

/// What a rollback does to the tree, in one line.
fn changes(created: u64, updated: u64, deleted: u64, kept: u64, preserved: u64) -> String {
    format!("{created} created, {updated} updated, {deleted} deleted; {kept} the same, {preserved} preserved")
}

fn step(time: Cell, body: &Step) -> Row {
    // A note that begins with the answer would say it twice.
    let said = body.note.as_deref().map_or("", |note| note.strip_prefix("not checked: ").unwrap_or(note));
    Row {
        columns: const { &[TIME.rank(3), left("STEP", 16).least(12), left("RESULT", 11), right("TOOK", 9).rank(2), rest("NOTE", 34).rank(1)] },
        cells: vec![
            time,
            cell(visible(&body.step)),
            answer(body.ok, "ok", "failed", "not checked"),
            cell(millis(body.took_ms)),
            note(visible(said), PLAIN),
        ],
        below: Vec::new(),
    }
}

fn restore(time: Cell, body: &Restore) -> Row {
    let (word, style) = match body.phase.as_str() {
        "started" => ("started".to_owned(), HEAD),
        "completed" => ("completed".to_owned(), GOOD),
        "reverted" => ("REVERTED: the tree from before is back".to_owned(), BAD),
        "failed" => ("FAILED".to_owned(), BAD),
        other => (visible(other), DOUBT),
    };
    // Beside the live tree nothing is rolled back.
    let doing = if body.strategy.as_deref() == Some("extract") { "extraction" } else { "rollback" };
    let mut what = format!("{doing} {} of {} {word}", id6(&body.id), visible(&body.scope));
    if let Some(snapshot) = &body.snapshot {
        what.push_str(&format!(", snapshot {}", id6(snapshot)));
    }
    match (&body.decision, body.by.as_deref()) {
        (Some(decision), _) => what.push_str(&format!(", decision {}", visible(decision))),
        (None, Some(by)) => what.push_str(&format!(", by {}", visible(by))),
        (None, None) => {}
    }
    let mut below: Vec<(Cell, Cell)> = Vec::new();
    below.extend(body.error.iter().map(|why| (styled("why", BAD), note(visible(why), PLAIN))));
    below.extend(body.undoes.iter().map(|id| (cell("undoes"), cell(format!("rollback {}", id6(id))))));
    if let (Some(created), Some(updated), Some(deleted)) = (body.created, body.updated, body.deleted) {
        let text = changes(created, updated, deleted, body.kept.unwrap_or(0), body.preserved.unwrap_or(0));
        below.push((cell("changes"), note(text, PLAIN)));
    }
    if let Some(took) = body.took_ms {
        let down = body.downtime_ms.map_or_else(String::new, |ms| format!(", service down {}", millis(ms)));
        let hooks = body.hooks_ms.map_or_else(String::new, |ms| format!(" ({} of it its stop and start commands)", millis(ms)));
        below.push((cell("time"), note(format!("{}{down}{hooks}", millis(took)), PLAIN)));
    }
    if body.phase == "completed" {
        if let Some(loss) = body.data_loss_s {
            let fate = if body.safety.is_some() { "set aside, not lost" } else { "no longer in the tree" };
            below.push((cell("data"), note(format!("what was written in the last {} is {fate}", span(loss)), DOUBT)));
        }
        if let Some(safety) = &body.safety {
            below.push((cell("safety"), note(format!("{} keeps the state from before", id6(safety)), PLAIN)));
            below.push((cell("undo"), note(format!("eco-restore --undo {}", words::shell_word(&id6(safety))), HEAD)));
        }
    }
    headline(time, styled(what, style), below)
}

fn control(time: Cell, body: &Control) -> Row {
    let result = match body.verb.as_str() {
        "status" => answer(body.ok, "running", "not running", "cannot tell"),
        _ => answer(body.ok, "ok", "failed", "cannot tell"),
    };
    let mut notes: Vec<String> = body.note.iter().map(|note| visible(note)).collect();
    notes.extend(body.pid.map(|pid| format!("pid {pid}")));
    Row {
        columns: const {
            &[TIME.rank(2), left("DO", 8), left("UNIT", UNIT).least(11), left("RESULT", 11), right("TOOK", 9).rank(3), rest("NOTE", 16).rank(1)]
        },
        cells: vec![
            time,
            cell(visible(&body.verb)),
            unit(body.unit.as_ref().map_or_else(|| "the service".to_owned(), |unit| visible(&unit.to_string()))),
            result,
            cell(millis(body.took_ms)),
            note(notes.join(", "), PLAIN),
        ],
        below: Vec::new(),
    }
}

fn rollout(time: Cell, body: &Rollout) -> Row {
    let style = match body.state.as_str() {
        "done" => GOOD,
        "rolling_back" | "stuck" => BAD,
        "holding" | "paused" | "rolled_back" | "refused" => DOUBT,
        _ => HEAD,
    };
    let mut below: Vec<(Cell, Cell)> = Vec::new();
    for reason in &body.reasons {
        let requests = reason.requests.map_or_else(String::new, |requests| format!(", {requests} requests"));
        let window = reason.window_s.map_or_else(String::new, |s| format!(" in {}", span(s as i64)));
        let stable = reason.stable.map_or_else(String::new, |rate| format!("; the version before: {rate}"));
        let (metric, observed, limit) = (visible(&reason.metric), visible(&reason.observed.to_string()), visible(&reason.threshold));
        below.push((cell("because"), note(format!("{metric} {observed}, limit {limit}{requests}{window}{stable}"), PLAIN)));
    }
    match body.state.as_str() {
        "paused" => below.push((cell("to act"), note("eco-ctl resume goes on, eco-ctl reject rolls back", PLAIN))),
        "stuck" => below.push((cell("to act"), note("mend it by hand, or eco-ctl reject: tries to roll back again", BAD))),
        _ => {}
    }
    Row {
        columns: const {
            &[
                TIME.rank(3),
                left("VERSION", 20).least(12),
                left("TARGET", UNIT).least(12).rank(5),
                left("PHASE", 10).rank(4),
                left("STATE", 12),
                right("TRAFFIC", 7).rank(1),
                rest("NOTES", 16).rank(2),
            ]
        },
        cells: vec![
            time,
            cell(visible(&body.version)),
            unit(visible(&body.target.to_string())),
            cell(or_dash(body.phase.as_deref())),
            styled(visible(&body.state), style),
            cell(body.exposure.map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"))),
            note(visible(&body.notes.join(", ")), PLAIN),
        ],
        below,
    }
}

fn gate(time: Cell, body: &Gate) -> Row {
    // What a check that passed has printed is nobody's concern.
    let output = body.output.as_deref().filter(|_| !body.ok).unwrap_or_default();
    Row {
        columns: const { &[TIME.rank(2), left("CHECK", 16), left("RESULT", 6), right("TOOK", 9).rank(1), rest("WHY", 28).rank(3)] },
        cells: vec![
            time,
            styled(visible(&body.check), HEAD),
            answer(Some(body.ok), "passed", "FAILED", ""),
            cell(millis((body.took_s * 1000.0) as u64)),
            note(body.error.as_deref().map_or_else(String::new, visible), PLAIN),
        ],
        below: output.lines().map(|line| (cell(""), note(visible(line), PLAIN))).collect(),
    }
}

fn retention(body: &Retention, now: Timestamp) -> Row {
    let (word, style) = match body {
        Retention { removed: true, .. } => ("removed", BAD),
        Retention { set_aside: true, .. } => ("set aside", DOUBT),
        Retention { keep: true, .. } => ("keep", GOOD),
        _ => ("remove", BAD),
    };
    Row {
        columns: const {
            &[left("WHAT", 9), left("ID", 6), AGE.rank(4), left("KIND", 14).least(7).rank(1), right("SIZE", 8).rank(2), rest("WHY", 32).rank(3)]
        },
        cells: vec![
            styled(word, style),
            styled(id6(&body.snapshot), HEAD),
            body.taken.map_or_else(|| cell("-"), |taken| how_old(seconds_between(taken, now))),
            cell(or_dash(body.kind.as_deref())),
            cell(body.archive_bytes.map_or_else(|| "-".to_owned(), size)),
            // All of it: this is what a person decides by.
            note(visible(&body.reasons.join("; ")), PLAIN),
        ],
        below: body.error.iter().map(|error| (styled("error", BAD), note(visible(error), PLAIN))).collect(),
    }
}

#[cfg(test)]
mod tests;
