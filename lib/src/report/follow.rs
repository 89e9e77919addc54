//! What is to be done after a rollback, as the old procedures list it, and what of it the stream shows as done.

use super::action::free;
use super::health::{STALE_S, Sample, gaps};
use super::rollback::undone;
use super::timeline::Axis;
use super::words::{clock, count, list, span};
use super::{FollowUp, FollowUps, State, Story};
use crate::record::{Gate, Reading, Record};
use crate::time::{Timestamp, seconds_between};
use std::collections::BTreeMap;

/// After a rollback the service is watched more closely for a day.
const WATCH_S: i64 = 86_400;
/// What comes later than this is about something else.
const WEEK_S: i64 = 7 * 86_400;

/// The lists, each with its span of time.
pub(super) fn follow_ups(story: &Story, axis: &Axis, restored: Option<Timestamp>) -> Vec<FollowUps> {
    let mut groups = Vec::new();
    let incident = axis.incident;
    let stands = incident.runs.iter().rfind(|run| run.said.undoes.is_none() && undone(incident, run).is_none()).and_then(|run| run.completed());
    if let Some(completed) = stands {
        groups.push(group("After the rollback", verified(axis, completed, restored)));
    }
    let after = after(story, axis);
    groups.push(group("Within 1 hour", vec![written(incident.state()), told(story, axis), watched(axis, restored)]));
    groups.push(group(
        "Within 24 hours",
        vec![
            open("Read the logs of the service from before the onset on"),
            open("Go through every change that came before it"),
            open("Find what set it off, and prove it"),
            open("Write the findings down under Root Cause"),
            open("Mend what was found"),
            tested(&after),
            deployed(&after),
            open("Watch the service after that deployment"),
            open("Mend the procedures where they did not fit"),
            open("Add a check that would have caught this"),
            open("Improve the monitoring where it was late or silent"),
            open("Add a test that fails without the mend"),
        ],
    ));
    groups.push(group(
        "Within 1 week",
        vec![
            open("Review with everybody involved how the incident was handled"),
            open("Decide what changes in the way of working"),
            open("Bring the documentation up to date"),
            open("Pass on to the team what was learned"),
            open("Automate the checks that were made by hand"),
            open("Extend what the tests cover"),
            open("Extend what is monitored"),
            open("Bring the way of deploying up to date"),
        ],
    ));
    groups
}

fn group(within: &str, items: Vec<FollowUp>) -> FollowUps {
    FollowUps { within: within.to_owned(), items }
}

fn open(what: &str) -> FollowUp {
    item(what, false, None)
}

fn item(what: &str, done: bool, evidence: Option<String>) -> FollowUp {
    FollowUp { what: what.to_owned(), done, evidence }
}

/// What came back, by the newest sample that belongs to the incident.
fn verified(axis: &Axis, completed: Timestamp, restored: Option<Timestamp>) -> Vec<FollowUp> {
    let last = axis.samples.iter().rfind(|sample| sample.time >= completed && sample.time <= axis.end.max(completed));
    let at = last.map(|sample| clock(sample.time));
    let says = |text: &str| at.as_ref().map(|at| format!("{text} at {at}"));
    let truth = |what: &str, reading: Option<&Reading<bool>>, good: &str, bad: &str| match reading.and_then(Reading::known) {
        Some(true) => item(what, true, says(good)),
        Some(false) => item(what, false, says(bad)),
        None => open(what),
    };
    let modules: Vec<(&String, &String)> =
        last.into_iter().flat_map(|sample| &sample.health.modules).filter_map(|(name, state)| Some((name, state.known()?))).collect();
    let not_ok: Vec<String> = modules.iter().filter(|(_, state)| *state != "ok").map(|(name, state)| format!("{name} {state}")).collect();
    let modules = match (modules.len(), not_ok.is_empty()) {
        (0, _) => open("Every module works"),
        (all, true) => item("Every module works", true, says(&format!("{} ok", count(all as u64, "module")))),
        (_, false) => item("Every module works", false, says(&free(&list(&not_ok)))),
    };
    let normal = "Errors, response time, processor and memory are back to normal";
    let selftest = axis.incident.runs.iter().flat_map(|run| &run.steps).rfind(|(_, step)| step.step == "selftest" && step.ok.is_some());
    let works = match selftest {
        Some((time, step)) if step.ok == Some(true) => {
            item("It does what it is there for", true, Some(format!("its own test passed at {}", clock(*time))))
        }
        Some((time, _)) => item("It does what it is there for", false, Some(format!("its own test failed at {}", clock(*time)))),
        None => open("It does what it is there for"),
    };
    vec![
        truth("The service runs and answers", last.map(|sample| &sample.health.up), "up", "down"),
        modules,
        match restored {
            Some(time) => item(normal, true, Some(format!("inside every limit of the incident since {}", clock(time)))),
            None => open(normal),
        },
        truth("The data is consistent", last.map(|sample| &sample.health.integrity), "consistent", "not consistent"),
        truth("The modules work together", last.map(|sample| &sample.health.integration), "working", "broken"),
        works,
    ]
}

fn written(state: State) -> FollowUp {
    let over = state != State::Ongoing;
    item("Write the incident down", over, over.then(|| "this report; what only people know is theirs to add".to_owned()))
}

/// Whether somebody was told after the trouble was known.
fn told(story: &Story, axis: &Axis) -> FollowUp {
    let what = "Tell everybody who is affected";
    let from = axis.incident.first();
    let said = story.events.iter().find_map(|event| match &event.record {
        Record::Control(control) if control.verb == "tell" && story.home(&event.stamp) == axis.incident.home => {
            let soon = (0..=WEEK_S).contains(&seconds_between(from, event.stamp.time));
            (soon && control.ok == Some(true)).then_some(event.stamp.time)
        }
        _ => None,
    });
    item(what, said.is_some(), said.map(|time| format!("eco-ctl tell reached somebody at {}", clock(time))))
}

/// How far the day of closer watching has got.
fn watched(axis: &Axis, restored: Option<Timestamp>) -> FollowUp {
    let what = "Watch the service closely for 24 hours";
    let Some(from) = restored else { return open(what) };
    let after: Vec<Sample> = axis.samples.iter().filter(|sample| sample.time >= from).copied().collect();
    // One sample more than a day: the day may end between two.
    let day: Vec<Sample> = after.iter().filter(|sample| seconds_between(from, sample.time) <= WATCH_S + STALE_S).copied().collect();
    let seen = day.last().map_or(0, |last| seconds_between(from, last.time).min(WATCH_S));
    let Some(last) = day.last() else { return open(what) };
    let holes = gaps(&day, from, last.time).len() as u64;
    let silent = if holes == 0 { "without a silence".to_owned() } else { format!("with {}", count(holes, "silence")) };
    item(what, seen == WATCH_S && holes == 0, Some(format!("the stream holds samples of {} {silent}", span(seen))))
}

/// What was recorded in the week after the incident.
struct After<'a> {
    gate: BTreeMap<&'a str, (Timestamp, &'a Gate)>,
    deployed: Option<Timestamp>,
}

fn after<'a>(story: &'a Story, axis: &Axis) -> After<'a> {
    let mut after = After { gate: BTreeMap::new(), deployed: None };
    if axis.incident.state() == State::Ongoing {
        return after;
    }
    for event in &story.events {
        let time = event.stamp.time;
        if !(1..=WEEK_S).contains(&seconds_between(axis.end, time)) || story.home(&event.stamp) != axis.incident.home {
            continue;
        }
        match &event.record {
            Record::Gate(gate) => _ = after.gate.insert(&gate.check, (time, gate)),
            Record::Rollout(rollout) if rollout.state == "done" => after.deployed = after.deployed.or(Some(time)),
            _ => {}
        }
    }
    after
}

fn tested(after: &After) -> FollowUp {
    let what = "Test the mended version";
    let Some(last) = after.gate.values().map(|(time, _)| *time).max() else { return open(what) };
    let refused: Vec<String> = after.gate.values().filter(|(_, gate)| !gate.ok).map(|(_, gate)| free(&gate.check)).collect();
    if refused.is_empty() {
        item(what, true, Some(format!("the gate passed at {} ({})", clock(last), count(after.gate.len() as u64, "check"))))
    } else {
        item(what, false, Some(format!("the gate did not pass at {}: {}", clock(last), list(&refused))))
    }
}

fn deployed(after: &After) -> FollowUp {
    item("Deploy it in steps", after.deployed.is_some(), after.deployed.map(|time| format!("a rollout reached its end at {}", clock(time))))
}
