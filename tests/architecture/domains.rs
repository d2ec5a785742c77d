//! Generic code names no domain: what belongs to one of the binary is in its crate, `deploy/domains/<name>/`, and in
//! folders of its name.

use std::fs;

use crate::{crates::members, expect_none, files_of, read, root};

/// Where the crates of the domains are.
const CRATES: &str = "deploy/domains";

/// The list of domains, and the only generic file that names them.
const LIST: &str = "deploy/src/domains.rs";

/// The folder of the schemas that every domain uses.
const SHARED_SCHEMAS: &str = "core";

/// The names of the folders in a folder.
fn folders(of: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(of)).unwrap_or_else(|error| panic!("cannot read {of}: {error}"));
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn is_of_domain(file: &str, domain: &str) -> bool {
    file.split('/').any(|segment| segment == domain)
}

fn is_generic(file: &str, domain: &str) -> bool {
    file != LIST && !file.starts_with("tests/") && !is_of_domain(file, domain)
}

#[test]
fn generic_files_name_no_domain() {
    let (domains, mut found) = (folders(CRATES), Vec::new());
    for domain in &domains {
        for file in files_of(".rs").iter().filter(|file| is_generic(file, domain)) {
            for (index, line) in read(file).lines().enumerate().filter(|(_, it)| it.to_lowercase().contains(domain)) {
                found.push(format!("{file}:{}: names {domain}: {}", index + 1, line.trim()));
            }
        }
    }
    expect_none("generic files name no domain", &found);
    assert!(!domains.is_empty(), "there are no domains in {CRATES}: this test looks in the wrong place");
}

#[test]
fn each_domain_is_one_crate() {
    let members = members();
    let domains = folders(CRATES);
    for domain in &domains {
        let folder = format!("{CRATES}/{domain}");
        assert!(members.iter().any(|member| member.folder == folder), "{folder} is no crate of the workspace");
    }
    for domain in folders("schemas/avro").into_iter().filter(|domain| domain != SHARED_SCHEMAS) {
        assert!(domains.contains(&domain), "schemas/avro/{domain}: a domain without a crate in {CRATES}");
    }
}

#[test]
fn only_the_binary_and_tests_use_the_crate_of_a_domain() {
    let members = members();
    let is_domain = |name: &str| members.iter().any(|it| it.name == name && it.folder.starts_with(CRATES));
    let may = |folder: &str| folder == "deploy" || folder.starts_with("tests");
    let mut found = Vec::new();
    for member in members.iter().filter(|member| !may(&member.folder)) {
        let used = member.uses.iter().filter(|used| is_domain(&used.name));
        found.extend(used.map(|used| format!("{}/Cargo.toml: uses {}", member.folder, used.name)));
    }
    expect_none("only the binary and tests use the crate of a domain", &found);
}

#[test]
fn files_of_a_domain_are_in_a_folder_of_its_name() {
    assert!(is_of_domain("a/toy/b.rs", "toy"));
    for file in ["a/toys/b.rs", "a/src/toy.rs", "a/src/toys.rs"] {
        assert!(!is_of_domain(file, "toy"), "{file}");
    }
}
