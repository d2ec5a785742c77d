//! Search in the documents of a domain: `/search` below the domain's prefix.

pub(super) mod parameters;
pub mod values;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::get,
};
use daybook_ingest::append::now_ms;
use daybook_projector::{
    backoff::Backoff,
    search::{
        SearchIndex,
        document::Document,
        highlight::highlights,
        inherited::{self, Answer},
        query::Expression,
        request::{Counts, Facet, Hit, Request},
        shape::IndexShape,
    },
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use self::parameters::{Cursor, Parameters};
use crate::{app::App, error::ApiError, json, live::Live, query::Query, server};

/// Pauses between attempts of one search.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_millis(500);
/// How long after a search began it is tried again.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// What is encoded in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

async fn search(
    State(app): State<Arc<App>>,
    live: Live,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let index = index(&app, &live, &headers).await?;
    let place = Cursor::place(live.generation.number, index.id());
    let shape = index.shape();
    let Parameters { request, hits_wanted, asked } = Parameters::parse(shape, &query, &place, now_ms())?;
    let asked_for = request.clone();
    // Read before the search: what is found may be newer, never older.
    let complete = live.search.as_ref().is_some_and(|search| search.is_complete());
    let Answer { mut found, warnings } = within(&app, index.as_ref(), request).await?;
    let more = found.hits.len() > hits_wanted;
    found.hits.truncate(hits_wanted);
    let next = found.hits.last().filter(|_| more).and_then(|last| {
        let after = asked_for.sort.after(shape, &last.document);
        after.or_else(|| asked_for.start.skip(hits_wanted))
    });
    let next = next.map(|start| Cursor { place, asked, start }.encode());
    let hits: Vec<_> = found.hits.into_iter().map(|hit| show(shape, hit, asked_for.query.as_ref())).collect();
    let body = json!({
        "total": found.total,
        "hits": hits,
        "facets": show_facets(shape, &asked_for.facets, &found.facets),
        "next_cursor": next,
        "complete": complete && warnings.is_empty(),
        "warnings": warnings,
        "took_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    Ok(json::respond(StatusCode::OK, &body))
}

/// The generation that a query's cursor belongs to, if it has one.
pub(crate) fn generation_of(query: &str) -> Option<i64> {
    if !query.contains("cursor=") {
        return None;
    }
    let query = Query::parse(query).ok()?;
    Cursor::parse(query.get("cursor")?)?.generation()
}

/// The routes of a domain's search, below its prefix.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/search", get(search))
}

/// The index, once it has reached the positions that the request names.
async fn index(app: &App, live: &Live, headers: &HeaderMap) -> Result<Arc<dyn SearchIndex>, ApiError> {
    let switched_off = || ApiError::SwitchedOff("search is switched off here; see --search".to_owned());
    let search = live.search.as_ref().ok_or_else(switched_off)?;
    let late = |_| ApiError::Unavailable("search has not caught up in time".to_owned());
    let (wanted, wait_max) = (server::min_position(headers)?, app.config.wait_max);
    loop {
        let index = tokio::time::timeout(wait_max, search.opened()).await.map_err(late)??;
        tokio::time::timeout(wait_max, search.whole()).await.map_err(late)?;
        if let Some(wanted) = &wanted {
            tokio::time::timeout(wait_max, search.wait(wanted)).await.map_err(late)?;
        }
        // One that was opened anew meanwhile is another one, which has its own progress.
        if search.index().is_some_and(|now| Arc::ptr_eq(&now, &index)) {
            return Ok(index);
        }
    }
}

/// Searches, for a bounded time. An engine that is overloaded for a moment is asked again.
async fn within(app: &App, index: &dyn SearchIndex, request: Request) -> Result<Answer, ApiError> {
    let late = |_| ApiError::Unavailable("search does not answer in time".to_owned());
    let (began, mut backoff) = (Instant::now(), Backoff::new(RETRY_FIRST, RETRY_LONGEST));
    let retry_max = RETRY_MAX.min(app.config.wait_max);
    loop {
        let left = app.config.wait_max.saturating_sub(began.elapsed());
        let answer = tokio::time::timeout(left, inherited::search(index, request.clone())).await.map_err(late)?;
        let pause = backoff.pause();
        match answer {
            Err(error) if error.is_retryable() && began.elapsed() + pause < retry_max => {
                tracing::debug!(error = %error, "search is tried again: {error}");
                tokio::time::sleep(pause).await;
            }
            answer => return Ok(answer?),
        }
    }
}

fn show(shape: &IndexShape, hit: Hit, query: Option<&Expression>) -> Value {
    let Hit { document, score } = hit;
    let marked = query.map(|query| highlights(shape, &document, query)).unwrap_or_default();
    let marked = marked.iter().map(|it| json!({"field": shape.field(it.field).name, "text": it.text}));
    let (highlights, path) = (marked.collect::<Vec<_>>(), path(shape, &document));
    // Fields that are not shown may be long; highlights show where they match the query.
    let mut shown: Map<String, Value> = document.source.into_iter().filter(|(name, _)| shape.shows(name)).collect();
    shown.insert("revision".to_owned(), document.revision.into());
    shown.insert("path".to_owned(), path.into());
    shown.insert("highlights".to_owned(), highlights.into());
    if let Some(score) = score {
        shown.insert("score".to_owned(), f64::from(score).into());
    }
    Value::Object(shown)
}

/// The path in the API of the object that a document is about.
fn path(shape: &IndexShape, document: &Document) -> String {
    let mut path = String::new();
    for (segment, attribute) in &shape.path {
        let value = match document.source.get(&**attribute) {
            Some(Value::String(text)) => utf8_percent_encode(text, SEGMENT).to_string(),
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        path.push_str(&format!("/{segment}/{value}"));
    }
    path
}

fn show_facets(shape: &IndexShape, facets: &[Facet], found: &[Counts]) -> Value {
    let shown = facets.iter().zip(found).map(|(facet, values)| {
        (shape.name(facet.field).to_owned(), values.iter().map(show_value).collect::<Vec<_>>().into())
    });
    Value::Object(shown.collect())
}

fn show_value((value, count): &(String, u64)) -> Value {
    json!({"value": value, "count": count})
}
