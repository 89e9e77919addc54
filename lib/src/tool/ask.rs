//! A question to whoever sits at the terminal, whatever stdin and stdout are.

use crate::error::{Error, Named, Result};
use crate::report::words::visible;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const TTY: &str = "/dev/tty";
/// How long a signal may go unnoticed, in nanoseconds.
const LOOK_UP: i64 = 50_000_000;
/// Nobody says yes in more bytes.
const LONGEST_ANSWER: usize = 256;

/// The terminal, where there is one and somebody sees what is written.
pub(super) fn terminal() -> Option<File> {
    let is_seen = io::stderr().is_terminal() || io::stdout().is_terminal();
    is_seen.then(|| File::options().read(true).write(true).open(TTY).ok()).flatten()
}

/// Asks. Only `y` and `yes` are a yes; the end of the input is a no.
pub(super) fn ask(mut terminal: File, question: &str, stop: &AtomicBool) -> Result<bool> {
    let tty = Path::new(TTY);
    write!(terminal, "{} [y/N] ", visible(question)).named("write to", tty)?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') && answer.len() < LONGEST_ANSWER {
        // A read would go on after a signal as if nothing had been.
        let waited = poll(&mut [PollFd::new(&terminal, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: LOOK_UP }));
        if stop.load(Ordering::Relaxed) {
            let _ = terminal.write_all(b"\n");
            return Err(Error::Interrupted("nothing was changed".into()));
        }
        match waited {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(e) => return Err(io::Error::from(e)).named("wait for", tty),
        }
        let mut piece = [0; 64];
        let read = terminal.read(&mut piece).named("read", tty)?;
        if read == 0 {
            // The cursor stands behind the question.
            let _ = terminal.write_all(b"\n");
            break;
        }
        answer.extend_from_slice(&piece[..read]);
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
