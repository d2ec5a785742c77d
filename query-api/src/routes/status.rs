//! The status of this process with the live generation of each domain, and the records in quarantine.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_projector::{
    bookkeeping::quarantine::{self, Quarantined},
    search::{bookkeeping, state::Search},
};
use daybook_schemas::position::{Position, Vector};
use serde_json::{Value, json};

use super::search::parameters::{check_names, number};
use crate::{app::App, error::ApiError, json, live::Live, query::Query};

/// Documents that the index refused in one answer, at most.
const REFUSED_MAX: i64 = 20;
/// Entries of quarantine in one answer, at most.
const QUARANTINE_MAX: usize = 500;

pub(super) async fn show(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let log = Arc::clone(&app.log);
    let end = tokio::task::spawn_blocking(move || log.end(&log.topics()))
        .await
        .map_err(|e| ApiError::Internal(e.to_string()))?;
    let end = end.ok();
    let mut generations = Vec::new();
    for domain in app.domains() {
        generations.push(show_generation(&domain.live(), end.as_ref()).await?);
    }
    let (config, reasons) = (&app.config, (app.readiness)());
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instance": config.instance,
        "roles": config.roles.split(',').collect::<Vec<_>>(),
        "uptime_seconds": app.started.elapsed().as_secs(),
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "log": {"id": app.log.id(), "place": config.log, "end": end.map(|end| end.to_string())},
        "tables": {"place": config.tables},
        "default_domain": app.default_domain().map(|domain| domain.api.name),
        "generations": generations,
    });
    Ok(json::respond(StatusCode::OK, &body))
}

/// A generation and its progress. The lag is relative to the log's end, if that is known.
async fn show_generation(live: &Live, end: Option<&Vector>) -> Result<Value, ApiError> {
    let generation = &live.generation;
    let applied = generation.progress.applied();
    let search = match &live.search {
        Some(search) => show_search(live, search, end).await?,
        None => Value::Null,
    };
    Ok(json!({
        "domain": generation.domain,
        "generation": generation.number,
        "state": "live",
        "schema": generation.schema,
        "applied": applied.to_string(),
        "lag_records": end.map(|end| applied.lag_in_own(end)),
        "quarantined_records": quarantine::count(generation.tables.as_ref()).await?,
        "search": search,
    }))
}

/// The progress of search, and what its index refused. The lag is relative to the log's end, if that is known.
async fn show_search(live: &Live, search: &Search, end: Option<&Vector>) -> Result<Value, ApiError> {
    let health = search.health();
    let index = search.index();
    let refused = match &index {
        Some(index) => bookkeeping::list_quarantine(live.generation.tables.as_ref(), index.id(), REFUSED_MAX).await?,
        None => Vec::new(),
    };
    let refused = refused.iter().map(|it| json!({"id": it.id, "revision": it.revision, "reason": it.reason}));
    Ok(json!({
        "place": index.map(|index| index.describe()),
        "visible": search.visible().to_string(),
        "lag_records": end.map(|end| search.lag(end)),
        "failure": health.failure,
        "rebuilding_documents": health.building.map(|building| building.documents),
        "refused": refused.collect::<Vec<_>>(),
    }))
}

/// Records in quarantine, in order of position. `after` is the position to begin after, `limit` how many to show, and
/// `position` the only one to show.
pub(super) async fn quarantine(State(app): State<Arc<App>>, query: Query) -> Result<Response, ApiError> {
    check_names(&query, &["after", "limit", "position"])?;
    let limit = number(&query, "limit", QUARANTINE_MAX, 1, QUARANTINE_MAX)?;
    let position = |name: &str| {
        let given = query.get(name).filter(|text| !text.is_empty()).map(str::parse::<Position>).transpose();
        given.map_err(|e| ApiError::invalid(name, e.to_string()))
    };
    let (only, after) = (position("position")?, position("after")?);
    let before = |at: Position| Position { offset: at.offset - 1, ..at };
    let (after, count_max) = only.map_or((after, limit), |only| (Some(before(only)), 1));
    let rows_max = i64::try_from(count_max).unwrap_or(i64::MAX);
    let mut records = Vec::new();
    for domain in app.domains() {
        let live = domain.live();
        records.extend(quarantine::list(live.generation.tables.as_ref(), after, rows_max).await?);
    }
    records.retain(|record| only.is_none_or(|only| record.position == only));
    records.sort_by_key(|record| record.position);
    records.truncate(count_max);
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
