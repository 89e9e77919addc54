//! The words of eco-report.

use clap::{Parser, ValueEnum};
use eco::error::{Error, Result};
use eco::tool::{Common, Words};
use std::fs;
use std::path::PathBuf;

/// Read a recorded stream and write the report about one incident in it
#[derive(Debug, Parser)]
#[command(name = "eco-report", version)]
pub struct Args {
    /// What to write the report as [default: md, with --list text]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Write the report to FILE, all at once, and the stream to stdout as it was read
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write a list of the incidents instead
    #[arg(long, conflicts_with_all = ["incident", "merge", "assets"])]
    pub list: bool,
    /// The incident to report on: its id, or as much of it as no other begins with [default: the last one]
    #[arg(long, value_name = "ID")]
    pub incident: Option<String>,
    /// Carry over what people wrote into the report OLD
    #[arg(long, value_name = "OLD")]
    pub merge: Option<PathBuf>,
    /// Write the charts to DIR, and link them in the report
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// The forms that a report can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Markdown
    Md,
    /// One HTML file with charts, complete in itself
    Html,
    /// Plain text, for a mail or a terminal
    Text,
    /// JSON
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
