//! eco-verify: whether archives still hold what was captured, or how the live tree differs from them.
mod args;

use args::Args;
use eco::config::Config;
use eco::error::Error;
use eco::record::{Record, Snapshot};
use eco::store::{self, Store, Stored};
use eco::tool::{self, Tool};
use eco::verdict::Verdict;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Verdict> {
        let by_name = args.selectors.iter().any(|s| !store::is_path(s));
        let config = if args.live || by_name { Some(tool.config()?) } else { None };
        let mut verdict = Verdict::Yes;
        if args.selectors.is_empty() {
            tool.open_input("name a snapshot, or pipe in records as in: eco-ls | eco-verify")?;
            if args.only {
                tool.drop_input();
            }
            while let Some(line) = tool.read()? {
                let Record::Snapshot(snapshot) = line.record else { continue };
                let Some(path) = snapshot.path.as_ref().map(|path| path.to_path()) else {
                    tool.error(&format!("the record of snapshot {} names no archive", snapshot.id));
                    verdict = verdict.and(Verdict::Unknown);
                    continue;
                };
                // A bad archive is a finding, not an error: the next one still gets its turn.
                verdict = verdict.and(examine(&args, tool, config.as_ref(), path, Some(&snapshot))?);
            }
        }
        for selector in &args.selectors {
            let path = match &config {
                Some(config) if !store::is_path(selector) => match Store::new(config.store()?, &config.name).select(selector) {
                    Ok(stored) => stored.path,
                    Err(Error::NoMatch(why)) => {
                        tool.error(&why);
                        verdict = verdict.and(Verdict::No);
                        continue;
                    }
                    Err(e) => return Err(e.into()),
                },
                _ => PathBuf::from(selector),
            };
            verdict = verdict.and(examine(&args, tool, config.as_ref(), path, None)?);
        }
        Ok(verdict)
    })
}

fn examine(args: &Args, tool: &mut Tool, config: Option<&Config>, path: PathBuf, promised: Option<&Snapshot>) -> anyhow::Result<Verdict> {
    let clock = std::time::Instant::now();
    let progress = tool.progress("reading");
    if let (true, Some(config)) = (args.live, config) {
        let stored = Stored::open(&path)?;
        let scratch = tool.scratch()?;
        let found =
            store::compare_live(&stored, config.root.as_path(), &config.scopes, &config.capture, scratch.path(), &|bytes| progress.add(bytes))?;
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
        return Ok(Verdict::from(found.differences.is_empty()));
    }
    let (mut found, noted) = store::verify(&path, promised, args.depth.into(), tool.now(), &|bytes| progress.add(bytes));
    drop(progress);
    found.took_ms = clock.elapsed().as_millis() as u64;
    if let Err(e) = noted {
        tool.detail(&format!("the verdict could not be left beside the archive: {e}"));
    }
    if let Some(error) = &found.error {
        tool.error(error);
    }
    let verdict = Verdict::from(&found);
    tool.emit(found)?;
    Ok(verdict)
}
