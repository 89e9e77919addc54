//! Verifying an archive, and leaving the verdict beside it.

use super::Seal;
use crate::archive::{Archive, Foreign, file_stem};
use crate::error::{Error, Result};
use crate::record::{Damage, RecordPath, Snapshot, Verification};
use crate::time::Timestamp;
use crate::verdict::Verdict;
use std::path::Path;

/// How deep to look into the archive. Deeper still is [`super::rehearse`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    /// The index: structure, names, bounds.
    Index,
    /// Every byte against its digest, every header against the index.
    Data,
    /// Such a share of the content against its digests, 0..1: another part each day.
    Sample(f64),
}

/// Who is told how far the work is.
pub struct Meter<'a> {
    /// Is told how many bytes there are to read, once that is known.
    pub expect: &'a dyn Fn(u64),
    /// Is told bytes.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Verifies the archive at `path`, against the `promised` record if there is one. After a look at all of the data, or at
/// damage in a sample of it, the verdict is left beside the archive; `noted` says whether that worked. Never fails: what could not be found out has `ok` null and `error`.
pub fn verify(path: &Path, promised: Option<&Snapshot>, depth: Depth, now: Timestamp, meter: &Meter<'_>) -> (Verification, Result<()>) {
    let mut found = Verification {
        snapshot: promised.map_or_else(|| file_stem(path), |p| p.id.clone()),
        archive: RecordPath::new(path),
        depth: if depth == Depth::Index { "index" } else { "data" }.into(),
        sample: if let Depth::Sample(share) = depth { Some(share) } else { None },
        ..Verification::default()
    };
    let looked = look(path, promised, depth, now, meter, &mut found);
    let mut noted = Ok(());
    match looked {
        Ok(Some((length, promise))) => {
            found.ok = Some(found.damage.is_empty());
            noted = note(&found, path, length, &promise, now);
        }
        Ok(None) => found.ok = Some(found.damage.is_empty()),
        Err(Error::Archive { why, .. }) => {
            found.ok = Some(false);
            found.damage.push(Damage { path: RecordPath::new("<index>"), what: "index".into(), why: Some(why) });
            // An index that cannot be read has no digest; a verdict from before must not go on counting all the same.
            if let Some(before) = std::fs::metadata(path).ok().and_then(|meta| Seal::read(path, meta.len())) {
                noted = note(&found, path, before.archive_bytes, &before.sha256_toc, now);
            }
        }
        Err(e) => found.error = Some(e.to_string()),
    }
    (found, noted)
}

fn note(found: &Verification, path: &Path, length: u64, promise: &str, now: Timestamp) -> Result<()> {
    // A sample that finds nothing proves nothing about the rest; one that finds damage has proven it.
    if found.depth != "data" || (found.sample.is_some() && found.ok == Some(true)) {
        return Ok(());
    }
    leave_verdict(found, path, length, promise, now)
}

/// Leaves what was found beside the archive. That all of it was restored once stands for as long as nothing is found wrong.
pub(super) fn leave_verdict(found: &Verification, path: &Path, length: u64, promise: &str, now: Timestamp) -> Result<()> {
    let ok = found.ok == Some(true);
    let before = Seal::read(path, length).filter(|seal| seal.ok && seal.sha256_toc == promise).and_then(|seal| seal.restored);
    let restored = if found.depth == "restored" { Some(now) } else { before };
    let seal =
        Seal { time: now, depth: found.depth.clone(), ok, sha256_toc: promise.into(), archive_bytes: length, restored: restored.filter(|_| ok) };
    seal.write(path)
}

/// The archive's length and the index digest that was promised for it, where it has an index.
fn look(
    path: &Path,
    promised: Option<&Snapshot>,
    depth: Depth,
    now: Timestamp,
    meter: &Meter<'_>,
    found: &mut Verification,
) -> Result<Option<(u64, String)>> {
    let progress = meter.progress;
    let archive = Archive::open(path)?;
    let ours = match &archive {
        Some(archive) => archive.head()?.is_some(),
        None => false,
    };
    let Some(archive) = archive.filter(|_| ours) else {
        let foreign = Foreign::open(path, progress)?;
        found.depth = "stream".into();
        found.sample = None;
        found.files = foreign.files();
        found.bytes = foreign.bytes;
        found.warnings.push("no digests in it: it reads to its end, which does not prove that nobody changed it".into());
        found.damage = foreign.damage;
        if promised.is_some_and(|p| p.sha256_toc.is_some()) {
            found.damage.push(Damage {
                path: RecordPath::new("<index>"),
                what: "record".into(),
                why: Some("its record promises an index, which is not there".into()),
            });
        }
        return Ok(None);
    };
    if archive.trailing() > 0 {
        found.warnings.push(format!("{} bytes behind its footer, where nothing belongs", archive.trailing()));
    }
    let (index, digest) = archive.index()?;
    found.snapshot = index.head.snapshot.id.clone();
    let says = |why: &str| Damage { path: RecordPath::new("<index>"), what: "record".into(), why: Some(why.into()) };
    // Archives never change, so the first digest that was left beside one is a promise that stands.
    let digest = digest.to_string();
    let seal = Seal::read(path, archive.length());
    let is_proven = seal.as_ref().is_some_and(|seal| seal.ok && seal.sha256_toc == digest);
    let before = seal.map(|seal| seal.sha256_toc);
    if promised.is_some_and(|promised| promised.id != index.head.snapshot.id) {
        found.damage.push(says("it is another snapshot than its record says"));
    }
    if promised.and_then(|promised| promised.sha256_toc.as_ref()).is_some_and(|hex| *hex != digest) {
        found.damage.push(says("its index is not the one that its record promises"));
    } else if before.as_ref().is_some_and(|hex| *hex != digest) {
        found.damage.push(says("its index is not the one that was verified here before"));
    }
    let whole = match index.head.base.is_some().then(|| archive.complete(index.clone())).transpose() {
        Ok(whole) => whole,
        Err(Error::Archive { why, .. }) => {
            found.damage.push(Damage { path: RecordPath::new("<base>"), what: "base".into(), why: Some(why) });
            None
        }
        Err(e) => return Err(e),
    };
    let (files, bytes) = whole.as_ref().unwrap_or(&index).totals();
    found.files = files;
    match depth {
        Depth::Index => {}
        Depth::Data => {
            let own: u64 = index.chunks.iter().map(|chunk| u64::from(chunk.size)).sum();
            (meter.expect)(own + whole.as_ref().map_or(0, |_| bytes));
            found.damage.extend(archive.verify(&index, !is_proven, progress)?);
            if let Some(whole) = &whole {
                found.damage.extend(archive.verify_base(whole, progress)?);
            }
            found.bytes = bytes;
        }
        Depth::Sample(share) => {
            let day = now.as_second().div_euclid(86_400);
            (meter.expect)((bytes as f64 * share) as u64);
            let sampled = archive.verify_sample(whole.as_ref().unwrap_or(&index), share, day, progress)?;
            found.damage.extend(sampled.damage);
            (found.files, found.bytes) = (sampled.files, sampled.bytes);
        }
    }
    Ok(Some((archive.length(), before.unwrap_or(digest))))
}

/// What a verification means for the exit code.
impl From<&Verification> for Verdict {
    fn from(found: &Verification) -> Verdict {
        match found.ok {
            Some(true) => Verdict::Yes,
            Some(false) => Verdict::No,
            None => Verdict::Unknown,
        }
    }
}
