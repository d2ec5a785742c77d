//! What a request asks of a refresh.

use daybook_query_api::{
    app::Domain,
    error::ApiError,
    generations::body,
    json::{self, Object},
};
use daybook_reindexer::rebuilds::{RequestError, Wanted};

use crate::{
    definition::{identifier::Identifier, refresh::Promote},
    records::Revision,
};

/// A refresh that is begun, or planned.
pub(super) struct New {
    pub(super) collection: String,
    pub(super) asked: Asked,
    pub(super) is_dry_run: bool,
}

/// How a refresh shall be.
pub(super) struct Asked {
    /// What is built; left out, it follows from what has changed.
    pub(super) part: Option<Part>,
    /// Whether it is promoted as soon as it is ready; left out, the newest definition says it.
    pub(super) promotes: Option<bool>,
    label: String,
}

/// What is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// The index, which the filtered search is a field of.
    Index,
}

impl New {
    pub(super) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let object = json::object(body)?;
        object.only(&["collection", "only", "promote", "label", "dry_run"])?;
        let missing = || ApiError::invalid("collection", "name a collection");
        let collection = object.name("collection")?.ok_or_else(missing)?;
        Identifier::parse(&collection).map_err(|fault| ApiError::invalid("collection", fault.to_string()))?;
        let is_dry_run = object.flag("dry_run")?.unwrap_or(false);
        Ok(Self { collection, asked: Asked::of(&object)?, is_dry_run })
    }
}

impl Asked {
    /// What a body says, which may be left out.
    pub(super) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let object = json::object(if body.is_empty() { &b"{}"[..] } else { body })?;
        object.only(&["only", "promote", "label"])?;
        Self::of(&object)
    }

    fn of(object: &Object<'_>) -> Result<Self, ApiError> {
        let parts = [("all", Part::All), ("index", Part::Index), ("filtered", Part::Index)];
        let part = one_of(object, "only", &parts)?;
        let promotes = one_of(object, "promote", &[("manual", false), ("never", false), ("auto", true)])?;
        let label = body::text("label", object.name("label")?.unwrap_or_default())?;
        Ok(Self { part, promotes, label })
    }

    /// Whether the index alone is built: as it is asked for, or because nothing else has changed.
    pub(super) async fn only_search(&self, domain: &Domain) -> Result<bool, RequestError> {
        match self.part {
            Some(part) => Ok(part == Part::Index),
            None => domain.rebuilds.has_changed_only_documents().await,
        }
    }

    /// The rebuild that is asked for.
    pub(super) async fn wanted(self, domain: &Domain) -> Result<Wanted, RequestError> {
        let only_search = self.only_search(domain).await?;
        let promotes = self.promotes.unwrap_or_else(|| {
            let newest = domain.newest_definition::<Revision>();
            newest.is_some_and(|newest| newest.definition.refresh.promote == Promote::Auto)
        });
        Ok(Wanted { label: self.label, promotes, only_search, ..Wanted::default() })
    }
}

/// The value that a field names, unless it is left out.
fn one_of<T: Copy>(object: &Object<'_>, field: &str, values: &[(&str, T)]) -> Result<Option<T>, ApiError> {
    let Some(named) = object.name(field)? else { return Ok(None) };
    match values.iter().find(|(name, _)| *name == named) {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let names = values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            Err(ApiError::invalid(field, format!("{field} is {named:?}; there are: {names}")))
        }
    }
}
