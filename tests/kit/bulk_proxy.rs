//! Elasticsearch behind a proxy that does harm to bulk requests: it refuses what an overloaded one refuses, or one document,
//! or sends requests again that came before.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderName, StatusCode, header::CONTENT_TYPE, request::Parts},
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

/// What is done to bulk requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Harm {
    /// Nothing but that they are kept, to be sent again.
    Keep,
    /// Every one of many items is refused. Of four others one is refused with 429, one loses half of its items, one is
    /// refused with 503.
    Overload,
    /// Every third search is refused with 429, and nothing else.
    RefuseSearches,
    /// The document with this id is refused for good.
    Refuse(String),
    /// Every request is refused with 503.
    RefuseAll,
}

/// A running proxy; ends when dropped.
pub struct BulkProxy {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    target: String,
    client: Client,
    harm: Mutex<Harm>,
    /// Bulk requests that were kept.
    kept: Mutex<Vec<(Parts, Bytes)>>,
    /// Bulk requests that came.
    turn: AtomicUsize,
    refused: AtomicUsize,
    refused_in_part: AtomicUsize,
    /// Searches that came.
    searches: AtomicUsize,
}

impl BulkProxy {
    /// Listens on a port of loopback, and passes on to an Elasticsearch what it does no harm to.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(target: &str, harm: Harm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
        let url = listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default();
        let (kept, turn, refused, refused_in_part, searches) = Default::default();
        let (target, client, harm) = (target.to_owned(), Client::new(), Mutex::new(harm));
        let shared = Arc::new(Shared { target, client, harm, kept, turn, refused, refused_in_part, searches });
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("the proxy ended: {error}");
            }
        });
        Self { url, shared, task }
    }

    /// Does another harm from now on.
    pub fn set(&self, harm: Harm) {
        *self.shared.harm.lock().unwrap_or_else(PoisonError::into_inner) = harm;
    }

    /// Sends the requests that were kept again, and returns the status of each item.
    pub async fn send_again(&self) -> Vec<u64> {
        let kept = std::mem::take(&mut *self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let mut statuses = Vec::new();
        for (parts, body) in kept {
            let answered = json_of(self.shared.pass_on(&parts, body).await).await;
            let items = answered["items"].as_array().into_iter().flatten();
            statuses.extend(items.filter_map(|item| item["index"]["status"].as_u64()));
        }
        statuses
    }

    /// How many bulk requests were refused, whole and in part.
    pub fn refused(&self) -> (usize, usize) {
        (self.shared.refused.load(Ordering::Relaxed), self.shared.refused_in_part.load(Ordering::Relaxed))
    }
}

impl Drop for BulkProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BYTES_MAX).await else { return plain(StatusCode::BAD_REQUEST, &Value::Null) };
    let harm = shared.harm.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !parts.uri.path().ends_with("/_bulk") {
        return match harm {
            // Others ask how new the index is.
            Harm::RefuseSearches if parts.uri.query().is_some_and(|query| query.contains("search_type=")) => {
                shared.refuse_search(&parts, body).await
            }
            _ => shared.pass_on(&parts, body).await,
        };
    }
    match harm {
        Harm::Keep => {
            shared.kept.lock().unwrap_or_else(PoisonError::into_inner).push((parts.clone(), body.clone()));
            shared.pass_on(&parts, body).await
        }
        Harm::Overload => shared.overload(&parts, body).await,
        Harm::RefuseSearches => shared.pass_on(&parts, body).await,
        Harm::Refuse(id) => shared.refuse_one(&parts, body, &id).await,
        Harm::RefuseAll => shared.refuse(503, "cluster_block_exception"),
    }
}

impl Shared {
    async fn overload(&self, parts: &Parts, body: Bytes) -> Response {
        if body.iter().filter(|byte| **byte == b'\n').count() / LINES_OF_ITEM > ITEMS_MAX {
            return self.refuse(429, "es_rejected_execution_exception");
        }
        match self.turn.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => self.refuse(429, "circuit_breaking_exception"),
            1 => self.refuse_half(parts, &body).await,
            2 => self.refuse(503, "cluster_block_exception"),
            _ => self.pass_on(parts, body).await,
        }
    }

    /// Refuses every third search.
    async fn refuse_search(&self, parts: &Parts, body: Bytes) -> Response {
        if !self.searches.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            return self.pass_on(parts, body).await;
        }
        let error = json!({"type": "circuit_breaking_exception", "reason": "for a test"});
        plain(StatusCode::TOO_MANY_REQUESTS, &json!({"status": 429, "error": error}))
    }

    /// Passes a bulk request on without one document, and refuses that.
    async fn refuse_one(&self, parts: &Parts, body: Bytes, id: &str) -> Response {
        let lines: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
        let is_it = |item: &[&[u8]]| {
            let action: Value = item.first().and_then(|line| serde_json::from_slice(line).ok()).unwrap_or_default();
            action["index"]["_id"] == id
        };
        let Some(place) = lines.chunks(LINES_OF_ITEM).position(is_it) else { return self.pass_on(parts, body).await };
        self.refused_in_part.fetch_add(1, Ordering::Relaxed);
        let (before, after) = (&lines[..place * LINES_OF_ITEM], &lines[(place + 1) * LINES_OF_ITEM..]);
        let others = [before, after].concat().concat();
        let mut answered = match others.is_empty() {
            true => json!({"items": []}),
            false => json_of(self.pass_on(parts, Bytes::from(others)).await).await,
        };
        let error = json!({"type": "document_parsing_exception", "reason": "for a test"});
        if let Some(outcomes) = answered["items"].as_array_mut() {
            let index = parts.uri.path().trim_start_matches('/').trim_end_matches("-live/_bulk");
            outcomes.insert(place, json!({"index": {"_index": index, "status": 400, "error": error}}));
        }
        answered["errors"] = true.into();
        plain(StatusCode::OK, &answered)
    }

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
            passed => json_of(self.pass_on(parts, Bytes::from(lines[..passed * LINES_OF_ITEM].concat())).await).await,
        };
        let error = json!({"type": "es_rejected_execution_exception", "reason": "for a test"});
        if let Some(outcomes) = answered["items"].as_array_mut() {
            outcomes.resize(items, json!({"index": {"status": 429, "error": error}}));
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
        for name in [CONTENT_TYPE, HeaderName::from_static("x-elastic-product")] {
            if let Some(value) = headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}

async fn json_of(answer: Response) -> Value {
    let text = to_bytes(answer.into_body(), BYTES_MAX).await.unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn plain(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
    response
}
