//! What one sample cannot show: errors that pile up, processor time that passes, lines that are added to a log; and which
//! questions of earlier samples are still open.

use super::log::Tail;
use super::machine::{Machine, Ticks};
use crate::service::Service;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
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
    host: Option<(Instant, Ticks)>,
    pub(super) machine: Machine,
    /// By the probe's place in the configuration.
    turns: BTreeMap<usize, Turn>,
    /// Whether what is there already was written by a service that is gone.
    from_now: bool,
}

/// One probe's turn: taken while it is asked, and what it keeps from one time to the next. Whoever asks holds a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn(pub(super) Arc<Mutex<Tail>>);

#[derive(Debug)]
struct Reading {
    at: Instant,
    /// Processor time used so far, in milliseconds, by process.
    used_ms: BTreeMap<u32, u64>,
    memory: u64,
}

/// Shares, 0..1, of what may be used.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<f64>,
}

impl History {
    /// One for a service that begins now: what its logs hold already is not its own.
    pub(super) fn from_now() -> History {
        History { from_now: true, ..History::default() }
    }

    pub(super) fn is_from_now(&self) -> bool {
        self.from_now
    }

    /// The turn of a probe; `None` while it is still asked for an earlier sample. A disk or a name server that hangs so keeps one
    /// thread, however many samples are taken.
    pub(super) fn turn(&mut self, probe: usize) -> Option<Turn> {
        let turn = self.turns.entry(probe).or_default();
        (Arc::strong_count(&turn.0) == 1).then(|| turn.clone())
    }

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

    /// Takes the first of two readings of the whole machine, unless the last sample left one.
    pub(super) fn begin_host(&mut self) {
        self.host = self.host.or_else(|| Some((Instant::now(), self.machine.ticks()?)));
    }

    /// The load of the whole machine: for a service whose own processes nobody can name. The processors since the last sample, so
    /// that a first one has them only where asking took long enough.
    pub(super) fn host_usage(&mut self) -> Usage {
        let (memory, now) = (self.machine.memory_used().map(round), Instant::now());
        let Some(ticks) = self.machine.ticks() else { return Usage { cpu: None, memory } };
        let (since, before) = *self.host.get_or_insert((now, ticks));
        if now - since < SHORTEST_READING {
            return Usage { cpu: None, memory };
        }
        self.host = Some((now, ticks));
        let (busy, all) = (ticks.busy.saturating_sub(before.busy) as f64, ticks.all.saturating_sub(before.all) as f64);
        Usage { cpu: (all > 0.0).then(|| round((busy / all).clamp(0.0, 1.0))), memory }
    }

    /// Takes the second reading. `None` where no process of the service is known.
    pub(super) fn usage(&mut self, service: &Service) -> Option<Usage> {
        let before = self.before.take()?;
        std::thread::sleep(SHORTEST_READING.saturating_sub(before.at.elapsed()));
        let now = self.read(&service.family())?;
        let system = self.system.as_ref()?;
        // Where its control group may have less than the machine, that is its whole.
        let allowed = self.machine.allowed(now.used_ms.keys().copied());
        let (total, cpus) = (system.total_memory() as f64, system.cpus().len() as f64);
        let memory = allowed.memory.map_or(total, |most| (most as f64).min(total));
        let processors = allowed.processors.map_or(cpus, |most| most.min(cpus));
        let passed_ms = (now.at - before.at).as_secs_f64() * 1000.0;
        let used: u64 = now.used_ms.iter().filter_map(|(pid, used)| Some(used.saturating_sub(*before.used_ms.get(pid)?))).sum();
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| round((part / whole).clamp(0.0, 1.0)));
        let usage = Usage { cpu: share(used as f64, passed_ms * processors), memory: share(now.memory as f64, memory) };
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

/// As many digits as a moment's load is worth.
fn round(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Control, Units};
    use std::fs;
    use std::thread;

    /// A /proc in which half of the processor time and a quarter of the memory is used.
    fn machine(folder: &std::path::Path) -> Machine {
        fs::create_dir_all(folder.join("proc")).unwrap();
        fs::write(folder.join("proc/stat"), "cpu  100 0 0 100 0 0 0 0 0 0\n").unwrap();
        fs::write(folder.join("proc/meminfo"), "MemTotal: 400 kB\nMemAvailable: 300 kB\n").unwrap();
        Machine { proc: folder.join("proc"), cgroup: folder.join("cgroup") }
    }

    #[test]
    fn the_load_of_the_machine_is_what_was_done_between_two_samples() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History { machine: machine(folder.path()), ..History::default() };
        assert_eq!(history.host_usage(), Usage { cpu: None, memory: Some(0.25) }, "one look shows no time that passes");
        assert_eq!(history.host_usage().cpu, None, "too near");
        thread::sleep(SHORTEST_READING);
        fs::write(folder.path().join("proc/stat"), "cpu  130 0 0 190 0 0 0 0 0 0\n").unwrap();
        assert_eq!(history.host_usage(), Usage { cpu: Some(0.25), memory: Some(0.25) });
    }

    #[test]
    fn a_share_is_of_what_the_control_group_may_use() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let pid = child.id();
        fs::write(folder.path().join("pid"), pid.to_string()).unwrap();
        let control = Control { pidfile: Some("pid".into()), ..Control::default() };
        let service = Service::new(folder.path(), &control, &Units::default());
        let mut history = History { machine: machine(folder.path()), ..History::default() };
        fs::create_dir_all(folder.path().join(format!("proc/{pid}"))).unwrap();
        fs::write(folder.path().join(format!("proc/{pid}/cgroup")), "0::/shop\n").unwrap();
        fs::create_dir_all(folder.path().join("cgroup/shop")).unwrap();
        // A hundredth of a processor, and fewer bytes than any process has: both are used up.
        fs::write(folder.path().join("cgroup/shop/cpu.max"), "1000 100000\n").unwrap();
        fs::write(folder.path().join("cgroup/shop/memory.max"), "4096\n").unwrap();
        let began = Instant::now();
        let mut look = || {
            history.begin(&service);
            history.usage(&service).unwrap()
        };
        let mut usage = look();
        while usage.cpu == Some(0.0) && began.elapsed() < Duration::from_secs(10) {
            usage = look();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(usage, Usage { cpu: Some(1.0), memory: Some(1.0) });
    }

    #[test]
    fn a_question_that_is_still_open_is_not_asked_again() {
        let mut history = History::default();
        let open = history.turn(0).unwrap();
        assert!(history.turn(0).is_none() && history.turn(1).is_some());
        drop(open);
        assert!(history.turn(0).is_some());
    }

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
