//! eco-verify: whether archives still hold what was captured, or how the live tree differs from them.
mod args;
mod find;
mod live;

use args::{Args, Depth};
use eco::config::Config;
use eco::error::Error;
use eco::record::{Record, Snapshot};
use eco::store::{self, Meter};
use eco::tool::{self, Tool};
use eco::verdict::Verdict;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Verdict> {
        if args.changes {
            return live::changes(&args, tool);
        }
        let by_name = args.selectors.iter().any(|s| !store::is_path(s));
        let config = if args.live || by_name { Some(tool.config()?) } else { None };
        if !args.live {
            tool.is_for("verification");
        }
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
            let Some(path) = find::archive(tool, config.as_ref(), selector)? else {
                verdict = verdict.and(Verdict::No);
                continue;
            };
            verdict = verdict.and(examine(&args, tool, config.as_ref(), path, None)?);
        }
        Ok(verdict)
    })
}

fn examine(args: &Args, tool: &mut Tool, config: Option<&Config>, path: PathBuf, promised: Option<&Snapshot>) -> anyhow::Result<Verdict> {
    if let (true, Some(config)) = (args.live, config) {
        return live::compare(tool, config, &path);
    }
    let clock = std::time::Instant::now();
    let progress = tool.progress("reading");
    let meter = Meter { expect: &|bytes| progress.expect(bytes), progress: &|bytes| progress.add(bytes) };
    let (mut found, mut noted) = store::verify(&path, promised, args.depth()?, tool.now(), &meter);
    if args.depth == Depth::Restored && found.ok == Some(true) {
        tool.catch_signals()?;
        progress.begin("restoring", Some(found.bytes * 2)); // and read back
        let scratch = args.scratch.as_ref().map_or_else(|| tool.scratch(), |folder| tool.scratch_in(folder))?;
        noted = store::rehearse(&path, &mut found, scratch.path(), tool.now(), &|bytes| progress.add(bytes), &tool.stop_flag());
    }
    drop(progress);
    found.took_ms = clock.elapsed().as_millis() as u64;
    if let Err(e) = noted {
        tool.detail(&format!("the verdict could not be left beside the archive: {e}"));
    }
    if let Some(error) = found.error.as_ref().filter(|_| !tool.asked_to_stop()) {
        tool.error(error);
    }
    let verdict = Verdict::from(&found);
    tool.emit(found)?;
    if tool.asked_to_stop() {
        return Err(Error::Interrupted("what was restored is removed".into()).into());
    }
    Ok(verdict)
}
