//! Things that happen at one instant: the service going down, somebody raising an alarm. They count for an hour.

use crate::record::{Scope, Signal};
use crate::time::Timestamp;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How long an event counts.
pub(super) const MEMORY: SignedDuration = SignedDuration::from_hours(1);

/// How many events of one kind are remembered, and so counted, at most.
pub(super) const MOST: usize = 4096;

/// One event, or several of the same kind that never leave by themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Event {
    /// When it was added.
    pub time: Timestamp,
    /// When it was first seen; earlier than `time` only for events that stand for several.
    pub first: Timestamp,
    /// Since when the trouble has been there.
    pub since: Timestamp,
    /// The newest healthy record before it was first seen.
    pub healthy: Option<Timestamp>,
    pub trusted: bool,
    pub target: Option<String>,
    count: u64,
}

/// The events of one kind that count now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Events {
    events: VecDeque<Event>,
    count: u64,
    /// Signals of critical rules stay until somebody ends them.
    #[serde(skip)]
    pub stay: bool,
}

impl Events {
    pub fn count(&self) -> f64 {
        self.count as f64
    }

    /// How many are remembered; those that are merged count as one.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// The event that was seen first, and the earliest time that any of them names.
    pub fn origin(&self) -> Option<(&Event, Timestamp)> {
        let first = self.events.iter().min_by_key(|event| event.first)?;
        let since = self.events.iter().map(|event| event.since).min()?;
        Some((first, since))
    }

    /// The service went down.
    pub fn add_drop(&mut self, now: Timestamp, healthy: Option<Timestamp>) {
        self.push(Event { time: now, first: now, since: now, healthy, trusted: true, target: None, count: 1 });
    }

    /// Somebody raised an alarm.
    pub fn add_signal(&mut self, now: Timestamp, healthy: Option<Timestamp>, signal: &Signal, trusted: bool) {
        let since = signal.since.map_or(now, |since| since.min(now));
        let event = Event { time: now, first: now, since, healthy, trusted, target: signal.target.clone(), count: 1 };
        // An alarm that repeats itself for days must not fill the memory, nor must one that blames something else every time.
        let full = self.events.len() >= MOST;
        let same = |known: &&mut Event| self.stay && known.trusted == event.trusted && (full || known.target == event.target);
        match self.events.iter_mut().rev().find(same) {
            Some(known) => {
                known.count += 1;
                known.time = now;
                known.since = known.since.min(since);
                self.count += 1;
            }
            None => self.push(event),
        }
    }

    fn push(&mut self, event: Event) {
        self.count += event.count;
        self.events.push_back(event);
        if self.events.len() > MOST
            && let Some(oldest) = self.events.pop_front()
        {
            self.count -= oldest.count;
        }
    }

    /// Lets go of what is an hour old.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some(oldest) = self.events.front()
            && !self.stay
            && now.duration_since(oldest.time) >= MEMORY
        {
            self.count -= oldest.count;
            self.events.pop_front();
        }
    }

    /// Ends them all, or those that carry this target.
    pub fn clear(&mut self, target: Option<&str>) {
        self.events.retain(|event| target.is_some() && event.target.as_deref() != target);
        self.count = self.events.iter().map(|event| event.count).sum();
    }

    /// After a restore only what nobody but a person can end is remembered.
    pub fn start_over(&mut self) {
        if !self.stay {
            self.clear(None);
        }
    }
}

impl Event {
    /// What it blames, where that is something that can be rolled back.
    pub fn blames(&self) -> Option<Scope> {
        self.target.as_deref().and_then(|target| target.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn alarm(target: Option<&str>) -> Signal {
        Signal { target: target.map(str::to_owned), ..Signal::default() }
    }

    #[test]
    fn an_event_counts_for_less_than_an_hour() {
        let mut events = Events::default();
        events.add_drop(at(0), None);
        events.add_drop(at(30), None);
        events.expire(at(59));
        assert_eq!(events.count(), 2.0);
        events.expire(at(60));
        assert_eq!(events.count(), 1.0);
    }

    #[test]
    fn what_stays_is_counted_without_being_kept_twice() {
        let mut events = Events { stay: true, ..Events::default() };
        for minute in 0..1000 {
            events.add_signal(at(minute), None, &alarm(None), true);
        }
        events.expire(at(5000));
        events.start_over();
        assert_eq!((events.count(), events.len()), (1000.0, 1));
        let (first, _) = events.origin().unwrap();
        assert_eq!((first.first, first.time), (at(0), at(999)));
    }

    #[test]
    fn a_flood_does_not_fill_the_memory() {
        for stay in [false, true] {
            let mut events = Events { stay, ..Events::default() };
            for number in 0..3 * MOST {
                events.add_signal(at(0), None, &alarm(Some(&format!("module:m{number}"))), true);
            }
            // Those that stay are all counted, also where their targets are forgotten.
            assert_eq!((events.len(), events.count()), (MOST, if stay { 3.0 * MOST as f64 } else { MOST as f64 }));
        }
    }

    #[test]
    fn clearing_a_target_leaves_the_others() {
        let mut events = Events::default();
        for target in [None, Some("config"), Some("module:ui")] {
            events.add_signal(at(0), None, &alarm(target), true);
        }
        events.clear(Some("config"));
        assert_eq!(events.count(), 2.0);
        events.clear(None);
        assert_eq!(events.count(), 0.0);
    }

    #[test]
    fn trouble_since_tomorrow_began_now() {
        let mut events = Events::default();
        events.add_signal(at(10), None, &Signal { since: Some(at(20)), ..alarm(None) }, true);
        events.add_signal(at(11), None, &Signal { since: Some(at(5)), ..alarm(None) }, true);
        let (first, since) = events.origin().unwrap();
        assert_eq!((first.first, first.since, since), (at(10), at(10), at(5)));
    }
}
