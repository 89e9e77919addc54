//! One ecosystem's stream, record by record: its clock, its rules, its incident. The order of the steps is the point: the
//! clock moves, the record is taken in, an incident opens or rises or closes, it is judged, people are reminded.

use super::blame::{self, Changes};
use super::events::Events;
use super::incident::{Handed, Incident, Tries};
use super::metric::{Gauges, Metric, SUSPECT_NAMES, Seen};
use super::point::Points;
use super::proof::{Demand, Phase, Proof};
use super::recent::Recent;
use super::rules::{Comparison, Policy, Rule};
use super::table::{self, Answer, Case, Firing};
use super::{Heard, Options, later};
use crate::record::{Action, Decision, Health, Operator, Reason, Record, Restore, Scope, Severity, Signal};
use crate::time::{Timestamp, compact};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// A record may be this late and still be news.
pub(super) const LATE: SignedDuration = SignedDuration::from_mins(2);
/// How many restores are known again.
const RESTORED: usize = 64;
/// How many incidents' numbers are remembered, so that no two decisions share an id.
const NUMBERED: usize = 4096;
/// How many automatic rollbacks are remembered; a policy cannot allow more.
pub(super) const ROLLBACKS: usize = 1024;

/// How long the names in one record may be, all together, for it to be remembered.
const LONGEST_NAMES: usize = 16 << 10;

/// The state of one ecosystem. What is left out of its memory follows from the policy, or is about one run of a program only.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Course {
    #[serde(skip)]
    options: Options,
    clock: Option<Timestamp>,
    gauges: Gauges,
    pub(super) proofs: Vec<Proof>,
    /// No rule has seen anything: all of them are idle, and proven. Most samples find it so and leave it so.
    calm: bool,
    /// How many drops and signals are remembered.
    happened: usize,
    drops: Events,
    pub(super) signals: Vec<Events>,
    changes: Changes,
    points: Points,
    incident: Option<Incident>,
    /// The two newest healthy times, newest first.
    healthy: [Option<Timestamp>; 2],
    last_up: Option<bool>,
    /// The last word about `up`, before that the first `health` record.
    heard: Option<Timestamp>,
    /// Silence was announced, with this decision.
    no_data: Option<Decision>,
    hold: Option<Timestamp>,
    cooldown: Option<Timestamp>,
    /// Automatic rollbacks of the last `per`.
    rollbacks: VecDeque<Timestamp>,
    /// The scope of the last decision that nobody has carried out yet.
    awaited: Option<Scope>,
    /// Scope and point of the last rollback, decided or completed.
    rollback: (Option<Scope>, Option<String>),
    /// Ids and phases of the newest restores that were taken in.
    restored: VecDeque<(String, String)>,
    numbers: BTreeMap<String, u64>,
    /// What was taken in last, for a stream that is read again.
    recent: Recent,
    #[serde(skip)]
    complaints: u16,
    /// Records that came too late to be used.
    #[serde(skip)]
    pub late: u64,
    /// Records that an earlier run has taken in.
    #[serde(skip)]
    pub again: u64,
}

/// What one record has brought about, before anything is said.
#[derive(Default)]
struct News {
    /// Rules that have started to fire, by their place in the policy.
    fired: bool,
    critical: bool,
    /// A signal or a drop was added to a firing rule.
    added: bool,
    hold_ended: bool,
    cooldown_ended: bool,
    /// A restore failed or was reverted, with this scope.
    failed: Option<Option<Scope>>,
    sampled: bool,
    up: bool,
}

impl Course {
    pub fn new(policy: &Policy, options: Options) -> Course {
        let mut signals = vec![Events::default(); policy.signals.len()];
        for rule in policy.rules.iter().filter(|rule| rule.severity == Severity::Critical) {
            if let Metric::Signal(index) = rule.when.metric {
                signals[index].stay = true;
            }
        }
        Course { options, proofs: vec![Proof::default(); policy.rules.len()], signals, ..Course::default() }
    }

    /// Goes on under this policy with what was remembered: everything that follows from the policy is made anew.
    pub fn resume(&mut self, policy: &Policy, options: Options) {
        self.options = options;
        let fresh = Course::new(policy, options);
        self.signals.iter_mut().zip(fresh.signals).for_each(|(events, fresh)| events.stay = fresh.stay);
        self.recent.expect_again();
    }

    /// The rules are not those that the evidence was collected for.
    pub fn rules_changed(&mut self) {
        self.calm = false;
    }

    /// As [`Course::feed`], for a line that carries this mark: one that an earlier run took in already is passed over.
    pub fn feed_once(&mut self, policy: &Policy, time: Timestamp, record: &Record, mark: u64, heard: &mut Heard) {
        let clock = self.clock.unwrap_or(time);
        if record.is_news() {
            if self.recent.is_again(clock, time, mark) {
                if self.again == 0 && clock.duration_since(time) > LATE {
                    // Where it is no replay, somebody's clock was wrong; then nothing would ever be judged again, without a word.
                    heard
                        .warnings
                        .push(format!("it is older than what is remembered, which ends at {clock}: passed over, as are those after it until then"));
                }
                self.again += 1;
                return;
            }
            if clock.duration_since(time) <= LATE {
                self.recent.add(clock.max(time), time, mark);
            }
        }
        self.feed(policy, time, record, heard);
    }

    /// Takes one record in and says what follows from it.
    pub fn feed(&mut self, policy: &Policy, time: Timestamp, record: &Record, heard: &mut Heard) {
        let clock = self.clock.unwrap_or(time);
        if record.is_news() && clock.duration_since(time) > LATE {
            self.late += 1;
            return;
        }
        let now = clock.max(time);
        let mut news = News::default();
        self.move_clock(policy, now, &mut news, heard);
        self.take(policy, now, time, record, &mut news, heard);
        if news.fired {
            self.open_or_raise(policy, now);
        }
        if news.sampled {
            self.close_if_over(policy, now, heard);
        }
        if let Some(answer) = self.judge(policy, now, &news) {
            self.say(policy, now, answer, heard);
        }
        if news.up {
            self.end_silence(now, heard);
        }
        if let Some(reminder) = self.incident.as_ref().and_then(|incident| incident.remind(policy, now)) {
            self.write(now, reminder, heard);
        }
    }

    fn move_clock(&mut self, policy: &Policy, now: Timestamp, news: &mut News, heard: &mut Heard) {
        if self.clock == Some(now) {
            return;
        }
        self.clock = Some(now);
        if let Some(last) = self.heard
            && self.no_data.is_none()
            && now.duration_since(last) > policy.stale
        {
            let decision = Decision {
                incident: format!("no-data-{}", compact(last)),
                onset: Some(last),
                notes: vec!["no-data".into()],
                ..Decision::new(Severity::Unknown, Action::Investigate)
            };
            let said = self.number(decision);
            self.no_data = Some(said.clone());
            heard.decisions.push((later(last, policy.stale), said));
        }
        if self.hold.is_some_and(|until| now >= until) {
            self.hold = None;
            news.hold_ended = true;
        }
        if self.cooldown.is_some_and(|from| now.duration_since(from) >= policy.rollback.cooldown) {
            self.cooldown = None;
            news.cooldown_ended = true;
        }
    }

    fn take(&mut self, policy: &Policy, now: Timestamp, time: Timestamp, record: &Record, news: &mut News, heard: &mut Heard) {
        match record {
            // A canary is somebody else's to judge.
            Record::Health(health) if health.cohort.as_deref() != Some("canary") => self.sample(policy, now, health, news, heard),
            Record::Change(change) if is_too_long(change.id.iter().chain([&change.target]).chain(&change.affects)) => {
                heard.warnings.push(format!("the change has names of more than {} KiB in all: it is not remembered", LONGEST_NAMES >> 10));
            }
            Record::Change(change) => {
                self.changes.add(time, change);
                if change.target.parse::<Scope>().is_err() {
                    heard.warnings.push(format!("the change of '{}' can be blamed on nobody: that is no scope", change.target));
                }
            }
            Record::Snapshot(snapshot) if is_too_long([&snapshot.id].into_iter().chain(&snapshot.covers)) => {
                heard.warnings.push(format!("the snapshot has names of more than {} KiB in all: it is not remembered", LONGEST_NAMES >> 10));
            }
            Record::Snapshot(snapshot) => self.points.add(time, snapshot),
            Record::Signal(signal) if is_too_long(&signal.target) => {
                heard.warnings.push(format!("the signal's target is longer than {} KiB: it blames nobody", LONGEST_NAMES >> 10));
                self.signal(policy, now, &Signal { target: None, ..signal.clone() }, news);
            }
            Record::Signal(signal) => self.signal(policy, now, signal, news),
            Record::Operator(operator) => self.operator(now, operator, news),
            Record::Restore(restore) => self.restored(policy, now, restore, news),
            _ => {}
        }
    }

    fn sample(&mut self, policy: &Policy, now: Timestamp, health: &Health, news: &mut News, heard: &mut Heard) {
        news.sampled = true;
        if !self.calm {
            for (rule, proof) in policy.rules.iter().zip(&mut self.proofs) {
                proof.expire(now, self.gauges.get(rule.when.metric).usable_at, policy.clear);
            }
        }
        let (complaints, healthy) = (&mut self.complaints, healthy_before(&self.healthy, now));
        self.gauges.take(policy, now, healthy, health, |place| {
            if *complaints & (1 << place) == 0 {
                *complaints |= 1 << place;
                heard.warnings.push(format!("{} has a value that cannot be used: it counts as unknown", SUSPECT_NAMES[place]));
            }
        });
        self.expire_events(now);
        let up = self.gauges.get(Metric::Up).seen.known().map(|up| up == 1.0);
        self.heard = if up.is_some() { Some(now) } else { self.heard.or(Some(now)) };
        news.up = up.is_some();
        if let Some(up) = up {
            if self.last_up == Some(true) && !up {
                self.drops.add_drop(now, healthy);
                self.happened += 1;
                self.fire_counts(policy, Metric::Drops, news);
            }
            self.last_up = Some(up);
        }
        // The same as going on, only faster: a healthy value leaves an idle rule as it is.
        let holds = |sign: &Comparison| self.gauges.get(sign.metric).seen.known().is_some_and(|seen| sign.holds(seen));
        if self.calm && !policy.first_signs.iter().any(holds) {
            return;
        }
        let clear = self.clear(policy);
        let demand = Demand { samples: policy.samples, at_once: self.options.now, clear };
        let (gauges, drops, signals) = (&self.gauges, &self.drops, &self.signals);
        let value = |metric: Metric| match metric {
            Metric::Drops => Seen::Known(drops.count()),
            Metric::Signal(index) => Seen::Known(signals[index].count()),
            measured => gauges.get(measured).seen,
        };
        self.calm = true;
        for (rule, proof) in policy.rules.iter().zip(&mut self.proofs) {
            let gauge = gauges.get(rule.when.metric);
            let excused = rule.unless.as_ref().is_some_and(|unless| value(unless.metric).known().is_some_and(|seen| unless.holds(seen)));
            if rule.when.metric.counts_events() {
                if proof.keeps_open()
                    && let Seen::Known(count) = value(rule.when.metric)
                {
                    proof.take_count(rule, gauge, excused, count, clear);
                }
            } else if proof.take(rule, gauge, excused, demand) {
                news.fired = true;
                news.critical |= rule.severity == Severity::Critical;
            }
            self.calm &= proof.phase == Phase::Idle && !proof.unproven;
        }
    }

    fn clear(&self, policy: &Policy) -> SignedDuration {
        self.open_incident().map_or(policy.clear, |incident| incident.clear(policy))
    }

    fn expire_events(&mut self, now: Timestamp) {
        if self.happened == 0 {
            return;
        }
        self.drops.expire(now);
        self.happened = self.drops.len();
        for events in &mut self.signals {
            events.expire(now);
            self.happened += events.len();
        }
    }

    /// An event was added: the rules that count its kind fire if there are enough.
    fn fire_counts(&mut self, policy: &Policy, metric: Metric, news: &mut News) {
        let value = |metric: Metric| match metric {
            Metric::Drops => Some(self.drops.count()),
            Metric::Signal(index) => Some(self.signals[index].count()),
            measured => self.gauges.get(measured).seen.known(),
        };
        let events = match metric {
            Metric::Signal(index) => &self.signals[index],
            _ => &self.drops,
        };
        let Some((first, since)) = events.origin() else { return };
        for (rule, proof) in policy.rules.iter().zip(&mut self.proofs).filter(|(rule, _)| rule.when.metric == metric) {
            let excused = rule.unless.as_ref().is_some_and(|unless| value(unless.metric).is_some_and(|seen| unless.holds(seen)));
            if excused || !rule.when.holds(events.count()) {
                continue;
            }
            self.calm = false;
            if proof.fire(since, first.first, first.healthy, events.count()) {
                news.fired = true;
                news.critical |= rule.severity == Severity::Critical;
            } else {
                news.added = true;
            }
        }
    }

    fn signal(&mut self, policy: &Policy, now: Timestamp, signal: &Signal, news: &mut News) {
        let Some(index) = policy.signals.iter().position(|known| *known == signal.signal) else { return };
        if signal.cleared == Some(true) {
            self.signals[index].clear(signal.target.as_deref());
            return;
        }
        self.expire_events(now);
        let trusted = signal.source.as_ref().is_some_and(|source| policy.rollback.trust.contains(source));
        let healthy = healthy_before(&self.healthy, now);
        self.signals[index].add_signal(now, healthy, signal, trusted);
        self.happened += 1;
        self.fire_counts(policy, Metric::Signal(index), news);
    }

    fn operator(&mut self, now: Timestamp, operator: &Operator, news: &mut News) {
        self.answered();
        match operator.verb.as_str() {
            "hold" => self.hold = Some(operator.until.unwrap_or(Timestamp::MAX)).filter(|until| *until > now).or(self.hold),
            "resume" => news.hold_ended |= self.hold.take().is_some(),
            "resolve" => self.signals.iter_mut().for_each(|events| events.clear(None)),
            _ => {}
        }
    }

    fn answered(&mut self) {
        if let Some(incident) = &mut self.incident {
            incident.answer();
        }
    }

    fn restored(&mut self, policy: &Policy, now: Timestamp, restore: &Restore, news: &mut News) {
        // A log holds it where it ended, and where this judge was told.
        let name = (restore.id.clone(), restore.phase.clone());
        if !restore.id.is_empty() && !is_too_long([&restore.id, &restore.phase]) {
            if self.restored.contains(&name) {
                return;
            }
            self.restored.truncate(RESTORED - 1);
            self.restored.push_front(name);
        }
        self.answered();
        let scopes = Scope::split(&restore.scope).unwrap_or_default();
        let scope = scopes.iter().find(|scope| self.awaited.as_ref() == Some(*scope)).or(scopes.first()).cloned();
        match restore.phase.as_str() {
            "completed" => {
                let automatic = restore.by.as_deref() != Some("operator");
                let carried_out = self.awaited.is_some() && self.awaited == scope;
                if carried_out {
                    self.awaited = None;
                } else if automatic {
                    self.count_rollback(now);
                }
                let point = restore.snapshot.clone().filter(|id| !is_too_long([id])).or_else(|| self.rollback.1.take().filter(|_| carried_out));
                self.rollback = (scope, point);
                self.cooldown = Some(now).filter(|_| policy.rollback.cooldown > SignedDuration::ZERO);
                // Nobody restores more units at once than are remembered; whoever says so must not keep everybody waiting.
                scopes.into_iter().take(NUMBERED).for_each(|scope| self.changes.undo(now, scope));
                self.gauges.start_over();
                self.drops.start_over();
                self.signals.iter_mut().for_each(Events::start_over);
                self.proofs.iter_mut().for_each(Proof::start_over);
                if let Some(incident) = self.incident.as_mut().filter(|incident| incident.is_open()) {
                    incident.rolled_back = true;
                    if incident.tries == Tries::Suspect {
                        incident.tries = Tries::SuspectDone;
                    }
                }
            }
            "failed" | "reverted" => {
                let decided = self.rollback.1.as_ref().filter(|_| scope == self.rollback.0);
                if let Some(point) = restore.snapshot.as_ref().or(decided).filter(|id| !is_too_long([*id])) {
                    self.points.distrust(point);
                }
                news.failed = Some(scope.or_else(|| self.rollback.0.clone()));
            }
            _ => {}
        }
    }

    fn count_rollback(&mut self, now: Timestamp) {
        self.rollbacks.push_back(now);
        if self.rollbacks.len() > ROLLBACKS {
            self.rollbacks.pop_front();
        }
    }

    fn open_incident(&self) -> Option<&Incident> {
        self.incident.as_ref().filter(|incident| incident.is_open())
    }

    fn firing<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = (&'a Rule, &'a Proof)> {
        policy.rules.iter().zip(&self.proofs).filter(|(_, proof)| proof.phase == Phase::Firing)
    }

    fn open_or_raise(&mut self, policy: &Policy, now: Timestamp) {
        let Some(onset) = self.firing(policy).map(|(_, proof)| proof.since).min() else { return };
        let incident = match self.incident.take() {
            Some(incident) if incident.is_open() => incident,
            Some(mut incident) if incident.can_reopen(now) => {
                incident.reopen(onset);
                incident
            }
            _ => Incident::open(onset),
        };
        let incident = self.incident.insert(incident);
        for (rule, proof) in policy.rules.iter().zip(&self.proofs).filter(|(_, proof)| proof.phase == Phase::Firing) {
            incident.join(rule.severity, proof, now);
        }
    }

    fn close_if_over(&mut self, policy: &Policy, now: Timestamp, heard: &mut Heard) {
        let over = self.calm || !self.proofs.iter().any(Proof::keeps_open);
        if let Some(incident) = self.incident.as_mut().filter(|incident| over && incident.is_open()) {
            incident.close(now);
            self.points.taint(incident.onset, now);
            // An incident of which nothing was said ends without a word.
            if incident.last().is_some_and(|last| last.action != Action::Resolved) {
                let resolved = Decision {
                    incident: incident.name.clone(),
                    onset: Some(incident.onset),
                    reopened: Some(u64::from(incident.reopened())).filter(|times| *times > 0),
                    ..Decision::new(incident.severity, Action::Resolved)
                };
                self.write(now, resolved, heard);
            }
        }
        let up = self.gauges.get(Metric::Up).seen == Seen::Known(1.0);
        if up && self.calm && self.open_incident().is_none() {
            if self.healthy[0] != Some(now) {
                self.healthy = [Some(now), self.healthy[0]];
            }
            self.gauges.learn(now);
        }
        let per = policy.rollback.per;
        while self.rollbacks.front().is_some_and(|oldest| now.duration_since(*oldest) >= per) {
            self.rollbacks.pop_front();
        }
    }

    fn judge(&mut self, policy: &Policy, now: Timestamp, news: &News) -> Option<Answer> {
        let incident = self.open_incident()?;
        let fires = self.proofs.iter().any(|proof| proof.phase == Phase::Firing);
        let stirred = fires && (news.fired || news.added || news.hold_ended || news.cooldown_ended);
        if !stirred && news.failed.is_none() {
            return None;
        }
        if incident.severity <= Severity::Low {
            return if self.cooldown.is_some() { None } else { self.consult(policy, now) };
        }
        if let Some(handed) = &incident.handed {
            return Some(Answer::escalate(handed.scope.clone(), &handed.note));
        }
        if let Some(scope) = &news.failed {
            return Some(self.hand_over("rollback-failed", scope.clone()));
        }
        let next_try = match incident.tries {
            Tries::SuspectDone => news.critical,
            Tries::Suspect => news.cooldown_ended && self.firing(policy).any(|(rule, _)| rule.severity == Severity::Critical),
            Tries::None | Tries::All => false,
        };
        if next_try {
            self.give_up_on_point();
            return self.consult(policy, now);
        }
        let scope = self.rollback.0.clone();
        if self.cooldown.is_some() {
            return news.critical.then(|| self.hand_over("cooldown", scope));
        }
        if news.cooldown_ended || incident.rolled_back {
            if self.firing(policy).any(|(rule, _)| rule.severity > Severity::Low) {
                self.give_up_on_point();
                return Some(self.hand_over("rollback-ineffective", scope));
            }
            if incident.rolled_back {
                return None;
            }
        }
        self.consult(policy, now)
    }

    /// The rollback did not help: its point is not gone back to again.
    fn give_up_on_point(&mut self) {
        if let Some(point) = &self.rollback.1 {
            self.points.distrust(point);
        }
    }

    /// From here on the incident is with people.
    fn hand_over(&mut self, note: &'static str, scope: Option<Scope>) -> Answer {
        if let Some(incident) = &mut self.incident {
            incident.handed = Some(Handed { note: note.to_owned(), scope: scope.clone() });
        }
        Answer::escalate(scope, note)
    }

    /// The table and its guards; nothing while no rule of the incident's severity fires, for what was said stands.
    fn consult(&self, policy: &Policy, now: Timestamp) -> Option<Answer> {
        let incident = self.open_incident()?;
        if !self.firing(policy).any(|(rule, _)| rule.severity == incident.severity) {
            return None;
        }
        let firing = self.summary(policy);
        let (named, claimed) = (self.accused(policy, true), self.accused(policy, false));
        let failing = &self.gauges.failing;
        let suspects = self.changes.suspects(incident.onset, &policy.rollback, failing);
        let blame = blame::first_suspect(&suspects, failing, named, claimed, incident.onset, policy.rollback.tie);
        let suspect_first = policy.rollback.suspect_first && incident.tries == Tries::None;
        let answer = table::look_up(incident.severity, &blame, incident.onset, &firing, suspect_first);
        let case = Case {
            now,
            onset: incident.onset,
            healthy: incident.healthy,
            policy: &policy.rollback,
            points: &self.points,
            changes: &self.changes,
            firing: &firing,
            hold: self.hold.is_some() || self.options.dry_run,
            rollbacks: self.rollbacks.iter().filter(|time| now.duration_since(**time) < policy.rollback.per).count() as u64,
        };
        Some(table::guard(answer, &blame, &case))
    }

    fn summary(&self, policy: &Policy) -> Firing {
        let critical = || self.firing(policy).filter(|(rule, _)| rule.severity == Severity::Critical).map(|(rule, _)| rule.when.metric);
        let any = critical().next().is_some();
        let signals = || critical().filter_map(|metric| if let Metric::Signal(index) = metric { Some(self.signals[index].iter()) } else { None });
        let trusted = || signals().flatten().filter(|event| event.trusted);
        Firing {
            trigger: self.firing(policy).any(|(rule, _)| rule.trigger && rule.severity > Severity::Low),
            only_signals: any && critical().all(|metric| matches!(metric, Metric::Signal(_))),
            trusted: trusted().next().is_some(),
            named: trusted().filter(|event| event.blames().is_some()).max_by_key(|event| event.time).and_then(|event| event.blames()),
            only_down: any && critical().all(|metric| metric == Metric::Up),
        }
    }

    /// What firing signals blame: the worst rule's, then the newest.
    fn accused(&self, policy: &Policy, trusted: bool) -> Option<Scope> {
        let signals = self.firing(policy).filter_map(|(rule, _)| match rule.when.metric {
            Metric::Signal(index) => Some((rule.severity, &self.signals[index])),
            _ => None,
        });
        let accusing = signals.flat_map(|(severity, events)| events.iter().map(move |event| (severity, event)));
        let usable = accusing.filter(|(_, event)| event.trusted == trusted && event.blames().is_some());
        usable.max_by_key(|(severity, event)| (*severity, event.time)).and_then(|(_, event)| event.blames())
    }

    /// Says what was found, unless it is what was said last.
    fn say(&mut self, policy: &Policy, now: Timestamp, answer: Answer, heard: &mut Heard) {
        let Some(incident) = self.open_incident() else { return };
        let same = |last: &Decision| last.severity == incident.severity && last.action == answer.action && last.scope == answer.scope;
        if incident.last().is_some_and(same) {
            return;
        }
        let suspects = self.changes.suspects(incident.onset, &policy.rollback, &self.gauges.failing);
        let decision = Decision {
            incident: incident.name.clone(),
            scope: answer.scope,
            snapshot: answer.snapshot,
            onset: Some(incident.onset),
            cut: answer.cut,
            deadline: incident.deadline(policy),
            reasons: self.reasons(policy),
            suspects: blame::line_up(&suspects, answer.blamed.as_ref(), incident.onset),
            notes: answer.notes,
            alternative: answer.alternative,
            reopened: Some(u64::from(incident.reopened())).filter(|times| *times > 0),
            data_loss_s: answer.data_loss_s,
            ..Decision::new(incident.severity, answer.action)
        };
        if matches!(decision.action, Action::Rollback | Action::Propose) {
            self.awaited = decision.scope.clone();
        }
        if decision.action == Action::Rollback {
            self.count_rollback(now);
            self.cooldown = Some(now).filter(|_| policy.rollback.cooldown > SignedDuration::ZERO);
            self.rollback = (decision.scope.clone(), decision.snapshot.clone());
            if let Some(incident) = &mut self.incident {
                let suspect_first = policy.rollback.suspect_first && decision.severity == Severity::Critical;
                let first = suspect_first && incident.tries == Tries::None && decision.scope != Some(Scope::Full);
                incident.tries = if first { Tries::Suspect } else { Tries::All };
                incident.rolled_back = true;
            }
        }
        self.write(now, decision, heard);
    }

    /// Numbers a record of the incident, remembers it, and hands it out.
    fn write(&mut self, now: Timestamp, decision: Decision, heard: &mut Heard) {
        let decision = self.number(decision);
        if let Some(incident) = &mut self.incident {
            incident.said(now, &decision);
        }
        heard.decisions.push((now, decision));
    }

    fn number(&mut self, decision: Decision) -> Decision {
        let number = self.numbers.entry(decision.incident.clone()).or_default();
        *number += 1;
        let id = format!("{}-{number}", decision.incident);
        if self.numbers.len() > NUMBERED {
            self.numbers.pop_first();
        }
        Decision { id, ..decision }
    }

    fn end_silence(&mut self, now: Timestamp, heard: &mut Heard) {
        let Some(said) = self.no_data.take() else { return };
        if self.open_incident().is_none() {
            let over = self.number(Decision { action: Action::Resolved, notes: Vec::new(), ..said });
            heard.decisions.push((now, over));
        }
    }

    /// Every rule that fires, worst first.
    fn reasons(&self, policy: &Policy) -> Vec<Reason> {
        let mut firing: Vec<_> = self.firing(policy).collect();
        firing.sort_by_key(|(rule, proof)| (std::cmp::Reverse(rule.severity), proof.since));
        firing.into_iter().map(|(rule, proof)| reason(policy, rule, proof)).collect()
    }

    /// Severity of the incident that is open, if one is.
    pub fn severity(&self) -> Option<Severity> {
        self.open_incident().map(|incident| incident.severity)
    }

    /// Whether nothing is known about the service.
    pub fn is_silent(&self) -> bool {
        self.no_data.is_some()
    }

    /// Whether somebody could say, at least once, if it is up.
    pub fn was_ever_known(&self) -> bool {
        self.last_up.is_some()
    }

    /// Whether there were samples, and none of them could say if it is up.
    pub fn was_never_known(&self) -> bool {
        self.heard.is_some() && self.last_up.is_none()
    }

    /// The worst rule that is pending.
    pub fn pending<'a>(&'a self, policy: &'a Policy) -> Option<(&'a Rule, &'a Proof)> {
        policy.rules.iter().zip(&self.proofs).find(|(_, proof)| proof.phase == Phase::Pending)
    }
}

fn is_too_long<'a>(names: impl IntoIterator<Item = &'a String>) -> bool {
    names.into_iter().map(|name| name.len() + size_of::<String>()).sum::<usize>() > LONGEST_NAMES
}

fn reason(policy: &Policy, rule: &Rule, proof: &Proof) -> Reason {
    use super::metric::Kind;
    let observed = match rule.when.metric.kind() {
        Kind::Truth => (proof.observed == 1.0).into(),
        Kind::Count => (proof.observed as u64).into(),
        Kind::Rate | Kind::Time | Kind::Share => proof.observed.into(),
    };
    Reason {
        rule: rule.name.clone(),
        metric: policy.name_of(rule.when.metric),
        observed,
        threshold: rule.when.words.clone(),
        since: Some(proof.since),
        held_s: (!rule.when.metric.counts_events()).then(|| proof.held.as_secs_f64()),
        samples: Some(proof.count),
    }
}

/// The newest healthy time before `now`: a healthy record of this very instant proves nothing about the time before it.
fn healthy_before(healthy: &[Option<Timestamp>; 2], now: Timestamp) -> Option<Timestamp> {
    healthy.iter().flatten().copied().find(|time| *time < now)
}
