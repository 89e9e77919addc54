//! Numbers, spans and names as people read them, in reports and at the terminal. Names come from trees, archives and other
//! people's programs: whatever could move a cursor, break a line or turn text around is shown, never sent.

use crate::time::Timestamp;
use std::fmt::Write;

/// The text with everything invisible made visible: control characters, line separators, and the marks that reverse text.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' | '\t' | '\0' => shown.extend(letter.escape_default()),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}' => {
                shown.extend(letter.escape_unicode())
            }
            // As invisible, and rarer: soft hyphens, annotations, tags.
            '\u{ad}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => shown.extend(letter.escape_unicode()),
            control if control.is_control() => shown.extend(control.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

/// At most `most` characters; what is longer ends in `…`.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The last six characters of an id: its random tail, as in the names of archives.
pub(crate) fn id6(id: &str) -> String {
    let skip = id.chars().count().saturating_sub(6);
    visible(&id.chars().skip(skip).collect::<String>())
}

/// A size: `512 B`, `7.9 KiB`, `158 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// A length of time in milliseconds: `41 ms`, `2.3 s`, then as [`span`].
pub(crate) fn millis(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => span(i64::try_from(ms / 1000).unwrap_or(i64::MAX)),
    }
}

/// A length of time in seconds, in its two largest units: `45 s`, `2 min 30 s`, `1 h 30 min`, `3 d 4 h`.
pub(crate) fn span(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let s = seconds.unsigned_abs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{sign}{large} {large_unit}"),
        _ => format!("{sign}{large} {large_unit} {small} {small_unit}"),
    };
    match s {
        0..60 => format!("{sign}{s} s"),
        60..3_600 => two(s / 60, "min", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

/// A distance on the time axis: `+2m`, `-1h05m`, `+30s`, `+2d03h`.
pub(crate) fn offset(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let s = seconds.unsigned_abs();
    let two = |large: u64, large_unit: char, small: u64, small_unit: char| match small {
        0 => format!("{sign}{large}{large_unit}"),
        _ => format!("{sign}{large}{large_unit}{small:02}{small_unit}"),
    };
    match s {
        0..60 => format!("{sign}{s}s"),
        60..3_600 => two(s / 60, 'm', s % 60, 's'),
        3_600..86_400 => two(s / 3_600, 'h', s % 3_600 / 60, 'm'),
        _ => two(s / 86_400, 'd', s % 86_400 / 3_600, 'h'),
    }
}

/// An instant to the second, without its zone: everything is UTC and says so once.
pub(crate) fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A share: `31 %`, `0.4 %`.
pub(crate) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value.abs() >= 9.95 || value == 0.0 { format!("{value:.0} %") } else { format!("{value:.1} %") }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// One word of a command line that can be pasted: quoted where the shell would see more in it than a word.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = !text.is_empty() && !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || "._:/@%+=,-".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", visible(text).replace('\'', "'\\''")) }
}

/// Names in a sentence: `a, b and c`.
pub(crate) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => {
            let mut text = most.join(", ");
            let _ = write!(text, " and {last}");
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_a_person_would_say_them() {
        assert_eq!([size(0), size(8123), size(166_000_000), size(1_048_575)], ["0 B", "7.9 KiB", "158 MiB", "1.0 MiB"]);
        assert_eq!([millis(41), millis(2300), millis(5_400_000)], ["41 ms", "2.3 s", "1 h 30 min"]);
        assert_eq!([span(0), span(150), span(-60), span(273_600)], ["0 s", "2 min 30 s", "-1 min", "3 d 4 h"]);
        assert_eq!([offset(120), offset(-3900), offset(0), offset(65)], ["+2m", "-1h05m", "+0s", "+1m05s"]);
        assert_eq!([percent(0.31), percent(0.004), percent(0.0)], ["31 %", "0.4 %", "0 %"]);
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }

    #[test]
    fn what_could_move_a_cursor_or_turn_text_around_is_shown() {
        assert_eq!(visible("a\x1b[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\nc\\u{202e}d");
        assert_eq!(visible("größe.db"), "größe.db");
    }

    #[test]
    fn a_command_can_be_pasted_whatever_the_id_is() {
        assert_eq!(shell_word("019ca946-0b20"), "019ca946-0b20");
        assert_eq!(shell_word("x; rm -rf /"), "'x; rm -rf /'");
        assert_eq!(shell_word("-a'b"), "'-a'\\''b'");
    }

    #[test]
    fn ids_and_long_texts_are_cut_at_characters() {
        assert_eq!(id6("019ca8f1-2a91b7"), "2a91b7");
        assert_eq!(id6("p2"), "p2");
        assert_eq!(shorten("größer", 4), "grö…");
        assert_eq!(shorten("größer", 6), "größer");
    }
}
