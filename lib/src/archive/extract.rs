//! Extraction into a fresh private folder. Folders first and closed to others, then files on all cores, each checked against its
//! digest while it is written, or taken from a tree that has it already, then pipes, devices and symbolic links, then further names of
//! all of these, and last the folders' own metadata, deepest first. Nothing is followed on the way, so no entry can lead outside.

use super::index::{Chunk, Entry, Index};
use super::read::Pieces;
use super::{Archive, Foreign, ZEROS, on_all_cores};
use crate::disk::{self, Near};
use crate::error::{Error, Named, Result};
use crate::scope::Site;
use crate::tree::{Hole, Identity, Kind, Meta, Mtime, Node};
use nix::unistd::{Group, User};
use rustix::fs::{self as sys, AtFlags, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What came of an extraction.
#[derive(Debug, Default)]
pub struct Extracted {
    /// Entries written.
    pub entries: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// Metadata that could not be set, and why: owners need privileges, attributes need a filesystem that has them.
    pub lost: Vec<(PathBuf, String)>,
    /// Owners that are not the same here as there.
    pub owners: Vec<OwnerChange>,
    /// Files that were taken from the donor.
    pub taken: Vec<Taken>,
}

/// A file that was taken from a donor and not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its path.
    pub path: PathBuf,
    sharing: Sharing,
    /// The donor's file right afterwards: which one, how long, and when it was last written.
    seen: (Identity, Kind, Mtime),
}

fn seen(stat: &sys::Stat) -> (Identity, Kind, Mtime) {
    let (Node { kind, meta, .. }, identity) = disk::describe(PathBuf::new(), stat);
    (identity, kind, meta.mtime)
}

impl Taken {
    /// Whether what is written to the donor's file is written to this one.
    pub fn is_link(&self) -> bool {
        self.sharing == Sharing::Link
    }

    /// Whether the donor's file below `base` is as it was when it was taken.
    pub fn is_unchanged(&self, base: &Path) -> bool {
        disk::stat(&base.join(&self.path)).ok().flatten().is_some_and(|stat| seen(&stat) == self.seen)
    }
}

/// How a file is taken from a donor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// A file of its own that shares the other's blocks until one of the two is written to. Where the filesystem cannot, it is written.
    Clone,
    /// Another name of the same file.
    Link,
}

/// A tree on the same filesystem that has some of the wanted files with the content that they should have.
pub struct Donor<'a> {
    /// Where it lies.
    pub site: &'a Site,
    /// How its files are taken.
    pub sharing: Sharing,
    /// Whether it has the file of this entry: to clone it, the same content; to link it, the same metadata too.
    pub has: &'a (dyn Fn(&Path) -> bool + Sync),
}

/// Where content comes from.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Any piece at any time.
    Seekable(&'a Archive),
    /// From front to back, once.
    Stream(&'a Foreign),
}

impl Content<'_> {
    /// The archive.
    pub fn path(&self) -> &Path {
        match self {
            Content::Seekable(archive) => archive.path(),
            Content::Stream(foreign) => foreign.path(),
        }
    }
}

/// Writes the entries `wanted` (positions in the index, ascending) below the existing, empty folder `into`, with the paths that
/// they have in the archive. Folders that stand above a wanted entry and are not wanted themselves are created closed (0700). What the
/// donor has is taken from there; whoever uses that reads it back, since it may be written to meanwhile.
///
/// # Errors
/// [`Error::Archive`] for damage, [`Error::Path`] when something cannot be written, [`Error::Interrupted`]. What was written so far
/// stays in `into`, for the caller to remove.
pub fn extract(
    from: Content<'_>,
    index: &Index,
    wanted: &[usize],
    into: &Path,
    donor: Option<&Donor<'_>>,
    progress: &(dyn Fn(u64) + Sync),
    stop: &AtomicBool,
) -> Result<Extracted> {
    let dir = disk::open_dir(into)?;
    let target = Target { dir: &dir, into, owners: Owners::default(), lost: Mutex::new(Vec::new()) };
    let entries: Vec<&Entry> = wanted.iter().filter_map(|at| index.entries.get(*at)).filter(|e| !e.node.path.as_os_str().is_empty()).collect();
    folders(&target, &entries)?;

    // A link whose file is not wanted takes the file's content; further links of the group point to that one.
    let here: HashSet<&Path> = entries.iter().map(|e| e.node.path.as_path()).collect();
    let mut stand_in: HashMap<&Path, &Path> = HashMap::new();
    let mut files: Vec<Filled<'_>> = Vec::new();
    let mut links: Vec<(&Path, &Path)> = Vec::new();
    let mut nodes: Vec<(&Entry, &Kind)> = Vec::new();
    let by_path: HashMap<&Path, &Entry> =
        index.entries.iter().filter(|e| !matches!(e.node.kind, Kind::Dir | Kind::Hardlink { .. })).map(|e| (e.node.path.as_path(), e)).collect();
    for entry in &entries {
        match &entry.node.kind {
            Kind::File { .. } => files.push((entry, entry)),
            Kind::Hardlink { target } if here.contains(target.as_path()) => links.push((target, &entry.node.path)),
            Kind::Hardlink { target } => match (stand_in.get(target.as_path()), by_path.get(target.as_path())) {
                (Some(first), _) => links.push((first, &entry.node.path)),
                (None, Some(first)) => {
                    stand_in.insert(target, &entry.node.path);
                    match &first.node.kind {
                        Kind::File { .. } => files.push((entry, first)),
                        kind => nodes.push((entry, kind)),
                    }
                }
                (None, None) => return Err(Error::archive(from.path(), format!("{} links to nothing", entry.node.path.display()))),
            },
            Kind::Dir => {}
            kind => nodes.push((entry, kind)),
        }
    }
    let interrupted = || if stop.load(Ordering::Relaxed) { Err(Error::Interrupted("what was extracted so far is removed".into())) } else { Ok(()) };
    let mut taken = match donor {
        Some(donor) => {
            let has = |entry: &Entry| (donor.has)(&entry.node.path);
            let (there, others) = files.into_iter().partition(|(entry, content)| entry.node.kind == content.node.kind && has(entry));
            files = others;
            let (taken, missing) = target.take(donor, there, &interrupted)?;
            files.extend(missing);
            taken
        }
        None => Vec::new(),
    };
    match from {
        Content::Seekable(archive) => {
            files.sort_by_key(|(_, content)| std::cmp::Reverse(content.node.kind.size()));
            let making: Vec<Making<'_>> = files.iter().map(|(entry, content)| Making::new(entry, content)).collect();
            let parts: Vec<Part<'_>> = making.iter().flat_map(|file| file.parts(index)).collect();
            let next = AtomicUsize::new(0);
            on_all_cores(|| {
                let mut pieces = Pieces::new(archive);
                while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    interrupted()?;
                    target.part(part, &mut pieces, progress)?;
                }
                Ok(())
            })?;
        }
        Content::Stream(foreign) => {
            let mut waiting: HashMap<&Path, Vec<&Entry>> = HashMap::new();
            for (entry, content) in &files {
                waiting.entry(&content.node.path).or_default().push(entry);
            }
            foreign.each_file(index, |content, pieces| {
                interrupted()?;
                let Some(entries) = waiting.remove(content.node.path.as_path()) else { return Ok(()) };
                let mut first: Option<&Path> = None;
                for entry in entries {
                    match first {
                        None => target.file(entry, content, progress, |write| pieces.each(content, write))?,
                        Some(first) => links.push((first, &entry.node.path)),
                    }
                    first = first.or(Some(&entry.node.path));
                }
                Ok(())
            })?;
        }
    }
    let (mut refused, mut named): (HashSet<&Path>, HashSet<&Path>) = Default::default();
    for (entry, kind) in nodes {
        if !target.other(entry, kind)? {
            refused.insert(&entry.node.path);
        }
    }
    // After everything that can have several names: pipes and symbolic links can, too.
    for (first, name) in links {
        if refused.contains(first) {
            target.lose(name, DEVICE.into());
            continue;
        }
        let (from, to) = (target.reach(first)?, target.reach(name)?);
        sys::linkat(from.dir(), from.path, to.dir(), to.path, AtFlags::empty()).named("create the hard link", into.join(name))?;
        named.insert(first);
    }
    // A further name is a change of the donor's file, too, and nobody's write.
    for taken in taken.iter_mut().filter(|taken| taken.is_link() && named.contains(taken.path.as_path())) {
        let full = into.join(&taken.path);
        taken.seen = seen(&sys::lstat(&full).named("look at", &full)?);
    }
    for entry in entries.iter().rev().filter(|e| e.node.kind == Kind::Dir) {
        let full = into.join(&entry.node.path);
        let fd = disk::open_beneath(dir.as_fd(), &entry.node.path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).named("open", &full)?;
        target.dress(fd.as_fd(), entry, &entry.node.path)?;
    }
    let bytes = files.iter().map(|(_, content)| content.node.kind.size()).sum();
    let lost = target.lost.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let owners = target.owners.changes.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_iter().collect();
    Ok(Extracted { entries: entries.len() as u64, bytes, lost, owners, taken })
}

/// An entry, and the one whose content it gets.
type Filled<'a> = (&'a Entry, &'a Entry);

/// Why a device is not there.
const DEVICE: &str = "a device, which only root can create";

/// Creates every folder, closed to others until it is complete.
fn folders(target: &Target<'_>, entries: &[&Entry]) -> Result<()> {
    let mut made: HashSet<&Path> = HashSet::new();
    for entry in entries {
        let itself = (entry.node.kind == Kind::Dir).then_some(entry.node.path.as_path());
        // Where one is made, those above it are too: a deep tree would take forever if each were asked.
        let above = entry.node.path.ancestors().skip(1).take_while(|p| !p.as_os_str().is_empty() && !made.contains(p));
        let above: Vec<&Path> = above.collect();
        for folder in above.into_iter().rev().chain(itself) {
            if made.insert(folder) {
                let near = target.reach(folder)?;
                let private = Mode::from_raw_mode(0o700);
                sys::mkdirat(near.dir(), near.path, private).named("create the folder", target.into.join(folder))?;
            }
        }
    }
    Ok(())
}

/// Writes a piece at its place, but for what lies in a hole and is nothing but zeros indeed.
fn write_around(file: &File, piece: &[u8], at: u64, holes: &[Hole]) -> std::io::Result<()> {
    let end = at + piece.len() as u64;
    let mut done = at;
    let first = holes.partition_point(|(offset, length)| offset + length <= at);
    for (offset, length) in holes[first..].iter().take_while(|(offset, _)| *offset < end) {
        let (from, to) = ((*offset).max(at), (offset + length).min(end));
        if is_zero(&piece[(from - at) as usize..(to - at) as usize]) {
            file.write_all_at(&piece[(done - at) as usize..(from - at) as usize], done)?;
            done = to;
        }
    }
    file.write_all_at(&piece[(done - at) as usize..], done)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|part| *part == ZEROS[..part.len()])
}

/// A file that several threads may write to.
struct Making<'a> {
    /// What it becomes, and the entry whose content it gets.
    entry: &'a Entry,
    content: &'a Entry,
    file: Mutex<Option<Arc<File>>>,
    parts_left: AtomicUsize,
}

/// Some consecutive pieces of a file.
struct Part<'a> {
    file: &'a Making<'a>,
    chunks: &'a [Chunk],
    /// Where in the file the first of them belongs.
    at: u64,
}

/// So many pieces of a file are written by one thread: enough to keep it busy, and few enough to share a single large file.
const PART: usize = 16;

impl<'a> Making<'a> {
    fn new(entry: &'a Entry, content: &'a Entry) -> Making<'a> {
        let parts = content.chunks.len().div_ceil(PART).max(1);
        Making { entry, content, file: Mutex::new(None), parts_left: AtomicUsize::new(parts) }
    }

    fn parts<'b>(&'b self, index: &'b Index) -> Vec<Part<'b>> {
        let chunks = index.pieces(self.content);
        let mut at = 0;
        let part = |chunks: &'b [Chunk]| {
            let part = Part { file: self, chunks, at };
            at += chunks.iter().map(|chunk| u64::from(chunk.size)).sum::<u64>();
            part
        };
        // A file without content is one part all the same.
        if chunks.is_empty() { vec![Part { file: self, chunks, at: 0 }] } else { chunks.chunks(PART).map(part).collect() }
    }

    /// The file, which the first one to ask creates.
    fn open(&self, create: impl FnOnce() -> Result<File>) -> Result<Arc<File>> {
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*file {
            Some(file) => Ok(file.clone()),
            None => Ok(file.insert(Arc::new(create()?)).clone()),
        }
    }

    /// Whether the part that is done now was the last one. The file is closed with it.
    fn is_last(&self) -> bool {
        let is_last = self.parts_left.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            *self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
        }
        is_last
    }
}

struct Target<'a> {
    dir: &'a OwnedFd,
    into: &'a Path,
    owners: Owners,
    lost: Mutex<Vec<(PathBuf, String)>>,
}

impl Target<'_> {
    /// A path of the new tree as the system's calls take it.
    fn reach<'a>(&'a self, path: &'a Path) -> Result<Near<'a>> {
        disk::reach(self.dir.as_fd(), path).named("open the folder of", self.into.join(path))
    }

    /// Takes files from the donor, on all cores; those that could not be taken are returned as well.
    fn take<'b>(&self, donor: &Donor<'_>, files: Vec<Filled<'b>>, go_on: &(dyn Fn() -> Result<()> + Sync)) -> Result<(Vec<Taken>, Vec<Filled<'b>>)> {
        let (done, missing) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let next = AtomicUsize::new(0);
        on_all_cores(|| {
            while let Some((entry, content)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                go_on()?;
                match self.take_one(donor, entry, content)? {
                    Some(taken) => done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(taken),
                    None => missing.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((*entry, *content)),
                }
            }
            Ok(())
        })?;
        let done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok((done, missing.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())))
    }

    /// `None` when it cannot be taken, or is not what it was any more.
    fn take_one(&self, donor: &Donor<'_>, entry: &Entry, content: &Entry) -> Result<Option<Taken>> {
        let path = &entry.node.path;
        let full = self.into.join(path);
        let Ok(source) = donor.site.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK) else { return Ok(None) };
        match donor.sharing {
            Sharing::Link => {
                let (there, path_there) = donor.site.way(path);
                let (from, to) = (disk::reach(there, &path_there).named("open the folder of", &full)?, self.reach(path)?);
                match sys::linkat(from.dir(), from.path, to.dir(), to.path, AtFlags::empty()) {
                    // Too many names already, another filesystem, or somebody else's file.
                    Err(Errno::MLINK | Errno::XDEV | Errno::PERM | Errno::NOENT) => return Ok(None),
                    other => other.named("link", &full)?,
                }
            }
            Sharing::Clone => {
                let file = self.create(path)?;
                if !disk::share_blocks(source.as_fd(), file.as_fd()).named("clone", &full)? {
                    let near = self.reach(path)?;
                    sys::unlinkat(near.dir(), near.path, AtFlags::empty()).named("remove", &full)?;
                    return Ok(None);
                }
                self.finish(&file, entry, content)?;
            }
        }
        Ok(Some(Taken { path: path.clone(), sharing: donor.sharing, seen: seen(&sys::fstat(&source).named("look at", &full)?) }))
    }

    /// Writes a part of a file, which is finished by whoever writes the last one.
    fn part(&self, part: &Part<'_>, pieces: &mut Pieces<'_>, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
        let Making { entry, content, .. } = part.file;
        let full = self.into.join(&entry.node.path);
        let file = part.file.open(|| self.create(&entry.node.path))?;
        let mut at = part.at;
        for chunk in part.chunks {
            let piece = pieces.read(chunk, content)?;
            write_around(&file, piece, at, &content.holes).named("write", &full)?;
            at += piece.len() as u64;
            progress(piece.len() as u64);
        }
        if part.file.is_last() { self.finish(&file, entry, content) } else { Ok(()) }
    }

    fn create(&self, path: &Path) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let made = disk::open_beneath(self.dir.as_fd(), path, flags, Mode::from_raw_mode(0o600));
        made.map(File::from).named("create", self.into.join(path))
    }

    /// Everything about a file but its content.
    fn finish(&self, file: &File, entry: &Entry, content: &Entry) -> Result<()> {
        if !content.holes.is_empty() {
            // It may end in a hole.
            file.set_len(content.node.kind.size()).named("write", self.into.join(&entry.node.path))?;
        }
        self.dress(file.as_fd(), entry, &entry.node.path)
    }

    /// Creates a file with what is in `content`; `fill` is given what takes it, piece by piece.
    fn file(
        &self,
        entry: &Entry,
        content: &Entry,
        progress: &(dyn Fn(u64) + Sync),
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let full = self.into.join(&entry.node.path);
        let file = self.create(&entry.node.path)?;
        let mut at = 0;
        fill(&mut |piece| {
            write_around(&file, piece, at, &content.holes).named("write", &full)?;
            at += piece.len() as u64;
            progress(piece.len() as u64);
            Ok(())
        })?;
        self.finish(&file, entry, content)
    }

    /// Creates a symbolic link, a pipe or a device, of this kind whatever the entry's own is; false for one that takes root.
    fn other(&self, entry: &Entry, kind: &Kind) -> Result<bool> {
        let (path, meta) = (&entry.node.path, &entry.node.meta);
        let full = self.into.join(path);
        let near = self.reach(path)?;
        let node = |kind, device| sys::mknodat(near.dir(), near.path, kind, Mode::from_raw_mode(0o600), device);
        match kind {
            Kind::Symlink { target } => sys::symlinkat(target.as_os_str(), near.dir(), near.path).named("create the link", &full)?,
            Kind::Fifo => node(sys::FileType::Fifo, 0).named("create the pipe", &full)?,
            Kind::Char { major, minor } | Kind::Block { major, minor } => {
                let kind = if matches!(kind, Kind::Char { .. }) { sys::FileType::CharacterDevice } else { sys::FileType::BlockDevice };
                match node(kind, sys::makedev(*major, *minor)) {
                    Err(Errno::PERM) => {
                        self.lose(path, DEVICE.into());
                        return Ok(false);
                    }
                    other => other.named("create the device", &full)?,
                }
            }
            _ => return Ok(true),
        }
        let (uid, gid) = self.owners.of(meta);
        let owned = sys::chownat(near.dir(), near.path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        self.owned(owned, path, &full, meta)?;
        if !matches!(kind, Kind::Symlink { .. }) {
            sys::chmodat(near.dir(), near.path, Mode::from_raw_mode(meta.mode), AtFlags::empty()).named("set the permissions of", &full)?;
        }
        let way = disk::way_to(near.dir(), near.path).unwrap_or_else(|| full.clone());
        for (name, value) in &meta.xattrs {
            let set = sys::lsetxattr(&way, OsStr::from_bytes(name), value, XattrFlags::empty());
            self.attribute(set, path, name);
        }
        disk::set_mtime(near.dir(), near.path, meta.mtime).named("set the time of", &full).map(|()| true)
    }

    /// Owner, then permissions (changing the owner clears set-id bits), then attributes, then times.
    fn dress(&self, fd: BorrowedFd<'_>, entry: &Entry, path: &Path) -> Result<()> {
        let meta = &entry.node.meta;
        let full = self.into.join(path);
        let (uid, gid) = self.owners.of(meta);
        self.owned(sys::fchown(fd, Some(uid), Some(gid)), path, &full, meta)?;
        sys::fchmod(fd, Mode::from_raw_mode(meta.mode)).named("set the permissions of", &full)?;
        for (name, value) in &meta.xattrs {
            let set = sys::fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty());
            self.attribute(set, path, name);
        }
        sys::futimens(fd, &disk::times(meta.mtime)).named("set the time of", &full)
    }

    fn owned(&self, set: rustix::io::Result<()>, path: &Path, full: &Path, meta: &Meta) -> Result<()> {
        match set {
            Err(Errno::PERM) => {
                let owner = |name: &Option<Arc<str>>, id: u32| name.as_deref().map_or(id.to_string(), str::to_owned);
                let (user, group) = (owner(&meta.user, meta.uid), owner(&meta.group, meta.gid));
                self.lose(path, format!("owner {user}:{group}, which only root can set"));
                Ok(())
            }
            other => other.named("set the owner of", full).map(|()| self.owners.note(meta)),
        }
    }

    fn attribute(&self, set: rustix::io::Result<()>, path: &Path, name: &[u8]) {
        if let Err(e) = set {
            let why = std::io::Error::from(e);
            self.lose(path, format!("attribute {}: {why}", name.escape_ascii()));
        }
    }

    fn lose(&self, path: &Path, what: String) {
        self.lost.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((path.to_owned(), what));
    }
}

/// A user or group that is not the same here as where the archive was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerChange {
    /// `user` or `group`.
    pub kind: &'static str,
    /// Its name there.
    pub name: Arc<str>,
    /// Its number there.
    pub was: u32,
    /// The number of that name here; without one, nobody has the name, and the number is kept.
    pub is: Option<u32>,
}

impl OwnerChange {
    /// All of them in one sentence; none where there are none.
    pub fn sentence(changes: &[OwnerChange]) -> Option<String> {
        let mapped = changes.iter().filter(|change| change.is.is_some()).count();
        let names = |count: usize| format!("{count} {}", if count == 1 { "name" } else { "names" });
        let has = |count: usize| if count == 1 { "has another number" } else { "have other numbers" };
        let unknown = changes.len() - mapped;
        let is = |count: usize| if count == 1 { "is" } else { "are" };
        match (mapped, unknown) {
            (0, 0) => None,
            (_, 0) => Some(format!("{} of owners {} here, which is used", names(mapped), has(mapped))),
            (0, _) => Some(format!("{} of owners {} unknown here: the number is used", names(unknown), is(unknown))),
            _ => Some(format!(
                "{} of owners {} here, which is used; {unknown} {} unknown here: the number is used",
                names(mapped),
                has(mapped),
                is(unknown)
            )),
        }
    }
}

impl std::fmt::Display for OwnerChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let OwnerChange { kind, name, was, is } = self;
        match is {
            Some(is) => write!(f, "{kind} {name} was {was} and is {is} here"),
            None => write!(f, "{kind} {name} is unknown here: {was} is used"),
        }
    }
}

/// Ids on this machine for the names of the captured one; the captured numbers where a name is unknown here.
#[derive(Default)]
struct Owners {
    users: Mutex<HashMap<Arc<str>, Option<u32>>>,
    groups: Mutex<HashMap<Arc<str>, Option<u32>>>,
    changes: Mutex<BTreeSet<OwnerChange>>,
}

impl Owners {
    fn of(&self, meta: &Meta) -> (sys::Uid, sys::Gid) {
        let (user, group) = (self.user(meta), self.group(meta));
        (sys::Uid::from_raw(user.flatten().unwrap_or(meta.uid)), sys::Gid::from_raw(group.flatten().unwrap_or(meta.gid)))
    }

    /// The number of the name here, if it has one, if there is a name.
    fn user(&self, meta: &Meta) -> Option<Option<u32>> {
        let ask = |name: &str| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
        meta.user.as_ref().map(|name| known(&self.users, name, ask))
    }

    fn group(&self, meta: &Meta) -> Option<Option<u32>> {
        let ask = |name: &str| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
        meta.group.as_ref().map(|name| known(&self.groups, name, ask))
    }

    /// Remembers how the owner that was set differs from the one that was captured.
    fn note(&self, meta: &Meta) {
        let both = [("user", &meta.user, meta.uid, self.user(meta)), ("group", &meta.group, meta.gid, self.group(meta))];
        for (kind, name, was, here) in both {
            if let (Some(name), Some(is)) = (name, here)
                && is != Some(was)
            {
                let change = OwnerChange { kind, name: name.clone(), was, is };
                self.changes.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(change);
            }
        }
    }
}

fn known(cache: &Mutex<HashMap<Arc<str>, Option<u32>>>, name: &Arc<str>, ask: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    let mut cache = cache.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    *cache.entry(name.clone()).or_insert_with(|| ask(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_that_differ_are_told_in_one_sentence() {
        let change = |is| OwnerChange { kind: "user", name: "eve".into(), was: 5, is };
        let said = |changes: &[Option<u32>]| OwnerChange::sentence(&changes.iter().copied().map(change).collect::<Vec<_>>()).unwrap_or_default();
        assert_eq!(said(&[]), "");
        assert_eq!(said(&[Some(7)]), "1 name of owners has another number here, which is used");
        assert_eq!(said(&[None, None]), "2 names of owners are unknown here: the number is used");
        assert_eq!(
            said(&[Some(7), Some(8), None]),
            "2 names of owners have other numbers here, which is used; 1 is unknown here: the number is used"
        );
        assert_eq!(change(Some(7)).to_string(), "user eve was 5 and is 7 here");
    }

    #[test]
    fn a_wrong_map_of_holes_changes_no_byte() {
        let content: Vec<u8> = (0..200_000u32).map(|at| if at / 30_000 % 2 == 0 { 0 } else { at as u8 | 1 }).collect();
        let all = content.len() as u64;
        for holes in [&[][..], &[(0, 30_000), (60_000, 30_000)], &[(0, all)], &[(1, 10), (20, 40_000), (70_000, 100_000)], &[(150_000, 50_000)]] {
            let file = tempfile::tempfile().unwrap();
            let mut at = 0;
            for piece in content.chunks(47_000) {
                write_around(&file, piece, at, holes).unwrap();
                at += piece.len() as u64;
            }
            file.set_len(at).unwrap();
            let mut read = vec![1; content.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == content, "{holes:?}");
        }
    }
}
