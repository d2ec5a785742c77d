//! Query strings, decoded once: pairs in order, `+` as a space. Bytes that are not UTF-8 are refused.

use axum::{extract::FromRequestParts, http::request::Parts};
use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// Longest query string, in bytes, inclusive.
const BYTES_MAX: usize = 60 * 1024;

/// The pairs of a query string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        if text.len() > BYTES_MAX {
            return Err(ApiError::invalid("query", format!("the query has {} bytes, over {BYTES_MAX}", text.len())));
        }
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8();
            let decoded = decoded.map_err(|_| ApiError::invalid("query", "the query is not UTF-8"))?;
            if decoded.contains('\0') { Err(ApiError::nul("query")) } else { Ok(decoded.into_owned()) }
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, ApiError>>().map(Self)
    }

    /// The last value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_bad_bytes_refused() {
        let query = Query::parse("a=1&b=x%20y+z&a=2&c&=d&&").unwrap_or_default();
        let pairs: Vec<_> = query.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x y z"), ("a", "2"), ("c", ""), ("", "d")]);
        assert_eq!(query.get("a"), Some("2"));
        assert!(Query::parse("a=%ff").is_err());
        assert!(Query::parse("a=%00").is_err());
    }
}
