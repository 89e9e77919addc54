//! What a story remembers. A year of samples is half a million records, and a report is about an hour of them: what no incident can
//! come to need is let go while the stream is read. What a report looks at does not depend on when that was.

use super::health::Sample;
use super::incident::Incident;
use super::{Event, Story};
use crate::record::{Action, Record, Severity};
use crate::time::{Timestamp, seconds_between};
use std::collections::BTreeMap;

/// An incident's report looks at samples from so long before its first record (a day of them says what is normal) ...
const BEFORE_S: i64 = 26 * 3600;
/// ... to so long after its last one, because follow-ups ask how the day after went.
const AFTER_S: i64 = 25 * 3600;
/// Fewer samples than this are not worth a look.
const FEW: usize = 20_000;

/// The samples that the report about an incident looks at, by the time of its first record and of its last.
fn reach(first: Timestamp, last: Timestamp) -> (i64, i64) {
    (first.as_second() - BEFORE_S, last.as_second().saturating_add(AFTER_S))
}

impl Incident<'_> {
    /// The samples that its report looks at, of all samples of its service in order of time.
    pub(super) fn near<'a>(&self, samples: &[Sample<'a>]) -> Vec<Sample<'a>> {
        let mut reach = self.reach();
        reach.sort_unstable();
        let (mut near, mut taken) = (Vec::new(), 0);
        for (from, to) in reach {
            let first = samples.partition_point(|sample| sample.time.as_second() < from).max(taken);
            let end = samples.partition_point(|sample| sample.time.as_second() <= to).max(first);
            near.extend_from_slice(&samples[first..end]);
            taken = end;
        }
        near
    }

    /// From when on samples are there for its report.
    pub(super) fn kept_from(&self) -> Option<Timestamp> {
        let from = self.reach().into_iter().map(|(from, _)| from).min()?;
        Timestamp::from_second(from).ok()
    }

    fn reach(&self) -> Vec<(i64, i64)> {
        let runs = self.runs.iter().flat_map(|run| run.started.into_iter().chain(run.ended.map(|(time, _)| time)));
        let mut spans: Vec<(i64, i64)> = runs.map(|time| reach(time, time)).collect();
        let times = || self.decisions.iter().map(|(time, _)| *time);
        if let (Some(first), Some(last)) = (times().min(), times().max()) {
            spans.push(reach(first, if self.resolved().is_some() { last } else { Timestamp::MAX }));
        }
        spans
    }
}

impl Story {
    /// Lets samples go that are far from every incident so far and older than any that is still to come can reach.
    pub(super) fn let_go(&mut self) {
        if self.samples < self.let_go_at.max(FEW) {
            return;
        }
        let Some(now) = self.events.last().map(|event| event.stamp.time) else { return };
        let spans = spans(&self.events);
        let needed = |event: &Event| {
            let time = event.stamp.time;
            !matches!(event.record, Record::Health(_))
                || seconds_between(time, now) <= BEFORE_S
                || spans.iter().any(|(from, to)| (*from..=*to).contains(&time.as_second()))
        };
        self.events.retain(needed);
        self.samples = self.events.iter().filter(|event| matches!(event.record, Record::Health(_))).count();
        // Twice as many, so that the looking takes a share of the reading and no more.
        self.let_go_at = self.samples * 2;
    }
}

/// What the incidents so far reach, overlapping ones joined. An open one reaches to the end of time.
fn spans(events: &[Event]) -> Vec<(i64, i64)> {
    let mut incidents: BTreeMap<(Option<&str>, &str), (Timestamp, Timestamp, bool)> = BTreeMap::new();
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for Event { stamp, record } in events {
        match record {
            Record::Decision(decision) if decision.severity != Severity::Unknown => {
                let name = (stamp.ecosystem.as_deref(), decision.incident.as_str());
                let (first, last, open) = incidents.entry(name).or_insert((stamp.time, stamp.time, true));
                (*first, *last) = ((*first).min(stamp.time), (*last).max(stamp.time));
                *open = decision.action != Action::Resolved;
            }
            // Whether a rollback belongs to an incident is found out later; around it, nothing is let go either way.
            Record::Restore(_) => spans.push(reach(stamp.time, stamp.time)),
            _ => {}
        }
    }
    spans.extend(incidents.into_values().map(|(first, last, open)| reach(first, if open { Timestamp::MAX } else { last })));
    spans.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}
