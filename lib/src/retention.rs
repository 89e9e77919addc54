//! Which snapshots may go: what is known of them, rules and the time in; keep or go out, with the reasons. Nothing is removed here.
//!
//! Two kinds of rules keep a snapshot, and one that keeps it is enough: how old those of its kind may become, and how many of all kinds
//! are kept per hour, day, week, month and year. Whatever the rules say, some always stay: see [`decide`].

use crate::record::{Snapshot, Stamp};
use crate::time::{Span, Timestamp, seconds_between};
use jiff::tz::TimeZone;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Kinds that belong to a schedule: the rules that count may let them go.
const SERIES: [&str; 4] = ["pre-deployment", "daily", "weekly", "monthly"];

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// How old the snapshots of a kind may become.
    pub spans: BTreeMap<String, Span>,
    /// How many are kept, whatever their kind.
    pub counts: Counts,
}

/// Rules that count, as restic has them: walking from the newest to the oldest, the first of each hour (day, week …) is kept until there
/// are so many; the oldest of all too, as long as there are fewer. Hours to years are those of UTC, weeks those of ISO 8601. Zero counts
/// as not set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// The newest so many.
    pub last: Option<u32>,
    /// One an hour.
    pub hourly: Option<u32>,
    /// One a day.
    pub daily: Option<u32>,
    /// One a week.
    pub weekly: Option<u32>,
    /// One a month.
    pub monthly: Option<u32>,
    /// One a year.
    pub yearly: Option<u32>,
    /// All that are less old than this, seen from the newest.
    pub within: Option<Span>,
}

impl Counts {
    /// These, and where they say nothing the others.
    pub fn or(self, others: Counts) -> Counts {
        Counts {
            last: self.last.or(others.last),
            hourly: self.hourly.or(others.hourly),
            daily: self.daily.or(others.daily),
            weekly: self.weekly.or(others.weekly),
            monthly: self.monthly.or(others.monthly),
            yearly: self.yearly.or(others.yearly),
            within: self.within.or(others.within),
        }
    }

    fn buckets(&self) -> Vec<Bucket> {
        let all = [
            ("keep-last", "", self.last),
            ("keep-hourly", "%Y-%m-%d %H:00", self.hourly),
            ("keep-daily", "%Y-%m-%d", self.daily),
            ("keep-weekly", "%G-W%V", self.weekly),
            ("keep-monthly", "%Y-%m", self.monthly),
            ("keep-yearly", "%Y", self.yearly),
        ];
        let set = all.into_iter().filter_map(|(name, form, count)| Some((name, form, count.filter(|count| *count > 0)?)));
        set.map(|(name, form, count)| Bucket { name, form, count, left: count, last: None }).collect()
    }

    /// The rules that are set, as they are written on the command line: `keep-last 3, keep-within 30d`. Empty if there are none.
    pub fn describe(&self) -> String {
        let buckets = self.buckets().into_iter().map(|bucket| format!("{} {}", bucket.name, bucket.count));
        buckets.chain(self.within.map(|span| format!("keep-within {span}"))).collect::<Vec<_>>().join(", ")
    }
}

/// One rule that counts, on its way from the newest to the oldest.
struct Bucket {
    name: &'static str,
    /// What snapshots of one bucket have in common; empty: nothing.
    form: &'static str,
    count: u32,
    left: u32,
    last: Option<String>,
}

impl Bucket {
    /// Why this rule keeps the next one, if it does.
    fn take(&mut self, time: Timestamp, is_oldest: bool) -> Option<String> {
        if self.left == 0 {
            return None;
        }
        let (name, count, nth) = (self.name, self.count, self.count - self.left + 1);
        let here = if self.form.is_empty() { format!("number {nth}") } else { time.to_zoned(TimeZone::UTC).strftime(self.form).to_string() };
        let is_new = self.last.as_ref() != Some(&here);
        if !is_new && !is_oldest {
            return None;
        }
        self.left -= 1;
        let why = match (is_new, self.form.is_empty()) {
            (true, true) => here.clone(),
            (true, false) => format!("the newest of {here}"),
            (false, _) => "the oldest there is".to_owned(),
        };
        self.last = Some(here);
        Some(format!("{name} {count}: {why}"))
    }
}

/// One snapshot, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Its id.
    pub id: String,
    /// The name of the ecosystem, as it stands in the snapshot. Ecosystems are never mixed.
    pub ecosystem: String,
    /// When it was taken.
    pub time: Timestamp,
    /// `daily`, `manual` and so on; unknown ones stay for ever.
    pub kind: Option<String>,
    /// The full snapshot that it needs.
    pub base: Option<String>,
    /// What it can restore.
    pub covers: Vec<String>,
    /// Taken while the service was healthy, and verified.
    pub good: bool,
    /// Read back and found right.
    pub verified: bool,
    /// Found wrong, or worth nothing without a base that is gone. It fills no place that a sound one could have.
    pub damaged: bool,
    /// A person wants it kept.
    pub pinned: bool,
    /// Whether this one was asked about: others stay, and only protect.
    pub asked: bool,
    /// Why nothing can be said about it. It stays, and is not counted.
    pub aside: Option<String>,
    /// Why it is needed just now.
    pub in_use: Option<String>,
}

impl Point {
    /// What a record says.
    pub fn of(stamp: &Stamp, snapshot: &Snapshot) -> Point {
        Point {
            id: snapshot.id.clone(),
            ecosystem: stamp.ecosystem.clone().unwrap_or_default(),
            time: stamp.time,
            kind: snapshot.kind.clone(),
            base: snapshot.base.clone(),
            covers: snapshot.covers.clone(),
            good: snapshot.good == Some(true),
            verified: snapshot.verified == Some(true),
            // Somebody looked, and it is not right.
            damaged: snapshot.verified == Some(false) && snapshot.verified_at.is_some(),
            pinned: snapshot.pinned == Some(true),
            asked: true,
            aside: None,
            in_use: None,
        }
    }

    fn is_safety(&self) -> bool {
        self.kind.as_deref() == Some("safety")
    }
}

/// What is to become of one snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Whether it stays.
    pub keep: bool,
    /// Why, in words: each rule and each protection that speaks for it, or what lets it go.
    pub reasons: Vec<String>,
    /// Whether a rule keeps it, and not only what always stays.
    pub by_rule: bool,
    /// Whether nothing can be said about it.
    pub aside: bool,
}

/// Decides about each of these, in their order. At most the rules let go; never
/// - the last good one, and the last good one of each set of scopes that was captured together;
/// - the newest of each kind, and the newest verified one of it: a schedule that has stopped ages nothing away;
/// - the newest of all while nobody has verified it;
/// - what is pinned, in use or set aside, and what was not asked about;
/// - the base of a differential one that stays.
///
/// Each ecosystem is decided by itself. The rules count what was asked about; the protections see all.
pub fn decide(points: &[Point], rules: &Rules, now: Timestamp) -> Vec<Choice> {
    let mut ecosystems: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, point) in points.iter().enumerate() {
        ecosystems.entry(&point.ecosystem).or_default().push(at);
    }
    let mut choices = vec![Choice::default(); points.len()];
    for mut newest_first in ecosystems.into_values() {
        newest_first.sort_by(|a, b| (points[*b].time, &points[*b].id).cmp(&(points[*a].time, &points[*a].id)));
        decide_one(points, &newest_first, rules, now, &mut choices);
    }
    choices
}

fn decide_one(points: &[Point], newest_first: &[usize], rules: &Rules, now: Timestamp, choices: &mut [Choice]) {
    protect(points, newest_first, choices);
    by_kind(points, newest_first, rules, now, choices);
    by_count(points, newest_first, rules, choices);
    for at in newest_first {
        let (point, choice) = (&points[*at], &mut choices[*at]);
        if !point.asked {
            (choice.keep, choice.by_rule, choice.aside, choice.reasons) = (true, false, point.aside.is_some(), Vec::new());
        } else if let Some(why) = &point.aside {
            *choice = Choice { keep: true, reasons: vec![why.clone()], by_rule: false, aside: true };
        }
    }
    keep_bases(points, newest_first, choices);
    for at in newest_first.iter().filter(|at| !choices[**at].keep).copied().collect::<Vec<_>>() {
        choices[at].reasons = why_not(&points[at], rules, now);
    }
}

fn keep(choice: &mut Choice, reason: impl Into<String>) {
    choice.keep = true;
    choice.reasons.push(reason.into());
}

/// What stays whatever the rules say.
fn protect(points: &[Point], newest_first: &[usize], choices: &mut [Choice]) {
    let counted = || newest_first.iter().copied().filter(|at| points[*at].aside.is_none());
    let good: Vec<usize> = counted().filter(|at| points[*at].good && !points[*at].is_safety()).collect();
    if let Some(last) = good.first() {
        keep(&mut choices[*last], "the last good one");
    }
    // One that holds the configuration only is no way back for the data.
    let mut sets: Vec<BTreeSet<&str>> = good.iter().map(|at| points[*at].covers.iter().map(String::as_str).collect()).collect();
    sets.sort_by_key(|set| Reverse(set.len()));
    let mut told: Vec<usize> = good.first().copied().into_iter().collect();
    for set in sets {
        let last = good.iter().find(|at| set.iter().all(|scope| points[**at].covers.iter().any(|own| own == scope)));
        if let Some(last) = last.filter(|last| !told.contains(last)) {
            let names: Vec<&str> = set.into_iter().collect();
            keep(&mut choices[*last], format!("the last good one that holds {}", names.join(", ")));
            told.push(*last);
        }
    }
    let kinds: BTreeSet<Option<&str>> = counted().map(|at| points[at].kind.as_deref()).collect();
    for kind in kinds {
        let mut of_kind = counted().filter(|at| points[*at].kind.as_deref() == kind);
        let Some(newest) = of_kind.next() else { continue };
        keep(&mut choices[newest], "the newest of its kind");
        if let Some(verified) = of_kind.find(|at| points[*at].verified).filter(|_| !points[newest].verified) {
            keep(&mut choices[verified], "the newest verified one of its kind");
        }
    }
    if let Some(newest) = counted().next().filter(|at| !points[*at].verified) {
        keep(&mut choices[newest], "the newest of all, not verified yet");
    }
    for at in counted() {
        if points[at].pinned {
            keep(&mut choices[at], "pinned");
        }
        if let Some(why) = &points[at].in_use {
            keep(&mut choices[at], why.clone());
        }
    }
}

fn by_kind(points: &[Point], newest_first: &[usize], rules: &Rules, now: Timestamp, choices: &mut [Choice]) {
    let counts = !rules.counts.describe().is_empty();
    for at in newest_first {
        let kind = points[*at].kind.as_deref();
        let choice = &mut choices[*at];
        match kind.and_then(|kind| rules.spans.get(kind)) {
            Some(span) if is_within(&points[*at], *span, now) => {
                keep(choice, age_and_span(&points[*at], *span, now));
                choice.by_rule = true;
            }
            Some(_) => {}
            None if counts && kind.is_some_and(|kind| SERIES.contains(&kind)) => {}
            None => {
                keep(choice, format!("{}: kept for ever, no rule names it", kind.unwrap_or("of no kind")));
                choice.by_rule = true;
            }
        }
    }
}

fn is_within(point: &Point, span: Span, now: Timestamp) -> bool {
    now.checked_sub(span.0).is_ok_and(|limit| point.time >= limit)
}

/// `daily: 3 d old, kept 7 d`
fn age_and_span(point: &Point, span: Span, now: Timestamp) -> String {
    let kind = point.kind.as_deref().unwrap_or_default();
    format!("{kind}: {} old, kept {}", length(seconds_between(point.time, now)), length(span.0.as_secs() as i64))
}

fn by_count(points: &[Point], newest_first: &[usize], rules: &Rules, choices: &mut [Choice]) {
    let mut buckets = rules.counts.buckets();
    // States from before a rollback are no backups; what stays for ever anyway takes nobody's place.
    let is_counted = |point: &Point| {
        let named = point.kind.as_ref().is_some_and(|kind| SERIES.contains(&kind.as_str()) || rules.spans.contains_key(kind));
        point.asked && point.aside.is_none() && !point.damaged && !point.is_safety() && named
    };
    let counted: Vec<usize> = newest_first.iter().copied().filter(|at| is_counted(&points[*at])).collect();
    let Some(latest) = counted.first().map(|at| points[*at].time) else { return };
    for at in &counted {
        let time = points[*at].time;
        let choice = &mut choices[*at];
        if let Some(within) = rules.counts.within
            && latest.checked_sub(within.0).is_ok_and(|limit| time > limit)
        {
            keep(choice, format!("keep-within {within}: {} before the newest", length(seconds_between(time, latest))));
            choice.by_rule = true;
        }
        for bucket in &mut buckets {
            if let Some(why) = bucket.take(time, Some(at) == counted.last()) {
                keep(choice, why);
                choice.by_rule = true;
            }
        }
    }
}

/// What a kept one needs stays too, and what that needs.
fn keep_bases(points: &[Point], newest_first: &[usize], choices: &mut [Choice]) {
    // Of several copies of one snapshot all but one are set aside.
    let (aside, sound): (Vec<usize>, Vec<usize>) = newest_first.iter().partition(|at| points[**at].aside.is_some());
    let by_id: HashMap<&str, usize> = aside.into_iter().chain(sound).map(|at| (points[at].id.as_str(), at)).collect();
    let mut kept: VecDeque<usize> = newest_first.iter().copied().filter(|at| choices[*at].keep).collect();
    let mut users: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    while let Some(user) = kept.pop_front() {
        let Some(base) = points[user].base.as_ref().and_then(|id| by_id.get(id.as_str())) else { continue };
        users.entry(*base).or_default().push(user);
        if !std::mem::replace(&mut choices[*base].keep, true) {
            kept.push_back(*base);
        }
    }
    for (base, users) in users.into_iter().filter(|(base, _)| points[*base].asked && points[*base].aside.is_none()) {
        let first = &points[users[0]];
        let more = if users.len() > 1 { format!(", and of {} more", users.len() - 1) } else { String::new() };
        keep(&mut choices[base], format!("the base of {} {}{more}", first.kind.as_deref().unwrap_or("snapshot"), tail(&first.id)));
    }
}

/// The last six characters of an id, by which people know it.
fn tail(id: &str) -> &str {
    id.char_indices().rev().nth(5).map_or(id, |(at, _)| &id[at..])
}

fn why_not(point: &Point, rules: &Rules, now: Timestamp) -> Vec<String> {
    let span = point.kind.as_ref().and_then(|kind| rules.spans.get(kind));
    let mut reasons: Vec<String> = span.map(|span| age_and_span(point, *span, now)).into_iter().collect();
    let counts = rules.counts.describe();
    if !counts.is_empty() && !point.is_safety() {
        reasons.push(if point.damaged {
            "damaged or without a sound base, so it is not counted".to_owned()
        } else {
            format!("not kept by {counts}")
        });
    }
    reasons
}

/// A length of time in its largest unit, rounded down: `3 d`, `5 h`, `20 min`, `7 s`.
fn length(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (number, unit) = match seconds {
        86_400.. => (seconds / 86_400, "d"),
        3_600.. => (seconds / 3_600, "h"),
        60.. => (seconds / 60, "min"),
        _ => (seconds, "s"),
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests;
