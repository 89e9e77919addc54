use super::*;
use crate::record::Line;

/// One sample a minute: `HH:MM` from and to, within the day of the examples, with these fields.
fn samples(from: &str, to: &str, fields: &str) -> Vec<String> {
    let minute = |text: &str| text[..2].parse::<u32>().unwrap() * 60 + text[3..].parse::<u32>().unwrap();
    let line = |at: u32| format!(r#"{{"type":"health","time":"2026-03-01T{:02}:{:02}:00Z",{fields}}}"#, at / 60, at % 60);
    (minute(from)..=minute(to)).map(line).collect()
}

const FINE: &str = r#""up":true,"requests":1200,"error_rate":0.01,"response_ms":120,"modules":{"core":"ok","planner":"ok"}"#;
const BAD: &str = r#""up":true,"requests":1200,"error_rate":0.31,"response_ms":600,"modules":{"core":"ok","planner":"failed"}"#;

fn record(kind: &str, time: &str, fields: &str) -> String {
    format!(r#"{{"type":"{kind}","time":"2026-03-01T{time}Z",{fields}}}"#)
}

const DECIDED: &str = r#""id":"20260301T100000Z-1","incident":"20260301T100000Z","severity":"high","action":"rollback","scope":"full","snapshot":"p2","onset":"2026-03-01T10:00:00Z","cut":"2026-03-01T09:58:00Z","deadline":"2026-03-01T11:02:00Z","reasons":[{"rule":"errors-25","metric":"error_rate","observed":0.31,"threshold":"> 0.25","since":"2026-03-01T10:00:00Z","held_s":120,"samples":3}],"suspects":[{"change":"c1","target":"config:limits","before_onset_s":120}]"#;
const RESOLVED: &str =
    r#""id":"20260301T100000Z-2","incident":"20260301T100000Z","severity":"high","action":"resolved","scope":null,"snapshot":null"#;

fn started() -> String {
    record("restore", "10:03:00", r#""id":"r-000001","phase":"started","decision":"20260301T100000Z-1","scope":"full","snapshot":"p2""#)
}

fn ended(phase: &str, more: &str) -> String {
    record(
        "restore",
        "10:03:30",
        &format!(r#""id":"r-000001","phase":"{phase}","decision":"20260301T100000Z-1","scope":"full","snapshot":"p2","safety":"s-000001"{more}"#),
    )
}

/// Trouble at 10:00, decided at 10:02, rolled back at 10:03, healthy from 10:04, closed at 10:09.
fn full_incident() -> Vec<String> {
    let mut lines = vec![record("snapshot", "08:30:00", r#""id":"p2","covers":["data","config"],"verified":true,"kind":"daily","health":"ok""#)];
    lines.extend(samples("09:00", "09:57", FINE));
    lines.push(record("change", "09:58:00", r#""id":"c1","target":"config:limits","from":"r41","to":"r42""#));
    lines.extend(samples("09:58", "09:58", FINE));
    lines.push(record("snapshot", "09:59:00", r#""id":"p3","covers":["data","config"],"verified":true"#));
    lines.extend(samples("09:59", "09:59", FINE));
    lines.extend(samples("10:00", "10:02", BAD));
    lines.push(record("decision", "10:02:00", DECIDED));
    lines.push(record(
        "plan",
        "10:02:59",
        r#""restore":"r-000001","scope":"full","snapshot":"p2","strategy":"exchange","roots":["config","data"],"created":1,"updated":2,"deleted":3,"kept":4,"preserved":5,"bytes":6,"control":"none","verify":[]"#,
    ));
    lines.push(started());
    lines.extend(samples("10:03", "10:03", r#""up":false"#));
    lines.push(record("step", "10:03:10", r#""restore":"r-000001","step":"swap","ok":true,"took_ms":3"#));
    lines.push(record("step", "10:03:20", r#""restore":"r-000001","step":"selftest","ok":null,"note":"not checked: no [verify]","took_ms":0"#));
    lines.push(ended(
        "completed",
        r#","created":1,"updated":2,"deleted":3,"kept":4,"preserved":5,"data_loss_s":5580,"downtime_ms":41,"took_ms":2300"#,
    ));
    lines.extend(samples("10:04", "10:09", FINE));
    lines.push(record("decision", "10:09:00", RESOLVED));
    lines
}

fn story<S: AsRef<str>>(lines: &[S]) -> Story {
    let mut story = Story::default();
    for line in lines {
        let line = Line::parse(1, line.as_ref().as_bytes().to_vec());
        assert_eq!(line.fault, None, "{}", String::from_utf8_lossy(&line.raw));
        story.add(line.stamp, line.record);
    }
    story
}

/// The report, which must hold each of these lines.
fn markdown<S: AsRef<str>>(lines: &[S], expected: &[&str]) -> String {
    let text = story(lines).report().markdown();
    for line in expected {
        assert!(text.lines().any(|found| found.trim() == *line), "missing: {line}\n{text}");
    }
    text
}

#[test]
fn a_fully_recorded_incident_fills_every_field_of_the_template() {
    let text = markdown(
        &full_incident(),
        &[
            "# Incident Report - 2026-03-01",
            "- **Date:** 2026-03-01",
            "- **Severity:** high",
            "- **Duration:** 4 min",
            "- to detect: 2 min",
            "- to act: 1 min",
            "- to restore: 1 min",
            "- failed requests: 1116 (3 of 4 samples say how many)",
            "- peak error rate: 31 % at 2026-03-01 10:00:00",
            "- worst response: 600 ms at 2026-03-01 10:00:00, 5.0 times the normal (120 ms, the median of 60 samples before the onset)",
            "- time down: 1 min",
            "- modules affected: planner (failed)",
            "- **Status:** resolved at 2026-03-01 10:09:00",
            "- **Took:** 2.3 s; the service was stopped for 41 ms",
            "- **Issue Began:** 2026-03-01 10:00:00 (+0s)",
            "- **Issue Detected:** 2026-03-01 10:02:00 (+2m)",
            "- **Rollback Initiated:** 2026-03-01 10:03:00 (+3m)",
            "- **Rollback Completed:** 2026-03-01 10:03:30 (+3m30s)",
            "- **System Restored:** 2026-03-01 10:04:00 (+4m)",
            "- errors-25: error_rate 0.31, limit > 0.25, held for 2 min over 3 samples, since 2026-03-01 10:00:00",
            "- config:limits (change c1), from r41 to r42, 2 min before the onset",
            "- After the rollback of full, health recovered and stayed good.",
            "- **Rollback Type:** full",
            "- **Backup Used:** `p2`",
            "- about it: taken 2026-03-01 08:30:00, 1 h 30 min before the onset, daily, verified, health ok when it was taken",
            "- newer, not used: p3 of 2026-03-01 09:59:00: taken after 2026-03-01 09:58:00, when the trouble may already have been in it",
            "- **Data Loss:** Significant: what was written from 2026-03-01 08:30:00 to 2026-03-01 10:03:00 (1 h 33 min) is not in the tree",
            "- to get it back: `eco-restore --undo s-000001`",
            "- Preserved paths (time series, logs): 5 stayed as they were.",
            "1. 2026-03-01 10:02:00 (+2m): decision: high, roll back full to snapshot p2; errors-25: error_rate 0.31, limit > 0.25",
            "4. 2026-03-01 10:03:10 (+3m10s): step swap ok, 3 ms",
            "5. 2026-03-01 10:03:20 (+3m20s): step selftest not checked, 0 ms: no \\[verify\\]",
            "- The rollback began 59 min before its deadline.",
            "- Steps that were not checked: selftest.",
            "- Records: change 1, decision 2, health 70, plan 1, restore 2, snapshot 2, step 2",
            "- Lines that are no records: 0",
            "| 2026-03-01 09:58:00 (-2m) | change c1: config:limits from r41 to r42 |",
            "| 2026-03-01 10:00:00 (+0s) | health: module planner failed; error_rate 0.31 is > 0.25 (errors-25) |",
            "| 2026-03-01 10:03:00 (+3m) | health: service down |",
        ],
    );
    assert!(!text.contains("**Attention:**"), "{text}");
    let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(
        sections,
        [
            "Summary",
            "Timeline",
            "Root Cause",
            "Rollback Details",
            "Actions Taken",
            "Lessons Learned",
            "Prevention Measures",
            "Follow-ups",
            "Data quality"
        ]
    );
    assert!(!text.contains("\n\n\n"), "two empty lines in a row:\n{text}");
}

#[test]
fn what_the_stream_does_not_hold_is_not_recorded() {
    let without_health: Vec<String> = full_incident().into_iter().filter(|line| !line.contains("\"health\",\"time")).collect();
    let text = markdown(
        &without_health,
        &[
            "- **Duration:** *not recorded*",
            "- to restore: *not recorded*",
            "- failed requests: *not recorded*",
            "- peak error rate: *not recorded*",
            "- worst response: *not recorded*",
            "- time down: *not recorded*",
            "- modules affected: *not recorded*",
            "- **System Restored:** *not recorded* - closed by a decision at 2026-03-01 10:09:00",
        ],
    );
    assert!(!text.contains("none seen"));
}

#[test]
fn a_rollback_that_was_swapped_back_says_so_at_the_top_and_costs_no_data() {
    let mut lines = full_incident();
    lines.retain(|line| !line.contains("\"completed\"") && !line.contains("resolved"));
    lines.push(ended("reverted", r#","error":"not healthy within 60s","exit":5"#));
    let text = markdown(
        &lines,
        &[
            "# Incident Report - 2026-03-01 (ongoing)",
            "> **Attention:** Rollback 000001 was REVERTED (not healthy within 60s): the tree from before it is live again, and nothing has been rolled back by it.",
            "- **Rollback Completed:** *not recorded* - the last rollback reverted at 2026-03-01 10:03:30",
            "- **Outcome:** REVERTED, the tree from before is back: not healthy within 60s",
            "- **Data Loss:** None: the tree from before is back",
            "- **System Restored:** *not recorded* - the incident is not closed",
        ],
    );
    assert!(text.find("REVERTED").unwrap() < text.find("## Summary").unwrap());
    assert!(!text.contains("eco-restore --undo"), "{text}");
}

#[test]
fn a_rollback_that_failed_or_has_no_end_does_not_guess_what_was_lost() {
    let mut lines = full_incident();
    lines.retain(|line| !line.contains("\"completed\"") && !line.contains("resolved"));
    let open = markdown(&lines, &["- **Outcome:** BEGUN, and its end is not in the stream", "- **Data Loss:** *not recorded*"]);
    assert!(open.contains("eco-restore --recover"));
    lines.push(ended("failed", r#","error":"no space","exit":3"#));
    markdown(&lines, &["> **Attention:** Rollback 000001 FAILED (no space).", "- **Data Loss:** *not recorded*"]);
    lines.pop();
    lines.push(ended("failed", r#","error":"damaged","exit":4"#));
    markdown(&lines, &["- **Data Loss:** None: nothing was changed"]);
}

#[test]
fn a_rollback_by_an_operator_without_any_decision_still_gets_a_report() {
    let mut lines = samples("10:00", "10:02", BAD);
    let fields =
        |phase: &str| format!(r#""id":"r-000001","phase":"{phase}","by":"operator","scope":"module:planner","snapshot":"p9","data_loss_s":600"#);
    lines.push(record("restore", "10:03:00", &fields("started")));
    lines.push(record("restore", "10:03:30", &fields("completed")));
    lines.extend(samples("10:04", "10:06", FINE));
    markdown(
        &lines,
        &[
            "# Incident Report - 2026-03-01",
            "- **Severity:** *not recorded*",
            "- **Issue Began:** *not recorded*",
            "- **Issue Detected:** *not recorded*",
            "- **Rollback Initiated:** 2026-03-01 10:03:00 (+0s)",
            "- **System Restored:** 2026-03-01 10:04:00 (+1m) - healthy from then on as far as the samples go; no decision has proven it",
            "- An operator asked for the rollback; how the trouble was noticed is not in the stream",
            "- **Rollback Type:** module planner",
            "- about it: *not recorded*",
            "- **Data Loss:** Minimal: what was written from 2026-03-01 09:53:00 to 2026-03-01 10:03:00 (10 min) is not in the tree",
            "1. 2026-03-01 10:03:00 (+0s): rollback 000001 of module:planner started, asked for by the operator",
        ],
    );
}

#[test]
fn an_open_incident_gets_an_interim_report() {
    let lines: Vec<String> = full_incident().into_iter().take_while(|line| !line.contains("\"plan\"")).collect();
    markdown(
        &lines,
        &[
            "# Incident Report - 2026-03-01 (ongoing)",
            "> **Attention:** This incident is ONGOING: the report is an interim one.",
            "- **Duration:** ongoing, 2 min up to the last record",
            "- **Rollback Type:** none: the stream holds no rollback of this incident",
        ],
    );
}

#[test]
fn a_stream_without_an_incident_says_so() {
    let mut lines = samples("10:00", "10:02", FINE);
    lines.push(record(
        "decision",
        "10:02:00",
        r#""id":"n-1","incident":"n","severity":"unknown","action":"investigate","scope":null,"snapshot":null"#,
    ));
    lines.push(record("restore", "10:03:00", r#""id":"r","phase":"completed","by":"operator","scope":"full","strategy":"extract""#));
    let report = story(&lines).report();
    assert_eq!(report.state, State::None);
    assert!(report.markdown().starts_with("# Incident Report - no incident\n\nThe stream holds no incident"), "{}", report.markdown());
    assert!(Story::default().report().markdown().contains("- Stream: *not recorded*\n- Records: none\n"));
}

#[test]
fn the_last_incident_is_the_one_and_the_others_are_named() {
    let mut lines = full_incident();
    let later = |text: &str| text.replace("20260301T100000Z", "20260301T140000Z").replace("T10:", "T14:").replace("T11:", "T15:");
    lines.extend(full_incident().iter().filter(|line| line.contains("\"decision\",")).map(|line| later(line)));
    let text = markdown(
        &lines,
        &[
            "- **Issue Began:** 2026-03-01 14:00:00 (+0s)",
            "- **Incident:** `20260301T140000Z`",
            "- Another incident in the stream: 20260301T100000Z, first record 2026-03-01 10:02:00, resolved",
            "- **Rollback Type:** none: the stream holds no rollback of this incident",
        ],
    );
    assert!(!text.contains("10:02:00 (-"), "decisions of the other incident have no place here:\n{text}");
}

#[test]
fn services_in_one_stream_are_kept_apart() {
    let mut lines: Vec<String> = full_incident().iter().map(|line| line.replacen("Z\",", "Z\",\"ecosystem\":\"shop\",", 1)).collect();
    let other = r#""ecosystem":"bank","up":false,"modules":{"vault":"failed"}"#;
    lines.extend(samples("10:00", "10:30", other));
    let text = markdown(&lines, &["# Incident Report - shop - 2026-03-01", "- **System Restored:** 2026-03-01 10:04:00 (+4m)", "- time down: 1 min"]);
    assert!(!text.contains("vault"), "{text}");
}

#[test]
fn an_undo_belongs_to_the_incident_of_what_it_undoes() {
    let mut lines = full_incident();
    let fields = |phase: &str| {
        format!(r#""id":"u-000002","phase":"{phase}","by":"operator","scope":"full","undoes":"r-000001","snapshot":"s-000001","safety":"s-000002""#)
    };
    lines.push(record("restore", "12:00:00", &fields("started")));
    lines.push(record("restore", "12:00:30", &fields("completed")));
    markdown(
        &lines,
        &[
            "> **Attention:** Rollback 000001 was UNDONE at 2026-03-01 12:00:30: the state from before it is live again.",
            "### Rollback 2 of 2",
            "- **Rollback Type:** undo of rollback 000001 (full)",
            "- **Data Loss:** None any more: the rollback was undone",
            "- **Data Loss:** Significant: what was written from 2026-03-01 10:03:30 to 2026-03-01 12:00:00 (1 h 56 min) is not in the tree",
            "- to get it back: `eco-restore --undo s-000002`",
            "- full was rolled back, and the rollback was undone.",
        ],
    );
}

#[test]
fn a_configuration_rollback_loses_no_data_and_says_what_is_set_aside() {
    let lines: Vec<String> = full_incident().iter().map(|line| line.replace("\"scope\":\"full\"", "\"scope\":\"config:limits\"")).collect();
    let text = markdown(&lines, &["- **Rollback Type:** configuration, because of limits"]);
    assert!(
        text.contains("- **Data Loss:** None: a rollback of config:limits touches no data; what its own files gained in 2026-03-01 08:30:00 to"),
        "{text}"
    );
}

#[test]
fn damage_in_the_snapshot_outweighs_that_it_was_verified_once() {
    let mut lines = full_incident();
    lines.push(record(
        "verification",
        "10:08:00",
        r#""snapshot":"p2","path":"/b/p2.tar.gz","depth":"data","ok":false,"damage":[{"path":"a","what":"digest"}]"#,
    ));
    let text = markdown(&lines, &["- Snapshot p2 was found DAMAGED at 2026-03-01 10:08:00."]);
    assert!(!text.contains("read back in full before"), "{text}");
}

#[test]
fn gaps_late_records_and_unusable_values_are_counted() {
    let mut lines = full_incident();
    lines.retain(|line| !["10:05", "10:06", "10:07"].iter().any(|time| line.contains(time)));
    lines.extend(samples("10:05", "10:05", r#""up":true,"error_rate":85,"response_ms":"fast""#));
    let mut story = story(&lines);
    story.bad_lines(2);
    let text = story.report().markdown();
    for part in
        ["- Records that came late: 1\n", "- Metrics that could not be used: 2\n", "- Lines that are no records: 2\n", "Facts may be missing."]
    {
        assert!(text.contains(part), "{part}{text}");
    }
    lines.pop();
    let text = markdown(&lines, &["- Silences of the monitoring during the incident: 1"]);
    assert!(text.contains("  - 4 min without a health record, from 2026-03-01 10:04:00 to 2026-03-01 10:08:00\n"), "{text}");
}

#[test]
fn hostile_names_are_text_and_break_no_table() {
    let hostile = "<script>alert(1)</script>|`x`\\n\\n# Owned\\n| a | b |\\u001b[2J\\u202e[l](http://evil)";
    let lines: Vec<String> = full_incident()
        .iter()
        .map(|line| {
            line.replace("planner", hostile)
                .replace("config:limits", &format!("config:{}", hostile.replace("\\n", "").replace("\\u001b", "")))
                .replace("\"c1\"", &format!("\"{hostile}\""))
                .replace("selftest", hostile)
                .replace("\"p2\"", &format!("\"{hostile}\""))
                .replace("\"s-000001\"", &format!("\"{hostile}\""))
                .replace("errors-25", hostile)
                .replace("daily", hostile)
        })
        .collect();
    let text = story(&lines).report().markdown();
    assert!(!text.contains("<script") && !text.contains("\x1b") && !text.contains('\u{202e}') && !text.replace("\\]", "").contains("]("), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("# Owned") || line.starts_with("| a |")), "{text}");
    for row in text.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(row.matches('|').count(), 3, "{row}");
    }
    assert!(text.contains("&lt;script>alert(1)&lt;/script>&#124;\\`x\\`\\\\n"), "{text}");
}

#[test]
fn the_same_stream_gives_the_same_report() {
    let lines = full_incident();
    assert_eq!(story(&lines).report().markdown(), story(&lines).report().markdown());
}

#[test]
fn the_example_of_every_record_can_be_reported_on() {
    let lines: Vec<&str> = include_str!("../record/examples.ndjson").lines().collect();
    let text = story(&lines).report().markdown();
    assert!(text.contains("shop") && text.contains("Records: "), "{text}");
}

#[test]
fn the_end_of_a_rollback_that_was_passed_back_to_the_decision_is_told_once() {
    let once = full_incident();
    let end = once.iter().position(|line| line.contains("\"completed\"")).unwrap();
    let mut twice = once.clone();
    twice.insert(end + 3, once[end].clone());
    assert_eq!(markdown(&twice, &[]), markdown(&once, &[]));
}

/// The incident of [`full_incident`] moved to another hour and, with a word, into another service.
fn moved(hour: u32, service: Option<&str>) -> Vec<String> {
    let at = |text: &str| {
        text.replace("20260301T100000Z", &format!("20260301T{hour:02}0000Z"))
            .replace("T10:", &format!("T{hour:02}:"))
            .replace("T09:", &format!("T{:02}:", hour - 1))
            .replace("T08:", &format!("T{:02}:", hour - 2))
            .replace("T11:", &format!("T{:02}:", hour + 1))
            .replace("r-000001", &format!("r-0000{hour:02}"))
    };
    let name = service.map_or_else(String::new, |service| format!("\"ecosystem\":\"{service}\","));
    full_incident().iter().map(|line| at(line).replacen("Z\",", &format!("Z\",{name}"), 1)).collect()
}

fn old(report: &str) -> Old {
    Old::read(report).unwrap()
}

/// A report with this text in one of its places.
fn written(report: &str, place: &str, text: &str) -> String {
    let (opens, closes) = (format!("<!-- keep:{place} -->\n"), format!("<!-- /keep:{place} -->"));
    let (before, rest) = report.split_once(&opens).unwrap_or_else(|| panic!("no {place} in\n{report}"));
    let (_, after) = rest.split_once(&closes).unwrap();
    format!("{before}{opens}{text}\n{closes}{after}")
}

#[test]
fn incidents_are_listed_with_what_became_of_them() {
    let mut lines = full_incident();
    lines.extend(moved(14, None).into_iter().take_while(|line| !line.contains("\"plan\"")));
    let list = story(&lines).list();
    assert_eq!(
        table(&list),
        "ID                STATE     ONSET (UTC)          DURATION  SEVERITY  SCOPE  OUTCOME\n\
         20260301T100000Z  resolved  2026-03-01 10:00:00  4 min     high      full   rolled back\n\
         20260301T140000Z  ongoing   2026-03-01 14:00:00  2 min     high      full   rollback decided, none begun\n"
    );
    assert_eq!((list[0].duration_s, list[1].state), (Some(240), State::Ongoing));
    let value: serde_json::Value = serde_json::from_str(&json(&list)).unwrap();
    assert_eq!(value[0]["onset"], "2026-03-01T10:00:00Z");
}

#[test]
fn every_end_of_a_rollback_has_its_word_in_the_list() {
    let outcome = |lines: &[String]| story(lines).list().pop().unwrap().outcome;
    let mut lines = full_incident();
    lines.retain(|line| !line.contains("\"completed\""));
    assert_eq!(outcome(&lines), "rollback begun, no end");
    for (phase, word) in [("reverted", "rollback reverted"), ("failed", "rollback failed")] {
        lines.push(ended(phase, ""));
        assert_eq!(outcome(&lines), word);
        lines.pop();
    }
    let proposed: Vec<String> = lines
        .iter()
        .map(|line| line.replace("\"action\":\"rollback\"", "\"action\":\"propose\""))
        .filter(|line| !["\"restore\"", "resolved"].iter().any(|word| line.contains(word)))
        .collect();
    assert_eq!(outcome(&proposed), "rollback proposed");
}

#[test]
fn an_incident_is_found_by_the_beginning_of_its_id_and_by_its_service() {
    let mut lines = moved(10, Some("shop"));
    lines.extend(moved(10, Some("bank")));
    lines.extend(moved(14, Some("shop")));
    let story = story(&lines);
    let list = story.list();
    assert_eq!(story.find("20260301T14").unwrap(), Choice::At(2));
    let bank = story.find("bank/2026").unwrap();
    assert_eq!(story.report_on(bank).ecosystem.as_deref(), Some("bank"));
    assert_eq!(
        story.find("20260301T10").unwrap_err().to_string(),
        "20260301T10 may mean bank/20260301T100000Z and shop/20260301T100000Z: say more of it"
    );
    assert_eq!(
        story.find("20250101").unwrap_err().to_string(),
        "no incident of the stream is called 20250101; it holds shop/20260301T140000Z, bank/20260301T100000Z and shop/20260301T100000Z"
    );
    assert!(table(&list).contains("\nbank/20260301T100000Z  resolved"), "{}", table(&list));
    assert_eq!(Story::default().find("a").unwrap_err().to_string(), "the stream holds no incident");
}

#[test]
fn a_rollback_without_a_decision_is_found_by_its_own_id() {
    let fields = r#""id":"019ca946-0b20","phase":"completed","by":"operator","scope":"config","snapshot":"p9""#;
    let story = story(&[record("restore", "10:03:30", fields)]);
    let choice = story.find("019ca").unwrap();
    assert_eq!(story.report_on(choice).id.as_deref(), Some("019ca946-0b20"));
    assert_eq!(story.list()[0].outcome, "rolled back");
}

#[test]
fn what_people_wrote_survives_and_untouched_drafts_are_drawn_up_anew() {
    let open: Vec<String> = full_incident().into_iter().take_while(|line| !line.contains("\"plan\"")).collect();
    let interim = story(&open).report().markdown();
    let text = "Limits went out *untested*.\n\n- <b>so</b> | `that`";
    let before = written(&interim, "root-cause", text);

    let mut report = story(&full_incident()).report();
    report.keep(old(&before));
    let after = report.markdown();
    assert!(after.contains(&format!("<!-- keep:root-cause -->\n{text}\n<!-- /keep:root-cause -->\n")), "{after}");
    assert!(
        after.contains("- [x] Write the incident down (owner: \\_\\_\\_\\_") || after.contains("- [x] Write the incident down (owner: ____"),
        "{after}"
    );
    assert_eq!(report.kept.len(), 1, "the list of follow-ups was not touched: {:?}", report.kept);

    // Once more, and nothing changes any more.
    let mut again = story(&full_incident()).report();
    again.keep(old(&after));
    assert_eq!(again.markdown(), after);
    assert!(again.text().contains("  Limits went out *untested*.\n"), "{}", again.text());
    assert!(again.html(&[]).contains("- &lt;b&gt;so&lt;/b&gt; | `that`"), "{}", again.html(&[]));
}

#[test]
fn ticks_and_owners_are_carried_over_and_new_proof_stands_below() {
    let report = story(&full_incident()).report();
    let before = written(&report.markdown(), "follow-ups", "- [x] Tell everybody (owner: ann, by: today)");
    let mut lines = full_incident();
    lines.push(record("control", "10:20:00", r#""do":"tell","ok":true,"took_ms":3"#));
    let mut report = story(&lines).report();
    report.keep(old(&before));
    let text = report.markdown();
    assert!(text.contains("<!-- keep:follow-ups -->\n- [x] Tell everybody (owner: ann, by: today)\n<!-- /keep:follow-ups -->\n"), "{text}");
    assert!(text.contains("- Tell everybody who is affected: done, eco-ctl tell reached somebody at 2026-03-01 10:20:00\n"), "{text}");
}

#[test]
fn a_text_whose_place_is_gone_is_put_at_the_end_and_never_lost() {
    let own = written(&story(&full_incident()).report().markdown(), "impact", "Nobody could pay.")
        .replace("## Root Cause", "<!-- keep:mine -->\nown words\n<!-- /keep:mine -->\n\n## Root Cause");
    let mut report = story(&full_incident()).report();
    report.keep(old(&own));
    let text = report.markdown();
    let (above, below) = text.split_once("## Kept from the report before\n").unwrap();
    assert!(above.contains("Nobody could pay.") && below.contains("<!-- keep:mine -->\nown words\n<!-- /keep:mine -->\n"), "{text}");
    assert!(report.text().contains("KEPT FROM THE REPORT BEFORE: MINE\n  own words\n"), "{}", report.text());
    assert!(report.html(&[]).contains("own words"));
    // A stream without an incident has no place at all.
    let mut none = Story::default().report();
    none.keep(old(&text));
    let text = none.markdown();
    assert!(text.contains("Nobody could pay.") && text.contains("own words"), "{text}");
    assert_eq!(old(&text).incident(), None);
}

#[test]
fn a_report_says_in_its_last_line_which_incident_it_is_about() {
    let hostile: Vec<String> = moved(10, Some("a-->b c")).iter().map(|line| line.replace("20260301T100000Z", "x -->|y")).collect();
    for (lines, id) in [(moved(10, Some("shop")), "shop/20260301T100000Z"), (hostile, "a-->b c/x -->|y")] {
        let story = story(&lines);
        let text = story.report().markdown();
        assert_eq!(old(&text).incident(), Some(id), "{text}");
        assert_eq!(story.find(id).unwrap(), Choice::At(0));
        assert_eq!(text.lines().filter(|line| line.starts_with("<!--")).count(), 11, "two markers for each place, and the last line: {text}");
    }
}

#[test]
fn the_text_fits_a_terminal_and_holds_what_the_markdown_holds() {
    let mut report = story(&full_incident()).report();
    report.contacts = vec![crate::config::Contact { role: "on-call".into(), text: "+49 30 555 0101".into() }];
    let text = report.text();
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 78 || !line.trim().contains(' '), "{line}");
    }
    for part in [
        "Incident report - 2026-03-01\n\nCONTACTS\n  on-call             +49 30 555 0101\n",
        "  Duration            4 min\n",
        "  Issue detected      2026-03-01 10:02:00 (+2m)\n",
        "  To get it back      eco-restore --undo s-000001\n",
        "  [x] The service runs and answers - up at 2026-03-01 10:09:00\n",
        "  1. 2026-03-01 10:02:00 (+2m) decision: high, roll back full to snapshot\n",
        "error rate  ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(report.markdown().contains("**Contacts:**\n\n- on-call: \\+49 30 555 0101\n"), "{}", report.markdown());
    assert!(report.html(&[]).contains("<dt>on-call</dt><dd>+49 30 555 0101</dd>"));
    assert!(Story::default().report().text().contains("no incident"));
}

#[test]
fn text_json_and_list_take_hostile_names_as_text() {
    let hostile = "\\u001b[2J<b>\\u202e|x";
    let lines: Vec<String> = full_incident().iter().map(|line| line.replace("planner", hostile).replace("20260301T100000Z", hostile)).collect();
    let story = story(&lines);
    let report = story.report();
    for text in [report.text(), table(&story.list())] {
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
    }
    let value: serde_json::Value = serde_json::from_str(&json(&report)).unwrap();
    assert_eq!(value["id"], "\x1b[2J<b>\u{202e}|x", "JSON has names as they are");
    assert_eq!(value["measured"]["down_s"], 60);
    assert_eq!(value["quality"]["counts"]["health"], 70);
}

#[test]
fn numbers_beside_the_sentences_say_the_same() {
    let measured = story(&full_incident()).report().measured;
    let expected = Measured {
        duration_s: Some(240),
        detect_s: Some(120),
        act_s: Some(60),
        restore_s: Some(60),
        failed_requests: Some(1116.0),
        peak_error_rate: Some(0.31),
        worst_response_ms: Some(600.0),
        normal_response_ms: Some(120.0),
        down_s: Some(60),
        data_loss_s: Some(5580),
    };
    assert_eq!(measured, expected);
    let mut lines = full_incident();
    lines.retain(|line| !line.contains("\"completed\""));
    assert_eq!(story(&lines).report().measured.data_loss_s, None, "it has no end: nobody knows");
    let config: Vec<String> = full_incident().iter().map(|line| line.replace("\"scope\":\"full\"", "\"scope\":\"config\"")).collect();
    assert_eq!(story(&config).report().measured.data_loss_s, Some(0));
}

#[test]
fn detection_says_where_the_time_went_and_what_had_been_seen_before() {
    let mut lines = full_incident();
    let blip = lines.iter().position(|line| line.contains("T09:30:00")).unwrap();
    lines[blip] = samples("09:30", "09:30", BAD).remove(0);
    markdown(
        &lines,
        &[
            "- of the 2 min to detect, 2 min went into proof that it was no blip",
            "- a sample came every 1 min; more often means sooner, as long as the rules ask for a number of samples",
            "- errors-25 had been crossed once in the day before, too shortly to count, the last time at 2026-03-01 09:30:00",
            "- The limit of errors-25 was crossed once in the day before: was that the same trouble?",
        ],
    );
}

#[test]
fn a_gate_that_was_skipped_or_did_not_pass_is_asked_about() {
    let skipped = "- No gate stands in the stream in the day before the suspected change: was it skipped?";
    markdown(&full_incident(), &[skipped]);
    let mut lines = full_incident();
    lines.insert(0, record("gate", "09:50:00", r#""check":"tests","ok":false,"took_s":41"#));
    let text = markdown(&lines, &["- The gate had not passed before the suspected change: tests."]);
    assert!(!text.contains(skipped), "{text}");
    lines[0] = record("gate", "09:50:00", r#""check":"tests","ok":true,"took_s":41"#);
    markdown(&lines, &["- The gate let the suspected change pass (1 check): which check would have stopped it?"]);
}

#[test]
fn an_old_newest_snapshot_and_a_damaged_newer_one_are_named() {
    let mut lines = full_incident();
    lines[0] = lines[0].replace("2026-03-01T08:30:00Z", "2026-02-28T03:00:00Z");
    lines.push(record("verification", "09:59:30", r#""snapshot":"p3","path":"/b/p3","depth":"data","ok":false,"damage":[]"#));
    let lines: Vec<String> =
        lines.iter().map(|line| line.replace(r#""id":"p3","covers":["data","config"],"verified":true"#, r#""id":"p3""#)).collect();
    markdown(
        &lines,
        &["- The newest verified snapshot was 1 d 7 h old when the trouble began.", "- newer, not used: p3 of 2026-03-01 09:59:00: found damaged"],
    );
}

#[test]
fn follow_ups_are_ticked_by_what_the_stream_proves() {
    let mut lines = full_incident();
    lines.push(record("control", "10:20:00", r#""do":"tell","ok":false,"took_ms":3"#));
    lines.push(record("gate", "12:00:00", r#""check":"tests","ok":true"#));
    lines.push(record("rollout", "13:00:00", r#""id":"r8","version":"v2","target":"config:limits","state":"done""#));
    lines.extend(samples("10:10", "23:59", FINE));
    let next_day = |line: String| line.replace("2026-03-01", "2026-03-02");
    lines.extend(samples("00:00", "10:05", &format!("{FINE},\"integrity\":true")).into_iter().map(next_day));
    let report = story(&lines).report();
    let items: Vec<&FollowUp> = report.follow_ups.iter().flat_map(|group| &group.items).collect();
    let done = |what: &str| items.iter().find(|item| item.what == what).unwrap_or_else(|| panic!("{what}")).done;
    assert!(!done("Tell everybody who is affected"), "nobody was reached");
    assert!(done("Test the mended version") && done("Deploy it in steps") && done("Watch the service closely for 24 hours"), "{items:?}");
    assert!(!done("The data is consistent"), "known a day later is not known when it was closed");
    let hole = |line: &String| !line.contains("T15:3");
    let holed: Vec<String> = lines.iter().filter(|line| hole(line)).cloned().collect();
    let report = story(&holed).report();
    let watched = report.follow_ups.iter().flat_map(|group| &group.items).find(|item| item.what.starts_with("Watch the service closely")).unwrap();
    assert_eq!((watched.done, watched.evidence.as_deref()), (false, Some("the stream holds samples of 1 d with 1 silence")));
}

#[test]
fn a_module_whose_incident_came_back_is_one_incident() {
    let mut lines: Vec<String> = full_incident().iter().map(|line| line.replace("\"scope\":\"full\"", "\"scope\":\"module:planner\"")).collect();
    lines.extend(samples("10:10", "10:12", BAD));
    let again = DECIDED
        .replace("20260301T100000Z-1", "20260301T100000Z-3")
        .replace("\"action\":\"rollback\",\"scope\":\"full\"", "\"action\":\"escalate\",\"reopened\":1,\"scope\":\"module:planner\"");
    lines.push(record("decision", "10:12:00", &again));
    markdown(
        &lines,
        &[
            "# Incident Report - 2026-03-01 (ongoing)",
            "- The incident came back after it had been closed, once.",
            "- **Rollback Type:** module planner",
        ],
    );
    assert_eq!(story(&lines).list().len(), 1);
}

#[test]
fn samples_far_from_every_incident_are_let_go_and_the_report_is_the_same() {
    // A month of minutes, with an incident on its first day and on its last.
    let minute = |at: i64| Timestamp::from_second(1_772_150_400 + at * 60).unwrap();
    let health = |at: i64| {
        let line =
            format!(r#"{{"type":"health","time":"{}","up":true,"requests":100,"error_rate":0.01,"response_ms":{}}}"#, minute(at), 100 + at % 7);
        Line::parse(1, line.into_bytes())
    };
    let decision = |at: i64, action: &str, name: &str| {
        let line = format!(
            r#"{{"type":"decision","time":"{}","id":"{name}-{action}","incident":"{name}","severity":"high","action":"{action}","scope":null,"snapshot":null,"onset":"{}"}}"#,
            minute(at),
            minute(at - 3)
        );
        Line::parse(1, line.into_bytes())
    };
    let month = 43_200;
    let lines = (0..month).flat_map(|at| {
        let said = match at {
            600 => Some(decision(at, "investigate", "first")),
            620 => Some(decision(at, "resolved", "first")),
            42_000 => Some(decision(at, "investigate", "last")),
            42_100 => Some(decision(at, "resolved", "last")),
            _ => None,
        };
        [Some(health(at)), said]
    });
    let (mut story, mut all) = (Story::default(), Story { let_go_at: usize::MAX, ..Story::default() });
    for line in lines.flatten() {
        story.add(line.stamp.clone(), line.record.clone());
        all.add(line.stamp, line.record);
    }
    let kept = story.events.len();
    assert!(kept < 21_000, "{kept} of {month} are still there");
    for name in ["first", "last"] {
        assert_eq!(story.report_on(story.find(name).unwrap()), all.report_on(all.find(name).unwrap()));
    }
}

/// The incident of the examples under another rule, with these fields in the samples of trouble and after the rollback.
fn under(metric: &str, threshold: &str, bad: &str, after: &[(&str, &str, &str)]) -> Report {
    let mut lines = full_incident();
    lines.retain(|line| !line.contains("\"health\",\"time") && !line.contains("resolved"));
    lines.extend(samples("10:00", "10:02", bad));
    for (from, to, fields) in after {
        lines.extend(samples(from, to, fields));
    }
    lines.push(record("decision", "10:20:00", RESOLVED));
    let rule = format!(r#""rule":"other","metric":"{metric}","observed":1,"threshold":"{threshold}""#);
    let old = r#""rule":"errors-25","metric":"error_rate","observed":0.31,"threshold":"> 0.25""#;
    story(&lines.iter().map(|line| line.replace(old, &rule)).collect::<Vec<_>>()).report()
}

#[test]
fn a_service_is_not_restored_while_a_module_has_failed_or_the_limit_is_not_known() {
    let (failed, good, unsaid) = (r#""up":true,"modules":{"core":"failed","ui":"ok"}"#, r#""up":true,"modules":{"core":"ok"}"#, r#""up":true"#);
    let restored = |report: Report| report.times.restored.map(|moment| moment.time.strftime("%H:%M").to_string());
    let still = [("10:04", "10:10", failed), ("10:11", "10:20", good)];
    for (metric, threshold) in [("critical_failed", ">= 1"), ("modules_failed_share", ">= 0.5"), ("modules_failed", ">= 1")] {
        let report = under(metric, threshold, failed, &still);
        assert_eq!(report.measured.duration_s, Some(660), "{metric}");
        assert_eq!(restored(report).as_deref(), Some("10:11"), "{metric}");
        let silent_first = [("10:04", "10:10", unsaid), ("10:11", "10:20", good)];
        assert_eq!(restored(under(metric, threshold, failed, &silent_first)).as_deref(), Some("10:11"), "{metric}");
    }
    for metric in ["drops", "signal.fraud"] {
        let report = under(metric, ">= 1", unsaid, &[("10:04", "10:20", unsaid)]);
        assert_eq!(restored(report).as_deref(), Some("10:15"), "{metric}: the five minutes that the decision had proof of");
        let late = [("10:04", "10:16", failed), ("10:17", "10:20", good)];
        assert_eq!(restored(under(metric, ">= 1", unsaid, &late)).as_deref(), Some("10:17"), "{metric}");
        assert_eq!(restored(under(metric, ">= 1", unsaid, &[])), None, "{metric}: without samples nothing is known");
    }
    assert_eq!(restored(under("critical_failed", ">= 1", failed, &[("10:04", "10:20", failed)])), None);
}

#[test]
fn what_a_service_that_is_down_says_about_itself_is_not_counted() {
    let mut lines = full_incident();
    let at = lines.iter().position(|line| line.contains("\"up\":false")).unwrap();
    lines[at] = lines[at].replace("false", r#"false,"response_ms":30000,"modules":{"core":"failed"}"#);
    let report = story(&lines).report();
    assert_eq!(report.measured.worst_response_ms, Some(600.0));
    assert!(report.impact.worst_response.unwrap().starts_with("600 ms at "));
    assert_eq!(report.impact.modules.as_deref(), Some("planner (failed)"));
}

#[test]
fn decisions_and_changes_of_another_service_stay_out_even_under_the_same_names() {
    let mut lines = moved(10, Some("shop"));
    let alone = story(&lines).report();
    let other = |line: String| line.replacen('{', r#"{"ecosystem":"blog","#, 1);
    lines.push(other(record("decision", "10:02:30", &DECIDED.replace("errors-25", "elsewhere"))));
    lines.push(other(record("change", "09:58:30", r#""id":"c1","target":"config:blog","from":"b1","to":"b2""#)));
    lines.push(record("change", "10:30:00", r#""id":"c1","target":"config:limits","from":"r90","to":"r91""#).replacen(
        '{',
        r#"{"ecosystem":"shop","#,
        1,
    ));
    let story = story(&lines);
    let report = story.report_on(story.find("shop/20260301T100000Z").unwrap());
    assert_eq!(report.suspects, alone.suspects, "neither the other service's change nor one after the decision");
    assert_eq!((&report.actions, &report.marks), (&alone.actions, &alone.marks));
    assert!(!report.timeline.iter().any(|entry| entry.what.contains("elsewhere") || entry.what.contains("b2")), "{:?}", report.timeline);
}

#[test]
fn the_card_about_data_loss_shows_the_rollback_that_cost_most() {
    let card = |lines: &[String]| {
        let page = story(lines).report().html(&[]);
        let card = page.lines().find(|line| line.starts_with("<div><dt>Data loss</dt><dd><")).unwrap();
        card.to_owned()
    };
    let second = |phase: &str| {
        record(
            "restore",
            "10:05:00",
            &format!(r#""id":"r-000002","phase":"{phase}","decision":"20260301T100000Z-1","scope":"config","snapshot":"p3""#),
        )
    };
    let mut lines = full_incident();
    assert!(card(&lines).contains("<b>Significant</b>"), "{}", card(&lines));
    lines.extend([second("started"), second("completed")]);
    assert!(card(&lines).contains("<b>Significant</b>") && !card(&lines).contains("another rollback"), "{}", card(&lines));
    let begun = second("started").replace("\"config\"", "\"full\"");
    lines.truncate(lines.len() - 2);
    lines.push(begun);
    assert!(card(&lines).contains("<b>Significant</b>") && card(&lines).contains("that of another rollback is not recorded"), "{}", card(&lines));
    lines.retain(|line| !line.contains("\"completed\""));
    assert!(card(&lines).contains("not recorded"), "{}", card(&lines));
}

#[test]
fn a_suspect_at_any_distance_is_told() {
    for distance in ["1e300", "-1e300"] {
        let lines: Vec<String> =
            full_incident().iter().map(|line| line.replace("\"before_onset_s\":120", &format!("\"before_onset_s\":{distance}"))).collect();
        let without = lines.iter().filter(|line| !line.contains("\"change\",")).cloned().collect::<Vec<_>>();
        for lines in [lines, without] {
            assert!(story(&lines).report().suspects[0].ends_with(if distance.starts_with('-') { "after the onset" } else { "before the onset" }));
        }
    }
}

#[test]
fn a_mark_outside_of_the_window_has_an_arrow_to_its_side() {
    let story = story(&full_incident());
    let mut report = story.report();
    let at = |time: &str| time.parse().unwrap();
    report.window = Some(Window { from: at("2026-03-01T10:01:00Z"), to: at("2026-03-01T10:03:30Z") });
    let chart = &story.charts(&report)[0].svg;
    for name in [">\u{2039} onset +0s<", ">restored +4m \u{203a}<", ">rollback +3m<"] {
        assert!(chart.contains(name), "{name}\n{chart}");
    }
}

#[test]
fn an_open_incident_lasts_up_to_the_newest_record_of_its_own_service() {
    let mut lines = moved(10, Some("shop"));
    lines.retain(|line| !line.contains("resolved"));
    let alone = story(&lines).report();
    lines.push(r#"{"type":"health","ecosystem":"blog","time":"2026-03-05T00:00:00Z","up":true}"#.to_owned());
    let report = story(&lines).report();
    assert_eq!((report.measured.duration_s, report.window), (alone.measured.duration_s, alone.window));
    assert_eq!(report.duration, alone.duration);
}

#[test]
fn the_window_of_a_long_incident_begins_where_samples_are_kept() {
    let mut lines = full_incident();
    lines.retain(|line| !line.contains("resolved"));
    lines.push(r#"{"type":"health","time":"2026-03-05T00:00:00Z","up":true}"#.to_owned());
    let window = story(&lines).report().window.unwrap();
    assert_eq!(window.from.to_string(), "2026-02-28T08:02:00Z", "26 hours before the first decision");
}

#[test]
fn a_rollout_that_ended_before_the_window_has_no_chart() {
    let rollout = |time: &str, state: &str, exposure: &str| {
        record("rollout", time, &format!(r#""id":"r8","version":"v2","target":"config:limits","state":"{state}","exposure":{exposure}"#))
    };
    let drawn = |more: &[String]| {
        let mut lines = full_incident();
        lines.extend_from_slice(more);
        let story = story(&lines);
        story.charts(&story.report()).into_iter().find(|chart| chart.name == "rollout").map(|chart| chart.description)
    };
    let begun = rollout("08:00:00", "canary", "10");
    for (state, exposure) in [("done", "100"), ("rolled_back", "0"), ("refused", "0"), ("idle", "0")] {
        assert_eq!(drawn(&[begun.clone(), rollout("08:30:00", state, exposure)]), None, "{state}");
    }
    let running = drawn(std::slice::from_ref(&begun)).unwrap();
    assert!(running.contains("10 % canary"), "{running}");
    let again = drawn(&[begun, rollout("08:30:00", "done", "100"), rollout("09:50:00", "canary", "5")]).unwrap();
    assert!(again.contains("5 % canary") && !again.contains("done"), "{again}");
}
