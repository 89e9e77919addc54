//! The moment itself: paths change places, by one exchange each wherever the filesystem can, and preserved paths follow the live side.
//! Everything here can be run again after a crash: it looks at what is where, never at what is missing.

use super::journal::{Journal, Object, Pair};
use super::layout::{Dress, Split};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::RecordPath;
use crate::scope::Patterns;
use crate::tree::Mtime;
use rustix::fs::CWD;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Which side is to be live.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    /// The staged tree.
    New,
    /// The tree from before.
    Old,
}

/// More folders than this are flushed with their whole filesystem.
const MOST_FLUSHES: usize = 64;

/// Brings the wanted side of every pair to life. Pairs that are there already are left alone.
///
/// # Errors
/// [`Error::RecoverFirst`] when what is where cannot be explained by this transaction: nothing more is moved then.
pub(super) fn swap(root: &Path, journal: &Journal, side: Side) -> Result<()> {
    journal.check_places(root)?;
    let mut folders = BTreeSet::new();
    let sides = |split: &Split| if side == Side::New { (split.new.clone(), split.old.clone()) } else { (split.old.clone(), split.new.clone()) };
    for split in &journal.split {
        let live = root.join(split.path());
        if sides(split).0.is_some() && !live.is_dir() {
            disk::keeping_times([disk::parent(&live)], || fs::create_dir(&live)).named("create the folder", &live)?;
            folders.insert(disk::parent(&live).to_owned());
        }
    }
    for pair in &journal.pairs {
        let path = pair.path();
        let spots = Spots { live: &root.join(&path), aside: &journal.aside(root, &path), turn: &journal.turn(root, &path) };
        swap_one(pair, &spots, journal.place(&path).1, side)?;
        folders.extend([spots.live, spots.aside].map(|path| disk::parent(path).to_owned()));
    }
    for split in journal.split.iter().rev() {
        let (live, aside) = (root.join(split.path()), journal.aside(root, &split.path()));
        let (wanted, other) = sides(split);
        dress(wanted, &live)?;
        dress(other, &aside)?;
        folders.extend([disk::parent(&live).to_owned(), live]);
    }
    // One flush for all roots of a folder: the service is waiting.
    if folders.len() > MOST_FLUSHES {
        return journal.places.iter().map(|place| root.join(place.path())).try_for_each(|place| {
            let dir = disk::open_dir(&place)?;
            disk::sync_filesystem(dir.as_fd(), &place)
        });
    }
    disk::sync_dirs(folders.iter().map(PathBuf::as_path).filter(|folder| folder.is_dir()))
}

/// Gives a folder that stays the metadata of a side; where that side has no such folder, it goes, unless something is in it.
fn dress(dress: Option<Dress>, folder: &Path) -> Result<()> {
    match dress {
        Some(dress) => {
            disk::create_dirs(folder)?;
            dress.put_on(folder)
        }
        None => match disk::keeping_times([disk::parent(folder)], || fs::remove_dir(folder)) {
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy) => {
                Err(e).named("remove the folder", folder)
            }
            _ => Ok(()),
        },
    }
}

/// Where the two sides of a pair can be.
struct Spots<'a> {
    live: &'a Path,
    aside: &'a Path,
    /// Only on filesystems that need two steps.
    turn: &'a Path,
}

fn swap_one(pair: &Pair, spots: &Spots<'_>, exchanges: bool, side: Side) -> Result<()> {
    let Spots { live, aside, turn } = *spots;
    let (wanted, other) = if side == Side::New { (pair.new, pair.old) } else { (pair.old, pair.new) };
    let (here, there) = (Object::at(live)?, Object::at(aside)?);
    let waiting = if exchanges { None } else { Object::at(turn)? };
    let set = |from: &Path, to: &Path| disk::rename_to_free(from, to).named("move to", to);
    disk::keeping_times([disk::parent(live)], || match (here, there, waiting) {
        (here, there, None) if here == wanted && there == other => Ok(()),
        (here, there, None) if here == other && there == wanted => match (here, there) {
            (Some(_), Some(_)) if exchanges => disk::exchange(live, aside).named("exchange", live),
            (Some(_), Some(_)) => {
                set(live, turn)?;
                set(aside, live)?;
                set(turn, aside)
            }
            (None, Some(_)) => {
                // A root that is new here may need the folders above it.
                disk::create_dirs(disk::parent(live))?;
                set(aside, live)
            }
            (Some(_), None) => set(live, aside),
            (None, None) => Ok(()),
        },
        // Interrupted between the two steps, on the way to this side or to the other one.
        (None, there, waiting) if there == wanted && waiting == other => {
            set(aside, live)?;
            set(turn, aside)
        }
        (here, None, waiting) if here == wanted && waiting == other => set(turn, aside),
        (here, None, waiting) if here == other && waiting == wanted => {
            set(live, aside)?;
            set(turn, live)
        }
        (None, there, waiting) if there == other && waiting == wanted => set(turn, live),
        _ => {
            let path = live.display();
            let why = format!("{path} is neither the tree from before nor the staged one: somebody else has moved it; nothing more was changed");
            Err(Error::RecoverFirst(why))
        }
    })
}

/// Moves preserved and excluded paths from the side that was live to the one that is live now, as they are at this moment, and
/// says how many. Run after [`swap`] to the same side; what was moved already is not there any more.
///
/// # Errors
/// [`Error::Path`] when something cannot be moved; running it again goes on.
pub(super) fn carry(root: &Path, journal: &Journal, side: Side) -> Result<u64> {
    let patterns = Patterns::new(&journal.carry).map_err(Error::Config)?;
    let mut places: BTreeSet<(PathBuf, bool)> = journal.carry_from.iter().map(|path| (path.to_path(), false)).collect();
    places.extend(journal.carry.iter().filter_map(|pattern| beginning(pattern)).map(|folder| (folder, true)));
    if side == Side::Old {
        // The new tree was live for a while and is about to go: what it gained may be anywhere in it.
        places = journal.pairs.iter().map(|pair| (pair.path(), true)).collect();
    }
    let mut moved = 0;
    for pair in journal.pairs.iter().filter(|pair| pair.old.is_some() && pair.new.is_some()) {
        for (folder, deep) in &places {
            if folder.starts_with(pair.path()) {
                moved += carry_folder(root, journal, &patterns, (folder, *deep), side)?;
            } else if *deep && pair.path().starts_with(folder) {
                moved += carry_folder(root, journal, &patterns, (&pair.path(), true), side)?;
            }
        }
    }
    Ok(moved)
}

/// The folders of the live tree that hold paths to be carried, found while the service still runs.
///
/// # Errors
/// [`Error::Path`] when the live tree cannot be listed.
pub(super) fn carried_from(root: &Path, journal: &Journal) -> Result<Vec<RecordPath>> {
    let patterns = Patterns::new(&journal.carry).map_err(Error::Config)?;
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = journal.pairs.iter().filter(|pair| pair.old.is_some()).map(Pair::path).collect();
    while let Some(folder) = folders.pop() {
        let path = journal.sides(root, &folder, Side::Old).1;
        if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        let names = disk::names(disk::open_dir(&path)?.as_fd(), &path)?;
        let (carried, others): (Vec<PathBuf>, Vec<PathBuf>) = names.iter().map(|name| folder.join(name)).partition(|path| patterns.match_path(path));
        if !carried.is_empty() {
            found.push(RecordPath::new(&folder));
        }
        folders.extend(others);
    }
    Ok(found)
}

/// The folder that a pattern cannot leave: its names up to the first with a wildcard. Patterns that begin with one match
/// anywhere; for them the folders of the plan must do, because walking the whole tree would keep the service waiting.
fn beginning(pattern: &str) -> Option<PathBuf> {
    let plain: Vec<&str> = pattern.split('/').take_while(|name| !name.contains(['*', '?', '[', '{', '\\'])).collect();
    let whole = plain.len() == pattern.split('/').count();
    let folder: PathBuf = plain[..plain.len() - usize::from(whole && !plain.is_empty())].iter().collect();
    (!folder.as_os_str().is_empty()).then_some(folder)
}

fn carry_folder(root: &Path, journal: &Journal, patterns: &Patterns, (folder, deep): (&Path, bool), side: Side) -> Result<u64> {
    let (from, to) = journal.sides(root, folder, side);
    let is_dir = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if !is_dir(&from) {
        return Ok(0);
    }
    let dir = disk::open_dir(&from)?;
    let mut moved = 0;
    for name in disk::names(dir.as_fd(), &from)? {
        let path = folder.join(&name);
        if patterns.match_path(&path) {
            carry_one(&from, &to, &name)?;
            moved += 1;
        } else if deep && is_dir(&from.join(&name)) {
            moved += carry_folder(root, journal, patterns, (&path, true), side)?;
        }
    }
    if moved > 0 {
        disk::sync_dir(&from)?;
        disk::sync_dir(&to)?;
    }
    Ok(moved)
}

/// Moves one name; the folders' times stay what they were.
fn carry_one(from: &Path, to: &Path, name: &OsStr) -> Result<()> {
    make_like(from, to)?;
    let (source, destination) = (from.join(name), to.join(name));
    let done = disk::keeping_times([from, to], || match disk::rename_to_free(&source, &destination) {
        // The snapshot's copy of a preserved path was staged because its folder was missing; the live one wins.
        Err(rustix::io::Errno::EXIST) => disk::exchange(&source, &destination),
        other => other,
    });
    done.named("carry over", &destination)
}

/// A folder that only the other side has is made here too, with its owner, permissions and time.
///
/// # Errors
/// [`Error::Path`].
pub(super) fn make_like(from: &Path, to: &Path) -> Result<()> {
    if to.is_dir() {
        return Ok(());
    }
    if let (Some(above), Some(there)) = (to.parent(), from.parent()) {
        make_like(there, above)?;
    }
    let like = fs::metadata(from).named("look at", from)?;
    disk::keeping_times([disk::parent(to)], || fs::DirBuilder::new().mode(0o700).create(to)).named("create the folder", to)?;
    chown(to, Some(like.uid()), Some(like.gid())).named("set the owner of", to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(like.mode() & 0o7777)).named("set the permissions of", to)?;
    let mtime = Mtime { seconds: like.mtime(), nanos: like.mtime_nsec() as u32 };
    disk::set_mtime(CWD, to, mtime).named("set the time of", to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Restore;
    use crate::time::Timestamp;

    /// `data` with a preserved `data/metrics`, and a staged `data` beside it.
    fn world() -> (tempfile::TempDir, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let write = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        write("data/state", "broken");
        write("data/metrics/today", "one\ntwo\n");
        write("data/x.tmp", "cache");
        write(".eco/r/tree/data/state", "good");
        let mut journal = Journal::new(Timestamp::UNIX_EPOCH, Restore::default(), "r".into(), false);
        journal.pairs = vec![Pair::new(Path::new("data"), Object::at(&at("data")).unwrap(), Object::at(&at(".eco/r/tree/data")).unwrap())];
        journal.carry = vec!["data/metrics/**".into(), "*.tmp".into()];
        journal.carry_from = vec![RecordPath::new("data")];
        (dir, journal)
    }

    fn read(dir: &tempfile::TempDir, path: &str) -> String {
        fs::read_to_string(dir.path().join(path)).unwrap_or_else(|_| "-".into())
    }

    #[test]
    fn trees_change_places_and_preserved_paths_stay() {
        let (dir, journal) = world();
        let root = dir.path();
        swap(root, &journal, Side::New).unwrap();
        swap(root, &journal, Side::New).unwrap();
        assert_eq!(carry(root, &journal, Side::New).unwrap(), 2);
        assert_eq!(carry(root, &journal, Side::New).unwrap(), 0);
        let seen = ["data/state", "data/metrics/today", "data/x.tmp", ".eco/r/tree/data/state"].map(|path| read(&dir, path));
        assert_eq!(seen, ["good", "one\ntwo\n", "cache", "broken"]);

        // And back again: what the metrics gained meanwhile stays.
        fs::write(root.join("data/metrics/later"), "three").unwrap();
        swap(root, &journal, Side::Old).unwrap();
        assert_eq!(carry(root, &journal, Side::Old).unwrap(), 3);
        let seen = ["data/state", "data/metrics/today", "data/metrics/later", ".eco/r/tree/data/state"].map(|path| read(&dir, path));
        assert_eq!(seen, ["broken", "one\ntwo\n", "three", "good"]);
    }

    #[test]
    fn a_tree_that_somebody_else_moved_stops_everything() {
        let (dir, journal) = world();
        fs::rename(dir.path().join("data"), dir.path().join("elsewhere")).unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        assert!(matches!(swap(dir.path(), &journal, Side::New), Err(Error::RecoverFirst(_))));
        assert_eq!(read(&dir, ".eco/r/tree/data/state"), "good");
    }

    #[test]
    fn roots_that_only_one_side_has_come_and_go() {
        let (dir, mut journal) = world();
        let new = Object::at(&dir.path().join(".eco/r/tree/data")).unwrap();
        fs::rename(dir.path().join("data"), dir.path().join("config")).unwrap();
        let old = Object::at(&dir.path().join("config")).unwrap();
        journal.pairs = vec![Pair::new(Path::new("data"), None, new), Pair::new(Path::new("config"), old, None)];
        swap(dir.path(), &journal, Side::New).unwrap();
        assert_eq!(
            (read(&dir, "data/state"), read(&dir, "config/state"), read(&dir, ".eco/r/tree/config/state")),
            ("good".into(), "-".into(), "broken".into())
        );
        swap(dir.path(), &journal, Side::Old).unwrap();
        assert_eq!((read(&dir, "data/state"), read(&dir, "config/state")), ("-".into(), "broken".into()));
    }

    #[test]
    fn a_pattern_begins_where_its_first_wildcard_stands() {
        let said = |pattern: &str| beginning(pattern).map(|p| p.display().to_string()).unwrap_or_default();
        assert_eq!(
            [said("data/metrics/**"), said("logs/*.log"), said("data/keep.json"), said("**/x"), said("*.tmp"), said("one")],
            ["data/metrics", "logs", "data", "", "", ""]
        );
    }
}
