//! libpq's own environment variables: each gives a parameter where the address leaves it out. Those that are not here
//! concern libpq itself (`PGSERVICEFILE`, `PGSYSCONFDIR`, `PGLOCALEDIR`), the form of texts that nobody reads here
//! (`PGDATESTYLE`, `PGTZ`, `PGGEQO`), or are followed by sqlx (`PGPASSFILE`).

/// The variables, each with its parameter.
const PARAMETERS: [(&str, &str); 33] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGSERVICE", "service"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGCLIENTENCODING", "client_encoding"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGSSLMODE", "sslmode"),
    ("PGREQUIRESSL", "requiressl"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLCERTMODE", "sslcertmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGSSLSNI", "sslsni"),
    ("PGSSLCOMPRESSION", "sslcompression"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGGSSLIB", "gsslib"),
    ("PGGSSDELEGATION", "gssdelegation"),
    ("PGKRBSRVNAME", "krbsrvname"),
];

/// The names of all variables that matter to an address.
pub fn variable_names() -> impl Iterator<Item = &'static str> {
    PARAMETERS.iter().map(|(variable, _)| *variable)
}

/// The parameter that a variable gives.
pub(super) fn parameter(variable: &str) -> Option<&'static str> {
    PARAMETERS.iter().find(|(name, _)| *name == variable).map(|(_, key)| *key)
}
