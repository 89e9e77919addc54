use super::*;
use rustix::process::{Pid, Signal};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// A root folder, and the processes that a test started in it.
struct World {
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

impl World {
    fn new() -> World {
        World { folder: tempfile::tempdir().unwrap(), children: Vec::new() }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.root().join(name), text).unwrap();
        fs::set_permissions(self.root().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts a program in a group of its own, as a daemon has it.
    fn spawn(&mut self, argv: &[&str]) -> u32 {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).current_dir(self.root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // A thread that starts a program right now may hold a copy of the descriptor that wrote this one.
        let started = (0..100).find_map(|_| command.spawn().inspect_err(|_| thread::sleep(Duration::from_millis(5))).ok());
        self.children.push(started.expect("it can be started"));
        self.children.last().unwrap().id()
    }

    /// A service that writes its pid file when it is ready to hear TERM in its own way.
    fn daemon(&mut self, on_term: &str) -> u32 {
        self.file("daemon.sh", &format!("#!/bin/sh\ntrap '{on_term}' TERM\necho $$ > pid.new; mv pid.new svc.pid\nwhile :; do sleep 0.02; done\n"));
        let pid = self.spawn(&["./daemon.sh"]);
        self.until(|world| world.root().join("svc.pid").exists());
        pid
    }

    fn until(&self, reached: impl Fn(&World) -> bool) {
        let began = Instant::now();
        while !reached(self) {
            assert!(began.elapsed() < Duration::from_secs(10), "it never came to pass");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn service(&self, control: Control) -> Service {
        Service::new(self.root(), &control, &Units::default())
    }
}

fn argv(words: &[&str]) -> Argv {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn with_pidfile(stop: &[&str], grace: &str) -> Control {
    Control { stop: argv(stop), pidfile: Some("svc.pid".into()), grace: Some(grace.parse().unwrap()), ..Control::default() }
}

fn is_there(pid: u32) -> bool {
    process::look(pid).is_some_and(|stat| !stat.ended)
}

#[test]
fn a_command_runs_in_the_root_with_our_words_in_its_environment() {
    let world = World::new();
    world.file("say", "#!/bin/sh\n[ \"$1\" = 'a b;c' ] && [ \"$ECO_PHASE\" = stop ] && pwd > where\n");
    let ran = world.service(Control::default()).run(&argv(&["./say", "a b;c"]), &[("ECO_PHASE", "stop")], GRACE);
    assert!(ran.ok(), "{:?}", ran.why());
    assert_eq!(fs::read_to_string(world.root().join("where")).unwrap().trim(), fs::canonicalize(world.root()).unwrap().to_str().unwrap());
}

#[test]
fn a_bare_name_is_never_taken_from_the_root() {
    let world = World::new();
    world.file("planted-by-the-service", "#!/bin/sh\ntouch harm\n");
    let ran = world.service(Control::default()).run(&argv(&["planted-by-the-service"]), &[], GRACE);
    assert!(ran.why().unwrap().contains("write ./planted-by-the-service"), "{:?}", ran.why());
    assert!(!world.root().join("harm").exists());
}

#[test]
fn why_a_command_is_not_ok_is_said_in_half_a_sentence() {
    let world = World::new();
    let service = world.service(Control::default());
    let why = |words: &[&str]| service.run(&argv(words), &[], GRACE).why().unwrap();
    assert_eq!(why(&["sh", "-c", "exit 3"]), "sh ended with 3");
    assert_eq!(why(&["sh", "-c", "kill -9 $$"]), "sh was ended by signal 9");
    assert_eq!(why(&["bin/none"]), "cannot run bin/none: no such program");
    assert!(why(&[]).contains("the command is empty"));
}

#[test]
fn a_command_that_hangs_is_ended_with_its_children() {
    let world = World::new();
    let began = Instant::now();
    world.file("hang", "#!/bin/sh\ntrap '' TERM\nsleep 60 & echo $! > child\nwait; sleep 60\n");
    let ran = world.service(Control::default()).ask(&argv(&["./hang"]), Duration::from_millis(300));
    assert_eq!(ran.ended, Ended::TimedOut(Duration::from_millis(300)));
    assert!(began.elapsed() < Duration::from_secs(2));
    let child: u32 = fs::read_to_string(world.root().join("child")).unwrap().trim().parse().unwrap();
    world.until(|_| !is_there(child));
}

#[test]
fn a_daemon_that_keeps_the_output_open_is_not_waited_for() {
    let world = World::new();
    let began = Instant::now();
    let ran = world.service(Control::default()).ask(&argv(&["sh", "-c", "sleep 5 & echo $! > child; echo started"]), GRACE);
    assert!(ran.ok() && began.elapsed() < Duration::from_secs(2));
    assert_eq!(ran.stdout, b"started\n");
    let child: i32 = fs::read_to_string(world.root().join("child")).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_pid_file_is_believed_only_while_its_process_is_the_one_that_wrote_it() {
    let mut world = World::new();
    let service = world.service(with_pidfile(&[], "1s"));
    let stopped = |service: &Service| match service.find() {
        State::Stopped(note) => note.unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    assert_eq!(stopped(&service), "", "no pid file: not running");

    let pid = world.daemon("exit 0");
    assert_eq!(service.find().pid(), Some(pid));

    let pidfile = fs::File::options().append(true).open(world.root().join("svc.pid")).unwrap();
    pidfile.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    assert!(stopped(&service).contains("must be another one"), "written an hour before the process began");

    pidfile.set_modified(SystemTime::now()).unwrap();
    rustix::process::kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    world.until(|_| !is_there(pid));
    assert!(stopped(&service).contains("which is gone"));
}

#[test]
fn a_pid_file_without_a_number_says_nothing() {
    let world = World::new();
    let service = world.service(with_pidfile(&[], "1s"));
    for text in ["", "\n", "0", "1", "-1", "shop", "99999999999999"] {
        world.file("svc.pid", text);
        assert!(matches!(service.find(), State::Unknown(why) if why.contains("holds no process id")), "{text:?}");
    }
}

#[test]
fn a_pid_file_of_another_user_chooses_nobody_elses_process() {
    let mut world = World::new();
    world.daemon("exit 0");
    let given = std::os::unix::fs::chown(world.root().join("svc.pid"), Some(12345), None);
    let state = world.service(with_pidfile(&[], "1s")).find();
    match given {
        Ok(()) => assert!(matches!(&state, State::Unknown(why) if why.contains("it is not believed")), "{state:?}"),
        // Only root can give a file away; then it is still ours, and believed.
        Err(_) => assert!(matches!(state, State::Running(_)), "{state:?}"),
    }
}

#[test]
fn a_process_is_recognised_by_its_whole_name_and_its_arguments() {
    let mut world = World::new();
    let mark = format!("{}/svc.conf", world.root().display());
    fs::write(&mark, "").unwrap();
    let pid = world.spawn(&["tail", "-f", &mark]);
    let find = |exe: &str, args: &[&str]| {
        let rule = ProcessMatch { exe: exe.into(), args: argv(args) };
        world.service(Control { process: Some(rule), ..Control::default() }).find().pid()
    };
    let pattern = format!("{}/*.conf", world.root().display());
    world.until(|_| find("tail", &[&pattern]).is_some());
    assert_eq!(find("tail", &["-f", &pattern]), Some(pid));
    assert_eq!(find("tai", &[&pattern]), None, "a part of the name");
    assert_eq!(find("tail", &[&pattern, "-n"]), None, "an argument that it has not");
    assert_eq!(find("tail", &["svc.conf"]), None, "a part of an argument");
    assert_eq!(find("/usr/local/other/tail", &[&pattern]), None, "another program of that name");
}

#[test]
fn neither_we_nor_what_we_run_under_is_ever_the_service() {
    let own = fs::read_link("/proc/self/exe").unwrap();
    let rule = ProcessMatch { exe: own.to_str().unwrap().into(), args: vec![] };
    assert!(process::matches(&rule, std::process::id()).unwrap());
    // Another run of these tests may be found, but nothing that we belong to.
    let State::Running(found) = process::by_rule(&rule) else { return };
    assert!(found.iter().all(|process| !process::our_line().contains(&process.pid)), "found itself");
}

#[test]
fn a_rule_that_would_match_anything_is_refused() {
    let check =
        |exe: &str, args: &[&str]| Control { process: Some(ProcessMatch { exe: exe.into(), args: argv(args) }), ..Control::default() }.check();
    assert!(check("", &["*"]).is_err());
    let own = fs::read_link("/proc/self/exe").unwrap();
    assert!(check(own.to_str().unwrap(), &["a[b"]).unwrap_err().contains("a[b"));
    assert!(check("python3", &["*shop.py*"]).is_ok());
}

#[test]
fn a_stop_is_proven_when_the_process_is_gone() {
    let mut world = World::new();
    let pid = world.daemon("exit 0");
    let stopped = world.service(with_pidfile(&["sh", "-c", "kill $(cat svc.pid)"], "5s")).stop(&[]);
    assert_eq!((stopped.proof, stopped.pid, stopped.note), (Proof::Proven, Some(pid), None));
    assert!(!is_there(pid) && stopped.command_ms <= stopped.took_ms && stopped.took_ms < 4000);
}

#[test]
fn a_service_that_ignores_term_is_killed_after_two_graces() {
    let mut world = World::new();
    let pid = world.daemon("");
    let stopped = world.service(with_pidfile(&["true"], "150ms")).stop(&[]);
    assert_eq!(stopped.proof, Proof::Proven);
    assert!(stopped.note.unwrap().contains("got KILL") && !is_there(pid));
    assert!(stopped.took_ms >= 300);
}

#[test]
fn a_service_without_a_stop_command_gets_term() {
    let mut world = World::new();
    world.daemon("echo bye > bye; exit 0");
    let stopped = world.service(with_pidfile(&[], "5s")).stop(&[]);
    assert_eq!((stopped.proof, stopped.command_ms), (Proof::Proven, 0));
    assert!(world.root().join("bye").exists(), "it could say goodbye");
}

#[test]
fn a_stopped_process_that_holds_its_breath_is_ended_too() {
    let mut world = World::new();
    let pid = world.daemon("exit 0");
    rustix::process::kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::STOP).unwrap();
    let stopped = world.service(with_pidfile(&[], "5s")).stop(&[]);
    assert_eq!(stopped.proof, Proof::Proven);
    assert_eq!(stopped.note.as_deref(), Some("ended with TERM"));
}

#[test]
fn its_group_is_ended_with_it_but_an_editor_in_a_shared_group_is_not() {
    let mut world = World::new();
    let pid = world.daemon("");
    let worker = with_parent(pid, &world);
    assert_eq!(world.service(with_pidfile(&["true"], "100ms")).stop(&[]).proof, Proof::Proven);
    assert!(!is_there(worker), "a worker in the service's own group");

    // One script started both: the group is not the service's alone.
    fs::remove_file(world.root().join("svc.pid")).unwrap();
    world.file("both", "#!/bin/sh\nsleep 30 & echo $! > editor\n./daemon.sh & wait\n");
    world.spawn(&["./both"]);
    world.until(|world| world.root().join("svc.pid").exists());
    let editor: u32 = fs::read_to_string(world.root().join("editor")).unwrap().trim().parse().unwrap();
    assert_eq!(world.service(with_pidfile(&["true"], "100ms")).stop(&[]).proof, Proof::Proven);
    assert!(is_there(editor));
}

/// A child of the daemon, in its group.
fn with_parent(parent: u32, world: &World) -> u32 {
    let found = || process::all().unwrap().into_iter().find(|stat| stat.parent == parent && !stat.ended).map(|stat| stat.process.pid);
    world.until(|_| found().is_some());
    found().unwrap_or(parent)
}

#[test]
fn without_a_way_to_look_a_stop_is_not_proven() {
    let world = World::new();
    let stop = |words: &[&str]| world.service(Control { stop: argv(words), ..Control::default() }).stop(&[]).proof;
    assert!(matches!(stop(&["true"]), Proof::NotProven(why) if why.contains("pidfile")));
    assert!(matches!(stop(&["false"]), Proof::Failed(why) if why.contains("false ended with 1")));
    assert!(matches!(stop(&[]), Proof::Failed(why) if why.contains("no stop command")));
}

#[test]
fn a_stop_command_that_fails_while_nothing_runs_is_worth_a_note() {
    let world = World::new();
    let stopped = world.service(with_pidfile(&["false"], "1s")).stop(&[]);
    assert_eq!(stopped.proof, Proof::Proven);
    assert_eq!(stopped.note.as_deref(), Some("it is stopped, although false ended with 1"));
}

#[test]
fn a_service_that_somebody_starts_again_is_not_stopped() {
    let mut world = World::new();
    world.daemon("exit 0");
    world.file(
        "stop",
        "#!/bin/sh\nkill $(cat svc.pid); rm svc.pid\nsetsid ./daemon.sh >/dev/null 2>&1 </dev/null &\nwhile [ ! -e svc.pid ]; do sleep 0.01; done\n",
    );
    let service = world.service(with_pidfile(&["./stop"], "5s"));
    let stopped = service.stop(&[]);
    assert!(matches!(&stopped.proof, Proof::Failed(why) if why.contains("something restarts it")), "{stopped:?}");
    let State::Running(again) = service.find() else { panic!("it ran again") };
    rustix::process::kill_process_group(again[0].number().unwrap(), Signal::KILL).unwrap();
}

#[test]
fn starting_twice_starts_once() {
    let world = World::new();
    world.file("daemon.sh", "#!/bin/sh\necho started >> starts; echo $$ > svc.pid\nexec sleep 30\n");
    world.file("start", "#!/bin/sh\nsetsid ./daemon.sh >/dev/null 2>&1 </dev/null &\nwhile [ ! -s svc.pid ]; do sleep 0.01; done\n");
    let service = world.service(Control { start: argv(&["./start"]), ..with_pidfile(&[], "2s") });
    let (first, second) = (service.start(&[]).unwrap(), service.start(&[]).unwrap());
    assert!(first.ok && second.ok && first.pid.is_some() && first.pid == second.pid);
    assert_eq!(second.note.as_deref(), Some("it was running already"));
    assert_eq!(fs::read_to_string(world.root().join("starts")).unwrap(), "started\n");
    assert_eq!(service.stop(&[]).proof, Proof::Proven);
    assert!(matches!(world.service(Control::default()).start(&[]), Err(Error::Usage(_))));
}

#[test]
fn a_units_id_stays_inside_one_argument() {
    let world = World::new();
    world.file("ctl", "#!/bin/sh\nprintf '%s|' \"$@\" > said\n");
    let commands = |word: &str| UnitCommands { disable: argv(&["./ctl", word, "--id={id}"]), ..UnitCommands::default() };
    let automation = UnitKind { every: commands("every"), one: [("nightly".to_owned(), commands("own"))].into() };
    let units = Units { automation, module: [("planner".to_owned(), UnitCommands::default())].into(), ..Units::default() };
    let service = Service::new(world.root(), &Control::default(), &units);
    let done = |unit: &str| {
        service.unit(UnitVerb::Disable, &unit.parse().unwrap(), &[]).map(|ran| (ran.ok(), fs::read_to_string(world.root().join("said")).unwrap()))
    };
    assert_eq!(done("automation:a b;rm -rf $HOME").unwrap(), (true, "every|--id=a b;rm -rf $HOME|".into()));
    assert_eq!(done("automation:nightly").unwrap(), (true, "own|--id=nightly|".into()));
    for (unit, why) in [
        ("module:planner", "[module.planner] has no 'disable' command"),
        ("module:plan", "has no module 'plan'; it has planner"),
        ("experiment:e", "[experiment] has no 'disable' command"),
        ("config:limits", "cannot disable config:limits"),
        ("full", "cannot disable full"),
    ] {
        let error = done(unit).unwrap_err();
        assert!(matches!(&error, Error::Usage(said) if said.contains(why)), "{error}");
    }
}

#[test]
fn whoever_holds_a_file_below_a_root_is_named() {
    let mut world = World::new();
    fs::create_dir_all(world.root().join("data/sub")).unwrap();
    let mut held = fs::File::create(world.root().join("data/sub/x.log")).unwrap();
    held.write_all(b"x").unwrap();
    let pid = world.spawn(&["tail", "-f", "data/sub/x.log"]);
    let service = world.service(Control::default());
    let holders = |root: &str| service.holders(&[world.root().join(root)]);
    world.until(|_| !holders("data").is_empty());
    let found = holders("data");
    assert!(found.iter().any(|holder| (holder.pid, holder.name.as_str()) == (pid, "tail") && holder.path.ends_with("data/sub/x.log")), "{found:?}");
    assert!(found.iter().all(|holder| holder.pid != std::process::id()), "what we hold ourselves is no news");
    assert!(holders("config").is_empty());
}

#[test]
fn a_process_is_held_by_more_than_its_number() {
    let mut world = World::new();
    let pid = world.spawn(&["sleep", "30"]);
    let process = process::look(pid).unwrap().process;
    let held = pidfd::Held::new(process).unwrap();
    assert!(held.is_alive());
    let began = Instant::now();
    pidfd::wait(std::slice::from_ref(&held), Duration::from_millis(30));
    assert!(held.is_alive() && began.elapsed() >= Duration::from_millis(5), "nothing has ended");
    held.signal(Signal::TERM);
    world.until(|_| !held.is_alive());
    let began = Instant::now();
    pidfd::wait(std::slice::from_ref(&held), Duration::from_secs(60));
    assert!(began.elapsed() < Duration::from_secs(30), "what has ended is not waited for");
    assert!(pidfd::Held::new(process).is_none(), "a zombie is not taken hold of");
}

#[test]
fn a_number_that_now_belongs_to_another_process_is_not_taken_for_it() {
    let own = process::look(std::process::id()).unwrap().process;
    assert!(pidfd::Held::new(own).is_some());
    assert!(pidfd::Held::new(process::other_time(own)).is_none());
}

#[test]
fn a_question_leaves_nothing_behind_and_keeps_little_of_a_long_answer() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::new(folder.path(), &Control::default(), &Units::default());
    let ask = |script: &str, limit| service.ask(&["sh".into(), "-c".into(), script.into()], Duration::from_millis(limit));
    let ran = ask("sleep 60 & echo $!", 5000);
    let left: u32 = String::from_utf8(ran.stdout.clone()).unwrap().trim().parse().unwrap();
    assert!(ran.ok(), "{ran:?}");
    let began = Instant::now();
    while is_there(left) {
        assert!(began.elapsed() < Duration::from_secs(10), "what it started still runs");
        thread::sleep(Duration::from_millis(5));
    }
    let ran = ask("head -c 50000000 /dev/zero", 30_000);
    assert_eq!((ran.ok(), ran.stdout.len()), (true, 1 << 20));
}

#[test]
fn of_a_long_output_the_end_is_kept_and_who_can_be_stopped_is() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::new(folder.path(), &Control::default(), &Units::default());
    let stop = AtomicBool::new(false);
    let listen = |script: &str| service.listen(&["sh".into(), "-c".into(), script.into()], Duration::from_secs(60), 5, &stop);
    let ran = listen("head -c 5000000 /dev/zero; printf 'the '; printf end >&2");
    assert_eq!((ran.ok(), ran.stdout.as_slice()), (true, b"e end".as_slice()));
    let began = Instant::now();
    let ran = thread::scope(|scope| {
        // This thread waits, so no signal wakes the one that runs the command.
        scope.spawn(|| {
            while !folder.path().join("runs").exists() {
                thread::sleep(Duration::from_millis(2));
            }
            stop.store(true, Ordering::Relaxed);
        });
        listen("echo word; : >runs; exec sleep 600")
    });
    assert!(matches!(ran.ended, Ended::TimedOut(_)) && began.elapsed() < Duration::from_secs(30), "{ran:?}");
    assert_eq!(ran.stdout, b"word\n");
}
