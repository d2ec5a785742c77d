//! Parameters of a path, decoded. What cannot be decoded is answered like any other mistake.

use axum::{
    extract::{FromRequestParts, RawPathParams, path::ErrorKind, rejection::PathRejection},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::error::{ApiError, no_route};

/// The parameters of a path.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if parts.uri.path().contains("%00") {
            return Err(ApiError::nul("path"));
        }
        let raw = RawPathParams::from_request_parts(parts, state).await;
        if raw.is_ok_and(|raw| has_empty(&raw)) {
            return Err(no_route());
        }
        let decoded = axum::extract::Path::from_request_parts(parts, state).await;
        decoded.map(|axum::extract::Path(parameters)| Self(parameters)).map_err(refused)
    }
}

/// Whether a parameter has no characters. The router takes such a path, and there is no such route.
pub(crate) fn has_empty(parameters: &RawPathParams) -> bool {
    parameters.iter().any(|(_, value)| value.is_empty())
}

fn refused(rejection: PathRejection) -> ApiError {
    let PathRejection::FailedToDeserializePathParams(failed) = rejection else {
        return ApiError::Internal(rejection.to_string());
    };
    match failed.kind() {
        ErrorKind::InvalidUtf8InPathParam { key } => ApiError::invalid(key, format!("{key} is not UTF-8")),
        ErrorKind::ParseErrorAtKey { key, value, expected_type } => {
            ApiError::invalid(key, format!("{key} is {value:?}, not of type {expected_type}"))
        }
        other => ApiError::invalid("path", other.to_string()),
    }
}
