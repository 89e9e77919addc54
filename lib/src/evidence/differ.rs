//! The good snapshot beside the broken state: which paths differ, and what in them.

use super::mask::{self, Pattern};
use super::text::{self, visible_path};
use super::{Asked, Comparison, Gap, Look, PathEvidence, Tables, Unit};
use crate::archive::{Archive, Index};
use crate::compare::{Aside, items_in, items_of, nothing_known, within};
use crate::digest;
use crate::error::{Error, Named, Result};
use crate::plan::{self, Item};
use crate::record::{Difference, RecordPath};
use crate::restore::SetAside;
use crate::scope::{Attributes, Found, Patterns, Site, Step, Walk, Walker, absorb};
use crate::sqlite;
use crate::store::{Stored, read_index};
use crate::time::Timestamp;
use crate::tree::{Digest, Kind};
use rustix::fs::OFlags;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longer files are not compared line by line.
const LONGEST_TEXT: u64 = 512 << 10;
/// Lines of one file's difference.
const MOST_LINES: usize = 400;
/// Of a file that is on one side only, or in data, which is other people's: enough to see what it is.
const FEW_LINES: usize = 40;
/// Lines that are compared, in all files that are on both sides: where all of them differ each costs time for every other one.
const MOST_COMPARED: usize = 100_000;
/// So many paths are listed; the others are counted.
const MOST_PATHS: usize = 5000;
/// So many bytes are read for digests that the comparison did not need.
const MOST_HASHED: u64 = 1 << 30;
/// Rows are counted in so many databases, of this size at most.
const MOST_DATABASES: usize = 20;
const LONGEST_DATABASE: u64 = 64 << 20;

/// The broken state.
pub(super) enum Broken<'a> {
    /// A safety snapshot.
    Snapshot(&'a Stored),
    /// The tree from before a rollback, where it was set aside.
    SetAside(Vec<SetAside>),
    /// What is live now.
    Live,
}

/// One side: what is on it, and where its content comes from.
struct Side {
    items: Vec<Item>,
    source: Source,
}

enum Source {
    /// With the place of each path in the index.
    Archive(Box<(Archive, Index, HashMap<PathBuf, usize>)>),
    /// An archive that would have to be read from its beginning for each file.
    Listed,
    Trees(Vec<(Site, Vec<PathBuf>)>, Databases),
}

/// How a database in a tree is read.
#[derive(Clone, Copy, PartialEq)]
enum Databases {
    /// Through SQLite, because somebody may be writing to it.
    InUse,
    /// As files: nobody writes to them, and nothing may be written beside them.
    AtRest,
}

/// Compares the two in what both hold, and writes what differs in text files to `diffs`.
pub(super) fn compare(
    asked: &Asked<'_>,
    good: &Stored,
    broken: &Broken<'_>,
    room: &mut usize,
    diffs: &mut String,
    gaps: &mut Vec<Gap>,
) -> Result<Comparison> {
    let eco = asked.eco;
    let index = read_index(good, &eco.scopes.full())?;
    let held: Vec<PathBuf> = index.head.snapshot.roots.iter().map(PathBuf::from).collect();
    let both = |other: &[PathBuf]| {
        let common = held.iter().filter(|root| within(root, other)).chain(other.iter().filter(|root| within(root, &held)));
        absorb(common.cloned().collect())
    };
    let mut more: Vec<String> = eco.rules.exclude.iter().chain(&eco.rules.preserve).cloned().collect();
    let mut unread: Vec<PathBuf> = Vec::new();
    let (roots, mut is, copies) = match broken {
        Broken::Snapshot(stored) => {
            let other = read_index(stored, &eco.scopes.full())?;
            more.extend(other.head.exclude.iter().chain(&other.head.preserve).cloned());
            let roots = both(&other.head.snapshot.roots.iter().map(PathBuf::from).collect::<Vec<_>>());
            let copies: HashMap<PathBuf, Digest> = other.entries.iter().filter_map(|entry| Some((entry.node.path.clone(), entry.sqlite?))).collect();
            let items = items_of(&other, &roots);
            (roots, Side { items, source: source_of(stored, other)? }, copies)
        }
        Broken::SetAside(parts) => {
            let mut side = Side { items: Vec::new(), source: Source::Listed };
            let (mut all, mut trees) = (Vec::new(), Vec::new());
            for part in parts {
                more.extend(part.carried.iter().cloned());
                let roots = both(&part.roots);
                let doors: Vec<_> = part.doors.iter().filter(|(root, _)| roots.contains(root)).cloned().collect();
                let site = Site::with_doors(&part.base, &doors)?;
                side.items.extend(look(asked, &site, &index, &roots, None, &mut unread, gaps)?);
                all.extend(roots.iter().cloned());
                trees.push((site, roots));
            }
            side.source = Source::Trees(trees, Databases::AtRest);
            (absorb(all), side, HashMap::new())
        }
        Broken::Live => {
            let roots = absorb(held.clone());
            let site = Site::open(&eco.root, &roots)?;
            let items = look(asked, &site, &index, &roots, Some(asked.scratch), &mut unread, gaps)?;
            (roots.clone(), Side { items, source: Source::Trees(vec![(site, roots)], Databases::InUse) }, HashMap::new())
        }
    };
    if roots.is_empty() {
        return Err(Error::Other("the two hold nothing in common".into()));
    }
    let aside = Aside::new(&index, &more)?;
    let sqlite: HashMap<PathBuf, Digest> = index.entries.iter().filter_map(|entry| Some((entry.node.path.clone(), entry.sqlite?))).collect();
    let was = Side { items: items_of(&index, &roots), source: source_of(good, index)? };
    same_databases(asked, &was, &mut is, &sqlite, &copies);
    let hidden = |path: &Path| aside.covers(path) || within(path, &unread);
    let differing = plan::compare(&good.snapshot.id, &was.items, &is.items, hidden);
    let mut writer = Writer {
        asked,
        excluded: Patterns::new(&asked.rules.exclude).map_err(Error::Config)?,
        before: was.items.iter().map(|item| (item.node.path.as_path(), item)).collect(),
        after: is.items.iter().map(|item| (item.node.path.as_path(), item)).collect(),
        was: &was,
        is: &is,
        room,
        diffs,
        gaps,
        compared: 0,
        databases: 0,
        hashed: 0,
        masked: 0,
    };
    let mut comparison = writer.compare(differing.differences, &roots);
    comparison.masked = writer.masked;
    comparison.same = differing.same;
    Ok(comparison)
}

fn source_of(stored: &Stored, index: Index) -> Result<Source> {
    let archive = Archive::open(&stored.path)?.filter(|_| stored.snapshot.legacy != Some(true));
    let Some(archive) = archive else { return Ok(Source::Listed) };
    // Content of a differential one is in its base as well, which this opens.
    archive.whole()?;
    let places = index.entries.iter().enumerate().map(|(at, entry)| (entry.node.path.clone(), at)).collect();
    Ok(Source::Archive(Box::new((archive, index, places))))
}

/// What is in a tree. What may not be read is noted, and the rest is looked at.
fn look(
    asked: &Asked<'_>,
    site: &Site,
    index: &Index,
    roots: &[PathBuf],
    scratch: Option<&Path>,
    unread: &mut Vec<PathBuf>,
    gaps: &mut Vec<Gap>,
) -> Result<Vec<Item>> {
    let lengths: HashMap<&Path, &Kind> = index.entries.iter().map(|entry| (entry.node.path.as_path(), &entry.node.kind)).collect();
    let (mut hindered, mut walk) = (Vec::new(), Walk::default());
    let none = Patterns::new::<&str>(&[]).map_err(Error::Config)?;
    for step in Walker::new(site, roots, &none, Attributes::All)? {
        match step? {
            Step::Found(found) if is_closed(site, &found, &lengths) => hindered.push((found.node.path, "cannot be read".to_owned())),
            Step::Found(found) => walk.entries.push(found),
            Step::Unreadable { path, why } => hindered.push((path, why.to_string())),
            Step::Absent(_) | Step::Socket(_) => {}
        }
    }
    for (path, why) in hindered.iter().take(20) {
        gaps.push(Gap::missing(format!("{}: {why}; nothing is said about it", visible_path(path))));
    }
    if hindered.len() > 20 {
        gaps.push(Gap::missing(format!("{} more cannot be read", hindered.len() - 20)));
    }
    unread.extend(hindered.into_iter().map(|(path, _)| path));
    items_in(site, walk, index, roots, &nothing_known, scratch, asked.progress)
}

/// Whether it is a file that would have to be read, and may not be.
fn is_closed(site: &Site, found: &Found, lengths: &HashMap<&Path, &Kind>) -> bool {
    let is_read = matches!(found.node.kind, Kind::File { .. }) && lengths.get(found.node.path.as_path()) == Some(&&found.node.kind);
    is_read && site.open_at(&found.node.path, OFlags::RDONLY | OFlags::NONBLOCK).is_err_and(|e| e != rustix::io::Errno::NOENT)
}

/// Two copies of a database that nobody changed differ in their counters: those count as the same.
fn same_databases(asked: &Asked<'_>, was: &Side, is: &mut Side, captured: &HashMap<PathBuf, Digest>, copies: &HashMap<PathBuf, Digest>) {
    let before: HashMap<&Path, &Item> = was.items.iter().map(|item| (item.node.path.as_path(), item)).collect();
    let mut same = Vec::new();
    for (number, item) in is.items.iter().enumerate() {
        let (Some(old), Some(content)) = (before.get(item.node.path.as_path()), captured.get(&item.node.path)) else { continue };
        if old.digest == item.digest {
            continue;
        }
        let now = match (&is.source, copies.get(&item.node.path)) {
            (_, Some(copied)) => Some(*copied),
            (Source::Trees(_, Databases::AtRest), None) => {
                is.database(asked, &item.node.path).and_then(|copy| sqlite::masked_digest(&through_sqlite(asked, &copy)?).ok())
            }
            _ => None,
        };
        if now == Some(*content) {
            same.push((number, (*old).clone()));
        }
    }
    for (number, old) in same {
        let item = &mut is.items[number];
        (item.digest, item.node.kind, item.node.meta.mtime) = (old.digest, old.node.kind, old.node.meta.mtime);
    }
}

/// Captured databases are copies that SQLite has made; of another one such a copy can be compared with them.
fn through_sqlite(asked: &Asked<'_>, copy: &Path) -> Option<PathBuf> {
    let again = asked.scratch.join("through-sqlite.db");
    let _ = std::fs::remove_file(&again);
    sqlite::back_up(copy, &again).ok()?;
    Some(again)
}

impl Side {
    /// The content of a file, if it is not longer than this; `None` where it is, or cannot be had.
    fn content(&self, path: &Path, longest: u64) -> Result<Option<Vec<u8>>> {
        match &self.source {
            Source::Listed => Ok(None),
            Source::Archive(held) => {
                let (archive, index, places) = held.as_ref();
                let at = |path: &Path| places.get(path).map(|at| &index.entries[*at]);
                let mut found = at(path);
                // In archives of other programs a link may lead to another link; a chain that never ends leads to nothing.
                for _ in 0..index.entries.len() {
                    let Some(Kind::Hardlink { target }) = found.map(|entry| &entry.node.kind) else { break };
                    found = at(target);
                }
                let Some(entry) = found.filter(|entry| entry.node.kind.size() <= longest) else { return Ok(None) };
                let mut bytes = Vec::new();
                archive.content(index, entry, &mut |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                })?;
                Ok(Some(bytes))
            }
            Source::Trees(trees, _) => {
                let Some((site, _)) = trees.iter().find(|(_, roots)| within(path, roots)) else { return Ok(None) };
                let shown = site.base().join(path);
                let file = File::from(site.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK).named("read", &shown)?);
                // It may have become something else since it was looked at.
                if !file.metadata().named("look at", &shown)?.is_file() {
                    return Ok(None);
                }
                let mut bytes = Vec::new();
                file.take(longest + 1).read_to_end(&mut bytes).named("read", &shown)?;
                Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= longest))
            }
        }
    }

    /// A copy of a database, with what lies in its journals, if it can be had and is not too long.
    fn database(&self, asked: &Asked<'_>, path: &Path) -> Option<PathBuf> {
        let copy = asked.scratch.join("database.db");
        for old in sqlite::companions(&copy).chain([copy.clone()]) {
            let _ = std::fs::remove_file(old);
        }
        if let Source::Trees(trees, Databases::InUse) = &self.source {
            let (site, _) = trees.iter().find(|(_, roots)| within(path, roots))?;
            sqlite::back_up(&site.base().join(path), &copy).ok()?;
            return Some(copy);
        }
        std::fs::write(&copy, self.content(path, LONGEST_DATABASE).ok()??).ok()?;
        for (journal, own) in sqlite::companions(path).zip(sqlite::companions(&copy)) {
            let is_here = self.items.iter().any(|item| item.node.path == journal && matches!(item.node.kind, Kind::File { .. }));
            // The index of a journal is made again.
            if is_here && !journal.as_os_str().to_string_lossy().ends_with("-shm") {
                std::fs::write(own, self.content(&journal, LONGEST_DATABASE).ok()??).ok()?;
            }
        }
        sqlite::is_database(&copy).then_some(copy)
    }
}

/// Writes down what differs.
struct Writer<'a> {
    asked: &'a Asked<'a>,
    excluded: Patterns,
    before: HashMap<&'a Path, &'a Item>,
    after: HashMap<&'a Path, &'a Item>,
    was: &'a Side,
    is: &'a Side,
    room: &'a mut usize,
    diffs: &'a mut String,
    gaps: &'a mut Vec<Gap>,
    compared: usize,
    databases: usize,
    hashed: u64,
    masked: u64,
}

impl Writer<'_> {
    fn compare(&mut self, differences: Vec<Difference>, roots: &[PathBuf]) -> Comparison {
        let mut units: BTreeMap<(u8, String), Unit> = BTreeMap::new();
        let mut paths: Vec<((u8, String), Difference)> = Vec::new();
        for difference in differences {
            let word = self.asked.eco.scopes.owner(&difference.path.to_path());
            // What lies still until somebody changes it comes first; in data there is always something.
            let rank = match word.as_str() {
                "config" => 0,
                word if word.starts_with("module:") => 1,
                "data" => 3,
                _ => 2,
            };
            let key = (rank, word);
            let unit = units.entry(key.clone()).or_insert_with(|| Unit { unit: key.1.clone(), ..Unit::default() });
            if difference.details == ["mtime"] {
                unit.only_times += 1;
                continue;
            }
            match difference.what.as_str() {
                "created" => unit.created += 1,
                "deleted" => unit.deleted += 1,
                "content" => unit.content += 1,
                "kind" => unit.kind += 1,
                _ => unit.metadata += 1,
            }
            paths.push((key, difference));
        }
        paths.sort_by(|(a, _), (b, _)| a.cmp(b));
        let left_out = paths.len().saturating_sub(MOST_PATHS) as u64;
        paths.truncate(MOST_PATHS);
        let paths = paths.into_iter().map(|((_, unit), difference)| self.path(unit, &difference)).collect();
        let roots = roots.iter().map(RecordPath::new).map(|root| root.path).collect();
        Comparison { units: units.into_values().collect(), paths, left_out, roots, ..Comparison::default() }
    }

    fn path(&mut self, unit: String, difference: &Difference) -> PathEvidence {
        let path = difference.path.to_path();
        let (old, new) = (self.before.get(path.as_path()).copied(), self.after.get(path.as_path()).copied());
        let is_file = |item: Option<&Item>| item.is_some_and(|item| matches!(item.node.kind, Kind::File { .. }));
        let mut found = PathEvidence {
            unit,
            path: difference.path.clone(),
            what: difference.what.clone(),
            details: difference.details.clone(),
            before: old.map(|item| self.look(item, self.was)),
            after: new.map(|item| self.look(item, self.is)),
            ..PathEvidence::default()
        };
        if difference.what == "metadata" || !(is_file(old) || is_file(new)) {
            return found;
        }
        if self.excluded.cover(&path) {
            found.shown = Some("excluded".into());
            return found;
        }
        found.shown = Some(match self.content(&path, old, new) {
            Ok((shown, tables)) => {
                found.tables = tables;
                shown
            }
            Err(e) => {
                self.gaps.push(Gap::missing(format!("{}: its content could not be compared: {e}", visible_path(&path))));
                "not read".into()
            }
        });
        found
    }

    /// How the content differs, in one word; what is to be seen of it is written.
    fn content(&mut self, path: &Path, old: Option<&Item>, new: Option<&Item>) -> Result<(String, Vec<Tables>)> {
        let [old, new] = [old, new].map(|item| item.filter(|item| matches!(item.node.kind, Kind::File { .. })));
        let longest = old.into_iter().chain(new).map(|item| item.node.kind.size()).max().unwrap_or(0);
        let nothing = || Ok(Some(Vec::new()));
        let read = |side: &Side, item: Option<&Item>, most: u64| item.map_or_else(nothing, |_| side.content(path, most));
        if longest > LONGEST_TEXT {
            let tables = self.tables(path, old, new, longest);
            return Ok((if tables.is_empty() { "long" } else { "tables" }.into(), tables));
        }
        let (was, is) = (read(self.was, old, LONGEST_TEXT)?, read(self.is, new, LONGEST_TEXT)?);
        let (Some(was), Some(is)) = (was, is) else { return Ok(("not at hand".into(), Vec::new())) };
        let (Some(was), Some(is)) = (text::of(&was), text::of(&is)) else {
            let tables = self.tables(path, old, new, longest);
            return Ok((if tables.is_empty() { "binary" } else { "tables" }.into(), tables));
        };
        if *self.room == 0 || self.compared >= MOST_COMPARED {
            return Ok(("left out".into(), Vec::new()));
        }
        if !(was.is_empty() || is.is_empty()) {
            self.compared += was.lines().count() + is.lines().count();
        }
        let in_data = within(path, self.asked.eco.scopes.data());
        let most = if in_data || old.is_none() || new.is_none() { FEW_LINES } else { MOST_LINES };
        let Some(diff) = text::diff(was, is, &mask::of_file(path, &self.asked.rules.mask), most) else { return Ok(("long".into(), Vec::new())) };
        let name = visible_path(path);
        let side = |item: Option<&Item>, mark: &str| item.map_or_else(|| "/dev/null".to_owned(), |_| format!("{mark}/{name}"));
        let head = format!("--- {}\n+++ {}\n", side(old, "good"), side(new, "broken"));
        let whole = format!("{head}{}\n", diff.text);
        *self.room = self.room.saturating_sub(whole.len());
        let _ = write!(self.diffs, "{whole}");
        self.masked += diff.masked;
        Ok(("diff".into(), Vec::new()))
    }

    /// Tables with another number of rows. A database that is on one side only has none on the other.
    fn tables(&mut self, path: &Path, old: Option<&Item>, new: Option<&Item>, longest: u64) -> Vec<Tables> {
        if longest > LONGEST_DATABASE || self.databases >= MOST_DATABASES {
            return Vec::new();
        }
        let mut count = |side: &Side, item: Option<&Item>| -> Option<BTreeMap<String, u64>> {
            if item.is_none() {
                return Some(BTreeMap::new());
            }
            let copy = side.database(self.asked, path)?;
            self.databases += 1;
            sqlite::count_rows(&copy).ok()
        };
        let (Some(was), Some(is)) = (count(self.was, old), count(self.is, new)) else { return Vec::new() };
        let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let shown = |name: &str| mask::one(&text::readable(name.as_bytes()), &self.asked.rules.mask).0;
        let table = |name: &String| Tables { table: shown(name), before: was.get(name).copied(), after: is.get(name).copied() };
        let tables: Vec<Tables> = names.into_iter().map(table).collect();
        let (differ, same): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.before != table.after);
        // That all tables have as many rows as before is worth knowing too.
        if differ.is_empty() { same } else { differ }
    }

    fn look(&mut self, item: &Item, side: &Side) -> Look {
        let (node, meta) = (&item.node, &item.node.meta);
        let mut said = |link: &Path| {
            let (shown, masked) = one_line(link, &self.asked.rules.mask);
            self.masked += masked;
            shown
        };
        let link = match &node.kind {
            Kind::Symlink { target } => Some(said(Path::new(target))),
            Kind::Hardlink { target } => Some(said(target)),
            _ => None,
        };
        // Of a file that differs in length nobody has needed the digest yet.
        let is_file = matches!(node.kind, Kind::File { .. });
        let read = || side.content(&node.path, LONGEST_DATABASE).ok().flatten().map(|bytes| digest::of(&bytes));
        let digest = match item.digest {
            None if is_file && self.hashed < MOST_HASHED => {
                self.hashed += node.kind.size();
                read()
            }
            known => known,
        };
        let name = |name: &Option<std::sync::Arc<str>>, id: u32| name.as_deref().map_or_else(|| id.to_string(), str::to_owned);
        Look {
            kind: node.kind.word().into(),
            size_bytes: is_file.then(|| node.kind.size()),
            mtime: Timestamp::new(meta.mtime.seconds, meta.mtime.nanos as i32).unwrap_or_default(),
            mode: format!("{:04o}", meta.mode),
            owner: format!("{}:{}", name(&meta.user, meta.uid), name(&meta.group, meta.gid)),
            digest: digest.map(|digest| format!("sha256:{digest}")),
            link,
        }
    }
}

/// Where a link leads, masked.
fn one_line(path: &Path, patterns: &[Pattern]) -> (String, u64) {
    mask::one(&visible_path(path), patterns)
}
