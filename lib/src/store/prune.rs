//! Removing what the retention rules let go. Every decision is made again right before, with all that is to go locked, so that who
//! reads or pins one of these, or builds on it, keeps it.
//!
//! Each archive goes in one step, and its verdict after it: whatever interrupts this, every archive that is still there is whole and has
//! its verdict. A base goes when the removal of all that needs it is durable. A verdict that is left alone counts for nothing, since it
//! names the length and the index of its archive; the next run removes it.

use super::{Seal, Store, Stored};
use crate::disk::{self, Lock};
use crate::error::{Error, Result};
use crate::record::{RecordPath, Retention, Snapshot, Stamp};
use crate::retention::{Choice, Point, Rules, decide};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// So many are locked at a time: each lock is an open file.
const AT_ONCE: usize = 128;

/// Held while snapshots are removed, so that one run does so at a time.
const LOCK: &str = ".prune.lock";

/// What is to be pruned.
pub struct Pruning<'a> {
    /// Where.
    pub store: &'a Store,
    /// By which rules.
    pub rules: &'a Rules,
    /// Says which snapshots a rollback needs just now, by id, and why.
    pub in_use: &'a dyn Fn() -> Result<BTreeMap<String, String>>,
    /// Set by a signal: nothing more is removed then.
    pub stop: &'a AtomicBool,
}

/// A snapshot that was asked about, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The snapshot; its archive, if it is in this store.
    pub snapshot: Snapshot,
    /// When it was taken, and of which ecosystem.
    pub stamp: Stamp,
    path: Option<PathBuf>,
    /// Whether it stays, and why.
    pub choice: Choice,
    /// Whether it was removed.
    pub removed: bool,
    /// Why it was not removed, or not for certain.
    pub error: Option<String>,
}

impl Candidate {
    /// What there is to say about it.
    pub fn record(&self) -> Retention {
        Retention {
            snapshot: self.snapshot.id.clone(),
            keep: self.choice.keep,
            reasons: self.choice.reasons.clone(),
            removed: self.removed,
            set_aside: self.choice.aside,
            kind: self.snapshot.kind.clone(),
            taken: Some(self.stamp.time),
            path: self.path.as_deref().map(RecordPath::new).or_else(|| self.snapshot.path.clone()),
            archive_bytes: self.snapshot.archive_bytes,
            error: self.error.clone(),
        }
    }
}

/// How a removal ended.
#[derive(Debug, Default)]
pub struct Pruned {
    /// How much room it made, in bytes.
    pub freed: u64,
    /// What nobody expected: nothing was removed after it.
    pub surprise: Option<Error>,
}

impl Pruning<'_> {
    /// Decides about these snapshots, newest first, by what is in the store now. What the records say counts only for those that it does
    /// not have, which are set aside. With the archives of the store that cannot be read, and why.
    ///
    /// # Errors
    /// [`Error::Path`] when the store cannot be listed, and what `in_use` fails with.
    pub fn decide(&self, asked: &[(Stamp, Snapshot)]) -> Result<(Vec<Candidate>, Vec<Error>)> {
        let ids: HashSet<&str> = asked.iter().map(|(_, snapshot)| snapshot.id.as_str()).collect();
        let (stored, points, unreadable) = self.look(&ids, Vec::new())?;
        let choices = decide(&points, self.rules, self.store.now);
        let mut found: Vec<Candidate> = Vec::new();
        for ((stored, point), choice) in stored.into_iter().zip(points).zip(choices) {
            if point.asked {
                let Stored { stamp, snapshot, path, .. } = stored;
                found.push(Candidate { snapshot, stamp, path: Some(path), choice, removed: false, error: None });
            }
        }
        let here: HashSet<String> = found.iter().map(|candidate| candidate.snapshot.id.clone()).collect();
        let mut said = HashSet::new();
        for (stamp, snapshot) in asked.iter().filter(|(_, snapshot)| !here.contains(&snapshot.id) && said.insert(&snapshot.id)) {
            let why = match &stamp.ecosystem {
                Some(other) if *other != self.store.name => format!("of another ecosystem: {other}"),
                _ => "not in the store".to_owned(),
            };
            let choice = Choice { keep: true, reasons: vec![why], by_rule: false, aside: true };
            found.push(Candidate { snapshot: snapshot.clone(), stamp: stamp.clone(), path: None, choice, removed: false, error: None });
        }
        found.sort_by(|a, b| (b.stamp.time, &b.snapshot.id, &a.path).cmp(&(a.stamp.time, &a.snapshot.id, &b.path)));
        Ok((found, unreadable))
    }

    /// What is in the store, each with all that matters about it; `held` are those that this run has locked.
    fn look(&self, asked: &HashSet<&str>, held: Vec<Stored>) -> Result<(Vec<Stored>, Vec<Point>, Vec<Error>)> {
        let listing = self.store.list()?;
        let in_use = (self.in_use)()?;
        let mut all = listing.snapshots;
        all.extend(held);
        // Of copies of one snapshot the verified one counts, of several the first by name.
        all.sort_by(|a, b| (&a.snapshot.id, b.snapshot.verified, &a.path).cmp(&(&b.snapshot.id, a.snapshot.verified, &b.path)));
        // What cannot be read may be a differential one, and need any full one.
        let unread = listing.unreadable.iter().find(|error| matches!(error, Error::Path { .. })).map(Error::to_string);
        let mut points: Vec<Point> = Vec::new();
        for stored in &all {
            let is_copy = points.last().is_some_and(|last| last.id == stored.snapshot.id);
            let mut point = Point::of(&stored.stamp, &stored.snapshot);
            point.ecosystem = self.store.name.clone();
            point.damaged |= stored.lacks.is_some();
            point.asked = asked.contains(point.id.as_str());
            point.in_use = in_use.get(&point.id).cloned();
            if let (None, None, Some(why)) = (&point.in_use, &point.base, &unread) {
                point.in_use = Some(format!("perhaps a base that is needed: {why}"));
            }
            point.aside = match () {
                () if stored.is_legacy() => Some("not an archive of these tools, or one that was cut short".into()),
                () if self.store.is_ahead(stored) => Some(format!("taken in the future, at {}", stored.stamp.time)),
                () if is_copy => Some("another copy of the same snapshot".into()),
                () => None,
            };
            points.push(point);
        }
        Ok((all, points, listing.unreadable))
    }

    /// Removes what was decided to go, and tells `done` about each when its end is known. After the first surprise nothing more is removed;
    /// an archive that cannot be read and is not among those that are `unreadable` already is one.
    ///
    /// # Errors
    /// [`Error::Other`] while another run removes snapshots here, [`Error::Path`] when the lock cannot be had: nothing was removed.
    pub fn apply(&self, candidates: &mut [Candidate], unreadable: &[Error], holder: &str, done: &mut dyn FnMut(&Candidate)) -> Result<Pruned> {
        let unreadable: HashSet<String> = unreadable.iter().map(Error::to_string).collect();
        let _lock = Lock::exclusive(&self.store.folder.join(LOCK), holder).map_err(|e| match e {
            Error::Locked(why) => Error::Other(format!("{why}; nothing was removed")),
            e => e,
        })?;
        let asked: HashSet<String> = candidates.iter().map(|candidate| candidate.snapshot.id.clone()).collect();
        let asked: HashSet<&str> = asked.iter().map(String::as_str).collect();
        let (mut bases, mut others) = (Vec::new(), Vec::new());
        for (at, candidate) in candidates.iter().enumerate().rev().filter(|(_, candidate)| !candidate.choice.keep) {
            if candidate.snapshot.base.is_none() { &mut bases } else { &mut others }.push(at);
        }
        let mut pruned = Pruned::default();
        for batch in others.chunks(AT_ONCE).chain(bases.chunks(AT_ONCE)) {
            if pruned.surprise.is_none()
                && let Err(e) = self.remove(batch, candidates, &asked, &unreadable, &mut pruned.freed)
            {
                pruned.surprise = Some(e);
            }
            for at in batch {
                let candidate = &mut candidates[*at];
                if pruned.surprise.is_some() && !candidate.choice.keep && !candidate.removed && candidate.error.is_none() {
                    candidate.error = Some("not tried after what had gone wrong before".into());
                }
                done(candidate);
            }
        }
        if pruned.surprise.is_none() {
            self.sweep();
        }
        Ok(pruned)
    }

    /// Removes those of a batch that may still go.
    fn remove(
        &self,
        batch: &[usize],
        candidates: &mut [Candidate],
        asked: &HashSet<&str>,
        unreadable: &HashSet<String>,
        freed: &mut u64,
    ) -> Result<()> {
        let mut locks: HashMap<usize, File> = HashMap::new();
        let mut held = Vec::new();
        for at in batch {
            let candidate = &mut candidates[*at];
            let Some(path) = candidate.path.clone() else { continue };
            let locked = Lock::alone(&path).and_then(|file| match file {
                Some(file) => Ok(Some((Stored::held(file.try_clone().map_err(|e| Error::Other(e.to_string()))?, &path)?, file))),
                None => Ok(None),
            });
            match locked {
                Ok(Some((stored, file))) => {
                    held.push(stored);
                    locks.insert(*at, file);
                }
                Ok(None) => candidate.choice = Choice { keep: true, reasons: vec!["another process is reading it".into()], ..Choice::default() },
                Err(e) => return Err(failed(candidate, e)),
            }
        }
        let (stored, mut points, unread) = self.look(asked, held)?;
        if let Some(new) = unread.into_iter().find(|error| !unreadable.contains(&error.to_string())) {
            return Err(new);
        }
        let locked: HashSet<&Path> = locks.keys().filter_map(|at| candidates[*at].path.as_deref()).collect();
        // A differential one that is there now may well stay, whatever the rules say: somebody reads it, or it was made just now.
        for (stored, point) in stored.iter().zip(&mut points).filter(|(stored, point)| point.base.is_some() && !locked.contains(&*stored.path)) {
            point.in_use.get_or_insert_with(|| format!("{} is there", stored.path.display()));
        }
        let choices = decide(&points, self.rules, self.store.now);
        let now: HashMap<&Path, &Choice> = stored.iter().map(|stored| stored.path.as_path()).zip(&choices).collect();
        let (mut gone, mut folders, mut surprise) = (Vec::new(), BTreeSet::new(), None);
        for at in batch.iter().filter(|at| locks.contains_key(at)) {
            let candidate = &mut candidates[*at];
            let Some(path) = candidate.path.clone() else { continue };
            match now.get(path.as_path()) {
                Some(choice) if !choice.keep => {}
                Some(choice) => {
                    candidate.choice = (*choice).clone();
                    continue;
                }
                None => {
                    let why = Error::Other(format!("{} is another snapshot than it was", path.display()));
                    surprise = Some(failed(candidate, why));
                    break;
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                surprise = Some(Error::Interrupted("what was removed until then is gone".into()));
                break;
            }
            match disk::remove_file(&path) {
                Ok(bytes) => {
                    candidate.removed = true;
                    *freed += bytes;
                    folders.insert(disk::parent(&path).to_owned());
                    gone.push((*at, path));
                }
                Err(e) => {
                    surprise = Some(failed(candidate, e));
                    break;
                }
            }
        }
        // What went is finished, whatever went wrong: first it is gone for good, then its verdict goes.
        let finished = folders.iter().try_for_each(|folder| disk::sync_dir(folder)).and_then(|()| {
            gone.iter().try_for_each(|(_, path)| match disk::remove_file(&Seal::path(path)) {
                Err(Error::Path { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done.map(drop),
            })
        });
        if let Err(e) = finished {
            gone.iter().for_each(|(at, _)| candidates[*at].error = Some(e.to_string()));
            return Err(surprise.unwrap_or(e));
        }
        surprise.map_or(Ok(()), Err)
    }

    /// Removes verdicts of ours whose archive is gone: a run was interrupted between the two. Best effort: they harm nobody.
    fn sweep(&self) {
        for folder in fs::read_dir(&self.store.folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let Some(kind) = folder.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with(&format!("{}-", self.store.name)))
            else {
                continue;
            };
            let names = || fs::read_dir(&folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
            let alone: Vec<PathBuf> = names()
                .filter(|name| name.starts_with(&format!("{kind}-")) && name.ends_with(".tar.gz.verified"))
                .map(|name| folder.join(name))
                .collect();
            // A snapshot in the making has its verdict before it has its name: a hidden file is there meanwhile, and the archive after.
            if names().any(|name| name.starts_with('.') && name.ends_with(".tmp")) {
                continue;
            }
            for verdict in alone.iter().filter(|verdict| matches!(disk::stat(&verdict.with_extension("")), Ok(None))) {
                let _ = disk::remove_file(verdict);
            }
        }
    }
}

/// Notes with a candidate what went wrong with it.
fn failed(candidate: &mut Candidate, error: Error) -> Error {
    candidate.error = Some(error.to_string());
    error
}
