//! The OpenAPI document of everything that is served, and a page that shows it.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

/// The document. A test compares it with what the server answers.
pub const OPENAPI: &str = include_str!("docs/openapi.json");
const PAGE: &str = include_str!("docs/page.html");

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))], OPENAPI).into_response()
}

pub(super) async fn page() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], PAGE).into_response()
}
