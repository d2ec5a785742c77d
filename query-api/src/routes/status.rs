//! What this process is, how far its generation has come, and what is in quarantine.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_projector::{
    generation::{self, Quarantined},
    search::state::Search,
};
use daybook_schemas::{
    position::{Position, Vector},
    topics::Topic,
};
use serde_json::{Value, json};

use crate::{app::App, error::ApiError, json, query::Query, view::View};

/// Entries of quarantine in one answer, at most.
const QUARANTINE_MAX: i64 = 500;

pub(super) async fn show(State(app): State<Arc<App>>, view: View) -> Result<Response, ApiError> {
    let log = Arc::clone(&app.log);
    let end = tokio::task::spawn_blocking(move || log.end()).await.map_err(|e| ApiError::Internal(e.to_string()))?;
    let applied = view.generation.progress.applied();
    let search = app.search.as_ref().map(|search| show_search(search, end.as_ref().ok()));
    let (end, lag) = match end {
        Ok(end) => (Value::String(end.to_string()), Value::from(applied.lag(&end))),
        Err(_) => (Value::Null, Value::Null),
    };
    let quarantined = generation::count_quarantine(view.generation.tables.as_ref()).await?;
    let (config, reasons) = (&app.config, (app.readiness)());
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instance": config.instance,
        "roles": config.roles.split(',').collect::<Vec<_>>(),
        "uptime_seconds": app.started.elapsed().as_secs(),
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "log": {"id": app.log.id(), "place": config.log, "end": end},
        "tables": {"place": config.tables},
        "generations": [{
            "domain": view.generation.domain,
            "generation": view.generation.number,
            "state": "live",
            "schema": view.generation.schema,
            "applied": applied.to_string(),
            "lag_records": lag,
            "quarantined_records": quarantined,
            "search": search,
        }],
    });
    Ok(json::respond(StatusCode::OK, &body))
}

/// How far search has come; lag by the log's end, where that is known.
fn show_search(search: &Search, end: Option<&Vector>) -> Value {
    let (health, visible) = (search.health(), search.visible());
    let of_events = |end: &Vector| {
        Vector(end.0.iter().filter(|(it, _)| it.topic == Topic::Events).map(|(p, n)| (*p, *n)).collect())
    };
    json!({
        "place": search.index().map(|index| index.describe()),
        "visible": visible.to_string(),
        "lag_records": end.map(|end| visible.lag(&of_events(end))),
        "failure": health.failure,
        "rebuilding_documents": health.rebuilding,
    })
}

/// Records in quarantine, in order of position; `after` is the position to begin after, `position` the only one to show.
pub(super) async fn quarantine(view: View, query: Query) -> Result<Response, ApiError> {
    let position = |name: &str| {
        let given = query.get(name).filter(|text| !text.is_empty()).map(str::parse::<Position>).transpose();
        given.map_err(|e| ApiError::invalid(name, e.to_string()))
    };
    let (only, after) = (position("position")?, position("after")?);
    let before = |at: Position| Position { offset: at.offset - 1, ..at };
    let (after, count_max) = only.map_or((after, QUARANTINE_MAX), |only| (Some(before(only)), 1));
    let mut records = generation::list_quarantine(view.generation.tables.as_ref(), after, count_max).await?;
    records.retain(|record| only.is_none_or(|only| record.position == only));
    let entry = |record: &Quarantined| {
        json!({
            "position": record.position.to_string(),
            "reason": record.reason,
            "key": record.key,
            "value_bytes": record.bytes,
            "value_hex": record.value_hex,
        })
    };
    Ok(json::respond(StatusCode::OK, &records.iter().map(entry).collect::<Vec<_>>()))
}
