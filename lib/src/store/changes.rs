//! What was changed since a snapshot though nobody said so: units whose files differ, as changes that can be blamed.
//!
//! Only what lies still until somebody changes it is evidence: the configuration and the code of modules. What is in `data` changes
//! all the time, because the service works; a difference there says nothing about a cause.

use super::Stored;
use super::live::read_index;
use crate::compare::{self, Aside, within};
use crate::digest::{self, Hasher};
use crate::error::{Error, Named, Result};
use crate::plan::{self, Item};
use crate::record::{Change, Difference, Scope};
use crate::scope::{CaptureRules, Found, Patterns, Scopes, Site, absorb, walk};
use crate::time::Timestamp;
use crate::tree::Kind;
use rustix::fs::OFlags;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// So many hex digits of a digest stand for it.
const DIGITS: usize = 12;

/// What was found.
#[derive(Debug, Default)]
pub struct Changes {
    /// One change for each unit that differs, and when it was made, as far as the files tell.
    pub found: Vec<(Timestamp, Change)>,
    /// Units that the snapshot does not hold, or not as a whole: nothing is known about them.
    pub unheld: Vec<Scope>,
}

/// Compares the units that can be blamed with a stored snapshot. A path counts if more than its modification time differs. The time
/// of a change is the newest modification, of content or metadata, of a path that differs (of one that is gone: of the folder that
/// it was in) that is not in the future; `now` where there is none. The same difference has the same id, whenever it is found.
///
/// # Errors
/// [`Error::Path`] when either cannot be read, [`Error::Archive`] when the snapshot is damaged.
pub fn find_changes(
    stored: &Stored,
    base: &Path,
    scopes: &Scopes,
    rules: &CaptureRules,
    scratch: &Path,
    now: Timestamp,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Changes> {
    let index = read_index(stored, &scopes.full())?;
    let held: Vec<PathBuf> = index.head.snapshot.roots.iter().map(PathBuf::from).collect();
    let is_held = |unit: &(Scope, Vec<PathBuf>)| unit.1.iter().all(|root| within(root, &held));
    let (units, unheld): (Vec<_>, Vec<_>) = scopes.units().into_iter().partition(is_held);
    let mut changes = Changes { unheld: unheld.into_iter().map(|(unit, _)| unit).collect(), ..Changes::default() };
    let roots = absorb(units.iter().flat_map(|(_, roots)| roots).cloned().collect());
    if roots.is_empty() {
        return Ok(changes);
    }
    let aside = Aside::new(&index, &rules.exclude.iter().chain(&rules.preserve).cloned().collect::<Vec<_>>())?;
    let site = Site::open(base, &roots)?;
    let walked = walk(&site, &roots, &Patterns::new::<&str>(&[]).map_err(Error::Config)?)?;
    let touched: HashMap<PathBuf, Option<Timestamp>> = walked.entries.iter().map(|found| (found.node.path.clone(), touched_at(found, now))).collect();
    let is = compare::items_in(&site, walked, &index, &roots, &compare::nothing_known, Some(scratch), progress)?;
    let in_data = |path: &Path| within(path, scopes.data());
    let differing = plan::compare(&stored.snapshot.id, &compare::items_of(&index, &roots), &is, |path| aside.covers(path) || in_data(path));
    let live: HashMap<&Path, &Item> = is.iter().map(|item| (item.node.path.as_path(), item)).collect();

    let mut by_unit: BTreeMap<&Scope, (Option<Timestamp>, u64, Hasher)> = BTreeMap::new();
    for difference in differing.differences.iter().filter(|difference| difference.details != ["mtime"]) {
        let path = difference.path.to_path();
        let Some(unit) = owner(&units, &path) else { continue };
        let when = path.ancestors().find_map(|path| touched.get(path).copied().flatten());
        let (newest, paths, trace) = by_unit.entry(unit).or_default();
        *newest = (*newest).max(when);
        *paths += 1;
        trace_difference(trace, &site, difference, live.get(path.as_path()).copied())?;
    }
    for (unit, (newest, paths, trace)) in by_unit {
        let what = trace.finish().to_string()[..DIGITS].to_owned();
        let change = Change {
            id: Some(format!("{}-{what}", unit.kind())),
            target: unit.to_string(),
            from: Some(stored.snapshot.id.clone()),
            to: Some(what),
            by: Some("eco-verify".into()),
            paths: Some(paths),
            ..Change::default()
        };
        changes.found.push((newest.unwrap_or(now), change));
    }
    Ok(changes)
}

/// The unit that a path belongs to: the one whose root lies deepest.
fn owner<'a>(units: &'a [(Scope, Vec<PathBuf>)], path: &Path) -> Option<&'a Scope> {
    let deepest = |roots: &[PathBuf]| roots.iter().filter(|root| path.starts_with(root)).map(|root| root.components().count()).max();
    let owners = units.iter().filter_map(|(unit, roots)| Some((deepest(roots)?, unit)));
    owners.max_by_key(|(depth, _)| *depth).map(|(_, unit)| unit)
}

/// The newest of an entry's times that has come already. That of the last change of its inode cannot be set by hand; but where the
/// clock was fixed or set back it lies in the future, and says nothing.
fn touched_at(found: &Found, now: Timestamp) -> Option<Timestamp> {
    let content = Timestamp::new(found.node.meta.mtime.seconds, found.node.meta.mtime.nanos as i32).ok();
    let inode = Timestamp::from_nanosecond(found.identity.ctime_ns.into()).ok();
    let newest = [content, inode].into_iter().flatten().filter(|time| *time <= now).max()?;
    Timestamp::from_millisecond(newest.as_millisecond()).ok()
}

/// Feeds what there is now, and how it differs; not when it was made.
fn trace_difference(trace: &mut Hasher, site: &Site, difference: &Difference, live: Option<&Item>) -> Result<()> {
    let mut field = |bytes: &[u8]| {
        trace.update(&(bytes.len() as u64).to_be_bytes());
        trace.update(bytes);
    };
    field(difference.path.to_path().as_os_str().as_bytes());
    field(difference.what.as_bytes());
    let Some(Item { node, digest }) = live else { return Ok(()) };
    field(format!("{:?}", node.kind).as_bytes());
    field(format!("{:o} {} {} {:?}", node.meta.mode, node.meta.uid, node.meta.gid, node.meta.xattrs).as_bytes());
    if let Kind::File { .. } = node.kind {
        let known = digest.map_or_else(|| content(site, &node.path), |digest| Ok(Some(digest)))?;
        field(known.map(|digest| digest.to_string()).unwrap_or_default().as_bytes());
    }
    Ok(())
}

/// The digest of a file's content; nothing where it is gone meanwhile.
fn content(site: &Site, path: &Path) -> Result<Option<crate::tree::Digest>> {
    let full = site.base().join(path);
    match site.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => Ok(Some(digest::of_file(&File::from(file), &full)?.0)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(e).named("read", &full),
    }
}
