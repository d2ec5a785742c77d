//! What answers at an address: an Elasticsearch of a version that is supported, another product, or nothing that Daybook
//! may use.

use elasticsearch::http::{Method, headers::HeaderMap};
use serde_json::Value;

use super::{ElasticsearchStore, LOOK_MAX, failure, is_good, no_elasticsearch, read, read_value};
use crate::search::SearchError;

/// Each answer of Elasticsearch has this header, also one that refuses the login.
const HEADER: &str = "x-elastic-product";
const PRODUCT: &[u8] = b"Elasticsearch";
/// What earlier versions say at their root instead.
const TAGLINE: &str = "You Know, for Search";
/// The least version that is supported.
const VERSION_MIN: u64 = 8;

impl ElasticsearchStore {
    /// Refuses an address where no Elasticsearch is that can be used.
    pub(super) async fn identify(&self) -> Result<(), SearchError> {
        let response = self.respond(Some(LOOK_MAX), Method::Get, "/", HeaderMap::new(), None).await?;
        let is_named = response.headers().get(HEADER).is_some_and(|product| product.as_bytes() == PRODUCT);
        let (status, text) = read(response).await?;
        judge(status, is_named, &read_value(text))
    }
}

/// Judges an answer to `GET /`, and whether its header names Elasticsearch.
fn judge(status: u16, is_named: bool, root: &Value) -> Result<(), SearchError> {
    let unusable = |reason: String| Err(SearchError::Unusable(format!("{reason}; correct the address in --search")));
    let version = &root["version"];
    if let Some(product) = version["distribution"].as_str() {
        return unusable(format!("{product} is at this address, not Elasticsearch"));
    }
    if !is_named && root["tagline"] != TAGLINE {
        return match status {
            200..=299 => unusable(no_elasticsearch(status)),
            401 => Err(failure(status, root)),
            // Of a server in between, while the one behind it is away.
            408 | 429 | 500..=599 => Err(SearchError::Unavailable(no_elasticsearch(status))),
            // One that passes on nothing but calls of indexes: they tell.
            _ => Ok(()),
        };
    }
    if status == 401 {
        return Err(failure(status, root));
    }
    // A login that may use indexes need not be one that may ask for the version.
    let Some(number) = version["number"].as_str().filter(|_| is_good(status)) else { return Ok(()) };
    let major = number.split('.').next().and_then(|major| major.parse::<u64>().ok());
    if major.is_some_and(|major| major < VERSION_MIN) {
        return unusable(format!("Elasticsearch {number} is too old: version {VERSION_MIN} or newer is needed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_elasticsearch_of_a_supported_version_is_used() {
        let root = |number: &str| json!({"version": {"number": number}, "tagline": TAGLINE});
        for number in ["8.0.0", "9.2.1", "10.0.0-SNAPSHOT"] {
            assert!(judge(200, true, &root(number)).is_ok(), "{number}");
        }
        // A login that may not ask, and a node that has no such route.
        let forbidden = json!({"error": {"type": "security_exception", "reason": "action is unauthorized"}});
        assert!(judge(403, true, &forbidden).is_ok());
        assert!(judge(405, true, &json!({"error": "Incorrect HTTP method", "status": 405})).is_ok());
        // A proxy that passes on calls of indexes alone.
        for status in [403, 404] {
            assert!(judge(status, false, &json!("not here")).is_ok(), "{status}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_the_reason() {
        let old = json!({"version": {"number": "6.8.23"}, "tagline": TAGLINE});
        let opensearch = json!({"version": {"number": "2.19.0", "distribution": "opensearch"}});
        let denied = json!({"error": {"type": "security_exception", "reason": "unable to authenticate user"}});
        for (status, is_named, root, part) in [
            (200, false, old.clone(), "6.8.23 is too old"),
            (200, true, old, "6.8.23 is too old"),
            (200, false, opensearch, "opensearch is at this address"),
            (200, false, json!("<html>"), "not that of Elasticsearch"),
            (200, false, json!({"any": "thing"}), "not that of Elasticsearch"),
            (401, true, denied, "unable to authenticate user"),
            (401, true, Value::Null, "correct user and password"),
        ] {
            let said = judge(status, is_named, &root).err();
            let is_right = matches!(&said, Some(SearchError::Unusable(reason)) if reason.contains(part));
            assert!(is_right, "{status} {root}: {said:?}");
            let text = said.map(|error| error.to_string()).unwrap_or_default();
            assert!(!text.contains("null"), "{text}");
        }
        for status in [429, 502, 503] {
            assert!(matches!(judge(status, false, &Value::Null), Err(SearchError::Unavailable(_))), "{status}");
        }
    }
}
