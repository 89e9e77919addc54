//! The words of eco-decide.

use clap::{Parser, ValueHint};
use eco::tool::{CONFIG, Common, Words};
use std::path::PathBuf;

/// Applies the policy to a stream of records and adds a `decision` where one is due
#[derive(Parser)]
#[command(name = "eco-decide", version, after_help = "Reads records from stdin. The policy file is described in eco-policy(5).")]
#[command(
    mut_arg("config", |arg| arg.long_help(format!("{CONFIG}\n\nIts critical modules count beside those of the policy; nothing else is taken \
        from it, and nothing is missing without it."))),
    mut_arg("store", |arg| arg.long_help("Where snapshots live.\n\n`eco-decide` does not look there.")),
)]
pub struct Args {
    /// Decide by this policy instead of the built-in one.
    ///
    /// `-` stands for stdin, which is of use with `--check` only.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Write the built-in policy to stdout.
    ///
    /// It is the place to begin for one's own.
    #[arg(long, exclusive = true)]
    pub print_policy: bool,
    /// Look for mistakes in a policy file; read no records.
    ///
    /// Unknown words, metrics that do not exist and rules that can never decide anything end it with 2. What is odd but usable is
    /// mentioned: values that keep each other from counting, names of which no rule makes use, metrics that no rule looks at.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["policy", "diff", "state", "now", "dry_run", "exit_status", "only"])]
    pub check: Option<PathBuf>,
    /// Compare with the policy in use over a history.
    ///
    /// Shows what this policy and the one in use would have decided, incident by incident;
    /// see "COMPARING POLICIES" in eco-decide(1).
    #[arg(long, value_name = "OLD", value_hint = ValueHint::FilePath, conflicts_with_all = ["state", "exit_status", "only", "json"])]
    pub diff: Option<PathBuf>,
    /// Remember the stream in this file, and go on from it.
    ///
    /// See "STATE" in eco-decide(1).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub state: Option<PathBuf>,
    /// One sample is proof enough: a person is asking.
    ///
    /// Proof gets shorter for every rule, and that is all: what would be a proposal is still a proposal, and the limits on rollbacks
    /// hold.
    #[arg(long)]
    pub now: bool,
    /// Propose what would otherwise be rolled back.
    ///
    /// As if somebody had said `hold`.
    #[arg(long)]
    pub dry_run: bool,
    /// End with 1 if an incident is open.
    ///
    /// Only one above low counts. It ends with 3 if there is no data: an ecosystem has fallen silent, or nobody could say whether it is
    /// up.
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
