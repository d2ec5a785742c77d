//! A start of a program whose generations have another fingerprint than the live one.
//!
//! A generation of this program's fingerprint is filled from the log, while the live one is not changed; then it is
//! promoted, and the other one is kept as the previous one. So the earlier program can still be started: it finds its
//! own generation, applies what it lacks, and promotes it in turn. Every step can be repeated: after a crash the next
//! start goes on where this one ended.

use std::{collections::BTreeMap, sync::Arc};

use daybook_ingest::log::EventLog;
use daybook_projector::{
    bookkeeping::{
        checkpoints,
        quarantine::{self, Quarantined},
    },
    generation::{self, Generation},
    projection::Projection,
    search::{SearchStore, binding::Binding, shape::IndexShape},
    tables::{Store, Tables, TablesError},
};
use daybook_schemas::position::Position;

use crate::{
    control::{ChangeError, Control, Entry, NewState, Seen, State},
    open::{OpenError, fill_schema},
    running::Platform,
    switch::GenerationId,
};

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

/// Removes what generations that have ended left behind, and the candidates of other programs that did not finish them.
/// Afterwards the rest is live, a previous one, or a candidate of this program.
pub(crate) async fn tidy(stores: &Stores<'_>, platform: &Platform, entries: &[Entry]) -> Result<(), TablesError> {
    let (control, domain) = (&platform.control, platform.domain());
    for entry in entries {
        if entry.is_gone() {
            remove(stores, domain, entry, entries).await?;
        } else if entry.is_candidate() && platform.of(&entry.fingerprint).is_none() {
            end(stores, control, domain, entry, entries).await?;
        }
    }
    Ok(())
}

/// The generation of this program's fingerprint: one that exists, or a new one, whose tables may have been prepared.
pub(crate) async fn candidate(
    stores: &Stores<'_>,
    control: &Control,
    projection: &dyn Projection,
    log: &dyn EventLog,
    entries: Vec<Entry>,
    prepared: Option<String>,
) -> Result<Entry, TablesError> {
    let (domain, fingerprint) = (projection.domain(), generation::fingerprint(projection)?);
    let last = entries.iter().map(|entry| entry.generation).max().unwrap_or(0);
    let is_own = |entry: &Entry| entry.fingerprint == fingerprint && entry.log_id == log.id();
    let waits = |entry: &Entry| entry.is_candidate() || entry.state == State::Previous;
    for entry in entries.iter().rev().filter(|entry| is_own(entry) && waits(entry)) {
        let generation = entry.generation;
        if is_usable(stores.tables, &entry.schema).await? {
            // A crash may have left it half made.
            fill_schema(stores.tables, &entry.schema, projection, log, true).await?;
            tracing::info!(domain, generation, "generation {generation} of {domain} will take the live one's place");
            return Ok(entry.clone());
        }
        tracing::warn!(domain, generation, "the tables of generation {generation} of {domain} are damaged or gone");
        end(stores, control, domain, entry, &entries).await?;
    }
    let (generation, log_id) = (last + 1, log.id().to_owned());
    if let Some(prepared) = prepared {
        fill_schema(stores.tables, &prepared, projection, log, true).await?;
        let entry = Entry::new(generation, prepared, State::Loading, fingerprint, log_id);
        control.add(domain, entry.clone()).await?;
        tracing::info!(domain, generation, "generation {generation} of {domain} was prepared, and catches up");
        return Ok(entry);
    }
    let schema = stores.tables.schema(domain, generation);
    // The entry comes first: a program that starts after a crash finds it, and removes what was made.
    let entry = Entry::new(generation, schema, State::Loading, fingerprint, log_id);
    control.add(domain, entry.clone()).await?;
    make_tables(stores, &entry, projection, log).await?;
    tracing::info!(domain, generation, "generation {generation} of {domain} is filled from the log");
    Ok(entry)
}

/// Makes the empty tables of a generation. Nothing may be left of others of that name: nobody knows their fold.
pub(crate) async fn make_tables(
    stores: &Stores<'_>,
    entry: &Entry,
    projection: &dyn Projection,
    log: &dyn EventLog,
) -> Result<(), TablesError> {
    remove_index(stores, projection.domain(), entry).await;
    stores.tables.remove(&entry.schema).await?;
    fill_schema(stores.tables, &entry.schema, projection, log, true).await
}

/// Whether the tables of a schema are there and can be read.
pub(crate) async fn is_usable(store: &dyn Store, schema: &str) -> Result<bool, TablesError> {
    let read = async { checkpoints::read(store.open(schema).await?.as_ref()).await };
    match read.await {
        Ok(_) => Ok(true),
        Err(TablesError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends a generation that is not live. Its state is noted first: what is left of it after a crash is removed later.
async fn end(
    stores: &Stores<'_>,
    control: &Control,
    domain: &'static str,
    entry: &Entry,
    entries: &[Entry],
) -> Result<(), TablesError> {
    let (was_live, ended) = (entry.state == State::Previous, GenerationId(entry.generation));
    let state = if was_live { State::Retired } else { State::Cancelled };
    let forget = move |seen: &Seen| match seen.row.previous {
        Some(previous) if previous == ended => Ok(seen.row.retire_alone(seen.now)?),
        _ => Ok(seen.row),
    };
    let noted = control.change(domain, vec![NewState::new(entry.generation, state)], forget).await;
    noted.map_err(unexpected)?;
    remove(stores, domain, entry, entries).await?;
    let (generation, state) = (entry.generation, state.as_str());
    tracing::info!(domain, generation, state, "generation {generation} of {domain} is {state}");
    Ok(())
}

/// Removes the tables and the index of a generation that has ended, as far as they are there. Tables that another of
/// `entries` has, too, are kept. Whether nothing is left: an index that cannot be removed now can be later.
pub(crate) async fn remove(
    stores: &Stores<'_>,
    domain: &'static str,
    entry: &Entry,
    entries: &[Entry],
) -> Result<bool, TablesError> {
    let is_removed = remove_index(stores, domain, entry).await;
    if !entry.shares_tables(entries) {
        stores.tables.remove(&entry.schema).await?;
    }
    Ok(is_removed)
}

/// Whether it is removed. Until then, an index of others is refused when it is opened, and one that is ahead of the tables
/// is built anew.
async fn remove_index(stores: &Stores<'_>, domain: &'static str, entry: &Entry) -> bool {
    let Entry { index, fingerprint, log_id, .. } = entry.clone();
    let Some(Indexes { store, shape }) = &stores.search else { return true };
    let shape = Arc::clone(shape);
    let binding = Binding { log_id, domain: domain.to_owned(), index: index.clone(), fingerprint, shape };
    match store.delete(&binding).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = %error, domain, index, "the index {index} is not removed yet: {error}");
            false
        }
    }
}

/// Makes a generation that has reached the end of the log the live one. A new one must not have put a record into
/// quarantine that the live one has applied.
pub async fn promote(platform: &Platform, candidate: &Generation) -> Result<(), OpenError> {
    let (stores, control) = (&platform.stores(), &platform.control);
    let (domain, to) = (candidate.domain, candidate.number);
    let failed = |source| OpenError::Tables { domain, source };
    let entries = control.generations(domain).await.map_err(failed)?;
    let Some(live) = entries.iter().find(|entry| entry.state == State::Live) else {
        return Err(failed(TablesError::Unavailable("control storage has no live generation".to_owned())));
    };
    let from = live.generation;
    let is_new = entries.iter().any(|entry| entry.generation == to && entry.is_candidate());
    if is_new && is_usable(stores.tables, &live.schema).await.map_err(failed)? {
        let tables = stores.tables.open(&live.schema).await.map_err(failed)?;
        let (before, after) = (quarantined(tables.as_ref()).await, quarantined(candidate.tables.as_ref()).await);
        let (before, mut after) = (before.map_err(failed)?, after.map_err(failed)?);
        after.retain(|position, _| !before.contains_key(position));
        let is_more = platform.settings.limits.quarantined.is_some_and(|max| after.len() as u64 > max);
        if let Some((position, reason)) = after.into_iter().next().filter(|_| is_more) {
            return Err(OpenError::Quarantined { domain, live: from, candidate: to, position, reason });
        }
    }
    // There is at most one previous generation.
    let is_older = |entry: &&Entry| entry.state == State::Previous && entry.generation != to;
    let older: Vec<&Entry> = entries.iter().filter(is_older).collect();
    let switched = [NewState::new(from, State::Previous), NewState::new(to, State::Live)];
    let retired = older.iter().map(|entry| NewState::new(entry.generation, State::Retired));
    let promote = move |seen: &Seen| Ok(seen.row.promote_alone(GenerationId(to), seen.now)?);
    let promoted = control.change(domain, switched.into_iter().chain(retired).collect(), promote).await;
    promoted.map_err(|error| failed(unexpected(error)))?;
    for entry in older {
        remove(stores, domain, entry, &entries).await.map_err(failed)?;
    }
    tracing::info!(domain, from, to, "generation {to} of {domain} is live, {from} is the previous one");
    Ok(())
}

/// The error for a step that the rules must allow, because nobody else changes the control row.
fn unexpected(error: ChangeError) -> TablesError {
    match error {
        ChangeError::Tables(error) => error,
        error => TablesError::Conflict(error.to_string()),
    }
}

/// All records in quarantine, with the reasons.
pub(crate) async fn quarantined(tables: &dyn Tables) -> Result<BTreeMap<Position, String>, TablesError> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = quarantine::list(tables, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.position);
        all.extend(page.into_iter().map(|Quarantined { position, reason, .. }| (position, reason)));
    }
}
