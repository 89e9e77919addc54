//! The words of eco-rollout.

use clap::Parser;
use eco::record::Scope;
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Gives a new version its traffic step by step, as far as the records show that it is fit for it, and takes it back
#[derive(Parser)]
#[command(name = "eco-rollout", version, after_help = "Reads records from stdin. The plan is described in eco.toml(5), under [rollout].")]
pub struct Args {
    /// Follow this plan (TOML, or YAML by its name) instead of the one in eco.toml
    #[arg(short, long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Go on where this log of an earlier run ends
    #[arg(long, value_name = "LOG")]
    pub resume: Option<PathBuf>,
    /// Write the record that asks for a rollout of VERSION, and end; stdin is not read
    #[arg(long, value_name = "VERSION", requires = "target", conflicts_with_all = ["plan", "resume", "only"])]
    pub start: Option<String>,
    /// What VERSION is a version of, and what is rolled back if it fails
    #[arg(long, value_name = "SCOPE", requires = "start")]
    pub target: Option<Scope>,
    /// Write rollout and decision records only, not the records that were read
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
