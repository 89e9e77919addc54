//! What must hold on any stream. The streams are made up by a counter, so a failure names the one that broke a law.

use super::{Judge, Options, Policy};
use crate::record::{Action, Change, Decision, Health, Operator, Reading, Record, Restore, Scope, Severity, Signal, Snapshot, Stamp};
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashSet};

/// Chance that comes out the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }

    fn share(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.roll(1000) as f64 / 1000.0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize].clone()
    }
}

fn stamp(second: i64) -> Stamp {
    Stamp { time: Timestamp::from_second(1_772_323_200 + second).unwrap(), ..Stamp::default() }
}

fn healthy(dice: &mut Dice) -> Health {
    Health {
        up: Reading::Known(true),
        requests: Reading::Known(dice.share(0.0, 2000.0).floor()),
        error_rate: Reading::Known(dice.share(0.0, 0.045)),
        response_ms: Reading::Known(dice.share(100.0, 180.0)),
        cpu_usage: Reading::Known(dice.share(0.0, 0.7)),
        memory_usage: Reading::Known(dice.share(0.0, 0.8)),
        modules: ["core", "ui"].iter().map(|name| ((*name).to_owned(), Reading::Known("ok".to_owned()))).collect(),
        integrity: Reading::Known(true),
        integration: Reading::Known(true),
        ..Health::default()
    }
}

fn unhealthy(dice: &mut Dice, mood: u64) -> Health {
    let mut health = healthy(dice);
    match mood {
        0 => health.up = dice.pick(&[Reading::Known(false), Reading::Absent, Reading::Known(true)]),
        1 => health.error_rate = Reading::Known(dice.share(0.0, 1.0)),
        2 => health.response_ms = Reading::Known(dice.share(100.0, 3000.0)),
        3 => health.cpu_usage = Reading::Known(dice.share(0.7, 1.2)),
        4 => health.modules = BTreeMap::from([("core".into(), Reading::Known(dice.pick(&["ok".to_owned(), "failed".to_owned(), "odd".to_owned()])))]),
        _ => health.integrity = dice.pick(&[Reading::Known(true), Reading::Known(false), Reading::Absent]),
    }
    health
}

fn anything(dice: &mut Dice, mood: u64) -> Record {
    let target = dice.pick(&["full", "config:a", "module:core", "automation:x", "weather"]).to_owned();
    match dice.roll(40) {
        0 => Change { target, reversible: Some(dice.roll(9) > 0), ..Change::default() }.into(),
        1 => Snapshot {
            id: format!("p{}", dice.roll(50)),
            covers: vec!["data".into(), "config".into(), "modules".into()],
            verified: Some(dice.roll(5) > 0),
            ..Snapshot::default()
        }
        .into(),
        2 => Signal {
            signal: dice.pick(&["user_complaint", "automation_errors", "data_corruption", "unheard_of"]).to_owned(),
            source: Some(dice.pick(&["probe", "mallory"]).to_owned()),
            target: Some(target).filter(|_| dice.roll(2) == 0),
            cleared: Some(dice.roll(3) == 0),
            ..Signal::default()
        }
        .into(),
        3 => Restore { phase: dice.pick(&["started", "completed", "failed", "reverted"]).to_owned(), scope: target, ..Restore::default() }.into(),
        4 => Operator { verb: dice.pick(&["hold", "resume", "approve", "resolve"]).to_owned(), ..Operator::default() }.into(),
        5..20 => healthy(dice).into(),
        _ => unhealthy(dice, mood).into(),
    }
}

/// A day and a half of trouble, in episodes of one kind each.
fn made_up(seed: u64) -> Vec<(Stamp, Record)> {
    let mut dice = Dice(seed);
    let (mut second, mut mood) = (0, 0);
    (0..2500)
        .map(|_| {
            second += dice.pick(&[20, 60, 60, 60, 61, 400]);
            if dice.roll(60) == 0 {
                mood = dice.roll(12);
            }
            let record = if mood > 5 { healthy(&mut dice).into() } else { anything(&mut dice, mood) };
            let late = if dice.roll(50) == 0 { 130 } else { 0 };
            (stamp(second - late), record)
        })
        .collect()
}

fn decide(records: &[(Stamp, Record)], options: Options) -> Vec<(Timestamp, Decision)> {
    let mut judge = Judge::new(Policy::default(), options);
    records.iter().flat_map(|(stamp, record)| judge.feed(stamp, record).decisions).collect()
}

/// The records of incidents, without those about missing data.
fn of_incidents(seed: u64) -> Vec<(Timestamp, Decision)> {
    let mut decisions = decide(&made_up(seed), Options::default());
    decisions.retain(|(_, decision)| decision.severity != Severity::Unknown);
    decisions
}

const STREAMS: u64 = 24;

#[test]
fn a_healthy_stream_never_yields_a_decision() {
    for seed in 0..STREAMS {
        let mut dice = Dice(seed);
        let records: Vec<_> = (0..2000).map(|minute| (stamp(minute * 60), healthy(&mut dice).into())).collect();
        assert_eq!(decide(&records, Options::default()), [], "stream {seed}");
    }
}

#[test]
fn made_up_trouble_meets_every_action() {
    let met: HashSet<Action> = (0..STREAMS).flat_map(of_incidents).map(|(_, decision)| decision.action).collect();
    assert_eq!(met.len(), 6, "{met:?}");
}

#[test]
fn severity_never_falls_and_deadlines_never_move_later_until_it_is_over() {
    for seed in 0..STREAMS {
        let decisions = of_incidents(seed);
        for pair in decisions.windows(2) {
            let ((_, before), (_, after)) = (&pair[0], &pair[1]);
            if before.action == Action::Resolved || before.incident != after.incident {
                continue;
            }
            assert!(after.severity >= before.severity, "stream {seed}: {pair:?}");
            assert!(after.onset <= before.onset, "stream {seed}: {pair:?}");
            if let (Some(before), Some(after)) = (before.deadline, after.deadline) {
                assert!(after <= before, "stream {seed}: {pair:?}");
            }
        }
    }
}

#[test]
fn an_incident_is_over_before_another_one_begins() {
    for seed in 0..STREAMS {
        for pair in of_incidents(seed).windows(2) {
            let ((_, before), (_, after)) = (&pair[0], &pair[1]);
            assert!(before.incident == after.incident || before.action == Action::Resolved, "stream {seed}: {pair:?}");
            assert!(before.action != Action::Resolved || after.action != Action::Resolved, "stream {seed}: {pair:?}");
        }
    }
}

#[test]
fn no_incident_gets_a_second_automatic_rollback_and_no_day_a_third() {
    for seed in 0..STREAMS {
        let rollbacks: Vec<_> = of_incidents(seed).into_iter().filter(|(_, decision)| decision.action == Action::Rollback).collect();
        let incidents: HashSet<_> = rollbacks.iter().map(|(_, decision)| &decision.incident).collect();
        assert_eq!(incidents.len(), rollbacks.len(), "stream {seed}");
        for three in rollbacks.windows(3) {
            assert!(three[2].0.duration_since(three[0].0).as_hours() >= 24, "stream {seed}: {three:?}");
        }
    }
}

#[test]
fn no_two_decisions_share_an_id() {
    for seed in 0..STREAMS {
        let decisions = decide(&made_up(seed), Options::default());
        let ids: HashSet<_> = decisions.iter().map(|(_, decision)| &decision.id).collect();
        assert_eq!(ids.len(), decisions.len(), "stream {seed}");
    }
}

#[test]
fn a_decision_that_acts_says_on_what_and_why() {
    for seed in 0..STREAMS {
        for (time, decision) in of_incidents(seed) {
            let acts = matches!(decision.action, Action::Rollback | Action::Propose);
            assert_eq!(acts, decision.cut.is_some(), "stream {seed}: {decision:?}");
            assert!(!acts || decision.scope.is_some(), "stream {seed}: {decision:?}");
            assert!(decision.cut <= decision.onset || !acts, "stream {seed}: {decision:?}");
            assert!(decision.onset.is_some_and(|onset| onset <= time), "stream {seed}: {decision:?}");
            let needs_point = decision.scope.as_ref().is_some_and(Scope::needs_snapshot);
            let has_one = decision.snapshot.is_some() || decision.notes.contains(&"store".to_owned());
            assert_eq!(acts && needs_point, acts && has_one, "stream {seed}: {decision:?}");
        }
    }
}

#[test]
fn a_dry_run_never_rolls_back_and_says_what_a_real_one_would() {
    for seed in 0..STREAMS {
        let dry = decide(&made_up(seed), Options { dry_run: true, ..Options::default() });
        assert!(dry.iter().all(|(_, decision)| decision.action != Action::Rollback), "stream {seed}");
    }
}

#[test]
fn an_ecosystem_does_not_hear_of_another() {
    for seed in 0..STREAMS / 4 {
        let (ours, theirs) = (made_up(seed), made_up(seed + 1000));
        let mut judge = Judge::new(Policy::default(), Options::default());
        let mut both = Vec::new();
        for ((stamp, record), (their_stamp, their_record)) in ours.iter().zip(&theirs) {
            both.extend(judge.feed(stamp, record).decisions);
            judge.feed(&Stamp { ecosystem: Some("theirs".into()), ..their_stamp.clone() }, their_record);
        }
        assert_eq!(both, decide(&ours, Options::default()), "stream {seed}");
    }
}
