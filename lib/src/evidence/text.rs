//! Text of other people's making as it goes into evidence: two files as a short unified diff, and lines that cannot move a cursor.

use super::mask::{self, Pattern};
use crate::report::words::visible;
use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Of a longer line only the beginning is shown.
const LONGEST_LINE: usize = 2000;
/// Files of more lines than this are not compared line by line: where all of them differ that takes seconds.
const MOST_LINES: usize = 5000;
/// Lines around a difference.
const AROUND: usize = 3;

/// A file's content as text; `None` for one that is none.
pub(super) fn of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// A path as people read it: bytes that are no UTF-8, and what could move a cursor, as what they are.
pub(super) fn visible_path(path: &Path) -> String {
    readable(path.as_os_str().as_bytes())
}

/// A line of a log: colours go, and what is no UTF-8 or could move a cursor is shown as what it is.
pub(super) fn readable(line: &[u8]) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((first, after)) = rest.split_first() {
        if *first == 0x1b && after.first() == Some(&b'[') {
            let end = after[1..].iter().position(|byte| (0x40..=0x7e).contains(byte));
            rest = end.map_or(&[], |end| &after[end + 2..]);
            continue;
        }
        // What resets colours also chooses a character set.
        if *first == 0x1b && after.first().is_some_and(|byte| b"()*+".contains(byte)) {
            rest = after.get(2..).unwrap_or_default();
            continue;
        }
        let stop = rest.iter().skip(1).position(|byte| *byte == 0x1b).map_or(rest.len(), |at| at + 1);
        for chunk in rest[..stop].utf8_chunks() {
            // A tab moves nothing but what follows it.
            let words: Vec<String> = chunk.valid().split('\t').map(visible).collect();
            shown.push_str(&words.join("\t"));
            let _ = write!(shown, "{}", chunk.invalid().escape_ascii());
        }
        rest = &rest[stop..];
    }
    shown
}

/// A text as it is shown, line by line: the same lines, with the same ends.
fn readable_lines(text: &str) -> String {
    let line = |line: &str| {
        let (body, end) = line.split_at(line.trim_end_matches(['\n', '\r']).len());
        readable(body.as_bytes()) + end
    };
    text.split_inclusive('\n').map(line).collect()
}

/// At most as much of a line as anybody reads.
pub(super) fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST_LINE) {
        None => line.to_owned(),
        Some((at, _)) => format!("{} [... {} bytes more]", &line[..at], line.len() - at),
    }
}

/// How two texts differ.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Diff {
    /// Hunks, masked.
    pub(super) text: String,
    /// Secrets that were masked in them.
    pub(super) masked: u64,
    /// Lines that were left out.
    pub(super) left_out: u64,
}

/// The difference in the unified form, without the two lines that name the files; at most `most` lines of it. `None` if there are too
/// many lines to compare. Lines are compared as they are and shown masked: a password that was changed is seen to have changed.
pub(super) fn diff(old: &str, new: &str, patterns: &[Pattern], most: usize) -> Option<Diff> {
    let (was, is): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    if was.len().max(is.len()) > MOST_LINES {
        return None;
    }
    // A colour in the middle of a name would hide what the name is of.
    let masked = |text: &str| mask::lines(&readable_lines(text), patterns);
    let (masked_was, masked_is) = (masked(old), masked(new));
    let mut diff = Diff::default();
    let mut written = 0;
    for group in group_diff_ops(capture_diff_slices(Algorithm::Myers, &was, &is), AROUND) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (was_at, is_at) = (first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end);
        // A range without lines stands behind the line before it.
        let place = |range: &std::ops::Range<usize>| format!("{},{}", range.start + usize::from(!range.is_empty()), range.len());
        let mut hunk: Vec<(char, &mask::Line)> = Vec::new();
        for op in &group {
            let old = op.old_range().map(|at| (if matches!(op, DiffOp::Equal { .. }) { ' ' } else { '-' }, &masked_was[at]));
            let new = op.new_range().map(|at| ('+', &masked_is[at]));
            hunk.extend(old);
            if !matches!(op, DiffOp::Equal { .. }) {
                hunk.extend(new);
            }
        }
        if written >= most {
            diff.left_out += hunk.len() as u64;
            continue;
        }
        let _ = writeln!(diff.text, "@@ -{} +{} @@", place(&was_at), place(&is_at));
        written += 1;
        for (sign, line) in hunk {
            if written >= most {
                diff.left_out += 1;
                continue;
            }
            written += 1;
            diff.masked += line.masked;
            let (body, end) = line.text.strip_suffix('\n').map_or((line.text.as_str(), "\n\\ No newline at end of file"), |body| (body, ""));
            let _ = writeln!(diff.text, "{sign}{}{end}", cut(&readable(body.as_bytes())));
        }
    }
    if diff.left_out > 0 {
        let _ = writeln!(diff.text, "[... {} more lines of this difference are left out]", diff.left_out);
    }
    Some(diff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let old: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 10\n", "line ten\n").replace("line 20\n", "line 20");
        let found = diff(&old, &new, &[], 100).unwrap();
        let wanted = "@@ -7,7 +7,7 @@\n line 7\n line 8\n line 9\n-line 10\n+line ten\n line 11\n line 12\n line 13\n\
                      @@ -17,4 +17,4 @@\n line 17\n line 18\n line 19\n-line 20\n+line 20\n\\ No newline at end of file\n";
        assert_eq!(found, Diff { text: wanted.into(), masked: 0, left_out: 0 });
        assert_eq!(diff("", "a\nb\n", &[], 100).unwrap().text, "@@ -0,0 +1,2 @@\n+a\n+b\n");
        assert_eq!(diff("a\n", "", &[], 100).unwrap().text, "@@ -1,1 +0,0 @@\n-a\n");
    }

    #[test]
    fn a_secret_that_was_changed_is_seen_to_have_changed_and_not_what_it_was() {
        let found = diff("user = a\npassword = one\n", "user = a\npassword = two\n", &[], 100).unwrap();
        assert_eq!(found.text, "@@ -1,2 +1,2 @@\n user = a\n-password = ***\n+password = ***\n");
        assert_eq!(found.masked, 2);
    }

    #[test]
    fn a_secret_is_masked_whatever_colour_it_has() {
        let old = "\x1b[36mpassword\x1b[0m=hunter2\r\n\x1b[1mtoken\x1b(B\x1b[m: \x1b[33mhunter2\x1b[0m\n";
        let new = old.replace("hunter2", "hunter3").replace("\x1b[36m", "\x1b[35m");
        let found = diff(old, &new, &[], 100).unwrap();
        assert_eq!(found.text, "@@ -1,2 +1,2 @@\n-password=***\\r\n-token: ***\n+password=***\\r\n+token: ***\n");
        assert_eq!(found.masked, 4);
        // Lines are compared as they are, so a difference of colours alone is one.
        assert!(diff("a\n", "\x1b[1ma\n", &[], 100).unwrap().text.ends_with("-a\n+a\n"));
    }

    #[test]
    fn a_difference_has_bounds_and_says_what_is_beyond_them() {
        let many = |word: &str| (0..4000).map(|n| format!("{word} {n}\n")).collect::<String>();
        let found = diff(&many("a"), &many("b"), &[], 50).unwrap();
        assert_eq!((found.text.lines().count(), found.left_out), (51, 7951));
        assert!(found.text.ends_with("[... 7951 more lines of this difference are left out]\n"));
        assert_eq!(diff(&"x\n".repeat(MOST_LINES + 1), "", &[], 50), None);
        let long = diff("", &"é".repeat(LONGEST_LINE + 7), &[], 50).unwrap();
        assert!(long.text.contains("é [... 14 bytes more]"), "{}", long.text);
    }

    #[test]
    fn nothing_in_a_line_can_move_a_cursor() {
        assert_eq!(readable(b"a\x1b[31mred\x1b[0m\tb\x1b]0;title\x07\xff\r"), "ared\tb\\u{1b}]0;title\\u{7}\\xff\\r");
        assert_eq!(readable("größe".as_bytes()), "größe");
        assert_eq!(readable(b"\x1b[31"), "");
        assert_eq!((of(b"a\0b"), of(b"\xff"), of(b"")), (None, None, Some("")));
    }
}
