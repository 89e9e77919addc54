//! The states and what moves between them, one table or one story at a time.

use super::*;
use crate::record::{Action, Change, Health, Operator, Reading, Restore, Scope, Severity};
use jiff::SignedDuration;

const THREE: &str = r#"
set = "set {percentage}"
gate = "gate"
rollback = "back"
[[phase]]
name = "canary"
percentage = 10
duration = "2h"
rollback_on_error_rate = 0.05
[[phase]]
name = "staged"
percentage = 50
duration = "4h"
rollback_on_error_rate = 0.03
[[phase]]
name = "full"
percentage = 100
rollback_on_error_rate = 0.02
"#;

/// A pilot at the stick, and all that came of it.
struct Story {
    pilot: Pilot,
    minute: i64,
    /// `time version phase state exposure notes`, and decisions as `time action notes`.
    said: Vec<String>,
    orders: Vec<String>,
    fails: Vec<&'static str>,
}

fn at(seconds: i64) -> Timestamp {
    "2026-03-01T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

impl Story {
    fn new(plan: &str) -> Story {
        Story { pilot: Pilot::new(toml::from_str(plan).unwrap(), None), minute: 0, said: Vec::new(), orders: Vec::new(), fails: Vec::new() }
    }

    /// Started at ten, with the traffic of both versions from then on.
    fn started() -> Story {
        let mut story = Story::new(THREE);
        story.start("v1");
        story
    }

    fn tell(&mut self, record: impl Into<Record>) -> &mut Story {
        let stamp = Stamp { time: at(self.minute * 60), ..Stamp::default() };
        let steps = self.pilot.feed(&stamp, &record.into());
        self.follow(steps)
    }

    fn follow(&mut self, mut steps: Vec<Step>) -> &mut Story {
        while !steps.is_empty() {
            for step in std::mem::take(&mut steps) {
                match step {
                    Step::Write(time, record) => self.said.push(words(time, &record)),
                    Step::Say(_) => {}
                    Step::Do(order) => {
                        let word = match &order {
                            Order::Set(percentage) => format!("set {percentage}"),
                            Order::Gate { .. } => "gate".into(),
                            Order::RollBack(_, decision) => format!("back {}", decision.id),
                        };
                        let failed = self.fails.iter().any(|fails| word.starts_with(fails));
                        self.orders.push(word);
                        steps = self.pilot.ended(if failed { Err("it failed".into()) } else { Ok(()) });
                    }
                }
            }
        }
        self
    }

    fn start(&mut self, version: &str) -> &mut Story {
        let start = start("r1".into(), version.into(), "module:planner".parse().unwrap()).unwrap();
        self.tell(start)
    }

    /// So many minutes in which of a hundred requests of each version so many fail.
    fn minutes(&mut self, count: i64, canary: f64, stable: f64) -> &mut Story {
        for _ in 0..count {
            self.tell(traffic("canary", 100.0, canary));
            self.tell(traffic("stable", 100.0, stable));
            self.minute += 1;
        }
        self
    }

    fn word(&mut self, verb: &str) -> &mut Story {
        self.tell(Operator { verb: verb.into(), ..Operator::default() })
    }

    /// The states since the last time, without their times.
    fn states(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.said);
        said.iter().filter(|line| !line.contains(" decision ")).map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    fn orders(&mut self) -> Vec<String> {
        std::mem::take(&mut self.orders)
    }
}

fn words(time: Timestamp, record: &Record) -> String {
    match record {
        Record::Rollout(body) => {
            let phase = body.phase.as_deref().unwrap_or("-");
            let line =
                format!("{} {} {phase} {} {} {}", time.strftime("%H:%M"), body.version, body.state, body.exposure.unwrap(), body.notes.join(","));
            line.trim_end().to_owned()
        }
        Record::Decision(body) => {
            let action = match body.action {
                Action::Propose => "propose",
                Action::Rollback => "rollback",
                Action::Escalate => "escalate",
                _ => "other",
            };
            let again = if body.overdue {
                " overdue"
            } else if body.reminder {
                " reminder"
            } else {
                ""
            };
            format!("{} decision {action} {}{again}", time.strftime("%H:%M"), body.notes.join(","))
        }
        other => panic!("{other:?}"),
    }
}

fn traffic(cohort: &str, requests: f64, errors: f64) -> Health {
    Health {
        up: Reading::Known(true),
        cohort: Some(cohort.into()),
        requests: Reading::Known(requests),
        error_rate: Reading::Known(errors / requests),
        ..Health::default()
    }
}

fn down(cohort: &str) -> Health {
    Health { up: Reading::Known(false), cohort: Some(cohort.into()), ..Health::default() }
}

#[test]
fn a_version_without_fault_gets_all_the_traffic_step_by_step() {
    let mut story = Story::started();
    story.minutes(2 * 60 + 4 * 60 + 24 * 60 + 1, 1.0, 1.0);
    assert_eq!(story.said, ["10:00 v1 canary canary 10", "12:00 v1 staged staged 50", "16:00 v1 full full 100", "16:00 v1 full done 100"]);
    assert_eq!(story.orders, ["gate", "set 10", "set 50", "set 100"]);
}

#[test]
fn each_limit_is_the_phases_own_and_proof_takes_what_it_takes() {
    // Errors of a hundred a minute, from the fourth minute of the phase on: when it ends, and why.
    for (errors, ends) in [(5.0, None), (6.0, Some("sustained")), (15.0, Some("sustained")), (16.0, Some("fast")), (100.0, Some("fast"))] {
        let mut story = Story::started();
        story.minutes(10, errors, 0.0);
        let states = story.states();
        let back = |why| format!("v1 canary rolling_back 0 {why}");
        assert_eq!(states.get(1).cloned(), ends.map(back), "{errors}: {states:?}");
    }
    // What is good enough for the canary is not for more.
    let mut story = Story::started();
    story.minutes(120, 1.0, 0.0).minutes(10, 4.0, 0.0);
    assert_eq!(story.states()[1..3], ["v1 staged staged 50", "v1 staged rolling_back 0 sustained"]);
}

#[test]
fn the_first_minutes_of_a_phase_are_not_judged() {
    let mut story = Story::started();
    story.minutes(2, 100.0, 0.0).minutes(30, 1.0, 0.0);
    assert_eq!(story.states(), ["v1 canary canary 10"]);
}

#[test]
fn few_requests_prove_nothing_however_bad_they_are() {
    let mut story = Story::started();
    for _ in 0..30 {
        story.tell(traffic("canary", 1.0, 1.0));
        story.minute += 1;
    }
    // Twenty-eight of twenty-eight failed, but three samples never had twenty requests, nor all of them sixty.
    assert_eq!(story.states(), ["v1 canary canary 10"]);
    for _ in 0..40 {
        story.tell(traffic("canary", 1.0, 1.0));
        story.minute += 1;
    }
    assert_eq!(story.states(), ["v1 canary rolling_back 0 sustained", "v1 canary rolled_back 0 sustained"]);
}

#[test]
fn a_cause_that_both_versions_share_rolls_nothing_back() {
    let mut story = Story::started();
    story.minutes(20, 1.0, 1.0).minutes(30, 8.0, 8.0);
    assert_eq!(story.states(), ["v1 canary canary 10", "v1 canary paused 10 shared-cause"]);
    // Once it is the new version's own, the pause does not protect it.
    story.minutes(10, 30.0, 8.0);
    assert_eq!(story.states(), ["v1 canary rolling_back 0 fast", "v1 canary rolled_back 0 fast"]);
}

#[test]
fn a_canary_that_is_down_is_taken_back_unless_everything_is_down() {
    let mut story = Story::started();
    story.minutes(10, 1.0, 1.0);
    for _ in 0..3 {
        story.tell(down("canary")).tell(traffic("stable", 100.0, 1.0));
        story.minute += 1;
    }
    assert_eq!(story.states()[1..], ["v1 canary rolling_back 0 down", "v1 canary rolled_back 0 down"]);
    let mut story = Story::started();
    story.minutes(10, 1.0, 1.0);
    for _ in 0..5 {
        story.tell(down("stable")).tell(down("canary"));
        story.minute += 1;
    }
    assert_eq!(story.states()[1..], ["v1 canary paused 10 shared-cause"]);
}

#[test]
fn no_traffic_goes_to_an_old_version_that_is_down() {
    let mut story = Story::started();
    story.minutes(10, 1.0, 1.0).orders();
    for _ in 0..3 {
        story.tell(down("stable")).tell(traffic("canary", 100.0, 50.0));
        story.minute += 1;
    }
    assert_eq!(story.states()[1..], ["v1 canary rolling_back 10 fast", "v1 canary stuck 10 stable-down"]);
    assert_eq!(story.orders(), [""; 0]);
    assert!(story.pilot.is_stuck());
}

#[test]
fn what_was_known_of_the_old_version_long_ago_protects_nobody_now() {
    let all_at_once = THREE.replace("percentage = 10", "percentage = 100");
    let mut story = Story::new(all_at_once.split("[[phase]]\nname = \"staged\"").next().unwrap());
    story.start("v1").minutes(10, 1.0, 9.0).tell(down("stable"));
    for _ in 0..20 {
        story.tell(traffic("canary", 100.0, 1.0));
        story.minute += 1;
    }
    for _ in 0..3 {
        story.tell(traffic("canary", 100.0, 60.0));
        story.minute += 1;
    }
    assert_eq!(story.states()[1..], ["v1 canary rolling_back 0 fast", "v1 canary rolled_back 0 fast"]);
}

#[test]
fn time_without_samples_does_not_count() {
    let mut story = Story::started();
    story.minutes(60, 1.0, 1.0);
    story.minute += 10;
    // One hour is left, whatever the clock says; the minutes of the gap are not among them.
    story.minutes(60, 1.0, 1.0);
    assert_eq!(story.states(), ["v1 canary canary 10"]);
    story.minutes(2, 1.0, 1.0);
    assert_eq!(story.states(), ["v1 staged staged 50"]);
}

#[test]
fn silence_of_the_new_version_pauses_when_it_has_lasted_long_enough() {
    let mut story = Story::started();
    story.minutes(5, 1.0, 1.0);
    for _ in 0..30 {
        story.tell(traffic("stable", 100.0, 1.0));
        story.minute += 1;
    }
    assert_eq!(story.said, ["10:00 v1 canary canary 10", "10:19 v1 canary paused 10 no-data", "10:19 decision propose no-data,store,rollout"]);
    // A prober that cannot tell is as good as silent.
    let mut story = Story::started();
    for _ in 0..20 {
        story.tell(Health { cohort: Some("canary".into()), ..Health::default() });
        story.minute += 1;
    }
    assert_eq!(story.states()[1..], ["v1 canary paused 10 no-data"]);
}

#[test]
fn holding_ends_by_itself_once_there_is_evidence() {
    let mut story = Story::started();
    // One request in three minutes: sixty take three hours.
    for minute in 0..190 {
        story.tell(traffic("canary", if minute % 3 == 0 { 1.0 } else { 0.0 }, 0.0).with_rate());
        story.minute += 1;
    }
    assert_eq!(story.states(), ["v1 canary canary 10", "v1 canary holding 10", "v1 staged staged 50"]);
}

#[test]
fn who_goes_on_after_an_inconclusive_phase_gives_it_the_same_time_again() {
    let mut story = Story::started();
    let quiet = |story: &mut Story, minutes: i64| {
        for _ in 0..minutes {
            story.tell(traffic("canary", 0.0, 0.0).with_rate());
            story.minute += 1;
        }
    };
    quiet(&mut story, 250);
    assert_eq!(story.states(), ["v1 canary canary 10", "v1 canary holding 10", "v1 canary paused 10 inconclusive"]);
    story.word("resume");
    quiet(&mut story, 100);
    assert_eq!(story.states(), ["v1 canary canary 10", "v1 canary holding 10"]);
    quiet(&mut story, 30);
    assert_eq!(story.states(), ["v1 canary paused 10 inconclusive"]);
}

#[test]
fn an_operators_words_in_each_state() {
    for (words, states) in [
        (&["hold"][..], &["paused 10 operator"][..]),
        (&["hold", "hold"], &["paused 10 operator"]),
        (&["hold", "resume"], &["paused 10 operator", "canary 10"]),
        (&["hold", "approve"], &["paused 10 operator", "canary 10"]),
        (&["hold", "reject"], &["paused 10 operator", "rolling_back 0 operator", "rolled_back 0 operator"]),
        (&["reject"], &["rolling_back 0 operator", "rolled_back 0 operator"]),
        (&["reject", "resume", "hold"], &["rolling_back 0 operator", "rolled_back 0 operator"]),
        (&["resume"], &[]),
        (&["approve"], &[]),
        (&["resolve"], &[]),
    ] {
        let mut story = Story::started();
        story.minutes(5, 1.0, 1.0).states();
        for word in words {
            story.word(word);
        }
        assert_eq!(story.states(), states.iter().map(|state| format!("v1 canary {state}")).collect::<Vec<_>>(), "{words:?}");
    }
}

#[test]
fn a_hold_with_an_end_ends_by_itself_and_did_not_cost_any_time() {
    let mut story = Story::started();
    story.minutes(60, 1.0, 1.0);
    story.tell(Operator { verb: "hold".into(), until: Some(at(90 * 60)), ..Operator::default() });
    story.minutes(92, 1.0, 1.0);
    assert_eq!(
        story.said[1..4],
        ["11:00 v1 canary paused 10 operator", "11:00 decision propose operator,store,rollout", "11:30 v1 canary canary 10"]
    );
    // Fifty-nine minutes lie between the samples before the hold; the rest follows it.
    assert_eq!(story.said[4..], ["12:31 v1 staged staged 50"]);
}

#[test]
fn an_answer_to_somebody_elses_question_is_none_to_ours() {
    let mut story = Story::started();
    story.minutes(5, 1.0, 1.0);
    story.tell(other("d1", Action::Propose, Scope::Full)).word("reject");
    assert_eq!(story.states(), ["v1 canary canary 10"]);
    story.tell(Operator { verb: "reject".into(), decision: Some("d1".into()), ..Operator::default() });
    assert_eq!(story.states(), [""; 0]);
    story.word("hold").word("reject");
    assert_eq!(story.states().last().unwrap(), "v1 canary rolled_back 0 operator");
}

fn other(id: &str, action: Action, scope: Scope) -> Decision {
    Decision { id: id.into(), incident: "i".into(), scope: Some(scope), snapshot: Some("p2".into()), ..Decision::new(Severity::High, action) }
}

#[test]
fn a_decision_about_the_target_is_carried_out_as_it_is_and_once() {
    let mut story = Story::started();
    story.minutes(5, 1.0, 1.0);
    story.tell(other("d1", Action::Rollback, "module:ui".parse().unwrap())).tell(other("d2", Action::Propose, "module:planner".parse().unwrap()));
    assert_eq!(story.states(), ["v1 canary canary 10"]);
    let decision = other("d3", Action::Rollback, "module:planner".parse().unwrap());
    story.orders();
    story.tell(decision.clone()).tell(decision);
    // No second decision is written: both would be carried out.
    assert!(!story.said.iter().any(|line| line.contains(" decision rollback")), "{:?}", story.said);
    assert_eq!(story.states(), ["v1 canary rolling_back 0 decision", "v1 canary rolled_back 0 decision"]);
    assert_eq!(story.orders(), ["set 0", "back d3"]);
}

#[test]
fn a_version_that_was_rolled_back_is_refused_until_it_is_released() {
    let mut story = Story::started();
    story.minutes(10, 50.0, 0.0).states();
    story.orders();
    story.start("v1");
    assert_eq!((story.states(), story.orders()), (vec!["v1 - refused 0 quarantined".to_owned()], vec![]));
    story.start("v2").minutes(3, 1.0, 1.0).start("v1");
    assert_eq!(story.states(), ["v2 canary canary 10", "v1 - refused 0 quarantined"]);
    assert_eq!(story.orders(), ["gate", "set 10", "set 0"]);
    story.tell(Operator { verb: "release".into(), version: Some("v1".into()), ..Operator::default() }).start("v1");
    assert_eq!(story.states(), ["v1 canary canary 10"]);
}

#[test]
fn a_newer_version_begins_again_at_the_canary() {
    let mut story = Story::started();
    story.minutes(121, 1.0, 1.0);
    assert_eq!(story.states(), ["v1 canary canary 10", "v1 staged staged 50"]);
    story.start("v2").start("v2");
    assert_eq!(
        (story.states(), story.orders()),
        (vec!["v2 canary canary 10".into()], ["gate", "set 10", "set 50", "gate", "set 10"].map(String::from).to_vec())
    );
    // A gate that stays closed must not leave an untested version with the traffic of another.
    story.fails = vec!["gate"];
    story.start("v3");
    assert_eq!((story.states(), story.orders()), (vec!["v3 - refused 0 gate".into()], ["gate", "set 0"].map(String::from).to_vec()));
}

#[test]
fn the_stable_version_is_the_last_one_that_was_done() {
    let mut story = Story::new(&THREE.replace("rollback_on_error_rate = 0.02", "duration = \"1h\"\nrollback_on_error_rate = 0.02"));
    story.start("v1").minutes(8 * 60, 1.0, 1.0);
    assert!(story.said.last().unwrap().contains("v1 full done 100"));
    let start = start("r2".into(), "v2".into(), "module:planner".parse().unwrap()).unwrap();
    let steps = story.pilot.feed(&Stamp { time: at(story.minute * 60), ..Stamp::default() }, &start.into());
    let gate = steps.iter().find_map(|step| if let Step::Do(Order::Gate { start: (_, body), .. }) = step { Some(body) } else { None }).unwrap();
    assert_eq!((gate.stable.as_deref(), gate.exposure), (Some("v1"), Some(0.0)));
}

#[test]
fn every_command_that_fails_ends_where_no_harm_is_done() {
    for (fails, states, orders) in [
        (&["gate"][..], &["- refused 0 gate"][..], &["gate"][..]),
        (&["set 10"], &["- refused 0 set-failed"], &["gate", "set 10", "set 0"]),
        (&["set"], &["- stuck 0 set-failed"], &["gate", "set 10", "set 0"]),
    ] {
        let mut story = Story::new(THREE);
        story.fails = fails.to_vec();
        story.start("v1");
        assert_eq!(story.states(), states.iter().map(|state| format!("v1 {state}")).collect::<Vec<_>>());
        assert_eq!(story.orders(), orders);
    }
    for (fails, states, orders) in [
        (&["set 0"][..], &["rolling_back 0 fast", "stuck 10 set-failed"][..], &["set 0"][..]),
        (&["back"], &["rolling_back 0 fast", "stuck 0 rollback-failed"], &["set 0", "back rollout-r1-20260301T100400Z-rollback"]),
    ] {
        let mut story = Story::started();
        story.orders();
        story.fails = fails.to_vec();
        story.minutes(10, 50.0, 0.0);
        assert_eq!(story.states()[1..], states.iter().map(|state| format!("v1 canary {state}")).collect::<Vec<_>>());
        assert_eq!(story.orders(), orders);
        // A person who has mended the command has it tried again.
        story.fails.clear();
        story.word("reject");
        assert_eq!(story.states().last().unwrap(), "v1 canary rolled_back 0 operator");
    }
}

#[test]
fn a_promotion_that_cannot_be_set_keeps_what_the_version_had() {
    let mut story = Story::started();
    story.fails = vec!["set 50"];
    story.minutes(121, 1.0, 1.0);
    assert_eq!(story.states(), ["v1 canary canary 10", "v1 canary paused 10 set-failed"]);
    assert_eq!(story.orders(), ["gate", "set 10", "set 50", "set 10"]);
    story.fails.clear();
    story.word("resume");
    assert_eq!(story.states(), ["v1 canary canary 10", "v1 staged staged 50"]);
}

#[test]
fn without_a_rollback_command_somebody_elses_restore_decides() {
    let restore = |phase: &str, scope: &str| Restore { phase: phase.into(), scope: scope.into(), ..Restore::default() };
    for (phase, scope, last) in [
        ("completed", "module:planner", "rolled_back 0 fast"),
        ("completed", "full", "rolled_back 0 fast"),
        ("completed", "config,module:planner", "rolled_back 0 fast"),
        ("failed", "module:planner", "stuck 0 rollback-failed"),
        ("reverted", "full", "stuck 0 rollback-failed"),
        ("started", "module:planner", "rolling_back 0 fast"),
        ("completed", "module:ui", "rolling_back 0 fast"),
    ] {
        let mut story = Story::new(&THREE.replace("rollback = \"back\"", ""));
        story.start("v1").minutes(20, 50.0, 0.0);
        assert_eq!(story.said.last().unwrap().split(' ').nth(1), Some("decision"));
        story.tell(restore(phase, scope));
        assert_eq!(story.states().last().unwrap(), &format!("v1 canary {last}"), "{phase} {scope}");
        assert_eq!(story.orders(), ["gate", "set 10", "set 0"]);
    }
}

#[test]
fn a_version_that_somebody_else_took_away_goes_no_further() {
    let mut story = Story::started();
    story.minutes(5, 1.0, 1.0).orders();
    story.tell(Restore { phase: "completed".into(), scope: "full".into(), ..Restore::default() });
    assert_eq!(story.states()[1..], ["v1 canary rolling_back 0 restored", "v1 canary rolled_back 0 restored"]);
    assert_eq!(story.orders(), ["set 0"]);
}

#[test]
fn a_rollback_goes_back_before_the_change_that_brought_the_version() {
    for (before_min, cut_min) in [(5, -5), (119, -119), (121, 0)] {
        let mut story = Story::new(THREE);
        story.minute = -before_min;
        story.tell(Change { target: "module:planner".into(), ..Change::default() });
        story.minute = 0;
        let start = start("r1".into(), "v1".into(), "module:planner".parse().unwrap()).unwrap();
        story.tell(start).minutes(4, 50.0, 0.0);
        let stamp = Stamp { time: at(240), ..Stamp::default() };
        let steps = story.pilot.feed(&stamp, &traffic("canary", 100.0, 50.0).into());
        let decision = steps.iter().find_map(|step| match step {
            Step::Write(_, record) => {
                if let Record::Decision(decision) = &**record {
                    Some(decision.clone())
                } else {
                    None
                }
            }
            _ => None,
        });
        assert_eq!(decision.unwrap().cut, Some(at(cut_min * 60)));
    }
}

#[test]
fn a_record_of_any_state_is_where_to_go_on() {
    for (state, phase, exposure, orders, states) in [
        ("canary", Some("canary"), Some(10.0), &["set 10"][..], &[][..]),
        ("staged", Some("staged"), None, &["set 50"], &[]),
        ("canary", Some("canary"), Some(100.0), &["set 10"], &[]),
        ("holding", Some("staged"), Some(50.0), &["set 50"], &[]),
        ("paused", Some("full"), Some(100.0), &["set 100"], &[]),
        ("rolling_back", Some("canary"), Some(0.0), &["set 0", "back rollout-r1-20260301T100000Z-rollback"], &["canary rolled_back 0"]),
        ("rolled_back", Some("canary"), Some(0.0), &[], &[]),
        ("stuck", Some("canary"), Some(10.0), &[], &[]),
        ("refused", None, Some(0.0), &[], &[]),
        ("done", Some("full"), Some(100.0), &[], &[]),
        ("beta", Some("beta"), Some(10.0), &[], &[]),
    ] {
        let mut story = Story::new(THREE);
        let body = start("r1".into(), "v1".into(), "module:planner".parse().unwrap()).unwrap();
        story.tell(Rollout { state: state.into(), phase: phase.map(String::from), exposure, since: Some(at(-3600)), ..body });
        assert_eq!(story.orders(), orders, "{state}");
        assert_eq!(story.states(), states.iter().map(|state| format!("v1 {state}")).collect::<Vec<_>>(), "{state}");
        // Whatever has failed stays out, also after a restart.
        story.minute += 1;
        story.start("v1");
        let refused = matches!(state, "rolling_back" | "rolled_back" | "stuck");
        assert_eq!(story.states().last().is_some_and(|last| last.contains("quarantined")), refused, "{state}");
    }
}

#[test]
fn a_crash_while_the_gate_is_asked_about_a_newer_version_leaves_it_no_traffic() {
    let mut story = Story::new(THREE);
    let body = |version: &str| start("r1".into(), version.into(), "module:planner".parse().unwrap()).unwrap();
    let stamp = Stamp { time: at(0), ..Stamp::default() };
    let staged = Rollout { state: "staged".into(), phase: Some("staged".into()), ..body("v1") };
    story.pilot.recall(&stamp, &staged.into());
    story.pilot.recall(&stamp, &body("v2").into());
    story.fails = vec!["gate"];
    let steps = story.pilot.resume();
    story.follow(steps);
    assert_eq!((story.orders(), story.states()), (["gate", "set 0"].map(String::from).to_vec(), vec!["v2 - refused 0 gate".to_owned()]));
}

#[test]
fn an_outage_of_the_monitoring_is_no_time_and_no_silence_for_who_goes_on_from_one_record() {
    let mut story = Story::new(THREE);
    let body = start("r1".into(), "v1".into(), "module:planner".parse().unwrap()).unwrap();
    story.tell(Rollout { state: "canary".into(), phase: Some("canary".into()), exposure: Some(10.0), counted_s: Some(3600.0), ..body });
    story.minute = 300;
    story.minutes(60, 1.0, 1.0);
    assert_eq!(story.states(), [""; 0]);
    story.minutes(2, 1.0, 1.0);
    assert_eq!(story.said, ["16:00 v1 staged staged 50"]);
}

#[test]
fn who_does_not_answer_is_asked_again() {
    let mut story = Story::started();
    story.minutes(5, 1.0, 1.0).word("hold").minutes(30 * 60, 1.0, 1.0);
    assert_eq!(
        story.said[1..],
        [
            "10:05 v1 canary paused 10 operator",
            "10:05 decision propose operator,store,rollout",
            "22:05 decision propose operator,store,rollout reminder",
            "10:05 decision propose operator,store,rollout overdue"
        ]
    );
    let mut story = Story::started();
    story.fails = vec!["back"];
    story.minutes(100, 50.0, 1.0);
    assert_eq!(
        story.said[3..],
        [
            "10:04 v1 canary stuck 0 rollback-failed",
            "10:04 decision escalate rollback-failed",
            "10:34 decision escalate rollback-failed reminder",
            "11:04 decision escalate rollback-failed overdue"
        ]
    );
}

#[test]
fn records_of_another_service_are_passed_by() {
    let mut pilot = Pilot::new(toml::from_str(THREE).unwrap(), Some("shop".into()));
    let start = start("r1".into(), "v1".into(), "module:planner".parse().unwrap()).unwrap();
    let stamp = |ecosystem: &str| Stamp { time: at(0), ecosystem: Some(ecosystem.into()), host: None };
    assert_eq!(pilot.feed(&stamp("mill"), &start.clone().into()), []);
    assert!(matches!(pilot.feed(&stamp("shop"), &start.into())[..], [Step::Do(Order::Gate { .. })]));
}

#[test]
fn what_cannot_be_used_is_said_once_and_proves_nothing() {
    let mut story = Story::started();
    let mut bad = traffic("canary", 100.0, 50.0);
    bad.error_rate = Reading::Known(85.0);
    let steps: Vec<Vec<Step>> = (0..3).map(|_| story.pilot.feed(&Stamp { time: at(300), ..Stamp::default() }, &bad.clone().into())).collect();
    assert!(matches!(&steps[0][..], [Step::Say(why)] if why.contains("error_rate")), "{steps:?}");
    assert_eq!(steps[1..], [vec![], vec![]]);
}

#[test]
fn plans_that_cannot_be_meant_are_refused_with_the_reason() {
    let read = |text: &str| toml::from_str::<Plan>(text).map_err(|e| e.message().to_owned());
    assert!(read(THREE).is_ok());
    for (from, to, why) in [
        ("0.05", "5.0", "write 5 % as 0.05"),
        ("0.05", "0.0", "not a share between 0 and 1"),
        ("percentage = 50", "percentage = 10", "percentages must rise"),
        ("percentage = 100", "percentage = 90", "done means 100"),
        ("percentage = 10\n", "percentage = 0\n", "not above 0"),
        ("duration = \"2h\"", "", "needs a duration"),
        ("duration = \"2h\"", "duration = \"2m\"", "over before anything is judged"),
        ("duration = \"2h\"", "duration = \"2h\"\nduration_hours = 2", "leave one out"),
        ("\"staged\"", "\"canary\"", "two phases are called canary"),
        ("\"staged\"", "\"paused\"", "cannot be called 'paused'"),
        ("set {percentage}", "set", "never says {percentage}"),
        ("set {percentage}", "set '{percentage}'", "write its words as a list"),
        ("gate = \"gate\"", "gate = \"gate\"\nstrategy = \"hasty\"", "only gradual is"),
        ("gate = \"gate\"", "gate = \"gate\"\ntimeout = \"0s\"", "longer than nothing"),
    ] {
        let said = read(&THREE.replacen(from, to, 1)).unwrap_err();
        assert!(said.contains(why), "{from} -> {to}: {said}");
    }
    assert!(read("").unwrap_err().contains("needs phases"));
}

#[test]
fn a_command_is_a_line_or_a_list_of_words() {
    let plan: Plan = toml::from_str(&THREE.replace("\"set {percentage}\"", "[\"./lb\", \"{percentage} %\"]")).unwrap();
    assert_eq!((plan.set, plan.gate), (vec!["./lb".to_owned(), "{percentage} %".into()], vec!["gate".to_owned()]));
}

impl Health {
    /// Without requests there is no rate.
    fn with_rate(mut self) -> Health {
        if self.requests == Reading::Known(0.0) {
            self.error_rate = Reading::Absent;
        }
        self
    }
}
