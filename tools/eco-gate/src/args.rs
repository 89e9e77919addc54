//! The words of eco-gate.

use clap::Parser;
use eco::record::Scope;
use eco::tool::{Common, Words};

/// Make the checks before a deployment, and take a verified snapshot if all of them pass.
///
/// Reads the stream so far from stdin, as in: eco-gate < shop.ndjson. At a terminal it is taken as empty.
#[derive(Parser)]
#[command(name = "eco-gate", version)]
pub struct Args {
    /// The version that is to be deployed.
    ///
    /// Without it: the one that the last rollout on the stream was about; if there was none, any.
    #[arg(long, value_name = "VERSION")]
    pub deploy: Option<String>,
    /// What must be able to be brought back.
    ///
    /// A restore point has to cover it: `full`, `config` or `module:ID`.
    #[arg(long, value_name = "SCOPE", default_value = "full")]
    pub scope: Scope,
    /// Do not copy stdin to stdout
    #[arg(long)]
    pub only: bool,
    #[command(flatten)]
    pub common: Common,
}

impl Words for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}
