//! What is made of events: the table of books, and a document for each of its rows.

use std::{collections::BTreeSet, sync::Arc};

use daybook_ingest::log::{BoxFuture, Record};
use daybook_projector::{
    comparison::Comparable,
    ddl,
    projection::{Decoded, Fold, Planned, Report},
    row,
    search::{
        document::{Document, id_of},
        shape::{FieldId, FieldShape, Filter, IndexShape},
        source::{Documents, Sink, SourceError},
    },
    statements,
    tables::{Column, Ddl, FromRow, Params, PlanStatement, Step, Tables, TablesError, Transaction},
};
use daybook_schemas::{Topic, codec};

use crate::events::{BOOKS, BookAdded, Event};

/// The projection.
pub struct Books;

statements! {
    /// Every statement of the projection.
    pub STATEMENTS;
    INSERT = "sql/insert", split;
    READ = "sql/read", split, BookRow;
    READ_AFTER = "sql/read_after", BookRow;
}

static PLANNED: [PlanStatement; 1] = [PlanStatement::all(&INSERT)];

row! {
    /// A book.
    pub struct BookRow<'r> {
        /// Its number.
        pub book_id: i64,
        /// The shelf that it stands on.
        pub shelf: &'r str,
        /// Its title.
        pub title: &'r str,
        /// Who wrote it.
        pub author: Option<&'r str>,
        /// Milliseconds since 1970.
        pub added_at: i64,
        /// Where its event stands.
        pub record_partition: i64,
        /// Where its event stands in the partition.
        pub record_offset: i64,
    }
}

/// Books that are read with one statement, at most.
const BOOKS_MAX: i64 = 1000;

/// The insert of books.
fn step(batch: &[&Decoded<Event>]) -> Step {
    let events: Vec<&BookAdded> = batch.iter().map(|Decoded { envelope, .. }| book_of(&envelope.event)).collect();
    let columns = vec![
        Column::ints(events.iter().map(|event| event.book_id)),
        Column::texts(events.iter().map(|event| event.shelf.as_str())),
        Column::texts(events.iter().map(|event| event.title.as_str())),
        Column::Texts(events.iter().map(|event| event.author.clone()).collect()),
        Column::ints(batch.iter().map(|decoded| decoded.envelope.occurred_at)),
        Column::ints(batch.iter().map(|decoded| i64::from(decoded.position.partition.id))),
        Column::ints(batch.iter().map(|decoded| decoded.position.offset)),
    ];
    Step { statement: &INSERT, columns }
}

const fn book_of(event: &Event) -> &BookAdded {
    let Event::BookAdded(book) = event;
    book
}

impl Fold for Books {
    type Event = Event;
    const DOMAIN: &'static str = "books";

    fn topics(&self) -> Vec<Topic> {
        vec![BOOKS]
    }

    fn ddl(&self) -> Vec<Ddl> {
        vec![ddl!("sql/tables", split)]
    }

    fn version(&self) -> u32 {
        1
    }

    /// The first book of an id wins.
    fn apply(&self, transaction: &mut dyn Transaction, batch: &[&Decoded<Event>]) -> Result<Report, TablesError> {
        let mut report = Report::default();
        for decoded in batch {
            if transaction.execute(&INSERT, &Params::Many(step(&[decoded]).columns))? == 0 {
                report.lose(decoded.position);
            }
        }
        Ok(report)
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        &PLANNED
    }

    fn plan(&self, batch: &[&Decoded<Event>]) -> Option<Planned> {
        let ids: BTreeSet<i64> = batch.iter().map(|decoded| book_of(&decoded.envelope.event).book_id).collect();
        (ids.len() == batch.len()).then(|| Planned { steps: vec![step(batch)], changed: Vec::new() })
    }

    fn comparable(&self) -> Vec<Comparable> {
        let columns = ["shelf", "title", "author", "added_at", "record_partition", "record_offset"];
        vec![Comparable::of("books").by_integer("book_id").columns(columns)]
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

impl Documents for Books {
    fn topics(&self) -> Vec<Topic> {
        vec![BOOKS]
    }

    fn shape(&self) -> Arc<IndexShape> {
        Arc::new(IndexShape {
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
        })
    }

    fn touched<'a>(
        &'a self,
        tables: &'a dyn Tables,
        records: &'a [Record],
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let events = records.iter().filter_map(|record| codec::decode::<Event>(&record.value).ok());
            let ids: BTreeSet<i64> = events.map(|envelope| book_of(&envelope.event).book_id).collect();
            let rows = tables.read_background(&READ, Params::Many(vec![Column::ints(ids)])).await?;
            let documents = rows.iter().map(|row| Ok(document(&BookRow::read(row)?)));
            sink.take(documents.collect::<Result<_, TablesError>>()?).await
        })
    }

    fn all<'a>(&'a self, tables: &'a dyn Tables, sink: &'a mut dyn Sink) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let mut after = 0;
            loop {
                let page = Params::One(vec![after.into(), BOOKS_MAX.into()]);
                let rows = tables.read_background(&READ_AFTER, page).await?;
                let Some(last) = rows.last() else { return Ok(()) };
                after = BookRow::read(last)?.book_id;
                let documents = rows.iter().map(|row| Ok(document(&BookRow::read(row)?)));
                sink.take(documents.collect::<Result<_, TablesError>>()?).await?;
            }
        })
    }
}
