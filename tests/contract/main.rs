//! Every guarantee of a port, run against each of its adapters on the real services.

mod columns;
mod control;
mod fold;
mod heartbeats;
mod log;
mod log_check;
mod parsers;
mod plans;
mod postgres;
mod records;
mod search;
mod tables;
mod verify;
