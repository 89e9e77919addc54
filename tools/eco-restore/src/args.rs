//! The words of eco-restore.

use clap::{Parser, ValueEnum};
use eco::record::Scope;
use eco::restore::Staging;
use eco::time::Span;
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Carry out a decision, or restore a snapshot: stage, exchange, prove, and swap back if it does not
#[derive(Parser)]
#[command(name = "eco-restore", version)]
pub struct Args {
    /// The snapshot: an id, its beginning or last six characters, latest-good, latest, latest:KIND, or an archive's path
    /// [default: what the decisions on stdin say]
    #[arg(value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// What to roll back: full, config, module:ID, automation:ID, optimization:ID or experiment:ID [default with SELECTOR: full];
    /// several of them at once if given again; without SELECTOR, the one snapshot on stdin is restored in this scope
    #[arg(short, long, value_name = "SCOPE")]
    pub scope: Vec<Scope>,
    /// Extract into this empty or new folder instead; the live tree and the service are not touched
    #[arg(long, value_name = "DIR")]
    pub target: Option<PathBuf>,
    /// Carry out the plan in this file (- is stdin), if the tree and the snapshot are still as it saw them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["selector", "scope", "target", "undo", "recover", "abort"])]
    pub plan: Option<PathBuf>,
    /// Show the plan and end
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Carry out decisions that propose a rollback, too
    #[arg(long)]
    pub approve: bool,
    /// Carry out decisions that were carried out before
    #[arg(long)]
    pub again: bool,
    /// Put the tree from before the last rollback (or rollback ID) back
    #[arg(long, value_name = "ID", num_args = 0..=1, conflicts_with_all = ["selector", "scope", "target", "recover", "abort"])]
    pub undo: Option<Option<String>>,
    /// Finish a rollback that was interrupted, and end; with --quiet as the guard of a start, which is left to whoever is starting
    #[arg(long, conflicts_with_all = ["selector", "scope", "target", "dry_run"])]
    pub recover: bool,
    /// Go back to the tree from before a rollback that was interrupted, and end
    #[arg(long, conflicts_with_all = ["selector", "scope", "target", "dry_run", "recover"])]
    pub abort: bool,
    /// When the new tree does not prove healthy: revert puts the tree from before back, keep leaves the new one live
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true, default_value_t = OnFailure::Revert)]
    pub on_failure: OnFailure,
    /// Take a file for unchanged if its inode, length and times are; otherwise it is read
    #[arg(long)]
    pub quick: bool,
    /// How unchanged files get into the new tree: clone (share their blocks where the filesystem can), extract, or link (further
    /// names of the live files: only for a service that always replaces a file and never writes into one) [default: clone]
    #[arg(long, value_name = "HOW", default_value = "clone", hide_default_value = true, value_parser = staging)]
    pub stage: Staging,
    /// Wait so long for another rollback to end [default: not at all]
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<Span>,
    /// Neither stop nor start the service
    #[arg(long)]
    pub no_control: bool,
    /// Accept a snapshot of another ecosystem
    #[arg(long)]
    pub adopt: bool,
    /// Do not copy the input
    #[arg(long)]
    pub only: bool,
    #[command(flatten)]
    pub common: Common,
}

/// What becomes of a new tree that does not prove healthy.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum OnFailure {
    Revert,
    Keep,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn staging(word: &str) -> Result<Staging, String> {
    match word {
        "clone" => Ok(Staging::Clone),
        "extract" => Ok(Staging::Extract),
        "link" => Ok(Staging::Link),
        _ => Err("write clone, extract or link".into()),
    }
}
