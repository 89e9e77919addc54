//! Asking: each kind of probe, once, within its time.

use super::body::{self, Body};
use super::{Probe, Up};
use crate::service::{Ended, Service, State};
use crate::time::{Span, Timestamp, seconds_between};
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A longer body is not read.
const LONGEST_BODY: u64 = 1 << 20;

/// What one probe brought back.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// What it says about the service being up.
    pub(super) up: Up,
    /// What it says about the data.
    pub(super) integrity: Option<bool>,
    /// Healthy, not healthy, or not found out.
    pub(super) ok: Option<bool>,
    /// Why it is not ok, in a sentence.
    pub(super) error: Option<String>,
    /// How long the service took to answer, where that is what was measured.
    pub(super) response_ms: Option<f64>,
    /// What the service said about itself.
    pub(super) body: Option<Body>,
}

impl Answer {
    fn yes() -> Answer {
        Answer { up: Up::Yes, ok: Some(true), ..Answer::default() }
    }

    fn no(why: impl Into<String>) -> Answer {
        Answer { up: Up::No, ok: Some(false), error: Some(why.into()), ..Answer::default() }
    }

    /// The probe could not be run, which says nothing about the service.
    pub(super) fn unknown(why: impl Into<String>) -> Answer {
        Answer { up: Up::Unknown, ok: None, error: Some(why.into()), ..Answer::default() }
    }

    /// Nothing came back in time.
    pub(super) fn late(probe: &Probe, limit: Duration) -> Answer {
        let why = format!("no answer within {}", Span(limit));
        match probe {
            // A disk that does not answer is not a service that does not answer.
            Probe::File { .. } | Probe::Json { .. } | Probe::Process {} => Answer::unknown(why),
            Probe::Sqlite { .. } => Answer { up: Up::Silent, ..Answer::unknown(why) },
            _ => Answer::no(why),
        }
    }

    fn with_body(mut self, text: &[u8]) -> Answer {
        let Some(body) = body::parse(text) else { return self };
        match body.up {
            // Whoever could not be reached is not up, whatever an old body says.
            _ if self.up == Up::No => {}
            Some(Up::No) => self = Answer { response_ms: self.response_ms, ..Answer::no("it says that it is not up") },
            Some(Up::Unknown) => self = Answer::unknown("it says that it cannot tell whether it is up"),
            _ => {}
        }
        if let Some(word) = &body.complaint
            && self.ok == Some(true)
        {
            (self.ok, self.error) = (Some(false), Some(format!("it calls itself {}", word.escape_debug())));
        }
        self.body = Some(body);
        self
    }
}

/// Asks one probe. Takes longer than `limit` only where the system itself hangs.
pub(super) fn ask(probe: &Probe, service: &Service, now: Timestamp, limit: Duration) -> Answer {
    match probe {
        Probe::Process {} => match service.find() {
            State::Running(_) => Answer::yes(),
            State::Stopped(note) => Answer::no(note.unwrap_or_else(|| "its process is not running".into())),
            State::Unknown(why) => Answer::unknown(why),
        },
        Probe::Command { command, .. } => ask_command(command, service, limit),
        Probe::Http { url, .. } => ask_http(url, limit),
        Probe::Tcp { address, .. } => ask_tcp(address, limit),
        Probe::File { path, max_age } => ask_file(&service.root().join(path), *max_age, now).map_or_else(|answer| *answer, |_| Answer::yes()),
        Probe::Json { path, max_age } => match ask_file(&service.root().join(path), *max_age, now) {
            Err(answer) => *answer,
            Ok(file) => ask_json(file),
        },
        Probe::Sqlite { path, .. } => ask_sqlite(&service.root().join(path), limit),
    }
}

fn ask_command(command: &[String], service: &Service, limit: Duration) -> Answer {
    let ran = service.ask(command, limit);
    let why = ran.why();
    match ran.ended {
        Ended::Exit(0) => Answer::yes().with_body(&ran.stdout),
        // A body says more than an exit code; without one the code says it all.
        Ended::Exit(_) => match body::parse(&ran.stdout) {
            Some(body) => Answer { up: body.up.unwrap_or(Up::Silent), ok: Some(false), error: why, body: Some(body), ..Answer::default() },
            None => Answer::no(why.unwrap_or_default()),
        },
        Ended::TimedOut(_) => Answer::no(why.unwrap_or_default()),
        Ended::Signal(_) | Ended::NotRun(_) => Answer::unknown(why.unwrap_or_default()),
    }
}

fn ask_http(url: &str, limit: Duration) -> Answer {
    if url.starts_with("https://") {
        return Answer::unknown("https is not spoken here: probe a plain http address, or use a command probe");
    }
    if !url.starts_with("http://") {
        return Answer::unknown(format!("'{}' is not an address that begins with http://", url.escape_debug()));
    }
    // A redirect is an answer; where it leads to may be a login page, which answers for somebody else. A proxy from the
    // environment would answer for a service that is down.
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(limit))
        .user_agent("eco-health")
        .build()
        .into();
    let began = Instant::now();
    let mut response = match agent.get(url).call() {
        Ok(response) => response,
        Err(e) => return http_failure(&e, limit),
    };
    let text = match response.body_mut().with_config().limit(LONGEST_BODY).read_to_vec() {
        Ok(text) => text,
        Err(ureq::Error::BodyExceedsLimit(_)) => Vec::new(),
        Err(e) => return http_failure(&e, limit),
    };
    let took = (began.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let status = response.status().as_u16();
    let answer = if status < 400 { Answer::yes() } else { Answer::no(format!("it answered with status {status}")) };
    Answer { response_ms: Some(took), ..answer }.with_body(&text)
}

fn http_failure(error: &ureq::Error, limit: Duration) -> Answer {
    match error {
        ureq::Error::Timeout(_) => Answer::no(format!("no answer within {}", Span(limit))),
        ureq::Error::Io(e) => connect_failure(e, limit),
        ureq::Error::ConnectionFailed => Answer::no("no connection"),
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => Answer::no("what it answered is not HTTP"),
        ureq::Error::HostNotFound => Answer::unknown("the name of the host is not known"),
        other => Answer::unknown(other.to_string()),
    }
}

fn connect_failure(error: &io::Error, limit: Duration) -> Answer {
    match error.kind() {
        ErrorKind::ConnectionRefused => Answer::no("connection refused"),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Answer::no(format!("no answer within {}", Span(limit))),
        ErrorKind::PermissionDenied | ErrorKind::AddrNotAvailable | ErrorKind::InvalidInput => Answer::unknown(plain(error)),
        // Out of descriptors: our trouble, not the service's.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => Answer::unknown(plain(error)),
        _ => Answer::no(plain(error)),
    }
}

fn ask_tcp(address: &str, limit: Duration) -> Answer {
    let began = Instant::now();
    let addresses = match address.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(e) => return Answer::unknown(format!("'{}' is not an address such as 127.0.0.1:8080: {}", address.escape_debug(), plain(&e))),
    };
    let mut last = Answer::unknown("the name of the host has no address");
    for place in addresses {
        // A connection with no time left is refused by the library, not by the service.
        let left = limit.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&place, left) {
            Ok(_) => return Answer::yes(),
            Err(e) => last = connect_failure(&e, limit),
        }
    }
    last
}

/// The file, if it is there and young enough.
fn ask_file(path: &Path, max_age: Option<Span>, now: Timestamp) -> Result<fs::File, Box<Answer>> {
    let opened = fs::File::open(path).and_then(|file| Ok((file.metadata()?.modified()?, file)));
    let (written, file) = match opened {
        Ok(opened) => opened,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Err(Box::new(Answer::no("it is not there"))),
        Err(e) => return Err(Box::new(Answer::unknown(format!("it cannot be read: {}", plain(&e))))),
    };
    if let (Some(max_age), Ok(written)) = (max_age, Timestamp::try_from(written)) {
        let age = seconds_between(written, now).max(0) as u64;
        if Duration::from_secs(age) > max_age.0 {
            return Err(Box::new(Answer::no(format!("it was written {} ago, which is more than {max_age}", Span::seconds(age)))));
        }
    }
    Ok(file)
}

fn ask_json(file: fs::File) -> Answer {
    let mut text = Vec::new();
    if let Err(e) = file.take(LONGEST_BODY).read_to_end(&mut text) {
        return Answer::unknown(format!("it cannot be read: {}", plain(&e)));
    }
    match body::parse(&text) {
        Some(_) => Answer::yes().with_body(&text),
        None => Answer::unknown("it holds no JSON about health"),
    }
}

/// Damage, a missing or an empty database are bad data; what prevents a look is not.
fn ask_sqlite(path: &Path, limit: Duration) -> Answer {
    let broken = |why: String| Answer { integrity: Some(false), up: Up::Silent, ..Answer::no(why) };
    let unknown = |why: String| Answer { up: Up::Silent, ..Answer::unknown(why) };
    match fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(about) if about.is_file() && about.len() == 0 => return broken("the database is an empty file".into()),
        Ok(_) => {}
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return broken("the database is not there".into()),
        Err(e) => return unknown(format!("the database cannot be read: {}", plain(&e))),
    }
    let checked = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|database| {
        database.busy_timeout(limit)?;
        // Checking a large database may take longer than anybody wants to wait.
        let (done, ended) = mpsc::channel::<()>();
        let handle = database.get_interrupt_handle();
        thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                handle.interrupt();
            }
        });
        let said = database.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        drop(done);
        said
    });
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, OperationInterrupted};
    match checked {
        Ok(said) if said == "ok" => Answer { integrity: Some(true), up: Up::Silent, ..Answer::yes() },
        Ok(said) => broken(said.lines().next_back().unwrap_or("it is damaged").to_owned()),
        Err(e) => match e.sqlite_error_code() {
            Some(DatabaseCorrupt) => broken("the database is damaged".into()),
            Some(NotADatabase) => broken("the file is not a database".into()),
            Some(OperationInterrupted) => unknown(format!("the check was not done within {}", Span(limit))),
            _ => unknown(format!("the database cannot be checked: {e}")),
        },
    }
}

/// The cause without "(os error 13)", in lower case.
fn plain(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}
