//! eco-report: flags, exit codes, messages, and the two ways in which the report leaves it.

use crate::harness::World;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const INCIDENT: &str = r#"{"type":"snapshot","time":"2026-03-01T08:30:00Z","ecosystem":"shop","id":"p2","kind":"daily","verified":true,"path":"/b/p2.tar.gz"}
{"type":"health","time":"2026-03-01T10:00:00Z","ecosystem":"shop","up":true,"requests":1200,"error_rate":0.5}
{"type":"health","time":"2026-03-01T10:01:00Z","ecosystem":"shop","up":true,"requests":1200,"error_rate":0.5}
{"type":"decision","time":"2026-03-01T10:02:00Z","ecosystem":"shop","id":"20260301T100000Z-1","incident":"20260301T100000Z","severity":"high","action":"rollback","scope":"full","snapshot":"p2","onset":"2026-03-01T10:00:00Z"}
{"type":"restore","time":"2026-03-01T10:03:00Z","ecosystem":"shop","id":"r1","phase":"started","decision":"20260301T100000Z-1","scope":"full","snapshot":"p2"}
{"type":"restore","time":"2026-03-01T10:03:02Z","ecosystem":"shop","id":"r1","phase":"completed","decision":"20260301T100000Z-1","scope":"full","snapshot":"p2","safety":"s1"}
{"type":"weather","time":"2026-03-01T10:03:03Z","ecosystem":"shop","sky":"blue"}
{"type":"health","time":"2026-03-01T10:04:00Z","ecosystem":"shop","up":true,"requests":1200,"error_rate":0.0}
{"type":"decision","time":"2026-03-01T10:09:00Z","ecosystem":"shop","id":"20260301T100000Z-2","incident":"20260301T100000Z","severity":"high","action":"resolved","scope":null,"snapshot":null}
"#;

const QUIET: &str = "{\"type\":\"health\",\"time\":\"2026-03-01T10:00:00Z\",\"up\":true}\n";

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eco-report"));
    command.args(words).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn feed(mut command: Command, input: &str) -> Output {
    let mut child = command.spawn().unwrap();
    // A program that ends early leaves its input; that is its right.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs the program over this stream: exit code, stdout, stderr.
fn run(words: &[&str], input: &str) -> (i32, String, String) {
    let output = feed(program(words), input);
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_report_takes_the_place_of_the_stream() {
    let (code, stdout, stderr) = run(&[], INCIDENT);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.starts_with("# Incident Report - shop - 2026-03-01\n"), "{stdout}");
    for part in ["- **Severity:** high\n", "- **System Restored:** 2026-03-01 10:04:00 (+4m)\n", "`eco-restore --undo s1`", "weather 1"] {
        assert!(stdout.contains(part), "{part}{stdout}");
    }
    assert!(!stdout.contains("\"type\""), "{stdout}");
}

#[test]
fn hazard_26_the_report_follows_from_the_stream_and_from_nothing_else() {
    let once = feed(program(&["-f", "md"]), INCIDENT);
    let mut later = program(&[]);
    later.env("ECO_NOW", "2030-01-01T00:00:00Z");
    assert_eq!(once.stdout, feed(later, INCIDENT).stdout);
}

#[test]
fn a_file_gets_the_report_and_stdout_the_stream_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("incident.md");
    let words = ["-o", file.to_str().unwrap()];
    let odd = format!("\n{}", INCIDENT.replace("\"ecosystem\":", "  \"ecosystem\" :"));
    let (code, stdout, stderr) = run(&words, &odd);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout, odd);
    let report = fs::read_to_string(&file).unwrap();
    assert_eq!(report, run(&[], &odd).1);
    assert_eq!(names(folder.path()), ["incident.md"]);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_old_report_is_replaced_whole_or_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("incident.md");
    fs::write(&file, "old\n".repeat(10_000)).unwrap();
    assert_eq!(run(&["-o", file.to_str().unwrap()], INCIDENT).0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), run(&[], INCIDENT).1);
}

#[test]
fn a_place_that_cannot_take_the_report_is_refused_before_the_stream_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(&["-o", folder.path().to_str().unwrap()], INCIDENT);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.ends_with("is a folder: name a file in it\n"), "{stderr}");
    let (code, _, stderr) = run(&["-o", folder.path().join("no/incident.md").to_str().unwrap()], INCIDENT);
    assert_eq!(code, 2);
    assert!(stderr.starts_with("eco-report: -o ") && stderr.ends_with("is in no folder that exists\n"), "{stderr}");
}

#[test]
fn a_stream_without_an_incident_gets_a_report_that_says_so_and_ends_with_1() {
    for input in [QUIET, ""] {
        let (code, stdout, stderr) = run(&[], input);
        assert_eq!((code, stderr.as_str()), (1, "eco-report: the stream holds no incident\n"));
        assert!(stdout.starts_with("# Incident Report - no incident\n"), "{stdout}");
    }
    assert_eq!(run(&["--quiet"], QUIET).2, "");
}

#[test]
fn lines_that_are_no_records_are_named_counted_and_end_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("incident.md");
    let input = format!("hello\n{INCIDENT}{{\"type\":\"step\",\"time\":\"2026-03-01T10:10:00Z\"}}\n");
    let (code, stdout, stderr) = run(&["-o", file.to_str().unwrap()], &input);
    assert_eq!((code, stdout.as_str()), (3, input.as_str()));
    assert_eq!(stderr, "eco-report: line 1 is not a record: not a JSON object\neco-report: line 11 is not a record: step: missing field `restore`\n");
    let report = fs::read_to_string(&file).unwrap();
    assert!(report.contains("- Lines that are no records: 2\n"), "{report}");
    assert!(report.contains("> **Attention:** Lines of the stream that are no records: 2. Facts may be missing.\n"), "{report}");
}

/// Another incident, four hours later, that nobody has ended.
fn two_incidents() -> String {
    let later: Vec<String> = INCIDENT.lines().take(4).map(|line| line.replace("T10:", "T14:").replace("20260301T10", "20260301T14")).collect();
    format!("{INCIDENT}{}\n", later.join("\n"))
}

#[test]
fn the_incidents_of_a_stream_are_listed_and_one_is_picked() {
    let (code, stdout, stderr) = run(&["--list"], &two_incidents());
    assert_eq!((code, stderr.as_str()), (0, ""));
    let rows: Vec<&str> = stdout.lines().collect();
    assert_eq!(rows.len(), 3, "{stdout}");
    assert!(rows[0].starts_with("ID ") && rows[1].starts_with("20260301T100000Z  resolved") && rows[2].ends_with("rollback decided, none begun"));
    let (_, stdout, _) = run(&["--list", "-f", "json"], &two_incidents());
    let list: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&list[0]["outcome"], &list[1]["state"]), (&"rolled back".into(), &"ongoing".into()));

    let (code, stdout, _) = run(&["--incident", "20260301T10"], &two_incidents());
    assert!(code == 0 && stdout.contains("- **Issue Began:** 2026-03-01 10:00:00 (+0s)\n"), "{stdout}");
    assert!(run(&[], &two_incidents()).1.contains("# Incident Report - shop - 2026-03-01 (ongoing)\n"));
    assert_eq!(run(&["--list"], QUIET), (1, String::new(), "eco-report: the stream holds no incident\n".into()));
    assert_eq!(run(&["--list", "-f", "json"], QUIET).1, "[]\n");
}

#[test]
fn an_id_that_means_none_ends_with_1_and_one_that_means_several_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("incident.md");
    let words = |id| ["-o", file.to_str().unwrap(), "--incident", id];
    let (code, stdout, stderr) = run(&words("2025"), &two_incidents());
    assert_eq!((code, stdout), (1, two_incidents()));
    assert_eq!(stderr, "eco-report: no incident of the stream is called 2025; it holds shop/20260301T140000Z and shop/20260301T100000Z\n");
    let (code, _, stderr) = run(&words("20260301T1"), &two_incidents());
    assert_eq!(code, 2);
    assert!(stderr.contains("may mean shop/20260301T140000Z and shop/20260301T100000Z"), "{stderr}");
    assert!(!file.exists());
}

#[test]
fn every_form_goes_to_stdout_and_to_a_file_alike() {
    let folder = tempfile::tempdir().unwrap();
    for (form, begins) in
        [("md", "# Incident Report - shop"), ("html", "<!DOCTYPE html>"), ("text", "Incident report - shop"), ("json", "{\n  \"state\"")]
    {
        let (code, stdout, stderr) = run(&["-f", form], INCIDENT);
        assert_eq!((code, stderr.as_str()), (0, ""), "{form}");
        assert!(stdout.starts_with(begins) && stdout.ends_with('\n'), "{form}: {stdout}");
        let file = folder.path().join(form);
        assert_eq!(run(&["-f", form, "-o", file.to_str().unwrap()], INCIDENT).0, 0);
        assert_eq!(fs::read_to_string(&file).unwrap(), stdout);
    }
}

#[test]
fn what_people_wrote_is_carried_over_into_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("incident.md");
    let words = ["-o", file.to_str().unwrap(), "--merge", file.to_str().unwrap()];
    assert_eq!(run(&words[..2], INCIDENT).0, 0);
    let first = fs::read_to_string(&file).unwrap();
    fs::write(&file, first.replace("<!-- keep:lessons -->\n*Not recorded: for a person to write.*", "<!-- keep:lessons -->\nTest *first*.")).unwrap();
    // Another incident has begun since: the report stays with its own.
    let (code, _, stderr) = run(&words, &two_incidents());
    assert_eq!((code, stderr.as_str()), (0, ""));
    let second = fs::read_to_string(&file).unwrap();
    assert!(second.contains("<!-- keep:lessons -->\nTest *first*.\n<!-- /keep:lessons -->\n"), "{second}");
    assert!(second.contains("- **Issue Began:** 2026-03-01 10:00:00 (+0s)\n"), "{second}");
    let (code, _, stderr) = run(&[&words[..], &["--incident", "20260301T14"]].concat(), &two_incidents());
    assert_eq!(code, 2);
    assert!(stderr.ends_with("is about another incident, shop/20260301T100000Z\n"), "{stderr}");
    let (code, _, stderr) = run(&words, QUIET);
    assert_eq!(code, 2);
    assert!(stderr.ends_with("is about incident shop/20260301T100000Z, which is not in the stream\n"), "{stderr}");
    // Nor is one that only begins like its own.
    let (code, _, stderr) = run(&words, &INCIDENT.replace("20260301T100000Z", "20260301T100000Z-b"));
    assert!(code == 2 && stderr.contains("which is not in the stream"), "{stderr}");
    assert_eq!(fs::read_to_string(&file).unwrap(), second);
    // Without its last line a report does not say which it is about.
    fs::write(&file, second.lines().filter(|line| !line.starts_with("<!-- eco-report:")).map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    let (code, _, stderr) = run(&words, INCIDENT);
    assert!(code == 2 && stderr.ends_with("its last line is gone; add --incident\n"), "{stderr}");
    assert_eq!(run(&[&words[..], &["--incident", "20260301T10"]].concat(), INCIDENT).0, 0);
    assert!(fs::read_to_string(&file).unwrap().contains("Test *first*.\n"));
}

#[test]
fn what_is_written_into_the_report_while_the_pipeline_runs_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("incident.md");
    let words = ["-o", file.to_str().unwrap(), "--merge", file.to_str().unwrap()];
    assert_eq!(run(&words[..2], INCIDENT).0, 0);
    let mut child = program(&words).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(INCIDENT.as_bytes()).unwrap();
    // The first lines come back: it has looked at the old report and reads the stream.
    let mut begun = [0; 1];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut begun).unwrap();
    let first = fs::read_to_string(&file).unwrap();
    fs::write(&file, first.replace("<!-- keep:impact -->\n", "<!-- keep:impact -->\nNobody could pay.\n")).unwrap();
    drop(stdin);
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(fs::read_to_string(&file).unwrap().contains("Nobody could pay.\n"));
}

#[test]
fn a_damaged_old_report_is_refused_before_the_stream_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.md"), folder.path().join("new.md"));
    let words = ["--merge", old.to_str().unwrap(), "-o", new.to_str().unwrap()];
    for (text, why) in [
        ("<!-- keep:lessons -->\nlost?\n", "line 1: keep:lessons begins here and does not end"),
        ("<!-- keep:a -->\n<!-- /keep:a -->\n<!-- keep:a -->\n<!-- /keep:a -->\n", "line 3: keep:a is there twice"),
        ("# My notes\n", "it is no report in Markdown that eco-report wrote: nothing in it is marked to be kept"),
    ] {
        fs::write(&old, text).unwrap();
        let (code, stdout, stderr) = run(&words, INCIDENT);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert_eq!(stderr, format!("eco-report: --merge {}: {why}\n", old.display()));
        assert!(!new.exists() && fs::read_to_string(&old).unwrap() == text);
    }
    fs::remove_file(&old).unwrap();
    assert_eq!(run(&words, INCIDENT).0, 2);
    fs::write(&old, run(&[], INCIDENT).1).unwrap();
    let same = ["-f", "html", "--merge", old.to_str().unwrap(), "-o", old.to_str().unwrap()];
    assert_eq!(run(&same, INCIDENT).0, 2, "the text would be lost to the next merge");
    assert_eq!(run(&["--merge", "-"], INCIDENT).0, 2);
}

#[test]
fn charts_go_to_a_folder_and_the_report_links_them() {
    let folder = tempfile::tempdir().unwrap();
    let (file, assets) = (folder.path().join("incident.md"), folder.path().join("charts"));
    let words = ["-o", file.to_str().unwrap(), "--assets", assets.to_str().unwrap()];
    let (code, _, stderr) = run(&words, INCIDENT);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let report = fs::read_to_string(&file).unwrap();
    let linked: Vec<&str> = report.lines().filter_map(|line| line.strip_prefix("![")?.rsplit_once("](")?.1.strip_suffix(')')).collect();
    assert!(linked.contains(&"charts/story.svg") && linked.contains(&"charts/errors.svg"), "{report}");
    assert_eq!(linked.len(), names(&assets).len());
    for link in linked {
        assert!(fs::read_to_string(folder.path().join(link)).unwrap().starts_with("<svg"), "{link}");
    }
    assert_eq!(run(&["--assets", folder.path().join("no/charts").to_str().unwrap()], INCIDENT).0, 2);
    assert_eq!(run(&["-f", "json", "--assets", assets.to_str().unwrap()], INCIDENT).0, 2);
}

#[test]
fn a_chart_that_cannot_be_written_does_not_cost_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let (file, charts) = (folder.path().join("incident.md"), folder.path().join("charts"));
    fs::create_dir_all(charts.join("story.svg")).unwrap();
    let (code, _, stderr) = run(&["-o", file.to_str().unwrap(), "--assets", charts.to_str().unwrap()], INCIDENT);
    assert!(code == 3 && stderr.contains("story.svg"), "{code} {stderr}");
    assert!(fs::read_to_string(&file).unwrap().contains("## Timeline"));
}

#[test]
fn numbers_that_no_scale_can_hold_are_no_reason_to_wait() {
    let huge = INCIDENT.replace("\"error_rate\":0.5", "\"error_rate\":0.5,\"response_ms\":1.7e308").replace("0.0}", "0.0,\"response_ms\":120}");
    assert_ne!(huge, INCIDENT);
    let (code, stdout, stderr) = run(&["-f", "html"], &huge);
    assert!(code == 0 && stdout.ends_with("</html>\n"), "{stderr}");
}

#[test]
fn the_contacts_of_the_service_head_its_report_and_no_other() {
    let world = World::new();
    world.config("[contacts]\non-call = \"555 0101\"\n");
    let head = "**Contacts:**\n\n- on-call: 555 0101\n";
    assert!(world.run("eco-report").stdin(INCIDENT).exits(0).stdout.contains(head));
    let other = INCIDENT.replace("\"shop\"", "\"bank\"");
    assert!(!world.run("eco-report").stdin(other).exits(0).stdout.contains("Contacts"));
    // A configuration that nobody named must not cost the report; one that somebody named is to be right.
    world.write("eco.toml", "[contact]\n");
    let ran = world.run("eco-report").stdin(INCIDENT).exits(0);
    assert!(ran.stderr.starts_with("eco-report: the report names no contacts: ") && ran.stdout.starts_with("# Incident Report"), "{}", ran.stderr);
    world.run("eco-report").args(["-c", "eco.toml"]).stdin(INCIDENT).exits(2);
}

#[test]
fn unknown_words_end_with_2() {
    for words in [["-f", "pdf"], ["--no-such", "flag"], ["--list", "--merge=a"], ["--list", "-fhtml"]] {
        let (code, stdout, _) = run(&words, INCIDENT);
        assert_eq!((code, stdout.as_str()), (2, ""), "{words:?}");
    }
}

#[test]
fn a_full_disk_behind_stdout_is_no_success() {
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else {
        eprintln!("SKIPPED: there is no /dev/full here");
        return;
    };
    let mut command = program(&[]);
    command.stdout(full);
    let output = feed(command, INCIDENT);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stderr), "eco-report: cannot write <stdout>: no space left on device\n");
    // The same for a report that goes to such a device by name.
    let (code, _, stderr) = run(&["-o", "/dev/full"], INCIDENT);
    assert_eq!((code, stderr.as_str()), (3, "eco-report: cannot write /dev/full: no space left on device\n"));
    assert!(!fs::metadata("/dev/full").unwrap().is_file());
}

#[test]
fn a_stream_that_breaks_off_still_gets_a_report_of_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(&[]);
    command.stdin(fs::File::open(folder.path()).unwrap());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stderr), "eco-report: cannot read <stdin>: is a directory\n");
    assert!(text(&output.stdout).contains("> **Attention:** The stream could not be read to its end (cannot read &lt;stdin>: is a directory)."));
    // A full disk behind the copied stream does not cost the report either.
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else {
        eprintln!("SKIPPED: there is no /dev/full here");
        return;
    };
    let file = folder.path().join("incident.md");
    let mut command = program(&["-o", file.to_str().unwrap()]);
    command.stdout(full);
    assert_eq!(feed(command, INCIDENT).status.code(), Some(3));
    assert!(fs::read_to_string(&file).unwrap().starts_with("# Incident Report"));
}

#[test]
fn a_reader_that_leaves_ends_the_listing_quietly_but_not_the_report() {
    let mut child = program(&[]).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(INCIDENT.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("incident.md");
    let mut child = program(&["-o", file.to_str().unwrap()]).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(INCIDENT.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&file).unwrap(), run(&[], INCIDENT).1);
}

/// Runs a shell line with a terminal as stdin, stdout and stderr; `None` where `script` is not installed.
fn at_a_terminal(line: &str) -> Option<(i32, String)> {
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_eco-report"));
    let run = Command::new("script").args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null()).output();
    match run {
        Ok(output) => Some((output.status.code().unwrap_or(-1), text(&output.stdout))),
        Err(e) => {
            eprintln!("SKIPPED: nothing can be run at a terminal without script(1): {e}");
            None
        }
    }
}

#[test]
fn at_a_terminal_it_says_what_to_give_it_instead_of_waiting() {
    let Some((code, shown)) = at_a_terminal("") else { return };
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("eco-report: nothing to read: stdin is a terminal; give it a recorded stream, as in: eco-report <"), "{shown}");
}

#[test]
fn with_a_file_a_terminal_shows_tables_instead_of_records() {
    let folder = tempfile::tempdir().unwrap();
    let stream = folder.path().join("stream.ndjson");
    fs::write(&stream, INCIDENT).unwrap();
    let line = format!("-o {} < {}", folder.path().join("a.md").display(), stream.display());
    let Some((code, shown)) = at_a_terminal(&line) else { return };
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("HEALTH") && shown.contains("\x1b[") && !shown.contains("\"type\""), "{shown}");
    assert!(run(&["--human", "-o", folder.path().join("b.md").to_str().unwrap()], INCIDENT).1.starts_with("ID      TIME (UTC)"));
}

#[test]
fn the_page_explains_every_flag() {
    let page = include_str!("../man/eco-report.1");
    let help = run(&["--help"], "").1;
    let flags: Vec<&str> = help.split_whitespace().filter_map(|word| word.strip_prefix("--")).collect();
    assert!(flags.len() > 8, "{help}");
    for flag in flags {
        assert!(page.contains(&format!("Fl Fl {flag}")), "the page lacks --{flag}");
    }
}
