//! The words of eco-report.

use clap::{Parser, ValueEnum, ValueHint};
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Read a recorded stream and write the report about its last incident
#[derive(Debug, Parser)]
#[command(name = "eco-report", version)]
#[command(
    mut_arg("config", |arg| arg.help(UNUSED).long_help(UNUSED)),
    mut_arg("root", |arg| arg.help(UNUSED).long_help(UNUSED)),
    mut_arg("store", |arg| arg.help(UNUSED).long_help(UNUSED)),
    mut_arg("json", |arg| arg.long_help("Copy the stream as records, also to a terminal.\n\nThe report is not changed by it.")),
    mut_arg("human", |arg| arg.long_help("Copy the stream as tables, also into a pipe.\n\nThe report is not changed by it.")),
)]
pub struct Args {
    /// What to write the report as
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Md)]
    pub format: Format,
    /// Write the report to this file, the stream to stdout.
    ///
    /// FILE is replaced in one step when the report is complete, and is untouched until then; the stream is copied byte for byte. A
    /// new file gets the permissions that the shell's `>` would give it, an existing one keeps its own. Reports name paths, versions
    /// and weaknesses: set umask(1) to 077 where others can read the folder.
    ///
    /// With it a reader that leaves does not end the report, and neither does the first interrupt: that ends the programs before this
    /// one, and then the report is written. A second interrupt ends `eco-report` at once.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Gather evidence for the root cause into the folder DIR: what differs, what was changed, lines of logs; secrets are masked
    ///
    /// The service is the one that `-c`, `--root` and `--store` name. DIR must not be there, be empty, or be evidence of an earlier run, which is replaced.
    #[arg(long, value_name = "DIR")]
    pub evidence: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// A report comes from the stream alone; scripts may pass these to every program.
const UNUSED: &str = "Not needed: a report comes from the stream alone";

/// The forms that a report can take.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// Markdown
    Md,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
