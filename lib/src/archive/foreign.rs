//! Any other tar or tar.gz, read from front to back: what stock tools wrote, and the three layouts of the procedures that came
//! before these tools. Such an archive holds no digests, so what can be said of it is that it reads to its end.

use super::header;
use super::index::{Entry, Head, Index};
use super::{CHUNK, INDEX_NAME};
use crate::digest::Hasher;
use crate::error::{Error, Named, Result};
use crate::record::{Damage, RecordPath, Snapshot};
use crate::scope::check_plain;
use crate::time::Timestamp;
use crate::tree::{Hole, Kind, Node};
use flate2::bufread::MultiGzDecoder;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// Zeros that sparse files may claim without having stored them: beyond this, and beyond what gzip could make of the archive, reading
/// them takes hours.
const MOST_ZEROS: u64 = if cfg!(fuzzing) { 1 << 20 } else { 64 << 30 };

/// What deflate makes at most of one byte.
const BEST_RATIO: u64 = 1032;

/// So much memory for names and attributes harms nobody, and beyond it so much for each byte of the archive: a header shrinks to eight
/// bytes at best, among sixty thousand others that differ in a number only.
const HARMLESS: u64 = if cfg!(test) { 1 << 20 } else { 256 << 20 };
const HARMLESS_RATIO: u64 = 256;

/// No system call takes such a name, and no tool makes such a tree; each folder of it costs whoever goes down there.
const LONGEST_NAME: usize = 32 << 10;
const DEEPEST: usize = 4096;

/// An archive of another format, read once from front to back.
#[derive(Debug)]
pub struct Foreign {
    path: PathBuf,
    entries: Vec<Entry>,
    /// What is wrong with it.
    pub damage: Vec<Damage>,
    /// Bytes of content.
    pub bytes: u64,
    /// Where the roots stand in it, and what they are called in the tree.
    places: Vec<(PathBuf, PathBuf)>,
}

/// The content of one file as it comes by.
pub struct Pieces<'a> {
    from: &'a mut dyn Read,
    archive: &'a Path,
}

impl Pieces<'_> {
    /// Gives every piece to `to`, and checks at the end that they are the bytes of the first reading.
    ///
    /// # Errors
    /// [`Error::Archive`] when they are not, or cannot be read; and what `to` returns.
    pub fn each(&mut self, entry: &Entry, to: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; CHUNK.min(entry.node.kind.size() as usize + 1)];
        let mut hasher = Hasher::default();
        loop {
            match self.from.read(&mut buffer).map_err(|e| Error::archive(self.archive, e.to_string()))? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    to(&buffer[..read])?;
                }
            }
        }
        if Some(hasher.finish()) == entry.digest { Ok(()) } else { Err(Error::archive(self.archive, "it changed while it was being read")) }
    }
}

impl Foreign {
    /// Reads the whole archive. Damage is a finding.
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be read; [`Error::Archive`] when it is no tar at all.
    pub fn open(path: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Foreign> {
        let mut foreign = Foreign { path: path.to_owned(), entries: Vec::new(), damage: Vec::new(), bytes: 0, places: Vec::new() };
        let mut names: HashSet<PathBuf> = HashSet::new();
        let (mut entries, mut damage, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut symlinks: HashMap<PathBuf, OsString> = HashMap::new();
        let mut buffer = vec![0; 1 << 17];
        let ended = foreign.scan(|mut node, holes, from| {
            // A further name of a symbolic link is one of its own, as it is in a walk over a tree.
            if let Kind::Hardlink { target } = &node.kind
                && let Some(target) = symlinks.get(target).cloned()
            {
                node.kind = Kind::Symlink { target };
            }
            if let Kind::Symlink { target } = &node.kind {
                symlinks.insert(node.path.clone(), target.clone());
            }
            let path = node.path.clone();
            let mut digest = None;
            if let Kind::File { size } = node.kind {
                let mut hasher = Hasher::default();
                let mut total = 0;
                loop {
                    match from.read(&mut buffer)? {
                        0 => break,
                        read => {
                            hasher.update(&buffer[..read]);
                            total += read as u64;
                            progress(read as u64);
                        }
                    }
                }
                if total != size {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "cut off inside a file"));
                }
                digest = Some(hasher.finish());
            }
            let twice = !names.insert(path);
            let says = |what: &str, why: &str| Damage { path: RecordPath::new(&node.path), what: what.into(), why: Some(why.into()) };
            if node.path == Path::new(INDEX_NAME) {
                damage.push(Damage {
                    path: RecordPath::new("<footer>"),
                    what: "index".into(),
                    why: Some("it holds an index, but its footer does not lead there".into()),
                });
            } else if check_plain(&node.path).is_err() {
                damage.push(says("name", "a name that leads outside the archive"));
            } else if twice && node.kind != Kind::Dir {
                damage.push(says("name", "two entries of one name"));
            } else if !(twice && node.kind == Kind::Dir) {
                bytes += node.kind.size();
                entries.push(Entry { node, digest, chunks: 0..0, identity: None, sqlite: None, partial: None, same_as: None, holes });
            }
            Ok(())
        });
        (foreign.entries, foreign.damage, foreign.bytes) = (entries, damage, bytes);
        if let Err(e) = ended {
            if e.raw_os_error().is_some() {
                return Err(e).named("read", path);
            }
            let truncated = e.kind() == io::ErrorKind::UnexpectedEof;
            if foreign.entries.is_empty() && !truncated {
                return Err(Error::archive(path, format!("not an archive that can be read: {e}")));
            }
            let place = foreign.entries.last().map_or_else(|| PathBuf::from("<stream>"), |last| last.node.path.clone());
            let what = if truncated { "truncated" } else { "member" };
            foreign.damage.push(Damage { path: RecordPath::new(place), what: what.into(), why: Some(format!("after this entry: {e}")) });
        }
        foreign.check_places();
        Ok(foreign)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Regular files in it.
    pub fn files(&self) -> u64 {
        self.entries.iter().filter(|e| matches!(e.node.kind, Kind::File { .. })).count() as u64
    }

    /// The newest modification time inside: the best guess at when it was made that no copying can change.
    pub fn time(&self) -> Timestamp {
        let newest = self.entries.iter().map(|e| e.node.meta.mtime).max().unwrap_or_default();
        Timestamp::new(newest.seconds, newest.nanos as i32).unwrap_or_default()
    }

    /// Every entry, under the name that it has in the archive.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// An entry below something that is no folder cannot exist on any disk, nor can a hard link to nothing or to a folder.
    fn check_places(&mut self) {
        // In the order of their paths everything below one comes right after it.
        let mut order: Vec<&Node> = self.entries.iter().map(|entry| &entry.node).collect();
        order.sort_by(|a, b| a.path.cmp(&b.path));
        let (mut closed, mut below): (Option<&Path>, HashSet<&Path>) = (None, HashSet::new());
        for node in order {
            if closed.is_some_and(|closed| node.path.starts_with(closed)) {
                below.insert(&node.path);
            } else if node.kind != Kind::Dir {
                closed = Some(&node.path);
            }
        }
        let mut earlier: HashSet<&Path> = HashSet::new();
        let mut damage = Vec::new();
        for Entry { node: Node { path, kind, .. }, .. } in &self.entries {
            let mut says = |why: &str| damage.push(Damage { path: RecordPath::new(path), what: "name".into(), why: Some(why.into()) });
            if below.contains(path.as_path()) {
                says("it stands below something that is no folder");
            }
            match kind {
                Kind::Hardlink { target } if !earlier.contains(target.as_path()) => says("it is a hard link to nothing that stands before it"),
                // What it links to is a name of the same file, whichever of them came first.
                Kind::File { .. } | Kind::Symlink { .. } | Kind::Hardlink { .. } | Kind::Fifo => drop(earlier.insert(path)),
                _ => {}
            }
        }
        self.damage.extend(damage);
    }

    /// Walks the tar stream; `take` gets each entry, its holes as far as the archive tells them, and its content.
    fn scan(&self, mut take: impl FnMut(Node, Vec<Hole>, &mut dyn Read) -> io::Result<()>) -> io::Result<()> {
        let file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        let (mut zeros, mut weight) = (0_u64, 0_u64);
        let mut raw = BufReader::with_capacity(1 << 17, file);
        let packed = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let stream: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        let heard = Rc::new(RefCell::new(Heard::default()));
        let mut archive = tar::Archive::new(Tape { from: stream, heard: heard.clone() });
        let mut entries = archive.entries()?;
        let mut any = false;
        loop {
            heard.borrow_mut().begin();
            let Some(mut entry) = entries.next().transpose()? else { break };
            let blocks = heard.borrow_mut().end();
            any = true;
            if entry.header().entry_type() != tar::EntryType::XGlobalHeader {
                let said = header::decode_any(&mut blocks.as_slice()).and_then(|said| said.ok_or_else(|| "no header".into()));
                let said = said.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
                let stored = if said.sparse.is_some() { entry.size() } else { entry.header().entry_size()? };
                let whole = said.sparse.as_ref().map_or(entry.size(), |sparse| sparse.size);
                zeros = zeros.saturating_add(whole.saturating_sub(stored));
                if zeros > MOST_ZEROS.max(length.saturating_mul(BEST_RATIO)) {
                    let why =
                        format!("sparse files with {} GiB of zeros, which would take hours to read: pack it again without --sparse", zeros >> 30);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                weight += weigh(&said);
                if weight > HARMLESS.max(length.saturating_mul(HARMLESS_RATIO)) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "names and attributes of absurd size for such a short archive"));
                }
                if said.name.len() > LONGEST_NAME || said.name.split(|byte| *byte == b'/').count() > DEEPEST {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a name of absurd length"));
                }
                let kind = match said.kind {
                    // The reader has worked sparse ones out.
                    Kind::File { .. } => Kind::File { size: entry.size() },
                    Kind::Hardlink { target } => Kind::Hardlink { target: tidy(target.as_os_str().as_bytes()) },
                    other => other,
                };
                let path = tidy(&said.name);
                if !path.as_os_str().is_empty() {
                    match said.sparse.filter(|_| matches!(kind, Kind::File { .. })) {
                        None => take(Node { path, kind, meta: said.meta }, Vec::new(), &mut entry)?,
                        Some(sparse) => {
                            let stored = entry.size();
                            let mut content = sparse.unfold(&mut entry, stored)?;
                            take(Node { path, kind: Kind::File { size: sparse.size }, meta: said.meta }, content.holes(), &mut content)?;
                        }
                    }
                }
            }
            io::copy(&mut entry, &mut io::sink())?;
        }
        if !any {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no entries in it"));
        }
        // The rest of the stream holds the checksum of what was read.
        heard.borrow_mut().blocks = None;
        io::copy(&mut archive.into_inner(), &mut io::sink()).map(|_| ())
    }

    /// The index of everything in it, under the names that it has there.
    pub fn whole(&mut self) -> Index {
        self.places = vec![(PathBuf::new(), PathBuf::new())];
        let mut entries = self.entries.clone();
        entries.sort_by(|a, b| a.node.path.cmp(&b.node.path));
        let mut roots: Vec<String> = entries.iter().filter_map(|e| e.node.path.iter().next()).map(|name| name.display().to_string()).collect();
        roots.dedup();
        self.described(entries, roots)
    }

    /// Finds the service's `roots` in it and gives the index of what lies below them, under the names that they have in the tree.
    /// The old procedures left `data` and `config` in some folder (absolute paths lose their slash), or with a date behind
    /// their names.
    ///
    /// # Errors
    /// [`Error::Refused`] when no root is recognisable, or a root is there more than once: going back to a mixture of generations
    /// would be worse than not going back.
    pub fn arrange(&mut self, roots: &[PathBuf]) -> Result<Index> {
        let mut places: BTreeMap<PathBuf, &PathBuf> = BTreeMap::new();
        for entry in &self.entries {
            for root in roots {
                if let Some(place) = place_of(&entry.node.path, root) {
                    places.insert(place, root);
                }
            }
        }
        // A folder called data inside data is content.
        let mut tops: Vec<(PathBuf, PathBuf)> = Vec::new();
        for (place, root) in places {
            // In their order what is inside of one comes right after it.
            if tops.last().is_none_or(|(above, _)| !place.starts_with(above)) {
                tops.push((place, root.clone()));
            }
        }
        let says = |why: String| Error::Refused(format!("{}: {why}", self.path.display()));
        if tops.is_empty() {
            let names: Vec<_> = roots.iter().map(|r| r.display().to_string()).collect();
            return Err(says(format!("none of the roots ({}) is recognisable in it", names.join(", "))));
        }
        let mut folder: Option<PathBuf> = None;
        for (at, (place, root)) in tops.iter().enumerate() {
            if let Some((other, _)) = tops[..at].iter().find(|(_, r)| r == root) {
                return Err(says(format!("it holds {} more than once: {} and {}", root.display(), other.display(), place.display())));
            }
            let above: PathBuf = place.iter().take(place.iter().count() - root.iter().count()).collect();
            if folder.get_or_insert_with(|| above.clone()) != &above {
                return Err(says("its roots stand in different folders, which may be different generations".into()));
            }
        }
        self.places = tops;
        let mut entries = Vec::new();
        for entry in &self.entries {
            let Some(path) = moved(&entry.node.path, &self.places) else { continue };
            let mut entry = entry.clone();
            if let Kind::Hardlink { target } = &mut entry.node.kind {
                let inside = moved(target, &self.places);
                *target = inside.ok_or_else(|| says(format!("{} links to a file outside the roots", path.display())))?;
            }
            entry.node.path = path;
            entries.push(entry);
        }
        entries.sort_by(|a, b| a.node.path.cmp(&b.node.path));
        let roots: Vec<String> = self.places.iter().map(|(_, root)| root.display().to_string()).collect();
        Ok(self.described(entries, roots))
    }

    fn described(&self, entries: Vec<Entry>, roots: Vec<String>) -> Index {
        let snapshot = Snapshot { id: file_stem(&self.path), mode: Some("full".into()), roots, legacy: Some(true), ..Snapshot::default() };
        Index { head: Head { time: self.time(), snapshot, ..Head::default() }, entries, chunks: Vec::new() }
    }

    /// Gives every file of the arranged `index` with its content to `take`, in the archive's order.
    ///
    /// # Errors
    /// [`Error::Archive`] when it reads differently than the first time, and what `take` returns.
    pub(super) fn each_file(&self, index: &Index, mut take: impl FnMut(&Entry, &mut Pieces<'_>) -> Result<()>) -> Result<()> {
        let by_path: HashMap<&Path, &Entry> = index.entries.iter().map(|e| (e.node.path.as_path(), e)).collect();
        let mut stopped = None;
        let scanned = self.scan(|node, _, from| {
            let entry = moved(&node.path, &self.places).and_then(|path| by_path.get(path.as_path()).copied());
            if let Some(entry) = entry.filter(|e| matches!(e.node.kind, Kind::File { .. }))
                && let Err(e) = take(entry, &mut Pieces { from, archive: &self.path })
            {
                stopped = Some(e);
                return Err(io::Error::other("stopped"));
            }
            Ok(())
        });
        match stopped {
            Some(e) => Err(e),
            None => scanned.named("read", &self.path),
        }
    }
}

/// About how much memory an entry takes.
fn weigh(said: &header::Described) -> u64 {
    let link = match &said.kind {
        Kind::Symlink { target } => target.len(),
        Kind::Hardlink { target } => target.as_os_str().len(),
        _ => 0,
    };
    let attributes: usize = said.meta.xattrs.iter().map(|(name, value)| 64 + name.len() + value.len()).sum();
    (512 + 2 * said.name.len() + link + attributes) as u64
}

/// Keeps the headers that pass by, because the tar reader gives PAX records cut at every newline, and ends a bomb of them, because it
/// would collect them without limit.
struct Tape<R> {
    from: R,
    heard: Rc<RefCell<Heard>>,
}

#[derive(Default)]
struct Heard {
    /// Position in the stream.
    at: u64,
    /// What has come by since an entry's headers began, padding first; `None` while content is read.
    blocks: Option<Vec<u8>>,
    padding: usize,
}

impl Heard {
    fn begin(&mut self) {
        self.padding = header::padding(self.at);
        self.blocks = Some(Vec::new());
    }

    fn end(&mut self) -> Vec<u8> {
        let mut blocks = self.blocks.take().unwrap_or_default();
        blocks.drain(..self.padding.min(blocks.len()));
        blocks
    }
}

impl<R: Read> Read for Tape<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        let mut heard = self.heard.borrow_mut();
        heard.at += read as u64;
        if let Some(blocks) = &mut heard.blocks {
            blocks.extend_from_slice(&buffer[..read]);
            if blocks.len() > 4 * header::LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an extended header of absurd size"));
            }
        }
        Ok(read)
    }
}

/// The archive's name without its endings: what stands for the id that such an archive has not.
pub fn file_stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    [".tar.gz", ".tgz", ".tar"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name).to_owned()
}

/// The beginning of `path` that is `root` by name, at the highest place; the last name may have a date behind it.
fn place_of(path: &Path, root: &Path) -> Option<PathBuf> {
    let names: Vec<&[u8]> = path.iter().map(|n| n.as_bytes()).collect();
    let root: Vec<&[u8]> = root.iter().map(|n| n.as_bytes()).collect();
    let (last, above) = root.split_last()?;
    let dated = |name: &[u8]| {
        let digits = name.strip_prefix(*last).and_then(|rest| rest.strip_prefix(b"-")).unwrap_or_default();
        digits.len() >= 8 && digits.iter().all(|b| b.is_ascii_digit() || *b == b'-' || *b == b'_')
    };
    (0..names.len().checked_sub(above.len())?).find_map(|start| {
        let name = names.get(start + above.len())?;
        let found = names[start..start + above.len()] == *above && (name == last || dated(name));
        found.then(|| path.iter().take(start + root.len()).collect())
    })
}

/// `./a//b/` and `/a/b` are `a/b`; `..` stays, to be refused.
fn tidy(name: &[u8]) -> PathBuf {
    let name = PathBuf::from(OsString::from_vec(name.to_vec()));
    name.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir)).collect()
}

fn moved(path: &Path, places: &[(PathBuf, PathBuf)]) -> Option<PathBuf> {
    places.iter().find_map(|(from, to)| {
        let rest = path.strip_prefix(from).ok()?;
        Some(if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old-20251215.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(1_700_000_000);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, &b"text"[..]).unwrap();
        }
        builder.finish().unwrap();
        (dir, path)
    }

    fn arranged(names: &[&str]) -> std::result::Result<Vec<String>, String> {
        let (_dir, path) = tar(names);
        let mut foreign = Foreign::open(&path, &|_| ()).unwrap();
        assert!(foreign.damage.is_empty(), "{:?}", foreign.damage);
        let index = foreign.arrange(&["config".into(), "data".into(), "modules/ui".into()]).map_err(|e| e.to_string())?;
        Ok(index.entries.iter().map(|e| e.node.path.display().to_string()).collect())
    }

    #[test]
    fn the_three_layouts_of_old_are_understood() {
        let expected = ["config/c", "data/a"].map(str::to_owned).to_vec();
        assert_eq!(
            arranged(&["/home/u/backups/ecosystem-weekly-20251215/data/a", "/home/u/backups/ecosystem-weekly-20251215/config/c"]),
            Ok(expected.clone())
        );
        assert_eq!(arranged(&["backup/data-20251216/a", "backup/config-20251216/c"]), Ok(expected.clone()));
        assert_eq!(arranged(&["./ecosystem-x/data/a", "./ecosystem-x/config/c", "./ecosystem-x/notes"]), Ok(expected.clone()));
        assert_eq!(arranged(&["data/a", "config/c"]), Ok(expected));
        assert_eq!(arranged(&["x/data/data/a", "x/modules/ui/m"]), Ok(vec!["data/data/a".into(), "modules/ui/m".into()]));
    }

    #[test]
    fn mixtures_and_unknown_layouts_are_refused() {
        assert!(arranged(&["a/b", "c/d"]).unwrap_err().contains("none of the roots"));
        assert!(arranged(&["one/data/a", "two/data/a"]).unwrap_err().contains("more than once"));
        assert!(arranged(&["data-20251215/a", "data-20251216/a"]).unwrap_err().contains("more than once"));
        assert!(arranged(&["one/data/a", "two/config/a"]).unwrap_err().contains("different generations"));
    }

    #[test]
    fn names_that_lead_outside_or_clash_are_damage() {
        for (names, what) in [
            (vec!["data/../../etc/passwd"], "leads outside"),
            (vec!["data/a", "./data/a"], "two entries"),
            (vec!["data/a", "data/a/b"], "below something that is no folder"),
            (vec!["stargz.index.json"], "footer"),
        ] {
            let (_dir, path) = tar(&names);
            let damage = Foreign::open(&path, &|_| ()).unwrap().damage;
            assert!(damage.iter().any(|d| d.why.as_deref().unwrap_or_default().contains(what)), "{names:?}: {damage:?}");
        }
    }

    fn packed(records: &[(&str, &[u8])], kind: tar::EntryType, size: u64, times: usize) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd.tar.gz");
        let gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::new(6));
        let mut builder = tar::Builder::new(gzip);
        for number in 0..times {
            builder.append_pax_extensions(records.iter().copied()).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_path(format!("data/{number}")).unwrap();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(0);
            if let Some(gnu) = header.as_gnu_mut().filter(|_| kind == tar::EntryType::GNUSparse) {
                gnu.set_real_size(size);
                gnu.sparse[0].set_offset(size);
                gnu.sparse[0].set_length(0);
            }
            header.set_cksum();
            builder.append(&header, &[][..]).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        (dir, path)
    }

    fn refused(at: &Path) -> String {
        match Foreign::open(at, &|_| ()) {
            Ok(foreign) => foreign.damage.iter().filter_map(|damage| damage.why.clone()).collect(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn zeros_that_would_take_hours_to_read_are_refused() {
        use tar::EntryType::{GNUSparse, Regular};
        let claims = |size: &str, times: usize| {
            let (_dir, path) = packed(&[("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", b"")], Regular, 0, times);
            refused(&path)
        };
        assert!(claims("17592186044416", 1).contains("16384 GiB of zeros"), "{}", claims("17592186044416", 1));
        // Each by itself could be.
        assert!(claims("40000000000000", 1).contains("size that can be"));
        let (_dir, path) = packed(&[], GNUSparse, 1 << 45, 1);
        assert!(refused(&path).contains("32768 GiB of zeros"), "{}", refused(&path));
        assert_eq!(claims("30000000", 2), "");
    }

    #[test]
    fn names_and_attributes_that_shrink_too_well_are_refused() {
        let value = vec![0; 500_000];
        let (_dir, path) = packed(&[("SCHILY.xattr.user.a", &value)], tar::EntryType::Regular, 0, 10);
        assert!(refused(&path).contains("absurd size"), "{}", refused(&path));
        let long = "a/".repeat(100_000);
        for name in [long.as_str(), &"n".repeat(40_000), &format!("{}x", &long[..10_000])] {
            let (_dir, path) = packed(&[("path", name.as_bytes())], tar::EntryType::Regular, 0, 1);
            assert!(refused(&path).contains("a name of absurd length"), "{} {}", name.len(), refused(&path));
        }
        // What differs in a number only is honest.
        let (_dir, path) = packed(&[], tar::EntryType::Regular, 0, 4000);
        assert_eq!((refused(&path).as_str(), Foreign::open(&path, &|_| ()).unwrap().files()), ("", 4000));
    }

    #[test]
    fn what_stands_below_something_is_found_however_deep_it_is() {
        let below = |names: &[&str]| {
            let (_dir, path) = tar(names);
            Foreign::open(&path, &|_| ()).unwrap().damage.len()
        };
        // Other names may stand between the two in the order of their bytes.
        assert_eq!(below(&["a", "a!b", "a.b", "a/b/c", "a-b/c", "b/c", "b/d"]), 1);
        assert_eq!(below(&["a/b", "a/b/c", "a/b/c/d", "a/bc"]), 2);
        assert_eq!(below(&["x/a/b/c/d", "x/a/b/c/e", "x/a"]), 2);
    }

    #[test]
    fn a_cut_archive_names_the_last_whole_entry() {
        let (_dir, path) = tar(&["data/a", "data/b"]);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(512 + 512 + 512 + 2).unwrap();
        let foreign = Foreign::open(&path, &|_| ()).unwrap();
        assert_eq!((foreign.damage[0].path.path.as_str(), foreign.damage[0].what.as_str()), ("data/a", "truncated"));
        std::fs::write(&path, "no archive at all, just text that goes on".repeat(50)).unwrap();
        assert!(Foreign::open(&path, &|_| ()).is_err());
    }
}
