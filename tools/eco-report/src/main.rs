//! eco-report: the stream so far -> the incident report, with every field from a record or *not recorded*.
mod args;
mod write;

use args::Args;
use eco::error::Exit;
use eco::report::{self, Story};
use eco::tool::{self, Tool};
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(report)
}

fn report(args: Args, tool: &mut Tool) -> anyhow::Result<Exit> {
    args.check()?;
    let file = args.output.as_deref().map(report::destination).transpose()?;
    let album = args.assets.as_deref().map(|folder| report::album(folder, args.output.as_deref())).transpose()?;
    // An old report that cannot be read is told now and not after hours. It is read again when they are over.
    write::old(&args, tool)?;
    let people = write::people(&args, tool)?;
    tool.open_input("give it a recorded stream, as in: eco-report < incident.ndjson > incident.md")?;
    match &file {
        // The report takes the place of the stream.
        None => tool.drop_input(),
        // A reader that leaves, or Ctrl-C for the whole pipe, ends the reading and not the report.
        Some(_) => tool.changes_something()?,
    }
    let mut story = Story::default();
    let mut failure = None;
    loop {
        match tool.read() {
            Ok(Some(line)) if line.fault.is_none() => story.add(line.stamp, line.record),
            Ok(Some(_)) => {}
            Ok(None) => break,
            // Half a story that says so is worth more at night than none.
            Err(error) => {
                story.cut_short(&error.to_string());
                failure = Some(error);
                break;
            }
        }
    }
    story.bad_lines(tool.bad_lines());
    let (text, exit) = if args.list { write::list(&args, &story) } else { write::report(&args, tool, &story, people, album)? };
    match file {
        Some(file) => file.write(&text)?,
        None => tool.print(&text)?,
    }
    if let Some(error) = failure {
        return Err(error.into());
    }
    if exit == Exit::No {
        tool.say("the stream holds no incident");
    }
    Ok(exit)
}
