//! Extended attributes of an entry, however it is reached.

use super::way_to;
use crate::error::{Error, Named, Result};
use crate::tree::Xattr;
use rustix::fs::{self as sys, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Extended attributes of an entry, links not followed. Filesystems without them have none.
///
/// # Errors
/// [`Error::Path`].
pub fn xattrs(path: &Path) -> Result<Vec<Xattr>> {
    read_xattrs(path, |list| sys::llistxattr(path, list), |name, value| sys::lgetxattr(path, name, value))
}

/// Extended attributes of an open file; `path` is for the message.
///
/// # Errors
/// [`Error::Path`].
pub fn xattrs_of(file: BorrowedFd<'_>, path: &Path) -> Result<Vec<Xattr>> {
    read_xattrs(path, |list| sys::flistxattr(file, list), |name, value| sys::fgetxattr(file, name, value))
}

/// Extended attributes of the entry `name` of an open folder, links not followed; `path` is the whole one, for the message.
///
/// # Errors
/// [`Error::Path`].
pub fn xattrs_at(dir: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Vec<Xattr>> {
    if let Some(way) = way_to(dir, Path::new(name)) {
        return read_xattrs(path, |list| sys::llistxattr(&way, list), |name, value| sys::lgetxattr(&way, name, value));
    }
    match xattrs(path) {
        // Not for links, which cannot be opened: nothing knows theirs then.
        Err(Error::Path { source, .. }) if source.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) => {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            xattrs_of(sys::openat(dir, name, flags, Mode::empty()).named("read the attributes of", path)?.as_fd(), path)
        }
        other => other,
    }
}

/// `list` and `get` fill a buffer as the system's calls do.
fn read_xattrs(
    path: &Path,
    list: impl Fn(&mut Vec<u8>) -> rustix::io::Result<usize>,
    get: impl Fn(&OsStr, &mut Vec<u8>) -> rustix::io::Result<usize>,
) -> Result<Vec<Xattr>> {
    let mut names = vec![0u8; 1024];
    let length = loop {
        match list(&mut names) {
            Ok(length) => break length,
            Err(Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
            Err(e) => return Err(e).named("list the attributes of", path),
        }
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 256];
        let length = loop {
            match get(OsStr::from_bytes(name), &mut value) {
                Ok(length) => break Some(length),
                Err(Errno::RANGE) => value.resize(value.len() * 8, 0),
                Err(Errno::NODATA) => break None,
                Err(e) => return Err(e).named("read the attributes of", path),
            }
        };
        if let Some(length) = length {
            value.truncate(length);
            found.push((name.to_vec(), value));
        }
    }
    found.sort_unstable();
    Ok(found)
}
