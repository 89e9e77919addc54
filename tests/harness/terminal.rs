//! A terminal with somebody at it: a program gets a pseudo-terminal of some size, and a test sees the screen as a person would.

use super::Run;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No program is silent for so long while it still has something to say.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the screen is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A program at work at a terminal of its own.
pub struct Terminal {
    master: File,
    child: Child,
    seen: Arc<Mutex<Seen>>,
    reading: Option<JoinHandle<()>>,
    said: String,
}

struct Seen {
    screen: vt100::Parser,
    written: Vec<u8>,
}

/// What is on the screen when the program has ended.
pub struct Screen {
    /// The exit code; a signal is a negative one.
    pub code: i32,
    /// The lines, without spaces at their ends, up to the last one that is not empty.
    pub lines: Vec<String>,
    /// All that was ever written.
    pub written: String,
    /// Whether a line was longer than the screen is wide.
    pub is_folded: bool,
}

impl Terminal {
    /// Starts a program at a terminal of so many columns and many rows. `redirect` is what a shell would make of it: `< file`.
    pub fn open(run: &Run<'_>, columns: u16, redirect: &str) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.as_bytes())).unwrap();
        let master = File::from(master);
        let rows = 200;
        tcsetwinsize(&master, winsize(columns, rows)).unwrap();
        let asked = run.command();
        let mut command = Command::new("/usr/bin/setsid");
        // The shell becomes the program.
        command.args(["--ctty", "--wait", "/bin/sh", "-c"]).arg(format!("exec \"$0\" \"$@\" {redirect}")).arg(asked.get_program());
        command.args(asked.get_args()).env_clear().env("TERM", "xterm");
        command.envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(asked.get_current_dir().unwrap());
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let said = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|e| panic!("{said}: {e}"));
        // Ours are gone with the command, so that the end of the program is the end of what can be read.
        drop(command);
        let seen = Arc::new(Mutex::new(Seen { screen: vt100::Parser::new(rows, columns, 0), written: Vec::new() }));
        let (mut from, to) = (master.try_clone().unwrap(), seen.clone());
        let reading = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut piece) {
                let mut seen = to.lock().unwrap();
                seen.screen.process(&piece[..read]);
                seen.written.extend_from_slice(&piece[..read]);
            }
        });
        Terminal { master, child, seen, reading: Some(reading), said }
    }

    /// Waits until these words have been written, whether they are still there or not.
    #[track_caller]
    pub fn writes(&self, words: &str) {
        self.waits(words, |seen| String::from_utf8_lossy(&seen.written).contains(words));
    }

    #[track_caller]
    fn waits(&self, what: &str, is_there: impl Fn(&Seen) -> bool) {
        let began = Instant::now();
        while !is_there(&self.seen.lock().unwrap()) {
            let is_over = self.reading.as_ref().is_none_or(JoinHandle::is_finished) && !is_there(&self.seen.lock().unwrap());
            if is_over || began.elapsed() > PATIENCE {
                panic!("{}\nnever shows '{what}':\n{}", self.said, self.seen.lock().unwrap().screen.screen().contents());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Presses keys: `\x03` is Ctrl-C, `\x04` is Ctrl-D.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the window as wide as this.
    pub fn resize(&self, columns: u16) {
        self.seen.lock().unwrap().screen.screen_mut().set_size(200, columns);
        tcsetwinsize(&self.master, winsize(columns, 200)).unwrap();
    }

    /// The process at the terminal.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    #[track_caller]
    pub fn ends(mut self) -> Screen {
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() > PATIENCE => {
                    self.child.kill().unwrap();
                    panic!("{}\ndoes not end:\n{}", self.said, self.seen.lock().unwrap().screen.screen().contents());
                }
                None => thread::sleep(LOOK_EVERY),
            }
        };
        self.reading.take().unwrap().join().unwrap();
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        let (rows, columns) = screen.size();
        let mut lines: Vec<String> = screen.rows(0, columns).map(|line| line.trim_end().to_owned()).collect();
        lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
        Screen {
            code: status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)),
            lines,
            written: String::from_utf8_lossy(&seen.written).into_owned(),
            is_folded: (0..rows).any(|row| screen.row_wrapped(row)),
        }
    }
}

impl Screen {
    /// The lines in one piece.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// It must have ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Screen {
        assert!(self.code == code, "wanted exit {code}, got {}:\n{}", self.code, self.text());
        self
    }
}

fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
