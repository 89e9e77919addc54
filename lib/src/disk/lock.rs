//! The kernel's locks: who works, who reads, and whether what is read may be removed.

use super::stat;
use crate::error::{Error, Named, Result};
use rustix::fs::{self as sys, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A kernel lock on a file: gone with the process, however it ends. The file says who holds it, for people only.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock for this process alone; `holder` is what others will be told.
    ///
    /// # Errors
    /// [`Error::Locked`] naming the holder, [`Error::Path`].
    pub fn exclusive(path: &Path, holder: &str) -> Result<Lock> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).named("open", path)?;
        match sys::flock(&file, sys::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // The note is a courtesy; on a full disk the lock holds without it.
                let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
                Ok(Lock { _file: file })
            }
            Err(Errno::WOULDBLOCK) => {
                let mut told = String::new();
                // What the holder wrote is a courtesy; the lock is the fact.
                let _ = (&mut file).take(1000).read_to_string(&mut told);
                let told = if told.is_empty() { "another process" } else { told.trim() };
                Err(Error::Locked(format!("{} is locked by {told}", path.display())))
            }
            Err(e) => Err(e).named("lock", path),
        }
    }

    /// Keeps an open file from being removed by whoever asks for its exclusive lock first.
    ///
    /// # Errors
    /// [`Error::Locked`] while somebody removes it; [`Error::Path`], also where it was removed before the lock was had.
    pub fn shared(file: &File, path: &Path) -> Result<()> {
        match sys::flock(file, sys::FlockOperation::NonBlockingLockShared) {
            Ok(()) if is_gone(file, path)? => Err(Errno::NOENT).named("read", path),
            Ok(()) => Ok(()),
            // A network filesystem without locks must not keep anybody from reading.
            Err(Errno::NOLCK | Errno::NOTSUP | Errno::NOSYS | Errno::BADF) => Ok(()),
            Err(Errno::WOULDBLOCK) => Err(Error::Locked(format!("{} is being removed by another process", path.display()))),
            Err(e) => Err(e).named("lock", path),
        }
    }

    /// Opens a file that is to be removed, under a lock that nobody shares: who reads it has a shared one, and who comes now is told
    /// that it goes. `None` while somebody reads it.
    ///
    /// # Errors
    /// [`Error::Path`], also where another file has taken its place meanwhile.
    pub fn alone(path: &Path) -> Result<Option<File>> {
        // Network filesystems lock alone what is open for writing only; the owner of a closed folder may not write all that is in it.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match sys::open(path, flags | OFlags::RDWR, Mode::empty()) {
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => sys::open(path, flags | OFlags::RDONLY, Mode::empty()),
            other => other,
        };
        let file = File::from(file.named("open", path)?);
        match sys::flock(&file, sys::FlockOperation::NonBlockingLockExclusive) {
            // Where there are no locks, nobody can have one.
            Ok(()) | Err(Errno::NOLCK | Errno::NOTSUP | Errno::NOSYS | Errno::BADF) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(e).named("lock", path),
        }
        let (held, named) = (sys::fstat(&file).named("look at", path)?, stat(path)?);
        match named {
            Some(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => Ok(Some(file)),
            _ => Err(std::io::Error::other("another file has taken its place")).named("lock", path),
        }
    }
}

/// Whether an open file has no name any more. Some filesystems in user space do not count names, so its own is looked for too.
fn is_gone(file: &File, path: &Path) -> Result<bool> {
    let held = sys::fstat(file).named("look at", path)?;
    Ok(held.st_nlink == 0 && !sys::stat(path).is_ok_and(|named| (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::remove_file;
    use std::fs;
    use std::io::ErrorKind;

    #[test]
    fn a_second_holder_is_told_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::exclusive(&path, "pid 7, eco-restore").unwrap();
        let second = Lock::exclusive(&path, "pid 8").unwrap_err();
        assert!(matches!(&second, Error::Locked(who) if who.contains("pid 7, eco-restore")), "{second}");
        drop(first);
        Lock::exclusive(&path, "pid 8").unwrap();
    }

    #[test]
    fn what_is_read_is_not_removed_and_what_is_removed_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let [reader, late] = [(); 2].map(|()| File::open(&path).unwrap());
        Lock::shared(&reader, &path).unwrap();
        assert!(Lock::alone(&path).unwrap().is_none());
        drop(reader);
        let remover = Lock::alone(&path).unwrap().unwrap();
        assert!(matches!(Lock::shared(&late, &path), Err(Error::Locked(said)) if said.ends_with("is being removed by another process")));
        remove_file(&path).unwrap();
        drop(remover);
        // Opened before, locked after: nobody else can find it any more.
        assert!(matches!(Lock::shared(&late, &path), Err(Error::Path { source, .. }) if source.kind() == ErrorKind::NotFound));
        assert!(Lock::alone(&path).is_err());
        std::os::unix::fs::symlink("b", &path).unwrap();
        fs::write(dir.path().join("b"), "x").unwrap();
        assert!(Lock::alone(&path).is_err());
    }
}
