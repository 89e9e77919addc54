//! eco-rollback(7) as somebody lives it who was woken: the shop is broken for real, the lines of the page are typed as they stand,
//! and then the shop must be well again, what should be kept must be there, and the undo of the page must lead back. What was typed
//! and seen stays behind in transcripts.

use crate::harness::World;
use crate::harness::blocks::{self, Block, Reader};
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../man/eco-rollback.7");

/// A shop that was well, with an older and a newer good snapshot, and the part of the page that is to help it.
struct Night {
    world: World,
    blocks: Vec<Block>,
    name: String,
}

impl Night {
    fn new(section: &str) -> Night {
        let blocks: Vec<Block> = blocks::of_page(PAGE).unwrap().into_iter().filter(|block| block.heading == section).collect();
        assert!(!blocks.is_empty(), "the page has no section {section}");
        let world = World::shop();
        // An undo waits so long for a health that cannot come.
        world.write("eco.toml", world.read("eco.toml").replace("health  = \"20s\"", "health  = \"8s\""));
        world.shop_does("order 30");
        let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(4);
        let health = world.run("eco-health").exits(0).stdout;
        let taken = world.run("eco-snap").args(["--kind", "weekly", "--good", "-"]).env("ECO_NOW", old.to_string()).stdin(health).exits(0);
        assert_eq!(taken.last("snapshot")["good"], true);
        world.shop_does("order 5");
        world.snapshot();
        Night { world, blocks, name: section.to_lowercase().replace(' ', "-") }
    }

    fn reader(&self) -> Reader<'_> {
        let mut reader = Reader::new(&self.world, &[]);
        let (root, tmp) = (self.world.root(), self.world.folder());
        reader.word("/srv/shop", root.to_str().unwrap()).word("/var/tmp", tmp.to_str().unwrap());
        reader.at_a_terminal().word("--every 60s --for 1h", "--every 200ms --count 3").word("--every 2s", "--every 200ms");
        reader.remark(&format!("eco-rollback(7), {}", self.name));
        reader
    }

    /// Breaks the shop, and customers come and see it.
    fn breaks(&self, reader: &mut Reader, how: &[&str]) {
        for how in how {
            reader.remark(&format!("meanwhile: bin/shop break {how}"));
            self.world.break_it(how);
        }
        self.customers();
    }

    /// A hundred orders are tried, whatever becomes of them: as many as health tells of.
    fn customers(&self) {
        self.world.run(self.world.path("bin/shop").to_str().unwrap()).args(["order", "100", "--parallel", "10"]).ran();
    }

    /// Types what stands under these items of the section.
    #[track_caller]
    fn types(&self, reader: &mut Reader, items: &[&str]) {
        for item in items {
            let blocks: Vec<&Block> = self.blocks.iter().filter(|block| block.item == *item).collect();
            assert!(!blocks.is_empty(), "{} has nothing under {item}", self.name);
            reader.remark(item);
            blocks.iter().for_each(|block| reader.run("eco-rollback.7", block));
        }
    }

    /// The page says, in this section, what eco-health then says.
    #[track_caller]
    fn shows(&self, signs: &[&str]) {
        let ran = self.world.run("eco-health").arg("--human").ran();
        let section = PAGE.split(&format!("\n.Ss {}\n", self.blocks[0].heading)).nth(1).unwrap().split("\n.Ss ").next().unwrap();
        // A narrow column breaks lines.
        let seen = format!("{}{}", ran.stdout, ran.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        for sign in signs {
            assert!(seen.contains(sign), "no sign of '{sign}'\n{ran}");
            assert!(section.contains(sign), "the section does not say '{sign}'");
        }
    }

    /// Healthy, serving customers, and doing its job.
    #[track_caller]
    fn is_well(&self, reader: &Reader) {
        self.customers();
        let health = self.world.run("eco-health").ran();
        assert!(health.code == 0, "{}\n{health}", reader.transcript);
        assert!(health.last("health")["response_ms"].as_f64().unwrap() < 200.0, "it is slow");
        self.world.run(self.world.path("bin/selftest").to_str().unwrap()).exits(0);
    }

    #[track_caller]
    fn is_ill(&self) -> bool {
        self.customers();
        let health = self.world.run("eco-health").ran();
        health.code == 1 || health.last("health")["response_ms"].as_f64().unwrap() > 200.0
    }

    fn history(&self) -> String {
        self.world.read("data/metrics/requests.jsonl")
    }

    /// What is in the files of the settings.
    fn settings(&self) -> Vec<(PathBuf, String)> {
        let names = self.world.tree("config").names().into_iter().map(|name| Path::new("config").join(name));
        names.filter(|name| self.world.path(name).is_file()).map(|name| (name.clone(), self.world.read(&name))).collect()
    }

    /// How the log of the night names what was carried out.
    fn completed(&self) -> Vec<String> {
        let log = self.world.read("incident.ndjson");
        let records = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let done = records.filter(|record| record["type"] == "restore" && record["phase"] == "completed");
        done.map(|record| record["scope"].as_str().unwrap().to_owned()).collect()
    }
}

/// The common course of a night: signs, the way back, well again, the undo leads to what was, and back once more.
#[track_caller]
fn course(section: &str, how: &[&str], signs: &[&str], back: &[&str], scope: &str, others: &[&str]) -> Night {
    let night = Night::new(section);
    let mut reader = night.reader();
    night.breaks(&mut reader, how);
    night.shows(signs);
    let (history, ill) = (night.history(), night.settings());
    night.types(&mut reader, back);
    night.types(&mut reader, &["Check"]);
    night.is_well(&reader);
    assert!(night.history().starts_with(&history), "the history goes on where it was");
    night.types(&mut reader, &["Undo"]);
    assert!(night.is_ill(), "{section}: the undo does not lead back\n{}", reader.transcript);
    assert_eq!(ill, night.settings());
    night.types(&mut reader, back);
    night.types(&mut reader, others);
    night.types(&mut reader, &["Check"]);
    night.is_well(&reader);
    assert_eq!(night.completed()[0], scope);
    reader.keep(&night.name);
    night
}

#[test]
fn a_service_that_is_down_is_started_and_nothing_goes_back() {
    for how in ["kill", "hang"] {
        let night = Night::new("The service is down");
        let mut reader = night.reader();
        night.breaks(&mut reader, &[how]);
        night.shows(&["not healthy: it is not up"]);
        let orders = night.world.read("data/checkout/receipts.jsonl");
        night.types(&mut reader, &["Go back", "Check"]);
        night.is_well(&reader);
        assert!(night.completed().is_empty() && night.world.read("data/checkout/receipts.jsonl").starts_with(&orders));
        reader.keep(&format!("{}-{how}", night.name));
    }
}

#[test]
fn a_service_that_is_down_and_cannot_be_started_goes_back() {
    course("The service is down", &["port", "kill"], &["not healthy: it is not up"], &["Go back"], "full", &[]);
}

#[test]
fn damaged_data_go_back() {
    let signs = &["data not consistent", "integrity is false"];
    course("The data is damaged", &["data"], signs, &["Look", "Go back"], "full", &[]);
}

#[test]
fn a_slow_service_gets_its_settings_back() {
    course("The service is slow", &["slow 350"], &[], &["Look", "Go back"], "config", &[]);
}

#[test]
fn one_module_goes_back_and_to_a_certain_version() {
    let signs = &["module recommend failed"];
    let back = &["Look", "Go back"];
    let night = course("One module is broken", &["module recommend"], signs, back, "module:recommend", &["A certain version"]);
    assert!(night.completed().iter().all(|scope| scope == "module:recommend"));
}

#[test]
fn a_configuration_goes_back_and_one_parameter_alone() {
    let night = course("The configuration is wrong", &["config"], &["integration is false"], &["Look", "Go back"], "config", &["One parameter only"]);
    assert!(!night.world.read("config/limits.json").contains("\"orders\": 1}"));
}

#[test]
fn a_harmful_automation_optimization_and_experiment_are_switched_off() {
    for (section, how, unit) in [
        ("Harm by an automation", "automation loyalty", "automation:loyalty"),
        ("Harm by an optimization", "optimization early-free-shipping", "optimization:early-free-shipping"),
        ("Harm by an experiment", "experiment checkout-page", "experiment:checkout-page"),
    ] {
        let night = course(section, &[how], &[], &["Go back"], unit, &[]);
        let json = |file: &str| serde_json::from_str::<serde_json::Value>(&night.world.read(file)).unwrap();
        let off = match unit.split_once(':').unwrap() {
            ("optimization", id) => json("config/optimizations.json")[id]["applied"] == false,
            (kind, id) => json("data/state/switches.json")[kind].as_array().unwrap().contains(&id.into()),
        };
        assert!(off, "{unit} is not off");
        assert!(night.completed().iter().all(|scope| scope == unit));
    }
}

#[test]
fn after_a_break_in_there_is_evidence_and_the_files_are_from_before() {
    let night = Night::new("Somebody broke in");
    let (world, mut reader) = (&night.world, night.reader());
    let code = world.read("modules/checkout/module.py");
    let before = world.tree("modules");
    reader.remark("meanwhile: a module gets a back door, the settings another address, and there is a new file");
    world.write("modules/checkout/module.py", format!("# the door\n{code}")).write("data/state/shell.php", "<?php system($_GET[0]);\n");
    let history = night.history();
    night.types(&mut reader, &["Keep the evidence"]);
    assert!(world.pid().is_none(), "it is stopped");
    night.types(&mut reader, &["Go back"]);
    before.same_as(&world.tree("modules"));
    assert!(world.read("data/state/shell.php") == "-" && world.pid().is_none(), "its files are from before, and it is stopped still");
    night.types(&mut reader, &["Before you start it", "Check"]);
    night.is_well(&reader);
    assert!(night.history().starts_with(&history));
    // The evidence has what the intruder did, and no clean-up takes it.
    world.run("eco-restore").args(["latest:manual", "--target", "../evidence"]).exits(0);
    let evidence = world.folder().join("evidence");
    assert!(fs::read_to_string(evidence.join("modules/checkout/module.py")).unwrap().starts_with("# the door"));
    assert!(evidence.join("data/state/shell.php").exists());
    let list = world.run("eco-ls").exits(0).stdout;
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 700)).to_string();
    let kept = world.run("eco-prune").stdin(list).env("ECO_NOW", later).exits(0);
    assert!(kept.all("retention").iter().any(|said| said["kind"] == "manual" && said["keep"] == true && said["reasons"].to_string().contains("pin")));
    world.run("eco-ctl").arg("stop").exits(0);
    night.types(&mut reader, &["Undo"]);
    assert!(world.read("modules/checkout/module.py").starts_with("# the door") && world.pid().is_none());
    reader.keep(&night.name);
}

/// Who reads no more than the first section is helped as well, whatever it is.
#[track_caller]
fn only_one_thing(how: &[&str]) {
    let night = Night::new("If you read only one thing");
    let mut reader = night.reader();
    night.breaks(&mut reader, how);
    assert!(night.is_ill());
    let [hold, best, look, all, undo] = night.blocks.as_slice() else { panic!("the section has other lines than these") };
    for block in [hold, best, look] {
        reader.run("eco-rollback.7", block);
    }
    if night.is_ill() {
        reader.run("eco-rollback.7", all);
    }
    night.is_well(&reader);
    reader.run("eco-rollback.7", undo);
    assert!(night.is_ill());
    reader.keep(&format!("only-one-thing-{}", how.concat().replace(' ', "-")));
}

macro_rules! only_one_thing {
    ($($test:ident: $how:expr,)*) => {
        $(#[test]
        fn $test() {
            only_one_thing(&$how);
        })*
    };
}

only_one_thing! {
    the_first_section_alone_mends_a_shop_that_is_down: ["port", "kill"],
    the_first_section_alone_mends_damaged_data: ["data"],
    the_first_section_alone_mends_a_slow_shop: ["slow 350"],
    the_first_section_alone_mends_one_module: ["module recommend"],
    the_first_section_alone_mends_the_configuration: ["config"],
    the_first_section_alone_mends_an_automation: ["automation loyalty"],
    the_first_section_alone_mends_an_optimization: ["optimization early-free-shipping"],
    the_first_section_alone_mends_an_experiment: ["experiment checkout-page"],
}

#[test]
fn what_comes_after_a_rollback_works() {
    let names = ["Older snapshots", "What was written since", "Within the next hour", "Within the next day", "Within the next week", "CAVEATS"];
    let night = Night::new(names[0]);
    let mut reader = night.reader();
    night.breaks(&mut reader, &["errors 40"]);
    for block in blocks::of_page(PAGE).unwrap().iter().filter(|block| names.contains(&block.heading.as_str())) {
        reader.run("eco-rollback.7", block);
    }
    night.is_well(&reader);
    assert!(night.world.read("incident.md").contains("Timeline"));
    reader.keep("afterwards");
}

#[test]
fn no_line_of_the_page_is_left_out() {
    let told = include_str!("situations.rs");
    for block in blocks::of_page(PAGE).unwrap() {
        assert!(told.contains(&format!("\"{}\"", block.heading)), "{} is not tried", block.heading);
        let item = block.item.as_str();
        let tried = item.is_empty() || told.contains(&format!("\"{item}\""));
        assert!(tried, "{}: {item} is not tried", block.heading);
    }
}
