//! A gradual rollout: what share of the traffic the new version had, and how its errors compare with the version before.

use super::frame::{Frame, Key, LEFT, RIGHT, TOP};
use super::measures::{Series, levels};
use super::svg::{Anchor, Steps, width};
use super::{Chart, Scene};
use crate::record::{Record, Rollout};
use crate::report::health::metric;
use crate::report::words::{list, percent, visible};
use crate::time::Timestamp;

/// The exposure's part of the plot, the one of the errors, and what is between them.
const EXPOSURE: f64 = 56.0;
const ERRORS: f64 = 110.0;
const BETWEEN: f64 = 16.0;

/// A share of the traffic in percent, from one time to another.
pub(super) struct Step {
    from: f64,
    to: f64,
    percent: f64,
    /// The state that it was in, as one reads it.
    state: String,
}

/// States in which a rollout is over.
const OVER: [&str; 4] = ["done", "idle", "rolled_back", "refused"];

/// The rollout's records of this service inside the window, in order of time, after the one that says how it stood when that began.
fn records<'a>(scene: &'a Scene) -> Vec<(Timestamp, &'a Rollout)> {
    let home = |event: &crate::report::Event| scene.story.home(&event.stamp) == scene.incident.home;
    let mut records: Vec<(Timestamp, &Rollout)> = scene
        .story
        .events
        .iter()
        .filter(|event| home(event) && event.stamp.time <= scene.window.to)
        .filter_map(|event| match &event.record {
            Record::Rollout(rollout) => Some((event.stamp.time, rollout)),
            _ => None,
        })
        .collect();
    records.sort_by_key(|(time, _)| *time);
    let inside = records.partition_point(|(time, _)| *time < scene.window.from);
    let stood = inside.checked_sub(1).filter(|at| !OVER.contains(&records[*at].1.state.as_str()));
    records.split_off(stood.unwrap_or(inside))
}

/// The share of the traffic over time. None where no rollout is in the window.
pub(super) fn exposure(scene: &Scene) -> Vec<Step> {
    let records = records(scene);
    let end = scene.axis.inside(scene.story.end_of(scene.incident.home).unwrap_or(scene.window.to));
    let mut steps: Vec<Step> = Vec::new();
    for (at, (time, rollout)) in records.iter().enumerate() {
        let to = records.get(at + 1).map_or(end, |(next, _)| scene.axis.inside(*next));
        let known = rollout.exposure.filter(|percent| percent.is_finite());
        let percent = known.unwrap_or(if rollout.state == "idle" { 0.0 } else { steps.last().map_or(0.0, |step: &Step| step.percent) });
        let state = rollout.state.replace('_', " ");
        steps.push(Step { from: scene.axis.inside(*time), to, percent: percent.clamp(0.0, 100.0), state });
    }
    steps
}

/// Draws the steps above `bottom`, with the share written wherever it fits.
pub(super) fn draw(frame: &mut Frame, steps: &[Step], bottom: f64, height: f64) {
    let y = |percent: f64| bottom - (height - 2.0) * percent / 100.0;
    let (mut area, mut line) = (Steps::default(), Steps::default());
    let mut free_from = LEFT;
    for (at, step) in steps.iter().enumerate() {
        let level = y(step.percent);
        if step.percent > 0.0 && step.to > step.from {
            area.bar((step.from, level), (step.to - step.from, bottom - level));
        }
        match at {
            0 => line.go(step.from, level),
            _ => line.draw(step.from, level),
        };
        line.draw(step.to, level);
        let text = format!("{:.0} % {}", step.percent, visible(&step.state));
        let x = step.from + 5.0;
        // A name may reach into the next step where that is lower, so it is only held against the names before it.
        let next = steps.get(at + 1).map_or(RIGHT + 60.0, |next| next.from);
        if x >= free_from && x + width(&text) < next.max(x + 4.0).max(if at + 1 == steps.len() { RIGHT + 60.0 } else { 0.0 }) {
            frame.over.text("tag", Anchor::Start, (x, (level - 4.0).max(bottom - height + 9.0)), &text);
            free_from = x + width(&text) + 6.0;
        }
    }
    frame.under.path("share", &area);
    frame.body.path("steps", &line);
}

/// The highest error rate that a phase may have: what the rollout's records say, else what is usual for a phase of this name.
fn limit(records: &[(Timestamp, &Rollout)], phase: &str) -> Option<(f64, bool)> {
    let of_phase = records.iter().filter(|(_, rollout)| rollout.phase.as_deref() == Some(phase));
    let mut said = of_phase.flat_map(|(_, rollout)| &rollout.reasons).filter(|reason| reason.metric == "error_rate");
    // A breach that was fast is held against three times the limit.
    let value = |reason: &crate::record::Breach| {
        let bound: f64 = reason.threshold.split(' ').next_back()?.parse().ok()?;
        Some(if reason.rule.as_deref() == Some("fast") { bound / 3.0 } else { bound })
    };
    let usual = match phase {
        "canary" => Some(0.05),
        "staged" => Some(0.03),
        "full" => Some(0.02),
        _ => None,
    };
    said.find_map(value).map(|limit| (limit, true)).or(usual.map(|limit| (limit, false)))
}

pub(super) fn chart(scene: &Scene) -> Option<Chart> {
    let steps = exposure(scene);
    if steps.is_empty() {
        return None;
    }
    let records = records(scene);
    let of = |cohort: &str| {
        let wanted = scene.story.events.iter().filter(|event| scene.sees(event));
        let mut values: Vec<(Timestamp, Option<f64>)> = wanted
            .filter_map(|event| match &event.record {
                Record::Health(health) if health.cohort.as_deref() == Some(cohort) => Some((event.stamp.time, metric(health, "error_rate", None))),
                _ => None,
            })
            .collect();
        values.sort_by_key(|(time, _)| *time);
        Series::new(values.into_iter())
    };
    let (canary, stable) = (of("canary"), of("stable"));
    let has_errors = !canary.is_empty() || !stable.is_empty();
    let mut frame = Frame::new(scene, "rollout", if has_errors { EXPOSURE + BETWEEN + ERRORS } else { EXPOSURE });
    let floor = TOP + EXPOSURE;
    for level in [0.0, 50.0, 100.0] {
        frame.level(floor - (EXPOSURE - 10.0) * level / 100.0, &format!("{level:.0} %"));
    }
    draw(&mut frame, &steps, floor, EXPOSURE - 8.0);
    frame.legend.push(Key::Line("steps", "share of the traffic".into()));
    let last = records.last().map(|(_, rollout)| *rollout)?;
    let mut text = format!(
        "Rollout of {} ({}): {}.",
        last.version,
        last.target,
        list(&steps.iter().map(|step| format!("{:.0} % {}", step.percent, step.state)).collect::<Vec<_>>())
    );
    if !has_errors {
        return Some(frame.finish(text));
    }
    // The limit of each phase, for as long as it lasted.
    let mut limits: Vec<(f64, f64, f64, bool, String)> = Vec::new();
    for (step, (_, rollout)) in steps.iter().zip(&records) {
        let Some(phase) = rollout.phase.as_deref().filter(|_| step.percent > 0.0) else { continue };
        let Some((bound, said)) = limit(&records, phase) else { continue };
        match limits.last_mut().filter(|last| last.4 == phase && last.1 >= step.from - 0.5) {
            Some(last) => last.1 = step.to,
            None => limits.push((step.from, step.to, bound, said, phase.to_owned())),
        }
    }
    let peak = [&canary, &stable].into_iter().filter_map(Series::peak).map(|(_, peak)| peak).fold(0.0, f64::max);
    let top = (limits.iter().map(|limit| limit.2).fold(peak, f64::max) * 1.25).clamp(0.02, 1.0);
    let bottom = frame.bottom();
    let y = |rate: f64| bottom - ERRORS * rate / top;
    let fuller = if canary.is_empty() { &stable } else { &canary };
    for (from, to) in fuller.silences(scene) {
        frame.hatch(from, to, bottom - ERRORS, ERRORS);
    }
    for level in levels(top) {
        frame.level(y(level), &format!("{:.0} %", level * 100.0));
    }
    frame.under.line("lane", (LEFT, bottom - ERRORS), (RIGHT, bottom - ERRORS));
    let mut named: Vec<String> = Vec::new();
    for (from, to, bound, said, phase) in &limits {
        let class = if *said { "limit fired" } else { "limit" };
        frame.body.line(class, (*from, y(*bound)), ((*to).max(from + 2.0), y(*bound)));
        let label = format!("{phase} limit {} %", (bound * 1000.0).round() / 10.0);
        let tag = format!("tag {class}");
        if from + 6.0 + width(&label) < RIGHT + 60.0 && named.len() < 4 {
            frame.over.text(&tag, Anchor::Start, (from + 4.0, y(*bound) - 4.0), &visible(&label));
        }
        let who = if *said { "as the rollout says" } else { "usual for a phase of this name" };
        let whole = format!("{label} ({who})");
        if !named.contains(&whole) {
            named.push(whole);
        }
    }
    for (series, class, name) in [(&canary, "line", "canary"), (&stable, "line second", "stable")] {
        if let Some((time, peak)) = series.peak() {
            frame.body.path(class, &series.steps(scene, y));
            frame.legend.push(Key::Line(class, format!("{name} error rate")));
            text.push_str(&format!(" Highest error rate of the {name} version: {} at {}.", percent(peak), scene.at(time)));
        }
    }
    if !named.is_empty() {
        text.push_str(&format!(" Limits: {}.", list(&named)));
    }
    Some(frame.finish(text))
}
