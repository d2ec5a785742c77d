//! The address of PostgreSQL: what libpq documents is taken, or refused by name. Nothing that is given is ignored in
//! silence.

mod certificates;
#[cfg(test)]
mod tests;
mod text;
mod variables;

use std::{fmt, fmt::Write as _, net::IpAddr, num::NonZero, path::Path, str::FromStr, time::Duration};

use daybook_ingest::host::is_host;
use sqlx::postgres::PgConnectOptions;

use self::certificates::Certificates;
pub use self::{
    text::{is_address, pairs},
    variables::variable_names,
};

/// Where PostgreSQL is, and as whom to connect. No `Debug`: it holds a password.
#[derive(Clone)]
pub struct Address {
    /// Where and as whom.
    pub connect: PgConnectOptions,
    /// How long an attempt to connect may take, if that is given.
    pub connect_timeout: Option<Duration>,
    /// The files of TLS.
    certificates: Certificates,
    /// The parameters that variables of libpq gave, each with its variable.
    variables: Vec<(&'static str, &'static str)>,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The parameters of the address that are wrong, by libpq's names: several if they do not fit together, none if the
    /// text cannot be read.
    pub keys: Vec<&'static str>,
    /// The variables of libpq that are wrong, or do not fit together with these parameters.
    pub variables: Vec<&'static str>,
    /// Names the parameter, and shows no value.
    pub reason: String,
}

impl Fault {
    fn of(keys: &[&'static str], reason: impl Into<String>) -> Self {
        Self { keys: keys.to_vec(), variables: Vec::new(), reason: reason.into() }
    }

    /// Names the variable in place of each parameter that one gave.
    fn naming(mut self, given: &[(&'static str, &'static str)]) -> Self {
        let variable = |key: &str| given.iter().find(|(of_variable, _)| *of_variable == key).map(|(_, name)| *name);
        self.variables.extend(self.keys.iter().filter_map(|key| variable(key)));
        self.keys.retain(|key| variable(key).is_none());
        self
    }

    /// Whether the address itself has no fault.
    pub fn is_of_variables(&self) -> bool {
        self.keys.is_empty() && !self.variables.is_empty()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.variables.is_empty() { Ok(()) } else { write!(f, " (from {})", self.variables.join(", ")) }
    }
}

/// What Daybook calls itself, unless the address says something else.
const NAME: &str = "daybook";
const PORT: &str = "5432";
/// Where a server on this machine has its socket.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Parameters of libpq that change nothing here with these values: Daybook does so anyway, or the feature is absent.
const WITHOUT_EFFECT: [(&str, &[&str]); 14] = [
    ("client_encoding", &["utf8", "utf-8", "unicode", "auto"]),
    ("target_session_attrs", &["any", "read-write", "primary"]),
    ("load_balance_hosts", &["disable"]),
    ("gssencmode", &["disable", "prefer"]),
    ("channel_binding", &["disable", "prefer"]),
    ("requiressl", &["0"]),
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
    /// The parameters that the address gives.
    keys: Vec<String>,
    /// The parameters that variables give, each with its variable.
    variables: Vec<(&'static str, &'static str)>,
}

impl Address {
    /// Reads an address in either form. Files that it names are not looked at.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        Self::parse_with(text, &[])
    }

    /// The same with the values of libpq's variables, which give what the address leaves out.
    pub fn parse_with(text: &str, variables: &[(&'static str, String)]) -> Result<Self, Vec<Fault>> {
        let unreadable = |reason: String| vec![Fault::of(&[], reason)];
        let mut given = Given::default();
        let mut behind_password = false;
        for (key, value) in pairs(text).map_err(unreadable)? {
            if !value.is_empty() {
                given.keys.push(key.clone());
            }
            // What follows a password may be a part of it.
            let known = given.take(&key, value, behind_password).map_err(unreadable)?;
            behind_password |= known && key == "password";
        }
        let mut faults = Vec::new();
        for &(variable, ref value) in variables {
            faults.extend(given.take_variable(variable, value).err());
        }
        let of_variables = given.variables.clone();
        let checked = given.check(faults);
        checked.map_err(|faults| faults.into_iter().map(|fault| fault.naming(&of_variables)).collect())
    }

    /// The variables of libpq that give a part of it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|(_, variable)| *variable)
    }

    /// Looks at the files that it names, as an attempt to connect would.
    pub fn check_files(&self) -> Vec<Fault> {
        self.certificates.check().into_iter().map(|fault| fault.naming(&self.variables)).collect()
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
            let is_usable = value.is_empty() || values.iter().any(|usable| usable.eq_ignore_ascii_case(&value));
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

    /// Takes a variable, unless the address gives its parameter.
    fn take_variable(&mut self, variable: &'static str, value: &str) -> Result<(), Fault> {
        let Some(key) = variables::parameter(variable).filter(|_| !value.is_empty()) else { return Ok(()) };
        let is_given = self.keys.iter().any(|given| given == key);
        let is_system = |root: &str| root == "system";
        // sqlx reads these two by itself, whatever the address says.
        let clashes = match key {
            "options" => is_given,
            "sslrootcert" => is_system(value) || self.sslrootcert.as_deref().is_some_and(is_system),
            _ => false,
        };
        if !is_given || clashes {
            self.variables.push((key, variable));
        }
        if clashes {
            let reason = format!("{key} cannot be taken from a variable here: give it in the address, and unset this");
            return Err(Fault::of(&[key], reason));
        }
        if is_given {
            return Ok(());
        }
        self.take(key, value.to_owned(), false).map(drop).map_err(|reason| Fault::of(&[key], reason))
    }

    /// Checks what is given, beside the faults that are known.
    fn check(self, mut faults: Vec<Fault>) -> Result<Address, Vec<Fault>> {
        let mut keep = |checked: Result<String, Fault>| checked.map_err(|fault| faults.push(fault)).ok();
        let mode = keep(self.mode());
        let host = keep(self.server(mode.as_deref()));
        let port = keep(number::<NonZero<u16>>("port", self.port()).map(|port| port.to_string()));
        let user = keep(self.user());
        let connect_timeout = self.connect_timeout.as_deref().map(|value| whole("connect_timeout", value));
        let connect_timeout = connect_timeout.transpose().map_err(|fault| faults.push(fault)).ok().flatten();
        let (Some(mode), Some(host), Some(port), Some(user)) = (mode, host, port, user) else { return Err(faults) };
        if !faults.is_empty() {
            return Err(faults);
        }
        let name = self.application_name.or(self.fallback_application_name);
        let root = self.sslrootcert.filter(|root| root != "system");
        let certificates = match mode.as_str() {
            // As libpq: they are not used then.
            "disable" => Certificates::default(),
            _ => Certificates {
                // The server's certificate is verified in these modes alone.
                root: root.clone().filter(|_| mode.starts_with("verify")),
                certificate: self.sslcert.clone(),
                key: self.sslkey.clone(),
            },
        };
        // What is not given here, sqlx takes from the variables; they are the same then.
        let given = [
            ("host", Some(host)),
            ("port", Some(port)),
            ("dbname", Some(self.dbname.unwrap_or_else(|| user.clone()))),
            ("user", Some(user)),
            ("password", self.password),
            ("sslmode", Some(mode)),
            ("sslcert", self.sslcert),
            ("sslkey", self.sslkey),
            ("sslrootcert", root),
            ("application_name", Some(name.unwrap_or_else(|| NAME.to_owned()))),
            ("options", self.options.filter(|_| !self.variables.iter().any(|(key, _)| *key == "options"))),
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
        Ok(Address { connect, connect_timeout, certificates, variables: self.variables })
    }

    fn port(&self) -> &str {
        self.port.as_deref().unwrap_or(PORT)
    }

    /// As whom to connect: as the system's user, if nobody is named.
    fn user(&self) -> Result<String, Fault> {
        let of_system = || PgConnectOptions::new_without_pgpass().get_username().to_owned();
        let user = self.user.clone().unwrap_or_else(of_system);
        if user.is_empty() { Err(Fault::of(&["user"], "user is missing")) } else { Ok(user) }
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
            (None, None) => default_host(self.port()),
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
        let bare = server.strip_prefix('[').and_then(|server| server.strip_suffix(']')).unwrap_or(&server);
        if Path::new(&server).is_absolute() || is_host(bare) {
            return Ok(bare.to_owned());
        }
        wrong("host is no name, no address and no folder of a socket; a port is a parameter of its own")
    }
}

/// As libpq: the socket of a server on this machine, or this machine.
fn default_host(port: &str) -> String {
    let socket = format!(".s.PGSQL.{port}");
    let folder = SOCKET_FOLDERS.iter().find(|folder| Path::new(folder).join(&socket).exists());
    folder.map_or("localhost", |folder| *folder).to_owned()
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
