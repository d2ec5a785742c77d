//! A rebuild that is shown, left, asked for twice and followed: interrupts, conflicts and server-sent events.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{CHANGE, all_states, expect, first_line, import_tasks, interrupted, parse, said, states};
use crate::on_both;

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_of_a_rebuild_that_promotes_says_how_to_come_back_and_it_is_promoted() {
    on_both("asked_interrupt", |_place, server| async move {
        let mut command = server.spawn(&["rebuild", "--promote"]);
        let (first, _output) = first_line(&mut command);
        assert!(first.starts_with("metaflow-2  "), "{first}");
        let ended = interrupted(&server, command);
        let text = said(&ended);
        for way in ["`daybook rebuild --attach metaflow-2` shows its progress", "`daybook generations cancel 2 "] {
            assert!(text.contains(way), "{way:?} is missing: {text}");
        }
        // The way that it names shows the end of what goes on by itself.
        let changes = expect(&server, 0, &["rebuild", "--attach", "metaflow-2", "--json"]);
        assert_eq!(states(&changes).last().map(String::as_str), Some("live"), "{changes}");
        assert_eq!(all_states(&server), ["previous", "live"]);
        assert_eq!(server.api.get("/flows").await.header("daybook-generation"), "2");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_asked_for_while_another_is_under_way_is_409_and_names_its_generation() {
    on_both("asked_twice", |_place, server| async move {
        import_tasks(&server, 2000).await;
        let begun = server.api.post("/api/v1/rebuilds", &json!({"label": "first"})).await;
        assert_eq!((begun.status, &begun.json()["rebuild"]), (202, &json!("metaflow-2")), "{}", begun.text);
        assert_eq!(begun.header("location"), "/api/v1/rebuilds/metaflow-2");
        for body in [json!({}), json!({"promote": true}), json!({"only": "search"}), json!({"label": "second"})] {
            let refused = server.api.post("/api/v1/rebuilds", &body).await;
            assert_eq!(refused.status, 409, "{body}: {}", refused.text);
            assert!(refused.text.contains("generation 2 of metaflow is "), "{body}: {}", refused.text);
            assert!(refused.header("content-type").starts_with("application/json"), "{:?}", refused.headers);
        }
        // Also while it waits to be promoted, and no longer once it is.
        server.api.get("/api/v1/rebuilds/metaflow-2/events").await;
        let refused = server.api.post("/api/v1/rebuilds", &json!({})).await;
        assert!(
            refused.status == 409 && refused.text.contains("generation 2 of metaflow is ready"),
            "{}",
            refused.text
        );
        assert_eq!(all_states(&server), ["live", "ready"]);
        expect(&server, 0, &["generations", "promote", "2", "--yes"]);
        let begun = server.api.post("/api/v1/rebuilds", &json!({})).await;
        assert_eq!((begun.status, &begun.json()["rebuild"]), (202, &json!("metaflow-3")), "{}", begun.text);
    })
    .await;
}

/// The objects of an event stream as they were sent, after its form was looked at.
fn objects(stream: &str) -> Vec<String> {
    assert!(stream.ends_with("\n\n"), "the last event is not complete: {stream:?}");
    let mut objects = Vec::new();
    for event in stream.trim_end_matches('\n').split("\n\n") {
        match event.split_once('\n') {
            None => assert_eq!(event, ":", "neither an event nor a comment"),
            Some((name, data)) => {
                assert_eq!(name, "event: progress", "{event}");
                let object = data.strip_prefix("data: ").unwrap_or_else(|| panic!("no data: {event}"));
                assert!(!object.contains('\n'), "{event}");
                objects.push(object.to_owned());
            }
        }
    }
    objects
}

/// The fields of an object.
fn fields(object: &Value) -> BTreeSet<String> {
    object.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_rebuild_have_the_documented_fields_and_end_after_its_final_state() {
    on_both("asked_events", |_place, server| async move {
        import_tasks(&server, 1000).await;
        let openapi = server.api.get("/openapi.json").await.json();
        let documented = fields(&openapi["components"]["schemas"]["Rebuild"]["properties"]);
        assert!(CHANGE.iter().all(|field| documented.contains(*field)), "{documented:?}");
        // One that waits to be promoted, one that is promoted by itself, and one that is cancelled.
        for (number, promote, last) in [(2, false, "ready"), (3, true, "live"), (4, false, "cancelled")] {
            let begun = server.api.post("/api/v1/rebuilds", &json!({"promote": promote})).await;
            assert_eq!(begun.status, 202, "{}", begun.text);
            assert_eq!(fields(&begun.json()), documented, "{}", begun.text);
            let path = format!("/api/v1/rebuilds/metaflow-{number}/events");
            if last == "cancelled" {
                let cancelled = server.api.post("/api/v1/generations/4/cancel", &json!({"reason": "no"})).await;
                assert_eq!(cancelled.status, 200, "{}", cancelled.text);
            }
            // The answer ends with the stream.
            let events = server.api.get(&path).await;
            assert_eq!((events.status, events.header("content-type")), (200, "text/event-stream"));
            let objects = objects(&events.text);
            for object in &objects {
                assert_eq!(fields(&parse(object)), documented, "{object}");
                assert_eq!(parse(object)["rebuild"], json!(format!("metaflow-{number}")), "{object}");
            }
            let shown: Vec<Value> = objects.iter().map(|object| parse(object)["state"].clone()).collect();
            assert_eq!(shown.iter().filter(|state| **state == last).count(), 1, "{shown:?}");
            assert_eq!(shown.last(), Some(&json!(last)), "{shown:?}");
            // Asked for afterwards, the stream is its final state.
            let again = server.api.get(&path).await;
            assert_eq!(self::objects(&again.text).len(), 1, "{}", again.text);
            if last == "ready" {
                expect(&server, 0, &["generations", "promote", "2", "--yes"]);
            }
        }
        assert_eq!(server.api.get("/api/v1/rebuilds/metaflow-9/events").await.status, 404);
    })
    .await;
}
