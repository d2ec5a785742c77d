//! Turns commands into events and appends them: the door to the log.
//!
//! [`log`] is the port with its adapters, [`metaflow`] the pure decisions on Metaflow's commands, [`append`] the way from a decision to a durable
//! record, [`sequence`] the source of numbers. What stands in tables is not known here: facts come in as values.

pub mod append;
pub mod log;
pub mod metaflow;
pub mod sequence;
pub mod sqlite;
