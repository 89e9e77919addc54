//! What the eco tools know, in five layers. A module uses its own layer and the ones above it in this list, never one
//! below; `tests/shape.rs` holds it to that.
//!
//! **words**: types, nothing else
//! - [`record`]: every type that crosses a pipe, and its JSON
//! - [`error`]: what can stop a program, and the exit code it means
//! - [`time`]: instants and spans as people and records write them; the clock is not asked here
//! - [`verdict`]: yes, no, unknown, and how they add up
//! - [`tree`]: one entry of a tree: kind, metadata, digest
//!
//! **pure**: data and `now` in, data out: no disk, no clock, no environment
//! - [`policy`]: records so far and a policy -> decisions with their reasons
//! - [`retention`]: snapshots and rules -> which may go, and why
//! - [`plan`]: the tree as it is and as it was -> what a rollback creates, replaces, removes and keeps
//! - [`rollout`]: a new version's traffic, step by step: records in, records and orders out
//!
//! **disk**: files; no processes, no network
//! - [`disk`]: file operations that name their path; atomic replace; locks; the platform's calls
//! - [`digest`]: SHA-256 of bytes as they pass by
//! - [`scope`]: which paths belong to a scope, which are preserved, which are left out; the walk over them
//! - [`archive`]: one tar.gz that is seekable: write, index, verify, read; distrusts every entry
//! - [`sqlite`]: databases that are in use: consistent copies and comparison
//! - [`compare`]: a tree on disk beside the index of a snapshot
//! - [`store`]: a folder of archives: take, find, select, verify
//! - [`inbox`]: words of people on their way into a pipeline that runs
//!
//! **world**: asks or changes the running service
//! - [`service`]: stop, start, disable, enable through the configured commands, with deadlines and proof
//! - [`health`]: the probes and what their answers mean
//! - [`gate`]: what must hold before a deployment
//! - [`restore`]: the rollback transaction, its journal and its recovery
//!
//! **edge**: people and pipes
//! - [`config`]: `eco.toml` -> the types that the modules above own
//! - [`evidence`]: beside the report, what differs, what was changed and what the logs say, without secrets
//! - [`report`]: records -> the incident report
//! - [`monitor`]: a sample of health as monitoring systems read it
//! - [`tool`]: what every main shares: words, pipe, clock, exit, one-line errors

pub mod error;
pub mod record;
pub mod time;
pub mod tree;
pub mod verdict;

pub mod plan;
pub mod policy;
pub mod retention;
pub mod rollout;

pub mod archive;
pub mod compare;
pub mod digest;
pub mod disk;
pub mod inbox;
pub mod scope;
pub mod sqlite;
pub mod store;

pub mod gate;
pub mod health;
pub mod restore;
pub mod service;

pub mod config;
pub mod evidence;
pub mod monitor;
pub mod report;
pub mod tool;
