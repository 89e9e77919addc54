//! What went well, badly or by luck, and what to ask next: drafts, each from a fact in the stream, none from an opinion.

use super::action::{before, free};
use super::incident::{Incident, Run};
use super::rollback::{Taken, damaged, snapshots, touches_data, undone, window};
use super::timeline::Axis;
use super::words::{clock, count, id6, list, span};
use super::{Report, State, Story, health};
use crate::record::{Action, Decision, Record};
use crate::time::{Timestamp, seconds_between};
use std::collections::BTreeMap;

/// A snapshot that is this much older than the cut was there by minutes only.
const BY_MINUTES_S: i64 = 900;

/// A gate that was passed longer ago than this was about something else.
const GATE_S: i64 = 86_400;

/// Snapshots are taken at least this often.
const DAY_S: i64 = 86_400;

/// Fills in the sections that a person will go on with.
pub(super) fn learn(report: &mut Report, story: &Story, axis: &Axis) {
    let incident = axis.incident;
    let taken = snapshots(story, incident.home);
    let used = incident.runs.iter().find_map(|run| run.said.snapshot.as_deref().and_then(|id| taken.get(id).copied()));
    deadlines(report, incident);
    rollbacks(report, incident);
    proof(report, story, incident, used);
    guards(report, incident);
    monitoring(report);
    data(report, incident, used);
    cause(report, story, axis);
    gate(report, story, axis);
    flickers(report, axis);
    newest(report, axis, &taken);
}

/// Whether what is suspected went past the checks that come before a deployment.
fn gate(report: &mut Report, story: &Story, axis: &Axis) {
    let incident = axis.incident;
    let Some(suspect) = incident.decisions.iter().rev().find_map(|(_, decision)| decision.suspects.first()) else { return };
    let Some(onset) = incident.onset() else { return };
    let changed = onset.as_second().saturating_sub(suspect.before_onset_s as i64);
    let gates: Vec<_> = story
        .events
        .iter()
        .filter(|event| {
            story.home(&event.stamp) == incident.home && (changed.saturating_sub(GATE_S)..=changed).contains(&event.stamp.time.as_second())
        })
        .filter_map(|event| if let Record::Gate(gate) = &event.record { Some(gate) } else { None })
        .collect();
    let mut last: BTreeMap<&str, bool> = BTreeMap::new();
    last.extend(gates.iter().map(|gate| (gate.check.as_str(), gate.ok)));
    let refused: Vec<String> = last.iter().filter(|(_, ok)| !**ok).map(|(check, _)| free(check)).collect();
    if last.is_empty() {
        report.lessons.push("No gate stands in the stream in the day before the suspected change: was it skipped?".to_owned());
        report.prevention.push("Let eco-gate decide before every change whether it goes out.".to_owned());
    } else if refused.is_empty() {
        report
            .lessons
            .push(format!("The gate let the suspected change pass ({}): which check would have stopped it?", count(last.len() as u64, "check")));
    } else {
        report.badly.push(format!("The gate had not passed before the suspected change: {}.", list(&refused)));
        report.lessons.push("The suspected change went out although the gate had not passed: who decided that, and on what grounds?".to_owned());
    }
}

/// Rules that had almost fired before.
fn flickers(report: &mut Report, axis: &Axis) {
    for (rule, often, _) in health::flickers(axis.samples, axis.limits, axis.normal, axis.zero) {
        report.lessons.push(format!("The limit of {} was crossed {} in the day before: was that the same trouble?", free(&rule), times(often)));
    }
}

/// How old the newest snapshot that could be trusted was when the trouble began.
fn newest(report: &mut Report, axis: &Axis, taken: &BTreeMap<&str, Taken>) {
    let Some(onset) = axis.incident.onset() else { return };
    let trusted =
        taken.values().filter(|(time, snapshot)| *time <= onset && snapshot.verified == Some(true) && snapshot.kind.as_deref() != Some("safety"));
    let Some(time) = trusted.map(|(time, _)| *time).max() else {
        if !taken.is_empty() {
            report.badly.push("No verified snapshot from before the onset stands in the stream.".to_owned());
        }
        return;
    };
    let age = seconds_between(time, onset);
    if age > DAY_S {
        report.badly.push(format!("The newest verified snapshot was {} old when the trouble began.", span(age)));
        report.prevention.push("Take a snapshot every day, and look after the schedule that does it.".to_owned());
    }
}

/// The earliest deadline that a decision set, and when somebody acted on it.
fn deadlines(report: &mut Report, incident: &Incident) {
    let deadline = incident.decisions.iter().filter_map(|(_, decision)| decision.deadline).min();
    let acted = incident.runs.iter().filter(|run| run.said.undoes.is_none()).filter_map(|run| run.started.or(run.completed())).min();
    match (deadline, acted) {
        (Some(deadline), Some(acted)) if acted <= deadline => {
            report.well.push(format!("The rollback began {}.", before(seconds_between(acted, deadline), "its deadline")));
        }
        // A deadline of "at once" is met by whoever begins within the minute.
        (Some(deadline), Some(acted)) if seconds_between(deadline, acted) > 60 => {
            report.badly.push(format!("The rollback began {}.", before(seconds_between(acted, deadline), "its deadline")));
        }
        _ => {}
    }
    let reminders = incident.decisions.iter().filter(|(_, decision)| decision.reminder).count() as u64;
    if reminders > 0 {
        let overdue = if incident.decisions.iter().any(|(_, decision)| decision.overdue) { ", past the deadline too" } else { "" };
        report.badly.push(format!("Nobody answered for so long that the policy reminded {}{overdue}.", times(reminders)));
        report.lessons.push("Who was meant to see the decision, and how did it reach them?".to_owned());
    }
    if report.state == State::Resolved {
        report.well.push("Recovery is proven: a decision closed the incident on healthy samples.".to_owned());
    }
}

fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

fn rollbacks(report: &mut Report, incident: &Incident) {
    for run in &incident.runs {
        let name = if run.id.is_empty() { "The rollback".to_owned() } else { format!("Rollback {}", id6(run.id)) };
        match run.ended.map(|(_, end)| end.phase.as_str()) {
            Some("completed") => {}
            Some("reverted") => report.badly.push(format!("{name} did not prove healthy and was swapped back.")),
            Some("failed") => report.badly.push(format!("{name} failed.")),
            _ => report.badly.push(format!("{name} has no end in the stream.")),
        }
        if run.completed().is_some() && run.said.safety.is_some() {
            report.well.push(format!("{name} kept the state from before."));
        }
        let steps =
            |ok: Option<bool>| -> Vec<String> { run.steps.iter().filter(|(_, step)| step.ok == ok).map(|(_, step)| free(&step.step)).collect() };
        let (failed, unchecked) = (steps(Some(false)), steps(None));
        if !run.steps.is_empty() && failed.is_empty() && unchecked.is_empty() {
            report.well.push(format!("{name}: every step ended ok ({}).", run.steps.len()));
        }
        if !failed.is_empty() {
            report.badly.push(format!("Steps that failed: {}.", list(&failed)));
        }
        if !unchecked.is_empty() {
            report.badly.push(format!("Steps that were not checked: {}.", list(&unchecked)));
            report.prevention.push(format!("Configure what was not checked during the rollback: {}.", list(&unchecked)));
        }
        if let Some(time) = undone(incident, run) {
            report.badly.push(format!("{name} was undone at {}.", clock(time)));
        }
    }
    if incident.decisions.iter().any(|(_, decision)| decision.notes.iter().any(|note| note == "rollback-ineffective")) {
        report.badly.push("The rollback did not help: the policy handed the incident to a person.".to_owned());
        report.lessons.push("The trouble outlived the rollback: was the wrong thing rolled back, or is the cause outside?".to_owned());
    }
}

fn proof(report: &mut Report, story: &Story, incident: &Incident, used: Option<Taken>) {
    let Some((time, snapshot)) = used else { return };
    let name = id6(&snapshot.id);
    let damaged = damaged(story, &snapshot.id);
    match (damaged, snapshot.verified) {
        (Some(time), _) => report.badly.push(format!("Snapshot {name} was found DAMAGED at {}.", clock(time))),
        (None, Some(true)) => report.well.push(format!("Snapshot {name} had been read back in full before it was used.")),
        (None, _) => {
            report.badly.push(format!("No record says that snapshot {name} had been read back in full."));
            report.prevention.push("Verify snapshots when they are taken, with eco-verify.".to_owned());
        }
    }
    let limit = incident.decisions.iter().filter_map(|(_, decision)| decision.cut).next_back().or(incident.onset());
    if let Some(limit) = limit
        && (0..=BY_MINUTES_S).contains(&seconds_between(time, limit))
    {
        let early = before(seconds_between(time, limit), "the moment from which on the trouble may have been in every snapshot");
        report.luck.push(format!("Snapshot {name} was taken only {early}."));
    }
}

fn guards(report: &mut Report, incident: &Incident) {
    let noted = |word: &str| incident.news().any(|(_, decision)| decision.notes.iter().any(|note| note == word));
    let held = [
        ("hold", "an operator's hold"),
        ("untrusted", "an alarm from a source that is not trusted"),
        ("unverified", "a snapshot that was not verified"),
        ("old", "a snapshot that was too old"),
        ("irreversible", "a change that cannot be undone"),
        ("ambiguous", "more than one suspect"),
    ];
    for (_, what) in held.iter().filter(|(word, _)| noted(word)) {
        report.well.push(format!("A guard kept the rollback from being automatic: {what}."));
    }
    for (word, what) in [
        ("no-point", "there was no snapshot that could be used"),
        ("limit", "there had been too many automatic rollbacks already"),
        ("cooldown", "it got worse right after a rollback"),
        ("rollback-failed", "the rollback failed"),
    ] {
        if noted(word) {
            report.badly.push(format!("The policy had no safe move left: {what}."));
        }
    }
    if noted("no-point") {
        report.prevention.push("Take and verify snapshots often enough that one from before any trouble exists.".to_owned());
    }
    if let Some(reopened) = incident.decisions.iter().filter_map(|(_, decision)| decision.reopened).max() {
        report.badly.push(format!("The incident came back after it had been closed, {}.", times(reopened)));
    }
}

fn monitoring(report: &mut Report) {
    if !report.quality.gaps.is_empty() {
        report.badly.push(format!("The monitoring was silent during the incident, {}.", times(report.quality.gaps.len() as u64)));
        report.lessons.push("Why was the monitoring silent when it was needed?".to_owned());
    }
}

fn data(report: &mut Report, incident: &Incident, used: Option<Taken>) {
    let costly = |run: &&Run| touches_data(run) && run.completed().is_some() && run.said.undoes.is_none() && undone(incident, run).is_none();
    let Some(run) = incident.runs.iter().find(costly) else { return };
    let Some((from, to)) = window(incident, run, used) else { return };
    let lost = seconds_between(from, to);
    if lost > BY_MINUTES_S {
        report.badly.push(format!("Going back cost {} of data.", span(lost)));
        report.lessons.push(format!("Does anything from the {} that were set aside have to be brought back?", span(lost)));
        report.prevention.push("Take snapshots more often, and one before every change: eco-snap with kind pre-deployment.".to_owned());
    }
}

fn cause(report: &mut Report, story: &Story, axis: &Axis) {
    let suspects: Vec<_> = axis.incident.decisions.iter().flat_map(|(_, decision)| &decision.suspects).collect();
    let onset = axis.incident.onset();
    if let (true, Some(onset)) = (suspects.is_empty(), onset)
        && !changed_before(story, axis, onset)
    {
        report.lessons.push("No change stands in the stream in the two hours before the onset: was something changed without a record?".to_owned());
    }
    if !suspects.is_empty() {
        report.lessons.push("A change is suspected, no more: what would prove that it was the cause, and could a test have shown it?".to_owned());
    }
    if axis.incident.decisions.is_empty() {
        report.lessons.push("No decision stands in the stream: did a rule miss this, or was no policy running?".to_owned());
    }
    if let Some((onset, detected)) = onset.zip(axis.incident.detected()) {
        let took = seconds_between(onset, detected);
        if took > 0 {
            report.lessons.push(format!("It took {} from the onset to the first decision: would a shorter proof have been safe?", span(took)));
        }
    }
    let escalated = |decision: &&Decision| decision.action == Action::Escalate;
    if axis.incident.news().map(|(_, decision)| *decision).any(|decision| escalated(&decision)) && axis.incident.resolved().is_some() {
        report.lessons.push("A person ended what the policy could not: what did they know that no rule knows?".to_owned());
    }
}

fn changed_before(story: &Story, axis: &Axis, onset: Timestamp) -> bool {
    story.events.iter().any(|event| {
        let age = seconds_between(event.stamp.time, onset);
        matches!(event.record, Record::Change(_)) && story.home(&event.stamp) == axis.incident.home && (0..=7200).contains(&age)
    })
}
