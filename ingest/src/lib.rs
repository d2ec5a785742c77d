//! Turns commands into events and appends them to the log.
//!
//! [`log`] is the port with its adapters, [`append`] makes durable records of decided events, [`sequence`] assigns
//! numbers. Each domain has a module with its commands and pure decisions. This crate knows no tables: facts are passed
//! in as values.

pub mod append;
pub mod log;
pub mod metaflow;
pub mod sequence;
pub mod sqlite;
