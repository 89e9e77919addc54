//! SIGKILL at every kind of moment of a rollback, of its way back, of an undo, of a recovery: each root is wholly old or wholly
//! new at every instant, and one `--recover` makes the ecosystem whole again. So it is with disks that fail and fill up, and with
//! a person who interrupts.
//!
//! strace delivers the signal on the way into a system call of the main thread, so each point shows the disk as it was left
//! between two changes. A sweep takes some of these points; with `ECO_EVERY_MOMENT` in the environment it takes all of them.

use crate::harness::{Ran, Tree, World, not_shown, program};
use std::collections::HashMap;
use std::fmt::Debug;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Calls that change something, and flushes.
const CALLS: &str = "fsync,fdatasync,syncfs,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,linkat,symlinkat,\
                     chmod,fchmod,fchmodat,chown,fchown,fchownat,utimensat,ftruncate,write,mknodat,fsetxattr,lsetxattr";
/// Those at which every sweep kills: here trees change places, or become durable.
const TURNS: [&str; 2] = ["renameat2", "syncfs"];

/// Preserved and excluded paths of `data`, and the folders that may come with them.
const STAY: [&str; 6] = ["cache.tmp", "metrics", "sub/day.log", "new/week.log", "new/x.tmp", "new"];

/// A moment: the `n`th time that this call is made.
#[derive(Clone, Debug)]
pub struct Moment {
    call: String,
    n: usize,
}

/// What happens at a moment, in strace's words.
pub type Fault = &'static str;
pub const KILL: Fault = "signal=KILL";
const TERM: Fault = "signal=TERM";
const FULL: Fault = "error=ENOSPC";
const BROKEN: Fault = "error=EIO";

/// Runs eco-restore with these words under strace; with a moment, this fault happens there.
fn traced(world: &World, words: &[&str], fault: Option<(Fault, &Moment)>) -> i32 {
    let log = world.folder().join("trace");
    let mut run = world.run("strace").arg("-o").arg(&log).args(["-e", &format!("trace={CALLS}")]);
    if let Some((fault, Moment { call, n })) = fault {
        run = run.args(["-e", &format!("inject={call}:{fault}:when={n}")]);
    }
    run.arg(program("eco-restore")).args(words).ran().code
}

/// The moments of a run that was traced, in order.
fn moments(world: &World) -> Vec<Moment> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let log = fs::read_to_string(world.folder().join("trace")).unwrap();
    let calls = log.lines().filter_map(|line| line.split_once('(')).map(|(call, _)| call.to_owned()).filter(|call| !call.contains([' ', '+']));
    calls
        .map(|call| {
            let n = counts.entry(call.clone()).or_default();
            *n += 1;
            Moment { n: *n, call }
        })
        .collect()
}

/// As many as are wanted, evenly; for a kill every turn first, and the others evenly.
fn chosen(all: Vec<Moment>, fault: Fault, wanted: usize) -> Vec<Moment> {
    if std::env::var_os("ECO_EVERY_MOMENT").is_some() {
        return all;
    }
    let (turns, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|moment| fault == KILL && TURNS.contains(&moment.call.as_str()));
    let room = wanted.saturating_sub(turns.len()).max(wanted / 2);
    let every = others.len().div_ceil(room).max(1);
    turns.into_iter().chain(others.into_iter().step_by(every)).collect()
}

/// Whether processes can be killed at chosen moments here; if not, that is said aloud, and where tests must be complete it fails.
fn can_trace() -> bool {
    let world = World::new();
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run("strace").args(["-o", "/dev/null", "true"]).ran().code));
    let can = matches!(done, Ok(0));
    assert!(can || std::env::var_os("CI").is_none(), "install strace, and let it trace: without it nothing is known about crashes");
    if !can {
        not_shown("that a rollback survives SIGKILL at any moment", "strace is missing or may not trace");
    }
    can
}

/// Every root of the full scope, and those of the others.
const FULLY: &[&str] = &["config", "data", "modules/recommend", "modules/ui"];
const CONFIG: &[&str] = &["config"];
const MODULE: &[&str] = &["data/recommend", "modules/recommend"];

/// Roots as one may find them after a crash: what is preserved may be on its way, and folders may have lost their times.
fn roots(world: &World, scope: &[&str]) -> Vec<Tree> {
    scope.iter().map(|root| look(world, root).without(&STAY).but_for_times_of_folders()).collect()
}

/// A root, wherever it is: it may be a link. What is ours in it is on a filesystem of its own.
fn look(world: &World, root: &str) -> Tree {
    let tree = world.tree(Path::new(root).join("."));
    let ours: Vec<PathBuf> = tree.names().into_iter().filter(|path| path.ends_with(".eco")).collect();
    tree.without(&ours.iter().filter_map(|path| path.to_str()).collect::<Vec<_>>())
}

/// All that no rollback of these roots may touch: the other roots, what is in none, the store, and whatever else is in the world.
fn outside(world: &World, scope: &[&str]) -> Tree {
    let roots: Vec<String> = scope.iter().map(|root| format!("shop/{root}")).collect();
    let moving = ["trace", "volumes", "shop-store/shop-safety", "shop/releases", "shop/.eco", "shop/modules/.eco", "shop/run", "shop/fail"]
        .into_iter()
        .chain(roots.iter().map(String::as_str));
    Tree::of(&world.folder()).without(&moving.collect::<Vec<_>>()).but_for_times_of_folders()
}

/// A world in which a rollback of some roots is due, as it was at the snapshot, and as it is.
pub struct Due {
    pub world: World,
    scope: &'static [&'static str],
    pub new: Vec<Tree>,
    pub old: Vec<Tree>,
    data: Tree,
    outside: Tree,
    /// Whether each root changes places in one step: then it is never a mixture, not even before recovery.
    pub at_once: bool,
}

impl Due {
    fn new() -> Due {
        Due::of(World::service(), FULLY)
    }

    /// In this world, where the service runs.
    pub fn full(world: World) -> Due {
        Due::of(world, FULLY)
    }

    fn of(world: World, scope: &'static [&'static str]) -> Due {
        world.good();
        let new = roots(&world, scope);
        world.spoil();
        world.write("data/recommend/pairs", "broken\n");
        let old = roots(&world, scope);
        let data = look(&world, "data");
        let outside = outside(&world, scope);
        Due { world, scope, new, old, data, outside, at_once: true }
    }

    /// The roots as they are now.
    pub fn roots(&self) -> Vec<Tree> {
        roots(&self.world, self.scope)
    }

    /// What no rollback may touch is as it was: what is preserved is all there, where the service looks for it, and so is what lies
    /// outside of the roots.
    #[track_caller]
    pub fn kept(&self, at: &dyn Debug) {
        let now = look(&self.world, "data").but_for_times_of_folders();
        for name in STAY.iter().filter(|name| **name != "new") {
            let lost = self.data.only(name).but_for_times_of_folders().differences(&now.only(name));
            assert!(lost.is_empty(), "{at:?}: {lost:?}");
        }
        let changed = self.outside.differences(&outside(&self.world, self.scope));
        assert!(changed.is_empty(), "{at:?}: outside of the roots: {changed:?}");
    }

    /// Each root is wholly the one or the other, whatever the moment, and nobody holds the lock.
    #[track_caller]
    pub fn no_mixture(&self, at: &dyn Debug) {
        for (at_root, now) in self.roots().iter().enumerate() {
            let (new, old) = (self.new[at_root].differences(now), self.old[at_root].differences(now));
            assert!(!self.at_once || new.is_empty() || old.is_empty(), "{at:?}: root {at_root} is a mixture: {new:?}\n{old:?}");
        }
        if let Ok(lock) = fs::File::open(self.world.path(".eco/lock")) {
            lock.try_lock().unwrap_or_else(|e| panic!("{at:?}: the lock: {e}"));
        }
    }

    /// Recovers, and says whether the new tree is live now. Everything that must hold then is checked.
    #[track_caller]
    pub fn recovers(&self, at: &dyn Debug, codes: &[i32], undoable: Range<usize>) -> bool {
        let done = self.world.run("eco-restore").arg("--recover").ran();
        self.recovered(&done, at, codes, undoable)
    }

    /// What must hold after a recovery, and when the service runs. Says whether the new tree is live.
    #[track_caller]
    pub fn recovered(&self, done: &Ran, at: &dyn Debug, codes: &[i32], undoable: Range<usize>) -> bool {
        let world = &self.world;
        assert!(codes.contains(&done.code), "{at:?}: {done}");
        let now = self.roots();
        assert!(now == self.new || now == self.old, "{at:?}: the roots do not agree\n{done}");
        self.kept(at);
        assert!(world.pid().is_some(), "{at:?}: the service does not run\n{done}");
        assert_eq!(world.processes().len(), 1, "{at:?}: processes are left over\n{done}");
        let left: Vec<String> = fs::read_dir(world.path(".eco"))
            .map(|dir| dir.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        let folders: Vec<&String> = left.iter().filter(|name| !["lock", "memory"].contains(&name.as_str())).collect();
        assert!(undoable.contains(&folders.len()), "{at:?}: {folders:?} are left in .eco\n{done}");
        let trials: Vec<_> = world.tree("").names().into_iter().filter(|path| path.to_string_lossy().contains(".eco-trial")).collect();
        assert!(trials.is_empty(), "{at:?}: {trials:?}");

        let (before, pid) = (world.tree("").without(&[".eco/lock"]), world.pid());
        let again = world.run("eco-restore").arg("--recover").exits(0).says("nothing to recover");
        assert_eq!(again.stdout, "");
        before.but_for_times_of_folders().same_as(&world.tree("").without(&[".eco/lock"]).but_for_times_of_folders());
        assert_eq!(world.pid(), pid);
        now == self.new
    }

    /// Undoes the last rollback: what was live before it is live again.
    #[track_caller]
    pub fn undone(&self, at: &dyn Debug, before: &[Tree]) {
        self.world.run("eco-restore").arg("--undo").exits(0);
        let lost: Vec<String> = before.iter().zip(self.roots()).flat_map(|(wanted, now)| wanted.differences(&now)).collect();
        assert!(lost.is_empty(), "{at:?}: what was before cannot be had back: {lost:?}");
        self.kept(at);
    }
}

/// Lets a fault happen to a run of `words` at each chosen moment, every time in a fresh world, and `check` look at what is left.
/// `code` is how the run ends without a fault.
pub fn sweep(name: &str, fault: Fault, wanted: usize, due: impl Fn() -> Due, (words, code): (&[&str], i32), check: impl Fn(&Due, &Moment) -> bool) {
    if !can_trace() {
        return;
    }
    let whole = due();
    assert_eq!(traced(&whole.world, words, None), code);
    let all = moments(&whole.world);
    let (total, points) = (all.len(), chosen(all, fault, wanted));
    let (mut hit, mut new) = (0, 0);
    for at in &points {
        let due = due();
        // Fewer writes than last time, perhaps: then it has ended by itself, and what it left must hold all the same.
        hit += usize::from(traced(&due.world, words, Some((fault, at))) != code);
        due.no_mixture(at);
        new += usize::from(check(&due, at));
    }
    println!("{name}, {fault}: {total} changing calls, {} tried, {hit} ended otherwise; new tree at the end: {new}", points.len());
    assert!(fault != KILL || hit * 10 >= points.len() * 9, "only {hit} of {} kills hit", points.len());
}

#[test]
fn hazard_18_a_rollback_that_is_killed_anywhere_is_recovered() {
    sweep("rollback", KILL, 30, Due::new, (&["latest-good"], 0), |due, at| {
        let new = due.recovers(at, &[0], 0..2);
        if new {
            due.undone(at, &due.old);
        }
        new
    });
}

#[test]
fn hazard_18_a_rollback_of_the_configuration_that_is_killed_anywhere_is_recovered() {
    let due = || Due::of(World::service(), CONFIG);
    sweep("config", KILL, 16, due, (&["latest-good", "--scope", "config"], 0), |due, at| {
        let new = due.recovers(at, &[0], 0..2);
        if new {
            due.undone(at, &due.old);
        }
        new
    });
}

#[test]
fn hazard_18_a_rollback_of_a_module_that_is_killed_anywhere_leaves_it_switched_on() {
    let due = || Due::of(World::service(), MODULE);
    sweep("module", KILL, 20, due, (&["latest-good", "--scope", "module:recommend"], 0), |due, at| {
        let new = due.recovers(at, &[0], 0..2);
        // Its commands may have run twice.
        let units = due.world.read("run/units");
        assert!(units.ends_with("enable recommend\n") || units == "-" && !new, "{at:?}: {units}");
        if new {
            due.undone(at, &due.old);
        }
        new
    });
}

#[test]
fn hazard_18_a_way_back_that_is_killed_anywhere_is_recovered() {
    let unproven = || {
        let due = Due::new();
        due.world.write("fail/selftest", "");
        due
    };
    sweep("way back", KILL, 16, unproven, (&["latest-good"], 5), |due, at| {
        let new = due.recovers(at, &[0, 5], 0..1);
        assert!(!new, "{at:?}: a tree that proves nothing was left live");
        new
    });
}

/// A full rollback is done, and what was before is a snapshot.
fn undoable() -> Due {
    let due = Due::new();
    due.world.run("eco-restore").arg("latest-good").exits(0);
    due
}

#[test]
fn hazard_18_an_undo_from_the_tree_that_is_killed_anywhere_is_recovered() {
    let done = || {
        let due = Due::of(World::service(), CONFIG);
        due.world.run("eco-restore").args(["latest-good", "--scope", "config"]).exits(0);
        assert!(due.world.tree(".eco").names().iter().any(|name| name.ends_with("tree")), "the tree was to stay");
        due
    };
    sweep("undo from the tree", KILL, 12, done, (&["--undo"], 0), |due, at| {
        let new = due.recovers(at, &[0], 1..2);
        due.undone(at, if new { &due.old } else { &due.new });
        new
    });
}

#[test]
fn hazard_18_an_undo_that_is_killed_anywhere_is_recovered() {
    sweep("undo", KILL, 12, undoable, (&["--undo"], 0), |due, at| {
        let new = due.recovers(at, &[0], 1..3);
        // Either way there is a tree on the other side, and it can be had.
        due.undone(at, if new { &due.old } else { &due.new });
        new
    });
}

/// Killed when two of the four roots have changed places.
fn half_way() -> Due {
    let whole = Due::new();
    assert_eq!(traced(&whole.world, &["latest-good"], None), 0);
    let log = fs::read_to_string(whole.world.folder().join("trace")).unwrap();
    let renames = log.lines().filter(|line| line.starts_with("renameat2("));
    let third = renames.zip(1..).filter(|(line, _)| line.contains("/tree/") && line.contains("RENAME_EXCHANGE")).nth(2).unwrap().1;
    let due = Due::new();
    traced(&due.world, &["latest-good"], Some((KILL, &Moment { call: "renameat2".into(), n: third })));
    assert!(due.roots() != due.old && due.roots() != due.new, "the roots were to be a mixture here");
    due
}

#[test]
fn hazard_18_a_recovery_that_is_killed_anywhere_is_recovered() {
    sweep("recovery", KILL, 12, half_way, (&["--recover"], 0), |due, at| {
        // The one that is to finish it meets the same end.
        traced(&due.world, &["--recover"], Some((KILL, at)));
        due.no_mixture(at);
        let new = due.recovers(at, &[0], 1..2);
        assert!(new, "{at:?}: once the exchange was decided, recovery goes forward");
        new
    });
}

#[test]
fn hazard_18_an_abort_that_is_killed_anywhere_is_recovered() {
    sweep("abort", KILL, 12, half_way, (&["--abort"], 0), |due, at| {
        let new = due.recovers(at, &[0], 0..2);
        if new {
            due.undone(at, &due.old);
        }
        new
    });
}

#[test]
fn the_tree_from_before_can_be_had_whenever_its_snapshot_is_killed() {
    if !can_trace() {
        return;
    }
    let whole = Due::new();
    assert_eq!(traced(&whole.world, &["latest-good"], None), 0);
    let log = fs::read_to_string(whole.world.folder().join("trace")).unwrap();
    let noted = log.lines().filter(|line| line.contains('(')).position(|line| line.starts_with("rename(") && line.contains("/undo\"")).unwrap();
    let points = chosen(moments(&whole.world).split_off(noted + 1), KILL, 20);
    let mut trees = 0;
    for at in &points {
        let due = Due::new();
        traced(&due.world, &["latest-good"], Some((KILL, at)));
        // The temporary of a verdict has no lock that tells whether it is being written, so nobody removes it.
        let left_over = |name: &Path| {
            let name = name.to_string_lossy();
            name.contains("trash") || name.ends_with(".tmp") && !name.contains(".verified.")
        };
        let trash = || {
            let names = due.world.tree(".eco").names().into_iter().chain(Tree::of(&due.world.store()).names());
            names.filter(|name| left_over(name)).collect::<Vec<_>>()
        };
        assert!(due.recovers(at, &[0], 1..2), "{at:?}");
        trees += usize::from(due.world.tree(".eco").names().iter().any(|name| name.ends_with("tree")));
        due.undone(at, &due.old);
        due.world.run("eco-restore").arg("latest-good").exits(0);
        assert!(trash().is_empty(), "{at:?}: a later run tidies up: {:?}", trash());
    }
    println!("safety: {} of {} moments left the tree", trees, points.len());
    assert!(0 < trees && trees < points.len());
}

/// Without any recovery: the trees agree, and the service runs.
#[track_caller]
fn whole(due: &Due, at: &Moment) {
    let now = due.roots();
    assert!(now == due.new || now == due.old, "{at:?}: the roots do not agree");
    assert!(due.world.pid().is_some(), "{at:?}: the service does not run");
}

#[test]
fn a_disk_that_fills_up_or_breaks_anywhere_costs_nothing() {
    for fault in [FULL, BROKEN] {
        sweep("rollback", fault, 12, Due::new, (&["latest-good"], 0), |due, at| {
            whole(due, at);
            due.recovers(at, &[0, 5], 0..2)
        });
    }
}

#[test]
fn a_disk_that_fails_during_a_rollback_of_a_part_costs_nothing() {
    let config: (&[&str], i32) = (&["latest-good", "--scope", "config"], 0);
    let module: (&[&str], i32) = (&["latest-good", "--scope", "module:recommend"], 0);
    for (name, words, scope) in [("config", config, CONFIG), ("module", module, MODULE)] {
        for fault in [FULL, BROKEN] {
            sweep(
                name,
                fault,
                8,
                || Due::of(World::service(), scope),
                words,
                |due, at| {
                    whole(due, at);
                    due.recovers(at, &[0, 5], 0..2)
                },
            );
        }
    }
}

#[test]
fn a_disk_that_fails_during_an_undo_costs_nothing() {
    for fault in [FULL, BROKEN] {
        sweep("undo", fault, 8, undoable, (&["--undo"], 0), |due, at| {
            let new = due.recovers(at, &[0], 1..3);
            due.undone(at, if new { &due.old } else { &due.new });
            new
        });
    }
}

#[test]
fn an_interruption_anywhere_leaves_nothing_to_recover() {
    sweep("rollback", TERM, 12, Due::new, (&["latest-good"], 0), |due, at| {
        whole(due, at);
        assert!(!due.world.path(".eco/journal").exists(), "{at:?}: something is pending");
        due.recovers(at, &[0], 0..2)
    });
}
