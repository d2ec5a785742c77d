//! Plans: an ordinary batch is committed in one round trip on PostgreSQL, of Metaflow and of any other domain; both engines
//! decline the same ones, and a plan leaves what the steps of a fold leave.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use daybook_books::{events as books, projection::Books};
use daybook_ingest::log::Record;
use daybook_metaflow::{
    events::{
        EVENTS, Event, FlowRegistered, RunStarted,
        ids::{FlowId, RunNumber},
    },
    projection::Metaflow,
    sequences::RUN_NUMBERS,
};
use daybook_projector::{
    batch::{self, Move},
    bookkeeping::{checkpoints, idempotency, numbers},
    comparison::Comparable,
    generation,
    projection::{Decoded, Fold, Planned, Projection, Report},
    search::shape::IndexShape,
    tables::{
        Column, Ddl, Params, PlanStatement, Statement, Step, Store, Tables, TablesError, Transaction,
        postgres::{Address, Config, PostgresStore},
    },
};
use daybook_schemas::{
    Envelope, EventSet, Topic,
    position::{Partition, Position, Vector},
    topics,
};
use daybook_tests::{proxy::Proxy, services};

use crate::{
    fold::record,
    tables::{blocking, places},
};

/// Columns of each of the made-up domain's tables: more than half of a function's arguments, so that it takes two functions.
const WIDTH: usize = 60;

/// A domain made up for these tests: a flow makes a parent, a run a child, each a row of many columns.
struct Families;

static PARENTS: LazyLock<Statement> = LazyLock::new(|| insert("parents", ""));
static CHILDREN: LazyLock<Statement> = LazyLock::new(|| insert("children", "parents"));
static PLANNED: LazyLock<[PlanStatement; 2]> =
    LazyLock::new(|| [PlanStatement::all(&PARENTS), PlanStatement::all(&CHILDREN)]);

/// Inserts rows `c1, c2, …`, those of children if the parent `c2` is there.
fn insert(table: &'static str, parent: &str) -> Statement {
    let list = |item: fn(usize) -> String| (1..=WIDTH).map(item).collect::<Vec<_>>().join(", ");
    let columns = list(|index| format!("c{index}"));
    let of = |parameter: &str| match parent {
        "" => "WHERE TRUE".to_owned(),
        _ => format!("WHERE EXISTS (SELECT 1 FROM parents AS p WHERE p.c1 = {parameter})"),
    };
    let postgres = format!(
        "INSERT INTO {table} ({columns}) SELECT {} FROM UNNEST({}) AS e ({columns}) {} ON CONFLICT DO NOTHING",
        list(|index| format!("e.c{index}")),
        list(|index| format!("${index}::BIGINT[]")),
        of("e.c2"),
    );
    let values = list(|index| format!("${index}"));
    let sqlite = format!("INSERT INTO {table} ({columns}) SELECT {values} {} ON CONFLICT DO NOTHING", of("$2"));
    Statement { name: table, postgres: postgres.leak(), sqlite: sqlite.leak(), columns: None }
}

/// The step of some rows: the first column, the second, and others.
fn step(statement: &'static Statement, rows: &[(i64, i64)]) -> Step {
    let columns = (1..=WIDTH).map(|index| match index {
        1 => Column::ints(rows.iter().map(|row| row.0)),
        2 => Column::ints(rows.iter().map(|row| row.1)),
        _ => Column::ints(rows.iter().map(|_| 0)),
    });
    Step { statement, columns: columns.collect() }
}

fn row_of(event: &Event) -> Option<(&'static Statement, (i64, i64))> {
    match event {
        Event::FlowRegistered(event) => Some((&*PARENTS, (event.flow_id.as_str().parse().ok()?, 0))),
        Event::RunStarted(event) => Some((&*CHILDREN, (event.run_number.0, event.flow_id.as_str().parse().ok()?))),
        _ => None,
    }
}

impl Fold for Families {
    type Event = Event;

    fn domain(&self) -> &'static str {
        "families"
    }

    fn topics(&self) -> Vec<Topic> {
        vec![EVENTS]
    }

    fn ddl(&self) -> Vec<Ddl> {
        let columns: String = (2..=WIDTH).map(|index| format!(", c{index} BIGINT NOT NULL")).collect();
        let table = |name| format!("CREATE TABLE IF NOT EXISTS {name} (c1 BIGINT PRIMARY KEY{columns});\n");
        let script = table("parents") + &table("children");
        vec![Ddl { postgres: script.clone().into(), sqlite: script.into() }]
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, transaction: &mut dyn Transaction, batch: &[&Decoded<Event>]) -> Result<Report, TablesError> {
        let mut report = Report::default();
        for decoded in batch {
            let Some((statement, row)) = row_of(&decoded.envelope.event) else { continue };
            if transaction.execute(statement, &Params::Many(step(statement, &[row]).columns))? == 0 {
                report.lose(decoded.position);
            }
        }
        Ok(report)
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        PLANNED.as_slice()
    }

    fn plan(&self, batch: &[&Decoded<Event>]) -> Option<Planned> {
        let rows = |of: &'static Statement| {
            let rows = batch.iter().filter_map(|decoded| row_of(&decoded.envelope.event));
            step(of, &rows.filter(|(statement, _)| statement.name == of.name).map(|(_, row)| row).collect::<Vec<_>>())
        };
        // Not in the order of the shape, which alone counts.
        Some(Planned { steps: vec![rows(&CHILDREN), rows(&PARENTS)], changed: Vec::new() })
    }

    fn index_shape(&self) -> Option<Arc<IndexShape>> {
        None
    }

    fn comparable(&self) -> Vec<Comparable> {
        ["parents", "children"].map(|table| Comparable::of(table).by_integer("c1")).to_vec()
    }
}

fn flow(offset: i64, name: &str) -> Decoded<Event> {
    let flow_id = FlowId::from(name);
    let event = FlowRegistered { flow_id, user_name: None, tags: vec![], system_tags: vec![] };
    let position = Position::new(EVENTS, 0, offset);
    Decoded { position, envelope: Envelope::new(1_700_000_000_000, Event::FlowRegistered(event)) }
}

fn run(offset: i64, flow: &str, number: i64) -> Decoded<Event> {
    let event = RunStarted {
        flow_id: FlowId::from(flow),
        run_number: RunNumber(number),
        run_id: None,
        user_name: None,
        tags: vec![],
        system_tags: vec![],
        heartbeat: false,
    };
    let position = Position::new(EVENTS, 0, offset);
    Decoded { position, envelope: Envelope::new(1_700_000_000_000, Event::RunStarted(event)) }
}

fn keyed(decoded: Decoded<Event>, key: &str) -> Decoded<Event> {
    let mut decoded = decoded;
    decoded.envelope.idempotency_key = Some(key.to_owned());
    decoded
}

/// The one checkpoint of a projection's first topic.
fn at(projection: &dyn Projection, offset: i64) -> Vector {
    Vector([(Partition { topic: projection.topics()[0], id: 0 }, offset)].into())
}

fn book(offset: i64, book_id: i64) -> Decoded<books::Event> {
    let (shelf, title) = ("s".to_owned(), "t".to_owned());
    let event = books::Event::BookAdded(books::BookAdded { shelf, book_id, title, author: None });
    Decoded { position: Position::new(books::BOOKS, 0, offset), envelope: Envelope::new(1_700_000_000_000, event) }
}

/// Three records of an ordinary batch, at these offsets; with a key, which all of them have, they are none.
fn members(projection: &dyn Projection, from: i64, key: Option<&str>) -> Vec<Record> {
    fn records<E: EventSet, const N: usize>(members: [Decoded<E>; N], key: Option<&str>) -> Vec<Record> {
        let keyed = |mut member: Decoded<E>| {
            member.envelope.idempotency_key = key.map(str::to_owned);
            record(&member)
        };
        members.map(keyed).to_vec()
    }
    if projection.domain() == Fold::domain(&Books) {
        return records([0, 1, 2].map(|index| book(from + index, from + index + 1)), key);
    }
    let name = (from + 1).to_string();
    let members = [flow(from, &name), run(from + 1, &name, 100 + from), run(from + 2, &name, 101 + from)];
    records(members, key)
}

/// Makes a generation of a domain, with its checkpoint at 0.
async fn make(store: &dyn Store, projection: &'static dyn Projection) -> Arc<dyn Tables> {
    // As a log does that is opened with them.
    topics::declare(&projection.topics());
    let schema = store.schema(projection.domain(), 1);
    let definition = generation::definition(projection).unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..2 {
        store.create(&schema, &definition).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let tables = store.open(&schema).await.unwrap_or_else(|error| panic!("{error}"));
    let (of_thread, topic) = (Arc::clone(&tables), projection.topics()[0]);
    let seeded = blocking(move || {
        let mut transaction = of_thread.begin()?;
        checkpoints::seed(transaction.as_mut(), &[Partition { topic, id: 0 }], true)?;
        transaction.commit()
    });
    seeded.await.unwrap_or_else(|error| panic!("{error}"));
    tables
}

/// Commits a batch by a plan: whether that could be done.
async fn commit(
    tables: &Arc<dyn Tables>,
    projection: &'static dyn Projection,
    from: i64,
    records: Vec<Record>,
) -> Result<bool, TablesError> {
    let tables = Arc::clone(tables);
    blocking(move || {
        let plans = generation::definition(projection)?.plans;
        let (from, to) = (at(projection, from), at(projection, from + i64::try_from(records.len()).unwrap_or(0)));
        let notification = format!("test {to}");
        let hashes = to.0.keys().map(|partition| (*partition, "a hash".to_owned())).collect();
        let batch = projection.batch(&records, &|_| 1).unwrap_or_else(|error| panic!("{error}"));
        let checkpoints = checkpoints::Move { from: &from, to: &to, is_live: true };
        let moved = Move { checkpoints, hashes: &hashes, notification };
        Ok(batch::commit_plan(batch.as_ref(), &moved, tables.as_ref(), &plans)?.is_some())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_batch_of_any_domain_is_one_round_trip_on_postgresql() {
    let url = format!("{}?connect_timeout=30", services::postgres());
    let mut address = Address::parse(&url).unwrap_or_else(|faults| panic!("{url}: {faults:?}"));
    let proxy = Proxy::start(0, address.connect.get_port()).await;
    address.connect = address.connect.host("127.0.0.1").port(proxy.port);
    let (schema, timeout) = (services::unique("round_trips"), Duration::from_secs(30));
    let store = PostgresStore::new(Config { address, schema, connections_max: 4, timeout });
    for projection in [&Metaflow as &'static dyn Projection, &Families, &Books] {
        let tables = make(&store, projection).await;
        let mut trips = Vec::new();
        for round in 0..6 {
            let from = round * 3;
            let of_one_key = members(projection, from, Some("k"));
            let before = proxy.round_trips();
            let planned = commit(&tables, projection, from, of_one_key).await;
            assert!(!planned.unwrap_or_else(|error| panic!("{error}")), "two of one key are no ordinary batch");
            assert_eq!(proxy.round_trips(), before, "what is no plan asks nothing");
            let planned = commit(&tables, projection, from, members(projection, from, None)).await;
            assert!(planned.unwrap_or_else(|error| panic!("{error}")), "{} was declined", projection.domain());
            trips.push(proxy.round_trips() - before);
        }
        // The first opens a connection and prepares the statement; one that was idle may be asked whether it lives.
        assert_eq!(trips[1..].iter().min(), Some(&1), "{}: {trips:?}", projection.domain());
        let reached = checkpoints::read(tables.as_ref()).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(reached, at(projection, 18));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_runs_in_the_order_of_its_shape_and_is_declined_as_a_whole() {
    for place in places("plans") {
        let tables = make(place.store.as_ref(), &Families).await;
        let mut heard = tables.listen().await.unwrap_or_else(|error| panic!("{error}"));
        let attempt = async |from, batch: Vec<Decoded<Event>>| {
            commit(&tables, &Families, from, batch.iter().map(record).collect()).await
        };
        // The parent is the same batch's, and the functions are two.
        let first = vec![flow(0, "1"), keyed(run(1, "1", 10), "k")];
        assert!(matches!(attempt(0, first.clone()).await, Ok(true)), "{}", place.store.describe());
        // A row is there; a parent is missing; a key was used; another applier was faster.
        let new = || flow(2, "2");
        assert!(matches!(attempt(2, vec![new(), run(3, "1", 10)]).await, Ok(false)));
        assert!(matches!(attempt(2, vec![new(), run(3, "9", 11)]).await, Ok(false)));
        assert!(matches!(attempt(2, vec![new(), keyed(run(3, "1", 11), "k")]).await, Ok(false)));
        assert!(matches!(attempt(1, vec![new(), run(3, "1", 11)]).await, Err(TablesError::Conflict(_))));
        // Nothing is left of any of them.
        assert!(matches!(attempt(2, vec![new(), run(3, "2", 11)]).await, Ok(true)));
        let highest = numbers::highest(tables.as_ref()).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(highest.get(RUN_NUMBERS.name), Some(&11));
        let params = Params::Many(vec![Column::texts(["1", "1"]), Column::texts(["k", "other"])]);
        let found = tables.read(&idempotency::FIND, params).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.len(), 1);
        if let Some(heard) = &mut heard {
            let next = tokio::time::timeout(Duration::from_secs(30), heard.recv()).await;
            assert_eq!(next.ok().flatten().as_deref(), Some("test metaflow/0@2"));
        }
    }
}
