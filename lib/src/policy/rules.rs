//! The policy as text and as values: thresholds, spans, rules. Text in, values out; which file it came from is the caller's.

use super::metric::{Kind, Metric};
use crate::error::{Error, Result, nearest};
use crate::record::Severity;
use crate::time::Span;
use jiff::SignedDuration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;

/// The policy that is used when none is named, as text: what `--print-policy` prints.
pub const BUILT_IN: &str = include_str!("policy.toml");

/// Everything that decides, apart from the records.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) stale: SignedDuration,
    pub(super) clear: SignedDuration,
    pub(super) samples: u64,
    pub(super) normal: Normal,
    pub(super) rollback: Rollback,
    pub(super) deadline: Deadlines,
    /// Worst first, then by name.
    pub(super) rules: Vec<Rule>,
    /// While none of these holds, no rule over measured values does: of the rules of one metric the one that is met first.
    pub(super) first_signs: Vec<Comparison>,
    /// The names that `signal.NAME` stands for; [`Metric::Signal`] counts in here.
    pub(super) signals: Vec<String>,
}

/// What response time is normal, and which samples are too small to count by themselves.
#[derive(Clone, Debug)]
pub(super) struct Normal {
    pub window: SignedDuration,
    pub samples: usize,
    pub floor_ms: f64,
    pub requests: f64,
    pub pool: SignedDuration,
    pub response_ms: Option<f64>,
}

/// How far a rollback may go without a person.
#[derive(Clone, Debug)]
pub(super) struct Rollback {
    pub blame: SignedDuration,
    pub tie: SignedDuration,
    pub cooldown: SignedDuration,
    pub limit: u64,
    pub per: SignedDuration,
    pub max_age: SignedDuration,
    pub suspect_first: bool,
    pub critical: Vec<String>,
    pub trust: Vec<String>,
}

/// How long each severity may wait; low and unknown wait for ever.
#[derive(Clone, Debug)]
pub(super) struct Deadlines {
    critical: SignedDuration,
    high: SignedDuration,
    medium: SignedDuration,
}

impl Deadlines {
    pub fn of(&self, severity: Severity) -> Option<SignedDuration> {
        match severity {
            Severity::Critical => Some(self.critical),
            Severity::High => Some(self.high),
            Severity::Medium => Some(self.medium),
            Severity::Low | Severity::Unknown => None,
        }
    }
}

/// One rule of the policy.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub name: String,
    pub severity: Severity,
    pub when: Comparison,
    pub unless: Option<Comparison>,
    /// How long it must hold; `None` fires at the first sight.
    pub lasts: Option<SignedDuration>,
    pub trigger: bool,
    /// Its line in the policy's text.
    pub line: usize,
}

/// `>`, `>=`, `<`, `<=`, `==` or `!=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    More,
    AtLeast,
    Less,
    AtMost,
    Is,
    IsNot,
}

/// A metric held against a number; true is 1 and false is 0.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub metric: Metric,
    pub op: Op,
    pub value: f64,
    /// Operator and value as the policy writes them.
    pub words: String,
    /// Up to (for `<` and `<=`: from) which value it counts as healthy again, where the metric has a margin.
    inside: Option<f64>,
}

impl Comparison {
    pub fn holds(&self, seen: f64) -> bool {
        match self.op {
            Op::More => seen > self.value,
            Op::AtLeast => seen >= self.value,
            Op::Less => seen < self.value,
            Op::AtMost => seen <= self.value,
            Op::Is => seen == self.value,
            Op::IsNot => seen != self.value,
        }
    }

    /// Whether a value is on the healthy side, margin included.
    pub fn is_inside(&self, seen: f64) -> bool {
        // 0.8 * 1.1 is a hair above 0.88: the margin is not meant to be that exact.
        const HAIR: f64 = 1e-9;
        match (self.inside, self.op) {
            (Some(limit), Op::More | Op::AtLeast) => seen <= limit + HAIR * limit.abs(),
            (Some(limit), Op::Less | Op::AtMost) => seen >= limit - HAIR * limit.abs(),
            _ => !self.holds(seen),
        }
    }

    /// Whether this cannot hold without the other one holding too.
    pub fn implies(&self, other: &Comparison) -> bool {
        // A critical module that has failed is a module that has failed.
        let narrower = self.metric == Metric::CriticalFailed && other.metric == Metric::ModulesFailed && matches!(self.op, Op::More | Op::AtLeast);
        if self.metric != other.metric && !narrower {
            return false;
        }
        match (self.op, other.op) {
            (Op::More | Op::AtLeast, Op::More) => self.value > other.value || (self.value == other.value && self.op == Op::More),
            (Op::More | Op::AtLeast, Op::AtLeast) => self.value >= other.value,
            (Op::Less | Op::AtMost, Op::Less) => self.value < other.value || (self.value == other.value && self.op == Op::Less),
            (Op::Less | Op::AtMost, Op::AtMost) => self.value <= other.value,
            (Op::Is, _) => other.holds(self.value),
            (Op::IsNot, Op::IsNot) => self.value == other.value,
            (Op::IsNot, Op::Is) => self.metric.kind() == Kind::Truth && self.value != other.value,
            _ => false,
        }
    }

    fn parse(text: &str, margin: f64, signals: &mut Vec<String>) -> Result<Comparison, String> {
        let mut parts = text.split_whitespace();
        let (Some(name), Some(op), Some(value), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(format!("'{text}' is not a comparison: write a metric, an operator and a value, as in \"error_rate > 0.25\""));
        };
        let metric = Metric::parse(name, signals)?;
        let parsed = match op {
            ">" => Op::More,
            ">=" => Op::AtLeast,
            "<" => Op::Less,
            "<=" => Op::AtMost,
            "==" => Op::Is,
            "!=" => Op::IsNot,
            _ => return Err(format!("'{op}' is not an operator: use >, >=, <, <=, == or !=")),
        };
        let kind = metric.kind();
        let equality = matches!(parsed, Op::Is | Op::IsNot);
        let number = match (kind, value) {
            (Kind::Truth, "true") if equality => 1.0,
            (Kind::Truth, "false") if equality => 0.0,
            (Kind::Truth, _) => return Err(format!("{name} is true or false: write \"{name} == false\"")),
            (Kind::Rate | Kind::Time, _) if equality => {
                return Err(format!("{name} is measured, it never meets a number exactly: use >, >=, < or <="));
            }
            _ => value
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() && *number >= 0.0)
                .ok_or_else(|| format!("'{value}' is not a number that {name} could be held against"))?,
        };
        let inside = match (kind, parsed) {
            (Kind::Rate | Kind::Time, Op::More | Op::AtLeast) => Some(number * (1.0 - margin)),
            (Kind::Rate, Op::Less | Op::AtMost) => Some((number * (1.0 + margin)).min(1.0)),
            (Kind::Time, Op::Less | Op::AtMost) => Some(number * (1.0 + margin)),
            _ => None,
        };
        Ok(Comparison { metric, op: parsed, value: number, words: format!("{op} {value}"), inside })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::More => ">",
            Op::AtLeast => ">=",
            Op::Less => "<",
            Op::AtMost => "<=",
            Op::Is => "==",
            Op::IsNot => "!=",
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    time: TimeTable,
    #[serde(default)]
    normal: NormalTable,
    #[serde(default)]
    rollback: RollbackTable,
    #[serde(default)]
    deadline: DeadlineTable,
    rules: Option<RulesTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeTable {
    stale: Option<Span>,
    clear: Option<Span>,
    margin: Option<Spanned<f64>>,
    samples: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NormalTable {
    window: Option<Span>,
    samples: Option<Spanned<u64>>,
    floor_ms: Option<Spanned<f64>>,
    requests: Option<Spanned<f64>>,
    pool: Option<Span>,
    response_ms: Option<Spanned<f64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackTable {
    blame: Option<Span>,
    tie: Option<Span>,
    cooldown: Option<Span>,
    limit: Option<u64>,
    per: Option<Span>,
    max_age: Option<Span>,
    down: Option<Down>,
    critical: Option<Vec<String>>,
    trust: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Down {
    Full,
    SuspectFirst,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadlineTable {
    critical: Option<Span>,
    high: Option<Span>,
    medium: Option<Span>,
}

type Rules = BTreeMap<String, Spanned<RuleTable>>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesTable {
    #[serde(default)]
    critical: Rules,
    #[serde(default)]
    high: Rules,
    #[serde(default)]
    medium: Rules,
    #[serde(default)]
    low: Rules,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    when: String,
    unless: Option<String>,
    #[serde(rename = "for")]
    lasts: Option<Span>,
    #[serde(default)]
    trigger: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        // Proven by the test `the_built_in_policy_can_be_read`: the text is part of the program.
        Policy::parse(BUILT_IN, "<built-in policy>").expect("the built-in policy can be read")
    }
}

impl Policy {
    /// The signals that some rule is about.
    pub fn signals(&self) -> impl Iterator<Item = &str> {
        self.signals.iter().map(String::as_str)
    }

    /// Reads a policy. What it leaves out has the built-in value; a text with any `[rules]` has only those rules.
    ///
    /// # Errors
    /// [`Error::Config`], beginning with `name` and the line. Mend the text.
    pub fn parse(text: &str, name: &str) -> Result<Policy> {
        let line_of = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let wrong = |at: usize, why: String| Error::Config(format!("{name}:{}: {why}", line_of(at)));
        let file: File = toml::from_str(text).map_err(|e| wrong(e.span().map_or(0, |span| span.start), explain(&e)))?;
        let number = |given: Option<Spanned<f64>>, default: f64, fits: fn(f64) -> bool, what: &str| match given {
            Some(value) if !fits(*value.get_ref()) => Err(wrong(value.span().start, what.to_owned())),
            other => Ok(other.map_or(default, Spanned::into_inner)),
        };
        let count = |given: Option<Spanned<u64>>, default: u64, what: &str| match given {
            Some(value) if *value.get_ref() == 0 => Err(wrong(value.span().start, what.to_owned())),
            other => Ok(other.map_or(default, Spanned::into_inner)),
        };
        let span = |given: Option<Span>, minutes: i64| given.map_or(SignedDuration::from_mins(minutes), length);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let pinned = match file.normal.response_ms {
            None => None,
            given => Some(number(given, 0.0, positive, "response_ms must be above 0")?),
        };
        let margin = number(file.time.margin, 0.10, |m| (0.0..1.0).contains(&m), "margin is a share: at least 0 and below 1")?;
        let mut policy = Policy {
            stale: span(file.time.stale, 3),
            clear: span(file.time.clear, 5),
            samples: count(file.time.samples, 3, "samples must be at least 1")?,
            normal: Normal {
                window: span(file.normal.window, 24 * 60),
                samples: count(file.normal.samples, 30, "samples must be at least 1")? as usize,
                floor_ms: number(file.normal.floor_ms, 10.0, |ms| ms.is_finite() && ms >= 0.0, "floor_ms cannot be negative")?,
                requests: number(file.normal.requests, 20.0, |n| n.is_finite() && n >= 0.0, "requests cannot be negative")?,
                pool: span(file.normal.pool, 6 * 60),
                response_ms: pinned,
            },
            rollback: Rollback {
                blame: span(file.rollback.blame, 2 * 60),
                tie: span(file.rollback.tie, 5),
                cooldown: span(file.rollback.cooldown, 15),
                limit: file.rollback.limit.unwrap_or(2),
                per: span(file.rollback.per, 24 * 60),
                max_age: span(file.rollback.max_age, 7 * 24 * 60),
                suspect_first: file.rollback.down == Some(Down::SuspectFirst),
                critical: file.rollback.critical.unwrap_or_else(|| vec!["core".into()]),
                trust: file.rollback.trust.unwrap_or_else(|| vec!["probe".into(), "audit".into()]),
            },
            deadline: Deadlines {
                critical: span(file.deadline.critical, 0),
                high: span(file.deadline.high, 60),
                medium: span(file.deadline.medium, 24 * 60),
            },
            rules: Vec::new(),
            first_signs: Vec::new(),
            signals: Vec::new(),
        };
        let Some(rules) = file.rules else {
            // Only a text other than the built-in one can lack rules, so this ends.
            let built_in = Policy::parse(&rules_only(margin), "<built-in policy>")?;
            return Ok(Policy { rules: built_in.rules, first_signs: built_in.first_signs, signals: built_in.signals, ..policy });
        };
        let tables =
            [(Severity::Critical, rules.critical), (Severity::High, rules.high), (Severity::Medium, rules.medium), (Severity::Low, rules.low)];
        for (severity, table) in tables {
            for (rule, spanned) in table {
                let at = spanned.span().start;
                let rule = spanned.into_inner().into_rule(rule, severity, margin, line_of(at), &mut policy.signals);
                let rule = rule.map_err(|why| wrong(at, why))?;
                if let Some(other) = policy.rules.iter().find(|other| other.name == rule.name) {
                    return Err(wrong(at, format!("rule {}: line {} has a rule of this name already", rule.name, other.line)));
                }
                policy.rules.push(rule);
            }
        }
        policy.first_signs = first_signs(&policy.rules);
        Ok(policy)
    }

    /// Adds modules without which nothing works, beside those that the policy names.
    pub fn add_critical(&mut self, modules: &[String]) {
        for module in modules {
            if !self.rollback.critical.contains(module) {
                self.rollback.critical.push(module.clone());
            }
        }
    }

    /// The metric as the policy writes it.
    pub(super) fn name_of(&self, metric: Metric) -> String {
        match metric {
            Metric::Signal(index) => format!("signal.{}", self.signals[index]),
            other => other.name().to_owned(),
        }
    }
}

/// What is left of the rules' conditions over measured values when those go that cannot hold without another one.
fn first_signs(rules: &[Rule]) -> Vec<Comparison> {
    let mut signs: Vec<Comparison> = Vec::new();
    for when in rules.iter().map(|rule| &rule.when).filter(|when| !when.metric.counts_events()) {
        if !signs.iter().any(|sign| when.implies(sign)) {
            signs.retain(|sign| !sign.implies(when));
            signs.push(when.clone());
        }
    }
    signs
}

/// The built-in rules under another margin.
fn rules_only(margin: f64) -> String {
    let rules = &BUILT_IN[BUILT_IN.find("[rules.critical]").unwrap_or(0)..];
    format!("[time]\nmargin = {margin:?}\n{rules}")
}

impl RuleTable {
    fn into_rule(self, name: String, severity: Severity, margin: f64, line: usize, signals: &mut Vec<String>) -> Result<Rule, String> {
        let named = |why| format!("rule {name}: {why}");
        let when = Comparison::parse(&self.when, margin, signals).map_err(named)?;
        let unless = self.unless.map(|text| Comparison::parse(&text, margin, signals)).transpose().map_err(named)?;
        if when.metric.counts_events() && self.lasts.is_some() {
            return Err(named(format!("{} fires when something happens: leave `for` out", self.when)));
        }
        Ok(Rule { when, unless, lasts: self.lasts.map(length), trigger: self.trigger, severity, line, name })
    }
}

fn length(span: Span) -> SignedDuration {
    SignedDuration::try_from(span.0).unwrap_or(SignedDuration::MAX)
}

/// The parser's first line, with the nearest known name for a mistyped one.
fn explain(error: &toml::de::Error) -> String {
    let message = error.message().lines().next().unwrap_or("cannot be understood");
    let mut names = message.split('`').skip(1).step_by(2);
    let near = names.next().filter(|_| message.starts_with("unknown")).and_then(|wrong| nearest(wrong, names));
    near.map_or(message.to_owned(), |near| format!("{message}; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Policy::parse(text, "p.toml").unwrap_err().to_string()
    }

    #[test]
    fn the_first_sign_of_each_metric_stands_for_its_rules() {
        let mut signs: Vec<String> = Policy::default().first_signs.iter().map(|sign| format!("{} {}", sign.metric.name(), sign.words)).collect();
        signs.sort();
        let expected = [
            "cpu_usage > 0.80",
            "error_rate >= 0.05",
            "integration == false",
            "integrity == false",
            "memory_usage > 0.90",
            "modules_degraded >= 1",
            "modules_failed >= 1",
            "modules_failed_share >= 1",
            "response_ms > 1000",
            "response_ratio >= 2",
            "success_rate < 0.80",
            "up == false",
        ];
        assert_eq!(signs, expected);
    }

    #[test]
    fn the_built_in_policy_can_be_read() {
        let policy = Policy::default();
        assert_eq!(policy.rules.len(), 28);
        assert_eq!(policy.rules[0].severity, Severity::Critical);
        assert_eq!(policy.rollback.critical, ["core"]);
    }

    #[test]
    fn what_a_text_leaves_out_has_the_built_in_value() {
        let (empty, built_in) = (Policy::parse("", "p").unwrap(), Policy::default());
        assert_eq!(format!("{:?}", (empty.stale, empty.clear, &empty.normal, &empty.rollback, &empty.deadline)), {
            format!("{:?}", (built_in.stale, built_in.clear, &built_in.normal, &built_in.rollback, &built_in.deadline))
        });
        assert_eq!(empty.rules.len(), built_in.rules.len());
    }

    #[test]
    fn a_text_with_rules_has_only_those() {
        let policy = Policy::parse("[rules.low]\nx = { when = \"drops >= 1\" }\n", "p").unwrap();
        assert_eq!(policy.rules.len(), 1);
        assert_eq!(policy.rules[0].line, 2);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, why) in [
            (
                "[time]\nstail = \"3m\"",
                "p.toml:2: unknown field `stail`, expected one of `stale`, `clear`, `margin`, `samples`; did you mean `stale`?",
            ),
            ("[time]\n\nmargin = 1.5", "p.toml:3: margin is a share: at least 0 and below 1"),
            ("[rules.high]\nx = { when = \"eror_rate > 0.1\" }", "p.toml:2: rule x: there is no metric 'eror_rate'; did you mean 'error_rate'?"),
            ("[rules.high]\nx = { when = \"up > 1\" }", "p.toml:2: rule x: up is true or false: write \"up == false\""),
            ("[rules.high]\nx = { when = \"error_rate\" }", "p.toml:2: rule x: 'error_rate' is not a comparison"),
            ("[rules.high]\nx = { when = \"error_rate => 1\" }", "p.toml:2: rule x: '=>' is not an operator"),
            ("[rules.high]\nx = { when = \"error_rate == 0.1\" }", "p.toml:2: rule x: error_rate is measured"),
            ("[rules.high]\nx = { when = \"drops >= 3\", for = \"1m\" }", "p.toml:2: rule x: drops >= 3 fires when something happens"),
            ("[rules.high]\nx = { when = \"drops >= 3\", wenn = 1 }", "p.toml:2: unknown field `wenn`"),
            ("[rules.high]\nx = { when = \"drops >= 3\" }\n[rules.low]\nx = { when = \"drops >= 1\" }", "p.toml:4: rule x: line 2 has"),
            ("[rules.hihg]\nx = { when = \"drops >= 3\" }", "p.toml:1: unknown field `hihg`"),
            ("[rollback]\ndown = \"ful\"", "p.toml:2: unknown variant `ful`"),
            ("[rollback]\nblame = \"2\"", "p.toml:2: '2' is not a duration"),
        ] {
            let said = refused(text);
            assert!(said.starts_with(why), "{said}\nis not\n{why}");
        }
    }

    #[test]
    fn healthy_means_a_margin_inside_for_measures_and_just_false_for_counts() {
        let parse = |text| Comparison::parse(text, 0.1, &mut Vec::new()).unwrap();
        assert!(parse("cpu_usage > 0.80").is_inside(0.72));
        assert!(!parse("cpu_usage > 0.80").is_inside(0.73));
        assert!(parse("success_rate < 0.80").is_inside(0.88));
        assert!(!parse("success_rate < 0.80").is_inside(0.87));
        assert!(parse("success_rate < 0.95").is_inside(1.0));
        assert!(parse("modules_failed >= 3").is_inside(2.0));
        assert!(parse("up == false").is_inside(1.0));
    }

    #[test]
    fn critical_modules_can_be_added_once() {
        let mut policy = Policy::default();
        policy.add_critical(&["core".into(), "db".into()]);
        assert_eq!(policy.rollback.critical, ["core", "db"]);
    }
}
