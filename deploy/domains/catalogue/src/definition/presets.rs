//! Presets: cleaning, exclusions and indexes of the Openverse collections. What a definition says lies over them.
//!
//! A preset applies to the fields that a definition declares; its rules for other fields do not apply.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    clean::{ACCURACY_MIN, CleanDefinition, Exclusion, RuleDefinition, RuleKind, Scheme},
    fields::Declared,
    identifier::{Identifier, NotAnIdentifier},
    terms::Terms,
};

/// Tags that are dropped if their lower-cased name is one of these.
pub const TAGS_DENY_EXACT: [&str; 6] = [
    "no person",
    "squareformat",
    "uploaded:by=flickrmobile",
    "uploaded:by=instagram",
    "flickriosapp:filter=flamingo",
    "by",
];
/// Tags that are dropped if their lower-cased name contains one of these.
pub const TAGS_DENY_PART: [&str; 11] =
    ["flickriosapp", "uploaded", ":", "=", "cc0", "by-nc", "by-nd", "by-sa", "by-nc-nd", "by-nc-sa", "pdm"];
/// Providers whose tags are dropped.
pub const TAGS_DROP_PROVIDERS: [&str; 1] = ["rekognition"];
/// Hosts that answer only to `http`.
pub const HTTP_HOSTS: [&str; 1] = ["collections.musee-mccord.qc.ca"];
/// Fields that hold URLs.
pub const URL_FIELDS: [&str; 3] = ["url", "creator_url", "foreign_landing_url"];
/// Fields of a document in which sensitive terms are looked for.
pub const SENSITIVE_FIELDS: [&str; 3] = ["title", "description", "tags.name"];

/// A preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Images.
    OpenverseImage,
    /// Sound recordings.
    OpenverseAudio,
    /// Images, with an analysis that folds case before it looks for stems.
    #[serde(rename = "openverse-image-2")]
    OpenverseImage2,
}

impl Preset {
    /// Every preset by name.
    pub const ALL: [(&str, Self); 3] = [
        ("openverse-image", Self::OpenverseImage),
        ("openverse-audio", Self::OpenverseAudio),
        ("openverse-image-2", Self::OpenverseImage2),
    ];

    /// The cleaning of the preset.
    pub fn clean(self) -> Result<CleanDefinition, NotAnIdentifier> {
        let tags = rule("tags", tags()?);
        let rules = match self {
            Self::OpenverseImage | Self::OpenverseImage2 => vec![rule("url", url_scheme()?), tags],
            Self::OpenverseAudio => vec![tags],
        };
        let removed = Identifier::parse("removed_from_source")?;
        let when = BTreeMap::from([(removed, Value::Bool(true))]);
        Ok(CleanDefinition { rules, exclude: vec![Exclusion { id: "gone".to_owned(), enabled: true, when }] })
    }

    /// The preset as a definition without fields, for the fields that are declared.
    pub(super) fn tree(self, declared: &Declared<'_>) -> Result<Value, PresetFault> {
        let mut clean = self.clean()?;
        clean.rules.retain_mut(|rule| {
            if let RuleKind::UrlScheme { fields, .. } = &mut rule.kind {
                fields.retain(|name| declared.contains(name.as_str()));
            }
            let fields = rule.kind.fields();
            !fields.is_empty() && fields.iter().all(|name| declared.contains(name.as_str()))
        });
        clean.exclude.retain(|exclusion| exclusion.when.keys().all(|name| declared.contains(name.as_str())));
        let clean = serde_json::to_value(clean)?;
        let index = json!({"language": "english"});
        let filtered = json!({"fields": SENSITIVE_FIELDS});
        Ok(match self {
            Self::OpenverseAudio => json!({"clean": clean, "filtered": filtered, "index": index}),
            Self::OpenverseImage | Self::OpenverseImage2 => {
                let refresh = json!({"deadline": {"total": "4d", "import": "12h"}});
                json!({"clean": clean, "filtered": filtered, "index": index, "refresh": refresh})
            }
        })
    }
}

/// A preset that cannot be laid under a definition.
#[derive(Debug, thiserror::Error)]
pub(super) enum PresetFault {
    #[error("the preset holds a name that is none")]
    Name(#[from] NotAnIdentifier),
    #[error("the preset has no JSON")]
    Json(#[from] serde_json::Error),
}

fn rule(id: &str, kind: RuleKind) -> RuleDefinition {
    RuleDefinition { id: id.to_owned(), enabled: true, kind }
}

fn url_scheme() -> Result<RuleKind, NotAnIdentifier> {
    let fields = URL_FIELDS.iter().map(|name| Identifier::parse(name)).collect::<Result<_, _>>()?;
    Ok(RuleKind::UrlScheme { fields, http_hosts: owned(&HTTP_HOSTS), default: Scheme::Https })
}

fn tags() -> Result<RuleKind, NotAnIdentifier> {
    Ok(RuleKind::Tags {
        field: Identifier::parse("tags")?,
        min_accuracy: ACCURACY_MIN,
        deny_exact: Terms::Inline(owned(&TAGS_DENY_EXACT)),
        deny_part: Terms::Inline(owned(&TAGS_DENY_PART)),
        drop_providers: owned(&TAGS_DROP_PROVIDERS),
    })
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
