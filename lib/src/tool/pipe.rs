//! Lines in, lines out: byte for byte, flushed when nothing more is waiting.

use super::human;
use crate::error::{Error, Named, Result};
use crate::record::{self, LONGEST_LINE, Line, Record, Stamp};
use crate::report::words::visible;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Stdin, Stdout, Write};

/// What one read of the input gives.
pub(super) enum Piece {
    /// A whole line, without its newline.
    Line(Vec<u8>),
    /// A part of a line that is too long to be a record, newline included.
    Overlong(Vec<u8>),
}

/// Stdin, line by line.
pub(super) struct Input {
    from: BufReader<Stdin>,
    /// The line that was read last, from 1.
    pub(super) number: u64,
    inside_overlong: bool,
    /// Whether the piece that was read last had its newline; only the very last line may lack it.
    pub(super) ended: bool,
}

impl Default for Input {
    fn default() -> Input {
        Input { from: BufReader::with_capacity(1 << 16, io::stdin()), number: 0, inside_overlong: false, ended: true }
    }
}

impl Input {
    /// Whether a whole line can be had without waiting.
    pub(super) fn has_line(&self) -> bool {
        memchr::memchr(b'\n', self.from.buffer()).is_some()
    }

    /// After an overlong piece: whether it was the last of its line.
    pub(super) fn overlong_ends(&self) -> bool {
        !self.inside_overlong
    }

    pub(super) fn next(&mut self) -> Result<Option<Piece>> {
        // Nearly always the whole line is there already.
        if let Some(end) = memchr::memchr(b'\n', self.from.buffer()).filter(|_| !self.inside_overlong) {
            let raw = self.from.buffer()[..end].to_vec();
            self.from.consume(end + 1);
            self.ended = true;
            self.number += 1;
            return Ok(Some(Piece::Line(raw)));
        }
        let mut raw = Vec::new();
        let limit = LONGEST_LINE as u64 + 1;
        let read = io::Read::take(&mut self.from, limit).read_until(b'\n', &mut raw).named("read", "<stdin>")?;
        if read == 0 {
            let cut_off = std::mem::take(&mut self.inside_overlong);
            return Ok(cut_off.then(|| Piece::Overlong(Vec::new())));
        }
        let ended = raw.last() == Some(&b'\n');
        self.ended = ended;
        if !self.inside_overlong {
            self.number += 1;
        }
        if self.inside_overlong || (!ended && read as u64 == limit) {
            self.inside_overlong = !ended;
            return Ok(Some(Piece::Overlong(raw)));
        }
        if ended {
            raw.pop();
        }
        Ok(Some(Piece::Line(raw)))
    }
}

/// Stdout: records, or tables for people.
pub(super) struct Output {
    to: BufWriter<Stdout>,
    human: Option<human::Table>,
    changes: bool,
    lost: bool,
    /// What was forwarded last had no newline: the next record has to bring one.
    unended: bool,
}

impl Output {
    pub(super) fn new(human: Option<human::Table>) -> Output {
        Output { to: BufWriter::with_capacity(1 << 16, io::stdout()), human, changes: false, lost: false, unended: false }
    }

    pub(super) fn is_human(&self) -> bool {
        self.human.is_some()
    }

    pub(super) fn changes_something(&mut self) {
        self.changes = true;
    }

    /// Whether records were lost because the reader left while something was being changed.
    pub(super) fn lost(&self) -> bool {
        self.lost
    }

    /// Bytes as they are; with `newline` one is added.
    pub(super) fn copy(&mut self, bytes: &[u8], newline: bool) -> Result<()> {
        let end: &[u8] = if newline { b"\n" } else { b"" };
        let written = self.to.write_all(bytes).and_then(|()| self.to.write_all(end));
        self.check(written)
    }

    /// Passes a line on as it was read: `ended` if it had a newline.
    pub(super) fn forward(&mut self, line: &Line, ended: bool) -> Result<()> {
        match &mut self.human {
            None => {
                self.unended = !ended;
                self.copy(&line.raw, ended)
            }
            Some(_) if line.fault.is_some() => self.copy(visible(&String::from_utf8_lossy(&line.raw)).as_bytes(), true),
            Some(table) => {
                let text = table.forwarded(&line.stamp, &line.record);
                self.copy(text.as_bytes(), false)
            }
        }
    }

    /// The table, where people read.
    pub(super) fn table(&mut self) -> Option<&mut human::Table> {
        self.human.as_mut()
    }

    /// Writes what the table comes to.
    pub(super) fn end(&mut self) -> Result<()> {
        let text = self.human.as_ref().map_or_else(String::new, human::Table::end);
        self.copy(text.as_bytes(), false)
    }

    pub(super) fn record(&mut self, stamp: &Stamp, record: &Record) -> Result<()> {
        match &mut self.human {
            None => {
                if std::mem::take(&mut self.unended) {
                    self.copy(b"", true)?;
                }
                self.copy(&record::to_json(stamp, record), true)
            }
            Some(table) => {
                let text = table.row(stamp, record);
                self.copy(text.as_bytes(), false)
            }
        }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        let flushed = self.to.flush();
        self.check(flushed)
    }

    fn check(&mut self, result: io::Result<()>) -> Result<()> {
        match result {
            Err(e) if e.kind() == ErrorKind::BrokenPipe && self.changes => {
                self.lost = true;
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Error::ReaderGone),
            other => other.named("write", "<stdout>"),
        }
    }
}
