//! What a person says: one record to stdout, and to the pipeline that is running.

use super::args::Args;
use eco::error::{Error, Result};
use eco::policy::Policy;
use eco::record::{self, Change, Operator, Record, Scope, Signal};
use eco::service::Service;
use eco::time::{Timestamp, parse_instant};
use eco::tool::Tool;

/// What can be said.
pub enum Word {
    /// No rollback without a person.
    Hold,
    /// The hold is over.
    Resume,
    /// Carry out this proposal, or the last one.
    Approve(Option<String>),
    /// Do not.
    Reject(Option<String>),
    /// This version may be rolled out again.
    Release(String),
    /// All signals are dealt with.
    Resolve,
    /// An alarm of this type.
    Signal(String),
    /// A change of this unit.
    Change(Scope),
}

/// Writes the record, to the inbox first: what is on stdout was said. `copied`: stdin came before it, so it stands in its stream.
pub fn say(args: &Args, tool: &mut Tool, word: Word, copied: bool) -> Result<()> {
    let config = tool.config_if_named()?;
    let now = tool.now();
    let at = |text: &Option<String>| text.as_ref().map(|text| parse_instant(text, now).map_err(Error::Usage)).transpose();
    let since = at(&args.since)?;
    if since.is_some_and(|since| since > now) {
        return Err(Error::Usage(format!("--since {} is still to come", args.since.as_deref().unwrap_or_default())));
    }
    let mut time = now;
    let record: Record = match word {
        Word::Hold => Operator { until: until(args, at(&args.until)?, now)?, ..operator("hold") }.into(),
        Word::Resume => operator("resume").into(),
        Word::Resolve => operator("resolve").into(),
        Word::Approve(decision) => Operator { decision, ..operator("approve") }.into(),
        Word::Reject(decision) => Operator { decision, ..operator("reject") }.into(),
        Word::Release(version) => Operator { version: Some(version), ..operator("release") }.into(),
        Word::Signal(signal) => {
            let known = Policy::default();
            if !known.signals().any(|name| name == signal) {
                let names: Vec<&str> = known.signals().collect();
                tool.say(&format!("the built-in policy has no rule for the signal '{signal}'; it has some for {}", names.join(", ")));
            }
            let target = args.target.as_ref().map(Scope::to_string);
            Signal { signal, source: args.source.clone(), target, since, cleared: args.cleared.then_some(true) }.into()
        }
        Word::Change(unit) => {
            time = since.unwrap_or(now);
            Change {
                id: args.id.clone(),
                target: unit.to_string(),
                from: args.from.clone(),
                to: args.to.clone(),
                affects: args.affects.clone(),
                reversible: args.irreversible.then_some(false),
                by: args.by.clone(),
                ..Change::default()
            }
            .into()
        }
    };
    // A unit that does not exist would be blamed, and could not be rolled back.
    if let Some(config) = config.as_ref().filter(|config| config.file.is_some()) {
        let service = Service::new(&config.root, &config.control, &config.units);
        let units = match &record {
            Record::Change(change) => vec![change.target.clone()],
            Record::Signal(signal) => signal.target.iter().cloned().collect(),
            _ => Vec::new(),
        };
        for unit in units.into_iter().chain(args.affects.iter().map(|id| format!("module:{id}"))) {
            service.check_unit(&unit.parse().map_err(Error::Usage)?)?;
        }
    }
    let stamp = tool.stamp(time);
    match &config {
        Some(config) if !copied && !args.no_inbox => tool.speak(&config.root, &record::to_json(&stamp, &record))?,
        None if !copied && !args.no_inbox => tool.say("no eco.toml here: nobody hears this but who reads the output"),
        _ => {}
    }
    tool.emit_at(&stamp, record)
}

fn operator(verb: &str) -> Operator {
    Operator { verb: verb.into(), ..Operator::default() }
}

fn until(args: &Args, until: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>> {
    if until.is_some_and(|until| until <= now) {
        return Err(Error::Usage(format!("--until {} is over already", args.until.as_deref().unwrap_or_default())));
    }
    let lasting = args.lasting.map(|span| now.checked_add(span.0).map_err(|_| Error::Usage(format!("--for {span} is beyond the end of time"))));
    Ok(until.or(lasting.transpose()?))
}
