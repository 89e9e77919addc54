//! One record in one sentence, as plain text.

use super::health::observed;
use super::words::{clock, id6, millis, shorten, span};
use crate::record::{
    Action, Change, Control, Decision, Gate, Operator, Plan, Reason, Record, Restore, Rollout, Severity, Signal, Snapshot, Step, Verification,
};

/// Free text from records is cut after so many characters: a report is read by people.
const FREE_TEXT: usize = 300;

/// What a record says, if it says that something was done or found.
pub(super) fn sentence(record: &Record) -> Option<String> {
    let text = match record {
        Record::Change(body) => change(body),
        Record::Signal(body) => signal(body),
        Record::Operator(body) => operator(body),
        Record::Decision(body) => decision(body),
        Record::Snapshot(body) => snapshot(body),
        Record::Verification(body) => verification(body),
        Record::Plan(body) => plan(body),
        Record::Step(body) => step(body),
        Record::Restore(body) => restore(body),
        Record::Control(body) => control(body),
        Record::Rollout(body) => rollout(body),
        Record::Gate(body) => gate(body),
        Record::Retention(body) if body.removed => format!("snapshot {} removed: {}", id6(&body.snapshot), free(&body.reasons.join(", "))),
        Record::Retention(_) | Record::Health(_) | Record::Entry(_) | Record::Difference(_) | Record::Other(_) => return None,
    };
    Some(text)
}

/// Free text from a record, not longer than a person will read.
pub(super) fn free(text: &str) -> String {
    shorten(text, FREE_TEXT)
}

pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Unknown => "unknown",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// A rule with what it saw: `errors-25: error_rate 0.31 > 0.25`.
pub(super) fn reason(reason: &Reason) -> String {
    format!("{}: {} {}, limit {}", reason.rule, reason.metric, free(&observed(&reason.observed)), reason.threshold)
}

fn gate(body: &Gate) -> String {
    let why = body.error.as_deref().map_or_else(String::new, |why| format!(": {}", free(why)));
    format!("gate: {} {}{why}", free(&body.check), if body.ok { "passed" } else { "did not pass" })
}

fn change(body: &Change) -> String {
    let id = body.id.as_deref().map_or_else(String::new, |id| format!(" {id}"));
    let from = body.from.as_deref().map_or_else(String::new, |from| format!(" from {from}"));
    let to = body.to.as_deref().map_or_else(String::new, |to| format!(" to {to}"));
    let affects = if body.affects.is_empty() { String::new() } else { format!(", affects {}", body.affects.join(", ")) };
    let once = if body.reversible == Some(false) { ", not reversible" } else { "" };
    free(&format!("change{id}: {}{from}{to}{affects}{once}", body.target))
}

fn signal(body: &Signal) -> String {
    let source = body.source.as_deref().map_or_else(String::new, |source| format!(" by {source}"));
    let target = body.target.as_deref().map_or_else(String::new, |target| format!(", blames {target}"));
    let since = body.since.map_or_else(String::new, |since| format!(", since {}", clock(since)));
    let verb = if body.cleared == Some(true) { "cleared" } else { "raised" };
    free(&format!("signal {} {verb}{source}{target}{since}", body.signal))
}

fn operator(body: &Operator) -> String {
    let until = body.until.map_or_else(String::new, |until| format!(" until {}", clock(until)));
    let decision = body.decision.as_deref().map_or_else(String::new, |id| format!(" decision {id}"));
    let version = body.version.as_deref().map_or_else(String::new, |version| format!(" version {version}"));
    free(&format!("operator: {}{decision}{version}{until}", body.verb))
}

pub(super) fn decision(body: &Decision) -> String {
    let scope = body.scope.as_ref().map_or_else(String::new, |scope| format!(" {scope}"));
    let snapshot = body.snapshot.as_deref().map_or_else(String::new, |id| format!(" to snapshot {}", id6(id)));
    let what = match body.action {
        Action::Watch => "watch".to_owned(),
        Action::Investigate => "investigate".to_owned(),
        Action::Propose => format!("propose to roll back{scope}{snapshot}"),
        Action::Rollback => format!("roll back{scope}{snapshot}"),
        Action::Escalate => format!("escalate{scope} to a person"),
        Action::Resolved => "resolved, healthy again".to_owned(),
    };
    let reasons: Vec<String> = body.reasons.iter().map(reason).collect();
    let because = if reasons.is_empty() { String::new() } else { format!("; {}", reasons.join("; ")) };
    let notes = if body.notes.is_empty() { String::new() } else { format!("; notes: {}", body.notes.join(", ")) };
    let said = match (body.overdue, body.reminder) {
        (true, _) => "overdue reminder",
        (false, true) => "reminder",
        (false, false) => "decision",
    };
    free(&format!("{said}: {}, {what}{because}{notes}", severity(body.severity)))
}

fn snapshot(body: &Snapshot) -> String {
    let kind = body.kind.as_deref().map_or_else(String::new, |kind| format!(", {kind}"));
    let verified = if body.verified == Some(true) { ", verified" } else { "" };
    format!("snapshot {} taken{kind}{verified}", id6(&body.id))
}

fn verification(body: &Verification) -> String {
    let found = match (body.ok, body.damage.len()) {
        (Some(true), _) => "found right".to_owned(),
        (Some(false), 1) => "DAMAGED in 1 place".to_owned(),
        (Some(false), places) => format!("DAMAGED in {places} places"),
        (None, _) => "could not be checked".to_owned(),
    };
    let depth = body.sample.map_or_else(|| body.depth.clone(), |share| format!("a sample of {}% of the {}", share * 100.0, body.depth));
    format!("snapshot {} read back ({depth}): {found}", id6(&body.snapshot))
}

fn plan(body: &Plan) -> String {
    let to = body.snapshot.as_deref().map_or_else(String::new, |id| format!(" to snapshot {}", id6(id)));
    let into = body.target.as_deref().map_or_else(String::new, |target| format!(" into {target}"));
    let Plan { scope, created, updated, deleted, .. } = body;
    free(&format!("plan {}: {scope}{to}{into}, {created} to create, {updated} to update, {deleted} to delete", id6(&body.restore)))
}

fn step(body: &Step) -> String {
    let result = match body.ok {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "not checked",
    };
    // A note that begins with the answer would say it twice.
    let note = body.note.as_deref().map_or("", |note| note.strip_prefix("not checked: ").unwrap_or(note));
    let note = if note.is_empty() { String::new() } else { format!(": {note}") };
    free(&format!("step {} {result}, {}{note}", body.step, millis(body.took_ms)))
}

fn restore(body: &Restore) -> String {
    let undo = body.undoes.as_deref().map(|id| format!("undo of rollback {}", id6(id)));
    let what = match (undo, body.id.is_empty()) {
        (Some(undo), _) => undo,
        (None, true) => format!("rollback of {}", body.scope),
        (None, false) => format!("rollback {} of {}", id6(&body.id), body.scope),
    };
    let by = if body.by.as_deref() == Some("operator") { ", asked for by the operator" } else { "" };
    let phase = match body.phase.as_str() {
        "reverted" => "REVERTED, the tree from before is back",
        "failed" => "FAILED",
        other => other,
    };
    let why = body.error.as_deref().map_or_else(String::new, |why| format!(": {why}"));
    let exit = body.exit.filter(|exit| *exit != 0).map_or_else(String::new, |exit| format!(" (exit status {exit})"));
    free(&format!("{what} {phase}{by}{why}{exit}"))
}

fn control(body: &Control) -> String {
    let unit = body.unit.as_ref().map_or_else(|| "the service".to_owned(), ToString::to_string);
    let result = match body.ok {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "cannot tell",
    };
    let note = body.note.as_deref().map_or_else(String::new, |note| format!(": {note}"));
    free(&format!("control: {} {unit} {result}{note}", body.verb))
}

fn rollout(body: &Rollout) -> String {
    let exposure = body.exposure.map_or_else(String::new, |percent| format!(", it gets {percent} % of the traffic"));
    let why = if body.notes.is_empty() { String::new() } else { format!(": {}", body.notes.join(", ")) };
    free(&format!("rollout of {}: {}{why}{exposure}", body.version, body.state.replace('_', " ")))
}

/// `2 min before the onset`, or after it.
pub(super) fn before(seconds: i64, what: &str) -> String {
    if seconds < 0 { format!("{} after {what}", span(seconds.saturating_neg())) } else { format!("{} before {what}", span(seconds)) }
}
