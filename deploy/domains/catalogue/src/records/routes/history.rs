//! The events of one record, from the log. The log has no index by key, so the partition of the record is read: from an
//! offset on, for a bounded time, and the answer says where to go on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_ingest::log::{EventLog, LogError, ReadLimits};
use daybook_query_api::{app::App, error::ApiError, json, live::Live, path::Path, query::Query};
use daybook_schemas::{
    generic::SchemaSets,
    position::{Offset, Partition, Vector},
    topics::partition_of,
};
use serde_json::{Value, json};

use super::{id_of_path, one::taken_down, view};
use crate::{collections::routes::limit_of, records::events};

/// How long one request reads the log.
const READ_MAX: Duration = Duration::from_secs(2);
/// What is read at a time.
const READ: ReadLimits = ReadLimits { records_max: 2000, bytes_max: 4 << 20, wait: Duration::from_millis(500) };

/// Which events are asked for.
struct Asked {
    partition: Partition,
    /// The first offset that is looked at.
    from: Offset,
    /// Where the log ended when the request came.
    end: Offset,
    key: String,
    limit: usize,
}

/// Shows the events of a record, oldest first. `next` is the offset to go on from, if there may be more.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    live: Live,
    Path(record_id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let key = id_of_path(&view, &record_id)?;
    if let Some(reason) = view.state(&key).await?.and_then(|stored| stored.state.taken_down) {
        return Err(taken_down(&key, &reason));
    }
    let limit = usize::try_from(limit_of(&query)?).unwrap_or(usize::MAX);
    let from =
        query.get("from").map(str::parse::<Offset>).transpose().ok().filter(|from| from.is_none_or(|it| it >= 0));
    let from = from.ok_or_else(|| ApiError::invalid("from", "from is the number that `next` was"))?.unwrap_or(0);
    let topic = events::topic(view.definition.collection.as_str());
    let id = partition_of(key.as_bytes(), app.log.partition_count(topic));
    let (log, schemas) = (Arc::clone(&app.log), app.schemas.clone());
    let read = tokio::task::spawn_blocking(move || {
        let partition = Partition { topic, id };
        let end = log.end(&[topic])?.next(partition);
        read(log.as_ref(), &schemas, &Asked { partition, from, end, key, limit })
    });
    let read = read.await.map_err(|error| ApiError::Internal(error.to_string()))?;
    let (found, next) = read.map_err(|error| {
        tracing::warn!(error = %error, "the events of a record cannot be read: {error}");
        ApiError::Unavailable("the log does not answer now".to_owned())
    })?;
    Ok(json::respond(StatusCode::OK, &json!({"record_id": record_id, "events": found, "next": next})))
}

/// The events, and the offset to go on from; `None` at the end of the log.
fn read(log: &dyn EventLog, schemas: &SchemaSets, asked: &Asked) -> Result<(Vec<Value>, Option<Offset>), LogError> {
    let Asked { partition, from, end, key, limit } = asked;
    let (began, mut found, mut next) = (Instant::now(), Vec::new(), *from);
    let mut reader = log.reader(&Vector([(*partition, next)].into()))?;
    while next < *end && began.elapsed() < READ_MAX {
        for record in reader.read(READ)? {
            if record.key.as_deref() == Some(key.as_bytes()) {
                let shown = match schemas.decode(&record.value) {
                    Ok(decoded) => json!({
                        "position": record.position.to_string(),
                        "type": decoded.kind,
                        "occurred_at": decoded.envelope.get("occurred_at"),
                        "actor": decoded.envelope.get("actor"),
                        "event": serde_json::from_str::<Value>(&decoded.event).unwrap_or_default(),
                    }),
                    Err(error) => json!({"position": record.position.to_string(), "error": error.to_string()}),
                };
                found.push(shown);
            }
            next = record.position.offset + 1;
            if found.len() == *limit {
                return Ok((found, (next < *end).then_some(next)));
            }
        }
        next = next.max(reader.reached().next(*partition));
    }
    Ok((found, (next < *end).then_some(next)))
}
