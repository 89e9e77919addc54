//! Records -> the incident report: everything in it is derived from the stream, and what the stream does not hold is *not
//! recorded*. No clock is asked, so the same stream gives the same bytes, today or in a year.
//!
//! A [`Story`] takes the records in; [`Story::report`] finds the last incident and derives a [`Report`] from it;
//! [`Report::markdown`] prints that. Text from records is escaped in one place, where it is printed: a module may be called
//! `<script>` or hold a newline, and is still a name in a table.

mod action;
mod case;
mod derive;
mod health;
mod incident;
mod learn;
mod markdown;
mod notice;
mod rollback;
mod save;
mod timeline;
pub(crate) mod words;

pub use notice::notice;
pub use save::{Destination, destination};

use crate::evidence::Summary;
use crate::record::{Record, Restore, Stamp};
use crate::time::{Timestamp, seconds_between};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// A record that comes this much behind the newest one of its ecosystem is late: whoever judged the stream may not have seen it.
const LATE_S: i64 = 120;

/// The stream so far, as much of it as a report needs.
#[derive(Debug, Default)]
pub struct Story {
    events: Vec<Event>,
    counts: BTreeMap<String, u64>,
    newest: BTreeMap<Option<String>, Timestamp>,
    restored: HashSet<(String, String)>,
    late: u64,
    bad_lines: u64,
    cut_short: Option<String>,
}

/// One record with its stamp.
#[derive(Debug)]
struct Event {
    stamp: Stamp,
    record: Record,
}

impl Story {
    /// Takes the next record in. Listings of files are counted and let go: they can be long and change nothing.
    pub fn add(&mut self, stamp: Stamp, record: Record) {
        // A log holds the end of a rollback where it ended, and where the one who decides was told.
        if let Record::Restore(Restore { id, phase, .. }) = &record
            && !id.is_empty()
            && !self.restored.insert((id.clone(), phase.clone()))
        {
            return;
        }
        *self.counts.entry(record.kind().to_owned()).or_default() += 1;
        let newest = self.newest.entry(stamp.ecosystem.clone()).or_insert(stamp.time);
        if record.is_news() && seconds_between(stamp.time, *newest) > LATE_S {
            self.late += 1;
        }
        *newest = (*newest).max(stamp.time);
        if !matches!(record, Record::Entry(_) | Record::Difference(_) | Record::Other(_)) {
            self.events.push(Event { stamp, record });
        }
    }

    /// Says how many lines of the stream were no record.
    pub fn bad_lines(&mut self, lines: u64) {
        self.bad_lines = lines;
    }

    /// Says why the stream could not be read to its end.
    pub fn cut_short(&mut self, why: &str) {
        self.cut_short = Some(why.to_owned());
    }

    /// The report about the last incident in the stream.
    pub fn report(&self) -> Report {
        derive::report(self)
    }

    /// The newest time on any record.
    fn end(&self) -> Option<Timestamp> {
        self.newest.values().max().copied()
    }
}

/// How an incident stands at the end of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The stream holds no incident.
    #[default]
    None,
    /// Decisions opened it, none has closed it.
    Ongoing,
    /// Closed by a decision, on proven health.
    Resolved,
    /// A rollback without any decision: nothing in the stream opens or closes it.
    Undecided,
}

/// An instant with its distance from the onset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// When.
    pub time: Timestamp,
    /// As people read it: `2026-03-01 10:02:00 (+2m)`.
    pub text: String,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// When.
    pub at: Moment,
    /// What happened, as plain text.
    pub what: String,
}

/// Everything that the stream says about one incident. Texts are plain: nothing in them is escaped yet. `None` is what the
/// stream does not hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// How the incident stands.
    pub state: State,
    /// The service.
    pub ecosystem: Option<String>,
    /// The incident's name in the decisions.
    pub incident: Option<String>,
    /// What nobody may overlook: failed and reverted rollbacks, holes in the stream.
    pub alarms: Vec<String>,
    /// What offsets count from.
    pub offsets_from: Option<String>,
    /// Day of the onset (or of the first record of the incident), in UTC.
    pub date: Option<String>,
    /// The highest that a decision gave it.
    pub severity: Option<String>,
    /// The incident's state in a sentence.
    pub status: Option<String>,
    /// From onset to restored.
    pub duration: Option<String>,
    /// Time to detect, to act and to restore, in this order.
    pub phases: Phases,
    /// What it did to the service.
    pub impact: Impact,
    /// The five times that everybody asks for.
    pub times: Times,
    /// What happened, one line each.
    pub timeline: Vec<Entry>,
    /// Which rules fired on what.
    pub detection: Vec<String>,
    /// Changes that could be to blame; never more than suspected.
    pub suspects: Vec<String>,
    /// What is certain about the cause.
    pub confirmed: Vec<String>,
    /// What was rolled back, in order.
    pub rollbacks: Vec<Rollback>,
    /// What a rollback cannot undo.
    pub not_undone: Vec<String>,
    /// What people and tools did.
    pub actions: Vec<Entry>,
    /// Facts that went well.
    pub well: Vec<String>,
    /// Facts that went badly.
    pub badly: Vec<String>,
    /// Facts that could easily have been otherwise.
    pub luck: Vec<String>,
    /// Questions that the facts raise.
    pub lessons: Vec<String>,
    /// Measures that the facts suggest.
    pub prevention: Vec<String>,
    /// How far the stream can be trusted.
    pub quality: Quality,
    /// What was gathered beside the report.
    pub evidence: Option<Summary>,
}

impl Report {
    /// Says what was gathered beside it, and what that confirms.
    pub fn add_evidence(&mut self, evidence: Summary) {
        self.confirmed.extend(evidence.fact.clone());
        self.evidence = Some(evidence);
    }
}

/// The parts of the duration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Phases {
    /// From the onset to the first decision.
    pub detect: Option<String>,
    /// From the first decision to the start of the rollback.
    pub act: Option<String>,
    /// From the start of the rollback to the first healthy sample.
    pub restore: Option<String>,
}

/// What the incident did to the service, from the health records between onset and recovery.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Impact {
    /// Requests times error rate, summed.
    pub failed_requests: Option<String>,
    /// The highest error rate, and when.
    pub peak_errors: Option<String>,
    /// The slowest answer, and how many times the normal.
    pub worst_response: Option<String>,
    /// How long the service did not answer.
    pub down: Option<String>,
    /// Modules that were not ok.
    pub modules: Option<String>,
}

/// When things happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// The onset.
    pub began: Option<Moment>,
    /// The first decision.
    pub detected: Option<Moment>,
    /// The first rollback's start.
    pub initiated: Option<Moment>,
    /// The last rollback's completion.
    pub completed: Option<Moment>,
    /// How the last rollback ended, where that is not completion.
    pub completed_note: Option<String>,
    /// The first sample of the healthy period at the end.
    pub restored: Option<Moment>,
    /// How sure that is.
    pub restored_note: Option<String>,
}

/// One rollback.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rollback {
    /// Its id.
    pub id: Option<String>,
    /// What was rolled back, in words.
    pub kind: String,
    /// How it ended, in words.
    pub outcome: String,
    /// The snapshot's id.
    pub snapshot: Option<String>,
    /// The snapshot's time, age and proof.
    pub about_snapshot: Option<String>,
    /// Newer snapshots, and why they were not used.
    pub passed_over: Vec<String>,
    /// None, minimal or significant, with the window.
    pub data_loss: Option<String>,
    /// What was set aside, in words.
    pub set_aside: Option<String>,
    /// The command that brings it back.
    pub undo: Option<String>,
    /// Paths created, updated, deleted, kept and preserved.
    pub changes: Option<String>,
    /// How long the rollback took, and how long the service was stopped for it.
    pub took: Option<String>,
}

/// How far the stream can be trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Quality {
    /// First and last time on any record.
    pub covers: Option<String>,
    /// Records by type.
    pub counts: Vec<(String, u64)>,
    /// Lines that were no record.
    pub bad_lines: u64,
    /// Records that came too late to be judged.
    pub late: u64,
    /// Metrics that were there but unusable.
    pub unusable: u64,
    /// Silences of the monitoring during the incident.
    pub gaps: Vec<String>,
    /// Other incidents in the stream, which this report is not about.
    pub others: Vec<String>,
}

#[cfg(test)]
mod tests;
