use super::*;
use crate::policy::Policy;
use crate::record::{Line, Record, Stamp};
use std::collections::BTreeMap;

fn sample(fields: &str) -> (Stamp, Health) {
    let text = format!("{{\"type\":\"health\",\"time\":\"2026-03-01T10:00:00.5Z\",\"ecosystem\":\"shop\",{fields}}}");
    let line = Line::parse(1, text.into_bytes());
    match line.record {
        Record::Health(health) => (line.stamp, health),
        other => panic!("{other:?} {:?}", line.fault),
    }
}

/// Names that others choose, and what they may do to a line.
const HOSTILE: &str = r#"a \"b\" 'c' = d|e\\f\ng größe"#;

fn answer(fields: &str) -> (Status, String) {
    let (stamp, health) = sample(fields);
    plugin(&stamp, &health, Policy::default())
}

/// One number of a plugin's line, as the guidelines describe it: label, value, unit, and up to four more fields.
type Datum = (String, f64, String, Vec<String>);

/// A reader of the guidelines' grammar, made from their text and not from ours.
fn data(line: &str) -> Result<Vec<Datum>, String> {
    let mut rest = line.trim();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let mut label = String::new();
        if let Some(quoted) = rest.strip_prefix('\'') {
            let mut letters = quoted.char_indices().peekable();
            loop {
                match letters.next() {
                    Some((_, '\'')) if letters.next_if(|(_, next)| *next == '\'').is_some() => label.push('\''),
                    Some((at, '\'')) => {
                        rest = &quoted[at + 1..];
                        break;
                    }
                    Some((_, letter)) => label.push(letter),
                    None => return Err(format!("a quote is not closed: {rest}")),
                }
            }
        } else {
            let end = rest.find('=').ok_or_else(|| format!("no =: {rest}"))?;
            label.push_str(&rest[..end]);
            if label.contains([' ', '\'']) {
                return Err(format!("not quoted: {label}"));
            }
            rest = &rest[end..];
        }
        let numbers = rest.strip_prefix('=').ok_or_else(|| format!("no = after {label}"))?;
        let (word, after) = numbers.split_once(' ').unwrap_or((numbers, ""));
        rest = after.trim_start();
        let fields: Vec<&str> = word.split(';').collect();
        let digits = fields[0].find(|c: char| !"-0123456789.".contains(c)).unwrap_or(fields[0].len());
        let (value, unit) = fields[0].split_at(digits);
        if !["", "s", "us", "ms", "%", "B", "KB", "MB", "TB", "c"].contains(&unit) || fields.len() > 5 {
            return Err(format!("{unit} is no unit, or too many fields: {word}"));
        }
        let is_number = |text: &str| text.is_empty() || text.parse::<f64>().is_ok() && text.chars().all(|c| "-0123456789.".contains(c));
        let is_range = |text: &str| text.trim_start_matches('@').split(':').all(|end| end == "~" || is_number(end));
        if !fields.iter().enumerate().skip(1).all(|(at, field)| if at < 3 { is_range(field) } else { is_number(field) }) {
            return Err(format!("no range or number: {word}"));
        }
        let value = value.parse().map_err(|_| format!("no number: {word}"))?;
        found.push((label, value, unit.to_owned(), fields[1..].iter().map(|field| (*field).to_owned()).collect()));
    }
    Ok(found)
}

#[test]
fn the_reader_of_the_guidelines_knows_what_is_wrong() {
    assert_eq!(
        data("'it''s = one'=1.5s;2;@1:~;0 b=3").unwrap()[0],
        ("it's = one".into(), 1.5, "s".into(), ["2", "@1:~", "0"].map(String::from).into())
    );
    for wrong in ["'a=1", "a b=1", "a", "a=1e5", "a=1;x", "a=1;;;;;", "a=1q", "a=1,5"] {
        assert!(data(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_plugins_line_has_the_answer_a_bar_and_numbers_with_the_policys_bounds() {
    let (status, text) = answer(r#""up":true,"error_rate":0.004,"requests":1200,"response_ms":118,"cpu_usage":0.41,"modules":{"a":"ok"}"#);
    assert_eq!(status, Status::Ok);
    assert_eq!(
        text,
        "ECO OK - shop is healthy: up, 0.4 % errors, 118 ms | up=1;;1:;0;1 errors=0.4%;5;25;0;100 response=0.118s;1;;0 cpu=41%;;80;0;100 \
         requests=1200;;;0 modules_failed=0;0;2;0;1 modules_degraded=0;0;;0;1\n"
    );
    let numbers = data(text.trim_end().split_once(" | ").unwrap().1).unwrap();
    assert_eq!(numbers[1], ("errors".into(), 0.4, "%".into(), ["5", "25", "0", "100"].map(String::from).into()));
}

#[test]
fn how_ill_a_service_is_follows_the_policy_as_far_as_one_sample_shows() {
    for (fields, wanted, why) in [
        (r#""up":true,"modules":{"a":"degraded","b":"ok"}"#, Status::Warning, "shop: module a degraded"),
        (r#""up":true,"modules":{"a":"failed","b":"ok"}"#, Status::Warning, "shop: module a failed"),
        (r#""up":true,"modules":{"core":"failed","b":"ok"}"#, Status::Critical, "shop: module core failed"),
        (r#""up":true,"error_rate":0.06,"requests":100"#, Status::Warning, "shop: 6.0 % of the requests fail"),
        (r#""up":true,"success_rate":0.70,"requests":100"#, Status::Critical, "shop: 30.0 % of the requests fail"),
        (r#""up":true,"error_rate":0.9,"requests":3"#, Status::Ok, "shop is healthy: up, 90 % errors"),
        (r#""up":true,"integrity":false"#, Status::Critical, "shop: integrity is false"),
        (
            r#""up":false,"probes":[{"probe":"tcp a:1","ok":false,"took_ms":1,"error":"refused"}]"#,
            Status::Critical,
            "shop: it is not up: tcp a:1: refused",
        ),
        (r#""up":null,"error":"no such program""#, Status::Unknown, "shop: no such program"),
        (r#""up":true,"cpu_usage":0.99,"response_ms":90000"#, Status::Ok, "shop is healthy: up, 90000 ms"),
        // A busy moment makes nothing worse than it is.
        (r#""up":true,"cpu_usage":0.99,"modules":{"a":"degraded","b":"ok"}"#, Status::Warning, "shop: module a degraded"),
        (r#""up":true,"probes":[{"probe":"file x","ok":false,"took_ms":1}]"#, Status::Warning, "shop: file x"),
    ] {
        let (status, text) = answer(fields);
        assert_eq!(status, wanted, "{text}");
        assert!(text.contains(&format!(" - {why}")), "{why}: {text}");
    }
    assert_eq!([Status::Ok, Status::Warning, Status::Critical, Status::Unknown].map(|status| status.exit() as u8), [0, 1, 2, 3]);
}

#[test]
fn hostile_names_stay_within_their_place() {
    let probe = format!(r#"{{"probe":"{HOSTILE}","ok":false,"took_ms":12,"error":"| x=1\n\u001b[2J"}}"#);
    let (_, text) = answer(&format!(r#""up":true,"modules":{{"{HOSTILE}":"failed"}},"probes":[{probe},{probe}]"#));
    let first = text.lines().next().unwrap();
    assert_eq!(text.matches('|').count(), 1, "{text}");
    assert!(!text.contains('\x1b') && !first.contains('\n'));
    let numbers = data(first.split_once(" | ").unwrap().1).unwrap();
    let labels: Vec<&str> = numbers.iter().map(|(label, ..)| label.as_str()).filter(|label| label.starts_with("probe")).collect();
    let label = r#"probe a "b" 'c' = d\u{7c}e\f\ng größe"#;
    assert_eq!(labels, [label, &format!("{label} (2)")], "the same probe twice is two series");
    assert_eq!(text.lines().count(), 4, "{text}");
    let many: Vec<String> = (0..100).map(|number| format!("\"m{number}\":\"failed\"")).collect();
    let (_, text) = answer(&format!(r#""up":true,"modules":{{{}}}"#, many.join(",")));
    assert!(text.lines().last() == Some("and 88 more") && text.len() < 4096 && text.lines().all(|line| line.chars().count() < 500), "{text}");
    assert_eq!(unknown("a|b\nc"), "ECO UNKNOWN - a\\u{7c}b\\nc\n");
}

/// A sample of a metric: its labels and its value.
type Sampled = (BTreeMap<String, String>, f64);

/// A reader of the text that OpenMetrics and Prometheus have in common, as strict as the stricter of the two.
fn families(text: &str) -> Result<BTreeMap<String, Vec<Sampled>>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("no end")?;
    let mut found: BTreeMap<String, Vec<Sampled>> = BTreeMap::new();
    let mut current = String::new();
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    for line in body.split_terminator('\n') {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (Some(what), Some(name), Some(said)) = (words.next(), words.next(), words.next()) else { return Err(line.into()) };
            match what {
                "HELP" if is_name(name) && !found.contains_key(name) => name.clone_into(&mut current),
                "TYPE" if name == current && said == "gauge" => {}
                "UNIT" if name == current && name.ends_with(&format!("_{said}")) => {}
                _ => return Err(format!("not here: {line}")),
            }
            continue;
        }
        let (head, value) = line.rsplit_once(' ').ok_or("no value")?;
        let (name, mut rest) = head.split_once('{').ok_or("no labels")?;
        if name != current {
            return Err(format!("{name} in {current}"));
        }
        let mut labels = BTreeMap::new();
        while let Some((label, after)) = rest.split_once("=\"") {
            let (mut letters, mut content) = (after.char_indices(), String::new());
            let end = loop {
                match letters.next().ok_or("a value is not closed")? {
                    (at, '"') => break at,
                    (_, '\\') => content.push(match letters.next() {
                        Some((_, 'n')) => '\n',
                        Some((_, kept @ ('\\' | '"'))) => kept,
                        _ => return Err(format!("no escape: {line}")),
                    }),
                    (_, letter) => content.push(letter),
                }
            };
            if !is_name(label) || labels.insert(label.to_owned(), content).is_some() {
                return Err(format!("{label}: {line}"));
            }
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        if rest != "}" {
            return Err(format!("{rest}: {line}"));
        }
        let series = found.entry(current.clone()).or_default();
        if series.iter().any(|(known, _)| *known == labels) {
            return Err(format!("twice: {line}"));
        }
        series.push((labels, value.parse().map_err(|_| format!("no number: {line}"))?));
    }
    Ok(found)
}

#[test]
fn metrics_are_text_that_both_formats_take() {
    let (stamp, health) = sample(
        r#""up":true,"success_rate":0.9,"requests":20,"response_ms":118,"cpu_usage":0.41,"memory_usage":0.5,"integrity":true,"integration":false,"modules":{"a":"ok","b":"asleep"},"probes":[{"probe":"p","ok":true,"took_ms":12},{"probe":"q","took_ms":0}]"#,
    );
    let seen = families(&metrics(&stamp, &health)).unwrap();
    let one = |name: &str| seen[name][0].1;
    let values =
        ["eco_up", "eco_up_known", "eco_error_rate_ratio", "eco_response_seconds", "eco_requests", "eco_integrity", "eco_integration"].map(one);
    assert_eq!(values, [1.0, 1.0, 0.1, 0.118, 20.0, 1.0, 0.0]);
    assert_eq!(one("eco_health_timestamp_seconds"), 1_772_359_200.5);
    assert_eq!((one("eco_cpu_usage_ratio"), one("eco_memory_usage_ratio")), (0.41, 0.5));
    let is =
        seen["eco_module_state"].iter().filter(|(_, value)| *value == 1.0).map(|(labels, _)| (labels["module"].as_str(), labels["state"].as_str()));
    assert_eq!(is.collect::<Vec<_>>(), [("a", "ok"), ("b", "unknown")]);
    assert_eq!((seen["eco_probe_ok"].len(), seen["eco_probe_duration_seconds"].len()), (1, 2), "what is not known is not there");
    assert!(seen.values().flatten().all(|(labels, _)| labels["ecosystem"] == "shop"));
}

#[test]
fn what_is_not_known_is_absent() {
    let (stamp, health) = sample(r#""up":null,"error_rate":7,"response_ms":"slow","cpu_usage":-1"#);
    let seen = families(&metrics(&stamp, &health)).unwrap();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["eco_health_timestamp_seconds", "eco_up_known"]);
    assert_eq!(seen["eco_up_known"][0].1, 0.0);
}

#[test]
fn hostile_names_survive_in_labels() {
    let (stamp, health) =
        sample(&format!(r#""up":true,"modules":{{"{HOSTILE}":"ok"}},"probes":[{{"probe":"p","took_ms":1}},{{"probe":"p","took_ms":2}}]"#));
    let seen = families(&metrics(&stamp, &health)).unwrap();
    assert_eq!(seen["eco_module_state"][0].0["module"], "a \"b\" 'c' = d|e\\f\ng größe");
    assert_eq!(seen["eco_probe_duration_seconds"][1].0["probe"], "p (2)");
}

#[test]
fn numbers_are_plain_digits() {
    assert_eq!([number(0.1 + 0.2), number(1e21), number(0.0), number(1e-9), number(12.5)], ["0.3", "1000000000000000000000", "0", "0", "12.5"]);
}
