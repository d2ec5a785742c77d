//! Definitions as a whole.

mod parts;

use serde_json::{Value, json};

use super::*;
use super::{clean::RuleKind, terms::Terms};
use crate::values::FieldType;

/// The definition of a collection of images, with everything in it.
const IMAGE: &str = r#"
collection = "image"
key = "identifier"
preset = "openverse-image"
[fields]
identifier = { type = "uuid", required = true }
source = { type = "text", max_length = 80, on_long = "reject" }
url = { type = "text", max_length = 1000, on_long = "reject", unique = "report" }
creator_url = "text"
foreign_landing_url = "text"
title = { type = "text", max_length = 5000, on_long = "truncate" }
tags = { type = "json", merge = "replace" }
audio_set = "json"
view_count = { type = "int", owner = "api", default = 0 }
removed_from_source = { type = "bool", default = false }
updated_on = { type = "timestamp", volatile = true, default = 2018-11-09T10:31:06+01:00 }
[upstream.postgres]
url_env = "CATALOG_URL"
table = "image"
cursor = ["updated_on", "identifier"]
overlap = "15m"
columns = { landing = "foreign_landing_url" }
deleted_table = { name = "deleted_image", key = "identifier", cursor = "deleted_on" }
removed_flag = "removed_from_source"
reconcile = "keys"
partitions = 8
rows_per_second = 0
statement_timeout = "10m"
[[tables]]
name = "audioset"
from = "audio_set"
key = ["provider", "set_url"]
[clean]
rules = [
  { id = "url", kind = "url-scheme", http_hosts = ["tide.example"] },
  { id = "tags", kind = "tags", min_accuracy = 0.90, deny_exact = "tags-exact@3", deny_part = "tags-part@2" },
  { id = "wiki-title", kind = "capture", field = "title", where = { source = "wikimedia" }, pattern = '^File:?(.*)$' },
]
[filtered]
kind = "alias"
terms = "sensitive@latest"
also_exclude = ["mature"]
[index]
replicas = 2
refresh_interval = "5s"
[verify]
min_documents = 1
max_drop = "2 %"
max_growth = "250 %"
[[canary]]
index = "filtered"
query = "harbour boat"
expect = { min_hits = 10, top_contains = "r-000017" }
[refresh]
schedule = "0 0 * * 1"
promote = "auto"
deadline = { total = "5d" }
"#;

const TINY: &str = "collection = \"c\"\nkey = \"id\"\n[fields]\nid = \"text\"\nset = \"json\"\n";

fn parsed(text: &str) -> Definition {
    Definition::parse(text).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// The paths and codes of the faults of a text.
fn faults(text: &str) -> Vec<(String, &'static str)> {
    let faults = Definition::parse(text).err().unwrap_or_default();
    faults.into_iter().map(|fault| (fault.field, fault.code)).collect()
}

#[test]
fn a_tiny_definition_has_defaults_for_everything_else() {
    let definition = parsed(TINY);
    assert_eq!(definition.field("set").map(|field| field.kind), Some(FieldType::Json));
    assert_eq!((definition.index.shards, definition.index.replicas), (1, None));
    assert_eq!(definition.clean, CleanDefinition::default());
    assert_eq!(definition.refresh.schedule, "none");
    assert_eq!(definition.filtered.terms, None);
    assert_eq!(definition.verify.max_drop.to_string(), "2 %");
}

#[test]
fn a_preset_lies_under_what_is_given() {
    let definition = parsed(IMAGE);
    let ids: Vec<_> = definition.clean.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["url", "tags", "wiki-title"]);
    let RuleKind::UrlScheme { fields, http_hosts, .. } = &definition.clean.rules[0].kind else { panic!("no URL rule") };
    assert_eq!((fields.len(), http_hosts.as_slice()), (3, ["tide.example".to_owned()].as_slice()));
    let RuleKind::Tags { deny_exact, drop_providers, .. } = &definition.clean.rules[1].kind else { panic!("no tags") };
    assert!(matches!(deny_exact, Terms::List(list) if list.to_string() == "tags-exact@3"));
    assert_eq!(drop_providers.as_slice(), ["rekognition".to_owned()]);
    assert_eq!(definition.clean.exclude[0].id, "gone");
    assert_eq!((definition.index.shards, definition.index.replicas), (1, Some(2)));
    assert_eq!(definition.refresh.deadline.import.to_string(), "12h");
    let updated = definition.field("updated_on").and_then(|field| field.default.clone());
    assert_eq!(updated, Some(json!("2018-11-09T09:31:06.000000Z")));
}

#[test]
fn a_preset_applies_only_to_declared_fields() {
    let definition =
        parsed("collection = 'c'\nkey = 'id'\npreset = 'openverse-image'\nfields = { id = 'text', url = 'text' }");
    let fields: Vec<_> = definition.clean.rules.iter().flat_map(|rule| rule.kind.fields()).collect();
    assert_eq!(fields.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["url"]);
    assert_eq!(definition.clean.exclude, []);
    let audio = parsed(
        &IMAGE.replace("openverse-image", "openverse-audio").replace("url\", kind", "u\", fields = ['url'], kind"),
    );
    let ids: Vec<_> = audio.clean.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["tags", "u", "wiki-title"]);
}

#[test]
fn reading_the_canonical_json_gives_an_equal_definition() {
    for text in [IMAGE, TINY] {
        let definition = parsed(text);
        let canonical = definition.canonical_json();
        let value: Value = serde_json::from_str(&canonical).unwrap_or_else(|e| panic!("{e}"));
        let again = Definition::parse_json(&value).unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert_eq!(again, definition);
        assert_eq!((again.canonical_json(), again.hash()), (canonical, definition.hash()));
        assert_eq!(definition.hash().len(), 64);
    }
    let canonical = r#"{"collection":"c","fields":{"id":{"type":"text"},"set":{"type":"json"}},"key":"id"}"#;
    assert_eq!(parsed(TINY).canonical_json(), canonical);
}

#[test]
fn every_mistake_is_named_in_one_call() {
    let text = r#"
        collection = "Image"
        preset = "openverse-imag"
        kee = "id"
        [fields]
        id = { type = "texts" }
        url = { type = "text", max_lenght = 5 }
        revision = "int"
        daybook_x = "int"
        "a b" = "text"
        title = { type = "json", max_length = 5, merge = "newest" }
        [refresh]
        keep = "7 days"
        schedule = "* *"
        [verify]
        max_drop = "150 %"
        max_growth = 2
    "#;
    let mut found = faults(text);
    found.sort_unstable();
    let mut expected = [
        ("", "x"),
        ("collection", "invalid-name"),
        ("preset", "unknown-value"),
        ("kee", "unknown-key"),
        ("key", "missing"),
        ("fields.id.type", "unknown-value"),
        ("fields.url.max_lenght", "unknown-key"),
        ("fields.revision", "reserved-name"),
        ("fields.daybook_x", "reserved-name"),
        ("fields.a b", "invalid-name"),
        ("fields.title.max_length", "conflict"),
        ("fields.title.merge", "unknown-value"),
        ("refresh.keep", "not-a-duration"),
        ("refresh.schedule", "not-a-schedule"),
        ("verify.max_drop", "out-of-range"),
        ("verify.max_growth", "wrong-type"),
    ]
    .map(|(field, code)| (field.to_owned(), code));
    expected.sort_unstable();
    assert_eq!(found, expected[1..]);
}

#[test]
fn unknown_names_are_faults_that_name_the_nearest_one() {
    let detail = |text: &str| {
        let faults = Definition::parse(text).err().unwrap_or_default();
        faults.first().map(|fault| fault.detail.clone()).unwrap_or_default()
    };
    for (text, expected) in [
        (
            "fields = { id = { type = 'text', max_lenght = 5 } }",
            "unknown key fields.id.max_lenght; the nearest is max_length",
        ),
        ("fields = { id = 'text', n = 'inn' }", "the nearest is int"),
        ("preset = 'openverse-imag'\nfields = { id = 'text' }", "the nearest is openverse-image"),
        (
            "fields = { id = 'text' }\n[clean]\nrules = [{ id = 'u', kind = 'url-valid', fields = ['idd'] }]",
            "idd is not a declared field; the nearest is id",
        ),
        (
            "fields = { id = 'text' }\n[upstream.postgres]\nurl = 'x'",
            "unknown key upstream.postgres.url; the nearest is url_env",
        ),
    ] {
        let found = detail(&format!("collection = 'c'\nkey = 'id'\n{text}"));
        assert!(found.ends_with(expected), "{found} / {expected}");
    }
}

#[test]
fn an_error_of_syntax_names_its_line_and_shows_no_value() {
    let Err(faults) = Definition::parse("collection = \"c\"\nkey = \"hidden\" x") else { panic!("this is no TOML") };
    assert_eq!((faults.len(), faults[0].code, faults[0].line), (1, "syntax", Some(2)));
    assert!(!faults[0].detail.contains("hidden"), "{faults:?}");
}

#[test]
fn a_large_definition_full_of_mistakes_has_a_bounded_answer() {
    let many: String = (0..5000).map(|n| format!("field_{n} = {{ typ = 'int', max_lenght = 3 }}\n")).collect();
    let found = faults(&format!("collection = 'c'\nkey = 'field_0'\n[fields]\n{many}"));
    assert_eq!(found, [("fields".to_owned(), "too-many")], "fields are read beyond the bound");
    let many: String = (0..5000).map(|n| format!("unknown_{n} = 1\n")).collect();
    let found = Definition::parse(&format!("{many}{TINY}")).err().unwrap_or_default();
    assert!(found.len() <= 500, "{} faults", found.len());
    let nearest = found.iter().filter(|fault| fault.detail.contains("the nearest is")).count();
    assert!((1..=50).contains(&nearest), "{nearest} faults name the nearest");
}

#[test]
fn sizes_are_bounded() {
    let many: String = (0..fields::FIELDS_MAX + 1).map(|n| format!("f{n} = 'int'\n")).collect();
    assert_eq!(faults(&format!("collection = 'c'\nkey = 'f0'\n[fields]\n{many}")), [("fields".to_owned(), "too-many")]);
    let long = format!("{TINY}# {}", "x".repeat(TEXT_BYTES_MAX));
    assert_eq!(faults(&long), [(String::new(), "too-large")]);
    let json = json!({"collection": "x".repeat(TEXT_BYTES_MAX)});
    assert_eq!(Definition::parse_json(&json).err().map(|faults| faults[0].code), Some("too-large"));
    assert_eq!(
        faults(&format!("{TINY}n = {{ type = 'text', default = \"\\u0000\" }}")),
        [(String::new(), "nul-character"), ("fields.n.default".to_owned(), "invalid-default"),]
    );
    assert_eq!(Definition::parse_json(&json!([])).err().map(|faults| faults[0].code), Some("wrong-type"));
}

#[test]
fn each_value_has_its_origin() {
    let effective = parsed(IMAGE).effective();
    for (pointer, value, origin) in [
        ("/collection", json!("image"), "given"),
        ("/fields/url/max_length", json!(1000), "given"),
        ("/fields/url/required", json!(false), "default"),
        ("/fields/title/on_long", json!("truncate"), "given"),
        ("/index/language", json!("english"), "preset"),
        ("/index/replicas", json!(2), "given"),
        ("/refresh/deadline/total", json!("5d"), "given"),
        ("/refresh/deadline/import", json!("12h"), "preset"),
        ("/refresh/deadline/ready", json!("1d"), "default"),
        ("/clean/rules/0/http_hosts", json!(["tide.example"]), "given"),
        ("/clean/rules/0/default", json!("https"), "preset"),
        ("/clean/rules/2/pattern", json!("^File:?(.*)$"), "given"),
        ("/clean/rules/2/enabled", json!(true), "default"),
        ("/clean/exclude/0/when/removed_from_source", json!(true), "preset"),
        ("/verify/max_growth", json!("250 %"), "given"),
        ("/verify/max_drop_per_source", json!("10 %"), "default"),
    ] {
        let expected = json!({"value": value, "origin": origin});
        assert_eq!(effective.pointer(pointer), Some(&expected), "{pointer}");
    }
}
