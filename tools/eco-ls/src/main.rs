//! eco-ls: what is in the store, newest first.
mod args;
mod diff;

use args::Args;
use eco::error::{Error, Exit};
use eco::scope::{Patterns, Scopes};
use eco::store::{self, Store};
use eco::time::parse_instant;
use eco::tool::{self, Tool};
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Exit> {
        let now = tool.now();
        let instant = |text: &Option<String>| text.as_deref().map(|t| parse_instant(t, now).map_err(Error::Usage)).transpose();
        let (before, after) = (instant(&args.before)?, instant(&args.after)?);
        let patterns = args.files.as_ref().map(|glob| Patterns::new(&[glob]).map_err(Error::Usage)).transpose()?;
        let (from_stdin, selectors): (Vec<String>, Vec<String>) = args.selectors.into_iter().partition(|s| s == "-");
        let named = args.diff.as_ref().unwrap_or(&selectors);
        let (store, scopes) = match tool.config() {
            Ok(config) => (Store::new(config.store()?, &config.name, now), config.scopes),
            // A path needs no store to be found in.
            Err(_) if !named.is_empty() && named.iter().all(|s| store::is_path(s)) => (Store::new(".".as_ref(), "", now), Scopes::default()),
            Err(e) => return Err(e.into()),
        };
        if let Some(two) = &args.diff {
            return Ok(diff::compare(tool, &store, &scopes, two, patterns.as_ref())?.into());
        }
        if !from_stdin.is_empty() {
            tool.open_input("leave the - out to list the store only")?;
            while tool.read()?.is_some() {}
        }

        tool.is_for("snapshot");
        let mut exit = Exit::Done;
        let mut found = Vec::new();
        if selectors.is_empty() {
            let listing = store.list()?;
            for error in listing.unreadable {
                tool.error(&error.to_string());
                exit = exit.and(Exit::Unfinished);
            }
            found = listing.snapshots;
        }
        for selector in &selectors {
            found.push(store.select(selector)?);
        }
        found.retain(|s| {
            args.kind.as_ref().is_none_or(|kind| s.snapshot.kind.as_ref() == Some(kind))
                && before.is_none_or(|t| s.stamp.time < t)
                && after.is_none_or(|t| s.stamp.time > t)
                && (!args.good || s.snapshot.good == Some(true))
        });
        for stored in &found {
            tool.emit_at(&stored.stamp, stored.snapshot.clone())?;
            if store.is_ahead(stored) {
                tool.say(&format!("{} says that it was taken in the future, so it counts as the latest of nothing", stored.path.display()));
            }
            if let Some(lacks) = &stored.lacks {
                tool.error(&format!("{}: {lacks}", stored.path.display()));
                exit = exit.and(Exit::Unfinished);
            }
            if let Some(patterns) = &patterns {
                let entries = match store::entries(stored, |path| patterns.match_path(path)) {
                    // Why that cannot be was just said.
                    Err(Error::Archive { .. }) if stored.lacks.is_some() => continue,
                    other => other?,
                };
                for entry in entries {
                    tool.emit_at(&stored.stamp, entry)?;
                }
            }
        }
        Ok(if found.is_empty() { exit.and(Exit::No) } else { exit })
    })
}
