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
mod events;
mod incident;
#[cfg(test)]
mod laws;
mod metric;
mod normal;
mod point;
mod proof;
mod rules;
mod table;

pub use bounds::Bounds;
pub use check::check;
pub use rules::{BUILT_IN, Policy};

use crate::record::{Decision, Record, Severity, Stamp};
use crate::time::{Span, Timestamp};
use course::Course;
use jiff::SignedDuration;
use std::collections::HashMap;

/// How a judge differs from the policy's plain reading.
#[derive(Clone, Copy, Debug, Default)]
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
}

impl Judge {
    /// A judge who has seen nothing yet.
    pub fn new(policy: Policy, options: Options) -> Judge {
        Judge { policy, options, courses: Vec::new(), places: HashMap::new(), last: 0 }
    }

    /// Takes one record in. The decisions belong to the record's ecosystem.
    pub fn feed(&mut self, stamp: &Stamp, record: &Record) -> Heard {
        let mut heard = Heard::default();
        let place = self.place(&stamp.ecosystem);
        self.courses[place].1.feed(&self.policy, stamp.time, record, &mut heard);
        heard
    }

    fn place(&mut self, ecosystem: &Option<String>) -> usize {
        // Most streams are about one ecosystem.
        if self.courses.get(self.last).is_some_and(|(name, _)| name == ecosystem) {
            return self.last;
        }
        let courses = &mut self.courses;
        let (policy, options) = (&self.policy, self.options);
        self.last = *self.places.entry(ecosystem.clone()).or_insert_with(|| {
            courses.push((ecosystem.clone(), Course::new(policy, options)));
            courses.len() - 1
        });
        self.last
    }

    /// The worst severity of the incidents that are open.
    pub fn severity(&self) -> Option<Severity> {
        self.courses.iter().filter_map(|(_, course)| course.severity()).max()
    }

    /// Whether an ecosystem has fallen silent.
    pub fn is_silent(&self) -> bool {
        self.courses.iter().any(|(_, course)| course.is_silent())
    }

    /// How many records came too late to be used.
    pub fn late(&self) -> u64 {
        self.courses.iter().map(|(_, course)| course.late).sum()
    }

    /// If nothing was decided but a rule has begun to see something: which, and how far it is, in one sentence.
    pub fn pending(&self) -> Option<String> {
        if self.courses.iter().any(|(_, course)| course.decided) {
            return None;
        }
        let pending = self.courses.iter().filter_map(|(name, course)| course.pending(&self.policy).map(|pending| (name, pending)));
        let (ecosystem, (rule, proof)) = pending.max_by_key(|(_, (rule, _))| rule.severity)?;
        let whose = ecosystem.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let lasts = rule.lasts.unwrap_or(SignedDuration::ZERO);
        Some(format!(
            "nothing is decided yet: rule {}{whose} ({} {}) was seen {} of {} times and has held for {} of {}; ask with --now, or keep the stream running",
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
