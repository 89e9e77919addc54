//! The live tree beside a snapshot.

use eco::config::Config;
use eco::store::{self, Stored};
use eco::tool::Tool;
use eco::verdict::Verdict;
use std::path::Path;

/// One `difference` record a path, and a sentence that adds them up.
pub fn compare(tool: &mut Tool, config: &Config, path: &Path) -> anyhow::Result<Verdict> {
    let progress = tool.progress("reading");
    let stored = Stored::open(path)?;
    let scratch = tool.scratch()?;
    let add = |bytes| progress.add(bytes);
    let found = store::compare_live(&stored, config.root.as_path(), &config.scopes, &config.capture, scratch.path(), &add)?;
    drop(progress);
    for difference in &found.differences {
        tool.emit(difference.clone())?;
    }
    tool.say(&format!(
        "{} paths are the same, {} differ, {} preserved or excluded ones were not compared",
        found.same,
        found.differences.len(),
        found.aside
    ));
    Ok(Verdict::from(found.differences.is_empty()))
}
