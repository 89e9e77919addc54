//! How long the tree from before a rollback is kept.

use super::journal::Journal;
use super::run::Run;
use crate::disk;
use crate::scope::OURS;
use crate::time::Timestamp;
use std::fs;

impl Run<'_, '_> {
    /// Lets go of trees from before whose time is over. What cannot be removed now is tried again next time.
    pub(super) fn expire(&self) {
        let (now, keep) = (self.stage.now(), self.eco.keep_safety.0);
        let old = |began: Timestamp| now.checked_sub(keep).is_ok_and(|limit| began < limit);
        for folder in fs::read_dir(self.eco.root.join(OURS)).into_iter().flatten().flatten() {
            let note = Journal::read(&folder.path().join("undo"));
            if folder.file_name() != self.journal.folder.as_str() && matches!(note, Ok(Some(done)) if old(done.began)) {
                let _ = disk::remove_tree(&folder.path());
            }
        }
    }
}
