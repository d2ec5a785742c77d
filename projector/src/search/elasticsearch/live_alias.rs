//! The alias by which others find the index of a domain's live generation.

use elasticsearch::http::Method;
use serde_json::{Value, json};

use super::{ElasticsearchStore, accepted, place};
use crate::search::{SearchError, binding::Binding};

impl ElasticsearchStore {
    /// Makes `<prefix>-<domain>` lead to the index of a binding and to no other, in one step.
    pub(super) async fn point_alias(&self, binding: &Binding) -> Result<(), SearchError> {
        let (alias, index) = (format!("{}-{}", self.address.prefix, binding.domain.to_lowercase()), self.name(binding));
        let (status, found) = self.call(Method::Get, &format!("/{alias}"), None).await?;
        let found = if status == 404 { json!({}) } else { accepted(status, found)? };
        let others = place::names(&found)?;
        if others == [index.as_str()] {
            return Ok(());
        }
        // Generations of one domain have numbers.
        let is_ours = |name: &&&str| name.starts_with(&format!("{}-", self.address.prefix)) && **name != alias;
        if let Some(other) = others.iter().find(|name| !is_ours(name)) {
            let text = format!("{alias} on Elasticsearch leads to {other}, or is an index: it is left as it is");
            return Err(SearchError::Foreign(text));
        }
        let removed = others.iter().filter(|name| **name != index);
        let mut actions: Vec<Value> =
            removed.map(|name| json!({"remove": {"index": name, "alias": alias, "must_exist": false}})).collect();
        actions.push(json!({"add": {"index": index, "alias": alias}}));
        let (status, answer) = self.call(Method::Post, "/_aliases", Some(json!({"actions": actions}))).await?;
        accepted(status, answer).map(|_| ())
    }
}
