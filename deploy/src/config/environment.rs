//! The environment: `DAYBOOK_*` variables, and warnings about those that are not settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
};

use daybook_projector::tables::postgres;

use super::{nearest::nearest, settings};

/// Names the settings' file.
pub(crate) const CONFIG: &str = "DAYBOOK_CONFIG";
/// Names the running server, for commands that talk to one.
pub(crate) const SERVER: &str = "DAYBOOK_SERVER";

/// Largest edit distance at which an unknown name is taken for a typing error.
const TYPOS_MAX: usize = 2;

/// The variables of this process. No `Debug`: they hold passwords.
#[derive(Default)]
pub(crate) struct Environment {
    texts: BTreeMap<String, String>,
    /// Names of variables whose values are not UTF-8.
    unreadable: BTreeSet<String>,
}

impl Environment {
    /// The variables of this process.
    pub(crate) fn of_process() -> Self {
        Self::of(std::env::vars_os())
    }

    fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.texts.insert(name, value)),
                Err(_) => drop(environment.unreadable.insert(name)),
            }
        }
        environment
    }

    #[cfg(test)]
    pub(crate) fn of_pairs(pairs: &[(&str, &str)]) -> Self {
        Self::of(pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    /// The value of a variable. An empty variable counts as one that is not set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The variables of libpq that are set.
    pub(crate) fn of_libpq(&self) -> Vec<(&'static str, String)> {
        postgres::variable_names().filter_map(|name| Some((name, self.get(name)?.to_owned()))).collect()
    }

    /// Faults: variables that are read and not UTF-8.
    pub(crate) fn unreadable(&self) -> Vec<String> {
        let of_others = crate::domains::variable_names().chain(postgres::variable_names()).map(str::to_owned);
        let known: Vec<String> = known().into_iter().chain(of_others).collect();
        let read = self.unreadable.iter().filter(|name| known.contains(name));
        read.map(|name| format!("the environment variable {name} is not UTF-8")).collect()
    }

    /// Warnings: `DAYBOOK_*` variables that are neither settings nor injected by Kubernetes.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let known = known();
        let unknown = self.texts.iter().filter(|(name, value)| {
            name.starts_with("DAYBOOK_") && !known.contains(name) && !is_of_kubernetes(name, value)
        });
        let warning = |name: &str| {
            let meant = nearest(name, known.iter().map(String::as_str));
            let meant = meant.filter(|meant| strsim::osa_distance(name, meant) <= TYPOS_MAX);
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            format!("the environment variable {name} is not a setting and has no effect{meant}")
        };
        unknown.map(|(name, _)| warning(name)).collect()
    }
}

fn known() -> Vec<String> {
    let own = [CONFIG, SERVER].map(str::to_owned);
    settings().map(|setting| setting.variable()).chain(own).collect()
}

/// Whether a variable is one that Kubernetes injects for a Service named `daybook` or `daybook-…`:
/// `…_SERVICE_HOST`, `…_SERVICE_PORT[_NAME]`, `…_PORT` with a URL, `…_PORT_<number>_<protocol>[_PROTO|_PORT|_ADDR]`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && is_url {
        return true;
    }
    let Some((_, port)) = name.rsplit_once("_PORT_").filter(|(_, port)| port.starts_with(|c: char| c.is_ascii_digit()))
    else {
        return false;
    };
    let parts: Vec<&str> = port.split('_').collect();
    let protocol = parts.get(1).is_some_and(|protocol| matches!(*protocol, "TCP" | "UDP" | "SCTP"));
    let rest = parts.get(2).is_none_or(|rest| matches!(*rest, "PROTO" | "PORT" | "ADDR"));
    parts[0].chars().all(|c| c.is_ascii_digit()) && protocol && rest && parts.len() <= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_injects_for_a_service_is_passed_over() {
        let environment = Environment::of_pairs(&[
            ("DAYBOOK_SERVICE_HOST", "10.0.0.1"),
            ("DAYBOOK_SERVICE_PORT", "8080"),
            ("DAYBOOK_SERVICE_PORT_HTTP", "8080"),
            ("DAYBOOK_PORT", "tcp://10.0.0.1:8080"),
            ("DAYBOOK_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("DAYBOOK_PORT_8080_TCP_PROTO", "tcp"),
            ("DAYBOOK_PORT_8080_TCP_PORT", "8080"),
            ("DAYBOOK_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("DAYBOOK_API_PORT", "udp://10.0.0.1:8080"),
            ("DAYBOOK_API_PORT_53_UDP_ADDR", "10.0.0.1"),
        ]);
        assert_eq!(environment.unknown(), Vec::<String>::new());
    }

    #[test]
    fn other_unknown_variables_are_warned_about_with_the_nearest_name() {
        let environment =
            Environment::of_pairs(&[("DAYBOOK_REQUEST_MAX", "1"), ("DAYBOOK_PORT", "8080"), ("OTHER", "x")]);
        let warnings = environment.unknown();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(
            warnings[1].contains("DAYBOOK_REQUEST_MAX") && warnings[1].ends_with("did you mean DAYBOOK_REQUESTS_MAX?")
        );
        assert!(warnings[0].ends_with("DAYBOOK_PORT is not a setting and has no effect"), "{warnings:?}");
    }

    #[test]
    fn no_setting_has_a_name_that_kubernetes_may_inject() {
        for name in known() {
            assert!(!is_of_kubernetes(&name, "tcp://10.0.0.1:8080"), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_read_and_is_not_text_is_a_fault() {
        use std::os::unix::ffi::OsStringExt;
        let garbage = OsString::from_vec(vec![0xff]);
        let names = ["DAYBOOK_LISTEN", "LS_COLORS", "MF_METADATA_DB_PSWD", "PGPASSWORD"];
        let pairs = names.map(|name| (OsString::from(name), garbage.clone()));
        let faults = Environment::of(pairs.into_iter()).unreadable();
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, name) in faults.iter().zip([names[0], names[2], names[3]]) {
            assert!(fault.contains(name), "{fault}");
        }
    }
}
