//! What all charts share: the size, the axis of time, the marks with their names, the legend, and the words for those who do not see
//! the picture.

use super::svg::{Anchor, Steps, Svg, Text, width};
use super::{Chart, Scene, palette};
use crate::report::words::{offset, visible};
use crate::report::{Mark, MarkKind, Window};
use crate::time::{Timestamp, seconds_between};
use std::fmt::Write;

/// Charts are this wide; what they are shown at is up to the page.
pub(super) const WIDTH: f64 = 800.0;
/// The plot's left and right edge, with room for names and limits beside it.
pub(super) const LEFT: f64 = 104.0;
pub(super) const RIGHT: f64 = 708.0;
/// The plot's upper edge, below title and marks.
pub(super) const TOP: f64 = 56.0;
/// What the axis of time needs below the plot.
const FOOT: f64 = 26.0;
/// Beside a text that must not touch the next one.
const AIR: f64 = 10.0;
/// No more ticks than this fit beside each other.
const TICKS: i64 = 10;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const STEPS: [i64; 16] = [
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
];

/// Time from left to right.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeAxis {
    from: i64,
    length: i64,
}

impl TimeAxis {
    pub fn new(window: Window) -> TimeAxis {
        let from = window.from.as_millisecond();
        TimeAxis { from, length: (window.to.as_millisecond() - from).max(1000) }
    }

    /// Where an instant is, also outside the plot.
    pub fn x(&self, time: Timestamp) -> f64 {
        LEFT + (RIGHT - LEFT) * (time.as_millisecond() - self.from) as f64 / self.length as f64
    }

    /// The same, kept inside the plot.
    pub fn inside(&self, time: Timestamp) -> f64 {
        self.x(time).clamp(LEFT, RIGHT)
    }

    pub fn shows(&self, time: Timestamp) -> bool {
        (0..=self.length).contains(&(time.as_millisecond() - self.from))
    }

    /// Round times of day, with what is written below them.
    fn ticks(&self) -> Vec<(f64, String)> {
        let seconds = self.length / 1000;
        let mut step = STEPS.into_iter().find(|step| seconds / step < TICKS).unwrap_or(28 * DAY);
        while seconds / step >= TICKS {
            step *= 2;
        }
        let first = self.from.div_euclid(1000 * step) * step + step;
        let mut ticks = Vec::new();
        for second in (first..).step_by(step as usize).take_while(|second| second * 1000 <= self.from + self.length) {
            let Ok(time) = Timestamp::from_second(second) else { break };
            let format = if step >= DAY || second % DAY == 0 { "%m-%d" } else { "%H:%M" };
            ticks.push((self.x(time), time.strftime(format).to_string()));
        }
        ticks
    }
}

/// One entry of a legend: what it looks like, and what it means.
pub(super) enum Key {
    /// A line of this class.
    Line(&'static str, String),
    /// An area of this class, filled with a pattern of the chart if one is named.
    Area(&'static str, &'static str, String),
}

impl Key {
    fn text(&self) -> &str {
        match self {
            Key::Line(_, text) | Key::Area(_, _, text) => text,
        }
    }
}

/// A chart that is being drawn.
pub(super) struct Frame<'a> {
    scene: &'a Scene<'a>,
    name: &'static str,
    title: &'static str,
    /// The plot's height.
    height: f64,
    /// Beside the title.
    pub legend: Vec<Key>,
    /// Below the lines of the time axis.
    pub under: Svg,
    /// Between the lines of the time axis and the marks.
    pub body: Svg,
    /// Texts, above all else.
    pub over: Svg,
}

impl<'a> Frame<'a> {
    pub fn new(scene: &'a Scene<'a>, name: &'static str, height: f64) -> Frame<'a> {
        let title = super::title_of(name);
        Frame { scene, name, title, height, legend: Vec::new(), under: Svg::default(), body: Svg::default(), over: Svg::default() }
    }

    /// The name of a pattern of this chart; ids are shared by everything on one page.
    pub fn pattern(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    pub fn bottom(&self) -> f64 {
        TOP + self.height
    }

    /// Marks a stretch of the plot in which nothing is known.
    pub fn gap(&mut self, from: f64, to: f64) {
        self.hatch(from, to, TOP, self.height);
        if to - from > width("no data") + AIR {
            self.over.text("note", Anchor::Middle, ((from + to) / 2.0, self.bottom() - 5.0), "no data");
        }
    }

    /// The same for a part of its height, and without a word.
    pub fn hatch(&mut self, from: f64, to: f64, top: f64, height: f64) {
        // Between two samples that are a pixel apart nothing is missing.
        if to - from > 1.5 {
            let pattern = self.pattern("gap");
            self.under.filled("gap", &pattern, Steps::default().bar((from, top), (to - from, height)));
        }
    }

    /// A line across the plot, with what it stands for at the right.
    pub fn level(&mut self, y: f64, label: &str) {
        self.under.line("grid", (LEFT, y), (RIGHT, y));
        self.under.text("tick", Anchor::End, (LEFT - 6.0, y + 4.0), label);
    }

    /// Puts everything together. The description is for those who do not see the chart, and for everybody below it.
    pub fn finish(self, description: String) -> Chart {
        let Frame { scene, name, title, height, legend, under, body, over } = self;
        let bottom = TOP + height;
        let mut svg = Svg::default();
        svg.rect("paper", (0.0, 0.0), (WIDTH, bottom + FOOT));
        svg.rect("plot", (LEFT, TOP), (RIGHT - LEFT, height));
        svg.add(under);
        for (x, label) in scene.axis.ticks() {
            svg.line("grid", (x, TOP), (x, bottom));
            // The last one would be cut at the edge.
            if x < WIDTH - width(&label) / 2.0 {
                svg.text("tick", Anchor::Middle, (x, bottom + 15.0), &label);
            }
        }
        let day = scene.window.from.strftime("%Y-%m-%d").to_string();
        svg.text("tick", Anchor::End, (LEFT - 30.0, bottom + 15.0), &day);
        svg.text("tick", Anchor::Start, (RIGHT + 24.0, bottom + 15.0), "UTC");
        svg.add(body);
        svg.add(marks(scene, bottom));
        svg.add(over);
        svg.text("title", Anchor::Start, (0.0, 14.0), title);
        svg.add(key(name, legend));
        let (full, about) = (Text(title), Text(&description));
        let (w, h) = (WIDTH, super::svg::Number(bottom + FOOT));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{full}</title><desc id="{name}-desc">{about}</desc>{}{}{}</svg>"#,
            palette::STYLE,
            palette::patterns(name),
            svg.into_text(),
        );
        Chart { name, title: title.to_owned(), description: visible(&description), svg: text }
    }
}

/// The marks: a line through the plot each, its name above, moved aside where another one is in the way.
fn marks(scene: &Scene, bottom: f64) -> Svg {
    let mut svg = Svg::default();
    let shown: Vec<(&Mark, String)> = scene.marks.iter().map(|mark| (mark, label(scene, mark))).collect();
    let wanted: Vec<(f64, f64)> = shown.iter().map(|(mark, label)| (scene.axis.inside(mark.time), width(label) + 12.0 + AIR)).collect();
    for (((mark, label), (x, _)), middle) in shown.iter().zip(&wanted).zip(spread(&wanted, 0.0, WIDTH)) {
        let class = class(mark.kind);
        let wide = width(label);
        let (elbow, from) = (TOP - 5.0, TOP - 15.0);
        let x = *x;
        svg.path(&format!("lead {class}"), Steps::default().go(middle, from).draw(x, elbow).draw(x, TOP));
        if scene.axis.shows(mark.time) {
            svg.path(&format!("mark {class}"), Steps::default().go(x, TOP).draw(x, bottom));
        }
        svg.path_with(&format!("sign {class}"), &sign(mark.kind, middle - wide / 2.0 - 1.0, TOP - 22.0), &mark.label);
        svg.text_with(&format!("name {class}"), Anchor::Middle, (middle + 6.0, TOP - 18.0), label, &mark.label);
    }
    svg
}

fn label(scene: &Scene, mark: &Mark) -> String {
    let word = match mark.kind {
        MarkKind::Suspect => "suspect",
        MarkKind::Onset => "onset",
        MarkKind::Detected => "detected",
        MarkKind::Rollback => "rollback",
        MarkKind::Restored => "restored",
    };
    let text = format!("{word} {}", offset(seconds_between(scene.zero, mark.time)));
    // What lies outside is named at the edge, with an arrow to where it is.
    match mark.time {
        time if scene.axis.shows(time) => text,
        time if time < scene.window.from => format!("\u{2039} {text}"),
        _ => format!("{text} \u{203a}"),
    }
}

fn class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Suspect => "suspect",
        MarkKind::Onset => "onset",
        MarkKind::Detected => "detected",
        MarkKind::Rollback => "rollback",
        MarkKind::Restored => "restored",
    }
}

/// A shape for each kind: a diamond, a triangle that points down, a circle's outline, a square, a triangle that points up.
fn sign(kind: MarkKind, x: f64, y: f64) -> Steps {
    let mut steps = Steps::default();
    match kind {
        MarkKind::Suspect => steps.go(x, y - 4.5).draw(x + 4.5, y).draw(x, y + 4.5).draw(x - 4.5, y),
        MarkKind::Onset => steps.go(x - 4.5, y - 4.0).draw(x + 4.5, y - 4.0).draw(x, y + 4.0),
        MarkKind::Detected => steps
            .go(x - 2.0, y - 4.5)
            .draw(x + 2.0, y - 4.5)
            .draw(x + 4.5, y - 2.0)
            .draw(x + 4.5, y + 2.0)
            .draw(x + 2.0, y + 4.5)
            .draw(x - 2.0, y + 4.5)
            .draw(x - 4.5, y + 2.0)
            .draw(x - 4.5, y - 2.0),
        MarkKind::Rollback => steps.go(x - 4.0, y - 4.0).draw(x + 4.0, y - 4.0).draw(x + 4.0, y + 4.0).draw(x - 4.0, y + 4.0),
        MarkKind::Restored => steps.go(x - 4.5, y + 4.0).draw(x, y - 4.0).draw(x + 4.5, y + 4.0),
    }
    .end();
    steps
}

/// The legend, written from the right edge.
fn key(name: &str, legend: Vec<Key>) -> Svg {
    let mut svg = Svg::default();
    // The last letters may be wider than others.
    let mut x = WIDTH - AIR - legend.iter().map(|key| width(key.text()) + 24.0 + AIR).sum::<f64>() + AIR;
    for key in legend {
        match &key {
            Key::Line(class, _) => svg.line(class, (x, 10.0), (x + 18.0, 10.0)),
            Key::Area(class, "", _) => svg.rect(class, (x, 4.0), (18.0, 11.0)),
            Key::Area(class, pattern, _) => {
                svg.rect(class, (x, 4.0), (18.0, 11.0));
                svg.filled("over", &format!("{name}-{pattern}"), Steps::default().bar((x, 4.0), (18.0, 11.0)));
            }
        }
        svg.text("tick", Anchor::Start, (x + 23.0, 14.0), key.text());
        x += width(key.text()) + 24.0 + AIR;
    }
    svg
}

/// Where to put things of these widths that want to be centred here, in this order, so that none covers another and none
/// moves further than it must. Between `low` and `high`, as far as there is room.
pub(super) fn spread(wanted: &[(f64, f64)], low: f64, high: f64) -> Vec<f64> {
    /// Neighbours that touch: how many, how wide together, and the sum of where each wants the left edge of all.
    struct Block {
        members: usize,
        wide: f64,
        sum: f64,
    }
    let start = |block: &Block| (block.sum / block.members as f64).min(high - block.wide).max(low);
    let mut blocks: Vec<Block> = Vec::new();
    for (centre, wide) in wanted {
        let mut last = Block { members: 1, wide: *wide, sum: centre - wide / 2.0 };
        while let Some(before) = blocks.pop_if(|before| start(before) + before.wide > start(&last)) {
            last = Block {
                members: before.members + last.members,
                // Each member of the right one wants the common edge further left, by what now stands before it.
                sum: before.sum + last.sum - before.wide * last.members as f64,
                wide: before.wide + last.wide,
            };
        }
        blocks.push(last);
    }
    let mut placed = Vec::with_capacity(wanted.len());
    for block in &blocks {
        let mut edge = start(block);
        for (_, wide) in &wanted[placed.len()..placed.len() + block.members] {
            placed.push(edge + wide / 2.0);
            edge += wide;
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_moved_apart_and_no_further_than_needed() {
        assert_eq!(spread(&[(50.0, 20.0), (100.0, 20.0)], 0.0, 200.0), [50.0, 100.0]);
        assert_eq!(spread(&[(50.0, 20.0), (50.0, 20.0)], 0.0, 200.0), [40.0, 60.0]);
        assert_eq!(spread(&[(0.0, 20.0), (5.0, 20.0)], 0.0, 200.0), [10.0, 30.0]);
        assert_eq!(spread(&[(199.0, 20.0), (199.0, 40.0)], 0.0, 200.0), [150.0, 180.0]);
        let many: Vec<(f64, f64)> = [3.0, 100.0, 101.0, 102.0, 110.0, 190.0].map(|centre| (centre, 30.0)).into();
        let placed = spread(&many, 0.0, 200.0);
        for pair in placed.windows(2) {
            assert!(pair[1] - pair[0] >= 30.0 - 1e-9, "{placed:?}");
        }
        assert!(placed[0] >= 15.0 - 1e-9 && placed[5] <= 185.0 + 1e-9, "{placed:?}");
    }

    #[test]
    fn ticks_are_round_and_few() {
        let axis = |from: &str, to: &str| TimeAxis::new(Window { from: from.parse().unwrap(), to: to.parse().unwrap() });
        let words = |axis: TimeAxis| axis.ticks().into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words(axis("2026-03-01T09:31:00Z", "2026-03-01T10:24:00Z"))[..2], ["09:40", "09:50"]);
        assert_eq!(
            words(axis("2026-03-01T22:00:00Z", "2026-03-02T02:00:00Z")),
            ["22:30", "23:00", "23:30", "03-02", "00:30", "01:00", "01:30", "02:00"]
        );
        assert_eq!(words(axis("2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z")).len(), 7);
        assert!((1..=10).contains(&words(axis("1000-01-01T00:00:00Z", "9000-01-01T00:00:00Z")).len()));
        assert!(words(axis("2026-03-01T10:00:01Z", "2026-03-01T10:00:01Z")).is_empty());
    }
}
