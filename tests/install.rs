//! Installing leaves what it says, and uninstalling leaves nothing.

use crate::harness::{Run, Tree, World, not_shown, program};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A world with the programs in `programs`: each a few bytes that call the real one.
fn world() -> World {
    let world = World::service();
    let folder = world.folder().join("programs");
    fs::create_dir(&folder).unwrap();
    let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
    for name in manifest.lines().filter_map(|line| line.strip_prefix("name = \"eco-")?.strip_suffix('"')).filter(|name| *name != "tools") {
        let path = folder.join(format!("eco-{name}"));
        fs::write(&path, format!("#!/bin/sh\nexec {} \"$@\"\n", program(&format!("eco-{name}")).display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world
}

/// What is there. Times of folders say that something was made and removed again, which is no trace of it.
fn tree(path: &Path) -> Tree {
    Tree::of(path).but_for_times_of_folders()
}

fn install<'w>(world: &'w World, words: &str) -> Run<'w> {
    let run = world.run(here("scripts/install").to_str().unwrap()).env("CARGO_TARGET_DIR", "/no/such/folder");
    run.args(["--bin", world.folder().join("programs").to_str().unwrap()]).args(words.split_whitespace())
}

#[test]
fn root_installs_and_uninstalls_and_the_tree_is_as_before() {
    let world = world();
    let prefix = world.folder().join("prefix");
    let words = format!("--prefix {} --systemd --ecosystem eco.toml", prefix.display());
    let before = tree(&world.folder());
    install(&world, &format!("{words} --dry-run")).exits(0);
    tree(&world.folder()).same_as(&before);
    let done = install(&world, &words).exits(0);
    assert!(done.stdout.contains("systemctl enable --now eco-{daily,weekly,monthly,rehearse}@shop.timer\n"), "{done}");
    let installed = tree(&world.folder());
    // Once more changes nothing.
    let done = install(&world, &format!("--prefix {}", prefix.display())).exits(0);
    assert!(done.stdout.contains("install: 0 files written"), "{done}");
    tree(&world.folder()).same_as(&installed);

    // The pages are found, the programs run, the scripts use the programs beside them.
    let found =
        Command::new("man").args(["-w", "eco-restore", "eco.toml", "eco"]).env("PATH", format!("{}/bin:/usr/bin:/bin", prefix.display())).output();
    match found {
        Ok(found) => {
            let found = String::from_utf8_lossy(&found.stdout).into_owned();
            assert_eq!(found.lines().filter(|line| line.starts_with(prefix.to_str().unwrap())).count(), 3, "{found}");
        }
        Err(_) => not_shown("man finds the installed pages", "there is no man"),
    }
    world.run(prefix.join("bin/eco-health").to_str().unwrap()).exits(0);
    let unit = fs::read_to_string(prefix.join("lib/systemd/system/eco-weekly@.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap().replace("%i", "shop");
    let configs = unit.lines().find_map(|line| line.strip_prefix("Environment=ECO_CONFIGS=")).unwrap();
    let mut words = start.split(' ');
    let run = world.run(words.next().unwrap()).args(words).env("ECO_CONFIGS", configs);
    run.env("STATE_DIRECTORY", world.folder().join("state")).env("LOGS_DIRECTORY", world.folder().join("state")).exits(0);
    world.run("eco-ls").arg("latest:weekly").exits(0);
    // It finds the policy that was installed, and the link of this ecosystem.
    let watch = world.run(prefix.join("lib/eco/monitor-closely").to_str().unwrap()).args(["--for", "300ms", "--every", "100ms", "shop"]);
    watch.env("ECO_CONFIGS", configs).env("LOGS_DIRECTORY", world.folder().join("state")).exits(0).says("it stayed healthy");
    fs::remove_dir_all(world.folder().join("state")).unwrap();
    fs::remove_dir_all(world.store()).unwrap();
    let auto = fs::read_to_string(prefix.join("lib/systemd/system/eco-auto-rollback.service")).unwrap();
    assert!(auto.contains(&format!("\nExecStart={}/lib/eco/auto-rollback\n", prefix.display())), "{auto}");
    assert!(auto.contains(&format!("\nEnvironment=ECO_CONFIG={}\n", world.path("eco.toml").display())), "{auto}");

    install(&world, &format!("--uninstall --prefix {}", prefix.display())).exits(0);
    tree(&world.folder()).same_as(&before);
    let done = install(&world, &format!("--uninstall --prefix {}", prefix.display())).exits(0);
    assert!(done.stdout.contains("nothing was installed here"), "{done}");
}

#[test]
fn an_ordinary_user_installs_below_home() {
    if !rustix::process::geteuid().is_root() {
        return not_shown("another user installs below a home of their own", "that takes root");
    }
    let world = world();
    let (home, user) = (world.folder().join("home"), 12_345);
    fs::create_dir_all(home.join(".config/eco")).unwrap();
    for folder in [home.clone(), home.join(".config"), home.join(".config/eco")] {
        std::os::unix::fs::chown(&folder, Some(user), Some(user)).unwrap();
    }
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    // The project is where others may not look, perhaps.
    let run = |words: &str| install(&world, words).user(user).env("HOME", &home);
    let seen = world.run("/bin/test").args(["-r", here("scripts/install").to_str().unwrap()]).user(user).ran().code == 0;
    let runs = world.run(program("eco-health").to_str().unwrap()).arg("--version").user(user).ran().code == 0;
    if !seen || !runs {
        return not_shown("another user installs below a home of their own", "the project's folder is not for others");
    }
    let before = tree(&home);
    let done = run("--cron --ecosystem eco.toml").exits(0);
    assert!(done.stdout.contains("crontab -"), "{done}");
    let crontab = fs::read_to_string(home.join(".local/share/eco/crontab")).unwrap();
    let job = crontab.lines().find(|line| line.starts_with('7')).unwrap();
    assert_eq!(
        job.split_whitespace().skip(5).collect::<Vec<_>>().join(" "),
        format!("{}/.local/lib/eco/scheduled --once-a day shop daily verify prune", home.display())
    );
    assert!(!crontab.contains("MAILTO=root"), "{crontab}");

    // Units instead: those for the user's own manager, which may not take capabilities away.
    run("--systemd").exits(0);
    assert!(!home.join(".local/share/eco/crontab").exists());
    let units = home.join(".local/share/systemd/user");
    let unit = fs::read_to_string(units.join("eco-daily@.service")).unwrap();
    assert!(unit.contains(&format!("ExecStart={}/.local/lib/eco/scheduled %i", home.display())) && unit.contains("=%E/eco\n"), "{unit}");
    assert!(!unit.lines().any(|line| line.starts_with("Protect") || line.starts_with("Restrict")), "{unit}");
    assert_eq!(fs::read_link(home.join(".config/eco/shop.toml")).unwrap(), world.path("eco.toml"));
    run("--uninstall").exits(0);
    tree(&home).same_as(&before);
}

#[test]
fn what_somebody_has_changed_stays_and_is_named() {
    let world = world();
    let prefix = world.folder().join("prefix");
    let words = format!("--prefix {}", prefix.display());
    // Somebody else's program is there already, and a link.
    fs::create_dir_all(prefix.join("bin")).unwrap();
    fs::write(prefix.join("bin/eco-ls"), "mine").unwrap();
    fs::write(prefix.join("real"), "mine too").unwrap();
    symlink("../real", prefix.join("bin/eco-ctl")).unwrap();
    let before = tree(&prefix);
    let done = install(&world, &format!("{words} --systemd")).exits(1);
    for name in ["eco-ls", "eco-ctl"] {
        let path = prefix.join("bin").join(name);
        assert!(done.stdout.contains(&format!("install: {0} was changed by somebody and stays: the new one is {0}.new\n", path.display())), "{done}");
    }
    assert_eq!(fs::read_to_string(prefix.join("bin/eco-ls")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(prefix.join("real")).unwrap(), "mine too");
    install(&world, &format!("--uninstall {words}")).exits(0);
    tree(&prefix).same_as(&before);

    // A unit that was changed after it was installed.
    install(&world, &format!("{words} --systemd")).exits(1);
    let timer = prefix.join("lib/systemd/system/eco-daily@.timer");
    fs::write(&timer, "[Timer]\nOnCalendar=hourly\n").unwrap();
    install(&world, &words).exits(1);
    assert_eq!(fs::read_to_string(&timer).unwrap(), "[Timer]\nOnCalendar=hourly\n");
    assert!(fs::read_to_string(timer.with_extension("timer.new")).unwrap().contains("Persistent=yes"));
    let done = install(&world, &format!("--uninstall {words}")).exits(1);
    assert!(done.stdout.contains(&format!("{} was changed by somebody and stays\n", timer.display())), "{done}");
    assert!(timer.exists() && !timer.with_extension("timer.new").exists());
    fs::remove_dir_all(prefix.join("lib")).unwrap();
    tree(&prefix).same_as(&before);
}

#[test]
fn an_installation_that_was_cut_off_is_taken_back_or_finished() {
    let world = world();
    let prefix = world.folder().join("prefix");
    let words = format!("--prefix {} --systemd", prefix.display());
    let before = tree(&world.folder());
    let manifest = prefix.join("share/eco/manifest");
    let mut cut_off = 0;
    // What it was killed with stays there, and goes with this.
    let scratch = tempfile::tempdir().unwrap();
    for wait in [0, 10, 50, 100, 200] {
        let mut child = install(&world, &words).env("TMPDIR", scratch.path()).command().stdout(Stdio::null()).spawn().unwrap();
        while !manifest.exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(wait));
        cut_off += u8::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        world.kill();
        if wait == 50 {
            install(&world, &words).exits(0);
            install(&world, &words).exits(0);
        }
        install(&world, &format!("--uninstall {words}")).exits(0);
        tree(&world.folder()).same_as(&before);
    }
    assert!(cut_off > 0, "none of them was cut off");
}

#[test]
fn packagers_get_system_paths_below_their_folder() {
    let world = world();
    let package = world.folder().join("package");
    install(&world, &format!("--prefix /usr --destdir {} --systemd --ecosystem eco.toml", package.display())).exits(0);
    let unit = fs::read_to_string(package.join("usr/lib/systemd/system/eco-daily@.service")).unwrap();
    let shipped = fs::read_to_string(here("examples/systemd/eco-daily@.service")).unwrap();
    assert_eq!(unit, shipped, "the units are written for /usr");
    assert!(package.join("etc/eco/shop.toml").is_symlink() && package.join("usr/share/man/man7").is_dir());
    let manifest = fs::read_to_string(package.join("usr/share/eco/manifest")).unwrap();
    assert!(manifest.contains(" /usr/bin/eco-snap\n") && !manifest.contains(package.to_str().unwrap()), "{manifest}");
    install(&world, &format!("--uninstall --prefix /usr --destdir {}", package.display())).exits(0);
    assert_eq!(tree(&package).names(), [PathBuf::new()], "only the folder of the packager");
}

#[test]
fn wrong_words_install_nothing() {
    let world = world();
    let before = tree(&world.folder());
    let prefix = format!("--prefix {}/prefix", world.folder().display());
    install(&world, &format!("{prefix} --sytemd")).exits(2).says("'--sytemd' is no flag");
    install(&world, &format!("{prefix} --systemd --cron")).exits(2).says("either --systemd or --cron");
    install(&world, &format!("{prefix} --bin /usr/share")).exits(2).says("/usr/share has no eco-health");
    install(&world, &format!("{prefix} --ecosystem none.toml")).exits(2).says("there is no ");
    install(&world, "--bin").exits(2).says("--bin needs a value");
    install(&world, "").args(["--prefix", "/a b"]).exits(2).says("without blanks");
    world.write("wrong.toml", "[ecosytem]\n");
    install(&world, &format!("{prefix} --ecosystem wrong.toml")).exits(2).says("did you mean");
    fs::remove_file(world.path("wrong.toml")).unwrap();
    tree(&world.folder()).same_as(&before);
}
