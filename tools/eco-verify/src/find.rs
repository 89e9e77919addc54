//! From a selector to an archive.

use eco::config::Config;
use eco::error::Error;
use eco::store::{self, Store};
use eco::tool::Tool;
use std::path::PathBuf;

/// The archive that a selector means; that none fits is told.
pub fn archive(tool: &mut Tool, config: Option<&Config>, selector: &str) -> anyhow::Result<Option<PathBuf>> {
    let Some(config) = config.filter(|_| !store::is_path(selector)) else { return Ok(Some(PathBuf::from(selector))) };
    match Store::new(config.store()?, &config.name, tool.now()).select(selector) {
        Ok(stored) => {
            tool.knows(&stored.stamp, &stored.snapshot);
            Ok(Some(stored.path))
        }
        Err(Error::NoMatch(why)) => {
            tool.error(&why);
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}
