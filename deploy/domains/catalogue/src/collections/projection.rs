//! The fold of definitions: a row for each revision. The first event of a revision wins.

use std::sync::Arc;

use daybook_projector::{
    comparison::Comparable,
    ddl,
    projection::{Decoded, EntityKey, Fold, Planned, Report},
    row,
    search::shape::IndexShape,
    statements,
    tables::{Cell, Ddl, Params, PlanStatement, TablesError, Transaction},
};
use daybook_schemas::Topic;

use super::events::{CATALOGUE, Event};
use crate::terms::list::TermList;

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
    INSERT_LIST = "sql/insert_list";
    /// A revision of a term list.
    pub READ_LIST = "sql/read_list", TermListRow;
    /// The newest revision of a term list.
    pub READ_NEWEST_LIST = "sql/read_newest_list", TermListRow;
    /// The revision of a term list that an event made.
    pub READ_RECORDED_LIST = "sql/read_recorded_list", TermListRow;
    /// The newest revisions of the term lists after `$1`, `$2` at most, without their terms.
    pub LIST_LISTS = "sql/list_lists", ListedRow;
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

row! {
    /// A term list.
    pub struct TermListRow<'r> {
        pub(crate) list: &'r str,
        pub(crate) revision: i64,
        pub(crate) terms: &'r str,
        pub(crate) hash: &'r str,
        pub(crate) term_count: i64,
        pub(crate) note: Option<&'r str>,
        pub(crate) set_at: i64,
    }
}

row! {
    /// A term list without its terms.
    pub struct ListedRow<'r> {
        pub(crate) list: &'r str,
        pub(crate) revision: i64,
        pub(crate) hash: &'r str,
        pub(crate) term_count: i64,
        pub(crate) note: Option<&'r str>,
        pub(crate) set_at: i64,
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
            let (insert, mut row): (_, Vec<Cell>) = match &envelope.event {
                Event::CollectionDefined(event) => (
                    &INSERT,
                    vec![
                        event.collection.as_str().into(),
                        event.revision.into(),
                        event.definition.as_str().into(),
                        event.hash.as_str().into(),
                        event.note.as_deref().into(),
                    ],
                ),
                Event::TermListSet(event) => {
                    let terms = i64::try_from(TermList::parse(&event.terms).terms().len()).unwrap_or(i64::MAX);
                    let of_event = vec![
                        event.list.as_str().into(),
                        event.revision.into(),
                        event.terms.as_str().into(),
                        event.hash.as_str().into(),
                        terms.into(),
                        event.note.as_deref().into(),
                    ];
                    (&INSERT_LIST, of_event)
                }
            };
            row.extend([envelope.occurred_at.into(), i64::from(position.partition.id).into(), position.offset.into()]);
            if transaction.execute(insert, &Params::One(row))? == 0 {
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
        let of_lists = ["terms", "hash", "term_count", "note", "set_at", "record_partition", "record_offset"];
        vec![
            Comparable::of("definitions").by_text("collection").by_integer("revision").columns(columns),
            Comparable::of("term_lists").by_text("list").by_integer("revision").columns(of_lists),
        ]
    }
}
