//! eco-records(5) and the code agree: the same fields, the same examples.

use eco::record::{Line, Record, to_json};

const PAGE: &str = include_str!("../man/eco-records.5");
const EXAMPLES: &str = include_str!("../lib/src/record/examples.ndjson");
const BODIES: &str = include_str!("../lib/src/record/bodies.rs");

/// The example lines of the page, as they were before roff.
fn examples() -> Vec<String> {
    PAGE.lines().filter(|line| line.starts_with("{\"type\":")).map(|line| line.replace("\\e", "\\")).collect()
}

#[test]
fn every_example_of_the_page_parses_and_prints_back() {
    let examples = examples();
    assert!(!examples.is_empty());
    for json in examples {
        let line = Line::parse(1, json.clone().into_bytes());
        assert_eq!(line.fault, None, "{json}");
        assert!(!matches!(line.record, Record::Other(_)), "{json}");
        let printed: serde_json::Value = serde_json::from_slice(&to_json(&line.stamp, &line.record)).unwrap();
        assert_eq!(printed, serde_json::from_str::<serde_json::Value>(&json).unwrap());
    }
}

#[test]
fn the_page_and_the_library_have_the_same_examples() {
    assert_eq!(examples(), EXAMPLES.lines().collect::<Vec<_>>());
}

#[test]
fn the_page_lists_every_field_of_every_record() {
    let mut renamed = None;
    for line in BODIES.lines().map(str::trim) {
        if let Some((_, rest)) = line.split_once("rename = \"") {
            renamed = rest.split('"').next();
        }
        let Some((name, kind)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": ")) else { continue };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '#') {
            continue; // a function, not a field
        }
        let name = renamed.take().unwrap_or(name);
        // A path is two fields, whatever it is called in the code.
        let item =
            if kind.contains("RecordPath") && !kind.contains("Vec") { ".It Cm path , path_b64 ".to_owned() } else { format!(".It Cm {name} Pq ") };
        assert!(PAGE.lines().any(|line| line.starts_with(&item)), "the page lacks {item}");
    }
}
