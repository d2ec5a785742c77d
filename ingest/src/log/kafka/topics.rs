//! Creates missing topics and checks the others: settings that would lose history are refused.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use daybook_schemas::{Topic, position::PartitionId};
use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::Consumer,
    types::RDKafkaErrorCode,
};

use super::{
    Address, CALL_MAX, RECORD_BYTES_MAX, blocking, configuration,
    reports::{self, Metadata},
};
use crate::log::LogError;

/// How long new topics may take until every partition has a leader.
const CREATION_MAX: Duration = Duration::from_secs(30);

/// How many partitions each topic has.
pub(super) type Counts = BTreeMap<Topic, PartitionId>;

/// A topic of the earlier layout, in which domains had no topics of their own.
const EARLIER: &str = "events";

/// The settings that each topic must have.
fn required(topic: Topic) -> Vec<(&'static str, &'static str)> {
    if topic.compacted() {
        vec![("cleanup.policy", "compact")]
    } else {
        vec![("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")]
    }
}

/// Checks the topics, and creates missing ones that are among `creatable`, once all others are there and can be used.
pub(super) async fn ensure(
    address: &Address,
    topics: &[Topic],
    metadata: Arc<Metadata>,
    creatable: &[Topic],
) -> Result<Counts, LogError> {
    let admin: AdminClient<DefaultClientContext> = address.base().create().map_err(configuration)?;
    let (mut counts, mut missing) = (Counts::new(), Vec::new());
    for topic in topics {
        let name = topic.full_name(&address.prefix);
        match count(&metadata, &name).await? {
            Some(partitions) => {
                check(&admin, *topic, &name).await?;
                warn_of_count(address, &name, partitions);
                counts.insert(*topic, partitions);
            }
            None if creatable.contains(topic) => missing.push(*topic),
            None => return Err(LogError::Absent(format!("topic {name} does not exist"))),
        }
    }
    if counts.is_empty() && !missing.is_empty() {
        refuse_earlier_layout(&metadata, &address.prefix).await?;
    }
    for topic in missing {
        counts.insert(topic, add(address, &admin, &metadata, topic).await?);
    }
    Ok(counts)
}

/// Says that the number of partitions in the address does not change a topic.
fn warn_of_count(address: &Address, name: &str, partitions: PartitionId) {
    if let Some(wanted) = address.partitions.filter(|wanted| *wanted != partitions) {
        tracing::warn!(
            topic = name,
            "topic {name} has {partitions} partitions and keeps them: partitions={wanted} is for topics that are created"
        );
    }
}

/// Refuses a log of the earlier layout: a new log must not start beside an old one.
async fn refuse_earlier_layout(metadata: &Arc<Metadata>, prefix: &str) -> Result<(), LogError> {
    let earlier = format!("{prefix}.{EARLIER}");
    if count(metadata, &earlier).await?.is_none() {
        return Ok(());
    }
    Err(LogError::Unusable(format!(
        "topic {earlier} holds a log of an earlier layout, which this version does not read; export its events with the version \
         that wrote it and post them to /api/v1/events of this one, or give another topic prefix: kafka://host:9092/prefix"
    )))
}

/// Why a topic cannot be created for a while: brokers that start, or too few of them.
const PASSING: [RDKafkaErrorCode; 6] = [
    RDKafkaErrorCode::NotController,
    RDKafkaErrorCode::RequestTimedOut,
    RDKafkaErrorCode::NetworkException,
    RDKafkaErrorCode::BrokerNotAvailable,
    RDKafkaErrorCode::LeaderNotAvailable,
    RDKafkaErrorCode::InvalidReplicationFactor,
];

/// Creates a topic, unless another process does, and waits until it can be used.
async fn add(
    address: &Address,
    admin: &AdminClient<DefaultClientContext>,
    metadata: &Arc<Metadata>,
    topic: Topic,
) -> Result<PartitionId, LogError> {
    let name = topic.full_name(&address.prefix);
    create(admin, topic, &name, address.partitions.unwrap_or(topic.partitions())).await?;
    let began = Instant::now();
    let partitions = loop {
        match count(metadata, &name).await? {
            Some(partitions) => break partitions,
            None if began.elapsed() > CREATION_MAX => {
                return Err(LogError::Unavailable(format!("topic {name} has no leaders after {CREATION_MAX:?}")));
            }
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    check(admin, topic, &name).await?;
    Ok(partitions)
}

/// How many partitions the topic has; `None` where it does not exist or some partition has no leader yet.
async fn count(metadata: &Arc<Metadata>, name: &str) -> Result<Option<PartitionId>, LogError> {
    let (metadata, name) = (Arc::clone(metadata), name.to_owned());
    let count = move || -> Result<Option<PartitionId>, String> {
        let found = metadata.fetch_metadata(Some(&name), CALL_MAX);
        let found = found.map_err(|error| reports::reason(&metadata, &error))?;
        metadata.context().clear();
        let topic = found.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
        let partitions = topic.map(|topic| topic.partitions()).filter(|partitions| !partitions.is_empty());
        let led = partitions.filter(|partitions| partitions.iter().all(|partition| partition.leader() >= 0));
        Ok(led.map(|partitions| PartitionId::try_from(partitions.len()).unwrap_or(PartitionId::MAX)))
    };
    blocking(count).await?.map_err(|reason| LogError::Unavailable(format!("no metadata from Kafka: {reason}")))
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    topic: Topic,
    name: &str,
    partitions: PartitionId,
) -> Result<(), LogError> {
    let bytes_max = (RECORD_BYTES_MAX + 64 * 1024).to_string();
    let mut new = NewTopic::new(name, partitions, TopicReplication::Fixed(-1)).set("max.message.bytes", &bytes_max);
    for (key, value) in required(topic) {
        new = new.set(key, value);
    }
    let created = admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(CALL_MAX))).await;
    let outcome = created.map_err(|e| LogError::Unavailable(format!("cannot create topic {name}: {e}")))?;
    match outcome.into_iter().next() {
        // Another instance was faster.
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
            tracing::info!(topic = name, "topic {name} created with {partitions} partitions");
            Ok(())
        }
        Some(Err((_, code))) if PASSING.contains(&code) => {
            Err(LogError::Unavailable(format!("cannot create topic {name} now: {code}")))
        }
        Some(Err((_, code))) => Err(LogError::Settings(format!(
            "cannot create topic {name}: {code}; somebody who may can create it: {}",
            creation(topic, name, partitions)
        ))),
        None => Err(LogError::Unavailable(format!("no answer to creating topic {name}"))),
    }
}

/// The command that creates a topic as Daybook does.
fn creation(topic: Topic, name: &str, partitions: PartitionId) -> String {
    let bytes_max = RECORD_BYTES_MAX + 64 * 1024;
    let settings = required(topic).into_iter().map(|(key, value)| format!(" --config {key}={value}"));
    format!(
        "kafka-topics.sh --bootstrap-server HOST:PORT --create --topic {name} --partitions {partitions}{} --config \
         max.message.bytes={bytes_max}",
        settings.collect::<String>()
    )
}

async fn check(admin: &AdminClient<DefaultClientContext>, topic: Topic, name: &str) -> Result<(), LogError> {
    let options = AdminOptions::new().request_timeout(Some(CALL_MAX));
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(name)], &options).await;
    let outcome =
        described.map_err(|e| LogError::Unavailable(format!("cannot read the settings of topic {name}: {e}")))?;
    let found: ConfigResource = match outcome.into_iter().next() {
        Some(Ok(found)) => found,
        Some(Err(code)) => {
            return Err(LogError::Unavailable(format!("cannot read the settings of topic {name}: {code}")));
        }
        None => return Err(LogError::Unavailable(format!("no settings of topic {name}"))),
    };
    let value_of =
        |key: &str| found.entries.iter().find(|entry| entry.name == key).and_then(|entry| entry.value.clone());
    for (key, wanted) in required(topic) {
        // A broker that does not know a new topic yet returns no settings.
        let unknown =
            || LogError::Unavailable(format!("the broker does not know the setting {key} of topic {name} yet"));
        let value = value_of(key).ok_or_else(unknown)?;
        if value != wanted {
            return Err(LogError::Settings(format!(
                "topic {name} has {key}={value}, which would lose history; set it to {wanted}"
            )));
        }
    }
    let bytes_max: usize = value_of("max.message.bytes").and_then(|value| value.parse().ok()).unwrap_or(0);
    if bytes_max < RECORD_BYTES_MAX {
        let text = format!("topic {name} has max.message.bytes={bytes_max}; set it to at least {RECORD_BYTES_MAX}");
        return Err(LogError::Settings(text));
    }
    Ok(())
}
