//! The evidence as files: what a tired person opens first, and what a program reads.

use super::text::{cut, readable, visible_path};
use super::{CHANGES_S, Comparison, Evidence, Look, PathEvidence, State};
use crate::digest;
use crate::report::words::{clock, count, id6, list, offset, size, span, visible};
use crate::time::seconds_between;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What stands in the folder, by name.
pub(super) const README: &str = "README.txt";
pub(super) const CHANGES: &str = "changes.txt";
pub(super) const DIFFS: &str = "changes.diff";
pub(super) const DATA: &str = "evidence.json";
pub(super) const LOGS: &str = "logs";

/// So many paths stand in the first file.
const FIRST: usize = 20;

/// The evidence for programs, with the digests of the files beside it.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    evidence: &'a Evidence,
    files: BTreeMap<&'a str, String>,
}

/// What stands around the digest of the data in the data, which is one of what they were without it.
const SEAL: &str = ",\n  \"digest\": \"";
const SEAL_ENDS: &str = "\"\n}\n";

fn digest_of(text: &str) -> String {
    format!("sha256:{}", digest::of(text.as_bytes()))
}

/// The digests that stand in data of evidence, by name; `None` if somebody has changed them.
pub(super) fn digests(data: &str) -> Option<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Files {
        files: BTreeMap<String, String>,
    }
    let (before, digest) = data.strip_suffix(SEAL_ENDS)?.rsplit_once(SEAL)?;
    let unsealed = format!("{before}\n}}");
    let Files { files } = serde_json::from_str(&unsealed).ok()?;
    (digest_of(&unsealed) == digest).then_some(files)
}

impl Evidence {
    /// Every file of the folder, by its name in it; the last one has the digests of all of them, and its own.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![(README.to_owned(), self.readme()), (CHANGES.to_owned(), self.changes())];
        if !self.diffs.is_empty() {
            files.push((DIFFS.to_owned(), self.diffs.clone()));
        }
        files.extend(self.logs.iter().map(|log| (format!("{LOGS}/{}", log.file), log.text.clone())));
        let digests = files.iter().map(|(name, text)| (name.as_str(), digest_of(text))).collect();
        // Strings, numbers and lists of them: this cannot fail.
        let data = serde_json::to_string_pretty(&Data { evidence: self, files: digests }).expect("evidence serializes");
        let seal = format!("{SEAL}{}{SEAL_ENDS}", digest_of(&data));
        files.push((DATA.to_owned(), data.strip_suffix("\n}").unwrap_or(&data).to_owned() + &seal));
        files
    }

    /// How many paths differ, and where; nothing where nothing was compared.
    pub(super) fn fact(&self) -> Option<String> {
        if self.comparisons.is_empty() {
            return None;
        }
        let units = || self.comparisons.iter().flat_map(|comparison| &comparison.units);
        let paths: u64 = units().map(super::Unit::paths).sum();
        let names: BTreeSet<&str> = units().filter(|unit| unit.paths() > 0).map(|unit| unit.unit.as_str()).collect();
        let names: Vec<String> = names.into_iter().map(visible).collect();
        Some(match paths {
            0 => "Between the good snapshot and the broken state no path differs in more than its time.".to_owned(),
            1 => format!("Between the good snapshot and the broken state 1 path differs, in {}.", list(&names)),
            paths => format!("Between the good snapshot and the broken state {paths} paths differ, in {}.", list(&names)),
        })
    }

    fn readme(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail, here and below.
        let name = self.incident.as_deref().map_or_else(|| "an incident without a name".to_owned(), |name| format!("incident {}", visible(name)));
        let of = self.ecosystem.as_deref().map_or_else(String::new, |of| format!(" of {}", visible(of)));
        let title = format!("Evidence for the root cause of {name}{of}");
        let _ = writeln!(text, "{title}\n{}\n", "=".repeat(title.chars().count()));
        let _ = writeln!(text, "All times are UTC; {} was at {}.\n", self.onset_from, clock(self.onset));

        let _ = writeln!(text, "What differs\n------------");
        let _ = writeln!(text, "{}\n", self.fact().unwrap_or_else(|| "Nothing was compared; below it says why.".to_owned()));
        for comparison in &self.comparisons {
            compared(&mut text, comparison);
            for found in comparison.paths.iter().take(FIRST) {
                let _ = writeln!(text, "  {}", line(found));
            }
            let more = (comparison.paths.len().saturating_sub(FIRST)) as u64 + comparison.left_out;
            if more > 0 {
                let _ = writeln!(text, "  ... and {more} more");
            }
            let _ = writeln!(text);
        }

        let _ = writeln!(text, "What was changed in the {} before\n---------------------------------", span(CHANGES_S));
        self.changed(&mut text);

        let _ = writeln!(text, "\nWhere to look\n-------------");
        let mut file = |name: &str, what: &str| {
            let _ = writeln!(text, "  {name:<24} {what}");
        };
        file(CHANGES, "every path that differs, by unit, with sizes and times");
        if !self.diffs.is_empty() {
            file(DIFFS, "what differs in text files: - good, + broken");
        }
        for log in &self.logs {
            let what = if log.dated { count(log.lines, "line") } else { format!("its last {}: none has a time", count(log.lines, "line")) };
            file(&format!("{LOGS}/{}", log.file), &what);
        }
        file(DATA, "the same for programs");

        let _ = writeln!(text, "\nWhat is not here, and why\n-------------------------");
        for gap in &self.gaps {
            let _ = writeln!(text, "  - {}", cut(&gap.what));
        }
        if self.gaps.is_empty() {
            let _ = writeln!(text, "  All that was asked for is here.");
        }
        let _ = writeln!(
            text,
            "\nSecrets that were recognised stand as *** ({}). Read it all the same before you pass it on:\n\
             nobody can recognise every secret.",
            self.masked
        );
        text
    }

    fn changed(&self, text: &mut String) {
        if self.changes.is_empty() {
            let _ = writeln!(
                text,
                "  No change record stands in the stream for this time. Changes that nobody recorded are found by eco-verify --changes."
            );
        }
        for found in &self.changes {
            let change = &found.change;
            let part = |name: &str, word: &Option<String>| word.as_ref().map_or_else(String::new, |word| format!(", {name} {}", visible(word)));
            let affects = if change.affects.is_empty() { String::new() } else { format!(", affects {}", visible(&list(&change.affects))) };
            let paths = change.paths.map_or_else(String::new, |paths| format!(", {}", count(paths, "path")));
            let _ = writeln!(
                text,
                "  {} ({})  {}{}{}{}{}{affects}{paths}",
                clock(found.time),
                offset(seconds_between(self.onset, found.time)),
                visible(&change.target),
                part("change", &change.id),
                part("from", &change.from),
                part("to", &change.to),
                part("by", &change.by)
            );
        }
    }

    fn changes(&self) -> String {
        let mut text = String::from("What differs between the good snapshot and the broken state\n\n");
        if self.comparisons.is_empty() {
            let _ = writeln!(text, "Nothing was compared; {README} says why.");
        }
        for comparison in &self.comparisons {
            compared(&mut text, comparison);
            for unit in &comparison.units {
                let mut parts = Vec::new();
                for (number, word) in [
                    (unit.created, "created"),
                    (unit.deleted, "deleted"),
                    (unit.content, "with other content"),
                    (unit.kind, "of another kind"),
                    (unit.metadata, "with other metadata"),
                    (unit.only_times, "with another time only, not listed"),
                ] {
                    if number > 0 {
                        parts.push(format!("{number} {word}"));
                    }
                }
                let _ = writeln!(text, "{}: {}", visible(&unit.unit), parts.join(", "));
                for found in comparison.paths.iter().filter(|found| found.unit == unit.unit) {
                    whole(&mut text, found);
                }
                let _ = writeln!(text);
            }
            if comparison.units.is_empty() {
                let _ = writeln!(text, "Nothing differs.\n");
            }
            if comparison.left_out > 0 {
                let _ = writeln!(text, "{} more differ and are not listed.\n", count(comparison.left_out, "path"));
            }
        }
        text
    }
}

fn compared(text: &mut String, comparison: &Comparison) {
    if let Some(restore) = &comparison.restore {
        let _ = writeln!(text, "Rollback {}", id6(restore));
    }
    let side = |state: &State| {
        let snapshot = state.snapshot.as_ref().map_or_else(String::new, |id| format!(", {}", visible(id)));
        let time = state.time.map_or_else(String::new, |time| format!(", of {}", clock(time)));
        format!("{}{snapshot}{time}", state.what)
    };
    let _ = writeln!(text, "  good:   {}\n  broken: {}", side(&comparison.good), side(&comparison.broken));
    let roots: Vec<String> = comparison.roots.iter().map(|root| visible(root)).collect();
    let _ = writeln!(text, "  in:     {}; {} the same\n", list(&roots), count(comparison.same, "path"));
}

/// One path in one line.
fn line(found: &PathEvidence) -> String {
    let details = if found.details.is_empty() { String::new() } else { format!(" ({})", found.details.join(", ")) };
    format!("{:<9} {}{details}", found.what, visible_path(&found.path.to_path()))
}

/// One path with all that is known about it.
fn whole(text: &mut String, found: &PathEvidence) {
    let _ = writeln!(text, "  {}", line(found));
    let look = |look: &Look| {
        let bytes = look.size_bytes.map_or_else(String::new, |bytes| match bytes {
            0..1024 => format!(" {}", size(bytes)),
            _ => format!(" {} ({bytes} bytes)", size(bytes)),
        });
        let link = look.link.as_ref().map_or_else(String::new, |link| format!(" -> {}", readable(link.as_bytes())));
        // So many digits tell two files apart; all of them are in the data.
        let digest = look.digest.as_ref().map_or_else(String::new, |digest| format!(", {}", digest.chars().take(19).collect::<String>()));
        format!("{}{bytes}{link} {} {}, changed {}{digest}", look.kind, look.mode, visible(&look.owner), clock(look.mtime))
    };
    for (name, side) in [("good", &found.before), ("broken", &found.after)] {
        if let Some(side) = side {
            let _ = writeln!(text, "      {name:<7} {}", look(side));
        }
    }
    let shown = match found.shown.as_deref() {
        Some("diff") => format!("see {DIFFS}"),
        Some("tables") => {
            let rows = |rows: Option<u64>| rows.map_or_else(|| "none".to_owned(), |rows| rows.to_string());
            let differ = found.tables.iter().any(|table| table.before != table.after);
            let tables = found.tables.iter().map(|table| format!("{} {} -> {}", table.table, rows(table.before), rows(table.after)));
            let tables: Vec<String> = tables.collect();
            format!("{}: {}", if differ { "rows" } else { "as many rows as before" }, tables.join(", "))
        }
        Some("binary") => "no text: its digests tell that it differs".to_owned(),
        Some("long") => "too long to compare line by line".to_owned(),
        Some("excluded") => "its content stays here: [evidence] exclude covers it".to_owned(),
        Some("left out") => format!("left out: there is more than {DIFFS} takes"),
        Some("not at hand") => "its content is not at hand: the archive has another format".to_owned(),
        Some(other) => other.to_owned(),
        None => return,
    };
    let _ = writeln!(text, "      {shown}");
}
