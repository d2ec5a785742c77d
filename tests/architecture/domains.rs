//! Generic code names no domain: what belongs to one is in the folder of its name, one per crate.

use std::fs;

use crate::{expect_none, files, files_of, read, root};

const DOMAINS: [&str; 1] = ["metaflow"];

/// The list of domains, and the only generic file that names them.
const LIST: &str = "deploy/src/domains.rs";

/// The folder of the schemas that every domain uses.
const SHARED_SCHEMAS: &str = "core";

fn is_of_domain(file: &str, domain: &str) -> bool {
    file.split('/').any(|segment| segment == domain || segment.strip_suffix(".rs") == Some(domain))
}

/// `mod metaflow;` with any visibility. Rust wants it in the file above the folder.
fn is_declaration(line: &str, domain: &str) -> bool {
    let declared = format!("mod {domain};");
    [String::new(), "pub ".to_owned(), "pub(crate) ".to_owned()].iter().any(|seen| *line == format!("{seen}{declared}"))
}

fn is_generic(file: &str, domain: &str) -> bool {
    file != LIST && !file.starts_with("tests/") && !is_of_domain(file, domain)
}

#[test]
fn generic_files_name_no_domain() {
    let mut found = Vec::new();
    for domain in DOMAINS {
        for file in files_of(".rs").iter().filter(|file| is_generic(file, domain)) {
            for (index, line) in read(file).lines().enumerate() {
                if line.to_lowercase().contains(domain) && !is_declaration(line, domain) {
                    found.push(format!("{file}:{}: names {domain}: {}", index + 1, line.trim()));
                }
            }
        }
    }
    expect_none("generic files name no domain", &found);
}

#[test]
fn each_domain_with_schemas_is_known_here_and_has_a_folder_in_each_crate() {
    let folders = fs::read_dir(root().join("schemas/avro")).unwrap_or_else(|error| panic!("no schemas: {error}"));
    let folders = folders.flatten().filter(|entry| entry.path().is_dir());
    for domain in folders.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let is_known = domain == SHARED_SCHEMAS || DOMAINS.contains(&domain.as_str());
        assert!(is_known, "schemas/avro/{domain}: a domain that tests/architecture/domains.rs does not list");
    }
    for (domain, member) in DOMAINS.iter().flat_map(|domain| crate::crates::WITH_DOMAINS.map(|it| (domain, it))) {
        let has_folder = files().iter().any(|file| file.starts_with(member) && is_of_domain(file, domain));
        assert!(has_folder, "{member} has no folder {domain}");
    }
}

#[test]
fn only_a_bare_declaration_is_let_through() {
    let declared = ["mod toy;", "pub mod toy;", "pub(crate) mod toy;"];
    assert!(declared.iter().all(|line| is_declaration(line, "toy")));
    let others = ["use crate::toy;", "pub mod toy; // toy", "mod toys;", "pub use toy::Toy;"];
    assert!(others.iter().all(|line| !is_declaration(line, "toy")));
    assert!(
        is_of_domain("a/src/toy.rs", "toy") && is_of_domain("a/toy/b.rs", "toy") && !is_of_domain("a/toys.rs", "toy")
    );
}
