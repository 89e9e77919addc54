//! The plug is pulled at random moments of a rollback, of its way back, of an undo, of a recovery: the filesystem is shut down
//! without its log, everything is killed, and it is mounted again. On ext4 and on XFS each root is then wholly old or wholly new,
//! one `--recover` makes the ecosystem whole, and what was reported as completed is there.
//!
//! What the filesystem has handed to the device counts as written; a device that forgets what it has acknowledged is not shown.
//! `ECO_SEED` makes the cuts of another run, `ECO_EVERY_MOMENT` five times as many.

use crate::harness::{Dice, Ran, World, apart, not_shown};
use crate::kill::Due;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A filesystem of its own at the root of a world's ecosystem, in a file beside the world.
struct Disk {
    kind: &'static str,
    folder: tempfile::TempDir,
}

impl Disk {
    /// A new one; `None`, and said aloud, where this kind cannot be had.
    fn new(kind: &'static str, world: &World) -> Option<Disk> {
        let disk = Disk { kind, folder: tempfile::tempdir().unwrap() };
        // The least that XFS takes; most of it stays a hole.
        fs::File::create(disk.path("image")).unwrap().set_len(300 << 20).unwrap();
        let made = Command::new(format!("mkfs.{kind}")).arg("-q").arg(disk.path("image")).status();
        let there = made.is_ok_and(|done| done.success()) && disk.plug(world);
        if !there {
            not_shown(&format!("power cuts on {kind}"), "it cannot be made and mounted here");
        }
        let _ = fs::remove_dir(world.path("lost+found"));
        there.then_some(disk)
    }

    /// Beside the filesystem, where no cut reaches.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn plug(&self, world: &World) -> bool {
        let image = self.path("image");
        world.mount("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str()], &world.root())
    }

    /// From this moment on nothing reaches the medium, not even what the filesystem's log holds in memory.
    #[track_caller]
    fn pull(&self, world: &World) {
        let done = Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(world.root()).status().expect("xfs_io of xfsprogs");
        assert!(done.success());
    }

    /// The plug was pulled: all processes are gone, and the filesystem comes back from what was on the medium.
    #[track_caller]
    fn again(&self, world: &World) {
        world.kill();
        world.unmount();
        assert!(self.plug(world), "{} that was cut off cannot be mounted", self.kind);
    }
}

/// What the power fails in.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Eq, Ord)]
enum During {
    Rollback,
    Undo,
    WayBack,
    Recovery,
}

impl During {
    /// Rollbacks mostly.
    fn thrown(dice: &mut Dice) -> During {
        match dice.roll(10) {
            0..5 => During::Rollback,
            5..7 => During::Undo,
            7 => During::WayBack,
            _ => During::Recovery,
        }
    }
}

/// A moment of a run: after so many of its records, and then some.
#[derive(Debug)]
struct Cut {
    records: usize,
    wait: Duration,
}

/// What a run would be without a cut, so that every part of it may be hit.
#[derive(Clone, Copy)]
struct Pace {
    records: usize,
    took: Duration,
}

impl Pace {
    fn of(world: &World, words: &[&str], code: i32) -> Pace {
        let began = Instant::now();
        let records = world.run("eco-restore").args(words).exits(code).records().len();
        Pace { records, took: began.elapsed() }
    }

    /// Any instant of the whole, or any instant around one of its records: what lasts long, and what is over soon.
    fn cut(self, dice: &mut Dice) -> Cut {
        let mut below = |time: Duration| Duration::from_micros(dice.roll(time.as_micros() as usize + 1) as u64);
        let (anywhere, soon) = (below(self.took), below(self.took / self.records as u32));
        match dice.roll(3) {
            0 => Cut { records: 0, wait: anywhere },
            _ => Cut { records: dice.roll(self.records + 1), wait: soon },
        }
    }

    /// A moment when something is pending, mostly: any but the last of the records from the stop on.
    fn late(self, dice: &mut Dice) -> Cut {
        let cut = self.cut(dice);
        Cut { records: self.records - 2 - dice.roll(5), wait: cut.wait.min(self.took / self.records as u32) }
    }
}

/// An ecosystem on a filesystem of its own, whose power fails again and again.
struct Plant {
    disk: Disk,
    due: Due,
}

impl Plant {
    fn new(kind: &'static str) -> Option<Plant> {
        let world = World::new();
        let disk = Disk::new(kind, &world)?;
        let plant = Plant { disk, due: Due::full(world.with_service()) };
        plant.due.world.kill();
        plant.due.world.shell(&format!("rm -rf run/* .eco; cp -a . {}", plant.disk.path("broken").display()));
        Some(plant)
    }

    /// The ecosystem as it was when the rollback was due, every byte of it on the medium, and the service runs.
    fn due(&self) {
        let world = &self.due.world;
        world.kill();
        world.shell(&format!("rm -rf .eco ./*; cp -a {}/. .", self.disk.path("broken").display()));
        world.start();
        self.flush();
    }

    fn flush(&self) {
        self.due.world.shell("sync -f .");
    }

    /// Runs eco-restore until the plug is pulled; says whether it had told that it is complete. Then the power is back, and nothing
    /// runs yet.
    fn cut(&self, words: &[&str], cut: &Cut) -> bool {
        let world = &self.due.world;
        let mut command = world.run("eco-restore").args(words).command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut said, mut stdout) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
        for _ in 0..cut.records {
            stdout.read_line(&mut said).unwrap();
        }
        thread::sleep(cut.wait);
        self.disk.pull(world);
        world.kill();
        child.wait().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        self.disk.again(world);
        // As after every start of a machine.
        world.shell("rm -rf run/*");
        let records = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.into_iter().any(|record| record["type"] == "restore" && record["phase"] == "completed")
    }

    /// Recovers and starts the service, as a person does, or with `boot` as the start of a machine does.
    fn recover(&self, boot: bool) -> Ran {
        let world = &self.due.world;
        let done = world.run("eco-restore").arg("--recover").args(boot.then_some("--no-control")).ran();
        if world.pid().is_none() {
            // Before the stop and after the end it is for the start of the machine to start the service.
            assert!(boot || done.all("step").is_empty(), "the service does not run\n{done}");
            world.start();
        }
        done
    }
}

/// How many cuts are made: what a minute allows.
fn wanted() -> usize {
    if std::env::var_os("ECO_EVERY_MOMENT").is_some() { 1000 } else { 200 }
}

fn cuts(kind: &'static str) {
    let Some(plant) = Plant::new(kind) else { return };
    let seed = std::env::var("ECO_SEED").map_or(1, |seed| seed.parse().expect("ECO_SEED is a number"));
    let mut dice = Dice::new(seed);
    plant.due();
    let rollback = Pace::of(&plant.due.world, &["latest-good"], 0);
    let undo = Pace::of(&plant.due.world, &["--undo"], 0);
    plant.due.world.write("fail/selftest", "");
    plant.due();
    plant.due.world.write("fail/selftest", "");
    let way_back = Pace::of(&plant.due.world, &["latest-good"], 5);

    let (began, mut ends) = (Instant::now(), BTreeMap::<(During, &str), usize>::new());
    for number in 1..=wanted() {
        let during = During::thrown(&mut dice);
        plant.due();
        let (words, pace, codes, undoable): (&[&str], Pace, &[i32], Range<usize>) = match during {
            During::Rollback | During::Recovery => (&["latest-good"], rollback, &[0], 0..2),
            During::Undo => (&["--undo"], undo, &[0], 1..3),
            During::WayBack => (&["latest-good"], way_back, &[0, 5], 0..1),
        };
        match during {
            During::Undo => drop(plant.due.world.run("eco-restore").arg("latest-good").exits(0)),
            During::WayBack => {
                plant.due.world.write("fail/selftest", "");
            }
            During::Rollback | During::Recovery => {}
        }
        plant.flush();
        let cut = if during == During::Recovery { pace.late(&mut dice) } else { pace.cut(&mut dice) };
        let at = format!("{kind}, ECO_SEED={seed}, cut {number}, {during:?}, {cut:?}");
        let mut completed = plant.cut(words, &cut);
        plant.due.no_mixture(&at);
        if during == During::Recovery {
            let second = undo.cut(&mut dice);
            completed |= plant.cut(&["--recover"], &second);
            plant.due.no_mixture(&(&at, second));
        }
        let done = plant.recover(during != During::WayBack && dice.roll(2) == 0);
        let new = plant.due.recovered(&done, &at, codes, undoable);
        assert!(!completed || new != (during == During::Undo), "{at}: it was complete, and is not\n{done}");
        assert!(!(new && during == During::WayBack), "{at}: a tree that proves nothing was left live\n{done}");
        match (during, new) {
            (During::Undo, false) => plant.due.undone(&at, &plant.due.new),
            (_, true) => plant.due.undone(&at, &plant.due.old),
            (_, false) => {}
        }
        let end = match (new, completed) {
            (true, true) => "new, as told",
            (true, false) => "new",
            (false, true) => "old, as told",
            (false, false) => "old",
        };
        *ends.entry((during, end)).or_default() += 1;
    }
    println!("{kind}: {} power cuts, ECO_SEED={seed}, {:.0} s: {ends:?}", wanted(), began.elapsed().as_secs_f64());
}

#[test]
fn hazard_18_on_ext4_a_power_cut_at_any_moment_leaves_the_old_tree_or_the_new_one() {
    apart("power::hazard_18_on_ext4_a_power_cut_at_any_moment_leaves_the_old_tree_or_the_new_one", "power cuts on ext4", || cuts("ext4"));
}

#[test]
fn hazard_18_on_xfs_a_power_cut_at_any_moment_leaves_the_old_tree_or_the_new_one() {
    apart("power::hazard_18_on_xfs_a_power_cut_at_any_moment_leaves_the_old_tree_or_the_new_one", "power cuts on XFS", || cuts("xfs"));
}

/// What such a cut is worth as a test: what is written and renamed without a flush is lost, although its folder was flushed.
#[test]
fn a_copy_that_is_renamed_into_place_without_a_flush_is_lost_in_such_a_cut() {
    apart("power::a_copy_that_is_renamed_into_place_without_a_flush_is_lost_in_such_a_cut", "that power cuts are real", || {
        for (kind, flush) in [("ext4", false), ("xfs", false), ("ext4", true), ("xfs", true)] {
            let world = World::new();
            let Some(disk) = Disk::new(kind, &world) else { return };
            world.write("config/state", "old\n").shell("sync -f .");
            let line = if flush { "sync -f staged;" } else { "" };
            world.shell(&format!("mkdir staged; echo new >staged/state; {line} mv config before; mv staged config; sync ."));
            disk.pull(&world);
            disk.again(&world);
            assert_eq!(world.read("config/state") == "new\n", flush, "{kind}: {}", world.tree(""));
        }
    });
}
