//! The last 51 bytes: an empty gzip member whose extra field says where the index begins.

/// How long it is.
pub(super) const LENGTH: u64 = 51;

/// gzip magic, deflate, extra field only, no time, no flags, unknown system; 26 bytes of extra: `SG`, 22 bytes.
const START: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0];
const MAGIC: &[u8; 6] = b"STARGZ";
/// One final stored block of no bytes, then checksum and length of nothing.
const END: [u8; 13] = [1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];

/// The footer for an index at `offset`.
pub(super) fn encode(offset: u64) -> [u8; LENGTH as usize] {
    let mut footer = [0; LENGTH as usize];
    footer[..16].copy_from_slice(&START);
    footer[16..32].copy_from_slice(format!("{offset:016x}").as_bytes());
    footer[32..38].copy_from_slice(MAGIC);
    footer[38..].copy_from_slice(&END);
    footer
}

/// Where the index begins, or `None` if this is no footer. The offset is checked by nobody yet.
pub(super) fn decode(footer: &[u8]) -> Option<u64> {
    if footer.len() != LENGTH as usize || footer[..16] != START || &footer[32..38] != MAGIC || footer[38..] != END {
        return None;
    }
    let digits = std::str::from_utf8(&footer[16..32]).ok()?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// The last footer in these bytes: where it stands, and what it says.
pub(super) fn find_last(bytes: &[u8]) -> Option<(usize, u64)> {
    bytes.windows(LENGTH as usize).enumerate().rev().find_map(|(at, window)| Some((at, decode(window)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_reads_back_and_is_an_empty_gzip_member() {
        for offset in [0, 1, 0xdead_beef, u64::MAX] {
            assert_eq!(decode(&encode(offset)), Some(offset));
        }
        let mut inflated = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&encode(7)[..]), &mut inflated).unwrap();
        assert!(inflated.is_empty());
    }

    #[test]
    fn any_other_byte_makes_it_no_footer() {
        let right = encode(0x1234);
        for at in 0..right.len() {
            let mut wrong = right;
            wrong[at] ^= 0x80;
            assert_eq!(decode(&wrong), None, "byte {at}");
        }
        assert_eq!(decode(&right[1..]), None);
        let hidden = [b"behind something, ", right.as_slice(), b" before something"].concat();
        assert_eq!(find_last(&hidden), Some((18, 0x1234)));
        assert_eq!(find_last(&hidden[..60]), None);
    }
}
