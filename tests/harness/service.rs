//! A pretend service that starts and stops in milliseconds, over a small tree with everything that makes trees hard.

use super::World;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// It is ill if its configuration says so; files in `fail/` make its commands fail.
const CONFIG: &str = r#"
[snapshot]
exclude = ["*.tmp"]
preserve = ["data/metrics/**", "*.log"]

[module.recommend]
roots = ["modules/recommend", "data/recommend"]
disable = ["bin/unit", "disable", "{id}"]
enable = ["bin/unit", "enable", "{id}"]
[module.ui]
roots = ["modules/ui"]

[automation]
disable = ["bin/unit", "disable", "{id}"]
[optimization]
revert = ["bin/unit", "revert", "{id}"]
[experiment]
disable = ["bin/unit", "stop", "{id}"]

[control]
start = ["bin/start"]
stop = ["bin/stop"]
pidfile = "run/shop.pid"
grace = "2s"

[[probe]]
kind = "command"
command = ["bin/health"]

[verify]
command = ["bin/selftest"]
health = "10s"
"#;

/// A name that is not UTF-8.
pub fn latin1() -> PathBuf {
    Path::new("data").join(OsStr::from_bytes(b"caf\xe9"))
}

/// Bytes that cannot be compressed, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

impl World {
    /// The pretend service, running.
    pub fn service() -> World {
        World::new().with_service()
    }

    /// The same, in a world that was prepared otherwise: something is mounted in it, perhaps.
    pub fn with_service(self) -> World {
        let world = self;
        world.config(CONFIG);
        // The shell ends at once; what it started is a session of its own and keeps the pid.
        world.program("bin/start", "#!/bin/sh\n[ ! -e fail/start ] || { echo no start today >&2; exit 1; }\nsetsid sleep 1000 </dev/null >/dev/null 2>&1 &\necho $! >run/new && mv run/new run/shop.pid\n");
        world.program(
            "bin/stop",
            "#!/bin/sh\n[ ! -e fail/stop ] || { echo no stop today >&2; exit 1; }\nkill $(cat run/shop.pid) 2>/dev/null\nrm -f run/shop.pid\n",
        );
        world.program("bin/health", "#!/bin/sh\n! grep -q ill config/state\n");
        world.program("bin/selftest", "#!/bin/sh\n[ ! -e fail/selftest ] || { echo selftest says no >&2; exit 1; }\n");
        world.program("bin/unit", "#!/bin/sh\n[ ! -e fail/$1 ] || exit 1\necho $1 $2 >>run/units\n");
        fs::create_dir(world.path("run")).unwrap();
        fs::create_dir(world.path("fail")).unwrap();

        world.write("config/state", "well\n").write("config/limits.json", "{\"orders\": 10}\n");
        world.write("data/orders", "1\n2\n3\n").write("data/sub/deep/file", "deep\n").write("data/empty", "");
        world.write("data/big", noise(100_000));
        world.write("data/metrics/2026-03", "a\nb\n").write("data/metrics/old/2025-12", "z\n").write("data/sub/day.log", "one\n");
        world.write("data/cache.tmp", "cache\n").write(latin1(), "latin one\n");
        world.write("modules/recommend/code", "one\n").write("data/recommend/pairs", "p\n").write("modules/ui/code", "u\n");
        world.program("data/run-me", "#!/bin/sh\n");
        symlink("orders", world.path("data/link")).unwrap();
        symlink("/nowhere/at/all", world.path("data/dangling")).unwrap();
        fs::hard_link(world.path("data/orders"), world.path("data/sub/same-orders")).unwrap();
        fs::create_dir(world.path("data/nothing-in-it")).unwrap();
        fs::set_permissions(world.path("data/nothing-in-it"), fs::Permissions::from_mode(0o2750)).unwrap();
        fs::set_permissions(world.path("data/empty"), fs::Permissions::from_mode(0o600)).unwrap();
        // Where there are no attributes, trees are restored without any.
        let _ = rustix::fs::setxattr(world.path("data/orders"), "user.note", b"a\0\n\xff", rustix::fs::XattrFlags::empty());
        // Only root can give files away; to others all of it belongs to themselves.
        let _ = std::os::unix::fs::chown(world.path("data/empty"), Some(1234), Some(4321));
        world.start();
        world
    }

    /// From here on the service gets little time to become healthy, for tests in which it does not.
    pub fn impatient(&self) -> &World {
        self.write("eco.toml", self.read("eco.toml").replace("health = \"10s\"", "health = \"100ms\""))
    }

    /// Starts the pretend service.
    #[track_caller]
    pub fn start(&self) -> u32 {
        let done = Command::new(self.path("bin/start")).current_dir(self.root()).env_clear().env("PATH", "/usr/bin:/bin").status().unwrap();
        assert!(done.success());
        self.pid().unwrap()
    }

    /// A snapshot that a person calls good.
    #[track_caller]
    pub fn good(&self) -> serde_json::Value {
        self.run("eco-snap").arg("--good").exits(0).only()
    }

    /// What an incident does to the files: some damaged, some gone, some new, some of another kind or mode; and what has been
    /// gained meanwhile by what is preserved or left out.
    pub fn spoil(&self) {
        self.write("config/state", "well, but wrong\n").write("config/new.json", "{}\n");
        self.write("data/orders", "garbage\n").write("data/new/thing", "new\n").write("modules/recommend/code", "two\n");
        fs::remove_dir_all(self.path("data/sub/deep")).unwrap();
        fs::remove_file(self.path("data/link")).unwrap();
        fs::create_dir(self.path("data/link")).unwrap();
        fs::remove_file(self.path("data/dangling")).unwrap();
        fs::write(self.path("data/dangling"), "a file now").unwrap();
        fs::set_permissions(self.path("data/run-me"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(self.path(latin1())).unwrap();
        self.write("data/metrics/2026-03", "a\nb\nc\n").write("data/metrics/2026-04", "d\n").write("data/sub/day.log", "one\ntwo\n");
        self.write("data/new/week.log", "w\n").write("data/cache.tmp", "warmer\n").write("data/new/x.tmp", "x\n");
    }
}
