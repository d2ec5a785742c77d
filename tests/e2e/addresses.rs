//! The addresses that the original takes: where to listen, and where PostgreSQL is. Each is used by a running server.

use std::{net::SocketAddr, process::Command};

use daybook_tests::{
    process::{Backend, Place, Server, binary},
    services::{kafka, postgres_socket},
};
use serde_json::json;

/// Where a server listens, after it has answered there.
async fn answers_at(server: &Server) -> SocketAddr {
    assert_eq!(server.api.post("/flows/F", &json!({})).await.status, 200);
    assert_eq!(server.api.get("/flows/F").await.status, 200);
    let authority = server.api.base.trim_start_matches("http://");
    authority.parse().unwrap_or_else(|error| panic!("{authority}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_listens_where_it_is_told_to() {
    let port = ("MF_METADATA_PORT", "0");
    for (host, expected) in
        [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("", "127.0.0.1"), ("localhost", "")]
    {
        let place = Place::new("listening", Backend::Embedded);
        let server = Server::start_by(&place, &[("MF_METADATA_HOST", host), port], &[]);
        let address = answers_at(&server).await;
        assert!(address.ip().is_loopback(), "{host}: {address}");
        assert!(expected.is_empty() || address.ip().to_string() == expected, "{host}: {address}");
    }
    for (listen, expected) in [("[::1]:0", "::1"), ("localhost:0", ""), (":0", "::")] {
        let place = Place::new("listening", Backend::Embedded);
        let server = Server::start_by(&place, &[], &["--listen", listen]);
        let address = answers_at(&server).await;
        assert!(expected.is_empty() || address.ip().to_string() == expected, "{listen}: {address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_reached_over_sockets_names_and_ipv6() {
    let (folder, port) = postgres_socket();
    let encoded = folder.replace('/', "%2F");
    for address in [
        format!("host={folder} port={port} user=postgres dbname=postgres"),
        format!("postgres://postgres@/postgres?host={folder}&port={port}"),
        format!("postgres://postgres@{encoded}:{port}/postgres"),
        format!("postgres://postgres:p@[::1]:{port}/postgres"),
        format!("host=::1 port={port} user=postgres password='p' dbname=postgres"),
        format!("postgresql://postgres@localhost:{port}/postgres?sslmode=prefer"),
    ] {
        let place = Place::on("reaching", &kafka(), &address).with_search(None);
        answers_at(&Server::start(&place)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_reached_by_the_variables_of_metaflow_and_of_libpq() {
    let (folder, port) = postgres_socket();
    let (port, libpq) = (port.to_string(), format!("host='' port={port} user=postgres dbname=postgres"));
    let parts = |host| {
        let login = [("MF_METADATA_DB_USER", "postgres"), ("MF_METADATA_DB_NAME", "postgres")];
        [&[("MF_METADATA_DB_HOST", host), ("MF_METADATA_DB_PORT", port.as_str())], &login[..]].concat()
    };
    for variables in [
        parts("::1"),
        parts("localhost"),
        parts(&folder),
        vec![("MF_METADATA_DB_DSN", libpq.as_str()), ("PGHOST", folder.as_str())],
        vec![
            ("MF_METADATA_DB_DSN", "user=postgres"),
            ("PGHOST", "localhost"),
            ("PGPORT", port.as_str()),
            ("PGDATABASE", "postgres"),
            ("PGSSLMODE", "disable"),
        ],
    ] {
        // What names the tables on the command line would win.
        let place = Place::on("variables", &kafka(), "").with_search(None);
        let server = Server::start_by(&place, &variables, &["--listen", "127.0.0.1:0"]);
        answers_at(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_refuse_are_named_with_what_gave_their_address() {
    let (folder, port) = postgres_socket();
    let (port, log) = (port.to_string(), kafka());
    let good = [
        ("DAYBOOK_LOG", log.as_str()),
        ("MF_METADATA_DB_HOST", folder.as_str()),
        ("MF_METADATA_DB_PORT", port.as_str()),
        ("MF_METADATA_PORT", "0"),
        ("MF_MIGRATION_PORT", "0"),
    ];
    for variable in ["MF_METADATA_DB_NAME", "MF_METADATA_DB_USER"] {
        let mut command = Command::new(binary());
        command.arg("serve").env_clear().envs(good).env(variable, "nowhere");
        let output = command.output().unwrap_or_else(|error| panic!("cannot run daybook: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        let named = said.contains("--tables (from MF_METADATA_DB_HOST") && said.contains(variable);
        assert!(output.status.code() == Some(2) && named, "{variable}: {said}");
    }
}
