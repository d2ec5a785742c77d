//! Where to listen: `127.0.0.1:8080`, `[::1]:8080`, `name:8080`, or `:8080` for all addresses of this machine.

use std::fmt;

use daybook_ingest::host::is_host;

/// An address or a name, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// An IPv6 address has no brackets here. Empty for all addresses.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Listen {
    /// Reads a text; none if it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let port = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_bracketed = inner.is_some_and(|inner| inner.contains(':') && is_host(inner));
        let usable = is_bracketed || host.is_empty() || (!host.contains(':') && is_host(host));
        usable.then(|| Self { host: inner.unwrap_or(host).to_owned(), port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_brackets_are_taken() {
        for (text, host, port) in [
            ("127.0.0.1:8080", "127.0.0.1", 8080),
            ("[::1]:8080", "::1", 8080),
            ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
            ("localhost:8080", "localhost", 8080),
            ("my-host_1.example:65535", "my-host_1.example", 65535),
            (":8080", "", 8080),
            ("0:8080", "0", 8080),
        ] {
            let listen = Listen::parse(text);
            assert_eq!(listen, Some(Listen { host: host.to_owned(), port }), "{text}");
            assert_eq!(listen.map(|it| it.to_string()).as_deref(), Some(text));
        }
        for text in ["::1:8080", "nowhere", "", "h:", "h:65536", "h:+1", "[h]:1", "[::1:1", "a b:1", "a..b:1", "/x:1"] {
            assert_eq!(Listen::parse(text), None, "{text}");
        }
        for text in ["256.1.1.1:1", "[::1%]:1", "u@h:1"] {
            assert_eq!(Listen::parse(text), None, "{text}");
        }
    }
}
