//! Before the service notices anything: the snapshot is opened and checked, the plan is made, the new tree is written beside the
//! live one, flushed, and read back.

use super::Ecosystem;
use super::journal::{Journal, Place};
use super::run::Order;
use crate::archive::{Archive, Content, Donor, Entry, Extracted, Foreign, Index, Sharing, Taken, extract};
use crate::compare::{self, Aside, Known, within};
use crate::digest::Hasher;
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::plan::{self, Comparison};
use crate::record::{RecordPath, Scope};
use crate::scope::{Patterns, Site, Walk, absorb, is_ours, walk};
use crate::store::{Seal, Stored};
use crate::tree::{Digest, Kind};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A snapshot that was opened, and found to be one that may be restored here.
pub(super) struct Point {
    pub(super) stored: Stored,
    pub(super) index: Index,
    /// The roots of the scope, none inside another.
    pub(super) roots: Vec<PathBuf>,
    scopes: Vec<Scope>,
    opened: Opened,
    aside: Aside,
    carry: Vec<String>,
    /// All that is staged, where there is no room for everything.
    only: Option<HashSet<PathBuf>>,
}

enum Opened {
    Seekable(Archive),
    Stream(Foreign),
}

impl Point {
    /// Opens a snapshot for what is asked for.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is damaged, not the one that was verified, of another ecosystem, or does not hold the scope;
    /// [`Error::Usage`] for a scope that the configuration does not know.
    pub(super) fn open(eco: &Ecosystem, stored: Stored, order: &Order, progress: &(dyn Fn(u64) + Sync)) -> Result<Point> {
        let scopes = &order.scopes;
        let refuse = |why: String| Error::Refused(format!("{}: {why}", stored.path.display()));
        let damaged = |e: Error| if let Error::Archive { why, .. } = &e { refuse(why.clone()) } else { e };
        let mut wanted = Vec::new();
        for scope in scopes.iter().filter(|_| order.undoes.is_none()) {
            wanted.extend(eco.scopes.roots(scope).ok_or_else(|| {
                let known: Vec<&str> = eco.scopes.modules().collect();
                Error::Usage(format!("eco.toml has no {scope}; its modules are: {}", if known.is_empty() { "none".into() } else { known.join(", ") }))
            })?);
        }
        // What the tree from before consisted of, whatever the configuration says by now.
        let wanted = if order.undoes.is_some() { stored.snapshot.roots.iter().map(PathBuf::from).collect() } else { absorb(wanted) };
        let (opened, index) = match Archive::open(&stored.path)?.filter(|_| stored.snapshot.legacy != Some(true)) {
            Some(archive) => {
                let (index, digest) = archive.whole().map_err(damaged)?;
                if Seal::read(&stored.path, archive.length()).is_some_and(|seal| seal.ok && seal.sha256_toc != digest.to_string()) {
                    return Err(refuse("it is not the archive that was verified here: its index has changed".into()));
                }
                (Opened::Seekable(archive), index)
            }
            None => {
                let mut foreign = Foreign::open(&stored.path, progress).map_err(damaged)?;
                if let Some(damage) = foreign.damage.first() {
                    return Err(refuse(format!("{} is damaged: {}", damage.path.path, damage.why.as_deref().unwrap_or(&damage.what))));
                }
                let index = foreign.arrange(&wanted)?;
                (Opened::Stream(foreign), index)
            }
        };
        let legacy = matches!(opened, Opened::Stream(_));
        if !legacy && !order.adopt && index.head.ecosystem != eco.name {
            let other = index.head.ecosystem.escape_debug();
            return Err(refuse(format!("it is a snapshot of '{other}', and this is '{}': --adopt if that is meant", eco.name)));
        }
        let held: Vec<PathBuf> = index.head.snapshot.roots.iter().map(PathBuf::from).collect();
        let missing = wanted.iter().find(|root| !within(root, &held));
        let roots = match missing {
            // An archive of old cannot say what it left out, so only what is in it is put back.
            _ if legacy && scopes.contains(&Scope::Full) => held,
            Some(missing) => {
                let scopes = Scope::join(scopes);
                return Err(refuse(format!("it does not hold {}, which belongs to {scopes}", missing.display())));
            }
            None => wanted,
        };
        let today: Vec<String> = eco.rules.exclude.iter().chain(&eco.rules.preserve).cloned().collect();
        let aside = Aside::new(&index, &today)?;
        let carry: BTreeSet<String> = index.head.preserve.iter().chain(&index.head.exclude).chain(&today).cloned().collect();
        Ok(Point { stored, index, roots, scopes: scopes.clone(), opened, aside, carry: carry.into_iter().collect(), only: None })
    }

    fn content(&self) -> Content<'_> {
        match &self.opened {
            Opened::Seekable(archive) => Content::Seekable(archive),
            Opened::Stream(foreign) => Content::Stream(foreign),
        }
    }

    /// What is carried over, as patterns.
    pub(super) fn carry(&self) -> Vec<String> {
        self.carry.clone()
    }

    /// Refuses a snapshot from when a root that is a link was captured as nothing more.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the root.
    pub(super) fn refuse_links(&self) -> Result<()> {
        let is_link = |entry: &&Entry| matches!(entry.node.kind, Kind::Symlink { .. }) && self.roots.contains(&entry.node.path);
        self.index.entries.iter().find(is_link).map_or(Ok(()), |entry| {
            let (archive, root) = (self.stored.path.display(), entry.node.path.display());
            Err(Error::Refused(format!("{archive}: it holds {root} as a symbolic link, and nothing of what that led to")))
        })
    }

    /// Positions of the entries to extract: with `live`, not what is carried over from there.
    fn wanted(&self, live: Option<&Path>) -> Vec<usize> {
        let stays = |path: &Path| live.is_some_and(|root| self.aside.covers(path) && self.is_carried_from(root, path));
        let entries = self.index.entries.iter().enumerate();
        entries.filter(|(_, e)| within(&e.node.path, &self.roots) && !is_ours(&e.node.path) && !stays(&e.node.path)).map(|(at, _)| at).collect()
    }

    /// Whether a preserved path will come from the live tree. Where even its folder is missing there, nothing of it is left to
    /// preserve, and the snapshot's copy is better than none.
    fn is_carried_from(&self, root: &Path, path: &Path) -> bool {
        let top = path.ancestors().filter(|p| self.aside.is_carried(p)).last();
        top.and_then(Path::parent).is_none_or(|folder| root.join(folder).is_dir())
    }

    /// Bytes, without those of holes, and entries to be extracted.
    pub(super) fn weight(&self) -> (u64, u64) {
        self.weigh(&self.wanted(None), |_| false)
    }

    fn weigh(&self, wanted: &[usize], shared: impl Fn(&Path) -> bool) -> (u64, u64) {
        let written = wanted.iter().map(|at| &self.index.entries[*at]).filter(|entry| !shared(&entry.node.path));
        (written.map(Entry::solid_bytes).sum(), wanted.len() as u64)
    }

    fn weights(&self, root: &Path, journal: &Journal, live: &Live<'_>) -> Vec<(PathBuf, (u64, u64))> {
        let weigh = |(place, wanted): (&Place, Vec<usize>)| {
            let shares = live.sharing_in(place).is_some();
            let weight = self.weigh(&wanted, |path| shares && live.has(path));
            (root.join(place.path()), weight)
        };
        self.wanted_in(root, journal).into_iter().map(weigh).collect()
    }

    fn is_staged(&self, path: &Path) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(path))
    }

    /// From now on only what differs is staged, with the folders that it is in. Returns what is new among that.
    pub(super) fn narrow(&mut self, look: &Look) -> BTreeSet<PathBuf> {
        let mut paths: BTreeSet<PathBuf> =
            self.index.entries.iter().map(|entry| &entry.node.path).filter(|path| look.altered.contains(*path)).cloned().collect();
        self.add_other_names(&mut paths);
        let above: Vec<PathBuf> = paths.iter().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
        paths.extend(above);
        let only = self.only.get_or_insert_default();
        paths.retain(|path| only.insert(path.clone()));
        paths
    }

    /// All names of one file are made together.
    fn add_other_names(&self, paths: &mut BTreeSet<PathBuf>) {
        let file_of =
            |entry: &'_ Entry| -> PathBuf { if let Kind::Hardlink { target } = &entry.node.kind { target } else { &entry.node.path }.clone() };
        let entries = &self.index.entries;
        let files: HashSet<PathBuf> = entries.iter().filter(|entry| paths.contains(&entry.node.path)).map(file_of).collect();
        paths.extend(entries.iter().filter(|entry| files.contains(&file_of(entry))).map(|entry| entry.node.path.clone()));
    }

    /// What is to be staged in each place.
    fn wanted_in<'a>(&self, root: &Path, journal: &'a Journal) -> Vec<(&'a Place, Vec<usize>)> {
        let mut wanted: Vec<(&Place, Vec<usize>)> = journal.places.iter().map(|place| (place, Vec::new())).collect();
        for at in self.wanted(Some(root)).into_iter().filter(|at| self.is_staged(&self.index.entries[*at].node.path)) {
            let place = journal.place(&self.index.entries[at].node.path).0;
            if let Some((_, here)) = wanted.iter_mut().find(|(other, _)| other.path() == place) {
                here.push(at);
            }
        }
        wanted
    }

    /// The bytes that staging has to write, if there is room for them in each place. Asked before anything is written.
    ///
    /// # Errors
    /// [`Error::Refused`] saying how much is missing.
    pub(super) fn room(&self, root: &Path, journal: &Journal, live: &Live<'_>) -> Result<u64> {
        let mut all = 0;
        for (place, weight) in self.weights(root, journal, live) {
            if let Some(missing) = disk::room(&place, weight)? {
                return Err(Error::Refused(format!("no room to stage the tree: {missing}")));
            }
            all += weight.0;
        }
        Ok(all)
    }

    /// How many bytes the files of these roots have.
    pub(super) fn bytes(&self) -> u64 {
        let files = self.index.entries.iter().filter(|entry| self.roots.iter().any(|root| entry.node.path.starts_with(root)));
        files.map(|entry| entry.node.kind.size()).sum()
    }

    /// Looks at the live tree beside the snapshot. The live tree may be what is broken, so a part of it that cannot be read is no reason
    /// to stop: the note says so.
    pub(super) fn look(&self, root: &Path, known: &Known<'_>, progress: &(dyn Fn(u64) + Sync)) -> Result<Look> {
        let everything = Patterns::new::<&str>(&[]).map_err(Error::Config)?;
        let cannot = |e: Error| format!("the live tree cannot be compared: {e}");
        let site = Site::open(root, &self.roots);
        let (site, walked, mut note) = match site.and_then(|site| Ok((walk(&site, &self.roots, &everything)?, site))) {
            Ok((walked, site)) => (Some(site), walked, None),
            Err(e) => (None, Walk::default(), Some(cannot(e))),
        };
        let carried: BTreeSet<PathBuf> = walked
            .entries
            .iter()
            .map(|found| found.node.path.as_path())
            .filter(|path| self.aside.is_carried(path))
            .filter_map(Path::parent)
            .filter(|folder| !self.aside.covers(folder))
            .map(Path::to_owned)
            .collect();
        let was = compare::items_of(&self.index, &self.roots);
        let is = match &site {
            Some(site) => compare::items_in(site, walked, &self.index, &self.roots, known, None, progress),
            None => Ok(Vec::new()),
        };
        let is = is.unwrap_or_else(|e| {
            note = Some(cannot(e));
            Vec::new()
        });
        let comparison = plan::compare(&self.stored.snapshot.id, &was, &is, |path| self.aside.covers(path));
        let (scope, roots) = (Scope::join(&self.scopes), self.roots.iter().map(|root| root.to_string_lossy()).collect::<Vec<_>>());
        let mut words = vec![self.stored.snapshot.id.as_str(), &scope];
        words.extend(roots.iter().map(|root| root.as_ref()).chain([""]).chain(self.carry.iter().map(String::as_str)));
        let mut hasher = Hasher::default();
        plan::trace(&words, &was, &is, |path| self.aside.covers(path), &mut |bytes| hasher.update(bytes));
        let tree = note.is_none().then(|| hasher.finish());
        let digests: HashMap<&Path, Digest> = was.iter().filter_map(|item| Some((item.node.path.as_path(), item.digest?))).collect();
        let same = is.iter().filter(|item| item.digest.is_some() && item.digest.as_ref() == digests.get(item.node.path.as_path()));
        let content = same.map(|item| item.node.path.clone()).collect();
        let altered = comparison.differences.iter().map(|difference| difference.path.to_path()).collect();
        let carried = carried.iter().map(RecordPath::new).collect();
        Ok(Look { site, comparison, carried, note, tree, content, altered })
    }

    /// Writes everything into the empty folder `into`. Each piece is checked against its digest on the way.
    ///
    /// # Errors
    /// [`Error::Refused`] for damage; [`Error::Path`], [`Error::Interrupted`].
    pub(super) fn extract(&self, into: &Path, progress: &(dyn Fn(u64) + Sync), stop: &AtomicBool) -> Result<Extracted> {
        self.extract_some(&self.wanted(None), into, None, progress, stop)
    }

    /// Writes the new tree, less what is carried over, each part into its place. What the live tree has unchanged is taken from there.
    ///
    /// # Errors
    /// As [`Point::extract`]; [`Error::Refused`] also for metadata that cannot be put back here.
    pub(super) fn stage(
        &self,
        root: &Path,
        journal: &Journal,
        live: &Live<'_>,
        progress: &(dyn Fn(u64) + Sync),
        stop: &AtomicBool,
    ) -> Result<Extracted> {
        let mut all = Extracted::default();
        for (place, wanted) in self.wanted_in(root, journal) {
            let into = journal.folder_in(root, &place.path()).join("tree");
            let has = |path: &Path| live.has(path);
            let sharing = live.sharing_in(place);
            let donor = live.look.site.as_ref().zip(sharing).map(|(site, sharing)| Donor { site, sharing, has: &has });
            let done = self.extract_some(&wanted, &into, donor.as_ref(), progress, stop)?;
            if let Some((path, what)) = done.lost.first() {
                return Err(Error::Refused(format!("{} cannot be put back whole: {what}; {} more", path.display(), done.lost.len() - 1)));
            }
            all.entries += done.entries;
            all.bytes += done.bytes;
            all.owners.extend(done.owners);
            all.taken.extend(done.taken);
        }
        all.owners.sort_unstable();
        all.owners.dedup();
        Ok(all)
    }

    fn extract_some(
        &self,
        wanted: &[usize],
        into: &Path,
        donor: Option<&Donor<'_>>,
        progress: &(dyn Fn(u64) + Sync),
        stop: &AtomicBool,
    ) -> Result<Extracted> {
        extract(self.content(), &self.index, wanted, into, donor, progress, stop).map_err(|e| match e {
            Error::Archive { path, why } => Error::Refused(format!("{}: {why}", path.display())),
            other => other,
        })
    }

    /// Reads what was staged back from the disk and compares it with the index, contents and metadata. What was taken from the live tree
    /// and changed while that was done is written instead.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the first path that differs.
    pub(super) fn check(&self, root: &Path, journal: &Journal, taken: &[Taken], progress: &(dyn Fn(u64) + Sync), stop: &AtomicBool) -> Result<u64> {
        let mut found = self.read_back(root, journal, progress)?;
        let differ: HashSet<PathBuf> = found.differences.iter().map(|difference| difference.path.to_path()).collect();
        let late: BTreeSet<PathBuf> = taken.iter().filter(|taken| differ.contains(&taken.path)).map(|taken| taken.path.clone()).collect();
        if !late.is_empty() {
            self.write_again(root, journal, late, stop)?;
            found = self.read_back(root, journal, progress)?;
        }
        match found.differences.first() {
            None => Ok(found.same),
            Some(first) => {
                let (path, what) = (&first.path.path, [vec![first.what.clone()], first.details.clone()].concat().join(" "));
                Err(Error::Refused(format!("what was staged differs from the snapshot at {path} ({what}), and {} more", found.differences.len() - 1)))
            }
        }
    }

    fn read_back(&self, root: &Path, journal: &Journal, progress: &(dyn Fn(u64) + Sync)) -> Result<Comparison> {
        let mut is = Vec::new();
        let mut was = compare::items_of(&self.index, &self.roots);
        for place in journal.places.iter().map(Place::path) {
            let step = disk::time_step(&journal.folder_in(root, &place))?;
            // Where times are kept less finely than they were captured, that is as good as they get.
            was.iter_mut().filter(|item| step > 1 && journal.place(&item.node.path).0 == place).for_each(|item| {
                item.node.meta.mtime.nanos -= item.node.meta.mtime.nanos % step;
            });
            let staged = journal.folder_in(root, &place).join("tree");
            let found = compare::read_back(&staged, &self.index, &self.roots, progress)?;
            // The folders above what is staged in a mount are there only to hold it.
            is.extend(found.into_iter().filter(|item| journal.place(&item.node.path).0 == place && self.is_staged(&item.node.path)));
        }
        was.retain(|item| self.is_staged(&item.node.path));
        let left_out = |path: &Path| self.aside.covers(path) && self.is_carried_from(root, path);
        Ok(plan::compare("", &was, &is, left_out))
    }

    /// Writes these paths of the staged tree from the archive, in place of what is there, and flushes them.
    ///
    /// # Errors
    /// As [`Point::extract`].
    pub(super) fn write_again(&self, root: &Path, journal: &Journal, mut paths: BTreeSet<PathBuf>, stop: &AtomicBool) -> Result<()> {
        let entries = &self.index.entries;
        self.add_other_names(&mut paths);
        for (place, mut wanted) in self.wanted_in(root, journal) {
            wanted.retain(|at| paths.contains(&entries[*at].node.path));
            if wanted.is_empty() {
                continue;
            }
            let folder = journal.folder_in(root, &place.path());
            let (tree, late) = (folder.join("tree"), folder.join("late"));
            disk::private_dir(&late)?;
            let dir = disk::open_dir(&late)?;
            self.extract_some(&wanted, &late, None, &|_| (), stop)?;
            for at in wanted {
                let path = &entries[at].node.path;
                let (from, to) = (late.join(path), tree.join(path));
                let is_folder = entries[at].node.kind == Kind::Dir;
                // What is there stays; what came with the folder that it is in is there already.
                if is_folder && to.is_dir() || disk::stat(&from)?.is_none() {
                    continue;
                }
                disk::create_dirs(disk::parent(&to))?;
                disk::keeping_times([disk::parent(&to)], || fs::rename(&from, &to)).named("replace", &to)?;
            }
            disk::remove_tree(&late)?;
            disk::sync_filesystem(dir.as_fd(), &late)?;
        }
        Ok(())
    }
}

/// The live tree beside the snapshot.
pub(super) struct Look {
    /// Where it lies; none where it cannot be compared.
    site: Option<Site>,
    pub(super) comparison: Comparison,
    /// Folders that hold paths that are carried over.
    pub(super) carried: Vec<RecordPath>,
    /// What kept it from being complete.
    pub(super) note: Option<String>,
    /// Of all that it went by; `None` when it was not complete.
    pub(super) tree: Option<Digest>,
    /// Files with the snapshot's content.
    content: HashSet<PathBuf>,
    /// Paths that differ in anything.
    pub(super) altered: HashSet<PathBuf>,
}

/// How files that have not changed get into the staged tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Staging {
    /// Cloned where the filesystem can, written elsewhere.
    #[default]
    Clone,
    /// Written, like all others.
    Extract,
    /// As further names of the live files: only for services that never write into a file, but always replace it.
    Link,
}

/// What of the live tree may become part of the staged one.
pub(super) struct Live<'a> {
    root: &'a Path,
    look: &'a Look,
    staging: Staging,
    /// Inodes that are mapped to be written: what is written there leaves no trace.
    mapped: HashSet<u64>,
}

impl<'a> Live<'a> {
    pub(super) fn new(root: &'a Path, look: &'a Look, staging: Staging) -> Live<'a> {
        let mapped = if staging == Staging::Link { disk::mapped() } else { HashSet::new() };
        Live { root, look, staging, mapped }
    }

    fn sharing_in(&self, place: &Place) -> Option<Sharing> {
        match self.staging {
            Staging::Extract => None,
            Staging::Link if place.folder().is_none() => Some(Sharing::Link),
            // A generation has its name before the last look, after which linked files may have to be written again.
            _ => disk::shares_blocks(&self.root.join(place.path())).then_some(Sharing::Clone),
        }
    }

    fn has(&self, path: &Path) -> bool {
        let whole = || !self.look.altered.contains(path);
        let unmapped = || matches!(disk::stat(&self.root.join(path)), Ok(Some(stat)) if !self.mapped.contains(&disk::identity(&stat).ino));
        self.look.content.contains(path) && (self.staging != Staging::Link || whole() && unmapped())
    }
}
