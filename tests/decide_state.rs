//! eco-decide --state: a stream that is cut anywhere, read again, or judged by a policy that has changed meanwhile; files that are
//! damaged, locked or cannot be written; and how much is remembered after a month.

use crate::harness::{Dice, Ran, Run, World, apart, not_shown};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

/// The minute that so many minutes are after the beginning of the tests' time.
fn time(minute: usize) -> String {
    // A day of its own for every 1440 minutes, counted on from the first of March.
    let days_of = [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28];
    let (mut day, mut month) = (minute / 1440, 0);
    while day >= days_of[month % 12] {
        day -= days_of[month % 12];
        month += 1;
    }
    let (year, month) = (2026 + (month + 2) / 12, (month + 2) % 12 + 1);
    format!("{year}-{month:02}-{:02}T{:02}:{:02}:00Z", day + 1, minute / 60 % 24, minute % 60)
}

fn line(kind: &str, minute: usize, fields: Value) -> String {
    let mut record = json!({"type": kind, "time": time(minute)});
    fields.as_object().unwrap().iter().for_each(|(key, value)| record[key] = value.clone());
    format!("{record}\n")
}

fn health(minute: usize, rate: f64) -> String {
    // A response time that is never the same twice, so that what is learned has many values.
    let ms = 100.0 + ((minute * 7919) % 1009) as f64 / 37.0;
    let modules = json!({"core": "ok", "ui": "ok"});
    line("health", minute, json!({"up": true, "requests": 1200, "error_rate": rate, "response_ms": ms, "cpu_usage": 0.4, "modules": modules}))
}

/// Two good hours, a blamed change, errors, the restore, health again, and complaints: something of everything.
fn story() -> Vec<String> {
    let mut lines = vec![line("snapshot", 0, json!({"id": "p1", "covers": ["full", "config"], "verified": true}))];
    lines.extend((0..120).map(|minute| health(minute, 0.01)));
    lines.push(line("change", 121, json!({"id": "c1", "target": "config:limits"})));
    lines.extend((122..126).map(|minute| health(minute, 0.31)));
    lines.push(line("restore", 126, json!({"phase": "completed", "scope": "config:limits"})));
    lines.extend((127..140).map(|minute| health(minute, 0.01)));
    for minute in 140..164 {
        if minute % 10 == 0 {
            lines.push(line("signal", minute, json!({"signal": "user_complaint", "source": "desk"})));
        }
        lines.push(health(minute, 0.01));
    }
    lines
}

fn decide<'w>(world: &'w World, words: &[&str], input: &str) -> Run<'w> {
    world.run("eco-decide").args(words).stdin(input)
}

fn state(world: &World) -> PathBuf {
    world.folder().join("state")
}

fn only(world: &World, input: &str) -> Ran {
    decide(world, &["--only", "--state", "../state"], input).exits(0)
}

#[test]
fn a_stream_that_is_cut_after_any_line_goes_on_as_if_it_were_whole() {
    let world = World::new();
    let (lines, mut said) = (story(), String::new());
    let whole = only(&world, &lines.concat());
    assert_eq!(whole.records().len(), 4, "{whole}");
    assert_eq!(whole.stderr, "");
    let remembered = fs::read(state(&world)).unwrap();
    assert_eq!(fs::metadata(state(&world)).unwrap().permissions().mode() & 0o777, 0o600);
    // One process for every line.
    fs::remove_file(state(&world)).unwrap();
    for line in &lines {
        said.push_str(&only(&world, line).stdout);
    }
    assert_eq!(said, whole.stdout);
    assert_eq!(fs::read(state(&world)).unwrap(), remembered, "deleting the file and replaying the stream gives the same file");
    // All of it again, and its end again.
    let again = only(&world, &lines.concat()).says("165 records were taken in by an earlier run, and were not counted again");
    assert_eq!(again.stdout, "");
    assert!(
        again.stderr.starts_with("eco-decide: line 2: it is older than what is remembered, which ends at 2026-03-01T02:43:00Z: passed over"),
        "{again}"
    );
    assert_eq!(again.stderr.lines().count(), 2, "{again}");
    assert_eq!(only(&world, &lines[lines.len() - 3..].concat()).stdout, "");
    assert_eq!(fs::read(state(&world)).unwrap(), remembered);
    // Nothing is known of what is only passed on.
    assert_eq!(decide(&world, &["--state", "../state"], &lines.concat()).exits(0).stdout, lines.concat());
}

#[test]
fn a_file_that_cannot_be_gone_on_from_is_named_and_left_alone() {
    let world = World::new();
    only(&world, &story().concat());
    let good = fs::read_to_string(state(&world)).unwrap();
    for (content, why) in [
        (good.replace("c1", "c2"), "it is damaged"),
        (good[..good.len() / 2].to_owned(), "it is damaged"),
        ("{\"type\":\"health\"}\n".into(), "it is no state"),
        (good.replacen("\"version\":1", "\"version\":7", 1), "a newer version wrote it (format 7, and this program knows 1)"),
    ] {
        fs::write(state(&world), &content).unwrap();
        let ran = decide(&world, &["--state", "../state"], &health(300, 0.0)).exits(2);
        let expected = format!("eco-decide: cannot go on from {}: {why}", state(&world).display());
        assert!(ran.stderr.starts_with(&expected) && ran.stderr.contains("move this one away, and replay the saved stream"), "{ran}");
        assert_eq!((ran.stdout.as_str(), fs::read_to_string(state(&world)).unwrap()), ("", content));
    }
    world.write("notes.txt", "remember the milk\n");
    decide(&world, &["--state", "notes.txt"], "").exits(2).says("it is no state");
    assert!(!world.path("notes.txt.lock").exists(), "nothing is left beside what is not ours");
    for (path, why) in [("..", "is not a file"), ("../missing/state", "no such file or directory"), ("/dev/null", "is not a file")] {
        decide(&world, &["--state", path], "").exits(2).says(why);
    }
}

#[test]
fn a_policy_may_change_while_an_incident_is_open() {
    let world = World::new();
    let rules = |rate: &str| format!("[rules.high]\nerrors = {{ when = \"error_rate > {rate}\", for = \"2m\" }}\n");
    world.write("p.toml", rules("0.2"));
    let run = |input: String| decide(&world, &["--only", "--state", "../state", "-p", "p.toml"], &input).exits(0);
    let first = run((0..4).map(|minute| health(minute, 0.3)).collect());
    assert_eq!(first.only()["action"], "propose");
    world.write("p.toml", rules("0.25") + "cpu = { when = \"cpu_usage > 0.9\" }\n");
    let second = run((4..9).map(|minute| health(minute, 0.3)).collect());
    let expected = format!("eco-decide: {} was written under other rules: changed and starting over: errors; new: cpu\n", state(&world).display());
    assert_eq!((second.stderr.as_str(), second.stdout.as_str()), (expected.as_str(), ""), "the incident is neither over nor said again");
    let third = run((9..16).map(|minute| health(minute, 0.0)).collect());
    assert_eq!((third.stderr.as_str(), &third.only()["incident"]), ("", &first.only()["incident"]));
    assert_eq!(third.only()["action"], "resolved");
}

/// A running eco-decide that is fed line by line.
struct Live {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Live {
    fn start(world: &World, words: &[&str]) -> Live {
        let mut command = world.run("eco-decide").args(words).command();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Live { child, stdin, stdout }
    }

    /// Gives it a line, waits until that has come out again, and gives what came out before.
    fn feed(&mut self, line: &str) -> String {
        self.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let (mut before, mut seen) = (String::new(), String::new());
        while seen != line {
            before.push_str(&std::mem::take(&mut seen));
            assert_ne!(self.stdout.read_line(&mut seen).unwrap(), 0, "it ended early");
        }
        before
    }

    /// Its exit code and what it said, once its input has ended.
    fn end(mut self) -> (i32, String) {
        drop(self.stdin.take());
        std::io::copy(&mut self.stdout, &mut std::io::sink()).unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }
}

#[test]
fn two_programs_cannot_share_one_state() {
    let world = World::new();
    let mut first = Live::start(&world, &["--state", "../state"]);
    first.feed(&health(0, 0.0));
    let second = decide(&world, &["--state", "../state"], "").exits(3);
    assert!(second.stderr.contains("state.lock is locked by eco-decide, pid "), "{second}");
    assert!(second.stderr.contains("two programs cannot share one state"), "{second}");
    assert_eq!(first.end().0, 0);
    decide(&world, &["--state", "../state"], "").exits(0);
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_decision_is_saved_once_it_is_out_and_survives_a_kill() {
    let world = World::new();
    let lines = story();
    let whole = only(&world, &lines.concat());
    fs::remove_file(state(&world)).unwrap();
    let mut live = Live::start(&world, &["--state", "../state"]);
    // Up to the line after the decision, which brings the decision out.
    let mut said = String::new();
    let mut fed = 0;
    while said.is_empty() {
        said = live.feed(&lines[fed]);
        fed += 1;
    }
    until("it is saved without any further input", || fs::read_to_string(state(&world)).is_ok_and(|text| text.contains("20260301T020200Z-1")));
    live.signal(rustix::process::Signal::KILL);
    live.child.wait().unwrap();
    // The line after the decision may be lost with the process; whoever sends it again does no harm.
    let rest = only(&world, &lines[fed - 1..].concat());
    assert_eq!(said + &rest.stdout, whole.stdout);
}

#[test]
fn a_signal_ends_it_with_everything_saved() {
    let world = World::new();
    let lines = story();
    only(&world, &lines[..60].concat());
    let expected = fs::read(state(&world)).unwrap();
    fs::remove_file(state(&world)).unwrap();
    let mut live = Live::start(&world, &["--state", "../state"]);
    lines[..60].iter().for_each(|line| drop(live.feed(line)));
    live.signal(rustix::process::Signal::TERM);
    let code = live.child.wait().unwrap().code();
    let (_, said) = live.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("interrupted by a signal; the same command goes on from"), "{said}");
    assert_eq!(fs::read(state(&world)).unwrap(), expected);
}

#[test]
fn where_the_state_cannot_be_written_decisions_go_on_and_the_end_says_so() {
    let world = World::new();
    let folder = world.folder().join("gone");
    fs::create_dir(&folder).unwrap();
    let mut live = Live::start(&world, &["--state", "../gone/state"]);
    live.feed(&health(0, 0.0));
    fs::remove_dir_all(&folder).unwrap();
    let said: String = (1..9).map(|minute| live.feed(&health(minute, 0.4))).collect();
    assert_eq!(said.matches("\"type\":\"decision\"").count(), 1, "{said}");
    let (code, complaint) = live.end();
    assert_eq!(code, 3, "{complaint}");
    assert_eq!(complaint.matches("decisions go on, but what they rest on is not saved").count(), 1, "{complaint}");
    assert!(complaint.ends_with("is not saved: it does not know the end of this stream\n"), "{complaint}");
}

#[test]
fn a_full_disk_costs_the_state_and_no_decision() {
    apart("decide_state::a_full_disk_costs_the_state_and_no_decision", "a state on a full disk", || {
        let world = World::new();
        let small = world.folder().join("small");
        if !world.mount("mount", &["-t", "tmpfs", "-o", "size=8k", "tmpfs"], &small) {
            return not_shown("a state on a full disk", "no small filesystem can be mounted");
        }
        let whole = only(&world, &story().concat());
        let ran = decide(&world, &["--only", "--state", "../small/state"], &story().concat()).exits(3).says("no space left on device");
        assert_eq!(ran.stdout, whole.stdout);
        assert_eq!(fs::read_dir(&small).unwrap().count(), 1, "nothing but the lock is left\n{ran}");
    });
}

// -- laws of the stream ----------------------------------------------------------------------------------------------

/// Lines of a story, shuffled with lines that are nothing.
fn garbage(dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    for line in story() {
        let odd: &[&[u8]] = &[
            b"",
            b"\r",
            b"hello",
            b"{",
            b"{\"type\":\"health\"}",
            b"\xff\xfe\x00\x01",
            b"[1,2]",
            b"{\"type\":\"weather\",\"time\":\"2026-03-01T00:00:00Z\"}",
            b"{\"type\":\"change\",\"time\":\"2026-03-01T00:00:00Z\",\"target\":7}",
            b"  \t",
        ];
        while dice.roll(4) == 0 {
            out.extend_from_slice(odd[dice.roll(odd.len())]);
            out.push(b'\n');
        }
        out.extend_from_slice(line.as_bytes());
    }
    if dice.roll(2) == 0 {
        out.extend_from_slice(b"no newline");
    }
    out
}

/// Feeds it in pieces of any length.
fn in_pieces(world: &World, words: &[&str], input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut live = Live::start(world, words);
    let mut stdin = live.stdin.take().unwrap();
    let (input, mut cuts) = (input.to_vec(), Vec::new());
    let mut at = 0;
    while at < input.len() {
        let longest = [3, 200, 5000][dice.roll(3)];
        at = (at + 1 + dice.roll(longest)).min(input.len());
        cuts.push(at);
    }
    let writer = std::thread::spawn(move || {
        let mut from = 0;
        for to in cuts {
            stdin.write_all(&input[from..to]).unwrap();
            from = to;
        }
    });
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut live.stdout, &mut out).unwrap();
    writer.join().unwrap();
    live.child.wait().unwrap();
    out
}

#[test]
fn what_comes_out_without_the_decisions_is_what_went_in_however_it_went_in() {
    let world = World::new();
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        let input = garbage(&mut dice);
        let out = in_pieces(&world, &["-q"], &input, &mut dice);
        let (decisions, mut rest): (Vec<&[u8]>, Vec<&[u8]>) =
            out.split_inclusive(|byte| *byte == b'\n').partition(|line| line.starts_with(b"{\"type\":\"decision\""));
        assert_eq!(rest.concat(), input, "stream {seed}");
        assert_eq!(decisions.len(), 4, "stream {seed}");
        rest.clear();
        assert!(in_pieces(&world, &["-q"], &input, &mut dice) == out, "stream {seed} in other pieces");
        fs::remove_file(state(&world)).ok();
        assert!(in_pieces(&world, &["-q", "--state", "../state"], &input, &mut dice) == out, "stream {seed} with a state");
    }
}

#[test]
fn two_ecosystems_in_one_stream_are_judged_as_if_each_were_alone() {
    let world = World::new();
    let of = |name: &str, lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.replacen("{", &format!("{{\"ecosystem\":\"{name}\","), 1)).collect()
    };
    let (ours, theirs) = (of("ours", &story()), of("theirs", &story()[40..]));
    let apart = |lines: &[String]| decide(&world, &["--only"], &lines.concat()).exits(0).stdout;
    let (alone, other) = (apart(&ours), apart(&theirs));
    for seed in 0..6 {
        let mut dice = Dice::new(seed);
        let (mut a, mut b, mut mixed) = (ours.iter().peekable(), theirs.iter().peekable(), Vec::new());
        while a.peek().is_some() || b.peek().is_some() {
            mixed.extend(if dice.roll(2) == 0 { a.next() } else { b.next() }.cloned());
        }
        let said = apart(&mixed);
        let of = |name: &str| {
            said.lines().filter(|line| line.contains(&format!("\"ecosystem\":\"{name}\""))).map(|line| format!("{line}\n")).collect::<String>()
        };
        assert_eq!((of("ours"), of("theirs")), (alone.clone(), other.clone()), "mix {seed}");
    }
}

// -- soak ------------------------------------------------------------------------------------------------------------

/// A day of one service, a sample a minute: a snapshot every six hours, a change, an incident with its rollback, alarms, a person.
fn day(number: usize) -> String {
    let mut out = String::new();
    for minute in 0..1440 {
        let at = number * 1440 + minute;
        if minute % 360 == 0 {
            out += &line("snapshot", at, json!({"id": format!("p{number}-{minute}"), "covers": ["data", "config", "modules"], "verified": true}));
        }
        match minute {
            600 => out += &line("change", at, json!({"id": format!("c{number}"), "target": format!("config:limits-{number}")})),
            606 => out += &line("restore", at, json!({"phase": "completed", "scope": format!("config:limits-{number}")})),
            900 | 960 => out += &line("signal", at, json!({"signal": "user_complaint", "source": "desk", "target": format!("module:m{number}")})),
            1000 => out += &line("operator", at, json!({"do": "reject"})),
            _ => {}
        }
        out += &health(at, if (602..606).contains(&minute) { 0.31 } else { 0.01 });
    }
    out
}

/// The most memory that a process has used so far.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap() << 10
}

/// Memory and size of the state after this day.
fn measure(live: &mut Live, state: &Path, last: &str) -> (u64, u64) {
    let marker = last.lines().last().unwrap().to_owned();
    // All of it has come out, so all of it was taken in; and soon it is saved.
    let mut seen = String::new();
    while seen.trim_end() != marker {
        seen.clear();
        assert_ne!(live.stdout.read_line(&mut seen).unwrap(), 0);
    }
    let newest: Value = serde_json::from_str(&marker).unwrap();
    let is_saved = || fs::read_to_string(state).is_ok_and(|text| text.contains(&format!("\"clock\":{}", newest["time"])));
    until("it is saved", is_saved);
    (peak(live.child.id()), fs::metadata(state).unwrap().len())
}

fn soak(days: usize) {
    let world = World::new();
    let mut live = Live::start(&world, &["--state", "../state"]);
    let began = Instant::now();
    let mut figures = Vec::new();
    for number in 0..days {
        let lines = day(number);
        let mut stdin = live.stdin.take().unwrap();
        let writer = std::thread::spawn({
            let lines = lines.clone();
            move || {
                stdin.write_all(lines.as_bytes()).unwrap();
                stdin
            }
        });
        if number == 1 || number + 1 == days {
            figures.push(measure(&mut live, &state(&world), &lines));
        } else {
            let marker = lines.lines().last().unwrap();
            let mut seen = String::new();
            while seen.trim_end() != marker {
                seen.clear();
                assert_ne!(live.stdout.read_line(&mut seen).unwrap(), 0);
            }
        }
        live.stdin = Some(writer.join().unwrap());
    }
    let took = began.elapsed();
    assert_eq!(live.end(), (0, String::new()));
    let [(early, early_size), (late, late_size)] = figures[..] else { panic!("{figures:?}") };
    let said = format!(
        "\n{days} days: most memory {} KiB after day 2, {} KiB at the end; state {early_size} and {late_size} bytes; {:.0} records a second\n",
        early >> 10,
        late >> 10,
        days as f64 * 1449.0 / took.as_secs_f64()
    );
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    assert!(late < early + (2 << 20), "{said}");
    // A day adds its four points, its change with its restore, its incident: hundreds of bytes, until the oldest make room.
    assert!(late_size < early_size + 1000 * days as u64 && late_size < 1 << 20, "{said}");
}

#[test]
fn after_a_month_it_needs_as_much_memory_as_after_two_days() {
    soak(30);
}

#[test]
#[ignore = "a year of records takes minutes: cargo test --test suite after_a_year -- --ignored"]
fn after_a_year_it_still_does() {
    soak(365);
}

#[test]
fn a_flood_of_names_through_the_real_program_is_bounded() {
    let world = World::new();
    let mut live = Live::start(&world, &["--only", "-q", "--state", "../state"]);
    let mut stdin = live.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let long = "x".repeat(100);
        for number in 0..1500 {
            let at = number / 10;
            let name = format!("{long}{number}");
            let mut text = line("change", at, json!({"id": name, "target": format!("config:{name}"), "ecosystem": "shop"}));
            text += &line("snapshot", at, json!({"id": name, "covers": ["full"], "ecosystem": "shop"}));
            text += &line("signal", at, json!({"signal": "security_breach", "target": format!("module:{name}"), "ecosystem": "shop"}));
            text += &line("health", at, json!({"up": true, "modules": {&name: "ok"}, "ecosystem": "shop"}));
            text += &line("health", at, json!({"up": true, "ecosystem": format!("e{number}")}));
            stdin.write_all(text.as_bytes()).unwrap();
        }
    });
    let (mut most, pid) = (0, live.child.id());
    while !writer.is_finished() {
        most = most.max(peak(pid));
        std::thread::sleep(Duration::from_millis(20));
    }
    writer.join().unwrap();
    let (code, _) = live.end();
    let size = fs::metadata(state(&world)).unwrap().len();
    let said = format!("\na flood of names: most memory {} KiB, state {} KiB\n", most >> 10, size >> 10);
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    assert_eq!(code, 3, "ecosystems that are not judged are no success");
    assert!(most < 96 << 20 && size < 16 << 20, "{said}");
}
