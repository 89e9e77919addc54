//! The walk over the roots: every entry once, folders before what is in them, names in byte order.

use super::{JOURNALS, OURS, Patterns, Site};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::tree::{Identity, Kind, Node};
use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// So many folders are held open at once, however deep the tree is: others need descriptors too.
const OPEN: usize = 32;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// One entry that was found, and which object it was then.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it is.
    pub node: Node,
    /// Which object, last touched when.
    pub identity: Identity,
    /// It has several names, here or elsewhere; folders do not.
    pub links: bool,
    /// A journal lies beside it, as databases have them: its name with `-wal`, `-shm` or `-journal` behind it.
    pub journal: bool,
}

/// What a walk meets.
#[derive(Debug)]
pub enum Step {
    /// An entry.
    Found(Found),
    /// A root that is not there.
    Absent(PathBuf),
    /// A socket: it lives only while its process does.
    Socket(PathBuf),
    /// Something that may not be looked at, or a folder that may not be listed; the walk goes on without it.
    Unreadable {
        /// Where.
        path: PathBuf,
        /// What was tried, and what the system said.
        why: Error,
    },
}

/// Whether this error means that one file or folder cannot be read, by this user or from this disk, and others may be.
pub fn is_unreadable(error: &Error) -> bool {
    let Error::Path { source, .. } = error else { return false };
    Errno::from_io_error(source).is_some_and(|errno| matches!(errno, Errno::ACCESS | Errno::PERM | Errno::IO))
}

/// What of a tree cannot be read: the first ones by name, all of them by number.
#[derive(Debug, Default)]
pub struct Unreadable {
    first: Vec<String>,
    count: u64,
}

impl Unreadable {
    /// One more.
    pub fn add(&mut self, why: &Error) {
        self.count += 1;
        if self.first.len() < 20 {
            self.first.push(why.to_string());
        }
    }

    /// Whether everything can be read.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them in one sentence, and how to go on.
    ///
    /// # Errors
    /// [`Error::Other`], unless everything can be read.
    pub fn check(&self) -> Result<()> {
        let said = self.first.join("; ");
        let rest = self.count - self.first.len() as u64;
        match self.count {
            0 => Ok(()),
            1 => Err(Error::Other(format!("{said}; run it as the owner or as root, or exclude it in eco.toml"))),
            count => {
                let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
                Err(Error::Other(format!("{count} cannot be read: {said}{more}; run it as their owner or as root, or exclude them in eco.toml")))
            }
        }
    }
}

/// Of which entries the extended attributes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// Of all.
    All,
    /// Not of regular files, but of further names that they have: whoever opens a file can ask it, see [`disk::xattrs_of`].
    NotOfFiles,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// Every entry, folders first. The site's folder itself (with an empty path) and the folders above the roots are among them, for their
    /// metadata.
    pub entries: Vec<Found>,
    /// Roots that are not there.
    pub absent: Vec<PathBuf>,
    /// Sockets: they live only while their process does.
    pub sockets: Vec<PathBuf>,
}

/// The whole of a [`Walker`]'s walk, with all attributes.
///
/// # Errors
/// As [`Walker`], and for the first thing that cannot be read.
pub fn walk(site: &Site, roots: &[PathBuf], skip: &Patterns) -> Result<Walk> {
    let mut walk = Walk::default();
    for step in Walker::new(site, roots, skip, Attributes::All)? {
        match step? {
            Step::Found(found) => walk.entries.push(found),
            Step::Absent(root) => walk.absent.push(root),
            Step::Socket(path) => walk.sockets.push(path),
            Step::Unreadable { why, .. } => return Err(why),
        }
    }
    Ok(walk)
}

/// Walks roots beneath a folder, no links followed but those that are roots of the [`Site`], leaving out what `skip` matches and the tools' own folder. Entries that vanish
/// meanwhile are left out. Further names of a file become [`Kind::Hardlink`].
///
/// What it holds: the names still to come in each folder on the way down, and the first name of every file that has several.
/// Everything is asked relative to an open folder, so that no path is too long.
///
/// What cannot be read is a step of its own. An item may still be [`Error::Path`], for anything else that fails; the walk is over then.
pub struct Walker<'a> {
    roots: VecDeque<PathBuf>,
    skip: &'a Patterns,
    site: &'a Site,
    eye: Eye<'a>,
    /// Found, and not yet handed out.
    ready: VecDeque<Step>,
    /// Folders above roots that were found already.
    above: Vec<PathBuf>,
    /// The folders on the way down to where the walk is, each in the one before.
    way: Vec<Folder>,
    /// The path of the last of them.
    path: PathBuf,
}

struct Folder {
    /// Closed while the walk is far below.
    fd: Option<OwnedFd>,
    /// In the folder above it; of the first one, the whole path of its root.
    name: PathBuf,
    /// Names still to come, the last one first.
    names: Vec<OsString>,
    /// Whether any of them is that of a journal.
    journals: bool,
}

impl Folder {
    fn new(fd: OwnedFd, name: PathBuf, names: Vec<OsString>) -> Folder {
        let journals = names.iter().any(|name| JOURNALS.iter().any(|end| name.as_bytes().ends_with(end.as_bytes())));
        Folder { fd: Some(fd), name, names, journals }
    }

    /// Whether a journal of the file `name` is still to come: it has a longer name, so it stands after it.
    fn has_journal(&self, name: &OsStr) -> bool {
        let here = |end: &&str| {
            let journal = [name.as_bytes(), end.as_bytes()].concat();
            self.names.binary_search_by(|other| journal.as_slice().cmp(other.as_bytes())).is_ok()
        };
        self.journals && JOURNALS.iter().any(here)
    }
}

impl<'a> Walker<'a> {
    /// A walk over `roots`, in their order, in this site. Nothing but its folder is looked at yet.
    ///
    /// # Errors
    /// [`Error::Path`] for that folder.
    pub fn new(site: &'a Site, roots: &[PathBuf], skip: &'a Patterns, attributes: Attributes) -> Result<Walker<'a>> {
        let mut eye = Eye { base: site.base(), attributes, links: HashMap::new(), owners: Owners::default() };
        let ready = match eye.look(site.dir(), OsStr::new("."), Path::new(""))? {
            Seen::Entry(found) => VecDeque::from([Step::Found(*found)]),
            _ => VecDeque::new(),
        };
        let roots = roots.iter().cloned().collect();
        Ok(Walker { roots, skip, site, eye, ready, above: Vec::new(), way: Vec::new(), path: PathBuf::new() })
    }

    /// Takes one step; false at the end.
    fn advance(&mut self) -> Result<bool> {
        if let Some(folder) = self.way.last_mut() {
            match folder.names.pop() {
                Some(name) => match self.enter_next(&name) {
                    Err(why) if is_unreadable(&why) => self.ready.push_back(Step::Unreadable { path: self.path.join(name), why }),
                    other => other?,
                },
                None => {
                    let folder = self.way.pop();
                    let above = self.path.as_os_str().len().saturating_sub(folder.map_or(0, |folder| folder.name.as_os_str().len() + 1));
                    shorten(&mut self.path, above);
                }
            }
            return Ok(true);
        }
        let Some(root) = self.roots.pop_front() else { return Ok(false) };
        match self.enter_root(&root) {
            Ok(true) => {}
            Ok(false) => self.ready.push_back(Step::Absent(root)),
            Err(why) if is_unreadable(&why) => self.ready.push_back(Step::Unreadable { path: root, why }),
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    /// The folders above a root, and it; false if it is not there.
    fn enter_root(&mut self, root: &Path) -> Result<bool> {
        let folders: Vec<&Path> = root.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        let mut here: Option<OwnedFd> = None;
        for folder in folders.into_iter().rev() {
            let here_now = here.as_ref().map_or(self.site.dir(), |fd| fd.as_fd());
            let (at, name) = self.site.door(folder).unwrap_or((here_now, folder.file_name().unwrap_or_default()));
            if !self.above.iter().any(|seen| seen == folder) {
                match self.eye.look(at, name, folder)? {
                    Seen::Entry(found) => self.ready.push_back(Step::Found(*found)),
                    Seen::Socket => self.ready.push_back(Step::Socket(folder.to_owned())),
                    Seen::Nothing => return Ok(false),
                }
                self.above.push(folder.to_owned());
            }
            // Its names are not asked for, so nobody needs permission to list it.
            match sys::openat(at, name, FOLDER | disk::LOOKUP, Mode::empty()) {
                Ok(fd) => here = Some(fd),
                Err(Errno::NOENT) => return Ok(false),
                Err(Errno::NOTDIR) if !is_link(at, name) => return Ok(false),
                Err(e) => return Err(e).named("open the folder", self.eye.base.join(folder)),
            }
        }
        let Some(name) = root.file_name() else { return Ok(false) };
        let (at, name) = self.site.door(root).unwrap_or((here.as_ref().map_or(self.site.dir(), |fd| fd.as_fd()), name));
        Walker::enter(&mut self.eye, self.skip, &mut self.ready, at, name, root).map(|entered| match entered {
            Entered::Nothing => false,
            Entered::Entry => true,
            Entered::Folder(fd, names) => {
                self.path = root.to_owned();
                self.way.push(Folder::new(fd, root.to_owned(), names));
                true
            }
        })
    }

    /// The entry `name` of the folder where the walk is.
    fn enter_next(&mut self, name: &OsStr) -> Result<()> {
        if self.way.last().is_some_and(|folder| folder.fd.is_none()) && !self.reopen()? {
            // The folder is gone, and everything that was still to come in it.
            if let Some(folder) = self.way.last_mut() {
                folder.names.clear();
            }
            return Ok(());
        }
        let Some((folder, at)) = self.way.last().and_then(|folder| Some((folder, folder.fd.as_ref()?))) else { return Ok(()) };
        let journal = folder.has_journal(name);
        let path = self.path.join(name);
        if let Entered::Folder(fd, names) = Walker::enter(&mut self.eye, self.skip, &mut self.ready, at.as_fd(), name, &path)? {
            self.way.push(Folder::new(fd, name.into(), names));
            self.path = path;
            if let Some(oldest) = self.way.len().checked_sub(OPEN + 1) {
                self.way[oldest].fd = None;
            }
        } else if let (true, Some(Step::Found(found))) = (journal, self.ready.back_mut()) {
            found.journal = true;
        }
        Ok(())
    }

    /// Looks at an entry, and into it if it is a folder.
    fn enter(eye: &mut Eye<'_>, skip: &Patterns, ready: &mut VecDeque<Step>, at: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Entered> {
        // At the ecosystem's root, and at the top of mounts below it.
        if name == OURS || skip.match_path(path) {
            return Ok(Entered::Entry);
        }
        let found = match eye.look(at, name, path)? {
            Seen::Nothing => return Ok(Entered::Nothing),
            Seen::Socket => {
                ready.push_back(Step::Socket(path.to_owned()));
                return Ok(Entered::Entry);
            }
            Seen::Entry(found) => found,
        };
        let is_folder = found.node.kind == Kind::Dir;
        ready.push_back(Step::Found(*found));
        if !is_folder {
            return Ok(Entered::Entry);
        }
        let full = eye.base.join(path);
        let fd = match sys::openat(at, name, FOLDER, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Entered::Entry),
            Err(e) => return Err(e).named("list", full),
        };
        let mut names = disk::names(fd.as_fd(), &full)?;
        names.reverse();
        Ok(Entered::Folder(fd, names))
    }

    /// Opens the folders again that the walk is in and comes back to next, one after the other from the top; false if they are not
    /// there any more.
    fn reopen(&mut self) -> Result<bool> {
        let keep = self.way.len().saturating_sub(OPEN);
        let mut here: Option<OwnedFd> = None;
        for number in 0..self.way.len() {
            let above = here.as_ref().or(number.checked_sub(1).and_then(|before| self.way[before].fd.as_ref()));
            let name = &self.way[number].name;
            let opened = match above {
                Some(at) => sys::openat(at, name, FOLDER, Mode::empty()),
                None => self.site.open_at(name, FOLDER),
            };
            let fd = match opened {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
                Err(e) => return Err(e).named("open again", self.eye.base.join(&self.path)),
            };
            if number >= keep {
                self.way[number].fd = Some(fd);
                here = None;
            } else {
                here = Some(fd);
            }
        }
        Ok(true)
    }
}

impl Iterator for Walker<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Result<Step>> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(Ok(step));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => {
                    // What follows would stand below a folder that was not handed out.
                    self.roots.clear();
                    self.way.clear();
                    self.ready.clear();
                    return Some(Err(e));
                }
            }
        }
    }
}

/// What became of entering something.
enum Entered {
    Nothing,
    Entry,
    Folder(OwnedFd, Vec<OsString>),
}

/// What stands under a name.
enum Seen {
    Nothing,
    Socket,
    Entry(Box<Found>),
}

/// Looks at single entries, and remembers what they share.
struct Eye<'a> {
    base: &'a Path,
    attributes: Attributes,
    /// The first name of every file that has several.
    links: HashMap<(u64, u64), PathBuf>,
    owners: Owners,
}

impl Eye<'_> {
    /// The entry `name` of the folder `at`, which is `path` in the tree.
    fn look(&mut self, at: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Seen> {
        let full = || self.base.join(path);
        let stat = match sys::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Seen::Nothing),
            Err(e) => return Err(e).named("look at", full()),
        };
        let (mut node, identity) = disk::describe(path.to_owned(), &stat);
        let links = stat.st_nlink > 1 && node.kind != Kind::Dir;
        match &mut node.kind {
            Kind::Socket => return Ok(Seen::Socket),
            Kind::Symlink { target } => match sys::readlinkat(at, name, Vec::new()) {
                Ok(text) => *target = OsString::from_vec(text.into_bytes()),
                Err(Errno::NOENT) => return Ok(Seen::Nothing),
                Err(e) => return Err(e).named("read the link", full()),
            },
            _ => {}
        }
        if stat.st_nlink > 1 && !matches!(node.kind, Kind::Dir | Kind::Symlink { .. }) {
            match self.links.get(&(identity.dev, identity.ino)) {
                Some(first) => node.kind = Kind::Hardlink { target: first.clone() },
                None => drop(self.links.insert((identity.dev, identity.ino), path.to_owned())),
            }
        }
        if !matches!(node.kind, Kind::File { .. }) || self.attributes == Attributes::All {
            node.meta.xattrs = match disk::xattrs_at(at, name, &self.base.join(path)) {
                Err(crate::error::Error::Path { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Seen::Nothing),
                other => other?,
            };
        }
        node.meta.user = self.owners.user(node.meta.uid);
        node.meta.group = self.owners.group(node.meta.gid);
        Ok(Seen::Entry(Box::new(Found { node, identity, links, journal: false })))
    }
}

fn is_link(at: BorrowedFd<'_>, name: &OsStr) -> bool {
    sys::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode as _) == FileType::Symlink)
}

/// Cuts a path to its first `length` bytes.
fn shorten(path: &mut PathBuf, length: usize) {
    let mut bytes = std::mem::take(path).into_os_string().into_vec();
    bytes.truncate(length);
    *path = OsString::from_vec(bytes).into();
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
        let site = Site::plain(dir.path()).unwrap();
        let walk = walk(&site, &roots, &skip).unwrap();
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

    #[test]
    fn a_tree_deeper_than_any_path_is_walked_with_few_open_folders() {
        let dir = tempfile::tempdir().unwrap();
        let mut here = disk::open_dir(dir.path()).unwrap();
        let name = "d".repeat(200);
        let mut expected = vec![String::new()];
        let mut path = String::from("data");
        for depth in 0..3 * OPEN {
            let name = if depth == 0 { "data" } else { &name };
            sys::mkdirat(&here, name, Mode::RWXU).unwrap();
            let below = sys::openat(&here, name, FOLDER, Mode::empty()).unwrap();
            if depth > 0 {
                path = format!("{path}/{name}");
            }
            expected.push(path.clone());
            here = below;
            for file in ["a", "z"] {
                drop(sys::openat(&here, file, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
            }
            // Whether it may be set depends on the filesystem; what is set is found.
            let _ = sys::fsetxattr(&here, "user.depth", depth.to_string().as_bytes(), sys::XattrFlags::empty());
        }
        let skip = Patterns::new::<&str>(&[]).unwrap();
        let open = || fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        let ours = || open().filter(|path| path.starts_with(dir.path())).count();
        let site = Site::plain(dir.path()).unwrap();
        let (before, mut most, mut found) = (ours(), 0, Vec::new());
        for step in Walker::new(&site, &["data".into()], &skip, Attributes::All).unwrap() {
            let Step::Found(entry) = step.unwrap() else { panic!("neither a socket nor absent") };
            most = most.max(ours() - before);
            found.push(entry.node);
        }
        assert!(most <= OPEN + 1, "{most} folders were open at once");
        let mut sorted = found.clone();
        sorted.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(found, sorted);
        let folders: Vec<String> = found.iter().filter(|node| node.kind == Kind::Dir).map(|node| node.path.display().to_string()).collect();
        assert_eq!(folders, expected);
        assert_eq!(found.len(), 1 + 3 * 3 * OPEN);
        let with = found.iter().filter(|node| !node.meta.xattrs.is_empty()).count();
        assert!(with == 0 || with == 3 * OPEN, "{with} folders have their attribute");
        drop(here);
        disk::remove_tree(dir.path()).unwrap();
    }

    #[test]
    fn attributes_of_files_are_left_to_whoever_opens_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/f"), "x").unwrap();
        for name in ["data", "data/f"] {
            if sys::lsetxattr(dir.path().join(name), "user.k", b"v", sys::XattrFlags::empty()).is_err() {
                return;
            }
        }
        let skip = Patterns::new::<&str>(&[]).unwrap();
        let site = Site::plain(dir.path()).unwrap();
        let seen = |attributes| {
            let walker = Walker::new(&site, &["data".into()], &skip, attributes).unwrap();
            walker.map(|step| if let Step::Found(found) = step.unwrap() { found.node.meta.xattrs.len() } else { 0 }).collect::<Vec<_>>()
        };
        assert_eq!(seen(Attributes::All), [0, 1, 1]);
        assert_eq!(seen(Attributes::NotOfFiles), [0, 1, 0]);
    }

    #[test]
    fn a_walk_can_be_another_threads() {
        fn can_be_sent<T: Send>(_: T) {}
        let dir = tempfile::tempdir().unwrap();
        let skip = Patterns::new::<&str>(&[]).unwrap();
        let site = Site::plain(dir.path()).unwrap();
        can_be_sent(Walker::new(&site, &[], &skip, Attributes::All).unwrap());
    }
}
