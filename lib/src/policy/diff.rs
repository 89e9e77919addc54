//! Two policies over one history: what each of them would have decided, incident by incident.

use super::{Judge, Options, Policy};
use crate::record::{Action, Decision, Record, Severity, Stamp};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// Feeds one stream to two judges.
pub struct Diff {
    judges: [Judge; 2],
    /// What both have said, by ecosystem: silences apart from incidents, which do not end each other.
    said: BTreeMap<(Option<String>, bool), [Vec<Said>; 2]>,
    records: u64,
}

type Said = (Timestamp, Decision);

/// How the two compare: `Display` is a table for people.
pub struct Compared {
    cases: Vec<Case>,
    records: u64,
    decisions: [usize; 2],
    rollbacks: [usize; 2],
}

/// One stretch of trouble, under both policies.
struct Case {
    ecosystem: Option<String>,
    from: Timestamp,
    to: Timestamp,
    said: [Vec<Said>; 2],
}

impl Diff {
    /// Neither has seen anything yet.
    pub fn new(old: Policy, new: Policy, options: Options) -> Diff {
        Diff { judges: [old, new].map(|policy| Judge::new(policy, options)), said: BTreeMap::new(), records: 0 }
    }

    /// Takes one record in; gives sentences about what in it could not be used.
    pub fn feed(&mut self, stamp: &Stamp, record: &Record) -> Vec<String> {
        self.records += 1;
        let mut warnings = Vec::new();
        for (side, judge) in self.judges.iter_mut().enumerate() {
            let heard = judge.feed(stamp, record);
            for (time, decision) in heard.decisions {
                let silence = decision.severity == Severity::Unknown;
                self.said.entry((stamp.ecosystem.clone(), silence)).or_default()[side].push((time, decision));
            }
            warnings = heard.warnings;
        }
        warnings
    }

    /// What has come of it.
    pub fn compare(self) -> Compared {
        let sides = |count: fn(&Said) -> bool| {
            [0, 1].map(|side| self.said.values().map(|said: &[Vec<Said>; 2]| said[side].iter().filter(|said| count(said)).count()).sum())
        };
        let (decisions, rollbacks) = (sides(|_| true), sides(|(_, decision)| decision.action == Action::Rollback));
        let mut cases: Vec<Case> = self.said.into_iter().flat_map(|((ecosystem, _), said)| in_cases(&ecosystem, said)).collect();
        // What differs comes first; a stable sort keeps the rest in order.
        cases.sort_by(|a, b| (a.is_same(), a.from, &a.ecosystem).cmp(&(b.is_same(), b.from, &b.ecosystem)));
        Compared { cases, records: self.records, decisions, rollbacks }
    }
}

/// Incidents of either side that overlap are one case.
fn in_cases(ecosystem: &Option<String>, said: [Vec<Said>; 2]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (side, said) in said.into_iter().enumerate() {
        let mut incidents: Vec<Case> = Vec::new();
        for (time, decision) in said {
            let is_same = |case: &Case| case.said[side].last().is_some_and(|(_, last)| last.incident == decision.incident);
            let from = decision.onset.unwrap_or(time).min(time);
            // An incident that nobody has seen the end of goes on.
            let to = if decision.action == Action::Resolved { time } else { Timestamp::MAX };
            match incidents.last_mut().filter(|case| is_same(case)) {
                Some(case) => {
                    (case.from, case.to) = (case.from.min(from), to);
                    case.said[side].push((time, decision));
                }
                None => {
                    let mut case = Case { ecosystem: ecosystem.clone(), from, to, said: [Vec::new(), Vec::new()] };
                    case.said[side].push((time, decision));
                    incidents.push(case);
                }
            }
        }
        cases.append(&mut incidents);
    }
    cases.sort_by_key(|case| case.from);
    let mut merged: Vec<Case> = Vec::new();
    for case in cases {
        match merged.last_mut().filter(|last| case.from <= last.to) {
            Some(last) => {
                last.to = last.to.max(case.to);
                last.said.iter_mut().zip(case.said).for_each(|(to, more)| to.extend(more));
            }
            None => merged.push(case),
        }
    }
    merged
}

impl Case {
    fn is_same(&self) -> bool {
        let essence = |side: &[Said]| side.iter().map(brief).collect::<Vec<_>>();
        essence(&self.said[0]) == essence(&self.said[1])
    }

    fn name(&self) -> String {
        let whose = self.ecosystem.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{}{whose}", self.from.strftime("%Y-%m-%d %H:%M"))
    }

    /// Both sides in order of time, what was said at the same time in one row.
    fn rows(&self) -> Vec<[Option<&Said>; 2]> {
        let (mut rows, mut sides) = (Vec::new(), self.said.each_ref().map(|side| side.iter().peekable()));
        loop {
            let times = [0, 1].map(|side| sides[side].peek().map(|(time, _)| *time));
            let Some(next) = times.into_iter().flatten().min() else { return rows };
            rows.push([0, 1].map(|side| sides[side].next_if(|(time, _)| *time == next)));
        }
    }
}

/// A decision apart from its time: severity, action, scope, point, notes.
fn brief((time, decision): &Said) -> (Timestamp, String) {
    let mut text = format!("{} {}", word(decision.severity), word(decision.action));
    let name = |text: &mut String, before: &str, name: String| {
        // Names come from the stream, and this goes to a terminal.
        let _ = write!(text, " {before}{}", name.escape_debug());
    };
    decision.scope.iter().for_each(|scope| name(&mut text, "", scope.to_string()));
    decision.snapshot.iter().for_each(|id| name(&mut text, "to ", id.clone()));
    decision.notes.iter().for_each(|note| text.push_str(&format!(" ({note})")));
    for (set, flag) in [(decision.reminder, " reminder"), (decision.overdue, " overdue")] {
        text.push_str(if set { flag } else { "" });
    }
    (*time, text)
}

fn word(value: impl fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// `10:02`, with seconds where there are some, and with the day where it is not the one that the case began on.
fn clock(time: Timestamp, began: Timestamp) -> String {
    let day = if time.strftime("%F").to_string() == began.strftime("%F").to_string() { "" } else { "%F " };
    let seconds = if time.as_second() % 60 == 0 { "" } else { ":%S" };
    time.strftime(&format!("{day}%H:%M{seconds}")).to_string()
}

impl Compared {
    /// Whether both policies decide the same.
    pub fn is_same(&self) -> bool {
        self.cases.iter().all(Case::is_same)
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in self.cases.iter().filter(|case| !case.is_same()) {
            writeln!(f, "{}  DIFFERENT", case.name())?;
            let text = |said: Option<&Said>| said.map_or("-".into(), |said| format!("{} {}", clock(said.0, case.from), brief(said).1));
            let rows: Vec<[String; 2]> = case.rows().into_iter().map(|row| row.map(text)).collect();
            let width = rows.iter().map(|[old, _]| old.chars().count()).max().unwrap_or(0);
            for [old, new] in &rows {
                let mark = if old == new { ' ' } else { '*' };
                writeln!(f, "  {mark} old: {old:width$}   new: {new}")?;
            }
        }
        for case in self.cases.iter().filter(|case| case.is_same()) {
            let said: Vec<String> = case.said[0].iter().map(|said| format!("{} {}", clock(said.0, case.from), brief(said).1)).collect();
            writeln!(f, "{}  the same: {}", case.name(), said.join(", "))?;
        }
        let count = |keep: fn(&Case) -> bool| self.cases.iter().filter(|case| keep(case)).count();
        let only = |side: usize| self.cases.iter().filter(|case| case.said[1 - side].is_empty()).count();
        writeln!(
            f,
            "{} records, {} incidents: {} different ({} only under the old policy, {} only under the new one), {} the same",
            self.records,
            self.cases.len(),
            count(|case| !case.is_same()),
            only(0),
            only(1),
            count(Case::is_same)
        )?;
        let ([old, new], [old_back, new_back]) = (self.decisions, self.rollbacks);
        writeln!(
            f,
            "old: {old} decisions, {old_back} of them rollbacks without asking; new: {new} decisions, {new_back} of them rollbacks without asking"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Health, Reading};

    fn errors(minute: i64, rate: f64) -> (Stamp, Record) {
        let health = Health { up: Reading::Known(true), error_rate: Reading::Known(rate), ..Health::default() };
        (Stamp { time: Timestamp::from_second(1_772_359_200 + minute * 60).unwrap(), ..Stamp::default() }, health.into())
    }

    fn compared(old: &str, new: &str, rates: &[(i64, f64)]) -> Compared {
        let policy = |text| Policy::parse(text, "p").unwrap();
        let mut diff = Diff::new(policy(old), policy(new), Options::default());
        let mut minute = 0;
        for (minutes, rate) in rates {
            for _ in 0..*minutes {
                let (stamp, record) = errors(minute, *rate);
                diff.feed(&stamp, &record);
                minute += 1;
            }
        }
        diff.compare()
    }

    const FAST: &str = "[rules.high]\na = { when = \"error_rate > 0.25\", for = \"2m\" }\n";
    const SLOW: &str = "[rules.medium]\na = { when = \"error_rate > 0.25\", for = \"5m\" }\n";

    #[test]
    fn what_differs_is_side_by_side_and_comes_first() {
        let said = compared(FAST, SLOW, &[(10, 0.3), (80, 0.0), (4, 0.5), (10, 0.0)]);
        assert!(!said.is_same());
        let text = said.to_string();
        let expected = "2026-03-01 10:00  DIFFERENT\n  \
            * old: 10:02 high propose full (store)   new: -\n  \
            * old: -                                 new: 10:05 medium investigate\n  \
            * old: 10:15 high resolved               new: 10:15 medium resolved\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("104 records, 2 incidents: 2 different (1 only under the old policy, 0 only under the new one), 0 the same"), "{text}");
        assert!(text.ends_with("old: 4 decisions, 0 of them rollbacks without asking; new: 2 decisions, 0 of them rollbacks without asking\n"));
    }

    #[test]
    fn a_policy_is_the_same_as_itself() {
        let said = compared(FAST, FAST, &[(4, 0.3), (10, 0.0)]);
        assert!(said.is_same());
        let text = said.to_string();
        assert!(text.starts_with("2026-03-01 10:00  the same: 10:02 high propose full (store), 10:09 high resolved\n14 records"), "{text}");
    }
}
