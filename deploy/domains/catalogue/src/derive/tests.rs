//! Records from upstream to document: cleaned, then derived.

use serde_json::json;

use super::*;
use crate::clean::{
    Cleaner, Rule, RuleKind,
    tags::TagsRule,
    urls::{Scheme, UrlSchemeRule},
};

fn cleaner() -> Cleaner {
    let texts = |items: &str| items.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let tags = TagsRule {
        field: "tags".to_owned(),
        min_accuracy: 0.90,
        deny_exact: vec!["no person".to_owned(), "squareformat".to_owned(), "by".to_owned()],
        deny_part: texts("flickriosapp uploaded : = cc0 by-nc by-nd by-sa by-nc-nd by-nc-sa pdm"),
        drop_providers: texts("rekognition"),
    };
    let urls = UrlSchemeRule {
        fields: texts("url creator_url foreign_landing_url"),
        http_hosts: texts("collections.musee-mccord.qc.ca"),
        default: Scheme::Https,
    };
    let rules = [("url", RuleKind::UrlScheme(urls)), ("tags", RuleKind::Tags(tags))];
    let rules = rules.into_iter().map(|(id, kind)| Rule { id: id.to_owned(), kind });
    Cleaner::new(rules.collect()).unwrap_or_else(|e| panic!("{e}"))
}

fn object(value: Value) -> Fields {
    let Value::Object(fields) = value else { panic!("{value} is not an object") };
    fields
}

/// Checks the upstream values that cleaning changes, and the document.
fn check(upstream: Value, flags: &[&str], changed: Value, document: Value) {
    let cleaner = cleaner();
    let mut fields = object(upstream);
    let name = fields.get("identifier").cloned().unwrap_or_default();
    let before = fields.clone();
    cleaner.clean("r-1", &mut fields, &mut cleaner.counts());
    let is_changed = |(name, value): &(&String, &Value)| fields.get(*name) != Some(*value);
    let upstream: Fields =
        before.iter().filter(is_changed).map(|(name, value)| (name.clone(), value.clone())).collect();
    assert_eq!(Value::Object(upstream.clone()), changed, "upstream values of {name}");
    let flags = flags.iter().map(|flag| ((*flag).to_owned(), true)).collect();
    let is_audio = fields.contains_key("duration");
    let derive = |fields: Fields| match is_audio {
        true => audio_document(fields, &flags),
        false => image_document(fields, &flags, Options::default()),
    };
    let derived = derive(fields.clone());
    assert_eq!(Value::Object(derived.clone()), document, "document of {name}");
    assert!(derived.values().all(|value| !value.is_null()), "{name} has null");
    let known = document_fields(if is_audio { Preset::OpenverseAudio } else { Preset::OpenverseImage });
    assert!(derived.keys().all(|field| known.contains(&field.as_str())), "{derived:?}");
    // Cleaning the upstream values of changed fields again gives the same row.
    let mut again = fields.clone();
    again.extend(upstream);
    cleaner.clean("r-1", &mut again, &mut cleaner.counts());
    assert_eq!(again, fields, "{name} cleaned a second time");
}

#[test]
fn a_photo_loses_denied_tags_and_gets_schemes() {
    let tags = json!([
        {"name": "harbour", "provider": "flickr"},
        {"name": "uploaded:by=flickrmobile", "provider": "flickr"},
        {"name": "ship", "accuracy": 0.71, "provider": "clarifai"},
        {"name": "boat", "accuracy": 0.98, "provider": "clarifai"}
    ]);
    check(
        json!({
            "identifier": "0f1c0a3e-7b1d-4a53-9d35-5b7c1f3a0001", "title": "Harbour at dawn", "creator": "Ann Tide",
            "url": "https://live.photos.example/1/a_b.jpg", "creator_url": "www.photos.example/people/ann",
            "foreign_landing_url": "www.photos.example/ann/1", "provider": "flickr", "source": "flickr",
            "license": "BY", "license_version": "2.0", "width": 1024, "height": 683, "category": null,
            "created_on": "2018-11-09T10:31:06.910129Z", "standardized_popularity": 0.42, "tags": tags.clone(),
            "meta_data": {"license_url": "https://cc.example/by/2.0/", "raw_license_url": null}
        }),
        &[],
        json!({
            "creator_url": "www.photos.example/people/ann", "foreign_landing_url": "www.photos.example/ann/1",
            "tags": tags
        }),
        json!({
            "identifier": "0f1c0a3e-7b1d-4a53-9d35-5b7c1f3a0001", "title": "Harbour at dawn", "creator": "Ann Tide",
            "url": "https://live.photos.example/1/a_b.jpg", "creator_url": "https://www.photos.example/people/ann",
            "foreign_landing_url": "https://www.photos.example/ann/1", "provider": "flickr", "source": "flickr",
            "license": "by", "license_version": "2.0", "license_url": "https://cc.example/by/2.0/",
            "created_on": "2018-11-09T10:31:06.910129Z", "size": "medium", "aspect_ratio": "wide",
            "extension": "jpg", "mature": false, "tags": [{"name": "harbour"}, {"name": "boat", "accuracy": 0.98}],
            "standardized_popularity": 42.0, "authority_boost": 75.0, "max_boost": 75.0, "min_boost": 42.0
        }),
    );
}

#[test]
fn a_museum_object_of_a_host_without_tls_gets_http() {
    check(
        json!({
            "identifier": "r-2", "title": "Dress, 1880", "url": "collections.musee-mccord.qc.ca/ObjView/1.JPG",
            "provider": "mccordsmuseum", "license": "by-nc-nd", "width": 600, "height": 900, "tags": null,
            "meta_data": {"description": "Silk"}
        }),
        &[],
        json!({"url": "collections.musee-mccord.qc.ca/ObjView/1.JPG"}),
        json!({
            "identifier": "r-2", "title": "Dress, 1880", "url": "http://collections.musee-mccord.qc.ca/ObjView/1.JPG",
            "provider": "mccordsmuseum", "license": "by-nc-nd", "size": "medium", "aspect_ratio": "tall",
            "extension": "jpg", "description": "Silk", "mature": false, "authority_boost": 90.0,
            "max_boost": 90.0, "min_boost": 1.0
        }),
    );
}

#[test]
fn a_record_of_which_all_tags_are_dropped_has_an_empty_list() {
    let tags = json!([{"name": "no person", "accuracy": 0.99}, {"name": "sky", "accuracy": 0.5}]);
    check(
        json!({
            "identifier": "r-3", "url": "https://a.example/hello", "tags": tags.clone(), "width": 300, "height": 300
        }),
        &[],
        json!({"tags": tags}),
        json!({
            "identifier": "r-3", "url": "https://a.example/hello", "tags": [], "size": "small",
            "aspect_ratio": "square", "mature": false, "max_boost": 1.0, "min_boost": 1.0
        }),
    );
}

#[test]
fn a_clean_record_is_left_as_it_is() {
    check(
        json!({
            "identifier": "r-4", "url": "https://a.example/b.png?w=20", "foreign_landing_url": "http://a.example/b",
            "tags": [{"name": "sea", "provider": "x"}], "filetype": "png", "width": null, "height": 20
        }),
        &[],
        json!({}),
        json!({
            "identifier": "r-4", "url": "https://a.example/b.png?w=20", "foreign_landing_url": "http://a.example/b",
            "tags": [{"name": "sea"}], "filetype": "png", "extension": "png?w=20", "mature": false,
            "max_boost": 1.0, "min_boost": 1.0
        }),
    );
}

#[test]
fn a_flag_makes_a_record_mature_whatever_the_metadata_says() {
    check(
        json!({"identifier": "r-5", "meta_data": {"mature": false, "authority_boost": "250"}, "provider": "met"}),
        &["mature"],
        json!({}),
        json!({
            "identifier": "r-5", "provider": "met", "mature": true, "authority_boost": 100.0, "max_boost": 100.0,
            "min_boost": 1.0
        }),
    );
}

#[test]
fn an_apostrophe_in_a_url_is_a_character_like_any_other() {
    check(
        json!({"identifier": "r-6", "url": "//a.example/o'brien's.jpeg", "meta_data": {"mature": "no"}}),
        &["reviewed"],
        json!({"url": "//a.example/o'brien's.jpeg"}),
        json!({
            "identifier": "r-6", "url": "https://a.example/o'brien's.jpeg", "extension": "jpeg", "mature": false,
            "max_boost": 1.0, "min_boost": 1.0
        }),
    );
}

#[test]
fn tags_that_cannot_be_read_are_dropped_and_the_record_goes_on() {
    let tags = json!(["plain", {"name": "pier", "accuracy": "high"}, {"name": "Pier", "accuracy": "0.97"}, 7]);
    check(
        json!({"identifier": "r-7", "title": "Pier", "tags": tags.clone(), "standardized_popularity": -0.1}),
        &[],
        json!({"tags": tags}),
        json!({
            "identifier": "r-7", "title": "Pier", "tags": [{"name": "Pier", "accuracy": "0.97"}], "mature": false,
            "max_boost": 1.0, "min_boost": 1.0
        }),
    );
}

#[test]
fn a_record_of_nulls_has_what_is_always_there_only() {
    check(
        json!({
            "identifier": "r-8", "title": null, "creator": null, "url": null, "creator_url": "", "tags": {},
            "license": null, "meta_data": null, "standardized_popularity": 0.0, "created_on": null
        }),
        &[],
        json!({}),
        json!({"identifier": "r-8", "creator_url": "", "mature": false, "max_boost": 1.0, "min_boost": 1.0}),
    );
}

#[test]
fn audio_with_several_files_lists_their_types() {
    let files = json!([{"filetype": "mp3", "url": "https://s.example/a.mp3"}, {"filetype": "ogg"}]);
    check(
        json!({
            "identifier": "r-9", "title": "Tide bell", "url": "s.example:8080/a.mp3", "duration": 29_999,
            "filetype": "mp3", "alt_files": files, "category": "sound_effect", "license": "CC0",
            "provider": "freesound", "standardized_popularity": 1.7, "tags": [{"name": "CC0"}, {"name": "bell"}]
        }),
        &[],
        json!({"url": "s.example:8080/a.mp3", "tags": [{"name": "CC0"}, {"name": "bell"}]}),
        json!({
            "identifier": "r-9", "title": "Tide bell", "url": "https://s.example:8080/a.mp3", "length": "shortest",
            "filetype": "mp3", "extension": ["mp3", "ogg"], "category": "sound_effect", "license": "cc0",
            "provider": "freesound", "standardized_popularity": 100.0, "tags": [{"name": "bell"}],
            "mature": false, "max_boost": 100.0, "min_boost": 1.0
        }),
    );
}

#[test]
fn audio_of_unknown_duration_has_no_length() {
    check(
        json!({
            "identifier": "r-10", "url": "http://s.example/b", "duration": 0, "filetype": "flac",
            "standardized_popularity": 0.005, "meta_data": {"description": ["a", "b"]}
        }),
        &[],
        json!({}),
        json!({
            "identifier": "r-10", "url": "http://s.example/b", "filetype": "flac", "extension": "flac",
            "standardized_popularity": 0.5, "mature": false, "max_boost": 1.0, "min_boost": 0.5
        }),
    );
}
