//! The rules that keep the code in shape: domains, crate order, owners of client crates, the environment, SQL, words,
//! file sizes and heads, ports, and names in documents. Each test lists every place that breaks its rule.

mod crates;
mod docs;
mod domains;
mod environment;
mod files;
mod source;
mod sql;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The workspace's folder.
fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The files that git knows or would take, as paths from the root.
fn files() -> Vec<String> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot list files: {error}"));
    let names = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(names.len() > 50, "git lists only {} files", names.len());
    names.into_iter().filter(|name| root().join(name).exists()).collect()
}

/// The files whose names end so.
fn files_of(ending: &str) -> Vec<String> {
    files().into_iter().filter(|name| name.ends_with(ending)).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
}

/// Whether a file is the module of this path (`a/b` is `a/b.rs`) or stands in the folder of this path.
fn is_under(file: &str, path: &str) -> bool {
    file.strip_prefix(path).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Fails with every place that breaks a rule. Each begins with its file and line.
fn expect_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}: {} broken\n{}\n", found.len(), found.join("\n"));
}
