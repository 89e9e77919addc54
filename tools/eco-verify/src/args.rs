//! The words of eco-verify.

use clap::{Parser, ValueEnum};
use eco::store;
use eco::tool::{Common, Words};

/// Re-hash the archives that `snapshot` records point to, and add `verification` records
#[derive(Parser)]
#[command(name = "eco-verify", version)]
pub struct Args {
    /// Snapshots or archives to verify; without any, `snapshot` records are read from stdin
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// How deep to look
    #[arg(long, value_enum, default_value_t = Depth::Data)]
    pub depth: Depth,
    /// Compare the live tree with the snapshot instead, one `difference` record a path
    #[arg(long, conflicts_with = "depth")]
    pub live: bool,
    /// Do not copy the input
    #[arg(long)]
    pub only: bool,
    #[command(flatten)]
    pub common: Common,
}

/// How deep to look.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Depth {
    /// The index: structure, names, bounds
    Index,
    /// Every byte against its digest, every header against the index
    Data,
}

impl From<Depth> for store::Depth {
    fn from(depth: Depth) -> store::Depth {
        match depth {
            Depth::Index => store::Depth::Index,
            Depth::Data => store::Depth::Data,
        }
    }
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
