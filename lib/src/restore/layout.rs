//! Which paths change places, and in which way: a whole root in one step wherever that can be done. A root that cannot be renamed,
//! because it is a mount point, holds one, or lies in a lower layer of an overlay, stays where it is, and what is in it changes places
//! instead, each name by itself.

use super::journal::{Journal, Object, Pair, Place};
use super::{pointer, swap};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::RecordPath;
use crate::scope::{OURS, Patterns};
use crate::tree::Mtime;
use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::fs::{self as sys, FileType, Mode, XattrFlags};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder that stays where it is, with what its two sides have of metadata; an absent side has no such folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Split {
    #[serde(flatten)]
    path: RecordPath,
    /// Before.
    pub(super) old: Option<Dress>,
    /// After.
    pub(super) new: Option<Dress>,
}

impl Split {
    pub(super) fn new(path: &Path, old: Option<Dress>, new: Option<Dress>) -> Split {
        Split { path: RecordPath::new(path), old, new }
    }

    /// Relative to the ecosystem's root.
    pub(super) fn path(&self) -> PathBuf {
        self.path.to_path()
    }
}

/// A folder's metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Dress {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    /// Names and values, in base64.
    xattrs: Vec<(String, String)>,
}

impl Dress {
    /// That of the folder at `path`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub(super) fn of(path: &Path) -> Result<Option<Dress>> {
        let Some(meta) = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir) else { return Ok(None) };
        let xattrs = disk::xattrs(path)?.into_iter();
        Ok(Some(Dress {
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            mtime: (meta.mtime(), meta.mtime_nsec() as u32),
            xattrs: xattrs.map(|(name, value)| (BASE64_STANDARD.encode(name), BASE64_STANDARD.encode(value))).collect(),
        }))
    }

    /// Gives it to the folder at `path`: owner, then permissions, attributes, time. What it has already is left alone.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub(super) fn put_on(&self, path: &Path) -> Result<()> {
        let Some(now) = Dress::of(path)? else { return Ok(()) };
        let dir = disk::open_dir(path)?;
        if (now.uid, now.gid) != (self.uid, self.gid) {
            sys::fchown(&dir, Some(sys::Uid::from_raw(self.uid)), Some(sys::Gid::from_raw(self.gid))).named("set the owner of", path)?;
        }
        if now.mode != self.mode {
            sys::fchmod(&dir, Mode::from_raw_mode(self.mode)).named("set the permissions of", path)?;
        }
        let name = |name: &str| BASE64_STANDARD.decode(name).map(OsString::from_vec).unwrap_or_default();
        for (gone, _) in now.xattrs.iter().filter(|(name, _)| !self.xattrs.iter().any(|(other, _)| other == name)) {
            sys::fremovexattr(&dir, name(gone)).named("remove an attribute of", path)?;
        }
        for (set, value) in self.xattrs.iter().filter(|pair| !now.xattrs.contains(pair)) {
            let value = BASE64_STANDARD.decode(value).unwrap_or_default();
            sys::fsetxattr(&dir, name(set), &value, XattrFlags::empty()).named("set an attribute of", path)?;
        }
        let (seconds, nanos) = self.mtime;
        disk::set_mtime(dir.as_fd(), Path::new("."), Mtime { seconds, nanos }).named("set the time of", path)
    }
}

/// How paths change places, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Each root in one step of the kernel.
    Exchange,
    /// Of roots that are links the links, in one step of the kernel.
    Pointer,
    /// Each root in two, on a filesystem that knows no exchange.
    TwoRenames,
    /// What is in a root that cannot be renamed, name by name.
    Children,
    /// Only what differs, path by path, where there is no room for a second tree.
    InPlace,
}

impl Way {
    /// As plans and restores write it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Way::Exchange => "exchange",
            Way::Pointer => "pointer",
            Way::TwoRenames => "two-renames",
            Way::Children => "child-wise",
            Way::InPlace => "in-place",
        }
    }

    /// What holds at every instant, in one sentence.
    pub(super) fn guarantee(self) -> &'static str {
        match self {
            Way::Exchange => "each root is wholly old or wholly new at every instant",
            Way::Pointer => "each root is wholly old or wholly new at every instant, and a link leads to a new generation of its tree",
            Way::TwoRenames => "for a moment a root is missing, while the service is stopped; after a crash --recover completes it",
            Way::Children => {
                "each name in a root that cannot be renamed is old or new at every instant, and all of them agree when it is done or recovered"
            }
            Way::InPlace => {
                "there is no room for a second tree: each path that differs is old or new at every instant, all of them agree when it is done or \
                 recovered, and the service waits while the tree is read once more"
            }
        }
    }
}

/// How a surveyed transaction's paths change places: the weakest of its ways.
pub(super) fn way(journal: &Journal) -> Way {
    match () {
        () if journal.in_place => Way::InPlace,
        () if !journal.split.is_empty() => Way::Children,
        () if journal.places.iter().any(|place| !place.exchanges) => Way::TwoRenames,
        () if !journal.pointers.is_empty() => Way::Pointer,
        () => Way::Exchange,
    }
}

/// The way that [`survey`] will find, as far as it can be told without writing anything.
pub(super) fn forecast(root: &Path, journal: &Journal) -> Way {
    if journal.in_place {
        return Way::InPlace;
    }
    let mounts = disk::mounts_below(root);
    // There once something was rolled back here, and never empty again.
    let occupied = root.join(OURS);
    let stays = |path: &RecordPath| {
        let live = root.join(path.to_path());
        mounts.iter().any(|mount| mount.starts_with(&live)) || occupied.join("lock").exists() && disk::is_movable(&live, &occupied) == Ok(false)
    };
    if journal.roots.iter().any(stays) { Way::Children } else { way(journal) }
}

/// Finds out, before anything is staged, how each root can change places, tried with empty folders in the very same places. What a
/// trial leaves behind when it fails or is killed, [`clear_trials`] finds by the journal.
///
/// # Errors
/// [`Error::Refused`] saying what is in the way.
pub(super) fn survey(root: &Path, journal: &mut Journal) -> Result<()> {
    let roots: Vec<PathBuf> = journal.roots.iter().map(RecordPath::to_path).collect();
    let mut survey = Survey { root, mounts: disk::mounts_below(root), stays: Patterns::new(&journal.carry).map_err(Error::Config)?, journal };
    survey.open(0)?;
    for path in &roots {
        let live = root.join(path);
        for above in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev().filter(|above| !above.as_os_str().is_empty()) {
            survey.enter(above)?;
        }
        let number = survey.number(path);
        let exchanges = survey.try_beside(&live, number)?;
        survey.journal.places[number].exchanges &= exchanges;
        match survey.journal.places.iter().position(|place| place.folder().is_some() && place.path() == *path) {
            Some(number) => survey.open(number)?,
            None => survey.look_at(path)?,
        }
    }
    pointer::try_carry(root, journal)
}

struct Survey<'a> {
    root: &'a Path,
    /// Everything that is mounted below the root.
    mounts: Vec<PathBuf>,
    /// What is carried over, and therefore never moved where its folder stays.
    stays: Patterns,
    journal: &'a mut Journal,
}

impl Survey<'_> {
    /// The mount that a path changes places in.
    fn number(&self, path: &Path) -> usize {
        let above = |place: &Place| place.folder().is_none() && path != place.path() && path.starts_with(place.path());
        // The root is above everything.
        self.journal.places.iter().rposition(above).unwrap_or_default()
    }

    /// Makes a folder that is a mount point a place of its own; false for any other.
    fn enter(&mut self, folder: &Path) -> Result<bool> {
        let live = self.root.join(folder);
        if !disk::is_mount_point(&live)? {
            return Ok(false);
        }
        if self.journal.places.iter().all(|place| place.path() != folder) {
            self.journal.places.push(Place::new(folder));
            let number = self.journal.places.len() - 1;
            self.open(number)?;
            self.journal.places[number].exchanges = self.try_beside(&live.join("x"), number)?;
        }
        Ok(true)
    }

    /// Makes the transaction's folder in a place, noted before it is there.
    fn open(&mut self, number: usize) -> Result<()> {
        self.journal.write_pending(self.root)?;
        let place = self.journal.places[number].path();
        let folder = self.journal.folder_in(self.root, &place);
        if self.journal.places[number].folder().is_none() {
            disk::keeping_times([&self.root.join(place)], || disk::private_dir(disk::parent(&folder)))?;
        }
        disk::keeping_times([disk::parent(&folder)], || disk::private_dir(&folder))?;
        disk::private_dir(&folder.join("tree"))
    }

    /// Whether what is at `live` could be exchanged with something in this place.
    fn try_beside(&self, live: &Path, number: usize) -> Result<bool> {
        let folder = self.journal.folder_in(self.root, &self.journal.places[number].path());
        let above = place_of_trial(live);
        disk::keeping_times([above], || trial(above, &folder))
            .map_err(|why| Error::Refused(format!("{} cannot change places with a staged one: {why}", live.display())))
    }

    fn look_at(&mut self, path: &Path) -> Result<()> {
        let live = self.root.join(path);
        let Some(stat) = disk::stat(&live)? else { return Ok(()) };
        let mounted = disk::is_mount_point(&live)?;
        if FileType::from_raw_mode(stat.st_mode as _) != FileType::Directory {
            let refused = || Error::Refused(format!("{} is a file that is mounted by itself, which cannot be replaced", live.display()));
            return if mounted { Err(refused()) } else { Ok(()) };
        }
        let occupied = self.journal.folder_in(self.root, &self.journal.place(path).0);
        let whole = !mounted
            && !self.mounts.iter().any(|mount| mount.starts_with(&live))
            && disk::is_movable(&live, &occupied).map_err(|e| Error::Refused(format!("{} cannot be moved: {e}", live.display())))?;
        if whole {
            return Ok(());
        }
        self.journal.split.push(Split::new(path, None, None));
        self.enter(path)?;
        for name in disk::names(disk::open_dir(&live)?.as_fd(), &live)? {
            let inside = path.join(&name);
            if name != OURS && !self.stays.match_path(&inside) {
                self.look_at(&inside)?;
            }
        }
        Ok(())
    }
}

/// Where a root stands; of one whose folders are gone as well, the first that is there.
fn place_of_trial(live: &Path) -> &Path {
    live.ancestors().skip(1).find(|above| above.is_dir()).unwrap_or(live)
}

/// Lets two empty folders change places; false where that takes two steps.
fn trial(above: &Path, folder: &Path) -> std::io::Result<bool> {
    let (here, there) = trial_folders(above, folder);
    fs::create_dir(&here)?;
    fs::create_dir(&there)?;
    let exchanges = match disk::exchange(&here, &there) {
        Err(e) if disk::knows_no_exchange(e) => {
            fs::remove_dir(&there)?;
            fs::rename(&here, &there)?;
            fs::rename(&there, &here)?;
            fs::create_dir(&there)?;
            false
        }
        other => other.map(|()| true)?,
    };
    fs::remove_dir(&there)?;
    fs::remove_dir(&here)?;
    Ok(exchanges)
}

fn trial_folders(above: &Path, folder: &Path) -> (PathBuf, PathBuf) {
    let name = format!(".eco-trial-{}", folder.file_name().unwrap_or_default().display());
    (above.join(&name), folder.join(&name))
}

/// Removes what a trial left in the live tree when it failed or was killed.
///
/// # Errors
/// [`Error::Path`].
pub(super) fn clear_trials(root: &Path, journal: &Journal) -> Result<()> {
    let roots = journal.roots.iter().map(|path| place_of_trial(&root.join(path.to_path())).to_owned());
    let places: BTreeSet<PathBuf> = roots.chain(journal.places.iter().map(|place| root.join(place.path()))).collect();
    for above in &places {
        let (here, _) = trial_folders(above, &journal.folder(root));
        if here.is_dir() {
            disk::keeping_times([above], || fs::remove_dir(&here)).named("remove", &here)?;
        }
    }
    Ok(())
}

/// Notes in the journal what is to change places: the two sides as they are now, while nobody writes.
///
/// # Errors
/// As [`pair_up`]; [`Error::Path`] also when an overlay has no room for what it has to copy.
pub(super) fn pair_up_for_good(root: &Path, journal: &mut Journal) -> Result<()> {
    pointer::check(root, journal)?;
    if !journal.split.is_empty() {
        pair_up(root, journal)?;
        // From its lower layer an overlay copies a file when it is renamed, and the copy is another inode.
        for path in journal.pairs.iter().filter(|pair| pair.old.is_some()).map(Pair::path) {
            let live = root.join(path);
            disk::claim(&live).named("copy to the upper layer", &live)?;
        }
    }
    pair_up(root, journal)
}

/// Notes in the journal what is to change places: the two sides as they are now.
///
/// # Errors
/// [`Error::Path`]; [`Error::Refused`] where a folder that has to stay would have to become something else.
pub(super) fn pair_up(root: &Path, journal: &mut Journal) -> Result<()> {
    if journal.in_place {
        return look_at_both(root, journal);
    }
    let stays = Patterns::new(&journal.carry).map_err(Error::Config)?;
    let folders: HashSet<PathBuf> = journal.split.iter().map(Split::path).collect();
    // The last one is the next one.
    let mut todo: Vec<PathBuf> = journal.roots.iter().rev().map(RecordPath::to_path).collect();
    (journal.pairs, journal.split) = (Vec::new(), Vec::new());
    while let Some(path) = todo.pop() {
        let (live, aside) = (root.join(&path), journal.aside(root, &path));
        let dress = if folders.contains(&path) { Dress::of(&live)? } else { None };
        let Some(old) = dress else {
            journal.pairs.extend(pair(root, journal, &path)?);
            continue;
        };
        let new = Dress::of(&aside)?;
        if new.is_none() && Object::at(&aside)?.is_some() {
            return Err(Error::Refused(format!("{} cannot be replaced by something that is no folder: it cannot be moved", live.display())));
        }
        let other = journal.aside(root, &path.join("x"));
        let mut names: BTreeSet<OsString> = names_in(&live)?;
        names.extend(names_in(disk::parent(&other))?);
        todo.extend(names.iter().rev().filter(|name| *name != OsStr::new(OURS)).map(|name| path.join(name)).filter(|path| !stays.match_path(path)));
        journal.split.push(Split::new(&path, Some(old), new));
    }
    Ok(())
}

/// Notes in the journal that of each root only these paths change places, and how the folders above them look on either side.
///
/// # Errors
/// As [`pair_up`].
pub(super) fn pair_up_in_place(root: &Path, journal: &mut Journal, altered: &HashSet<PathBuf>) -> Result<()> {
    let fixed: HashSet<PathBuf> = journal.split.iter().map(Split::path).collect();
    let mut folders: BTreeSet<PathBuf> = fixed.iter().cloned().collect();
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in altered.iter().collect::<BTreeSet<_>>() {
        let is_inside = paths.last().is_some_and(|above| path.starts_with(above));
        let both = root.join(path).is_dir() && journal.aside(root, path).is_dir();
        if is_inside || fixed.contains(path) {
            continue;
        }
        if both {
            folders.insert(path.clone());
        } else {
            paths.push(path.clone());
        }
        let within = |above: &&Path| journal.roots.iter().any(|root| above.starts_with(root.to_path()));
        folders.extend(path.ancestors().skip(1).take_while(within).map(Path::to_owned));
    }
    journal.pairs = paths.iter().map(|path| Pair::new(path, None, None)).collect();
    // A folder before what is in it.
    journal.split = folders.iter().map(|path| Split::new(path, None, None)).collect();
    look_at_both(root, journal)
}

/// Notes the two sides of what is known to change places.
fn look_at_both(root: &Path, journal: &mut Journal) -> Result<()> {
    let pairs: Result<Vec<Option<Pair>>> = journal.pairs.iter().map(|known| pair(root, journal, &known.path())).collect();
    journal.pairs = pairs?.into_iter().flatten().collect();
    for number in 0..journal.split.len() {
        let path = journal.split[number].path();
        journal.split[number] = Split::new(&path, Dress::of(&root.join(&path))?, Dress::of(&journal.aside(root, &path))?);
    }
    Ok(())
}

/// The two sides of a path as they are now, if there is anything on either.
fn pair(root: &Path, journal: &Journal, path: &Path) -> Result<Option<Pair>> {
    let (live, aside) = (root.join(path), journal.aside(root, path));
    let (old, mut new) = (Object::at(&live)?, Object::at(&aside)?);
    if old.is_some() && new.is_none() {
        // What is carried over from a folder that goes needs that folder on the other side as well.
        let folders = journal.carry_from.iter().map(RecordPath::to_path);
        for folder in folders.filter(|folder| folder.starts_with(path) && root.join(folder).is_dir()) {
            swap::make_like(&root.join(&folder), &journal.aside(root, &folder))?;
        }
        new = Object::at(&aside)?;
    }
    Ok((old.is_some() || new.is_some()).then(|| Pair::new(path, old, new)))
}

/// What goes needs a place to go: the folders that its other side will be in.
///
/// # Errors
/// [`Error::Path`].
pub(super) fn make_way(root: &Path, journal: &Journal) -> Result<()> {
    journal.pairs.iter().try_for_each(|pair| disk::create_dirs(disk::parent(&journal.aside(root, &pair.path()))))
}

fn names_in(folder: &Path) -> Result<BTreeSet<OsString>> {
    if !fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir()) {
        return Ok(BTreeSet::new());
    }
    Ok(disk::names(disk::open_dir(folder)?.as_fd(), folder)?.into_iter().collect())
}
