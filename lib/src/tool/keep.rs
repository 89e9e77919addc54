//! A program's memory of its stream, in one file: locked while the program runs, checked when it is read, replaced as a whole.
//!
//! The file is two lines of JSON: what it is, and the memory itself, whose digest stands in the first line. There is no clock in
//! it and no count of runs: the same stream leaves the same bytes.

use crate::digest;
use crate::disk::{self, Lock};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What this version writes, and the newest that it reads.
const VERSION: u64 = 1;
/// While more input is waiting, a decision is written down no later than this.
const URGENT: Duration = Duration::from_secs(1);
/// Anything else is, whether input is waiting or not.
const SOON: Duration = Duration::from_secs(10);

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    state: String,
    version: u64,
    #[serde(default)]
    sha256: String,
}

/// The file, and what is not in it yet.
pub struct Kept {
    path: PathBuf,
    program: &'static str,
    _lock: Lock,
    written: Instant,
    dirty: bool,
    urgent: bool,
    fails: bool,
}

impl Kept {
    /// Locks the file and gives what is in it; nothing where there is no file yet.
    ///
    /// # Errors
    /// [`Error::Other`] naming who holds it; [`Error::Config`] for a path that cannot be used, and for a file that is damaged, is
    /// not ours, or is newer than this program. Nothing was touched then.
    pub(super) fn open(path: &Path, program: &'static str, holder: &str) -> Result<(Kept, Option<Vec<u8>>)> {
        // A link leads to where the file is; replacing the link would leave the file behind.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let refused = |why: String| Error::Config(format!("{} {why}", path.display().to_string().escape_debug()));
        if path.file_name().is_none() || (path.exists() && !path.is_file()) {
            return Err(refused("is not a file that a state could be kept in".into()));
        }
        if path.exists() && std::fs::metadata(&path).is_ok_and(|found| found.mode() & 0o022 != 0) {
            return Err(refused("can be written by others, who would have a say in what is rolled back: chmod 600 it, or remove it".into()));
        }
        // Before the lock: beside a file that is not ours nothing is left behind.
        read(&path, program)?;
        let mut beside = path.clone().into_os_string();
        beside.push(".lock");
        let lock = Lock::exclusive(Path::new(&beside), holder).map_err(|e| match e {
            Error::Locked(who) => Error::Other(format!("{who}; two programs cannot share one state")),
            other => Error::Config(other.to_string()),
        })?;
        let memory = read(&path, program)?;
        Ok((Kept { path, program, _lock: lock, written: Instant::now(), dirty: true, urgent: false, fails: false }, memory))
    }

    /// The error about what [`Tool::keep`](super::Tool::keep) gave, where that turns out to be no memory.
    pub fn refuse(&self, why: &str) -> Error {
        refuse(&self.path, why)
    }

    /// The file, as messages name it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Something was taken in that the file does not know of; `urgent` if something was said about it.
    pub fn changed(&mut self, urgent: bool) {
        self.dirty = true;
        self.urgent |= urgent;
    }

    /// How long the file may stay as it is; nothing where it need not change. `waiting`: more input is there already.
    pub(super) fn due_in(&self, waiting: bool) -> Option<Duration> {
        let limit = match (self.urgent, waiting) {
            (true, false) => Duration::ZERO,
            (true, true) => URGENT,
            (false, _) => SOON,
        };
        // On a disk that is full there is no hurry.
        let limit = if self.fails { limit.max(SOON) } else { limit };
        self.dirty.then(|| limit.saturating_sub(self.written.elapsed()))
    }

    /// Writes the file anew. Says the first failure of several, and that it is over.
    pub(super) fn write(&mut self, memory: &[u8]) -> Option<String> {
        let head = Head { state: self.program.to_owned(), version: VERSION, sha256: digest::of(memory).to_string() };
        // Two strings and a number: serde_json cannot refuse them.
        let mut bytes = serde_json::to_vec(&head).expect("a head serializes");
        bytes.push(b'\n');
        bytes.extend_from_slice(memory);
        bytes.push(b'\n');
        let done = disk::replace(&self.path, &bytes, 0o600);
        self.written = Instant::now();
        let failed_before = std::mem::replace(&mut self.fails, done.is_err());
        match done {
            Err(e) if !failed_before => Some(format!("{e}; decisions go on, but what they rest on is not saved")),
            Err(_) => None,
            Ok(()) => {
                (self.dirty, self.urgent) = (false, false);
                failed_before.then(|| format!("{} is saved again", self.name()))
            }
        }
    }

    /// Whether the file is older than the stream because it could not be written.
    pub(super) fn fails(&self) -> bool {
        self.fails
    }
}

/// What the file remembers; nothing where there is none.
fn read(path: &Path, program: &str) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => unwrap(&bytes, program).map(Some).map_err(|why| refuse(path, &why)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::Config(Error::Path { verb: "read", path: path.to_owned(), source: e }.to_string())),
    }
}

/// The second line, if the first one vouches for it.
fn unwrap(bytes: &[u8], program: &str) -> Result<Vec<u8>, String> {
    let (first, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    let head: Head = serde_json::from_slice(first).map_err(|_| "it is no state, or its beginning is damaged")?;
    if head.state != program {
        return Err(format!("it is the state of {}", head.state));
    }
    if head.version > VERSION {
        return Err(format!("a newer version wrote it (format {}, and this program knows {VERSION})", head.version));
    }
    let memory = rest.strip_prefix(b"\n").and_then(|rest| rest.strip_suffix(b"\n")).unwrap_or_default();
    if head.version < VERSION || digest::of(memory).to_string() != head.sha256 {
        return Err("it is damaged: its content is not what was written".into());
    }
    Ok(memory.to_vec())
}

/// The error about a file that cannot be gone on from; it says how to go on without.
fn refuse(path: &Path, why: &str) -> Error {
    let name = path.display().to_string();
    Error::Config(format!(
        "cannot go on from {}: {why}; name another file or move this one away, and replay the saved stream or begin without a past",
        name.escape_debug()
    ))
}

/// By what a line is known again: the beginning of its digest.
pub fn mark(raw: &[u8]) -> u64 {
    digest::of(raw).0.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

/// Whether stdin has something to read, or has ended, within this time. A signal ends the waiting.
pub(super) fn input_within(limit: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdin = std::io::stdin();
    let limit = Timespec { tv_sec: limit.as_secs() as _, tv_nsec: limit.subsec_nanos() as _ };
    match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&limit)) {
        Ok(ready) => ready > 0,
        Err(rustix::io::Errno::INTR) => false,
        // Whatever else is wrong with stdin, reading it will say so.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<(Kept, Option<Vec<u8>>)> {
        Kept::open(path, "eco-test", "somebody")
    }

    fn refused(path: &Path, content: &[u8]) -> String {
        disk::replace(path, content, 0o600).unwrap();
        let error = open(path).err().unwrap();
        assert_eq!(error.exit(), crate::error::Exit::Usage);
        assert_eq!(std::fs::read(path).unwrap(), content, "it is left alone");
        error.to_string()
    }

    #[test]
    fn what_was_kept_is_read_again_and_everything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut kept, memory) = open(&path).unwrap();
        assert_eq!((memory, kept.write(b"[1,2]")), (None, None));
        drop(kept);
        assert_eq!(open(&path).unwrap().1.as_deref(), Some(&b"[1,2]"[..]));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        let good = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
        for (content, why) in [
            (String::new(), "no state"),
            ("hello\n".into(), "no state"),
            (good.replace("[1,2]", "[1,3]"), "damaged"),
            (good.replace("[1,2]\n", ""), "damaged"),
            (good.replace("[1,2]\n", "[1,2]"), "damaged"),
            (good.replace("\"version\":1", "\"version\":2"), "a newer version wrote it (format 2, and this program knows 1)"),
            (good.replace("eco-test", "eco-else"), "it is the state of eco-else"),
        ] {
            let said = refused(&path, content.as_bytes());
            assert!(said.contains(why) && said.contains("move this one away"), "{content}: {said}");
        }
    }

    #[test]
    fn no_byte_of_it_can_change_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut kept, _) = open(&path).unwrap();
        kept.write(b"{\"clock\":17}");
        let good = std::fs::read(&path).unwrap();
        let unwrap = |bytes: &[u8]| unwrap(bytes, "eco-test");
        assert!(unwrap(&good).is_ok());
        for (place, bit) in (0..good.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut bad = good.clone();
            bad[place] ^= 1 << bit;
            assert!(unwrap(&bad).is_err(), "{}", bad.escape_ascii());
        }
        (0..good.len()).for_each(|length| assert!(unwrap(&good[..length]).is_err(), "{length}"));
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o622)).unwrap();
        assert!(open(&path).err().unwrap().to_string().contains("chmod 600"));
    }

    #[test]
    fn what_cannot_be_written_is_said_once_and_its_end_too() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let (mut kept, _) = open(&inside.join("state")).unwrap();
        std::fs::remove_dir_all(&inside).unwrap();
        assert!(kept.write(b"1").unwrap().contains("no such file"));
        assert_eq!((kept.write(b"1"), kept.fails()), (None, true));
        std::fs::create_dir(&inside).unwrap();
        assert!(kept.write(b"1").unwrap().contains("is saved again"));
        assert!(!kept.fails());
    }
}
