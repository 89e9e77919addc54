//! What the samples of one phase show: how many requests failed, lately and since it began.

use super::HAIR;
use super::plan::Phase;
use crate::record::{self, Health};
use crate::time::Timestamp;
use jiff::SignedDuration;
use std::collections::VecDeque;

/// Samples that are needed for a first word, pooled: one alone proves nothing.
const LATEST: usize = 3;
/// How far back the window reaches, unless it has to reach further for enough requests.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// A fast breach needs so many requests and errors, and this many times the limit.
const FAST: (f64, f64, f64) = (20.0, 3.0, 3.0);

/// One sample of one cohort.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub time: Timestamp,
    pub up: bool,
    /// 0 where nobody said how many there were: nothing can be proven by them.
    pub requests: f64,
    pub errors: f64,
}

impl Sample {
    /// `None` where it is not even known whether the service was up. `complain` hears of what could not be used.
    pub fn of(time: Timestamp, health: &Health, mut complain: impl FnMut(&'static str)) -> Option<Sample> {
        let up = *health.up.known()?;
        let mut usable = |reading: &record::Reading<f64>, name: &'static str, most: f64| match reading {
            record::Reading::Absent => None,
            record::Reading::Known(value) if (0.0..=most).contains(value) => Some(*value),
            _ => {
                complain(name);
                None
            }
        };
        let requests = usable(&health.requests, "requests", f64::MAX);
        let success = usable(&health.success_rate, "success_rate", 1.0);
        let rate =
            usable(&health.error_rate, "error_rate", 1.0).or_else(|| success.filter(|_| health.error_rate.is_absent()).map(|share| 1.0 - share));
        if rate.is_some() && health.requests.is_absent() {
            complain("a rate without requests");
        }
        let (requests, errors) = requests.zip(rate).map_or((0.0, 0.0), |(requests, rate)| (requests, requests * rate));
        Some(Sample { time, up, requests, errors })
    }
}

/// Requests and errors of several samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pool {
    pub requests: f64,
    pub errors: f64,
}

impl Pool {
    fn add(&mut self, sample: &Sample) {
        self.requests += sample.requests;
        self.errors += sample.errors;
    }

    fn take(&mut self, sample: &Sample) {
        self.requests -= sample.requests;
        self.errors -= sample.errors;
    }

    pub fn rate(&self) -> Option<f64> {
        (self.requests > HAIR).then(|| (self.errors / self.requests).clamp(0.0, 1.0))
    }
}

/// The last three samples of a cohort.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest(VecDeque<Sample>);

impl Latest {
    pub fn add(&mut self, sample: Sample) {
        self.0.push_back(sample);
        if self.0.len() > LATEST {
            self.0.pop_front();
        }
    }

    /// All of them together; unknown before the third.
    pub fn pool(&self) -> Option<Pool> {
        let mut pool = Pool::default();
        self.0.iter().for_each(|sample| pool.add(sample));
        (self.0.len() == LATEST).then_some(pool)
    }

    pub fn rate(&self) -> Option<f64> {
        self.pool().and_then(|pool| pool.rate())
    }

    /// Whether the newest one says that the service is up.
    pub fn up(&self) -> Option<bool> {
        self.0.back().map(|sample| sample.up)
    }

    /// The same if it is not older than this; else nothing: a version that nobody asks any more says nothing about now.
    pub fn fresh(&self, now: Timestamp, age: SignedDuration) -> Option<&Latest> {
        self.0.back().filter(|sample| now.duration_since(sample.time) <= age).map(|_| self)
    }

    fn all_down(&self) -> bool {
        self.0.len() == LATEST && self.0.iter().all(|sample| !sample.up)
    }
}

/// Everything that was seen of the judged cohort in one phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    pub latest: Latest,
    /// As far back as the window reaches.
    window: VecDeque<Sample>,
    windowed: Pool,
    phase: Pool,
}

/// A limit that was exceeded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Excess {
    pub rule: &'static str,
    pub metric: &'static str,
    pub observed: serde_json::Value,
    pub threshold: String,
    pub window_s: f64,
    pub requests: f64,
}

impl Evidence {
    pub fn add(&mut self, sample: Sample) {
        self.latest.add(sample);
        self.phase.add(&sample);
        self.windowed.add(&sample);
        self.window.push_back(sample);
    }

    /// The window at `now`: the last ten minutes, and further back only as long as requests are missing.
    fn shorten(&mut self, now: Timestamp, need: f64) {
        while let Some(first) = self.window.front()
            && now.duration_since(first.time) >= WINDOW
            && self.windowed.requests - first.requests >= need - HAIR
        {
            self.windowed.take(first);
            self.window.pop_front();
        }
    }

    /// Whether a limit is exceeded now.
    pub fn excess(&mut self, now: Timestamp, phase: &Phase) -> Option<Excess> {
        self.shorten(now, phase.need());
        if self.latest.all_down() {
            let (observed, threshold) = (false.into(), "== false".into());
            return Some(Excess { rule: "down", metric: "up", observed, threshold, window_s: length(&self.latest.0), requests: 0.0 });
        }
        let latest = self.latest.pool()?;
        let rate = latest.rate()?;
        let (requests, errors, times) = FAST;
        let fast = times * phase.limit;
        if rate > fast + HAIR && latest.requests >= requests - HAIR && latest.errors >= errors - HAIR {
            return Some(excess("fast", rate, fast, length(&self.latest.0), latest.requests));
        }
        let window = self.windowed.rate()?;
        let sustained = window > phase.limit + HAIR && self.windowed.requests >= phase.need() - HAIR && rate > phase.limit + HAIR;
        sustained.then(|| excess("sustained", window, phase.limit, length(&self.window), self.windowed.requests))
    }

    /// Whether all of the phase together shows that the version is fit for more.
    pub fn passes(&self, phase: &Phase) -> bool {
        self.phase.requests >= phase.need() - HAIR && self.phase.rate().is_some_and(|rate| rate <= phase.limit + HAIR)
    }
}

fn excess(rule: &'static str, observed: f64, limit: f64, window_s: f64, requests: f64) -> Excess {
    let metric = "error_rate";
    Excess { rule, metric, observed: rounded(observed).into(), threshold: format!("> {}", rounded(limit)), window_s, requests }
}

/// Sums of shares carry the dust of binary fractions; nobody wants to read it.
pub(super) fn rounded(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}

fn length(samples: &VecDeque<Sample>) -> f64 {
    samples.front().zip(samples.back()).map_or(0.0, |(first, last)| last.time.duration_since(first.time).as_secs_f64())
}
