//! The index in the making: entries are packed as they come, so that what waits in memory is small.

use super::super::index::{Chunk, Entry, Head};
use super::super::{INDEX_NAME, header, toc};
use crate::digest::Hasher;
use crate::tree::Digest;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use std::io::{self, Read, Write};

/// The member of the index is a gzip header, then two streams of deflate that were made apart and end at a byte: what stands before
/// the entries, which is known last, and the entries.
pub(super) struct Spool<'a> {
    top: &'a str,
    packed: DeflateEncoder<Vec<u8>>,
    sum: Crc,
    length: u64,
    entry: Vec<u8>,
}

/// Digests do not shrink, and the rest does at any level.
fn level() -> Compression {
    Compression::new(3)
}

impl<'a> Spool<'a> {
    pub(super) fn new(top: &'a str) -> Spool<'a> {
        Spool { top, packed: DeflateEncoder::new(Vec::new(), level()), sum: Crc::new(), length: 0, entry: Vec::new() }
    }

    pub(super) fn add(&mut self, entry: &Entry, pieces: &[Chunk]) -> io::Result<()> {
        let mut json = std::mem::take(&mut self.entry);
        json.clear();
        toc::write(entry, pieces, self.top, self.length == 0, &mut json)?;
        self.write(&json)?;
        self.length += json.len() as u64;
        self.entry = json;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.packed.write_all(bytes)
    }

    /// The parts of the member, and the SHA-256 of the JSON in it.
    pub(super) fn finish(mut self, head: &Head) -> io::Result<([Vec<u8>; 3], Digest)> {
        let begin = toc::beginning(head);
        let json = self.length + toc::END.len() as u64;
        let length = begin.len() as u64 + json;
        let end = [toc::END, &vec![0; header::padding(length) + 2 * header::BLOCK]].concat();
        self.write(&end)?;
        let Spool { packed, sum: rest, .. } = self;
        let packed = packed.finish()?;

        let mut front = Vec::new();
        header::encode_index(INDEX_NAME, length, &mut front);
        front.extend_from_slice(&begin);
        let mut sum = Crc::new();
        sum.update(&front);
        sum.combine(&rest);
        let mut encoder = DeflateEncoder::new(Vec::new(), level());
        encoder.write_all(&front)?;
        // Ends at a byte without ending the stream: the entries follow.
        encoder.flush()?;

        let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
        member.extend_from_slice(encoder.get_ref());
        let end = [sum.sum().to_le_bytes(), sum.amount().to_le_bytes()].concat();
        let digest = digest(&begin, &packed, json)?;
        Ok(([member, packed, end], digest))
    }
}

/// What stands before the entries is hashed before them, and known after them: so they are inflated once more.
fn digest(begin: &[u8], packed: &[u8], length: u64) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    hasher.update(begin);
    let mut entries = DeflateDecoder::new(packed).take(length);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match entries.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}
