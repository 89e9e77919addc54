//! What each section of `eco.toml` resolves to, for the person who wrote it.

use super::Config;
use crate::gate::Checks;
use crate::health::{LOG_WINDOW, Probe, Says, TimeForm};
use crate::rollout::Command;
use crate::scope::SqliteMode;
use crate::service::{Argv, COMMAND_DEADLINE, GRACE, HOOK_DEADLINE, Hooks, NOTIFY_DEADLINE, Occasion, UnitCommands, UnitKind};
use crate::time::Span;
use crate::verdict::Verdict;
use std::fmt::Write;
use std::path::{Path, PathBuf};

impl Config {
    /// One block of lines per section. The verdict is *no* where something that the file names is not there; those lines end
    /// with `(not there)`.
    pub fn describe(&self) -> (String, Verdict) {
        let mut text = Text { lines: String::new(), root: &self.root, missing: false };
        text.ecosystem(self);
        text.scopes(self);
        text.units(self);
        text.service(self);
        (text.lines, Verdict::from(!text.missing))
    }
}

struct Text<'a> {
    lines: String,
    root: &'a Path,
    missing: bool,
}

impl Text<'_> {
    fn section(&mut self, name: &str) {
        let blank = if self.lines.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(self.lines, "{blank}[{name}]");
    }

    fn line(&mut self, key: &str, value: impl AsRef<str>) {
        let value: String = value.as_ref().chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
        let _ = writeln!(self.lines, "  {key:<10} {value}");
    }

    /// A path as it will be used, and whether it is there.
    fn path(&mut self, path: &Path) -> String {
        let whole = self.root.join(path);
        let there = whole.exists();
        self.missing |= !there;
        format!("{}{}", whole.display(), if there { "" } else { " (not there)" })
    }

    fn command(&mut self, key: &str, argv: &Argv) {
        let Some((program, arguments)) = argv.split_first() else { return };
        let program = if program.contains('/') { self.path(Path::new(program)) } else { format!("{program} (from PATH)") };
        let arguments: String = arguments.iter().map(|argument| format!(" {argument:?}")).collect();
        self.line(key, program + &arguments);
    }

    fn ecosystem(&mut self, config: &Config) {
        self.section("ecosystem");
        self.line("file", config.file.as_ref().map_or("none: the command line alone".into(), |file| file.display().to_string()));
        self.line("name", &config.name);
        self.line("root", config.root.display().to_string());
        self.line(
            "store",
            match &config.store {
                Some(store) if store.exists() => store.display().to_string(),
                Some(store) => format!("{} (will be made)", store.display()),
                None => "none: give --store DIR".into(),
            },
        );
        self.section("snapshot");
        self.line("exclude", list(&config.capture.exclude));
        self.line("preserve", list(&config.capture.preserve));
        self.line(
            "sqlite",
            match config.capture.sqlite {
                SqliteMode::Online => "online: databases in use are copied through SQLite's own backup",
                SqliteMode::Bytes => "bytes: databases are copied byte by byte",
            },
        );
        let hooks = &config.hooks;
        if *hooks != Hooks::default() {
            self.command("before", &hooks.before);
            self.command("after", &hooks.after);
            self.line("timeout", format!("{} for each of the two, then TERM, then KILL", hooks.timeout.unwrap_or(Span(HOOK_DEADLINE))));
        }
    }

    fn roots(&mut self, roots: &[PathBuf]) -> String {
        let shown: Vec<String> = roots
            .iter()
            .map(|root| {
                let there = self.root.join(root).exists();
                // A root that does not exist yet may be one that a rollback brings back: said, but no fault.
                format!("{}{}", root.display(), if there { "" } else { " (not there now)" })
            })
            .collect();
        list(&shown)
    }

    fn scopes(&mut self, config: &Config) {
        self.section("scopes");
        let full = self.roots(&config.scopes.full());
        self.line("full", full);
        if let Some(roots) = config.scopes.roots(&crate::record::Scope::Config(None)) {
            let roots = self.roots(&roots);
            self.line("config", roots);
        }
    }

    fn units(&mut self, config: &Config) {
        for (id, commands) in &config.units.module {
            self.section(&format!("module.{id}"));
            let roots = config.scopes.roots(&crate::record::Scope::Module(id.clone())).unwrap_or_default();
            let roots = self.roots(&roots);
            self.line("roots", roots);
            self.line("critical", if config.units.critical.contains(id) { "yes" } else { "no" });
            self.commands(commands);
        }
        let kinds =
            [("automation", &config.units.automation), ("optimization", &config.units.optimization), ("experiment", &config.units.experiment)];
        for (name, kind) in kinds.into_iter().filter(|(_, kind)| **kind != UnitKind::default()) {
            if kind.every != UnitCommands::default() {
                self.section(name);
                self.commands(&kind.every);
            }
            for (id, commands) in &kind.one {
                self.section(&format!("{name}.{id}"));
                self.commands(commands);
            }
        }
    }

    fn probe(&mut self, probe: &Probe) {
        match probe {
            Probe::Command { command, says, .. } => {
                self.command("command", command);
                self.says(*says, "exit code 0", "any other");
            }
            Probe::Http { says, .. } => self.says(*says, "a status of 200 to 299", "any other"),
            Probe::Sqlite { path, .. } => self.place("path", path),
            Probe::File { path, max_age } | Probe::Json { path, max_age } => {
                self.place("path", path);
                if let Some(max_age) = max_age {
                    self.line("max_age", max_age.to_string());
                }
            }
            Probe::Prometheus { query, metric, scale, token_file, .. } => {
                self.line("query", query);
                let scale = scale.map_or_else(String::new, |scale| format!(", multiplied with {scale}"));
                self.line("gives", format!("{}{scale}", metric.word()));
                if let Some(token_file) = token_file {
                    self.place("token_file", token_file);
                }
            }
            Probe::Log { path, error, request, window, time, .. } => {
                self.place("path", path);
                self.line("requests", request.as_ref().map_or("every line".into(), |request| format!("lines that match {}", list(request.words()))));
                self.line("errors", format!("lines that match {}", list(error.words())));
                self.line("window", window.unwrap_or(LOG_WINDOW).to_string());
                self.line("time", time.map_or("none: counted with --every only, by when a line was found", TimeForm::word));
            }
            Probe::Snapshot { max_age, store, ecosystem, .. } => {
                self.line("max_age", max_age.to_string());
                self.line("store", store.as_ref().map_or("none: give --store DIR".into(), |store| format!("{} of {ecosystem}", store.display())));
                self.missing |= store.is_none();
            }
            Probe::Process {} | Probe::Tcp { .. } => {}
        }
    }

    fn place(&mut self, key: &str, path: &Path) {
        let path = self.path(path);
        self.line(key, path);
    }

    fn says(&mut self, says: Option<Says>, well: &str, ill: &str) {
        if let Some(says) = says {
            self.line("as", format!("{}: true with {well}, false with {ill}", says.word()));
        }
    }

    fn commands(&mut self, commands: &UnitCommands) {
        self.command("disable", &commands.disable);
        self.command("enable", &commands.enable);
        self.command("revert", &commands.revert);
    }

    fn service(&mut self, config: &Config) {
        let control = &config.control;
        self.section("control");
        self.command("stop", &control.stop);
        self.command("start", &control.start);
        if control.start.is_empty() {
            self.line("start", "none: a rollback leaves starting to you");
        }
        // Not there is the ordinary state of a pid file.
        if let Some(pidfile) = &control.pidfile {
            self.line("pidfile", self.root.join(pidfile).display().to_string());
        }
        if let Some(unit) = &control.unit {
            self.line("unit", format!("{unit}: the processes in its control group"));
        }
        if let Some(rule) = &control.process {
            self.line("process", format!("{} with arguments matching {}", rule.exe, list(&rule.args)));
        }
        if !config.service().can_find() {
            self.line("proof", "none: without a pidfile, process or unit a stop cannot be proven");
        }
        let grace = control.grace.unwrap_or(Span(GRACE));
        self.line("grace", format!("{grace}, then TERM, {grace}, then KILL; commands have {}", control.timeout.unwrap_or(Span(COMMAND_DEADLINE))));
        for probe in &config.probes {
            self.section("[probe]");
            self.line("asks", probe.name());
            self.probe(probe);
            self.line("timeout", Span(probe.timeout()).to_string());
        }
        if config.probes.is_empty() {
            self.section("[probe]");
            self.line("asks", if config.service().can_find() { "process: nothing else is configured" } else { "nothing" });
        }
        self.line("usage", usage(config));
        self.section("verify");
        if config.verify.command.is_empty() {
            self.line("command", "none");
        } else {
            self.command("command", &config.verify.command);
        }
        self.line("health", config.verify.health.map_or("not waited for".into(), |limit| format!("within {limit}")));
        if !config.verify.limits.set().is_empty() {
            self.section("verify.limits");
            for (key, limit) in config.verify.limits.set() {
                self.line(key, limit);
            }
        }
        self.section("retention");
        for (kind, span) in &config.retention.spans {
            self.line(kind, span.to_string());
        }
        let counts = config.retention.counts.describe();
        self.line("counts", if counts.is_empty() { "none" } else { &counts });
        if config.gate != Checks::default() {
            self.section("gate");
            for check in &config.gate.checks {
                self.command(&check.name, &check.command);
            }
            self.line("skip", list(&config.gate.skip));
        }
        self.rollout(config);
        if let Some(notify) = &config.notify {
            self.section("notify");
            self.command("command", &notify.command);
            let on = |occasion: &Occasion| match occasion {
                Occasion::Decision => "decision",
                Occasion::Restore => "restore",
            };
            self.line("on", list(&notify.on.iter().map(on).collect::<Vec<_>>()));
            self.line("timeout", notify.timeout.unwrap_or(Span(NOTIFY_DEADLINE)).to_string());
        }
        if !config.contacts.is_empty() {
            self.section("contacts");
            config.contacts.iter().for_each(|contact| self.line(&contact.role, &contact.text));
        }
    }
}

/// Whose processor and memory a record shows.
fn usage(config: &Config) -> &'static str {
    if config.service().can_find() {
        "of the service's processes, as shares of what their control group or the machine allows"
    } else {
        "of the whole machine: without a pidfile, process or unit nobody knows the service's own"
    }
}

impl Text<'_> {
    fn rollout(&mut self, config: &Config) {
        let Some(plan) = &config.rollout else { return };
        self.section("rollout");
        for (key, argv, command) in
            [("set", &plan.set, Command::Set), ("gate", &plan.gate, Command::Gate), ("rollback", &plan.rollback, Command::Rollback)]
        {
            if argv.is_empty() {
                self.line(key, "none: not run");
            } else {
                self.command(key, argv);
                self.line("", format!("within {}", Span(plan.deadline(command))));
            }
        }
        for (name, phase) in plan.phases() {
            self.line(&name, phase);
        }
    }
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    if items.is_empty() { "nothing".into() } else { items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ") }
}
