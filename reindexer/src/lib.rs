//! Builds generations by replay, verifies, promotes, rolls back, retires.
//!
//! So far: [`open`] opens the live generation of a domain. Where only one process can use the tables, a program with
//! another fold builds its own generation at its start and promotes it ([`upgrade`]). [`switch`] has the rules for
//! switching between generations while several processes serve.

pub mod control;
pub mod coordinator;
pub mod deadlines;
pub mod lease;
pub mod migration;
pub mod open;
pub mod plan;
pub mod prepare;
pub mod rebuilds;
pub mod running;
pub mod settings;
pub mod switch;
pub mod switching;
pub mod until;
pub mod upgrade;
pub mod verify;
pub mod version;
pub mod watcher;
pub mod work;
pub mod worker;
