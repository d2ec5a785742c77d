//! Compiles the cleaning of a definition.

use regex::RegexBuilder;

use super::{
    Cleaner, Rule, RuleFault, RuleKind,
    tags::TagsRule,
    texts::{CaptureRule, SanitizeTextRule},
    urls::{Scheme, StripSlashRule, UrlSchemeRule, UrlValidRule},
};
use crate::definition::{
    clean::{self as defined, CleanDefinition, PATTERN_BYTES_MAX, RuleDefinition},
    identifier::Identifier,
    terms::Terms,
};

impl Cleaner {
    /// Compiles the rules of a definition that are enabled.
    pub fn of(definition: &CleanDefinition) -> Result<Self, RuleFault> {
        let enabled = definition.rules.iter().filter(|rule| rule.enabled);
        Self::new(enabled.map(rule).collect::<Result<_, _>>()?)
    }
}

fn rule(RuleDefinition { id, kind, .. }: &RuleDefinition) -> Result<Rule, RuleFault> {
    let terms = |terms: &Terms| match terms {
        Terms::Inline(terms) => Ok(terms.clone()),
        Terms::List(list) => Err(RuleFault::NoTermList { id: id.clone(), list: list.to_string() }),
    };
    let kind = match kind {
        defined::RuleKind::UrlScheme { fields, http_hosts, default } => RuleKind::UrlScheme(UrlSchemeRule {
            fields: names(fields),
            http_hosts: http_hosts.clone(),
            default: match default {
                defined::Scheme::Http => Scheme::Http,
                defined::Scheme::Https => Scheme::Https,
            },
        }),
        defined::RuleKind::Tags { field, min_accuracy, deny_exact, deny_part, drop_providers } => {
            RuleKind::Tags(TagsRule {
                field: field.to_string(),
                min_accuracy: *min_accuracy,
                deny_exact: terms(deny_exact)?,
                deny_part: terms(deny_part)?,
                drop_providers: drop_providers.clone(),
            })
        }
        defined::RuleKind::Capture { field, conditions, pattern } => {
            let pattern = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
            let pattern = pattern.map_err(|source| RuleFault::Pattern { id: id.clone(), source: Box::new(source) })?;
            let conditions = conditions.iter().map(|(field, value)| (field.to_string(), value.clone())).collect();
            RuleKind::Capture(CaptureRule { field: field.to_string(), conditions, pattern })
        }
        defined::RuleKind::UrlValid { fields } => RuleKind::UrlValid(UrlValidRule { fields: names(fields) }),
        defined::RuleKind::StripSlash { fields } => RuleKind::StripSlash(StripSlashRule { fields: names(fields) }),
        defined::RuleKind::SanitizeText { fields } => {
            RuleKind::SanitizeText(SanitizeTextRule { fields: names(fields) })
        }
    };
    Ok(Rule { id: id.clone(), kind })
}

fn names(fields: &[Identifier]) -> Vec<String> {
    fields.iter().map(ToString::to_string).collect()
}
