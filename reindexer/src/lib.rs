//! Builds generations by replay, verifies, promotes, rolls back, retires.
//!
//! So far: [`first`] makes generation 1 of a domain through the same control table that later rebuilds use. A generation
//! that was built by another fold, or from another log, is refused and never silently mixed.

pub mod first;
