//! x

mod tool_decide;
