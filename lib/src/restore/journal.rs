//! What survives a crash: the journal of the transaction under way, and the memory of decisions that were carried out.

use super::layout::Split;
use super::pointer::Pointer;
use crate::digest;
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::{RecordPath, Restore, Scope};
use crate::scope::{OURS, check_plain};
use crate::time::Timestamp;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The journal's own format.
const VERSION: u32 = 2;

/// How far a transaction has come. Up to and with `Stopping` the live tree is as it was; from `Swapping` on the new one is known to
/// be complete, verified and durable, so recovery goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// The new tree is being written.
    Staging,
    /// It is complete, verified and durable.
    Staged,
    /// The service is being stopped.
    Stopping,
    /// Nothing live was changed, and nothing will be; the service may be starting.
    Abandoned,
    /// The trees are changing places, and preserved paths follow.
    Swapping,
    /// Everything is where it belongs; the service may be starting.
    Carried,
    /// The old tree is being put back.
    Reverting,
    /// It is back; the service may be starting.
    Reverted,
    /// Done.
    Committed,
}

/// Which object it is, across renames and reboots: the inode, and the time of its birth where the filesystem knows it. Not the
/// device number, which another boot may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    ino: u64,
    born: Option<(i64, u32)>,
}

impl Object {
    /// What is at this path now; `None` where nothing is.
    pub(super) fn at(path: &Path) -> Result<Option<Object>> {
        match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO | StatxFlags::BTIME) {
            Ok(found) => {
                let known = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
                let born = known.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec));
                Ok(Some(Object { ino: found.stx_ino, born }))
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e).named("look at", path),
        }
    }
}

/// One path that changes places, a root in most cases: what is live, and what is staged for it. An absent side means that nothing is
/// there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair {
    #[serde(flatten)]
    path: RecordPath,
    /// What was live before.
    pub(super) old: Option<Object>,
    /// What is to be live after.
    pub(super) new: Option<Object>,
}

impl Pair {
    pub(super) fn new(path: &Path, old: Option<Object>, new: Option<Object>) -> Pair {
        Pair { path: RecordPath::new(path), old, new }
    }

    /// The path, relative to the ecosystem's root.
    pub(super) fn path(&self) -> PathBuf {
        self.path.to_path()
    }
}

/// A folder that holds the other side of what lies below it: the ecosystem's root, or a mount point further down, because nothing can
/// be renamed from one mount to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    #[serde(flatten)]
    path: RecordPath,
    /// Whether two names can change places there in one step.
    pub(super) exchanges: bool,
    /// Of a root that is a link: the folder beside what it leads to in which a new generation is staged, until that is complete.
    #[serde(default)]
    folder: Option<RecordPath>,
}

impl Place {
    pub(super) fn new(path: &Path) -> Place {
        Place { path: RecordPath::new(path), exchanges: true, folder: None }
    }

    /// For what is staged in another folder than ours.
    pub(super) fn elsewhere(path: &Path, folder: &Path) -> Place {
        Place { folder: Some(RecordPath::new(folder)), ..Place::new(path) }
    }

    /// The folder, if it is not one in ours.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(RecordPath::to_path)
    }

    /// Relative to the ecosystem's root; the root itself is empty.
    pub(super) fn path(&self) -> PathBuf {
        self.path.to_path()
    }
}

/// One transaction, as it must be known after a crash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u32,
    pub(super) phase: Phase,
    pub(super) began: Timestamp,
    /// Everything that its records say.
    pub(super) restore: Restore,
    /// The folder below ours that holds the other side of the pairs, in each of the places.
    pub(super) folder: String,
    /// The ecosystem's root first, every other one below one before it.
    pub(super) places: Vec<Place>,
    /// What is rolled back.
    pub(super) roots: Vec<RecordPath>,
    /// Folders that stay where they are, because they cannot be renamed: what is in them changes places instead.
    pub(super) split: Vec<Split>,
    /// Whether only what differs changes places, because there is no room for more.
    pub(super) in_place: bool,
    pub(super) pairs: Vec<Pair>,
    /// Roots that are links: of them it is the links that change places.
    #[serde(default)]
    pub(super) pointers: Vec<Pointer>,
    /// Generations that were made for it, noted before they are there.
    #[serde(default)]
    pub(super) made: Vec<RecordPath>,
    /// Whether the service is stopped and started.
    pub(super) control: bool,
    /// Units that are switched off before; modules come on again afterwards, and the others if the trees go back.
    #[serde(default)]
    pub(super) units: Vec<Scope>,
    /// Whether the new tree stays live even if it does not prove healthy.
    #[serde(default)]
    pub(super) keep: bool,
    /// Whether a person has taken it back.
    #[serde(default)]
    pub(super) aborted: bool,
    /// The snapshot that the tree from before has become.
    #[serde(default)]
    pub(super) safety: Option<String>,
    /// What is carried over from the tree that was live to the one that becomes live.
    pub(super) carry: Vec<String>,
    /// Folders that held carried paths when the plan was made.
    pub(super) carry_from: Vec<RecordPath>,
}

impl Phase {
    /// Whether the service may start meanwhile: each root is where it belongs, and will stay there.
    fn is_safe_to_start(self) -> bool {
        match self {
            Phase::Staging | Phase::Staged | Phase::Abandoned | Phase::Carried | Phase::Reverted | Phase::Committed => true,
            Phase::Stopping | Phase::Swapping | Phase::Reverting => false,
        }
    }
}

impl Journal {
    pub(super) fn new(began: Timestamp, restore: Restore, folder: String, control: bool) -> Journal {
        let (roots, split, pairs, pointers, made, units, keep, aborted, safety, carry, carry_from) = Default::default();
        let places = vec![Place::new(Path::new(""))];
        Journal {
            version: VERSION,
            phase: Phase::Staging,
            began,
            restore,
            folder,
            places,
            roots,
            split,
            in_place: false,
            pairs,
            pointers,
            made,
            control,
            units,
            keep,
            aborted,
            safety,
            carry,
            carry_from,
        }
    }

    /// Where the pending transaction of a tree is noted.
    pub(super) fn pending(root: &Path) -> PathBuf {
        root.join(OURS).join("journal")
    }

    /// The transaction's folder in the ecosystem's root.
    pub(super) fn folder(&self, root: &Path) -> PathBuf {
        self.folder_in(root, Path::new(""))
    }

    /// Whether that folder was made for it. An undo exchanges with the folder of the rollback that it undoes.
    pub(super) fn owns_folder(&self) -> bool {
        self.folder == self.restore.id
    }

    /// Whether the new tree stays live whatever is found: going back to the tree from before is what a person asked for, and it may
    /// well be as ill as it was.
    pub(super) fn stands(&self) -> bool {
        self.keep || self.restore.undoes.is_some()
    }

    /// The transaction's folder in one of its places.
    pub(super) fn folder_in(&self, root: &Path, place: &Path) -> PathBuf {
        let elsewhere = self.places.iter().find(|other| other.path() == place).and_then(Place::folder);
        elsewhere.unwrap_or_else(|| root.join(place).join(OURS).join(&self.folder))
    }

    /// Removes the transaction's folders and the generations that were made for it, the folder in the ecosystem's root last.
    pub(super) fn remove_folders(&self, root: &Path) -> Result<()> {
        for folder in self.places.iter().filter_map(Place::folder).chain(self.made.iter().map(RecordPath::to_path)) {
            disk::keeping_times([disk::parent(&folder)], || disk::remove_tree(&folder))?;
        }
        for place in self.places.iter().filter(|place| place.folder.is_none()).rev().map(Place::path) {
            let folder = self.folder_in(root, &place);
            disk::remove_tree(&folder)?;
            if !place.as_os_str().is_empty() {
                // It stays while another transaction has its folder there.
                let _ = disk::keeping_times([&root.join(place)], || fs::remove_dir(disk::parent(&folder)));
            }
        }
        Ok(())
    }

    /// Whether the transaction's folder is there in each of its places: after a reboot a mount may still be missing.
    ///
    /// # Errors
    /// [`Error::RecoverFirst`] naming the place.
    pub(super) fn check_places(&self, root: &Path) -> Result<()> {
        for place in self.places.iter().map(Place::path) {
            let folder = self.folder_in(root, &place);
            if !folder.is_dir() {
                let (folder, place) = (folder.display(), root.join(place));
                let why = format!("{folder} is missing: is {} mounted? nothing more was changed", place.display());
                return Err(Error::RecoverFirst(why));
            }
        }
        let generations = self.pointers.iter().flat_map(|pointer| [pointer.old(), pointer.new_one()]);
        match generations.into_iter().find(|generation| fs::symlink_metadata(generation).is_err()) {
            Some(gone) => Err(Error::RecoverFirst(format!("{} is missing; nothing more was changed", gone.display()))),
            None => Ok(()),
        }
    }

    /// The place that the other side of a path is in: the nearest one above it.
    pub(super) fn place(&self, path: &Path) -> (PathBuf, bool) {
        let above = |place: &&Place| path.starts_with(place.path()) && (path != place.path() || place.folder.is_some());
        // The root is above everything.
        self.places.iter().rfind(above).map_or((PathBuf::new(), true), |place| (place.path(), place.exchanges))
    }

    /// Where the other side of a path is.
    pub(super) fn aside(&self, root: &Path, path: &Path) -> PathBuf {
        self.folder_in(root, &self.place(path).0).join("tree").join(path)
    }

    /// Where a live path waits while it changes places in two steps.
    pub(super) fn turn(&self, root: &Path, path: &Path) -> PathBuf {
        let name = digest::of(path.as_os_str().as_bytes()).to_string();
        self.folder_in(root, &self.place(path).0).join(format!("turn-{name}"))
    }

    /// Makes `phase` durable. From here on a crash is recovered as the phase says.
    pub(super) fn enter(&mut self, root: &Path, phase: Phase) -> Result<()> {
        self.phase = phase;
        self.write_pending(root)
    }

    /// Makes what it says now durable.
    pub(super) fn write_pending(&self, root: &Path) -> Result<()> {
        disk::replace(&Journal::pending(root), self.encode().as_bytes(), 0o600)
    }

    /// Its checksum, and below it the journal.
    pub(super) fn encode(&self) -> String {
        // Strings, numbers and lists of them: this cannot fail.
        let body = serde_json::to_string(self).expect("a journal serializes");
        format!("{}\n{body}\n", digest::of(body.as_bytes()))
    }

    /// The journal at `path`, if there is one.
    ///
    /// # Errors
    /// [`Error::RecoverFirst`] when there is one that cannot be understood: guessing would be worse than asking.
    pub(super) fn read(path: &Path) -> Result<Option<Journal>> {
        let text = match fs::read_to_string(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.named("read", path)?,
        };
        let broken =
            |why: String| Error::RecoverFirst(format!("{} {why}: nothing was changed; keep {} and look at it", path.display(), path.display()));
        Journal::decode(&text).map(Some).map_err(broken)
    }

    /// The journal in this text.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence that begins with its path.
    pub(super) fn decode(text: &str) -> std::result::Result<Journal, String> {
        let (sum, body) = text.split_once('\n').ok_or("is cut short")?;
        if digest::of(body.trim_end_matches('\n').as_bytes()).to_string() != sum {
            return Err("does not match its checksum".into());
        }
        let journal: Journal = serde_json::from_str(body).map_err(|e| format!("cannot be understood ({e})"))?;
        if journal.version != VERSION {
            return Err("was written by another version".into());
        }
        // Recovery renames and removes what it finds at these.
        let folder = Path::new(&journal.folder);
        let plain = |path: PathBuf| path.as_os_str().is_empty() || check_plain(&path).is_ok();
        let inside = journal.paths().all(plain);
        if !inside || check_plain(folder).is_err() || folder.iter().count() != 1 || !journal.leads_to_generations() {
            return Err("leads outside the tree that it is about".into());
        }
        Ok(journal)
    }

    /// Every path that it names.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let parts = self.places.iter().map(Place::path).chain(self.split.iter().map(Split::path)).chain(self.pairs.iter().map(Pair::path));
        let pointed = self.pointers.iter().map(Pointer::path);
        parts.chain(pointed).chain(self.roots.iter().chain(&self.carry_from).map(RecordPath::to_path))
    }

    /// The transaction is over: its journal becomes the note for undoing it, or goes with its folder.
    pub(super) fn close(&self, root: &Path, keep: bool) -> Result<()> {
        let pending = Journal::pending(root);
        if keep {
            let note = self.folder(root).join("undo");
            fs::rename(&pending, &note).named("keep", &note)?;
            disk::sync_dir(&self.folder(root))?;
        } else {
            fs::remove_file(&pending).named("remove", &pending)?;
        }
        disk::sync_dir(&root.join(OURS))
    }
}

/// Refuses while a rollback of this tree is unfinished.
///
/// # Errors
/// [`Error::Other`] saying how to finish it.
pub fn refuse_while_pending(root: &Path) -> Result<()> {
    match Journal::read(&Journal::pending(root)) {
        Ok(None) => Ok(()),
        // Recovering is not what was asked for here.
        Err(Error::RecoverFirst(why)) => Err(Error::Other(why)),
        Err(e) => Err(e),
        Ok(Some(journal)) => {
            Err(Error::Other(format!("rollback {} of {} is unfinished: run eco-restore --recover first", journal.restore.id, root.display())))
        }
    }
}

/// Whether a rollback of this tree is pending, and if so, whether the service may be started while it is under way. Nothing is written,
/// and nothing but the journal is read.
///
/// # Errors
/// As [`Error::RecoverFirst`] when the journal cannot be understood; [`Error::Path`] when it cannot be read.
pub fn pending(root: &Path) -> Result<Option<bool>> {
    Ok(Journal::read(&Journal::pending(root))?.map(|journal| journal.phase.is_safe_to_start()))
}

/// Whether there was a restore of this id: it is remembered, or its folder is there.
///
/// # Errors
/// As [`Memory::read`].
pub fn is_used(root: &Path, restore: &str) -> Result<bool> {
    Ok(root.join(OURS).join(restore).exists() || Memory::read(root)?.0.iter().any(|done| done.restore == restore))
}

/// What was carried out before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory(Vec<Remembered>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    time: Timestamp,
    restore: String,
    phase: String,
    #[serde(default)]
    decision: Option<String>,
    #[serde(default)]
    snapshot: Option<String>,
}

impl Memory {
    fn path(root: &Path) -> PathBuf {
        root.join(OURS).join("memory")
    }

    /// What is remembered of this tree.
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be read; [`Error::Other`] when it is damaged, because acting twice is worse than asking.
    pub fn read(root: &Path) -> Result<Memory> {
        let path = Memory::path(root);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Memory::default()),
            other => other.named("read", &path)?,
        };
        let lines: std::result::Result<Vec<Remembered>, _> = text.lines().map(serde_json::from_str).collect();
        lines.map(Memory).map_err(|e| Error::Other(format!("{} is damaged ({e}): mend or remove it by hand", path.display())))
    }

    /// The restore that carried out this decision, if one did.
    pub fn done(&self, decision: &str) -> Option<&str> {
        self.0.iter().find(|done| done.decision.as_deref() == Some(decision)).map(|done| done.restore.as_str())
    }

    /// Whether a rollback was under way at this time. Its id tells when it began.
    pub fn was_at_work(&self, time: Timestamp) -> bool {
        let began = |done: &Remembered| {
            let (seconds, nanos) = uuid::Uuid::try_parse(&done.restore).ok()?.get_timestamp()?.to_unix();
            Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
        };
        self.0.iter().any(|done| began(done).is_some_and(|began| (began..=done.time).contains(&time)))
    }

    /// Snapshots that a rollback was tried with, and that did not help.
    pub fn failed_snapshots(&self) -> Vec<String> {
        self.0.iter().filter(|done| done.phase == "reverted").filter_map(|done| done.snapshot.clone()).collect()
    }

    /// Adds the end of a restore, once.
    pub(super) fn add(root: &Path, restore: &Restore, now: Timestamp) -> Result<()> {
        let mut memory = Memory::read(root)?;
        if memory.0.iter().any(|done| done.restore == restore.id) {
            return Ok(());
        }
        let Restore { id, phase, decision, snapshot, .. } = restore.clone();
        memory.0.push(Remembered { time: now, restore: id, phase, decision, snapshot });
        let lines: Vec<String> = memory.0.iter().map(|done| serde_json::to_string(done).expect("strings serialize") + "\n").collect();
        disk::replace(&Memory::path(root), lines.concat().as_bytes(), 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, Journal) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(OURS)).unwrap();
        let restore = Restore { id: "r1".into(), phase: "started".into(), scope: "full".into(), decision: Some("d1".into()), ..Restore::default() };
        let mut journal = Journal::new(Timestamp::UNIX_EPOCH, restore, "r1".into(), true);
        journal.pairs = vec![Pair::new(Path::new("data"), Object::at(dir.path()).unwrap(), None)];
        (dir, journal)
    }

    #[test]
    fn a_journal_reads_back_and_any_change_to_it_is_noticed() {
        let (dir, mut journal) = world();
        assert_eq!(Journal::read(&Journal::pending(dir.path())).unwrap(), None);
        journal.enter(dir.path(), Phase::Swapping).unwrap();
        let path = Journal::pending(dir.path());
        assert_eq!(Journal::read(&path).unwrap().unwrap(), journal);
        assert!(refuse_while_pending(dir.path()).is_err());
        let text = fs::read(&path).unwrap();
        for at in [0, 70, text.len() - 3] {
            let mut wrong = text.clone();
            wrong[at] ^= 1;
            fs::write(&path, wrong).unwrap();
            assert!(matches!(Journal::read(&path), Err(Error::RecoverFirst(_))), "byte {at}");
        }
    }

    #[test]
    fn a_journal_that_leads_outside_its_tree_is_not_followed() {
        let (_dir, journal) = world();
        assert_eq!(Journal::decode(&journal.encode()), Ok(journal.clone()));
        let wrong = |change: &dyn Fn(&mut Journal)| {
            let mut journal = journal.clone();
            change(&mut journal);
            Journal::decode(&journal.encode()).unwrap_err()
        };
        for folder in ["..", "/tmp", "r1/tree", "", "."] {
            assert!(wrong(&|journal| journal.folder = folder.into()).contains("outside"), "{folder}");
        }
        for path in ["../other", "/etc", "data/../.."] {
            assert!(wrong(&|journal| journal.pairs = vec![Pair::new(Path::new(path), None, None)]).contains("outside"), "{path}");
            assert!(wrong(&|journal| journal.carry_from = vec![RecordPath::new(path)]).contains("outside"), "{path}");
            assert!(wrong(&|journal| journal.split = vec![Split::new(Path::new(path), None, None)]).contains("outside"), "{path}");
            assert!(wrong(&|journal| journal.places.push(Place::new(Path::new(path)))).contains("outside"), "{path}");
        }
        // What is made beside generations is named after the transaction; nothing else there is removed.
        for path in ["/srv/data", "/srv/data.eco-r2", "data.eco-r1", "/srv/../data.eco-r1", "/"] {
            assert!(wrong(&|journal| journal.made = vec![RecordPath::new(path)]).contains("outside"), "{path}");
            assert!(wrong(&|journal| journal.places.push(Place::elsewhere(Path::new("data"), Path::new(path)))).contains("outside"), "{path}");
        }
    }

    #[test]
    fn the_other_side_of_a_path_is_in_the_nearest_mount_above_it() {
        let (_dir, mut journal) = world();
        journal.places.extend(["data", "data/cache"].map(|path| Place::new(Path::new(path))));
        let aside = |path: &str| journal.aside(Path::new("/srv"), Path::new(path)).display().to_string();
        assert_eq!(
            ["config", "data", "data/x", "data/cache", "data/cache/y", "database"].map(aside),
            [
                "/srv/.eco/r1/tree/config",
                "/srv/.eco/r1/tree/data",
                "/srv/data/.eco/r1/tree/data/x",
                "/srv/data/.eco/r1/tree/data/cache",
                "/srv/data/cache/.eco/r1/tree/data/cache/y",
                "/srv/.eco/r1/tree/database"
            ]
        );
    }

    #[test]
    fn a_decision_is_remembered_once_and_a_failed_point_too() {
        let (dir, journal) = world();
        let mut restore = journal.restore;
        restore.phase = "reverted".into();
        restore.snapshot = Some("s1".into());
        Memory::add(dir.path(), &restore, Timestamp::UNIX_EPOCH).unwrap();
        Memory::add(dir.path(), &restore, Timestamp::UNIX_EPOCH).unwrap();
        let memory = Memory::read(dir.path()).unwrap();
        assert_eq!((memory.0.len(), memory.done("d1"), memory.done("d2")), (1, Some("r1"), None));
        assert_eq!(memory.failed_snapshots(), ["s1"]);
    }

    #[test]
    fn an_object_is_the_same_after_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&a).unwrap();
        let object = Object::at(&a).unwrap();
        fs::rename(&a, &b).unwrap();
        assert_eq!(Object::at(&b).unwrap(), object);
        assert_eq!(Object::at(&a).unwrap(), None);
    }
}
