//! Documents whose commands are run: every block, in order, with the real programs. A block that is not run cannot be written: other
//! kinds of code blocks are refused.
//!
//! Comments above a block, which a reader of the page does not see, say what is done before it, how it ends, and what must hold after
//! it: `<!-- before: COMMAND -->`, `<!-- ends 1 0; 0 -->` (the exit codes of each command's pipe, `-` for any, all 0
//! without), `<!-- after: COMMAND -->`.

use crate::harness::{World, not_shown, program};
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

/// One block, with what the comments above it say.
#[derive(Debug, Default)]
struct Block {
    line: usize,
    heading: String,
    before: Vec<String>,
    ends: Option<String>,
    after: Vec<String>,
    text: String,
}

/// Every block of a document, or what there is in it that would escape.
fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let (mut found, mut next, mut heading): (Vec<Block>, Block, String) = Default::default();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, text)) = lines.next() {
        let refuse = |why: &str| Err(format!("line {line}: {why}: {text}"));
        let told = text.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(told) = told {
            match told.split_once(' ') {
                Some(("before:", command)) => next.before.push(command.to_owned()),
                Some(("ends", codes)) => next.ends = Some(codes.to_owned()),
                Some(("after:", command)) => next.after.push(command.to_owned()),
                _ => return refuse("it is not known what this wants"),
            }
        } else if text == "```sh" {
            let (mut text, mut ended) = (String::new(), false);
            for (_, line) in lines.by_ref() {
                text.push_str(line);
                text.push('\n');
                ended = line == "```";
                if ended {
                    break;
                }
            }
            let Some(text) = text.strip_suffix("```\n").filter(|text| ended && !text.trim().is_empty() && !text.contains("```")) else {
                return refuse("a block that is empty or does not end");
            };
            let text = text.to_owned();
            found.push(Block { line, heading: heading.clone(), text, ..std::mem::take(&mut next) });
        } else if !next.before.is_empty() || next.ends.is_some() || !next.after.is_empty() {
            return refuse("what is said of a block stands right above it");
        } else if text.contains("```") || text.contains("~~~") || text.contains("<pre") || text.contains("<code") || text.contains("<!--") {
            return refuse("every block begins with ```sh and is run");
        } else if text.starts_with("    ") || text.starts_with('\t') {
            return refuse("an indented block would not be run");
        } else if text.starts_with('#') {
            heading = text.trim_start_matches('#').trim().to_owned();
        }
    }
    Ok(found)
}

/// The commands of a block: a line and those that it goes on with.
fn commands(text: &str) -> Vec<String> {
    let (mut found, mut command) = (Vec::new(), String::new());
    for line in text.lines() {
        if command.is_empty() && (line.trim().is_empty() || line.starts_with('#')) {
            continue;
        }
        command.push_str(line);
        command.push('\n');
        let goes_on = ["|", "\\", "&&", "||"].iter().any(|end| line.ends_with(end));
        // A here-document without its end is only warned of.
        let read = Command::new("bash").args(["-n", "-c", &command]).output().unwrap();
        if !goes_on && read.status.success() && read.stderr.is_empty() {
            found.push(std::mem::take(&mut command));
        }
    }
    assert!(command.is_empty(), "no whole command: {command}");
    found
}

/// Runs the blocks of a document one after the other. Words of the page stand for what they are in this world.
#[track_caller]
fn run(world: &World, name: &str, path: &str, words: &[(&str, &str)]) -> Vec<Block> {
    let all = blocks(&document(name)).unwrap_or_else(|why| panic!("{name}, {why}"));
    let meant = |text: &str| words.iter().fold(text.to_owned(), |text, (word, here)| text.replace(word, here));
    let bash = |text: &str| world.run("/bin/bash").args(["-c", text]).env("PATH", path);
    let codes = world.folder().join("codes");
    for Block { line, before, ends, after, text, .. } in &all {
        for command in before {
            let ran = bash(&format!("set -e\n{}", meant(command))).ran();
            assert!(ran.code == 0, "{name}, line {line}, before: {command}\n{ran}");
        }
        let commands = commands(&meant(text));
        let script: String = commands.iter().map(|command| format!("{command}echo \"${{PIPESTATUS[*]}}\" >>'{}'\n", codes.display())).collect();
        fs::write(&codes, "").unwrap();
        let ran = bash(&script).ran();
        let ended: Vec<String> = fs::read_to_string(&codes).unwrap().lines().map(str::to_owned).collect();
        let well = match ends {
            Some(codes) => {
                let as_said = |(ended, said): (&String, &str)| {
                    let (ended, said): (Vec<_>, Vec<_>) = (ended.split(' ').collect(), said.split(' ').collect());
                    ended.len() == said.len() && ended.iter().zip(said).all(|(ended, said)| *ended == said || said == "-")
                };
                ended.len() == codes.split("; ").count() && ended.iter().zip(codes.split("; ")).all(as_said)
            }
            None => ended.len() == commands.len() && ended.iter().all(|codes| codes.split(' ').all(|code| code == "0")),
        };
        assert!(well, "{name}, line {line}: ended with {ended:?}, and not with {ends:?}\n{ran}");
        for command in after {
            let ran = bash(&meant(command)).ran();
            assert!(ran.code == 0, "{name}, line {line}, after: {command}\n{ran}");
        }
    }
    all
}

fn programs() -> String {
    format!("{}:/usr/bin:/bin", program("eco-health").parent().unwrap().display())
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
fn a_block_cannot_escape() {
    let one = "# A\n\n<!-- before: x -->\n<!-- ends 1 0; 0 -->\n```sh\na | b\nc\n```\n";
    let found = blocks(one).unwrap();
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
        assert!(blocks(other).is_err(), "{other}");
    }
    assert_eq!(
        commands("# why\na |\n  b\n\nc <<'END'\nx\nEND\nif d; then\n  e\nfi\n"),
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
    let all = run(&world, name, &programs(), &words);
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
    let path = format!("{}:{}", tools.display(), programs());
    let all = run(&one, "fleet.md", &path, &[("--every 60s", "--every 200ms --count 3")]);
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
