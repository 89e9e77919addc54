//! Opening an archive: the footer, then the index, then only the pieces that are asked for.

use super::index::{Base, Chunk, Completed, Entry, Head, Index, Listed};
use super::member::Unpacker;
use super::{INDEX_NAME, footer, header, toc};
use crate::digest::{self, Tee};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::tree::Digest;
use flate2::bufread::GzDecoder;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Names, times and digests keep an index from shrinking more than this, so a large one that does is a bomb. Sixty thousand names of one
/// file, the least that can be said sixty thousand times, shrink to a ninetieth.
const BEST_INDEX_RATIO: u64 = 500;

/// An index of this size harms nobody, whatever it came out of.
const HARMLESS_INDEX: u64 = 32 << 20;

/// How far from the end of the file a footer is looked for.
const FARTHEST_FOOTER: u64 = 64 << 10;

/// An archive in this format, open for reading, with a shared lock on it so that nobody removes it meanwhile.
#[derive(Debug)]
pub struct Archive {
    file: File,
    path: PathBuf,
    /// Up to and with the footer.
    length: u64,
    /// Bytes behind the footer.
    trailing: u64,
    /// Where the index begins: every piece lies before it.
    end: u64,
    /// The archive that this one completes, once it was asked for.
    base: OnceLock<Box<Archive>>,
}

impl Archive {
    /// Opens it; `None` if it is no archive of this format but perhaps another one, to be read as [`super::Foreign`].
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Option<Archive>> {
        // A pipe would keep us waiting for somebody to write to it.
        let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).named("read", path)?;
        if !file.metadata().named("look at", path)?.is_file() {
            return Err(io::Error::other("not a file")).named("read", path);
        }
        disk::Lock::shared(&file, path)?;
        Archive::of(file, path)
    }

    /// As [`Archive::open`], of a file that is open and locked already.
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be read.
    pub fn of(file: File, path: &Path) -> Result<Option<Archive>> {
        let length = file.metadata().named("look at", path)?.len();
        if length < footer::LENGTH {
            return Ok(None);
        }
        let last = disk::read_at(&file, path, length - footer::LENGTH, footer::LENGTH as usize)?;
        let found = match footer::decode(&last) {
            Some(end) => Some((length - footer::LENGTH, end)),
            // A line break or padding behind an archive hides its footer, and harms nothing else.
            None => {
                let from = length.saturating_sub(FARTHEST_FOOTER);
                footer::find_last(&disk::read_at(&file, path, from, (length - from) as usize)?).map(|(at, end)| (from + at as u64, end))
            }
        };
        Ok(found.filter(|(start, end)| end < start).map(|(start, end)| {
            let whole = start + footer::LENGTH;
            Archive { file, path: path.to_owned(), length: whole, trailing: length - whole, end, base: OnceLock::new() }
        }))
    }

    /// How many bytes stand behind its end, where nothing belongs.
    pub fn trailing(&self) -> u64 {
        self.trailing
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long it is, without what stands behind its end.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where the index begins.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The snapshot's own description: the footer and the first kilobytes of the index are all that is read. `None` for an eStargz
    /// that another tool wrote.
    ///
    /// # Errors
    /// [`Error::Archive`] when the index is damaged.
    pub fn head(&self) -> Result<Option<Head>> {
        let (stream, size) = self.index_stream()?;
        let reader = toc::Reader::new(stream.take(size), self.end).map_err(|why| self.damaged(&why))?;
        Ok(reader.head().cloned())
    }

    /// The archive's own index, checked, with the SHA-256 of its JSON. That of a differential archive is not the whole snapshot, see
    /// [`Archive::whole`].
    ///
    /// # Errors
    /// [`Error::Archive`] naming what is wrong with it.
    pub fn index(&self) -> Result<(Index, Digest)> {
        let mut listing = self.own_listing()?;
        let head = listing.head().ok_or_else(|| self.damaged("it names no snapshot"))?.clone();
        let index = Index::collect(head, &mut listing).map_err(|why| self.damaged(&why))?;
        index.check_own().map_err(|why| self.damaged(&why))?;
        Ok((index, listing.digest()))
    }

    /// Everything in the snapshot, with the SHA-256 of the archive's own index: of a differential archive what it holds itself and
    /// what its base does.
    ///
    /// # Errors
    /// [`Error::Archive`] naming what is wrong with either, or the base that is missing or is another one.
    pub fn whole(&self) -> Result<(Index, Digest)> {
        let (own, digest) = self.index()?;
        Ok((self.complete(own)?, digest))
    }

    /// The archive's own index, with what its base holds if it is a differential one.
    ///
    /// # Errors
    /// As [`Archive::whole`].
    pub fn complete(&self, own: Index) -> Result<Index> {
        let Some(base) = own.head.base.clone() else { return Ok(own) };
        let (base, _) = self.open_base(&base)?.expecting(&base)?;
        let head = own.head.clone();
        let entries = Completed::new(&head, own.into_listed(), base.into_listed());
        let index = Index::collect(head.clone(), entries).and_then(|index| index.check().map(|()| index));
        index.map_err(|why| self.damaged(&why))
    }

    /// The entries of the whole snapshot one after the other, without holding the index. The index must hash to `sha256_toc`.
    ///
    /// # Errors
    /// As [`Archive::whole`]; the entries bring a sentence where the index is damaged.
    pub(super) fn listing(&self, sha256_toc: &str) -> Result<Box<dyn Iterator<Item = Result<Listed, String>> + Send + '_>> {
        let own = self.own_listing()?;
        let head = own.head().ok_or_else(|| self.damaged("it names no snapshot"))?.clone();
        let own = own.expecting(sha256_toc);
        Ok(match &head.base {
            None => Box::new(own),
            Some(base) => Box::new(Completed::new(&head, own, self.open_base(base)?.own_listing()?.expecting(&base.sha256_toc))),
        })
    }

    /// Reads the archive's own index to its end, as others will, without holding it.
    ///
    /// # Errors
    /// [`Error::Archive`] naming what is wrong with it, and if it does not hash to this.
    pub fn check_index(&self, sha256_toc: &Digest) -> Result<()> {
        let mut last: Option<PathBuf> = None;
        for listed in self.own_listing()?.expecting(&sha256_toc.to_string()) {
            let path = listed.map_err(|why| self.damaged(&why))?.entry.node.path;
            if last.is_some_and(|last| last >= path) {
                return Err(self.damaged("its entries are out of order"));
            }
            last = Some(path);
        }
        Ok(())
    }

    fn own_listing(&self) -> Result<OwnListing<'_>> {
        let (stream, size) = self.index_stream()?;
        let limited = TeeReader { from: stream.take(size), tee: Tee::new(io::sink()) };
        let reader = toc::Reader::new(limited, self.end).map_err(|why| self.damaged(&why))?;
        Ok(OwnListing { archive: self, size, reader: Some(reader), digest: Digest([0; 32]), expected: None })
    }

    /// Its index, which must be the one that a differential archive names.
    fn expecting(&self, base: &Base) -> Result<(Index, Digest)> {
        let (index, digest) = self.index()?;
        if digest.to_string() == base.sha256_toc {
            return Ok((index, digest));
        }
        Err(Error::archive(
            &self.path,
            format!("it is not the base {} that the differential archive was made from: its index is another one", base.id),
        ))
    }

    /// The base of this differential archive, wherever in the same store it is.
    ///
    /// # Errors
    /// [`Error::Archive`] naming it when it is not there.
    pub(super) fn open_base(&self, base: &Base) -> Result<&Archive> {
        if self.base.get().is_none() {
            let path = find_base(&self.path, base).ok_or_else(|| Error::archive(&self.path, lacks(base)))?;
            let archive =
                Archive::open(&path)?.ok_or_else(|| Error::archive(&path, "it is the base of a differential archive, and is cut off or damaged"))?;
            if archive.head()?.is_some_and(|head| head.base.is_some()) {
                return Err(Error::archive(&path, "it is the base of a differential archive, and is a differential one itself"));
            }
            // Another thread may have been faster; then both have found the same one.
            let _ = self.base.set(Box::new(archive));
        }
        self.base.get().map(|base| &**base).ok_or_else(|| Error::archive(&self.path, lacks(base)))
    }

    /// The archive that a piece lies in.
    pub(super) fn holding(&self, chunk: &Chunk) -> &Archive {
        match self.base.get() {
            Some(base) if chunk.from_base => base,
            _ => self,
        }
    }

    /// After the index come its padding, two empty blocks, the end of the member, and the footer: nothing else.
    fn check_tail(&self, mut stream: IndexStream<'_>, size: u64) -> Result<(), String> {
        let mut rest = Vec::new();
        let limit = (header::padding(size) + 2 * header::BLOCK) as u64;
        (&mut stream).take(limit + 1).read_to_end(&mut rest).map_err(|e| e.to_string())?;
        if rest.len() as u64 != limit || rest.iter().any(|byte| *byte != 0) {
            return Err("something else than the end of the archive follows it".into());
        }
        let left = stream.into_inner().fill_buf().map_err(|e| e.to_string())?.len();
        if left != 0 { Err("bytes between it and the footer".into()) } else { Ok(()) }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::archive(&self.path, format!("its index is damaged: {why}"))
    }

    /// The JSON's bytes and their number.
    fn index_stream(&self) -> Result<(IndexStream<'_>, u64)> {
        let section = Section { file: &self.file, at: self.end, end: self.length - footer::LENGTH };
        let raw = BufReader::with_capacity(1 << 16, section);
        let mut stream = GzDecoder::new(raw);
        let mut block = [0; header::BLOCK];
        stream.read_exact(&mut block).map_err(|e| self.damaged(&e.to_string()))?;
        let described = header::decode(&mut &block[..]).map_err(|why| self.damaged(&why))?;
        match described {
            Some(index) if index.name == INDEX_NAME.as_bytes() && index.kind.word() == "file" => {
                let (size, packed) = (index.kind.size(), self.length - footer::LENGTH - self.end);
                if size > packed.saturating_mul(BEST_INDEX_RATIO).max(HARMLESS_INDEX) {
                    return Err(self.damaged(&format!("{size} bytes of it cannot have come out of {packed}")));
                }
                Ok((stream, size))
            }
            _ => Err(self.damaged("the footer leads somewhere else")),
        }
    }

    /// A piece as it is stored, and some of what follows it up to the next one: an index can say that the next one is far away.
    pub(super) fn packed(&self, chunk: &Chunk) -> Result<Vec<u8>> {
        disk::read_at(&self.file, &self.path, chunk.offset, self.reach(chunk))
    }

    /// How many bytes of the file a piece can take.
    fn reach(&self, chunk: &Chunk) -> usize {
        (chunk.end - chunk.offset).min(longest_member(u64::from(chunk.size))) as usize
    }

    /// Reads the bytes of the file from `start` to `end`; both come from a checked index, and lie near each other.
    pub(super) fn region(&self, start: u64, end: u64) -> Result<Vec<u8>> {
        disk::read_at(&self.file, &self.path, start, (end - start) as usize)
    }

    /// The content of an entry, piece by piece, each checked against its digest.
    ///
    /// # Errors
    /// [`Error::Archive`] naming the entry for damage, [`Error::Path`] when the archive cannot be read, and what `to` returns.
    pub fn content(&self, index: &Index, entry: &Entry, to: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut pieces = Pieces::new(self);
        index.pieces(entry).iter().try_for_each(|chunk| to(pieces.read(chunk, entry)?))
    }
}

/// Reads pieces, one after the other, into the same memory.
pub(super) struct Pieces<'a> {
    archive: &'a Archive,
    unpacker: Unpacker,
    packed: Vec<u8>,
    piece: Vec<u8>,
}

impl Pieces<'_> {
    pub(super) fn new(archive: &Archive) -> Pieces<'_> {
        Pieces { archive, unpacker: Unpacker::new(), packed: Vec::new(), piece: Vec::new() }
    }

    /// A piece of this entry, checked against its digest.
    ///
    /// # Errors
    /// As [`Archive::content`].
    pub(super) fn read(&mut self, chunk: &Chunk, entry: &Entry) -> Result<&[u8]> {
        let archive = self.archive.holding(chunk);
        self.packed.resize(archive.reach(chunk), 0);
        archive.file.read_exact_at(&mut self.packed, chunk.offset).named("read", &archive.path)?;
        let whole = self.unpacker.unpack(&self.packed, chunk.size as usize, &mut self.piece);
        if whole.is_none() || digest::of(&self.piece) != chunk.digest {
            return Err(Error::archive(&archive.path, format!("{} is damaged in it", entry.node.path.display())));
        }
        Ok(&self.piece)
    }
}

/// No packer makes more than this out of so many bytes.
pub(super) fn longest_member(size: u64) -> u64 {
    size.saturating_mul(2).saturating_add(64 << 10)
}

/// Where the base of the differential archive at `path` is: in the same folder, or wherever in the same store, of which that folder may be
/// the top or one below it.
pub fn find_base(path: &Path, base: &Base) -> Option<PathBuf> {
    let folder = disk::parent(path);
    let above = folder.join("..");
    let below = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let elsewhere = below(&above).chain([above.clone()]).chain(below(folder));
    // A name from an archive is joined to a path: it must be nothing but a name.
    let name = Path::new(&base.file).file_name().filter(|name| *name == base.file.as_str())?;
    std::iter::once(folder.to_owned()).chain(elsewhere).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What is said of a differential archive whose base is gone.
pub fn lacks(base: &Base) -> String {
    format!(
        "it is differential and its base {} ({}) is not in the store: without it nothing of it can be restored",
        base.id,
        base.file.escape_debug()
    )
}

/// A part of a file, read without moving anybody's position in it.
struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..room], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

type IndexStream<'a> = GzDecoder<BufReader<Section<'a>>>;

/// The entries of an archive's own index, one after the other.
struct OwnListing<'a> {
    archive: &'a Archive,
    size: u64,
    /// `None` when all has been read.
    reader: Option<toc::Reader<TeeReader<io::Take<IndexStream<'a>>>>>,
    digest: Digest,
    expected: Option<String>,
}

impl OwnListing<'_> {
    fn head(&self) -> Option<&Head> {
        self.reader.as_ref().and_then(toc::Reader::head)
    }

    /// With an error at the end if the JSON does not hash to this.
    fn expecting(mut self, sha256_toc: &str) -> Self {
        self.expected = Some(sha256_toc.to_owned());
        self
    }

    /// Of the JSON, once all of it was read.
    fn digest(&self) -> Digest {
        self.digest
    }

    fn step(&mut self) -> Result<Option<Listed>, String> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        if let Some(listed) = reader.next()? {
            return Ok(Some(listed));
        }
        let Some(limited) = self.reader.take().map(toc::Reader::into_inner) else { return Ok(None) };
        let (_, digest, read) = limited.tee.finish();
        if read != self.size {
            return Err("it is shorter than it says".into());
        }
        self.archive.check_tail(limited.from.into_inner(), self.size)?;
        self.digest = digest;
        match &self.expected {
            Some(expected) if *expected != digest.to_string() => Err("it is not the one that was verified".into()),
            _ => Ok(None),
        }
    }
}

impl Iterator for OwnListing<'_> {
    type Item = Result<Listed, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().inspect_err(|_| self.reader = None).transpose()
    }
}

/// Hashes what passes through.
struct TeeReader<R> {
    from: R,
    tee: Tee<io::Sink>,
}

impl<R: Read> Read for TeeReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        io::Write::write_all(&mut self.tee, &buffer[..read])?;
        Ok(read)
    }
}
