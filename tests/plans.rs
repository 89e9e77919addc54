//! A plan that was printed is carried out later, once, and only on what it saw.

use crate::harness::{Ran, Tree, World};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A running service with a good snapshot, spoilt since.
struct Due {
    world: World,
    good: Tree,
}

impl Due {
    fn new() -> Due {
        let world = World::service();
        world.good();
        let good = world.tree("config");
        world.spoil();
        Due { world, good }
    }

    /// The plan for these words, in a file.
    #[track_caller]
    fn plan(&self, words: &[&str]) -> (PathBuf, Value) {
        let done = self.world.run("eco-restore").args(words).arg("--dry-run").exits(0);
        (self.file(&done.stdout), done.only())
    }

    fn file(&self, text: &str) -> PathBuf {
        let file = self.world.folder().join("plan.ndjson");
        fs::write(&file, text).unwrap();
        file
    }

    fn apply(&self, file: &PathBuf) -> Ran {
        self.world.run("eco-restore").arg("--plan").arg(file).ran()
    }

    /// Refused with this exit code and one sentence, and nothing is another than before.
    #[track_caller]
    fn refused(&self, file: &PathBuf, code: i32, words: &str) {
        let (before, pid) = (self.world.tree("").without(&[".eco"]), self.world.pid());
        let done = self.apply(file).exits(code).says(words);
        assert_eq!((done.stdout.as_str(), done.stderr.lines().count()), ("", 1), "{done}");
        before.without(&[""]).same_as(&self.world.tree("").without(&[".eco", ""]));
        assert_eq!(self.world.pid(), pid, "the service runs on");
        assert!(!self.world.path(".eco/journal").exists());
    }
}

#[test]
fn a_printed_plan_is_carried_out_once() {
    let due = Due::new();
    let (file, plan) = due.plan(&["latest-good"]);
    let done = due.apply(&file).exits(0);
    let again: Value = done.last("plan");
    assert_eq!((&again["tree"], &again["restore"], &again["updated"]), (&plan["tree"], &plan["restore"], &plan["updated"]));
    let restore = done.last("restore");
    assert_eq!((&restore["id"], &restore["phase"], &restore["by"]), (&plan["restore"], &json!("completed"), &json!("operator")));
    due.good.same_as(&due.world.tree("config"));

    due.world.spoil();
    for more in [None, Some("--again")] {
        let second = due.world.run("eco-restore").args(more).arg("--plan").arg(&file).exits(0).says("make a new plan");
        assert_eq!((second.stdout.as_str(), second.stderr.lines().count()), ("", 1), "{second}");
    }
    assert_eq!(due.world.read("config/state"), "well, but wrong\n");
    due.world.run("eco-restore").arg("--undo").exits(0);
}

#[test]
fn a_plan_comes_from_a_pipe_too_among_other_records() {
    let due = Due::new();
    due.world.pipe(["eco-restore --dry-run latest-good --scope config", "eco-restore --plan -"]).exits([0, 0]);
    due.good.same_as(&due.world.tree("config"));
    assert_eq!(due.world.read("data/orders"), "garbage\n", "the plan was about the configuration");
}

#[test]
fn a_plan_is_not_carried_out_on_another_tree() {
    let due = Due::new();
    let world = &due.world;
    let (file, _) = due.plan(&["latest-good"]);
    // What is preserved or excluded grows all the time.
    world.write("data/metrics/2026-05", "e\n").write("data/new/y.tmp", "y\n").write("data/recommend/first.log", "l\n");
    due.world.run("eco-restore").args(["--dry-run", "--plan"]).arg(&file).exits(0);
    type Change<'a> = (&'a str, &'a dyn Fn());
    let changes: [Change<'_>; 6] = [
        ("content", &|| {
            world.write("data/orders", "Garbage\n");
        }),
        ("content of the same length, with its time set back", &|| {
            drop(world.shell("touch -r data/big run/t; printf x | dd of=data/big conv=notrunc status=none; touch -r run/t data/big; rm run/t"))
        }),
        ("permissions", &|| drop(world.shell("chmod 600 config/state"))),
        ("a new file", &|| {
            world.write("config/later", "");
        }),
        ("one that is gone", &|| drop(world.shell("rm config/new.json"))),
        ("a link that leads elsewhere", &|| drop(world.shell("ln -s here config/link"))),
    ];
    for (what, change) in changes {
        let (file, _) = due.plan(&["latest-good"]);
        change();
        println!("{what}");
        due.refused(&file, 4, "make a new plan");
    }
    let (file, _) = due.plan(&["latest-good"]);
    due.apply(&file).exits(0);
}

#[test]
fn a_plan_is_not_carried_out_with_another_snapshot_or_in_another_way() {
    let due = Due::new();
    let (file, plan) = due.plan(&["latest-good"]);
    let toml = due.world.read("eco.toml");
    due.world.write("eco.toml", toml.replace("\"*.log\"", "\"*.log\", \"data/new/**\""));
    due.refused(&file, 4, "make a new plan");
    due.world.write("eco.toml", toml.replace("command = [\"bin/selftest\"]", ""));
    due.refused(&file, 4, "(verify)");
    due.world.write("eco.toml", toml);
    let weaker = due.file(&plan.to_string().replace("\"exchange\"", "\"two-renames\""));
    due.refused(&weaker, 4, "'exchange'");
    let done = due.world.run("eco-restore").args(["--no-control", "--plan"]).arg(due.file(&plan.to_string())).exits(4).says("(control)");
    assert_eq!(done.stdout, "");
    let another = due.world.good();
    let other = due.file(&plan.to_string().replace(plan["snapshot"].as_str().unwrap(), another["id"].as_str().unwrap()));
    due.refused(&other, 4, "make a new plan");
    fs::remove_dir_all(due.world.store()).unwrap();
    due.refused(&due.file(&plan.to_string()), 4, "make a new plan");
}

#[test]
fn there_must_be_one_plan_and_of_a_rollback() {
    let due = Due::new();
    let (file, plan) = due.plan(&["latest-good"]);
    let text = fs::read_to_string(&file).unwrap();
    due.refused(&due.file(""), 4, "exactly one plan, and there are 0");
    due.refused(&due.file(&(text.clone() + &text)), 4, "exactly one plan, and there are 2");
    due.refused(&due.file(&(text.clone() + "{\"type\":")), 4, "line 2 is no record");
    due.refused(&due.file(&text.replace("\"ecosystem\":\"shop\"", "\"ecosystem\":\"other\"")), 4, "'other'");
    due.refused(&due.world.folder().join("none"), 2, "none");
    // An id becomes the name of a folder.
    for id in ["../../x", "lock", ""] {
        due.refused(&due.file(&text.replace(plan["restore"].as_str().unwrap(), id)), 2, "only a plan of a rollback");
    }
    due.world.run("eco-restore").arg("latest-good").exits(0);
    for words in [&["--undo"] as &[&str], &["--scope", "automation:a"], &["latest-good", "--target", "/nowhere/else"]] {
        due.refused(&due.plan(words).0, 2, "only a plan of a rollback");
    }
    let (_, other) = due.plan(&["latest-good"]);
    for words in [&["latest"] as &[&str], &["--scope", "config"], &["--undo"], &["--recover"], &["--abort"], &["--target", "x"]] {
        due.world.run("eco-restore").arg("--plan").arg(&file).args(words).exits(2);
    }
    // On the stream it is one record among others.
    let input = format!("{other}\n");
    assert_eq!(due.world.run("eco-restore").stdin(&input).exits(0).stdout, input);
}

#[test]
fn the_plan_of_a_decision_carries_the_decision_out_and_never_twice() {
    let due = Due::new();
    let world = &due.world;
    let decision = json!({"type": "decision", "time": "2026-03-01T10:00:00Z", "id": "i1/1", "incident": "i1", "severity": "critical",
        "action": "propose", "scope": "full", "cut": "2999-01-01T00:00:00Z", "reasons": [], "suspects": []});
    let input = format!("{decision}\n");
    let planned = world.run("eco-restore").args(["--approve", "--dry-run"]).stdin(&input).exits(0);
    let plan = planned.last("plan");
    assert_eq!((&plan["decision"], &plan["by"]), (&json!("i1/1"), &json!("operator")));
    // The whole stream will do: it has one plan.
    let file = due.file(&planned.stdout);
    let restore = due.apply(&file).exits(0).last("restore");
    assert_eq!((&restore["decision"], &restore["by"]), (&json!("i1/1"), &json!("operator")));
    world.spoil();
    assert!(world.run("eco-restore").arg("--approve").stdin(&input).exits(0).says("was carried out before").all("restore").is_empty());

    let again = world.run("eco-restore").args(["--approve", "--again", "--dry-run"]).stdin(&input).exits(0);
    let file = due.file(&again.stdout);
    assert!(due.apply(&file).exits(0).says("--again does it once more").stdout.is_empty());
    world.run("eco-restore").args(["--again", "--plan"]).arg(&file).exits(0).last("restore");
    due.good.same_as(&world.tree("config"));
}

#[test]
fn a_plan_that_was_interrupted_is_finished_first_and_then_used_up() {
    let due = Due::new();
    let (file, plan) = due.plan(&["latest-good"]);
    // The start command ends the rollback that runs it.
    due.world.write("bin/killing", due.world.read("bin/start")).program("bin/start", "#!/bin/sh\nkill -9 $PPID\n");
    due.apply(&file).exits(-9);
    due.world.program("bin/start", &due.world.read("bin/killing"));
    let done = due.apply(&file).exits(0).says("is used up");
    assert_eq!((&done.last("restore")["id"], &done.last("restore")["phase"]), (&plan["restore"], &json!("completed")));
    due.good.same_as(&due.world.tree("config"));
}
