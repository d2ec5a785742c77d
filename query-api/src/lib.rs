//! The HTTP surface: reads from the live generation, hands writes to ingest.
//!
//! A request takes its generation once, at its start, and reads nothing else (I4). A write is answered once the live
//! tables have applied it (I2). One folder or file a route, under [`routes`].

pub mod app;
pub mod consistency;
pub mod context;
pub mod error;
pub mod facts;
pub mod filters;
mod graft;
pub mod idempotency;
pub mod json;
pub mod lists;
pub mod loader;
pub mod metrics;
pub mod pagination;
pub mod query;
pub mod routes;
pub mod server;
pub mod view;
