//! The rollback transaction.

use crate::service::Argv;
use crate::time::Span;
use serde::Deserialize;

/// `[verify]`: what must hold after a rollback, or it is swapped back.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// Must exit 0; run in the ecosystem's root.
    pub command: Argv,
    /// The probes must say healthy within this time.
    pub health: Option<Span>,
}
