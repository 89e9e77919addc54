//! One service's rollouts, record by record. The order of the steps is the point: the clock moves, the record is taken in, then the
//! version is judged.

use super::evidence::{Evidence, Excess, Latest, Sample, rounded};
use super::plan::{Phase, Plan};
use super::{HAIR, Order, Step};
use crate::record::{Action, Breach, Change, Decision, Health, Operator, Reason, Record, Restore, Rollout, Scope, Severity, Stamp, Suspect};
use crate::time::{Timestamp, compact};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A record may be this late and still be news.
const LATE: SignedDuration = SignedDuration::from_mins(2);
/// Nobody looked in longer gaps between two samples, so they do not count.
const GAP: SignedDuration = SignedDuration::from_mins(3);
/// The judged version may be silent for so long.
const SILENCE: SignedDuration = SignedDuration::from_mins(15);
/// When a person is to have answered: a paused rollout, and one that is rolled back or stuck.
const MEDIUM: SignedDuration = SignedDuration::from_hours(24);
const HIGH: SignedDuration = SignedDuration::from_hours(1);
/// A change of the target that is not older than this, when the rollout begins, brought the version.
const BLAME: SignedDuration = SignedDuration::from_hours(2);
/// As much worse than the version before may the new one be if both are bad, for the cause to lie outside.
const SHARED: f64 = 2.0;
/// How many of its own records are known again when they come back in the stream.
const OWN: usize = 64;
/// How many open incidents are remembered.
const OPEN: usize = 256;
/// How many targets' last changes are remembered.
const CHANGES: usize = 256;

/// What the rollout in flight is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Running,
    Holding,
    Paused,
    RollingBack,
    RolledBack,
    Refused,
    Stuck,
    Done,
}

/// What the order under way is for.
#[derive(Clone, Debug, PartialEq)]
enum Purpose {
    /// The gate, before anything.
    Gate,
    /// The first phase's weight.
    First,
    /// The weight of the next phase.
    Promote(usize),
    /// The old weight again, after a new one could not be set.
    Stay,
    /// The weight that the last record names, after a restart.
    Again,
    /// No traffic for a version that is refused, for this reason.
    Refuse(&'static str),
    /// No traffic, before the rollback.
    Zero,
    /// No traffic, after somebody else's rollback.
    Gone,
    /// The rollback.
    RollBack,
}

/// How often a person was asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Reminded {
    #[default]
    Never,
    HalfWay,
    AtTheDeadline,
}

/// One rollout.
#[derive(Clone, Debug)]
struct Flight {
    id: String,
    version: String,
    target: Scope,
    begun: Timestamp,
    phase: Option<usize>,
    state: State,
    /// When it entered its state.
    entered: Timestamp,
    exposure: f64,
    since: Timestamp,
    counted: SignedDuration,
    /// From when on time and silence count; `None` until the first record after a state that was only read.
    mark: Option<Timestamp>,
    /// Until when an operator holds it.
    hold: Option<Timestamp>,
    evidence: Evidence,
    /// When the judged version was heard of last.
    heard: Option<Timestamp>,
    /// The id of the decision that is carried out, and the decision where it is somebody else's.
    decision: Option<String>,
    carried: Option<(Timestamp, Box<Decision>)>,
    reminded: Reminded,
    reasons: Vec<Breach>,
    notes: Vec<String>,
}

impl Flight {
    fn new(time: Timestamp, body: &Rollout) -> Flight {
        Flight {
            id: if body.id.is_empty() { body.version.clone() } else { body.id.clone() },
            version: body.version.clone(),
            target: body.target.clone(),
            begun: body.begun.unwrap_or(body.since.unwrap_or(time)),
            phase: None,
            state: State::Idle,
            entered: time,
            exposure: 0.0,
            since: time,
            counted: SignedDuration::ZERO,
            mark: None,
            hold: None,
            evidence: Evidence::default(),
            heard: None,
            decision: None,
            carried: None,
            reminded: Reminded::Never,
            reasons: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// From the first phase to the end of the last.
    fn is_judged(&self) -> bool {
        matches!(self.state, State::Running | State::Holding | State::Paused)
    }

    /// Whether its time runs.
    fn runs(&self) -> bool {
        matches!(self.state, State::Running | State::Holding)
    }

    /// Whether a restore of these scopes takes the version away.
    fn is_in(&self, scopes: &[Scope]) -> bool {
        let holds = |scope: &Scope| match (scope, &self.target) {
            (Scope::Full, _) | (Scope::Config(None), Scope::Config(_)) => true,
            (scope, target) => scope == target,
        };
        scopes.iter().any(holds)
    }

    /// The name that its decisions share.
    fn incident(&self) -> String {
        format!("{}{}", Rollout::INCIDENT, self.id)
    }

    fn is_own(&self, decision: &str) -> bool {
        decision.strip_prefix(&self.incident()).is_some_and(|rest| rest.starts_with('-'))
    }
}

/// The state of one service.
pub(super) struct Course {
    plan: Plan,
    pub home: Option<String>,
    clock: Option<Timestamp>,
    flight: Option<Flight>,
    under_way: Option<Purpose>,
    /// The version before, as the newest samples show it.
    stable: Latest,
    /// The version that reached `done` last.
    done: Option<String>,
    sampled: Option<Timestamp>,
    quarantine: BTreeSet<String>,
    changes: BTreeMap<String, Timestamp>,
    /// Whether the last decision of the stream that asks a person is about this rollout.
    asked_by_us: bool,
    /// Somebody else's last decision to roll the target back.
    ordered: Option<(Timestamp, Box<Decision>)>,
    /// The last decision of each incident that is open, the oldest first, and how the service is: the gate wants to know.
    open: Vec<(Timestamp, Box<Decision>)>,
    health: Option<(Timestamp, Box<Health>)>,
    own: VecDeque<(String, Timestamp, String)>,
    complaints: BTreeSet<&'static str>,
    pub late: u64,
    steps: Vec<Step>,
}

impl Course {
    pub fn new(plan: Plan, home: Option<String>) -> Course {
        Course {
            plan,
            home,
            clock: None,
            flight: None,
            under_way: None,
            stable: Latest::default(),
            done: None,
            sampled: None,
            quarantine: BTreeSet::new(),
            changes: BTreeMap::new(),
            asked_by_us: true,
            ordered: None,
            open: Vec::new(),
            health: None,
            own: VecDeque::new(),
            complaints: BTreeSet::new(),
            late: 0,
            steps: Vec::new(),
        }
    }

    pub fn is_stuck(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.state == State::Stuck)
    }

    pub fn feed(&mut self, stamp: &Stamp, record: &Record) -> Vec<Step> {
        debug_assert!(self.under_way.is_none(), "an order is under way");
        if let Some(now) = self.now(stamp, record) {
            self.move_clock(now);
            self.take(now, stamp.time, record);
            self.judge(now);
            self.remind(now);
        }
        std::mem::take(&mut self.steps)
    }

    pub fn recall(&mut self, stamp: &Stamp, record: &Record) {
        let Some(now) = self.now(stamp, record) else { return };
        self.clock = Some(now);
        match record {
            Record::Health(health) => self.sample(now, health),
            Record::Change(change) => self.change(stamp.time, change),
            Record::Decision(decision) => self.overhear(stamp.time, decision),
            Record::Rollout(body) => self.adopt(now, stamp.time, body, false),
            Record::Operator(word) => match (word.verb.as_str(), &mut self.flight) {
                ("hold", Some(flight)) if flight.runs() => flight.hold = word.until,
                ("release", _) => self.release(word),
                _ => {}
            },
            _ => {}
        }
        // Nobody is to hear today what was said then.
        self.steps.clear();
    }

    pub fn resume(&mut self) -> Vec<Step> {
        self.go_on();
        std::mem::take(&mut self.steps)
    }

    /// The time of the stream with this record; `None` for one that is not ours, or too late to be news.
    fn now(&mut self, stamp: &Stamp, record: &Record) -> Option<Timestamp> {
        match (&self.home, &stamp.ecosystem) {
            (Some(home), Some(other)) if home != other => return None,
            (None, Some(name)) if matches!(record, Record::Rollout(_)) => self.home = Some(name.clone()),
            _ => {}
        }
        let clock = self.clock.unwrap_or(stamp.time);
        let is_news = matches!(record, Record::Health(_) | Record::Operator(_) | Record::Restore(_));
        if is_news && clock.duration_since(stamp.time) > LATE {
            self.late += 1;
            return None;
        }
        Some(clock.max(stamp.time))
    }

    fn move_clock(&mut self, now: Timestamp) {
        self.clock = Some(now);
        let Some(flight) = self.flight.as_mut() else { return };
        let mark = *flight.mark.get_or_insert(now);
        if flight.runs() {
            let heard = flight.heard.map_or(mark, |heard| heard.max(mark));
            if now.duration_since(heard) > SILENCE {
                self.pause(later(heard, SILENCE), "no-data", Vec::new());
            }
        } else if flight.state == State::Paused && flight.hold.is_some_and(|until| now >= until) {
            self.back_to_the_phase(now);
        }
    }

    fn take(&mut self, now: Timestamp, time: Timestamp, record: &Record) {
        match record {
            Record::Health(health) => self.sample(now, health),
            Record::Change(change) => self.change(time, change),
            Record::Decision(decision) => {
                self.overhear(time, decision);
                let flight = self.flight.as_ref().filter(|flight| flight.is_judged() && time >= flight.begun);
                if flight.is_some() && self.ordered.as_ref().is_some_and(|(_, ordered)| ordered.id == decision.id) {
                    let carried = self.ordered.take();
                    self.roll_back(now, "decision", Vec::new(), carried);
                }
            }
            Record::Restore(restore) => self.restored(now, time, restore),
            Record::Operator(word) => self.operator(now, word),
            Record::Rollout(body) if body.state == "idle" => self.begin(time, body),
            Record::Rollout(body) => self.adopt(now, time, body, true),
            _ => {}
        }
    }

    /// Whether the version before is known to be down: no traffic may be moved to it.
    fn stable_is_down(&self, now: Timestamp) -> bool {
        self.stable.fresh(now, SILENCE).and_then(Latest::up) == Some(false)
    }

    fn phase(&self) -> Option<&Phase> {
        self.flight.as_ref().and_then(|flight| self.plan.phases.get(flight.phase?))
    }

    // What is seen.

    fn sample(&mut self, now: Timestamp, health: &Health) {
        if health.cohort.as_deref() != Some("canary") {
            self.health = Some((now, Box::new(health.clone())));
        }
        let before = self.sampled.replace(now);
        let complaints = &mut self.complaints;
        let mut news = Vec::new();
        let sample = Sample::of(now, health, |what| news.extend(complaints.insert(what).then_some(what)));
        let phase = self.phase().map(|phase| (phase.percentage >= 100.0, phase.need()));
        if let Some(flight) = &mut self.flight {
            let mark = *flight.mark.get_or_insert(now);
            // A gap is no time that was watched, whether it began before the phase or in it.
            let gap = now.duration_since(before.unwrap_or(mark));
            if flight.runs() && gap <= GAP {
                flight.counted += now.duration_since(before.map_or(mark, |before| before.max(mark)));
            }
            let judged = phase.is_some_and(|(all, _)| all) || health.cohort.as_deref() == Some("canary");
            if let Some(sample) = sample.filter(|_| judged && flight.is_judged()) {
                flight.heard = Some(now);
                if now.duration_since(flight.since) >= self.plan.settle {
                    flight.evidence.add(sample);
                }
            }
        }
        if health.cohort.as_deref() == Some("stable") {
            sample.into_iter().for_each(|sample| self.stable.add(sample));
        }
        for what in news {
            let sentence = match what {
                "a rate without requests" => "a sample has an error rate and no number of requests: nothing can be proven by it".into(),
                name => format!("{name} has a value that cannot be used: the sample proves nothing"),
            };
            self.steps.push(Step::Say(sentence));
        }
    }

    fn change(&mut self, time: Timestamp, change: &Change) {
        if self.changes.len() < CHANGES || self.changes.contains_key(&change.target) {
            self.changes.insert(change.target.clone(), time);
        }
    }

    fn overhear(&mut self, time: Timestamp, decision: &Decision) {
        self.open.retain(|(_, known)| known.incident != decision.incident);
        // What becomes of a rollout is no news to the next one's gate; a version that failed is kept away without it.
        if decision.action != Action::Resolved && !decision.incident.starts_with(Rollout::INCIDENT) && self.open.len() < OPEN {
            self.open.push((time, Box::new(decision.clone())));
        }
        let Some(flight) = &mut self.flight else { return };
        if flight.is_own(&decision.id) && decision.reminder {
            flight.reminded = if decision.overdue { Reminded::AtTheDeadline } else { Reminded::HalfWay };
        }
        if matches!(decision.action, Action::Propose | Action::Rollback | Action::Escalate | Action::Investigate) {
            self.asked_by_us = flight.is_own(&decision.id);
        } else if decision.action == Action::Resolved {
            self.asked_by_us = true;
        }
        if decision.action == Action::Rollback && decision.scope.as_ref() == Some(&flight.target) && !flight.is_own(&decision.id) {
            self.ordered = Some((time, Box::new(decision.clone())));
        }
    }

    fn judge(&mut self, now: Timestamp) {
        if self.under_way.is_some() {
            return;
        }
        let Some(phase) = self.phase().cloned() else { return };
        let stable_is_down = self.stable_is_down(now);
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.is_judged()) else { return };
        if let Some(excess) = flight.evidence.excess(now, &phase) {
            let rule = excess.rule;
            let stable = self.stable.fresh(now, SILENCE).and_then(Latest::rate);
            let shared = match rule {
                "down" => stable_is_down,
                _ => stable
                    .zip(flight.evidence.latest.rate())
                    .is_some_and(|(stable, canary)| stable > phase.limit + HAIR && canary <= SHARED * stable + HAIR),
            };
            let reasons = vec![breach(excess, stable)];
            if !shared {
                self.roll_back(now, rule, reasons, None);
            } else if flight.state != State::Paused {
                self.pause(now, "shared-cause", reasons);
            }
            return;
        }
        if !flight.runs() || flight.counted < phase.lasts {
            return;
        }
        if flight.evidence.passes(&phase) {
            self.promote(now);
        } else if flight.state == State::Running {
            self.enter(now, State::Holding);
        } else if flight.counted >= phase.lasts * 2 {
            self.pause(now, "inconclusive", Vec::new());
        }
    }

    // What is done about it.

    /// A rollout is asked for.
    fn begin(&mut self, time: Timestamp, body: &Rollout) {
        let mut old = 0.0;
        if let Some(flight) = &self.flight {
            let same = flight.version == body.version && flight.target == body.target;
            let busy = flight.state == State::RollingBack || (flight.is_judged() && flight.target != body.target);
            if same && (flight.is_judged() || busy) {
                return;
            }
            if busy {
                let (version, other) = (body.version.escape_debug(), flight.version.escape_debug());
                let why = match flight.state {
                    State::RollingBack => format!("{other} is being rolled back, until a restore of {} is in the stream", flight.target),
                    _ => format!("{other} is being rolled out"),
                };
                return self.steps.push(Step::Say(format!("{version} is not started, start it again afterwards: {why}")));
            }
            // A version that is done is the stable one now: the newer one begins without any traffic.
            old = if flight.state == State::Done { 0.0 } else { flight.exposure };
        }
        let flight = Flight { exposure: old, begun: time, ..Flight::new(time, body) };
        let refused = self.quarantine.contains(&flight.version);
        self.flight = Some(flight);
        self.asked_by_us = true;
        if refused {
            return self.refuse("quarantined");
        }
        self.run_gate();
    }

    fn run_gate(&mut self) {
        let Some(flight) = &self.flight else { return };
        let start = (flight.entered, Box::new(self.record(flight)));
        let health = self.health.iter().map(|(time, health)| (*time, Record::Health((**health).clone())));
        let open = self.open.iter().map(|(time, decision)| (*time, Record::Decision((**decision).clone())));
        let known = health.chain(open).collect();
        self.order(Order::Gate { start, known }, Purpose::Gate);
    }

    fn refuse(&mut self, why: &'static str) {
        if self.flight.as_ref().is_some_and(|flight| flight.exposure > 0.0) {
            return self.order(Order::Set(0.0), Purpose::Refuse(why));
        }
        self.refused(why);
    }

    fn refused(&mut self, why: &'static str) {
        let Some(flight) = &mut self.flight else { return };
        (flight.exposure, flight.notes) = (0.0, vec![why.into()]);
        let now = self.clock.unwrap_or(flight.entered);
        self.enter(now, State::Refused);
    }

    fn promote(&mut self, now: Timestamp) {
        let next = self.flight.as_ref().and_then(|flight| flight.phase).map_or(0, |phase| phase + 1);
        match self.plan.phases.get(next) {
            Some(phase) => self.order(Order::Set(phase.percentage), Purpose::Promote(next)),
            None => {
                self.done = self.flight.as_ref().map(|flight| flight.version.clone());
                self.enter(now, State::Done);
            }
        }
    }

    fn enter_phase(&mut self, now: Timestamp, number: usize) {
        let Some(flight) = &mut self.flight else { return };
        flight.phase = Some(number);
        flight.exposure = self.plan.phases[number].percentage;
        flight.since = now;
        flight.counted = SignedDuration::ZERO;
        flight.mark = Some(now);
        flight.heard = None;
        flight.evidence = Evidence::default();
        self.enter(now, State::Running);
    }

    fn pause(&mut self, time: Timestamp, why: &str, reasons: Vec<Breach>) {
        let Some(flight) = &mut self.flight else { return };
        (flight.notes, flight.reasons) = (vec![why.into()], reasons);
        self.enter(time, State::Paused);
        self.decide(Action::Propose);
    }

    fn back_to_the_phase(&mut self, now: Timestamp) {
        let lasts = self.phase().map(|phase| phase.lasts);
        let Some(flight) = &mut self.flight else { return };
        flight.hold = None;
        flight.mark = Some(now);
        // Whoever goes on with a rollout that had run out of time gives it as much again.
        if let Some(lasts) = lasts.filter(|lasts| flight.counted >= *lasts * 2) {
            flight.counted = lasts;
        }
        self.enter(now, State::Running);
    }

    fn roll_back(&mut self, now: Timestamp, why: &str, reasons: Vec<Breach>, carried: Option<(Timestamp, Box<Decision>)>) {
        let stable_is_down = self.stable_is_down(now);
        let Some(flight) = &mut self.flight else { return };
        (flight.notes, flight.reasons, flight.decision) = (vec![why.into()], reasons, None);
        flight.entered = now;
        flight.hold = None;
        self.quarantine.insert(flight.version.clone());
        if stable_is_down {
            // Nothing is better than what is there: no traffic is moved, nothing is ordered.
            self.enter(now, State::RollingBack);
            return self.stuck(now, "stable-down");
        }
        flight.decision = Some(carried.as_ref().map_or_else(|| decision_id(flight, Action::Rollback), |(_, decision)| decision.id.clone()));
        flight.carried = carried;
        // Written before it is done: after a crash the last record must not promise traffic to a version that has failed.
        let had = std::mem::replace(&mut flight.exposure, 0.0);
        let theirs = flight.carried.is_some();
        self.enter(now, State::RollingBack);
        if !theirs {
            self.decide(Action::Rollback);
        }
        if let Some(flight) = &mut self.flight {
            flight.exposure = had;
        }
        self.order(Order::Set(0.0), Purpose::Zero);
    }

    fn stuck(&mut self, now: Timestamp, why: &str) {
        let Some(flight) = &mut self.flight else { return };
        flight.notes = vec![why.into()];
        self.quarantine.insert(flight.version.clone());
        self.enter(now, State::Stuck);
        self.decide(Action::Escalate);
    }

    /// The version is gone, whoever did it.
    fn rolled_back(&mut self, now: Timestamp) {
        let Some(flight) = &mut self.flight else { return };
        flight.exposure = 0.0;
        self.enter(now, State::RolledBack);
    }

    fn restored(&mut self, now: Timestamp, time: Timestamp, restore: &Restore) {
        let scopes = Scope::split(&restore.scope).unwrap_or_default();
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.is_in(&scopes) && time >= flight.begun) else { return };
        match (restore.phase.as_str(), flight.state) {
            ("completed", State::RollingBack) => self.rolled_back(now),
            ("completed", State::Stuck) => self.order(Order::Set(0.0), Purpose::Gone),
            ("completed", State::Running | State::Holding | State::Paused) => {
                // Somebody else was faster. What the new version's share gets now is the old one.
                (flight.notes, flight.reasons, flight.decision) = (vec!["restored".into()], Vec::new(), restore.decision.clone());
                self.quarantine.insert(flight.version.clone());
                let had = std::mem::replace(&mut flight.exposure, 0.0);
                self.enter(now, State::RollingBack);
                if let Some(flight) = &mut self.flight {
                    flight.exposure = had;
                }
                self.order(Order::Set(0.0), Purpose::Gone);
            }
            ("failed" | "reverted", State::RollingBack) => self.stuck(now, "rollback-failed"),
            _ => {}
        }
    }

    fn operator(&mut self, now: Timestamp, word: &Operator) {
        if word.verb == "release" {
            return self.release(word);
        }
        let asked_by_us = self.asked_by_us;
        let Some(flight) = &mut self.flight else { return };
        // An answer to somebody else's question is none to ours.
        let meant = word.decision.as_ref().map_or(asked_by_us, |id| flight.is_own(id));
        match (word.verb.as_str(), flight.state) {
            ("hold", State::Running | State::Holding) if word.until.is_none_or(|until| until > now) => {
                flight.hold = word.until;
                self.pause(now, "operator", Vec::new());
            }
            ("resume", State::Paused) => self.back_to_the_phase(now),
            ("approve", State::Paused) if meant => self.back_to_the_phase(now),
            ("reject", State::Running | State::Holding | State::Paused | State::Stuck) if meant => self.roll_back(now, "operator", Vec::new(), None),
            _ => {}
        }
    }

    fn release(&mut self, word: &Operator) {
        if let Some(version) = &word.version {
            self.quarantine.remove(version);
        }
    }

    // How orders end.

    pub fn ended(&mut self, done: Result<(), String>) -> Vec<Step> {
        if let Some(purpose) = self.under_way.take() {
            if let Err(why) = &done {
                self.steps.push(Step::Say(why.clone()));
            }
            self.follow(purpose, done.is_ok());
        }
        std::mem::take(&mut self.steps)
    }

    fn follow(&mut self, purpose: Purpose, ok: bool) {
        let Some(flight) = &mut self.flight else { return };
        let now = self.clock.unwrap_or(flight.entered);
        match (purpose, ok) {
            (Purpose::Gate, true) => self.order(Order::Set(self.plan.phases[0].percentage), Purpose::First),
            (Purpose::Gate, false) => self.refuse("gate"),
            (Purpose::First, true) => self.enter_phase(now, 0),
            // It may have been set all the same.
            (Purpose::First, false) => self.order(Order::Set(0.0), Purpose::Refuse("set-failed")),
            (Purpose::Promote(next), true) => self.enter_phase(now, next),
            (Purpose::Promote(_), false) => {
                let had = flight.exposure;
                self.order(Order::Set(had), Purpose::Stay);
            }
            (Purpose::Stay, _) => self.pause(now, "set-failed", Vec::new()),
            (Purpose::Again, false) if flight.runs() => self.pause(now, "set-failed", Vec::new()),
            (Purpose::Again, _) => {}
            (Purpose::Refuse(why), true) => self.refused(why),
            (Purpose::Refuse(_), false) => self.stuck(now, "set-failed"),
            (Purpose::Zero, true) => {
                flight.exposure = 0.0;
                self.run_rollback();
            }
            (Purpose::Zero, false) => self.stuck(now, "set-failed"),
            (Purpose::Gone, true) => self.rolled_back(now),
            (Purpose::Gone, false) if flight.state == State::Stuck => {}
            (Purpose::Gone, false) => self.stuck(now, "set-failed"),
            (Purpose::RollBack, true) => self.rolled_back(now),
            (Purpose::RollBack, false) => self.stuck(now, "rollback-failed"),
        }
    }

    fn run_rollback(&mut self) {
        if self.plan.rollback.is_empty() {
            return;
        }
        let Some(flight) = &self.flight else { return };
        let (time, decision) = flight.carried.clone().unwrap_or_else(|| (flight.entered, Box::new(self.decision(flight, Action::Rollback))));
        self.order(Order::RollBack(time, decision), Purpose::RollBack);
    }

    fn order(&mut self, order: Order, purpose: Purpose) {
        self.under_way = Some(purpose);
        self.steps.push(Step::Do(order));
    }

    // What was written before.

    /// Takes a state over from a record: of the past, or of another run in this stream, which is then gone on with.
    fn adopt(&mut self, now: Timestamp, time: Timestamp, body: &Rollout, live: bool) {
        if live && self.own.contains(&(body.id.clone(), time, body.state.clone())) {
            return;
        }
        if !live {
            self.remember(body.id.clone(), time, body.state.clone());
        }
        let place = |name: &str| self.plan.phases.iter().position(|phase| phase.name == name);
        let (state, phase) = match body.state.as_str() {
            "idle" => (State::Idle, None),
            "refused" => (State::Refused, None),
            "rolled_back" => (State::RolledBack, body.phase.as_deref().and_then(place)),
            word => {
                let state = match word {
                    "holding" => State::Holding,
                    "paused" => State::Paused,
                    "rolling_back" => State::RollingBack,
                    "stuck" => State::Stuck,
                    "done" => State::Done,
                    _ => State::Running,
                };
                let name = if state == State::Running { Some(word) } else { body.phase.as_deref() };
                match name.and_then(place) {
                    None if !matches!(state, State::Stuck | State::RollingBack) => {
                        let name = name.unwrap_or("nothing").escape_debug();
                        return self
                            .steps
                            .push(Step::Say(format!("the rollout of {} is in {name}, which the plan does not have", body.version.escape_debug())));
                    }
                    place => (state, place),
                }
            }
        };
        let before = self.flight.take();
        // What the version in flight had is what a newer one has, until something else is set.
        let old = before.as_ref().filter(|flight| flight.state != State::Done).map_or(0.0, |flight| flight.exposure);
        let same = |flight: &Flight| flight.version == body.version && flight.target == body.target && state != State::Idle;
        let ours = before.clone().filter(same);
        if let Some(flight) = before.filter(|flight| state == State::Idle && flight.is_judged() && flight.version == body.version) {
            self.flight = Some(flight);
            return;
        }
        let mut flight = ours.unwrap_or_else(|| Flight { mark: (!live).then_some(now), ..Flight::new(time, body) });
        let since = body.since.unwrap_or(if flight.phase == phase { flight.since } else { time });
        if flight.phase != phase || flight.since != since {
            (flight.evidence, flight.heard, flight.counted) = (Evidence::default(), None, SignedDuration::ZERO);
        }
        let is_on_again = state == State::Running && (flight.state != State::Running || flight.phase != phase);
        if is_on_again && flight.mark.is_some() {
            flight.mark = Some(now);
        }
        let weight = phase.map_or(0.0, |number| self.plan.phases[number].percentage);
        let lasts = phase.map_or(SignedDuration::ZERO, |number| self.plan.phases[number].lasts);
        (flight.phase, flight.state, flight.since, flight.entered, flight.reminded) = (phase, state, since, time, Reminded::Never);
        let said = body.exposure.filter(|percent| (0.0..=100.0).contains(percent));
        flight.exposure = match state {
            // A record cannot give more than its phase does.
            State::Running | State::Holding | State::Paused | State::Done => said.unwrap_or(weight).min(weight),
            State::Idle => old,
            // It says what was about to be set: whether that was done nobody knows.
            State::RollingBack => weight,
            _ => said.unwrap_or(0.0),
        };
        let counted = body.counted_s.filter(|seconds| (0.0..1e9).contains(seconds)).map(SignedDuration::from_secs_f64);
        flight.counted = counted.unwrap_or(if state == State::Holding { flight.counted.max(lasts) } else { flight.counted });
        flight.begun = body.begun.unwrap_or(flight.begun);
        flight.hold = flight.hold.filter(|_| state == State::Paused && body.notes == ["operator"]);
        flight.notes.clone_from(&body.notes);
        flight.reasons.clone_from(&body.reasons);
        flight.decision.clone_from(&body.decision);
        flight.carried = self.ordered.take_if(|(_, decision)| Some(&decision.id) == body.decision.as_ref());
        match state {
            State::RollingBack | State::RolledBack | State::Stuck => drop(self.quarantine.insert(flight.version.clone())),
            State::Done => self.done = Some(flight.version.clone()),
            _ => self.done = body.stable.clone().or(self.done.take()),
        }
        self.flight = Some(flight);
        if live {
            self.go_on();
        }
    }

    /// Makes sure that the world is as the last record says.
    fn go_on(&mut self) {
        let Some(flight) = &self.flight else { return };
        let now = self.clock.unwrap_or(flight.entered);
        match flight.state {
            State::Idle if self.quarantine.contains(&flight.version) => self.refuse("quarantined"),
            State::Idle => self.run_gate(),
            State::Running | State::Holding | State::Paused => self.order(Order::Set(flight.exposure), Purpose::Again),
            State::RollingBack if flight.decision.is_none() && flight.notes != ["restored"] && self.stable_is_down(now) => {
                self.stuck(now, "stable-down")
            }
            State::RollingBack => self.order(Order::Set(0.0), if flight.notes == ["restored"] { Purpose::Gone } else { Purpose::Zero }),
            State::RolledBack | State::Refused | State::Stuck | State::Done => {}
        }
    }

    // What is written.

    /// Enters a state, and says so once.
    fn enter(&mut self, time: Timestamp, state: State) {
        let Some(flight) = &mut self.flight else { return };
        flight.state = state;
        flight.entered = time;
        flight.reminded = Reminded::Never;
        if matches!(state, State::Running | State::Holding | State::Done) {
            (flight.notes, flight.reasons, flight.decision) = (Vec::new(), Vec::new(), None);
        }
        let Some(flight) = &self.flight else { return };
        let body = self.record(flight);
        self.remember(body.id.clone(), time, body.state.clone());
        self.steps.push(Step::Write(time, Box::new(body.into())));
    }

    fn remember(&mut self, id: String, time: Timestamp, state: String) {
        if self.own.len() == OWN {
            self.own.pop_front();
        }
        self.own.push_back((id, time, state));
    }

    fn record(&self, flight: &Flight) -> Rollout {
        let phase = flight.phase.and_then(|number| self.plan.phases.get(number)).map(|phase| phase.name.clone());
        let state = match flight.state {
            State::Idle => "idle",
            State::Running => phase.as_deref().unwrap_or("idle"),
            State::Holding => "holding",
            State::Paused => "paused",
            State::RollingBack => "rolling_back",
            State::RolledBack => "rolled_back",
            State::Refused => "refused",
            State::Stuck => "stuck",
            State::Done => "done",
        };
        Rollout {
            id: flight.id.clone(),
            version: flight.version.clone(),
            target: flight.target.clone(),
            state: state.into(),
            exposure: Some(flight.exposure),
            since: phase.as_ref().map(|_| flight.since),
            begun: Some(flight.begun),
            counted_s: phase.as_ref().map(|_| flight.counted.as_secs_f64()),
            stable: self.done.clone(),
            decision: flight.decision.clone(),
            reasons: flight.reasons.clone(),
            notes: flight.notes.clone(),
            phase,
        }
    }

    fn decide(&mut self, action: Action) {
        let Some(flight) = &self.flight else { return };
        let (time, decision) = (flight.entered, self.decision(flight, action));
        self.asked_by_us = true;
        self.steps.push(Step::Write(time, Box::new(decision.into())));
    }

    /// Who does not answer is asked again: half-way to the deadline, and at it.
    fn remind(&mut self, now: Timestamp) {
        let Some(flight) = &self.flight else { return };
        let action = match flight.state {
            State::Paused => Action::Propose,
            State::Stuck => Action::Escalate,
            _ => return,
        };
        let (waited, allowed) = (now.duration_since(flight.entered), allowance(action));
        let due = match waited {
            waited if waited >= allowed => Reminded::AtTheDeadline,
            waited if waited * 2 >= allowed => Reminded::HalfWay,
            _ => Reminded::Never,
        };
        if due <= flight.reminded || self.under_way.is_some() {
            return;
        }
        let decision = Decision { reminder: true, overdue: due == Reminded::AtTheDeadline, ..self.decision(flight, action) };
        if let Some(flight) = &mut self.flight {
            flight.reminded = due;
        }
        self.asked_by_us = true;
        self.steps.push(Step::Write(now, Box::new(decision.into())));
    }

    /// What this rollout asks for in its state, as everybody else's decisions say it. Whoever makes it again after a crash makes the same.
    fn decision(&self, flight: &Flight, action: Action) -> Decision {
        let time = flight.entered;
        let severity = if action == Action::Propose { Severity::Medium } else { Severity::High };
        let window = flight.reasons.first().and_then(|reason| reason.window_s).unwrap_or(0.0);
        let onset = earlier(time, window);
        // Where a deployment said when it changed the target, points after that may hold the new version.
        let changed = self.changes.get(&flight.target.to_string());
        let cut = *changed.filter(|changed| **changed <= flight.begun && flight.begun.duration_since(**changed) < BLAME).unwrap_or(&flight.begun);
        let mut notes = flight.notes.clone();
        if action != Action::Escalate && flight.target.needs_snapshot() {
            notes.push("store".into());
        }
        if action == Action::Propose {
            // An approval lets the rollout go on; whoever carries out what is approved must be able to tell.
            notes.push(Decision::OF_ROLLOUT.into());
        }
        let reason = |breach: &Breach| Reason {
            rule: format!("rollout-{}", breach.rule.as_deref().unwrap_or("limit")),
            metric: breach.metric.clone(),
            observed: breach.observed.clone(),
            threshold: breach.threshold.clone(),
            since: breach.window_s.map(|seconds| earlier(time, seconds)),
            held_s: breach.window_s,
            samples: None,
        };
        let id = match (action, &flight.decision) {
            (Action::Rollback, Some(id)) => id.clone(),
            _ => decision_id(flight, action),
        };
        Decision {
            id,
            incident: flight.incident(),
            scope: Some(flight.target.clone()),
            onset: Some(onset),
            cut: (action != Action::Escalate).then_some(cut),
            deadline: Some(later(time, allowance(action))),
            reasons: flight.reasons.iter().map(reason).collect(),
            suspects: vec![Suspect {
                change: None,
                target: flight.target.to_string(),
                before_onset_s: onset.duration_since(flight.begun).as_secs_f64(),
            }],
            notes,
            ..Decision::new(severity, action)
        }
    }
}

/// How long a person may take to answer.
fn allowance(action: Action) -> SignedDuration {
    if action == Action::Propose { MEDIUM } else { HIGH }
}

/// The same whenever it is asked for in this state.
fn decision_id(flight: &Flight, action: Action) -> String {
    let word = match action {
        Action::Propose => "propose",
        Action::Escalate => "escalate",
        _ => "rollback",
    };
    format!("{}-{}-{word}", flight.incident(), compact(flight.entered))
}

fn breach(excess: Excess, stable: Option<f64>) -> Breach {
    Breach {
        rule: Some(excess.rule.into()),
        metric: excess.metric.into(),
        observed: excess.observed,
        threshold: excess.threshold,
        window_s: Some(excess.window_s),
        requests: (excess.metric == "error_rate").then_some(excess.requests),
        stable: stable.map(rounded),
    }
}

/// `time` plus `length`, stopping at the ends of time.
fn later(time: Timestamp, length: SignedDuration) -> Timestamp {
    time.saturating_add(length).unwrap_or(time)
}

fn earlier(time: Timestamp, seconds: f64) -> Timestamp {
    later(time, -SignedDuration::from_secs_f64(seconds.clamp(0.0, 1e9)))
}
