//! The words of eco-ctl.

use super::words::Word;
use clap::{Parser, ValueEnum};
use eco::error::{Error, Result};
use eco::record::Scope;
use eco::service::UnitVerb;
use eco::time::Span;
use eco::tool::{Common, Words};

/// Control the service and its units, and speak to the pipeline that watches it.
///
/// Runs the commands of eco.toml and writes one `control` record that says how it ended; or writes one record of what a person says.
#[derive(Parser)]
#[command(name = "eco-ctl", version)]
pub struct Args {
    /// What to do, or to say
    #[arg(value_name = "VERB")]
    pub verb: Verb,
    /// What the verb is about; last, `-` copies stdin first.
    ///
    /// A unit for `disable`, `enable`, `revert` and `change`; a subject for `tell`; a selector, as eco-ls(1) takes it, for `pin` and
    /// `unpin`; a type for `signal`; a version for `release`; a decision for `approve` and `reject`, which can be left out.
    ///
    /// A `-` as the last word copies the records on stdin to stdout first, byte for byte. Then the record stands in that stream, and
    /// does not go to the pipeline that is running.
    #[arg(value_name = "WORD", num_args = 0..=2)]
    pub operands: Vec<String>,
    /// hold: until this time.
    ///
    /// As in `2026-03-01T12:00:00Z`. Without it and without `--for`: until `resume`.
    #[arg(long, value_name = "TIME", conflicts_with = "lasting")]
    pub until: Option<String>,
    /// hold: for so long, as in `90m`
    #[arg(long = "for", value_name = "DURATION")]
    pub lasting: Option<Span>,
    /// signal: what is to blame
    #[arg(long, value_name = "UNIT")]
    pub target: Option<Scope>,
    /// signal: who raises it.
    ///
    /// One whom the policy trusts may cause a rollback by that alone; see eco-policy(5).
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// signal, change: since when it has been so.
    ///
    /// For a signal: since when there has been trouble. For a change: when it was made, as in `20m ago`. Without it: now.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// signal: it is over
    #[arg(long)]
    pub cleared: bool,
    /// change: what was there before
    #[arg(long, value_name = "VERSION")]
    pub from: Option<String>,
    /// change: what is there now
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// change: a name for it, by which reports call it
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// change: a module that it touches beside its unit.
    ///
    /// Several if given again.
    #[arg(long, value_name = "MODULE")]
    pub affects: Vec<String>,
    /// change: going back past it needs a person
    #[arg(long)]
    pub irreversible: bool,
    /// change: who or what made it
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Keep what is said from the running pipeline.
    ///
    /// The record goes to stdout alone.
    #[arg(long)]
    pub no_inbox: bool,
    #[command(flatten)]
    pub common: Common,
}

/// What eco-ctl can do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    /// Does the service run?
    Status,
    /// End it, and prove that it ended
    Stop,
    /// Start it
    Start,
    /// Stop it, then start it
    Restart,
    /// Switch a unit off
    Disable,
    /// Switch a unit on again
    Enable,
    /// Take back what a unit did
    Revert,
    /// Tell people: the command of `[notify]`, with the text on stdin
    Tell,
    /// Keep a snapshot, whatever the retention rules say
    Pin,
    /// Leave it to the retention rules again
    Unpin,
    /// Say: no rollback without a person
    Hold,
    /// Say: the hold is over
    Resume,
    /// Say: carry out what is proposed
    Approve,
    /// Say: do not
    Reject,
    /// Say: this version may be rolled out again
    Release,
    /// Say: all signals are dealt with
    Resolve,
    /// Raise an alarm, or end it
    Signal,
    /// Say that a unit was changed
    Change,
}

/// What is asked.
pub enum Asked {
    /// To do something.
    Deed(Task),
    /// To say something.
    Word(Word),
}

/// What is to be done to whom.
pub enum Task {
    /// Look at the service.
    Status,
    /// Stop it.
    Stop,
    /// Start it.
    Start,
    /// Stop and start it.
    Restart,
    /// Do something to one unit.
    Unit(UnitVerb, Scope),
    /// Tell people, under this subject.
    Tell(String),
    /// Pin the snapshot that this selects, or unpin it.
    Pin(String, bool),
}

impl Args {
    /// What is asked, and whether stdin is copied first.
    ///
    /// # Errors
    /// [`Error::Usage`] for a word that is missing, superfluous or none.
    pub fn asked(&self) -> Result<(Asked, bool)> {
        let (operands, copies) = match self.operands.split_last() {
            Some((last, rest)) if last == "-" => (rest, true),
            _ => (&self.operands[..], false),
        };
        if copies && self.verb == Verb::Tell {
            return Err(Error::Usage("tell reads its text from stdin, which cannot be a stream as well: leave out the '-'".into()));
        }
        if let [_, more, ..] = operands {
            return Err(Error::Usage(format!("'{more}' is one word too many")));
        }
        Ok((self.asked_of(operands.first())?, copies))
    }

    fn asked_of(&self, operand: Option<&String>) -> Result<Asked> {
        self.check_flags()?;
        let unit = |word: &str| match operand {
            Some(unit) => unit.parse::<Scope>().map_err(Error::Usage),
            None => Err(Error::Usage(format!("{word} needs one unit, such as module:ID"))),
        };
        let named = |what: &str| operand.cloned().filter(|name| is_name(name)).ok_or_else(|| Error::Usage(what.into()));
        let alone = |asked: Asked| match operand {
            Some(word) => Err(Error::Usage(format!("'{word}' is one word too many: this verb is about the whole service"))),
            None => Ok(asked),
        };
        let deed = |verb: UnitVerb| Ok(Asked::Deed(Task::Unit(verb, unit(verb.word())?)));
        match self.verb {
            Verb::Status => alone(Asked::Deed(Task::Status)),
            Verb::Stop => alone(Asked::Deed(Task::Stop)),
            Verb::Start => alone(Asked::Deed(Task::Start)),
            Verb::Restart => alone(Asked::Deed(Task::Restart)),
            Verb::Disable => deed(UnitVerb::Disable),
            Verb::Enable => deed(UnitVerb::Enable),
            Verb::Revert => deed(UnitVerb::Revert),
            Verb::Tell => Ok(Asked::Deed(Task::Tell(named("tell needs a subject: one line that says what has happened")?))),
            Verb::Pin | Verb::Unpin => {
                let snapshot = operand.ok_or_else(|| Error::Usage("name one snapshot, such as latest-good".into()))?;
                Ok(Asked::Deed(Task::Pin(snapshot.clone(), self.verb == Verb::Pin)))
            }
            Verb::Hold => alone(Asked::Word(Word::Hold)),
            Verb::Resume => alone(Asked::Word(Word::Resume)),
            Verb::Approve => Ok(Asked::Word(Word::Approve(operand.cloned()))),
            Verb::Reject => Ok(Asked::Word(Word::Reject(operand.cloned()))),
            Verb::Resolve => alone(Asked::Word(Word::Resolve)),
            Verb::Release => Ok(Asked::Word(Word::Release(named("release needs a version")?))),
            Verb::Signal => Ok(Asked::Word(Word::Signal(named("signal needs a type, such as user_complaint")?))),
            Verb::Change => Ok(Asked::Word(Word::Change(unit("change")?))),
        }
    }

    /// A flag that means nothing to the verb is a misunderstanding, and not a small one: `change --until` is no hold.
    fn check_flags(&self) -> Result<()> {
        use Verb::{Change, Hold, Signal};
        let says = self.verb as usize >= Hold as usize;
        let given: [(&str, bool, &[Verb]); 12] = [
            ("--until", self.until.is_some(), &[Hold]),
            ("--for", self.lasting.is_some(), &[Hold]),
            ("--target", self.target.is_some(), &[Signal]),
            ("--source", self.source.is_some(), &[Signal]),
            ("--cleared", self.cleared, &[Signal]),
            ("--since", self.since.is_some(), &[Signal, Change]),
            ("--from", self.from.is_some(), &[Change]),
            ("--to", self.to.is_some(), &[Change]),
            ("--id", self.id.is_some(), &[Change]),
            ("--affects", !self.affects.is_empty(), &[Change]),
            ("--irreversible", self.irreversible, &[Change]),
            ("--by", self.by.is_some(), &[Change]),
        ];
        let name = |verb: &Verb| verb.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        if let Some((flag, _, verbs)) = given.iter().find(|(_, given, verbs)| *given && !verbs.contains(&self.verb)) {
            let whose = verbs.iter().map(name).collect::<Vec<_>>().join(" and ");
            return Err(Error::Usage(format!("{flag} goes with {whose}, not with {}", name(&self.verb))));
        }
        if self.no_inbox && !says {
            return Err(Error::Usage(format!("--no-inbox goes with what is said, and {} is done", name(&self.verb))));
        }
        Ok(())
    }
}

/// Whether this can be a name: something, and nothing that a terminal would act on.
fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
