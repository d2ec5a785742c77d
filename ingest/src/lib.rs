//! Turns commands into events and appends them to the log.
//!
//! [`log`] is the port with its adapters, [`append`] makes durable records of decided events, [`sequence`] assigns
//! numbers. This crate knows no tables: a domain decides on facts that are passed in as values.

pub mod append;
pub mod host;
pub mod log;
pub mod sequence;
pub mod sqlite;
