//! The rules that keep the code in shape: crate order, owners of client crates, file sizes and heads, ports, names in docs.

mod crates;
mod docs;
mod files;

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

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
}
