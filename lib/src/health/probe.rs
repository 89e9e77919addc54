//! `[[probe]]`: the questions, as `eco.toml` writes them.

use super::{log, prometheus};
use crate::service::Argv;
use crate::time::Span;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// How far back a `log` probe counts, where it does not say.
pub const LOG_WINDOW: Span = Span::seconds(300);

/// `[[probe]]`: one question to the running service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Probe {
    /// The process of `[control]` runs.
    Process {},
    /// A command that prints JSON, or says it all with its exit code.
    Command {
        /// The command.
        command: Argv,
        /// What its exit code says, instead of whether the service is up.
        #[serde(rename = "as")]
        says: Option<Says>,
        /// How long it may take; default 10s.
        timeout: Option<Span>,
    },
    /// An HTTP answer, with a JSON body if there is one.
    Http {
        /// Where: `http://HOST:PORT/PATH`.
        url: String,
        /// What its status says, instead of whether the service is up.
        #[serde(rename = "as")]
        says: Option<Says>,
        /// How long it may take; default 5s.
        timeout: Option<Span>,
    },
    /// A port that takes connections.
    Tcp {
        /// Where: `HOST:PORT`.
        address: String,
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
    /// One number of the record, from a query to a Prometheus server.
    Prometheus {
        /// The server: `http://HOST:PORT`, with the prefix of its paths if it has one.
        url: String,
        /// An instant query whose answer is one number.
        query: String,
        /// Which field of the record the number is.
        metric: prometheus::Metric,
        /// What the number is multiplied with; 1000 makes milliseconds of seconds.
        scale: Option<f64>,
        /// Holds a bearer token, or `USER:PASSWORD`; relative to the ecosystem's root.
        token_file: Option<PathBuf>,
        /// How long it may take; default 5s.
        timeout: Option<Span>,
    },
    /// Requests and failed requests, counted in the lines of a log.
    Log {
        /// Relative to the ecosystem's root.
        path: PathBuf,
        /// A line that one of these matches is an error.
        error: log::Patterns,
        /// A line that one of these matches is a request; without them every line is.
        request: Option<log::Patterns>,
        /// How far back lines count; default [`LOG_WINDOW`].
        window: Option<Span>,
        /// How a line says when it was written.
        time: Option<log::TimeForm>,
        /// How long it may take; default 5s.
        timeout: Option<Span>,
    },
    /// The newest snapshot in the store, which must not be too old.
    Snapshot {
        /// Older than this is not well.
        max_age: Span,
        /// Only those of this kind; else all but safety snapshots.
        of: Option<String>,
        /// Whether only good ones count; default yes.
        good: Option<bool>,
        /// The store, from `[ecosystem]` or the command line.
        #[serde(skip)]
        store: Option<PathBuf>,
        /// The ecosystem whose snapshots count.
        #[serde(skip)]
        ecosystem: String,
    },
}

/// What a test of one thing says about the service: true if it passes, false if it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Says {
    /// The parts work together.
    Integration,
    /// The data is sound.
    Integrity,
}

impl Says {
    /// The field of the record.
    pub fn word(self) -> &'static str {
        match self {
            Says::Integration => "integration",
            Says::Integrity => "integrity",
        }
    }
}

impl Probe {
    /// Its kind and what it looks at, as records name it.
    pub fn name(&self) -> String {
        match self {
            Probe::Process {} => "process".into(),
            Probe::Command { command, .. } => format!("command {}", command.join(" ")),
            Probe::Http { url, .. } => format!("http {}", without_password(url)),
            Probe::Tcp { address, .. } => format!("tcp {address}"),
            Probe::File { path, .. } => format!("file {}", path.display()),
            Probe::Json { path, .. } => format!("json {}", path.display()),
            Probe::Sqlite { path, .. } => format!("sqlite {}", path.display()),
            Probe::Prometheus { url, metric, .. } => format!("prometheus {} {}", metric.word(), without_password(url)),
            Probe::Log { path, .. } => format!("log {}", path.display()),
            Probe::Snapshot { of, good, .. } => {
                let good = if good.unwrap_or(true) { " good" } else { "" };
                format!("snapshot latest{good}{}{}", if of.is_some() { " " } else { "" }, of.as_deref().unwrap_or_default())
            }
        }
    }

    /// How long it may take.
    pub fn timeout(&self) -> Duration {
        let (said, default) = match self {
            Probe::Command { timeout, .. } | Probe::Sqlite { timeout, .. } => (*timeout, 10),
            Probe::Http { timeout, .. } | Probe::Tcp { timeout, .. } | Probe::Prometheus { timeout, .. } | Probe::Log { timeout, .. } => {
                (*timeout, 5)
            }
            Probe::Process {} | Probe::File { .. } | Probe::Json { .. } => (None, 5),
            Probe::Snapshot { .. } => (None, 10),
        };
        said.map_or(Duration::from_secs(default), |span| span.0)
    }

    /// Whether it can be meant.
    ///
    /// # Errors
    /// A sentence about the key that cannot.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Probe::Prometheus { query, .. } if query.trim().is_empty() => Err("query is empty".into()),
            Probe::Prometheus { scale: Some(scale), .. } if !(scale.is_finite() && *scale > 0.0) => Err("scale is a number above 0".into()),
            Probe::Log { window: Some(window), .. } if window.0.is_zero() => Err("window is a duration above 0".into()),
            _ => Ok(()),
        }
    }

    /// Whether its answer is about a time that has passed, so that waiting for a service that has just been started would judge
    /// the one before: rates over the last minutes, and the age of a snapshot.
    pub(super) fn looks_back(&self) -> bool {
        match self {
            Probe::Snapshot { .. } => true,
            Probe::Prometheus { metric, .. } => !metric.is_a_word(),
            _ => false,
        }
    }
}

/// An address without `user:password@`: records are mailed around.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (place, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", place.rsplit('@').next().unwrap_or(place))
}
