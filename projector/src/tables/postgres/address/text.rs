//! The two forms of an address, as libpq documents them ("Connection Strings"): `postgres://…`, and `key=value` words.
//!
//! No error repeats a value: it may be a password, or a part of one.

/// Beginnings of the first form.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Whether a text is meant as an address of PostgreSQL, even if it is invalid.
pub fn is_address(text: &str) -> bool {
    let begins = SCHEMES.iter().any(|scheme| text.starts_with(scheme));
    begins || text.split_once('=').is_some_and(|(key, _)| is_key(key.trim()))
}

/// The parameters of an address, in order. Those of `postgres://…` have the names of the other form.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    match SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => of_uri(rest),
        None => of_words(text),
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// `key = 'value with spaces, \' and \\'`, separated by spaces.
fn of_words(text: &str) -> Result<Vec<(String, String)>, String> {
    let (mut found, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(value) = after.trim_start().strip_prefix('=') else {
            return Err("a word without \"=\"; values with spaces need single quotes".to_owned());
        };
        if key.is_empty() {
            return Err("\"=\" without a key".to_owned());
        }
        let (value, after) = of_value(value.trim_start())?;
        found.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(found)
}

/// A value, and what follows it.
fn of_value(text: &str) -> Result<(String, &str), String> {
    let (quoted, text) = text.strip_prefix('\'').map_or((false, text), |text| (true, text));
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            space if !quoted && space.is_whitespace() => return Ok((value, &text[at..])),
            letter => value.push(letter),
        }
    }
    if quoted { Err("a quote that is not closed".to_owned()) } else { Ok((value, "")) }
}

/// `user:password@host:port/database?key=value&…` behind the scheme; each part may be left out.
fn of_uri(text: &str) -> Result<Vec<(String, String)>, String> {
    let (place, options) = text.split_once('?').map_or((text, None), |(place, options)| (place, Some(options)));
    let (server, database) = place.split_once('/').map_or((place, ""), |(server, database)| (server, database));
    let (login, server) = server.rsplit_once('@').map_or(("", server), |(login, server)| (login, server));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, port) = of_server(server)?;
    let mut found = Vec::new();
    for (key, value) in [("host", host), ("port", port), ("dbname", database), ("user", user), ("password", password)] {
        let value = decode(value)?;
        if !value.is_empty() {
            found.push((key.to_owned(), value));
        }
    }
    for option in options.into_iter().flat_map(|options| options.split('&')).filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').ok_or("an option without \"=\"")?;
        match (decode(key)?.as_str(), decode(value)?) {
            ("ssl", value) if value == "true" => found.push(("sslmode".to_owned(), "require".to_owned())),
            (key, value) => found.push((key.to_owned(), value)),
        }
    }
    Ok(found)
}

/// Host and port: an IPv6 address stands in brackets.
fn of_server(server: &str) -> Result<(&str, &str), String> {
    if let Some(rest) = server.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("a bracket that is not closed")?;
        let port = if port.is_empty() { Some("") } else { port.strip_prefix(':') };
        return port.map(|port| (host, port)).ok_or_else(|| "expected a port behind the bracket".to_owned());
    }
    match server.split_once(':') {
        Some((_, port)) if port.contains(':') && !server.contains(',') => {
            Err("an IPv6 address stands in brackets, as in [::1]:5432".to_owned())
        }
        split => Ok(split.unwrap_or((server, ""))),
    }
}

/// Decodes `%40` and the like.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || "expected two hexadecimal digits behind each %, and UTF-8".to_owned();
    let (mut bytes, mut decoded) = (text.bytes(), Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        decoded.push(match byte {
            b'%' => match (digit(), digit()) {
                (Some(high), Some(low)) => u8::try_from(16 * high + low).map_err(|_| wrong())?,
                _ => return Err(wrong()),
            },
            byte => byte,
        });
    }
    let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
    if decoded.contains('\0') { Err(wrong()) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        pairs(text).map(|pairs| pairs.iter().map(|(key, value)| format!("{key}={value}")).collect())
    }

    #[test]
    fn words_are_read_as_libpq_reads_them() {
        for (text, expected) in [
            ("host=127.0.0.1 port=5432 user=u dbname=d", "host=127.0.0.1|port=5432|user=u|dbname=d"),
            ("  host = h\n\tport=1 ", "host=h|port=1"),
            (r"password='it\'s a \\ word' user=a\ b", r"password=it's a \ word|user=a b"),
            ("host='' password=", "host=|password="),
            ("password=a=b'c", "password=a=b'c"),
            ("host='a'port=1", "host=a|port=1"),
            ("", ""),
        ] {
            assert_eq!(read(text).map(|found| found.join("|")), Ok(expected.to_owned()), "{text}");
        }
        for text in ["host=a hidden", "host='hidden", "=hidden", "hidden"] {
            assert!(read(text).is_err_and(|error| !error.contains("hidden")), "{text}");
        }
    }

    #[test]
    fn uris_are_read_as_libpq_reads_them() {
        for (text, expected) in [
            ("postgres://u:p@[::1]:5432/db", "host=::1|port=5432|dbname=db|user=u|password=p"),
            ("postgresql://", ""),
            ("postgresql://h", "host=h"),
            ("postgresql:///db?host=/run/postgresql&port=5433", "dbname=db|host=/run/postgresql|port=5433"),
            ("postgresql://%2Fvar%2Frun/db", "host=/var/run|dbname=db"),
            ("postgres://u:p%40%2F@h/d?sslmode=require", "host=h|dbname=d|user=u|password=p@/|sslmode=require"),
            ("postgres://u:p@w@h/d", "host=h|dbname=d|user=u|password=p@w"),
            ("postgres://h/d?ssl=true", "host=h|dbname=d|sslmode=require"),
        ] {
            assert_eq!(read(text).map(|found| found.join("|")), Ok(expected.to_owned()), "{text}");
        }
        for text in
            ["postgres://[::1/d", "postgres://::1/d", "postgres://[::1]5432/d", "postgres://h/%zz", "postgres://h/d?x"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
