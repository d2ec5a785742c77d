//! Two generations of one domain that apply the same log, and events for it.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use daybook_books::{
    events::{BookAdded, Event as BookEvent},
    projection::Books,
};
use daybook_ingest::{
    append::Appender,
    log::{self, EventLog, Record, embedded::EmbeddedLog},
};
use daybook_metaflow::events::{
    Artifact, ArtifactsRegistered, Event, FlowRegistered, HeartbeatRecorded, MetadataEntry, MetadataRegistered,
    RunStarted, RunTagsMutated, StepRegistered, TaskRegistered,
    ids::{FlowId, MetadataId, RunNumber, StepName, TaskId},
};
use daybook_projector::{
    bookkeeping::checkpoints,
    comparison::{Comparable, Reader},
    generation::{self, Generation},
    projection::{Batch, NewerRecord, Projection, Rejected, Report},
    runner::Runner,
    search::shape::IndexShape,
    tables::{Ddl, Params, PlanStatement, Statement, TablesError, Transaction},
};
use daybook_schemas::{
    Envelope, EventSet, Topic,
    position::{PartitionId, Vector},
};
use daybook_tests::services::Folder;
use tokio::sync::watch;

use crate::tables::{Place, blocking};

/// A live generation and a candidate, each with a runner.
pub(super) struct Pair {
    pub(super) live: Arc<Generation>,
    pub(super) candidate: Arc<Generation>,
    /// The candidate's.
    pub(super) projection: Arc<dyn Projection>,
    pub(super) log: Arc<dyn EventLog>,
    runners: Vec<Runner>,
    _folder: Folder,
}

/// An open, empty generation.
pub(super) async fn made(place: &Place, projection: &dyn Projection, number: i64) -> Arc<Generation> {
    let schema = place.store.schema(projection.domain(), number);
    let definition = generation::definition(projection).unwrap_or_else(|error| panic!("{error}"));
    place.store.create(&schema, &definition).await.unwrap_or_else(|error| panic!("{error}"));
    let tables = place.store.open(&schema).await.unwrap_or_else(|error| panic!("{error}"));
    let made = Generation::new(projection, number, schema, tables);
    Arc::new(made.unwrap_or_else(|error| panic!("{error}")))
}

/// Starts a runner that fills an empty generation from the log.
async fn follow(generation: &Arc<Generation>, projection: Arc<dyn Projection>, log: &Arc<dyn EventLog>) -> Runner {
    let partitions = log::partitions(log.as_ref());
    let (tables, seeds) = (Arc::clone(&generation.tables), partitions.clone());
    blocking(move || {
        let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
        let seeded = checkpoints::seed(transaction.as_mut(), &seeds, true);
        seeded.and_then(|()| transaction.commit()).unwrap_or_else(|error| panic!("{error}"));
    })
    .await;
    let (_, assignment) = watch::channel(partitions);
    let name = format!("of {}", generation.number);
    let runner = Runner::start(
        name,
        Arc::clone(generation),
        projection,
        Arc::clone(log),
        assignment,
        watch::Sender::new(None).subscribe(),
    );
    runner.unwrap_or_else(|error| panic!("{error}"))
}

impl Pair {
    pub(super) async fn start(
        place: &Place,
        of_live: Arc<dyn Projection>,
        of_candidate: Arc<dyn Projection>,
        topics: &[Topic],
    ) -> Self {
        let folder = Folder::new("verify");
        let log = EmbeddedLog::open(&folder.0, topics).unwrap_or_else(|error| panic!("{error}"));
        let log: Arc<dyn EventLog> = Arc::new(log);
        // Tests may have several in one place.
        static NUMBER: AtomicI64 = AtomicI64::new(1);
        let number = NUMBER.fetch_add(2, Ordering::Relaxed);
        let live = made(place, of_live.as_ref(), number).await;
        let candidate = made(place, of_candidate.as_ref(), number + 1).await;
        let projection = Arc::clone(&of_candidate);
        let mut runners = Vec::new();
        for (generation, projection) in [(&live, of_live), (&candidate, of_candidate)] {
            runners.push(follow(generation, projection, &log).await);
        }
        Self { live, candidate, projection, log, runners, _folder: folder }
    }

    /// Takes another candidate, which reads the log from its beginning as it is now.
    pub(super) async fn replay(&mut self, place: &Place) {
        self.runners.truncate(1);
        self.candidate = made(place, self.projection.as_ref(), self.candidate.number + 10_000).await;
        self.runners.push(follow(&self.candidate, Arc::clone(&self.projection), &self.log).await);
        self.caught_up().await;
    }

    /// Appends events, and waits until both generations have applied them.
    pub(super) async fn append<E: EventSet>(&self, envelopes: &[Envelope<E>]) {
        let appended = Appender::new(Arc::clone(&self.log)).append(envelopes).await;
        appended.unwrap_or_else(|error| panic!("{error}"));
        self.caught_up().await;
    }

    /// Waits until both generations have reached the end of the log, which this returns.
    pub(super) async fn caught_up(&self) -> Vector {
        let log = Arc::clone(&self.log);
        let end = blocking(move || log.end(&log.topics()).unwrap_or_else(|error| panic!("{error}"))).await;
        self.live.progress.wait_for(&end).await;
        self.candidate.progress.wait_for(&end).await;
        end
    }
}

/// Changes rows of a generation as no event does.
pub(super) async fn sql(generation: &Generation, text: impl Into<String>) {
    let text = text.into();
    assert!(execute(generation, text.clone()).await > 0, "{text} changes nothing");
}

/// Changes the tables of a generation as no program does. How many rows it has changed.
pub(super) async fn execute(generation: &Generation, text: impl Into<String>) -> u64 {
    let text: &'static str = text.into().leak();
    let statement: &'static Statement =
        Box::leak(Box::new(Statement { name: "test", postgres: text, sqlite: text, columns: None }));
    let tables = Arc::clone(&generation.tables);
    let changed = blocking(move || {
        let mut transaction = tables.begin()?;
        let changed = transaction.execute(statement, &Params::One(Vec::new()))?;
        transaction.commit()?;
        Ok::<_, TablesError>(changed)
    });
    changed.await.unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The names of a generation's tables.
pub(super) async fn table_names(place: &Place, generation: &Generation) -> Vec<String> {
    static NAMES: Statement = Statement {
        name: "names",
        postgres: "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = CURRENT_SCHEMA()",
        sqlite: "SELECT name FROM sqlite_master WHERE type = 'table'",
        columns: None,
    };
    let rows = generation.tables.read(&NAMES, Params::One(Vec::new())).await;
    let rows = rows.unwrap_or_else(|error| panic!("{}: {error}", place.store.describe()));
    let names: Vec<String> =
        rows.iter().map(|row| daybook_projector::tables::Cursor::text(row, 0).unwrap_or_default().to_owned()).collect();
    assert!(names.len() > 5, "{names:?}");
    names
}

/// Prepares the statements that compare a table. The columns of their rows are those of their structs.
pub(super) async fn check_statements(generation: &Generation, reader: &Reader) {
    let (tables, statements) = (Arc::clone(&generation.tables), reader.statements());
    blocking(move || {
        for statement in statements {
            let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
            let found = transaction.columns(statement).unwrap_or_else(|error| panic!("{}: {error}", statement.name));
            if let Some(declared) = statement.columns {
                assert!(declared.all().eq(found.iter().map(String::as_str)), "{}: {found:?}", statement.name);
            }
        }
    })
    .await;
}

fn envelope<E>(at: i64, event: E) -> Envelope<E> {
    Envelope::new(at, event)
}

/// A flow with runs, each of one task that has an artifact, metadata and a heartbeat. `key` is an idempotency key.
pub(super) fn flow(name: &str, runs: RangeInclusive<i64>, key: Option<&str>) -> Vec<Envelope<Event>> {
    let flow_id = FlowId::from(name);
    let (tags, system_tags) = tags();
    let mut registered = envelope(
        1_700_000_000_000,
        Event::FlowRegistered(FlowRegistered { flow_id: flow_id.clone(), user_name: None, tags, system_tags }),
    );
    registered.idempotency_key = key.map(str::to_owned);
    let mut events = vec![registered];
    for run in runs {
        let of_run = [of_run(&flow_id, run), of_task(&flow_id, run)].concat();
        events.extend(of_run.into_iter().map(|event| envelope(1_700_000_000_000 + run, event)));
        events.push(beat(name, run, 5000));
    }
    events
}

fn tags() -> (Vec<String>, Vec<String>) {
    (vec!["a".to_owned()], vec!["s".to_owned()])
}

/// A run with a step and a task.
fn of_run(flow_id: &FlowId, run: i64) -> Vec<Event> {
    let (run_number, step_name, (tags, system_tags)) = (RunNumber(run), StepName::from("start"), tags());
    vec![
        Event::RunStarted(RunStarted {
            flow_id: flow_id.clone(),
            run_number,
            run_id: None,
            user_name: Some("ann".to_owned()),
            tags: tags.clone(),
            system_tags: system_tags.clone(),
            heartbeat: true,
        }),
        Event::StepRegistered(StepRegistered {
            flow_id: flow_id.clone(),
            run_number,
            step_name: step_name.clone(),
            user_name: None,
            tags: tags.clone(),
            system_tags: system_tags.clone(),
        }),
        Event::TaskRegistered(TaskRegistered {
            flow_id: flow_id.clone(),
            run_number,
            step_name,
            task_id: TaskId(run + 4),
            task_name: None,
            user_name: None,
            tags,
            system_tags,
            heartbeat: true,
        }),
    ]
}

/// What belongs to the task of a run.
fn of_task(flow_id: &FlowId, run: i64) -> Vec<Event> {
    let (run_number, step_name, task_id) = (RunNumber(run), StepName::from("start"), TaskId(run + 4));
    let artifact = Artifact {
        name: "model".into(),
        location: "s3://there".into(),
        ds_type: "s3".into(),
        sha: Some("sha".to_owned()),
        r#type: None,
        content_type: None,
        user_name: None,
        attempt_id: 0,
        tags: vec![],
        system_tags: vec![],
    };
    let entry = MetadataEntry {
        field_name: "attempt".into(),
        value: "0".into(),
        r#type: "attempt".into(),
        user_name: None,
        tags: vec![],
        system_tags: vec![],
    };
    let (first_id, entries) = (MetadataId(run + 8), vec![entry]);
    vec![
        Event::ArtifactsRegistered(ArtifactsRegistered {
            flow_id: flow_id.clone(),
            run_number,
            step_name: step_name.clone(),
            task_id,
            entries: vec![artifact],
        }),
        Event::MetadataRegistered(MetadataRegistered {
            flow_id: flow_id.clone(),
            run_number,
            step_name: step_name.clone(),
            task_id,
            first_id,
            entries,
        }),
        Event::HeartbeatRecorded(HeartbeatRecorded {
            flow_id: flow_id.clone(),
            run_number,
            step_name: Some(step_name),
            task_id: Some(task_id),
        }),
    ]
}

/// A heartbeat of a run.
pub(super) fn beat(flow: &str, run: i64, at: i64) -> Envelope<Event> {
    let (flow_id, run_number) = (FlowId::from(flow), RunNumber(run));
    let event = HeartbeatRecorded { flow_id, run_number, step_name: None, task_id: None };
    envelope(1_700_000_000_000 + at, Event::HeartbeatRecorded(event))
}

/// A run gets a tag.
pub(super) fn retag(flow: &str, run: i64, tag: &str) -> Envelope<Event> {
    let (flow_id, run_number) = (FlowId::from(flow), RunNumber(run));
    let event = RunTagsMutated { flow_id, run_number, add: vec![tag.to_owned()], remove: vec![] };
    envelope(1_700_000_001_000, Event::RunTagsMutated(event))
}

/// Books, each on a shelf of its own.
pub(super) fn books(ids: RangeInclusive<i64>) -> Vec<Envelope<BookEvent>> {
    let book = |book_id| {
        let (shelf, title) = (format!("shelf{book_id}"), format!("Title {book_id}"));
        BookEvent::BookAdded(BookAdded { shelf, book_id, title, author: None })
    };
    ids.map(|id| envelope(1_700_000_000_000 + id, book(id))).collect()
}

/// 20000 books.
pub(super) const MANY_BOOKS: &str =
    "INSERT INTO books (book_id, shelf, title, author, added_at, record_partition, record_offset)
    WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 20000)
    SELECT id, 'shelf', 'Title ' || id, NULL, 1700000000000 + id, 0, id FROM n";

/// The books' projection as another release might have it.
pub(super) struct Changed {
    /// The shelf whose books it refuses.
    pub(super) refused: Option<&'static str>,
    /// Whether its table has a column more, and whether there is a table more.
    pub(super) wider: bool,
    /// Whether its documents have another shape: here, none.
    pub(super) unsearched: bool,
}

/// A release with a column and a table more.
pub(super) fn wider() -> Arc<dyn Projection> {
    Arc::new(Changed { refused: None, wider: true, unsearched: false })
}

struct Accepted<'a> {
    batch: Box<dyn Batch + 'a>,
    rejected: Vec<Rejected>,
}

impl Batch for Accepted<'_> {
    fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    fn plan(&self) -> Option<daybook_projector::projection::Planned> {
        self.batch.plan()
    }

    fn apply(&self, transaction: &mut dyn Transaction) -> Result<Report, TablesError> {
        self.batch.apply(transaction)
    }
}

impl Projection for Changed {
    fn domain(&self) -> &'static str {
        Books.domain()
    }

    fn topics(&self) -> Vec<Topic> {
        Projection::topics(&Books)
    }

    fn ddl(&self) -> Vec<Ddl> {
        let mut ddl = Projection::ddl(&Books);
        if self.wider {
            let script = "ALTER TABLE books ADD COLUMN pages BIGINT NOT NULL DEFAULT 7;
                CREATE TABLE notes (note_id BIGINT NOT NULL PRIMARY KEY);";
            ddl.push(Ddl { postgres: script.into(), sqlite: script.into() });
        }
        ddl
    }

    fn version(&self) -> u32 {
        Projection::version(&Books) + 1
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        Projection::plan_statements(&Books)
    }

    fn batch<'a>(
        &'a self,
        records: &[Record],
        partition_count: &dyn Fn(Topic) -> PartitionId,
    ) -> Result<Box<dyn Batch + 'a>, NewerRecord> {
        let refused = |record: &&Record| self.refused.is_some_and(|it| record.key.as_deref() == Some(it.as_bytes()));
        let reject = |record: &Record| Rejected { position: record.position, reason: "it is refused".to_owned() };
        let accepted: Vec<Record> = records.iter().filter(|record| !refused(record)).cloned().collect();
        let batch = Books.batch(&accepted, partition_count)?;
        let rejected = batch.rejected().iter().cloned().chain(records.iter().filter(refused).map(reject)).collect();
        Ok(Box::new(Accepted { batch, rejected }))
    }

    fn index_shape(&self) -> Option<Arc<IndexShape>> {
        Projection::index_shape(&Books).filter(|_| !self.unsearched)
    }

    fn time(&self, record: &Record) -> Option<i64> {
        Books.time(record)
    }

    fn comparable(&self) -> Vec<Comparable> {
        let mut tables = Projection::comparable(&Books);
        if self.wider {
            tables = tables.into_iter().map(|table| table.columns(["pages"])).collect();
            tables.push(Comparable::of("notes").by_integer("note_id"));
        }
        tables
    }
}
