//! Archives that other programs wrote, and those of the procedures that came before these tools: each is verified, rehearsed, listed,
//! compared, and restored to the very tree that it was made of.

use crate::harness::{Tree, World};
use crate::reference_readers::not_tested;
use std::fs;
use std::path::{Path, PathBuf};

/// A tree that every format can hold, with times in whole seconds, which is all that most of them know.
fn world() -> World {
    let world = World::new();
    let deep = format!("data/{}/{}", "folder-with-a-rather-long-name".repeat(3), "deeper".repeat(8));
    world.write("config/c", "gamma").write("data/a", "alpha").write("data/empty", "").write("data/ünïcode, and spaces", "u");
    world.write("data/zeros", vec![0; 70_000]).write(format!("{deep}/{}", "n".repeat(60)), "long").write("data/sub/last", "x");
    world.program("data/run-me", "#!/bin/sh\n");
    world.shell(
        "ln data/a data/sub/also-a; ln data/a data/0-first-by-name; ln -s ../a data/sub/link; mkdir -m 2750 data/nothing-in-it; mkfifo data/pipe",
    );
    world.shell("find config data -exec touch -h -d '2025-12-15 03:00:07' {} +");
    world
}

/// Made by this shell line, which is run in the ecosystem's root; `$OUT` is the archive.
fn made(world: &World, name: &str, line: &str) -> PathBuf {
    let archive = world.folder().join(name);
    world.shell(&format!("OUT='{}'\n{line}", archive.display()));
    archive
}

fn python(format: &str, mode: &str) -> String {
    format!(
        "python3 -c 'import sys, tarfile\nwith tarfile.open(sys.argv[1], \"{mode}\", format=tarfile.{format}_FORMAT) as to:\n  to.add(\"data\"); to.add(\"config\")' $OUT"
    )
}

fn is_there(program: &str) -> bool {
    Path::new("/usr/bin").join(program).exists()
}

/// Everything that can be done with an archive, each with the outcome that its kind allows.
#[track_caller]
fn works(world: &World, archive: &Path) {
    let was = world.tree("").only("data").names().len() + world.tree("").only("config").names().len();
    let seen = world.run("eco-verify").arg(archive).exits(0).only();
    assert_eq!((&seen["ok"], &seen["depth"], &seen["damage"]), (&true.into(), &"stream".into(), &serde_json::json!([])), "{seen:#}");
    let told = world.run("eco-verify").arg("--human").arg(archive).exits(0).stdout;
    assert!(told.contains("stream") && told.contains("no digests in it: it reads to its end"), "{told}");

    let stage = world.folder().join("stage");
    fs::create_dir(&stage).unwrap();
    let rehearsed = world.run("eco-verify").args(["--depth", "restored", "--scratch"]).args([&stage, archive]).exits(0).only();
    assert_eq!((&rehearsed["ok"], &rehearsed["depth"]), (&true.into(), &"restored".into()), "{rehearsed:#}");
    assert!(rehearsed["warnings"][0].as_str().unwrap().starts_with("no digests in it"), "{rehearsed:#}");
    // It goes only while it is empty.
    fs::remove_dir(&stage).unwrap();

    let listed = world.run("eco-ls").arg(archive).arg("--files").exits(0);
    let snapshot = listed.last("snapshot");
    assert_eq!((&snapshot["legacy"], &snapshot["good"], &snapshot["verified"]), (&true.into(), &false.into(), &false.into()));
    let names: Vec<String> = listed.all("entry").iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect();
    assert!(names.len() >= was && names.iter().any(|name| name.ends_with("data/ünïcode, and spaces")), "{was} {names:#?}");

    let out = world.folder().join("out");
    world.run("eco-restore").arg(archive).arg("--target").arg(&out).exits(0);
    for root in ["config", "data"] {
        world.tree("").only(root).same_as(&Tree::of(&out).only(root));
    }
    fs::remove_dir_all(out).unwrap();
    world.run("eco-verify").args(["--live"]).arg(archive).exits(0);
}

#[test]
fn what_gnu_tar_writes_is_read_in_each_of_its_formats() {
    let world = world();
    for format in ["gnu", "oldgnu", "posix", "ustar"] {
        works(&world, &made(&world, &format!("{format}.tar.gz"), &format!("tar --format={format} -czf $OUT data config")));
    }
    works(&world, &made(&world, "plain.tar", "tar -cf $OUT data config"));
    works(&world, &made(&world, "sparse.tgz", "tar --sparse -czf $OUT data config"));
    works(&world, &made(&world, "dots.tar.gz", "tar -czf $OUT ./data ./config"));
    // The oldest of all has no long names.
    let small = World::new();
    small.write("config/c", "x").write("data/a", "x").write("data/ünïcode, and spaces", "u");
    small.shell("find config data -exec touch -d '2025-12-15 03:00:07' {} +");
    works(&small, &made(&small, "v7.tar", "tar --format=v7 -cf $OUT data config"));
}

#[test]
fn what_bsdtar_writes_is_read() {
    if !is_there("bsdtar") {
        return not_tested("archives of bsdtar", "it is not installed");
    }
    let world = world();
    for format in ["pax", "rpax", "ustar", "gnutar"] {
        // Its ustar has no place for names that are not ASCII, and writes them as they are.
        works(&world, &made(&world, &format!("bsd-{format}.tar.gz"), &format!("LC_ALL=C.UTF-8 bsdtar --format={format} -czf $OUT data config")));
    }
}

#[test]
fn what_python_writes_is_read() {
    if !is_there("python3") {
        return not_tested("archives of Python's tarfile", "it is not installed");
    }
    let world = world();
    for (format, mode, name) in [("PAX", "w:gz", "pax.tar.gz"), ("GNU", "w:gz", "gnu.tgz"), ("USTAR", "w", "ustar.tar")] {
        works(&world, &made(&world, name, &python(format, mode)));
    }
}

#[test]
fn the_three_layouts_of_old_are_verified_listed_and_restored() {
    for line in [
        "mkdir -p $OUT.d/backups/e && cp -a data config $OUT.d/backups/e/ && tar -czPf $OUT $OUT.d/backups/e",
        "mkdir -p $OUT.d/b && cp -a data $OUT.d/b/data-20251216 && cp -a config $OUT.d/b/config-20251216 && tar -czf $OUT -C $OUT.d b",
        "mkdir -p $OUT.d/ecosystem-weekly-20251215 && cp -a data config $OUT.d/ecosystem-weekly-20251215 && tar -czf $OUT -C $OUT.d ecosystem-weekly-20251215",
    ] {
        let world = world();
        let archive = made(&world, "old.tar.gz", line);
        let listed = world.run("eco-ls").arg(&archive).arg("--files=**/last").exits(0).last("entry");
        assert!(listed["path"].as_str().unwrap().ends_with("/sub/last"), "{listed}");
        if line.contains("20251216") {
            // Its roots have other names than the folders that they were made of, so nothing else is the same path.
            let out = world.folder().join("out");
            world.run("eco-verify").args(["--depth", "restored"]).arg(&archive).exits(0);
            world.run("eco-restore").arg(&archive).arg("--target").arg(&out).exits(0);
            world.tree("").only("data").same_as(&Tree::of(&out).only("data"));
        } else {
            works(&world, &archive);
        }
    }
}

#[test]
fn symbolic_links_with_several_names_come_back_as_several_links() {
    let world = world();
    // Which is all that is lost.
    world.shell("ln -P data/sub/link data/another-link; touch -d '2025-12-15 03:00:07' data");
    let archive = made(&world, "links.tar.gz", "tar -czf $OUT data config");
    assert!(world.shell(&format!("tar -tvf '{}'", archive.display())).contains(" link to data/"));
    world.run("eco-verify").args(["--depth", "restored"]).arg(&archive).exits(0);
    world.run("eco-verify").arg("--live").arg(&archive).exits(0);
    let out = world.folder().join("links");
    world.run("eco-restore").arg(&archive).arg("--target").arg(&out).exits(0);
    for name in ["data/sub/link", "data/another-link"] {
        assert_eq!(fs::read_link(out.join(name)).unwrap(), Path::new("../a"));
    }
}

#[test]
fn whichever_name_of_a_file_has_the_content_the_live_tree_gets_it_back() {
    let world = world();
    let was = world.tree("data");
    // The last name first, so that the content stands under the last of the file's names, and folders behind what is in them.
    let archive = made(&world, "order.tar.gz", "find config data | LC_ALL=C sort -r | tar --no-recursion -czf $OUT -T -");
    works(&world, &archive);
    world.write("data/a", "spoiled").write("data/new", "new");
    fs::remove_file(world.path("data/0-first-by-name")).unwrap();
    world.run("eco-restore").arg(&archive).exits(0);
    was.same_as(&world.tree("data"));
    assert_eq!(world.shell("stat -c %h data/a data/sub/also-a data/0-first-by-name"), "3\n3\n3\n");
}

#[test]
fn a_whole_root_with_our_own_folder_in_it_is_rehearsed_without_it() {
    let world = world();
    world.run("eco-snap").exits(0);
    world.write(".eco/memory", "ours").write("notes", "beside the roots");
    let archive = made(&world, "all.tar.gz", "tar -czf $OUT .");
    let found = world.run("eco-verify").args(["--depth", "restored"]).arg(&archive).exits(0).only();
    assert_eq!((&found["depth"], &found["ok"]), (&"restored".into(), &true.into()), "{found:#}");
    let out = world.folder().join("out");
    world.run("eco-restore").arg(&archive).arg("--target").arg(&out).exits(0);
    assert_eq!(fs::read_dir(out).unwrap().count(), 2, "only the roots");
}
