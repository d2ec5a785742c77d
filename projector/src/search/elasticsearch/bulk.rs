//! Documents as bodies of bulk requests, and the outcome of each.

use serde_json::{Value, json};

use super::{CLOSED, schema::Source};
use crate::search::{Refused, SearchError, document::Document, shape::IndexShape};

/// Bytes of a request's body, after which no further document is added.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A part of the documents, and the body that writes it.
pub(super) struct Body {
    pub(super) ndjson: Vec<u8>,
    /// Ids and revisions, in the body's order.
    pub(super) items: Vec<(String, i64)>,
}

/// Bodies for documents, each of a bounded size.
pub(super) fn bodies(shape: &IndexShape, documents: &[Document]) -> Result<Vec<Body>, SearchError> {
    let mut bodies: Vec<Body> = Vec::new();
    for document in documents {
        let id = &document.id;
        let body = match bodies.last_mut() {
            Some(body) if body.ndjson.len() < BODY_BYTES_MAX => body,
            _ => {
                bodies.push(Body { ndjson: Vec::new(), items: Vec::new() });
                let last = bodies.len() - 1;
                &mut bodies[last]
            }
        };
        let action =
            json!({"index": {"_id": id, "version": document.revision, "version_type": "external_gte"}}).to_string();
        body.ndjson.extend_from_slice(action.as_bytes());
        body.ndjson.push(b'\n');
        let written = serde_json::to_writer(&mut body.ndjson, &Source::new(shape, document));
        written.map_err(|error| SearchError::Refused(format!("document {id}: {error}")))?;
        body.ndjson.push(b'\n');
        body.items.push((id.clone(), document.revision));
    }
    Ok(bodies)
}

/// The outcome of the items of a request.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Refused for good.
    pub(super) refused: Vec<Refused>,
    /// Why an item was not taken now, if one was not.
    pub(super) retry: Option<String>,
    /// Why the index is not there, if it is not.
    pub(super) gone: Option<String>,
    /// Where an item went, if that is another index.
    pub(super) elsewhere: Option<String>,
    /// Refused before an index was chosen: by a pipeline, or because the alias leads to several.
    pub(super) unplaced: Vec<Refused>,
}

/// Reads a response to writes through the alias of an index, item by item.
pub(super) fn outcome(index: &str, alias: &str, items: &[(String, i64)], response: &Value) -> Outcome {
    let mut outcome = Outcome::default();
    let answered = response["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if answered.len() != items.len() {
        outcome.retry = Some(format!("{} items of {} were answered", answered.len(), items.len()));
    }
    for ((id, revision), item) in items.iter().zip(answered) {
        let item = &item["index"];
        let (kind, reason) = (item["error"]["type"].as_str().unwrap_or_default(), &item["error"]["reason"]);
        let reason = format!("{kind}: {}", reason.as_str().unwrap_or_default());
        match item["status"].as_u64().unwrap_or(0) {
            404 => outcome.gone = Some(reason),
            400 if matches!(kind, "index_not_found_exception" | CLOSED) => outcome.retry = Some(reason),
            400 | 413 if item["_index"] == alias => {
                outcome.unplaced.push(Refused { id: id.clone(), revision: *revision, reason });
            }
            200 | 201 | 409 | 400 | 413 if item["_index"] != index => {
                outcome.elsewhere = Some(item["_index"].as_str().unwrap_or("an unknown index").to_owned());
            }
            // A conflict is a newer revision that is there already.
            200 | 201 | 409 => {}
            400 | 413 => {
                outcome.refused.push(Refused { id: id.clone(), revision: *revision, reason });
            }
            // Overload, a full disk's block, a shard that is away: all pass.
            status => outcome.retry = Some(format!("{status} {reason}")),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::{super::super::shape::example::library, *};

    #[test]
    fn a_refused_item_is_told_from_one_to_try_again_and_from_a_newer_one() {
        let items: Vec<(String, i64)> = (0..5).map(|n| (n.to_string(), n)).collect();
        let item = |status: u16, kind: &str| json!({"index": {"_index": "i", "status": status, "error": {"type": kind, "reason": "r"}}});
        let response = json!({"items": [item(201, ""), item(409, "version_conflict_engine_exception"),
            item(400, "document_parsing_exception"), item(429, "es_rejected_execution_exception"), item(200, "")]});
        let found = outcome("i", "a", &items, &response);
        assert_eq!(found.refused.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["2"]);
        assert_eq!(found.retry.as_deref(), Some("429 es_rejected_execution_exception: r"));
        assert!(found.gone.is_none() && found.elsewhere.is_none());
        let gone = json!({"items": [item(404, "index_not_found_exception")]});
        assert!(outcome("i", "a", &items[..1], &gone).gone.is_some());
        assert!(outcome("i", "a", &items, &json!({})).retry.is_some(), "an answer without items is none");
    }

    #[test]
    fn an_item_that_went_elsewhere_is_noticed_and_one_of_a_closed_index_is_tried_again() {
        let items = [("0".to_owned(), 0)];
        let read = |index: &str, status: u16, kind: &str| {
            let item = json!({"_index": index, "status": status, "error": {"type": kind, "reason": "r"}});
            outcome("ours", "alias", &items, &json!({"items": [{"index": item}]}))
        };
        for (status, kind) in [(201, ""), (200, ""), (409, "version_conflict"), (400, "document_parsing_exception")] {
            let found = read("foreign", status, kind);
            assert_eq!((found.elsewhere.as_deref(), found.refused.len()), (Some("foreign"), 0), "{status}");
            assert_eq!(read("ours", status, kind).elsewhere, None, "{status}");
        }
        let unplaced = read("alias", 400, "illegal_argument_exception");
        assert!(unplaced.unplaced.len() == 1 && unplaced.elsewhere.is_none(), "{unplaced:?}");
        let closed = read("ours-live", 400, CLOSED);
        assert!(closed.retry.is_some() && closed.elsewhere.is_none() && closed.refused.is_empty(), "{closed:?}");
    }

    #[test]
    fn bodies_are_bounded_and_hold_every_document_once() {
        let documents: Vec<Document> = (0..3000)
            .map(|n| {
                let mut document = Document::new(format!("book/{n}"), 1);
                document.set("tags", json!(["x".repeat(2000)]));
                document
            })
            .collect();
        let bodies = bodies(&library(), &documents).unwrap_or_default();
        assert!(bodies.len() > 1 && bodies.iter().all(|body| body.ndjson.len() < BODY_BYTES_MAX + 10_000));
        assert_eq!(bodies.iter().map(|body| body.items.len()).sum::<usize>(), documents.len());
    }
}
