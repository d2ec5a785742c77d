//! What failures and answers of Elasticsearch mean, by who can mend them.

use serde_json::Value;

use crate::search::SearchError;

/// What OpenSSL says of a server that does not speak TLS.
const NO_TLS: [&str; 3] = ["wrong version number", "packet length too long", "http request"];
/// What Elasticsearch says of an index that somebody has closed, and may open again.
pub(super) const CLOSED: &str = "index_closed_exception";

/// What it means that a call has no answer.
pub(super) fn silent(error: &elasticsearch::Error) -> SearchError {
    let cause = chain(error);
    if NO_TLS.iter().any(|said| cause.contains(said)) {
        let reason = "the server does not speak TLS: correct https to http in --search, or the port";
        return SearchError::Unusable(reason.to_owned());
    }
    if cause.contains("certificate verify failed") {
        return SearchError::Unusable(format!("the server's certificate is not trusted: {cause}"));
    }
    SearchError::Unavailable(format!("Elasticsearch does not answer: {cause}"))
}

/// The deepest cause of an error; no address is in it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The answer to a call, if it is a good one.
pub(super) fn accepted(status: u16, answer: Value) -> Result<Value, SearchError> {
    match (is_good(status), &answer) {
        (true, Value::String(_)) => Err(SearchError::Unavailable(no_elasticsearch(status))),
        (true, _) => Ok(answer),
        (false, _) => Err(failure(status, &answer)),
    }
}

pub(super) const fn is_good(status: u16) -> bool {
    matches!(status, 200..=299)
}

/// What an answer that is not a good one means.
pub(super) fn failure(status: u16, answer: &Value) -> SearchError {
    let error = &answer["error"];
    let kind = error["type"].as_str().unwrap_or_default();
    let reason = match (error["reason"].as_str(), error.as_str()) {
        (Some(reason), _) => format!("{status} {kind}: {reason}"),
        (None, Some(reason)) => format!("{status}: {reason}"),
        (None, None) if kind.is_empty() => no_elasticsearch(status),
        (None, None) => format!("{status} {kind}"),
    };
    match status {
        // Other reasons for 403 are blocks of indexes, which pass.
        401 | 403 if error.is_null() || kind == "security_exception" => SearchError::Unusable(format!(
            "the login is refused: {reason}; correct user and password in --search, or the privileges of the user"
        )),
        404 if !error.is_null() => SearchError::Gone(reason),
        400 | 413 if kind != CLOSED => SearchError::Refused(reason),
        _ => passing(reason),
    }
}

/// What an answer means that Elasticsearch does not give: it comes from another server, or from one in between.
pub(super) fn no_elasticsearch(status: u16) -> String {
    format!("the answer, {status}, is not that of Elasticsearch: another server is at this address, or one in between")
}

/// A failure that passes. Block 12 is the one that Elasticsearch sets when a disk is full, its flood stage.
pub(super) fn passing(reason: String) -> SearchError {
    let is_full = reason.contains("cluster_block_exception") && reason.contains("/12/");
    if is_full { SearchError::Full(reason) } else { SearchError::Unavailable(reason) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_another_server_is_named_and_one_of_elasticsearch_says_why() {
        let said = |status, answer: Value| accepted(status, answer).map_err(|error| error.to_string());
        for (status, answer) in [(200, json!("<html>")), (501, json!("no such method")), (502, json!({"status": 502}))]
        {
            let error = said(status, answer).err().unwrap_or_default();
            assert!(error.contains(&status.to_string()) && error.contains("not that of Elasticsearch"), "{error}");
        }
        let answer = json!({"error": {"type": "overloaded", "reason": "too many"}, "status": 503});
        assert!(said(503, answer).is_err_and(|error| error.contains("overloaded") && error.contains("too many")));
        // As it answers a method that it does not know.
        let answer = json!({"error": "Incorrect HTTP method", "status": 405});
        assert!(said(405, answer).is_err_and(|error| error.contains("405: Incorrect HTTP method")));
        assert_eq!(said(200, json!({"acknowledged": true})), Ok(json!({"acknowledged": true})));
    }

    #[test]
    fn failures_are_sorted_by_who_can_mend_them() {
        let said = |status, kind: &str| failure(status, &json!({"error": {"type": kind, "reason": "r"}}));
        assert!(matches!(said(400, CLOSED), SearchError::Unavailable(_)));
        assert!(matches!(said(400, "parsing_exception"), SearchError::Refused(_)));
        assert!(matches!(said(404, "index_not_found_exception"), SearchError::Gone(_)));
        assert!(matches!(said(403, "cluster_block_exception"), SearchError::Unavailable(_)));
        for status in [401, 403] {
            assert!(matches!(said(status, "security_exception"), SearchError::Unusable(_)), "{status}");
        }
        let of_another = failure(404, &Value::Null);
        assert!(matches!(of_another, SearchError::Unavailable(_)), "{of_another:?}");
        assert!(!of_another.to_string().contains("null"), "{of_another}");
    }
}
