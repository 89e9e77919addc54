//! The words of eco-report.

use clap::{Parser, ValueEnum, ValueHint};
use eco::error::{Error, Result};
use eco::tool::{Common, Words};
use std::fs;
use std::path::PathBuf;

/// Read a recorded stream and write the report about one incident in it
#[derive(Debug, Parser)]
#[command(name = "eco-report", version)]
#[command(
    mut_arg("json", |arg| arg.long_help("Copy the stream as records, also to a terminal.\n\nThe report is not changed by it.")),
    mut_arg("human", |arg| arg.long_help("Copy the stream as tables, also into a pipe.\n\nThe report is not changed by it.")),
)]
pub struct Args {
    /// What to write the report as.
    ///
    /// Without it Markdown, with `--list` text.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
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
    /// Write a list of the incidents instead.
    ///
    /// One line each, the one that began last at the end. State is `ongoing`, `resolved` or, for a rollback that no decision asked
    /// for, `undecided`. The scope is what was rolled back, else what was meant to be.
    #[arg(long, conflicts_with_all = ["incident", "merge", "assets", "evidence"])]
    pub list: bool,
    /// The incident to report on; else the last one.
    ///
    /// Its id as `--list` shows it, or as much of it as no other begins with. In a stream with several services two incidents may
    /// share an id; `SERVICE/ID` then says which.
    #[arg(long, value_name = "ID")]
    pub incident: Option<String>,
    /// Carry over what people wrote into this old report.
    ///
    /// OLD must be a report in Markdown. It may be the same file as that of `--output`.
    #[arg(long, value_name = "OLD", value_hint = ValueHint::FilePath)]
    pub merge: Option<PathBuf>,
    /// Write the charts into this folder, and link them.
    ///
    /// They are SVG files; DIR is made if it is not there; only with `-f md`. The links lead there from the folder of the report,
    /// without `-o` from the current folder. Files of these names are replaced, others are left alone.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub assets: Option<PathBuf>,
    /// Gather evidence for the root cause into this folder.
    ///
    /// What differs, what was changed, lines of logs; secrets are masked. The service is the one that `-c`, `--root` and `--store`
    /// name. DIR must not be there, be empty, or be evidence of an earlier run, which is replaced. If somebody has changed a file of
    /// that, or added one, it is kept as DIR.old-1.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub evidence: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// The forms that a report can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Markdown, with places for what people write
    Md,
    /// One HTML file with charts, without scripts, complete in itself
    Html,
    /// Plain text for a mail or a terminal; the worst stands first
    Text,
    /// One JSON object
    Json,
}

impl Args {
    /// The form to write.
    pub fn format(&self) -> Format {
        self.format.unwrap_or(if self.list { Format::Text } else { Format::Md })
    }

    /// Words that do not go together.
    pub fn check(&self) -> Result<()> {
        let wrong = |why: &str| Err(Error::Usage(why.to_owned()));
        let format = self.format();
        if self.list && !matches!(format, Format::Text | Format::Json) {
            return wrong("--list is written as text or json");
        }
        if self.assets.is_some() && format != Format::Md {
            return wrong("--assets goes with -f md: html holds its charts, text and json have none");
        }
        let Some(old) = &self.merge else { return Ok(()) };
        let whole = |file: &PathBuf| fs::canonicalize(file).ok();
        if old.as_os_str() == "-" {
            return wrong("--merge wants a file: standard input is the stream");
        }
        if format != Format::Md && whole(old).is_some() && whole(old) == self.output.as_ref().and_then(whole) {
            return wrong("-o would replace the report that --merge reads by one that cannot be merged again: only md can");
        }
        Ok(())
    }
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
