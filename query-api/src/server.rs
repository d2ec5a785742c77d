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
    routing::get,
};
use daybook_schemas::position::{Partition, Vector};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use prometheus::IntGauge;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tower::ServiceExt;
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};
use tracing::Instrument;

use crate::{
    app::{App, Readiness},
    context::RequestId,
    error::{ApiError, Message},
    json,
    live::Live,
    metrics::metrics,
};

/// How long a client may take to send a request's head, on a new or a kept connection.
const HEAD_MAX: Duration = Duration::from_secs(75);
/// Bytes of a request's head, at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request, at most.
const HEADERS_MAX: usize = 100;
/// Concurrent connections; more wait to be accepted.
const CONNECTIONS_MAX: usize = 20_000;
/// Smallest body that is compressed for clients that accept compression.
const COMPRESSED_BYTES_MIN: u64 = 4096;

/// The answer if there is no route.
const NOT_FOUND: &str = "404: Not Found";

const GENERATION: HeaderName = HeaderName::from_static("daybook-generation");
const APPLIED: HeaderName = HeaderName::from_static("daybook-applied");
const MIN_POSITION: HeaderName = HeaderName::from_static("daybook-min-position");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The name of the header as error bodies show it.
const MIN_POSITION_FIELD: &str = "Daybook-Min-Position";
/// Why a process cannot serve during its start.
const STARTING: &str = "starting: the tables are catching up";

/// The label of requests that belong to no domain, and of those that match no route.
const NONE: &str = "none";

/// The domain that a request belongs to, for its metrics.
#[derive(Clone, Copy)]
struct DomainName(&'static str);

/// Wraps routes in the layers that every request passes.
pub fn wrap(app: &Arc<App>, routes: Router<Arc<App>>) -> Router {
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN));
    routes
        .fallback(|| async { json::respond_text(StatusCode::NOT_FOUND, NOT_FOUND) })
        .method_not_allowed_fallback(|| async {
            json::respond_text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed")
        })
        .layer(middleware::from_fn(around))
        .layer(compression)
        .with_state(Arc::clone(app))
}

/// Gives every request its id, its span and its metrics.
async fn around(mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, id) = (request.method().clone(), RequestId::of(request.headers()));
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(NONE, MatchedPath::as_str);
    request.extensions_mut().insert(id.clone());
    let span = tracing::debug_span!("request", id = %id.0, %method, route);
    // A path parameter has at least one character; the router would accept an empty segment.
    let response = if has_empty_segment(request.uri().path()) {
        json::respond_text(StatusCode::NOT_FOUND, NOT_FOUND)
    } else if request.uri().path().contains("%00") {
        ApiError::nul("path").into_response()
    } else {
        next.run(request).instrument(span).await
    };
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

/// Counts a request as in progress until it is dropped, also where its client went away.
struct InProgress(IntGauge);

impl InProgress {
    fn new(requests: IntGauge) -> Self {
        requests.inc();
        Self(requests)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Bounds the number of concurrent requests.
pub fn limited(app: &Arc<App>, routes: Router<Arc<App>>) -> Router<Arc<App>> {
    routes.layer(middleware::from_fn_with_state(Arc::clone(app), limit))
}

async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    limit_to(&app, NONE, next.run(request)).await
}

/// Answers a request unless too many others are in progress.
async fn limit_to(app: &App, domain: &str, answer: impl Future<Output = Response>) -> Response {
    let Ok(_permit) = app.requests.try_acquire() else {
        metrics().refused.with_label_values(&[domain]).inc();
        return ApiError::Unavailable("too many requests are in progress".to_owned()).into_response();
    };
    let _in_progress = InProgress::new(metrics().requests.with_label_values(&[domain]));
    answer.await
}

/// Wraps a domain's routes: each request takes the live generation once, waits for the position that it wants to see,
/// and is answered only while this process holds its lease. The wait counts against the limit on concurrent requests.
pub fn with_domain(app: &Arc<App>, name: &'static str, routes: Router<Arc<App>>) -> Router<Arc<App>> {
    routes.layer(middleware::from_fn_with_state((Arc::clone(app), name), in_domain))
}

async fn in_domain(State((app, name)): State<(Arc<App>, &'static str)>, mut request: Request, next: Next) -> Response {
    let live = app.domains[name].live();
    request.extensions_mut().insert(live.clone());
    let answer = async {
        match admit(&app, name, &live, request.headers()).await {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    let mut response = limit_to(&app, name, answer).await;
    // Tables that went back lack what was acknowledged.
    let checked = match live.generation.progress.owed().0.is_empty() {
        true => serves(&app, &live),
        false => Err(ApiError::Unavailable("the tables went back; try again".to_owned())),
    };
    if let Err(error) = checked {
        response = error.into_response();
    }
    let headers = response.headers_mut();
    headers.insert(GENERATION, HeaderValue::from(live.generation.number));
    if let Ok(applied) = HeaderValue::from_str(&live.generation.progress.applied_text()) {
        headers.insert(APPLIED, applied);
    }
    response.extensions_mut().insert(DomainName(name));
    response
}

fn has_empty_segment(path: &str) -> bool {
    path.contains("//") || (path.ends_with('/') && path.len() > 1)
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

/// Whether this process may answer from a generation. Without the lease, what was read may be outdated: another process
/// may work in its place. If the log does not contain what the tables have applied, they may hold what never was.
fn serves(app: &App, live: &Live) -> Result<(), ApiError> {
    if !app.lease.is_held() {
        return Err(ApiError::Unavailable("this process has lost its lease; try again".to_owned()));
    }
    match live.generation.refusal() {
        Some(reason) => Err(ApiError::Unavailable(reason.to_owned())),
        None => Ok(()),
    }
}

/// Checks that this process may answer, and waits until the domain's tables have reached the positions that a request
/// names, and all that they reached before.
async fn admit(app: &App, domain: &str, live: &Live, headers: &HeaderMap) -> Result<(), ApiError> {
    serves(app, live)?;
    let owed = live.generation.progress.owed();
    if !owed.0.is_empty() {
        let late = |_| ApiError::Unavailable("the tables went back, and have not caught up in time".to_owned());
        app.reached(live, &owed).await.map_err(late)?;
    }
    let Some(vector) = min_position(headers)? else { return Ok(()) };
    let topics = &app.domains[domain].api.topics;
    let exists = |it: &Partition| topics.contains(&it.topic) && it.id < app.log.partition_count(it.topic);
    if let Some(partition) = vector.0.keys().find(|partition| !exists(partition)) {
        return Err(ApiError::invalid(MIN_POSITION_FIELD, format!("{domain} has no partition {partition}")));
    }
    app.reached(live, &vector).await
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

/// The routes of a port during the start: alive, and 503 to everything else. `readiness` adds reasons to
/// `/health/ready`.
pub fn starting(readiness: Readiness) -> Router {
    let unavailable = || async { ApiError::Unavailable(STARTING.to_owned()).into_response() };
    let live = || async { json::respond(StatusCode::OK, &json!({"status": "starting"})) };
    let ready = move || {
        let reasons = [vec![STARTING.to_owned()], readiness()].concat();
        let body = json!({"status": "starting", "reasons": reasons});
        async move { json::respond(StatusCode::SERVICE_UNAVAILABLE, &body) }
    };
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready)).fallback(unavailable)
}

/// Serves the current routes until `shutdown` ends; then finishes the requests in progress, for at most `grace`.
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
                // Most likely there are no file handles left: other connections must end first.
                tracing::warn!(error = %error, "cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are written in one piece; waiting for more to send only delays them.
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
            // A client may close its connection at any time.
            let _closed = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests did not finish within {} s and were cut off", grace.as_secs());
    }
}
