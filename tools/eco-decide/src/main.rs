//! eco-decide: holds the records of a stream against the policy, and adds a `decision` where one is due.

mod args;

use args::Args;
use eco::error::Exit;
use eco::policy::{self, BUILT_IN, Judge, Options, Policy};
use eco::record::{Severity, Stamp};
use eco::tool::{self, Tool};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Exit> {
        if args.print_policy {
            tool.print(BUILT_IN)?;
            return Ok(Exit::Done);
        }
        if let Some(file) = &args.check {
            for sentence in policy::check(&read(tool, file)?, &file.display().to_string())? {
                tool.say(&sentence);
            }
            return Ok(Exit::Done);
        }
        let mut policy = args.policy.as_ref().map_or_else(|| Ok(Policy::default()), |file| read(tool, file))?;
        if let Some(config) = tool.config_if_any()? {
            policy.add_critical(&config.units.critical);
        }
        let judge = Judge::new(policy, Options { now: args.now, dry_run: args.dry_run });
        tool.open_input("pipe records in, as in: eco-health | eco-decide --now")?;
        if args.only {
            tool.drop_input();
        }
        Ok(decide(judge, tool)?.unless(!args.exit_status))
    })
}

fn read(tool: &Tool, file: &Path) -> eco::error::Result<Policy> {
    Policy::parse(&tool.read_text(file)?, &file.display().to_string())
}

/// Judges the stream to its end, and says how things stand there.
fn decide(mut judge: Judge, tool: &mut Tool) -> eco::error::Result<Standing> {
    while let Some(line) = tool.read()? {
        let heard = judge.feed(&line.stamp, &line.record);
        for warning in heard.warnings {
            tool.say(&format!("line {}: {warning}", line.number));
        }
        for (time, decision) in heard.decisions {
            // No host: whoever replays the stream elsewhere gets the same bytes.
            tool.emit_at(&Stamp { time, ecosystem: line.stamp.ecosystem.clone(), host: None }, decision)?;
        }
    }
    if judge.late() > 0 {
        tool.say(&format!("{} records came more than 2 minutes late and were not used", judge.late()));
    }
    if let Some(sentence) = judge.pending() {
        tool.say(&sentence);
    }
    let unwell = judge.severity().is_some_and(|severity| severity > Severity::Low);
    let known = if unwell { Exit::No } else { Exit::Done };
    Ok(Standing(if judge.is_silent() { Exit::Unfinished } else { known }))
}

/// What `--exit-status` reports.
struct Standing(Exit);

impl Standing {
    fn unless(self, not_asked: bool) -> Exit {
        if not_asked { Exit::Done } else { self.0 }
    }
}
