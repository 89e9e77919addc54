//! What long work says of itself while it lasts: one line on stderr, which goes when the work is done, when a record is written, and
//! when a signal ends the program. Nobody sees it in a file, and work that is done at once says nothing.

use crate::report::words::{percent, size, span, visible};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Work that takes less is not talked about.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the line is drawn anew.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// The line of a program; there is one.
pub(super) struct Line {
    bar: ProgressBar,
    is_shown: bool,
    /// Set by a signal that ends the program: nothing is drawn after the line was cleared.
    is_over: Arc<AtomicBool>,
}

impl Line {
    /// A line, silent unless `is_shown`. A signal clears it; `is_remembered` says that it does no more than that.
    pub(super) fn new(is_shown: bool, is_remembered: Arc<AtomicBool>) -> Line {
        let bar = ProgressBar::with_draw_target(None, if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let line = Line { bar, is_shown, is_over: Arc::default() };
        // Without it a line that was begun would stay on the screen, which is no reason not to work.
        if is_shown && let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !super::is_ignored(*signal))) {
            let (bar, is_over) = (line.bar.clone(), line.is_over.clone());
            thread::spawn(move || {
                for signal in signals.forever() {
                    if !is_remembered.load(Ordering::Relaxed) {
                        is_over.store(true, Ordering::Relaxed);
                        bar.finish_and_clear();
                        // Dies of it, as the shell expects.
                        let _ = signal_hook::low_level::emulate_default_handler(signal);
                    }
                }
            });
        }
        line
    }

    /// A count of bytes that begins now.
    pub(super) fn count(self: &Arc<Line>, what: &str) -> Progress {
        let work = Work { what: what.to_owned(), expected: None, began: Instant::now(), drawn: None };
        Progress { line: self.clone(), bytes: AtomicU64::new(0), work: Mutex::new(work) }
    }

    /// Something that is waited for.
    pub(super) fn wait(self: &Arc<Line>) -> Waiting {
        if self.is_shown {
            self.bar.reset();
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        Waiting { line: self.clone() }
    }

    fn clear(&self) {
        if self.is_shown {
            self.bar.disable_steady_tick();
            self.bar.finish_and_clear();
        }
    }
}

/// A running count of bytes, shown once the work has taken half a second.
pub struct Progress {
    line: Arc<Line>,
    bytes: AtomicU64,
    work: Mutex<Work>,
}

struct Work {
    what: String,
    expected: Option<u64>,
    began: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// Counts on.
    pub fn add(&self, bytes: u64) {
        if !self.line.is_shown {
            return;
        }
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut work = self.work();
        let taken = work.began.elapsed();
        if taken < PATIENCE || work.drawn.is_some_and(|drawn| drawn.elapsed() < DRAW_EVERY) || self.line.is_over.load(Ordering::Relaxed) {
            return;
        }
        work.drawn = Some(Instant::now());
        if self.line.bar.is_finished() {
            self.line.bar.reset();
        }
        self.line.bar.set_message(sentence(&work.what, bytes, work.expected, taken));
        self.line.bar.tick();
    }

    /// How many bytes the work is about that is under way.
    pub fn expect(&self, bytes: u64) {
        self.work().expected = Some(bytes);
    }

    /// Other work begins, of so many bytes, or of nobody knows how many.
    pub fn begin(&self, what: &str, expected: Option<u64>) {
        self.pause();
        let mut work = self.work();
        what.clone_into(&mut work.what);
        work.expected = expected.filter(|expected| *expected > 0);
    }

    /// Makes room on the terminal for something else, and starts to count anew.
    pub fn pause(&self) {
        self.line.clear();
        self.bytes.store(0, Ordering::Relaxed);
        let mut work = self.work();
        (work.began, work.drawn, work.expected) = (Instant::now(), None, None);
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.line.clear();
    }
}

/// How far the work is, how fast it goes, and how long it will take from here.
fn sentence(what: &str, bytes: u64, expected: Option<u64>, taken: Duration) -> String {
    let speed = bytes as f64 / taken.as_secs_f64().max(0.001);
    let rate = size(speed as u64);
    match expected {
        // An expectation that was wrong is not shown: who is told 130 % believes the rest no more.
        Some(all) if all >= bytes => {
            let left = span(((all - bytes) as f64 / speed.max(1.0)).ceil() as i64);
            format!(
                "{what} {} of {}, {}, {rate}/s, {left} left",
                size(bytes),
                size(all),
                percent((bytes as f64 / all as f64 * 100.0).floor() / 100.0)
            )
        }
        _ => format!("{what} {}, {rate}/s", size(bytes)),
    }
}

/// What is waited for, on one line that goes when the value does.
pub struct Waiting {
    line: Arc<Line>,
}

impl Waiting {
    /// Says what stands in the way now.
    pub fn on(&self, what: &str) {
        self.line.bar.set_message(visible(what));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_how_long_and_does_not_pretend() {
        let taken = Duration::from_secs(2);
        assert_eq!(sentence("reading", 100 << 20, Some(400 << 20), taken), "reading 100 MiB of 400 MiB, 25 %, 50.0 MiB/s, 6 s left");
        assert_eq!(sentence("reading", 100 << 20, None, taken), "reading 100 MiB, 50.0 MiB/s");
        assert_eq!(sentence("reading", 100 << 20, Some(99 << 20), taken), "reading 100 MiB, 50.0 MiB/s");
        assert!(sentence("reading", 9_999, Some(10_000), taken).contains(", 99 %, "), "all of it is 100 %, and nothing else");
    }
}
