//! What happens to definitions. The fields are documented in `schemas/avro/catalogue/`.

use std::sync::LazyLock;

use daybook_schemas::{
    EventSet, SchemaSet, Topic, events,
    rules::{self, Violation},
    schema_files,
    topics::Declaration,
};
use serde::{Deserialize, Serialize};

use crate::{definition::TEXT_BYTES_MAX, terms::list::LIST_BYTES_MAX};

/// Every event, by collection.
pub const CATALOGUE: Topic = Topic::new(&Declaration { name: "catalogue", compacted: false, partitions: 2 });

/// Schema ids of the domain: 200 to 299.
pub static SCHEMAS: LazyLock<SchemaSet> = LazyLock::new(|| {
    SchemaSet::new(
        super::DOMAIN,
        200..300,
        &[
            schema_files!("../../../schemas/avro/catalogue/v1": "collection-defined"),
            schema_files!("../../../schemas/avro/catalogue/v2": "collection-defined", "term-list-set"),
        ],
    )
});

events! {
    /// Any event of the domain.
    pub enum Event of SCHEMAS {
        /// A definition of a collection was applied.
        CollectionDefined = "io.daybook.catalogue.CollectionDefined",
        /// A list of terms got another content.
        TermListSet = "io.daybook.catalogue.TermListSet",
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

/// A list of terms got another content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermListSet {
    /// Name of the list.
    pub list: String,
    /// The number of the content, from 1.
    pub revision: i64,
    /// The terms, one a line.
    pub terms: String,
    /// The SHA-256 of the terms, as hexadecimal digits.
    pub hash: String,
    /// Why it was set.
    #[serde(default)]
    pub note: Option<String>,
}

impl EventSet for Event {
    fn topic(&self) -> Topic {
        CATALOGUE
    }

    fn key(&self) -> String {
        match self {
            Self::CollectionDefined(event) => event.collection.clone(),
            Self::TermListSet(event) => event.list.clone(),
        }
    }

    fn check(&self) -> Result<(), Violation> {
        let (revision, hash, note) = match self {
            Self::CollectionDefined(event) => {
                rules::name("collection", &event.collection)?;
                rules::text("definition", &event.definition, TEXT_BYTES_MAX)?;
                (event.revision, &event.hash, &event.note)
            }
            Self::TermListSet(event) => {
                rules::name("list", &event.list)?;
                rules::text("terms", &event.terms, LIST_BYTES_MAX)?;
                (event.revision, &event.hash, &event.note)
            }
        };
        rules::number("revision", revision, 1, i64::MAX)?;
        rules::name("hash", hash)?;
        rules::optional("note", note.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::registry::check_released;

    use super::*;

    #[test]
    fn released_schemas_are_frozen() {
        let frozen = [(200, 1, "825a8eda93c78bc3"), (201, 2, "4bc4e5d590dd3d44")];
        check_released(&SCHEMAS, &frozen).unwrap_or_else(|error| panic!("{error}"));
    }
}
