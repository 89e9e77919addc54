//! The live tree beside a snapshot.

use crate::args::Args;
use eco::config::Config;
use eco::record::{Change, Record, Scope};
use eco::restore::Memory;
use eco::store::{self, Stored};
use eco::time::{Timestamp, seconds_between};
use eco::tool::Tool;
use eco::verdict::Verdict;
use std::path::Path;

/// What somebody said is the same change as what was found in that unit if no more than this lies between the two.
const SAME_S: i64 = 300;
/// A command that switches an automation or the like may write a file for it; it does so at once.
const AT_ONCE_S: i64 = 10;

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

/// `--changes`: one `change` record for each unit that differs and of which nobody has said so.
pub fn changes(args: &Args, tool: &mut Tool) -> anyhow::Result<Verdict> {
    let (selector, copies) = args.baseline()?;
    let config = tool.config()?;
    let mut said = Vec::new();
    if copies {
        tool.open_input("pipe records in, or leave out the '-'")?;
        while let Some(line) = tool.read()? {
            if let Record::Change(change) = line.record {
                said.extend(change.target.parse::<Scope>().ok().map(|target| (line.stamp.time, target)));
            }
        }
    }
    let Some(path) = crate::find::archive(tool, Some(&config), selector)? else { return Ok(Verdict::No) };
    let stored = Stored::open(&path)?;
    let (scratch, progress) = (tool.scratch()?, tool.progress("reading"));
    let add = |bytes| progress.add(bytes);
    let changes = store::find_changes(&stored, &config.root, &config.scopes, &config.capture, scratch.path(), tool.now(), &add)?;
    drop(progress);
    if !changes.unheld.is_empty() {
        tool.say(&format!("snapshot {} does not hold {}: nothing is known about that", stored.snapshot.id, Scope::join(&changes.unheld)));
    }
    let memory = Memory::read(&config.root)?;
    let none = changes.found.is_empty();
    for (time, mut change) in changes.found {
        if memory.was_at_work(time) {
            change.by = Some("eco-restore".into());
        } else if is_said(&said, time, &change) {
            tool.detail(&format!("{} differs since {time}, as the stream says already", change.target));
            continue;
        }
        tool.emit_at(&tool.stamp(time), change)?;
    }
    Ok(Verdict::from(none))
}

/// Whether the stream has this change. Told twice under two names it would be two suspects, and nobody could tell them apart.
fn is_said(said: &[(Timestamp, Scope)], time: Timestamp, change: &Change) -> bool {
    let is_same_unit = |target: &Scope| match target {
        Scope::Config(_) => change.target == "config",
        other => other.to_string() == change.target,
    };
    said.iter().any(|(when, target)| {
        let between = seconds_between(*when, time).abs();
        (is_same_unit(target) && between <= SAME_S) || (!target.needs_snapshot() && between <= AT_ONCE_S)
    })
}
