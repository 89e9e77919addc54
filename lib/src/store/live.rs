//! A stored snapshot's entries, and the live tree beside them.

use super::Stored;
use crate::archive::{Archive, Foreign, Index};
use crate::compare::{self, Aside};
use crate::error::{Error, Result};
use crate::plan::{self, Comparison};
use crate::record::{Entry, RecordPath};
use crate::scope::{CaptureRules, Patterns, Scopes, Site, walk};
use crate::time::Timestamp;
use crate::tree::Kind;
use std::path::{Path, PathBuf};

/// The index of a stored snapshot. Of an archive in another format: what lies in the roots that are recognisable in it.
///
/// # Errors
/// [`Error::Archive`] when it is damaged, [`Error::Refused`] when it is of another format and nothing in it is recognisable.
pub fn read_index(stored: &Stored, roots: &[PathBuf]) -> Result<Index> {
    match Archive::open(&stored.path)? {
        Some(archive) if stored.snapshot.legacy != Some(true) => Ok(archive.whole()?.0),
        _ => Foreign::open(&stored.path, &|_| ())?.arrange(roots),
    }
}

/// The entries of a stored snapshot whose path `wanted` accepts, as records. An archive of another format shows the names in it.
///
/// # Errors
/// [`Error::Archive`] when it is damaged.
pub fn entries(stored: &Stored, wanted: impl Fn(&Path) -> bool) -> Result<Vec<Entry>> {
    let all = match Archive::open(&stored.path)? {
        Some(archive) if stored.snapshot.legacy != Some(true) => archive.whole()?.0.entries,
        _ => Foreign::open(&stored.path, &|_| ())?.entries().to_vec(),
    };
    let describe = |entry: crate::archive::Entry| {
        let meta = entry.node.meta;
        Entry {
            snapshot: stored.snapshot.id.clone(),
            path: RecordPath::new(&entry.node.path),
            kind: entry.node.kind.word().into(),
            size_bytes: matches!(entry.node.kind, Kind::File { .. }).then(|| entry.node.kind.size()),
            mode: format!("{:04o}", meta.mode),
            uid: meta.uid.into(),
            gid: meta.gid.into(),
            user: meta.user.as_deref().map(str::to_owned),
            group: meta.group.as_deref().map(str::to_owned),
            mtime: Timestamp::new(meta.mtime.seconds, meta.mtime.nanos as i32).unwrap_or_default(),
            link: match &entry.node.kind {
                Kind::Symlink { target } => Some(target.to_string_lossy().into_owned()),
                Kind::Hardlink { target } => Some(target.display().to_string()),
                _ => None,
            },
            digest: entry.digest.map(|digest| format!("sha256:{digest}")),
        }
    };
    Ok(all.into_iter().filter(|e| !e.node.path.as_os_str().is_empty() && wanted(&e.node.path)).map(describe).collect())
}

/// How the live tree differs from a stored snapshot, in the roots that the snapshot holds. Preserved and excluded paths are not
/// compared; databases in use are compared by content, through copies in the private folder `scratch`.
///
/// # Errors
/// [`Error::Path`] when either cannot be read, [`Error::Archive`] when the snapshot is damaged.
pub fn compare_live(
    stored: &Stored,
    base: &Path,
    scopes: &Scopes,
    rules: &CaptureRules,
    scratch: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Comparison> {
    let index = read_index(stored, &scopes.full())?;
    let roots: Vec<PathBuf> = index.head.snapshot.roots.iter().map(PathBuf::from).collect();
    let aside = Aside::new(&index, &rules.exclude.iter().chain(&rules.preserve).cloned().collect::<Vec<_>>())?;
    let site = Site::open(base, &roots)?;
    let walked = walk(&site, &roots, &Patterns::new::<&str>(&[]).map_err(Error::Config)?)?;
    let is = compare::items_in(&site, walked, &index, &roots, &compare::nothing_known, Some(scratch), progress)?;
    Ok(plan::compare(&stored.snapshot.id, &compare::items_of(&index, &roots), &is, |path| aside.covers(path)))
}
