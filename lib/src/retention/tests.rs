//! Tables that a reader can check by hand, and laws.
//!
//! A table has a line for each snapshot: id, time, kind, marks, and after `|` what is expected. Marks: `g` good, `v` verified (good ones are),
//! `x` damaged, `p` pinned, `u` in use, `a` set aside, `n` not asked about, `<ID` needs ID. Times lack the year, 2026, unless they have one.

use super::*;
use proptest::prelude::*;

fn time(text: &str) -> Timestamp {
    let text = if text.len() == 11 { format!("2026-{text}") } else { text.to_owned() };
    format!("{text}:00Z").parse().unwrap()
}

fn point(line: &str) -> Point {
    let mut words = line.split_whitespace();
    let [id, at, kind] = [(); 3].map(|()| words.next().unwrap());
    let mut point = Point { id: id.into(), time: time(at), kind: Some(kind.into()), asked: true, covers: vec!["all".into()], ..Point::default() };
    for mark in words {
        match mark {
            "g" => (point.good, point.verified) = (true, true),
            "v" => point.verified = true,
            "x" => point.damaged = true,
            "p" => point.pinned = true,
            "u" => point.in_use = Some("used".into()),
            "a" => point.aside = Some("aside".into()),
            "n" => point.asked = false,
            other => match (other.strip_prefix('<'), other.strip_prefix("in:"), other.strip_prefix("has:")) {
                (Some(base), ..) => point.base = Some(base.into()),
                (_, Some(ecosystem), _) => point.ecosystem = ecosystem.into(),
                (.., Some(covers)) => point.covers = covers.split('+').map(str::to_owned).collect(),
                _ => panic!("{other} is no mark"),
            },
        }
    }
    point
}

/// Rules as `daily=7d keep-last=3`.
fn rules(text: &str) -> Rules {
    let mut rules = Rules::default();
    for (name, value) in text.split_whitespace().map(|rule| rule.split_once('=').unwrap()) {
        let Some(count) = name.strip_prefix("keep-") else {
            rules.spans.insert(name.into(), value.parse().unwrap());
            continue;
        };
        let counts = &mut rules.counts;
        if count == "within" {
            counts.within = Some(value.parse().unwrap());
            continue;
        }
        let number = Some(value.parse().unwrap());
        match count {
            "last" => counts.last = number,
            "hourly" => counts.hourly = number,
            "daily" => counts.daily = number,
            "weekly" => counts.weekly = number,
            "monthly" => counts.monthly = number,
            "yearly" => counts.yearly = number,
            other => panic!("{other} is no rule"),
        }
    }
    rules
}

#[track_caller]
fn table(now: &str, rules_text: &str, lines: &str) {
    let lines: Vec<(&str, &str)> = lines.lines().filter(|line| !line.trim().is_empty()).map(|line| line.split_once('|').unwrap()).collect();
    let points: Vec<Point> = lines.iter().map(|(line, _)| point(line)).collect();
    let choices = decide(&points, &rules(rules_text), time(now));
    let wanted: Vec<String> = lines.iter().map(|(line, wanted)| format!("{} | {}", line.trim(), wanted.trim())).collect();
    let got: Vec<String> = lines
        .iter()
        .zip(&choices)
        .map(|((line, _), choice)| {
            let word = if choice.aside {
                "aside"
            } else if choice.keep {
                "keep"
            } else {
                "go"
            };
            format!("{} | {word}: {}", line.trim(), choice.reasons.join("; ")).trim_end().to_owned()
        })
        .collect();
    assert_eq!(got.join("\n"), wanted.join("\n"), "(left: what was decided)");
}

#[test]
fn the_schedule_of_the_old_procedures() {
    // Thirty days back from noon of 31 March is noon of 1 March; a year of twelve months of thirty days is 360 days.
    table(
        "03-31T12:00",
        "pre-deployment=30d daily=7d weekly=4w monthly=12mo safety=7d",
        "
        d31 03-31T02:00 daily g          | keep: the last good one; the newest of its kind; daily: 10 h old, kept 7 d
        d24 03-24T12:00 daily g          | keep: daily: 7 d old, kept 7 d
        d23 03-24T11:59 daily g          | go: daily: 7 d old, kept 7 d
        w29 03-29T03:00 weekly g         | keep: the newest of its kind; weekly: 2 d old, kept 28 d
        w08 03-08T03:00 weekly g         | keep: weekly: 23 d old, kept 28 d
        w01 03-01T03:00 weekly g         | go: weekly: 30 d old, kept 28 d
        m03 03-01T04:00 monthly g        | keep: the newest of its kind; monthly: 30 d old, kept 360 d
        m12 2025-04-05T13:00 monthly g   | keep: monthly: 359 d old, kept 360 d
        m11 2025-04-05T11:00 monthly g   | go: monthly: 360 d old, kept 360 d
        p01 03-01T12:00 pre-deployment g | keep: the newest of its kind; pre-deployment: 30 d old, kept 30 d
        p00 03-01T11:59 pre-deployment g | go: pre-deployment: 30 d old, kept 30 d
        s25 03-25T00:00 safety v         | keep: the newest of its kind; safety: 6 d old, kept 7 d
        s20 03-20T00:00 safety v         | go: safety: 11 d old, kept 7 d
        man 2020-01-01T00:00 manual g    | keep: the newest of its kind; manual: kept for ever, no rule names it
        old 2019-01-01T00:00 manual      | keep: manual: kept for ever, no rule names it
        ",
    );
}

#[test]
fn a_schedule_that_stopped_ages_nothing_away() {
    table(
        "12-31T12:00",
        "daily=7d weekly=4w safety=7d",
        "
        d3 03-03T02:00 daily x   | keep: the newest of its kind; the newest of all, not verified yet
        d2 03-02T02:00 daily v   | keep: the newest verified one of its kind
        d1 03-01T02:00 daily g   | keep: the last good one
        d0 02-28T02:00 daily g   | go: daily: 306 d old, kept 7 d
        w1 02-01T02:00 weekly g  | keep: the newest of its kind
        w0 01-01T02:00 weekly g  | go: weekly: 364 d old, kept 28 d
        s1 02-03T02:00 safety v  | keep: the newest of its kind
        s0 02-02T02:00 safety v  | go: safety: 332 d old, kept 7 d
        ",
    );
}

#[test]
fn counts_keep_the_newest_of_each_hour_day_week_month_and_year() {
    // 1 March 2026 is a Sunday, the last day of week 9.
    table(
        "03-02T12:00",
        "keep-hourly=2 keep-daily=2 keep-weekly=2 keep-monthly=2 keep-yearly=2",
        "
        a 03-02T11:30 daily g       | keep: the last good one; the newest of its kind; keep-hourly 2: the newest of 2026-03-02 11:00; keep-daily 2: the newest of 2026-03-02; keep-weekly 2: the newest of 2026-W10; keep-monthly 2: the newest of 2026-03; keep-yearly 2: the newest of 2026
        b 03-02T11:00 daily g       | go: not kept by keep-hourly 2, keep-daily 2, keep-weekly 2, keep-monthly 2, keep-yearly 2
        c 03-02T10:59 daily g       | keep: keep-hourly 2: the newest of 2026-03-02 10:00
        d 03-01T23:00 weekly g      | keep: the newest of its kind; keep-daily 2: the newest of 2026-03-01; keep-weekly 2: the newest of 2026-W09
        e 02-28T23:00 daily g       | keep: keep-monthly 2: the newest of 2026-02
        f 01-31T23:00 daily g       | go: not kept by keep-hourly 2, keep-daily 2, keep-weekly 2, keep-monthly 2, keep-yearly 2
        g 2025-12-31T23:00 daily g  | keep: keep-yearly 2: the newest of 2025
        h 2024-12-31T23:00 daily g  | go: not kept by keep-hourly 2, keep-daily 2, keep-weekly 2, keep-monthly 2, keep-yearly 2
        ",
    );
}

#[test]
fn the_last_so_many_are_sound_ones_and_the_oldest_stays_while_there_are_fewer_buckets() {
    table(
        "03-09T12:00",
        "keep-last=2",
        "
        a 03-09T02:00 daily v   | keep: the newest of its kind; keep-last 2: number 1
        b 03-08T02:00 daily x   | go: damaged or without a sound base, so it is not counted
        c 03-07T02:00 daily g   | keep: the last good one; keep-last 2: number 2
        d 03-06T02:00 daily g   | go: not kept by keep-last 2
        ",
    );
    table(
        "03-09T12:00",
        "keep-daily=3",
        "
        a 03-09T02:00 daily g   | keep: the last good one; the newest of its kind; keep-daily 3: the newest of 2026-03-09
        b 03-08T22:00 daily g   | keep: keep-daily 3: the newest of 2026-03-08
        c 03-08T12:00 daily g   | go: not kept by keep-daily 3
        d 03-08T02:00 daily g   | keep: keep-daily 3: the oldest there is
        ",
    );
}

#[test]
fn weeks_are_those_of_iso_8601_also_over_new_year() {
    // 28 December 2026 to 3 January 2027 are one week, the 53rd of 2026.
    table(
        "2027-01-05T12:00",
        "keep-weekly=2",
        "
        a 2027-01-04T02:00 daily g | keep: the last good one; the newest of its kind; keep-weekly 2: the newest of 2027-W01
        b 2027-01-03T02:00 daily g | keep: keep-weekly 2: the newest of 2026-W53
        c 2026-12-28T02:00 daily g | go: not kept by keep-weekly 2
        d 2026-12-27T02:00 daily g | go: not kept by keep-weekly 2
        ",
    );
}

#[test]
fn within_counts_from_the_newest_and_not_from_now() {
    table(
        "12-31T12:00",
        "keep-within=2d",
        "
        a 03-09T02:00 daily g | keep: the last good one; the newest of its kind; keep-within 2d: 0 s before the newest
        b 03-07T02:01 daily g | keep: keep-within 2d: 1 d before the newest
        c 03-07T02:00 daily g | go: not kept by keep-within 2d
        ",
    );
}

#[test]
fn one_rule_that_keeps_is_enough() {
    table(
        "03-09T12:00",
        "daily=2d keep-weekly=2",
        "
        a 03-09T02:00 daily g   | keep: the last good one; the newest of its kind; daily: 10 h old, kept 2 d; keep-weekly 2: the newest of 2026-W11
        b 03-08T02:00 daily g   | keep: daily: 1 d old, kept 2 d; keep-weekly 2: the newest of 2026-W10
        c 03-07T13:00 daily g   | keep: daily: 1 d old, kept 2 d
        d 03-06T02:00 daily g   | go: daily: 3 d old, kept 2 d; not kept by keep-weekly 2
        ",
    );
}

#[test]
fn what_no_rule_names_stays_for_ever_and_takes_nobodys_place() {
    table(
        "12-09T12:00",
        "keep-last=1 safety=7d",
        "
        m 12-09T02:00 manual g       | keep: the last good one; the newest of its kind; manual: kept for ever, no rule names it
        n 03-09T02:00 manual g       | keep: manual: kept for ever, no rule names it
        s 12-08T02:00 safety v       | keep: the newest of its kind; safety: 1 d old, kept 7 d
        h 12-07T02:00 hourly g       | keep: the newest of its kind; hourly: kept for ever, no rule names it
        a 12-06T02:00 daily g        | keep: the newest of its kind; keep-last 1: number 1
        b 12-05T02:00 daily g        | go: not kept by keep-last 1
        ",
    );
    table(
        "12-09T12:00",
        "manual=1d keep-last=1",
        "
        m 12-07T02:00 manual g       | keep: the last good one; the newest of its kind; keep-last 1: number 1
        n 12-06T02:00 manual g       | go: manual: 3 d old, kept 1 d; not kept by keep-last 1
        ",
    );
}

#[test]
fn a_base_stays_for_what_stays_and_goes_when_all_of_that_goes() {
    table(
        "03-31T12:00",
        "daily=7d weekly=4w",
        "
        newest-daily-d2222 03-31T02:00 daily g <w2 | keep: the last good one; the newest of its kind; daily: 10 h old, kept 7 d
        daily-d1111 03-30T02:00 daily g <w2        | keep: daily: 1 d old, kept 7 d
        w3 03-29T02:00 weekly g                    | keep: the newest of its kind; weekly: 2 d old, kept 28 d
        w2 01-29T02:00 weekly g                    | keep: the base of daily -d2222, and of 1 more
        d1 01-09T02:00 daily g <w1                 | go: daily: 81 d old, kept 7 d
        w1 01-08T02:00 weekly g                    | go: weekly: 82 d old, kept 28 d
        ",
    );
    // Also for one that is pinned, set aside, or not asked about.
    table(
        "12-31T12:00",
        "daily=7d weekly=4w",
        "
        w9 12-29T02:00 weekly g       | keep: the last good one; the newest of its kind; weekly: 2 d old, kept 28 d
        d9 12-28T02:00 daily g        | keep: the newest of its kind; daily: 3 d old, kept 7 d
        d3 03-03T02:00 daily g p <w3  | keep: pinned
        w3 03-03T01:00 weekly g       | keep: the base of daily d3
        d2 03-02T02:00 daily g a <w2  | aside: aside
        w2 03-02T01:00 weekly g       | keep: the base of daily d2
        d1 03-01T02:00 daily g n <w1  | keep:
        w1 03-01T01:00 weekly g       | keep: the base of daily d1
        w0 02-01T01:00 weekly g u     | keep: used
        ",
    );
}

#[test]
fn ecosystems_are_never_mixed() {
    table(
        "03-09T12:00",
        "keep-last=1",
        "
        a 03-09T02:00 daily g in:shop | keep: the last good one; the newest of its kind; keep-last 1: number 1
        b 03-08T02:00 daily g in:shop | go: not kept by keep-last 1
        c 01-09T02:00 daily g in:mail | keep: the last good one; the newest of its kind; keep-last 1: number 1
        d 01-08T02:00 daily g in:mail | go: not kept by keep-last 1
        ",
    );
}

#[test]
fn the_last_good_one_of_the_settings_is_no_way_back_for_the_data() {
    table(
        "12-09T12:00",
        "daily=1d weekly=1d",
        "
        a 03-09T02:00 weekly g has:config          | keep: the last good one; the newest of its kind
        b 03-08T02:00 daily v has:config+data      | keep: the newest of its kind
        c 03-07T02:00 daily g has:config+data      | keep: the last good one that holds config, data
        d 03-06T02:00 daily g has:data             | go: daily: 278 d old, kept 1 d
        e 03-05T02:00 daily g has:config+data      | go: daily: 279 d old, kept 1 d
        ",
    );
}

#[test]
fn what_was_not_asked_about_protects_and_is_not_counted() {
    table(
        "03-09T12:00",
        "keep-last=1",
        "
        a 03-09T02:00 weekly g n | keep:
        b 03-08T02:00 daily g n  | keep:
        c 03-07T02:00 daily g    | keep: keep-last 1: number 1
        d 03-06T02:00 daily g    | go: not kept by keep-last 1
        ",
    );
}

#[test]
fn zero_switches_a_rule_off_and_flags_win_over_the_file() {
    let file = Counts { last: Some(3), daily: Some(7), ..Counts::default() };
    let flags = Counts { last: Some(0), within: Some(Span::seconds(60)), ..Counts::default() };
    assert_eq!(flags.or(file).describe(), "keep-daily 7, keep-within 1m");
    assert_eq!(Counts::default().describe(), "");
}

/// Snapshots of one ecosystem over two years, differential ones with a base among them.
fn some_points() -> impl Strategy<Value = Vec<Point>> {
    let kinds = prop::sample::select(vec!["manual", "pre-deployment", "daily", "weekly", "monthly", "safety", "other"]);
    let marks = prop::collection::vec(prop::bool::weighted(0.2), 5);
    let one = (0..2 * 365 * 24u64, kinds, marks, prop::option::weighted(0.4, 0..60usize), any::<bool>(), any::<bool>());
    prop::collection::vec(one, 1..60).prop_map(|all| {
        let start = time("2024-01-01T00:00");
        let mut points: Vec<Point> = all
            .iter()
            .enumerate()
            .map(|(at, (hour, kind, marks, ..))| Point {
                id: format!("{at}"),
                time: start + std::time::Duration::from_secs(hour * 3600 + at as u64),
                kind: Some((*kind).into()),
                pinned: marks[0],
                in_use: marks[1].then(|| "used".into()),
                aside: marks[2].then(|| "aside".into()),
                damaged: marks[3],
                asked: !marks[4],
                ..Point::default()
            })
            .collect();
        for (at, (.., base, good, verified)) in all.iter().enumerate() {
            let sound = !points[at].damaged;
            (points[at].good, points[at].verified) = (*good && sound, (*good || *verified) && sound);
            points[at].covers = if *verified { vec!["config".into()] } else { vec!["config".into(), "data".into()] };
            points[at].base = base.filter(|base| *base < all.len() && *base != at && all[*base].3.is_none()).map(|base| base.to_string());
        }
        points
    })
}

fn some_rules() -> impl Strategy<Value = Rules> {
    let count = || prop::option::of(0..5u32);
    let span = || prop::option::of((1..200u64).prop_map(|days| Span::seconds(days * 86_400)));
    let counts = (count(), count(), count(), count(), count(), count(), span());
    (prop::collection::vec(span(), 6), counts).prop_map(|(spans, (last, hourly, daily, weekly, monthly, yearly, within))| Rules {
        spans: ["manual", "pre-deployment", "daily", "weekly", "monthly", "safety"]
            .into_iter()
            .zip(spans)
            .filter_map(|(kind, span)| Some((kind.to_owned(), span?)))
            .collect(),
        counts: Counts { last, hourly, daily, weekly, monthly, yearly, within },
    })
}

const NOW: &str = "2026-01-01T00:00";

/// The newest of each of the newest so many groups, found by sorting.
fn newest_of_groups<'a>(counted: &[&'a Point], count: u32, group: impl Fn(&Point) -> String) -> Vec<&'a str> {
    let mut groups: BTreeMap<String, &Point> = BTreeMap::new();
    for point in counted {
        let newest = groups.entry(group(point)).or_insert(point);
        if point.time > newest.time {
            *newest = point;
        }
    }
    let mut newest: Vec<&Point> = groups.into_values().collect();
    newest.sort_by_key(|point| std::cmp::Reverse(point.time));
    newest.into_iter().take(count as usize).map(|point| point.id.as_str()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_goes_that_a_rule_or_a_promise_keeps(points in some_points(), rules in some_rules()) {
        let now = time(NOW);
        let choices = decide(&points, &rules, now);
        let stays: BTreeMap<&str, bool> = points.iter().zip(&choices).map(|(point, choice)| (point.id.as_str(), choice.keep)).collect();
        let kind = |point: &Point| point.kind.clone().unwrap();
        for point in &points {
            let id = point.id.as_str();
            if point.pinned || point.in_use.is_some() || point.aside.is_some() || !point.asked || kind(point) == "other" {
                prop_assert!(stays[id], "{point:?}");
            }
            if let Some(span) = rules.spans.get(&kind(point)) {
                prop_assert!(stays[id] || point.time.as_second() + (span.0.as_secs() as i64) < now.as_second(), "{point:?}");
            } else if ["manual", "safety"].contains(&kind(point).as_str()) {
                prop_assert!(stays[id], "{point:?}");
            }
            if let Some(base) = point.base.as_ref().filter(|_| stays[id]) {
                prop_assert!(stays[base.as_str()], "{base} is the base of {point:?}");
            }
        }
        // What somebody would have in mind who promised to keep the last good one.
        let seen: Vec<&Point> = points.iter().filter(|point| point.aside.is_none()).collect();
        let newest = |fits: &dyn Fn(&Point) -> bool| seen.iter().filter(|point| fits(point)).max_by_key(|point| point.time).map(|point| point.id.as_str());
        let mut promised = vec![
            newest(&|point| point.good && kind(point) != "safety"),
            newest(&|point| point.good && kind(point) != "safety" && point.covers.len() == 2),
            newest(&|point| !point.verified && seen.iter().all(|other| other.time <= point.time)),
        ];
        for point in &seen {
            promised.push(newest(&|other| kind(other) == kind(point)));
            promised.push(newest(&|other| kind(other) == kind(point) && other.verified));
        }
        for id in promised.into_iter().flatten() {
            prop_assert!(stays[id], "{id} was promised");
        }
        let series = |point: &Point| kind(point) != "safety" && kind(point) != "other" && (kind(point) != "manual" || rules.spans.contains_key("manual"));
        let counted: Vec<&Point> = seen.iter().copied().filter(|point| point.asked && !point.damaged && series(point)).collect();
        let utc = |point: &Point| point.time.to_string();
        let day = |point: &Point| point.time.as_second().div_euclid(86_400);
        let counts = rules.counts;
        let kept = [
            newest_of_groups(&counted, counts.last.unwrap_or(0), |point| point.id.clone()),
            newest_of_groups(&counted, counts.hourly.unwrap_or(0), |point| utc(point)[..13].to_owned()),
            newest_of_groups(&counted, counts.daily.unwrap_or(0), |point| utc(point)[..10].to_owned()),
            // Weeks begin on Mondays, and 1970 began on a Thursday.
            newest_of_groups(&counted, counts.weekly.unwrap_or(0), |point| (day(point) + 3).div_euclid(7).to_string()),
            newest_of_groups(&counted, counts.monthly.unwrap_or(0), |point| utc(point)[..7].to_owned()),
            newest_of_groups(&counted, counts.yearly.unwrap_or(0), |point| utc(point)[..4].to_owned()),
        ];
        for id in kept.concat() {
            prop_assert!(stays[id], "{id} is counted");
        }
        if let (Some(within), Some(newest)) = (counts.within, counted.iter().map(|point| point.time).max()) {
            for point in counted.iter().filter(|point| newest.duration_since(point.time).as_secs() < within.0.as_secs() as i64) {
                prop_assert!(stays[point.id.as_str()], "{point:?}");
            }
        }
    }

    #[test]
    fn what_goes_was_asked_about_and_every_answer_has_a_reason(points in some_points(), rules in some_rules()) {
        for (point, choice) in points.iter().zip(decide(&points, &rules, time(NOW))) {
            prop_assert!(choice.keep || point.asked);
            prop_assert_eq!(choice.reasons.is_empty(), !point.asked, "{:?} {:?}", point, choice);
        }
    }

    #[test]
    fn removing_all_or_a_part_of_what_may_go_changes_no_other_decision(points in some_points(), rules in some_rules(), part in prop::collection::vec(any::<bool>(), 60)) {
        let choices = decide(&points, &rules, time(NOW));
        let both = points.iter().zip(&choices);
        let left: Vec<(Point, bool)> = both.zip(&part).filter(|((_, choice), goes)| choice.keep || !**goes).map(|((p, c), _)| (p.clone(), c.keep)).collect();
        let (left, before): (Vec<Point>, Vec<bool>) = left.into_iter().unzip();
        let after: Vec<bool> = decide(&left, &rules, time(NOW)).into_iter().map(|choice| choice.keep).collect();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn the_order_in_which_they_come_does_not_matter(points in some_points(), rules in some_rules()) {
        let there = decide(&points, &rules, time(NOW));
        let turned: Vec<Point> = points.iter().rev().cloned().collect();
        let back: Vec<Choice> = decide(&turned, &rules, time(NOW)).into_iter().rev().collect();
        prop_assert_eq!(there, back);
    }
}
