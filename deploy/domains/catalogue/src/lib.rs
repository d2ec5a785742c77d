//! The domain catalogue: collections of records, defined by configuration.

pub mod clean;
pub mod collections;
pub mod definition;
pub mod derive;
pub mod record;
pub mod records;
pub mod terms;
pub mod values;

/// The fields of a record, by name, in the normal form of their types.
pub type Fields = serde_json::Map<String, serde_json::Value>;
