//! Lists: whole ones streamed with bounded memory, paged ones with their headers.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use daybook_projector::tables::{Cell, Chunks, Cursor, Next, Statement, TablesError};

use crate::{
    error::ApiError,
    json,
    live::Live,
    pagination::{self, Key, Page},
};

/// How many rows a page has, at most.
const LIMIT: HeaderName = HeaderName::from_static("x-limit");
/// Where the next page begins.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// Decides on a row of a list and writes it.
pub type WriteRow = Box<dyn FnMut(&dyn Cursor, &mut Vec<u8>) -> Result<Shown, TablesError> + Send>;

/// Whether a row is part of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It was written.
    Yes,
    /// A filter left it out.
    No,
}

/// A list: its name in cursors, the statement, the key of a row, and how a row is written.
pub struct List {
    /// Its name in cursors.
    pub name: &'static str,
    /// Reads the rows.
    pub statement: &'static Statement,
    /// Parameters before those of paging.
    pub params: Vec<Cell>,
    /// Parameters of a key, in the statement's order; the limit follows them.
    pub after: fn(&Key) -> Vec<Cell>,
    /// The key of a row.
    pub key: fn(&dyn Cursor) -> Result<Key, TablesError>,
    /// Writes a row.
    pub write: WriteRow,
    /// Whether rows may be filtered out, so that a page may read more rows than it shows.
    pub filtered: bool,
}

/// Answers with an empty list, as for an object that does not exist.
pub fn respond_empty(page: Option<Page>) -> Response {
    let mut response = json::respond_bytes(StatusCode::OK, b"[]".to_vec());
    if let Some(page) = page {
        response.headers_mut().insert(LIMIT, HeaderValue::from(page.limit));
    }
    response
}

/// Answers with a page if one was asked for, else with the whole list.
pub async fn respond(live: &Live, list: List, page: Option<Page>) -> Result<Response, ApiError> {
    match page {
        Some(page) => respond_page(live, list, page).await,
        None => respond_whole(live, list).await,
    }
}

async fn respond_whole(live: &Live, list: List) -> Result<Response, ApiError> {
    let mut params = list.params;
    params.extend((list.after)(&Key::first()));
    params.push(i64::MAX.into());
    let (mut write, mut first) = (list.write, true);
    let render = move |row: &dyn Cursor, out: &mut Vec<u8>| {
        let before = out.len();
        out.push(if first { b'[' } else { b',' });
        match write(row, out)? {
            Shown::Yes => first = false,
            Shown::No => out.truncate(before),
        }
        Ok(Next::More)
    };
    let mut chunks = live.stream(list.statement, params, Box::new(render));
    // An error before the first chunk can still become an error answer.
    let Some(first) = chunks.recv().await.transpose()? else {
        return Ok(json::respond_bytes(StatusCode::OK, b"[]".to_vec()));
    };
    match chunks.recv().await.transpose()? {
        None => Ok(json::respond_bytes(StatusCode::OK, closed(first))),
        Some(second) => Ok(json::respond_stream(stream([first, second], chunks))),
    }
}

fn closed(mut chunk: Vec<u8>) -> Vec<u8> {
    chunk.push(b']');
    chunk
}

/// The chunks as a body. An error closes the connection, so that no client takes a part of a list for the whole.
fn stream(begun: [Vec<u8>; 2], mut chunks: Chunks) -> Body {
    Body::from_stream(async_stream::stream! {
        for chunk in begun {
            yield Ok::<_, TablesError>(Bytes::from(chunk));
        }
        while let Some(chunk) = chunks.recv().await {
            match chunk {
                Ok(chunk) => yield Ok(Bytes::from(chunk)),
                Err(error) => {
                    tracing::warn!(error = %error, "list ended early: {error}");
                    yield Err(error);
                    return;
                }
            }
        }
        yield Ok(Bytes::from_static(b"]"));
    })
}

#[derive(Default)]
struct Read {
    rows: usize,
    last: Option<Key>,
    more: bool,
}

async fn respond_page(live: &Live, list: List, page: Page) -> Result<Response, ApiError> {
    let mut params = list.params;
    params.extend((list.after)(&page.after));
    let rows_max = if list.filtered { i64::MAX } else { i64::try_from(page.limit + 1).unwrap_or(i64::MAX) };
    params.push(rows_max.into());
    let read = Arc::new(Mutex::new(Read::default()));
    let (of_render, mut write, key_of, limit) = (Arc::clone(&read), list.write, list.key, page.limit);
    let render = move |row: &dyn Cursor, out: &mut Vec<u8>| {
        let mut read = of_render.lock().unwrap_or_else(PoisonError::into_inner);
        let before = out.len();
        if read.rows > 0 {
            out.push(b',');
        }
        if write(row, out)? == Shown::No {
            out.truncate(before);
            return Ok(Next::More);
        }
        if read.rows == limit {
            out.truncate(before);
            read.more = true;
            return Ok(Next::Stop);
        }
        read.rows += 1;
        read.last = Some(key_of(row)?);
        Ok(Next::More)
    };
    let mut chunks = live.stream(list.statement, params, Box::new(render));
    let mut body = vec![b'['];
    while let Some(chunk) = chunks.recv().await {
        body.extend_from_slice(&chunk?);
    }
    body.push(b']');
    let mut response = json::respond_bytes(StatusCode::OK, body);
    response.headers_mut().insert(LIMIT, HeaderValue::from(page.limit));
    let read = std::mem::take(&mut *read.lock().unwrap_or_else(PoisonError::into_inner));
    if let (true, Some(last)) = (read.more, read.last) {
        let cursor = pagination::encode(list.name, live.generation.number, last);
        if let Ok(value) = HeaderValue::from_str(&cursor) {
            response.headers_mut().insert(NEXT_CURSOR, value);
        }
    }
    Ok(response)
}
