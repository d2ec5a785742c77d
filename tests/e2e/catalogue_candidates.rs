//! Candidates of a refresh: rules that are off, previews, canaries that block, what is left of one that is given up,
//! and the report of one that is retired.

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    services, wait,
};
use reqwest::Method;
use serde_json::json;

use crate::catalogue_refresh::{define, refresh, report};

const IMAGES: &str = r#"
collection = "image"
key = "id"
[fields]
id = "text"
source = { type = "text", max_length = 80 }
title = "text"
is_private = { type = "bool", default = false }
[filtered]
terms = ["bird"]
fields = ["title"]
also_exclude = ["mature", "is_private"]
[verify]
max_drop = "50 %"
max_drop_per_source = "100 %"
"#;
const COLLECTION: &str = "/api/v1/collections/image";
const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The definition with rules that are on or off.
fn with_rules(enabled: bool) -> String {
    format!(
        "{IMAGES}[clean]\n\
        rules = [{{ id = 'titles', kind = 'sanitize-text', fields = ['title'], enabled = {enabled} }}]\n\
        exclude = [{{ id = 'drafts', when = {{ source = 'draft' }}, enabled = {enabled} }}]\n"
    )
}

/// Writes records, and waits until they are found.
async fn fill(api: &Api) {
    let records = [
        json!({"id": "a", "source": "met", "title": "A  pier"}),
        json!({"id": "b", "source": "met", "title": "A bird"}),
        json!({"id": "c", "source": "met", "title": "A boat", "is_private": true}),
        json!({"id": "d", "source": "draft", "title": "A mast"}),
        json!({"id": "e", "source": "eol", "title": "A quay"}),
    ];
    let lines = records.map(|record| record.to_string()).join("\n");
    let sent = api.post_text(&format!("{COLLECTION}/records:bulk"), &lines).await;
    assert_eq!(sent.json()["upserted"], ALL.len(), "{}", sent.text);
    wait::until("all are found", async || found(api, "", &[]).await == ALL).await;
}

/// The ids that a search finds, in order.
async fn found(api: &Api, query: &str, headers: &[(&str, &str)]) -> Vec<String> {
    let answer = api.get_served(&format!("{COLLECTION}/search?{query}"), headers).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    let hits = answer.json()["hits"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> =
        hits.iter().map(|hit| hit["record_id"].as_str().unwrap_or_default().to_owned()).collect();
    ids.sort();
    ids
}

/// The title of a record, and the generation that shows it.
async fn title(api: &Api, headers: &[(&str, &str)]) -> (String, String) {
    let answer = api.get_served(&format!("{COLLECTION}/records/a"), headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let title = answer.json()["fields"]["title"].as_str().unwrap_or_default().to_owned();
    (answer.header("daybook-generation").to_owned(), title)
}

fn pair(generation: &str, title: &str) -> (String, String) {
    (generation.to_owned(), title.to_owned())
}

async fn check_previews(api: &Api) {
    for (generation, expected, ids) in [("1", "A  pier", &ALL[..]), ("2", "A pier", &["a", "b", "c", "e"][..])] {
        let preview = [("daybook-preview", generation)];
        assert_eq!(title(api, &preview).await, pair(generation, expected));
        assert_eq!(found(api, "", &preview).await, ids, "generation {generation}");
    }
    assert_eq!(title(api, &[]).await, pair("1", "A  pier"), "a candidate is live");
    assert_eq!(found(api, "", &[]).await, ALL, "a candidate is live");
    let record = format!("{COLLECTION}/records/a");
    assert_eq!(api.get_served(&record, &[("daybook-preview", "9")]).await.status, 404);
    let written = api.send(Method::PUT, &record, Some("{}".to_owned()), &[("daybook-preview", "2")]).await;
    assert_eq!(written.status, 400, "{}", written.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_are_off_do_nothing_and_a_candidate_with_rules_is_previewed_before_it_is_live() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("candidates", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(&server, &with_rules(false)).await;
        fill(api).await;
        define(&server, &with_rules(true)).await;
        refresh(&server, 0, &["start"]);
        let counted = report(&server, &[]);
        assert_eq!(counted["rows"], json!({"before": 5, "after": 5, "change": 0, "percent": 0.0}), "{backend:?}");
        assert_eq!(
            counted["documents"],
            json!({"before": 5, "after": 4, "change": -1, "percent": -20.0}),
            "{backend:?}"
        );
        let drafts = counted["by_source"].as_array().into_iter().flatten().find(|it| it["source"] == "draft");
        let expected = json!({"before": 1, "after": 0, "change": -1, "percent": -100.0});
        assert_eq!(drafts.map(|it| &it["documents"]), Some(&expected), "{counted}");
        assert_eq!(counted["rules"], json!([{"id": "titles", "records": 1, "sample": ["a"]}]), "{counted}");
        assert_eq!(counted["conservation"]["excluded"], json!({"drafts": 1}), "{counted}");
        check_previews(api).await;

        refresh(&server, 0, &["promote", "--yes"]);
        assert_eq!(title(api, &[]).await, pair("2", "A pier"), "{backend:?}");
        wait::until("what is excluded is not found", async || found(api, "", &[]).await == ["a", "b", "c", "e"]).await;
        define(&server, &with_rules(false)).await;
        refresh(&server, 0, &["start", "--promote"]);
        assert_eq!(title(api, &[]).await, pair("3", "A  pier"), "{backend:?}: what was written is kept");
        wait::until("what was excluded is found", async || found(api, "", &[]).await == ALL).await;
        assert!(server.stop());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_and_fields_that_are_true_leave_records_out_of_the_filtered_search() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("alsoexclude", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(&server, IMAGES).await;
        fill(api).await;
        let filtered = async |expected: &[&str]| {
            wait::until(&format!("{backend:?}: the filtered search finds {expected:?}"), async || {
                found(api, "sensitive=false", &[]).await == expected
            })
            .await;
        };
        filtered(&["a", "d", "e"]).await;
        let flag = async |value: bool| {
            let (path, body) = (format!("{COLLECTION}/records/e/flags/mature"), json!({"value": value}).to_string());
            let set = api.send(Method::PUT, &path, Some(body), &[]).await;
            assert_eq!(set.status, 200, "{}", set.text);
        };
        flag(true).await;
        filtered(&["a", "d"]).await;
        refresh(&server, 0, &["start", "--promote"]);
        let kept = report(&server, &[])["conservation"].clone();
        assert_eq!((&kept["sensitive"], &kept["filtered"]), (&json!(3), &json!(2)), "{kept}");
        filtered(&["a", "d"]).await;
        flag(false).await;
        filtered(&["a", "d", "e"]).await;
        assert_eq!(found(api, "", &[]).await, ALL, "{backend:?}");
        assert!(server.stop());
    }
}

fn canary(index: &str, query: &str, expect: &str) -> String {
    format!("[[canary]]\nindex = '{index}'\nquery = '{query}'\nexpect = {{ {expect} }}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn canaries_of_either_search_block_a_promotion_by_their_names() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("canaries", backend);
        let server = Server::start(&place);
        define(&server, IMAGES).await;
        fill(&server.api).await;
        let wrong = [
            canary("filtered", "bird", "min_hits = 1"),
            canary("main", "pier", "min_hits = 1, top_contains = \"zz\""),
            canary("main", "(pier", "min_hits = 1"),
        ];
        define(&server, &format!("{IMAGES}{}", wrong.concat())).await;
        let failed = refresh(&server, 6, &["start", "--promote"]);
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        for reason in [
            "the canary \"bird\" finds 0 documents, at least 1 are expected",
            "the canary \"pier\" does not find zz among the first 10",
            "the canary \"(pier\" cannot be run",
        ] {
            assert!(said.contains(reason), "{backend:?}: {said}");
        }
        let blocked = report(&server, &[]);
        let held =
            blocked["canaries"].as_array().into_iter().flatten().map(|it| (it["hits"].clone(), it["held"].clone()));
        let expected = [0, 1, 0].map(|hits| (json!(hits), json!(false)));
        assert_eq!(held.collect::<Vec<_>>(), expected, "{blocked}");
        refresh(&server, 5, &["promote", "--yes"]);
        assert_eq!(title(&server.api, &[]).await.0, "1", "{backend:?}: what is blocked is live");

        let right =
            [canary("main", "bird", "min_hits = 1, top_contains = \"b\""), canary("filtered", "pier", "min_hits = 1")];
        define(&server, &format!("{IMAGES}{}", right.concat())).await;
        refresh(&server, 0, &["start", "--promote"]);
        let passed = report(&server, &[]);
        let held = passed["canaries"].as_array().into_iter().flatten().map(|it| it["held"].clone());
        assert_eq!(held.collect::<Vec<_>>(), [json!(true), json!(true)], "{passed}");
        assert!(server.stop());
    }
}

/// Waits until only what the first generations have is there: tables, indexes, and on Elasticsearch their aliases.
async fn nothing_is_left(place: &Place, case: &str) {
    let of_first = async || place.parts().await.iter().all(|part| part.contains("_g0001"));
    wait::until(&format!("nothing is left of one that is {case}"), of_first).await;
    if place.backend == Backend::Distributed {
        let path = format!("/_cat/aliases/{}-*?h=index", place.topics().1);
        let aliases = Api::new(&services::elasticsearch()).get(&path).await;
        let leads_to_first = aliases.text.lines().all(|index| index.trim_end().ends_with("_g0001"));
        assert!(aliases.status == 200 && !aliases.text.is_empty() && leads_to_first, "{case}: {}", aliases.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_refreshes_that_are_given_up_or_fail() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("leftovers", backend);
        let server = Server::start(&place);
        let is_built = async |generation: &str| place.parts().await.iter().any(|part| part.contains(generation));
        define(&server, IMAGES).await;
        fill(&server.api).await;
        refresh(&server, 0, &["start"]);
        assert!(is_built("_g0002").await, "{backend:?}");
        refresh(&server, 0, &["cancel", "--yes", "--reason", "to try it"]);
        nothing_is_left(&place, "ready").await;

        refresh(&server, 0, &["start", "--no-wait"]);
        refresh(&server, 0, &["cancel", "--yes"]);
        nothing_is_left(&place, "being built").await;

        define(&server, &format!("{IMAGES}[refresh.deadline]\nready = '1ms'\n")).await;
        refresh(&server, 7, &["start"]);
        assert!(is_built("_g0004").await, "{backend:?}: what a deadline stopped is not kept");
        refresh(&server, 0, &["cancel", "--yes"]);
        nothing_is_left(&place, "stopped by a deadline").await;

        // Tables that are built, and an index that is built beside tables that are live.
        let (field, rule) = ("width = 'int'\n[filtered]", "[clean]\nexclude = [{ id = 'b', when = { id = 'b' } }]\n");
        let canary = canary("main", "absent", "min_hits = 1");
        for more in [IMAGES.replace("[filtered]", field), format!("{IMAGES}{rule}")] {
            define(&server, &format!("{more}{canary}")).await;
            refresh(&server, 6, &["start", "--promote"]);
            nothing_is_left(&place, "failed").await;
        }
        assert_eq!(found(&server.api, "", &[]).await, ALL, "{backend:?}");
        assert!(server.stop());
        nothing_is_left(&place, "failed, once the server has stopped").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_of_a_retired_generation_is_kept() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("reports", backend);
        let server = Server::start(&place);
        define(&server, &with_rules(true)).await;
        fill_excluded(&server.api).await;
        refresh(&server, 0, &["start", "--promote"]);
        let counted = |server: &Server| {
            let report = report(server, &["2"]);
            ["rows", "documents", "by_source", "rules", "conservation", "limits"].map(|name| report[name].clone())
        };
        let before = counted(&server);
        assert_eq!(before[1]["after"], 1, "{before:?}");
        refresh(&server, 0, &["start", "--promote"]);
        let retired = server.api.post("/api/v1/generations/2/retire?domain=collection.image", &json!({})).await;
        assert_eq!(retired.status, 200, "{}", retired.text);
        let is_gone = async || !place.parts().await.iter().any(|part| part.contains("_g0002"));
        wait::until("its parts are removed", is_gone).await;
        assert_eq!(counted(&server), before, "{backend:?}");
        assert!(server.stop());
        let server = Server::start(&place);
        assert_eq!(counted(&server), before, "{backend:?}: after a restart");
        assert_eq!(report(&server, &["2"])["state"], "retired", "{backend:?}");
        assert!(server.stop());
    }
}

/// Writes a record that is found, and one that is not.
async fn fill_excluded(api: &Api) {
    let lines = "{\"id\": \"a\", \"title\": \"A  pier\"}\n{\"id\": \"d\", \"source\": \"draft\"}\n";
    let sent = api.post_text(&format!("{COLLECTION}/records:bulk"), lines).await;
    assert_eq!(sent.json()["upserted"], 2, "{}", sent.text);
    wait::until("one is found", async || found(api, "", &[]).await == ["a"]).await;
}
