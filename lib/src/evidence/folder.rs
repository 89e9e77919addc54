//! The folder that evidence goes into: private, and there as a whole or not at all.

use super::Evidence;
use super::words::{CHANGES, DATA, DIFFS, LOGS, README};
use crate::disk;
use crate::error::{Error, Named, Result};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How the file begins that only evidence has.
const MARK: &str = "{\n  \"type\": \"evidence\",";

/// A place for evidence that was looked at and can take it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether something is there that is to be replaced.
    is_there: bool,
}

/// Looks at the place before any work is done. What is there already must be empty, or evidence that nobody has added anything to.
///
/// # Errors
/// [`Error::Usage`] when it cannot take evidence, with the reason; [`Error::Path`] when it cannot be looked at.
pub fn folder(path: &Path) -> Result<Folder> {
    let shown = path.display();
    let place = match fs::canonicalize(path) {
        // A link stays what it is; the folder behind it is replaced.
        Ok(path) => Folder { path, is_there: true },
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let absolute = std::path::absolute(path).named("find", path)?;
            Folder { path: absolute, is_there: false }
        }
        Err(e) => return Err(e).named("look at", path),
    };
    if place.path.file_name().is_none() || !disk::parent(&place.path).is_dir() {
        return Err(Error::Usage(format!("--evidence {shown} is in no folder that exists")));
    }
    if !place.is_there {
        return Ok(place);
    }
    if !place.path.is_dir() {
        return Err(Error::Usage(format!("--evidence {shown} is there and is no folder")));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&place.path).named("list", &place.path)? {
        names.push(entry.named("list", &place.path)?.file_name());
    }
    names.sort();
    let is_ours = || fs::read_to_string(place.path.join(DATA)).is_ok_and(|text| text.starts_with(MARK));
    let known = [README, CHANGES, DIFFS, DATA, LOGS];
    match names.iter().find(|name| !known.iter().any(|known| *name == known)) {
        Some(other) => Err(Error::Usage(format!("--evidence {shown} holds {}, which is no evidence: name another folder", other.display()))),
        None if !names.is_empty() && !is_ours() => Err(Error::Usage(format!("--evidence {shown} is not empty: name another folder"))),
        None => Ok(place),
    }
}

impl Folder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of it beside the place and moves it there. What was there goes.
    ///
    /// # Errors
    /// [`Error::Path`]; what was there before is there still.
    pub fn write(&self, evidence: &Evidence) -> Result<()> {
        let above = disk::parent(&self.path);
        // Private from its first moment, and gone if anything goes wrong.
        let made = tempfile::Builder::new().prefix(".eco-evidence-").permissions(fs::Permissions::from_mode(0o700)).tempdir_in(above);
        let made = made.named("create a folder in", above)?;
        let whole = made.path().join("whole");
        let private = |path: &Path| DirBuilder::new().mode(0o700).create(path).named("create", path);
        private(&whole)?;
        for (name, text) in evidence.files() {
            let file = whole.join(name);
            if !disk::parent(&file).is_dir() {
                private(disk::parent(&file))?;
            }
            let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).named("create", &file)?;
            open.write_all(text.as_bytes()).named("write", &file)?;
        }
        disk::sync_filesystem(std::os::fd::AsFd::as_fd(&File::open(&whole).named("open", &whole)?), &whole)?;
        if self.is_there {
            let old = made.path().join("old");
            match disk::exchange(&whole, &self.path) {
                Err(e) if disk::knows_no_exchange(e) => {
                    fs::rename(&self.path, &old).named("set aside", &self.path)?;
                    fs::rename(&whole, &self.path).named("move to", &self.path)?;
                }
                done => done.named("replace", &self.path)?,
            }
        } else {
            disk::rename_to_free(&whole, &self.path).named("move to", &self.path)?;
        }
        disk::sync_dir(above)
    }
}
