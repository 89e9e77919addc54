//! eco-records(5) and the code agree: the same fields with the same values, the same examples.

use eco::record::{Line, Record, to_json};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../man/eco-records.5");
const EXAMPLES: &str = include_str!("../lib/src/record/examples.ndjson");

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
        let printed: Value = serde_json::from_slice(&to_json(&line.stamp, &line.record)).unwrap();
        assert_eq!(printed, serde_json::from_str::<Value>(&json).unwrap());
    }
}

#[test]
fn the_page_and_the_library_have_the_same_examples() {
    assert_eq!(examples(), EXAMPLES.lines().collect::<Vec<_>>());
}

/// Fields of one object, as the page would say them: name, and what it holds.
fn fields(object: &Value, whole: &Value) -> Vec<(String, String)> {
    let (fields, required) = (object["properties"].as_object().unwrap(), object["required"].as_array());
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|required| required == name));
    let mut found = Vec::new();
    for (name, field) in fields {
        let optional = if is_required(name) { "" } else { ", optional" };
        if name == "path" && fields.contains_key("path_b64") {
            found.push(("path , path_b64".to_owned(), format!("path{optional}")));
        } else if name != "path_b64" {
            found.push((name.clone(), format!("{}{optional}", words(field, whole, is_required(name)))));
        }
    }
    found
}

/// What a field holds, in the page's words. An optional field is absent instead of null.
fn words(field: &Value, whole: &Value, null: bool) -> String {
    let types: Vec<&str> =
        field["type"].as_str().into_iter().chain(field["type"].as_array().into_iter().flatten().filter_map(Value::as_str)).collect();
    let or_null = if null && types.contains(&"null") { " or null" } else { "" };
    let named = |field: &Value| field["$ref"].as_str().map(|name| name.rsplit('/').next().unwrap().to_owned());
    let what = match types.first() {
        Some(&"boolean") if or_null.is_empty() => "true or false",
        Some(&"boolean") => return "true, false or null".into(),
        Some(&"integer") => "whole number",
        Some(&"number") => "number",
        Some(&"object") => "object",
        Some(&"string") if field["format"] == "date-time" => "time",
        Some(&"string") if field["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^(full|")) => "scope",
        Some(&"string") => "text",
        Some(&"array") => match named(&field["items"]).as_deref() {
            Some("RecordPath") => "list of paths",
            Some(_) => "list of objects",
            None => "list of texts",
        },
        _ => match named(field) {
            Some(name) if whole["$defs"][&name]["oneOf"].is_array() => "word",
            Some(_) => "object",
            None => "any value",
        },
    };
    format!("{what}{or_null}")
}

#[test]
fn the_page_lists_the_fields_of_every_record_and_no_others() {
    let schemas = eco::record::schemas(true);
    let kinds: Vec<&str> = schemas.iter().map(|(kind, _)| *kind).collect();
    for (kind, schema) in &schemas {
        let section = PAGE.split(&format!("\n.Ss {kind}\n")).nth(1).unwrap_or_else(|| panic!("the page has no section {kind}"));
        let section = section.split("\n.S").next().unwrap();
        let item = |line: &str| {
            let (name, what) = line.strip_prefix(".It Cm ")?.split_once(" Pq ")?;
            // Written only where it is true.
            Some((name.to_owned(), if what == "true, optional" { "true or false, optional".to_owned() } else { what.to_owned() }))
        };
        let mut listed: Vec<(String, String)> = section.lines().filter_map(item).collect();
        let envelope = ["type", "time", "ecosystem", "host"];
        let mut known: Vec<(String, String)> = fields(schema, schema).into_iter().filter(|(name, _)| !envelope.contains(&name.as_str())).collect();
        for (name, part) in schema["$defs"].as_object().into_iter().flatten() {
            // A path is explained in the beginning, a record that is part of another in its own section.
            if name != "RecordPath" && !kinds.contains(&name.to_lowercase().as_str()) && part["properties"].is_object() {
                known.extend(fields(part, schema));
            }
        }
        listed.sort();
        known.sort();
        assert_eq!(listed, known, "{kind}: the page (left) and the code (right)");
    }
}

#[test]
fn what_a_schema_requires_the_reader_does_and_nothing_else() {
    let schemas: BTreeMap<&str, Value> = eco::record::schemas(false).into_iter().collect();
    let mut looked_at = 0;
    for json in examples() {
        let record: Value = serde_json::from_str(&json).unwrap();
        let required = schemas[record["type"].as_str().unwrap()]["required"].as_array().unwrap();
        for name in record.as_object().unwrap().keys() {
            let mut lacking = record.clone();
            lacking.as_object_mut().unwrap().remove(name);
            let fault = Line::parse(1, lacking.to_string().into_bytes()).fault;
            assert_eq!(fault.is_some(), required.iter().any(|required| required == name), "{name} is missing: {fault:?}: {lacking}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 150, "only {looked_at} fields were looked at");
}

#[test]
fn the_words_that_a_schema_allows_are_those_that_the_field_is_described_with() {
    let mut looked_at = 0;
    for (kind, schema) in eco::record::schemas(false) {
        let parts = schema["$defs"].as_object().into_iter().flat_map(|parts| parts.values());
        for (name, field) in parts.chain([&schema]).filter_map(|part| part["properties"].as_object()).flatten() {
            let Some(allowed) = field["enum"].as_array() else { continue };
            let allowed: BTreeSet<&str> = allowed.iter().filter_map(Value::as_str).collect();
            let described: BTreeSet<&str> = field["description"].as_str().unwrap().split('`').skip(1).step_by(2).collect();
            assert_eq!(allowed, described, "{kind}: {name}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 10, "only {looked_at} fields were looked at");
}
