//! What a judge remembers, as text: a cache of the stream and no second truth. The same records give the same text, however
//! often the judge was interrupted on the way; whoever has the records can always make it anew.
//!
//! The text names the rules that the evidence was collected for, so that a policy can be changed while an incident is open:
//! a rule that still says the same goes on, one that does not starts over.

use super::course::Course;
use super::proof::Proof;
use super::rules::{Policy, Rule};
use super::{Judge, Options, words};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Everything that is remembered, with the courses as they are written or as they are read.
#[derive(Serialize, Deserialize)]
struct Memory<C> {
    options: Options,
    settings: BTreeMap<String, String>,
    rules: Vec<Known>,
    signals: Vec<String>,
    ecosystems: Vec<(Option<String>, C)>,
}

/// A rule that evidence was collected for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    name: String,
    says: String,
}

impl Judge {
    /// What has been seen so far, as one line of JSON: it goes back in through [`Judge::recall`].
    pub fn remember(&self) -> Vec<u8> {
        let memory = Memory {
            options: self.options,
            settings: settings(&self.policy),
            rules: rules(&self.policy),
            signals: self.policy.signals.clone(),
            ecosystems: self.courses.iter().map(|(name, course)| (name.clone(), course)).collect(),
        };
        // Strings, finite numbers, lists and string-keyed maps: serde_json cannot refuse them.
        serde_json::to_vec(&memory).expect("a memory serializes")
    }

    /// A judge who goes on where another one stopped, and what has changed in between, in one sentence: a rule that is new or says
    /// something else starts over. If such a rule was firing, it must show that it is healthy before the incident can end.
    ///
    /// # Errors
    /// Why this is no memory. Nothing can be done with it but to replay the stream.
    pub fn recall(text: &[u8], policy: Policy, options: Options) -> Result<(Judge, Option<String>), String> {
        let memory: Memory<Course> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let fits = |course: &Course| course.proofs.len() == memory.rules.len() && course.signals.len() == memory.signals.len();
        if !memory.ecosystems.iter().all(|(_, course)| fits(course)) {
            return Err("its evidence does not fit its rules".into());
        }
        let told = difference(&memory, &policy, options);
        let same_rules = memory.rules == rules(&policy) && memory.signals == policy.signals;
        let known: HashMap<&str, (usize, &str)> =
            memory.rules.iter().enumerate().map(|(place, rule)| (rule.name.as_str(), (place, rule.says.as_str()))).collect();
        let mut judge = Judge::new(policy, options);
        for (name, mut course) in memory.ecosystems {
            if !same_rules {
                course.proofs = judge.policy.rules.iter().map(|rule| carried_over(rule, &judge.policy, &known, &course.proofs)).collect();
                let events = |signal: &String| memory.signals.iter().position(|known| known == signal).map(|place| course.signals[place].clone());
                course.signals = judge.policy.signals.iter().map(|signal| events(signal).unwrap_or_default()).collect();
                course.rules_changed();
            }
            course.resume(&judge.policy, options);
            judge.places.insert(name.clone(), judge.courses.len());
            judge.courses.push((name, course));
        }
        Ok((judge, told))
    }
}

/// The evidence for a rule, as far as it was collected for the same rule.
fn carried_over(rule: &Rule, policy: &Policy, known: &HashMap<&str, (usize, &str)>, proofs: &[Proof]) -> Proof {
    let Some((place, says)) = known.get(rule.name.as_str()) else { return Proof::default() };
    let mut proof = proofs[*place].clone();
    if *says != definition(policy, rule) {
        proof.start_over();
    }
    proof
}

fn rules(policy: &Policy) -> Vec<Known> {
    policy.rules.iter().map(|rule| Known { name: rule.name.clone(), says: definition(policy, rule) }).collect()
}

/// A rule as a person would say it.
fn definition(policy: &Policy, rule: &Rule) -> String {
    let comparison = |word: &str, what: &super::rules::Comparison| format!(" {word} {} {}", policy.name_of(what.metric), what.words);
    let unless = rule.unless.as_ref().map(|unless| comparison("unless", unless)).unwrap_or_default();
    let lasts = rule.lasts.map(|lasts| format!(" for {}", words(lasts))).unwrap_or_default();
    let trigger = if rule.trigger { ", trigger" } else { "" };
    format!("{}{}{unless}{lasts}{trigger}", format!("{:?}", rule.severity).to_lowercase(), comparison("when", &rule.when))
}

/// The values of the policy outside its rules, by table and key.
fn settings(policy: &Policy) -> BTreeMap<String, String> {
    let (normal, rollback) = (&policy.normal, &policy.rollback);
    let deadline = |severity| policy.deadline.of(severity).map_or("none".into(), |span| words(span).to_string());
    use crate::record::Severity::{Critical, High, Medium};
    [
        ("time.stale", words(policy.stale).to_string()),
        ("time.clear", words(policy.clear).to_string()),
        ("time.samples", policy.samples.to_string()),
        ("normal.window", words(normal.window).to_string()),
        ("normal.samples", normal.samples.to_string()),
        ("normal.floor_ms", normal.floor_ms.to_string()),
        ("normal.requests", normal.requests.to_string()),
        ("normal.pool", words(normal.pool).to_string()),
        ("normal.response_ms", normal.response_ms.map_or("none".into(), |ms| ms.to_string())),
        ("rollback.blame", words(rollback.blame).to_string()),
        ("rollback.tie", words(rollback.tie).to_string()),
        ("rollback.cooldown", words(rollback.cooldown).to_string()),
        ("rollback.limit", rollback.limit.to_string()),
        ("rollback.per", words(rollback.per).to_string()),
        ("rollback.max_age", words(rollback.max_age).to_string()),
        ("rollback.down", if rollback.suspect_first { "suspect-first" } else { "full" }.to_owned()),
        ("rollback.critical", rollback.critical.join(" ")),
        ("rollback.trust", rollback.trust.join(" ")),
        ("deadline.critical", deadline(Critical)),
        ("deadline.high", deadline(High)),
        ("deadline.medium", deadline(Medium)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// What is not as it was when this was remembered.
fn difference<C>(memory: &Memory<C>, policy: &Policy, options: Options) -> Option<String> {
    let (now, mut parts) = (rules(policy), Vec::new());
    let mut list = |what: &str, rules: Vec<&Known>| {
        if !rules.is_empty() {
            parts.push(format!("{what} {}", rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join(", ")));
        }
    };
    let is_in = |list: &[Known], rule: &Known| list.iter().any(|other| other.name == rule.name);
    list("changed and starting over:", now.iter().filter(|rule| is_in(&memory.rules, rule) && !memory.rules.contains(rule)).collect());
    list("new:", now.iter().filter(|rule| !is_in(&memory.rules, rule)).collect());
    list("gone:", memory.rules.iter().filter(|rule| !is_in(&now, rule)).collect());
    let settings = settings(policy);
    for (key, value) in &settings {
        match memory.settings.get(key) {
            Some(was) if was != value => parts.push(format!("{key} was '{was}' and is '{value}'")),
            _ => {}
        }
    }
    for (name, was, is) in [("--now", memory.options.now, options.now), ("--dry-run", memory.options.dry_run, options.dry_run)] {
        if was != is {
            parts.push(if was { format!("no {name} any more") } else { format!("{name} is new") });
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Health, Reading, Record, Stamp};
    use crate::time::Timestamp;

    fn errors(minute: i64, rate: f64) -> (Stamp, Record) {
        let health = Health { up: Reading::Known(true), error_rate: Reading::Known(rate), ..Health::default() };
        (Stamp { time: Timestamp::from_second(1_772_323_200 + minute * 60).unwrap(), ..Stamp::default() }, health.into())
    }

    fn policy(text: &str) -> Policy {
        Policy::parse(text, "p").unwrap()
    }

    fn after(policy: &Policy, minutes: std::ops::Range<i64>, rate: f64) -> Judge {
        let mut judge = Judge::new(policy.clone(), Options::default());
        minutes.for_each(|minute| {
            let (stamp, record) = errors(minute, rate);
            judge.feed(&stamp, &record);
        });
        judge
    }

    const RULES: &str = "[rules.high]\na = { when = \"error_rate > 0.25\", for = \"2m\" }\n[rules.low]\nb = { when = \"cpu_usage > 0.5\" }\n";

    #[test]
    fn what_is_remembered_is_remembered_again() {
        let judge = after(&policy(RULES), 0..5, 0.3);
        let (again, told) = Judge::recall(&judge.remember(), policy(RULES), Options::default()).unwrap();
        assert_eq!((again.remember(), told), (judge.remember(), None));
        assert_eq!(again.severity(), judge.severity());
    }

    #[test]
    fn a_rule_that_says_the_same_goes_on_wherever_it_stands() {
        let judge = after(&policy(RULES), 0..2, 0.3);
        let moved = "[rules.critical]\nz = { when = \"signal.fire >= 1\" }\n".to_owned() + RULES;
        let (mut judge, told) = Judge::recall(&judge.remember(), policy(&moved), Options::default()).unwrap();
        assert_eq!(told.as_deref(), Some("new: z"));
        let (stamp, record) = errors(2, 0.3);
        assert_eq!(judge.feed(&stamp, &record).decisions.len(), 1, "the third sample is still the third");
    }

    #[test]
    fn a_rule_that_has_changed_starts_over_and_does_not_end_its_incident() {
        let judge = after(&policy(RULES), 0..5, 0.3);
        let milder = RULES.replace("0.25", "0.28");
        let (mut judge, told) = Judge::recall(&judge.remember(), policy(&milder), Options { dry_run: true, now: false }).unwrap();
        assert_eq!(told.as_deref(), Some("changed and starting over: a; --dry-run is new"));
        let mut said = Vec::new();
        for (minute, rate) in (5..7).map(|minute| (minute, 0.3)).chain((7..13).map(|minute| (minute, 0.0))) {
            let (stamp, record) = errors(minute, rate);
            said.extend(judge.feed(&stamp, &record).decisions.into_iter().map(|(_, decision)| (minute, decision.action)));
        }
        // Not at the first sample of the new rule, which has seen nothing yet.
        assert_eq!(said, [(12, crate::record::Action::Resolved)]);
    }

    #[test]
    fn a_rule_that_is_gone_takes_its_evidence_with_it_and_the_settings_are_told() {
        let judge = after(&policy(RULES), 0..5, 0.3);
        let other = "[time]\nclear = \"9m\"\n[rules.low]\nb = { when = \"cpu_usage > 0.5\" }\n";
        let (mut judge, told) = Judge::recall(&judge.remember(), policy(other), Options::default()).unwrap();
        assert_eq!(told.as_deref(), Some("gone: a; time.clear was '5m' and is '9m'"));
        let (stamp, record) = errors(5, 0.3);
        assert_eq!(judge.feed(&stamp, &record).decisions.len(), 1, "nobody is left who calls it bad");
    }

    #[test]
    fn what_is_no_memory_is_refused() {
        let text = String::from_utf8(after(&policy(RULES), 0..5, 0.3).remember()).unwrap();
        let recall = |text: &str| Judge::recall(text.as_bytes(), policy(RULES), Options::default()).err().unwrap();
        assert!(recall("{}").contains("missing field"));
        assert!(recall(&text[..text.len() - 9]).contains("EOF"));
        assert!(recall(&text.replacen("{\"name\":\"b\"", "{\"name\":\"c\",\"says\":\"x\"},{\"name\":\"b\"", 1)).contains("does not fit"));
    }
}
