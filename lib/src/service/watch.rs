//! The proof of a stop: what was seen running is gone, and nobody has come after it.

use super::pidfd::{self, Held};
use super::process::{self, Process, Stat};
use super::{Service, State};
use crate::time::Span;
use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// So many processes are held at once; the others wait their turn, so that a service of thousands does not take all descriptors.
const MOST_HELD: usize = 64;

/// What must be gone before a stop is proven.
pub(super) struct Watch<'a> {
    /// Who says which processes there are, where that is not found out by process groups.
    unit: Option<&'a Service>,
    /// Waited for now.
    held: Vec<Held>,
    /// Waited for when there is room; some may be gone already.
    rest: Vec<Process>,
    /// Everything that was ever watched.
    pub(super) seen: BTreeSet<Process>,
    /// Process groups that hold nothing but the service.
    groups: Vec<u32>,
    /// Children outside those groups: not ours to end, but worth naming.
    apart: Vec<Process>,
    /// Whether the service is something that we run under.
    above_us: bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(state: &State, unit: Option<&'a Service>) -> Watch<'a> {
        let found = if let State::Running(found) = state { found.clone() } else { Vec::new() };
        let table: Vec<Stat> = if found.is_empty() {
            Vec::new()
        } else {
            // Where processes cannot be listed, those that were found still can be looked at.
            process::all().unwrap_or_else(|_| found.iter().filter_map(|process| process::look(process.pid)).collect())
        };
        let ours = process::our_line();
        let family = process::with_descendants(&found, &table);
        let is_found = |pid: u32| found.iter().any(|process| process.pid == pid);
        let mut groups: Vec<u32> = table.iter().filter(|stat| is_found(stat.process.pid)).map(|stat| stat.group).filter(|group| *group > 1).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|_| unit.is_none());
        // A script may have started an editor in the same group: then only the service's own processes are signalled.
        groups.retain(|group| {
            let mut members = table.iter().filter(|stat| stat.group == *group && !stat.ended).map(|stat| stat.process.pid);
            let alone = is_found(*group) || members.clone().all(|pid| family.contains(&pid));
            alone && !members.any(|pid| ours.contains(&pid))
        });
        let in_group = |stat: &&Stat| groups.contains(&stat.group) || is_found(stat.process.pid);
        let alive = || table.iter().filter(|stat| !stat.ended);
        let apart = alive().filter(|stat| family.contains(&stat.process.pid) && !in_group(stat)).map(|stat| stat.process).collect();
        let mut watch = Watch {
            unit,
            held: Vec::new(),
            rest: Vec::new(),
            seen: BTreeSet::new(),
            apart,
            above_us: found.iter().any(|process| ours.contains(&process.pid)),
            groups: Vec::new(),
        };
        watch.watch(alive().filter(in_group).map(|stat| stat.process).collect());
        watch.groups = groups;
        watch
    }

    /// Whether nothing was seen running.
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn watch(&mut self, processes: Vec<Process>) {
        self.seen.extend(&processes);
        self.rest = processes;
        self.take_hold();
    }

    fn take_hold(&mut self) {
        while self.held.len() < MOST_HELD {
            let Some(next) = self.rest.pop() else { break };
            self.held.extend(Held::new(next));
        }
    }

    /// Waits until nothing is left, and helps where a grace is over.
    pub(super) fn see_out(&mut self, began: Instant, grace: Duration, asked: bool, notes: &mut Vec<String>) -> Result<(), String> {
        if asked && self.gone_by(began + grace) {
            return Ok(());
        }
        if self.above_us {
            return Err("it is still there, and this program runs under it, so it is not ended by force".into());
        }
        for (signal, name) in [(Signal::TERM, "TERM"), (Signal::KILL, "KILL")] {
            if self.held.is_empty() && self.rest.is_empty() {
                return Ok(());
            }
            notes.push(match (asked, signal == Signal::TERM) {
                (false, true) => "ended with TERM".into(),
                _ => format!("it did not end within {}, so it got {name}", Span(grace)),
            });
            self.signal(signal);
            // KILL needs no consent, only the kernel's time.
            if self.gone_by(Instant::now() + if signal == Signal::KILL { grace.max(Duration::from_secs(5)) } else { grace }) {
                return Ok(());
            }
        }
        let pids: Vec<String> = self.left().map(|process| process.pid.to_string()).collect();
        Err(format!("process {} is still there after KILL", pids.join(", ")))
    }

    fn left(&self) -> impl Iterator<Item = Process> {
        self.held.iter().map(|held| held.process).chain(self.rest.iter().copied())
    }

    fn gone_by(&mut self, limit: Instant) -> bool {
        loop {
            self.held.retain(Held::is_alive);
            self.take_hold();
            if self.held.is_empty() {
                // Somebody may have been forked since the list was made.
                self.look_again();
            }
            if self.held.is_empty() {
                return true;
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            pidfd::wait(&self.held, left);
        }
    }

    fn look_again(&mut self) {
        if let Some(unit) = self.unit {
            if let State::Running(found) = unit.find() {
                let news = found.into_iter().filter(|process| !self.seen.contains(process));
                self.watch(news.collect());
            }
            return;
        }
        if self.groups.is_empty() {
            return;
        }
        let members = process::all().unwrap_or_default().into_iter().filter(|stat| !stat.ended && self.groups.contains(&stat.group));
        self.watch(members.map(|stat| stat.process).collect());
    }

    fn signal(&self, signal: Signal) {
        let groups: BTreeSet<u32> = self.left().filter_map(|process| self.group_of(process)).collect();
        // One that ends just now is what we want; one that we may not signal shows in the proof. A stopped process hears TERM
        // only when it goes on.
        for signal in [signal, Signal::CONT] {
            for group in groups.iter().filter_map(|group| i32::try_from(*group).ok().and_then(Pid::from_raw)) {
                let _ = rustix::process::kill_process_group(group, signal);
            }
            self.held.iter().filter(|held| self.group_of(held.process).is_none()).for_each(|held| held.signal(signal));
            let rest = self.rest.iter().filter(|process| self.group_of(**process).is_none());
            rest.filter_map(|process| Held::new(*process)).for_each(|held| held.signal(signal));
        }
    }

    /// The group of ours that this very process is in now. As long as it has such a member its number is nobody else's.
    fn group_of(&self, process: Process) -> Option<u32> {
        let stat = process::look(process.pid).filter(|stat| stat.process == process)?;
        self.groups.contains(&stat.group).then_some(stat.group)
    }

    pub(super) fn left_behind(&self) -> Option<String> {
        let left: Vec<String> = self.apart.iter().filter(|process| process.is_alive()).map(|process| process.pid.to_string()).collect();
        (!left.is_empty()).then(|| format!("process {}, started by it in a group of its own, still runs", left.join(", ")))
    }
}
