//! The decision policy: records so far and a policy in, decisions with their reasons out.
//!
//! A [`Judge`] is fed one record at a time, in stream order, and answers with the decisions that this record brings about.
//! The clock is the stream's, so the same records give the same decisions live, replayed, or a year later. Each ecosystem is
//! judged by itself. What is remembered is bounded: by spans of the policy where time tells what can still matter, by a
//! count where it cannot.

mod blame;
mod bounds;
mod check;
mod course;
mod diff;
mod events;
mod incident;
#[cfg(test)]
mod laws;
mod memory;
mod metric;
mod normal;
mod point;
mod proof;
mod recent;
mod rules;
mod table;

pub use bounds::Bounds;
pub use check::check;
pub use diff::Diff;
pub use rules::{BUILT_IN, Policy};

use crate::record::{Decision, Record, Severity, Stamp};
use crate::time::{Span, Timestamp};
use course::Course;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How many ecosystems one judge looks after.
const ECOSYSTEMS: usize = 1024;
/// How long an ecosystem's name may be, in bytes.
const LONGEST_NAME: usize = 1024;

/// How a judge differs from the policy's plain reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// A person asks now: one sample is proof enough for every rule. The action stays what it would be.
    pub now: bool,
    /// Nothing is to be rolled back: what would be a `rollback` is a `propose`.
    pub dry_run: bool,
}

/// What one record has brought about.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Decisions in the order in which they are to be written, each with its own time.
    pub decisions: Vec<(Timestamp, Decision)>,
    /// Sentences about what in this record could not be used.
    pub warnings: Vec<String>,
}

/// Judges a stream.
pub struct Judge {
    policy: Policy,
    options: Options,
    courses: Vec<(Option<String>, Course)>,
    /// Where each ecosystem's course is.
    places: HashMap<Option<String>, usize>,
    last: usize,
    unjudged: u64,
}

impl Judge {
    /// A judge who has seen nothing yet.
    pub fn new(policy: Policy, options: Options) -> Judge {
        Judge { policy, options, courses: Vec::new(), places: HashMap::new(), last: 0, unjudged: 0 }
    }

    /// Takes one record in. The decisions belong to the record's ecosystem.
    pub fn feed(&mut self, stamp: &Stamp, record: &Record) -> Heard {
        let mut heard = Heard::default();
        if let Some(place) = self.place(&stamp.ecosystem, &mut heard) {
            self.courses[place].1.feed(&self.policy, stamp.time, record, &mut heard);
        }
        heard
    }

    /// As [`Judge::feed`], for a judge who remembers: a line that was taken in before [`Judge::remember`] is known again by its
    /// `mark` (the beginning of a digest of its bytes) and passed over.
    pub fn feed_once(&mut self, stamp: &Stamp, record: &Record, mark: u64) -> Heard {
        let mut heard = Heard::default();
        if let Some(place) = self.place(&stamp.ecosystem, &mut heard) {
            self.courses[place].1.feed_once(&self.policy, stamp.time, record, mark, &mut heard);
        }
        heard
    }

    /// Where the ecosystem's course is; nowhere if there is no room for it.
    fn place(&mut self, ecosystem: &Option<String>, heard: &mut Heard) -> Option<usize> {
        // Most streams are about one ecosystem.
        if self.courses.get(self.last).is_some_and(|(name, _)| name == ecosystem) {
            return Some(self.last);
        }
        let too_long = ecosystem.as_ref().is_some_and(|name| name.len() > LONGEST_NAME);
        if too_long || (self.courses.len() >= ECOSYSTEMS && !self.places.contains_key(ecosystem)) {
            self.unjudged += 1;
            if self.unjudged == 1 {
                let why = if too_long {
                    format!("a name of more than {LONGEST_NAME} bytes")
                } else {
                    format!("the {ECOSYSTEMS} before it are all that fit")
                };
                let name: String = ecosystem.iter().flat_map(|name| name.chars().take(40)).collect();
                heard.warnings.push(format!("the ecosystem '{name}' is not judged: {why}"));
            }
            return None;
        }
        let courses = &mut self.courses;
        let (policy, options) = (&self.policy, self.options);
        self.last = *self.places.entry(ecosystem.clone()).or_insert_with(|| {
            courses.push((ecosystem.clone(), Course::new(policy, options)));
            courses.len() - 1
        });
        Some(self.last)
    }

    /// The worst severity of the incidents that are open.
    pub fn severity(&self) -> Option<Severity> {
        self.courses.iter().filter_map(|(_, course)| course.severity()).max()
    }

    /// Whether an ecosystem has fallen silent.
    pub fn is_silent(&self) -> bool {
        self.courses.iter().any(|(_, course)| course.is_silent())
    }

    /// Whether nothing is known about the service: an ecosystem has fallen silent, or nobody could ever say whether it is up.
    pub fn is_unknown(&self) -> bool {
        let known = |(_, course): &(_, Course)| course.was_ever_known();
        self.is_silent() || !self.courses.iter().any(known) || self.courses.iter().any(|(_, course)| course.was_never_known())
    }

    /// How many records belong to ecosystems for which there was no room.
    pub fn unjudged(&self) -> u64 {
        self.unjudged
    }

    /// How many records an earlier run had taken in already.
    pub fn again(&self) -> u64 {
        self.courses.iter().map(|(_, course)| course.again).sum()
    }

    /// How many records came too late to be used.
    pub fn late(&self) -> u64 {
        self.courses.iter().map(|(_, course)| course.late).sum()
    }

    /// If a rule has begun to see something while no incident is open: which, how far it is, and how to go on, in one sentence.
    pub fn pending(&self) -> Option<String> {
        let waiting = self.courses.iter().filter(|(_, course)| course.severity().is_none());
        let pending = waiting.filter_map(|(name, course)| course.pending(&self.policy).map(|pending| (name, pending)));
        // Of several the worst, and of equals the first.
        let (ecosystem, (rule, proof)) = pending.rev().max_by_key(|(_, (rule, _))| rule.severity)?;
        let whose = ecosystem.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let lasts = rule.lasts.unwrap_or(SignedDuration::ZERO);
        Some(format!(
            "nothing is decided yet: rule {}{whose} ({} {}) was seen {} of {} times and has held for {} of {}; \
             ask with --now, keep the samples coming (eco-health --every), or go on from here next time (--state FILE)",
            rule.name,
            self.policy.name_of(rule.when.metric),
            rule.when.words,
            proof.count,
            self.policy.samples,
            words(proof.held),
            words(lasts),
        ))
    }
}

fn words(length: SignedDuration) -> Span {
    Span(length.unsigned_abs())
}

/// `time` plus `length`, stopping at the end of time.
fn later(time: Timestamp, length: SignedDuration) -> Timestamp {
    time.saturating_add(length).unwrap_or(Timestamp::MAX)
}
