//! What is wrong with a policy that can be read: rules that can never decide anything, values that contradict each other, and
//! metrics and names that nobody looks at.

use super::course::ROLLBACKS;
use super::events::MOST;
use super::metric::{Kind, Metric};
use super::rules::{Comparison, Op, Policy, Rule};
use super::words;
use crate::error::{Error, Result};
use crate::record::Severity;
use jiff::SignedDuration;

/// How long the slowest rollback may take: a cooldown has to be longer.
const SLOWEST: SignedDuration = SignedDuration::from_mins(10);

/// Looks for rules that can never win, and for values that keep others from ever counting. Gives sentences about what the policy leaves open; `name` is the file's.
///
/// # Errors
/// [`Error::Config`] with file and line of the first such rule, and why. Remove or mend it.
pub fn check(policy: &Policy, name: &str) -> Result<Vec<String>> {
    let has_span = policy.rules.iter().find(|rule| rule.lasts.is_some_and(|lasts| lasts > SignedDuration::ZERO));
    if let Some(rule) = has_span.filter(|_| policy.stale == SignedDuration::ZERO) {
        let why = "it never fires, because with `stale` at 0s no time between two samples is ever counted";
        return Err(Error::Config(format!("{name}:{}: rule {}: {why}", rule.line, rule.name)));
    }
    for rule in &policy.rules {
        let dead = |why: String| Err(Error::Config(format!("{name}:{}: rule {}: {why}", rule.line, rule.name)));
        if let Some(why) = impossible(&rule.when) {
            return dead(why);
        }
        if let Some(unless) = rule.unless.as_ref().filter(|unless| rule.when.implies(unless)) {
            let metric = policy.name_of(unless.metric);
            return dead(format!("it never fires, because its `unless` ({metric} {}) holds whenever it does", unless.words));
        }
        if let Some(unless) = rule.unless.as_ref()
            && matches!(reach(unless), Reach::Always(_))
        {
            let metric = policy.name_of(unless.metric);
            return dead(format!("it never fires while {metric} is known, because its `unless` ({metric} {}) always holds then", unless.words));
        }
        if let Some(other) = policy.rules.iter().find(|other| takes_over(other, rule)) {
            return dead(format!("it can never win: {} (line {}) is at least as severe and fires no later", other.name, other.line));
        }
    }
    let watched = |metric: Metric| policy.rules.iter().any(|rule| rule.when.metric == metric);
    let unwatched = Metric::all().filter(|metric| !watched(*metric));
    let unwatched = unwatched.map(|metric| format!("no rule looks at {}", metric.name()));
    let odd = odd_rules(policy).chain(odd_values(policy)).chain(unused_names(policy));
    Ok(unwatched.chain(odd).map(|sentence| format!("{name}: {sentence}")).collect())
}

/// Parts of rules that change nothing.
fn odd_rules(policy: &Policy) -> impl Iterator<Item = String> {
    policy.rules.iter().flat_map(|rule| {
        let unless = rule.unless.as_ref().filter(|unless| matches!(reach(unless), Reach::Never(_)));
        let unless =
            unless.map(|unless| format!("its `unless` never holds ({} is never {}): leave it out", policy.name_of(unless.metric), unless.words));
        let idle = rule.trigger && matches!(rule.severity, Severity::Low | Severity::Critical);
        let trigger = idle.then(|| "`trigger` changes nothing here: low rules never act, critical ones always may".to_owned());
        unless.into_iter().chain(trigger).map(move |what| format!("line {}: rule {}: {what}", rule.line, rule.name))
    })
}

/// Values that keep each other from counting.
fn odd_values(policy: &Policy) -> impl Iterator<Item = String> {
    let (back, normal) = (&policy.rollback, &policy.normal);
    let due = |severity| policy.deadline.of(severity).map_or(SignedDuration::MAX, |span| span);
    let milder_first = |worse, milder, names: [&str; 2]| {
        let text = format!("{} is due after {}: a worse incident may then wait longer than a milder one", names[0], names[1]);
        (due(worse) > due(milder)).then_some(text)
    };
    let limit = back.limit.min(ROLLBACKS as u64);
    // Two rollbacks are never closer together than the cooldown.
    let at_most = if back.cooldown > SignedDuration::ZERO { back.per.as_secs_f64() / back.cooldown.as_secs_f64() } else { f64::INFINITY };
    [
        (policy.clear < policy.stale).then(|| {
            let (clear, stale) = (words(policy.clear), words(policy.stale));
            format!("clear ({clear}) is shorter than stale ({stale}): samples further apart than {clear} never add up to proof")
        }),
        (back.tie >= back.blame).then(|| "tie is not shorter than blame: two suspects can never be told apart".into()),
        (back.cooldown < SLOWEST)
            .then(|| format!("cooldown ({}) is shorter than a full rollback may take ({})", words(back.cooldown), words(SLOWEST))),
        (back.limit == 0).then(|| "limit is 0: nothing is ever rolled back without a person".into()),
        (back.limit > ROLLBACKS as u64).then(|| format!("limit counts as {ROLLBACKS}: more rollbacks are not remembered")),
        (limit > 0 && limit as f64 > at_most.ceil()).then(|| {
            format!("limit is never reached: with a cooldown of {} there are no {limit} rollbacks within {}", words(back.cooldown), words(back.per))
        }),
        (back.max_age < back.blame).then(|| "max_age is shorter than blame: the point before a blamed change may always be too old".into()),
        (normal.window == SignedDuration::ZERO && normal.response_ms.is_none())
            .then(|| "window is 0s: what response time is normal is never learned".into()),
        milder_first(Severity::Critical, Severity::High, ["deadline.critical", "deadline.high"]),
        milder_first(Severity::High, Severity::Medium, ["deadline.high", "deadline.medium"]),
    ]
    .into_iter()
    .flatten()
}

/// Names that no rule makes use of. Those of the built-in policy stand in no file.
fn unused_names(policy: &Policy) -> impl Iterator<Item = String> {
    let built_in = Policy::default().rollback;
    let counts_signals = policy.rules.iter().any(|rule| matches!(rule.when.metric, Metric::Signal(_)));
    let asks_critical =
        |rule: &Rule| [Some(&rule.when), rule.unless.as_ref()].into_iter().flatten().any(|what| what.metric == Metric::CriticalFailed);
    let (sources, modules) = (&policy.rollback.trust, &policy.rollback.critical);
    let trust = (!sources.is_empty() && *sources != built_in.trust && !counts_signals)
        .then(|| format!("trust ({}) is of no use: no rule counts signals", sources.join(", ")));
    let critical = (!modules.is_empty() && *modules != built_in.critical && !policy.rules.iter().any(asks_critical))
        .then(|| format!("critical ({}) is of no use: no rule looks at critical_failed", modules.join(", ")));
    trust.into_iter().chain(critical)
}

/// When a comparison holds, as far as that does not depend on the service.
enum Reach {
    /// Never, whatever is measured; and why, where that is more than the number.
    Never(Option<String>),
    Always(Option<String>),
    Sometimes,
}

fn reach(when: &Comparison) -> Reach {
    let kind = when.metric.kind();
    // A rule over events is looked at when one was added: there is one then, and no more than are remembered.
    let least = if when.metric.counts_events() { 1.0 } else { 0.0 };
    let most = match kind {
        Kind::Rate | Kind::Share => 1.0,
        Kind::Count if when.metric.counts_events() => MOST as f64,
        Kind::Truth | Kind::Time | Kind::Count => f64::INFINITY,
    };
    let beyond = kind != Kind::Truth && (when.value > most || when.value < least || (kind == Kind::Count && when.value.fract() != 0.0));
    let (never, always) = match when.op {
        Op::More => (when.value >= most, when.value < least),
        Op::AtLeast => (when.value > most, when.value <= least && (least == 0.0 || when.value < least)),
        Op::Less => (when.value <= least, when.value > most),
        Op::AtMost => (when.value < least, when.value >= most),
        Op::Is => (beyond, false),
        Op::IsNot => (false, beyond),
    };
    let about = when.metric.name();
    let percent = (most == 1.0 && when.value > 1.0).then(|| format!("{about} is a share between 0 and 1, so write 85 % as 0.85"));
    let flood = (most == MOST as f64 && when.value >= most).then(|| format!("no more than {MOST} are counted"));
    let event = (least == 1.0).then(|| "it is looked at when one has come, and then there is one".to_owned());
    match (never, always) {
        (true, _) => Reach::Never(percent.or(flood).or(event)),
        (_, true) => Reach::Always(event),
        _ => Reach::Sometimes,
    }
}

/// Why a comparison says nothing: it never holds, or always does.
fn impossible(when: &Comparison) -> Option<String> {
    let about = when.metric.name();
    match reach(when) {
        Reach::Never(Some(why)) => Some(format!("it can never fire: {why}")),
        Reach::Never(None) => Some(format!("it can never fire: {about} is never {}", when.words)),
        Reach::Always(Some(why)) => Some(format!("it says nothing: {about} is always {}, for {why}", when.words)),
        Reach::Always(None) => Some(format!("it says nothing: {about} is always {}", when.words)),
        Reach::Sometimes => None,
    }
}

/// Whether `other` makes `rule` pointless: it fires whenever `rule` would, no later, and counts for as much.
fn takes_over(other: &Rule, rule: &Rule) -> bool {
    let sooner = match (other.lasts, rule.lasts) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(other), Some(rule)) => other <= rule,
    };
    let same = other.severity == rule.severity;
    // Two rules that say the same thing: the second one is the one too many.
    let twins = same && other.when.implies(&rule.when) && other.lasts == rule.lasts && other.trigger == rule.trigger && rule.unless.is_none();
    other.severity >= rule.severity
        && other.name != rule.name
        && other.unless.is_none()
        && (other.trigger || !rule.trigger || !same)
        && sooner
        && rule.when.implies(&other.when)
        && (!twins || other.line < rule.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(rules: &str) -> Result<Vec<String>, String> {
        let policy = Policy::parse(rules, "p.toml").unwrap();
        check(&policy, "p.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn the_built_in_policy_has_nothing_wrong_with_it() {
        assert_eq!(checked("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_rule_behind_a_worse_and_faster_one_is_named() {
        let said = checked(
            "[rules.high]\na = { when = \"error_rate > 0.1\", for = \"5m\" }\n[rules.medium]\nb = { when = \"error_rate > 0.2\", for = \"5m\" }",
        );
        assert_eq!(said.unwrap_err(), "p.toml:4: rule b: it can never win: a (line 2) is at least as severe and fires no later");
    }

    #[test]
    fn a_rule_that_is_faster_or_worse_or_reaches_further_is_alive() {
        for rules in [
            "[rules.high]\na = { when = \"error_rate > 0.1\", for = \"5m\" }\n[rules.medium]\nb = { when = \"error_rate > 0.2\", for = \"4m\" }",
            "[rules.high]\na = { when = \"error_rate > 0.1\", for = \"5m\" }\n[rules.medium]\nb = { when = \"error_rate >= 0.1\", for = \"5m\" }",
            "[rules.low]\na = { when = \"error_rate > 0.1\" }\n[rules.medium]\nb = { when = \"error_rate > 0.2\" }",
            "[rules.high]\na = { when = \"response_ms > 9\", unless = \"drops < 1\" }\n[rules.medium]\nb = { when = \"response_ms > 10\" }",
            "[rules.medium]\na = { when = \"error_rate > 0.1\" }\nb = { when = \"error_rate > 0.2\", trigger = true }",
        ] {
            assert!(checked(rules).is_ok(), "{rules}: {:?}", checked(rules));
        }
    }

    #[test]
    fn of_two_equal_rules_the_second_is_the_one_too_many() {
        let said = checked("[rules.low]\nz = { when = \"drops >= 2\" }\na = { when = \"drops >= 2\" }").unwrap_err();
        assert!(said.starts_with("p.toml:3: rule a: it can never win: z (line 2)"), "{said}");
    }

    #[test]
    fn a_percentage_that_was_meant_as_a_share_is_named() {
        let said = checked("[rules.low]\na = { when = \"error_rate > 25\" }").unwrap_err();
        assert_eq!(said, "p.toml:2: rule a: it can never fire: error_rate is a share between 0 and 1, so write 85 % as 0.85");
        assert!(checked("[rules.low]\na = { when = \"error_rate > 1\" }").is_err());
        assert!(checked("[rules.low]\na = { when = \"modules_failed >= 0\" }").unwrap_err().contains("always >= 0"));
        assert!(checked("[rules.low]\na = { when = \"modules_failed < 0\" }").is_err());
    }

    #[test]
    fn an_excuse_that_always_holds_is_named() {
        let said = checked("[rules.low]\na = { when = \"response_ms > 10\", unless = \"response_ms > 5\" }").unwrap_err();
        assert!(said.contains("it never fires, because its `unless` (response_ms > 5)"), "{said}");
    }

    #[test]
    fn an_excuse_that_always_or_never_holds_is_named() {
        let said = checked("[rules.low]\na = { when = \"response_ms > 10\", unless = \"cpu_usage >= 0\" }").unwrap_err();
        assert!(said.contains("never fires while cpu_usage is known, because its `unless` (cpu_usage >= 0) always holds then"), "{said}");
        let said = checked("[rules.low]\na = { when = \"response_ms > 10\", unless = \"cpu_usage > 1\" }").unwrap();
        assert!(said.contains(&"p.toml: line 2: rule a: its `unless` never holds (cpu_usage is never > 1): leave it out".to_owned()), "{said:?}");
    }

    #[test]
    fn events_are_whole_and_there_is_one_when_they_are_looked_at() {
        for (when, why) in [
            ("drops < 1", "it can never fire: it is looked at when one has come"),
            ("signal.fire == 0", "it can never fire: it is looked at when one has come"),
            ("signal.fire >= 0", "it says nothing: signal is always >= 0"),
            ("signal.fire >= 5000", "it can never fire: no more than 4096 are counted"),
            ("modules_failed == 1.5", "it can never fire: modules_failed is never == 1.5"),
            ("modules_failed != 1.5", "it says nothing: modules_failed is always != 1.5"),
        ] {
            let said = checked(&format!("[rules.low]\na = {{ when = \"{when}\" }}")).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(checked("[rules.low]\na = { when = \"signal.fire >= 1\" }\nb = { when = \"signal.smoke == 3\" }").is_ok());
    }

    #[test]
    fn a_critical_module_is_a_module() {
        let said = checked("[rules.high]\na = { when = \"modules_failed >= 1\" }\n[rules.medium]\nb = { when = \"critical_failed >= 1\" }");
        assert!(said.unwrap_err().contains("rule b: it can never win: a"));
    }

    #[test]
    fn values_that_contradict_each_other_are_named() {
        let said = checked("[time]\nstale = \"0s\"").unwrap_err();
        assert!(said.contains("it never fires, because with `stale` at 0s"), "{said}");
        for (text, why) in [
            ("[time]\nclear = \"1m\"", "clear (1m) is shorter than stale (3m): samples further apart than 1m never add up to proof"),
            ("[rollback]\ntie = \"2h\"", "tie is not shorter than blame"),
            ("[rollback]\ncooldown = \"5m\"", "cooldown (5m) is shorter than a full rollback may take (10m)"),
            ("[rollback]\nlimit = 0", "limit is 0"),
            ("[rollback]\nlimit = 2000\nper = \"52w\"", "limit counts as 1024"),
            ("[rollback]\nper = \"15m\"", "limit is never reached: with a cooldown of 15m there are no 2 rollbacks within 15m"),
            ("[rollback]\nmax_age = \"1h\"", "max_age is shorter than blame"),
            ("[normal]\nwindow = \"0s\"", "window is 0s"),
            ("[deadline]\nhigh = \"2d\"", "deadline.high is due after deadline.medium"),
            ("[rules.low]\na = { when = \"up == false\", trigger = true }", "line 2: rule a: `trigger` changes nothing here"),
            ("[rollback]\ntrust = [\"me\"]\n[rules.low]\na = { when = \"up == false\" }", "trust (me) is of no use: no rule counts signals"),
            (
                "[rollback]\ncritical = [\"db\"]\n[rules.low]\na = { when = \"up == false\" }",
                "critical (db) is of no use: no rule looks at critical_failed",
            ),
        ] {
            let said = checked(text).unwrap();
            assert!(said.iter().any(|sentence| sentence.starts_with(&format!("p.toml: {why}"))), "{text}: {said:?}");
        }
    }

    #[test]
    fn a_metric_that_nobody_looks_at_is_worth_a_sentence() {
        let said = checked("[rules.low]\na = { when = \"up == false\" }").unwrap();
        assert!(said.contains(&"p.toml: no rule looks at error_rate".to_owned()));
        assert!(!said.contains(&"p.toml: no rule looks at up".to_owned()));
    }
}
