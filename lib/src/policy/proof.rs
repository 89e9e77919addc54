//! How far each rule has come: nothing seen, pending, firing, and healthy again only when that is proven too.

use super::metric::{Gauge, Seen};
use super::rules::Rule;
use crate::time::Timestamp;
use jiff::SignedDuration;

/// Where a rule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Idle,
    Pending,
    Firing,
}

/// One rule's evidence so far.
#[derive(Clone, Debug, Default)]
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
