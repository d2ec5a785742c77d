//! What PostgreSQL, or a pooler before it, must be able to do is asked at start: what cannot heal by itself is refused
//! with the remedy, and what can is retryable.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use daybook_projector::tables::{
    Params, Statement, Store, Tables, TablesError,
    postgres::{Address, Config, PostgresStore},
};
use daybook_tests::{
    services::{self, OwnServices, sql},
    wait,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::tables::generation;

fn store(url: &str, schema: &str) -> PostgresStore {
    let address = Address::parse(url).unwrap_or_else(|faults| panic!("{url}: {faults:?}"));
    let (schema, timeout) = (schema.to_owned(), Duration::from_secs(30));
    PostgresStore::new(Config { address, schema, connections_max: 4, timeout })
}

/// Why a store cannot be opened.
async fn refusal(url: &str) -> TablesError {
    let opened = store(url, &services::unique("refused")).control().await;
    opened.err().unwrap_or_else(|| panic!("{url} is taken"))
}

/// The same URL with another database or user.
fn with(url: &str, user: &str, database: &str) -> String {
    let place = url.rsplit_once('@').map_or(url, |(_, place)| place);
    format!("postgres://{user}@{}/{database}", place.split('/').next().unwrap_or_default())
}

/// Why a server is refused that answers as one of HTTP does what it cannot read.
async fn other_protocol() -> TablesError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
    let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            // The client sees an answer, or the end.
            let _read = stream.read(&mut request).await;
            let _written = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            let _closed = stream.shutdown().await;
        }
    });
    let refused = refusal(&format!("postgres://postgres@{address}/x?sslmode=disable")).await;
    server.abort();
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_heal_by_itself_is_refused_with_the_remedy() {
    let (url, name) = (services::postgres(), services::unique("refusals"));
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = format!("{name}_{}", encoding.to_lowercase());
        let create = format!("CREATE DATABASE {database} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        sql(&url, &create);
        let refused = refusal(&with(&url, "postgres", &database)).await;
        sql(&url, &format!("DROP DATABASE {database} WITH (FORCE)"));
        assert!(matches!(&refused, TablesError::Unusable(text) if text.contains(encoding)), "{refused}");
        assert!(refused.to_string().contains("ENCODING 'UTF8'"), "{refused}");
    }
    sql(&url, &format!("CREATE ROLE {name} LOGIN"));
    let not_granted = refusal(&with(&url, &name, "postgres")).await;
    sql(&url, &format!("DROP ROLE {name}"));
    let wrong_setting = format!("{}?options=-c%20no_such_setting%3D1", with(&url, "postgres", "postgres"));
    sql(&url, &format!("CREATE ROLE {name} SUPERUSER LOGIN"));
    sql(&url, &format!("ALTER ROLE {name} SET default_transaction_read_only = on"));
    let read_only = refusal(&with(&url, &name, "postgres")).await;
    sql(&url, &format!("DROP ROLE {name}"));
    for (refused, remedy) in [
        (read_only, "ALTER ROLE"),
        (other_protocol().await, "no PostgreSQL"),
        (not_granted, "grant the role"),
        (refusal(&with(&url, "postgres", "no_such_database")).await, "create the database"),
        (refusal(&with(&url, "no_such_role", "postgres")).await, "pg_hba.conf"),
        (refusal(&wrong_setting).await, "correct the options"),
        (refusal(&format!("{}?sslmode=require", with(&url, "postgres", "postgres"))).await, "correct sslmode"),
    ] {
        assert!(matches!(&refused, TablesError::Unusable(text) if text.contains(remedy)), "{refused:?}");
    }
    let nobody = refusal("host=127.0.0.1 port=1 user=postgres").await;
    assert!(nobody.is_retryable() && nobody.to_string().contains("refused"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_session_mode_works_and_one_in_transaction_mode_is_refused_by_name() {
    let own = OwnServices::start("postgres,pgbouncer");
    let store = store(&own.url("pgbouncer"), "pooled");
    store.control().await.unwrap_or_else(|error| panic!("{error}"));
    let tables = generation(&store, 1).await;
    let mut heard = tables.listen().await.unwrap_or_else(|error| panic!("{error}"));
    let of_thread = std::sync::Arc::clone(&tables);
    let notified = tokio::task::spawn_blocking(move || {
        let mut transaction = of_thread.begin()?;
        transaction.notify("heard")?;
        transaction.commit()
    });
    assert!(notified.await.is_ok_and(|notified| notified.is_ok()), "a session takes a transaction");
    let payload = match &mut heard {
        Some(heard) => heard.recv().await,
        None => None,
    };
    assert_eq!(payload.as_deref(), Some("heard"));

    let shared = own.of("pgbouncer")["shared_url"].as_str().unwrap_or_default().to_owned();
    let refused = refusal(&shared).await;
    assert!(matches!(&refused, TablesError::Unusable(text) if text.contains("pool_mode = session")), "{refused:?}");
    let unknown = refusal(&with(&shared, "postgres", "no_such_database")).await;
    assert!(matches!(unknown, TablesError::Unusable(_)), "{unknown:?}");
    let parameter = format!("{}?options=-c%20work_mem%3D8MB", own.url("pgbouncer"));
    let refused = refusal(&parameter).await;
    assert!(matches!(&refused, TablesError::Unusable(text) if text.contains("startup parameter")), "{refused:?}");
}

/// More connections than a store keeps while nobody uses them, and those that it keeps, with some of its own.
const MANY: usize = 80;
const KEPT: usize = 55;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_many_schemas_closes_connections_that_nobody_uses_before_the_server_has_none_left() {
    static ONE: Statement = Statement { name: "one", postgres: "SELECT 1::BIGINT", sqlite: "SELECT 1", columns: None };
    let (url, name) = (services::postgres(), services::unique("crowd"));
    let store = store(&format!("{url}?application_name={name}"), &name);
    store.control().await.unwrap_or_else(|error| panic!("{error}"));
    // As many pools as schemas would have.
    let read = async || -> Arc<dyn Tables> {
        let tables = store.open(&name).await.unwrap_or_else(|error| panic!("{error}"));
        tables.read(&ONE, Params::One(Vec::new())).await.unwrap_or_else(|error| panic!("{error}"));
        tables
    };
    let count = || {
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
        sql(&url, &count).parse::<usize>().unwrap_or_else(|error| panic!("{error}"))
    };
    let (began, mut tables) = (Instant::now(), Vec::new());
    for _ in 0..MANY {
        tables.push(read().await);
    }
    // Some are kept, though nobody uses them.
    wait::until("what nobody uses is closed", async || count() <= KEPT).await;
    assert!(began.elapsed() < Duration::from_secs(60), "they were closed because of their age alone");
    for tables in &tables {
        tables.read(&ONE, Params::One(Vec::new())).await.unwrap_or_else(|error| panic!("{error}"));
    }
    sql(&url, &format!("DROP SCHEMA {name} CASCADE"));
}
