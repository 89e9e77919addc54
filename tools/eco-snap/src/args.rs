//! The words of eco-snap.

use clap::{Parser, ValueHint};
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Take a snapshot: one verified archive in the store, one `snapshot` record
#[derive(Parser)]
#[command(name = "eco-snap", version)]
pub struct Args {
    /// Capture these roots only; `-` reads stdin first.
    ///
    /// Folders and files, relative to the ecosystem's root. A rollback can then be had of the scopes that they cover, which the record
    /// lists. Without any: everything.
    ///
    /// A `-` copies the records on stdin to stdout first, byte for byte; the health among them tells whether the snapshot is good.
    /// Without it stdin is not read.
    #[arg(value_name = "ROOT", value_hint = ValueHint::AnyPath)]
    pub roots: Vec<PathBuf>,
    /// What the snapshot is for.
    ///
    /// It stands in the name and in the record, and selects: `latest:daily`.
    #[arg(short, long, value_name = "KIND", default_value = "manual", value_parser = ["manual", "pre-deployment", "daily", "weekly", "monthly"])]
    pub kind: String,
    /// The service is healthy, says a person.
    ///
    /// The snapshot counts as good.
    #[arg(long)]
    pub good: bool,
    /// Let no retention rule remove it.
    ///
    /// Until eco-ctl(1) unpins it.
    #[arg(long, conflicts_with = "output")]
    pub pin: bool,
    /// Hold everything.
    ///
    /// That is the default, but for daily snapshots.
    #[arg(long, conflicts_with = "differential")]
    pub full: bool,
    /// Hold what differs from the newest full one.
    ///
    /// From the newest verified full snapshot of the same roots, that is; see "Full and differential" in eco-snap(1). The default for
    /// daily snapshots.
    #[arg(long, conflicts_with = "output")]
    pub differential: bool,
    /// Read every file, also those with unchanged times
    #[arg(long)]
    pub rehash: bool,
    /// Compression, from 0 (none) to 12 (smallest)
    #[arg(long, value_name = "N", default_value_t = eco::archive::LEVEL, value_parser = clap::value_parser!(i32).range(0..=12))]
    pub level: i32,
    /// Write to this new file instead of the store.
    ///
    /// Listings do not show it; it is named by its path.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
