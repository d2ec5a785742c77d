//! Elasticsearch behind a proxy that refuses what one that is overloaded refuses: whole requests, and single items.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE, request::Parts},
    response::Response,
};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// Bytes of a request, at most.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Each item is a line that says what to do and one to do it with.
const LINES_OF_ITEM: usize = 2;
/// Items of a request that is not refused for its size.
const ITEMS_MAX: usize = 100;

/// A running proxy; ends when dropped.
pub struct Overloaded {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    target: String,
    client: Client,
    /// Bulk requests that came.
    turn: AtomicUsize,
    refused: AtomicUsize,
    refused_in_part: AtomicUsize,
}

impl Overloaded {
    /// Listens on a port of loopback and passes on to an Elasticsearch.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
        let url = listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default();
        let (turn, refused, refused_in_part) = Default::default();
        let shared =
            Arc::new(Shared { target: target.to_owned(), client: Client::new(), turn, refused, refused_in_part });
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("the proxy ended: {error}");
            }
        });
        Self { url, shared, task }
    }

    /// How many bulk requests were refused, whole and in part.
    pub fn refused(&self) -> (usize, usize) {
        (self.shared.refused.load(Ordering::Relaxed), self.shared.refused_in_part.load(Ordering::Relaxed))
    }
}

impl Drop for Overloaded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Refuses every bulk request of many items. Of four others one is refused with 429, one loses half of its items, one is
/// refused with 503.
async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BYTES_MAX).await else { return plain(StatusCode::BAD_REQUEST, &Value::Null) };
    if !parts.uri.path().ends_with("/_bulk") {
        return shared.pass_on(&parts, body).await;
    }
    if body.iter().filter(|byte| **byte == b'\n').count() / LINES_OF_ITEM > ITEMS_MAX {
        return shared.refuse(429, "es_rejected_execution_exception");
    }
    match shared.turn.fetch_add(1, Ordering::Relaxed) % 4 {
        0 => shared.refuse(429, "circuit_breaking_exception"),
        1 => shared.refuse_half(&parts, &body).await,
        2 => shared.refuse(503, "cluster_block_exception"),
        _ => shared.pass_on(&parts, body).await,
    }
}

impl Shared {
    fn refuse(&self, status: u16, kind: &str) -> Response {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let body = json!({"status": status, "error": {"type": kind, "reason": "for a test"}});
        plain(StatusCode::from_u16(status).unwrap_or_default(), &body)
    }

    /// Passes the first half of a bulk request on and refuses the other items.
    async fn refuse_half(&self, parts: &Parts, body: &Bytes) -> Response {
        self.refused_in_part.fetch_add(1, Ordering::Relaxed);
        let lines: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
        let items = lines.len() / LINES_OF_ITEM;
        let mut answered = match items / 2 {
            0 => json!({"items": []}),
            passed => {
                let answer = self.pass_on(parts, Bytes::from(lines[..passed * LINES_OF_ITEM].concat())).await;
                let text = to_bytes(answer.into_body(), BYTES_MAX).await.unwrap_or_default();
                serde_json::from_slice(&text).unwrap_or_default()
            }
        };
        let error = json!({"type": "es_rejected_execution_exception", "reason": "for a test"});
        if let Some(told) = answered["items"].as_array_mut() {
            told.resize(items, json!({"index": {"status": 429, "error": error}}));
        }
        answered["errors"] = true.into();
        plain(StatusCode::OK, &answered)
    }

    async fn pass_on(&self, parts: &Parts, body: Bytes) -> Response {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self.client.request(parts.method.clone(), format!("{}{path}", self.target)).body(body);
        if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, kind);
        }
        let Ok(answer) = request.send().await else { return plain(StatusCode::BAD_GATEWAY, &Value::Null) };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(Body::from(answer.bytes().await.unwrap_or_default()));
        *response.status_mut() = status;
        if let Some(kind) = headers.get(CONTENT_TYPE) {
            response.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        response
    }
}

fn plain(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
    response
}
