//! What is made of events: the table of books, and a document for each of its rows.

use daybook_projector::{
    comparison::Comparable,
    ddl,
    numbered::{NumberRow, NumberedTable},
    row,
    search::{
        document::{Document, id_of},
        shape::{FieldId, FieldShape, Filter, IndexShape, Storage},
    },
    statements,
    tables::{Cell, Ddl, Statement},
};
use daybook_schemas::Topic;

use crate::events::{BOOKS, Event};

/// The projection.
pub struct Books;

statements! {
    /// Every statement of the projection.
    pub STATEMENTS;
    INSERT = "sql/insert", split;
    READ = "sql/read", split, keyed BookRow;
    NUMBERS_AFTER = "sql/numbers_after", NumberRow;
}

row! {
    /// A book.
    pub struct BookRow<'r> {
        pub(crate) book_id: i64,
        pub(crate) shelf: &'r str,
        pub(crate) title: &'r str,
        pub(crate) author: Option<&'r str>,
        pub(crate) added_at: i64,
        pub(crate) record_partition: i64,
        pub(crate) record_offset: i64,
    }
}

impl NumberedTable for Books {
    type Event = Event;
    type Row<'r> = BookRow<'r>;
    const DOMAIN: &'static str = "books";
    const VERSION: u32 = 1;
    const INSERT: &'static Statement = &INSERT;
    const READ: &'static Statement = &READ;
    const NUMBERS_AFTER: &'static Statement = &NUMBERS_AFTER;

    fn topics() -> Vec<Topic> {
        vec![BOOKS]
    }

    fn ddl() -> Vec<Ddl> {
        vec![ddl!("sql/tables")]
    }

    fn cells(Event::BookAdded(book): &Event) -> Vec<Cell> {
        vec![book.book_id.into(), book.shelf.as_str().into(), book.title.as_str().into(), book.author.as_deref().into()]
    }

    fn comparable() -> Vec<Comparable> {
        let columns = ["shelf", "title", "author", "added_at", "record_partition", "record_offset"];
        vec![Comparable::of("books").by_integer("book_id").columns(columns)]
    }

    fn shape() -> IndexShape {
        IndexShape {
            version: 1,
            fields: vec![
                FieldShape::text("type").own_words().facet().filter(Filter::AnyOf).allowed(&["book"]),
                FieldShape::text("shelf").words().facet().filter(Filter::AnyOf).sort(),
                FieldShape::text("title").words().phrases(),
                FieldShape::text("author").words().facet().filter(Filter::AnyOf).sort(),
                FieldShape::integer("added_at").sort(),
            ],
            type_field: FieldId(0),
            time_field: FieldId(4),
            path: vec![("shelves".into(), "shelf".into()), ("books".into(), "book".into())],
            inheritance: None,
            stemming: None,
            rank: None,
            storage: Storage::default(),
            literal: None,
            has_hidden: false,
        }
    }

    fn document(book: &BookRow<'_>) -> Document {
        let mut document = Document::new(id_of(["book", &book.book_id.to_string()]), 1);
        document.set("type", "book");
        document.set("book", book.book_id);
        document.set("shelf", book.shelf);
        document.set("title", book.title);
        document.set("author", book.author);
        document.set("added_at", book.added_at);
        document
    }
}
