//! eco-restore: from a decision or a selector to the tree put back, proven, or swapped back.
mod args;
mod orders;

use args::Args;
use eco::error::{Error, Exit};
use eco::record::{Action, Record, Scope};
use eco::tool::{self, Tool};
use orders::Orders;
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Exit> {
        let config = tool.config()?;
        let mut orders = Orders::new(&args, &config, tool.now());
        let done = work(&args, &mut orders, tool);
        orders.notified(tool, true);
        done
    })
}

fn work(args: &Args, orders: &mut Orders, tool: &mut Tool) -> anyhow::Result<Exit> {
    if args.recover {
        return Ok(if args.common.quiet { orders.guard(tool) } else { orders.recover(tool) }?);
    }
    if args.abort {
        return Ok(orders.abort(tool)?);
    }
    if let Some(which) = &args.undo {
        return Ok(orders.undo(tool, which.as_deref())?);
    }
    if let Some(file) = &args.plan {
        return Ok(orders.plan(tool, file)?);
    }
    if let Some(selector) = &args.selector {
        let scopes = if args.scope.is_empty() { vec![Scope::Full] } else { args.scope.clone() };
        let stored = orders.select(selector, &scopes)?;
        return Ok(orders.restore(tool, scopes, stored, None)?);
    }
    if !args.scope.is_empty() && !args.scope.iter().any(Scope::needs_snapshot) {
        return Ok(orders.command(tool, args.scope.clone(), None)?);
    }
    tool.open_input("name a snapshot, as in: eco-restore latest-good; or pipe decisions in")?;
    if args.only {
        tool.drop_input();
    }
    if !args.scope.is_empty() {
        let snapshot = orders.one_snapshot(tool)?;
        return Ok(orders.restore(tool, args.scope.clone(), snapshot, None)?);
    }
    let mut exit = Exit::Done;
    let mut proposed = None;
    while let Some(line) = tool.read()? {
        orders.hears(tool, &line.stamp, &line.record);
        let due = match line.record {
            Record::Decision(decision) if decision.action == Action::Rollback => Some((decision, false)),
            Record::Decision(decision) if decision.action == Action::Propose => {
                let agreed = args.approve || orders.approves(tool, &decision)?;
                proposed = (!agreed).then(|| decision.clone());
                agreed.then_some((decision, true))
            }
            Record::Operator(word) if word.verb == "approve" => {
                let meant = proposed.take_if(|decision| word.decision.as_ref().is_none_or(|id| *id == decision.id));
                meant.map(|decision| (decision, true))
            }
            Record::Operator(word) if word.verb == "reject" => {
                proposed = None;
                None
            }
            _ => None,
        };
        let Some((decision, by_operator)) = due else { continue };
        // One decision that cannot be carried out must not keep the next from being heard.
        match orders.decision(tool, &decision, by_operator) {
            Ok(done) => exit = exit.and(done),
            Err(e @ (Error::Interrupted(_) | Error::RecoverFirst(_))) => return Err(e.into()),
            Err(e) => {
                tool.error(&e.to_string());
                exit = exit.and(e.exit());
            }
        }
    }
    Ok(exit)
}
