//! The stream from its first line to its last, with or without a memory of what came before.

use crate::args::Args;
use eco::error::{Error, Exit, Result};
use eco::policy::{Heard, Judge, Options, Policy};
use eco::record::{Line, Severity, Stamp};
use eco::tool::{Kept, Tool, mark};
use std::path::Path;

/// Judges the stream to its end, and says how things stand there.
pub fn decide(args: &Args, policy: Policy, options: Options, tool: &mut Tool) -> Result<Exit> {
    let Some(file) = &args.state else {
        let mut judge = Judge::new(policy, options);
        while let Some(line) = tool.read()? {
            let heard = judge.feed(&line.stamp, &line.record);
            say(tool, &line, heard)?;
        }
        return Ok(end(args, &judge, tool));
    };
    let (mut kept, mut judge) = recall(file, policy, options, tool)?;
    while tool.save_when_due(&mut kept, || judge.remember())? {
        let Some(line) = tool.read()? else { break };
        let heard = judge.feed_once(&line.stamp, &line.record, mark(&line.raw));
        kept.changed(!heard.decisions.is_empty());
        say(tool, &line, heard)?;
    }
    tool.save_at_end(&mut kept, || judge.remember())?;
    if tool.asked_to_stop() {
        return Err(Error::Interrupted(format!("the same command goes on from {}", kept.name())));
    }
    Ok(end(args, &judge, tool))
}

/// Goes on where the file ends; a policy that has changed since then is no error, but is told.
fn recall(file: &Path, policy: Policy, options: Options, tool: &mut Tool) -> Result<(Kept, Judge)> {
    let (kept, memory) = tool.keep(file)?;
    let Some(memory) = memory else { return Ok((kept, Judge::new(policy, options))) };
    let (judge, told) = Judge::recall(&memory, policy, options).map_err(|why| kept.refuse(&why))?;
    if let Some(told) = told {
        tool.say(&format!("{} was written under other rules: {told}", kept.name()));
    }
    Ok((kept, judge))
}

fn say(tool: &mut Tool, line: &Line, heard: Heard) -> Result<()> {
    for warning in heard.warnings {
        tool.say(&format!("line {}: {warning}", line.number));
    }
    for (time, decision) in heard.decisions {
        // No host: whoever replays the stream elsewhere gets the same bytes.
        tool.emit_at(&Stamp { time, ecosystem: line.stamp.ecosystem.clone(), host: None }, decision)?;
    }
    Ok(())
}

fn end(args: &Args, judge: &Judge, tool: &Tool) -> Exit {
    if judge.again() > 0 {
        tool.say(&format!("{} records were taken in by an earlier run, and were not counted again", judge.again()));
    }
    if judge.late() > 0 {
        tool.say(&format!("{} records came more than 2 minutes late and were not used", judge.late()));
    }
    if let Some(sentence) = judge.pending() {
        tool.say(&sentence);
    }
    let seen_all = if judge.unjudged() > 0 {
        tool.say(&format!("{} records were of ecosystems that are not judged", judge.unjudged()));
        Exit::Unfinished
    } else {
        Exit::Done
    };
    let standing = match judge.severity() {
        _ if !args.exit_status => Exit::Done,
        _ if judge.is_unknown() => Exit::Unfinished,
        Some(severity) if severity > Severity::Low => Exit::No,
        _ => Exit::Done,
    };
    seen_all.and(standing)
}
