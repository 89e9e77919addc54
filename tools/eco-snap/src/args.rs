//! The words of eco-snap.

use clap::Parser;
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Take a snapshot: one verified archive in the store, one `snapshot` record
#[derive(Parser)]
#[command(name = "eco-snap", version)]
pub struct Args {
    /// Capture these roots only, relative to the ecosystem's root [default: everything]; `-` reads health records from stdin first
    #[arg(value_name = "ROOT")]
    pub roots: Vec<PathBuf>,
    /// What the snapshot is for
    #[arg(short, long, value_name = "KIND", default_value = "manual", value_parser = ["manual", "pre-deployment", "daily", "weekly", "monthly"])]
    pub kind: String,
    /// A person says that the service is healthy: the snapshot counts as good
    #[arg(long)]
    pub good: bool,
    /// No retention rule lets it go, until eco-ctl unpins it
    #[arg(long, conflicts_with = "output")]
    pub pin: bool,
    /// Hold everything [default, but for daily snapshots]
    #[arg(long, conflicts_with = "differential")]
    pub full: bool,
    /// Hold what differs from the newest verified full snapshot of the same roots [default for daily snapshots]
    #[arg(long, conflicts_with = "output")]
    pub differential: bool,
    /// Read every file, also those whose times say that they have not changed
    #[arg(long)]
    pub rehash: bool,
    /// Compression, from 0 (none) to 12 (smallest)
    #[arg(long, value_name = "N", default_value_t = eco::archive::LEVEL, value_parser = clap::value_parser!(i32).range(0..=12))]
    pub level: i32,
    /// Write the archive to this new file instead of the store
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
