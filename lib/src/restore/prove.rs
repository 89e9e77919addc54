//! The proof after a rollback: whether the service is well on the tree that was put back.

use super::Ecosystem;
use super::run::Run;
use crate::health;
use crate::service::Ran;
use crate::verdict::Verdict;
use std::time::{Duration, Instant};

/// How long the service may take to become healthy where `[verify] health` does not say: two of the policy's samples.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn what_is_verified(eco: &Ecosystem) -> Vec<String> {
    let mut checks = vec!["the staged tree is read back before the exchange".to_owned()];
    if !eco.probes.is_empty() || eco.service.can_find() {
        checks.push(format!("healthy within {}", crate::time::Span(eco.verify.health.map_or(HEALTHY_WITHIN, |span| span.0))));
    }
    if !eco.verify.command.is_empty() {
        checks.push(eco.verify.command.join(" "));
    }
    checks
}

impl Run<'_, '_> {
    /// Whether the service is well again; why not.
    pub(super) fn prove(&mut self) -> Option<String> {
        let (eco, id) = (self.eco, self.id());
        let limit = eco.verify.health.map_or(HEALTHY_WITHIN, |span| span.0);
        let began = Instant::now();
        if !self.journal.control && (eco.service.can_stop() || eco.service.can_start()) {
            self.stage.report(&id, "health", None, Some("not checked: the service was not started (--no-control)".into()), began);
            return None;
        }
        if eco.probes.is_empty() && !eco.service.can_find() {
            self.stage.report(&id, "health", None, Some("not checked: eco.toml has no [[probe]]".into()), began);
        } else {
            // A signal does not end this wait: to take it for illness would swap a tree back that may be well.
            let stage = &*self.stage;
            let (_, verdict, why) = health::wait(&eco.probes, &eco.service, limit, || stage.now(), || false);
            let ok = match verdict {
                Verdict::Yes => Some(true),
                Verdict::No => Some(false),
                Verdict::Unknown => None,
            };
            let why = why.map(|why| format!("not healthy within {}: {why}", crate::time::Span(limit)));
            self.stage.report(&id, "health", ok, why.clone(), began);
            if verdict != Verdict::Yes {
                return why.or_else(|| Some("not healthy".into()));
            }
        }
        let began = Instant::now();
        if eco.verify.command.is_empty() {
            self.stage.report(&id, "selftest", None, Some("not checked: eco.toml has no [verify] command".into()), began);
            return None;
        }
        let ran: Ran = eco.service.run(&eco.verify.command, &[("ECO_RESTORE", &id), ("ECO_PHASE", "verify")], limit);
        self.stage.report(&id, "selftest", Some(ran.ok()), ran.why(), began);
        ran.why()
    }
}
