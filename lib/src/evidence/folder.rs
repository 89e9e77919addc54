//! The folder that evidence goes into: private, and there as a whole or not at all.

use super::Evidence;
use super::words::{CHANGES, DATA, DIFFS, LOGS, README, digests};
use crate::digest;
use crate::disk;
use crate::error::{Error, Named, Result};
use rustix::io::Errno;
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
}

/// Looks at the place before any work is done. What is there already must be empty, or evidence.
///
/// # Errors
/// [`Error::Usage`] when it cannot take evidence, with the reason; [`Error::Path`] when it cannot be looked at.
pub fn folder(path: &Path) -> Result<Folder> {
    let shown = path.display();
    let (place, is_there) = match fs::canonicalize(path) {
        // A link stays what it is; the folder behind it is replaced.
        Ok(path) => (Folder { path }, true),
        Err(e) if e.kind() == ErrorKind::NotFound => (Folder { path: std::path::absolute(path).named("find", path)? }, false),
        Err(e) => return Err(e).named("look at", path),
    };
    if place.path.file_name().is_none() || !disk::parent(&place.path).is_dir() {
        return Err(Error::Usage(format!("--evidence {shown} is in no folder that exists")));
    }
    if !is_there {
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

    /// Writes all of it beside the place and moves it there. Evidence that was there goes; where somebody has changed it or added to it,
    /// also while this one was gathered, it is kept beside it, and the sentence says where.
    ///
    /// # Errors
    /// [`Error::Path`]; what was there before is kept, there or where the error says.
    pub fn write(&self, evidence: &Evidence) -> Result<Option<String>> {
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
        // Gathering may have taken hours: what is there now counts, not what was there then.
        if disk::stat(&self.path)?.is_none() {
            disk::rename_to_free(&whole, &self.path).named("move to", &self.path)?;
            disk::sync_dir(above)?;
            return Ok(None);
        }
        let mut old = whole.clone();
        match disk::exchange(&whole, &self.path) {
            Err(e) if disk::knows_no_exchange(e) => {
                old = made.path().join("old");
                fs::rename(&self.path, &old).named("set aside", &self.path)?;
                if let Err(e) = fs::rename(&whole, &self.path) {
                    // It must not go with the folder for what was made.
                    let back = fs::rename(&old, &self.path);
                    if back.is_err() {
                        let _ = made.keep();
                    }
                    return Err(e).named("move to", &self.path);
                }
            }
            done => done.named("replace", &self.path)?,
        }
        // It is looked at where nobody looks for it any more: whoever comes later writes into the new one.
        let kept = match touched(&old) {
            None => None,
            Some(why) => match set_aside(&old, &self.path) {
                Ok(place) => Some(format!("the evidence that was there is kept as {}: {why}", place.display())),
                Err(e) => {
                    let _ = made.keep();
                    let shown = self.path.display();
                    return Err(Error::Other(format!("{shown} is written, but what was there ({why}) stays in {}: {e}", old.display())));
                }
            },
        };
        disk::sync_dir(above)?;
        Ok(kept)
    }
}

/// What somebody has done to a folder since evidence was written to it; nothing was done to one that is empty. What cannot be looked at
/// may be anything.
fn touched(folder: &Path) -> Option<String> {
    let look = || -> Result<Option<String>> {
        let found = content(folder)?;
        if found.is_empty() {
            return Ok(None);
        }
        let data = match found.iter().find(|(name, is_file)| *is_file && name == Path::new(DATA)) {
            Some(_) => fs::read_to_string(folder.join(DATA)).named("read", folder.join(DATA))?,
            None => return Ok(Some(format!("it has no {DATA}"))),
        };
        let Some(digests) = digests(&data) else { return Ok(Some(format!("{DATA} is not as it was written"))) };
        for (name, is_file) in found.iter().filter(|(name, _)| name != Path::new(DATA)) {
            let path = folder.join(name);
            let Some(digest) = name.to_str().and_then(|name| digests.get(name)) else {
                return Ok(Some(format!("{} was added", name.display())));
            };
            if !is_file || format!("sha256:{}", digest::of_file(&File::open(&path).named("open", &path)?, &path)?.0) != *digest {
                return Ok(Some(format!("{} was changed", name.display())));
            }
        }
        Ok(None)
    };
    look().unwrap_or_else(|e| Some(e.to_string()))
}

/// What is in the folder and in that of the logs, by name, and whether it is a file.
fn content(folder: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    for part in ["", LOGS] {
        let listed = folder.join(part);
        if !part.is_empty() && !fs::symlink_metadata(&listed).is_ok_and(|about| about.is_dir()) {
            continue;
        }
        for entry in fs::read_dir(&listed).named("list", &listed)? {
            let entry = entry.named("list", &listed)?;
            let kind = entry.file_type().named("look at", entry.path())?;
            if !(part.is_empty() && kind.is_dir() && entry.file_name() == LOGS) {
                found.push((Path::new(part).join(entry.file_name()), kind.is_file()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Moves what was at a place beside it, to the first name that is free.
fn set_aside(old: &Path, place: &Path) -> Result<PathBuf> {
    let mut number = 1;
    loop {
        let mut name = place.as_os_str().to_owned();
        name.push(format!(".old-{number}"));
        let aside = PathBuf::from(name);
        match disk::rename_to_free(old, &aside) {
            Ok(()) => return Ok(aside),
            Err(Errno::EXIST) => number += 1,
            Err(e) => return Err(e).named("move to", &aside),
        }
    }
}
