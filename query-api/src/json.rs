//! JSON in and out: answers, objects written straight from rows, and bodies read field by field.

mod body;
mod column_text;
mod numeric;
mod writer;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Response as HttpResponse, StatusCode, header},
    response::Response,
};
use serde::Serialize;

pub use self::{
    body::{Object, array, object},
    column_text::{NAN, string},
    writer::{ObjectWriter, write_text},
};

/// The initial capacity for an object, in bytes; few are larger.
pub const OBJECT_BYTES: usize = 512;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer with a JSON body.
pub fn respond(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => respond_bytes(status, bytes),
        Err(_) => respond_bytes(StatusCode::INTERNAL_SERVER_ERROR, b"{}".to_vec()),
    }
}

/// An answer with a JSON body as bytes.
pub fn respond_bytes(status: StatusCode, bytes: Vec<u8>) -> Response {
    with_type(status, Body::from(Bytes::from(bytes)), JSON)
}

/// An answer whose JSON body is a stream.
pub fn respond_stream(body: Body) -> Response {
    with_type(StatusCode::OK, body, JSON)
}

/// An answer with a plain text.
pub fn respond_text(status: StatusCode, text: &'static str) -> Response {
    with_type(status, Body::from(text), TEXT)
}

fn with_type(status: StatusCode, body: Body, content_type: HeaderValue) -> Response {
    let mut response = HttpResponse::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// An answer with one object, which `write` writes.
pub fn respond_object(write: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut body = Vec::with_capacity(OBJECT_BYTES);
    write(&mut body);
    respond_bytes(StatusCode::OK, body)
}
