//! Where the server is that a command talks to: `--server`, `DAYBOOK_SERVER`, or the default.

use super::{Environment, environment::SERVER};

/// The default of [`Server`].
const DEFAULT: &str = "http://127.0.0.1:8080";

/// The checked URL of a running server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Without a slash at its end.
    pub(crate) url: String,
}

impl Server {
    /// Checks what is given.
    pub(crate) fn check(option: Option<&str>, environment: &Environment) -> Result<Self, Vec<String>> {
        let (text, origin) = match (option, environment.get(SERVER)) {
            (Some(text), _) => (text, String::new()),
            (None, Some(text)) => (text, format!(" (from {SERVER})")),
            (None, None) => (DEFAULT, String::new()),
        };
        let url = text.trim_end_matches('/');
        let is_http =
            ["http://", "https://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|it| !it.is_empty()));
        if is_http && reqwest::Url::parse(url).is_ok() {
            return Ok(Self { url: url.to_owned() });
        }
        let shown = super::mask::mask(text);
        Err(vec![format!("--server{origin} is {shown:?}: expected a URL, as in {DEFAULT}")])
    }

    /// The URL as it may be shown.
    pub(crate) fn shown(&self) -> String {
        super::mask::mask(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_default() {
        let environment = Environment::of_pairs(&[("DAYBOOK_SERVER", "https://daybook.example/metadata/")]);
        let url = |option, environment: &Environment| Server::check(option, environment).map(|server| server.url);
        assert_eq!(url(Some("http://a:1"), &environment), Ok("http://a:1".to_owned()));
        assert_eq!(url(None, &environment), Ok("https://daybook.example/metadata".to_owned()));
        assert_eq!(url(None, &Environment::default()), Ok(DEFAULT.to_owned()));
    }

    #[test]
    fn what_is_no_url_is_a_fault() {
        for text in ["127.0.0.1:8080", "http://", "tcp://10.0.0.1:8080", ""] {
            let faults = Server::check(Some(text), &Environment::default()).err().unwrap_or_default();
            assert!(faults.len() == 1 && faults[0].starts_with("--server is"), "{text}: {faults:?}");
        }
    }
}
