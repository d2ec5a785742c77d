//! Opens the generation of a domain that this program works with: the live one. The first one is created if there is
//! none. Every step can be repeated, also by several processes concurrently.

use std::sync::Arc;

use daybook_ingest::log::{self, EventLog, LogError};
use daybook_projector::{
    bookkeeping::checkpoints,
    generation::{self, Generation},
    log_check::{self, CheckError, Mismatch},
    projection::Projection,
    tables::{Store, Tables, TablesError},
};
use daybook_schemas::position::{Partition, Position};

use crate::{
    control::{Control, Entry, State},
    plan, prepare,
    running::Platform,
    switch::control::ControlRow,
    until::Until,
    upgrade::{self, Stores},
};

/// What the rebuild is called that a new version of the program begins by itself.
const UPGRADE: &str = "upgrade";

/// Why the live generation cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The tables failed.
    #[error("cannot open the live generation of {domain}")]
    Tables {
        /// The domain.
        domain: &'static str,
        /// What failed.
        source: TablesError,
    },
    /// The tables were built from another log than this one.
    #[error(
        "generation {generation} of {domain} was built from log {built_from}, but this log is {log}: the log was \
         recreated or another one is configured; point to the former log, or to an empty place for tables{places}"
    )]
    OtherLog {
        /// The domain.
        domain: &'static str,
        /// The generation.
        generation: i64,
        /// The log it was built from.
        built_from: String,
        /// The configured log.
        log: String,
        /// Which log and tables these are.
        places: String,
    },
    /// The log does not contain what the tables have applied.
    #[error("generation {generation} of {domain} does not belong to this log{places}")]
    NotInLog {
        /// The domain.
        domain: &'static str,
        /// The generation.
        generation: i64,
        /// What it does not contain.
        source: Mismatch,
        /// Which log and tables these are.
        places: String,
    },
    /// The log failed.
    #[error("cannot compare the live generation of {domain} with the log")]
    Log {
        /// The domain.
        domain: &'static str,
        /// What failed.
        source: LogError,
    },
    /// Another program's rebuild of the domain is under way.
    #[error(
        "generation {live} of {domain} belongs to another version of this program, and so does generation {other}, which \
         is {state}: promote or cancel that one first"
    )]
    OtherRebuild {
        /// The domain.
        domain: &'static str,
        /// The live generation.
        live: i64,
        /// The one that is being built.
        other: i64,
        /// Its state.
        state: &'static str,
    },
    /// This program's fold refuses a record that the live generation has applied.
    #[error(
        "generation {candidate} of {domain} cannot take the place of generation {live}: it refuses {position}, which that \
         one has applied: {reason}; run the version that built generation {live}"
    )]
    Quarantined {
        /// The domain.
        domain: &'static str,
        /// The live generation.
        live: i64,
        /// The generation that this program has built.
        candidate: i64,
        /// The first such record.
        position: Position,
        /// Why it is refused.
        reason: String,
    },
}

impl OpenError {
    /// Whether the log is the reason, and trying again does not help.
    pub(crate) const fn is_of_log(&self) -> bool {
        matches!(self, Self::Log { source: LogError::Damaged(_), .. })
    }
}

/// The generation that a program works with.
pub struct Opened {
    /// The generation.
    pub generation: Arc<Generation>,
    /// Whether it is live. If not, it has to be brought up to date and promoted before it answers.
    pub is_live: bool,
}

/// Opens the live generation of a projection's domain, or the one that takes its place because this program's fold is
/// another one.
pub async fn open(platform: &Platform) -> Result<Opened, OpenError> {
    let Platform { control, version, log, .. } = platform;
    let (stores, projection, ours) = (&platform.stores(), version.projection.as_ref(), version.fingerprint.as_str());
    let (domain, store) = (projection.domain(), stores.tables);
    let failed = |source| OpenError::Tables { domain, source };
    if control.live(domain).await.map_err(failed)?.is_none() {
        make(stores, control, projection, log.as_ref()).await.map_err(failed)?;
    }
    let live = control.live(domain).await.map_err(failed)?;
    let entries = control.generations(domain).await.map_err(failed)?;
    let entry = entries.iter().find(|entry| Some(entry.generation) == live).cloned();
    let entry =
        entry.ok_or_else(|| failed(TablesError::Unavailable("control storage has no live generation".to_owned())))?;
    let generation = entry.generation;
    let places = places(log.as_ref(), store);
    if entry.log_id != log.id() {
        let (built_from, log) = (entry.log_id, log.id().to_owned());
        return Err(OpenError::OtherLog { domain, generation, built_from, log, places });
    }
    let is_live = entry.fingerprint == ours;
    let opened = if store.shared() && is_live {
        entry
    } else if store.shared() {
        // Nothing is made beside tables that hold what this log does not.
        check(domain, generation, store.open(&entry.schema).await.map_err(failed)?, log, &places).await?;
        beside(platform, &entry).await?
    } else {
        upgrade::tidy(stores, platform, &entries).await.map_err(failed)?;
        let is_usable = upgrade::is_usable(store, &entry.schema).await.map_err(failed)?;
        // Before another generation takes its place: a log that lost records would pass for the whole one.
        if is_usable && !is_live {
            check(domain, generation, store.open(&entry.schema).await.map_err(failed)?, log, &places).await?;
        }
        if !is_live {
            let prepared = prepare::find(platform, &entries).await?;
            upgrade::candidate(stores, control, projection, log.as_ref(), entries, prepared).await.map_err(failed)?
        } else {
            if is_usable {
                // A crash may have left them half made.
                fill_schema(store, &entry.schema, projection, log.as_ref(), true).await.map_err(failed)?;
            } else {
                tracing::warn!(
                    domain,
                    generation,
                    "the tables of generation {generation} are made anew: damaged or gone"
                );
                upgrade::make_tables(stores, &entry, projection, log.as_ref()).await.map_err(failed)?;
            }
            entry
        }
    };
    let generation = open_tables(store, projection, log, opened).await?;
    plan::note_parts(platform, generation.number).await.map_err(failed)?;
    if !store.shared() {
        // Nobody else applies records, and no other generation has applied more.
        set_live(&generation, true).await.map_err(failed)?;
    }
    Ok(Opened { generation, is_live })
}

/// The generation of this program's fingerprint beside the live one, which another version of the program has built and
/// serves: one that exists, or a new one. It answers once it is promoted.
async fn beside(platform: &Platform, live: &Entry) -> Result<Entry, OpenError> {
    let (domain, control) = (platform.domain(), &platform.control);
    let failed = |source| OpenError::Tables { domain, source };
    let ours = platform.version.fingerprint.clone();
    let (store, log_id, of_live) = (Arc::clone(control.store()), platform.log.id().to_owned(), live.generation);
    let decide = move |row: &ControlRow, entries: Vec<Entry>| {
        let waits = |entry: &&Entry| entry.is_candidate() || entry.state == State::Previous;
        let is_own = |entry: &&Entry| entry.fingerprint == ours && entry.log_id == log_id;
        if let Some(own) = entries.iter().rev().filter(waits).find(is_own) {
            return Ok(own.clone());
        }
        if let Some(other) = entries.iter().find(|entry| entry.is_candidate()) {
            let (other, state) = (other.generation, other.state.as_str());
            return Err(BesideError::Other { other, state });
        }
        let last = entries.iter().map(|entry| entry.generation).fold(row.live.0, i64::max);
        let entry = Entry::new(last + 1, store.schema(domain, last + 1), State::Planned, ours, log_id);
        Ok(Entry { label: UPGRADE.to_owned(), ..entry })
    };
    let entry = control.add_new(domain, decide).await.map_err(|error| match error {
        BesideError::Tables(source) => failed(source),
        BesideError::Other { other, state } => OpenError::OtherRebuild { domain, live: of_live, other, state },
    })?;
    let (generation, live) = (entry.generation, of_live);
    tracing::info!(
        domain,
        generation,
        "generation {live} of {domain} belongs to another version of this program: generation {generation} is built beside \
         it, and answers once it is promoted"
    );
    make_candidate(platform, &entry).await?;
    Ok(entry)
}

/// Why a program has no generation beside the live one.
enum BesideError {
    Tables(TablesError),
    /// Another one is being built.
    Other {
        other: i64,
        state: &'static str,
    },
}

impl From<TablesError> for BesideError {
    fn from(error: TablesError) -> Self {
        Self::Tables(error)
    }
}

/// Makes the empty tables of a generation whose number is taken. Can be repeated.
pub(crate) async fn make_candidate(platform: &Platform, entry: &Entry) -> Result<(), OpenError> {
    let (domain, control) = (platform.domain(), &platform.control);
    let failed = |source| OpenError::Tables { domain, source };
    if entry.state != State::Planned {
        return Ok(());
    }
    let (log, of_task) = (Arc::clone(&platform.log), Arc::clone(&platform.version.projection));
    let until = entry.until.parse::<Until>().ok().filter(|_| entry.is_past());
    let read = move || {
        let end = log.end(&of_task.topics())?;
        until.map_or(Ok(end.clone()), |until| until.vector(of_task.as_ref(), log.as_ref(), &end))
    };
    let goal = tokio::task::spawn_blocking(read).await;
    let goal = goal.unwrap_or_else(|e| Err(LogError::Unavailable(format!("reading the end of the log ended: {e}"))));
    let goal = goal.map_err(|source| OpenError::Log { domain, source })?;
    let (store, projection) = (control.store().as_ref(), platform.version.projection.as_ref());
    if !entry.is_search_only() {
        fill_schema(store, &entry.schema, projection, platform.log.as_ref(), false).await.map_err(failed)?;
    }
    let number = entry.generation;
    match control.begin_load(domain, number, goal.to_string()).await.map_err(failed)? {
        Some(State::Planned) => {
            tracing::info!(domain, generation = number, "generation {number} of {domain} is loading")
        }
        // It was cancelled meanwhile, or a deadline has stopped it, and what others have made is kept.
        Some(state) if state.has_ended() => {
            let entries = control.generations(domain).await.map_err(failed)?;
            let is_kept = entries.iter().any(|it| it.generation == number && !it.is_gone());
            if is_kept {
                return Ok(());
            }
            upgrade::remove(&platform.stores(), domain, entry, &entries).await.map_err(failed)?;
        }
        // Somebody else was faster.
        _ => {}
    }
    Ok(())
}

/// Opens a generation whose tables are there, and notes nothing: one that is live although it belongs to another version
/// of the program, or one that is prepared.
pub(crate) async fn open_other(platform: &Platform, entry: &Entry) -> Result<Arc<Generation>, OpenError> {
    let store = platform.control.store().as_ref();
    open_tables(store, platform.version.projection.as_ref(), &platform.log, entry.clone()).await
}

/// Opens a generation beside the live one. `is_live` says whether its tables are the live ones.
pub(crate) async fn open_entry(
    platform: &Platform,
    entry: &Entry,
    is_live: bool,
) -> Result<Arc<Generation>, OpenError> {
    let (domain, store) = (platform.domain(), platform.control.store());
    let failed = |source| OpenError::Tables { domain, source };
    let generation =
        open_tables(store.as_ref(), platform.version.projection.as_ref(), &platform.log, entry.clone()).await?;
    plan::note_parts(platform, generation.number).await.map_err(failed)?;
    if !store.shared() {
        // A crash between two files may have left it otherwise.
        set_live(&generation, is_live).await.map_err(failed)?;
    }
    Ok(generation)
}

async fn open_tables(
    store: &dyn Store,
    projection: &dyn Projection,
    log: &Arc<dyn EventLog>,
    entry: Entry,
) -> Result<Arc<Generation>, OpenError> {
    let domain = projection.domain();
    let failed = |source| OpenError::Tables { domain, source };
    let (is_past, places) = (entry.is_past(), places(log.as_ref(), store));
    let tables = store.open(&entry.schema).await.map_err(failed)?;
    check(domain, entry.generation, Arc::clone(&tables), log, &places).await?;
    let end = entry.goal.parse().ok().filter(|_| is_past);
    let generation = Generation::new(projection, entry.generation, entry.schema, tables).map_err(failed)?;
    let generation = generation.with_index(entry.generation, entry.index).at(places).ending_at(end);
    let reached = checkpoints::read(generation.tables.as_ref()).await.map_err(failed)?;
    generation.note_reached(&reached);
    Ok(Arc::new(generation))
}

/// Notes in a generation's checkpoints whether it is live.
async fn set_live(generation: &Generation, is_live: bool) -> Result<(), TablesError> {
    generation.tables.write(&checkpoints::SET_LIVE, vec![i64::from(is_live).into()]).await.map(|_| ())
}

/// Creates generation 1: schema, checkpoints at 0, and then the entry that makes it live.
async fn make(
    stores: &Stores<'_>,
    control: &Control,
    projection: &dyn Projection,
    log: &dyn EventLog,
) -> Result<(), TablesError> {
    let (domain, generation) = (projection.domain(), 1);
    let schema = stores.tables.schema(domain, generation);
    let fingerprint = generation::fingerprint(projection)?;
    let entry = Entry::new(generation, schema, State::Live, fingerprint, log.id().to_owned());
    if stores.tables.shared() {
        // Another process may do the same.
        fill_schema(stores.tables, &entry.schema, projection, log, true).await?;
    } else {
        upgrade::make_tables(stores, &entry, projection, log).await?;
    }
    control.add_first(domain, entry).await?;
    tracing::info!(domain, generation, "generation {generation} of {domain} created");
    Ok(())
}

/// Makes the empty tables of a generation, with checkpoints at 0.
pub(crate) async fn fill_schema(
    store: &dyn Store,
    schema: &str,
    projection: &dyn Projection,
    log: &dyn EventLog,
    is_live: bool,
) -> Result<(), TablesError> {
    store.create(schema, &generation::definition(projection)?).await?;
    let topics = projection.topics();
    let own = log::partitions(log).into_iter().filter(|partition| topics.contains(&partition.topic)).collect();
    seed(store.open(schema).await?, own, is_live).await
}

/// Which log and tables these are, for a person who has to change one of them.
fn places(log: &dyn EventLog, store: &dyn Store) -> String {
    format!(" (the log: {}; to empty the tables, remove {})", log.describe(), store.contents())
}

/// Checks that the log contains what a generation has applied.
async fn check(
    domain: &'static str,
    generation: i64,
    tables: Arc<dyn Tables>,
    log: &Arc<dyn EventLog>,
    places: &str,
) -> Result<(), OpenError> {
    let log = Arc::clone(log);
    let checked = tokio::task::spawn_blocking(move || log_check::check(log.as_ref(), tables.as_ref())).await;
    checked.unwrap_or_else(|e| Err(LogError::Unavailable(format!("the check ended: {e}")).into())).map_err(|error| {
        match error {
            CheckError::Mismatch(source) => {
                let places = if source.is_healed_by_empty_tables() { places.to_owned() } else { String::new() };
                OpenError::NotInLog { domain, generation, source, places }
            }
            CheckError::Log(source) => OpenError::Log { domain, source },
            CheckError::Tables(source) => OpenError::Tables { domain, source },
        }
    })
}

async fn seed(tables: Arc<dyn Tables>, partitions: Vec<Partition>, is_live: bool) -> Result<(), TablesError> {
    let seed = move || {
        let mut transaction = tables.begin()?;
        checkpoints::seed(transaction.as_mut(), &partitions, is_live)?;
        transaction.commit()
    };
    let seeded = tokio::task::spawn_blocking(seed).await;
    seeded.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("seeding checkpoints ended: {e}"))))
}
