//! Where the policy's bands begin, for those who draw lines into graphs.

use super::metric::Kind;
use super::rules::{Op, Policy};
use crate::record::Severity;

/// How high a metric may be, by the rules that are about it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Above this a rule of low or medium severity begins to hold.
    pub warn: Option<f64>,
    /// Above this one of high or critical severity does.
    pub critical: Option<f64>,
}

impl Policy {
    /// The bounds of a metric that is bad when it is high, named as rules name it. A metric that no such rule is about has none.
    /// Counts are whole: where a rule says "3 or more", 2 is the bound.
    pub fn bounds(&self, metric: &str) -> Bounds {
        let mut bounds = Bounds::default();
        for rule in self.rules.iter().filter(|rule| rule.when.metric.name() == metric) {
            let limit = match (rule.when.op, rule.when.metric.kind()) {
                (Op::AtLeast, Kind::Count) => rule.when.value - 1.0,
                (Op::More | Op::AtLeast, _) => rule.when.value,
                _ => continue,
            };
            let bound = if rule.severity >= Severity::High { &mut bounds.critical } else { &mut bounds.warn };
            *bound = Some(bound.map_or(limit, |known: f64| known.min(limit)));
        }
        bounds
    }

    /// The limits that rules set a measured metric, named as rules name it: the rule, its comparison, its bound.
    pub fn limits(&self, metric: &str) -> Vec<(String, String, f64)> {
        let about = self.rules.iter().filter(|rule| rule.when.metric.name() == metric);
        let words = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        about.map(|rule| (rule.name.clone(), words(&rule.when.words), rule.when.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_rule_of_a_band_is_its_bound() {
        let of = |metric: &str| {
            let Bounds { warn, critical } = Policy::default().bounds(metric);
            (warn, critical)
        };
        assert_eq!(of("error_rate"), (Some(0.05), Some(0.25)));
        assert_eq!(of("response_ms"), (Some(1000.0), None));
        assert_eq!(of("cpu_usage"), (None, Some(0.80)));
        assert_eq!(of("modules_failed"), (Some(0.0), Some(2.0)));
        assert_eq!(of("success_rate"), (None, None), "bad when it is low");
        assert_eq!(of("weather"), (None, None));
    }

    #[test]
    fn limits_are_what_the_rules_say_worst_first() {
        let limits = Policy::default().limits("error_rate");
        let text: Vec<String> = limits.iter().map(|(rule, comparison, bound)| format!("{rule} {comparison} {bound}")).collect();
        assert_eq!(text, ["errors-25 > 0.25", "errors-10 >= 0.1", "errors-5 >= 0.05"]);
        assert!(Policy::default().limits("weather").is_empty());
    }
}
