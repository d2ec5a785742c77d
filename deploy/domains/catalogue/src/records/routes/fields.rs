//! Fields that the API owns. They survive upserts, refreshes and removals.

use std::{marker::PhantomData, sync::Arc};

use axum::{extract::State, response::Response};
use daybook_query_api::{
    app::App, bodies::Bounded, context::WriteContext, create, error::ApiError, live::Live, path::Path,
};
use serde_json::{Map, Value, json};

use super::{
    after, definition_of_writes, id_of_path, read_object, refused_record, view,
    write::{Kind, Write},
};
use crate::{
    definition::fields::Owner,
    record::{self, fold::Change},
    records::{
        events::{Event, RecordFieldsSet},
        states::Stored,
    },
    values::canonical::canonical_json,
};

struct Setting;

impl Kind for Setting {
    const NAME: &'static str = "RecordFieldsSet";
}

/// Sets fields of a record that the API owns. What changes nothing is not recorded.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    live: Live,
    Path(record_id): Path<String>,
    context: WriteContext,
    Bounded(bytes): Bounded,
) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let (record_id, definition) = (id_of_path(&view, &record_id)?, definition_of_writes(&app, &view));
    let given = read_object(&bytes)?;
    let input = record::read_api(&definition, &record_id, given).map_err(refused_record)?;
    let notes = Map::from_iter([("truncated".to_owned(), json!(input.shortened))]);
    let (collection, id) = (definition.collection.to_string(), record_id.clone());
    // What the live generation does not keep may be new to another one.
    let is_kept = |name: &String| view.definition.field(name).is_some_and(|field| field.owner == Owner::Api);
    let is_live = input.fields.keys().all(is_kept);
    let decide = move |state: Option<&Stored>| {
        let missing = || ApiError::NotFound(format!("{collection} has no record {id}"));
        let state = &state.ok_or_else(missing)?.state;
        let change = Change::ApiSet { fields: input.fields.clone() };
        let is_same = is_live && after(&definition, Some(state), change).is_none();
        Ok((!is_same).then(|| {
            Event::RecordFieldsSet(RecordFieldsSet {
                collection: collection.clone(),
                record_id: id.clone(),
                fields: canonical_json(&Value::Object(input.fields.clone())),
            })
        }))
    };
    let kind = PhantomData::<Setting>;
    create::create(&app, &live, &context, Write { live: &live, view: &view, record_id, kind, notes, decide }).await
}
