//! `[control] unit`: the service is a unit of systemd, and its processes are those in the unit's control group, wherever they
//! were forked from and whatever they are called.

use super::process::{self, Process};
use super::{Ran, State};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Where the hierarchy that systemd keeps units in is mounted: alone, beside older controllers, or as its own older one.
const MOUNTS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// The question about a unit.
pub(super) fn question(unit: &str) -> Vec<String> {
    ["systemctl", "show", "-p", "LoadState,ActiveState,MainPID,ControlGroup", "--", unit].map(String::from).to_vec()
}

/// What the answer means: the unit's processes, its main one first.
pub(super) fn state(unit: &str, answer: &Ran) -> State {
    if let Some(why) = answer.why() {
        return State::Unknown(format!("systemd does not say how {unit} is: {why}"));
    }
    let text = String::from_utf8_lossy(&answer.stdout);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    // A unit that does not exist is as inactive as one that was stopped.
    if !matches!(value("LoadState"), "loaded" | "masked") {
        return State::Unknown(format!("systemd has no unit {unit}: it is '{}'", value("LoadState").escape_debug()));
    }
    let main = value("MainPID").parse().unwrap_or(0);
    let found = match value("ControlGroup") {
        "" => Ok(Vec::new()),
        group => folder(group).and_then(|folder| members(&folder, main)),
    };
    match (found, value("ActiveState")) {
        (Err(why), _) => State::Unknown(format!("the processes of {unit} cannot be listed: {why}")),
        (Ok(found), _) if !found.is_empty() => State::Running(found),
        (Ok(_), "inactive" | "failed") => State::Stopped(None),
        (Ok(_), other) => State::Stopped(Some(format!("{unit} is {}, without any process", other.escape_debug()))),
    }
}

/// The folder of a control group, as systemd names it.
fn folder(group: &str) -> Result<PathBuf, String> {
    let inside = group.strip_prefix('/').filter(|inside| !inside.is_empty() && !Path::new(inside).components().any(|part| part.as_os_str() == ".."));
    // The root group holds the whole system.
    let inside = inside.ok_or_else(|| format!("'{}' is no group of its own", group.escape_debug()))?;
    let mounts = MOUNTS.iter().map(Path::new).find(|mount| mount.join("cgroup.procs").exists());
    mounts.map(|mount| mount.join(inside)).ok_or_else(|| "no control groups are mounted below /sys/fs/cgroup".into())
}

/// Every process in a group and in those inside it; none where the group is gone.
fn members(folder: &Path, main: u32) -> Result<Vec<Process>, String> {
    let (mut pids, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        match fs::read_to_string(folder.join("cgroup.procs")) {
            Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
            Err(e) if is_gone(&e) => continue,
            // A threaded group's processes are in the one above.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {}
            Err(e) => return Err(format!("{}: {e}", folder.display())),
        }
        match fs::read_dir(&folder) {
            Ok(inside) => {
                folders.extend(inside.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()))
            }
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(format!("{}: {e}", folder.display())),
        }
    }
    pids.sort_by_key(|pid| (*pid != main, *pid));
    Ok(pids.into_iter().filter_map(process::look).filter(|stat| !stat.ended).map(|stat| stat.process).collect())
}

/// A group goes while it is looked at: its files first (ENODEV), then its folder.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}
