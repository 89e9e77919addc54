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

/// By what the line would be known again.
fn mark((stamp, record): &(Stamp, Record)) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    crate::record::to_json(stamp, record).hash(&mut hasher);
    hasher.finish()
}

fn feed_all(judge: &mut Judge, records: &[(Stamp, Record)]) -> Vec<(Timestamp, Decision)> {
    records.iter().flat_map(|record| judge.feed_once(&record.0, &record.1, mark(record)).decisions).collect()
}

fn recalled(judge: &Judge) -> Judge {
    let (again, told) = Judge::recall(&judge.remember(), Policy::default(), Options::default()).unwrap();
    assert_eq!(told, None);
    again
}

#[test]
fn a_judge_who_is_interrupted_after_every_record_decides_and_remembers_the_same() {
    for seed in 0..STREAMS / 6 {
        let mut records = made_up(seed);
        // Writing and reading all of it every time takes long.
        records.truncate(400);
        let mut whole = Judge::new(Policy::default(), Options::default());
        let expected = feed_all(&mut whole, &records);
        assert_eq!(expected, decide(&records, Options::default()), "stream {seed}: a mark changes nothing");
        let (mut judge, mut said) = (Judge::new(Policy::default(), Options::default()), Vec::new());
        for record in &records {
            judge = recalled(&judge);
            said.extend(feed_all(&mut judge, std::slice::from_ref(record)));
        }
        assert_eq!(said, expected, "stream {seed}");
        assert_eq!(String::from_utf8(judge.remember()), String::from_utf8(whole.remember()), "stream {seed}");
    }
}

#[test]
fn a_stream_that_is_read_again_from_anywhere_is_not_counted_twice() {
    for seed in 0..STREAMS / 2 {
        let (records, mut dice) = (made_up(seed), Dice(seed));
        let mut whole = Judge::new(Policy::default(), Options::default());
        let expected = feed_all(&mut whole, &records);
        let stop = dice.roll(records.len() as u64) as usize;
        let back = dice.pick(&[0, stop / 2, stop.saturating_sub(2)]);
        let mut judge = Judge::new(Policy::default(), Options::default());
        let mut said = feed_all(&mut judge, &records[..stop]);
        judge = recalled(&judge);
        said.extend(feed_all(&mut judge, &records[back..]));
        assert_eq!(said, expected, "stream {seed}, stopped at {stop}, read again from {back}");
        assert_eq!(judge.remember(), whole.remember(), "stream {seed}");
    }
}

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
fn whatever_is_said_has_a_reason_with_a_value_and_a_threshold() {
    for seed in 0..STREAMS {
        for (_, decision) in decide(&made_up(seed), Options::default()) {
            assert!(decision.reasons.iter().all(|reason| !reason.observed.is_null() && !reason.threshold.is_empty()), "stream {seed}: {decision:?}");
            match decision.action {
                // Silence is known by its note, and by when it began.
                _ if decision.severity == Severity::Unknown => {
                    assert!(decision.reasons.is_empty() && decision.onset.is_some(), "stream {seed}: {decision:?}");
                    assert_eq!(decision.notes == ["no-data"], decision.action == Action::Investigate, "stream {seed}: {decision:?}");
                }
                Action::Resolved => assert!(decision.reasons.is_empty(), "stream {seed}: {decision:?}"),
                // A restore may fail after everything has calmed down.
                Action::Escalate => assert!(!decision.notes.is_empty(), "stream {seed}: {decision:?}"),
                _ => assert!(!decision.reasons.is_empty(), "stream {seed}: {decision:?}"),
            }
        }
    }
}

#[test]
fn a_reminder_says_again_what_was_said_and_nothing_else() {
    let mut reminders = 0;
    for seed in 0..STREAMS {
        let mut last: BTreeMap<String, Decision> = BTreeMap::new();
        for (_, decision) in of_incidents(seed) {
            if decision.reminder {
                reminders += 1;
                let before = &last[&decision.incident];
                let same = Decision { id: before.id.clone(), reminder: before.reminder, overdue: before.overdue, ..decision.clone() };
                assert_eq!(&same, before, "stream {seed}");
            }
            last.insert(decision.incident.clone(), decision);
        }
    }
    assert!(reminders > 20, "{reminders}");
}

#[test]
fn a_flood_of_names_is_bounded() {
    let mut judge = Judge::new(Policy::default(), Options::default());
    let mut feed = |second: i64, record: Record| judge.feed(&stamp(second), &record);
    let name = |number: i64| format!("{number:0>200}");
    let mut dice = Dice(1);
    for number in 0..4500 {
        feed(number, Change { id: Some(name(number)), target: format!("config:{}", name(number)), ..Change::default() }.into());
        feed(number, Snapshot { id: name(number), covers: vec!["full".into()], ..Snapshot::default() }.into());
        for signal in ["data_corruption", "user_complaint"] {
            feed(number, Signal { signal: signal.into(), target: Some(format!("module:{}", name(number))), ..Signal::default() }.into());
        }
        feed(number, Restore { phase: "failed".into(), scope: "full".into(), snapshot: Some(name(number)), ..Restore::default() }.into());
        feed(number, Restore { phase: "completed".into(), scope: format!("module:{}", name(number)), ..Restore::default() }.into());
        let modules = (0..20).map(|module| (name(number * 20 + module), Reading::Known("failed".to_owned()))).collect();
        feed(number, Health { modules, ..healthy(&mut dice) }.into());
    }
    let size = judge.remember().len();
    // Two lists of 4096 changes and points with 400 bytes each, and as much again for the rest.
    assert!(size < 12 << 20, "{size} bytes");
    let huge = Change { target: "x".repeat(1 << 20), ..Change::default() };
    let heard = judge.feed(&stamp(10_000), &huge.into());
    assert_eq!(heard.warnings, ["the change has names of more than 16 KiB in all: it is not remembered"]);
}

#[test]
fn there_is_room_for_a_thousand_ecosystems_and_the_next_is_refused_aloud() {
    let mut judge = Judge::new(Policy::default(), Options::default());
    let mut warnings = Vec::new();
    let mut dice = Dice(1);
    for number in 0..3000 {
        let stamp = Stamp { ecosystem: Some(format!("shop-{number}")), ..stamp(number) };
        warnings.extend(judge.feed(&stamp, &healthy(&mut dice).into()).warnings);
    }
    assert_eq!(warnings, ["the ecosystem 'shop-1024' is not judged: the 1024 before it are all that fit"]);
    assert_eq!((judge.unjudged(), judge.courses.len()), (3000 - 1024, 1024));
    let named = Stamp { ecosystem: Some("x".repeat(5000)), ..stamp(0) };
    let mut judge = Judge::new(Policy::default(), Options::default());
    assert!(judge.feed(&named, &healthy(&mut dice).into()).warnings[0].ends_with("a name of more than 1024 bytes"));
}

#[test]
fn numbers_that_no_service_has_are_unknown_and_what_is_remembered_can_be_read_back() {
    let mut judge = Judge::new(Policy::default(), Options::default());
    let odd = [f64::MAX, 1e300, 1e15, 1e-300, 5e-324, -0.0, 0.1 + 0.2];
    for second in 0..2000 {
        let pick = |place: usize| Reading::Known(odd[(second as usize / 7 + place * 3) % odd.len()]);
        let health = Health {
            up: Reading::Known(true),
            requests: pick(0),
            response_ms: pick(1),
            baseline_ms: pick(2),
            error_rate: pick(3),
            ..Health::default()
        };
        let heard = judge.feed(&stamp(second * 60), &health.into());
        assert!(heard.decisions.iter().flat_map(|(_, decision)| &decision.reasons).all(|reason| !reason.observed.is_null()));
        if second % 40 == 0 {
            assert_eq!(recalled(&judge).remember(), judge.remember());
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

#[test]
fn a_restore_that_is_told_twice_counts_once() {
    let (mut told, mut streams) = (0, 0);
    for seed in 0..STREAMS {
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        for (at, (stamp, mut record)) in made_up(seed).into_iter().enumerate() {
            if let Record::Restore(restore) = &mut record {
                restore.id = format!("r{at}");
                told += 1;
                twice.push((stamp.clone(), record.clone()));
            }
            once.push((stamp.clone(), record.clone()));
            twice.push((stamp, record));
        }
        assert_eq!(decide(&twice, Options::default()), decide(&once, Options::default()), "stream {seed}");
        streams += 1;
    }
    assert!(told > streams, "{told} restores");
}
