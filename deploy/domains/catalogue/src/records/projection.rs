//! The fold of records: the state of each, and a typed row for each that readers see.
//!
//! A batch reads the states of its records once, folds its events one after another, and writes what they come to. So the
//! size of batches does not show (I5).

use std::{collections::BTreeSet, sync::Arc};

use daybook_projector::{
    comparison::Comparable,
    projection::{Decoded, EntityKey, Fold, Planned, Report},
    search::shape::IndexShape,
    tables::{Column, Ddl, Params, PlanStatement, TablesError, Transaction},
};
use daybook_schemas::{Topic, position::Position};
use serde_json::Value;

use super::{
    events::{self, Event},
    further::{self, Changes},
    states::{self, REMOVE, Stored},
    typed::Typed,
};
use crate::{
    Fields,
    clean::{Cleaner, RuleFault},
    definition::{
        Definition,
        fields::{Owner, SOURCE},
    },
    record::fold::{self, Change},
    values::json,
};

/// The projection of one collection.
pub struct Records {
    definition: Arc<Definition>,
    typed: &'static Typed,
    topic: Topic,
    cleaner: Cleaner,
    shape: Arc<IndexShape>,
}

impl Records {
    pub(super) fn new(
        definition: Arc<Definition>,
        typed: &'static Typed,
        shape: Arc<IndexShape>,
    ) -> Result<Self, RuleFault> {
        let topic = events::topic(definition.collection.as_str());
        let cleaner = Cleaner::of(&definition.clean)?;
        Ok(Self { definition, typed, topic, cleaner, shape })
    }

    /// Applies an event to the state of its record; whether it changed it, or why it cannot be applied. An upsert that
    /// changes nothing is the last one, all the same: the repetition of a whole one is known, and what a partial one says
    /// may be known to another definition.
    fn apply_one(&self, stored: &mut Stored, event: &Event) -> Result<bool, String> {
        let (change, hash) = match event {
            Event::RecordUpserted(event) => {
                let fields = self.read_fields(&event.fields, Owner::Upstream)?;
                let hash = (!event.merge).then(|| event.content_hash.clone());
                (Change::Upserted { fields, merge: event.merge }, Some(hash))
            }
            Event::RecordRemoved(_) => (Change::Removed, Some(None)),
            Event::RecordTakenDown(event) => (Change::TakenDown { reason: event.reason.clone() }, None),
            Event::RecordReinstated(_) => (Change::Reinstated, None),
            Event::RecordFlagged(event) => (Change::Flagged { flag: event.flag.clone(), value: event.value }, None),
            Event::RecordFieldsSet(event) => {
                (Change::ApiSet { fields: self.read_fields(&event.fields, Owner::Api)? }, None)
            }
        };
        let is_changed = fold::apply(&mut stored.state, &self.definition, change);
        if let Some(hash) = hash {
            stored.content_hash = hash;
        }
        Ok(is_changed)
    }

    /// Reads the fields of an event, or says why they cannot be applied. Those of another owner change nothing.
    fn read_fields(&self, text: &str, owner: Owner) -> Result<Fields, String> {
        let fields = json::parse(text).map_err(|fault| format!("fields: {fault}"))?;
        let Value::Object(fields) = fields else { return Err("fields are no object".to_owned()) };
        for (name, value) in &fields {
            let Some(field) = self.definition.field(name).filter(|field| field.owner == owner) else { continue };
            let read = field.kind.from_json(value).map_err(|fault| format!("field {name}: {fault}"))?;
            if read != *value {
                return Err(format!("field {name} is not in the normal form of its type"));
            }
            // One engine could not index a longer one. An older definition may have allowed it.
            let is_too_long = |max: &usize| value.as_str().is_some_and(|text| text.chars().nth(*max).is_some());
            if let Some(max) = self.typed.source_max.filter(is_too_long).filter(|_| name == SOURCE) {
                return Err(format!("field {SOURCE} is longer than {max}"));
            }
        }
        Ok(fields)
    }

    /// Writes the typed rows of records that readers see and the rows of further tables, and removes those of the others.
    fn write_typed(
        &self,
        transaction: &mut dyn Transaction,
        changed: &[(&str, &Stored, Position)],
    ) -> Result<(), TablesError> {
        let (mut rows, mut hidden, mut counts) = (Vec::new(), Vec::new(), self.cleaner.counts());
        let mut further = Changes::new(&self.definition.tables);
        for (record_id, stored, position) in changed {
            let Some(mut fields) = stored.state.shown(&self.definition) else {
                hidden.push(*record_id);
                further.note(record_id, None);
                continue;
            };
            self.cleaner.clean(record_id, &mut fields, &mut counts);
            further.note(record_id, Some(&fields));
            let mut row = vec![
                (*record_id).into(),
                stored.state.revision.into(),
                stored.flags().into(),
                i64::from(position.partition.id).into(),
                position.offset.into(),
            ];
            row.extend(self.typed.cells(&fields));
            rows.push(row);
        }
        if !rows.is_empty() {
            transaction.execute(&self.typed.put, &Params::Many(Column::of_rows(rows)))?;
        }
        if !hidden.is_empty() {
            transaction.execute(&REMOVE, &Params::Many(vec![Column::texts(hidden)]))?;
        }
        further.write(transaction)
    }
}

impl Fold for Records {
    type Event = Event;

    fn domain(&self) -> &'static str {
        self.topic.name()
    }

    fn topics(&self) -> Vec<Topic> {
        vec![self.topic]
    }

    fn ddl(&self) -> Vec<Ddl> {
        self.typed.ddl()
    }

    fn version(&self) -> u32 {
        2
    }

    fn apply(&self, transaction: &mut dyn Transaction, batch: &[&Decoded<Event>]) -> Result<Report, TablesError> {
        let mut report = Report::default();
        let record_ids: BTreeSet<&str> = batch.iter().map(|decoded| decoded.envelope.event.record_id()).collect();
        let mut all = states::read(transaction, record_ids)?;
        for Decoded { position, envelope } in batch {
            let record_id = envelope.event.record_id();
            let mut stored = all.get(record_id).cloned().unwrap_or_default();
            let (revision, hash) = (stored.state.revision, stored.content_hash.clone());
            match self.apply_one(&mut stored, &envelope.event) {
                Ok(true) => report.changed.push(EntityKey { kind: "record", key: record_id.to_owned() }),
                Ok(false) => report.lose(*position),
                Err(reason) => {
                    report.reject(*position, reason);
                    continue;
                }
            }
            if (stored.state.revision, &stored.content_hash) != (revision, &hash) {
                // A document of one revision is one document.
                if stored.state.revision != revision {
                    stored.changed_at = envelope.occurred_at;
                }
                stored.written_by = Some(*position);
                all.insert(record_id.to_owned(), stored);
            }
        }
        let changed = all.iter().filter_map(|(record_id, it)| Some((record_id.as_str(), it, it.written_by?)));
        let changed: Vec<(&str, &Stored, Position)> = changed.collect();
        if !changed.is_empty() {
            states::write(transaction, &changed)?;
            self.write_typed(transaction, &changed)?;
        }
        Ok(report)
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        &[]
    }

    /// What an upsert comes to depends on the state before it, so there is no plan.
    fn plan(&self, _batch: &[&Decoded<Event>]) -> Option<Planned> {
        None
    }

    fn index_shape(&self) -> Option<Arc<IndexShape>> {
        Some(Arc::clone(&self.shape))
    }

    fn comparable(&self) -> Vec<Comparable> {
        // What a definition does not say is neither kept nor a change.
        let of_fold = ["revision", "raw", "api", "content_hash", "changed_at", "record_partition", "record_offset"];
        let state = Comparable::of("record_state").by_text("record_id");
        let state = state.columns(["flags", "takedown", "removed"]).columns_of_fold(of_fold);
        let shown = Comparable::of("records").by_text("record_id").columns(["flags"]);
        let shown = shown.columns_of_fold(["revision", "record_partition", "record_offset"]);
        let further = (!self.definition.tables.is_empty()).then(further::comparable);
        [state, shown].into_iter().chain(further).collect()
    }
}
