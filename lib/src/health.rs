//! The probes: what they ask the running service, and what the answers mean.

use crate::service::Argv;
use crate::time::Span;
use serde::Deserialize;
use std::path::PathBuf;

/// `[[probe]]`: one question to the running service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Probe {
    /// The process of `[control]` runs.
    Process,
    /// A command that prints JSON, or says it all with its exit code.
    Command {
        /// The command.
        command: Argv,
        /// How long it may take; default 10s.
        timeout: Option<Span>,
    },
    /// An HTTP answer, with a JSON body if there is one.
    Http {
        /// Where.
        url: String,
        /// How long it may take; default 5s.
        timeout: Option<Span>,
    },
    /// A file that must be there, and not too old.
    File {
        /// Relative to the ecosystem's root.
        path: PathBuf,
        /// Older than this is not healthy.
        max_age: Option<Span>,
    },
    /// A file with a JSON body.
    Json {
        /// Relative to the ecosystem's root.
        path: PathBuf,
        /// Older than this is not healthy.
        max_age: Option<Span>,
    },
    /// A SQLite database that must pass `quick_check`.
    Sqlite {
        /// Relative to the ecosystem's root.
        path: PathBuf,
        /// How long it may take; default 10s.
        timeout: Option<Span>,
    },
}
