//! The fold of definitions: a row for each revision. The first event of a revision wins.

use std::sync::Arc;

use daybook_projector::{
    comparison::Comparable,
    ddl,
    projection::{Decoded, EntityKey, Fold, Planned, Report},
    row,
    search::shape::IndexShape,
    statements,
    tables::{Ddl, Params, PlanStatement, TablesError, Transaction},
};
use daybook_schemas::Topic;

use super::events::{CATALOGUE, Event};

/// The projection.
pub struct Collections;

statements! {
    /// Every statement of the domain.
    pub STATEMENTS;
    INSERT = "sql/insert";
    /// The names of all collections, each with its newest revision.
    pub LIST_NAMES = "sql/list_names", NameRow;
    /// The revisions of a collection after `$2`.
    pub LIST_OF = "sql/list_of", DefinitionRow;
    /// The revision that an event made.
    pub READ_RECORDED = "sql/read_recorded", DefinitionRow;
    /// A revision of a collection.
    pub READ = "sql/read", DefinitionRow;
    /// The newest revision of a collection.
    pub READ_NEWEST = "sql/read_newest", DefinitionRow;
    /// The newest revisions of the collections after `$1`, `$2` at most.
    pub LIST_NEWEST = "sql/list_newest", DefinitionRow;
}

row! {
    /// A collection, and its newest revision.
    pub struct NameRow<'r> {
        pub(crate) collection: &'r str,
        pub(crate) revision: i64,
    }
}

row! {
    /// A definition that was applied.
    pub struct DefinitionRow<'r> {
        pub(crate) collection: &'r str,
        pub(crate) revision: i64,
        pub(crate) definition: &'r str,
        pub(crate) hash: &'r str,
        pub(crate) note: Option<&'r str>,
        pub(crate) defined_at: i64,
        pub(crate) record_partition: i64,
        pub(crate) record_offset: i64,
    }
}

impl Fold for Collections {
    type Event = Event;

    fn domain(&self) -> &'static str {
        super::DOMAIN
    }

    fn topics(&self) -> Vec<Topic> {
        vec![CATALOGUE]
    }

    fn ddl(&self) -> Vec<Ddl> {
        vec![ddl!("sql/tables")]
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, transaction: &mut dyn Transaction, batch: &[&Decoded<Event>]) -> Result<Report, TablesError> {
        let mut report = Report::default();
        for Decoded { position, envelope } in batch {
            let Event::CollectionDefined(event) = &envelope.event;
            let row = vec![
                event.collection.as_str().into(),
                event.revision.into(),
                event.definition.as_str().into(),
                event.hash.as_str().into(),
                event.note.as_deref().into(),
                envelope.occurred_at.into(),
                i64::from(position.partition.id).into(),
                position.offset.into(),
            ];
            if transaction.execute(&INSERT, &Params::One(row))? == 0 {
                report.lose(*position);
            } else {
                // Whoever runs the collections looks at the list again.
                report.changed.push(EntityKey { kind: "collections", key: String::new() });
            }
        }
        Ok(report)
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        &[]
    }

    /// Definitions are few: they need no plan.
    fn plan(&self, _batch: &[&Decoded<Event>]) -> Option<Planned> {
        None
    }

    fn index_shape(&self) -> Option<Arc<IndexShape>> {
        None
    }

    fn comparable(&self) -> Vec<Comparable> {
        let columns = ["definition", "hash", "note", "defined_at", "record_partition", "record_offset"];
        vec![Comparable::of("definitions").by_text("collection").by_integer("revision").columns(columns)]
    }
}
