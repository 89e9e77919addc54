//! What every program shares: its words, its pipe, the clock, the exit code, one-line errors. Only this module prints, exits,
//! and reads the environment and the clock.

mod ask;
mod ear;
mod human;
mod keep;
mod live;
mod pipe;
mod progress;

pub use keep::{Kept, mark};
pub use live::Live;
pub use progress::{Progress, Waiting};

use crate::config::{self, Config, Overrides};
use crate::error::{Error, Exit, Named, Result};
use crate::monitor;
use crate::record::{Line, Record, Snapshot, Stamp};
use crate::report::words;
use crate::time::{Span, Timestamp};
use clap::{Args, Parser, ValueHint};
use pipe::{Input, Output};
use std::cell::OnceCell;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What `--config` says in full, for programs that have more to say about it.
pub const CONFIG: &str = "The service's description, `eco.toml`.\n\nWithout it: the file that `$ECO_CONFIG` names, else `eco.toml` here or in a \
    parent folder, else `~/.config/eco/eco.toml`, else `/etc/eco/eco.toml`; see eco.toml(5).";

/// The flags that all programs share.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// The service's description [default: the nearest eco.toml]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, long_help = CONFIG)]
    pub config: Option<PathBuf>,
    /// The ecosystem's root folder.
    ///
    /// Without `-c` only an `eco.toml` in that folder is read, none further up.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// Where snapshots live
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
    /// Write records, also at a terminal
    #[arg(long, conflicts_with = "human")]
    pub json: bool,
    /// Write tables for people, also into a pipe
    #[arg(long)]
    pub human: bool,
    /// Say nothing on stderr but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Say more on stderr
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Show no progress bar
    #[arg(long)]
    pub no_progress: bool,
}

/// A program's command line.
pub trait Words: Parser {
    /// The flag under which this program answers a monitoring system, which wants to hear even that the words were wrong as an answer.
    const PLUGIN: Option<&'static str> = None;

    /// The shared flags in it.
    fn common(&self) -> &Common;
}

/// A running program: its stream, its clock, its voice.
pub struct Tool {
    name: &'static str,
    common: Common,
    ecosystem: Option<String>,
    host: Option<String>,
    input: Option<Input>,
    output: Output,
    forward: bool,
    bad_lines: u64,
    worst: Exit,
    watches_signals: Arc<AtomicBool>,
    line: OnceCell<Arc<progress::Line>>,
    stop: Arc<AtomicBool>,
    ear: Option<ear::Ear>,
}

/// Runs a program: parses its words, does its work, prints at most one line about what stopped it, and ends with the worst
/// exit code met on the way.
pub fn run<W: Words, T: Into<Exit>, E>(work: impl FnOnce(W, &mut Tool) -> std::result::Result<T, E>) -> ExitCode
where
    E: AsRef<dyn std::error::Error + Send + Sync + 'static>,
{
    let words = match W::try_parse() {
        Ok(words) => words,
        Err(wrong) => return refuse(&wrong, W::PLUGIN),
    };
    let name = W::command().get_name().to_owned().leak();
    let common = words.common().clone();
    let human = common.human || (!common.json && io::stdout().is_terminal());
    let mut tool = Tool {
        name,
        output: Output::new(human.then(table)),
        common,
        ecosystem: None,
        host: host_name(),
        input: None,
        forward: true,
        bad_lines: 0,
        worst: Exit::Done,
        watches_signals: Arc::default(),
        line: OnceCell::new(),
        stop: Arc::default(),
        ear: None,
    };
    let done =
        check_clock().map_err(|e| (e.exit(), e.to_string())).and_then(|()| work(words, &mut tool).map(Into::into).map_err(|e| explain(e.as_ref())));
    let (mut exit, stopped_by) = done.map_or_else(|stopped| stopped, |exit| (exit, String::new()));
    if !stopped_by.is_empty() {
        tool.error(&stopped_by);
    }
    if stopped_by.is_empty()
        && let Err(e) = tool.output.end()
        && !matches!(e, Error::ReaderGone)
    {
        exit = exit.and(e.exit());
    }
    // The last flush is part of the work: a full disk behind stdout must not end as success.
    if let Err(e) = tool.output.flush()
        && !matches!(e, Error::ReaderGone)
    {
        let message = e.to_string();
        if message != stopped_by {
            tool.error(&message);
        }
        exit = exit.and(e.exit());
    }
    if tool.output.lost() {
        tool.error("nobody read the last records; the work itself went on to its end");
        exit = exit.and(Exit::Unfinished);
    }
    ExitCode::from(tool.worst.and(exit) as u8)
}

/// Says what is wrong with the words, or what was asked about them. To a monitoring system 2 would be an alarm about the service.
fn refuse(wrong: &clap::Error, plugin: Option<&str>) -> ExitCode {
    use io::Write;
    if wrong.use_stderr() && plugin.is_some_and(|flag| std::env::args_os().any(|word| word == flag)) {
        let text = wrong.to_string();
        let first = text.lines().next().unwrap_or_default();
        // Nowhere else to say it.
        let _ = io::stdout().write_all(monitor::unknown(first.strip_prefix("error: ").unwrap_or(first)).as_bytes());
        return ExitCode::from(Exit::Unfinished as u8);
    }
    let _ = wrong.print();
    ExitCode::from(wrong.exit_code() as u8)
}

/// Whether whoever started this program had it ignore a signal, as nohup does with HUP: then it stays ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The exit code and the line for what stopped the work. A reader that has left a listing is no error.
fn explain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> (Exit, String) {
    let mut words = error.to_string();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut exit = Exit::Unfinished;
    while let Some(link) = cause {
        if let Some(known) = link.downcast_ref::<Error>() {
            if matches!(known, Error::ReaderGone) {
                return (Exit::Done, String::new());
            }
            exit = known.exit();
            break;
        }
        cause = link.source();
        if let Some(next) = cause {
            words.push_str(&format!(": {next}"));
        }
    }
    (exit, words)
}

impl Tool {
    /// The time now: the clock's, or `$ECO_NOW`. To the millisecond, which is what records show.
    pub fn now(&self) -> Timestamp {
        now()
    }

    /// The clock, for work that outlives a borrow of this program.
    pub fn clock(&self) -> fn() -> Timestamp {
        now
    }

    /// A new id for a snapshot or a restore: UUIDv7, so ids sort by time.
    pub fn new_id(&self) -> String {
        let now = self.now();
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, now.as_second().max(0) as u64, now.subsec_nanosecond().max(0) as u32);
        uuid::Uuid::new_v7(stamp).to_string()
    }

    /// Whether this is an id as [`Tool::new_id`] makes them.
    pub fn is_id(text: &str) -> bool {
        uuid::Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text)
    }

    /// What others are told while this program holds a lock: which process it is, since when, and how it was called.
    pub fn holder(&self) -> String {
        let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        format!("{}, pid {}, since {}: {} {}", self.name, std::process::id(), self.now(), self.name, words.join(" ")).trim_end().to_owned()
    }

    /// The service: from `-c`, `$ECO_CONFIG`, the nearest `eco.toml`, or `--root` and `--store` alone. Records that are written
    /// from here on carry its name.
    ///
    /// # Errors
    /// [`Error::Config`], naming file and line.
    pub fn config(&mut self) -> Result<Config> {
        let overrides = self.overrides();
        let config = match self.find_config()? {
            Some(file) => config::load(&file, &overrides)?,
            None => config::without_file(&overrides)?,
        };
        self.ecosystem = Some(config.name.clone());
        Ok(config)
    }

    /// As [`Tool::config`], but without a file (and without the name that it gives to records) where there is none.
    ///
    /// # Errors
    /// [`Error::Config`], naming file and line.
    pub fn config_if_any(&self) -> Result<Option<Config>> {
        self.find_config()?.map(|file| config::load(&file, &self.overrides())).transpose()
    }

    /// As [`Tool::config`], but `None` where neither a file nor `--root` says which service is meant.
    ///
    /// # Errors
    /// [`Error::Config`], naming file and line.
    pub fn config_if_named(&mut self) -> Result<Option<Config>> {
        if self.common.root.is_none() && self.find_config()?.is_none() {
            return Ok(None);
        }
        self.config().map(Some)
    }

    fn overrides(&self) -> Overrides {
        let (root, store) = (self.common.root.clone(), self.common.store.clone());
        Overrides { root, store, home: std::env::home_dir(), path: std::env::var_os("PATH") }
    }

    /// Reads a file that the command line names, `-` for stdin.
    ///
    /// # Errors
    /// [`Error::Config`]: what cannot be read is a wrong word on the command line.
    pub fn read_text(&self, file: &Path) -> Result<String> {
        let text = if file == Path::new("-") { io::read_to_string(io::stdin()) } else { std::fs::read_to_string(file) };
        text.named("read", file).map_err(|e| Error::Config(e.to_string()))
    }

    /// All of stdin as text, at most its last 64 KiB; what is no UTF-8 becomes a replacement character.
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be read.
    pub fn read_all(&self) -> Result<String> {
        use io::Read;
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).named("read", Path::new("stdin"))?;
        Ok(String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(64 << 10)..]).into_owned())
    }

    /// The same for a file that may hold anything.
    ///
    /// # Errors
    /// As [`Tool::read_text`].
    pub fn read_bytes(&self, file: &Path) -> Result<Vec<u8>> {
        std::fs::read(file).named("read", file).map_err(|e| Error::Config(e.to_string()))
    }

    fn find_config(&self) -> Result<Option<PathBuf>> {
        if let Some(file) = self.common.config.clone().or_else(|| std::env::var_os("ECO_CONFIG").map(PathBuf::from)) {
            return Ok(Some(file));
        }
        if let Some(root) = &self.common.root {
            // Somebody else's eco.toml further up would bring somebody else's stop command.
            return Ok(Some(root.join("eco.toml")).filter(|file| file.is_file()));
        }
        let here = std::env::current_dir().named("find", ".")?;
        let near = here.ancestors().map(|folder| folder.join("eco.toml"));
        let user = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(".config")));
        let far = user.into_iter().chain([PathBuf::from("/etc")]).map(|folder| folder.join("eco/eco.toml"));
        Ok(near.chain(far).find(|file| file.is_file()))
    }

    /// Opens stdin as the stream. Every line that is read from it is forwarded, before anything that it causes.
    ///
    /// # Errors
    /// [`Error::Usage`] with `hint` when stdin is a terminal: waiting there would look like hanging.
    pub fn open_input(&mut self, hint: &str) -> Result<()> {
        if io::stdin().is_terminal() {
            return Err(Error::Usage(format!("nothing to read: stdin is a terminal; {hint}")));
        }
        self.input = Some(Input::default());
        Ok(())
    }

    /// As [`Tool::open_input`], but at a terminal the stream is empty.
    pub fn open_input_if_any(&mut self) {
        self.input = (!io::stdin().is_terminal()).then(Input::default);
    }

    /// Does not forward what is read: `--only`.
    pub fn drop_input(&mut self) {
        self.forward = false;
    }

    /// The next record of the stream, already forwarded; `None` at its end. Lines that are no record are forwarded, reported,
    /// and make the exit code 3; they are not returned.
    ///
    /// # Errors
    /// [`Error::Path`] when stdin cannot be read, [`Error::ReaderGone`] when nobody reads a listing any more.
    pub fn read(&mut self) -> Result<Option<Line>> {
        loop {
            let Some(input) = &mut self.input else { return Ok(None) };
            if !input.has_line() {
                self.output.flush()?;
            }
            let Some(piece) = input.next()? else { return Ok(None) };
            let Input { number, ended, .. } = *input;
            if let pipe::Piece::Overlong(bytes) = piece {
                if self.forward {
                    self.output.copy(&bytes, false)?;
                }
                if input.overlong_ends() {
                    self.bad_line(number, "longer than 16 MiB");
                }
                continue;
            }
            let pipe::Piece::Line(raw) = piece else { continue };
            if raw.trim_ascii().is_empty() {
                if self.forward {
                    self.output.copy(&raw, input.ended)?;
                }
                continue;
            }
            let line = Line::parse(number, raw);
            if self.forward {
                self.output.forward(&line, ended)?;
            }
            match &line.fault {
                None => return Ok(Some(line)),
                Some(why) => {
                    let what = match &line.record {
                        Record::Other(kind) if !kind.is_empty() => format!("{kind}: {why}"),
                        _ => why.clone(),
                    };
                    self.bad_line(number, &what);
                    // A known type with a broken body still has a time, which moves the stream's clock.
                    if line.stamp != Stamp::default() {
                        return Ok(Some(line));
                    }
                }
            }
        }
    }

    /// Opens the file in which this program remembers its stream, and gives what it remembers. Signals are remembered from here on,
    /// as by [`Tool::catch_signals`].
    ///
    /// # Errors
    /// [`Error::Other`] naming the program that has it open, [`Error::Config`] when the file cannot be used; nothing was touched.
    pub fn keep(&mut self, path: &Path) -> Result<(Kept, Option<Vec<u8>>)> {
        let opened = Kept::open(path, self.name, &self.holder())?;
        self.catch_signals()?;
        Ok(opened)
    }

    /// Before the next line is read: saves what is remembered if it is time for that, or if there is time because no line is
    /// waiting. False when a signal asks this program to stop.
    ///
    /// # Errors
    /// As [`Tool::emit_at`]. A file that cannot be written is no error: that is said, and tried again.
    pub fn save_when_due(&mut self, kept: &mut Kept, memory: impl Fn() -> Vec<u8>) -> Result<bool> {
        /// How long a signal may go unnoticed.
        const LOOK_UP: Duration = Duration::from_secs(1);
        loop {
            if self.asked_to_stop() {
                return Ok(false);
            }
            let waiting = self.input.as_ref().is_none_or(Input::has_line);
            let due = kept.due_in(waiting);
            if due == Some(Duration::ZERO) {
                self.save(kept, &memory)?;
            } else if waiting {
                return Ok(true);
            } else {
                self.output.flush()?;
                if keep::input_within(due.map_or(LOOK_UP, |due| due.min(LOOK_UP))) {
                    return Ok(true);
                }
            }
        }
    }

    /// Saves what is remembered at the end; what could not be saved makes the exit code 3.
    ///
    /// # Errors
    /// As [`Tool::emit_at`].
    pub fn save_at_end(&mut self, kept: &mut Kept, memory: impl Fn() -> Vec<u8>) -> Result<()> {
        self.save(kept, &memory)?;
        if kept.fails() {
            self.error(&format!("{} is not saved: it does not know the end of this stream", kept.name()));
            self.worst = self.worst.and(Exit::Unfinished);
        }
        Ok(())
    }

    /// What was said is out before the file knows that it was said: repeating a decision does no harm, losing one would.
    fn save(&mut self, kept: &mut Kept, memory: &impl Fn() -> Vec<u8>) -> Result<()> {
        self.output.flush()?;
        if let Some(sentence) = kept.write(&memory()) {
            self.error(&sentence);
        }
        Ok(())
    }

    fn bad_line(&mut self, number: u64, why: &str) {
        self.error(&format!("line {number} is not a record: {why}"));
        self.worst = self.worst.and(Exit::Unfinished);
        self.bad_lines += 1;
    }

    /// How many lines so far were no record.
    pub fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Writes a record that happened now.
    ///
    /// # Errors
    /// As [`Tool::emit_at`].
    pub fn emit(&mut self, record: impl Into<Record>) -> Result<()> {
        let stamp = Stamp { time: self.now(), ecosystem: self.ecosystem.clone(), host: self.host.clone() };
        self.emit_at(&stamp, record)
    }

    /// Writes a record with a stamp of its own, as it is: nothing is filled in, so a replay gives the same bytes.
    ///
    /// # Errors
    /// [`Error::ReaderGone`] when nobody reads a listing any more; [`Error::Path`] when stdout cannot be written.
    pub fn emit_at(&mut self, stamp: &Stamp, record: impl Into<Record>) -> Result<()> {
        self.output.record(stamp, &record.into())?;
        // While input is waiting, one flush for all of it; otherwise the reader gets the record now.
        if !self.input.as_ref().is_some_and(Input::has_line) {
            self.output.flush()?;
        }
        Ok(())
    }

    /// Gives the reader all that was written so far, before something that may take long, or that must not happen unrecorded.
    ///
    /// # Errors
    /// As [`Tool::emit_at`].
    pub fn flush(&mut self) -> Result<()> {
        self.output.flush()
    }

    /// The ecosystem's root where no description names one: `--root`, else the folder that the program was started in.
    ///
    /// # Errors
    /// [`Error::Config`] when it is not there.
    pub fn root(&self) -> Result<PathBuf> {
        let root = self.common.root.as_deref().unwrap_or(Path::new("."));
        std::fs::canonicalize(root).named("find", root).map_err(|e| Error::Config(e.to_string()))
    }

    /// A stamp of now, with the ecosystem and host of this program.
    pub fn stamp(&self, time: Timestamp) -> Stamp {
        Stamp { time, ecosystem: self.ecosystem.clone(), host: self.host.clone() }
    }

    /// Writes a finished text (a report) to stdout.
    ///
    /// # Errors
    /// As [`Tool::emit_at`].
    pub fn print(&mut self, text: &str) -> Result<()> {
        self.output.copy(text.as_bytes(), false)
    }

    /// Whether stdout shows tables instead of records.
    pub fn is_human(&self) -> bool {
        self.output.is_human()
    }

    /// From here on this program changes something: it goes on when its reader leaves, and then ends with 3. Signals are
    /// remembered as by [`Tool::catch_signals`].
    ///
    /// # Errors
    /// [`Error::Other`] if signal handlers cannot be set.
    pub fn changes_something(&mut self) -> Result<()> {
        self.output.changes_something();
        self.catch_signals()
    }

    /// From here on the first INT, TERM or HUP is only remembered, for [`Tool::stop_flag`]; the second ends the program.
    ///
    /// # Errors
    /// [`Error::Other`] if signal handlers cannot be set.
    pub fn catch_signals(&mut self) -> Result<()> {
        // Set twice, the second set would take the first signal for the second.
        if self.watches_signals.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];
        for signal in signals.into_iter().filter(|signal| !is_ignored(*signal)) {
            // The second signal ends the program in the ordinary way.
            signal_hook::flag::register_conditional_default(signal, self.stop.clone())
                .and_then(|_| signal_hook::flag::register(signal, self.stop.clone()))
                .map_err(|e| Error::Other(format!("cannot watch for signals: {e}")))?;
        }
        Ok(())
    }

    /// Becomes true when a signal asks this program to stop.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Whether a signal has asked this program to stop.
    pub fn asked_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One sentence for people, unless they asked for quiet.
    pub fn say(&self, sentence: &str) {
        if !self.common.quiet {
            self.error(sentence);
        }
    }

    /// One sentence for people who asked for more.
    pub fn detail(&self, sentence: &str) {
        if self.common.verbose {
            self.error(sentence);
        }
    }

    /// One sentence about what went wrong. What a terminal would act on is escaped: names come from trees and archives.
    pub fn error(&self, sentence: &str) {
        use io::Write;
        let line = words::visible(sentence);
        // In one piece: the programs of a pipe share one stderr. Nowhere to complain when it is closed.
        let _ = io::stderr().write_all(format!("{}: {line}\n", self.name).as_bytes());
    }

    /// A private folder for temporary files, gone when the value is.
    ///
    /// # Errors
    /// [`Error::Path`] when the system's folder for temporary files cannot be used.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        self.scratch_in(&std::env::temp_dir())
    }

    /// The same in `folder`.
    ///
    /// # Errors
    /// [`Error::Path`] when that folder cannot be used.
    pub fn scratch_in(&self, folder: &Path) -> Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("eco-").tempdir_in(folder).named("create a folder in", folder)
    }

    /// Lines that show a series of samples where they stand, taken every so often; `None` unless stdout is a terminal that shows tables
    /// and can move its cursor.
    pub fn live(&self, every: Span) -> Option<Live> {
        let name = self.ecosystem.clone().unwrap_or_else(|| "the service".into());
        (self.is_human() && io::stdout().is_terminal() && !is_dumb()).then(|| Live::new(name, every, is_coloured()))
    }

    /// A line on stderr about what is waited for; silent unless stderr is a terminal.
    pub fn waiting(&self) -> Waiting {
        self.line().wait()
    }

    /// A running count of bytes on stderr, for work that takes long enough to be wondered about; silent unless stderr is a terminal.
    pub fn progress(&self, what: &str) -> Progress {
        self.line().count(what)
    }

    fn line(&self) -> &Arc<progress::Line> {
        self.line.get_or_init(|| {
            let is_shown = !self.common.no_progress && !self.common.quiet && io::stderr().is_terminal() && !is_dumb();
            Arc::new(progress::Line::new(is_shown, self.watches_signals.clone()))
        })
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        ask::terminal().is_some()
    }

    /// Asks a yes-or-no question at the terminal, whatever stdin is. No answer is a no. `None` where there is no terminal.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when a signal comes instead of an answer; [`Error::Path`] when the terminal cannot be read.
    pub fn ask(&mut self, question: &str) -> Result<Option<bool>> {
        self.output.flush()?;
        let Some(terminal) = ask::terminal() else { return Ok(None) };
        self.catch_signals()?;
        ask::ask(terminal, question, &self.stop).map(Some)
    }

    /// People see rows of this kind, which say all about the records that they follow from, and what they come to in the end.
    pub fn is_for(&mut self, kind: &'static str) {
        if let Some(table) = self.output.table() {
            table.is_for(kind);
        }
    }

    /// A snapshot that records of this program will name: people are told how old it is.
    pub fn knows(&mut self, stamp: &Stamp, snapshot: &Snapshot) {
        if let Some(table) = self.output.table() {
            table.knows(stamp, snapshot);
        }
    }
}

/// A number of bytes as people read it: `7.9 KiB`.
pub fn size(bytes: u64) -> String {
    crate::report::words::size(bytes)
}

/// `$ECO_NOW` must be a time, if it is set; checked once, before any work.
fn check_clock() -> Result<()> {
    match std::env::var("ECO_NOW") {
        Ok(text) if text.parse::<Timestamp>().is_err() => {
            Err(Error::Usage(format!("ECO_NOW is '{text}', which is not a time such as 2026-03-01T10:00:00Z")))
        }
        _ => Ok(()),
    }
}

fn now() -> Timestamp {
    let time = std::env::var("ECO_NOW").ok().and_then(|text| text.parse().ok()).unwrap_or_else(Timestamp::now);
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Tables for people, as wide as the terminal is. Into a pipe or a file everything is written, unless `$COLUMNS` says how wide the
/// reader's page is.
fn table() -> human::Table {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let width = move || {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        // A terminal that does not know how wide it is is taken for one of the old ones.
        size.map(|size| if size.ws_col > 0 { size.ws_col.into() } else { said.unwrap_or(80) }).or(said).filter(|width| *width > 0)
    };
    human::Table::new(is_coloured(), Box::new(width), now())
}

/// As everybody does it: `$NO_COLOR` is the last word, then `$CLICOLOR_FORCE`, then `$CLICOLOR`, then whether it is a terminal
/// that knows colours.
fn is_coloured() -> bool {
    let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_forced = said("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let may = io::stdout().is_terminal() && !is_dumb() && said("CLICOLOR").is_none_or(|value| value != "0");
    said("NO_COLOR").is_none() && (is_forced || may)
}

/// A terminal that cannot move its cursor.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

fn host_name() -> Option<String> {
    let name = rustix::system::uname();
    Some(name.nodename().to_string_lossy().into_owned()).filter(|name| !name.is_empty())
}
