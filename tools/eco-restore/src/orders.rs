//! From words and decisions to transactions: the lock, what is pending, which snapshot, and a person's agreement.

use crate::args::{Args, OnFailure};
use eco::archive::OwnerChange;
use eco::config::Config;
use eco::disk::Lock;
use eco::error::{Error, Exit, Result};
use eco::record::{Action, Decision, Line, Plan, Record, Restore, Scope, Stamp};
use eco::report;
use eco::restore::{self, Ecosystem, Memory, Order, Stage};
use eco::service::{Notice, Notifier};
use eco::store::{self, Store, Stored};
use eco::time::Timestamp;
use eco::tool::Tool;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether the lock is free.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whose word it is to carry out a decision.
#[derive(Clone, Copy, PartialEq)]
pub enum Word {
    /// The decision's own.
    Policy,
    /// A person has agreed.
    Operator,
    /// Somebody at the terminal will be asked, with the plan before their eyes.
    Asked,
}

/// When somebody is asked, where there is somebody.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Never,
    /// Unless `--yes` was given.
    First,
    /// Whatever was given: this is a proposal, and nobody agreed to it.
    Always,
}

pub struct Orders<'a> {
    args: &'a Args,
    config: &'a Config,
    eco: Ecosystem,
    now: Timestamp,
    notifier: RefCell<Notifier>,
    /// Other ecosystems whose decisions are on the stream; each is told once.
    others: BTreeSet<String>,
    /// Whether the last answer was a no.
    declined: Cell<bool>,
}

impl<'a> Orders<'a> {
    pub fn new(args: &'a Args, config: &'a Config, now: Timestamp) -> Orders<'a> {
        let notifier = Notifier::new(config.service(), config.notify.clone().unwrap_or_default()).into();
        Orders { args, config, eco: config.ecosystem(), now, notifier, others: BTreeSet::new(), declined: Cell::new(false) }
    }

    /// The configured store; a path given as selector needs none.
    pub fn store(&self) -> Result<Store> {
        let by_path = self.args.selector.as_ref().is_some_and(|s| store::is_path(s));
        match self.config.store() {
            Err(_) if by_path => Ok(Store::new(".".as_ref(), &self.config.name, self.now)),
            folder => Ok(Store::new(folder?, &self.config.name, self.now)),
        }
    }

    /// The snapshot that a selector means here: `latest-good` is the newest good one that holds the scope, since one of the
    /// configuration alone, taken later, would be of no use for more.
    pub fn select(&self, selector: &str, scopes: &[Scope]) -> Result<Stored> {
        let store = self.store()?;
        if selector != "latest-good" {
            return store.select(selector);
        }
        let found = store.newest_good(scopes, Timestamp::MAX, &[])?;
        let what = Scope::join(scopes);
        found.ok_or_else(|| Error::NoMatch(format!("no good snapshot of {what} in {}; eco-ls shows what is there", store.folder().display())))
    }

    /// Reads the stream to its end for the one snapshot that it names.
    pub fn one_snapshot(&self, tool: &mut Tool) -> Result<Stored> {
        let (mut named, mut bad) = (Vec::new(), Vec::new());
        while let Some(line) = tool.read()? {
            match line.record {
                Record::Snapshot(snapshot) => named.push(snapshot),
                Record::Verification(found) if found.ok != Some(true) => bad.push(found.snapshot),
                _ => {}
            }
        }
        if named.is_empty() {
            return Err(Error::Refused("--scope wants a snapshot on stdin, and there are 0: what stands before this in the pipe found none".into()));
        }
        let [snapshot] = named.as_slice() else {
            return Err(Error::Refused(format!("--scope wants exactly one snapshot on stdin, and there are {}", named.len())));
        };
        if bad.contains(&snapshot.id) {
            return Err(Error::Refused(format!("snapshot {} did not pass its verification", snapshot.id)));
        }
        let Some(path) = &snapshot.path else { return self.store()?.select(&snapshot.id) };
        let stored = Stored::open(&path.to_path())?;
        if stored.snapshot.id != snapshot.id {
            return Err(Error::Refused(format!("{} is not snapshot {}, as its record says", stored.path.display(), snapshot.id)));
        }
        Ok(stored)
    }

    /// Whose word it takes to carry out a proposal; where nobody can be asked, says how to agree.
    pub fn whose_word(&self, tool: &mut Tool, decision: &Decision) -> Result<Option<Word>> {
        if self.args.approve {
            return Ok(Some(Word::Operator));
        }
        if Memory::read(&self.eco.root)?.done(&decision.id).is_some() && !self.args.again {
            return Ok(None);
        }
        if tool.is_human() && tool.can_ask() {
            return Ok(Some(Word::Asked));
        }
        let scope = decision.scope.as_ref().map_or("nothing".into(), Scope::to_string);
        tool.say(&format!(
            "decision {} proposes to roll back {scope}; to agree: eco-ctl approve {}, or eco-restore --approve on this stream",
            decision.id, decision.id
        ));
        Ok(None)
    }

    /// Whether somebody at the terminal did not agree to the last plan.
    pub fn was_declined(&self) -> bool {
        self.declined.get()
    }

    /// Says whom to answer about a paused rollout: eco-rollout, which goes on or writes the decision to roll back. Nobody can agree here.
    pub fn refers_to_the_rollout(&self, tool: &Tool, decision: &Decision) -> Option<Word> {
        let (id, scope) = (&decision.id, decision.scope.as_ref().map_or("it".into(), Scope::to_string));
        tool.say(&format!("a rollout is paused, decision {id}: eco-ctl resume lets it go on, eco-ctl reject {id} rolls {scope} back"));
        None
    }

    /// Carries out one decision.
    pub fn decision(&mut self, tool: &mut Tool, decision: &Decision, word: Word) -> Result<Exit> {
        let refused = |why: &str| Error::Refused(format!("decision {}: {why}", decision.id));
        let scope = decision.scope.clone().ok_or_else(|| refused("it names no scope"))?;
        let said = Some((decision.id.clone(), word));
        if self.was_done(tool, &decision.id)? {
            return Ok(Exit::Done);
        }
        if !scope.needs_snapshot() {
            return self.command(tool, vec![scope], said);
        }
        let store = self.store()?;
        let stored = match &decision.snapshot {
            // Whoever can speak on the stream chooses among what is stored, and brings nothing along.
            Some(path) if store::is_path(path) => return Err(refused(&format!("{} is no id of a snapshot in the store", path.escape_debug()))),
            Some(id) => store.select(id).map_err(|e| refused(&e.to_string()))?,
            None => {
                let cut = decision.cut.or(decision.onset).ok_or_else(|| refused("it names neither a snapshot nor a time to go back before"))?;
                let failed = Memory::read(&self.eco.root)?.failed_snapshots();
                let found = store.newest_good(std::slice::from_ref(&scope), cut, &failed)?;
                let found = found
                    .ok_or_else(|| refused(&format!("the store {} has no good snapshot of {scope} at or before {cut}", store.folder().display())))?;
                if tool.is_human() {
                    tool.flush()?;
                    tool.say(&format!("decision {} names no snapshot: the newest good one of {scope} at or before {cut} is taken", decision.id));
                }
                found
            }
        };
        self.restore(tool, vec![scope], stored, said)
    }

    /// Carries out the one plan in a file.
    pub fn plan(&mut self, tool: &mut Tool, file: &Path) -> Result<Exit> {
        let refused = |why: String| Error::Refused(format!("{}: {why}", file.display()));
        let (mut plans, mut stamps) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(tool.read_text(file)?.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let line = Line::parse(number, line.into());
            if let Some(fault) = line.fault {
                return Err(refused(format!("line {number} is no record: {fault}")));
            }
            if let Record::Plan(plan) = line.record {
                plans.push(plan);
                stamps.push(line.stamp);
            }
        }
        let [plan] = plans.as_slice() else { return Err(refused(format!("--plan wants exactly one plan, and there are {}", plans.len()))) };
        if let Some(other) = stamps[0].ecosystem.as_ref().filter(|name| **name != self.eco.name) {
            return Err(refused(format!("it is a plan for '{}', and this is '{}'", other.escape_debug(), self.eco.name)));
        }
        let (Some(id), true) = (&plan.snapshot, plan.tree.is_some() && Tool::is_id(&plan.restore)) else {
            let only = "only a plan of a rollback of the live tree to a snapshot can be carried out; run this one by its own words";
            return Err(Error::Usage(format!("{}: {only}", file.display())));
        };
        let scopes = Scope::split(&plan.scope).map_err(refused)?;
        let stored = self.store()?.select(id).map_err(|e| refused(format!("{e}: make a new plan")))?;
        let said = plan.decision.clone().map(|id| (id, if plan.by.is_some() { Word::Operator } else { Word::Policy }));
        let asks = asks(said.as_ref());
        tool.knows(&stored.stamp, &stored.snapshot);
        self.carry_out(tool, Order { id: plan.restore.clone(), planned: Some(plan.clone()), ..self.order(tool, scopes, said) }, stored, asks)
    }

    /// Restores a snapshot, live or into `--target`.
    pub fn restore(&mut self, tool: &mut Tool, scopes: Vec<Scope>, stored: Stored, said: Option<(String, Word)>) -> Result<Exit> {
        if !scopes.iter().any(Scope::needs_snapshot) {
            return Err(Error::Usage(format!("{} has no files: leave the snapshot out", Scope::join(&scopes))));
        }
        let asks = asks(said.as_ref());
        let order = self.order(tool, scopes, said);
        tool.knows(&stored.stamp, &stored.snapshot);
        if let Some(folder) = &self.args.target {
            tool.changes_something()?;
            let lost = self.on_stage(tool, Asks::Never, |eco, stage| restore::extract_to(eco, &order, stored, folder, stage))?;
            if let Some((path, what)) = lost.first() {
                tool.error(&format!("{}: {what}; {} more such entries, everything else is there", path.display(), lost.len() - 1));
                return Ok(Exit::Unfinished);
            }
            return Ok(Exit::Done);
        }
        self.carry_out(tool, order, stored, asks)
    }

    fn carry_out(&mut self, tool: &mut Tool, order: Order, stored: Stored, asks: Asks) -> Result<Exit> {
        let _lock = self.ready(tool)?;
        // Only now: what was interrupted may have been this very plan.
        if order.planned.is_some() && self.was_carried_out(tool, &order)? {
            return Ok(Exit::Done);
        }
        let done = self.on_stage(tool, asks, |eco, stage| restore::restore(eco, &order, stored, stage))?;
        Ok(done.map_or_else(|| self.without(tool), |restore| ended(tool, &restore)))
    }

    fn was_carried_out(&self, tool: &Tool, order: &Order) -> Result<bool> {
        if restore::is_used(&self.eco.root, &order.id)? {
            tool.say(&format!("plan {} was carried out before, and is used up: make a new plan", order.id));
            return Ok(true);
        }
        match &order.decision {
            Some(decision) => self.was_done(tool, decision),
            None => Ok(false),
        }
    }

    /// Whether a decision was carried out before, and is not to be again; this is told.
    fn was_done(&self, tool: &Tool, decision: &str) -> Result<bool> {
        let memory = Memory::read(&self.eco.root)?;
        let Some(restore) = memory.done(decision).filter(|_| !self.args.again) else { return Ok(false) };
        tool.say(&format!("decision {decision} was carried out before, by restore {restore}; --again does it once more"));
        Ok(true)
    }

    /// Switches units without files off.
    pub fn command(&mut self, tool: &mut Tool, scopes: Vec<Scope>, said: Option<(String, Word)>) -> Result<Exit> {
        let asks = asks(said.as_ref());
        let order = self.order(tool, scopes, said);
        let _lock = self.ready(tool)?;
        let done = self.on_stage(tool, asks, |eco, stage| restore::order_by_command(eco, &order, stage))?;
        Ok(done.map_or_else(|| self.without(tool), |_| Exit::Done))
    }

    /// What it means that a run ended with its plan: a dry run is done, and a person's no is a no.
    fn without(&self, tool: &Tool) -> Exit {
        if !self.declined.get() {
            return Exit::Done;
        }
        tool.say("nothing was changed");
        Exit::No
    }

    pub fn undo(&mut self, tool: &mut Tool, which: Option<&str>) -> Result<Exit> {
        let _lock = self.ready(tool)?;
        let order = self.order(tool, Vec::new(), None);
        let Some(done) = self.on_stage(tool, Asks::First, |eco, stage| restore::undo(eco, which, order, stage))? else {
            return Ok(self.without(tool));
        };
        if let Some(why) = done.error {
            tool.say(&format!("the tree from before is back as it was: {why}"));
        }
        Ok(Exit::Done)
    }

    pub fn recover(&mut self, tool: &mut Tool) -> Result<Exit> {
        let _lock = self.lock(tool)?;
        let Some(restore) = self.finish_pending(tool)? else {
            tool.say("nothing to recover: no rollback is unfinished");
            return Ok(Exit::Done);
        };
        Ok(ended(tool, &restore))
    }

    /// Before the service is started, by whoever starts it: finishes what an interrupted run left, without a hand on the service. The
    /// start may be one of a rollback that is under way; it is right then once the trees are where they belong.
    pub fn guard(&mut self, tool: &mut Tool) -> Result<Exit> {
        // Nobody waits for a snapshot here.
        self.eco.store = None;
        if restore::pending(&self.eco.root)?.is_none() {
            return Ok(Exit::Done);
        }
        let _lock = match self.lock(tool) {
            // Looked at once more: the phase that was read before may have passed.
            Err(Error::Locked(held)) => match restore::pending(&self.eco.root)? {
                None | Some(true) => return Ok(Exit::Done),
                Some(false) => {
                    return Err(Error::Locked(format!("a rollback is about to exchange the tree, the service must not start now: {held}")));
                }
            },
            lock => lock?,
        };
        match self.on_stage(tool, Asks::Never, |eco, stage| restore::recover(eco, false, stage)) {
            // The tree from before is where it belongs, and the service may start on it.
            Err(Error::SwappedBack(_)) => Ok(Exit::Done),
            done => done.map(|_| Exit::Done),
        }
    }

    pub fn abort(&mut self, tool: &mut Tool) -> Result<Exit> {
        let _lock = self.lock(tool)?;
        let control = !self.args.no_control;
        match self.on_stage(tool, Asks::Never, |eco, stage| restore::abort(eco, control, stage))? {
            None => tool.say("nothing to abort: no rollback is unfinished"),
            Some(restore) => tool.say(&format!("rollback {} was taken back: the tree from before it is live", restore.id)),
        }
        Ok(Exit::Done)
    }

    fn order(&self, tool: &Tool, mut scopes: Vec<Scope>, said: Option<(String, Word)>) -> Order {
        let mut named = BTreeSet::new();
        scopes.retain(|scope| named.insert(scope.clone()));
        let (decision, by_operator) = said.map_or((None, true), |(id, word)| (Some(id), word != Word::Policy));
        let Args { adopt, no_control, dry_run, quick, stage, on_failure, .. } = *self.args;
        Order {
            id: tool.new_id(),
            scopes,
            decision,
            by_operator,
            adopt,
            control: !no_control,
            keep: on_failure == OnFailure::Keep,
            undoes: None,
            dry_run,
            quick,
            staging: stage.into(),
            planned: None,
        }
    }

    /// Takes the lock, and finishes what an interrupted run left. A dry run does neither.
    fn ready(&mut self, tool: &mut Tool) -> Result<Option<Lock>> {
        if self.args.dry_run {
            let pending = restore::refuse_while_pending(&self.eco.root);
            return pending.map(|()| None).map_err(|e| if let Error::Other(why) = e { Error::RecoverFirst(why) } else { e });
        }
        let lock = self.lock(tool)?;
        if let Some(restore) = self.finish_pending(tool)? {
            tool.say(&format!("rollback {} had been interrupted and is finished now", restore.id));
        }
        Ok(Some(lock))
    }

    fn lock(&self, tool: &mut Tool) -> Result<Lock> {
        tool.changes_something()?;
        let patience = self.args.wait.map_or(Duration::ZERO, |span| span.0);
        let began = Instant::now();
        loop {
            match self.eco.lock(&tool.holder()) {
                Err(Error::Locked(_)) if began.elapsed() < patience && !tool.asked_to_stop() => thread::sleep(LOOK_EVERY),
                done => return done,
            }
        }
    }

    fn finish_pending(&mut self, tool: &mut Tool) -> Result<Option<Restore>> {
        let control = !self.args.no_control;
        match self.on_stage(tool, Asks::Never, |eco, stage| restore::recover(eco, control, stage)) {
            // The interrupted rollback ended on its way back; what was asked for now can still be done.
            Err(Error::SwappedBack(why)) if !self.args.recover => {
                tool.say(&format!("an interrupted rollback was swapped back: {why}"));
                Ok(None)
            }
            other => other,
        }
    }

    /// Whether this is a decision about another ecosystem, as a stream of many machines has them: what is wrong there is no reason to
    /// roll this one back. One that names no ecosystem is meant for whoever reads it.
    pub fn passes_by(&mut self, tool: &Tool, stamp: &Stamp, record: &Record) -> bool {
        let (Some(other), Record::Decision(decision)) = (stamp.ecosystem.as_ref().filter(|name| **name != self.eco.name), record) else {
            return false;
        };
        // A service that was renamed in one place only must not find out by never being rolled back.
        if matches!(decision.action, Action::Rollback | Action::Propose) && self.others.insert(other.clone()) {
            let other = other.escape_debug();
            tool.say(&format!("decisions about '{other}' pass by: this is '{}'", self.eco.name));
        }
        true
    }

    /// Tells people of a decision, unless it is an old one that was carried out.
    pub fn hears(&self, tool: &Tool, stamp: &Stamp, record: &Record) {
        let done = |id: &str| Memory::read(&self.eco.root).is_ok_and(|memory| memory.done(id).is_some());
        if matches!(record, Record::Decision(decision) if self.args.again || !done(&decision.id)) {
            self.notify(self.notice(stamp, record));
        }
        self.notified(tool, false);
    }

    /// Says which notifications have failed; with `all`, waits for those under way.
    pub fn notified(&self, tool: &Tool, all: bool) {
        self.notifier.borrow_mut().failures(all).iter().for_each(|sentence| tool.error(sentence));
    }

    fn notice(&self, stamp: &Stamp, record: &Record) -> Option<Notice> {
        // Nothing happens to the service then.
        if self.args.dry_run || self.args.target.is_some() { None } else { report::notice(stamp, record, &self.config.contacts) }
    }

    fn notify(&self, notice: Option<Notice>) {
        notice.into_iter().for_each(|notice| self.notifier.borrow_mut().send(notice));
    }

    /// Gives the transaction its clock, its records' way out, and somebody to ask.
    fn on_stage<T>(&self, tool: &mut Tool, asks: Asks, work: impl FnOnce(&Ecosystem, &mut Stage<'_>) -> Result<T>) -> Result<T> {
        let stop = tool.stop_flag();
        let asked = match asks {
            Asks::Never => false,
            Asks::First => !self.args.yes && tool.is_human(),
            Asks::Always => true,
        };
        self.declined.set(false);
        let bar = tool.progress("reading and writing");
        let clock = tool.clock();
        let host = tool.stamp(tool.now()).host;
        let tool = RefCell::new(tool);
        let lost = RefCell::new(None);
        let result = work(
            &self.eco,
            &mut Stage {
                now: &clock,
                emit: &mut |stamp, record| {
                    bar.pause();
                    let mut tool = tool.borrow_mut();
                    let stamp = stamp.cloned().unwrap_or_else(|| tool.stamp(clock()));
                    let notice = self.notice(&stamp, &record);
                    // A record that cannot be written must not stop a rollback half-way; it is told at the end.
                    if let Record::Restore(restore) = &record {
                        tool.report_back(&self.eco.root, &stamp, restore);
                    }
                    let written = tool.emit_at(&stamp, record);
                    drop(tool);
                    if let Err(e) = written {
                        lost.borrow_mut().get_or_insert(e);
                    }
                    self.notify(notice);
                },
                host,
                confirm: &mut |plan: &Plan| {
                    if !asked {
                        return Ok(true);
                    }
                    bar.pause();
                    let is_undo = self.args.undo.is_some();
                    let what = if is_undo { "Undo the rollback of" } else { "Roll back" };
                    let answer = tool.borrow_mut().ask(&format!("{what} {}?", plan.scope))?;
                    let agrees = answer.unwrap_or(asks != Asks::Always);
                    self.declined.set(!agrees);
                    Ok(agrees)
                },
                expect: &|what, bytes| bar.begin(what, Some(bytes)),
                progress: &|bytes| bar.add(bytes),
                owners: &|changes| {
                    bar.pause();
                    let tool = tool.borrow();
                    if let Some(sentence) = OwnerChange::sentence(changes) {
                        tool.say(&sentence);
                    }
                    changes.iter().for_each(|change| tool.detail(&change.to_string()));
                },
                stop: &stop,
            },
        )?;
        lost.into_inner().map_or(Ok(result), Err)
    }
}

/// A person who asks for a rollback is asked back; a decision is carried out, unless it is a proposal that nobody agreed to.
fn asks(said: Option<&(String, Word)>) -> Asks {
    match said {
        None => Asks::First,
        Some((_, Word::Asked)) => Asks::Always,
        Some(_) => Asks::Never,
    }
}

/// The exit code for a rollback that stands: a tree that did not prove healthy may have been left live on purpose.
fn ended(tool: &Tool, restore: &Restore) -> Exit {
    match &restore.error {
        Some(why) if restore.exit == Some(Exit::No as u8) => {
            tool.error(&format!("{why}; the new tree was left live, and eco-restore --undo brings the one from before back"));
            Exit::No
        }
        _ => Exit::Done,
    }
}
