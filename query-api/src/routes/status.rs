//! What this process is, how far its generation has come, and what is in quarantine.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_projector::{
    generation::{self, Quarantined},
    search::{books, state::Search},
};
use daybook_schemas::position::{Position, Vector};
use serde_json::{Value, json};

use crate::{app::App, error::ApiError, json, query::Query, view::View};

/// Documents that the index refused in one answer, at most.
const REFUSED_MAX: i64 = 20;
/// Entries of quarantine in one answer, at most.
const QUARANTINE_MAX: i64 = 500;

pub(super) async fn show(State(app): State<Arc<App>>, view: View) -> Result<Response, ApiError> {
    let log = Arc::clone(&app.log);
    let end = tokio::task::spawn_blocking(move || log.end()).await.map_err(|e| ApiError::Internal(e.to_string()))?;
    let applied = view.generation.progress.applied();
    let search = match &app.search {
        Some(search) => show_search(&view, search, end.as_ref().ok()).await?,
        None => Value::Null,
    };
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

/// How far search has come, and what its index refused; lag by the log's end, where that is known.
async fn show_search(view: &View, search: &Search, end: Option<&Vector>) -> Result<Value, ApiError> {
    let health = search.health();
    let refused = books::list_quarantine(view.generation.tables.as_ref(), REFUSED_MAX).await?;
    let refused = refused.iter().map(|it| json!({"id": it.id, "revision": it.revision, "reason": it.reason}));
    Ok(json!({
        "place": search.index().map(|index| index.describe()),
        "visible": search.visible().to_string(),
        "lag_records": end.map(|end| search.lag(end)),
        "failure": health.failure,
        "rebuilding_documents": health.rebuilding,
        "refused": refused.collect::<Vec<_>>(),
    }))
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
