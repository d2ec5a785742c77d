//! The guarantees of `projector::tables`, on SQLite and on PostgreSQL, and every statement on both.

use std::{fs, sync::Arc, time::Duration};

use daybook_books::projection::{self, Books};
use daybook_metaflow::{
    events::{EVENTS, TOPICS},
    projection::Metaflow,
    routes::{self as metaflow_routes, Settings},
};
use daybook_projector::{
    bookkeeping::{
        self,
        checkpoints::{self, Hashes, LastRecord, Move},
    },
    comparison, generation,
    projection::Projection,
    search::{bookkeeping as search_bookkeeping, builds},
    tables::{
        Cell, Column, Cursor, Next, Params, Statement, Store, Tables,
        postgres::{Address, Config, PostgresStore},
        sqlite::SqliteStore,
    },
};
use daybook_query_api::routes;
use daybook_reindexer::control;
use daybook_schemas::position::{Partition, Vector};
use daybook_tests::services::{self, Folder};

/// A store of its own for a test; the folder goes away with it.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn Store>,
    folder: Folder,
}

/// One place of each kind.
pub(crate) fn places(test: &str) -> [Place; 2] {
    let (sqlite, other) = (Folder::new(test), Folder::new(test));
    let url = format!("{}?connect_timeout=30", services::postgres());
    let address = Address::parse(&url).unwrap_or_else(|faults| panic!("{url}: {faults:?}"));
    let (schema, timeout) = (services::unique(test), Duration::from_secs(30));
    let postgres = PostgresStore::new(Config { address, schema, connections_max: 4, timeout });
    let store: Arc<dyn Store> = Arc::new(SqliteStore::new(&sqlite.0));
    [Place { store, folder: sqlite }, Place { store: Arc::new(postgres), folder: other }]
}

/// A fresh generation of the Metaflow tables.
pub(crate) async fn generation(store: &dyn Store, number: i64) -> Arc<dyn Tables> {
    generation_of(&Metaflow, store, number).await
}

/// A fresh generation of a projection's tables.
async fn generation_of(projection: &dyn Projection, store: &dyn Store, number: i64) -> Arc<dyn Tables> {
    let schema = store.schema(projection.domain(), number);
    let definition = generation::definition(projection).unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..2 {
        // Making a schema can be run again.
        store.create(&schema, &definition).await.unwrap_or_else(|error| panic!("{error}"));
    }
    store.open(&schema).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A move of a live generation's checkpoints.
pub(crate) fn moved<'m>(from: &'m Vector, to: &'m Vector) -> Move<'m> {
    Move { from, to, is_live: true }
}

/// Runs what blocks away from the async workers.
pub(crate) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| panic!("{error}"))
}

static INSERT: Statement = Statement {
    name: "insert",
    postgres: "INSERT INTO numbers (sequence, highest) SELECT e.s, e.h FROM UNNEST($1::TEXT[], $2::BIGINT[]) AS e (s, h)",
    sqlite: "INSERT INTO numbers (sequence, highest) VALUES ($1, $2)",
    columns: None,
};
static READ: Statement = Statement {
    name: "read",
    postgres: "SELECT sequence, highest FROM numbers ORDER BY highest",
    sqlite: "SELECT sequence, highest FROM numbers ORDER BY highest",
    columns: None,
};

fn rows(names: &[&str]) -> Params {
    Params::Many(vec![Column::texts(names.iter().copied()), Column::ints(1..=i64::try_from(names.len()).unwrap_or(0))])
}

async fn names(tables: &Arc<dyn Tables>) -> Vec<String> {
    let rows = tables.read(&READ, Params::One(Vec::new())).await.unwrap_or_else(|error| panic!("{error}"));
    rows.iter().map(|row| row.text(0).unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_shows_all_of_itself_at_commit_and_nothing_when_dropped() {
    for place in places("atomic") {
        let tables = generation(place.store.as_ref(), 1).await;
        let of_thread = Arc::clone(&tables);
        blocking(move || {
            let mut transaction = of_thread.begin().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(transaction.execute(&INSERT, &rows(&["a", "b"])).ok(), Some(2));
            assert_eq!(transaction.read(&READ, &Params::One(Vec::new())).map(|rows| rows.len()).ok(), Some(2));
        })
        .await;
        assert!(names(&tables).await.is_empty(), "a dropped transaction left rows");
        let of_thread = Arc::clone(&tables);
        blocking(move || {
            let mut transaction = of_thread.begin().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(transaction.execute(&INSERT, &rows(&["a", "b", "c"])).ok(), Some(3));
            assert_eq!(transaction.execute(&INSERT, &rows(&[])).ok(), Some(0), "no rows do nothing");
            transaction.commit().unwrap_or_else(|error| panic!("{error}"));
        })
        .await;
        assert_eq!(names(&tables).await, ["a", "b", "c"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_removed_leaves_nothing_and_can_be_made_again() {
    for place in places("removed") {
        let (store, schema) = (&place.store, place.store.schema(Metaflow.domain(), 1));
        for _ in 0..2 {
            let tables = generation(store.as_ref(), 1).await;
            let partition = Partition { topic: EVENTS, id: 0 };
            blocking(move || {
                let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
                let seeded = checkpoints::seed(transaction.as_mut(), &[partition], true);
                seeded.and_then(|()| transaction.commit()).unwrap_or_else(|error| panic!("{error}"));
            })
            .await;
            // As a process leaves it that was killed while it made the file; only SQLite has one.
            let journal = place.folder.0.join(format!("{schema}.db-journal"));
            fs::write(&journal, "").unwrap_or_else(|error| panic!("{error}"));
            for _ in 0..2 {
                store.remove(&schema).await.unwrap_or_else(|error| panic!("{}: {error}", store.describe()));
            }
            assert_eq!(journal.exists(), store.shared(), "{} leaves a file", store.describe());
        }
        let tables = generation(store.as_ref(), 1).await;
        let read = checkpoints::read(tables.as_ref()).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read, Vector::default(), "{}", store.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_hands_on_every_row_in_order_stops_when_told_and_waits_for_a_slow_reader() {
    for place in places("stream") {
        let tables = generation(place.store.as_ref(), 1).await;
        let long = "x".repeat(1000);
        let many: Vec<String> = (0..5000).map(|index| format!("{index:05}{long}")).collect();
        let of_thread = Arc::clone(&tables);
        blocking(move || {
            let many: Vec<&str> = many.iter().map(String::as_str).collect();
            let mut transaction = of_thread.begin().unwrap_or_else(|error| panic!("{error}"));
            transaction.execute(&INSERT, &rows(&many)).unwrap_or_else(|error| panic!("{error}"));
            transaction.commit().unwrap_or_else(|error| panic!("{error}"));
        })
        .await;
        for rows_max in [5000, 7] {
            let mut seen = 0;
            let render = move |row: &dyn Cursor, out: &mut Vec<u8>| {
                out.extend_from_slice(&row.text(0)?.as_bytes()[..5]);
                out.extend_from_slice(&[b'.'; 100]);
                seen += 1;
                Ok(if seen == rows_max { Next::Stop } else { Next::More })
            };
            let mut chunks = tables.stream(&READ, Vec::new(), Box::new(render));
            let mut whole = Vec::new();
            while let Some(chunk) = chunks.recv().await {
                whole.extend(chunk.unwrap_or_else(|error| panic!("{error}")));
            }
            let expected: Vec<String> = (0..rows_max).map(|index| format!("{index:05}")).collect();
            let found: Vec<String> =
                whole.chunks(105).map(|row| String::from_utf8_lossy(&row[..5]).into_owned()).collect();
            assert_eq!(found, expected);
        }
        // A reader that goes away ends the stream; the tables stay usable.
        drop(tables.stream(&READ, Vec::new(), Box::new(|_, _| Ok(Next::More))));
        assert_eq!(names(&tables).await.len(), 5000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_move_by_compare_and_set_and_a_second_applier_changes_nothing() {
    // No log is opened here, which would do it.
    daybook_schemas::topics::declare(&TOPICS);
    for place in places("checkpoints") {
        let tables = generation(place.store.as_ref(), 1).await;
        let partitions: Vec<Partition> = (0..3).map(|id| Partition { topic: EVENTS, id }).collect();
        let at = |offsets: [i64; 3]| Vector(partitions.iter().copied().zip(offsets).collect());
        let (zero, five, nine) = (at([0; 3]), at([5, 0, 2]), at([9, 1, 2]));
        let hashes = |to: &Vector| -> Hashes { to.0.iter().map(|(it, next)| (*it, format!("{it}@{next}"))).collect() };
        let (of_thread, seeds) = (Arc::clone(&tables), partitions.clone());
        let moves = [
            (zero.clone(), five.clone(), true),
            (zero.clone(), nine.clone(), false),
            (five.clone(), nine.clone(), true),
        ];
        blocking(move || {
            for _ in 0..2 {
                let mut transaction = of_thread.begin().unwrap_or_else(|error| panic!("{error}"));
                checkpoints::seed(transaction.as_mut(), &seeds, true).unwrap_or_else(|error| panic!("{error}"));
                transaction.commit().unwrap_or_else(|error| panic!("{error}"));
            }
            for (from, to, expected) in moves {
                let mut transaction = of_thread.begin().unwrap_or_else(|error| panic!("{error}"));
                let moved = checkpoints::advance(transaction.as_mut(), moved(&from, &to), &hashes(&to));
                assert_eq!(moved.ok(), Some(expected), "{from} -> {to}");
                if expected {
                    transaction.commit().unwrap_or_else(|error| panic!("{error}"));
                }
            }
        })
        .await;
        // Past offsets without records: the last records stay.
        let (of_thread, eleven) = (Arc::clone(&tables), at([11, 1, 2]));
        let skips = [(five, eleven.clone(), false), (nine.clone(), eleven.clone(), true)];
        let read = blocking(move || {
            for (from, to, expected) in skips {
                let mut transaction = of_thread.begin().unwrap_or_else(|error| panic!("{error}"));
                let skipped = checkpoints::skip(transaction.as_mut(), moved(&from, &to));
                assert_eq!(skipped.ok(), Some(expected), "{from} -> {to}");
                if expected {
                    transaction.commit().unwrap_or_else(|error| panic!("{error}"));
                }
            }
            checkpoints::read_blocking(of_thread.as_ref()).unwrap_or_else(|error| panic!("{error}"))
        })
        .await;
        assert_eq!(read.next, eleven);
        let last = hashes(&nine)
            .into_iter()
            .map(|(partition, hash)| (partition, LastRecord { offset: nine.next(partition) - 1, hash }));
        assert_eq!(read.last, last.collect());
        let reached = checkpoints::read(tables.as_ref()).await;
        assert_eq!(reached.unwrap_or_else(|error| panic!("{error}")), eleven);
    }
}

/// Columns and the parameters that they are compared with: `a.x = $1`, and `(a.x, a.y) < ($1, $2)`.
fn compared(sql: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for line in sql.lines() {
        let Some((left, right)) = [" = ", " < ", " > "].iter().find_map(|operator| line.split_once(operator)) else {
            continue;
        };
        let list = |text: &str| -> Vec<String> {
            let text = text.trim_start_matches("AND ").trim_start_matches("WHERE ").trim();
            // What keeps a column from being looked up by an index is not part of its name.
            let text = text.trim_end_matches(" + 0").trim_end_matches(" || ''");
            let names = text.trim_matches(['(', ')']).split(", ");
            names.map(|name| name.rsplit('.').next().unwrap_or_default().trim_matches(['(', ')']).to_owned()).collect()
        };
        pairs.extend(list(left.trim()).into_iter().zip(list(right.trim())));
    }
    pairs
}

/// The statements of Metaflow's routes.
fn routes_of_metaflow() -> Vec<&'static Statement> {
    let settings = Settings { path_prefix: String::new(), run_inactive_cutoff_seconds: 360 };
    metaflow_routes::api(settings).statements
}

/// Parameters that fit a statement: as many as it names, of a type that the engines take.
fn fitting(statement: &Statement) -> [Params; 2] {
    let count = (1..30).take_while(|index| statement.postgres.contains(&format!("${index}"))).count();
    let is_text = |index: usize| {
        let text = statement.postgres;
        text.contains(&format!("${index}::TEXT")) || text.contains(&format!("(${index} AS TEXT)"))
    };
    let arrays = (1..=count).map(|index| if is_text(index) { Column::texts(["x"]) } else { Column::ints([1]) });
    let compared = compared(statement.postgres);
    let scalars = (1..=count).map(|index| -> Cell {
        let texts = ["flow_id", "step_name", "name", "domain", "instance", "schema", "topic", "index_id", "state"];
        let column = compared.iter().find(|(_, parameter)| *parameter == format!("${index}")).map(|(column, _)| column);
        let of_text = column.is_some_and(|column| texts.contains(&column.as_str()));
        if is_text(index) || of_text { "x".into() } else { 1.into() }
    });
    [Params::Many(arrays.collect()), Params::One(scalars.collect())]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_runs_on_every_engine() {
    for place in places("statements") {
        let control = place.store.control().await.unwrap_or_else(|error| panic!("{error}"));
        let tables = generation(place.store.as_ref(), 1).await;
        let books = generation_of(&Books, place.store.as_ref(), 1).await;
        let of_any_domain = [
            bookkeeping::statements(),
            comparison::STATEMENTS.to_vec(),
            search_bookkeeping::STATEMENTS.to_vec(),
            builds::STATEMENTS.to_vec(),
            routes::statements(),
        ]
        .concat();
        let of_metaflow = [of_any_domain, Metaflow::statements(), routes_of_metaflow()].concat();
        let of_books = projection::STATEMENTS.to_vec();
        let of_control = [control::STATEMENTS, control::notes::STATEMENTS].concat();
        let on = |tables: &Arc<dyn Tables>, statements: Vec<&'static Statement>| -> Vec<_> {
            statements.into_iter().map(|statement| (Arc::clone(tables), statement)).collect()
        };
        let all = [on(&tables, of_metaflow), on(&books, of_books), on(&control, of_control)].concat();
        assert!(all.len() > 50, "statements are missing");
        let failed = blocking(move || {
            let mut failed = Vec::new();
            for (tables, statement) in all {
                let errors: Vec<String> = fitting(statement)
                    .iter()
                    .filter_map(|params| {
                        let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
                        transaction.read(statement, params).err().map(|error| error.to_string())
                    })
                    .collect();
                // Either many rows or one: a statement is written for one of the two.
                if errors.len() == 2 {
                    failed.push(format!("{}: {errors:?}", statement.name));
                }
                if let Some(declared) = statement.columns {
                    let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
                    let found = transaction.columns(statement).unwrap_or_else(|error| panic!("{error}"));
                    if !declared.all().eq(found.iter().map(String::as_str)) {
                        let declared: Vec<_> = declared.all().collect();
                        failed.push(format!("{}: its rows have {found:?}, their struct {declared:?}", statement.name));
                    }
                }
            }
            failed
        })
        .await;
        assert!(failed.is_empty(), "{}: {failed:#?}", place.store.describe());
    }
}

/// The index by which each look-up must find its rows, also on tables that are new and of which PostgreSQL knows nothing:
/// a plan by another index would read a whole run for each row, for as long as the connection lives.
const LOOK_UPS: [(&str, &str, &str); 20] = [
    ("flow", "flows AS f", "flows_pkey"),
    ("run", "runs AS r", "runs_pkey"),
    ("run_by_name", "runs AS r", "runs_named"),
    ("step", "steps AS s", "steps_pkey"),
    ("task", "tasks AS t", "tasks_pkey"),
    ("task_by_name", "tasks AS t", "tasks_named"),
    ("show", "artifacts AS a", "artifacts_pkey"),
    ("show_of_attempt", "artifacts AS a", "artifacts_pkey"),
    ("tasks/insert", "steps AS p", "steps_pkey"),
    ("artifacts/insert", "tasks AS p", "tasks_pkey"),
    ("metadata/insert", "tasks AS p", "tasks_pkey"),
    ("tasks/missing", "tasks AS p", "tasks_pkey"),
    ("steps/not_inserted", "runs AS p", "runs_pkey"),
    ("steps/not_inserted", "steps AS s", "steps_pkey"),
    ("tasks/not_inserted", "steps AS p", "steps_pkey"),
    ("tasks/not_inserted", "tasks AS t", "tasks_pkey"),
    ("read_runs", "runs AS r", "runs_pkey"),
    ("read_steps", "steps AS s", "steps_pkey"),
    ("read_tasks", "tasks AS t", "tasks_pkey"),
    ("read_artifacts", "artifacts AS a", "artifacts_pkey"),
];

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_by_key_use_that_key_also_on_tables_that_are_new() {
    let places = places("plans");
    let place = places.iter().find(|place| place.store.shared()).unwrap_or_else(|| panic!("no PostgreSQL"));
    let tables = generation(place.store.as_ref(), 1).await;
    let statements = [Metaflow::statements(), routes_of_metaflow()].concat();
    for (name, from, index) in LOOK_UPS {
        let found = statements.iter().find(|it| it.name.ends_with(name) && it.postgres.contains(from));
        let found = found.unwrap_or_else(|| panic!("no statement {name} over {from}"));
        let text: &'static str = Box::leak(format!("EXPLAIN {}", found.postgres).into_boxed_str());
        let explain: &'static Statement =
            Box::leak(Box::new(Statement { name, postgres: text, sqlite: "", columns: None }));
        let [many, one] = fitting(found);
        let rows = match tables.read(explain, many).await {
            Ok(rows) => rows,
            Err(_) => tables.read(explain, one).await.unwrap_or_else(|error| panic!("{name}: {error}")),
        };
        let plan = rows.iter().filter_map(|row| row.text(0).ok()).collect::<Vec<_>>().join("\n");
        let table = from.split(' ').next().unwrap_or_default();
        let others: Vec<_> =
            plan.lines().filter(|line| line.contains("using") && line.contains(&format!(" on {table} "))).collect();
        assert!(
            !others.is_empty() && others.iter().all(|line| line.contains(index)),
            "{name} is not by {index}:\n{plan}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_that_tables_take_is_told_and_what_is_not_there_takes_none() {
    for place in places("space") {
        generation(place.store.as_ref(), 1).await;
        let space = async |number| {
            let space = place.store.space(&place.store.schema("metaflow", number)).await;
            space.unwrap_or_else(|error| panic!("{}: {error}", place.store.describe()))
        };
        assert!(space(1).await.used > 10_000, "{}: {:?}", place.store.describe(), space(1).await);
        assert_eq!(space(2).await.used, 0, "{}", place.store.describe());
        // A server does not tell what is free on its disk.
        assert_eq!(space(1).await.free.is_some(), !place.store.shared());
    }
}
