//! What rules look at: the metrics, and how a `health` record becomes values that can be trusted. Whatever cannot be
//! trusted is unknown, and unknown never fires or clears anything.

use super::normal::Median;
use super::rules::Policy;
use crate::error::nearest;
use crate::record::{Health, Reading};
use crate::time::Timestamp;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Something a rule can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    Up,
    ErrorRate,
    SuccessRate,
    ResponseMs,
    ResponseRatio,
    CpuUsage,
    MemoryUsage,
    ModulesFailed,
    ModulesDegraded,
    ModulesFailedShare,
    CriticalFailed,
    Integrity,
    Integration,
    /// How often `up` went from true to false in the last hour.
    Drops,
    /// How many signals of one name came in the last hour; which name is in the policy.
    Signal(usize),
}

/// What values a metric can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// True or false.
    Truth,
    /// A share, 0..1.
    Rate,
    /// A length of time or a ratio of two.
    Time,
    /// Whole things.
    Count,
    /// A share of whole things, without a margin.
    Share,
}

const MEASURED: [Metric; 13] = [
    Metric::Up,
    Metric::ErrorRate,
    Metric::SuccessRate,
    Metric::ResponseMs,
    Metric::ResponseRatio,
    Metric::CpuUsage,
    Metric::MemoryUsage,
    Metric::ModulesFailed,
    Metric::ModulesDegraded,
    Metric::ModulesFailedShare,
    Metric::CriticalFailed,
    Metric::Integrity,
    Metric::Integration,
];

impl Metric {
    /// Every metric but the signals.
    pub fn all() -> impl Iterator<Item = Metric> {
        MEASURED.into_iter().chain([Metric::Drops])
    }

    pub fn parse(name: &str, signals: &mut Vec<String>) -> Result<Metric, String> {
        if let Some(signal) = name.strip_prefix("signal.").filter(|signal| !signal.is_empty()) {
            let index = signals.iter().position(|known| known == signal).unwrap_or_else(|| {
                signals.push(signal.to_owned());
                signals.len() - 1
            });
            return Ok(Metric::Signal(index));
        }
        Metric::all().find(|metric| metric.name() == name).ok_or_else(|| {
            let near = nearest(name, Metric::all().map(Metric::name)).map(|near| format!("; did you mean '{near}'?"));
            format!("there is no metric '{name}'{}", near.unwrap_or_default())
        })
    }

    /// Its place among the gauges, its name, its values. Rules over events use the gauge that knows when the service is up.
    fn facts(self) -> (usize, &'static str, Kind) {
        match self {
            Metric::Up => (0, "up", Kind::Truth),
            Metric::ErrorRate => (1, "error_rate", Kind::Rate),
            Metric::SuccessRate => (2, "success_rate", Kind::Rate),
            Metric::ResponseMs => (3, "response_ms", Kind::Time),
            Metric::ResponseRatio => (4, "response_ratio", Kind::Time),
            Metric::CpuUsage => (5, "cpu_usage", Kind::Rate),
            Metric::MemoryUsage => (6, "memory_usage", Kind::Rate),
            Metric::ModulesFailed => (7, "modules_failed", Kind::Count),
            Metric::ModulesDegraded => (8, "modules_degraded", Kind::Count),
            Metric::ModulesFailedShare => (9, "modules_failed_share", Kind::Share),
            Metric::CriticalFailed => (10, "critical_failed", Kind::Count),
            Metric::Integrity => (11, "integrity", Kind::Truth),
            Metric::Integration => (12, "integration", Kind::Truth),
            Metric::Drops => (ALIVE, "drops", Kind::Count),
            Metric::Signal(_) => (ALIVE, "signal", Kind::Count),
        }
    }

    /// Its name; `signal` for all signals.
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    pub fn kind(self) -> Kind {
        self.facts().2
    }

    fn place(self) -> usize {
        self.facts().0
    }

    /// Whether it counts events, which fire rules when they happen, and not samples.
    pub fn counts_events(self) -> bool {
        matches!(self, Metric::Drops | Metric::Signal(_))
    }
}

/// Rules over events clear on samples with `up` true; this place keeps their time.
const ALIVE: usize = MEASURED.len();

/// What one `health` record says about one metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Seen {
    /// Neither a value nor the lack of one: a pool is filling.
    Nothing,
    Unknown,
    Known(f64),
}

impl Seen {
    pub fn known(self) -> Option<f64> {
        match self {
            Seen::Known(value) => Some(value),
            _ => None,
        }
    }

    fn map(self, change: impl FnOnce(f64) -> Option<f64>) -> Seen {
        match self {
            Seen::Known(value) => change(value).map_or(Seen::Unknown, Seen::Known),
            other => other,
        }
    }
}

impl From<Option<f64>> for Seen {
    fn from(value: Option<f64>) -> Seen {
        value.map_or(Seen::Unknown, Seen::Known)
    }
}

/// One metric over time: its newest sample and the time that may be counted for it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Gauge {
    pub seen: Seen,
    /// Time that both neighbours vouch for, since the sample before this one.
    pub credit: SignedDuration,
    /// The part of it that lies inside this sample, where it was pooled.
    pub span: SignedDuration,
    /// When this sample began.
    pub start: Timestamp,
    /// The newest healthy record before that.
    pub healthy: Option<Timestamp>,
    /// When a usable value came last.
    pub usable_at: Option<Timestamp>,
    /// Whether the newest record had a value that could be used.
    pub usable: bool,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge {
            seen: Seen::Unknown,
            credit: SignedDuration::ZERO,
            span: SignedDuration::ZERO,
            start: Timestamp::UNIX_EPOCH,
            healthy: None,
            usable_at: None,
            usable: false,
        }
    }
}

impl Gauge {
    /// Takes one record in: whether its value can be used, and what rules see of it. Gives the time that it earned.
    fn take(&mut self, at: Moment, usable: bool, seen: Seen) -> SignedDuration {
        if matches!(self.seen, Seen::Known(_)) {
            self.credit = SignedDuration::ZERO;
        }
        let earned = if usable && self.usable { at.gap } else { SignedDuration::ZERO };
        self.credit += earned;
        if usable {
            self.usable_at = Some(at.now);
        }
        (self.usable, self.seen) = (usable, seen);
        (self.span, self.start, self.healthy) = (SignedDuration::ZERO, at.now, at.healthy);
        earned
    }
}

/// When a record is taken in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub now: Timestamp,
    /// Time since the `health` record before; zero where it is too long to be counted.
    pub gap: SignedDuration,
    /// The newest healthy record before `now`.
    pub healthy: Option<Timestamp>,
}

/// Small samples, put together until they are one of a usable size.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pool {
    start: Timestamp,
    healthy: Option<Timestamp>,
    span: SignedDuration,
    requests: f64,
    sum: f64,
}

/// What a record says about how many requests its numbers stand for.
#[derive(Clone, Copy)]
enum Requests {
    /// Nothing: the sample stands by itself.
    Unsaid,
    Unusable,
    Number(f64),
}

/// All metrics of one ecosystem, as of its newest `health` record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Gauges {
    gauges: [Gauge; ALIVE + 1],
    pools: [Option<Pool>; 3],
    /// The modules that have failed, in the newest sample that lists modules.
    pub failing: Vec<String>,
    baseline_ms: Option<f64>,
    learned: Median,
    before: Option<Timestamp>,
}

const POOLED: [Metric; 3] = [Metric::ErrorRate, Metric::SuccessRate, Metric::ResponseMs];

/// A value that was there but cannot be used: which, by its place in [`SUSPECT_NAMES`].
pub(super) type Complaint = usize;

/// Names of the fields that can be unusable.
pub(super) const SUSPECT_NAMES: [&str; 11] = [
    "up",
    "requests",
    "error_rate",
    "success_rate",
    "response_ms",
    "baseline_ms",
    "cpu_usage",
    "memory_usage",
    "integrity",
    "integration",
    "modules",
];

impl Gauges {
    pub fn get(&self, metric: Metric) -> &Gauge {
        &self.gauges[metric.place()]
    }

    /// Takes a record in. `complain` hears of values that are there but cannot be used.
    pub fn take(&mut self, policy: &Policy, now: Timestamp, healthy: Option<Timestamp>, health: &Health, mut complain: impl FnMut(Complaint)) {
        let gap = self.before.map_or(SignedDuration::ZERO, |before| now.duration_since(before));
        let gap = if gap > policy.stale { SignedDuration::ZERO } else { gap };
        self.before = Some(now);
        let at = Moment { now, gap, healthy };

        let mut rate = |place: Complaint, reading: &Reading<f64>| bounded(reading, 1.0, place, &mut complain);
        let errors = rate(2, &health.error_rate);
        let success = rate(3, &health.success_rate);
        let cpu = rate(6, &health.cpu_usage);
        let memory = rate(7, &health.memory_usage);
        let mut measure = |place: Complaint, reading: &Reading<f64>| bounded(reading, MOST, place, &mut complain);
        let response = measure(4, &health.response_ms);
        let baseline = measure(5, &health.baseline_ms);
        let requests = match measure(1, &health.requests) {
            Some(number) => Requests::Number(number),
            None if health.requests.is_absent() => Requests::Unsaid,
            None => Requests::Unusable,
        };
        let up = truth(&health.up, 0, &mut complain);
        let integrity = truth(&health.integrity, 8, &mut complain);
        let integration = truth(&health.integration, 9, &mut complain);
        if health.modules.values().any(|state| matches!(state, Reading::Unusable(_))) {
            complain(10);
        }

        self.single(Metric::Up, at, up);
        let alive = up.filter(|up| *up == 1.0);
        self.gauges[ALIVE].take(at, alive.is_some(), alive.into());
        if up == Some(0.0) {
            // What a service that is down says about itself means nothing.
            for place in 1..ALIVE {
                self.gauges[place].take(at, false, Seen::Unknown);
            }
            return;
        }
        let errors = errors.or_else(|| success.filter(|_| health.error_rate.is_absent()).map(|success| tidy(1.0 - success)));
        self.pooled(0, policy, at, errors, requests);
        self.pooled(1, policy, at, success, requests);
        self.pooled(2, policy, at, response, requests);
        match baseline {
            Some(ms) if ms > 0.0 => self.baseline_ms = Some(ms),
            Some(_) => complain(5),
            None => {}
        }
        self.ratio(policy, at, response);
        self.single(Metric::CpuUsage, at, cpu);
        self.single(Metric::MemoryUsage, at, memory);
        self.single(Metric::Integrity, at, integrity);
        self.single(Metric::Integration, at, integration);
        self.modules(policy, at, health);
    }

    fn single(&mut self, metric: Metric, at: Moment, value: Option<f64>) {
        self.gauges[metric.place()].take(at, value.is_some(), value.into());
    }

    fn pooled(&mut self, which: usize, policy: &Policy, at: Moment, value: Option<f64>, requests: Requests) {
        let (gauge, pool) = (&mut self.gauges[POOLED[which].place()], &mut self.pools[which]);
        let number = match requests {
            Requests::Unsaid => {
                *pool = None;
                gauge.take(at, value.is_some(), value.into());
                return;
            }
            Requests::Unusable => None,
            Requests::Number(number) => Some(number),
        };
        // Without requests there is nothing that a value could be about; such a record only lets an open pool grow older.
        let quiet = number == Some(0.0);
        let (Some(number), Some(value)) = (number, if quiet { Some(0.0) } else { value }) else {
            gauge.take(at, false, Seen::Unknown);
            return;
        };
        let fresh = Pool { start: at.now, healthy: at.healthy, span: SignedDuration::ZERO, requests: number, sum: value * number };
        match pool {
            Some(open) if at.now.duration_since(open.start) > policy.normal.pool => {
                *pool = (!quiet).then_some(fresh);
                gauge.take(at, !quiet, Seen::Unknown);
                gauge.credit = SignedDuration::ZERO;
            }
            None if quiet => {
                gauge.take(at, false, Seen::Unknown);
            }
            None if number >= policy.normal.requests => {
                gauge.take(at, true, Seen::Known(value));
            }
            None => {
                *pool = Some(fresh);
                gauge.take(at, true, Seen::Nothing);
            }
            Some(open) => {
                open.span += gauge.take(at, true, Seen::Nothing);
                open.requests += number;
                open.sum += value * number;
                if open.requests >= policy.normal.requests {
                    gauge.seen = Seen::Known(tidy(open.sum / open.requests));
                    (gauge.span, gauge.start, gauge.healthy) = (open.span, open.start, open.healthy);
                    *pool = None;
                }
            }
        }
    }

    /// Response time as a multiple of normal. What is normal is asked before this sample is learned from.
    fn ratio(&mut self, policy: &Policy, at: Moment, raw: Option<f64>) {
        let normal = policy.normal.response_ms.or(self.baseline_ms).or_else(|| {
            self.learned.forget(at.now, policy.normal.window);
            self.learned.value(policy.normal.samples).filter(|ms| *ms > 0.0)
        });
        let response = self.gauges[Metric::ResponseMs.place()];
        let usable = raw.is_some_and(|ms| ms <= policy.normal.floor_ms) || (normal.is_some() && response.usable);
        let seen = match response.seen {
            Seen::Nothing if !usable => Seen::Unknown,
            seen => seen.map(|ms| if ms <= policy.normal.floor_ms { Some(1.0) } else { normal.map(|normal| tidy(ms / normal).min(f64::MAX)) }),
        };
        let gauge = &mut self.gauges[Metric::ResponseRatio.place()];
        gauge.take(at, usable, seen);
        (gauge.span, gauge.start, gauge.healthy) = (response.span, response.start, response.healthy);
    }

    fn modules(&mut self, policy: &Policy, at: Moment, health: &Health) {
        let (mut known, mut failed, mut degraded, mut vital, mut vital_failed) = (0u32, 0u32, 0u32, 0u32, 0u32);
        if !health.modules.is_empty() {
            self.failing.clear();
        }
        for (name, state) in &health.modules {
            let bad = match state.known().map(String::as_str) {
                Some("ok") => false,
                Some("degraded") => {
                    degraded += 1;
                    false
                }
                Some("failed") => {
                    self.failing.push(name.clone());
                    failed += 1;
                    true
                }
                _ => continue,
            };
            known += 1;
            if policy.rollback.critical.iter().any(|critical| critical == name) {
                vital += 1;
                vital_failed += u32::from(bad);
            }
        }
        let if_known = |count: u32| (known > 0).then_some(f64::from(count));
        self.single(Metric::ModulesFailed, at, if_known(failed));
        self.single(Metric::ModulesDegraded, at, if_known(degraded));
        self.single(Metric::ModulesFailedShare, at, if_known(failed).map(|failed| failed / f64::from(known)));
        self.single(Metric::CriticalFailed, at, (vital > 0).then_some(f64::from(vital_failed)));
    }

    /// Learns from a record that turned out healthy.
    pub fn learn(&mut self, now: Timestamp) {
        if let Seen::Known(ms) = self.get(Metric::ResponseMs).seen {
            self.learned.add(now, ms);
        }
    }

    /// After a restore, what was half measured belongs to another service.
    pub fn start_over(&mut self) {
        self.pools = [None; 3];
    }
}

/// No count of requests and no response time is as large as this: whoever says so has measured something else.
const MOST: f64 = 1e15;

/// A measure between 0 and `most`; anything else that is there is complained about.
fn bounded(reading: &Reading<f64>, most: f64, place: Complaint, complain: &mut impl FnMut(Complaint)) -> Option<f64> {
    match reading {
        Reading::Known(value) if (0.0..=most).contains(value) => Some(*value),
        Reading::Absent => None,
        Reading::Known(_) | Reading::Unusable(_) => {
            complain(place);
            None
        }
    }
}

fn truth(reading: &Reading<bool>, place: Complaint, complain: &mut impl FnMut(Complaint)) -> Option<f64> {
    match reading {
        Reading::Known(value) => Some(f64::from(u8::from(*value))),
        Reading::Absent => None,
        Reading::Unusable(_) => {
            complain(place);
            None
        }
    }
}

/// Rounds away what binary fractions add: 1 - 0.9 is meant to be 0.1, which a rule may ask for exactly.
fn tidy(value: f64) -> f64 {
    const PLACES: f64 = 1e12;
    if value.abs() < 1e3 { (value * PLACES).round() / PLACES } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn take(gauges: &mut Gauges, at: i64, health: &Health) -> Vec<&'static str> {
        let mut complaints = Vec::new();
        gauges.take(&Policy::default(), minute(at), Some(minute(at - 1)), health, |place| complaints.push(SUSPECT_NAMES[place]));
        complaints
    }

    fn sample(error_rate: f64, requests: f64) -> Health {
        Health { up: known(true), error_rate: known(error_rate), requests: known(requests), ..Health::default() }
    }

    fn modules(states: &[(&str, &str)]) -> Health {
        let modules = states.iter().map(|(name, state)| ((*name).to_owned(), Reading::Known((*state).to_owned()))).collect();
        Health { modules, ..Health::default() }
    }

    fn known<T>(value: T) -> Reading<T> {
        Reading::Known(value)
    }

    fn seen(health: &Health, metric: Metric) -> Seen {
        let mut gauges = Gauges::default();
        take(&mut gauges, 0, health);
        gauges.get(metric).seen
    }

    #[test]
    fn what_cannot_be_true_is_unknown_and_complained_about() {
        let health = Health {
            up: Reading::Unusable("yes".into()),
            error_rate: known(1.5),
            success_rate: known(-0.1),
            response_ms: known(-1.0),
            baseline_ms: known(0.0),
            cpu_usage: known(85.0),
            memory_usage: Reading::Unusable("half".into()),
            integrity: Reading::Unusable(1.into()),
            modules: [("core".to_owned(), Reading::Unusable(7.into()))].into(),
            ..Health::default()
        };
        let mut gauges = Gauges::default();
        let mut complaints = take(&mut gauges, 0, &health);
        complaints.sort_unstable();
        let expected = ["baseline_ms", "cpu_usage", "error_rate", "integrity", "memory_usage", "modules", "response_ms", "success_rate", "up"];
        assert_eq!(complaints, expected);
        assert!(gauges.gauges.iter().all(|gauge| gauge.seen == Seen::Unknown));
    }

    #[test]
    fn a_missing_error_rate_is_what_success_leaves_and_a_wrong_one_is_not() {
        let success = |error_rate| Health { success_rate: known(0.9), error_rate, ..Health::default() };
        assert_eq!(seen(&success(Reading::Absent), Metric::ErrorRate), Seen::Known(0.1));
        assert_eq!(seen(&success(Reading::Known(0.5)), Metric::ErrorRate), Seen::Known(0.5));
        assert_eq!(seen(&success(Reading::Known(50.0)), Metric::ErrorRate), Seen::Unknown);
        assert_eq!(seen(&sample(0.1, 100.0), Metric::SuccessRate), Seen::Unknown);
    }

    #[test]
    fn a_service_that_is_down_says_nothing_else() {
        let down = Health { up: known(false), ..sample(0.5, 100.0) };
        assert_eq!(seen(&down, Metric::Up), Seen::Known(0.0));
        assert_eq!(seen(&down, Metric::ErrorRate), Seen::Unknown);
        let nobody_knows = Health { up: Reading::Absent, ..sample(0.5, 100.0) };
        assert_eq!(seen(&nobody_knows, Metric::ErrorRate), Seen::Known(0.5));
    }

    #[test]
    fn only_states_that_are_known_are_counted() {
        let health = modules(&[("core", "failed"), ("ui", "ok"), ("tools", "degraded"), ("planner", "thinking")]);
        assert_eq!(seen(&health, Metric::ModulesFailed), Seen::Known(1.0));
        assert_eq!(seen(&health, Metric::ModulesDegraded), Seen::Known(1.0));
        assert_eq!(seen(&health, Metric::ModulesFailedShare), Seen::Known(1.0 / 3.0));
        assert_eq!(seen(&health, Metric::CriticalFailed), Seen::Known(1.0));
        let odd = modules(&[("core", "thinking")]);
        assert_eq!(seen(&odd, Metric::ModulesFailed), Seen::Unknown);
        assert_eq!(seen(&modules(&[("ui", "failed")]), Metric::CriticalFailed), Seen::Unknown);
    }

    #[test]
    fn time_is_credited_only_between_neighbours_that_both_know() {
        let mut gauges = Gauges::default();
        let credit = |gauges: &mut Gauges, at: i64, health: &Health| {
            take(gauges, at, health);
            gauges.get(Metric::ErrorRate).credit.as_mins()
        };
        let (known, unknown) = (sample(0.1, 100.0), Health::default());
        assert_eq!(credit(&mut gauges, 0, &known), 0);
        assert_eq!(credit(&mut gauges, 1, &known), 1);
        assert_eq!(credit(&mut gauges, 2, &unknown), 0);
        assert_eq!(credit(&mut gauges, 3, &known), 0);
        assert_eq!(credit(&mut gauges, 6, &known), 3);
        assert_eq!(credit(&mut gauges, 10, &known), 0, "four minutes are a gap");
    }

    #[test]
    fn a_pool_is_one_sample_with_the_mean_of_its_requests() {
        let mut gauges = Gauges::default();
        let mut seen = |at: i64, rate: f64, requests: f64| {
            take(&mut gauges, at, &sample(rate, requests));
            *gauges.get(Metric::ErrorRate)
        };
        assert_eq!(seen(0, 1.0, 5.0).seen, Seen::Nothing);
        assert_eq!(seen(1, 0.0, 0.0).seen, Seen::Nothing);
        assert_eq!(seen(2, 0.0, 5.0).seen, Seen::Nothing);
        let pool = seen(3, 0.0, 10.0);
        assert_eq!((pool.seen, pool.span, pool.start, pool.healthy), (Seen::Known(0.25), SignedDuration::from_mins(3), minute(0), Some(minute(-1))));
        assert_eq!(seen(4, 0.5, 20.0).seen, Seen::Known(0.5));
        assert_eq!(seen(5, 0.5, 0.0).seen, Seen::Unknown, "no requests open no pool");
    }

    #[test]
    fn a_pool_that_is_too_old_is_dropped_and_a_sample_that_stands_alone_drops_it() {
        let mut gauges = Gauges::default();
        let mut seen = |at: i64, health: &Health| {
            take(&mut gauges, at, health);
            gauges.get(Metric::ErrorRate).seen
        };
        assert_eq!(seen(0, &sample(1.0, 5.0)), Seen::Nothing);
        assert_eq!(seen(360, &sample(1.0, 5.0)), Seen::Nothing);
        assert_eq!(seen(361, &sample(0.0, 10.0)), Seen::Unknown);
        assert_eq!(seen(362, &sample(0.0, 10.0)), Seen::Known(0.0));
        assert_eq!(seen(363, &sample(1.0, 10.0)), Seen::Nothing);
        let alone = Health { error_rate: known(0.5), ..Health::default() };
        assert_eq!(seen(364, &alone), Seen::Known(0.5));
        assert_eq!(seen(365, &sample(0.0, 10.0)), Seen::Nothing);
    }

    #[test]
    fn normal_is_pinned_or_told_or_learned_in_this_order() {
        let response = |ms: f64| Health { up: known(true), response_ms: known(ms), ..Health::default() };
        let mut gauges = Gauges::default();
        let ratio = |gauges: &mut Gauges, at: i64, health: &Health| {
            take(gauges, at, health);
            gauges.get(Metric::ResponseRatio).seen
        };
        for at in 0..30 {
            assert_eq!(ratio(&mut gauges, at, &response(100.0)), Seen::Unknown);
            gauges.learn(minute(at));
        }
        assert_eq!(ratio(&mut gauges, 30, &response(240.0)), Seen::Known(2.4));
        assert_eq!(ratio(&mut gauges, 31, &response(9.0)), Seen::Known(1.0), "fast enough");
        let told = Health { baseline_ms: known(200.0), ..response(240.0) };
        assert_eq!(ratio(&mut gauges, 32, &told), Seen::Known(1.2));
        assert_eq!(ratio(&mut gauges, 33, &response(300.0)), Seen::Known(1.5));
        let pinned = Policy::parse("[normal]\nresponse_ms = 50", "p").unwrap();
        gauges.take(&pinned, minute(34), None, &told, |_| ());
        assert_eq!(gauges.get(Metric::ResponseRatio).seen, Seen::Known(4.8));
        assert_eq!(ratio(&mut Gauges::default(), 0, &response(10.0)), Seen::Known(1.0), "without any normal");
    }
}
