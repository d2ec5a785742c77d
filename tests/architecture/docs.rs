//! What the documents name exists.

use crate::{files, read, root};

/// Words in backquotes that look like a path of this repository.
fn paths(text: &str) -> Vec<String> {
    let tops = ["schemas/", "ingest/", "projector/", "reindexer/", "query-api/", "deploy/", "tests/", "docs/", ".ci/"];
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path =
        |word: &&str| tops.iter().any(|top| word.starts_with(top)) && !word.contains([' ', '*', '<', '{', '…']);
    quoted.filter(is_path).map(|word| word.split(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let mut named = 0;
    for name in files().into_iter().filter(|name| name.ends_with(".md")) {
        for path in paths(&read(&name)) {
            named += 1;
            assert!(root().join(&path).exists(), "{name} names {path}, which does not exist");
        }
    }
    assert!(named > 20, "only {named} paths were found: this test looks in the wrong place");
}

#[test]
fn every_dependency_has_its_line_in_a_decision_record() {
    let decisions = read("docs/adr/0002-dependencies.md");
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    for line in section.unwrap_or_default().lines().filter(|line| line.contains('=')) {
        let name = line.split([' ', '=']).next().unwrap_or_default();
        assert!(
            name.starts_with("daybook") || decisions.contains(&format!("`{name}`")),
            "{name} has no line in the record"
        );
    }
}

#[test]
fn the_project_stands_alone() {
    for name in
        files().into_iter().filter(|name| name.ends_with(".md") || name.ends_with(".rs") || name.ends_with(".py"))
    {
        let outside = ["../", "shared", "/"].concat();
        assert!(!read(&name).contains(&outside), "{name} points outside of the project");
    }
}
