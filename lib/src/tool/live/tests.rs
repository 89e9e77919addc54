use super::*;
use crate::record::{Line, Record};

fn live(colour: bool) -> Live {
    Live::new("shop".into(), "60s".parse().unwrap(), colour)
}

fn at(minute: u32, second: u32) -> Timestamp {
    format!("2026-03-01T10:{minute:02}:{second:02}Z").parse().unwrap()
}

fn add(live: &mut Live, minute: u32, missed: u64, fields: &str) {
    let line = Line::parse(1, format!("{{\"type\":\"health\",\"time\":\"{}\",{fields}}}", at(minute, 0)).into_bytes());
    let Record::Health(health) = line.record else { panic!("{:?}", line.fault) };
    live.sample(&line.stamp, &health, missed);
}

fn shown(live: &Live, columns: usize, rows: usize, now: Timestamp) -> String {
    let lines = live.frame(columns, rows, now);
    for (line, width) in &lines {
        assert!(*width < columns && (live.colour || line.width() == *width), "{width} of {columns}: {line}");
    }
    lines.iter().map(|(line, _)| format!("{line}\n")).collect()
}

fn story() -> Live {
    let mut live = live(false);
    add(&mut live, 0, 0, r#""up":true,"error_rate":0,"response_ms":100,"cpu_usage":0.4,"memory_usage":0.5,"modules":{"a":"ok","b":"ok"}"#);
    add(&mut live, 1, 0, r#""up":true,"error_rate":0.02,"response_ms":200,"cpu_usage":1,"memory_usage":0.5,"modules":{"a":"ok","b":"ok"}"#);
    add(&mut live, 2, 0, r#""up":null,"error":"no such program""#);
    add(&mut live, 5, 2, r#""up":true,"error_rate":0.31,"response_ms":50,"memory_usage":0.6,"requests":90,"modules":{"a":"ok","b":"failed"}"#);
    live
}

#[test]
fn one_screen_says_the_state_since_when_and_how_it_came_to_it() {
    assert_eq!(
        shown(&story(), 80, 24, at(5, 10)),
        "\
shop  UP  since 10:05:00 (10 s)
health     not healthy: module b failed
modules    1 of 2 not ok: b failed
errors          31 %! ▁▁   █  top 31 %, above 25 %
response       50 ms  ▄█   ▂  top 200 ms
cpu                -  ▄█      top 100 %
memory          60 %  ▄▄   ▅  top 100 %
last change 10:05:00  UNKNOWN -> UP, not healthy
sample     10:05:00 UTC (10 s ago), 4 so far, every 1m
"
        .replace(" (10 s ago)", "")
    );
    let mut ill = story();
    add(&mut ill, 7, 0, r#""up":true,"modules":{"a":"ok","b":"ok"}"#);
    let text = shown(&ill, 80, 24, at(8, 0));
    assert!(text.starts_with("shop  UP  since 10:05:00 (3 min)\nhealth     healthy\nmodules    2 of 2 ok\n"), "{text}");
    assert!(text.contains("last change 10:07:00  UP, not healthy -> UP, healthy\n"), "{text}");
    let mut first = live(false);
    add(&mut first, 0, 0, r#""up":false"#);
    let text = shown(&first, 80, 24, at(2, 0));
    assert!(text.starts_with("shop  DOWN  since 10:00:00 or before (2 min)\nhealth     not healthy: it is not up\n"), "{text}");
    assert!(text.contains("last change none since 10:00:00\n") && text.contains("10:00:00 UTC (2 min ago)"), "{text}");
    let text = shown(&first, 80, 24, "2026-03-02T10:00:00Z".parse().unwrap());
    assert!(text.contains("since 2026-03-01 10:00:00 or before (1 d)"), "{text}");
}

#[test]
fn it_fits_every_terminal_and_the_most_important_comes_first() {
    let mut live = story();
    for minute in 6..59 {
        let modules: Vec<String> = (0..50).map(|module| format!("\"模块{module}\":\"failed\"")).collect();
        add(&mut live, minute, 7, &format!(r#""up":true,"error_rate":0.5,"response_ms":123456,"cpu_usage":0.1,"modules":{{{}}}"#, modules.join(",")));
    }
    for columns in 2..=300 {
        for rows in [1, 2, 5, 24] {
            let text = shown(&live, columns, rows, at(58, 0));
            assert!(text.lines().count() < rows.max(2), "{columns}x{rows}: {text}");
        }
    }
    let text = shown(&live, 40, 24, at(58, 0));
    assert!(text.lines().all(|line| line.width() < 40) && text.lines().nth(1).unwrap().ends_with('…'), "{text}");
    assert!(shown(&live, 40, 3, at(58, 0)).starts_with("shop  UP  since "), "{text}");
    assert_eq!(live.series[0].values.len(), REMEMBERED, "no more is remembered than a screen can show");
}

#[test]
fn colour_adds_nothing_and_names_cannot_move_the_cursor() {
    let mut coloured = live(true);
    add(
        &mut coloured,
        0,
        0,
        r#""up":false,"modules":{"a\u001b[2J\nb":"failed\u0007"},"probes":[{"probe":"\u001b]0;x","ok":false,"took_ms":1,"error":"\r\u009b1A"}]"#,
    );
    let text = shown(&coloured, 120, 24, at(0, 0));
    assert!(text.contains("\u{1b}[31m"), "{text:?}");
    // Without the colours nothing is left that a terminal would act on.
    let plain: String = text.split('\u{1b}').map(|part| part.strip_prefix('[').map_or(part, |rest| &rest[rest.find('m').unwrap() + 1..])).collect();
    assert!(!plain.chars().any(|letter| letter.is_control() && letter != '\n'), "{plain:?}");
    coloured.colour = false;
    assert_eq!(shown(&coloured, 120, 24, at(0, 0)), plain);
}

#[test]
fn lines_that_were_folded_since_are_wiped_whole() {
    let mut live = live(false);
    live.drawn = vec![79, 0, 40];
    assert_eq!(live.wipe(80), "\r\x1b[3A\x1b[J");
    assert_eq!(live.wipe(40), "\r\x1b[4A\x1b[J", "79 columns take two rows of 40");
    live.drawn.clear();
    assert_eq!(live.wipe(40), "\r\x1b[J");
}
