//! A service that is a unit of systemd: its processes are those in its control group, which is a real one here; systemctl is
//! a stand-in, because tests do not start services of the machine that they run on.

use crate::harness::{Ran, World, not_shown};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Says about the unit what `run/group` shows; stops only its main process, as a unit with KillMode=process.
const SYSTEMCTL: &str = r#"#!/bin/sh
group=$(cat run/group)
case $1 in
show)
    [ "$5" = shop.service ] || { printf 'LoadState=not-found\nActiveState=inactive\nMainPID=0\nControlGroup=\n'; exit 0; }
    echo LoadState=loaded
    if [ -s run/main ] && [ -d "$group" ]; then
        printf 'ActiveState=active\nMainPID=%s\nControlGroup=/%s\n' "$(cat run/main)" "${group##*/}"
    else
        printf 'ActiveState=inactive\nMainPID=0\nControlGroup=\n'
    fi ;;
start)
    mkdir -p "$group/inner" && setsid bin/service >/dev/null 2>&1 </dev/null &
    while [ ! -s run/main ]; do sleep 0.01; done ;;
stop) kill "$(cat run/main)" ;;
esac
"#;

/// Two processes, the second in a session and a group of its own, with nobody above it.
const SERVICE: &str = "#!/bin/sh\ngroup=$(cat run/group)\necho $$ >\"$group/cgroup.procs\"\n\
    sh -c 'echo $$ >\"$1/inner/cgroup.procs\"; exec setsid -f sleep 1000' sh \"$group\"\necho $$ >run/new && mv run/new run/main\nexec sleep 1000\n";

struct Unit {
    world: World,
    group: PathBuf,
}

impl Drop for Unit {
    fn drop(&mut self) {
        for group in [self.group.join("inner"), self.group.clone()] {
            for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap(), rustix::process::Signal::KILL);
            }
            for _ in 0..100 {
                if fs::remove_dir(&group).is_ok() || !group.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Unit {
    fn new(what: &str) -> Option<Unit> {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
        let mount = mounts.iter().map(Path::new).find(|mount| mount.join("cgroup.procs").exists());
        let world = World::service();
        let name = format!("{}.slice", world.folder().file_name().unwrap().to_str().unwrap());
        let Some(group) = mount.map(|mount| mount.join(name)).filter(|group| fs::create_dir(group).is_ok()) else {
            not_shown(what, "no control group can be made here");
            return None;
        };
        world.shell("kill $(cat run/shop.pid)");
        world.program("bin/systemctl", SYSTEMCTL).program("bin/service", SERVICE).write("run/group", format!("{}\n", group.display()));
        let toml = world.read("eco.toml");
        let toml = toml.replace("start = [\"bin/start\"]\nstop = [\"bin/stop\"]\npidfile = \"run/shop.pid\"\n", "unit = \"shop.service\"\n");
        world.write("eco.toml", toml.replace("grace = \"2s\"", "grace = \"300ms\""));
        Some(Unit { world, group })
    }

    fn run(&self, program: &str, words: &[&str]) -> Ran {
        self.world.run(program).args(words).env("PATH", format!("{}:/usr/bin:/bin", self.world.path("bin").display())).ran()
    }

    fn pids(&self) -> Vec<String> {
        let all = ["cgroup.procs", "inner/cgroup.procs"].map(|name| fs::read_to_string(self.group.join(name)).unwrap_or_default());
        all.concat().lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_unit_is_stopped_when_its_control_group_is_empty() {
    let Some(unit) = Unit::new("a stop that is proven by a control group") else { return };
    unit.run("eco-ctl", &["status"]).exits(1);
    let started = unit.run("eco-ctl", &["start"]).exits(0).only();
    assert_eq!(started["pid"].to_string(), unit.world.read("run/main").trim());
    assert_eq!(unit.pids().len(), 2, "one of them with a session of its own");

    let stopped = unit.run("eco-ctl", &["stop"]).exits(0).only();
    assert_eq!(stopped["note"], "it did not end within 300ms, so it got TERM", "the one that systemctl left behind");
    assert!(unit.pids().is_empty());
    unit.run("eco-ctl", &["stop"]).exits(0);
    unit.run("eco-ctl", &["status"]).exits(1);
}

#[test]
fn a_service_that_is_a_unit_is_rolled_back() {
    let Some(unit) = Unit::new("a rollback of a unit") else { return };
    unit.run("eco-ctl", &["start"]).exits(0);
    unit.world.good();
    unit.world.spoil();
    let before = unit.pids();
    fs::remove_file(unit.world.path("bin/start")).unwrap();
    // A start that finds the old main process noted would return at once.
    let stop = SYSTEMCTL.replace("stop) kill \"$(cat run/main)\" ;;", "stop) kill \"$(cat run/main)\"; rm run/main ;;");
    unit.world.program("bin/systemctl", &stop);
    let done = unit.run("eco-restore", &["latest-good"]).exits(0);
    assert_eq!((&done.step("stop")["ok"], &done.step("process")["ok"]), (&true.into(), &true.into()), "{done}");
    assert!(unit.pids().len() == 2 && unit.pids().iter().all(|pid| !before.contains(pid)));
    assert_eq!(unit.world.read("config/state"), "well\n");
}

#[test]
fn a_unit_that_systemd_does_not_know_is_not_called_stopped() {
    let world = World::service();
    let with = |control: &str| {
        world.config(&format!("[control]\n{control}"));
        world.run("eco-ctl").arg("status").env("PATH", format!("{}:/usr/bin:/bin", world.path("bin").display()))
    };
    world.program("bin/systemctl", SYSTEMCTL).write("run/group", "");
    let seen = with("unit = \"shop.servce\"\n").exits(3).only();
    assert!(seen["note"].as_str().unwrap().contains("systemd has no unit shop.servce"), "{seen}");
    world.program("bin/systemctl", "#!/bin/sh\necho no bus >&2\nexit 1\n");
    let seen = with("unit = \"shop.service\"\n").exits(3).only();
    assert!(seen["note"].as_str().unwrap().contains("systemctl ended with 1"), "{seen}");
    let whole = "#!/bin/sh\nprintf 'LoadState=loaded\\nActiveState=active\\nMainPID=1\\nControlGroup=/\\n'\n";
    world.program("bin/systemctl", whole);
    let seen = with("unit = \"init.scope\"\n").exits(3).only();
    assert!(seen["note"].as_str().unwrap().contains("is no group of its own"), "the whole system is nobody's service: {seen}");

    with("unit = \"shop.service\"\npidfile = \"run/shop.pid\"\n").exits(2).says("leave pidfile and process out");
    with("unit = \"-H evil\"\n").exits(2).says("is no unit's name");
    world.config("[control]\nunit = \"shop.service\"\n");
    let shown = world.run("eco-health").arg("--check-config").exits(0);
    assert!(shown.stdout.contains("  stop       systemctl (from PATH) \"stop\" \"--\" \"shop.service\"\n"), "{shown}");
    assert!(shown.stdout.contains("  unit       shop.service: the processes in its control group\n"), "{shown}");
}
