//! Turns events into rows and documents, and owns the access to both stores.
//!
//! [`tables`] is the port with its adapters, [`projection`] says what a domain gives, [`runner`] applies records of the
//! log to a generation's tables, [`progress`] notifies writers of what was applied. Folds use no clock and no randomness.

pub mod backoff;
pub mod batch;
pub mod bookkeeping;
pub mod commit_listener;
pub mod comparison;
mod error_chain;
pub mod generation;
pub mod log_check;
pub mod metrics;
pub mod monitor;
pub mod numbered;
pub mod parts;
mod priority;
pub mod progress;
pub mod projection;
pub mod runner;
pub mod search;
pub mod space;
mod supervise;
pub mod tables;
pub mod throttle;

pub use error_chain::chain;
