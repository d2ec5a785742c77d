//! Opens a domain's live generation, making the first one where there is none. Every step can be run again, also by
//! several processes at once.

use std::sync::Arc;

use daybook_ingest::log::{self, EventLog};
use daybook_projector::{
    control::{Control, Entry},
    generation::{self, BOOKS, Generation},
    projection::Projection,
    tables::{Statement, Store, Tables, TablesError},
};
use daybook_schemas::position::Partition;

/// Why there is no live generation to work with.
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
        "generation {generation} of {domain} was built from log {built_from}, but this log is {log}: the log was made \
         anew or another one is configured; point to the former log, or to an empty place for tables"
    )]
    OtherLog {
        /// The domain.
        domain: &'static str,
        /// The generation.
        generation: i64,
        /// The log it was built from.
        built_from: String,
        /// The log at hand.
        log: String,
    },
    /// The tables were built by another version of the fold.
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
}

/// Opens the live generation of a projection's domain.
pub async fn open(
    store: &dyn Store,
    control: &Control,
    projection: &dyn Projection,
    log: &dyn EventLog,
) -> Result<Arc<Generation>, OpenError> {
    let domain = projection.domain();
    let failed = |source| OpenError::Tables { domain, source };
    if control.live(domain).await.map_err(failed)?.is_none() {
        make(store, control, projection, log).await.map_err(failed)?;
    }
    let live = control.live(domain).await.map_err(failed)?;
    let entries = control.generations(domain).await.map_err(failed)?;
    let entry = entries.into_iter().find(|entry| Some(entry.generation) == live);
    let entry =
        entry.ok_or_else(|| failed(TablesError::Unavailable("control storage names no live generation".to_owned())))?;
    let (generation, ours) = (entry.generation, generation::fingerprint(projection));
    if entry.log_id != log.id() {
        let (built_from, log) = (entry.log_id, log.id().to_owned());
        return Err(OpenError::OtherLog { domain, generation, built_from, log });
    }
    if entry.fingerprint != ours {
        return Err(OpenError::OtherFingerprint { domain, generation, built: entry.fingerprint, ours });
    }
    let tables = store.open(&entry.schema).await.map_err(failed)?;
    let opened = Generation::new(domain, generation, entry.schema, tables);
    let reached = generation::checkpoints(opened.tables.as_ref()).await.map_err(failed)?;
    opened.note_reached(&reached);
    Ok(Arc::new(opened))
}

/// Makes generation 1: schema, checkpoints at 0, and only then the entry that makes it live.
async fn make(
    store: &dyn Store,
    control: &Control,
    projection: &dyn Projection,
    log: &dyn EventLog,
) -> Result<(), TablesError> {
    let (domain, generation) = (projection.domain(), 1);
    let schema = store.schema(domain, generation);
    let ddl: Vec<&'static Statement> = [&BOOKS].into_iter().chain(projection.ddl().iter().copied()).collect();
    store.create(&schema, &ddl).await?;
    seed(store.open(&schema).await?, log::partitions(log)).await?;
    let fingerprint = generation::fingerprint(projection);
    let entry = Entry { generation, schema, state: "live".to_owned(), fingerprint, log_id: log.id().to_owned() };
    control.add_first(domain, entry).await?;
    tracing::info!(domain, generation, "generation {generation} of {domain} made");
    Ok(())
}

async fn seed(tables: Arc<dyn Tables>, partitions: Vec<Partition>) -> Result<(), TablesError> {
    let seed = move || {
        let mut transaction = tables.begin()?;
        generation::seed_checkpoints(transaction.as_mut(), &partitions)?;
        transaction.commit()
    };
    let seeded = tokio::task::spawn_blocking(seed).await;
    seeded.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("seeding checkpoints ended: {e}"))))
}
