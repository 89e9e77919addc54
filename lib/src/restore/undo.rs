//! Undo: the tree from before a rollback changes places with the live one once more. What goes is kept in its turn, so an undo can
//! be undone.

use super::hooks;
use super::journal::{Journal, Phase};
use super::layout;
use super::pointer;
use super::run::{Order, Run, UNDO_STANDS, restore};
use super::safety::{has_tree, stored};
use super::swap;
use super::{Ecosystem, Stage};
use crate::error::{Error, Named, Result};
use crate::record::{Plan, Restore, Scope};
use crate::scope::OURS;
use crate::store::id6;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

/// Puts the tree from before a rollback back: of the newest one, or of the one with this id (or its last characters). Where that tree
/// has become a snapshot, this is a rollback to it. Preserved paths stay as they are now. Health is reported and decides nothing.
/// `None` after a no at the question.
///
/// # Errors
/// [`Error::NoMatch`] when there is nothing to undo; [`Error::Process`] when the service cannot be stopped: nothing was changed then.
pub fn undo(eco: &Ecosystem, which: Option<&str>, order: Order, stage: &mut Stage<'_>) -> Result<Option<Restore>> {
    let mut began = Instant::now();
    let note = find(eco, which)?;
    if !has_tree(&eco.root, &note)
        && let Some(safety) = &note.safety
    {
        let stored = stored(eco, stage.now(), safety)?;
        let scopes = Scope::split(&note.restore.scope).map_err(Error::Other)?;
        return restore(eco, &Order { scopes, undoes: Some(note.restore.id), ..order }, stored, stage);
    }
    let Order { id, control, dry_run, .. } = order;
    let mut record = note.restore.clone();
    record.undoes = Some(record.id);
    record = Restore {
        id: id.clone(),
        phase: "started".into(),
        by: Some("operator".into()),
        scope: record.scope,
        undoes: record.undoes,
        ..Restore::default()
    };
    let mut journal = Journal::new(stage.now(), record.clone(), note.folder.clone(), control && (eco.service.can_stop() || eco.service.can_start()));
    journal.restore.safety = Some(id.clone());
    journal.carry = note.carry.clone();
    (journal.places, journal.roots, journal.split) = (note.places.clone(), note.roots.clone(), note.split.clone());
    (journal.in_place, journal.pairs, journal.made) = (note.in_place, note.pairs.clone(), note.made.clone());
    pointer::find_again(&eco.root, &mut journal)?;
    journal.check_places(&eco.root)?;
    layout::pair_up(&eco.root, &mut journal)?;
    journal.carry_from = swap::carried_from(&eco.root, &journal)?;
    hooks::check(eco, &journal)?;
    let way = layout::way(&journal);
    journal.restore.strategy = Some(way.word().into());
    let plan = Plan {
        restore: id,
        scope: record.scope.clone(),
        strategy: way.word().into(),
        guarantee: Some(way.guarantee().into()),
        roots: journal.roots.iter().map(|root| root.to_path().display().to_string()).collect(),
        control: format!("the tree from before rollback {} of {} comes back; the one that is live now is kept", id6(&note.restore.id), note.began),
        verify: vec![UNDO_STANDS.into()],
        ..Plan::default()
    };
    stage.emit(plan.clone());
    let asked = Instant::now();
    if dry_run || !(stage.confirm)(&plan)? {
        return Ok(None);
    }
    // A person's thinking is no part of what it took.
    began += asked.elapsed();
    stage.emit(Restore { strategy: Some(way.word().into()), ..record });
    journal.enter(&eco.root, Phase::Staged)?;
    let mut run = Run { eco, stage, journal, began, downtime: None };
    if let Err(e) = run.stop().and_then(|()| run.decide()) {
        run.abandon(&e)?;
        return Err(e);
    }
    run.forward().map(Some)
}

/// What is noted of each finished rollback of this tree, or why that cannot be read.
///
/// # Errors
/// [`Error::Path`] when the folder with the notes cannot be listed.
pub(super) fn notes(root: &Path) -> Result<Vec<Result<Journal>>> {
    let ours = root.join(OURS);
    let folders = match fs::read_dir(&ours) {
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        other => Some(other.named("list", &ours)?),
    };
    let mut notes = Vec::new();
    for folder in folders.into_iter().flatten() {
        let folder = folder.named("list", &ours)?;
        if !folder.file_type().named("look at", folder.path())?.is_dir() {
            continue;
        }
        notes.extend(Journal::read(&folder.path().join("undo")).transpose());
    }
    Ok(notes)
}

/// The finished rollback that is meant.
fn find(eco: &Ecosystem, which: Option<&str>) -> Result<Journal> {
    let mut notes = Vec::new();
    for note in self::notes(&eco.root)? {
        match note {
            Ok(done) => notes.push(done),
            // Of another rollback, perhaps: the one that is asked for may still be fine.
            Err(e) if which.is_none() => return Err(e),
            Err(_) => {}
        }
    }
    // Of one whose time is over something may be left.
    notes.retain(|done| done.safety.is_some() || has_tree(&eco.root, done));
    notes.retain(|done| {
        which.is_none_or(|id| {
            done.restore.id == id || done.folder == id || id.len() >= 4 && (done.restore.id.ends_with(id) || done.folder.ends_with(id))
        })
    });
    notes.into_iter().max_by_key(|done| (done.began, done.restore.id.clone())).ok_or_else(|| {
        let which = which.map(|id| format!(" '{}'", id.escape_debug())).unwrap_or_default();
        Error::NoMatch(format!("there is no rollback{which} of {} to undo", eco.root.display()))
    })
}
