//! Which parts of a generation a change of the definition builds anew.

use serde_json::Value;

use super::tree::{differences, path_text};

/// The parts that differ in meaning between two definitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Whether the tables differ.
    pub tables: bool,
    /// Whether the main index differs.
    pub main: bool,
    /// Whether the filtered index differs.
    pub filtered: bool,
    /// The paths that make the difference, such as `clean.tags.deny_exact`.
    pub because: Vec<String>,
}

/// The parts that follow from a value, each from the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Nothing,
    Filtered,
    Indexes,
    Everything,
}

/// Compares two definitions with all values filled in.
pub(super) fn between(old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    for path in differences(old, new) {
        let reach = reach(&path);
        changes.tables |= reach >= Reach::Everything;
        changes.main |= reach >= Reach::Indexes;
        changes.filtered |= reach >= Reach::Filtered;
        if reach > Reach::Nothing {
            changes.because.push(path_text(&path));
        }
    }
    changes
}

fn reach(path: &[String]) -> Reach {
    let mut keys = path.iter().map(String::as_str);
    match (keys.next(), keys.next()) {
        (Some("clean"), Some("exclude")) => Reach::Indexes,
        (Some("collection" | "key" | "fields" | "tables" | "clean"), _) => Reach::Everything,
        (Some("preset" | "index"), _) => Reach::Indexes,
        (Some("filtered" | "compat"), _) => Reach::Filtered,
        _ => Reach::Nothing,
    }
}
