//! Tests of the configuration as a whole.

use std::{env, fs, path::PathBuf, process};

use super::*;
use super::{given::Origin, tests as own};

/// A file that is written by a test with `UPDATE_GOLDEN=1`, and compared otherwise.
pub(crate) struct Golden(PathBuf);

impl Golden {
    /// By its path from the crate's folder.
    pub(crate) fn of(path: &str) -> Self {
        Self(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path))
    }

    pub(crate) fn check(&self, text: &str) {
        let path = self.0.display();
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&self.0, text).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
        }
        let golden = fs::read_to_string(&self.0).unwrap_or_default();
        assert_eq!(golden, text, "{path} is out of date: run this test with UPDATE_GOLDEN=1");
    }
}

/// A settings' file; deleted when dropped.
pub(crate) struct File(PathBuf);

impl File {
    pub(crate) fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // The file may be gone already.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Writes a settings' file.
pub(crate) fn given_in_file(text: &str) -> File {
    let name = format!("daybook-{}-{:?}.toml", process::id(), std::thread::current().id());
    let file = File(env::temp_dir().join(name));
    fs::write(&file.0, text).unwrap_or_else(|error| panic!("{error}"));
    file
}

fn flags(texts: &[(&'static str, &str)]) -> FromFlags {
    FromFlags { config: None, texts: texts.iter().map(|(flag, text)| (*flag, (*text).to_owned())).collect() }
}

fn loaded(given: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Loaded {
    load(&flags(given), &Environment::of_pairs(variables))
}

fn setting(flag: &str) -> &'static Setting {
    settings().find(|setting| setting.flag == flag).unwrap_or_else(|| panic!("there is no setting {flag}"))
}

#[test]
fn defaults_are_embedded_and_local() {
    let config = check(&loaded(&[], &[])).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert!(matches!((config.log, config.tables, config.search), (Log::Embedded, Tables::Sqlite, Search::Embedded)));
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.process.roles.names(), "api,projector");
    assert_eq!(config.domains.second().map(|it| it.listen.to_string()).as_deref(), Some("127.0.0.1:8082"));
}

#[test]
fn names_are_unique_and_follow_one_rule() {
    let mut flags: Vec<_> = settings().map(|setting| setting.flag).collect();
    let mut paths: Vec<_> = settings().map(Setting::path).collect();
    let count = flags.len();
    flags.sort_unstable();
    flags.dedup();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!((flags.len(), paths.len()), (count, count));
    for setting in settings() {
        let key = setting.flag.replace('-', "_");
        let of_area = format!("{}_{}", setting.area, setting.key);
        let is_url = setting.key == "url" && setting.flag == setting.area;
        assert!(is_url || key == setting.key || key == of_area, "{} is --{}", setting.path(), setting.flag);
    }
}

#[test]
fn all_faults_are_reported_together() {
    let file = own::given_in_file("[http]\nlistn = \"x\"\n[telemetry]\nlog_format = \"xml\"\n");
    let mut flags = flags(&[("log", "kafka:/x"), ("listen", "nowhere")]);
    flags.config = Some(file.path());
    let variables = [("DAYBOOK_ROLES", "api,cook"), ("DAYBOOK_REQUESTS_MAX", "-1"), ("DAYBOOK_TABLES_SCHEMA", "1")];
    let faults = check(&load(&flags, &Environment::of_pairs(&variables))).err().unwrap_or_default();
    for part in [
        "http.listn; the nearest is listen",
        "--log is \"***\": expected embedded, or a URL of Kafka",
        "--listen is \"nowhere\": expected an address or a name, and a port, as in 127.0.0.1:8080",
        "--roles (from DAYBOOK_ROLES) is \"api,cook\": expected one or several of api, projector",
        "--requests-max (from DAYBOOK_REQUESTS_MAX) is \"-1\": expected a whole number from 1 to 1000000",
        "--tables-schema (from DAYBOOK_TABLES_SCHEMA) is \"1\": expected 1 to 40 small letters",
        &format!("--log-format (from {}:4) is \"xml\": expected human or json", file.path()),
    ] {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part} is missing: {faults:#?}");
    }
    assert_eq!(faults.len(), 7, "{faults:#?}");
}

#[test]
fn the_source_of_higher_precedence_wins() {
    let file = own::given_in_file("[http]\nlisten = \"127.0.0.1:4\"\n");
    let variables = [("DAYBOOK_LISTEN", "127.0.0.1:1"), ("MF_METADATA_PORT", "2"), ("MF_METADATA_HOST", "0.0.0.0")];
    let found = |given: &[(&'static str, &str)], variables: &[(&str, &str)], with_file: bool| {
        let flags = FromFlags { config: with_file.then(|| file.path()), ..flags(given) };
        let given = load(&flags, &Environment::of_pairs(variables)).given;
        (given.text(setting("listen")).to_owned(), given.origin(setting("listen")))
    };
    let environment = |text: &str| Origin::Environment(text.to_owned());
    let given = [("listen", "127.0.0.1:3")];
    assert_eq!(found(&given, &variables, true), ("127.0.0.1:3".to_owned(), Origin::CommandLine));
    assert_eq!(found(&[], &variables, true), ("127.0.0.1:1".to_owned(), environment("DAYBOOK_LISTEN")));
    let domain = environment("MF_METADATA_HOST, MF_METADATA_PORT");
    assert_eq!(found(&[], &variables[1..], true), ("0.0.0.0:2".to_owned(), domain));
    let of_file = Origin::File { path: file.path(), line: 2 };
    assert_eq!(found(&[], &[], true), ("127.0.0.1:4".to_owned(), of_file));
    assert_eq!(found(&[], &[], false), ("127.0.0.1:8080".to_owned(), Origin::Default));
}

#[test]
fn the_order_is_the_same_for_the_tables() {
    let file = own::given_in_file("[tables]\nurl = \"postgres://of_file/d\"\n");
    let flags = FromFlags { config: Some(file.path()), ..flags(&[]) };
    let url = |variables: &[(&str, &str)]| {
        let given = load(&flags, &Environment::of_pairs(variables)).given;
        given.text(setting("tables")).to_owned()
    };
    assert_eq!(url(&[]), "postgres://of_file/d");
    assert!(url(&[("MF_METADATA_DB_HOST", "of_domain")]).starts_with("host='of_domain' port='5432' "));
    assert_eq!(url(&[("MF_METADATA_DB_HOST", "of_domain"), ("DAYBOOK_TABLES", "sqlite")]), "sqlite");
}

#[test]
fn a_variable_names_the_file() {
    let file = own::given_in_file("[process]\nshutdown_ms_max = 7\n");
    let loaded = loaded(&[], &[("DAYBOOK_CONFIG", &file.path())]);
    assert_eq!(loaded.given.text(setting("shutdown-ms-max")), "7");
    let missing = super::load(&flags(&[]), &Environment::of_pairs(&[("DAYBOOK_CONFIG", "/nowhere/at-all")]));
    assert!(missing.faults.len() == 1 && missing.faults[0].contains("/nowhere/at-all"), "{:?}", missing.faults);
}

#[test]
fn search_follows_the_tables() {
    let tables = [("log", "kafka://b:9092"), ("tables", "postgres://h/d")];
    assert_eq!(loaded(&[], &[]).given.text(setting("search")), "embedded");
    assert_eq!(loaded(&tables, &[]).given.text(setting("search")), "off");
    let config = check(&loaded(&tables, &[])).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(config.search, Search::Off);
}

#[test]
fn parts_that_do_not_go_together_are_refused() {
    let fault = |given: &[(&'static str, &str)]| check(&loaded(given, &[])).err().unwrap_or_default().join("\n");
    assert!(fault(&[("tables", "postgres://h/d")]).contains("local log under network tables"));
    assert!(fault(&[("log", "kafka://b:9092")]).contains("every instance can reach"));
    assert!(fault(&[("roles", "api")]).contains("one process has all roles"));
    let shared = [("log", "kafka://b:9092"), ("tables", "postgres://h/d"), ("search", "embedded")];
    assert!(fault(&shared).contains("belongs to one process"));
}

#[test]
fn reading_the_log_ignores_faults_of_other_areas() {
    let loaded = loaded(&[], &[("DAYBOOK_TABLES", "postgres://h/d"), ("DAYBOOK_LISTEN", "x")]);
    assert!(check(&loaded).is_err());
    assert!(check_log(&loaded).is_ok());
}

#[test]
fn no_password_is_ever_shown() {
    let given = [
        ("log", "kafka://b:9092?security.protocol=SASL_SSL&sasl.password=hidden"),
        ("tables", "postgres://ann:hidden@h:port/d"),
        ("search", "ftp://elastic:hidden@h:9200"),
    ];
    let loaded = loaded(&given, &[]);
    let mut shown = check(&loaded).err().unwrap_or_default();
    let document = Shown::of(&loaded.given, true);
    shown.push(serde_json::to_string(&document).unwrap_or_default());
    let mut table = Vec::new();
    assert!(document.write_table(&mut table).is_ok());
    shown.push(String::from_utf8_lossy(&table).into_owned());
    let shown = shown.join("\n");
    assert!(shown.contains("ann:***") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn what_is_shown_has_a_fixed_order_and_its_origins() {
    let loaded = loaded(&[("requests-max", "9")], &[("DAYBOOK_LOG_LEVEL", "debug")]);
    let plain = serde_json::to_string(&Shown::of(&loaded.given, false)).unwrap_or_default();
    let begin = r#"{"process":{"roles":["api","projector"],"data_dir":"daybook-data","shutdown_ms_max":20000},"log":"#;
    assert!(
        plain.starts_with(begin) && plain.contains(r#""migration_listen":"127.0.0.1:8082","migration_upgrade":"on""#),
        "{plain}"
    );
    let origins = serde_json::to_string(&Shown::of(&loaded.given, true)).unwrap_or_default();
    for part in [
        r#""requests_max":{"value":9,"origin":{"kind":"command-line"}}"#,
        r#""log_level":{"value":"debug","origin":{"kind":"environment","variable":"DAYBOOK_LOG_LEVEL"}}"#,
        r#""listen":{"value":"127.0.0.1:8080","origin":{"kind":"default"}}"#,
    ] {
        assert!(origins.contains(part), "{part} is missing: {origins}");
    }
}
