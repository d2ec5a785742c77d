//! Generations and rebuilds of all domains: lists, reports, and what people ask for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::Response,
    routing::{get, post},
};
use daybook_projector::search::SearchError;
use daybook_reindexer::{
    control::State as Stage,
    rebuilds::{Known, PartitionProgress, Rebuilds, RequestError, Wanted},
    until::Until,
};
use daybook_schemas::position::Vector;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    app::{App, Domain},
    bodies::Bounded,
    error::ApiError,
    json,
    path::Path,
    query::Query,
    time,
};

/// Between two looks at the progress of a rebuild whose events are sent.
const EVENTS_LOOK: Duration = Duration::from_millis(500);
/// How long nothing is sent while nothing changes; then a comment shows that the server is still there.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The routes below `/api/v1`.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/generations", get(list))
        .route("/api/v1/generations/{generation}", get(show))
        .route("/api/v1/generations/{generation}/report", get(report))
        .route("/api/v1/generations/{generation}/promote", post(promote))
        .route("/api/v1/generations/{generation}/rollback", post(roll_back))
        .route("/api/v1/generations/{generation}/cancel", post(cancel))
        .route("/api/v1/generations/{generation}/resume", post(resume))
        .route("/api/v1/generations/{generation}/retire", post(retire))
        .route("/api/v1/rebuilds", get(list_rebuilds).post(rebuild))
        .route("/api/v1/rebuilds/plan", get(plan))
        .route("/api/v1/rebuilds/{rebuild}", get(show_rebuild))
        .route("/api/v1/rebuilds/{rebuild}/events", get(events))
}

/// What a rebuild shall be.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RebuildBody {
    label: String,
    promote: bool,
    accept_quarantine: bool,
    until: String,
    /// The only part that is rebuilt; empty for all.
    only: String,
}

/// How a rebuild goes on.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ResumeBody {
    /// Left out: as it was.
    promote: Option<bool>,
}

/// Why something is done.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReasonBody {
    reason: String,
}

/// The generation that a path and a query name.
struct Named {
    rebuilds: Rebuilds,
    number: i64,
}

impl FromRequestParts<Arc<App>> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let query = Query::from_request_parts(parts, app).await?;
        let Path(number) = Path::<String>::from_request_parts(parts, app).await?;
        Ok(Self { rebuilds: one(app, &query)?.rebuilds.clone(), number: parse_number(&number)? })
    }
}

/// Longest label or reason, in bytes, inclusive.
const TEXT_BYTES_MAX: usize = 1024;

async fn list(State(app): State<Arc<App>>, query: Query) -> Result<Response, ApiError> {
    let mut shown = Vec::new();
    for rebuilds in asked(&app, &query)? {
        shown.extend(rebuilds.list().await.map_err(refused)?.iter().map(show_generation));
    }
    Ok(json::respond(StatusCode::OK, &shown))
}

async fn show(Named { rebuilds, number }: Named) -> Result<Response, ApiError> {
    answer(rebuilds.show(number).await)
}

async fn report(Named { rebuilds, number }: Named) -> Result<Response, ApiError> {
    let report = rebuilds.report(number).await.map_err(refused)?;
    let missing = || ApiError::NotFound(format!("generation {number} of {} was not verified", rebuilds.domain()));
    Ok(json::respond_bytes(StatusCode::OK, report.ok_or_else(missing)?.into_bytes()))
}

async fn promote(Named { rebuilds, number }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    answer(rebuilds.promote(number, &reason_of(&body)?).await)
}

/// The generation is the previous one, to which it goes back.
async fn roll_back(Named { rebuilds, number }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    let reason = reason_of(&body)?;
    let known = rebuilds.show(number).await.map_err(refused)?;
    if known.entry.state != Stage::Previous {
        let (domain, state) = (rebuilds.domain(), known.entry.state.as_str());
        return Err(ApiError::Duplicate(format!("generation {number} of {domain} is {state}, not previous")));
    }
    answer(rebuilds.roll_back(&reason).await)
}

async fn cancel(Named { rebuilds, number }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    answer(rebuilds.cancel(number, reason_of(&body)?).await)
}

/// A rebuild that a deadline stopped goes on.
async fn resume(
    State(app): State<Arc<App>>,
    query: Query,
    Path(number): Path<String>,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let (domain, number) = (one(&app, &query)?, parse_number(&number)?);
    let ResumeBody { promote } = parse_body(&body)?;
    domain.know_newest(&app).await?;
    let known = domain.rebuilds.resume(number, promote).await.map_err(refused)?;
    Ok(json::respond(StatusCode::ACCEPTED, &show_progress(&known)))
}

async fn retire(Named { rebuilds, number }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    answer(rebuilds.retire(number, &reason_of(&body)?).await)
}

/// What a rebuild would do. Nothing is changed.
async fn plan(State(app): State<Arc<App>>, query: Query) -> Result<Response, ApiError> {
    let only_search = is_only_search(query.get("only").unwrap_or_default())?;
    let domain = one(&app, &query)?;
    domain.know_newest(&app).await?;
    Ok(json::respond(StatusCode::OK, &domain.rebuilds.plan(only_search).await.map_err(refused)?))
}

async fn rebuild(State(app): State<Arc<App>>, query: Query, Bounded(body): Bounded) -> Result<Response, ApiError> {
    let domain = one(&app, &query)?;
    let RebuildBody { label, promote, accept_quarantine, until, only } = parse_body(&body)?;
    let label = checked("label", label)?;
    let until = if until.is_empty() { None } else { Some(parse_until(&until)?) };
    let only_search = is_only_search(&only)?;
    let wanted = Wanted { label, promotes: promote, accepts_quarantine: accept_quarantine, until, only_search };
    domain.know_newest(&app).await?;
    let known = domain.rebuilds.rebuild(wanted).await.map_err(refused)?;
    Ok(json::respond(StatusCode::ACCEPTED, &show_progress(&known)))
}

async fn list_rebuilds(State(app): State<Arc<App>>, query: Query) -> Result<Response, ApiError> {
    let mut shown = Vec::new();
    for rebuilds in asked(&app, &query)? {
        let known = rebuilds.list().await.map_err(refused)?;
        shown.extend(known.iter().filter(|known| is_rebuild(known)).map(show_progress));
    }
    Ok(json::respond(StatusCode::OK, &shown))
}

async fn show_rebuild(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (rebuilds, number) = named(&app, &id)?;
    let known = rebuilds.show(number).await.map_err(refused)?;
    Ok(json::respond(StatusCode::OK, &show_progress(&known)))
}

/// The progress of a rebuild as server-sent events, one for each change, until it has ended or waits to be promoted.
async fn events(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (rebuilds, number) = named(&app, &id)?;
    rebuilds.show(number).await.map_err(refused)?;
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

/// The first generation of a domain was not rebuilt.
fn is_rebuild(known: &Known) -> bool {
    known.entry.state == Stage::Planned || !known.entry.goal.is_empty()
}

fn show_generation(known: &Known) -> Value {
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

fn show_progress(known: &Known) -> Value {
    let pace = known.pace(now_ms());
    json!({
        "rebuild": format!("{}-{}", known.domain, known.entry.generation),
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

/// The domains that a query asks for: all, unless it names one.
fn asked(app: &App, query: &Query) -> Result<Vec<Rebuilds>, ApiError> {
    match query.get("domain").filter(|name| !name.is_empty()) {
        Some(_) => Ok(vec![one(app, query)?.rebuilds.clone()]),
        None => Ok(app.domains().iter().map(|domain| domain.rebuilds.clone()).collect()),
    }
}

/// The domain that a query names, or the default one.
fn one(app: &App, query: &Query) -> Result<Arc<Domain>, ApiError> {
    let domains = app.domains();
    let names = || domains.iter().map(|domain| domain.api.name).collect::<Vec<_>>().join(", ");
    match query.get("domain").filter(|name| !name.is_empty()) {
        Some(name) => match app.domain(name) {
            Some(domain) => Ok(domain),
            None => Err(ApiError::NotFound(format!("there is no domain {name}; there are: {}", names()))),
        },
        None => match app.default_domain() {
            Some(domain) => Ok(domain),
            None => Err(ApiError::invalid("domain", format!("name a domain: {}", names()))),
        },
    }
}

/// The rebuild with an id: the domain and the number of its generation, as in `orders-2`.
fn named(app: &App, id: &str) -> Result<(Rebuilds, i64), ApiError> {
    let unknown = || ApiError::NotFound(format!("there is no rebuild {id}"));
    let (domain, number) = id.rsplit_once('-').ok_or_else(unknown)?;
    let domain = app.domain(domain).ok_or_else(unknown)?;
    Ok((domain.rebuilds.clone(), number.parse().map_err(|_| unknown())?))
}

fn parse_number(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| ApiError::invalid("generation", format!("{text:?} is not the number of a generation")))
}

/// Whether only the index is rebuilt.
fn is_only_search(only: &str) -> Result<bool, ApiError> {
    match only {
        "" => Ok(false),
        "search" => Ok(true),
        other => Err(ApiError::invalid("only", format!("{other:?} cannot be rebuilt alone: only search can"))),
    }
}

/// A time in the past, or a vector.
fn parse_until(text: &str) -> Result<Until, ApiError> {
    let now = now_ms();
    let invalid = |text: String| ApiError::invalid("until", text);
    if let Some(time) = time::parse(text, now) {
        let future = || invalid(format!("{text} is in the future"));
        return if time <= now { Ok(Until::Time(time)) } else { Err(future()) };
    }
    let vector = text.parse().ok().filter(|vector: &Vector| !vector.0.is_empty());
    vector.map(Until::Vector).ok_or_else(|| {
        invalid(format!(
            "{text:?} is neither a time, as in 2026-11-26T18:00:00Z or -30m, nor a vector, as in orders/0@1042,orders/1@7"
        ))
    })
}

/// A body of fields that may all be left out, and so may the body.
fn parse_body<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid("body", format!("the body is not as expected: {error}")))
}

fn reason_of(body: &[u8]) -> Result<String, ApiError> {
    let ReasonBody { reason } = parse_body(body)?;
    checked("reason", reason)
}

fn checked(field: &str, text: String) -> Result<String, ApiError> {
    if text.contains('\0') {
        return Err(ApiError::nul(field));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(ApiError::invalid(field, format!("{field} has {} bytes, over {TEXT_BYTES_MAX}", text.len())));
    }
    Ok(text)
}

fn answer(known: Result<Known, RequestError>) -> Result<Response, ApiError> {
    Ok(json::respond(StatusCode::OK, &show_generation(&known.map_err(refused)?)))
}

fn refused(error: RequestError) -> ApiError {
    match error {
        RequestError::Unknown { .. } => ApiError::NotFound(error.to_string()),
        RequestError::Invalid { field, reason } => ApiError::invalid(field, reason),
        RequestError::Conflict(reason) => ApiError::Duplicate(reason),
        RequestError::Late(reason) => ApiError::Unavailable(reason),
        RequestError::Search(error @ SearchError::Unsupported(_)) => ApiError::Duplicate(error.to_string()),
        RequestError::Search(error) => error.into(),
        RequestError::Tables(error) => error.into(),
        RequestError::Log(error) => ApiError::Unavailable(error.to_string()),
    }
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
