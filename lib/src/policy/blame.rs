//! What was changed, what has been undone since, and which change is the likeliest cause.

use super::rules::Rollback;
use crate::record::{Change, Scope, Suspect};
use crate::time::Timestamp;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How many changes and restores are remembered. More than that in one window of blame names nobody anyway.
const REMEMBERED: usize = 4096;
/// How many suspects one decision names.
const NAMED: usize = 256;

/// A change, as far as it matters here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Made {
    pub time: Timestamp,
    pub id: Option<String>,
    pub target: String,
    /// What to roll back; nothing where the target is not a scope.
    pub scope: Option<Scope>,
    affects: Vec<String>,
    pub reversible: bool,
    by_us: bool,
}

impl Made {
    fn touches(&self, module: &str) -> bool {
        matches!(&self.scope, Some(Scope::Module(id)) if id == module) || self.affects.iter().any(|affected| affected == module)
    }

    fn touches_any(&self, modules: &[String]) -> bool {
        modules.iter().any(|module| self.touches(module))
    }
}

/// Changes and restores, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Changes {
    made: Vec<Made>,
    undone: Vec<(Timestamp, Scope)>,
}

/// The first suspect, and how good the case against it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Blame {
    /// A trusted signal names it, or a change is blamed: the scope and the time to go back before.
    Found {
        scope: Scope,
        cut: Timestamp,
        reversible: bool,
    },
    /// Two changes of different targets too close together: the newest, and the time of the earliest.
    Ambiguous {
        scope: Scope,
        cut: Timestamp,
        reversible: bool,
    },
    /// Exactly one module is failing.
    Module(Scope),
    /// A signal that nobody vouches for names it.
    Claimed {
        scope: Scope,
        cut: Timestamp,
        reversible: bool,
    },
    Nobody,
}

impl Changes {
    pub fn add(&mut self, time: Timestamp, change: &Change) {
        let place = self.made.partition_point(|made| made.time <= time);
        let made = Made {
            time,
            id: change.id.clone(),
            target: change.target.clone(),
            scope: change.target.parse().ok(),
            affects: change.affects.clone(),
            reversible: change.reversible != Some(false),
            by_us: change.by.as_deref() == Some("eco-restore"),
        };
        // A change that is told twice is one change.
        if self.made[..place].iter().rev().take_while(|known| known.time == time).any(|known| known.id == made.id && known.target == made.target) {
            return;
        }
        self.made.insert(place, made);
        if self.made.len() > REMEMBERED {
            self.made.remove(0);
        }
    }

    /// A restore of this scope completed.
    pub fn undo(&mut self, time: Timestamp, scope: Scope) {
        self.undone.push((time, scope));
        if self.undone.len() > REMEMBERED {
            self.undone.remove(0);
        }
    }

    fn is_undone(&self, made: &Made) -> bool {
        self.undone.iter().any(|(time, scope)| {
            *time >= made.time
                && match scope {
                    Scope::Full => true,
                    Scope::Config(None) => matches!(made.scope, Some(Scope::Config(_))),
                    other => made.scope.as_ref() == Some(other),
                }
        })
    }

    /// Whether a change that cannot be taken back, and has not been, was made at `from` or later.
    pub fn irreversible_since(&self, from: Timestamp) -> bool {
        self.made.iter().any(|made| !made.reversible && made.time >= from && !self.is_undone(made))
    }

    /// The changes that can be the cause of trouble that began at `onset`, newest first.
    pub fn suspects(&self, onset: Timestamp, rollback: &Rollback, failing: &[String]) -> Vec<&Made> {
        let in_window = |made: &&Made| made.time <= onset && onset.duration_since(made.time) <= rollback.blame;
        let elsewhere = |made: &Made| matches!(made.scope, Some(Scope::Module(_))) && !failing.is_empty() && !made.touches_any(failing);
        let possible = |made: &&Made| made.scope.is_some() && !made.by_us && !elsewhere(made) && !self.is_undone(made);
        self.made.iter().rev().filter(in_window).filter(possible).collect()
    }
}

/// The first suspect. `named` and `claimed` are what signals blame, trusted and not.
pub(super) fn first_suspect(
    suspects: &[&Made],
    failing: &[String],
    named: Option<Scope>,
    claimed: Option<Scope>,
    onset: Timestamp,
    tie: SignedDuration,
) -> Blame {
    // What a signal blames need not have been changed; then the trouble's beginning is all there is to go back before.
    let of_target = |scope: &Scope| {
        let change = suspects.iter().find(|made| made.scope.as_ref() == Some(scope));
        change.map_or((onset, true), |made| (made.time, made.reversible))
    };
    if let Some(scope) = named {
        let (cut, reversible) = of_target(&scope);
        return Blame::Found { scope, cut, reversible };
    }
    let blamed = |made: &Made| Some((made.scope.clone()?, made.time, made.reversible));
    if let Some((scope, cut, reversible)) = suspects.iter().find(|made| made.touches_any(failing)).and_then(|made| blamed(made)) {
        return Blame::Found { scope, cut, reversible };
    }
    if let Some((newest, (scope, cut, reversible))) = suspects.first().and_then(|made| Some((made, blamed(made)?))) {
        let tied = || suspects.iter().filter(|other| newest.time.duration_since(other.time) < tie);
        if tied().any(|other| other.target != newest.target) {
            let earliest = tied().map(|other| other.time).min().unwrap_or(cut);
            return Blame::Ambiguous { scope, cut: earliest, reversible: tied().all(|other| other.reversible) };
        }
        return Blame::Found { scope, cut, reversible };
    }
    if let [only] = failing
        && let Ok(scope) = format!("module:{only}").parse()
    {
        return Blame::Module(scope);
    }
    match claimed {
        Some(scope) => {
            let (cut, reversible) = of_target(&scope);
            Blame::Claimed { scope, cut, reversible }
        }
        None => Blame::Nobody,
    }
}

/// The suspects as a record names them: the blamed scope's first, then newest first.
pub(super) fn line_up(suspects: &[&Made], blamed: Option<&Scope>, onset: Timestamp) -> Vec<Suspect> {
    let is_blamed = |made: &&&Made| blamed.is_some() && made.scope.as_ref() == blamed;
    // Only the newest change of the blamed target is what the blame is about.
    let first = suspects.iter().find(is_blamed);
    let rest = suspects.iter().filter(|made| first.is_none_or(|first| !std::ptr::eq(*first, **made)));
    first
        .into_iter()
        .chain(rest)
        .take(NAMED)
        .map(|made| Suspect { change: made.id.clone(), target: made.target.clone(), before_onset_s: onset.duration_since(made.time).as_secs_f64() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + minute * 60).unwrap()
    }

    fn changes(list: &[(i64, &str)]) -> Changes {
        let mut changes = Changes::default();
        for (minute, target) in list {
            changes.add(at(*minute), &Change { id: Some(format!("c{minute}")), target: (*target).into(), ..Change::default() });
        }
        changes
    }

    fn targets(changes: &Changes, onset: i64, failing: &[&str]) -> Vec<String> {
        let failing: Vec<String> = failing.iter().map(|module| (*module).to_owned()).collect();
        changes.suspects(at(onset), &Policy::default().rollback, &failing).iter().map(|made| made.target.clone()).collect()
    }

    #[test]
    fn the_window_ends_at_the_onset_and_reaches_two_hours_back() {
        let changes = changes(&[(0, "config:a"), (1, "config:b"), (120, "config:c"), (121, "config:d")]);
        assert_eq!(targets(&changes, 120, &[]), ["config:c", "config:b", "config:a"]);
        assert_eq!(targets(&changes, 121, &[]), ["config:d", "config:c", "config:b"]);
    }

    #[test]
    fn a_change_of_another_module_is_no_suspect_while_one_is_failing() {
        let mut changes = changes(&[(1, "module:ui"), (2, "module:planner"), (3, "config")]);
        assert_eq!(targets(&changes, 10, &["planner"]), ["config", "module:planner"]);
        changes.add(at(4), &Change { target: "module:tools".into(), affects: vec!["planner".into()], ..Change::default() });
        assert_eq!(targets(&changes, 10, &["planner"]), ["module:tools", "config", "module:planner"]);
    }

    #[test]
    fn what_has_been_undone_or_is_ours_or_is_no_scope_is_no_suspect() {
        let mut changes = changes(&[(1, "config:a"), (2, "config"), (3, "module:x"), (4, "the weather")]);
        changes.add(at(5), &Change { target: "module:y".into(), by: Some("eco-restore".into()), ..Change::default() });
        assert_eq!(targets(&changes, 10, &[]), ["module:x", "config", "config:a"]);
        changes.undo(at(6), Scope::Config(None));
        assert_eq!(targets(&changes, 10, &[]), ["module:x"]);
        changes.undo(at(7), Scope::Full);
        assert!(targets(&changes, 10, &[]).is_empty());
    }

    #[test]
    fn an_undo_reaches_only_its_own_target_and_only_back() {
        let mut changes = changes(&[(1, "config:a"), (2, "config:b"), (8, "config:a")]);
        changes.undo(at(5), "config:a".parse().unwrap());
        assert_eq!(targets(&changes, 10, &[]), ["config:a", "config:b"]);
    }

    #[test]
    fn changes_that_come_late_take_their_own_place() {
        let changes = changes(&[(5, "config:b"), (1, "config:a"), (5, "config:b")]);
        assert_eq!(targets(&changes, 10, &[]), ["config:b", "config:a"]);
    }

    fn suspect(list: &[(i64, &str)], failing: &[&str], named: Option<&str>, claimed: Option<&str>) -> Blame {
        let changes = changes(list);
        let failing: Vec<String> = failing.iter().map(|module| (*module).to_owned()).collect();
        let policy = Policy::default();
        let suspects = changes.suspects(at(100), &policy.rollback, &failing);
        let scope = |text: &str| text.parse().unwrap();
        first_suspect(&suspects, &failing, named.map(scope), claimed.map(scope), at(100), policy.rollback.tie)
    }

    fn found(scope: &str, cut: i64) -> Blame {
        Blame::Found { scope: scope.parse().unwrap(), cut: at(cut), reversible: true }
    }

    #[test]
    fn the_better_case_comes_first() {
        assert_eq!(suspect(&[(90, "config")], &[], Some("automation:a"), None), found("automation:a", 100));
        assert_eq!(suspect(&[(90, "config"), (95, "module:x")], &["x"], None, None), found("module:x", 95));
        assert_eq!(suspect(&[(80, "module:x"), (95, "config")], &["x"], None, None), found("module:x", 80));
        assert_eq!(suspect(&[(80, "module:x"), (95, "config")], &[], None, None), found("config", 95));
        assert_eq!(suspect(&[], &["x"], None, Some("config")), Blame::Module("module:x".parse().unwrap()));
        assert!(matches!(suspect(&[], &["x", "y"], None, Some("config")), Blame::Claimed { .. }));
        assert_eq!(suspect(&[], &["x", "y"], None, None), Blame::Nobody);
    }

    #[test]
    fn two_targets_within_the_tie_are_ambiguous_and_the_earliest_is_the_cut() {
        let tied = suspect(&[(90, "config"), (94, "experiment:e")], &[], None, None);
        assert_eq!(tied, Blame::Ambiguous { scope: "experiment:e".parse().unwrap(), cut: at(90), reversible: true });
        assert_eq!(suspect(&[(89, "config"), (94, "experiment:e")], &[], None, None), found("experiment:e", 94));
        assert_eq!(suspect(&[(90, "config"), (94, "config")], &[], None, None), found("config", 94));
    }

    #[test]
    fn the_blamed_change_is_named_first() {
        let changes = changes(&[(90, "config"), (94, "experiment:e"), (95, "config:x")]);
        let policy = Policy::default();
        let suspects = changes.suspects(at(100), &policy.rollback, &[]);
        let named: Vec<_> = line_up(&suspects, Some(&Scope::Config(None)), at(100)).into_iter().map(|s| (s.target, s.before_onset_s)).collect();
        assert_eq!(named, [("config".into(), 600.0), ("config:x".into(), 300.0), ("experiment:e".into(), 360.0)]);
    }
}
