//! Where an ecosystem's tree lies: its folder, and roots in it that are symbolic links to a tree elsewhere.

use crate::disk;
use crate::error::{Error, Named, Result};
use crate::scope::OURS;
use rustix::fs::{self as sys, FileType, Mode, OFlags};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The folder that paths of a tree are relative to. A root that is a symbolic link stands for what it leads to; it leads there for as
/// long as this value lives, even if somebody changes the link meanwhile. No other link is ever followed.
#[derive(Debug)]
pub struct Site {
    base: PathBuf,
    dir: OwnedFd,
    doors: Vec<Door>,
}

/// A root that is a link.
#[derive(Debug)]
struct Door {
    root: PathBuf,
    /// The folder that holds what it leads to, and the name of that.
    dir: OwnedFd,
    name: OsString,
}

impl Site {
    /// With no doors: a link is a link, wherever it is.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn plain(base: &Path) -> Result<Site> {
        Ok(Site { base: base.to_owned(), dir: disk::open_dir(base)?, doors: Vec::new() })
    }

    /// With a door for each of these roots that is a link.
    ///
    /// # Errors
    /// [`Error::Path`] for a link that leads nowhere; [`Error::Config`] for one that leads to what belongs to somebody else: to another
    /// root, to the ecosystem itself, or to what is ours.
    pub fn open(base: &Path, roots: &[PathBuf]) -> Result<Site> {
        let mut site = Site::plain(base)?;
        for root in roots {
            let path = base.join(root);
            let is_link = |stat: sys::Stat| FileType::from_raw_mode(stat.st_mode as _) == FileType::Symlink;
            // What cannot be looked at the walk will meet.
            if !disk::stat(&path).ok().flatten().is_some_and(is_link) {
                continue;
            }
            let target = fs::canonicalize(&path).named("follow the link", &path)?;
            let says = |what: String| Error::Config(format!("the root {} is a symbolic link to {}, {what}", path.display(), target.display()));
            let own = fs::canonicalize(base).named("look at", base)?;
            if own.starts_with(&target) || target.starts_with(own.join(OURS)) {
                return Err(says("which is not a tree of its own".into()));
            }
            let overlaps = |other: &&PathBuf| {
                let there = fs::canonicalize(base.join(other));
                *other != root && there.is_ok_and(|there| there.starts_with(&target) || target.starts_with(there))
            };
            if let Some(other) = roots.iter().find(overlaps) {
                return Err(says(format!("which the root {} holds as well", other.display())));
            }
            // What holds the ecosystem was ruled out, so it has a name.
            let name = target.file_name().unwrap_or_default().to_owned();
            let above = disk::parent(&target);
            let dir = sys::open(above, OFlags::DIRECTORY | disk::LOOKUP | OFlags::CLOEXEC, Mode::empty()).named("open", above)?;
            site.doors.push(Door { root: root.clone(), dir, name });
        }
        Ok(site)
    }

    /// With these doors: roots, and the absolute paths of what stands in their place.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn with_doors(base: &Path, doors: &[(PathBuf, PathBuf)]) -> Result<Site> {
        let mut site = Site::plain(base)?;
        for (root, target) in doors {
            let above = disk::parent(target);
            let dir = sys::open(above, OFlags::DIRECTORY | disk::LOOKUP | OFlags::CLOEXEC, Mode::empty()).named("open", above)?;
            site.doors.push(Door { root: root.clone(), dir, name: target.file_name().unwrap_or_default().to_owned() });
        }
        Ok(site)
    }

    /// The folder, for names in messages and for what is asked by path.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The same, open.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Where a root lies that is a link: the folder, and the name in it.
    pub(super) fn door(&self, root: &Path) -> Option<(BorrowedFd<'_>, &OsStr)> {
        let door = self.doors.iter().find(|door| door.root == root)?;
        Some((door.dir.as_fd(), &door.name))
    }

    /// A path of the tree: the folder that it can be reached from without following any link, and the path from there.
    pub fn way<'a>(&'a self, path: &'a Path) -> (BorrowedFd<'a>, Cow<'a, Path>) {
        let through = |door: &'a Door| {
            let below = path.strip_prefix(&door.root).ok()?;
            let name = Path::new(&door.name);
            Some((door.dir.as_fd(), if below.as_os_str().is_empty() { name.into() } else { name.join(below).into() }))
        };
        self.doors.iter().find_map(through).unwrap_or((self.dir(), path.into()))
    }

    /// Opens what is at a path of the tree.
    ///
    /// # Errors
    /// As [`disk::open_beneath`].
    pub fn open_at(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let (dir, path) = self.way(path);
        disk::open_beneath(dir, &path, flags, Mode::empty())
    }
}
