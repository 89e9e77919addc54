//! After a crash: back while the live tree is untouched, forward once the exchange was decided; or back whatever was decided, if a
//! person says so.

use super::journal::{Journal, Phase};
use super::run::Run;
use super::{Ecosystem, Stage};
use crate::error::{Error, Result};
use crate::record::Restore;
use std::time::Instant;

/// Finishes what an interrupted run left, and says how it ended; `None` when nothing is pending. The caller holds the lock. With
/// `control` false the service is not touched.
///
/// # Errors
/// [`Error::SwappedBack`] when the new tree does not prove healthy; [`Error::RecoverFirst`] when what is there cannot be explained.
pub fn recover(eco: &Ecosystem, control: bool, stage: &mut Stage<'_>) -> Result<Option<Restore>> {
    let Some(mut journal) = Journal::read(&Journal::pending(&eco.root))? else { return Ok(None) };
    journal.control &= control;
    let phase = journal.phase;
    let mut run = Run { eco, stage, journal, began: Instant::now(), downtime: None };
    match phase {
        Phase::Staging | Phase::Staged | Phase::Stopping | Phase::Abandoned => {
            run.abandon(&Error::Interrupted("the live tree was not touched".into()))?;
            Ok(Some(run.journal.restore))
        }
        Phase::Swapping | Phase::Carried => run.forward().map(Some),
        Phase::Reverting => {
            // The service may have been started on either tree; going back is finished first.
            let why = run.journal.restore.error.clone().unwrap_or_else(|| "interrupted while going back".into());
            run.backward(&why).map(Some)
        }
        // The tree from before is back for good; what was staged may be half removed already.
        Phase::Reverted => run.finish_revert().map(Some),
        Phase::Committed => {
            // After a power cut it does not run any more.
            run.start();
            run.finish_commit().map(Some)
        }
    }
}

/// Takes an interrupted run back to the tree from before, however far it has come, and says how it ended; `None` when nothing is pending.
/// The caller holds the lock. With `control` false the service is not touched.
///
/// # Errors
/// [`Error::NoMatch`] when it was complete already: it is finished then, and an undo is the way back. [`Error::Process`] when the service
/// does not start on the tree from before; [`Error::RecoverFirst`] when what is there cannot be explained.
pub fn abort(eco: &Ecosystem, control: bool, stage: &mut Stage<'_>) -> Result<Option<Restore>> {
    let Some(mut journal) = Journal::read(&Journal::pending(&eco.root))? else { return Ok(None) };
    if matches!(journal.phase, Phase::Staging | Phase::Staged | Phase::Stopping | Phase::Abandoned) {
        return recover(eco, control, stage);
    }
    if journal.phase == Phase::Committed {
        let done = recover(eco, control, stage)?;
        let id = done.map(|restore| restore.id).unwrap_or_default();
        return Err(Error::NoMatch(format!("rollback {id} was complete and is finished now: eco-restore --undo takes it back")));
    }
    journal.control &= control;
    journal.aborted = true;
    let phase = journal.phase;
    let mut run = Run { eco, stage, journal, began: Instant::now(), downtime: None };
    if phase == Phase::Reverted { run.finish_revert() } else { run.backward("aborted") }.map(Some)
}
