//! Lines of logs around an instant, through rotation. Below the ecosystem's root no link is followed, and what is no regular file is
//! not opened: whoever writes these files may not be a friend.

use super::stamp::Reader;
use super::text::{cut, readable};
use super::{Asked, Gap, Log, mask};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::report::words::{clock, count, span, visible};
use crate::scope::{OURS, Patterns};
use crate::time::{Timestamp, seconds_between};
use crate::tree::Mtime;
use flate2::read::MultiGzDecoder;
use regex::bytes::Regex;
use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

/// Of a longer line only the beginning is read.
const LONGEST_LINE: usize = 8 << 10;
/// Lines on either side of the onset: the nearest ones.
const MOST_LINES: usize = 1000;
/// The end of a file whose lines have no times.
const TAIL: usize = 200;
/// Where the lines of a file this long begin is searched for, instead of reading it all.
const LONG: u64 = 8 << 20;
/// Lines may be out of order by so many bytes.
const DISORDER: u64 = 1 << 20;
/// No more of one file is read.
const MOST_BYTES: u64 = 1 << 30;
/// So many lines after the end of the time prove that nothing more will come.
const LATE: u64 = 20_000;
/// Looking for files ends after so many folders, and at this depth.
const MOST_FOLDERS: usize = 5000;
const DEEPEST: usize = 12;
/// So many logs, and so much text of all of them.
const MOST_LOGS: usize = 50;
const MOST_TEXT: usize = 16 << 20;

/// A folder that files are looked for beneath.
struct Base {
    /// What stands before the paths of its files; nothing for the ecosystem's root.
    shown: PathBuf,
    dir: OwnedFd,
}

/// One file of a log.
struct Piece {
    base: usize,
    path: PathBuf,
    modified: Mtime,
}

/// Files that were found, by the name of their log.
struct Search<'a> {
    bases: Vec<Base>,
    logs: BTreeMap<PathBuf, Vec<Piece>>,
    known: BTreeSet<(u64, u64)>,
    folders: usize,
    asked: &'a Asked<'a>,
    gaps: &'a mut Vec<Gap>,
}

/// The lines of every log that is declared, as texts that can be written down.
pub(super) fn collect(asked: &Asked<'_>, gaps: &mut Vec<Gap>) -> Result<Vec<Log>> {
    let mut search = Search { bases: Vec::new(), logs: BTreeMap::new(), known: BTreeSet::new(), folders: 0, asked, gaps };
    for pattern in &asked.rules.logs {
        search.declared(pattern)?;
    }
    for probe in asked.log_probes {
        search.probed(probe)?;
    }
    let Search { bases, logs, gaps, .. } = search;
    let excluded = Patterns::new(&asked.rules.exclude).map_err(Error::Config)?;
    let (mut found, mut names, mut room) = (Vec::new(), BTreeSet::new(), MOST_TEXT);
    for (name, mut pieces) in logs {
        let shown = visible(&name.display().to_string());
        if excluded.cover(&name) || pieces.iter().all(|piece| excluded.cover(&bases[piece.base].shown.join(&piece.path))) {
            gaps.push(Gap::told(format!("{shown}: not read, because [evidence] exclude covers it")));
            continue;
        }
        if found.len() >= MOST_LOGS || room == 0 {
            gaps.push(Gap::told(format!("{shown}: not read: there are more logs, or more lines, than are taken")));
            continue;
        }
        pieces.retain(|piece| !excluded.cover(&bases[piece.base].shown.join(&piece.path)));
        pieces.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        let log = read(asked, &bases, &name, &pieces, &mut names, gaps);
        room = room.saturating_sub(log.text.len());
        found.push(log);
    }
    Ok(found)
}

impl Search<'_> {
    /// Files that a pattern of `[evidence] logs` matches. One that begins with a slash is not below the root.
    fn declared(&mut self, pattern: &str) -> Result<()> {
        let literal = |part: &str| !part.contains(['*', '?', '[', '{', '\\']);
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        let ahead = parts.iter().take(parts.len().saturating_sub(1)).take_while(|part| literal(part)).count();
        let folder: PathBuf = parts[..ahead].iter().collect();
        let depth = match () {
            () if pattern.contains("**") || !pattern.contains('/') => DEEPEST,
            () => parts.len() - ahead - 1,
        };
        let found = if pattern.starts_with('/') {
            let matches = Patterns::new(&[parts[ahead..].join("/")]).map_err(Error::Config)?;
            let flat = depth == 0;
            let own = |path: &Path| matches.match_path(path) && (!flat || path.components().count() == 1);
            self.open(&Path::new("/").join(folder)).map(|base| self.walk(base, Path::new(""), depth, &own))
        } else {
            let matches = Patterns::new(&[pattern]).map_err(Error::Config)?;
            self.open_root().map(|base| self.walk(base, &folder, depth, &|path| matches.match_path(path)))
        };
        if found == Some(0) {
            self.gaps.push(Gap::missing(format!("[evidence] logs '{}': there is no such file", visible(pattern))));
        }
        Ok(())
    }

    /// The file of a `log` probe.
    fn probed(&mut self, path: &Path) -> Result<()> {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
        let name = path.file_name().filter(|_| plain).map(OsStr::to_owned);
        let Some(name) = name else {
            self.gaps.push(Gap::missing(format!("the log {}: its path is not plain", visible(&path.display().to_string()))));
            return Ok(());
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let own = |path: &Path| path.file_name() == Some(&name);
        let (base, folder) = match path.is_absolute() {
            true => (self.open(folder), Path::new("")),
            false => (self.open_root(), folder),
        };
        if base.map(|base| self.walk(base, folder, 0, &own)) == Some(0) {
            self.gaps.push(Gap::missing(format!("the log {} of a probe: it is not there", visible(&path.display().to_string()))));
        }
        Ok(())
    }

    fn open_root(&mut self) -> Option<usize> {
        self.open_as(&self.asked.eco.root, PathBuf::new())
    }

    fn open(&mut self, folder: &Path) -> Option<usize> {
        self.open_as(folder, folder.to_owned())
    }

    fn open_as(&mut self, folder: &Path, shown: PathBuf) -> Option<usize> {
        match disk::open_dir(folder) {
            Ok(dir) => self.bases.push(Base { shown, dir }),
            Err(e) => {
                self.gaps.push(Gap::missing(e.to_string()));
                return None;
            }
        }
        Some(self.bases.len() - 1)
    }

    /// Files that match in a folder and below it; how many there are of them, and of gaps in their place.
    fn walk(&mut self, base: usize, folder: &Path, depth: usize, matches: &dyn Fn(&Path) -> bool) -> usize {
        self.folders += 1;
        if self.folders == MOST_FOLDERS {
            self.gaps.push(Gap::missing(format!("logs: looking for them ended after {MOST_FOLDERS} folders; name the folders that they are in")));
        }
        if self.folders >= MOST_FOLDERS {
            return 0;
        }
        let shown = self.bases[base].shown.join(folder);
        let opened = match folder.as_os_str().is_empty() {
            true => self.bases[base].dir.try_clone().named("open", &shown),
            false => disk::open_beneath(self.bases[base].dir.as_fd(), folder, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
                .map_err(|e| self.hindered(e, &shown)),
        };
        let listed = opened.and_then(|dir| Ok((disk::names(reopened(&dir, &shown)?.as_fd(), &shown)?, dir)));
        let (names, dir) = match listed {
            Ok(listed) => listed,
            Err(e) => {
                self.gaps.push(Gap::missing(e.to_string()));
                return 1;
            }
        };
        let mut count = 0;
        let mut files: Vec<(PathBuf, OsString, sys::Stat)> = Vec::new();
        let mut wanted: BTreeSet<OsString> = BTreeSet::new();
        let mut below = Vec::new();
        for name in names.into_iter().filter(|name| name != OURS) {
            let path = folder.join(&name);
            let Ok(stat) = sys::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => below.push(path),
                FileType::RegularFile => {
                    let log = stem(&name);
                    if matches(&path) {
                        count += 1;
                        wanted.insert(log.clone());
                    }
                    files.push((path, log, stat));
                }
                other if matches(&path) => {
                    count += 1;
                    let what =
                        if other == FileType::Symlink { "a symbolic link, and none is followed: name what it leads to" } else { "no regular file" };
                    self.gaps.push(Gap::missing(format!("{}: it is {what}", visible(&self.bases[base].shown.join(&path).display().to_string()))));
                }
                _ => {}
            }
        }
        for (path, log, stat) in files.into_iter().filter(|(_, log, _)| wanted.contains(log)) {
            let id = disk::identity(&stat);
            if self.known.insert((id.dev, id.ino)) {
                let (node, _) = disk::describe(PathBuf::new(), &stat);
                self.logs.entry(shown.join(log)).or_default().push(Piece { base, path, modified: node.meta.mtime });
            }
        }
        if depth > 0 {
            count += below.iter().map(|folder| self.walk(base, folder, depth - 1, matches)).sum::<usize>();
        }
        count
    }

    fn hindered(&self, e: rustix::io::Errno, path: &Path) -> Error {
        match e {
            rustix::io::Errno::LOOP => {
                let shown = visible(&path.display().to_string());
                Error::Other(format!("{shown}: a symbolic link is in the way, and none is followed: name what it leads to"))
            }
            e => Error::Path { verb: "list", path: path.to_owned(), source: e.into() },
        }
    }
}

/// Listing moves the position in a folder, which a clone shares.
fn reopened(dir: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    sys::openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).named("list", path)
}

/// The name of the log that a file belongs to: its own without what a rotation has put behind it.
fn stem(name: &OsStr) -> OsString {
    static ROTATED: LazyLock<Regex> = LazyLock::new(|| {
        // It is a constant, and a test reads with it.
        Regex::new(r"(?s-u)^(.+?)(?:[.-](?:\d[\d._T-]*|old))?(?:\.(?:gz|xz|zst|bz2))?$").expect("a built-in pattern")
    });
    let stem = ROTATED.captures(name.as_bytes()).and_then(|found| found.get(1)).map_or(name.as_bytes(), |stem| stem.as_bytes());
    OsString::from_vec(stem.to_vec())
}

/// One log: all of its pieces, the oldest first.
fn read(asked: &Asked<'_>, bases: &[Base], name: &Path, pieces: &[Piece], names: &mut BTreeSet<String>, gaps: &mut Vec<Gap>) -> Log {
    let mut taken = Taken::new(asked);
    for (number, piece) in pieces.iter().enumerate() {
        let base = &bases[piece.base];
        let path = base.shown.join(&piece.path);
        // What was written last before the time holds nothing of it.
        if piece.modified.seconds < asked.from.as_second() && number + 1 < pieces.len() {
            continue;
        }
        let end = path.extension().unwrap_or_default();
        if ["xz", "zst", "bz2"].iter().any(|other| end == *other) {
            gaps.push(Gap::missing(format!("{}: it is packed in a way that is not read here", visible(&path.display().to_string()))));
            continue;
        }
        taken.begin(&path);
        if let Err(e) = taken.read(base, &piece.path, end == "gz").named("read", &path) {
            gaps.push(Gap::missing(e.to_string()));
        }
    }
    taken.log(name, names, gaps)
}

/// What was taken of one log.
struct Taken<'a> {
    asked: &'a Asked<'a>,
    reader: Reader<'a>,
    files: Vec<PathBuf>,
    before: VecDeque<(usize, String)>,
    after: Vec<(usize, String)>,
    left_out: u64,
    tail: VecDeque<(usize, String)>,
    /// Of the last line that had one.
    dated: Option<Timestamp>,
    any_dated: bool,
    /// The first and the last time of any line that was read.
    span: Option<(Timestamp, Timestamp)>,
    late: u64,
}

impl<'a> Taken<'a> {
    fn new(asked: &'a Asked<'a>) -> Taken<'a> {
        Taken {
            asked,
            reader: Reader::new(&asked.rules.log_zone, asked.onset),
            files: Vec::new(),
            before: VecDeque::new(),
            after: Vec::new(),
            left_out: 0,
            tail: VecDeque::new(),
            dated: None,
            any_dated: false,
            span: None,
            late: 0,
        }
    }

    fn begin(&mut self, path: &Path) {
        self.files.push(path.to_owned());
        (self.dated, self.late) = (None, 0);
    }

    fn read(&mut self, base: &Base, path: &Path, packed: bool) -> io::Result<()> {
        let file = File::from(disk::open_beneath(base.dir.as_fd(), path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
        let about = file.metadata()?;
        // It may have become something else meanwhile.
        if !about.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        if packed {
            return self.lines(&mut BufReader::with_capacity(1 << 17, MultiGzDecoder::new(file).take(MOST_BYTES)), false);
        }
        let start = if about.len() > LONG { self.start(&file, about.len())? } else { 0 };
        (&file).seek(SeekFrom::Start(start))?;
        self.lines(&mut BufReader::with_capacity(1 << 17, file.take(MOST_BYTES)), start > 0)
    }

    /// Where the lines of the time begin in a long file, or not far before it; in one without times, where its end begins.
    fn start(&mut self, file: &File, length: u64) -> io::Result<u64> {
        let (mut low, mut high) = (0, length);
        if self.first_time(file, 0)?.is_none() && self.first_time(file, length - DISORDER)?.is_none() {
            return Ok(length - DISORDER);
        }
        while high - low > DISORDER {
            let middle = low + (high - low) / 2;
            match self.first_time(file, middle)? {
                Some(time) if time < self.asked.from => low = middle,
                Some(_) => high = middle,
                None => break,
            }
        }
        Ok(low.saturating_sub(DISORDER))
    }

    /// The time of the first dated line that begins behind this place, if it is near.
    fn first_time(&mut self, file: &File, at: u64) -> io::Result<Option<Timestamp>> {
        let mut room = vec![0; 256 << 10];
        let read = file.read_at(&mut room, at)?;
        let lines = room[..read].split(|byte| *byte == b'\n').skip(usize::from(at > 0));
        Ok(lines.into_iter().find_map(|line| self.reader.read(line)))
    }

    /// `cut`: the first line is only the end of one.
    fn lines(&mut self, from: &mut dyn BufRead, mut cut: bool) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            let room = from.fill_buf()?;
            if room.is_empty() {
                break;
            }
            let end = room.iter().position(|byte| *byte == b'\n');
            let piece = &room[..end.unwrap_or(room.len())];
            line.extend_from_slice(&piece[..piece.len().min(LONGEST_LINE - line.len())]);
            let used = end.map_or(room.len(), |end| end + 1);
            from.consume(used);
            if end.is_some() {
                if !std::mem::take(&mut cut) && !self.take(&line) {
                    return Ok(());
                }
                line.clear();
            }
        }
        if !line.is_empty() && !cut {
            self.take(&line);
        }
        Ok(())
    }

    /// Looks at one line; false when nothing more can come.
    fn take(&mut self, line: &[u8]) -> bool {
        let time = self.reader.read(line);
        self.any_dated |= time.is_some();
        if let Some(time) = time {
            let (first, last) = self.span.unwrap_or((time, time));
            self.span = Some((first.min(time), last.max(time)));
        }
        self.dated = time.or(self.dated);
        let place = self.files.len() - 1;
        if !self.any_dated {
            self.tail.push_back((place, readable(line)));
            if self.tail.len() > TAIL {
                self.tail.pop_front();
            }
        }
        let Some(time) = self.dated else { return true };
        self.late = if time > self.asked.to { self.late + 1 } else { 0 };
        if time < self.asked.from || time > self.asked.to {
            return self.late < LATE;
        }
        if time < self.asked.onset {
            self.before.push_back((place, readable(line)));
            if self.before.len() > MOST_LINES {
                self.before.pop_front();
                self.left_out += 1;
            }
        } else if self.after.len() < MOST_LINES {
            self.after.push((place, readable(line)));
        } else {
            self.left_out += 1;
        }
        true
    }

    fn log(self, name: &Path, names: &mut BTreeSet<String>, gaps: &mut Vec<Gap>) -> Log {
        let Taken { asked, files, before, after, left_out, tail, any_dated, span: dates, .. } = self;
        let onset = before.len();
        let taken: Vec<(usize, String)> = if any_dated { before.into_iter().chain(after).collect() } else { tail.into() };
        let mut log = Log {
            file: file_name(name, names),
            path: crate::record::RecordPath::new(name),
            lines: taken.len() as u64,
            left_out,
            dated: any_dated,
            files: files.iter().map(|file| visible(&file.display().to_string())).collect(),
            ..Log::default()
        };
        let head = |around: i64| span(around.abs());
        let said = match any_dated {
            true => format!(
                "from {} to {} UTC: {} before {} to {} after it",
                clock(asked.from),
                clock(asked.to),
                head(seconds_between(asked.from, asked.onset)),
                asked.onset_from,
                head(seconds_between(asked.onset, asked.to))
            ),
            false => "no line of it has a time that could be read: this is its end, whenever that was written".to_owned(),
        };
        let mut text = format!("{}\n{said}\n{}", visible(&name.display().to_string()), count(log.lines, "line"));
        if left_out > 0 {
            let _ = write!(text, "; further from {}, {} left out", asked.onset_from, count(left_out, "line"));
        }
        if let (0, Some((first, last))) = (log.lines, dates) {
            let about = format!("the lines that were read are from {} to {} UTC, none of them from this time", clock(first), clock(last));
            let _ = write!(text, "; {about}");
            gaps.push(Gap::told(format!("{}: {about}", visible(&name.display().to_string()))));
        }
        let _ = writeln!(text, "\ntimes without a zone were read as {}\n", asked.rules.log_zone.word());
        let whole: String = taken.iter().flat_map(|(_, line)| [line.as_str(), "\n"]).collect();
        let mut shown = None;
        for (number, ((file, _), line)) in taken.iter().zip(mask::lines(&whole, &asked.rules.mask)).enumerate() {
            if shown != Some(*file) {
                let _ = writeln!(text, "==> {} <==", log.files[*file]);
                shown = Some(*file);
            }
            if any_dated && number == onset {
                let _ = writeln!(text, "-------- {}, {} --------", asked.onset_from, clock(asked.onset));
            }
            log.masked += line.masked;
            let _ = writeln!(text, "{}", cut(line.text.trim_end_matches('\n')));
        }
        log.text = text;
        log
    }
}

/// A name for what was taken of a log: that of the log, as far as it harms nobody, and no other's.
fn file_name(log: &Path, names: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let text: String = log.display().to_string().trim_start_matches(['/', '.']).chars().take(100).map(plain).collect();
    let mut name = format!("{text}.txt");
    let mut number = 1;
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{text}-{number}.txt");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_log_that_it_was_rotated_from() {
        for (name, log) in [
            ("app.log", "app.log"),
            ("app.log.1", "app.log"),
            ("app.log.2.gz", "app.log"),
            ("app.log-20260301", "app.log"),
            ("app.log-20260301.gz", "app.log"),
            ("app.log.2026-03-01T10", "app.log"),
            ("app.log.old", "app.log"),
            ("app.log.zst", "app.log"),
            ("app-2026.log", "app-2026.log"),
            ("1", "1"),
        ] {
            assert_eq!(stem(OsStr::new(name)), OsStr::new(log), "{name}");
        }
        assert_eq!(stem(OsStr::from_bytes(b"a\xff.1")), OsStr::from_bytes(b"a\xff"));
    }

    #[test]
    fn a_log_gets_a_name_that_harms_nobody_and_is_its_own() {
        let mut names = BTreeSet::new();
        let mut name = |log: &str| file_name(Path::new(log), &mut names);
        assert_eq!(name("logs/app.log"), "logs_app.log.txt");
        assert_eq!(name("logs_app.log"), "logs_app.log-2.txt");
        assert_eq!(name("/var/log/x y\n.log"), "var_log_x_y_.log.txt");
        assert_eq!(name("../../etc"), "etc.txt");
    }
}
