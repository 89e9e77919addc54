//! The report as Markdown, through a template that knows nothing but layout. What it prints is escaped unless it says
//! otherwise, so that forgetting something can make a report ugly, never wrong.

use super::Report;
use super::keep::marked;
use super::words::visible;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use serde::Serialize;

/// What stands where the stream says nothing.
const NOT_RECORDED: &str = "*not recorded*";

impl Report {
    /// The report as Markdown, in UTF-8, ending in a newline.
    pub fn markdown(&self) -> String {
        self.illustrated(&[])
    }

    /// The same with pictures: what each shows, and where it is, seen from the report.
    pub fn illustrated(&self, pictures: &[Picture]) -> String {
        // The template ships with the program and prints fields of `Report` only: every test that prints a report proves this.
        render(self, pictures).expect("the built-in template prints every report")
    }
}

/// A chart in a file beside the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Picture {
    /// What it is.
    pub title: String,
    /// What it shows, for who cannot see it.
    pub description: String,
    /// Where it is, as a link.
    pub link: String,
}

fn render(report: &Report, pictures: &[Picture]) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("markdown".into()));
    environment.set_formatter(|out, _, value| {
        let text = match value {
            value if value.is_undefined() => return Err(Error::new(ErrorKind::UndefinedError, "no such field")),
            value if value.is_none() => NOT_RECORDED.to_owned(),
            value if value.is_safe() => value.to_string(),
            value => escape(&value.to_string()),
        };
        out.write_str(&text).map_err(Error::from)
    });
    environment.add_filter("code", |text: Value| if text.is_none() { text } else { Value::from_safe_string(code(&text.to_string())) });
    let own = report.clone();
    environment.add_filter("place", move |name: &str| Value::from_safe_string(own.place(name, escape)));
    let own = report.clone();
    environment.add_filter("is_kept", move |name: &str| own.kept(name).is_some());
    environment.add_filter("marked", |text: &str, name: &str| Value::from_safe_string(marked(name, text)));
    let about = report.about(escape);
    environment.add_function("about", move || Value::from_safe_string(about.clone()));
    let rows = report.sparks.as_ref().map(|sparks| (sparks.rows().join("\n"), sparks.legend())).unwrap_or_default();
    environment.add_function("spark_rows", move || Value::from_safe_string(rows.0.clone()));
    environment.add_function("spark_legend", move || Value::from_safe_string(rows.1.clone()));
    environment.add_filter("link", |path: &str| Value::from_safe_string(link(path)));
    environment.add_filter("when", |moment: Value| if moment.is_none() { Ok(moment) } else { moment.get_attr("text") });
    environment.render_str(include_str!("incident.md.jinja"), context! { pictures => Serde(pictures), ..Value::from(Serde(report)) })
}

/// Text as text, wherever it stands: no markup, no HTML, no cell or line of its own. Characters that Markdown reads only in
/// some places are left readable in the others.
fn escape(text: &str) -> String {
    let letters: Vec<char> = visible(text).chars().collect();
    let mut escaped = String::with_capacity(letters.len() + 8);
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let after = letters.get(at + 1);
        match letter {
            '<' => escaped.push_str("&lt;"),
            // An entity, unlike a backslash, is no cell border for any reader of tables.
            '|' => escaped.push_str("&#124;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | ']' | '~' | '$' => escaped.extend(['\\', *letter]),
            // Inside a word an underscore means itself.
            '_' if before.is_some_and(char::is_alphanumeric) && after.is_some_and(|c| c.is_alphanumeric()) => escaped.push('_'),
            '_' => escaped.push_str("\\_"),
            // Readers turn addresses into links by themselves; these are other people's addresses.
            ':' if after == Some(&'/') => escaped.push_str("&#58;"),
            '.' if letters[..at].iter().rev().take(3).all(|c| c.eq_ignore_ascii_case(&'w')) && at >= 3 => escaped.push_str("&#46;"),
            '@' => escaped.push_str("&#64;"),
            '#' | '+' | '-' | '>' | '=' if before.is_none() => escaped.extend(['\\', *letter]),
            '.' | ')' if after.is_none_or(|c| *c == ' ') && at > 0 && letters[..at].iter().all(char::is_ascii_digit) => {
                escaped.extend(['\\', *letter])
            }
            other => escaped.push(*other),
        }
    }
    escaped
}

/// A path as the target of a link: what Markdown or an address would read something into is written in hex.
fn link(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A name or a command in code type; one that could break out of it is escaped text instead.
fn code(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !"`|<>&\\".contains(c) || c == ' ';
    if !text.is_empty() && text.trim() == text && text.chars().all(plain) { format!("`{text}`") } else { escape(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<script>|`a`*b*\n# c"), "&lt;script>&#124;\\`a\\`\\*b\\*\\\\n# c");
        assert_eq!(escape("# a"), "\\# a");
        assert_eq!(escape("1. a"), "1\\. a");
        assert_eq!(escape("[a](http://b)"), "\\[a\\](http&#58;//b)");
        assert_eq!(escape("www.example.com"), "www&#46;example.com");
        assert_eq!(escape("&lt;"), "&amp;lt;");
    }

    #[test]
    fn ordinary_words_stay_readable() {
        assert_eq!(escape("errors-25: error_rate 0.31, limit > 0.25"), "errors-25: error_rate 0.31, limit > 0.25");
        assert_eq!(escape("_a_"), "\\_a\\_");
    }

    #[test]
    fn code_is_code_or_text_never_half_of_both() {
        assert_eq!(code("eco-restore --undo 'a b'"), "`eco-restore --undo 'a b'`");
        assert_eq!(code("a`b"), "a\\`b");
        assert_eq!(code("a|b"), "a&#124;b");
    }
}
