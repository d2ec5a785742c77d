//! Search of collections, and what cleaning and presets make of records.

use std::collections::BTreeMap;

use daybook_tests::{
    api::Answer,
    process::{Backend, Place, Server},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

const MAPS: &str = r#"
collection = "map"
key = "id"
[fields]
id = "text"
source = { type = "text", max_length = 80 }
title = "text"
type = { type = "text", max_length = 20 }
year = "int"
words = "text[]"
is_open = "bool"
made_on = "timestamp"
[clean]
rules = [{ id = "titles", kind = "sanitize-text", fields = ["title"] }]
exclude = [{ id = "drafts", when = { type = "draft" } }]
"#;

const IMAGES: &str = r#"
collection = "image"
key = "identifier"
preset = "openverse-image"
[fields]
identifier = "uuid"
source = { type = "text", max_length = 80 }
provider = { type = "text", max_length = 80 }
url = "text"
creator_url = "text"
foreign_landing_url = "text"
title = "text"
license = { type = "text", max_length = 50 }
width = "int"
height = "int"
tags = "json"
meta_data = "json"
standardized_popularity = "double"
removed_from_source = { type = "bool", default = false }
"#;

fn places(test: &str) -> [Place; 2] {
    [Backend::Embedded, Backend::Distributed].map(|backend| Place::new(test, backend))
}

struct Collection<'s> {
    server: &'s Server,
    path: String,
    /// The position of the last write to each partition.
    positions: BTreeMap<String, String>,
}

impl<'s> Collection<'s> {
    fn of(server: &'s Server, name: &str) -> Self {
        Self { server, path: format!("/api/v1/collections/{name}"), positions: BTreeMap::new() }
    }

    async fn define(server: &'s Server, name: &str, definition: &str) -> Self {
        crate::define(&server.api, name, definition).await;
        Self::of(server, name)
    }

    async fn send(&mut self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.server.api.send(method, &format!("{}{path}", self.path), Some(body.to_string()), &[]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        for position in answer.header("daybook-position").split(',') {
            let Some((partition, _)) = position.split_once('@') else { continue };
            self.positions.insert(partition.to_owned(), position.to_owned());
        }
        answer.json()
    }

    async fn put(&mut self, record_id: &str, fields: &Value) -> Value {
        self.send(Method::PUT, &format!("/records/{record_id}"), fields).await
    }

    async fn show(&self, path: &str) -> Answer {
        self.server.api.get(&format!("{}{path}", self.path)).await
    }

    /// What a search finds that waits for all writes.
    async fn search(&self, query: &str) -> Value {
        let path = format!("{}/search?{query}", self.path);
        let positions = self.positions.values().cloned().collect::<Vec<_>>().join(",");
        let found = self.server.api.get_served(&path, &[("daybook-min-position", &positions)]).await;
        assert_eq!(found.status, 200, "{query}: {}", found.text);
        found.json()
    }

    /// The ids that a search finds, in their order.
    async fn ids(&self, query: &str) -> Vec<String> {
        let found = self.search(query).await;
        let hits = found["hits"].as_array().cloned().unwrap_or_default();
        assert_eq!(found["total"], hits.len(), "{query}: {found}");
        hits.iter().map(|hit| hit["record_id"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_found_by_the_next_search_and_a_hidden_one_is_not() {
    for place in places("mapsearch") {
        let server = Server::start(&place);
        let mut maps = Collection::define(&server, "map", MAPS).await;
        assert_eq!(maps.ids("").await, [""; 0]);
        let pier = json!({"source": "atlas", "title": "The  old pier", "type": "plan", "year": 1901, "is_open": true,
            "words": ["sea", "wood"], "made_on": "1901-02-03T04:05:06Z"});
        maps.put("a", &pier).await;
        assert_eq!(maps.ids("q=pier").await, ["a"], "{:?}", place.backend);
        maps.put("b%2F%C3%BC", &json!({"source": "atlas", "title": "A pier", "year": 1850, "words": ["sea"]})).await;
        maps.put("c", &json!({"source": "survey", "title": "Hills", "type": "draft"})).await;
        let hit = maps.search("q=title:old").await["hits"][0].clone();
        assert_eq!(
            (&hit["title"], &hit["type_field"], &hit["is_open"]),
            (&json!("The old pier"), &json!("plan"), &json!(true))
        );
        assert_eq!((&hit["path"], &hit["revision"]), (&json!("/records/a"), &json!(1)), "{hit}");
        for (query, expected) in [
            ("sort=year", vec!["b/ü", "a"]),
            ("sort=-year", vec!["a", "b/ü"]),
            ("q=pier&is_open=true", vec!["a"]),
            ("words=sea&words=wood", vec!["a"]),
            ("type_field=plan", vec!["a"]),
            ("source=survey", vec![]),
            ("q=hills", vec![]),
            ("record_id=a", vec!["a"]),
            ("q=-wood&sort=year", vec!["b/ü"]),
        ] {
            assert_eq!(maps.ids(query).await, expected, "{query}, {:?}", place.backend);
        }
        let facets = maps.search("facets=source,words&limit=0").await["facets"].clone();
        assert_eq!(facets["source"], json!([{"value": "atlas", "count": 2}]), "an excluded record is counted");
        assert_eq!(facets["words"], json!([{"value": "sea", "count": 2}, {"value": "wood", "count": 1}]));
        assert_eq!(maps.show("/records/c").await.status, 200, "it is out of the index, not of the tables");
        // Out of the index, and back.
        maps.send(Method::POST, "/takedowns", &json!({"ids": ["a"], "reason": "licence"})).await;
        assert_eq!(maps.ids("").await, ["b/ü"]);
        maps.put("a", &json!({"title": "The new pier"})).await;
        assert_eq!(maps.ids("").await, ["b/ü"], "a record that is taken down is found once it is written");
        maps.send(Method::DELETE, "/takedowns/a", &Value::Null).await;
        assert_eq!(maps.ids("q=new").await, ["a"]);
        maps.send(Method::DELETE, "/records/a", &Value::Null).await;
        assert_eq!(maps.ids("").await, ["b/ü"]);
        // The same from documents that are all made anew, and after a restart.
        let begun = server.api.post("/api/v1/rebuilds?domain=collection.map", &json!({"promote": true})).await;
        assert_eq!(begun.status, 202, "{}", begun.text);
        let path = "/api/v1/generations/2?domain=collection.map";
        wait::until("the rebuild is live", async || server.api.get(path).await.json()["state"] == "live").await;
        let report = server.api.get("/api/v1/generations/2/report?domain=collection.map").await.json();
        assert_eq!(
            (&report["index"]["documents"], &report["index"]["counts"]["missing"]),
            (&json!(3), &json!(0)),
            "{report}"
        );
        assert_eq!(maps.ids("").await, ["b/ü"]);
        let positions = maps.positions;
        assert!(server.stop());
        let server = Server::start(&place);
        let maps = Collection { positions, ..Collection::of(&server, "map") };
        assert_eq!(maps.ids("").await, ["b/ü"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preset_cleans_records_and_derives_what_is_searched() {
    for place in places("preset") {
        let server = Server::start(&place);
        let mut images = Collection::define(&server, "image", IMAGES).await;
        let (kept, gone) = ("8969e5bd-0000-4000-8000-000000000001", "8969e5bd-0000-4000-8000-000000000002");
        let upstream = json!({
            "source": "met", "provider": "met", "license": "CC0", "title": "Old pier", "width": 640, "height": 480,
            "url": "tide.example/a.JPG", "creator_url": "http://tide.example/me", "foreign_landing_url": null,
            "tags": [{"name": "Harbour"}, {"name": "boat", "accuracy": 0.9}, {"name": "ship", "accuracy": 0.5},
                {"name": "cc01"}, {"name": "No Person"}],
            "meta_data": {"description": "At dusk", "mature": "no"}, "standardized_popularity": 0.42,
        });
        images.put(kept, &upstream).await;
        images.put(gone, &json!({"source": "met", "title": "Gone", "removed_from_source": true})).await;
        let shown = images.show(&format!("/records/{kept}")).await.json();
        assert_eq!(shown["fields"]["tags"], json!([{"name": "Harbour"}, {"name": "boat", "accuracy": 0.9}]));
        assert_eq!(shown["fields"]["url"], "https://tide.example/a.JPG");
        let raw = images.show(&format!("/records/{kept}?raw=true")).await.json();
        assert_eq!((&raw["fields"]["tags"], &raw["fields"]["url"]), (&upstream["tags"], &upstream["url"]));
        let hit = images.search("q=harbour dusk").await["hits"][0].clone();
        for (name, expected) in [
            ("record_id", json!(kept)),
            ("size", json!("medium")),
            ("aspect_ratio", json!("wide")),
            ("extension", json!("jpg")),
            ("license", json!("cc0")),
            ("mature", json!(false)),
            ("standardized_popularity", json!(42.0)),
            ("authority_boost", json!(90.0)),
            ("tags", shown["fields"]["tags"].clone()),
            ("tag_names", Value::Null),
        ] {
            assert_eq!(hit[name], expected, "{name}: {hit}");
        }
        for (query, expected) in [
            ("", vec![kept]),
            ("size=medium&mature=false&tags=Harbour", vec![kept]),
            ("tags=ship", vec![]),
            ("size=large", vec![]),
        ] {
            assert_eq!(images.ids(query).await, expected, "{query}, {:?}", place.backend);
        }
        assert_eq!(images.show(&format!("/records/{gone}")).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_whose_term_lists_are_absent_is_refused() {
    let place = Place::new("termlists", Backend::Embedded);
    let server = Server::start(&place);
    let tags = "{ id = \"tags\", kind = \"tags\", field = \"words\", deny_exact = \"tags-exact@3\" }";
    let definition =
        MAPS.replace("rules = [", &format!("rules = [{tags}, ")).replace("words = \"text[]\"", "words = \"json\"");
    let definition = format!("{definition}[filtered]\nterms = \"sensitive@latest\"\nfields = [\"title\"]\n");
    let refused = server.api.send(Method::PUT, "/api/v1/collections/map", Some(definition), &[]).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let faults = refused.json()["faults"].as_array().cloned().unwrap_or_default();
    let found: Vec<_> = faults.iter().map(|fault| (&fault["field"], &fault["code"])).collect();
    let code = json!("no-term-list");
    assert_eq!(
        found,
        [(&json!("clean.tags.deny_exact"), &code), (&json!("filtered.terms"), &code)],
        "{}",
        refused.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_taken_down_by_their_values_and_flags_survive_upserts() {
    for place in places("values") {
        let server = Server::start(&place);
        let mut maps = Collection::define(&server, "map", MAPS).await;
        for (id, source, year) in [("a", "atlas", 1901), ("b", "atlas", 1850), ("c", "survey", 1901)] {
            maps.put(
                id,
                &json!({"source": source, "year": year, "is_open": true, "made_on": "1901-01-01T00:00:00+00"}),
            )
            .await;
        }
        let wanted = json!({"source": "atlas", "year": 1901, "is_open": true, "made_on": "1901-01-01T00:00:00Z"});
        let take = |conditions: Value, more: Value| {
            let mut body = json!({"where": conditions, "reason": "licence"});
            body.as_object_mut()
                .into_iter()
                .for_each(|body| body.extend(more.as_object().cloned().unwrap_or_default()));
            body
        };
        let mut refused = Vec::new();
        for (conditions, more) in [
            (json!({"title": "x", "words": ["a"]}), json!({})),
            (json!({"nothing": 1}), json!({})),
            (json!({"year": "old"}), json!({})),
            (json!({"year": null}), json!({})),
            (json!({}), json!({})),
            (json!({"year": 1901}), json!({"ids": ["a"]})),
            (json!({"year": 1901}), json!({"expect": 1})),
        ] {
            let path = format!("{}/takedowns", maps.path);
            refused.push(server.api.post(&path, &take(conditions, more)).await.status);
        }
        assert_eq!(refused, [400, 400, 400, 400, 400, 400, 409]);
        let tried = maps.send(Method::POST, "/takedowns", &take(json!({"year": 1901}), json!({"dry_run": true}))).await;
        assert_eq!(tried["ids"], json!(["a", "c"]), "{tried}");
        let taken = maps.send(Method::POST, "/takedowns", &take(wanted, json!({"expect": 1}))).await;
        assert_eq!(taken["ids"], json!(["a"]), "{taken}");
        assert_eq!(maps.ids("").await.len(), 2);
        // A flag.
        assert_eq!(maps.show("/records/b").await.json()["flags"], json!({}));
        let set = maps.send(Method::PUT, "/records/b/flags/mature", &json!({"value": true, "reason": "seen"})).await;
        assert_eq!((&set["flags"], &set["changed"]), (&json!({"mature": true}), &json!(true)), "{set}");
        let again = maps.send(Method::PUT, "/records/b/flags/mature", &json!({"value": true})).await;
        assert_eq!((&again["changed"], &again["revision"]), (&json!(false), &set["revision"]));
        maps.put("b", &json!({"title": "New"})).await;
        assert_eq!(maps.show("/records/b").await.json()["flags"], json!({"mature": true}));
        for (path, body, status) in [
            ("/records/b/flags/Mature", json!({"value": true}), 400),
            ("/records/b/flags/mature", json!({"value": 1}), 400),
            ("/records/absent/flags/mature", json!({"value": true}), 404),
        ] {
            let answer =
                server.api.send(Method::PUT, &format!("{}{path}", maps.path), Some(body.to_string()), &[]).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
        }
    }
}
