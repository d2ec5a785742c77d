//! Watches which state the generations of a place are in, as control storage shows it.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use daybook_projector::tables::{
    Store, TablesError,
    postgres::{Address, Config, PostgresStore},
    sqlite::SqliteStore,
};
use daybook_reindexer::{
    control::{Control, Entry, State},
    switch::{
        GenerationId,
        control::{ControlRow, Phase},
    },
};
use tokio::task::JoinSet;

use crate::process::{Backend, Place};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(4);
/// How long the removal of a generation is taken to last after its end was noted.
const REMOVING: Duration = Duration::from_millis(1000);
/// How long a stage is waited for.
const STAGE_MAX: Duration = Duration::from_secs(300);
const DOMAIN: &str = "metaflow";

/// A state of all generations of a domain together.
pub type Stage = &'static str;

/// Every stage that a test can see, in order.
pub const STAGES: [Stage; 11] = [
    "idle",
    "loading",
    "indexing",
    "verifying",
    "ready",
    "announced",
    "following",
    "back:announced",
    "back:following",
    "retiring",
    "removing",
];

/// The stages of a place, from when it is watched on.
pub struct States {
    seen: Arc<Mutex<Vec<(Instant, Stage)>>>,
    _watching: JoinSet<()>,
}

/// Control storage of a place, beside its processes.
///
/// # Panics
/// If it cannot be opened.
pub async fn control(place: &Place) -> Control {
    let store: Arc<dyn Store> = match place.backend {
        Backend::Embedded => Arc::new(SqliteStore::new(Path::new(&place.folder.0))),
        Backend::Distributed => {
            let (url, schema) = place.tables();
            let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error:?}"));
            let (schema, connections_max, timeout) = (schema.to_owned(), 2, Duration::from_secs(10));
            Arc::new(PostgresStore::new(Config { address, schema, connections_max, timeout }))
        }
    };
    Control::open(store).await.unwrap_or_else(|error| panic!("cannot open control storage: {error}"))
}

/// Makes every phase of a switch last for some tenths of a second, so that harm can be done in each: the transaction that
/// ends a phase takes that long. SQLite can only count.
pub fn prolong_phases(place: &Place) {
    match place.backend {
        Backend::Distributed => place.alter(
            "control",
            "CREATE FUNCTION prolong() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_sleep_for(''0.4 s''); RETURN NEW; END'; \
             CREATE TRIGGER prolong BEFORE UPDATE ON domains FOR EACH ROW \
             WHEN (OLD.phase <> NEW.phase) EXECUTE FUNCTION prolong()",
        ),
        Backend::Embedded => {
            let count = "CREATE VIEW slow AS WITH RECURSIVE number(n) AS \
                (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2000000) SELECT count(*) AS total FROM number";
            let prolong = "CREATE TRIGGER prolong BEFORE UPDATE ON domains WHEN OLD.phase <> NEW.phase \
                BEGIN SELECT total FROM slow; END";
            place.alter("control", count);
            place.alter("control", prolong);
        }
    }
}

/// Makes every state of a rebuild before `ready` last like that, too; after [`prolong_phases`].
pub fn prolong_states(place: &Place) {
    let when = "WHEN (OLD.state <> NEW.state AND \
        NEW.state IN ('loading', 'indexing', 'tailing', 'verifying', 'ready'))";
    let prolonged = match place.backend {
        Backend::Distributed => format!("FOR EACH ROW {when} EXECUTE FUNCTION prolong()"),
        Backend::Embedded => format!("{when} BEGIN SELECT total FROM slow; END"),
    };
    place.alter("control", &format!("CREATE TRIGGER prolong_states BEFORE UPDATE ON generations {prolonged}"));
}

impl States {
    /// Watches a place until it is dropped.
    pub async fn watch(place: &Place) -> Self {
        let (control, seen) = (control(place).await, Arc::new(Mutex::new(vec![(Instant::now(), STAGES[0])])));
        let mut watching = JoinSet::new();
        let of_task = Arc::clone(&seen);
        watching.spawn(async move {
            let (mut pace, mut ended) = (tokio::time::interval(LOOK), None);
            loop {
                pace.tick().await;
                // What does not answer is asked again.
                let Ok(Some((row, entries))) = look(&control).await else { continue };
                let count = entries.iter().filter(|entry| entry.state.has_ended()).count();
                if ended.as_ref().is_none_or(|(before, _)| *before != count) {
                    ended = Some((count, Instant::now()));
                }
                let is_removing = count > 0 && ended.is_some_and(|(_, at)| at.elapsed() < REMOVING);
                let stage = stage(&row, &entries, is_removing);
                let mut seen = of_task.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.last().is_none_or(|(_, last)| *last != stage) {
                    seen.push((Instant::now(), stage));
                }
            }
        });
        Self { seen, _watching: watching }
    }

    /// The stage that was seen last.
    pub fn last(&self) -> Stage {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(STAGES[0], |(_, stage)| *stage)
    }

    /// Waits until a stage is there, or was there since this was called; false if none comes.
    pub async fn wait_for(&self, wanted: impl Fn(Stage) -> bool) -> bool {
        self.wait_since(Instant::now(), wanted).await
    }

    /// Waits until a stage is there, or was there since a time; false if none comes.
    pub async fn wait_since(&self, from: Instant, wanted: impl Fn(Stage) -> bool) -> bool {
        let mut pace = tokio::time::interval(LOOK);
        let seen = async {
            while !self.between(from, Instant::now()).into_iter().any(&wanted) {
                pace.tick().await;
            }
        };
        tokio::time::timeout(STAGE_MAX, seen).await.is_ok()
    }

    /// The stages between two times, each once.
    pub fn between(&self, from: Instant, to: Instant) -> Vec<Stage> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        let mut stages: Vec<Stage> = seen[first..].iter().take_while(|(at, _)| *at <= to).map(|(_, it)| *it).collect();
        stages.sort_unstable();
        stages.dedup();
        stages
    }

    /// How long each stage lasted in all, and how often it was there.
    pub fn totals(&self) -> Vec<(Stage, Duration, usize)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = seen.iter().skip(1).map(|(at, _)| *at).chain([Instant::now()]);
        let spans: Vec<(Stage, Duration)> = seen.iter().zip(ends).map(|((at, it), end)| (*it, end - *at)).collect();
        let of = |stage: Stage| spans.iter().filter(move |(it, _)| *it == stage).map(|(_, length)| *length);
        STAGES.iter().map(|stage| (*stage, of(stage).sum(), of(stage).count())).collect()
    }
}

async fn look(control: &Control) -> Result<Option<(ControlRow, Vec<Entry>)>, TablesError> {
    let Some(row) = control.domain(DOMAIN).await? else { return Ok(None) };
    Ok(Some((row, control.generations(DOMAIN).await?)))
}

fn stage(row: &ControlRow, entries: &[Entry], is_removing: bool) -> Stage {
    let is_later = |generation: Option<GenerationId>| generation.is_some_and(|generation| generation.0 > row.live.0);
    let candidate = entries.iter().find(|entry| entry.state.is_unpromoted());
    match row.phase {
        Phase::Announced { candidate, .. } if is_later(Some(candidate)) => "announced",
        Phase::Announced { .. } => "back:announced",
        Phase::Following { .. } if is_later(row.previous) => "back:following",
        Phase::Following { .. } => "following",
        Phase::Retiring { .. } => "retiring",
        Phase::Idle => match candidate.map(|entry| entry.state) {
            Some(State::Planned | State::Loading) => "loading",
            // A candidate that is near is verified at once.
            Some(State::Tailing) => State::Verifying.as_str(),
            Some(state) => state.as_str(),
            None if is_removing => "removing",
            None => "idle",
        },
    }
}
