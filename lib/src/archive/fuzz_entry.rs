//! What the fuzzers of `fuzz/` call: bytes of anybody's making for each parser of archives. Nothing may panic, and whatever is
//! accepted must keep the promises that the rest of the library relies on.

use super::index::{Completed, Index};
use super::{Archive, CHUNK, Foreign, INDEX_NAME, footer, header, toc};
use crate::digest::{self, Hasher};
use crate::scope::check_plain;
use crate::tree::{Kind, Node};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Where the index of an archive begins whose content is not looked at.
const END: u64 = 1 << 30;

/// Separates what one input is made of. It stands in no JSON.
const SEPARATOR: u8 = 0xff;

/// The end of an archive.
pub fn footer(data: &[u8]) {
    let Some((at, offset)) = footer::find_last(data) else {
        let length = footer::LENGTH as usize;
        assert!(data.windows(length).all(|window| footer::decode(window).is_none()));
        return;
    };
    let found = &data[at..at + footer::LENGTH as usize];
    assert_eq!(footer::decode(found), Some(offset));
    assert!(footer::encode(offset).eq_ignore_ascii_case(found));
}

/// An index; behind a separator, that of the base which it completes.
pub fn index(data: &[u8]) {
    let (own, base) = parted(data);
    let Ok(own) = read_index(own, END) else { return };
    again(&own);
    if own.head.base.is_none() {
        return sound(&own, END);
    }
    let Some(base) = base.and_then(|base| read_index(base, END).ok()) else { return };
    let head = own.head.clone();
    let whole = Completed::new(&head, own.into_listed(), base.into_listed());
    if let Ok(whole) = Index::collect(head.clone(), whole).and_then(|whole| whole.check().map(|()| whole)) {
        sound(&whole, END);
    }
}

/// Headers of tar entries. Their checksums are put right first, since chance never finds one.
pub fn headers(data: &[u8]) {
    let mut data = data.to_vec();
    correct(&mut data, false);
    let mut blocks = data.as_slice();
    while let Ok(Some(said)) = header::decode_any(&mut blocks) {
        if let Some(sparse) = &said.sparse {
            let mut from = blocks;
            if let Ok(mut content) = sparse.unfold(&mut from, blocks.len() as u64) {
                let mut end = 0;
                for (offset, length) in content.holes() {
                    assert!(offset >= end && length > 0 && offset + length <= sparse.size);
                    end = offset + length;
                }
                let mut start = Vec::new();
                let whole = (&mut content).take(1 << 20).read_to_end(&mut start).is_ok();
                assert!(start.len() as u64 <= sparse.size);
                assert!(!whole || start.len() as u64 == sparse.size.min(1 << 20));
            }
        }
        assert!(said.meta.mode <= 0o7777 && said.meta.mtime.nanos < 1_000_000_000);
        let node = Node { path: PathBuf::from(OsString::from_vec(said.name)), kind: said.kind, meta: said.meta };
        same_header(&node);
    }
}

/// A tar or a tar.gz.
pub fn foreign(data: &[u8]) {
    let mut data = data.to_vec();
    correct(&mut data, true);
    let (_file, path) = in_memory(&data);
    let Ok(mut foreign) = Foreign::open(&path, &|_| ()) else { return };
    let mut names = HashSet::new();
    for entry in foreign.entries() {
        let path = &entry.node.path;
        check_plain(path).unwrap();
        assert!(names.insert(path.clone()), "{} is there twice", path.display());
        let mut end = 0;
        for (offset, length) in &entry.holes {
            assert!(*offset >= end && offset + length <= entry.node.kind.size());
            end = offset + length;
        }
    }
    let whole = foreign.whole();
    assert_eq!((whole.totals().0, whole.entries.len()), (foreign.files(), names.len()));
    let roots = ["config", "data", "modules/ui"].map(PathBuf::from);
    if let Ok(arranged) = foreign.arrange(&roots) {
        for entry in &arranged.entries {
            check_plain(&entry.node.path).unwrap();
            assert!(roots.iter().any(|root| entry.node.path.starts_with(root)));
        }
    }
    // The second reading finds what the first one did.
    if foreign.damage.is_empty() {
        let whole = foreign.whole();
        let mut files = 0;
        foreign
            .each_file(&whole, |entry, pieces| {
                files += 1;
                pieces.each(entry, &mut |_| Ok(()))
            })
            .unwrap();
        assert_eq!(files, foreign.files());
    }
}

/// A whole archive: its index, and behind a separator what stands before it. What is found in order holds what its index says.
pub fn archive(data: &[u8]) {
    let (json, body) = parted(data);
    let body = body.unwrap_or_default();
    let mut member = GzEncoder::new(body.to_vec(), Compression::fast());
    let mut block = Vec::new();
    header::encode_index(INDEX_NAME, json.len() as u64, &mut block);
    member.write_all(&block).and_then(|()| member.write_all(json)).unwrap();
    member.write_all(&vec![0; header::padding(json.len() as u64) + 2 * header::BLOCK]).unwrap();
    let mut bytes = member.finish().unwrap();
    bytes.extend_from_slice(&footer::encode(body.len() as u64));
    let (_file, path) = in_memory(&bytes);
    let archive = Archive::open(&path).unwrap().expect("it has a footer");
    let head = archive.head();
    let Ok((index, digest)) = archive.index() else { return };
    assert_eq!(head.unwrap().as_ref(), Some(&index.head));
    assert_eq!(digest, digest::of(json));
    // Another order than that of the names is known of archives of others only.
    let _ = archive.check_index(&digest);
    if index.head.base.is_some() {
        return;
    }
    sound(&index, body.len() as u64);
    if archive.verify(&index, true, &|_| ()).unwrap().is_empty() {
        for entry in index.entries.iter().filter(|entry| matches!(entry.node.kind, Kind::File { .. })) {
            let mut hasher = Hasher::default();
            let mut length = 0;
            let mut take = |piece: &[u8]| {
                hasher.update(piece);
                length += piece.len() as u64;
                Ok(())
            };
            archive.content(&index, entry, &mut take).unwrap();
            assert_eq!((Some(hasher.finish()), length), (entry.digest, entry.node.kind.size()));
        }
    }
}

fn parted(data: &[u8]) -> (&[u8], Option<&[u8]>) {
    match data.iter().position(|byte| *byte == SEPARATOR) {
        Some(at) => (&data[..at], Some(&data[at + 1..])),
        None => (data, None),
    }
}

/// A file that lies in memory only, and a path to it.
fn in_memory(data: &[u8]) -> (File, PathBuf) {
    let mut file = File::from(memfd_create("fuzzed", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(data).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    (file, path)
}

/// The index as [`Archive::index`] reads it.
pub(super) fn read_index(json: &[u8], end: u64) -> Result<Index, String> {
    let mut reader = toc::Reader::new(json, end)?;
    let head = reader.head().cloned().ok_or("no head")?;
    let index = Index::collect(head, std::iter::from_fn(|| reader.next().transpose()))?;
    index.check_own().map(|()| index)
}

/// The index as an archive has it.
pub(super) fn written(index: &Index) -> Vec<u8> {
    let mut json = toc::beginning(&index.head);
    for (number, entry) in index.entries.iter().enumerate() {
        toc::write(entry, index.pieces(entry), &index.head.top, number == 0, &mut json).unwrap();
    }
    json.extend_from_slice(toc::END);
    json
}

/// What was read is the same when it is written and read again.
fn again(index: &Index) {
    let json = written(index);
    match read_index(&json, END) {
        Ok(read) => assert_eq!(read, *index),
        Err(why) => panic!("{why}: {}", String::from_utf8_lossy(&json)),
    }
}

/// Everything that is relied on once an index was accepted: `end` is where it stands in its archive.
pub(super) fn sound(index: &Index, end: u64) {
    let mut kinds: HashMap<&Path, &Kind> = HashMap::new();
    let mut last = [None; 2];
    for entry in &index.entries {
        let Node { path, kind, meta } = &entry.node;
        if path.as_os_str().is_empty() {
            assert!(kinds.is_empty() && *kind == Kind::Dir);
        } else {
            check_plain(path).unwrap();
            assert_eq!(kinds.get(path.parent().unwrap()), Some(&&Kind::Dir), "{}", path.display());
        }
        if let Kind::Hardlink { target } = kind {
            assert!(kinds.get(target.as_path()).is_some_and(|kind| **kind != Kind::Dir), "{}", path.display());
        }
        assert!(kinds.insert(path, kind).is_none());
        assert!(meta.mode <= 0o7777 && meta.mtime.nanos < 1_000_000_000);
        assert!(meta.xattrs.is_sorted() && meta.xattrs.windows(2).all(|pair| pair[0].0 != pair[1].0));
        assert_eq!(entry.digest.is_some(), matches!(kind, Kind::File { .. }));
        assert!(entry.partial.is_none(), "{}", path.display());
        let mut before = 0;
        for (offset, length) in &entry.holes {
            assert!(*offset >= before && *length > 0 && offset + length <= kind.size());
            before = offset + length;
        }
        let pieces = index.pieces(entry);
        assert_eq!(pieces.iter().map(|piece| u64::from(piece.size)).sum::<u64>(), kind.size(), "{}", path.display());
        for piece in pieces {
            assert!(piece.offset < piece.end && piece.end <= end && piece.size as usize <= 64 * CHUNK);
            assert!(u64::from(piece.size) <= (piece.end - piece.offset) * 1032);
            let last = &mut last[usize::from(piece.from_base)];
            assert!(last.is_none_or(|last| last <= piece.offset));
            *last = Some(piece.end);
        }
    }
}

/// A header of this node reads back as it is written.
fn same_header(node: &Node) {
    let has_nul = |bytes: &[u8]| bytes.contains(&0);
    let owner = |name: &Option<std::sync::Arc<str>>| name.as_ref().is_some_and(|name| has_nul(name.as_bytes()));
    let link = match &node.kind {
        Kind::Symlink { target } => target.as_bytes(),
        Kind::Hardlink { target } => target.as_os_str().as_bytes(),
        // The field ends there, and no system has such devices.
        Kind::Char { major, minor } | Kind::Block { major, minor } if *major.max(minor) > 0o7_777_777 => return,
        _ => b"",
    };
    // No name has a zero in it, which ends a field.
    let name = node.path.as_os_str().as_bytes();
    if has_nul(name) || name.ends_with(b"/") || has_nul(link) || owner(&node.meta.user) || owner(&node.meta.group) {
        return;
    }
    let mut bytes = Vec::new();
    header::encode("top", node, &mut bytes);
    let mut rest = bytes.as_slice();
    let read = header::decode(&mut rest).unwrap().unwrap();
    assert!(rest.is_empty());
    assert_eq!((&read.name, &read.meta), (&header::archive_name("top", &node.path, false), &node.meta));
    match (&read.kind, &node.kind) {
        (Kind::Hardlink { target: read }, Kind::Hardlink { target }) => {
            assert_eq!(read.as_os_str().as_bytes(), header::archive_name("top", target, false));
        }
        (read, was) => assert_eq!(read, was),
    }
}

/// Puts the checksums of tar headers right; `content` says whether content follows them.
fn correct(data: &mut [u8], content: bool) {
    let mut at = 0_usize;
    while let Some(block) = data.get_mut(at..at.saturating_add(header::BLOCK)) {
        // Zeros end an archive, and a gzip member is none.
        if block.starts_with(&[0]) || block.starts_with(&[0x1f, 0x8b]) {
            return;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let said = tar::Header::from_byte_slice(block);
        let follows = content || matches!(said.entry_type().as_byte(), b'x' | b'g' | b'L' | b'K');
        let size = said.entry_size().ok().filter(|_| follows).unwrap_or_default();
        at = at.saturating_add(header::BLOCK).saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).saturating_add(header::padding(size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fuzzers_found_worth_keeping_still_holds() {
        for (name, entry) in [("footer", footer as fn(&[u8])), ("index", index), ("headers", headers), ("foreign", foreign), ("archive", archive)] {
            assert!(replay(name, entry) > 0, "{name}");
        }
    }

    fn replay(name: &str, entry: fn(&[u8])) -> usize {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let inputs: Vec<PathBuf> = std::fs::read_dir(corpus).unwrap().map(|input| input.unwrap().path()).collect();
        for input in &inputs {
            // Shown when it fails.
            eprintln!("{}", input.display());
            entry(&std::fs::read(input).unwrap());
        }
        inputs.len()
    }
}
