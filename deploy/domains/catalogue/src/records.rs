//! The domain of one collection: its records in typed tables, made from its definition at run time.

mod counts;
pub(crate) mod documents;
pub mod events;
mod further;
mod inspection;
pub mod projection;
pub mod routes;
mod states;
mod typed;

use std::sync::Arc;

use daybook_projector::{
    chain,
    search::source::Documents,
    tables::{Statement, TablesError},
};
use daybook_query_api::app::DomainParts;

use self::{documents::RecordDocuments, inspection::Inspector, projection::Records, typed::Typed};
use crate::definition::Definition;

/// A definition as it was applied.
pub struct Revision {
    /// Its number, from 1.
    pub number: i64,
    /// The definition.
    pub definition: Arc<Definition>,
}

/// The domain of a collection with a revision of its definition.
pub fn parts(number: i64, definition: Arc<Definition>) -> Result<DomainParts, TablesError> {
    let typed = Typed::of(&definition);
    let documents = Arc::new(RecordDocuments::of(&definition, typed));
    let projection = Records::new(Arc::clone(&definition), typed, documents.shape());
    let unusable = |fault| TablesError::Unusable(chain(&fault));
    let projection = Arc::new(projection.map_err(unusable)?);
    let revision = Arc::new(Revision { number, definition });
    let inspector = Arc::new(Inspector::new(Arc::clone(&revision), Arc::clone(&documents)).map_err(unusable)?);
    let api = routes::api(&revision, typed);
    Ok(DomainParts {
        revision: number,
        projection,
        documents: Some(documents),
        inspector: Some(inspector),
        settings: revision.definition.refresh.settings(),
        api,
    })
}

/// The statements that read the typed table of a collection, so that a test can run each on every engine.
pub fn typed_statements(definition: &Definition) -> [&'static Statement; 4] {
    let typed = Typed::of(definition);
    [&typed.read, &typed.list, &typed.documents, &typed.find]
}
