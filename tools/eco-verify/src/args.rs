//! The words of eco-verify.

use clap::{Parser, ValueEnum};
use eco::error::{Error, Result};
use eco::store;
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Re-hash the archives that `snapshot` records point to, and add `verification` records
#[derive(Parser)]
#[command(name = "eco-verify", version)]
pub struct Args {
    /// Snapshots or archives to verify; without any, `snapshot` records are read from stdin; with --changes, a last - copies stdin first
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// How deep to look
    #[arg(long, value_enum, default_value_t = Depth::Data)]
    pub depth: Depth,
    /// Read only this share of the content, as in 10%; another part each day
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "live")]
    pub sample: Option<f64>,
    /// Where to restore it for --depth restored; a private folder is made there and removed [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Compare the live tree with the snapshot instead, one `difference` record a path
    #[arg(long, conflicts_with = "depth")]
    pub live: bool,
    /// With --live: one `change` record for each unit that differs, so that it can be blamed; without SELECTOR against latest-good
    #[arg(long, requires = "live", conflicts_with = "only")]
    pub changes: bool,
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
    /// And all of it restored into a private folder and compared
    Restored,
}

impl Args {
    /// For `--changes`: what to compare with, and whether stdin is copied first.
    pub fn baseline(&self) -> Result<(&str, bool)> {
        let (selectors, copies) = match self.selectors.split_last() {
            Some((last, rest)) if last == "-" => (rest, true),
            _ => (&self.selectors[..], false),
        };
        match selectors {
            [] => Ok(("latest-good", copies)),
            [one] => Ok((one, copies)),
            [_, more, ..] => Err(Error::Usage(format!("'{more}' is one too many: --changes compares with one snapshot"))),
        }
    }

    /// What of the archive is looked at.
    pub fn depth(&self) -> Result<store::Depth> {
        if self.scratch.is_some() && self.depth != Depth::Restored {
            return Err(Error::Usage("--scratch goes with --depth restored: nothing else is written anywhere".into()));
        }
        match (self.depth, self.sample) {
            (Depth::Data, Some(share)) => Ok(store::Depth::Sample(share)),
            (_, Some(_)) => Err(Error::Usage("--sample goes with --depth data only: an index is read in full, and so is what is restored".into())),
            (Depth::Index, None) => Ok(store::Depth::Index),
            // The archive first: what is damaged is not restored.
            (Depth::Data | Depth::Restored, None) => Ok(store::Depth::Data),
        }
    }
}

/// `10%` is 0.1.
fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    // To six digits, so that records do not show how a computer divides by a hundred.
    let share = percent.map(|percent| (percent * 1e4).round() / 1e6).filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "a share of the content is written like 10%, above 0% and up to 100%".into())
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
