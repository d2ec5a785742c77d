//! The address of a log on Kafka: `kafka://host:9092[,host:9092…][/prefix][?option=value&…]`. An IPv6 address has
//! brackets.
//!
//! Options are those of librdkafka (`security.protocol`, `sasl.username`, `ssl.ca.location`, …), and `partitions`: how
//! many partitions a missing topic is created with.

use std::{collections::BTreeMap, fmt, num::NonZero};

use daybook_schemas::position::PartitionId;

use crate::host::is_host;

/// A parsed address. `Debug` shows no option's value, as some are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Bootstrap brokers, as librdkafka takes them.
    pub brokers: String,
    /// Prefix of the topics' names.
    pub prefix: String,
    /// librdkafka options.
    pub options: BTreeMap<String, String>,
    /// Partitions of a topic that Daybook creates; if `None`, as the topic declares.
    pub partitions: Option<PartitionId>,
}

/// The text is not the address of a log on Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; expected kafka://host:9092[,host:9092][/prefix][?option=value]")]
pub struct InvalidUrl(pub(super) String);

/// Partitions of a topic, at most.
const PARTITIONS_MAX: PartitionId = 1024;

/// Options that Daybook's guarantees depend on.
const FIXED: [&str; 8] = [
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "bootstrap.servers",
    "metadata.broker.list",
    "enable.auto.commit",
    "auto.offset.reset",
    "isolation.level",
];

impl Address {
    /// Parses a URL. `decode` undoes percent-encoding of an option's value.
    pub fn parse(url: &str, decode: impl Fn(&str) -> String) -> Result<Self, InvalidUrl> {
        let rest =
            url.strip_prefix("kafka://").ok_or_else(|| InvalidUrl("the address is not a kafka:// URL".to_owned()))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (brokers, prefix) = place.split_once('/').unwrap_or((place, ""));
        if brokers.is_empty() || brokers.split(',').any(str::is_empty) {
            return Err(InvalidUrl("a broker's name is missing".to_owned()));
        }
        // None is shown: it may hold a password.
        if brokers.contains('@') {
            return Err(InvalidUrl("a login is given by options, as in sasl.username".to_owned()));
        }
        if !brokers.split(',').all(is_broker) {
            return Err(InvalidUrl("a broker is no host with a port, as in host:9092 or [::1]:9092".to_owned()));
        }
        let prefix = if prefix.is_empty() { "daybook" } else { prefix };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !prefix.chars().all(legal) || prefix.len() > 200 {
            return Err(InvalidUrl(format!("the topic prefix {prefix:?} is not a valid name of a Kafka topic")));
        }
        let (mut options, mut partitions) = (BTreeMap::new(), None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (option, value) =
                pair.split_once('=').ok_or_else(|| InvalidUrl(format!("option {pair:?} has no value")))?;
            if FIXED.contains(&option) {
                return Err(InvalidUrl(format!("option {option} is fixed by Daybook")));
            }
            if option == "partitions" {
                partitions = Some(count(value)?);
                continue;
            }
            options.insert(option.to_owned(), decode(value));
        }
        Ok(Self { brokers: brokers.to_owned(), prefix: prefix.to_owned(), options, partitions })
    }

    /// A description without secrets.
    pub fn describe(&self) -> String {
        format!("kafka, {}, topics {}.*", self.brokers, self.prefix)
    }
}

/// A host, maybe with a port.
fn is_broker(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) if host.contains(':') => (host, port),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    is_host(host) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<NonZero<u16>>().is_ok()
}

fn count(value: &str) -> Result<PartitionId, InvalidUrl> {
    let count = value.parse().ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
    count.ok_or_else(|| InvalidUrl(format!("partitions is {value:?}, not a number from 1 to {PARTITIONS_MAX}")))
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.keys().collect();
        f.debug_struct("Address")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("options", &options)
            .field("partitions", &self.partitions)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, InvalidUrl> {
        Address::parse(url, str::to_owned)
    }

    #[test]
    fn brokers_prefix_and_options_are_read() {
        let address = parse("kafka://a:1,b:2/team.x?sasl.username=u&sasl.password=p").expect("parses");
        assert_eq!((address.brokers.as_str(), address.prefix.as_str()), ("a:1,b:2", "team.x"));
        assert_eq!(address.options["sasl.username"], "u");
        assert!(!format!("{address:?}").contains("\"p\""), "a secret is shown");
        let (plain, counted) = (parse("kafka://a").expect("parses"), parse("kafka://a?partitions=24").expect("parses"));
        assert_eq!((plain.prefix.as_str(), plain.partitions), ("daybook", None));
        assert_eq!((counted.partitions, counted.options.len()), (Some(24), 0));
    }

    #[test]
    fn a_broker_is_a_host_and_a_port_that_can_be() {
        for brokers in
            ["a", "a:1", "my_kafka-0.ns.svc:9092", "127.0.0.1:65535", "[::1]:9092", "[::1]", "a:1,[fe80::1%eth0]:2"]
        {
            assert_eq!(parse(&format!("kafka://{brokers}")).map(|it| it.brokers).as_deref(), Ok(brokers));
        }
        for brokers in [
            "127.0.0.1:x",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:+1",
            "127.0.0.1:",
            "::1:9092",
            "[a]:1",
            "[::1",
            "[::1]9092",
            "u:hidden@a:1",
            "999.1.1.1:1",
            "a:1,b:x",
        ] {
            let error = parse(&format!("kafka://{brokers}")).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!error.is_empty() && !error.contains("hidden"), "{brokers}: {error}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let counts = ["kafka://a?partitions=0", "kafka://a?partitions=1025", "kafka://a?partitions=many"];
        let places = ["", "http://a", "kafka://", "kafka://a,,b", "kafka://a/x y", "kafka://a?acks=0", "kafka://a?x"];
        let fixed = ["kafka://a?isolation.level=read_uncommitted", "kafka://a?auto.offset.reset=latest"];
        for url in places.iter().chain(&counts).chain(&fixed) {
            assert!(parse(url).is_err(), "{url:?} was accepted");
        }
    }
}
