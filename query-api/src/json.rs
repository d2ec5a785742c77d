//! JSON in and out: answers, the objects of Metaflow's API written straight from rows, and bodies read field by field.

mod body;
mod objects;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Response as HttpResponse, StatusCode, header},
    response::Response,
};
use serde::Serialize;

pub(crate) use self::{
    body::{Object, array, object},
    objects::{owner, write_artifact, write_flow, write_metadata, write_run, write_step, write_task},
};

/// Bytes that an object of Metaflow's API seldom exceeds: room for one to begin with.
pub(crate) const OBJECT_BYTES: usize = 512;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer with a JSON body.
pub(crate) fn respond(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => respond_bytes(status, bytes),
        Err(_) => respond_bytes(StatusCode::INTERNAL_SERVER_ERROR, b"{}".to_vec()),
    }
}

/// An answer whose JSON body is written already.
pub(crate) fn respond_bytes(status: StatusCode, bytes: Vec<u8>) -> Response {
    with_type(status, Body::from(Bytes::from(bytes)), JSON)
}

/// An answer whose JSON body is a stream.
pub(crate) fn respond_stream(body: Body) -> Response {
    with_type(StatusCode::OK, body, JSON)
}

/// An answer with a plain text.
pub(crate) fn respond_text(status: StatusCode, text: &'static str) -> Response {
    with_type(status, Body::from(text), TEXT)
}

fn with_type(status: StatusCode, body: Body, content_type: HeaderValue) -> Response {
    let mut response = HttpResponse::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
