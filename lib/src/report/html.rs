//! The report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere, and a policy that lets no
//! browser load any. Light, dark and on paper, on a phone and to a screen reader it says the same.
//!
//! As in Markdown, the template knows layout and nothing else, and what it prints is escaped unless it says otherwise.

use super::chart::{ALL, palette, svg::Text};
use super::words::list;
use super::{Chart, Report};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

/// What stands where the stream says nothing.
const NOT_RECORDED: &str = r#"<span class="none">not recorded</span>"#;

/// Of a longer log a page shows this many lines of its beginning and of its end: a browser has to lay all of them out.
const HEAD: usize = 600;
const TAIL: usize = 400;

/// What the template prints.
#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    report: &'a Report,
    head: usize,
    tail: usize,
    style: String,
    story: Option<Figure<'a>>,
    charts: Vec<Figure<'a>>,
    /// What the rollback that cost most cost.
    data_loss: Option<String>,
    /// Whether a person keeps the follow-ups.
    has_own_list: bool,
    /// Charts that there is no data for, in a sentence.
    left_out: String,
}

#[derive(Serialize)]
struct Figure<'a> {
    name: &'static str,
    title: &'a str,
    description: &'a str,
    svg: String,
}

impl Figure<'_> {
    fn new(chart: &Chart) -> Figure<'_> {
        // The page has the style already.
        Figure { name: chart.name, title: &chart.title, description: &chart.description, svg: chart.svg.replacen(palette::STYLE, "", 1) }
    }
}

impl Report {
    /// The report as HTML, with these charts, in UTF-8, ending in a newline.
    pub fn html(&self, charts: &[Chart]) -> String {
        let missing = ALL.iter().filter(|(name, _)| !charts.iter().any(|chart| chart.name == *name));
        let page = Page {
            report: self,
            head: HEAD,
            tail: TAIL,
            style: [palette::COLOURS, palette::CHARTS, include_str!("incident.css")].concat(),
            story: charts.iter().find(|chart| chart.name == "story").map(Figure::new),
            charts: charts.iter().filter(|chart| chart.name != "story").map(Figure::new).collect(),
            data_loss: self.worst_loss(),
            has_own_list: self.kept("follow-ups").is_some(),
            left_out: list(&missing.map(|(_, title)| title.to_lowercase()).collect::<Vec<_>>()).replace("cpu", "CPU"),
        };
        // As for Markdown: the template ships with the program, and every test that prints a report proves it.
        render(&page).expect("the built-in template prints every report")
    }
}

impl Report {
    /// What the rollback that cost most cost. One of which it is not known hides no known loss, and is no "none".
    fn worst_loss(&self) -> Option<String> {
        let worst = self.rollbacks.iter().filter(|rollback| rollback.lost_s.is_some()).max_by_key(|rollback| rollback.lost_s)?;
        let text = worst.data_loss.clone()?;
        match self.rollbacks.iter().any(|rollback| rollback.lost_s.is_none()) {
            false => Some(text),
            true if worst.lost_s > Some(0) => Some(format!("{text}; that of another rollback is not recorded")),
            true => None,
        }
    }
}

fn render(page: &Page) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("html".into()));
    environment.set_formatter(|out, _, value| {
        let text = match value {
            value if value.is_undefined() => return Err(Error::new(ErrorKind::UndefinedError, "no such field")),
            value if value.is_none() => NOT_RECORDED.to_owned(),
            value if value.is_safe() => value.to_string(),
            value => Text(&value.to_string()).to_string(),
        };
        out.write_str(&text).map_err(Error::from)
    });
    environment.add_filter(
        "code",
        |text: Value| {
            if text.is_none() { text } else { Value::from_safe_string(format!("<code>{}</code>", Text(&text.to_string()))) }
        },
    );
    environment.add_filter("when", |moment: Value| -> Result<Value, Error> {
        if moment.is_none() {
            return Ok(moment);
        }
        let (time, text) = (moment.get_attr("time")?.to_string(), moment.get_attr("text")?.to_string());
        Ok(Value::from_safe_string(format!(r#"<time datetime="{}">{}</time>"#, Text(&time), Text(&text))))
    });
    environment.add_filter("card", card);
    environment.add_filter("lines", lines);
    environment.render_str(include_str!("incident.html.jinja"), minijinja::value::Serde(page))
}

/// A fact as a card shows it: its beginning large, the rest small.
fn card(fact: Value) -> Value {
    if fact.is_none() {
        return fact;
    }
    let text = fact.to_string();
    let ends = [" at ", " (", ", ", ": ", "; "].into_iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    let (large, small) = text.split_at(ends);
    let small = small.trim_start_matches([',', ':', ';', ' ']);
    let small = if small.is_empty() { String::new() } else { format!(" <small>{}</small>", Text(small)) };
    Value::from_safe_string(format!("<b>{}</b>{small}", Text(large)))
}

/// Text that a person wrote over several lines, line by line: its layout is part of it.
fn lines(text: String) -> Value {
    let lines: Vec<String> = text.lines().map(|line| Text(line).to_string()).collect();
    Value::from_safe_string(lines.join("\n"))
}
