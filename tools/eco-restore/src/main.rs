//! eco-restore: from a decision or a selector to the tree put back, proven, or swapped back.
mod args;
mod orders;
mod proposals;

use args::Args;
use eco::error::{Error, Exit};
use eco::record::{Action, Record, Scope};
use eco::tool::{self, Tool};
use orders::{Orders, Word};
use proposals::Proposals;
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
    let mut proposals = Proposals::default();
    while let Some(line) = tool.read()? {
        if orders.passes_by(tool, &line.stamp, &line.record) {
            continue;
        }
        orders.hears(tool, &line.stamp, &line.record);
        let due = match line.record {
            Record::Decision(decision) => {
                let word = match decision.action {
                    Action::Rollback => Some(Word::Policy),
                    Action::Propose if decision.is_rollouts_question() => orders.refers_to_the_rollout(tool, &decision),
                    Action::Propose if !proposals.is_done(&decision) => orders.whose_word(tool, &decision)?,
                    _ => None,
                };
                proposals.hear(&line.stamp, &decision, word.is_some_and(|word| word != Word::Policy));
                word.map(|word| (decision, word))
            }
            Record::Operator(word) => proposals.answer(tool, &line.stamp, &word).map(|decision| (decision, Word::Operator)),
            _ => None,
        };
        let Some((decision, word)) = due else { continue };
        // One decision that cannot be carried out must not keep the next from being heard.
        match orders.decision(tool, &decision, word) {
            Ok(Exit::No) if orders.was_declined() => {
                proposals.declined(&line.stamp, &decision);
                exit = exit.and(Exit::No);
            }
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
