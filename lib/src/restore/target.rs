//! Restoring into another folder: to look at a snapshot, to take single files from it, to rehearse. The live tree and the service
//! are not touched, nothing is locked.

use super::run::Order;
use super::stage::Point;
use super::{Ecosystem, Stage};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::record::{Plan, Scope};
use crate::store::Stored;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Extracts the scope's roots into `folder`, which must be empty or absent, preserved paths included; each piece is checked against its
/// digest. Owners and attributes that this user cannot set are returned, and everything else is there.
///
/// # Errors
/// [`Error::Usage`] when the folder is not empty; [`Error::Refused`] for damage; [`Error::Path`]. What was written is removed again.
pub fn extract_to(eco: &Ecosystem, order: &Order, stored: Stored, folder: &Path, stage: &mut Stage<'_>) -> Result<Vec<(PathBuf, String)>> {
    let began = Instant::now();
    let point = Point::open(eco, stored, order, stage.progress)?;
    let (bytes, entries) = point.weight();
    let plan = Plan {
        restore: order.id.clone(),
        scope: Scope::join(&order.scopes),
        snapshot: Some(point.stored.snapshot.id.clone()),
        target: Some(folder.display().to_string()),
        strategy: "extract".into(),
        roots: point.roots.iter().map(|root| root.display().to_string()).collect(),
        created: entries,
        bytes,
        control: "the service and its tree are not touched".into(),
        verify: vec!["each piece against its digest".into()],
        ..Plan::default()
    };
    let made = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => true,
        other => {
            if other.named("list", folder)?.next().is_some() {
                return Err(Error::Usage(format!("{} is not empty: --target wants an empty or a new folder", folder.display())));
            }
            false
        }
    };
    stage.emit(plan.clone());
    if order.dry_run || !(stage.confirm)(&plan)? {
        return Ok(Vec::new());
    }
    let mut record = order.record();
    record.snapshot = plan.snapshot;
    record.strategy = Some(plan.strategy);
    stage.emit(record.clone());
    if made {
        fs::create_dir_all(folder).named("create the folder", folder)?;
    }
    let dir = disk::open_dir(folder)?;
    let (progress, stop) = (stage.progress, stage.stop);
    (stage.expect)("extracting", point.bytes());
    let done = stage.step(&order.id, "extract", || {
        let done = point.extract(folder, progress, stop)?;
        let note = format!("{} entries, {} KiB, each against its digest", done.entries, done.bytes >> 10);
        Ok((done, Some(note)))
    });
    let done =
        done.and_then(|done| stage.step(&order.id, "flush", || disk::sync_filesystem(dir.as_fd(), folder).map(|()| ((), None))).map(|()| done));
    record.took_ms = Some(began.elapsed().as_millis() as u64);
    match done {
        Ok(done) => {
            record.phase = "completed".into();
            record.created = Some(done.entries);
            stage.emit(record);
            stage.tell(&done.owners);
            Ok(done.lost)
        }
        Err(e) => {
            clear(folder, made)?;
            record.phase = "failed".into();
            (record.error, record.exit) = (Some(e.to_string()), Some(e.exit() as u8));
            stage.emit(record);
            Err(e)
        }
    }
}

fn clear(folder: &Path, made: bool) -> Result<()> {
    if made {
        return disk::remove_tree(folder);
    }
    for entry in fs::read_dir(folder).named("list", folder)? {
        disk::remove_tree(&entry.named("list", folder)?.path())?;
    }
    Ok(())
}
