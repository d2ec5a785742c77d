//! What the documents name exists, and decision records are short.

use crate::{expect_none, files, files_of, read, root};

const ADR_LINES_MAX: usize = 40;

const TOPS: [&str; 9] =
    ["schemas/", "ingest/", "projector/", "reindexer/", "query-api/", "deploy/", "tests/", "docs/", ".ci/"];

/// The documents of which every word is read, not only what is in backquotes.
const READ_IN_FULL: [&str; 2] = ["docs/ARCHITECTURE.md", "README.md"];

/// Words of a line that look like a path of this repository.
fn paths(line: &str) -> Vec<String> {
    let words = line.split(|c: char| c.is_whitespace() || "`()[]|,;\"'".contains(c));
    let is_path = |word: &&str| TOPS.iter().any(|top| word.starts_with(top)) && !word.contains(['*', '<', '{', '…']);
    let without_end = |word: &str| word.split([':', '#']).next().unwrap_or_default().trim_end_matches('.').to_owned();
    words.filter(is_path).map(without_end).collect()
}

/// Paths in backquotes.
fn quoted_paths(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).filter(|word| !word.contains(' ')).flat_map(paths).collect()
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let (mut named, mut found) = (0, Vec::new());
    for name in files_of(".md") {
        let of_line = if READ_IN_FULL.contains(&name.as_str()) { paths } else { quoted_paths };
        for (index, line) in read(&name).lines().enumerate() {
            for path in of_line(line) {
                named += 1;
                if !root().join(&path).exists() {
                    found.push(format!("{name}:{}: names {path}, which does not exist", index + 1));
                }
            }
        }
    }
    expect_none("every path that the documents name exists", &found);
    assert!(named > 20, "only {named} paths were found: this test looks in the wrong place");
}

#[test]
fn decision_records_are_short() {
    let records: Vec<_> = files_of(".md").into_iter().filter(|name| name.starts_with("docs/adr/")).collect();
    assert!(records.len() > 5, "only {} records were found: this test looks in the wrong place", records.len());
    let long = |name: &String| {
        let lines = read(name).lines().count();
        (lines > ADR_LINES_MAX)
            .then(|| format!("{name}:{}: one of {lines} lines, over {ADR_LINES_MAX}", ADR_LINES_MAX + 1))
    };
    expect_none("decision records are short", &records.iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn every_dependency_has_its_line_in_a_decision_record() {
    let decisions = read("docs/adr/0002-dependencies.md");
    let manifest = read("Cargo.toml");
    let lines = manifest.lines().enumerate().skip_while(|(_, line)| *line != "[workspace.dependencies]").skip(1);
    let mut found = Vec::new();
    for (index, line) in lines.take_while(|(_, line)| !line.starts_with('[')).filter(|(_, line)| line.contains('=')) {
        let name = line.split([' ', '=']).next().unwrap_or_default();
        if !name.starts_with("daybook") && !decisions.contains(&format!("`{name}`")) {
            found.push(format!("Cargo.toml:{}: {name} has no line in the record", index + 1));
        }
    }
    expect_none("every dependency has its line in a decision record", &found);
}

#[test]
fn the_project_stands_alone() {
    let outside = ["../", "shared", "/"].concat();
    let mut found = Vec::new();
    for name in files().iter().filter(|name| [".md", ".rs", ".py"].iter().any(|ending| name.ends_with(ending))) {
        for (index, _) in read(name).lines().enumerate().filter(|(_, line)| line.contains(&outside)) {
            found.push(format!("{name}:{}: points outside of the project", index + 1));
        }
    }
    expect_none("the project stands alone", &found);
}
