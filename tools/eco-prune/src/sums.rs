//! What the decisions come to, in sentences.

use eco::retention::Rules;
use eco::store::Candidate;
use eco::tool::{Tool, size};
use std::collections::BTreeMap;

/// How many stay, go and are set aside.
pub struct Sums {
    /// Of each kind: how many stay, and of how many.
    kinds: BTreeMap<String, (usize, usize)>,
    kept: usize,
    aside: usize,
    /// How many go.
    pub go: usize,
    bytes: u64,
}

/// Counts.
pub fn of(found: &[Candidate]) -> Sums {
    let go: Vec<&Candidate> = found.iter().filter(|candidate| !candidate.choice.keep).collect();
    let aside = found.iter().filter(|candidate| candidate.choice.aside).count();
    let bytes = go.iter().filter_map(|candidate| candidate.snapshot.archive_bytes).sum();
    let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for candidate in found.iter().filter(|candidate| !candidate.choice.aside) {
        let (kept, all) = kinds.entry(candidate.snapshot.kind.clone().unwrap_or_else(|| "of no kind".into())).or_default();
        *kept += usize::from(candidate.choice.keep);
        *all += 1;
    }
    Sums { kinds, kept: found.len() - go.len() - aside, aside, go: go.len(), bytes }
}

impl Sums {
    /// All of it in one sentence; `how` follows the number of those that go.
    pub fn in_words(&self, how: &str) -> String {
        let aside = if self.aside > 0 { format!(", {} set aside", self.aside) } else { String::new() };
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, (kept, all))| format!("{kept} of {all} {kind}")).collect();
        match self.go {
            0 => format!("{} kept{aside}, none to remove", self.kept),
            go => format!("{} kept ({}){aside}, {go} to remove ({}){how}", self.kept, kinds.join(", "), size(self.bytes)),
        }
    }
}

/// A policy that keeps everything or nothing is rarely what somebody meant.
pub fn flag(tool: &Tool, found: &[Candidate], sums: &Sums, rules: &Rules) {
    let counts = rules.counts.describe();
    let no_rules = counts.is_empty() && rules.spans.keys().all(|kind| kind == "safety");
    if no_rules {
        tool.error("no rule says what may go: name spans in [retention] of eco.toml, or give --keep-daily and the like");
    } else if sums.go == 0 && sums.kept > 1 {
        tool.error(&format!("these rules let nothing go: all {} snapshots are kept", sums.kept));
    } else if sums.go > 0 && !found.iter().any(|candidate| candidate.choice.by_rule) {
        let left = if sums.kept == 1 { "the only one left is".to_owned() } else { format!("the {} left are", sums.kept) };
        tool.error(&format!("these rules keep none of {} snapshots: {left} what is never removed", sums.kept + sums.go));
    }
}

/// What was done.
pub fn done(found: &[Candidate], freed: u64) -> String {
    let removed = found.iter().filter(|candidate| candidate.removed).count();
    let stayed = found.iter().filter(|candidate| !candidate.removed && !candidate.choice.keep).count();
    let stayed = if stayed > 0 { format!("; {stayed} that were to go are still there") } else { String::new() };
    format!("{removed} removed, {} freed, {} kept{stayed}", size(freed), found.len() - removed)
}
