//! What changed from one stored snapshot to another.

use super::Stored;
use super::live::read_index;
use crate::archive::Index;
use crate::compare::{items_of, within};
use crate::error::{Error, Result};
use crate::plan::{self, Comparison, Item};
use crate::scope::{Patterns, absorb};
use crate::tree::Digest;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How two snapshots differ.
#[derive(Debug)]
pub struct Between {
    /// Seen from the first one: `created` is in the second only.
    pub comparison: Comparison,
    /// Roots that only one of them holds, or holds as a whole: nothing is said about them.
    pub alone: Vec<PathBuf>,
}

/// Compares what both hold, in the paths that `wanted` accepts. What either left out when it was captured stands aside. `roots` are
/// those to be looked for in an archive of another format.
///
/// # Errors
/// [`Error::Path`] and [`Error::Archive`] for one that cannot be read, [`Error::Usage`] when they have no root in common.
pub fn compare_stored(first: &Stored, second: &Stored, roots: &[PathBuf], wanted: impl Fn(&Path) -> bool) -> Result<Between> {
    let (before, after) = (read_index(first, roots)?, read_index(second, roots)?);
    let [held, held_too] = [&before, &after].map(|index| index.head.snapshot.roots.iter().map(PathBuf::from).collect::<Vec<_>>());
    let common: Vec<PathBuf> =
        held.iter().filter(|root| within(root, &held_too)).chain(held_too.iter().filter(|root| within(root, &held))).cloned().collect();
    let common = absorb(common);
    if common.is_empty() {
        let names = |roots: &[PathBuf]| roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", ");
        let why = format!("the two snapshots hold nothing in common: {}, and {}", names(&held), names(&held_too));
        return Err(Error::Usage(why));
    }
    let alone = absorb(held.into_iter().chain(held_too).filter(|root| !common.contains(root) && !within(root, &common)).collect());
    let left_out: Vec<&String> = before.head.exclude.iter().chain(&after.head.exclude).collect();
    let left_out = Patterns::new(&left_out).map_err(Error::Config)?;

    let databases = |index: &Index| -> HashMap<PathBuf, Digest> {
        index.entries.iter().filter_map(|entry| Some((entry.node.path.clone(), entry.sqlite?))).collect()
    };
    let (copied, copied_too) = (databases(&before), databases(&after));
    let narrowed = |index| items_of(index, &common).into_iter().filter(|item| wanted(&item.node.path)).collect::<Vec<Item>>();
    let (was, mut is) = (narrowed(&before), narrowed(&after));
    let earlier: HashMap<&Path, &Item> = was.iter().map(|item| (item.node.path.as_path(), item)).collect();
    let coarse = first.is_legacy() || second.is_legacy();
    for item in &mut is {
        let Some(was) = earlier.get(item.node.path.as_path()) else { continue };
        let (time, then) = (&mut item.node.meta.mtime, was.node.meta.mtime);
        // Most other formats know whole seconds only.
        if coarse && time.seconds == then.seconds && (time.nanos == 0 || then.nanos == 0) {
            *time = then;
        }
        // Two copies of a database that nobody changed differ in their counters.
        if copied.get(&item.node.path).is_some_and(|digest| copied_too.get(&item.node.path) == Some(digest)) {
            (item.digest, item.node.kind) = (was.digest, was.node.kind.clone());
        }
    }
    let comparison = plan::compare(&first.snapshot.id, &was, &is, |path| left_out.cover(path));
    Ok(Between { comparison, alone })
}
