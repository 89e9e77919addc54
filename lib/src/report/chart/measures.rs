//! Measured values over time: errors, response time, CPU and memory.

use super::frame::{Frame, Key, LEFT, RIGHT, TOP, spread};
use super::limits::{self, Line, sentence};
use super::svg::{Anchor, Steps, width};
use super::thin::thin;
use super::{Chart, Scene};
use crate::report::health::{STALE_S, metric, usable};
use crate::report::words::{count, percent};
use crate::time::{Timestamp, seconds_between};

/// How high the plots are.
const HEIGHT: f64 = 150.0;
/// Texts of limits need this much to stand below each other.
const ROW: f64 = 13.0;

/// One value over time: runs of samples that know it, and the silences between them.
pub(super) struct Series {
    pub runs: Vec<Vec<(Timestamp, f64)>>,
}

impl Series {
    /// A value that a sample does not know ends a run, and so does silence.
    pub fn new(values: impl Iterator<Item = (Timestamp, Option<f64>)>) -> Series {
        let mut runs: Vec<Vec<(Timestamp, f64)>> = Vec::new();
        let mut before: Option<Timestamp> = None;
        for (time, value) in values {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                before = None;
                continue;
            };
            match (runs.last_mut(), before) {
                (Some(run), Some(last)) if seconds_between(last, time) <= STALE_S => run.push((time, value)),
                _ => runs.push(vec![(time, value)]),
            }
            before = Some(time);
        }
        Series { runs }
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn all(&self) -> impl Iterator<Item = (Timestamp, f64)> {
        self.runs.iter().flatten().copied()
    }

    /// The first of the highest values.
    pub fn peak(&self) -> Option<(Timestamp, f64)> {
        self.all().fold(None, |best, next| if best.is_some_and(|best| best.1 >= next.1) { best } else { Some(next) })
    }

    pub fn last(&self) -> Option<(Timestamp, f64)> {
        self.runs.last().and_then(|run| run.last()).copied()
    }

    /// The silences of the window, before, between and after the runs.
    pub fn silences(&self, scene: &Scene) -> Vec<(f64, f64)> {
        let edge = |point: Option<&(Timestamp, f64)>| point.map(|(time, _)| scene.axis.inside(*time));
        let mut from = LEFT;
        let mut found = Vec::new();
        for run in &self.runs {
            found.extend(edge(run.first()).map(|to| (from, to)));
            from = edge(run.last()).unwrap_or(from);
        }
        found.push((from, RIGHT));
        found
    }

    /// The lines through the runs, thinned.
    pub fn steps(&self, scene: &Scene, y: impl Fn(f64) -> f64) -> Steps {
        let mut steps = Steps::default();
        for run in &self.runs {
            let points: Vec<(f64, f64)> = run.iter().map(|(time, value)| (scene.axis.inside(*time), *value)).collect();
            let points: Vec<(f64, f64)> = thin(&points).into_iter().map(|(x, value)| (x, y(value))).collect();
            steps.along(&points);
        }
        steps
    }

    /// The same as an area above `bottom`.
    fn area(&self, scene: &Scene, bottom: f64, y: impl Fn(f64) -> f64) -> Steps {
        let mut steps = Steps::default();
        for run in &self.runs {
            let points: Vec<(f64, f64)> = run.iter().map(|(time, value)| (scene.axis.inside(*time), *value)).collect();
            let points = thin(&points);
            let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
            steps.go(first.0, bottom);
            for (x, value) in &points {
                steps.draw(*x, y(*value));
            }
            steps.draw(last.0.max(first.0 + 1.0), bottom).end();
        }
        steps
    }
}

/// A metric of the service's samples, as the policy means it.
fn series(scene: &Scene, name: &str) -> Series {
    Series::new(scene.samples.iter().map(|sample| (sample.time, metric(sample.health, name, scene.normal.as_ref()))))
}

/// Peak, last value, and how much of it is known.
fn told(scene: &Scene, what: &str, series: &Series, write: impl Fn(f64) -> String) -> String {
    let (Some((time, peak)), Some((_, last))) = (series.peak(), series.last()) else { return String::new() };
    let known = series.all().count() as u64;
    let unknown = scene.samples.len() as u64 - known.min(scene.samples.len() as u64);
    let missing = if unknown == 0 { String::new() } else { format!(", {unknown} do not say") };
    format!("{what}: highest {} at {}, last {}; {}{missing}.", write(peak), scene.at(time), write(last), count(known, "sample"))
}

/// Lines of limits with their names at the right, each at its height, moved apart where they would touch.
fn draw_limits(frame: &mut Frame, lines: &[(Line, String)], y: impl Fn(f64) -> f64) {
    let wanted: Vec<(f64, f64)> = lines.iter().rev().map(|(line, _)| (y(line.bound), ROW)).collect();
    let rows = spread(&wanted, TOP - 4.0, frame.bottom() + 4.0);
    for ((line, label), row) in lines.iter().rev().zip(rows) {
        let class = if line.fired { "limit fired" } else { "limit" };
        let at = y(line.bound);
        frame.body.line(class, (LEFT, at), (RIGHT, at));
        if (row - at).abs() > 0.5 {
            frame.body.line(class, (RIGHT, at), (RIGHT + 7.0, row));
        } else {
            frame.body.line(class, (RIGHT, at), (RIGHT + 7.0, at));
        }
        let who = if line.fired { "a decision of this incident" } else { "the built-in policy" };
        frame.over.text_with(class, Anchor::Start, (RIGHT + 10.0, row + 4.0), label, &format!("{} {}, by {who}", line.rule, label));
    }
}

/// A comparison with a share, as people read it.
fn share(line: &Line) -> String {
    format!("{} {} %", sign(&line.comparison), (line.bound * 1000.0).round() / 10.0)
}

fn sign(comparison: &str) -> &str {
    match comparison {
        ">=" => "\u{2265}",
        "<=" => "\u{2264}",
        other => other,
    }
}

/// Round steps that divide this height into a few.
pub(super) fn levels(top: f64) -> Vec<f64> {
    let step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25].into_iter().find(|step| top / step <= 5.01).unwrap_or(0.25);
    (0..).map(|at| f64::from(at) * step).take_while(|level| *level <= top + 1e-9).collect()
}

pub(super) fn errors(scene: &Scene) -> Option<Chart> {
    let rates = series(scene, "error_rate");
    if rates.is_empty() {
        return None;
    }
    let mut lines = limits::of(scene, "error_rate");
    // A success rate is the same measurement from the other side.
    for line in limits::of(scene, "success_rate").into_iter().filter(|line| line.fired) {
        lines.push(Line { bound: 1.0 - line.bound, comparison: ">".into(), ..line });
    }
    lines.sort_by(|one, next| one.bound.total_cmp(&next.bound));
    let peak = rates.peak().map_or(0.0, |(_, peak)| peak);
    let highest = lines.iter().map(|line| line.bound).fold(peak, f64::max);
    let top = (highest * 1.12).clamp(0.05, 1.0);
    let mut frame = Frame::new(scene, "errors", HEIGHT);
    let bottom = frame.bottom();
    let y = |value: f64| bottom - HEIGHT * value / top;
    for (from, to) in rates.silences(scene) {
        frame.gap(from, to);
    }
    let requests = Series::new(scene.samples.iter().map(|sample| (sample.time, usable(&sample.health.requests))));
    let most = requests.peak().map_or(0.0, |(_, most)| most);
    if most > 0.0 {
        // The volume is background: it ends well below the top.
        frame.under.path("volume", &requests.area(scene, bottom, |value| bottom - HEIGHT * 0.55 * value / most));
        frame.legend.push(Key::Area("volume", "", format!("requests, up to {most:.0} a sample")));
    }
    for level in levels(top) {
        frame.level(y(level), &percent(level));
    }
    let labelled: Vec<(Line, String)> = lines.iter().map(|line| (line.clone(), share(line))).collect();
    draw_limits(&mut frame, &labelled, y);
    frame.body.path("line", &rates.steps(scene, y));
    frame.legend.insert(0, Key::Line("line", "failed share of the requests".into()));
    let volume = if most > 0.0 { format!(" Behind it the requests of each sample, up to {most:.0}.") } else { String::new() };
    let text = told(scene, "Error rate", &rates, percent);
    Some(frame.finish(format!("{text}{volume}{}", sentence(&lines, |line| format!("{} ({})", share(line), line.rule)))))
}

/// A multiple as people read it: `0.5x`, `10x`.
fn times(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    format!("{tenths}x")
}

fn milliseconds(value: f64) -> String {
    match value {
        value if value >= 9_950.0 => format!("{:.0} s", value / 1000.0),
        value if value >= 995.0 => format!("{:.1} s", value / 1000.0),
        value if value >= 9.95 => format!("{value:.0} ms"),
        value => format!("{:.1} ms", value),
    }
}

pub(super) fn response(scene: &Scene) -> Option<Chart> {
    let answers = series(scene, "response_ms");
    let (_, slowest) = answers.peak()?;
    let fastest = answers.all().map(|(_, ms)| ms).filter(|ms| *ms > 0.0).fold(f64::INFINITY, f64::min);
    if !fastest.is_finite() {
        return None;
    }
    let normal = scene.normal.as_ref().map(|normal| normal.ms).filter(|ms| *ms > 0.0);
    // Without a known normal the axis is in milliseconds, and only limits in milliseconds mean anything.
    let unit = normal.unwrap_or(1.0);
    let mut lines: Vec<(Line, String)> = Vec::new();
    if normal.is_some() {
        let ratios = limits::of(scene, "response_ratio").into_iter();
        lines.extend(ratios.map(|line| (line.clone(), format!("{} {}", sign(&line.comparison), times(line.bound)))));
    }
    let ceilings = limits::of(scene, "response_ms").into_iter().filter(|line| line.fired || normal.is_none());
    lines.extend(ceilings.map(|line| {
        let label = format!("{} {}", sign(&line.comparison), milliseconds(line.bound));
        (Line { bound: line.bound / unit, ..line }, label)
    }));
    lines.sort_by(|one, next| one.0.bound.total_cmp(&next.0.bound));
    let bounds = || lines.iter().map(|(line, _)| line.bound);
    let low = bounds().fold((fastest / unit).max(slowest / unit / 1e4), f64::min).min(if normal.is_some() { 0.8 } else { f64::INFINITY }) / 1.2;
    let high = bounds().fold(slowest / unit, f64::max) * 1.3;
    // A record may hold any number, a scale cannot: what is beyond it stands at its end.
    let low = low.clamp(1e-6, 1e12);
    let high = high.clamp(2.0 * low, 1e15);
    let mut frame = Frame::new(scene, "response", HEIGHT);
    let bottom = frame.bottom();
    let y = |value: f64| bottom - HEIGHT * ((value.clamp(low, high) / low).ln() / (high / low).ln());
    for (from, to) in answers.silences(scene) {
        frame.gap(from, to);
    }
    let mut used = f64::INFINITY;
    for level in decades(low, high) {
        let label = if normal.is_some() { times(level) } else { milliseconds(level) };
        frame.level(y(level), &label);
        // Milliseconds at the right, at the same heights, wherever no limit stands there.
        let clear = lines.iter().all(|(line, _)| (y(line.bound) - y(level)).abs() > ROW) && used - y(level) > ROW;
        if normal.is_some() && clear {
            used = y(level);
            frame.under.text("tick", Anchor::Start, (RIGHT + 10.0, y(level) + 4.0), &milliseconds(level * unit));
        }
    }
    let beside: Vec<(Line, String)> = lines
        .iter()
        .map(|(line, label)| {
            let ms = milliseconds(line.bound * unit);
            (line.clone(), if normal.is_none() || label.ends_with(&ms) || width(&ms) > 60.0 { label.clone() } else { ms })
        })
        .collect();
    draw_limits(&mut frame, &beside, y);
    // What the limit means stands on the line, at its left end.
    for (line, label) in lines.iter().filter(|_| normal.is_some()) {
        let class = if line.fired { "tag limit fired" } else { "tag limit" };
        frame.over.text(class, Anchor::Start, (LEFT + 5.0, y(line.bound) - 3.0), label);
    }
    frame.body.path("line", &answers.steps(scene, |ms| y(ms / unit)));
    let (what, how) = match &scene.normal {
        Some(known) if normal.is_some() => ("multiple of the normal response time, log scale", format!(" Normal is {}.", known.how)),
        _ => ("response time, log scale", " What is normal is not known, so the scale is in milliseconds.".into()),
    };
    frame.legend.push(Key::Line("line", what.into()));
    let write = |ms: f64| match normal {
        Some(normal) => format!("{} ({})", milliseconds(ms), times(ms / normal)),
        None => milliseconds(ms),
    };
    let only: Vec<Line> = lines.iter().map(|(line, _)| line.clone()).collect();
    let label = |line: &Line| {
        let text = lines.iter().find(|(known, _)| known == line).map_or("", |(_, label)| label);
        format!("{text} ({})", line.rule)
    };
    let text = told(scene, "Response time", &answers, write);
    Some(frame.finish(format!("{text}{how}{}", sentence(&only, label))))
}

/// 1, 2 and 5 of every power of ten between these; only the powers where those would be too many.
fn decades(low: f64, high: f64) -> Vec<f64> {
    let wide = (high / low).log10() > 3.2;
    let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| (digit, digit * 10f64.powi(power))));
    all.filter(|(digit, level)| (*level >= low && *level <= high) && (!wide || *digit == 1.0)).map(|(_, level)| level).collect()
}

pub(super) fn load(scene: &Scene) -> Option<Chart> {
    let (cpu, memory) = (series(scene, "cpu_usage"), series(scene, "memory_usage"));
    if cpu.is_empty() && memory.is_empty() {
        return None;
    }
    let mut frame = Frame::new(scene, "load", HEIGHT);
    let bottom = frame.bottom();
    let y = |value: f64| bottom - HEIGHT * value / 1.04;
    let fuller = if cpu.all().count() >= memory.all().count() { &cpu } else { &memory };
    for (from, to) in fuller.silences(scene) {
        frame.gap(from, to);
    }
    for level in [0.0, 0.25, 0.5, 0.75, 1.0] {
        frame.level(y(level), &percent(level));
    }
    let (of_cpu, of_memory) = (limits::of(scene, "cpu_usage"), limits::of(scene, "memory_usage"));
    let label = |short: &str, line: &Line| format!("{short} {}", share(line));
    let mut labelled: Vec<(Line, String)> = Vec::new();
    if !cpu.is_empty() {
        labelled.extend(of_cpu.iter().map(|line| (line.clone(), label("CPU", line))));
    }
    if !memory.is_empty() {
        labelled.extend(of_memory.iter().map(|line| (line.clone(), label("mem", line))));
    }
    labelled.sort_by(|one, next| one.0.bound.total_cmp(&next.0.bound));
    draw_limits(&mut frame, &labelled, y);
    for (series, class, name) in [(&cpu, "line", "CPU"), (&memory, "line second", "memory")] {
        if !series.is_empty() {
            frame.body.path(class, &series.steps(scene, y));
            frame.legend.push(Key::Line(class, name.into()));
        }
    }
    let lines: Vec<Line> = labelled.iter().map(|(line, _)| line.clone()).collect();
    let named = |line: &Line| {
        let text = labelled.iter().find(|(known, _)| known == line).map_or("", |(_, label)| label);
        format!("{text} ({})", line.rule)
    };
    let texts = [told(scene, "CPU", &cpu, percent), told(scene, "Memory", &memory, percent)];
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    Some(frame.finish(format!("{}{}", texts.join(" "), sentence(&lines, named))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_unknown_values_break_a_line() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let series = Series::new([(at(0), Some(1.0)), (at(60), Some(2.0)), (at(120), None), (at(180), Some(3.0)), (at(600), Some(1.0))].into_iter());
        assert_eq!(series.runs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(series.peak(), Some((at(180), 3.0)));
    }

    #[test]
    fn scales_have_a_few_round_steps() {
        assert_eq!(levels(0.35), [0.0, 0.1, 0.2, 0.30000000000000004]);
        assert_eq!(levels(1.0).len(), 6);
        assert_eq!(decades(0.6, 13.0), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(decades(0.6, 60_000.0), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        assert_eq!([times(1.0), times(0.55), times(10.04)], ["1x", "0.6x", "10x"]);
        assert_eq!([milliseconds(2.4), milliseconds(120.0), milliseconds(1200.0), milliseconds(31_000.0)], ["2.4 ms", "120 ms", "1.2 s", "31 s"]);
    }
}
