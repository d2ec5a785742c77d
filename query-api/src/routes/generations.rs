//! Generations and rebuilds of all domains: lists, reports, and what people ask for.

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::Response,
    routing::{get, post},
};
use daybook_reindexer::{
    control::State as Stage,
    rebuilds::{Known, Rebuilds, Wanted},
    until::Until,
};
use daybook_schemas::position::Vector;
use serde::Deserialize;

use crate::{
    app::{App, Domain},
    bodies::Bounded,
    error::ApiError,
    generations::{self, begun, body, changed},
    json,
    path::Path,
    query::Query,
    time,
};

/// The prefix of the paths of rebuilds.
const REBUILDS: &str = "/api/v1/rebuilds";

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

async fn list(State(app): State<Arc<App>>, query: Query) -> Result<Response, ApiError> {
    let mut shown = Vec::new();
    for rebuilds in asked(&app, &query)? {
        shown.extend(rebuilds.list().await?.iter().map(generations::show));
    }
    Ok(json::respond(StatusCode::OK, &shown))
}

async fn show(Named { rebuilds, number }: Named) -> Result<Response, ApiError> {
    changed(rebuilds.show(number).await)
}

async fn report(Named { rebuilds, number }: Named) -> Result<Response, ApiError> {
    generations::report(&rebuilds, number).await
}

async fn promote(Named { rebuilds, number }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    changed(rebuilds.promote(number, &body::reason(&body)?).await)
}

/// The generation is the previous one, to which it goes back.
async fn roll_back(Named { rebuilds, number }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    let reason = body::reason(&body)?;
    changed(rebuilds.roll_back(Some(number), &reason).await)
}

async fn cancel(Named { rebuilds, number }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    changed(rebuilds.cancel(number, body::reason(&body)?).await)
}

/// A rebuild that a deadline stopped goes on.
async fn resume(
    State(app): State<Arc<App>>,
    query: Query,
    Path(number): Path<String>,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let (domain, number) = (one(&app, &query)?, parse_number(&number)?);
    let ResumeBody { promote } = body::parse(&body)?;
    domain.know_newest(&app).await?;
    let known = domain.rebuilds.resume(number, promote).await?;
    Ok(begun(&known, REBUILDS))
}

async fn retire(Named { rebuilds, number }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    changed(rebuilds.retire(number, &body::reason(&body)?).await)
}

/// What a rebuild would do. Nothing is changed.
async fn plan(State(app): State<Arc<App>>, query: Query) -> Result<Response, ApiError> {
    let only_search = is_only_search(query.get("only").unwrap_or_default())?;
    let domain = one(&app, &query)?;
    domain.know_newest(&app).await?;
    Ok(json::respond(StatusCode::OK, &domain.rebuilds.plan(only_search).await?))
}

async fn rebuild(State(app): State<Arc<App>>, query: Query, Bounded(body): Bounded) -> Result<Response, ApiError> {
    let domain = one(&app, &query)?;
    let RebuildBody { label, promote, accept_quarantine, until, only } = body::parse(&body)?;
    let label = body::text("label", label)?;
    let until = if until.is_empty() { None } else { Some(parse_until(&until)?) };
    let only_search = is_only_search(&only)?;
    let wanted = Wanted { label, promotes: promote, accepts_quarantine: accept_quarantine, until, only_search };
    domain.know_newest(&app).await?;
    let known = domain.rebuilds.rebuild(wanted).await?;
    Ok(begun(&known, REBUILDS))
}

async fn list_rebuilds(State(app): State<Arc<App>>, query: Query) -> Result<Response, ApiError> {
    let mut shown = Vec::new();
    for rebuilds in asked(&app, &query)? {
        let known = rebuilds.list().await?;
        shown.extend(known.iter().filter(|known| is_rebuild(known)).map(generations::show_progress));
    }
    Ok(json::respond(StatusCode::OK, &shown))
}

async fn show_rebuild(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (rebuilds, number) = named(&app, &id)?;
    let known = rebuilds.show(number).await?;
    Ok(json::respond(StatusCode::OK, &generations::show_progress(&known)))
}

async fn events(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (rebuilds, number) = named(&app, &id)?;
    generations::events(rebuilds, number).await
}

/// The first generation of a domain was not rebuilt.
fn is_rebuild(known: &Known) -> bool {
    known.entry.state == Stage::Planned || !known.entry.goal.is_empty()
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
    let now = generations::now_ms();
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
