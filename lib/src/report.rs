//! Records -> the incident report: everything in it is derived from the stream, and what the stream does not hold is *not
//! recorded*. No clock is asked, so the same stream gives the same bytes, today or in a year.
//!
//! A [`Story`] takes the records in; [`Story::list`] says which incidents there are, [`Story::report_on`] derives a [`Report`] about
//! one of them, [`Report::keep`] lays over it what people wrote into the report before, and [`Report::markdown`], [`Report::html`],
//! [`Report::text`] and [`json`] print it. Text from records is escaped in one place, where it is printed: a module may be called
//! `<script>` or hold a newline, and is still a name in a table.

mod action;
mod case;
mod chart;
mod derive;
mod follow;
mod health;
mod html;
mod incident;
mod keep;
mod learn;
mod list;
mod markdown;
mod memory;
mod notice;
mod rollback;
mod save;
mod spark;
mod text;
mod timeline;
pub(crate) mod words;

pub use chart::Chart;
pub use keep::{KeptText, Old};
pub use list::{Choice, Summary, table};
pub use markdown::Picture;
pub use notice::notice;
pub use save::{Album, Destination, album, destination};
pub use text::contacts;

use crate::config::Contact;
use crate::evidence::Summary as Evidence;
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
    oldest: Option<Timestamp>,
    restored: HashSet<(String, String)>,
    late: u64,
    unusable: u64,
    /// How many samples of health are in `events`, and at how many those that no report needs are let go.
    samples: usize,
    let_go_at: usize,
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
    /// Takes the next record in. Listings of files are counted and let go: they can be long and change nothing. So are, in the
    /// end, samples of health that are far from every incident.
    pub fn add(&mut self, stamp: Stamp, mut record: Record) {
        // A log holds the end of a rollback where it ended, and where the one who decides was told.
        if let Record::Restore(Restore { id, phase, .. }) = &record
            && !id.is_empty()
            && !self.restored.insert((id.clone(), phase.clone()))
        {
            return;
        }
        *self.counts.entry(record.kind().to_owned()).or_default() += 1;
        self.oldest = self.oldest.into_iter().chain([stamp.time]).min();
        let newest = self.newest.entry(stamp.ecosystem.clone()).or_insert(stamp.time);
        if record.is_news() && seconds_between(stamp.time, *newest) > LATE_S {
            self.late += 1;
        }
        *newest = (*newest).max(stamp.time);
        match &mut record {
            Record::Entry(_) | Record::Difference(_) | Record::Other(_) => return,
            Record::Health(health) => {
                self.unusable += health::unusable(health);
                // What the probes found is in the metrics, which is all that a report looks at.
                health.probes = Vec::new();
                self.samples += 1;
            }
            Record::Plan(plan) => plan.examples = Vec::new(),
            _ => {}
        }
        self.events.push(Event { stamp, record });
        self.let_go();
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
        self.report_on(Choice::Last)
    }

    /// The report about one incident in the stream.
    pub fn report_on(&self, choice: Choice) -> Report {
        derive::report(self, choice)
    }

    /// The charts of a report about this story: those that there is data for.
    pub fn charts(&self, report: &Report) -> Vec<Chart> {
        chart::charts(self, report)
    }

    /// The newest time on any record.
    fn end(&self) -> Option<Timestamp> {
        self.newest.values().max().copied()
    }

    /// The newest time on a record of this service.
    fn end_of(&self, home: Option<&str>) -> Option<Timestamp> {
        self.newest.iter().filter(|(name, _)| self.named(name.as_deref()) == home).map(|(_, time)| *time).max()
    }
}

/// A report, or a list, as JSON that ends in a newline.
pub fn json(value: &impl Serialize) -> String {
    // Reports and lists are structs of strings, numbers, lists and string-keyed maps: serde_json cannot refuse one.
    serde_json::to_string_pretty(value).expect("a report serializes") + "\n"
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
    /// What the incident is called in lists: its name in the decisions, without any the id of its first rollback.
    pub id: Option<String>,
    /// The incident's name in the decisions.
    pub incident: Option<String>,
    /// Who to turn to, as the configuration says.
    pub contacts: Vec<Contact>,
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
    /// What is to be done next, and what of it the stream shows as done.
    pub follow_ups: Vec<FollowUps>,
    /// How the metrics went, as one line of text each.
    pub sparks: Option<Sparks>,
    /// The same facts as bare numbers.
    pub measured: Measured,
    /// How far the stream can be trusted.
    pub quality: Quality,
    /// What the charts show of the stream; none without an incident.
    pub window: Option<Window>,
    /// The instants that the charts mark.
    pub marks: Vec<Mark>,
    /// What a person wrote into the report before, by the name of its place.
    pub kept: Vec<KeptText>,
    /// The same for places that this report does not have.
    pub kept_elsewhere: Vec<KeptText>,
    /// What was gathered beside the report.
    pub evidence: Option<Evidence>,
}

impl Report {
    /// Says what was gathered beside it, and what that confirms.
    pub fn add_evidence(&mut self, evidence: Evidence) {
        self.confirmed.extend(evidence.fact.clone());
        self.evidence = Some(evidence);
    }
}

/// What is to be done within one span of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FollowUps {
    /// The span, as in `Within 1 hour`.
    pub within: String,
    /// What is to be done.
    pub items: Vec<FollowUp>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FollowUp {
    /// What.
    pub what: String,
    /// Whether the stream shows that it is done.
    pub done: bool,
    /// The records that say so, or how far it has got.
    pub evidence: Option<String>,
}

/// How metrics went between two instants, one sign for a stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sparks {
    /// How long a stretch is.
    pub each: String,
    /// Which stretch holds which mark, as letters in place.
    pub marks: String,
    /// The metrics, each as long as the marks.
    pub lines: Vec<Spark>,
}

/// How one metric went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spark {
    /// Its name.
    pub name: String,
    /// The highest value of each stretch as a bar from 0; `.` without a sample, `!` while the service was down.
    pub line: String,
    /// The lowest value.
    pub lowest: String,
    /// The highest value.
    pub highest: String,
}

/// Numbers for whoever counts over many reports. Absent is what the stream does not hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// From the onset to the first healthy sample, in an open incident to the last record.
    pub duration_s: Option<i64>,
    /// From the onset to the first decision.
    pub detect_s: Option<i64>,
    /// From the first decision to the start of the rollback.
    pub act_s: Option<i64>,
    /// From the start of the rollback to the first healthy sample.
    pub restore_s: Option<i64>,
    /// Requests times error rate, summed.
    pub failed_requests: Option<f64>,
    /// The highest error rate, 0..1.
    pub peak_error_rate: Option<f64>,
    /// The slowest answer.
    pub worst_response_ms: Option<f64>,
    /// How long an answer takes when all is well.
    pub normal_response_ms: Option<f64>,
    /// How long the service did not answer.
    pub down_s: Option<i64>,
    /// The length of what is not in the tree any more; 0 where nothing was lost.
    pub data_loss_s: Option<i64>,
}

/// The stretch of time that a report draws: before the onset as long as the incident took, half an hour at least and as far as samples
/// are kept at most, and a quarter of an hour after its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Window {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

/// What a mark on the time axis stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkKind {
    /// The change that the policy suspects first.
    Suspect,
    /// The trouble began.
    Onset,
    /// A decision named it.
    Detected,
    /// The first rollback began.
    Rollback,
    /// The healthy period at the end began.
    Restored,
}

/// One of the instants that every chart shows; in order of time, each kind at most once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    /// What happened then.
    pub kind: MarkKind,
    /// When.
    pub time: Timestamp,
    /// Its name beside the line, as plain text.
    pub label: String,
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
    /// The same in seconds, by which rollbacks are compared.
    #[serde(skip)]
    pub lost_s: Option<i64>,
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
    pub counts: BTreeMap<String, u64>,
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
