//! Documents: what the indexes hold of a cleaned record.
//!
//! A document is a function of the record's fields, its flags and the options. A value that is absent or null is left
//! out, never 0 or null.

pub mod boost;
pub mod media;
pub mod text;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Fields, definition::presets::Preset};

/// Fields that a document takes as they are.
const UNCHANGED: [&str; 12] = [
    "identifier",
    "title",
    "creator",
    "creator_url",
    "category",
    "provider",
    "source",
    "created_on",
    "url",
    "foreign_landing_url",
    "license_version",
    "filetype",
];

/// Fields that follow from others, in documents of images and of audio records.
const DERIVED: [&str; 9] = [
    "license",
    "license_url",
    "description",
    "tags",
    "mature",
    "standardized_popularity",
    "authority_boost",
    "max_boost",
    "min_boost",
];
const DERIVED_OF_IMAGES: [&str; 3] = ["size", "aspect_ratio", "extension"];
const DERIVED_OF_AUDIO: [&str; 2] = ["length", "extension"];

/// The fields that documents of a preset may have.
pub fn document_fields(preset: Preset) -> Vec<&'static str> {
    let of_preset = match preset {
        Preset::OpenverseAudio => &DERIVED_OF_AUDIO[..],
        Preset::OpenverseImage | Preset::OpenverseImage2 => &DERIVED_OF_IMAGES[..],
    };
    [&UNCHANGED[..], &DERIVED[..], of_preset].concat()
}

/// What a collection can choose about its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether the extension of an image ends before the query of its URL.
    pub strip_query: bool,
}

/// Returns the document of an image.
pub fn image_document(fields: Fields, flags: &BTreeMap<String, bool>, options: Options) -> Fields {
    let (width, height) = (integer(&fields, "width"), integer(&fields, "height"));
    let url = text(&fields, "url");
    let extension = url.and_then(|url| media::image_extension(url, options.strip_query));
    let mut document = document(fields, flags);
    insert(&mut document, "size", media::size(width, height));
    insert(&mut document, "aspect_ratio", media::aspect_ratio(width, height));
    insert(&mut document, "extension", extension);
    document
}

/// Returns the document of an audio record.
pub fn audio_document(fields: Fields, flags: &BTreeMap<String, bool>) -> Fields {
    let length = media::length(integer(&fields, "duration"));
    let extension = media::audio_extension(fields.get("alt_files"), text(&fields, "filetype"));
    let mut document = document(fields, flags);
    insert(&mut document, "length", length);
    insert(&mut document, "extension", extension);
    document
}

/// What documents of images and of audio records both hold. Values that a document takes as they are are moved.
fn document(mut fields: Fields, flags: &BTreeMap<String, bool>) -> Fields {
    let (meta, tags) = (fields.remove("meta_data"), fields.remove("tags"));
    let meta = meta.as_ref();
    let popularity = boost::standardized_popularity(fields.get("standardized_popularity").and_then(Value::as_f64));
    let authority = boost::authority_boost(meta, text(&fields, "provider"));
    let license = text(&fields, "license").map(str::to_lowercase);
    fields.retain(|name, value| UNCHANGED.contains(&name.as_str()) && !value.is_null());
    insert(&mut fields, "license", license);
    insert(&mut fields, "license_url", text::license_url(meta));
    insert(&mut fields, "description", text::description(meta));
    insert(&mut fields, "tags", tags.and_then(text::tags));
    insert(&mut fields, "mature", Some(text::mature(meta, flags.get("mature") == Some(&true))));
    insert(&mut fields, "standardized_popularity", popularity);
    insert(&mut fields, "authority_boost", authority);
    insert(&mut fields, "max_boost", Some(boost::max_boost(popularity, authority)));
    insert(&mut fields, "min_boost", Some(boost::min_boost(popularity, authority)));
    fields
}

fn text<'a>(fields: &'a Fields, field: &str) -> Option<&'a str> {
    fields.get(field).and_then(Value::as_str)
}

fn integer(fields: &Fields, field: &str) -> Option<i64> {
    fields.get(field).and_then(Value::as_i64)
}

fn insert<T: Into<Value>>(document: &mut Fields, field: &str, value: Option<T>) {
    if let Some(value) = value {
        document.insert(field.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests;
