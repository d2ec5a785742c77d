//! Opens a domain's live generation, and creates the first one if there is none. Every step can be repeated, also by
//! several processes concurrently.

use std::sync::Arc;

use daybook_ingest::log::{self, EventLog};
use daybook_projector::{
    bookkeeping::checkpoints,
    control::{Control, Entry},
    generation::{self, Generation},
    projection::Projection,
    tables::{Store, Tables, TablesError},
};
use daybook_schemas::position::{Partition, Vector};

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
    /// The log has lost records that the tables were built from.
    #[error(
        "generation {generation} of {domain} has applied {partition} up to offset {checkpoint}, but the log ends at {end}: \
         the log was truncated or restored from an older state; point to the complete log, or to an empty place for tables"
    )]
    Truncated {
        /// The domain.
        domain: &'static str,
        /// The generation.
        generation: i64,
        /// The partition that is too short.
        partition: Partition,
        /// The next offset that the tables would apply.
        checkpoint: i64,
        /// The offset of the log's next record.
        end: i64,
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
    log: &Arc<dyn EventLog>,
) -> Result<Arc<Generation>, OpenError> {
    let domain = projection.domain();
    let failed = |source| OpenError::Tables { domain, source };
    if control.live(domain).await.map_err(failed)?.is_none() {
        make(store, control, projection, log.as_ref()).await.map_err(failed)?;
    }
    let live = control.live(domain).await.map_err(failed)?;
    let entries = control.generations(domain).await.map_err(failed)?;
    let entry = entries.into_iter().find(|entry| Some(entry.generation) == live);
    let entry =
        entry.ok_or_else(|| failed(TablesError::Unavailable("control storage has no live generation".to_owned())))?;
    let (generation, ours) = (entry.generation, generation::fingerprint(projection).map_err(failed)?);
    if entry.log_id != log.id() {
        let (built_from, log) = (entry.log_id, log.id().to_owned());
        return Err(OpenError::OtherLog { domain, generation, built_from, log });
    }
    if entry.fingerprint != ours {
        return Err(OpenError::OtherFingerprint { domain, generation, built: entry.fingerprint, ours });
    }
    let tables = store.open(&entry.schema).await.map_err(failed)?;
    let opened = Generation::new(projection, generation, entry.schema, tables).map_err(failed)?;
    let reached = checkpoints::read(opened.tables.as_ref()).await.map_err(failed)?;
    let end = end_of(log).await.map_err(failed)?;
    if let Some((partition, checkpoint)) = reached.0.iter().find(|(partition, next)| end.next(**partition) < **next) {
        let (partition, checkpoint, end) = (*partition, *checkpoint, end.next(*partition));
        return Err(OpenError::Truncated { domain, generation, partition, checkpoint, end });
    }
    opened.note_reached(&reached);
    Ok(Arc::new(opened))
}

/// Creates generation 1: schema, checkpoints at 0, and then the entry that makes it live.
async fn make(
    store: &dyn Store,
    control: &Control,
    projection: &dyn Projection,
    log: &dyn EventLog,
) -> Result<(), TablesError> {
    let (domain, generation) = (projection.domain(), 1);
    let schema = store.schema(domain, generation);
    store.create(&schema, &generation::definition(projection)?).await?;
    let topics = projection.topics();
    let own = log::partitions(log).into_iter().filter(|partition| topics.contains(&partition.topic)).collect();
    seed(store.open(&schema).await?, own).await?;
    let fingerprint = generation::fingerprint(projection)?;
    let entry = Entry { generation, schema, state: "live".to_owned(), fingerprint, log_id: log.id().to_owned() };
    control.add_first(domain, entry).await?;
    tracing::info!(domain, generation, "generation {generation} of {domain} created");
    Ok(())
}

/// Where the log ends.
async fn end_of(log: &Arc<dyn EventLog>) -> Result<Vector, TablesError> {
    let log = Arc::clone(log);
    let end = tokio::task::spawn_blocking(move || log.end().map_err(|error| error.to_string())).await;
    let end = end.unwrap_or_else(|error| Err(error.to_string()));
    end.map_err(|error| TablesError::Unavailable(format!("cannot read where the log ends: {error}")))
}

async fn seed(tables: Arc<dyn Tables>, partitions: Vec<Partition>) -> Result<(), TablesError> {
    let seed = move || {
        let mut transaction = tables.begin()?;
        checkpoints::seed(transaction.as_mut(), &partitions)?;
        transaction.commit()
    };
    let seeded = tokio::task::spawn_blocking(seed).await;
    seeded.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("seeding checkpoints ended: {e}"))))
}
