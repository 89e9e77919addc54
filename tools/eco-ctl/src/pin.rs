//! Snapshots that a person wants kept.

use eco::config::Config;
use eco::store::{self, Store};
use eco::tool::Tool;
use eco::verdict::Verdict;

/// Pins a snapshot or takes its pin away, and writes its record as it is now. *No* where there was no pin to take away.
pub fn pin(tool: &mut Tool, config: &Config, selector: &str, on: bool) -> anyhow::Result<Verdict> {
    let store = if store::is_path(selector) { ".".as_ref() } else { config.store()? };
    let mut stored = Store::new(store, &config.name, tool.now()).select(selector)?;
    let done = if on { store::pin(&mut stored, tool.now()).map(|()| true) } else { store::unpin(&mut stored) }?;
    if !done {
        tool.say(&format!("{} was not pinned", stored.snapshot.id));
    }
    tool.emit_at(&stored.stamp, stored.snapshot)?;
    Ok(Verdict::from(done))
}
