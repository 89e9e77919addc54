//! Running the real programs: words, stdin, both streams, the exit code.

use super::{Tree, World, seen};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// No program of ours takes so long on these small trees, not even on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

/// Where Cargo has put the programs of this package.
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_eco-health")).with_file_name(name)
}

/// A program and its words, not yet run.
pub struct Run<'w> {
    world: &'w World,
    program: OsString,
    args: Vec<OsString>,
    stdin: Option<Vec<u8>>,
    user: Option<u32>,
    env: Vec<(OsString, OsString)>,
}

impl<'w> Run<'w> {
    pub(super) fn new(world: &'w World, program: &str) -> Run<'w> {
        let program = if program.starts_with("eco-") { self::program(program).into() } else { program.into() };
        Run { world, program, args: Vec::new(), stdin: None, user: None, env: Vec::new() }
    }

    /// Adds one word.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Run<'w> {
        self.args.push(word.as_ref().to_owned());
        self
    }

    /// Adds words.
    pub fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Run<'w> {
        self.args.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// What it reads; without, stdin is empty.
    pub fn stdin(mut self, text: impl AsRef<[u8]>) -> Run<'w> {
        self.stdin = Some(text.as_ref().to_vec());
        self
    }

    /// Runs it as this user and group, which takes root.
    pub fn user(mut self, id: u32) -> Run<'w> {
        self.user = Some(id);
        self
    }

    /// Sets a variable in the otherwise clean environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Run<'w> {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The command, for tests that start it in their own way: in the ecosystem's root, with a clean environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(self.world.root()).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HOME", self.world.folder()).envs(self.env.iter().cloned());
        if let Some(now) = &*self.world.now.lock().unwrap() {
            command.env("ECO_NOW", now);
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs it to its end, which must come: a program that hangs is killed and seen as ended by signal 9.
    pub fn ran(self) -> Ran {
        let command = self.command();
        let said = format!("{command:?}");
        let mut command = assert_cmd::Command::from_std(command);
        if let Some(text) = &self.stdin {
            command.write_stdin(text.clone());
        }
        let done = command.timeout(LONGEST).output().unwrap_or_else(|e| panic!("{said}: {e}"));
        seen::keep(&String::from_utf8_lossy(&done.stdout), self.stdin.as_deref().unwrap_or_default());
        Ran { command: said, code: code(done.status), stdout: text(done.stdout), stderr: text(done.stderr), folder: self.world.folder() }
    }

    /// Runs it to its end, which must be this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        self.ran().exits(code)
    }
}

/// Writes to a child's stdin from a thread, so that a program which does not read everything cannot block the test.
fn feed(child: &mut Child, text: Option<Vec<u8>>) -> Option<thread::JoinHandle<()>> {
    let (mut to, text) = (child.stdin.take()?, text?);
    // A program that ends without reading everything is no error.
    Some(thread::spawn(move || drop(to.write_all(&text))))
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| panic!("output that is not UTF-8: {}", e.as_bytes().escape_ascii()))
}

/// The lines as JSON values.
#[track_caller]
pub fn records(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// How a program ended. A signal is a negative code.
pub struct Ran {
    command: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    folder: PathBuf,
}

impl Ran {
    /// It must have ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert!(self.code == code, "wanted exit {code}\n{self}");
        self
    }

    /// All that it wrote, as records.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        records(&self.stdout)
    }

    /// Its records of this type.
    #[track_caller]
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["type"] == kind).collect()
    }

    /// Its last record of this type.
    #[track_caller]
    pub fn last(&self, kind: &str) -> Value {
        self.all(kind).pop().unwrap_or_else(|| panic!("no {kind} record\n{self}"))
    }

    /// Its only record.
    #[track_caller]
    pub fn only(&self) -> Value {
        let mut records = self.records();
        assert!(records.len() == 1, "{} records\n{self}", records.len());
        records.remove(0)
    }

    /// The step of this name, its last one.
    #[track_caller]
    pub fn step(&self, name: &str) -> Value {
        let found = self.all("step").into_iter().rfind(|step| step["step"] == name);
        found.unwrap_or_else(|| panic!("no step {name}\n{self}"))
    }

    /// stderr must contain this.
    #[track_caller]
    pub fn says(self, words: &str) -> Ran {
        assert!(self.stderr.contains(words), "it does not say '{words}'\n{self}");
        self
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ran { command, code, stdout, stderr, folder } = self;
        write!(to, "{command}\nexit {code}\nstdout:\n{stdout}\nstderr:\n{stderr}\n{}:\n{}", folder.display(), Tree::of(folder))
    }
}

/// Programs joined by pipes, not yet run.
pub struct Pipe<'w> {
    world: &'w World,
    programs: Vec<Run<'w>>,
    stdin: Option<Vec<u8>>,
}

impl<'w> Pipe<'w> {
    pub(super) fn new(world: &'w World, programs: &[&str]) -> Pipe<'w> {
        let run = |words: &&str| {
            let mut words = words.split_whitespace();
            world.run(words.next().unwrap()).args(words)
        };
        Pipe { world, programs: programs.iter().map(run).collect(), stdin: None }
    }

    /// What the first one reads.
    pub fn stdin(mut self, text: impl AsRef<[u8]>) -> Pipe<'w> {
        self.stdin = Some(text.as_ref().to_vec());
        self
    }

    /// Runs them all at once; each must end with its code. What the last one wrote is returned, with what all of them said.
    #[track_caller]
    pub fn exits<const N: usize>(self, codes: [i32; N]) -> Ran {
        let mut children: Vec<(Child, File, String)> = Vec::new();
        let mut feeding = None;
        for run in &self.programs {
            let mut command = run.command();
            match children.last_mut() {
                Some((before, ..)) => command.stdin(before.stdout.take().unwrap()),
                None if self.stdin.is_some() => command.stdin(Stdio::piped()),
                None => command.stdin(Stdio::null()),
            };
            let errors = tempfile::tempfile().unwrap();
            command.stdout(Stdio::piped()).stderr(errors.try_clone().unwrap());
            let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
            feeding = feeding.or_else(|| feed(&mut child, self.stdin.clone()));
            children.push((child, errors, format!("{command:?}")));
        }
        let mut stdout = String::new();
        children.last_mut().unwrap().0.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        feeding.map(thread::JoinHandle::join);
        seen::keep(&stdout, self.stdin.as_deref().unwrap_or_default());
        let (mut ended, mut stderr, mut commands) = (Vec::new(), String::new(), Vec::new());
        for (mut child, mut errors, command) in children {
            ended.push(code(child.wait().unwrap()));
            errors.rewind().unwrap();
            errors.read_to_string(&mut stderr).unwrap();
            commands.push(command);
        }
        let ran = Ran { command: commands.join(" |\n"), code: *ended.last().unwrap(), stdout, stderr, folder: self.world.folder() };
        assert!(ended == codes, "wanted exits {codes:?}, got {ended:?}\n{ran}");
        ran
    }
}
