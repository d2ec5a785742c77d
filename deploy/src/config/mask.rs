//! Masks passwords in URLs. Everything that is not known to be harmless is masked: the value of an option is shown only
//! if it is a number or the option is on a short list.

use daybook_projector::tables::postgres;

const MASK: &str = "***";
const WORDS: [&str; 3] = ["embedded", "sqlite", "off"];

/// Options whose values are no secrets.
const HARMLESS: [&str; 12] = [
    "application_name",
    "client.id",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "sslcert",
    "sslmode",
    "sslrootcert",
    "user",
];

/// The text as it may be shown.
pub(super) fn mask(text: &str) -> String {
    // A word that is misspelt is shown, too.
    if text.is_empty() || WORDS.iter().any(|word| strsim::osa_distance(text, word) <= 1) {
        return text.to_owned();
    }
    if let Some(words) = mask_words(text) {
        return words;
    }
    let Some((scheme, rest)) = text.split_once("://") else { return MASK.to_owned() };
    if !scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') {
        return MASK.to_owned();
    }
    let (place, options) = rest.split_once('?').map_or((rest, None), |(place, options)| (place, Some(options)));
    // Brokers have no passwords before them. Elsewhere an @ behind a question mark may end a password that holds one.
    let unclear = options.is_some_and(|options| options.contains('@')) && (scheme != "kafka" || place.contains('@'));
    if unclear || place.contains('#') {
        return format!("{scheme}://{MASK}");
    }
    let place =
        place.rsplit_once('@').map_or(place.to_owned(), |(login, place)| format!("{}@{place}", mask_login(login)));
    let options = options.map(|options| options.split('&').map(mask_option).collect::<Vec<_>>().join("&"));
    options.map_or_else(|| format!("{scheme}://{place}"), |options| format!("{scheme}://{place}?{options}"))
}

/// libpq's `key=value` words; none if the text is something else, or the password's end is not clear.
fn mask_words(text: &str) -> Option<String> {
    const SHOWN: [&str; 4] = ["host", "hostaddr", "port", "dbname"];
    if text.contains("://") || !postgres::is_address(text) {
        return None;
    }
    let pairs = postgres::pairs(text).ok()?;
    let known = |key: &str| SHOWN.contains(&key) || HARMLESS.contains(&key) || key == "password";
    // A password with a space may look like further words.
    let clear = pairs.iter().skip_while(|(key, _)| key != "password").all(|(key, _)| known(key));
    let is_plain = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || "._-:/@%*".contains(c));
    let shown = |(key, value): &(String, String)| match value.as_str() {
        "" => format!("{key}=''"),
        value if key != "password" && known(key) && is_plain(value) => format!("{key}={value}"),
        _ => format!("{key}={MASK}"),
    };
    clear.then(|| pairs.iter().map(shown).collect::<Vec<_>>().join(" "))
}

/// `user:***`, or nothing but the mask if the user's name is not clear.
fn mask_login(login: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-%".contains(c);
    match login.split_once(':') {
        Some((user, _)) if user.chars().all(legal) => format!("{user}:{MASK}"),
        None if login.chars().all(legal) => login.to_owned(),
        _ => MASK.to_owned(),
    }
}

fn mask_option(option: &str) -> String {
    let Some((name, value)) = option.split_once('=') else { return MASK.to_owned() };
    let is_number = value.chars().all(|c| c.is_ascii_digit());
    if HARMLESS.contains(&name) || (is_number && !is_secret(name)) {
        return option.to_owned();
    }
    format!("{name}={MASK}")
}

/// Whether a number may be a password, by the option's name.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "token", "key", "pem", "config"].iter().any(|part| name.to_ascii_lowercase().contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_and_the_rest_is_shown() {
        for (text, shown) in [
            ("sqlite", "sqlite"),
            ("embeded", "embeded"),
            ("postgres://ann:hidden@host:5432/db?sslmode=require", "postgres://ann:***@host:5432/db?sslmode=require"),
            ("postgres://host/db?user=ann&password=hidden", "postgres://host/db?user=ann&password=***"),
            ("postgres://host/db?password=1234", "postgres://host/db?password=***"),
            ("https://elastic:hidden@host:9200/prefix", "https://elastic:***@host:9200/prefix"),
            ("kafka://a:9092,b:9092/daybook?partitions=4", "kafka://a:9092,b:9092/daybook?partitions=4"),
            (
                "kafka://a:9092?security.protocol=SASL_SSL&sasl.username=ann@corp&sasl.password=hid@den",
                "kafka://a:9092?security.protocol=SASL_SSL&sasl.username=ann@corp&sasl.password=***",
            ),
            ("http://host:9200", "http://host:9200"),
            ("host=h port=5432 user=u password=hidden dbname=d", "host=h port=5432 user=u password=*** dbname=d"),
            ("host='' password='hid den' colour=hidden", "***"),
            ("password=hidden", "password=***"),
        ] {
            assert_eq!(mask(text), shown);
        }
    }

    #[test]
    fn no_form_of_a_login_shows_the_password() {
        for text in [
            "postgres://ann:hid?den@host/db",
            "postgres://ann:hid/den@host/db",
            "postgres://ann:hid@den@host/db",
            "postgres://ann:hid#den@host/db",
            "postgres://ann:hid@a?den@host/db?sslmode=require",
            "postgres//ann:hidden@host/db",
            "kafka://ann:hidden@host:9092?sasl.username=a@b&x=hidden",
            "kafka://host:9092?hidden",
            "hidden",
            "ann:hidden://x",
            "host=h password=hid den",
            "host=h password=a hidden=b",
            "host=h password=hid'den sslmode=hidden' x=",
            "host='hidden",
        ] {
            let shown = mask(text);
            assert!(!shown.contains("hid") && !shown.contains("den"), "{text}: {shown}");
        }
    }
}
