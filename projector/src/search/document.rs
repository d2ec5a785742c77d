//! A document: what search knows of a flow, run, step, task or artifact.
//!
//! A pure function of rows. Its revision counts the events that its rows have taken, and tells two states of it apart (I6).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::query::Field;
use crate::run_status::Status;

/// Longest id, in bytes, inclusive: that of Elasticsearch.
const ID_BYTES_MAX: usize = 512;
/// Bytes of one value that are kept and searched, at most.
pub const VALUE_BYTES_MAX: usize = 4096;

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A flow.
    Flow,
    /// A run.
    Run,
    /// A step.
    Step,
    /// A task.
    Task,
    /// An artifact of one attempt.
    Artifact,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Flow, Self::Run, Self::Step, Self::Task, Self::Artifact];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Run => "run",
            Self::Step => "step",
            Self::Task => "task",
            Self::Artifact => "artifact",
        }
    }

    /// The kind of a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A field of metadata with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The field.
    pub field: String,
    /// The value.
    pub value: String,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// How many events it has taken.
    pub revision: i64,
    /// When it was registered, in milliseconds.
    pub created_at: i64,
    /// The flow.
    pub flow: String,
    /// The run's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// The run's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_name: Option<String>,
    /// The step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The task's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<i64>,
    /// The task's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// The artifact's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// The artifact's attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// Who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How it went; of runs and tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Tags, those of users before those of the system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Names of a task's artifacts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// A task's metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<Entry>,
}

impl Document {
    /// An empty document.
    pub const fn new(kind: Kind, flow: String, revision: i64, created_at: i64) -> Self {
        Self {
            kind,
            revision,
            created_at,
            flow,
            run: None,
            run_name: None,
            step: None,
            task: None,
            task_name: None,
            artifact: None,
            attempt: None,
            user: None,
            status: None,
            tags: Vec::new(),
            artifacts: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// Its id: type and path. Of one that is too long, the end is a digest.
    pub fn id(&self) -> String {
        let mut id = format!("{}/{}", self.kind.as_str(), self.flow);
        let numbers = [self.run.map(|run| run.to_string()), self.step.clone(), self.task.map(|task| task.to_string())];
        let rest = numbers.into_iter().chain([self.artifact.clone(), self.attempt.map(|attempt| attempt.to_string())]);
        for part in rest.flatten() {
            id.push('/');
            id.push_str(&part);
        }
        if id.len() <= ID_BYTES_MAX {
            return id;
        }
        let digest: String = Sha256::digest(&id).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}#{digest}", cut(&id, ID_BYTES_MAX - digest.len() - 1))
    }

    /// A number by which documents that sort alike are put in order: the beginning of the id's digest.
    pub fn key(id: &str) -> i64 {
        let digest = Sha256::digest(id);
        // The highest bit is left out, so that no engine sees a sign.
        digest.iter().take(8).fold(0_i64, |key, byte| (key << 8) | i64::from(*byte)) & i64::MAX
    }

    /// The texts that a field is searched in. Those of `Field::Text` are all but type and status.
    pub fn texts(&self, field: Field) -> Vec<Cow<'_, str>> {
        fn one(text: Option<&String>) -> impl Iterator<Item = Cow<'_, str>> {
            text.into_iter().map(|text| Cow::Borrowed(text.as_str()))
        }
        fn number<'a>(number: Option<i64>) -> impl Iterator<Item = Cow<'a, str>> {
            number.into_iter().map(|number| Cow::Owned(number.to_string()))
        }
        let borrowed = |texts: &[String]| texts.iter().map(|text| Cow::Owned(text.clone())).collect();
        match field {
            Field::Type => vec![self.kind.as_str().into()],
            Field::Status => self.status.iter().map(|status| status.as_str().into()).collect(),
            Field::Flow => vec![self.flow.as_str().into()],
            Field::Run => number(self.run).chain(one(self.run_name.as_ref())).collect(),
            Field::Step => one(self.step.as_ref()).collect(),
            Field::Task => number(self.task).chain(one(self.task_name.as_ref())).collect(),
            Field::Artifact => one(self.artifact.as_ref()).chain(borrowed(&self.artifacts) as Vec<_>).collect(),
            Field::User => one(self.user.as_ref()).collect(),
            Field::Tag => borrowed(&self.tags),
            Field::Metadata => self
                .metadata
                .iter()
                .flat_map(|entry| [entry.field.as_str().into(), entry.value.as_str().into()])
                .collect(),
            Field::Text => [
                Field::Flow,
                Field::Run,
                Field::Step,
                Field::Task,
                Field::Artifact,
                Field::User,
                Field::Tag,
                Field::Metadata,
            ]
            .into_iter()
            .flat_map(|field| self.texts(field))
            .collect(),
        }
    }
}

/// A text cut to so many bytes, between two characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_paths_and_never_too_long() {
        let mut document = Document::new(Kind::Artifact, "F".into(), 1, 0);
        (document.run, document.step, document.task) = (Some(2), Some("s".into()), Some(3));
        (document.artifact, document.attempt) = (Some("x".into()), Some(0));
        assert_eq!(document.id(), "artifact/F/2/s/3/x/0");
        document.artifact = Some("é".repeat(300));
        let long = document.id();
        assert!(long.len() <= ID_BYTES_MAX && long.starts_with("artifact/F/2/s/3/é"));
        document.attempt = Some(1);
        assert_ne!(document.id(), long, "ids that differ at the end are the same");
    }

    #[test]
    fn keys_are_spread_and_never_negative() {
        let keys: std::collections::HashSet<i64> = (0..1000).map(|n| Document::key(&n.to_string())).collect();
        assert!(keys.len() == 1000 && keys.iter().all(|key| *key >= 0));
    }
}
