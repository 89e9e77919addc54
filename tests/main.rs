//! The programs as people run them: one test binary, so that it links once.

mod page_records;
mod tool_report;
