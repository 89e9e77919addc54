//! The words of eco-health.

use clap::{Parser, ValueEnum};
use eco::error::{Error, Result};
use eco::time::Span;
use eco::tool::{Common, Words};
use std::path::{Path, PathBuf};

/// Ask the running service how it is
///
/// Asks every probe of eco.toml at the same time and writes one `health` record.
#[derive(Parser)]
#[command(name = "eco-health", version)]
pub struct Args {
    /// Copy the records on stdin first
    #[arg(value_name = "-", value_parser = ["-"])]
    pub stdin: Option<String>,
    /// Ask again and again, on a fixed grid of this width
    #[arg(long, value_name = "DURATION")]
    pub every: Option<Span>,
    /// End after this time
    #[arg(long = "for", value_name = "DURATION", requires = "every")]
    pub lasting: Option<Span>,
    /// End after so many samples
    #[arg(long, value_name = "N", requires = "every", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Copy what eco-ctl says into the stream, as soon as it is said
    #[arg(long, requires = "every")]
    pub listen: bool,
    /// Ask until the service is healthy, and write the last sample
    #[arg(long, value_name = "STATE", requires = "timeout", conflicts_with = "every")]
    pub wait: Option<Wanted>,
    /// Give up waiting after this time
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub timeout: Option<Span>,
    /// Answer as a monitoring plugin: one line with numbers, and 0, 1, 2 or 3
    #[arg(long, conflicts_with_all = ["every", "wait", "stdin", "json", "human", "openmetrics"])]
    pub plugin: bool,
    /// Write metrics: into FILE, beside the records, or to stdout instead of them
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", conflicts_with = "wait")]
    pub openmetrics: Option<PathBuf>,
    /// Say what each section of eco.toml resolves to, and ask nothing
    #[arg(long, conflicts_with_all = ["every", "wait", "stdin", "plugin", "openmetrics"])]
    pub check_config: bool,
    #[command(flatten)]
    pub common: Common,
}

/// What can be waited for.
#[derive(Clone, Copy, ValueEnum)]
pub enum Wanted {
    /// Healthy
    Ok,
}

impl Args {
    /// What clap cannot know.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub fn check(&self) -> Result<()> {
        if self.every.is_some_and(|every| every.0.is_zero()) {
            return Err(Error::Usage("--every 0s would never rest: give it a duration such as 60s".into()));
        }
        if self.metrics_to_stdout() {
            if self.every.is_some() {
                return Err(Error::Usage("--openmetrics to stdout is one text: with --every name a FILE that is renewed".into()));
            }
            if self.stdin.is_some() || self.common.json || self.common.human {
                return Err(Error::Usage("--openmetrics to stdout leaves no room for records: name a FILE".into()));
            }
        }
        Ok(())
    }

    /// Whether metrics take the place of records.
    pub fn metrics_to_stdout(&self) -> bool {
        self.openmetrics.as_deref() == Some(Path::new("-"))
    }
}

impl Words for Args {
    const PLUGIN: Option<&'static str> = Some("--plugin");

    fn common(&self) -> &Common {
        &self.common
    }
}
