//! A projection of one table whose rows are numbered by a sequence: each event inserts the row of its number, the first
//! row of a number wins, and each row is a document.
//!
//! A domain that needs no more implements [`NumberedTable`] and thereby [`Fold`] and [`Documents`].

use std::{collections::BTreeSet, sync::Arc};

use daybook_ingest::log::{BoxFuture, Record};
use daybook_schemas::{EventSet, Topic, codec};
use serde::{Deserialize, Serialize};

use crate::{
    comparison::Comparable,
    projection::{Decoded, Fold, Planned, Report},
    row,
    search::{
        document::Document,
        ranges::{KeyOrder, KeyRange, PagedKey},
        shape::IndexShape,
        source::{Documents, Sink, SourceError},
    },
    tables::{Cell, Column, Ddl, FromRow, Params, PlanStatement, Statement, Step, Tables, TablesError, Transaction},
};

/// Rows that are read with one statement, at most.
const ROWS_MAX: usize = 1000;

row! {
    /// The number of a row.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    pub struct NumberRow {
        number: i64,
    }
}

impl PagedKey for NumberRow {
    fn lowest() -> Self {
        Self { number: i64::MIN }
    }

    fn cells(&self) -> Vec<Cell> {
        vec![self.number.into()]
    }
}

const fn order<T: NumberedTable>() -> KeyOrder<NumberRow> {
    KeyOrder::new("row", T::NUMBERS_AFTER)
}

/// A table with a row for each number, and a document for each row.
pub trait NumberedTable: Send + Sync + 'static {
    /// The domain's events. Each uses one number.
    type Event: EventSet;
    /// A row.
    type Row<'r>: FromRow<'r>;
    /// The domain.
    const DOMAIN: &'static str;
    /// Raised when the rows of the same events change; part of the fingerprint.
    const VERSION: u32;
    /// Inserts rows, unless there is one of their number: the cells of the event, its time in milliseconds, and the
    /// partition and the offset of its record.
    const INSERT: &'static Statement;
    /// Reads the rows of some numbers; keyed.
    const READ: &'static Statement;
    /// Reads [`NumberRow`]s in ascending order: those above `$1`, without the first `$3`, `$2` at most.
    const NUMBERS_AFTER: &'static Statement;

    /// The domain's topics.
    fn topics() -> Vec<Topic>;
    /// The DDL of the table.
    fn ddl() -> Vec<Ddl>;
    /// The table as verification compares it.
    fn comparable() -> Vec<Comparable>;
    /// The cells of an event's row.
    fn cells(event: &Self::Event) -> Vec<Cell>;
    /// The shape of the documents.
    fn shape() -> IndexShape;
    /// The document of a row.
    fn document(row: &Self::Row<'_>) -> Document;
}

/// The insert of some events' rows.
fn insert<T: NumberedTable>(batch: &[&Decoded<T::Event>]) -> Step {
    let row = |decoded: &&Decoded<T::Event>| {
        let mut cells = T::cells(&decoded.envelope.event);
        let (partition, offset) = (decoded.position.partition.id, decoded.position.offset);
        cells.extend([decoded.envelope.occurred_at.into(), i64::from(partition).into(), offset.into()]);
        cells
    };
    Step { statement: T::INSERT, columns: Column::of_rows(batch.iter().map(row)) }
}

impl<T: NumberedTable> Fold for T {
    type Event = T::Event;

    fn domain(&self) -> &'static str {
        T::DOMAIN
    }

    fn topics(&self) -> Vec<Topic> {
        T::topics()
    }

    fn ddl(&self) -> Vec<Ddl> {
        T::ddl()
    }

    fn version(&self) -> u32 {
        T::VERSION
    }

    fn index_shape(&self) -> Option<Arc<IndexShape>> {
        Some(Arc::new(T::shape()))
    }

    fn comparable(&self) -> Vec<Comparable> {
        T::comparable()
    }

    fn apply(&self, transaction: &mut dyn Transaction, batch: &[&Decoded<T::Event>]) -> Result<Report, TablesError> {
        let mut report = Report::default();
        for decoded in batch {
            let Step { statement, columns } = insert::<T>(&[decoded]);
            if transaction.execute(statement, &Params::Many(columns))? == 0 {
                report.lose(decoded.position);
            }
        }
        Ok(report)
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        const { &[PlanStatement::all(T::INSERT)] }
    }

    /// Two events of one number make the store decline the plan.
    fn plan(&self, batch: &[&Decoded<T::Event>]) -> Option<Planned> {
        let steps = if batch.is_empty() { Vec::new() } else { vec![insert::<T>(batch)] };
        Some(Planned { steps, changed: Vec::new() })
    }
}

/// Reads the documents of some numbers and hands them on.
async fn hand_on<T: NumberedTable>(
    tables: &dyn Tables,
    numbers: BTreeSet<i64>,
    sink: &mut dyn Sink,
) -> Result<(), SourceError> {
    let numbers: Vec<i64> = numbers.into_iter().collect();
    for part in numbers.chunks(ROWS_MAX) {
        let params = Params::Many(vec![Column::ints(part.iter().copied())]);
        let rows = tables.read_background(T::READ, params).await?;
        let documents = rows.iter().map(|row| T::Row::read_keyed(row).map(|(_, row)| T::document(&row)));
        sink.take(documents.collect::<Result<_, _>>()?).await?;
    }
    Ok(())
}

impl<T: NumberedTable> Documents for T {
    fn topics(&self) -> Vec<Topic> {
        T::topics()
    }

    fn shape(&self) -> Arc<IndexShape> {
        Arc::new(T::shape())
    }

    fn touched<'a>(
        &'a self,
        tables: &'a dyn Tables,
        records: &'a [Record],
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        // What cannot be decoded is in the tables' quarantine, and has no row.
        let events = records.iter().filter_map(|record| codec::decode::<T::Event>(&record.value).ok());
        let numbers = events.filter_map(|envelope| Some(envelope.event.numbers()?.first)).collect();
        Box::pin(hand_on::<T>(tables, numbers, sink))
    }

    fn ranges<'a>(&'a self, tables: &'a dyn Tables, keys: i64) -> BoxFuture<'a, Result<Vec<KeyRange>, TablesError>> {
        Box::pin(async move { order::<T>().split(tables, keys).await })
    }

    fn of_range<'a>(
        &'a self,
        tables: &'a dyn Tables,
        range: &'a KeyRange,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let Some(mut pages) = order::<T>().pages(range)? else { return Ok(()) };
            while let Some(page) = pages.next(tables).await? {
                hand_on::<T>(tables, page.into_iter().map(|row| row.number).collect(), sink).await?;
            }
            Ok(())
        })
    }
}
