//! What people write into a report stays theirs: text between `<!-- keep:NAME -->` and `<!-- /keep:NAME -->` is carried over, letter by
//! letter, when the report is written again. Nothing of it is ever lost: what has no place any more is put at the end.
//!
//! A report's last line tells what it is about, and what stood in those places before anybody wrote there, so that a draft which was
//! left alone is drawn up anew.

use super::{Report, State};
use crate::digest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

const OPENS: &str = "<!-- keep:";
const CLOSES: &str = "<!-- /keep:";
const ENDS: &str = "-->";
const ABOUT: &str = "<!-- eco-report:";

/// Stands where a person has to write.
const TO_WRITE: &str = "*Not recorded: for a person to write.*";

/// The places of a report, in its order.
pub(super) const PLACES: [&str; 5] = ["impact", "root-cause", "lessons", "prevention", "follow-ups"];

/// What a person wrote in one place of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptText {
    /// The place.
    pub name: String,
    /// The text, without the markers.
    pub text: String,
}

/// A report that was written before: what it is about, and what people wrote into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Old {
    incident: Option<String>,
    texts: Vec<KeptText>,
}

impl Old {
    /// Reads a report as Markdown.
    ///
    /// # Errors
    /// One sentence that names the line where markers do not fit together, or says that this is no report.
    pub fn read(text: &str) -> Result<Old, String> {
        let (mut old, mut drafts) = (Old::default(), BTreeMap::new());
        let mut open: Option<(usize, String, Vec<&str>)> = None;
        let mut is_report = false;
        for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let number = at + 1;
            match (marker(line).map_err(|why| format!("line {number}: {why}"))?, &mut open) {
                (Marker::Opens(name), None) => {
                    if old.texts.iter().any(|known| known.name == name) {
                        return Err(format!("line {number}: keep:{name} is there twice"));
                    }
                    is_report = true;
                    open = Some((number, name.to_owned(), Vec::new()));
                }
                (Marker::Opens(name), Some((began, inside, _))) => {
                    return Err(format!("line {number}: keep:{name} begins inside keep:{inside}, which line {began} opens and nothing closes"));
                }
                (Marker::Closes(name), Some((_, inside, lines))) if name == inside => {
                    old.texts.push(KeptText { name: name.to_owned(), text: lines.join("\n") });
                    open = None;
                }
                (Marker::Closes(name), _) => return Err(format!("line {number}: keep:{name} ends here and does not begin before")),
                (Marker::None, Some((_, _, lines))) => lines.push(line),
                (Marker::None, None) => {
                    if let Some(about) = line.trim().strip_prefix(ABOUT).and_then(|rest| rest.strip_suffix(ENDS)) {
                        is_report = true;
                        for word in about.split_whitespace() {
                            match word.split_once('=') {
                                Some(("incident", id)) => old.incident = Some(decode(id)),
                                Some((name, digest)) => _ = drafts.insert(name.to_owned(), digest.to_owned()),
                                None => {}
                            }
                        }
                    }
                }
            }
        }
        if let Some((number, name, _)) = open {
            return Err(format!("line {number}: keep:{name} begins here and does not end"));
        }
        if !is_report {
            return Err("it is no report in Markdown that eco-report wrote: nothing in it is marked to be kept".to_owned());
        }
        // A draft that nobody touched is drawn up anew.
        old.texts.retain(|kept| drafts.get(&kept.name) != Some(&fingerprint(&kept.text)));
        Ok(old)
    }

    /// Whether nobody has written anything into it.
    pub fn is_blank(&self) -> bool {
        self.texts.is_empty()
    }

    /// The incident that it is about, if it says so.
    pub fn incident(&self) -> Option<&str> {
        self.incident.as_deref()
    }
}

/// What a line is to the text around it.
enum Marker<'a> {
    None,
    Opens(&'a str),
    Closes(&'a str),
}

fn marker(line: &str) -> Result<Marker<'_>, String> {
    let line = line.trim();
    let (rest, opens) = match (line.strip_prefix(OPENS), line.strip_prefix(CLOSES)) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return Ok(Marker::None),
    };
    let name = rest.strip_suffix(ENDS).map(str::trim).unwrap_or_default();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err(format!("a marker is written {OPENS}NAME {ENDS} or {CLOSES}NAME {ENDS}, alone on its line"));
    }
    Ok(if opens { Marker::Opens(name) } else { Marker::Closes(name) })
}

impl Report {
    /// Takes over what people wrote into the report before.
    pub fn keep(&mut self, old: Old) {
        let here = |name: &str| self.state != State::None && PLACES.contains(&name);
        (self.kept, self.kept_elsewhere) = old.texts.into_iter().partition(|kept| here(&kept.name));
    }

    /// What a person wrote in this place.
    pub(super) fn kept(&self, place: &str) -> Option<&str> {
        self.kept.iter().find(|kept| kept.name == place).map(|kept| kept.text.as_str())
    }

    /// What stands in a place until a person writes there; `escape` makes text into Markdown.
    fn draft(&self, place: &str, escape: fn(&str) -> String) -> String {
        if place != "follow-ups" {
            return TO_WRITE.to_owned();
        }
        let mut text = String::new();
        for group in &self.follow_ups {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "**{}:**\n", escape(&group.within));
            for item in &group.items {
                let tick = if item.done { 'x' } else { ' ' };
                let evidence = item.evidence.as_deref().map_or_else(String::new, |evidence| format!(" - {}", escape(evidence)));
                let _ = writeln!(text, "- [{tick}] {} (owner: ____, by: ____){evidence}", escape(&item.what));
            }
            text.push('\n');
        }
        text.trim_end().to_owned()
    }

    /// One place with its markers, in Markdown.
    pub(super) fn place(&self, name: &str, escape: fn(&str) -> String) -> String {
        let text = self.kept(name).map_or_else(|| self.draft(name, escape), str::to_owned);
        marked(name, &text)
    }

    /// The report's last line: what [`Old::read`] has to know beside the texts.
    pub(super) fn about(&self, escape: fn(&str) -> String) -> String {
        let mut line = ABOUT.to_owned();
        if let Some(id) = &self.id {
            let home = self.ecosystem.as_ref().map_or_else(String::new, |home| format!("{home}/"));
            let _ = write!(line, " incident={}", encode(&format!("{home}{id}")));
            for place in PLACES.iter().filter(|place| self.kept(place).is_none()) {
                let _ = write!(line, " {place}={}", fingerprint(&self.draft(place, escape)));
            }
        }
        format!("{line} {ENDS}")
    }
}

/// Text between its markers.
pub(super) fn marked(name: &str, text: &str) -> String {
    let text = if text.is_empty() { String::new() } else { format!("{text}\n") };
    format!("{OPENS}{name} {ENDS}\n{text}{CLOSES}{name} {ENDS}")
}

fn fingerprint(text: &str) -> String {
    digest::of(text.as_bytes()).to_string()[..8].to_owned()
}

/// A name as one word that cannot end a comment.
fn encode(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn decode(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = || std::str::from_utf8(more.get(..2)?).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code().filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        Old::read(text).unwrap_err()
    }

    #[test]
    fn text_between_markers_is_kept_letter_by_letter() {
        let old = Old::read("# R\n<!-- keep:lessons -->\n  a *b*\n\n```\n<x>\n<!-- /keep:lessons -->\n  <!-- keep:mine -->  \n<!-- /keep:mine -->\n")
            .unwrap();
        assert_eq!(
            old.texts,
            [KeptText { name: "lessons".into(), text: "  a *b*\n\n```\n<x>".into() }, KeptText { name: "mine".into(), text: String::new() }]
        );
        assert_eq!(Old::read("\u{feff}<!-- keep:a -->\r\none\r\ntwo\r\n<!-- /keep:a -->\r\n").unwrap().texts[0].text, "one\ntwo");
    }

    #[test]
    fn damage_is_named_with_its_line() {
        assert_eq!(why("a\n<!-- keep:lessons -->\nb\n"), "line 2: keep:lessons begins here and does not end");
        assert_eq!(why("<!-- keep:a -->\n<!-- /keep:a -->\n<!-- keep:a -->\n<!-- /keep:a -->"), "line 3: keep:a is there twice");
        assert_eq!(
            why("<!-- keep:a -->\n<!-- keep:b -->\n<!-- /keep:b -->"),
            "line 2: keep:b begins inside keep:a, which line 1 opens and nothing closes"
        );
        assert_eq!(why("<!-- keep:a -->\n<!-- /keep:b -->"), "line 2: keep:b ends here and does not begin before");
        assert_eq!(why("<!-- /keep:a -->"), "line 1: keep:a ends here and does not begin before");
        assert!(why("<!-- keep:two words -->\n").starts_with("line 1: a marker is written"));
        assert!(why("<!-- keep:a --> text\n").starts_with("line 1: a marker is written"));
        assert!(why("# Notes\n").starts_with("it is no report"));
    }

    #[test]
    fn a_name_survives_the_last_line_and_cannot_end_it() {
        for name in ["shop/20260301T100000Z", "a b-->c\n%41ä"] {
            assert!(!encode(name).contains(['>', ' ', '\n']), "{name}");
            assert_eq!(decode(&encode(name)), name);
        }
    }
}
