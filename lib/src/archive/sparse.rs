//! Sparse files as GNU tar writes them in PAX archives, in its three versions: what is stored is the data alone, and a map says where
//! it belongs. Ours never hold them; archives of others do.

use super::header::{BLOCK, LONGEST, Record};
use crate::disk::MOST_HOLES;
use crate::tree::Hole;
use std::io::{self, Read};

/// No filesystem holds a larger file, and nobody could wait for its zeros.
const LARGEST: u64 = 1 << 44;

/// What the headers say about a sparse file.
#[derive(Debug, PartialEq)]
pub(super) struct Sparse {
    /// Its length with all of its zeros.
    pub(super) size: u64,
    /// Its name, where the header has a made-up one.
    pub(super) name: Option<Vec<u8>>,
    /// Where each piece of data begins, and how long it is; `None` if that stands in front of the data (version 1.0).
    map: Option<Vec<(u64, u64)>>,
}

impl Sparse {
    /// From an entry's PAX records; `None` if it is an ordinary file.
    ///
    /// # Errors
    /// A sentence about what is wrong with them.
    pub(super) fn of(pax: &[Record]) -> Result<Option<Sparse>, String> {
        let mut records = pax.iter().filter_map(|(key, value)| Some((key.strip_prefix(b"GNU.sparse.")?, value.as_slice()))).peekable();
        if records.peek().is_none() {
            return Ok(None);
        }
        let (mut sizes, mut name, mut version) = (None, None, (0, 0));
        let (mut offsets, mut lengths, mut listed) = (Vec::new(), Vec::new(), None);
        for (key, value) in records {
            match key {
                b"major" => version.0 = number(value)?,
                b"minor" => version.1 = number(value)?,
                b"size" | b"realsize" => sizes = Some(number(value)?),
                b"name" => name = Some(value.to_vec()),
                b"offset" => offsets.push(number(value)?),
                b"numbytes" => lengths.push(number(value)?),
                b"map" => listed = Some(value.split(|byte| *byte == b',').filter(|n| !n.is_empty()).map(number).collect::<Result<Vec<_>, _>>()?),
                // How many pieces there are, which the map itself says.
                _ => {}
            }
        }
        let size = sizes.filter(|size| *size <= LARGEST).ok_or("a sparse file without a size that can be")?;
        let map = match (version, listed) {
            ((1, 0), _) => None,
            ((0, _), Some(listed)) => Some(pairs(&listed)?),
            ((0, _), None) if offsets.len() == lengths.len() => Some(offsets.into_iter().zip(lengths).collect()),
            _ => return Err("a sparse file in a form that is not understood: pack it again without --sparse".into()),
        };
        Ok(Some(Sparse { size, name, map }))
    }

    /// Reads the map where it stands in front of the data, and checks it: `stored` is how many bytes the archive holds of this file.
    ///
    /// # Errors
    /// The reader's; `InvalidData` for a map that cannot be.
    pub(super) fn unfold<'a>(&self, from: &'a mut dyn Read, stored: u64) -> io::Result<Unfolded<'a>> {
        let (map, before) = match &self.map {
            Some(map) => (map.clone(), 0),
            None => read_map(from)?,
        };
        let mut end = 0;
        for (offset, length) in &map {
            if *offset < end || offset.checked_add(*length).is_none_or(|end| end > self.size) {
                return Err(wrong("pieces that overlap or lie outside the file"));
            }
            end = offset + length;
        }
        let data: u64 = map.iter().map(|(_, length)| length).sum();
        if Some(data) != stored.checked_sub(before) {
            return Err(wrong("another length than what is stored"));
        }
        Ok(Unfolded { from, map, next: 0, at: 0, size: self.size })
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a sparse file whose map has {what}"))
}

fn number(text: &[u8]) -> Result<u64, String> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| "an unreadable number in a sparse file's map".into())
}

fn pairs(numbers: &[u64]) -> Result<Vec<(u64, u64)>, String> {
    let pairs = numbers.chunks_exact(2);
    if pairs.remainder().is_empty() { Ok(pairs.map(|pair| (pair[0], pair[1])).collect()) } else { Err("half a piece in a sparse file's map".into()) }
}

/// Numbers, one a line: how many pieces, then offset and length of each; filled up to a whole block. With it, how many bytes it took.
fn read_map(from: &mut dyn Read) -> io::Result<(Vec<(u64, u64)>, u64)> {
    let (mut numbers, mut line, mut took) = (Vec::new(), Vec::new(), 0);
    let mut wanted = 1;
    while numbers.len() < wanted {
        let mut block = [0; BLOCK];
        from.read_exact(&mut block)?;
        took += BLOCK as u64;
        for byte in block {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            numbers.push(number(&line).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?);
            line.clear();
            wanted = numbers[0].saturating_mul(2).saturating_add(1).try_into().unwrap_or(usize::MAX);
            if numbers.len() == wanted {
                break;
            }
        }
        if took as usize > 16 * LONGEST {
            return Err(wrong("an absurd length"));
        }
    }
    Ok((pairs(&numbers[1..]).unwrap_or_default(), took))
}

/// The content with its zeros.
pub(super) struct Unfolded<'a> {
    from: &'a mut dyn Read,
    map: Vec<(u64, u64)>,
    /// The piece that is read, or comes next.
    next: usize,
    at: u64,
    size: u64,
}

impl Unfolded<'_> {
    /// Where there is no data; none if that is in too many places.
    pub(super) fn holes(&self) -> Vec<Hole> {
        let starts = std::iter::once(0).chain(self.map.iter().map(|(offset, length)| offset + length));
        let ends = self.map.iter().map(|(offset, _)| *offset).chain([self.size]);
        let holes: Vec<Hole> = starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| (start, end - start)).collect();
        if holes.len() > MOST_HOLES { Vec::new() } else { holes }
    }
}

impl Read for Unfolded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.map.get(self.next).is_some_and(|(offset, length)| offset + length <= self.at) {
            self.next += 1;
        }
        let (start, end) = self.map.get(self.next).map_or((self.size, self.size), |(offset, length)| (*offset, offset + length));
        let until = if self.at < start { start } else { end };
        let room = buffer.len().min(usize::try_from(until - self.at).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..room];
        let read = if self.at < start {
            buffer.fill(0);
            room
        } else {
            self.from.read(buffer)?
        };
        if read == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(list: &[(&str, &str)]) -> Vec<Record> {
        list.iter().map(|(key, value)| (format!("GNU.sparse.{key}").into_bytes(), value.as_bytes().to_vec())).collect()
    }

    fn unfolded(pax: &[(&str, &str)], stored: &[u8]) -> Result<(Vec<u8>, Vec<Hole>), String> {
        let sparse = Sparse::of(&records(pax))?.ok_or("not sparse")?;
        let mut from = stored;
        let mut content = sparse.unfold(&mut from, stored.len() as u64).map_err(|e| e.to_string())?;
        let (holes, mut bytes) = (content.holes(), Vec::new());
        content.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        Ok((bytes, holes))
    }

    #[test]
    fn the_three_versions_say_the_same() {
        let expected = Ok((b"\0\0ab\0\0\0cd\0".to_vec(), vec![(0, 2), (4, 3), (9, 1)]));
        let oldest = [("size", "10"), ("numblocks", "2"), ("offset", "2"), ("numbytes", "2"), ("offset", "7"), ("numbytes", "2")];
        assert_eq!(unfolded(&oldest, b"abcd"), expected);
        assert_eq!(unfolded(&[("size", "10"), ("numblocks", "2"), ("map", "2,2,7,2")], b"abcd"), expected);
        let mut stored = b"2\n2\n2\n7\n2\n".to_vec();
        stored.resize(BLOCK, 0);
        stored.extend_from_slice(b"abcd");
        assert_eq!(unfolded(&[("major", "1"), ("minor", "0"), ("realsize", "10")], &stored), expected);
    }

    #[test]
    fn maps_that_cannot_be_are_refused() {
        let map = |map: &str, size: &str| unfolded(&[("size", size), ("map", map)], b"abcd").unwrap_err();
        assert!(map("2,2,3,2", "10").contains("overlap"));
        assert!(map("2,2,9,2", "10").contains("outside"));
        assert!(map("2,2,18446744073709551615,2", "10").contains("outside"));
        assert!(map("2,2", "10").contains("another length"));
        assert!(map("2,2,7", "10").contains("half a piece"));
        assert!(map("2,x", "10").contains("unreadable"));
        assert!(map("2,4", "18446744073709551615").contains("size that can be"));
        assert!(unfolded(&[("major", "2"), ("size", "1")], b"").unwrap_err().contains("not understood"));
        assert!(unfolded(&[("major", "1"), ("realsize", "10")], &[b'9'; 3 * BLOCK]).is_err());
        let absurd: Vec<u8> = b"99999999999999\n".iter().copied().chain([b'1', b'\n'].repeat(20 * LONGEST)).collect();
        assert!(unfolded(&[("major", "1"), ("realsize", "10")], &absurd).unwrap_err().contains("absurd"));
    }
}
