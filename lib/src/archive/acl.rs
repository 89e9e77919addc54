//! POSIX access control lists: the kernel keeps them as bytes in an attribute, tar archives as text in a record of their own, which is
//! what GNU tar and bsdtar restore.

use nix::unistd::{Group, User};
use std::fmt::Write;

/// Attribute, and the PAX key for it.
const KEYS: [(&str, &str); 2] = [("system.posix_acl_access", "SCHILY.acl.access"), ("system.posix_acl_default", "SCHILY.acl.default")];

const VERSION: [u8; 4] = 2_u32.to_le_bytes();

/// Words and numbers of the entries, in the kernel's order: owner, users, group, groups, mask, others.
const TAGS: [(u16, &str); 6] = [(0x01, "user"), (0x02, "user"), (0x04, "group"), (0x08, "group"), (0x10, "mask"), (0x20, "other")];

const NOBODY: u32 = u32::MAX;

/// The PAX record for an attribute, if it is such a list.
pub(super) fn encode(attribute: &[u8], value: &[u8]) -> Option<(&'static str, String)> {
    let (_, key) = KEYS.iter().find(|(name, _)| name.as_bytes() == attribute)?;
    let mut text = String::new();
    for entry in value.strip_prefix(&VERSION)?.chunks(8) {
        let [tag, tag_high, perm, 0, id @ ..] = entry else { return None };
        let (tag, id) = (u16::from_le_bytes([*tag, *tag_high]), u32::from_le_bytes(id.try_into().ok()?));
        let (_, word) = TAGS.iter().find(|(number, _)| *number == tag)?;
        let separator = if text.is_empty() { "" } else { "," };
        let who = if id == NOBODY { String::new() } else { id.to_string() };
        let bit = |bit: u8, letter| if perm & bit != 0 { letter } else { '-' };
        write!(text, "{separator}{word}:{who}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x')).ok()?;
    }
    // One that would read back otherwise goes as the bytes that it is.
    (decode(key, text.as_bytes())?.1 == value).then_some((*key, text))
}

/// The attribute for a PAX record, if it is such a list. Of one that cannot be understood the text is the value: setting it fails, and
/// what is lost is named.
pub(super) fn decode(key: &str, text: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let (attribute, _) = KEYS.iter().find(|(_, pax)| *pax == key)?;
    Some((attribute, std::str::from_utf8(text).ok().and_then(parse).unwrap_or_else(|| text.to_vec())))
}

/// Entries are separated by commas or newlines, names may be numbers, and some writers add the number behind the permissions.
fn parse(text: &str) -> Option<Vec<u8>> {
    let mut entries: Vec<(u16, u32, u16)> = Vec::new();
    for entry in text.split([',', '\n']).map(|entry| entry.split('#').next().unwrap_or_default().trim()).filter(|entry| !entry.is_empty()) {
        let fields: Vec<&str> = entry.split(':').collect();
        let (word, who, perm, number) = match fields.as_slice() {
            [word, perm] => (*word, "", *perm, None),
            [word, who, perm] => (*word, *who, *perm, None),
            [word, who, perm, number] => (*word, *who, *perm, Some(*number)),
            _ => return None,
        };
        let named = u16::from(!who.is_empty());
        let id = || who.parse().ok().or_else(|| named_id(word, who)).or_else(|| number?.parse().ok());
        let tag = match word {
            "user" | "u" => 0x01_u16 << named,
            "group" | "g" => 0x04 << named,
            "mask" | "m" => 0x10,
            "other" | "o" => 0x20,
            _ => return None,
        };
        let id: u32 = if named == 1 { id()? } else { NOBODY };
        let bits = perm
            .chars()
            .try_fold(0_u16, |bits, letter| Some(bits | [('r', 4), ('w', 2), ('x', 1), ('-', 0)].iter().find(|(l, _)| *l == letter)?.1))?;
        entries.push((tag, id, bits));
    }
    entries.sort_unstable();
    let bytes = entries.iter().flat_map(|(tag, id, bits)| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat());
    Some(VERSION.into_iter().chain(bytes).collect())
}

fn named_id(word: &str, name: &str) -> Option<u32> {
    if word.starts_with('u') { Some(User::from_name(name).ok()??.uid.as_raw()) } else { Some(Group::from_name(name).ok()??.gid.as_raw()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x06\0\xd2\x04\0\0\x04\0\x05\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";

    #[test]
    fn a_list_reads_back_as_it_is_written() {
        let (key, text) = encode(b"system.posix_acl_access", LIST).unwrap();
        assert_eq!((key, text.as_str()), ("SCHILY.acl.access", "user::rwx,user:1234:rw-,group::r-x,mask::rwx,other::r--"));
        assert_eq!(decode(key, text.as_bytes()), Some(("system.posix_acl_access", LIST.to_vec())));
    }

    #[test]
    fn other_writers_spell_it_otherwise() {
        for text in ["user::rwx\nuser:1234:rw-\ngroup::r-x\nmask::rwx\nother::r--\n", "u::rwx,g::r-x,m:rwx,o:r--,user:nobody-here:rw-:1234"] {
            assert_eq!(decode("SCHILY.acl.access", text.as_bytes()).unwrap().1, LIST, "{text}");
        }
        assert!(decode("SCHILY.acl.default", b"user:root:r--").unwrap().1.ends_with(&[2, 0, 4, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn what_is_no_list_stays_what_it_is() {
        assert_eq!(encode(b"user.x", LIST), None);
        assert_eq!(encode(b"system.posix_acl_access", b"\x03\0\0\0"), None);
        assert_eq!(encode(b"system.posix_acl_access", &LIST[..15]), None);
        assert_eq!(decode("SCHILY.acl.access", b"everybody may"), Some(("system.posix_acl_access", b"everybody may".to_vec())));
    }
}
