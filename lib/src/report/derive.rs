//! A story -> the report: every field from a record, or nothing.

use super::action::{self, before, free};
use super::health::{self, Limit, Normal, Sample, limits, normal};
use super::incident::Incident;
use super::rollback::{rollback, undone};
use super::timeline::{Axis, actions, timeline};
use super::words::{clock, id6, span};
use super::{Mark, MarkKind, Moment, Phases, Quality, Report, State, Story, Times, Window, learn};
use crate::record::{Change, Record, Suspect};
use crate::time::{Timestamp, seconds_between};
use jiff::SignedDuration;
use std::collections::BTreeSet;

/// The charts show at least this much before the onset, and so much after the end.
const LEAD_S: i64 = 1800;
const TRAIL_S: i64 = 900;

pub(super) fn report(story: &Story) -> Report {
    let mut incidents = story.incidents();
    let Some(incident) = incidents.pop() else {
        let alarms = holes(story);
        return Report { ecosystem: only_home(story), alarms, quality: quality(story, None, &[]), ..Report::default() };
    };
    let samples = samples(story, incident.home);
    let limits = limits(&incident);
    let last = story.end().unwrap_or_default();
    let zero = incident.onset().unwrap_or(incident.first());
    let normal = normal(&samples, zero);
    let restored = restored(&incident, &samples, &limits, normal.as_ref(), last);
    let end = incident.resolved().or(incident.decisions.is_empty().then(|| last_of(&incident))).unwrap_or(last);
    let axis = Axis { incident: &incident, samples: &samples, limits: &limits, normal: normal.as_ref(), zero, end };
    let mut report = Report {
        state: incident.state(),
        ecosystem: incident.home.map(str::to_owned),
        incident: incident.name().map(str::to_owned),
        date: Some(zero.strftime("%Y-%m-%d").to_string()),
        severity: incident.severity().map(|severity| action::severity(severity).to_owned()),
        offsets_from: Some(offsets_from(&incident).to_owned()),
        impact: health::impact(&samples, zero, restored.unwrap_or(end), normal.as_ref()),
        timeline: timeline(story, &axis),
        actions: actions(story, &axis),
        rollbacks: incident.runs.iter().map(|run| rollback(story, &incident, run)).collect(),
        not_undone: not_undone(&incident),
        ..Report::default()
    };
    times(&mut report, &axis, restored, last);
    why(&mut report, &axis, story);
    report.quality = quality(story, Some(&axis), &incidents);
    report.alarms = alarms(&incident, story, &incidents);
    learn::learn(&mut report, story, &axis);
    report.window = window(&axis, restored);
    report.marks = marks(&report, &axis, story);
    report
}

/// What the charts show: as much before the onset as the incident took, so that one sees what was normal.
fn window(axis: &Axis, restored: Option<Timestamp>) -> Option<Window> {
    let end = axis.end.max(restored.unwrap_or(axis.end)).max(axis.zero);
    let lead = seconds_between(axis.zero, restored.unwrap_or(end)).max(LEAD_S);
    let from = axis.zero.checked_sub(SignedDuration::from_secs(lead)).ok()?;
    Some(Window { from, to: end.checked_add(SignedDuration::from_secs(TRAIL_S)).ok()? })
}

/// The instants of the window that everybody looks for.
fn marks(report: &Report, axis: &Axis, story: &Story) -> Vec<Mark> {
    let times = &report.times;
    let at = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.time);
    let suspect = blamed(axis.incident).and_then(|suspect| {
        let before = SignedDuration::from_secs(suspect.before_onset_s as i64);
        let time = match changed(suspect, story) {
            Some((time, _)) => time,
            None => axis.incident.onset()?.checked_sub(before).ok()?,
        };
        Some((MarkKind::Suspect, Some(time), format!("suspect: {}", free(&suspect.target))))
    });
    let named = [
        (MarkKind::Onset, at(&times.began), "onset"),
        (MarkKind::Detected, at(&times.detected), "detected"),
        (MarkKind::Rollback, at(&times.initiated), "rollback"),
        (MarkKind::Restored, at(&times.restored), "restored"),
    ];
    let named = named.into_iter().map(|(kind, time, label)| (kind, time, label.to_owned()));
    let mut marks: Vec<Mark> = suspect.into_iter().chain(named).filter_map(|(kind, time, label)| Some(Mark { kind, time: time?, label })).collect();
    marks.sort_by_key(|mark| mark.time);
    marks
}

/// The change that the newest decision with a suspect blames first.
fn blamed<'a>(incident: &Incident<'a>) -> Option<&'a Suspect> {
    incident.decisions.iter().rev().find_map(|(_, decision)| decision.suspects.first())
}

/// The ecosystem's name where the stream is about one only.
fn only_home(story: &Story) -> Option<String> {
    let names = story.other_homes(None);
    (names.len() == 1).then(|| names.into_iter().map(str::to_owned).collect())
}

/// Health of this service in order of time. Samples of a canary are about a few requests of a new version, not about the service.
pub(super) fn samples<'a>(story: &'a Story, home: Option<&str>) -> Vec<Sample<'a>> {
    let mut samples: Vec<Sample> = story
        .events
        .iter()
        .filter(|event| story.home(&event.stamp) == home)
        .filter_map(|event| match &event.record {
            Record::Health(health) if health.cohort.as_deref() != Some("canary") => Some(Sample { time: event.stamp.time, health }),
            _ => None,
        })
        .collect();
    samples.sort_by_key(|sample| sample.time);
    samples
}

/// The last record of an incident that no decision opened.
fn last_of(incident: &Incident) -> Timestamp {
    incident.runs.iter().map(|run| run.ended.map_or(run.first, |(time, _)| time)).max().unwrap_or_default()
}

fn offsets_from(incident: &Incident) -> &'static str {
    match (incident.onset(), incident.detected()) {
        (Some(_), _) => "the onset",
        (None, Some(_)) => "the first decision",
        (None, None) => "the first record of the rollback",
    }
}

/// The beginning of the healthy period: before the decision that closed the incident, else at the end of the stream.
fn restored(incident: &Incident, samples: &[Sample], limits: &[Limit], normal: Option<&Normal>, last: Timestamp) -> Option<Timestamp> {
    let completed = incident.runs.iter().filter_map(|run| run.completed()).max();
    match incident.resolved() {
        Some(resolved) => {
            // Before the rollback nothing proves that it helped; after an incident without one, look back to its start.
            let from = completed.filter(|time| *time <= resolved).or(incident.detected()).unwrap_or(resolved);
            health::recovered(samples, from, resolved, limits, normal)
        }
        None if incident.decisions.is_empty() => completed.and_then(|from| health::recovered(samples, from, last, limits, normal)),
        None => None,
    }
}

fn times(report: &mut Report, axis: &Axis, restored: Option<Timestamp>, last: Timestamp) {
    let incident = axis.incident;
    let moment = |time: Option<Timestamp>| time.map(|time| axis.moment(time));
    let completed = incident.runs.iter().filter_map(|run| run.completed()).max();
    let initiated = incident.runs.iter().find_map(|run| run.started);
    let unfinished = incident.runs.last().filter(|run| run.completed().is_none());
    report.times = Times {
        began: moment(incident.onset()),
        detected: moment(incident.detected()),
        initiated: moment(initiated),
        completed: moment(completed),
        completed_note: unfinished.map(|run| match run.ended {
            Some((time, end)) => format!("the last rollback {} at {}", free(&end.phase), clock(time)),
            None => "the last rollback has no end in the stream".to_owned(),
        }),
        restored: moment(restored),
        restored_note: match (report.state, restored) {
            (State::Ongoing, _) => Some("the incident is not closed".to_owned()),
            (State::Undecided, Some(_)) => Some("healthy from then on as far as the samples go; no decision has proven it".to_owned()),
            (State::Resolved, None) => incident.resolved().map(|time| format!("closed by a decision at {}", clock(time))),
            _ => None,
        },
    };
    let between = |from: Option<Timestamp>, to: Option<Timestamp>| from.zip(to).map(|(from, to)| span(seconds_between(from, to)));
    report.phases = Phases {
        detect: between(incident.onset(), incident.detected()),
        act: between(incident.detected(), initiated),
        restore: between(initiated, restored),
    };
    report.duration = match report.state {
        State::Ongoing => between(incident.onset(), Some(last)).map(|so_far| format!("ongoing, {so_far} up to the last record")),
        _ => between(incident.onset(), restored),
    };
    report.status = Some(match report.state {
        State::None => String::new(),
        State::Ongoing => "ongoing: no decision has closed it".to_owned(),
        State::Resolved => match incident.resolved() {
            Some(time) => format!("resolved at {}", clock(time)),
            None => "resolved".to_owned(),
        },
        State::Undecided => "a rollback without any decision in the stream; whether it is over is not recorded".to_owned(),
    });
}

/// Detection, trigger and what is certain about the cause.
fn why(report: &mut Report, axis: &Axis, story: &Story) {
    let incident = axis.incident;
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (_, decision) in incident.news() {
        for reason in &decision.reasons {
            if !seen.insert(reason.rule.clone()) {
                continue;
            }
            let held = reason.held_s.map_or_else(String::new, |seconds| format!(", held for {}", span(seconds as i64)));
            let samples = reason.samples.map_or_else(String::new, |samples| format!(" over {samples} samples"));
            let since = reason.since.map_or_else(String::new, |since| format!(", since {}", clock(since)));
            report.detection.push(format!("{}{held}{samples}{since}", action::reason(reason)));
        }
    }
    if incident.decisions.is_empty() {
        let who = if incident.runs.iter().any(|run| run.by_operator()) { "An operator asked for the rollback" } else { "A rollback was run" };
        report.detection.push(format!("{who}; how the trouble was noticed is not in the stream"));
    }
    let mut named: Vec<&Suspect> = Vec::new();
    for suspect in incident.decisions.iter().rev().flat_map(|(_, decision)| &decision.suspects) {
        if !named.iter().any(|known| known.change == suspect.change && known.target == suspect.target) {
            named.push(suspect);
        }
    }
    report.suspects = named.iter().map(|suspect| suspected(suspect, story)).collect();
    report.confirmed = confirmed(incident);
}

/// The record of a suspect, and when it was.
fn changed<'a>(suspect: &Suspect, story: &'a Story) -> Option<(Timestamp, &'a Change)> {
    story.events.iter().rev().find_map(|event| match &event.record {
        Record::Change(change) if change.id.is_some() && change.id == suspect.change => Some((event.stamp.time, change)),
        _ => None,
    })
}

/// A suspect, with what its change record says.
fn suspected(suspect: &Suspect, story: &Story) -> String {
    let change = changed(suspect, story).map(|(_, change)| change);
    let id = suspect.change.as_deref().map_or_else(String::new, |id| format!(" (change {id})"));
    let from_to = change.and_then(|change| Some(format!(", from {} to {}", change.from.as_deref()?, change.to.as_deref()?))).unwrap_or_default();
    free(&format!("{}{id}{from_to}, {}", suspect.target, before(suspect.before_onset_s as i64, "the onset")))
}

/// Facts about the cause: what followed what. That one made the other is for a person to say.
fn confirmed(incident: &Incident) -> Vec<String> {
    let mut facts = Vec::new();
    for run in incident.runs.iter().filter(|run| run.said.undoes.is_none()) {
        let Some(completed) = run.completed() else { continue };
        let scope = free(&run.said.scope);
        let ineffective = |note: &String| note == "rollback-ineffective";
        if undone(incident, run).is_some() {
            facts.push(format!("{scope} was rolled back, and the rollback was undone."));
        } else if incident.decisions.iter().any(|(time, decision)| *time >= completed && decision.notes.iter().any(ineffective)) {
            facts.push(format!("Rolling back {scope} did not end the trouble."));
        } else if incident.resolved().is_some_and(|resolved| resolved >= completed) {
            facts.push(format!("After the rollback of {scope}, health recovered and stayed good."));
        }
    }
    if incident.runs.is_empty() && incident.resolved().is_some() {
        facts.push("Health recovered without a rollback in the stream.".to_owned());
    }
    facts
}

/// The limits of every rollback, as far as this incident has run into them.
fn not_undone(incident: &Incident) -> Vec<String> {
    let done = |run: &&super::incident::Run| run.completed().is_some() && run.said.undoes.is_none() && undone(incident, run).is_none();
    let Some(run) = incident.runs.iter().rfind(done) else { return Vec::new() };
    let preserved = match run.said.preserved {
        Some(0) => "Preserved paths (time series, logs): the rollback met none.".to_owned(),
        Some(1) => "Preserved paths (time series, logs): 1 stayed as it was.".to_owned(),
        Some(paths) => format!("Preserved paths (time series, logs): {paths} stayed as they were."),
        None => "Preserved paths (time series, logs) stayed as they were; how many is not recorded.".to_owned(),
    };
    vec![
        "User interactions: what people were shown, told or sent while the trouble lasted.".to_owned(),
        "External changes: what other systems received or did because of it.".to_owned(),
        preserved,
    ]
}

/// What must not be overlooked, in the order of how much it matters.
fn alarms(incident: &Incident, story: &Story, others: &[Incident]) -> Vec<String> {
    let mut alarms = Vec::new();
    for run in &incident.runs {
        let what = if run.id.is_empty() { "The rollback".to_owned() } else { format!("Rollback {}", id6(run.id)) };
        let why = run.said.error.as_deref().map_or_else(String::new, |why| format!(" ({})", free(why)));
        match run.ended.map(|(_, end)| end.phase.as_str()) {
            Some("completed") => {}
            Some("reverted") => {
                alarms.push(format!("{what} was REVERTED{why}: the tree from before it is live again, and nothing has been rolled back by it."));
            }
            Some("failed") => alarms.push(format!("{what} FAILED{why}.")),
            Some(other) => alarms.push(format!("{what} ended as '{}', which this version does not know.", free(other))),
            None => alarms.push(format!("{what} began and has no end in the stream. If it was interrupted, eco-restore --recover finishes it.")),
        }
        if let Some(time) = undone(incident, run) {
            alarms.push(format!("{what} was UNDONE at {}: the state from before it is live again.", clock(time)));
        }
    }
    if incident.state() == State::Ongoing {
        alarms.push("This incident is ONGOING: the report is an interim one.".to_owned());
    }
    let open = others.iter().filter(|other| other.state() == State::Ongoing).count();
    if open > 0 {
        alarms.push(format!("Other incidents in the stream that are not closed: {open}; see Data quality."));
    }
    alarms.extend(holes(story));
    alarms
}

/// What is missing from the stream itself.
fn holes(story: &Story) -> Vec<String> {
    let mut holes = Vec::new();
    if story.bad_lines > 0 {
        holes.push(format!("Lines of the stream that are no records: {}. Facts may be missing.", story.bad_lines));
    }
    holes.extend(story.cut_short.as_deref().map(|why| format!("The stream could not be read to its end ({}). Facts are missing.", free(why))));
    holes
}

fn quality(story: &Story, axis: Option<&Axis>, others: &[Incident]) -> Quality {
    let times = story.events.iter().map(|event| event.stamp.time);
    let covers = times.min().zip(story.end()).map(|(first, last)| format!("{} to {}", clock(first), clock(last)));
    let unusable = |event: &super::Event| if let Record::Health(health) = &event.record { health::unusable(health) } else { 0 };
    Quality {
        covers,
        counts: story.counts.iter().filter(|(kind, _)| !kind.is_empty()).map(|(kind, count)| (free(kind), *count)).collect(),
        bad_lines: story.bad_lines,
        late: story.late,
        unusable: story.events.iter().map(unusable).sum(),
        gaps: axis.map(|axis| health::gaps(axis.samples, axis.zero, axis.end)).unwrap_or_default(),
        others: others.iter().map(other).collect(),
    }
}

/// Another incident, in one line.
fn other(incident: &Incident) -> String {
    let home = incident.home.map_or_else(String::new, |home| format!("{}: ", free(home)));
    let state = match incident.state() {
        State::Ongoing => "ongoing",
        State::Resolved => "resolved",
        State::None | State::Undecided => "rollback without a decision",
    };
    let name = incident.name().map_or_else(String::new, |name| format!("{}, ", free(name)));
    format!("{home}{name}first record {}, {state}", clock(incident.first()))
}
