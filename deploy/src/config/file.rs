//! The settings file: TOML, with a table for each area. Unknown tables and keys are faults that name the nearest known
//! one.

use std::{fs, num::IntErrorKind, ops::Range};

use toml::de::{DeTable, DeValue};

use super::{
    nearest::nearest,
    setting::{Setting, Takes},
    settings,
};

/// A setting in the file.
pub(super) struct Entry {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    /// Its line, from 1.
    pub(super) line: usize,
}

/// Reads a file and adds its faults to `faults`. `origin` is what named the file.
pub(super) fn read(path: &str, origin: &str, faults: &mut Vec<String>) -> Vec<Entry> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text, faults),
        Err(error) => {
            faults.push(format!("cannot read the file {path} (from {origin}): {error}"));
            Vec::new()
        }
    }
}

/// Reads the text of a file.
pub(super) fn parse(path: &str, text: &str, faults: &mut Vec<String>) -> Vec<Entry> {
    let line = |span: Range<usize>| text.as_bytes()[..span.start.min(text.len())].split(|byte| *byte == b'\n').count();
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            // Only the message: the error's own text shows the line, which may hold a password.
            let line = error.span().map(line).unwrap_or(1);
            faults.push(format!("{path}:{line} is not TOML: {}", error.message()));
            return Vec::new();
        }
    };
    let mut entries = Vec::new();
    for (name, value) in &table {
        let (area, at) = (name.get_ref().as_ref(), format!("{path}:{}", line(name.span())));
        let of_area = move || settings().filter(move |setting| setting.area == area);
        let Some(keys) = value.get_ref().as_table().filter(|_| of_area().next().is_some()) else {
            faults.push(format!("{at}: {}", unknown_at_top(area, value.get_ref())));
            continue;
        };
        for (key, value) in keys {
            let (name, line) = (key.get_ref().as_ref(), line(key.span()));
            let Some(setting) = of_area().find(|setting| setting.key == name) else {
                faults.push(format!("{path}:{line}: {}", unknown_key(area, name)));
                continue;
            };
            match text_of(setting, value.get_ref()) {
                Ok(text) => entries.push(Entry { setting, text, line }),
                Err(found) => {
                    let (name, expected) = (setting.path(), setting.takes.expected());
                    faults.push(format!("{path}:{line}: {name} is {found}: expected {}{expected}", form(setting)));
                }
            }
        }
    }
    entries
}

/// The value as a text, as other sources give it. The error names the type that was found.
fn text_of(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    match (setting.takes, value) {
        (Takes::Whole { .. }, DeValue::Integer(number)) => {
            match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Ok(number.to_string()),
                Err(error) if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => {
                    Err("a number out of range".to_owned())
                }
                Err(_) => Err("no number".to_owned()),
            }
        }
        (Takes::SomeOf(_), DeValue::Array(words)) => {
            let words =
                words.iter().map(|word| word.get_ref().as_str().ok_or("an array with values that are not strings"));
            Ok(words.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        (Takes::OneOf(["on", "off"]), DeValue::Boolean(is_on)) => Ok(if *is_on { "on" } else { "off" }.to_owned()),
        (Takes::Whole { .. }, DeValue::String(_)) => Err("a string".to_owned()),
        (_, DeValue::String(text)) => Ok(text.clone().into_owned()),
        (_, other) => Err(format!("of type {}", other.type_str())),
    }
}

/// How a value is written in TOML.
fn form(setting: &Setting) -> &'static str {
    match setting.takes {
        Takes::Whole { .. } => "",
        Takes::SomeOf(_) => "a string or an array of strings: ",
        _ => "a string: ",
    }
}

fn unknown_at_top(name: &str, value: &DeValue<'_>) -> String {
    if let Some(area) = settings().map(|setting| setting.area).find(|area| *area == name) {
        return format!("{area} is a table, as in [{area}]");
    }
    if value.is_table() {
        let areas = settings().map(|setting| setting.area);
        return format!("unknown table [{name}]; the nearest is [{}]", nearest(name, areas).unwrap_or_default());
    }
    format!("unknown key {name}; {}", nearest_setting(name, None))
}

fn unknown_key(area: &str, key: &str) -> String {
    format!("unknown key {area}.{key}; {}", nearest_setting(key, Some(area)))
}

/// The setting that is most likely meant, by any of its names: a key may be in the wrong table.
fn nearest_setting(key: &str, area: Option<&str>) -> String {
    let flagged = key.replace('_', "-");
    let meant = settings().min_by_key(|setting| {
        let by_name = strsim::osa_distance(key, setting.key).min(strsim::osa_distance(&flagged, setting.flag));
        (by_name, area.is_some_and(|area| area != setting.area))
    });
    meant.map(|setting| format!("the nearest is {} in [{}]", setting.key, setting.area)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, fault: &str) {
        let mut faults = Vec::new();
        parse("daybook.toml", text, &mut faults);
        assert_eq!(faults, [fault], "{text}");
    }

    #[test]
    fn unknown_names_are_faults_that_name_the_nearest_one() {
        check("[http]\nlistn = \"x\"", "daybook.toml:2: unknown key http.listn; the nearest is listen in [http]");
        check(
            "[log]\nlisten = \"x\"",
            "daybook.toml:1: unknown key log.listen; the nearest is listen in [http]".replace(":1", ":2").as_str(),
        );
        check("[htpp]\nlisten = \"x\"", "daybook.toml:1: unknown table [htpp]; the nearest is [http]");
        check("listen = \"x\"", "daybook.toml:1: unknown key listen; the nearest is listen in [http]");
        check("tables_schema = \"x\"", "daybook.toml:1: unknown key tables_schema; the nearest is schema in [tables]");
        check("log = \"embedded\"", "daybook.toml:1: log is a table, as in [log]");
    }

    #[test]
    fn values_of_another_type_are_faults() {
        check(
            "\n[http]\nrequests_max = \"9\"",
            "daybook.toml:3: http.requests_max is a string: expected a whole number from 1 to 1000000",
        );
        check(
            "[http]\nrequests_max = 0x",
            "daybook.toml:2: http.requests_max is no number: expected a whole number from 1 to 1000000",
        );
        check(
            "[telemetry]\nlog_format = true",
            "daybook.toml:2: telemetry.log_format is of type boolean: expected a string: human or json",
        );
    }

    #[test]
    fn numbers_and_lists_are_taken_as_toml_writes_them() {
        let mut faults = Vec::new();
        let text = "[process]\nroles = [\"api\", \"projector\"]\n[http]\nrequests_max = 1_000\nbody_mib_max = 0x10";
        let entries = parse("daybook.toml", text, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        let texts: Vec<_> = entries.iter().map(|entry| (entry.setting.key, entry.text.as_str(), entry.line)).collect();
        let mut expected = [("roles", "api,projector", 2), ("requests_max", "1000", 4), ("body_mib_max", "16", 5)];
        expected.sort_unstable();
        let mut found = texts;
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_switch_is_a_boolean_or_its_word() {
        let is_switch = |setting: &&Setting| matches!(setting.takes, Takes::OneOf(["on", "off"]));
        let switch = settings().find(is_switch).unwrap_or_else(|| panic!("there is no switch"));
        for (value, word) in [("false", "off"), ("true", "on"), ("\"off\"", "off")] {
            let mut faults = Vec::new();
            let text = format!("[{}]\n{} = {value}", switch.area, switch.key);
            let entries = parse("daybook.toml", &text, &mut faults);
            let texts: Vec<_> = entries.iter().map(|entry| entry.text.as_str()).collect();
            assert_eq!((texts, faults), (vec![word], Vec::new()));
        }
    }

    #[test]
    fn an_error_of_syntax_shows_no_value() {
        let mut faults = Vec::new();
        parse("daybook.toml", "[tables]\nurl = \"postgres://u:hidden@h/d\" x", &mut faults);
        assert!(faults.len() == 1 && faults[0].starts_with("daybook.toml:2 is not TOML"), "{faults:?}");
        assert!(!faults[0].contains("hidden"), "{faults:?}");
    }
}
