//! Processes as the kernel shows them. A number alone names no process: numbers are used again, so each goes with the moment
//! at which its process began.

use super::{ProcessMatch, State};
use globset::GlobBuilder;
use rustix::process::Pid;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clock ticks in a second, as /proc counts them: the same on every Linux that Rust's standard library runs on.
const TICKS: u64 = 100;
/// A process that began so much later than its pid file was written is another one. The boot time is known to the second.
const REUSED_AFTER: Duration = Duration::from_secs(2);

/// One process: its number, and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Ticks from the boot to its begin; 0 where the system does not say.
    began: u64,
}

impl Process {
    /// Whether this very process still does anything. One that only waits to be reaped does not.
    pub fn is_alive(self) -> bool {
        look(self.pid).is_some_and(|now| now.process == self && !now.ended)
    }

    pub(super) fn number(self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

/// What the kernel says about a process now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) process: Process,
    pub(super) parent: u32,
    pub(super) group: u32,
    /// A zombie: it has closed everything and only waits to be reaped.
    pub(super) ended: bool,
}

/// The process with this number, if there is one.
pub(super) fn look(pid: u32) -> Option<Stat> {
    if let Ok(text) = fs::read(format!("/proc/{pid}/stat")) {
        return parse_stat(pid, &text);
    }
    // Without /proc, or where it hides other users' processes, the kernel still says whether the number is in use.
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    match rustix::process::test_kill_process(number) {
        Err(rustix::io::Errno::SRCH) => None,
        _ => {
            let group = rustix::process::getpgid(Some(number)).map_or(0, |group| group.as_raw_nonzero().get() as u32);
            Some(Stat { process: Process { pid, began: 0 }, parent: 0, group, ended: false })
        }
    }
}

/// `PID (NAME) STATE PPID PGRP …`; the name may hold anything, parentheses and newlines included.
fn parse_stat(pid: u32, text: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(text);
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // A first thread that has ended stays as a zombie while others of its process still work.
    let ended = matches!(*fields.first()?, "Z" | "X" | "x") && number(17)? <= 1;
    Some(Stat { process: Process { pid, began: number(19)? }, parent: number(1)? as u32, group: number(2)? as u32, ended })
}

/// Every process that can be seen.
///
/// # Errors
/// Half a sentence, where the system shows no processes or only our own.
pub(super) fn all() -> Result<Vec<Stat>, String> {
    let listed = fs::read_dir("/proc").map_err(|_| "this system has no /proc to look for processes in")?;
    // With hidepid, other users' processes are not there at all, and "not found" would mean nothing.
    if !Path::new("/proc/1/stat").exists() {
        return Err("/proc hides other users' processes".into());
    }
    let pids = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid: u32| parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)).collect())
}

/// Ourselves and everything that we run under.
pub(super) fn our_line() -> BTreeSet<u32> {
    let mut line = BTreeSet::new();
    let mut next = Some(std::process::id());
    while let Some(pid) = next.filter(|pid| *pid > 0 && line.insert(*pid)) {
        next = look(pid).map(|stat| stat.parent);
    }
    line
}

/// `found` and everything below it.
pub(super) fn with_descendants(found: &[Process], table: &[Stat]) -> BTreeSet<u32> {
    let mut family: BTreeSet<u32> = found.iter().map(|process| process.pid).collect();
    loop {
        let children = table.iter().filter(|stat| family.contains(&stat.parent)).map(|stat| stat.process.pid);
        let before = family.len();
        let children: Vec<u32> = children.collect();
        family.extend(children);
        if family.len() == before {
            return family;
        }
    }
}

/// The process that a pid file names.
pub(super) fn by_pidfile(path: &Path, rule: Option<&ProcessMatch>) -> State {
    let shown = path.display().to_string().escape_debug().to_string();
    let unknown = |why: String| State::Unknown(format!("the pid file {shown} {why}"));
    let (about, text) = match fs::metadata(path).and_then(|about| Ok((about, fs::read(path)?))) {
        Ok(read) => read,
        Err(e) if e.kind() == ErrorKind::NotFound => return State::Stopped(None),
        Err(e) => return unknown(format!("cannot be read: {}", e.to_string().split(" (os").next().unwrap_or_default().to_lowercase())),
    };
    // Some daemons write more lines after the first.
    let first = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
    let Some(pid) = first.parse::<u32>().ok().filter(|pid| *pid > 1) else {
        return unknown("holds no process id".into());
    };
    let Some(stat) = look(pid).filter(|stat| !stat.ended) else {
        return State::Stopped(Some(format!("the pid file {shown} names process {pid}, which is gone")));
    };
    match rule.map(|rule| matches(rule, pid)) {
        Some(Ok(true)) => return State::Running(vec![stat.process]),
        Some(Ok(false)) => {
            return State::Stopped(Some(format!("the pid file {shown} names process {pid}, which is not the one that [control] process describes")));
        }
        Some(Err(why)) => return State::Unknown(why),
        None => {}
    }
    let written = about.modified().ok();
    if let (Some(began), Some(written)) = (wall_time(stat.process), written)
        && began > written + REUSED_AFTER
    {
        return State::Stopped(Some(format!("the pid file {shown} is older than process {pid}, which must be another one")));
    }
    // Whoever owns the pid file chooses what is signalled: only root, we ourselves, or the process's own user may.
    let owner = fs::metadata(format!("/proc/{pid}")).map(|about| about.uid()).ok();
    let trusted = [0, rustix::process::geteuid().as_raw()];
    if let Some(owner) = owner
        && owner != about.uid()
        && !trusted.contains(&about.uid())
    {
        return unknown(format!("belongs to user {} and names process {pid} of user {owner}, so it is not believed", about.uid()));
    }
    State::Running(vec![stat.process])
}

/// When a process began, by the clock of today.
fn wall_time(process: Process) -> Option<SystemTime> {
    if process.began == 0 {
        return None;
    }
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(boot) + Duration::from_millis(process.began * (1000 / TICKS)))
}

/// Every process that the rule describes, parents before their children; never ourselves and what we run under.
pub(super) fn by_rule(rule: &ProcessMatch) -> State {
    let table = match all() {
        Ok(table) => table,
        Err(why) => return State::Unknown(why),
    };
    let ours = our_line();
    let mut found = Vec::new();
    for stat in table.iter().filter(|stat| !stat.ended && !ours.contains(&stat.process.pid)) {
        match matches(rule, stat.process.pid) {
            Ok(true) => found.push(*stat),
            Ok(false) => {}
            Err(why) => return State::Unknown(why),
        }
    }
    if found.is_empty() {
        return State::Stopped(None);
    }
    let pids: BTreeSet<u32> = found.iter().map(|stat| stat.process.pid).collect();
    found.sort_by_key(|stat| (pids.contains(&stat.parent), stat.process.began, stat.process.pid));
    State::Running(found.into_iter().map(|stat| stat.process).collect())
}

/// Whether a process is what the rule describes. The executable is compared whole, by path or by file name, with what the
/// kernel says and with the process's own name for it (`python3` may be a link to `python3.13`); never by containing a word.
///
/// # Errors
/// A sentence about a pattern that is none.
pub(super) fn matches(rule: &ProcessMatch, pid: u32) -> Result<bool, String> {
    let arguments = arguments(pid);
    let kernel = fs::read_link(format!("/proc/{pid}/exe")).ok().map(|exe| {
        // An upgrade has replaced the file of a process that still runs.
        let name = exe.as_os_str().as_bytes();
        PathBuf::from(OsStr::from_bytes(name.strip_suffix(b" (deleted)").unwrap_or(name)))
    });
    let own = arguments.first().map(|name| PathBuf::from(OsStr::from_bytes(name)));
    let wanted = Path::new(&rule.exe);
    let is_exe =
        [kernel, own].into_iter().flatten().any(|exe| exe == wanted || (!rule.exe.contains('/') && exe.file_name() == Some(wanted.as_os_str())));
    if rule.exe.is_empty() || !is_exe {
        return Ok(false);
    }
    for pattern in &rule.args {
        let glob = GlobBuilder::new(pattern).build().map_err(|e| format!("'{pattern}' is not a pattern: {}", e.kind()))?.compile_matcher();
        if !arguments.iter().skip(1).any(|argument| glob.is_match(OsStr::from_bytes(argument))) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn arguments(pid: u32) -> Vec<Vec<u8>> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    text.strip_suffix(b"\0").unwrap_or(&text).split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// A process that holds something open below a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps` shows it.
    pub name: String,
    /// What it holds: an open or mapped file, or its working folder.
    pub path: PathBuf,
}

/// Who holds something open below these roots (absolute paths), as far as the system lets us look: other users' processes
/// are seen by root only. Ourselves left out.
pub(super) fn holders(roots: &[PathBuf]) -> Vec<Holder> {
    let roots: Vec<PathBuf> = roots.iter().map(|root| fs::canonicalize(root).unwrap_or_else(|_| root.clone())).collect();
    let mut held = BTreeSet::new();
    for stat in all().unwrap_or_default() {
        let pid = stat.process.pid;
        if pid == std::process::id() || stat.ended {
            continue;
        }
        let inside = |path: PathBuf| roots.iter().any(|root| path.starts_with(root)).then_some(path);
        let link = |path: PathBuf| fs::read_link(path).ok().and_then(inside);
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().filter_map(|entry| link(entry.path()));
        let folder = link(format!("/proc/{pid}/cwd").into());
        let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
        let mapped = maps.split(|byte| *byte == b'\n').filter_map(|line| {
            let path = line.iter().position(|byte| *byte == b'/')?;
            inside(PathBuf::from(OsStr::from_bytes(&line[path..])))
        });
        let paths: BTreeSet<PathBuf> = open.chain(folder).chain(mapped).collect();
        if !paths.is_empty() {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned();
            held.extend(paths.into_iter().map(|path| Holder { pid, name: name.clone(), path }));
        }
    }
    held.into_iter().collect()
}

/// The same number at another time.
#[cfg(test)]
pub(super) fn other_time(process: Process) -> Process {
    Process { began: process.began + 1, ..process }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = b"7 (a) R (b) S 3 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = parse_stat(7, text).unwrap();
        assert_eq!((stat.parent, stat.group, stat.process.began, stat.ended), (3, 5, 4711, false));
    }

    #[test]
    fn a_zombie_with_working_threads_is_not_gone() {
        let zombie = |threads: u32| format!("7 (x) Z 3 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 4711 0 0");
        assert!(parse_stat(7, zombie(1).as_bytes()).unwrap().ended);
        assert!(!parse_stat(7, zombie(3).as_bytes()).unwrap().ended);
    }

    #[test]
    fn we_are_alive_and_have_a_line_of_ancestors() {
        let own = look(std::process::id()).unwrap();
        assert!(own.process.is_alive() && our_line().len() > 1);
        assert!(!other_time(own.process).is_alive(), "the same number at another time is another process");
    }
}
