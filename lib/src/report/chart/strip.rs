//! The story of an incident in one picture: what was changed, how bad it was, what was decided, what was rolled back, and what share
//! of the traffic a new version had.

use super::frame::{Frame, Key, LEFT, RIGHT, TOP, WIDTH};
use super::svg::{Anchor, Steps, width};
use super::{Chart, Scene, rollout};
use crate::record::{Action, Decision, Record, Severity};
use crate::report::action::{self, sentence};
use crate::report::words::{count, list, shorten, span, visible};
use crate::time::{Timestamp, seconds_between};

/// How high a lane is, and the one of the rollout.
const LANE: f64 = 28.0;
const TALL: f64 = 40.0;
/// How long a name beside a shape may be, and one in a sentence.
const NAME: usize = 26;
const LONG_NAME: usize = 80;

/// Something that happened at one time: its shape, a short name, and the whole sentence.
struct Event {
    time: Timestamp,
    sign: &'static str,
    name: String,
    /// What is left of the name where there is little room.
    short: &'static str,
    tip: String,
}

pub(super) fn chart(scene: &Scene) -> Option<Chart> {
    let steps = rollout::exposure(scene);
    let height = 4.0 * LANE + if steps.is_empty() { 0.0 } else { TALL };
    let mut frame = Frame::new(scene, "story", height);
    let lanes = ["changes", "severity", "decisions", "rollback"];
    let top = |lane: usize| TOP + lane as f64 * LANE;
    for (at, name) in lanes.into_iter().enumerate() {
        frame.under.text("row", Anchor::End, (LEFT - 8.0, top(at) + LANE / 2.0 + 4.0), name);
        frame.under.line("lane", (LEFT, top(at) + LANE), (RIGHT, top(at) + LANE));
    }
    let changes = changes(scene);
    let decisions = decisions(scene);
    draw(&mut frame, scene, &changes, top(0) + LANE / 2.0);
    severity(&mut frame, scene, top(1));
    draw(&mut frame, scene, &decisions, top(2) + LANE / 2.0);
    runs(&mut frame, scene, top(3));
    if !steps.is_empty() {
        frame.under.text("row", Anchor::End, (LEFT - 8.0, top(4) + TALL / 2.0), "rollout");
        frame.under.text("tick", Anchor::End, (LEFT - 8.0, top(4) + TALL / 2.0 + 13.0), "0 to 100 %");
        rollout::draw(&mut frame, &steps, top(4) + TALL, TALL - 8.0);
    }
    if bands(scene).iter().any(|(from, to, severity)| severity.is_none() && from < to) {
        frame.legend.push(Key::Area("band quiet", "", "begun, not yet detected".into()));
    }
    let text = described(scene, &changes, &decisions);
    Some(frame.finish(text))
}

fn changes(scene: &Scene) -> Vec<Event> {
    let seen = scene.story.events.iter().filter(|event| scene.sees(event));
    let mut changes: Vec<Event> = seen
        .filter_map(|event| match &event.record {
            Record::Change(change) => Some(Event {
                time: event.stamp.time,
                sign: "diamond",
                name: visible(&change.target),
                short: "",
                tip: sentence(&event.record).unwrap_or_default(),
            }),
            _ => None,
        })
        .collect();
    changes.sort_by_key(|change| change.time);
    changes
}

fn decisions(scene: &Scene) -> Vec<Event> {
    let shown = scene.incident.news().filter(|(time, _)| scene.axis.shows(*time));
    let event = |(time, decision): &(Timestamp, &Decision)| {
        let (sign, word) = of_action(decision.action);
        let scope = decision.scope.as_ref().map_or_else(String::new, |scope| format!(" {scope}"));
        let whole = action::decision(decision);
        Event { time: *time, sign, name: visible(&format!("{word}{scope}")), short: word, tip: whole }
    };
    shown.map(event).collect()
}

fn of_action(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::Watch => ("ring", "watch"),
        Action::Investigate => ("ring", "investigate"),
        Action::Propose => ("hollow", "propose"),
        Action::Rollback => ("square", "roll back"),
        Action::Escalate => ("cross", "escalate"),
        Action::Resolved => ("up", "resolved"),
    }
}

/// A shape for each kind of event, by its name.
fn shape(sign: &str, x: f64, y: f64) -> Steps {
    let mut steps = Steps::default();
    match sign {
        "diamond" => steps.go(x, y - 5.5).draw(x + 5.5, y).draw(x, y + 5.5).draw(x - 5.5, y),
        "ring" => steps
            .go(x - 2.0, y - 5.0)
            .draw(x + 2.0, y - 5.0)
            .draw(x + 5.0, y - 2.0)
            .draw(x + 5.0, y + 2.0)
            .draw(x + 2.0, y + 5.0)
            .draw(x - 2.0, y + 5.0)
            .draw(x - 5.0, y + 2.0)
            .draw(x - 5.0, y - 2.0),
        "up" => steps.go(x - 5.5, y + 4.5).draw(x, y - 5.0).draw(x + 5.5, y + 4.5),
        "cross" => steps
            .go(x - 5.0, y - 3.0)
            .draw(x - 3.0, y - 5.0)
            .draw(x, y - 2.0)
            .draw(x + 3.0, y - 5.0)
            .draw(x + 5.0, y - 3.0)
            .draw(x + 2.0, y)
            .draw(x + 5.0, y + 3.0)
            .draw(x + 3.0, y + 5.0)
            .draw(x, y + 2.0)
            .draw(x - 3.0, y + 5.0)
            .draw(x - 5.0, y + 3.0)
            .draw(x - 2.0, y),
        _ => steps.go(x - 4.5, y - 4.5).draw(x + 4.5, y - 4.5).draw(x + 4.5, y + 4.5).draw(x - 4.5, y + 4.5),
    }
    .end();
    steps
}

/// Shapes on a lane, each with its name where there is room beside it.
fn draw(frame: &mut Frame, scene: &Scene, events: &[Event], y: f64) {
    let places: Vec<f64> = events.iter().map(|event| scene.axis.inside(event.time)).collect();
    let short: Vec<String> = events.iter().map(|event| shorten(&event.name, NAME)).collect();
    let names = short.iter().zip(events).map(|(name, event)| [name.as_str(), event.short]);
    let names: Vec<(f64, [&str; 2])> = places.iter().copied().zip(names).collect();
    for (event, x) in events.iter().zip(&places) {
        let class = if matches!(event.sign, "ring" | "hollow") { "event hollow" } else { "event" };
        frame.over.path_with(class, &shape(event.sign, *x, y), &event.tip);
    }
    for (at, name, side, x) in room(&names) {
        frame.over.text_with("tag", side, (x, y + 4.0), name, &events[at].tip);
    }
}

/// Which names can be written beside their shapes, from left to right: the whole name or the short one, on which side, and where.
fn room<'a>(names: &[(f64, [&'a str; 2])]) -> Vec<(usize, &'a str, Anchor, f64)> {
    let mut placed = Vec::new();
    let mut free_from = LEFT + 2.0;
    for (at, (x, forms)) in names.iter().enumerate() {
        let next = names.get(at + 1).map_or(WIDTH - 4.0, |(next, _)| next - 8.0);
        let fits = |name: &&'a str| {
            let wide = width(name);
            let right = (x + 9.0 + wide <= next && x + 9.0 >= free_from).then_some((Anchor::Start, x + 9.0));
            right.or((x - 9.0 - wide >= free_from).then_some((Anchor::End, x - 9.0))).map(|(side, from)| (*name, side, from))
        };
        let found = forms.iter().filter(|name| !name.is_empty()).find_map(fits);
        free_from = free_from.max(x + 8.0);
        if let Some((name, side, from)) = found {
            placed.push((at, name, side, from));
            if side == Anchor::Start {
                free_from = from + width(name) + 6.0;
            }
        }
    }
    placed
}

/// How bad the incident was thought to be, from one decision to the next; and from its onset until anybody knew.
fn bands(scene: &Scene) -> Vec<(Timestamp, Timestamp, Option<Severity>)> {
    let incident = &scene.incident;
    let end = scene.story.end_of(scene.incident.home).unwrap_or(scene.window.to).min(scene.window.to);
    let mut bands: Vec<(Timestamp, Timestamp, Option<Severity>)> = Vec::new();
    if let (Some(onset), Some(detected)) = (incident.onset(), incident.detected()) {
        bands.push((onset, detected, None));
    }
    for (at, (time, decision)) in incident.decisions.iter().enumerate() {
        let to = incident.decisions.get(at + 1).map_or(end, |(next, _)| *next);
        if decision.action == Action::Resolved {
            continue;
        }
        match bands.last_mut() {
            Some(last) if last.2 == Some(decision.severity) && last.1 == *time => last.1 = to,
            _ => bands.push((*time, to, Some(decision.severity))),
        }
    }
    bands
}

fn severity(frame: &mut Frame, scene: &Scene, top: f64) {
    for (from, to, severity) in bands(scene) {
        let (x, right) = (scene.axis.inside(from), scene.axis.inside(to));
        let wide = (right - x).max(2.0);
        let word = severity.map_or("", action::severity);
        let class = if word.is_empty() { "band quiet".to_owned() } else { format!("band {word}") };
        let length = span(seconds_between(from, to));
        let tip = if word.is_empty() { format!("begun, not yet detected, for {length}") } else { format!("{word} for {length}") };
        frame.body.rect_with(&class, (x, top + 5.0), (wide, LANE - 10.0), &tip);
        if !word.is_empty() && wide > width(word) + 8.0 {
            let loud = if word == "critical" { "loud" } else { "inside" };
            frame.over.text(loud, Anchor::Middle, (x + wide / 2.0, top + LANE / 2.0 + 4.0), word);
        }
    }
}

fn runs(frame: &mut Frame, scene: &Scene, top: f64) {
    let end = scene.story.end_of(scene.incident.home).unwrap_or(scene.window.to);
    let shown: Vec<_> = scene.incident.runs.iter().filter(|run| scene.axis.shows(run.moment())).collect();
    let mut names: Vec<(f64, String, &str)> = Vec::new();
    for run in &shown {
        let phase = run.ended.map_or("no end recorded", |(_, end)| end.phase.as_str());
        let word = match phase {
            "reverted" => "REVERTED",
            "failed" => "FAILED",
            other => other,
        };
        let undo = if run.said.undoes.is_some() { "undo of " } else { "" };
        let (x, right) = (scene.axis.inside(run.moment()), scene.axis.inside(run.ended.map_or(end, |(time, _)| time)));
        let tip = format!("{undo}{} by {}: {word}", run.said.scope, if run.by_operator() { "an operator" } else { "the tools" });
        let wide = (right - x).max(5.0);
        frame.body.rect_with("band work", (x, top + 7.0), (wide, LANE - 14.0), &tip);
        if phase != "completed" {
            let pattern = frame.pattern("failed");
            frame.body.filled("over", &pattern, Steps::default().bar((x, top + 7.0), (wide, LANE - 14.0)));
        }
        names.push((x + wide - 4.0, shorten(&visible(&format!("{undo}{} {word}", run.said.scope)), NAME + 10), word));
    }
    let names: Vec<(f64, [&str; 2])> = names.iter().map(|(x, name, short)| (*x, [name.as_str(), *short])).collect();
    for (_, name, side, x) in room(&names) {
        frame.over.text("tag", side, (x, top + LANE / 2.0 + 4.0), name);
    }
}

/// The picture in words.
fn described(scene: &Scene, changes: &[Event], decisions: &[Event]) -> String {
    let mut parts = Vec::new();
    let reached: Vec<String> = bands(scene)
        .iter()
        .filter_map(|(from, to, severity)| {
            severity.map(|severity| format!("{} for {}", action::severity(severity), span(seconds_between(*from, *to))))
        })
        .collect();
    if !reached.is_empty() {
        parts.push(format!("Severity: {}.", list(&few(reached))));
    }
    for (what, events) in [("change", changes), ("decision", decisions)] {
        if !events.is_empty() {
            let told: Vec<String> = events.iter().map(|event| format!("{} {}", shorten(&event.name, LONG_NAME), scene.at(event.time))).collect();
            parts.push(format!("{}: {}.", count(events.len() as u64, what), list(&few(told))));
        }
    }
    let ends: Vec<String> = scene
        .incident
        .runs
        .iter()
        .map(|run| format!("{} {}", run.said.scope, run.ended.map_or("without a recorded end", |(_, end)| end.phase.as_str())))
        .collect();
    parts.push(if ends.is_empty() { "No rollback.".to_owned() } else { format!("{}: {}.", count(ends.len() as u64, "rollback"), list(&few(ends))) });
    parts.join(" ")
}

/// The first of many, and how many there are beside them.
fn few(mut all: Vec<String>) -> Vec<String> {
    const MOST: usize = 6;
    if all.len() > MOST {
        let more = all.len() - MOST;
        all.truncate(MOST);
        all.push(format!("{more} more"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_where_nothing_is_in_its_way_or_not_at_all() {
        let placed =
            room(&[(200.0, ["abcd", ""]), (300.0, ["something long", "x"]), (320.0, ["another one", "b"]), (325.0, ["", ""]), (780.0, ["edge", ""])]);
        let told: Vec<(usize, &str, Anchor)> = placed.into_iter().map(|(at, name, side, _)| (at, name, side)).collect();
        assert_eq!(told, [(0, "abcd", Anchor::Start), (1, "x", Anchor::End), (4, "edge", Anchor::End)]);
        assert!(room(&[]).is_empty());
    }
}
