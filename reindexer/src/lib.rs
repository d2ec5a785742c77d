//! Builds generations by replay, verifies, promotes, rolls back, retires.
//!
//! So far: [`open`] opens the live generation of a domain. Where only one process can use the tables, a program with
//! another fold builds its own generation at its start and promotes it ([`upgrade`]).

pub mod open;
pub mod upgrade;
