//! Request bodies, read up to a limit. Their content type does not matter.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::header,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{app::App, error::ApiError};

/// A whole body within the limit.
pub struct Bounded(pub Bytes);

impl FromRequest<Arc<App>> for Bounded {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let bytes_max = app.config.body_bytes_max;
        let too_large = || ApiError::TooLarge {
            message: format!("the body is over the limit of {bytes_max} bytes"),
            field: Some("body".to_owned()),
        };
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_large());
        }
        match Limited::new(request.into_body(), bytes_max).collect().await {
            Ok(collected) => Ok(Self(collected.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) => Err(ApiError::invalid("body", "the body ended early")),
        }
    }
}
