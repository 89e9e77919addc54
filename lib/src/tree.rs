//! One entry of a tree, as the walk finds it, an archive holds it and a plan compares it.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Digest> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(digits[0])? << 4 | digit(digits[1])?;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of so many bytes.
    File {
        /// Its length.
        size: u64,
    },
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Where it leads, as it is written there.
        target: OsString,
    },
    /// Another name of a file that stands earlier in the tree.
    Hardlink {
        /// The earlier name, relative to the ecosystem's root.
        target: PathBuf,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    Char {
        /// Its driver.
        major: u32,
        /// Its unit.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its driver.
        major: u32,
        /// Its unit.
        minor: u32,
    },
    /// A socket: it lives only while its process does, so it is noted and not captured.
    Socket,
}

impl Kind {
    /// Its word in records.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::File { .. } => "file",
            Kind::Dir => "dir",
            Kind::Symlink { .. } => "symlink",
            Kind::Hardlink { .. } => "hardlink",
            Kind::Fifo => "fifo",
            Kind::Char { .. } => "char",
            Kind::Block { .. } => "block",
            Kind::Socket => "socket",
        }
    }

    /// Bytes of content.
    pub fn size(&self) -> u64 {
        if let Kind::File { size } = self { *size } else { 0 }
    }
}

/// A modification time with nanoseconds, before or after 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtime {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1 000 000 000.
    pub nanos: u32,
}

/// One extended attribute: its name and value as bytes.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// What an entry carries beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name where it was captured.
    pub user: Option<Arc<str>>,
    /// Group's name where it was captured.
    pub group: Option<Arc<str>>,
    /// Last modification.
    pub mtime: Mtime,
    /// Extended attributes, by name.
    pub xattrs: Vec<Xattr>,
}

/// Which object on which filesystem, and when it was last touched: the cheap sign that a file is still the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The filesystem's device number.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// Last change of content or metadata, nanoseconds since 1970.
    pub ctime_ns: i64,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where, relative to the ecosystem's root.
    pub path: PathBuf,
    /// What.
    pub kind: Kind,
    /// With which metadata.
    pub meta: Meta,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_as_it_is_written() {
        let digest = Digest([0xab; 32]);
        assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(Digest::from_hex("ab"), None);
        assert_eq!(Digest::from_hex(&"é".repeat(32)), None);
    }
}
