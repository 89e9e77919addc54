//! Writing: one thread walks the tree, one reads it in order, all cores hash and compress, one thread writes in the same order.
//! Memory is bounded by what may be under way at once; the bytes written do not depend on which core was faster.
//!
//! With an archive from before, what has not changed since is not read: a full archive takes its compressed pieces over, a
//! differential one leaves them where they are.

mod beside;
mod reader;
mod spool;

pub use beside::Previous;

use super::index::{Chunk, Entry, Head, Listed};
use super::member::{Packer, Unpacker};
use super::{Archive, LEVEL, ZEROS, footer, toc};
use crate::digest;
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::RecordPath;
use crate::scope::{Found, Site, Step};
use crate::tree::{Digest, Kind};
use libdeflater::Crc;
use reader::{Captured, Reader};
use rustix::fs::OFlags;
use spool::Spool;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Condvar, Mutex};

/// Uncompressed bytes that may be under way between reading and writing.
const UNDER_WAY: usize = 12 << 20;

/// Why there is no differential archive that is larger than it may be.
const OUTGROWN: &str = "it would have grown beyond half of the full one that it builds on";

/// The level that leaves the least.
const BEST: i32 = 12;

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Compression from 0 (stored) to 12.
    pub level: i32,
    /// Give up when the archive grows beyond this.
    pub limit: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options { level: LEVEL, limit: None }
    }
}

/// What to write.
pub struct Source<'a> {
    /// Where the tree lies.
    pub site: &'a Site,
    /// The walk over it, which need not read attributes of files.
    pub walker: Box<dyn Iterator<Item = Result<Step>> + Send + 'a>,
    /// Says of each file whether it is taken from where it lies.
    pub how: Ask<'a>,
    /// What was captured before.
    pub previous: Option<Previous<'a>>,
}

/// Says of a file how it is to be captured.
pub type Ask<'a> = Box<dyn FnMut(&Found) -> Result<How> + Send + 'a>;

/// Where a file's content is taken from.
pub enum How {
    /// From the tree.
    AsItIs,
    /// From a consistent copy of a database; the digest is that of the copy without its counters.
    Copy(PathBuf, Digest),
    /// Not at all: a journal whose database was copied with what is in it.
    LeftOut,
}

/// What was written.
pub struct Written {
    /// What stands at the top of the index; it names files that kept changing while they were read.
    pub head: Head,
    /// The archive's length.
    pub archive_bytes: u64,
    /// SHA-256 of the index's JSON.
    pub sha256_toc: Digest,
    /// Files that were gone when their turn came.
    pub vanished: Vec<PathBuf>,
    /// Sockets, which are noted and not captured.
    pub sockets: Vec<PathBuf>,
    proof: Vec<Stretch>,
}

/// A stretch of the archive and the checksum of what was meant to be written there.
struct Stretch {
    start: u64,
    sum: Crc,
}

impl Written {
    /// Reads the archive back and compares it with what was meant to be written. Each piece of content was inflated again and compared
    /// with the original when it was packed, so what is left to prove is that the bytes have arrived.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Other`] where other bytes come back.
    pub fn check(&self, file: &File, path: &Path) -> Result<()> {
        let mut buffer = vec![0; 1 << 18];
        let ends = self.proof.iter().skip(1).map(|stretch| stretch.start).chain([self.archive_bytes]);
        for (stretch, end) in self.proof.iter().zip(ends) {
            let (mut at, mut sum) = (stretch.start, Crc::new());
            while at < end {
                let length = buffer.len().min((end - at) as usize);
                file.read_exact_at(&mut buffer[..length], at).named("read back", path)?;
                sum.update(&buffer[..length]);
                at += length as u64;
            }
            if sum.sum() != stretch.sum.sum() {
                return Err(Error::Other(format!("what was written at byte {} reads back differently", stretch.start)));
            }
        }
        Ok(())
    }
}

/// What came of writing.
pub enum Outcome {
    /// The archive.
    Written(Box<Written>),
    /// No differential archive can be made of this, for the reason that is given: a full one can.
    FullInstead(&'static str),
}

/// Writes an archive of `source` to the empty file `to`, unless it has to be a full one. `progress` is told the bytes
/// read; `stop` ends the work early. Nothing is flushed to the medium yet.
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
) -> Result<Outcome> {
    let budget = Budget { free: Mutex::new(Some(UNDER_WAY)), freed: Condvar::new() };
    let (work_in, work_out) = channel::<(Vec<Event>, Sender<Packed>)>();
    let (order_in, order_out) = channel::<(usize, Receiver<Packed>)>();
    let work_out = Mutex::new(work_out);
    let Source { site, walker, how, previous } = source;
    let from = previous.as_ref().map(|previous| previous.archive);
    let listing = previous.as_ref().map(Previous::listing).transpose()?;
    let top = head.top.clone();
    let mut writer = Writer::new(to, path, &top, options.limit);

    let (read, wrote) = std::thread::scope(|scope| {
        let steps = ahead(scope, walker);
        let listed = listing.map(|listing| ahead(scope, listing));
        let reader = scope.spawn(|| {
            let flow = reader::Flow::new(work_in, order_in, &budget);
            let previous = previous.as_ref().zip(listed).map(|(previous, listed)| beside::Beside::new(previous, listed));
            Reader::new(site, &top, flow, previous, how, progress, stop)?.run(steps)
        });
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                let mut worker = Worker { packer: Packer::new(options.level), unpacker: Unpacker::new(), again: Vec::new(), zeros: None, site, from };
                loop {
                    let next = work_out.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv();
                    let Ok((events, answer)) = next else { return };
                    // A writer that has failed is not interested any more.
                    let _ = answer.send(events.into_iter().map(|event| worker.pack(event)).collect());
                }
            });
        }
        let mut wrote = Ok(());
        for (weight, batch) in &order_out {
            let Ok(batch) = batch.recv() else { break };
            wrote = batch.into_iter().try_for_each(|done| writer.take(done?));
            budget.release(weight);
            if wrote.is_err() || writer.outgrown {
                break;
            }
        }
        budget.close();
        drop(order_out);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (read, wrote)
    });
    wrote?;
    if writer.outgrown {
        return Ok(Outcome::FullInstead(OUTGROWN));
    }
    let Captured { files, bytes, unstable, vanished, absent, sockets, gone } = read?;
    let mut head = head;
    head.snapshot.files = Some(files);
    head.snapshot.bytes = Some(bytes);
    head.snapshot.unstable = unstable.iter().map(RecordPath::new).collect();
    head.absent = absent.iter().map(|path| path.display().to_string()).collect();
    head.sockets = sockets.iter().map(|path| path.display().to_string()).collect();
    head.gone = gone.iter().map(RecordPath::new).collect();
    // A head that names so much that is gone would not be read again.
    if head.base.is_some() && toc::beginning(&head).len() > toc::LONGEST_HEAD {
        return Ok(Outcome::FullInstead("more is gone than it could list"));
    }
    // Of many small changes the index is the larger part.
    let Some((archive_bytes, sha256_toc, proof)) = writer.finish(&head)? else { return Ok(Outcome::FullInstead(OUTGROWN)) };
    Ok(Outcome::Written(Box::new(Written { head, archive_bytes, sha256_toc, vanished, sockets, proof })))
}

/// Lets an iterator run ahead in a thread of its own, not further than a few thousand items.
fn ahead<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    items: impl Iterator<Item = T> + Send + 'scope,
) -> impl Iterator<Item = T> + Send + 'scope {
    const TOGETHER: usize = 128;
    let (to, from) = sync_channel::<Vec<T>>(16);
    scope.spawn(move || {
        let mut items = items.peekable();
        while items.peek().is_some() {
            // Whoever stops listening has an error of its own.
            if to.send(items.by_ref().take(TOGETHER).collect()).is_err() {
                return;
            }
        }
    });
    from.into_iter().flatten()
}

/// What the reading thread sends on, in order.
enum Event {
    /// The next entry begins.
    Entry(Box<Entry>),
    /// Headers, and the padding before them.
    Header(Vec<u8>),
    /// A piece of the entry's content.
    Content(Vec<u8>),
    /// A piece that the archive from before holds already, of the file at this path, from this byte on.
    Again(Chunk, PathBuf, u64),
    /// The digest of an entry of several pieces.
    Digest(Digest),
    /// What follows may have to be taken back.
    Mark,
    /// Everything since the mark is taken back.
    Rewind,
}

impl Event {
    /// About how much memory it takes while it is under way.
    fn weight(&self) -> usize {
        match self {
            Event::Header(bytes) | Event::Content(bytes) => bytes.len(),
            Event::Again(chunk, ..) => chunk.size as usize,
            // A tree of nothing but links must not run ahead without limit, either.
            Event::Entry(_) => 512,
            _ => 0,
        }
    }
}

/// What becomes of a batch of events.
type Packed = Vec<Result<Done>>;

/// What the writing thread gets.
enum Done {
    Member(Vec<u8>),
    Content { member: Vec<u8>, size: u32, digest: Digest },
    Entry(Box<Entry>),
    Digest(Digest),
    Mark,
    Rewind,
}

/// One of the threads that hash and compress.
struct Worker<'a> {
    packer: Packer,
    unpacker: Unpacker,
    again: Vec<u8>,
    /// The member that a whole piece of zeros becomes, and their digest: a file may hold gigabytes of them.
    zeros: Option<(Vec<u8>, Digest)>,
    site: &'a Site,
    from: Option<&'a Archive>,
}

impl Worker<'_> {
    fn pack(&mut self, event: Event) -> Result<Done> {
        Ok(match event {
            Event::Header(bytes) => Done::Member(self.proven(&bytes)?),
            Event::Content(bytes) => {
                let (member, digest) = self.content(&bytes)?;
                Done::Content { member, size: bytes.len() as u32, digest }
            }
            Event::Again(chunk, path, at) => Done::Content { member: self.again(&chunk, &path, at)?, size: chunk.size, digest: chunk.digest },
            Event::Entry(entry) => Done::Entry(entry),
            Event::Digest(digest) => Done::Digest(digest),
            Event::Mark => Done::Mark,
            Event::Rewind => Done::Rewind,
        })
    }

    fn content(&mut self, piece: &[u8]) -> Result<(Vec<u8>, Digest)> {
        if piece != ZEROS {
            return Ok((self.proven(piece)?, digest::of(piece)));
        }
        if let Some(zeros) = &self.zeros {
            return Ok(zeros.clone());
        }
        // Done once, so it may as well be done best.
        let usual = std::mem::replace(&mut self.packer, Packer::new(BEST));
        let packed = self.proven(piece);
        self.packer = usual;
        let zeros = (packed?, digest::of(piece));
        self.zeros = Some(zeros.clone());
        Ok(zeros)
    }

    /// The block as a member that was inflated again: faults of memory and of the codec end here.
    fn proven(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        let mut member = Vec::new();
        self.packer.pack(block, &mut member);
        let used = self.unpacker.unpack(&member, block.len(), &mut self.again);
        if used == Some(member.len()) && self.again == block {
            return Ok(member);
        }
        Err(Error::Other("what was compressed inflates to something else: the processor or the memory is failing".into()))
    }

    /// The member of a piece that the archive from before holds. It is inflated and hashed on the way, which takes a tenth of the time
    /// of packing it: what has rotted there must not live on in a snapshot that counts as verified.
    fn again(&mut self, chunk: &Chunk, path: &Path, at: u64) -> Result<Vec<u8>> {
        let Some(from) = self.from.map(|archive| archive.holding(chunk)) else { return Err(Error::Other("no archive from before".into())) };
        // A sector that cannot be read any more is as good as one that reads wrong.
        let mut member = from.packed(chunk).unwrap_or_default();
        let used = self.unpacker.unpack(&member, chunk.size as usize, &mut self.again);
        if let Some(used) = used.filter(|_| digest::of(&self.again) == chunk.digest) {
            member.truncate(used);
            return Ok(member);
        }
        // The file itself is still there, and has not changed since. If it has, it may as well be the index that is damaged.
        match self.block(path, at, chunk.size as usize) {
            Ok(block) if digest::of(&block) == chunk.digest => self.proven(&block),
            _ => Err(Error::archive(from.path(), format!("{} is damaged in it, and is not the same file any more", path.display()))),
        }
    }

    /// A part of a file in the tree.
    fn block(&self, path: &Path, at: u64, size: usize) -> Result<Vec<u8>> {
        let full = self.site.base().join(path);
        let file = File::from(self.site.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK).named("read", &full)?);
        disk::read_at(&file, &full, at, size)
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

/// The thread that writes the archive.
struct Writer<'a> {
    to: &'a mut File,
    path: &'a Path,
    offset: u64,
    limit: Option<u64>,
    outgrown: bool,
    /// The entry that the next pieces belong to.
    current: Option<Listed>,
    spool: Spool<'a>,
    proof: Vec<Stretch>,
}

impl<'a> Writer<'a> {
    fn new(to: &'a mut File, path: &'a Path, top: &'a str, limit: Option<u64>) -> Writer<'a> {
        let proof = vec![Stretch { start: 0, sum: Crc::new() }];
        Writer { to, path, offset: 0, limit, outgrown: false, current: None, spool: Spool::new(top), proof }
    }

    fn take(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Member(member) => self.append(&member),
            Done::Content { member, size, digest } => {
                if let Some(current) = &mut self.current {
                    current.pieces.push(Chunk { offset: self.offset, end: 0, size, digest, from_base: false });
                }
                self.append(&member)
            }
            Done::Entry(entry) => {
                self.list_current()?;
                self.current = Some(Listed { entry: *entry, pieces: Vec::new() });
                Ok(())
            }
            Done::Digest(digest) => {
                if let Some(current) = &mut self.current {
                    current.entry.digest = Some(digest);
                }
                Ok(())
            }
            Done::Mark => {
                self.list_current()?;
                self.proof.push(Stretch { start: self.offset, sum: Crc::new() });
                Ok(())
            }
            // Nothing but one entry and its pieces has come since the mark.
            Done::Rewind => {
                self.current = None;
                let start = self.proof.pop().map_or(0, |stretch| stretch.start);
                self.to.set_len(start).and_then(|()| self.to.seek(SeekFrom::Start(start))).named("write", self.path)?;
                self.offset = start;
                Ok(())
            }
        }
    }

    /// The current entry is complete.
    fn list_current(&mut self) -> Result<()> {
        let Some(Listed { mut entry, pieces }) = self.current.take() else { return Ok(()) };
        if let (Kind::File { .. }, None, None) = (&entry.node.kind, &entry.partial, &entry.digest) {
            // One of several pieces has said its digest.
            entry.digest = Some(pieces.first().map_or_else(|| digest::of(b""), |piece| piece.digest));
        }
        self.spool.add(&entry, &pieces).named("pack the index of", self.path)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).named("write", self.path)?;
        self.offset += bytes.len() as u64;
        if let Some(stretch) = self.proof.last_mut() {
            stretch.sum.update(bytes);
        }
        self.outgrown = self.limit.is_some_and(|limit| self.offset > limit);
        Ok(())
    }

    /// Adds the index, the end of the tar stream and the footer; `None` if that is more than the archive may hold.
    fn finish(mut self, head: &Head) -> Result<Option<(u64, Digest, Vec<Stretch>)>> {
        self.list_current()?;
        let start = self.offset;
        let (parts, sha256_toc) = std::mem::replace(&mut self.spool, Spool::new("")).finish(head).named("pack the index of", self.path)?;
        for part in parts {
            self.append(&part)?;
        }
        self.append(&footer::encode(start))?;
        Ok((!self.outgrown).then_some((self.offset, sha256_toc, self.proof)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Base, FORMAT, Index};
    use crate::scope::{Attributes, Patterns, Walker};
    use std::fs;

    /// An archive of `data`, where `meanwhile` happens between the walk and the reading.
    fn written(base: &Path, meanwhile: impl FnOnce() + Send) -> (tempfile::TempDir, Archive, Index) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let head = Head { format: FORMAT, top: "top".into(), ..Head::default() };
        let skip = Patterns::new::<&str>(&[]).unwrap();
        let site = Site::plain(base).unwrap();
        let walker = Walker::new(&site, &["data".into()], &skip, Attributes::NotOfFiles).unwrap();
        let steps: Vec<_> = walker.collect();
        meanwhile();
        let source = Source { site: &site, walker: Box::new(steps.into_iter()), how: Box::new(|_| Ok(How::AsItIs)), previous: None };
        let outcome = write(&mut file, &path, head, source, Options::default(), &|_| (), &AtomicBool::new(false)).unwrap();
        let Outcome::Written(written) = outcome else { panic!("no full archive") };
        written.check(&file, &path).unwrap();
        let archive = Archive::open(&path).unwrap().unwrap();
        archive.check_index(&written.sha256_toc).unwrap();
        let (index, _) = archive.index().unwrap();
        let damage = archive.verify(&index, true, &|_| ()).unwrap();
        assert!(damage.is_empty(), "{damage:?}");
        (folder, archive, index)
    }

    #[test]
    fn attributes_that_would_not_be_read_again_are_not_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let attempt = |length: usize| {
            let mut file = tempfile::tempfile().unwrap();
            let skip = Patterns::new::<&str>(&[]).unwrap();
            let site = Site::plain(dir.path()).unwrap();
            let walker = Walker::new(&site, &["data".into()], &skip, Attributes::NotOfFiles).unwrap().map(|step| {
                let mut step = step?;
                if let Step::Found(found) = &mut step {
                    found.node.meta.xattrs = vec![(b"user.a".to_vec(), vec![0; length])];
                }
                Ok(step)
            });
            let head = Head { format: FORMAT, top: "top".into(), ..Head::default() };
            let source = Source { site: &site, walker: Box::new(walker), how: Box::new(|_| Ok(How::AsItIs)), previous: None };
            write(&mut file, Path::new("a"), head, source, Options::default(), &|_| (), &AtomicBool::new(false)).map(|_| ())
        };
        attempt(1_000_000).unwrap();
        assert!(attempt(1 << 20).unwrap_err().to_string().contains("more than 1024 KiB of attributes"));
    }

    #[test]
    fn a_differential_archive_that_would_name_too_much_that_is_gone_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let name = |number: usize| dir.path().join(format!("data/{number}-{}", "n".repeat(200)));
        (0..400).for_each(|number| fs::write(name(number), "").unwrap());
        let (_folder, archive, index) = written(dir.path(), || ());
        let (_, digest) = archive.index().unwrap();
        let again = || {
            let mut file = tempfile::tempfile().unwrap();
            let base = Base { id: "b".into(), file: "a.tar.gz".into(), sha256_toc: digest.to_string() };
            let head = Head { base: Some(base), ..index.head.clone() };
            let skip = Patterns::new::<&str>(&[]).unwrap();
            let site = Site::plain(dir.path()).unwrap();
            let walker = Walker::new(&site, &["data".into()], &skip, Attributes::NotOfFiles).unwrap();
            let previous = Previous { archive: &archive, sha256_toc: digest.to_string(), began_ns: None, differential: true, rehash: false };
            let source = Source { site: &site, walker: Box::new(walker), how: Box::new(|_| Ok(How::AsItIs)), previous: Some(previous) };
            match write(&mut file, Path::new("b"), head, source, Options::default(), &|_| (), &AtomicBool::new(false)).unwrap() {
                Outcome::Written(written) => Ok(written.head.gone.len()),
                Outcome::FullInstead(why) => Err(why),
            }
        };
        (0..100).for_each(|number| fs::remove_file(name(number)).unwrap());
        assert_eq!(again(), Ok(100));
        (100..399).for_each(|number| fs::remove_file(name(number)).unwrap());
        assert_eq!(again(), Err("more is gone than it could list"));
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
        let (_folder, archive, index) = written(dir.path(), || {
            fs::remove_file(at("a")).unwrap();
            fs::remove_file(at("b")).unwrap();
        });
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
        let (_folder, _, index) = written(dir.path(), || {
            fs::remove_file(dir.path().join("data/a")).unwrap();
            std::os::unix::fs::symlink("elsewhere", dir.path().join("data/a")).unwrap();
        });
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
        let (_folder, archive, index) = written(dir.path(), || ());
        assert_eq!(index.entries.len(), 1502);
        let packed = archive.region(0, archive.end()).unwrap();
        let mut members = packed.as_slice();
        let (mut unpacker, mut headers) = (Unpacker::new(), Vec::new());
        for _ in 0..2 {
            let used = unpacker.unpack_any(members, crate::archive::header::TOGETHER + 4096, &mut headers).unwrap();
            members = &members[used..];
        }
        assert!(members.len() < packed.len() / 2, "{} of {} bytes are left after two", members.len(), packed.len());
    }
}
