//! Tables and index of a collection switch together: each answer is of the generation that it names, and the pages of a
//! search go on in theirs.

use std::collections::BTreeSet;

use daybook_tests::{
    api::{Answer, Api},
    process::{Backend, Place, Server},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::catalogue_revisions::{COLLECTION, begin, change, define, put, until};

const IMAGES: &str = "collection = 'image'\nkey = 'id'\n[fields]\nid = 'text'\ntitle = 'text'\nwidth = 'int'\n";
/// What the second generation makes of titles.
const RULE: &str = "[clean]\nrules = [{ id = 'titles', kind = 'sanitize-text', fields = ['title'] }]\n";
const RECORDS: usize = 6;
/// Switches there and back again.
const TURNS: usize = 4;

/// The title of a record by the generation that an answer names.
fn title(answer: &Answer, number: u64) -> String {
    let blanks = if answer.header("daybook-generation") == "1" { "   " } else { " " };
    format!("Pier{blanks}{number}")
}

async fn search(api: &Api, more: &str) -> Answer {
    let answer = api.get(&format!("{COLLECTION}/search?sort=width{more}")).await;
    assert_eq!(answer.status, 200, "{more}: {}", answer.text);
    answer
}

/// Checks the hits of an answer, which begin with a record.
fn check_hits(answer: &Answer, first: u64, count: usize) {
    let hits = answer.json()["hits"].as_array().cloned().unwrap_or_default();
    let found: Vec<Value> = hits.iter().map(|hit| hit["title"].clone()).collect();
    let expected: Vec<Value> = (first..).take(count).map(|number| title(answer, number).into()).collect();
    assert_eq!(found, expected, "generation {}", answer.header("daybook-generation"));
}

/// Reads a record and searches until it is stopped; the generations that answered.
async fn read(api: &Api, stop: watch::Receiver<bool>) -> [BTreeSet<String>; 2] {
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    while !*stop.borrow() {
        let record = api.get(&format!("{COLLECTION}/records/r3")).await;
        assert_eq!(record.json()["fields"]["title"], title(&record, 3), "{}", record.text);
        let found = search(api, "").await;
        check_hits(&found, 0, RECORDS);
        for (seen, answer) in seen.iter_mut().zip([record, found]) {
            seen.insert(answer.header("daybook-generation").to_owned());
        }
    }
    seen
}

/// Makes the second generation live, and the first one again. Each answer after a switch is of the live one.
async fn switch_and_back(api: &Api, turn: usize) {
    for (to, asked, from) in [(2, "promote", "1"), (1, "rollback", "2")] {
        let page = search(api, "&limit=2").await;
        assert_eq!(page.header("daybook-generation"), from, "turn {turn}");
        let next = page.json()["next_cursor"].as_str().unwrap_or_default().to_owned();
        let changed = change(api, to, asked).await;
        assert_eq!(changed.status, 200, "{asked}: {}", changed.text);
        let live = to.to_string();
        let record = api.get(&format!("{COLLECTION}/records/r3")).await;
        let found = search(api, "").await;
        let named = [&record, &found].map(|answer| answer.header("daybook-generation"));
        assert_eq!(named, [&live, &live], "turn {turn}: tables and index are of different generations");
        // The page after the one from before the switch.
        let page = search(api, &format!("&limit=2&cursor={next}")).await;
        assert_eq!(page.header("daybook-generation"), from, "turn {turn}: {}", page.text);
        check_hits(&page, 2, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_of_the_generation_that_it_names_and_pages_go_on_over_a_switch() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("collectionswitch", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(api, IMAGES).await;
        for number in 0..RECORDS {
            let fields = json!({"title": format!("Pier   {number}"), "width": number});
            put(api, &format!("r{number}"), &fields).await;
        }
        define(api, &format!("{IMAGES}{RULE}")).await;
        let generation = begin(api, false).await;
        until(api, generation, "ready").await;
        let stop = watch::Sender::new(false);
        let switching = async {
            for turn in 0..TURNS {
                switch_and_back(api, turn).await;
            }
            stop.send_replace(true);
        };
        let ((), one, other) = tokio::join!(switching, read(api, stop.subscribe()), read(api, stop.subscribe()));
        for seen in [one, other] {
            let both = BTreeSet::from(["1".to_owned(), "2".to_owned()]);
            assert_eq!(seen, [both.clone(), both], "{backend:?}");
        }
        assert!(server.stop());
    }
}
