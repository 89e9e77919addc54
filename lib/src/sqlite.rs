//! Databases that are in use: a consistent copy through SQLite's own backup, and a digest that ignores the counters which every
//! copy changes.

use crate::archive::How;
use crate::digest::Hasher;
use crate::error::{Error, Named, Result};
use crate::scope::{Found, JOURNALS};
use crate::tree::Digest;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The first bytes of every database: <https://www.sqlite.org/fileformat.html>, 1.3.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long a writer may keep the database locked before the copy gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The names that SQLite keeps beside a database while it is open.
pub fn companions(database: &Path) -> impl Iterator<Item = PathBuf> {
    let database = database.as_os_str().to_owned();
    JOURNALS.iter().map(move |end| {
        let mut name: OsString = database.clone();
        name.push(end);
        name.into()
    })
}

/// Copies databases that are in use (somebody has them open, or a journal lies beside them) into a folder.
pub struct Copier<'a> {
    base: &'a Path,
    scratch: &'a Path,
    /// Device and inode of every file that somebody has open.
    open: HashSet<(u64, u64)>,
    /// Journals of databases that were copied: the copies hold what they held.
    absorbed: HashSet<PathBuf>,
    copies: u64,
}

impl<'a> Copier<'a> {
    /// For the tree at `base`, into the private folder `scratch`.
    pub fn new(base: &'a Path, scratch: &'a Path) -> Copier<'a> {
        Copier { base, scratch, open: open_files(), absorbed: HashSet::new(), copies: 0 }
    }

    /// Says how this file is to be captured, and copies it if it is a database in use. Asked in the order of the walk, in which a
    /// database comes before its journals.
    ///
    /// # Errors
    /// [`Error::Other`] naming the database that cannot be copied: a byte copy of it would be torn.
    pub fn how(&mut self, found: &Found) -> Result<How> {
        let path = &found.node.path;
        if self.absorbed.contains(path) {
            return Ok(How::LeftOut);
        }
        let in_use = found.journal || self.open.contains(&(found.identity.dev, found.identity.ino));
        if !in_use || found.node.kind.size() == 0 || !is_database(&self.base.join(path)) {
            return Ok(How::AsItIs);
        }
        self.copies += 1;
        let copy = self.scratch.join(format!("{}.db", self.copies));
        match try_back_up(&self.base.join(path), &copy) {
            // Its writer died in a transaction, which only a writer could undo. Nobody writes to it, so it is captured as it is,
            // with the journal that heals it wherever it is opened.
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
                let _ = fs::remove_file(&copy);
                return Ok(How::AsItIs);
            }
            tried => finished(tried, &self.base.join(path))?,
        }
        let digest = masked_digest(&copy)?;
        self.absorbed.extend(companions(path));
        Ok(How::Copy(copy, digest))
    }
}

/// A copy of the database as of one moment, while others go on writing to it.
///
/// # Errors
/// [`Error::Other`] naming the database and SQLite's reason.
pub fn back_up(database: &Path, copy: &Path) -> Result<()> {
    finished(try_back_up(database, copy), database)
}

fn finished(tried: rusqlite::Result<bool>, database: &Path) -> Result<()> {
    let why = match tried {
        Ok(true) => return Ok(()),
        Ok(false) => "it stays locked".into(),
        Err(e) => e.to_string(),
    };
    Err(Error::Other(format!("cannot copy the database {} through SQLite: {why}", database.display())))
}

/// False if it stays locked.
fn try_back_up(database: &Path, copy: &Path) -> rusqlite::Result<bool> {
    let from = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    from.busy_timeout(PATIENCE)?;
    let mut to = Connection::open(copy)?;
    // The copy is flushed with the archive that it goes into.
    to.pragma_update(None, "synchronous", "off")?;
    let backup = Backup::new(&from, &mut to)?;
    for _ in 0..100 {
        // All pages in one step: nobody can write in between, so the copy never starts over.
        match backup.step(-1)? {
            StepResult::Done => return Ok(true),
            _ => thread::sleep(PATIENCE / 100),
        }
    }
    Ok(false)
}

/// The digest of a database without the counters that another copy of the same content changes: the file change counter at byte
/// 24, version-valid-for and the writer's version at 92.
///
/// # Errors
/// [`Error::Path`].
pub fn masked_digest(database: &Path) -> Result<Digest> {
    let mut file = File::open(database).named("read", database)?;
    let mut hasher = Hasher::default();
    let mut head = Vec::with_capacity(100);
    (&mut file).take(100).read_to_end(&mut head).named("read", database)?;
    for counter in [24..28, 92..100] {
        if let Some(bytes) = head.get_mut(counter) {
            bytes.fill(0);
        }
    }
    hasher.update(&head);
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer).named("read", database)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// How long counting may take: a database can be made so that it never ends.
const COUNTING: Duration = Duration::from_secs(5);
/// No more tables are counted.
const MOST_TABLES: usize = 200;

/// The tables of a database and how many rows each has. It is opened for writing, so that what lies in its journals is seen: give it a
/// copy.
///
/// # Errors
/// [`Error::Other`] with SQLite's reason.
pub fn count_rows(copy: &Path) -> Result<BTreeMap<String, u64>> {
    let open = || -> rusqlite::Result<Connection> {
        let database = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        database.pragma_update(None, "trusted_schema", false)?;
        Ok(database)
    };
    let count = |database: &Connection| -> rusqlite::Result<BTreeMap<String, u64>> {
        // A virtual table is code of somebody's.
        let tables =
            "select name from sqlite_schema where type = 'table' and name not like 'sqlite~_%' escape '~' and sql not like 'create virtual%'";
        let mut tables = database.prepare(&format!("{tables} order by name limit {MOST_TABLES}"))?;
        let names = tables.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        let rows = |name: String| {
            let query = format!("select count(*) from \"{}\"", name.replace('"', "\"\""));
            let rows: i64 = database.query_row(&query, [], |row| row.get(0))?;
            Ok((name, rows.max(0) as u64))
        };
        names.into_iter().map(rows).collect()
    };
    let why = |e: rusqlite::Error| Error::Other(format!("its tables cannot be counted: {e}"));
    let database = open().map_err(why)?;
    let alarm = database.get_interrupt_handle();
    let (done, waits) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if waits.recv_timeout(COUNTING) == Err(mpsc::RecvTimeoutError::Timeout) {
            alarm.interrupt();
        }
    });
    let counted = count(&database);
    drop(done);
    // It only waits, and cannot fail.
    let _ = watch.join();
    counted.map_err(why)
}

/// Whether a file is a database.
pub fn is_database(path: &Path) -> bool {
    let mut start = [0; 16];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *MAGIC
}

/// Every file that some process has open, as device and inode, as far as this user may see.
fn open_files() -> HashSet<(u64, u64)> {
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let processes =
        list(Path::new("/proc")).into_iter().filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().bytes().all(|b| b.is_ascii_digit())));
    let descriptors = processes.flat_map(|process| list(&process.join("fd")));
    descriptors.filter_map(|fd| fs::metadata(fd).ok()).filter(|meta| meta.is_file()).map(|meta| (meta.dev(), meta.ino())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::{Patterns, Site, walk};

    fn found(base: &Path) -> Vec<Found> {
        let walked = walk(&Site::plain(base).unwrap(), &["data".into()], &Patterns::new::<&str>(&[]).unwrap()).unwrap();
        walked.entries.into_iter().filter(|found| found.node.kind.word() == "file").collect()
    }

    #[test]
    fn a_database_in_use_is_copied_whole_and_its_journals_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let live = Connection::open(dir.path().join("data/shop.db")).unwrap();
        live.execute_batch("pragma journal_mode=wal; create table t(x); insert into t values (1), (2);").unwrap();
        fs::write(dir.path().join("data/other.db-wal"), "not a journal of any database").unwrap();
        let found = found(dir.path());
        let mut copier = Copier::new(dir.path(), scratch.path());
        let hows: Vec<_> = found.iter().map(|found| (found.node.path.to_str().unwrap(), copier.how(found).unwrap())).collect();
        let [("data/other.db-wal", How::AsItIs), ("data/shop.db", How::Copy(copy, digest)), (shm, How::LeftOut), (wal, How::LeftOut)] = &hows[..]
        else {
            panic!("{:?}", hows.iter().map(|(name, _)| name).collect::<Vec<_>>());
        };
        assert_eq!([*shm, *wal], ["data/shop.db-shm", "data/shop.db-wal"]);
        let rows: i64 = Connection::open(copy).unwrap().query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2);

        // Another copy of the same content is the same; a change is not.
        let again = scratch.path().join("again.db");
        back_up(&dir.path().join("data/shop.db"), &again).unwrap();
        assert_eq!(masked_digest(&again).unwrap(), *digest);
        live.execute_batch("insert into t values (3)").unwrap();
        fs::remove_file(&again).unwrap();
        back_up(&dir.path().join("data/shop.db"), &again).unwrap();
        assert_ne!(masked_digest(&again).unwrap(), *digest);
    }

    #[test]
    fn rows_are_counted_and_other_peoples_code_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.db");
        let made = "create table \"a \"\" b\"(x); insert into \"a \"\" b\" values (1), (2); create table empty(x); create view v as select 1;";
        Connection::open(&file).unwrap().execute_batch(made).unwrap();
        assert_eq!(count_rows(&file).unwrap(), BTreeMap::from([("a \" b".to_owned(), 2), ("empty".to_owned(), 0)]));
        fs::write(&file, "SQLite format 3\0 and nothing else").unwrap();
        assert!(count_rows(&file).unwrap_err().to_string().starts_with("its tables cannot be counted: "));
        assert!(count_rows(&dir.path().join("none.db")).is_err());
    }

    #[test]
    fn a_database_at_rest_is_left_to_be_copied_as_bytes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        Connection::open(dir.path().join("data/rest.db")).unwrap().execute_batch("create table t(x)").unwrap();
        let mut copier = Copier::new(dir.path(), dir.path());
        assert!(matches!(copier.how(&found(dir.path())[0]).unwrap(), How::AsItIs));
    }
}
