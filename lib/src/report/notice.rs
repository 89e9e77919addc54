//! One decision, or the end of one rollback, as a message to people who are not at the terminal.

use super::action::{free, reason, severity};
use super::words::{clock, millis, shell_word, shorten, span, visible};
use crate::config::Contact;
use crate::record::{Action, Decision, Record, Restore, Scope, Stamp};
use crate::service::{Notice, Occasion};
use std::fmt::Write;

/// Mail programs fold what is longer.
const SUBJECT: usize = 120;
/// More reasons than this are counted, not told.
const MOST_REASONS: usize = 10;

/// What people are told of this record, if it is something that they are told: a decision to do more than watch, or the end of
/// a rollback. Whoever is told that a person is needed is told whom to call, too.
pub fn notice(stamp: &Stamp, record: &Record, contacts: &[Contact]) -> Option<Notice> {
    let (occasion, about, subject, body) = match record {
        Record::Decision(body) if body.action != Action::Watch => {
            (Occasion::Decision, format!("decision {}", visible(&body.id)), decided(body), decision(body))
        }
        Record::Restore(body) if body.phase != "started" => {
            (Occasion::Restore, format!("rollback {}", visible(&body.id)), ended(body), restore(body))
        }
        _ => return None,
    };
    let home = stamp.ecosystem.as_deref().map_or_else(|| "a service".into(), visible);
    let host = stamp.host.as_deref().map_or_else(String::new, |host| format!(" on {}", visible(host)));
    let mut text = format!("{home}{host}, {} UTC\n\n{body}", clock(stamp.time));
    if needs_people(record) && !contacts.is_empty() {
        text.push_str("\nContacts\n");
        for Contact { role, text: how } in contacts {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}: {}", visible(role), visible(how));
        }
    }
    Some(Notice { occasion, about, subject: shorten(&visible(&format!("{home}: {subject}")), SUBJECT), text })
}

/// Whether the tools have come to their end: they hand over, or a rollback did not do what it was for.
fn needs_people(record: &Record) -> bool {
    match record {
        Record::Decision(body) => body.action == Action::Escalate,
        Record::Restore(body) => body.phase != "completed" || body.error.is_some(),
        _ => false,
    }
}

fn decided(body: &Decision) -> String {
    let again = match (body.overdue, body.reminder) {
        (true, _) => "overdue: ",
        (false, true) => "reminder: ",
        (false, false) => "",
    };
    match body.action {
        Action::Resolved => format!("{again}resolved"),
        _ => format!("{again}{}, {}", severity(body.severity), what(body)),
    }
}

fn what(body: &Decision) -> String {
    let scope = body.scope.as_ref().map_or_else(|| "something".into(), Scope::to_string);
    match body.action {
        Action::Watch => "watch".into(),
        Action::Investigate => "investigate".into(),
        Action::Propose if body.is_rollouts_question() => format!("the rollout of {scope} is paused"),
        Action::Propose => format!("a rollback of {scope} is proposed"),
        Action::Rollback => format!("rolling back {scope}"),
        Action::Escalate => "a person is needed now".into(),
        Action::Resolved => "resolved, healthy again".into(),
    }
}

/// Lines of a message: a name, and what there is to say.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, said: impl AsRef<str>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name:<10} {}", free(&visible(said.as_ref())));
    }

    fn add_some(&mut self, name: &str, said: Option<impl AsRef<str>>) {
        if let Some(said) = said {
            self.add(name, said);
        }
    }
}

fn decision(body: &Decision) -> String {
    let mut lines = Lines(String::new());
    lines.add("What:", what(body));
    lines.add("Severity:", severity(body.severity));
    lines.add_some("Scope:", body.scope.as_ref().map(Scope::to_string));
    lines.add_some("Snapshot:", body.snapshot.as_ref());
    lines.add_some("Data loss:", body.data_loss_s.map(|seconds| span(seconds as i64)));
    lines.add_some("Began:", body.onset.map(clock));
    lines.add_some("Deadline:", body.deadline.map(|time| format!("{}{}", clock(time), if body.overdue { ", which has passed" } else { "" })));
    for why in body.reasons.iter().take(MOST_REASONS) {
        let held = why.held_s.map_or_else(String::new, |seconds| format!(", for {}", span(seconds as i64)));
        lines.add("Because:", format!("{}{held}", reason(why)));
    }
    lines.add_some("And:", body.reasons.len().checked_sub(MOST_REASONS + 1).map(|more| format!("{} more reasons", more + 1)));
    body.notes.iter().for_each(|note| lines.add("Note:", note));
    lines.add("Decision:", format!("{} of incident {}", body.id, body.incident));
    if body.is_rollouts_question() {
        lines.add("To answer:", format!("eco-ctl resume lets the rollout go on; eco-ctl reject {} rolls it back", body.id));
    } else if body.action == Action::Propose {
        lines.add("To agree:", format!("eco-ctl approve {}; or eco-restore --approve, with the stream that holds this decision", body.id));
    }
    lines.0
}

fn ended(body: &Restore) -> String {
    match (body.phase.as_str(), &body.error) {
        ("completed", None) => format!("rollback of {} completed", body.scope),
        ("completed", Some(_)) => format!("rollback of {} stands, NOT HEALTHY", body.scope),
        ("reverted", _) => format!("rollback of {} REVERTED", body.scope),
        ("failed", _) => format!("rollback of {} FAILED", body.scope),
        (other, _) => format!("rollback of {} {other}", body.scope),
    }
}

fn restore(body: &Restore) -> String {
    let mut lines = Lines(String::new());
    lines.add(
        "What:",
        match body.phase.as_str() {
            "completed" if body.undoes.is_some() => "an undo is complete: the tree from before the rollback is live again",
            "completed" => "a rollback is complete",
            "reverted" => "a rollback did not prove healthy, and the tree from before is live again",
            "failed" => "a rollback failed",
            other => other,
        },
    );
    lines.add_some("Error:", body.error.as_ref());
    lines.add("Scope:", &body.scope);
    lines.add_some("Snapshot:", body.snapshot.as_ref());
    lines.add_some("Undoes:", body.undoes.as_ref());
    lines.add_some("Took:", body.took_ms.map(millis));
    lines.add_some("Down for:", body.downtime_ms.map(millis));
    let completed = body.phase == "completed";
    lines.add_some(
        "Data loss:",
        body.data_loss_s.filter(|_| completed).map(|seconds| format!("{}, from the snapshot to the rollback", span(seconds))),
    );
    lines.add_some("To undo:", body.safety.as_ref().filter(|_| completed).map(|id| format!("eco-restore --undo {}", shell_word(id))));
    lines.add_some("Decision:", body.decision.as_ref());
    lines.add_some("By:", body.by.as_ref());
    lines.add("Rollback:", &body.id);
    lines.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Line;

    fn told(json: &str) -> Option<Notice> {
        let line = Line::parse(1, json.as_bytes().to_vec());
        assert_eq!(line.fault, None);
        notice(&line.stamp, &line.record, &[Contact { role: "on-call".into(), text: "+49 30 1\u{202e}234".into() }])
    }

    #[test]
    fn a_decision_is_told_with_everything_that_a_person_needs() {
        let told = told(
            r#"{"type":"decision","time":"2026-03-01T10:02:00Z","ecosystem":"shop","host":"a1","id":"i1/2","incident":"i1","severity":"high","action":"propose","scope":"config","snapshot":"p2","onset":"2026-03-01T10:00:00Z","deadline":"2026-03-01T11:00:00Z","reasons":[{"rule":"errors-25","metric":"error_rate","observed":0.31,"threshold":"> 0.25","held_s":120}],"suspects":[],"notes":["store"],"overdue":true,"data_loss_s":5400}"#,
        )
        .unwrap();
        assert_eq!((told.occasion, told.about.as_str()), (Occasion::Decision, "decision i1/2"));
        assert_eq!(told.subject, "shop: overdue: high, a rollback of config is proposed");
        assert_eq!(
            told.text,
            "shop on a1, 2026-03-01 10:02:00 UTC\n\n\
             What:      a rollback of config is proposed\n\
             Severity:  high\n\
             Scope:     config\n\
             Snapshot:  p2\n\
             Data loss: 1 h 30 min\n\
             Began:     2026-03-01 10:00:00\n\
             Deadline:  2026-03-01 11:00:00, which has passed\n\
             Because:   errors-25: error_rate 0.31, limit > 0.25, for 2 min\n\
             Note:      store\n\
             Decision:  i1/2 of incident i1\n\
             To agree:  eco-ctl approve i1/2; or eco-restore --approve, with the stream that holds this decision\n"
        );
    }

    #[test]
    fn a_paused_rollout_is_no_rollback_to_agree_to() {
        let told = told(
            r#"{"type":"decision","time":"2026-03-01T14:00:00Z","ecosystem":"shop","id":"rollout-r7-p","incident":"rollout-r7","severity":"medium","action":"propose","scope":"module:planner","snapshot":null,"notes":["no-data","store","rollout"]}"#,
        )
        .unwrap();
        assert_eq!(told.subject, "shop: medium, the rollout of module:planner is paused");
        assert!(told.text.contains("To answer: eco-ctl resume lets the rollout go on; eco-ctl reject rollout-r7-p rolls it back\n"), "{}", told.text);
        assert!(!told.text.contains("approve"), "{}", told.text);
    }

    #[test]
    fn the_end_of_a_rollback_is_told_with_the_way_back() {
        let told = told(
            r#"{"type":"restore","time":"2026-03-01T10:03:00Z","ecosystem":"shop","id":"r1","phase":"completed","scope":"full","snapshot":"p2","safety":"r1","data_loss_s":5400,"downtime_ms":41,"took_ms":2300,"by":"operator"}"#,
        )
        .unwrap();
        assert_eq!(told.subject, "shop: rollback of full completed");
        assert_eq!(
            told.text,
            "shop, 2026-03-01 10:03:00 UTC\n\n\
             What:      a rollback is complete\n\
             Scope:     full\n\
             Snapshot:  p2\n\
             Took:      2.3 s\n\
             Down for:  41 ms\n\
             Data loss: 1 h 30 min, from the snapshot to the rollback\n\
             To undo:   eco-restore --undo r1\n\
             By:        operator\n\
             Rollback:  r1\n"
        );
    }

    #[test]
    fn who_is_told_that_a_person_is_needed_is_told_whom_to_call() {
        let ended = |phase: &str| {
            told(&format!(r#"{{"type":"restore","time":"2026-03-01T10:03:00Z","id":"r1","phase":"{phase}","scope":"full"}}"#)).unwrap().text
        };
        for phase in ["failed", "reverted"] {
            assert!(ended(phase).ends_with("\n\nContacts\non-call: +49 30 1\\u{202e}234\n"), "{}", ended(phase));
        }
        assert!(!ended("completed").contains("Contacts"));
    }

    #[test]
    fn what_nobody_has_to_know_is_not_told_and_a_name_stays_on_its_line() {
        let decision = |action: &str, id: &str| {
            told(&format!(
                r#"{{"type":"decision","time":"2026-03-01T10:02:00Z","ecosystem":"sh\nop","id":"{id}","incident":"i1","severity":"low","action":"{action}","scope":null,"snapshot":null}}"#
            ))
        };
        assert_eq!(decision("watch", "i1/1"), None);
        assert_eq!(told(r#"{"type":"restore","time":"2026-03-01T10:03:00Z","id":"r1","phase":"started","scope":"full"}"#), None);
        let odd = decision("resolved", "i\\u001b[2J\\nBcc: all").unwrap();
        assert_eq!(odd.subject, "sh\\nop: resolved");
        assert!(!odd.text.contains('\u{1b}') && !odd.text.contains("\nBcc"), "{}", odd.text);
    }
}
