//! The proof after a rollback: whether the service is well on the tree that was put back.

use super::Ecosystem;
use super::run::Run;
use crate::health::{self, Check, Checklist, History};
use crate::record::Health;
use crate::service::{Ran, State};
use crate::time::Span;
use crate::verdict::Verdict;
use std::time::{Duration, Instant};

/// How long the service may take to become healthy where `[verify] health` does not say: two of the policy's samples.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn what_is_verified(eco: &Ecosystem) -> Vec<String> {
    let mut checks = vec!["the staged tree is read back before the exchange".to_owned()];
    if is_asked(eco) {
        checks.push(format!("healthy within {}", Span(patience(eco))));
    }
    checks.extend(eco.verify.limits.set().into_iter().map(|(key, limit)| format!("{key} at most {limit}")));
    if !eco.verify.command.is_empty() {
        checks.push(eco.verify.command.join(" "));
    }
    checks
}

/// Whether there is anything to ask about health.
fn is_asked(eco: &Ecosystem) -> bool {
    !health::of_now(&eco.probes).is_empty() || eco.service.can_find()
}

fn patience(eco: &Ecosystem) -> Duration {
    eco.verify.health.map_or(HEALTHY_WITHIN, |span| span.0)
}

impl Run<'_, '_> {
    /// Whether the service is well again; why not.
    pub(super) fn prove(&mut self) -> Option<String> {
        if !self.journal.control && (self.eco.service.can_stop() || self.eco.service.can_start()) {
            self.report_check("health", None, Some("not checked: the service was not started (--no-control)".into()), Instant::now());
            return None;
        }
        self.is_healthy().or_else(|| self.passes_its_test())
    }

    /// Waits until the service is healthy and every limit was kept once; why that did not come to pass.
    fn is_healthy(&mut self) -> Option<String> {
        let (eco, limit, began) = (self.eco, patience(self.eco), Instant::now());
        let limits = &eco.verify.limits;
        let mut list = Checklist::new(limits);
        if !is_asked(eco) {
            self.report_check("health", None, Some("not checked: eco.toml has no [[probe]]".into()), began);
            list.look(&Health::default(), &History::default());
            self.report_all(list.lines());
            return None;
        }
        // A signal does not end this wait: to take it for illness would swap a tree back that may be well.
        let stage = &*self.stage;
        let mut process = None;
        let health = health::watch(
            &eco.probes,
            &eco.service,
            limit,
            limits.need_usage(),
            || stage.now(),
            |health, history| {
                list.look(health, history);
                process = running(eco);
                health::verdict(health).0 == Verdict::Yes
                    && list.is_settled(eco.service.can_find())
                    && process.as_ref().is_none_or(|process| process.ok != Some(false))
            },
        );
        let (verdict, why) = health::verdict(&health);
        let ok = match verdict {
            Verdict::Yes => Some(true),
            Verdict::No => Some(false),
            Verdict::Unknown => None,
        };
        let why = why.map(|why| format!("not healthy within {}: {why}", Span(limit)));
        self.report_check("health", ok, why.clone(), began);
        let lines: Vec<Check> = process.into_iter().chain(list.lines().iter().cloned()).collect();
        self.report_all(&lines);
        if verdict != Verdict::Yes {
            return why.or_else(|| Some("not healthy".into()));
        }
        let failed = lines.iter().find(|line| line.ok == Some(false))?;
        Some(format!("{}: not within {}: {}", failed.name, Span(limit), failed.note))
    }

    fn passes_its_test(&mut self) -> Option<String> {
        let (eco, id, began) = (self.eco, self.id(), Instant::now());
        if eco.verify.command.is_empty() {
            self.report_check("selftest", None, Some("not checked: eco.toml has no [verify] command".into()), began);
            return None;
        }
        let ran: Ran = eco.service.run(&eco.verify.command, &[("ECO_RESTORE", &id), ("ECO_PHASE", "verify")], patience(eco));
        self.report_check("selftest", Some(ran.ok()), ran.why(), began);
        ran.why()
    }

    fn report_all(&mut self, lines: &[Check]) {
        for line in lines {
            self.report_check(line.name, line.ok, Some(line.note.clone()), Instant::now());
        }
    }

    fn report_check(&mut self, name: &str, ok: Option<bool>, note: Option<String>, began: Instant) {
        let id = self.id();
        self.stage.report(&id, name, ok, note, began);
    }
}

/// Whether the process is there, where it can be looked for. Without a start command nobody has promised that it is.
fn running(eco: &Ecosystem) -> Option<Check> {
    if !eco.service.can_find() {
        return None;
    }
    let (ok, note) = match eco.service.find() {
        State::Running(found) => (Some(true), found.first().map_or_else(String::new, |process| format!("process {} runs", process.pid))),
        State::Stopped(_) if !eco.service.can_start() => (None, "not checked: eco.toml has no start command".into()),
        State::Stopped(why) => (Some(false), why.unwrap_or_else(|| "its process is not running".into())),
        State::Unknown(why) => (None, format!("not checked: {why}")),
    };
    Some(Check { name: "process", ok, note })
}
