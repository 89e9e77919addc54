//! The words of eco-verify.

use clap::{Parser, ValueEnum, ValueHint};
use eco::error::{Error, Result};
use eco::store;
use eco::tool::{Common, Words};
use std::path::PathBuf;

/// Re-hash the archives that `snapshot` records point to, and add `verification` records
#[derive(Parser)]
#[command(name = "eco-verify", version)]
pub struct Args {
    /// Verify these, and do not read stdin.
    ///
    /// An id, its beginning or its last six characters, `latest`, `latest-good`, `latest:KIND`, or the path of an archive;
    /// see "Selectors" in eco-verify(1). Without any, `snapshot` records are read from stdin.
    ///
    /// With `--changes` it is one, `latest-good` if it is left out, and a `-` after it copies the records on stdin to stdout first.
    #[arg(value_name = "SELECTOR", value_hint = ValueHint::FilePath)]
    pub selectors: Vec<String>,
    /// How deep to look
    #[arg(long, value_name = "DEPTH", value_enum, default_value_t = Depth::Data)]
    pub depth: Depth,
    /// Read only this share of the content, as in `10%`.
    ///
    /// Anything above 0% and up to 100%; another part each day. The record says so in `sample`, and what was read in `bytes` and
    /// `files`; see "Samples" in eco-verify(1).
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "live")]
    pub sample: Option<f64>,
    /// Where `--depth restored` makes its folder.
    ///
    /// A private one, which is removed. Without it: in the system's folder for temporary files, `$TMPDIR` or `/tmp`, which may lie in
    /// memory.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub scratch: Option<PathBuf>,
    /// Compare the live tree with the snapshot instead.
    ///
    /// One `difference` record a path.
    #[arg(long, conflicts_with = "depth")]
    pub live: bool,
    /// With `--live`: one `change` record for each unit.
    ///
    /// A unit that differs can then be blamed; see "Changes that nobody has announced" in eco-verify(1).
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
