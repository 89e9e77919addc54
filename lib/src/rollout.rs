//! A gradual rollout as a state machine: records in, records and orders out.
//!
//! A [`Pilot`] is fed one record at a time, in stream order. What it answers is a list of [`Step`]s: records to write, sentences
//! for people, and at most one [`Order`] (set a weight, run the gate, roll back), which stands last. Whoever carries the order out
//! tells the pilot how it ended, and gets what follows. The clock is the stream's; a pilot that is fed the same records and told
//! the same ends gives the same steps.
//!
//! What always holds: traffic rises only after a phase has passed, or falls; before anything is rolled back the version's weight is
//! set to 0; a fall is written down before it is ordered, a rise only after it was carried out. So whoever reads the last record
//! after a crash never goes on with more traffic than was earned.

mod course;
mod evidence;
#[cfg(test)]
mod laws;
mod plan;
#[cfg(test)]
mod tests;

pub use plan::{Command, Plan};

use crate::error::{Error, Result};
use crate::record::{Decision, Line, Record, Rollout, Scope, Stamp};
use crate::time::Timestamp;
use course::Course;

/// Sums of shares are a hair off what they would be on paper.
const HAIR: f64 = 1e-9;

/// Something to be done, in the order in which it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write this record, with this time.
    Write(Timestamp, Box<Record>),
    /// Say this to people.
    Say(String),
    /// Carry this out, and tell [`Pilot::ended`].
    Do(Order),
}

/// Something that only the world can do. To an order whose command the plan leaves out the answer is that it went well.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Give the new version so many percent of the traffic.
    Set(f64),
    /// Find out whether a rollout may begin.
    Gate {
        /// What is asked for, and when.
        start: (Timestamp, Box<Rollout>),
        /// What is known beside it: the last sample of the service, and the last decision of each incident that is open.
        known: Vec<(Timestamp, Record)>,
    },
    /// Carry this decision out.
    RollBack(Timestamp, Box<Decision>),
}

/// Guides the rollouts of one service, one at a time.
pub struct Pilot {
    course: Course,
}

impl Pilot {
    /// A pilot who has seen nothing yet. With the name of an ecosystem, records that carry another one's are passed by; without, the
    /// first rollout that carries a name decides.
    pub fn new(plan: Plan, ecosystem: Option<String>) -> Pilot {
        Pilot { course: Course::new(plan, ecosystem) }
    }

    /// Takes one record in, and says what follows from it. No order may be under way.
    pub fn feed(&mut self, stamp: &Stamp, record: &Record) -> Vec<Step> {
        self.course.feed(stamp, record)
    }

    /// How the order ended that stood last: well, or why not.
    pub fn ended(&mut self, done: Result<(), String>) -> Vec<Step> {
        self.course.ended(done)
    }

    /// Takes a record of the past in: it is remembered, and nothing follows from it.
    pub fn recall(&mut self, stamp: &Stamp, record: &Record) {
        self.course.recall(stamp, record);
    }

    /// After the past was recalled: what has to be done again to be sure that the world is as the last record says.
    pub fn resume(&mut self) -> Vec<Step> {
        self.course.resume()
    }

    /// The service that the records belong to, where it has a name.
    pub fn ecosystem(&self) -> Option<&str> {
        self.course.home.as_deref()
    }

    /// Whether the rollout is stuck: only a person can help.
    pub fn is_stuck(&self) -> bool {
        self.course.is_stuck()
    }

    /// How many records came too late to be used.
    pub fn late(&self) -> u64 {
        self.course.late
    }

    /// What [`Pilot::recall`] reads, from the bytes of a log. Lines that are no record are no past.
    pub fn recall_all(&mut self, log: &[u8]) {
        for (number, line) in (1..).zip(log.split(|byte| *byte == b'\n')) {
            let line = Line::parse(number, line.into());
            if line.fault.is_none() {
                self.recall(&line.stamp, &line.record);
            }
        }
    }
}

/// The record that asks for a rollout.
///
/// # Errors
/// [`Error::Usage`] for a version that nobody could name again.
pub fn start(id: String, version: String, target: Scope) -> Result<Rollout> {
    if version.trim().is_empty() || version.len() > 255 || version.chars().any(char::is_control) {
        return Err(Error::Usage(format!(
            "'{}' cannot be a version: write up to 255 printable characters, such as planner@r42",
            version.escape_debug()
        )));
    }
    Ok(Rollout {
        id,
        version,
        target,
        phase: None,
        state: "idle".into(),
        exposure: None,
        since: None,
        begun: None,
        counted_s: None,
        stable: None,
        decision: None,
        reasons: Vec::new(),
        notes: Vec::new(),
    })
}
