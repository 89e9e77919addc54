//! Records -> the incident report.

pub(crate) mod words;
