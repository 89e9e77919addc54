//! eco-snap: take a snapshot of the service's files, while it runs.
mod args;

use anyhow::Context;
use args::Args;
use eco::record::Record;
use eco::scope::{absorb, check_root};
use eco::service::Quiesce;
use eco::store::{Mode, Store, Taking, take};
use eco::tool::{self, Tool};
use eco::verdict::Verdict;
use eco::{error::Error, health, restore};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    tool::run(|args: Args, tool: &mut Tool| -> anyhow::Result<Verdict> {
        let config = tool.config()?;
        let reads = args.roots.iter().any(|root| root == Path::new("-"));
        let named: Vec<PathBuf> = args.roots.into_iter().filter(|root| root != Path::new("-")).collect();
        for root in &named {
            check_root(root).map_err(Error::Usage)?;
        }
        let roots = if named.is_empty() { config.scopes.full() } else { absorb(named) };
        // A tree in the middle of a rollback is nobody's last known good.
        restore::refuse_while_pending(&config.root)?;

        let mut health = if args.good { "ok" } else { "unknown" };
        if reads {
            tool.open_input("pipe health records into eco-snap -, or leave the - out")?;
            while let Some(line) = tool.read()? {
                if let Record::Health(sample) = &line.record {
                    health = health::word(sample);
                }
            }
        }
        tool.changes_something()?;
        let store = Store::new(config.store().or_else(|e| args.output.as_deref().map(eco::disk::parent).ok_or(e))?, &config.name, tool.now());
        let daily = args.kind == "daily" && !args.full && args.output.is_none();
        let (id, stop) = (tool.new_id(), tool.stop_flag());
        let quiesce = Quiesce::new(config.service(), config.hooks.clone(), &id, &stop);
        let progress = tool.progress("reading");
        let taking = Taking {
            base: &config.root,
            roots,
            scopes: &config.scopes,
            rules: &config.capture,
            kind: &args.kind,
            id,
            time: tool.now(),
            host: tool.stamp(tool.now()).host,
            health,
            output: args.output,
            mode: if args.differential || daily { Mode::Differential } else { Mode::Full },
            level: args.level,
            rehash: args.rehash,
            pin: args.pin,
            quiet: Some(&quiesce),
            expect: Some(&|bytes| progress.expect(bytes)),
        };
        let clock = std::time::Instant::now();
        let taken = take(&store, taking, &|bytes| progress.add(bytes), &stop).context("no snapshot was taken");
        drop(progress);
        let disturbed = quiesce.failure().inspect(|why| tool.error(why)).is_some();
        let taken = taken?;
        let mut snapshot = taken.stored.snapshot;
        snapshot.quiesced_ms = quiesce.took_ms();
        snapshot.took_ms = Some(clock.elapsed().as_millis() as u64);
        let unstable = snapshot.unstable.len();
        tool.emit_at(&taken.stored.stamp, snapshot)?;
        for note in &taken.notes {
            tool.say(note);
        }
        for path in &taken.vanished {
            tool.detail(&format!("{} was gone when its turn came", path.display()));
        }
        for path in &taken.sockets {
            tool.detail(&format!("{} is a socket: noted, not captured", path.display()));
        }
        if unstable > 0 {
            tool.error(&format!("{unstable} files kept changing while they were read; the record names them"));
        }
        // It is there, and somebody has to look all the same.
        Ok(if unstable > 0 || disturbed { Verdict::Unknown } else { Verdict::Yes })
    })
}
