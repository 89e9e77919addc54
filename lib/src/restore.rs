//! The rollback transaction: the complete new tree is staged beside the live one, verified and flushed while the service still
//! runs; then stop, exchange, start. Before the exchange nothing live changes; after it the old tree is the safety copy. Whatever
//! interrupts it, the journal says how it goes on.
//!
//! Everything of ours is in the folder [`OURS`] at the ecosystem's root:
//!
//! | name | what |
//! |---|---|
//! | `lock` | held by the run that is under way |
//! | `journal` | the transaction that is under way; none when all is done |
//! | `memory` | decisions that were carried out, one JSON line each |
//! | `ID/tree` | what is staged; after the exchange, the tree from before |
//! | `ID/undo` | the journal of the finished transaction, for undoing it |
//! | `ID/trash` | a tree from before that nobody needs any more, on its way out |

#[cfg(any(test, fuzzing))]
pub mod fuzz_entry;
mod hooks;
mod journal;
mod layout;
mod pointer;
mod prove;
mod recover;
mod run;
mod safety;
mod stage;
mod swap;
mod target;
mod undo;

pub use journal::{Memory, is_used, pending, refuse_while_pending};
pub use recover::{abort, recover};
pub use run::{Order, order_by_command, restore};
pub use safety::{SetAside, in_use, set_aside};
pub use stage::Staging;
pub use target::extract_to;
pub use undo::undo;

use crate::archive::OwnerChange;
use crate::disk::{self, Lock};
use crate::error::{Error, Result};
use crate::health::{Limits, Probe};
use crate::record::{Plan, Record, Stamp, Step};
use crate::scope::{CaptureRules, OURS, Scopes};
use crate::service::{Argv, Service};
use crate::time::{Span, Timestamp};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// `[verify]`: what must hold after a rollback, or it is swapped back.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// Must exit 0; run in the ecosystem's root.
    pub command: Argv,
    /// The probes must say healthy within this time.
    pub health: Option<Span>,
    /// What it must keep meanwhile, at one moment at least.
    pub limits: Limits,
}

/// The service that is rolled back.
#[derive(Clone, Debug)]
pub struct Ecosystem {
    /// Its name; archives of another one need a person's word.
    pub name: String,
    /// Its root folder, absolute.
    pub root: PathBuf,
    /// Where a safety snapshot of the tree from before goes.
    pub store: Option<PathBuf>,
    /// Which paths belong to which scope.
    pub scopes: Scopes,
    /// What is excluded and preserved today.
    pub rules: CaptureRules,
    /// How it is stopped and started.
    pub service: Service,
    /// What is asked of it afterwards.
    pub probes: Vec<Probe>,
    /// What must hold afterwards.
    pub verify: Verify,
    /// How long the tree from before is kept.
    pub keep_safety: Span,
}

impl Ecosystem {
    fn ours(&self) -> PathBuf {
        self.root.join(OURS)
    }

    /// Takes the lock that one rollback at a time holds, for as long as the value lives. `holder` is what a second one is told.
    ///
    /// # Errors
    /// [`Error::Locked`] naming the holder; [`Error::Path`] when the tree cannot be written.
    pub fn lock(&self, holder: &str) -> Result<Lock> {
        disk::private_dir(&self.ours())?;
        let lock = Lock::exclusive(&self.ours().join("lock"), holder)?;
        disk::sweep_temporaries(&self.ours())?;
        Ok(lock)
    }
}

/// What a transaction needs from the program around it: the clock, a place for its records, a person to ask.
pub struct Stage<'a> {
    /// Asks the clock.
    pub now: &'a dyn Fn() -> Timestamp,
    /// Takes a record, with a stamp where it has one of its own. It must not fail: a reader that has gone changes nothing about the work.
    pub emit: &'a mut dyn FnMut(Option<&Stamp>, Record),
    /// This machine.
    pub host: Option<String>,
    /// Shows the plan and asks; false ends the run before anything was changed.
    pub confirm: &'a mut dyn FnMut(&Plan) -> Result<bool>,
    /// Is told what begins now, and of how many bytes that will be; 0 if that is not known.
    pub expect: &'a dyn Fn(&str, u64),
    /// Is told bytes read and written.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Is told of owners that are not the same here as in the archive, if there are any.
    pub owners: &'a dyn Fn(&[OwnerChange]),
    /// Set by a signal: before the exchange the run ends cleanly, after it the exchange is finished first.
    pub stop: &'a AtomicBool,
}

impl Stage<'_> {
    fn now(&self) -> Timestamp {
        (self.now)()
    }

    fn emit(&mut self, record: impl Into<Record>) {
        (self.emit)(None, record.into());
    }

    fn tell(&self, owners: &[OwnerChange]) {
        if !owners.is_empty() {
            (self.owners)(owners);
        }
    }

    /// Runs one step and says how it ended. The step's own note comes with its value.
    fn step<T>(&mut self, restore: &str, name: &str, work: impl FnOnce() -> Result<(T, Option<String>)>) -> Result<T> {
        let began = Instant::now();
        let (result, ok, note) = match work() {
            Ok((value, note)) => (Ok(value), Some(true), note),
            Err(e) => {
                let note = Some(e.to_string());
                (Err(e), Some(false), note)
            }
        };
        self.report(restore, name, ok, note, began);
        result
    }

    /// Says how a step ended.
    fn report(&mut self, restore: &str, name: &str, ok: Option<bool>, note: Option<String>, began: Instant) {
        self.emit(Step { restore: restore.into(), step: name.into(), ok, note, took_ms: began.elapsed().as_millis() as u64 });
    }

    fn asked_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Error::Interrupted`] once a signal has come.
    fn go_on(&self) -> Result<()> {
        if self.asked_to_stop() { Err(Error::Interrupted("the live tree was not touched".into())) } else { Ok(()) }
    }
}
