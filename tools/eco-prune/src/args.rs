//! The words of eco-prune.

use clap::{Args as Group, Parser, ValueHint};
use eco::retention::Counts;
use eco::time::Span;
use eco::tool::{Common, Words};

/// Say which snapshots may go and why, and remove them with --apply.
///
/// Reads snapshot records from stdin, as in: eco-ls | eco-prune. A --keep flag wins over its key in eco.toml.
#[derive(Parser)]
#[command(name = "eco-prune", version)]
pub struct Args {
    /// Decide about these only.
    ///
    /// stdin is not read. An id, its beginning or its last six characters, `latest`, `latest-good`, `latest:KIND`, or the path of an
    /// archive, as eco-ls(1) takes them.
    #[arg(value_name = "SELECTOR", value_hint = ValueHint::FilePath)]
    pub selectors: Vec<String>,
    /// Remove what no rule keeps
    #[arg(long)]
    pub apply: bool,
    /// Do not ask before removing
    #[arg(short, long, requires = "apply")]
    pub yes: bool,
    #[command(flatten)]
    pub keep: Keep,
    /// Do not copy stdin to stdout
    #[arg(long)]
    pub only: bool,
    #[command(flatten)]
    pub common: Common,
}

/// What to keep.
#[derive(Group)]
pub struct Keep {
    /// Keep the newest N.
    ///
    /// Each of the `--keep` flags wins over its key under `[retention]` in eco.toml(5); 0 switches the rule off.
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest of each of N hours that have one
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the newest of each of N days that have one
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest of each of N weeks that have one
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest of each of N months that have one
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest of each of N years that have one
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep what is less than this older than the newest.
    ///
    /// A duration such as `36h` or `7d`.
    #[arg(long, value_name = "DURATION")]
    keep_within: Option<Span>,
}

impl Keep {
    /// The rules that count.
    pub fn counts(&self) -> Counts {
        Counts {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
        }
    }
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
