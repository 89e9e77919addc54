//! File operations that name their path, never follow a link they did not expect, and are durable when they say so. The
//! platform's own calls (exchange, flush of a filesystem, locks, resolution beneath a folder) live here and nowhere else.

#![allow(clippy::unnecessary_cast, reason = "on other platforms the fields of a stat have other types")]

mod attributes;
mod lock;
mod remove;

pub use attributes::{xattrs, xattrs_at, xattrs_of};
pub use lock::Lock;
pub use remove::{remove_file, remove_tree};

use crate::error::{Error, Named, Result};
use crate::tree::{Hole, Identity, Kind, Meta, Mtime, Node};
use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Added to the flags of a folder that is only passed through: it need not be one that may be listed.
#[cfg(target_os = "linux")]
pub const LOOKUP: OFlags = OFlags::PATH;
/// Where there is no such thing, it must be one that may be listed.
#[cfg(not(target_os = "linux"))]
pub const LOOKUP: OFlags = OFlags::empty();

/// Opens a folder for use as the place that names are resolved beneath.
///
/// # Errors
/// [`Error::Path`].
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    sys::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).named("open", path)
}

/// Opens a file strictly beneath `dir`: no link on the way is followed, nothing can lead outside, and no path is too long.
///
/// # Errors
/// The system's; `ELOOP` and `EXDEV` mean that a link or `..` was in the way.
pub fn open_beneath(dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let near = reach(dir, path)?;
    open_short(near.dir(), near.path, flags, mode)
}

/// What the system's calls take in one piece, with some room for a folder in front of it.
const LONGEST_PATH: usize = 3800;

/// A path in the form in which the system's calls take it: relative to a folder that is near enough.
#[derive(Debug)]
pub struct Near<'a> {
    from: BorrowedFd<'a>,
    folder: Option<OwnedFd>,
    /// What is left of the path, from [`Near::dir`] on.
    pub path: &'a Path,
}

impl Near<'_> {
    /// The folder.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.folder.as_ref().map_or(self.from, |folder| folder.as_fd())
    }
}

/// Goes down from `dir` along `path`, following no link, as far as it takes for the rest to be short enough for the system's calls.
/// That is nowhere for most paths.
///
/// # Errors
/// The system's, as [`open_beneath`].
pub fn reach<'a>(dir: BorrowedFd<'a>, path: &'a Path) -> rustix::io::Result<Near<'a>> {
    let mut near = Near { from: dir, folder: None, path };
    loop {
        let bytes = near.path.as_os_str().as_bytes();
        let slash = bytes.get(..LONGEST_PATH).and_then(|head| head.iter().rposition(|byte| *byte == b'/'));
        // A single name beyond all limits is for the system to refuse.
        let Some(slash) = slash else { return Ok(near) };
        let head = Path::new(OsStr::from_bytes(&bytes[..slash]));
        near.folder = Some(open_short(near.dir(), head, OFlags::DIRECTORY | LOOKUP, Mode::empty())?);
        near.path = Path::new(OsStr::from_bytes(&bytes[slash + 1..]));
    }
}

fn open_short(dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(target_os = "linux")]
    match sys::openat2(dir, path, flags, mode, sys::ResolveFlags::BENEATH | sys::ResolveFlags::NO_SYMLINKS) {
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other,
    }
    open_stepwise(dir, path, flags, mode)
}

/// The same without the kernel's help: one folder at a time, none of them a link.
fn open_stepwise(dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let mut names = path.components().peekable();
    let mut here: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let at = here.as_ref().map_or(dir, |fd| fd.as_fd());
        if !matches!(name, std::path::Component::Normal(_)) {
            return Err(Errno::XDEV);
        }
        if names.peek().is_none() {
            return sys::openat(at, name.as_os_str(), flags, mode);
        }
        here = Some(sys::openat(at, name.as_os_str(), OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    }
    Err(Errno::INVAL)
}

/// What `lstat` says, as the tree's words. The symlink's target, the names of the owners and the extended attributes are not
/// asked here.
pub fn describe(path: PathBuf, stat: &Stat) -> (Node, Identity) {
    let (major, minor) = (sys::major(stat.st_rdev as _), sys::minor(stat.st_rdev as _));
    let kind = match FileType::from_raw_mode(stat.st_mode as _) {
        FileType::RegularFile => Kind::File { size: stat.st_size as u64 },
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink { target: OsString::new() },
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::Char { major, minor },
        FileType::BlockDevice => Kind::Block { major, minor },
        _ => Kind::Socket,
    };
    let meta = Meta {
        mode: stat.st_mode as u32 & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Mtime { seconds: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 },
        ..Meta::default()
    };
    (Node { path, kind, meta }, identity(stat))
}

/// Which object this is, and when it was last touched.
pub fn identity(stat: &Stat) -> Identity {
    let ctime_ns = (stat.st_ctime as i64).saturating_mul(1_000_000_000).saturating_add(i64::from(stat.st_ctime_nsec as u32));
    Identity { dev: stat.st_dev as u64, ino: stat.st_ino as u64, ctime_ns }
}

/// Whether something is mounted here. Of a mount from the same filesystem (a bind mount) only the kernel can tell.
///
/// # Errors
/// [`Error::Path`].
pub fn is_mount_point(path: &Path) -> Result<bool> {
    #[cfg(target_os = "linux")]
    if let Ok(found) = sys::statx(sys::CWD, path, AtFlags::SYMLINK_NOFOLLOW, sys::StatxFlags::empty())
        && found.stx_attributes_mask.contains(sys::StatxAttributes::MOUNT_ROOT)
    {
        return Ok(found.stx_attributes.contains(sys::StatxAttributes::MOUNT_ROOT));
    }
    let (Some(own), Some(above)) = (stat(path)?, stat(parent(path))?) else { return Ok(false) };
    Ok(own.st_dev != above.st_dev)
}

/// Mount points below this folder: renaming a folder that holds one would take it along. None on systems that do not tell.
pub fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let list = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let places = list.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    places.map(unescaped).filter(|place| place != folder && place.starts_with(folder)).collect()
}

/// Whether a folder can be renamed, asked without renaming it: onto `occupied`, a folder that is not empty and stays so, no folder can
/// ever be moved, and the reason that the system gives shows whether it would have to be refused elsewhere too. A mount point cannot
/// be renamed, nor can a folder in a lower layer of an overlay.
///
/// # Errors
/// The system's, for any other reason.
pub fn is_movable(folder: &Path, occupied: &Path) -> rustix::io::Result<bool> {
    match sys::rename(folder, occupied) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(true),
        Err(Errno::XDEV | Errno::BUSY) => Ok(false),
        Err(e) => Err(e),
        Ok(()) => Err(Errno::NOTEMPTY),
    }
}

/// The kernel writes blanks and backslashes in this list as `\040`.
fn unescaped(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), field);
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

/// `lstat`, or `None` where nothing is.
///
/// # Errors
/// [`Error::Path`] when it cannot be told.
pub fn stat(path: &Path) -> Result<Option<Stat>> {
    match sys::lstat(path) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e).named("look at", path),
    }
}

/// Inodes of files that some process has mapped to write to them, as far as this user may see. What is written through a page that is
/// dirty already, or on a filesystem in memory, leaves no trace in the times of its file.
pub fn mapped() -> HashSet<u64> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = HashSet::new();
    for process in processes.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit())) {
        // Processes end while they are asked, and those of others do not answer.
        for line in fs::read(process.join("maps")).unwrap_or_default().split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
            let shared = fields.nth(1).is_some_and(|rights| rights.get(1) == Some(&b'w') && rights.get(3) == Some(&b's'));
            let inode = fields.nth(2).filter(|_| shared).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
            found.extend(inode.filter(|inode| *inode != 0));
        }
    }
    found
}

/// Names in a folder, in byte order.
///
/// # Errors
/// [`Error::Path`].
pub fn names(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in sys::Dir::read_from(dir).named("list", path)? {
        let entry = entry.named("list", path)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A path to what is `path` from an open folder, for the calls that take nothing but a path; an empty one is the folder itself.
/// `None` where the system has no such paths, or not for this process.
pub fn way_to(dir: BorrowedFd<'_>, path: &Path) -> Option<PathBuf> {
    static HAS_PROC: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let way = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    // A process that has changed its user may be kept from it.
    let works =
        || sys::stat(way.join(".")).is_ok_and(|there| sys::fstat(dir).is_ok_and(|here| (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)));
    HAS_PROC.get_or_init(works).then(|| if path.as_os_str().is_empty() { way.clone() } else { way.join(path) })
}

/// A file with more holes than this is as good as one without: the map would be longer than what it saves.
pub const MOST_HOLES: usize = 100_000;

/// The holes of an open file of this size, in order, as the filesystem tells them: a hint, and none where it makes no sense. Moves the
/// position.
pub fn holes(file: &File, size: u64) -> Vec<Hole> {
    find_holes(file, size).unwrap_or_default()
}

#[cfg(target_os = "linux")]
fn find_holes(file: &File, size: u64) -> Option<Vec<Hole>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < size {
        let data = match sys::seek(file, sys::SeekFrom::Data(at)) {
            // No more data behind it.
            Err(Errno::NXIO) => size,
            other => other.ok()?.min(size),
        };
        if data > at {
            found.push((at, data - at));
        }
        if data < at || found.len() > MOST_HOLES {
            return None;
        }
        if data == size {
            break;
        }
        at = sys::seek(file, sys::SeekFrom::Hole(data)).ok().filter(|hole| *hole > data)?;
    }
    Some(found)
}

#[cfg(not(target_os = "linux"))]
fn find_holes(_: &File, _: u64) -> Option<Vec<Hole>> {
    None
}

/// Replaces a file with these bytes so that after a power cut it holds either the old or the new ones: hidden temporary, flush,
/// rename, flush of the folder.
///
/// # Errors
/// [`Error::Path`]; the old file is still there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    replace_with(path, bytes, mode, None)
}

/// As [`replace`], with exactly these permissions if they are given; `mode` is what a new file gets, less what the user's mask takes.
///
/// # Errors
/// As [`replace`].
pub fn replace_with(path: &Path, bytes: &[u8], mode: u32, exactly: Option<&fs::Permissions>) -> Result<()> {
    let folder = parent(path);
    let mut hidden = OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(hidden);
    let write = || -> Result<()> {
        // What an earlier run with our number left when it was killed; and where others may write, a link that they put there.
        let _ = fs::remove_file(&temporary);
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&temporary).named("create", &temporary)?;
        if let Some(permissions) = exactly {
            file.set_permissions(permissions.clone()).named("set the permissions of", &temporary)?;
        }
        file.write_all(bytes).named("write", &temporary)?;
        file.sync_all().named("flush", &temporary)?;
        fs::rename(&temporary, path).named("rename into place", path)
    };
    write().inspect_err(|_| {
        // Best effort: the error that matters is the one above.
        let _ = fs::remove_file(&temporary);
    })?;
    sync_dir(folder)
}

/// The folder that holds this path.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// [`Error::Path`].
pub fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).named("flush the folder", path)
}

/// Makes the names in several folders durable. They are flushed at the same time, because a filesystem serves those who wait for one
/// flush of its log together.
///
/// # Errors
/// [`Error::Path`], of the first that cannot be flushed.
pub fn sync_dirs<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let all: Vec<&Path> = folders.into_iter().collect();
    let shares = all.chunks(all.len().div_ceil(FLUSHES).max(1));
    std::thread::scope(|scope| {
        let flushes: Vec<_> = shares.map(|share| scope.spawn(move || share.iter().try_for_each(|folder| sync_dir(folder)))).collect();
        let results = flushes.into_iter().map(|flush| flush.join().unwrap_or_else(|_| Err(Error::Other("a flush ended in a panic".into()))));
        results.fold(Ok(()), Result::and)
    })
}

/// So many folders are flushed at the same time.
const FLUSHES: usize = 8;

/// Makes everything on the filesystem that holds `dir` durable.
///
/// # Errors
/// [`Error::Path`]; what was written since `dir` was opened may be lost.
pub fn sync_filesystem(dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    return sys::syncfs(dir).named("flush the filesystem of", path);
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        sys::fsync(dir).named("flush", path)
    }
}

/// Makes `to`, an empty file, share all blocks of `from`: the content is there at once, and what is written to either file later is its
/// own. False where the filesystem cannot.
///
/// # Errors
/// The system's, for any other reason.
pub fn share_blocks(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    #[cfg(target_os = "linux")]
    match sys::ioctl_ficlone(to, from) {
        Ok(()) => return Ok(true),
        Err(Errno::NOTSUP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    let _ = (from, to);
    Ok(false)
}

/// Whether files in this folder can share blocks, tried with two that have no name.
pub fn shares_blocks(folder: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        let nameless = || sys::open(folder, OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        let tried = nameless().and_then(|from| nameless().and_then(|to| share_blocks(from.as_fd(), to.as_fd())));
        tried == Ok(true)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        false
    }
}

/// Two names change places in one step: every observer sees either both before or both after.
///
/// # Errors
/// The system's: `EXDEV` across mounts, `EBUSY` on a mount point, `EINVAL` where the filesystem cannot.
pub fn exchange(one: &Path, other: &Path) -> rustix::io::Result<()> {
    // XFS takes it for a change of what changes places.
    let times = [one, other].map(|path| sys::lstat(path).map(|stat| Mtime { seconds: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 }));
    sys::renameat_with(sys::CWD, one, sys::CWD, other, sys::RenameFlags::EXCHANGE)?;
    for (path, before) in [other, one].into_iter().zip(times) {
        let _ = before.and_then(|mtime| set_mtime(sys::CWD.as_fd(), path, mtime));
    }
    Ok(())
}

/// Whether an error of [`exchange`] says that this filesystem knows no exchange, as NFS and many in user space do not.
pub fn knows_no_exchange(e: Errno) -> bool {
    matches!(e, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
}

/// Makes an entry of an overlay one of its upper layer, as a rename would, so that it keeps its inode from then on. Everywhere else this
/// does nothing.
///
/// # Errors
/// The system's: there may be no room for it.
pub fn claim(path: &Path) -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        const OVERLAY: i64 = 0x794c_7630;
        let above = path.parent().unwrap_or(path);
        if sys::statfs(above).is_ok_and(|found| found.f_type as i64 == OVERLAY) {
            let stat = sys::lstat(path)?;
            // The time that it has already: nothing changes but where it is stored.
            let mtime = Mtime { seconds: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 };
            return set_mtime(sys::CWD, path, mtime);
        }
    }
    let _ = path;
    Ok(())
}

/// How many nanoseconds the times of files in this folder are apart: filesystems that keep less than others round down.
///
/// # Errors
/// [`Error::Path`] when nothing can be written there.
pub fn time_step(folder: &Path) -> Result<u32> {
    let trial = folder.join("time");
    let seen = File::create(&trial).and_then(|file| {
        set_mtime(sys::CWD, &trial, Mtime { seconds: 1, nanos: 111_111_111 })?;
        Ok(sys::fstat(&file)?.st_mtime_nsec as u32)
    });
    fs::remove_file(&trial).named("remove", &trial)?;
    Ok(match seen.named("set the time of", &trial)? {
        111_111_111 => 1,
        111_111_000 => 1_000,
        111_000_000 => 1_000_000,
        _ => 1_000_000_000,
    })
}

/// Moves a name to where nothing is. On a filesystem that cannot promise this by itself it is looked first.
///
/// # Errors
/// The system's: `EEXIST` where something is.
pub fn rename_to_free(from: &Path, to: &Path) -> rustix::io::Result<()> {
    match sys::renameat_with(sys::CWD, from, sys::CWD, to, sys::RenameFlags::NOREPLACE) {
        Err(e) if knows_no_exchange(e) => match sys::lstat(to) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => sys::rename(from, to),
            Err(e) => Err(e),
        },
        other => other,
    }
}

/// Creates a private folder (0700) and makes its name durable. One that is there already must be a folder of ours.
///
/// # Errors
/// [`Error::Path`]; [`Error::Refused`] if the name is taken by something that others can write to.
pub fn private_dir(path: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => match stat(path)? {
            Some(found) if FileType::from_raw_mode(found.st_mode as _) == FileType::Directory && found.st_mode & 0o022 == 0 => Ok(()),
            _ => Err(Error::Refused(format!("{} is there already and is not a private folder", path.display()))),
        },
        Err(e) => Err(e).named("create the folder", path),
    }
}

/// Reads exactly `length` bytes at `offset`.
///
/// # Errors
/// [`Error::Path`]; the end of the file is one.
pub fn read_at(file: &File, path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).named("read", path)?;
    Ok(bytes)
}

/// Sets an entry's times, links not followed.
///
/// # Errors
/// The system's.
pub fn set_mtime(dir: BorrowedFd<'_>, path: &Path, mtime: Mtime) -> rustix::io::Result<()> {
    sys::utimensat(dir, path, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// This modification time, and now for the last access: with that left out, older filesystems in user space set neither.
pub fn times(mtime: Mtime) -> sys::Timestamps {
    let last_modification = sys::Timespec { tv_sec: mtime.seconds as _, tv_nsec: mtime.nanos as _ };
    sys::Timestamps { last_access: sys::Timespec { tv_sec: 0, tv_nsec: sys::UTIME_NOW as _ }, last_modification }
}

/// Does some work in these folders and leaves their modification times as they were, where that can be done.
pub fn keeping_times<const N: usize, T>(folders: [&Path; N], work: impl FnOnce() -> T) -> T {
    let times = folders.map(|folder| (folder, sys::stat(folder).ok()));
    let done = work();
    for (folder, before) in times {
        if let Some(before) = before {
            let mtime = Mtime { seconds: before.st_mtime as i64, nanos: before.st_mtime_nsec as u32 };
            // Somebody else's folder: the name in it changed, its time has to as well.
            let _ = set_mtime(sys::CWD, folder, mtime);
        }
    }
    done
}

/// Creates the folders that are missing on the way to `folder`, and it, and makes their names durable.
///
/// # Errors
/// [`Error::Path`].
pub fn create_dirs(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    create_dirs(parent(folder))?;
    fs::create_dir(folder).named("create the folder", folder)?;
    sync_dir(parent(folder))
}

/// Removes what [`replace`] leaves in a folder when it is killed. Only for a folder that nobody else may be writing in.
///
/// # Errors
/// [`Error::Path`].
pub fn sweep_temporaries(folder: &Path) -> Result<()> {
    for name in names(open_dir(folder)?.as_fd(), folder)? {
        if name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(b".tmp") {
            fs::remove_file(folder.join(&name)).named("remove", folder.join(&name))?;
        }
    }
    Ok(())
}

/// Free bytes and free inodes on the filesystem that holds `path`, as this user may use them. Filesystems that do not count
/// inodes report as many as there could be.
///
/// # Errors
/// [`Error::Path`].
pub fn free_space(path: &Path) -> Result<(u64, u64)> {
    let found = sys::statvfs(path).named("ask for the free space of", path)?;
    let inodes = if found.f_files == 0 { u64::MAX } else { found.f_favail };
    Ok((found.f_bavail.saturating_mul(found.f_frsize), inodes))
}

/// What is missing in `folder` to write so many bytes in so many entries, in half a sentence; nothing when there is room. A tenth more
/// than the content is asked for: folders, and blocks that are not full.
///
/// # Errors
/// [`Error::Path`].
pub fn room(folder: &Path, (content, entries): (u64, u64)) -> Result<Option<String>> {
    let (bytes, inodes) = free_space(folder)?;
    let (need, entries) = (content + content / 10 + entries * 4096, entries + 16);
    let shown = folder.display();
    Ok(match () {
        () if bytes < need => Some(format!("{} MiB are needed in {shown}, {} are free", need.div_ceil(1 << 20), bytes >> 20)),
        () if inodes < entries => Some(format!("{entries} inodes are needed in {shown}, {inodes} are free")),
        () => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolution_stays_beneath_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("outside"), "x").unwrap();
        fs::create_dir_all(dir.path().join("in/a")).unwrap();
        fs::write(dir.path().join("in/a/f"), "x").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("in/link")).unwrap();
        let root = open_dir(&dir.path().join("in")).unwrap();
        let open = |path: &str| open_beneath(root.as_fd(), Path::new(path), OFlags::RDONLY, Mode::empty());
        let slow = |path: &str| open_stepwise(root.as_fd(), Path::new(path), OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
        assert!(open("a/f").is_ok() && slow("a/f").is_ok());
        for path in ["link/f", "../outside", "a/../../outside", "link"] {
            assert!(open(path).is_err() && slow(path).is_err(), "{path}");
        }
    }

    #[test]
    fn replacing_leaves_no_temporary_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("no/such"), b"", 0o600).is_err());
    }
}
