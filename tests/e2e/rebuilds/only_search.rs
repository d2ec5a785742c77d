//! `daybook rebuild --only search`: a new index for the live tables.

use daybook_tests::{
    process::{Place, Server},
    random::Random,
    wait::until,
    writers::{Step, Writers, check},
};
use serde_json::{Value, json};

use super::{all_states, expect, parse, said, states, until_states, write};
use crate::on_both;

/// Attempts of a switch while others write.
const ATTEMPTS: usize = 10;

/// The parts of the generations that are there, in order, without what a database keeps beside its file.
async fn parts(place: &Place) -> Vec<String> {
    let mut parts = place.parts().await;
    parts.retain(|part| !part.ends_with("-wal") && !part.ends_with("-shm"));
    let numbers = parts.iter().map(|part| part.split_once("_g0").map_or("", |(_, rest)| &rest[..3]).to_owned());
    let mut numbers: Vec<String> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// Waits until these are the parts: they are removed after the answer.
async fn expect_parts(place: &Place, expected: &[&str]) {
    until(&format!("{expected:?}"), async || parts(place).await == expected).await;
}

fn generations(server: &Server) -> Vec<Value> {
    let all = parse(&expect(server, 0, &["generations", "list", "--domain", "metaflow", "--json"]));
    all.as_array().cloned().unwrap_or_default()
}

/// Promotes or rolls back. An index that is behind the writers makes the switch fail, and it is asked for again.
pub(super) fn switch(server: &Server, verb: &[&str]) {
    let arguments = [&["generations"], verb, &["--yes"]].concat();
    for _ in 0..ATTEMPTS {
        let output = server.command(&arguments);
        match output.status.code() {
            Some(0) => return,
            Some(5) if said(&output).contains("records behind") => {}
            _ => panic!("{verb:?}: {output:?}"),
        }
    }
    panic!("{verb:?}: always behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_anew_for_the_live_tables_which_outlive_the_generation_that_had_them_first() {
    on_both("only_search", |place, server| async move {
        let mut random = Random::seeded("only_search");
        let steps = [Step::make(&server.api, "F").await];
        let writers = Writers::start(&[&server.api], &steps, 2, &mut random);
        writers.wait_for(100).await;
        let plan = parse(&expect(&server, 0, &["rebuild", "--only", "search", "--dry-run", "--json"]));
        assert_eq!((&plan["rebuilds"], &plan["events"]), (&json!(["search"]), &json!(0)), "{plan}");
        assert_eq!(plan["disk"]["tables_bytes"], 0, "{plan}");
        let changes = expect(&server, 0, &["rebuild", "--only", "search", "--json"]);
        assert_eq!(states(&changes).last().map(String::as_str), Some("ready"), "{changes}");
        let both = generations(&server);
        assert_eq!(both[0]["tables"], both[1]["tables"], "{both:?}");
        assert_ne!(both[0]["search"], both[1]["search"], "{both:?}");
        for one in &both {
            assert_eq!(one["shared_parts"], json!(["tables"]), "{one}");
        }
        // Switches under writers: each of them is answered, and finds what it wrote.
        for (verb, states) in [
            (&["promote", "2"][..], ["previous", "live"]),
            (&["rollback"], ["live", "previous"]),
            (&["promote", "2"], ["previous", "live"]),
        ] {
            writers.wait_for(20).await;
            switch(&server, verb);
            assert_eq!(all_states(&server), states);
        }
        writers.wait_for(20).await;
        expect(&server, 0, &["generations", "retire", "1", "--yes"]);
        writers.wait_for(20).await;
        let acknowledged = writers.stop().await;
        assert_eq!(acknowledged.turned_away, 0, "requests were refused");
        check(&place, &server, &acknowledged).await;
        // The tables are those of the first one, also after another one with them was cancelled.
        expect_parts(&place, &["001", "002"]).await;
        expect(&server, 0, &["rebuild", "--only", "search"]);
        expect_parts(&place, &["001", "002", "003"]).await;
        expect(&server, 0, &["generations", "cancel", "3", "--yes"]);
        expect_parts(&place, &["001", "002"]).await;
        // One whose process is killed goes on.
        expect(&server, 0, &["rebuild", "--only", "search", "--promote", "--no-wait"]);
        server.kill();
        let server = Server::start(&place);
        expect(&server, 0, &["rebuild", "--attach", "metaflow-4"]);
        assert_eq!(all_states(&server), ["retired", "previous", "cancelled", "live"]);
        check(&place, &server, &acknowledged).await;
        assert!(server.logged().iter().all(|line| !line.contains("made anew")), "tables were lost");
        expect(&server, 0, &["rebuild", "--promote"]);
        expect(&server, 0, &["generations", "retire", "4", "--yes"]);
        expect_parts(&place, &["005", "005"]).await;
        check(&place, &server, &acknowledged).await;
        assert_eq!(generations(&server)[4]["shared_parts"], json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_compared_with_a_former_live_generation_is_verified_again_after_a_way_back() {
    on_both("only_back", |place, server| async move {
        write(&server, &mut Random::seeded("only_back")).await;
        expect(&server, 0, &["rebuild", "--promote"]);
        expect(&server, 0, &["rebuild", "--only", "search"]);
        let tables = |server: &Server| {
            let shown = parse(&expect(server, 0, &["generations", "show", "3", "--json"]));
            shown["report"]["tables"].as_array().map_or(0, Vec::len)
        };
        assert_eq!(tables(&server), 0, "the same tables were compared");
        // Generation 1 has other tables, which differ.
        place.alter("metaflow_g0001", "UPDATE flows SET user_name = 'somebody else'");
        expect(&server, 0, &["generations", "rollback", "--yes"]);
        until_states(&server, &["live", "previous", "failed"]).await;
        let outcome = expect(&server, 6, &["rebuild", "--attach", "metaflow-3"]);
        assert!(outcome.contains("rows that differ: 1 (1 of flows)"), "{outcome}");
        assert!(tables(&server) > 0);
        // The previous one has its tables, still.
        expect(&server, 0, &["generations", "promote", "2", "--yes"]);
        assert_eq!(server.api.get("/flows/F").await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_storage_of_an_earlier_build_gets_the_columns_that_it_lacks() {
    on_both("only_older", |place, server| async move {
        expect(&server, 0, &["rebuild", "--promote"]);
        assert!(server.stop());
        for column in ["until", "index_name", "stopped", "began_at"] {
            place.alter("control", &format!("ALTER TABLE generations DROP COLUMN {column}"));
        }
        let server = Server::start(&place);
        assert_eq!(all_states(&server), ["previous", "live"]);
        expect(&server, 0, &["rebuild", "--only", "search", "--promote"]);
        assert_eq!(all_states(&server), ["retired", "previous", "live"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rebuilt_alone_is_refused() {
    on_both("only_refused", |_, server| async move {
        expect(&server, 2, &["rebuild", "--only", "tables"]);
        expect(&server, 2, &["rebuild", "--only", "search", "--until", "-1s"]);
        for (body, field) in
            [(json!({"only": "tables"}), "only"), (json!({"only": "search", "until": "2026-01-01"}), "only")]
        {
            let refused = server.api.post("/api/v1/rebuilds", &body).await;
            assert_eq!((refused.status, &refused.json()["field"]), (400, &json!(field)), "{}", refused.text);
        }
        assert_eq!(server.api.get("/api/v1/rebuilds/plan?only=tables").await.status, 400);
        assert_eq!(all_states(&server), ["live"]);
    })
    .await;
}
