//! What happens to definitions. The fields are documented in `schemas/avro/catalogue/v1/*.avsc`.

use std::sync::LazyLock;

use daybook_schemas::{
    EventSet, SchemaSet, Topic, events,
    rules::{self, Violation},
    schema_files,
    topics::Declaration,
};
use serde::{Deserialize, Serialize};

use crate::definition::TEXT_BYTES_MAX;

/// Every event, by collection.
pub const CATALOGUE: Topic = Topic::new(&Declaration { name: "catalogue", compacted: false, partitions: 2 });

/// Schema ids of the domain: 200 to 299.
pub static SCHEMAS: LazyLock<SchemaSet> = LazyLock::new(|| {
    SchemaSet::new(
        super::DOMAIN,
        200..300,
        &[schema_files!("../../../schemas/avro/catalogue/v1": "collection-defined")],
    )
});

events! {
    /// Any event of the domain.
    pub enum Event of SCHEMAS {
        /// A definition of a collection was applied.
        CollectionDefined = "io.daybook.catalogue.CollectionDefined",
    }
}

/// A definition of a collection was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionDefined {
    /// Name of the collection.
    pub collection: String,
    /// The number of the definition, from 1.
    pub revision: i64,
    /// The definition as canonical JSON.
    pub definition: String,
    /// The SHA-256 of the definition, as hexadecimal digits.
    pub hash: String,
    /// Why it was applied.
    #[serde(default)]
    pub note: Option<String>,
}

impl EventSet for Event {
    fn topic(&self) -> Topic {
        CATALOGUE
    }

    fn key(&self) -> String {
        let Self::CollectionDefined(event) = self;
        event.collection.clone()
    }

    fn check(&self) -> Result<(), Violation> {
        let Self::CollectionDefined(event) = self;
        rules::name("collection", &event.collection)?;
        rules::number("revision", event.revision, 1, i64::MAX)?;
        rules::text("definition", &event.definition, TEXT_BYTES_MAX)?;
        rules::name("hash", &event.hash)?;
        rules::optional("note", event.note.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::registry::check_released;

    use super::*;

    #[test]
    fn released_schemas_are_frozen() {
        let frozen = [(200, 1, "825a8eda93c78bc3")];
        check_released(&SCHEMAS, &frozen).unwrap_or_else(|error| panic!("{error}"));
    }
}
