//! Roots that are symbolic links to a generation, a tree beside others: a new generation is made beside the one that is live, and what
//! changes places is the link. A generation that somebody else has made is never removed.

use super::journal::{Journal, Object, Place};
use super::safety::has_tree;
use super::swap::{self, Side};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::RecordPath;
use crate::scope::{OURS, Site};
use crate::store::id6;
use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// What a generation of ours is called: the name of the one that it was made beside, this, and the restore's last characters.
const MARK: &str = ".eco-";

/// A root that is a link, and what it leads to before and after, as absolute paths without any link in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pointer {
    #[serde(flatten)]
    path: RecordPath,
    old: RecordPath,
    new: RecordPath,
}

impl Pointer {
    pub(super) fn new(path: &Path, old: &Path, new: &Path) -> Pointer {
        Pointer { path: RecordPath::new(path), old: RecordPath::new(old), new: RecordPath::new(new) }
    }

    /// The root, relative to the ecosystem's.
    pub(super) fn path(&self) -> PathBuf {
        self.path.to_path()
    }

    /// The generation that is live before.
    pub(super) fn old(&self) -> PathBuf {
        self.old.to_path()
    }

    /// The one that is live after.
    pub(super) fn new_one(&self) -> PathBuf {
        self.new.to_path()
    }

    /// Where a path of this root lies on the side that goes, and on the one that comes; `None` if it is in another root.
    pub(super) fn sides(&self, path: &Path, side: Side) -> Option<(PathBuf, PathBuf)> {
        let below = path.strip_prefix(self.path()).ok()?;
        let within = |generation: PathBuf| if below.as_os_str().is_empty() { generation } else { generation.join(below) };
        let (old, new) = (within(self.old()), within(self.new_one()));
        Some(if side == Side::New { (old, new) } else { (new, old) })
    }
}

impl Journal {
    /// Where a path lies once the trees have changed places to this side: on the other side, and live.
    pub(super) fn sides(&self, root: &Path, path: &Path, side: Side) -> (PathBuf, PathBuf) {
        let pointed = self.pointers.iter().find_map(|pointer| pointer.sides(path, side));
        pointed.unwrap_or_else(|| (self.aside(root, path), root.join(path)))
    }

    /// Whether every path outside of the tree is one that a transaction makes: recovery removes what is there.
    pub(super) fn leads_to_generations(&self) -> bool {
        let end = format!("{MARK}{}", id6(&self.folder));
        let plain = |path: &Path| path.is_absolute() && !path.as_os_str().as_bytes().split(|byte| *byte == b'/').any(|name| name == b"..");
        let ours = |path: PathBuf| plain(&path) && path.file_name().is_some_and(|name| name.as_bytes().ends_with(end.as_bytes()));
        self.made.iter().map(RecordPath::to_path).chain(self.places.iter().filter_map(Place::folder)).all(ours)
            && self.pointers.iter().all(|pointer| plain(&pointer.old()) && plain(&pointer.new_one()))
    }
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode as _) == FileType::Symlink
}

/// Notes in a new journal which roots are links, where their new generations will be, and where those are staged: beside them, closed
/// to others. Nothing is written.
///
/// # Errors
/// [`Error::Refused`] saying why such a root cannot be rolled back.
pub(super) fn find(root: &Path, journal: &mut Journal) -> Result<()> {
    let roots: Vec<PathBuf> = journal.roots.iter().map(RecordPath::to_path).collect();
    for path in &roots {
        let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        for folder in above.map(|above| root.join(above)) {
            if disk::stat(&folder)?.as_ref().is_some_and(is_link) {
                let why = format!("{} lies behind a symbolic link, {}: only a root itself may be one", root.join(path).display(), folder.display());
                return Err(Error::Refused(why));
            }
        }
    }
    let links: Vec<&PathBuf> = roots.iter().filter(|path| matches!(disk::stat(&root.join(path)), Ok(Some(stat)) if is_link(&stat))).collect();
    if !links.is_empty() {
        // It knows what a link may not lead to.
        Site::open(root, &roots).map_err(|e| Error::Refused(e.to_string()))?;
    }
    for path in links {
        let live = root.join(path);
        let old = fs::canonicalize(&live).named("follow the link", &live)?;
        let beside = disk::parent(&old);
        let refuse = |why: &str| Err(Error::Refused(format!("{} leads to {}, {why}", live.display(), old.display())));
        let (here, there) = (fs::metadata(&old).named("look at", &old)?, fs::metadata(beside).named("look at", beside)?);
        if here.dev() != there.dev() || disk::is_mount_point(&old)? {
            return refuse("which is a mount point: a new generation beside it would lie on another filesystem");
        }
        if !disk::mounts_below(&old).is_empty() {
            return refuse("which has a mount point inside: that cannot be taken along to a new generation");
        }
        let mut name = first_name(old.file_name().unwrap_or_default());
        name.push(format!("{MARK}{}", id6(&journal.folder)));
        let (new, staged) = (beside.join(&name), beside.join([OsStr::new("."), &name].into_iter().collect::<OsString>()));
        if let Some(taken) = [&new, &staged].into_iter().find(|path| fs::symlink_metadata(path).is_ok()) {
            return Err(Error::Refused(format!("{} is there already", taken.display())));
        }
        journal.pointers.push(Pointer::new(path, &old, &new));
        journal.made.push(RecordPath::new(&new));
        journal.places.push(Place::elsewhere(path, &staged));
    }
    Ok(())
}

/// The name of the generation that somebody else has made, from which ours have theirs.
fn first_name(name: &OsStr) -> OsString {
    let bytes = name.as_bytes();
    let ours = bytes.len().checked_sub(MARK.len() + 6).filter(|at| *at > 0 && bytes[*at..].starts_with(MARK.as_bytes()));
    OsString::from_vec(bytes[..ours.unwrap_or(bytes.len())].to_vec())
}

/// Whether what is preserved can be renamed from one generation to the other, asked once there is a folder to stage in.
///
/// # Errors
/// [`Error::Refused`].
pub(super) fn try_carry(root: &Path, journal: &Journal) -> Result<()> {
    for pointer in &journal.pointers {
        let carries = journal.carry_from.iter().any(|folder| folder.to_path().starts_with(pointer.path()));
        if carries && disk::is_movable(&pointer.old(), &journal.folder_in(root, &pointer.path())) != Ok(true) {
            let (old, live) = (pointer.old(), root.join(pointer.path()));
            let why = format!("{}, which {} leads to, cannot be moved: what is preserved would be left behind", old.display(), live.display());
            return Err(Error::Refused(why));
        }
    }
    Ok(())
}

/// Whether each link still leads to what it did when the transaction began.
///
/// # Errors
/// [`Error::Refused`] naming one that somebody else has changed.
pub(super) fn check(root: &Path, journal: &Journal) -> Result<()> {
    let changed = |pointer: &&Pointer| !fs::canonicalize(root.join(pointer.path())).is_ok_and(|target| target == pointer.old());
    match journal.pointers.iter().find(changed) {
        Some(pointer) => Err(Error::Refused(format!("{} leads elsewhere by now: somebody else has changed it", root.join(pointer.path()).display()))),
        None => Ok(()),
    }
}

/// Staged generations are complete, checked and durable: they get their names, and the links to them are staged.
///
/// # Errors
/// [`Error::Refused`] as [`check`]; [`Error::Path`].
pub(super) fn settle(root: &Path, journal: &mut Journal) -> Result<()> {
    check(root, journal)?;
    for pointer in &journal.pointers {
        let (path, new) = (pointer.path(), pointer.new_one());
        let staged = journal.aside(root, &path);
        // Even where the snapshot has no such root, what is carried over needs its folders.
        let folders = journal.carry_from.iter().map(RecordPath::to_path).filter(|folder| folder.starts_with(&path) && root.join(folder).is_dir());
        if Object::at(&staged)?.is_none() {
            folders.map(|folder| (root.join(&folder), journal.aside(root, &folder))).try_for_each(|(from, to)| swap::make_like(&from, &to))?;
        }
        if Object::at(&staged)?.is_none() {
            continue;
        }
        let (live, link) = (root.join(&path), journal.folder(root).join("tree").join(&path));
        let beside = disk::parent(&new);
        disk::keeping_times([beside], || disk::rename_to_free(&staged, &new)).named("name the new generation", &new)?;
        disk::create_dirs(disk::parent(&link))?;
        symlink(text(&live, pointer)?, &link).named("create the link", &link)?;
        let like = fs::symlink_metadata(&live).named("look at", &live)?;
        // Whose a link is decides nothing but who may replace it in a shared folder, and not everybody can give it away.
        let _ = lchown(&link, Some(like.uid()), Some(like.gid()));
        disk::claim(&live).named("copy to the upper layer", &live)?;
        disk::sync_dirs([beside, disk::parent(&link)])?;
    }
    for staging in journal.places.iter().filter_map(Place::folder) {
        disk::keeping_times([disk::parent(&staging)], || disk::remove_tree(&staging))?;
    }
    journal.places.retain(|place| place.folder().is_none());
    journal.pointers.retain(|pointer| fs::symlink_metadata(pointer.new_one()).is_ok());
    Ok(())
}

/// What the link to the new generation says: the same as the old one but for the last name, unless that is a link too.
fn text(live: &Path, pointer: &Pointer) -> Result<PathBuf> {
    let (old, new) = (pointer.old(), pointer.new_one());
    let said = fs::read_link(live).named("read the link", live)?;
    let here = disk::parent(live);
    let above = fs::canonicalize(here.join(disk::parent(&said))).named("follow the link", live)?;
    if Some(above.as_path()) == old.parent() && said.file_name() == old.file_name() {
        return Ok(said.with_file_name(new.file_name().unwrap_or_default()));
    }
    if said.is_absolute() {
        return Ok(new);
    }
    let here = fs::canonicalize(here).named("look at", here)?;
    let shared = here.components().zip(new.components()).take_while(|(a, b)| a == b).count();
    let up = here.components().skip(shared).map(|_| std::path::Component::ParentDir);
    Ok(up.chain(new.components().skip(shared)).collect())
}

/// Notes in the journal of an undo what the links lead to.
///
/// # Errors
/// [`Error::Refused`] where there is a link on one side and something else on the other, or where nothing can be carried between the two.
pub(super) fn find_again(root: &Path, journal: &mut Journal) -> Result<()> {
    for path in journal.roots.iter().map(RecordPath::to_path) {
        let (live, aside) = (root.join(&path), journal.aside(root, &path));
        let (Some(is), Some(was)) = (disk::stat(&live)?, disk::stat(&aside)?) else { continue };
        if !is_link(&is) && !is_link(&was) {
            continue;
        }
        let refuse = |why: &str| Error::Refused(format!("{}: {why}", live.display()));
        if !(is_link(&is) && is_link(&was)) {
            return Err(refuse("it is a symbolic link on one side of the rollback only: somebody else has replaced it since"));
        }
        let said = fs::read_link(&aside).named("read the link", &aside)?;
        let (old, new) = (fs::canonicalize(&live), fs::canonicalize(disk::parent(&live).join(said)));
        let (Ok(old), Ok(new)) = (old, new) else { return Err(refuse("what it leads to, or led to before, is not there any more")) };
        if fs::metadata(&old).named("look at", &old)?.dev() != fs::metadata(&new).named("look at", &new)?.dev() {
            return Err(refuse("its two generations lie on different filesystems: what is preserved cannot be moved"));
        }
        journal.pointers.push(Pointer::new(&path, &old, &new));
    }
    Ok(())
}

/// Whether a root leads to this generation now, or would after an undo.
pub(super) fn is_needed(root: &Path, note: &Journal, generation: &Path) -> bool {
    let live = |path: &RecordPath| fs::canonicalize(root.join(path.to_path())).is_ok_and(|target| target == generation);
    let folders = fs::read_dir(root.join(OURS)).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let mut others = folders.map(|folder| Journal::read(&folder.join("undo")));
    // Of a note that cannot be read nobody knows what it needs.
    note.roots.iter().any(live)
        || others.any(|other| match other {
            Ok(Some(other)) => has_tree(root, &other) && other.pointers.iter().any(|pointer| pointer.old() == generation),
            Ok(None) => false,
            Err(_) => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_have_the_name_of_the_one_that_somebody_else_has_made() {
        let named = |name: &str| first_name(OsStr::new(name)).into_string().unwrap();
        assert_eq!(
            ["data", "data.eco-0a1b2c", ".eco-0a1b2c", "x.eco-0a1b2c.eco-0a1b2d", "data.eco-1"].map(named),
            ["data", "data", ".eco-0a1b2c", "x.eco-0a1b2c", "data.eco-1"]
        );
    }

    #[test]
    fn a_new_link_is_written_like_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(base.join("srv/releases/7/data")).unwrap();
        symlink("releases/7", base.join("srv/current")).unwrap();
        symlink("7/data", base.join("srv/releases/newest")).unwrap();
        symlink("srv", base.join("also")).unwrap();
        let old = base.join("srv/releases/7/data");
        let pointer = Pointer::new(Path::new("data"), &old, &old.with_file_name("data.eco-x"));
        let new = |said: &Path| {
            let live = base.join("also/data");
            let _ = fs::remove_file(&live);
            symlink(said, &live).unwrap();
            text(&live, &pointer).unwrap()
        };
        for (said, text) in [
            ("releases/7/data", "releases/7/data.eco-x"),
            ("./releases/7/data/", "./releases/7/data.eco-x"),
            ("current/data", "current/data.eco-x"),
            ("releases/newest", "releases/7/data.eco-x"),
            ("../srv/releases/newest", "releases/7/data.eco-x"),
        ] {
            assert_eq!(new(Path::new(said)), Path::new(text), "{said}");
        }
        assert_eq!(new(&base.join("also/releases/7/data")), base.join("also/releases/7/data.eco-x"));
        assert_eq!(new(&base.join("also/releases/newest")), base.join("srv/releases/7/data.eco-x"));
    }
}
