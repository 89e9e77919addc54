//! A sample: some of the pieces against their digests, for archives that are too large to be read in full every day.

use super::index::Index;
use super::member::Unpacker;
use super::{Archive, on_all_cores};
use crate::digest;
use crate::error::Result;
use crate::record::{Damage, RecordPath};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a sample found.
#[derive(Debug, Default)]
pub struct Sampled {
    /// What is wrong. Nothing says nothing about the pieces that were not read.
    pub damage: Vec<Damage>,
    /// Files that a piece was read of.
    pub files: u64,
    /// Bytes of content that were read.
    pub bytes: u64,
}

impl Archive {
    /// Reads a share of the pieces, by bytes, and holds each against its digest. Each `day` has another part of them, and one over
    /// `share` days in a row have all.
    ///
    /// # Errors
    /// [`crate::error::Error::Path`] when the archive cannot be read.
    pub fn verify_sample(&self, index: &Index, share: f64, day: i64, progress: &(dyn Fn(u64) + Sync)) -> Result<Sampled> {
        let mut owners = vec![None; index.chunks.len()];
        for (at, entry) in index.entries.iter().enumerate() {
            owners[entry.chunks.start as usize..entry.chunks.end as usize].fill(Some(at));
        }
        // A piece that no file of this snapshot has proves nothing about it.
        let sizes: Vec<u64> = index.chunks.iter().zip(&owners).map(|(chunk, owner)| owner.map_or(0, |_| chunk.size.into())).collect();
        let chosen = choose(&sizes, share, &index.head.snapshot.id, day);
        let found = Mutex::new(Vec::new());
        let next = AtomicUsize::new(0);
        on_all_cores(|| {
            let (mut unpacker, mut piece) = (Unpacker::new(), Vec::new());
            while let Some(number) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                let chunk = index.chunks[*number];
                let packed = self.holding(&chunk).packed(&chunk)?;
                let (what, why) = match unpacker.unpack(&packed, chunk.size as usize, &mut piece) {
                    Some(_) if digest::of(&piece) == chunk.digest => ("", ""),
                    Some(_) => ("digest", "holds other bytes than were captured"),
                    None => ("member", "cannot be inflated"),
                };
                progress(chunk.size.into());
                if let (false, Some(owner)) = (what.is_empty(), owners[*number]) {
                    let path = RecordPath::new(&index.entries[owner].node.path);
                    let why = format!("the piece at byte {} {why}", chunk.offset);
                    let damage = Damage { path, what: what.into(), why: Some(why) };
                    found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(damage);
                }
            }
            Ok(())
        })?;
        let mut damage = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        damage.sort_by(|a, b| (&a.path.path, &a.why).cmp(&(&b.path.path, &b.why)));
        let files: HashSet<usize> = chosen.iter().filter_map(|number| owners[*number]).collect();
        Ok(Sampled { damage, files: files.len() as u64, bytes: chosen.iter().map(|number| sizes[*number]).sum() })
    }
}

/// Positions of the pieces for this day, ascending. All pieces stand in an order that only the seed knows; a window of the wanted
/// length moves over it by its own length each day, so that no piece waits longer than one over `share` days.
fn choose(sizes: &[u64], share: f64, seed: &str, day: i64) -> Vec<usize> {
    let total: u64 = sizes.iter().sum();
    if total == 0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_cached_key(|number| digest::of(format!("{seed} {number}").as_bytes()));
    let want = ((total as f64 * share).ceil() as u64).clamp(1, total);
    let start = (i128::from(day) * i128::from(want)).rem_euclid(i128::from(total)) as u64;
    // The window may go round the end.
    let windows = [(start, start + want), (0, (start + want).saturating_sub(total))];
    let mut at = 0;
    order.retain(|number| {
        let (from, to) = (at, at + sizes[*number]);
        at = to;
        from < to && windows.iter().any(|(start, end)| from < *end && to > *start)
    });
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(sizes: &[u64], chosen: &[usize]) -> u64 {
        chosen.iter().map(|number| sizes[*number]).sum()
    }

    #[test]
    fn days_in_a_row_read_everything_and_each_day_its_share() {
        let sizes: Vec<u64> = (0..400).map(|n| 1 + n * 37 % 1000).collect();
        let total: u64 = sizes.iter().sum();
        let mut seen = HashSet::new();
        for day in 20_000..20_010 {
            let chosen = choose(&sizes, 0.1, "a", day);
            let read = bytes(&sizes, &chosen);
            // At each end of the window one piece reaches over it.
            assert!(read >= total / 10 && read <= total / 10 + 2001, "{read} of {total}");
            seen.extend(chosen);
        }
        assert_eq!(seen.len(), sizes.len());
    }

    #[test]
    fn the_same_day_chooses_the_same_and_another_snapshot_others() {
        let sizes = [10; 300];
        assert_eq!(choose(&sizes, 0.2, "a", 7), choose(&sizes, 0.2, "a", 7));
        assert_ne!(choose(&sizes, 0.2, "a", 7), choose(&sizes, 0.2, "b", 7));
        assert_ne!(choose(&sizes, 0.2, "a", 7), choose(&sizes, 0.2, "a", 8));
    }

    #[test]
    fn a_whole_is_everything_and_the_smallest_share_one_piece() {
        assert_eq!(choose(&[5, 5, 5], 1.0, "a", 123), [0, 1, 2]);
        assert_eq!(choose(&[5, 5, 5], 0.000_001, "a", 0).len(), 1);
        assert_eq!(choose(&[5, 0, 5], 1.0, "a", 1), [0, 2]);
        assert!(choose(&[], 0.5, "a", 1).is_empty() && choose(&[0], 0.5, "a", 1).is_empty());
    }
}
