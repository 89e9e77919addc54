//! The index as JSON: entries in eStargz's words, and what those cannot say in an object `eco`. It is written and read entry by
//! entry, so that neither side has to hold more of it than it wants to.

use super::index::{Chunk, Entry, FORMAT, Head, Listed, Partial};
use crate::disk::MOST_HOLES;
use crate::record::RecordPath;
use crate::scope::check_plain;
use crate::time::Timestamp;
use crate::tree::{Digest, Hole, Identity, Kind, Meta, Mtime, Node};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::de::{DeserializeOwned, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest chunk that is read: other writers may cut larger pieces than ours, but not without limit.
const LARGEST_CHUNK: u64 = 64 << 20;

/// Deflate cannot shrink more than this, so a chunk that claims to is a lie.
const BEST_RATIO: u64 = 1032;

/// No header shrinks to less, since each has a name and a checksum of its own: those of sixty thousand names of one file take 17 bytes
/// each. What is not there is not held in memory either.
const SHORTEST_HEADER: u64 = 4;

/// So many entries harm nobody, wherever they are said to be.
const HARMLESS_ENTRIES: u64 = if cfg!(test) { 1000 } else { 100_000 };

/// The longest head, which may name many files that are gone.
pub(super) const LONGEST_HEAD: usize = if cfg!(test) { 64 << 10 } else { 64 << 20 };

/// The longest entry: a hundred thousand holes are three million bytes.
const LONGEST_ENTRY: usize = 16 << 20;

/// Pieces of files that are not stored whole lie in this folder of the archive. No captured path can be in it, and somebody who
/// unpacks a differential archive over a full one gets no half file under the name of a whole one.
const PIECES: &str = ".eco/pieces/";

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Toc<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modtime: Option<Timestamp>,
    #[serde(borrow, rename = "linkName", skip_serializing_if = "str::is_empty")]
    link_name: Cow<'a, str>,
    mode: u32,
    uid: u32,
    gid: u32,
    #[serde(borrow, rename = "userName", skip_serializing_if = "str::is_empty")]
    user_name: Cow<'a, str>,
    #[serde(borrow, rename = "groupName", skip_serializing_if = "str::is_empty")]
    group_name: Cow<'a, str>,
    #[serde(rename = "devMajor", skip_serializing_if = "is_zero32")]
    dev_major: u32,
    #[serde(rename = "devMinor", skip_serializing_if = "is_zero32")]
    dev_minor: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<Cow<'a, str>, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Sha256>,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(rename = "chunkOffset", skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(rename = "chunkSize", skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(rename = "chunkDigest", skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Sha256>,
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
    sqlite: Option<Sha256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<OwnPartial>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_as: Option<RecordPath>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holes: Vec<Hole>,
    /// Attributes whose names are not UTF-8, names and values in base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs_b64: Vec<(String, String)>,
}

/// A file of which only some pieces are stored: the whole one.
#[derive(Serialize, Deserialize)]
struct OwnPartial {
    size: u64,
    digest: Sha256,
    held: Vec<u32>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_zero32(n: &u32) -> bool {
    *n == 0
}

/// `sha256:` and the digest in hex.
struct Sha256(Digest);

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"sha256:0000000000000000000000000000000000000000000000000000000000000000";
        for (byte, digits) in self.0.0.iter().zip(text[7..].chunks_exact_mut(2)) {
            (digits[0], digits[1]) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        }
        to.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Sha256, D::Error> {
        struct Hex;
        impl Visitor<'_> for Hex {
            type Value = Sha256;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("sha256: and 64 digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Sha256, E> {
                let digest = text.strip_prefix("sha256:").and_then(Digest::from_hex);
                digest.map(Sha256).ok_or_else(|| E::custom(format!("'{}' is not a sha256 digest", text.escape_debug())))
            }
        }
        from.deserialize_str(Hex)
    }
}

/// What stands before the entries: the head first, so that a listing reads the beginning only.
pub(super) fn beginning(head: &Head) -> Vec<u8> {
    let mut json = b"{\"version\":1,\"eco\":".to_vec();
    // Strings and numbers only, into memory: this cannot fail.
    serde_json::to_writer(&mut json, head).expect("a head serializes");
    json.extend_from_slice(b",\"entries\":[");
    json
}

/// What stands after the entries.
pub(super) const END: &[u8] = b"]}";

/// The name of an entry's content in the archive, below the top folder.
pub(super) fn stored_path(entry: &Entry) -> Cow<'_, Path> {
    match entry.partial {
        None => Cow::Borrowed(&entry.node.path),
        Some(_) => Cow::Owned(Path::new(PIECES).join(&entry.node.path)),
    }
}

/// Writes one entry and its pieces. All but the `first` of an index begin with a comma.
pub(super) fn write(entry: &Entry, pieces: &[Chunk], top: &str, first: bool, mut to: impl Write) -> io::Result<()> {
    let (toc, further) = encode(entry, pieces, top);
    for (number, toc) in std::iter::once(toc).chain(further).enumerate() {
        if !first || number > 0 {
            to.write_all(b",")?;
        }
        serde_json::to_writer(&mut to, &toc)?;
    }
    Ok(())
}

/// A readable name for a path. No two entries may share one, so a part of it that stands for other bytes ends with their digest.
fn readable(path: &Path) -> Cow<'_, str> {
    if let Some(text) = path.to_str() {
        return Cow::Borrowed(text);
    }
    let part = |part: &OsStr| match part.to_str() {
        Some(text) => text.to_owned(),
        None => format!("{}~{}", part.as_bytes().escape_ascii(), &crate::digest::of(part.as_bytes()).to_string()[..16]),
    };
    Cow::Owned(path.iter().map(part).collect::<Vec<_>>().join("/"))
}

fn encode<'a>(entry: &'a Entry, pieces: &[Chunk], top: &str) -> (Toc<'a>, Vec<Toc<'a>>) {
    let Node { path, kind, meta } = &entry.node;
    let full = |path: &Path, dir: bool| {
        let text = readable(path);
        format!("{top}{}{text}{}", if text.is_empty() { "" } else { "/" }, if dir { "/" } else { "" })
    };
    let mut own = Own::default();
    if let Some(identity) = &entry.identity {
        (own.dev, own.ino, own.ctime_ns) = (Some(identity.dev), Some(identity.ino), Some(identity.ctime_ns));
    }
    own.path_b64 = path.to_str().is_none().then(|| BASE64_STANDARD.encode(path.as_os_str().as_bytes()));
    own.sqlite = entry.sqlite.map(Sha256);
    own.holes.clone_from(&entry.holes);
    own.same_as = entry.same_as.as_ref().map(RecordPath::new);
    let strange = meta.xattrs.iter().filter(|(name, _)| std::str::from_utf8(name).is_err());
    own.xattrs_b64 = strange.map(|(name, value)| (BASE64_STANDARD.encode(name), BASE64_STANDARD.encode(value))).collect();
    let modtime = Timestamp::new(meta.mtime.seconds, meta.mtime.nanos as i32).ok();
    own.mtime = modtime.is_none().then_some((meta.mtime.seconds, meta.mtime.nanos));
    let mut toc = Toc {
        name: full(&stored_path(entry), *kind == Kind::Dir).into(),
        modtime,
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        user_name: meta.user.as_deref().unwrap_or_default().into(),
        group_name: meta.group.as_deref().unwrap_or_default().into(),
        xattrs: meta.xattrs.iter().filter_map(|(k, v)| Some((std::str::from_utf8(k).ok()?.into(), BASE64_STANDARD.encode(v)))).collect(),
        digest: entry.digest.map(Sha256),
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
    if let Some(Partial { held, digest, .. }) = entry.partial.as_deref() {
        // Others see a file that is as long as what is stored of it.
        own.partial = entry.digest.map(|whole| OwnPartial { size: kind.size(), digest: Sha256(whole), held: held.clone() });
        toc.size = pieces.iter().map(|piece| u64::from(piece.size)).sum();
        toc.digest = Some(Sha256(*digest));
    }
    toc.eco = Some(own);
    let mut further = Vec::new();
    let mut at = 0;
    for (number, piece) in pieces.iter().enumerate() {
        let (offset, chunk_size, chunk_digest) = (piece.offset, if pieces.len() > 1 { u64::from(piece.size) } else { 0 }, Some(Sha256(piece.digest)));
        if number == 0 {
            (toc.offset, toc.chunk_size, toc.chunk_digest) = (offset, chunk_size, chunk_digest);
        } else {
            further.push(Toc { name: toc.name.clone(), kind: "chunk".into(), offset, chunk_offset: at, chunk_size, chunk_digest, ..Toc::default() });
        }
        at += u64::from(piece.size);
    }
    (toc, further)
}

/// Reads an index entry by entry. What one entry can prove of itself is checked; how entries stand to each other is left to
/// [`super::Index`].
pub(super) struct Reader<R> {
    json: Json<R>,
    head: Option<Head>,
    /// Where the index begins in the archive: every piece lies before it.
    end: u64,
    /// Entries so far.
    count: u64,
    /// Read ahead: where a piece ends is known when the next one begins.
    ready: VecDeque<Listed>,
    /// How many of `ready` are complete.
    complete: usize,
    over: bool,
    names: HashMap<String, Arc<str>>,
}

impl<R: Read> Reader<R> {
    /// Reads up to the entries, of an index that begins at `end` of its archive.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence: not JSON, or of a newer version.
    pub(super) fn new(from: R, end: u64) -> Result<Reader<R>, String> {
        let mut json = Json { from, buffer: Vec::new(), at: 0, ended: false };
        let mut head: Option<Head> = None;
        json.expect(b'{')?;
        let mut over = json.skip(b'}')?;
        while !over {
            let key: String = json.value()?;
            json.expect(b':')?;
            match key.as_str() {
                "entries" => break,
                "eco" => head = Some(json.value()?),
                _ => json.ignore()?,
            }
            over = !json.skip(b',')?;
        }
        if over {
            json.expect(b'}')?;
        } else {
            json.expect(b'[')?;
        }
        if let Some(head) = &head {
            if head.format != FORMAT {
                return Err(format!(
                    "format {} was written by a newer version ({}); this one reads format {FORMAT}",
                    head.format,
                    head.written_by.escape_debug()
                ));
            }
            check_plain(Path::new(&head.top)).map_err(|why| format!("top folder: {why}"))?;
        }
        if !over && json.skip(b']')? {
            json.close()?;
            over = true;
        }
        Ok(Reader { json, head, end, count: 0, ready: VecDeque::new(), complete: 0, over, names: HashMap::new() })
    }

    /// The snapshot; `None` in an index that another tool wrote.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The next entry with its pieces; `None` after the last one, when all of the JSON has been read.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub(super) fn next(&mut self) -> Result<Option<Listed>, String> {
        while self.complete == 0 {
            if self.over {
                self.finish_piece(self.end)?;
                self.complete = self.ready.len();
                if self.ready.is_empty() {
                    return if self.json.peek()?.is_none() { Ok(None) } else { Err("something follows its JSON".into()) };
                }
                break;
            }
            self.read_entry()?;
        }
        self.complete -= 1;
        Ok(self.ready.pop_front())
    }

    /// The stream that the JSON came from, now at its end.
    pub(super) fn into_inner(self) -> R {
        self.json.from
    }

    /// The last piece that was read ends where the next one begins.
    fn finish_piece(&mut self, next: u64) -> Result<(), String> {
        let Some(piece) = self.ready.iter_mut().rev().find_map(|listed| listed.pieces.last_mut()) else { return Ok(()) };
        if piece.end != 0 {
            return Ok(());
        }
        if piece.offset >= next {
            return Err("pieces out of order".into());
        }
        let packed = next - piece.offset;
        if u64::from(piece.size) > packed.saturating_mul(BEST_RATIO) {
            return Err(format!("a piece of {} bytes cannot come out of {packed} compressed ones", piece.size));
        }
        piece.end = next;
        Ok(())
    }

    /// Reads one entry with its further pieces.
    fn read_entry(&mut self) -> Result<(), String> {
        self.count += 1;
        if self.count > HARMLESS_ENTRIES && self.count > self.end / SHORTEST_HEADER {
            return Err(format!("the headers of {} entries cannot come out of {} bytes", self.count, self.end));
        }
        let head = self.head.as_ref().ok_or("the index names no snapshot")?;
        let names = &mut self.names;
        let mut listed = self.json.toc(|toc| {
            let name = || toc.name.escape_debug().to_string();
            if toc.kind == "chunk" {
                return Err(format!("{}: a piece that does not continue its file", name()));
            }
            entry(toc, &head.top, names).map_err(|why| format!("{}: {why}", name()))
        })?;
        if let Some(first) = listed.pieces.first().map(|piece| piece.offset) {
            self.finish_piece(first)?;
            self.complete = self.ready.len();
        }
        let path = || listed.entry.node.path.display().to_string().escape_debug().to_string();
        let stored = listed.entry.stored();
        let mut so_far: u64 = listed.pieces.iter().map(|piece| u64::from(piece.size)).sum();
        loop {
            if !self.json.skip(b',')? {
                self.json.expect(b']')?;
                self.json.close()?;
                self.over = true;
                break;
            }
            if so_far >= stored {
                break;
            }
            let before = listed.pieces.last().map(|piece| piece.offset);
            let piece = self.json.toc(|toc| {
                if toc.kind != "chunk" || toc.chunk_offset != so_far {
                    return Err("a piece that does not continue its file".to_owned());
                }
                piece(toc, stored - so_far)
            });
            let piece = piece.map_err(|why| format!("{}: {why}", path()))?;
            if let (Some(before), Some(last)) = (before, listed.pieces.last_mut()) {
                last.end = piece.offset;
                if before >= piece.offset {
                    return Err("pieces out of order".into());
                }
                if u64::from(last.size) > (piece.offset - before).saturating_mul(BEST_RATIO) {
                    return Err(format!("a piece of {} bytes cannot come out of {} compressed ones", last.size, piece.offset - before));
                }
            }
            so_far += u64::from(piece.size);
            listed.pieces.push(piece);
        }
        if so_far != stored {
            return Err(format!("{}: its pieces hold {so_far} bytes, its size is {stored}", path()));
        }
        listed.entry.check_partial(&listed.pieces).map_err(|why| format!("{}: {why}", path()))?;
        self.ready.push_back(listed);
        Ok(())
    }
}

/// The entry that an object describes, with its first piece.
fn entry(toc: &Toc<'_>, top: &str, names: &mut HashMap<String, Arc<str>>) -> Result<Listed, String> {
    let decode = |b64: &str| BASE64_STANDARD.decode(b64).map(OsString::from_vec).map_err(|_| "bytes that are not base64".to_owned());
    let below = |name: &str| -> Result<PathBuf, String> {
        let rest = name.strip_prefix(top).ok_or("outside the top folder")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        match rest.strip_prefix('/') {
            Some(path) => Ok(path.into()),
            None if rest.is_empty() => Ok(PathBuf::new()),
            None => Err("outside the top folder".into()),
        }
    };
    let own = toc.eco.as_ref();
    let partial = own.and_then(|own| own.partial.as_ref());
    let path: PathBuf = match own.and_then(|own| own.path_b64.as_deref()) {
        Some(b64) => decode(b64)?.into(),
        None => {
            let path = below(&toc.name)?;
            match partial {
                Some(_) => path.strip_prefix(PIECES).map_err(|_| "pieces of a file outside their folder")?.to_owned(),
                None => path,
            }
        }
    };
    if !path.as_os_str().is_empty() {
        check_plain(&path)?;
    }
    let link = own.and_then(|own| own.link_b64.as_deref()).map(decode).transpose()?;
    let kind = match &*toc.kind {
        "reg" => Kind::File { size: partial.map_or(toc.size, |partial| partial.size) },
        "dir" => Kind::Dir,
        "symlink" => {
            let target = link.unwrap_or_else(|| toc.link_name.as_ref().into());
            if target.is_empty() || target.as_bytes().contains(&0) {
                return Err("a link that no system could make".into());
            }
            Kind::Symlink { target }
        }
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
        if xattrs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("an attribute that is there twice".into());
        }
    }
    let holes = own.map(|own| own.holes.clone()).unwrap_or_default();
    check_holes(&holes, kind.size())?;
    let is_file = matches!(kind, Kind::File { .. });
    let mut pieces = Vec::new();
    if is_file && toc.size > 0 {
        pieces.push(piece(toc, toc.size)?);
    }
    let identity = own.and_then(|own| Some(Identity { dev: own.dev?, ino: own.ino?, ctime_ns: own.ctime_ns? }));
    let sqlite = own.and_then(|own| own.sqlite.as_ref()).map(|sum| sum.0);
    let digest = toc.digest.as_ref().map(|sum| sum.0);
    if is_file && digest.is_none() {
        return Err("no digest".into());
    }
    let same_as = own.and_then(|own| own.same_as.as_ref()).map(RecordPath::to_path);
    if let Some(other) = &same_as {
        check_plain(other)?;
        if !is_file || partial.is_some() {
            return Err("another name of a file that is no whole file".into());
        }
    }
    let (digest, partial) = match (partial, digest) {
        (Some(_), _) if !is_file => return Err("pieces of something that is no file".into()),
        (Some(own), Some(digest)) => (Some(own.digest.0), Some(Box::new(Partial { held: own.held.clone(), digest, stored: toc.size }))),
        (_, digest) => (digest.filter(|_| is_file), None),
    };
    let mut share = |name: &str| {
        if name.is_empty() {
            return None;
        }
        if !names.contains_key(name) {
            names.insert(name.to_owned(), name.into());
        }
        names.get(name).cloned()
    };
    let meta =
        Meta { mode: toc.mode & 0o7777, uid: toc.uid, gid: toc.gid, user: share(&toc.user_name), group: share(&toc.group_name), mtime, xattrs };
    Ok(Listed { entry: Entry { node: Node { path, kind, meta }, digest, chunks: 0..0, identity, sqlite, partial, same_as, holes }, pieces })
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

/// The piece that an object describes; `rest` is what its file still lacks.
fn piece(toc: &Toc<'_>, rest: u64) -> Result<Chunk, String> {
    let size = if toc.chunk_size == 0 { rest } else { toc.chunk_size };
    if size == 0 || size > rest || size > LARGEST_CHUNK {
        return Err(format!("a piece of {size} bytes where at most {} fit", rest.min(LARGEST_CHUNK)));
    }
    let digest = toc.chunk_digest.as_ref().ok_or("a piece without digest")?.0;
    Ok(Chunk { offset: toc.offset, end: 0, size: size as u32, digest, from_base: false })
}

fn split(time: Timestamp) -> Mtime {
    // jiff's fraction has the sign of the whole; ours always counts forward.
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 { Mtime { seconds: seconds - 1, nanos: (nanos + 1_000_000_000) as u32 } } else { Mtime { seconds, nanos: nanos as u32 } }
}

/// JSON that is read value by value through a window, at the speed of a slice and in the memory of a stream.
struct Json<R> {
    from: R,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> Json<R> {
    /// Brings more into the window; false at the end.
    fn more(&mut self, longest: usize) -> Result<bool, String> {
        const WINDOW: usize = 256 << 10;
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let had = self.buffer.len();
        if had > longest {
            return Err(format!("a value of more than {} MiB", longest >> 20));
        }
        let want = WINDOW.max(had);
        (&mut self.from).take(want as u64).read_to_end(&mut self.buffer).map_err(|e| e.to_string())?;
        self.ended = self.buffer.len() - had < want;
        Ok(self.buffer.len() > had)
    }

    /// The next byte that is no blank, which stays.
    fn peek(&mut self) -> Result<Option<u8>, String> {
        loop {
            while let Some(byte) = self.buffer.get(self.at) {
                if !byte.is_ascii_whitespace() {
                    return Ok(Some(*byte));
                }
                self.at += 1;
            }
            if !self.more(0)? {
                return Ok(None);
            }
        }
    }

    /// Takes this byte if it is next.
    fn skip(&mut self, byte: u8) -> Result<bool, String> {
        let is_next = self.peek()? == Some(byte);
        self.at += usize::from(is_next);
        Ok(is_next)
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.skip(byte)? { Ok(()) } else { Err(format!("'{}' is missing in its JSON", byte as char)) }
    }

    /// Passes over what follows the entries, up to the end of the whole.
    fn close(&mut self) -> Result<(), String> {
        while self.skip(b',')? {
            let _: String = self.value()?;
            self.expect(b':')?;
            self.ignore()?;
        }
        self.expect(b'}')
    }

    /// The next object of an entry, handed to `take` while it still lies in the window.
    fn toc<T>(&mut self, take: impl FnOnce(&Toc<'_>) -> Result<T, String>) -> Result<T, String> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer[self.at..]).into_iter::<Toc<'_>>();
            match values.next() {
                Some(Ok(toc)) => {
                    self.at += values.byte_offset();
                    return take(&toc);
                }
                Some(Err(e)) if !e.is_eof() => return Err(e.to_string()),
                _ => {}
            }
            if !self.more(LONGEST_ENTRY)? {
                return Err("its JSON is cut off".into());
            }
        }
    }

    fn value<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer[self.at..]).into_iter::<T>();
            match values.next() {
                Some(Ok(value)) => {
                    self.at += values.byte_offset();
                    return Ok(value);
                }
                Some(Err(e)) if !e.is_eof() => return Err(e.to_string()),
                _ => {}
            }
            if !self.more(LONGEST_HEAD)? {
                return Err("its JSON is cut off".into());
            }
        }
    }

    /// Passes over a value.
    fn ignore(&mut self) -> Result<(), String> {
        if let Some(b'{' | b'[' | b'"') = self.peek()? {
            return self.value().map(|IgnoredAny| ());
        }
        // Numbers and words end where something else begins.
        while let Some(byte) = self.peek()? {
            if matches!(byte, b',' | b'}' | b']') {
                break;
            }
            self.at += 1;
        }
        Ok(())
    }
}
