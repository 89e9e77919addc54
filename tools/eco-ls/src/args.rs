//! The words of eco-ls.

use clap::{Parser, ValueHint};
use eco::tool::{Common, Words};

/// List stored snapshots, newest first, as `snapshot` records
#[derive(Parser)]
#[command(name = "eco-ls", version)]
pub struct Args {
    /// Only these; `-` copies stdin first.
    ///
    /// An id, its beginning or its last six characters, `latest`, `latest-good`, `latest:KIND`, or the path of an archive;
    /// see "Selectors" in eco-ls(1). Without any: all that the store holds.
    ///
    /// A `-` among them copies the records on stdin to stdout first, byte for byte. Without it stdin is not read.
    #[arg(value_name = "SELECTOR", value_hint = ValueHint::FilePath)]
    pub selectors: Vec<String>,
    /// Only this kind.
    ///
    /// The kinds are `manual`, `pre-deployment`, `daily`, `weekly`, `monthly` and `safety`.
    #[arg(short, long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only those taken before this time.
    ///
    /// As in `2026-03-01T10:00:00Z` or `2h ago`.
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
    /// Only those taken after this time
    #[arg(long, value_name = "TIME")]
    pub after: Option<String>,
    /// Only those taken in good health, and verified
    #[arg(long)]
    pub good: bool,
    /// List the entries of each snapshot, too.
    ///
    /// All of them, or those whose path matches GLOB: `*` stays within a name, `**` crosses folders; a pattern without a slash matches
    /// a name at any depth. Write it last or as `--files=GLOB`, or the next word is taken for the pattern.
    #[arg(long, value_name = "GLOB", num_args = 0..=1, default_missing_value = "**")]
    pub files: Option<String>,
    /// Say what changed from snapshot `A` to `B` instead.
    ///
    /// Both are selectors. With `--files=GLOB` only in the paths that match; see "Differences" in eco-ls(1).
    #[arg(long, num_args = 2, value_names = ["A", "B"], value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["selectors", "kind", "before", "after", "good"])]
    pub diff: Option<Vec<String>>,
    #[command(flatten)]
    pub common: Common,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
