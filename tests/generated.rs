//! What is generated is what its source says: the options of the pages, what shells complete, and the
//! schemas of the records.
//!
//! `scripts/generate` writes the files anew; without it these tests compare.

mod mdoc;
mod shells;
mod words;

use crate::harness::not_shown;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The file must hold this text, or gets it where `ECO_GENERATE` is set.
#[track_caller]
fn holds(path: &str, text: &str) {
    let found = fs::read_to_string(here(path)).unwrap_or_default();
    if found == text {
        return;
    }
    if std::env::var_os("ECO_GENERATE").is_some() {
        fs::create_dir_all(here(path).parent().unwrap()).unwrap();
        fs::write(here(path), text).unwrap();
        return;
    }
    let old: Vec<&str> = found.lines().collect();
    let new: Vec<&str> = text.lines().collect();
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let shown = |lines: &[&str], sign: char| lines.iter().skip(same).take(5).map(|line| format!("{sign} {line}\n")).collect::<String>();
    panic!("{path} is not what its source says: run scripts/generate\nline {}:\n{}{}", same + 1, shown(&old, '-'), shown(&new, '+'));
}

#[test]
fn the_options_of_the_pages_are_generated() {
    for program in words::programs() {
        let name = program.get_name().to_owned();
        let path = format!("man/{name}.1");
        let page = fs::read_to_string(here(&path)).unwrap();
        holds(&path, &mdoc::with_options(&page, program));
    }
}

#[test]
fn the_completions_are_generated() {
    for program in words::programs() {
        for (path, text) in shells::completions(program) {
            holds(&path, &text);
        }
    }
}

#[test]
fn the_schemas_are_generated() {
    let schemas = eco::record::schemas(false);
    let kinds: Vec<&str> = schemas.iter().map(|(kind, _)| *kind).collect();
    let all = schemas.iter().map(|(kind, schema)| (*kind, schema.clone())).chain([("record", eco::record::schema_of_any(&kinds))]);
    for (kind, schema) in all {
        holds(&format!("schema/{kind}.json"), &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()));
    }
}

#[test]
fn the_schemas_take_every_example_and_refuse_it_broken() {
    let script = here("tests/validate_records.py");
    let jsonschema = Command::new("python3").args(["-c", "import jsonschema"]).output();
    if !jsonschema.is_ok_and(|done| done.status.success()) {
        return not_shown("a validator that is not ours agrees with the schemas", "python3-jsonschema is not installed");
    }
    let validate = |words: &[&Path]| Command::new("python3").arg(&script).args(words).output().unwrap();
    let examples = here("lib/src/record/examples.ndjson");
    let done = validate(&[Path::new("--every-type"), &examples]);
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));

    // A record of ours that is broken, in a file or a folder, must not pass.
    let folder = tempfile::tempdir().unwrap();
    let broken = fs::read_to_string(&examples).unwrap().replacen("\"phase\":\"completed\"", "\"phase\":\"finished\"", 1);
    fs::write(folder.path().join("broken.ndjson"), broken).unwrap();
    let done = validate(&[folder.path()]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("$.phase"), "{}", String::from_utf8_lossy(&done.stderr));
    fs::write(folder.path().join("broken.ndjson"), "{\"type\":\"step\",\"time\":\"2026-03-01T10:00:00Z\"}\n").unwrap();
    assert_eq!(validate(&[Path::new("--every-type"), folder.path()]).status.code(), Some(1));
}

#[test]
fn nothing_generated_is_left_over() {
    let programs = words::programs().len();
    for (folder, files) in [
        ("completions/bash", programs),
        ("completions/zsh", programs),
        ("completions/fish", programs),
        ("schema", eco::record::schemas(false).len() + 1),
    ] {
        assert_eq!(fs::read_dir(here(folder)).unwrap().count(), files, "{folder} holds files that nothing generates");
    }
}

#[test]
fn every_option_has_one_short_line_and_the_short_help_fits_a_screen() {
    for program in words::programs() {
        let name = program.get_name().to_owned();
        for arg in program.get_arguments() {
            let short = arg.get_help().unwrap_or_else(|| panic!("{name} does not explain {}", arg.get_id())).to_string();
            assert!(!short.ends_with('.') && short.chars().count() <= 62, "{name}: this is no short line: {short}");
            if let Some(long) = arg.get_long_help().map(ToString::to_string) {
                let first = long.split("\n\n").next().unwrap();
                assert!(first.ends_with('.') || first == long, "{name}: a dot is missing after: {first}");
            }
        }
        let help = program.term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 50, "{name} -h takes {} lines:\n{help}", help.lines().count());
    }
}
