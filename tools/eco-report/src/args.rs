//! The words of eco-report.

use clap::{Parser, ValueEnum};
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Read a recorded stream and write the report about its last incident
#[derive(Debug, Parser)]
#[command(name = "eco-report", version)]
pub struct Args {
    /// What to write the report as
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Md)]
    pub format: Format,
    /// Write the report to FILE, all at once, and the stream to stdout as it was read
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// The forms that a report can take.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// Markdown
    Md,
    /// One HTML file with charts, complete in itself
    Html,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
