//! The domain of one collection: its records in typed tables, made from its definition at run time.

mod documents;
pub mod events;
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

use self::{documents::RecordDocuments, projection::Records, typed::Typed};
use crate::definition::Definition;

/// The domain of a collection with a definition.
pub fn parts(definition: Arc<Definition>) -> Result<DomainParts, TablesError> {
    let typed = Typed::of(&definition);
    let documents = Arc::new(RecordDocuments::of(&definition, typed));
    let projection = Records::new(Arc::clone(&definition), typed, documents.shape());
    let projection = Arc::new(projection.map_err(|fault| TablesError::Unusable(chain(&fault)))?);
    Ok(DomainParts { projection, documents: Some(documents), api: routes::api(&definition, typed) })
}

/// The statements that read the typed table of a collection, so that a test can run each on every engine.
pub fn typed_statements(definition: &Definition) -> [&'static Statement; 4] {
    let typed = Typed::of(definition);
    [&typed.read, &typed.list, &typed.documents, &typed.find]
}
