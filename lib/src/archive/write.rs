//! Writing: one thread reads the tree in order, all cores hash and compress, one thread writes in the same order. Memory is
//! bounded by what may be under way at once; the bytes written do not depend on which core was faster.

use super::index::{Chunk, Entry, Head, Index};
use super::member::Packer;
use super::{CHUNK, INDEX_NAME, LEVEL, footer, header};
use crate::digest::{self, Hasher, Tee};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::RecordPath;
use crate::scope::{Found, Unreadable, is_unreadable};
use crate::tree::{Digest, Kind};
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex};

/// Uncompressed bytes that may be under way between reading and writing.
const UNDER_WAY: usize = 12 << 20;

/// Small pieces travel together up to this size, so that a tree of tiny files does not spend its time between threads.
const BATCH: usize = 256 << 10;

/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Compression from 0 (stored) to 12.
    pub level: i32,
}

impl Default for Options {
    fn default() -> Options {
        Options { level: LEVEL }
    }
}

/// What to write.
pub struct Source<'a> {
    /// The folder that all paths are relative to.
    pub base: &'a Path,
    /// The entries, folders first, as [`crate::scope::walk`] gives them.
    pub entries: Vec<Found>,
    /// Databases to take from a consistent copy instead of from the tree: the copy, and the digest without its counters.
    pub copies: HashMap<PathBuf, (PathBuf, Digest)>,
    /// What the walk could not read: then nothing is written, but what else cannot be read is found out.
    pub unreadable: Unreadable,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The index, as it stands in the archive; its head names files that kept changing while they were read.
    pub index: Index,
    /// The archive's length.
    pub archive_bytes: u64,
    /// SHA-256 of the index's JSON.
    pub sha256_toc: Digest,
    /// Files that were gone when their turn came.
    pub vanished: Vec<PathBuf>,
}

/// Writes a full archive of `source` to the empty file `to`. `progress` is told the bytes read; `stop` ends the work early.
/// Nothing is flushed to the medium yet.
///
/// # Errors
/// [`Error::Other`] naming the files that cannot be read: an archive without them would look whole; [`Error::Path`] for the archive;
/// [`Error::Interrupted`]. The archive is incomplete then.
pub fn write(
    to: &mut File,
    path: &Path,
    head: Head,
    source: Source<'_>,
    options: Options,
    progress: &(dyn Fn(u64) + Sync),
    stop: &AtomicBool,
) -> Result<Written> {
    let budget = Budget { free: Mutex::new(Some(UNDER_WAY)), freed: Condvar::new() };
    let (work_in, work_out) = channel::<(Vec<Event>, Sender<Vec<Done>>)>();
    let (order_in, order_out) = channel::<(usize, Receiver<Vec<Done>>)>();
    let work_out = Mutex::new(work_out);
    let top = head.top.clone();
    let mut writer = Writer { to, path, offset: 0, mark: None, index: Index { head, entries: Vec::new(), chunks: Vec::new() } };

    let (read, wrote) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reader = Reader {
                batch: Vec::new(),
                weight: 0,
                work: work_in,
                order: order_in,
                budget: &budget,
                pending: Vec::new(),
                top: &top,
                progress,
                stop,
            };
            reader.run(source)
        });
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                let mut packer = Packer::new(options.level);
                loop {
                    let next = work_out.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv();
                    let Ok((events, answer)) = next else { return };
                    // A writer that has failed is not interested any more.
                    let _ = answer.send(events.into_iter().map(|event| event.pack(&mut packer)).collect());
                }
            });
        }
        let mut wrote = Ok(());
        for (weight, batch) in &order_out {
            let Ok(batch) = batch.recv() else { break };
            wrote = batch.into_iter().try_for_each(|done| writer.take(done));
            budget.release(weight);
            if wrote.is_err() {
                break;
            }
        }
        budget.close();
        drop(order_out);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (read, wrote)
    });
    wrote?;
    let (unstable, vanished) = read?;
    writer.index.head.snapshot.unstable = unstable.iter().map(RecordPath::new).collect();
    let (archive_bytes, sha256_toc, index) = writer.finish()?;
    Ok(Written { index, archive_bytes, sha256_toc, vanished })
}

/// What the reading thread sends on, in order.
enum Event {
    /// The next entry begins.
    Entry(Box<Entry>),
    /// Headers, and the padding before them.
    Header(Vec<u8>),
    /// A piece of the entry's content.
    Content(Vec<u8>),
    /// The digest of an entry of several pieces.
    Digest(Digest),
    /// What follows may have to be taken back.
    Mark,
    /// Everything since the mark is taken back.
    Rewind,
}

/// What the writing thread gets.
enum Done {
    Member(Vec<u8>),
    Content { member: Vec<u8>, size: u32, digest: Digest },
    Other(Event),
}

impl Event {
    fn pack(self, packer: &mut Packer) -> Done {
        let mut member = Vec::new();
        match self {
            Event::Header(bytes) => {
                packer.pack(&bytes, &mut member);
                Done::Member(member)
            }
            Event::Content(bytes) => {
                let digest = packer.pack_content(&bytes, &mut member);
                Done::Content { member, size: bytes.len() as u32, digest }
            }
            other => Done::Other(other),
        }
    }
}

struct Budget {
    /// `None` once nobody writes any more.
    free: Mutex<Option<usize>>,
    freed: Condvar,
}

impl Budget {
    /// Waits until so much may be under way; false if nobody writes any more. A weight above the whole budget goes alone.
    fn take(&self, weight: usize) -> bool {
        let weight = weight.min(UNDER_WAY);
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        loop {
            match *free {
                None => return false,
                Some(bytes) if bytes >= weight => {
                    *free = Some(bytes - weight);
                    return true;
                }
                Some(_) => free = self.freed.wait(free).unwrap_or_else(|poisoned| poisoned.into_inner()),
            }
        }
    }

    fn release(&self, weight: usize) {
        if let Some(free) = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_mut() {
            *free += weight.min(UNDER_WAY);
        }
        self.freed.notify_one();
    }

    fn close(&self) {
        *self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
        self.freed.notify_one();
    }
}

/// The thread that reads the tree.
struct Reader<'a> {
    batch: Vec<Event>,
    weight: usize,
    work: Sender<(Vec<Event>, Sender<Vec<Done>>)>,
    order: Sender<(usize, Receiver<Vec<Done>>)>,
    budget: &'a Budget,
    /// Headers and padding that wait for the next content.
    pending: Vec<u8>,
    top: &'a str,
    progress: &'a (dyn Fn(u64) + Sync),
    stop: &'a AtomicBool,
}

/// What became of one attempt to read a file.
enum Attempt {
    Done,
    Changed,
    Vanished,
    /// Something that is no file has its name now: it is left out, and named as unstable.
    Replaced,
}

impl Reader<'_> {
    fn run(&mut self, source: Source<'_>) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let base = disk::open_dir(source.base)?;
        let mut unreadable = source.unreadable;
        let (mut unstable, mut vanished) = (Vec::new(), Vec::new());
        // A file with several names may lose the first one meanwhile: the next one then stands for it.
        let mut heirs: HashMap<PathBuf, PathBuf> = HashMap::new();
        for mut found in source.entries {
            if let Kind::Hardlink { target } = &mut found.node.kind
                && vanished.contains(target)
            {
                match heirs.get(target) {
                    Some(heir) => target.clone_from(heir),
                    None => {
                        heirs.insert(target.clone(), found.node.path.clone());
                        found.node.kind = Kind::File { size: 0 };
                    }
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted("the unfinished archive is removed".into()));
            }
            if let Kind::File { .. } = found.node.kind {
                let full = source.base.join(&found.node.path);
                let copy = source.copies.get(&found.node.path);
                if !unreadable.is_empty() {
                    // There will be no archive: what is left to find out is what else stands in its way.
                    if let Err(why) = can_be_opened(&base, &found.node.path, &full) {
                        unreadable.add(&why);
                    }
                    continue;
                }
                for attempt in 1..=TRIES {
                    let tried = self.file(&base, &full, found.clone(), copy, attempt == TRIES);
                    if let Err(why) = tried.as_ref().map(|_| ())
                        && is_unreadable(why)
                    {
                        unreadable.add(why);
                        break;
                    }
                    match tried? {
                        Attempt::Done => break,
                        gone @ (Attempt::Vanished | Attempt::Replaced) => {
                            // Nor can it be an heir then.
                            heirs.retain(|_, heir| *heir != found.node.path);
                            vanished.push(found.node.path.clone());
                            if let Attempt::Replaced = gone {
                                unstable.push(found.node.path.clone());
                            }
                            break;
                        }
                        Attempt::Changed if attempt == TRIES => unstable.push(found.node.path.clone()),
                        Attempt::Changed => {}
                    }
                }
            } else if unreadable.is_empty() {
                self.begin(entry(found, None))?;
            }
        }
        unreadable.check()?;
        self.headers()?;
        self.flush()?;
        Ok((unstable, vanished))
    }

    /// Reads one file. A change that is noticed before anything was sent costs nothing; a larger file is taken back. On the last
    /// try it is kept as it is.
    fn file(&mut self, base: &OwnedFd, full: &Path, mut found: Found, copy: Option<&(PathBuf, Digest)>, last_try: bool) -> Result<Attempt> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = match copy {
            Some((path, _)) => rustix::fs::open(path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()),
            None => disk::open_beneath(base.as_fd(), &found.node.path, flags, Mode::empty()),
        };
        let mut file = match opened {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(Attempt::Vanished),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR | rustix::io::Errno::NXIO) => return Ok(Attempt::Replaced),
            Err(e) => return Err(e).named("read", full),
        };
        let before = rustix::fs::fstat(&file).named("look at", full)?;
        let (now, identity) = disk::describe(found.node.path.clone(), &before);
        let Kind::File { size } = now.kind else { return Ok(Attempt::Replaced) };
        if copy.is_none() {
            // Permissions and owner may have changed since the walk; names and attributes are asked once.
            let meta = std::mem::take(&mut found.node.meta);
            found.node.meta = crate::tree::Meta { user: meta.user, group: meta.group, xattrs: meta.xattrs, ..now.meta };
            found.identity = identity;
        }
        let mut holes = Vec::new();
        if copy.is_none() && (before.st_blocks as u64).saturating_mul(512) < size {
            holes = disk::holes(&file, size);
            file.rewind().named("read", full)?;
        }
        let unchanged = |file: &File| -> Result<bool> {
            let after = rustix::fs::fstat(file).named("look at", full)?;
            Ok(after.st_size == before.st_size && disk::identity(&after) == disk::identity(&before))
        };
        let sqlite = copy.map(|(_, digest)| *digest);

        if size <= CHUNK as u64 {
            let mut content = Vec::with_capacity(size as usize + 1);
            (&mut file).take(CHUNK as u64 + 1).read_to_end(&mut content).named("read", full)?;
            let stable = content.len() as u64 == size && unchanged(&file)?;
            if !stable && !last_try {
                return Ok(Attempt::Changed);
            }
            // One that grows and grows is kept as far as it was when it was opened.
            content.truncate(CHUNK);
            let size = content.len() as u64;
            found.node.kind = Kind::File { size };
            holes.retain(|(offset, length)| offset + length <= size);
            self.begin(Entry { holes, ..entry(found, sqlite) })?;
            if !content.is_empty() {
                self.content(content)?;
                self.pending.resize(header::padding(size), 0);
            }
            return Ok(if stable { Attempt::Done } else { Attempt::Changed });
        }

        let before_this = self.pending.clone();
        found.node.kind = Kind::File { size };
        self.send(Event::Mark, 0)?;
        self.begin(Entry { holes, ..entry(found, sqlite) })?;
        let mut hasher = Hasher::default();
        let mut left = size;
        let mut whole = true;
        while left > 0 {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted("the unfinished archive is removed".into()));
            }
            let want = left.min(CHUNK as u64) as usize;
            let mut piece = Vec::with_capacity(want);
            (&mut file).take(want as u64).read_to_end(&mut piece).named("read", full)?;
            // The header has promised a length: what a shrunken file lacks becomes zeros, and it is named as unstable.
            whole &= piece.len() == want;
            piece.resize(want, 0);
            hasher.update(&piece);
            left -= want as u64;
            self.content(piece)?;
        }
        let stable = whole && unchanged(&file)?;
        if !stable && !last_try {
            self.send(Event::Rewind, 0)?;
            self.pending = before_this;
            return Ok(Attempt::Changed);
        }
        self.send(Event::Digest(hasher.finish()), 0)?;
        self.pending.resize(header::padding(size), 0);
        Ok(if stable { Attempt::Done } else { Attempt::Changed })
    }

    /// Sends an entry; its headers wait for the next content, but never in such numbers that they fill the memory.
    fn begin(&mut self, entry: Entry) -> Result<()> {
        if self.pending.len() >= header::TOGETHER {
            self.headers()?;
        }
        header::encode(self.top, &entry.node, &mut self.pending);
        self.send(Event::Entry(Box::new(entry)), 0)
    }

    /// Sends the waiting headers.
    fn headers(&mut self) -> Result<()> {
        let headers = std::mem::take(&mut self.pending);
        let weight = headers.len();
        if weight > 0 { self.send(Event::Header(headers), weight) } else { Ok(()) }
    }

    /// Sends the waiting headers, then a piece of content.
    fn content(&mut self, piece: Vec<u8>) -> Result<()> {
        (self.progress)(piece.len() as u64);
        self.headers()?;
        let weight = piece.len();
        self.send(Event::Content(piece), weight)
    }

    fn send(&mut self, event: Event, weight: usize) -> Result<()> {
        self.batch.push(event);
        self.weight += weight;
        if self.weight >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let (answer, done) = channel();
        let weight = std::mem::take(&mut self.weight);
        let batch = std::mem::take(&mut self.batch);
        // Nobody writes any more: the error that matters is the writer's.
        let gone = || Error::Other("the archive could not be written".into());
        if !self.budget.take(weight) {
            return Err(gone());
        }
        self.order.send((weight, done)).map_err(|_| gone())?;
        self.work.send((batch, answer)).map_err(|_| gone())
    }
}

/// Whether a file is there and may not be read.
fn can_be_opened(base: &OwnedFd, path: &Path, full: &Path) -> Result<()> {
    let tried = disk::open_beneath(base.as_fd(), path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).named("read", full);
    tried.map(|_| ()).or_else(|why| if is_unreadable(&why) { Err(why) } else { Ok(()) })
}

fn entry(found: Found, sqlite: Option<Digest>) -> Entry {
    Entry { node: found.node, digest: None, chunks: 0..0, identity: Some(found.identity), sqlite, holes: Vec::new() }
}

/// The thread that writes the archive.
struct Writer<'a> {
    to: &'a mut File,
    path: &'a Path,
    offset: u64,
    mark: Option<(u64, usize, usize)>,
    index: Index,
}

impl Writer<'_> {
    fn take(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Member(member) => self.append(&member),
            Done::Content { member, size, digest } => {
                self.index.chunks.push(Chunk { offset: self.offset, size, digest });
                if let Some(entry) = self.index.entries.last_mut() {
                    entry.chunks.end = self.index.chunks.len() as u32;
                    // Right for a file of one piece; one of several says its digest when it ends.
                    entry.digest = Some(digest);
                }
                self.append(&member)
            }
            Done::Other(Event::Entry(mut entry)) => {
                let here = self.index.chunks.len() as u32;
                entry.chunks = here..here;
                entry.digest = matches!(entry.node.kind, Kind::File { .. }).then(|| digest::of(b""));
                self.index.entries.push(*entry);
                Ok(())
            }
            Done::Other(Event::Digest(digest)) => {
                if let Some(entry) = self.index.entries.last_mut() {
                    entry.digest = Some(digest);
                }
                Ok(())
            }
            Done::Other(Event::Mark) => {
                self.mark = Some((self.offset, self.index.entries.len(), self.index.chunks.len()));
                Ok(())
            }
            Done::Other(Event::Rewind) => {
                if let Some((offset, entries, chunks)) = self.mark.take() {
                    self.to.set_len(offset).and_then(|()| self.to.seek(SeekFrom::Start(offset))).named("write", self.path)?;
                    self.offset = offset;
                    self.index.entries.truncate(entries);
                    self.index.chunks.truncate(chunks);
                }
                Ok(())
            }
            Done::Other(Event::Header(_) | Event::Content(_)) => Ok(()),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).named("write", self.path)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Adds the index, the end of the tar stream and the footer.
    fn finish(mut self) -> Result<(u64, Digest, Index)> {
        let (files, bytes) = self.index.totals();
        self.index.head.snapshot.files = Some(files);
        self.index.head.snapshot.bytes = Some(bytes);
        // The tar header needs the length before the first byte, so the index is written twice, once to nowhere.
        let mut measure = Tee::new(io::sink());
        self.index.write(&mut measure).named("write", self.path)?;
        let (_, sha256_toc, length) = measure.finish();

        let start = self.offset;
        let mut headers = Vec::new();
        header::encode_index(INDEX_NAME, length, &mut headers);
        let buffered = io::BufWriter::with_capacity(1 << 16, &mut *self.to);
        let mut member = io::BufWriter::with_capacity(1 << 16, GzEncoder::new(buffered, flate2::Compression::new(3)));
        let end = vec![0; header::padding(length) + 2 * header::BLOCK];
        let written = member
            .write_all(&headers)
            .and_then(|()| self.index.write(&mut member))
            .and_then(|()| member.write_all(&end))
            .and_then(|()| member.into_inner().map_err(io::Error::from))
            .and_then(GzEncoder::finish)
            .and_then(|buffered| buffered.into_inner().map_err(io::Error::from).map(|_| ()));
        written.named("write", self.path)?;
        self.to.write_all(&footer::encode(start)).named("write", self.path)?;
        let archive_bytes = self.to.stream_position().named("write", self.path)?;
        Ok((archive_bytes, sha256_toc, self.index))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Archive;
    use super::*;
    use crate::archive::FORMAT;
    use crate::scope::{Patterns, walk};
    use std::fs;

    fn written(base: &Path, entries: Vec<Found>) -> (tempfile::TempDir, Archive, Index) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let head = Head { format: FORMAT, top: "top".into(), ..Head::default() };
        let source = Source { base, entries, copies: HashMap::new(), unreadable: Unreadable::default() };
        write(&mut file, &path, head, source, Options::default(), &|_| (), &AtomicBool::new(false)).unwrap();
        let archive = Archive::open(&path).unwrap().unwrap();
        let (index, _) = archive.index().unwrap();
        let damage = archive.verify(&index, true, &|_| ()).unwrap();
        assert!(damage.is_empty(), "{damage:?}");
        (folder, archive, index)
    }

    fn entries(base: &Path) -> Vec<Found> {
        walk(base, &["data".into()], &Patterns::new::<&str>(&[]).unwrap()).unwrap().entries
    }

    #[test]
    fn a_file_that_loses_its_first_name_keeps_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join("data").join(name);
        fs::create_dir(at("")).unwrap();
        fs::write(at("a"), "content").unwrap();
        for name in ["b", "c", "d"] {
            fs::hard_link(at("a"), at(name)).unwrap();
        }
        let entries = entries(dir.path());
        fs::remove_file(at("a")).unwrap();
        fs::remove_file(at("b")).unwrap();
        let (_folder, archive, index) = written(dir.path(), entries);
        let found: Vec<_> = index.entries.iter().map(|e| (e.node.path.to_str().unwrap(), e.node.kind.clone())).collect();
        assert_eq!(found[2..], [("data/c", Kind::File { size: 7 }), ("data/d", Kind::Hardlink { target: "data/c".into() })]);
        let mut content = Vec::new();
        let mut take = |piece: &[u8]| {
            content.extend_from_slice(piece);
            Ok(())
        };
        archive.content(&index, &index.entries[2], &mut take).unwrap();
        assert_eq!(content, b"content");
    }

    #[test]
    fn a_name_that_is_something_else_by_now_is_left_out_and_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/a"), "content").unwrap();
        let entries = entries(dir.path());
        fs::remove_file(dir.path().join("data/a")).unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.path().join("data/a")).unwrap();
        let (_folder, _, index) = written(dir.path(), entries);
        assert_eq!(index.entries.len(), 2);
        assert_eq!(index.head.snapshot.unstable, [RecordPath::new("data/a")]);
    }

    #[test]
    fn many_headers_in_a_row_are_many_members() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        for number in 0..1500 {
            std::os::unix::fs::symlink("x", dir.path().join(format!("data/{number}"))).unwrap();
        }
        let (_folder, archive, index) = written(dir.path(), entries(dir.path()));
        assert_eq!(index.entries.len(), 1502);
        let packed = archive.region(0, archive.end()).unwrap();
        let mut members = packed.as_slice();
        let (mut unpacker, mut headers) = (super::super::member::Unpacker::new(), Vec::new());
        for _ in 0..2 {
            let used = unpacker.unpack_any(members, header::TOGETHER + 4096, &mut headers).unwrap();
            members = &members[used..];
        }
        assert!(members.len() < packed.len() / 2, "{} of {} bytes are left after two", members.len(), packed.len());
    }
}
