//! Which snapshots are decided about.

use crate::args::Args;
use eco::error::Result;
use eco::record::{Record, Snapshot, Stamp};
use eco::store::Store;
use eco::tool::Tool;

/// Those that the selectors mean, or the records on stdin name; in their order, and each as often as it comes.
pub fn about(args: &Args, tool: &mut Tool, store: &Store) -> Result<Vec<(Stamp, Snapshot)>> {
    let mut asked = Vec::new();
    for selector in &args.selectors {
        let stored = store.select(selector)?;
        asked.push((stored.stamp, stored.snapshot));
    }
    if args.selectors.is_empty() {
        tool.open_input("name a snapshot, or pipe in records as in: eco-ls | eco-prune")?;
        if args.only {
            tool.drop_input();
        }
        while let Some(line) = tool.read()? {
            if let Record::Snapshot(snapshot) = line.record {
                asked.push((line.stamp, snapshot));
            }
        }
    }
    Ok(asked)
}
