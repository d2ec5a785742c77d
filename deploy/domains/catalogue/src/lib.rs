//! The domain catalogue: collections of records, defined by configuration.

/// The fields of a record, by name, in the normal form of their types.
pub type Fields = serde_json::Map<String, serde_json::Value>;
