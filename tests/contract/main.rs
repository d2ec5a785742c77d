//! Every promise of a port, run against each of its adapters on the real services.

mod fold;
mod log;
mod parsers;
mod search;
mod tables;
