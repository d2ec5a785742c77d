//! Builds generations by replay, verifies, promotes, rolls back, retires.
//!
//! So far: [`first`] creates generation 1 of a domain in the control table that later rebuilds use. A generation that was
//! built by another fold, or from another log, is refused. [`switch`] has the rules for switching between generations.

pub mod first;
pub mod switch;
