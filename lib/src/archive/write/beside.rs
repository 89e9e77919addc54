//! An archive from before beside the tree as it is now: what has not changed, and what is gone.

use super::super::Archive;
use super::super::index::Listed;
use crate::error::{Error, Result};
use crate::scope::Found;
use crate::tree::Kind;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

/// So close to the beginning of a capture, a file may have changed after it was read without a difference in its times: they are as
/// fine as two seconds on some filesystems.
const TOO_RECENT_NS: i64 = 2_000_000_000;

/// What was captured before.
pub struct Previous<'a> {
    /// In which archive.
    pub archive: &'a Archive,
    /// SHA-256 of its index when it was verified.
    pub sha256_toc: String,
    /// When its capture began, as the clock of the files' system said then; without it nothing is trusted.
    pub began_ns: Option<i64>,
    /// Whether the new archive holds only what differs from it. It must be a full one then.
    pub differential: bool,
    /// Read every file, whatever its times say.
    pub rehash: bool,
}

impl<'a> Previous<'a> {
    pub(super) fn listing(&self) -> Result<Box<dyn Iterator<Item = std::result::Result<Listed, String>> + Send + 'a>> {
        self.archive.listing(&self.sha256_toc)
    }
}

/// The entries from before, in step with the walk: both come in the order of their paths.
pub(super) struct Beside<'a, I: Iterator> {
    previous: &'a Previous<'a>,
    listed: Peekable<I>,
    last: PathBuf,
    /// What is not there any more; a folder stands for everything below it.
    gone: Vec<PathBuf>,
    /// Nothing below this is worth a word.
    below: Option<PathBuf>,
}

impl<'a, I: Iterator<Item = std::result::Result<Listed, String>>> Beside<'a, I> {
    pub(super) fn new(previous: &'a Previous<'a>, listed: I) -> Beside<'a, I> {
        Beside { previous, listed: listed.peekable(), last: PathBuf::new(), gone: Vec::new(), below: None }
    }

    pub(super) fn differential(&self) -> bool {
        self.previous.differential
    }

    /// The entry of this name from before. Asked in the order of the walk.
    pub(super) fn find(&mut self, found: &Found) -> Result<Option<Listed>> {
        let path = found.node.path.as_path();
        self.pass(Some(path))?;
        let same = self.listed.next_if(|next| next.as_ref().is_ok_and(|listed| listed.entry.node.path == path)).and_then(|next| next.ok());
        if let Some(listed) = &same {
            self.last = path.to_owned();
            if listed.entry.node.kind == Kind::Dir && found.node.kind != Kind::Dir {
                self.below = Some(path.to_owned());
            }
        }
        Ok(same)
    }

    /// Something that was there before and cannot be captured now.
    pub(super) fn lose(&mut self, path: &Path) {
        self.gone.push(path.to_owned());
    }

    /// Everything that was not asked for.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>> {
        self.pass(None)?;
        self.gone.sort();
        self.gone.dedup();
        Ok(if self.previous.differential { self.gone } else { Vec::new() })
    }

    /// Passes over the names before this one.
    fn pass(&mut self, until: Option<&Path>) -> Result<()> {
        let damaged = |why: &str| Error::archive(self.previous.archive.path(), format!("its index is damaged: {why}"));
        while let Some(next) = self.listed.peek() {
            let path = match next {
                Ok(listed) => listed.entry.node.path.as_path(),
                Err(why) => return Err(damaged(why)),
            };
            if until.is_some_and(|until| path >= until) {
                return Ok(());
            }
            // The first one is the root itself, with an empty path.
            if path < self.last.as_path() {
                return Err(damaged("its entries are out of order"));
            }
            if self.below.as_ref().is_none_or(|below| !path.starts_with(below)) {
                self.below = Some(path.to_owned());
                self.gone.push(path.to_owned());
            }
            self.last = path.to_owned();
            self.listed.next();
        }
        Ok(())
    }

    /// Whether a file is certainly the one from before, without looking into it.
    pub(super) fn is_untouched(&self, listed: &Listed, found: &Found) -> bool {
        let Some(before) = self.previous.began_ns.map(|began| began - TOO_RECENT_NS).filter(|_| !self.previous.rehash) else { return false };
        let mtime = found.node.meta.mtime;
        listed.entry.node.kind == found.node.kind
            && listed.entry.sqlite.is_none()
            // Device numbers change when a machine starts, so they say nothing.
            && listed.entry.identity.is_some_and(|was| was.ino == found.identity.ino && was.ctime_ns == found.identity.ctime_ns)
            && listed.entry.node.meta.mtime == mtime
            && found.identity.ctime_ns < before
            && mtime.seconds.saturating_mul(1_000_000_000) < before
            // Names of owners are not in the inode.
            && listed.entry.node.meta.user == found.node.meta.user
            && listed.entry.node.meta.group == found.node.meta.group
    }
}
