//! Pins: a person's word that a snapshot stays, as a file beside the archive with `.pinned` behind its name.

use super::Stored;
use crate::disk::{self, Lock};
use crate::error::{Error, Named, Result};
use crate::time::Timestamp;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) fn path_of(archive: &Path) -> PathBuf {
    let mut name = OsString::from(archive);
    name.push(".pinned");
    name.into()
}

/// Whether somebody wants this archive kept. Where that cannot be told, somebody might.
pub(super) fn is_pinned(archive: &Path) -> bool {
    !matches!(fs::symlink_metadata(path_of(archive)), Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// Pins the archive at `path`, which need not be there yet.
pub(super) fn write(path: &Path, now: Timestamp) -> Result<()> {
    disk::replace(&path_of(path), format!("{{\"time\":\"{now}\"}}\n").as_bytes(), 0o600)
}

/// Pins a snapshot: no retention rule lets it go until it is unpinned. One that is pinned already stays so.
///
/// # Errors
/// [`Error::Locked`] when it is just being removed; [`Error::Path`] when the store cannot be written.
pub fn pin(stored: &mut Stored, now: Timestamp) -> Result<()> {
    if !is_pinned(&stored.path) {
        // Whoever removes it looks for pins under a lock that is not shared.
        let file = File::open(&stored.path).named("read", &stored.path)?;
        Lock::shared(&file, &stored.path)?;
        write(&stored.path, now)?;
    }
    stored.snapshot.pinned = Some(true);
    Ok(())
}

/// Takes a pin away. False if there was none.
///
/// # Errors
/// [`Error::Path`] when the store cannot be written.
pub fn unpin(stored: &mut Stored) -> Result<bool> {
    let path = path_of(&stored.path);
    match disk::remove_file(&path) {
        Err(Error::Path { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(false),
        done => done?,
    };
    disk::sync_dir(disk::parent(&path))?;
    stored.snapshot.pinned = None;
    Ok(true)
}
