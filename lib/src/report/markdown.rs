//! The report as Markdown, through a template that knows nothing but layout. What it prints is escaped unless it says
//! otherwise, so that forgetting something can make a report ugly, never wrong.

use super::Report;
use super::words::visible;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

/// What stands where the stream says nothing.
const NOT_RECORDED: &str = "*not recorded*";

impl Report {
    /// The report as Markdown, in UTF-8, ending in a newline.
    pub fn markdown(&self) -> String {
        // The template ships with the program and prints fields of `Report` only: every test that prints a report proves this.
        render(self).expect("the built-in template prints every report")
    }
}

fn render(report: &Report) -> Result<String, Error> {
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
    environment.add_filter("when", |moment: Value| if moment.is_none() { Ok(moment) } else { moment.get_attr("text") });
    environment.render_str(include_str!("incident.md.jinja"), minijinja::value::Serde(report))
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
