//! What must hold on any stream. The streams are made up by a counter, so a failure names the one that broke a law.

use super::*;
use crate::record::{Action, Health, Operator, Reading, Restore, Scope, Severity};

const PLAN: &str = r#"
set = "set {percentage}"
gate = "gate"
rollback = "back"
settle = "1m"
[[phase]]
name = "canary"
percentage = 10
duration = "8m"
rollback_on_error_rate = 0.05
[[phase]]
name = "staged"
percentage = 50
duration = "12m"
rollback_on_error_rate = 0.03
[[phase]]
name = "full"
percentage = 100
duration = "15m"
rollback_on_error_rate = 0.02
"#;
const PHASES: [(&str, f64, i64, f64); 3] = [("canary", 10.0, 480, 0.05), ("staged", 50.0, 720, 0.03), ("full", 100.0, 900, 0.02)];
const SETTLE: i64 = 60;
const STREAMS: u64 = 400;

/// Chance that comes out the same every time.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize].clone()
    }
}

type Said = (Timestamp, Record);

fn stamp(time: Timestamp) -> Stamp {
    Stamp { time, ..Stamp::default() }
}

fn sample(cohort: Option<&str>, requests: f64, errors: f64) -> Health {
    Health {
        up: Reading::Known(true),
        cohort: cohort.map(String::from),
        requests: Reading::Known(requests),
        error_rate: if requests > 0.0 { Reading::Known(errors / requests) } else { Reading::Absent },
        ..Health::default()
    }
}

/// A stream of two or three hours in which anything may happen, mostly nothing.
fn stream(dice: &mut Dice) -> Vec<Said> {
    let mut second = 1_772_359_200;
    let mut all: Vec<Said> = Vec::new();
    let mut moods = (0.0, 0.0);
    let begun = start("r0".into(), "v0".into(), "module:planner".parse().unwrap()).unwrap();
    all.push((Timestamp::from_second(second).unwrap(), begun.into()));
    for _ in 0..dice.pick(&[60, 120, 180]) {
        second += match dice.roll(60) {
            0 => 240,
            1 => 1200,
            _ => 60,
        };
        let time = Timestamp::from_second(second).unwrap();
        if dice.roll(25) == 0 {
            moods = dice.pick(&[(0.0, 0.0), (0.0, 0.0), (2.0, 0.0), (4.0, 0.0), (9.0, 8.0), (30.0, 1.0), (1.0, 30.0)]);
        }
        let requests = dice.pick(&[100.0, 100.0, 100.0, 10.0, 0.0]);
        let mut samples = vec![sample(Some("canary"), requests, (requests * moods.0 / 100.0).floor()), sample(Some("stable"), 100.0, moods.1)];
        match dice.roll(40) {
            0 => samples[0].up = Reading::Known(false),
            1 => samples[1].up = Reading::Known(false),
            2 => samples[0].up = Reading::Absent,
            3 => samples[0].error_rate = Reading::Known(40.0),
            4 => drop(samples.remove(0)),
            _ => {}
        }
        all.extend(samples.into_iter().map(|sample| (time, sample.into())));
        if dice.roll(30) == 0 {
            all.push((time, anything(dice, time)));
        }
    }
    all
}

fn anything(dice: &mut Dice, time: Timestamp) -> Record {
    let planner: Scope = "module:planner".parse().unwrap();
    match dice.roll(6) {
        0 => {
            let version = dice.pick(&["v0", "v1", "v2"]);
            start(format!("r-{version}"), version.into(), planner).unwrap().into()
        }
        1 => Restore {
            phase: dice.pick(&["started", "completed", "failed"]).into(),
            scope: dice.pick(&["full", "config"]).into(),
            ..Restore::default()
        }
        .into(),
        2 => decision(dice.pick(&[Action::Rollback, Action::Propose, Action::Resolved]), dice.pick(&[planner, Scope::Full]), time).into(),
        _ => {
            let verb = dice.pick(&["hold", "resume", "resume", "approve", "reject", "release"]).into();
            let until = dice.pick(&[None, Some(time + jiff::SignedDuration::from_mins(10))]);
            Operator { verb, until, version: Some("v0".into()), ..Operator::default() }.into()
        }
    }
}

fn decision(action: Action, scope: Scope, time: Timestamp) -> Decision {
    Decision { id: format!("theirs-{time}"), incident: "theirs".into(), scope: Some(scope), ..Decision::new(Severity::High, action) }
}

/// One flight over a stream: the log of everything that a filter would have written, and the orders, each with its end.
#[derive(Default)]
struct Flown {
    log: Vec<Said>,
    /// How long the log was after each record of the stream.
    places: Vec<usize>,
    orders: Vec<(Order, bool)>,
}

impl Flown {
    fn take(&mut self, pilot: &mut Pilot, mut steps: Vec<Step>, luck: &mut impl FnMut() -> bool) {
        while !steps.is_empty() {
            let count = steps.len();
            for (at, step) in std::mem::take(&mut steps).into_iter().enumerate() {
                match step {
                    Step::Write(time, record) => self.log.push((time, *record)),
                    Step::Say(_) => {}
                    Step::Do(order) => {
                        assert_eq!(at + 1, count, "an order stands last");
                        let ok = luck();
                        self.orders.push((order, ok));
                        steps = pilot.ended(if ok { Ok(()) } else { Err("no".into()) });
                    }
                }
            }
        }
    }

    fn over(pilot: &mut Pilot, stream: &[Said], mut luck: impl FnMut() -> bool) -> Flown {
        let mut flown = Flown::default();
        for (time, record) in stream {
            flown.log.push((*time, record.clone()));
            let steps = pilot.feed(&stamp(*time), record);
            flown.take(pilot, steps, &mut luck);
            flown.places.push(flown.log.len());
        }
        flown
    }

    fn rollouts(&self) -> impl Iterator<Item = (usize, Timestamp, &Rollout)> {
        // What was asked for is no state that was entered.
        self.log.iter().enumerate().filter_map(|(at, (time, record))| match record {
            Record::Rollout(body) if body.state != "idle" => Some((at, *time, body)),
            _ => None,
        })
    }
}

fn pilot() -> Pilot {
    Pilot::new(toml::from_str(PLAN).unwrap(), None)
}

/// Each phase after the first was earned in the one before: its time had passed, its requests were seen, few enough of them failed.
fn check_promotions(name: u64, flown: &Flown) -> usize {
    let mut promotions = 0;
    let all: Vec<_> = flown.rollouts().collect();
    for (at, time, body) in &all {
        let Some(number) = PHASES.iter().position(|(phase, ..)| body.state == *phase) else { continue };
        let last = all.iter().rfind(|(before, ..)| before < at);
        // Without one before it, it is where another run had been.
        let Some((_, _, before)) = last.filter(|(_, _, last)| number > 0 && last.phase != body.phase) else { continue };
        promotions += 1;
        let (phase, percentage, lasts, limit) = PHASES[number - 1];
        assert_eq!((before.phase.as_deref(), before.exposure), (Some(phase), Some(percentage)), "stream {name}: phases are not left out");
        let since = before.since.unwrap();
        assert!(time.duration_since(since).as_secs() >= lasts, "stream {name}: {phase} was too short");
        let (mut requests, mut errors) = (0.0, 0.0);
        for (when, record) in &flown.log[..*at] {
            let Record::Health(health) = record else { continue };
            let Some(own) = health.requests.known().zip(health.error_rate.known()).filter(|(_, rate)| **rate <= 1.0) else { continue };
            if health.cohort.as_deref() == Some("canary") && health.up.known().is_some() && when.duration_since(since).as_secs() >= SETTLE {
                requests += own.0;
                errors += own.0 * own.1;
            }
        }
        assert!(requests >= (3.0 / limit).ceil() - 1e-6 && errors / requests <= limit + 1e-6, "stream {name}: {errors} of {requests} in {phase}");
    }
    promotions
}

#[test]
fn nothing_rises_without_evidence_and_nothing_is_rolled_back_under_traffic() {
    let (mut promotions, mut rollbacks, mut done, mut states) = (0, 0, 0, std::collections::BTreeMap::new());
    for name in 0..STREAMS {
        let mut dice = Dice::new(name);
        let stream = stream(&mut dice);
        let unlucky = name % 3 == 0;
        let flown = Flown::over(&mut pilot(), &stream, || !unlucky || dice.roll(5) > 0);
        promotions += check_promotions(name, &flown);
        for pair in flown.orders.windows(2) {
            if let Order::RollBack(..) = pair[1].0 {
                assert_eq!(pair[0], (Order::Set(0.0), true), "stream {name}");
                rollbacks += 1;
            }
        }
        // The weight that was set last is the one that the last record names, unless that says that it is not known.
        let mut exposure = 0.0;
        for (_, _, body) in flown.rollouts() {
            *states.entry(body.state.clone()).or_insert(0) += 1;
            done += usize::from(body.state == "done");
            let now = body.exposure.unwrap();
            let rises = now > exposure;
            assert!(!rises || body.phase.as_deref() == Some(&*body.state) || body.state == "stuck", "stream {name}: {body:?} after {exposure}");
            exposure = if body.state == "done" { 0.0 } else { now };
        }
        let mut seen = std::collections::BTreeSet::new();
        for (_, time, body) in flown.rollouts().filter(|(_, _, body)| body.phase.as_deref() != Some(&*body.state) && body.state != "paused") {
            assert!(seen.insert((body.id.clone(), time, body.state.clone())), "stream {name} enters {} twice", body.state);
        }
    }
    println!("{promotions} promotions, {rollbacks} rollbacks, {done} done: {states:?}");
    assert!(promotions > 100 && rollbacks > 50 && done > 10, "{promotions} {rollbacks} {done}");
    assert!(["holding", "paused", "refused", "stuck", "rolled_back"].iter().all(|state| states.contains_key(*state)), "{states:?}");
}

#[test]
fn the_same_stream_gives_the_same_records() {
    for name in 0..STREAMS / 4 {
        let stream = stream(&mut Dice::new(name));
        let (one, other) = (Flown::over(&mut pilot(), &stream, || true), Flown::over(&mut pilot(), &stream, || true));
        assert_eq!(one.log, other.log, "stream {name}");
        assert_eq!(one.orders, other.orders, "stream {name}");
    }
}

#[test]
fn who_recalls_the_log_goes_on_as_if_there_had_been_no_break() {
    for name in 0..STREAMS {
        let mut dice = Dice::new(name);
        let stream = stream(&mut dice);
        let whole = Flown::over(&mut pilot(), &stream, || true);
        let cut = dice.roll(stream.len() as u64 - 1) as usize;
        let mut second = pilot();
        for (time, record) in &whole.log[..whole.places[cut]] {
            second.recall(&stamp(*time), record);
        }
        let mut rest = Flown::default();
        let steps = second.resume();
        rest.take(&mut second, steps, &mut || true);
        assert!(rest.log.is_empty(), "stream {name} cut at {cut}: {:?}", rest.log);
        let rest = Flown::over(&mut second, &stream[cut + 1..], || true);
        let wanted = &whole.log[whole.places[cut]..];
        let differs = rest.log.iter().zip(wanted).find(|(one, other)| one != other);
        assert!(differs.is_none() && rest.log.len() == wanted.len(), "stream {name} cut at {cut}: {differs:#?}");
    }
}

#[test]
fn who_knows_only_the_last_record_goes_on_with_no_more_than_was_earned() {
    for name in 0..STREAMS {
        let mut dice = Dice::new(name);
        let stream = stream(&mut dice);
        let whole = Flown::over(&mut pilot(), &stream, || true);
        let cut = dice.roll(stream.len() as u64 - 1) as usize;
        let last = whole.log[..whole.places[cut]].iter().rfind(|(_, record)| matches!(record, Record::Rollout(body) if body.state != "idle"));
        let Some(last) = last else { continue };
        let mut rest = vec![last.clone()];
        rest.extend_from_slice(&stream[cut + 1..]);
        let flown = Flown::over(&mut pilot(), &rest, || true);
        check_promotions(name, &flown);
        let Record::Rollout(body) = &last.1 else { unreachable!() };
        let first = flown.orders.first().map(|(order, _)| order.clone());
        match body.state.as_str() {
            "rolling_back" => assert_eq!(first, Some(Order::Set(0.0)), "stream {name}"),
            "canary" | "staged" | "full" | "holding" | "paused" => assert_eq!(first, Some(Order::Set(body.exposure.unwrap())), "stream {name}"),
            _ => {}
        }
    }
}

#[test]
fn a_new_version_that_goes_on_failing_never_keeps_going() {
    for name in 0..STREAMS {
        let mut dice = Dice::new(name);
        let mut stream = stream(&mut dice);
        let mut time = stream.last().unwrap().0;
        for _ in 0..25 {
            time += jiff::SignedDuration::from_mins(1);
            // The old version is well, and that is known first.
            stream.push((time, sample(Some("stable"), 100.0, 0.0).into()));
            stream.push((time, sample(Some("canary"), 100.0, 60.0).into()));
        }
        let flown = Flown::over(&mut pilot(), &stream, || true);
        let last = flown.rollouts().last().unwrap().2;
        assert!(!["canary", "staged", "full", "holding"].contains(&&*last.state), "stream {name}: {last:?}");
    }
}
