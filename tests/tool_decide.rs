//! eco-decide: streams in, decisions out, through the real program. Every case is run in one burst, line by line, and once
//! more over its own output; all three must say the same.

use crate::harness::keep_seen;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

// -- words for streams -----------------------------------------------------------------------------------------------

/// `10:02` or `10:00:20`, with `+1 ` before it for the day after, as a time of the tests' day.
fn at(clock: &str) -> String {
    let (day, clock) = clock.strip_prefix("+1 ").map_or(("2026-03-01", clock), |clock| ("2026-03-02", clock));
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    format!("{day}T{clock}{seconds}Z")
}

fn record(kind: &str, clock: &str, fields: Value) -> Value {
    let mut record = json!({"type": kind, "time": at(clock)});
    for (key, value) in fields.as_object().unwrap() {
        record[key] = value.clone();
    }
    record
}

fn minutes(clock: &str) -> u32 {
    clock[..2].parse::<u32>().unwrap() * 60 + clock[3..5].parse::<u32>().unwrap()
}

/// A record a minute, from the first clock to the last.
fn every_minute(first: &str, last: &str, fields: &Value) -> Vec<Value> {
    (minutes(first)..=minutes(last)).map(|m| record("health", &format!("{:02}:{:02}", m / 60, m % 60), fields.clone())).collect()
}

/// Healthy samples in which these fields differ.
fn health(first: &str, last: &str, changed: Value) -> Vec<Value> {
    let mut fields = json!({
        "up": true, "requests": 1200, "error_rate": 0.01, "response_ms": 120, "cpu_usage": 0.4, "memory_usage": 0.55,
        "modules": {"core": "ok", "planner": "ok", "memory": "ok", "tools": "ok", "ui": "ok"},
        "integrity": true, "integration": true,
    });
    for (key, value) in changed.as_object().unwrap() {
        if key == "failed" {
            for module in value.as_array().unwrap() {
                fields["modules"][module.as_str().unwrap()] = json!("failed");
            }
        } else {
            fields[key] = value.clone();
        }
    }
    every_minute(first, last, &fields)
}

fn well(first: &str, last: &str) -> Vec<Value> {
    health(first, last, json!({}))
}

fn errors(rate: f64, first: &str, last: &str) -> Vec<Value> {
    health(first, last, json!({"error_rate": rate}))
}

/// Samples that hold nothing but these fields.
fn only(first: &str, last: &str, fields: Value) -> Vec<Value> {
    every_minute(first, last, &fields)
}

fn down(first: &str, last: &str) -> Vec<Value> {
    only(first, last, json!({"up": false}))
}

fn change(clock: &str, target: &str) -> Vec<Value> {
    vec![record("change", clock, json!({"id": format!("c-{clock}"), "target": target}))]
}

fn point(clock: &str, id: &str) -> Vec<Value> {
    vec![record("snapshot", clock, json!({"id": id, "covers": ["data", "config", "modules"], "verified": true}))]
}

fn signal(clock: &str, name: &str, source: &str, more: Value) -> Vec<Value> {
    let mut signal = record("signal", clock, more);
    (signal["signal"], signal["source"]) = (json!(name), json!(source));
    vec![signal]
}

fn restored(clock: &str, phase: &str, scope: &str) -> Vec<Value> {
    vec![record("restore", clock, json!({"phase": phase, "scope": scope}))]
}

fn operator(clock: &str, verb: &str) -> Vec<Value> {
    vec![record("operator", clock, json!({"do": verb}))]
}

/// All parts in order of time; at the same instant health comes last.
fn stream(parts: &[Vec<Value>]) -> Vec<Value> {
    let mut records: Vec<Value> = parts.concat();
    records.sort_by_key(|r| (r["time"].as_str().unwrap().to_owned(), r["type"] == "health"));
    records
}

/// Two hours of health with two points in them, before whatever a case is about.
fn after_two_good_hours(parts: &[Vec<Value>]) -> Vec<Value> {
    let mut all = vec![point("02:00", "p1"), point("08:30", "p2"), well("08:00", "09:59")];
    all.extend_from_slice(parts);
    stream(&all)
}

// -- words for what comes out ----------------------------------------------------------------------------------------

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eco-decide"));
    // Not in a folder where somebody may have left an eco.toml.
    command.args(args).current_dir("/").env_clear().env("HOME", "/nonexistent");
    command
}

fn run(args: &[&str], given: &str) -> Output {
    let mut child = program(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), given.to_owned());
    let writer = std::thread::spawn(move || {
        // A program that needs no input may be gone already.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    keep_seen(&String::from_utf8_lossy(&output.stdout), given.as_bytes());
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// Gives the program a line only when it has shown what it made of the one before.
fn run_line_by_line(args: &[&str], input: &str) -> String {
    let mut child = program(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut seen = String::new();
    for line in input.lines() {
        writeln!(stdin, "{line}").unwrap();
        let mut echo = String::new();
        while echo.trim_end() != line {
            echo.clear();
            assert_ne!(stdout.read_line(&mut echo).unwrap(), 0, "the program ended early");
            seen.push_str(&echo);
        }
    }
    drop(stdin);
    std::io::Read::read_to_string(&mut stdout, &mut seen).unwrap();
    child.wait().unwrap();
    seen
}

/// What the program decides over these records, whichever way it gets them.
fn decide_with(args: &[&str], records: &[Value]) -> Vec<Value> {
    let input = lines(records);
    let burst = run(args, &input);
    assert!(burst.status.success(), "{}", text(&burst.stderr));
    let out = text(&burst.stdout);
    assert_eq!(run_line_by_line(args, &input), out, "line by line");
    let (decisions, forwarded): (Vec<&str>, Vec<&str>) = out.lines().partition(|line| line.starts_with("{\"type\":\"decision\""));
    assert_eq!(forwarded, input.lines().collect::<Vec<_>>(), "what was read is forwarded as it was");
    let mut alone = args.to_vec();
    alone.push("--only");
    assert_eq!(text(&run(&alone, &out).stdout).lines().collect::<Vec<_>>(), decisions, "on replay");
    in_two_runs(args, &input, &out);
    decisions.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same, stopped and started again in three places: at the start, just before the last decision, and after it.
fn in_two_runs(args: &[&str], input: &str, out: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let with = |state: &str, input: &str| text(&run(&[args, &["--state", state]].concat(), input).stdout);
    let read = |state: &str| std::fs::read_to_string(state).unwrap();
    let whole = file("whole");
    assert_eq!(with(&whole, input), out, "with a state");
    assert_eq!(with(&whole, input), input, "read again, nothing is counted twice");
    let lines: Vec<&str> = input.split_inclusive('\n').collect();
    let last = out
        .lines()
        .rev()
        .skip_while(|line| !line.starts_with("{\"type\":\"decision\""))
        .filter(|line| !line.starts_with("{\"type\":\"decision\""))
        .count();
    for cut in std::collections::BTreeSet::from([1, last.saturating_sub(1), last]) {
        let (first, rest) = lines.split_at(cut.min(lines.len()));
        let state = file(&format!("cut-{cut}"));
        assert_eq!(with(&state, &first.concat()) + &with(&state, &rest.concat()), out, "cut after line {cut}");
        assert_eq!(read(&state), read(&whole), "cut after line {cut}");
    }
}

fn decide(records: &[Value]) -> Vec<Value> {
    decide_with(&[], records)
}

/// One decision as a person would say it: `10:02 high propose full p2`.
fn brief(decision: &Value) -> String {
    let time = decision["time"].as_str().unwrap();
    let clock = time[11..].trim_end_matches('Z');
    let clock = clock.strip_suffix(":00").unwrap_or(clock);
    let day = if time.starts_with("2026-03-01") { "" } else { "+1 " };
    let word = |key: &str| decision[key].as_str().unwrap_or("-").to_owned();
    let mut said = format!("{day}{clock} {} {} {} {}", word("severity"), word("action"), word("scope"), word("snapshot"));
    for note in decision["notes"].as_array().into_iter().flatten() {
        said.push_str(&format!(" ({})", note.as_str().unwrap()));
    }
    for flag in ["reminder", "overdue"] {
        if decision[flag] == true {
            said.push_str(&format!(" {flag}"));
        }
    }
    said
}

#[track_caller]
fn says(decisions: &[Value], expected: &[&str]) {
    let said: Vec<String> = decisions.iter().map(brief).collect();
    assert_eq!(said, expected, "{decisions:#?}");
}

fn targets(decision: &Value) -> Vec<&str> {
    decision["suspects"].as_array().unwrap().iter().map(|suspect| suspect["target"].as_str().unwrap()).collect()
}

/// A policy file with these lines in place of, or beside, the built-in values.
fn policy(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn name(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

// -- proof: how long, how often --------------------------------------------------------------------------------------

#[test]
fn one_bad_sample_decides_nothing() {
    says(&decide(&after_two_good_hours(&[errors(0.6, "10:00", "10:00"), well("10:01", "10:59")])), &[]);
}

#[test]
fn the_third_bad_sample_is_proof_and_lesser_rules_add_nothing() {
    let said = decide(&after_two_good_hours(&[errors(0.31, "10:00", "10:12")]));
    says(&said, &["10:02 high propose full p2"]);
    assert_eq!(said[0]["deadline"], at("11:02"));
    assert_eq!(said[0]["onset"], at("10:00"));
    assert_eq!(said[0]["cut"], at("10:00"));
    assert_eq!(said[0]["data_loss_s"], 5400.0);
    assert_eq!(said[0]["id"], "20260301T100000Z-1");
    assert_eq!(targets(&said[0]), Vec::<&str>::new());
}

#[test]
fn a_threshold_that_is_met_exactly_is_read_as_it_is_written() {
    let said = decide(&after_two_good_hours(&[errors(0.25, "10:00", "11:30")]));
    says(&said, &["10:05 medium investigate - -"]);
    assert_eq!(said[0]["deadline"], at("+1 10:05"));
    let nightly = change("09:55", "automation:nightly");
    let said = decide(&after_two_good_hours(&[nightly.clone(), errors(0.05, "10:00", "10:30")]));
    says(&said, &["10:10 low watch - -"]);
    assert_eq!(targets(&said[0]), ["automation:nightly"]);
    assert_eq!(said[0]["deadline"], Value::Null);
    says(&decide(&after_two_good_hours(&[nightly, errors(0.049, "10:00", "10:30")])), &[]);
}

#[test]
fn between_five_and_ten_times_normal_is_medium_first_and_high_in_the_end() {
    let said = decide(&after_two_good_hours(&[health("10:00", "10:30", json!({"response_ms": 840}))]));
    says(&said, &["10:10 medium investigate - -", "10:15 high propose full p2"]);
    assert_eq!(said[1]["deadline"], at("11:15"));
    assert_eq!(said[1]["incident"], said[0]["incident"]);
}

#[test]
fn a_slow_service_may_be_normal() {
    let slow = |first: &str, last: &str, ms: u32| health(first, last, json!({"response_ms": ms}));
    let points = [point("02:00", "p1"), point("08:30", "p2")].concat();
    says(&decide(&stream(&[points.clone(), slow("08:00", "09:59", 900), slow("10:00", "10:30", 1100)])), &[]);
    // Where nobody knows what is normal, the ceiling stands alone.
    says(&decide(&stream(&[points, slow("10:00", "10:20", 1100)])), &["10:05 medium investigate - -"]);
}

#[test]
fn a_normal_that_the_prober_knows_needs_no_learning() {
    let slow = health("10:00", "10:05", json!({"response_ms": 1100, "baseline_ms": 100}));
    says(&decide(&stream(&[slow]))[..1], &["10:05 high propose full - (store)"]);
}

#[test]
fn healthy_again_means_a_margin_inside_the_threshold() {
    let cpu = |first: &str, last: &str, share: f64| health(first, last, json!({"cpu_usage": share}));
    let said = decide(&after_two_good_hours(&[cpu("10:00", "10:10", 0.85), cpu("10:11", "10:30", 0.75), cpu("10:31", "10:36", 0.6)]));
    says(&said, &["10:10 high propose full p2", "10:36 high resolved - -"]);
    assert_eq!(said[1]["onset"], said[0]["onset"]);
}

#[test]
fn small_samples_are_put_together_before_they_count() {
    let trickle = |first: &str, last: &str, rate: f64| health(first, last, json!({"requests": 5, "error_rate": rate}));
    // Four records are one sample of twenty requests; the third such sample is at 10:11.
    says(&decide(&after_two_good_hours(&[trickle("10:00", "10:20", 0.4)])), &["10:11 high propose full p2"]);
    let once = [trickle("10:00", "10:00", 1.0), trickle("10:01", "10:59", 0.0)].concat();
    says(&decide(&after_two_good_hours(&[once])), &[]);
}

#[test]
fn a_gap_is_no_proof() {
    let bad = |clock: &str| errors(0.31, clock, clock);
    let said = decide(&after_two_good_hours(&[bad("10:00"), bad("10:04"), bad("10:08"), bad("10:12")]));
    says(
        &said,
        &[
            "10:03 unknown investigate - - (no-data)",
            "10:04 unknown resolved - -",
            "10:07 unknown investigate - - (no-data)",
            "10:08 unknown resolved - -",
            "10:11 unknown investigate - - (no-data)",
            "10:12 unknown resolved - -",
        ],
    );
}

#[test]
fn values_that_cannot_be_true_are_unknown_and_named_once() {
    let odd = health("10:00", "10:20", json!({"error_rate": 85, "cpu_usage": "high", "memory_usage": -1, "integrity": "no"}));
    let input = lines(&after_two_good_hours(&[odd]));
    let output = run(&["--only"], &input);
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    for metric in ["error_rate", "cpu_usage", "memory_usage", "integrity"] {
        let sentence = format!("eco-decide: line 123: {metric} has a value that cannot be used: it counts as unknown\n");
        assert_eq!(said.matches(&sentence).count(), 1, "{said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");
}

// -- blame and scope -------------------------------------------------------------------------------------------------

#[test]
fn a_recent_change_is_rolled_back() {
    let said = decide(&after_two_good_hours(&[change("09:58", "config:limits"), errors(0.31, "10:00", "10:04")]));
    says(&said, &["10:02 high rollback config:limits p2"]);
    assert_eq!(said[0]["deadline"], at("11:02"));
    assert_eq!(said[0]["cut"], at("09:58"));
    assert_eq!(said[0]["data_loss_s"], 0.0);
    let reason = json!([{"rule": "errors-25", "metric": "error_rate", "observed": 0.31, "threshold": "> 0.25",
        "since": at("10:00"), "held_s": 120.0, "samples": 3}]);
    assert_eq!(said[0]["reasons"], reason);
    assert_eq!(said[0]["suspects"], json!([{"change": "c-09:58", "target": "config:limits", "before_onset_s": 120.0}]));
}

#[test]
fn a_trigger_with_a_suspect_acts_without_waiting_for_its_deadline() {
    let said = decide(&after_two_good_hours(&[change("09:55", "automation:nightly"), errors(0.12, "10:00", "10:12")]));
    says(&said, &["10:05 medium rollback automation:nightly -"]);
    let idle = |module: &str| health("10:00", "10:12", json!({"success_rate": 0.7, "error_rate": 0.0, "failed": [module]}));
    // Not a trigger: the module's own change is matched, and a person decides.
    says(&decide(&after_two_good_hours(&[change("09:55", "module:ui"), idle("ui")])), &["10:05 medium propose module:ui p2"]);
}

#[test]
fn the_point_lies_before_the_change_and_not_only_before_the_trouble() {
    let slow = health("10:00", "10:08", json!({"response_ms": 1300}));
    let parts = [change("09:40", "module:planner"), point("09:50", "p3"), slow];
    let said = decide(&after_two_good_hours(&parts));
    says(&said, &["10:05 high rollback module:planner p2"]);
    assert_eq!(said[0]["data_loss_s"], 5400.0);
}

#[test]
fn hazard_20_a_service_that_is_down_goes_back_as_a_whole_and_the_suspect_is_mentioned() {
    let said = decide(&after_two_good_hours(&[change("09:58", "config:limits"), down("10:00", "10:04")]));
    says(&said, &["10:02 critical rollback full p2"]);
    assert_eq!(said[0]["deadline"], at("10:02"));
    assert_eq!(said[0]["alternative"], "config:limits");
    assert_eq!(said[0]["cut"], at("09:58"));
}

#[test]
fn with_suspect_first_the_suspect_goes_back_before_everything_does() {
    let file = policy("[rollback]\ndown = \"suspect-first\"\n");
    let first = [change("09:58", "config:limits"), down("10:00", "10:02"), restored("10:02:30", "completed", "config:limits")];
    let still = [first.concat(), down("10:03", "10:12"), restored("10:05:30", "completed", "full")].concat();
    let said = decide_with(&["-p", name(&file)], &after_two_good_hours(&[still]));
    says(&said, &["10:02 critical rollback config:limits p2", "10:05 critical rollback full p1", "10:08 critical escalate full - (cooldown)"]);
}

#[test]
fn one_failing_module_is_blamed_and_the_changes_of_others_are_not() {
    let failed = health("10:00", "10:10", json!({"failed": ["planner"]}));
    says(&decide(&after_two_good_hours(std::slice::from_ref(&failed))), &["10:05 medium propose module:planner p2"]);
    let said = decide(&after_two_good_hours(&[change("09:50", "module:ui"), failed]));
    says(&said, &["10:05 medium propose module:planner p2"]);
    assert_eq!(targets(&said[0]), Vec::<&str>::new());
}

#[test]
fn three_failing_modules_name_nobody_and_a_critical_one_is_high() {
    let failed = |modules: Value| health("10:00", "10:06", json!({"failed": modules}));
    says(&decide(&after_two_good_hours(&[failed(json!(["planner", "tools", "ui"]))])), &["10:02 high propose full p2"]);
    says(&decide(&after_two_good_hours(&[failed(json!(["planner", "tools"]))])), &["10:05 medium investigate - -"]);
    says(&decide(&after_two_good_hours(&[failed(json!(["core"]))])), &["10:02 high propose module:core p2"]);
}

#[test]
fn a_busy_processor_is_proposed_alone_and_acted_on_with_a_suspect() {
    let busy = health("10:00", "10:12", json!({"cpu_usage": 0.95}));
    let tuned = change("09:50", "optimization:cache-warm");
    says(&decide(&after_two_good_hours(&[tuned, busy.clone()])), &["10:10 high rollback optimization:cache-warm -"]);
    says(&decide(&after_two_good_hours(&[busy])), &["10:10 high propose full p2"]);
}

#[test]
fn two_changes_close_together_are_for_a_person_to_tell_apart() {
    let parts = [change("09:57", "config:limits"), change("09:59", "experiment:exp-7"), errors(0.31, "10:00", "10:05")];
    let said = decide(&after_two_good_hours(&parts));
    says(&said, &["10:02 high propose experiment:exp-7 - (ambiguous)"]);
    assert_eq!(targets(&said[0]), ["experiment:exp-7", "config:limits"]);
    assert_eq!(said[0]["cut"], at("09:57"));
}

// -- signals ---------------------------------------------------------------------------------------------------------

#[test]
fn a_breach_goes_back_before_it_began() {
    let breach = |source: &str, more: Value| after_two_good_hours(&[well("10:00", "10:05"), signal("10:00:20", "security_breach", source, more)]);
    let said = decide(&breach("audit", json!({"since": at("07:00")})));
    says(&said, &["10:00:20 critical rollback full p1"]);
    assert_eq!(said[0]["onset"], at("07:00"));
    assert_eq!(said[0]["incident"], "20260301T070000Z");
    says(&decide(&breach("mallory", json!({}))), &["10:00:20 critical propose full p2 (untrusted)"]);
    says(&decide(&breach("audit", json!({"target": "automation:a"}))), &["10:00:20 critical rollback automation:a -"]);
}

#[test]
fn a_signal_names_its_culprit_and_a_source_that_nobody_trusts_only_claims() {
    let case = |source: &str| {
        let culprit = json!({"target": "automation:auto-17"});
        decide(&after_two_good_hours(&[well("10:00", "10:03"), signal("10:00:30", "automation_errors", source, culprit)]))
    };
    says(&case("probe"), &["10:00:30 medium propose automation:auto-17 -"]);
    says(&case("somebody"), &["10:00:30 medium propose automation:auto-17 -"]);
}

#[test]
fn three_complaints_within_an_hour_are_more_than_one() {
    let complaint = |clock: &str| signal(clock, "user_complaint", "desk", json!({}));
    let parts = [well("10:00", "10:50"), complaint("10:00:10"), complaint("10:20:10"), complaint("10:40:10")];
    says(&decide(&after_two_good_hours(&parts)), &["10:00:10 low watch - -", "10:40:10 medium investigate - -"]);
    let apart = [well("10:00", "11:01"), complaint("10:00:10"), complaint("10:20:10"), complaint("11:00:10")];
    says(&decide(&after_two_good_hours(&apart)), &["10:00:10 low watch - -"]);
}

#[test]
fn an_alarm_of_the_worst_kind_ends_only_when_somebody_ends_it() {
    let breach = signal("10:00:20", "data_corruption", "audit", json!({}));
    let cleared = signal("12:00:20", "data_corruption", "audit", json!({"cleared": true}));
    let parts = [breach.clone(), operator("10:17", "reject"), well("10:00", "12:10"), cleared];
    let said = decide(&after_two_good_hours(&parts));
    says(&said, &["10:00:20 critical rollback full p2", "10:16 critical escalate full - (rollback-ineffective)", "12:06 critical resolved - -"]);
    let resolved = [breach, operator("10:03:30", "resolve"), well("10:00", "10:10")];
    says(&decide(&after_two_good_hours(&resolved)), &["10:00:20 critical rollback full p2", "10:09 critical resolved - -"]);
}

#[test]
fn three_drops_within_an_hour_are_a_crash_loop() {
    let drop = |clock: &str| only(clock, clock, json!({"up": false}));
    let parts =
        [well("10:00", "10:09"), drop("10:10"), well("10:11", "10:19"), drop("10:20"), well("10:21", "10:29"), drop("10:30"), well("10:31", "10:32")];
    let said = decide(&after_two_good_hours(&parts));
    says(&said, &["10:30 high propose full p2"]);
    assert_eq!(said[0]["onset"], at("10:10"));
    assert_eq!(said[0]["reasons"][0]["observed"], 3);
}

// -- no data ---------------------------------------------------------------------------------------------------------

#[test]
fn no_data_is_said_once_and_never_rolls_back() {
    let blind = only("10:00", "10:29", json!({"up": null, "error": "no route"}));
    says(&decide(&after_two_good_hours(std::slice::from_ref(&blind))), &["10:02 unknown investigate - - (no-data)"]);
    let said = decide(&after_two_good_hours(&[blind, well("10:30", "10:31")]));
    says(&said, &["10:02 unknown investigate - - (no-data)", "10:30 unknown resolved - -"]);
}

#[test]
fn silence_counts_from_the_first_sample_where_there_never_was_data() {
    let blind = only("10:00", "10:09", json!({"up": null}));
    says(&decide(&stream(&[blind])), &["10:03 unknown investigate - - (no-data)"]);
    says(&decide(&stream(&[change("10:00", "config"), change("11:00", "config")])), &[]);
}

// -- guards ----------------------------------------------------------------------------------------------------------

#[test]
fn a_point_that_was_never_proven_is_passed_over() {
    let broken = health("10:00", "10:02", json!({"integrity": false}));
    says(&decide(&after_two_good_hours(&[point("09:59:30", "p3"), broken])), &["10:00 critical rollback full p2"]);
}

#[test]
fn without_a_point_that_will_do_a_person_is_called() {
    let only_config = record("snapshot", "08:30", json!({"id": "p", "covers": ["config"], "verified": true}));
    let parts = |first: Vec<Value>| stream(&[first, well("08:00", "09:59"), down("10:00", "10:04")]);
    says(&decide(&parts(vec![only_config])), &["10:02 critical escalate full - (no-point)"]);
    // No snapshot record at all: the store may still know one.
    says(&decide(&parts(vec![])), &["10:02 critical rollback full - (store)"]);
}

#[test]
fn a_point_that_is_not_verified_or_too_old_needs_a_person() {
    let case = |more: Value| {
        let mut snapshot = record("snapshot", "08:30", json!({"id": "p", "covers": ["full"]}));
        snapshot["verified"] = more["verified"].clone();
        if let Some(time) = more["time"].as_str() {
            snapshot["time"] = json!(time);
        }
        decide(&stream(&[vec![snapshot], well("08:00", "09:59"), down("10:00", "10:04")]))
    };
    says(&case(json!({"verified": true})), &["10:02 critical rollback full p"]);
    says(&case(json!({"verified": false})), &["10:02 critical propose full p (unverified)"]);
    says(&case(json!({"verified": true, "time": "2026-02-20T00:00:00Z"})), &["10:02 critical propose full p (old)"]);
    says(&case(json!({"time": "2026-02-20T00:00:00Z"})), &["10:02 critical propose full p (unverified) (old)"]);
}

#[test]
fn a_change_that_cannot_be_taken_back_needs_a_person() {
    let migration = |clock: &str| vec![record("change", clock, json!({"target": "module:db", "reversible": false}))];
    let case = |clock: &str| decide(&after_two_good_hours(&[migration(clock), down("10:00", "10:04")]));
    says(&case("09:00"), &["10:02 critical propose full p2 (irreversible)"]);
    // Blamed, so the point lies before it; too long ago to be blamed, but the point lies after it.
    says(&case("08:00"), &["10:02 critical propose full p1 (irreversible)"]);
    says(&case("07:00"), &["10:02 critical rollback full p2"]);
}

#[test]
fn a_person_can_hold_rollbacks_and_let_them_go() {
    let mut hold = operator("09:59", "hold");
    hold[0]["until"] = json!(at("10:10"));
    let parts = [change("09:58", "config:limits"), hold, errors(0.31, "10:00", "10:12")];
    let expected = ["10:02 high propose config:limits p2 (hold)", "10:10 high rollback config:limits p2"];
    says(&decide(&after_two_good_hours(&parts)), &expected);
    let parts = [change("09:58", "config:limits"), operator("09:59", "hold"), errors(0.31, "10:00", "10:12"), operator("10:09:30", "resume")];
    let expected = ["10:02 high propose config:limits p2 (hold)", "10:09:30 high rollback config:limits p2"];
    says(&decide(&after_two_good_hours(&parts)), &expected);
}

#[test]
fn a_dry_run_proposes() {
    let records = after_two_good_hours(&[change("09:58", "config:limits"), errors(0.31, "10:00", "10:04")]);
    says(&decide_with(&["--dry-run"], &records), &["10:02 high propose config:limits p2 (hold)"]);
}

#[test]
fn the_third_rollback_of_a_day_is_for_a_person() {
    let fault = |hour: u32| {
        let clock = |minute: u32| format!("{hour}:{minute:02}");
        let target = format!("automation:a{hour}");
        [
            change(&clock(0), &target),
            errors(0.31, &clock(1), &clock(3)),
            restored(&format!("{hour}:03:30"), "completed", &target),
            well(&clock(4), &clock(59)),
        ]
        .concat()
    };
    let said = decide(&after_two_good_hours(&[fault(10), fault(12), fault(14)]));
    let acted: Vec<Value> = said.into_iter().filter(|decision| decision["severity"] != "unknown" && decision["action"] != "resolved").collect();
    let expected = ["10:03 high rollback automation:a10 -", "12:03 high rollback automation:a12 -", "14:03 high escalate automation:a14 - (limit)"];
    says(&acted, &expected);
}

// -- after a rollback ------------------------------------------------------------------------------------------------

#[test]
fn a_rollback_that_did_not_help_is_not_repeated() {
    let before = [change("09:58", "config:limits"), errors(0.31, "10:00", "10:03"), restored("10:03:30", "completed", "config:limits")].concat();
    let said = decide(&after_two_good_hours(&[before.clone(), errors(0.31, "10:04", "10:30")]));
    says(&said, &["10:02 high rollback config:limits p2", "10:19 high escalate config:limits - (rollback-ineffective)"]);
    assert_eq!(said[1]["deadline"], at("11:02"));
    let said = decide(&after_two_good_hours(&[before, well("10:04", "10:12")]));
    says(&said, &["10:02 high rollback config:limits p2", "10:09 high resolved - -"]);
}

#[test]
fn a_rollback_that_failed_is_a_persons_business_from_then_on() {
    for phase in ["failed", "reverted"] {
        let parts =
            [change("09:58", "config:limits"), errors(0.31, "10:00", "10:20"), restored("10:03:30", phase, "config:limits"), down("10:21", "10:30")];
        let said = decide(&after_two_good_hours(&parts));
        let expected = [
            "10:02 high rollback config:limits p2",
            "10:03:30 high escalate config:limits - (rollback-failed)",
            "10:23 critical escalate config:limits - (rollback-failed)",
        ];
        says(&said[..3], &expected);
    }
}

#[test]
fn something_worse_during_the_cooldown_calls_a_person() {
    let parts = [
        change("09:58", "config:limits"),
        errors(0.31, "10:00", "10:03"),
        restored("10:03:30", "completed", "config:limits"),
        down("10:04", "10:09"),
    ];
    let said = decide(&after_two_good_hours(&parts));
    says(&said, &["10:02 high rollback config:limits p2", "10:06 critical escalate config:limits - (cooldown)"]);
}

#[test]
fn trouble_that_returns_continues_its_incident_and_takes_longer_to_end() {
    let parts = [errors(0.31, "10:00", "10:02"), well("10:03", "10:20"), errors(0.31, "10:21", "10:24"), well("10:25", "10:50")];
    let said = decide(&after_two_good_hours(&parts));
    let expected = [
        "10:02 high propose full p2",
        "10:08 high resolved - -",
        "10:23 high propose full p2",
        "10:32 high propose full p2 reminder",
        "10:35 high resolved - -",
    ];
    says(&said, &expected);
    assert_eq!(said[2]["incident"], said[0]["incident"]);
    assert_eq!(said[2]["id"], "20260301T100000Z-3");
    assert_eq!(said[2]["reopened"], 1);
    assert_eq!(said[2]["onset"], at("10:21"));
    assert_eq!(said[2]["deadline"], said[0]["deadline"]);
}

#[test]
fn points_taken_during_an_incident_are_never_gone_back_to() {
    let parts = [errors(0.31, "10:00", "10:03"), point("10:02:30", "bad"), well("10:04", "12:00"), errors(0.31, "12:01", "12:03")];
    let said = decide(&after_two_good_hours(&parts));
    says(&said, &["10:02 high propose full p2", "10:09 high resolved - -", "12:03 high propose full p2"]);
}

// -- reminders -------------------------------------------------------------------------------------------------------

#[test]
fn a_proposal_that_nobody_answers_is_repeated_half_way_and_at_the_deadline() {
    let bad = errors(0.31, "10:00", "11:30");
    let expected = ["10:02 high propose full p2", "10:32 high propose full p2 reminder", "11:02 high propose full p2 reminder overdue"];
    says(&decide(&after_two_good_hours(std::slice::from_ref(&bad))), &expected);
    says(&decide(&after_two_good_hours(&[bad, operator("10:40", "hold")])), &expected[..2]);
}

#[test]
fn a_critical_one_is_repeated_for_as_long_as_nobody_answers() {
    let parts = [operator("09:59", "hold"), down("10:00", "10:40")];
    let expected = [
        "10:02 critical propose full p2 (hold)",
        "10:17 critical propose full p2 (hold) reminder overdue",
        "10:32 critical propose full p2 (hold) reminder overdue",
    ];
    says(&decide(&after_two_good_hours(&parts)), &expected);
}

// -- the stream ------------------------------------------------------------------------------------------------------

#[test]
fn a_record_that_is_two_minutes_late_still_counts_and_an_older_one_does_not() {
    let late = |clock: &str| {
        let mut records = after_two_good_hours(&[well("10:00", "10:05")]);
        records.extend(health(clock, clock, json!({"integrity": false})));
        records
    };
    says(&decide(&late("10:03")), &["10:05 critical rollback full p2"]);
    let output = run(&["--only"], &lines(&late("10:02")));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("1 records came more than 2 minutes late"), "{}", text(&output.stderr));
}

#[test]
fn ecosystems_are_judged_apart_and_no_host_is_added() {
    let mut records = after_two_good_hours(&[down("10:00", "10:02")]);
    for record in &mut records {
        let mut other = record.clone();
        other["ecosystem"] = json!("b");
        if record["type"] == "health" && record["up"] == false {
            record["ecosystem"] = json!("a");
        }
    }
    let mut shop = down("11:00", "11:02");
    for record in &mut shop {
        record["ecosystem"] = json!("shop");
        record["host"] = json!("h1");
    }
    let said = decide(&stream(&[records, shop]));
    says(&said, &["10:02 critical rollback full - (store)", "11:02 critical rollback full - (store)"]);
    assert_eq!(said[0]["ecosystem"], "a");
    assert_eq!(said[1]["ecosystem"], "shop");
    assert_eq!(said[1]["host"], Value::Null);
}

#[test]
fn canaries_are_passed_over() {
    let canary = health("10:00", "10:10", json!({"up": false, "cohort": "canary"}));
    says(&decide(&after_two_good_hours(&[canary, well("10:00", "10:10")])), &[]);
    let stable = health("10:00", "10:02", json!({"up": false, "cohort": "stable"}));
    says(&decide(&after_two_good_hours(&[stable])), &["10:02 critical rollback full p2"]);
}

#[test]
fn a_last_line_without_its_newline_is_forwarded_without_one() {
    let records = lines(&after_two_good_hours(&[down("10:00", "10:01")]));
    let open = records.trim_end();
    assert_eq!(text(&run(&[], open).stdout), open);
    // A record of our own still begins a line of its own.
    let records = lines(&after_two_good_hours(&[down("10:00", "10:02")]));
    let out = text(&run(&[], records.trim_end()).stdout);
    assert!(out.starts_with(&records) && out.ends_with("}\n"), "{out}");
}

#[test]
fn a_line_that_is_no_record_passes_and_is_counted() {
    let input = format!("hello\n{}", lines(&after_two_good_hours(&[])));
    let output = run(&[], &input);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), input);
    assert!(text(&output.stderr).starts_with("eco-decide: line 1 is not a record"), "{}", text(&output.stderr));
}

// -- flags -----------------------------------------------------------------------------------------------------------

#[test]
fn a_person_who_asks_now_needs_one_sample() {
    let one = only("10:00", "10:00", json!({"up": false}));
    let said = decide_with(&["--now"], &one);
    says(&said, &["10:00 critical rollback full - (store)"]);
    // Proof gets shorter; what it leads to stays the same.
    says(&decide_with(&["--now"], &after_two_good_hours(&[errors(0.31, "10:00", "10:00")])), &["10:00 high propose full p2"]);
}

#[test]
fn a_rule_that_is_on_its_way_at_the_end_is_named() {
    let output = run(&["--only"], &lines(&after_two_good_hours(&[errors(0.31, "10:00", "10:01")])));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        said,
        "eco-decide: nothing is decided yet: rule errors-25 (error_rate > 0.25) was seen 2 of 3 times and has held for 1m of 2m; \
         ask with --now, keep the samples coming (eco-health --every), or go on from here next time (--state FILE)\n"
    );
}

#[test]
fn the_exit_status_tells_how_the_stream_ended() {
    let end = |parts: &[Vec<Value>]| run(&["--exit-status", "--only"], &lines(&after_two_good_hours(parts))).status.code();
    assert_eq!(end(&[]), Some(0));
    assert_eq!(end(&[errors(0.31, "10:00", "10:03")]), Some(1));
    assert_eq!(end(&[errors(0.05, "10:00", "10:12")]), Some(0));
    assert_eq!(end(&[errors(0.31, "10:00", "10:03"), well("10:04", "10:10")]), Some(0));
    assert_eq!(end(&[only("10:00", "10:05", json!({"up": null}))]), Some(3));
    // Nothing known is no good news: an empty stream, a probe that could not run, a list of snapshots.
    let alone = |records: &[Value]| run(&["--exit-status", "--only", "--now"], &lines(records)).status.code();
    assert_eq!(alone(&[]), Some(3));
    assert_eq!(alone(&only("10:00", "10:00", json!({"up": null, "error": "no route"}))), Some(3));
    assert_eq!(alone(&point("10:00", "p1")), Some(3));
    assert_eq!(alone(&well("10:00", "10:00")), Some(0));
    assert_eq!(alone(&down("10:00", "10:00")), Some(1));
}

#[test]
fn the_built_in_policy_is_printed_and_decides_like_the_built_in_one() {
    let printed = run(&["--print-policy"], "");
    assert!(printed.status.success());
    let file = policy(&text(&printed.stdout));
    assert!(run(&["--check", name(&file)], "").status.success());
    let records = lines(&after_two_good_hours(&[change("09:58", "config:limits"), errors(0.31, "10:00", "10:20")]));
    assert_eq!(run(&["-p", name(&file)], &records).stdout, run(&[], &records).stdout);
}

#[test]
fn a_policy_with_a_mistake_is_refused_with_file_and_line() {
    for (text_of_policy, why) in [
        ("[time]\nstail = \"3m\"\n", ":2: unknown field `stail`"),
        ("[rules.high]\nx = { when = \"errorrate > 0.1\" }\n", ":2: rule x: there is no metric 'errorrate'; did you mean 'error_rate'?"),
        ("[rules.high]\nx = { when = \"error_rate > 25\" }\n", ":2: rule x: it can never fire"),
    ] {
        let file = policy(text_of_policy);
        let output = run(&["--check", name(&file)], "");
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.starts_with(&format!("eco-decide: {}{why}", name(&file))), "{said}");
        assert_eq!(text(&output.stdout), "");
    }
    let missing = run(&["--check", "/nonexistent/p.toml"], "");
    assert_eq!(missing.status.code(), Some(2));
    assert_eq!(text(&missing.stderr), "eco-decide: cannot read /nonexistent/p.toml: no such file or directory\n");
}

#[test]
fn a_policy_that_is_odd_but_usable_is_told_so_and_passes() {
    let file = policy("[rollback]\ncooldown = \"5m\"\nlimit = 0\n");
    let output = run(&["--check", name(&file)], "");
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    let begin = format!("eco-decide: {}: ", name(&file));
    assert!(said.lines().all(|line| line.starts_with(&begin)) && said.lines().count() == 2, "{said}");
    assert!(said.contains("limit is 0: nothing is ever rolled back without a person"), "{said}");
}

#[test]
fn two_policies_are_held_against_each_other_incident_by_incident() {
    let old = policy("[rules.high]\nerrors = { when = \"error_rate > 0.25\", for = \"2m\" }\n");
    let new = policy("[rules.medium]\nerrors = { when = \"error_rate > 0.25\", for = \"5m\", trigger = true }\n");
    let history = after_two_good_hours(&[
        errors(0.31, "10:00", "10:06"),
        well("10:07", "12:00"),
        change("12:00:30", "config:a"),
        errors(0.5, "12:01", "12:08"),
    ]);
    let output = run(&["--diff", name(&old), "-p", name(&new)], &lines(&history));
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
    let expected = "\
2026-03-01 10:00  DIFFERENT
  * old: 10:02 high propose full to p2   new: -
  * old: -                               new: 10:05 medium investigate
  * old: 10:12 high resolved             new: 10:12 medium resolved
2026-03-01 12:01  DIFFERENT
  * old: 12:03 high rollback config:a to p2   new: -
  * old: -                                    new: 12:06 medium rollback config:a to p2
252 records, 2 incidents: 2 different (0 only under the old policy, 0 only under the new one), 0 the same
old: 3 decisions, 1 of them rollbacks without asking; new: 3 decisions, 1 of them rollbacks without asking
";
    assert_eq!(text(&output.stdout), expected);
    let same = run(&["--diff", name(&old), "-p", name(&old)], &lines(&history));
    assert_eq!(same.status.code(), Some(0));
    assert!(text(&same.stdout).starts_with("2026-03-01 10:00  the same: 10:02 high propose full to p2, 10:12 high resolved\n"));
    // One judge's records are never taken for the other's.
    assert_eq!(run(&["--diff", name(&old), "--json"], "").status.code(), Some(2));
    assert_eq!(run(&["--diff", "/nonexistent/p.toml"], "").status.code(), Some(2));
}

#[test]
fn critical_modules_of_the_configuration_count_beside_those_of_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("eco.toml");
    std::fs::write(&config, "[ecosystem]\nname = \"shop\"\n[module.ui]\nroots = [\"ui\"]\ncritical = true\n").unwrap();
    let records = after_two_good_hours(&[health("10:00", "10:03", json!({"failed": ["ui"]}))]);
    let said = decide_with(&["-c", config.to_str().unwrap()], &records);
    says(&said, &["10:02 high propose module:ui p2"]);
    assert_eq!(said[0]["ecosystem"], Value::Null);
}
