//! The gate before a deployment: what the stream says about it, and the checks that `[gate]` of `eco.toml` names. The backup at its end is
//! the program's.

use crate::record::{Action, Gate, Line, Record, Rollout, Scope, Snapshot};
use crate::scope::covers;
use crate::service::{Argv, Ended, Service};
use crate::time::{Span, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a check may take where nothing else is said.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Checks that need no command.
pub const BUILT_IN: [&str; 3] = ["incident", "version", "restore-point"];

/// What the backup is called among the checks.
pub const BACKUP: &str = "backup";

/// So much of what a check printed goes into its record: the last lines, of which no more than so many bytes.
const LAST_LINES: usize = 20;
const LAST_BYTES: usize = 4096;

/// `[gate]`: what must hold before a deployment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Run in this order.
    pub checks: Vec<Check>,
    /// Built-in checks that are not made.
    pub skip: Vec<String>,
}

/// One configured check.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// Must end with 0; run in the ecosystem's root.
    pub command: Argv,
    /// How long it may take.
    pub timeout: Option<Span>,
}

impl Checks {
    /// Whether this can be meant.
    ///
    /// # Errors
    /// What cannot, in half a sentence.
    pub fn check(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        for check in &self.checks {
            let name = check.name.escape_debug();
            if check.name.is_empty() || check.command.is_empty() {
                return Err(format!("check '{name}' needs a name and a command"));
            }
            if BUILT_IN.contains(&check.name.as_str()) || check.name == BACKUP || !names.insert(&check.name) {
                return Err(format!("there is another check called '{name}'"));
            }
        }
        match self.skip.iter().find(|name| !BUILT_IN.contains(&name.as_str())) {
            Some(name) => Err(format!("skip names '{}', which is none of {}", name.escape_debug(), BUILT_IN.join(", "))),
            None => Ok(()),
        }
    }
}

/// Runs one check and says how it ended; ends it early when `stop` becomes true. Whatever keeps it from ending well is a no.
pub fn run(service: &Service, check: &Check, stop: &AtomicBool) -> Gate {
    let ran = service.listen(&check.command, check.timeout.map_or(CHECK_DEADLINE, |span| span.0), LAST_BYTES, stop);
    let stopped = matches!(ran.ended, Ended::TimedOut(_)) && stop.load(Ordering::Relaxed);
    let exit = if let Ended::Exit(code) = ran.ended { Some(code) } else { None };
    Gate {
        check: check.name.clone(),
        ok: ran.ok(),
        took_s: ran.took_ms as f64 / 1000.0,
        exit,
        error: if stopped { Some("interrupted by a signal".into()) } else { ran.why() },
        output: Some(last_lines(&ran.stdout)).filter(|text| !text.is_empty()),
    }
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// What the stream has said so far about incidents, versions and restore points of one ecosystem.
#[derive(Clone, Debug)]
pub struct Told {
    ecosystem: String,
    /// The last word about each incident.
    incidents: BTreeMap<String, (Timestamp, Action)>,
    /// Versions that were rolled back and not released since, and when.
    quarantined: HashMap<String, Timestamp>,
    /// The version that a rollout was about last.
    version: Option<String>,
    points: HashMap<String, (Timestamp, Snapshot)>,
    /// Snapshots that a rollback went to in vain.
    useless: Vec<String>,
}

impl Told {
    /// Nothing yet, about this ecosystem.
    pub fn about(ecosystem: &str) -> Told {
        let (incidents, quarantined, version, points, useless) = Default::default();
        Told { ecosystem: ecosystem.to_owned(), incidents, quarantined, version, points, useless }
    }

    /// Takes a line of the stream in.
    pub fn hear(&mut self, line: &Line) {
        let Line { stamp, record, .. } = line;
        if stamp.ecosystem.as_ref().is_some_and(|name| *name != self.ecosystem) {
            return;
        }
        match record {
            Record::Decision(decision) => {
                self.incidents.insert(decision.incident.clone(), (stamp.time, decision.action));
            }
            Record::Snapshot(snapshot) => {
                self.points.insert(snapshot.id.clone(), (stamp.time, snapshot.clone()));
            }
            Record::Restore(restore) if matches!(&*restore.phase, "failed" | "reverted") => self.useless.extend(restore.snapshot.clone()),
            Record::Operator(operator) if operator.verb == "release" => {
                if let Some(version) = &operator.version {
                    self.quarantined.remove(version);
                }
            }
            Record::Rollout(rollout) => {
                // A rollout asks people while it is paused, and needs them while it goes back or is stuck. Another one takes the place
                // of one that is paused.
                let starts = rollout.state == "idle";
                self.incidents.retain(|name, (_, action)| !(starts && *action == Action::Propose && name.starts_with(Rollout::INCIDENT)));
                if !matches!(&*rollout.state, "idle" | "paused" | "rolling_back" | "stuck") {
                    self.incidents.remove(&rollout.incident());
                }
                if rollout.state == "rolled_back" {
                    self.quarantined.insert(rollout.version.clone(), stamp.time);
                }
                self.version = Some(rollout.version.clone());
            }
            _ => {}
        }
    }

    /// Snapshots that a rollback went to in vain.
    pub fn useless(&self) -> &[String] {
        &self.useless
    }

    /// That no incident is open.
    ///
    /// # Errors
    /// Which one is, in a sentence.
    pub fn no_incident(&self) -> Result<(), String> {
        let open = self.incidents.iter().rfind(|(_, (_, action))| *action != Action::Resolved);
        open.map_or(Ok(()), |(incident, (time, _))| Err(format!("incident {incident} is open: its last decision, at {time}, does not resolve it")))
    }

    /// That this version, or else the one that a rollout was about last, was not rolled back; or that a person has released it since.
    ///
    /// # Errors
    /// Which one was, in a sentence.
    pub fn not_quarantined(&self, version: Option<&str>) -> Result<(), String> {
        let Some(version) = version.or(self.version.as_deref()) else { return Ok(()) };
        let Some(when) = self.quarantined.get(version) else { return Ok(()) };
        Err(format!("version {version} was rolled back at {when} and has not been released since"))
    }

    /// Whether the stream names a restore point for this scope: verified, good, and not one that has failed before.
    pub fn has_point(&self, scope: &Scope, now: Timestamp) -> bool {
        self.points.values().any(|(time, point)| {
            let sound = point.good == Some(true) && point.verified == Some(true) && point.kind.as_deref() != Some("safety");
            sound && *time <= now && covers(&point.covers, scope) && !self.useless.contains(&point.id)
        })
    }
}

/// A built-in check that was made.
pub fn found(check: &str, answer: Result<(), String>) -> Gate {
    Gate { check: check.to_owned(), ok: answer.is_ok(), error: answer.err(), ..Gate::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Told {
        let mut told = Told::about("shop");
        for line in lines {
            let line = Line::parse(1, format!("{{\"time\":\"2026-03-01T10:00:00Z\",{line}}}").into_bytes());
            assert_eq!(line.fault, None);
            told.hear(&line);
        }
        told
    }

    const OPEN: &str = r#""type":"decision","id":"i-1","incident":"i","severity":"low","action":"watch","scope":null,"snapshot":null"#;
    const CLOSED: &str = r#""type":"decision","id":"i-2","incident":"i","severity":"low","action":"resolved","scope":null,"snapshot":null"#;
    const BACK: &str = r#""type":"rollout","id":"r","version":"v2","target":"full","phase":"canary","state":"rolled_back""#;
    const NEXT: &str = r#""type":"rollout","id":"s","version":"v3","target":"full","phase":"canary","state":"canary""#;
    const POINT: &str = r#""type":"snapshot","id":"p","kind":"daily","good":true,"verified":true,"covers":["config"]"#;

    #[test]
    fn an_incident_is_open_until_it_is_resolved() {
        assert!(told(&[]).no_incident().is_ok());
        assert!(told(&[OPEN]).no_incident().unwrap_err().starts_with("incident i is open"));
        assert!(told(&[OPEN, CLOSED]).no_incident().is_ok());
        assert!(told(&[&format!("\"ecosystem\":\"mail\",{OPEN}")]).no_incident().is_ok());
        assert!(told(&[&format!("\"ecosystem\":\"shop\",{OPEN}")]).no_incident().is_err());
    }

    #[test]
    fn a_rollout_is_an_incident_while_it_waits_for_people_or_goes_back() {
        let asks = |action: &str| format!(r#""type":"decision","id":"rollout-r-1","incident":"rollout-r","severity":"low","action":"{action}""#);
        let asks = |action: &str| format!("{},\"scope\":null,\"snapshot\":null", asks(action));
        let state =
            |id: &str, state: &str| format!(r#""type":"rollout","id":"{id}","version":"v","target":"full","phase":"canary","state":"{state}""#);
        for (action, then, closed) in [
            ("propose", state("r", "paused"), true),
            ("propose", state("r", "canary"), false),
            ("propose", state("s", "idle"), false),
            ("rollback", state("r", "rolling_back"), true),
            ("rollback", state("r", "rolled_back"), false),
            ("rollback", state("s", "idle"), true),
            ("escalate", state("r", "stuck"), true),
            ("escalate", state("s", "canary"), true),
        ] {
            assert_eq!(told(&[&asks(action), &then]).no_incident().is_err(), closed, "{action}, {then}");
        }
        // Somebody else's incident stays open, whatever becomes of the rollout.
        assert!(told(&[OPEN, &state("r", "done"), &state("s", "idle")]).no_incident().is_err());
    }

    #[test]
    fn a_version_that_was_rolled_back_is_refused_until_it_is_released() {
        assert!(told(&[NEXT]).not_quarantined(None).is_ok());
        assert!(told(&[BACK]).not_quarantined(None).unwrap_err().contains("version v2 was rolled back at 2026-03-01T10:00:00Z"));
        // Another one comes.
        assert!(told(&[BACK, NEXT]).not_quarantined(None).is_ok());
        assert!(told(&[BACK, NEXT]).not_quarantined(Some("v2")).is_err());
        let release = r#""type":"operator","do":"release","version":"v2""#;
        assert!(told(&[BACK, release]).not_quarantined(Some("v2")).is_ok());
        assert!(told(&[release, BACK]).not_quarantined(Some("v2")).is_err());
    }

    #[test]
    fn a_restore_point_is_good_verified_covers_the_scope_and_has_not_failed() {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let has = |lines: &[&str], scope: &str| told(lines).has_point(&scope.parse().unwrap(), now);
        assert!(has(&[POINT], "config") && !has(&[POINT], "full") && !has(&[], "config"));
        for (was, is) in [("\"good\":true", "\"good\":false"), ("\"verified\":true", "\"verified\":false"), ("daily", "safety")] {
            assert!(!has(&[&POINT.replace(was, is)], "config"), "{is}");
        }
        let failed = r#""type":"restore","id":"x","phase":"reverted","scope":"config","snapshot":"p""#;
        assert!(!has(&[POINT, failed], "config"));
    }

    #[test]
    fn the_last_lines_of_an_output_are_kept() {
        let long: String = (1..=30).map(|n| format!("{n}\n")).collect();
        assert!(last_lines(long.as_bytes()).starts_with("11\n12\n") && last_lines(long.as_bytes()).ends_with("\n30"));
        assert_eq!(last_lines(b"a\xff\n\n"), "a\u{fffd}");
    }

    #[test]
    fn checks_need_names_of_their_own_and_commands() {
        let check =
            |name: &str, command: &[&str]| Check { name: name.into(), command: command.iter().map(|word| (*word).into()).collect(), timeout: None };
        let of = |checks: Vec<Check>, skip: &[&str]| Checks { checks, skip: skip.iter().map(|name| (*name).into()).collect() }.check();
        assert!(of(vec![check("a", &["x"]), check("b", &["x"])], &["incident", "version", "restore-point"]).is_ok());
        for (checks, skip) in [
            (vec![check("a", &[])], vec![]),
            (vec![check("", &["x"])], vec![]),
            (vec![check("a", &["x"]), check("a", &["x"])], vec![]),
            (vec![check("backup", &["x"])], vec![]),
            (vec![check("incident", &["x"])], vec![]),
            (vec![], vec!["backup"]),
        ] {
            assert!(of(checks, &skip).is_err(), "{skip:?}");
        }
    }
}
