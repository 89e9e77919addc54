//! The bodies of the records.

use super::{Reading, RecordPath, Scope};
use crate::time::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One sample of the service's health. Any metric may be absent; a metric that is there but unusable counts as unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Health {
    /// Whether the service answers; null when that could not be found out, with `error`.
    pub up: Reading<bool>,
    /// Why a probe could not be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `canary` or `stable` during a rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cohort: Option<String>,
    /// Requests that the rates of this sample are about.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub requests: Reading<f64>,
    /// Failed share of the requests, 0..1.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub error_rate: Reading<f64>,
    /// Successful share of the requests, 0..1.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub success_rate: Reading<f64>,
    /// Response time.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub response_ms: Reading<f64>,
    /// What response time is normal, if the prober knows.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub baseline_ms: Reading<f64>,
    /// Share of the processors in use by the service, 0..1 of those that it may use.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub cpu_usage: Reading<f64>,
    /// Share of the memory in use by the service, 0..1 of what it may use.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub memory_usage: Reading<f64>,
    /// State of each module: `ok`, `degraded` or `failed`; any other word is unknown.
    #[serde(deserialize_with = "states", skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Option<String>>"))]
    pub modules: BTreeMap<String, Reading<String>>,
    /// Whether the data is consistent.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    pub integrity: Reading<bool>,
    /// Whether the modules work together.
    #[serde(skip_serializing_if = "Reading::is_absent")]
    pub integration: Reading<bool>,
    /// What each probe found, in the order of the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeResult>,
}

/// The modules' states. A table that is no table says nothing about modules, and must not cost the sample its other metrics.
fn states<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Reading<String>>, D::Error> {
    struct States;

    impl<'de> Visitor<'de> for States {
        type Value = BTreeMap<String, Reading<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of states")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            BTreeMap::deserialize(MapAccessDeserializer::new(map))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(BTreeMap::new())
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }
    }

    from.deserialize_any(States)
}

/// What one probe found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProbeResult {
    /// The probe's name: its kind and what it looks at.
    pub probe: String,
    /// Healthy, not healthy, or (absent) could not be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// How long it took.
    pub took_ms: u64,
    /// Why it is not ok, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Something was changed on purpose: a deployment, a setting, an automation switched on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Change {
    /// The change's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What was changed, written like a [`Scope`].
    pub target: String,
    /// Before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// After.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Modules that it touches beside its target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affects: Vec<String>,
    /// `false`: going back past this change needs a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversible: Option<bool>,
    /// Who did it; `eco-verify` if nobody said so and it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How many paths were found to differ, where it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<u64>,
}

/// An alarm, or its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Signal {
    /// Its name, such as `security_breach`.
    pub signal: String,
    /// Who raised it; the policy says who is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it blames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Since when the trouble has been there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// `true`: the alarms of this name (and target) are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<bool>,
}

/// A person's word to the tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Operator {
    /// `hold`, `resume`, `approve`, `reject`, `release` or `resolve`.
    #[serde(rename = "do")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["hold", "resume", "approve", "reject", "release", "resolve"])))]
    pub verb: String,
    /// Until when a hold lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Which decision is approved or rejected; absent: the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Which version is released from quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How bad an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is known.
    Unknown,
    /// Evaluate; a rollback may not be needed.
    Low,
    /// Within 24 hours.
    Medium,
    /// Within one hour.
    High,
    /// At once.
    Critical,
}

/// Who may act on a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Recorded; no rollback needed.
    Watch,
    /// Bad, but nothing to undo.
    Investigate,
    /// Undo this by the deadline, if a person agrees.
    Propose,
    /// Undo this now.
    Rollback,
    /// Needs a person now: the machine has no safe move left.
    Escalate,
    /// Healthy again, proven.
    Resolved,
}

/// What the policy concluded from the records so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Decision {
    /// The incident and the decision's number in it: the same stream gives the same id.
    pub id: String,
    /// The incident, named after its onset.
    pub incident: String,
    /// How bad.
    pub severity: Severity,
    /// Who may act.
    pub action: Action,
    /// What is to be rolled back.
    pub scope: Option<Scope>,
    /// To which point; null where none is needed or the store is to be asked.
    pub snapshot: Option<String>,
    /// When the trouble began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset: Option<Timestamp>,
    /// Restore points after this instant may already hold the fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Timestamp>,
    /// The latest time to act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Every rule that fires, worst first.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Every change that could be to blame, the blamed one first.
    #[serde(default)]
    pub suspects: Vec<Suspect>,
    /// Why the action was softened or hardened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// A cheaper scope that might do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative: Option<Scope>,
    /// How often the incident was reopened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<u64>,
    /// How much data going back costs: onset minus restore point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_loss_s: Option<f64>,
    /// Said before; nobody has answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reminder: bool,
    /// The deadline has passed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
}

impl Decision {
    /// A decision that says only how bad and who may act.
    pub fn new(severity: Severity, action: Action) -> Decision {
        Decision {
            id: String::new(),
            incident: String::new(),
            severity,
            action,
            scope: None,
            snapshot: None,
            onset: None,
            cut: None,
            deadline: None,
            reasons: Vec::new(),
            suspects: Vec::new(),
            notes: Vec::new(),
            alternative: None,
            reopened: None,
            data_loss_s: None,
            reminder: false,
            overdue: false,
        }
    }
}

/// A rule that fires, with what it saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reason {
    /// The rule's name in the policy.
    pub rule: String,
    /// The metric that it looks at.
    pub metric: String,
    /// The newest value.
    pub observed: serde_json::Value,
    /// The comparison, as in `> 0.25`.
    pub threshold: String,
    /// The first sample that broke it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How long it has held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_s: Option<f64>,
    /// How often it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
}

/// A change that could be to blame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Suspect {
    /// The change's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// What it changed.
    pub target: String,
    /// How long before the onset.
    pub before_onset_s: f64,
}

/// One archive in the store. All but the id may be absent in records that others write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Snapshot {
    /// UUIDv7, assigned when it was taken.
    pub id: String,
    /// `manual`, `pre-deployment`, `daily`, `weekly`, `monthly` or `safety`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["manual", "pre-deployment", "daily", "weekly", "monthly", "safety"])))]
    pub kind: Option<String>,
    /// `full` or `differential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["full", "differential"])))]
    pub mode: Option<String>,
    /// The archive.
    #[serde(flatten, deserialize_with = "optional_path", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<RecordPath>"))]
    pub path: Option<RecordPath>,
    /// Kinds of scope that it can restore: `data`, `config`, `modules`, or single units.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
    /// The folders and files that it holds, relative to the ecosystem's root.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<String>,
    /// Regular files in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Their size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The archive's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_bytes: Option<u64>,
    /// SHA-256 of the index, in hex: names every byte of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[0-9a-f]{64}$")))]
    pub sha256_toc: Option<String>,
    /// The full snapshot that a differential one needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Health when it was taken: `ok`, `failed` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["ok", "failed", "unknown"])))]
    pub health: Option<String>,
    /// Taken while health was ok (or marked by a person), and verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good: Option<bool>,
    /// Read back in full and found right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// When it was last read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// How deep that look went: `data` (every byte against its digest) or `restored` (and all of it restored and compared).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["data", "restored"])))]
    pub verified_depth: Option<String>,
    /// When all of it was last restored and compared, if it ever was; looks that were less deep have found nothing wrong since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored_at: Option<Timestamp>,
    /// Files that kept changing while they were read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unstable: Vec<RecordPath>,
    /// A person wants it kept: no retention rule lets it go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Written by the procedures that came before these tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy: Option<bool>,
    /// How long the service held still for it: from the start of the command `before` to the end of `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiesced_ms: Option<u64>,
    /// How long taking it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

/// A flattened path is there or it is not; serde's own `Option` would swallow a half one.
fn optional_path<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<RecordPath>, D::Error> {
    #[derive(Deserialize)]
    struct Fields {
        path: Option<String>,
        path_b64: Option<String>,
    }
    let fields = Fields::deserialize(from)?;
    Ok(fields.path.map(|path| RecordPath { path, path_b64: fields.path_b64 }))
}

/// One check of the gate before a deployment, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gate {
    /// Its name.
    pub check: String,
    /// Whether it was made, and passed.
    pub ok: bool,
    /// How long it took.
    #[serde(default)]
    pub took_s: f64,
    /// What its command ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// Why it did not pass, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The last lines that its command printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// What the retention rules say about one snapshot, and whether it was removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Retention {
    /// The snapshot's id.
    pub snapshot: String,
    /// Whether it stays.
    pub keep: bool,
    /// Why, in words.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Whether it was removed in this run.
    pub removed: bool,
    /// Nothing can be said about it: it stays, and was not counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub set_aside: bool,
    /// Its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Timestamp>,
    /// The archive.
    #[serde(flatten, deserialize_with = "optional_path", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<RecordPath>"))]
    pub path: Option<RecordPath>,
    /// The archive's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_bytes: Option<u64>,
    /// Why it was not removed, or not for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One entry of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Entry {
    /// The snapshot's id.
    pub snapshot: String,
    /// Where, relative to the ecosystem's root.
    #[serde(flatten)]
    pub path: RecordPath,
    /// `file`, `dir`, `symlink`, `hardlink`, `fifo`, `char` or `block`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["file", "dir", "symlink", "hardlink", "fifo", "char", "block"])))]
    pub kind: String,
    /// Size of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Permission bits in octal, as in `0640`.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[0-7]{4}$")))]
    pub mode: String,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Owner's name when it was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Group's name when it was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Last modification.
    pub mtime: Timestamp,
    /// Where a symbolic or hard link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// `sha256:` and hex of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^sha256:[0-9a-f]{64}$")))]
    pub digest: Option<String>,
}

/// What reading an archive back showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verification {
    /// The snapshot's id; for an archive that names none, its file name.
    pub snapshot: String,
    /// The archive.
    #[serde(flatten)]
    pub archive: RecordPath,
    /// What was done: `index` (structure and bounds), `data` (every byte against its digest), `restored` (that, and all of it
    /// restored and compared), `stream` (read to the end; no digests to compare with), `live` (compared with the live tree).
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["index", "data", "restored", "stream", "live"])))]
    pub depth: String,
    /// Which share of the content was read, 0..1, where it was a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub sample: Option<f64>,
    /// True: right. False: damaged. Null: it could not be read.
    pub ok: Option<bool>,
    /// Regular files looked at.
    #[serde(default)]
    pub files: u64,
    /// Bytes of content looked at.
    #[serde(default)]
    pub bytes: u64,
    /// What is wrong, by path.
    #[serde(default)]
    pub damage: Vec<Damage>,
    /// Worth knowing, but no damage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it could not be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    #[serde(default)]
    pub took_ms: u64,
}

/// One thing that is wrong with an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Damage {
    /// The entry, relative to the ecosystem's root; the archive's own parts are `<index>`, `<footer>`, `<stream>`;
    /// the base of a differential one as a whole is `<base>`.
    #[serde(flatten)]
    pub path: RecordPath,
    /// In one word: `digest`, `member`, `header`, `index`, `truncated`, `name`, `record`, `restored`, `base`.
    pub what: String,
    /// More about it, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One path at which two trees differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Difference {
    /// The snapshot that the tree, or the other snapshot, is compared with.
    pub snapshot: String,
    /// Where, relative to the ecosystem's root.
    #[serde(flatten)]
    pub path: RecordPath,
    /// Seen from the snapshot: `created`, `deleted`, `content`, `kind`, `metadata`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["created", "deleted", "content", "kind", "metadata"])))]
    pub what: String,
    /// Which details differ: `mode`, `owner`, `mtime`, `link`, `xattrs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// What a rollback is about to do, before anything is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Plan {
    /// The restore's id.
    pub restore: String,
    /// What is rolled back; several scopes are joined by commas.
    pub scope: String,
    /// To which snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Into which folder, when it is not the live tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How the trees change places: `exchange`, `pointer`, `two-renames`, `child-wise`, `in-place`, `extract` (into a target) or `command` (no tree at all).
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["exchange", "pointer", "two-renames", "child-wise", "in-place", "extract", "command"])))]
    pub strategy: String,
    /// What the strategy guarantees at every instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<String>,
    /// The roots, relative to the ecosystem's root.
    pub roots: Vec<String>,
    /// Paths that the snapshot has and the tree has not.
    pub created: u64,
    /// Paths whose content or metadata differ.
    pub updated: u64,
    /// Paths that the tree has and the snapshot has not.
    pub deleted: u64,
    /// Paths that are the same.
    pub kept: u64,
    /// Preserved and excluded paths that stay as they are now.
    pub preserved: u64,
    /// Bytes to be written while staging.
    pub bytes: u64,
    /// From the snapshot to now: what the roots gained since is set aside, not lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_loss_s: Option<i64>,
    /// How the service is stopped and started, or why not.
    pub control: String,
    /// Checks after the start.
    pub verify: Vec<String>,
    /// The decision that is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// `operator` when a person asked for it or approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// SHA-256 over all that the plan rests on: the live tree, the snapshot, scopes, roots and patterns. Absent where it cannot be
    /// carried out later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// The first paths that change, for a person to look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Difference>,
}

/// One step of a rollback and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Step {
    /// The restore's id.
    pub restore: String,
    /// Which step.
    pub step: String,
    /// True: done. False: failed. Null: not checked, `note` says why.
    pub ok: Option<bool>,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// A rollback's beginning or end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Restore {
    /// UUIDv7.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// `started`, `completed`, `reverted` or `failed`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["started", "completed", "reverted", "failed"])))]
    pub phase: String,
    /// The decision that it carries out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// `operator` if a person asked for it, else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What is rolled back; several scopes are joined by commas.
    pub scope: String,
    /// To which snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// What keeps the state from before: the id for `eco-restore --undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<String>,
    /// The restore that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// How the trees changed places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Paths created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// Paths replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<u64>,
    /// Paths removed (they are in the safety copy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
    /// Paths that were the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// Preserved and excluded paths that were carried over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserved: Option<u64>,
    /// From the snapshot to the rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_loss_s: Option<i64>,
    /// From before the stop command to after the start command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    /// What the stop and start commands took of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks_ms: Option<u64>,
    /// From start to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Why it failed or was reverted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The exit code that belongs to this end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
}

/// A service or a unit was controlled, or looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Control {
    /// `status`, `stop`, `start`, `restart`, `disable`, `enable`, `revert` or `tell`.
    #[serde(rename = "do")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["status", "stop", "start", "restart", "disable", "enable", "revert", "tell"])))]
    pub verb: String,
    /// The unit, where it is not the whole service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Scope>,
    /// True: done (for `status`: running). False: failed or not running. Null: cannot tell.
    pub ok: Option<bool>,
    /// The service's process, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// A gradual rollout and the state that it entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rollout {
    /// The rollout's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What is rolled out, named by its content: the same word means the same bytes.
    pub version: String,
    /// What it is a version of, and what is rolled back if it fails.
    pub target: Scope,
    /// The phase of the plan that it is in, or was in last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// `idle`, the name of a phase, `holding`, `paused`, `rolling_back`, `rolled_back`, `refused`, `stuck` or `done`.
    pub state: String,
    /// Which share of the traffic the version gets, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 100.0)))]
    pub exposure: Option<f64>,
    /// When the phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When the rollout began; restore points after this may hold the version already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Timestamp>,
    /// How much of the time since the phase began counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_s: Option<f64>,
    /// The version that reached `done` last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// The decision that is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Breach>,
    /// Why it paused, was refused, is being rolled back or is stuck, in single words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A limit of a rollout's phase that was exceeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Breach {
    /// `fast`, `sustained` or `down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["fast", "sustained", "down"])))]
    pub rule: Option<String>,
    /// The metric that was looked at.
    pub metric: String,
    /// Its value.
    pub observed: serde_json::Value,
    /// The comparison, as in `> 0.05`.
    pub threshold: String,
    /// From the first sample that was looked at to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_s: Option<f64>,
    /// Requests in these samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<f64>,
    /// The error rate of the version before, at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<f64>,
}
