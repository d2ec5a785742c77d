//! Reads all documents of an index, page by page, in the order in which the shard has them: that needs no sorting. A point
//! in time keeps what is read the same until the end.

use elasticsearch::http::{Method, headers::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ElasticsearchIndex, SEARCH_MAX, accepted, answer, failure, is_good, read_value};
use crate::search::{
    SearchError,
    document::Stored,
    source::{Sink, SourceError},
};

/// Documents of a page.
const PAGE: usize = 1000;
/// How long Elasticsearch keeps the point in time after each page.
const KEPT: &str = "2m";
/// The fields of an answer that are read.
const FIELDS: &str = "filter_path=pit_id,timed_out,hits.hits._source,hits.hits.sort";

/// A scan at a point in time.
pub(super) struct Scan<'a> {
    index: &'a ElasticsearchIndex,
    point_in_time: String,
}

#[derive(Deserialize)]
struct Begun {
    id: String,
}

impl<'a> Scan<'a> {
    pub(super) async fn begin(index: &'a ElasticsearchIndex) -> Result<Self, SearchError> {
        let path = format!("/{}/_pit?keep_alive={KEPT}", index.name);
        let (status, answer) = index.store.call(Method::Post, &path, None).await?;
        let begun = serde_json::from_value::<Begun>(accepted(status, answer)?).map_err(answer::unreadable)?;
        Ok(Self { index, point_in_time: begun.id })
    }

    /// Hands on all documents.
    pub(super) async fn hand_on(&mut self, sink: &mut dyn Sink<Stored>) -> Result<(), SourceError> {
        let mut after = None;
        loop {
            let page = self.page(after.as_ref()).await?;
            self.point_in_time = page.point_in_time;
            let count = page.documents.len();
            sink.take(page.documents).await?;
            after = page.last;
            if count < PAGE {
                return Ok(());
            }
        }
    }

    async fn page(&self, after: Option<&Value>) -> Result<answer::Scanned, SearchError> {
        let mut body = json!({
            "size": PAGE,
            "timeout": SEARCH_MAX,
            "track_total_hits": false,
            "pit": {"id": self.point_in_time, "keep_alive": KEPT},
            "sort": [{"_shard_doc": "asc"}],
        });
        if let Some(after) = after {
            body["search_after"] = after.clone();
        }
        let path = format!("/_search?allow_partial_search_results=false&{FIELDS}");
        let body = body.to_string().into_bytes();
        let (status, text) = self.index.store.send(Method::Post, &path, HeaderMap::new(), Some(body)).await?;
        match status {
            status if is_good(status) => answer::read_scanned(&text),
            // The point in time is gone, as after a restart; whether the index is, too, the next scan finds out.
            404 => Err(SearchError::Unavailable("the scan was interrupted".to_owned())),
            status => Err(failure(status, &read_value(text))),
        }
    }

    pub(super) async fn end(self) -> Result<(), SearchError> {
        let body = json!({"id": self.point_in_time});
        self.index.store.call(Method::Delete, "/_pit", Some(body)).await.map(|_| ())
    }
}
