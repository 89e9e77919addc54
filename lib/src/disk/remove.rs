//! Removing: a tree of any depth, closed folders included, and a file with the room that it makes.

use super::{LOOKUP, names, stat, way_to};
use crate::error::{Named, Result};
use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Removes a tree, links not followed; a tree that is not there is removed already.
///
/// # Errors
/// [`Error::Path`](crate::error::Error::Path); some of it may be gone.
pub fn remove_tree(path: &Path) -> Result<()> {
    let Some(found) = stat(path)? else { return Ok(()) };
    if FileType::from_raw_mode(found.st_mode as _) != FileType::Directory {
        return fs::remove_file(path).named("remove", path);
    }
    let Some(top) = open_to_empty(sys::CWD, path).named("open", path)? else { return Ok(()) };
    let mut moved = 0;
    // What lay too deep is at the top by now.
    while !names(top.as_fd(), path)?.is_empty() {
        empty(top.as_fd(), &mut Removal { top: top.as_fd(), path, moved: &mut moved }, 1)?;
    }
    match sys::rmdir(path) {
        Err(Errno::NOENT) => Ok(()),
        other => other.named("remove", path),
    }
}

/// So many folders are open at once while a tree is removed.
const DEEPEST: usize = 32;

struct Removal<'a> {
    top: BorrowedFd<'a>,
    path: &'a Path,
    moved: &'a mut u64,
}

/// Removes what is in a folder. Folders that lie deeper than [`DEEPEST`] are moved to the top of the tree instead, so that neither
/// open files nor the stack can run out.
fn empty(dir: BorrowedFd<'_>, removal: &mut Removal<'_>, depth: usize) -> Result<()> {
    for name in names(dir, removal.path)? {
        let full = || removal.path.join(&name);
        let why = match sys::unlinkat(dir, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(why) => why,
        };
        // Mostly because it is a folder; which error says so depends on the system.
        let below = match open_to_empty(dir, Path::new(&name)) {
            Ok(Some(below)) => below,
            Ok(None) => continue,
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(why).named("remove", full()),
            Err(e) => return Err(e).named("remove", full()),
        };
        if depth < DEEPEST {
            empty(below.as_fd(), removal, depth + 1)?;
        } else if !names(below.as_fd(), removal.path)?.is_empty() {
            move_up(dir, &name, removal)?;
            continue;
        }
        match sys::unlinkat(dir, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e).named("remove", full()),
        }
    }
    Ok(())
}

/// Opens a folder whose content may then be removed, even if its owner may not write it. `None` if it is gone.
fn open_to_empty(at: BorrowedFd<'_>, name: &Path) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match sys::openat(at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Through its descriptor, so that a link which takes its place meanwhile is not followed.
            let closed = sys::openat(at, name, flags | LOOKUP, Mode::empty())?;
            let way = way_to(closed.as_fd(), Path::new("")).ok_or(Errno::ACCESS)?;
            sys::chmod(way, Mode::RWXU)?;
            sys::openat(at, name, flags, Mode::empty())
        }
        other => other,
    };
    let dir = match opened {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(e),
    };
    if sys::fstat(&dir)?.st_mode as u32 & 0o700 != 0o700 {
        // Best effort: whoever may not do this may be allowed to remove all the same.
        let _ = sys::fchmod(&dir, Mode::RWXU);
    }
    Ok(Some(dir))
}

/// Moves a folder to the top of the tree that is being removed, under a name that is free there.
fn move_up(dir: BorrowedFd<'_>, name: &OsStr, removal: &mut Removal<'_>) -> Result<()> {
    loop {
        *removal.moved += 1;
        match sys::renameat(dir, name, removal.top, format!("{}.removed", removal.moved)) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(e) => return Err(e).named("remove", removal.path.join(name)),
        }
    }
}

/// Removes a file. The room that this made, in bytes: none where the file has another name.
///
/// # Errors
/// [`Error::Path`](crate::error::Error::Path); one that is not there is one.
pub fn remove_file(path: &Path) -> Result<u64> {
    let found = sys::lstat(path).named("remove", path)?;
    fs::remove_file(path).named("remove", path)?;
    Ok(if found.st_nlink > 1 { 0 } else { (found.st_blocks as u64).saturating_mul(512) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{open_beneath, open_dir};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    #[test]
    fn a_file_with_another_name_makes_no_room_when_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        fs::write(&one, vec![1; 100_000]).unwrap();
        fs::hard_link(&one, &two).unwrap();
        assert_eq!(remove_file(&one).unwrap(), 0);
        assert!(remove_file(&two).unwrap() >= 100_000);
        assert!(remove_file(&two).is_err());
    }

    #[test]
    fn a_tree_with_closed_folders_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("t");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/f"), "x").unwrap();
        fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o500)).unwrap();
        fs::create_dir_all(tree.join("c/d")).unwrap();
        fs::set_permissions(tree.join("c"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn a_tree_deeper_than_any_path_can_be_opened_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = open_dir(dir.path()).unwrap();
        let name = "d".repeat(100);
        let path: PathBuf = std::iter::once("t").chain((0..10 * DEEPEST).map(|_| name.as_str())).collect();
        let mut here = open_dir(dir.path()).unwrap();
        for name in &path {
            sys::mkdirat(&here, name, Mode::RWXU).unwrap();
            // A second one, so that there is something left at the top when the rest is moved there.
            sys::mkdirat(&here, "1.removed", Mode::RWXU).unwrap();
            drop(open_beneath(here.as_fd(), Path::new("1.removed/f"), OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
            here = sys::openat(&here, name, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let file = open_beneath(top.as_fd(), &path.join("file"), flags, Mode::RUSR).unwrap();
        let found = open_beneath(here.as_fd(), Path::new("file"), OFlags::RDONLY, Mode::empty()).unwrap();
        assert_eq!(sys::fstat(file).unwrap().st_ino, sys::fstat(found).unwrap().st_ino);
        sys::symlinkat("file", &here, "link").unwrap();
        assert_eq!(open_beneath(top.as_fd(), &path.join("link/x"), flags, Mode::RUSR).unwrap_err(), Errno::LOOP);
        drop(here);
        remove_tree(&dir.path().join("t")).unwrap();
        remove_tree(&dir.path().join("1.removed")).unwrap();
        assert_eq!(names(top.as_fd(), dir.path()).unwrap().len(), 0);
    }
}
