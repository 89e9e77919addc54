//! The index: every entry with its metadata, where its content lies, and what it must hash to. Of a differential archive there are
//! two: its own, and the one that its base completes.

use super::CHUNK;
use super::toc::stored_path;
use crate::record::{RecordPath, Snapshot};
use crate::scope::check_plain;
use crate::time::Timestamp;
use crate::tree::{Digest, Hole, Identity, Kind, Node};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::iter::Peekable;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The version of what stands under `eco`.
pub const FORMAT: u32 = 1;

/// The snapshot as its own archive tells it: the object `eco` at the top of the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Version of this object.
    pub format: u32,
    /// Program and version that wrote it.
    pub written_by: String,
    /// When the capture began.
    pub time: Timestamp,
    /// Of which service.
    pub ecosystem: String,
    /// On which machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The one folder that everything in the archive is in.
    pub top: String,
    /// What the record `snapshot` says, without path, sizes of the archive and digests.
    pub snapshot: Snapshot,
    /// What was left out when it was captured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// What was captured but is never rolled back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preserve: Vec<String>,
    /// Roots that did not exist: going back means that they do not exist again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Sockets that were there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<String>,
    /// What the clock of the files' system said before anything was looked at, in nanoseconds since 1970: a file that was touched
    /// about then may have changed later without a trace in its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_ns: Option<i64>,
    /// Of a differential snapshot: the full one that it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// Of a differential snapshot: what its base holds and it does not; a folder stands for everything below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<RecordPath>,
}

/// The full snapshot that a differential one needs, so exactly that another one cannot be taken for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// Its id.
    pub id: String,
    /// Its archive's file name: it is in the same store.
    pub file: String,
    /// SHA-256 of its index.
    pub sha256_toc: String,
}

/// One piece of content: where its gzip member begins, how many bytes it holds, what they hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// In the archive file.
    pub offset: u64,
    /// Where the next piece begins, or the index: between the two there may be headers, too.
    pub end: u64,
    /// Uncompressed.
    pub size: u32,
    /// Of the uncompressed bytes.
    pub digest: Digest,
    /// Whether it lies in the base of a differential archive.
    pub from_base: bool,
}

/// One entry of the archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name, kind and metadata.
    pub node: Node,
    /// Digest of the whole content; regular files have one.
    pub digest: Option<Digest>,
    /// Its pieces in [`Index::chunks`].
    pub chunks: Range<u32>,
    /// Which object it was when it was captured.
    pub identity: Option<Identity>,
    /// For a database that was copied through SQLite: the digest without the counters that every copy changes.
    pub sqlite: Option<Digest>,
    /// Of a file in a differential archive that holds only some of its pieces: which ones.
    pub partial: Option<Box<Partial>>,
    /// Of a file in a differential archive that is another name of one that only its base holds: that one. For readers that do not
    /// know the base it is a file of its own.
    pub same_as: Option<PathBuf>,
    /// Where it had holes, in order. A hint for whoever writes it again; the content is in the pieces, zeros and all.
    pub holes: Vec<Hole>,
}

/// What a differential archive holds of a large file; the rest is in its base.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// The numbers of the pieces that are stored, ascending; all pieces but the last are [`CHUNK`] long.
    pub held: Vec<u32>,
    /// Of the stored pieces one after the other.
    pub digest: Digest,
    /// Their length.
    pub stored: u64,
}

impl Entry {
    /// Bytes of content that are not in holes.
    pub fn solid_bytes(&self) -> u64 {
        self.node.kind.size().saturating_sub(self.holes.iter().map(|(_, length)| length).sum())
    }

    /// Bytes of content that are stored in the archive itself.
    pub fn stored(&self) -> u64 {
        self.partial.as_ref().map_or(self.node.kind.size(), |partial| partial.stored)
    }

    /// The entry as its tar header describes it.
    pub(super) fn stored_node(&self) -> Node {
        let mut node = self.node.clone();
        if let Some(partial) = &self.partial {
            node.path = stored_path(self).into_owned();
            node.kind = Kind::File { size: partial.stored };
        }
        node
    }

    /// Whether the stored pieces can be the ones that they are said to be.
    pub(super) fn check_partial(&self, pieces: &[Chunk]) -> Result<(), String> {
        let Some(partial) = &self.partial else { return Ok(()) };
        if self.node.kind.size().div_ceil(CHUNK as u64) > u64::from(u32::MAX) {
            return Err(format!("{} bytes, of which the pieces cannot be counted", self.node.kind.size()));
        }
        let ascending = partial.held.windows(2).all(|pair| pair[0] < pair[1]);
        let fitting =
            partial.held.iter().zip(pieces).all(|(number, piece)| piece_size(self.node.kind.size(), u64::from(*number)) == u64::from(piece.size));
        if ascending && fitting && partial.held.len() == pieces.len() { Ok(()) } else { Err("its pieces are not those that it names".into()) }
    }
}

/// How long the piece `number` of a file of this size is.
pub(super) fn piece_size(size: u64, number: u64) -> u64 {
    size.saturating_sub(number * CHUNK as u64).min(CHUNK as u64)
}

/// An entry with its pieces, as it stands in an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The entry; its range of pieces is empty.
    pub entry: Entry,
    /// Its pieces, in order.
    pub pieces: Vec<Chunk>,
}

/// Everything an archive holds, in the order in which it lies there.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// The snapshot.
    pub head: Head,
    /// Folders before what is in them. The first one is the ecosystem's root itself, with an empty path.
    pub entries: Vec<Entry>,
    /// All pieces, those of one entry together.
    pub chunks: Vec<Chunk>,
}

impl Index {
    /// Content of an entry, piece by piece.
    pub fn pieces(&self, entry: &Entry) -> &[Chunk] {
        &self.chunks[entry.chunks.start as usize..entry.chunks.end as usize]
    }

    /// Regular files in it, and their bytes.
    pub fn totals(&self) -> (u64, u64) {
        let files = self.entries.iter().filter(|e| matches!(e.node.kind, Kind::File { .. }));
        files.fold((0, 0), |(files, bytes), e| (files + 1, bytes + e.node.kind.size()))
    }

    /// An index of these entries.
    ///
    /// # Errors
    /// What the entries say, and that there are more pieces than can be counted.
    pub(super) fn collect(head: Head, entries: impl Iterator<Item = Result<Listed, String>>) -> Result<Index, String> {
        let mut index = Index { head, entries: Vec::new(), chunks: Vec::new() };
        for listed in entries {
            let Listed { mut entry, pieces } = listed?;
            let count = |chunks: &Vec<Chunk>| u32::try_from(chunks.len()).map_err(|_| "more pieces than can be counted");
            let start = count(&index.chunks)?;
            index.chunks.extend(pieces);
            entry.chunks = start..count(&index.chunks)?;
            index.entries.push(entry);
        }
        Ok(index)
    }

    /// Its entries, each with its pieces.
    pub(super) fn into_listed(self) -> impl Iterator<Item = Result<Listed, String>> {
        let chunks = self.chunks;
        self.entries.into_iter().map(move |mut entry| {
            let range = std::mem::replace(&mut entry.chunks, 0..0);
            Ok(Listed { entry, pieces: chunks[range.start as usize..range.end as usize].to_vec() })
        })
    }

    /// What can be said of an archive's own index before its base is looked at, if it has one: see [`Index::check`].
    ///
    /// # Errors
    /// What is wrong, in one sentence.
    pub(super) fn check_own(&self) -> Result<(), String> {
        if self.head.base.is_some() {
            return Ok(());
        }
        if let Some(entry) = self.entries.iter().find(|entry| entry.partial.is_some()) {
            return Err(format!("{}: some of its pieces in an archive without a base", entry.node.path.display().to_string().escape_debug()));
        }
        self.check()
    }

    /// Nothing in an index is believed before this: parents that are folders, links that lead back, no name twice. What an entry
    /// can say about itself was checked when it was read.
    ///
    /// # Errors
    /// What is wrong, in one sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut seen: HashMap<&Path, bool> = HashMap::with_capacity(self.entries.len());
        for entry in &self.entries {
            let path = entry.node.path.as_path();
            let name = || path.display().to_string().escape_debug().to_string();
            if path.as_os_str().is_empty() {
                if !seen.is_empty() || entry.node.kind != Kind::Dir {
                    return Err("a second top folder".into());
                }
            } else if seen.get(path.parent().unwrap_or(Path::new(""))) != Some(&true) {
                return Err(format!("{}: its folder does not stand before it", name()));
            }
            if let Kind::Hardlink { target } = &entry.node.kind {
                check_plain(target)?;
                if seen.get(target.as_path()) != Some(&false) {
                    return Err(format!("{}: the file that it links to does not stand before it", name()));
                }
            }
            if seen.insert(path, entry.node.kind == Kind::Dir).is_some() {
                return Err(format!("{}: two entries of one name", name()));
            }
        }
        if self.entries.first().is_none_or(|first| !first.node.path.as_os_str().is_empty()) {
            return Err("no top folder".into());
        }
        Ok(())
    }
}

/// The entries of a differential snapshot, completed by those of its base: both come in the order of their paths, and so does the
/// result.
pub(super) struct Completed<A: Iterator, B: Iterator> {
    own: Peekable<A>,
    base: Peekable<B>,
    gone: HashSet<PathBuf>,
    /// What was below this is not there any more.
    below: Option<PathBuf>,
    /// Files that turned out to be further names of one in the base, and what links to them links to.
    names: HashMap<PathBuf, PathBuf>,
}

impl<A, B> Completed<A, B>
where
    A: Iterator<Item = Result<Listed, String>>,
    B: Iterator<Item = Result<Listed, String>>,
{
    pub(super) fn new(head: &Head, own: A, base: B) -> Completed<A, B> {
        let gone = head.gone.iter().map(RecordPath::to_path).collect();
        Completed { own: own.peekable(), base: base.peekable(), gone, below: None, names: HashMap::new() }
    }

    /// A file that is another name of one in the base as what it is.
    fn linked(&mut self, mut own: Listed) -> Listed {
        if let Some(target) = own.entry.same_as.take() {
            self.names.insert(own.entry.node.path.clone(), target.clone());
            own.entry.node.kind = Kind::Hardlink { target };
            (own.entry.digest, own.entry.sqlite) = (None, None);
            own.entry.holes.clear();
            own.pieces.clear();
        } else if let Kind::Hardlink { target } = &mut own.entry.node.kind
            && let Some(first) = self.names.get(target)
        {
            target.clone_from(first);
        }
        own
    }

    fn step(&mut self) -> Result<Option<Listed>, String> {
        loop {
            let path = |peeked: Option<&Result<Listed, String>>| peeked.and_then(|listed| listed.as_ref().ok()).map(|l| l.entry.node.path.clone());
            if let Some(Err(why)) = self.own.next_if(Result::is_err).or_else(|| self.base.next_if(Result::is_err)) {
                return Err(why);
            }
            let (own, base) = (path(self.own.peek()), path(self.base.peek()));
            let Some(base_path) = base.filter(|base| own.as_ref().is_none_or(|own| base <= own)) else {
                let Some(own) = self.own.next().transpose()? else { return Ok(None) };
                return joined(self.linked(own), None).map(Some);
            };
            let Some(mut base) = self.base.next().transpose()? else { continue };
            if base.entry.partial.is_some() {
                return Err(format!("{}: only some of its pieces are in the base", base_path.display().to_string().escape_debug()));
            }
            base.pieces.iter_mut().for_each(|piece| piece.from_base = true);
            if self.below.as_ref().is_some_and(|below| base_path.starts_with(below)) {
                continue;
            }
            if own.as_ref() == Some(&base_path) {
                let Some(own) = self.own.next().transpose()? else { continue };
                if own.entry.node.kind != Kind::Dir {
                    self.below = Some(base_path);
                }
                return joined(self.linked(own), Some(&base)).map(Some);
            }
            if self.gone.contains(&base_path) {
                self.below = Some(base_path);
                continue;
            }
            return Ok(Some(base));
        }
    }
}

impl<A, B> Iterator for Completed<A, B>
where
    A: Iterator<Item = Result<Listed, String>>,
    B: Iterator<Item = Result<Listed, String>>,
{
    type Item = Result<Listed, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// A file of which only some pieces are stored, with the others from its base.
fn joined(mut own: Listed, base: Option<&Listed>) -> Result<Listed, String> {
    let Some(partial) = own.entry.partial.take() else { return Ok(own) };
    let name = own.entry.node.path.display().to_string().escape_debug().to_string();
    let mut held = partial.held.iter().zip(&own.pieces).peekable();
    let count = own.entry.node.kind.size().div_ceil(CHUNK as u64);
    let mut pieces = Vec::new();
    for number in 0..count {
        let piece = match held.next_if(|(at, _)| u64::from(**at) == number) {
            Some((_, piece)) => Some(piece),
            None => {
                let piece = base.and_then(|base| base.pieces.get(number as usize));
                piece.filter(|piece| u64::from(piece.size) == piece_size(own.entry.node.kind.size(), number))
            }
        };
        let lacking = || format!("{name}: neither it nor its base holds piece {number}");
        pieces.push(*piece.ok_or_else(lacking)?);
    }
    // What is put together with the base is read as a whole, to be held against its digest. This is not.
    if pieces.iter().all(|piece| !piece.from_base) && own.entry.digest != Some(partial.digest) {
        return Err(format!("{name}: all of its pieces are not the whole"));
    }
    own.pieces = pieces;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::toc;
    use crate::digest;
    use crate::tree::{Meta, Mtime};
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn sample() -> Index {
        let meta = |mode| Meta { mode, uid: 1, gid: 2, user: Some("u".into()), mtime: Mtime { seconds: -2, nanos: 500_000_000 }, ..Meta::default() };
        let entry = |path: &[u8], kind, chunks: Range<u32>| {
            let digest = matches!(kind, Kind::File { .. }).then(|| digest::of(path));
            let identity = Some(Identity { dev: 5, ino: 9, ctime_ns: 1_700_000_000_000_000_001 });
            Entry {
                node: Node { path: OsString::from_vec(path.to_vec()).into(), kind, meta: meta(0o4755) },
                digest,
                chunks,
                identity,
                sqlite: None,
                partial: None,
                same_as: None,
                holes: Vec::new(),
            }
        };
        let chunk = |offset, end, size| Chunk { offset, end, size, digest: digest::of(b"x"), from_base: false };
        Index {
            head: Head { format: FORMAT, top: "shop-manual-x".into(), ecosystem: "shop".into(), ..Head::default() },
            entries: vec![
                entry(b"", Kind::Dir, 0..0),
                entry(b"data", Kind::Dir, 0..0),
                entry(b"data/big", Kind::File { size: CHUNK as u64 + 10 }, 0..2),
                entry(b"data/caf\xe9", Kind::File { size: 3 }, 2..3),
                entry(b"data/caf\\xe9", Kind::File { size: 0 }, 3..3),
                entry(b"data/hard\xff", Kind::Hardlink { target: OsString::from_vec(b"data/caf\xe9".to_vec()).into() }, 3..3),
                entry(b"data/soft", Kind::Symlink { target: OsString::from_vec(b"\xfe".to_vec()) }, 3..3),
            ],
            chunks: vec![chunk(2000, 5000, CHUNK as u32), chunk(5000, 6000, 10), chunk(6000, 9000, 3)],
        }
    }

    fn json(index: &Index) -> String {
        let mut bytes = toc::beginning(&index.head);
        for (number, entry) in index.entries.iter().enumerate() {
            toc::write(entry, index.pieces(entry), &index.head.top, number == 0, &mut bytes).unwrap();
        }
        bytes.extend_from_slice(toc::END);
        String::from_utf8(bytes).unwrap()
    }

    fn read(json: &[u8]) -> Result<Index, String> {
        let mut reader = toc::Reader::new(json, 9000)?;
        let head = reader.head().cloned().ok_or("no head")?;
        let index = Index::collect(head, std::iter::from_fn(|| reader.next().transpose()))?;
        index.check_own().map(|()| index)
    }

    fn read_head(json: &[u8]) -> Result<Option<Head>, String> {
        toc::Reader::new(json, 9000).map(|reader| reader.head().cloned())
    }

    #[test]
    fn holes_are_believed_only_within_their_file_and_in_order() {
        let with = |holes: &[Hole]| {
            let mut index = sample();
            index.entries[2].holes = holes.to_vec();
            read(json(&index).as_bytes()).map(|read| assert_eq!(read, index))
        };
        let size = CHUNK as u64 + 10;
        with(&[(0, 4096), (8192, size - 8192)]).unwrap();
        with(&[(0, size)]).unwrap();
        for wrong in [&[(0, size + 1)][..], &[(4096, 0)], &[(u64::MAX, 2)], &[(4096, 4096), (0, 4096)], &[(0, 4096), (4095, 2)]] {
            assert!(with(wrong).unwrap_err().contains("a hole of"), "{wrong:?}");
        }
    }

    #[test]
    fn an_index_reads_back_as_it_is_written() {
        let index = sample();
        assert_eq!(read(json(&index).as_bytes()).unwrap(), index);
        assert_eq!(read_head(json(&index).as_bytes()).unwrap().unwrap(), index.head);
    }

    #[test]
    fn attributes_keep_their_names_whatever_bytes_they_are() {
        let mut index = sample();
        index.entries[2].node.meta.xattrs =
            [&b"user.a"[..], b"user.\xc3\xa9", b"user.\xfe", b"user.\xff"].map(|name| (name.to_vec(), b"\0\xff".to_vec())).to_vec();
        let text = json(&index);
        assert_eq!(read(text.as_bytes()).unwrap(), index);
        assert!(read(text.replace("dXNlci7/", "?").as_bytes()).unwrap_err().contains("not base64"));
    }

    #[test]
    fn the_head_needs_only_the_beginning() {
        let text = json(&sample());
        let cut = text.find("\"entries\"").unwrap() + 20;
        assert!(read_head(&text.as_bytes()[..cut]).unwrap().is_some());
        assert!(read(&text.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn what_does_not_add_up_is_refused_with_a_sentence() {
        let wrong = |change: &dyn Fn(&mut Index), why: &str| {
            let mut index = sample();
            change(&mut index);
            let said = read(json(&index).as_bytes()).unwrap_err();
            assert!(said.contains(why), "{said} does not say: {why}");
        };
        wrong(&|i| i.entries[2].node.path = "data/../../etc/passwd".into(), "cannot be a path");
        wrong(&|i| i.entries[2].node.path = "nowhere/big".into(), "its folder does not stand before it");
        wrong(&|i| i.entries[4].node.path = "data/big".into(), "two entries of one name");
        wrong(&|i| i.entries[5].node.kind = Kind::Hardlink { target: "data/later".into() }, "does not stand before it");
        wrong(&|i| i.entries[5].node.kind = Kind::Hardlink { target: "data".into() }, "does not stand before it");
        wrong(&|i| i.chunks[1].offset = 1000, "out of order");
        wrong(&|i| i.chunks[2].offset = 9000, "out of order");
        wrong(&|i| i.chunks[0].size = 5, "does not continue its file");
        wrong(&|i| i.entries[3].node.kind = Kind::File { size: 4 << 30 }, "a piece of");
        wrong(&|i| i.head.format = 2, "newer version");
        wrong(&|i| i.entries[2].digest = None, "no digest");
        wrong(&|i| drop(i.entries.remove(0)), "its folder does not stand before it");
        wrong(&|i| i.head.top = "..".into(), "top folder");
    }

    /// A differential index that holds the last piece of `data/big`.
    fn differential() -> Index {
        let mut index = sample();
        index.head.base = Some(Base::default());
        index.entries.truncate(3);
        index.chunks = vec![Chunk { offset: 2000, end: 9000, ..index.chunks[1] }];
        index.entries[2].chunks = 0..1;
        index.entries[2].partial = Some(Box::new(Partial { held: vec![1], digest: digest::of(b"y"), stored: 10 }));
        index
    }

    fn completed(own: Index, base: Index) -> Result<Index, String> {
        let head = own.head.clone();
        let whole = Completed::new(&head, own.into_listed(), base.into_listed());
        Index::collect(head.clone(), whole).and_then(|index| index.check().map(|()| index))
    }

    #[test]
    fn a_differential_index_and_its_base_are_the_whole_or_nothing() {
        assert_eq!(read(json(&differential()).as_bytes()).unwrap(), differential());
        let whole = completed(differential(), sample()).unwrap();
        let pieces: Vec<_> = whole.pieces(&whole.entries[2]).iter().map(|piece| (piece.from_base, piece.size as usize)).collect();
        assert_eq!((pieces, whole.entries.len()), (vec![(true, CHUNK), (false, 10)], 7));
        let wrong = |change: &dyn Fn(&mut Index, &mut Index), why: &str| {
            let (mut own, mut base) = (differential(), sample());
            change(&mut own, &mut base);
            let said = completed(own, base).unwrap_err();
            assert!(said.contains(why), "{said} does not say: {why}");
        };
        wrong(&|_, base| drop(base.entries.remove(2)), "neither it nor its base holds piece 0");
        wrong(&|_, base| base.chunks[0].size = 5, "neither it nor its base holds piece 0");
        wrong(&|_, base| *base = differential(), "only some of its pieces are in the base");
        let all = |own: &mut Index| {
            own.chunks = sample().chunks[..2].to_vec();
            own.entries[2].chunks = 0..2;
            own.entries[2].partial = Some(Box::new(Partial { held: vec![0, 1], digest: digest::of(b"y"), stored: CHUNK as u64 + 10 }));
        };
        wrong(&|own, _| all(own), "all of its pieces are not the whole");
        // One of which nothing has changed.
        let mut none = differential();
        (none.entries, none.chunks) = (Vec::new(), Vec::new());
        assert_eq!(read(json(&none).as_bytes()).unwrap(), none);
        assert_eq!(completed(none, sample()).unwrap().entries.len(), 7);
        let mut alone = differential();
        alone.head.base = None;
        assert!(read(json(&alone).as_bytes()).unwrap_err().contains("without a base"));
    }

    #[test]
    fn more_entries_than_there_can_be_headers_are_refused() {
        let mut index = sample();
        let file = index.entries[4].clone();
        for number in 0..3000 {
            let mut more = file.clone();
            more.node.path = format!("data/more-{number}").into();
            index.entries.push(more);
        }
        assert!(read(json(&index).as_bytes()).unwrap_err().contains("cannot come out of 9000 bytes"));
        index.entries.truncate(2000);
        assert!(read(json(&index).as_bytes()).is_ok());
    }

    #[test]
    fn what_no_system_could_make_is_refused() {
        let with = |change: &dyn Fn(&mut Index)| {
            let mut index = sample();
            change(&mut index);
            read(json(&index).as_bytes()).unwrap_err()
        };
        for target in [&b""[..], b"a\0b", b"\xff\0"] {
            let said = with(&|i| i.entries[6].node.kind = Kind::Symlink { target: OsString::from_vec(target.to_vec()) });
            assert!(said.contains("no system could make"), "{said}");
        }
        let twice = with(&|i| i.entries[2].node.meta.xattrs = vec![(b"user.\xff".to_vec(), Vec::new()); 2]);
        assert!(twice.contains("there twice"), "{twice}");
        let absurd = |i: &mut Index| {
            *i = differential();
            i.entries[2].node.kind = Kind::File { size: u64::MAX };
        };
        assert!(with(&absurd).contains("cannot be counted"));
    }

    #[test]
    fn json_that_is_no_index_is_refused() {
        for text in ["", "[]", "{}", "{\"version\":1,\"entries\":[]}", "{\"eco\":5}"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read_head(&b"{\"version\":1,\"entries\":[]}"[..]).unwrap().is_none());
    }
}
