//! Who may act, and how far: the action table, and the guards that soften or harden what it says.

use super::blame::{Blame, Changes};
use super::point::Points;
use super::rules::Rollback;
use crate::record::{Action, Scope, Severity};
use crate::time::Timestamp;

/// What is to be said about an incident.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub action: Action,
    pub scope: Option<Scope>,
    pub snapshot: Option<String>,
    pub cut: Option<Timestamp>,
    pub notes: Vec<String>,
    pub alternative: Option<Scope>,
    pub data_loss_s: Option<f64>,
    /// The scope that is blamed, which is not always the one to roll back.
    pub blamed: Option<Scope>,
}

/// What the table and the guards want to know about the rules that fire.
#[derive(Clone, Debug, Default)]
pub(super) struct Firing {
    /// One of them is a trigger, and no mere low rule.
    pub trigger: bool,
    /// The critical ones are signals, all of them, and there is at least one.
    pub only_signals: bool,
    /// One of those signals comes from a trusted source.
    pub trusted: bool,
    /// What the newest of those trusted signals blames.
    pub named: Option<Scope>,
    /// The critical ones are about `up`, all of them, and there is at least one.
    pub only_down: bool,
}

/// When and what the guards judge.
pub(super) struct Case<'a> {
    pub now: Timestamp,
    pub onset: Timestamp,
    /// The newest healthy record before the first sign.
    pub healthy: Option<Timestamp>,
    pub policy: &'a Rollback,
    pub points: &'a Points,
    pub changes: &'a Changes,
    pub firing: &'a Firing,
    /// Somebody has said hold, or nothing is to be done at all.
    pub hold: bool,
    /// Automatic rollbacks so far, in the window that counts.
    pub rollbacks: u64,
}

impl Answer {
    /// An action that needs no scope.
    fn only(action: Action) -> Answer {
        Answer { action, scope: None, snapshot: None, cut: None, notes: Vec::new(), alternative: None, data_loss_s: None, blamed: None }
    }

    /// A person has to go on, because a rollback was no help.
    pub fn escalate(scope: Option<Scope>, note: &str) -> Answer {
        Answer { scope, notes: vec![note.to_owned()], ..Answer::only(Action::Escalate) }
    }
}

/// The table: the incident's severity against the first suspect. `suspect_first`: roll a suspect back before everything.
pub(super) fn look_up(severity: Severity, blame: &Blame, onset: Timestamp, firing: &Firing, suspect_first: bool) -> Answer {
    use Action::{Investigate, Propose, Rollback, Watch};
    let critical = severity == Severity::Critical;
    let (scope, cut, certain) = match blame {
        Blame::Found { scope, cut, .. } => (scope.clone(), *cut, true),
        Blame::Ambiguous { scope, cut, .. } | Blame::Claimed { scope, cut, .. } => (scope.clone(), *cut, false),
        Blame::Module(scope) => (scope.clone(), onset, false),
        Blame::Nobody => (Scope::Full, onset, false),
    };
    let blamed = (*blame != Blame::Nobody).then(|| scope.clone());
    let mut answer = match severity {
        Severity::Low => Answer::only(Watch),
        Severity::Unknown => Answer::only(Investigate),
        Severity::Medium if *blame == Blame::Nobody => Answer::only(Investigate),
        Severity::Medium | Severity::High | Severity::Critical => {
            let action = if critical || (certain && (severity == Severity::High || firing.trigger)) { Rollback } else { Propose };
            Answer { scope: Some(scope.clone()), cut: Some(cut), ..Answer::only(action) }
        }
    };
    if critical {
        let named = firing.named.as_ref().filter(|_| firing.only_signals);
        let first = certain && suspect_first && firing.only_down && scope != Scope::Full;
        if let Some(named) = named {
            answer.scope = Some(named.clone());
        } else if !first {
            answer.scope = Some(Scope::Full);
            answer.alternative = Some(scope).filter(|scope| certain && *scope != Scope::Full);
        }
    }
    if matches!(blame, Blame::Ambiguous { .. }) && matches!(answer.action, Propose | Rollback) {
        answer.notes.push("ambiguous".into());
    }
    answer.blamed = blamed;
    answer
}

/// Chooses the restore point and applies the guards, in their order. What is neither `propose` nor `rollback` passes.
pub(super) fn guard(mut answer: Answer, blame: &Blame, case: &Case) -> Answer {
    let (Some(scope), Some(cut)) = (answer.scope.clone(), answer.cut) else { return answer };
    let wanted = answer.action == Action::Rollback;
    // A guard that changes nothing says nothing; both words of one guard are said.
    let soften = |answer: &mut Answer, was: bool, note: &str| {
        if was {
            answer.action = Action::Propose;
            answer.notes.push(note.to_owned());
        }
    };
    let irreversible;
    if !scope.needs_snapshot() {
        answer.data_loss_s = Some(0.0);
        irreversible = matches!(
            blame,
            Blame::Found { reversible: false, .. } | Blame::Ambiguous { reversible: false, .. } | Blame::Claimed { reversible: false, .. }
        );
    } else if !case.points.told() {
        answer.notes.push("store".into());
        // Which point it will be is not known; it lies at or before the cut.
        irreversible = case.changes.irreversible_since(cut);
    } else if let Some(point) = case.points.choose(&scope, cut, case.onset, case.healthy) {
        answer.snapshot = Some(point.id.clone());
        let loses_data = matches!(scope, Scope::Full | Scope::Module(_));
        answer.data_loss_s = Some(if loses_data { case.onset.duration_since(point.time).as_secs_f64() } else { 0.0 });
        if !point.verified {
            soften(&mut answer, wanted, "unverified");
        }
        if case.now.duration_since(point.time) > case.policy.max_age {
            soften(&mut answer, wanted, "old");
        }
        irreversible = case.changes.irreversible_since(point.time);
    } else {
        answer.notes.push("no-point".into());
        (answer.action, answer.cut, answer.alternative) = (Action::Escalate, None, None);
        return answer;
    }
    let guards = [(irreversible, "irreversible"), (case.firing.only_signals && !case.firing.trusted, "untrusted"), (case.hold, "hold")];
    for (holds, note) in guards {
        if holds {
            let was = answer.action == Action::Rollback;
            soften(&mut answer, was, note);
        }
    }
    if answer.action == Action::Rollback && case.rollbacks >= case.policy.limit {
        answer.notes.push("limit".into());
        (answer.action, answer.snapshot, answer.cut, answer.alternative, answer.data_loss_s) = (Action::Escalate, None, None, None, None);
    }
    answer
}
