//! The HTTP server: connections, limits, graceful shutdown, and what is the same for every request.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use daybook_schemas::position::Vector;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tower::ServiceExt;
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};
use tracing::Instrument;

use crate::{
    app::{App, METAFLOW_SERVICE_VERSION},
    context::RequestId,
    error::{ApiError, Message},
    json,
    metrics::metrics,
    view::View,
};

/// How long a client may take to send a request's head, on a new connection or a kept one.
const HEAD_MAX: Duration = Duration::from_secs(75);
/// Bytes of a request's head, at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request, at most.
const HEADERS_MAX: usize = 100;
/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 20_000;
/// Smallest body that is compressed for a client that wants that.
const COMPRESSED_BYTES_MIN: u64 = 4096;

/// What Metaflow's service answers where there is no route.
const NOT_FOUND: &str = "404: Not Found";

const GENERATION: HeaderName = HeaderName::from_static("daybook-generation");
const APPLIED: HeaderName = HeaderName::from_static("daybook-applied");
const MIN_POSITION: HeaderName = HeaderName::from_static("daybook-min-position");
const VERSION: HeaderName = HeaderName::from_static("metadata_service_version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps routes in what is the same for every request.
pub fn wrap(app: &Arc<App>, routes: Router<Arc<App>>) -> Router {
    let limit = Arc::new(Semaphore::new(app.config.requests_max));
    let around = middleware::from_fn_with_state((Arc::clone(app), limit), around);
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN));
    routes
        .fallback(|| async { json::respond_text(StatusCode::NOT_FOUND, NOT_FOUND) })
        .method_not_allowed_fallback(|| async {
            json::respond_text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed")
        })
        .layer(around)
        .layer(compression)
        .with_state(Arc::clone(app))
}

async fn around(State((app, limit)): State<(Arc<App>, Arc<Semaphore>)>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, view, id) = (request.method().clone(), app.live(), RequestId::of(request.headers()));
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(view.clone());
    let span = tracing::debug_span!("request", id = %id.0, %method, route);
    let outcome = match limit.try_acquire() {
        // A parameter is one character at least; the router would take an empty segment for one.
        _ if has_empty_segment(request.uri().path()) => json::respond_text(StatusCode::NOT_FOUND, NOT_FOUND),
        Ok(_permit) => {
            metrics().requests.inc();
            let admitted = admit(&app, &view, check(&request)).await;
            let response = match admitted {
                Ok(()) => next.run(request).instrument(span).await,
                Err(error) => error.into_response(),
            };
            metrics().requests.dec();
            // What was read or written while the lease was lost may be old: another process may be at work in its place.
            if app.lease.is_held() || serves_without_lease(route) { response } else { no_lease().into_response() }
        }
        Err(_) => {
            metrics().refused.inc();
            ApiError::Unavailable("too many requests are being worked on".to_owned()).into_response()
        }
    };
    let mut response = finish(outcome, &method, &id);
    let headers = response.headers_mut();
    headers.insert(VERSION, HeaderValue::from_static(METAFLOW_SERVICE_VERSION));
    headers.insert(GENERATION, HeaderValue::from(view.generation.number));
    if let Ok(applied) = HeaderValue::from_str(&view.generation.progress.applied_text()) {
        headers.insert(APPLIED, applied);
    }
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
    let status = response.status();
    let labels = [route, method.as_str(), status.as_str()];
    metrics().request_seconds.with_label_values(&labels).observe(began.elapsed().as_secs_f64());
    response
}

/// Routes about the process itself, which answer whether or not it holds its lease.
fn serves_without_lease(route: &str) -> bool {
    route.starts_with("/health/") || matches!(route, "/metrics" | "/api/v1/status" | "/openapi.json" | "/api/doc")
}

fn no_lease() -> ApiError {
    ApiError::Unavailable("this process has lost its lease; try again".to_owned())
}

fn has_empty_segment(path: &str) -> bool {
    path.contains("//") || (path.ends_with('/') && path.len() > 1)
}

/// What a request must pass before its route: a path that can be stored, and a readable vector of what it has seen.
fn check(request: &Request) -> Result<Option<Vector>, ApiError> {
    if request.uri().path().contains("%00") {
        return Err(ApiError::nul("path"));
    }
    min_position(request.headers())
}

/// The vector that a request has seen: a projection must have come as far.
pub(crate) fn min_position(headers: &HeaderMap) -> Result<Option<Vector>, ApiError> {
    let Some(value) = headers.get(MIN_POSITION) else { return Ok(None) };
    let vector = value.to_str().ok().and_then(|text| text.parse::<Vector>().ok());
    let vector = vector.ok_or_else(|| {
        ApiError::invalid("Daybook-Min-Position", "expected positions as in events/3@1042, comma-separated")
    })?;
    // The header names positions that were seen; a vector names what comes next.
    Ok(Some(Vector(vector.0.into_iter().map(|(partition, offset)| (partition, offset.saturating_add(1))).collect())))
}

/// Waits until the tables are as new as a request wants them.
async fn admit(app: &App, view: &View, wanted: Result<Option<Vector>, ApiError>) -> Result<(), ApiError> {
    match wanted? {
        Some(vector) => app.reached(view, &vector).await,
        None => Ok(()),
    }
}

/// Gives error bodies the request's id, and OPTIONS its answer.
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

/// What a port answers until its routes are there: alive, and 503 to everything else.
pub fn starting() -> Router {
    let unavailable =
        || async { ApiError::Unavailable("starting: the tables are catching up".to_owned()).into_response() };
    let live = || async { json::respond(StatusCode::OK, &serde_json::json!({"status": "starting"})) };
    Router::new().route("/health/live", axum::routing::get(live)).fallback(unavailable)
}

/// Serves the routes at hand until `shutdown` ends; then finishes the requests under way, for at most `grace`.
pub async fn serve(
    listener: TcpListener,
    routes: watch::Receiver<Router>,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let (graceful, connections) = (GracefulShutdown::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accept = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, most likely: others must end first.
                tracing::warn!(error = %error, "cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are written whole; waiting for more to send only delays them.
        let _unsupported = stream.set_nodelay(true);
        let routes = routes.clone();
        let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let router = routes.borrow().clone();
            let answer = router.oneshot(request.map(Body::new));
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is its own affair.
            let _broken = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {} s and were broken off", grace.as_secs());
    }
}
