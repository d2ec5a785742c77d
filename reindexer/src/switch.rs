//! The rules by which the live generation of a domain is switched: promote, roll back, retire.
//!
//! Pure: no I/O, and no clock but the times passed in. Control storage keeps one [`control::ControlRow`] per domain and
//! one [`lease::Lease`] per instance; an instance keeps one [`instance::Local`] per domain. Adapters read these values
//! under the locks that a function names, call it, and store what it returns. `model` checks these very functions.

pub mod answer;
pub mod apply;
pub mod control;
pub mod instance;
pub mod lease;
#[cfg(test)]
mod model;

/// The number of a generation within its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub i64);

/// The version of a control row: each change adds one. What is compared and set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

/// A time by the clock of control storage, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseTime(pub i64);

/// A time by an instance's own monotonic clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnTime(pub i64);
