//! Whether Elasticsearch can make an index of a shape: it has the field types and the analysers of a literal mapping.

use elasticsearch::http::Method;
use serde_json::{Value, json};

use super::{ElasticsearchStore, accepted, schema};
use crate::search::{SearchError, shape::IndexShape};

/// Higher than any other template's: two of the same priority must not match one name.
const PRIORITY: i32 = i32::MAX;

impl ElasticsearchStore {
    /// Lets Elasticsearch simulate a template of the index, which checks it and keeps nothing. Without a literal mapping,
    /// every version that is supported can make the index.
    pub(super) async fn simulate(&self, shape: &IndexShape) -> Result<(), SearchError> {
        if shape.literal.is_none() {
            return Ok(());
        }
        let body = json!({
            "index_patterns": [format!("{}-check", self.address.prefix)],
            "priority": PRIORITY,
            "template": schema::index(shape),
        });
        let (status, answer) = self.call(Method::Post, "/_index_template/_simulate", Some(body)).await?;
        match status {
            400 => Err(refused(&answer)),
            403 => Err(SearchError::Unsupported(format!(
                "Elasticsearch does not let this login check its literal mapping, which needs the cluster privilege \
                 manage_index_templates: {}",
                cause(&answer["error"])
            ))),
            status => accepted(status, answer).map(|_| ()),
        }
    }
}

/// What it means that Elasticsearch refuses to make an index with a literal mapping.
pub(super) fn refused(answer: &Value) -> SearchError {
    SearchError::Unsupported(format!("Elasticsearch: {}", cause(&answer["error"])))
}

/// The deepest reason of an error.
fn cause(error: &Value) -> &str {
    let mut cause = error;
    while cause["caused_by"].is_object() {
        cause = &cause["caused_by"];
    }
    cause["reason"].as_str().unwrap_or("no reason is given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_reason_is_shown() {
        let error = json!({"reason": "invalid", "caused_by": {"reason": "outer", "caused_by": {"reason": "inner"}}});
        assert_eq!(cause(&error), "inner");
        assert_eq!(cause(&json!({"reason": "alone", "caused_by": null})), "alone");
        assert_eq!(cause(&json!("a text")), "no reason is given");
    }
}
