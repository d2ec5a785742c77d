//! What a rebuild counts of the generation that it has built, beside the live one: records and documents by source, what
//! each rule did, and that no record is lost between the log and the index.
//!
//! Records are written meanwhile, and no snapshot is held: numbers that must be equal may differ by as many records as
//! were applied while they were counted. For numbers that are limited, the live generation is counted before the candidate
//! and after it, and the nearer number counts.

mod canaries;
mod change;
mod pass;

use std::sync::Arc;

use daybook_ingest::log::BoxFuture;
use daybook_projector::{
    bookkeeping::checkpoints,
    search::{
        SearchIndex, inherited,
        request::{Facet, Request, VALUES_MAX},
        shape::Field,
    },
};
use daybook_reindexer::verify::{
    VerifyError,
    inspect::{Inspect, Inspected, Inspection, Side},
};
use serde_json::json;

use self::{
    change::{Change, Counted, Limited},
    pass::Pass,
};
use super::{
    Revision,
    counts::{self, BySource},
    documents::{RecordDocuments, SENSITIVE},
    further::{self, FurtherCounts},
};
use crate::{
    clean::{Cleaner, RuleFault},
    definition::fields::SOURCE,
};

/// Inspects the generations of one revision.
pub(super) struct Inspector {
    revision: Arc<Revision>,
    cleaner: Cleaner,
    documents: Arc<RecordDocuments>,
}

/// How often both generations are counted, at most, while a limit is exceeded and the live one changes.
const ATTEMPTS: usize = 3;

/// What one generation holds, as its tables and its index count it.
#[derive(PartialEq, Eq)]
struct Held {
    rows: u64,
    /// `None` if its records have no source.
    rows_by_source: Option<BySource>,
    further: FurtherCounts,
    /// `None` if its index is not open.
    indexed: Option<Indexed>,
}

/// What an index holds, as searches count it.
#[derive(PartialEq, Eq)]
struct Indexed {
    documents: u64,
    /// `None` if documents have no source, or there are more sources than an index counts.
    by_source: Option<BySource>,
    /// Documents that the filtered search leaves out; `None` if it leaves none out.
    sensitive: Option<u64>,
}

impl Inspector {
    pub(super) fn new(revision: Arc<Revision>, documents: Arc<RecordDocuments>) -> Result<Self, RuleFault> {
        let cleaner = Cleaner::of(&revision.definition.clean)?;
        Ok(Self { revision, cleaner, documents })
    }

    async fn look(&self, inspected: Inspected<'_>) -> Result<Inspection, VerifyError> {
        let (held, mut change) = self.count(&inspected).await?;
        let Inspected { candidate, since, refused, throttle, .. } = inspected;
        let (tables, definition) = (candidate.generation.tables.as_ref(), &self.revision.definition);
        let named = counts::named(tables).await?;
        let pass = Pass::over(tables, definition, &self.cleaner, &self.documents, throttle).await?;
        let after = checkpoints::read(tables).await?;
        let meanwhile = since.lag(&after).unsigned_abs();
        // It never comes where the comparison fails, which ends this, too.
        let refused = refused.await.unwrap_or(0);
        change.emptied = pass.emptied;
        let documents = held.indexed.as_ref().map(|indexed| indexed.documents);
        let sensitive = held.indexed.as_ref().and_then(|indexed| indexed.sensitive);
        let of_no_row = pass.removed + pass.taken_down + pass.without_content;
        let law = |text: &str, found: u64, expected: u64, more: u64| (text.to_owned(), found, expected, more);
        let mut laws = vec![
            law("records ever named = rows + removed + taken down + without content", named, held.rows + of_no_row, 0),
            law("rows = records that readers should see", held.rows, pass.shown, 0),
        ];
        laws.extend(documents.map(|documents| law("documents = rows - excluded", documents, pass.documents, refused)));
        laws.extend(sensitive.map(|found| law("documents that are filtered out", found, pass.sensitive, refused)));
        for table in definition.tables.iter().map(|table| table.name.as_str()) {
            let found = held.further.get(table).copied().unwrap_or_default().records;
            let expected = pass.further.get(table).copied().unwrap_or_default();
            laws.push((format!("records with a row of table {table}"), found, expected, 0));
        }
        let violated = laws.iter().filter(|(_, found, expected, more)| found.abs_diff(*expected) > meanwhile + more);
        let mut reasons: Vec<String> = violated
            .map(|(law, found, expected, _)| format!("{law}: this does not hold: {found} is not {expected}"))
            .collect();
        let holds = reasons.is_empty();
        let limited = Limited::of(&definition.verify, &change);
        reasons.extend(limited.iter().filter_map(Limited::reason));
        let mut canaries = Vec::new();
        if let Some(index) = candidate.index {
            for canary in &definition.canaries {
                canaries.push(canaries::Found::of(canary, index).await?);
            }
        }
        reasons.extend(canaries.iter().filter_map(|found| found.reason.clone()));
        let without_hit = self.documents.sensitivity().map(|terms| terms.without_hit(&pass.hits));
        let content = json!({
            "revision": self.revision.number,
            "lists": definition.lists,
            "at": after.to_string(),
            "applied_meanwhile": meanwhile,
            "rows": change.rows.show(),
            "documents": change.documents.map(Counted::show),
            "by_source": change.show_by_source(),
            "tables": change.show_further(),
            "conservation": {
                "named": named,
                "rows": held.rows,
                "removed": pass.removed,
                "taken_down": pass.taken_down,
                "without_content": pass.without_content,
                "documents": documents,
                "excluded": pass.excluded,
                "refused": refused,
                "sensitive": sensitive,
                "filtered": documents.zip(sensitive).map(|(all, sensitive)| all.saturating_sub(sensitive)),
                "holds": holds,
            },
            "rules": pass.rules,
            "emptied": pass.emptied,
            "terms_without_hit": without_hit,
            "canaries": canaries.iter().map(canaries::Found::show).collect::<Vec<_>>(),
            "limits": limited.iter().map(Limited::show).collect::<Vec<_>>(),
        });
        Ok(Inspection { content, reasons })
    }

    /// Counts both generations: what the candidate holds, and how that differs from the live one.
    async fn count(&self, inspected: &Inspected<'_>) -> Result<(Held, Change), VerifyError> {
        let (live, definition) = (inspected.live, &self.revision.definition);
        let mut before = Held::of_live(live).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            // What the live one was counted with, the candidate has, too, or has removed it since.
            inspected.catch_up().await?;
            let held = Held::of(inspected.candidate).await?;
            let after = Held::of_live(live).await?;
            let change = Change::between(definition, [&before, &after], &held);
            let is_held = Limited::of(&definition.verify, &change).iter().all(Limited::is_held);
            if is_held || before == after || attempts == ATTEMPTS {
                return Ok((held, change));
            }
            before = after;
        }
    }
}

impl Inspect for Inspector {
    fn inspect<'a>(&'a self, inspected: Inspected<'a>) -> BoxFuture<'a, Result<Inspection, VerifyError>> {
        Box::pin(self.look(inspected))
    }
}

impl Held {
    /// Of the live generation. An index that fails is what a new one takes the place of.
    async fn of_live(live: Side<'_>) -> Result<Self, VerifyError> {
        match Self::of(live).await {
            Err(VerifyError::Search(_)) => Self::of(Side { index: None, ..live }).await,
            held => held,
        }
    }

    async fn of(side: Side<'_>) -> Result<Self, VerifyError> {
        let tables = side.generation.tables.as_ref();
        let (rows, rows_by_source) = (counts::shown(tables).await?, counts::by_source(tables).await?);
        let further = further::counts(tables).await?;
        let indexed = match side.index {
            Some(index) => Some(Indexed::of(index).await?),
            None => None,
        };
        Ok(Self { rows, rows_by_source, further, indexed })
    }
}

impl Indexed {
    async fn of(index: &dyn SearchIndex) -> Result<Self, VerifyError> {
        let shape = index.shape();
        let facet = |name: &str| {
            let field = shape.find(name, |field| field.facet).map(Field::Named)?;
            Some(Facet { field, prefix: String::new(), values_max: VALUES_MAX })
        };
        let (source, sensitive) = (facet(SOURCE), facet(SENSITIVE));
        let (has_source, has_sensitive) = (source.is_some(), sensitive.is_some());
        let facets = source.into_iter().chain(sensitive).collect();
        let found = inherited::search(index, Request { facets, ..Request::all(shape, 0) }).await?.found;
        let mut facets = found.facets.into_iter();
        let by_source = if has_source { facets.next() } else { None };
        let by_source = by_source.filter(|values| values.len() < VALUES_MAX).map(|values| {
            let mut counts: BySource = values.into_iter().map(|(source, count)| (Some(source), count)).collect();
            let without = found.total.saturating_sub(counts.values().sum());
            if without > 0 {
                counts.insert(None, without);
            }
            counts
        });
        let sensitive = if has_sensitive { facets.next() } else { None };
        let sensitive = sensitive.map(|values| {
            let of_true = values.into_iter().filter(|(value, _)| value == "true");
            of_true.map(|(_, count)| count).sum()
        });
        Ok(Self { documents: found.total, by_source, sensitive })
    }
}
