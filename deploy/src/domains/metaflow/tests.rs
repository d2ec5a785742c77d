//! Tests of Metaflow's variables.

use super::Settings;
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
    let connect = &postgres.address.connect;
    assert_eq!((connect.get_host(), connect.get_database()), ("db", Some("n")));
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
    assert_eq!(config.domains.second().map(|second| second.listen.to_string()), Some("0.0.0.0:8082".to_owned()));
    let loaded = config::load(&FromFlags::default(), &Environment::of_pairs(&variables));
    let settings = Settings::check(&loaded.given, &mut Vec::new()).unwrap_or_else(|| panic!("faults"));
    assert_eq!((settings.path_prefix.as_str(), settings.run_inactive_cutoff_seconds), ("/metadata", 60));
    assert_eq!(config.telemetry.log_level, "warn");
}

/// The faults of a configuration with a log on Kafka.
fn faults(variables: &[(&str, &str)]) -> String {
    check(&[("log", "kafka://b:9092")], variables).err().unwrap_or_default().join("\n")
}

#[test]
fn a_dsn_is_taken_in_both_forms_or_refused_by_its_name() {
    for dsn in ["host=127.0.0.1 port=5432 user=u dbname=d", "postgres://u@127.0.0.1:5432/d"] {
        // It wins over the parts.
        let variables = [("MF_METADATA_DB_DSN", dsn), ("MF_METADATA_DB_HOST", "other")];
        let config = check(&[("log", "kafka://b:9092")], &variables).unwrap_or_else(|faults| panic!("{faults:?}"));
        let Tables::Postgres(postgres) = config.tables else { panic!("not PostgreSQL") };
        let connect = &postgres.address.connect;
        assert_eq!((connect.get_host(), connect.get_username(), connect.get_database()), ("127.0.0.1", "u", Some("d")));
    }
    for dsn in ["mysql://u:hidden@h/d", "hidden", "host=h port=x", "postgres://h/d?colour=red", "sqlite3"] {
        let faults = faults(&[("MF_METADATA_DB_DSN", dsn)]);
        assert!(faults.contains("(from MF_METADATA_DB_DSN)") && !faults.contains("hidden"), "{dsn}: {faults}");
    }
}

#[test]
fn what_is_given_and_cannot_be_used_names_its_variable() {
    for (variable, value) in [
        ("MF_METADATA_PORT", "http"),
        ("MF_METADATA_HOST", "a b"),
        ("MF_MIGRATION_PORT", "65536"),
        ("MF_METADATA_DB_PORT", "x"),
        ("MF_METADATA_DB_SSL_MODE", "on"),
        ("MF_METADATA_DB_POOL_MAX", "many"),
        ("MF_METADATA_DB_TIMEOUT", "soon"),
        ("RUN_INACTIVE_CUTOFF_TIME", "0"),
        ("PATH_PREFIX", "no slash"),
        ("LOGLEVEL", "verbose"),
    ] {
        let faults = faults(&[("MF_METADATA_DB_NAME", "d"), (variable, value)]);
        assert!(faults.contains(variable), "{variable}={value}: {faults}");
        let unset = faults_of_embedded(&[(variable, "")]);
        assert_eq!(unset, "", "{variable} is empty");
    }
    // A mode alone names tables, too.
    let local = faults_of_embedded(&[("MF_METADATA_DB_SSL_MODE", "require")]);
    assert!(local.contains("local log under network tables (--tables, from MF_METADATA_DB_SSL_MODE)"), "{local}");
}

/// Metaflow's variables that a text names.
fn named(text: &str) -> Vec<&'static str> {
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    super::environment::variable_names().into_iter().filter(|name| words.contains(name)).collect()
}

#[test]
fn a_fault_names_the_variables_that_are_unusable_and_no_other() {
    let good = [
        ("MF_METADATA_HOST", "127.0.0.1"),
        ("MF_METADATA_PORT", "8080"),
        ("MF_MIGRATION_PORT", "8082"),
        ("MF_METADATA_DB_HOST", "db"),
        ("MF_METADATA_DB_PORT", "5432"),
        ("MF_METADATA_DB_USER", "u"),
        ("MF_METADATA_DB_PSWD", "p"),
        ("MF_METADATA_DB_NAME", "n"),
        ("MF_METADATA_DB_SSL_MODE", "require"),
        ("MF_METADATA_DB_TIMEOUT", "60"),
        ("MF_METADATA_DB_POOL_MAX", "10"),
    ];
    let with = |bad: &[(&'static str, &'static str)]| {
        let rest = good.iter().filter(|(name, _)| !bad.iter().any(|(other, _)| other == name));
        faults(&rest.chain(bad).copied().collect::<Vec<_>>())
    };
    assert_eq!(with(&[]), "");
    for (variable, value) in [
        ("MF_METADATA_HOST", "a b"),
        ("MF_METADATA_HOST", " "),
        ("MF_METADATA_HOST", "[::1"),
        ("MF_METADATA_PORT", "x"),
        ("MF_METADATA_PORT", "-1"),
        ("MF_MIGRATION_PORT", "65536"),
        ("MF_METADATA_DB_HOST", "a b"),
        ("MF_METADATA_DB_PORT", "x"),
        ("MF_METADATA_DB_PORT", "0"),
        ("MF_METADATA_DB_SSL_MODE", "on"),
        ("MF_METADATA_DB_SSL_ROOT_CERT_PATH", "/nowhere/ca.pem"),
        ("MF_METADATA_DB_SSL_CERT_PATH", "/nowhere/cert.pem"),
        ("MF_METADATA_DB_SSL_KEY_PATH", "/nowhere/key.pem"),
        ("MF_METADATA_DB_TIMEOUT", "0"),
        ("MF_METADATA_DB_POOL_MAX", "x"),
        ("LOGLEVEL", "LOUD"),
    ] {
        let faults = with(&[(variable, value)]);
        assert!(!faults.is_empty() && faults.lines().all(|fault| named(fault) == [variable]), "{variable}: {faults}");
    }
    // Each of several, and both where two do not fit together.
    let two = with(&[("MF_METADATA_DB_PORT", "x"), ("MF_METADATA_DB_SSL_MODE", "on")]);
    let of_lines: Vec<_> = two.lines().map(named).collect();
    assert!(of_lines.len() == 2 && of_lines.iter().all(|names| names.len() == 1), "{two}");
    let root = ("MF_METADATA_DB_SSL_ROOT_CERT_PATH", "system");
    assert_eq!(named(&with(&[root])), ["MF_METADATA_DB_SSL_MODE", "MF_METADATA_DB_SSL_ROOT_CERT_PATH"]);
    assert_eq!(with(&[root, ("MF_METADATA_DB_SSL_MODE", "verify-full")]), "");
    // What a setting of higher precedence takes the place of does not matter.
    let variables = [("MF_METADATA_PORT", "x"), ("DAYBOOK_LISTEN", "127.0.0.1:1")];
    assert_eq!(faults_of_embedded(&variables), "");
}

#[test]
fn addresses_that_can_never_work_are_faults() {
    let name = ("MF_METADATA_DB_NAME", "d");
    for (variable, value) in [
        ("MF_METADATA_DB_HOST", "127.0.0.1:43845"),
        ("MF_METADATA_DB_HOST", ":"),
        ("MF_METADATA_DB_HOST", "::1%"),
        ("MF_METADATA_DB_HOST", "999.1.1.1"),
        ("MF_METADATA_HOST", "256.1.1.1"),
        ("MF_METADATA_HOST", "localhost:8080"),
    ] {
        assert_eq!(named(&faults(&[name, (variable, value)])), [variable], "{value}");
    }
    assert_eq!(faults(&[("MF_METADATA_DB_HOST", " db "), ("MF_METADATA_DB_SSL_MODE", "require ")]), "");
}

#[test]
fn variables_of_libpq_give_what_metaflow_s_leave_out() {
    let parts = [("MF_METADATA_DB_NAME", "n"), ("PGHOST", "other"), ("PGPORT", "x"), ("PGUSER", "other")];
    let address = |variables: &[(&str, &str)]| {
        let config = check(&[("log", "kafka://b:9092")], variables).unwrap_or_else(|faults| panic!("{faults:?}"));
        let Tables::Postgres(postgres) = config.tables else { panic!("not PostgreSQL") };
        postgres.address
    };
    let connect = address(&parts).connect;
    assert_eq!((connect.get_host(), connect.get_port(), connect.get_username()), ("localhost", 5432, "postgres"));
    let mode = |variables: &[(&str, &str)]| format!("{:?}", address(variables).connect.get_ssl_mode());
    let disabled = ("MF_METADATA_DB_SSL_MODE", "disabled");
    assert_eq!((mode(&parts), mode(&[parts[0], disabled])), ("Prefer".to_owned(), "Prefer".to_owned()));
    assert_eq!(mode(&[parts[0], disabled, ("PGSSLMODE", "require")]), "Require");
    let dsn = ("MF_METADATA_DB_DSN", "user=u dbname=d");
    let of_dsn = address(&[dsn, ("PGHOST", "db"), ("PGPORT", "1")]).connect;
    assert_eq!((of_dsn.get_host(), of_dsn.get_port()), ("db", 1));
    for (variable, value) in [("PGHOST", "a b"), ("PGPORT", "x"), ("PGSSLMODE", "on"), ("PGSERVICE", "s")] {
        let faults = faults(&[dsn, (variable, value)]);
        assert!(faults.contains(&format!("(from {variable})")) && named(&faults).is_empty(), "{variable}: {faults}");
    }
    let with_parts = faults(&[parts[0], ("PGSSLMODE", "on")]);
    assert!(with_parts.starts_with("PGSSLMODE cannot be used") && named(&with_parts).is_empty(), "{with_parts}");
    // Without tables on PostgreSQL they do not matter.
    assert_eq!(faults_of_embedded(&[("PGPORT", "x")]), "");
}

#[test]
fn what_is_not_used_as_it_is_given_is_a_warning() {
    let warnings = |variables: &[(&str, &str)]| {
        config::load(&FromFlags::default(), &Environment::of_pairs(variables)).warnings.join("\n")
    };
    for variable in ["DB_SCHEMA_NAME", "USE_SEPARATE_READER_POOL", "MF_METADATA_DB_READ_REPLICA_HOST", "AIOPG_ECHO"] {
        let text = warnings(&[(variable, "1")]);
        assert!(text.contains(&format!("{variable} is not used: ")) && text.lines().count() == 1, "{text}");
        assert_eq!(warnings(&[(variable, "")]), "");
    }
    let one = [("MF_METADATA_DB_NAME", "n"), ("MF_METADATA_DB_POOL_MAX", "1")];
    assert!(warnings(&one).contains("MF_METADATA_DB_POOL_MAX is \"1\""));
    let any = [("MF_METADATA_DB_NAME", "n"), ("MF_METADATA_DB_POOL_MAX", "0")];
    assert!(warnings(&any).contains("MF_METADATA_DB_POOL_MAX is \"0\": Daybook uses 1000"), "{}", warnings(&any));
    let config = check(&[("log", "kafka://b:9092")], &one).unwrap_or_else(|faults| panic!("{faults:?}"));
    let Tables::Postgres(postgres) = config.tables else { panic!("not PostgreSQL") };
    assert_eq!(postgres.connections_max, 2);
    let port = faults(&[("MF_METADATA_DB_DSN", "host=h"), ("MF_METADATA_DB_PORT", "five")]);
    assert_eq!(named(&port), ["MF_METADATA_DB_PORT"]);
}

#[test]
fn the_upgrade_of_migrations_can_be_switched_off_and_levels_have_white_space() {
    let upgrade = |value: &str| {
        let variables = [("MF_MIGRATION_ENDPOINTS_ENABLED", value)];
        let loaded = config::load(&FromFlags::default(), &Environment::of_pairs(&variables));
        Settings::check(&loaded.given, &mut Vec::new()).map(|settings| settings.migration_upgrade)
    };
    for (value, expected) in [("0", Some(false)), ("1", Some(true)), ("-1", Some(true)), ("", Some(true)), ("no", None)]
    {
        assert_eq!(upgrade(value), expected, "{value}");
    }
    let config = check(&[], &[("LOGLEVEL", "WARNING ")]).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(config.telemetry.log_level, "warn");
}

#[test]
fn the_time_out_is_in_seconds_and_its_fault_too() {
    let timeout = |value: &'static str| [("MF_METADATA_DB_NAME", "d"), ("MF_METADATA_DB_TIMEOUT", value)];
    for value in ["1", "3600", " 60 "] {
        assert_eq!(faults(&timeout(value)), "", "{value}");
    }
    for value in ["0", "3601", "1.5", "-1", "soon", "99999999999999999999"] {
        let expected =
            format!("MF_METADATA_DB_TIMEOUT is {value:?}: expected a whole number of seconds from 1 to 3600");
        assert_eq!(faults(&timeout(value)), expected);
    }
}

fn faults_of_embedded(variables: &[(&str, &str)]) -> String {
    check(&[], variables).err().unwrap_or_default().join("\n")
}

#[test]
fn addresses_that_metaflow_takes_are_taken() {
    for (host, listen) in [("::1", "[::1]:8080"), ("[::1]", "[::1]:8080"), ("localhost", "localhost:8080")] {
        let config = check(&[], &[("MF_METADATA_HOST", host)]).unwrap_or_else(|faults| panic!("{host}: {faults:?}"));
        assert_eq!(config.http.listen.to_string(), listen);
    }
    for (host, expected) in [("::1", "::1"), ("db.example", "db.example"), ("/run/postgresql", "/run/postgresql")] {
        let variables = [("MF_METADATA_DB_HOST", host), ("MF_METADATA_DB_PSWD", r"a' \ b")];
        let config = check(&[("log", "kafka://b:9092")], &variables).unwrap_or_else(|faults| panic!("{faults:?}"));
        let Tables::Postgres(postgres) = config.tables else { panic!("not PostgreSQL") };
        let connect = &postgres.address.connect;
        let found = connect.get_socket().map_or(connect.get_host(), |path| path.to_str().unwrap_or_default());
        assert_eq!(found, expected);
    }
}

#[test]
fn a_port_for_migrations_is_asked_for_or_the_default_or_off() {
    let second = |given: &[(&'static str, &str)], variables: &[(&str, &str)]| {
        let config = check(given, variables).unwrap_or_else(|faults| panic!("{faults:?}"));
        config.domains.second().map(|second| (second.listen.to_string(), second.is_asked_for))
    };
    let some = |listen: &str, is_asked_for| Some((listen.to_owned(), is_asked_for));
    assert_eq!(second(&[], &[]), some("127.0.0.1:8082", false));
    assert_eq!(second(&[], &[("MF_METADATA_HOST", "0.0.0.0")]), some("0.0.0.0:8082", false));
    assert_eq!(second(&[], &[("MF_MIGRATION_PORT", "9082")]), some("127.0.0.1:9082", true));
    assert_eq!(second(&[], &[("DAYBOOK_MIGRATION_LISTEN", "h:1")]), some("h:1", true));
    assert_eq!(second(&[("migration-listen", "[::1]:1")], &[]), some("[::1]:1", true));
    assert_eq!(second(&[("migration-listen", "off")], &[("MF_METADATA_HOST", "0.0.0.0")]), None);
}
