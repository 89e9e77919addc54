//! `[notify]`: a command that tells people. It is run beside the work, never before it or in its way: whatever it does, the work
//! goes on, and only a sentence says that it failed.

use super::{Argv, Service};
use crate::time::Span;
use serde::Deserialize;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the command may take where the configuration does not say.
pub const NOTIFY_DEADLINE: Duration = Duration::from_secs(30);
/// A stream of old decisions must not start a thousand mailers.
const MOST_AT_ONCE: usize = 16;
/// What the command finds in its environment.
const PHASE: &[(&str, &str)] = &[("ECO_PHASE", "notify")];

/// The command, and what it is run for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// `{subject}` in an argument becomes the subject; the text is on standard input.
    pub command: Argv,
    /// What people are told of.
    pub on: Vec<Occasion>,
    /// How long it may take before its process group is ended.
    pub timeout: Option<Span>,
}

impl Default for Notify {
    fn default() -> Notify {
        Notify { command: Argv::new(), on: vec![Occasion::Decision, Occasion::Restore], timeout: None }
    }
}

/// What people can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// The policy has come to a conclusion.
    Decision,
    /// A rollback has ended, in whichever way.
    Restore,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Which kind it is.
    pub occasion: Occasion,
    /// What it is about, for the sentence that says that it could not be told.
    pub about: String,
    /// One line.
    pub subject: String,
    /// All of it.
    pub text: String,
}

/// Runs the command for each notice, several at a time if need be.
#[derive(Debug)]
pub struct Notifier {
    service: Service,
    notify: Notify,
    /// What each is about, and why it failed once it has ended.
    running: Vec<(String, JoinHandle<Option<String>>)>,
    failed: Vec<String>,
}

impl Notifier {
    /// For this service.
    pub fn new(service: Service, notify: Notify) -> Notifier {
        Notifier { service, notify, running: Vec::new(), failed: Vec::new() }
    }

    /// Whether people are to be told of this.
    pub fn wants(&self, occasion: Occasion) -> bool {
        !self.notify.command.is_empty() && self.notify.on.contains(&occasion)
    }

    /// Starts the command and returns at once.
    pub fn send(&mut self, notice: Notice) {
        if !self.wants(notice.occasion) {
            return;
        }
        self.reap(false);
        let Notice { about, subject, text, .. } = notice;
        let (argv, deadline) = self.command(&subject);
        if self.running.len() >= MOST_AT_ONCE {
            self.failed.push(format!("nobody was told of {about}: {MOST_AT_ONCE} notifications are still under way"));
            return;
        }
        let service = self.service.clone();
        let started = thread::Builder::new().name("notify".into()).spawn(move || service.tell(&argv, PHASE, text, deadline));
        match started {
            Ok(thread) => self.running.push((about, thread)),
            Err(e) => self.failed.push(format!("nobody was told of {about}: {e}")),
        }
    }

    /// Runs the command, whatever people want to be told of, and waits for it. The error says why nobody was told.
    pub fn tell(&self, subject: &str, text: String) -> Result<(), String> {
        if self.notify.command.is_empty() {
            return Err("[notify] of eco.toml names no command".into());
        }
        let (argv, deadline) = self.command(subject);
        self.service.tell(&argv, PHASE, text, deadline).map_or(Ok(()), Err)
    }

    /// The words of the command, and how long it may take. The program is chosen by the configuration alone.
    fn command(&self, subject: &str) -> (Argv, Duration) {
        let words = self.notify.command.iter().enumerate();
        let argv = words.map(|(at, word)| if at == 0 { word.clone() } else { word.replace("{subject}", subject) }).collect();
        (argv, self.notify.timeout.map_or(NOTIFY_DEADLINE, |span| span.0))
    }

    /// What could not be told since the last time, a sentence each. With `all`, those under way are waited for, which takes no
    /// longer than the command may take.
    pub fn failures(&mut self, all: bool) -> Vec<String> {
        self.reap(all);
        std::mem::take(&mut self.failed)
    }

    fn reap(&mut self, all: bool) {
        let (ended, running) = std::mem::take(&mut self.running).into_iter().partition(|(_, thread)| all || thread.is_finished());
        self.running = running;
        let ended: Vec<(String, JoinHandle<Option<String>>)> = ended;
        self.failed.extend(ended.into_iter().filter_map(|(about, thread)| {
            let why = thread.join().unwrap_or_else(|_| Some("it broke off".into()))?;
            Some(format!("nobody was told of {about}: {why}"))
        }));
    }
}
