//! How far each rule has come: nothing seen, pending, firing, and healthy again only when that is proven too.

use super::metric::{Gauge, Seen};
use super::rules::Rule;
use crate::time::Timestamp;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Where a rule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    #[default]
    Idle,
    Pending,
    Firing,
}

/// One rule's evidence so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Proof {
    pub phase: Phase,
    /// It fired before a restore, and has not been seen healthy since.
    pub unproven: bool,
    pub count: u64,
    pub held: SignedDuration,
    /// The first sample that broke it; for signals the time that they name.
    pub since: Timestamp,
    /// When the stream first showed it.
    pub sign: Timestamp,
    /// The newest healthy record before the sign.
    pub healthy: Option<Timestamp>,
    pub observed: f64,
    /// How long it has been healthy again.
    pub inside: Option<SignedDuration>,
}

/// What a rule has to show before it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub samples: u64,
    /// A person asks: one sample is enough.
    pub at_once: bool,
    /// How long healthy counts as over.
    pub clear: SignedDuration,
}

impl Proof {
    /// Whether the incident has to stay open for it.
    pub fn keeps_open(&self) -> bool {
        self.phase == Phase::Firing || self.unproven
    }

    /// Takes a sample in; true if the rule starts to fire with it.
    pub fn take(&mut self, rule: &Rule, gauge: &Gauge, excused: bool, demand: Demand) -> bool {
        let Seen::Known(value) = gauge.seen else { return false };
        self.observed = value;
        if !rule.when.holds(value) || excused {
            if self.phase == Phase::Pending {
                self.phase = Phase::Idle;
            }
            self.recover(excused || rule.when.is_inside(value), gauge, demand.clear);
            return false;
        }
        self.inside = None;
        match self.phase {
            Phase::Idle => {
                (self.phase, self.count, self.held) = (Phase::Pending, 1, gauge.span);
                (self.since, self.sign, self.healthy) = (gauge.start, gauge.start, gauge.healthy);
            }
            Phase::Pending | Phase::Firing => {
                self.count += 1;
                self.held += gauge.credit;
            }
        }
        let proven = demand.at_once || rule.lasts.is_none_or(|lasts| self.held >= lasts && self.count >= demand.samples);
        if self.phase == Phase::Firing || !proven {
            return false;
        }
        (self.phase, self.unproven) = (Phase::Firing, false);
        true
    }

    /// A rule over events: it clears like the others, on samples of a service that is up.
    pub fn take_count(&mut self, rule: &Rule, gauge: &Gauge, excused: bool, count: f64, clear: SignedDuration) {
        if !self.keeps_open() || gauge.seen.known().is_none() {
            return;
        }
        self.observed = count;
        let inside = excused || !rule.when.holds(count);
        if !inside {
            self.inside = None;
        }
        self.recover(inside, gauge, clear);
    }

    /// A rule over events fires when one is added.
    pub fn fire(&mut self, since: Timestamp, sign: Timestamp, healthy: Option<Timestamp>, count: f64) -> bool {
        (self.observed, self.count, self.inside) = (count, count as u64, None);
        if self.phase == Phase::Firing {
            return false;
        }
        *self = Proof { phase: Phase::Firing, since, sign, healthy, observed: count, count: count as u64, ..Proof::default() };
        true
    }

    fn recover(&mut self, inside: bool, gauge: &Gauge, clear: SignedDuration) {
        if !self.keeps_open() {
            return;
        }
        if !inside {
            self.inside = None;
            return;
        }
        let healthy_for = self.inside.map_or(gauge.span, |so_far| so_far + gauge.credit);
        self.inside = Some(healthy_for);
        if healthy_for >= clear {
            *self = Proof::default();
        }
    }

    /// Evidence of which nothing has been heard for too long counts no more.
    pub fn expire(&mut self, now: Timestamp, heard: Option<Timestamp>, limit: SignedDuration) {
        if self.phase == Phase::Pending && heard.is_none_or(|heard| now.duration_since(heard) > limit) {
            self.phase = Phase::Idle;
        }
    }

    /// A restore completed: whatever fired must show that it is over.
    pub fn start_over(&mut self) {
        let unproven = self.keeps_open();
        *self = Proof { unproven, observed: self.observed, ..Proof::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    const MINUTE: SignedDuration = SignedDuration::from_mins(1);
    const DEMAND: Demand = Demand { samples: 3, at_once: false, clear: SignedDuration::from_mins(5) };

    fn rule(text: &str) -> Rule {
        Policy::parse(&format!("[rules.high]\nr = {{ {text} }}"), "p").unwrap().rules.remove(0)
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn gauge(minute: i64, seen: Seen) -> Gauge {
        Gauge { seen, credit: MINUTE, start: at(minute), ..Gauge::default() }
    }

    /// Feeds a value a minute; gives the minutes in which the rule started to fire and in which it was over.
    fn course(rule: &Rule, values: &[Option<f64>], demand: Demand) -> Vec<(usize, &'static str)> {
        let (mut proof, mut events) = (Proof::default(), Vec::new());
        for (minute, value) in values.iter().enumerate() {
            let was = proof.phase;
            if proof.take(rule, &gauge(minute as i64, Seen::from(*value)), false, demand) {
                events.push((minute, "fires"));
            }
            if was == Phase::Firing && proof.phase == Phase::Idle {
                events.push((minute, "over"));
            }
        }
        events
    }

    fn values(pieces: &[(usize, f64)]) -> Vec<Option<f64>> {
        pieces.iter().flat_map(|(times, value)| std::iter::repeat_n(Some(*value), *times)).collect()
    }

    #[test]
    fn it_fires_when_it_has_held_for_long_enough_and_was_seen_often_enough() {
        let two_minutes = rule("when = \"error_rate > 0.25\", for = \"2m\"");
        assert_eq!(course(&two_minutes, &values(&[(5, 0.3)]), DEMAND), [(2, "fires")]);
        let ten_seconds = rule("when = \"error_rate > 0.25\", for = \"10s\"");
        assert_eq!(course(&ten_seconds, &values(&[(5, 0.3)]), DEMAND), [(2, "fires")]);
        let five_minutes = rule("when = \"error_rate > 0.25\", for = \"5m\"");
        assert_eq!(course(&five_minutes, &values(&[(9, 0.3)]), DEMAND), [(5, "fires")]);
    }

    #[test]
    fn without_a_span_or_for_a_person_who_asks_one_sample_is_enough() {
        assert_eq!(course(&rule("when = \"error_rate > 0.25\""), &values(&[(2, 0.3)]), DEMAND), [(0, "fires")]);
        let slow = rule("when = \"error_rate > 0.25\", for = \"2h\"");
        assert_eq!(course(&slow, &values(&[(2, 0.3)]), Demand { at_once: true, ..DEMAND }), [(0, "fires")]);
    }

    #[test]
    fn a_healthy_sample_ends_what_is_pending_and_an_unknown_one_does_not() {
        let rule = rule("when = \"error_rate > 0.25\", for = \"2m\"");
        assert_eq!(course(&rule, &values(&[(2, 0.3), (1, 0.2), (2, 0.3), (1, 0.2)]), DEMAND), []);
        assert_eq!(course(&rule, &[Some(0.3), None, Some(0.3), None, Some(0.3)], DEMAND), [(4, "fires")]);
    }

    #[test]
    fn it_is_over_after_five_minutes_inside_the_margin_and_a_value_in_between_starts_them_anew() {
        let rule = rule("when = \"error_rate > 0.20\"");
        assert_eq!(course(&rule, &values(&[(1, 0.3), (9, 0.18)]), DEMAND), [(0, "fires"), (6, "over")]);
        assert_eq!(course(&rule, &values(&[(1, 0.3), (9, 0.19)]), DEMAND), [(0, "fires")]);
        assert_eq!(course(&rule, &values(&[(1, 0.3), (5, 0.1), (1, 0.19), (6, 0.1)]), DEMAND), [(0, "fires"), (12, "over")]);
        let mut gap = values(&[(1, 0.3), (3, 0.1)]);
        gap.extend([None; 20]);
        gap.extend(values(&[(3, 0.1)]));
        assert_eq!(course(&rule, &gap, DEMAND), [(0, "fires"), (26, "over")]);
    }

    #[test]
    fn an_excuse_keeps_it_from_firing_and_counts_as_healthy() {
        let rule = rule("when = \"response_ms > 1000\"");
        let mut proof = Proof::default();
        assert!(!proof.take(&rule, &gauge(0, Seen::Known(2000.0)), true, DEMAND));
        assert!(proof.take(&rule, &gauge(1, Seen::Known(2000.0)), false, DEMAND));
        for minute in 2..8 {
            proof.take(&rule, &gauge(minute, Seen::Known(2000.0)), true, DEMAND);
        }
        assert_eq!(proof.phase, Phase::Idle);
    }

    #[test]
    fn a_pool_brings_its_span_even_when_it_is_the_first_sample() {
        let rule = rule("when = \"error_rate > 0.25\", for = \"2m\"");
        let mut proof = Proof::default();
        let pool = Gauge { span: SignedDuration::from_mins(3), ..gauge(1, Seen::Known(0.5)) };
        assert!(!proof.take(&rule, &pool, false, DEMAND));
        assert_eq!((proof.held, proof.since), (SignedDuration::from_mins(3), at(1)));
        proof.take(&rule, &gauge(5, Seen::Nothing), false, DEMAND);
        assert_eq!(proof.count, 1);
    }

    #[test]
    fn what_is_pending_and_unheard_of_is_dropped() {
        let rule = rule("when = \"error_rate > 0.25\", for = \"2m\"");
        let mut proof = Proof::default();
        proof.take(&rule, &gauge(0, Seen::Known(0.5)), false, DEMAND);
        proof.expire(at(5), Some(at(0)), DEMAND.clear);
        assert_eq!(proof.phase, Phase::Pending);
        proof.expire(at(6), Some(at(0)), DEMAND.clear);
        assert_eq!(proof.phase, Phase::Idle);
    }

    #[test]
    fn after_a_restore_it_must_prove_that_it_is_over() {
        let rule = rule("when = \"error_rate > 0.25\"");
        let mut proof = Proof::default();
        proof.take(&rule, &gauge(0, Seen::Known(0.5)), false, DEMAND);
        proof.start_over();
        assert!(proof.phase == Phase::Idle && proof.keeps_open());
        for minute in 1..7 {
            assert!(proof.keeps_open());
            proof.take(&rule, &gauge(minute, Seen::Known(0.0)), false, DEMAND);
        }
        assert!(!proof.keeps_open());
    }

    #[test]
    fn an_event_fires_at_once_and_a_further_one_does_not_fire_again() {
        let mut proof = Proof::default();
        assert!(proof.fire(at(1), at(2), None, 3.0));
        assert!(!proof.fire(at(5), at(5), None, 4.0));
        assert_eq!((proof.since, proof.sign, proof.observed), (at(1), at(2), 4.0));
    }
}
