//! The incidents of a stream: one line each, and which one a word means.

use super::derive::{self, Case};
use super::health::Sample;
use super::incident::Incident;
use super::rollback::undone;
use super::words::{clock, list as sentence, shorten, span, visible};
use super::{State, Story, action};
use crate::error::{Error, Result};
use crate::record::Action;
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// Which incident a report is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The one that began last.
    #[default]
    Last,
    /// The one in this place of the list.
    At(usize),
}

impl Choice {
    pub(super) fn within(self, incidents: usize) -> Option<usize> {
        match self {
            Choice::Last => incidents.checked_sub(1),
            Choice::At(at) => Some(at).filter(|at| *at < incidents),
        }
    }
}

/// One incident in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its name in the decisions; without any the id of its first rollback.
    pub id: String,
    /// The service.
    pub ecosystem: Option<String>,
    /// How it stands.
    pub state: State,
    /// Its first record.
    pub began: Timestamp,
    /// When the trouble began.
    pub onset: Option<Timestamp>,
    /// From the onset to the first healthy sample, in an open incident to the last record.
    pub duration_s: Option<i64>,
    /// The highest that a decision gave it.
    pub severity: Option<String>,
    /// What was rolled back, else what was meant to be.
    pub scope: Option<String>,
    /// What became of it, in words.
    pub outcome: String,
}

impl Story {
    /// All incidents, the one that began last at the end.
    pub fn list(&self) -> Vec<Summary> {
        let mut samples: BTreeMap<Option<&str>, Vec<Sample>> = BTreeMap::new();
        let mut list = Vec::new();
        for incident in self.incidents() {
            let all = samples.entry(incident.home).or_insert_with_key(|home| derive::samples(self, *home));
            list.push(summary(Case::among(self, incident, all)));
        }
        list
    }

    /// The incident whose id begins like this; with several services in the stream, `SERVICE/ID` names one of one of them.
    ///
    /// # Errors
    /// [`Error::NoMatch`] where none does, [`Error::Usage`] where several do; both name what there is.
    pub fn find(&self, word: &str) -> Result<Choice> {
        self.look_up(word, true)
    }

    /// The incident with this very id: what was written about one must not end up with another whose id only begins like it.
    ///
    /// # Errors
    /// As by [`Story::find`].
    pub fn find_exactly(&self, id: &str) -> Result<Choice> {
        self.look_up(id, false)
    }

    fn look_up(&self, word: &str, by_beginning: bool) -> Result<Choice> {
        let names: Vec<[String; 2]> = self.incidents().iter().map(names).collect();
        let at = |test: &dyn Fn(&String) -> bool| -> Vec<usize> {
            names.iter().enumerate().filter(|(_, names)| names.iter().any(test)).map(|(at, _)| at).collect()
        };
        let whole = at(&|name| name == word);
        let found = if whole.is_empty() && by_beginning { at(&|name| name.starts_with(word)) } else { whole };
        let told = |places: &[usize]| {
            const MOST: usize = 10;
            let mut told: Vec<String> = places.iter().rev().take(MOST).map(|at| visible(&names[*at][1])).collect();
            told.extend(places.len().checked_sub(MOST + 1).map(|more| format!("{} more", more + 1)));
            sentence(&told)
        };
        match found[..] {
            [at] => Ok(Choice::At(at)),
            [] if names.is_empty() => Err(Error::NoMatch("the stream holds no incident".into())),
            [] => Err(Error::NoMatch(format!(
                "no incident of the stream is called {}; it holds {}",
                visible(word),
                told(&(0..names.len()).collect::<Vec<_>>())
            ))),
            _ => Err(Error::Usage(format!("{} may mean {}: say more of it", visible(word), told(&found)))),
        }
    }
}

/// What an incident may be called by: its id, alone and after its service.
fn names(incident: &Incident) -> [String; 2] {
    let id = incident.id();
    let long = incident.home.map_or_else(|| id.clone(), |home| format!("{home}/{id}"));
    [id, long]
}

fn summary(case: Case) -> Summary {
    let incident = &case.incident;
    let rolled_back = incident.runs.iter().rfind(|run| run.said.undoes.is_none()).map(|run| run.said.scope.clone());
    let meant = || incident.decisions.iter().rev().find_map(|(_, decision)| decision.scope.as_ref().map(ToString::to_string));
    Summary {
        id: incident.id(),
        ecosystem: incident.home.map(str::to_owned),
        state: incident.state(),
        began: incident.first(),
        onset: incident.onset(),
        duration_s: case.seconds(),
        severity: incident.severity().map(|severity| action::severity(severity).to_owned()),
        scope: rolled_back.or_else(meant),
        outcome: outcome(incident),
    }
}

/// What became of an incident: how its last rollback ended, else what its last decision says.
fn outcome(incident: &Incident) -> String {
    let rolled_back = incident.runs.iter().rfind(|run| run.said.undoes.is_none());
    let text = match (rolled_back, incident.decisions.last().map(|(_, decision)| decision.action)) {
        (Some(run), _) if undone(incident, run).is_some() => "rolled back and undone",
        (Some(run), _) => match run.ended.map(|(_, end)| end.phase.as_str()) {
            Some("completed") => "rolled back",
            Some("reverted") => "rollback reverted",
            Some("failed") => "rollback failed",
            _ => "rollback begun, no end",
        },
        (None, Some(Action::Resolved)) => "recovered, no rollback",
        (None, Some(Action::Propose)) => "rollback proposed",
        (None, Some(Action::Rollback)) => "rollback decided, none begun",
        (None, Some(Action::Escalate)) => "handed to a person",
        (None, Some(Action::Investigate)) => "to be investigated",
        (None, _) => "watched",
    };
    text.to_owned()
}

pub(super) fn state(state: State) -> &'static str {
    match state {
        State::None => "none",
        State::Ongoing => "ongoing",
        State::Resolved => "resolved",
        State::Undecided => "undecided",
    }
}

/// The list as a table for people.
pub fn table(list: &[Summary]) -> String {
    /// Longer names are cut; the JSON has them whole.
    const WIDEST: usize = 40;
    let several = list.iter().any(|one| one.ecosystem != list[0].ecosystem);
    let unknown = || "-".to_owned();
    let mut rows = vec![["ID", "STATE", "ONSET (UTC)", "DURATION", "SEVERITY", "SCOPE", "OUTCOME"].map(str::to_owned).to_vec()];
    for one in list {
        let id = match &one.ecosystem {
            Some(home) if several => format!("{home}/{}", one.id),
            _ => one.id.clone(),
        };
        // An id is for typing in: it is whole or it is of no use.
        rows.push(vec![
            visible(&id),
            state(one.state).to_owned(),
            one.onset.map_or_else(unknown, clock),
            one.duration_s.map_or_else(unknown, span),
            one.severity.clone().unwrap_or_else(unknown),
            shorten(&one.scope.as_deref().map_or_else(unknown, visible), WIDEST),
            one.outcome.clone(),
        ]);
    }
    let columns = rows[0].len();
    let widths: Vec<usize> = (0..columns).map(|at| rows.iter().map(|row| row[at].width()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell}{:fill$}  ", "", fill = width - cell.width());
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
