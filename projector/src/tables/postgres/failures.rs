//! Sorts errors of PostgreSQL, of poolers before it, and of connections: the only place that knows their codes.
//!
//! Codes: PostgreSQL's documentation, appendix A. What heals by itself is retried. What only a person can change is
//! [`TablesError::Unusable`], with the remedy. Errors that say "this connection leads to the wrong server" are
//! [`TablesError::Moved`].

use std::{
    error::Error as _,
    io::{self, ErrorKind},
};

use sqlx::{Error, error::DatabaseError};

use crate::tables::TablesError;

/// SQLSTATE of the generated functions: another writer was faster.
pub(super) const FASTER: &str = "DB001";
/// What a pooler in transaction mode breaks, and the remedy.
pub(super) const POOLER: &str = "a pooler in transaction or statement mode is between Daybook and PostgreSQL: search_path, \
                                 LISTEN and prepared statements need a session; set pool_mode = session, or connect \
                                 without the pooler";

/// SQLSTATEs of a server that is starting, stopping or full: `cannot_connect_now`, `too_many_connections`.
const NOT_YET: [&str; 2] = ["57P03", "53300"];
/// Classes of a connection's failures that heal by themselves: connection exception, transaction state and rollback,
/// insufficient resources, operator intervention, system error, internal error.
const PASSING: [&str; 7] = ["08", "25", "40", "53", "57", "58", "XX"];
/// A server that takes no writes, because it is a standby or was the primary, and one that ends all its sessions.
const MOVED: [&str; 4] = ["25006", "57P01", "57P02", "57P03"];
/// Prepared statements that exist already, or no longer: the session is shared.
const SHARED_SESSION: [&str; 2] = ["26000", "42P05"];

/// What sqlx says of a connection that ended before the server had answered its first message: it has read no byte.
const ENDED: &str = "unexpected response from SSLRequest: 0x00";

/// What sqlx says of a message that ended early: how many bytes it announced.
const ANNOUNCED: &str = "expected to read ";
/// More bytes than a server announces for one message while it lets a client in.
const ANNOUNCED_MAX: u64 = 1024 * 1024;

/// What PgBouncer says with the code of any violation of the protocol, in small letters, and the remedy.
const OF_POOLERS: [(&str, &str); 5] = [
    (
        "unsupported startup parameter",
        "the pooler passes this parameter on only if ignore_startup_parameters or track_extra_parameters names it; it is \
         needed only for options in the address of the tables",
    ),
    ("no such database", "the pooler knows no such database: correct the name, or add it to the pooler's [databases]"),
    ("no such user", "the pooler knows no such user: correct the name, or add it to the pooler's auth_file"),
    ("authentication failed", "correct user and password"),
    ("not allowed", "the pooler refuses this login: correct user and password, or the pooler's settings"),
];

/// Remedies by SQLSTATE or by the beginning of one.
const REMEDIES: [(&str, &str); 6] = [
    ("28", "correct user, password or TLS mode, or the server's pg_hba.conf"),
    ("3D000", "create the database, or correct its name"),
    ("42501", "grant the role what it lacks: CREATE on the database, and ownership of the schemas of Daybook"),
    ("42704", "correct the options in the address of the tables"),
    ("22", "correct the options in the address of the tables"),
    ("55000", "let the database accept connections, or name another one"),
];

/// Whether to try the same connection again without a pause: the server is not up yet.
pub(super) fn is_not_yet(error: &Error) -> bool {
    match error {
        Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        Error::Database(error) => error.code().is_some_and(|code| NOT_YET.contains(&code.as_ref())),
        _ => false,
    }
}

/// Sorts the failure of an attempt to connect: what is not known to pass does not.
pub(super) fn of_connecting(error: &Error) -> TablesError {
    match error {
        Error::Database(database) => match code(database.as_ref()).as_str() {
            code if is_of_pooler(database.as_ref()) || !PASSING.iter().any(|class| code.starts_with(class)) => {
                unusable(database.as_ref())
            }
            _ => unavailable(database.message()),
        },
        Error::Tls(_) if !is_interrupted(error) => {
            TablesError::Unusable(format!("no TLS with PostgreSQL: {error}; correct sslmode or the certificates"))
        }
        Error::Protocol(_) if error.to_string().contains(ENDED) => unavailable("the connection ended unanswered"),
        Error::Protocol(_) => no_postgresql(error),
        Error::Io(said) if announces_too_much(said) => no_postgresql(error),
        Error::Configuration(_) => TablesError::Unusable(error.to_string()),
        // Of a pool with one connection, for a listener: it was never open.
        Error::PoolTimedOut => unavailable("the server could not be reached in time"),
        _ => unavailable(&error.to_string()),
    }
}

/// Another protocol.
fn no_postgresql(error: &Error) -> TablesError {
    TablesError::Unusable(format!("this is no PostgreSQL that Daybook can talk to: {error}; correct the address"))
}

/// Whether a server announced more than PostgreSQL does: what is read as a length are letters of another protocol, such
/// as `TTP/` of HTTP.
fn announces_too_much(error: &io::Error) -> bool {
    let said = error.to_string();
    let announced = said.strip_prefix(ANNOUNCED).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    error.kind() == ErrorKind::UnexpectedEof && announced.is_some_and(|bytes| bytes > ANNOUNCED_MAX)
}

/// Sorts the failure of a statement by how the caller can react.
pub(super) fn error(statement: &str, error: &Error) -> TablesError {
    let refused = |reason: &str| TablesError::Refused { statement: statement.to_owned(), reason: reason.to_owned() };
    let Error::Database(database) = error else {
        return match error {
            Error::ColumnDecode { .. } | Error::TypeNotFound { .. } => refused(&error.to_string()),
            _ => of_connecting(error),
        };
    };
    let message = database.message();
    match code(database.as_ref()).as_str() {
        code if MOVED.contains(&code) => TablesError::Moved(message.to_owned()),
        code if SHARED_SESSION.contains(&code) => TablesError::Unusable(format!("{message}: {POOLER}")),
        "53100" => TablesError::Full(message.to_owned()),
        "55P03" | FASTER => TablesError::Conflict(message.to_owned()),
        code if code.starts_with("40") => TablesError::Conflict(message.to_owned()),
        code if code.starts_with("28") || code.starts_with("3D") || code == "42501" => unusable(database.as_ref()),
        code if ["08", "53", "57", "58", "25"].iter().any(|class| code.starts_with(class)) => unavailable(message),
        // Data exceptions, program limits, and check_violation.
        code if code.starts_with("22") || code.starts_with("54") || code == "23514" => {
            TablesError::Value { statement: statement.to_owned(), reason: message.to_owned() }
        }
        _ => refused(message),
    }
}

fn code(error: &dyn DatabaseError) -> String {
    error.code().unwrap_or_default().into_owned()
}

fn unavailable(reason: &str) -> TablesError {
    TablesError::Unavailable(reason.to_owned())
}

/// Whether it is what a pooler says of its own settings.
fn is_of_pooler(error: &dyn DatabaseError) -> bool {
    code(error) == "08P01" && of_pooler(error.message()).is_some()
}

fn of_pooler(message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    OF_POOLERS.iter().find(|(said, _)| message.contains(said)).map(|(_, remedy)| *remedy)
}

/// What does not heal by itself: what the server says, and the remedy.
fn unusable(error: &dyn DatabaseError) -> TablesError {
    let (message, code) = (error.message(), code(error));
    let known = REMEDIES.iter().find(|(begin, _)| code.starts_with(begin)).map(|(_, remedy)| *remedy);
    let of_pooler = of_pooler(message).filter(|_| is_of_pooler(error));
    let remedy = of_pooler.or(known).unwrap_or("correct the address of the tables, or the server's settings");
    TablesError::Unusable(format!("PostgreSQL refuses: {message} (SQLSTATE {code}); {remedy}"))
}

/// Whether a handshake failed only because the connection ended.
fn is_interrupted(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(this) = cause {
        if this.is::<io::Error>() {
            return true;
        }
        cause = this.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, fmt};

    use sqlx::error::ErrorKind as Kind;

    use super::*;

    #[derive(Debug)]
    struct Said {
        code: &'static str,
        message: &'static str,
    }

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.message)
        }
    }

    impl std::error::Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            self.message
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.code.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> Kind {
            Kind::Other
        }
    }

    fn said(code: &'static str, message: &'static str) -> Error {
        Error::Database(Box::new(Said { code, message }))
    }

    #[test]
    fn an_attempt_to_connect_is_tried_again_only_if_that_can_help() {
        for (code, message) in [
            ("57P03", "the database system is starting up"),
            ("53300", "sorry, too many clients already"),
            ("08006", "server closed the connection"),
            ("08P01", "server login has been failing, try again later"),
            ("08P01", "query_wait_timeout"),
            ("58000", "all backends are down"),
        ] {
            let sorted = of_connecting(&said(code, message));
            assert!(sorted.is_retryable(), "{code} {message}: {sorted:?}");
        }
        for (code, message, remedy) in [
            ("08P01", "unsupported startup parameter: options", "ignore_startup_parameters"),
            ("08P01", "no such database: x", "[databases]"),
            ("28P01", "password authentication failed for user \"u\"", "user, password"),
            ("28000", "no pg_hba.conf entry for host", "pg_hba.conf"),
            ("3D000", "database \"x\" does not exist", "create the database"),
            ("42501", "permission denied for database", "grant"),
            ("42704", "unrecognized configuration parameter \"x\"", "options"),
            ("22023", "invalid value for parameter", "options"),
            ("55000", "database \"x\" is not currently accepting connections", "accept connections"),
            ("0A000", "unsupported frontend protocol", "correct"),
        ] {
            let sorted = of_connecting(&said(code, message));
            assert!(matches!(sorted, TablesError::Unusable(_)), "{code} {message}: {sorted:?}");
            assert!(sorted.to_string().contains(message) && sorted.to_string().contains(remedy), "{sorted}");
        }
    }

    #[test]
    fn a_server_without_tls_and_one_that_is_no_postgresql_are_refused_and_a_cut_is_not() {
        assert!(matches!(of_connecting(&Error::Tls("server does not support TLS".into())), TablesError::Unusable(_)));
        assert!(matches!(of_connecting(&Error::Protocol("unknown message".into())), TablesError::Unusable(_)));
        assert!(of_connecting(&Error::Protocol(ENDED.into())).is_retryable());
        let ended = |bytes: u64| {
            let said = format!("{ANNOUNCED}{bytes} bytes, got 90 bytes at EOF");
            of_connecting(&Error::Io(io::Error::new(ErrorKind::UnexpectedEof, said)))
        };
        assert!(ended(5).is_retryable());
        assert!(ended(1_414_811_696).to_string().contains("no PostgreSQL"), "an answer of HTTP");
        let cut = || io::Error::from(ErrorKind::UnexpectedEof);
        assert!(of_connecting(&Error::Io(cut())).is_retryable());
        assert!(of_connecting(&Error::Tls(Box::new(cut()))).is_retryable());
    }

    #[test]
    fn statements_tell_apart_what_moved_what_passes_and_what_never_works() {
        let sorted = |code| error("insert", &said(code, "said"));
        for code in MOVED {
            assert!(matches!(sorted(code), TablesError::Moved(_)), "{code}");
        }
        for code in ["40001", "40P01", "55P03", FASTER] {
            assert!(matches!(sorted(code), TablesError::Conflict(_)), "{code}");
        }
        assert!(matches!(sorted("53100"), TablesError::Full(_)));
        for code in ["08006", "57014", "25P03", "57P05", "58030"] {
            assert!(matches!(sorted(code), TablesError::Unavailable(_)), "{code}");
        }
        for code in ["28P01", "3D000", "42501", "26000", "42P05"] {
            assert!(matches!(sorted(code), TablesError::Unusable(_)), "{code}");
        }
        for code in ["22P05", "54000", "23514"] {
            assert!(matches!(sorted(code), TablesError::Value { .. }), "{code}");
        }
        assert!(matches!(sorted("42P01"), TablesError::Refused { .. }));
        assert!(sorted("26000").to_string().contains("pool_mode = session"));
    }
}
