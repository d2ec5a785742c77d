//! The fields of a document in the embedded index, made from the shape.

use tantivy::{
    TantivyDocument,
    schema::{FAST, Field as Handle, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions},
};

use crate::search::{
    document::Document,
    request::SortValue,
    shape::{Field, FieldId, IndexShape, Kind},
    words,
};

/// Raised when documents of the same shape are indexed differently.
const VERSION: u32 = 2;
/// The tokenizer that keeps values whole.
const WHOLE: &str = "raw";

/// Name of the column with the revision.
pub(super) const REVISION: &str = "revision";
/// Name of the column with the records that were applied.
pub(super) const APPLIED: &str = "applied";
/// Name of the column with the key.
pub(super) const KEY: &str = "key";

/// Handles of the fields.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    pub(super) schema: Schema,
    pub(super) id: Handle,
    pub(super) source: Handle,
    pub(super) key: Handle,
    /// Name of the column with the time.
    pub(super) time: String,
    revision: Handle,
    applied: Handle,
    terms: Vec<(Field, Handle)>,
    whole: Vec<(Field, Handle)>,
    /// Canonical compositions of whole values, where these are other texts.
    composed: Vec<(Field, Handle)>,
    sorted: Vec<(FieldId, Handle)>,
}

impl Fields {
    pub(super) fn new(shape: &IndexShape) -> Self {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default()
            .set_tokenizer("whitespace")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let words = TextOptions::default().set_indexing_options(words);
        let id = schema.add_text_field("id", STRING);
        let revision = schema.add_i64_field(REVISION, FAST);
        let applied = schema.add_i64_field(APPLIED, FAST);
        let key = schema.add_i64_field(KEY, FAST);
        let source = schema.add_text_field("source", TextOptions::default() | STORED);
        let whole = shape.all().filter(|(_, field)| field.is_whole()).map(|(id, _)| Field::Named(id));
        let mut whole: Vec<Field> = whole.collect();
        if shape.inheritance.is_some() {
            whole.extend([Field::Inherited, Field::Parent, Field::OwnId]);
        }
        let add_terms = |field: Field| (field, schema.add_text_field(&terms_name(shape, field), words.clone()));
        let terms = shape.searched().into_iter().map(add_terms).collect();
        let add_whole =
            |field: Field| (field, schema.add_text_field(&whole_name(shape, field), STRING.set_fast(WHOLE)));
        let composed = whole.iter().copied().filter(|field| shape.is_composed(*field));
        let composed: Vec<Field> = composed.collect();
        let whole = whole.into_iter().map(add_whole).collect();
        let add_composed = |field: Field| (field, schema.add_text_field(&composed_name(shape, field), STRING));
        let composed = composed.into_iter().map(add_composed).collect();
        let add_sorted = |(id, field): (FieldId, &crate::search::shape::FieldShape)| {
            let name = format!("sort_{}", field.name);
            let handle = match field.kind {
                Kind::Integer => schema.add_i64_field(&name, FAST),
                Kind::Text => schema.add_text_field(&name, TextOptions::default().set_fast(WHOLE)),
            };
            (id, handle)
        };
        let sorted = shape.all().filter(|(_, field)| field.sort).map(add_sorted).collect();
        let time = format!("sort_{}", shape.field(shape.time_field).name);
        Self { schema: schema.build(), id, source, key, time, revision, applied, terms, whole, composed, sorted }
    }

    /// What shapes the index.
    pub(super) fn fingerprint(&self, shape: &IndexShape) -> String {
        let schema = serde_json::to_string(&self.schema).unwrap_or_default();
        let shape = serde_json::to_string(shape).unwrap_or_default();
        super::digest(&[&VERSION.to_string(), &words::VERSION.to_string(), &schema, &shape])
    }

    /// The terms of a field; `None` if its words are not searched.
    pub(super) fn terms(&self, field: Field) -> Option<Handle> {
        self.terms.iter().find(|(known, _)| *known == field).map(|(_, handle)| *handle)
    }

    /// The whole values of a field; `None` if they are not kept.
    pub(super) fn whole(&self, field: Field) -> Option<Handle> {
        self.whole.iter().find(|(known, _)| *known == field).map(|(_, handle)| *handle)
    }

    /// The canonical compositions of the whole values of a field; `None` if these are compared as they are.
    pub(super) fn composed(&self, field: Field) -> Option<Handle> {
        self.composed.iter().find(|(known, _)| *known == field).map(|(_, handle)| *handle)
    }

    /// The name of the column with the whole values of a field; `None` if they are not kept.
    pub(super) fn whole_column(&self, field: Field) -> Option<&str> {
        self.whole(field).map(|handle| self.schema.get_field_name(handle))
    }

    /// The column that a field is sorted by, and its handle; `None` by relevance.
    pub(super) fn sorted(&self, field: Option<FieldId>) -> Option<(&str, Handle)> {
        let (_, handle) = self.sorted.iter().find(|(known, _)| Some(*known) == field)?;
        Some((self.schema.get_field_name(*handle), *handle))
    }

    /// A document as the index takes it.
    pub(super) fn indexed(&self, shape: &IndexShape, document: &Document) -> TantivyDocument {
        let mut indexed = TantivyDocument::default();
        indexed.add_text(self.id, &document.id);
        indexed.add_i64(self.revision, document.revision);
        indexed.add_i64(self.applied, document.applied);
        indexed.add_i64(self.key, document.key());
        indexed.add_text(self.source, document.text());
        for (field, handle) in &self.terms {
            for terms in shape.terms(document, *field) {
                indexed.add_text(*handle, terms);
            }
        }
        for (field, handle) in &self.whole {
            for value in shape.whole(document, *field) {
                indexed.add_text(*handle, value);
            }
        }
        for (field, handle) in &self.composed {
            for value in shape.compositions(document, *field) {
                indexed.add_text(*handle, value);
            }
        }
        for (field, handle) in &self.sorted {
            match SortValue::of(shape, document, *field) {
                SortValue::Int(value) => indexed.add_i64(*handle, value),
                SortValue::Text(value) => indexed.add_text(*handle, value),
            }
        }
        indexed
    }
}

fn terms_name(shape: &IndexShape, field: Field) -> String {
    match field {
        Field::Named(_) => format!("terms_{}", shape.name(field)),
        Field::Stems(Some(_)) => format!("stems_{}", shape.name(field)),
        field => shape.name(field).to_owned(),
    }
}

/// Name of the column of whole values.
fn whole_name(shape: &IndexShape, field: Field) -> String {
    match field {
        Field::Inherited => "inherited_whole".to_owned(),
        Field::Named(_) => format!("whole_{}", shape.name(field)),
        field => shape.name(field).to_owned(),
    }
}

fn composed_name(shape: &IndexShape, field: Field) -> String {
    match field {
        Field::Named(_) => format!("composed_{}", shape.name(field)),
        field => format!("{}_composed", shape.name(field)),
    }
}
