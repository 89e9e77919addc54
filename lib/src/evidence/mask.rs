//! Secrets in text -> `***`. Line by line the text stays what it was, so a masked text can be laid beside the original.
//!
//! What is masked too much costs a look at the original; what is masked too little is in a ticket for ever. So a value is masked
//! because of the name before it, whatever it looks like, and some values because of how they look, whatever their name.

use regex::Regex;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

/// What stands for a secret.
const MASK: &str = "***";
/// A value that goes on for longer has lost its end.
const LONGEST: usize = 64 << 10;

/// Where one has lost its end, others before that place are followed no further than this: else a text of nothing but openings is
/// read once for each of them.
const LONGEST_IN_LOST: usize = 4 << 10;

/// One pattern of `[evidence] mask`. With a named group only what that matches is masked, else all that the pattern matches.
#[derive(Clone, Debug)]
pub struct Pattern {
    word: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// A sentence that names the pattern.
    pub fn new(word: &str) -> Result<Pattern, String> {
        // The last line of a long explanation says what is wrong.
        let why = |e: regex::Error| e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let regex = Regex::new(word).map_err(|e| format!("'{}' is not a regular expression: {}", word.escape_debug(), why(e)))?;
        Ok(Pattern { word: word.to_owned(), regex })
    }

    /// As it was written.
    pub fn word(&self) -> &str {
        &self.word
    }

    fn find(&self, text: &str, spans: &mut Vec<Range<usize>>) {
        let named: Vec<usize> = self.regex.capture_names().enumerate().filter_map(|(at, name)| name.map(|_| at)).collect();
        for found in self.regex.captures_iter(text) {
            if named.is_empty() {
                spans.extend(found.get(0).map(|whole| whole.range()));
            }
            spans.extend(named.iter().filter_map(|group| found.get(*group)).map(|group| group.range()));
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.word == other.word
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pattern, D::Error> {
        Pattern::new(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// One line of a text, with its end, and how many secrets begin in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) masked: u64,
}

/// The text line by line, as many as there were, with every secret masked: those of the patterns, and those that anybody knows.
pub(super) fn lines(text: &str, patterns: &[Pattern]) -> Vec<Line> {
    let mut spans = Vec::new();
    patterns.iter().for_each(|pattern| pattern.find(text, &mut spans));
    by_name(text, &mut spans);
    by_shape(text, &mut spans);
    by_section(text, &mut spans);
    private_keys(text, &mut spans);
    cover(text, joined(spans))
}

/// The patterns for this file: some files hold secrets in lines that look like nothing anywhere else.
pub(super) fn of_file<'a>(path: &Path, patterns: &'a [Pattern]) -> Cow<'a, [Pattern]> {
    let is_pgpass = path.file_name().is_some_and(|name| name.to_string_lossy().contains("pgpass"));
    if is_pgpass { [patterns, std::slice::from_ref(&*PGPASS)].concat().into() } else { patterns.into() }
}

/// host:port:database:user:password, where a backslash stands before a colon that is none of these.
static PGPASS: LazyLock<Pattern> = LazyLock::new(|| {
    let word = r"(?m)^(?:(?:[^:\\\r\n]|\\.)*:){4}(?<password>[^\r\n]*)";
    Pattern { word: word.to_owned(), regex: known(word) }
});

/// A text of one line, masked.
pub(super) fn one(text: &str, patterns: &[Pattern]) -> (String, u64) {
    let lines = lines(text, patterns);
    (lines.iter().map(|line| line.text.as_str()).collect(), lines.iter().map(|line| line.masked).sum())
}

fn joined(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.retain(|span| !span.is_empty());
    spans.sort_by_key(|span| (span.start, span.end));
    let mut joined: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}

fn cover(text: &str, spans: Vec<Range<usize>>) -> Vec<Line> {
    let (mut lines, mut at, mut next) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        let body = at + line.trim_end_matches(['\n', '\r']).len();
        let (mut shown, mut masked, mut from) = (String::with_capacity(line.len()), 0, at);
        while let Some(span) = spans.get(next).filter(|span| span.start < at + line.len()) {
            if from.max(span.start) < body.min(span.end) {
                shown.push_str(&text[from..span.start.max(from)]);
                shown.push_str(MASK);
                from = span.end.min(body);
            }
            masked += u64::from(span.start >= at);
            if span.end > at + line.len() {
                break;
            }
            next += 1;
        }
        shown.push_str(&text[from..at + line.len()]);
        lines.push(Line { text: shown, masked });
        at += line.len();
    }
    lines
}

/// Words that make a name one of a secret; what stands around them in the same name belongs to it.
const NAMES: &str = "passw(?:or)?d|passwd|pass[_-]?phrase|pwd|secret|token|credential|[a-z0-9_.-]pass\
    |(?:api|access|account|app|auth|client|encryption|hmac|jwt|master|private|secret|shared|signing|ssh|ssl|storage|tls)[_.-]?key|session[_-]?(?:id|key)|x-amz-signature";

static IS_NAME: LazyLock<Regex> = LazyLock::new(|| known(NAMES));

/// Parts of names that look like a secret's and are none.
static INNOCENT: LazyLock<Regex> =
    LazyLock::new(|| known(r"tokeniz|(?:ssh|ssl|tls)[_.-]?key(?:board|gen|scan|store|[_.-]?(?:exchange|file|path|size|type))"));

/// Where a name of a secret ends and its value begins.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    let name = format!(r"(?<name>[a-z0-9_.\-]*(?:{NAMES})[a-z0-9_.\-]*|\b(?:pass|sig|requirepass|masterauth|bindpw|rootpw)\b)");
    let assigned = r#"(?<assigned>[\\"'\])]*[ \t]*(?:=>|:=|=|:))"#;
    let pair = r#"(?<pair>\\?["']?\s*,?\s*\\?["']?value\\?["']?[ \t]*[:=])"#;
    let element = r"(?<element>(?:\s[^<>\n]*)?>)";
    known(&format!(r"(?i){name}(?:{pair}|{assigned}|{element}|(?<blank>[ \t]+))"))
});

/// A header whose whole value is secret.
static HEADER: LazyLock<Regex> = LazyLock::new(|| known(r#"(?i)\b(?:proxy-)?authorization["'\\]*\s*[:=]|\b(?:set-)?cookie["'\\]*\s*:"#));

/// What can stand before a name that begins a line of a configuration.
static BEGINS: LazyLock<Regex> = LazyLock::new(|| known(r#"(?i)^[\s"'\[$#;/+\-]*(?:(?:export|set|setx|const|let|var|env|arg)\s+)?["'\[$]*$"#));

/// Values that say that there is none, or that something is on or off.
static NO_SECRET: LazyLock<Regex> = LazyLock::new(|| known(r"(?i)^(?:true|false|null|none|nil|yes|no|on|off|~|\*+|[,;]*)$"));

/// Secrets that give themselves away: the first group that matches is the secret, else all of it.
static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let shapes = [
        // Passwords in addresses go up to the last @: they may hold one themselves.
        r#"(?i)\b[a-z][a-z0-9+.\-]*://[^\s:/?#@"'<>]*:([^\s"'<>]*)@"#,
        r#"(?i)\b[a-z][a-z0-9+.\-]*://([^\s:/?#@"'<>]{16,})@"#,
        r"(?i)\bjdbc:oracle:[a-z]+:[^/\s]+/([^@\s]+)@",
        r#"(?i)\b[\w.\-]+:([^\s"']+)@(?:tcp|unix)\("#,
        r"(?i)\blogin[ \t]+\S+\s+password[ \t]+(\S+)",
        r"(?i)\bidentified\s+(?:with\s+\S+\s+)?by\s+'([^']*)'",
        r#"(?i)\bcurl\b[^\n]*?\s(?:-u|--user)[ =]*["']?[^\s:"']+:([^\s"']+)"#,
        r"(?i)\bsshpass[ \t]+-p[ \t]*(\S+)|\b(?:mysql|mariadb)[a-z]*\b[^\n]*?\s-p(\S+)",
        r"(?i)\bhooks\.slack\.com/services/(\S+)",
        r"(?i)\bbearer[ \t]+([a-z0-9._~+/\-]{16,}=*)",
        r"\b[Bb]asic[ \t]+([A-Za-z0-9+/]*[A-Z0-9+/][A-Za-z0-9+/]{7,}={0,2})",
        // Credentials of a registry, as docker and npm keep them.
        r#"(?i:\\?["']auth\\?["']\s*:\s*\\?["']|_auth["']?\s*[=:]\s*["']?)([A-Za-z0-9+/]*[A-Z0-9+/][A-Za-z0-9+/]{7,}={0,2})"#,
        // What begins with -----BEGIN, in base64 and its lines.
        r"\bLS0tLS1CRUdJTi[A-Za-z0-9+/]*={0,2}(?:\r?\n[ \t]*[A-Za-z0-9+/]{24,}={0,2})*",
        r"\b(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_\-]{16,}|\bnpm_[A-Za-z0-9]{30,}",
        r"\bxox[abeprs]-[A-Za-z0-9\-]{10,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|\bsk-[A-Za-z0-9_\-]{20,}",
        r"\bAIza[0-9A-Za-z_\-]{30,}|\bSG\.[\w\-]{16,}\.[\w\-]{16,}|\bhv[sbr]\.[\w\-]{20,}|\bAGE-SECRET-KEY-1[0-9A-Z]{20,}",
        r"\beyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]*",
        r#"\$(?:1|apr1|2[abxy]|5|6|7|y|gy|argon2[a-z]*)\$[^\s:"',]+"#,
    ];
    shapes.iter().map(|shape| known(shape)).collect()
});

/// The head of a section whose every value is secret.
static SECTION: LazyLock<Regex> =
    LazyLock::new(|| known(r#"(?i)^[ \t]*\[+[\w.\-" ]*(?:secret|credential|passw|token)[\w.\-" ]*\]+[ \t]*(?:[#;].*)?\r?$"#));

static KEY_BEGINS: LazyLock<Regex> = LazyLock::new(|| known(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"));
static KEY_ENDS: LazyLock<Regex> = LazyLock::new(|| known(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"));

/// Patterns of ours are constants, and a test uses every one of them.
fn known(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a built-in pattern")
}

/// Values after the name of a secret.
fn by_name(text: &str, spans: &mut Vec<Range<usize>>) {
    let (mut at, lost) = (0, Cell::new(0));
    while let Some(found) = NAMED.captures_at(text, at) {
        // Both stand in every match.
        let (Some(whole), Some(name)) = (found.get(0), found.name("name")) else { break };
        at = whole.end();
        let line = text[..name.start()].rfind('\n').map_or(0, |end| end + 1);
        let before = &text[line..name.start()];
        let place = Place {
            begins: BEGINS.is_match(before),
            indent: before.len() - before.trim_start().len(),
            quoted: before.ends_with(['"', '\'']),
            lost: &lost,
        };
        let lower = name.as_str().to_ascii_lowercase();
        // Before its value is looked for: such names stand in lines as long as a vocabulary.
        let rest = INNOCENT.replace_all(&lower, "");
        if rest.len() < lower.len() && !IS_NAME.is_match(&rest) {
            continue;
        }
        let short = ["pass", "sig"].contains(&lower.as_str());
        let span = if found.name("element").is_some() {
            if !before.ends_with(['<', ':']) {
                continue;
            }
            at..text[at..].find('<').map_or(end_of_line(text, at), |end| at + end)
        } else if found.name("blank").is_some() {
            let sets = ["env", "arg", "setenv"].iter().any(|word| before.trim().eq_ignore_ascii_case(word));
            let word_of_config = sets || place.begins && ["requirepass", "masterauth", "bindpw", "rootpw"].contains(&lower.as_str());
            match () {
                () if word_of_config => at..end_of_line(text, at),
                () if text[at..].starts_with(['"', '\'']) => value(text, at, &Place { begins: false, quoted: false, ..place }),
                () if before.ends_with("--") || lower.starts_with("--") => value(text, at, &Place { begins: false, ..place }),
                () => continue,
            }
        } else if short && !(place.begins || before.ends_with(['?', '&', '{', ',', '"', '\''])) {
            continue;
        } else {
            value(text, at, &place)
        };
        let said = text[span.clone()].trim();
        let counts_tokens = lower.ends_with("tokens") && said.trim_end_matches([',', ';']).bytes().all(|byte| byte.is_ascii_digit());
        if NO_SECRET.is_match(said.trim_end_matches([',', ';', '}', ')'])) || counts_tokens {
            continue;
        }
        at = at.max(span.end);
        spans.push(span);
    }
    for found in HEADER.find_iter(text) {
        let quote = text[..found.start()].chars().next_back().filter(|c| ['"', '\''].contains(c));
        let value = found.end() + text[found.end()..].len() - text[found.end()..].trim_start_matches([' ', '\t', '[', '\\']).len();
        let line = end_of_line(text, value);
        let opened = text[value..].chars().next().filter(|c| ['"', '\''].contains(c));
        spans.push(match (opened, quote) {
            (Some(mark), _) => value + 1..text[value + 1..].find(mark).map_or(line, |end| value + 1 + end),
            (None, Some(mark)) => value..text[value..line].find(mark).map_or(line, |end| value + end),
            (None, None) => value..line,
        });
    }
}

/// Where a name stands.
struct Place<'a> {
    /// It begins its line, as in a configuration: all that follows is its value.
    begins: bool,
    /// So far from the left.
    indent: usize,
    quoted: bool,
    /// Up to here a value was followed that has lost its end.
    lost: &'a Cell<usize>,
}

/// Where the value is that begins at `at`, or behind the blanks there.
fn value(text: &str, at: usize, place: &Place<'_>) -> Range<usize> {
    let skip = |from: usize, blanks: &[char]| from + text[from..].len() - text[from..].trim_start_matches(blanks).len();
    let mut at = skip(at, &[' ', '\t']);
    if place.quoted {
        at = skip(at, &[' ', '\t', '\r', '\n']);
    }
    let reach = if at < place.lost.get() { LONGEST_IN_LOST } else { LONGEST };
    let rest = &text[at..floor(text, at.saturating_add(reach).min(text.len()))];
    let line_end = end_of_line(text, at);
    let line = &text[at..line_end];
    let no_end = || {
        place.lost.set(place.lost.get().max(at + rest.len()));
        line_end
    };
    for mark in ["\"\"\"", "'''"] {
        if let Some(inner) = rest.strip_prefix(mark) {
            return at + 3..inner.find(mark).map_or_else(no_end, |end| at + 3 + end);
        }
    }
    // A string in a string has backslashes before its quotes.
    let slashes = rest.len() - rest.trim_start_matches('\\').len();
    if let Some(quote @ ('"' | '\'' | '`')) = rest[slashes..].chars().next() {
        let from = slashes + 1;
        return at + from..closing(&rest[from..], quote, slashes).map_or_else(|| no_end().max(at + from), |end| at + from + end);
    }
    if rest.starts_with(['{', '[']) {
        return at..balanced(rest).map_or_else(no_end, |end| at + end);
    }
    if place.begins {
        let body = line.trim_end();
        if let Some(label) = body.strip_prefix("<<") {
            let label = label.trim_matches(['-', '~', '"', '\'', ' ', '\\']);
            let end = text[line_end..].lines().skip(1).scan(line_end + 1, |from, line| {
                let here = *from;
                *from += line.len() + 1;
                Some((here, line))
            });
            let end = end.take_while(|(_, line)| line.trim() != label).map(|(from, line)| from + line.len()).last();
            return (line_end + 1).min(text.len())..end.unwrap_or(line_end).clamp(line_end, text.len()).max((line_end + 1).min(text.len()));
        }
        // A tag or an anchor may stand before it.
        let bare = body.trim_start_matches(|c: char| !"|>".contains(c));
        let tags = body[..body.len() - bare.len()].split_whitespace().all(|word| word.starts_with(['!', '&']));
        let ends = bare.get(1..).is_some_and(|rest| rest.split('#').next().unwrap_or_default().trim().chars().all(|c| "+-0123456789".contains(c)));
        let is_block = tags && ends;
        if body.is_empty() || body.starts_with('#') || is_block {
            return deeper(text, line_end, place.indent, body.is_empty());
        }
        // A line that ends in a backslash goes on.
        let mut end = line_end;
        while text[at..end].trim_end().ends_with('\\') && end < text.len() {
            end = end_of_line(text, end + 1);
        }
        return at..at + text[at..end].trim_end().len();
    }
    at..at + line.find(char::is_whitespace).unwrap_or(line.len())
}

/// The lines below this one that stand further right, or begin a list at the same place.
fn deeper(text: &str, line_end: usize, indent: usize, lists: bool) -> Range<usize> {
    let start = (line_end + 1).min(text.len());
    let mut end = start;
    let mut at = start;
    for line in text[start..].split_inclusive('\n') {
        let body = line.trim_start();
        let own = line.len() - body.len();
        let is_inside = body.is_empty() || own > indent || (lists && own == indent && body.starts_with("- "));
        if !is_inside || at - start > LONGEST {
            break;
        }
        at += line.len();
        if !body.is_empty() {
            end = at;
        }
    }
    start..end
}

/// Where the quote is that closes a string. Doubled, or behind more backslashes than opened it, it is part of the string.
fn closing(text: &str, quote: char, slashes: usize) -> Option<usize> {
    let mut run = 0;
    let mut skip = false;
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut skip) {
            continue;
        }
        match c {
            '\\' => run += 1,
            c if c == quote => {
                if run == slashes || (slashes == 0 && run % 2 == 0) {
                    if slashes == 0 && text[at + 1..].starts_with(quote) {
                        skip = true;
                        continue;
                    }
                    return Some(at - run.min(slashes));
                }
                run = 0;
            }
            _ => run = 0,
        }
    }
    None
}

/// Where a list or an object that begins here ends.
fn balanced(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn by_shape(text: &str, spans: &mut Vec<Range<usize>>) {
    for shape in SHAPES.iter() {
        spans.extend(
            shape
                .captures_iter(text)
                .filter_map(|found| (1..found.len()).find_map(|group| found.get(group)).or(found.get(0)))
                .map(|found| found.range()),
        );
    }
}

/// Every value in a section such as `[secrets]`.
fn by_section(text: &str, spans: &mut Vec<Range<usize>>) {
    let (mut at, mut inside, lost) = (0, false, Cell::new(0));
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\n', '\r']);
        if body.trim_start().starts_with('[') {
            inside = SECTION.is_match(body);
        } else if let Some(sep) = body.find(['=', ':']).filter(|_| inside) {
            let place = Place { begins: true, indent: body.len() - body.trim_start().len(), quoted: false, lost: &lost };
            spans.push(value(text, at + sep + 1, &place));
        }
        at += line.len();
    }
}

/// What stands between the two ends of a private key, also where one of them is not in the text.
fn private_keys(text: &str, spans: &mut Vec<Range<usize>>) {
    let mut done = 0;
    for begin in KEY_BEGINS.find_iter(text) {
        let next = KEY_BEGINS.find_at(text, begin.end()).map_or(text.len(), |next| next.start());
        let end = KEY_ENDS.find(&text[begin.end()..next]).map(|end| begin.end() + end.start());
        let end = end.filter(|end| end - begin.end() <= LONGEST).unwrap_or_else(|| {
            let lines = text[begin.end()..next].split_inclusive('\n');
            begin.end() + lines.enumerate().take_while(|(at, line)| *at == 0 || is_key_material(line)).map(|(_, line)| line.len()).sum::<usize>()
        });
        spans.push(begin.end()..end);
        done = end;
    }
    for end in KEY_ENDS.find_iter(text) {
        // One whose beginning was seen is masked already.
        if end.start() <= done {
            continue;
        }
        let line = text[..end.start()].rfind('\n').map_or(0, |line| line + 1);
        let above = text[..line].split_inclusive('\n').rev().take_while(|line| is_key_material(line)).map(str::len).sum::<usize>();
        spans.push(line - above..end.start());
    }
}

/// Whether a line can be one of base64, with what a log or a comment puts before it.
fn is_key_material(line: &str) -> bool {
    let last = line.trim().rsplit(char::is_whitespace).next().unwrap_or_default().trim_matches(['"', '\'', ',', '\\']);
    last.len() >= 4 && last.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

fn end_of_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + text[at..at + end].trim_end_matches('\r').len())
}

/// The last beginning of a character at or before this byte.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn masked(text: &str) -> String {
        lines(text, &[]).iter().map(|line| line.text.as_str()).collect()
    }

    /// Text with a secret in it, which stands as `§`.
    const CORPUS: [&str; 87] = [
        "DB_PASSWORD=§",
        "export DB_PASSWORD='§'",
        "password = §",
        "password: §",
        "  smtp_pass: \"§\"",
        "pass: §",
        "dbPassword: '§' # for tests",
        "\"password\": \"§\",",
        "{\"user\": \"bob\", \"api_key\": \"§\", \"port\": 1}",
        "{\"password\":\n  \"§\"}",
        "{\\\"password\\\":\\\"§\\\",\\\"a\\\":1}",
        "{\"secrets\": {\"db\": {\"a\": \"§\"}, \"b\": \"§\"}, \"x\": 1}",
        "\"tokens\": [\"§\", \"§\"]",
        "tokens:\n  - §\n  - §\nport: 1",
        "tokens:\n- §\nport: 1",
        "secret:\n  a: §\n  b: §",
        "password: |\n  §\n  §\nport: 1",
        "password: >-\n    §\n",
        "private_key = \"\"\"\n§\n§\n\"\"\"\n",
        "password = <<EOT\n§\n§\nEOT\nport = 1",
        "[secrets]\ndb = §\nother = \"§\"\n[server]\nport = 1",
        "[database.credentials]\nuser = §\n",
        "requirepass §",
        "client_secret=§&grant_type=x",
        "GET /callback?access_token=§ HTTP/1.1",
        "GET /blob?sv=1&sig=§ HTTP/1.1",
        "https://s3/x?X-Amz-Signature=§",
        "login ok token=§ user=bob",
        "run --password § --port 1",
        "run --api-key=§ --port 1",
        "<password>§</password>",
        "<Password encrypted=\"no\">§</Password>",
        "<add key=\"DbPassword\" value=\"§\"/>",
        "{\"name\": \"DB_PASSWORD\", \"value\": \"§\"}",
        "- name: DB_PASSWORD\n  value: §\n",
        "'password' => '§',",
        "config['password'] = '§'",
        "String password := \"§\"",
        "Authorization: Basic §",
        "authorization: Bearer §",
        "curl -H 'Authorization: Bearer §' https://host/",
        "\"Authorization\": \"§\"",
        "Proxy-Authorization: Digest username=\"bob\", response=\"§\"",
        "Cookie: session=§; other=§",
        "Set-Cookie: sid=§; Path=/",
        "X-Api-Key: §",
        "x-auth-token: §",
        "postgres://bob:§@db:5432/shop",
        "url = \"amqp://bob:§@mq/%2f\"",
        "redis://:§@cache:6379/0",
        "mysql: bob:§@tcp(db:3306)/shop",
        "jdbc:oracle:thin:bob/§@//db:1521/shop",
        "machine host login bob password §",
        "-----BEGIN RSA PRIVATE KEY-----\n§\n§\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n§\n§",
        "§\n§\n-----END OPENSSH PRIVATE KEY-----\nnext",
        "key: \"-----BEGIN PRIVATE KEY-----\\n§\\n-----END PRIVATE KEY-----\\n\"",
        "aws_secret_access_key = §",
        "AccountKey=§;EndpointSuffix=core",
        "Server=db;User=bob;Password=§;Port=1",
        "encryption_key: §",
        "session_id=§",
        "passphrase = \"§\"",
        "pwd=§",
        "ENV DB_TOKEN §",
        "setenv DB_TOKEN §",
        "\"Authorization\": [\"ApiKey §\"]",
        "{\\\"Authorization\\\": \\\"§\\\"}",
        "Authorization:[Token §]",
        "create role shop login password '§';",
        "CREATE USER shop IDENTIFIED BY '§'",
        "curl -s -u bob:§ host",
        "sshpass -p § ssh host",
        "mysqldump -u bob -p§ shop",
        "https://hooks.slack.com/services/§",
        "password: !!str &pw |\n  §\n  §\nport: 1",
        "//registry.example/:_authToken=§",
        "client-key-data: §",
        "APP_KEY=§",
        "jwt_key: §",
        "hmac-key = §",
        "sslKey: §",
        "tls.key: §",
        "ssh_key=§",
        "ssl.keystore.password=§",
        "tokenizer_password=§",
        "password = §\\\n  §\nport = 1",
    ];

    /// Secrets of several shapes; none has a blank, a quote or a bracket in it.
    const SECRETS: [&str; 5] =
        ["hunter2hunter2", "S3cr3t/With+Base64Chars==", "p@ss:w0rd,with;signs&more#x", "größe-Geheimnis-42", "00112233445566778899"];

    #[test]
    fn no_secret_of_the_corpus_survives() {
        for text in CORPUS {
            for secret in SECRETS {
                // A private key has nothing but base64 in it, and what is no password of an address ends it.
                let material = text.contains("PRIVATE KEY") && secret.contains([',', 'ö']);
                let address = text.contains("://") && secret.contains(['#', ';']);
                if material || address && !text.contains('@') {
                    continue;
                }
                let whole = text.replace('§', secret);
                for around in [whole.clone(), format!("first = 1\n{whole}\nlast = 1\n"), format!("{whole}\r\n")] {
                    let shown = masked(&around);
                    assert!(!shown.contains(secret), "{around}\n->\n{shown}");
                    assert!(shown.contains(MASK), "{shown}");
                    assert_eq!(shown.lines().count(), around.lines().count(), "{shown}");
                }
            }
        }
    }

    #[test]
    fn secrets_that_give_themselves_away_are_masked_wherever_they_stand() {
        for secret in [
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "glpat-abcdefghijklmnopqrst",
            "xoxb-1234567890-abcdefghij",
            "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
            "$6$rounds=5000$usesomesilly$D4IrlXatmP7rx3P3InaxBeoomnAihCKR",
        ] {
            for text in [format!("x {secret} y"), format!("\"{secret}\""), format!("bob:{secret}:0:")] {
                let shown = masked(&text);
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        assert_eq!(masked("https://abcdefghijklmnop1234@host/x"), "https://***@host/x");
    }

    #[test]
    fn credentials_of_registries_and_keys_in_base64_are_masked() {
        let table = [
            ("{\"auths\": {\"hub\": {\"auth\": \"Ym9iOmh1bnRlcjI=\"}}}", "{\"auths\": {\"hub\": {\"auth\": \"***\"}}}"),
            ("{\\\"auth\\\": \\\"Ym9iOmh1bnRlcjI=\\\"}", "{\\\"auth\\\": \\\"***\\\"}"),
            ("//registry.example/:_auth=Ym9iOmh1bnRlcjI=", "//registry.example/:_auth=***"),
            ("crt: LS0tLS1CRUdJTiBQUklWQVRF\n  TUlJRXZRSUJBREFOQmdrcWhraUc5dw==\nport: 1", "crt: ***\n***\nport: 1"),
        ];
        for (text, wanted) in table {
            assert_eq!(masked(text), wanted);
        }
    }

    #[test]
    fn lines_of_a_pgpass_are_masked_in_a_file_of_this_name_only() {
        let text = "# mine\ndb:5432:shop:bob:hunter2\n\\:\\:1:*:*:bob:a\\:b\n";
        let shown = |path: &str| lines(text, &of_file(Path::new(path), &[])).into_iter().map(|line| line.text).collect::<String>();
        assert_eq!(shown("home/.pgpass"), "# mine\ndb:5432:shop:bob:***\n\\:\\:1:*:*:bob:***\n");
        assert_eq!(shown("home/hosts"), text);
    }

    #[test]
    fn the_name_and_what_is_around_a_secret_stay() {
        let table = [
            ("password = x1", "password = ***"),
            ("a=1 token=abc b=2", "a=1 token=*** b=2"),
            ("{\"user\": \"bob\", \"api_key\": \"k\", \"port\": 1}", "{\"user\": \"bob\", \"api_key\": \"***\", \"port\": 1}"),
            ("postgres://bob:x@db:5432/shop", "postgres://bob:***@db:5432/shop"),
            ("<password>x</password>", "<password>***</password>"),
            ("secret:\n  a: x\n  b: y\nport: 1\n", "secret:\n***\n***\nport: 1\n"),
            ("Authorization: Bearer x.y", "Authorization: ***"),
            (
                "-----BEGIN PRIVATE KEY-----\nMIIE\nvQIB\n-----END PRIVATE KEY-----\n",
                "-----BEGIN PRIVATE KEY-----\n***\n***\n-----END PRIVATE KEY-----\n",
            ),
        ];
        for (text, wanted) in table {
            assert_eq!(masked(text), wanted);
        }
    }

    #[test]
    fn what_is_no_secret_is_left_alone() {
        for text in [
            "port = 8080",
            "invalid token, expired yesterday",
            "password_enabled: true",
            "secret: null",
            "max_tokens: 4096",
            "tokenizer: bert-base",
            "ssl.keystore.location=/etc/store.jks",
            "ssh-keygen: done",
            "tls_key_exchange: x25519",
            "\"auth\": \"required\"",
            "db:5432:shop:bob:words",
            "Basic configuration loaded",
            "the bearer of this",
            "http://host:8080/path",
            "ssh://git@host/repo",
            "tests pass: 12, fail: 3",
            "workers: 4\nkeys:\n  - a\n",
            "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
            "",
            "\n\n",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn patterns_of_the_configuration_mask_what_they_match_or_what_their_group_does() {
        let patterns = [Pattern::new(r"card (?<number>\d{4}-\d{4})").unwrap(), Pattern::new(r"(?s)<<.*?>>").unwrap()];
        let found = lines("card 1234-5678 of <<a\nb>> c\n", &patterns);
        assert_eq!(found.iter().map(|line| (line.text.as_str(), line.masked)).collect::<Vec<_>>(), [("card *** of ***\n", 2), ("*** c\n", 0)]);
        let error = Pattern::new("a(b").unwrap_err();
        assert!(error.starts_with("'a(b' is not a regular expression: unclosed group"), "{error}");
    }

    /// About a second at most where there is a bound, half a minute and more where every opening is followed to the end.
    #[test]
    fn openings_without_an_end_are_not_followed_again_and_again() {
        for (opening, in_a_line, lines) in [("tokenizer={", 700, 100), ("token={", 700, 100), ("token=[", 1, 20_000)] {
            let text = (opening.repeat(in_a_line) + "\n").repeat(lines);
            let start = Instant::now();
            masked(&text);
            let took = start.elapsed();
            assert!(took < Duration::from_secs(20), "{lines} lines of {opening}: {took:?}");
        }
    }

    /// Whatever the text is, its lines stay what they are, and masking it again changes nothing.
    #[test]
    fn masking_keeps_the_lines_of_any_text() {
        let pieces: Vec<String> = CORPUS.iter().map(|text| text.replace('§', "hunter2hunter2")).collect();
        let pieces: Vec<&str> = pieces.iter().flat_map(|text| text.split_inclusive([' ', '\n', '"'])).chain(["\n", "é", "'", "{", "\\"]).collect();
        let mut state = 7_u64;
        let mut roll = |sides: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % sides
        };
        for _ in 0..3000 {
            let text: String = (0..roll(12)).map(|_| pieces[roll(pieces.len())]).collect();
            let shown = lines(&text, &[]);
            let ends = |line: &str| line[line.trim_end_matches(['\n', '\r']).len()..].to_owned();
            let was: Vec<String> = text.split_inclusive('\n').map(ends).collect();
            assert_eq!(shown.iter().map(|line| ends(&line.text)).collect::<Vec<_>>(), was, "{text:?}");
        }
    }
}
