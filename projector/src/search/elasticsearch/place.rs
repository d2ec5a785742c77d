//! The place of an index on Elasticsearch: finding, making and removing it, and its alias.
//!
//! The alias is there as long as the index is, so that nothing makes one by writing to it. An index or an alias of
//! somebody else is refused, and never changed.

use std::sync::Arc;

use elasticsearch::http::Method;
use serde_json::{Value, json};

use super::{ElasticsearchIndex, ElasticsearchStore, accepted, check, no_elasticsearch, schema};
use crate::search::{
    SearchError,
    binding::{Binding, Bound},
};

/// How to get out of the way of an index that somebody else has.
const REMEDY: &str = "give this installation a prefix of its own in --search (http://host:9200/prefix), or, if nothing \
                      uses that index any more, delete it: it is built anew";

/// An index that may be used.
pub(super) struct Place {
    id: String,
    /// Whether it is of the same fingerprint.
    is_current: bool,
    has_alias: bool,
}

impl ElasticsearchStore {
    /// The name of the index of a binding.
    pub(super) fn name(&self, binding: &Binding) -> String {
        format!("{}-{}", self.address.prefix, binding.index.to_lowercase())
    }

    /// The index of a binding, if there is one. Refuses one of somebody else.
    pub(super) async fn find(&self, binding: &Binding) -> Result<Option<Place>, SearchError> {
        let name = self.name(binding);
        let has_alias = self.has_alias(&name).await?;
        let (status, found) = self.call(Method::Get, &format!("/{name}"), None).await?;
        if status == 404 {
            return Ok(None);
        }
        let found = accepted(status, found)?;
        let Some(index) = found.get(&name) else {
            let others = names(&found)?.join(", ");
            return Err(SearchError::Foreign(format!("{name} is an alias of {others} on Elasticsearch; {REMEDY}")));
        };
        let bound: Bound = serde_json::from_value(index["mappings"]["_meta"].clone()).unwrap_or_default();
        let ours = Bound::new(binding, &schema::fingerprint(&binding.shape));
        let is_current = ours.admits(&bound, &format!("index {name} on Elasticsearch"), REMEDY)?;
        Ok(Some(Place { id: id_of(index), is_current, has_alias }))
    }

    /// Whether an index has its alias. Refuses one that leads elsewhere, too.
    async fn has_alias(&self, name: &str) -> Result<bool, SearchError> {
        let alias = alias_of(name);
        let (status, found) = self.look(&format!("/{alias}")).await?;
        if status == 404 {
            return Ok(false);
        }
        check_target(&alias, name, &accepted(status, found)?).map(|()| true)
    }

    /// Fails unless the alias of an index leads to the index with this id: an index that was made again has another one.
    pub(super) async fn check_alias(&self, name: &str, id: &str) -> Result<(), SearchError> {
        let alias = alias_of(name);
        let (status, found) = self.call(Method::Get, &format!("/{alias}/_settings/index.uuid"), None).await?;
        let found = accepted(status, found)?;
        check_target(&alias, name, &found)?;
        if id_of(&found[name]) == id { Ok(()) } else { Err(SearchError::Gone(format!("{name} was made again"))) }
    }

    pub(super) async fn open_index(&self, binding: &Binding) -> Result<ElasticsearchIndex, SearchError> {
        let (name, shape) = (self.name(binding), &binding.shape);
        self.identify().await?;
        if let Some(fault) = shape.fault() {
            return Err(SearchError::Refused(fault));
        }
        // Another process may make it, or take it away, in between.
        for _ in 0..3 {
            let Some(place) = self.find(binding).await? else {
                self.make(&name, binding).await?;
                continue;
            };
            if !place.is_current {
                tracing::info!(index = name, "index {name} has another fingerprint and is built anew");
                self.remove(&name).await?;
                continue;
            }
            let alias = alias_of(&name);
            if !place.has_alias {
                let (status, answer) = self.call(Method::Put, &format!("/{name}/_alias/{alias}"), None).await?;
                accepted(status, answer)?;
            }
            return Ok(ElasticsearchIndex { store: self.clone(), shape: Arc::clone(shape), name, alias, id: place.id });
        }
        Err(SearchError::Unavailable(format!("index {name} is created and deleted concurrently")))
    }

    async fn make(&self, name: &str, binding: &Binding) -> Result<(), SearchError> {
        let mut index = schema::index(&binding.shape);
        if let (Some(settings), Value::Object(more)) =
            (index["settings"].as_object_mut(), schema::dynamic_settings(&binding.shape.storage))
        {
            settings.extend(more);
        }
        index["mappings"]["_meta"] = json!(Bound::new(binding, &schema::fingerprint(&binding.shape)));
        index["aliases"] = json!({alias_of(name): {}});
        let (status, answer) = self.call(Method::Put, &format!("/{name}"), Some(index)).await?;
        if answer["error"]["type"] == "resource_already_exists_exception" {
            return Ok(());
        }
        if status == 400 && binding.shape.literal.is_some() {
            return Err(check::refused(&answer));
        }
        accepted(status, answer)?;
        tracing::info!(index = name, "search index {name} created");
        Ok(())
    }

    /// Deletes an index, if it is there.
    pub(super) async fn remove(&self, name: &str) -> Result<(), SearchError> {
        let (status, answer) = self.call(Method::Delete, &format!("/{name}"), None).await?;
        if status == 404 { Ok(()) } else { accepted(status, answer).map(|_| ()) }
    }
}

fn id_of(index: &Value) -> String {
    index["settings"]["index"]["uuid"].as_str().unwrap_or_default().to_owned()
}

/// The names of the indexes in an answer, which has the settings of each.
pub(super) fn names(found: &Value) -> Result<Vec<&str>, SearchError> {
    let indexes = found.as_object().filter(|found| found.values().all(|index| index["settings"].is_object()));
    let indexes = indexes.ok_or_else(|| SearchError::Unavailable(no_elasticsearch(200)))?;
    Ok(indexes.keys().map(String::as_str).collect())
}

/// Refuses an alias that leads to anything but one index.
fn check_target(alias: &str, name: &str, found: &Value) -> Result<(), SearchError> {
    let names = names(found)?;
    if names == [name] { Ok(()) } else { Err(leads_elsewhere(alias, &names.join(", "))) }
}

/// What it means that an alias leads to other indexes.
pub(super) fn leads_elsewhere(alias: &str, others: &str) -> SearchError {
    SearchError::Foreign(format!("{alias} on Elasticsearch leads to {others}; {REMEDY}"))
}

/// The alias of an index.
fn alias_of(name: &str) -> String {
    format!("{name}-live")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_settings_is_an_index() {
        let index = json!({"settings": {"index": {"uuid": "1"}}});
        assert_eq!(names(&json!({"a": index, "b": index})).ok(), Some(vec!["a", "b"]));
        assert!(check_target("a-live", "a", &json!({"a": index})).is_ok());
        for others in [json!({"b": index}), json!({"a": index, "b": index})] {
            assert!(matches!(check_target("a-live", "a", &others), Err(SearchError::Foreign(_))), "{others}");
        }
        for answer in [json!({"name": "node", "version": {"number": "6.8.23"}}), json!([]), json!("<html>")] {
            assert!(matches!(names(&answer), Err(SearchError::Unavailable(_))), "{answer}");
        }
    }
}
