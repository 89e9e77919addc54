//! The thread that reads the tree, entry by entry, and decides what has to be stored.

use super::super::index::{Entry, Listed, Partial, piece_size};
use super::super::{CHUNK, header};
use super::beside::Beside;
use super::{Ask, Budget, Event, How, Packed};
use crate::digest::{self, Hasher};
use crate::disk;
use crate::error::{Error, Named, Result};
use crate::scope::{Found, Site, Step, Unreadable, is_unreadable};
use crate::tree::{Digest, Hole, Kind, Meta, Node};
use rustix::fs::{Mode, OFlags, Stat};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Small pieces travel together up to this size, so that a tree of tiny files does not spend its time between threads.
const BATCH: usize = 256 << 10;

/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;

/// What was found and read.
#[derive(Default)]
pub(super) struct Captured {
    /// Regular files in the snapshot, and their bytes.
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Files that kept changing while they were read.
    pub(super) unstable: Vec<PathBuf>,
    /// Files that were gone when their turn came.
    pub(super) vanished: Vec<PathBuf>,
    pub(super) absent: Vec<PathBuf>,
    pub(super) sockets: Vec<PathBuf>,
    /// What the archive from before holds and this snapshot does not.
    pub(super) gone: Vec<PathBuf>,
}

/// What became of one attempt to read a file.
enum Attempt {
    Done,
    Changed,
    Vanished,
    /// Something that is no file has its name now: it is left out, and named as unstable.
    Replaced,
}

/// The way to the threads that pack and write.
pub(super) struct Flow<'a> {
    work: Sender<(Vec<Event>, Sender<Packed>)>,
    order: Sender<(usize, Receiver<Packed>)>,
    budget: &'a Budget,
    batch: Vec<Event>,
    weight: usize,
}

impl<'a> Flow<'a> {
    pub(super) fn new(work: Sender<(Vec<Event>, Sender<Packed>)>, order: Sender<(usize, Receiver<Packed>)>, budget: &'a Budget) -> Flow<'a> {
        Flow { work, order, budget, batch: Vec::new(), weight: 0 }
    }

    fn send(&mut self, event: Event) -> Result<()> {
        self.weight += event.weight();
        self.batch.push(event);
        if self.weight >= BATCH || self.batch.len() >= 4096 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let (answer, done) = channel();
        let weight = std::mem::take(&mut self.weight);
        let batch = std::mem::take(&mut self.batch);
        // Nobody writes any more: the error that matters is the writer's.
        let gone = || Error::Other("the archive could not be written".into());
        if !self.budget.take(weight) {
            return Err(gone());
        }
        self.order.send((weight, done)).map_err(|_| gone())?;
        self.work.send((batch, answer)).map_err(|_| gone())
    }
}

/// The thread that reads the tree.
pub(super) struct Reader<'a, I: Iterator> {
    site: &'a Site,
    top: &'a str,
    flow: Flow<'a>,
    before: Option<Beside<'a, I>>,
    how: Ask<'a>,
    progress: &'a (dyn Fn(u64) + Sync),
    stop: &'a AtomicBool,
    captured: Captured,
    /// As soon as anything is, nothing will come of the archive, and what is left to find out is what else stands in its way.
    unreadable: Unreadable,
    /// Headers and padding that wait for the next content.
    pending: Vec<u8>,
    /// The folders on the way down to the current entry that a differential archive does not hold yet.
    way: Vec<Found>,
    /// What has several names and is stored: what links to it must find it in the same archive.
    linked: HashSet<PathBuf>,
    /// Names that are new, of files that only the base holds.
    apart: HashMap<PathBuf, PathBuf>,
    /// Files whose times say nothing about what is written to them.
    mapped: HashSet<u64>,
    /// A file with several names may lose the first one meanwhile: the next one then stands for it.
    heirs: HashMap<PathBuf, PathBuf>,
}

impl<'a, I: Iterator<Item = std::result::Result<Listed, String>>> Reader<'a, I> {
    pub(super) fn new(
        site: &'a Site,
        top: &'a str,
        flow: Flow<'a>,
        before: Option<Beside<'a, I>>,
        how: Ask<'a>,
        progress: &'a (dyn Fn(u64) + Sync),
        stop: &'a AtomicBool,
    ) -> Result<Reader<'a, I>> {
        Ok(Reader {
            site,
            top,
            flow,
            before,
            how,
            progress,
            stop,
            captured: Captured::default(),
            unreadable: Unreadable::default(),
            pending: Vec::new(),
            way: Vec::new(),
            linked: HashSet::new(),
            apart: HashMap::new(),
            mapped: disk::mapped(),
            heirs: HashMap::new(),
        })
    }

    pub(super) fn run(mut self, steps: impl Iterator<Item = Result<Step>>) -> Result<Captured> {
        for step in steps {
            match step? {
                Step::Found(found) if self.unreadable.is_empty() => self.entry(found)?,
                Step::Found(found) => self.look(&found),
                Step::Absent(root) => self.captured.absent.push(root),
                Step::Socket(path) => self.captured.sockets.push(path),
                Step::Unreadable { why, .. } => self.unreadable.add(&why),
            }
            self.go_on()?;
        }
        self.unreadable.check()?;
        self.headers()?;
        self.flow.flush()?;
        self.captured.gone = self.before.map(Beside::finish).transpose()?.unwrap_or_default();
        Ok(self.captured)
    }

    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted("the unfinished archive is removed".into())) } else { Ok(()) }
    }

    fn differential(&self) -> bool {
        self.before.as_ref().is_some_and(Beside::differential)
    }

    /// Whether a file that is there may be read, too.
    fn look(&mut self, found: &Found) {
        if let Kind::File { .. } = found.node.kind {
            let (path, flags) = (&found.node.path, OFlags::RDONLY | OFlags::NONBLOCK);
            let opened = self.site.open_at(path, flags).named("read", self.site.base().join(path));
            if let Err(why) = opened.map(|_| ()) {
                self.refused(why).unwrap_or_default();
            }
        }
    }

    /// What cannot be read is collected; other errors end the work.
    fn refused(&mut self, why: Error) -> Result<()> {
        if !is_unreadable(&why) {
            return Err(why);
        }
        self.unreadable.add(&why);
        Ok(())
    }

    fn entry(&mut self, mut found: Found) -> Result<()> {
        self.follow_links(&mut found);
        let how = if matches!(found.node.kind, Kind::File { .. }) { (self.how)(&found)? } else { How::AsItIs };
        if let How::LeftOut = how {
            return Ok(());
        }
        let listed = self.before.as_mut().map(|before| before.find(&found)).transpose()?.flatten();
        if self.differential() {
            self.way.retain(|folder| found.node.path.starts_with(&folder.node.path));
            if listed.as_ref().is_some_and(|listed| listed.entry.node == found.node) && !self.is_always_looked_at(&found) {
                // A folder is stored only if something below it is.
                if found.node.kind == Kind::Dir {
                    self.way.push(found);
                }
                return Ok(());
            }
            self.follow_new_links(&mut found);
        }
        match found.node.kind {
            Kind::File { .. } => self.file(found, how, listed.as_ref()),
            _ => {
                if found.links {
                    self.linked.insert(found.node.path.clone());
                }
                self.begin(entry(found))
            }
        }
    }

    /// Whether it may have to be in a differential archive although it stands in the base just as it is.
    fn is_always_looked_at(&self, found: &Found) -> bool {
        match &found.node.kind {
            Kind::File { .. } => true,
            // Whoever unpacks the one archive over the other must not keep the file from before under this name.
            Kind::Hardlink { target } => self.linked.contains(target),
            // An archive without any entry is more than some readers can bear.
            Kind::Dir => found.node.path.as_os_str().is_empty(),
            // A pipe with several names: the others may be new.
            _ => found.links,
        }
    }

    /// A new link to a file that was found unchanged a moment ago, and is therefore not in this archive, is stored as a file that says
    /// whose other name it is.
    fn follow_new_links(&mut self, found: &mut Found) {
        if let Kind::Hardlink { target } = &found.node.kind
            && !self.linked.contains(target)
        {
            self.apart.insert(found.node.path.clone(), target.clone());
            self.heirs.insert(target.clone(), found.node.path.clone());
            found.node.kind = Kind::File { size: 0 };
        }
    }

    /// A link to a file that is not in this archive, because it has vanished meanwhile, is a file of its own; and so are the further
    /// links to it then links to this one.
    fn follow_links(&mut self, found: &mut Found) {
        let Kind::Hardlink { target } = &mut found.node.kind else { return };
        if let Some(heir) = self.heirs.get(target) {
            target.clone_from(heir);
        } else if self.captured.vanished.contains(target) {
            self.heirs.insert(target.clone(), found.node.path.clone());
            found.node.kind = Kind::File { size: 0 };
        }
    }

    fn file(&mut self, found: Found, how: How, listed: Option<&Listed>) -> Result<()> {
        if let (How::AsItIs, Some(before), Some(listed)) = (&how, &self.before, listed)
            && before.is_untouched(listed, &found)
        {
            return self.untouched(found, listed);
        }
        let copy = if let How::Copy(path, digest) = how { Some((path, digest)) } else { None };
        for attempt in 1..=TRIES {
            let tried = match self.read(found.clone(), copy.as_ref(), listed, attempt == TRIES) {
                Ok(tried) => tried,
                Err(why) => return self.refused(why),
            };
            match tried {
                Attempt::Done => break,
                gone @ (Attempt::Vanished | Attempt::Replaced) => {
                    let path = found.node.path;
                    // Nor can it be an heir then.
                    self.heirs.retain(|_, heir| *heir != path);
                    self.apart.remove(&path);
                    if let (Some(before), Some(_)) = (&mut self.before, listed) {
                        before.lose(&path);
                    }
                    if let Attempt::Replaced = gone {
                        self.captured.unstable.push(path.clone());
                    }
                    self.captured.vanished.push(path);
                    break;
                }
                Attempt::Changed if attempt == TRIES => self.captured.unstable.push(found.node.path.clone()),
                Attempt::Changed => {}
            }
        }
        Ok(())
    }

    /// A file that is certainly the one from before: its pieces are taken over, or left where they are.
    fn untouched(&mut self, mut found: Found, listed: &Listed) -> Result<()> {
        self.count(&found.node);
        if self.differential() {
            return Ok(());
        }
        let was = &listed.entry;
        found.node.meta.xattrs.clone_from(&was.node.meta.xattrs);
        let (path, size) = (found.node.path.clone(), found.node.kind.size());
        self.begin(Entry { digest: was.digest, holes: was.holes.clone(), ..entry(found) })?;
        let mut at = 0;
        for piece in &listed.pieces {
            self.headers()?;
            (self.progress)(u64::from(piece.size));
            self.flow.send(Event::Again(*piece, path.clone(), at))?;
            at += u64::from(piece.size);
        }
        if size > 0 {
            self.pending.resize(header::padding(size), 0);
        }
        Ok(())
    }

    fn count(&mut self, node: &Node) {
        if !self.apart.contains_key(&node.path) {
            self.captured.files += 1;
            self.captured.bytes += node.kind.size();
        }
    }

    /// Reads one file. A change that is noticed before anything was sent costs nothing; a larger file is taken back. On the last
    /// try it is kept as it is.
    fn read(&mut self, mut found: Found, copy: Option<&(PathBuf, Digest)>, listed: Option<&Listed>, last_try: bool) -> Result<Attempt> {
        let full = self.site.base().join(&found.node.path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let live = self.site.open_at(&found.node.path, flags);
        let mut opened = match live {
            Ok(file) => Opened::new(File::from(file), full)?,
            Err(rustix::io::Errno::NOENT) => return Ok(Attempt::Vanished),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR | rustix::io::Errno::NXIO) => return Ok(Attempt::Replaced),
            Err(e) => return Err(e).named("read", full),
        };
        let (now, identity) = disk::describe(found.node.path.clone(), &opened.before);
        if !matches!(now.kind, Kind::File { .. }) {
            return Ok(Attempt::Replaced);
        }
        // Another file may have taken the name since the walk: that one is nobody's link.
        if (identity.dev, identity.ino) != (found.identity.dev, found.identity.ino) {
            self.apart.remove(&found.node.path);
        }
        // Permissions and owner may have changed since the walk; names are asked once.
        let meta = std::mem::take(&mut found.node.meta);
        let xattrs = disk::xattrs_of(opened.file.as_fd(), &opened.path)?;
        found.node.meta = Meta { user: meta.user, group: meta.group, xattrs, ..now.meta };
        if let Some((path, _)) = copy {
            let file = rustix::fs::open(path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).named("read", path)?;
            opened = Opened::new(File::from(file), path.clone())?;
        } else {
            found.identity = identity;
        }
        opened.find_holes()?;
        found.node.kind = Kind::File { size: opened.before.st_size as u64 };
        if found.links {
            self.linked.insert(found.node.path.clone());
        }
        // What is to become a link is not the file that had its name before, be it the same in everything else.
        let listed = listed.filter(|_| self.differential() && !self.apart.contains_key(&found.node.path));
        let compared = Compared { sqlite: copy.map(|(_, digest)| *digest), listed };
        if opened.before.st_size as usize <= CHUNK {
            self.read_small(found, opened, compared, last_try)
        } else if compared.listed.is_some() && !last_try {
            self.read_changes(found, opened, compared)
        } else {
            self.read_large(found, opened, compared, last_try)
        }
    }

    fn read_small(&mut self, mut found: Found, mut opened: Opened, compared: Compared<'_>, last_try: bool) -> Result<Attempt> {
        let size = found.node.kind.size();
        let mut content = Vec::with_capacity(size as usize + 1);
        (&mut opened.file).take(CHUNK as u64 + 1).read_to_end(&mut content).named("read", &opened.path)?;
        let stable = content.len() as u64 == size && opened.is_unchanged()?;
        if !stable && !last_try {
            return Ok(Attempt::Changed);
        }
        // One that grows and grows is kept as far as it was when it was opened.
        content.truncate(CHUNK);
        found.node.kind = Kind::File { size: content.len() as u64 };
        self.count(&found.node);
        let attempt = if stable { Attempt::Done } else { Attempt::Changed };
        if compared.listed.is_some() && compared.is_same(&found, &digest::of(&content)) {
            self.linked.remove(&found.node.path);
            return Ok(attempt);
        }
        let size = content.len() as u64;
        opened.holes.retain(|(offset, length)| offset + length <= size);
        self.begin(Entry { sqlite: compared.sqlite, holes: opened.holes, ..entry(found) })?;
        if !content.is_empty() {
            self.content(content)?;
            self.pending.resize(header::padding(size), 0);
        }
        Ok(attempt)
    }

    fn read_large(&mut self, found: Found, mut opened: Opened, compared: Compared<'_>, last_try: bool) -> Result<Attempt> {
        let (node, size) = (found.node.clone(), found.node.kind.size());
        let holes = std::mem::take(&mut opened.holes);
        let before_this = self.mark(Entry { sqlite: compared.sqlite, holes, ..entry(found) })?;
        let mut hasher = Hasher::default();
        let mut whole = true;
        let mut left = size;
        while left > 0 {
            self.go_on()?;
            let want = left.min(CHUNK as u64) as usize;
            let mut piece = Vec::with_capacity(want);
            (&mut opened.file).take(want as u64).read_to_end(&mut piece).named("read", &opened.path)?;
            // The header has promised a length: what a shrunken file lacks becomes zeros, and it is named as unstable.
            whole &= piece.len() == want;
            piece.resize(want, 0);
            hasher.update(&piece);
            left -= want as u64;
            self.content(piece)?;
        }
        let stable = whole && opened.is_unchanged()?;
        if !stable && !last_try {
            return self.rewind(before_this);
        }
        self.flow.send(Event::Digest(hasher.finish()))?;
        self.pending.resize(header::padding(size), 0);
        self.count(&node);
        Ok(if stable { Attempt::Done } else { Attempt::Changed })
    }

    /// A large file that the base may hold in part: only the pieces that differ are stored. It is read twice, since its header says
    /// how many those are.
    fn read_changes(&mut self, found: Found, opened: Opened, compared: Compared<'_>) -> Result<Attempt> {
        let (node, size) = (found.node.clone(), found.node.kind.size());
        let was = compared.listed.map_or(&[][..], |listed| &listed.pieces);
        // Pieces of other sizes than ours would be in other places.
        let was = if was.iter().rev().skip(1).all(|piece| piece.size as usize == CHUNK) { was } else { &[] };
        let (mut whole, mut changes, mut stored) = (Hasher::default(), Hasher::default(), 0);
        let mut held: Vec<(u32, Digest)> = Vec::new();
        let pieces = size.div_ceil(CHUNK as u64);
        for number in 0..pieces {
            self.go_on()?;
            let Some(piece) = opened.piece(size, number) else { return Ok(Attempt::Changed) };
            whole.update(&piece);
            let digest = digest::of(&piece);
            if was.get(number as usize).is_none_or(|was| was.digest != digest || was.size as usize != piece.len()) {
                changes.update(&piece);
                stored += piece.len() as u64;
                held.push((number as u32, digest));
            }
        }
        let whole = whole.finish();
        if !opened.is_unchanged()? {
            return Ok(Attempt::Changed);
        }
        if compared.is_same(&found, &whole) {
            self.linked.remove(&found.node.path);
            self.count(&node);
            return Ok(Attempt::Done);
        }
        // What links to a file must find all of it.
        if held.len() as u64 == pieces || found.links {
            return self.read_large(found, opened, compared, false);
        }
        let partial = Partial { held: held.iter().map(|(number, _)| *number).collect(), digest: changes.finish(), stored };
        let holes = opened.holes.clone();
        let marked = Entry { digest: Some(whole), sqlite: compared.sqlite, partial: Some(Box::new(partial)), holes, ..entry(found) };
        let before_this = self.mark(marked)?;
        for (number, digest) in held {
            self.go_on()?;
            match opened.piece(size, u64::from(number)).filter(|piece| digest::of(piece) == digest) {
                Some(piece) => self.content(piece)?,
                None => return self.rewind(before_this),
            }
        }
        // Where no piece had to be stored, its headers still wait.
        if stored > 0 {
            self.pending.resize(header::padding(stored), 0);
        }
        self.count(&node);
        Ok(Attempt::Done)
    }

    /// Begins an entry that may have to be taken back; gives the headers that waited before it.
    fn mark(&mut self, entry: Entry) -> Result<Vec<u8>> {
        // The folders above it stay, whatever becomes of it.
        self.folders_above(&entry.node.path)?;
        let before_this = self.pending.clone();
        self.flow.send(Event::Mark)?;
        self.store(entry)?;
        Ok(before_this)
    }

    fn rewind(&mut self, before: Vec<u8>) -> Result<Attempt> {
        self.flow.send(Event::Rewind)?;
        self.pending = before;
        Ok(Attempt::Changed)
    }

    fn begin(&mut self, entry: Entry) -> Result<()> {
        self.folders_above(&entry.node.path)?;
        self.store(entry)
    }

    /// Stores the folders that were left out of a differential archive so far, although something in them is stored now.
    fn folders_above(&mut self, path: &Path) -> Result<()> {
        for folder in std::mem::take(&mut self.way) {
            if folder.node.path != path {
                self.store(entry(folder))?;
            }
        }
        Ok(())
    }

    /// Sends an entry; its headers wait for the next content, but never in such numbers that they fill the memory.
    fn store(&mut self, mut entry: Entry) -> Result<()> {
        entry.same_as = self.apart.get(&entry.node.path).cloned();
        // Without it, whoever builds on this archive reads the file again.
        entry.identity = entry.identity.filter(|identity| !self.mapped.contains(&identity.ino));
        if self.pending.len() >= header::TOGETHER {
            self.headers()?;
        }
        let before = self.pending.len();
        header::encode(self.top, &entry.stored_node(), &mut self.pending);
        // Who reads them takes more for an attack.
        if self.pending.len() - before > header::LONGEST {
            let full = self.site.base().join(&entry.node.path);
            let said = format!("{} has more than {} KiB of attributes, which no archive can hold", full.display(), header::LONGEST >> 10);
            return Err(Error::Other(format!("{said}: remove them, or exclude it in eco.toml")));
        }
        self.flow.send(Event::Entry(Box::new(entry)))
    }

    /// Sends the waiting headers.
    fn headers(&mut self) -> Result<()> {
        let headers = std::mem::take(&mut self.pending);
        if headers.is_empty() { Ok(()) } else { self.flow.send(Event::Header(headers)) }
    }

    /// Sends the waiting headers, then a piece of content.
    fn content(&mut self, piece: Vec<u8>) -> Result<()> {
        (self.progress)(piece.len() as u64);
        self.headers()?;
        self.flow.send(Event::Content(piece))
    }
}

fn entry(found: Found) -> Entry {
    Entry {
        node: found.node,
        digest: None,
        chunks: 0..0,
        identity: Some(found.identity),
        sqlite: None,
        partial: None,
        same_as: None,
        holes: Vec::new(),
    }
}

/// A file that is being read, and what it was when that began.
struct Opened {
    file: File,
    path: PathBuf,
    before: Stat,
    holes: Vec<Hole>,
}

impl Opened {
    fn new(file: File, path: PathBuf) -> Result<Opened> {
        let before = rustix::fs::fstat(&file).named("look at", &path)?;
        Ok(Opened { file, path, before, holes: Vec::new() })
    }

    /// Asks for the holes of a file that takes less room than its length; a hint for whoever writes it again.
    fn find_holes(&mut self) -> Result<()> {
        let size = self.before.st_size as u64;
        if (self.before.st_blocks as u64).saturating_mul(512) < size {
            self.holes = disk::holes(&self.file, size);
            self.file.rewind().named("read", &self.path)?;
        }
        Ok(())
    }

    fn is_unchanged(&self) -> Result<bool> {
        let after = rustix::fs::fstat(&self.file).named("look at", &self.path)?;
        Ok(after.st_size == self.before.st_size && disk::identity(&after) == disk::identity(&self.before))
    }

    /// The piece `number` of the file; `None` if it has become shorter.
    fn piece(&self, size: u64, number: u64) -> Option<Vec<u8>> {
        let mut piece = vec![0; piece_size(size, number) as usize];
        self.file.read_exact_at(&mut piece, number * CHUNK as u64).ok().map(|()| piece)
    }
}

/// What a file is compared with before it is stored.
#[derive(Clone, Copy)]
struct Compared<'a> {
    /// Of a database that was copied: the digest without its counters.
    sqlite: Option<Digest>,
    /// The entry from before; only where the archive holds nothing but differences.
    listed: Option<&'a Listed>,
}

impl Compared<'_> {
    /// Whether the file with this content is the one from before, in content and metadata.
    fn is_same(&self, found: &Found, digest: &Digest) -> bool {
        let Some(was) = self.listed.map(|listed| &listed.entry) else { return false };
        let same_content = if self.sqlite.is_some() { was.sqlite == self.sqlite } else { was.digest == Some(*digest) && was.sqlite.is_none() };
        // The copy of a database may be longer or shorter than the other one, and holds the same.
        let same_size = self.sqlite.is_some() || was.node.kind == found.node.kind;
        same_content && same_size && was.node.meta == found.node.meta
    }
}
