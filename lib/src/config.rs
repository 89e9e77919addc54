//! `eco.toml`: the description of one service, as the types that the modules above own.
//!
//! Nothing is guessed: an unknown key is an error that names its line and the nearest known key. Commands run from this file
//! only, so a file that others may write is refused.

mod describe;

use crate::error::{Error, Named, Result, nearest};
use crate::evidence;
use crate::gate;
use crate::health::Probe;
use crate::restore::{self, Verify};
use crate::retention::{Counts, Rules};
use crate::rollout::Plan;
use crate::scope::{CaptureRules, Scopes, SqliteMode};
use crate::service::{Argv, Control, Hooks, Notify, Service, UnitCommands, UnitKind, Units};
use crate::time::Span;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// How long the state from before a rollback is kept, unless `[retention] safety` says otherwise: the seven days that the
/// store keeps safety snapshots.
pub const KEEP_SAFETY: Span = Span::seconds(7 * 86_400);

/// One service, as its `eco.toml` (or the command line alone) describes it. All paths are absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, if there was one.
    pub file: Option<PathBuf>,
    /// The ecosystem's name.
    pub name: String,
    /// Its root folder.
    pub root: PathBuf,
    /// Where its snapshots live.
    pub store: Option<PathBuf>,
    /// What is captured, and what of it is never rolled back.
    pub capture: CaptureRules,
    /// How the service is kept still while it is captured.
    pub hooks: Hooks,
    /// Which paths belong to which scope.
    pub scopes: Scopes,
    /// How units are switched off, on and back.
    pub units: Units,
    /// How the service is stopped and started.
    pub control: Control,
    /// What is asked of the running service.
    pub probes: Vec<Probe>,
    /// What must hold after a rollback.
    pub verify: Verify,
    /// How long the state from before a rollback is kept.
    pub keep_safety: Span,
    /// Which snapshots are kept.
    pub retention: Rules,
    /// What must hold before a deployment.
    pub gate: gate::Checks,
    /// How people are told.
    pub notify: Option<Notify>,
    /// Who to turn to, in the order of the file.
    pub contacts: Vec<Contact>,
    /// How a new version gets its traffic.
    pub rollout: Option<Plan>,
    /// What is looked at after an incident, beside the tree.
    pub evidence: evidence::Rules,
    /// Where programs without a slash in their name are looked for.
    pub path: Option<OsString>,
}

/// One line of `[contacts]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// Who they are to the service, such as `on-call`.
    pub role: String,
    /// How to reach them.
    pub text: String,
}

impl Config {
    /// The service that a rollback is about.
    pub fn ecosystem(&self) -> restore::Ecosystem {
        restore::Ecosystem {
            name: self.name.clone(),
            root: self.root.clone(),
            store: self.store.clone(),
            scopes: self.scopes.clone(),
            rules: self.capture.clone(),
            service: self.service(),
            probes: self.probes.clone(),
            verify: self.verify.clone(),
            keep_safety: self.keep_safety,
        }
    }

    /// The running service.
    pub fn service(&self) -> Service {
        Service::new(&self.root, &self.control, &self.units).with_path(self.path.clone())
    }

    /// The files of `log` probes, as they are written.
    pub fn log_probes(&self) -> Vec<PathBuf> {
        let path = |probe: &Probe| if let Probe::Log { path, .. } = probe { Some(path.clone()) } else { None };
        self.probes.iter().filter_map(path).collect()
    }

    /// The store, or the sentence that says how to name one.
    pub fn store(&self) -> Result<&Path> {
        self.store.as_deref().ok_or_else(|| Error::Usage("no store: give --store DIR, or [ecosystem] store in eco.toml".into()))
    }
}

/// What the command line says about the service; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--store`.
    pub store: Option<PathBuf>,
    /// The home folder, for `~/`.
    pub home: Option<PathBuf>,
    /// Where programs without a slash in their name are looked for.
    pub path: Option<OsString>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    ecosystem: Ecosystem,
    #[serde(default)]
    snapshot: Capture,
    scopes: Option<BTreeMap<String, Vec<PathBuf>>>,
    #[serde(default)]
    module: BTreeMap<String, Module>,
    #[serde(default)]
    automation: UnitKind,
    #[serde(default)]
    optimization: UnitKind,
    #[serde(default)]
    experiment: UnitKind,
    #[serde(default)]
    control: Control,
    #[serde(default)]
    probe: Vec<Spanned<toml::Table>>,
    #[serde(default)]
    verify: Verify,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    gate: gate::Checks,
    notify: Option<Notify>,
    #[serde(default)]
    contacts: BTreeMap<String, Spanned<String>>,
    rollout: Option<Plan>,
    #[serde(default)]
    evidence: evidence::Rules,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ecosystem {
    name: Option<String>,
    root: Option<PathBuf>,
    store: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Capture {
    exclude: Vec<String>,
    preserve: Vec<String>,
    sqlite: SqliteMode,
    before: Argv,
    after: Argv,
    hook_timeout: Option<Span>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    roots: Vec<PathBuf>,
    #[serde(default)]
    critical: bool,
    #[serde(default)]
    disable: Vec<String>,
    #[serde(default)]
    enable: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Retention {
    manual: Option<Span>,
    pre_deployment: Option<Span>,
    daily: Option<Span>,
    weekly: Option<Span>,
    monthly: Option<Span>,
    safety: Option<Span>,
    keep_last: Option<u32>,
    keep_hourly: Option<u32>,
    keep_daily: Option<u32>,
    keep_weekly: Option<u32>,
    keep_monthly: Option<u32>,
    keep_yearly: Option<u32>,
    keep_within: Option<Span>,
}

impl From<Retention> for Rules {
    fn from(table: Retention) -> Rules {
        let spans = [
            ("manual", table.manual),
            ("pre-deployment", table.pre_deployment),
            ("daily", table.daily),
            ("weekly", table.weekly),
            ("monthly", table.monthly),
            ("safety", Some(table.safety.unwrap_or(KEEP_SAFETY))),
        ];
        Rules {
            spans: spans.into_iter().filter_map(|(kind, span)| Some((kind.to_owned(), span?))).collect(),
            counts: Counts {
                last: table.keep_last,
                hourly: table.keep_hourly,
                daily: table.keep_daily,
                weekly: table.keep_weekly,
                monthly: table.keep_monthly,
                yearly: table.keep_yearly,
                within: table.keep_within,
            },
        }
    }
}

/// Reads `file` and lays the command line over it.
///
/// # Errors
/// [`Error::Config`] with file, line and, for a mistyped key, the nearest known one. Nothing was touched: mend the file.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Config> {
    refuse_if_others_may_write(file)?;
    let text = fs::read_to_string(file).named("read", file)?;
    let parsed: File = toml::from_str(&text).map_err(|e| Error::Config(describe(file, &text, &e)))?;
    let probes = probes(file, &text, parsed.probe)?;
    let folder = file.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p }).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(folder).named("find", folder)?;
    let wrong = |why: String| Error::Config(format!("{}: {why}", file.display()));
    let place = |path: &Path| -> Result<PathBuf> { Ok(folder.join(expand_home(path, overrides)?)) };

    let root = match (&overrides.root, &parsed.ecosystem.root) {
        (Some(root), _) => root.clone(),
        (None, Some(root)) => place(root)?,
        (None, None) => folder.clone(),
    };
    let store = match (&overrides.store, &parsed.ecosystem.store) {
        (Some(store), _) => Some(store.clone()),
        (None, Some(store)) => Some(place(store)?),
        (None, None) => None,
    };
    for (name, kind) in [("automation", &parsed.automation), ("optimization", &parsed.optimization), ("experiment", &parsed.experiment)] {
        if let Some((id, _)) = kind.one.iter().find(|(_, commands)| !commands.roots.is_empty()) {
            return Err(wrong(format!("[{name}.{id}] has roots, which only modules have: this is switched by its commands, not restored")));
        }
    }
    let mut units = Units { automation: parsed.automation, optimization: parsed.optimization, experiment: parsed.experiment, ..Units::default() };
    let mut module_roots = BTreeMap::new();
    for (id, module) in parsed.module {
        let commands = UnitCommands { disable: module.disable, enable: module.enable, ..UnitCommands::default() };
        units.module.insert(id.clone(), commands);
        if module.critical {
            units.critical.push(id.clone());
        }
        module_roots.insert(id, module.roots);
    }
    let scopes = Scopes::new(parsed.scopes, module_roots).map_err(wrong)?;
    build(Some(file.to_owned()), parsed.ecosystem.name, root, store, |config| {
        let Capture { exclude, preserve, sqlite, before, after, hook_timeout } = parsed.snapshot;
        config.capture = CaptureRules { exclude, preserve, sqlite };
        config.hooks = Hooks { before, after, timeout: hook_timeout };
        config.scopes = scopes;
        config.units = units;
        config.control = parsed.control.complete();
        config.probes = probes;
        config.verify = parsed.verify;
        config.keep_safety = parsed.retention.safety.unwrap_or(KEEP_SAFETY);
        config.retention = parsed.retention.into();
        config.gate = parsed.gate;
        config.notify = parsed.notify;
        config.contacts = contacts(parsed.contacts);
        config.rollout = parsed.rollout;
        config.evidence = parsed.evidence;
        config.path = overrides.path.clone();
    })
}

/// The plan of a rollout in a file of its own: YAML where its name ends in `.yaml` or `.yml`, else TOML.
///
/// # Errors
/// [`Error::Config`] with file, line and, for a mistyped key, the nearest known one; or because the file has commands and others may
/// write it.
pub fn load_plan(file: &Path) -> Result<Plan> {
    let text = fs::read_to_string(file).named("read", file).map_err(|e| Error::Config(e.to_string()))?;
    let is_yaml = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"));
    let plan: Plan = if is_yaml {
        serde_saphyr::from_str(&text).map_err(|e| {
            let line = e.location().map_or(1, |place| place.line() as usize);
            Error::Config(said(file, &text, line, &e.without_snippet().to_string()))
        })?
    } else {
        toml::from_str(&text).map_err(|e| Error::Config(describe(file, &text, &e)))?
    };
    if plan.has_commands() {
        refuse_if_others_may_write(file)?;
    }
    Ok(plan)
}

/// A service described by the command line alone.
///
/// # Errors
/// [`Error::Usage`] without `--root`.
pub fn without_file(overrides: &Overrides) -> Result<Config> {
    let Some(root) = &overrides.root else {
        return Err(Error::Config("no eco.toml here or in a parent folder: name one with -c FILE, or the service with --root DIR".into()));
    };
    build(None, None, root.clone(), overrides.store.clone(), |_| {})
}

fn build(file: Option<PathBuf>, name: Option<String>, root: PathBuf, store: Option<PathBuf>, fill: impl FnOnce(&mut Config)) -> Result<Config> {
    let root = fs::canonicalize(&root).map_err(|e| Error::Config(format!("the ecosystem's root {} cannot be used: {e}", root.display())))?;
    if !root.is_dir() {
        return Err(Error::Config(format!("the ecosystem's root {} is not a folder", root.display())));
    }
    let store = store.map(|store| std::path::absolute(&store).named("resolve", &store)).transpose()?;
    let name = match name {
        Some(name) => name,
        None => {
            let folder = root.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            // A hidden folder may hold a service; its archives are not hidden.
            Some(folder.trim_start_matches(['.', '-']).to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "root".into())
        }
    };
    // The name becomes file names and a folder in the archive.
    if name.is_empty() || name.len() > 100 || name.starts_with(['.', '-']) || name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        return Err(Error::Config(format!("'{}' cannot be an ecosystem's name: use letters, digits, '-' and '_'", name.escape_debug())));
    }
    let mut config = Config {
        file,
        name,
        root,
        store,
        capture: CaptureRules::default(),
        hooks: Hooks::default(),
        scopes: Scopes::default(),
        units: Units::default(),
        control: Control::default(),
        probes: Vec::new(),
        verify: Verify::default(),
        keep_safety: KEEP_SAFETY,
        retention: Retention::default().into(),
        gate: gate::Checks::default(),
        notify: None,
        contacts: Vec::new(),
        rollout: None,
        evidence: evidence::Rules::default(),
        path: None,
    };
    fill(&mut config);
    config.capture.check().map_err(|why| Error::Config(format!("[snapshot]: {why}")))?;
    config.control.check().map_err(|why| Error::Config(format!("[control]: {why}")))?;
    config.gate.check().map_err(|why| Error::Config(format!("[gate]: {why}")))?;
    config.evidence.check().map_err(|why| Error::Config(format!("[evidence]: {why}")))?;
    if config.notify.as_ref().is_some_and(|notify| notify.command.is_empty()) {
        return Err(Error::Config("[notify] needs a command".into()));
    }
    for Contact { role, text } in &config.contacts {
        if role.trim().is_empty() || text.trim().is_empty() || [role, text].iter().any(|word| word.contains(char::is_control)) {
            return Err(Error::Config(format!("[contacts] {}: write a name and how to reach them, on one line", role.escape_debug())));
        }
    }
    for probe in &mut config.probes {
        probe.check().map_err(|why| Error::Config(format!("[[probe]] {}: {why}", probe.name())))?;
        if let Probe::Snapshot { store, ecosystem, .. } = probe {
            (*store, *ecosystem) = (config.store.clone(), config.name.clone());
        }
    }
    config.verify.limits.check().map_err(|why| Error::Config(format!("[verify.limits]: {why}")))?;
    if let Some(store) = &config.store
        && let Some(inside) = config.scopes.full().iter().find(|r| store.starts_with(config.root.join(r)))
    {
        return Err(Error::Config(format!("the store {} lies inside '{}', which it would have to hold", store.display(), inside.display())));
    }
    Ok(config)
}

/// Whoever may write this file chooses the commands that we run.
fn refuse_if_others_may_write(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = fs::metadata(file).map_err(|e| Error::Config(format!("cannot read {}: {e}", file.display())))?;
    let around = fs::metadata(folder).named("look at", folder)?;
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    if own.mode() & OTHERS_WRITE != 0 {
        return Err(Error::Config(format!("{} may be written by others, and its commands would run as you: chmod o-w it", file.display())));
    }
    if around.mode() & OTHERS_WRITE != 0 && around.mode() & STICKY == 0 {
        return Err(Error::Config(format!("{} may be replaced by others: chmod o-w the folder {}", file.display(), folder.display())));
    }
    // In a folder like /tmp a file of somebody else's was put there by them, for whoever passes by.
    if around.mode() & OTHERS_WRITE != 0 && ![0, rustix::process::geteuid().as_raw()].contains(&own.uid()) {
        let (who, whose) = (own.uid(), folder.display());
        return Err(Error::Config(format!("{} belongs to user {who}, and anybody may put files into {whose}: move it", file.display())));
    }
    Ok(())
}

fn expand_home(path: &Path, overrides: &Overrides) -> Result<PathBuf> {
    match (path.strip_prefix("~"), &overrides.home) {
        (Ok(rest), Some(home)) => Ok(home.join(rest)),
        (Ok(_), None) => Err(Error::Config(format!("{} needs $HOME, which is not set", path.display()))),
        (Err(_), _) => Ok(path.to_owned()),
    }
}

/// The people, in the order in which the file names them: who is to be called first stands first.
fn contacts(table: BTreeMap<String, Spanned<String>>) -> Vec<Contact> {
    let mut found: Vec<(usize, Contact)> =
        table.into_iter().map(|(role, text)| (text.span().start, Contact { role, text: text.into_inner() })).collect();
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, contact)| contact).collect()
}

/// The probes. Each table is read by itself: the kind decides which keys it has, and of a wrong one serde then knows no place.
fn probes(file: &Path, text: &str, tables: Vec<Spanned<toml::Table>>) -> Result<Vec<Probe>> {
    let read = |table: Spanned<toml::Table>| {
        let began = table.span().start;
        Probe::deserialize(table.into_inner()).map_err(|e| Error::Config(describe_at(file, text, began, e.message())))
    };
    tables.into_iter().map(read).collect()
}

/// `eco.toml:12: unknown field `stor`, did you mean 'store'?`
fn describe(file: &Path, text: &str, error: &toml::de::Error) -> String {
    describe_at(file, text, error.span().map_or(0, |span| span.start), error.message())
}

fn describe_at(file: &Path, text: &str, began: usize, message: &str) -> String {
    said(file, text, text[..began.min(text.len())].matches('\n').count() + 1, message)
}

/// A parser's message about this line or one below it.
fn said(file: &Path, text: &str, mut line: usize, message: &str) -> String {
    let message = message.lines().next().unwrap_or("cannot be understood");
    let message = message.split(" at line ").next().unwrap_or(message);
    let mut near = None;
    // serde lists what it knows: "unknown field `stor`, expected one of `name`, `root`, `store`".
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let (wrong, known) = message.split_once(", expected ").unwrap_or((message, ""));
        // Not every parser puts what it knows between backquotes.
        let names = known.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).filter(|word| !["", "one", "of", "or"].contains(word));
        if let Some(wrong) = wrong.split('`').nth(1) {
            // Of a key in a table that is read whole, only the table's place is known.
            line += text.lines().skip(line - 1).position(|line| mentions(line, wrong)).unwrap_or(0);
            near = nearest(wrong, names);
        }
    }
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("{}:{line}: {message}{hint}", file.display())
}

/// Whether a line sets this key, or has it in its header, or names it as a value.
fn mentions(line: &str, word: &str) -> bool {
    let line = line.split(" #").next().unwrap_or(line);
    line.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).any(|part| part == word)
}

impl<'de> Deserialize<'de> for UnitKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<UnitKind, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = UnitKind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of commands, or of units")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UnitKind, A::Error> {
                let mut kind = UnitKind::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "disable" => kind.every.disable = map.next_value()?,
                        "enable" => kind.every.enable = map.next_value()?,
                        "revert" => kind.every.revert = map.next_value()?,
                        _ => match map.next_value::<OneUnit>()? {
                            OneUnit::Commands(commands) => {
                                kind.one.insert(key, commands);
                            }
                            OneUnit::Other => return Err(A::Error::unknown_field(&key, &["disable", "enable", "revert"])),
                        },
                    }
                }
                Ok(kind)
            }
        }

        from.deserialize_map(Table)
    }
}

/// Under `[automation]` a table is one unit; anything else is a mistyped key.
enum OneUnit {
    Commands(UnitCommands),
    Other,
}

impl<'de> Deserialize<'de> for OneUnit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<OneUnit, D::Error> {
        struct Either;

        // Written out, because an untagged enum would forget which key inside the table is wrong, and where.
        impl<'de> Visitor<'de> for Either {
            type Value = OneUnit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of commands")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneUnit, A::Error> {
                UnitCommands::deserialize(MapAccessDeserializer::new(map)).map(OneUnit::Commands)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneUnit, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(OneUnit::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<OneUnit, E> {
                Ok(OneUnit::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<OneUnit, E> {
                Ok(OneUnit::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<OneUnit, E> {
                Ok(OneUnit::Other)
            }
        }

        from.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests;
