//! Single gzip members, compressed and inflated as whole blocks.

use libdeflater::{CompressionLvl, Compressor};
use std::ptr::NonNull;

/// What a member costs beside its block when nothing is compressed: gzip's header and trailer, 5 bytes per 64 KiB.
const STORED_OVERHEAD: usize = 18 + 5;

/// Compresses blocks, each to one gzip member. The same block and level give the same bytes.
pub struct Packer {
    compressor: Compressor,
    quick: Compressor,
    stored: Compressor,
}

/// How much of a block is tried at the quickest level, to see whether searching for repetitions is worth the time.
const SAMPLE: usize = 32 << 10;

impl Packer {
    /// With a level from 0 (stored) to 12; others mean the codec's default.
    pub fn new(level: i32) -> Packer {
        let compressor = |level| Compressor::new(CompressionLvl::new(level).unwrap_or_default());
        Packer { compressor: compressor(level), quick: compressor(level.min(1)), stored: compressor(0) }
    }

    /// Appends a member that holds `block`. A block that does not shrink is stored. One that hardly does, such as packed numbers,
    /// gets the quickest level: what little there is to gain, shorter codes for frequent bytes, comes with any level, and the
    /// search for repetitions that are not there takes three times as long.
    pub fn pack(&mut self, block: &[u8], to: &mut Vec<u8>) {
        let start = to.len();
        let dense = block.len() > 4 * SAMPLE && {
            let from = block.len() / 2;
            Packer::append(&mut self.quick, &block[from..from + SAMPLE], to);
            let hardly = to.len() - start > SAMPLE * 7 / 8;
            to.truncate(start);
            hardly
        };
        Packer::append(if dense { &mut self.quick } else { &mut self.compressor }, block, to);
        if to.len() - start > block.len() + STORED_OVERHEAD {
            to.truncate(start);
            Packer::append(&mut self.stored, block, to);
        }
    }

    fn append(with: &mut Compressor, block: &[u8], to: &mut Vec<u8>) {
        let start = to.len();
        to.resize(start + with.gzip_compress_bound(block.len()), 0);
        // The codec's own bound is room enough, so the one error it has cannot happen.
        let length = with.gzip_compress(block, &mut to[start..]).expect("the bound is enough");
        to.truncate(start + length);
    }
}

/// Inflates members, and says where each one ends: the safe binding does not tell, and bytes between two members that nobody
/// looks at are where a hostile archive would hide an entry.
pub struct Unpacker(NonNull<libdeflate_sys::libdeflate_decompressor>);

impl Default for Unpacker {
    fn default() -> Unpacker {
        Unpacker::new()
    }
}

impl Unpacker {
    /// One for any number of members, one after the other.
    #[allow(unsafe_code)]
    pub fn new() -> Unpacker {
        // SAFETY: no preconditions; null means that memory has run out, which Rust treats as fatal everywhere else too.
        let raw = unsafe { libdeflate_sys::libdeflate_alloc_decompressor() };
        Unpacker(NonNull::new(raw).expect("memory for a decompressor"))
    }

    /// Inflates the member at the beginning of `from`, which must hold exactly `length` bytes, and says how many bytes of `from`
    /// it took. `None` if it is damaged or holds another number of bytes.
    pub fn unpack(&mut self, from: &[u8], length: usize, to: &mut Vec<u8>) -> Option<usize> {
        to.resize(length, 0);
        match self.member(from, to) {
            Outcome::Done { used, produced } if produced == length => Some(used),
            _ => None,
        }
    }

    /// Inflates the member at the beginning of `from`, of unknown length but at most `limit` bytes.
    pub fn unpack_any(&mut self, from: &[u8], limit: usize, to: &mut Vec<u8>) -> Option<usize> {
        let mut room = (from.len() * 8).clamp(4096, limit.max(4096));
        loop {
            to.resize(room, 0);
            match self.member(from, to) {
                Outcome::Done { used, produced } => {
                    to.truncate(produced);
                    return Some(used);
                }
                Outcome::NoRoom if room < limit => room = (room * 4).min(limit),
                _ => return None,
            }
        }
    }

    #[allow(unsafe_code)]
    fn member(&mut self, from: &[u8], to: &mut [u8]) -> Outcome {
        let (mut used, mut produced) = (0, 0);
        // SAFETY: both slices are valid for the lengths given with them, the counters live on this stack frame, and the
        // decompressor is ours alone while `&mut self` lasts.
        let result = unsafe {
            libdeflate_sys::libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                from.as_ptr().cast(),
                from.len(),
                to.as_mut_ptr().cast(),
                to.len(),
                &mut used,
                &mut produced,
            )
        };
        match result {
            libdeflate_sys::libdeflate_result_LIBDEFLATE_SUCCESS => Outcome::Done { used, produced },
            libdeflate_sys::libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => Outcome::NoRoom,
            _ => Outcome::Damaged,
        }
    }
}

impl Drop for Unpacker {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once.
        unsafe { libdeflate_sys::libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}

enum Outcome {
    Done { used: usize, produced: usize },
    NoRoom,
    Damaged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_say_where_they_end() {
        let mut packed = Vec::new();
        let mut packer = Packer::new(4);
        packer.pack(b"first", &mut packed);
        let first = packed.len();
        packer.pack(&[7; 100_000], &mut packed);
        let (mut unpacker, mut out) = (Unpacker::new(), Vec::new());
        assert_eq!(unpacker.unpack(&packed, 5, &mut out), Some(first));
        assert_eq!(out, b"first");
        assert_eq!(unpacker.unpack_any(&packed[first..], 1 << 20, &mut out), Some(packed.len() - first));
        assert_eq!(out, [7; 100_000]);
        assert_eq!(unpacker.unpack_any(&packed[first..], 50_000, &mut out), None);
        assert_eq!(unpacker.unpack(&packed, 4, &mut out), None);
        assert_eq!(unpacker.unpack(&packed, 6, &mut out), None);
        packed[first - 3] ^= 1;
        assert_eq!(unpacker.unpack(&packed, 5, &mut out), None);
    }

    #[test]
    fn noise_is_stored_and_hardly_grows() {
        let noise: Vec<u8> = (0..50_000u32).flat_map(|n| crate::digest::of(&n.to_le_bytes()).0[..4].to_vec()).collect();
        let mut packed = Vec::new();
        Packer::new(4).pack(&noise, &mut packed);
        assert!(packed.len() < noise.len() + 64, "{}", packed.len());
    }
}
