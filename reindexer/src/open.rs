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
    plan,
    running::Platform,
    upgrade::{self, Stores},
};

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
         recreated or another one is configured; point to the former log, or to an empty place for tables"
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
    },
    /// The log does not contain what the tables have applied.
    #[error("generation {generation} of {domain} does not belong to this log")]
    NotInLog {
        /// The domain.
        domain: &'static str,
        /// The generation.
        generation: i64,
        /// What it does not contain.
        source: Mismatch,
    },
    /// The log failed.
    #[error("cannot compare the live generation of {domain} with the log")]
    Log {
        /// The domain.
        domain: &'static str,
        /// What failed.
        source: LogError,
    },
    /// The tables were built by another version of the fold, and other processes may use them.
    #[error(
        "generation {generation} of {domain} has fingerprint {built}, this program builds {ours}: run the version that \
         built it, or point to an empty place for tables, which is then filled from the log"
    )]
    OtherFingerprint {
        /// The domain.
        domain: &'static str,
        /// The generation.
        generation: i64,
        /// The fingerprint in control storage.
        built: String,
        /// This program's.
        ours: String,
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
    let Platform { control, projection, log, .. } = platform;
    let (stores, projection) = (&platform.stores(), projection.as_ref());
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
    let (generation, ours) = (entry.generation, generation::fingerprint(projection).map_err(failed)?);
    if entry.log_id != log.id() {
        let (built_from, log) = (entry.log_id, log.id().to_owned());
        return Err(OpenError::OtherLog { domain, generation, built_from, log });
    }
    let is_live = entry.fingerprint == ours;
    if store.shared() && !is_live {
        return Err(OpenError::OtherFingerprint { domain, generation, built: entry.fingerprint, ours });
    }
    let opened = if store.shared() {
        entry
    } else {
        upgrade::tidy(stores, control, domain, &ours, &entries).await.map_err(failed)?;
        let is_usable = upgrade::is_usable(store, &entry.schema).await.map_err(failed)?;
        // Before another generation takes its place: a log that lost records would pass for the whole one.
        if is_usable && !is_live {
            check(domain, generation, store.open(&entry.schema).await.map_err(failed)?, log).await?;
        }
        if !is_live {
            upgrade::candidate(stores, control, projection, log.as_ref(), entries).await.map_err(failed)?
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

/// Opens a generation beside the live one.
pub(crate) async fn open_entry(platform: &Platform, entry: &Entry) -> Result<Arc<Generation>, OpenError> {
    let (domain, store) = (platform.domain(), platform.control.store());
    let failed = |source| OpenError::Tables { domain, source };
    let generation = open_tables(store.as_ref(), platform.projection.as_ref(), &platform.log, entry.clone()).await?;
    plan::note_parts(platform, generation.number).await.map_err(failed)?;
    if !store.shared() {
        // A crash between two files may have left it otherwise.
        set_live(&generation, entry.state == State::Live).await.map_err(failed)?;
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
    let tables = store.open(&entry.schema).await.map_err(failed)?;
    check(domain, entry.generation, Arc::clone(&tables), log).await?;
    let generation = Generation::new(projection, entry.generation, entry.schema, tables).map_err(failed)?;
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

/// Checks that the log contains what a generation has applied.
async fn check(
    domain: &'static str,
    generation: i64,
    tables: Arc<dyn Tables>,
    log: &Arc<dyn EventLog>,
) -> Result<(), OpenError> {
    let log = Arc::clone(log);
    let checked = tokio::task::spawn_blocking(move || log_check::check(log.as_ref(), tables.as_ref())).await;
    checked.unwrap_or_else(|e| Err(LogError::Unavailable(format!("the check ended: {e}")).into())).map_err(|error| {
        match error {
            CheckError::Mismatch(source) => OpenError::NotInLog { domain, generation, source },
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
