//! What is served: `POST /shelves/{shelf}/books` adds a book, `GET /shelves/{shelf}/books/{book_id}` shows it.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use daybook_ingest::sequence::Sequence;
use daybook_projector::{
    statements,
    tables::{FromRow, Row},
};
use daybook_query_api::{
    app::{App, DomainApi},
    bodies::Bounded,
    context::WriteContext,
    create::{Creation, ReadBack, create},
    error::ApiError,
    idempotency::Recorded,
    json,
    live::Live,
    loader::Loader,
    path::Path,
};
use daybook_schemas::{Envelope, EventSet};
use serde_json::json;

use crate::{
    events::{BOOK_IDS, BOOKS, BookAdded, Event},
    projection::BookRow,
};

statements! {
    STATEMENTS;
    BOOK = "sql/book", split, keyed BookRow;
}

/// What the domain adds to the HTTP surface.
pub fn api() -> DomainApi {
    DomainApi {
        name: "books",
        topics: vec![BOOKS],
        routes: Arc::new(|_app| {
            Router::new()
                .route("/shelves/{shelf}/books", post(add))
                .route("/shelves/{shelf}/books/{book_id}", get(show))
        }),
        streamed: &[],
        search_prefix: "/api/books",
        new_view: Arc::new(|generation| Arc::new(Loader::start(&generation.tables, &BOOK))),
        statements: || STATEMENTS.to_vec(),
    }
}

async fn show(live: Live, Path((shelf, book_id)): Path<(String, i64)>) -> Result<Response, ApiError> {
    let row = live.view::<Loader>()?.load(vec![book_id.into()]).await?;
    match row.as_ref().map(|row| BookRow::read(row)).transpose()? {
        Some(book) if book.shelf == shelf => Ok(shown(&book)),
        _ => Err(ApiError::NotFound(format!("shelf {shelf} has no book {book_id}"))),
    }
}

fn shown(book: &BookRow<'_>) -> Response {
    let BookRow { book_id, shelf, title, author, added_at, .. } = book;
    let body = json!({"book_id": book_id, "shelf": shelf, "title": title, "author": author, "added_at": added_at});
    json::respond(StatusCode::OK, &body)
}

async fn add(
    State(app): State<Arc<App>>,
    live: Live,
    Path(shelf): Path<String>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let object = json::object(&body)?;
    let title = object.required_text("title", "")?;
    let author = object.text("author")?;
    create(&app, &live, &context, Addition { live: &live, shelf, title, author }).await
}

struct Addition<'a> {
    live: &'a Live,
    shelf: String,
    title: String,
    author: Option<String>,
}

impl Addition<'_> {
    async fn row(&self, book_id: i64) -> Result<Option<Row>, ApiError> {
        Ok(self.live.view::<Loader>()?.load(vec![book_id.into()]).await?)
    }
}

impl Creation for Addition<'_> {
    type Event = Event;
    const KIND: &'static str = "BookAdded";
    const SEQUENCE: Option<Sequence> = Some(BOOK_IDS);

    fn record_key(&self) -> &str {
        &self.shelf
    }

    async fn decide(&self, app: &App) -> Result<Vec<Event>, ApiError> {
        let book_id = app.sequencer.next(BOOK_IDS).await?;
        let (shelf, title, author) = (self.shelf.clone(), self.title.clone(), self.author.clone());
        let event = Event::BookAdded(BookAdded { shelf, book_id, title, author });
        event.check()?;
        Ok(vec![event])
    }

    async fn answer(&self, envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        let Some(Envelope { event: Event::BookAdded(book), .. }) = envelopes.first() else {
            return Err(ApiError::Internal("an addition recorded no book".to_owned()));
        };
        show(self.live.clone(), Path((self.shelf.clone(), book.book_id))).await
    }

    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        let Some(first) = recorded.first() else { return Ok(ReadBack::NumberTaken) };
        let row = self.row(first.number).await?;
        let own = |book: &BookRow<'_>| {
            book.record_partition == i64::from(first.position.partition.id)
                && book.record_offset == first.position.offset
        };
        match row.as_ref().map(|row| BookRow::read(row)).transpose()?.filter(own) {
            Some(book) => Ok(ReadBack::Answer(shown(&book))),
            None => Ok(ReadBack::NumberTaken),
        }
    }
}
