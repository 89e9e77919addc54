//! A story -> the report: every field from a record, or nothing.

use super::action::{self, before, free};
use super::health::{self, Limit, Normal, Sample, limits, normal};
use super::incident::Incident;
use super::rollback::{Taken, lost, rollback, snapshots, undone};
use super::timeline::{Axis, actions, timeline};
use super::words::{clock, id6, span};
use super::{Choice, Mark, MarkKind, Measured, Moment, Phases, Quality, Report, State, Story, Times, Window, follow, learn, spark};
use crate::record::{Change, Record, Suspect};
use crate::time::{Timestamp, seconds_between};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// The charts show at least this much before the onset, and so much after the end.
const LEAD_S: i64 = 1800;
const TRAIL_S: i64 = 900;

/// One incident and what the samples around it say: what lists, reports and charts begin with.
pub(super) struct Case<'a> {
    pub(super) incident: Incident<'a>,
    pub(super) samples: Vec<Sample<'a>>,
    pub(super) limits: Vec<Limit>,
    pub(super) normal: Option<Normal>,
    /// What offsets count from.
    pub(super) zero: Timestamp,
    pub(super) restored: Option<Timestamp>,
    pub(super) end: Timestamp,
    /// The end of the stream.
    pub(super) last: Timestamp,
}

impl<'a> Case<'a> {
    pub(super) fn new(story: &'a Story, incident: Incident<'a>) -> Case<'a> {
        let all = samples(story, incident.home);
        Case::among(story, incident, &all)
    }

    /// The same where the samples of the service are at hand.
    pub(super) fn among(story: &Story, incident: Incident<'a>, all: &[Sample<'a>]) -> Case<'a> {
        let samples = incident.near(all);
        let limits = limits(&incident);
        let last = story.end_of(incident.home).unwrap_or_default();
        let zero = incident.onset().unwrap_or(incident.first());
        let normal = normal(&samples, zero);
        let restored = restored(&incident, &samples, &limits, normal.as_ref(), last);
        let end = incident.resolved().or(incident.decisions.is_empty().then(|| last_of(&incident))).unwrap_or(last);
        Case { incident, samples, limits, normal, zero, restored, end, last }
    }

    /// From the onset to the first healthy sample, or so far.
    pub(super) fn seconds(&self) -> Option<i64> {
        let to = if self.incident.state() == State::Ongoing { Some(self.last) } else { self.restored };
        self.incident.onset().zip(to).map(|(from, to)| seconds_between(from, to))
    }
}

pub(super) fn report(story: &Story, choice: Choice) -> Report {
    let mut incidents = story.incidents();
    let Some(at) = choice.within(incidents.len()) else {
        let alarms = holes(story);
        return Report { ecosystem: only_home(story), alarms, quality: quality(story, None, &[]), ..Report::default() };
    };
    let case = Case::new(story, incidents.remove(at));
    let Case { incident, samples, limits, normal, zero, restored, end, last } = &case;
    let (zero, restored, end, last) = (*zero, *restored, *end, *last);
    let axis = Axis { incident, samples, limits, normal: normal.as_ref(), zero, end };
    let taken = snapshots(story, incident.home);
    let mut report = Report {
        state: incident.state(),
        ecosystem: incident.home.map(str::to_owned),
        id: Some(incident.id()),
        incident: incident.name().map(str::to_owned),
        date: Some(zero.strftime("%Y-%m-%d").to_string()),
        severity: incident.severity().map(|severity| action::severity(severity).to_owned()),
        offsets_from: Some(offsets_from(incident).to_owned()),
        impact: health::impact(samples, zero, restored.unwrap_or(end), normal.as_ref()),
        timeline: timeline(story, &axis),
        actions: actions(story, &axis),
        rollbacks: incident.runs.iter().map(|run| rollback(story, incident, run)).collect(),
        not_undone: not_undone(incident),
        ..Report::default()
    };
    times(&mut report, &axis, restored, last);
    why(&mut report, &axis, story);
    report.quality = quality(story, Some(&axis), &incidents);
    report.alarms = alarms(incident, story, &incidents);
    learn::learn(&mut report, story, &axis);
    report.follow_ups = follow::follow_ups(story, &axis, restored);
    report.window = window(&axis, restored);
    report.marks = marks(&report, &axis, story);
    report.sparks = report.window.and_then(|window| spark::sparks(samples, window, &report.marks));
    report.measured = measured(&case, &report, &taken);
    report
}

/// The numbers behind the sentences.
fn measured(case: &Case, report: &Report, taken: &BTreeMap<&str, Taken>) -> Measured {
    let at = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.time);
    let (began, detected) = (at(&report.times.began), at(&report.times.detected));
    let (initiated, restored) = (at(&report.times.initiated), at(&report.times.restored));
    let between = |from: Option<Timestamp>, to: Option<Timestamp>| from.zip(to).map(|(from, to)| seconds_between(from, to));
    Measured {
        duration_s: case.seconds(),
        detect_s: between(began, detected),
        act_s: between(detected, initiated),
        restore_s: between(initiated, restored),
        normal_response_ms: case.normal.as_ref().map(|normal| normal.ms),
        data_loss_s: lost(&case.incident, taken),
        ..health::measured(&case.samples, case.zero, case.restored.unwrap_or(case.end))
    }
}

/// What the charts show: as much before the onset as the incident took, so that one sees what was normal.
fn window(axis: &Axis, restored: Option<Timestamp>) -> Option<Window> {
    let end = axis.end.max(restored.unwrap_or(axis.end)).max(axis.zero);
    let lead = seconds_between(axis.zero, restored.unwrap_or(end)).max(LEAD_S);
    let from = axis.zero.checked_sub(SignedDuration::from_secs(lead)).ok()?;
    // Samples from before are not kept, and a gap that is none must not be drawn.
    let from = from.max(axis.incident.kept_from().unwrap_or(from)).min(end);
    Some(Window { from, to: end.checked_add(SignedDuration::from_secs(TRAIL_S)).ok()? })
}

/// The instants of the window that everybody looks for.
fn marks(report: &Report, axis: &Axis, story: &Story) -> Vec<Mark> {
    let times = &report.times;
    let at = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.time);
    let suspect = blamed(axis.incident).and_then(|(decided, suspect)| {
        let before = SignedDuration::from_secs(suspect.before_onset_s as i64);
        let time = match changed(suspect, story, axis.incident.home, decided) {
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
fn blamed<'a>(incident: &Incident<'a>) -> Option<(Timestamp, &'a Suspect)> {
    incident.decisions.iter().rev().find_map(|(time, decision)| Some((*time, decision.suspects.first()?)))
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
            let unseen = health::unseen(samples, from, resolved, limits, normal);
            let seen: Vec<&Limit> = limits.iter().filter(|limit| !unseen.contains(limit)).collect();
            // Of what samples cannot say, the decision is the only proof, and it vouches for no more than its clear time.
            let reopened = incident.decisions.iter().filter_map(|(_, decision)| decision.reopened).max().unwrap_or(0);
            let proven = if unseen.is_empty() { from } else { health::cleared_from(resolved, reopened) };
            let healthy = health::recovered(samples, from, resolved, &seen, normal)?;
            Some(healthy.max(proven))
        }
        None if incident.decisions.is_empty() => {
            completed.and_then(|from| health::recovered(samples, from, last, &limits.iter().collect::<Vec<_>>(), normal))
        }
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
    report.detection.extend(detected(axis));
    if incident.decisions.is_empty() {
        let who = if incident.runs.iter().any(|run| run.by_operator()) { "An operator asked for the rollback" } else { "A rollback was run" };
        report.detection.push(format!("{who}; how the trouble was noticed is not in the stream"));
    }
    let mut named: Vec<(Timestamp, &Suspect)> = Vec::new();
    for (time, suspect) in incident.decisions.iter().rev().flat_map(|(time, decision)| decision.suspects.iter().map(|suspect| (*time, suspect))) {
        if !named.iter().any(|(_, known)| known.change == suspect.change && known.target == suspect.target) {
            named.push((time, suspect));
        }
    }
    let record = |time: Timestamp, suspect: &Suspect| changed(suspect, story, incident.home, time).map(|(_, change)| change);
    report.suspects = named.iter().map(|(time, suspect)| suspected(suspect, record(*time, suspect))).collect();
    report.confirmed = confirmed(incident);
}

/// Where the time to detect went, and whether the same limits had been crossed before.
fn detected(axis: &Axis) -> Vec<String> {
    let mut lines = Vec::new();
    let incident = axis.incident;
    let first = incident.decisions.first();
    if let Some((detected, decision)) = first
        && let Some(onset) = incident.onset()
    {
        let took = seconds_between(onset, *detected);
        let proof = decision.reasons.iter().filter_map(|reason| reason.held_s).fold(0.0, f64::max) as i64;
        // A proof that had begun before the onset that was found in the end is no part of this.
        let (proof, rest) = (proof.min(took), took - proof.min(took));
        if took > 0 && proof > 0 {
            let rest =
                if rest > 0 { format!(", {} for the rest: waiting for samples, and for rules that take longer", span(rest)) } else { String::new() };
            lines.push(format!("of the {} to detect, {} went into proof that it was no blip{rest}", span(took), span(proof)));
        } else if took > 0 {
            lines.push(format!("{} lay between the onset and the first decision, none of it for proof", span(took)));
        }
        lines.extend(health::distance(axis.samples, onset, *detected).map(|seconds| {
            format!("a sample came every {}; more often means sooner, as long as the rules ask for a number of samples", span(seconds))
        }));
    }
    lines.extend(health::flickers(axis.samples, axis.limits, axis.normal, axis.zero).into_iter().map(|(rule, times, last)| {
        let often = if times == 1 { "once".to_owned() } else { format!("{times} times") };
        format!("{} had been crossed {often} in the day before, too shortly to count, the last time at {}", free(&rule), clock(last))
    }));
    lines
}

/// The record of a suspect, and when it was: the newest of this service that a decision of that time can have meant.
fn changed<'a>(suspect: &Suspect, story: &'a Story, home: Option<&str>, decided: Timestamp) -> Option<(Timestamp, &'a Change)> {
    let could_be = |event: &&super::Event| event.stamp.time <= decided && story.home(&event.stamp) == home;
    let found = story.events.iter().filter(could_be).filter_map(|event| match &event.record {
        Record::Change(change) if change.id.is_some() && change.id == suspect.change => Some((event.stamp.time, change)),
        _ => None,
    });
    found.max_by_key(|(time, _)| *time)
}

/// A suspect, with what its change record says.
fn suspected(suspect: &Suspect, change: Option<&Change>) -> String {
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
    let covers = story.oldest.zip(story.end()).map(|(first, last)| format!("{} to {}", clock(first), clock(last)));
    Quality {
        covers,
        counts: story.counts.iter().filter(|(kind, _)| !kind.is_empty()).map(|(kind, count)| (free(kind), *count)).collect(),
        bad_lines: story.bad_lines,
        late: story.late,
        unusable: story.unusable,
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
