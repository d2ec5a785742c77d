//! What `--help` shows at its end: examples and exit codes.

use daybook_projector::search::shape::{FieldShape, Filter, RELEVANCE};

use crate::domains::Domain;

/// Help of `--server`. It is no doc comment, as rustdoc wants links there in place of URLs.
pub(super) const SERVER: &str = "URL of the running daybook. [env: DAYBOOK_SERVER] [default: http://127.0.0.1:8080]";

/// Help of `--base-url`.
pub(super) const BASE_URL: &str = "URL of the API of migrations. [default: http://127.0.0.1:8082]";

/// The fields of the domains' documents, and what each can be used for.
pub(super) fn fields(domains: &[Domain]) -> String {
    let mut text = String::new();
    for domain in domains {
        let Some(documents) = (domain.documents)() else { continue };
        let shape = documents.shape();
        let list = |serves: fn(&FieldShape) -> bool, shown: fn(&FieldShape) -> String| {
            let fields = shape.fields.iter().filter(|field| serves(field));
            fields.map(shown).collect::<Vec<_>>().join(", ")
        };
        let name = |field: &FieldShape| field.name.to_string();
        let queried = list(|field| field.words.is_some(), name);
        let (filtered, sorted) = (list(|field| field.filter.is_some(), filtered), list(|field| field.sort, name));
        text.push_str(&format!("Fields of {}:\n  query   {queried}\n  filter  {filtered}\n", domain.name()));
        for field in shape.fields.iter().filter(|field| !field.allowed.is_empty()) {
            text.push_str(&format!("          {} is one of {}\n", field.name, field.allowed.join(", ")));
        }
        text.push_str(&format!("  sort    {RELEVANCE}, {sorted}\n"));
    }
    text
}

/// A field to filter by, and what several values mean if not that one of them is enough.
fn filtered(field: &FieldShape) -> String {
    let all = if field.filter == Some(Filter::AllOf) { " (all of several)" } else { "" };
    format!("{}{all}", field.name)
}

macro_rules! help {
    ($name:ident, [$($example:literal),+ $(,)?], [$($code:literal),+ $(,)?]) => {
        pub(super) const $name: &str = concat!(
            "Examples:", $("\n  ", $example,)+
            "\n\nExit codes:", $("\n  ", $code,)+
        );
    };
}

help!(
    DAYBOOK,
    [
        "daybook serve",
        "daybook status",
        "daybook search 'tag:nightly -status:completed'",
        "daybook log tail -n 20 --follow"
    ],
    [
        "  0  done",
        "  1  failed",
        "  2  usage or configuration",
        "  3  not found",
        "  4  denied",
        "  5  conflict",
        "  6  verification found differences",
        "  7  unavailable or timed out",
        "  8  cancelled",
        "130  interrupted"
    ]
);
help!(
    SERVE,
    [
        "daybook serve",
        "daybook serve --log kafka://broker:9092 --tables postgres://user:password@host/db",
        "daybook serve --roles projector --log kafka://broker:9092 --tables postgres://host/db",
        "daybook serve --config /etc/daybook.toml",
    ],
    [
        "  0  stopped in order",
        "  1  failed",
        "  2  usage or configuration",
        "  7  the log or the tables are unavailable"
    ]
);
help!(
    WORKER,
    [
        "daybook worker --log kafka://broker:9092 --tables postgres://host/db --search http://elasticsearch:9200",
        "daybook worker --until-idle 5m --config /etc/daybook.toml",
    ],
    [
        "  0  stopped in order, or no rebuild was under way for long enough",
        "  1  failed",
        "  2  usage or configuration",
        "  7  the log or the tables are unavailable"
    ]
);
help!(
    PREPARE,
    ["daybook prepare --data-dir /var/lib/daybook"],
    [
        "  0  prepared, or nothing to prepare",
        "  1  failed",
        "  2  usage or configuration",
        "  5  another preparation is under way",
        "130  interrupted (repeat it to go on)"
    ]
);
help!(
    STATUS,
    ["daybook status", "daybook status --server http://daybook:8080", "daybook status --json | jq .generations"],
    ["  0  done", "  1  failed", "  2  usage", "  7  no server answers", "130  interrupted"]
);
help!(
    SEARCH,
    [
        "daybook search 'tag:nightly user:ann -status:completed'",
        "daybook search --filter type=run --filter status=failed --from=-7d --sort=-created_at",
        "daybook search --json train | jq -r .hits[].path",
    ],
    [
        "  0  done (also if nothing is found)",
        "  1  failed",
        "  2  usage or a query that cannot be read",
        "  7  unavailable",
        "130  interrupted"
    ]
);
help!(
    LOG,
    ["daybook log cat --key MyFlow", "daybook log tail -n 20 --follow"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage or configuration",
        "  3  no such topic",
        "  7  the log is unavailable",
        "130  interrupted"
    ]
);
help!(
    LOG_CAT,
    [
        "daybook log cat",
        "daybook log cat --type RunStarted --json | jq -r .key",
        "daybook log cat --log kafka://broker:9092/prefix --since 1795718460000",
    ],
    [
        "  0  done",
        "  1  failed",
        "  2  usage or configuration",
        "  3  no such topic",
        "  7  the log is unavailable",
        "130  interrupted"
    ]
);
help!(
    LOG_TAIL,
    ["daybook log tail", "daybook log tail -n 20 --follow --key MyFlow", "daybook log tail -n 0 -f --type RunStarted"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage or configuration",
        "  3  no such topic",
        "  7  the log is unavailable",
        "130  interrupted"
    ]
);
help!(
    QUARANTINE,
    ["daybook quarantine list", "daybook quarantine list --json | jq -r .reason"],
    ["  0  done", "  1  failed", "  2  usage", "  3  not in quarantine", "  7  unavailable", "130  interrupted"]
);
help!(
    QUARANTINE_LIST,
    ["daybook quarantine list", "daybook quarantine list --json | jq -r .reason"],
    ["  0  done (also if there are none)", "  1  failed", "  2  usage", "  7  unavailable", "130  interrupted"]
);
help!(
    IMPORT,
    ["daybook import file --collection image images.csv.gz"],
    ["  0  done", "  1  failed", "  2  usage", "  3  no such collection", "  7  unavailable", "130  interrupted"]
);
help!(
    IMPORT_FILE,
    [
        "daybook import file --collection image images.csv.gz",
        "daybook import file --collection image --merge popularity.csv",
        "zcat a.gz | daybook import file --collection image --format ndjson --max-rejects 10 -"
    ],
    ["  0  done", "  1  failed", "  2  usage", "  3  no such collection", "  7  unavailable", "130  interrupted"]
);
help!(
    REFRESH,
    [
        "daybook refresh start --collection image images.csv.gz",
        "daybook refresh report --collection image",
        "daybook refresh promote --collection image"
    ],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection or refresh",
        "  5  conflict",
        "  6  verification found differences, or a limit is passed",
        "  7  unavailable, or a deadline has passed",
        "  8  cancelled",
        "130  interrupted"
    ]
);
help!(
    REFRESH_PLAN,
    ["daybook refresh plan --collection image"],
    ["  0  done", "  1  failed", "  2  usage", "  3  no such collection", "  7  unavailable", "130  interrupted"]
);
help!(
    REFRESH_START,
    [
        "daybook refresh start --collection image images.csv.gz",
        "daybook refresh start --collection image --max-rejects 10 --promote a.ndjson b.ndjson",
        "daybook refresh start --collection image --no-wait"
    ],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection",
        "  5  conflict",
        "  6  verification found differences, or a limit is passed",
        "  7  unavailable, or a deadline has passed",
        "  8  cancelled",
        "130  interrupted"
    ]
);
help!(
    REFRESH_STATUS,
    ["daybook refresh status --collection image", "daybook refresh status --collection image --json | jq -r .state"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection or refresh",
        "  7  unavailable",
        "130  interrupted"
    ]
);
help!(
    REFRESH_WATCH,
    ["daybook refresh watch --collection image"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection or refresh",
        "  5  conflict",
        "  6  verification found differences, or a limit is passed",
        "  7  unavailable, or a deadline has passed",
        "  8  cancelled",
        "130  interrupted"
    ]
);
help!(
    REFRESH_REPORT,
    ["daybook refresh report --collection image", "daybook refresh report --collection image 3 --json | jq .by_source"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection or refresh",
        "  7  unavailable",
        "130  interrupted"
    ]
);
help!(
    REFRESH_PROMOTE,
    ["daybook refresh promote --collection image --yes --reason 'counts are right'"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection",
        "  5  conflict, or nothing is ready",
        "  7  unavailable",
        "  8  cancelled",
        "130  interrupted"
    ]
);
help!(
    REFRESH_CANCEL,
    ["daybook refresh cancel --collection image --yes"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection",
        "  5  conflict, or nothing is under way",
        "  7  unavailable",
        "  8  cancelled",
        "130  interrupted"
    ]
);
help!(
    REFRESH_RETRY,
    ["daybook refresh retry --collection image"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection",
        "  5  conflict",
        "  6  verification found differences, or a limit is passed",
        "  7  unavailable, or a deadline has passed",
        "  8  cancelled",
        "130  interrupted"
    ]
);
help!(
    REFRESH_ROLLBACK,
    ["daybook refresh rollback --collection image --yes --reason 'titles are wrong'"],
    [
        "  0  done",
        "  1  failed",
        "  2  usage",
        "  3  no such collection",
        "  5  conflict, or there is no previous generation",
        "  7  unavailable",
        "  8  cancelled",
        "130  interrupted"
    ]
);
help!(
    REFRESH_LIST,
    ["daybook refresh list --collection image"],
    ["  0  done", "  1  failed", "  2  usage", "  3  no such collection", "  7  unavailable", "130  interrupted"]
);
help!(
    QUARANTINE_SHOW,
    ["daybook quarantine show \"$(daybook quarantine list --json | head -n 1 | jq -r .position)\""],
    ["  0  done", "  1  failed", "  2  usage", "  3  not in quarantine", "  7  unavailable", "130  interrupted"]
);
help!(
    REBUILD,
    [
        "daybook rebuild --dry-run",
        "daybook rebuild --promote",
        "daybook rebuild --name new-analyser --no-wait",
        "daybook rebuild --until -30m --name before-the-incident",
        "daybook rebuild --attach DOMAIN-2",
        "daybook rebuild --promote --json | jq -r .state"
    ],
    [
        "  0  done: ready, or live with --promote",
        "  1  failed",
        "  2  usage",
        "  3  no such domain or rebuild",
        "  5  another rebuild is under way, or it was not promoted",
        "  6  verification found differences",
        "  7  unavailable, or a deadline has passed",
        "  8  cancelled",
        "130  interrupted (the rebuild goes on)"
    ]
);
help!(
    GENERATIONS,
    [
        "daybook generations list",
        "daybook generations show 2",
        "daybook generations promote 2",
        "daybook generations rollback --reason \"runs look wrong\" --yes"
    ],
    [
        "  0  done",
        "  1  failed",
        "  2  usage, or nobody to ask",
        "  3  no such generation",
        "  5  the state does not allow it",
        "  7  unavailable",
        "  8  nothing was changed",
        "130  interrupted"
    ]
);
help!(
    GENERATIONS_LIST,
    ["daybook generations list", "daybook generations list --json | jq -r .[].state"],
    ["  0  done", "  1  failed", "  2  usage", "  3  no such domain", "  7  unavailable", "130  interrupted"]
);
help!(
    GENERATIONS_SHOW,
    ["daybook generations show 2", "daybook generations show 2 --json | jq .report.passed"],
    ["  0  done", "  1  failed", "  2  usage", "  3  no such generation", "  7  unavailable", "130  interrupted"]
);
help!(
    GENERATIONS_PROMOTE,
    ["daybook generations promote 2", "daybook generations promote 2 --reason \"new analyser\" --yes"],
    [
        "  0  done",
        "  2  usage, or nobody to ask",
        "  3  no such generation",
        "  5  not ready, or behind",
        "  7  unavailable",
        "  8  nothing was changed",
        "130  interrupted"
    ]
);
help!(
    GENERATIONS_ROLLBACK,
    ["daybook generations rollback", "daybook generations rollback --reason \"runs look wrong\" --yes"],
    [
        "  0  done",
        "  2  usage, or nobody to ask",
        "  3  no such generation",
        "  5  no previous generation",
        "  7  unavailable",
        "  8  nothing was changed",
        "130  interrupted"
    ]
);
help!(
    GENERATIONS_CANCEL,
    ["daybook generations cancel 2", "daybook generations cancel 2 --yes"],
    [
        "  0  done",
        "  2  usage, or nobody to ask",
        "  3  no such generation",
        "  5  not being built",
        "  7  unavailable",
        "  8  nothing was changed",
        "130  interrupted"
    ]
);
help!(
    GENERATIONS_RETIRE,
    ["daybook generations retire 1", "daybook generations retire 1 --yes"],
    [
        "  0  done",
        "  2  usage, or nobody to ask",
        "  3  no such generation",
        "  5  not the previous one",
        "  7  unavailable",
        "  8  nothing was changed",
        "130  interrupted"
    ]
);
help!(
    MIGRATION,
    ["daybook migration db-status", "daybook migration upgrade --base-url http://daybook:8082"],
    ["  0  done", "  1  failed", "  2  usage", "  7  unavailable", "130  interrupted"]
);
help!(
    MIGRATION_DB_STATUS,
    ["daybook migration db-status", "daybook migration db-status --json | jq .is_up_to_date"],
    ["  0  done", "  1  failed", "  2  usage", "  7  unavailable", "130  interrupted"]
);
help!(
    MIGRATION_UPGRADE,
    ["daybook migration upgrade"],
    ["  0  done", "  1  failed", "  2  usage", "  7  unavailable", "130  interrupted"]
);
help!(
    MIGRATION_METADATA_SERVICE_VERSION,
    ["daybook migration metadata-service-version"],
    ["  0  done", "  1  failed", "  2  usage", "  7  unavailable", "130  interrupted"]
);
help!(
    CONFIG,
    [
        "daybook config example > daybook.toml",
        "daybook config check --config daybook.toml",
        "daybook config show --origin"
    ],
    ["  0  done", "  1  failed", "  2  usage or configuration"]
);
help!(
    CONFIG_SHOW,
    [
        "daybook config show",
        "daybook config show --origin --config daybook.toml",
        "daybook config show --json | jq .http"
    ],
    ["  0  done", "  1  failed", "  2  usage or configuration (what could be read is shown)"]
);
help!(
    CONFIG_CHECK,
    ["daybook config check", "daybook config check --config daybook.toml"],
    ["  0  no fault", "  2  usage or faults"]
);
help!(CONFIG_EXAMPLE, ["daybook config example > daybook.toml"], ["  0  done", "  1  failed", "  2  usage"]);
