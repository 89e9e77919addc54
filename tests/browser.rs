//! The HTML report in a real browser: it is what was sent, nothing in it runs or is loaded, nothing sticks out or covers anything, in
//! light, dark and print, on a desk and on a phone.
//!
//! With `ECO_PICTURES=FOLDER` the pages and what they look like are left in that folder; `scripts/pictures` uses it.

mod chromium;
mod incidents;

use crate::harness::World;
use chromium::Browser;
use incidents::{HOSTILE, Incident, all, named};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const COLOURS: &str = include_str!("../lib/src/report/chart/colours.css");

/// The pages of all incidents as files.
fn pages(folder: &Path) -> Vec<(&'static Incident, PathBuf)> {
    let page = |incident: &'static Incident| {
        let file = folder.join(format!("{}.html", incident.name));
        fs::write(&file, &incident.html).unwrap();
        (incident, file)
    };
    all().iter().map(page).collect()
}

/// Without spaces, which a browser moves about at the borders of head and body, and with quotes in text as a browser writes them.
fn bare(html: &str) -> String {
    html.replace("<!DOCTYPE html>", "").replace("&quot;", "\"").replace("&nbsp;", "").split_whitespace().collect()
}

#[test]
fn the_browser_understands_the_report_as_it_was_sent_and_runs_and_loads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut browser) = Browser::open("that a browser understands reports as they are meant") else { return };
    for (incident, file) in pages(folder.path()) {
        browser.show(&file, 1280, "light");
        let seen = browser.ask("document.documentElement.outerHTML");
        let (seen, sent) = (bare(seen.as_str().unwrap()), bare(&incident.html));
        let differ = seen.bytes().zip(sent.bytes()).position(|(one, next)| one != next).unwrap_or(seen.len().min(sent.len()));
        let around = |text: &str| String::from_utf8_lossy(&text.as_bytes()[differ.saturating_sub(60)..text.len().min(differ + 60)]).into_owned();
        assert!(seen == sent, "{}: seen {} and sent {}", incident.name, around(&seen), around(&sent));
        let active = "document.querySelectorAll('script, img, iframe, object, embed, link, form, [onload], [onerror], [onclick]').length";
        assert_eq!(browser.ask(active), 0, "{}", incident.name);
        assert_eq!(browser.ask("performance.getEntriesByType('resource').length"), 0, "{}", incident.name);
        let once = "[document.querySelectorAll('h1').length, document.querySelectorAll('main').length, document.documentElement.lang]";
        assert_eq!(browser.ask(once), serde_json::json!([1, 1, "en"]), "{}", incident.name);
        // Ids are one of a kind, and every reference leads somewhere.
        let ids = "(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id); \
                    const to = [...document.querySelectorAll('[aria-labelledby]')].flatMap(e => e.getAttribute('aria-labelledby').split(' ')); \
                    const links = [...document.querySelectorAll('a[href^=\"#\"]')].map(e => e.getAttribute('href').slice(1)); \
                    return [ids.length - new Set(ids).size, [...to, ...links].filter(id => !ids.includes(id))]; })()";
        assert_eq!(browser.ask(ids), serde_json::json!([0, []]), "{}", incident.name);
    }
    assert_eq!(browser.log, [""; 0], "the browser has nothing to complain about");
    browser.show(&folder.path().join("full.html"), 1280, "light");
    let said = browser.ask("document.querySelector('#timeline').parentElement.textContent");
    assert!(said.as_str().unwrap().contains(HOSTILE), "{said}");
}

/// What is wrong with the layout of a page: what is wider than the screen, charts without words or size, text that covers other text
/// or is cut at the edge of its chart.
const FAULTS: &str = r#"(() => {
    const faults = [];
    const wide = document.documentElement.scrollWidth - innerWidth;
    if (wide > 0) faults.push(`the page is ${wide} pixels too wide`);
    for (const element of document.querySelectorAll('body *')) {
        const box = element.getBoundingClientRect();
        if (box.width && box.right > innerWidth + 0.5 && !element.closest('.scroll')) faults.push(`sticks out: ${element.outerHTML.slice(0, 80)}`);
    }
    for (const svg of document.querySelectorAll('svg')) {
        const box = svg.getBoundingClientRect();
        const name = svg.querySelector('title')?.textContent;
        if (!name || !svg.querySelector('desc')?.textContent || svg.getAttribute('role') !== 'img') faults.push(`no words: ${name}`);
        if (box.width < 200 || box.height < 50) faults.push(`no size: ${name}`);
        const texts = [...svg.querySelectorAll('text')].map(text => {
            const title = text.querySelector('title')?.textContent ?? '';
            return [text.textContent.slice(0, text.textContent.length - title.length), text.getBoundingClientRect()];
        });
        texts.forEach(([said, one], at) => {
            if (one.left < box.left - 1 || one.right > box.right + 1 || one.bottom > box.bottom + 1) faults.push(`${name}: cut: ${said}`);
            for (const [other, next] of texts.slice(at + 1)) {
                const across = Math.min(one.right, next.right) - Math.max(one.left, next.left);
                const down = Math.min(one.bottom, next.bottom) - Math.max(one.top, next.top);
                // Letters do not fill their line.
                if (across > 1 && down > 4) faults.push(`${name}: "${said}" covers "${other}"`);
            }
        });
    }
    return faults;
})()"#;

#[test]
fn nothing_sticks_out_is_cut_or_covers_anything_on_a_desk_a_phone_and_paper() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut browser) = Browser::open("that nothing in a report sticks out of a screen") else { return };
    let mut faults = Vec::new();
    for (incident, file) in pages(folder.path()) {
        browser.show(&file, 1280, "light");
        // The last width is what A4 leaves between its margins.
        for (width, scheme) in [(1280, "light"), (360, "dark"), (687, "print")] {
            browser.screen(width, scheme);
            let found = browser.ask(FAULTS);
            faults.extend(found.as_array().unwrap().iter().map(|fault| format!("{} at {width}: {fault}", incident.name)));
        }
        let too_high = "[...document.querySelectorAll('figure')].filter(f => f.getBoundingClientRect().height > 1010).length";
        assert_eq!(browser.ask(too_high), 0, "{}: a chart does not fit on a page", incident.name);
        browser.screen(1280, "light");
        let paper = browser.print();
        let text = String::from_utf8_lossy(&paper);
        assert!(text.starts_with("%PDF-") && text.matches("/Type /Page\n").count() >= 1, "{}: {} bytes", incident.name, paper.len());
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn light_dark_and_paper_look_as_they_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut browser) = Browser::open("that reports are light, dark, and light on paper") else { return };
    let file = folder.path().join("full.html");
    fs::write(&file, &named("full").html).unwrap();
    browser.show(&file, 1280, "light");
    let ground = "[document.body, document.querySelector('section'), document.querySelector('svg .plot')].map(e => { \
                   const s = getComputedStyle(e); const c = e.tagName === 'rect' ? s.fill : s.backgroundColor; \
                   return c.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3; })";
    let mut brightness = |scheme: &str| -> Vec<f64> {
        browser.screen(1280, scheme);
        browser.ask(ground).as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    assert!(brightness("light").iter().all(|value| *value > 235.0));
    assert!(brightness("dark").iter().all(|value| *value < 40.0));
    assert!(brightness("print")[1..].iter().all(|value| *value > 235.0), "paper is light, whatever the screen is");
}

/// The colours by name, of one scheme.
fn colours(part: &str) -> BTreeMap<String, [f64; 3]> {
    let words = part.split(['{', '}', ';']).filter_map(|word| word.split_once(": #"));
    let channel = |hex: &str, at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
    words.map(|(name, hex)| (name.trim().to_owned(), [channel(hex, 0), channel(hex, 2), channel(hex, 4)])).collect()
}

/// The contrast of two colours as WCAG 2 defines it.
fn contrast(one: [f64; 3], next: [f64; 3]) -> f64 {
    let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    let light = |[r, g, b]: [f64; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05;
    let (one, next) = (light(one), light(next));
    one.max(next) / one.min(next)
}

#[test]
fn text_and_lines_stand_out_from_what_is_behind_them_in_both_schemes() {
    let parts: Vec<&str> = COLOURS.split("@media").collect();
    assert_eq!(parts.len(), 2);
    for (scheme, part) in ["light", "dark"].into_iter().zip(parts) {
        let colours = colours(part);
        assert!(colours.len() >= 19, "{scheme}: {colours:?}");
        let ratio = |one: &str, next: &str| contrast(colours[one], colours[next]);
        let grounds = ["--page", "--paper", "--plot"];
        let texts = ["--ink", "--soft", "--blue", "--violet", "--red", "--amber", "--green"];
        let mut pairs: Vec<(&str, &str, f64)> = texts.into_iter().flat_map(|text| grounds.map(|ground| (text, ground, 4.5))).collect();
        pairs.extend(["--red-tint", "--amber-tint", "--green-tint", "--blue-tint", "--volume"].map(|tint| ("--ink", tint, 4.5)));
        pairs.extend([
            ("--red", "--red-tint", 4.5),
            ("--amber", "--amber-tint", 4.5),
            ("--green", "--green-tint", 4.5),
            ("--blue", "--blue-tint", 4.5),
        ]);
        pairs.extend([("--on-loud", "--loud", 4.5), ("--soft", "--volume", 3.0), ("--blue", "--volume", 3.0), ("--red", "--volume", 3.0)]);
        for (text, ground, least) in pairs {
            let found = ratio(text, ground);
            assert!(found >= least, "{scheme}: {text} on {ground} has {found:.2}, wants {least}");
        }
    }
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
}

#[test]
fn every_incident_has_the_charts_that_it_has_data_for_and_names_the_others() {
    let charts = |name: &str| -> Vec<String> {
        let parts = named(name).html.split("<figure id=\"chart-").skip(1);
        parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
    };
    let full = ["story", "errors", "response", "load", "modules", "availability"];
    for name in ["full", "module", "config", "open", "flapping", "hostile"] {
        assert_eq!(charts(name), full, "{name}");
        assert!(named(name).html.contains("Without data in the stream, and so not drawn: rollout."), "{name}");
    }
    assert_eq!(charts("without-data"), ["story"]);
    let left_out = "not drawn: error rate, response time, CPU and memory, modules, availability and rollout.";
    assert!(named("without-data").html.contains(left_out));
    assert_eq!(charts("rollout"), ["story", "errors", "response", "load", "modules", "availability", "rollout"]);
    // The rollbacks of the streams were found to belong to the decisions that the real policy made.
    for incident in all().iter().filter(|incident| !["open", "week"].contains(&incident.name)) {
        assert!(incident.html.contains("<dt>Rollback initiated</dt><dd><time"), "{}", incident.name);
    }
    assert!(named("open").html.contains("Incident report, interim") && named("flapping").html.contains("REVERTED"));
    assert!(named("full").html.contains("<dt>on-call</dt><dd>pager 7</dd>") && named("full").html.contains("&lt;b&gt;ops@example.com&lt;/b&gt;"));
}

#[test]
fn a_week_of_samples_stays_small_keeps_its_peak_and_is_the_same_every_time() {
    let week = named("week");
    assert!(week.stream.len() > 10_000_000 && week.html.len() < 300_000, "{} bytes of {}", week.html.len(), week.stream.len());
    assert!(week.html.contains("Error rate: highest 90 % at 2026-03-04 21:20:10"), "the peak is told");
    let line = week.html.split("<path class=\"line\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    let heights = line.split(['M', 'L']).filter_map(|step| step.split(' ').nth(1)?.parse::<f64>().ok());
    let (highest, lowest) = heights.fold((f64::MAX, f64::MIN), |(high, low), y| (y.min(high), y.max(low)));
    assert!(lowest - highest > 100.0, "the peak is drawn: from {lowest} to {highest}");
    let full = named("full");
    let world = World::new();
    world.config("");
    let report = || world.run("eco-report").args(["-f", "html"]).stdin(&full.stream).exits(0).stdout;
    assert_eq!(report(), report());
}

#[test]
fn a_chart_in_a_file_of_its_own_is_complete() {
    let world = World::new();
    let ran = world.run("eco-report").args(["-o", "incident.md", "--assets", "charts"]).stdin(&named("hostile").stream).exits(0);
    assert_eq!(ran.stderr, "");
    let Some(mut browser) = Browser::open("that a chart stands alone") else { return };
    for name in ["story", "errors", "response", "load", "modules", "availability"] {
        let file = world.path(format!("charts/{name}.svg"));
        browser.show(&file, 1280, "light");
        // What is not well-formed XML is shown as an error, in HTML.
        assert_eq!(browser.ask("document.documentElement.tagName"), "svg", "{name}");
        assert_eq!(browser.ask("document.querySelectorAll('parsererror, script').length"), 0, "{name}");
        let paint = "getComputedStyle(document.querySelector('.paper')).fill";
        let light = browser.ask(paint);
        browser.screen(1280, "dark");
        assert_ne!(browser.ask(paint), light, "{name}");
    }
    assert_eq!(browser.log, [""; 0]);
}

#[test]
fn what_people_wrote_is_text_in_the_html_report_too() {
    let world = World::new();
    let stream = &named("full").stream;
    world.run("eco-report").args(["-o", "old.md"]).stdin(stream).exits(0);
    let wrote = "A <b>disk</b> was full.\n\n- it was known\n- `rm -rf` & co.";
    let old = world.read("old.md");
    let opens = "<!-- keep:root-cause -->\n";
    let (before, after) = old.split_once(opens).unwrap();
    world.write("old.md", format!("{before}{opens}{wrote}\n<!-- /keep:root-cause -->{}", after.split_once("<!-- /keep:root-cause -->").unwrap().1));
    let html = world.run("eco-report").args(["-f", "html", "--merge", "old.md"]).stdin(stream).exits(0).stdout;
    assert!(html.contains("A &lt;b&gt;disk&lt;/b&gt; was full.\n\n- it was known\n- `rm -rf` &amp; co."), "{html}");
}

#[test]
fn pictures_are_left_where_they_are_asked_for() {
    let Some(folder) = std::env::var_os("ECO_PICTURES").map(PathBuf::from) else { return };
    let Some(mut browser) = Browser::open("pictures of reports") else { return };
    for (incident, file) in pages(&folder) {
        let name = incident.name;
        fs::write(folder.join(format!("{name}.ndjson")), if name == "week" { "" } else { &incident.stream }).unwrap();
        for (kind, width, scheme, height) in
            [("desk", 1280, "light", 9000), ("dark", 1280, "dark", 9000), ("phone", 390, "dark", 9000), ("top", 1000, "light", 1000)]
        {
            browser.show(&file, width, scheme);
            fs::write(folder.join(format!("{name}-{kind}.png")), browser.picture(height)).unwrap();
        }
        fs::write(folder.join(format!("{name}.pdf")), browser.print()).unwrap();
    }
}
