//! Opening an archive: the footer, then the index, then only the pieces that are asked for.

use super::index::{Entry, Head, Index};
use super::member::Unpacker;
use super::{INDEX_NAME, footer, header};
use crate::digest::{self, Tee};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::tree::Digest;
use flate2::bufread::GzDecoder;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
}

impl Archive {
    /// Opens it; `None` if it is no archive of this format but perhaps another one, to be read as [`super::Foreign`].
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Option<Archive>> {
        // A pipe would keep us waiting for somebody to write to it.
        let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).named("read", path)?;
        let about = file.metadata().named("look at", path)?;
        if !about.is_file() {
            return Err(io::Error::other("not a file")).named("read", path);
        }
        disk::Lock::shared(&file, path)?;
        let length = about.len();
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
            Archive { file, path: path.to_owned(), length: whole, trailing: length - whole, end }
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
        Index::read_head(stream.take(size)).map_err(|why| self.damaged(&why))
    }

    /// The whole index, checked, with the SHA-256 of its JSON.
    ///
    /// # Errors
    /// [`Error::Archive`] naming what is wrong with it.
    pub fn index(&self) -> Result<(Index, Digest)> {
        let (stream, size) = self.index_stream()?;
        let mut limited = TeeReader { from: stream.take(size), tee: Tee::new(io::sink()) };
        let index = Index::read(BufReader::with_capacity(1 << 16, &mut limited), self.end).map_err(|why| self.damaged(&why))?;
        // The reader above may leave blanks behind; they belong to the digest.
        io::copy(&mut limited, &mut io::sink()).map_err(|e| self.damaged(&e.to_string()))?;
        let (_, digest, read) = limited.tee.finish();
        if read != size {
            return Err(self.damaged("it is shorter than it says"));
        }
        self.check_tail(limited.from.into_inner(), size)?;
        Ok((index, digest))
    }

    /// After the index come its padding, two empty blocks, the end of the member, and the footer: nothing else.
    fn check_tail(&self, mut stream: IndexStream<'_>, size: u64) -> Result<()> {
        let mut rest = Vec::new();
        let limit = (header::padding(size) + 2 * header::BLOCK) as u64;
        (&mut stream).take(limit + 1).read_to_end(&mut rest).map_err(|e| self.damaged(&e.to_string()))?;
        if rest.len() as u64 != limit || rest.iter().any(|byte| *byte != 0) {
            return Err(self.damaged("something else than the end of the archive follows it"));
        }
        let left = stream.into_inner().fill_buf().named("read", &self.path)?.len();
        if left != 0 { Err(self.damaged("bytes between it and the footer")) } else { Ok(()) }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::archive(&self.path, format!("its index is damaged: {why}"))
    }

    /// The JSON's bytes and their number.
    fn index_stream(&self) -> Result<(IndexStream<'_>, u64)> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.end)).named("read", &self.path)?;
        let raw = BufReader::with_capacity(1 << 16, file.take(self.length - footer::LENGTH - self.end));
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

    /// Reads the bytes of the file from `start` to `end`; both come from a checked index.
    pub(super) fn region(&self, start: u64, end: u64) -> Result<Vec<u8>> {
        disk::read_at(&self.file, &self.path, start, (end - start) as usize)
    }

    /// Where the region of a piece ends: at the next piece, or at the index.
    pub(super) fn region_end(&self, index: &Index, chunk: usize) -> u64 {
        index.chunks.get(chunk + 1).map_or(self.end, |next| next.offset)
    }

    /// The content of an entry, piece by piece, each checked against its digest.
    ///
    /// # Errors
    /// [`Error::Archive`] naming the entry for damage, [`Error::Path`] when the archive cannot be read, and what `to` returns.
    pub fn content(&self, index: &Index, entry: &Entry, to: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut unpacker = Unpacker::new();
        let mut piece = Vec::new();
        for number in entry.chunks.start as usize..entry.chunks.end as usize {
            let chunk = index.chunks[number];
            let packed = self.region(chunk.offset, self.region_end(index, number))?;
            let whole = unpacker.unpack(&packed, chunk.size as usize, &mut piece);
            if whole.is_none() || digest::of(&piece) != chunk.digest {
                return Err(Error::archive(&self.path, format!("{} is damaged in it", entry.node.path.display())));
            }
            to(&piece)?;
        }
        Ok(())
    }
}

type IndexStream<'a> = GzDecoder<BufReader<io::Take<&'a File>>>;

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
