//! What requests about generations say.

use serde::{Deserialize, de::DeserializeOwned};

use crate::error::ApiError;

/// Longest label or reason, in bytes, inclusive.
const TEXT_BYTES_MAX: usize = 1024;

/// Why something is done.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReasonBody {
    reason: String,
}

/// A body of fields that may all be left out, and so may the body.
pub fn parse<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid("body", format!("the body is not as expected: {error}")))
}

/// Why something is done; it may be left out.
pub fn reason(body: &[u8]) -> Result<String, ApiError> {
    let ReasonBody { reason } = parse(body)?;
    text("reason", reason)
}

/// A label or a reason, if it can be kept.
pub fn text(field: &str, text: String) -> Result<String, ApiError> {
    if text.contains('\0') {
        return Err(ApiError::nul(field));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(ApiError::invalid(field, format!("{field} has {} bytes, over {TEXT_BYTES_MAX}", text.len())));
    }
    Ok(text)
}
