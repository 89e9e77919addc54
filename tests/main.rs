//! The one test binary: every program, run for real.

mod page_records;
mod shape;
mod tool_ctl;
mod tool_decide;
mod tool_health;
mod tool_report;
