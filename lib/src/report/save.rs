//! Where a report goes when it is given a file, and its pictures when they are given a folder.

use super::Picture;
use crate::disk;
use crate::error::{Error, Named, Result};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A place for a report that was looked at and can take it.
#[derive(Debug)]
pub struct Destination {
    file: PathBuf,
    /// Permission bits of the file that is there already.
    mode: Option<fs::Permissions>,
    /// A terminal, a pipe, a device: written to, never replaced.
    special: bool,
}

/// Looks at the place before any work is done: a report that turns out to have no folder after two hours helps nobody.
///
/// # Errors
/// [`Error::Usage`] when it is a folder or its folder does not exist; [`Error::Path`] when it cannot be looked at.
pub fn destination(file: &Path) -> Result<Destination> {
    let missing = || Destination { file: file.to_owned(), mode: None, special: false };
    let name = file.display().to_string();
    let place = match fs::canonicalize(file) {
        // A link stays what it is; the file behind it is replaced.
        Ok(file) => {
            let found = fs::metadata(&file).named("look at", &file)?;
            if found.is_dir() {
                return Err(Error::Usage(format!("-o {name} is a folder: name a file in it")));
            }
            Destination { file, special: !found.is_file(), mode: Some(found.permissions()) }
        }
        Err(e) if e.kind() == ErrorKind::NotFound && fs::symlink_metadata(file).is_ok() => {
            return Err(Error::Usage(format!("-o {name} is a link to what is not there: name that, or remove the link")));
        }
        Err(e) if e.kind() == ErrorKind::NotFound => missing(),
        Err(e) => return Err(e).named("look at", file),
    };
    if !disk::parent(&place.file).is_dir() || place.file.file_name().is_none() {
        return Err(Error::Usage(format!("-o {name} is in no folder that exists")));
    }
    Ok(place)
}

impl Destination {
    /// Writes the report: all of it or, on any error, nothing of it. A new file gets the permissions that `>` would give it, an
    /// old one keeps its own.
    ///
    /// # Errors
    /// [`Error::Path`]; the file is then as it was before.
    pub fn write(&self, text: &str) -> Result<()> {
        if self.special {
            let mut open = File::options().write(true).open(&self.file).named("open", &self.file)?;
            return open.write_all(text.as_bytes()).named("write", &self.file);
        }
        disk::replace_with(&self.file, text.as_bytes(), 0o666, self.mode.as_ref())
    }
}

/// A folder for pictures that was looked at and can take them.
#[derive(Debug)]
pub struct Album {
    folder: PathBuf,
    /// The way to it from where the report will be.
    link: PathBuf,
}

/// Looks at the folder before any work is done. It need not be there, but the one that it is in must. Links lead to it from the report's
/// own folder, for a report without a file from the current one.
///
/// # Errors
/// [`Error::Usage`] when it is no folder or its folder does not exist; [`Error::Path`] when it cannot be looked at.
pub fn album(folder: &Path, report: Option<&Path>) -> Result<Album> {
    let name = folder.display().to_string();
    if folder.exists() && !folder.is_dir() {
        return Err(Error::Usage(format!("--assets {name} is no folder")));
    }
    let whole = match fs::canonicalize(folder) {
        Ok(whole) => whole,
        Err(e) if e.kind() == ErrorKind::NotFound => match (fs::canonicalize(disk::parent(folder)), folder.file_name()) {
            (Ok(around), Some(last)) => around.join(last),
            _ => return Err(Error::Usage(format!("--assets {name} is in no folder that exists"))),
        },
        Err(e) => return Err(e).named("look at", folder),
    };
    let from = report.map_or(Path::new("."), disk::parent);
    let from = fs::canonicalize(from).named("find", from)?;
    Ok(Album { link: way(&from, &whole), folder: whole })
}

/// The way from one folder to another, both given from the top.
fn way(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(shared).map(|_| Path::new(".."));
    up.chain(to.components().skip(shared).map(|part| Path::new(part.as_os_str()))).collect()
}

impl Album {
    /// Writes one picture, all of it or nothing, and says where it is.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn add(&self, name: &str, title: &str, description: &str, svg: &str) -> Result<Picture> {
        match fs::create_dir(&self.folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e).named("create", &self.folder),
            _ => {}
        }
        let file = format!("{name}.svg");
        let place = self.folder.join(&file);
        let mode = fs::metadata(&place).ok().map(|found| found.permissions());
        disk::replace_with(&place, svg.as_bytes(), 0o666, mode.as_ref())?;
        let link = self.link.join(file).to_string_lossy().into_owned();
        Ok(Picture { title: title.to_owned(), description: description.to_owned(), link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_old_file_is_replaced_as_a_whole_and_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("incident.md");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        destination(&file).unwrap().write("new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.md"), folder.path().join("b.md"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("a.md", &link).unwrap();
        destination(&link).unwrap().write("new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    #[test]
    fn a_folder_and_a_place_without_one_are_refused_before_any_work() {
        let folder = tempfile::tempdir().unwrap();
        for place in [folder.path().to_owned(), folder.path().join("no/incident.md"), PathBuf::new()] {
            assert!(matches!(destination(&place), Err(Error::Usage(_))), "{}", place.display());
        }
    }

    #[test]
    fn pictures_are_linked_from_where_the_report_is() {
        let folder = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(top.join("reports")).unwrap();
        let made = album(&top.join("pictures"), Some(&top.join("reports/a.md"))).unwrap();
        let picture = made.add("story", "Story", "What happened", "<svg/>").unwrap();
        assert_eq!(picture.link, "../pictures/story.svg");
        assert_eq!(fs::read_to_string(top.join("pictures/story.svg")).unwrap(), "<svg/>");
        // Written again, it is replaced.
        made.add("story", "Story", "What happened", "<svg></svg>").unwrap();
        assert_eq!(fs::read_to_string(top.join("pictures/story.svg")).unwrap(), "<svg></svg>");
        assert_eq!(album(&top.join("reports/b"), Some(&top.join("reports/a.md"))).unwrap().link, Path::new("b"));
        assert!(matches!(album(&top.join("no/b"), None), Err(Error::Usage(_))));
        fs::write(top.join("file"), "").unwrap();
        assert!(matches!(album(&top.join("file"), None), Err(Error::Usage(_))));
    }

    #[test]
    fn a_device_is_written_to_and_never_replaced() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            eprintln!("SKIPPED: there is no /dev/full here");
            return;
        }
        let error = destination(full).unwrap().write("text").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /dev/full: no space left on device");
        assert!(full.exists());
    }
}
