//! Flags of records. They survive upserts.

use std::{marker::PhantomData, sync::Arc};

use axum::{extract::State, response::Response};
use daybook_query_api::{
    app::App, bodies::Bounded, context::WriteContext, create, error::ApiError, live::Live, path::Path,
};
use serde::Deserialize;
use serde_json::Map;

use super::{
    id_of_path, view,
    write::{Kind, Write},
};
use crate::{
    definition::identifier::Identifier,
    records::{
        events::{Event, RecordFlagged},
        states::Stored,
    },
};

/// The value of a flag.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    value: bool,
    #[serde(default)]
    reason: Option<String>,
}

struct Flagging;

impl Kind for Flagging {
    const NAME: &'static str = "RecordFlagged";
}

/// Sets a flag of a record. What changes nothing is not recorded.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    live: Live,
    Path((record_id, flag)): Path<(String, String)>,
    context: WriteContext,
    Bounded(bytes): Bounded,
) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let record_id = id_of_path(&view, &record_id)?;
    let flag = Identifier::parse(&flag).map_err(|fault| ApiError::invalid("flag", fault.to_string()))?.to_string();
    let Body { value, reason } =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid("body", error.to_string()))?;
    let (collection, id) = (view.definition.collection.to_string(), record_id.clone());
    let decide = move |state: Option<&Stored>| match state {
        None => Err(ApiError::NotFound(format!("{collection} has no record {id}"))),
        Some(stored) if stored.state.flags.get(&flag).copied().unwrap_or(false) == value => Ok(None),
        Some(_) => Ok(Some(Event::RecordFlagged(RecordFlagged {
            collection: collection.clone(),
            record_id: id.clone(),
            flag: flag.clone(),
            value,
            reason: reason.clone(),
        }))),
    };
    let (kind, notes) = (PhantomData::<Flagging>, Map::new());
    create::create(&app, &live, &context, Write { live: &live, view: &view, record_id, kind, notes, decide }).await
}
