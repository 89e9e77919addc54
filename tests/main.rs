//! The one test binary: every program, run for real.

mod damage;
mod differential;
mod fidelity;
mod foreign_archives;
mod harness;
mod hazards;
mod hooks;
mod kill;
mod mounts;
mod notify;
mod page_records;
mod power;
mod prove;
mod reference_readers;
mod safety;
mod shape;
mod swaps;
mod tool_ctl;
mod tool_decide;
mod tool_health;
mod tool_ls;
mod tool_report;
mod tool_restore;
mod tool_snap;
mod tool_verify;
mod trees;
