//! The words of eco-prune.

use clap::{Args as Group, Parser};
use eco::retention::Counts;
use eco::time::Span;
use eco::tool::{Common, Words};

/// Say which snapshots may go and why, and remove them with --apply
///
/// Reads snapshot records from stdin, as in: eco-ls | eco-prune. A --keep flag wins over its key in eco.toml.
#[derive(Parser)]
#[command(name = "eco-prune", version)]
pub struct Args {
    /// Decide about these only, instead of reading stdin: an id, its beginning or its last six characters, latest:KIND and so on
    #[arg(value_name = "SELECTOR")]
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
    /// Keep the newest N
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest of each hour, for N hours that have one
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the newest of each day, for N days that have one
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest of each week, for N weeks that have one
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest of each month, for N months that have one
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest of each year, for N years that have one
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep all that were taken less than this before the newest one
    #[arg(long, value_name = "TIME")]
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
