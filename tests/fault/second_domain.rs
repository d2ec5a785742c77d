//! Kill -9 in the middle of rebuilds, promotions and ways back of a second domain, under writers: what holds for Metaflow
//! holds for every domain.

use std::collections::BTreeSet;

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    random::Random,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Duration, interval},
};

use crate::rounds;

const WRITERS: usize = 4;
const SHELF: &str = "/shelves/Algorithms/books";
/// Writes that may be acknowledged between a request for a change and the kill.
const WRITES_MAX: usize = 60;
/// Before a request is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// A book that was acknowledged.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Book {
    number: i64,
    title: String,
}

/// Writers that add books, one after the other, each until it is acknowledged.
struct Writers {
    api: watch::Sender<Api>,
    stop: watch::Sender<bool>,
    acknowledged: watch::Sender<usize>,
    tasks: JoinSet<Vec<Book>>,
}

impl Writers {
    fn start(api: &Api) -> Self {
        let (api, stop, acknowledged) =
            (watch::Sender::new(api.clone()), watch::Sender::new(false), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            tasks.spawn(add_books(writer, api.subscribe(), stop.subscribe(), acknowledged.clone()));
        }
        Self { api, stop, acknowledged, tasks }
    }

    /// Waits until so many more are acknowledged.
    async fn wait_for(&self, more: usize) {
        let (mut seen, goal) = (self.acknowledged.subscribe(), *self.acknowledged.borrow() + more);
        wait::until("writes are acknowledged", async || *seen.borrow_and_update() >= goal).await;
    }

    async fn stop(self) -> Vec<Book> {
        self.stop.send_replace(true);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

async fn add_books(
    writer: usize,
    api: watch::Receiver<Api>,
    stop: watch::Receiver<bool>,
    acknowledged: watch::Sender<usize>,
) -> Vec<Book> {
    let (mut books, mut pace) = (Vec::new(), interval(PAUSE));
    while !*stop.borrow() {
        let title = format!("writer{writer} volume{}", books.len());
        let body = json!({"title": title, "author": "Knuth"}).to_string();
        let headers = [("idempotency-key", title.as_str())];
        let number = loop {
            let current = api.borrow().clone();
            let answer = current.try_send(Method::POST, SHELF, Some(body.clone()), &headers).await;
            match answer.ok().filter(|it| it.status == 200).and_then(|it| it.json()["book_id"].as_i64()) {
                Some(number) => break number,
                None => pace.tick().await,
            };
        };
        books.push(Book { number, title });
        acknowledged.send_modify(|count| *count += 1);
    }
    books
}

/// The generations of the domain with a state.
async fn in_state(api: &Api, state: &str) -> Vec<i64> {
    let answer = api.get("/api/v1/generations?domain=books").await.json();
    let listed = answer.as_array().into_iter().flatten().filter(|it| it["state"] == state);
    listed.filter_map(|it| it["generation"].as_i64()).collect()
}

/// Asks for a change, and kills the process meanwhile. Its answer may be lost.
async fn change_and_kill(place: &Place, server: Server, writers: &Writers, random: &mut Random, path: &str) -> Server {
    let (api, path) = (server.api.clone(), path.to_owned());
    let asked =
        tokio::spawn(async move { api.try_send(Method::POST, &path, Some("{}".to_owned()), &[]).await.is_ok() });
    writers.wait_for(random.below(WRITES_MAX)).await;
    server.kill();
    let server = Server::start(place);
    writers.api.send_replace(server.api.clone());
    let _was_answered = asked.await;
    server
}

/// Asks for a change until it is made: the kill may have come before it was noted.
async fn until(api: &Api, path: &str, generation: i64, state: &str) {
    wait::until("the change is made", async || {
        let is_made = in_state(api, state).await.contains(&generation);
        if !is_made {
            // It is refused while it is under way.
            let _answer = api.post(path, &json!({})).await;
        }
        is_made
    })
    .await;
}

async fn kill_in_the_middle_of_changes(backend: Backend) {
    let mut random = Random::seeded("second-domain");
    let place = Place::new("second_domain", backend).with_program("daybook-books");
    let mut server = Server::start(&place);
    let writers = Writers::start(&server.api);
    writers.wait_for(200).await;
    for round in 0..rounds(3) {
        let begun = server.api.post("/api/v1/rebuilds?domain=books", &json!({"promote": true})).await;
        let Some(candidate) = begun.json()["generation"].as_i64() else { panic!("{}", begun.text) };
        writers.wait_for(random.below(WRITES_MAX)).await;
        server.kill();
        server = Server::start(&place);
        writers.api.send_replace(server.api.clone());
        wait::until("the rebuild is live", async || in_state(&server.api, "live").await == [candidate]).await;
        let previous = in_state(&server.api, "previous").await;
        let [previous] = previous[..] else { panic!("{previous:?} are previous") };
        let path = format!("/api/v1/generations/{previous}/rollback?domain=books");
        server = change_and_kill(&place, server, &writers, &mut random, &path).await;
        until(&server.api, &path, previous, "live").await;
        let path = format!("/api/v1/generations/{candidate}/retire?domain=books");
        server = change_and_kill(&place, server, &writers, &mut random, &path).await;
        until(&server.api, &path, candidate, "retired").await;
        eprintln!("{backend:?}: round {round} done");
    }
    let books = writers.stop().await;
    let numbers: BTreeSet<i64> = books.iter().map(|book| book.number).collect();
    assert_eq!(numbers.len(), books.len(), "a number was given out twice");
    for book in &books {
        let answer = server.api.get(&format!("{SHELF}/{}", book.number)).await;
        assert_eq!(answer.json()["title"], Value::from(book.title.as_str()), "{book:?}: {}", answer.text);
    }
    let rebuilt = server.command(&["rebuild", "--domain", "books", "--promote"]);
    assert!(rebuilt.status.success(), "a replay of the log differs from the tables: {rebuilt:?}");
    wait::until("the index has every book once", async || {
        let found = server.api.get("/api/books/search?limit=0").await.json();
        found["complete"] == true && found["total"] == books.len()
    })
    .await;
    assert!(server.stop(), "the server did not stop in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_changes_of_a_second_domain_loses_nothing_embedded() {
    kill_in_the_middle_of_changes(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_changes_of_a_second_domain_loses_nothing_on_kafka_and_postgres() {
    kill_in_the_middle_of_changes(Backend::Distributed).await;
}
