//! Tests that mount: each in namespaces of its own, so that whatever becomes of it, its mounts and processes go when it ends.

use super::not_shown;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs `body` apart from the rest of the machine: `name`, which is the test that calls, is run again inside. Where that cannot be,
/// it is said aloud that `what` is not shown.
#[track_caller]
pub fn apart(name: &str, what: &str, body: impl FnOnce()) {
    if env::var_os("ECO_APART").is_some() {
        return body();
    }
    let inside = |words: &[&str]| {
        // The shell collects orphans, as the first process of a machine does.
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", "\"$@\"; exit $?", "sh"]);
        unshare.args(words).env("ECO_APART", "1").stderr(Stdio::inherit()).output()
    };
    if !inside(&["true"]).is_ok_and(|done| done.status.success()) {
        return not_shown(what, "namespaces cannot be had here");
    }
    let suite = env::current_exe().unwrap();
    let done = inside(&[suite.to_str().unwrap(), "--exact", name, "--nocapture"]).unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    print!("{said}");
    assert!(done.status.success() && said.contains("1 passed"), "{name} failed where it was run apart");
}

/// Something that is mounted for as long as the value lives.
pub struct Mount(PathBuf);

impl Mount {
    /// What `mount`, or another program, makes of these words and the folder; `None` where this cannot be mounted.
    pub fn new(program: &str, words: &[&OsStr], at: &Path) -> Option<Mount> {
        let done = Command::new(program).args(words).arg(at).status();
        done.is_ok_and(|done| done.success()).then(|| Mount(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let umount = |words: &[&str]| Command::new("umount").args(words).arg(&self.0).stderr(Stdio::null()).status().is_ok_and(|done| done.success());
        // Processes that have just been killed may hold it for a moment yet.
        let gone = (0..100).any(|_| umount(&[]));
        let _ = gone || umount(&["-l"]);
    }
}
