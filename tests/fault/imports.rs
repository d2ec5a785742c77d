//! Kill -9 in the middle of `daybook import file`, of the server and of the command: what was recorded is kept, the
//! command goes on once the server is back, it can be repeated, and then everything is there once.

use std::{
    fs,
    process::{Child, Output},
};

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    random::Random,
    services::Folder,
    user::said,
    wait,
};
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::{define, records::COLLECTION};

const IMAGES: &str = "collection = 'image'\nkey = 'id'\n[fields]\nid = 'text'\n\
    source = { type = 'text', max_length = 20 }\ntitle = 'text'\nwidth = 'int'\n";
/// Records of a file: several bodies.
const RECORDS: usize = 5000;
/// How often the server is killed during one import.
const KILLS: usize = 2;
/// How long an import may take with all kills.
const END_MAX: Duration = Duration::from_secs(300);
/// Records that are compared one by one.
const COMPARED: usize = 40;

/// The id of a record.
fn id(number: usize) -> String {
    format!("r{number:05}")
}

/// Writes a file of the records from a number on; its path.
fn write(folder: &Folder, first: usize) -> String {
    let path = folder.0.join(format!("from{first}.csv"));
    let lines = (first..first + RECORDS).map(|number| format!("{},eol,\"Pier, {number}\",{number}\n", id(number)));
    let text = "id,source,title,width\n".to_owned() + &lines.collect::<String>();
    fs::write(&path, text).unwrap_or_else(|error| panic!("{error}"));
    path.display().to_string()
}

/// How many records there are.
async fn count(api: &Api) -> usize {
    let counts = api.get_served(&format!("{COLLECTION}/counts?by=source"), &[]).await.json();
    let records = counts["counts"][0]["records"].as_u64();
    records.and_then(|records| records.try_into().ok()).unwrap_or(0)
}

/// Waits until there are so many; how many there are then.
async fn reaches(api: &Api, goal: usize) -> usize {
    let mut there = 0;
    wait::until("records are imported", async || {
        there = count(api).await;
        there >= goal
    })
    .await;
    there
}

/// Waits for the end of a command.
async fn ended(command: Child) -> Output {
    let output = tokio::task::spawn_blocking(move || command.wait_with_output());
    let output = timeout(END_MAX, output).await.unwrap_or_else(|_| panic!("the import does not end"));
    output.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|error| panic!("{error}"))
}

/// How many records an import that ended well has recorded, and how many were there.
fn imported(output: &Output) -> (u64, u64) {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let [read, upserted, unchanged] = ["read", "upserted", "unchanged"].map(|name| printed[name].as_u64().unwrap_or(0));
    assert_eq!((read, upserted + unchanged), (RECORDS as u64, RECORDS as u64), "{printed}");
    (upserted, unchanged)
}

/// Every record is there once, in the tables and in the search.
async fn check(api: &Api, random: &mut Random) {
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get_served(&format!("{COLLECTION}/records?limit=500&after={after}"), &[]).await.json();
        let records = page["records"].as_array().into_iter().flatten();
        ids.extend(records.map(|record| record["record_id"].as_str().unwrap_or_default().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        next.clone_into(&mut after);
    }
    assert!(ids.iter().cloned().eq((0..2 * RECORDS).map(id)), "{} records", ids.len());
    for _ in 0..COMPARED {
        let number = random.below(2 * RECORDS);
        let shown = api.get_served(&format!("{COLLECTION}/records/{}", id(number)), &[]).await.json();
        let title = format!("Pier, {number}");
        let expected = json!({"id": id(number), "source": "eol", "title": title, "width": number});
        assert_eq!(shown["fields"], expected, "{shown}");
    }
    wait::until("all are found", async || {
        let found = api.get_served(&format!("{COLLECTION}/search?limit=1"), &[]).await;
        found.json()["total"] == 2 * RECORDS
    })
    .await;
}

async fn kills(backend: Backend) {
    let mut random = Random::seeded("imports");
    let (place, folder) = (Place::new("imports", backend), Folder::new("importkills"));
    let mut server = Server::start(&place);
    let address = server.api.base.trim_start_matches("http://").to_owned();
    define(&server.api, COLLECTION, IMAGES).await;

    // The command sends again what the server does not take.
    let files = [write(&folder, 0), write(&folder, RECORDS)];
    let arguments = |file: usize| ["import", "file", "--collection", "image", "--json", files[file].as_str()];
    let (command, mut in_the_middle) = (server.spawn(&arguments(0)), 0);
    for kill in 0..KILLS {
        let goal = RECORDS * kill / KILLS + 1 + random.below(RECORDS / KILLS / 2);
        let before = reaches(&server.api, goal).await;
        server.kill();
        server = Server::start_with(&place, &["--listen", &address]);
        let there = count(&server.api).await;
        eprintln!("{backend:?}: the server was killed with {before} records or more, {there} are there");
        assert!(there >= before, "{before} records were read, {there} are left");
        in_the_middle += usize::from(there < RECORDS);
    }
    assert!(in_the_middle > 0, "the import was over before the server was killed");
    imported(&ended(command).await);
    assert_eq!(count(&server.api).await, RECORDS);

    // A command that is killed can be repeated.
    let mut command = server.spawn(&arguments(1));
    let before = reaches(&server.api, RECORDS + 1 + random.below(RECORDS / 2)).await - RECORDS;
    let killed = command.kill().and_then(|()| command.wait());
    assert!(killed.is_ok_and(|status| status.code().is_none()), "the import was over before it was killed");
    let (upserted, unchanged) = imported(&server.command(&arguments(1)));
    eprintln!("{backend:?}: the command was killed with {before} records or more, then {upserted} were missing");
    assert!(unchanged >= before as u64, "{before} records were read, {unchanged} were left");
    check(&server.api, &mut random).await;
    for file in 0..files.len() {
        assert_eq!(imported(&server.command(&arguments(file))), (0, RECORDS as u64), "an import records it again");
    }
    server.kill();
    let server = Server::start(&place);
    check(&server.api, &mut random).await;
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_during_an_import_of_files_loses_nothing_and_everything_is_there_once_embedded() {
    kills(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_during_an_import_of_files_loses_nothing_and_everything_is_there_once_on_kafka_and_postgres() {
    kills(Backend::Distributed).await;
}
