//! The index: every entry with its metadata, where its content lies, and what it must hash to. JSON in eStargz's words; what
//! those cannot say is in an object `eco`, per entry and for the whole.

use crate::disk::MOST_HOLES;
use crate::record::Snapshot;
use crate::scope::check_plain;
use crate::time::Timestamp;
use crate::tree::{Digest, Hole, Identity, Kind, Meta, Mtime, Node};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of what stands under `eco`.
pub const FORMAT: u32 = 1;

/// The largest chunk that is read: other writers may cut larger pieces than ours, but not without limit.
const LARGEST_CHUNK: u64 = 64 << 20;

/// Deflate cannot shrink more than this, so a chunk that claims to is a lie.
const BEST_RATIO: u64 = 1032;

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
}

/// One piece of content: where its gzip member begins, how many bytes it holds, what they hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// In the archive file.
    pub offset: u64,
    /// Uncompressed.
    pub size: u32,
    /// Of the uncompressed bytes.
    pub digest: Digest,
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
    /// Where it had holes, in order. A hint for whoever writes it again; the content is in the pieces, zeros and all.
    pub holes: Vec<Hole>,
}

impl Entry {
    /// Bytes of content that are not in holes.
    pub fn solid_bytes(&self) -> u64 {
        self.node.kind.size().saturating_sub(self.holes.iter().map(|(_, length)| length).sum())
    }
}

/// Everything an archive holds, in the order in which it lies there.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// The snapshot.
    pub head: Head,
    /// Folders before what is in them. The first one is the ecosystem's root itself, with an empty path.
    pub entries: Vec<Entry>,
    /// All pieces, by offset.
    pub chunks: Vec<Chunk>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Toc<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modtime: Option<Timestamp>,
    #[serde(rename = "linkName", skip_serializing_if = "str::is_empty")]
    link_name: Cow<'a, str>,
    mode: u32,
    uid: u32,
    gid: u32,
    #[serde(rename = "userName", skip_serializing_if = "Option::is_none")]
    user_name: Option<Cow<'a, str>>,
    #[serde(rename = "groupName", skip_serializing_if = "Option::is_none")]
    group_name: Option<Cow<'a, str>>,
    #[serde(rename = "devMajor", skip_serializing_if = "is_zero32")]
    dev_major: u32,
    #[serde(rename = "devMinor", skip_serializing_if = "is_zero32")]
    dev_minor: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<Cow<'a, str>, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(rename = "chunkOffset", skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(rename = "chunkSize", skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(rename = "chunkDigest", skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eco: Option<Own>,
}

/// What eStargz has no word for.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Own {
    /// The path's bytes below the top folder, where `name` cannot say them.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_b64: Option<String>,
    /// `modtime` where it lies outside the years that RFC 3339 can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<(i64, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ino: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlite: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holes: Vec<Hole>,
    /// Attributes whose names are not UTF-8, names and values in base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs_b64: Vec<(String, String)>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_zero32(n: &u32) -> bool {
    *n == 0
}

fn sha256(digest: &Digest) -> String {
    format!("sha256:{digest}")
}

fn from_sha256(text: &str) -> Result<Digest, String> {
    text.strip_prefix("sha256:").and_then(Digest::from_hex).ok_or_else(|| format!("'{}' is not a sha256 digest", text.escape_debug()))
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

    /// Writes the JSON: the head before the entries, so that a listing reads the beginning only.
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(b"{\"version\":1,\"eco\":")?;
        serde_json::to_writer(&mut to, &self.head)?;
        to.write_all(b",\"entries\":[")?;
        let names = self.unique_names();
        let mut first = true;
        for entry in &self.entries {
            let (toc, chunks) = self.encode(entry, &names);
            for toc in std::iter::once(toc).chain(chunks) {
                if !std::mem::take(&mut first) {
                    to.write_all(b",")?;
                }
                serde_json::to_writer(&mut to, &toc)?;
            }
        }
        to.write_all(b"]}")
    }

    /// Readable names for paths that are not UTF-8; no two entries may share one.
    fn unique_names(&self) -> HashMap<&Path, String> {
        let strange: Vec<&Path> = self.entries.iter().map(|e| e.node.path.as_path()).filter(|path| path.to_str().is_none()).collect();
        if strange.is_empty() {
            return HashMap::new();
        }
        let mut taken: HashSet<String> = self.entries.iter().filter_map(|e| e.node.path.to_str()).map(str::to_owned).collect();
        let mut names = HashMap::new();
        for path in strange {
            let mut name = path.as_os_str().as_bytes().escape_ascii().to_string();
            while !taken.insert(name.clone()) {
                name.push('~');
            }
            names.insert(path, name);
        }
        names
    }

    fn encode<'a>(&'a self, entry: &'a Entry, names: &HashMap<&Path, String>) -> (Toc<'a>, Vec<Toc<'a>>) {
        let Node { path, kind, meta } = &entry.node;
        let full = |path: &Path, dir: bool| {
            let text = path.to_str().map(Cow::Borrowed).unwrap_or_else(|| Cow::Owned(names.get(path).cloned().unwrap_or_default()));
            format!("{}{}{text}{}", self.head.top, if text.is_empty() { "" } else { "/" }, if dir { "/" } else { "" })
        };
        let mut own = Own { ctime_ns: None, ..Own::default() };
        if let Some(identity) = &entry.identity {
            own.dev = Some(identity.dev);
            own.ino = Some(identity.ino);
            own.ctime_ns = Some(identity.ctime_ns);
        }
        own.path_b64 = path.to_str().is_none().then(|| BASE64_STANDARD.encode(path.as_os_str().as_bytes()));
        own.sqlite = entry.sqlite.as_ref().map(sha256);
        own.holes.clone_from(&entry.holes);
        let strange = meta.xattrs.iter().filter(|(name, _)| std::str::from_utf8(name).is_err());
        own.xattrs_b64 = strange.map(|(name, value)| (BASE64_STANDARD.encode(name), BASE64_STANDARD.encode(value))).collect();
        let modtime = Timestamp::new(meta.mtime.seconds, meta.mtime.nanos as i32).ok();
        own.mtime = modtime.is_none().then_some((meta.mtime.seconds, meta.mtime.nanos));
        let mut toc = Toc {
            name: full(path, *kind == Kind::Dir).into(),
            modtime,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            user_name: meta.user.as_deref().map(Cow::Borrowed),
            group_name: meta.group.as_deref().map(Cow::Borrowed),
            xattrs: meta.xattrs.iter().filter_map(|(k, v)| Some((std::str::from_utf8(k).ok()?.into(), BASE64_STANDARD.encode(v)))).collect(),
            digest: entry.digest.as_ref().map(sha256),
            ..Toc::default()
        };
        toc.kind = match kind {
            Kind::File { size } => {
                toc.size = *size;
                "reg"
            }
            Kind::Dir => "dir",
            Kind::Symlink { target } => {
                toc.link_name = target.to_str().map(Cow::Borrowed).unwrap_or_else(|| target.as_bytes().escape_ascii().to_string().into());
                own.link_b64 = target.to_str().is_none().then(|| BASE64_STANDARD.encode(target.as_bytes()));
                "symlink"
            }
            Kind::Hardlink { target } => {
                toc.link_name = full(target, false).into();
                own.link_b64 = target.to_str().is_none().then(|| BASE64_STANDARD.encode(target.as_os_str().as_bytes()));
                "hardlink"
            }
            Kind::Fifo => "fifo",
            Kind::Char { major, minor } | Kind::Block { major, minor } => {
                (toc.dev_major, toc.dev_minor) = (*major, *minor);
                if matches!(kind, Kind::Char { .. }) { "char" } else { "block" }
            }
            // The walk keeps sockets out of archives.
            Kind::Socket => "socket",
        }
        .into();
        toc.eco = Some(own);
        let mut chunks = Vec::new();
        let pieces = self.pieces(entry);
        let mut at = 0;
        for (number, piece) in pieces.iter().enumerate() {
            let (offset, chunk_size, chunk_digest) =
                (piece.offset, if pieces.len() > 1 { u64::from(piece.size) } else { 0 }, Some(sha256(&piece.digest)));
            if number == 0 {
                (toc.offset, toc.chunk_size, toc.chunk_digest) = (offset, chunk_size, chunk_digest);
            } else {
                chunks.push(Toc {
                    name: toc.name.clone(),
                    kind: "chunk".into(),
                    offset,
                    chunk_offset: at,
                    chunk_size,
                    chunk_digest,
                    ..Toc::default()
                });
            }
            at += u64::from(piece.size);
        }
        (toc, chunks)
    }

    /// Reads the JSON of an index at `offset` of its archive.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence: not JSON, not ours, out of bounds, or hostile.
    pub(super) fn read(from: impl io::Read, offset: u64) -> Result<Index, String> {
        let mut seen = Seen::default();
        let mut json = serde_json::Deserializer::from_reader(from);
        Whole { seen: &mut seen, head_only: false }.deserialize(&mut json).map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        let head = seen.head.ok_or("the index names no snapshot")?;
        let mut index = Index { head, entries: seen.entries, chunks: seen.chunks };
        index.check(offset)?;
        Ok(index)
    }

    /// Reads the head alone, as little of the JSON as that takes.
    ///
    /// # Errors
    /// As [`Index::read`]. `Ok(None)` for an index without one: another tool's eStargz.
    pub(super) fn read_head(from: impl io::Read) -> Result<Option<Head>, String> {
        let mut seen = Seen::default();
        let mut json = serde_json::Deserializer::from_reader(from);
        match (Whole { seen: &mut seen, head_only: true }).deserialize(&mut json) {
            Ok(()) => Ok(seen.head),
            Err(_) if seen.stopped => Ok(seen.head),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Nothing in an index is believed before this: names that cannot lead outside, parents that are folders, links that lead
    /// back, pieces that lie in order within the archive and add up to their file.
    fn check(&mut self, end: u64) -> Result<(), String> {
        if self.head.format != FORMAT {
            return Err(format!(
                "format {} was written by a newer version ({}); this one reads format {FORMAT}",
                self.head.format,
                self.head.written_by.escape_debug()
            ));
        }
        check_plain(Path::new(&self.head.top)).map_err(|why| format!("top folder: {why}"))?;
        let mut seen: HashMap<&Path, bool> = HashMap::with_capacity(self.entries.len());
        for entry in &self.entries {
            let path = entry.node.path.as_path();
            let name = || path.display().to_string().escape_debug().to_string();
            if path.as_os_str().is_empty() {
                if !seen.is_empty() || entry.node.kind != Kind::Dir {
                    return Err("a second top folder".into());
                }
            } else {
                check_plain(path)?;
                if seen.get(path.parent().unwrap_or(Path::new(""))) != Some(&true) {
                    return Err(format!("{}: its folder does not stand before it", name()));
                }
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
            let total: u64 = self.pieces(entry).iter().map(|piece| u64::from(piece.size)).sum();
            if total != entry.node.kind.size() {
                return Err(format!("{}: its pieces hold {total} bytes, its size is {}", name(), entry.node.kind.size()));
            }
            if matches!(entry.node.kind, Kind::File { .. }) && entry.digest.is_none() {
                return Err(format!("{}: no digest", name()));
            }
        }
        if self.entries.first().is_none_or(|first| !first.node.path.as_os_str().is_empty()) {
            return Err("no top folder".into());
        }
        let ends = self.chunks.iter().skip(1).map(|chunk| chunk.offset).chain([end]);
        for (chunk, next) in self.chunks.iter().zip(ends) {
            if chunk.offset >= next {
                return Err("pieces out of order".into());
            }
            if u64::from(chunk.size) > (next - chunk.offset).saturating_mul(BEST_RATIO) {
                return Err(format!("a piece of {} bytes cannot come out of {} compressed ones", chunk.size, next - chunk.offset));
            }
        }
        Ok(())
    }
}

/// What has been read so far.
#[derive(Default)]
struct Seen {
    head: Option<Head>,
    entries: Vec<Entry>,
    chunks: Vec<Chunk>,
    stopped: bool,
    names: HashMap<String, Arc<str>>,
}

impl Seen {
    fn share(&mut self, name: Option<Cow<str>>) -> Option<Arc<str>> {
        let name = name.filter(|name| !name.is_empty())?;
        Some(self.names.entry(name.into_owned()).or_insert_with_key(|name| name.as_str().into()).clone())
    }

    fn add(&mut self, toc: Toc) -> Result<(), String> {
        let name = toc.name.escape_debug().to_string();
        if toc.kind == "chunk" {
            let Some(last) = self.entries.last_mut() else { return Err("a piece before any file".into()) };
            let so_far: u64 = self.chunks[last.chunks.start as usize..].iter().map(|c| u64::from(c.size)).sum();
            if last.chunks.is_empty() || toc.chunk_offset != so_far {
                return Err(format!("{name}: a piece that does not continue its file"));
            }
            let rest = last.node.kind.size().saturating_sub(so_far);
            self.chunks.push(piece(&toc, rest).map_err(|why| format!("{name}: {why}"))?);
            last.chunks.end += 1;
            return Ok(());
        }
        let entry = self.entry(toc).map_err(|why| format!("{name}: {why}"))?;
        self.entries.push(entry);
        Ok(())
    }

    fn entry(&mut self, mut toc: Toc) -> Result<Entry, String> {
        let top = self.head.as_ref().map(|head| head.top.clone()).ok_or("an entry before the head")?;
        let decode = |b64: &str| BASE64_STANDARD.decode(b64).map(OsString::from_vec).map_err(|_| "bytes that are not base64".to_owned());
        let below = |name: &str| -> Result<PathBuf, String> {
            let rest = name.strip_prefix(top.as_str()).ok_or("outside the top folder")?;
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            match rest.strip_prefix('/') {
                Some(path) => Ok(path.into()),
                None if rest.is_empty() => Ok(PathBuf::new()),
                None => Err("outside the top folder".into()),
            }
        };
        let own = toc.eco.as_ref();
        let path = match own.and_then(|own| own.path_b64.as_deref()) {
            Some(b64) => decode(b64)?.into(),
            None => below(&toc.name)?,
        };
        let link = own.and_then(|own| own.link_b64.as_deref()).map(decode).transpose()?;
        let kind = match &*toc.kind {
            "reg" => Kind::File { size: toc.size },
            "dir" => Kind::Dir,
            "symlink" => Kind::Symlink { target: link.unwrap_or_else(|| toc.link_name.as_ref().into()) },
            "hardlink" => Kind::Hardlink { target: link.map_or_else(|| below(&toc.link_name), |l| Ok(l.into()))? },
            "fifo" => Kind::Fifo,
            "char" => Kind::Char { major: toc.dev_major, minor: toc.dev_minor },
            "block" => Kind::Block { major: toc.dev_major, minor: toc.dev_minor },
            other => return Err(format!("unknown type '{}'", other.escape_debug())),
        };
        let mtime = match (toc.modtime, own.and_then(|own| own.mtime)) {
            (_, Some((seconds, nanos))) if nanos < 1_000_000_000 => Mtime { seconds, nanos },
            (Some(time), None) => split(time),
            (None, None) => Mtime::default(),
            _ => return Err("an impossible time".into()),
        };
        let bytes = |b64: &str| BASE64_STANDARD.decode(b64).map_err(|_| "an attribute that is not base64");
        let mut xattrs = Vec::with_capacity(toc.xattrs.len());
        for (key, value) in &toc.xattrs {
            xattrs.push((key.as_bytes().to_vec(), bytes(value)?));
        }
        let strange = own.map(|own| own.xattrs_b64.as_slice()).unwrap_or_default();
        if !strange.is_empty() {
            for (name, value) in strange {
                xattrs.push((bytes(name)?, bytes(value)?));
            }
            xattrs.sort_unstable();
        }
        let start = u32::try_from(self.chunks.len()).map_err(|_| "more pieces than can be counted")?;
        let mut end = start;
        if let Kind::File { size } = kind
            && size > 0
        {
            self.chunks.push(piece(&toc, size)?);
            end += 1;
        }
        let identity = own.and_then(|own| Some(Identity { dev: own.dev?, ino: own.ino?, ctime_ns: own.ctime_ns? }));
        let sqlite = own.and_then(|own| own.sqlite.as_deref()).map(from_sha256).transpose()?;
        let digest = toc.digest.as_deref().map(from_sha256).transpose()?;
        let holes = toc.eco.as_mut().map(|own| std::mem::take(&mut own.holes)).unwrap_or_default();
        check_holes(&holes, kind.size())?;
        let (mode, uid, gid) = (toc.mode & 0o7777, toc.uid, toc.gid);
        let (user, group) = (self.share(toc.user_name), self.share(toc.group_name));
        Ok(Entry {
            node: Node { path, kind, meta: Meta { mode, uid, gid, user, group, mtime, xattrs } },
            digest,
            chunks: start..end,
            identity,
            sqlite,
            holes,
        })
    }
}

/// Holes stand in order, apart from each other and within their file.
fn check_holes(holes: &[Hole], size: u64) -> Result<(), String> {
    let mut end = 0;
    for (offset, length) in holes {
        if *offset < end || *length == 0 || length.checked_add(*offset).is_none_or(|end| end > size) {
            return Err(format!("a hole of {length} bytes at {offset}, which cannot be in a file of {size}"));
        }
        end = offset + length;
    }
    if holes.len() > MOST_HOLES { Err(format!("{} holes", holes.len())) } else { Ok(()) }
}

/// The piece that an index entry describes; `rest` is what its file still lacks.
fn piece(toc: &Toc, rest: u64) -> Result<Chunk, String> {
    let size = if toc.chunk_size == 0 { rest } else { toc.chunk_size };
    if size == 0 || size > rest || size > LARGEST_CHUNK {
        return Err(format!("a piece of {size} bytes where at most {} fit", rest.min(LARGEST_CHUNK)));
    }
    let digest = toc.chunk_digest.as_deref().ok_or("a piece without digest")?;
    Ok(Chunk { offset: toc.offset, size: size as u32, digest: from_sha256(digest)? })
}

fn split(time: Timestamp) -> Mtime {
    // jiff's fraction has the sign of the whole; ours always counts forward.
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 { Mtime { seconds: seconds - 1, nanos: (nanos + 1_000_000_000) as u32 } } else { Mtime { seconds, nanos: nanos as u32 } }
}

/// Reads the whole object, entry by entry, without holding the text.
struct Whole<'a> {
    seen: &'a mut Seen,
    head_only: bool,
}

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an eStargz index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => drop(map.next_value::<u32>()?),
                "eco" => self.seen.head = Some(map.next_value()?),
                "entries" if self.head_only => {
                    self.seen.stopped = true;
                    return Err(A::Error::custom("read far enough"));
                }
                "entries" => map.next_value_seed(Entries(self.seen))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Entries<'a>(&'a mut Seen);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of an index")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(toc) = seq.next_element::<Toc>()? {
            self.0.add(toc).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::CHUNK;
    use super::*;
    use crate::digest;

    #[test]
    fn holes_are_believed_only_within_their_file_and_in_order() {
        let with = |holes: &[Hole]| {
            let mut index = sample();
            index.entries[2].holes = holes.to_vec();
            Index::read(json(&index).as_bytes(), 9000).map(|read| assert_eq!(read, index))
        };
        let size = CHUNK as u64 + 10;
        with(&[(0, 4096), (8192, size - 8192)]).unwrap();
        with(&[(0, size)]).unwrap();
        for wrong in [&[(0, size + 1)][..], &[(4096, 0)], &[(u64::MAX, 2)], &[(4096, 4096), (0, 4096)], &[(0, 4096), (4095, 2)]] {
            assert!(with(wrong).unwrap_err().contains("a hole of"), "{wrong:?}");
        }
    }

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
                holes: Vec::new(),
            }
        };
        let chunk = |offset, size| Chunk { offset, size, digest: digest::of(b"x") };
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
            chunks: vec![chunk(2000, CHUNK as u32), chunk(5000, 10), chunk(6000, 3)],
        }
    }

    fn json(index: &Index) -> String {
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_index_reads_back_as_it_is_written() {
        let index = sample();
        assert_eq!(Index::read(json(&index).as_bytes(), 9000).unwrap(), index);
        assert_eq!(Index::read_head(json(&index).as_bytes()).unwrap().unwrap(), index.head);
    }

    #[test]
    fn attributes_keep_their_names_whatever_bytes_they_are() {
        let mut index = sample();
        index.entries[2].node.meta.xattrs =
            [&b"user.a"[..], b"user.\xc3\xa9", b"user.\xfe", b"user.\xff"].map(|name| (name.to_vec(), b"\0\xff".to_vec())).to_vec();
        let text = json(&index);
        assert_eq!(Index::read(text.as_bytes(), 9000).unwrap(), index);
        assert!(Index::read(text.replace("dXNlci7/", "?").as_bytes(), 9000).unwrap_err().contains("not base64"));
    }

    #[test]
    fn the_head_needs_only_the_beginning() {
        let text = json(&sample());
        let cut = text.find("\"entries\"").unwrap() + 20;
        assert!(Index::read_head(&text.as_bytes()[..cut]).unwrap().is_some());
        assert!(Index::read(&text.as_bytes()[..cut], 9000).is_err());
    }

    #[test]
    fn what_does_not_add_up_is_refused_with_a_sentence() {
        let wrong = |change: &dyn Fn(&mut Index), why: &str| {
            let mut index = sample();
            change(&mut index);
            let said = Index::read(json(&index).as_bytes(), 9000).unwrap_err();
            assert!(said.contains(why), "{said} does not say: {why}");
        };
        wrong(&|i| i.entries[2].node.path = "data/../../etc/passwd".into(), "cannot be a path");
        wrong(&|i| i.entries[2].node.path = "nowhere/big".into(), "its folder does not stand before it");
        wrong(&|i| i.entries[4].node.path = "data/big".into(), "two entries of one name");
        wrong(&|i| i.entries[5].node.kind = Kind::Hardlink { target: "data/later".into() }, "does not stand before it");
        wrong(&|i| i.entries[5].node.kind = Kind::Hardlink { target: "data".into() }, "does not stand before it");
        wrong(&|i| i.chunks[1].offset = 1000, "out of order");
        wrong(&|i| i.chunks[2].offset = 9000, "out of order");
        wrong(&|i| i.chunks[0].size = 5, "its pieces hold 15 bytes");
        wrong(&|i| i.entries[3].node.kind = Kind::File { size: 4 << 30 }, "a piece of");
        wrong(&|i| i.head.format = 2, "newer version");
        wrong(&|i| i.entries[2].digest = None, "no digest");
        wrong(&|i| drop(i.entries.remove(0)), "its folder does not stand before it");
        wrong(&|i| i.head.top = "..".into(), "top folder");
    }

    #[test]
    fn json_that_is_no_index_is_refused() {
        for text in ["", "[]", "{}", "{\"version\":1,\"entries\":[]}", "{\"eco\":5}"] {
            assert!(Index::read(text.as_bytes(), 100).is_err(), "{text}");
        }
        assert!(Index::read_head(&b"{\"version\":1,\"entries\":[]}"[..]).unwrap().is_none());
    }
}
