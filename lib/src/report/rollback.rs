//! One rollback of an incident: what it went back to, what that cost, and the way back from it.

use super::action::{before, free};
use super::incident::{Incident, Run};
use super::words::{clock, id6, millis, shell_word, span};
use super::{Rollback, Story};
use crate::record::{Record, Scope, Snapshot};
use crate::time::{Timestamp, seconds_between};
use std::collections::BTreeMap;

/// Going back this far is a minimal loss.
const MINIMAL_S: i64 = 900;

/// A snapshot with the time of its record.
pub(super) type Taken<'a> = (Timestamp, &'a Snapshot);

/// The snapshots of this service, by id; a later record replaces an earlier one.
pub(super) fn snapshots<'a>(story: &'a Story, home: Option<&str>) -> BTreeMap<&'a str, Taken<'a>> {
    let mut found = BTreeMap::new();
    for event in &story.events {
        if let Record::Snapshot(snapshot) = &event.record
            && story.home(&event.stamp) == home
        {
            found.insert(snapshot.id.as_str(), (event.stamp.time, snapshot));
        }
    }
    found
}

/// All about one rollback; `undone` is when another one took it back.
pub(super) fn rollback(story: &Story, incident: &Incident, run: &Run) -> Rollback {
    let taken = snapshots(story, incident.home);
    let used = run.said.snapshot.as_deref().and_then(|id| taken.get(id).copied());
    let safety = run.said.safety.as_deref().filter(|_| run.completed().is_some());
    let undone = undone(incident, run);
    let changed = || Some((run.said.created?, run.said.updated?, run.said.deleted?));
    Rollback {
        id: Some(run.id.to_owned()).filter(|id| !id.is_empty()),
        kind: kind(run),
        outcome: outcome(run, undone),
        snapshot: run.said.snapshot.clone(),
        about_snapshot: used.map(|used| about(used, incident, run)),
        passed_over: used.map(|used| passed_over(story, &taken, used, incident, run)).unwrap_or_default(),
        data_loss: data_loss(incident, run, used, undone),
        lost_s: lost_by(incident, run, &taken),
        set_aside: safety.filter(|_| undone.is_none()).map(|safety| {
            let what = if run.said.undoes.is_some() { "The rolled-back state" } else { "The state from before the rollback" };
            format!("{what} was set aside, not deleted, as {safety}")
        }),
        undo: safety.filter(|_| undone.is_none()).map(|safety| format!("eco-restore --undo {}", shell_word(safety))),
        changes: changed().map(|(created, updated, deleted)| {
            let (kept, preserved) = (run.said.kept.unwrap_or(0), run.said.preserved.unwrap_or(0));
            format!("{created} created, {updated} updated, {deleted} deleted; {kept} the same, {preserved} preserved")
        }),
        took: run.said.took_ms.map(|ms| {
            let stopped = run.said.downtime_ms.map_or_else(String::new, |ms| format!("; the service was stopped for {}", millis(ms)));
            format!("{}{stopped}", millis(ms))
        }),
    }
}

/// When another rollback took this one back.
pub(super) fn undone(incident: &Incident, run: &Run) -> Option<Timestamp> {
    incident.runs.iter().find(|other| !run.id.is_empty() && other.said.undoes.as_deref() == Some(run.id)).and_then(Run::completed)
}

/// Whether a rollback of what it is about can cost data.
pub(super) fn touches_data(run: &Run) -> bool {
    Scope::split(&run.said.scope).is_ok_and(|scopes| scopes.iter().any(Scope::holds_data))
}

fn kind(run: &Run) -> String {
    if let Some(undoes) = &run.said.undoes {
        return format!("undo of rollback {} ({})", id6(undoes), run.said.scope);
    }
    let mut scopes = Scope::split(&run.said.scope).unwrap_or_default();
    match scopes.pop().filter(|_| scopes.is_empty()) {
        Some(Scope::Full) => "full".to_owned(),
        Some(Scope::Config(None)) => "configuration".to_owned(),
        Some(Scope::Config(Some(id))) => format!("configuration, because of {id}"),
        Some(scope) => format!("{} {}", scope.kind(), scope.id().unwrap_or_default()),
        None => free(&run.said.scope),
    }
}

fn outcome(run: &Run, undone: Option<Timestamp>) -> String {
    let why = run.said.error.as_deref().map_or_else(String::new, |why| format!(": {}", free(why)));
    let text = match run.ended.map(|(_, end)| end.phase.as_str()) {
        None => "BEGUN, and its end is not in the stream".to_owned(),
        Some("completed") => "completed".to_owned(),
        Some("reverted") => format!("REVERTED, the tree from before is back{why}"),
        Some("failed") => format!("FAILED{why}"),
        Some(other) => free(other),
    };
    undone.map_or(text.clone(), |time| format!("{text}, and UNDONE at {}", clock(time)))
}

fn about((time, snapshot): Taken, incident: &Incident, run: &Run) -> String {
    let mut facts = vec![format!("taken {}", clock(time))];
    match incident.onset() {
        Some(onset) => facts.push(before(seconds_between(time, onset), "the onset")),
        None => facts.push(before(seconds_between(time, run.moment()), "the rollback")),
    }
    facts.extend(snapshot.kind.clone());
    facts.push(match snapshot.verified {
        Some(true) => "verified".to_owned(),
        Some(false) => "not verified".to_owned(),
        None => "verification not recorded".to_owned(),
    });
    facts.extend(snapshot.health.as_deref().map(|health| format!("health {health} when it was taken")));
    facts.extend(snapshot.path.as_ref().map(|path| path.path.clone()));
    free(&facts.join(", "))
}

/// Snapshots between the one that was used and the rollback, with what the stream says against them.
fn passed_over(story: &Story, taken: &BTreeMap<&str, Taken>, used: Taken, incident: &Incident, run: &Run) -> Vec<String> {
    let cut = incident.decisions.iter().filter_map(|(_, decision)| decision.cut).next_back();
    let mut newer: Vec<&Taken> = taken.values().filter(|(time, _)| *time > used.0 && *time <= run.moment()).collect();
    newer.retain(|(_, snapshot)| snapshot.kind.as_deref() != Some("safety"));
    newer.sort_by_key(|(time, _)| *time);
    let why = |time: Timestamp, snapshot: &Snapshot| match (cut, snapshot) {
        (_, snapshot) if damaged(story, &snapshot.id).is_some() => "found damaged".to_owned(),
        (Some(cut), _) if time > cut => format!("taken after {}, when the trouble may already have been in it", clock(cut)),
        (_, snapshot) if snapshot.verified != Some(true) => "not verified".to_owned(),
        (_, snapshot) if snapshot.good == Some(false) => "not marked good".to_owned(),
        (_, snapshot) if !covers(snapshot, run) => format!("does not hold all of {}", free(&run.said.scope)),
        _ => "why is not recorded".to_owned(),
    };
    newer.into_iter().map(|(time, snapshot)| format!("{} of {}: {}", id6(&snapshot.id), clock(*time), why(*time, snapshot))).collect()
}

/// When a snapshot was last found damaged.
pub(super) fn damaged(story: &Story, id: &str) -> Option<Timestamp> {
    story.events.iter().rev().find_map(|event| match &event.record {
        Record::Verification(found) if found.snapshot == id && found.ok == Some(false) => Some(event.stamp.time),
        _ => None,
    })
}

/// Whether a snapshot holds what was rolled back, as far as it says what it holds.
fn covers(snapshot: &Snapshot, run: &Run) -> bool {
    let held = |word: &str| snapshot.covers.is_empty() || snapshot.covers.iter().any(|held| held == word);
    Scope::split(&run.said.scope).unwrap_or_default().iter().all(|scope| match scope {
        Scope::Full => held("data") && held("config"),
        Scope::Config(_) => held("config"),
        Scope::Module(_) => held("modules") || held(&scope.to_string()),
        Scope::Automation(_) | Scope::Optimization(_) | Scope::Experiment(_) => true,
    })
}

/// The window whose writes are no longer in the tree: from the snapshot (or the rollback that was undone) to the rollback.
pub(super) fn window(incident: &Incident, run: &Run, used: Option<Taken>) -> Option<(Timestamp, Timestamp)> {
    let to = run.moment();
    if let Some(undoes) = &run.said.undoes {
        let from = incident.runs.iter().find(|other| other.id == undoes).and_then(Run::completed)?;
        return Some((from, to));
    }
    match (used, run.said.data_loss_s) {
        (Some((from, _)), _) => Some((from, to)),
        (None, Some(seconds)) => Some((to.checked_sub(jiff::SignedDuration::from_secs(seconds)).ok()?, to)),
        (None, None) => None,
    }
}

/// How many seconds of data are not in the tree any more, as far as the stream says; 0 where nothing was rolled back.
pub(super) fn lost(incident: &Incident, taken: &BTreeMap<&str, Taken>) -> Option<i64> {
    incident.runs.iter().try_fold(0, |most: i64, run| Some(most.max(lost_by(incident, run, taken)?)))
}

/// The same for one rollback.
fn lost_by(incident: &Incident, run: &Run, taken: &BTreeMap<&str, Taken>) -> Option<i64> {
    let phase = run.ended.map(|(_, end)| end.phase.as_str());
    let nothing_changed = phase == Some("reverted") || (phase == Some("failed") && matches!(run.said.exit, Some(2 | 4 | 6 | 7)));
    if nothing_changed || undone(incident, run).is_some() || !touches_data(run) {
        return Some(0);
    }
    // How it ended is what one would have to know.
    run.completed()?;
    let used = run.said.snapshot.as_deref().and_then(|id| taken.get(id).copied());
    let (from, to) = window(incident, run, used)?;
    Some(seconds_between(from, to))
}

fn data_loss(incident: &Incident, run: &Run, used: Option<Taken>, undone: Option<Timestamp>) -> Option<String> {
    let window = window(incident, run, used);
    let exact = window.map(|(from, to)| format!("{} to {} ({})", clock(from), clock(to), span(seconds_between(from, to))));
    match run.ended.map(|(_, end)| end.phase.as_str()) {
        Some("reverted") => return Some("None: the tree from before is back".to_owned()),
        Some("failed") if matches!(run.said.exit, Some(2 | 4 | 6 | 7)) => return Some("None: nothing was changed".to_owned()),
        Some("completed") => {}
        // It failed or vanished half-way: what is in the tree now is not in the stream.
        _ => return None,
    }
    if undone.is_some() {
        return Some("None any more: the rollback was undone".to_owned());
    }
    if !touches_data(run) {
        let files = exact.map_or_else(String::new, |exact| format!("; what its own files gained in {exact} is not in the tree"));
        return Some(format!("None: a rollback of {} touches no data{files}", free(&run.said.scope)));
    }
    let (from, to) = window?;
    let word = match seconds_between(from, to) {
        ..=0 => "None",
        1..=MINIMAL_S => "Minimal",
        _ => "Significant",
    };
    Some(format!("{word}: what was written from {} is not in the tree", exact?))
}
