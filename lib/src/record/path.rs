//! Paths in records: readable where they are text, exact always.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path as two fields of a record: `path`, and `path_b64` with its bytes where they are not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RecordPath {
    /// The path, with bytes that are not UTF-8 escaped as `\xNN`.
    pub path: String,
    /// The bytes in base64, only where `path` cannot say them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("contentEncoding" = "base64")))]
    pub path_b64: Option<String>,
}

impl RecordPath {
    /// Both fields for these bytes.
    pub fn new(path: impl AsRef<OsStr>) -> RecordPath {
        let bytes = path.as_ref().as_bytes();
        match std::str::from_utf8(bytes) {
            Ok(text) => RecordPath { path: text.to_owned(), path_b64: None },
            Err(_) => RecordPath { path: bytes.escape_ascii().to_string(), path_b64: Some(BASE64_STANDARD.encode(bytes)) },
        }
    }

    /// The exact path.
    pub fn to_path(&self) -> PathBuf {
        let bytes = self.path_b64.as_ref().and_then(|b64| BASE64_STANDARD.decode(b64).ok());
        bytes.map_or_else(|| PathBuf::from(&self.path), |bytes| Path::new(OsStr::from_bytes(&bytes)).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_name_survives() {
        let all: Vec<u8> = (1..=255u8).filter(|b| *b != b'/').collect();
        let path = Path::new(OsStr::from_bytes(&all));
        let record = RecordPath::new(path);
        assert!(record.path_b64.is_some());
        assert_eq!(record.to_path(), path);
    }

    #[test]
    fn a_readable_name_stands_as_it_is() {
        let record = RecordPath::new("data/größe.db");
        assert_eq!(record, RecordPath { path: "data/größe.db".into(), path_b64: None });
    }
}
