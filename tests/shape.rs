//! The shape of the project: layers, and the lists that must agree: programs, pages, tests, README, flags.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CARGO: &str = include_str!("../Cargo.toml");
const LIBRARY: &str = include_str!("../lib/src/lib.rs");
const README: &str = include_str!("../README.md");

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every file below a folder whose name ends so, with its text.
fn files(folder: &str, end: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![here(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(end) {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

/// The code of a file: comments go, and items that only tests see.
fn code(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim() == "#[cfg(test)]" {
            let end = format!("{indent}}}");
            // A single line, or everything to the brace that closes it.
            let item = lines.next().unwrap_or_default();
            if !item.trim_end().ends_with([';', '}']) {
                lines.by_ref().find(|line| *line == end);
            }
        } else if !line.trim_start().starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The library's files that are built into the programs: path below lib/src, and code.
fn library() -> Vec<(String, String)> {
    let all = files("lib/src", ".rs");
    let source = here("lib/src");
    let mut for_tests = BTreeSet::new();
    for (path, text) in &all {
        for pair in text.lines().collect::<Vec<_>>().windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            if let Some(name) = pair[1].strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                for_tests.insert(path.with_extension("").join(name).with_extension("rs"));
            }
        }
    }
    let built = all.iter().filter(|(path, _)| !for_tests.contains(path));
    built.map(|(path, text)| (path.strip_prefix(&source).unwrap().display().to_string(), code(text))).collect()
}

fn module_of(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Modules that a file names after `crate::`, also in a list in braces.
fn used(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(rest.split(|c| !is_word(c)).next().unwrap());
            continue;
        };
        let (mut depth, mut start) = (1, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && start && is_word(c) {
                found.insert(list[at..].split(|c| !is_word(c)).next().unwrap());
            }
            start = c == ',' || (start && c.is_whitespace());
        }
    }
    found
}

/// The layers of lib.rs: each module with the number of its layer.
fn layers() -> BTreeMap<&'static str, usize> {
    let (mut layer, mut found) = (0, BTreeMap::new());
    for line in LIBRARY.lines().filter_map(|line| line.strip_prefix("//! ")) {
        if line.starts_with("**") {
            layer += 1;
        } else if let Some((name, _)) = line.strip_prefix("- [`").and_then(|rest| rest.split_once("`]: ")) {
            found.insert(name, layer);
        }
    }
    assert_eq!(layer, 5);
    found
}

#[test]
fn a_module_uses_its_own_layer_and_those_above_it() {
    let layers = layers();
    let declared: BTreeSet<&str> = LIBRARY.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, layers.keys().copied().collect(), "the tour names every module");
    let mut looked_at = 0;
    for (file, code) in library().iter().filter(|(file, _)| file != "lib.rs") {
        let own = layers[module_of(file)];
        for name in used(code) {
            let other = layers.get(name).unwrap_or_else(|| panic!("{file} uses {name}, which is no module"));
            assert!(*other <= own, "{file} uses {name}, which is in a layer below its own");
            looked_at += 1;
        }
        // Two steps up from a submodule is the crate, past the check above.
        assert!(file.matches('/').count() > 1 || !code.contains("super::super::"), "{file}: write crate::, not super::super::");
    }
    assert!(looked_at > 100, "only {looked_at} uses were found: the reading is broken");
}

#[test]
fn uses_are_read_as_they_are_written() {
    assert_eq!(used("use crate::{disk, error::{Error, Named}, scope};\nlet x = crate::time::Span(l);"), ["disk", "error", "scope", "time"].into());
    assert_eq!(code("a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n// d\n#[cfg(test)]\nmod laws;\ne\n"), "a\nc\ne\n");
}

#[test]
fn only_the_tool_prints_exits_and_asks_clock_and_environment() {
    const ITS_OWN: [&str; 14] = [
        "println!",
        "eprintln!",
        "print!(",
        "eprint!(",
        "process::exit(",
        "std::env::",
        "use std::env",
        "Timestamp::now(",
        "SystemTime::now(",
        "Zoned::now(",
        "Uuid::now_v7(",
        "io::stdout(",
        "io::stderr(",
        "io::stdin(",
    ];
    let programs = files("tools", ".rs").into_iter().map(|(path, text)| (path.display().to_string(), code(&text)));
    let library = library().into_iter().filter(|(file, _)| module_of(file) != "tool");
    for (file, code) in programs.chain(library) {
        // A command of eco.toml inherits stderr; nothing is printed there.
        let code = code.replace("io::stderr().as_fd()", "");
        for word in ITS_OWN {
            assert!(!code.contains(word), "{file} has {word}, which belongs to tool.rs");
        }
    }
}

/// The programs, in the order of Cargo.toml.
fn programs() -> Vec<&'static str> {
    let bins = CARGO.split("[[bin]]").skip(1);
    let names: Vec<_> = bins.map(|bin| bin.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).unwrap()).collect();
    assert!(names.len() >= 8);
    names
}

#[test]
fn every_program_has_a_page_a_test_and_a_line_in_the_readme() {
    let suite = fs::read_to_string(here("tests/main.rs")).unwrap();
    for program in programs() {
        assert!(here(&format!("man/{program}.1")).is_file(), "man/{program}.1 is missing");
        let test = format!("tool_{}", program.strip_prefix("eco-").unwrap());
        assert!(here(&format!("tests/{test}.rs")).is_file(), "tests/{test}.rs is missing");
        assert!(README.lines().any(|line| line.starts_with(&format!("| `{program}` |"))), "README.md has no line about {program}");
        let lines = fs::read_to_string(here(&format!("tools/{program}/src/main.rs"))).unwrap().lines().count();
        assert!(lines <= 90, "tools/{program}/src/main.rs has {lines} lines: something in it wants a name in lib/");
    }
    for (path, _) in files("tests", ".rs").iter().filter(|(path, _)| path.parent() == Some(&here("tests"))) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(name == "main" || suite.contains(&format!("mod {name};")), "tests/main.rs does not run tests/{name}.rs");
    }
}

/// Long and short flags of a program, as its help lists them.
fn flags(program: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_BIN_EXE_eco-health")).with_file_name(program);
    let help = Command::new(&path).arg("--help").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
        // A lone dash begins the list of an option's values.
        for word in line.split_whitespace().take_while(|word| word.starts_with('-') && word.len() > 1) {
            found.insert(word.trim_end_matches(',').split('[').next().unwrap().to_owned());
        }
    }
    assert!(found.contains("--help"), "{program} --help: {text}");
    found
}

/// Flags that a page lists in OPTIONS: `.It Fl c , Fl Fl config Ar file`, where `Fl -config` is the same.
fn documented(page: &str) -> BTreeSet<String> {
    let options = page.split("\n.Sh OPTIONS\n").nth(1).unwrap().split("\n.Sh ").next().unwrap();
    let mut found = BTreeSet::new();
    for line in options.lines().filter_map(|line| line.strip_prefix(".It ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            if *word != "Fl" {
                continue;
            }
            match words.get(at) {
                Some(&"Fl") => {
                    found.insert(format!("--{}", words[at + 1]));
                    at += 2;
                }
                Some(name) if name.starts_with(|c: char| c == '-' || c.is_alphabetic()) => {
                    found.insert(format!("-{name}"));
                    at += 1;
                }
                // A lone dash: standard input.
                _ => {}
            }
        }
    }
    found
}

#[test]
fn the_options_of_a_page_are_the_flags_of_its_program() {
    for program in programs() {
        let page = fs::read_to_string(here(&format!("man/{program}.1"))).unwrap();
        assert_eq!(documented(&page), flags(program), "man/{program}.1 (left) and {program} --help (right)");
    }
}

/// Commands in a text, as program and flags. Words of prose have no flags and do no harm.
fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let plain = text.replace("\\(dq", "\"").replace("\\(aq", "'").replace("\\-", "-").replace(['`', '(', ')'], " ; ");
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in plain.lines() {
        let mut running = false;
        for word in line.split_whitespace() {
            let name = word.rsplit('/').next().unwrap().trim_end_matches([',', '.', ':', '"', '\'']);
            if name.strip_prefix("eco-").is_some_and(|verb| !verb.is_empty() && verb.chars().all(|c| c.is_ascii_lowercase())) {
                found.push((name.to_owned(), Vec::new()));
                running = true;
            } else if word.starts_with(['|', ';', '&', '>', '<', '#']) {
                running = false;
            } else if running && word.starts_with('-') && word.len() > 1 && !["--", "-->"].contains(&word) {
                let flag = word.split('=').next().unwrap().trim_end_matches([',', '.', ':', '"', '\'']);
                found.last_mut().unwrap().1.push(flag.to_owned());
            }
            running &= !word.ends_with(';');
        }
    }
    found
}

#[test]
fn commands_in_readme_and_pages_name_programs_and_flags_that_exist() {
    let programs = programs();
    let known: BTreeMap<&str, BTreeSet<String>> = programs.iter().map(|program| (*program, flags(program))).collect();
    let mut texts = files("man", "");
    texts.push((here("README.md"), README.to_owned()));
    texts.push((here("examples/shop/README.md"), fs::read_to_string(here("examples/shop/README.md")).unwrap()));
    texts.push((here("scripts/demo"), fs::read_to_string(here("scripts/demo")).unwrap()));
    texts.extend(files("scripts/compat", ".sh"));
    for page in ["docs/from-the-old-procedures.md", "docs/fleet.md"] {
        texts.push((here(page), fs::read_to_string(here(page)).unwrap()));
    }
    let mut checked = 0;
    for (path, text) in &texts {
        for (name, given) in commands(text) {
            let page = ["5", "7"].iter().any(|section| here(&format!("man/{name}.{section}")).is_file());
            let Some(has) = known.get(name.as_str()) else {
                assert!(page || name == "eco-tools", "{} names {name}, which is no program", path.display());
                continue;
            };
            for flag in given {
                assert!(has.contains(&flag), "{}: {name} has no {flag}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "only {checked} flags were found: the reading is broken");
}

#[test]
fn commands_are_read_as_they_are_written() {
    let read = |text: &str| commands(text).iter().map(|(name, flags)| format!("{name} {}", flags.join(" "))).collect::<Vec<_>>();
    assert_eq!(read("`eco-health --every=60s | eco-decide`, or --this"), ["eco-health --every", "eco-decide "]);
    assert_eq!(read(".Dl $ eco-ls --before \\(dq2h ago\\(dq && x --y"), ["eco-ls --before"]);
    assert_eq!(
        documented("\n.Sh OPTIONS\n.It Fl\n.It Fl c , Fl Fl config Ar file\n.It Fl -now\n"),
        ["-c", "--config", "--now"].map(String::from).into()
    );
}

#[test]
fn files_that_the_documents_at_the_top_name_are_there() {
    let sources: Vec<PathBuf> = ["lib", "tools", "tests"].into_iter().flat_map(|folder| files(folder, ".rs")).map(|(path, _)| path).collect();
    let mut looked_at = 0;
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(here(page)).unwrap();
        for word in text.split(|c: char| c.is_whitespace() || "`|(),;*".contains(c)) {
            // A name for any program stands for this one.
            let name = word.trim_end_matches(['.', ':']).replace("VERB", "snap");
            let is_path = name.split_once('/').is_some_and(|(top, _)| !["", "target"].contains(&top) && here(top).is_dir());
            let is_there = match name.rsplit_once('.') {
                _ if is_path => here(&name).exists(),
                Some((_, "rs")) => sources.iter().any(|path| path.ends_with(&name)),
                Some((_, "md")) => here(&name).is_file(),
                _ => continue,
            };
            assert!(is_there, "{page} names {name}, which is not there");
            looked_at += 1;
        }
    }
    assert!(looked_at > 80, "only {looked_at} names were found: the reading is broken");
}

#[test]
fn the_licence_is_the_one_that_the_manifests_name() {
    let licence = fs::read_to_string(here("LICENSE")).unwrap();
    assert!(licence.starts_with("MIT License\n") && licence.contains("eco-tools maintainers"));
    for manifest in [CARGO, &fs::read_to_string(here("lib/Cargo.toml")).unwrap()] {
        assert!(manifest.contains("\nlicense = \"MIT\"\n"));
    }
}

/// How many rows the list has of what the old procedures got wrong.
const HAZARDS: usize = 27;

#[test]
fn every_hazard_of_the_old_procedures_has_a_test() {
    let tests = files("tests", ".rs");
    let missing: Vec<usize> =
        (1..=HAZARDS).filter(|number| !tests.iter().any(|(_, text)| text.contains(&format!("fn hazard_{number:02}_")))).collect();
    assert!(missing.is_empty(), "no test is named after hazard {missing:?}");
}
