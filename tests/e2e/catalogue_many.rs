//! Many collections in one process on network stores: what they take of PostgreSQL is bounded, and all of them answer, also
//! after a restart.

use daybook_tests::{
    process::{Backend, Place, Server},
    services, wait,
};
use reqwest::Method;
use serde_json::json;

use crate::define;

const COLLECTIONS: usize = 20;
/// Connections that a process keeps while nobody uses them, and some of its own.
const CONNECTIONS_KEPT: usize = 55;

/// Connections of this process to PostgreSQL.
fn connections(name: &str) -> usize {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
    services::sql(&services::postgres(), &count).parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Reads and searches all of them; the most connections that were open meanwhile.
async fn read(server: &Server, name: &str) -> usize {
    let mut most = 0;
    for number in 0..COLLECTIONS {
        let path = format!("/api/v1/collections/c{number}");
        let record = server.api.get(&format!("{path}/records/a")).await;
        assert_eq!(record.json()["fields"]["title"], format!("Pier {number}"), "{}", record.text);
        let is_found = async || server.api.get(&format!("{path}/search?q={number}")).await.json()["total"] == 1;
        wait::until("it is found", is_found).await;
        most = most.max(connections(name));
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn many_collections_on_network_stores_keep_within_the_connections_that_postgresql_has() {
    let name = services::unique("many");
    let tables = format!("{}?application_name={name}", services::postgres());
    let place = Place::new("many", Backend::Distributed).through(&services::kafka(), &tables);
    let server = Server::start(&place);
    let mut most = 0;
    for number in 0..COLLECTIONS {
        let definition = format!("collection = 'c{number}'\nkey = 'id'\n[fields]\nid = 'text'\ntitle = 'text'\n");
        define(&server.api, &format!("c{number}"), &definition).await;
        let path = format!("/api/v1/collections/c{number}");
        let fields = json!({"title": format!("Pier {number}")}).to_string();
        let written = server.api.send(Method::PUT, &format!("{path}/records/a"), Some(fields), &[]).await;
        assert_eq!(written.status, 200, "{}", written.text);
        most = most.max(connections(&name));
    }
    most = most.max(read(&server, &name).await);
    assert!(server.stop());
    let server = Server::start(&place);
    most = most.max(read(&server, &name).await);
    eprintln!("{COLLECTIONS} collections: at most {most} connections");
    wait::until("connections are closed", async || connections(&name) <= CONNECTIONS_KEPT).await;
    assert!(server.stop());
}
