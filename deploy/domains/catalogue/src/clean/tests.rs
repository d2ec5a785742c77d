//! Rules applied to records: what is left, and what is counted.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::json;

use super::*;
use crate::clean::urls::Scheme;

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn tags_rule() -> TagsRule {
    TagsRule {
        field: "tags".to_owned(),
        min_accuracy: 0.90,
        deny_exact: texts(&[
            "no person",
            "squareformat",
            "uploaded:by=flickrmobile",
            "uploaded:by=instagram",
            "flickriosapp:filter=flamingo",
            "by",
        ]),
        deny_part: texts(&[
            "flickriosapp",
            "uploaded",
            ":",
            "=",
            "cc0",
            "by-nc",
            "by-nd",
            "by-sa",
            "by-nc-nd",
            "by-nc-sa",
            "pdm",
        ]),
        drop_providers: texts(&["rekognition"]),
    }
}

fn cleaner(rules: Vec<(&str, RuleKind)>) -> Cleaner {
    let rules = rules.into_iter().map(|(id, kind)| Rule { id: id.to_owned(), kind });
    Cleaner::new(rules.collect()).unwrap_or_else(|e| panic!("{e}"))
}

fn object(value: Value) -> Fields {
    let Value::Object(fields) = value else { panic!("{value} is not an object") };
    fields
}

/// Cleans `tags` and returns them with what was counted.
fn clean_tags(tags: &Value) -> (Value, Value) {
    let cleaner = cleaner(vec![("tags", RuleKind::Tags(tags_rule()))]);
    let mut counts = cleaner.counts();
    let mut fields = object(json!({"tags": tags, "title": "x"}));
    cleaner.clean("r-1", &mut fields, &mut counts);
    let counts = serde_json::to_value(&counts).unwrap_or_else(|e| panic!("{e}"));
    (fields.remove("tags").unwrap_or_default(), counts[0].clone())
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

#[test]
fn tags_are_dropped_for_the_first_reason_that_holds() {
    let five = json!([
        {"name": "Harbour"}, {"name": "BY-NC-sa"}, {"name": "boat", "accuracy": 0.9},
        {"name": "ship", "accuracy": "0.8999"}, {"name": "mast", "accuracy": 0.999, "provider": "rekognition"}
    ]);
    let malformed = json!([
        {"name": null}, {"title": "x"}, "plain", {"name": "ok", "accuracy": null}, {"name": "ok2", "accuracy": "high"},
        {"name": ""}, {"name": "keep", "accuracy": "0.97", "extra": 1}
    ]);
    for (tags, expected, dropped, emptied) in [
        (
            five,
            json!([{"name": "Harbour"}, {"name": "boat", "accuracy": 0.9}]),
            json!({"deny-part": 1, "accuracy": 1, "provider": 1}),
            0,
        ),
        (
            named(&["by", "baby", " by", "No Person", " no person", "standby-sail"]),
            named(&["baby", " by", " no person"]),
            json!({"deny-exact": 2, "deny-part": 1}),
            0,
        ),
        (
            named(&["cc01", "12:30", "a=b", "Uploaded from phone", "pdmx", "cc-0"]),
            named(&["cc-0"]),
            json!({"deny-part": 5}),
            0,
        ),
        (
            malformed,
            json!([{"name": ""}, {"name": "keep", "accuracy": "0.97", "extra": 1}]),
            json!({"malformed": 5}),
            0,
        ),
        (json!([{"name": "junk", "accuracy": 0.1}]), json!([]), json!({"accuracy": 1}), 1),
        (named(&["sea", "sea", "BY", "sea"]), named(&["sea", "sea", "sea"]), json!({"deny-exact": 1}), 0),
        (json!([{"name": "a", "accuracy": "NaN"}, {"name": "b"}]), named(&["b"]), json!({"malformed": 1}), 0),
        (json!([{"name": "a", "accuracy": true}, {"name": "b"}]), named(&["b"]), json!({"malformed": 1}), 0),
        (json!([{"name": "by", "accuracy": 0.1}, {"name": "b"}]), named(&["b"]), json!({"accuracy": 1}), 0),
        (json!("harbour, boat"), json!([]), json!({"malformed": 1}), 1),
        (json!({"name": "harbour"}), json!([]), json!({"malformed": 1}), 1),
        (json!(7), json!([]), json!({"malformed": 1}), 1),
    ] {
        let (left, counts) = clean_tags(&tags);
        assert_eq!(left, expected, "{tags}");
        let expected = json!({"id": "tags", "records": 1, "dropped": dropped, "emptied": emptied, "sample": ["r-1"]});
        assert_eq!(counts, expected, "{tags}");
    }
}

#[test]
fn tags_without_a_reason_to_drop_them_change_nothing() {
    let providers = json!([{"name": "sea", "provider": "Rekognition"}, {"name": "boat", "provider": "flickr"}]);
    let accuracies = json!([{"name": "a", "accuracy": 0.90}, {"name": "b", "accuracy": "1e0"}, {"name": "c"}]);
    for tags in [Value::Null, json!({}), json!([]), providers, accuracies, named(&["Ärger", "ΝΑΥΣ", "東京"])] {
        let (left, counts) = clean_tags(&tags);
        assert_eq!(left, tags);
        assert_eq!(counts, json!({"id": "tags", "records": 0, "dropped": {}, "emptied": 0, "sample": []}), "{tags}");
    }
    let cleaner = cleaner(vec![("tags", RuleKind::Tags(tags_rule()))]);
    let mut fields = object(json!({"title": "no tags"}));
    cleaner.clean("r-1", &mut fields, &mut RuleCounts::default());
    assert_eq!(fields, object(json!({"title": "no tags"})));
}

#[test]
fn names_are_denied_in_every_case_and_canonical_form() {
    let rule = TagsRule {
        field: "tags".to_owned(),
        min_accuracy: 0.0,
        deny_exact: texts(&["café", "İzmir", "Pie\u{301}"]),
        deny_part: texts(&["straße", "noël", "="]),
        drop_providers: Vec::new(),
    };
    let cleaner = cleaner(vec![("tags", RuleKind::Tags(rule))]);
    let kept = ["cafe", "xcafé", "strase", "noel 1", "a\u{338}b", "a≠b", "a=\u{338}b"];
    let dropped = [
        "Café",
        "CAFE\u{301}",
        "ca\u{ad}fé",
        "izmir",
        "I\u{307}ZMIR",
        "PIÉ",
        "xSTRASSEx",
        "Noe\u{308}l 1",
        "\u{200e}NOËL",
        "a=b",
    ];
    let mut fields = object(json!({"tags": named(&[&dropped[..], &kept[..]].concat())}));
    let mut counts = cleaner.counts();
    cleaner.clean("r-1", &mut fields, &mut counts);
    assert_eq!(fields["tags"], named(&kept));
    let counts = serde_json::to_value(&counts).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(counts[0]["dropped"], json!({"deny-exact": 6, "deny-part": 4}));
}

#[test]
fn a_list_without_terms_denies_nothing() {
    let rule = TagsRule {
        field: "tags".to_owned(),
        min_accuracy: 0.0,
        deny_exact: Vec::new(),
        deny_part: vec![String::new()],
        drop_providers: Vec::new(),
    };
    let cleaner = cleaner(vec![("tags", RuleKind::Tags(rule))]);
    let given = object(json!({"tags": [{"name": ""}, {"name": "by", "accuracy": 0}]}));
    let mut fields = given.clone();
    cleaner.clean("r-1", &mut fields, &mut cleaner.counts());
    assert_eq!(fields, given);
}

fn all_rules() -> Cleaner {
    let fields = texts(&["url", "creator_url"]);
    let pattern = Regex::new(r"^File:?(.*?)(?:\.jpg)?$").unwrap_or_else(|e| panic!("{e}"));
    cleaner(vec![
        ("text", RuleKind::SanitizeText(SanitizeTextRule { fields: texts(&["title", "creator"]) })),
        ("title", RuleKind::Capture(CaptureRule { field: "title".to_owned(), conditions: BTreeMap::new(), pattern })),
        (
            "url",
            RuleKind::UrlScheme(UrlSchemeRule {
                fields: fields.clone(),
                http_hosts: Vec::new(),
                default: Scheme::Https,
            }),
        ),
        ("slash", RuleKind::StripSlash(StripSlashRule { fields: fields.clone() })),
        ("valid", RuleKind::UrlValid(UrlValidRule { fields })),
    ])
}

#[test]
fn rules_build_on_one_another() {
    let cleaner = all_rules();
    let mut counts = cleaner.counts();
    let upstream = json!({"title": "File:Old  pier.jpg", "url": "tide.example/a/", "creator_url": "nobody/"});
    let mut fields = object(upstream);
    fields.insert("creator".to_owned(), json!("Ann"));
    fields.insert("width".to_owned(), json!(3));
    cleaner.clean("r-1", &mut fields, &mut counts);
    let expected = json!({
        "title": "Old pier", "url": "https://tide.example/a", "creator_url": null, "creator": "Ann", "width": 3
    });
    assert_eq!(Value::Object(fields.clone()), expected);
    cleaner.clean("r-1", &mut fields, &mut counts);
    assert_eq!(Value::Object(fields), expected, "cleaned a second time");
    let counts = serde_json::to_value(&counts).unwrap_or_else(|e| panic!("{e}"));
    let sample = ["r-1"];
    let expected = json!([
        {"id": "text", "records": 1, "sample": sample},
        {"id": "title", "records": 1, "sample": sample},
        {"id": "url", "records": {"url": 1, "creator_url": 1}, "sample": sample},
        {"id": "slash", "records": 1, "sample": sample},
        {"id": "valid", "records": 1, "emptied": 1, "sample": sample},
    ]);
    assert_eq!(counts, expected);
}

#[test]
fn what_is_no_text_and_what_is_absent_is_left_alone() {
    let cleaner = all_rules();
    for fields in [json!({}), json!({"title": null, "url": null}), json!({"title": 7, "url": ["a"]})] {
        let mut cleaned = object(fields.clone());
        cleaner.clean("r-1", &mut cleaned, &mut cleaner.counts());
        assert_eq!(Value::Object(cleaned), fields);
    }
}

#[test]
fn counts_that_hold_no_rules_yet_are_completed() {
    let cleaner = all_rules();
    let (mut empty, mut full) = (RuleCounts::default(), cleaner.counts());
    for counts in [&mut empty, &mut full] {
        let mut fields = object(json!({"creator_url": "tide.example/a"}));
        cleaner.clean("r-1", &mut fields, counts);
    }
    assert_eq!(empty.rules().len(), 1);
    assert_eq!(empty.get("url"), full.get("url"));
}

#[test]
fn faulty_rules_are_refused() {
    let sanitize = || RuleKind::SanitizeText(SanitizeTextRule { fields: Vec::new() });
    let pattern = Regex::new("^File:").unwrap_or_else(|e| panic!("{e}"));
    let capture = RuleKind::Capture(CaptureRule { field: "title".to_owned(), conditions: BTreeMap::new(), pattern });
    let accuracy = RuleKind::Tags(TagsRule { min_accuracy: f64::NAN, ..tags_rule() });
    for (kinds, expected) in [
        (vec![sanitize(), sanitize()], "rule r is defined twice"),
        (vec![capture], "the pattern of rule r has no group"),
        (vec![accuracy], "min_accuracy of rule r is not a finite number"),
    ] {
        let rules = kinds.into_iter().map(|kind| Rule { id: "r".to_owned(), kind }).collect();
        assert_eq!(Cleaner::new(rules).err().map(|fault| fault.to_string()).as_deref(), Some(expected));
    }
}
