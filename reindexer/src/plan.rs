//! What a rebuild would do: which parts have changed since the live generation was built, how much it reads, how long that
//! takes, and how much disk it needs. Nothing is changed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use daybook_ingest::log::{EventLog, LogError, ReadLimits};
use daybook_projector::{
    parts::{self, Fingerprints, NAMES},
    space::Space,
    tables::TablesError,
};
use daybook_schemas::position::Vector;
use serde::Serialize;

use crate::{
    control::{Control, Entry, notes::Notes},
    rebuilds::{Rebuilds, RequestError},
    running::Platform,
    version::Version,
};

/// Events a second, if no rebuild was measured (`docs/PERFORMANCE.md` has what was measured elsewhere).
const EVENTS_PER_SECOND: f64 = 10_000.0;
/// Records that a rebuild must have had for its pace to say something about others.
const MEASURED_RECORDS_MIN: i64 = 1000;
/// Places of each partition at which records are read to estimate the bytes of the log.
const SAMPLES: i64 = 3;
/// Records and bytes that are read at each of these places.
const SAMPLE: ReadLimits = ReadLimits { records_max: 300, bytes_max: 1 << 20, wait: Duration::from_secs(2) };
/// Names of notes in control storage.
const PARTS: &str = "parts";
const READY_MS: &str = "ready_ms";
/// The part that settings shape.
const CONFIGURATION: &str = "configuration";
/// The parts that shape tables.
const TABLES: [&str; 2] = ["ddl", "projector"];
/// The part that documents shape.
const MAPPING: &str = "mapping";

/// What a rebuild would do.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The domain.
    pub domain: &'static str,
    /// The number that the generation would get.
    pub generation: i64,
    /// The live generation.
    pub live: i64,
    /// What would be built.
    pub rebuilds: Vec<&'static str>,
    /// The parts that shape a generation.
    pub parts: Vec<Part>,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// Why it cannot begin now.
    pub blocked_by: Option<String>,
    /// Records that it would apply.
    pub events: i64,
    /// Bytes of these records, estimated from some of them; `None` if they cannot be read now.
    pub log_bytes: Option<u64>,
    /// Records a second on which the estimated time is based.
    pub events_per_second: f64,
    /// The generation whose rebuild had this pace; `None` if none was measured.
    pub measured_by: Option<i64>,
    /// Seconds until it is ready.
    pub estimated_seconds: f64,
    /// What it needs of disks.
    pub disk: Disk,
}

/// A part that shapes a generation.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Its name.
    pub part: &'static str,
    /// Its fingerprint in the live generation; `None` if that is not known.
    pub live: Option<String>,
    /// Its fingerprint in this program.
    pub program: String,
    /// Whether it has changed.
    pub changed: bool,
}

/// What a rebuild needs of disks.
#[derive(Debug, Clone, Serialize)]
pub struct Disk {
    /// Bytes that the new tables will take: about as many as the live ones.
    pub tables_bytes: u64,
    /// Bytes that are free where the tables are; `None` if the engine does not tell.
    pub tables_free_bytes: Option<u64>,
    /// Bytes of the live index; `None` without one, or if it does not answer.
    pub index_bytes: Option<u64>,
    /// Bytes that are free where the indexes are.
    pub index_free_bytes: Option<u64>,
    /// Bytes of both.
    pub needed_bytes: u64,
    /// Whether that fits; `None` if not everything is known.
    pub enough: Option<bool>,
}

impl Rebuilds {
    /// What a rebuild would do, of everything or of the index alone.
    pub async fn plan(&self, only_search: bool) -> Result<Plan, RequestError> {
        if only_search {
            self.check_only_search(false)?;
        }
        let (live, entries) = self.live_and_all().await?;
        let notes = self.platform.control.notes(self.domain()).await?;
        let (mut newest, mut foreign) = (self.platform.newest(), None);
        if only_search {
            match self.version_on(&live).await {
                Ok(version) => newest.version = version,
                Err(error) => foreign = Some(error.to_string()),
            }
        }
        self.check_shape(&newest.version).await?;
        let parts = parts_of(&newest, notes.get(&live.generation), &live)?;
        let candidate = entries.iter().find(|entry| entry.is_under_way());
        let log = Arc::clone(&self.platform.log);
        let topics = newest.version.projection.topics();
        let read = tokio::task::spawn_blocking(move || {
            let end = log.end(&topics)?;
            let bytes = estimate_bytes(log.as_ref(), &end).ok();
            Ok::<_, LogError>((end.count(), bytes))
        });
        let (events, log_bytes) =
            read.await.map_err(|error| LogError::Unavailable(format!("reading the log ended: {error}")))??;
        let (events_per_second, measured_by) = pace(&entries, &notes, only_search);
        let index = self.platform.indexes.as_ref().and(newest.version.documents.as_ref());
        let last = entries.iter().map(|entry| entry.generation).fold(live.generation, i64::max);
        Ok(Plan {
            domain: self.domain(),
            generation: last + 1,
            live: live.generation,
            rebuilds: [(!only_search).then_some("tables"), index.map(|_| "search")].into_iter().flatten().collect(),
            reasons: reasons(&live, &parts, only_search),
            parts,
            blocked_by: candidate.map(|candidate| self.is_held_by(candidate)).or(foreign),
            events: if only_search { 0 } else { events },
            log_bytes: if only_search { Some(0) } else { log_bytes },
            events_per_second,
            measured_by,
            estimated_seconds: (events as f64 / events_per_second).ceil().max(1.0),
            disk: self.disk(&live, only_search).await?,
        })
    }

    /// Whether nothing but the documents has changed since the live generation was built: its tables can be kept.
    pub async fn has_changed_only_documents(&self) -> Result<bool, RequestError> {
        let (live, _) = self.live_and_all().await?;
        let notes = self.platform.control.notes(self.domain()).await?;
        let parts = parts_of(&self.platform.newest(), notes.get(&live.generation), &live)?;
        Ok(parts.iter().filter(|part| part.changed).map(|part| part.part).eq([MAPPING]))
    }

    /// The version with which an index is built for the live tables: the newest one if it makes the same tables, else the one
    /// that made them.
    pub(crate) async fn version_on(&self, live: &Entry) -> Result<Version, RequestError> {
        let (domain, newest) = (self.domain(), self.platform.newest());
        if newest.version.fingerprint == live.fingerprint {
            return Ok(newest.version);
        }
        let notes = self.platform.control.notes(domain).await?;
        let parts = parts_of(&newest, notes.get(&live.generation), live)?;
        let mut of_tables = parts.iter().filter(|part| TABLES.contains(&part.part));
        if of_tables.all(|part| part.live.as_ref() == Some(&part.program)) {
            return Ok(newest.version);
        }
        let other = || {
            RequestError::Conflict(format!(
                "the live generation of {domain} belongs to another version of this program, which has other tables: \
                 rebuild everything"
            ))
        };
        self.platform.of(&live.fingerprint).map(|platform| platform.version).ok_or_else(other)
    }

    /// Refuses a version whose index the search store cannot make.
    pub(crate) async fn check_shape(&self, version: &Version) -> Result<(), RequestError> {
        match (&self.platform.indexes, &version.documents) {
            (Some(store), Some(documents)) => Ok(store.check_shape(&documents.shape()).await?),
            _ => Ok(()),
        }
    }

    async fn disk(&self, live: &Entry, only_search: bool) -> Result<Disk, RequestError> {
        let store = self.platform.control.store();
        let mut tables = store.space(&live.schema).await?;
        if only_search {
            tables.used = 0;
        }
        let open = self.serving.borrow().open.get(&live.generation).cloned();
        let platform = self.platform.of(&live.fingerprint);
        let binding = platform.zip(open).and_then(|(platform, open)| platform.binding(&open.generation));
        let index = match self.platform.indexes.as_ref().zip(binding) {
            Some((indexes, binding)) => indexes.space(&binding).await.ok(),
            None => None,
        };
        let Space { used, free } = index.unwrap_or_default();
        let needed_bytes = tables.used + used;
        // Embedded, both are on one disk.
        let enough = match (tables.free, free) {
            (Some(free), _) if !store.shared() => Some(needed_bytes <= free),
            (Some(of_tables), Some(of_index)) => Some(tables.used <= of_tables && used <= of_index),
            _ => None,
        };
        Ok(Disk {
            tables_bytes: tables.used,
            tables_free_bytes: tables.free,
            index_bytes: index.map(|index| index.used),
            index_free_bytes: free,
            needed_bytes,
            enough,
        })
    }
}

/// The parts of a version beside those of the live generation.
fn parts_of(newest: &Platform, notes: Option<&Notes>, live: &Entry) -> Result<Vec<Part>, TablesError> {
    let ours = of_program(newest)?;
    let of_live = notes.and_then(|notes| notes.get(PARTS)).and_then(|text| known(text));
    let is_other = live.fingerprint != newest.version.fingerprint;
    let part = |(index, (part, program)): (usize, (&'static str, String))| {
        let live = of_live.as_ref().map(|of_live| of_live[index].clone());
        // Of a generation without notes, only the fingerprint of the whole is known.
        let changed = live.as_ref().map_or(is_other && part != CONFIGURATION, |live| *live != program);
        Part { part, live, program, changed }
    };
    Ok(NAMES.into_iter().zip(ours).enumerate().map(part).collect())
}

fn reasons(live: &Entry, parts: &[Part], only_search: bool) -> Vec<String> {
    let number = live.generation;
    if parts.iter().any(|part| part.changed && part.live.is_none()) {
        return vec![format!("generation {number} was built by another version; which parts differ is not known")];
    }
    let changed = parts.iter().filter(|part| part.changed);
    let reason = |part: &Part| {
        let before = part.live.as_deref().unwrap_or("unknown");
        format!("{} has changed since generation {number} was built: {before} is now {}", part.part, part.program)
    };
    let reasons: Vec<String> = changed.map(reason).collect();
    match reasons.is_empty() {
        true => {
            let what = if only_search { "the index" } else { "everything" };
            vec![format!("nothing has changed: {what} is rebuilt because it is asked for")]
        }
        false => reasons,
    }
}

/// The pace of the newest rebuild of the same parts that was measured: records of the log a second, and its generation.
fn pace(entries: &[Entry], notes: &BTreeMap<i64, Notes>, only_search: bool) -> (f64, Option<i64>) {
    let measured = |entry: &Entry| {
        let records = entry.goal.parse::<Vector>().ok()?.count();
        let ms = notes.get(&entry.generation)?.get(READY_MS)?.parse::<i64>().ok()?.max(1);
        (records >= MEASURED_RECORDS_MIN).then(|| (records as f64 * 1000.0 / ms as f64, Some(entry.generation)))
    };
    let mut same = entries.iter().rev().filter(|entry| entry.is_search_only() == only_search);
    same.find_map(measured).unwrap_or((EVENTS_PER_SECOND, None))
}

/// Bytes of keys and values of all records before `end`, estimated from some records of each third of each partition.
fn estimate_bytes(log: &dyn EventLog, end: &Vector) -> Result<u64, LogError> {
    let (mut records, mut bytes) = (0_u64, 0_u64);
    for sample in 0..SAMPLES {
        let places = end.0.iter().map(|(partition, end)| (*partition, end * sample / SAMPLES));
        let from = Vector(places.filter(|(partition, from)| *from < end.next(*partition)).collect());
        if from.0.is_empty() {
            continue;
        }
        for record in log.reader(&from)?.read(SAMPLE)? {
            records += 1;
            bytes += (record.value.len() + record.key.as_ref().map_or(0, |key| key.len())) as u64;
        }
    }
    let all = u64::try_from(end.count()).unwrap_or(0);
    Ok(bytes.saturating_mul(all).checked_div(records).unwrap_or(0))
}

/// The fingerprints of this program's parts.
fn of_program(platform: &Platform) -> Result<Fingerprints, TablesError> {
    let shape = platform.stores().search.map(|indexes| indexes.shape);
    parts::fingerprints(platform.version.projection.as_ref(), shape.as_deref())
}

/// Fingerprints as they were noted; none if another version noted other parts.
fn known(text: &str) -> Option<Fingerprints> {
    let parts: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
    let found = NAMES.map(|name| parts.get(name).cloned());
    found.iter().all(Option::is_some).then(|| found.map(Option::unwrap_or_default))
}

/// Notes the parts of a generation that this program has opened, for plans of later programs.
pub(crate) async fn note_parts(platform: &Platform, generation: i64) -> Result<(), TablesError> {
    let parts: BTreeMap<&str, String> = NAMES.into_iter().zip(of_program(platform)?).collect();
    let text = serde_json::to_string(&parts).unwrap_or_default();
    platform.control.note(platform.domain(), generation, PARTS, text).await
}

/// Whether the live generation was opened with another configuration than this program's, as far as that is known.
pub(crate) async fn configuration_differs(platform: &Platform, live: &Entry) -> Result<bool, TablesError> {
    let notes = platform.control.notes(platform.domain()).await?;
    let of_live = notes.get(&live.generation).and_then(|notes| notes.get(PARTS)).and_then(|text| known(text));
    let of = |parts: Fingerprints| NAMES.into_iter().zip(parts).find(|(name, _)| *name == CONFIGURATION);
    let ours = of(of_program(platform)?);
    Ok(of_live.is_some_and(|of_live| of(of_live) != ours))
}

/// Notes how long a rebuild took until it was ready, for estimates of later ones.
pub(crate) async fn note_ready(control: &Control, domain: &str, entry: &Entry) -> Result<(), TablesError> {
    // One that was resumed, or is verified again, says nothing about that.
    if entry.began_at != entry.created_at {
        return Ok(());
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let took = i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_sub(entry.created_at);
    control.note(domain, entry.generation, READY_MS, took.max(1).to_string()).await
}
