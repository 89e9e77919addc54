//! x
mod tool_ctl;
mod tool_health;
