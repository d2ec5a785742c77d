//! Hosts, as addresses name them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a text may be a host: an IPv6 address, maybe with the zone of a link as in `fe80::1%eth0`; an IPv4 address;
/// or a name. What has a colon is no name, and neither are four numbers. Fewer are an IPv4 address in its short form.
pub fn is_host(text: &str) -> bool {
    if text.contains(':') {
        return is_ipv6(text);
    }
    if text.split('.').count() == 4 && text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return text.parse::<Ipv4Addr>().is_ok();
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    name.split('.').all(|label| !label.is_empty() && label.chars().all(is_of_label))
}

fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty() && zone.chars().all(is_of_zone))
}

fn is_of_zone(c: char) -> bool {
    is_of_label(c) || c == '.'
}

fn is_of_label(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_hosts_and_what_looks_like_an_address_must_be_one() {
        for text in [
            "db",
            "my-host_1.example",
            "db.example.",
            "127.0.0.1",
            "127.1",
            "0",
            "::1",
            "fe80::1%eth0",
            "1e100.net",
            "bücher",
        ] {
            assert!(is_host(text), "{text}");
        }
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "u@h",
            "/run",
            "[::1]",
            ":",
            "::1%",
            "127.0.0.1:5432",
            "db:5432",
            "999.1.1.1",
            "256.1.1.1",
        ] {
            assert!(!is_host(text), "{text}");
        }
    }
}
