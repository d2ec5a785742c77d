//! A start of a program whose generations have another fingerprint than the live one.
//!
//! A generation of this program's fingerprint is filled from the log, while the live one stays as it is; then it is
//! promoted, and the other one is kept as the previous one. So the earlier program can still be started: it finds its
//! own generation, brings it up to date and promotes it in turn. Every step can be repeated: after a crash the next
//! start goes on where this one ended.

use std::{collections::BTreeMap, sync::Arc};

use daybook_ingest::log::EventLog;
use daybook_projector::{
    bookkeeping::quarantine::{self, Quarantined},
    control::{Control, Entry, State},
    generation::{self, Generation},
    projection::Projection,
    search::{SearchStore, binding::Binding, shape::IndexShape},
    tables::{Store, Tables, TablesError},
};
use daybook_schemas::position::Position;

use crate::open::{OpenError, fill_schema};

/// Quarantined records that are read at a time.
const PAGE: i64 = 1000;

/// The stores of generations' parts.
pub struct Stores<'a> {
    /// Of tables.
    pub tables: &'a dyn Store,
    /// Of search indexes, unless search is switched off.
    pub search: Option<Indexes<'a>>,
}

/// Where a domain's indexes live.
pub struct Indexes<'a> {
    /// The store.
    pub store: &'a dyn SearchStore,
    /// The shape of the domain's documents.
    pub shape: Arc<IndexShape>,
}

/// The generation of this program's fingerprint: one that exists, or a new one.
pub(crate) async fn candidate(
    stores: &Stores<'_>,
    control: &Control,
    projection: &dyn Projection,
    log: &dyn EventLog,
    entries: Vec<Entry>,
) -> Result<Entry, TablesError> {
    let (domain, fingerprint) = (projection.domain(), generation::fingerprint(projection)?);
    let last = entries.iter().map(|entry| entry.generation).max().unwrap_or(0);
    let (own, others): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .filter(|entry| matches!(entry.state, State::Loading | State::Previous))
        .partition(|entry| entry.fingerprint == fingerprint && entry.log_id == log.id());
    // There is at most one previous generation, and none is loaded for a program that did not finish it.
    for entry in others {
        remove(stores, control, domain, &entry).await?;
    }
    let entry = match own.into_iter().next_back() {
        Some(entry) => entry,
        None => {
            let generation = last + 1;
            let (schema, log_id) = (stores.tables.schema(domain, generation), log.id().to_owned());
            // The entry comes first: another program that starts next finds and removes what this one has made.
            let entry = Entry { generation, schema, state: State::Loading, fingerprint, log_id };
            control.add(domain, entry.clone()).await?;
            entry
        }
    };
    if entry.state == State::Loading {
        fill_schema(stores.tables, &entry.schema, projection, log).await?;
    }
    let generation = entry.generation;
    tracing::info!(domain, generation, "generation {generation} of {domain} is brought up to date, then promoted");
    Ok(entry)
}

/// Removes the tables and the index of a generation that is not live.
async fn remove(
    stores: &Stores<'_>,
    control: &Control,
    domain: &'static str,
    entry: &Entry,
) -> Result<(), TablesError> {
    let Entry { generation, schema, fingerprint, log_id, .. } = entry.clone();
    let state = if entry.state == State::Previous { State::Retired } else { State::Cancelled };
    if let Some(Indexes { store, shape }) = &stores.search {
        let (domain, schema, shape) = (domain.to_owned(), schema.clone(), Arc::clone(shape));
        let binding = Binding { log_id, domain, schema: schema.clone(), fingerprint, shape };
        let removed = store.delete(&binding).await;
        removed.map_err(|error| TablesError::Unavailable(format!("cannot remove the index of {schema}: {error}")))?;
    }
    stores.tables.remove(&schema).await?;
    control.set_state(domain, generation, state).await?;
    tracing::info!(domain, generation, "generation {generation} of {domain} is {}", state.as_str());
    Ok(())
}

/// Makes a generation that has reached the end of the log the live one. Refuses to if it put a record into quarantine
/// that the live one has applied.
pub async fn promote(store: &dyn Store, control: &Control, candidate: &Generation) -> Result<(), OpenError> {
    let (domain, to) = (candidate.domain, candidate.number);
    let failed = |source| OpenError::Tables { domain, source };
    let entries = control.generations(domain).await.map_err(failed)?;
    let Some(live) = entries.iter().find(|entry| entry.state == State::Live) else {
        return Err(failed(TablesError::Unavailable("control storage has no live generation".to_owned())));
    };
    let from = live.generation;
    let tables = store.open(&live.schema).await.map_err(failed)?;
    let (before, after) = (quarantined(tables.as_ref()).await, quarantined(candidate.tables.as_ref()).await);
    let (before, mut after) = (before.map_err(failed)?, after.map_err(failed)?);
    after.retain(|position, _| !before.contains_key(position));
    if let Some((position, reason)) = after.into_iter().next() {
        return Err(OpenError::Quarantined { domain, live: from, candidate: to, position, reason });
    }
    control.switch(domain, from, to).await.map_err(failed)?;
    tracing::info!(domain, from, to, "generation {to} of {domain} is live, {from} is the previous one");
    Ok(())
}

/// All records in quarantine, with the reasons.
async fn quarantined(tables: &dyn Tables) -> Result<BTreeMap<Position, String>, TablesError> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = quarantine::list(tables, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.position);
        all.extend(page.into_iter().map(|Quarantined { position, reason, .. }| (position, reason)));
    }
}
