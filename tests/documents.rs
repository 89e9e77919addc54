//! Documents whose commands are run: every block, in order, with the real programs.

use crate::harness::blocks::{self, Block, Reader};
use crate::harness::{World, not_shown};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn document(name: &str) -> String {
    fs::read_to_string(here("docs").join(name)).unwrap()
}

/// Runs the blocks of a document one after the other. Words of the page stand for what they are in this world.
#[track_caller]
fn run(world: &World, name: &str, folders: &[&str], words: &[(&str, &str)]) -> Vec<Block> {
    let all = blocks::of_document(&document(name)).unwrap_or_else(|why| panic!("{name}, {why}"));
    let mut reader = Reader::new(world, folders);
    for (word, here) in words {
        reader.word(word, here);
    }
    all.iter().for_each(|block| reader.run(name, block));
    all
}

/// Whether a program that a document wants is here; if not, that is said.
fn has(program: &str, what: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success());
    if !there {
        not_shown(what, &format!("there is no {program}"));
    }
    there
}

#[test]
fn a_block_of_a_document_cannot_escape() {
    let one = "# A\n\n<!-- before: x -->\n<!-- ends 1 0; 0 -->\n```sh\na | b\nc\n```\n";
    let found = blocks::of_document(one).unwrap();
    assert_eq!((found.len(), found[0].line, found[0].heading.as_str(), found[0].text.as_str()), (1, 5, "A", "a | b\nc\n"));
    assert_eq!((found[0].before.as_slice(), found[0].ends.as_deref()), (["x".to_owned()].as_slice(), Some("1 0; 0")));
    for other in [
        "```bash\na\n```\n",
        "```\na\n```\n",
        " ```sh\na\n```\n",
        "- x\n  ```sh\n  a\n  ```\n",
        "> ```sh\n> a\n> ```\n",
        "~~~sh\na\n~~~\n",
        "    a\n",
        "\ta\n",
        "<pre>a</pre>\n",
        "```sh\na\n",
        "```sh\n```\n",
        "<!-- before: x -->\n\n```sh\na\n```\n",
        "<!-- befor: x -->\n```sh\na\n```\n",
        "<!-- a\n```sh\nb\n```\n-->\n",
    ] {
        assert!(blocks::of_document(other).is_err(), "{other}");
    }
    assert_eq!(
        blocks::commands("# why\na |\n  b\n\nc <<'END'\nx\nEND\nif d; then\n  e\nfi\n"),
        ["a |\n  b\n", "c <<'END'\nx\nEND\n", "if d; then\n  e\nfi\n"]
    );
}

/// The headings of the old document, and how many blocks stood under each.
const OLD: [(&str, usize); 62] = [
    ("Overview", 0),
    ("Purpose", 0),
    ("Rollback Capabilities", 0),
    ("Rollback Limitations", 0),
    ("When to Rollback", 0),
    ("Critical Situations (Immediate Rollback)", 0),
    ("High Priority (Rollback within 1 hour)", 0),
    ("Medium Priority (Rollback within 24 hours)", 0),
    ("Low Priority (Evaluate, may not need rollback)", 0),
    ("Rollback Types", 0),
    ("1. Full System Rollback", 0),
    ("2. Module Rollback", 0),
    ("3. Configuration Rollback", 0),
    ("4. Automation Rollback", 0),
    ("5. Optimization Rollback", 0),
    ("Quick Rollback Guide", 0),
    ("Emergency Rollback (5 minutes)", 2),
    ("Detailed Procedures", 0),
    ("Full System Rollback", 0),
    ("Step 1: Identify Rollback Point", 1),
    ("Step 2: Pre-Rollback Checklist", 1),
    ("Step 3: Stop the System", 1),
    ("Step 4: Backup Current State", 1),
    ("Step 5: Restore from Backup", 1),
    ("Step 6: Verify Restoration", 1),
    ("Step 7: Restart System", 1),
    ("Step 8: Post-Rollback Verification", 1),
    ("Module Rollback", 0),
    ("Identify Problematic Module", 1),
    ("Rollback Specific Module", 1),
    ("Configuration Rollback", 1),
    ("Automation Rollback", 1),
    ("Optimization Rollback", 1),
    ("Verification Steps", 0),
    ("Post-Rollback Verification Checklist", 0),
    ("1. System State", 1),
    ("2. Module Status", 1),
    ("3. Performance Metrics", 1),
    ("4. Data Integrity", 1),
    ("5. Functionality Test", 1),
    ("Post-Rollback Actions", 0),
    ("Immediate Actions (Within 1 hour)", 0),
    ("1. Document the Incident", 1),
    ("2. Notify Stakeholders", 1),
    ("3. Monitor Closely", 1),
    ("Short-Term Actions (Within 24 hours)", 0),
    ("1. Root Cause Analysis", 0),
    ("2. Implement Fixes", 0),
    ("3. Update Procedures", 0),
    ("Long-Term Actions (Within 1 week)", 0),
    ("1. Review and Improve", 0),
    ("2. Enhance Prevention", 0),
    ("Prevention Strategies", 0),
    ("Pre-Deployment Checks", 1),
    ("Gradual Rollout", 1),
    ("Automated Rollback Triggers", 1),
    ("Backup Strategy", 0),
    ("Quick Reference", 0),
    ("Emergency Contacts", 0),
    ("Critical Commands", 1),
    ("Decision Tree", 1),
    ("Conclusion", 0),
];

#[test]
fn the_old_procedures_are_followed_heading_by_heading_and_each_new_line_works() {
    if !has("jq", "the commands of docs/from-the-old-procedures.md") {
        return;
    }
    let name = "from-the-old-procedures.md";
    let text = document(name);
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("##")).map(|line| line.trim_start_matches('#').trim()).collect();
    assert_eq!(headings, OLD.map(|(heading, _)| heading));
    let mut sections: BTreeMap<&str, usize> = BTreeMap::new();
    let mut heading = "";
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
        *sections.entry(heading).or_default() += usize::from(line.starts_with("*Before:*"));
    }

    let world = World::shop();
    let (log, source) = (world.folder().join("log"), here(""));
    fs::create_dir(&log).unwrap();
    let words = [
        ("/var/log/eco", log.to_str().unwrap()),
        ("~/eco-tools/", source.to_str().unwrap()),
        ("--every 60s --for 24h", "--every 200ms --count 3"),
        ("--every 60s --for 2h", "--every 200ms --count 3"),
        ("--every 60s", "--every 200ms --count 3"),
    ];
    let all = run(&world, name, &[], &words);
    for (heading, blocks) in OLD.into_iter().filter(|(_, blocks)| *blocks > 0) {
        assert!(sections[heading] >= blocks, "{heading}: what the old blocks did");
        assert!(all.iter().filter(|block| block.heading == heading).count() >= blocks, "{heading}: the new lines");
    }
    assert!(all.len() >= 35, "only {} blocks were found: the reading is broken", all.len());
}

#[test]
fn the_old_lists_of_situations_name_every_rule_of_the_policy_and_no_other() {
    let policy = World::new().run("eco-decide").arg("--print-policy").exits(0).stdout;
    let rules = policy.lines().filter(|line| line.contains("= { when = ")).map(|line| line.split(' ').next().unwrap().to_owned());
    let text = document("from-the-old-procedures.md");
    let lists =
        text.split("\n### ").filter(|section| ["Critical Sit", "High Pri", "Medium Pri", "Low Pri"].iter().any(|list| section.starts_with(list)));
    let rows = lists.flat_map(str::lines).filter(|line| line.starts_with("| "));
    // The second cell; a command in it is no rule.
    let cells = rows.map(|row| row.split(" | ").nth(1).unwrap());
    let named = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|word| !word.contains(' ')).map(str::to_owned);
    assert_eq!(named.collect::<BTreeSet<_>>(), rules.collect::<BTreeSet<_>>());
}

/// What stands for ssh: the words are joined and read by a shell, as there; the machine's folder is where this world has it.
const SSH: &str = r#"#!/bin/sh
host=$1
shift
root=$(cat "$HOME/hosts/$host" 2>/dev/null) || { echo "ssh: Could not resolve hostname $host" >&2; exit 255; }
cd / && exec sh -c "$(printf '%s' "$*" | sed "s,/srv/shop,$root,g")"
"#;

#[test]
fn a_fleet_goes_through_one_stream_and_only_the_broken_one_is_rolled_back() {
    if !has("jq", "the commands of docs/fleet.md") || !has("parallel", "the commands of docs/fleet.md") {
        return;
    }
    let (one, two) = (World::shop(), World::shop());
    for (world, name) in [(&one, "shop-a1"), (&two, "shop-a2")] {
        world.write("eco.toml", world.read("eco.toml").replace("\"shop\"", &format!("\"{name}\"")));
        assert_eq!(world.snapshot()["ecosystem"], name);
    }
    let tools = one.folder().join("tools");
    fs::create_dir_all(one.folder().join("hosts")).unwrap();
    fs::create_dir(&tools).unwrap();
    for (host, world) in [("a1", &one), ("a2", &two)] {
        fs::write(one.folder().join("hosts").join(host), world.root().to_str().unwrap()).unwrap();
    }
    one.program("ssh", SSH);
    fs::rename(one.path("ssh"), tools.join("ssh")).unwrap();

    let settled = || two.tree("").without(&["", ".eco", "data/metrics", "data/shop.db", "data/shop.db-shm", "data/shop.db-wal", "logs", "run"]);
    let (pid, before) = (two.pid(), settled());
    let all = run(&one, "fleet.md", &[tools.to_str().unwrap()], &[("--every 60s", "--every 200ms --count 3")]);
    assert!(all.len() >= 8, "only {} blocks were found: the reading is broken", all.len());
    before.same_as(&settled());
    assert_eq!(two.pid(), pid, "the sound one was not even stopped");
    assert!(one.read(".eco/memory").lines().count() >= 2 && two.read(".eco/memory") == "-");
}

#[test]
fn long_lines_of_many_machines_stay_whole() {
    if !has("parallel", "long lines of many machines stay whole") {
        return;
    }
    let world = World::new();
    // Each line is longer than a pipe takes at once, and comes in pieces.
    world.program(
        "speak",
        "#!/bin/sh\nfor line in 1 2 3 4 5; do\n  for piece in 1 2 3 4; do head -c 50000 /dev/zero | tr '\\0' $1; done\n  echo\ndone\n",
    );
    let ran = world.run("/bin/bash").args(["-c", "parallel --line-buffer -j 8 ./speak {} ::: a b c d"]).exits(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 20);
    for line in lines {
        assert!(line.len() == 200_000 && line.bytes().all(|byte| byte == line.as_bytes()[0]), "{} bytes", line.len());
    }
}
