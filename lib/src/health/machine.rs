//! What the machine has, and what of it a service may use: its control group's limits, and the load of the whole.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where the kernel shows what is asked here.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// `/proc`.
    pub(super) proc: PathBuf,
    /// Where the second version of control groups is mounted.
    pub(super) cgroup: PathBuf,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() }
    }
}

/// The tightest limits that hold for all processes of a service; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Allowed {
    /// In processors.
    pub(super) processors: Option<f64>,
    /// In bytes.
    pub(super) memory: Option<u64>,
}

/// Processor time since the boot, in the kernel's ticks, over all processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ticks {
    pub(super) busy: u64,
    pub(super) all: u64,
}

impl Machine {
    /// The limits of the group that holds all these processes and of every group around it.
    pub(super) fn allowed(&self, pids: impl IntoIterator<Item = u32>) -> Allowed {
        let groups: Option<Vec<PathBuf>> = pids.into_iter().filter_map(|pid| self.group(pid)).collect();
        let Some(common) = groups.unwrap_or_default().into_iter().reduce(|a, b| common(&a, &b)) else { return Allowed::default() };
        let mut allowed = Allowed::default();
        // The mount itself too: in a container it is the container's group.
        for group in common.ancestors() {
            let folder = self.cgroup.join(group);
            let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
            let processors = read("cpu.max").and_then(|text| quota(&text));
            let memory = read("memory.max").and_then(|text| text.trim().parse().ok()).filter(|bytes| *bytes > 0);
            allowed.processors = tighter(allowed.processors, processors);
            allowed.memory = tighter(allowed.memory, memory);
        }
        allowed
    }

    /// The group of a process, relative to the mount. Of a process that is gone nothing is said (`None`); of one whose group cannot
    /// be seen from here, that nothing is known about the whole (`Some(None)`).
    fn group(&self, pid: u32) -> Option<Option<PathBuf>> {
        let text = fs::read_to_string(self.proc.join(pid.to_string()).join("cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).map(PathBuf::from);
        Some(path.filter(|path| path.components().all(|part| matches!(part, Component::Normal(_)))))
    }

    /// What all processors have done so far.
    pub(super) fn ticks(&self) -> Option<Ticks> {
        let text = fs::read_to_string(self.proc.join("stat")).ok()?;
        let mut words = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
        // user nice system idle iowait irq softirq steal; what guests use is in user and nice already.
        let spent: Vec<u64> = words.by_ref().take(8).map_while(|word| word.parse().ok()).collect();
        let idle: u64 = *spent.get(3)? + spent.get(4).copied().unwrap_or(0);
        let all: u64 = spent.iter().sum();
        Some(Ticks { busy: all.checked_sub(idle)?, all })
    }

    /// Share of the memory that could not be given to a new process, 0..1.
    pub(super) fn memory_used(&self) -> Option<f64> {
        let text = fs::read_to_string(self.proc.join("meminfo")).ok()?;
        let value = |name: &str| -> Option<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        let (all, free) = (value("MemTotal")?, value("MemAvailable")?);
        (all > 0.0).then(|| (1.0 - free / all).clamp(0.0, 1.0))
    }
}

/// `QUOTA PERIOD`, in microseconds of processor time; `max` is no limit.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let (quota, period): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(quota / period).filter(|processors| processors.is_finite() && *processors > 0.0)
}

fn tighter<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn common(a: &Path, b: &Path) -> PathBuf {
    a.components().zip(b.components()).take_while(|(a, b)| a == b).map(|(part, _)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            Tree(tempfile::tempdir().unwrap())
        }

        fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn machine(&self) -> Machine {
            Machine { proc: self.0.path().join("proc"), cgroup: self.0.path().join("cgroup") }
        }

        fn process(&self, pid: u32, group: &str) {
            self.file(&format!("proc/{pid}/cgroup"), &format!("1:name=systemd:/elsewhere\n0::{group}\n"));
        }
    }

    #[test]
    fn the_tightest_limit_on_the_way_to_the_root_counts() {
        let tree = Tree::new();
        tree.process(7, "/shop.slice/shop.service");
        assert_eq!(tree.machine().allowed([7]), Allowed::default(), "no limit anywhere");
        tree.file("cgroup/shop.slice/shop.service/cpu.max", "max 100000\n");
        tree.file("cgroup/shop.slice/shop.service/memory.max", "2147483648\n");
        tree.file("cgroup/shop.slice/cpu.max", "150000 100000\n");
        tree.file("cgroup/shop.slice/memory.max", "4294967296\n");
        assert_eq!(tree.machine().allowed([7]), Allowed { processors: Some(1.5), memory: Some(2 << 30) });
        // As a container sees its own group.
        tree.file("cgroup/cpu.max", "50000 100000\n");
        tree.file("cgroup/memory.max", "max\n");
        assert_eq!(tree.machine().allowed([7]), Allowed { processors: Some(0.5), memory: Some(2 << 30) });
        tree.process(8, "/");
        assert_eq!(tree.machine().allowed([8]).processors, Some(0.5));
    }

    #[test]
    fn of_several_processes_only_what_limits_all_of_them_counts() {
        let tree = Tree::new();
        tree.process(7, "/shop/web");
        tree.process(8, "/shop/worker");
        tree.file("cgroup/shop/web/memory.max", "1048576");
        tree.file("cgroup/shop/memory.max", "8388608");
        assert_eq!(tree.machine().allowed([7]).memory, Some(1 << 20));
        assert_eq!(tree.machine().allowed([7, 8]).memory, Some(8 << 20));
        assert_eq!(tree.machine().allowed([7, 8, 99]).memory, Some(8 << 20), "one that has ended meanwhile says nothing");
    }

    #[test]
    fn what_cannot_be_understood_limits_nothing() {
        let tree = Tree::new();
        tree.process(7, "/../../outside");
        tree.file("cgroup/memory.max", "100");
        assert_eq!(tree.machine().allowed([7]), Allowed::default(), "a group that cannot be seen from here");
        assert_eq!(tree.machine().allowed([99]), Allowed::default());
        tree.process(8, "/a");
        for (cpu, memory) in [("", ""), ("0 100000", "0"), ("x y", "-1"), ("100000 0", "many"), ("100000", "")] {
            tree.file("cgroup/memory.max", memory);
            tree.file("cgroup/a/cpu.max", cpu);
            assert_eq!(tree.machine().allowed([8]), Allowed::default(), "{cpu} {memory}");
        }
    }

    #[test]
    fn the_whole_machine_is_read_as_the_kernel_writes_it() {
        let tree = Tree::new();
        assert_eq!((tree.machine().ticks(), tree.machine().memory_used()), (None, None));
        tree.file("proc/stat", "cpu  10 5 20 100 50 1 2 12 4 0\ncpu0 1 2 3\n");
        tree.file("proc/meminfo", "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    250 kB\n");
        assert_eq!(tree.machine().ticks(), Some(Ticks { busy: 50, all: 200 }));
        assert_eq!(tree.machine().memory_used(), Some(0.75));
    }
}
