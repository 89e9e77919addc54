//! eco-decide: holds the records of a stream against the policy, and adds a `decision` where one is due.

mod args;
mod stream;

use args::Args;
use eco::error::Exit;
use eco::policy::{self, BUILT_IN, Diff, Options, Policy};
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
        let policy = effective(tool, args.policy.as_deref())?;
        let old = args.diff.as_deref().map(|file| effective(tool, Some(file))).transpose()?;
        let options = Options { now: args.now, dry_run: args.dry_run };
        tool.open_input("pipe records in, as in: eco-health | eco-decide --now")?;
        if args.only || old.is_some() {
            tool.drop_input();
        }
        match old {
            Some(old) => Ok(compare(Diff::new(old, policy, options), tool)?),
            None => Ok(stream::decide(&args, policy, options, tool)?),
        }
    })
}

fn read(tool: &Tool, file: &Path) -> eco::error::Result<Policy> {
    Policy::parse(&tool.read_text(file)?, &file.display().to_string())
}

/// The policy of this file, else the built-in one, with the critical modules of the configuration.
fn effective(tool: &Tool, file: Option<&Path>) -> eco::error::Result<Policy> {
    let mut policy = file.map_or_else(|| Ok(Policy::default()), |file| read(tool, file))?;
    if let Some(config) = tool.config_if_any()? {
        policy.add_critical(&config.units.critical);
    }
    Ok(policy)
}

/// Two policies over one history. What is written is for people: there is no record of a decision that was never made.
fn compare(mut diff: Diff, tool: &mut Tool) -> eco::error::Result<Exit> {
    while let Some(line) = tool.read()? {
        for warning in diff.feed(&line.stamp, &line.record) {
            tool.say(&format!("line {}: {warning}", line.number));
        }
    }
    let compared = diff.compare();
    tool.print(&compared.to_string())?;
    Ok(if compared.is_same() { Exit::Done } else { Exit::No })
}
