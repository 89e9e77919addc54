//! The checklist after a rollback: what is checked, what its limits mean, and what happens when one is exceeded.

use crate::harness::{Ran, Tree, World};
use serde_json::{Value, json};

const ROOTS: [&str; 3] = ["config", "data", "modules"];

/// A service whose health command prints `says`, with these limits.
fn service(says: &str, limits: &str) -> World {
    let world = World::service();
    world.write("run/says", says).program("bin/health", "#!/bin/sh\ncat run/says\n");
    let toml = world.read("eco.toml").replace("health = \"10s\"", "health = \"1s\"");
    world.write("eco.toml", format!("{toml}[verify.limits]\n{limits}"));
    world.good();
    world.spoil();
    world
}

fn roots(world: &World) -> [Tree; 3] {
    ROOTS.map(|root| world.tree(root))
}

/// Name, `ok` and note of the checks after the start.
fn checks(done: &Ran) -> Vec<(String, Value, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = done.all("step").into_iter().skip_while(|step| step["step"] != "health").take_while(|step| step["step"] != "safety");
    steps.map(|step| (text(&step["step"]), step["ok"].clone(), text(&step["note"]))).collect()
}

#[track_caller]
fn note(done: &Ran, name: &str) -> (Value, String) {
    let found = checks(done).into_iter().find(|(step, ..)| step == name);
    found.map(|(_, ok, note)| (ok, note)).unwrap_or_else(|| panic!("no check {name}: {:?}", checks(done)))
}

#[test]
fn the_whole_checklist_is_in_the_record_one_line_each() {
    let world = service(
        r#"{"up":true,"modules":{"ui":{"status":"integrated","error_count":2},"pay":{"status":"integrated","error_count":0}},"requests":100,"error_rate":0.01,"response_ms":4,"cpu_usage":0.1,"integrity":true}"#,
        "error_rate = 0.05\nerrors = 10\nresponse_ms = 10\ncpu_usage = 0.3\nmemory_usage = \"4GiB\"\n",
    );
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    let names: Vec<String> = checks(&done).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["health", "process", "modules", "errors", "response", "cpu", "memory", "integrity", "selftest"]);
    assert!(checks(&done).iter().all(|(_, ok, _)| ok == true), "{done}");
    assert_eq!(note(&done, "modules").1, "2 of 2 ok");
    assert_eq!(note(&done, "errors").1, "error_rate 0.01, limit 0.05; errors 2, limit 10 (module ui)");
    assert_eq!(note(&done, "response").1, "response_ms 4, limit 10");
    assert_eq!(note(&done, "cpu").1, "cpu_usage 0.1, limit 0.3");
    let memory = note(&done, "memory").1;
    assert!(memory.starts_with("memory_usage ") && memory.ends_with("iB, limit 4GiB"), "measured by us: {memory}");
    assert_eq!(note(&done, "process").1, format!("process {} runs", world.pid().unwrap()));
    let plan = done.last("plan");
    assert!(plan["verify"].as_array().unwrap().contains(&json!("memory_usage at most 4GiB")), "{plan}");
}

#[test]
fn a_limit_that_is_exceeded_swaps_back() {
    for (limits, says, name, why) in [
        ("response_ms = 10\n", r#"{"up":true,"response_ms":11}"#, "response", "response_ms 11, limit 10"),
        ("errors = 10\n", r#"{"up":true,"modules":{"ui":{"status":"ok","error_count":11}}}"#, "errors", "errors 11, limit 10 (module ui)"),
        ("error_rate = 0.01\n", r#"{"up":true,"error_rate":0.02}"#, "errors", "error_rate 0.02, limit 0.01"),
        ("cpu_usage = 0.3\n", r#"{"up":true,"cpu_usage":0.31}"#, "cpu", "cpu_usage 0.31, limit 0.3"),
        ("memory_usage = \"1KiB\"\n", r#"{"up":true}"#, "memory", "limit 1KiB"),
    ] {
        let world = service(says, limits);
        let broken = roots(&world);
        let done = world.run("eco-restore").arg("latest-good").exits(5).says(why);
        assert_eq!(note(&done, name).0, false, "{done}");
        assert_eq!((note(&done, "health").0, done.last("restore")["phase"].clone()), (json!(true), json!("reverted")));
        broken.iter().zip(roots(&world)).for_each(|(before, now)| before.same_as(&now));
    }
}

#[test]
fn a_limit_for_what_nobody_measures_is_not_checked_and_fails_nothing() {
    let world = service("", "error_rate = 0.01\nresponse_ms = 1\nerrors = 0\n");
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    assert_eq!(note(&done, "response"), (Value::Null, "not checked: nobody measures response_ms".into()));
    assert_eq!(note(&done, "errors").0, Value::Null);

    // Nobody at all to ask, and no process to look at.
    world.config("[verify.limits]\ncpu_usage = 0.3\nmemory_usage = 0.5\n");
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    let seen = checks(&done).into_iter().filter(|(_, ok, _)| ok.is_null()).map(|(name, ..)| name);
    assert_eq!(seen.collect::<Vec<_>>(), ["health", "cpu", "memory", "selftest"]);
}

#[test]
fn a_service_that_is_busy_right_after_its_start_is_given_the_time_that_health_has() {
    let world = service("", "cpu_usage = 0.3\nresponse_ms = 10\n");
    // Busy first, then slow, then neither; each limit is kept at some moment, not both at the same one.
    world.program(
        "bin/health",
        "#!/bin/sh\nn=$(cat run/n 2>/dev/null || echo 0)\necho $((n + 1)) >run/n\ncase $n in\n0) echo '{\"up\":true,\"cpu_usage\":0.9,\"response_ms\":5}' ;;\n*) echo '{\"up\":true,\"cpu_usage\":0.1,\"response_ms\":50}' ;;\nesac\n",
    );
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    assert_eq!((note(&done, "cpu").1, note(&done, "response").1), ("cpu_usage 0.1, limit 0.3".into(), "response_ms 5, limit 10".into()));
    assert!(world.read("run/n").trim().parse::<u32>().unwrap() >= 2);
}

#[test]
fn a_service_whose_process_is_gone_is_not_well_whatever_the_probes_say() {
    let world = service("", "");
    world.program("bin/start", "#!/bin/sh\nexit 0\n");
    world.program("bin/health", "#!/bin/sh\nexit 0\n");
    let done = world.run("eco-restore").arg("latest-good").exits(5).says("process: not within 1s");
    assert_eq!((note(&done, "health").0, note(&done, "process").0), (json!(true), json!(false)));
}

#[test]
fn without_limits_only_what_is_measured_and_means_something_is_told() {
    let world = service(r#"{"up":true,"response_ms":5000,"cpu_usage":1.0,"modules":{"ui":"asleep"}}"#, "");
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    let names: Vec<String> = checks(&done).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["health", "process", "modules", "selftest"]);
    assert_eq!(note(&done, "modules"), (Value::Null, "0 of 1 ok".into()));
}

#[test]
fn limits_are_shown_and_a_wrong_one_is_refused() {
    let world = World::service();
    let toml = world.read("eco.toml");
    let shown = world.write("eco.toml", format!("{toml}[verify.limits]\ncpu_usage = 0.3\nmemory_usage = \"4096MiB\"\n"));
    let shown = shown.run("eco-health").arg("--check-config").exits(0);
    assert!(shown.stdout.contains("[verify.limits]\n") && shown.stdout.contains("memory_usage 4GiB"), "{shown}");
    for (limits, why) in
        [("cpu_usage = 30", "is a share"), ("cpu = 0.3", "expected one of `error_rate`"), ("memory_usage = \"4GB\"", "'4GB' is not a size")]
    {
        world.write("eco.toml", format!("{toml}[verify.limits]\n{limits}\n"));
        world.run("eco-health").arg("--check-config").exits(2).says(why);
    }
}
