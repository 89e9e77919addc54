//! Rows and blocks that fit the terminal. Where there is less room than a row needs, columns first become narrower and then go, the
//! least important first; a note is folded, a path gives up its middle, and a number or an id is there whole or not at all.

use anstyle::Style;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: usize = 2;
/// How wide the labels of the lines below a row are.
const LABEL: usize = 9;
/// On a narrower terminal the lines below a row are indented less.
const ROOMY: usize = 60;
/// Nothing is folded into less, however narrow the terminal: one letter a line can be read by nobody.
const LEAST_FOLD: usize = 8;
/// Where a path is only a help, it is left out if it has less room than this, because too little of it would say nothing.
const LEAST_PATH: usize = 24;

/// A column: its name, how wide it is, and what becomes of it where that is too much.
#[derive(Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    width: usize,
    least: usize,
    is_right: bool,
    /// There is nothing between the narrow and the wide way to say it.
    leaps: bool,
    rank: u8,
}

/// A column of words.
pub(super) const fn left(name: &'static str, width: usize) -> Column {
    Column { name, width, least: width, is_right: false, leaps: false, rank: 0 }
}

/// A column of numbers.
pub(super) const fn right(name: &'static str, width: usize) -> Column {
    Column { is_right: true, ..left(name, width) }
}

/// The last column: it gets what is left, and needs at least this much.
pub(super) const fn rest(name: &'static str, least: usize) -> Column {
    Column { least, ..left(name, 0) }
}

impl Column {
    /// How narrow it may become.
    pub(super) const fn least(self, least: usize) -> Column {
        Column { least, ..self }
    }

    /// The width of the other way to say it.
    pub(super) const fn or(self, least: usize) -> Column {
        Column { least, leaps: true, ..self }
    }

    /// Where there is no room for all of them it goes, and sooner the higher this is; without, it stays.
    pub(super) const fn rank(self, rank: u8) -> Column {
        Column { rank, ..self }
    }
}

/// One field of a row.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
    /// What is shown instead where that is too long.
    short: Option<String>,
    flow: Flow,
}

/// What becomes of a text that is too long.
#[derive(Default, PartialEq)]
enum Flow {
    /// Its end goes.
    #[default]
    Cut,
    /// It goes on in the next line.
    Fold,
    /// Its middle goes: it is a path.
    Squeeze,
    /// This path follows it, if there is room.
    Then(String),
}

/// A field that says nothing special.
pub(super) fn cell(text: impl Into<String>) -> Cell {
    styled(text, Style::new())
}

pub(super) fn styled(text: impl Into<String>, style: Style) -> Cell {
    Cell { text: text.into(), style, ..Cell::default() }
}

/// A field with a shorter way to say it.
pub(super) fn either(text: String, short: String) -> Cell {
    Cell { short: Some(short), ..cell(text) }
}

/// A note, which people want to read to its end.
pub(super) fn note(text: impl Into<String>, style: Style) -> Cell {
    Cell { flow: Flow::Fold, ..styled(text, style) }
}

/// A path, which says most at its end.
pub(super) fn path(text: impl Into<String>) -> Cell {
    Cell { flow: Flow::Squeeze, ..cell(text) }
}

/// A few words and, as far as there is room, a path.
pub(super) fn place(text: impl Into<String>, path: String) -> Cell {
    Cell { flow: Flow::Then(path), ..cell(text) }
}

impl Cell {
    /// Its lines for this much room, or for any.
    fn lines(&self, room: Option<usize>) -> Vec<Cow<'_, str>> {
        let text = self.text.as_str();
        if let Flow::Then(path) = &self.flow {
            let between = if text.is_empty() || path.is_empty() { "" } else { ", " };
            let left = room.map_or(usize::MAX, |room| room.saturating_sub(text.width() + between.len()));
            let has_room = left >= LEAST_PATH.min(path.width());
            return vec![if has_room { format!("{text}{between}{}", squeeze(path, left)).into() } else { cut(text, room.unwrap_or(usize::MAX)) }];
        }
        match room.filter(|room| text.width() > *room) {
            None => vec![text.into()],
            Some(room) => match (&self.flow, &self.short) {
                (_, Some(short)) => vec![cut(short, room)],
                (Flow::Fold, _) => fold(text, room.max(LEAST_FOLD)),
                (Flow::Squeeze, _) => vec![squeeze(text, room)],
                _ => vec![cut(text, room)],
            },
        }
    }
}

/// How wide a letter is. The mark that makes a small picture of the letter before it makes that wider.
fn wide(letter: char) -> usize {
    if letter == '\u{fe0f}' { 1 } else { letter.width().unwrap_or(0) }
}

/// The beginning of a text that fits into `most` columns.
fn start(text: &str, most: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, letter)| {
        used += wide(*letter);
        used > most
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// The end of a text that fits into `most` columns.
fn end(text: &str, most: usize) -> &str {
    let mut used = 0;
    let start = text.char_indices().rev().find(|(_, letter)| {
        used += wide(*letter);
        used > most
    });
    start.map_or(text, |(at, letter)| &text[at + letter.len_utf8()..])
}

/// At most `most` columns; what is longer ends in `…`.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.width() <= most { text.into() } else { format!("{}…", start(text, most.saturating_sub(1))).into() }
}

/// At most `most` columns; what is longer has a `…` in its middle, since a path says most at its end, and where it begins.
pub(crate) fn squeeze(text: &str, most: usize) -> Cow<'_, str> {
    if text.width() <= most {
        return text.into();
    }
    let front = most.saturating_sub(1) / 3;
    let back = most.saturating_sub(1) - front;
    format!("{}…{}", start(text, front), end(text, back)).into()
}

/// Lines of at most `room` columns, broken between words; a word that is longer than a line is broken where the line ends.
fn fold(text: &str, room: usize) -> Vec<Cow<'_, str>> {
    let (mut lines, mut from, mut used) = (Vec::new(), 0, 0);
    let mut at = 0;
    for word in text.split_inclusive(' ') {
        let width = word.trim_end_matches(' ').width();
        if used > 0 && used + width > room {
            lines.push(text[from..at].trim_end_matches(' ').into());
            (from, used) = (at, 0);
        }
        // Spaces in a row are kept where they are no end of a line.
        if used == 0 && word == " " && !lines.is_empty() {
            at += 1;
            from = at;
            continue;
        }
        let mut rest = word;
        while used == 0 && rest.trim_end_matches(' ').width() > room {
            let piece = start(rest, room);
            if piece.is_empty() {
                break;
            }
            lines.push(piece.into());
            from += piece.len();
            rest = &rest[piece.len()..];
        }
        used += rest.width();
        at += word.len();
    }
    let last = text[from..].trim_end_matches(' ');
    if !last.is_empty() || lines.is_empty() {
        lines.push(last.into());
    }
    lines
}

/// What rows are laid out for.
pub(super) struct Page {
    /// The columns of the terminal, if it is one.
    pub(super) width: Option<usize>,
    pub(super) colour: bool,
}

impl Page {
    /// How wide each column is here; `None` for one that has to go.
    fn fit(&self, columns: &[Column]) -> Vec<Option<usize>> {
        let Some(width) = self.width else { return columns.iter().map(|column| Some(column.width)).collect() };
        let mut by_rank: Vec<usize> = (0..columns.len()).collect();
        by_rank.sort_by_key(|at| columns[*at].rank);
        let (mut shown, mut used) = (vec![None; columns.len()], 0);
        for at in by_rank {
            let Column { least, rank, .. } = columns[at];
            let more = least + if used > 0 { GAP } else { 0 };
            if rank == 0 || used + more <= width {
                shown[at] = Some(least);
                used += more;
            }
        }
        let mut spare = width.saturating_sub(used);
        for (column, given) in columns.iter().zip(&mut shown) {
            if let Some(given) = given {
                let wanted = column.width.saturating_sub(*given);
                let more = if column.leaps && wanted > spare { 0 } else { spare.min(wanted) };
                *given += more;
                spare -= more;
            }
        }
        if let (Some(last), Some(Some(given))) = (columns.last(), shown.last_mut())
            && last.width == 0
        {
            *given += spare;
        }
        shown
    }

    /// The names of the columns.
    pub(super) fn head(&self, to: &mut String, columns: &[Column], style: Style) {
        let names: Vec<Cell> = columns.iter().map(|column| styled(column.name, style)).collect();
        self.row(to, columns, &names);
    }

    /// One row. What is folded goes on in lines of its own; a note whose column had to go stands below.
    pub(super) fn row(&self, to: &mut String, columns: &[Column], cells: &[Cell]) {
        let widths = self.fit(columns);
        let (mut column, mut pending) = (0, 0);
        let mut going_on: Vec<(usize, Style, Vec<Cow<'_, str>>)> = Vec::new();
        for ((cell, at), given) in cells.iter().zip(columns).zip(&widths) {
            let Some(given) = *given else {
                if cell.flow == Flow::Fold && !cell.text.is_empty() {
                    going_on.push((4, cell.style, cell.lines(self.width.map(|width| width.saturating_sub(4)))));
                }
                continue;
            };
            if column > 0 {
                pending += GAP;
                column += GAP;
            }
            let mut lines = cell.lines(self.width.map(|_| given));
            let first = lines.remove(0);
            if !lines.is_empty() {
                going_on.push((column, cell.style, lines));
            }
            let missing = given.saturating_sub(first.width());
            column += given.max(first.width());
            pending += if at.is_right { missing } else { 0 };
            if !first.is_empty() {
                // Spaces only once something follows them: no line ends in one.
                to.extend(std::iter::repeat_n(' ', std::mem::take(&mut pending)));
                self.words(to, &first, cell.style);
            }
            pending += if at.is_right { 0 } else { missing };
        }
        to.push('\n');
        for (indent, style, lines) in going_on {
            self.lines(to, indent, &lines, style);
        }
    }

    /// A label and a text below a row; labels of one block align.
    pub(super) fn below(&self, to: &mut String, label: &Cell, text: &Cell) {
        let (indent, gap) = if self.width.is_some_and(|width| width < ROOMY) { (2, 1) } else { (4, GAP) };
        let column = indent + LABEL + gap;
        let lines = text.lines(self.width.map(|width| width.saturating_sub(column)));
        to.extend(std::iter::repeat_n(' ', indent));
        self.words(to, &label.text, label.style);
        let first = lines.first().map_or("", |first| first);
        if !first.is_empty() {
            to.extend(std::iter::repeat_n(' ', (LABEL + gap).saturating_sub(label.text.width())));
            self.words(to, first, text.style);
        }
        to.push('\n');
        self.lines(to, column, &lines[1..], text.style);
    }

    /// A time and a headline, which goes on in further lines.
    pub(super) fn headline(&self, to: &mut String, time: &Cell, text: &Cell) {
        let before = if self.width.is_some_and(|width| width < ROOMY) { String::new() } else { format!("{}  ", time.text) };
        let lines = match self.width {
            Some(width) => fold(&text.text, width.saturating_sub(before.width()).max(LEAST_FOLD)),
            None => vec![text.text.as_str().into()],
        };
        to.push_str(&before);
        self.words(to, &lines[0], text.style);
        to.push('\n');
        self.lines(to, before.width(), &lines[1..], text.style);
    }

    /// A sentence across the page.
    pub(super) fn sentence(&self, to: &mut String, text: &str) {
        let lines = self.width.map_or_else(|| vec![text.into()], |width| fold(text, width.max(LEAST_FOLD)));
        self.lines(to, 0, &lines, Style::new());
    }

    fn lines(&self, to: &mut String, indent: usize, lines: &[Cow<'_, str>], style: Style) {
        for line in lines {
            to.extend(std::iter::repeat_n(' ', indent));
            self.words(to, line, style);
            to.push('\n');
        }
    }

    fn words(&self, to: &mut String, words: &str, style: Style) {
        if self.colour && style != Style::new() && !words.is_empty() {
            to.push_str(&format!("{style}{words}{style:#}"));
        } else {
            to.push_str(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_folded_and_squeezed_by_what_they_take_on_the_screen() {
        assert_eq!([cut("größer", 4), cut("größer", 6), cut("日本語", 4)], ["grö…", "größer", "日…"]);
        assert_eq!(squeeze("/srv/backups/shop-daily/shop-daily-ed5be3.tar.gz", 25), "/srv/bac…ly-ed5be3.tar.gz");
        assert_eq!(squeeze("日本語日本語", 7), "日…本語");
        assert_eq!(fold("one two  three", 7), ["one two", "three"]);
        assert_eq!(fold("no spaceswhatsoever here", 6), ["no", "spaces", "whatso", "ever", "here"]);
        assert_eq!(fold("", 6), [""]);
        assert_eq!(fold("日本語", 1), ["日本語"], "what fits nowhere is there all the same");
    }

    #[test]
    fn the_least_important_column_goes_first_and_what_is_left_is_shared() {
        const COLUMNS: &[Column] = &[left("A", 6), left("B", 19).least(8).rank(3), right("C", 10).rank(2), rest("D", 10).rank(1)];
        let fit = |width| Page { width, colour: false }.fit(COLUMNS);
        assert_eq!(fit(None), [Some(6), Some(19), Some(10), Some(0)]);
        assert_eq!(fit(Some(80)), [Some(6), Some(19), Some(10), Some(39)]);
        assert_eq!(fit(Some(45)), [Some(6), Some(13), Some(10), Some(10)]);
        const LEAPS: &[Column] = &[left("A", 6), left("B", 19).or(8), rest("C", 10)];
        assert_eq!(Page { width: Some(38), colour: false }.fit(LEAPS), [Some(6), Some(8), Some(20)]);
        assert_eq!(Page { width: Some(39), colour: false }.fit(LEAPS), [Some(6), Some(19), Some(10)]);
        assert_eq!(fit(Some(36)), [Some(6), None, Some(10), Some(16)]);
        assert_eq!(fit(Some(20)), [Some(6), None, None, Some(12)]);
        assert_eq!(fit(Some(3)), [Some(6), None, None, None]);
    }
}
