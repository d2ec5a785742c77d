//! Routes of a [`NumberedTable`]: the rows by number, and the creation of one.

use std::{marker::PhantomData, sync::Arc};

use axum::response::Response;
use daybook_ingest::sequence::Sequence;
use daybook_projector::{
    numbered::NumberedTable,
    tables::{FromRow, Row},
};
use daybook_schemas::{Envelope, EventSet};

use crate::{
    app::App,
    context::WriteContext,
    create::{self, Creation, ReadBack},
    error::ApiError,
    idempotency::{Recorded, made_by},
    live::{Live, NewView},
    loader::Loader,
};

/// A table to which requests add rows.
pub trait NumberedRoutes: NumberedTable {
    /// The kind of event that adds a row.
    const KIND: &'static str;
    /// The sequence of the numbers.
    const SEQUENCE: Sequence;

    /// The partition and the offset of the record that inserted a row.
    fn record(row: &Self::Row<'_>) -> [i64; 2];
    /// Shows a row.
    fn respond(row: &Self::Row<'_>) -> Response;
}

/// What the routes need of a generation: its rows by number.
pub fn new_view<T: NumberedTable>() -> NewView {
    Arc::new(|generation| Arc::new(Loader::start(&generation.tables, T::READ)))
}

/// The row of a number.
pub async fn load(live: &Live, number: i64) -> Result<Option<Row>, ApiError> {
    Ok(live.view::<Loader>()?.load(vec![number.into()]).await?)
}

/// Adds the row of an event, which is made from its number.
pub async fn add<T: NumberedRoutes>(
    app: &App,
    live: &Live,
    context: &WriteContext,
    event: impl Fn(i64) -> T::Event + Send + Sync,
) -> Result<Response, ApiError> {
    let addition = Addition { live, record_key: event(0).key(), event, table: PhantomData::<T> };
    create::create(app, live, context, addition).await
}

struct Addition<'a, T, F> {
    live: &'a Live,
    record_key: String,
    event: F,
    table: PhantomData<T>,
}

impl<T: NumberedRoutes, F: Fn(i64) -> T::Event + Send + Sync> Creation for Addition<'_, T, F> {
    type Event = T::Event;
    const KIND: &'static str = T::KIND;
    const SEQUENCE: Option<Sequence> = Some(T::SEQUENCE);

    fn record_key(&self) -> &str {
        &self.record_key
    }

    async fn decide(&self, app: &App) -> Result<Vec<T::Event>, ApiError> {
        let event = (self.event)(app.sequencer.next(T::SEQUENCE).await?);
        event.check()?;
        Ok(vec![event])
    }

    async fn answer(&self, envelopes: &[Envelope<T::Event>]) -> Result<Response, ApiError> {
        let numbers = envelopes.first().and_then(|envelope| envelope.event.numbers());
        let number = numbers.ok_or_else(|| ApiError::Internal("an addition recorded no number".to_owned()))?.first;
        let row = load(self.live, number).await?;
        let row = row.ok_or_else(|| ApiError::Internal(format!("number {number} was applied and has no row")))?;
        Ok(T::respond(&T::Row::read(&row)?))
    }

    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        let Some(first) = recorded.first() else { return Ok(ReadBack::NumberTaken) };
        let Some(row) = load(self.live, first.number).await? else { return Ok(ReadBack::NumberTaken) };
        let row = T::Row::read(&row)?;
        let [partition, offset] = T::record(&row);
        Ok(if made_by(recorded, partition, offset) {
            ReadBack::Answer(T::respond(&row))
        } else {
            ReadBack::NumberTaken
        })
    }
}
