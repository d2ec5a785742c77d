//! Search: `/api/v1/search`, `/api/v1/tags`, `/api/v1/users`.

mod parameters;
mod time;

use std::{sync::Arc, time::Instant};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use daybook_ingest::append::now_ms;
use daybook_projector::search::{
    SearchError, SearchIndex,
    document::{Document, Kind},
    highlight::highlights,
    query::Expression,
    request::{Facet, FacetField, Filter, Found, Hit, Request, Start},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use self::parameters::{Cursor, Parameters, Values};
use crate::{app::App, error::ApiError, json, query::Query, server, view::View};

/// What is encoded in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) async fn search(
    State(app): State<Arc<App>>,
    view: View,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let index = index(&app, &headers).await?;
    let place = format!("{}/{}", view.generation.number, index.id());
    let parameters = Parameters::parse(&query, &place, now_ms())?;
    let (request, wanted) = (parameters.request, parameters.hits_wanted);
    let (expression, sort, facets, start) =
        (request.query.clone(), request.sort, request.facets.clone(), request.start.clone());
    // What is found may be newer than that, never older.
    let complete = app.search.as_ref().is_some_and(|search| search.is_complete());
    let mut found = within(&app, index.as_ref(), request).await?;
    let more = found.hits.len() > wanted;
    found.hits.truncate(wanted);
    let next = found.hits.last().filter(|_| more).and_then(|last| match sort.field.value_of(&last.document) {
        Some(value) => Some(Start::After { value, key: Document::key(&last.document.id()) }),
        None => start.skip(wanted),
    });
    let next = next.map(|start| Cursor { place, asked: parameters.asked, start }.encode());
    let body = json!({
        "total": found.total,
        "hits": found.hits.iter().map(|hit| show(hit, expression.as_ref())).collect::<Vec<_>>(),
        "facets": show_facets(&facets, &found),
        "next_cursor": next,
        "complete": complete,
        "took_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    Ok(json::respond(StatusCode::OK, &body))
}

/// All tags of runs, with how many runs have each.
pub(super) async fn tags(State(app): State<Arc<App>>, headers: HeaderMap, query: Query) -> Result<Response, ApiError> {
    values(&app, &headers, &query, FacetField::Tag).await
}

/// All owners of runs, with how many runs each has.
pub(super) async fn users(State(app): State<Arc<App>>, headers: HeaderMap, query: Query) -> Result<Response, ApiError> {
    values(&app, &headers, &query, FacetField::User).await
}

async fn values(app: &App, headers: &HeaderMap, query: &Query, field: FacetField) -> Result<Response, ApiError> {
    let Values { prefix, values_max, flows } = Values::parse(query)?;
    let index = index(app, headers).await?;
    let filter = Filter { kinds: vec![Kind::Run], flows, ..Filter::default() };
    let facet = Facet { field, prefix, values_max };
    let request = Request { filter, facets: vec![facet], ..Request::all(0) };
    let found = within(app, index.as_ref(), request).await?;
    let values = found.facets.into_iter().next().unwrap_or_default();
    Ok(json::respond(StatusCode::OK, &values.iter().map(show_value).collect::<Vec<_>>()))
}

/// The index, once it has come to where the request wants it.
async fn index(app: &App, headers: &HeaderMap) -> Result<Arc<dyn SearchIndex>, ApiError> {
    let search = app.search.as_ref().ok_or_else(|| {
        ApiError::Text(StatusCode::NOT_IMPLEMENTED, "search is switched off here; see --search".to_owned())
    })?;
    let late = |_| ApiError::Unavailable("search has not caught up in time".to_owned());
    let index = tokio::time::timeout(app.config.wait_max, search.opened()).await.map_err(late)??;
    if let Some(wanted) = server::min_position(headers)? {
        let seen = tokio::time::timeout(app.config.wait_max, search.wait(&wanted)).await;
        seen.map_err(late)?;
    }
    Ok(index)
}

/// Searches, for a bounded time.
async fn within(app: &App, index: &dyn SearchIndex, request: Request) -> Result<Found, ApiError> {
    let found = tokio::time::timeout(app.config.wait_max, index.search(request)).await;
    Ok(found.map_err(|_| ApiError::Unavailable("search does not answer in time".to_owned()))??)
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Unavailable(_) | SearchError::Gone(_) => {
                tracing::warn!(error = %error, "search failed: {error}");
                Self::Unavailable("search does not answer now".to_owned())
            }
            SearchError::Refused(reason) => Self::Internal(reason),
        }
    }
}

fn show(hit: &Hit, query: Option<&Expression>) -> Value {
    let marked = query.map(|query| highlights(&hit.document, query)).unwrap_or_default();
    let marked: Vec<_> = marked.iter().map(|it| json!({"field": it.field.as_str(), "text": it.text})).collect();
    let mut shown = serde_json::to_value(&hit.document).unwrap_or_default();
    if let Some(shown) = shown.as_object_mut() {
        // Metadata may be long; where words of the query stand in it, the highlights show.
        shown.remove("metadata");
        shown.insert("path".to_owned(), path(&hit.document).into());
        shown.insert("highlights".to_owned(), marked.into());
        if let Some(score) = hit.score {
            shown.insert("score".to_owned(), f64::from(score).into());
        }
    }
    shown
}

/// Where Metaflow's API shows what a document is about.
fn path(document: &Document) -> String {
    let segment = |text: &str| utf8_percent_encode(text, SEGMENT).to_string();
    let mut path = format!("/flows/{}", segment(&document.flow));
    let parts = [
        ("runs", document.run.map(|run| run.to_string())),
        ("steps", document.step.as_deref().map(segment)),
        ("tasks", document.task.map(|task| task.to_string())),
        ("artifacts", document.artifact.as_deref().map(segment)),
        ("attempt", document.attempt.map(|attempt| attempt.to_string())),
    ];
    for (name, part) in parts.into_iter().filter_map(|(name, part)| part.map(|part| (name, part))) {
        path.push_str(&format!("/{name}/{part}"));
    }
    path
}

fn show_facets(facets: &[Facet], found: &Found) -> Value {
    let shown = facets.iter().zip(&found.facets).map(|(facet, values)| {
        (facet.field.as_str().to_owned(), values.iter().map(show_value).collect::<Vec<_>>().into())
    });
    Value::Object(shown.collect())
}

fn show_value((value, count): &(String, u64)) -> Value {
    json!({"value": value, "count": count})
}
