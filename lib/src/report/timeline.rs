//! What happened around an incident, one line each, in order of time.

use super::action::sentence;
use super::health::{self, Limit, Normal, Sample};
use super::incident::Incident;
use super::{Entry, Event, Moment, Story};
use crate::record::{Record, Restore};
use crate::time::{Timestamp, seconds_between};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Changes as old as this may be to blame, and what followed the end may still belong to it.
const BEFORE_S: i64 = 7200;
const AFTER_S: i64 = 900;

/// What the timeline of an incident needs beside its records.
pub(super) struct Axis<'a> {
    pub(super) incident: &'a Incident<'a>,
    pub(super) samples: &'a [Sample<'a>],
    pub(super) limits: &'a [Limit],
    pub(super) normal: Option<&'a Normal>,
    /// What offsets count from.
    pub(super) zero: Timestamp,
    pub(super) end: Timestamp,
}

impl Axis<'_> {
    pub(super) fn moment(&self, time: Timestamp) -> Moment {
        let text = format!("{} ({})", super::words::clock(time), super::words::offset(seconds_between(self.zero, time)));
        Moment { time, text }
    }

    fn entry(&self, (time, what): (Timestamp, String)) -> Entry {
        Entry { at: self.moment(time), what }
    }

    fn window(&self) -> RangeInclusive<i64> {
        self.zero.as_second() - BEFORE_S..=self.end.as_second() + AFTER_S
    }
}

/// Whether a record is about this incident's rollbacks or decisions, whenever it came. Services name their incidents, changes and
/// snapshots by themselves, so that the same name may be there twice.
fn linked(axis: &Axis, story: &Story, Event { stamp, record }: &Event) -> bool {
    let at_home = || story.home(stamp) == axis.incident.home;
    let run = |id: &str| !id.is_empty() && axis.incident.runs.iter().any(|run| run.id == id);
    match record {
        Record::Decision(decision) => axis.incident.name() == Some(decision.incident.as_str()) && at_home(),
        Record::Plan(plan) => run(&plan.restore),
        Record::Step(step) => run(&step.restore),
        Record::Restore(Restore { id, .. }) => run(id),
        Record::Snapshot(snapshot) => at_home() && axis.incident.runs.iter().any(|run| run.said.snapshot.as_deref() == Some(snapshot.id.as_str())),
        Record::Change(change) => {
            change.id.is_some()
                && at_home()
                && axis.incident.decisions.iter().flat_map(|(_, decision)| &decision.suspects).any(|suspect| suspect.change == change.id)
        }
        _ => false,
    }
}

/// Every record that changed or found something; health only where its state changed.
pub(super) fn timeline(story: &Story, axis: &Axis) -> Vec<Entry> {
    let mut lines: Vec<(Timestamp, String)> = Vec::new();
    let mut snapshots: BTreeSet<&str> = BTreeSet::new();
    // From the newest back, because a snapshot's last record is the one that counts.
    for event in story.events.iter().rev() {
        let (time, record) = (event.stamp.time, &event.record);
        let here = story.home(&event.stamp) == axis.incident.home && axis.window().contains(&time.as_second());
        if !(here || linked(axis, story, event)) {
            continue;
        }
        match record {
            Record::Control(control) if control.verb == "status" => continue,
            Record::Snapshot(snapshot) if !snapshots.insert(&snapshot.id) => continue,
            // Another incident has a report of its own.
            Record::Decision(decision) if decision.severity != crate::record::Severity::Unknown && !linked(axis, story, event) => continue,
            _ => {}
        }
        lines.extend(sentence(record).map(|what| (time, what)));
    }
    lines.reverse();
    let seen: Vec<Sample> = axis.samples.iter().filter(|sample| axis.window().contains(&sample.time.as_second())).copied().collect();
    lines.extend(health::changes(&seen, axis.limits, axis.normal));
    lines.sort_by_key(|(time, _)| *time);
    lines.into_iter().map(|line| axis.entry(line)).collect()
}

/// What people and tools did about it, from the first decision (or rollback) on. A reminder is no deed.
pub(super) fn actions(story: &Story, axis: &Axis) -> Vec<Entry> {
    let from = axis.incident.first().as_second();
    let mut lines: Vec<(Timestamp, String)> = Vec::new();
    for event in &story.events {
        let (time, record) = (event.stamp.time, &event.record);
        let here = story.home(&event.stamp) == axis.incident.home && (from..=axis.end.as_second() + AFTER_S).contains(&time.as_second());
        let deed = match record {
            Record::Decision(decision) => linked(axis, story, event) && !decision.reminder,
            Record::Plan(_) | Record::Step(_) | Record::Restore(_) => linked(axis, story, event) || (here && matches!(record, Record::Restore(_))),
            Record::Operator(_) => here,
            Record::Control(control) => here && control.verb != "status",
            Record::Rollout(_) | Record::Gate(_) => here,
            _ => false,
        };
        if deed {
            lines.extend(sentence(record).map(|what| (time, what)));
        }
    }
    lines.sort_by_key(|(time, _)| *time);
    lines.into_iter().map(|line| axis.entry(line)).collect()
}
