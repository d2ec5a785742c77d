//! A row of a stream.

use rusqlite::types::ValueRef;

use crate::tables::{
    Cursor, TablesError, Timestamp,
    row::{shape, texts_of_json},
};

/// A row that a statement is at.
pub(super) struct SqliteCursor<'a, 'b>(pub(super) &'a rusqlite::Row<'b>);

impl SqliteCursor<'_, '_> {
    fn value(&self, column: usize) -> Result<ValueRef<'_>, TablesError> {
        self.0.get_ref(column).map_err(|_| shape())
    }
}

impl Cursor for SqliteCursor<'_, '_> {
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        self.value(column)?.as_str_or_null().map_err(|_| shape())
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        self.value(column)?.as_i64_or_null().map_err(|_| shape())
    }

    fn optional_bool(&self, column: usize) -> Result<Option<bool>, TablesError> {
        Ok(self.optional_int(column)?.map(|value| value != 0))
    }

    fn optional_float(&self, column: usize) -> Result<Option<f64>, TablesError> {
        self.value(column)?.as_f64_or_null().map_err(|_| shape())
    }

    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, TablesError> {
        self.value(column)?.as_blob_or_null().map_err(|_| shape())
    }

    fn optional_timestamp(&self, column: usize) -> Result<Option<Timestamp>, TablesError> {
        Ok(self.optional_int(column)?.map(Timestamp))
    }

    fn optional_texts(&self, column: usize) -> Result<Option<Vec<String>>, TablesError> {
        self.optional_text(column)?.map(texts_of_json).transpose()
    }
}
