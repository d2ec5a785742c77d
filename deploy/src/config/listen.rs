//! Where to listen: `127.0.0.1:8080`, `[::1]:8080`, `name:8080`, or `:8080` for all addresses of this machine.

use std::{fmt, net::Ipv6Addr};

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
        let usable = inner.map_or_else(|| is_name(host), is_ipv6);
        usable.then(|| Self { host: inner.unwrap_or(host).to_owned(), port })
    }
}

/// With the zone of a link, as in `fe80::1%eth0`.
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty())
}

/// A name, an IPv4 address, or nothing.
fn is_name(host: &str) -> bool {
    host.is_empty() || host.split('.').all(|label| !label.is_empty() && label.chars().all(is_of_label))
}

fn is_of_label(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
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
        ] {
            let listen = Listen::parse(text);
            assert_eq!(listen, Some(Listen { host: host.to_owned(), port }), "{text}");
            assert_eq!(listen.map(|it| it.to_string()).as_deref(), Some(text));
        }
        for text in ["::1:8080", "nowhere", "", "h:", "h:65536", "h:+1", "[h]:1", "[::1:1", "a b:1", "a..b:1", "/x:1"] {
            assert_eq!(Listen::parse(text), None, "{text}");
        }
    }
}
