//! A world for one test: a folder of its own, a clean environment, the real programs, and an oracle that looks at trees with its
//! own eyes. Processes that were started inside are gone when the world is.

mod apart;
pub mod blocks;
mod dice;
mod run;
mod seen;
mod service;
mod shop;
mod terminal;
mod tree;

use apart::Mount;
pub use apart::apart;
pub use dice::Dice;
pub use run::{Ran, Run, program};
pub use seen::keep as keep_seen;
pub use service::latin1;
pub use terminal::Terminal;
pub use tree::Tree;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One test's world. The ecosystem is in `shop`, its store beside it in `shop-store`.
pub struct World {
    /// Gone before the folder is.
    mounts: Mutex<Vec<Mount>>,
    folder: tempfile::TempDir,
    now: Mutex<Option<String>>,
    /// The shop's port, and the port above it, which is held so that no other world takes the pair.
    port: Option<(u16, TcpListener)>,
}

impl World {
    /// With an empty ecosystem named `shop`, whose description says where its store is and nothing else.
    pub fn new() -> World {
        let folder = tempfile::Builder::new().prefix("eco-test-").tempdir().unwrap();
        let world = World { mounts: Mutex::default(), folder, now: Mutex::default(), port: None };
        fs::create_dir(world.root()).unwrap();
        world.config("");
        world
    }

    /// The test's own folder; everything is below it.
    pub fn folder(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    /// The ecosystem's root.
    pub fn root(&self) -> PathBuf {
        self.folder().join("shop")
    }

    /// Where its snapshots are.
    pub fn store(&self) -> PathBuf {
        self.folder().join("shop-store")
    }

    /// A path in the ecosystem.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    /// Fixes the clock of every program that is run from here on.
    pub fn at(&self, now: &str) -> &World {
        *self.now.lock().unwrap() = Some(now.into());
        self
    }

    /// Mounts something at a folder of this world, for tests that run [`apart`]: what this program makes of these words. False where
    /// that cannot be.
    pub fn mount<S: AsRef<OsStr>>(&self, program: &str, words: &[S], at: &Path) -> bool {
        fs::create_dir_all(at).unwrap();
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        let mount = Mount::new(program, &words, at);
        let mounted = mount.is_some();
        self.mounts.lock().unwrap().extend(mount);
        mounted
    }

    /// Takes away what was mounted last; nobody may be in it.
    pub fn unmount(&self) {
        self.mounts.lock().unwrap().pop();
    }

    /// Writes `eco.toml`: name and store, and then `more`.
    pub fn config(&self, more: &str) -> &World {
        self.write("eco.toml", format!("[ecosystem]\nname = \"shop\"\nstore = {:?}\n{more}", self.store()))
    }

    /// Writes a file of the ecosystem, with the folders above it. Only its owner may write it.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> &World {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    /// Writes a program of the ecosystem, by somebody else's hand: a child that another thread forks just then would hold the file
    /// open for writing until it becomes its own program, and whoever runs the file meanwhile is told that it is busy.
    pub fn program(&self, path: &str, content: &str) -> &World {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let write = ["-c", "cat > \"$0\" && chmod 0755 \"$0\""];
        let mut writer = Command::new("/bin/sh").args(write).arg(&path).stdin(Stdio::piped()).spawn().unwrap();
        writer.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        self
    }

    /// A file of the ecosystem as text; `-` where there is none.
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        fs::read(self.path(path)).map_or("-".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What is at this path of the ecosystem, as the oracle sees it.
    pub fn tree(&self, path: impl AsRef<Path>) -> Tree {
        Tree::of(&self.path(path))
    }

    /// One of the programs, to be run in the ecosystem's root.
    pub fn run(&self, program: &str) -> Run<'_> {
        Run::new(self, program)
    }

    /// A pipeline without a shell, each program with its words: `["eco-health", "eco-snap - --kind daily"]`.
    pub fn pipe<const N: usize>(&self, programs: [&str; N]) -> run::Pipe<'_> {
        run::Pipe::new(self, &programs)
    }

    /// Ends every process that lives in this world, and waits until they are gone.
    pub fn kill(&self) {
        let patience = Instant::now() + Duration::from_secs(10);
        // Again and again, because one that is just being started by another may be missed.
        while let all @ [_, ..] = self.processes().as_slice()
            && Instant::now() < patience
        {
            for pid in all.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid as i32)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            std::thread::yield_now();
        }
    }

    /// Processes that live in this world: they were started in it, or moved into it.
    pub fn processes(&self) -> Vec<u32> {
        let here = self.folder();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&here))).collect()
    }
}

/// Says aloud, past the capture of the test's own output, that something could not be shown here.
pub fn not_shown(what: &str, why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "\nNOT SHOWN, because {why}: {what}");
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the world when the test failed:\n{}", Tree::of(self.folder.path()));
        }
        // The last one first: it may be inside another.
        while let Some(mount) = self.mounts.get_mut().ok().and_then(Vec::pop) {
            drop(mount);
        }
    }
}
