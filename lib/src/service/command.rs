//! One command of `eco.toml`: started in the ecosystem's root, given a deadline, and ended with its process group if it
//! misses it.

use super::{millis, pidfd};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long a command that was told to end (TERM) may take before its group is killed.
const TERM_TO_KILL: Duration = Duration::from_secs(2);
/// The same for a question, which has nothing to clean up and somebody who waits for it.
const TERM_TO_KILL_QUESTION: Duration = Duration::from_millis(100);
/// How long output may still come in after the command itself has ended: somebody it left behind may hold the pipe forever.
const LAST_OUTPUT: Duration = Duration::from_millis(200);
/// How often it is looked whether anybody still wants what a command prints.
const LOOK_FOR_READER: Duration = Duration::from_millis(250);
/// How often it is looked whether a command that can be stopped is to be.
const LOOK_FOR_STOP: Duration = Duration::from_millis(250);
/// How often a program that somebody still writes to is tried, five milliseconds apart.
const BUSY_TRIES: u32 = 40;
/// More output than this is not kept.
const MOST_OUTPUT: usize = 1 << 20;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By this signal, which was not ours.
    Signal(i32),
    /// It missed its deadline and was ended.
    TimedOut(Duration),
    /// It could not be started; why.
    NotRun(String),
}

/// A command that was run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The program as the configuration names it.
    pub program: String,
    /// How it ended.
    pub ended: Ended,
    /// From its start to its end.
    pub took_ms: u64,
    /// What it printed, where that was asked for.
    pub(crate) stdout: Vec<u8>,
}

impl Ran {
    /// Whether it ended with 0.
    pub fn ok(&self) -> bool {
        self.ended == Ended::Exit(0)
    }

    /// Why it is not ok, in half a sentence that names the program.
    pub fn why(&self) -> Option<String> {
        let program = &self.program;
        match &self.ended {
            Ended::Exit(0) => None,
            Ended::Exit(code) => Some(format!("{program} ended with {code}")),
            Ended::Signal(signal) => Some(format!("{program} was ended by signal {signal}")),
            Ended::TimedOut(limit) => Some(format!("{program} took longer than {} and was ended", crate::time::Span(*limit))),
            Ended::NotRun(why) => Some(format!("cannot run {program}: {why}")),
        }
    }
}

/// Where a command's standard output goes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Output {
    /// To our stderr: our stdout carries records and nothing else.
    ToStderr,
    /// Into [`Ran::stdout`].
    Kept,
    /// Into [`Ran::stdout`] as well, with what it says on stderr.
    AllKept,
    /// The same, but only the last so many bytes of it, however much there is.
    LastKept(usize),
}

/// Runs `argv` in `root` and waits for it, and for nothing that it leaves running: a daemon may keep our stderr for years.
pub(crate) fn run(root: &Path, argv: &[String], env: &[(&str, &str)], deadline: Duration, output: Output, input: Option<String>) -> Ran {
    run_until(root, argv, env, (deadline, None), output, input)
}

/// The same, for one that is ended as by its deadline when `stop` becomes true.
pub(crate) fn run_until(
    root: &Path,
    argv: &[String],
    env: &[(&str, &str)],
    (deadline, stop): (Duration, Option<&AtomicBool>),
    output: Output,
    input: Option<String>,
) -> Ran {
    let began = Instant::now();
    let program = argv.first().cloned().unwrap_or_default();
    let ran = |ended, stdout| Ran { program: program.clone(), ended, took_ms: millis(began), stdout };
    let (mut child, all) = match start(root, argv, env, output, input.is_some()) {
        Ok(started) => started,
        Err(why) => return ran(Ended::NotRun(why), Vec::new()),
    };
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
        // Beside the wait, because nobody can tell whether it is read; one that does not want to hear is no fault.
        thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
    }
    let part = if let Output::LastKept(most) = output { Part::Last(most) } else { Part::First(MOST_OUTPUT) };
    let kept = all.map(|pipe| read_aside(pipe, part)).or_else(|| child.stdout.take().map(|pipe| read_aside(pipe, part)));
    let status = wait(&mut child, began, (deadline, stop), output);
    // Of a question that was ended nobody reads what it said.
    let wanted = output != Output::Kept || !matches!(status, Ok(None));
    let stdout = kept.filter(|_| wanted).map(|kept| collect(&kept)).unwrap_or_default();
    ran(
        match status {
            Ok(Some(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => Ended::Exit(code),
                (None, signal) => Ended::Signal(signal.unwrap_or_default()),
            },
            Ok(None) => Ended::TimedOut(deadline),
            Err(e) => Ended::NotRun(format!("cannot wait for it: {e}")),
        },
        stdout,
    )
}

fn start(root: &Path, argv: &[String], env: &[(&str, &str)], output: Output, input: bool) -> Result<(Child, Option<io::PipeReader>), String> {
    let Some((program, arguments)) = argv.split_first() else { return Err("the command is empty".into()) };
    let mut command = Command::new(resolve(root, program));
    command.args(arguments).current_dir(root).envs(env.iter().copied()).stdin(if input { Stdio::piped() } else { Stdio::null() }).process_group(0);
    let mut all = None;
    match output {
        Output::Kept => command.stdout(Stdio::piped()),
        Output::AllKept | Output::LastKept(_) => {
            let (reader, writer) = io::pipe().map_err(|e| e.to_string())?;
            all = Some(reader);
            command.stdout(writer.try_clone().map_err(|e| e.to_string())?).stderr(writer)
        }
        Output::ToStderr => command.stdout(io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from)),
    };
    let mut tried = 1;
    loop {
        match command.spawn() {
            // Another thread of ours that starts a command right now may hold a copy of the descriptor that wrote this program.
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && tried < BUSY_TRIES => {
                tried += 1;
                thread::sleep(Duration::from_millis(5));
            }
            spawned => return spawned.map(|child| (child, all)).map_err(|e| cause(&e, root, program)),
        }
    }
}

fn cause(error: &io::Error, root: &Path, program: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if !program.contains('/') && root.join(program).is_file() => {
            format!("no such program; write ./{program} for the one in the ecosystem's root")
        }
        io::ErrorKind::NotFound => "no such program".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// Relative programs lie in the ecosystem's root; a bare name is looked up in PATH only, so that a file that the service
/// writes into its own root is never taken for `systemctl`.
pub(super) fn resolve(root: &Path, program: &str) -> PathBuf {
    if program.contains('/') { root.join(program) } else { program.into() }
}

/// Why a command cannot be run, as far as can be told from its file. `path` is where programs without a slash are looked for;
/// where nobody knows that, nothing is said about them.
pub(super) fn cannot_run(root: &Path, argv: &[String], path: Option<&OsStr>) -> Option<String> {
    let program = argv.first()?;
    let places: Vec<PathBuf> = match path {
        _ if program.contains('/') => vec![resolve(root, program)],
        // As in the shell, an empty word in the list means here.
        Some(path) => path.as_bytes().split(|byte| *byte == b':').map(|folder| root.join(OsStr::from_bytes(folder)).join(program)).collect(),
        None => return None,
    };
    let mut why = io::Error::from(io::ErrorKind::NotFound);
    for place in places {
        match may_run(&place) {
            Ok(()) => return None,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => why = e,
        }
    }
    Some(format!("cannot run {program}: {}", cause(&why, root, program)))
}

/// Whether this file can be run, as far as can be told without running it.
pub(super) fn may_run(place: &Path) -> io::Result<()> {
    // A folder may be searched, which is the same permission.
    if fs::metadata(place)?.is_dir() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    rustix::fs::access(place, rustix::fs::Access::EXEC_OK)?;
    // What a script's first line names is what runs.
    match interpreter(place) {
        Some(program) if rustix::fs::access(&program, rustix::fs::Access::EXEC_OK).is_err() => {
            Err(io::Error::other(format!("its first line asks for {}, which cannot be run", program.display())))
        }
        _ => Ok(()),
    }
}

/// The program that runs a script, from its first line.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut begin = Vec::new();
    fs::File::open(script).ok()?.take(256).read_to_end(&mut begin).ok()?;
    let line = begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii_start();
    let program = line.split(u8::is_ascii_whitespace).next()?;
    program.starts_with(b"/").then(|| OsStr::from_bytes(program).into())
}

/// Waits until the deadline; then ends the group of the command. `None`: it had to be ended.
fn wait(
    child: &mut Child,
    began: Instant,
    (deadline, stop): (Duration, Option<&AtomicBool>),
    output: Output,
) -> io::Result<Option<std::process::ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    // Until it is waited for its number cannot be given to another process, so the group is certainly the command's.
    let group = Pid::from_child(child);
    // A group that is gone needs no signal.
    let signal = |signal| rustix::process::kill_process_group(group, signal).ok();
    let ended =
        || !matches!(rustix::process::waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT), Ok(None));
    let held = pidfd::Child::new(group);
    while !ended() && began.elapsed() < deadline && !stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        let left = deadline.saturating_sub(began.elapsed());
        // A signal that comes right before the wait does not end it.
        held.wait(if stop.is_some() { left.min(LOOK_FOR_STOP) } else { left }, pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    if ended() {
        if output == Output::Kept {
            // A question is asked again and again; what one leaves running would pile up.
            signal(Signal::KILL);
        }
        return child.wait().map(Some);
    }
    let patience = if matches!(output, Output::ToStderr | Output::LastKept(_)) { TERM_TO_KILL } else { TERM_TO_KILL_QUESTION };
    signal(Signal::TERM);
    let told = Instant::now();
    while !ended() && told.elapsed() < patience {
        thread::sleep(Duration::from_millis(5));
    }
    signal(Signal::KILL);
    child.wait()?;
    Ok(None)
}

/// Which part of a long output is kept: so many bytes from its beginning, or at its end.
#[derive(Clone, Copy)]
enum Part {
    First(usize),
    Last(usize),
}

/// What is read beside the wait for a command. Whoever reads stops when this is gone.
struct Kept {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    ended: mpsc::Receiver<()>,
}

fn read_aside(mut pipe: impl Read + AsFd + Send + 'static, part: Part) -> Kept {
    let (sender, ended) = mpsc::channel();
    let kept = Kept { bytes: Arc::default(), ended };
    let wanted = Arc::downgrade(&kept.bytes);
    thread::spawn(move || {
        let mut room = vec![0; 1 << 16];
        loop {
            // Somebody whom the command left behind may hold the pipe and never write: now and then it is looked whether anybody
            // still listens here.
            let mut read = None;
            if is_readable(&pipe, LOOK_FOR_READER) {
                match pipe.read(&mut room) {
                    Ok(some @ 1..) => read = Some(some),
                    _ => break,
                }
            }
            let Some(bytes) = wanted.upgrade() else { break };
            // Reading goes on past what is kept, so that the command never waits for us.
            if let Some(read) = read {
                keep(&mut bytes.lock().unwrap_or_else(PoisonError::into_inner), &room[..read], part);
            }
        }
        // Nobody listens any more where the command was not waited for.
        let _ = sender.send(());
    });
    kept
}

fn keep(bytes: &mut VecDeque<u8>, piece: &[u8], part: Part) {
    match part {
        Part::First(most) => bytes.extend(&piece[..piece.len().min(most.saturating_sub(bytes.len()))]),
        Part::Last(most) => {
            bytes.extend(piece);
            bytes.drain(..bytes.len().saturating_sub(most));
        }
    }
}

/// Whether there is something to read, or the end, at the latest after `limit`.
fn is_readable(pipe: &impl AsFd, limit: Duration) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    // What went wrong shows in the reading.
    !matches!(rustix::event::poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&limit)), Ok(0) | Err(rustix::io::Errno::INTR))
}

fn collect(kept: &Kept) -> Vec<u8> {
    let _ = kept.ended.recv_timeout(LAST_OUTPUT);
    std::mem::take(&mut *kept.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into()
}
