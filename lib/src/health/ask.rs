//! Asking: each kind of probe, once, within its time.

use super::body::{self, Body};
use super::history::Turn;
use super::http::{self, connect_failure};
use super::{LOG_WINDOW, Probe, Says, Up, log, prometheus};
use crate::record::Reading;
use crate::service::{Ended, Service, State};
use crate::store::Store;
use crate::time::{Span, Timestamp, seconds_between};
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// More of a file is not read.
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
    pub(super) fn yes() -> Answer {
        Answer { up: Up::Yes, ok: Some(true), ..Answer::default() }
    }

    pub(super) fn no(why: impl Into<String>) -> Answer {
        Answer { up: Up::No, ok: Some(false), error: Some(why.into()), ..Answer::default() }
    }

    /// The probe could not be run, which says nothing about the service.
    pub(super) fn unknown(why: impl Into<String>) -> Answer {
        Answer { up: Up::Unknown, ok: None, error: Some(why.into()), ..Answer::default() }
    }

    /// Nothing came back in time.
    pub(super) fn late(probe: &Probe, limit: Duration) -> Answer {
        Answer::missing(probe, format!("no answer within {}", Span(limit)))
    }

    /// It is still asked for an earlier sample.
    pub(super) fn open(probe: &Probe) -> Answer {
        Answer::missing(probe, "still no answer to the question of an earlier sample".into())
    }

    fn missing(probe: &Probe, why: String) -> Answer {
        match probe {
            Probe::Command { says: Some(says), .. } | Probe::Http { says: Some(says), .. } => Answer::no_test(*says, Some(why)),
            Probe::Command { .. } | Probe::Http { .. } => Answer::no(why),
            // Connecting ends by itself; what hangs longer is the search for the name.
            Probe::Tcp { .. } => Answer::unknown("the name of the host was not found in time"),
            // A disk that does not answer is not a service that does not answer.
            Probe::File { .. } | Probe::Json { .. } | Probe::Process {} | Probe::Prometheus { metric: prometheus::Metric::Up, .. } => {
                Answer::unknown(why)
            }
            Probe::Sqlite { .. } | Probe::Prometheus { .. } | Probe::Log { .. } | Probe::Snapshot { .. } => {
                Answer { up: Up::Silent, ..Answer::unknown(why) }
            }
        }
    }

    /// A test of one thing that came to its end; `why` it failed.
    fn test(says: Says, passed: bool, why: String) -> Answer {
        let mut body = Body::default();
        match says {
            Says::Integration => body.health.integration = Reading::Known(passed),
            Says::Integrity => body.health.integrity = Reading::Known(passed),
        }
        Answer { ok: Some(passed), error: (!passed).then_some(why), body: Some(body), ..Answer::default() }
    }

    /// A test that did not come to its end: a service that is down or slow has no bad data.
    fn no_test(says: Says, why: Option<String>) -> Answer {
        Answer { up: Up::Silent, ..Answer::unknown(format!("{} is not known: {}", says.word(), why.unwrap_or_default())) }
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

/// Asks one probe. Takes longer than `limit` only where the system itself hangs. `from_now`: the service has just been started.
pub(super) fn ask(probe: &Probe, service: &Service, now: Timestamp, limit: Duration, turn: &Turn, from_now: bool) -> Answer {
    let place = |path: &Path| service.root().join(path);
    match probe {
        Probe::Process {} => match service.find() {
            State::Running(_) => Answer::yes(),
            State::Stopped(note) => Answer::no(note.unwrap_or_else(|| "its process is not running".into())),
            State::Unknown(why) => Answer::unknown(why),
        },
        Probe::Command { command, says, .. } => ask_command(command, *says, service, limit),
        Probe::Http { url, says, .. } => ask_http(url, *says, limit),
        Probe::Tcp { address, .. } => ask_tcp(address, limit),
        Probe::File { path, max_age } => ask_file(&place(path), *max_age, now).map_or_else(|answer| *answer, |_| Answer::yes()),
        Probe::Json { path, max_age } => match ask_file(&place(path), *max_age, now) {
            Err(answer) => *answer,
            Ok(file) => ask_json(file),
        },
        Probe::Sqlite { path, .. } => ask_sqlite(&place(path), limit),
        Probe::Prometheus { url, query, metric, scale, token_file, .. } => {
            let question = prometheus::Question { url, query, metric: *metric, scale: scale.unwrap_or(1.0) };
            prometheus::ask(&question, token_file.as_deref().map(place).as_deref(), limit)
        }
        Probe::Log { path, error, request, window, time, .. } => {
            let rule = log::Rule { error, request: request.as_ref(), window: window.unwrap_or(LOG_WINDOW), time: *time };
            // One that broke off in the middle has counted a part; going on with that is better than nothing.
            let mut tail = turn.0.lock().unwrap_or_else(PoisonError::into_inner);
            tail.look(&place(path), &rule, now, from_now, Instant::now() + limit)
        }
        Probe::Snapshot { max_age, of, good, store, ecosystem } => {
            let wanted = Wanted { max_age: *max_age, kind: of.as_deref(), good: good.unwrap_or(true) };
            let answer = match store {
                Some(store) => ask_store(&Store::new(store, ecosystem, now), &wanted, now),
                None => Answer::unknown("there is no store to look into: name one in [ecosystem], or with --store"),
            };
            Answer { up: Up::Silent, ..answer }
        }
    }
}

/// Which snapshot there should be.
struct Wanted<'a> {
    max_age: Span,
    kind: Option<&'a str>,
    good: bool,
}

fn ask_store(store: &Store, wanted: &Wanted<'_>, now: Timestamp) -> Answer {
    let listing = match store.list() {
        Ok(listing) => listing,
        Err(e) => return Answer::unknown(e.to_string()),
    };
    let is_kind = |kind: Option<&str>| wanted.kind.map_or(kind != Some("safety"), |wanted| kind == Some(wanted));
    let fits = |snapshot: &crate::record::Snapshot| is_kind(snapshot.kind.as_deref()) && (!wanted.good || snapshot.good == Some(true));
    let newest = listing.snapshots.iter().find(|stored| fits(&stored.snapshot) && !store.is_ahead(stored));
    let unreadable = match listing.unreadable.len() {
        0 => String::new(),
        1 => "; one archive there cannot be read".into(),
        many => format!("; {many} archives there cannot be read"),
    };
    let what = format!(
        "{}{}{}snapshot",
        if wanted.good { "good " } else { "" },
        wanted.kind.unwrap_or_default(),
        if wanted.kind.is_some() { " " } else { "" }
    );
    let Some(newest) = newest else {
        return Answer::no(format!("there is no {what} in {}{unreadable}", store.folder().display()));
    };
    let age = Duration::from_secs(seconds_between(newest.stamp.time, now).max(0) as u64);
    if age <= wanted.max_age.0 {
        return Answer::yes();
    }
    Answer::no(format!("the newest {what} is {} old, which is more than {}{unreadable}", in_words(age), wanted.max_age))
}

/// As people say it: a day and a bit is 31h.
fn in_words(age: Duration) -> Span {
    let seconds = age.as_secs();
    let unit = [(3 * 86_400, 86_400), (2 * 3600, 3600), (120, 60)].into_iter().find(|(least, _)| seconds >= *least).map_or(1, |(_, unit)| unit);
    Span::seconds(seconds / unit * unit)
}

fn ask_command(command: &[String], says: Option<Says>, service: &Service, limit: Duration) -> Answer {
    let ran = service.ask(command, limit);
    let why = ran.why();
    if let Some(says) = says {
        return match ran.ended {
            Ended::Exit(code) => Answer::test(says, code == 0, why.unwrap_or_default()),
            _ => Answer::no_test(says, why),
        };
    }
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

fn ask_http(url: &str, says: Option<Says>, limit: Duration) -> Answer {
    let reply = match http::get(url, &[], None, limit) {
        Ok(reply) => reply,
        Err(answer) => return if let Some(says) = says { Answer::no_test(says, answer.error) } else { *answer },
    };
    let status = reply.status;
    if let Some(says) = says {
        return Answer::test(says, (200..300).contains(&status), format!("it answered with status {status}"));
    }
    let answer = if status < 400 { Answer::yes() } else { Answer::no(format!("it answered with status {status}")) };
    Answer { response_ms: Some(reply.took_ms), ..answer }.with_body(&reply.body.unwrap_or_default())
}

fn ask_tcp(address: &str, limit: Duration) -> Answer {
    let began = Instant::now();
    let addresses = match address.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(e) if e.kind() == ErrorKind::InvalidInput => {
            return Answer::unknown(format!("'{}' is not an address such as 127.0.0.1:8080: {}", address.escape_debug(), plain(&e)));
        }
        Err(_) => return Answer::unknown("the name of the host is not known"),
    };
    if began.elapsed() > limit.mul_f64(0.9) {
        return Answer::unknown("the name of the host was not found in time");
    }
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
    let opened = open(path).and_then(|file| Ok((file.metadata()?.modified()?, file)));
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
    if !file.metadata().is_ok_and(|about| about.is_file()) {
        return Answer::unknown("it is not a file");
    }
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
    match open(path).and_then(|file| file.metadata()) {
        Ok(about) if !about.is_file() => return unknown("the database is not a file".into()),
        Ok(about) if about.len() == 0 => return broken("the database is an empty file".into()),
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

/// Opens for reading without waiting for a writer, as a named pipe would.
pub(super) fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path)
}

/// The cause without "(os error 13)", in lower case.
pub(super) fn plain(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}
