//! The median of a sliding window, kept up to date sample by sample: what response time is normal.

use crate::time::Timestamp;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// How many samples are kept, however many come in one window: a day of one a second.
const LONGEST: usize = 86_400;

/// A multiset of measures that are not negative, split in two halves of equal size, so that its middle is always at hand.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Timestamp, f64)>", into = "Vec<(Timestamp, f64)>")]
pub(super) struct Median {
    window: VecDeque<(Timestamp, u64)>,
    low: Half,
    high: Half,
}

#[derive(Clone, Debug, Default)]
struct Half {
    counts: BTreeMap<u64, u32>,
    size: usize,
}

impl Half {
    fn add(&mut self, bits: u64) {
        *self.counts.entry(bits).or_default() += 1;
        self.size += 1;
    }

    /// Takes one such value out; false where there is none.
    fn remove(&mut self, bits: u64) -> bool {
        let Some(count) = self.counts.get_mut(&bits) else { return false };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&bits);
        }
        self.size -= 1;
        true
    }

    fn least(&self) -> Option<u64> {
        self.counts.first_key_value().map(|(bits, _)| *bits)
    }

    fn greatest(&self) -> Option<u64> {
        self.counts.last_key_value().map(|(bits, _)| *bits)
    }
}

/// The two halves follow from the window: which of two equal values is in which half makes no difference.
impl From<Vec<(Timestamp, f64)>> for Median {
    fn from(window: Vec<(Timestamp, f64)>) -> Median {
        let mut median = Median::default();
        window.into_iter().for_each(|(time, value)| median.add(time, value));
        median
    }
}

impl From<Median> for Vec<(Timestamp, f64)> {
    fn from(median: Median) -> Vec<(Timestamp, f64)> {
        median.window.into_iter().map(|(time, bits)| (time, f64::from_bits(bits))).collect()
    }
}

impl Median {
    /// Adds a sample.
    pub fn add(&mut self, time: Timestamp, value: f64) {
        if self.window.len() >= LONGEST {
            self.forget_oldest();
        }
        // The bits of floats that are not negative sort like the floats; adding 0 turns -0 into 0.
        let bits = (value + 0.0).to_bits();
        self.window.push_back((time, bits));
        match self.low.greatest() {
            Some(middle) if bits > middle => self.high.add(bits),
            _ => self.low.add(bits),
        }
        self.balance();
    }

    /// Drops the samples that are `window` old or older.
    pub fn forget(&mut self, now: Timestamp, window: SignedDuration) {
        while self.window.front().is_some_and(|(time, _)| now.duration_since(*time) >= window) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, bits)) = self.window.pop_front() {
            if !self.low.remove(bits) {
                self.high.remove(bits);
            }
            self.balance();
        }
    }

    /// The median, from `samples` samples on.
    pub fn value(&self, samples: usize) -> Option<f64> {
        if self.window.len() < samples {
            return None;
        }
        let low = f64::from_bits(self.low.greatest()?);
        if self.low.size > self.high.size {
            return Some(low);
        }
        Some((low + f64::from_bits(self.high.least()?)) / 2.0)
    }

    /// The low half has as many as the high one, or one more.
    fn balance(&mut self) {
        while self.low.size > self.high.size + 1
            && let Some(bits) = self.low.greatest()
        {
            self.low.remove(bits);
            self.high.add(bits);
        }
        while self.low.size < self.high.size
            && let Some(bits) = self.high.least()
        {
            self.high.remove(bits);
            self.low.add(bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    #[test]
    fn the_median_is_the_middle_of_the_window() {
        let mut median = Median::default();
        for (at, value) in [5.0, 1.0, 4.0, 1.0, 3.0].into_iter().enumerate() {
            median.add(minute(at as i64), value);
        }
        assert_eq!(median.value(5), Some(3.0));
        assert_eq!(median.value(6), None);
        median.forget(minute(10), SignedDuration::from_mins(10));
        assert_eq!(median.value(1), Some(2.0)); // 1 1 3 4
        median.forget(minute(100), SignedDuration::from_mins(10));
        assert_eq!(median.value(0), None);
    }

    #[test]
    fn it_agrees_with_sorting_on_any_stream() {
        let (mut median, mut seed, mut all) = (Median::default(), 7u64, Vec::new());
        for at in 0..2000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let value = f64::from((seed >> 33) as u32 % 50);
            median.forget(minute(at), SignedDuration::from_mins(100));
            median.add(minute(at), value);
            all.push(value);
            let mut window = all[all.len().saturating_sub(100)..].to_vec();
            window.sort_by(f64::total_cmp);
            let middle = (window[(window.len() - 1) / 2] + window[window.len() / 2]) / 2.0;
            assert_eq!(median.value(1), Some(middle), "after {at}");
        }
    }
}
