//! The report as plain text: for a mail, and for a terminal at night. Short lines, no markup, the worst first.

use super::words::visible;
use super::{Entry, Report, State};
use crate::config::Contact;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

const WIDTH: usize = 76;
/// Where values begin.
const VALUES: usize = 22;
const NOT_RECORDED: &str = "not recorded";
/// A mail shows so many lines of a log from its beginning, and from its end.
const HEAD: usize = 100;
const TAIL: usize = 100;

/// Who to turn to, one on a line.
pub fn contacts(contacts: &[Contact]) -> String {
    let mut page = Page(String::new());
    contacts.iter().for_each(|contact| page.field(&contact.role, Some(&contact.text)));
    page.0
}

impl Report {
    /// The report as plain text, in lines of at most 76 columns where no single word is longer, ending in a newline.
    pub fn text(&self) -> String {
        let mut page = Page(String::new());
        let home = self.ecosystem.as_deref().map_or_else(String::new, |home| format!(" - {home}"));
        let date = self.date.as_deref().map_or_else(String::new, |date| format!(" - {date}"));
        let state = match self.state {
            State::Ongoing => " (ongoing)",
            State::None => " - no incident",
            State::Resolved | State::Undecided => "",
        };
        page.wrap("", "", &format!("Incident report{home}{date}{state}"));
        for alarm in &self.alarms {
            page.gap();
            page.wrap("!! ", "   ", alarm);
        }
        if !self.contacts.is_empty() {
            page.heading("Contacts");
            self.contacts.iter().for_each(|contact| page.field(&contact.role, Some(&contact.text)));
        }
        if self.state == State::None {
            page.gap();
            page.wrap("", "", "The stream holds no incident: no decision above unknown, and no rollback of a live tree.");
        } else {
            self.incident_as_text(&mut page);
        }
        self.quality_as_text(&mut page);
        for kept in &self.kept_elsewhere {
            page.heading(&format!("Kept from the report before: {}", kept.name));
            page.verbatim(&kept.text);
        }
        page.0
    }

    fn incident_as_text(&self, page: &mut Page) {
        page.gap();
        let from = self.offsets_from.as_deref().unwrap_or(NOT_RECORDED);
        page.wrap("", "", &format!("Times are UTC; offsets count from {from}."));
        page.heading("Summary");
        page.some("Severity", &self.severity);
        page.some("State", &self.status);
        page.some("Duration", &self.duration);
        page.some("  to detect", &self.phases.detect);
        page.some("  to act", &self.phases.act);
        page.some("  to restore", &self.phases.restore);
        page.some("Failed requests", &self.impact.failed_requests);
        page.some("Peak error rate", &self.impact.peak_errors);
        page.some("Worst response", &self.impact.worst_response);
        page.some("Time down", &self.impact.down);
        page.some("Modules affected", &self.impact.modules);
        page.some("Incident", &self.id);
        self.written(page, "Impact, in words", "impact");

        page.heading("Times");
        let times = &self.times;
        for (name, moment, note) in [
            ("Issue began", &times.began, &None),
            ("Issue detected", &times.detected, &None),
            ("Rollback initiated", &times.initiated, &None),
            ("Rollback completed", &times.completed, &times.completed_note),
            ("System restored", &times.restored, &times.restored_note),
        ] {
            let note = note.as_deref().map_or_else(String::new, |note| format!(" - {note}"));
            page.field(name, Some(&format!("{}{note}", moment.as_ref().map_or(NOT_RECORDED, |moment| &moment.text))));
        }
        if let Some(sparks) = &self.sparks {
            page.gap();
            sparks.rows().iter().for_each(|row| page.raw(&format!("  {row}")));
            page.wrap("  ", "  ", &sparks.legend());
        }

        self.rollbacks_as_text(page);
        page.heading("Root cause");
        self.written(page, "", "root-cause");
        page.list("What the stream confirms, and no more", &self.confirmed);
        if let Some(evidence) = &self.evidence {
            let missing = match evidence.missing {
                0 => String::new(),
                missing => format!(" Not all of it could be had: {missing} missing, and README.txt says what and why."),
            };
            page.wrap(
                "",
                "",
                &format!("Evidence: the folder {} holds what differs, {}; begin with README.txt.{missing}", evidence.folder, evidence.holds),
            );
        }
        page.list("Detection", &self.detection);
        page.list("Trigger (suspected)", &self.suspects);

        page.heading("Actions taken");
        page.entries(&self.actions, true);
        page.heading("Timeline");
        page.entries(&self.timeline, false);

        page.heading("Lessons learned");
        self.written(page, "", "lessons");
        page.list("What went well", &self.well);
        page.list("What went badly", &self.badly);
        page.list("Where we were lucky", &self.luck);
        page.list("To discuss", &self.lessons);
        page.heading("Prevention measures");
        self.written(page, "", "prevention");
        page.list("Suggested by the facts", &self.prevention);
        page.heading("Follow-ups");
        if let Some(text) = self.kept("follow-ups") {
            page.verbatim(text);
        }
        for group in &self.follow_ups {
            // What people made of the list stands above; what the stream has proven since is still worth a line.
            let kept = self.kept("follow-ups").is_some();
            let shown: Vec<_> = group.items.iter().filter(|item| !kept || item.evidence.is_some()).collect();
            if shown.is_empty() {
                continue;
            }
            page.gap();
            page.wrap("  ", "  ", &format!("{}:", group.within));
            for item in shown {
                let evidence = item.evidence.as_deref().map_or_else(String::new, |evidence| format!(" - {evidence}"));
                page.wrap(if item.done { "  [x] " } else { "  [ ] " }, "      ", &format!("{}{evidence}", item.what));
            }
        }
    }

    fn rollbacks_as_text(&self, page: &mut Page) {
        for (at, rollback) in self.rollbacks.iter().enumerate() {
            let number = if self.rollbacks.len() > 1 { format!(" {} of {}", at + 1, self.rollbacks.len()) } else { String::new() };
            page.heading(&format!("Rollback{number}"));
            page.field("Rollback type", Some(&rollback.kind));
            page.field("Outcome", Some(&rollback.outcome));
            page.some("Rollback", &rollback.id);
            page.some("Backup used", &rollback.snapshot);
            page.some("  about it", &rollback.about_snapshot);
            rollback.passed_over.iter().for_each(|newer| page.field("  newer, not used", Some(newer)));
            page.some("Data loss", &rollback.data_loss);
            if let Some(aside) = &rollback.set_aside {
                page.field("", Some(aside));
                // A command is for pasting: it stays on one line.
                page.raw(&format!("  {:<fill$}{}", "To get it back", visible(rollback.undo.as_deref().unwrap_or(NOT_RECORDED)), fill = VALUES - 2));
            }
            page.some("Paths", &rollback.changes);
            page.some("Took", &rollback.took);
        }
        if self.rollbacks.is_empty() {
            page.heading("Rollback");
            page.field("Rollback type", Some("none: the stream holds no rollback of this incident"));
            page.field("Data loss", Some("None: nothing was rolled back"));
        }
        page.list("Not undone", &self.not_undone);
    }

    fn quality_as_text(&self, page: &mut Page) {
        page.heading("Data quality");
        let quality = &self.quality;
        page.some("Stream", &quality.covers);
        let counts: Vec<String> = quality.counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        page.field("Records", Some(&if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }));
        page.field("No records", Some(&quality.bad_lines.to_string()));
        page.field("Late", Some(&quality.late.to_string()));
        page.field("Unusable metrics", Some(&quality.unusable.to_string()));
        quality.gaps.iter().for_each(|gap| page.field("Silence", Some(gap)));
        quality.others.iter().for_each(|other| page.field("Another incident", Some(other)));
    }

    /// What a person wrote in this place, or that nobody has.
    fn written(&self, page: &mut Page, name: &str, place: &str) {
        match (self.kept(place), name) {
            (Some(text), name) => {
                page.gap();
                if !name.is_empty() {
                    page.wrap("  ", "  ", &format!("{name}:"));
                }
                page.verbatim(text);
            }
            (None, "") => page.wrap("  ", "  ", &format!("{NOT_RECORDED}: for a person to write")),
            (None, name) => page.field(name, Some(NOT_RECORDED)),
        }
    }
}

/// Lines of text.
struct Page(String);

impl Page {
    fn gap(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with("\n\n") {
            self.0.push('\n');
        }
    }

    fn raw(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn heading(&mut self, name: &str) {
        self.gap();
        self.wrap("", "", &name.to_uppercase());
    }

    fn field(&mut self, name: &str, value: Option<&str>) {
        let name = visible(name);
        let fill = (VALUES - 2).saturating_sub(name.width()).max(1);
        let first = format!("  {name}{:fill$}", "");
        self.wrap(&first, &" ".repeat(VALUES), value.unwrap_or(NOT_RECORDED));
    }

    fn some(&mut self, name: &str, value: &Option<String>) {
        self.field(name, value.as_deref());
    }

    fn list(&mut self, name: &str, items: &[String]) {
        if items.is_empty() {
            return;
        }
        self.gap();
        self.wrap("  ", "  ", &format!("{name}:"));
        items.iter().for_each(|item| self.wrap("  - ", "    ", item));
    }

    fn entries(&mut self, entries: &[Entry], numbered: bool) {
        if entries.is_empty() {
            self.raw(&format!("  {NOT_RECORDED}"));
        }
        for (at, entry) in entries.iter().enumerate() {
            if at >= HEAD && at + TAIL < entries.len() {
                if at == HEAD {
                    self.wrap("  ... ", "      ", &format!("{} more; the report as Markdown has them all", entries.len() - HEAD - TAIL));
                }
                continue;
            }
            let number = if numbered { format!("{}. ", at + 1) } else { String::new() };
            self.wrap(&format!("  {number}"), "      ", &format!("{} {}", entry.at.text, entry.what));
        }
    }

    /// What a person wrote, line by line; only what is too long is broken.
    fn verbatim(&mut self, text: &str) {
        for line in text.lines() {
            let indent = line.len() - line.trim_start_matches(' ').len();
            let before = " ".repeat(2 + indent.min(WIDTH / 2));
            self.wrap(&before, &before, line);
        }
    }

    /// Words in lines of [`WIDTH`] columns: `first` stands before the first of them, `rest` before the others.
    fn wrap(&mut self, first: &str, rest: &str, text: &str) {
        let mut line = first.to_owned();
        let mut empty = true;
        for word in visible(text).split(' ').filter(|word| !word.is_empty()) {
            if !empty && line.width() + 1 + word.width() > WIDTH {
                self.raw(&line);
                line = rest.to_owned();
                empty = true;
            }
            // Writing to a String cannot fail.
            let _ = write!(line, "{}{word}", if empty { "" } else { " " });
            empty = false;
        }
        self.raw(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Moment;
    use super::*;

    #[test]
    fn long_text_is_broken_between_words_and_a_long_word_is_left_whole() {
        let mut page = Page(String::new());
        page.field("Name", Some(&"word ".repeat(30)));
        page.field("Path", Some(&"x".repeat(100)));
        assert!(page.0.lines().all(|line| line.width() <= WIDTH || line.contains(&"x".repeat(100))), "{}", page.0);
        assert_eq!(page.0.lines().nth(1).unwrap().find('w'), Some(VALUES));
    }

    #[test]
    fn a_long_log_shows_its_beginning_and_its_end() {
        let time = crate::time::Timestamp::UNIX_EPOCH;
        let entry = |at| Entry { at: Moment { time, text: "at".into() }, what: format!("event {at}") };
        let mut page = Page(String::new());
        page.entries(&(1..=203).map(entry).collect::<Vec<_>>(), true);
        assert_eq!(page.0.lines().count(), 201);
        assert!(page.0.contains("  100. at event 100\n  ... 3 more; the report as Markdown has them all\n  104. at event 104\n"), "{}", page.0);
    }

    #[test]
    fn what_could_move_a_cursor_is_shown() {
        let mut page = Page(String::new());
        page.verbatim("one\x1b[2J\n  two");
        assert_eq!(page.0, "  one\\u{1b}[2J\n    two\n");
    }
}
