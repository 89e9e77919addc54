//! `[snapshot] before` and `after`: the service is asked to hold still while its files are read, and told when they were.

use super::{Argv, Service, millis};
use crate::error::{Error, Result};
use crate::store::Quiet;
use crate::time::Span;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long each of the two may take, where the configuration does not say.
pub const HOOK_DEADLINE: Duration = Duration::from_secs(30);

/// The two commands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    /// Run right before the files are looked at.
    pub before: Argv,
    /// Run when the last byte was read, and whenever `before` was started and there will be no snapshot.
    pub after: Argv,
    /// How long each may take before its process group is ended.
    pub timeout: Option<Span>,
}

/// The commands around one snapshot. Whatever happens in between, `after` runs once.
#[derive(Debug)]
pub struct Quiesce<'a> {
    service: Service,
    hooks: Hooks,
    /// For `$ECO_SNAPSHOT`.
    id: String,
    stop: &'a AtomicBool,
    began: Cell<Option<Instant>>,
    took_ms: Cell<Option<u64>>,
    failed: RefCell<Option<String>>,
}

impl<'a> Quiesce<'a> {
    /// For the snapshot `id`; `stop` tells that it is not wanted any more.
    pub fn new(service: Service, hooks: Hooks, id: &str, stop: &'a AtomicBool) -> Quiesce<'a> {
        Quiesce { service, hooks, id: id.into(), stop, began: Cell::default(), took_ms: Cell::default(), failed: RefCell::default() }
    }

    /// From the start of `before` to the end of `after`; nothing where neither is configured, or neither ran.
    pub fn took_ms(&self) -> Option<u64> {
        self.took_ms.get()
    }

    /// Why `after` failed, if it did, in a sentence.
    pub fn failure(&self) -> Option<String> {
        self.failed.borrow().as_ref().map(|why| format!("[snapshot] after: {why}; the service may still hold still"))
    }

    fn run(&self, argv: &Argv) -> Option<String> {
        if argv.is_empty() {
            return None;
        }
        let deadline = self.hooks.timeout.map_or(HOOK_DEADLINE, |span| span.0);
        self.service.run(argv, &[("ECO_SNAPSHOT", &self.id)], deadline).why()
    }
}

impl Quiet for Quiesce<'_> {
    fn begin(&self) -> Result<()> {
        if self.hooks.before.is_empty() && self.hooks.after.is_empty() {
            return Ok(());
        }
        self.began.set(Some(Instant::now()));
        let failed = self.run(&self.hooks.before);
        let asked_to_stop = self.stop.load(Ordering::Relaxed);
        if failed.is_none() && !asked_to_stop {
            return Ok(());
        }
        self.end();
        let after = match self.failed.take() {
            Some(why) => format!("after failed too: {why}; the service may still hold still"),
            None if self.hooks.after.is_empty() => "there is no after to be run".into(),
            None => "after was run".into(),
        };
        Err(match failed {
            Some(why) => Error::Process(format!("[snapshot] before: {why}; {after}")),
            None => Error::Interrupted(format!("[snapshot] {after}")),
        })
    }

    fn end(&self) {
        let Some(began) = self.began.take() else { return };
        *self.failed.borrow_mut() = self.run(&self.hooks.after);
        self.took_ms.set(Some(millis(began)));
    }
}
