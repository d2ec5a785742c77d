//! Many collections in one process: what they take of it and of network stores keeps to the budget of
//! docs/CATALOGUE.md, and all of them answer, also after a restart.

use std::fs;

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    services, wait,
};
use reqwest::Method;
use serde_json::json;

use crate::define;

const ON_NETWORK_STORES: usize = 20;
const EMBEDDED: usize = 200;
/// Of so many embedded collections one is written: the budget is of those that nobody writes.
const OF_WRITTEN: usize = 20;
/// Connections that a process keeps while nobody uses them, and some of its own.
const CONNECTIONS_KEPT: usize = 55;
/// What each collection takes, by docs/CATALOGUE.md.
const EACH_ON_NETWORK_STORES: Taken = Taken { threads: 10, files: 20, memory_mib: 6 };
const EACH_EMBEDDED: Taken = Taken { threads: 3, files: 11, memory_mib: 3 };
/// What a process may take besides, however many there are: threads that wait for work, connections, caches.
const BESIDES: Taken = Taken { threads: 100, files: 150, memory_mib: 200 };

/// What a process takes.
#[derive(Debug, Clone, Copy)]
struct Taken {
    threads: usize,
    files: usize,
    memory_mib: usize,
}

impl Taken {
    fn by(server: &Server) -> Self {
        let count = |folder: &str| fs::read_dir(format!("/proc/{}/{folder}", server.pid())).map_or(0, Iterator::count);
        Self { threads: count("task"), files: count("fd"), memory_mib: server.memory_kib("RssAnon") / 1024 }
    }

    /// The most with so many collections more.
    fn with(self, each: Self, collections: usize) -> Self {
        let most = |now: usize, each: usize, besides: usize| now + each * collections + besides;
        Self {
            threads: most(self.threads, each.threads, BESIDES.threads),
            files: most(self.files, each.files, BESIDES.files),
            memory_mib: most(self.memory_mib, each.memory_mib, BESIDES.memory_mib),
        }
    }

    fn is_within(self, most: Self) -> bool {
        self.threads <= most.threads && self.files <= most.files && self.memory_mib <= most.memory_mib
    }
}

/// Waits until a process takes no more than it may: what it has used for a moment it gives back.
async fn keeps_to(server: &Server, most: Taken) {
    eprintln!("{:?} are taken, {most:?} may be", Taken::by(server));
    wait::until(&format!("no more than {most:?} are taken"), async || Taken::by(server).is_within(most)).await;
}

/// Connections of this process to PostgreSQL.
fn connections(name: &str) -> usize {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
    services::sql(&services::postgres(), &count).parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Defines a collection.
async fn make(api: &Api, number: usize) {
    let definition = format!("collection = 'c{number}'\nkey = 'id'\n[fields]\nid = 'text'\ntitle = 'text'\n");
    define(api, &format!("c{number}"), &definition).await;
}

/// Writes a record of a collection.
async fn write(api: &Api, number: usize) {
    let path = format!("/api/v1/collections/c{number}/records/a");
    let fields = json!({"title": format!("Pier {number}")}).to_string();
    let written = api.send(Method::PUT, &path, Some(fields), &[]).await;
    assert_eq!(written.status, 200, "{}", written.text);
}

/// Reads the record of a collection, and searches for it.
async fn read(api: &Api, number: usize) {
    let path = format!("/api/v1/collections/c{number}");
    let record = api.get(&format!("{path}/records/a")).await;
    assert_eq!(record.json()["fields"]["title"], format!("Pier {number}"), "{}", record.text);
    let is_found = async || api.get(&format!("{path}/search?q={number}")).await.json()["total"] == 1;
    wait::until("it is found", is_found).await;
}

/// Reads and searches all of them; the most connections that were open meanwhile.
async fn read_all(server: &Server, name: &str) -> usize {
    let mut most = 0;
    for number in 0..ON_NETWORK_STORES {
        read(&server.api, number).await;
        most = most.max(connections(name));
    }
    most
}

/// Each has a topic, a schema, and an index of one shard.
async fn check_stores(place: &Place) {
    let (bootstrap, prefix) = place.topics();
    let count = ON_NETWORK_STORES.to_string();
    services::python("fault/topics.py", &["expect", bootstrap, &format!("{prefix}.collection."), &count]);
    let parts = place.parts().await;
    let (indexes, schemas): (Vec<_>, Vec<_>) =
        parts.iter().filter(|part| part.contains("_collection_c")).partition(|part| part.contains('-'));
    assert_eq!((indexes.len(), schemas.len()), (ON_NETWORK_STORES, ON_NETWORK_STORES), "{parts:?}");
    let shards = format!("/_cat/shards/{prefix}*_collection_c*?h=prirep");
    let shards = Api::new(&services::elasticsearch()).get(&shards).await.text;
    let primaries = shards.lines().filter(|line| line.trim() == "p").count();
    assert_eq!(primaries, ON_NETWORK_STORES, "{shards}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_collections_on_network_stores_keep_to_their_budget() {
    let name = services::unique("many");
    let tables = format!("{}?application_name={name}", services::postgres());
    let place = Place::new("many", Backend::Distributed).through(&services::kafka(), &tables);
    let server = Server::start(&place);
    let budget = Taken::by(&server).with(EACH_ON_NETWORK_STORES, ON_NETWORK_STORES);
    let mut most = 0;
    for number in 0..ON_NETWORK_STORES {
        make(&server.api, number).await;
        write(&server.api, number).await;
        most = most.max(connections(&name));
    }
    most = most.max(read_all(&server, &name).await);
    keeps_to(&server, budget).await;
    check_stores(&place).await;
    assert!(server.stop());
    let server = Server::start(&place);
    most = most.max(read_all(&server, &name).await);
    eprintln!("{ON_NETWORK_STORES} collections: at most {most} connections");
    keeps_to(&server, budget).await;
    wait::until("connections are closed", async || connections(&name) <= CONNECTIONS_KEPT).await;
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_embedded_collections_keep_to_their_budget() {
    let place = Place::new("manyembedded", Backend::Embedded);
    let server = Server::start(&place);
    let budget = Taken::by(&server).with(EACH_EMBEDDED, EMBEDDED);
    for number in 0..EMBEDDED {
        make(&server.api, number).await;
    }
    for number in (0..EMBEDDED).step_by(OF_WRITTEN) {
        write(&server.api, number).await;
        read(&server.api, number).await;
    }
    keeps_to(&server, budget).await;
    let tables =
        place.parts().await.into_iter().filter(|part| part.starts_with("collection.c") && part.ends_with(".db"));
    assert_eq!(tables.count(), EMBEDDED);
    assert!(server.stop());
    let server = Server::start(&place);
    let listed = server.api.get("/api/v1/collections?limit=500").await.json();
    assert_eq!(listed["collections"].as_array().map(Vec::len), Some(EMBEDDED), "{listed}");
    for number in (0..EMBEDDED).step_by(OF_WRITTEN) {
        read(&server.api, number).await;
        write(&server.api, number + 1).await;
    }
    keeps_to(&server, budget).await;
    assert!(server.stop());
}
