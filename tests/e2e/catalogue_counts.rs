//! What a collection holds after each step of its refreshes, as an independent script counts it from the files alone: a
//! first refresh, one with changes, one with takedowns in its middle, one with other terms, and the way back.

use daybook_tests::{
    process::{Backend, Place, Server},
    random::Random,
    services::Folder,
    wait,
};
use serde_json::{Map, Value, json};

use crate::{
    catalogue_import::write,
    catalogue_refresh::{COLUMNS, IMAGES, check, check_side, csv_file, id, record, script, tags},
    catalogue_samples::sample,
    define,
};

/// What changed records may do to a collection whose small sources are changed, too.
const MORE: &str = r#"
[filtered]
terms = "sensitive@latest"
[verify]
max_records_emptied = "100 %"
max_drop_per_source = "100 %"
"#;
const FIRST_TERMS: &str = "bird\nGrand Union Canal\r\nheron\n\nno such words\n";
const SECOND_TERMS: &str = "harbour\nGrand Union Canal\nmast\npier number 7\nflickr\n";

const RECORDINGS: &str = r#"
collection = "audio"
key = "identifier"
preset = "openverse-audio"
[fields]
identifier = { type = "uuid", required = true }
source = { type = "text", max_length = 80 }
title = "text"
tags = "json"
meta_data = "json"
duration = "int"
filetype = { type = "text", max_length = 20 }
alt_files = "json"
removed_from_source = { type = "bool", default = false }
"#;
const OF_RECORDINGS: &str = "identifier,source,title,tags,meta_data,duration,filetype,alt_files,removed_from_source";

const MADE: usize = 400;
const CHANGED: usize = 50;
const NEW: usize = 20;

/// A collection that commands work on.
struct Collection<'s> {
    server: &'s Server,
    kind: &'static str,
}

impl Collection<'_> {
    /// Runs a command that ends with a code; what it printed.
    fn run(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.server.command(&[arguments, &["--collection", self.kind]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn set_terms(&self, file: &str) {
        let output = self.server.command(&["term-list", "set", "sensitive", file]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    /// What readers of the live generation see.
    async fn check_live(&self, expected: &Value, case: &str) {
        let (api, path) = (&self.server.api, format!("/api/v1/collections/{}", self.kind));
        let counts = api.get_served(&format!("{path}/counts?by=source"), &[]).await.json();
        let by_source = counts["counts"].as_array().into_iter().flatten();
        let by_source: Map<String, Value> =
            by_source.map(|it| (it["source"].as_str().unwrap_or_default().to_owned(), it["records"].clone())).collect();
        assert_eq!(Value::Object(by_source), expected["by_source"], "{case}");
        let total = async |query: &str| {
            let found = api.get_served(&format!("{path}/search?limit=0&{query}"), &[]).await;
            assert_eq!(found.status, 200, "{case}, {query}: {}", found.text);
            found.json()["total"].clone()
        };
        for (query, count) in [
            ("", &expected["documents"]),
            ("sensitive=false", &expected["filtered"]),
            ("sensitive=true", &expected["sensitive"]),
            ("mature=true", &expected["derived"]["mature"]),
        ] {
            wait::until(&format!("{case}: {query:?} finds {count}"), async || total(query).await == *count).await;
        }
        let derived = ["size", "aspect_ratio", "length", "extension"].map(|name| (name, &expected["derived"][name]));
        for (name, values) in [("source", &expected["documents_by_source"])].into_iter().chain(derived) {
            // No condition means records without a source.
            for (value, count) in values.as_object().into_iter().flatten().filter(|(value, _)| !value.is_empty()) {
                assert_eq!(total(&format!("{name}={value}")).await, *count, "{case}: {name}={value}");
            }
        }
    }

    /// The report of a generation, and what readers see, which must be the same.
    async fn check(&self, generation: &str, expected: &Value, case: &str) -> Value {
        let report = self.run(0, &["refresh", "report", generation]);
        check(&report, expected);
        self.check_live(expected, case).await;
        report
    }
}

/// Whole records as NDJSON: others in place of some, and new ones.
fn changes(random: &mut Random, folder: &Folder, ids: &[&String]) -> String {
    let mut changed: Vec<Value> = (0..NEW).map(|number| record(random, MADE + number)).collect();
    changed.extend(ids.iter().take(CHANGED).zip(0..).map(|(id, number)| {
        let mut record = record(random, number);
        record["identifier"] = json!(id);
        record
    }));
    let lines: Vec<String> = changed.iter().map(Value::to_string).collect();
    write(folder, "changes.ndjson", lines.join("\n").as_bytes())
}

/// A refresh that stops before it is verified, takedowns meanwhile, which readers see immediately, and its end.
async fn refresh_with_takedowns(images: &Collection<'_>, taken: &[&str; 3], expected: &Value, case: &str) {
    let definition = format!("{IMAGES}{MORE}");
    define(&images.server.api, "image", &format!("{definition}[refresh.deadline]\nready = '1ms'\n")).await;
    images.run(7, &["refresh", "start"]);
    let [first, second, third] = *taken;
    images.run(0, &["takedown", "--reason", "licence", "--id", first, "--id", second, "--id", third]);
    define(&images.server.api, "image", &definition).await;
    images.check_live(expected, case).await;
    images.run(0, &["refresh", "retry", "--promote"]);
    images.check("4", expected, case).await;
}

async fn check_steps(server: &Server, folder: &Folder, file: &str, case: &str) {
    let (images, mut random) = (Collection { server, kind: "image" }, Random::seeded("counts"));
    let before = write(folder, "before.txt", FIRST_TERMS.as_bytes());
    let after = write(folder, "after.txt", SECOND_TERMS.as_bytes());
    images.set_terms(&before);
    define(&server.api, "image", &format!("{IMAGES}{MORE}")).await;
    images.run(0, &["refresh", "start", file, "--promote"]);
    let first = script("image", file, &["--terms", &before]);
    images.check("2", &first, &format!("{case}: the first refresh")).await;

    let known = script("image", file, &["--cleaned"]);
    let ids: Vec<&String> = known.as_object().into_iter().flatten().map(|(id, _)| id).collect();
    let changes = changes(&mut random, folder, &ids);
    images.run(0, &["refresh", "start", &changes, "--promote"]);
    let with_changes = |terms: &str, taken: &[&str]| {
        let options = ["--terms", terms, "--changes", &changes];
        let taken = taken.iter().flat_map(|id| ["--taken-down", id]);
        script("image", file, &options.into_iter().chain(taken).collect::<Vec<_>>())
    };
    let second = with_changes(&before, &[]);
    let report = images.check("3", &second, &format!("{case}: with changes")).await;
    // What is imported is live before it is built.
    check_side(&report, "before", &second);

    // One of those that have changed, one that has not, and one that is new.
    let added = id(MADE + 1);
    let taken = [ids[1].as_str(), ids[CHANGED + 1].as_str(), added.as_str()];
    let third = with_changes(&before, &taken);
    refresh_with_takedowns(&images, &taken, &third, &format!("{case}: with takedowns")).await;

    images.set_terms(&after);
    assert_eq!(images.run(0, &["refresh", "plan", "--json"])["rebuilds"], json!(["search"]), "{case}");
    images.run(0, &["refresh", "start", "--promote"]);
    images.check("5", &with_changes(&after, &taken), &format!("{case}: with other terms")).await;

    images.run(0, &["refresh", "rollback", "--yes", "--reason", "too many are hidden"]);
    images.check("4", &third, &format!("{case}: the way back")).await;
    // A takedown counts in both.
    let another = ids[CHANGED + 2].as_str();
    images.run(0, &["takedown", "--reason", "licence", "--id", another]);
    let taken = [&taken[..], &[another]].concat();
    images.check_live(&with_changes(&before, &taken), &format!("{case}: a takedown after the way back")).await;
    images.run(0, &["refresh", "rollback", "--yes"]);
    images.check_live(&with_changes(&after, &taken), &format!("{case}: and forth")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_refreshes_holds_what_an_independent_script_counts_of_the_files() {
    let (folder, mut random) = (Folder::new("counts"), Random::seeded("counted"));
    let records: Vec<Value> = (0..MADE).map(|number| record(&mut random, number)).collect();
    let made = csv_file(&folder, "images.csv", COLUMNS, &records);
    for file in sample().map(|file| file.display().to_string()).into_iter().chain([made]) {
        for backend in [Backend::Embedded, Backend::Distributed] {
            let place = Place::new("counts", backend);
            let server = Server::start(&place);
            check_steps(&server, &folder, &file, &format!("{file}, {backend:?}")).await;
            assert!(server.stop());
        }
    }
}

/// A sound recording, at the borders of what its length follows from.
fn recording(random: &mut Random, number: usize) -> Value {
    let files = match random.below(4) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!([{"filetype": "mp3"}, {"filetype": "ogg"}]),
        _ => json!([{"filetype": "flac"}, {"url": "https://tide.example/a.wav"}]),
    };
    let durations = [None, Some(0), Some(29_999), Some(30_000), Some(119_999), Some(120_000), Some(600_000)];
    json!({
        "identifier": id(number),
        "source": random.pick(&[None, Some("jamendo"), Some("freesound")]),
        "title": random.pick(&["Waves", "A heron calls", "Heronry"]),
        "tags": tags(random),
        "meta_data": random.pick(&[None, Some(true), Some(false)]).map(|mature| json!({"mature": mature})),
        "duration": random.pick(&durations),
        "filetype": random.pick(&[None, Some("mp3"), Some("wav")]),
        "alt_files": files,
        "removed_from_source": random.below(9) == 0,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_counted_as_the_script_counts_them_at_first_and_with_other_terms() {
    let (folder, mut random) = (Folder::new("recordings"), Random::seeded("recordings"));
    let records: Vec<Value> = (0..MADE / 2).map(|number| recording(&mut random, number)).collect();
    let file = csv_file(&folder, "audio.csv", OF_RECORDINGS, &records);
    let before = write(&folder, "before.txt", FIRST_TERMS.as_bytes());
    let after = write(&folder, "after.txt", SECOND_TERMS.as_bytes());
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("recordings", backend);
        let server = Server::start(&place);
        let audio = Collection { server: &server, kind: "audio" };
        audio.set_terms(&before);
        define(&server.api, "audio", &format!("{RECORDINGS}{MORE}")).await;
        audio.run(0, &["refresh", "start", &file, "--promote"]);
        audio.check("2", &script("audio", &file, &["--terms", &before]), &format!("{backend:?}: at first")).await;
        audio.set_terms(&after);
        audio.run(0, &["refresh", "start", "--promote"]);
        audio.check("3", &script("audio", &file, &["--terms", &after]), &format!("{backend:?}: other terms")).await;
        assert!(server.stop());
    }
}
