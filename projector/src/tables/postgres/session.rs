//! A session: its settings, and what the tables need of the server behind it.
//!
//! Settings are made after the connection is: poolers refuse or drop those that come with its start. Then it is looked
//! whether they hold, and whether the server keeps what the port guarantees.

use std::time::Duration;

use sqlx::{
    Connection as _, Executor, PgConnection, Postgres, Row as _, SqlSafeStr as _,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};
use tokio::time::Instant;

use super::{
    Config,
    failures::{self, POOLER, error},
};
use crate::{
    statement,
    tables::{Statement, TablesError},
};

const BEGIN: Statement = statement!("session_begin");
const LOOK: Statement = statement!("session_look");
const TAKES_WRITES: Statement = statement!("session_writes");
/// Versions of PostgreSQL that are tested, as `server_version_num` has them.
const VERSION_MIN: i32 = 150_000;
/// The only encoding that holds every text.
const ENCODING: &str = "UTF8";
/// The first and the longest pause between two attempts to reach a server that is not up yet.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Looks at two sessions; a pooler that shares connections gives itself away by the first, unless others use it.
const LOOKS: usize = 4;

/// How the sessions of a pool are opened.
#[derive(Clone)]
pub(super) struct Session {
    /// Where and as whom.
    pub(super) connect: PgConnectOptions,
    /// The schema that statements work in.
    pub(super) schema: String,
    /// Whether that schema exists.
    pub(super) exists: bool,
    /// Further settings.
    pub(super) settings: Vec<(&'static str, String)>,
    /// How long to wait for the server.
    pub(super) wait_max: Duration,
}

/// What a session says of itself.
pub(super) struct Look {
    pub(super) asked_at: Instant,
    /// When the server was started, in microseconds: no two servers have the same.
    pub(super) server: i64,
    search_path: String,
    schema: Option<String>,
    read_only: bool,
    /// Whether that is a setting of the role or of the address, on a server that takes writes otherwise.
    read_only_by_login: bool,
    encoding: String,
    version: i32,
    process: i32,
}

impl Session {
    /// Sessions on a schema that exists.
    pub(super) fn of(config: &Config, schema: &str, options: &[(&'static str, &str)]) -> Self {
        let timeout = format!("{}ms", config.timeout.as_millis());
        // Statements are prepared once and look rows up by key: planning each run again would cost more than it could gain,
        // and so would JIT compilation.
        let always =
            [("statement_timeout", timeout.as_str()), ("plan_cache_mode", "force_generic_plan"), ("jit", "off")];
        let always = always.iter().chain(&[("client_min_messages", "warning")]);
        let settings = always.chain(options).map(|(name, value)| (*name, (*value).to_owned())).collect();
        let wait_max = config.wait_max();
        Self { connect: config.address.connect.clone(), schema: schema.to_owned(), exists: true, settings, wait_max }
    }

    /// Opens a session. A server that is not up yet is asked again for a bounded time.
    pub(super) async fn open(&self) -> Result<(PgConnection, Look), TablesError> {
        let (began, mut pause) = (Instant::now(), PAUSE_MIN);
        let mut connection = loop {
            match PgConnection::connect_with(&self.connect).await {
                Ok(connection) => break connection,
                Err(error) if failures::is_not_yet(&error) && began.elapsed() + pause < self.wait_max => {
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(failures::of_connecting(&error)),
            }
            pause = PAUSE_MAX.min(pause * 2);
        };
        let look = self.begin(&mut connection).await?;
        Ok((connection, look))
    }

    /// Makes the settings of a new session, and checks that they hold and that the server is one that can be used.
    pub(super) async fn begin<'c, C>(&self, connection: &'c mut C) -> Result<Look, TablesError>
    where
        for<'a> &'a mut C: Executor<'a, Database = Postgres>,
    {
        let path = ("search_path", self.schema.as_str());
        let all = self.settings.iter().map(|(name, value)| (*name, value.as_str())).chain([path]);
        let (names, values): (Vec<&str>, Vec<&str>) = all.unzip();
        let begun = query(&BEGIN).bind(names).bind(values).fetch_all(&mut *connection).await;
        begun.map_err(|failed| error(BEGIN.name, &failed))?;
        let look = look(connection).await?;
        look.check(self)?;
        Ok(look)
    }

    /// Refuses a pooler that gives each transaction any connection: two open sessions are two processes, always.
    pub(super) async fn check_pooler(&self) -> Result<(), TablesError> {
        let ((mut one, _), (mut two, _)) = (self.open().await?, self.open().await?);
        let mut first = None;
        for _ in 0..LOOKS {
            let [of_one, of_two] = [look(&mut one).await?.process, look(&mut two).await?.process];
            if of_one == of_two || *first.get_or_insert([of_one, of_two]) != [of_one, of_two] {
                return Err(TablesError::Unusable(POOLER.to_owned()));
            }
        }
        // Closed in order, so that a pooler can give them to others.
        let _ended = (one.close().await, two.close().await);
        Ok(())
    }
}

/// A statement that leaves nothing in the session.
fn query(statement: &Statement) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(statement.postgres.into_sql_str()).persistent(false)
}

async fn look<C>(connection: &mut C) -> Result<Look, TablesError>
where
    for<'a> &'a mut C: Executor<'a, Database = Postgres>,
{
    let asked_at = Instant::now();
    let row = query(&LOOK).fetch_one(&mut *connection).await;
    row.and_then(|row| Look::read(&row, asked_at)).map_err(|failed| error(LOOK.name, &failed))
}

/// Asks whether the server takes writes, in one round trip.
pub(super) async fn takes_writes(connection: &mut PgConnection) -> Result<bool, TablesError> {
    let row = sqlx::query(TAKES_WRITES.postgres.into_sql_str()).fetch_one(connection).await;
    row.and_then(|row| row.try_get(0)).map_err(|failed| error(TAKES_WRITES.name, &failed))
}

impl Look {
    fn read(row: &PgRow, asked_at: Instant) -> Result<Self, sqlx::Error> {
        Ok(Self {
            asked_at,
            server: row.try_get("server")?,
            search_path: row.try_get("search_path")?,
            schema: row.try_get("schema")?,
            read_only: row.try_get("read_only")?,
            read_only_by_login: row.try_get("read_only_by_login")?,
            encoding: row.try_get("encoding")?,
            version: row.try_get("version")?,
            process: row.try_get("process")?,
        })
    }

    fn check(&self, session: &Session) -> Result<(), TablesError> {
        let unusable = |reason: String| Err(TablesError::Unusable(reason));
        let schema = session.schema.as_str();
        if self.search_path != schema {
            return unusable(POOLER.to_owned());
        }
        if self.encoding != ENCODING {
            return unusable(format!(
                "the database has the encoding {}, which cannot hold every text: create it with ENCODING '{ENCODING}' \
                 (and TEMPLATE template0)",
                self.encoding
            ));
        }
        if self.version < VERSION_MIN {
            let (found, needed) = (self.version / 10_000, VERSION_MIN / 10_000);
            return unusable(format!("PostgreSQL {found} is too old: version {needed} or newer is needed"));
        }
        if self.read_only_by_login {
            return unusable(
                "default_transaction_read_only is on for this login: switch it off with ALTER ROLE, or take it out of the \
                 address of the tables"
                    .to_owned(),
            );
        }
        if self.read_only {
            return Err(TablesError::Unavailable(
                "the server takes no writes: it is a standby, or read-only; connections to it are not used".to_owned(),
            ));
        }
        if session.exists && self.schema.as_deref() != Some(schema) {
            return unusable(format!(
                "there is no schema {schema}, or the role may not use it: grant USAGE, or drop all schemas of Daybook, \
                 so that they are made anew from the log"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let connect = PgConnectOptions::new_without_pgpass();
        let (schema, settings, wait_max) = ("daybook".to_owned(), Vec::new(), Duration::ZERO);
        Session { connect, schema, exists: true, settings, wait_max }
    }

    fn good() -> Look {
        let (search_path, schema) = ("daybook".to_owned(), Some("daybook".to_owned()));
        let (asked_at, server, encoding) = (Instant::now(), 1, ENCODING.to_owned());
        let (read_only, read_only_by_login, version, process) = (false, false, 170_002, 1);
        Look { asked_at, server, search_path, schema, read_only, read_only_by_login, encoding, version, process }
    }

    #[test]
    fn a_session_is_used_only_if_its_settings_hold_and_its_server_keeps_the_guarantees() {
        assert_eq!(good().check(&session()).map_err(|error| error.to_string()), Ok(()));
        let checked = |look: Look| look.check(&session()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(checked(Look { search_path: "public".to_owned(), ..good() }).contains("transaction or statement mode"));
        for encoding in ["LATIN1", "SQL_ASCII", "EUC_JP"] {
            assert!(checked(Look { encoding: encoding.to_owned(), ..good() }).contains("ENCODING 'UTF8'"));
        }
        assert!(checked(Look { version: 140_011, ..good() }).contains("PostgreSQL 14 is too old"));
        assert!(checked(Look { schema: None, ..good() }).contains("no schema daybook"));
        let standby = Look { read_only: true, ..good() }.check(&session());
        assert!(standby.is_err_and(|error| error.is_retryable()));
        let by_login = Look { read_only: true, read_only_by_login: true, ..good() };
        assert!(checked(by_login).contains("ALTER ROLE"));
        let new = Session { exists: false, ..session() };
        assert!(Look { schema: None, ..good() }.check(&new).is_ok());
    }
}
