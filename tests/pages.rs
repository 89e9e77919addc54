//! The manual: every block of every page is run, parsed or compared, in the order in which it stands there; each page has the sections
//! that a reader looks for; what a terminal shows of a command can be copied and run.

use crate::harness::World;
use crate::harness::blocks::{self, Block, Kind, Reader, looks_like};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// Every page: its name, and its text.
fn pages() -> Vec<(String, String)> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<_> = names.map(|name| (name.clone(), fs::read_to_string(folder().join(name)).unwrap())).collect();
    pages.sort();
    assert!(pages.len() > 16);
    pages
}

#[track_caller]
fn blocks_of(name: &str, text: &str) -> Vec<Block> {
    blocks::of_page(text).unwrap_or_else(|why| panic!("{name}, {why}"))
}

/// What stands for the service manager: it knows the units that this project brings, and says what it was told.
const SYSTEMCTL: &str = r#"#!/bin/sh
for word; do
    case $word in *@*) case $word in *.*) ;; *) word=$word.service ;; esac
        unit=${word%%@*}@.${word##*.}
        [ -e "UNITS/$unit" ] || { echo "systemctl: no unit $unit" >&2; exit 5; } ;;
    esac
done
echo "$@" >> "$HOME/systemctl"
"#;

/// Runs all blocks of a page in a shop that is well and has a good snapshot.
#[track_caller]
fn run(name: &str) {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let all = blocks_of(name, &text);
    let world = World::shop();
    world.shop_does("order 30");
    let (here, tools) = (world.folder(), world.folder().join("tools"));
    for folder in ["log", "tools", "lib/eco", "lib/prometheus/node-exporter", "tmp", "media"] {
        fs::create_dir_all(here.join(folder)).unwrap();
    }
    // A good full snapshot of some hours ago, and one of now; both are in the log, with a night on which the shop was ill.
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(4);
    let health = world.run("eco-health").exits(0).stdout;
    let first = world.run("eco-snap").args(["--kind", "weekly", "--good", "-"]).env("ECO_NOW", old.to_string()).stdin(health).exits(0);
    world.shop_does("order 5");
    let second = world.pipe(["eco-health", "eco-snap --kind daily -"]).exits([0, 0]);
    world.break_it("config");
    let ill = world.pipe(["eco-health", "eco-decide --now", "eco-restore --approve"]).exits([1, 0, 0]);
    fs::write(here.join("log/shop.ndjson"), [first.stdout, second.stdout, ill.stdout].concat()).unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd");
    for (program, text) in [("systemctl", SYSTEMCTL.replace("UNITS", units.to_str().unwrap())), ("mail", "#!/bin/sh\ncat >> \"$HOME/mail\"\n".into())]
    {
        world.program(program, &text);
        fs::rename(world.path(program), tools.join(program)).unwrap();
    }
    let mut reader = Reader::new(&world, &[tools.to_str().unwrap()]);
    let below = |folder: &str| here.join(folder).to_str().unwrap().to_owned();
    for (word, place) in [("/var/log/eco", "log"), ("/var/lib/", "lib/"), ("/var/tmp", "tmp"), ("/media/stick", "media"), ("/srv/shop", "shop")] {
        reader.word(word, &below(place));
    }
    reader.word(" /tmp/", &format!(" {}/", below("tmp"))).word("--every 60s", "--every 200ms --count 3");
    // The port of the service of eco(7): one that is free now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    reader.word("8123", &port.to_string());
    all.iter().for_each(|block| reader.run(name, block));
    reader.keep(&format!("page-{name}"));
}

/// One test a page, so that they run beside each other.
macro_rules! examples {
    ($($test:ident: $page:literal,)*) => {
        const RUN: &[&str] = &[$($page),*];
        $(#[test]
        fn $test() {
            run($page);
        })*
    };
}

examples! {
    the_examples_of_eco_7_work: "eco.7",
    the_examples_of_eco_archive_work: "eco-archive.5",
    the_examples_of_eco_ctl_work: "eco-ctl.1",
    the_examples_of_eco_decide_work: "eco-decide.1",
    the_examples_of_eco_gate_work: "eco-gate.1",
    the_examples_of_eco_health_work: "eco-health.1",
    the_examples_of_eco_ls_work: "eco-ls.1",
    the_examples_of_eco_policy_work: "eco-policy.5",
    the_examples_of_eco_prune_work: "eco-prune.1",
    the_examples_of_eco_records_work: "eco-records.5",
    the_examples_of_eco_report_work: "eco-report.1",
    the_examples_of_eco_restore_work: "eco-restore.1",
    the_examples_of_eco_rollout_work: "eco-rollout.1",
    the_examples_of_eco_snap_work: "eco-snap.1",
    the_examples_of_eco_toml_work: "eco.toml.5",
    the_examples_of_eco_verify_work: "eco-verify.1",
}

#[test]
fn the_examples_of_every_page_are_run() {
    // eco-rollback(7) is run situation by situation, see situations.rs.
    let run: BTreeSet<&str> = RUN.iter().copied().chain(["eco-rollback.7"]).collect();
    let pages = pages();
    assert_eq!(run, pages.iter().map(|(name, _)| name.as_str()).collect());
    let found: usize = pages.iter().map(|(name, text)| blocks_of(name, text).len()).sum();
    assert!(found > 90, "only {found} blocks were found: the reading is broken");
}

#[test]
fn a_block_of_a_page_cannot_escape() {
    let one = ".Sh A\n.Ss B\n.\\\" before: x\n.\\\" ends 1 0\n.Bd -literal -offset indent\na | b \\e\n    -c \\(aqd\\(aq\n.Ed\n";
    let found = blocks::of_page(one).unwrap();
    assert_eq!((found.len(), found[0].line, found[0].heading.as_str()), (1, 5, "B"));
    assert_eq!((found[0].text.as_str(), &found[0].kind), ("a | b \\\n    -c 'd'\n", &Kind::Shell));
    assert_eq!((found[0].before.as_slice(), found[0].ends.as_deref()), (["x".to_owned()].as_slice(), Some("1 0")));
    let kind = |told: &str, text: &str| blocks::of_page(&format!("{told}.Bd -literal\n{text}.Ed\n")).unwrap().remove(0).kind;
    assert_eq!(kind("", "$ a\nb\n"), Kind::Console);
    assert_eq!(kind("", "{\"type\":\"x\"}\n"), Kind::Records);
    assert_eq!(kind(".\\\" shown by: a b\n", "x\n"), Kind::ShownBy("a b".into()));
    assert_eq!(kind(".\\\" eco.toml [scopes]\n", "x\n"), Kind::Accepted { by: "eco-health --check-config --config", section: "[scopes]".into() });
    for other in [
        ".Dl a\n",
        ".D1 a\n",
        ".Bd -unfilled\na\n.Ed\n",
        ".Bd -filled\na\n.Ed\n",
        ".nf\na\n.fi\n",
        ".Bd -literal\na\n",
        ".Bd -literal\n.Ed\n",
        ".Bd -literal\n$ a\n$ b\n.Ed\n",
        ".Bd -literal\na \\fBb\\fP\n.Ed\n",
        ".Bd -literal\n.Nm a\n.Ed\n",
        ".Bd -literal\na 'b'\n.Ed\n",
        ".Bd -literal\na `b`\n.Ed\n",
        ".Bd -literal\na ~/b\n.Ed\n",
        ".\\\" before: x\n.Pp\n.Bd -literal\na\n.Ed\n",
        ".\\\" befor: x\n.Bd -literal\na\n.Ed\n",
    ] {
        assert!(blocks::of_page(other).is_err(), "{other}");
    }
}

#[test]
fn what_is_shown_is_compared() {
    assert!(looks_like("a  b\nc\n", "a b\nc\n") && looks_like("a 17 b\n", "a ... b\n") && looks_like("a\nb\nc\nd\n", "a\n...\nd\n"));
    assert!(looks_like("a\n", "...\na\n...\n") && looks_like("a b\n", "a b...\n"));
    assert!(!looks_like("a\n", "b\n") && !looks_like("a\nb\n", "a\n") && !looks_like("a\n", "a\nb\n") && !looks_like("a 1\n", "a ... b\n"));
}

/// Sections of a page, in their order.
fn sections(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix(".Sh ")).collect()
}

#[test]
fn every_page_has_the_sections_that_a_reader_looks_for() {
    // The order of manual pages everywhere; a page may have others of its own between DESCRIPTION and EXAMPLES.
    const ORDER: [&str; 13] = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "RECORDS",
        "ENVIRONMENT",
        "FILES",
        "EXIT STATUS",
        "EXAMPLES",
        "SEE ALSO",
        "STANDARDS",
        "HISTORY",
        "CAVEATS",
    ];
    for (name, text) in pages() {
        let all = sections(&text);
        let known: Vec<&str> = ORDER.into_iter().filter(|section| all.contains(section)).collect();
        let in_order: Vec<&str> = all.iter().copied().filter(|section| ORDER.contains(section)).collect();
        assert_eq!(in_order, known, "{name}");
        let wanted: &[&str] = match name.rsplit_once('.').unwrap().1 {
            "1" => &ORDER[..10],
            "5" => &["NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"],
            _ => &["NAME", "DESCRIPTION", "SEE ALSO"],
        };
        let missing: Vec<_> = wanted.iter().filter(|section| !all.contains(section)).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
        let (title, section) = name.rsplit_once('.').unwrap();
        assert!(text.contains(&format!("\n.Dt {} {section}\n", title.to_uppercase())) && text.contains(&format!("\n.Nm {title}\n.Nd ")), "{name}");
    }
}

#[test]
fn every_cross_reference_leads_to_a_page() {
    // What every system has.
    const OTHERS: &[&str] = &[
        "bash 1",
        "cron 8",
        "curl 1",
        "diff 1",
        "fallocate 1",
        "jq 1",
        "logrotate 8",
        "mount 8",
        "python3 1",
        "restic 1",
        "rsync 1",
        "ssh 1",
        "systemctl 1",
        "systemd.unit 5",
        "tar 1",
        "umask 1",
    ];
    let pages = pages();
    let own: BTreeSet<String> =
        pages.iter().map(|(name, _)| name.rsplit_once('.').unwrap()).map(|(name, section)| format!("{name} {section}")).collect();
    for (name, text) in &pages {
        let mut named = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            while words.by_ref().any(|word| word.trim_start_matches('.') == "Xr") {
                named.push(words.by_ref().take(2).collect::<Vec<_>>().join(" "));
            }
        }
        for page in &named {
            assert!(own.contains(page) || OTHERS.contains(&page.as_str()), "{name} refers to {page}, which is no page");
        }
        let itself = name.replacen('.', " ", name.matches('.').count());
        let also = text.split("\n.Sh SEE ALSO\n").nth(1).unwrap().split("\n.Sh ").next().unwrap();
        assert!(also.contains(".Xr eco 7") || name == "eco.7", "{itself}: SEE ALSO leads to the tour");
    }
    let tour = &pages.iter().find(|(name, _)| name == "eco.7").unwrap().1;
    for page in own.iter().filter(|page| *page != "eco 7") {
        assert!(tour.contains(&format!("Xr {page}")), "eco.7 does not lead to {page}");
    }
}

/// What a program makes of a page for a terminal that is 80 columns wide.
fn shown(program: &mut Command) -> String {
    let done = program.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").output().unwrap();
    // It warns of what it cannot set, such as a table that is too wide.
    assert!(done.status.success() && done.stderr.is_empty(), "{program:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn pages_are_sound_and_their_commands_can_be_copied_from_the_screen() {
    for (name, text) in pages() {
        let page = folder().join(&name);
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        assert!(lint.status.success() && lint.stdout.is_empty(), "{name}: {}", String::from_utf8_lossy(&lint.stdout));
        let by_mandoc = shown(Command::new("mandoc").args(["-T", "utf8", "-O", "width=78"]).arg(&page));
        let by_groff = shown(Command::new("man").args(["--no-hyphenation", "--local-file"]).arg(&page));
        for (reader, screen) in [("mandoc", by_mandoc), ("man", by_groff)] {
            // Bold is a letter struck twice.
            let mut plain = String::new();
            for c in screen.chars() {
                if c == '\u{8}' {
                    let _ = plain.pop();
                } else {
                    plain.push(c)
                }
            }
            let lines: BTreeMap<&str, usize> = plain.lines().map(|line| (line.trim(), line.trim_end().chars().count())).collect();
            // A heading that begins with the name of a macro is shown as what that makes of it.
            for heading in text.lines().filter_map(|line| line.strip_prefix(".Sh ").or(line.strip_prefix(".Ss "))) {
                let heading = heading.replace("\\&", "").replace(" Ns ", "").replace("Ar ", "").replace(" , ", ", ");
                assert!(lines.contains_key(heading.as_str()), "{name}: {reader} does not show this heading as it is: {heading}");
            }
            for block in blocks_of(&name, &text) {
                for line in block.text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                    let width = lines.get(line);
                    assert!(width.is_some(), "{name}, line {}: {reader} does not show this as it is: {line}", block.line);
                    let fits = !matches!(block.kind, Kind::Shell | Kind::Console) || width.is_none_or(|width| *width <= 80);
                    assert!(fits, "{name}, line {}: this does not fit on a screen: {line}", block.line);
                }
            }
        }
    }
}

#[test]
fn the_readme_lists_every_page() {
    let readme = include_str!("../README.md");
    for (name, _) in pages() {
        let (title, section) = name.rsplit_once('.').unwrap();
        assert!(readme.contains(&format!("{title}({section})")), "README.md does not name {title}({section})");
    }
}
