//! The charts of a report: a stretch of time around the incident, seven times, over one axis and with the same marks.
//!
//! Each is an SVG that stands alone: no script, no outside address, light and dark, numbers written in one way only, so that the same
//! stream gives the same bytes. Nothing in it is said by colour alone. Samples are thinned to the lowest and the highest of each
//! pixel column, so that a week of samples stays small and no peak is lost. What the stream does not hold is a gap.

mod frame;
mod limits;
mod measures;
pub(super) mod palette;
mod rollout;
mod states;
mod strip;
pub(super) mod svg;
mod thin;

use super::derive::Case;
use super::health::{Limit, Normal, Sample};
use super::incident::Incident;
use super::words::{clock, offset};
use super::{Event, Mark, Report, Story, Window};
use crate::time::{Timestamp, seconds_between};
use frame::TimeAxis;

/// One chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Its name in addresses and file names.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub title: String,
    /// What is to be seen in it, in sentences: plain text, not escaped.
    pub description: String,
    /// The picture, complete in itself.
    pub svg: String,
}

/// Every chart that there can be, in the order in which they stand: name and title.
pub(super) const ALL: [(&str, &str); 7] = [
    ("story", "Story"),
    ("errors", "Error rate"),
    ("response", "Response time"),
    ("load", "CPU and memory"),
    ("modules", "Modules"),
    ("availability", "Availability"),
    ("rollout", "Rollout"),
];

fn title_of(name: &str) -> &'static str {
    ALL.iter().find(|(known, _)| *known == name).map_or("", |(_, title)| title)
}

/// The charts that the stream has data for, in the order of [`ALL`].
pub(super) fn charts(story: &Story, report: &Report) -> Vec<Chart> {
    let Some(scene) = Scene::new(story, report) else { return Vec::new() };
    let all = [
        strip::chart(&scene),
        measures::errors(&scene),
        measures::response(&scene),
        measures::load(&scene),
        states::modules(&scene),
        states::availability(&scene),
        rollout::chart(&scene),
    ];
    all.into_iter().flatten().collect()
}

/// What all charts of a report look at.
struct Scene<'a> {
    story: &'a Story,
    incident: Incident<'a>,
    /// Health of the service inside the window.
    samples: Vec<Sample<'a>>,
    limits: Vec<Limit>,
    normal: Option<Normal>,
    window: Window,
    axis: TimeAxis,
    marks: &'a [Mark],
    /// What offsets count from.
    zero: Timestamp,
}

impl<'a> Scene<'a> {
    fn new(story: &'a Story, report: &'a Report) -> Option<Scene<'a>> {
        let window = report.window?;
        let is_it = |incident: &Incident| incident.home == report.ecosystem.as_deref() && Some(incident.id()) == report.id;
        let incident = story.incidents().into_iter().rfind(is_it)?;
        let Case { incident, samples, limits, normal, zero, .. } = Case::new(story, incident);
        let samples = samples.into_iter().filter(|sample| (window.from..=window.to).contains(&sample.time)).collect();
        Some(Scene { story, incident, samples, limits, normal, window, axis: TimeAxis::new(window), marks: &report.marks, zero })
    }

    /// Whether a record is about this service and inside the window.
    fn sees(&self, event: &Event) -> bool {
        self.story.home(&event.stamp) == self.incident.home && self.axis.shows(event.stamp.time)
    }

    /// An instant in a sentence about a chart.
    fn at(&self, time: Timestamp) -> String {
        let offset = offset(seconds_between(self.zero, time));
        // Within a day the time of day is enough.
        let is_short = seconds_between(self.window.from, self.window.to) < 86_400;
        if is_short { format!("{} ({offset})", time.strftime("%H:%M:%S")) } else { format!("{} ({offset})", clock(time)) }
    }
}
