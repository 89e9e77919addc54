//! The words of eco-rollout.

use clap::{Parser, ValueHint};
use eco::record::Scope;
use eco::tool::{CONFIG, Common, Words};
use std::path::PathBuf;

/// Gives a new version its traffic step by step, as far as the records show that it is fit for it, and takes it back
#[derive(Parser)]
#[command(name = "eco-rollout", version, after_help = "Reads records from stdin. The plan is described in eco.toml(5), under [rollout].")]
#[command(
    mut_arg("config", |arg| arg.long_help(format!("{CONFIG}\n\nWithout one, commands run in the folder that the program was started in."))),
    mut_arg("store", |arg| arg.long_help("Where snapshots live.\n\n`eco-rollout` does not look there.")),
)]
pub struct Args {
    /// Follow this plan instead of the one in eco.toml.
    ///
    /// It is TOML, or YAML if its name ends in `.yaml` or `.yml`. A file that names commands must not be writable by others.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plan: Option<PathBuf>,
    /// Go on where this log of an earlier run ends.
    ///
    /// The records of the past are remembered, and nothing is done about them.
    #[arg(long, value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub resume: Option<PathBuf>,
    /// Write the record that asks for a rollout, and end.
    ///
    /// stdin is not read. VERSION should name its content, as `planner@r42` does: a word that failed once is refused.
    #[arg(long, value_name = "VERSION", requires = "target", conflicts_with_all = ["plan", "resume", "only"])]
    pub start: Option<String>,
    /// What VERSION is a version of.
    ///
    /// It is what is rolled back if it fails, such as `module:planner`.
    #[arg(long, value_name = "SCOPE", requires = "start")]
    pub target: Option<Scope>,
    /// Write rollouts and decisions only, not what was read
    #[arg(long)]
    pub only: bool,
    #[command(flatten)]
    pub common: Common,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
