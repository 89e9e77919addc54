//! Tar headers: ustar, with PAX records for what ustar cannot say. Nanoseconds are always said; names that are not UTF-8 go raw
//! or through GNU's long-name entries, because a PAX path must be UTF-8.

use super::acl;
use super::sparse::Sparse;
use crate::tree::{Kind, Meta, Mtime, Node, Xattr};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// Tar's block.
pub(super) const BLOCK: usize = 512;

/// Everything that one file's headers may take: names and attributes are bounded by the kernel, so more is an attack.
pub(super) const LONGEST: usize = 1 << 20;

/// So many bytes of headers are written together at most, and then those of one more entry.
pub(super) const TOGETHER: usize = 1 << 20;

const XATTR: &str = "SCHILY.xattr.";

/// Zeros that fill the last block of a content of this size.
pub(super) fn padding(size: u64) -> usize {
    (BLOCK as u64 - size % BLOCK as u64) as usize % BLOCK
}

/// Appends the headers of an entry whose name in the archive is `top` joined with its path.
pub(super) fn encode(top: &str, node: &Node, to: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    let meta = &node.meta;
    let name = archive_name(top, &node.path, node.kind == Kind::Dir);
    let (kind, link) = match &node.kind {
        Kind::File { .. } => (EntryType::Regular, None),
        Kind::Dir => (EntryType::Directory, None),
        Kind::Symlink { target } => (EntryType::Symlink, Some(target.as_bytes().to_vec())),
        Kind::Hardlink { target } => (EntryType::Link, Some(archive_name(top, target, false))),
        Kind::Fifo => (EntryType::Fifo, None),
        Kind::Char { .. } => (EntryType::Char, None),
        Kind::Block { .. } | Kind::Socket => (EntryType::Block, None),
    };
    let mut pax = Pax::default();
    pax.add("mtime", time(meta.mtime).as_bytes());
    if node.kind.size() > 0o77_777_777_777 {
        pax.add("size", node.kind.size().to_string().as_bytes());
    }
    for (key, id) in [("uid", meta.uid), ("gid", meta.gid)] {
        if id > 0o7_777_777 {
            pax.add(key, id.to_string().as_bytes());
        }
    }
    for (key, owner) in [("uname", &meta.user), ("gname", &meta.group)] {
        if let Some(owner) = owner.as_ref().filter(|owner| owner.len() > 31) {
            pax.add(key, owner.as_bytes());
        }
    }
    for (key, value) in &meta.xattrs {
        if let Some((key, text)) = acl::encode(key, value) {
            pax.add(key, text.as_bytes());
        } else {
            pax.add(xattr_key(key), value);
        }
    }
    let mut long = Vec::new();
    place(&name, &mut header.as_ustar_mut().expect("made as ustar").name, "path", EntryType::GNULongName, &mut pax, &mut long);
    if let Some(link) = link {
        place(&link, &mut header.as_ustar_mut().expect("made as ustar").linkname, "linkpath", EntryType::GNULongLink, &mut pax, &mut long);
    }
    header.set_entry_type(kind);
    header.set_mode(meta.mode);
    header.set_uid(u64::from(meta.uid));
    header.set_gid(u64::from(meta.gid));
    header.set_size(node.kind.size());
    header.set_mtime(meta.mtime.seconds.max(0) as u64);
    // Names longer than the field are in the PAX records; setting them here would fail, so only short ones are set.
    for (owner, set) in [(&meta.user, Header::set_username as fn(&mut Header, &str) -> _), (&meta.group, Header::set_groupname)] {
        if let Some(owner) = owner.as_ref().filter(|owner| owner.len() <= 31) {
            let _ = set(&mut header, owner);
        }
    }
    if let Kind::Char { major, minor } | Kind::Block { major, minor } = node.kind {
        let _ = header.set_device_major(major);
        let _ = header.set_device_minor(minor);
    }
    pseudo_entry(EntryType::XHeader, b"././@PaxHeader", &pax.0, to);
    to.extend_from_slice(&long);
    header.set_cksum();
    to.extend_from_slice(header.as_bytes());
}

/// The PAX key of an attribute: its name as it is, but for an equals sign, which would end the key. GNU tar writes the two the same way.
fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = XATTR.as_bytes().to_vec();
    for (at, byte) in name.iter().enumerate() {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            // Only one that would be taken for an escape: not every reader knows them.
            b'%' if ESCAPES.iter().any(|(escape, _)| name[at..].starts_with(escape)) => key.extend_from_slice(b"%25"),
            byte => key.push(*byte),
        }
    }
    key
}

const ESCAPES: [(&[u8], u8); 2] = [(b"%25", b'%'), (b"%3D", b'=')];

/// The name of the attribute that a PAX key is about.
fn xattr_name(key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = key.strip_prefix(XATTR.as_bytes())?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some((first, others)) = rest.split_first() {
        let escape = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape));
        name.push(escape.map_or(*first, |(_, byte)| *byte));
        rest = escape.map_or(others, |(escape, _)| &rest[escape.len()..]);
    }
    Some(name)
}

/// The header of the index itself.
pub(super) fn encode_index(name: &str, size: u64, to: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    header.as_ustar_mut().expect("made as ustar").name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(0);
    header.set_cksum();
    to.extend_from_slice(header.as_bytes());
}

/// A name in the archive; folders end with a slash.
pub(super) fn archive_name(top: &str, path: &Path, dir: bool) -> Vec<u8> {
    let mut name = top.as_bytes().to_vec();
    if !path.as_os_str().is_empty() {
        name.push(b'/');
        name.extend_from_slice(path.as_os_str().as_bytes());
    }
    if dir {
        name.push(b'/');
    }
    name
}

/// A name goes into its field if it fits; else into PAX if it is text, else into a GNU entry of its own.
fn place(name: &[u8], field: &mut [u8; 100], key: &str, long: EntryType, pax: &mut Pax, entries: &mut Vec<u8>) {
    let short = name.len().min(field.len());
    field[..short].copy_from_slice(&name[..short]);
    if name.len() <= field.len() {
        return;
    }
    if std::str::from_utf8(name).is_ok() {
        pax.add(key, name);
    } else {
        pseudo_entry(long, b"././@LongLink", &[name, b"\0"].concat(), entries);
    }
}

fn pseudo_entry(kind: EntryType, name: &[u8], body: &[u8], to: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    header.as_ustar_mut().expect("made as ustar").name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(body.len() as u64);
    header.set_cksum();
    to.extend_from_slice(header.as_bytes());
    to.extend_from_slice(body);
    to.resize(to.len() + padding(body.len() as u64), 0);
}

#[derive(Default)]
struct Pax(Vec<u8>);

impl Pax {
    /// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
    fn add(&mut self, key: impl AsRef<[u8]>, value: &[u8]) {
        let key = key.as_ref();
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.extend([&b" "[..], key, b"="].concat());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

/// Decimal seconds as PAX has them; before 1970 they are negative as a whole: -1.5 is half a second after -2.
fn time(mtime: Mtime) -> String {
    match mtime {
        Mtime { seconds, nanos: 0 } => seconds.to_string(),
        Mtime { seconds, nanos } if seconds >= 0 => format!("{seconds}.{nanos:09}"),
        Mtime { seconds, nanos } => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
    }
}

fn parse_time(text: &str) -> Option<Mtime> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // Signs were looked for above; a second one is none of a number.
    if whole.is_empty() || ![whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let seconds: i128 = whole.parse().ok()?;
    let nanos: u32 = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").get(..9)?.parse().ok()? };
    let (seconds, nanos) = match (negative, nanos) {
        (false, nanos) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
    };
    Some(Mtime { seconds: seconds.try_into().ok()?, nanos })
}

/// One entry as its headers describe it: the name still whole, links as they stand.
#[derive(Debug)]
pub(super) struct Described {
    /// The name in the archive, without a trailing slash.
    pub(super) name: Vec<u8>,
    /// What it is; the target of a hard link is its name in the archive.
    pub(super) kind: Kind,
    /// Its metadata.
    pub(super) meta: Meta,
    /// Whether only a part of its content is stored, and which.
    pub(super) sparse: Option<Sparse>,
}

/// Reads the headers of the next entry of an archive of ours; `None` at the end of `blocks`. Content is not among these blocks.
///
/// # Errors
/// A sentence about what is wrong with them.
pub(super) fn decode(blocks: &mut &[u8]) -> Result<Option<Described>, String> {
    match decode_any(blocks)? {
        // Others would unpack something else than the index describes.
        Some(described) if described.sparse.is_some() => Err("a sparse file, which is never stored in this form".into()),
        other => Ok(other),
    }
}

/// The same of anybody's archive.
///
/// # Errors
/// As [`decode`].
pub(super) fn decode_any(blocks: &mut &[u8]) -> Result<Option<Described>, String> {
    let mut pax: Vec<Record> = Vec::new();
    let (mut long_name, mut long_link) = (None, None);
    let mut seen_any = false;
    loop {
        let Some((block, rest)) = blocks.split_at_checked(BLOCK) else {
            return if blocks.is_empty() && !seen_any { Ok(None) } else { Err("cut off inside a header".into()) };
        };
        let header = Header::from_byte_slice(block);
        check_sum(header)?;
        *blocks = rest;
        seen_any = true;
        let kind = header.entry_type();
        let size = header.entry_size().map_err(|_| "unreadable size")?;
        let pseudo = matches!(kind, EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink | EntryType::XGlobalHeader);
        if !pseudo {
            return describe(header, pax, long_name, long_link).map(Some);
        }
        let body = usize::try_from(size).ok().filter(|size| *size <= LONGEST).ok_or("an extended header of absurd size")?;
        let (body, rest) = blocks.split_at_checked(body).ok_or("cut off inside an extended header")?;
        *blocks = rest.get(padding(size)..).ok_or("cut off inside an extended header")?;
        match kind {
            EntryType::GNULongName => long_name = Some(until_nul(body)),
            EntryType::GNULongLink => long_link = Some(until_nul(body)),
            EntryType::XHeader => pax.extend(pax_records(body).ok_or("an unreadable extended header")?),
            _ => return Err("a global header where none belongs".into()),
        }
    }
}

/// Key and value of a PAX record. Both are bytes: keys hold the names of attributes.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// "LENGTH KEY=VALUE\n" again and again; values may hold newlines.
fn pax_records(mut body: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let digits = body.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&body[..digits]).ok()?.parse().ok()?;
        let (record, rest) = body.split_at_checked(length)?;
        let record = record.get(digits + 1..)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        body = rest;
    }
    Some(records)
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn check_sum(header: &Header) -> Result<(), String> {
    let bytes = header.as_bytes();
    let sum: u32 = bytes.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    if header.cksum().ok() == Some(sum) { Ok(()) } else { Err("a header with a wrong checksum".into()) }
}

/// One entry from its own block and what the entries before it said about it.
fn describe(header: &Header, pax: Vec<Record>, long_name: Option<Vec<u8>>, long_link: Option<Vec<u8>>) -> Result<Described, String> {
    let said = |key: &str| pax.iter().rev().find(|(k, _)| k == key.as_bytes()).map(|(_, value)| value.as_slice());
    let number = |key: &str, field: std::io::Result<u64>| -> Result<u64, String> {
        match said(key) {
            Some(text) => std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or_else(|| format!("an unreadable {key}")),
            None => field.map_err(|_| format!("an unreadable {key}")),
        }
    };
    let mut sparse = Sparse::of(&pax)?;
    let text = |key: &str, field: Option<&[u8]>| -> Option<std::sync::Arc<str>> {
        let bytes = said(key).or(field)?;
        std::str::from_utf8(bytes).ok().filter(|t| !t.is_empty()).map(Into::into)
    };
    let real_name = sparse.as_mut().and_then(|sparse| sparse.name.take());
    let mut name = real_name.or(said("path").map(<[u8]>::to_vec)).or(long_name).unwrap_or_else(|| header.path_bytes().into_owned());
    while name.len() > 1 && name.last() == Some(&b'/') {
        name.pop();
    }
    let link = || {
        said("linkpath").map(<[u8]>::to_vec).or(long_link.clone()).or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default()
    };
    let device = || (header.device_major().ok().flatten().unwrap_or(0), header.device_minor().ok().flatten().unwrap_or(0));
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File { size: number("size", header.entry_size())? },
        EntryType::Directory => Kind::Dir,
        EntryType::Symlink => Kind::Symlink { target: OsString::from_vec(link()) },
        EntryType::Link => Kind::Hardlink { target: PathBuf::from(OsString::from_vec(link())) },
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => Kind::Char { major: device().0, minor: device().1 },
        EntryType::Block => Kind::Block { major: device().0, minor: device().1 },
        other => return Err(format!("an entry of unknown type {:?}", other.as_byte() as char)),
    };
    let mtime = match said("mtime") {
        Some(text) => std::str::from_utf8(text).ok().and_then(parse_time).ok_or("an unreadable time")?,
        None => Mtime { seconds: header.mtime().map_err(|_| "an unreadable time")? as i64, nanos: 0 },
    };
    let attribute = |(key, value): &Record| match std::str::from_utf8(key).ok().and_then(|key| acl::decode(key, value)) {
        Some((name, value)) => Some((name.into(), value)),
        None => Some((xattr_name(key)?, value.clone())),
    };
    let xattrs: Vec<Xattr> = pax.iter().filter_map(attribute).collect();
    let meta = Meta {
        mode: header.mode().map_err(|_| "unreadable permissions")? & 0o7777,
        uid: u32::try_from(number("uid", header.uid())?).map_err(|_| "an absurd owner")?,
        gid: u32::try_from(number("gid", header.gid())?).map_err(|_| "an absurd group")?,
        user: text("uname", header.username_bytes()),
        group: text("gname", header.groupname_bytes()),
        mtime,
        xattrs,
    };
    Ok(Described { name, kind, meta, sparse })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(path: impl Into<OsString>, kind: Kind) -> Node {
        let meta =
            Meta { mode: 0o4755, uid: 1000, gid: 50, user: Some("eve".into()), mtime: Mtime { seconds: 1_700_000_000, nanos: 5 }, ..Meta::default() };
        Node { path: PathBuf::from(path.into()), kind, meta }
    }

    fn round_trip(node: &Node) {
        let mut bytes = Vec::new();
        encode("top", node, &mut bytes);
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut rest = bytes.as_slice();
        let read = decode(&mut rest).unwrap().unwrap();
        assert!(rest.is_empty());
        assert_eq!(read.name, archive_name("top", &node.path, false));
        assert_eq!(read.meta, node.meta);
        match (&read.kind, &node.kind) {
            (Kind::Hardlink { target: was }, Kind::Hardlink { target }) => assert_eq!(was, &Path::new("top").join(target)),
            (was, is) => assert_eq!(was, is),
        }
    }

    #[test]
    fn headers_read_back_as_they_are_written() {
        round_trip(&node("a", Kind::File { size: 0 }));
        round_trip(&node("a/b", Kind::Dir));
        round_trip(&node("l", Kind::Symlink { target: "x".repeat(300).into() }));
        round_trip(&node("h", Kind::Hardlink { target: "a".into() }));
        round_trip(&node("x".repeat(250), Kind::Fifo));
        round_trip(&node(OsString::from_vec(vec![0xff; 20]), Kind::File { size: 1 }));
        round_trip(&node(OsString::from_vec(vec![0xff; 200]), Kind::Symlink { target: OsString::from_vec(vec![0xfe; 200]) }));
        round_trip(&node("big", Kind::File { size: 20 << 30 }));
        round_trip(&node("dev", Kind::Char { major: 1, minor: 3 }));
        let mut odd = node("odd", Kind::File { size: 9 });
        odd.meta.uid = 4_000_000_000;
        odd.meta.group = Some("g".repeat(60).into());
        odd.meta.xattrs = vec![(b"user.k".to_vec(), b"v\n=1".to_vec())];
        round_trip(&odd);
        for name in
            [&b"user.\xff\xfe"[..], b"user.a=b", b"user.=", b"user.%3D", b"user.%25", b"user.%253D=%", b"user.100%", b"user.new\nline", b"user. "]
        {
            odd.meta.xattrs = vec![(name.to_vec(), b"\xff\0=".to_vec())];
            round_trip(&odd);
        }
    }

    #[test]
    fn times_before_1970_keep_their_nanoseconds() {
        for mtime in
            [(-1, 500_000_000), (-2, 0), (0, 1), (-1, 999_999_999), (1_700_000_000, 0), (i64::MIN, 0), (i64::MIN, 1), (i64::MAX, 999_999_999)]
        {
            let mtime = Mtime { seconds: mtime.0, nanos: mtime.1 };
            assert_eq!(parse_time(&time(mtime)), Some(mtime), "{}", time(mtime));
        }
        // One more second, or one more sign, is no time.
        for wrong in ["9223372036854775808", "-9223372036854775808.1", "--9223372036854775808", "-+1", "1.-5", "1.+5", "", "-", ".5"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_changed_header_is_noticed() {
        let mut bytes = Vec::new();
        encode("top", &node("a", Kind::File { size: 10 }), &mut bytes);
        let last = bytes.len() - BLOCK;
        bytes[last + 1] ^= 1;
        assert!(decode(&mut bytes.as_slice()).is_err());
        assert!(decode(&mut &bytes[..700]).is_err());
    }
}
