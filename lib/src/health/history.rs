//! What one sample cannot show: errors that pile up, and processor time that passes.

use crate::service::Service;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// More new errors than this …
const MOST_NEW_ERRORS: f64 = 10.0;
/// … within this time, and a module is degraded.
const ERRORS_WITHIN: Duration = Duration::from_secs(300);
/// Processor time is counted in hundredths of a second: two readings nearer than this would say little.
const SHORTEST_READING: Duration = Duration::from_millis(150);

/// What is remembered from one sample to the next. A single sample starts with an empty one.
#[derive(Debug, Default)]
pub struct History {
    errors: BTreeMap<String, VecDeque<(Instant, f64)>>,
    system: Option<System>,
    before: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    at: Instant,
    /// Processor time used so far, in milliseconds, by process.
    used_ms: BTreeMap<u32, u64>,
    memory: u64,
}

/// Shares of the whole machine, 0..1.
pub(super) struct Usage {
    pub(super) cpu: f64,
    pub(super) memory: f64,
}

impl History {
    /// Notes a module's error count; whether it has grown by more than ten within five minutes. A count that falls begins anew:
    /// the service was restarted.
    pub(super) fn errors_grow(&mut self, module: &str, count: f64, at: Instant) -> bool {
        let seen = self.errors.entry(module.to_owned()).or_default();
        if seen.back().is_some_and(|(_, last)| *last > count) {
            seen.clear();
        }
        while seen.front().is_some_and(|(when, _)| at.saturating_duration_since(*when) > ERRORS_WITHIN) {
            seen.pop_front();
        }
        seen.push_back((at, count));
        seen.front().is_some_and(|(_, first)| count - first > MOST_NEW_ERRORS)
    }

    /// The module that has counted the most errors so far, and how many.
    pub(super) fn most_errors(&self) -> Option<(&str, f64)> {
        let last = self.errors.iter().filter_map(|(module, seen)| Some((module.as_str(), seen.back()?.1)));
        last.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The memory of the service's processes when they were last read.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.before.as_ref().map(|reading| reading.memory)
    }

    /// Takes the first of two readings, unless the last sample left one.
    pub(super) fn begin(&mut self, service: &Service) {
        if self.before.is_none() {
            self.before = self.read(&service.family());
        }
    }

    /// Takes the second reading. `None` where no process of the service is known.
    pub(super) fn usage(&mut self, service: &Service) -> Option<Usage> {
        let before = self.before.take()?;
        std::thread::sleep(SHORTEST_READING.saturating_sub(before.at.elapsed()));
        let now = self.read(&service.family())?;
        let system = self.system.as_ref()?;
        let (total, processors) = (system.total_memory() as f64, system.cpus().len() as f64);
        let passed_ms = (now.at - before.at).as_secs_f64() * 1000.0;
        let used: u64 = now.used_ms.iter().filter_map(|(pid, used)| Some(used.saturating_sub(*before.used_ms.get(pid)?))).sum();
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| ((part / whole).clamp(0.0, 1.0) * 1e4).round() / 1e4);
        let usage = Usage { cpu: share(used as f64, passed_ms * processors)?, memory: share(now.memory as f64, total)? };
        self.before = Some(now);
        Some(usage)
    }

    fn read(&mut self, pids: &BTreeSet<u32>) -> Option<Reading> {
        if pids.is_empty() {
            return None;
        }
        if self.system.is_none() {
            let mut system = System::new().ok()?;
            system.refresh_cpu_list(CpuRefreshKind::nothing());
            self.system = Some(system);
        }
        let system = self.system.as_mut()?;
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let wanted: Vec<Pid> = pids.iter().map(|pid| Pid::from_u32(*pid)).collect();
        let what = ProcessRefreshKind::nothing().without_tasks().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&wanted), true, what);
        let found = || wanted.iter().filter_map(|pid| system.process(*pid));
        let used_ms: BTreeMap<u32, u64> = found().map(|process| (process.pid().as_u32(), process.accumulated_cpu_time())).collect();
        let memory = found().map(|process| process.memory()).sum();
        (!used_ms.is_empty()).then(|| Reading { at: Instant::now(), used_ms, memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_pile_up_within_five_minutes_are_noticed() {
        let (mut history, start) = (History::default(), Instant::now());
        let mut at = |minutes: u64, count: f64| history.errors_grow("planner", count, start + Duration::from_secs(60 * minutes));
        assert!(!at(0, 100.0), "many errors of long ago are no news");
        assert!(!at(2, 110.0), "exactly ten more");
        assert!(at(4, 111.0));
        assert!(!at(20, 130.0), "nineteen more, but in a quarter of an hour");
        assert!(!at(21, 2.0), "restarted");
        assert!(at(22, 13.0));
    }
}
