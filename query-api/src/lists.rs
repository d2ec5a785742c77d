//! Lists: whole ones streamed with bounded memory, paged ones with their headers.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode},
    response::Response,
};
use daybook_projector::tables::{Cell, Chunks, Cursor, Next, Render, Statement, TablesError};

use crate::{
    error::ApiError,
    graft::{Graft, Grafted},
    json,
    pagination::{self, Key, Page},
    view::View,
};

/// Decides on a row of a list and writes it.
pub(crate) type WriteRow = Box<dyn FnMut(&dyn Cursor, &mut Vec<u8>) -> Result<Shown, TablesError> + Send>;

/// Whether a row is part of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It was written.
    Yes,
    /// It was not, as a filter leaves it out.
    No,
}

/// What makes a list: its name in cursors, the statement, the key of a row, and how a row is written.
pub(crate) struct List {
    pub(crate) name: &'static str,
    pub(crate) statement: &'static Statement,
    /// Parameters before those of paging.
    pub(crate) params: Vec<Cell>,
    /// Parameters of a key, in the statement's order; the limit follows them.
    pub(crate) after: fn(&Key) -> Vec<Cell>,
    pub(crate) key: fn(&dyn Cursor) -> Result<Key, TablesError>,
    pub(crate) write: WriteRow,
    /// What is put into each row before its key is taken and it is written.
    pub(crate) graft: Option<Graft>,
    /// Whether rows may be left out, so that a page may need to read more of them than it shows.
    pub(crate) filtered: bool,
}

/// Answers with a page if one was asked for, else with the whole list.
pub(crate) async fn respond(view: &View, list: List, page: Option<Page>) -> Result<Response, ApiError> {
    match page {
        Some(page) => respond_page(view, list, page).await,
        None => respond_whole(view, list).await,
    }
}

async fn respond_whole(view: &View, list: List) -> Result<Response, ApiError> {
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
    let mut chunks = view.stream(list.statement, params, grafting(list.graft, render));
    // An error before the first chunk can still be answered as what it is.
    let Some(first) = chunks.recv().await.transpose()? else {
        return Ok(json::respond_bytes(StatusCode::OK, b"[]".to_vec()));
    };
    match chunks.recv().await.transpose()? {
        None => Ok(json::respond_bytes(StatusCode::OK, closed(first))),
        Some(second) => Ok(json::respond_stream(stream([first, second], chunks))),
    }
}

/// Renders rows with what is put into them.
fn grafting(
    graft: Option<Graft>,
    mut render: impl FnMut(&dyn Cursor, &mut Vec<u8>) -> Result<Next, TablesError> + Send + 'static,
) -> Render {
    Box::new(move |row, out| match &graft {
        Some(graft) => render(&Grafted { row, graft }, out),
        None => render(row, out),
    })
}

fn closed(mut chunk: Vec<u8>) -> Vec<u8> {
    chunk.push(b']');
    chunk
}

/// The chunks as a body. An error breaks the connection off, so that a list cut short is never taken for a whole one.
fn stream(begun: [Vec<u8>; 2], mut chunks: Chunks) -> Body {
    Body::from_stream(async_stream::stream! {
        for chunk in begun {
            yield Ok::<_, TablesError>(Bytes::from(chunk));
        }
        while let Some(chunk) = chunks.recv().await {
            match chunk {
                Ok(chunk) => yield Ok(Bytes::from(chunk)),
                Err(error) => {
                    tracing::warn!(error = %error, "list broken off: {error}");
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

async fn respond_page(view: &View, list: List, page: Page) -> Result<Response, ApiError> {
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
    let mut chunks = view.stream(list.statement, params, grafting(list.graft, render));
    let mut body = vec![b'['];
    while let Some(chunk) = chunks.recv().await {
        body.extend_from_slice(&chunk?);
    }
    body.push(b']');
    let mut response = json::respond_bytes(StatusCode::OK, body);
    response.headers_mut().insert("x-limit", HeaderValue::from(page.limit));
    let read = std::mem::take(&mut *read.lock().unwrap_or_else(PoisonError::into_inner));
    if let (true, Some(last)) = (read.more, read.last) {
        let cursor = pagination::encode(list.name, view.generation.number, last);
        if let Ok(value) = HeaderValue::from_str(&cursor) {
            response.headers_mut().insert("x-next-cursor", value);
        }
    }
    Ok(response)
}
