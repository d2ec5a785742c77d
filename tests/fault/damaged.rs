//! An embedded log that is damaged or gone: a start fails for good and creates nothing, a running server stops to serve,
//! and both name the file and the ways out.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use daybook_tests::{
    process::{Backend, Place, Server, run},
    services,
    wait::until,
};
use serde_json::json;

async fn make_runs(server: &Server, count: usize) {
    server.api.post("/flows/F", &json!({})).await;
    for _ in 0..count {
        let made = server.api.post("/flows/F/run", &json!({})).await;
        assert_eq!(made.status, 200, "{}", made.text);
    }
}

/// A place with some runs, on which no process works.
async fn with_runs(test: &str) -> Place {
    let place = Place::new(test, Backend::Embedded);
    let server = Server::start(&place);
    make_runs(&server, 4).await;
    assert!(server.stop());
    place
}

/// The names of the files of a folder that begin so.
fn files(folder: &Path, beginning: &str) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with(beginning));
    names.sort();
    names
}

fn remove(folder: &Path, beginning: &str) {
    for name in files(folder, beginning) {
        fs::remove_file(folder.join(name)).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn remove_tables(folder: &Path) {
    remove(folder, "control.db");
    remove(folder, "metaflow");
}

/// What a start says that fails for good.
fn failure(place: &Place) -> String {
    let options = place.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let output = run(&[&["serve", "--listen", "127.0.0.1:0"], options.as_slice()].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let file = place.folder.0.join("log.db").display().to_string();
    assert!(output.status.code() == Some(1) && said.contains(&format!("restore {file}")), "{said}");
    said
}

/// Overwrites a file from a place on.
fn overwrite(path: &Path, from: u64) {
    let write = || -> std::io::Result<()> {
        let mut file = File::options().write(true).open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(from))?;
        file.write_all(&vec![0xAA; usize::try_from(length.saturating_sub(from)).unwrap_or(0)])
    };
    write().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn delete_records(place: &Place, first: u32, last: u32, more: &[&str]) {
    let file = place.folder.0.join("log.db").display().to_string();
    let (first, last) = (first.to_string(), last.to_string());
    services::python("fault/hole.py", &[&[file.as_str(), &first, &last], more].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_tables_without_their_log_creates_nothing() {
    for left in [None, Some("")] {
        let place = with_runs("no_log").await;
        let folder = place.folder.0.as_path();
        remove(folder, "log.db");
        if let Some(text) = left {
            fs::write(folder.join("log.db"), text).unwrap_or_else(|error| panic!("{error}"));
        }
        let before = files(folder, "");
        for _ in 0..2 {
            let said = failure(&place);
            assert!(said.contains("missing or empty") && said.contains("control.db*"), "{said}");
            assert_eq!(files(folder, ""), before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_records_are_all_gone_is_not_begun_anew_beside_its_tables() {
    let place = with_runs("emptied").await;
    delete_records(&place, 0, 1_000_000, &["any"]);
    assert!(failure(&place).contains("missing or empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_damaged_log_fails_for_good() {
    for from in [0, 4096] {
        for with_tables in [true, false] {
            let place = with_runs("damaged").await;
            if !with_tables {
                remove_tables(&place.folder.0);
            }
            // Nothing is removed: this only brings what the write-ahead log holds into the file.
            delete_records(&place, 1_000_000, 1_000_000, &[]);
            overwrite(&place.folder.0.join("log.db"), from);
            assert!(failure(&place).contains("is damaged"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_an_embedded_log_is_named_and_nothing_after_it_is_applied() {
    let place = with_runs("hole").await;
    delete_records(&place, 2, 3, &[]);
    remove_tables(&place.folder.0);
    assert!(failure(&place).contains("metaflow/0 has none from 2 to 3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_removed_at_the_end_of_a_log_in_use_end_service() {
    for writes in [true, false] {
        let place = Place::new("cut", Backend::Embedded);
        let server = Server::start(&place);
        make_runs(&server, 4).await;
        // The log's creation, a flow and four runs.
        delete_records(&place, 4, 5, &[]);
        if writes {
            let answer = server.api.post("/flows/F/run", &json!({})).await;
            assert_eq!(answer.status, 503, "{}", answer.text);
        }
        let ended = async {
            loop {
                let answer = server.api.get("/flows/F/runs").await;
                if answer.status == 503 {
                    return answer.text;
                }
            }
        };
        let text = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap_or_default();
        assert!(text.contains("has none from 4 to 5") && text.contains("log.db from a backup"), "{writes}: {text}");
        let ready = server.api.get("/health/ready").await;
        assert!(ready.status == 503 && ready.text.contains("is damaged"), "{}", ready.text);
    }
}

/// What happens to the files of a log in use, of which an older state was copied to a folder.
type Harm = fn(&Path, &Path) -> std::io::Result<()>;

/// Copies the file over the one of the same name, in its place.
fn copy(from: &Path, to: &Path, name: &str) -> std::io::Result<()> {
    fs::copy(from.join(name), to.join(name)).map(drop)
}

const HARMS: [(&str, Harm); 5] = [
    ("removed", |folder, _| fs::remove_file(folder.join("log.db-wal"))),
    ("removed, with its index", |folder, _| {
        fs::remove_file(folder.join("log.db-shm"))?;
        fs::remove_file(folder.join("log.db-wal"))
    }),
    ("replaced by an older one", |folder, older| {
        fs::copy(older.join("log.db-wal"), folder.join("older"))?;
        fs::rename(folder.join("older"), folder.join("log.db-wal"))
    }),
    ("overwritten by an older one, as the log", |folder, older| {
        copy(older, folder, "log.db")?;
        copy(older, folder, "log.db-wal")
    }),
    ("emptied", |folder, _| File::options().write(true).open(folder.join("log.db-wal"))?.set_len(0)),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_write_ahead_log_that_is_harmed_under_a_running_server_takes_no_write() {
    for (name, harm) in HARMS {
        let (place, older) = (Place::new("harmed-wal", Backend::Embedded), services::Folder::new("harmed-wal-older"));
        let server = Server::start(&place);
        make_runs(&server, 2).await;
        for file in ["log.db", "log.db-wal"] {
            copy(&place.folder.0, &older.0, file).unwrap_or_else(|error| panic!("{error}"));
        }
        make_runs(&server, 4).await;
        harm(&place.folder.0, &older.0).unwrap_or_else(|error| panic!("{name}: {error}"));
        for _ in 0..3 {
            let answer = server.api.post("/flows/F/run", &json!({})).await;
            assert_eq!(answer.status, 503, "{name}: {}", answer.text);
        }
        let ready = server.api.get("/health/ready").await;
        assert!(ready.status == 503 && ready.text.contains("log: "), "{name}: {}", ready.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_log_that_was_stopped_is_the_whole_log() {
    let place = with_runs("whole").await;
    let wal = fs::metadata(place.folder.0.join("log.db-wal"));
    assert!(wal.map_or(0, |wal| wal.len()) == 0);
    remove(&place.folder.0, "log.db-");
    let server = Server::start(&place);
    let runs = server.api.get("/flows/F/runs").await.json();
    assert_eq!(runs.as_array().map(Vec::len), Some(4), "{runs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_table_is_damaged() {
    let place = Place::new("dropped", Backend::Embedded);
    let server = Server::start(&place);
    make_runs(&server, 1).await;
    let file = place.folder.0.join("log.db").display().to_string();
    services::python("fault/hole.py", &[file.as_str(), "drop"]);
    let answer = server.api.post("/flows/F/run", &json!({})).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    let is_named = async || server.api.get("/health/ready").await.text.contains("is damaged: no such table");
    until("the damage is named", is_named).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_whose_files_are_removed_under_a_running_server_end_service_until_it_is_restarted() {
    for (name, ends) in [("all files", &["", "-wal", "-shm"][..]), ("the write-ahead log", &["-wal"][..])] {
        let place = Place::new("removed-tables", Backend::Embedded);
        let server = Server::start(&place);
        make_runs(&server, 3).await;
        let tables = files(&place.folder.0, "metaflow_g").into_iter().filter(|file| file.ends_with(".db"));
        for file in tables.flat_map(|table| ends.iter().map(move |end| format!("{table}{end}"))) {
            fs::remove_file(place.folder.0.join(file)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let ready = server.api.get("/health/ready").await;
        assert!(ready.status == 503 && ready.text.contains("cannot be found any more"), "{name}: {}", ready.text);
        let answer = server.api.post("/flows/F/run", &json!({})).await;
        assert_eq!(answer.status, 503, "{name}: {}", answer.text);
        until("reads end", async || server.api.get("/flows/F/runs").await.text.contains("tables of metaflow: ")).await;
        server.kill();
        let server = Server::start(&place);
        make_runs(&server, 1).await;
        let runs = server.api.get("/flows/F/runs").await.json();
        // The one that was not acknowledged may be in the log.
        assert!(matches!(runs.as_array().map(Vec::len), Some(4 | 5)), "{name}: {runs}");
    }
}
