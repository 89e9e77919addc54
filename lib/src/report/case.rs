//! The incident of a report, as far as files and logs can tell more about it.

use super::rollback::undone;
use super::{Report, State, Story};
use crate::evidence::{CHANGES_S, Case};
use crate::record::Record;
use crate::time::seconds_between;

impl Story {
    /// What evidence is to be looked for, for the incident of this report. `None` if it is about none.
    pub fn case(&self, report: &Report) -> Option<Case> {
        let first = |run: Option<&str>| run.filter(|id| !id.is_empty()).map(str::to_owned);
        let mut incidents = self.incidents();
        let is_meant = |incident: &super::incident::Incident| {
            let rollback = report.rollbacks.first().and_then(|rollback| rollback.id.as_deref());
            incident.home == report.ecosystem.as_deref()
                && incident.name() == report.incident.as_deref()
                && first(incident.runs.first().map(|run| run.id)) == first(rollback)
        };
        let at = incidents.iter().rposition(is_meant)?;
        let incident = incidents.swap_remove(at);
        let onset = incident.onset().unwrap_or(incident.first());
        let went_through = |run: &&super::incident::Run| run.completed().is_some() && run.said.undoes.is_none() && undone(&incident, run).is_none();
        let before = |event: &&super::Event| (0..=CHANGES_S).contains(&seconds_between(event.stamp.time, onset));
        let mut changes: Vec<_> = self
            .events
            .iter()
            .filter(|event| self.home(&event.stamp) == incident.home)
            .filter(before)
            .filter_map(|event| if let Record::Change(change) = &event.record { Some((event.stamp.clone(), change.clone())) } else { None })
            .collect();
        changes.sort_by_key(|(stamp, _)| stamp.time);
        Some(Case {
            ecosystem: incident.home.map(str::to_owned),
            incident: incident.name().map(str::to_owned),
            onset,
            onset_from: report.offsets_from.clone().unwrap_or_default(),
            cut: incident.decisions.iter().filter_map(|(_, decision)| decision.cut).next_back(),
            chosen: incident.decisions.iter().filter_map(|(_, decision)| decision.snapshot.clone()).next_back(),
            // Of one that only switched something off there are no files.
            rollbacks: incident.runs.iter().filter(went_through).filter(|run| run.said.snapshot.is_some()).map(|run| run.said.clone()).collect(),
            over: matches!(report.state, State::Resolved | State::Undecided),
            changes,
        })
    }
}
