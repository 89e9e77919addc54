//! SHA-256 of bytes as they pass by.

use crate::error::{Named, Result};
use crate::tree::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Hashes what it is fed.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes these bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The digest of these bytes.
pub fn of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// The digest of an open file's content from its beginning, and how many bytes there were.
///
/// # Errors
/// [`crate::error::Error::Path`] when it cannot be read to its end.
pub fn of_file(mut file: &File, path: &Path) -> Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 17];
    let mut total = 0;
    loop {
        match file.read(&mut buffer).named("read", path)? {
            0 => return Ok((hasher.finish(), total)),
            read => {
                hasher.update(&buffer[..read]);
                total += read as u64;
            }
        }
    }
}

/// Counts and hashes what it passes on. Only bytes that the writer below accepted are hashed.
pub struct Tee<W> {
    to: W,
    hasher: Hasher,
    count: u64,
}

impl<W: Write> Tee<W> {
    /// Passes everything on to `to`.
    pub fn new(to: W) -> Tee<W> {
        Tee { to, hasher: Hasher::default(), count: 0 }
    }

    /// The writer below, the digest and the number of bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.to, self.hasher.finish(), self.count)
    }
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let accepted = self.to.write(bytes)?;
        self.hasher.update(&bytes[..accepted]);
        self.count += accepted as u64;
        Ok(accepted)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accepted_bytes_are_hashed() {
        struct Half(Vec<u8>);
        impl Write for Half {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let take = bytes.len().div_ceil(2);
                self.0.extend_from_slice(&bytes[..take]);
                Ok(take)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut tee = Tee::new(Half(Vec::new()));
        tee.write_all(b"every byte once").unwrap();
        let (half, digest, count) = tee.finish();
        assert_eq!((digest, count, half.0.as_slice()), (of(b"every byte once"), 15, b"every byte once".as_slice()));
    }
}
