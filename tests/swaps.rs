//! A reader that never sleeps, while the trees change places a thousand times: no root is ever missing, and no root is ever a mixture
//! of two generations.
//!
//! A path is looked up anew by every call, so two calls may well meet two generations. Who wants one opens the root once, and reads
//! beneath it.

use crate::harness::{World, apart, not_shown};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

const ROOTS: [&str; 2] = ["config", "data"];
const FILES: [&str; 6] = ["a", "b", "c", "below/a", "below/b", "below/deep/a"];
const SWAPS: usize = 1000;

/// Files whose content is the generation that they belong to.
fn write(world: &World, generation: &str) {
    for root in ROOTS {
        for file in FILES {
            world.write(Path::new(root).join(file), generation);
        }
    }
}

/// What a reader has seen.
#[derive(Default)]
struct Seen {
    reads: usize,
    /// How often a root was another generation than just before.
    turns: usize,
    missing: usize,
    mixtures: usize,
}

/// Reads until it is told to stop.
fn read(root: &Path, stop: &AtomicBool) -> Seen {
    let (mut seen, mut before) = (Seen::default(), String::new());
    while !stop.load(Ordering::Relaxed) {
        seen.reads += 1;
        // By its path, as those do who know nothing of generations.
        let there = FILES.iter().all(|file| fs::read(root.join(file)).is_ok()) && fs::symlink_metadata(root).is_ok();
        seen.missing += usize::from(!there);
        // Beneath one descriptor.
        let Ok(dir) = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) else { continue };
        let found: BTreeSet<String> = FILES
            .iter()
            .map(|file| {
                let mut text = String::new();
                let file = openat(&dir, *file, OFlags::RDONLY, Mode::empty());
                file.map_or_else(|e| e.to_string(), |file| File::from(file).read_to_string(&mut text).map_or_else(|e| e.to_string(), |_| text))
            })
            .collect();
        seen.mixtures += usize::from(found.len() > 1);
        let now = found.into_iter().next().unwrap_or_default();
        seen.turns += usize::from(now != before);
        before = now;
    }
    seen
}

/// Reads both roots while `work` is done.
fn read_during(world: &World, work: impl FnOnce()) -> [Seen; 2] {
    let stop = &AtomicBool::new(false);
    let roots = ROOTS.map(|root| world.path(root));
    thread::scope(|scope| {
        let readers = roots.each_ref().map(|root| scope.spawn(move || read(root, stop)));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let seen = readers.map(|reader| reader.join().unwrap());
        done.unwrap_or_else(|why| std::panic::resume_unwind(why));
        seen
    })
}

#[test]
fn a_reader_never_misses_a_root_and_never_sees_a_mixture_during_a_thousand_swaps() {
    let what = "what a reader sees of a swap";
    apart("swaps::a_reader_never_misses_a_root_and_never_sees_a_mixture_during_a_thousand_swaps", what, || {
        let world = World::new();
        // In memory, where flushes cost nothing, and without a service that would have to be stopped a thousand times.
        if !world.mount("mount", &["-ttmpfs", "eco-test"], &world.root()) {
            return not_shown(what, "no tmpfs can be mounted here");
        }
        world.config("");
        write(&world, "one");
        let snapshot = world.good();
        write(&world, "two");
        // Without a store the tree from before stays a tree, and all that an undo does is to exchange the two.
        world.write("eco.toml", "[ecosystem]\nname = \"shop\"\n");
        world.run("eco-restore").arg(snapshot["path"].as_str().unwrap()).exits(0);
        let began = Instant::now();
        let seen = read_during(&world, || (0..SWAPS).for_each(|_| drop(world.run("eco-restore").arg("--undo").exits(0))));
        for (root, Seen { reads, turns, missing, mixtures }) in ROOTS.iter().zip(&seen) {
            println!("{root}: {SWAPS} swaps on tmpfs in {:.0} s, {turns} seen in {reads} reads", began.elapsed().as_secs_f64());
            assert_eq!((*missing, *mixtures), (0, 0), "{root}: missing and mixtures in {reads} reads");
            assert!(*turns > SWAPS / 10, "{root}: the reader slept: it saw {turns} of {SWAPS} swaps");
        }
    });
}

/// What that is worth: the same reader catches those who put a tree into place in two steps.
#[test]
fn a_reader_catches_two_renames() {
    let world = World::new();
    write(&world, "one");
    let [live, aside, other] = ["data", "aside", "other"].map(|name| world.path(name));
    world.shell("cp -a data other");
    let seen = read_during(&world, || {
        for _ in 0..20 * SWAPS {
            fs::rename(&live, &aside).unwrap();
            fs::rename(&other, &live).unwrap();
            fs::rename(&aside, &other).unwrap();
        }
    });
    println!("{} of {} reads missed something", seen[1].missing, seen[1].reads);
    assert!(seen[1].missing > 0, "{} reads missed nothing", seen[1].reads);
}
