//! What is the same for every request: its id, its metrics, the limit on requests, the shape of errors.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use daybook_schemas::position::{Partition, Vector};
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};
use tracing::Instrument;

use crate::{
    answering::{Answering, PREVIEW},
    app::{App, Domain, DomainApi},
    bodies::Held,
    context::RequestId,
    error::{ApiError, Message, no_route},
    live::Live,
    metrics::metrics,
    path::has_empty,
    place::Place,
};

/// Smallest body that is compressed for clients that accept compression.
const COMPRESSED_BYTES_MIN: u64 = 4096;

const GENERATION: HeaderName = HeaderName::from_static("daybook-generation");
const APPLIED: HeaderName = HeaderName::from_static("daybook-applied");
const MIN_POSITION: HeaderName = HeaderName::from_static("daybook-min-position");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The name of the header as error bodies show it.
const MIN_POSITION_FIELD: &str = "Daybook-Min-Position";

/// The label of requests that belong to no domain, and of those that match no route.
const NONE: &str = "none";

/// The domain that a request belongs to, for its metrics.
#[derive(Clone, Copy)]
struct DomainName(&'static str);

/// Wraps routes in the layers that every request passes.
pub fn wrap(app: &Arc<App>, routes: Router<Arc<App>>) -> Router {
    outermost(routes.fallback(not_found).method_not_allowed_fallback(not_allowed)).with_state(Arc::clone(app))
}

/// The outermost layers, also during the start.
pub(crate) fn outermost<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN));
    routes.layer(middleware::from_fn(around)).layer(compression)
}

/// The answer if there is no route.
pub(crate) async fn not_found() -> ApiError {
    no_route()
}

/// The answer if there is a route, but not for this method. The router adds the header `Allow`.
pub(crate) async fn not_allowed(parameters: Result<RawPathParams, RawPathParamsRejection>) -> ApiError {
    if parameters.is_ok_and(|parameters| has_empty(&parameters)) { no_route() } else { ApiError::NotAllowed }
}

/// Gives every request its id, its span and its metrics.
async fn around(mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, id) = (request.method().clone(), RequestId::of(request.headers()));
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(NONE, MatchedPath::as_str);
    request.extensions_mut().insert(id.clone());
    let span = tracing::debug_span!("request", id = %id.0, %method, route);
    let response = next.run(request).instrument(span).await;
    let mut response = finish(response, &method, &id);
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let domain = response.extensions().get::<DomainName>().map_or(NONE, |domain| domain.0);
    let status = response.status();
    let labels = [domain, route, method.as_str(), status.as_str()];
    metrics().request_seconds.with_label_values(&labels).observe(began.elapsed().as_secs_f64());
    response
}

/// Bounds the number of concurrent requests. A request counts once its body is there.
pub fn limited(app: &Arc<App>, routes: Router<Arc<App>>) -> Router<Arc<App>> {
    routes.layer(middleware::from_fn_with_state(Arc::clone(app), limit))
}

async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match received(&app, NONE, &[], request).await {
        Ok(Received { request, _held, _place }) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// A request in its place. The place and the bytes of its body count until this is dropped.
struct Received {
    request: Request,
    _held: Option<Held>,
    _place: Place,
}

/// Reads a request's body, unless its route does, and takes a place for it.
async fn received(
    app: &Arc<App>,
    domain: &'static str,
    streamed: &[String],
    mut request: Request,
) -> Result<Received, ApiError> {
    let matched = request.extensions().get::<MatchedPath>();
    let streams = matched.is_some_and(|route| streamed.iter().any(|streamed| streamed == route.as_str()));
    let taken = async {
        let mut held = None;
        if !streams {
            let (whole, bytes) = app.bodies.receive(request).await?;
            (request, held) = (whole, Some(bytes));
        }
        let place = Place::take(app, domain)?;
        if streams {
            request.extensions_mut().insert(place.clone());
        }
        Ok(Received { request, _held: held, _place: place })
    };
    let taken = taken.await;
    if let Err(ApiError::Unavailable(_)) = &taken {
        metrics().refused.with_label_values(&[domain]).inc();
    }
    taken
}

/// Wraps a domain's routes: each request takes the live generation once, waits for the position that it wants to see,
/// and is answered only while this process holds its lease. The wait counts against the limit on concurrent requests.
pub fn with_domain(app: &Arc<App>, domain: &Arc<Domain>, routes: Router<Arc<App>>) -> Router<Arc<App>> {
    routes.layer(middleware::from_fn_with_state((Arc::clone(app), Arc::clone(domain)), in_domain))
}

async fn in_domain(State((app, domain)): State<(Arc<App>, Arc<Domain>)>, mut request: Request, next: Next) -> Response {
    let name = domain.api.name;
    let mut response = match Answering::begin(&app, &domain, &request) {
        Ok(answering) => {
            let live = answering.live.clone();
            request.extensions_mut().insert(live.clone());
            let answer = async {
                let Received { request, _held, _place } = received(&app, name, &domain.api.streamed, request).await?;
                let takeover = admit(&app, &domain, &live, request.headers()).await?;
                let (is_read, began) = (is_plain_read(&request), Instant::now());
                let response = next.run(request).await;
                if is_read {
                    app.lease.throttle().note_read(began.elapsed());
                }
                live.generation.check_takeover(takeover)?;
                Ok::<_, ApiError>(response)
            };
            let mut response = answer.await.unwrap_or_else(ApiError::into_response);
            if let Err(error) = answering.may_send().await {
                response = error.into_response();
            }
            let headers = response.headers_mut();
            headers.insert(GENERATION, HeaderValue::from(live.generation.number));
            if let Ok(applied) = HeaderValue::from_str(&live.generation.progress.applied_text()) {
                headers.insert(APPLIED, applied);
            }
            response
        }
        Err(error) => error.into_response(),
    };
    response.extensions_mut().insert(DomainName(name));
    response
}

/// Whether it reads the live generation as it is, so that its duration tells how fast that is.
fn is_plain_read(request: &Request) -> bool {
    let waits_or_previews = [MIN_POSITION, PREVIEW].iter().any(|name| request.headers().contains_key(name));
    matches!(*request.method(), Method::GET | Method::HEAD) && !waits_or_previews
}

/// The vector that a request has seen and that a projection must have reached.
pub(crate) fn min_position(headers: &HeaderMap) -> Result<Option<Vector>, ApiError> {
    let Some(value) = headers.get(MIN_POSITION) else { return Ok(None) };
    let vector = value.to_str().ok().and_then(|text| text.parse::<Vector>().ok());
    let vector = vector.ok_or_else(|| {
        ApiError::invalid(MIN_POSITION_FIELD, "expected positions as in topic/3@1042, comma-separated")
    })?;
    // The header names positions that were seen; a vector names what comes next.
    Ok(Some(Vector(vector.0.into_iter().map(|(partition, offset)| (partition, offset.saturating_add(1))).collect())))
}

/// Waits until the domain's tables have reached the positions that a request names, and all that they reached before.
/// Returns the takeover by the server that they are on: the answer must be from there.
async fn admit(app: &App, domain: &Domain, live: &Live, headers: &HeaderMap) -> Result<u64, ApiError> {
    let takeover = live.generation.takeover().await?;
    let owed = live.generation.progress.owed();
    if !owed.0.is_empty() {
        let late = |_| ApiError::Unavailable("the tables went back, and have not caught up in time".to_owned());
        app.reached(live, &owed).await.map_err(late)?;
    }
    let Some(vector) = min_position(headers)? else { return Ok(takeover) };
    let DomainApi { name, topics, .. } = &domain.api;
    let exists = |it: &Partition| topics.contains(&it.topic) && it.id < app.log.partition_count(it.topic);
    if let Some(partition) = vector.0.keys().find(|partition| !exists(partition)) {
        return Err(ApiError::invalid(MIN_POSITION_FIELD, format!("{name} has no partition {partition}")));
    }
    app.reached(live, &vector).await?;
    Ok(takeover)
}

/// Adds the request's id to error bodies, and answers OPTIONS.
fn finish(mut response: Response, method: &Method, id: &RequestId) -> Response {
    if method == Method::OPTIONS && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers_mut().remove(header::ALLOW);
        let mut answer = StatusCode::NO_CONTENT.into_response();
        answer.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
        return answer;
    }
    let Some(Message(mut body)) = response.extensions_mut().remove::<Message>() else { return response };
    body.insert("request_id".to_owned(), id.0.clone().into());
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(serde_json::Value::Object(body).to_string()))
}
