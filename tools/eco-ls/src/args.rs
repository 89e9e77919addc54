//! The words of eco-ls.

use clap::Parser;
use eco::tool::{Common, Words};

/// List stored snapshots, newest first, as `snapshot` records
#[derive(Parser)]
#[command(name = "eco-ls", version)]
pub struct Args {
    /// Which ones: an id, its beginning or its last six characters, latest, latest-good, latest:KIND, or an archive's path
    /// [default: all]; `-` copies stdin first
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Only this kind
    #[arg(short, long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only those taken before this time (2026-03-01T10:00:00Z, or 2h ago)
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
    /// Only those taken after this time
    #[arg(long, value_name = "TIME")]
    pub after: Option<String>,
    /// Only those taken while the service was healthy, and verified
    #[arg(long)]
    pub good: bool,
    /// List the entries of each snapshot too, those that match GLOB
    #[arg(long, value_name = "GLOB", num_args = 0..=1, default_missing_value = "**")]
    pub files: Option<String>,
    /// Say what changed from snapshot A to snapshot B instead; with --files=GLOB in those paths only
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["selectors", "kind", "before", "after", "good"])]
    pub diff: Option<Vec<String>>,
    #[command(flatten)]
    pub common: Common,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
