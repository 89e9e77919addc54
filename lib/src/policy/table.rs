//! Who may act, and how far: the action table, and the guards that soften or harden what it says.

use super::blame::{Blame, Changes};
use super::course::ROLLBACKS;
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
    if answer.action == Action::Rollback && case.rollbacks >= case.policy.limit.min(ROLLBACKS as u64) {
        answer.notes.push("limit".into());
        (answer.action, answer.snapshot, answer.cut, answer.alternative, answer.data_loss_s) = (Action::Escalate, None, None, None, None);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::record::{Change, Snapshot};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(100_000_000 + minute * 60).unwrap()
    }

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    fn found(text: &str) -> Blame {
        Blame::Found { scope: scope(text), cut: at(-5), reversible: true }
    }

    fn brief(answer: &Answer) -> String {
        let scope = answer.scope.as_ref().map(|scope| format!(" {scope}")).unwrap_or_default();
        let notes: String = answer.notes.iter().map(|note| format!(" ({note})")).collect();
        format!("{:?}{scope}{notes}", answer.action).to_lowercase()
    }

    #[test]
    fn the_table_says_who_may_act() {
        use Severity::{Critical, High, Low, Medium};
        let blames = [
            found("config"),
            Blame::Ambiguous { scope: scope("config"), cut: at(-9), reversible: true },
            Blame::Claimed { scope: scope("config"), cut: at(-5), reversible: true },
            Blame::Module(scope("module:m")),
            Blame::Nobody,
        ];
        let row = |severity, trigger| {
            let firing = Firing { trigger, ..Firing::default() };
            blames.each_ref().map(|blame| brief(&look_up(severity, blame, at(0), &firing, false)))
        };
        let full = "rollback full";
        assert_eq!(row(Critical, false), [full, "rollback full (ambiguous)", full, full, full]);
        let propose = ["propose config", "propose config (ambiguous)", "propose config", "propose module:m"];
        assert_eq!(row(High, false), ["rollback config", propose[1], propose[2], propose[3], "propose full"]);
        assert_eq!(row(Medium, true), ["rollback config", propose[1], propose[2], propose[3], "investigate"]);
        assert_eq!(row(Medium, false), [propose[0], propose[1], propose[2], propose[3], "investigate"]);
        assert_eq!(row(Low, true), ["watch"; 5]);
    }

    #[test]
    fn a_critical_signal_that_is_trusted_and_names_a_target_limits_the_rollback_to_it() {
        let firing = Firing { only_signals: true, trusted: true, named: Some(scope("automation:a")), ..Firing::default() };
        let answer = look_up(Severity::Critical, &found("automation:a"), at(0), &firing, false);
        assert_eq!((brief(&answer), answer.alternative), ("rollback automation:a".into(), None));
        let mixed = Firing { only_signals: false, ..firing };
        let answer = look_up(Severity::Critical, &found("automation:a"), at(0), &mixed, false);
        assert_eq!((brief(&answer), answer.alternative), ("rollback full".into(), Some(scope("automation:a"))));
    }

    #[test]
    fn suspect_first_is_for_a_service_that_is_down_and_a_suspect_that_is_sure() {
        let down = Firing { only_down: true, ..Firing::default() };
        let says = |blame: &Blame, firing: &Firing| brief(&look_up(Severity::Critical, blame, at(0), firing, true));
        assert_eq!(says(&found("config"), &down), "rollback config");
        assert_eq!(says(&found("config"), &Firing::default()), "rollback full");
        assert_eq!(says(&Blame::Module(scope("module:m")), &down), "rollback full");
    }

    /// The guards over a rollback of `target`, with this point (minute, verified) in the stream and this change in between.
    fn guarded(target: &str, point: Option<(i64, bool)>, irreversible: Option<i64>, firing: &Firing, hold: bool, rollbacks: u64) -> Answer {
        let (mut points, mut changes) = (Points::default(), Changes::default());
        if let Some((minute, verified)) = point {
            let covers = vec!["full".into(), "config".into(), "modules".into()];
            points.add(at(minute), &Snapshot { id: "p".into(), covers, verified: Some(verified), ..Snapshot::default() });
        }
        if let Some(minute) = irreversible {
            changes.add(at(minute), &Change { target: "module:db".into(), reversible: Some(false), ..Change::default() });
        }
        let policy = Policy::default();
        let case = Case {
            now: at(2),
            onset: at(0),
            healthy: Some(at(-1)),
            policy: &policy.rollback,
            points: &points,
            changes: &changes,
            firing,
            hold,
            rollbacks,
        };
        let blame = found(target);
        guard(look_up(Severity::High, &blame, at(0), firing, false), &blame, &case)
    }

    #[test]
    fn a_guard_says_its_word_only_where_it_changes_something() {
        let calm = Firing::default();
        let says = |point, irreversible, hold, rollbacks| brief(&guarded("config", point, irreversible, &calm, hold, rollbacks));
        let good = Some((-60, true));
        assert_eq!(says(good, None, false, 0), "rollback config");
        assert_eq!(says(None, None, false, 0), "rollback config (store)");
        assert_eq!(says(None, None, true, 9), "propose config (store) (hold)");
        assert_eq!(says(Some((-1, true)), None, false, 0), "escalate config (no-point)", "younger than the change");
        assert_eq!(says(Some((-60, false)), Some(-30), true, 9), "propose config (unverified)");
        assert_eq!(says(Some((-20_000, true)), None, false, 0), "propose config (old)");
        assert_eq!(says(good, Some(-30), true, 9), "propose config (irreversible)");
        assert_eq!(says(good, Some(-61), false, 0), "rollback config");
        assert_eq!(says(good, None, true, 9), "propose config (hold)");
        assert_eq!(says(good, None, false, 1), "rollback config");
        assert_eq!(says(good, None, false, 2), "escalate config (limit)");
        let doubtful = Firing { only_signals: true, ..Firing::default() };
        assert_eq!(brief(&guarded("config", good, None, &doubtful, true, 0)), "propose config (untrusted)");
    }

    #[test]
    fn what_is_switched_off_needs_no_point_and_loses_no_data() {
        let answer = guarded("automation:a", Some((-1, true)), Some(-30), &Firing::default(), false, 0);
        assert_eq!((brief(&answer), answer.snapshot, answer.data_loss_s), ("rollback automation:a".into(), None, Some(0.0)));
        let answer = guarded("module:m", Some((-60, true)), None, &Firing::default(), false, 0);
        assert_eq!((answer.snapshot.as_deref(), answer.data_loss_s), (Some("p"), Some(3600.0)));
    }

    #[test]
    fn an_escalation_names_no_point_and_no_cut() {
        let answer = guarded("config", Some((-60, true)), None, &Firing::default(), false, 2);
        assert_eq!((answer.snapshot, answer.cut, answer.data_loss_s), (None, None, None));
    }
}
