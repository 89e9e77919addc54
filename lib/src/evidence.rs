//! Evidence for the root cause, beside the report: what differs between the good snapshot and the broken state, what was changed shortly
//! before, and what the logs say around the onset.
//!
//! It leaves the machine, so secrets are masked in all of it. Everything in it has bounds, and what is beyond them, gone, damaged or not
//! to be read is said. No clock is asked: the same stream, store, tree and logs give the same bytes.

mod differ;
mod folder;
mod logs;
mod mask;
mod stamp;
mod text;
mod words;

pub use folder::{Folder, folder};
pub use mask::Pattern;
pub use stamp::Zone;

use crate::error::{Error, Result};
use crate::record::{Change, RecordPath, Restore, Stamp};
use crate::report::words::count;
use crate::restore::{Ecosystem, pending, set_aside};
use crate::scope::Patterns;
use crate::store::{Store, Stored, id6};
use crate::time::{Span, Timestamp};
use differ::Broken;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Changes in this time before the onset are evidence.
pub const CHANGES_S: i64 = 7200;
/// Lines of logs from this long before the onset.
const BEFORE: Span = Span::seconds(300);
/// And until this long after it.
const AFTER: Span = Span::seconds(600);
/// Whose name a change has that nobody recorded.
const FOUND_BY: &str = "eco-verify";
/// All differences in text together.
const MOST_DIFFS: usize = 2 << 20;

/// `[evidence]`: what is looked at beside the tree, and what never leaves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Logs: patterns below the ecosystem's root, or below the root of all files where they begin with a slash.
    pub logs: Vec<String>,
    /// The zone of times that name none.
    pub log_zone: Zone,
    /// How long before the onset lines are taken.
    pub log_before: Option<Span>,
    /// How long after it.
    pub log_after: Option<Span>,
    /// Secrets, beside those that anybody knows.
    pub mask: Vec<Pattern>,
    /// Paths whose content never leaves.
    pub exclude: Vec<String>,
}

impl Rules {
    /// Whether every pattern can be understood.
    ///
    /// # Errors
    /// A sentence that names the one that cannot.
    pub fn check(&self) -> Result<(), String> {
        Patterns::new(&self.logs)?;
        Patterns::new(&self.exclude)?;
        match self.logs.iter().find(|pattern| pattern.split('/').any(|part| part == "..")) {
            Some(pattern) => Err(format!("logs: '{}' leads out of the folder that it is in", pattern.escape_debug())),
            None => Ok(()),
        }
    }

    /// How long before the onset lines are taken, and how long after it.
    pub fn window(&self) -> (Span, Span) {
        (self.log_before.unwrap_or(BEFORE), self.log_after.unwrap_or(AFTER))
    }
}

/// The incident that evidence is looked for, as the stream tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    /// The service.
    pub ecosystem: Option<String>,
    /// The incident's name.
    pub incident: Option<String>,
    /// When it began.
    pub onset: Timestamp,
    /// What that instant is: the onset, or what stands for it.
    pub onset_from: String,
    /// Before this a snapshot holds none of the trouble, as far as the policy knows.
    pub cut: Option<Timestamp>,
    /// The snapshot that the policy chose.
    pub chosen: Option<String>,
    /// Rollbacks that went through and were not undone, in order.
    pub rollbacks: Vec<Restore>,
    /// Whether the incident is over.
    pub over: bool,
    /// Changes before the onset, in order.
    pub changes: Vec<(Stamp, Change)>,
}

/// What evidence is gathered from.
pub struct Asked<'a> {
    /// The service.
    eco: &'a Ecosystem,
    /// What `[evidence]` says.
    rules: &'a Rules,
    /// Files of its `log` probes, as they are written.
    log_probes: &'a [PathBuf],
    /// Lines from this time on.
    from: Timestamp,
    /// The onset.
    onset: Timestamp,
    /// In words.
    onset_from: String,
    /// Lines up to this time.
    to: Timestamp,
    /// The time now: what was taken later than this was taken by a clock that is wrong.
    now: Timestamp,
    /// A private folder for copies of databases.
    scratch: &'a Path,
    /// Is told bytes read.
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<'a> Asked<'a> {
    /// Asks for evidence of this incident.
    pub fn new(
        case: &Case,
        eco: &'a Ecosystem,
        rules: &'a Rules,
        log_probes: &'a [PathBuf],
        now: Timestamp,
        scratch: &'a Path,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Asked<'a> {
        let (before, after) = rules.window();
        Asked {
            eco,
            rules,
            log_probes,
            from: case.onset.checked_sub(before.0).unwrap_or(Timestamp::MIN),
            onset: case.onset,
            onset_from: case.onset_from.clone(),
            to: case.onset.checked_add(after.0).unwrap_or(Timestamp::MAX),
            now,
            scratch,
            progress,
        }
    }
}

/// Something that is not in the evidence, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// In one sentence.
    pub what: String,
    /// Whether it should have been in it: what was left out because somebody wanted that is only told.
    pub missing: bool,
}

impl Gap {
    fn missing(what: impl Into<String>) -> Gap {
        Gap { what: what.into(), missing: true }
    }

    fn told(what: impl Into<String>) -> Gap {
        Gap { what: what.into(), missing: false }
    }
}

/// A state of the tree: a snapshot, or a tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct State {
    /// In words.
    pub what: String,
    /// The snapshot's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// When it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// Two states of the tree, and how they differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// The rollback that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<String>,
    /// How the tree is meant to be.
    pub good: State,
    /// How it was, or is.
    pub broken: State,
    /// What was compared, relative to the ecosystem's root.
    pub roots: Vec<String>,
    /// What differs, by unit; what lies still until somebody changes it comes first.
    pub units: Vec<Unit>,
    /// Paths that are the same.
    pub same: u64,
    /// Paths that differ, by unit and name.
    pub paths: Vec<PathEvidence>,
    /// Differing paths that are counted and not listed.
    pub left_out: u64,
    #[serde(skip)]
    masked: u64,
}

/// Paths of one unit that differ, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Unit {
    /// `config`, `module:ID`, or the name of a scope.
    pub unit: String,
    /// In the broken state only.
    pub created: u64,
    /// In the good state only.
    pub deleted: u64,
    /// With other content.
    pub content: u64,
    /// Of another kind.
    pub kind: u64,
    /// With another mode, owner, link or attributes.
    pub metadata: u64,
    /// With another modification time, and nothing else.
    pub only_times: u64,
}

impl Unit {
    /// Paths that differ in more than time.
    fn paths(&self) -> u64 {
        self.created + self.deleted + self.content + self.kind + self.metadata
    }
}

/// One path that differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PathEvidence {
    /// What it belongs to.
    pub unit: String,
    /// Relative to the ecosystem's root.
    #[serde(flatten)]
    pub path: RecordPath,
    /// Seen from the good state: `created`, `deleted`, `content`, `kind`, `metadata`.
    pub what: String,
    /// Which details differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// In the good state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Look>,
    /// In the broken state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Look>,
    /// What is shown of the content: `diff`, `tables`; or why nothing is: `binary`, `long`, `excluded`, `left out`, `not at hand`, `not read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// Of a database: tables with another number of rows; all of them where no number differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Tables>,
}

/// How a path looks on one side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Look {
    /// `file`, `dir`, `symlink` …
    pub kind: String,
    /// Length of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Last modification.
    pub mtime: Timestamp,
    /// Permission bits in octal.
    pub mode: String,
    /// Owner and group.
    pub owner: String,
    /// `sha256:` and hex of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A table of a database, and how many rows it has on either side; absent where there is no such table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tables {
    /// Its name.
    pub table: String,
    /// In the good state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// In the broken state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// What was taken of one log.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Log {
    /// The file in `logs/`.
    pub file: String,
    /// The log.
    #[serde(flatten)]
    pub path: RecordPath,
    /// Lines that were taken.
    pub lines: u64,
    /// Lines of the time that were left out.
    pub left_out: u64,
    /// Whether its lines have times that could be read.
    pub dated: bool,
    /// Files that were read, the oldest first.
    pub files: Vec<String>,
    #[serde(skip)]
    masked: u64,
    #[serde(skip)]
    text: String,
}

/// One change before the onset.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Changed {
    time: Timestamp,
    #[serde(flatten)]
    change: Change,
}

/// All that was gathered.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u32,
    ecosystem: Option<String>,
    incident: Option<String>,
    onset: Timestamp,
    onset_from: String,
    comparisons: Vec<Comparison>,
    changes: Vec<Changed>,
    logs: Vec<Log>,
    log_zone: String,
    masked: u64,
    gaps: Vec<Gap>,
    #[serde(skip)]
    diffs: String,
}

/// The evidence in a few words, for the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The folder's name.
    pub folder: String,
    /// What is in it, in one sentence.
    pub holds: String,
    /// How many paths differ and in which units, as a fact; absent if nothing was compared.
    pub fact: Option<String>,
    /// What should be in it and is not.
    pub missing: u64,
}

/// Looks at everything that can still be looked at. What cannot is a gap in the result.
///
/// # Errors
/// [`Error::Config`] for a pattern that cannot be understood.
pub fn gather(case: &Case, asked: &Asked<'_>) -> Result<Evidence> {
    let mut gaps = Vec::new();
    let mut diffs = String::new();
    if let Some(other) = case.ecosystem.as_ref().filter(|name| **name != asked.eco.name) {
        gaps.push(Gap::missing(format!(
            "the incident is one of {other}, and this is the tree and the store of {}: nothing of them was taken",
            asked.eco.name
        )));
    }
    let mut comparisons = Vec::new();
    let mut logs = Vec::new();
    if gaps.is_empty() {
        comparisons = compare(case, asked, &mut diffs, &mut gaps);
        logs = logs::collect(asked, &mut gaps)?;
        if asked.rules.logs.is_empty() && asked.log_probes.is_empty() {
            gaps.push(Gap::told("no log is declared: [evidence] logs in eco.toml names them"));
        }
    }
    let mut masked = comparisons.iter().map(|one| one.masked).chain(logs.iter().map(|log| log.masked)).sum();
    let changes = case.changes.iter().map(|(stamp, change)| changed(stamp.time, change, &asked.rules.mask, &mut masked)).collect();
    for gap in &mut gaps {
        let (text, more) = mask::one(&text::readable(gap.what.as_bytes()), &asked.rules.mask);
        gap.what = text;
        masked += more;
    }
    Ok(Evidence {
        kind: "evidence",
        version: 1,
        ecosystem: case.ecosystem.clone(),
        incident: case.incident.clone(),
        onset: case.onset,
        onset_from: case.onset_from.clone(),
        comparisons,
        changes,
        logs,
        log_zone: asked.rules.log_zone.word().to_owned(),
        masked,
        gaps,
        diffs,
    })
}

/// A change with every word of it masked: others have written them.
fn changed(time: Timestamp, change: &Change, patterns: &[Pattern], masked: &mut u64) -> Changed {
    let mut say = |text: &String| {
        let (text, more) = mask::one(&text::readable(text.as_bytes()), patterns);
        *masked += more;
        text
    };
    let change = Change {
        id: change.id.as_ref().map(&mut say),
        target: say(&change.target),
        from: change.from.as_ref().map(&mut say),
        to: change.to.as_ref().map(&mut say),
        affects: change.affects.iter().map(&mut say).collect(),
        // Who it was is no evidence of why it broke, and may be the name of a person.
        by: change.by.clone().filter(|by| by == FOUND_BY),
        ..change.clone()
    };
    Changed { time, change }
}

/// The good states beside the broken ones, one pair for each rollback; without any, the last good snapshot beside what is live.
fn compare(case: &Case, asked: &Asked<'_>, diffs: &mut String, gaps: &mut Vec<Gap>) -> Vec<Comparison> {
    let Some(folder) = asked.eco.store.as_deref() else {
        gaps.push(Gap::missing("what differs: no store is named, so there is no good snapshot to compare with; give --store DIR"));
        return Vec::new();
    };
    match pending(&asked.eco.root) {
        Ok(None) => {}
        Ok(Some(_)) => {
            gaps.push(Gap::missing("a rollback of this tree is unfinished: what is live may be a mixture; eco-restore --recover finishes it"))
        }
        Err(e) => gaps.push(Gap::missing(format!("whether a rollback of this tree is unfinished: {e}"))),
    }
    let store = Store::new(folder, &asked.eco.name, asked.now);
    let held = match store.list() {
        Ok(listing) => listing.snapshots,
        Err(e) => {
            gaps.push(Gap::missing(format!("what differs: {e}")));
            return Vec::new();
        }
    };
    let mut room = MOST_DIFFS;
    let mut found = Vec::new();
    for rollback in &case.rollbacks {
        let compared = rolled_back(&held, asked, rollback, &mut room, diffs, gaps);
        match compared {
            Ok(comparison) => found.push(comparison),
            Err(why) => gaps.push(Gap::missing(format!("what differs, for rollback {}: {why}", id6(&rollback.id)))),
        }
    }
    if case.rollbacks.is_empty() {
        match live(&store, &held, case, asked, &mut room, diffs, gaps) {
            Ok(comparison) => found.push(comparison),
            Err(e) => gaps.push(Gap::missing(format!("what differs: {e}"))),
        }
    }
    found
}

/// The snapshot of this id. A record leads to nothing else: one that names a path names no snapshot.
fn by_id<'a>(held: &'a [Stored], id: &str) -> Result<&'a Stored> {
    held.iter().find(|stored| stored.snapshot.id == id).ok_or_else(|| Error::Other(format!("snapshot {id} is not in the store")))
}

fn rolled_back(
    held: &[Stored],
    asked: &Asked<'_>,
    rollback: &Restore,
    room: &mut usize,
    diffs: &mut String,
    gaps: &mut Vec<Gap>,
) -> Result<Comparison> {
    let named = rollback.snapshot.as_deref().ok_or_else(|| Error::Other("it names no snapshot".into()))?;
    let good = by_id(held, named).map_err(|e| Error::Other(format!("the snapshot that it went back to is gone: {e}")))?;
    let id = rollback.safety.as_deref().unwrap_or(&rollback.id);
    let stored = by_id(held, id);
    let mut tries: Vec<(Broken<'_>, State)> = Vec::new();
    let mut why = Vec::new();
    match &stored {
        Ok(stored) => tries.push((Broken::Snapshot(stored), state("the safety snapshot of the state before the rollback", stored))),
        Err(e) => why.push(e.to_string()),
    }
    match set_aside(&asked.eco.root, &rollback.id) {
        Ok(Some(parts)) => {
            let state = State { what: "the tree from before the rollback, still set aside".into(), ..State::default() };
            tries.push((Broken::SetAside(parts), state));
        }
        Ok(None) => why.push(format!("the tree from before it is not kept in {}", asked.eco.root.join(crate::scope::OURS).display())),
        Err(e) => why.push(e.to_string()),
    }
    for (broken, state) in tries {
        match differ::compare(asked, good, &broken, room, diffs, gaps) {
            Ok(mut comparison) => {
                comparison.restore = Some(rollback.id.clone());
                (comparison.good, comparison.broken) = (self::state("the snapshot that the rollback went back to", good), state);
                return Ok(comparison);
            }
            Err(e) => why.push(format!("{}: {e}", state.what)),
        }
    }
    Err(Error::Other(why.join("; ")))
}

fn live(
    store: &Store,
    held: &[Stored],
    case: &Case,
    asked: &Asked<'_>,
    room: &mut usize,
    diffs: &mut String,
    gaps: &mut Vec<Gap>,
) -> Result<Comparison> {
    let chosen = case.chosen.as_deref().and_then(|id| by_id(held, id).ok()).cloned();
    let good = match chosen {
        Some(chosen) => Some(chosen),
        None => store.newest_good(&[], case.cut.unwrap_or(case.onset), &[])?,
    };
    let good = good.ok_or_else(|| Error::Other("the store holds no good snapshot from before the trouble".into()))?;
    let mut comparison = differ::compare(asked, &good, &Broken::Live, room, diffs, gaps)?;
    if case.over {
        gaps.push(Gap::told("nothing was rolled back, and the incident is over: the live tree may have been mended before it was compared"));
    }
    comparison.good = state("the last good snapshot from before the trouble", &good);
    comparison.broken = State { what: "the tree that is live".into(), ..State::default() };
    Ok(comparison)
}

fn state(what: &str, stored: &Stored) -> State {
    State { what: what.into(), snapshot: Some(stored.snapshot.id.clone()), time: Some(stored.stamp.time) }
}

impl Evidence {
    /// Whether all that was asked for is in it.
    pub fn is_whole(&self) -> bool {
        !self.gaps.iter().any(|gap| gap.missing)
    }

    /// What should be in it and is not.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.gaps.iter().filter(|gap| gap.missing).map(|gap| gap.what.as_str())
    }

    /// In a few words.
    pub fn summary(&self, folder: &Path) -> Summary {
        let lines = self.logs.iter().map(|log| log.lines).sum();
        let holds = format!(
            "{} before the onset, {} of {}, {} masked",
            count(self.changes.len() as u64, "change"),
            count(lines, "line"),
            count(self.logs.len() as u64, "log"),
            count(self.masked, "secret")
        );
        Summary {
            folder: text::visible_path(Path::new(folder.file_name().unwrap_or_default())),
            holds,
            fact: self.fact(),
            missing: self.missing().count() as u64,
        }
    }
}
