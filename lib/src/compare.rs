//! A tree on disk beside the index of a snapshot: reads what is needed to compare the two.

use crate::archive::{Entry, Index};
use crate::digest;
use crate::error::{Error, Named, Result};
use crate::plan::Item;
use crate::scope::{Found, Patterns, Site, Walk, is_ours, walk};
use crate::sqlite;
use crate::tree::{Digest, Kind};
use rustix::fs::OFlags;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What of the snapshot lies in these roots, as a walk over them would find it: of the names of one file the first is the file,
/// whichever of them the archive has its content under, and wherever that one lies.
pub fn items_of(index: &Index, roots: &[PathBuf]) -> Vec<Item> {
    let by_path: HashMap<&Path, &Entry> = index.entries.iter().map(|e| (e.node.path.as_path(), e)).collect();
    let mut inside: Vec<&Entry> = index.entries.iter().filter(|e| within(&e.node.path, roots)).collect();
    inside.sort_by(|a, b| a.node.path.cmp(&b.node.path));
    let mut first: HashMap<&Path, &Path> = HashMap::new();
    let item = |entry: &'_ Entry| Item { node: entry.node.clone(), digest: entry.digest };
    let mut items = Vec::with_capacity(inside.len());
    for entry in inside {
        let mut file = entry;
        // In archives of other programs a link may lead to another link. A chain that never ends links to nothing.
        for _ in 0..index.entries.len() {
            let Kind::Hardlink { target } = &file.node.kind else { break };
            let Some(next) = by_path.get(target.as_path()) else { break };
            file = next;
        }
        let mut found = item(file);
        found.node.path.clone_from(&entry.node.path);
        match first.get(file.node.path.as_path()) {
            Some(first) => {
                (found.node.kind, found.digest) = (Kind::Hardlink { target: first.to_path_buf() }, None);
            }
            None => drop(first.insert(&file.node.path, &entry.node.path)),
        }
        items.push(found);
    }
    items
}

/// What was written into the folder `base` from a snapshot, in these roots, read back from the disk.
///
/// # Errors
/// [`Error::Path`] for what cannot be read.
pub fn read_back(base: &Path, index: &Index, roots: &[PathBuf], progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Item>> {
    // What was written is what is there: a link is one.
    let site = Site::plain(base)?;
    let walked = walk(&site, roots, &Patterns::new::<&str>(&[]).map_err(Error::Config)?)?;
    forget_cached(&site, &walked);
    items_in(&site, walked, index, roots, &nothing_known, None, progress)
}

/// Asks the kernel to read from the disk next time. It may decline; what is compared is right or wrong either way.
fn forget_cached(site: &Site, walked: &Walk) {
    for found in walked.entries.iter().filter(|found| found.node.kind.size() > 0) {
        if let Ok(file) = site.open_at(&found.node.path, OFlags::RDONLY) {
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}

/// Whether a path lies in one of the roots.
pub fn within(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}

/// Tells the digest of a file that need not be read, from what a walk found; what the snapshot has at its path goes with it.
pub type Known<'a> = dyn Fn(&Found, Option<&Entry>) -> Option<Digest> + 'a;

/// Every file is read.
pub fn nothing_known(_: &Found, _: Option<&Entry>) -> Option<Digest> {
    None
}

/// A file with the same inode, length and times as the captured one is taken for that.
pub fn known_by_times(found: &Found, entry: Option<&Entry>) -> Option<Digest> {
    let entry = entry.filter(|entry| entry.node.kind == found.node.kind && entry.node.meta.mtime == found.node.meta.mtime)?;
    let same = entry.identity.is_some_and(|was| (was.ino, was.ctime_ns) == (found.identity.ino, found.identity.ctime_ns));
    entry.digest.filter(|_| same)
}

/// What of a walk lies in these roots. Files are hashed where the snapshot has one of the same length, on all cores. A database
/// that the snapshot holds as a consistent copy is copied in the same way into `scratch` and compared by content; if that is the
/// same, it counts as the same file. Without `scratch` it is compared byte by byte.
///
/// # Errors
/// [`Error::Path`] for a file that cannot be read; [`Error::Other`] for a database that cannot be copied.
pub fn items_in(
    site: &Site,
    walked: Walk,
    index: &Index,
    roots: &[PathBuf],
    known: &Known<'_>,
    scratch: Option<&Path>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Item>> {
    let was: HashMap<&Path, &Entry> = index.entries.iter().map(|e| (e.node.path.as_path(), e)).collect();
    let item = |found: Found| Item { digest: known(&found, was.get(found.node.path.as_path()).copied()), node: found.node };
    let mut items: Vec<Item> = walked.entries.into_iter().filter(|found| within(&found.node.path, roots)).map(item).collect();
    let expected = items_of(index, roots);
    let lengths: HashMap<&Path, &Kind> = expected.iter().map(|item| (item.node.path.as_path(), &item.node.kind)).collect();
    let same_length = |item: &Item| matches!(item.node.kind, Kind::File { .. }) && lengths.get(item.node.path.as_path()) == Some(&&item.node.kind);
    let digests: Mutex<Vec<(usize, Digest)>> = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    crate::archive::on_all_cores(|| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return Ok(()) };
            if item.digest.is_some() || !same_length(item) {
                continue;
            }
            let full = site.base().join(&item.node.path);
            let file = match site.open_at(&item.node.path, OFlags::RDONLY | OFlags::NONBLOCK) {
                Ok(file) => File::from(file),
                // Gone since the walk: it has no digest, so it counts as changed.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(e) => return Err(e).named("read", &full),
            };
            let (digest, bytes) = digest::of_file(&file, &full)?;
            progress(bytes);
            digests.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((at, digest));
        }
    })?;
    for (at, digest) in digests.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        items[at].digest = Some(digest);
    }
    if let Some(scratch) = scratch {
        for (number, item) in items.iter_mut().enumerate() {
            let Some(entry) = was.get(item.node.path.as_path()) else { continue };
            let Some(digest) = entry.sqlite else { continue };
            if item.digest != entry.digest && matches!(item.node.kind, Kind::File { size } if size > 0) {
                let copy = scratch.join(format!("compare-{number}.db"));
                let copied = sqlite::back_up(&site.base().join(&item.node.path), &copy).and_then(|()| sqlite::masked_digest(&copy));
                // One that SQLite cannot read is certainly not the captured one.
                if copied.is_ok_and(|now| now == digest) {
                    item.digest = entry.digest;
                    item.node.kind = entry.node.kind.clone();
                    item.node.meta.mtime = entry.node.meta.mtime;
                }
                let _ = std::fs::remove_file(&copy);
            }
        }
    }
    Ok(items)
}

/// What no comparison is about: preserved and excluded paths, our own, and the journals of databases that the snapshot holds as copies.
#[derive(Debug)]
pub struct Aside {
    patterns: Patterns,
    journals: HashSet<PathBuf>,
}

impl Aside {
    /// For this snapshot, and for what the configuration says today beside it.
    ///
    /// # Errors
    /// [`Error::Config`] for a pattern that cannot be understood.
    pub fn new(index: &Index, more: &[String]) -> Result<Aside> {
        let all: Vec<&String> = index.head.preserve.iter().chain(&index.head.exclude).chain(more).collect();
        let patterns = Patterns::new(&all).map_err(Error::Config)?;
        let journals = index.entries.iter().filter(|e| e.sqlite.is_some()).flat_map(|e| sqlite::companions(&e.node.path)).collect();
        Ok(Aside { patterns, journals })
    }

    /// Whether this path stands aside.
    pub fn covers(&self, path: &Path) -> bool {
        self.patterns.cover(path) || self.journals.contains(path) || is_ours(path)
    }

    /// Whether this path itself is preserved or excluded, with everything below it.
    pub fn is_carried(&self, path: &Path) -> bool {
        self.patterns.match_path(path)
    }
}
