//! Every way to break the shop, seen by its probes and judged by the policy that is built in: how bad it is said to be, who may act,
//! and on what. The clock is fixed, a minute a sample; the shop, its faults and the probes are real. What is decided is carried out,
//! where that is to be done without a person, and must mend the shop.

use crate::harness::{World, not_shown};
use serde_json::{Value, json};
use std::path::Path;

/// A day that is over on every machine: no file in the tree is older, and by their times most come from the future.
const DAY: &str = "2024-05-01";

/// A shop that has been well, and its stream.
struct Story {
    world: World,
    stream: String,
}

impl Story {
    /// A good snapshot of 09:54, and healthy samples until 09:57.
    fn new() -> Story {
        let world = World::shop();
        world.shop_does("order 30");
        let mut story = Story { world, stream: String::new() };
        story.at("09:54");
        story.stream += &story.world.pipe(["eco-health", "eco-snap -"]).exits([0, 0]).stdout;
        story.samples("09:55", "09:57");
        story
    }

    fn at(&self, clock: &str) {
        self.world.at(&format!("{DAY}T{clock}:00Z"));
    }

    /// The line of a program comes into the stream.
    #[track_caller]
    fn says(&mut self, line: &str) -> &mut Story {
        let mut words = line.split_whitespace();
        let ran = self.world.run(words.next().unwrap()).args(words).ran();
        assert!([0, 1].contains(&ran.code), "{ran}");
        self.stream += &ran.stdout;
        self
    }

    /// A sample a minute, from the first clock to the last.
    fn samples(&mut self, first: &str, last: &str) -> &mut Story {
        for minute in minutes(first)..=minutes(last) {
            self.at(&format!("{:02}:{:02}", minute / 60, minute % 60));
            self.says("eco-health --quiet");
        }
        self
    }

    /// Breaks the shop at 09:58.
    fn breaks(&mut self, how: &[&str]) -> &mut Story {
        self.at("09:58");
        how.iter().for_each(|how| self.world.break_it(how));
        self
    }

    /// Somebody says at 09:58 that this was changed.
    fn announces(&mut self, unit: &str) -> &mut Story {
        self.at("09:58");
        self.says(&format!("eco-ctl change {unit} --no-inbox"));
        // It was said then, not now.
        let time = |line: &str| serde_json::from_str::<Value>(line).unwrap()["time"].as_str().unwrap().to_owned();
        let mut lines: Vec<&str> = self.stream.lines().collect();
        lines.sort_by_key(|line| time(line));
        self.stream = lines.iter().map(|line| format!("{line}\n")).collect();
        self
    }

    /// A hundred customers come, which is as many as health tells of, whatever becomes of their orders; so many at once.
    fn orders(&mut self, at_once: u32) -> &mut Story {
        let program = self.world.path("bin/shop");
        self.world.run(program.to_str().unwrap()).args(["order", "100", "--parallel", &at_once.to_string()]).ran();
        self
    }

    /// A metric of the last sample.
    fn last(&self, metric: &str) -> f64 {
        serde_json::from_str::<Value>(self.stream.lines().last().unwrap()).unwrap()[metric].as_f64().unwrap()
    }

    fn decided(&self) -> Vec<Value> {
        let ran = self.world.run("eco-decide").arg("--only").stdin(&self.stream).exits(0);
        ran.all("decision")
    }

    /// These are the decisions, each as time, severity, action and scope.
    #[track_caller]
    fn shows(&self, what: &str, expected: &[&str]) -> &Story {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let brief = |decision: &Value| {
            let [time, rest @ ..] = ["time", "severity", "action", "scope"].map(|field| word(&decision[field]));
            format!("{} {}", &time[11..16], rest.join(" "))
        };
        let decided: Vec<String> = self.decided().iter().map(brief).collect();
        let last = self.stream.lines().last().unwrap_or_default();
        println!("{what:<60} {}", decided.join("; "));
        assert_eq!(decided, expected, "{what}; the last sample was {last}");
        self
    }

    /// What is to be done without a person is done, and customers are served again.
    #[track_caller]
    fn mends(&self) {
        let decision = self.decided().pop().unwrap();
        assert_eq!(decision["action"], "rollback", "{decision}");
        let done = self.world.run("eco-restore").stdin(format!("{}{decision}\n", self.stream)).exits(0).last("restore");
        assert_eq!((&done["phase"], &done["scope"]), (&json!("completed"), &decision["scope"]));
        self.world.shop_does("order 100");
        self.world.run(self.world.path("bin/selftest").to_str().unwrap()).exits(0);
    }
}

fn minutes(clock: &str) -> u32 {
    clock[..2].parse::<u32>().unwrap() * 60 + clock[3..].parse::<u32>().unwrap()
}

// -- critical ------------------------------------------------------------------------------------------------------------

const DOWN: &[&str] = &["10:02 critical rollback full"];

#[test]
fn a_shop_that_is_gone_goes_back_as_a_whole() {
    let mut story = Story::new();
    story.breaks(&["kill"]).samples("10:00", "10:04").shows("kill", DOWN).mends();
}

#[test]
fn a_shop_that_hangs_goes_back_as_a_whole() {
    let mut story = Story::new();
    story.breaks(&["hang"]).samples("10:00", "10:02").shows("hang", DOWN).mends();
}

#[test]
fn a_shop_that_cannot_be_reached_goes_back_as_a_whole() {
    let mut story = Story::new();
    // The port is a setting, and somebody has said so: full all the same, and the suspect is named as the cheaper way.
    story.announces("config:port").breaks(&["port"]).samples("10:00", "10:02").shows("port, announced", DOWN);
    assert_eq!(story.decided()[0]["alternative"], "config:port");
    story.mends();
}

#[test]
fn damaged_data_go_back_at_once() {
    let mut story = Story::new();
    story.breaks(&["data"]).samples("10:00", "10:02").shows("data", &["10:00 critical rollback full"]).mends();
}

#[test]
fn when_all_modules_fail_everything_goes_back() {
    let mut story = Story::new();
    let all = ["module catalog", "module pricing", "module checkout", "module recommend"];
    story.breaks(&all).samples("10:00", "10:02").shows("all modules", DOWN).mends();
}

#[test]
fn a_breach_goes_back_if_the_source_is_trusted() {
    let mut story = Story::new();
    story.at("10:00");
    story.says("eco-ctl signal security_breach --source audit --since 2024-05-01T09:56:00Z --no-inbox");
    story.samples("10:00", "10:01").shows("signal security_breach of audit", &["10:00 critical rollback full"]);

    let mut story = Story::new();
    story.at("10:00");
    story.says("eco-ctl signal security_breach --no-inbox");
    story.samples("10:00", "10:01").shows("signal security_breach of somebody", &["10:00 critical propose full"]);
}

// -- high ----------------------------------------------------------------------------------------------------------------

#[test]
fn a_configuration_that_cannot_be_read_goes_back_if_the_change_is_known() {
    let mut story = Story::new();
    story.breaks(&["config"]).samples("10:00", "10:04").shows("config, nobody knows", &["10:02 high propose full"]);

    let mut story = Story::new();
    story.announces("config:shop").breaks(&["config"]).samples("10:00", "10:04");
    story.shows("config, announced", &["10:02 high rollback config:shop"]).mends();

    // Nobody has said anything; the tree tells.
    let mut story = Story::new();
    story.breaks(&["config"]);
    story.world.shell(&format!("touch -d {DAY}T09:58:00Z config config/shop.json"));
    story.at("09:59");
    story.says("eco-verify --live --changes").samples("10:00", "10:04");
    story.shows("config, found by eco-verify --live --changes", &["10:02 high rollback config"]);
    let suspect = &story.decided()[0]["suspects"][0];
    assert_eq!((&suspect["target"], &suspect["before_onset_s"]), (&json!("config"), &json!(120.0)));
    story.mends();
}

#[test]
fn more_than_a_quarter_of_errors_is_high() {
    let mut story = Story::new();
    story.breaks(&["errors 40"]).orders(10).samples("10:00", "10:04").shows("errors 40", &["10:02 high propose full"]);
    story.announces("config:shop").shows("errors 40, announced", &["10:02 high rollback config:shop"]).mends();
}

#[test]
fn an_automation_an_optimization_and_an_experiment_are_switched_off() {
    for (how, unit) in [
        ("automation loyalty", "automation:loyalty"),
        ("optimization early-free-shipping", "optimization:early-free-shipping"),
        ("experiment checkout-page", "experiment:checkout-page"),
    ] {
        let mut story = Story::new();
        story.announces(unit).breaks(&[how]).orders(10).samples("10:00", "10:02");
        story.shows(&format!("{how}, announced"), &[&format!("10:02 high rollback {unit}")]);
        assert_eq!(story.decided()[0]["snapshot"], Value::Null, "it is switched off, no files go back");
        story.mends();
    }
}

#[test]
fn a_critical_module_is_high_and_so_are_three_of_any_kind() {
    let mut story = Story::new();
    story.breaks(&["module checkout"]).samples("10:00", "10:04").shows("module checkout (critical)", &["10:02 high propose module:checkout"]);
    story.announces("module:checkout").shows("module checkout, announced", &["10:02 high rollback module:checkout"]).mends();

    let mut story = Story::new();
    story.breaks(&["module catalog", "module pricing", "module recommend"]).samples("10:00", "10:04");
    story.shows("three modules", &["10:02 high propose full"]);
}

#[test]
fn three_falls_within_an_hour_are_high() {
    let mut story = Story::new();
    for (down, up) in [("10:00", "10:01"), ("10:02", "10:03"), ("10:04", "10:05")] {
        story.world.break_it("kill");
        story.samples(down, down);
        story.world.shop_does("start");
        story.samples(up, up);
    }
    story.shows("kill and start, three times", &["10:04 high propose full"]);
}

#[test]
fn a_busy_processor_is_high_and_the_optimization_before_it_is_reverted() {
    let mut story = Story::new();
    story.breaks(&["cpu"]);
    for minute in 0..=10 {
        let before = story.stream.len();
        // Others work on this machine, too: what is to be seen is a minute in which it is the shop's.
        for _ in 0..20 {
            story.stream.truncate(before);
            story.samples(&format!("10:{minute:02}"), &format!("10:{minute:02}"));
            if story.last("cpu_usage") > 0.8 {
                break;
            }
        }
        if story.last("cpu_usage") <= 0.8 {
            return not_shown("a shop that takes more than 80 % of the processors", "others leave it less than that here");
        }
    }
    story.shows("cpu", &["10:10 high propose full"]);
    story.announces("optimization:more-suggestions");
    story.shows("cpu, an optimization was announced", &["10:10 high rollback optimization:more-suggestions"]);
}

// -- slow: high or medium, by how much and how long ----------------------------------------------------------------------

#[test]
fn how_bad_a_slow_shop_is_depends_on_how_slow_it_is() {
    let mut story = Story::new();
    // What is normal is learned from half an hour. An answer within 10 ms always is, so let this shop be a little slower than that.
    story.breaks(&["slow 20"]).orders(1);
    story.stream.clear();
    story.samples("09:58", "10:29");
    let learned = story.stream.clone();
    let normal = story.last("response_ms");
    const SLOW: [&[&str]; 3] =
        [&["10:40 medium investigate -"], &["10:40 medium investigate -", "10:45 high propose full"], &["10:35 high propose full"]];
    for (wanted, milliseconds) in [60, 150, 350].into_iter().enumerate() {
        story.stream.clone_from(&learned);
        story.world.break_it(&format!("slow {milliseconds}"));
        // So many that they wait for the fault, and not for each other.
        story.orders(milliseconds / 20).samples("10:30", "10:46");
        // A busy machine adds something of its own; what counts is how slow it was.
        let ratio = story.last("response_ms") / normal;
        let band = [2.0, 5.0, 10.0].iter().rposition(|least| ratio > *least).unwrap_or_else(|| panic!("only {ratio:.1} times normal"));
        story.shows(&format!("slow {milliseconds}: {ratio:.1} times normal"), SLOW[band]);
        if band != wanted {
            not_shown(&format!("{milliseconds} ms more for each request"), &format!("this machine was busy, and it became {ratio:.1} times normal"));
        }
    }
}

// -- medium and low ------------------------------------------------------------------------------------------------------

#[test]
fn fewer_errors_are_medium_and_fewer_still_are_low() {
    let mut story = Story::new();
    story.breaks(&["errors 15"]).orders(10).samples("10:00", "10:06").shows("errors 15", &["10:05 medium investigate -"]);
    story.announces("config:shop").shows("errors 15, announced", &["10:05 medium rollback config:shop"]).mends();

    let mut story = Story::new();
    story.announces("config:shop").breaks(&["errors 7"]).orders(10).samples("10:00", "10:11");
    story.shows("errors 7, announced", &["10:10 low watch -"]);
}

#[test]
fn one_module_goes_back_by_itself_if_somebody_agrees() {
    let mut story = Story::new();
    story.breaks(&["module recommend"]).samples("10:00", "10:06").shows("module recommend", &["10:05 medium propose module:recommend"]);
    let stream = format!("{}{}\n", story.stream, story.decided()[0]);
    let done = story.world.run("eco-restore").arg("--approve").stdin(stream).exits(0).last("restore");
    assert_eq!((&done["phase"], &done["scope"], &done["by"]), (&json!("completed"), &json!("module:recommend"), &json!("operator")));
    story.world.run("eco-health").exits(0);
}

#[test]
fn degraded_modules_are_low_and_three_of_them_medium() {
    let mut story = Story::new();
    story.breaks(&["degraded recommend"]).samples("10:00", "10:11").shows("degraded recommend", &["10:10 low watch -"]);
    let mut story = Story::new();
    story.breaks(&["degraded recommend", "degraded pricing", "degraded catalog"]).samples("10:00", "10:11");
    story.shows("three degraded modules", &["10:10 medium investigate -"]);
}

#[test]
fn what_people_and_scanners_say_is_medium() {
    let mut story = Story::new();
    story.at("10:00");
    story.says("eco-ctl signal automation_errors --source probe --target automation:restock --no-inbox").samples("10:00", "10:01");
    story.shows("signal automation_errors about restock", &["10:00 medium propose automation:restock"]);

    let mut story = Story::new();
    for clock in ["10:00", "10:01", "10:02"] {
        story.at(clock);
        story.says("eco-ctl signal user_complaint --no-inbox").samples(clock, clock);
    }
    story.shows("three complaints", &["10:00 low watch -", "10:02 medium investigate -"]);
}

/// The table of examples/shop/README.md names every way, so that nobody has to look for it in the code.
#[test]
fn the_table_of_the_shop_has_every_way_to_break_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
    let code = std::fs::read_to_string(folder.join("lib/shop/breakage.py")).unwrap();
    let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let kinds = code.split_once("KINDS = {").unwrap().1;
    let names: Vec<&str> = kinds.split("\": (").filter_map(|part| part.rsplit('"').next()).filter(|name| !name.contains([')', '\n'])).collect();
    assert!(names.len() > 12, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("| `{name}")), "the table lacks {name}");
    }
}
