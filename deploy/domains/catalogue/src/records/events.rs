//! What happens to records, the same for every collection. The fields are documented in
//! `schemas/avro/catalogue/`.

use std::sync::LazyLock;

use daybook_schemas::{
    EventSet, SchemaSet, Topic, events,
    rules::{self, Violation},
    schema_files,
    topics::Declaration,
};
use serde::{Deserialize, Serialize};

use crate::record::{LINE_BYTES_MAX, RECORD_ID_BYTES_MAX};

/// Partitions of a collection's topic, unless the log is configured otherwise.
const PARTITIONS: i32 = 2;
/// What the names of collections' topics and domains begin with.
const NAME: &str = "collection.";
/// Where no record belongs: the topic of an event of a collection that is not known here.
const UNKNOWN: Topic = Topic::new(&Declaration { name: "collection", compacted: false, partitions: 1 });

/// Schema ids of all collections: 300 to 399.
pub static SCHEMAS: LazyLock<SchemaSet> = LazyLock::new(|| {
    SchemaSet::new(
        "collection",
        300..400,
        &[
            schema_files!("../../../schemas/avro/catalogue/v1": "record-upserted", "record-removed", "record-taken-down",
            "record-reinstated", "record-flagged"),
            schema_files!("../../../schemas/avro/catalogue/v2": "record-upserted", "record-removed", "record-taken-down",
            "record-reinstated", "record-flagged", "record-fields-set"),
        ],
    )
});

/// The name of the domain of a collection, and of its topic.
pub fn domain_name(collection: &str) -> String {
    format!("{NAME}{collection}")
}

/// The collection of a domain of that name.
pub fn collection_of(domain: &str) -> Option<&str> {
    domain.strip_prefix(NAME)
}

/// The topic of a collection.
pub fn topic(collection: &str) -> Topic {
    Topic::named(&domain_name(collection), PARTITIONS)
}

events! {
    /// Any event of a record.
    pub enum Event of SCHEMAS {
        /// A source said what a record holds.
        RecordUpserted = "io.daybook.catalogue.RecordUpserted",
        /// A record is no longer at its source.
        RecordRemoved = "io.daybook.catalogue.RecordRemoved",
        /// A record was hidden.
        RecordTakenDown = "io.daybook.catalogue.RecordTakenDown",
        /// A record that was taken down is shown again.
        RecordReinstated = "io.daybook.catalogue.RecordReinstated",
        /// A flag of a record was set.
        RecordFlagged = "io.daybook.catalogue.RecordFlagged",
        /// Fields of a record that the API owns were set.
        RecordFieldsSet = "io.daybook.catalogue.RecordFieldsSet",
    }
}

/// A source said what a record holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordUpserted {
    /// Name of the collection.
    pub collection: String,
    /// Id of the record.
    pub record_id: String,
    /// The fields as a JSON object.
    pub fields: String,
    /// The SHA-256 of the fields that are not volatile.
    pub content_hash: String,
    /// Whether fields that are absent keep their values.
    #[serde(default)]
    pub merge: bool,
    /// The import that the event belongs to.
    #[serde(default)]
    pub import_id: Option<String>,
    /// Where the import reads from.
    #[serde(default)]
    pub source: Option<String>,
    /// Where the source was read.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// A record is no longer at its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRemoved {
    /// Name of the collection.
    pub collection: String,
    /// Id of the record.
    pub record_id: String,
    /// Why it was removed.
    pub cause: String,
    /// The import that the event belongs to.
    #[serde(default)]
    pub import_id: Option<String>,
    /// Where the import reads from.
    #[serde(default)]
    pub source: Option<String>,
    /// Where the source was read.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// A record was hidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordTakenDown {
    /// Name of the collection.
    pub collection: String,
    /// Id of the record.
    pub record_id: String,
    /// Why.
    pub reason: String,
    /// Where the reason is on file.
    #[serde(default)]
    pub reference: Option<String>,
}

/// A record that was taken down is shown again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordReinstated {
    /// Name of the collection.
    pub collection: String,
    /// Id of the record.
    pub record_id: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where the reason is on file.
    #[serde(default)]
    pub reference: Option<String>,
}

/// A flag of a record was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFlagged {
    /// Name of the collection.
    pub collection: String,
    /// Id of the record.
    pub record_id: String,
    /// Name of the flag.
    pub flag: String,
    /// Its value.
    pub value: bool,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Fields of a record that the API owns were set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFieldsSet {
    /// Name of the collection.
    pub collection: String,
    /// Id of the record.
    pub record_id: String,
    /// The fields as a JSON object.
    pub fields: String,
}

impl Event {
    fn collection(&self) -> &str {
        match self {
            Self::RecordUpserted(event) => &event.collection,
            Self::RecordRemoved(event) => &event.collection,
            Self::RecordTakenDown(event) => &event.collection,
            Self::RecordReinstated(event) => &event.collection,
            Self::RecordFlagged(event) => &event.collection,
            Self::RecordFieldsSet(event) => &event.collection,
        }
    }

    /// The record that it is about.
    pub fn record_id(&self) -> &str {
        match self {
            Self::RecordUpserted(event) => &event.record_id,
            Self::RecordRemoved(event) => &event.record_id,
            Self::RecordTakenDown(event) => &event.record_id,
            Self::RecordReinstated(event) => &event.record_id,
            Self::RecordFlagged(event) => &event.record_id,
            Self::RecordFieldsSet(event) => &event.record_id,
        }
    }
}

impl EventSet for Event {
    fn topic(&self) -> Topic {
        // Names in foreign records are looked up, not kept.
        domain_name(self.collection()).parse().unwrap_or(UNKNOWN)
    }

    fn key(&self) -> String {
        self.record_id().to_owned()
    }

    fn check(&self) -> Result<(), Violation> {
        rules::name("collection", self.collection())?;
        rules::name("record_id", self.record_id())?;
        rules::text("record_id", self.record_id(), RECORD_ID_BYTES_MAX)?;
        match self {
            Self::RecordUpserted(event) => {
                rules::text("fields", &event.fields, LINE_BYTES_MAX)?;
                rules::name("content_hash", &event.content_hash)
            }
            Self::RecordRemoved(event) => rules::name("cause", &event.cause),
            Self::RecordTakenDown(event) => {
                rules::name("reason", &event.reason)?;
                rules::optional("reference", event.reference.as_deref())
            }
            Self::RecordReinstated(event) => {
                rules::optional("reason", event.reason.as_deref())?;
                rules::optional("reference", event.reference.as_deref())
            }
            Self::RecordFlagged(event) => {
                rules::name("flag", &event.flag)?;
                rules::optional("reason", event.reason.as_deref())
            }
            Self::RecordFieldsSet(event) => rules::text("fields", &event.fields, LINE_BYTES_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::registry::check_released;

    use super::*;

    #[test]
    fn released_schemas_are_frozen() {
        let frozen = [(300, 1, "a22ba6ef30d3a148"), (301, 2, "797af07d73b7bbd9")];
        check_released(&SCHEMAS, &frozen).unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn an_event_of_an_unknown_collection_belongs_to_no_topic() {
        let removed = |collection: &str| {
            Event::RecordRemoved(RecordRemoved {
                collection: collection.to_owned(),
                record_id: "r".to_owned(),
                cause: "operator".to_owned(),
                import_id: None,
                source: None,
                cursor: None,
            })
        };
        daybook_schemas::topics::declare(&[topic("known")]);
        assert_eq!(removed("known").topic().name(), "collection.known");
        assert_eq!(removed("unknown").topic(), UNKNOWN);
    }
}
