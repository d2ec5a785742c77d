//! Tests of addresses.

use sqlx::postgres::PgSslMode;

use super::*;

fn parse(text: &str) -> Address {
    Address::parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

#[test]
fn both_forms_lead_to_the_same_server() {
    for text in [
        r"host=::1 port=5433 user='a b' password='p\'w' dbname=d sslmode=require",
        "postgres://a%20b:p'w@[::1]:5433/d?sslmode=require",
        "hostaddr=::1 host=x port=5433 user='a b' dbname=d sslmode=require connect_timeout=3 keepalives_idle=5",
    ] {
        let connect = parse(text).connect;
        assert_eq!((connect.get_host(), connect.get_port()), ("::1", 5433), "{text}");
        assert_eq!((connect.get_username(), connect.get_database()), ("a b", Some("d")), "{text}");
        assert!(matches!(connect.get_ssl_mode(), PgSslMode::Require), "{text}");
        assert_eq!(connect.get_application_name(), Some(NAME));
    }
    assert_eq!(parse("host=h connect_timeout=3").connect_timeout, Some(Duration::from_secs(3)));
}

#[test]
fn sockets_and_names_are_taken() {
    for text in
        ["host=/var/run/postgresql", "postgres://%2Fvar%2Frun%2Fpostgresql/d", "postgres:///?host=/var/run/postgresql"]
    {
        let connect = parse(text).connect;
        let path = connect.get_socket().map_or(connect.get_host(), |path| path.to_str().unwrap_or_default());
        assert_eq!(path, "/var/run/postgresql", "{text}");
    }
    assert_eq!(parse("postgres://db.example/d").connect.get_host(), "db.example");
    assert_eq!(parse("host='' port=1 user=u").connect.get_host(), "localhost");
}

/// The fault of an address with variables, if it has one.
fn fault_with(text: &str, variables: &[(&'static str, &str)]) -> Option<Fault> {
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let parsed = Address::parse_with(text, &variables);
    let mut faults = parsed.map_or_else(|faults| faults, |address| address.check_files());
    assert!(faults.len() <= 1, "{text}: {faults:?}");
    faults.pop()
}

#[test]
fn variables_give_what_the_address_leaves_out() {
    let given = [
        ("PGHOST", "db"),
        ("PGHOSTADDR", "::1"),
        ("PGPORT", "5433"),
        ("PGDATABASE", "d"),
        ("PGUSER", "u"),
        ("PGSSLMODE", "require"),
        ("PGAPPNAME", "a"),
        ("PGCONNECT_TIMEOUT", "3"),
        ("PGTARGETSESSIONATTRS", "any"),
        ("PGPASSWORD", ""),
    ];
    let given = given.map(|(name, value)| (name, value.to_owned()));
    let Address { connect, connect_timeout, .. } =
        Address::parse_with("", &given).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!((connect.get_host(), connect.get_port()), ("::1", 5433));
    assert_eq!((connect.get_username(), connect.get_database()), ("u", Some("d")));
    assert!(matches!(connect.get_ssl_mode(), PgSslMode::Require));
    assert_eq!((connect.get_application_name(), connect_timeout), (Some("a"), Some(Duration::from_secs(3))));
    let text = "hostaddr=127.0.0.1 port=1 user=x dbname=y sslmode=disable";
    let address = Address::parse_with(text, &given).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!((address.connect.get_host(), address.connect.get_port()), ("127.0.0.1", 1));
    assert!(matches!(address.connect.get_ssl_mode(), PgSslMode::Disable));
    assert!(address.variables().all(|name| !["PGHOSTADDR", "PGPORT", "PGUSER", "PGSSLMODE"].contains(&name)));
    // Without a database, it has the user's name.
    assert_eq!(parse("host=h user=u").connect.get_database(), Some("u"));
}

#[test]
fn a_variable_that_cannot_be_used_is_named_alone() {
    for (variable, value) in [
        ("PGHOST", "hid den"),
        ("PGHOSTADDR", "hidden"),
        ("PGPORT", "hidden"),
        ("PGSSLMODE", "hidden"),
        ("PGCONNECT_TIMEOUT", "hidden"),
        ("PGSERVICE", "hidden"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGREQUIREAUTH", "hidden"),
        ("PGSSLCRL", "hidden"),
        ("PGSSLROOTCERT", "system"),
        ("PGREQUIRESSL", "1"),
        ("PGCHANNELBINDING", "require"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGSSLNEGOTIATION", "direct"),
    ] {
        let text = if variable == "PGHOST" { "user=u" } else { "host=h user=u" };
        let fault = fault_with(text, &[(variable, value)]).unwrap_or_else(|| panic!("{variable} is taken"));
        assert!(fault.is_of_variables() && fault.variables == [variable], "{fault:?}");
        let shown = fault.to_string();
        assert!(shown.ends_with(&format!("(from {variable})")) && !shown.contains("hid"), "{shown}");
    }
    let root = ("PGSSLROOTCERT", "/hidden/ca.pem");
    let unread = fault_with("host=h user=u sslmode=verify-ca", &[root]).map(|fault| fault.variables);
    assert_eq!(unread, Some(vec!["PGSSLROOTCERT"]));
    assert_eq!(fault_with("host=h user=u", &[root]), None, "no mode verifies with it");
    // The address wins.
    for (text, variable) in [
        ("host=h port=1", "PGPORT"),
        ("host=h", "PGHOST"),
        ("host=h sslmode=disable", "PGSSLMODE"),
        ("host=h target_session_attrs=any", "PGTARGETSESSIONATTRS"),
    ] {
        assert_eq!(fault_with(text, &[(variable, "a b")]), None, "{text}");
    }
    let both = fault_with("host=h options='-c geqo=off'", &[("PGOPTIONS", "-c jit=off")]);
    assert_eq!(both.map(|fault| fault.variables), Some(vec!["PGOPTIONS"]));
    let apart = fault_with("host=h sslrootcert=system", &[("PGSSLMODE", "require")]);
    let apart = apart.map(|fault| (fault.keys, fault.variables));
    assert_eq!(apart, Some((vec!["sslrootcert"], vec!["PGSSLMODE"])));
}

#[test]
fn tls_modes_are_libpq_s() {
    let mode = |text: &str| parse(text).connect.get_ssl_mode();
    assert!(matches!(mode("host=h sslmode=allow"), PgSslMode::Prefer));
    assert!(matches!(mode("host=h"), PgSslMode::Prefer));
    assert!(matches!(mode("host=h sslmode=require sslrootcert=/ca.pem"), PgSslMode::VerifyCa));
    assert!(matches!(mode("host=h sslrootcert=system"), PgSslMode::VerifyFull));
    assert!(Address::parse("host=h sslmode=require sslrootcert=system").is_err());
}

#[test]
fn what_cannot_be_followed_is_refused_by_name_and_no_value_is_shown() {
    for (text, named) in [
        ("host=h colour=hidden", "unknown key colour"),
        ("host=h password=a hidden=b", "behind the password"),
        ("host=h sslmode=hidden", "sslmode can only be"),
        ("host=h port=hidden", "port is no number"),
        ("host=h port=65536", "port is no number"),
        ("host=h port=0", "port is no number"),
        ("host=a,b", "several servers"),
        ("postgres://a:1,b:2/d", "several servers"),
        ("host=h service=hidden", "service cannot be followed"),
        ("host=h target_session_attrs=standby", "target_session_attrs can only be"),
        ("host=h client_encoding=LATIN1", "client_encoding can only be"),
        ("host=h connect_timeout=hidden", "connect_timeout is no number"),
        ("host=h keepalives_idle=hidden", "keepalives_idle is no number"),
        ("hostaddr=hidden", "hostaddr is no address"),
        ("host='h idden'", "host is no name"),
        ("host=127.0.0.1:43845", "host is no name"),
        ("host=:", "host is no name"),
        ("host=::1%", "host is no name"),
        ("host=999.1.1.1", "host is no name"),
        ("host=@hidden", "socket without a file"),
    ] {
        let faults = Address::parse(text).err().unwrap_or_default();
        let error = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(error.contains(named) && !error.contains("hidden"), "{text}: {error}");
    }
}

#[test]
fn each_fault_is_found_and_names_its_parameters_alone() {
    let keys = |text: &str| {
        let faults = Address::parse(text).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.keys).collect::<Vec<_>>()
    };
    let all = "host='a b' port=x sslmode=on connect_timeout=y user=u";
    assert_eq!(keys(all), [vec!["sslmode"], vec!["host"], vec!["port"], vec!["connect_timeout"]]);
    assert_eq!(keys("host=h port=5 sslmode=disable sslrootcert=system"), [vec!["sslmode", "sslrootcert"]]);
}
