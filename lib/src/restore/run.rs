//! The order of steps, from the plan to the commit or the way back.

use super::hooks;
use super::journal::{Journal, Memory, Pair, Phase};
use super::layout;
use super::pointer;
use super::prove::what_is_verified;
use super::stage::{Live, Look, Point, Staging};
use super::swap::{self, Side};
use super::{Ecosystem, Stage};
use crate::archive::Taken;
use crate::compare::{known_by_times, nothing_known};
use crate::disk;
use crate::error::{Error, Exit, Result};
use crate::plan::outdated;
use crate::record::{Plan, RecordPath, Restore, Scope};
use crate::service::{Proof, UnitVerb};
use crate::store::Stored;
use crate::time::seconds_between;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::mem;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

/// How many differing paths a plan shows.
const EXAMPLES: usize = 10;

/// What a plan says about the proof of an undo.
pub(super) const UNDO_STANDS: &str = "health is reported and decides nothing";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The new restore's id.
    pub id: String,
    /// What is rolled back, all of it in one transaction.
    pub scopes: Vec<Scope>,
    /// The decision that is carried out.
    pub decision: Option<String>,
    /// Whether a person asked for it, or approved it.
    pub by_operator: bool,
    /// Whether a snapshot of another ecosystem will do.
    pub adopt: bool,
    /// Whether the service is stopped and started.
    pub control: bool,
    /// Whether the new tree stays live even if it does not prove healthy.
    pub keep: bool,
    /// The rollback that this one undoes: to the safety snapshot of the tree from before it, whatever is found of its health.
    pub undoes: Option<String>,
    /// Whether to end after the plan.
    pub dry_run: bool,
    /// Whether a live file counts as unchanged by its inode, length and times; otherwise it is read.
    pub quick: bool,
    /// How unchanged files get into the staged tree.
    pub staging: Staging,
    /// The plan that was made before and is to be carried out: only as it says, and only if all is as it was then.
    pub planned: Option<Plan>,
}

impl Order {
    fn by(&self) -> Option<String> {
        self.by_operator.then(|| "operator".into())
    }

    pub(super) fn record(&self) -> Restore {
        Restore {
            id: self.id.clone(),
            phase: "started".into(),
            decision: self.decision.clone(),
            by: self.by(),
            scope: Scope::join(&self.scopes),
            undoes: self.undoes.clone(),
            ..Restore::default()
        }
    }
}

/// Rolls back to a snapshot. The caller holds the lock and has recovered what was pending. `None` when the run ended with the plan:
/// a dry run, or a person's no.
///
/// # Errors
/// [`Error::Refused`] and [`Error::Interrupted`]: nothing live was changed. [`Error::SwappedBack`]: the tree from before is back.
/// [`Error::Process`]: the service could not be stopped, and was started again. [`Error::RecoverFirst`]: run it again with `--recover`.
pub fn restore(eco: &Ecosystem, order: &Order, stored: Stored, stage: &mut Stage<'_>) -> Result<Option<Restore>> {
    let began = Instant::now();
    let time = stored.stamp.time;
    let mut point = Point::open(eco, stored, order, stage.progress)?;
    point.refuse_links()?;
    (stage.expect)("comparing", point.bytes());
    let look = point.look(&eco.root, if order.quick { &known_by_times } else { &nothing_known }, stage.progress)?;
    let live = Live::new(&eco.root, &look, order.staging);
    let switched = if order.undoes.is_some() { String::new() } else { what_is_switched_off(eco, &order.scopes)? };
    let control = order.control && (eco.service.can_stop() || eco.service.can_start());
    let data_loss_s = seconds_between(time, stage.now()).max(0);
    let loses = (order.undoes.is_none() && order.scopes.iter().any(Scope::holds_data)).then_some(data_loss_s);
    let mut record = order.record();
    record.snapshot = Some(point.stored.snapshot.id.clone());
    record.safety = Some(order.id.clone());
    let mut journal = Journal::new(stage.now(), record, order.id.clone(), control);
    journal.units = order.scopes.iter().filter(|scope| order.undoes.is_none() && !matches!(scope, Scope::Full | Scope::Config(_))).cloned().collect();
    journal.keep = order.keep;
    journal.roots = point.roots.iter().map(RecordPath::new).collect();
    journal.carry = point.carry();
    journal.carry_from = look.carried.clone();
    let mut run = Run { eco, stage, journal, began, downtime: None };

    let looked = Instant::now();
    let ready = run.preflight(&mut point, &look, &live, order.dry_run).map_err(full_is_refused);
    let looking = looked.elapsed();
    let way = if order.dry_run { layout::forecast(&eco.root, &run.journal) } else { layout::way(&run.journal) };
    let mut plan = draw(order, &point, &look, way);
    plan.bytes = *ready.as_ref().unwrap_or(&0);
    plan.data_loss_s = loses;
    plan.control = how_controlled(eco, order.control) + &switched;
    plan.verify = if order.undoes.is_some() { vec![UNDO_STANDS.into()] } else { what_is_verified(eco) };
    if ready.is_err() && order.dry_run {
        return ready.map(|_| None);
    }
    // What cannot be done is not asked for.
    if ready.is_ok() {
        if let Some(why) = order.planned.as_ref().and_then(|planned| outdated(planned, &plan)) {
            if !order.dry_run {
                run.withdraw()?;
            }
            return Err(Error::Refused(why));
        }
        run.stage.emit(plan.clone());
        if order.dry_run {
            return Ok(None);
        }
        let asked = Instant::now();
        if !(run.stage.confirm)(&plan).inspect_err(|_| drop(run.withdraw()))? {
            run.withdraw()?;
            return Ok(None);
        }
        // A person's thinking is no part of what it took.
        run.began += asked.elapsed();
    }
    let record = &mut run.journal.restore;
    record.strategy = Some(mem::take(&mut plan.strategy));
    run.stage.emit(Restore { safety: None, ..record.clone() });
    record.data_loss_s = loses;
    (record.created, record.updated, record.deleted, record.kept) = (Some(plan.created), Some(plan.updated), Some(plan.deleted), Some(plan.kept));
    if let Some(note) = look.note.clone() {
        run.stage.report(&order.id, "compare", None, Some(note), began);
    }
    let began_so_long_ago = Instant::now().checked_sub(looking).unwrap_or(looked);
    run.stage.report(&order.id, "preflight", Some(ready.is_ok()), ready.as_ref().err().map(Error::to_string), began_so_long_ago);
    (run.stage.expect)("staging", plan.bytes);
    let staged = ready.and_then(|_| run.stage.go_on()).and_then(|()| run.prepare(&point, &look, &live).map_err(full_is_refused));
    let stopped = staged.and_then(|taken| run.stop().map(|()| taken));
    match stopped.and_then(|taken| run.look_again(&mut point, &taken)).and_then(|()| run.decide()) {
        Ok(()) => run.forward().map(Some),
        Err(e @ Error::RecoverFirst(_)) => Err(e),
        Err(e) => {
            run.abandon(&e)?;
            Err(e)
        }
    }
}

/// The plan, as far as it follows from the two trees.
fn draw(order: &Order, point: &Point, look: &Look, way: layout::Way) -> Plan {
    let comparison = &look.comparison;
    Plan {
        restore: order.id.clone(),
        scope: Scope::join(&order.scopes),
        snapshot: Some(point.stored.snapshot.id.clone()),
        strategy: way.word().into(),
        guarantee: Some(way.guarantee().into()),
        roots: point.roots.iter().map(|root| root.display().to_string()).collect(),
        created: comparison.count("deleted"),
        updated: comparison.changed(),
        deleted: comparison.count("created"),
        kept: comparison.same,
        preserved: comparison.aside,
        decision: order.decision.clone(),
        by: order.by(),
        // An undo is asked for by its own word.
        tree: look.tree.filter(|_| order.undoes.is_none()).map(|tree| tree.to_string()),
        examples: comparison.differences.iter().take(EXAMPLES).cloned().collect(),
        ..Plan::default()
    }
}

/// Rolls back units that have no files: their commands switch them off, or take back what they did. `None` after a dry run or a no.
///
/// # Errors
/// [`Error::Usage`] when the configuration has no command for one; [`Error::Process`] when a command fails.
pub fn order_by_command(eco: &Ecosystem, order: &Order, stage: &mut Stage<'_>) -> Result<Option<Restore>> {
    let mut began = Instant::now();
    let what = what_is_switched_off(eco, &order.scopes)?;
    hooks::check_units(eco, &order.scopes)?;
    let plan = Plan {
        restore: order.id.clone(),
        scope: Scope::join(&order.scopes),
        strategy: "command".into(),
        control: format!("the service goes on{what}"),
        ..Plan::default()
    };
    stage.emit(plan.clone());
    let asked = Instant::now();
    if order.dry_run || !(stage.confirm)(&plan)? {
        return Ok(None);
    }
    began += asked.elapsed();
    let mut record = order.record();
    record.strategy = Some("command".into());
    stage.emit(record.clone());
    let mut journal = Journal::new(stage.now(), record, order.id.clone(), false);
    journal.units = order.scopes.clone();
    let mut run = Run { eco, stage, journal, began, downtime: None };
    let done = run.switch_off();
    if done.is_err() {
        run.switch_on(false);
    }
    let mut record = run.journal.restore;
    record.took_ms = Some(began.elapsed().as_millis() as u64);
    record.phase = if done.is_ok() { "completed" } else { "failed" }.into();
    if let Err(e) = &done {
        (record.error, record.exit) = (Some(e.to_string()), Some(e.exit() as u8));
    } else {
        Memory::add(&eco.root, &record, stage.now())?;
    }
    stage.emit(record.clone());
    done.map(|()| Some(record))
}

/// How this unit is rolled back by its command.
///
/// # Errors
/// [`Error::Usage`]: the sentence that says which key is missing; nothing is run.
pub(super) fn off(eco: &Ecosystem, unit: &Scope) -> Result<UnitVerb> {
    let reverts = matches!(unit, Scope::Optimization(_)) && eco.service.has_unit_command(UnitVerb::Revert, unit);
    let verb = if reverts { UnitVerb::Revert } else { UnitVerb::Disable };
    if !eco.service.has_unit_command(verb, unit) {
        eco.service.unit(verb, unit, &[])?;
    }
    Ok(verb)
}

/// What becomes of the units that are rolled back by their commands, as the rest of a sentence.
fn what_is_switched_off(eco: &Ecosystem, scopes: &[Scope]) -> Result<String> {
    let word = |verb| if verb == UnitVerb::Revert { "reverted" } else { "switched off" };
    scopes.iter().filter(|scope| !scope.needs_snapshot()).map(|unit| Ok(format!("; {unit} is {}", word(off(eco, unit)?)))).collect()
}

/// A disk that fills up while the new tree is staged is no failure half-way: nothing was changed.
fn full_is_refused(e: Error) -> Error {
    match &e {
        Error::Path { source, .. } if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Error::Refused(e.to_string()),
        _ => e,
    }
}

fn how_controlled(eco: &Ecosystem, asked: bool) -> String {
    match (asked, eco.service.can_stop(), eco.service.can_start()) {
        (false, ..) => "the service is neither stopped nor started (--no-control)".into(),
        (true, false, false) => "nothing to stop or start: eco.toml has no [control]".into(),
        (true, true, true) => "the service is stopped and started".into(),
        (true, true, false) => "the service is stopped; eco.toml has no start command".into(),
        (true, false, true) => "the service is started; eco.toml says no way to stop it".into(),
    }
}

/// One transaction under way.
pub(super) struct Run<'a, 'b> {
    pub(super) eco: &'a Ecosystem,
    pub(super) stage: &'a mut Stage<'b>,
    pub(super) journal: Journal,
    pub(super) began: Instant,
    /// When the stop began, and what the stop command took.
    pub(super) downtime: Option<(Instant, u64)>,
}

impl Run<'_, '_> {
    pub(super) fn id(&self) -> String {
        self.journal.restore.id.clone()
    }

    /// The bytes to be written, if every command can be run and there is room for them. Finds out how each root can change places; a look
    /// alone writes nothing.
    fn preflight(&mut self, point: &mut Point, look: &Look, live: &Live<'_>, only_look: bool) -> Result<u64> {
        let root = self.eco.root.as_path();
        hooks::check(self.eco, &self.journal)?;
        pointer::find(root, &mut self.journal)?;
        if !only_look {
            layout::survey(root, &mut self.journal)?;
        }
        let room = point.room(root, &self.journal, live);
        let Err(full) = room else { return room };
        // A generation is a whole one.
        if !self.journal.pointers.is_empty() {
            return Err(full);
        }
        // For what differs alone there may be room.
        point.narrow(look);
        self.journal.in_place = true;
        point.room(root, &self.journal, live).map_err(|_| full)
    }

    /// Steps that the live tree does not notice. Returns what of it became part of the staged tree.
    fn prepare(&mut self, point: &Point, look: &Look, live: &Live<'_>) -> Result<Vec<Taken>> {
        let (eco, root, id) = (self.eco, self.eco.root.as_path(), self.id());
        let journal = &self.journal;
        // Opened before anything is written: errors of late writes are reported to whoever held it open (Linux 5.8 and later).
        let trees: Vec<PathBuf> = journal.places.iter().map(|place| journal.folder_in(root, &place.path()).join("tree")).collect();
        let dirs = trees.iter().map(|tree| disk::open_dir(tree)).collect::<Result<Vec<_>>>()?;
        let (progress, stop) = (self.stage.progress, self.stage.stop);
        let (owners, taken) = self.stage.step(&id, "stage", || {
            let done = point.stage(root, journal, live, progress, stop)?;
            let taken =
                if done.taken.is_empty() { String::new() } else { format!("; {} unchanged files of the live tree are shared", done.taken.len()) };
            let note = format!("{} entries, {} KiB, each against its digest{taken}", done.entries, done.bytes >> 10);
            Ok(((done.owners, done.taken), Some(note)))
        })?;
        self.stage.tell(&owners);
        self.stage.step(&id, "flush", || {
            dirs.iter().zip(&trees).try_for_each(|(dir, tree)| disk::sync_filesystem(dir.as_fd(), tree))?;
            Ok(((), None))
        })?;
        (self.stage.expect)("reading back", point.bytes());
        self.stage.step(&id, "check", || {
            let same = point.check(root, journal, &taken, progress, stop)?;
            hooks::check_staged(eco, journal)?;
            Ok(((), Some(format!("{same} entries read back as they were captured"))))
        })?;
        self.stage.go_on()?;
        pointer::settle(root, &mut self.journal)?;
        if self.journal.in_place {
            layout::pair_up_in_place(root, &mut self.journal, &look.altered)?;
        } else {
            layout::pair_up(root, &mut self.journal)?;
        }
        layout::make_way(root, &self.journal)?;
        self.journal.enter(&self.eco.root, Phase::Staged)?;
        Ok(taken)
    }

    /// What shares its file with the live tree, or stays there, is looked at once more, now that nobody writes: what has changed since
    /// comes from the archive.
    fn look_again(&mut self, point: &mut Point, taken: &[Taken]) -> Result<()> {
        let (root, id) = (self.eco.root.as_path(), self.id());
        if self.journal.in_place {
            let (journal, stop, progress) = (&mut self.journal, self.stage.stop, self.stage.progress);
            return self.stage.step(&id, "look-again", || {
                let look = point.look(root, &nothing_known, progress)?;
                let late = point.narrow(&look);
                let note = (!late.is_empty()).then(|| format!("{} more paths differ than before the stop", late.len()));
                point.write_again(root, journal, late, stop)?;
                layout::pair_up_in_place(root, journal, &look.altered).map(|()| ((), note))
            });
        }
        let changed = taken.iter().filter(|taken| taken.is_link() && !taken.is_unchanged(root)).map(|taken| taken.path.clone());
        let changed: BTreeSet<PathBuf> = changed.collect();
        if changed.is_empty() {
            return Ok(());
        }
        let (journal, stop) = (&self.journal, self.stage.stop);
        self.stage.step(&id, "look-again", || {
            let note = format!("{} linked files were written to before the stop, and come from the snapshot instead", changed.len());
            point.write_again(root, journal, changed, stop).map(|()| ((), Some(note)))
        })
    }

    /// Nothing was begun: what the preflight made goes, and nobody is told.
    fn withdraw(&mut self) -> Result<()> {
        let root = &self.eco.root;
        layout::clear_trials(root, &self.journal)?;
        self.journal.remove_folders(root)?;
        self.journal.close(root, false)
    }

    /// Switches the unit off and stops the service; afterwards nobody writes to the roots, as far as can be proven.
    pub(super) fn stop(&mut self) -> Result<()> {
        let (eco, id) = (self.eco, self.id());
        self.journal.enter(&eco.root, Phase::Stopping)?;
        self.switch_off()?;
        let began = Instant::now();
        if !self.journal.control || !eco.service.can_stop() {
            self.stage.report(&id, "stop", None, Some(format!("not checked: {}", how_controlled(eco, self.journal.control))), began);
            self.downtime = Some((began, 0));
            return Ok(());
        }
        let stopped = eco.service.stop(&[("ECO_RESTORE", &id), ("ECO_PHASE", "stop")]);
        self.downtime = Some((began, stopped.command_ms));
        let (ok, mut notes) = match &stopped.proof {
            Proof::Proven => (Some(true), Vec::new()),
            Proof::NotProven(why) => (None, vec![format!("not proven: {why}")]),
            Proof::Failed(why) => (Some(false), vec![why.clone()]),
        };
        notes.extend(stopped.note);
        if ok != Some(false) {
            let roots: Vec<_> = self.journal.pairs.iter().map(|pair| eco.root.join(pair.path())).collect();
            let holders = eco.service.holders(&roots);
            notes.extend(holders.iter().take(5).map(|holder| {
                format!("process {} ({}) still holds {}, and goes on with the tree from before", holder.pid, holder.name, holder.path.display())
            }));
        }
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        self.stage.report(&id, "stop", ok, note.clone(), began);
        match ok {
            Some(false) => {
                Err(Error::Process(format!("the service could not be stopped: {}; the live tree was not touched", note.unwrap_or_default())))
            }
            _ => self.stage.go_on(),
        }
    }

    /// Switches the units of this rollback off. A module is only to hold still, and the service is stopped right after, so of one that
    /// fails no more is made than a step.
    ///
    /// # Errors
    /// [`Error::Process`] when one fails that is rolled back by nothing else.
    fn switch_off(&mut self) -> Result<()> {
        for at in 0..self.journal.units.len() {
            let unit = self.journal.units[at].clone();
            if unit.needs_snapshot() {
                self.switch(UnitVerb::Disable, &unit);
                continue;
            }
            if let Some(why) = self.switch(off(self.eco, &unit)?, &unit) {
                // Those after it were not touched.
                self.journal.units.truncate(at);
                return Err(Error::Process(format!("{unit}: {why}")));
            }
        }
        Ok(())
    }

    /// Switches modules on again, and unless the rollback stands also what it has switched off; why that failed for the first one.
    fn switch_on(&mut self, stands: bool) -> Option<String> {
        let units = self.journal.units.clone();
        let mut failed = None;
        for unit in units.iter().filter(|unit| unit.needs_snapshot() || !stands) {
            if matches!(off(self.eco, unit), Ok(UnitVerb::Revert)) {
                let note = format!("not done: {unit} was reverted, and stays so");
                self.stage.report(&self.id(), UnitVerb::Enable.word(), None, Some(note), Instant::now());
            } else if let Some(why) = self.switch(UnitVerb::Enable, unit) {
                failed.get_or_insert(format!("{unit} could not be switched on again: {why}"));
            }
        }
        failed
    }

    fn switch(&mut self, verb: UnitVerb, unit: &Scope) -> Option<String> {
        let (id, began) = (self.id(), Instant::now());
        if !self.eco.service.has_unit_command(verb, unit) {
            self.stage.report(&id, verb.word(), None, Some(format!("not done: {unit} has no {} command", verb.word())), began);
            return None;
        }
        let ran = self.eco.service.unit(verb, unit, &[("ECO_RESTORE", &id), ("ECO_PHASE", verb.word())]);
        let why = ran.map_or_else(|e| Some(e.to_string()), |ran| ran.why());
        let note = why.as_ref().map_or_else(|| unit.to_string(), |why| format!("{unit}: {why}"));
        self.stage.report(&id, verb.word(), Some(why.is_none()), Some(note), began);
        why
    }

    /// Nothing live was changed: the service runs again, what was staged goes.
    pub(super) fn abandon(&mut self, why: &Error) -> Result<()> {
        let root = self.eco.root.clone();
        if matches!(self.journal.phase, Phase::Stopping | Phase::Abandoned) {
            // A guard in the start command looks for this. Where it cannot be written, no journal lets the service start as well, and
            // all that a crash could leave behind then is what was staged.
            if self.journal.enter(&root, Phase::Abandoned).is_err() {
                let _ = self.journal.close(&root, false);
            }
            let started = self.start();
            self.switch_on(false);
            if let Some(failed) = started {
                self.stage.report(&self.id(), "start", Some(false), Some(failed), Instant::now());
            }
        }
        if self.journal.owns_folder() {
            layout::clear_trials(&root, &self.journal)?;
            self.journal.remove_folders(&root)?;
        }
        if self.journal.phase >= Phase::Staging && Journal::pending(&root).exists() {
            self.journal.close(&root, false)?;
        }
        let mut record = self.journal.restore.clone();
        record.phase = "failed".into();
        (record.safety, record.error, record.exit) = (None, Some(why.to_string()), Some(why.exit() as u8));
        record.took_ms = Some(self.began.elapsed().as_millis() as u64);
        self.stage.emit(record);
        Ok(())
    }

    /// The decision to swap: once it is durable, recovery goes forward.
    ///
    /// # Errors
    /// [`Error::Path`]; it was not taken then, and the rollback can be abandoned.
    pub(super) fn decide(&mut self) -> Result<()> {
        let root = &self.eco.root;
        let staged = self.journal.pairs.clone();
        // Until it was stopped the service may have made something new where a folder stays. A root itself is nobody else's to replace.
        layout::pair_up_for_good(root, &mut self.journal)?;
        let is_root = |pair: &&Pair| self.journal.roots.iter().any(|root| root.to_path() == pair.path());
        if let Some(other) = staged.iter().filter(is_root).find(|pair| !self.journal.pairs.contains(pair)) {
            let path = root.join(other.path());
            return Err(Error::Refused(format!("{} is not what it was when it was staged for: somebody else has replaced it", path.display())));
        }
        layout::make_way(root, &self.journal)?;
        self.journal.enter(root, Phase::Swapping).inspect_err(|_| self.journal.phase = Phase::Stopping)
    }

    /// From the decision to swap to the end; what keeps it from its end is told.
    pub(super) fn forward(&mut self) -> Result<Restore> {
        let done = self.go_forward();
        if let Err(e) = done.as_ref()
            && !matches!(e, Error::SwappedBack(_))
        {
            let mut record = self.journal.restore.clone();
            record.phase = "failed".into();
            (record.error, record.exit) = (Some(format!("{e}; eco-restore --recover finishes it")), Some(e.exit() as u8));
            record.took_ms = Some(self.began.elapsed().as_millis() as u64);
            self.stage.emit(record);
        }
        done
    }

    fn go_forward(&mut self) -> Result<Restore> {
        match self.change_places() {
            // Half-way is the one place where nobody can stay. An undo has nothing that it could give up; it waits to be finished.
            Err(e) if self.journal.restore.undoes.is_none() && !matches!(e, Error::RecoverFirst(_)) => return self.backward(&e.to_string()),
            other => other?,
        }
        let mut failed = self.start();
        self.end_downtime();
        if failed.is_none() || self.journal.stands() {
            let off = self.switch_on(true);
            failed = failed.or(off);
        }
        match failed.or_else(|| self.prove()) {
            Some(why) if !self.journal.stands() => self.backward(&why),
            Some(why) => {
                self.journal.restore.error = Some(why);
                // An undo that was asked for is done.
                self.journal.restore.exit = self.journal.restore.undoes.is_none().then_some(Exit::No as u8);
                self.commit()
            }
            None => self.commit(),
        }
    }

    /// The exchange and what follows from it, while the service stands still.
    fn change_places(&mut self) -> Result<()> {
        let (root, id) = (self.eco.root.clone(), self.id());
        if self.journal.phase < Phase::Carried {
            let journal = &self.journal;
            self.stage.step(&id, "swap", || swap::swap(&root, journal, Side::New).map(|()| ((), None)))?;
        }
        self.carry(Side::New)?;
        self.journal.enter(&root, Phase::Carried)
    }

    fn carry(&mut self, side: Side) -> Result<()> {
        let (root, id) = (self.eco.root.clone(), self.id());
        let journal = &self.journal;
        let moved = self.stage.step(&id, "carry", || {
            let moved = swap::carry(&root, journal, side)?;
            Ok((moved, Some(format!("{moved} preserved or excluded paths stay as they were"))))
        })?;
        self.journal.restore.preserved = Some(self.journal.restore.preserved.unwrap_or(0).max(moved));
        Ok(())
    }

    /// Starts the service; why that failed.
    pub(super) fn start(&mut self) -> Option<String> {
        let (id, began) = (self.id(), Instant::now());
        if !self.journal.control || !self.eco.service.can_start() {
            self.stage.report(&id, "start", None, Some(format!("not checked: {}", how_controlled(self.eco, self.journal.control))), began);
            return None;
        }
        let (ok, note, took) = match self.eco.service.start(&[("ECO_RESTORE", &id), ("ECO_PHASE", "start")]) {
            Ok(started) => (started.ok, started.note, started.command_ms),
            Err(e) => (false, Some(e.to_string()), 0),
        };
        if let Some((_, hooks)) = &mut self.downtime {
            *hooks += took;
        }
        self.stage.report(&id, "start", Some(ok), note.clone(), began);
        (!ok).then(|| note.unwrap_or_else(|| "the start command failed".into()))
    }

    fn end_downtime(&mut self) {
        if let Some((began, hooks)) = self.downtime.take().filter(|_| self.journal.control) {
            self.journal.restore.downtime_ms = Some(began.elapsed().as_millis() as u64);
            self.journal.restore.hooks_ms = Some(hooks);
        }
    }

    /// The one way back: the tree from before, with what preserved paths have gained.
    pub(super) fn backward(&mut self, why: &str) -> Result<Restore> {
        let (root, id) = (self.eco.root.clone(), self.id());
        self.journal.restore.error = Some(why.to_owned());
        self.journal.enter(&root, Phase::Reverting)?;
        if self.journal.control && self.eco.service.can_stop() {
            let began = Instant::now();
            let stopped = self.eco.service.stop(&[("ECO_RESTORE", &id), ("ECO_PHASE", "stop")]);
            let (ok, note) = match stopped.proof {
                Proof::Proven => (Some(true), stopped.note),
                Proof::NotProven(why) => (None, Some(why)),
                // Worse than a service that writes into a tree on its way out is one that keeps a broken tree.
                Proof::Failed(why) => (Some(false), Some(why)),
            };
            self.stage.report(&id, "stop", ok, note, began);
        }
        let journal = &self.journal;
        self.stage.step(&id, "swap-back", || swap::swap(&root, journal, Side::Old).map(|()| ((), None)))?;
        self.carry(Side::Old)?;
        self.journal.enter(&root, Phase::Reverted)?;
        self.finish_revert()
    }

    /// The tree from before is back: start it, remember, and let go of what was staged.
    pub(super) fn finish_revert(&mut self) -> Result<Restore> {
        let root = self.eco.root.clone();
        let not_started = self.start();
        self.switch_on(false);
        let why = self.journal.restore.error.clone().unwrap_or_else(|| "the rollback did not prove healthy".into());
        let said = match (self.journal.aborted, not_started) {
            (true, None) => None,
            (true, Some(failed)) => Some(Error::Process(format!("the tree from before is back, and the service did not start: {failed}"))),
            (false, None) => Some(Error::SwappedBack(why)),
            (false, Some(failed)) => Some(Error::SwappedBack(format!("{why}; and the service did not start again: {failed}"))),
        };
        let mut record = self.journal.restore.clone();
        record.phase = "reverted".into();
        (record.safety, record.exit) = (None, said.as_ref().map(|e| e.exit() as u8));
        record.took_ms = Some(self.began.elapsed().as_millis() as u64);
        Memory::add(&root, &record, self.stage.now())?;
        self.stage.emit(record.clone());
        if self.journal.owns_folder() {
            self.journal.remove_folders(&root)?;
        }
        self.journal.close(&root, false)?;
        said.map_or(Ok(record), Err)
    }

    /// Durable first, told afterwards: whoever reads `completed` can rely on it through a power cut.
    pub(super) fn commit(&mut self) -> Result<Restore> {
        let root = self.eco.root.clone();
        self.journal.restore.phase = "completed".into();
        self.journal.restore.took_ms = Some(self.began.elapsed().as_millis() as u64);
        self.journal.enter(&root, Phase::Committed)?;
        self.finish_commit()
    }

    pub(super) fn finish_commit(&mut self) -> Result<Restore> {
        let root = self.eco.root.clone();
        let record = self.journal.restore.clone();
        Memory::add(&root, &record, self.stage.now())?;
        self.journal.close(&root, true)?;
        self.stage.emit(record.clone());
        self.keep_as_snapshot();
        self.expire();
        Ok(record)
    }
}
