//! The words of eco-health.

use clap::{Parser, ValueEnum, ValueHint};
use eco::error::{Error, Result};
use eco::time::Span;
use eco::tool::{Common, Words};
use std::path::{Path, PathBuf};

/// Ask the running service how it is.
///
/// Asks every probe of eco.toml at the same time and writes one `health` record.
#[derive(Parser)]
#[command(name = "eco-health", version)]
pub struct Args {
    /// Copy the records on stdin first.
    ///
    /// They go to stdout byte for byte, then the sample is added. Without it stdin is not read.
    #[arg(value_name = "-", value_parser = ["-"], hide_possible_values = true)]
    pub stdin: Option<String>,
    /// Ask again and again, on a fixed grid.
    ///
    /// At the start, and at every multiple of DURATION after it, however long each sample takes. A point in time that was missed is
    /// left out. A signal ends the series after the sample under way.
    ///
    /// A duration is a number and a unit: `500ms`, `90s`, `5m`, `2h`, `7d`.
    #[arg(long, value_name = "DURATION")]
    pub every: Option<Span>,
    /// With `--every`: end after this time.
    ///
    /// No sample is taken later than this after the start.
    #[arg(long = "for", value_name = "DURATION", requires = "every")]
    pub lasting: Option<Span>,
    /// With `--every`: end after so many samples
    #[arg(long, value_name = "N", requires = "every", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// With `--every`: copy what eco-ctl says.
    ///
    /// That is what somebody says with eco-ctl(1) at another terminal. It goes into the stream at once and byte for byte; what was said
    /// within the last day comes before the first sample. Use it for the one pipeline that rolls back. One program listens at a time; a second one says so,
    /// gets nothing, and takes over when the first has ended.
    #[arg(long, requires = "every")]
    pub listen: bool,
    /// Ask until the service is healthy.
    ///
    /// It asks more slowly as time goes on, and writes the last sample only. Processor and memory are not measured, which would delay
    /// the answer. At a terminal a line on stderr says what is waited for and what stands in the way; at the end there is one sentence
    /// with the last reason.
    #[arg(long, value_name = "STATE", requires = "timeout", conflicts_with = "every")]
    pub wait: Option<Wanted>,
    /// With `--wait`: give up after this time
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub timeout: Option<Span>,
    /// Answer as a monitoring plugin.
    ///
    /// One line with numbers, and the exit status is 0, 1, 2 or 3; see "A plugin's answer" in eco-health(1).
    #[arg(long, conflicts_with_all = ["every", "wait", "stdin", "json", "human", "openmetrics"])]
    pub plugin: bool,
    /// Write metrics into a file, or to stdout.
    ///
    /// Into FILE, which is replaced as a whole with each sample, while the records go to stdout as always; or, without FILE or with
    /// `-`, to stdout instead of the record. The exit status is that of the sample; see "Metrics" in eco-health(1).
    ///
    /// During a series a FILE that cannot be written is named once, the samples go on, and the exit status is 3 in the end.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", conflicts_with = "wait")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub openmetrics: Option<PathBuf>,
    /// Say what eco.toml resolves to, and ask nothing.
    ///
    /// It says in plain text what each section of eco.toml(5) resolves to, and marks programs and files that are "(not there)". The
    /// service is not asked.
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
