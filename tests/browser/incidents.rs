//! Incidents as they are recorded: health, changes, snapshots, rollbacks, minute by minute, and the decisions that the real
//! programs make of them.

use crate::harness::World;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::OnceLock;

/// One recorded incident, and its report.
pub struct Incident {
    pub name: &'static str,
    pub stream: String,
    pub html: String,
}

/// A name that wants to be more than a name.
pub const HOSTILE: &str = "<script>alert(1)</script>";

const PHASES: &str = r#"
[[phase]]
name = "canary"
percentage = 10
duration = "15m"
rollback_on_error_rate = 0.05

[[phase]]
name = "staged"
percentage = 50
duration = "30m"
rollback_on_error_rate = 0.03

[[phase]]
name = "full"
percentage = 100
duration = "1h"
rollback_on_error_rate = 0.02
"#;

const CONTACTS: &str = "[contacts]\nadministrator = \"Operations desk, 555 0100\"\non-call = \"pager 7\"\nescalation = \"<b>ops@example.com</b>\"\n";

/// All of them, made once.
pub fn all() -> &'static [Incident] {
    static ALL: OnceLock<Vec<Incident>> = OnceLock::new();
    ALL.get_or_init(|| {
        let world = World::new();
        world.config(CONTACTS).write("rollout.toml", PHASES);
        let decided = |records: Vec<Value>| world.run("eco-decide").stdin(lines(&records)).exits(0).stdout;
        let rolled = |records: Vec<Value>| world.run("eco-rollout").args(["--plan", "rollout.toml"]).stdin(lines(&records)).exits(0).stdout;
        let streams = [
            ("full", decided(full())),
            ("module", decided(module())),
            ("config", decided(config())),
            ("open", decided(open())),
            ("flapping", decided(flapping())),
            ("without-data", decided(without_data())),
            ("rollout", rolled(rollout())),
            ("hostile", decided(hostile())),
            ("week", week()),
        ];
        let report = |stream: &str| world.run("eco-report").args(["-f", "html"]).stdin(stream).exits(0).stdout;
        streams.into_iter().map(|(name, stream)| Incident { name, html: report(&stream), stream }).collect()
    })
}

pub fn named(name: &str) -> &'static Incident {
    all().iter().find(|incident| incident.name == name).unwrap()
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// The instant so many seconds after the hour at which most of the trouble begins.
fn at(second: i64) -> String {
    let time: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    (time + SignedDuration::from_secs(second)).to_string()
}

fn record(second: i64, kind: &str, fields: Value) -> Value {
    let mut record = json!({"type": kind, "time": at(second), "ecosystem": "shop"});
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    record
}

/// Something between 0 and 1 that looks like chance and is always the same.
fn wobble(second: i64, salt: i64) -> f64 {
    let mixed = (second.wrapping_mul(2_654_435_761) ^ salt.wrapping_mul(40_503)).wrapping_mul(2_246_822_519) as u32;
    f64::from(mixed ^ (mixed >> 15)) / f64::from(u32::MAX)
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// A sample of a service that is well.
fn fine(second: i64) -> Value {
    let some = |salt: i64| wobble(second, salt);
    record(
        second,
        "health",
        json!({"up": true, "requests": (1150.0 + 120.0 * some(1)).round(), "error_rate": round(0.008 + 0.006 * some(2)),
            "response_ms": (112.0 + 18.0 * some(3)).round(), "cpu_usage": round(0.38 + 0.06 * some(4)), "memory_usage": round(0.55 + 0.01 * some(5)),
            "modules": {"core": "ok", "planner": "ok", "memory": "ok", "tools": "ok", "ui": "ok"}, "integrity": true, "integration": true}),
    )
}

/// The same with other values in some places.
fn sick(second: i64, fields: Value) -> Value {
    let mut sample = fine(second);
    for (name, value) in fields.as_object().unwrap() {
        match value.as_object() {
            Some(modules) => sample[name].as_object_mut().unwrap().extend(modules.clone()),
            None => sample[name] = value.clone(),
        }
    }
    sample
}

/// One sample a minute, from one minute to before another.
fn minutes(from: i64, to: i64, sample: impl Fn(i64) -> Value) -> Vec<Value> {
    (from..to).map(|minute| sample(minute * 60)).collect()
}

fn point(second: i64, id: &str) -> Value {
    record(second, "snapshot", json!({"id": id, "covers": ["data", "config", "modules"], "verified": true, "kind": "pre-deployment", "health": "ok"}))
}

fn change(second: i64, id: &str, target: &str) -> Value {
    record(second, "change", json!({"id": id, "target": target, "from": "r41", "to": "r42"}))
}

/// The beginning and the end of a rollback.
fn rollback(from: i64, to: i64, phase: &str, more: Value) -> Vec<Value> {
    let mut began = json!({"id": "019ca8f1-00a1b2", "phase": "started", "scope": "full", "snapshot": "019ca8f1-p2"});
    began.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut ended = began.clone();
    let numbers = json!({"phase": phase, "created": 12, "updated": 80, "deleted": 3, "kept": 7984, "preserved": 4, "data_loss_s": from + 5400,
        "downtime_ms": 4100, "took_ms": (to - from) * 1000});
    ended.as_object_mut().unwrap().extend(numbers.as_object().unwrap().clone());
    match phase {
        "completed" => ended["safety"] = json!("019ca8f1-00a1b2"),
        _ => ended["error"] = json!("not healthy within 60s"),
    }
    vec![record(from, "restore", began), record(to, "restore", ended)]
}

fn sorted(parts: impl IntoIterator<Item = Vec<Value>>) -> Vec<Value> {
    let mut all: Vec<Value> = parts.into_iter().flatten().collect();
    let order = |record: &Value| (record["time"].as_str().unwrap().parse::<Timestamp>().unwrap(), record["type"] == "health");
    all.sort_by_key(order);
    all
}

/// A setting makes everything slower and more wrong until nothing answers; it is rolled back as a whole.
fn full() -> Vec<Value> {
    let worse = |second: i64| {
        let minute = second as f64 / 60.0;
        let modules = json!({"planner": if minute < 3.0 { "degraded" } else { "failed" }, HOSTILE: "degraded", "ui": if minute > 5.0 { "degraded" } else { "ok" }});
        sick(
            second,
            json!({"error_rate": round(0.06 + 0.05 * minute), "response_ms": (280.0 + 190.0 * minute).round(), "cpu_usage": round(0.5 + 0.06 * minute),
                "memory_usage": round(0.56 + 0.02 * minute), "requests": (1150.0 - 60.0 * minute).round(), "modules": modules}),
        )
    };
    let down = |second: i64| record(second, "health", json!({"up": false}));
    sorted([
        vec![point(-5400, "019ca8f1-p2"), point(-600, "019ca8f1-p3"), change(-900, "c1", "config:limits")],
        minutes(-120, 0, fine),
        minutes(0, 8, worse),
        minutes(8, 12, down),
        rollback(670, 705, "completed", json!({"decision": "20260301T100000Z-2"})),
        minutes(12, 26, fine),
    ])
}

/// One module fails; a person agrees to go back.
fn module() -> Vec<Value> {
    let agreed = json!({"scope": "module:planner", "decision": "20260301T100000Z-1", "by": "operator"});
    sorted([
        vec![point(-5400, "019ca8f1-p2"), record(420, "operator", json!({"do": "approve"}))],
        minutes(-90, 0, fine),
        minutes(0, 9, |second| sick(second, json!({"modules": {"planner": "failed"}, "error_rate": 0.02}))),
        rollback(430, 433, "completed", agreed),
        minutes(9, 20, fine),
    ])
}

/// A setting is blamed and taken back within minutes.
fn config() -> Vec<Value> {
    sorted([
        vec![point(-5400, "019ca8f1-p2"), change(-120, "c1", "config:limits"), change(-3000, "c0", "automation:nightly")],
        minutes(-120, 0, fine),
        minutes(0, 4, |second| sick(second, json!({"error_rate": 0.31}))),
        rollback(140, 142, "completed", json!({"scope": "config:limits", "decision": "20260301T100000Z-1"})),
        minutes(4, 15, fine),
    ])
}

/// Slow and busy, nobody has done anything yet, and the monitoring was away for a while.
fn open() -> Vec<Value> {
    let slow = |second: i64| sick(second, json!({"response_ms": (700.0 + 200.0 * wobble(second, 9)).round(), "cpu_usage": 0.93, "error_rate": 0.12}));
    sorted([vec![point(-5400, "019ca8f1-p2")], minutes(-120, 0, fine), minutes(0, 40, slow), minutes(58, 90, slow)])
}

/// Up and down; the first rollback is swapped back, the second one holds.
fn flapping() -> Vec<Value> {
    let flap =
        |second: i64| if second / 60 % 3 == 0 { record(second, "health", json!({"up": false})) } else { sick(second, json!({"error_rate": 0.4})) };
    sorted([
        vec![
            point(-5400, "019ca8f1-p2"),
            change(-1500, "c1", "module:checkout"),
            change(-240, "c2", "config:limits"),
            change(-230, "c3", "experiment:new-page"),
        ],
        minutes(-60, 0, fine),
        minutes(0, 14, flap),
        rollback(250, 330, "reverted", json!({"decision": "20260301T100000Z-1"})),
        rollback(860, 890, "completed", json!({"id": "019ca8f1-00c3d4", "decision": "20260301T100000Z-1", "by": "operator"})),
        minutes(15, 24, fine),
        minutes(24, 29, flap),
        minutes(29, 30, |second| record(second, "health", json!({"up": null, "error": "no route to host"}))),
        minutes(30, 45, fine),
    ])
}

/// Signals and a rollback, and no health record at all.
fn without_data() -> Vec<Value> {
    sorted([
        vec![point(-5400, "019ca8f1-p2"), record(0, "signal", json!({"signal": "data_corruption", "source": "probe", "since": at(-600)}))],
        rollback(60, 75, "completed", json!({"decision": "20260301T095000Z-1"})),
    ])
}

/// A new version gets its traffic and fails with half of it.
fn rollout() -> Vec<Value> {
    let cohort = |second: i64, cohort: &str, requests: i64, errors: i64| {
        record(second, "health", json!({"cohort": cohort, "up": true, "requests": requests, "error_rate": round(errors as f64 / requests as f64)}))
    };
    let both = |second: i64| {
        let minute = second / 60;
        let (canary, stable) = if minute < 15 { (120, 1080) } else { (600, 600) };
        let failing = if minute < 24 { 1 + minute % 2 } else { 24 + minute % 3 * 4 };
        vec![cohort(second, "canary", canary, failing), cohort(second, "stable", stable, 6 + minute % 3)]
    };
    let start = json!({"id": "r7", "version": "planner@r42", "target": "module:planner", "state": "idle"});
    sorted([
        vec![point(-5400, "019ca8f1-p2"), record(0, "rollout", start)],
        minutes(-60, 0, fine),
        (0..30).flat_map(|minute| both(minute * 60)).collect(),
        rollback(1680, 1690, "completed", json!({"scope": "module:planner"})),
        minutes(30, 45, fine),
    ])
}

/// Names that want to be markup, marks that turn text around, and more modules than fit.
fn hostile() -> Vec<Value> {
    let long = "a-very-long-name-".repeat(12);
    let names = [
        HOSTILE,
        "\"><img src=x onerror=alert(2)>",
        "]]></svg><script>alert(3)</script>",
        "\u{202e}turned\u{0007}",
        "{{ 7 * 7 }}",
        "&lt;b&gt;",
        &long,
    ];
    let modules = |state: &str| {
        let many = (0..30).map(|at| (format!("module-{at:02}"), if at % 7 == 3 { state } else { "ok" }.to_owned()));
        let odd = names.iter().map(|name| ((*name).to_owned(), state.to_owned()));
        Value::Object(many.chain(odd).map(|(name, state)| (name, Value::String(state))).collect())
    };
    let sick_modules = |second: i64| sick(second, json!({"modules": modules("failed")}));
    let mut change = change(-300, names[1], &format!("config:{long}"));
    change["to"] = json!(names[2]);
    let mut all = sorted([
        vec![point(-5400, "019ca8f1-p2"), change, record(100, "signal", json!({"signal": names[2], "target": names[1]}))],
        minutes(-60, 0, |second| sick(second, json!({"modules": modules("ok")}))),
        minutes(0, 8, sick_modules),
        rollback(200, 210, "failed", json!({"id": names[0], "decision": "20260301T100000Z-1", "snapshot": names[2], "error": names[1]})),
        minutes(8, 16, fine),
    ]);
    for record in &mut all {
        record["ecosystem"] = json!("</title><script>alert(4)</script>");
    }
    all
}

/// A week of a sample every ten seconds, with one bad one in it. The decision is written down: to make it is not what this is about.
fn week() -> String {
    let decision = json!({"id": "20260301T100000Z-1", "incident": "20260301T100000Z", "severity": "low", "action": "watch", "scope": null,
        "snapshot": null, "onset": at(0)});
    let sample = |second: i64| {
        let rate = if second == 300_010 { 0.9 } else { round(0.05 + 0.02 * wobble(second, 1)) };
        sick(
            second,
            json!({"error_rate": rate, "cpu_usage": round(wobble(second, 2)), "modules": {"planner": if second % 50 == 0 { "degraded" } else { "ok" }}}),
        )
    };
    let samples: Vec<Value> = (0..60_480).map(|at| sample(at * 10)).collect();
    lines(&[record(600, "decision", decision)]) + &lines(&samples)
}
