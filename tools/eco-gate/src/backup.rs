//! The last check: a snapshot of the state before the deployment, read back.

use eco::archive::LEVEL;
use eco::config::Config;
use eco::gate::{self, BACKUP};
use eco::record::Gate;
use eco::restore;
use eco::service::Quiesce;
use eco::store::{self, Mode, Store, Taken, Taking};
use eco::tool::Tool;
use std::time::Instant;

/// Takes the snapshot and writes its record; then says whether it is one to go back to.
pub fn take(tool: &mut Tool, config: &Config, store: &Store, health: &str) -> anyhow::Result<Gate> {
    let clock = Instant::now();
    let took_s = || clock.elapsed().as_millis() as f64 / 1000.0;
    let (id, stop) = (tool.new_id(), tool.stop_flag());
    let quiesce = Quiesce::new(config.service(), config.hooks.clone(), &id, &stop);
    let taking = Taking {
        base: &config.root,
        roots: config.scopes.full(),
        scopes: &config.scopes,
        rules: &config.capture,
        kind: "pre-deployment",
        id,
        time: tool.now(),
        host: tool.stamp(tool.now()).host,
        health,
        output: None,
        mode: Mode::Full,
        level: LEVEL,
        rehash: false,
        pin: false,
        quiet: Some(&quiesce),
        expect: None,
    };
    let progress = tool.progress("reading");
    let taken = restore::refuse_while_pending(&config.root).and_then(|()| store::take(store, taking, &|bytes| progress.add(bytes), &stop));
    drop(progress);
    let Taken { stored, notes, .. } = match taken {
        Ok(taken) => taken,
        Err(e) => return Ok(Gate { took_s: took_s(), ..gate::found(BACKUP, Err(format!("no snapshot was taken: {e}"))) }),
    };
    let mut snapshot = stored.snapshot;
    snapshot.quiesced_ms = quiesce.took_ms();
    snapshot.took_ms = Some(clock.elapsed().as_millis() as u64);
    let sound = match (snapshot.verified, snapshot.unstable.len(), quiesce.failure()) {
        (Some(true), 0, None) => Ok(()),
        (_, _, Some(why)) => Err(why),
        (Some(true), moving, None) => Err(format!("{moving} files kept changing while they were read; the snapshot's record names them")),
        _ => Err(format!("snapshot {} could not be verified", snapshot.id)),
    };
    tool.emit_at(&stored.stamp, snapshot)?;
    notes.iter().for_each(|note| tool.say(note));
    Ok(Gate { took_s: took_s(), ..gate::found(BACKUP, sound) })
}
