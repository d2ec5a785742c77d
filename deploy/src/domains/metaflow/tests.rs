//! Tests of Metaflow's variables.

use crate::config::{self, Config, Environment, FromFlags, Tables};

fn check(given: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let texts = given.iter().map(|(flag, text)| (*flag, (*text).to_owned())).collect();
    config::check(&config::load(&FromFlags { config: None, texts }, &Environment::of_pairs(variables)))
}

#[test]
fn metaflow_s_database_variables_name_the_tables() {
    let variables = [
        ("MF_METADATA_DB_HOST", "db"),
        ("MF_METADATA_DB_USER", "u"),
        ("MF_METADATA_DB_PSWD", "p@ss/word"),
        ("MF_METADATA_DB_NAME", "n"),
        ("MF_METADATA_DB_SSL_MODE", "require"),
        ("MF_METADATA_DB_TIMEOUT", "7"),
        ("MF_METADATA_DB_POOL_MAX", "3"),
    ];
    let config = check(&[("log", "kafka://b:9092")], &variables).unwrap_or_else(|faults| panic!("{faults:?}"));
    let Tables::Postgres(postgres) = config.tables else { panic!("not PostgreSQL") };
    assert_eq!((postgres.connect.get_host(), postgres.connect.get_database()), ("db", Some("n")));
    assert_eq!((postgres.timeout.as_secs(), postgres.connections_max), (7, 3));
    let local = check(&[], &variables).err().unwrap_or_default();
    assert!(local.iter().any(|fault| fault.contains("local log")), "{local:?}");
}

#[test]
fn metaflow_s_other_variables_are_honoured() {
    let variables = [
        ("MF_METADATA_HOST", "0.0.0.0"),
        ("MF_MIGRATION_PORT", "8082"),
        ("PATH_PREFIX", "/metadata/"),
        ("RUN_INACTIVE_CUTOFF_TIME", "60"),
        ("LOGLEVEL", "WARNING"),
    ];
    let config = check(&[], &variables).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.domains.migration_listen().map(|it| it.to_string()), Some("0.0.0.0:8082".to_owned()));
    let settings = &config.domains.metaflow;
    assert_eq!((settings.path_prefix.as_str(), settings.run_inactive_cutoff_seconds), ("/metadata", 60));
    assert_eq!(config.telemetry.log_level, "warn");
}
