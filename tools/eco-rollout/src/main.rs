//! eco-rollout: more traffic for a new version as long as the records speak for it, none as soon as they speak against it.

mod args;

use args::Args;
use eco::config;
use eco::error::{Error, Exit, Result};
use eco::record::Stamp;
use eco::rollout::{self, Pilot, Step};
use eco::service::Steering;
use eco::tool::{self, Tool};
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Exit> {
        let config = tool.config_if_any()?;
        let name = config.as_ref().map(|config| config.name.clone());
        if let (Some(version), Some(target)) = (args.start, args.target) {
            let start = rollout::start(tool.new_id(), version, target)?;
            let time = tool.now();
            tool.emit_at(&Stamp { ecosystem: name, ..tool.stamp(time) }, start)?;
            return Ok(Exit::Done);
        }
        let plan = match &args.plan {
            Some(file) => config::load_plan(file)?,
            None => config.as_ref().and_then(|config| config.rollout.clone()).ok_or_else(no_plan)?,
        };
        let root = config.as_ref().map_or_else(|| tool.root(), |config| Ok(config.root.clone()))?;
        let steering = Steering::new(plan.clone(), &root, config.as_ref().and_then(|config| config.file.as_deref()));
        let mut pilot = Pilot::new(plan, name);
        if let Some(log) = &args.resume {
            pilot.recall_all(&tool.read_bytes(log)?);
        }
        tool.open_input("pipe records in, as in: eco-health --every 60s | eco-rollout --plan rollout.toml")?;
        if args.only {
            tool.drop_input();
        }
        Ok(Cockpit { pilot, steering }.fly(tool)?)
    })
}

fn no_plan() -> Error {
    Error::Config("no plan: name one with --plan FILE, or write [rollout] into eco.toml".into())
}

/// The one who decides, and the one who acts.
struct Cockpit {
    pilot: Pilot,
    steering: Steering,
}

impl Cockpit {
    /// Guides the rollouts of the stream to its end.
    fn fly(mut self, tool: &mut Tool) -> Result<Exit> {
        let steps = self.pilot.resume();
        self.take(tool, steps)?;
        while let Some(line) = tool.read()? {
            let steps = self.pilot.feed(&line.stamp, &line.record);
            self.take(tool, steps)?;
            if tool.asked_to_stop() {
                return Err(Error::Interrupted("the last rollout record says where to go on".into()));
            }
        }
        if self.pilot.late() > 0 {
            tool.say(&format!("{} records came more than 2 minutes late and were not used", self.pilot.late()));
        }
        Ok(if self.pilot.is_stuck() { Exit::Unfinished } else { Exit::Done })
    }

    fn take(&mut self, tool: &mut Tool, mut steps: Vec<Step>) -> Result<()> {
        while !steps.is_empty() {
            for step in std::mem::take(&mut steps) {
                // No host: whoever replays the stream elsewhere gets the same bytes.
                let stamp = |time| Stamp { time, ecosystem: self.pilot.ecosystem().map(String::from), host: None };
                match step {
                    Step::Write(time, record) => tool.emit_at(&stamp(time), *record)?,
                    Step::Say(sentence) => tool.say(&sentence),
                    Step::Do(order) => {
                        tool.changes_something()?;
                        tool.flush()?;
                        self.steering.about(self.pilot.ecosystem());
                        steps = self.pilot.ended(self.steering.carry_out(&order));
                    }
                }
            }
            tool.flush()?;
        }
        Ok(())
    }
}
