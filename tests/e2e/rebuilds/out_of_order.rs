//! The past of a log whose events have not happened in the order in which they were recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use daybook_tests::process::{Place, Server};
use reqwest::Method;
use serde_json::{Value, json};

use super::{expect, states};
use crate::on_both;

/// Flows enough that several partitions have some.
const FLOWS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
/// When the runs of a flow have happened, in minutes after the moment, in the order in which they are recorded. The
/// third one is the first that is later; others that are older, and one at the moment itself, follow.
const MINUTES: [i64; 7] = [-60, 0, 30, -90, 60, 0, -120];
const MINUTE_MS: i64 = 60_000;
const HEARTBEATS: &str = "metaflow.heartbeats";

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The partition of an event, and its offset.
fn position(event: &Value) -> (&str, i64) {
    let (partition, offset) = event["position"].as_str().and_then(|at| at.split_once('@')).unwrap_or_default();
    (partition, offset.parse().unwrap_or_default())
}

/// Records the runs of all flows, one flow after the other; in a second round those that follow.
async fn import(server: &Server, moment: i64) {
    let at = |minutes: i64| moment + minutes * MINUTE_MS;
    for minutes in [&MINUTES[..2], &MINUTES[2..]] {
        let mut lines = Vec::new();
        for flow in FLOWS {
            let line = |kind: &str, event: Value, at: i64| json!({"type": kind, "event": event, "occurred_at": at});
            if minutes.len() == 2 {
                lines.push(line("FlowRegistered", json!({"flow_id": flow}), at(-180)));
            }
            let first = if minutes.len() == 2 { 1 } else { 3 };
            for (number, minutes) in (first..).zip(minutes) {
                lines.push(line("RunStarted", json!({"flow_id": flow, "run_number": number}), at(*minutes)));
            }
        }
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let answer = server.api.post_text("/api/v1/events", &lines.join("\n")).await;
        assert_eq!(answer.json()["rejected"], 0, "{}", answer.text);
    }
}

/// The runs before the cut, by flow, and the vector of the cut: each partition ends at its first event that is later.
fn expected(events: &[Value], moment: i64) -> (BTreeMap<String, BTreeSet<i64>>, BTreeMap<String, i64>) {
    let (mut runs, mut cuts) = (BTreeMap::<String, BTreeSet<i64>>::new(), BTreeMap::new());
    for event in events {
        let (partition, offset) = position(event);
        let occurred_at = event["occurred_at"].as_i64().unwrap_or_else(|| panic!("no time: {event}"));
        if occurred_at > moment {
            cuts.entry(partition.to_owned()).or_insert(offset);
        }
        if event["type"] == "RunStarted" && !cuts.contains_key(partition) {
            let flow = event["event"]["flow_id"].as_str().unwrap_or_default().to_owned();
            runs.entry(flow).or_default().insert(event["event"]["run_number"].as_i64().unwrap_or_default());
        }
    }
    (runs, cuts)
}

/// The runs of each flow as the past shows them.
async fn shown(server: &Server) -> BTreeMap<String, BTreeSet<i64>> {
    let mut shown = BTreeMap::new();
    for flow in FLOWS {
        let runs =
            server.api.send(Method::GET, &format!("/flows/{flow}/runs"), None, &[("daybook-preview", "2")]).await;
        assert_eq!((runs.status, runs.header("daybook-generation")), (200, "2"), "{}", runs.text);
        let numbers =
            runs.json().as_array().into_iter().flatten().filter_map(|run| run["run_number"].as_i64()).collect();
        shown.insert(flow.to_owned(), numbers);
    }
    shown
}

async fn check(place: &Place, server: &Server) {
    let moment = now_ms();
    import(server, moment).await;
    let rebuilt = expect(server, 0, &["rebuild", "--until", &moment.to_string(), "--json"]);
    assert_eq!(states(&rebuilt).last().map(String::as_str), Some("ready"), "{rebuilt}");
    let events = place.events();
    let (runs, cuts) = expected(&events, moment);
    assert!(!cuts.is_empty());
    assert_eq!(shown(server).await, runs);
    // What follows a cut is left out, although it is older.
    let is_older = |event: &&Value| event["occurred_at"].as_i64() <= Some(moment) && event["type"] == "RunStarted";
    let is_after = |event: &&Value| {
        let (partition, offset) = position(event);
        cuts.get(partition).is_some_and(|cut| offset > *cut)
    };
    let left_out = events.iter().filter(is_older).filter(is_after).count();
    assert!(left_out >= FLOWS.len() * 3, "only {left_out} older events follow a cut");
    let live = server.api.get("/flows/A/runs").await.json();
    assert_eq!(live.as_array().map(Vec::len), Some(MINUTES.len()), "{live}");
    // The vector names the cuts, and the index has the same runs.
    let past = server.api.get("/api/v1/generations/2").await.json();
    let applied = past["applied"].as_str().unwrap_or_default();
    for (partition, cut) in &cuts {
        assert!(applied.split(',').any(|one| *one == format!("{partition}@{cut}")), "{partition}@{cut}: {applied}");
    }
    assert!(cuts.keys().all(|partition| !partition.starts_with(HEARTBEATS)), "{cuts:?}");
    let found = server.api.get_served("/api/v1/search?type=run", &[("daybook-preview", "2")]).await;
    let count: usize = runs.values().map(BTreeSet::len).sum();
    assert_eq!((found.status, &found.json()["total"]), (200, &json!(count)), "{}", found.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_cuts_each_partition_at_its_first_later_event_although_older_ones_follow() {
    on_both("past_order", |place, server| async move { check(&place, &server).await }).await;
}
