//! What a person asks of the service, and the `control` record that says how it ended.

use super::{Notifier, Proof, Service, State, Stopped, UnitVerb, millis};
use crate::error::{Error, Result};
use crate::record::{Control, Scope};
use std::time::{Duration, Instant};

/// After a start command that ended well, the process is looked for so long.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// Whether the service runs.
pub fn status(service: &Service) -> Control {
    let began = Instant::now();
    let (ok, pid, note) = seen(service.find());
    Control { verb: "status".into(), ok, pid, note, took_ms: millis(began), ..Control::default() }
}

/// Stops it. `ok` is null where the command says that it did, and nothing can prove it.
///
/// # Errors
/// [`Error::Usage`] where nothing is configured to stop it with.
pub fn stop(service: &Service) -> Result<Control> {
    if !service.can_stop() {
        return Err(Error::Usage("[control] in eco.toml has no stop command, no pidfile and no process: nothing to stop the service with".into()));
    }
    let stopped = service.stop(&[]);
    let (took_ms, pid) = (stopped.took_ms, stopped.pid);
    let (ok, note) = proven(stopped);
    Ok(Control { verb: "stop".into(), ok, pid, note, took_ms, ..Control::default() })
}

/// Starts it, and looks whether it is there.
///
/// # Errors
/// [`Error::Usage`] where no start command is configured.
pub fn start(service: &Service) -> Result<Control> {
    let began = Instant::now();
    let started = service.start(&[])?;
    let mut control = Control { verb: "start".into(), ok: Some(started.ok), pid: started.pid, note: started.note, ..Control::default() };
    if started.ok && !service.can_find() {
        control.note = Some("the start command ended well; there is no pidfile and no process in [control] to see more".into());
    } else if started.ok && control.pid.is_none() {
        let note;
        (control.ok, control.pid, note) = seen(service.wait_running(SEEN_WITHIN));
        control.note = (control.ok != Some(true)).then(|| {
            let more = note.map(|note| format!(": {note}")).unwrap_or_default();
            format!("the start command ended well, but the service is not seen running{more}")
        });
    }
    control.took_ms = millis(began);
    Ok(control)
}

/// Stops it, and starts it unless it could not be stopped.
///
/// # Errors
/// [`Error::Usage`] where one of the two is not configured; nothing was done then.
pub fn restart(service: &Service) -> Result<Control> {
    if !service.can_start() {
        return Err(Error::Usage("[control] has no start command in eco.toml".into()));
    }
    let began = Instant::now();
    let stopped = stop(service)?;
    let mut control = if stopped.ok == Some(false) { stopped } else { joined(stopped, start(service)?) };
    control.verb = "restart".into();
    control.took_ms = millis(began);
    Ok(control)
}

/// Runs a unit's command.
///
/// # Errors
/// [`Error::Usage`] where the configuration has none.
pub fn unit(service: &Service, verb: UnitVerb, unit: Scope) -> Result<Control> {
    let ran = service.unit(verb, &unit, &[])?;
    Ok(Control { verb: verb.word().into(), unit: Some(unit), ok: Some(ran.ok()), pid: None, note: ran.why(), took_ms: ran.took_ms })
}

/// Tells people. `ok` is false where nobody was told, and the note says why.
pub fn tell(notifier: Notifier, subject: String, text: String) -> Control {
    let began = Instant::now();
    let note = notifier.tell(&subject, text).err();
    Control { verb: "tell".into(), ok: Some(note.is_none()), note, took_ms: millis(began), ..Control::default() }
}

fn seen(state: State) -> (Option<bool>, Option<u32>, Option<String>) {
    let pid = state.pid();
    match state {
        State::Running(_) => (Some(true), pid, None),
        State::Stopped(note) => (Some(false), None, note),
        State::Unknown(why) => (None, None, Some(why)),
    }
}

fn proven(stopped: Stopped) -> (Option<bool>, Option<String>) {
    let (ok, first) = match stopped.proof {
        Proof::Proven => (Some(true), None),
        Proof::NotProven(why) => (None, Some(format!("not proven: {why}"))),
        Proof::Failed(why) => (Some(false), Some(why)),
    };
    (ok, join(first, stopped.note))
}

/// The service that was started; a stop that is not proven leaves it open whether the old one is gone.
fn joined(stopped: Control, started: Control) -> Control {
    let ok = if stopped.ok.is_none() && started.ok == Some(true) { None } else { started.ok };
    Control { ok, note: join(stopped.note, started.note), ..started }
}

fn join(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}; {second}")),
        (first, second) => first.or(second),
    }
}
