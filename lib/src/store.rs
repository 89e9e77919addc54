//! A folder of archives: what is in it, which one a word means, and the verdict that lies beside each. An archive is described by
//! itself; its name and its file times mean nothing.

mod between;
mod changes;
mod live;
mod pin;
mod prune;
mod rehearse;
mod take;
mod verify;

pub use between::{Between, compare_stored};
pub use changes::{Changes, find_changes};
pub use live::{compare_live, entries, read_index};
pub use pin::{pin, unpin};
pub use prune::{Candidate, Pruned, Pruning};
pub use rehearse::rehearse;
pub use take::{Mode, Quiet, Taken, Taking, take};
pub use verify::{Depth, Meter, verify};

use crate::archive::{Archive, Base, Head, file_stem, find_base, lacks};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::{RecordPath, Scope, Snapshot, Stamp};
use crate::scope::covers;
use crate::time::{Timestamp, compact};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a verification leaves beside an archive: the file name with `.verified` behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    /// When it was verified.
    pub time: Timestamp,
    /// How deep.
    pub depth: String,
    /// With which result.
    pub ok: bool,
    /// SHA-256 of the index, which names every byte of the content.
    pub sha256_toc: String,
    /// The archive's length then.
    pub archive_bytes: u64,
    /// When all of it was last restored and compared; nothing was found wrong since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Timestamp>,
}

impl Seal {
    fn path(archive: &Path) -> PathBuf {
        let mut name = OsString::from(archive);
        name.push(".verified");
        name.into()
    }

    /// The verdict beside an archive, if there is one that is about an archive of this length.
    pub fn read(archive: &Path, length: u64) -> Option<Seal> {
        let text = fs::read(Seal::path(archive)).ok()?;
        serde_json::from_slice(&text).ok().filter(|seal: &Seal| seal.archive_bytes == length)
    }

    /// Leaves the verdict beside the archive.
    ///
    /// # Errors
    /// [`Error::Path`] when the store cannot be written.
    pub fn write(&self, archive: &Path) -> Result<()> {
        // Strings and numbers only: this cannot fail.
        let text = serde_json::to_vec(self).expect("a seal serializes");
        disk::replace(&Seal::path(archive), &text, 0o600)
    }
}

/// One snapshot in the store.
#[derive(Clone, Debug)]
pub struct Stored {
    /// When it was taken, of which ecosystem, on which host, as it says itself.
    pub stamp: Stamp,
    /// Its record.
    pub snapshot: Snapshot,
    /// The archive.
    pub path: PathBuf,
    /// Of a differential one whose base is missing, damaged or another one, as far as the verdict beside that says: what that means.
    pub lacks: Option<String>,
}

impl Stored {
    /// Describes the archive at `path`.
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be read, [`Error::Archive`] when it is damaged or none.
    pub fn open(path: &Path) -> Result<Stored> {
        Stored::from(Archive::open(path)?, path)
    }

    /// The same of a file that is open and locked already.
    fn held(file: fs::File, path: &Path) -> Result<Stored> {
        Stored::from(Archive::of(file, path)?, path)
    }

    fn from(archive: Option<Archive>, path: &Path) -> Result<Stored> {
        let head = archive.as_ref().map(Archive::head).transpose()?.flatten();
        match (archive, head) {
            (Some(archive), Some(head)) => Ok(Stored::describe(head, path, archive.length())),
            _ => Stored::legacy(path),
        }
    }

    /// The record of an archive that describes itself.
    pub fn describe(head: Head, path: &Path, length: u64) -> Stored {
        let seal = Seal::read(path, length);
        let base = head.base.as_ref().map(|base| (base, find_base(path, base)));
        // It is worth no more than what it builds on.
        let (base_is_sound, lacks) = match base {
            None => (true, None),
            Some((base, None)) => (false, Some(lacks(base))),
            Some((base, Some(path))) => check_base(base, &path),
        };
        let mut snapshot = head.snapshot;
        snapshot.path = Some(RecordPath::new(path));
        snapshot.archive_bytes = Some(length);
        snapshot.sha256_toc = seal.as_ref().map(|seal| seal.sha256_toc.clone());
        snapshot.verified = Some(seal.as_ref().is_some_and(|seal| seal.ok) && base_is_sound);
        snapshot.verified_at = seal.as_ref().map(|seal| seal.time);
        snapshot.restored_at = seal.as_ref().and_then(|seal| seal.restored);
        snapshot.verified_depth = seal.map(|seal| seal.depth);
        snapshot.good = Some(snapshot.health.as_deref() == Some("ok") && snapshot.verified == Some(true));
        snapshot.pinned = pin::is_pinned(path).then_some(true);
        Stored { stamp: Stamp { time: head.time, ecosystem: Some(head.ecosystem), host: head.host }, snapshot, path: path.to_owned(), lacks }
    }

    /// One of another format: all that can be said without reading it to its end is the time of its first entry.
    fn legacy(path: &Path) -> Result<Stored> {
        let file = fs::File::open(path).named("read", path)?;
        let length = file.metadata().named("look at", path)?.len();
        let mut start = [0; 2];
        let packed = (&file).read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
        let file = fs::File::open(path).named("read", path)?;
        let stream: Box<dyn Read> = if packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
        // Far enough for the headers of one entry, and not for a bomb.
        let mut archive = tar::Archive::new(stream.take(4 << 20));
        let first = archive.entries().and_then(|mut entries| entries.next().transpose());
        let first = first.ok().flatten().ok_or_else(|| Error::archive(path, "not an archive that can be read"))?;
        let seconds = first.header().mtime().unwrap_or(0) as i64;
        let snapshot = Snapshot {
            id: file_stem(path),
            mode: Some("full".into()),
            path: Some(RecordPath::new(path)),
            archive_bytes: Some(length),
            good: Some(false),
            verified: Some(false),
            legacy: Some(true),
            pinned: pin::is_pinned(path).then_some(true),
            ..Snapshot::default()
        };
        let time = Timestamp::from_second(seconds).unwrap_or_default();
        Ok(Stored { stamp: Stamp { time, ..Stamp::default() }, snapshot, path: path.to_owned(), lacks: None })
    }

    /// The last six characters of its id, by which people know it.
    pub fn id6(&self) -> &str {
        id6(&self.snapshot.id)
    }

    fn is_legacy(&self) -> bool {
        self.snapshot.legacy == Some(true)
    }

    fn is_kind(&self, kind: &str) -> bool {
        self.snapshot.kind.as_deref() == Some(kind)
    }
}

/// Whether the archive at `path` was verified as the base that this names; and if there is a reason to think that it is not that base,
/// or not whole, which one. Only verdicts are read.
fn check_base(base: &Base, path: &Path) -> (bool, Option<String>) {
    let length = fs::metadata(path).map(|meta| meta.len()).unwrap_or_default();
    let why = match Seal::read(path, length) {
        Some(seal) if seal.sha256_toc != base.sha256_toc => "is another archive than the one that it was made from",
        Some(seal) if !seal.ok => "was found damaged",
        Some(_) => return (true, None),
        None if Seal::path(path).exists() => "has another length than when it was verified",
        // Nobody has looked yet.
        None => return (false, None),
    };
    let (id, file) = (&base.id, path.display());
    (false, Some(format!("it is differential and its base {id} ({file}) {why}: what it needs of that cannot be restored, or may be wrong")))
}

/// The last six characters of an id: its random tail.
pub fn id6(id: &str) -> &str {
    id.char_indices().rev().nth(5).map_or(id, |(at, _)| &id[at..])
}

/// Whether a selector is the path of an archive, for which no store is needed.
pub fn is_path(selector: &str) -> bool {
    selector.contains('/') || [".tar.gz", ".tgz", ".tar"].iter().any(|end| selector.ends_with(end))
}

/// A folder of archives, for one ecosystem.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    name: String,
    now: Timestamp,
}

/// Clocks differ, but not by more: what was taken later than this from now was taken by a clock that is wrong.
const AHEAD: Duration = Duration::from_secs(3600);

/// What is in a store.
#[derive(Debug, Default)]
pub struct Listing {
    /// Newest first.
    pub snapshots: Vec<Stored>,
    /// Archives that could not be described, and why.
    pub unreadable: Vec<Error>,
}

impl Store {
    /// The store in `folder`, for the ecosystem `name`, as it is looked at `now`.
    pub fn new(folder: &Path, name: &str, now: Timestamp) -> Store {
        Store { folder: folder.to_owned(), name: name.to_owned(), now }
    }

    /// Whether a snapshot was taken in the future: it would be the latest one until then, so it never is.
    pub fn is_ahead(&self, stored: &Stored) -> bool {
        self.now.saturating_add(AHEAD).is_ok_and(|latest| stored.stamp.time > latest)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every snapshot of this ecosystem, and archives that name none, newest first. A store that is not there yet is empty.
    ///
    /// # Errors
    /// [`Error::Path`] when the folder cannot be listed.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        for path in self.archives()? {
            match Stored::open(&path) {
                Ok(stored) if stored.stamp.ecosystem.as_deref().is_none_or(|name| name == self.name) => listing.snapshots.push(stored),
                Ok(_) => {}
                // Somebody is removing it, or has meanwhile.
                Err(Error::Locked(_)) => {}
                Err(Error::Path { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => listing.unreadable.push(e),
            }
        }
        listing.snapshots.sort_by(|a, b| (b.stamp.time, &b.snapshot.id).cmp(&(a.stamp.time, &a.snapshot.id)));
        Ok(listing)
    }

    /// Archives in the store and one folder below; hidden names are unfinished work.
    fn archives(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![(self.folder.clone(), true)];
        while let Some((folder, deeper)) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.named("list", &folder)?,
            };
            for entry in entries {
                let entry = entry.named("list", &folder)?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let kind = entry.file_type().named("look at", entry.path())?;
                if name.starts_with('.') {
                    continue;
                }
                if kind.is_dir() && deeper {
                    folders.push((entry.path(), false));
                } else if kind.is_file() && [".tar.gz", ".tgz", ".tar"].iter().any(|end| name.ends_with(end)) {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The snapshot that a selector means: an id, its beginning or its last characters; `latest`, `latest-good`, `latest:KIND`; or
    /// the path of an archive.
    ///
    /// # Errors
    /// [`Error::NoMatch`] when nothing fits, [`Error::Usage`] when several do; for a path what [`Stored::open`] says.
    pub fn select(&self, selector: &str) -> Result<Stored> {
        if is_path(selector) {
            return Stored::open(Path::new(selector));
        }
        let all = self.list()?.snapshots;
        let newest = |fits: &dyn Fn(&Stored) -> bool| all.iter().find(|s| fits(s) && !self.is_ahead(s)).cloned();
        let found = match selector.split_once(':') {
            Some(("latest", kind)) => newest(&|s| s.is_kind(kind)),
            None if selector == "latest" => newest(&|s| !s.is_kind("safety") && !s.is_legacy()),
            None if selector == "latest-good" => newest(&|s| !s.is_kind("safety") && s.snapshot.good == Some(true)),
            _ => {
                let fits: Vec<&Stored> = match all.iter().find(|s| s.snapshot.id == selector) {
                    Some(exact) => vec![exact],
                    None if selector.len() >= 4 => {
                        all.iter().filter(|s| s.snapshot.id.starts_with(selector) || s.snapshot.id.ends_with(selector)).collect()
                    }
                    None => Vec::new(),
                };
                if fits.len() > 1 {
                    let ids: Vec<&str> = fits.iter().take(4).map(|s| s.snapshot.id.as_str()).collect();
                    return Err(Error::Usage(format!("'{}' fits {} snapshots: {} …", selector.escape_debug(), fits.len(), ids.join(", "))));
                }
                fits.first().map(|s| (*s).clone())
            }
        };
        found.ok_or_else(|| {
            let what = if all.is_empty() { "it is empty" } else { "eco-ls shows what is there" };
            Error::NoMatch(format!("no snapshot '{}' of {} in {}: {what}", selector.escape_debug(), self.name, self.folder.display()))
        })
    }

    /// The newest good snapshot at or before `cut` that covers the scopes and is not among those that failed before.
    ///
    /// # Errors
    /// [`Error::Path`] when the store cannot be listed.
    pub fn newest_good(&self, scopes: &[Scope], cut: Timestamp, failed: &[String]) -> Result<Option<Stored>> {
        let all = self.list()?.snapshots;
        Ok(all.into_iter().find(|s| {
            s.snapshot.good == Some(true)
                && !self.is_ahead(s)
                && !s.is_kind("safety")
                && s.stamp.time <= cut
                && scopes.iter().all(|scope| covers(&s.snapshot.covers, scope))
                && !failed.contains(&s.snapshot.id)
        }))
    }

    /// Where a new archive of this kind belongs. Its name starts with the ecosystem's, as the old procedures' globs expect.
    fn place(&self, kind: &str, time: Timestamp, id: &str) -> (PathBuf, String) {
        let stem = format!("{}-{kind}-{}-{}", self.name, compact(time), id6(id));
        (self.folder.join(format!("{}-{kind}", self.name)), stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_by_its_last_six_characters() {
        assert_eq!(id6("019ca8f1-5a40-7d21-9c3e-0f4b6d2a91b7"), "2a91b7");
        assert_eq!(id6("p2"), "p2");
    }

    #[test]
    fn a_seal_counts_only_for_an_archive_of_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar.gz");
        let seal = Seal { depth: "data".into(), ok: true, archive_bytes: 10, ..Seal::default() };
        seal.write(&archive).unwrap();
        assert_eq!(Seal::read(&archive, 10), Some(seal));
        assert_eq!(Seal::read(&archive, 11), None);
    }
}
