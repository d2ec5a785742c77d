//! Rules of URLs: completing the scheme, judging the host, cutting slashes. None of them asks the network.

use std::{collections::HashSet, net::Ipv4Addr};

use crate::terms::case::lower_case;

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// Puts a scheme in front of URLs that have none.
#[derive(Debug, Clone)]
pub struct UrlSchemeRule {
    /// The fields, each a text.
    pub fields: Vec<String>,
    /// Hosts, without port, whose URLs get `http`, without regard to case.
    pub http_hosts: Vec<String>,
    /// The scheme for all other hosts.
    pub default: Scheme,
}

/// Sets URLs to null whose host is neither a name with a dot nor an IPv4 address.
#[derive(Debug, Clone)]
pub struct UrlValidRule {
    /// The fields, each a text.
    pub fields: Vec<String>,
}

/// Cuts slashes off the end of URLs, and superfluous ones off their beginning.
#[derive(Debug, Clone)]
pub struct StripSlashRule {
    /// The fields, each a text.
    pub fields: Vec<String>,
}

/// The compiled rule of schemes.
#[derive(Debug)]
pub(super) struct UrlScheme {
    pub(super) fields: Vec<String>,
    /// In lower case.
    http_hosts: HashSet<String>,
    default: Scheme,
}

impl Scheme {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
        }
    }
}

impl UrlScheme {
    pub(super) fn new(rule: UrlSchemeRule) -> Self {
        let http_hosts = rule.http_hosts.iter().map(|host| host.to_lowercase()).collect();
        Self { fields: rule.fields, http_hosts, default: rule.default }
    }

    /// The URL with a scheme; `None` if it has one or is empty.
    pub(super) fn completed(&self, url: &str) -> Option<String> {
        let trimmed = url.trim_start();
        if scheme_end(trimmed).is_some() {
            return None;
        }
        let rest = trimmed.trim_start_matches('/');
        if rest.is_empty() {
            return None;
        }
        let mut buffer = String::new();
        let is_http = self.http_hosts.contains(lower_case(host_of(rest), &mut buffer));
        let scheme = if is_http { Scheme::Http } else { self.default };
        Some([scheme.prefix(), rest].concat())
    }
}

/// Whether a URL, with or without scheme, has a host that is a name with a dot or an IPv4 address.
pub(super) fn is_valid(url: &str) -> bool {
    let url = url.trim();
    let rest = match scheme_end(url) {
        Some(end) => url[end..].strip_prefix("//"),
        None => Some(url.trim_start_matches('/')),
    };
    let Some(host) = rest.map(host_of) else { return false };
    let host = host.strip_suffix('.').unwrap_or(host);
    let Some((_, last)) = host.rsplit_once('.') else { return false };
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let is_label = |label: &str| {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        !label.is_empty() && label.chars().all(fits)
    };
    host.split('.').all(is_label)
}

/// The URL without slashes around what follows its scheme; `None` if there are none or nothing else is there.
pub(super) fn stripped(url: &str) -> Option<String> {
    let begin = scheme_end(url).filter(|end| url[*end..].starts_with("//")).map_or(0, |end| end + 2);
    let (scheme, rest) = url.split_at(begin);
    let inner = rest.trim_matches('/');
    (inner.len() < rest.len() && !inner.is_empty()).then(|| [scheme, inner].concat())
}

/// Where the scheme ends, colon included; `None` if there is none. A colon before a port ends no scheme.
fn scheme_end(url: &str) -> Option<usize> {
    if url.starts_with("https://") {
        return Some("https:".len());
    }
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let length = url.bytes().take_while(fits).count();
    let rest = url[length..].strip_prefix(':')?;
    let begins_with_letter = url.starts_with(|c: char| c.is_ascii_alphabetic());
    (begins_with_letter && !begins_with_port(rest)).then_some(length + 1)
}

fn begins_with_port(rest: &str) -> bool {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (1..=5).contains(&digits) && matches!(rest.as_bytes().get(digits), None | Some(b'/' | b'?' | b'#'))
}

/// The host of a URL without scheme and leading slashes: without user, port and path.
fn host_of(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
    let address = authority.rsplit('@').next().unwrap_or(authority);
    address.split(':').next().unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_scheme_gets_one() {
        let rule = UrlScheme::new(UrlSchemeRule {
            fields: Vec::new(),
            http_hosts: vec!["collections.musee-mccord.qc.ca".to_owned()],
            default: Scheme::Https,
        });
        for (url, expected) in [
            ("tide.example/a.jpg", "https://tide.example/a.jpg"),
            ("http://tide.example/a", ""),
            ("https://tide.example/a", ""),
            ("HTTP://tide.example/a", ""),
            (" http://tide.example/a", ""),
            ("ftp://tide.example/a", ""),
            ("mailto:a@tide.example", ""),
            ("", ""),
            (" ", ""),
            ("//", ""),
            ("collections.musee-mccord.qc.ca/ObjView/1.jpg", "http://collections.musee-mccord.qc.ca/ObjView/1.jpg"),
            ("Collections.Musee-McCord.qc.ca:80/1", "http://Collections.Musee-McCord.qc.ca:80/1"),
            ("//collections.musee-mccord.qc.ca", "http://collections.musee-mccord.qc.ca"),
            ("x.collections.musee-mccord.qc.ca/1", "https://x.collections.musee-mccord.qc.ca/1"),
            ("//tide.example/a", "https://tide.example/a"),
            ("tide.example:8080/a", "https://tide.example:8080/a"),
            ("tide.example:8080", "https://tide.example:8080"),
            ("tide.example:8080?x=1", "https://tide.example:8080?x=1"),
            ("localhost:8080/a", "https://localhost:8080/a"),
            ("tide.example/o'brien's pier.jpg", "https://tide.example/o'brien's pier.jpg"),
            ("tide.example/a?next=http://b.example", "https://tide.example/a?next=http://b.example"),
            ("überfahrt.example/ä", "https://überfahrt.example/ä"),
        ] {
            let expected = Some(expected.to_owned()).filter(|expected| !expected.is_empty());
            assert_eq!(rule.completed(url), expected, "{url}");
            let again = expected.as_deref().and_then(|completed| rule.completed(completed));
            assert_eq!(again, None, "{url} a second time");
        }
    }

    #[test]
    fn a_valid_url_has_a_host_with_a_dot_or_an_address() {
        for (url, expected) in [
            ("https://tide.example/a", true),
            ("tide.example/a", true),
            ("//tide.example/a", true),
            ("tide.example:8080/a", true),
            ("https://user@tide.example./a", true),
            ("https://überfahrt.example", true),
            ("http://192.0.2.7/a", true),
            ("192.0.2.7:80", true),
            ("http://192.0.2.700/a", false),
            ("http://1.2.3/a", false),
            ("https://localhost/a.jpg", false),
            ("https:///a.jpg", false),
            ("http:/tide.example", false),
            ("https://tide..example", false),
            ("https://.example", false),
            ("https://tide example.org/a", false),
            ("mailto:a@tide.example", false),
            ("https://[2001:db8::1]/a", false),
            ("none", false),
            ("", false),
        ] {
            assert_eq!(is_valid(url), expected, "{url}");
        }
    }

    #[test]
    fn slashes_are_cut_off_but_for_those_of_the_scheme() {
        for (url, expected) in [
            ("https://tide.example/a/", Some("https://tide.example/a")),
            ("https://tide.example//", Some("https://tide.example")),
            ("https:////tide.example/a", Some("https://tide.example/a")),
            ("tide.example/", Some("tide.example")),
            ("https://tide.example/a", None),
            ("https://", None),
            ("//", None),
            ("", None),
        ] {
            assert_eq!(stripped(url).as_deref(), expected, "{url}");
        }
    }
}
