//! Which records belong together: decisions by the incident that they name, rollbacks by the decision they carry out, the
//! rollback they undo, or the time at which they happened.

use super::{Event, State, Story};
use crate::record::{Action, Decision, Plan, Record, Restore, Severity, Stamp, Step};
use crate::time::{Timestamp, compact, seconds_between};
use std::collections::BTreeSet;

/// Rollbacks that nobody decided on belong together when they are closer than this; the policy lets an incident reopen as long.
const TOGETHER_S: i64 = 3600;

/// One rollback of the live tree: its plan, its steps, its beginning and its end.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) id: &'a str,
    pub(super) home: Option<&'a str>,
    /// The first record of it.
    pub(super) first: Timestamp,
    pub(super) started: Option<Timestamp>,
    /// The last record that says how it ended.
    pub(super) ended: Option<(Timestamp, &'a Restore)>,
    pub(super) plan: Option<&'a Plan>,
    pub(super) steps: Vec<(Timestamp, &'a Step)>,
    /// What its restore records say: decision, scope, snapshot.
    pub(super) said: &'a Restore,
}

impl Run<'_> {
    pub(super) fn completed(&self) -> Option<Timestamp> {
        self.ended.filter(|(_, end)| end.phase == "completed").map(|(time, _)| time)
    }

    /// When the trees changed places, as near as the stream says.
    pub(super) fn moment(&self) -> Timestamp {
        self.started.or(self.ended.map(|(time, _)| time)).unwrap_or(self.first)
    }

    pub(super) fn by_operator(&self) -> bool {
        self.said.by.as_deref() == Some("operator")
    }

    /// Only written beside the live tree: no rollback.
    fn is_unpacking(&self) -> bool {
        self.said.strategy.as_deref() == Some("extract") || self.plan.is_some_and(|plan| plan.target.is_some())
    }
}

/// One incident: its decisions and its rollbacks, both in stream order. One of the two may be empty.
#[derive(Debug, Default)]
pub(super) struct Incident<'a> {
    pub(super) home: Option<&'a str>,
    pub(super) decisions: Vec<(Timestamp, &'a Decision)>,
    pub(super) runs: Vec<Run<'a>>,
}

impl<'a> Incident<'a> {
    pub(super) fn name(&self) -> Option<&'a str> {
        self.decisions.first().map(|(_, decision)| decision.incident.as_str())
    }

    /// What it is called in lists: the name that decisions give it, else the id of its first rollback, else when that began.
    pub(super) fn id(&self) -> String {
        let run = || self.runs.first().map(|run| run.id).filter(|id| !id.is_empty());
        self.name().or_else(run).map_or_else(|| format!("rollback-{}", compact(self.first())), str::to_owned)
    }

    pub(super) fn onset(&self) -> Option<Timestamp> {
        self.decisions.iter().filter_map(|(_, decision)| decision.onset).min()
    }

    pub(super) fn detected(&self) -> Option<Timestamp> {
        self.decisions.first().map(|(time, _)| *time)
    }

    /// The first record of it.
    pub(super) fn first(&self) -> Timestamp {
        let runs = self.runs.iter().map(|run| run.first);
        self.detected().into_iter().chain(runs).min().unwrap_or_default()
    }

    /// When a decision closed it for good.
    pub(super) fn resolved(&self) -> Option<Timestamp> {
        self.decisions.last().filter(|(_, decision)| decision.action == Action::Resolved).map(|(time, _)| *time)
    }

    pub(super) fn state(&self) -> State {
        match (self.decisions.is_empty(), self.resolved()) {
            (true, _) => State::Undecided,
            (false, Some(_)) => State::Resolved,
            (false, None) => State::Ongoing,
        }
    }

    pub(super) fn severity(&self) -> Option<Severity> {
        self.decisions.iter().map(|(_, decision)| decision.severity).max()
    }

    /// The decisions that say something new.
    pub(super) fn news(&self) -> impl Iterator<Item = &(Timestamp, &'a Decision)> {
        self.decisions.iter().filter(|(_, decision)| !decision.reminder)
    }

    fn decided(&self, id: &str) -> bool {
        self.decisions.iter().any(|(_, decision)| decision.id == id)
    }

    fn holds(&self, run: &str) -> bool {
        !run.is_empty() && self.runs.iter().any(|known| known.id == run)
    }
}

impl Story {
    /// The service that a record is about. In a stream of one named service, records without a name are about it.
    pub(super) fn home<'a>(&'a self, stamp: &'a Stamp) -> Option<&'a str> {
        self.named(stamp.ecosystem.as_deref())
    }

    /// The same by the name that a record carries.
    pub(super) fn named<'a>(&'a self, name: Option<&'a str>) -> Option<&'a str> {
        let mut names = self.newest.keys().flatten();
        let only = names.next().filter(|_| names.next().is_none());
        name.or(only.map(String::as_str))
    }

    /// All incidents, the last one last.
    pub(super) fn incidents(&self) -> Vec<Incident<'_>> {
        let mut incidents: Vec<Incident> = Vec::new();
        for Event { stamp, record } in &self.events {
            // Silence of the monitoring is reported as a decision too, but it is no incident.
            if let Record::Decision(decision) = record
                && decision.severity != Severity::Unknown
            {
                let home = self.home(stamp);
                match incidents.iter_mut().find(|known| known.home == home && known.name() == Some(&decision.incident)) {
                    Some(known) => known.decisions.push((stamp.time, decision)),
                    None => incidents.push(Incident { home, decisions: vec![(stamp.time, decision)], runs: Vec::new() }),
                }
            }
        }
        for run in self.runs() {
            let at = belongs(&incidents, &run);
            match at {
                Some(at) => incidents[at].runs.push(run),
                None => incidents.push(Incident { home: run.home, decisions: Vec::new(), runs: vec![run] }),
            }
        }
        incidents.sort_by_key(Incident::first);
        incidents
    }

    /// The rollbacks of live trees, in stream order.
    fn runs(&self) -> Vec<Run<'_>> {
        let mut runs: Vec<Run> = Vec::new();
        for Event { stamp, record } in &self.events {
            let Record::Restore(restore) = record else { continue };
            let home = self.home(stamp);
            let same = |run: &&mut Run| match restore.id.as_str() {
                // Without an id, an end belongs to the beginning before it.
                "" => run.id.is_empty() && run.home == home && run.ended.is_none() && restore.phase != "started",
                id => run.id == id,
            };
            let time = stamp.time;
            let run = match runs.iter_mut().rev().find(same) {
                Some(run) => run,
                None => {
                    let new = Run { id: &restore.id, home, first: time, started: None, ended: None, plan: None, steps: Vec::new(), said: restore };
                    runs.push(new);
                    // It was pushed just above.
                    runs.last_mut().expect("one run at least")
                }
            };
            match restore.phase.as_str() {
                "started" => run.started = Some(time),
                _ => {
                    run.ended = Some((time, restore));
                    run.said = restore;
                }
            }
        }
        for Event { stamp, record } in &self.events {
            let id = match record {
                Record::Plan(plan) => &plan.restore,
                Record::Step(step) => &step.restore,
                _ => continue,
            };
            let Some(run) = runs.iter_mut().find(|run| run.id == id && !id.is_empty()) else { continue };
            run.first = run.first.min(stamp.time);
            match record {
                Record::Plan(plan) => run.plan = Some(plan),
                Record::Step(step) => run.steps.push((stamp.time, step)),
                _ => {}
            }
        }
        runs.retain(|run| !run.is_unpacking());
        runs
    }

    /// Names of services beside this one.
    pub(super) fn other_homes(&self, home: Option<&str>) -> BTreeSet<&str> {
        self.newest.keys().filter_map(|name| name.as_deref()).filter(|name| Some(*name) != home).collect()
    }
}

/// The incident that a rollback belongs to, if there is one yet.
fn belongs(incidents: &[Incident], run: &Run) -> Option<usize> {
    let near = |incident: &Incident| incident.home == run.home || incident.home.is_none() || run.home.is_none();
    let find = |test: &dyn Fn(&Incident) -> bool| incidents.iter().rposition(|incident| near(incident) && test(incident));
    let by_decision = run.said.decision.as_deref().and_then(|id| find(&|incident| incident.decided(id)));
    let by_undo = || run.said.undoes.as_deref().and_then(|id| find(&|incident| incident.holds(id)));
    let inside = |incident: &Incident| {
        let open = |from| from <= run.first && incident.resolved().is_none_or(|to| run.first <= to);
        incident.home == run.home && incident.detected().is_some_and(open)
    };
    let soon_after = |incident: &Incident| {
        let last = incident.runs.last().map(|last| last.ended.map_or(last.first, |(time, _)| time));
        incident.home == run.home && incident.decisions.is_empty() && last.is_some_and(|last| seconds_between(last, run.first) <= TOGETHER_S)
    };
    by_decision.or_else(by_undo).or_else(|| find(&inside)).or_else(|| find(&soon_after))
}
