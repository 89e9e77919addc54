//! The rehearsal: a whole snapshot is restored into a folder of its own, read back from the disk and compared with its index. It
//! finds what no look at the archive can: what the unpacker and the disk make of it.

use super::Seal;
use super::verify::leave_verdict;
use crate::archive::{Archive, Content, Foreign, Index, extract};
use crate::compare;
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::plan::{self, Item};
use crate::record::{Damage, Difference, RecordPath, Verification};
use crate::scope::is_ours;
use crate::time::Timestamp;
use crate::tree::Kind;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Set-user and set-group: the kernel takes them from a file whose owner cannot be set.
const SET_IDS: u32 = 0o6000;

/// Restores the archive at `path`, whose data `found` says to be right, into the empty folder `into`, compares, and removes what it
/// wrote. The verdict is left beside the archive, as by [`super::verify`]. Never fails: `found` has what could not be found out.
///
/// # Errors
/// [`Error::Path`] when the verdict could not be left beside the archive.
pub fn rehearse(
    path: &Path,
    found: &mut Verification,
    into: &Path,
    now: Timestamp,
    progress: &(dyn Fn(u64) + Sync),
    stop: &AtomicBool,
) -> Result<()> {
    found.depth = "restored".into();
    let done = restore(path, found, into, progress, stop);
    if let Err(e) = clear(into) {
        found.warnings.push(format!("what was restored could not be removed: {e}"));
    }
    let promise = match done {
        Ok(promise) => promise,
        Err(Error::Archive { why, .. }) => {
            found.damage.push(damage(&RecordPath::new("<stream>"), why));
            let length = std::fs::metadata(path).map_or(0, |about| about.len());
            Seal::read(path, length).map(|seal| (length, seal.sha256_toc))
        }
        Err(e) => {
            (found.ok, found.error) = (None, Some(e.to_string()));
            return Ok(());
        }
    };
    found.ok = Some(found.damage.is_empty());
    promise.map_or(Ok(()), |(length, promise)| leave_verdict(found, path, length, &promise, now))
}

fn damage(path: &RecordPath, why: String) -> Damage {
    Damage { path: path.clone(), what: "restored".into(), why: Some(why) }
}

/// The folder itself is somebody else's to remove; what we wrote may be closed even to its owner.
fn clear(into: &Path) -> Result<()> {
    for entry in std::fs::read_dir(into).named("list", into)? {
        disk::remove_tree(&entry.named("list", into)?.path())?;
    }
    Ok(())
}

/// The archive's length and the index digest that was promised for it, where it has an index.
fn restore(path: &Path, found: &mut Verification, into: &Path, progress: &(dyn Fn(u64) + Sync), stop: &AtomicBool) -> Result<Option<(u64, String)>> {
    let ours = match Archive::open(path)? {
        Some(archive) if archive.head()?.is_some() => Some(archive),
        _ => None,
    };
    if let Some(archive) = ours {
        let (index, digest) = archive.whole()?;
        let promise = Seal::read(path, archive.length()).map_or_else(|| digest.to_string(), |seal| seal.sha256_toc);
        if promise != digest.to_string() {
            return Err(Error::archive(path, "its index has changed since it was read"));
        }
        carry_out(Content::Seekable(&archive), &index, found, into, progress, stop)?;
        return Ok(Some((archive.length(), promise)));
    }
    let mut foreign = Foreign::open(path, progress)?;
    if let Some(first) = foreign.damage.first() {
        return Err(Error::archive(path, format!("it has changed since it was read: {}", first.path.path)));
    }
    let index = foreign.whole();
    carry_out(Content::Stream(&foreign), &index, found, into, progress, stop)?;
    Ok(None)
}

fn carry_out(
    from: Content<'_>,
    index: &Index,
    found: &mut Verification,
    into: &Path,
    progress: &(dyn Fn(u64) + Sync),
    stop: &AtomicBool,
) -> Result<()> {
    let everything: Vec<usize> = (0..index.entries.len()).collect();
    let bytes = index.entries.iter().map(|entry| entry.node.kind.size()).sum();
    if let Some(missing) = disk::room(into, (bytes, everything.len() as u64))? {
        return Err(Error::Other(format!("no room to restore it: {missing}; --scratch names another folder")));
    }
    let lost = extract(from, index, &everything, into, None, progress, stop)?.lost;
    let tops: BTreeSet<&Path> = index.entries.iter().filter_map(|entry| entry.node.path.iter().next()).map(Path::new).collect();
    let tops: Vec<PathBuf> = tops.into_iter().map(Path::to_owned).collect();
    let mut was = compare::items_of(index, &tops);
    let is = compare::read_back(into, index, &tops, progress)?;
    excuse(&mut was, &is, lost, &mut found.warnings);
    // An archive need not list the folders that its entries lie in; ours alone is never walked.
    let mut unlisted: BTreeSet<&Path> = BTreeSet::new();
    for entry in &index.entries {
        // Where one is known, those above it are too.
        entry.node.path.ancestors().skip(1).take_while(|above| unlisted.insert(above)).for_each(drop);
    }
    let differences = plan::compare("", &was, &is, is_ours).differences;
    let real = differences.iter().filter(|d| !(d.what == "created" && unlisted.contains(d.path.to_path().as_path())));
    found.damage.extend(real.map(|d| damage(&d.path, in_words(d))));
    Ok(())
}

fn in_words(difference: &Difference) -> String {
    match difference.what.as_str() {
        "deleted" => "it is in the snapshot and was not restored".into(),
        "created" => "it was restored and is not in the snapshot".into(),
        "content" => "the restored content is not what was captured".into(),
        "kind" => "something of another kind was restored".into(),
        _ => format!("the restored metadata differ: {}", difference.details.join(", ")),
    }
}

/// What only root can set, and what this filesystem does not know, says nothing about the snapshot: it is not expected, and a
/// warning says of how much.
fn excuse(was: &mut Vec<Item>, is: &[Item], lost: Vec<(PathBuf, String)>, warnings: &mut Vec<String>) {
    let mut why: HashMap<PathBuf, String> = HashMap::new();
    for (path, reason) in lost {
        why.entry(path).or_insert(reason);
    }
    let restored: HashMap<&Path, &Item> = is.iter().map(|item| (item.node.path.as_path(), item)).collect();
    // The other names of a file share what was set, and what was not, through one of them.
    let group = |item: &Item| match &item.node.kind {
        Kind::Hardlink { target } => target.clone(),
        _ => item.node.path.clone(),
    };
    let hit: BTreeSet<PathBuf> = is.iter().filter(|item| why.contains_key(&item.node.path)).map(group).collect();
    let (mut owners, mut attributes, mut devices) = (0, 0, 0);
    was.retain_mut(|item| {
        let Some(is) = restored.get(item.node.path.as_path()) else {
            let device = why.contains_key(&item.node.path) && matches!(item.node.kind, Kind::Char { .. } | Kind::Block { .. });
            devices += u64::from(device);
            return !device;
        };
        if !hit.contains(&group(is)) {
            return true;
        }
        let (was, is) = (&mut item.node.meta, &is.node.meta);
        if (was.uid, was.gid) != (is.uid, is.gid) {
            (was.uid, was.gid, was.user, was.group) = (is.uid, is.gid, is.user.clone(), is.group.clone());
            was.mode &= is.mode | !SET_IDS;
            owners += 1;
        }
        let before = was.xattrs.len();
        was.xattrs.retain(|(name, _)| is.xattrs.iter().any(|(set, _)| set == name));
        attributes += u64::from(was.xattrs.len() < before);
        true
    });
    let example = why.values().find(|reason| reason.starts_with("attribute")).map_or(String::new(), |reason| format!(" ({reason})"));
    for (number, what) in [
        (owners, "entries were restored as yours, because only root can give them to their owners".to_owned()),
        (devices, "devices were not restored, because only root can create them".to_owned()),
        (attributes, format!("entries were restored without all of their attributes{example}")),
    ] {
        if number > 0 {
            warnings.push(format!("{number} {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Meta, Node};

    fn item(path: &str, mode: u32, uid: u32, attributes: &[&str]) -> Item {
        let xattrs = attributes.iter().map(|name| (name.as_bytes().to_vec(), b"x".to_vec())).collect();
        Item { node: Node { path: path.into(), kind: Kind::Fifo, meta: Meta { mode, uid, xattrs, ..Meta::default() } }, digest: None }
    }

    #[test]
    fn what_could_not_be_set_is_excused_and_nothing_else() {
        let mut was = vec![item("a", 0o2750, 7, &["user.a", "security.b"]), item("b", 0o750, 7, &[]), item("c", 0o4755, 7, &["user.a"])];
        let is = [item("a", 0o750, 1000, &["user.a"]), item("b", 0o700, 1000, &[]), item("c", 0o755, 7, &[])];
        let lost = vec![("a".into(), "owner 7:0, which only root can set".into()), ("b".into(), "owner 7:0".into())];
        let mut warnings = Vec::new();
        excuse(&mut was, &is, lost, &mut warnings);
        let left = plan::compare("", &was, &is, |_| false).differences;
        let left: Vec<String> = left.iter().map(|d| format!("{} {}", d.path.path, d.details.join(","))).collect();
        assert_eq!(left, ["b mode", "c mode,xattrs"]);
        assert!(warnings.len() == 2 && warnings[0].starts_with("2 entries were restored as yours"), "{warnings:?}");
    }
}
