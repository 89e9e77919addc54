//! What changed from one snapshot to another.

use eco::error::Error;
use eco::scope::{Patterns, Scopes};
use eco::store::{self, Store};
use eco::tool::Tool;
use eco::verdict::Verdict;

/// One `difference` record a path, with the time of the second snapshot, and a sentence that adds them up.
pub fn compare(tool: &mut Tool, store: &Store, scopes: &Scopes, two: &[String], only: Option<&Patterns>) -> anyhow::Result<Verdict> {
    let [first, second] = two else { return Err(Error::Usage("--diff wants two snapshots".into()).into()) };
    let (first, second) = (store.select(first)?, store.select(second)?);
    let wanted = |path: &std::path::Path| only.is_none_or(|patterns| patterns.match_path(path));
    let found = store::compare_stored(&first, &second, &scopes.full(), wanted)?;
    let comparison = &found.comparison;
    for difference in &comparison.differences {
        tool.emit_at(&second.stamp, difference.clone())?;
    }
    tool.say(&format!(
        "from {} to {}: {} created, {} deleted, {} changed, {} the same",
        first.id6(),
        second.id6(),
        comparison.count("created"),
        comparison.count("deleted"),
        comparison.changed(),
        comparison.same
    ));
    if !found.alone.is_empty() {
        let names: Vec<String> = found.alone.iter().map(|root| root.display().to_string()).collect();
        tool.say(&format!("not compared, because only one of them holds all of it: {}", names.join(", ")));
    }
    Ok(Verdict::from(comparison.differences.is_empty()))
}
