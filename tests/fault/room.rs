//! A rebuild without room: it fails and leaves nothing behind, and the live generation goes on.

use std::{collections::BTreeSet, fs, process::Command};

use daybook_tests::{
    api::{Api, of_metaflow},
    process::{Backend, Place, Server},
    random::Random,
    services::{self, Folder, OwnServices},
    wait,
    writers::{Step, Writers, check},
};
use serde_json::{Value, json};

use crate::{
    search::{block, wait_for_failure},
    storage::Small,
};

/// Asks for a rebuild, and waits until it has ended; its state and the reason.
async fn rebuild(api: &Api) -> (String, String) {
    let begun = api.post("/api/v1/rebuilds", &json!({})).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let path = format!("/api/v1/generations/{}", begun.json()["generation"]);
    let mut shown = Value::Null;
    wait::until("the rebuild ends", async || {
        shown = api.get(&path).await.json();
        ["ready", "failed"].contains(&shown["state"].as_str().unwrap_or_default())
    })
    .await;
    let text = |field: &str| shown[field].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

async fn parts(place: &Place) -> BTreeSet<String> {
    place.parts().await.into_iter().collect()
}

/// Waits until no more is there than before the rebuild.
async fn is_tidy(place: &Place, before: &BTreeSet<String>) {
    wait::until("nothing is left of the rebuild", async || parts(place).await == *before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_rebuild_gives_way_before_the_disk_is_full() {
    let Some(small) = Small::mount(160 * 1024) else {
        eprintln!("room: this machine does not let tests mount a file system; the full disk was not tried");
        return;
    };
    let mut random = Random::seeded("room");
    let folder = small.path().join("data");
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
    let place = Place::in_folder(Folder(folder));
    let server = Server::start(&place);
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
    writers.wait_for(100).await;
    let before = parts(&place).await;
    // 40 MiB are left, which is less than a rebuild leaves free.
    let ballast = small.path().join("ballast");
    fs::write(&ballast, vec![1; 120 * 1024 * 1024]).unwrap_or_else(|error| panic!("{error}"));
    let (state, reason) = rebuild(&server.api).await;
    assert!(state == "failed" && reason.contains("MiB are free"), "{state}: {reason}");
    is_tidy(&place, &before).await;
    writers.wait_for(100).await;
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writers were turned away");
    fs::remove_file(&ballast).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rebuild(&server.api).await.0, "ready", "there is room again");
    check(&place, &server, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_on_a_full_disk_of_postgres_gives_way_and_no_writer_is_turned_away() {
    let Some(small) = Small::mount(4 * 1024) else {
        eprintln!("room: this machine does not let tests mount a file system; the full disk was not tried");
        return;
    };
    let mut random = Random::seeded("room_postgres");
    let own = OwnServices::start("postgres");
    let place = Place::on("room", &services::kafka(), &own.url("postgres"));
    let server = Server::start(&place);
    let steps = [Step::make(&server.api, "F").await];
    // More than the small disk holds, which PostgreSQL cannot compress.
    for _ in 0..12 {
        let task = server.api.post(&format!("{}/task", steps[0].path()), &json!({})).await.json()["task_id"].clone();
        let value: String = (0..600_000).map(|_| char::from(b'!' + random.below(90) as u8)).collect();
        let entry = json!([{"field_name": "f", "value": value}]);
        let answer = server.api.post(&format!("{}/tasks/{task}/metadata", steps[0].path()), &entry).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let before = parts(&place).await;
    let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
    // What is made from now on is on the small disk: only the candidate.
    let disk = small.path().join("tables");
    fs::create_dir_all(&disk).unwrap_or_else(|error| panic!("{error}"));
    let data = own.of("postgres")["data"].as_str().unwrap_or_default().to_owned();
    for command in [["chown", "--reference", &data], ["chmod", "--reference", &data]] {
        for folder in [small.path(), &disk] {
            let done = Command::new(command[0]).args(&command[1..]).arg(folder).status();
            assert!(done.is_ok_and(|status| status.success()), "cannot give {} to the server", folder.display());
        }
    }
    let postgres = own.url("postgres");
    services::sql(&postgres, &format!("CREATE TABLESPACE small LOCATION '{}'", disk.display()));
    services::sql(&postgres, "ALTER DATABASE postgres SET default_tablespace = small");
    let (state, reason) = rebuild(&server.api).await;
    assert!(state == "failed" && reason.contains("no room for its tables"), "{state}: {reason}");
    is_tidy(&place, &before).await;
    writers.wait_for(100).await;
    services::sql(&postgres, "ALTER DATABASE postgres RESET default_tablespace");
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writers were turned away");
    assert_eq!(rebuild(&server.api).await.0, "ready", "there is room again");
    check(&place, &server, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gives_way_where_elasticsearch_takes_no_documents_and_no_writer_is_turned_away() {
    let mut random = Random::seeded("room_elasticsearch");
    let own = OwnServices::start("elasticsearch");
    let elasticsearch = Api::new(&own.url("elasticsearch"));
    let place = Place::new("room", Backend::Distributed).with_search(Some(own.url("elasticsearch")));
    let server = Server::start(&place);
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
    writers.wait_for(100).await;
    let indexed = async || server.api.get("/api/v1/search?limit=0").await.json()["complete"] == true;
    wait::until("the index is there", indexed).await;
    let before = parts(&place).await;
    block(&elasticsearch, true).await;
    wait_for_failure(&server.api, "/12/").await;
    let (state, reason) = rebuild(&server.api).await;
    assert!(state == "failed" && reason.contains("no room for its index"), "{state}: {reason}");
    block(&elasticsearch, false).await;
    is_tidy(&place, &before).await;
    writers.wait_for(100).await;
    // The live index tries again after a pause.
    let takes_documents = async || {
        let status = server.api.get("/api/v1/status").await.json();
        of_metaflow(&status)["search"]["failure"].is_null()
    };
    wait::until("the live index takes documents", takes_documents).await;
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writers were turned away");
    assert_eq!(rebuild(&server.api).await.0, "ready", "there is room again");
    check(&place, &server, &acknowledged).await;
}
