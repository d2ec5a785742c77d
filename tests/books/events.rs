//! What happens: the topic, the sequence, the event and its schema.

use std::sync::LazyLock;

use daybook_ingest::sequence::Sequence;
use daybook_schemas::{
    EventSet, SchemaSet, Topic,
    event::Numbers,
    events,
    rules::{self, Violation},
    topics::Declaration,
};
use serde::{Deserialize, Serialize};

/// Every event, by shelf.
pub const BOOKS: Topic = Topic::new(&Declaration { name: "books", compacted: false, partitions: 2 });

/// Ids of books, over all shelves.
pub const BOOK_IDS: Sequence = Sequence { name: "books.ids", block: 100 };

/// Schema ids of the domain: 900 to 999.
pub static SCHEMAS: LazyLock<SchemaSet> =
    LazyLock::new(|| SchemaSet::new("books", 900..1000, &[&[include_str!("book-added.avsc")]]));

events! {
    /// Any event of the domain.
    pub enum Event of SCHEMAS {
        /// A book was added to a shelf.
        BookAdded = "io.daybook.books.BookAdded",
    }
}

/// A book was added to a shelf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookAdded {
    /// Name of the shelf.
    pub shelf: String,
    /// Number of the book.
    pub book_id: i64,
    /// Its title.
    pub title: String,
    /// Who wrote it.
    pub author: Option<String>,
}

impl EventSet for Event {
    fn topic(&self) -> Topic {
        BOOKS
    }

    fn key(&self) -> String {
        let Self::BookAdded(event) = self;
        event.shelf.clone()
    }

    fn check(&self) -> Result<(), Violation> {
        let Self::BookAdded(event) = self;
        rules::name("shelf", &event.shelf)?;
        rules::name("title", &event.title)?;
        rules::optional("author", event.author.as_deref())?;
        rules::number("book_id", event.book_id, 1, i64::MAX)
    }

    fn numbers(&self) -> Option<Numbers> {
        let Self::BookAdded(event) = self;
        Some(Numbers::one(BOOK_IDS.name, event.book_id, i64::MAX / 2))
    }
}
