//! Requests to the whole service: paths, queries, filters, cursors, bodies. None is answered with a server error.

use std::{sync::OnceLock, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, header},
};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::service;

/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Sends `METHOD /path body`, if that can be a request at all.
pub(crate) fn run(input: &[u8]) {
    static SERVICE: OnceLock<(Runtime, Router)> = OnceLock::new();
    let (runtime, router) = SERVICE.get_or_init(service::start);
    let Some(request) = request(input) else { return };
    let answer = async {
        let answer = router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (status, body) = (answer.status(), to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await);
        (status, body.unwrap_or_else(|error| panic!("the answer broke off: {error}")))
    };
    let answered = runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, answer).await });
    let (status, body) = answered.unwrap_or_else(|_| panic!("no answer within {ANSWER_MAX:?}"));
    let said = String::from_utf8_lossy(&body);
    // A client of Metaflow's expects 500 for a number that is taken.
    assert!(!status.is_server_error() || said.contains("'run_number'"), "{status}: {said}");
}

fn request(input: &[u8]) -> Option<Request<Body>> {
    let mut parts = input.splitn(3, |byte| *byte == b' ');
    let method = Method::from_bytes(parts.next()?).ok()?;
    let path = parts.next()?;
    let body = parts.next().unwrap_or_default().to_vec();
    let json = (header::CONTENT_TYPE, "application/json");
    Request::builder().method(method).uri(path).header(json.0, json.1).body(Body::from(body)).ok()
}
