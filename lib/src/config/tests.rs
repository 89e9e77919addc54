use super::*;
use crate::record::Scope;
use crate::scope::SqliteMode;
use crate::service::ProcessMatch;
use crate::verdict::Verdict;
use std::os::unix::fs::PermissionsExt;

struct World(tempfile::TempDir);

impl World {
    fn new() -> World {
        World(tempfile::tempdir().unwrap())
    }

    /// The folder as the system knows it: a temporary folder may lie behind a link.
    fn folder(&self) -> PathBuf {
        fs::canonicalize(self.0.path()).unwrap()
    }

    fn load(&self, text: &str, overrides: &Overrides) -> Result<Config> {
        let file = self.folder().join("eco.toml");
        fs::write(&file, text).unwrap();
        load(&file, overrides)
    }

    fn config(&self, text: &str) -> Config {
        self.load(text, &Overrides::default()).unwrap()
    }

    /// The message, without the file's name in front.
    fn refuses(&self, text: &str) -> String {
        let error = self.load(text, &Overrides::default()).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        let said = error.to_string();
        said.split_once("eco.toml:").map_or(said.clone(), |(_, rest)| rest.trim().to_owned())
    }
}

const WHOLE: &str = r#"
[ecosystem]
name  = "shop"
root  = "srv"
store = "backups"

[snapshot]
exclude  = ["*.tmp"]
preserve = ["logs/**"]
sqlite   = "bytes"

[scopes]
data   = ["data"]
config = ["config", "etc/limits.yaml"]

[module.learning]
roots    = ["feature-01", "data/learning"]
critical = true
disable  = ["bin/ctl", "off", "{id}"]

[automation]
disable = ["bin/ctl", "stop", "{id}"]
[automation.nightly]
disable = ["crontab", "-r"]
[optimization]
revert = ["bin/ctl", "revert", "{id}"]
[experiment.exp-7]
disable = ["bin/ctl", "end", "{id}"]

[control]
stop    = ["systemctl", "stop", "shop"]
start   = ["systemctl", "start", "shop"]
process = { exe = "python3", args = ["*shop.py"] }
grace   = "3s"

[[probe]]
kind = "process"
[[probe]]
kind = "command"
command = ["bin/health"]
[[probe]]
kind = "http"
url = "http://127.0.0.1:8080/health"
timeout = "2s"
[[probe]]
kind = "tcp"
address = "127.0.0.1:8080"
[[probe]]
kind = "file"
path = "run/beat"
max_age = "90s"
[[probe]]
kind = "json"
path = "run/status.json"
[[probe]]
kind = "sqlite"
path = "data/a.db"
[[probe]]
kind = "prometheus"
url = "http://eco:s3cret@127.0.0.1:9090"
query = "sum(rate(errors[1m]))"
metric = "error_rate"
[[probe]]
kind = "log"
path = "logs/app.log"
error = ["ERROR", "panicked"]
window = "2m"
[[probe]]
kind = "snapshot"
max_age = "1d"
of = "daily"

[verify]
command = ["bin/selftest"]
health  = "60s"

[retention]
safety = "3d"
pre-deployment = "30d"
monthly = "12mo"
keep-last = 3
keep-within = "2d"

[gate]
checks = [ { name = "tests", command = ["bin/test"], timeout = "1h" }, { name = "security", command = ["bin/audit"] } ]
skip = ["version"]
"#;

#[test]
fn every_section_becomes_what_its_module_owns() {
    let world = World::new();
    fs::create_dir(world.folder().join("srv")).unwrap();
    let config = world.config(WHOLE);
    assert_eq!((config.name.as_str(), &config.root), ("shop", &world.folder().join("srv")));
    assert_eq!(config.store().unwrap(), world.folder().join("backups"));
    assert_eq!((config.capture.sqlite, config.capture.preserve.len()), (SqliteMode::Bytes, 1));
    assert_eq!(config.scopes.full(), ["config", "data", "etc/limits.yaml", "feature-01"].map(PathBuf::from));
    assert_eq!(config.scopes.roots(&Scope::Module("learning".into())).unwrap().len(), 2);
    assert_eq!(config.units.critical, ["learning"]);
    assert_eq!(config.units.module["learning"].disable, ["bin/ctl", "off", "{id}"]);
    assert_eq!((config.units.automation.every.disable[1].as_str(), config.units.automation.one["nightly"].disable[0].as_str()), ("stop", "crontab"));
    assert_eq!((config.units.experiment.every.disable.len(), config.units.experiment.one.len()), (0, 1));
    assert_eq!(config.control.process, Some(ProcessMatch { exe: "python3".into(), args: vec!["*shop.py".into()] }));
    assert_eq!(config.control.grace, Some(Span::seconds(3)));
    let names: Vec<String> = config.probes.iter().map(Probe::name).collect();
    assert_eq!(
        names,
        [
            "process",
            "command bin/health",
            "http http://127.0.0.1:8080/health",
            "tcp 127.0.0.1:8080",
            "file run/beat",
            "json run/status.json",
            "sqlite data/a.db",
            "prometheus error_rate http://127.0.0.1:9090",
            "log logs/app.log",
            "snapshot latest good daily"
        ]
    );
    let knows = matches!(config.probes.last(), Some(Probe::Snapshot { store: Some(store), ecosystem, .. }) if store.ends_with("backups") && ecosystem == "shop");
    assert!(knows, "{:?}", config.probes.last());
    assert_eq!((config.verify.health, config.keep_safety), (Some(Span::seconds(60)), Span::seconds(3 * 86_400)));
    let spans: Vec<String> = config.retention.spans.iter().map(|(kind, span)| format!("{kind} {span}")).collect();
    assert_eq!(spans, ["monthly 360d", "pre-deployment 30d", "safety 3d"]);
    assert_eq!(config.retention.counts.describe(), "keep-last 3, keep-within 2d");
    assert_eq!((config.gate.checks[0].timeout, config.gate.checks[1].command.len()), (Some(Span::seconds(3600)), 1));
}

#[test]
fn an_empty_file_describes_its_folder() {
    let world = World::new();
    let config = world.config("");
    assert_eq!(config.root, world.folder());
    assert_eq!(config.name, world.folder().file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
    assert_eq!((config.scopes.full().len(), config.keep_safety), (2, KEEP_SAFETY));
    assert!(matches!(config.store(), Err(Error::Usage(said)) if said.contains("--store")));
}

#[test]
fn a_mistyped_key_is_named_with_its_line_and_the_nearest_known_one() {
    let world = World::new();
    for (text, line, near) in [
        ("[ecosystem]\nname = \"a\"\nstor = \"b\"\n", 3, "store"),
        ("\n[contol]\nstop = []\n", 2, "control"),
        ("[control]\npidfle = \"x\"\n", 2, "pidfile"),
        ("[module.a]\nroots = [\"a\"]\ndisabel = [\"x\"]\n", 3, "disable"),
        ("[retention]\ndayly = \"7d\"\n", 2, "daily"),
        ("[gate]\nskp = []\n", 2, "skip"),
        ("[automation]\ndisabel = [\"x\"]\n", 2, "disable"),
        ("[automation.nightly]\nenabel = [\"x\"]\n", 2, "enable"),
        ("[snapshot]\nsqlite = \"onlin\"\n", 2, "online"),
        ("[control]\nprocess = { ex = \"python3\" }\n", 2, "exe"),
    ] {
        let said = world.refuses(text);
        assert!(said.starts_with(&format!("{line}: unknown")), "{text}: {said}");
        assert!(said.ends_with(&format!("did you mean `{near}`?")), "{text}: {said}");
    }
}

#[test]
fn a_mistyped_key_of_a_probe_is_named_too() {
    let world = World::new();
    let text = "[ecosystem]\nname = \"a\"\n\n[[probe]]\nkind = \"http\"\nurl = \"http://a/\"\n\n[[probe]]\nkind = \"tcp\"\nadress = \"a:1\"\n";
    let said = world.refuses(text);
    assert!(said.contains("unknown field `adress`") && said.ends_with("did you mean `address`?"), "{said}");
    assert!(said.starts_with("10: "), "{said}");
    assert!(world.refuses("[[probe]]\nkind = \"htp\"\nurl = \"x\"\n").ends_with("did you mean `http`?"));
    assert!(world.refuses("[[probe]]\nkind = \"process\"\nurl = \"x\"\n").contains("unknown field `url`"));
}

#[test]
fn a_mistyped_key_is_looked_for_in_its_own_probe() {
    let world = World::new();
    let file = "[[probe]]\nkind = \"file\"\npath = \"a\"\nmax_age = \"1m\"\n";
    for (probe, line, said) in [
        ("kind = \"http\"\nurl = \"http://a/\"\npath = \"a\"\n", 8, "unknown field `path`"),
        ("kind = \"tcp\"\naddress = \"a:1\"\nas = \"integrity\"\n", 8, "unknown field `as`"),
        ("kind = \"log\"\npath = \"a\"\nerror = \"E\"\nwindw = \"5m\"\n", 9, "did you mean `window`?"),
        ("kind = \"log\"\npath = \"a\"\nerror = \"E\"\ntime = \"rfc333\"\n", 9, "did you mean `rfc3339`?"),
        ("kind = \"prometheus\"\nurl = \"a\"\nquery = \"b\"\nmetric = \"eror_rate\"\n", 9, "did you mean `error_rate`?"),
        ("kind = \"snapshot\"\nmax_agee = \"1d\"\n", 7, "did you mean `max_age`?"),
        ("kind = \"snapshot\"\nmax_age = \"1d\"\nstore = \"x\"\n", 8, "unknown field `store`"),
        ("kind = \"command\"\ncommand = [\"a\"]\nas = \"integraty\"\n", 8, "did you mean `integrity`?"),
        ("kind = \"prometeus\"\n", 6, "did you mean `prometheus`?"),
    ] {
        let refused = world.refuses(&format!("{file}[[probe]]\n{probe}"));
        assert!(refused.starts_with(&format!("{line}: ")) && refused.contains(said), "{probe}: {refused}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let world = World::new();
    for (text, why) in [
        ("[control]\ngrace = \"10\"\n", "2: '10' is not a duration"),
        ("[control]\nstop = \"systemctl stop shop\"\n", "2: invalid type: string"),
        ("[control]\nprocess = { args = [\"*\"] }\n", "process needs an exe"),
        ("[ecosystem]\nname = \"a/b\"\n", "cannot be an ecosystem's name"),
        ("[ecosystem]\nname = \"-a\"\n", "cannot be an ecosystem's name"),
        ("[ecosystem]\nroot = \"nowhere\"\n", "root"),
        ("[ecosystem]\nroot = \"eco.toml\"\n", "is not a folder"),
        ("[ecosystem]\nstore = \"data/backups\"\n", "lies inside 'data'"),
        ("[scopes]\ndata = [\"../other\"]\n", "cannot be a root"),
        ("[module.a]\nroots = [\"/etc\"]\n", "cannot be a root"),
        ("[snapshot]\nexclude = [\"a[b\"]\n", "is not a pattern"),
        ("[experiment.e]\nroots = [\"a\"]\n", "[experiment.e] has roots, which only modules have"),
        ("[[probe]]\nkind = \"log\"\npath = \"a\"\nerror = [\"ok\", \"a(b\"]\n", "'a(b' is not a regular expression: unclosed group"),
        ("[[probe]]\nkind = \"log\"\npath = \"a\"\nerror = []\n", "matches nothing"),
        ("[[probe]]\nkind = \"log\"\npath = \"a\"\nerror = \"E\"\nwindow = \"0s\"\n", "log a: window is a duration above 0"),
        ("[[probe]]\nkind = \"log\"\npath = \"a\"\n", "missing field `error`"),
        ("[[probe]]\nkind = \"prometheus\"\nurl = \"http://a\"\nquery = \" \"\nmetric = \"up\"\n", "query is empty"),
        ("[[probe]]\nkind = \"prometheus\"\nurl = \"http://a\"\nquery = \"b\"\nmetric = \"up\"\nscale = 0\n", "scale is a number above 0"),
        ("[ecosystem\n", "1:"),
    ] {
        let said = world.refuses(text);
        assert!(said.contains(why), "{text}: {said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let world = World::new();
    world.config("");
    let file = world.folder().join("eco.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let said = load(&file, &Overrides::default()).unwrap_err().to_string();
    assert!(said.contains("may be written by others") && said.ends_with("chmod o-w it"), "{said}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o777)).unwrap();
    let said = load(&file, &Overrides::default()).unwrap_err().to_string();
    assert!(said.contains("may be replaced by others"), "{said}");
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(load(&file, &Overrides::default()).is_ok(), "a sticky folder protects the files in it");
    if std::os::unix::fs::chown(&file, Some(12_345), None).is_ok() {
        let said = load(&file, &Overrides::default()).unwrap_err().to_string();
        assert!(said.contains("belongs to user 12345, and anybody may put files into"), "{said}");
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let (world, other) = (World::new(), World::new());
    let overrides = Overrides { root: Some(other.folder()), store: Some("relative".into()), ..Overrides::default() };
    let config = world.load("[ecosystem]\nname = \"shop\"\nroot = \"nowhere\"\nstore = \"x\"\n", &overrides).unwrap();
    assert_eq!((config.name.as_str(), config.root), ("shop", other.folder()));
    assert_eq!(config.store, Some(std::env::current_dir().unwrap().join("relative")), "relative to where the command was typed");
    let alone = without_file(&overrides).unwrap();
    assert_eq!(alone.root, other.folder());
    assert!(without_file(&Overrides::default()).unwrap_err().to_string().contains("--root"));
}

#[test]
fn a_tilde_is_the_home_folder_and_nothing_else() {
    let world = World::new();
    let home = |home: Option<&str>| Overrides { home: home.map(PathBuf::from), ..Overrides::default() };
    let text = "[ecosystem]\nstore = \"~/backups\"\n";
    assert_eq!(world.load(text, &home(Some("/home/a"))).unwrap().store, Some("/home/a/backups".into()));
    assert!(world.load(text, &home(None)).unwrap_err().to_string().contains("$HOME"));
    assert_eq!(world.load("[ecosystem]\nstore = \"a~/b\"\n", &home(None)).unwrap().store, Some(world.folder().join("a~/b")));
}

#[test]
fn a_description_names_what_is_not_there() {
    let world = World::new();
    let folder = world.folder();
    let config = world.config("[control]\nstop = [\"bin/stop\", \"now\"]\n[verify]\ncommand = [\"true\"]\n");
    let (text, verdict) = config.describe();
    assert_eq!(verdict, Verdict::No);
    assert!(text.contains(&format!("stop       {}/bin/stop (not there) \"now\"\n", folder.display())), "{text}");
    assert!(text.contains("command    true (from PATH)\n") && text.contains("none: without a pidfile, process or unit"), "{text}");
    fs::create_dir(folder.join("bin")).unwrap();
    fs::write(folder.join("bin/stop"), "").unwrap();
    assert_eq!(config.describe().1, Verdict::Yes);
}

#[test]
fn the_example_of_the_page_is_a_configuration() {
    let page = include_str!("../../../man/eco.toml.5");
    let example = page.rsplit(".Bd -literal -offset indent\n").next().unwrap().split(".Ed\n").next().unwrap();
    let world = World::new();
    let config = world.config(&example.replace("/srv/shop", world.folder().to_str().unwrap()));
    assert_eq!((config.name.as_str(), config.probes.len()), ("shop", 2));
}

#[test]
fn contacts_stand_in_the_order_of_the_file_and_on_one_line() {
    let world = World::new();
    let config = world.config("[contacts]\non-call = \"555 0101\"\nadministrator = \"555 0102\"\n\"head of ops\" = \"555 0103\"\n");
    let roles: Vec<&str> = config.contacts.iter().map(|contact| contact.role.as_str()).collect();
    assert_eq!(roles, ["on-call", "administrator", "head of ops"]);
    let (text, _) = config.describe();
    assert!(text.contains("[contacts]\n  on-call    555 0101\n  administrator 555 0102\n"), "{text}");
    assert!(world.config("").contacts.is_empty());
    for wrong in ["on-call = \"a\\nb\"", "on-call = \" \"", "\"\" = \"555\""] {
        let said = world.refuses(&format!("[contacts]\n{wrong}\n"));
        assert!(said.contains("write a name and how to reach them, on one line"), "{said}");
    }
    assert!(world.refuses("[contacts]\non-call = 5\n").contains("expected a string"), "{}", world.refuses("[contacts]\non-call = 5\n"));
    assert!(world.refuses("[contact]\non-call = \"5\"\n").contains("did you mean `contacts`?"));
}
