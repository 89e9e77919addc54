//! What can stop a program: one kind per cause, one line per message, one exit code per kind.
//!
//! Expected bad news (a damaged archive, a failed check) is data in a record; an `Err` is what stops the work.

use crate::verdict::Verdict;
use std::io;
use std::path::{Path, PathBuf};

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a program ends; the codes are the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: done, or yes.
    Done = 0,
    /// 1: the honest answer is no: damaged, unhealthy, nothing matched.
    No = 1,
    /// 2: your words or your configuration; nothing was touched.
    Usage = 2,
    /// 3: could not find out or could not finish; the last record says how far it got.
    Unfinished = 3,
    /// 4: refused for safety, nothing changed.
    Refused = 4,
    /// 5: swapped, not healthy, swapped back.
    SwappedBack = 5,
    /// 6: an interrupted rollback must be recovered first.
    RecoverFirst = 6,
    /// 7: another run holds the lock.
    Locked = 7,
}

impl Exit {
    /// The worse of two ends. The more a person has to do next, the worse it is.
    pub fn and(self, other: Exit) -> Exit {
        const RANK: [Exit; 8] =
            [Exit::Done, Exit::No, Exit::Usage, Exit::Locked, Exit::Refused, Exit::Unfinished, Exit::SwappedBack, Exit::RecoverFirst];
        let rank = |exit| RANK.iter().position(|e| *e == exit);
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Exit {
        match verdict {
            Verdict::Yes => Exit::Done,
            Verdict::No => Exit::No,
            Verdict::Unknown => Exit::Unfinished,
        }
    }
}

/// What stopped the work. `Display` is one line without the program's name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that cannot be: say it differently.
    #[error("{0}")]
    Usage(String),
    /// `eco.toml` is wrong or missing; the text names the file and the line.
    #[error("{0}")]
    Config(String),
    /// Nothing in the store fits the words.
    #[error("{0}")]
    NoMatch(String),
    /// A file operation failed.
    #[error("cannot {verb} {}: {}", path.display().to_string().escape_debug(), cause(source))]
    Path {
        /// What was tried, as in "cannot VERB".
        verb: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An archive cannot be read as one: cut short, not an archive, or hostile.
    #[error("{}: {why}", path.display().to_string().escape_debug())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A command of `eco.toml` failed, hung or could not be run.
    #[error("{0}")]
    Process(String),
    /// Going on would be unsafe; nothing was changed.
    #[error("{0}; nothing was changed")]
    Refused(String),
    /// The new tree was live, did not prove healthy, and was swapped back.
    #[error("{0}; the tree from before the rollback is back")]
    SwappedBack(String),
    /// A rollback was interrupted earlier and could not be recovered.
    #[error("{0}")]
    RecoverFirst(String),
    /// Another run holds the ecosystem's lock; the text names the holder.
    #[error("{0}")]
    Locked(String),
    /// The reader of our output has gone away.
    #[error("nobody reads the output any more")]
    ReaderGone,
    /// Asked to stop by a signal; what was under way was cleaned up.
    #[error("interrupted by a signal; {0}")]
    Interrupted(String),
    /// Anything else that prevents an answer; the text names the thing and the cause.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The exit code that this kind means.
    pub fn exit(&self) -> Exit {
        match self {
            Error::Usage(_) | Error::Config(_) => Exit::Usage,
            Error::NoMatch(_) => Exit::No,
            Error::Refused(_) => Exit::Refused,
            Error::SwappedBack(_) => Exit::SwappedBack,
            Error::RecoverFirst(_) => Exit::RecoverFirst,
            Error::Locked(_) => Exit::Locked,
            Error::Path { .. } | Error::Archive { .. } | Error::Process(_) => Exit::Unfinished,
            Error::ReaderGone | Error::Interrupted(_) | Error::Other(_) => Exit::Unfinished,
        }
    }

    /// An error about an archive.
    pub fn archive(path: &Path, why: impl Into<String>) -> Error {
        Error::Archive { path: path.to_owned(), why: why.into() }
    }
}

/// The cause without the decoration "(os error 13)", in lower case like the rest of the line.
fn cause(source: &io::Error) -> String {
    let text = source.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The known name that a mistyped one was probably meant to be: at most three letters away.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(wrong, name);
    known.filter(|name| distance(name) <= 3).min_by_key(distance)
}

/// Names the verb and the path of a failed file operation.
pub trait Named<T> {
    /// `fs::read(p).named("read", p)?` fails with `cannot read p: cause`.
    fn named(self, verb: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Named<T> for std::result::Result<T, E> {
    fn named(self, verb: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Path { verb, path: path.as_ref().to_owned(), source: source.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_verb_path_and_cause_in_one_line() {
        let denied = io::Error::from_raw_os_error(13);
        let error = Err::<(), _>(denied).named("read", "store/a\nb").unwrap_err();
        assert_eq!(error.to_string(), "cannot read store/a\\nb: permission denied");
        assert_eq!(error.exit(), Exit::Unfinished);
    }

    #[test]
    fn an_end_that_needs_a_person_is_worse_than_a_plain_no() {
        assert_eq!(Exit::No.and(Exit::Unfinished), Exit::Unfinished);
        assert_eq!(Exit::SwappedBack.and(Exit::Unfinished), Exit::SwappedBack);
        assert_eq!(Exit::Done.and(Exit::Done), Exit::Done);
    }
}
