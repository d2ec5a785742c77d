//! Further tables of a collection: each row once, from the record with the lowest id, in one switch with the records.

use daybook_tests::{api::Api, process::Server};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    catalogue_revisions::{COLLECTION, begin, change, define, put, until},
    on_both,
};

const AUDIO: &str = "collection = 'image'\nkey = 'id'\n[fields]\nid = 'text'\naudio_set = 'json'\ntitle = 'text'\n";
const BY_URL: &str = "[[tables]]\nname = 'audioset'\nfrom = 'audio_set'\nkey = ['provider', 'url']\n";
const BY_PROVIDER: &str = "[[tables]]\nname = 'audioset'\nfrom = 'audio_set'\nkey = ['provider']\n";

/// A record of a set.
fn of_set(url: &str, title: &str) -> Value {
    json!({"audio_set": {"provider": "jamendo", "url": url, "title": title}})
}

/// The record and the title of each row, in order of the titles.
async fn rows(api: &Api, limit: usize) -> Vec<(String, String)> {
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let answer = api.get(&format!("{COLLECTION}/tables/audioset?limit={limit}&after={after}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let page = answer.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of_page: Vec<_> = page["rows"].as_array().into_iter().flatten().collect();
        assert!(of_page.len() <= limit, "{page}");
        rows.extend(of_page.iter().map(|row| (text(&row["row"]["title"]), text(&row["record_id"]))));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    rows.sort();
    rows
}

async fn check(api: &Api, expected: &[(&str, &str)], when: &str) {
    for limit in [1, 2, 100] {
        let rows = rows(api, limit).await;
        let rows: Vec<_> = rows.iter().map(|(title, record)| (title.as_str(), record.as_str())).collect();
        assert_eq!(rows, expected, "{when}, {limit} a page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_records_the_lowest_id_counts_whatever_becomes_of_them() {
    on_both("furthertables", |_place, server| async move {
        let api = &server.api;
        define(api, &format!("{AUDIO}{BY_URL}")).await;
        check(api, &[], "nothing is written").await;
        put(api, "b", &of_set("1", "One by b")).await;
        put(api, "c", &of_set("1", "One by c")).await;
        put(api, "d", &of_set("2", "Two by d")).await;
        put(api, "e", &json!({"audio_set": {"provider": "jamendo"}})).await;
        put(api, "f", &json!({"title": "of no set"})).await;
        check(api, &[("One by b", "b"), ("Two by d", "d")], "written").await;
        put(api, "a", &of_set("1", "One by a")).await;
        check(api, &[("One by a", "a"), ("Two by d", "d")], "a lower id").await;
        // The next one counts once it is hidden, and it counts again.
        let taken = api.post(&format!("{COLLECTION}/takedowns"), &json!({"ids": ["a"], "reason": "licence"})).await;
        assert_eq!(taken.status, 200, "{}", taken.text);
        check(api, &[("One by b", "b"), ("Two by d", "d")], "taken down").await;
        put(api, "a", &of_set("1", "One by a again")).await;
        check(api, &[("One by b", "b"), ("Two by d", "d")], "still taken down").await;
        let reinstated = api.send(Method::DELETE, &format!("{COLLECTION}/takedowns/a"), None, &[]).await;
        assert_eq!(reinstated.status, 200, "{}", reinstated.text);
        check(api, &[("One by a again", "a"), ("Two by d", "d")], "reinstated").await;
        // A record that goes to another set leaves the one that it was in.
        put(api, "a", &of_set("3", "Three by a")).await;
        put(api, "d", &json!({"title": "of no set any more"})).await;
        check(api, &[("One by b", "b"), ("Three by a", "a")], "moved").await;
        for record in ["b", "c"] {
            let removed = api.send(Method::DELETE, &format!("{COLLECTION}/records/{record}"), None, &[]).await;
            assert_eq!(removed.status, 200, "{}", removed.text);
        }
        check(api, &[("Three by a", "a")], "removed").await;

        let row = async |table: &str, key: &str| api.get(&format!("{COLLECTION}/tables/{table}{key}")).await;
        let found = row("audioset", "/row?provider=jamendo&url=3").await;
        let expected = json!({"record_id": "a", "row": {"provider": "jamendo", "title": "Three by a", "url": "3"}});
        assert_eq!((found.status, found.json()), (200, expected));
        for (table, key, status, named) in [
            ("audioset", "/row?provider=jamendo&url=1", 404, "no such row"),
            ("audioset", "/row?provider=jamendo", 400, "url is missing"),
            ("audioset", "?limit=0", 400, "limit"),
            ("sets", "", 404, "no table sets"),
            ("sets", "/row", 404, "no table sets"),
        ] {
            let answer = row(table, key).await;
            assert_eq!(answer.status, status, "{table}{key}: {}", answer.text);
            assert!(answer.text.contains(named), "{table}{key}: {}", answer.text);
        }
        assert!(server.stop());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_records_switch_together_and_the_way_back_loses_nothing() {
    on_both("tableswitch", |place, server| async move {
        let api = &server.api;
        define(api, AUDIO).await;
        put(api, "a", &of_set("1", "One")).await;
        put(api, "b", &of_set("2", "Two")).await;
        assert_eq!(api.get(&format!("{COLLECTION}/tables/audioset")).await.status, 404);

        // A definition that adds the table, one that changes its key, and the same one again.
        let both: &[(&str, &str)] = &[("One", "a"), ("Two", "b")];
        let turns = [(BY_URL, both, 0, 2), (BY_PROVIDER, &both[..1], 2, 1), (BY_PROVIDER, &both[..1], 1, 1)];
        for (number, (table, expected, before, after)) in (2..).zip(turns) {
            define(api, &format!("{AUDIO}{table}")).await;
            let generation = begin(api, false).await;
            assert_eq!(generation, number);
            until(api, generation, "ready").await;
            let output = server.command(&["refresh", "report", "--collection", "image", "--json"]);
            let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let rows = &report["tables"][0];
            let counted = (&rows["table"], &rows["rows"]["before"], &rows["rows"]["after"], &report["passed"]);
            assert_eq!(counted, (&json!("audioset"), &json!(before), &json!(after), &json!(true)), "{report}");
            let promoted = change(api, generation, "promote").await;
            assert_eq!(promoted.status, 200, "{}", promoted.text);
            check(api, expected, &format!("generation {generation}")).await;
        }
        // What is written goes to both.
        put(api, "a", &of_set("1", "One again")).await;
        put(api, "c", &of_set("3", "Three")).await;
        check(api, &[("One again", "a")], "written").await;
        assert_eq!(change(api, 3, "rollback").await.status, 200);
        check(api, &[("One again", "a")], "the way back").await;
        assert!(server.stop());
        let server = Server::start(&place);
        check(&server.api, &[("One again", "a")], "after a restart").await;
        assert!(server.stop());
    })
    .await;
}
