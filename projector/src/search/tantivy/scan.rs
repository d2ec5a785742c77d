//! Reads all documents of an index in the order in which its segments have them.

use tantivy::{DocAddress, DocId, Searcher};

use super::{Parts, TantivyIndex};
use crate::search::{
    document::Stored,
    source::{Sink, SourceError},
};

/// Documents that are read at a time.
const DOCUMENTS_MAX: DocId = 1000;

/// Some documents of a segment, and the next one.
struct Scanned {
    documents: Vec<Stored>,
    next: Option<DocId>,
}

/// Hands on all visible documents.
pub(super) async fn hand_on(index: &TantivyIndex, sink: &mut dyn Sink<Stored>) -> Result<(), SourceError> {
    // It holds the segments of this moment.
    let searcher = index.parts.reader.searcher();
    for segment in (0..).take(searcher.segment_readers().len()) {
        let mut from = Some(0);
        while let Some(first) = from {
            let (searcher, first) = (searcher.clone(), DocAddress::new(segment, first));
            let scanned = index.with_permit(move |parts| read(parts, &searcher, first)).await?;
            sink.take(scanned.documents).await?;
            from = scanned.next;
        }
    }
    Ok(())
}

/// Reads some documents of a segment, from one on.
fn read(parts: &Parts, searcher: &Searcher, from: DocAddress) -> tantivy::Result<Scanned> {
    let segment = searcher.segment_reader(from.segment_ord);
    let to = from.doc_id.saturating_add(DOCUMENTS_MAX).min(segment.max_doc());
    let is_alive = |document: &DocId| segment.alive_bitset().is_none_or(|alive| alive.is_alive(*document));
    let documents = (from.doc_id..to).filter(is_alive);
    let documents = documents.map(|document| parts.stored(searcher, DocAddress::new(from.segment_ord, document)));
    Ok(Scanned { documents: documents.collect::<tantivy::Result<_>>()?, next: (to < segment.max_doc()).then_some(to) })
}
