//! Turns events into rows: the door to the stores.
//!
//! [`tables`] is the port with its adapters, [`projections`] hold the folds, [`runner`] moves records from the log into a
//! generation's tables, [`progress`] tells writers how far that has come. No clock and no randomness in a fold.

pub mod commit_listener;
pub mod control;
pub mod generation;
pub mod lease;
pub mod metrics;
pub mod monitor;
mod priority;
pub mod progress;
pub mod projection;
pub mod projections;
pub mod run_status;
pub mod run_tags;
pub mod runner;
pub mod search;
pub mod tables;
