//! What a rebuild counts of the generation that it has built, beside the live one: records and documents by source, what
//! each rule did, and that no record is lost between the log and the index.
//!
//! Records are written meanwhile, and no snapshot is held: numbers that must be equal may differ by as many records as
//! were applied while they were counted.

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
    typed::SOURCE,
};
use crate::clean::{Cleaner, RuleFault};

/// Inspects the generations of one revision.
pub(super) struct Inspector {
    revision: Arc<Revision>,
    cleaner: Cleaner,
}

/// What one generation holds, as its tables and its index count it.
struct Held {
    rows: BySource,
    /// `None` if its index is not open.
    documents: Option<u64>,
    /// `None` also if its documents have no source, or there are more sources than an index counts.
    documents_by_source: Option<BySource>,
}

impl Inspector {
    pub(super) fn new(revision: Arc<Revision>) -> Result<Self, RuleFault> {
        let cleaner = Cleaner::of(&revision.definition.clean)?;
        Ok(Self { revision, cleaner })
    }

    async fn look(&self, inspected: Inspected<'_>) -> Result<Inspection, VerifyError> {
        let Inspected { live, candidate, throttle } = inspected;
        let (tables, definition) = (candidate.generation.tables.as_ref(), &self.revision.definition);
        let before = checkpoints::read(tables).await?;
        let (of_live, held, named) = (Held::of(live).await?, Held::of(candidate).await?, counts::named(tables).await?);
        let pass = Pass::over(tables, definition, &self.cleaner, throttle).await?;
        let after = checkpoints::read(tables).await?;
        let meanwhile = u64::try_from(before.lag(&after)).unwrap_or(u64::MAX);
        let emptied = pass.rules.rules().iter().map(|rule| rule.emptied).sum();
        let change = Change::between(&of_live, &held, emptied);
        let rows: u64 = held.rows.values().sum();
        let documents = held.documents.unwrap_or(pass.documents);
        let of_no_row = pass.removed + pass.taken_down + pass.without_content;
        let laws = [
            ("records ever named = rows + removed + taken down + without content", named, rows + of_no_row),
            ("rows = records that readers should see", rows, pass.shown),
            ("documents = rows - excluded", documents, pass.documents),
        ];
        let violated = laws.iter().filter(|(_, found, expected)| found.abs_diff(*expected) > meanwhile);
        let mut reasons: Vec<String> =
            violated.map(|(law, found, expected)| format!("{law} does not hold: {found} is not {expected}")).collect();
        let holds = reasons.is_empty();
        let limited = Limited::of(&definition.verify, &change);
        reasons.extend(limited.iter().filter_map(Limited::reason));
        let content = json!({
            "revision": self.revision.number,
            "at": after.to_string(),
            "applied_meanwhile": meanwhile,
            "rows": change.rows.show(),
            "documents": change.documents.map(Counted::show),
            "by_source": change.show_by_source(),
            "conservation": {
                "named": named,
                "rows": rows,
                "removed": pass.removed,
                "taken_down": pass.taken_down,
                "without_content": pass.without_content,
                "documents": held.documents,
                "excluded": pass.excluded,
                "holds": holds,
            },
            "rules": pass.rules,
            "emptied": emptied,
            "limits": limited.iter().map(Limited::show).collect::<Vec<_>>(),
        });
        Ok(Inspection { content, reasons })
    }
}

impl Inspect for Inspector {
    fn inspect<'a>(&'a self, inspected: Inspected<'a>) -> BoxFuture<'a, Result<Inspection, VerifyError>> {
        Box::pin(self.look(inspected))
    }
}

impl Held {
    async fn of(side: Side<'_>) -> Result<Self, VerifyError> {
        let rows = counts::shown(side.generation.tables.as_ref()).await?;
        let Some(index) = side.index else { return Ok(Self { rows, documents: None, documents_by_source: None }) };
        let (documents, documents_by_source) = documents_of(index).await?;
        Ok(Self { rows, documents: Some(documents), documents_by_source })
    }
}

/// The documents that searches find: all, and by source.
async fn documents_of(index: &dyn SearchIndex) -> Result<(u64, Option<BySource>), VerifyError> {
    let shape = index.shape();
    let source = shape.find(SOURCE, |field| field.facet).map(Field::Named);
    let facets = source.map(|field| Facet { field, prefix: String::new(), values_max: VALUES_MAX });
    let request = Request { facets: facets.into_iter().collect(), ..Request::all(shape, 0) };
    let found = inherited::search(index, request).await?.found;
    let by_source = found.facets.into_iter().next().filter(|values| values.len() < VALUES_MAX).map(|values| {
        let mut counts: BySource = values.into_iter().map(|(source, count)| (Some(source), count)).collect();
        let without = found.total.saturating_sub(counts.values().sum());
        if without > 0 {
            counts.insert(None, without);
        }
        counts
    });
    Ok((found.total, by_source))
}
