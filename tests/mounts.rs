//! Ecosystems as containers have them: on a bind mount, a tmpfs or an overlay, with roots that are mount points, have some inside,
//! come from an image's layer or are links. A rollback works on all of them, can be undone, and survives being killed.

use crate::harness::{Dice, World, apart, not_shown};
use crate::kill::{Due, KILL, sweep};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// How an ecosystem is mounted; none where it cannot be.
type Lay = fn(World) -> Option<World>;

/// Rolls back, undoes, and is killed at some moments, each time in an ecosystem that is laid out anew.
fn holds(name: &str, what: &str, lay: Lay) {
    apart(&format!("mounts::{name}"), what, || {
        let Some(world) = lay(World::new()) else { return not_shown(what, "this cannot be mounted here") };
        let due = Due::full(world);
        let done = due.world.run("eco-restore").arg("latest-good").exits(0);
        let strategy = done.last("restore")["strategy"].clone();
        let at_once = strategy == "exchange" || strategy == "pointer";
        println!("{what}: {strategy}");
        assert!(due.recovers(&"rolled back", &[0], 1..2));
        due.undone(&"undone", &due.old);
        due.undone(&"undone again", &due.new);
        drop(due);
        let due = || {
            let mut due = Due::full(lay(World::new()).expect("it was laid out before"));
            due.at_once = at_once;
            due
        };
        sweep(what, KILL, 8, due, (&["latest-good"], 0), |due, at| {
            let new = due.recovers(at, &[0], 0..2);
            if new {
                due.undone(at, &due.old);
            }
            new
        });
    });
}

/// The service, with this mounted at a folder of the ecosystem before it is there.
fn with(world: World, at: &str, program: &str, words: &[&str]) -> Option<World> {
    world.mount(program, words, &world.path(at)).then(|| world.with_service())
}

/// A folder beside the ecosystem, for what is mounted in it.
fn volume(world: &World, name: &str) -> String {
    let folder = world.folder().join("volumes").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder.into_os_string().into_string().unwrap()
}

/// An overlay's words: what was there before is below, and changes go beside it.
fn overlay(world: &World) -> [String; 3] {
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| volume(world, name));
    ["-toverlay".into(), format!("-olowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off"), "eco-test".into()]
}

#[test]
fn an_ecosystem_on_a_bind_mount_is_rolled_back() {
    holds("an_ecosystem_on_a_bind_mount_is_rolled_back", "an ecosystem on a bind mount", |world| {
        let volume = volume(&world, "volume");
        with(world, "", "mount", &["--bind", &volume])
    });
}

#[test]
fn an_ecosystem_on_tmpfs_is_rolled_back() {
    holds("an_ecosystem_on_tmpfs_is_rolled_back", "an ecosystem on tmpfs", |world| with(world, "", "mount", &["-ttmpfs", "eco-test"]));
}

#[test]
fn an_ecosystem_in_the_upper_layer_of_an_overlay_is_rolled_back() {
    let name = "an_ecosystem_in_the_upper_layer_of_an_overlay_is_rolled_back";
    holds(name, "an ecosystem in an overlay's upper layer", |world| {
        let words = overlay(&world);
        with(world, "", "mount", &words.each_ref().map(String::as_str))
    });
}

#[test]
fn a_root_that_is_mounted_from_the_same_filesystem_is_rolled_back() {
    holds("a_root_that_is_mounted_from_the_same_filesystem_is_rolled_back", "a root that is a bind mount", |world| {
        let volume = volume(&world, "volume");
        with(world, "data", "mount", &["--bind", &volume])
    });
}

#[test]
fn a_root_that_is_a_tmpfs_is_rolled_back() {
    holds("a_root_that_is_a_tmpfs_is_rolled_back", "a root that is a tmpfs", |world| with(world, "data", "mount", &["-ttmpfs", "eco-test"]));
}

#[test]
fn a_root_that_is_a_filesystem_on_a_device_is_rolled_back() {
    holds("a_root_that_is_a_filesystem_on_a_device_is_rolled_back", "a root that is a filesystem on a device", |world| {
        let image = format!("{}/image", volume(&world, "device"));
        world.shell(&format!("PATH=$PATH:/usr/sbin:/sbin; truncate -s 64M {image}; mkfs.ext4 -q {image} || :"));
        with(world, "data", "mount", &["-oloop", &image])
    });
}

#[test]
fn roots_inside_a_mount_are_rolled_back() {
    holds("roots_inside_a_mount_are_rolled_back", "roots inside a mount", |world| with(world, "modules", "mount", &["-ttmpfs", "eco-test"]));
}

#[test]
fn a_root_with_a_mount_inside_is_rolled_back() {
    let name = "a_root_with_a_mount_inside_is_rolled_back";
    holds(name, "a root with a mount inside", |world| with(world, "data/recommend", "mount", &["-ttmpfs", "eco-test"]));
}

#[test]
fn a_root_with_a_preserved_mount_inside_is_rolled_back_around_it() {
    let name = "a_root_with_a_preserved_mount_inside_is_rolled_back_around_it";
    holds(name, "a root with a preserved mount inside", |world| with(world, "data/metrics", "mount", &["-ttmpfs", "eco-test"]));
}

#[test]
fn roots_that_come_from_a_lower_layer_are_rolled_back() {
    holds("roots_that_come_from_a_lower_layer_are_rolled_back", "roots in an overlay's lower layer", |world| {
        let (words, world) = (overlay(&world), world.with_service());
        world.kill();
        world.shell("rm run/*; cp -a . ../volumes/lower; rm -r ./*");
        world.mount("mount", &words, &world.root()).then(|| world.start())?;
        Some(world)
    });
}

#[test]
fn an_ecosystem_on_a_filesystem_that_cannot_exchange_is_rolled_back() {
    let name = "an_ecosystem_on_a_filesystem_that_cannot_exchange_is_rolled_back";
    holds(name, "a filesystem that cannot exchange", |world| {
        // Elsewhere, because its process lives where the volume is. A link's count that is a second old is no count.
        let there = world.mount("mount", &["-ttmpfs", "eco-test"], Path::new("/mnt"));
        there.then(|| with(world, "", "bindfs", &["-ononempty,attr_timeout=0", "/mnt"])).flatten()
    });
}

/// The service on a filesystem of 2 MiB, of which it fills more than half.
fn cramped(world: World) -> Option<World> {
    let world = with(world, "", "mount", &["-ttmpfs", "-osize=2m", "eco-test"])?;
    let mut dice = Dice::new(7);
    world.write("data/large", (0..1200 << 10).map(|_| dice.roll(256) as u8).collect::<Vec<u8>>());
    Some(world)
}

#[test]
fn an_ecosystem_without_room_for_a_second_tree_is_rolled_back_in_place() {
    let name = "an_ecosystem_without_room_for_a_second_tree_is_rolled_back_in_place";
    holds(name, "an ecosystem without room for a second tree", cramped);
}

#[test]
fn what_is_written_before_the_stop_is_rolled_back_in_place_too() {
    let name = "mounts::what_is_written_before_the_stop_is_rolled_back_in_place_too";
    apart(name, "writes before a rollback in place", || {
        let Some(world) = cramped(World::new()) else { return not_shown("writes before a rollback in place", "no tmpfs can be mounted here") };
        let due = Due::full(world);
        let stop = due.world.read("bin/stop");
        let late = "echo late >>data/empty; rm data/sub/deep/file; rmdir data/sub/deep; echo x >data/later; chmod 600 data/recommend";
        due.world.program("bin/stop", &format!("{}\n{late}\n", stop.trim_end()));
        let done = due.world.run("eco-restore").arg("latest-good").exits(0);
        assert_eq!(done.last("restore")["strategy"], "in-place");
        assert!(done.step("look-again")["note"].as_str().unwrap().contains("more paths differ"), "{done}");
        due.new.iter().zip(&due.roots()).for_each(|(new, now)| new.same_as(now));
        assert!(done.step("safety")["note"].as_str().unwrap().contains("only what differed"), "{done}");
    });
}

#[test]
fn a_root_that_is_a_link_to_a_generation_is_rolled_back() {
    holds("a_root_that_is_a_link_to_a_generation_is_rolled_back", "a root that is a link to a generation", |world| {
        fs::create_dir_all(world.path("releases/7/data")).unwrap();
        symlink("releases/7/data", world.path("data")).unwrap();
        Some(world.with_service())
    });
}

#[test]
fn a_root_that_is_a_link_to_another_filesystem_is_rolled_back() {
    holds("a_root_that_is_a_link_to_another_filesystem_is_rolled_back", "a root that is a link to another filesystem", |world| {
        let volume = volume(&world, "volume");
        world.mount("mount", &["-ttmpfs", "eco-test"], Path::new(&volume)).then_some(())?;
        fs::create_dir(format!("{volume}/data")).unwrap();
        symlink("../volumes/volume/data", world.path("data")).unwrap();
        Some(world.with_service())
    });
}

#[test]
fn a_link_to_a_generation_on_a_filesystem_that_cannot_exchange_is_rolled_back() {
    let name = "a_link_to_a_generation_on_a_filesystem_that_cannot_exchange_is_rolled_back";
    holds(name, "a link on a filesystem that cannot exchange", |world| {
        let there = world.mount("mount", &["-ttmpfs", "eco-test"], Path::new("/mnt"))
            && world.mount("bindfs", &["-ononempty,attr_timeout=0", "/mnt"], &world.root());
        there.then(|| {
            fs::create_dir_all(world.path("releases/7/data")).unwrap();
            symlink("releases/7/data", world.path("data")).unwrap();
            world.with_service()
        })
    });
}

#[test]
fn a_link_to_a_generation_of_a_lower_layer_is_refused_for_what_it_preserves() {
    let (name, what) = ("mounts::a_link_to_a_generation_of_a_lower_layer_is_refused_for_what_it_preserves", "a link to a lower layer");
    apart(name, what, || {
        let world = World::new();
        fs::create_dir_all(world.path("releases/7/data")).unwrap();
        symlink("releases/7/data", world.path("data")).unwrap();
        let (words, world) = (overlay(&world), world.with_service());
        world.kill();
        world.shell("rm run/*; cp -a . ../volumes/lower; rm -r ./*");
        if !world.mount("mount", &words, &world.root()) {
            return not_shown(what, "this cannot be mounted here");
        }
        world.start();
        world.good();
        world.write("data/orders", "garbage\n");
        world.run("eco-restore").arg("latest-good").exits(4).says("what is preserved would be left behind");
        assert_eq!(fs::read_dir(world.path("releases/7")).unwrap().count(), 1);
    });
}
