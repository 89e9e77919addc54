//! Records as people read them at a terminal: aligned rows, a header where the kind changes, small blocks for what needs
//! more than a row. Colour only underlines what the words already say; text from records cannot reach the terminal raw.

use crate::record::{
    Action, Change, Control, Decision, Difference, Entry, Gate, Health, Operator, Plan, Reading, Record, RecordPath, Restore, Retention, Rollout,
    Severity, Signal, Snapshot, Stamp, Step, Verification,
};
use crate::report::words::{self, clock, count, id6, millis, percent, size, span, visible};
use crate::time::{Timestamp, seconds_between};
use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

pub(super) const PLAIN: Style = Style::new();
pub(super) const HEAD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const DOUBT: Style = AnsiColor::Yellow.on_default();

/// Notes and paths are never cut shorter than this, however narrow the terminal.
const LEAST_FREE_TEXT: usize = 24;

/// Prints records as rows; a header stands before the first row of a kind.
pub(super) struct Table {
    colour: bool,
    width: Option<usize>,
    now: Timestamp,
    last: String,
}

/// One field of a row.
struct Cell {
    text: String,
    style: Style,
    /// Notes and paths: cut on a narrow terminal. Everything else would rather wrap than lose a letter.
    is_free: bool,
}

/// A field that says nothing special.
fn cell(text: impl Into<String>) -> Cell {
    styled(text, PLAIN)
}

fn styled(text: impl Into<String>, style: Style) -> Cell {
    Cell { text: text.into(), style, is_free: false }
}

/// A note or a path, at the end of a row.
fn free(text: impl Into<String>, style: Style) -> Cell {
    Cell { text: text.into(), style, is_free: true }
}

/// A record as a row, and the lines that belong below it.
struct Row {
    /// Names and widths of the columns; a negative width aligns to the right. The last column is as wide as it needs to be.
    columns: &'static [(&'static str, i8)],
    cells: Vec<Cell>,
    below: Vec<Vec<Cell>>,
}

impl Table {
    /// `width` is the terminal's, if there is one; `now` is what ages count from.
    pub(super) fn new(colour: bool, width: Option<usize>, now: Timestamp) -> Table {
        Table { colour, width, now, last: String::new() }
    }

    pub(super) fn row(&mut self, stamp: &Stamp, record: &Record) -> String {
        let time = cell(clock(stamp.time));
        let row = match record {
            Record::Health(body) => health(time, body),
            Record::Change(body) => change(time, body),
            Record::Signal(body) => signal(time, body),
            Record::Operator(body) => operator(time, body),
            Record::Decision(body) => decision(time, body),
            Record::Snapshot(body) => snapshot(time, body, seconds_between(stamp.time, self.now)),
            Record::Entry(body) => entry(body),
            Record::Verification(body) => verification(time, body),
            Record::Difference(body) => difference(body),
            Record::Plan(body) => plan(time, body),
            Record::Step(body) => step(time, body),
            Record::Restore(body) => restore(time, body),
            Record::Control(body) => control(time, body),
            Record::Rollout(body) => rollout(time, body),
            Record::Gate(body) => gate(time, body),
            Record::Retention(body) => retention(body, self.now),
            Record::Other(kind) => Row { columns: &[], cells: vec![time, styled(visible(kind), DIM)], below: Vec::new() },
        };
        let mut text = String::new();
        if self.last != record.kind() {
            if !self.last.is_empty() {
                text.push('\n');
            }
            if !row.columns.is_empty() {
                let head: Vec<Cell> = row.columns.iter().map(|(name, _)| styled(*name, HEAD)).collect();
                self.line(&mut text, "", &head, row.columns);
            }
            self.last = record.kind().to_owned();
        }
        self.line(&mut text, "", &row.cells, row.columns);
        for below in &row.below {
            // The first cell of a line below is its label; labels of one block align.
            self.line(&mut text, "    ", below, &[("", 9), ("", 0)]);
        }
        text
    }

    fn line(&self, text: &mut String, indent: &str, cells: &[Cell], columns: &[(&str, i8)]) {
        let mut used = indent.width();
        text.push_str(indent);
        for (at, Cell { text: words, style, is_free }) in cells.iter().enumerate() {
            let last = at + 1 == cells.len();
            let column = columns.get(at).map_or(0, |(_, width)| *width);
            let mut words = words.clone();
            if let (true, Some(width)) = (*is_free, self.width) {
                words = words::shorten(&words, width.saturating_sub(used).max(LEAST_FREE_TEXT));
            }
            let missing = (column.unsigned_abs() as usize).saturating_sub(words.width());
            used += words.width() + missing + 2;
            if column < 0 {
                text.extend(std::iter::repeat_n(' ', missing));
            }
            if self.colour && *style != PLAIN {
                text.push_str(&format!("{style}{words}{style:#}"));
            } else {
                text.push_str(&words);
            }
            if !last {
                let fill = if column < 0 { 0 } else { missing };
                text.extend(std::iter::repeat_n(' ', fill + 2));
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
}

/// Yes, no and cannot tell, in words.
fn answer(ok: Option<bool>, yes: &str, no: &str, unknown: &str) -> Cell {
    match ok {
        Some(true) => styled(yes, GOOD),
        Some(false) => styled(no, BAD),
        None => styled(unknown, DOUBT),
    }
}

fn path(path: &RecordPath) -> String {
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
    notes.extend(body.error.as_deref().map(visible));
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
    Row {
        columns: &[("TIME (UTC)", 19), ("HEALTH", 7), ("ERRORS", -8), ("RESPONSE", -8), ("CPU", -5), ("MEMORY", -6), ("REQUESTS", -8), ("NOTES", 0)],
        cells: vec![
            time,
            answer(body.up.known().copied(), "up", "down", "unknown"),
            metric(&errors, percent),
            metric(&body.response_ms, |ms| format!("{ms:.0} ms")),
            metric(&body.cpu_usage, percent),
            metric(&body.memory_usage, percent),
            metric(&body.requests, |requests| format!("{requests:.0}")),
            free(notes.join(", "), style),
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
        columns: &[("TIME (UTC)", 19), ("CHANGE", 20), ("TARGET", 20), ("WHAT", 0)],
        cells: vec![time, cell(or_dash(body.id.as_deref())), cell(visible(&body.target)), free(notes.join(", "), PLAIN)],
        below: Vec::new(),
    }
}

fn signal(time: Cell, body: &Signal) -> Row {
    let cleared = body.cleared == Some(true);
    let since = body.since.map_or_else(String::new, |since| format!("since {}", clock(since)));
    Row {
        columns: &[("TIME (UTC)", 19), ("SIGNAL", 20), ("STATE", 7), ("SOURCE", 10), ("TARGET", 20), ("SINCE", 0)],
        cells: vec![
            time,
            cell(visible(&body.signal)),
            if cleared { styled("cleared", GOOD) } else { styled("raised", BAD) },
            cell(or_dash(body.source.as_deref())),
            cell(or_dash(body.target.as_deref())),
            cell(since),
        ],
        below: Vec::new(),
    }
}

fn operator(time: Cell, body: &Operator) -> Row {
    let until = body.until.map(|until| format!("until {}", clock(until)));
    let about = [until, body.decision.as_deref().map(|id| format!("decision {}", visible(id))), body.version.as_deref().map(visible)];
    Row {
        columns: &[("TIME (UTC)", 19), ("OPERATOR", 9), ("ABOUT", 0)],
        cells: vec![time, styled(visible(&body.verb), HEAD), cell(about.into_iter().flatten().collect::<Vec<_>>().join(", "))],
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
    let mut below: Vec<Vec<Cell>> = Vec::new();
    for reason in &body.reasons {
        let held = reason.held_s.map_or_else(String::new, |s| format!(", held {}", span(s as i64)));
        let (rule, metric) = (visible(&reason.rule), visible(&reason.metric));
        let (observed, threshold) = (visible(&reason.observed.to_string()), visible(&reason.threshold));
        below.push(vec![cell("because"), cell(format!("{rule}: {metric} {observed}, limit {threshold}{held}"))]);
    }
    for suspect in &body.suspects {
        let when = span(suspect.before_onset_s as i64);
        let change = suspect.change.as_deref().map_or_else(String::new, |id| format!(" (change {})", visible(id)));
        below.push(vec![cell("suspect"), cell(format!("{}{change}, {when} before onset", visible(&suspect.target)))]);
    }
    if !body.notes.is_empty() {
        below.push(vec![cell("notes"), cell(visible(&body.notes.join(", ")))]);
    }
    if body.overdue || body.reminder {
        let what = if body.overdue { "nobody has answered and the deadline has passed" } else { "nobody has answered yet" };
        below.push(vec![styled("reminder", DOUBT), cell(what)]);
    }
    if body.is_rollouts_question() {
        below.push(vec![cell("to act"), cell(format!("eco-ctl resume goes on, eco-ctl reject {} rolls back", visible(&body.id)))]);
    } else if body.action == Action::Propose {
        below.push(vec![cell("to act"), cell(format!("eco-ctl approve {}, or eco-restore --approve on this stream", visible(&body.id)))]);
    }
    Row {
        columns: &[("TIME (UTC)", 19), ("SEVERITY", 8), ("ACTION", 11), ("SCOPE", 20), ("SNAPSHOT", 8), ("DEADLINE", 0)],
        cells: vec![
            time,
            severity,
            action,
            cell(body.scope.as_ref().map_or_else(|| "-".to_owned(), |scope| visible(&scope.to_string()))),
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
    notes.extend(body.path.as_ref().map(path));
    Row {
        columns: &[
            ("ID", 6),
            ("TIME (UTC)", 19),
            ("AGE", -11),
            ("KIND", 14),
            ("HEALTH", 7),
            ("GOOD", 4),
            ("VERIFIED", 8),
            ("FILES", -7),
            ("SIZE", -8),
            ("WHERE", 0),
        ],
        cells: vec![
            styled(id6(&body.id), HEAD),
            time,
            cell(span(age.max(0))),
            cell(or_dash(body.kind.as_deref())),
            health,
            answer(body.good, "yes", "no", "-"),
            answer(body.verified, "yes", "no", "-"),
            cell(body.files.map_or_else(|| "-".to_owned(), |files| files.to_string())),
            cell(body.bytes.map_or_else(|| "-".to_owned(), size)),
            free(notes.join(", "), PLAIN),
        ],
        below: Vec::new(),
    }
}

fn entry(body: &Entry) -> Row {
    let owner = |name: &Option<String>, id: u64| name.as_deref().map_or_else(|| id.to_string(), visible);
    let link = body.link.as_deref().map_or_else(String::new, |link| format!(" -> {}", visible(link)));
    Row {
        columns: &[("KIND", 8), ("MODE", 5), ("OWNER", 17), ("SIZE", -8), ("MODIFIED (UTC)", 19), ("PATH", 0)],
        cells: vec![
            cell(visible(&body.kind)),
            cell(visible(&body.mode)),
            cell(format!("{}:{}", owner(&body.user, body.uid), owner(&body.group, body.gid))),
            cell(body.size_bytes.map_or_else(|| "-".to_owned(), size)),
            cell(clock(body.mtime)),
            free(format!("{}{link}", path(&body.path)), PLAIN),
        ],
        below: Vec::new(),
    }
}

fn verification(time: Cell, body: &Verification) -> Row {
    let mut below: Vec<Vec<Cell>> = Vec::new();
    for damage in &body.damage {
        let why = damage.why.as_deref().map_or_else(String::new, |why| format!(", {}", visible(why)));
        below.push(vec![styled("damaged", BAD), cell(format!("{}: {}{why}", path(&damage.path), visible(&damage.what)))]);
    }
    below.extend(body.warnings.iter().map(|warning| vec![styled("warning", DOUBT), cell(visible(warning))]));
    below.extend(body.error.iter().map(|error| vec![styled("error", BAD), cell(visible(error))]));
    Row {
        columns: &[("TIME (UTC)", 19), ("ID", 6), ("RESULT", 11), ("DEPTH", 8), ("FILES", -7), ("SIZE", -8), ("TOOK", -7), ("ARCHIVE", 0)],
        cells: vec![
            time,
            styled(id6(&body.snapshot), HEAD),
            answer(body.ok, "ok", "damaged", "cannot tell"),
            cell(body.sample.map_or_else(|| visible(&body.depth), |share| format!("{:.3}%", share * 100.0).replace(".000%", "%"))),
            cell(body.files.to_string()),
            cell(size(body.bytes)),
            cell(millis(body.took_ms)),
            free(path(&body.archive), PLAIN),
        ],
        below,
    }
}

fn difference(body: &Difference) -> Row {
    let details = if body.details.is_empty() { String::new() } else { format!(" ({})", visible(&body.details.join(", "))) };
    let style = if body.what == "deleted" { BAD } else { PLAIN };
    Row {
        columns: &[("ID", 6), ("WHAT", 8), ("PATH", 0)],
        cells: vec![cell(id6(&body.snapshot)), styled(visible(&body.what), style), free(format!("{}{details}", path(&body.path)), PLAIN)],
        below: Vec::new(),
    }
}

/// What a rollback does to the tree, in one line.
fn changes(created: u64, updated: u64, deleted: u64, kept: u64, preserved: u64) -> String {
    format!("{created} created, {updated} updated, {deleted} deleted; {kept} the same, {preserved} preserved")
}

fn plan(time: Cell, body: &Plan) -> Row {
    let what = match (&body.snapshot, &body.target) {
        (Some(snapshot), Some(target)) => format!("unpack {} of snapshot {} into {}", visible(&body.scope), id6(snapshot), visible(target)),
        (Some(snapshot), None) => format!("roll back {} to snapshot {}", visible(&body.scope), id6(snapshot)),
        (None, _) if body.roots.is_empty() => format!("roll back {}; no snapshot is needed", visible(&body.scope)),
        (None, _) => format!("bring back {} as it was before a rollback", visible(&body.scope)),
    };
    let mut below = vec![vec![cell("roots"), cell(if body.roots.is_empty() { "none".to_owned() } else { visible(&body.roots.join(", ")) })]];
    // Without a snapshot nothing is compared and nothing is written: the trees change places as they are.
    if body.snapshot.is_some() {
        below.push(vec![cell("changes"), cell(changes(body.created, body.updated, body.deleted, body.kept, body.preserved))]);
        below.push(vec![cell("to write"), cell(size(body.bytes))]);
    }
    if let Some(loss) = body.data_loss_s {
        below.push(vec![cell("data"), styled(format!("what was written in the last {} is set aside, not lost", span(loss)), DOUBT)]);
    }
    let how = body.guarantee.as_ref().map_or(visible(&body.strategy), |means| format!("{}: {}", visible(&body.strategy), visible(means)));
    below.push(vec![cell("how"), cell(how)]);
    below.push(vec![cell("service"), cell(visible(&body.control))]);
    let verify =
        if body.verify.is_empty() { styled("not checked: nothing is configured", DOUBT) } else { cell(visible(&body.verify.join(", then "))) };
    below.push(vec![cell("verify"), verify]);
    below.extend(body.examples.iter().enumerate().map(|(at, example)| {
        let label = if at == 0 { "first" } else { "" };
        vec![cell(label), cell(format!("{:8} {}", visible(&example.what), path(&example.path)))]
    }));
    let total = body.created + body.updated + body.deleted;
    let shown = body.examples.len() as u64;
    if shown > 0 && total > shown {
        below.push(vec![cell(""), cell(format!("… and {} more", total - shown))]);
    }
    Row { columns: &[], cells: vec![time, styled(format!("plan {}: {what}", id6(&body.restore)), HEAD)], below }
}

fn step(time: Cell, body: &Step) -> Row {
    // A note that begins with the answer would say it twice.
    let note = body.note.as_deref().map_or("", |note| note.strip_prefix("not checked: ").unwrap_or(note));
    Row {
        columns: &[("TIME (UTC)", 19), ("STEP", 16), ("RESULT", 11), ("TOOK", -9), ("NOTE", 0)],
        cells: vec![time, cell(visible(&body.step)), answer(body.ok, "ok", "failed", "not checked"), cell(millis(body.took_ms)), cell(visible(note))],
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
    let mut what = format!("rollback {} of {} {word}", id6(&body.id), visible(&body.scope));
    if let Some(snapshot) = &body.snapshot {
        what.push_str(&format!(", snapshot {}", id6(snapshot)));
    }
    match (&body.decision, body.by.as_deref()) {
        (Some(decision), _) => what.push_str(&format!(", decision {}", visible(decision))),
        (None, Some(by)) => what.push_str(&format!(", by {}", visible(by))),
        (None, None) => {}
    }
    let mut below: Vec<Vec<Cell>> = Vec::new();
    below.extend(body.error.iter().map(|why| vec![styled("why", BAD), cell(visible(why))]));
    below.extend(body.undoes.iter().map(|id| vec![cell("undoes"), cell(format!("rollback {}", id6(id)))]));
    if let (Some(created), Some(updated), Some(deleted)) = (body.created, body.updated, body.deleted) {
        let text = changes(created, updated, deleted, body.kept.unwrap_or(0), body.preserved.unwrap_or(0));
        below.push(vec![cell("changes"), cell(text)]);
    }
    if let Some(took) = body.took_ms {
        let down = body.downtime_ms.map_or_else(String::new, |ms| format!(", service down {}", millis(ms)));
        let hooks = body.hooks_ms.map_or_else(String::new, |ms| format!(" ({} of it its stop and start commands)", millis(ms)));
        below.push(vec![cell("time"), cell(format!("{}{down}{hooks}", millis(took)))]);
    }
    if body.phase == "completed" {
        if let Some(loss) = body.data_loss_s {
            let fate = if body.safety.is_some() { "set aside, not lost" } else { "no longer in the tree" };
            below.push(vec![cell("data"), styled(format!("what was written in the last {} is {fate}", span(loss)), DOUBT)]);
        }
        if let Some(safety) = &body.safety {
            below.push(vec![cell("safety"), cell(format!("{} keeps the state from before", visible(safety)))]);
            below.push(vec![cell("undo"), styled(format!("eco-restore --undo {}", words::shell_word(safety)), HEAD)]);
        }
    }
    Row { columns: &[], cells: vec![time, styled(what, style)], below }
}

fn control(time: Cell, body: &Control) -> Row {
    let result = match body.verb.as_str() {
        "status" => answer(body.ok, "running", "not running", "cannot tell"),
        _ => answer(body.ok, "ok", "failed", "cannot tell"),
    };
    let mut notes: Vec<String> = body.note.iter().map(|note| visible(note)).collect();
    notes.extend(body.pid.map(|pid| format!("pid {pid}")));
    Row {
        columns: &[("TIME (UTC)", 19), ("DO", 8), ("UNIT", 20), ("RESULT", 11), ("TOOK", -9), ("NOTE", 0)],
        cells: vec![
            time,
            cell(visible(&body.verb)),
            cell(body.unit.as_ref().map_or_else(|| "the service".to_owned(), |unit| visible(&unit.to_string()))),
            result,
            cell(millis(body.took_ms)),
            free(notes.join(", "), PLAIN),
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
    let mut below: Vec<Vec<Cell>> = Vec::new();
    for reason in &body.reasons {
        let requests = reason.requests.map_or_else(String::new, |requests| format!(", {requests} requests"));
        let window = reason.window_s.map_or_else(String::new, |s| format!(" in {}", span(s as i64)));
        let stable = reason.stable.map_or_else(String::new, |rate| format!("; the version before: {rate}"));
        let (metric, observed, limit) = (visible(&reason.metric), visible(&reason.observed.to_string()), visible(&reason.threshold));
        below.push(vec![cell("because"), cell(format!("{metric} {observed}, limit {limit}{requests}{window}{stable}"))]);
    }
    match body.state.as_str() {
        "paused" => below.push(vec![cell("to act"), cell("eco-ctl resume goes on, eco-ctl reject rolls back")]),
        "stuck" => below.push(vec![cell("to act"), styled("mend it by hand, or eco-ctl reject: tries to roll back again", BAD)]),
        _ => {}
    }
    Row {
        columns: &[("TIME (UTC)", 19), ("VERSION", 20), ("TARGET", 20), ("PHASE", 10), ("STATE", 12), ("TRAFFIC", -7), ("NOTES", 0)],
        cells: vec![
            time,
            cell(visible(&body.version)),
            cell(visible(&body.target.to_string())),
            cell(or_dash(body.phase.as_deref())),
            styled(visible(&body.state), style),
            cell(body.exposure.map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"))),
            free(visible(&body.notes.join(", ")), PLAIN),
        ],
        below,
    }
}

fn gate(time: Cell, body: &Gate) -> Row {
    // What a check that passed has printed is nobody's concern.
    let output = body.output.as_deref().filter(|_| !body.ok).unwrap_or_default();
    Row {
        columns: &[("TIME (UTC)", 19), ("CHECK", 16), ("RESULT", 6), ("TOOK", -9), ("WHY", 0)],
        cells: vec![
            time,
            styled(visible(&body.check), HEAD),
            answer(Some(body.ok), "passed", "FAILED", ""),
            cell(millis((body.took_s * 1000.0) as u64)),
            cell(body.error.as_deref().map_or_else(String::new, visible)),
        ],
        below: output.lines().map(|line| vec![cell(""), cell(visible(line))]).collect(),
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
        columns: &[("WHAT", 9), ("ID", 6), ("AGE", -11), ("KIND", 14), ("SIZE", -8), ("WHY", 0)],
        cells: vec![
            styled(word, style),
            styled(id6(&body.snapshot), HEAD),
            cell(body.taken.map_or_else(|| "-".to_owned(), |taken| span(seconds_between(taken, now).max(0)))),
            cell(or_dash(body.kind.as_deref())),
            cell(body.archive_bytes.map_or_else(|| "-".to_owned(), size)),
            // All of it: this is what a person decides by.
            cell(visible(&body.reasons.join("; "))),
        ],
        below: body.error.iter().map(|error| vec![styled("error", BAD), cell(visible(error))]).collect(),
    }
}

#[cfg(test)]
mod tests;
