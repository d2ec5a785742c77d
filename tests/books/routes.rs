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
use daybook_projector::tables::FromRow;
use daybook_query_api::{
    app::{ApiVersion, App, DomainApi},
    bodies::Bounded,
    context::WriteContext,
    error::ApiError,
    json,
    live::Live,
    numbered::{self, NumberedRoutes},
    path::Path,
};
use serde_json::json;

use crate::{
    events::{BOOK_IDS, BOOKS, BookAdded, Event, SCHEMAS},
    projection::{BookRow, Books},
};

/// What the domain adds to the HTTP API.
pub fn api() -> DomainApi {
    DomainApi {
        name: "books",
        topics: vec![BOOKS],
        schemas: &SCHEMAS,
        routes: Arc::new(|_app| {
            Router::new()
                .route("/shelves/{shelf}/books", post(add))
                .route("/shelves/{shelf}/books/{book_id}", get(show))
        }),
        process_routes: None,
        streamed: Vec::new(),
        search_prefix: "/api/books".to_owned(),
        is_default: true,
        version: ApiVersion::of(numbered::new_view::<Books>()),
        know_newest: None,
        statements: Vec::new(),
    }
}

impl NumberedRoutes for Books {
    const KIND: &'static str = "BookAdded";
    const SEQUENCE: Sequence = BOOK_IDS;

    fn record(book: &BookRow<'_>) -> [i64; 2] {
        [book.record_partition, book.record_offset]
    }

    fn respond(BookRow { book_id, shelf, title, author, added_at, .. }: &BookRow<'_>) -> Response {
        let body = json!({"book_id": book_id, "shelf": shelf, "title": title, "author": author, "added_at": added_at});
        json::respond(StatusCode::OK, &body)
    }
}

async fn show(live: Live, Path((shelf, book_id)): Path<(String, i64)>) -> Result<Response, ApiError> {
    let row = numbered::load(&live, book_id).await?;
    match row.as_ref().map(|row| BookRow::read(row)).transpose()? {
        Some(book) if book.shelf == shelf => Ok(Books::respond(&book)),
        _ => Err(ApiError::NotFound(format!("shelf {shelf} has no book {book_id}"))),
    }
}

async fn add(
    State(app): State<Arc<App>>,
    live: Live,
    Path(shelf): Path<String>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let object = json::object(&body)?;
    let (title, author) = (object.required_text("title", "")?, object.text("author")?);
    let book = BookAdded { shelf, book_id: 0, title, author };
    numbered::add::<Books>(&app, &live, &context, |book_id| Event::BookAdded(BookAdded { book_id, ..book.clone() }))
        .await
}
