//! Which crate may use which, and which modules may use the client crates: from `cargo metadata` and the source.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    expect_none, is_under, root,
    source::{Kind, Source, Token, sources},
};

/// The crates in the order of the data flow: each may use only those before it.
const ORDER: [&str; 10] = [
    "daybook-schemas",
    "daybook-ingest",
    "daybook-projector",
    "daybook-reindexer",
    "daybook-query-api",
    "daybook-catalogue",
    "daybook-metaflow",
    "daybook",
    "daybook-books",
    "daybook-tests",
];

/// Crates that speak to outside systems or give the code its shape, and the only modules and folders that use them.
/// A member has the dependency only if one of these is in it.
const OWNERS: [(&str, &[&str]); 22] = [
    ("apache-avro", &["schemas", "deploy/domains/metaflow/src/events/tests", "deploy/domains/metaflow/benches"]),
    ("serde_avro_fast", &["schemas"]),
    ("rdkafka", &["ingest/src/log/kafka"]),
    (
        "rusqlite",
        &[
            "ingest/src/log/embedded",
            "ingest/src/sqlite",
            "projector/src/tables/sqlite",
            "projector/src/tables/sqlite_readers",
        ],
    ),
    ("sqlx", &["projector/src/tables/postgres"]),
    ("native-tls", &["projector/src/tables/postgres/address"]),
    ("deadpool", &["projector/src/tables/postgres"]),
    ("elasticsearch", &["projector/src/search/elasticsearch"]),
    ("tantivy", &["projector/src/search/tantivy"]),
    ("axum", &["query-api", "deploy/domains/catalogue", "deploy/domains/metaflow", "tests", "tests/books"]),
    ("reqwest", &["deploy", "tests"]),
    ("clap", &["deploy"]),
    ("anyhow", &["deploy", "tests"]),
    // Second clients of PostgreSQL, and object stores. Nothing uses them.
    ("tokio-postgres", &[]),
    ("deadpool-postgres", &[]),
    ("postgres", &[]),
    ("object_store", &[]),
    ("aws-config", &[]),
    ("aws-sdk-s3", &[]),
    ("rust-s3", &[]),
    ("opendal", &[]),
    ("google-cloud-storage", &[]),
];

/// A crate of the workspace.
pub(crate) struct Member {
    pub(crate) name: String,
    /// From the root.
    pub(crate) folder: String,
    /// What it depends on, for tests and builds too.
    pub(crate) uses: Vec<Used>,
}

pub(crate) struct Used {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
}

impl Member {
    fn has(&self, name: &str) -> bool {
        self.uses.iter().any(|used| used.name == name)
    }
}

/// The member that a path from the root is in.
fn member_of<'m>(members: &'m [Member], path: &str) -> Option<&'m Member> {
    let holders = members.iter().filter(|member| path == member.folder || is_under(path, &member.folder));
    holders.max_by_key(|member| member.folder.len())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list<T>(value: &Value, of: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().into_iter().flatten().map(of).collect()
}

pub(crate) fn members() -> Vec<Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output();
    let output = output.unwrap_or_else(|error| panic!("cannot run cargo metadata: {error}"));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}"));
    let used = |used: &Value| Used { name: text(&used["name"]), features: list(&used["features"], text) };
    let member = |package: &Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok());
        let folder = folder.unwrap_or_else(|| panic!("{} is not in the workspace", manifest.display()));
        let uses = list(&package["dependencies"], used);
        Member { name: text(&package["name"]), folder: folder.display().to_string(), uses }
    };
    list(&metadata["packages"], member)
}

/// The names that paths of a file begin with, with their lines: `a` of `use a::b`, `use {a::b, …}` and `a::b`.
fn roots(source: &Source) -> Vec<&Token> {
    let mut roots = Vec::new();
    let mut rest = source.tokens.as_slice();
    let mut before: Option<&Token> = None;
    while let [first, others @ ..] = rest {
        let is_use = first.is_name("use") && !others.first().is_some_and(|next| next.is_sign("<"));
        let is_path = first.kind == Kind::Name && others.first().is_some_and(|next| next.is_sign("::"));
        let end = if is_use { others.iter().position(|token| token.is_sign(";")).unwrap_or(others.len()) } else { 0 };
        if is_use {
            roots.extend(roots_of_use(&others[..end]));
        } else if is_path && !before.is_some_and(|token| token.is_sign("::")) {
            roots.push(first);
        }
        before = Some(first);
        rest = &others[end..];
    }
    roots
}

/// The first names in a `use`: one, or those of the outermost braces.
fn roots_of_use(tokens: &[Token]) -> Vec<&Token> {
    let from = usize::from(tokens.first().is_some_and(|first| first.is_sign("::")));
    let [first, inside @ ..] = &tokens[from..] else { return Vec::new() };
    if !first.is_sign("{") {
        return vec![first];
    }
    let (mut depth, mut begins, mut roots) = (1, true, Vec::new());
    for token in inside {
        if begins && depth == 1 && token.kind == Kind::Name {
            roots.push(token);
        }
        depth += i32::from(token.is_sign("{")) - i32::from(token.is_sign("}"));
        begins = token.is_sign(",");
    }
    roots
}

#[test]
fn each_crate_uses_only_crates_before_it() {
    let members = members();
    let mut names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    let mut expected = ORDER.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for member in &members {
        let place = ORDER.iter().position(|known| *known == member.name);
        for used in member.uses.iter().filter_map(|used| ORDER.iter().position(|known| *known == used.name)) {
            assert!(Some(used) < place, "{}/Cargo.toml: uses {}, which comes after it", member.folder, ORDER[used]);
        }
    }
}

#[test]
fn each_client_crate_is_a_dependency_of_its_owners_only() {
    let (members, mut found) = (members(), Vec::new());
    for member in &members {
        let owns = |owner: &&str| member_of(&members, owner).is_some_and(|of_owner| of_owner.name == member.name);
        for (client, owners) in OWNERS.iter().filter(|(client, _)| member.has(client)) {
            if !owners.iter().any(owns) {
                found.push(format!("{}/Cargo.toml: has {client}, which belongs to {owners:?}", member.folder));
            }
        }
    }
    expect_none("each client crate is a dependency of its owners only", &found);
}

#[test]
fn each_client_crate_is_used_by_its_owners_only() {
    let (members, sources) = (members(), sources());
    let mut found = Vec::new();
    for (client, owners) in OWNERS {
        let mut idle: Vec<_> = owners.iter().filter(|owner| owner.contains('/')).collect();
        let in_code = client.replace('-', "_");
        // Where a crate is no dependency, its name is that of a module of ours.
        let may_use = |source: &&Source| member_of(&members, &source.name).is_some_and(|member| member.has(client));
        for source in sources.iter().filter(may_use) {
            for token in roots(source).into_iter().filter(|token| token.is_name(&in_code)) {
                idle.retain(|owner| !is_under(&source.name, owner));
                if !owners.iter().any(|owner| is_under(&source.name, owner)) {
                    found.push(format!("{}:{}: uses {client}; only {owners:?} may", source.name, token.line));
                }
            }
        }
        assert!(idle.is_empty(), "{idle:?} do not use {client}: take them off the list of its owners");
    }
    expect_none("each client crate is used by its owners only", &found);
}

#[test]
fn paths_are_known_by_their_first_names() {
    let text = "use a::b::{c, d::e}; use {f::g, h}; use ::i; fn x() -> impl use<'a> T { j::k::l(crate::m::n) }";
    let source = Source { name: String::new(), tokens: crate::source::tokens(text) };
    let names: Vec<_> = roots(&source).iter().map(|token| token.text.as_str()).collect();
    assert_eq!(names, ["a", "f", "h", "i", "j", "crate"]);
}

#[test]
fn versions_stand_in_the_root_manifest_and_lints_are_inherited() {
    for Member { folder, .. } in members() {
        let manifest = crate::read(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder}/Cargo.toml does not inherit the lints");
        let lines = manifest.lines().enumerate();
        for (index, line) in lines.filter(|(_, line)| line.contains('=') && !line.contains("workspace = true")) {
            let allowed = ["name =", "description =", "path =", "autotests =", "doctest =", "test =", "harness ="];
            let stands = allowed.iter().any(|start| line.starts_with(start));
            assert!(stands, "{folder}/Cargo.toml:{}: {line:?} belongs into the root manifest", index + 1);
        }
    }
}
