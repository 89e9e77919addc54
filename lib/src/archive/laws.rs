//! What holds of every index, shown with thousands that nobody thought of.

use super::CHUNK;
use super::fuzz_entry::{read_index, sound, written};
use super::index::{Base, Chunk, Entry, FORMAT, Head, Index, Partial};
use crate::record::RecordPath;
use crate::tree::{Digest, Hole, Identity, Kind, Meta, Mtime, Node, Xattr};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index as Choice;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Where the index stands in its archive.
const END: u64 = 1 << 40;

/// More than this for each byte of an index is wild. The smallest entry that there can be is 27 bytes of JSON.
const MOST_MEMORY: u64 = 64;

/// An entry before it has its place in a tree.
#[derive(Clone, Debug)]
struct Draft {
    folder: Choice,
    name: Vec<u8>,
    kind: DraftKind,
    meta: Meta,
    identity: Option<Identity>,
    digest: [u8; 32],
    sqlite: Option<[u8; 32]>,
}

#[derive(Clone, Debug)]
enum DraftKind {
    Dir,
    /// Sizes of the pieces, and how much room there is between one and the next.
    File(Vec<(u32, u32)>, Vec<(u16, u16)>),
    /// How many pieces the whole file has, which are held, how long the last one is.
    Partial(u32, Vec<Choice>, u32),
    Symlink(Vec<u8>),
    Hardlink(Choice),
    Fifo,
    Device(u32, u32, bool),
}

fn bytes(forbidden: &'static [u8], length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let any_byte = prop_oneof![3 => any::<u8>(), 2 => proptest::char::range('a', 'z').prop_map(|c| c as u8), 1 => Just(b'\\'), 1 => Just(b'"')];
    let strange = vec(any_byte, length.clone()).prop_map(move |name| name.into_iter().filter(|byte| !forbidden.contains(byte)).collect());
    let text = "\\PC{1,12}".prop_map(move |name: String| name.into_bytes().into_iter().filter(|byte| !forbidden.contains(byte)).collect());
    prop_oneof![strange, text]
}

fn meta() -> impl Strategy<Value = Meta> {
    let owner = || proptest::option::of("\\PC{1,8}");
    let xattrs = vec((bytes(b"\0", 1..12), bytes(b"", 0..12)), 0..4);
    let mtime = (prop_oneof![any::<i64>(), -5_000_000_000..5_000_000_000_i64, Just(0)], 0..1_000_000_000_u32);
    let numbers = (0..=0o7777_u32, any::<u32>(), any::<u32>());
    (numbers, owner(), owner(), mtime, xattrs).prop_map(|((mode, uid, gid), user, group, (seconds, nanos), xattrs)| {
        let xattrs: BTreeMap<Vec<u8>, Vec<u8>> = xattrs.into_iter().collect();
        let xattrs: Vec<Xattr> = xattrs.into_iter().collect();
        Meta { mode, uid, gid, user: user.map(Into::into), group: group.map(Into::into), mtime: Mtime { seconds, nanos }, xattrs }
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    let piece = (prop_oneof![1..2000_u32, Just(CHUNK as u32), 1..=64_u32 << 20], 0..3000_u32);
    let kind = prop_oneof![
        3 => Just(DraftKind::Dir),
        4 => (vec(piece, 0..6), vec((any::<u16>(), any::<u16>()), 0..3)).prop_map(|(pieces, holes)| DraftKind::File(pieces, holes)),
        1 => (1..50_u32, vec(any::<Choice>(), 0..8), 1..=CHUNK as u32).prop_map(|(count, held, last)| DraftKind::Partial(count, held, last)),
        2 => bytes(b"\0", 1..20).prop_map(DraftKind::Symlink),
        2 => any::<Choice>().prop_map(DraftKind::Hardlink),
        1 => Just(DraftKind::Fifo),
        1 => (any::<u32>(), any::<u32>(), any::<bool>()).prop_map(|(major, minor, is_char)| DraftKind::Device(major, minor, is_char)),
    ];
    let identity = (any::<u64>(), any::<u64>(), any::<i64>()).prop_map(|(dev, ino, ctime_ns)| Identity { dev, ino, ctime_ns });
    let known = (proptest::option::of(identity), any::<[u8; 32]>(), proptest::option::of(any::<[u8; 32]>()));
    (any::<Choice>(), bytes(b"\0/", 1..24), kind, meta(), known).prop_map(|(folder, name, kind, meta, (identity, digest, sqlite))| Draft {
        folder,
        name,
        kind,
        meta,
        identity,
        digest,
        sqlite,
    })
}

/// Puts the drafts into a tree; those of which nothing can be made are left out. Files of which only some pieces are held need a
/// `differential` index.
fn assembled(top: Draft, drafts: Vec<Draft>, differential: bool, gone: Vec<Vec<u8>>) -> Index {
    let mut head = Head { format: FORMAT, top: "shop-x".into(), ecosystem: "shop".into(), ..Head::default() };
    if differential {
        head.base = Some(Base { id: "b".into(), file: "b.tar.gz".into(), sha256_toc: "0".repeat(64) });
        head.gone = gone.into_iter().map(|path| RecordPath::new(OsStr::from_bytes(&path))).collect();
    }
    let mut index = Index { head, entries: Vec::new(), chunks: Vec::new() };
    let (mut folders, mut others) = (vec![PathBuf::new()], Vec::<PathBuf>::new());
    let mut seen = HashSet::new();
    let mut offset = 0;
    for (number, draft) in std::iter::once(top).chain(drafts).enumerate() {
        let name = OsString::from_vec(draft.name);
        let is_top = number == 0;
        let path = if is_top { PathBuf::new() } else { draft.folder.get(&folders).join(&name) };
        let unfit = name.is_empty() || name == "." || name == "..";
        if !is_top && unfit || !seen.insert(path.clone()) {
            continue;
        }
        let digest = Digest(draft.digest);
        let start = index.chunks.len() as u32;
        let (mut holes, mut partial, mut pieces) = (Vec::<Hole>::new(), None, Vec::new());
        let kind = match draft.kind {
            _ if is_top => Kind::Dir,
            DraftKind::Dir => Kind::Dir,
            DraftKind::File(sizes, gaps) => {
                let size = sizes.iter().map(|(size, _)| u64::from(*size)).sum();
                let mut at = 0;
                for (solid, hole) in gaps {
                    let hole = (at + u64::from(solid), u64::from(hole) + 1);
                    at = hole.0 + hole.1;
                    holes.extend(Some(hole).filter(|_| at <= size));
                }
                pieces = sizes;
                Kind::File { size }
            }
            DraftKind::Partial(count, held, last) if differential => {
                let mut held: Vec<u32> = held.iter().map(|choice| choice.index(count as usize) as u32).collect();
                held.sort_unstable();
                held.dedup();
                pieces = held.iter().map(|number| (if number + 1 == count { last } else { CHUNK as u32 }, 5)).collect();
                let stored = pieces.iter().map(|(size, _)| u64::from(*size)).sum();
                partial = Some(Box::new(Partial { held, digest: Digest([7; 32]), stored }));
                Kind::File { size: u64::from(count - 1) * CHUNK as u64 + u64::from(last) }
            }
            DraftKind::Symlink(target) if !target.is_empty() => Kind::Symlink { target: OsString::from_vec(target) },
            DraftKind::Hardlink(target) if !others.is_empty() => Kind::Hardlink { target: target.get(&others).clone() },
            DraftKind::Device(major, minor, true) => Kind::Char { major, minor },
            DraftKind::Device(major, minor, false) => Kind::Block { major, minor },
            DraftKind::Partial(..) | DraftKind::Symlink(_) | DraftKind::Hardlink(_) | DraftKind::Fifo => Kind::Fifo,
        };
        for (size, room) in pieces {
            let end = offset + 20 + u64::from(size) / 1000 + u64::from(room);
            let digest = Digest([size as u8; 32]);
            // The first one never begins the archive: headers do.
            index.chunks.push(Chunk { offset: offset + 1, end: end + 1, size, digest, from_base: false });
            offset = end;
        }
        let another_name = differential && matches!(kind, Kind::File { .. }) && partial.is_none() && draft.sqlite.is_some();
        let same_as = (another_name && !others.is_empty()).then(|| draft.folder.get(&others).clone());
        if kind == Kind::Dir { &mut folders } else { &mut others }.push(path.clone());
        let digest = matches!(kind, Kind::File { .. }).then_some(digest);
        let chunks = start..index.chunks.len() as u32;
        let node = Node { path, kind, meta: draft.meta };
        index.entries.push(Entry { node, digest, chunks, identity: draft.identity, sqlite: draft.sqlite.map(Digest), partial, same_as, holes });
    }
    if let Some(last) = index.chunks.last_mut() {
        last.end = END;
    }
    index
}

fn index() -> impl Strategy<Value = Index> {
    let gone = vec(bytes(b"\0", 1..20), 0..4);
    (draft(), vec(draft(), 0..30), any::<bool>(), gone).prop_map(|(top, drafts, differential, gone)| assembled(top, drafts, differential, gone))
}

/// What somebody does to a JSON.
#[derive(Clone, Debug)]
enum Change {
    Flip(Choice, u8),
    Cut(Choice),
    Insert(Choice, Vec<u8>),
    /// The value at this place becomes another one.
    Replace(Choice, Replacement),
    /// The element or key at this place goes.
    Remove(Choice),
    /// One element becomes the same as another one.
    Copy(Choice, Choice),
}

#[derive(Clone, Debug)]
enum Replacement {
    Number(u64),
    Negative(i64),
    Text(String),
    Null,
    List,
    Object,
}

fn change() -> impl Strategy<Value = Change> {
    let extreme = prop_oneof![any::<u64>(), 0..5_u64, Just(u64::MAX), Just(1 << 32), Just(END), Just(1 << 20)];
    let text = prop_oneof![
        "\\PC{0,6}",
        Just("shop-x/../../etc/passwd".into()),
        Just("/etc/passwd".into()),
        Just("shop-x/".into()),
        Just("shop-x".into()),
        Just("reg".into()),
        Just("dir".into()),
        Just("chunk".into()),
        Just("hardlink".into()),
        Just("Li4vLi4v".into()),
        Just("AA==".into()),
    ];
    let value = prop_oneof![
        extreme.prop_map(Replacement::Number),
        any::<i64>().prop_map(Replacement::Negative),
        text.prop_map(Replacement::Text),
        Just(Replacement::Null),
        Just(Replacement::List),
        Just(Replacement::Object)
    ];
    prop_oneof![
        2 => (any::<Choice>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        1 => any::<Choice>().prop_map(Change::Cut),
        1 => (any::<Choice>(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        6 => (any::<Choice>(), value).prop_map(|(at, value)| Change::Replace(at, value)),
        2 => any::<Choice>().prop_map(Change::Remove),
        2 => (any::<Choice>(), any::<Choice>()).prop_map(|(from, to)| Change::Copy(from, to)),
    ]
}

fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let below = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| places(value, &below(key), found)),
        Value::Array(list) => list.iter().enumerate().for_each(|(key, value)| places(value, &below(&key.to_string()), found)),
        _ => {}
    }
    if !at.is_empty() {
        found.push(at.to_owned());
    }
}

fn changed(json: Vec<u8>, change: &Change) -> Vec<u8> {
    let mut bytes = json;
    match change {
        Change::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            return bytes;
        }
        Change::Cut(at) => {
            bytes.truncate(at.index(bytes.len()));
            return bytes;
        }
        Change::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
            return bytes;
        }
        _ => {}
    }
    // After an earlier change it may be no JSON any more.
    let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else { return bytes };
    let mut all = Vec::new();
    places(&value, "", &mut all);
    let there = |choice: &Choice| choice.get(&all).clone();
    match change {
        _ if all.is_empty() => {}
        Change::Replace(at, with) => {
            let new = match with {
                Replacement::Number(number) => (*number).into(),
                Replacement::Negative(number) => (*number).into(),
                Replacement::Text(text) => text.as_str().into(),
                Replacement::Null => Value::Null,
                Replacement::List => Value::Array(Vec::new()),
                Replacement::Object => Value::Object(serde_json::Map::new()),
            };
            value.pointer_mut(&there(at)).into_iter().for_each(|old| *old = new.clone());
        }
        Change::Remove(at) => {
            let place = there(at);
            let (parent, key) = place.rsplit_once('/').unwrap_or(("", ""));
            match value.pointer_mut(parent) {
                Some(Value::Object(map)) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
                Some(Value::Array(list)) => drop(key.parse().ok().filter(|at| *at < list.len()).map(|at: usize| list.remove(at))),
                _ => {}
            }
        }
        Change::Copy(from, to) => {
            let copy = value.pointer(&there(from)).cloned();
            if let (Some(copy), Some(old)) = (copy, value.pointer_mut(&there(to))) {
                *old = copy;
            }
        }
        _ => {}
    }
    // In the order of the letters the head still stands before the entries.
    serde_json::to_vec(&value).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_index_reads_back_as_it_is_written(index in index()) {
        let json = written(&index);
        let read = read_index(&json, END);
        prop_assert_eq!(read.as_ref(), Ok(&index));
        if index.head.base.is_none() {
            sound(&index, END);
        }
    }

    #[test]
    fn an_index_that_was_changed_is_refused_or_keeps_every_promise(index in index(), changes in vec(change(), 1..4)) {
        let json = changes.iter().fold(written(&index), changed);
        let mut read = Err(String::new());
        let used = allocation_counter::measure(|| read = read_index(&json, END));
        prop_assert!(used.bytes_max <= (1 << 20) + MOST_MEMORY * json.len() as u64, "{} bytes for {}", used.bytes_max, json.len());
        match read {
            Ok(read) if read.head.base.is_none() => sound(&read, END),
            Ok(_) => {}
            // A sentence, and no essay.
            Err(why) => prop_assert!(!why.is_empty() && why.len() < 2000, "{}", why),
        }
    }
}
