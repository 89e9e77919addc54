//! Where the lines of a chart stand: what the decisions of the incident name, and beside it what the built-in policy says.

use super::Scene;
use crate::policy::Policy;
use crate::report::words::list;

/// A limit of one metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub rule: String,
    pub comparison: String,
    pub bound: f64,
    /// A decision of this incident names it.
    pub fired: bool,
}

/// The limits of a metric, the lowest first. A rule that a decision names stands where the decision says.
pub(super) fn of(scene: &Scene, metric: &str) -> Vec<Line> {
    // The limits of a rollout are about a canary: they have a chart of their own.
    let named = scene.limits.iter().filter(|limit| limit.metric == metric && !limit.rule.starts_with("rollout-"));
    let mut lines: Vec<Line> = Vec::new();
    for limit in named {
        let line = Line { rule: limit.rule.clone(), comparison: limit.comparison.clone(), bound: limit.bound, fired: true };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    for (rule, comparison, bound) in Policy::default().limits(metric) {
        if !lines.iter().any(|line| line.rule == rule || (line.comparison == comparison && line.bound == bound)) {
            lines.push(Line { rule, comparison, bound, fired: false });
        }
    }
    lines.retain(|line| line.bound.is_finite() && line.bound > 0.0);
    lines.sort_by(|one, next| one.bound.total_cmp(&next.bound).then_with(|| one.rule.cmp(&next.rule)));
    lines
}

/// Which lines are drawn and who says so, in a sentence.
pub(super) fn sentence(lines: &[Line], write: impl Fn(&Line) -> String) -> String {
    let names = |fired: bool| lines.iter().filter(|line| line.fired == fired).map(&write).collect::<Vec<_>>();
    let (fired, others) = (names(true), names(false));
    match (fired.is_empty(), others.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!(" Limits: {}, of the built-in policy.", list(&others)),
        (false, true) => format!(" Limits: {}, named by this incident's decisions.", list(&fired)),
        (false, false) => format!(" Limits: {}, named by this incident's decisions; {}, of the built-in policy.", list(&fired), list(&others)),
    }
}
