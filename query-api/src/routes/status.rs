//! The status of this process with the live generation of each domain, and the records in quarantine.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_ingest::log::EventLog;
use daybook_projector::{
    bookkeeping::quarantine::{self, Quarantined},
    chain,
    search::{Refused, bookkeeping, state::Search},
    tables::TablesError,
};
use daybook_schemas::position::{Position, Vector};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::search::parameters::{check_names, number};
use crate::{app::App, error::ApiError, json, live::Live, query::Query};

/// Documents that the index refused in one answer, at most.
const REFUSED_MAX: i64 = 20;
/// How long the log and the tables may take to say something of the status.
const READ_MAX: Duration = Duration::from_secs(2);
/// Entries of quarantine in one answer, at most.
const QUARANTINE_MAX: usize = 500;

/// What is known now. What the log or the tables do not say in time is null.
pub(super) async fn show(State(app): State<Arc<App>>) -> Response {
    let domains: Vec<Live> = app.domains().iter().map(|domain| domain.live()).collect();
    let (end, kept) = tokio::join!(end_of(&app.log), join_all(domains.iter().map(Kept::read)));
    let generations = domains.iter().zip(&kept).map(|(live, kept)| show_generation(live, kept, end.as_ref()));
    let generations: Vec<Value> = generations.collect();
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
    json::respond(StatusCode::OK, &body)
}

/// Where the log ends, if it says so in time.
async fn end_of(log: &Arc<dyn EventLog>) -> Option<Vector> {
    let log = Arc::clone(log);
    let end = tokio::task::spawn_blocking(move || log.end(&log.topics()));
    timeout(READ_MAX, end).await.ok()?.ok()?.ok()
}

/// What the tables of a generation keep about it; `None` where they do not say it.
#[derive(Default)]
struct Kept {
    quarantined: Option<i64>,
    refused: Option<Vec<Refused>>,
    failure: Option<String>,
}

impl Kept {
    async fn read(live: &Live) -> Self {
        let (tables, index) = (live.generation.tables.as_ref(), live.search.as_ref().and_then(|search| search.index()));
        let read = async {
            let quarantined = quarantine::count(tables).await?;
            let refused = match index {
                Some(index) => bookkeeping::list_quarantine(tables, index.id(), REFUSED_MAX).await?,
                None => Vec::new(),
            };
            Ok::<_, TablesError>((quarantined, refused))
        };
        match timeout(READ_MAX, read).await {
            Ok(Ok((quarantined, refused))) => {
                Self { quarantined: Some(quarantined), refused: Some(refused), failure: None }
            }
            Ok(Err(error)) => Self { failure: Some(chain(&error)), ..Self::default() },
            Err(_) => Self { failure: Some("the tables do not answer in time".to_owned()), ..Self::default() },
        }
    }
}

/// A generation and its progress. The lag is relative to the log's end, if that is known.
fn show_generation(live: &Live, kept: &Kept, end: Option<&Vector>) -> Value {
    let generation = &live.generation;
    let applied = generation.progress.applied();
    json!({
        "domain": generation.domain,
        "generation": generation.number,
        "state": "live",
        "schema": generation.schema,
        "applied": applied.to_string(),
        "lag_records": end.map(|end| applied.lag_in_own(end)),
        "quarantined_records": kept.quarantined,
        "failure": kept.failure,
        "search": live.search.as_ref().map(|search| show_search(search, kept, end)),
    })
}

/// The progress of search, and what its index refused. The lag is relative to the log's end, if that is known.
fn show_search(search: &Search, kept: &Kept, end: Option<&Vector>) -> Value {
    let health = search.health();
    let shown = |it: &Refused| json!({"id": it.id, "revision": it.revision, "reason": it.reason});
    let refused = kept.refused.as_ref().map(|refused| refused.iter().map(shown).collect::<Vec<_>>());
    json!({
        "place": search.index().map(|index| index.describe()),
        "visible": search.visible().to_string(),
        "lag_records": end.map(|end| search.lag(end)),
        "failure": health.failure,
        "rebuilding_documents": health.building.map(|building| building.documents),
        "refused": refused,
    })
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
