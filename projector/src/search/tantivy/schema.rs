//! The fields of a document in the embedded index.

use tantivy::{
    TantivyDocument,
    schema::{FAST, Field as Handle, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions},
};

use crate::search::{
    document::Document,
    query::Field,
    request::{FacetField, SortField, SortValue},
    words::terms,
};

/// Raised when the same document is to be indexed otherwise.
const VERSION: u32 = 1;
/// The tokenizer that keeps values whole.
const WHOLE: &str = "raw";

/// Handles of the fields.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    pub(super) schema: Schema,
    pub(super) id: Handle,
    pub(super) source: Handle,
    pub(super) key: Handle,
    pub(super) created_at: Handle,
    revision: Handle,
    /// Terms, by [`Field`].
    terms: Vec<Handle>,
    /// Whole values, by [`FacetField`].
    whole: Vec<Handle>,
    run: Handle,
    user_or_empty: Handle,
    status_or_empty: Handle,
}

/// Name of the column with the revision.
pub(super) const REVISION: &str = "revision";
/// Name of the column with the key.
pub(super) const KEY: &str = "key";
/// Name of the column with the time.
pub(super) const CREATED_AT: &str = "created_at";

impl Fields {
    pub(super) fn new() -> Self {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default()
            .set_tokenizer("whitespace")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let words = TextOptions::default().set_indexing_options(words);
        let column = TextOptions::default().set_fast(WHOLE);
        let id = schema.add_text_field("id", STRING);
        let revision = schema.add_i64_field(REVISION, FAST);
        let key = schema.add_i64_field(KEY, FAST);
        let source = schema.add_text_field("source", TextOptions::default() | STORED);
        let created_at = schema.add_i64_field(CREATED_AT, FAST);
        let run = schema.add_i64_field("run", FAST);
        let user_or_empty = schema.add_text_field("user_or_empty", column.clone());
        let status_or_empty = schema.add_text_field("status_or_empty", column);
        let add_terms = |field: Field| schema.add_text_field(&format!("terms_{}", field.as_str()), words.clone());
        let terms = Field::ALL.into_iter().map(add_terms).collect();
        let add_whole = |field: FacetField| schema.add_text_field(&whole_name(field), STRING.set_fast(WHOLE));
        let whole = FacetField::ALL.into_iter().map(add_whole).collect();
        let schema = schema.build();
        Self { schema, id, source, key, created_at, revision, terms, whole, run, user_or_empty, status_or_empty }
    }

    /// What shapes the index.
    pub(super) fn fingerprint(&self) -> String {
        let schema = serde_json::to_string(&self.schema).unwrap_or_default();
        super::digest(&[&VERSION.to_string(), &schema])
    }

    pub(super) fn terms(&self, field: Field) -> Handle {
        self.terms[field as usize]
    }

    pub(super) fn whole(&self, field: FacetField) -> Handle {
        self.whole[field as usize]
    }

    /// The column that a field is sorted by, and its handle; `None` by relevance.
    pub(super) fn sorted(&self, field: SortField) -> Option<(&str, Handle)> {
        let handle = match field {
            SortField::Relevance => return None,
            SortField::CreatedAt => self.created_at,
            SortField::Run => self.run,
            SortField::Flow => self.whole(FacetField::Flow),
            SortField::Type => self.whole(FacetField::Type),
            SortField::User => self.user_or_empty,
            SortField::Status => self.status_or_empty,
        };
        Some((self.schema.get_field_name(handle), handle))
    }

    /// A document as the index takes it.
    pub(super) fn indexed(&self, id: &str, document: &Document) -> TantivyDocument {
        let mut indexed = TantivyDocument::default();
        indexed.add_text(self.id, id);
        indexed.add_i64(self.revision, document.revision);
        indexed.add_i64(self.key, Document::key(id));
        indexed.add_text(self.source, serde_json::to_string(document).unwrap_or_default());
        for field in Field::ALL {
            for text in document.texts(field) {
                indexed.add_text(self.terms(field), terms(&text));
            }
        }
        for field in FacetField::ALL {
            for value in field.values_of(document) {
                indexed.add_text(self.whole(field), value);
            }
        }
        for field in [SortField::CreatedAt, SortField::Run, SortField::User, SortField::Status] {
            let Some((_, handle)) = self.sorted(field) else { continue };
            match field.value_of(document) {
                Some(SortValue::Int(value)) => indexed.add_i64(handle, value),
                Some(SortValue::Text(value)) => indexed.add_text(handle, value),
                None => {}
            }
        }
        indexed
    }
}

/// Name of the column of whole values.
pub(super) fn whole_name(field: FacetField) -> String {
    format!("whole_{}", field.as_str())
}
