//! Every shape that crosses a boundary: events, ids, topics, positions and their codec. No I/O.
//!
//! Released Avro files (`avro/v*/`) are frozen. A new field has a default; anything else is a new version of the
//! envelope with a new schema id, decoded by [`codec`] through an upcast.

pub mod codec;
pub mod envelope;
pub mod events;
pub mod ids;
pub mod position;
pub mod registry;
pub mod rules;
pub mod topics;

pub use envelope::Envelope;
pub use events::Event;
