//! The oracle: what is at a path, seen with the system's plain calls and none of the library's code.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// One line per name below a path, its own (empty) name first: kind, permissions, owner, modification time to the nanosecond,
/// attributes, and the content's SHA-256, the link's target, or the first name of the same inode.
#[derive(Clone, PartialEq, Eq)]
pub struct Tree(BTreeMap<OsString, String>);

impl Tree {
    /// What is there now. A path where nothing is gives an empty tree.
    pub fn of(path: &Path) -> Tree {
        let mut tree = Tree(BTreeMap::new());
        tree.look(path, OsString::new(), &mut HashMap::new());
        tree
    }

    fn look(&mut self, path: &Path, name: OsString, seen: &mut HashMap<(u64, u64), OsString>) {
        // Gone while we were looking, or never there.
        let Ok(meta) = fs::symlink_metadata(path) else { return };
        let kind = meta.file_type();
        let other = (!kind.is_dir() && meta.nlink() > 1).then(|| seen.insert((meta.dev(), meta.ino()), name.clone())).flatten();
        if let Some(first) = &other {
            seen.insert((meta.dev(), meta.ino()), first.clone());
        }
        let what = match &other {
            Some(first) => format!("hardlink to {}", show(first)),
            None if kind.is_dir() => "dir".into(),
            None if kind.is_symlink() => format!("symlink to {}", show(fs::read_link(path).unwrap().as_os_str())),
            // Nobody's memory holds such a file; a test that makes one looks at it by itself.
            None if kind.is_file() && meta.len() > 1 << 30 => format!("file {} unread", meta.len()),
            None if kind.is_file() => format!("file {} {}", meta.len(), fs::read(path).map_or("?".into(), |bytes| hex(&Sha256::digest(bytes)))),
            None if kind.is_fifo() => "fifo".into(),
            None if kind.is_socket() => "socket".into(),
            None => format!("device {}", meta.rdev()),
        };
        // A link's own permissions and times mean nothing to anybody.
        let times =
            if kind.is_symlink() { String::new() } else { format!("{:04o} {}.{:09} ", meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()) };
        let line = format!("{times}{}:{} {what}{}", meta.uid(), meta.gid(), attributes(path));
        self.0.insert(name.clone(), line);
        if kind.is_dir() {
            // Sorted, because which name of an inode counts as its first must not depend on the filesystem.
            let mut names: Vec<OsString> = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            for own in names {
                let mut below = name.clone();
                if !below.is_empty() {
                    below.push("/");
                }
                below.push(&own);
                self.look(&path.join(own), below, seen);
            }
        }
    }

    /// Whether there is something of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(OsStr::new(name))
    }

    /// All names in it.
    pub fn names(&self) -> Vec<PathBuf> {
        self.0.keys().map(PathBuf::from).collect()
    }

    /// The tree without these names, and what is below them.
    pub fn without(&self, names: &[&str]) -> Tree {
        let below = |path: &OsString| names.iter().any(|name| Path::new(path).starts_with(name));
        Tree(self.0.iter().filter(|(path, _)| !below(path)).map(|(path, line)| (path.clone(), line.clone())).collect())
    }

    /// Only this name, and what is below it.
    pub fn only(&self, name: &str) -> Tree {
        Tree(self.0.iter().filter(|(path, _)| Path::new(path).starts_with(name)).map(|(path, line)| (path.clone(), line.clone())).collect())
    }

    /// What a snapshot of it holds: the usual roots, without the folders that they are in, and without what is usually left out.
    pub fn roots(&self) -> Tree {
        let inside = |path: &OsString| ["config", "data", "modules"].iter().any(|root| Path::new(path).starts_with(root));
        let out = |path: &OsString| path == "modules" || path.as_bytes().ends_with(b".tmp");
        Tree(self.0.iter().filter(|(path, _)| inside(path) && !out(path)).map(|(path, line)| (path.clone(), line.clone())).collect())
    }

    /// The tree with the times of its folders left out, which a crash may cost.
    pub fn but_for_times_of_folders(&self) -> Tree {
        let told = |line: &String| if line.ends_with(" dir") { format!("{} dir", line.split(' ').next().unwrap()) } else { line.clone() };
        Tree(self.0.iter().map(|(path, line)| (path.clone(), told(line))).collect())
    }

    /// How the other one differs, a line each; empty when it does not.
    pub fn differences(&self, other: &Tree) -> Vec<String> {
        let gone = self.0.iter().filter(|(name, line)| other.0.get(*name) != Some(line)).map(|(name, line)| format!("- {} {line}", show(name)));
        let come = other.0.iter().filter(|(name, line)| self.0.get(*name) != Some(line)).map(|(name, line)| format!("+ {} {line}", show(name)));
        gone.chain(come).collect()
    }

    /// Both must be the same, in every detail.
    #[track_caller]
    pub fn same_as(&self, other: &Tree) {
        let differences = self.differences(other);
        assert!(differences.is_empty(), "the trees differ:\n{}", differences.join("\n"));
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, line)| writeln!(to, "{:<40} {line}", show(name)))
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

fn show(name: &OsStr) -> String {
    name.as_bytes().escape_ascii().to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Extended attributes, sorted by name.
fn attributes(path: &Path) -> String {
    let mut names = vec![0; 1 << 16];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names) else { return String::new() };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(path, OsString::from_vec(name.to_vec()), &mut value).unwrap_or(0);
        found.push(format!(" {}={}", name.escape_ascii(), value[..length].escape_ascii()));
    }
    found.sort();
    found.concat()
}
