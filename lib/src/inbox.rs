//! Words on their way into a pipeline that runs: who cannot write into its pipe writes here, and the source of the pipeline takes
//! it up. People speak so, and rollbacks, which end behind the one who decides.
//!
//! Everything is in the folder [`OURS`] at the ecosystem's root, so who may write there may speak:
//!
//! | name | what |
//! |---|---|
//! | `inbox` | one record a line, added to by anybody; held by a kernel lock for the moment of adding |
//! | `inbox.taken` | what the listener has taken and not yet passed on; removed once it is |
//! | `listener` | held by the one program that listens |
//!
//! A word is on the disk before its speaker is told so, and leaves it only after it has been passed on. Killed in between, the
//! listener passes it on once more.

use crate::disk::{self, Lock};
use crate::error::{Error, Named, Result};
use crate::record::{Line, Record};
use crate::scope::OURS;
use crate::time::{Timestamp, seconds_between};
use rustix::fs::{self as sys, FlockOperation, OFlags};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No more than this waits for a listener.
const MOST_BYTES: u64 = 1 << 20;
/// A word that waited longer is not passed on: what it was about is over.
const LONGEST_WAIT_S: i64 = 86_400;

/// The inbox of one ecosystem.
#[derive(Clone, Debug)]
pub struct Inbox {
    folder: PathBuf,
}

impl Inbox {
    /// That of the ecosystem with this root.
    pub fn of(root: &Path) -> Inbox {
        Inbox { folder: root.join(OURS) }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("inbox")
    }

    fn taken(&self) -> PathBuf {
        self.folder.join("inbox.taken")
    }

    fn listener(&self) -> PathBuf {
        self.folder.join("listener")
    }

    /// Adds one record, without its newline. When this returns, it is on the disk, whole.
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be written, for lack of room or of rights; [`Error::Refused`] when the folder is not private;
    /// [`Error::Other`] when nobody has listened for so long that it is full.
    pub fn add(&self, line: &[u8]) -> Result<()> {
        disk::private_dir(&self.folder)?;
        let path = self.file();
        let (file, size) = self.locked(&path)?;
        if size + line.len() as u64 > MOST_BYTES {
            return Err(Error::Other(format!("{} is full: nobody has listened for long; remove it, or run eco-health --listen", path.display())));
        }
        let mut text = Vec::with_capacity(line.len() + 2);
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1).named("read", &path)?;
        }
        // Somebody was cut off in the middle of a word.
        text.extend(Some(b'\n').filter(|_| last != [b'\n']));
        text.extend([line, b"\n"].concat());
        if let Err(e) = (&file).write_all(&text).and_then(|()| file.sync_all()) {
            // Half a word is none; where even that fails, the listener will find it to be no record.
            let _ = file.set_len(size);
            return Err(e).named("write to", &path);
        }
        if size == 0 { disk::sync_dir(&self.folder) } else { Ok(()) }
    }

    /// The file, ours for as long as it is open, and its size.
    fn locked(&self, path: &Path) -> Result<(File, u64)> {
        loop {
            let flags = OFlags::NOFOLLOW.bits() as i32;
            let file = File::options().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path).named("open", path)?;
            sys::flock(&file, FlockOperation::LockExclusive).named("lock", path)?;
            let own = file.metadata().named("look at", path)?;
            // The listener may have taken it while we waited.
            if fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
                return Ok((file, own.len()));
            }
        }
    }

    /// Who listens now, as it calls itself; `None` if nobody does.
    pub fn heard_by(&self) -> Option<String> {
        let mut file = File::open(self.listener()).ok()?;
        let held = sys::flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK);
        let mut holder = String::new();
        file.read_to_string(&mut holder).ok().filter(|_| held).map(|_| holder)
    }
}

/// The one program that listens.
#[derive(Debug)]
pub struct Listener {
    inbox: Inbox,
    _lock: Lock,
    /// What a listener before us has left is looked for once.
    looked_back: bool,
}

/// What was taken from the inbox.
#[derive(Debug, Default)]
pub struct Words {
    /// To be passed on, in this order.
    pub lines: Vec<Line>,
    /// Sentences about what is not.
    pub refused: Vec<String>,
}

impl Listener {
    /// Listens from here on, for as long as the value lives. `holder` is what others are told.
    ///
    /// # Errors
    /// [`Error::Locked`] naming who listens already; [`Error::Path`] when the folder cannot be written.
    pub fn new(root: &Path, holder: &str) -> Result<Listener> {
        let inbox = Inbox::of(root);
        disk::private_dir(&inbox.folder)?;
        let lock = Lock::exclusive(&inbox.listener(), holder)?;
        Ok(Listener { inbox, _lock: lock, looked_back: false })
    }

    /// Takes what has come since the last time; `None` is the usual answer, and costs one look. After all of it was passed on and
    /// left this process, [`Listener::done`] is to be called.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn take(&mut self, now: Timestamp) -> Result<Option<Words>> {
        let taken = self.inbox.taken();
        let left = !std::mem::replace(&mut self.looked_back, true) && taken.exists();
        if !left && !self.take_new(&taken)? {
            return Ok(None);
        }
        let mut words = Words::default();
        for (number, raw) in (1..).zip(fs::read(&taken).named("read", &taken)?.split(|byte| *byte == b'\n')) {
            if raw.trim_ascii().is_empty() {
                continue;
            }
            let line = Line::parse(number, raw.to_vec());
            match refusal(&line, now) {
                None => words.lines.push(line),
                Some(why) => words.refused.push(format!("a word in {} is not passed on: {why}", self.inbox.file().display())),
            }
        }
        Ok(Some(words))
    }

    /// From here on the inbox is a new one; whether there was anything in the old.
    fn take_new(&self, taken: &Path) -> Result<bool> {
        let path = self.inbox.file();
        if disk::stat(&path)?.is_none_or(|about| about.st_size == 0) {
            return Ok(false);
        }
        // With the lock nobody is in the middle of a word.
        let _held = self.inbox.locked(&path)?;
        fs::rename(&path, taken).named("rename", &path)?;
        disk::sync_dir(&self.inbox.folder)?;
        Ok(true)
    }

    /// What was taken has been passed on, and is forgotten.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn done(&self) -> Result<()> {
        let taken = self.inbox.taken();
        fs::remove_file(&taken).named("remove", &taken)?;
        disk::sync_dir(&self.inbox.folder)
    }
}

/// Why a line is not passed on, if it is not.
fn refusal(line: &Line, now: Timestamp) -> Option<String> {
    if let Some(fault) = &line.fault {
        return Some(format!("it is no record ({fault})"));
    }
    if !matches!(line.record, Record::Operator(_) | Record::Signal(_) | Record::Change(_) | Record::Restore(_)) {
        return Some(format!("'{}' records do not come this way", line.record.kind().escape_debug()));
    }
    let waited = seconds_between(line.stamp.time, now) > LONGEST_WAIT_S;
    waited.then(|| format!("the {} of {} has waited for more than a day", line.record.kind(), line.stamp.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T10:00:00Z".parse().unwrap()
    }

    fn word(text: &str) -> String {
        format!("{{\"type\":\"operator\",\"time\":\"2026-03-01T09:59:00Z\",\"do\":\"{text}\"}}")
    }

    fn said(words: &Words) -> Vec<String> {
        words.lines.iter().map(|line| String::from_utf8(line.raw.clone()).unwrap()).collect()
    }

    #[test]
    fn what_is_said_is_taken_once_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        let inbox = Inbox::of(root.path());
        inbox.add(word("hold").as_bytes()).unwrap();
        inbox.add(word("resume").as_bytes()).unwrap();
        let mut listener = Listener::new(root.path(), "me").unwrap();
        assert_eq!(said(&listener.take(now()).unwrap().unwrap()), [word("hold"), word("resume")]);
        listener.done().unwrap();
        assert!(listener.take(now()).unwrap().is_none());
        inbox.add(word("approve").as_bytes()).unwrap();
        assert_eq!(said(&listener.take(now()).unwrap().unwrap()), [word("approve")]);
    }

    #[test]
    fn what_was_taken_and_not_passed_on_is_taken_again_by_the_next() {
        let root = tempfile::tempdir().unwrap();
        let inbox = Inbox::of(root.path());
        inbox.add(word("hold").as_bytes()).unwrap();
        let mut killed = Listener::new(root.path(), "me").unwrap();
        killed.take(now()).unwrap().unwrap();
        inbox.add(word("resume").as_bytes()).unwrap();
        drop(killed);
        let mut next = Listener::new(root.path(), "me").unwrap();
        assert_eq!(said(&next.take(now()).unwrap().unwrap()), [word("hold")]);
        next.done().unwrap();
        assert_eq!(said(&next.take(now()).unwrap().unwrap()), [word("resume")]);
    }

    #[test]
    fn one_listens_and_speakers_are_told_who() {
        let root = tempfile::tempdir().unwrap();
        let inbox = Inbox::of(root.path());
        assert_eq!(inbox.heard_by(), None);
        let listener = Listener::new(root.path(), "eco-health, pid 7").unwrap();
        assert_eq!(inbox.heard_by().as_deref(), Some("eco-health, pid 7"));
        assert!(matches!(Listener::new(root.path(), "another"), Err(Error::Locked(_))));
        drop(listener);
        assert_eq!(inbox.heard_by(), None);
    }

    #[test]
    fn words_of_many_at_once_are_whole_and_all_there() {
        let root = tempfile::tempdir().unwrap();
        let mut listener = Listener::new(root.path(), "me").unwrap();
        let mut heard = Vec::new();
        std::thread::scope(|scope| {
            let speakers: Vec<_> = (0..8)
                .map(|who| {
                    let inbox = Inbox::of(root.path());
                    scope.spawn(move || (0..20).for_each(|nth| inbox.add(word(&format!("{who}-{nth}")).as_bytes()).unwrap()))
                })
                .collect();
            loop {
                let over = speakers.iter().all(|speaker| speaker.is_finished());
                match listener.take(now()).unwrap() {
                    Some(words) => {
                        assert!(words.refused.is_empty(), "{:?}", words.refused);
                        heard.extend(said(&words));
                        listener.done().unwrap();
                    }
                    None if over => break,
                    None => std::thread::yield_now(),
                }
            }
        });
        for who in 0..8 {
            let own: Vec<&String> = heard.iter().filter(|line| line.contains(&format!("\"{who}-"))).collect();
            assert_eq!(own, (0..20).map(|nth| word(&format!("{who}-{nth}"))).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn half_a_word_costs_nobody_elses() {
        let root = tempfile::tempdir().unwrap();
        let inbox = Inbox::of(root.path());
        inbox.add(b"{\"type\":\"health\",\"time\":\"2026-03-01T10:00:00Z\"}").unwrap();
        inbox.add(word("old").replace("2026-03-01", "2026-02-27").as_bytes()).unwrap();
        File::options().append(true).open(inbox.file()).unwrap().write_all(b"{\"type\":\"oper").unwrap();
        inbox.add(word("hold").as_bytes()).unwrap();
        let words = Listener::new(root.path(), "me").unwrap().take(now()).unwrap().unwrap();
        assert_eq!(said(&words), [word("hold")]);
        let refused = words.refused.join("\n");
        assert!(refused.contains("'health'") && refused.contains("more than a day") && refused.contains("no record"), "{refused}");
    }

    #[test]
    fn an_inbox_that_nobody_reads_is_full_one_day() {
        let root = tempfile::tempdir().unwrap();
        let inbox = Inbox::of(root.path());
        inbox.add(&vec![b'x'; MOST_BYTES as usize - 10]).unwrap();
        assert!(inbox.add(word("hold").as_bytes()).unwrap_err().to_string().contains("is full"));
    }
}
