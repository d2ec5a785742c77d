//! Turns commands into events and appends them: the door to the log.
//!
//! [`log`] is the port with its adapters, [`commands`] the pure decisions, [`accept`] the way from a decision to a durable
//! record, [`sequence`] the source of numbers. What stands in tables is not known here: facts come in as values.

pub mod accept;
pub mod commands;
pub mod gather;
pub mod log;
pub mod sequence;
