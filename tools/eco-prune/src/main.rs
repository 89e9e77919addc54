//! eco-prune: which snapshots may go and why; with --apply they go.
mod args;
mod asked;
mod sums;

use args::Args;
use eco::error::Exit;
use eco::restore;
use eco::retention::Rules;
use eco::store::{Pruning, Store};
use eco::tool::{self, Tool};
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Exit> {
        let config = tool.config()?;
        tool.is_for("retention");
        let (now, stop) = (tool.now(), tool.stop_flag());
        let store = Store::new(config.store()?, &config.name, now);
        let asked = asked::about(&args, tool, &store)?;
        if asked.is_empty() {
            tool.say("no snapshot records came in: nothing to decide about");
            return Ok(Exit::No);
        }
        let rules = Rules { counts: args.keep.counts().or(config.retention.counts), ..config.retention };
        let in_use = || restore::in_use(&config.root, config.keep_safety, now);
        let pruning = Pruning { store: &store, rules: &rules, in_use: &in_use, stop: &stop };
        let (mut found, unreadable) = pruning.decide(&asked)?;
        let mut exit = Exit::Done;
        for error in &unreadable {
            tool.error(&format!("{error}; it stays, and is not counted"));
            exit = Exit::Unfinished;
        }
        let sums = sums::of(&found);
        sums::flag(tool, &found, &sums, &rules);
        let applies = args.apply && sums.go > 0;
        // A person sees all of it before the question; a log gets one record for each, when its end is known.
        let shown = !applies || tool.is_human();
        for candidate in found.iter().filter(|candidate| shown || candidate.choice.keep) {
            tool.emit(candidate.record())?;
        }
        if !applies {
            tool.say(&sums.in_words(if args.apply { "" } else { "; --apply removes them" }));
            return Ok(exit);
        }
        if !args.yes && tool.ask(&format!("{}. Remove them?", sums.in_words("")))? == Some(false) {
            tool.say("nothing was removed");
            return Ok(exit.and(Exit::No));
        }
        tool.changes_something()?;
        let mut lost = Ok(());
        let pruned = pruning.apply(&mut found, &unreadable, &tool.holder(), &mut |candidate| {
            let told = tool.emit(candidate.record());
            if lost.is_ok() {
                lost = told;
            }
        })?;
        tool.say(&sums::done(&found, pruned.freed));
        if let Some(surprise) = pruned.surprise {
            tool.error(&format!("{surprise}: nothing was removed after that"));
            exit = exit.and(Exit::Unfinished);
        }
        lost?;
        Ok(exit)
    })
}
