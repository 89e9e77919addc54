//! Taking a snapshot: walk, copy live databases, write under a hidden name, read back, flush, and only then show it.

use super::{Seal, Store, Stored};
use crate::archive::{self, Archive, Head, Options, Source};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::Snapshot;
use crate::scope::{Attributes, CaptureRules, Patterns, Scopes, SqliteMode, Step, Unreadable, Walk, Walker};
use crate::sqlite;
use crate::time::Timestamp;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

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
    /// How to compress.
    pub options: Options,
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
}

/// Takes one snapshot. It appears in the store only when it was read back and is durable.
///
/// # Errors
/// [`Error::Config`] when there is nothing to capture; [`Error::Path`], [`Error::Other`] and [`Error::Interrupted`] when it cannot be
/// finished. The store is then as it was.
pub fn take(store: &Store, taking: Taking<'_>, progress: &(dyn Fn(u64) + Sync), stop: &AtomicBool) -> Result<Taken> {
    let skip = Patterns::new(&taking.rules.exclude).map_err(Error::Config)?;
    let (mut walked, unreadable) = look(&taking, &skip)?;
    if walked.absent.len() == taking.roots.len() {
        let names: Vec<_> = taking.roots.iter().map(|r| r.display().to_string()).collect();
        return Err(Error::Config(format!("nothing to capture: none of the roots ({}) is in {}", names.join(", "), taking.base.display())));
    }
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
    if taking.output.is_none() {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).named("create the folder", &folder)?;
    }
    let draft = Draft::new(&folder, &stem)?;
    let mode = if unreadable.is_empty() { taking.rules.sqlite } else { SqliteMode::Bytes };
    let copies = sqlite::copy_databases(taking.base, &mut walked.entries, mode, &draft.scratch)?;
    let text = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
    let head = Head {
        format: archive::FORMAT,
        written_by: concat!("eco-tools ", env!("CARGO_PKG_VERSION")).into(),
        time: taking.time,
        ecosystem: store.name.clone(),
        host: taking.host,
        top: stem,
        snapshot: Snapshot {
            id: taking.id,
            kind: Some(taking.kind.into()),
            mode: Some("full".into()),
            covers: taking.scopes.covered_by(&taking.roots),
            roots: text(&taking.roots),
            health: Some(taking.health.into()),
            ..Snapshot::default()
        },
        exclude: taking.rules.exclude.clone(),
        preserve: taking.rules.preserve.clone(),
        absent: text(&walked.absent),
        sockets: text(&walked.sockets),
    };
    let mut file = File::options().read(true).write(true).open(&draft.path).named("open", &draft.path)?;
    let source = Source { base: taking.base, entries: walked.entries, copies, unreadable };
    let written = archive::write(&mut file, &draft.path, head, source, taking.options, progress, stop)?;
    file.sync_all().named("flush", &draft.path)?;

    // Inflated and hashed once more. It mostly comes from the kernel's cache, so this finds faults of memory and of ours; reading
    // the medium would cost a fifth more, and is what eco-verify does on another day.
    let archive = Archive::open(&draft.path)?.ok_or_else(|| Error::archive(&draft.path, "what was just written cannot be read back"))?;
    let (index, sha256_toc) = archive.index()?;
    let damage = archive.verify(&index, false, &|_| ())?;
    if sha256_toc != written.sha256_toc || !damage.is_empty() {
        let place = damage.first().map_or("<index>", |damage| damage.path.path.as_str());
        return Err(Error::archive(
            &path,
            format!("what was just written reads back differently at {place}: the disk or the memory is failing; no snapshot was stored"),
        ));
    }
    let length = archive.length();
    drop(archive);
    // The verdict first: whoever sees the archive sees that it was verified.
    let seal = Seal { time: taking.time, depth: "data".into(), ok: true, sha256_toc: sha256_toc.to_string(), archive_bytes: length };
    seal.write(&path)?;
    draft.publish(&path).inspect_err(|_| {
        // The error that matters is the one above.
        let _ = fs::remove_file(Seal::path(&path));
    })?;
    let stored = Stored::describe(written.index.head, &path, length);
    Ok(Taken { stored, vanished: written.vanished, sockets: walked.sockets })
}

/// What there is, and what of it cannot be looked at.
fn look(taking: &Taking<'_>, skip: &Patterns) -> Result<(Walk, Unreadable)> {
    let (mut walked, mut unreadable) = (Walk::default(), Unreadable::default());
    for step in Walker::new(taking.base, &taking.roots, skip, Attributes::All)? {
        match step? {
            Step::Found(found) => walked.entries.push(found),
            Step::Absent(root) => walked.absent.push(root),
            Step::Socket(path) => walked.sockets.push(path),
            Step::Unreadable { why, .. } => unreadable.add(&why),
        }
    }
    Ok((walked, unreadable))
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
    _lock: File,
}

impl Draft {
    fn new(folder: &Path, stem: &str) -> Result<Draft> {
        Draft::sweep(folder);
        let path = folder.join(format!(".{stem}.tmp"));
        let scratch = folder.join(format!(".{stem}.tmp.d"));
        let file = loop {
            let file = File::options().write(true).create_new(true).mode(0o600).open(&path).named("create", &path)?;
            // Shared, so that it can be read back; whoever sweeps asks for the exclusive one, and may have done so just before.
            flock(&file, FlockOperation::LockShared).named("lock", &path)?;
            if disk::stat(&path)?.is_some() {
                break file;
            }
        };
        let draft = Draft { path, scratch, _lock: file };
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
