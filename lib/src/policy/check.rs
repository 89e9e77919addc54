//! What is wrong with a policy that can be read: rules that can never decide anything, and metrics that nobody looks at.

use super::metric::{Kind, Metric};
use super::rules::{Comparison, Op, Policy, Rule};
use crate::error::{Error, Result};

/// Looks for rules that can never win. Gives sentences about what the policy leaves open; `name` is the file's.
///
/// # Errors
/// [`Error::Config`] with file and line of the first such rule, and why. Remove or mend it.
pub fn check(policy: &Policy, name: &str) -> Result<Vec<String>> {
    for rule in &policy.rules {
        let dead = |why: String| Err(Error::Config(format!("{name}:{}: rule {}: {why}", rule.line, rule.name)));
        if let Some(why) = impossible(&rule.when) {
            return dead(why);
        }
        if let Some(unless) = rule.unless.as_ref().filter(|unless| rule.when.implies(unless)) {
            let metric = policy.name_of(unless.metric);
            return dead(format!("it never fires, because its `unless` ({metric} {}) holds whenever it does", unless.words));
        }
        if let Some(other) = policy.rules.iter().find(|other| takes_over(other, rule)) {
            return dead(format!("it can never win: {} (line {}) is at least as severe and fires no later", other.name, other.line));
        }
    }
    let watched = |metric: Metric| policy.rules.iter().any(|rule| rule.when.metric == metric);
    let unwatched = Metric::all().filter(|metric| !watched(*metric));
    Ok(unwatched.map(|metric| format!("{name}: no rule looks at {}", metric.name())).collect())
}

/// Why a comparison says nothing: it never holds, or always does.
fn impossible(when: &Comparison) -> Option<String> {
    let most = match when.metric.kind() {
        Kind::Rate | Kind::Share => 1.0,
        Kind::Truth | Kind::Time | Kind::Count => f64::INFINITY,
    };
    let (never, always) = match when.op {
        Op::More => (when.value >= most, false),
        Op::AtLeast => (when.value > most, when.value <= 0.0),
        Op::Less => (when.value <= 0.0, when.value > most),
        Op::AtMost => (false, when.value >= most),
        Op::Is | Op::IsNot => (false, false),
    };
    let about = when.metric.name();
    match (never, always) {
        (true, _) if most == 1.0 && when.value > 1.0 => Some(format!("it can never fire: {about} is a share between 0 and 1, so write 85 % as 0.85")),
        (true, _) => Some(format!("it can never fire: {about} is never {}", when.words)),
        (_, true) => Some(format!("it says nothing: {about} is always {}", when.words)),
        _ => None,
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
    fn a_metric_that_nobody_looks_at_is_worth_a_sentence() {
        let said = checked("[rules.low]\na = { when = \"up == false\" }").unwrap();
        assert!(said.contains(&"p.toml: no rule looks at error_rate".to_owned()));
        assert!(!said.contains(&"p.toml: no rule looks at up".to_owned()));
    }
}
