//! One incident, from onset to proven recovery: how bad it has become, what has been said about it, when to say it again.

use super::later;
use super::proof::Proof;
use super::rules::Policy;
use crate::record::{Action, Decision, Scope, Severity};
use crate::time::Timestamp;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How soon after its close an incident can be reopened.
const REOPENS: SignedDuration = SignedDuration::from_hours(1);
/// No clear time grows beyond this by doubling.
const LONGEST_CLEAR: SignedDuration = SignedDuration::from_hours(1);

/// Why an incident stays with people once it was given to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Handed {
    pub note: String,
    pub scope: Option<Scope>,
}

/// How far the two tries of `down = "suspect-first"` have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tries {
    #[default]
    None,
    /// The suspect is being rolled back.
    Suspect,
    /// It was, and that has completed.
    SuspectDone,
    /// There is nothing left to try.
    All,
}

/// An incident, open or closed less than an hour ago.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Incident {
    pub name: String,
    pub severity: Severity,
    pub onset: Timestamp,
    /// When the stream first showed it.
    pub sign: Timestamp,
    /// The newest healthy record before that.
    pub healthy: Option<Timestamp>,
    /// A rollback was decided or completed in it.
    pub rolled_back: bool,
    pub tries: Tries,
    pub handed: Option<Handed>,
    reopened: u32,
    /// When each severity was first reached, by its rank.
    reached: [Option<Timestamp>; 5],
    last: Option<Decision>,
    last_at: Timestamp,
    answered: bool,
    closed: Option<Timestamp>,
}

impl Incident {
    /// A new one, named after its onset.
    pub fn open(onset: Timestamp) -> Incident {
        Incident {
            name: crate::time::compact(onset),
            severity: Severity::Unknown,
            onset,
            sign: Timestamp::MAX,
            healthy: None,
            rolled_back: false,
            tries: Tries::default(),
            handed: None,
            reopened: 0,
            reached: [None; 5],
            last: None,
            last_at: Timestamp::MIN,
            answered: false,
            closed: None,
        }
    }

    /// Goes on with an incident that was closed: its name, its rollbacks and its deadlines stay.
    pub fn reopen(&mut self, onset: Timestamp) {
        self.closed = None;
        self.reopened += 1;
        (self.severity, self.onset, self.sign, self.healthy) = (Severity::Unknown, onset, Timestamp::MAX, None);
    }

    pub fn close(&mut self, now: Timestamp) {
        self.closed = Some(now);
    }

    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Whether trouble at `now` is this incident again.
    pub fn can_reopen(&self, now: Timestamp) -> bool {
        self.closed.is_some_and(|closed| now.duration_since(closed) < REOPENS)
    }

    pub fn reopened(&self) -> u32 {
        self.reopened
    }

    /// A rule has started to fire: it may raise the severity and move the onset back.
    pub fn join(&mut self, severity: Severity, proof: &Proof, now: Timestamp) {
        self.severity = self.severity.max(severity);
        self.onset = self.onset.min(proof.since);
        if proof.sign < self.sign {
            (self.sign, self.healthy) = (proof.sign, proof.healthy);
        }
        self.reached[self.severity as usize].get_or_insert(now);
    }

    /// How long rules must be healthy: doubled for every time it was reopened.
    pub fn clear(&self, policy: &Policy) -> SignedDuration {
        let doubled = policy.clear.checked_mul(1i32.checked_shl(self.reopened.min(30)).unwrap_or(i32::MAX)).unwrap_or(SignedDuration::MAX);
        doubled.min(LONGEST_CLEAR.max(policy.clear))
    }

    /// The latest time to act. A milder severity's deadline stays if it is earlier.
    pub fn deadline(&self, policy: &Policy) -> Option<Timestamp> {
        let due = |severity: Severity| Some(later(self.reached[severity as usize]?, policy.deadline.of(severity)?));
        [Severity::Medium, Severity::High, Severity::Critical].into_iter().filter(|severity| *severity <= self.severity).filter_map(due).min()
    }

    /// What was said last.
    pub fn last(&self) -> Option<&Decision> {
        self.last.as_ref()
    }

    /// Remembers what was said.
    pub fn said(&mut self, now: Timestamp, decision: &Decision) {
        if !decision.reminder {
            self.answered = false;
        }
        self.last = Some(decision.clone());
        self.last_at = now;
    }

    /// Somebody has answered: an operator, or a restore.
    pub fn answer(&mut self) {
        self.answered = true;
    }

    /// The last record again, if it waits for an answer and it is time to say so.
    pub fn remind(&self, policy: &Policy, now: Timestamp) -> Option<Decision> {
        let last = self.last.as_ref()?;
        if self.answered || !self.is_open() || !matches!(last.action, Action::Propose | Action::Investigate | Action::Escalate) {
            return None;
        }
        let is_due = |time: Timestamp| time > self.last_at && now >= time;
        let overdue =
            if last.severity == Severity::Critical { is_due(later(self.last_at, policy.rollback.cooldown)) } else { is_due(last.deadline?) };
        let half_way = || {
            let (reached, deadline) = (self.reached[last.severity as usize]?, last.deadline?);
            Some(later(reached, deadline.duration_since(reached) / 2))
        };
        if !overdue && (last.severity == Severity::Critical || !half_way().is_some_and(is_due)) {
            return None;
        }
        Some(Decision { reminder: true, overdue, ..last.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn fired(minute: i64) -> Proof {
        Proof { since: at(minute), sign: at(minute), ..Proof::default() }
    }

    #[test]
    fn severity_only_rises_and_the_onset_only_moves_back() {
        let mut incident = Incident::open(at(10));
        incident.join(Severity::High, &fired(10), at(12));
        incident.join(Severity::Low, &fired(9), at(13));
        incident.join(Severity::Medium, &fired(11), at(14));
        assert_eq!((incident.severity, incident.onset, incident.sign), (Severity::High, at(9), at(9)));
    }

    #[test]
    fn the_deadline_of_a_milder_severity_stays_if_it_is_earlier() {
        let policy = Policy::default();
        let mut incident = Incident::open(at(0));
        incident.join(Severity::Low, &fired(0), at(0));
        assert_eq!(incident.deadline(&policy), None);
        incident.join(Severity::Medium, &fired(0), at(0));
        assert_eq!(incident.deadline(&policy), Some(at(24 * 60)));
        incident.join(Severity::High, &fired(0), at(23 * 60 + 30));
        assert_eq!(incident.deadline(&policy), Some(at(24 * 60)));
        incident.join(Severity::Critical, &fired(0), at(23 * 60 + 40));
        assert_eq!(incident.deadline(&policy), Some(at(23 * 60 + 40)));
    }

    #[test]
    fn every_reopening_doubles_the_clear_time_up_to_an_hour() {
        let policy = Policy::default();
        let mut incident = Incident::open(at(0));
        let minutes: Vec<i64> = (0..6)
            .map(|_| {
                let clear = incident.clear(&policy).as_mins();
                incident.reopen(at(1));
                clear
            })
            .collect();
        assert_eq!(minutes, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn it_can_be_reopened_for_less_than_an_hour() {
        let mut incident = Incident::open(at(0));
        incident.close(at(10));
        assert!(incident.can_reopen(at(69)));
        assert!(!incident.can_reopen(at(70)));
    }
}
