//! What the fuzzers of `fuzz/` call: bytes of anybody's making as a journal.

use super::journal::Journal;
use crate::digest;
use crate::scope::{OURS, check_plain};
use std::path::Path;

/// A journal, with and without the checksum that it must have.
pub fn journal(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Journal::decode(text);
    let body = text.trim_end_matches('\n');
    let Ok(journal) = Journal::decode(&format!("{}\n{body}\n", digest::of(body.as_bytes()))) else { return };
    assert_eq!(Journal::decode(&journal.encode()).as_ref(), Ok(&journal));
    // Recovery joins all of these to the root, renames and removes there.
    assert_eq!(journal.folder(Path::new("/a")).parent(), Some(Path::new("/a").join(OURS).as_path()));
    journal.paths().filter(|path| !path.as_os_str().is_empty()).for_each(|path| check_plain(&path).unwrap());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_that_the_fuzzers_found_worth_keeping_still_hold() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/journal");
        let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|input| input.unwrap().path()).collect();
        assert!(!inputs.is_empty());
        for input in inputs {
            eprintln!("{}", input.display());
            journal(&std::fs::read(input).unwrap());
        }
    }
}
