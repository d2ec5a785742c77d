//! Documents of records. Each record that was ever named has one: a record that readers do not see, or that a rule keeps
//! out of the indexes, has a document without attributes, which searches leave out. So a late write of an earlier
//! document is older than the one that is there, and loses.

mod sensitivity;
mod shape;

use std::{collections::BTreeMap, sync::Arc};

use daybook_ingest::log::{BoxFuture, Record};
use daybook_projector::{
    search::{
        document::Document,
        ranges::{KeyOrder, KeyRange},
        shape::IndexShape,
        source::{Documents, Sink, SourceError},
    },
    tables::{Column, Params, Tables, TablesError},
};
use daybook_schemas::Topic;
use serde_json::Value;

pub(super) use self::sensitivity::Sensitivity;
pub(super) use self::shape::SENSITIVE;
use self::shape::{Attributes, CHANGED_AT, RANK, RECORD, RECORD_ID, TAG_NAMES, TYPE};
use super::{
    events,
    states::{IDS_AFTER, RecordIdRow},
    typed::{DocumentRow, Typed},
};
use crate::{
    Fields,
    definition::{Definition, clean::Exclusion, presets::Preset},
    derive::{self, boost},
};

/// Records that are read with one statement, at most.
const RECORDS_MAX: usize = 1000;

const BY_ID: KeyOrder<RecordIdRow> = KeyOrder::new("record", &IDS_AFTER);

/// The shape of a collection's documents, but for the attribute of its filtered search.
pub(crate) fn shape_of(definition: &Definition) -> Arc<IndexShape> {
    Attributes::of(definition, None).shape
}

/// The documents of one collection.
pub(super) struct RecordDocuments {
    typed: &'static Typed,
    topic: Topic,
    preset: Option<Preset>,
    options: derive::Options,
    exclude: Vec<Exclusion>,
    attributes: Attributes,
    sensitivity: Option<Sensitivity>,
    /// The field with the rank; that of a preset follows from several.
    rank: Option<String>,
}

impl RecordDocuments {
    pub(super) fn of(definition: &Definition, typed: &'static Typed) -> Self {
        let mut sensitivity = Sensitivity::of(definition);
        let attributes = Attributes::of(definition, sensitivity.as_ref().map(|it| it.digest));
        if let Some(sensitivity) = &mut sensitivity {
            sensitivity.rename(&attributes.renamed);
        }
        Self {
            typed,
            topic: events::topic(definition.collection.as_str()),
            preset: definition.preset,
            options: derive::Options { strip_query: definition.index.strip_query },
            exclude: definition.clean.exclude.clone(),
            attributes,
            sensitivity,
            rank: definition.index.rank.clone(),
        }
    }

    /// The document of a record.
    pub(super) fn document(&self, row: DocumentRow) -> Result<Document, TablesError> {
        let DocumentRow { record_id, revision, flags, changed_at, fields } = row;
        let mut document = Document::new(record_id.clone(), revision);
        let Some(fields) = fields.filter(|fields| !self.exclude.iter().any(|it| it.excludes(fields))) else {
            return Ok(document);
        };
        let flags: BTreeMap<String, bool> =
            serde_json::from_str(&flags).map_err(|_| TablesError::Shape { column: "flags" })?;
        let read = self.sensitivity.as_ref().filter(|sensitivity| sensitivity.reads_row).map(|_| fields.clone());
        document.set(TYPE, RECORD);
        document.set(RECORD_ID, record_id);
        document.set(CHANGED_AT, changed_at);
        let rank = self.rank.as_ref().map(|name| boost::rank(fields.get(name).and_then(Value::as_f64).unwrap_or(0.0)));
        self.fill(&mut document, fields, &flags);
        if let Some(rank) = rank {
            document.set(RANK, rank);
        }
        if let Some(sensitivity) = &self.sensitivity {
            let is_sensitive = sensitivity.holds(&read.unwrap_or_default(), &document.source, &flags);
            document.set(SENSITIVE, is_sensitive);
        }
        Ok(document)
    }

    /// Sets what follows from the fields of a record.
    fn fill(&self, document: &mut Document, fields: Fields, flags: &BTreeMap<String, bool>) {
        let derived = match self.preset {
            Some(Preset::OpenverseAudio) => derive::audio_document(fields, flags),
            Some(Preset::OpenverseImage | Preset::OpenverseImage2) => {
                derive::image_document(fields, flags, self.options)
            }
            None => return self.attributes.take(fields, document),
        };
        if let Some(tags) = derived.get("tags").and_then(Value::as_array) {
            document.set(TAG_NAMES, tags.iter().map(|tag| tag["name"].clone()).collect::<Vec<_>>());
        }
        let boost = |name: &str| derived.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        document.set(RANK, boost::rank(boost("max_boost").midpoint(boost("min_boost"))));
        for (name, value) in derived {
            document.set(&name, value);
        }
    }

    /// What makes a document sensitive.
    pub(super) const fn sensitivity(&self) -> Option<&Sensitivity> {
        self.sensitivity.as_ref()
    }

    /// Reads the documents of some records, and hands them on.
    async fn hand_on(
        &self,
        tables: &dyn Tables,
        record_ids: Vec<String>,
        sink: &mut dyn Sink,
    ) -> Result<(), SourceError> {
        for part in record_ids.chunks(RECORDS_MAX) {
            let params = Params::Many(vec![Column::texts(part.iter().map(String::as_str))]);
            let rows = tables.read_background(&self.typed.documents, params).await?;
            let documents = rows.iter().map(|row| self.document(self.typed.document_row(row)?));
            sink.take(documents.collect::<Result<_, _>>()?).await?;
        }
        Ok(())
    }
}

impl Documents for RecordDocuments {
    fn topics(&self) -> Vec<Topic> {
        vec![self.topic]
    }

    fn shape(&self) -> Arc<IndexShape> {
        Arc::clone(&self.attributes.shape)
    }

    fn touched<'a>(
        &'a self,
        tables: &'a dyn Tables,
        records: &'a [Record],
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        // The key of an event is the id of its record. What the tables could not apply has no row, or an earlier one.
        let ids = records.iter().filter_map(|record| std::str::from_utf8(record.key.as_deref()?).ok());
        let mut ids: Vec<String> = ids.map(str::to_owned).collect();
        ids.sort_unstable();
        ids.dedup();
        Box::pin(self.hand_on(tables, ids, sink))
    }

    fn ranges<'a>(&'a self, tables: &'a dyn Tables, keys: i64) -> BoxFuture<'a, Result<Vec<KeyRange>, TablesError>> {
        Box::pin(BY_ID.split(tables, keys))
    }

    fn of_range<'a>(
        &'a self,
        tables: &'a dyn Tables,
        range: &'a KeyRange,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let Some(mut pages) = BY_ID.pages(range)? else { return Ok(()) };
            while let Some(page) = pages.next(tables).await? {
                self.hand_on(tables, page.into_iter().map(RecordIdRow::into_id).collect(), sink).await?;
            }
            Ok(())
        })
    }
}
