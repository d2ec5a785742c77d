//! Generations and rebuilds as answers show them, and what people ask of them: for the routes of all domains, and for
//! those that a domain adds for its own.

pub mod body;

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use daybook_reindexer::{
    control::State as Stage,
    rebuilds::{Known, PartitionProgress, Rebuilds, RequestError},
};
use serde_json::{Value, json};

use crate::{error::ApiError, json};

/// Between two looks at the progress of a rebuild whose events are sent.
const EVENTS_LOOK: Duration = Duration::from_millis(500);
/// How long nothing is sent while nothing changes; then a comment shows that the server is still there.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The id of its rebuild: the domain and the number of the generation, as in `orders-2`.
pub fn id(known: &Known) -> String {
    format!("{}-{}", known.domain, known.entry.generation)
}

/// A generation.
pub fn show(known: &Known) -> Value {
    let entry = &known.entry;
    json!({
        "domain": known.domain,
        "generation": entry.generation,
        "label": entry.label,
        "state": entry.state.as_str(),
        "fingerprint": entry.fingerprint,
        "created_at": entry.created_at,
        "applied": known.applied.as_ref().map(ToString::to_string),
        "lag_records": known.lag,
        "tables": entry.schema,
        "search": known.index,
        "shared_parts": known.shared_parts,
        "until": Some(&entry.until).filter(|_| entry.is_past()),
        "reason": entry.reason,
        "stopped": entry.stopped.map(Stage::as_str),
    })
}

fn show_partition(progress: &PartitionProgress) -> Value {
    json!({
        "partition": progress.partition.to_string(),
        "applied": progress.applied,
        "goal": progress.goal,
        "percent": progress.percent,
    })
}

/// How far its rebuild is.
pub fn show_progress(known: &Known) -> Value {
    let pace = known.pace(now_ms());
    json!({
        "rebuild": id(known),
        "domain": known.domain,
        "generation": known.entry.generation,
        "label": known.entry.label,
        "state": known.entry.state.as_str(),
        "percent": pace.percent,
        "events_per_second": pace.events_per_second.round(),
        "eta_seconds": pace.eta_seconds.map(f64::ceil),
        "lag": known.lag,
        "documents": known.documents(),
        "ranges": known.building.map(|building| json!({"written": building.ranges_written, "all": building.ranges})),
        "partitions": known.partitions().iter().map(show_partition).collect::<Vec<_>>(),
        "workers": known.workers,
        "pause_percent": known.pause_percent,
        "promotes": known.entry.promotes,
        "reason": known.entry.reason,
        "stopped": known.entry.stopped.map(Stage::as_str),
    })
}

/// The answer once a rebuild has begun, or goes on; it is found below a prefix.
pub fn begun(known: &Known, prefix: &str) -> Response {
    let mut response = json::respond(StatusCode::ACCEPTED, &show_progress(known));
    if let Ok(location) = HeaderValue::from_str(&format!("{prefix}/{}", id(known))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The answer once a generation was changed.
pub fn changed(known: Result<Known, RequestError>) -> Result<Response, ApiError> {
    Ok(json::respond(StatusCode::OK, &show(&known?)))
}

/// The report of a generation's verification.
pub async fn report(rebuilds: &Rebuilds, number: i64) -> Result<Response, ApiError> {
    let report = rebuilds.report(number).await?;
    let missing = || ApiError::NotFound(format!("generation {number} of {} was not verified", rebuilds.domain()));
    Ok(json::respond_bytes(StatusCode::OK, report.ok_or_else(missing)?.into_bytes()))
}

/// The progress of a rebuild as server-sent events, one for each change, until it has ended or waits to be promoted.
pub async fn events(rebuilds: Rebuilds, number: i64) -> Result<Response, ApiError> {
    rebuilds.show(number).await?;
    let sent = async_stream::stream! {
        let (mut changes, mut before, mut sent) = (rebuilds.changes(), Value::Null, Instant::now());
        loop {
            changes.mark_unchanged();
            let Ok(known) = rebuilds.show(number).await else { break };
            let now = show_progress(&known);
            // Whoever sees that it is live gets answers from it.
            let is_followed = known.entry.state != Stage::Live || rebuilds.answers_from(&known).unwrap_or(true);
            if now != before && is_followed {
                yield Ok::<_, std::convert::Infallible>(format!("event: progress\ndata: {now}\n\n"));
                (before, sent) = (now, Instant::now());
            } else if sent.elapsed() >= SILENCE_MAX {
                yield Ok(":\n\n".to_owned());
                sent = Instant::now();
            }
            if has_ended(&known) && is_followed {
                break;
            }
            // Either is a reason to look.
            let _due = tokio::time::timeout(EVENTS_LOOK, changes.changed()).await;
        }
    };
    let mut response = Response::new(Body::from_stream(sent));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whether nothing more happens to a rebuild by itself.
fn has_ended(known: &Known) -> bool {
    let entry = &known.entry;
    match entry.state {
        Stage::Ready => !entry.promotes,
        state => !state.is_unpromoted(),
    }
}

/// The time, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
