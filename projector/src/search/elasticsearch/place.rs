//! The place of an index on Elasticsearch: finding, making and removing it, and its alias.
//!
//! The alias is there as long as the index is, so that nothing makes one by writing to it. An index or an alias of
//! somebody else is refused, and never changed.

use std::sync::Arc;

use elasticsearch::http::Method;
use serde_json::{Value, json};

use super::{ElasticsearchIndex, ElasticsearchStore, accepted, check, schema};
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
            let others = names(&found);
            return Err(SearchError::Foreign(format!("{name} is an alias of {others} on Elasticsearch; {REMEDY}")));
        };
        let bound: Bound = serde_json::from_value(index["mappings"]["_meta"].clone()).unwrap_or_default();
        let ours = Bound::new(binding, &schema::fingerprint(&binding.shape));
        let is_current = ours.admits(&bound, &format!("index {name} on Elasticsearch"), REMEDY)?;
        Ok(Some(Place { id: id(index), is_current, has_alias }))
    }

    /// Whether an index has its alias. Refuses one that leads elsewhere, too.
    async fn has_alias(&self, name: &str) -> Result<bool, SearchError> {
        let alias = alias_of(name);
        let (status, found) = self.look(&format!("/{alias}")).await?;
        if status == 404 {
            return Ok(false);
        }
        let found = accepted(status, found)?;
        if found.as_object().is_some_and(|found| found.len() == 1 && found.contains_key(name)) {
            return Ok(true);
        }
        let others = names(&found);
        Err(SearchError::Foreign(format!("{alias} on Elasticsearch leads to {others}; {REMEDY}")))
    }

    pub(super) async fn open_index(&self, binding: &Binding) -> Result<ElasticsearchIndex, SearchError> {
        let (name, shape) = (self.name(binding), &binding.shape);
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

    /// The id of an index; an error if it is not there.
    pub(super) async fn id_of(&self, name: &str) -> Result<String, SearchError> {
        let path = format!("/{name}/_settings/index.uuid");
        let (status, found) = self.call(Method::Get, &path, None).await?;
        Ok(id(&accepted(status, found)?[name]))
    }
}

fn id(index: &Value) -> String {
    index["settings"]["index"]["uuid"].as_str().unwrap_or_default().to_owned()
}

fn names(found: &Value) -> String {
    let names = found.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// The alias of an index.
fn alias_of(name: &str) -> String {
    format!("{name}-live")
}
