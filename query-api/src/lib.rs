//! The HTTP API: reads from the live generation, hands writes to ingest.
//!
//! A request takes its domain's live generation once, at its start, and reads nothing else (I4). A write is answered
//! once the live tables have applied it (I2). Everything here is generic; each domain's routes are in its
//! own crate, which gives them as an [`app::DomainApi`].

mod answering;
pub mod app;
pub mod bodies;
pub mod connections;
pub mod context;
pub mod create;
pub mod error;
pub mod generations;
pub mod idempotency;
pub mod json;
pub mod lists;
pub mod live;
pub mod loader;
mod metrics;
pub mod numbered;
mod outcome;
pub mod pagination;
pub mod path;
mod place;
pub mod query;
pub mod routes;
pub mod server;
pub mod starting;
mod time;
pub mod write;
