//! Restore points: which one is the newest that is known to be good.

use crate::record::{Scope, Snapshot};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many points, and how many incidents behind us, are remembered.
const REMEMBERED: usize = 4096;

/// A snapshot, as far as it matters here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Point {
    pub time: Timestamp,
    pub id: String,
    pub verified: bool,
    covers: Vec<String>,
    /// A copy of what a restore set aside: it keeps the fault, so it is never chosen.
    safety: bool,
}

/// All restore points that the stream has told of, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Points {
    points: Vec<Point>,
    /// From onset to close.
    incidents: Vec<(Timestamp, Timestamp)>,
    /// Used in a rollback that failed, was reverted or did not help.
    useless: BTreeSet<String>,
    told: bool,
}

impl Points {
    pub fn add(&mut self, time: Timestamp, snapshot: &Snapshot) {
        self.told = true;
        if snapshot.id.is_empty() {
            return; // nobody could be sent to it
        }
        self.points.retain(|point| point.id != snapshot.id);
        let place = self.points.partition_point(|point| point.time <= time);
        let point = Point {
            time,
            id: snapshot.id.clone(),
            verified: snapshot.verified == Some(true),
            covers: snapshot.covers.clone(),
            safety: snapshot.kind.as_deref() == Some("safety"),
        };
        self.points.insert(place, point);
        if self.points.len() > REMEMBERED {
            self.points.remove(0);
        }
    }

    /// Whether the stream has carried any snapshot record.
    pub fn told(&self) -> bool {
        self.told
    }

    /// An incident is over: nothing that was taken in it is trusted.
    pub fn taint(&mut self, onset: Timestamp, close: Timestamp) {
        self.incidents.push((onset, close));
        if self.incidents.len() > REMEMBERED {
            self.incidents.remove(0);
        }
    }

    /// A rollback to this point did no good.
    pub fn distrust(&mut self, id: &str) {
        if self.useless.len() < REMEMBERED {
            self.useless.insert(id.to_owned());
        }
    }

    /// The newest point at or before `cut` and before `onset` that covers the scope, was seen healthy afterwards (last at
    /// `healthy`), and was not taken in or used in an incident in vain.
    pub fn choose(&self, scope: &Scope, cut: Timestamp, onset: Timestamp, healthy: Option<Timestamp>) -> Option<&Point> {
        let healthy = healthy?;
        let taken_in_incident = |point: &Point| self.incidents.iter().any(|(from, to)| (*from..=*to).contains(&point.time));
        self.points
            .iter()
            .rev()
            .filter(|point| point.time <= cut && point.time < onset && point.time <= healthy)
            .find(|point| !point.safety && covers(&point.covers, scope) && !self.useless.contains(&point.id) && !taken_in_incident(point))
    }
}

fn covers(covers: &[String], scope: &Scope) -> bool {
    let has = |word: &str| covers.iter().any(|covered| covered == word);
    let itself = || has(&scope.to_string());
    match scope {
        Scope::Full => (has("data") && has("config") && has("modules")) || itself(),
        Scope::Config(_) => has("config") || itself(),
        Scope::Module(_) => has("modules") || itself(),
        Scope::Automation(_) | Scope::Optimization(_) | Scope::Experiment(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + minute * 60).unwrap()
    }

    fn points(list: &[(i64, &str, &str)]) -> Points {
        let mut points = Points::default();
        for (minute, id, covers) in list {
            let covers = covers.split(' ').map(str::to_owned).collect();
            points.add(at(*minute), &Snapshot { id: (*id).into(), covers, verified: Some(true), ..Snapshot::default() });
        }
        points
    }

    fn chosen(points: &Points, scope: &str, cut: i64, onset: i64, healthy: i64) -> Option<String> {
        points.choose(&scope.parse().unwrap(), at(cut), at(onset), Some(at(healthy))).map(|point| point.id.clone())
    }

    const ALL: &str = "data config modules";

    #[test]
    fn a_point_lies_at_or_before_the_cut_and_before_the_onset() {
        let points = points(&[(1, "a", ALL), (5, "b", ALL), (9, "c", ALL)]);
        assert_eq!(chosen(&points, "full", 5, 9, 8).as_deref(), Some("b"));
        assert_eq!(chosen(&points, "full", 4, 9, 8).as_deref(), Some("a"));
        assert_eq!(chosen(&points, "full", 9, 9, 9).as_deref(), Some("b"));
        assert_eq!(chosen(&points, "full", 0, 9, 8), None);
    }

    #[test]
    fn a_point_that_was_never_seen_healthy_is_passed_over() {
        let points = points(&[(1, "a", ALL), (5, "b", ALL)]);
        assert_eq!(chosen(&points, "full", 9, 9, 5).as_deref(), Some("b"));
        assert_eq!(chosen(&points, "full", 9, 9, 4).as_deref(), Some("a"));
        assert!(points.choose(&Scope::Full, at(9), at(9), None).is_none());
    }

    #[test]
    fn a_point_must_cover_the_scope() {
        let points = points(&[(1, "a", ALL), (2, "b", "config"), (3, "c", "module:x"), (4, "d", "full"), (5, "e", "config:y")]);
        assert_eq!(chosen(&points, "config:y", 9, 9, 9).as_deref(), Some("e"));
        assert_eq!(chosen(&points, "full", 9, 9, 9).as_deref(), Some("d"));
        assert_eq!(chosen(&points, "module:x", 9, 9, 9).as_deref(), Some("c"));
        assert_eq!(chosen(&points, "config", 9, 9, 9).as_deref(), Some("b"));
        assert_eq!(chosen(&points, "module:y", 9, 9, 9).as_deref(), Some("a"));
    }

    #[test]
    fn points_of_earlier_incidents_and_of_rollbacks_in_vain_are_passed_over() {
        let mut points = points(&[(1, "a", ALL), (3, "b", ALL), (5, "c", ALL), (7, "d", ALL)]);
        points.taint(at(5), at(6));
        points.distrust("d");
        assert_eq!(chosen(&points, "full", 9, 9, 9).as_deref(), Some("b"));
        points.distrust("b");
        assert_eq!(chosen(&points, "full", 9, 9, 9).as_deref(), Some("a"));
    }

    #[test]
    fn a_later_record_of_the_same_point_replaces_the_earlier_one() {
        let mut points = points(&[(1, "a", ALL)]);
        points.add(at(1), &Snapshot { id: "a".into(), covers: vec!["full".into()], ..Snapshot::default() });
        let point = points.choose(&Scope::Full, at(9), at(9), Some(at(9))).unwrap();
        assert!(!point.verified);
        assert_eq!(points.points.len(), 1);
    }

    #[test]
    fn what_a_restore_set_aside_is_never_gone_back_to() {
        let mut points = points(&[(1, "a", ALL)]);
        points.add(at(2), &Snapshot { id: "s".into(), kind: Some("safety".into()), covers: vec!["full".into()], ..Snapshot::default() });
        assert_eq!(chosen(&points, "full", 9, 9, 9).as_deref(), Some("a"));
    }
}
