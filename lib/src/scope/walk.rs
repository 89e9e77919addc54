//! The walk over the roots: every entry once, folders before what is in them, names in byte order.

use super::{OURS, Patterns};
use crate::disk;
use crate::error::{Named, Result};
use crate::tree::{Identity, Kind, Node};
use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{self as sys, AtFlags, Mode, OFlags};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One entry that was found, and which object it was then.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it is.
    pub node: Node,
    /// Which object, last touched when.
    pub identity: Identity,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// Every entry, folders first. `base` itself (with an empty path) and the folders above the roots are among them, for their
    /// metadata.
    pub entries: Vec<Found>,
    /// Roots that are not there.
    pub absent: Vec<PathBuf>,
    /// Sockets: they live only while their process does.
    pub sockets: Vec<PathBuf>,
}

/// Walks `roots` beneath the folder `base`, links not followed, leaving out what `skip` matches and the tools' own folder.
/// Entries that vanish meanwhile are left out. Further names of a file become [`Kind::Hardlink`].
///
/// # Errors
/// [`crate::error::Error::Path`] for a folder or file that cannot be looked at.
pub fn walk(base: &Path, roots: &[PathBuf], skip: &Patterns) -> Result<Walk> {
    let dir = disk::open_dir(base)?;
    let mut walker = Walker { base, skip, walk: Walk::default(), links: HashMap::new(), owners: Owners::default() };
    walker.look(dir.as_fd(), Path::new("."), Path::new(""))?;
    let mut above: Vec<PathBuf> = Vec::new();
    for root in roots {
        let mut missing = false;
        for folder in root.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect::<Vec<_>>().into_iter().rev() {
            if !above.iter().any(|seen| seen == folder) {
                missing |= walker.look(dir.as_fd(), folder, folder)?.is_none();
                above.push(folder.to_owned());
            }
        }
        if missing || !walker.enter(dir.as_fd(), root, root)? {
            walker.walk.absent.push(root.clone());
        }
    }
    Ok(walker.walk)
}

struct Walker<'a> {
    base: &'a Path,
    skip: &'a Patterns,
    walk: Walk,
    /// The first name of every file that has several.
    links: HashMap<(u64, u64), PathBuf>,
    owners: Owners,
}

impl Walker<'_> {
    /// Records the entry `name` of the folder `at`; tells its kind, or `None` if it is not there.
    fn look(&mut self, at: BorrowedFd<'_>, name: &Path, path: &Path) -> Result<Option<Kind>> {
        let full = self.base.join(path);
        let stat = match sys::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(e).named("look at", full),
        };
        let (mut node, identity) = disk::describe(path.to_owned(), &stat);
        match &mut node.kind {
            Kind::Socket => {
                self.walk.sockets.push(path.to_owned());
                return Ok(Some(Kind::Socket));
            }
            Kind::Symlink { target } => match sys::readlinkat(at, name, Vec::new()) {
                Ok(text) => *target = OsString::from_vec(text.into_bytes()),
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                Err(e) => return Err(e).named("read the link", full),
            },
            Kind::Dir => {}
            _ if stat.st_nlink > 1 => match self.links.get(&(identity.dev, identity.ino)) {
                Some(first) => node.kind = Kind::Hardlink { target: first.clone() },
                None => drop(self.links.insert((identity.dev, identity.ino), path.to_owned())),
            },
            _ => {}
        }
        node.meta.user = self.owners.user(node.meta.uid);
        node.meta.group = self.owners.group(node.meta.gid);
        node.meta.xattrs = match disk::xattrs(&full) {
            Err(crate::error::Error::Path { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let kind = node.kind.clone();
        self.walk.entries.push(Found { node, identity });
        Ok(Some(kind))
    }

    /// Records an entry and everything below it; false if it is not there.
    fn enter(&mut self, at: BorrowedFd<'_>, name: &Path, path: &Path) -> Result<bool> {
        if path.starts_with(OURS) || self.skip.match_path(path) {
            return Ok(true);
        }
        let Some(kind) = self.look(at, name, path)? else { return Ok(false) };
        if kind == Kind::Dir {
            let full = self.base.join(path);
            let dir = match sys::openat(at, name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Ok(dir) => dir,
                Err(rustix::io::Errno::NOENT) => return Ok(true),
                Err(e) => return Err(e).named("open", full),
            };
            for name in disk::names(dir.as_fd(), &full)? {
                self.enter(dir.as_fd(), Path::new(&name), &path.join(&name))?;
            }
        }
        Ok(true)
    }
}

/// Names of users and groups, each asked once.
#[derive(Default)]
struct Owners {
    users: HashMap<u32, Option<Arc<str>>>,
    groups: HashMap<u32, Option<Arc<str>>>,
}

impl Owners {
    fn user(&mut self, uid: u32) -> Option<Arc<str>> {
        let ask = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name.into());
        self.users.entry(uid).or_insert_with(ask).clone()
    }

    fn group(&mut self, gid: u32) -> Option<Arc<str>> {
        let ask = || Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name.into());
        self.groups.entry(gid).or_insert_with(ask).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn names(walk: &Walk) -> Vec<String> {
        walk.entries.iter().map(|e| format!("{} {}", e.node.path.display(), e.node.kind.word())).collect()
    }

    #[test]
    fn folders_come_before_their_content_and_names_are_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("data/a")).unwrap();
        fs::create_dir_all(at("data/cache")).unwrap();
        fs::create_dir_all(at("m/x")).unwrap();
        fs::create_dir_all(at(".eco/new")).unwrap();
        for file in ["data/a/f", "data/a.txt", "data/x.tmp", "data/cache/c", "m/x/code", "m/other"] {
            fs::write(at(file), "x").unwrap();
        }
        fs::hard_link(at("data/a.txt"), at("data/b.txt")).unwrap();
        symlink("nowhere", at("data/link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("data/sock")).unwrap();
        let skip = Patterns::new(&["*.tmp", "data/cache"]).unwrap();
        let roots = ["data", "m/x", "missing", "none/at/all"].map(PathBuf::from);
        let walk = walk(dir.path(), &roots, &skip).unwrap();
        assert_eq!(
            names(&walk),
            [
                " dir",
                "data dir",
                "data/a dir",
                "data/a/f file",
                "data/a.txt file",
                "data/b.txt hardlink",
                "data/link symlink",
                "m dir",
                "m/x dir",
                "m/x/code file"
            ]
        );
        assert_eq!(walk.absent, ["missing", "none/at/all"].map(PathBuf::from));
        assert_eq!(walk.sockets, [PathBuf::from("data/sock")]);
    }
}
