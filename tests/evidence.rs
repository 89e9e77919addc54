//! `eco-report --evidence`: what differs, what was changed, what the logs say, and that no secret leaves.

use crate::harness::{Run, World, latin1, not_shown};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// When the trouble of these tests begins.
const ONSET: &str = "2026-03-01T10:00:00Z";

/// A service with a good snapshot of 09:00.
fn healthy() -> World {
    let world = World::service();
    world.write("config/app.conf", "workers = 4\ndb_password = hunter2old\ntimeout = 30\n").write("modules/ui/menu", "a\nb\n");
    world.at("2026-03-01T09:00:00Z").good();
    world
}

/// A stream with an incident that no rollback has ended yet.
fn open_incident() -> String {
    let decision = json!({"type": "decision", "time": "2026-03-01T10:02:00Z", "ecosystem": "shop", "id": "d1", "incident": "i1", "severity": "high",
        "action": "propose", "scope": "config", "snapshot": null, "onset": ONSET});
    let change = json!({"type": "change", "time": "2026-03-01T09:50:00Z", "ecosystem": "shop", "id": "c1", "target": "config", "from": "v1",
        "to": "token=hunter2change", "by": "jane.roe"});
    let found = json!({"type": "change", "time": "2026-03-01T09:51:00Z", "ecosystem": "shop", "id": "c2", "target": "data", "by": "eco-verify"});
    let early = json!({"type": "change", "time": "2026-03-01T07:59:00Z", "ecosystem": "shop", "id": "early", "target": "config"});
    format!("{early}\n{change}\n{found}\n{decision}\n")
}

/// The same, with the records of a rollback behind it.
fn with(records: &str) -> String {
    open_incident() + records
}

fn report<'w>(world: &'w World, stream: &str) -> Run<'w> {
    world.run("eco-report").args(["--evidence", "../evidence"]).stdin(stream)
}

/// A file of the evidence.
#[track_caller]
fn file(world: &World, name: &str) -> String {
    let path = world.folder().join("evidence").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn data(world: &World) -> Value {
    serde_json::from_str(&file(world, "evidence.json")).unwrap()
}

/// Differing paths, each with what differs.
fn paths(data: &Value) -> Vec<String> {
    let all = data["comparisons"].as_array().unwrap().iter().flat_map(|one| one["paths"].as_array().unwrap());
    all.map(|path| format!("{} {} {}", path["unit"].as_str().unwrap(), path["path"].as_str().unwrap(), path["what"].as_str().unwrap())).collect()
}

fn gaps(data: &Value) -> Vec<&str> {
    data["gaps"].as_array().unwrap().iter().map(|gap| gap["what"].as_str().unwrap()).collect()
}

/// Every byte of the evidence, and the report.
fn everything(world: &World) -> String {
    let mut text = String::new();
    let mut folders = vec![world.folder().join("evidence")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.push_str(&path.display().to_string());
                text.push_str(&String::from_utf8(fs::read(path).unwrap()).unwrap());
            }
        }
    }
    text
}

/// Breaks one line of the configuration and one file of a module.
fn break_two(world: &World) {
    world.write("config/app.conf", "workers = 0\ndb_password = hunter2new\ntimeout = 30\n").write("modules/ui/menu", "a\nc\n");
}

const TWO: [&str; 2] = ["config config/app.conf content", "module:ui modules/ui/menu content"];

#[test]
fn a_rollback_that_set_a_snapshot_aside_names_exactly_what_was_broken() {
    let world = healthy();
    break_two(&world);
    let done = world.at("2026-03-01T10:05:00Z").run("eco-restore").args(["latest-good", "--yes"]).exits(0);
    assert!(done.step("safety")["note"].as_str().unwrap().starts_with("it is snapshot"), "{done}");
    let done = report(&world, &with(&done.stdout)).exits(0);
    let data = data(&world);
    assert_eq!(paths(&data), TWO, "{data:#}");
    let one = &data["comparisons"][0];
    assert_eq!(one["good"]["time"], "2026-03-01T09:00:00Z");
    assert_eq!(one["broken"]["what"], "the safety snapshot of the state before the rollback");

    let diff = file(&world, "changes.diff");
    for line in [
        "--- good/config/app.conf",
        "+++ broken/config/app.conf",
        "-workers = 4",
        "+workers = 0",
        "-db_password = ***",
        "+db_password = ***",
        "-b",
        "+c",
    ] {
        assert!(diff.lines().any(|own| own == line), "{line}\n{diff}");
    }
    let changes = file(&world, "changes.txt");
    assert!(changes.contains("config: 1 with other content\n  content   config/app.conf\n      good    file 50 B 0644 "), "{changes}");
    let readme = file(&world, "README.txt");
    for part in
        ["Evidence for the root cause of incident i1 of shop", "2 paths differ, in config and module:ui", "change c1", "to token=***", "(-10m)"]
    {
        assert!(readme.contains(part), "{part}\n{readme}");
    }
    assert!(!readme.contains("early"), "{readme}");
    assert!(!everything(&world).contains("hunter2"));
    // Who made a change stays here; that nobody recorded it does not.
    assert!(!everything(&world).contains("jane") && readme.contains(", by eco-verify"), "{readme}");
    assert_eq!(data["changes"][1]["by"], "eco-verify", "{data:#}");

    let root_cause = "- Between the good snapshot and the broken state 2 paths differ, in config and module:ui.\n";
    assert!(done.stdout.contains(root_cause) && done.stdout.contains("**Evidence:** the folder `evidence` holds"), "{}", done.stdout);
    assert!(!done.stdout.contains("app.conf"), "the report has counts only: {}", done.stdout);
}

#[test]
fn an_emergency_at_the_shop_leaves_a_report_and_its_evidence() {
    let world = World::shop();
    world.at("2026-03-01T09:54:00Z").snapshot();
    world.at("2026-03-01T10:00:00Z");
    world.break_it("config");
    let lines: String = (0..3).map(|n| format!("{{\"time\":\"2026-03-01T10:00:0{n}Z\",\"msg\":\"order {n}\",\"token\":\"hunter2\"}}\n")).collect();
    world.write("logs/orders.log", lines).write("eco.toml", world.read("eco.toml") + "\n[evidence]\nlogs = [\"logs/orders.log\"]\n");
    let before = world.read("config/shop.json");
    let sample = world.run("eco-health").ran();
    let decided = world.run("eco-decide").arg("--now").stdin(&sample.stdout).ran();
    let restored = world.run("eco-restore").args(["--approve", "--yes"]).stdin(&decided.stdout).exits(0);
    assert_eq!(restored.last("restore")["phase"], "completed");
    let report = report(&world, &restored.stdout).exits(0);
    let found = paths(&data(&world));
    assert!(found.iter().any(|path| path.starts_with("config config/") && path.ends_with(" content")), "{found:#?}\n{before}");
    assert!(found.iter().all(|path| path.starts_with("config ") || path.starts_with("data ")), "{found:#?}");
    assert!(file(&world, "logs/logs_orders.log.txt").contains("\"msg\":\"order 2\",\"token\":\"***\"}"));
    assert!(report.stdout.contains("begin with `README.txt`") && !everything(&world).contains("hunter2"));
}

#[test]
fn each_rollback_of_an_incident_is_compared_and_one_that_was_undone_is_not() {
    let world = healthy();
    break_two(&world);
    let back = |time: &str, words: &[&str]| world.at(time).run("eco-restore").args(words).arg("--yes").exits(0).stdout;
    let mut stream = open_incident() + &back("2026-03-01T10:05:00Z", &["latest-good", "--scope", "config"]);
    stream += &back("2026-03-01T10:06:00Z", &["latest-good", "--scope", "module:ui"]);
    report(&world, &stream).exits(0);
    let both = data(&world);
    assert_eq!(both["comparisons"].as_array().unwrap().len(), 2);
    assert_eq!(paths(&both), TWO, "{both:#}");
    stream += &back("2026-03-01T10:07:00Z", &["--undo"]);
    report(&world, &stream).exits(0);
    assert_eq!(paths(&data(&world)), [TWO[0]]);
    // Nothing is rolled back any more: what is live is compared.
    stream += &back("2026-03-01T10:08:00Z", &["latest-good"]);
    stream += &back("2026-03-01T10:09:00Z", &["--undo"]);
    let only_last: String = open_incident() + &stream.lines().skip(stream.lines().count() - 2).map(|line| format!("{line}\n")).collect::<String>();
    report(&world, &only_last).ran();
    assert_eq!(data(&world)["comparisons"][0]["broken"]["what"], "the tree that is live");
}

#[test]
fn a_root_that_is_a_link_is_compared_with_what_it_led_to() {
    let world = World::new();
    fs::create_dir_all(world.path("releases/7/data")).unwrap();
    symlink("releases/7/data", world.path("data")).unwrap();
    let world = world.with_service();
    world.at("2026-03-01T09:00:00Z").good();
    world.write("data/orders", "garbage\n");
    let done = world.at("2026-03-01T10:05:00Z").run("eco-restore").args(["latest-good", "--yes"]).exits(0);
    assert_eq!(done.last("restore")["strategy"], "pointer");
    report(&world, &with(&done.stdout)).exits(0);
    assert_eq!(paths(&data(&world)), ["data data/orders content"]);
    assert!(file(&world, "changes.diff").contains("+garbage"));
}

#[test]
fn a_record_leads_to_nothing_but_snapshots_of_the_store() {
    let world = healthy();
    let archive = world.run("eco-ls").exits(0).last("snapshot")["path"].as_str().unwrap().to_owned();
    let elsewhere = world.folder().join("elsewhere.tar.gz");
    fs::copy(&archive, &elsewhere).unwrap();
    let restore = json!({"type": "restore", "time": "2026-03-01T10:05:00Z", "ecosystem": "shop", "id": "r1", "phase": "completed", "scope": "full",
        "snapshot": elsewhere, "safety": archive, "decision": "d1"});
    report(&world, &with(&format!("{restore}\n"))).exits(3).says("is not in the store");
    assert_eq!(data(&world)["comparisons"], json!([]));
}

#[test]
fn the_same_stream_tree_store_and_logs_give_the_same_bytes() {
    let world = healthy();
    break_two(&world);
    report(&world, &open_incident()).exits(0);
    let first = everything(&world);
    world.at("2026-06-01T00:00:00Z");
    report(&world, &open_incident()).exits(0);
    assert_eq!(first, everything(&world));
}

#[test]
fn a_tree_that_is_still_set_aside_is_compared_where_it_is() {
    let world = healthy();
    break_two(&world);
    fs::remove_file(world.path(latin1())).unwrap();
    let archive = world.run("eco-ls").exits(0).last("snapshot")["path"].as_str().unwrap().to_owned();
    // In an empty store there is nothing that a safety snapshot could be the difference to: the tree stays.
    let words = [archive.as_str(), "--yes", "--store", "../none"];
    let done = world.at("2026-03-01T10:05:00Z").run("eco-restore").args(words).exits(0);
    let before = world.tree(".eco");
    report(&world, &with(&done.stdout)).exits(0);
    let data = data(&world);
    assert_eq!(data["comparisons"][0]["broken"]["what"], "the tree from before the rollback, still set aside");
    assert_eq!(paths(&data), [TWO[0], TWO[1], "data data/caf\\xe9 deleted"], "{data:#}");
    let odd = &data["comparisons"][0]["paths"][2];
    assert!(odd["path_b64"].is_string(), "{odd}");
    before.same_as(&world.tree(".eco"));
}

#[test]
fn an_open_incident_compares_the_last_good_snapshot_with_what_is_live() {
    let world = healthy();
    world.spoil();
    break_two(&world);
    report(&world, &open_incident()).exits(0);
    let data = data(&world);
    let found = paths(&data);
    for path in [
        TWO[0],
        TWO[1],
        "config config/new.json created",
        "config config/state content",
        "module:recommend modules/recommend/code content",
        "data data/dangling kind",
        "data data/run-me metadata",
        "data data/sub/deep/file deleted",
    ] {
        assert!(found.iter().any(|own| own == path), "{path}\n{found:#?}");
    }
    // What is never rolled back is no evidence, and what lies still comes first.
    assert!(!found.iter().any(|path| path.contains("metrics") || path.contains(".log") || path.contains(".tmp")), "{found:#?}");
    assert!(found[0].starts_with("config ") && found.last().unwrap().starts_with("data "), "{found:#?}");
    let metadata = data["comparisons"][0]["paths"].as_array().unwrap().iter().find(|path| path["path"] == "data/run-me").unwrap();
    assert_eq!((&metadata["details"], &metadata["before"]["mode"], &metadata["after"]["mode"]), (&json!(["mode"]), &json!("0755"), &json!("0600")));
}

#[test]
fn without_either_side_the_rest_is_still_written_and_that_is_said() {
    let world = healthy();
    world.write("eco.toml", world.read("eco.toml") + "[evidence]\nlogs = [\"logs/*.log\"]\n").write("logs/a.log", format!("{ONSET} it broke\n"));
    break_two(&world);
    let done = world.at("2026-03-01T10:05:00Z").run("eco-restore").args(["latest-good", "--yes"]).exits(0);
    let safety = world.store().join("shop-safety");
    fs::remove_dir_all(&safety).unwrap();
    let ran = report(&world, &with(&done.stdout)).exits(3).says("not in the evidence: what differs, for rollback ");
    assert!(ran.stdout.contains("Not all of it could be had: 1 missing"), "{}", ran.stdout);
    assert!(file(&world, "README.txt").contains("the tree from before it is not kept in "), "{}", file(&world, "README.txt"));
    assert!(file(&world, "logs/logs_a.log.txt").contains("it broke"));
    assert_eq!(data(&world)["comparisons"], json!([]));

    // The good one is gone as well.
    fs::remove_dir_all(world.store()).unwrap();
    report(&world, &with(&done.stdout)).exits(3).says("the snapshot that it went back to is gone");
    report(&world, &open_incident()).exits(3).says("no good snapshot from before the trouble");
}

#[test]
fn lines_around_the_onset_are_taken_from_every_piece_of_a_log() {
    let world = healthy();
    let toml = world.read("eco.toml")
        + "[evidence]\nlogs = [\"logs/**/*.log\"]\nlog_zone = \"+01:00\"\nlog_before = \"5m\"\nlog_after = \"10m\"\n[[probe]]\nkind = \"log\"\npath = \"run/access\"\nerror = \"500\"\ntime = \"common\"\n";
    world.write("eco.toml", toml);
    // Rotated in the middle of it, and packed before that; its times have no zone.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"2026-03-01 10:54:59,000 INFO too early\n2026-03-01 10:55:00,000 INFO first\n").unwrap();
    world.write("logs/app.log.2.gz", packed.finish().unwrap());
    world.write("logs/app.log.1", "2026-03-01 10:59:59,000 ERROR boom\nTraceback:\n  File \"shop.py\"\n");
    world.write("logs/app.log", "2026-03-01 11:00:00,000 INFO at onset\n2026-03-01 11:10:00,000 INFO last\n2026-03-01 11:10:01,000 INFO too late\n");
    world.write("logs/sub/undated.log", "no time\npassword: hunter2\n");
    world.write("run/access", "1.2.3.4 - - [01/Mar/2026:10:01:00 +0000] \"GET /?token=hunter2 HTTP/1.1\" 500 1\n");
    symlink("/etc/passwd", world.path("logs/link.log")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("logs/fifo.log"), 0o600.into()).unwrap();
    let ran = report(&world, &open_incident()).exits(3);
    let log = file(&world, "logs/logs_app.log.txt");
    for line in [
        "INFO first",
        "ERROR boom",
        "Traceback:",
        "  File \"shop.py\"",
        "INFO at onset",
        "INFO last",
        "==> logs/app.log.2.gz <==",
        "==> logs/app.log.1 <==",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert!(!log.contains("too "), "{log}");
    let order =
        ["first", "boom", "Traceback", "-------- the onset, 2026-03-01 10:00:00 --------", "at onset", "last"].map(|part| log.find(part).unwrap());
    assert!(order.is_sorted(), "{log}");
    let undated = file(&world, "logs/logs_sub_undated.log.txt");
    assert!(undated.contains("no line of it has a time") && undated.contains("password: ***"), "{undated}");
    assert!(file(&world, "logs/run_access.txt").contains("token=*** HTTP/1.1"), "{ran}");
    let data = data(&world);
    let said = gaps(&data);
    assert!(said.iter().any(|gap| gap.starts_with("logs/link.log: it is a symbolic link")), "{said:#?}");
    assert!(said.iter().any(|gap| gap.starts_with("logs/fifo.log: it is no regular file")), "{said:#?}");
    assert_eq!(said.len(), 2, "{said:#?}");
    let everything = everything(&world);
    assert!(!everything.contains("hunter2") && !everything.contains("root:x:"));
}

#[test]
fn the_place_of_a_time_in_a_long_log_is_found_without_reading_it_all() {
    let world = healthy();
    world.write("eco.toml", world.read("eco.toml") + "[evidence]\nlogs = [\"logs/long.log\"]\nlog_before = \"2s\"\nlog_after = \"1s\"\n");
    let begin: i64 = "2026-02-28T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    let text: String = (0..300_000).map(|n| format!("{} line {n} {:60}\n", begin + n, "")).collect();
    assert!(text.len() > 16 << 20);
    world.write("logs/long.log", text);
    report(&world, &open_incident()).exits(0);
    let log = file(&world, "logs/logs_long.log.txt");
    let at = "2026-03-01T10:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() - begin;
    let shown: Vec<String> = log.lines().filter_map(|line| line.split(' ').nth(2).filter(|_| line.contains(" line ")).map(str::to_owned)).collect();
    assert_eq!(shown, (at - 2..=at + 1).map(|n| n.to_string()).collect::<Vec<_>>(), "{log}");
}

#[test]
fn secrets_stay_here_in_differences_logs_and_links() {
    let world = healthy();
    let rules = "[evidence]\nlogs = [\"logs/*.log\"]\nmask = ['card (?<number>\\d+)']\nexclude = [\"*.pem\", \"secret/**\"]\n";
    world.write("eco.toml", world.read("eco.toml") + rules);
    let key = "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----\n";
    world.write(
        "config/all.yaml",
        format!("db:\n  password: hunter2\n  url: postgres://a:hunter2@db/x\nkey: AKIAIOSFODNN7EXAMPLE\ncard 4111111111\n{key}"),
    );
    world.write("config/tls.pem", "hunter2\n");
    symlink("https://a:hunter2@host/", world.path("config/link")).unwrap();
    world.write(
        "logs/a.log",
        format!("{ONSET} Authorization: Bearer hunter2.hunter2.hunter2\n{ONSET} card 4111111111\n{ONSET} {{\"api_key\":\"hunter2\"}}\n"),
    );
    report(&world, &open_incident()).exits(0);
    let everything = everything(&world);
    for secret in ["hunter2", "AKIAIOSFODNN7EXAMPLE", "4111111111"] {
        assert!(!everything.contains(secret), "{everything}");
    }
    let (diff, data) = (file(&world, "changes.diff"), data(&world));
    assert!(diff.contains("+  url: postgres://a:***@db/x") && diff.contains("+card ***"), "{diff}");
    let pem = data["comparisons"][0]["paths"].as_array().unwrap().iter().find(|path| path["path"] == "config/tls.pem").unwrap();
    assert_eq!(pem["shown"], "excluded");
    assert!(pem["after"]["digest"].is_string(), "{pem}");
    assert!(data["masked"].as_u64().unwrap() >= 9, "{}", data["masked"]);
}

#[test]
fn databases_binaries_and_long_files_are_told_apart_by_what_can_be_told() {
    let world = World::service();
    let rows = |count: i64| {
        let database = rusqlite::Connection::open(world.path("data/shop.db")).unwrap();
        database.execute_batch("create table if not exists orders(x); create table if not exists users(x); delete from orders;").unwrap();
        (0..count).for_each(|n| drop(database.execute("insert into orders values (?)", [n])));
    };
    rows(3);
    world.write("config/blob", b"a\0b").write("config/latin", b"caf\xe9\n").write("config/long", "x\n".repeat(300_000));
    world.at("2026-03-01T09:00:00Z").good();
    rows(7);
    world.write("config/blob", b"a\0c").write("config/latin", b"caf\xe8\n").write("config/long", "y\n".repeat(300_000));
    let done = world.at("2026-03-01T10:05:00Z").run("eco-restore").args(["latest-good", "--yes"]).exits(0);
    report(&world, &with(&done.stdout)).exits(0);
    let data = data(&world);
    let shown: Vec<(&str, &str)> = data["comparisons"][0]["paths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| (path["path"].as_str().unwrap(), path["shown"].as_str().unwrap()))
        .collect();
    assert_eq!(shown, [("config/blob", "binary"), ("config/latin", "binary"), ("config/long", "long"), ("data/shop.db", "tables")]);
    assert_eq!(data["comparisons"][0]["paths"][3]["tables"], json!([{"table": "orders", "before": 3, "after": 7}]));
    assert!(file(&world, "changes.txt").contains("rows: orders 3 -> 7"));
}

#[test]
fn the_folder_is_private_whole_and_takes_the_place_of_nothing_else() {
    let world = healthy();
    break_two(&world);
    report(&world, &open_incident()).exits(0);
    let mode = |path: &str| fs::metadata(world.folder().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("evidence"), mode("evidence/README.txt"), mode("evidence/evidence.json")], [0o700, 0o600, 0o600]);
    // Evidence of an earlier run is replaced as a whole.
    world.write("modules/ui/menu", "a\nb\n");
    report(&world, &open_incident()).exits(0);
    assert_eq!(paths(&data(&world)), [TWO[0]]);
    let names: Vec<_> = fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");

    fs::write(world.folder().join("evidence/notes.txt"), "mine").unwrap();
    let refused = report(&world, &open_incident()).exits(2).says("holds notes.txt, which is no evidence");
    assert_eq!(refused.stdout, "");
    fs::create_dir(world.folder().join("full")).unwrap();
    fs::write(world.folder().join("full/README.txt"), "somebody else's").unwrap();
    let elsewhere = |place: &str| world.run("eco-report").args(["--evidence", place]).stdin(open_incident());
    elsewhere("../full").exits(2).says("is not empty");
    elsewhere("../no/such").exits(2).says("is in no folder that exists");
    elsewhere("eco.toml").exits(2).says("is there and is no folder");
    fs::create_dir(world.folder().join("empty")).unwrap();
    elsewhere("../empty").exits(0);
}

#[test]
fn evidence_that_somebody_worked_on_is_kept_beside_the_new_one() {
    let world = healthy();
    world.write("eco.toml", world.read("eco.toml") + "[evidence]\nlogs = [\"logs/*.log\"]\n").write("logs/a.log", format!("{ONSET} it broke\n"));
    break_two(&world);
    let at = |path: &str| world.folder().join(path);
    let append = |path: &str| fs::write(at(path), fs::read_to_string(at(path)).unwrap() + " ").unwrap();
    let again = || report(&world, &open_incident()).exits(0);
    again();
    let whole = everything(&world);
    // Nobody has touched it, or has only removed something: there is nothing to keep.
    fs::remove_file(at("evidence/changes.diff")).unwrap();
    let quiet = again();
    assert!(!quiet.stderr.contains("kept") && !at("evidence.old-1").exists(), "{quiet}");
    fs::write(at("evidence/logs/mine.txt"), "what I found").unwrap();
    again().says("evidence.old-1: logs/mine.txt was added");
    assert_eq!(fs::read_to_string(at("evidence.old-1/logs/mine.txt")).unwrap(), "what I found");
    for (number, name) in ["README.txt", "logs/logs_a.log.txt", "evidence.json"].into_iter().enumerate() {
        append(&format!("evidence/{name}"));
        let changed = fs::read(at("evidence").join(name)).unwrap();
        let old = format!("evidence.old-{}", number + 2);
        again().says(&format!("the evidence that was there is kept as {}: {name} ", at(&old).display()));
        assert_eq!(fs::read(at(&old).join(name)).unwrap(), changed);
        assert!(at(&old).join("changes.txt").exists());
    }
    assert_eq!(everything(&world), whole);
    let names: Vec<_> = fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
}

#[test]
fn without_an_incident_or_with_another_service_there_is_nothing_to_gather() {
    let world = healthy();
    let quiet = "{\"type\":\"health\",\"time\":\"2026-03-01T10:00:00Z\",\"up\":true}\n";
    report(&world, quiet).exits(1).says("no evidence is gathered");
    assert!(!world.folder().join("evidence").exists());
    report(&world, &open_incident().replace("\"shop\"", "\"other\"")).exits(3).says("the incident is one of other");
    assert_eq!(data(&world)["comparisons"], json!([]));
    // The report alone needs no configuration.
    fs::remove_file(world.path("eco.toml")).unwrap();
    world.run("eco-report").stdin(open_incident()).exits(0);
    report(&world, &open_incident()).exits(2).says("no eco.toml here");
}

#[test]
fn wrong_words_in_the_section_are_named_with_their_line() {
    let world = healthy();
    let toml = world.read("eco.toml");
    let lines = toml.lines().count();
    for (wrong, says) in [
        ("mask = [\"a\",\n\"b(\"]", "'b(' is not a regular expression: unclosed group"),
        ("log_zone = \"Mars\"", "'Mars' is not a time zone"),
        ("log = [\"a\"]", "did you mean `logs`?"),
        ("logs = [\"a[\"]", "[evidence]: 'a[' is not a pattern"),
        ("logs = [\"../*.log\"]", "leads out of the folder"),
        ("exclude = [\"a{\"]", "[evidence]: 'a{' is not a pattern"),
    ] {
        world.write("eco.toml", format!("{toml}[evidence]\n{wrong}\n"));
        let ran = report(&world, &open_incident()).exits(2).says(says);
        if !says.starts_with('[') && !wrong.contains("..") {
            assert!([2, 3].iter().any(|more| ran.stderr.contains(&format!("eco.toml:{}: ", lines + more))), "{ran}");
        }
    }
    world.write("eco.toml", format!("{toml}[evidence]\nlogs = [\"logs/*.log\"]\nmask = ['a(?<b>c)']\n"));
    let said = world.run("eco-health").arg("--check-config").ran();
    for line in [
        "[evidence]",
        "  logs       logs/*.log",
        "  lines      from 5m before the onset to 10m after it",
        "  log_zone   UTC",
        "  mask       a(?<b>c)",
    ] {
        assert!(said.stdout.lines().any(|own| own == line), "{line}\n{said}");
    }
}

#[test]
fn whoever_may_not_read_everything_gets_the_rest_and_is_told() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return not_shown("evidence that an ordinary user gathers", "only root can become somebody else");
    }
    let world = healthy();
    world.write("eco.toml", world.read("eco.toml") + "[evidence]\nlogs = [\"logs/*.log\"]\n");
    world.write("logs/closed.log", format!("{ONSET} closed\n")).write("logs/open.log", format!("{ONSET} open\n"));
    break_two(&world);
    let close = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    close(&world.folder(), 0o755);
    // Whoever may read archives may read what is in them.
    for entry in fs::read_dir(world.store()).unwrap() {
        let folder = entry.unwrap().path();
        close(&folder, 0o755);
        fs::read_dir(folder).unwrap().for_each(|file| close(&file.unwrap().path(), 0o644));
    }
    close(&world.store(), 0o755);
    close(&world.path("config/state"), 0o600);
    close(&world.path("modules/recommend"), 0o700);
    close(&world.path("logs/closed.log"), 0o600);
    let own = world.folder().join("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    let ran = world.run("eco-report").args(["--evidence", "../own/evidence"]).stdin(open_incident()).user(NOBODY).exits(3);
    for part in ["config/state: cannot be read", "modules/recommend: cannot list", "cannot read logs/closed.log: permission denied"] {
        assert!(ran.stderr.contains(part), "{part}\n{ran}");
    }
    let data: Value = serde_json::from_str(&fs::read_to_string(own.join("evidence/evidence.json")).unwrap()).unwrap();
    let found = paths(&data);
    assert!(TWO.iter().all(|path| found.iter().any(|own| own == path)), "{found:#?}");
    assert!(!found.iter().any(|path| path.contains("config/state") || path.contains("recommend/code")), "{found:#?}");
    assert!(own.join("evidence/logs/logs_open.log.txt").exists());
}

#[test]
fn a_hostile_tree_leads_nowhere_and_stops_nothing() {
    let world = healthy();
    symlink("/etc", world.path("config/etc")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("config/fifo"), 0o600.into()).unwrap();
    let name = OsStr::from_bytes(b"config/a\n\x1b[31m\xff");
    world.write(name, "x\n");
    world.write("config/evil.db", [b"SQLite format 3\0".as_slice(), &[0xff; 8000]].concat());
    report(&world, &open_incident()).exits(0);
    let found = paths(&data(&world));
    assert!(
        found.iter().any(|path| path == "config config/fifo created") && found.iter().any(|path| path == "config config/etc created"),
        "{found:#?}"
    );
    let text = everything(&world);
    assert!(!text.contains('\x1b') && !text.contains("root:x:"), "{text}");
}
