//! Verification: every byte of content against its digest, every header against the index, and nothing hidden in between.

use super::index::{Entry, Index};
use super::member::Unpacker;
use super::read::longest_member;
use super::{Archive, header, on_all_cores};
use crate::digest::{self, Hasher};
use crate::error::{Error, Result};
use crate::record::{Damage, RecordPath};
use crate::tree::{Kind, Meta, Node};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

impl Archive {
    /// Reads all of the content and all headers, on all cores. What is wrong is a finding, not an error; nothing means right. `progress` is told bytes. Every piece
    /// is checked against its own digest; `whole` checks files of several pieces as a whole too, which proves that the index does not
    /// contradict itself: once is enough for an index. What a differential archive does not hold itself is left to [`Archive::verify_base`].
    ///
    /// # Errors
    /// [`crate::error::Error::Path`] when the archive cannot be read.
    pub fn verify(&self, index: &Index, whole: bool, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Damage>> {
        let found = Mutex::new(Vec::new());
        // The largest files first: the last one to finish should be a small one.
        let mut order: Vec<usize> = (0..index.entries.len()).filter(|at| !index.entries[*at].chunks.is_empty()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(index.entries[*at].node.kind.size()));
        // A file that is hashed as a whole is read by one thread.
        let length = if whole { u32::MAX } else { TOGETHER };
        let parts: Vec<(usize, Range<u32>)> =
            order.into_iter().flat_map(|at| parts(&index.entries[at].chunks, length).map(move |part| (at, part))).collect();
        let next = AtomicUsize::new(0);
        on_all_cores(|| {
            let mut reader = Checker { archive: self, index, whole, unpacker: Unpacker::new(), piece: Vec::new(), headers: Vec::new() };
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                let damage = match task.checked_sub(1) {
                    None => reader.beginning()?,
                    Some(task) => match parts.get(task) {
                        Some((at, part)) => reader.file(*at, part, progress)?,
                        None => return Ok(()),
                    },
                };
                found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(damage);
            }
        })?;
        let mut damage = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        damage.sort_by(|a, b| a.path.path.cmp(&b.path.path));
        damage.dedup();
        Ok(damage)
    }

    /// Reads the content of those files in a differential snapshot, as [`Archive::whole`] gives it, that its base holds, be it in part.
    ///
    /// # Errors
    /// [`crate::error::Error::Path`] when either archive cannot be read.
    pub fn verify_base(&self, whole: &Index, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Damage>> {
        let found = Mutex::new(Vec::new());
        let mut files: Vec<&Entry> = whole.entries.iter().filter(|entry| whole.pieces(entry).iter().any(|piece| piece.from_base)).collect();
        files.sort_by_key(|entry| std::cmp::Reverse(entry.node.kind.size()));
        let next = AtomicUsize::new(0);
        on_all_cores(|| {
            while let Some(entry) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Of a file from one archive the pieces say enough.
                let is_mixed = whole.pieces(entry).iter().any(|piece| !piece.from_base);
                let mut hasher = Hasher::default();
                let read = self.content(whole, entry, &mut |piece| {
                    if is_mixed {
                        hasher.update(piece);
                    }
                    progress(piece.len() as u64);
                    Ok(())
                });
                let why = match read {
                    Ok(()) if !is_mixed || Some(hasher.finish()) == entry.digest => continue,
                    Ok(()) => "it is put together to something else than was captured".to_owned(),
                    Err(e @ Error::Archive { .. }) => e.to_string(),
                    Err(e) => return Err(e),
                };
                found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(damaged(&entry.node.path, "base", why));
            }
            Ok(())
        })?;
        let mut damage = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        damage.sort_by(|a, b| a.path.path.cmp(&b.path.path));
        Ok(damage)
    }
}

/// So many pieces of a file are read by one thread, so that a single large one keeps all of them busy.
const TOGETHER: u32 = 64;

/// A range of pieces as ranges of this length.
fn parts(chunks: &Range<u32>, length: u32) -> impl Iterator<Item = Range<u32>> + use<> {
    let end = chunks.end;
    (chunks.start..end).step_by(length as usize).map(move |start| start..start.saturating_add(length).min(end))
}

fn damaged(path: &Path, what: &str, why: impl Into<Option<String>>) -> Damage {
    Damage { path: RecordPath::new(path), what: what.into(), why: why.into() }
}

/// What stands between two contents.
struct Gap<'a> {
    /// Its beginning, or nothing of it.
    known: &'a [u8],
    /// Where it begins and ends in the archive.
    at: u64,
    end: u64,
    /// How many zeros fill the last block of the content before it.
    padding: usize,
}

struct Checker<'a> {
    archive: &'a Archive,
    index: &'a Index,
    whole: bool,
    unpacker: Unpacker,
    piece: Vec<u8>,
    headers: Vec<u8>,
}

impl Checker<'_> {
    /// The headers before the first content.
    fn beginning(&mut self) -> Result<Vec<Damage>> {
        let end = self.index.chunks.first().map_or(self.archive.end(), |first| first.offset);
        let mut damage = Vec::new();
        self.gap(Gap { known: &[], at: 0, end, padding: 0 }, 0, &mut damage)?;
        Ok(damage)
    }

    /// Consecutive pieces of a file, and after its last one the headers up to the next content.
    fn file(&mut self, at: usize, part: &Range<u32>, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Damage>> {
        let entry = &self.index.entries[at];
        let path = &entry.node.path;
        let mut damage = Vec::new();
        let several = self.whole && entry.chunks.len() > 1;
        let mut whole = Hasher::default();
        let last = entry.chunks.end as usize - 1;
        for number in part.start as usize..part.end as usize {
            let chunk = self.index.chunks[number];
            let packed = self.archive.packed(&chunk)?;
            let used = self.unpacker.unpack(&packed, chunk.size as usize, &mut self.piece);
            match used {
                None => damage.push(damaged(path, "member", format!("the piece at byte {} cannot be inflated", chunk.offset))),
                Some(_) if digest::of(&self.piece) != chunk.digest => {
                    damage.push(damaged(path, "digest", format!("the piece at byte {} holds other bytes than were captured", chunk.offset)));
                }
                Some(_) => {}
            }
            if several {
                whole.update(&self.piece);
            }
            progress(u64::from(chunk.size));
            let Some(used) = used else { continue };
            let gap = Gap { known: &packed[used..], at: chunk.offset + used as u64, end: chunk.end, padding: header::padding(entry.stored()) };
            if number == last {
                self.gap(gap, at + 1, &mut damage)?;
            } else if gap.at < gap.end {
                damage.push(damaged(path, "member", format!("{} bytes that belong to nothing after byte {}", gap.end - gap.at, chunk.offset)));
            }
        }
        let sum = if several { Some(whole.finish()) } else { (entry.chunks.len() == 1).then_some(self.index.chunks[last].digest) };
        let promised = entry.partial.as_ref().map_or(entry.digest, |partial| Some(partial.digest));
        if damage.is_empty() && sum.is_some() && promised != sum {
            damage.push(damaged(path, "digest", "the file as a whole is not what was captured".to_owned()));
        }
        Ok(damage)
    }

    /// The headers between two contents must describe the entries from `first` on, up to and with the next that has content.
    fn gap(&mut self, gap: Gap<'_>, first: usize, damage: &mut Vec<Damage>) -> Result<()> {
        let expected = self.index.entries.get(first..).unwrap_or_default();
        let count = expected.iter().position(|e| !e.chunks.is_empty()).map_or(expected.len(), |at| at + 1);
        let expected = &expected[..count];
        let before = first.checked_sub(1).and_then(|at| self.index.entries.get(at)).map_or(Path::new("<stream>"), |e| e.node.path.as_path());
        let place = expected.first().map_or(before, |e| e.node.path.as_path()).to_owned();
        let place = if place.as_os_str().is_empty() { Path::new("<stream>").to_owned() } else { place };
        let Gap { known: mut packed, mut at, end, mut padding } = gap;
        if at == end && padding == 0 && expected.is_empty() {
            return Ok(());
        }
        // Many headers are several members, each of a size that no memory minds: a bomb ends here.
        let limit = padding + header::TOGETHER + 2 * header::LONGEST;
        let longest = longest_member(limit as u64);
        let mut expected = expected.iter();
        let mut read;
        loop {
            if at + (packed.len() as u64) < end && (packed.len() as u64) < longest {
                read = self.archive.region(at, end.min(at + 2 * longest))?;
                packed = &read;
            }
            let Some(used) = self.unpacker.unpack_any(packed, limit, &mut self.headers) else {
                damage.push(damaged(&place, "header", "the headers here cannot be inflated".to_owned()));
                return Ok(());
            };
            (packed, at) = (&packed[used..], at + used as u64);
            let Some((_, mut blocks)) = self.headers.split_at_checked(padding).filter(|(zeros, _)| zeros.iter().all(|byte| *byte == 0)) else {
                damage.push(damaged(&place, "header", "the padding before the headers is not empty".to_owned()));
                return Ok(());
            };
            padding = 0;
            while !blocks.is_empty() {
                match (header::decode(&mut blocks), expected.next()) {
                    (Ok(Some(said)), Some(entry)) => {
                        if let Some(why) = self.disagreement(entry, said) {
                            damage.push(damaged(&entry.node.path, "header", why));
                        }
                    }
                    (Ok(Some(said)), None) => {
                        damage.push(damaged(&place, "header", format!("'{}' is not in the index", said.name.escape_ascii())));
                        return Ok(());
                    }
                    (Err(why), entry) => {
                        damage.push(damaged(entry.map_or(&place, |entry| &entry.node.path), "header", why));
                        return Ok(());
                    }
                    (Ok(None), _) => break,
                }
            }
            if at == end {
                break;
            }
        }
        if let Some(entry) = expected.next() {
            damage.push(damaged(&entry.node.path, "header", "it stands in the index only".to_owned()));
        }
        Ok(())
    }

    /// What a header says otherwise than the index, in one sentence.
    fn disagreement(&self, entry: &Entry, said: header::Described) -> Option<String> {
        let top = self.index.head.top.as_str();
        let Node { path, kind, meta } = &entry.stored_node();
        let differs = |what: &str| Some(format!("its header and the index disagree about the {what}"));
        if said.name != header::archive_name(top, path, false) {
            return Some(format!("its header names '{}'", said.name.escape_ascii()));
        }
        let same_kind = match (&said.kind, kind) {
            (Kind::Hardlink { target: said }, Kind::Hardlink { target }) => *said == Path::new(top).join(target),
            (said, kind) => said == kind,
        };
        if !same_kind {
            return differs("kind, size or link");
        }
        let Meta { mode, uid, gid, user, group, mtime, xattrs } = &said.meta;
        match () {
            () if *mode != meta.mode => differs("permissions"),
            () if (*uid, *gid) != (meta.uid, meta.gid) || *user != meta.user || *group != meta.group => differs("owner"),
            () if *mtime != meta.mtime => differs("time"),
            () if *xattrs != meta.xattrs => differs("attributes"),
            () => None,
        }
    }
}
