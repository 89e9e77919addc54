//! The shop of `examples/shop`, set up and running in a world of its own.

use super::World;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that nobody listens on, with the one above it held, so that no other test, in this process or another, chooses the same.
fn port() -> (u16, TcpListener) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 1000) as u16 * 7;
    for _ in 0..5000 {
        // Below the range from which outgoing connections take theirs.
        let port = 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000 * 2;
        if let Ok(guard) = TcpListener::bind(("127.0.0.1", port + 1))
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            return (port, guard);
        }
    }
    panic!("no free port");
}

impl World {
    /// A shop that was set up and runs.
    pub fn shop() -> World {
        let mut world = World::new();
        fs::remove_dir_all(world.root()).unwrap();
        let (port, guard) = port();
        world.port = Some((port, guard));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop/bin/shop");
        let done = Command::new("/usr/bin/env")
            .args(["-i", "PATH=/usr/bin:/bin", "python3"])
            .arg(source)
            .arg("setup")
            .arg(world.root())
            .args(["--port", &port.to_string()])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        world.shop_does("start");
        world
    }

    /// Runs `bin/shop` with these words.
    #[track_caller]
    pub fn shop_does(&self, words: &str) -> String {
        let mut words = words.split_whitespace();
        let program = self.path("bin/shop");
        let ran = self.run(program.to_str().unwrap()).args(words.by_ref()).exits(0);
        ran.stdout
    }

    /// Breaks the shop in one of the ways of its README: `config`, `data`, `module checkout`, `kill` …
    #[track_caller]
    pub fn break_it(&self, how: &str) {
        self.shop_does(&format!("break {how}"));
    }

    /// What the running shop says about itself; `None` when it does not answer.
    pub fn health(&self) -> Option<Value> {
        let program = self.path("bin/shop");
        let ran = self.run(program.to_str().unwrap()).arg("health").ran();
        (ran.code == 0).then(|| serde_json::from_str(&ran.stdout).unwrap())
    }

    /// How many orders the shop has, asked over HTTP.
    #[track_caller]
    pub fn orders(&self) -> u64 {
        use std::io::{Read, Write};
        let port: u16 = self.read("run/port").trim().parse().unwrap();
        let mut answer = String::new();
        let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        connection.write_all(b"GET /orders HTTP/1.0\r\n\r\n").unwrap();
        connection.read_to_string(&mut answer).unwrap();
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        body["orders"].as_u64().unwrap()
    }

    /// The process that the pid file names, if it is alive and of this world.
    pub fn pid(&self) -> Option<u32> {
        let pid = self.read("run/shop.pid").trim().parse().ok()?;
        self.processes().contains(&pid).then_some(pid)
    }

    /// A snapshot that is good: health is asked, and piped into eco-snap.
    #[track_caller]
    pub fn snapshot(&self) -> Value {
        let snapshot = self.pipe(["eco-health", "eco-snap -"]).exits([0, 0]).last("snapshot");
        assert_eq!(snapshot["good"], true, "{snapshot}");
        snapshot
    }

    /// A shell command that is run in the ecosystem's root.
    #[track_caller]
    pub fn shell(&self, line: &str) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", line]).current_dir(self.root()).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        let done = command.output().unwrap();
        assert!(done.status.success(), "{line}: {done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}
