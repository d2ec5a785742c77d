//! Cursor paging: `_limit` and `_cursor`, the headers `X-Limit` and `X-Next-Cursor`, and the cursor itself.
//!
//! Rows are ordered by a tuple, all descending. A cursor holds the tuple of the last row that was returned; the next
//! page has the rows strictly after it. A cursor also names its generation (I4).

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};

use crate::{error::ApiError, query::Query};

/// Page size if the client gives none.
const LIMIT_DEFAULT: usize = 50;
/// Largest page size, inclusive; larger ones are reduced to it.
const LIMIT_MAX: usize = 500;

/// The position of a row in its list: the tuple it is ordered by. Unused parts are 0 and empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// `ts_epoch`.
    pub t: i64,
    /// A number.
    #[serde(default)]
    pub n: i64,
    /// A name.
    #[serde(default)]
    pub s: String,
}

/// The parameter that names the row to go on after.
const CURSOR: &str = "_cursor";

impl Key {
    /// A key before every row.
    pub const fn first() -> Self {
        Self { t: i64::MAX, n: i64::MAX, s: String::new() }
    }
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    /// The generation.
    g: i64,
    /// The list, so that a cursor is not used for another one.
    l: String,
    k: Key,
}

/// A page that a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rows wanted, at most.
    pub limit: usize,
    /// The row that the page comes after.
    pub after: Key,
}

impl Page {
    /// The page that a query asks for; `None` if it asks for the whole list. `filtered` switches paging on.
    pub fn of(query: &Query, list: &str, generation: i64, filtered: bool) -> Result<Option<Self>, ApiError> {
        let (limit, cursor) = (query.get("_limit"), query.get(CURSOR));
        if limit.is_none() && cursor.is_none() && !filtered {
            return Ok(None);
        }
        let limit = match limit {
            None | Some("") => LIMIT_DEFAULT,
            Some(text) => parse_limit(text)?,
        };
        let after = match cursor {
            None | Some("") => Key::first(),
            Some(text) => decode(text, list, generation)?,
        };
        Ok(Some(Self { limit, after }))
    }
}

fn parse_limit(text: &str) -> Result<usize, ApiError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(ApiError::invalid("_limit", format!("_limit is {text:?}, not an integer from 0")));
    }
    // A number that is too large to parse is larger than the largest page, too.
    Ok(text.parse::<usize>().unwrap_or(LIMIT_MAX).min(LIMIT_MAX))
}

/// The generation that a query's cursor belongs to, if it has one.
pub(crate) fn generation_of(query: &str) -> Option<i64> {
    if !query.contains(CURSOR) {
        return None;
    }
    let query = Query::parse(query).ok()?;
    let bytes = BASE64.decode(query.get(CURSOR)?.trim_end_matches('=')).ok()?;
    Some(serde_json::from_slice::<Cursor>(&bytes).ok()?.g)
}

fn decode(text: &str, list: &str, generation: i64) -> Result<Key, ApiError> {
    let invalid = || text_error("Invalid cursor".to_owned());
    let bytes = BASE64.decode(text.trim_end_matches('=')).map_err(|_| invalid())?;
    let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    if cursor.l != list || cursor.k.s.contains('\0') {
        return Err(invalid());
    }
    if cursor.g != generation {
        let text = format!("the cursor belongs to generation {}, which is no longer served; begin again", cursor.g);
        return Err(text_error(text));
    }
    Ok(cursor.k)
}

/// A mistake in a cursor is answered with a bare JSON string, like those in other parameters of lists.
fn text_error(message: String) -> ApiError {
    let body = serde_json::Value::String(message.clone());
    ApiError::Shaped { status: StatusCode::BAD_REQUEST, message, body }
}

/// The cursor of a row.
pub fn encode(list: &str, generation: i64, key: Key) -> String {
    let cursor = Cursor { g: generation, l: list.to_owned(), k: key };
    BASE64.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Result<Option<Page>, ApiError> {
        Page::of(&Query::parse(text)?, "runs", 1, false)
    }

    #[test]
    fn limits_are_defaulted_cut_and_checked() {
        let limit = |text: &str| page(text).ok().flatten().map(|page| page.limit);
        assert_eq!(page("").ok(), Some(None));
        assert_eq!(limit("_limit="), Some(50));
        assert_eq!(limit("_limit=7"), Some(7));
        assert_eq!(limit("_limit=0"), Some(0));
        assert_eq!(limit("_limit=501"), Some(500));
        assert_eq!(limit("_limit=99999999999999999999999"), Some(500));
        assert_eq!(limit("_cursor="), Some(50));
        for wrong in ["_limit=-1", "_limit=x", "_limit=1.5", "_limit=%2B1"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_comes_back_only_to_its_own_list_and_generation() {
        let key = Key { t: 5, n: 6, s: "x".to_owned() };
        let cursor = encode("runs", 1, key.clone());
        let after = page(&format!("_cursor={cursor}")).ok().flatten().map(|page| page.after);
        assert_eq!(after, Some(key));
        let query = |text: &str| Query::parse(text).unwrap_or_default();
        assert!(Page::of(&query(&format!("_cursor={cursor}")), "tasks", 1, false).is_err());
        assert!(Page::of(&query(&format!("_cursor={cursor}")), "runs", 2, false).is_err());
        for wrong in ["x", "e30", "W10", "bnVsbA"] {
            assert!(page(&format!("_cursor={wrong}")).is_err(), "{wrong}");
        }
    }
}
