//! Holding on to a process: its descriptor stays the process's own when the number is used again, can be waited for without
//! looking every few milliseconds, and is closed in every command that is started meanwhile.

use super::process::{self, Process};
use rustix::process::{Pid, Signal};
use std::thread;
use std::time::Duration;

#[cfg(target_os = "linux")]
type Descriptor = std::os::fd::OwnedFd;
#[cfg(not(target_os = "linux"))]
type Descriptor = std::convert::Infallible;

/// How often it is looked where nothing can be held.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process that was seen alive, held where the system can do that.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) process: Process,
    descriptor: Option<Descriptor>,
}

impl Held {
    /// Takes hold of a process; `None` when it has ended.
    pub(super) fn new(process: Process) -> Option<Held> {
        // The descriptor first: if the number still belongs to that process afterwards, it did when it was opened.
        let descriptor = process.number().and_then(open);
        process.is_alive().then_some(Held { process, descriptor })
    }

    pub(super) fn is_alive(&self) -> bool {
        match &self.descriptor {
            Some(descriptor) => !has_ended(descriptor),
            None => self.process.is_alive(),
        }
    }

    /// Sends a signal to this process and no other. One that cannot be sent shows in the proof.
    pub(super) fn signal(&self, signal: Signal) {
        match (&self.descriptor, self.process.number()) {
            (Some(descriptor), _) => send(descriptor, signal),
            // Looked at again right before: the number may be somebody else's by now.
            (None, Some(number)) if process::look(self.process.pid).is_some_and(|now| now.process == self.process) => {
                let _ = rustix::process::kill_process(number, signal);
            }
            _ => {}
        }
    }
}

/// Returns when one of them may have ended, at the latest after `limit`.
pub(super) fn wait(held: &[Held], limit: Duration) {
    let descriptors: Vec<&Descriptor> = held.iter().filter_map(|held| held.descriptor.as_ref()).collect();
    let limit = if descriptors.len() < held.len() { limit.min(LOOK_EVERY) } else { limit };
    if descriptors.is_empty() {
        thread::sleep(limit);
    } else {
        poll(&descriptors, limit);
    }
}

/// A child of ours, which keeps its number until it is reaped.
#[derive(Debug)]
pub(super) struct Child(Option<Descriptor>);

impl Child {
    pub(super) fn new(number: Pid) -> Child {
        Child(open(number))
    }

    /// Returns when it may have ended, at the latest after `limit`; where it cannot be held, after `pause`.
    pub(super) fn wait(&self, limit: Duration, pause: Duration) {
        match &self.0 {
            Some(descriptor) => poll(&[descriptor], limit),
            None => thread::sleep(limit.min(pause)),
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::Descriptor;
    use rustix::event::{PollFd, PollFlags, Timespec};
    use rustix::process::{Pid, PidfdFlags, Signal};
    use std::time::Duration;

    /// `None` on kernels without it, where a sandbox forbids it, when there are no descriptors left, and for a process that is gone.
    pub(super) fn open(number: Pid) -> Option<Descriptor> {
        rustix::process::pidfd_open(number, PidfdFlags::empty()).ok()
    }

    pub(super) fn has_ended(descriptor: &Descriptor) -> bool {
        ready(&[descriptor], Duration::ZERO)
    }

    pub(super) fn send(descriptor: &Descriptor, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(descriptor, signal);
    }

    pub(super) fn poll(descriptors: &[&Descriptor], limit: Duration) {
        ready(descriptors, limit);
    }

    fn ready(descriptors: &[&Descriptor], limit: Duration) -> bool {
        let mut waiting: Vec<PollFd<'_>> = descriptors.iter().map(|descriptor| PollFd::new(*descriptor, PollFlags::IN)).collect();
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        // A signal ends the wait early, as if nothing had ended; whoever waits looks again.
        rustix::event::poll(&mut waiting, Some(&limit)).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Descriptor;
    use rustix::process::{Pid, Signal};
    use std::time::Duration;

    pub(super) fn open(_: Pid) -> Option<Descriptor> {
        None
    }

    pub(super) fn has_ended(never: &Descriptor) -> bool {
        match *never {}
    }

    pub(super) fn send(never: &Descriptor, _: Signal) {
        match *never {}
    }

    pub(super) fn poll(_: &[&Descriptor], _: Duration) {}
}

use system::{has_ended, open, poll, send};
