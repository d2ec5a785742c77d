//! When a collection is refreshed, how long each stage may take, and where upstream records come from.

use daybook_reindexer::{deadlines::Deadlines as OfRebuild, settings::VersionSettings};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{measures::Period, reader::Section};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// When and how a collection is refreshed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refresh {
    /// Five fields of cron in UTC, or `none`.
    pub schedule: String,
    /// How long the previous generation is kept.
    pub keep: Period,
    /// Who makes a candidate live.
    pub promote: Promote,
    /// How long each stage may take.
    pub deadline: Deadlines,
}

/// Who makes a candidate live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promote {
    /// An operator.
    Manual,
    /// The refresh itself, if every check holds.
    Auto,
}

/// How long each stage may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deadlines {
    /// The whole refresh.
    pub total: Period,
    /// The import.
    pub import: Period,
    /// Loading the tables.
    pub load: Period,
    /// Indexing.
    pub index: Period,
    /// Waiting for the index to be ready.
    pub ready: Period,
}

impl Refresh {
    /// What it decides about the generations of the collection.
    pub fn settings(&self) -> VersionSettings {
        let Deadlines { total, load, index, ready, import: _ } = &self.deadline;
        let [total, load, index, ready] = [total, load, index, ready].map(|period| Some(period.duration()));
        let previous_max = Some(self.keep.duration());
        VersionSettings { previous_max, deadlines: OfRebuild { total, load, index, ready } }
    }
}

/// Reads the table `refresh`.
pub(super) fn read(root: &Section<'_>) -> Refresh {
    let section = root.section("refresh");
    section.only(&["schedule", "keep", "promote", "deadline"]);
    let schedule = section.text("schedule").unwrap_or("none");
    if schedule != "none" && schedule.split_ascii_whitespace().count() != 5 {
        section.fault(
            "schedule",
            "not-a-schedule",
            format!("{schedule:?} is neither five fields of cron nor \"none\""),
        );
    }
    let deadline = section.section("deadline");
    deadline.only(&["total", "import", "load", "index", "ready"]);
    Refresh {
        schedule: schedule.to_owned(),
        keep: period(&section, "keep", 7 * DAY),
        promote: section
            .one_of("promote", &[("manual", Promote::Manual), ("auto", Promote::Auto)])
            .unwrap_or(Promote::Manual),
        deadline: Deadlines {
            total: period(&deadline, "total", DAY),
            import: period(&deadline, "import", HOUR),
            load: period(&deadline, "load", DAY),
            index: period(&deadline, "index", 12 * HOUR),
            ready: period(&deadline, "ready", DAY),
        },
    }
}

/// A duration that is not zero.
fn period(section: &Section<'_>, key: &str, default_seconds: u64) -> Period {
    let given: Option<Period> = section.parsed(key, "not-a-duration");
    if given.is_some_and(|period| period.duration().is_zero()) {
        section.fault(key, "out-of-range", format!("{} is zero", section.path(key)));
    }
    given.unwrap_or(Period::from_seconds(default_seconds))
}

/// Reads the table `upstream.postgres`: its keys and their types are checked, and it is kept as it is.
pub(super) fn read_postgres(root: &Section<'_>) -> Option<Map<String, Value>> {
    let upstream = root.section("upstream");
    upstream.only(&["postgres"]);
    let section = upstream.section("postgres");
    let options = [
        "url_env",
        "url_file",
        "table",
        "cursor",
        "overlap",
        "columns",
        "deleted_table",
        "removed_flag",
        "reconcile",
        "partitions",
        "rows_per_second",
        "statement_timeout",
    ];
    section.only(&options);
    for key in ["url_env", "url_file", "table", "removed_flag"] {
        section.text(key);
    }
    section.texts("cursor");
    for key in ["overlap", "statement_timeout"] {
        section.parsed::<Period>(key, "not-a-duration");
    }
    section.one_of("reconcile", &[("keys", ()), ("none", ())]);
    section.whole("partitions", 1..=256);
    section.whole("rows_per_second", 0..=1_000_000_000);
    let columns = section.section("columns");
    for (key, _) in columns.entries() {
        columns.text(key);
    }
    let deleted = section.section("deleted_table");
    deleted.only(&["name", "key", "cursor"]);
    for key in ["name", "key", "cursor"] {
        deleted.text(key);
    }
    section.is_present().then(|| section.entries().map(|(key, value)| (key.to_owned(), value.clone())).collect())
}
