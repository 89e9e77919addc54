//! eco-prune: what goes, what stays whatever the rules say, and what is left when something goes wrong half-way.

use crate::harness::{Ran, World, not_shown, program};
use crate::reference_readers::noise;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const RULES: &str = "[retention]\ndaily = \"7d\"\nweekly = \"4w\"\n";

fn small() -> World {
    let world = World::new();
    world.config(RULES);
    // Large enough for a differential snapshot to be worth it.
    world.write("data/a", "alpha").write("config/c", "gamma").write("data/big", noise(50_000, 1));
    world
}

/// A good snapshot of this kind, at noon of a day of 2026.
#[track_caller]
fn snap(world: &World, day: &str, words: &[&str]) -> Value {
    world.write("data/day", day);
    world.at(&format!("2026-{day}T12:00:00Z")).run("eco-snap").arg("--good").args(words).exits(0).last("snapshot")
}

/// A full weekly one and two daily ones that need it, all of them old; and the same again, new. By name: w1, d1, d2, w2, d3.
fn generations(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for (day, kind) in [("01-01", "weekly"), ("01-02", "daily"), ("01-03", "daily"), ("03-01", "weekly"), ("03-02", "daily")] {
        all.push(snap(world, day, &["--kind", kind]));
    }
    assert!(all[1]["base"] == all[0]["id"] && all[2]["base"] == all[0]["id"] && all[4]["base"] == all[3]["id"], "{all:#?}");
    world.at("2026-03-03T12:00:00Z");
    all
}

fn id(snapshot: &Value) -> &str {
    snapshot["id"].as_str().unwrap()
}

fn path(snapshot: &Value) -> PathBuf {
    snapshot["path"].as_str().unwrap().into()
}

/// `eco-ls | eco-prune` with these words.
#[track_caller]
fn prune(world: &World, words: &str, code: i32) -> Ran {
    let listed = world.run("eco-ls").ran();
    world.run("eco-prune").args(words.split_whitespace()).stdin(listed.stdout).exits(code)
}

/// What is said of a snapshot.
#[track_caller]
fn about(ran: &Ran, snapshot: &Value) -> Value {
    let mut all = ran.all("retention").into_iter().filter(|record| record["snapshot"] == snapshot["id"]);
    let (one, more) = (all.next(), all.next());
    assert!(one.is_some() && more.is_none(), "{snapshot}\n{ran}");
    one.unwrap()
}

/// Ids of those that go.
fn going(ran: &Ran) -> Vec<String> {
    ran.all("retention").iter().filter(|record| record["keep"] == false).map(|record| record["snapshot"].as_str().unwrap().to_owned()).collect()
}

fn ids(snapshots: &[&Value]) -> Vec<String> {
    snapshots.iter().map(|snapshot| id(snapshot).to_owned()).collect()
}

/// All files in the store, by name; the lock is not one that anybody minds.
fn files(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![world.store()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != ".prune.lock" {
                found.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    found.sort();
    found
}

/// The files of these snapshots, and nothing else.
#[track_caller]
fn only_these_are_left(world: &World, snapshots: &[&Value]) {
    let names = snapshots.iter().map(|snapshot| path(snapshot).file_name().unwrap().to_str().unwrap().to_owned());
    let mut wanted: Vec<String> = names.flat_map(|name| [format!("{name}.verified"), name]).collect();
    wanted.sort();
    assert_eq!(files(world), wanted);
}

#[test]
fn it_says_what_would_go_and_why_and_touches_nothing() {
    let world = small();
    let all = generations(&world);
    let before = files(&world);
    let listed = world.run("eco-ls").exits(0).stdout;
    let ran = prune(&world, "", 0).says("2 kept (1 of 3 daily, 1 of 2 weekly), 3 to remove (").says("--apply removes them");
    assert!(ran.stdout.starts_with(&listed), "the stream is passed on as it came\n{ran}");
    assert_eq!(going(&ran), ids(&[&all[2], &all[1], &all[0]]));
    let gone = about(&ran, &all[1]);
    let path = all[1]["path"].clone();
    assert_eq!(
        (&gone["reasons"], &gone["removed"], &gone["kind"], &gone["taken"], &gone["path"], &gone["time"], &gone["ecosystem"]),
        (
            &json!(["daily: 60 d old, kept 7 d"]),
            &json!(false),
            &json!("daily"),
            &all[1]["time"],
            &path,
            &json!("2026-03-03T12:00:00Z"),
            &json!("shop")
        )
    );
    assert_eq!(about(&ran, &all[4])["reasons"], json!(["the last good one", "the newest of its kind", "daily: 1 d old, kept 7 d"]));
    assert_eq!(files(&world), before);
    let only = prune(&world, "--only", 0);
    assert_eq!((only.all("snapshot").len(), only.all("retention").len()), (0, 5));
}

#[test]
fn what_goes_is_gone_with_its_verdict_and_a_second_run_finds_nothing() {
    let world = small();
    let all = generations(&world);
    let bytes: u64 = all[..3].iter().map(|snapshot| snapshot["archive_bytes"].as_u64().unwrap()).sum();
    let ran = prune(&world, "--apply", 0).says("3 removed, ");
    assert!(bytes > 0 && !ran.stderr.contains("removed, 0 B"), "{ran}");
    for gone in &all[..3] {
        let record = about(&ran, gone);
        assert!(record["keep"] == false && record["removed"] == true && record["error"].is_null(), "{record}");
    }
    // Differential ones first, the oldest of them first.
    assert_eq!(going(&ran), ids(&[&all[1], &all[2], &all[0]]));
    only_these_are_left(&world, &[&all[3], &all[4]]);
    world.run("eco-verify").arg("latest").exits(0);
    let again = prune(&world, "--apply", 0).says("these rules let nothing go: all 2 snapshots are kept").says("2 kept, none to remove");
    assert!(going(&again).is_empty());
}

#[test]
fn selectors_take_the_place_of_stdin() {
    let world = small();
    let all = generations(&world);
    let ran = world.run("eco-prune").args(["--apply", "--", id(&all[1])]).stdin("not read").exits(0);
    assert_eq!((ran.records().len(), about(&ran, &all[1])["removed"].clone()), (1, json!(true)));
    assert!(!path(&all[1]).exists() && path(&all[2]).exists());
    // The old base is needed by one that was not asked about.
    let ran = world.run("eco-prune").args(["--apply", id(&all[0])]).exits(0);
    assert_eq!(ran.only()["reasons"], json!([format!("the base of daily {}", &id(&all[2])[30..])]));
    world.run("eco-prune").arg("nothing").exits(1).says("no snapshot 'nothing'");
}

#[test]
fn flags_win_over_the_file_and_count_what_was_asked_about() {
    let world = small();
    world.config("[retention]\nkeep-last = 5\n");
    let all: Vec<Value> = ["03-01", "03-02", "03-03", "03-04"].iter().map(|day| snap(&world, day, &["--kind=daily", "--full"])).collect();
    world.at("2026-03-05T12:00:00Z");
    assert!(going(&prune(&world, "", 0)).is_empty());
    assert_eq!(going(&prune(&world, "--keep-last=2", 0)), ids(&[&all[1], &all[0]]));
    assert_eq!(going(&prune(&world, "--keep-last=0 --keep-within=2d", 0)), ids(&[&all[1], &all[0]]));
    let older = world.run("eco-ls").args(["--before", "2026-03-03T12:00:00Z"]).exits(0).stdout;
    let ran = world.run("eco-prune").arg("--keep-last=1").stdin(older).exits(0);
    assert_eq!(going(&ran), ids(&[&all[0]]));
    world.run("eco-prune").arg("--keep-last=many").exits(2);
    world.run("eco-prune").arg("--yes").exits(2);
}

#[test]
fn rules_that_keep_everything_or_nothing_are_told() {
    let world = World::new();
    world.write("data/a", "alpha").write("config/c", "gamma");
    let all: Vec<Value> = ["03-01", "03-02", "03-03"].iter().map(|day| snap(&world, day, &["--kind=daily", "--full"])).collect();
    let ran = prune(&world, "--apply", 0).says("no rule says what may go");
    assert!(going(&ran).is_empty() && about(&ran, &all[0])["reasons"][0] == "daily: kept for ever, no rule names it", "{ran}");
    prune(&world, "--keep-daily=9", 0).says("these rules let nothing go: all 3 snapshots are kept");
    world.at("2027-03-01T12:00:00Z").config(RULES);
    let ran = prune(&world, "--apply", 0).says("these rules keep none of 3 snapshots: the only one left is what is never removed");
    assert_eq!(about(&ran, &all[2])["reasons"], json!(["the last good one", "the newest of its kind"]));
    only_these_are_left(&world, &[&all[2]]);
    world.run("eco-prune").stdin("").exits(1).says("no snapshot records came in");
    world.run("eco-prune").stdin("hello\n").exits(3).says("line 1 is not a record");
}

#[test]
fn pinned_snapshots_stay_until_they_are_unpinned() {
    let world = small();
    let all = generations(&world);
    let pinned = snap(&world, "01-05", &["--kind=daily", "--full", "--pin"]);
    world.at("2026-03-03T12:00:00Z");
    assert_eq!((&pinned["pinned"], &all[1]["pinned"]), (&json!(true), &Value::Null));
    let said = world.run("eco-ctl").args(["pin", id(&all[1])]).exits(0).only();
    assert_eq!((&said["pinned"], &said["id"], &said["time"]), (&json!(true), &all[1]["id"], &all[1]["time"]));
    world.run("eco-ctl").args(["pin", id(&all[1])]).exits(0);
    assert_eq!(world.run("eco-ls").arg(id(&all[1])).exits(0).only()["pinned"], true);
    let ran = prune(&world, "--apply", 0);
    assert_eq!(going(&ran), ids(&[&all[2]]));
    assert_eq!((&about(&ran, &all[1])["reasons"], &about(&ran, &pinned)["reasons"]), (&json!(["pinned"]), &json!(["pinned"])));
    // Its base stays with it.
    assert!(path(&all[0]).exists());
    let said = world.run("eco-ctl").args(["unpin", id(&all[1])]).exits(0).only();
    assert!(said["pinned"].is_null(), "{said}");
    world.run("eco-ctl").args(["unpin", id(&all[1])]).exits(1).says("was not pinned");
    assert_eq!(going(&prune(&world, "--apply", 0)), ids(&[&all[1], &all[0]]));
    world.run("eco-ctl").arg("pin").exits(2).says("name one snapshot");
    world.run("eco-ctl").args(["pin", "nothing"]).exits(1);
    world.run("eco-snap").args(["--pin", "-o", "x.tar.gz"]).exits(2);
    let beside: Vec<String> = files(&world).into_iter().filter(|name| name.ends_with(".pinned")).collect();
    assert_eq!(beside, [format!("{}.pinned", path(&pinned).file_name().unwrap().to_str().unwrap())]);
}

#[test]
fn what_somebody_reads_stays_and_so_does_its_base() {
    let world = small();
    let all = generations(&world);
    let reader = File::open(path(&all[2])).unwrap();
    flock(&reader, FlockOperation::LockShared).unwrap();
    let ran = prune(&world, "--apply", 0);
    assert_eq!(going(&ran), ids(&[&all[1]]));
    assert_eq!(about(&ran, &all[2])["reasons"], json!(["another process is reading it"]));
    assert_eq!(about(&ran, &all[0])["reasons"], json!([format!("the base of daily {}", &id(&all[2])[30..])]), "{ran}");
    world.run("eco-verify").arg(id(&all[2])).exits(0);
    drop(reader);
    // And the other way round: what is being removed cannot be read, pinned or built on any more, and is not listed.
    let remover = File::open(path(&all[2])).unwrap();
    flock(&remover, FlockOperation::LockExclusive).unwrap();
    let listed = world.run("eco-ls").exits(0);
    assert!(!listed.stdout.contains(id(&all[2])), "{listed}");
    world.run("eco-verify").arg(path(&all[2])).exits(3).says("is being removed by another process");
    drop(remover);
    assert_eq!(going(&prune(&world, "--apply", 0)), ids(&[&all[2], &all[0]]));
}

#[test]
fn what_cannot_be_judged_is_set_aside() {
    let world = small();
    let all = generations(&world);
    world.shell("tar -czf ../shop-store/shop-weekly/shop-weekly-20250101.tar.gz data config");
    world.shell("head -c 3000 /dev/urandom >../shop-store/shop-weekly/noise.tar.gz");
    fs::copy(path(&all[1]), world.store().join("copy.tar.gz")).unwrap();
    let future = snap(&world, "12-24", &["--kind=daily", "--full"]);
    world.at("2026-03-03T12:00:00Z");
    let listed = world.run("eco-ls").exits(3).stdout;
    let others = "{\"type\":\"snapshot\",\"time\":\"2020-01-01T00:00:00Z\",\"ecosystem\":\"mail\",\"id\":\"m1\",\"kind\":\"daily\"}\n\
                  {\"type\":\"snapshot\",\"time\":\"2020-01-01T00:00:00Z\",\"ecosystem\":\"shop\",\"id\":\"s1\",\"kind\":\"daily\",\"path\":\"/etc/passwd\"}\n";
    let before = files(&world);
    let ran = world.run("eco-prune").arg("--apply").stdin(listed + others).exits(3).says("noise.tar.gz: ").says("it stays, and is not counted");
    let reason = |id: &str| {
        let all = ran.all("retention");
        let found: Vec<&Value> = all.iter().filter(|record| record["snapshot"] == id && record["set_aside"] == true).collect();
        assert!(found.len() == 1 && found[0]["keep"] == true && found[0]["removed"] == false, "{id}\n{ran}");
        found[0]["reasons"][0].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("shop-weekly-20250101"), "not an archive of these tools, or one that was cut short");
    assert_eq!(reason(id(&future)), "taken in the future, at 2026-12-24T12:00:00Z");
    assert_eq!(reason(id(&all[1])), "another copy of the same snapshot");
    assert_eq!((reason("m1"), reason("s1")), ("of another ecosystem: mail".into(), "not in the store".into()));
    let gone: Vec<String> = before.into_iter().filter(|name| !files(&world).contains(name)).collect();
    // The copy needs the base, so that stays; of the others each goes with its verdict.
    assert_eq!(gone.len(), 4, "{gone:?}");
    assert!(path(&all[0]).exists() && world.store().join("copy.tar.gz").exists());
}

#[test]
fn an_archive_that_cannot_be_read_may_need_any_base() {
    if rustix::process::geteuid().is_root() && !world_has_nobody() {
        return not_shown("that a base stays while an archive cannot be read", "it takes another user to set up");
    }
    let world = small();
    let all = generations(&world);
    let root = rustix::process::geteuid().is_root();
    world.shell(&format!("chmod 000 {}", path(&all[2]).display()));
    if root {
        world.shell(&format!("chown -R 65534:65534 .. && chown 0:0 {} && chmod 711 ..", path(&all[2]).display()));
    }
    let listed = world.run("eco-ls").ran().stdout;
    let mut run = world.run("eco-prune").arg("--apply").stdin(listed);
    if root {
        run = run.user(65534);
    }
    let ran = run.exits(3).says("permission denied; it stays");
    assert_eq!(going(&ran), ids(&[&all[1]]));
    assert!(about(&ran, &all[0])["reasons"][0].as_str().unwrap().starts_with("perhaps a base that is needed: cannot read "), "{ran}");
}

/// Whether programs can be run as somebody else here.
fn world_has_nobody() -> bool {
    World::new().run("true").user(65534).ran().code == 0
}

#[test]
fn what_a_rollback_needs_stays_while_it_can_be_undone() {
    let world = World::service();
    world.write("eco.toml", world.read("eco.toml") + "\n[retention]\nmanual = \"1d\"\ndaily = \"1d\"\nsafety = \"7d\"\n");
    world.at("2026-03-01T08:00:00Z");
    let old = world.good();
    world.spoil();
    world.at("2026-03-01T09:00:00Z");
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    let safety = done.last("snapshot");
    assert_eq!((&safety["kind"], &safety["base"]), (&json!("safety"), &old["id"]));
    // What comes after is good too, of every kind.
    world.at("2026-03-05T08:00:00Z");
    world.good();
    let restore = &id(&done.last("restore"))[30..].to_owned();
    let ran = prune(&world, "--apply", 0);
    let reasons = about(&ran, &old)["reasons"].clone();
    assert!(reasons.as_array().unwrap().contains(&json!(format!("rollback {restore} went back to it"))), "{ran}");
    let reasons = about(&ran, &safety)["reasons"].clone();
    assert!(reasons.as_array().unwrap().contains(&json!(format!("undoing rollback {restore} takes it"))), "{ran}");
    // When its time is over the state from before is the newest of its kind and nothing else.
    let ran = prune(world.at("2026-03-09T08:00:00Z"), "", 0);
    assert_eq!(about(&ran, &safety)["reasons"], json!(["the newest of its kind"]));
    assert_eq!(about(&ran, &old)["reasons"], json!([format!("the base of safety {}", &id(&safety)[30..])]));
}

#[test]
fn a_rollback_that_is_unfinished_keeps_what_it_goes_to() {
    if !can_trace() {
        return;
    }
    let world = World::service();
    world.write("eco.toml", world.read("eco.toml") + "\n[retention]\nmanual = \"1d\"\n");
    world.at("2026-03-01T08:00:00Z");
    let old = world.good();
    world.spoil();
    world.at("2026-03-01T09:00:00Z").good();
    world.at("2026-03-05T08:00:00Z");
    world.run("strace").args(["-o", "/dev/null", "-e", "inject=renameat2:signal=KILL:when=1"]).arg(program("eco-restore")).arg(id(&old)).exits(-9);
    let ran = prune(&world, "--apply", 0);
    let reasons = about(&ran, &old)["reasons"].clone();
    assert!(reasons[0].as_str().unwrap().ends_with("which is unfinished, needs it"), "{ran}");
    world.run("eco-restore").arg(id(&old)).exits(0);
    assert_eq!(world.read("config/state"), "well\n");
}

#[test]
fn people_see_a_table_with_the_reasons() {
    let world = small();
    let all = generations(&world);
    let ran = prune(&world, "--human --only", 0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "WHAT       ID              AGE  KIND                SIZE  WHY");
    assert_eq!(lines.len(), 6);
    let row = lines[3];
    assert!(
        row.starts_with(&format!("remove     {}         59 d  daily ", &id(&all[2])[30..])) && row.ends_with("daily: 59 d old, kept 7 d"),
        "{ran}"
    );
    assert!(lines[1].starts_with("keep ") && lines[1].ends_with("the last good one; the newest of its kind; daily: 1 d old, kept 7 d"), "{ran}");
}

#[test]
fn at_a_terminal_it_asks_first() {
    let world = small();
    let all = generations(&world);
    let (ls, prune) = (program("eco-ls"), program("eco-prune"));
    let at_terminal = |words: &str, answer: &str| {
        let line = format!("{} | {} --apply --only {words}", ls.display(), prune.display());
        // What a person types, and a terminal that is one.
        world.run("script").args(["-qec", &line, "/dev/null"]).env("TERM", "dumb").env("ECO_NOW", "2026-03-03T12:00:00Z").stdin(answer).ran()
    };
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run("script").args(["-qec", "true", "/dev/null"]).ran().code)).is_err() {
        return not_shown("that eco-prune asks at a terminal", "there is no script(1)");
    }
    let said = at_terminal("", "n\n");
    assert!(said.stdout.contains("2 kept (1 of 3 daily, 1 of 2 weekly), 3 to remove") && said.stdout.contains("Remove them? [y/N]"), "{said}");
    assert!(said.code == 1 && said.stdout.contains("nothing was removed") && all.iter().all(|snapshot| path(snapshot).exists()), "{said}");
    let said = at_terminal("", "y\n");
    assert!(said.code == 0 && said.stdout.contains("3 removed") && !path(&all[0]).exists(), "{said}");
    let before = snap(&world, "01-05", &["--kind=daily", "--full"]);
    world.at("2026-03-03T12:00:00Z");
    let said = at_terminal("--yes", "");
    assert!(said.code == 0 && !said.stdout.contains("Remove them?") && !path(&before).exists(), "{said}");
}

#[test]
fn one_run_removes_at_a_time_and_the_second_is_told_who_is_first() {
    let world = small();
    let all = generations(&world);
    let first = File::options().write(true).create(true).truncate(false).open(world.store().join(".prune.lock")).unwrap();
    flock(&first, FlockOperation::LockExclusive).unwrap();
    fs::write(world.store().join(".prune.lock"), "eco-prune, pid 7").unwrap();
    prune(&world, "--apply", 3).says("is locked by eco-prune, pid 7; nothing was removed");
    assert!(all.iter().all(|snapshot| path(snapshot).exists()));
}

#[test]
fn what_became_a_base_in_between_stays() {
    if !can_trace() {
        return;
    }
    let world = small();
    let old = snap(&world, "01-01", &["--kind=weekly"]);
    snap(&world, "03-02", &["--kind=weekly", "config"]);
    snap(&world, "03-02", &["--kind=daily", "--full", "config"]);
    // The last good one of everything would stay anyway: it is one that nobody called good.
    let newer = snap(&world, "01-02", &["--kind=monthly"]);
    world.at("2026-03-03T12:00:00Z");
    let listed = world.run("eco-ls").exits(0).stdout;
    let ran = world.run("eco-prune").stdin(&listed).exits(0);
    assert_eq!(going(&ran), ids(&[&old]), "{ran}");
    // The run is held up where it takes its lock: everything is decided by then.
    let lock = world.store().join(".prune.lock");
    let mut command = world.run("strace").args(["-o", "/dev/null", "-P"]).arg(&lock).args(["-e", "inject=flock:delay_enter=4000000"]).command();
    command.arg(program("eco-prune")).args(["--apply", "--only", id(&old)]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let began = Instant::now();
    while !lock.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came to its lock");
        thread::sleep(Duration::from_millis(2));
    }
    fs::rename(path(&newer), world.folder().join("away.tar.gz")).unwrap();
    let built = world.run("eco-snap").args(["--good", "--kind=daily"]).exits(0).only();
    assert_eq!(built["base"], old["id"]);
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let record: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(record["keep"] == true && record["removed"] == false && path(&old).exists(), "{record}");
    assert_eq!(record["snapshot"], old["id"]);
    world.run("eco-verify").arg(id(&built)).exits(0);
}

/// Calls that change the store, and flushes.
const CALLS: &str = "fsync,fdatasync,unlink,unlinkat,rename,renameat,renameat2,openat,write,ftruncate,flock,mkdir,mkdirat";

/// Whether processes can be killed at chosen moments here; if not, that is said aloud.
fn can_trace() -> bool {
    let world = World::new();
    let can = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run("strace").args(["-o", "/dev/null", "true"]).ran().code))
        .is_ok_and(|code| code == 0);
    assert!(can || std::env::var_os("CI").is_none(), "install strace, and let it trace");
    if !can {
        not_shown("what is left when eco-prune is killed", "strace is missing or may not trace");
    }
    can
}

/// A removal under strace; with a moment (a call, and which one of them) this fault happens there.
fn traced(world: &World, listed: &str, fault: Option<(&str, &str, usize)>) -> Ran {
    let log = world.folder().join("trace");
    let mut run = world.run("strace").arg("-o").arg(&log).args(["-e", &format!("trace={CALLS}")]);
    if let Some((fault, call, n)) = fault {
        run = run.args(["-e", &format!("inject={call}:{fault}:when={n}")]);
    }
    run.arg(program("eco-prune")).args(["--apply", "--only"]).stdin(listed).ran()
}

/// Each call of a run that was traced since its first look at the lock, with its number among those of its name.
fn moments(world: &World) -> Vec<(String, usize)> {
    let log = fs::read_to_string(world.folder().join("trace")).unwrap();
    let mut counts = std::collections::HashMap::<String, usize>::new();
    let (mut found, mut begun) = (Vec::new(), false);
    for line in log.lines() {
        let Some((call, _)) = line.split_once('(') else { continue };
        let call = call.rsplit(' ').next().unwrap().to_owned();
        let n = counts.entry(call.clone()).or_default();
        *n += 1;
        begun |= line.contains(".prune.lock");
        if begun {
            found.push((call, *n));
        }
    }
    found
}

/// Copies a store that was made once, times and all.
fn copied(from: &World) -> World {
    let world = small();
    world.shell(&format!("cp -a {} ..", from.store().display()));
    world.at("2026-03-03T12:00:00Z");
    world
}

/// What is in the store is whole: each archive has its verdict and its base, and reads back; and the last good one is there.
#[track_caller]
fn is_whole(world: &World, all: &[Value], when: &str) {
    let listed = world.run("eco-ls").exits(0).all("snapshot");
    for snapshot in &listed {
        assert!(snapshot["verified"] == true && snapshot["good"] == true, "{when}: {snapshot}");
    }
    assert!(listed.len() >= 2 && listed[0]["id"] == all[4]["id"] && listed[1]["id"] == all[3]["id"], "{when}");
    assert_eq!(files(world).iter().filter(|name| name.ends_with(".tar.gz")).count(), listed.len(), "{when}");
}

#[test]
fn killed_anywhere_it_leaves_whole_archives_and_the_next_run_finishes() {
    if !can_trace() {
        return;
    }
    let origin = small();
    let all = generations(&origin);
    let world = copied(&origin);
    let listed = world.run("eco-ls").exits(0).stdout;
    assert_eq!(traced(&world, &listed, None).code, 0);
    let moments = moments(&world);
    assert!(moments.iter().filter(|(call, _)| call.starts_with("unlink")).count() >= 6, "{moments:?}");
    // Every change and every flush; of the other calls one in four.
    let every = std::env::var_os("ECO_EVERY_MOMENT").is_some();
    let mut others = 0;
    for (call, n) in moments {
        others += 1;
        if !every && others % 4 != 0 && !call.starts_with("unlink") && !call.contains("sync") {
            continue;
        }
        let world = copied(&origin);
        let listed = world.run("eco-ls").exits(0).stdout;
        let when = format!("killed at {call} {n}");
        let killed = traced(&world, &listed, Some(("signal=KILL", &call, n)));
        assert_eq!(killed.code, -9, "{when}: {killed}");
        is_whole(&world, &all, &when);
        let again = prune(&world, "--apply --only", 0);
        assert!(!again.stderr.contains("error"), "{when}: {again}");
        // A verdict that lost its archive is removed by whoever removes something next.
        if !going(&again).is_empty() {
            only_these_are_left(&world, &[&all[3], &all[4]]);
        }
        is_whole(&world, &all, &when);
    }
}

#[test]
fn after_the_first_surprise_nothing_more_is_removed() {
    if !can_trace() {
        return;
    }
    let origin = small();
    let all = generations(&origin);
    let world = copied(&origin);
    let listed = world.run("eco-ls").exits(0).stdout;
    assert_eq!(traced(&world, &listed, None).code, 0);
    let moments: Vec<(String, usize)> =
        moments(&world).into_iter().filter(|(call, _)| call.starts_with("unlink") || call.contains("sync") || call == "flock").collect();
    assert!(moments.len() >= 12, "{moments:?}");
    for fault in ["error=EIO", "error=EACCES"] {
        for (call, n) in &moments {
            let world = copied(&origin);
            let listed = world.run("eco-ls").exits(0).stdout;
            let ran = traced(&world, &listed, Some((fault, call, *n)));
            let when = format!("{fault} at {call} {n}: {ran}");
            assert_eq!(ran.code, 3, "{when}");
            is_whole(&world, &all, &when);
            let records = ran.all("retention");
            for record in &records {
                let there = Path::new(record["path"].as_str().unwrap());
                let there = world.store().join(there.strip_prefix(origin.store()).unwrap_or(there)).exists();
                assert_eq!(there, record["removed"] == false, "{when}");
            }
            // Those after it are not tried: of the three that were to go one at least has an error, or none was reached.
            let failed = records.iter().filter(|record| record["error"].is_string()).count();
            assert!(failed > 0 || records.iter().all(|record| record["removed"] == false) || ran.stderr.contains("cannot"), "{when}");
        }
    }
}
