//! The address of PostgreSQL: what libpq documents is taken, or refused by name. Nothing that is given is ignored in
//! silence.

mod certificates;
mod text;

use std::{fmt, fmt::Write as _, net::IpAddr, num::NonZero, path::Path, str::FromStr, time::Duration};

use sqlx::postgres::PgConnectOptions;

use self::certificates::Certificates;
pub use self::text::{is_address, pairs};

/// Where PostgreSQL is, and as whom to connect. No `Debug`: it holds a password.
#[derive(Clone)]
pub struct Address {
    /// Where and as whom.
    pub connect: PgConnectOptions,
    /// How long an attempt to connect may take, if that is given.
    pub connect_timeout: Option<Duration>,
    /// The files of TLS.
    certificates: Certificates,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The parameters that are wrong, by libpq's names: several if they do not fit together, none if the text cannot be
    /// read.
    pub keys: Vec<&'static str>,
    /// Names the parameter, and shows no value.
    pub reason: String,
}

impl Fault {
    fn of(keys: &[&'static str], reason: impl Into<String>) -> Self {
        Self { keys: keys.to_vec(), reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What Daybook calls itself, unless the address says something else.
const NAME: &str = "daybook";
const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Parameters of libpq that change nothing here with these values: Daybook does so anyway, or the feature is absent.
const WITHOUT_EFFECT: [(&str, &[&str]); 13] = [
    ("client_encoding", &["utf8", "utf-8", "UTF8", "UTF-8", "unicode", "auto"]),
    ("target_session_attrs", &["any", "read-write", "primary"]),
    ("load_balance_hosts", &["disable"]),
    ("gssencmode", &["disable", "prefer"]),
    ("channel_binding", &["disable", "prefer"]),
    ("sslnegotiation", &["postgres"]),
    ("sslcompression", &["0"]),
    ("sslsni", &["1"]),
    ("sslcertmode", &["allow"]),
    ("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("keepalives", &["0", "1"]),
    ("replication", &["false", "off", "no", "0"]),
    ("krbsrvname", &["postgres"]),
];
/// Further ones, with any whole number: silent connections are found by time-outs of statements.
const NUMBERS_WITHOUT_EFFECT: [&str; 4] =
    ["keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"];
/// Parameters of libpq that Daybook cannot follow.
const REFUSED: [&str; 14] = [
    "service",
    "passfile",
    "require_auth",
    "gsslib",
    "gssdelegation",
    "requirepeer",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "ssl_max_protocol_version",
    "scram_client_key",
    "scram_server_key",
    "min_protocol_version",
    "max_protocol_version",
];

/// What is given; an empty value is none, as in libpq.
#[derive(Default)]
struct Given {
    host: Option<String>,
    hostaddr: Option<String>,
    port: Option<String>,
    dbname: Option<String>,
    user: Option<String>,
    password: Option<String>,
    sslmode: Option<String>,
    sslcert: Option<String>,
    sslkey: Option<String>,
    sslrootcert: Option<String>,
    application_name: Option<String>,
    fallback_application_name: Option<String>,
    options: Option<String>,
    connect_timeout: Option<String>,
    /// In the form `options[name]=value`.
    settings: Vec<(String, String)>,
}

impl Address {
    /// Reads an address in either form. Files that it names are not looked at.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let unreadable = |reason: String| vec![Fault::of(&[], reason)];
        let mut given = Given::default();
        let mut behind_password = false;
        for (key, value) in pairs(text).map_err(unreadable)? {
            // What follows a password may be a part of it.
            let known = given.take(&key, value, behind_password).map_err(unreadable)?;
            behind_password |= known && key == "password";
        }
        given.check()
    }

    /// Looks at the files that it names, as an attempt to connect would.
    pub fn check_files(&self) -> Vec<Fault> {
        self.certificates.check()
    }
}

impl Given {
    /// Takes a parameter; false if it has no effect.
    fn take(&mut self, key: &str, value: String, behind_password: bool) -> Result<bool, String> {
        let place = match key {
            "host" => &mut self.host,
            "hostaddr" => &mut self.hostaddr,
            "port" => &mut self.port,
            "dbname" => &mut self.dbname,
            "user" => &mut self.user,
            "password" => &mut self.password,
            "sslmode" => &mut self.sslmode,
            "sslcert" => &mut self.sslcert,
            "sslkey" => &mut self.sslkey,
            "sslrootcert" => &mut self.sslrootcert,
            "application_name" => &mut self.application_name,
            "fallback_application_name" => &mut self.fallback_application_name,
            "options" => &mut self.options,
            "connect_timeout" => &mut self.connect_timeout,
            _ => return self.take_other(key, value, behind_password).map(|()| false),
        };
        *place = Some(value).filter(|value| !value.is_empty());
        Ok(true)
    }

    fn take_other(&mut self, key: &str, value: String, behind_password: bool) -> Result<(), String> {
        if let Some(name) = key.strip_prefix("options[").and_then(|name| name.strip_suffix(']')) {
            self.settings.push((name.to_owned(), value));
            return Ok(());
        }
        if let Some((_, values)) = WITHOUT_EFFECT.iter().find(|(name, _)| *name == key) {
            let is_usable = value.is_empty() || values.contains(&value.as_str());
            return is_usable.then_some(()).ok_or_else(|| format!("{key} can only be {}", values.join(" or ")));
        }
        if let Some(key) = NUMBERS_WITHOUT_EFFECT.iter().find(|name| **name == key) {
            return whole(key, &value).map(drop).map_err(|fault| fault.reason);
        }
        if REFUSED.contains(&key) {
            return Err(format!("{key} cannot be followed: leave it out"));
        }
        if behind_password {
            return Err("an unknown key behind the password; values with spaces need single quotes".to_owned());
        }
        Err(format!("unknown key {key}"))
    }

    fn check(self) -> Result<Address, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut keep = |checked: Result<String, Fault>| checked.map_err(|fault| faults.push(fault)).ok();
        let mode = keep(self.mode());
        let host = keep(self.server(mode.as_deref()));
        let port = self.port.as_deref().map(|port| number::<NonZero<u16>>("port", port));
        let port = port.map(|port| keep(port.map(|port| port.to_string())));
        let connect_timeout = self.connect_timeout.as_deref().map(|value| whole("connect_timeout", value));
        let connect_timeout = connect_timeout.transpose().map_err(|fault| faults.push(fault)).ok().flatten();
        let (Some(mode), Some(host)) = (mode, host) else { return Err(faults) };
        if !faults.is_empty() {
            return Err(faults);
        }
        let name = self.application_name.or(self.fallback_application_name);
        let root = self.sslrootcert.filter(|root| root != "system");
        let certificates = match mode.as_str() {
            // As libpq: they are not used then.
            "disable" => Certificates::default(),
            _ => Certificates { root: root.clone(), certificate: self.sslcert.clone(), key: self.sslkey.clone() },
        };
        let given = [
            ("host", Some(host)),
            ("port", port.flatten()),
            ("dbname", self.dbname),
            ("user", self.user),
            ("password", self.password),
            ("sslmode", Some(mode)),
            ("sslcert", self.sslcert),
            ("sslkey", self.sslkey),
            ("sslrootcert", root),
            ("application_name", Some(name.unwrap_or_else(|| NAME.to_owned()))),
            ("options", self.options),
        ];
        // sqlx reads passwords from a `.pgpass` only with a URL.
        let given = given.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", encode(&value?))));
        let url = format!("postgres:///?{}", given.collect::<Vec<_>>().join("&"));
        let connect = PgConnectOptions::from_str(&url);
        let connect = connect.map_err(|_| vec![Fault::of(&[], "its parts do not fit together")])?;
        let connect = if self.settings.is_empty() { connect } else { connect.options(self.settings) };
        // Numbers are transferred in binary form. Without this parameter, poolers need no setting for it.
        let connect = connect.extra_float_digits(None);
        // Zero means any time, as in libpq.
        let connect_timeout = connect_timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        Ok(Address { connect, connect_timeout, certificates })
    }

    /// The TLS mode in effect. sqlx's modes are not libpq's: `allow` would never use TLS, so it is taken as `prefer`;
    /// `require` with a root certificate verifies it.
    fn mode(&self) -> Result<String, Fault> {
        let mode = self.sslmode.as_deref().unwrap_or("prefer");
        if !MODES.contains(&mode) {
            return Err(Fault::of(&["sslmode"], format!("sslmode can only be {}", MODES.join(", "))));
        }
        let mode = match (mode, self.sslrootcert.as_deref()) {
            ("verify-full", Some("system")) => mode,
            (_, Some("system")) if self.sslmode.is_none() => "verify-full",
            (_, Some("system")) => {
                let reason = "sslrootcert=system needs sslmode=verify-full";
                return Err(Fault::of(&["sslmode", "sslrootcert"], reason));
            }
            ("require", Some(_)) => "verify-ca",
            ("allow", _) => "prefer",
            _ => mode,
        };
        Ok(mode.to_owned())
    }

    /// Where to connect: a name, an address, or the folder of a socket.
    fn server(&self, mode: Option<&str>) -> Result<String, Fault> {
        let key = if self.hostaddr.is_some() { "hostaddr" } else { "host" };
        let wrong = |reason: &str| Err(Fault::of(&[key], reason));
        let server = match (&self.hostaddr, &self.host) {
            (Some(address), _) if address.parse::<IpAddr>().is_err() => {
                return wrong("hostaddr is no address, as in 127.0.0.1 or ::1");
            }
            (Some(address), Some(host)) if mode == Some("verify-full") && address != host => {
                let reason = "hostaddr with sslmode=verify-full cannot be followed: give host alone";
                return Err(Fault::of(&["hostaddr", "sslmode"], reason));
            }
            (Some(server), _) | (None, Some(server)) => server.clone(),
            // As libpq: a variable, a socket, or this machine.
            (None, None) => PgConnectOptions::new_without_pgpass().get_host().to_owned(),
        };
        let several = "several servers cannot be followed: give the address of the primary, or of a proxy";
        if server.contains(',') {
            return wrong(several);
        }
        if self.port.as_deref().is_some_and(|port| port.contains(',')) {
            return Err(Fault::of(&["port"], several));
        }
        if server.starts_with('@') {
            return wrong("a socket without a file cannot be followed: give the folder of a socket");
        }
        let is_name = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
        let bare = server.strip_prefix('[').and_then(|server| server.strip_suffix(']')).unwrap_or(&server);
        if Path::new(&server).is_absolute() || bare.chars().all(is_name) {
            return Ok(bare.to_owned());
        }
        wrong("host is no name, no address and no folder of a socket")
    }
}

fn number<T: FromStr>(key: &'static str, value: &str) -> Result<T, Fault> {
    value.trim().parse().map_err(|_| Fault::of(&[key], format!("{key} is no number, or out of range")))
}

fn whole(key: &'static str, value: &str) -> Result<u64, Fault> {
    if value.is_empty() { Ok(0) } else { number(key, value) }
}

/// Encodes everything but letters and digits.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _written = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
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
        for text in [
            "host=/var/run/postgresql",
            "postgres://%2Fvar%2Frun%2Fpostgresql/d",
            "postgres:///?host=/var/run/postgresql",
        ] {
            let connect = parse(text).connect;
            let path = connect.get_socket().map_or(connect.get_host(), |path| path.to_str().unwrap_or_default());
            assert_eq!(path, "/var/run/postgresql", "{text}");
        }
        assert_eq!(parse("postgres://db.example/d").connect.get_host(), "db.example");
        let default = PgConnectOptions::new_without_pgpass();
        assert_eq!(parse("host='' user=u").connect.get_host(), default.get_host());
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
}
