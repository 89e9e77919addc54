//! The plan of a rollout as text and as values: its phases, its limits, its commands. Text in, values out; which file it came
//! from is the caller's.

use crate::time::Span;
use jiff::SignedDuration;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;

/// How long after each step nothing is judged, where the plan does not say.
const SETTLE: SignedDuration = SignedDuration::from_mins(2);
/// How long the last phase lasts, where the plan does not say.
const BAKE: SignedDuration = SignedDuration::from_hours(24);
/// Words that a record's `state` has for other things than phases.
pub(super) const STATES: [&str; 8] = ["idle", "holding", "paused", "rolling_back", "rolled_back", "refused", "stuck", "done"];

/// How one service is rolled out. What holds: the percentages rise to 100, the limits lie between 0 and 1.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Plan {
    /// Gives the new version its share of the traffic; `{percentage}` stands for it. Empty: not run.
    pub set: Vec<String>,
    /// Must end with 0, or the rollout does not begin. Empty: not run.
    pub gate: Vec<String>,
    /// Rolls the target back; reads the decision on standard input. Empty: somebody else does it.
    pub rollback: Vec<String>,
    /// How long every command may take, where it is not left to [`Plan::deadline`].
    pub timeout: Option<Span>,
    pub(super) settle: SignedDuration,
    pub(super) phases: Vec<Phase>,
}

/// One phase of a plan.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Phase {
    pub name: String,
    pub percentage: f64,
    pub lasts: SignedDuration,
    /// The highest error rate that is fit for more traffic.
    pub limit: f64,
}

impl Phase {
    /// So many requests without an error exclude, with 95 % confidence, that the true rate is above the limit: the rule of three.
    pub fn need(&self) -> f64 {
        (3.0 / self.limit - super::HAIR).ceil()
    }
}

/// Which of the plan's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `set`.
    Set,
    /// `gate`.
    Gate,
    /// `rollback`.
    Rollback,
}

impl Plan {
    /// How long a command may take: [`Plan::timeout`], else one minute for `set`, thirty for `gate` (tests, benchmarks and a backup take
    /// their time), ten for `rollback`.
    pub fn deadline(&self, command: Command) -> Duration {
        let usual = match command {
            Command::Set => 60,
            Command::Gate => 30 * 60,
            Command::Rollback => 10 * 60,
        };
        self.timeout.unwrap_or(Span::seconds(usual)).0
    }

    /// Whether it names any command.
    pub fn has_commands(&self) -> bool {
        !(self.set.is_empty() && self.gate.is_empty() && self.rollback.is_empty())
    }

    /// Each phase in one line, for the person who wrote the plan: its name, and what it means.
    pub fn phases(&self) -> Vec<(String, String)> {
        let settle = span(self.settle);
        let line = |phase: &Phase| {
            let (share, lasts, limit) = (phase.percentage, span(phase.lasts), phase.limit);
            format!("{share} % for {lasts}, judged after {settle}; back above an error rate of {limit}, on by {} requests", phase.need())
        };
        self.phases.iter().map(|phase| (phase.name.clone(), line(phase))).collect()
    }
}

fn span(length: SignedDuration) -> Span {
    Span(length.unsigned_abs())
}

/// A plan as TOML and YAML write it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    set: Words,
    gate: Words,
    rollback: Words,
    settle: Option<Span>,
    timeout: Option<Span>,
    #[serde(alias = "phases")]
    phase: Vec<WrittenPhase>,
    strategy: Option<String>,
    deployment: Option<Box<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPhase {
    name: String,
    percentage: f64,
    duration: Option<Span>,
    duration_hours: Option<f64>,
    rollback_on_error_rate: f64,
}

impl TryFrom<Written> for Plan {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Plan, String> {
        if let Some(inner) = written.deployment.take() {
            written = written.with(*inner)?;
        }
        let Written { set: Words(set), gate: Words(gate), rollback: Words(rollback), settle, timeout, phase, strategy, .. } = written;
        if let Some(strategy) = strategy.filter(|strategy| strategy != "gradual") {
            return Err(format!("strategy '{}' is not known: only gradual is", strategy.escape_debug()));
        }
        if !set.is_empty() && !set.iter().skip(1).any(|word| word.contains("{percentage}")) {
            return Err("set never says {percentage}: the command could not know what to set".into());
        }
        if timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            return Err("timeout must be longer than nothing".into());
        }
        let settle = settle.map_or(Ok(SETTLE), length)?;
        let last = phase.len();
        let phases = phase.into_iter().enumerate().map(|(at, phase)| phase.read(at + 1 == last)).collect::<Result<Vec<_>, _>>()?;
        check(&phases, settle)?;
        Ok(Plan { set, gate, rollback, timeout, settle, phases })
    }
}

impl Written {
    /// The same with what stands under `deployment`; nothing may be said twice.
    fn with(self, inner: Written) -> Result<Written, String> {
        if inner.deployment.is_some() {
            return Err("there is a deployment inside deployment".into());
        }
        fn either<T: Default + PartialEq>(name: &str, outer: T, inner: T) -> Result<T, String> {
            match (outer == T::default(), inner == T::default()) {
                (false, false) => Err(format!("{name} is given twice, beside deployment and in it")),
                (true, _) => Ok(inner),
                (false, true) => Ok(outer),
            }
        }
        if !self.phase.is_empty() && !inner.phase.is_empty() {
            return Err("phases are given twice, beside deployment and in it".into());
        }
        Ok(Written {
            set: either("set", self.set, inner.set)?,
            gate: either("gate", self.gate, inner.gate)?,
            rollback: either("rollback", self.rollback, inner.rollback)?,
            settle: either("settle", self.settle, inner.settle)?,
            timeout: either("timeout", self.timeout, inner.timeout)?,
            strategy: either("strategy", self.strategy, inner.strategy)?,
            phase: if self.phase.is_empty() { inner.phase } else { self.phase },
            deployment: None,
        })
    }
}

impl WrittenPhase {
    fn read(self, is_last: bool) -> Result<Phase, String> {
        let WrittenPhase { name, percentage, duration, duration_hours, rollback_on_error_rate: limit } = self;
        let shown = name.escape_debug();
        let lasts = match (duration, duration_hours) {
            (Some(_), Some(_)) => return Err(format!("phase {shown} has a duration and duration_hours: leave one out")),
            (Some(span), None) => length(span)?,
            (None, Some(hours)) if hours.is_finite() && hours > 0.0 && hours < 1e6 => SignedDuration::from_secs_f64(hours * 3600.0),
            (None, Some(hours)) => return Err(format!("phase {shown} cannot last {hours} hours")),
            (None, None) if is_last => BAKE,
            (None, None) => return Err(format!("phase {shown} needs a duration; only the last one may leave it out, and then lasts 24h")),
        };
        if lasts <= SignedDuration::ZERO {
            return Err(format!("phase {shown} must last longer than nothing"));
        }
        if !(percentage > 0.0 && percentage <= 100.0) {
            return Err(format!("phase {shown}: percentage {percentage} is not above 0 and at most 100"));
        }
        if !(limit > 0.0 && limit < 1.0) {
            return Err(format!("phase {shown}: rollback_on_error_rate {limit} is not a share between 0 and 1; write 5 % as 0.05"));
        }
        Ok(Phase { name, percentage, lasts, limit })
    }
}

fn length(span: Span) -> Result<SignedDuration, String> {
    SignedDuration::try_from(span.0).map_err(|_| format!("{span} is too long"))
}

fn check(phases: &[Phase], settle: SignedDuration) -> Result<(), String> {
    let Some(last) = phases.last() else {
        return Err("a rollout needs phases: name, percentage, duration and rollback_on_error_rate of each".into());
    };
    for (at, phase) in phases.iter().enumerate() {
        let name = phase.name.escape_debug();
        if phase.name.is_empty() || STATES.contains(&phase.name.as_str()) {
            return Err(format!("a phase cannot be called '{name}': records would not tell it from a state of that name"));
        }
        if phases[..at].iter().any(|other| other.name == phase.name) {
            return Err(format!("two phases are called {name}"));
        }
        if at > 0 && phase.percentage <= phases[at - 1].percentage {
            return Err(format!("phase {name} has no more traffic than the one before it: percentages must rise"));
        }
        if settle >= phase.lasts {
            return Err(format!("phase {name} is over before anything is judged: settle is {}, the phase lasts {}", span(settle), span(phase.lasts)));
        }
    }
    if last.percentage < 100.0 {
        return Err(format!("the last phase, {}, gives the version {} %: done means 100", last.name.escape_debug(), last.percentage));
    }
    Ok(())
}

/// A command: one line that is split into words at its blanks, or a list of words.
#[derive(Default, PartialEq)]
struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Words, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, as one line or as a list of words")
            }

            fn visit_str<E: Error>(self, line: &str) -> Result<Words, E> {
                // Nobody should find out in an incident that quotes were taken for letters.
                if line.contains(['"', '\'', '\\', '$', '`', '|', ';', '&', '<', '>']) {
                    return Err(E::custom(format!("no shell reads the command '{}': write its words as a list", line.escape_debug())));
                }
                Ok(Words(line.split_whitespace().map(String::from).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Words, A::Error> {
                let mut all = Vec::new();
                while let Some(word) = words.next_element()? {
                    all.push(word);
                }
                Ok(Words(all))
            }
        }

        from.deserialize_any(Either)
    }
}
