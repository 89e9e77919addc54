//! What people see at a terminal: tables that fit it, colour that can be done without, questions and their answers, and a line about
//! long work that leaves nothing behind.

use crate::harness::{Dice, Terminal, World, latin1};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

const WIDTHS: [u16; 5] = [40, 60, 80, 120, 200];

/// The tail of an id, by which tables name it.
fn tail(record: &Value) -> String {
    let id = record["id"].as_str().unwrap();
    id[id.len() - 6..].to_owned()
}

fn decision(id: &str, action: &str) -> Value {
    json!({"type": "decision", "time": "2026-03-01T10:00:00Z", "id": id, "incident": "i1", "severity": "critical", "action": action,
        "scope": "full", "snapshot": null, "cut": "2999-01-01T00:00:00Z", "reasons": [], "suspects": []})
}

/// Writes what a program will read.
fn input(world: &World, records: &[Value]) -> String {
    let file = world.folder().join("input");
    fs::write(&file, records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
    format!("< {}", file.display())
}

/// What of it a terminal would act on, where there are no colours.
fn commands(written: &str) -> String {
    written.chars().filter(|letter| letter.is_control() && !matches!(letter, '\r' | '\n') || *letter == '\u{202e}').collect()
}

#[test]
fn every_table_fits_every_terminal_and_no_id_is_broken() {
    let world = World::service();
    let first = world.good();
    world.spoil();
    let second = world.run("eco-snap").args(["--kind", "pre-deployment"]).exits(0).only();
    let stream = input(&world, &[first.clone(), second.clone()]);
    for columns in WIDTHS {
        for (words, redirect, code) in [
            ("eco-ls", "", 0),
            ("eco-ls latest-good --files", "", 0),
            ("eco-ls --diff latest-good latest", "", 1),
            ("eco-verify", stream.as_str(), 0),
            ("eco-verify --live latest-good", "", 1),
            ("eco-prune", &stream, 0),
            ("eco-snap --kind weekly", "", 0),
            ("eco-restore latest-good --dry-run", "", 0),
            ("eco-health", "", 0),
            ("eco-ctl status", "", 0),
            ("eco-ctl disable module:recommend", "", 0),
        ] {
            let mut words = words.split(' ');
            let run = world.run(words.next().unwrap()).args(words.clone());
            let screen = Terminal::open(&run, columns, redirect).ends().exits(code);
            let lines = &screen.lines;
            // Sentences on stderr are the terminal's to fold.
            let tables: String = screen.written.split("\r\n").filter(|line| !line.starts_with("eco-")).map(|line| format!("{line}\n")).collect();
            let mut page = vt100::Parser::new(400, columns, 0);
            page.process(tables.replace('\n', "\r\n").as_bytes());
            assert!(!(0..400).any(|row| page.screen().row_wrapped(row)), "{words:?} at {columns}:\n{lines:#?}");
            assert!(lines.len() > 1 || lines[0].starts_with("eco-"), "{words:?} at {columns}:\n{lines:#?}");
        }
        for (name, redirect) in [("eco-ls", ""), ("eco-verify", stream.as_str()), ("eco-prune", &stream)] {
            let text = Terminal::open(&world.run(name), columns, redirect).ends().text();
            assert!(text.contains(&tail(&first)) && text.contains(&tail(&second)), "{name} at {columns}:\n{text}");
        }
    }
}

#[test]
fn a_person_who_looks_for_a_snapshot_sees_which_is_good_how_old_it_is_and_what_there_is() {
    let world = World::service();
    world.at("2026-03-01T08:00:00Z");
    let good = tail(&world.good());
    world.at("2026-03-01T09:15:00Z").run("eco-snap").args(["--kind", "daily"]).exits(0);
    world.at("2026-03-01T10:00:00Z");
    let screen = Terminal::open(&world.run("eco-ls"), 60, "").ends().exits(0);
    let row = screen.lines.iter().find(|line| line.starts_with(&good)).unwrap();
    assert_eq!(row.split_whitespace().take(5).collect::<Vec<_>>(), [&good, "2", "h", "manual", "yes"], "{}", screen.text());
    assert!(screen.lines.iter().any(|line| line.contains("45 min  daily           no")), "{}", screen.text());
    let end = screen.lines.iter().rposition(String::is_empty).unwrap();
    assert!(screen.lines[end + 1].starts_with("2 snapshots, one of them good, 2 h old; "), "{}", screen.text());
    // Into a pipe there are records, and nothing was added to them.
    assert_eq!(world.run("eco-ls").exits(0).records().len(), 2);
}

#[test]
fn colour_is_for_those_who_want_it_and_says_nothing_that_words_do_not() {
    let world = World::service();
    world.good();
    let at = |variables: &[(&str, &str)]| {
        let run = variables.iter().fold(world.run("eco-ls"), |run, (name, value)| run.env(name, value));
        Terminal::open(&run, 100, "").ends().exits(0)
    };
    let coloured = at(&[]);
    assert!(coloured.written.contains("\x1b[32m"), "{:?}", coloured.written);
    for variables in [&[("NO_COLOR", "1")][..], &[("CLICOLOR", "0")], &[("TERM", "dumb")], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]] {
        let plain = at(variables);
        assert!(!plain.written.contains('\x1b'), "{variables:?}: {:?}", plain.written);
        assert_eq!(plain.lines[0], coloured.lines[0]);
    }
    assert!(at(&[("NO_COLOR", "")]).written.contains("\x1b[32m"), "an empty one counts as none");
    let piped = |force: &str| world.run("eco-ls").arg("--human").env("CLICOLOR_FORCE", force).exits(0).stdout;
    assert!(piped("1").contains("\x1b[32m") && !piped("0").contains('\x1b'));
    assert!(!world.run("eco-ls").env("CLICOLOR_FORCE", "1").exits(0).stdout.contains('\x1b'), "records are never coloured");
}

#[test]
fn into_a_pipe_tables_are_whole_unless_the_readers_page_has_a_width() {
    let world = World::service();
    world.good();
    let shown = |columns: &str| world.run("eco-ls").arg("--human").env("COLUMNS", columns).exits(0).stdout;
    assert!(shown("").contains(".tar.gz\n") && shown("").contains("HEALTH"), "{}", shown(""));
    assert!(shown("50").lines().all(|line| line.chars().count() <= 50), "{}", shown("50"));
}

#[test]
fn names_cannot_act_on_the_terminal_and_wide_ones_break_no_column() {
    let world = World::service();
    let names = ["data/red\x1b[31m\nline", "data/back\u{202e}wards", "data/日本語の長い名前のファイル.db", "data/🎉.txt", "data/bell\x07\u{9b}1A"];
    for name in names {
        world.write(name, "x");
    }
    world.write(latin1(), "x");
    world.good();
    names.iter().for_each(|name| fs::remove_file(world.path(name)).unwrap());
    for columns in [40, 80] {
        for words in ["eco-ls latest-good --files", "eco-restore latest-good --dry-run", "eco-verify --live latest-good"] {
            let mut words = words.split(' ');
            let run = world.run(words.next().unwrap()).args(words.clone()).env("NO_COLOR", "1");
            let screen = Terminal::open(&run, columns, "").ends();
            assert_eq!(commands(&screen.written), "", "{words:?}: {:?}", screen.written);
        }
    }
    let text = Terminal::open(&world.run("eco-ls").args(["latest-good", "--files"]), 120, "").ends().text();
    for name in ["data/red\\u{1b}[31m\\nline", "data/back\\u{202e}wards", "data/日本語の長い名前のファイル.db", "data/🎉.txt", "data/caf\\xe9"]
    {
        assert!(text.contains(name), "{name}:\n{text}");
    }
    // The columns before a wide name are where they are before any other.
    let starts: Vec<usize> = text.lines().filter_map(|line| line.find("  data/")).collect();
    assert!(starts.len() > 5 && starts.iter().all(|start| *start == starts[0]), "{starts:?}\n{text}");
    // An error names it, too.
    let screen = Terminal::open(&world.run("eco-ls").arg("no\x1b[2Jsuch\u{202e}"), 80, "").ends().exits(1);
    assert_eq!(commands(&screen.written), "");
}

#[test]
fn who_asks_for_a_rollback_sees_the_plan_and_is_asked_and_only_a_yes_is_one() {
    let world = World::service();
    let good = world.good();
    world.spoil();
    let broken = world.tree("config");
    for (keys, code, words) in [
        ("n\r", 1, "eco-restore: nothing was changed"),
        ("\r", 1, "eco-restore: nothing was changed"),
        ("yess\r", 1, "eco-restore: nothing was changed"),
        ("\x04", 1, "eco-restore: nothing was changed"),
        ("\x03", 3, "eco-restore: interrupted by a signal; nothing was changed"),
    ] {
        let mut terminal = Terminal::open(&world.run("eco-restore").arg("latest-good"), 100, "");
        terminal.writes("Roll back full? [y/N] ");
        terminal.press(keys);
        let screen = terminal.ends().exits(code);
        let (plan, end) = (&screen.lines[0], screen.lines.last().unwrap());
        assert!(plan.contains(&format!("roll back full to snapshot {} (manual, ", tail(&good))), "{}", screen.text());
        assert_eq!(end, words, "{keys:?}:\n{}", screen.text());
        broken.same_as(&world.tree("config"));
    }
    let mut terminal = Terminal::open(&world.run("eco-restore").arg("latest-good"), 100, "");
    terminal.writes("Roll back full? [y/N] ");
    terminal.press("yes\r");
    let screen = terminal.ends().exits(0);
    let text = screen.text();
    for words in ["changes ", "to write ", "data ", "undo       eco-restore --undo ", "create  ", "delete  ", "update  "] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    for step in ["preflight", "stage", "stop", "swap", "start", "selftest"] {
        assert!(screen.lines.iter().any(|line| line.contains(&format!("  {step} ")) && line.contains("  ok  ")), "{step}:\n{text}");
    }
    assert!(text.contains(" completed, snapshot ") && text.contains("service down "), "{text}");
    assert_eq!(world.read("config/state"), "well\n");
    // What the last block says to type works.
    let undo = screen.lines.iter().rev().find_map(|line| line.trim().strip_prefix("undo       eco-restore ")).unwrap();
    let mut terminal = Terminal::open(&world.run("eco-restore").args(undo.split(' ')), 100, "");
    terminal.writes("Undo the rollback of full? [y/N] ");
    terminal.press("y\r");
    terminal.ends().exits(0);
    broken.same_as(&world.tree("config"));
    // Who says yes beforehand is not asked.
    let screen = Terminal::open(&world.run("eco-restore").args(["latest-good", "--yes"]), 100, "").ends().exits(0);
    assert!(!screen.written.contains("[y/N]"), "{}", screen.text());
}

#[test]
fn a_proposal_is_asked_about_at_the_terminal_with_the_plan_whatever_stdin_is() {
    let world = World::service();
    let good = world.good();
    world.spoil();
    let broken = world.tree("config");
    let proposed = input(&world, &[decision("d1", "propose")]);
    // Not even --yes is a yes to what nobody has seen yet.
    for words in [&[][..], &["--yes"]] {
        let mut terminal = Terminal::open(&world.run("eco-restore").args(words), 100, &proposed);
        terminal.writes("Roll back full? [y/N] ");
        terminal.press("n\r");
        let screen = terminal.ends().exits(1);
        let text = screen.text();
        assert!(text.contains(&format!("roll back full to snapshot {}", tail(&good))) && text.contains("nothing was changed"), "{text}");
        assert!(text.contains("decision d1 names no snapshot: the newest good one of full at or before "), "{text}");
        broken.same_as(&world.tree("config"));
    }
    // A no here is no end of the proposal: somebody else may agree on the stream.
    let word = json!({"type": "operator", "time": "2026-03-01T10:05:00Z", "do": "approve", "decision": "d1"});
    let agreed = input(&world, &[decision("d1", "propose"), word]);
    let mut terminal = Terminal::open(&world.run("eco-restore"), 100, &agreed);
    terminal.writes("Roll back full? [y/N] ");
    terminal.press("n\r");
    let text = terminal.ends().exits(1).text();
    assert!(text.contains("completed") && world.read("config/state") == "well\n", "{text}");

    world.spoil();
    let mut terminal = Terminal::open(&world.run("eco-restore"), 100, &input(&world, &[decision("d2", "propose")]));
    terminal.writes("Roll back full? [y/N] ");
    terminal.press("y\r");
    terminal.ends().exits(0);
    assert_eq!(world.read("config/state"), "well\n");
    // A decision to roll back is not a question.
    world.spoil();
    let screen = Terminal::open(&world.run("eco-restore"), 100, &input(&world, &[decision("d3", "rollback")])).ends().exits(0);
    assert!(!screen.written.contains("[y/N]") && world.read("config/state") == "well\n", "{}", screen.text());
}

#[test]
fn what_takes_longer_says_how_far_it_is_and_leaves_nothing_behind() {
    let world = World::service();
    let mut dice = Dice::new(7);
    let noise: Vec<u8> = (0..16 << 20).flat_map(|_| (dice.roll(1 << 24) as u32).to_le_bytes()).collect();
    world.write("data/noise", noise);
    world.run("eco-snap").exits(0);
    // Held for longer than work may take unnoticed, in the middle of it.
    let slowly = |words: &[&str], redirect: &str| {
        let before = archives(&world.store());
        let terminal = Terminal::open(&world.run("eco-snap").args(words), 100, redirect);
        while archives(&world.store()) == before {
            thread::sleep(Duration::from_millis(1));
        }
        let pid = rustix::process::Pid::from_raw(terminal.pid() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        thread::sleep(Duration::from_millis(700));
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
        terminal
    };
    let screen = slowly(&["--full", "--rehash"], "").ends().exits(0);
    assert!(screen.written.contains(" reading ") && !screen.text().contains("reading"), "{:?}", screen.written);
    // A snapshot from before tells how much there is.
    let screen = slowly(&["--differential", "--rehash"], "").ends().exits(0);
    assert!(!screen.text().contains("reading"), "{}", screen.text());
    for words in [&["--full", "--no-progress"][..], &["--full", "-q"]] {
        let screen = slowly(words, "").ends().exits(0);
        assert!(!screen.written.contains("reading"), "{:?}", screen.written);
    }
    // A pipe gets its records, and the line is on stderr all the same.
    let records = world.folder().join("records");
    let screen = slowly(&["--full"], &format!("> {}", records.display())).ends().exits(0);
    assert!(screen.written.contains(" of ") && screen.lines.is_empty(), "{:?}", screen.written);
    let record: Value = serde_json::from_str(&fs::read_to_string(records).unwrap()).unwrap();
    assert_eq!(record["type"], "snapshot");
    // Who gives up finds the screen as it was.
    let mut terminal = slowly(&["--full"], "");
    terminal.press("\x03");
    let screen = terminal.ends().exits(3);
    assert!(screen.lines.iter().all(|line| line.starts_with("eco-snap: ") || line.contains("^C") || line.contains("signal")), "{}", screen.text());
}

/// Everything in the store, archives that are being written included.
fn archives(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { archives(&entry.path()) } else { 1 }).sum()
}

#[test]
fn a_series_follows_the_window_and_its_last_state_stays() {
    let world = World::service();
    let mut terminal = Terminal::open(&world.run("eco-health").args(["--every", "100ms"]), 100, "");
    terminal.writes("2 so far");
    terminal.resize(50);
    terminal.writes("6 so far");
    terminal.press("\x03");
    let screen = terminal.ends();
    let text = screen.text();
    // Whatever the state was: Ctrl-C reaches the command of a probe, too, if one runs just then.
    assert_eq!((text.matches("shop  ").count(), text.matches("last change").count()), (1, 1), "{text}");
    assert!(!screen.is_folded && screen.lines.iter().all(|line| line.chars().count() <= 50), "{text}");
    assert!(text.contains("so far, every 100ms"), "{text}");
}
