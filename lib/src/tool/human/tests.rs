use super::*;
use crate::record::Line;
use unicode_width::UnicodeWidthStr;

/// The tables for these lines, at noon of the day of the examples, without a terminal.
fn shown(lines: &[&str]) -> String {
    let mut table = Table::new(false, Box::new(|| None), "2026-03-01T12:00:00Z".parse().unwrap());
    rows(&mut table, lines)
}

fn rows(table: &mut Table, lines: &[&str]) -> String {
    let parsed = lines.iter().map(|line| Line::parse(1, line.as_bytes().to_vec()));
    parsed.map(|line| table.row(&line.stamp, &line.record)).collect()
}

/// The examples of one type, as a table.
fn example(kind: &str) -> String {
    let start = format!("{{\"type\":\"{kind}\",");
    let lines: Vec<&str> = include_str!("../../record/examples.ndjson").lines().filter(|line| line.starts_with(&start)).collect();
    shown(&lines)
}

#[test]
fn health_is_one_word_and_what_is_wrong() {
    assert_eq!(
        example("health"),
        "\
TIME (UTC)           HEALTH         ERRORS  RESPONSE    CPU  MEMORY  REQUESTS  NOTES
2026-03-01 10:00:00  not healthy      31 %    118 ms   41 %    55 %      1200  planner failed
2026-03-01 10:01:00  unknown             -         -      -       -         -  cannot run bin/health: no such file or directory
"
    );
}

#[test]
fn changes_signals_and_words_of_a_person_are_rows() {
    assert_eq!(
        example("change"),
        "\
TIME (UTC)           CHANGE                TARGET                            WHAT
2026-03-01 09:58:00  c1                    config:limits                     r41 -> r42, affects planner, not reversible, by deploy
2026-03-01 09:58:11  config-51c2f0a9e7d4   config                            019ca8f1-5a40-7d21-9c3e-0f4b6d2a91b7 -> 51c2f0a9e7d4, 1 path, by eco-verify
"
    );
    assert!(example("signal").contains("security_breach       raised   audit       -                                 since 2026-03-01 07:00:00"));
    assert!(example("operator").contains("hold       until 2026-03-01 11:00:00"));
}

#[test]
fn a_decision_says_why_and_whom_it_suspects() {
    let shown = example("decision");
    assert!(shown.contains("high      rollback     config:limits                     p2        2026-03-01 11:02:00\n"), "{shown}");
    assert!(shown.contains("    because    errors-25: error_rate 0.31, limit > 0.25, held 2 min\n"), "{shown}");
    assert!(shown.contains("    suspect    config:limits (change c1), 2 min before onset\n"), "{shown}");
}

#[test]
fn a_proposal_says_how_to_act_on_it_and_that_nobody_has() {
    let line = r#"{"type":"decision","time":"2026-03-01T10:02:00Z","id":"i-1","incident":"i","severity":"critical","action":"propose","scope":"full","snapshot":null,"notes":["hold"],"reminder":true,"overdue":true}"#;
    let shown = shown(&[line]);
    for part in [
        "critical  propose      full                              -         -\n",
        "notes      hold\n",
        "nobody has answered and the deadline has passed\n",
        "to act     eco-ctl approve i-1, or eco-restore --approve on this stream",
    ] {
        assert!(shown.contains(part), "{part}{shown}");
    }
}

#[test]
fn a_snapshot_shows_what_choosing_one_needs() {
    assert_eq!(
        example("snapshot"),
        "\
ID      TIME (UTC)                   AGE  KIND            HEALTH   GOOD  VERIFIED    FILES      SIZE  NOTES, WHERE
2a91b7  2026-03-01 08:30:00   3 h 30 min  daily           ok       yes   yes          8079   513 MiB  \
restore rehearsed 2026-03-01 12:00:00, /backups/shop-daily/shop-daily-20260301T083000Z-2a91b7.tar.gz
"
    );
}

#[test]
fn an_entry_reads_like_a_listing() {
    assert!(
        example("entry").contains("file      0640   shop:shop               3 B  2026-02-28 17:03:11  data/caf\\xe9.txt"),
        "{}",
        example("entry")
    );
}

#[test]
fn a_verification_names_every_damage_below_it() {
    let shown = example("verification");
    assert!(shown.contains("2a91b7  damaged      data         8079   513 MiB   410 ms  /backups/"), "{shown}");
    assert!(shown.contains("    damaged    data/a.db: digest\n"), "{shown}");
    assert!(example("difference").contains("2a91b7  metadata  config/limits.yaml (mode, mtime)"));
}

#[test]
fn a_plan_says_everything_before_the_question() {
    let shown = example("plan");
    for part in [
        "plan 9d4410: roll back config to snapshot 2a91b7\n",
        "    changes    1 created, 2 updated, 0 deleted; 57 the same, 0 preserved\n",
        "    to write   7.9 KiB\n",
        "    data       what was written in the last 1 h 33 min is set aside, not lost\n",
        "    service    stop with bin/shop stop, start with bin/shop start\n",
        "    verify     bin/selftest, then healthy within 60s\n",
        "    first      update  config/limits.yaml\n",
        "               … and 2 more\n",
    ] {
        assert!(shown.contains(part), "{part}{shown}");
    }
}

#[test]
fn a_step_is_ok_failed_or_not_checked_in_words() {
    let shown = example("step");
    assert!(shown.contains("swap              ok                3 ms\n"), "{shown}");
    assert!(shown.contains("selftest          not checked       0 ms  no [verify] command is configured\n"), "{shown}");
    let failed = r#"{"type":"step","time":"2026-03-01T10:03:01Z","restore":"r","step":"start","ok":false,"took_ms":9}"#;
    assert!(self::shown(&[failed]).contains("start             failed            9 ms"));
}

#[test]
fn a_completed_rollback_says_how_to_get_back() {
    let shown = example("restore");
    assert!(shown.contains("rollback 9d4410 of full completed, snapshot 2a91b7, decision 20260301T100000Z-1\n"), "{shown}");
    assert!(shown.contains("    time       2.3 s, service down 41 ms (38 ms of it its stop and start commands)\n"), "{shown}");
    assert!(shown.contains("    undo       eco-restore --undo 9d4410\n"), "{shown}");
}

#[test]
fn a_rollback_that_was_reverted_says_so_loudly_and_offers_no_undo() {
    let line = r#"{"type":"restore","time":"2026-03-01T10:03:02Z","id":"r","phase":"reverted","scope":"full","safety":"s","error":"not healthy"}"#;
    let shown = shown(&[line]);
    assert!(shown.contains("REVERTED: the tree from before is back"), "{shown}");
    assert!(shown.contains("why        not healthy") && !shown.contains("--undo"), "{shown}");
}

#[test]
fn a_check_shows_what_it_printed_only_if_it_failed() {
    let [head, failed, first, second] = example("gate").lines().map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(head, "TIME (UTC)           CHECK             RESULT       TOOK  WHY");
    assert_eq!(failed, "2026-03-01 09:50:00  tests             FAILED     41.2 s  bin/test ended with 1");
    assert_eq!([first.trim(), second.trim()], ["214 passed", "1 failed: orders are kept"]);
    let passed = shown(&[r#"{"type":"gate","time":"2026-03-01T09:50:00Z","check":"tests","ok":true,"took_s":41,"output":"214 passed"}"#]);
    assert!(passed.lines().count() == 2 && passed.contains("passed") && !passed.contains("214"), "{passed}");
}

#[test]
fn retention_is_read_by_what_happens_and_why() {
    assert_eq!(
        example("retention"),
        "\
WHAT       ID              AGE  KIND                SIZE  WHY
removed    2a91b7   3 h 30 min  daily            158 MiB  daily: 10 d old, kept 7 d
"
    );
    let line = r#"{"type":"retention","time":"2026-03-01T09:50:00Z","snapshot":"s1","keep":KEEP,"reasons":["one","two"],"removed":false}"#;
    for (keep, word) in [("true", "keep "), ("false", "remove "), ("true,\"set_aside\":true", "set aside ")] {
        let row = shown(&[&line.replace("KEEP", keep)]);
        assert!(row.lines().last().unwrap().starts_with(word) && row.ends_with("-  one; two\n"), "{row}");
    }
}

#[test]
fn control_says_what_was_done_to_whom() {
    assert!(example("control").contains("disable   module:planner                    ok               12 ms\n"), "{}", example("control"));
    let status = r#"{"type":"control","time":"2026-03-01T10:03:02Z","do":"status","ok":false,"took_ms":1}"#;
    assert!(shown(&[status]).contains("status    the service                       not running"));
}

#[test]
fn an_unknown_type_is_named_and_nothing_else() {
    assert_eq!(shown(&[r#"{"type":"weather","time":"2026-03-01T10:00:00Z"}"#]), "2026-03-01 10:00:00  weather\n");
}

#[test]
fn a_header_stands_where_the_kind_changes_and_only_there() {
    let change = r#"{"type":"change","time":"2026-03-01T10:00:00Z","target":"full"}"#;
    let signal = r#"{"type":"signal","time":"2026-03-01T10:00:00Z","signal":"cosmetic"}"#;
    let text = shown(&[change, change, signal, change]);
    assert_eq!(text.lines().filter(|line| line.starts_with("TIME")).count(), 3);
    assert_eq!(text.lines().filter(|line| line.is_empty()).count(), 2);
}

#[test]
fn nothing_in_a_record_reaches_the_terminal_raw() {
    let hostile = "\\u001b[2J\\u202e\\n|`<script>";
    let examples = include_str!("../../record/examples.ndjson");
    for line in examples.lines() {
        let line = line.replace("planner", hostile).replace("config", hostile).replace("data/", hostile).replace("no such file", hostile);
        let text = shown(&[line.as_str()]);
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    }
    let change = format!(r#"{{"type":"change","time":"2026-03-01T10:00:00Z","target":"{hostile}"}}"#);
    assert_eq!(shown(&[change.as_str()]).lines().count(), 2);
}

#[test]
fn colour_is_added_around_words_and_only_when_asked_for() {
    let line = r#"{"type":"step","time":"2026-03-01T10:03:01Z","restore":"r","step":"start","ok":false,"took_ms":9}"#;
    let coloured = rows(&mut Table::new(true, Box::new(|| None), Timestamp::UNIX_EPOCH), &[line]);
    assert!(coloured.contains("\x1b[31mfailed\x1b[0m"), "{coloured:?}");
    assert!(!shown(&[line]).contains('\x1b'));
}

#[test]
fn every_row_fits_every_terminal_and_no_id_is_broken() {
    let examples = include_str!("../../record/examples.ndjson");
    let wide = "\"snapshot\":\"019ca8f1-5a40-7d21-9c3e-0f4b6d2a91b7\",\"path\":\"模块/🎉/";
    for width in [40, 60, 80, 120, 200] {
        let mut table = Table::new(false, Box::new(move || Some(width)), Timestamp::UNIX_EPOCH);
        for line in examples.lines() {
            for line in
                [line.to_owned(), line.replace("data/", "数据/").replace("planner", &"模块".repeat(30)), line.replace("\"path\":\"/backups/", wide)]
            {
                let text = rows(&mut table, &[&line]);
                for row in text.lines() {
                    assert!(row.width() <= width && !row.ends_with(' '), "{width} columns: {row:?}\n{text}");
                }
            }
        }
    }
    let of = |kind: &str| examples.lines().find(|line| line.contains(&format!("\"type\":\"{kind}\""))).unwrap();
    for (kind, words) in [("verification", "2a91b7  damaged"), ("snapshot", "2a91b7"), ("restore", "eco-restore --undo 9d4410\n")] {
        let mut narrow = Table::new(false, Box::new(|| Some(40)), Timestamp::UNIX_EPOCH);
        let text = rows(&mut narrow, &[of(kind)]);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_new_width_brings_a_new_header() {
    use std::cell::Cell;
    use std::rc::Rc;
    let width = Rc::new(Cell::new(120));
    let asked = width.clone();
    let mut table = Table::new(false, Box::new(move || Some(asked.get())), Timestamp::UNIX_EPOCH);
    let line = r#"{"type":"health","time":"2026-03-01T10:00:00Z","up":true}"#;
    assert!(rows(&mut table, &[line]).contains("REQUESTS"));
    width.set(60);
    let text = rows(&mut table, &[line, line]);
    assert!(text.matches("TIME").count() == 1 && !text.contains("REQUESTS"), "{text}");
}

#[test]
fn who_verifies_sees_one_row_for_an_archive_and_what_they_come_to() {
    let examples = include_str!("../../record/examples.ndjson");
    let mut table = Table::new(false, Box::new(|| None), "2026-03-01T12:00:00Z".parse().unwrap());
    table.is_for("verification");
    for line in examples.lines().filter(|line| line.contains("\"type\":\"snapshot\"")) {
        let line = Line::parse(1, line.into());
        assert_eq!(table.forwarded(&line.stamp, &line.record), "");
    }
    let found = examples.lines().find(|line| line.contains("\"type\":\"verification\"")).unwrap();
    let text = rows(&mut table, &[found]);
    assert!(text.contains("2a91b7   3 h 30 min  daily           damaged "), "{text}");
    assert!(table.end().starts_with("\n1 snapshot: 1 damaged. What is damaged is never restored: "), "{}", table.end());
}

#[test]
fn what_the_record_and_its_probe_say_is_said_once() {
    let line = r#"{"type":"health","time":"2026-03-01T10:00:00Z","up":false,"error":"refused","probes":[{"probe":"http","ok":false,"took_ms":1,"error":"refused"}]}"#;
    assert!(shown(&[line]).ends_with("  http failed: refused\n"), "{}", shown(&[line]));
}
