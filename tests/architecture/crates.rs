//! Which crate may use which, from `cargo metadata`.

use std::process::Command;

use serde_json::Value;

use crate::root;

/// The crates in the order of the data flow: each may use only those before it.
const ORDER: [&str; 7] = [
    "daybook-schemas",
    "daybook-ingest",
    "daybook-projector",
    "daybook-reindexer",
    "daybook-query-api",
    "daybook",
    "daybook-tests",
];

/// The client crates of outside systems, and who may use them.
const OWNERS: [(&str, &[&str]); 8] = [
    ("apache-avro", &["daybook-schemas"]),
    ("serde_avro_fast", &["daybook-schemas"]),
    ("rdkafka", &["daybook-ingest"]),
    ("rusqlite", &["daybook-ingest", "daybook-projector"]),
    ("sqlx", &["daybook-projector"]),
    ("axum", &["daybook-query-api", "daybook-tests"]),
    ("clap", &["daybook"]),
    ("anyhow", &["daybook", "daybook-tests"]),
];

/// Every member with the names of what it depends on, tests included.
fn members() -> Vec<(String, Vec<String>, Value)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output();
    let output = output.unwrap_or_else(|error| panic!("cannot run cargo metadata: {error}"));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}"));
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let member = |package: Value| {
        let uses = package["dependencies"].as_array().into_iter().flatten().map(name).collect();
        (name(&package), uses, package)
    };
    packages.into_iter().map(member).collect()
}

#[test]
fn each_crate_uses_only_crates_before_it() {
    let members = members();
    let mut names: Vec<_> = members.iter().map(|(name, _, _)| name.as_str()).collect();
    names.sort_unstable();
    let mut expected = ORDER.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, uses, _) in &members {
        let place = ORDER.iter().position(|known| known == name);
        for used in uses.iter().filter_map(|used| ORDER.iter().position(|known| known == used)) {
            assert!(Some(used) < place, "{name} uses {}, which comes after it", ORDER[used]);
        }
    }
}

#[test]
fn each_outside_system_has_its_owner() {
    for (name, uses, _) in members() {
        for (client, owners) in OWNERS {
            let used = uses.iter().any(|used| used == client);
            assert!(!used || owners.contains(&name.as_str()), "{name} uses {client}, which is {owners:?}'s");
        }
    }
}

#[test]
fn versions_stand_in_the_root_manifest_and_lints_are_inherited() {
    for member in ["schemas", "ingest", "projector", "reindexer", "query-api", "deploy", "tests"] {
        let manifest = crate::read(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member} does not inherit the lints");
        for line in manifest.lines().filter(|line| line.contains('=') && !line.contains("workspace = true")) {
            let allowed = ["name =", "path =", "autotests =", "doctest =", "harness ="];
            let stands = allowed.iter().any(|start| line.starts_with(start)) || line.contains(".workspace = true");
            assert!(stands, "{member}/Cargo.toml: {line:?} belongs into the root manifest");
        }
    }
}
