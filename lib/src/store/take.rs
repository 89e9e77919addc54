//! Taking a snapshot: read the tree beside what was captured before, write under a hidden name, read back, flush, and only then
//! show it.

use super::{Seal, Store, Stored, pin};
use crate::archive::{self, Archive, Base, Head, How, Options, Outcome, Previous, Source, Written};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::Snapshot;
use crate::scope::{Attributes, CaptureRules, Patterns, Scopes, Site, SqliteMode, Walker};
use crate::sqlite;
use crate::time::Timestamp;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything.
    Full,
    /// What differs from the newest verified full one, and everything where there is none.
    Differential,
    /// What differs from the newest verified full one; no snapshot where it would have to be a full one.
    OnlyDifferential,
}

/// How a note begins where a differential snapshot was asked for.
const INSTEAD: &str = "a full snapshot instead of a differential one";

/// What to take.
pub struct Taking<'a> {
    /// The ecosystem's root.
    pub base: &'a Path,
    /// Which roots.
    pub roots: Vec<PathBuf>,
    /// What they mean.
    pub scopes: &'a Scopes,
    /// What to leave out, what to mark as preserved, how to copy databases.
    pub rules: &'a CaptureRules,
    /// `manual`, `daily` and so on.
    pub kind: &'a str,
    /// The new snapshot's id.
    pub id: String,
    /// Now.
    pub time: Timestamp,
    /// This machine.
    pub host: Option<String>,
    /// Health as far as it is known: `ok`, `failed` or `unknown`.
    pub health: &'a str,
    /// Where to write it instead of the store.
    pub output: Option<PathBuf>,
    /// Whether everything is to be in it.
    pub mode: Mode,
    /// Compression from 0 (stored) to 12.
    pub level: i32,
    /// Read every file, also those whose times say that they have not changed.
    pub rehash: bool,
    /// Whether no retention rule may let it go.
    pub pin: bool,
    /// Who keeps the service still while its files are read.
    pub quiet: Option<&'a dyn Quiet>,
    /// Is told about how many bytes there are to read, where a snapshot from before tells.
    pub expect: Option<&'a dyn Fn(u64)>,
}

/// Keeps the service still while its files are read.
pub trait Quiet {
    /// Called right before the first file is looked at.
    ///
    /// # Errors
    /// Why it does not hold still; there is no snapshot then, and `end` need not be called.
    fn begin(&self) -> Result<()>;

    /// Called when the last byte was read, or when there will be no snapshot.
    fn end(&self);
}

/// Ends what began, also when something fails in between.
struct Still<'a>(&'a dyn Quiet);

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What was taken.
#[derive(Debug)]
pub struct Taken {
    /// Its record, as the store shows it.
    pub stored: Stored,
    /// Files that were gone when their turn came.
    pub vanished: Vec<PathBuf>,
    /// Sockets, which are noted and not captured.
    pub sockets: Vec<PathBuf>,
    /// Why it is not what was asked for, or took longer.
    pub notes: Vec<String>,
}

/// Takes one snapshot. It appears in the store only when it was read back and is durable.
///
/// # Errors
/// [`Error::Config`] when there is nothing to capture; [`Error::Other`] when it would have to be a full one and may not; [`Error::Path`],
/// [`Error::Other`] and [`Error::Interrupted`] when it cannot be finished. The store is then as it was.
pub fn take(store: &Store, taking: Taking<'_>, progress: &(dyn Fn(u64) + Sync), stop: &AtomicBool) -> Result<Taken> {
    let skip = Patterns::new(&taking.rules.exclude).map_err(Error::Config)?;
    if !taking.roots.iter().any(|root| matches!(disk::stat(&taking.base.join(root)), Ok(Some(_)))) {
        let roots = names(&taking.roots).join(", ");
        return Err(Error::Config(format!("nothing to capture: none of the roots ({roots}) is in {}", taking.base.display())));
    }
    let site = Site::open(taking.base, &taking.roots)?;
    let mut before = Before::find(store, &taking);
    let mut notes = Vec::new();
    let mut differential = taking.mode != Mode::Full;
    let instead = |why: &str| match taking.mode {
        Mode::OnlyDifferential => Err(Error::Other(format!("no differential snapshot can be made of it: {why}"))),
        _ => Ok(format!("{INSTEAD}: {why}")),
    };
    if differential && before.is_none() {
        notes.push(instead("there is no verified full one of the same roots to build on")?);
        differential = false;
    }
    let (path, stem) = place(store, &taking)?;
    let mut draft = Draft::new(disk::parent(&path), &stem)?;
    if let (Some(expect), Some(bytes), false) = (taking.expect, before.as_ref().and_then(|before| before.bytes), differential) {
        expect(bytes);
    }
    let still = taking.quiet.map(|quiet| quiet.begin().map(|()| Still(quiet))).transpose()?;
    let written = loop {
        let previous = before.as_ref().map(|before| before.as_previous(differential, taking.rehash));
        let source = Source {
            site: &site,
            walker: Box::new(Walker::new(&site, &taking.roots, &skip, Attributes::NotOfFiles)?),
            how: match taking.rules.sqlite {
                SqliteMode::Bytes => Box::new(|_| Ok(How::AsItIs)),
                SqliteMode::Online => {
                    let mut copier = sqlite::Copier::new(taking.base, &draft.scratch);
                    Box::new(move |found| copier.how(found))
                }
            },
            // Where every file is read, there is nothing to take over.
            previous: previous.filter(|previous| differential || !previous.rehash),
        };
        let base = before.as_ref().filter(|_| differential);
        let options = Options { level: taking.level, limit: base.map(|base| base.archive.length() / 2) };
        let head = head(store, &taking, &stem, draft.began_ns, base);
        match archive::write(&mut draft.file, &draft.path, head, source, options, progress, stop) {
            Ok(Outcome::Written(written)) => break written,
            Ok(Outcome::FullInstead(why)) => notes.push(instead(why)?),
            // Of archives only the one from before is read.
            Err(e @ Error::Archive { .. }) if before.is_some() && taking.mode != Mode::OnlyDifferential => {
                before = None;
                notes.push(format!("every file was read: {e}"));
            }
            Err(e) => return Err(e),
        }
        differential = false;
        draft.start_over()?;
    };
    // What follows is about the archive only.
    drop(still);
    draft.file.sync_all().named("flush", &draft.path)?;
    let length = read_back(&draft, &written).map_err(|e| {
        let why = format!("what was just written does not read back: {e}: the disk or the memory is failing; no snapshot was stored");
        Error::archive(&path, why)
    })?;
    // The verdict first: whoever sees the archive sees that it was verified.
    let seal =
        Seal { time: taking.time, depth: "data".into(), ok: true, sha256_toc: written.sha256_toc.to_string(), archive_bytes: length, restored: None };
    let shown = seal.write(&path).and_then(|()| if taking.pin { pin::write(&path, taking.time) } else { Ok(()) });
    shown.and_then(|()| draft.publish(&path)).inspect_err(|_| {
        // The error that matters is the one above.
        let _ = fs::remove_file(Seal::path(&path));
        let _ = fs::remove_file(pin::path_of(&path));
    })?;
    let stored = Stored::describe(written.head, &path, length);
    Ok(Taken { stored, vanished: written.vanished, sockets: written.sockets, notes })
}

/// Where the archive goes, and what it is called inside. The folder is there afterwards.
fn place(store: &Store, taking: &Taking<'_>) -> Result<(PathBuf, String)> {
    let (folder, stem) = store.place(taking.kind, taking.time, &taking.id);
    let (folder, path) = match &taking.output {
        Some(path) if disk::stat(path)?.is_some() => return Err(Error::Usage(format!("{} is there already", path.display()))),
        Some(path) => (disk::parent(path).to_owned(), path.clone()),
        None => {
            let path = folder.join(format!("{stem}.tar.gz"));
            (folder, path)
        }
    };
    if let Some(root) = taking.roots.iter().find(|root| is_within(&folder, &taking.base.join(root))) {
        return Err(Error::Usage(format!("the archive would lie inside '{}', which it has to hold: {}", root.display(), path.display())));
    }
    if let Some(root) = taking.roots.iter().find(|root| is_within(&taking.base.join(root), &store.folder)) {
        return Err(Error::Config(format!("the root {} leads into the store, {}", taking.base.join(root).display(), store.folder.display())));
    }
    if taking.output.is_none() {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).named("create the folder", &folder)?;
    }
    Ok((path, stem))
}

fn head(store: &Store, taking: &Taking<'_>, stem: &str, began_ns: i64, base: Option<&Before>) -> Head {
    let snapshot = Snapshot {
        id: taking.id.clone(),
        kind: Some(taking.kind.into()),
        mode: Some(if base.is_some() { "differential" } else { "full" }.into()),
        covers: taking.scopes.covered_by(&taking.roots),
        roots: names(&taking.roots),
        base: base.map(|base| base.id.clone()),
        health: Some(taking.health.into()),
        ..Snapshot::default()
    };
    Head {
        format: archive::FORMAT,
        written_by: concat!("eco-tools ", env!("CARGO_PKG_VERSION")).into(),
        time: taking.time,
        ecosystem: store.name.clone(),
        host: taking.host.clone(),
        top: stem.into(),
        snapshot,
        exclude: taking.rules.exclude.clone(),
        preserve: taking.rules.preserve.clone(),
        began_ns: Some(began_ns),
        base: base.map(Before::as_base),
        ..Head::default()
    }
}

fn names(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// Compares what lies on the disk with what was meant to be written, and reads the index as others will. It mostly comes from the
/// kernel's cache: reading the medium is what eco-verify does on another day.
fn read_back(draft: &Draft, written: &Written) -> Result<u64> {
    written.check(&draft.file, &draft.path)?;
    let archive = Archive::open(&draft.path)?.ok_or_else(|| Error::archive(&draft.path, "its footer is not found"))?;
    archive.check_index(&written.sha256_toc)?;
    Ok(archive.length())
}

/// A snapshot from before, which this one builds on.
struct Before {
    /// Of all files in it.
    bytes: Option<u64>,
    archive: Archive,
    id: String,
    sha256_toc: String,
    began_ns: Option<i64>,
}

impl Before {
    /// The newest verified one; for a differential snapshot the newest full one of the same roots. One that cannot be opened is passed
    /// over: nothing depends on it, the work only takes longer.
    fn find(store: &Store, taking: &Taking<'_>) -> Option<Before> {
        let differential = taking.mode != Mode::Full;
        if taking.output.is_some() || taking.rehash && !differential {
            return None;
        }
        let roots = names(&taking.roots);
        let fits = |stored: &&Stored| {
            let snapshot = &stored.snapshot;
            let is_base = snapshot.mode.as_deref() == Some("full") && snapshot.roots == roots;
            snapshot.verified == Some(true)
                && !stored.is_legacy()
                && (is_base || !differential)
                && stored.stamp.ecosystem.as_ref() == Some(&store.name)
        };
        let listing = store.list().ok()?;
        listing.snapshots.iter().filter(fits).find_map(|stored| Before::open(stored).ok().flatten())
    }

    fn open(stored: &Stored) -> Result<Option<Before>> {
        let Some(archive) = Archive::open(&stored.path)? else { return Ok(None) };
        let began_ns = archive.head()?.and_then(|head| head.began_ns);
        let sha256_toc = stored.snapshot.sha256_toc.clone().unwrap_or_default();
        Ok(Some(Before { archive, bytes: stored.snapshot.bytes, id: stored.snapshot.id.clone(), sha256_toc, began_ns }))
    }

    fn as_previous(&self, differential: bool, rehash: bool) -> Previous<'_> {
        Previous { archive: &self.archive, sha256_toc: self.sha256_toc.clone(), began_ns: self.began_ns, differential, rehash }
    }

    fn as_base(&self) -> Base {
        let file = self.archive.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Base { id: self.id.clone(), file, sha256_toc: self.sha256_toc.clone() }
    }
}

/// Whether `folder`, which need not exist yet, lies in the tree at `root`, whatever links lead there.
fn is_within(folder: &Path, root: &Path) -> bool {
    let Ok(root) = fs::canonicalize(root) else { return false };
    let there = folder.ancestors().find_map(|above| fs::canonicalize(if above.as_os_str().is_empty() { Path::new(".") } else { above }).ok());
    there.is_some_and(|there| there.starts_with(root))
}

/// An archive in the making: a hidden file that no listing shows, and a hidden folder for copies of databases. Both are gone when
/// this is, unless the file was published.
struct Draft {
    path: PathBuf,
    scratch: PathBuf,
    /// Open for reading and writing, with a lock that says that it is being worked on.
    file: File,
    /// When it was made, as the clock of its filesystem says.
    began_ns: i64,
}

impl Draft {
    fn new(folder: &Path, stem: &str) -> Result<Draft> {
        Draft::sweep(folder);
        let path = folder.join(format!(".{stem}.tmp"));
        let scratch = folder.join(format!(".{stem}.tmp.d"));
        let file = loop {
            let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path).named("create", &path)?;
            // Shared, so that it can be read back; whoever sweeps asks for the exclusive one, and may have done so just before.
            flock(&file, FlockOperation::LockShared).named("lock", &path)?;
            if disk::stat(&path)?.is_some() {
                break file;
            }
        };
        let made = file.metadata().named("look at", &path)?;
        let began_ns = made.ctime().saturating_mul(1_000_000_000).saturating_add(made.ctime_nsec());
        let draft = Draft { path, scratch, file, began_ns };
        DirBuilder::new().mode(0o700).create(&draft.scratch).named("create the folder", &draft.scratch)?;
        Ok(draft)
    }

    /// Removes what earlier runs left when they were killed: nobody holds their lock any more.
    fn sweep(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // A verdict that is just being written has no lock.
            if !name.starts_with('.') || !name.ends_with(".tmp") || name.contains(".verified.") {
                continue;
            }
            let Ok(file) = File::open(entry.path()) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // Leftovers that cannot be removed stay hidden and harm nobody. The file goes last: it is what the next sweep finds.
                let _ = disk::remove_tree(&folder.join(format!("{name}.d"))).map(|()| fs::remove_file(entry.path()));
            }
        }
    }

    /// Empties it, and the copies of databases too.
    fn start_over(&mut self) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).named("empty", &self.path)?;
        disk::remove_tree(&self.scratch)?;
        DirBuilder::new().mode(0o700).create(&self.scratch).named("create the folder", &self.scratch)
    }

    /// Gives the archive its name; never over another one.
    fn publish(&self, path: &Path) -> Result<()> {
        disk::rename_to_free(&self.path, path).named("name the archive", path)?;
        disk::sync_dir(disk::parent(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = disk::remove_tree(&self.scratch);
        let _ = fs::remove_file(&self.path);
    }
}
