//! What follows from the dimensions, the duration and the files of a record.

use serde_json::Value;

/// Returns `small`, `medium` or `large` by the number of pixels.
pub fn size(width: Option<i64>, height: Option<i64>) -> Option<&'static str> {
    match i128::from(width?) * i128::from(height?) {
        ..307_200 => Some("small"),
        307_200..1_440_000 => Some("medium"),
        _ => Some("large"),
    }
}

/// Returns `tall`, `wide` or `square`.
pub fn aspect_ratio(width: Option<i64>, height: Option<i64>) -> Option<&'static str> {
    let (width, height) = (width?, height?);
    Some(match height.cmp(&width) {
        std::cmp::Ordering::Greater => "tall",
        std::cmp::Ordering::Less => "wide",
        std::cmp::Ordering::Equal => "square",
    })
}

/// Returns `shortest`, `short`, `medium` or `long`; nothing for a duration that is not positive.
pub fn length(duration_ms: Option<i64>) -> Option<&'static str> {
    match duration_ms? {
        ..=0 => None,
        1..30_000 => Some("shortest"),
        30_000..120_000 => Some("short"),
        120_000..600_000 => Some("medium"),
        _ => Some("long"),
    }
}

/// Returns what follows the last dot of a URL, in lower case, unless that is empty or reaches into the path.
pub fn image_extension(url: &str, strip_query: bool) -> Option<String> {
    let url = if strip_query { url.split(['?', '#']).next().unwrap_or(url) } else { url };
    let (_, extension) = url.rsplit_once('.')?;
    (!extension.is_empty() && !extension.contains('/')).then(|| extension.to_lowercase())
}

/// Returns the file types of the alternative files as a list; without any, the file type of the record.
pub fn audio_extension(alt_files: Option<&Value>, filetype: Option<&str>) -> Option<Value> {
    let files = alt_files.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let types: Vec<Value> = files.iter().filter_map(|file| file.get("filetype")?.as_str()).map(Value::from).collect();
    if types.is_empty() { filetype.map(Value::from) } else { Some(types.into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn size_follows_from_the_pixels() {
        for (width, height, expected) in [
            (Some(639), Some(480), Some("small")),
            (Some(640), Some(480), Some("medium")),
            (Some(1600), Some(899), Some("medium")),
            (Some(1600), Some(900), Some("large")),
            (Some(0), Some(10), Some("small")),
            (Some(i64::MAX), Some(i64::MAX), Some("large")),
            (None, Some(480), None),
            (Some(640), None, None),
            (None, None, None),
        ] {
            assert_eq!(size(width, height), expected, "{width:?} x {height:?}");
        }
    }

    #[test]
    fn aspect_ratio_follows_from_the_longer_side() {
        for (width, height, expected) in [
            (Some(300), Some(300), Some("square")),
            (Some(0), Some(10), Some("tall")),
            (Some(3), Some(2), Some("wide")),
            (None, Some(10), None),
            (Some(10), None, None),
        ] {
            assert_eq!(aspect_ratio(width, height), expected, "{width:?} x {height:?}");
        }
    }

    #[test]
    fn length_follows_from_the_duration() {
        for (duration_ms, expected) in [
            (Some(1), Some("shortest")),
            (Some(29_999), Some("shortest")),
            (Some(30_000), Some("short")),
            (Some(119_999), Some("short")),
            (Some(120_000), Some("medium")),
            (Some(599_999), Some("medium")),
            (Some(600_000), Some("long")),
            (Some(0), None),
            (Some(-1), None),
            (None, None),
        ] {
            assert_eq!(length(duration_ms), expected, "{duration_ms:?}");
        }
    }

    #[test]
    fn the_extension_of_an_image_follows_the_last_dot() {
        for (url, expected, without_query) in [
            ("https://tide.example/a.JPG", Some("jpg"), Some("jpg")),
            ("https://tide.example/hello", None, None),
            ("https://tide.example/a.jpg?w=20", Some("jpg?w=20"), Some("jpg")),
            ("https://tide.example/a.jpg#x.y", Some("y"), Some("jpg")),
            ("https://tide.example/get?file=b.png", Some("png"), None),
            ("https://tide.example/a.", None, None),
            ("https://tide.example/a.tar.gz", Some("gz"), Some("gz")),
            ("hello", None, None),
            ("", None, None),
        ] {
            assert_eq!(image_extension(url, false).as_deref(), expected, "{url}");
            assert_eq!(image_extension(url, true).as_deref(), without_query, "{url} without query");
        }
    }

    #[test]
    fn the_extension_of_audio_is_that_of_its_files() {
        let two = json!([{"filetype": "mp3", "url": "x"}, {"filetype": "ogg"}]);
        for (alt_files, filetype, expected) in [
            (Some(two), Some("wav"), json!(["mp3", "ogg"])),
            (Some(json!([])), Some("wav"), json!("wav")),
            (Some(json!([{"filetype": null}])), Some("wav"), json!("wav")),
            (Some(Value::Null), Some("wav"), json!("wav")),
            (None, Some("wav"), json!("wav")),
            (None, None, Value::Null),
        ] {
            let extension = audio_extension(alt_files.as_ref(), filetype);
            assert_eq!(extension.unwrap_or_default(), expected, "{alt_files:?}");
        }
    }
}
