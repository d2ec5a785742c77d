//! One pass over the states of all records: what each of them should come to, by the definition alone.

use std::collections::BTreeMap;

use daybook_projector::{
    tables::{FromRow, Params, Tables, TablesError},
    throttle::Throttle,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    clean::{Cleaner, counts::RuleCounts},
    definition::Definition,
    records::{
        documents::{RecordDocuments, SENSITIVE},
        further::holds_row,
        states::{STATES_AFTER, StateRow, Stored},
        typed::DocumentRow,
    },
    terms::hits::TermHits,
};

/// States that are read at a time.
const PAGE: i64 = 1000;

/// What the states of all records come to.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Records that readers should see.
    pub(super) shown: u64,
    /// Those of them that no rule keeps out of the index.
    pub(super) documents: u64,
    /// Those of them that hold a row of a further table.
    pub(super) further: BTreeMap<String, u64>,
    /// Those that are kept out, by the first rule that does.
    pub(super) excluded: BTreeMap<String, u64>,
    /// Records that are taken down.
    pub(super) taken_down: u64,
    /// Records whose content was removed.
    pub(super) removed: u64,
    /// Records of which only a flag is known.
    pub(super) without_content: u64,
    /// Documents that the filtered search leaves out.
    pub(super) sensitive: u64,
    /// The terms that documents hold.
    pub(super) hits: TermHits,
    /// Records of which a rule leaves a field empty.
    pub(super) emptied: u64,
    /// What each rule changed.
    pub(super) rules: RuleCounts,
}

/// By what a pass judges records.
struct Judge<'a> {
    definition: &'a Definition,
    cleaner: &'a Cleaner,
    documents: &'a RecordDocuments,
}

impl Pass {
    /// Reads all states.
    pub(super) async fn over(
        tables: &dyn Tables,
        definition: &Definition,
        cleaner: &Cleaner,
        documents: &RecordDocuments,
        throttle: &Throttle,
    ) -> Result<Self, TablesError> {
        let judge = Judge { definition, cleaner, documents };
        let mut pass = Self { rules: cleaner.counts(), ..Self::default() };
        let (mut after, mut since) = (String::new(), Instant::now());
        loop {
            let params = Params::One(vec![after.as_str().into(), PAGE.into()]);
            let rows = tables.read_background(&STATES_AFTER, params).await?;
            for row in &rows {
                let row = StateRow::read(row)?;
                pass.take(row.record_id(), &Stored::of(&row)?, &judge)?;
                row.record_id().clone_into(&mut after);
            }
            if rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
                return Ok(pass);
            }
            throttle.rest(&mut since).await;
        }
    }

    fn take(&mut self, record_id: &str, stored: &Stored, judge: &Judge<'_>) -> Result<(), TablesError> {
        let Judge { definition, cleaner, documents } = judge;
        let state = &stored.state;
        let Some(mut fields) = state.shown(definition) else {
            let kind = match (&state.taken_down, state.is_removed) {
                (Some(_), _) => &mut self.taken_down,
                (None, true) => &mut self.removed,
                (None, false) => &mut self.without_content,
            };
            *kind += 1;
            return Ok(());
        };
        self.shown += 1;
        let emptied = |rules: &RuleCounts| rules.rules().iter().map(|rule| rule.emptied).sum::<u64>();
        let before = emptied(&self.rules);
        cleaner.clean(record_id, &mut fields, &mut self.rules);
        self.emptied += u64::from(emptied(&self.rules) > before);
        for table in definition.tables.iter().filter(|table| holds_row(table, &fields)) {
            *self.further.entry(table.name.to_string()).or_default() += 1;
        }
        if let Some(exclusion) = definition.clean.exclude.iter().find(|exclusion| exclusion.excludes(&fields)) {
            *self.excluded.entry(exclusion.id.clone()).or_default() += 1;
            return Ok(());
        }
        self.documents += 1;
        if let Some(sensitivity) = documents.sensitivity() {
            let (record_id, flags, revision) = (record_id.to_owned(), stored.flags(), state.revision);
            let changed_at = stored.changed_at;
            let row = DocumentRow { record_id, revision, flags, changed_at, fields: Some(fields.clone()) };
            let document = documents.document(row)?;
            self.sensitive += u64::from(document.source.get(SENSITIVE) == Some(&Value::Bool(true)));
            sensitivity.count(&fields, &document.source, &mut self.hits);
        }
        Ok(())
    }
}
