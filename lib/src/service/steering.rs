//! Carries the orders of a rollout out, through the commands of its plan.

use super::command::{self, Output};
use crate::record::{Record, Stamp, to_json};
use crate::rollout::{Command, Order, Plan};
use crate::time::Timestamp;
use std::path::{Path, PathBuf};

/// The commands of a plan, and where they run.
#[derive(Clone, Debug)]
pub struct Steering {
    root: PathBuf,
    plan: Plan,
    ecosystem: Option<String>,
    /// For `$ECO_CONFIG`: the programs of the suite among the commands are about the same service.
    config: Option<String>,
}

impl Steering {
    /// Commands run in `root` (absolute). `config` is the service's description, which they find in `$ECO_CONFIG`.
    pub fn new(plan: Plan, root: &Path, config: Option<&Path>) -> Steering {
        let config = config.and_then(|file| std::path::absolute(file).ok()).map(|file| file.display().to_string());
        Steering { root: root.to_owned(), plan, ecosystem: None, config }
    }

    /// The name that the records on the commands' standard input carry.
    pub fn about(&mut self, ecosystem: Option<&str>) {
        self.ecosystem = ecosystem.map(String::from);
    }

    /// Runs the command that an order asks for and waits for its end. Its output goes to our stderr; after its deadline its process
    /// group gets TERM, and KILL two seconds later. Without a command there is nothing to do.
    ///
    /// # Errors
    /// A sentence that says which command failed, for what, and how.
    pub fn carry_out(&self, order: &Order) -> Result<(), String> {
        let (which, argv, what, input) = match order {
            Order::Set(percentage) => {
                // The program is chosen by the plan alone.
                let words = self.plan.set.iter().enumerate();
                let argv = words.map(|(at, word)| if at == 0 { word.clone() } else { word.replace("{percentage}", &percentage.to_string()) });
                (Command::Set, argv.collect(), format!("the traffic of the new version was not set to {percentage} %"), None)
            }
            Order::Gate { start: (time, start), known } => {
                let mut input: String = known.iter().map(|(time, record)| self.line(*time, record.clone())).collect();
                input += &self.line(*time, Record::Rollout((**start).clone()));
                (Command::Gate, self.plan.gate.clone(), format!("the gate stays closed for {}", start.version.escape_debug()), Some(input))
            }
            Order::RollBack(time, decision) => {
                let input = self.line(*time, Record::Decision((**decision).clone()));
                (Command::Rollback, self.plan.rollback.clone(), format!("decision {} was not carried out", decision.id.escape_debug()), Some(input))
            }
        };
        if argv.is_empty() {
            return Ok(());
        }
        let env: Vec<(&str, &str)> = self.config.iter().map(|file| ("ECO_CONFIG", file.as_str())).collect();
        let ran = command::run(&self.root, &argv, &env, self.plan.deadline(which), Output::ToStderr, input);
        ran.why().map_or(Ok(()), |why| Err(format!("{what}: {why}")))
    }

    fn line(&self, time: Timestamp, record: Record) -> String {
        let stamp = Stamp { time, ecosystem: self.ecosystem.clone(), host: None };
        let mut line = String::from_utf8_lossy(&to_json(&stamp, &record)).into_owned();
        line.push('\n');
        line
    }
}
