//! The revisions of documents as they are visible, looked up by id.

use tantivy::{
    DocSet, Searcher, TERMINATED, Term,
    columnar::Column,
    schema::{Field as Handle, IndexRecordOption},
};

use super::schema::REVISION;

/// Looks revisions up in one state of the index.
pub(super) struct Revisions {
    searcher: Searcher,
    id: Handle,
    /// Of each segment, once it is needed.
    columns: Vec<Option<Column<i64>>>,
}

impl Revisions {
    pub(super) fn new(searcher: Searcher, id: Handle) -> Self {
        let columns = searcher.segment_readers().iter().map(|_| None).collect();
        Self { searcher, id, columns }
    }

    /// The revision of a document; `None` if it is not there.
    pub(super) fn of(&mut self, id: &str) -> tantivy::Result<Option<i64>> {
        let term = Term::from_field_text(self.id, id);
        for (reader, column) in self.searcher.segment_readers().iter().zip(&mut self.columns) {
            let index = reader.inverted_index(self.id)?;
            let Some(info) = index.get_term_info(&term)? else { continue };
            let mut documents = index.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
            while documents.doc() != TERMINATED {
                let document = documents.doc();
                if reader.alive_bitset().is_none_or(|alive| alive.is_alive(document)) {
                    let column = match column {
                        Some(column) => column,
                        None => column.insert(reader.fast_fields().i64(REVISION)?),
                    };
                    return Ok(column.first(document));
                }
                documents.advance();
            }
        }
        Ok(None)
    }
}
