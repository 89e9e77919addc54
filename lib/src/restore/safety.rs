//! What becomes of the tree from before a rollback: a snapshot, if it is worth one, and nothing once its time is over.
//!
//! A tree goes in two steps: it gets another name, and is removed under that. So the one that is called `tree` is always whole.

use super::Ecosystem;
use super::journal::{Journal, Place};
use super::pointer;
use super::run::Run;
use super::undo::notes;
use crate::archive::LEVEL;
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::scope::{CaptureRules, OURS, SqliteMode};
use crate::store::{Mode, Store, Stored, Taking, id6, take};
use crate::time::{Span, Timestamp};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Whether the tree from before is there, in each of its places.
pub(super) fn has_tree(root: &Path, note: &Journal) -> bool {
    note.places.iter().all(|place| tree_in(root, note, place).is_dir())
}

/// The snapshot of this id that keeps the tree from before, if the store has it.
///
/// # Errors
/// [`Error::NoMatch`] when it has gone; [`Error::Path`] when the store cannot be listed.
pub(super) fn stored(eco: &Ecosystem, now: Timestamp, id: &str) -> Result<Stored> {
    let folder = eco.store.as_deref().ok_or_else(|| Error::NoMatch(format!("the tree from before is snapshot {id}, and no store is named")))?;
    Store::new(folder, &eco.name, now).select(id)
}

fn tree_in(root: &Path, note: &Journal, place: &Place) -> PathBuf {
    note.folder_in(root, &place.path()).join("tree")
}

/// Snapshots that a rollback of this tree needs, by id, and what for: one that is unfinished, one that can still be undone because its
/// time, `keep`, is not over, and the newest one, whose snapshot the tree came from.
///
/// # Errors
/// [`Error::Path`] and [`Error::Other`] when that cannot be read: nobody knows then.
pub fn in_use(root: &Path, keep: Span, now: Timestamp) -> Result<BTreeMap<String, String>> {
    let unclear = |e: Error| if let Error::RecoverFirst(why) = e { Error::Other(why) } else { e };
    let mut needed = BTreeMap::new();
    let mut newest: Option<Journal> = None;
    for note in notes(root)? {
        let note = note.map_err(unclear)?;
        if now.checked_sub(keep.0).is_ok_and(|limit| note.began < limit) {
            continue;
        }
        if let Some(safety) = &note.safety {
            needed.insert(safety.clone(), format!("undoing rollback {} takes it", id6(&note.restore.id)));
        }
        if newest.as_ref().is_none_or(|newest| (newest.began, &newest.restore.id) < (note.began, &note.restore.id)) {
            newest = Some(note);
        }
    }
    if let Some((snapshot, restore)) = newest.and_then(|note| Some((note.restore.snapshot?, note.restore.id))) {
        needed.entry(snapshot).or_insert_with(|| format!("rollback {} went back to it", id6(&restore)));
    }
    if let Some(pending) = Journal::read(&Journal::pending(root)).map_err(unclear)? {
        let why = format!("rollback {}, which is unfinished, needs it", id6(&pending.restore.id));
        for id in [pending.restore.snapshot, pending.restore.safety, pending.safety].into_iter().flatten() {
            needed.insert(id, why.clone());
        }
    }
    Ok(needed)
}

/// A part of the tree from before a rollback, as it was set aside.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAside {
    /// The folder that its paths are relative to, which are those of the ecosystem.
    pub base: PathBuf,
    /// What in it was set aside.
    pub roots: Vec<PathBuf>,
    /// Of these it was a link, and what that led to.
    pub doors: Vec<(PathBuf, PathBuf)>,
    /// What was carried over to the new tree, and is in this one no more.
    pub carried: Vec<String>,
}

/// The tree from before the rollback `restore` of this tree, for whoever wants to look at it; `None` if it is not kept here, or not any
/// more. Where only what differed changed places, only that is in it.
///
/// # Errors
/// [`Error::Path`] and [`Error::RecoverFirst`] when that cannot be found out.
pub fn set_aside(root: &Path, restore: &str) -> Result<Option<Vec<SetAside>>> {
    let all = notes(root)?;
    let note = all.iter().flatten().find(|note| note.restore.id == restore);
    let Some(note) = note else {
        // It may be the one that cannot be read.
        return all.into_iter().find_map(Result::err).map_or(Ok(None), Err);
    };
    if !has_tree(root, note) {
        return Ok(None);
    }
    let mut parts: BTreeMap<PathBuf, SetAside> = BTreeMap::new();
    for pair in &note.pairs {
        let path = pair.path();
        let base = tree_in(root, note, &Place::new(&note.place(&path).0));
        let new = || SetAside { base: base.clone(), roots: Vec::new(), doors: Vec::new(), carried: note.carry.clone() };
        let part = parts.entry(base.clone()).or_insert_with(new);
        part.doors.extend(note.pointers.iter().filter(|pointer| pointer.path() == path).map(|pointer| (path.clone(), pointer.old())));
        part.roots.push(path);
    }
    Ok(Some(parts.into_values().collect()))
}

impl Run<'_, '_> {
    /// Turns the tree from before into a snapshot, if that takes little room. Whatever goes wrong, the tree stays, and nobody's exit
    /// code changes.
    pub(super) fn keep_as_snapshot(&mut self) {
        let (id, began) = (self.journal.restore.id.clone(), Instant::now());
        let (ok, note) = match self.take_snapshot() {
            Ok(note) => (Some(true), note),
            Err(why) => {
                let until = self.journal.began.checked_add(self.eco.keep_safety.0).unwrap_or(Timestamp::MAX);
                (None, format!("the tree from before stays where it is until {until}: {why}"))
            }
        };
        self.stage.report(&id, "safety", ok, Some(note), began);
    }

    fn take_snapshot(&mut self) -> Result<String> {
        let (eco, root) = (self.eco, self.eco.root.as_path());
        let folder = eco.store.as_deref().ok_or_else(|| Error::Other("there is no store".into()))?;
        if self.journal.in_place {
            return Err(Error::Other("it holds only what differed".into()));
        }
        let [place] = self.journal.places.as_slice() else {
            return Err(Error::Other("it lies on several filesystems".into()));
        };
        let tree = tree_in(root, &self.journal, place);
        let roots: Vec<PathBuf> =
            self.journal.roots.iter().map(|path| path.to_path()).filter(|path| fs::symlink_metadata(tree.join(path)).is_ok()).collect();
        if let Some(link) = roots.iter().find(|path| tree.join(path).is_symlink()) {
            return Err(Error::Other(format!("{} was a symbolic link, and what it led to stays", root.join(link).display())));
        }
        let began = Instant::now();
        let store = Store::new(folder, &eco.name, self.stage.now());
        // All that is in this tree is in none other: nothing is left out. It stands still, so databases are captured as they are.
        let rules = CaptureRules { exclude: Vec::new(), preserve: self.journal.carry.clone(), sqlite: SqliteMode::Bytes };
        let taking = Taking {
            base: &tree,
            roots,
            scopes: &eco.scopes,
            rules: &rules,
            kind: "safety",
            id: self.journal.restore.id.clone(),
            time: self.stage.now(),
            host: self.stage.host.clone(),
            health: "unknown",
            output: None,
            mode: Mode::OnlyDifferential,
            level: LEVEL,
            rehash: false,
            pin: false,
            quiet: None,
            expect: None,
        };
        (self.stage.expect)("keeping the tree from before", 0);
        let taken = take(&store, taking, self.stage.progress, self.stage.stop)?;
        let mut snapshot = taken.stored.snapshot;
        snapshot.took_ms = Some(began.elapsed().as_millis() as u64);
        let (id, bytes) = (snapshot.id.clone(), snapshot.archive_bytes.unwrap_or_default());
        let moving = snapshot.unstable.first().map(|path| format!("{} kept changing while it was read", path.path));
        let sound = snapshot.verified == Some(true);
        (self.stage.emit)(Some(&taken.stored.stamp), snapshot.into());
        match moving {
            Some(why) => return Err(Error::Other(why)),
            None if !sound => return Err(Error::Other(format!("snapshot {id} could not be verified"))),
            None => {}
        }
        self.journal.safety = Some(id.clone());
        let note = self.journal.folder(root).join("undo");
        disk::replace(&note, self.journal.encode().as_bytes(), 0o600)?;
        let_go(root, &self.journal)?;
        Ok(format!("it is snapshot {} now, of {} KiB", id6(&id), bytes.div_ceil(1024)))
    }

    /// Lets go of trees from before whose time is over, and finishes what a crash has left of that. What cannot be removed now is tried
    /// again next time.
    pub(super) fn expire(&self) {
        let (root, keep) = (self.eco.root.as_path(), self.eco.keep_safety.0);
        let old = |began: Timestamp| self.stage.now().checked_sub(keep).is_ok_and(|limit| began < limit);
        let mut over = Vec::new();
        for folder in fs::read_dir(root.join(OURS)).into_iter().flatten().flatten() {
            let name = folder.file_name();
            if name == self.journal.folder.as_str() {
                continue;
            }
            // What cannot be removed today is found again.
            let _ = disk::sweep_temporaries(&folder.path());
            let _ = match Journal::read(&folder.path().join("undo")) {
                Ok(Some(note)) if name != note.folder.as_str() => Ok(()),
                Ok(Some(note)) if old(note.began) => let_go(root, &note).map(|()| over.push(note)),
                Ok(Some(note)) if note.safety.is_some() => let_go(root, &note),
                Ok(None) if folder.path().join("trash").is_dir() => disk::remove_tree(&folder.path()),
                _ => Ok(()),
            };
        }
        for note in over {
            // Until its generation is needed no more, the note stays, which says whose that is.
            if !note.made.iter().any(|made| pointer::is_needed(root, &note, &made.to_path())) {
                let _ = note.remove_folders(root);
            }
        }
    }
}

/// Removes the tree from before.
fn let_go(root: &Path, note: &Journal) -> Result<()> {
    for place in &note.places {
        let tree = tree_in(root, note, place);
        let trash = tree.with_file_name("trash");
        disk::remove_tree(&trash)?;
        match fs::rename(&tree, &trash) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            done => done.named("set aside", &tree)?,
        }
        disk::sync_dir(disk::parent(&tree))?;
        disk::remove_tree(&trash)?;
    }
    Ok(())
}
