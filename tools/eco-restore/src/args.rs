//! The words of eco-restore.

use clap::{Parser, ValueEnum, ValueHint};
use eco::record::Scope;
use eco::restore::Staging;
use eco::time::Span;
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Carry out a decision, or restore a snapshot: stage, exchange, prove, and swap back if it does not
#[derive(Parser)]
#[command(name = "eco-restore", version)]
pub struct Args {
    /// The snapshot to go back to; stdin is not read.
    ///
    /// An id, its beginning or its last six characters, `latest-good`, `latest`, `latest:KIND`, or the path of an archive;
    /// see "Which snapshot" in eco-restore(1). Without it: what the decisions on stdin say.
    #[arg(value_name = "SELECTOR", value_hint = ValueHint::FilePath)]
    pub selector: Option<String>,
    /// What to roll back; several if given again.
    ///
    /// One of `full`, `config`, `module:ID`, `automation:ID`, `optimization:ID` and `experiment:ID`; where a SELECTOR is given, `full`
    /// is the default. Several are rolled back at once. Without a SELECTOR the one snapshot on stdin is restored in this scope;
    /// see "Which scope" in eco-restore(1).
    #[arg(short, long, value_name = "SCOPE")]
    pub scope: Vec<Scope>,
    /// Extract into this folder, touch nothing else.
    ///
    /// It must be new or empty. Neither the live tree nor the service is touched, and preserved paths are extracted, too. Owners or
    /// attributes that cannot be set are named, and the exit status is 3.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub target: Option<PathBuf>,
    /// Carry out the plan in this file.
    ///
    /// It is refused unless the tree and the snapshot are still as the plan saw them. `-` stands for stdin; see "A plan now, the rollback later" in
    /// eco-restore(1).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["selector", "scope", "target", "undo", "recover", "abort"])]
    pub plan: Option<PathBuf>,
    /// Show the plan and end.
    ///
    /// The exit status is 4 if a command that would be run is not there, or there is no room. Nothing is written, and a rollback that
    /// was interrupted is not finished (6).
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Carry out decisions that only propose, too.
    ///
    /// Those of paused rollouts are not carried out by it.
    #[arg(long)]
    pub approve: bool,
    /// Carry out decisions that were carried out before
    #[arg(long)]
    pub again: bool,
    /// Put the tree from before a rollback back.
    ///
    /// It is the last rollback, or the one with this id or ending; see "Undo" in eco-restore(1).
    #[arg(long, value_name = "ID", num_args = 0..=1, conflicts_with_all = ["selector", "scope", "target", "recover", "abort"])]
    pub undo: Option<Option<String>>,
    /// Finish a rollback that was interrupted, and end.
    ///
    /// Nothing to finish is no error. With `--quiet` it is the guard of a start, and leaves the service to whoever is starting it;
    /// see "Before the service starts" in eco-restore(1).
    #[arg(long, conflicts_with_all = ["selector", "scope", "target", "dry_run"])]
    pub recover: bool,
    /// Take back a rollback that was interrupted, and end.
    ///
    /// Nothing to take back is no error.
    #[arg(long, conflicts_with_all = ["selector", "scope", "target", "dry_run", "recover"])]
    pub abort: bool,
    /// What to do if the new tree does not prove healthy.
    ///
    /// It does not if the service does not start on it, does not become healthy, or fails its self-test. `--undo` works either way.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnFailure::Revert)]
    pub on_failure: OnFailure,
    /// Trust times and lengths; otherwise files are read.
    ///
    /// A live file is taken for unchanged if its inode, length and times are those of the capture. Otherwise every file of the same
    /// length is read. The new tree is the same either way, because all of it is read back; the plan may miss a change that left no
    /// trace in these.
    #[arg(long)]
    pub quick: bool,
    /// How unchanged files get into the new tree.
    ///
    /// See "How unchanged files are staged" in eco-restore(1).
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Stage::Clone)]
    pub stage: Stage,
    /// Wait so long for another rollback to end.
    ///
    /// As in `5m`. Without it: not at all.
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<Span>,
    /// Neither stop nor start the service.
    ///
    /// Then its health is not asked either.
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
    /// Bring the tree from before back; the exit status is 5
    Revert,
    /// Leave the new one live, and say so; the exit status is 1
    Keep,
}

/// How unchanged files get into the new tree.
#[derive(Clone, Copy, ValueEnum)]
pub enum Stage {
    /// Share their blocks, where the filesystem can
    Clone,
    /// Write them out
    Extract,
    /// Further names of the live files: only for a service that never writes into one
    Link,
}

impl From<Stage> for Staging {
    fn from(stage: Stage) -> Staging {
        match stage {
            Stage::Clone => Staging::Clone,
            Stage::Extract => Staging::Extract,
            Stage::Link => Staging::Link,
        }
    }
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
