//! `--listen`: words that people said elsewhere, copied into the stream of a program that begins one.

use super::Tool;
use crate::error::{Error, Result};
use crate::inbox::{Inbox, Listener};
use crate::record::{self, Restore, Stamp};
use std::path::{Path, PathBuf};

/// What a listening program keeps.
pub(super) struct Ear {
    root: PathBuf,
    listener: Option<Listener>,
    /// That another one listens was said; once is enough.
    told: bool,
}

impl Tool {
    /// From here on [`Tool::hear`] copies what eco-ctl says to the ecosystem with this root; without one there is nothing to hear.
    pub fn listen(&mut self, root: Option<&Path>) {
        self.ear = root.map(|root| Ear { root: root.to_owned(), listener: None, told: false });
    }

    /// Copies what has been said since the last time, byte for byte, and forgets it once our reader has it. While another program
    /// listens, it is that one's, and ours when it ends.
    ///
    /// # Errors
    /// [`Error::Path`] when the inbox cannot be read or stdout not written; [`Error::ReaderGone`], and the words stay where they are.
    pub fn hear(&mut self) -> Result<()> {
        let Some(mut ear) = self.ear.take() else { return Ok(()) };
        let heard = self.hear_with(&mut ear);
        self.ear = Some(ear);
        heard
    }

    fn hear_with(&mut self, ear: &mut Ear) -> Result<()> {
        let Ear { root, listener, told } = ear;
        if listener.is_none() {
            match Listener::new(root, &self.holder()) {
                Ok(new) => *listener = Some(new),
                Err(Error::Locked(why)) => {
                    if !std::mem::replace(told, true) {
                        self.say(&format!("somebody else listens to eco-ctl, and this one begins when that ends: {why}"));
                    }
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        let Some(listener) = listener else { return Ok(()) };
        let Some(words) = listener.take(self.now())? else { return Ok(()) };
        words.refused.iter().for_each(|sentence| self.error(sentence));
        for line in &words.lines {
            self.output.forward(line, true)?;
        }
        self.output.flush()?;
        listener.done()
    }

    /// Says how a rollback has ended to whoever listens to the ecosystem with this root, if anybody does: who decides stands before us
    /// in the pipe, or in another one. That it could not be said must not change how it ended, and is told only.
    pub fn report_back(&mut self, root: &Path, stamp: &Stamp, restore: &Restore) {
        let inbox = Inbox::of(root);
        if restore.phase == "started" || inbox.heard_by().is_none() {
            return;
        }
        if let Err(e) = inbox.add(&record::to_json(stamp, &restore.clone().into())) {
            self.error(&format!("whoever decides does not hear that the rollback {}: {e}", restore.phase));
        }
    }

    /// Says something to whoever listens to the ecosystem with this root, beside writing it to stdout: the record as it is, on the
    /// disk when this returns.
    ///
    /// # Errors
    /// As [`crate::inbox::Inbox::add`].
    pub fn speak(&mut self, root: &Path, line: &[u8]) -> Result<()> {
        let inbox = Inbox::of(root);
        inbox.add(line)?;
        match inbox.heard_by() {
            Some(who) => self.detail(&format!("passed on by {who}")),
            None => self.say("nobody listens now: it waits for a day for eco-health --listen"),
        }
        Ok(())
    }
}
