//! Rank features: positive numbers up to 100, or nothing.

use serde_json::Value;

/// The highest value of a rank feature.
const MAX: f64 = 100.0;

/// Returns a popularity of 0 to 1 as a rank feature; nothing for 0 and below.
pub fn standardized_popularity(popularity: Option<f64>) -> Option<f64> {
    feature(popularity? * 100.0)
}

/// Returns the authority that the metadata names, or else that of the provider.
///
/// If the metadata names one that cannot be read, there is none.
pub fn authority_boost(meta: Option<&Value>, provider: Option<&str>) -> Option<f64> {
    match meta.and_then(|meta| meta.get("authority_boost")) {
        Some(Value::String(text)) => text.trim().parse().ok().and_then(feature),
        Some(value) => value.as_f64().and_then(feature),
        None => authority_of(provider?),
    }
}

/// Returns the higher of both features, of which an absent one counts as 1.
pub fn max_boost(popularity: Option<f64>, authority: Option<f64>) -> f64 {
    popularity.unwrap_or(1.0).max(authority.unwrap_or(1.0))
}

/// Returns the lower of both features, of which an absent one counts as 1.
pub fn min_boost(popularity: Option<f64>, authority: Option<f64>) -> f64 {
    popularity.unwrap_or(1.0).min(authority.unwrap_or(1.0))
}

/// Returns the rank of a document: a whole number from 0 to 100.
pub fn rank(value: f64) -> i64 {
    // A value that is no number is 0.
    value.clamp(0.0, MAX).round() as i64
}

fn feature(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then(|| value.min(MAX))
}

fn authority_of(provider: &str) -> Option<f64> {
    match provider {
        "flickr" | "behance" | "thingiverse" | "sketchfab" | "deviantart" => Some(75.0),
        "stocksnap" | "rawpixel" => Some(85.0),
        "thorvaldsensmuseum" | "svgsilh" | "smithsonian" | "rijksmuseum" | "museumsvictoria" | "met"
        | "mccordsmuseum" | "digitaltmuseum" | "clevelandmuseum" | "brooklynmuseum" => Some(90.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn popularity_becomes_a_positive_number_up_to_100() {
        for (popularity, expected) in [
            (Some(0.42), Some(42.0)),
            (Some(1.7), Some(100.0)),
            (Some(0.005), Some(0.5)),
            (Some(1.0), Some(100.0)),
            (Some(0.0), None),
            (Some(-0.3), None),
            (None, None),
        ] {
            assert_eq!(standardized_popularity(popularity), expected, "{popularity:?}");
        }
    }

    #[test]
    fn authority_is_that_of_the_metadata_or_else_of_the_provider() {
        for (meta, provider, expected) in [
            (json!({"authority_boost": "250"}), "met", Some(100.0)),
            (json!({"authority_boost": "high"}), "met", None),
            (json!({"authority_boost": null}), "met", None),
            (json!({"authority_boost": true}), "met", None),
            (json!({"authority_boost": "NaN"}), "met", None),
            (json!({"authority_boost": 0}), "met", None),
            (json!({"authority_boost": -5}), "met", None),
            (json!({"authority_boost": 12}), "met", Some(12.0)),
            (json!({"authority_boost": " 12.5 "}), "unknown", Some(12.5)),
            (json!({}), "met", Some(90.0)),
            (Value::Null, "flickr", Some(75.0)),
            (json!(["authority_boost"]), "rawpixel", Some(85.0)),
            (json!({}), "Flickr", None),
            (json!({}), "unknown", None),
        ] {
            assert_eq!(authority_boost(Some(&meta), Some(provider)), expected, "{meta} of {provider}");
        }
        assert_eq!(authority_boost(None, None), None);
    }

    #[test]
    fn every_listed_provider_has_its_authority() {
        for (authority, providers) in [
            (75.0, "flickr behance thingiverse sketchfab deviantart"),
            (85.0, "stocksnap rawpixel"),
            (90.0, "thorvaldsensmuseum svgsilh smithsonian rijksmuseum museumsvictoria"),
            (90.0, "met mccordsmuseum digitaltmuseum clevelandmuseum brooklynmuseum"),
        ] {
            for provider in providers.split(' ') {
                assert_eq!(authority_boost(None, Some(provider)), Some(authority), "{provider}");
            }
        }
    }

    #[test]
    fn a_rank_is_a_whole_number_within_its_bounds() {
        for (value, rank) in [(42.4, 42), (42.5, 43), (-1.0, 0), (1e300, 100), (f64::NAN, 0), (f64::INFINITY, 100)] {
            assert_eq!(super::rank(value), rank, "{value}");
        }
    }

    #[test]
    fn boosts_are_the_extremes_of_popularity_and_authority() {
        for (popularity, authority, max, min) in [
            (Some(42.0), Some(75.0), 75.0, 42.0),
            (None, None, 1.0, 1.0),
            (Some(0.5), None, 1.0, 0.5),
            (None, Some(90.0), 90.0, 1.0),
        ] {
            let found = (max_boost(popularity, authority), min_boost(popularity, authority));
            assert_eq!(found, (max, min), "{popularity:?} and {authority:?}");
        }
    }
}
