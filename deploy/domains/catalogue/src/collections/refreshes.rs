//! Refreshes: generations of collections that are built beside the live ones. They are rebuilds of the collections'
//! domains, and have the same ids.
//!
//! The routes answer as those of rebuilds do, and need no lease. Of the definitions they read what does not change.

mod asked;
mod live;

use std::{cmp::Reverse, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::Response,
    routing::{get, post},
};
use daybook_query_api::{
    app::{App, Domain},
    bodies::Bounded,
    error::ApiError,
    generations::{self, begun, body, changed},
    json,
    path::Path,
    query::Query,
};
use daybook_reindexer::{control::State as Stage, rebuilds::Known};

use self::asked::{Asked, New};
use super::routes::{self, absent};
use crate::records::events::{collection_of, domain_name};

/// The prefix of the paths.
const PREFIX: &str = "/api/v1/refreshes";

/// The routes below `/api/v1/refreshes`, and those of collections that belong to them.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(PREFIX, get(list).post(start))
        .route(&format!("{PREFIX}/{{refresh}}"), get(show))
        .route(&format!("{PREFIX}/{{refresh}}/events"), get(events))
        .route(&format!("{PREFIX}/{{refresh}}/report"), get(report))
        .route(&format!("{PREFIX}/{{refresh}}/promote"), post(promote))
        .route(&format!("{PREFIX}/{{refresh}}/cancel"), post(cancel))
        .route(&format!("{PREFIX}/{{refresh}}/retry"), post(retry))
        .route(&format!("{}/{{collection}}/rollback", routes::PREFIX), post(roll_back))
        .route(&format!("{}/{{collection}}/live", routes::PREFIX), get(live::show))
}

/// The refresh that a path names by its id, as in `collection.image-3`.
struct Named {
    domain: Arc<Domain>,
    known: Known,
}

impl FromRequestParts<Arc<App>> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Path(id) = Path::<String>::from_request_parts(parts, app).await?;
        let unknown = || ApiError::NotFound(format!("there is no refresh {id}"));
        let (domain, number) = id.rsplit_once('-').ok_or_else(unknown)?;
        let (collection, number) = collection_of(domain).zip(number.parse::<i64>().ok()).ok_or_else(unknown)?;
        let domain = domain_of(app, collection).await?;
        let known = domain.rebuilds.show(number).await?;
        if is_refresh(&known) { Ok(Self { domain, known }) } else { Err(unknown()) }
    }
}

/// The domain of a collection.
async fn domain_of(app: &App, collection: &str) -> Result<Arc<Domain>, ApiError> {
    match app.domain(&domain_name(collection)) {
        Some(domain) => Ok(domain),
        None => Err(absent(&catalogue(app)?.live(), collection).await),
    }
}

/// The domain of the definitions.
fn catalogue(app: &App) -> Result<Arc<Domain>, ApiError> {
    let missing = || ApiError::Internal("collections are served without their definitions".to_owned());
    app.domain(super::DOMAIN).ok_or_else(missing)
}

/// The first generation was made with the collection, and one that shows the past is read by previews only.
fn is_refresh(known: &Known) -> bool {
    known.entry.generation > 1 && !known.entry.is_past()
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Result<Response, ApiError> {
    let state = query.get("state").filter(|name| !name.is_empty()).map(state_of).transpose()?;
    let domains = match query.get("collection").filter(|name| !name.is_empty()) {
        Some(collection) => vec![domain_of(&app, collection).await?],
        None => app.domains().into_iter().filter(|domain| collection_of(domain.api.name).is_some()).collect(),
    };
    let mut found = Vec::new();
    for domain in &domains {
        found.extend(domain.rebuilds.list().await?);
    }
    found.retain(|known| is_refresh(known) && state.is_none_or(|state| known.entry.state == state));
    found.sort_by_key(|known| Reverse((known.entry.created_at, known.entry.generation)));
    let shown: Vec<_> = found.iter().map(generations::show_progress).collect();
    Ok(json::respond(StatusCode::OK, &shown))
}

fn state_of(name: &str) -> Result<Stage, ApiError> {
    let names = || Stage::ALL.map(Stage::as_str).join(", ");
    let unknown = || ApiError::invalid("state", format!("{name:?} is no state; there are: {}", names()));
    Stage::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(unknown)
}

/// Begins a refresh, or says what it would do.
async fn start(State(app): State<Arc<App>>, Bounded(body): Bounded) -> Result<Response, ApiError> {
    let New { collection, asked, is_dry_run } = New::read(&body)?;
    let domain = domain_of(&app, &collection).await?;
    domain.know_newest(&app).await?;
    if is_dry_run {
        let only_search = asked.only_search(&domain).await?;
        return Ok(json::respond(StatusCode::OK, &domain.rebuilds.plan(only_search).await?));
    }
    begin(&domain, asked).await
}

async fn begin(domain: &Domain, asked: Asked) -> Result<Response, ApiError> {
    let known = domain.rebuilds.rebuild(asked.wanted(domain).await?).await?;
    Ok(begun(&known, PREFIX))
}

async fn show(Named { known, .. }: Named) -> Result<Response, ApiError> {
    Ok(json::respond(StatusCode::OK, &generations::show_progress(&known)))
}

async fn events(Named { domain, known }: Named) -> Result<Response, ApiError> {
    generations::events(domain.rebuilds.clone(), known.entry.generation).await
}

async fn report(Named { domain, known }: Named) -> Result<Response, ApiError> {
    generations::report(&domain.rebuilds, known.entry.generation).await
}

async fn promote(Named { domain, known }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    changed(domain.rebuilds.promote(known.entry.generation, &body::reason(&body)?).await)
}

async fn cancel(Named { domain, known }: Named, Bounded(body): Bounded) -> Result<Response, ApiError> {
    changed(domain.rebuilds.cancel(known.entry.generation, body::reason(&body)?).await)
}

/// Lets a refresh go on that a deadline stopped, unless a part is named. Begins another one after one that failed or was
/// cancelled.
async fn retry(
    State(app): State<Arc<App>>,
    Named { domain, known }: Named,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let (asked, entry) = (Asked::read(&body)?, &known.entry);
    if !matches!(entry.state, Stage::Failed | Stage::Cancelled) {
        let (id, state) = (generations::id(&known), entry.state.as_str());
        return Err(ApiError::Duplicate(format!("refresh {id} is {state}: it did not fail and was not cancelled")));
    }
    domain.know_newest(&app).await?;
    if entry.stopped.is_none() || asked.part.is_some() {
        return begin(&domain, asked).await;
    }
    let resumed = domain.rebuilds.resume(entry.generation, asked.promotes).await?;
    Ok(begun(&resumed, PREFIX))
}

async fn roll_back(
    State(app): State<Arc<App>>,
    Path(collection): Path<String>,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let reason = body::reason(&body)?;
    changed(domain_of(&app, &collection).await?.rebuilds.roll_back(None, &reason).await)
}
