//! The words of eco-decide.

use clap::Parser;
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Applies the policy to a stream of records and adds a `decision` where one is due
#[derive(Parser)]
#[command(name = "eco-decide", version, after_help = "Reads records from stdin. The policy file is described in eco-policy(5).")]
pub struct Args {
    /// Decide by this policy instead of the built-in one
    #[arg(short, long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Write the built-in policy to stdout
    #[arg(long, exclusive = true)]
    pub print_policy: bool,
    /// Look for mistakes in a policy file, and read no records
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "diff", "state", "now", "dry_run", "exit_status", "only"])]
    pub check: Option<PathBuf>,
    /// Show what this policy and the one in use would have decided over a history, incident by incident
    #[arg(long, value_name = "OLD", conflicts_with_all = ["state", "exit_status", "only", "json"])]
    pub diff: Option<PathBuf>,
    /// Remember the stream in this file, and go on from what it remembers
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// One sample is proof enough: a person is asking
    #[arg(long)]
    pub now: bool,
    /// Propose what would otherwise be rolled back
    #[arg(long)]
    pub dry_run: bool,
    /// End with 1 if an incident above low is open, with 3 if there is no data
    #[arg(long)]
    pub exit_status: bool,
    /// Write decisions only, not the records that were read
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
