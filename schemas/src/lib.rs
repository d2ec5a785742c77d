//! The data types that cross a boundary: events, their envelope, topics, positions and the codec. No I/O.
//!
//! A domain declares its events as an [`EventSet`] with its own topics and [`SchemaSet`], in its own crate. Released
//! Avro files (`avro/<domain>/v*/`) are frozen. A new field has a default; any other change is a new version of the
//! domain's schema with a new id. Records of former versions are resolved against the current one when they are read.

pub mod candidate;
pub mod codec;
pub mod core;
pub mod envelope;
pub mod event;
pub mod generic;
pub mod position;
pub mod registry;
pub mod rules;
pub mod topics;

pub use envelope::Envelope;
pub use event::EventSet;
pub use registry::SchemaSet;
pub use topics::Topic;
