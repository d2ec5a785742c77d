//! Parents by what they match, read from columns.

use std::collections::BTreeMap;

use tantivy::{DocAddress, DocId, DocSet, Searcher, TERMINATED, columnar::StrColumn, query::EnableScoring};

use super::Parts;
use crate::search::{
    request::{Parent, ParentsFound, ParentsRequest, Sort},
    shape::Field,
};

impl Parts {
    /// Finds the parents that match; the newest of them, if they are too many.
    pub(super) fn parents(&self, request: &ParentsRequest) -> tantivy::Result<ParentsFound> {
        let (searcher, query) = (self.reader.searcher(), self.queries().expression(&request.matching));
        let weight = query.weight(EnableScoring::disabled_from_searcher(&searcher))?;
        let (mut total, mut found) = (0, BTreeMap::<u32, Vec<DocId>>::new());
        for (segment, reader) in (0..).zip(searcher.segment_readers()) {
            let mut documents = weight.scorer(reader, 1.0)?;
            while documents.doc() != TERMINATED {
                let document = documents.doc();
                if reader.alive_bitset().is_none_or(|alive| alive.is_alive(document)) {
                    total += 1;
                    if total <= request.parents_max {
                        found.entry(segment).or_default().push(document);
                    }
                }
                documents.advance();
            }
        }
        if total > request.parents_max {
            let newest = Sort::newest(&self.shape);
            let page = self.sorted_page(&searcher, query.as_ref(), newest, request.parents_max.max(1))?;
            found.clear();
            for (_, DocAddress { segment_ord, doc_id }) in page {
                found.entry(segment_ord).or_default().push(doc_id);
            }
        }
        let mut parents = Vec::with_capacity(total.min(request.parents_max));
        for (segment, documents) in found {
            self.read_parents(&searcher, segment, &documents, request.values, &mut parents)?;
        }
        Ok(ParentsFound { total: total as u64, parents })
    }

    fn read_parents(
        &self,
        searcher: &Searcher,
        segment: u32,
        documents: &[DocId],
        values: bool,
        parents: &mut Vec<Parent>,
    ) -> tantivy::Result<()> {
        let reader = searcher.segment_reader(segment);
        let column = |field: Field| match self.fields.whole_column(field) {
            Some(name) => reader.fast_fields().str(name),
            None => Ok(None),
        };
        let Some(ids) = column(Field::OwnId)? else { return Ok(()) };
        let inherited = if values { column(Field::Inherited)? } else { None };
        let ids = of_documents(&ids, documents)?;
        let inherited = inherited.map(|column| of_documents(&column, documents)).transpose()?;
        let mut inherited = inherited.unwrap_or_default().into_iter();
        // A document without an id of a parent is none.
        for id in ids {
            let values = inherited.next().unwrap_or_default();
            parents.extend(id.into_iter().next().map(|id| Parent { id, values }));
        }
        Ok(())
    }
}

/// The values of documents in a column. Each block of the dictionary is read once.
fn of_documents(column: &StrColumn, documents: &[DocId]) -> tantivy::Result<Vec<Vec<String>>> {
    let mut wanted: Vec<(u64, usize)> = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        wanted.extend(column.term_ords(*document).map(|ordinal| (ordinal, index)));
    }
    wanted.sort_unstable();
    let mut values = vec![Vec::new(); documents.len()];
    let ordinals: Vec<u64> = wanted.iter().map(|(ordinal, _)| *ordinal).collect();
    let mut next = wanted.iter();
    column.dictionary().sorted_ords_to_term_cb(&ordinals, |term| {
        if let Some((_, index)) = next.next() {
            values[*index].push(String::from_utf8_lossy(term).into_owned());
        }
    })?;
    Ok(values)
}
