//! Blocks of documents and manual pages: read as a reader sees them, and run with the real programs. A block of a kind that is not
//! run, parsed or compared cannot be read, so it cannot be written.
//!
//! Comments right above a block, which a reader does not see, say what is done before it, how it ends, what must hold after it, and
//! what it is, where that cannot be told by looking at it. In a document they are `<!-- … -->`, in a page `.\" …`:
//!
//! - `before: COMMAND`, `after: COMMAND`: run, and must end with 0
//! - `ends 1 0; 0`: the exit codes of each command's pipe, `-` for any; all 0 without
//! - `shown by: COMMAND`: the block is what this prints
//! - `file NAME`: the block is a file, which is written for the commands that follow
//! - `eco.toml [SECTION]`, `policy [SECTION]`, `rollout`: the block is (a part of) such a file, and is accepted as one
//!
//! Without one of the last three a block is commands; one with prompts, `$ `, is commands and what a terminal shows of them. In what is
//! shown `...` stands for anything, and alone on a line for any lines; how many blanks there are does not matter.

use super::{World, program};
use eco::record::{Line, Record, to_json};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a block is, and so what becomes of it.
#[derive(Debug, Default, Clone, PartialEq)]
pub enum Kind {
    /// Commands, one after the other.
    #[default]
    Shell,
    /// Commands with their prompts, and what is seen of them at a terminal.
    Console,
    /// Records, one a line.
    Records,
    /// What this command prints.
    ShownBy(String),
    /// A file of this name.
    File(String),
    /// A file that this program accepts, or a section of one.
    Accepted { by: &'static str, section: String },
}

/// One block, with what the comments above it say.
#[derive(Debug, Default, Clone)]
pub struct Block {
    pub line: usize,
    /// The heading it stands under; of a page the subsection, where there is one.
    pub heading: String,
    /// Of a page: the item of the list in which it stands, since that heading.
    pub item: String,
    pub before: Vec<String>,
    pub ends: Option<String>,
    pub after: Vec<String>,
    pub kind: Kind,
    pub text: String,
}

impl Block {
    /// Takes in what a comment says; false if it is not known what it wants.
    fn told(&mut self, comment: &str) -> bool {
        let accepted = |by: &'static str, section: &str| Kind::Accepted { by, section: section.to_owned() };
        match comment.split_once(' ').unwrap_or((comment, "")) {
            ("before:", command) => self.before.push(command.to_owned()),
            ("after:", command) => self.after.push(command.to_owned()),
            ("ends", codes) => self.ends = Some(codes.to_owned()),
            ("shown", by) if by.starts_with("by: ") => self.kind = Kind::ShownBy(by["by: ".len()..].to_owned()),
            ("file", name) => self.kind = Kind::File(name.to_owned()),
            ("eco.toml", section) => self.kind = accepted("eco-health --check-config --config", section),
            ("policy", section) => self.kind = accepted("eco-decide --check", section),
            ("rollout", "") => self.kind = accepted("eco-rollout --plan", ""),
            _ => return false,
        }
        true
    }

    /// Whether a comment has said something.
    fn is_told(&self) -> bool {
        !self.before.is_empty() || self.ends.is_some() || !self.after.is_empty() || self.kind != Kind::Shell
    }

    fn ended(mut self, line: usize, heading: &str, text: String) -> Result<Block, String> {
        if text.trim().is_empty() {
            return Err(format!("line {line}: a block that is empty"));
        }
        if self.kind == Kind::Shell && text.starts_with("$ ") {
            self.kind = Kind::Console;
        } else if self.kind == Kind::Shell && text.starts_with("{\"") {
            self.kind = Kind::Records;
        }
        if self.kind == Kind::Console && text.lines().all(|line| line.starts_with("$ ")) {
            return Err(format!("line {line}: where nothing is shown, commands stand without prompts, so that they can be copied"));
        }
        Ok(Block { line, heading: heading.to_owned(), text, ..self })
    }
}

/// Every block of a document, or what there is in it that would escape.
pub fn of_document(text: &str) -> Result<Vec<Block>, String> {
    let (mut found, mut next, mut heading): (Vec<Block>, Block, String) = Default::default();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, text)) = lines.next() {
        let refuse = |why: &str| Err(format!("line {line}: {why}: {text}"));
        let told = text.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(told) = told {
            if !next.told(told) {
                return refuse("it is not known what this wants");
            }
        } else if text == "```sh" {
            let (mut text, mut ended) = (String::new(), false);
            for (_, line) in lines.by_ref() {
                ended = line == "```";
                if ended {
                    break;
                }
                text.push_str(line);
                text.push('\n');
            }
            if !ended || text.contains("```") {
                return refuse("a block that does not end");
            }
            found.push(std::mem::take(&mut next).ended(line, &heading, text)?);
        } else if next.is_told() {
            return refuse("what is said of a block stands right above it");
        } else if text.contains("```") || text.contains("~~~") || text.contains("<pre") || text.contains("<code") || text.contains("<!--") {
            return refuse("every block begins with ```sh and is run");
        } else if text.starts_with("    ") || text.starts_with('\t') {
            return refuse("an indented block would not be run");
        } else if text.starts_with('#') {
            heading = text.trim_start_matches('#').trim().to_owned();
        }
    }
    Ok(found)
}

/// Every block of a manual page, or what there is in it that would escape.
pub fn of_page(text: &str) -> Result<Vec<Block>, String> {
    let (mut found, mut next, mut heading, mut item): (Vec<Block>, Block, String, String) = Default::default();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, text)) = lines.next() {
        let refuse = |why: &str| Err(format!("line {line}: {why}: {text}"));
        if let Some(told) = text.strip_prefix(".\\\" ") {
            // What a program writes into the page is fenced by remarks of its own.
            if !told.starts_with("Generated ") && told != "End of what is generated." && !next.told(told) {
                return refuse("it is not known what this wants");
            }
        } else if text == ".Bd -literal" || text.starts_with(".Bd -literal -offset ") {
            let (mut text, mut ended) = (String::new(), false);
            for (_, line) in lines.by_ref() {
                ended = line == ".Ed";
                if ended {
                    break;
                }
                text.push_str(&plain(line).ok_or_else(|| format!("line {line}: this would not be read as it is written"))?);
                text.push('\n');
            }
            if !ended {
                return refuse("a block that does not end");
            }
            found.push(Block { item: item.clone(), ..std::mem::take(&mut next).ended(line, &heading, text)? });
        } else if next.is_told() {
            return refuse("what is said of a block stands right above it");
        } else if [".Bd", ".Dl", ".D1", ".nf", ".EX"].iter().any(|request| text.starts_with(request)) {
            return refuse("every display is .Bd -literal: it is run, and no reader's window breaks its lines");
        } else if let Some(name) = text.strip_prefix(".Sh ").or(text.strip_prefix(".Ss ")) {
            (heading, item) = (name.to_owned(), String::new());
        } else if let Some(name) = text.strip_prefix(".It ") {
            item = name.to_owned();
        }
    }
    Ok(found)
}

/// A line of a literal display as it is on the screen. What else roff would do to it is refused.
fn plain(line: &str) -> Option<String> {
    // A request, or what a terminal shows as something else: typographic quotes, a raised circumflex, a small tilde.
    if line.starts_with(['.', '\'']) || line.contains(['\'', '`', '^', '~']) || line.contains('\t') {
        return None;
    }
    let (mut seen, mut rest) = (String::new(), line);
    while let Some(at) = rest.find('\\') {
        seen.push_str(&rest[..at]);
        let (escape, is) =
            [("\\e", "\\"), ("\\-", "-"), ("\\&", ""), ("\\(aq", "'"), ("\\(ga", "`"), ("\\(ha", "^"), ("\\(ti", "~"), ("\\(dq", "\"")]
                .into_iter()
                .find(|(escape, _)| rest[at..].starts_with(escape))?;
        seen.push_str(is);
        rest = &rest[at + escape.len()..];
    }
    seen.push_str(rest);
    Some(seen)
}

/// Whether this is a whole command, and not the beginning of one.
fn is_whole(command: &str) -> bool {
    let goes_on = ["|", "\\", "&&", "||"].iter().any(|end| command.trim_end_matches('\n').ends_with(end));
    // A here-document without its end is only warned of.
    let read = Command::new("bash").args(["-n", "-c", command]).output().unwrap();
    !goes_on && read.status.success() && read.stderr.is_empty()
}

/// The commands of a block: a line and those that it goes on with.
pub fn commands(text: &str) -> Vec<String> {
    let (mut found, mut command) = (Vec::new(), String::new());
    for line in text.lines() {
        if command.is_empty() && (line.trim().is_empty() || line.starts_with('#')) {
            continue;
        }
        command.push_str(line);
        command.push('\n');
        if is_whole(&command) {
            found.push(std::mem::take(&mut command));
        }
    }
    assert!(command.is_empty(), "no whole command: {command}");
    found
}

/// The commands of a block with prompts, each with what is shown of it.
fn shown(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((format!("{command}\n"), String::new())),
            (None, Some((command, output))) => {
                let to = if output.is_empty() && !is_whole(command) { command } else { output };
                to.push_str(line);
                to.push('\n');
            }
            (None, None) => unreachable!("a block with prompts begins with one"),
        }
    }
    found
}

/// Whether this is what was shown; `...` is anything.
pub fn looks_like(seen: &str, shown: &str) -> bool {
    fn line_fits(seen: &str, shown: &str) -> bool {
        match shown.split_once("...") {
            None => seen == shown,
            Some((before, after)) => {
                seen.strip_prefix(before).is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && line_fits(&rest[at..], after)))
            }
        }
    }
    fn lines_fit(seen: &[String], shown: &[String]) -> bool {
        match shown.split_first() {
            None => seen.is_empty(),
            Some((first, rest)) if first == "..." => (0..=seen.len()).any(|at| lines_fit(&seen[at..], rest)),
            Some((first, rest)) => seen.split_first().is_some_and(|(line, others)| line_fits(line, first) && lines_fit(others, rest)),
        }
    }
    let lines = |text: &str| text.trim_end().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    lines_fit(&lines(seen), &lines(shown))
}

/// A world in which blocks are run, one after the other.
pub struct Reader<'w> {
    world: &'w World,
    path: String,
    words: Vec<(String, String)>,
    /// Whether everything is typed at a terminal.
    terminal: bool,
    /// What was typed, what was seen and how it ended.
    pub transcript: String,
}

/// A command that was run: what it and its errors said, and the exit codes of its pipe.
struct Typed {
    seen: String,
    codes: String,
}

impl<'w> Reader<'w> {
    /// Runs things in this world, with the programs of this package and those in the given folders.
    pub fn new(world: &'w World, folders: &[&str]) -> Reader<'w> {
        let own = program("eco-health").parent().unwrap().display().to_string();
        let path = folders.iter().copied().chain([own.as_str(), "/usr/bin", "/bin"]).collect::<Vec<_>>().join(":");
        Reader { world, path, words: Vec::new(), terminal: false, transcript: String::new() }
    }

    /// From here on all commands are typed at a terminal, by somebody who answers no question.
    pub fn at_a_terminal(&mut self) -> &mut Reader<'w> {
        self.terminal = true;
        self
    }

    /// From here on this word of the text stands for what it is in this world.
    pub fn word(&mut self, word: &str, here: &str) -> &mut Reader<'w> {
        self.words.push((word.to_owned(), here.to_owned()));
        self
    }

    /// Leaves the transcript behind, so that a person can look at what a page leads to.
    pub fn keep(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcripts");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("transcript-{name}.txt")), &self.transcript).unwrap();
    }

    /// Says something in the transcript.
    pub fn remark(&mut self, words: &str) {
        let _ = write!(self.transcript, "# {words}\n\n");
    }

    /// The text with its words replaced, each place once.
    fn meant(&self, text: &str) -> String {
        let (mut meant, mut rest) = (String::new(), text);
        while let Some(next) = rest.chars().next() {
            let word = self.words.iter().find(|(word, _)| rest.starts_with(word.as_str()));
            let taken = word.map_or(next.len_utf8(), |(word, _)| word.len());
            meant.push_str(word.map_or(&rest[..taken], |(_, here)| here));
            rest = &rest[taken..];
        }
        meant
    }

    /// Runs a block, or holds it against what accepts or prints it. What is wrong with it stops the test.
    #[track_caller]
    pub fn run(&mut self, name: &str, block: &Block) {
        let place = format!("{name}, line {}", block.line);
        for command in &block.before {
            self.must(&place, "before", command);
        }
        match &block.kind {
            Kind::Shell => {
                let commands: Vec<String> = commands(&block.text);
                let typed = self.typed(&commands, self.terminal);
                self.ended(&place, block, &typed);
            }
            Kind::Console => {
                let all = shown(&block.text);
                let commands: Vec<String> = all.iter().map(|(command, _)| command.clone()).collect();
                let typed = self.typed(&commands, true);
                self.ended(&place, block, &typed);
                for ((command, shown), typed) in all.iter().zip(&typed) {
                    assert!(looks_like(&typed.seen, &self.meant(shown)), "{place}: {command}is seen as\n{}\nand not as\n{shown}", typed.seen);
                }
            }
            Kind::ShownBy(command) => {
                let typed = self.typed(&[format!("{command}\n")], false);
                self.ended(&place, block, &typed);
                assert!(looks_like(&typed[0].seen, &block.text), "{place}: {command} prints\n{}\nand not\n{}", typed[0].seen, block.text);
            }
            Kind::File(file) => fs::write(self.place().join(file), self.meant(&block.text)).unwrap(),
            Kind::Records => block.text.lines().for_each(|line| is_record(&place, line)),
            Kind::Accepted { by, section } => self.accepted(&place, by, section, &block.text),
        }
        for command in &block.after {
            self.must(&place, "after", command);
        }
    }

    /// A command that nobody sees must work.
    #[track_caller]
    fn must(&self, place: &str, when: &str, command: &str) {
        let command = self.meant(command);
        let run = self.world.run("/bin/bash").args(["-ec", &self.in_its_place(&command)]).env("PATH", &self.path).env("TERM", "xterm");
        let ran = run.ran();
        assert!(ran.code == 0, "{place}, {when}: {command}\n{}{ran}", self.transcript);
    }

    /// Commands begin in the folder in which those before them ended.
    fn in_its_place(&self, commands: &str) -> String {
        let place = self.world.folder().join("place");
        if !place.exists() {
            fs::write(&place, format!("{}\n", self.world.root().display())).unwrap();
        }
        let place = place.display();
        format!("cd \"$(cat '{place}')\"\ntrap 'pwd > {place}' EXIT\n{commands}")
    }

    /// The folder in which a reader is by now.
    fn place(&self) -> PathBuf {
        let place = fs::read_to_string(self.world.folder().join("place"));
        place.map_or_else(|_| self.world.root(), |place| place.trim_end().into())
    }

    /// Types commands into one shell, at a terminal or not.
    #[track_caller]
    fn typed(&mut self, commands: &[String], terminal: bool) -> Vec<Typed> {
        const MARK: char = '\u{1e}';
        let mut script = String::from(if terminal { "stty columns 100 rows 40\n" } else { "exec 2>&1\n" });
        for command in commands {
            let _ = write!(script, "printf '{MARK}'\n{}codes=${{PIPESTATUS[*]}}; printf '{MARK}%s{MARK}' \"$codes\"\n", self.meant(command));
        }
        let file = self.world.folder().join("typed");
        fs::write(&file, self.in_its_place(&script)).unwrap();
        let shell = format!("bash '{}'", file.display());
        let run = match terminal {
            // Colours would only be in the way of comparing.
            true => self.world.run("/usr/bin/script").args(["-qefc", &shell, "/dev/null"]).env("NO_COLOR", "1"),
            false => self.world.run("/bin/bash").arg(&file),
        };
        let ran = run.env("PATH", &self.path).env("TERM", "xterm").ran();
        let parts: Vec<&str> = ran.stdout.split(MARK).collect();
        let mut typed = Vec::new();
        for (command, part) in commands.iter().zip(parts[1..].chunks(3)) {
            let (seen, codes) = (part[0].replace('\r', ""), part.get(1).unwrap_or(&"none").to_string());
            let _ = write!(self.transcript, "$ {command}{seen}[exit {codes}]\n\n");
            typed.push(Typed { seen, codes });
        }
        assert!(typed.len() == commands.len() && typed.iter().all(|typed| typed.codes != "none"), "not all was run\n{}\n{ran}", self.transcript);
        typed
    }

    /// The commands must have ended as the page says.
    #[track_caller]
    fn ended(&self, place: &str, block: &Block, typed: &[Typed]) {
        let as_said = |(ended, said): (&str, &str)| {
            let (ended, said): (Vec<_>, Vec<_>) = (ended.split(' ').collect(), said.split(' ').collect());
            ended.len() == said.len() && ended.iter().zip(said).all(|(ended, said)| *ended == said || said == "-")
        };
        let codes: Vec<&str> = typed.iter().map(|typed| typed.codes.as_str()).collect();
        let well = match &block.ends {
            Some(said) => codes.len() == said.split("; ").count() && codes.iter().copied().zip(said.split("; ")).all(as_said),
            None => codes.iter().all(|codes| codes.split(' ').all(|code| code == "0")),
        };
        assert!(well, "{place}: ended with {codes:?}, and not with {:?}\n{}", block.ends, self.transcript);
    }

    /// The program must take this text as its file, or as this section of it.
    #[track_caller]
    fn accepted(&self, place: &str, by: &str, section: &str, text: &str) {
        let file = self.world.folder().join("block.toml");
        let head = if section.is_empty() { String::new() } else { format!("{section}\n") };
        fs::write(&file, self.meant(&format!("{head}{text}"))).unwrap();
        let mut words = by.split(' ');
        let ran = self.world.run(words.next().unwrap()).args(words).arg(&file).ran();
        // 1: it names something that is not on this machine.
        assert!(ran.code == 0 || ran.code == 1 && by.contains("--check-config"), "{place}: {by} does not accept this\n{text}\n{ran}");
    }
}

/// The line is a record of a known type, and nothing of it is lost when it is read and written.
#[track_caller]
fn is_record(place: &str, json: &str) {
    let line = Line::parse(1, json.as_bytes().to_vec());
    assert!(line.fault.is_none() && !matches!(line.record, Record::Other(_)), "{place}: {:?}: {json}", line.fault);
    let value = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).unwrap();
    assert_eq!(value(&to_json(&line.stamp, &line.record)), value(json.as_bytes()), "{place}");
}
