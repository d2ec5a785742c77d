//! Every record of a file is cleaned, those at the borders of any division of it, too.
//!
//! The catalogue that these collections are modelled on divides the records among jobs and misses those between two
//! jobs. In its sample files that is record `BORDER`, whose committed output is as uncleaned as the input. The files
//! may not be copied into this repository: where `DAYBOOK_TEST_SAMPLES` names their folder, they are tested, too. A file
//! that is made here has a record of the same id at such a border, and is always tested.

use std::{fmt::Write as _, fs, path::PathBuf};

use daybook_tests::{
    process::{Backend, Place, Server},
    services::Folder,
};
use serde_json::{Map, Value, json};

use crate::catalogue_refresh::{IMAGES, define, refresh, script};

const BORDER: &str = "ffd7e033-9824-44fb-abb9-03d1573149da";
/// The record all of whose tags must go.
const EMPTIED: &str = "8969e5bd-697c-48ed-8f59-64a0ed79e857";
const OF_SAMPLES: &str = "sample_images_to_clean.csv";
/// Divided by none of the usual numbers of jobs.
const MADE: usize = 211;

/// The sample of images, if its folder is named.
pub(super) fn sample() -> Option<PathBuf> {
    std::env::var_os("DAYBOOK_TEST_SAMPLES").map(|samples| PathBuf::from(samples).join(OF_SAMPLES))
}

/// A file with records that each need cleaning, two of them at the place of `BORDER` and `EMPTIED`.
fn made(folder: &Folder) -> PathBuf {
    let mut text =
        "identifier,source,provider,url,creator_url,foreign_landing_url,title,tags,removed_from_source\n".to_owned();
    for number in 0..MADE {
        let id = match number {
            0 => EMPTIED.to_owned(),
            number if number == MADE / 3 => BORDER.to_owned(),
            number => format!("00000000-0000-4000-8000-{number:012}"),
        };
        let mut tags = vec![json!({"name": "no person"}), json!({"name": "river", "accuracy": 0.5})];
        if number > 0 {
            tags.extend([json!({"name": "Bridge"}), json!({"name": "canal", "accuracy": 0.9})]);
        }
        let tags = Value::from(tags).to_string().replace('"', "\"\"");
        let row = format!(
            "{id},canals,met,https://tide.example/{number}.jpg,tide.example/{number},,Bridge {number},\"{tags}\",f"
        );
        writeln!(text, "{row}").unwrap_or_else(|error| panic!("{error}"));
    }
    let file = folder.0.join("made.csv");
    fs::write(&file, text).unwrap_or_else(|error| panic!("{error}"));
    file
}

/// The cleaned fields of each record, page by page.
async fn cleaned(server: &Server) -> Value {
    let (mut after, mut found) = (String::new(), Map::new());
    loop {
        let page = server.api.get(&format!("/api/v1/collections/image/records?limit=500&after={after}")).await.json();
        for record in page["records"].as_array().into_iter().flatten() {
            let fields =
                ["tags", "url", "creator_url", "foreign_landing_url"].map(|name| (name, &record["fields"][name]));
            found.insert(
                record["record_id"].as_str().unwrap_or_default().to_owned(),
                json!(Map::from_iter(fields.map(|(name, value)| (name.to_owned(), value.clone())))),
            );
        }
        let Some(next) = page["next"].as_str() else { return Value::Object(found) };
        next.clone_into(&mut after);
    }
}

/// Compares by record, so that a failure names it.
fn compare(found: &Value, expected: &Value, case: &str) {
    let [found, expected] = [found, expected].map(|it| it.as_object().cloned().unwrap_or_default());
    for (id, fields) in &expected {
        assert_eq!(found.get(id), Some(fields), "{case}: {id}");
    }
    assert_eq!(found.len(), expected.len(), "{case}");
}

fn names(tags: &Value) -> Vec<&Value> {
    tags.as_array().into_iter().flatten().map(|tag| &tag["name"]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_a_file_is_cleaned_and_the_one_at_a_border_too() {
    let folder = Folder::new("samples");
    let definition = format!("{IMAGES}[verify]\nmax_records_emptied = '100 %'\n");
    for file in sample().into_iter().chain([made(&folder)]).map(|file| file.display().to_string()) {
        let expected = script("image", &file, &["--cleaned"]);
        for backend in [Backend::Embedded, Backend::Distributed] {
            let case = format!("{file}, {backend:?}");
            let place = Place::new("samples", backend);
            let server = Server::start(&place);
            define(&server, &definition).await;
            refresh(&server, 0, &["start", &file, "--no-promote"]);
            compare(&cleaned(&server).await, &expected, &format!("{case}, as it came"));
            refresh(&server, 0, &["promote", "--yes"]);
            compare(&cleaned(&server).await, &expected, &case);
            let record = async |id: &str, more: &str| {
                server.api.get(&format!("/api/v1/collections/image/records/{id}{more}")).await.json()["fields"].clone()
            };
            let (is, was) = (record(BORDER, "").await, record(BORDER, "?raw=true").await);
            assert_ne!((&is["tags"], &is["creator_url"]), (&was["tags"], &was["creator_url"]), "{case}");
            assert_eq!(is["creator_url"].as_str().map(|url| url.starts_with("https://")), Some(true), "{case}: {is}");
            assert_eq!(record(EMPTIED, "").await["tags"], json!([]), "{case}");
            // The same in the index.
            let path = format!("/api/v1/collections/image/search?record_id={BORDER}");
            let found = server.api.get_served(&path, &[]).await.json();
            assert_eq!(names(&found["hits"][0]["tags"]), names(&is["tags"]), "{case}");
            assert!(server.stop());
        }
    }
}
