//! `daybook config show`: the settings in effect, passwords masked, and where each comes from.

use std::io::Write;

use anyhow::Result;
use serde::{Serialize, Serializer};

use super::{
    Given,
    given::Origin,
    setting::{Setting, Takes},
    settings,
};
use crate::output;

/// The settings in effect, in the order of their declaration.
pub(crate) struct Shown {
    settings: Vec<ShownSetting>,
    with_origins: bool,
}

/// A setting in effect.
pub(crate) struct ShownSetting {
    setting: &'static Setting,
    /// Masked.
    text: String,
    origin: Origin,
}

impl Shown {
    pub(crate) fn of(given: &Given, with_origins: bool) -> Self {
        let shown = |setting: &'static Setting| ShownSetting {
            setting,
            text: setting.shown(given.text(setting)),
            origin: given.origin(setting),
        };
        Self { settings: settings().map(shown).collect(), with_origins }
    }

    /// Prints a table.
    pub(crate) fn write_table(&self, out: &mut impl Write) -> Result<()> {
        let rows = self.rows();
        if self.with_origins {
            return output::write_table(out, &["SETTING", "VALUE", "ORIGIN"], &rows);
        }
        let rows: Vec<_> = rows.into_iter().map(|[setting, value, _]| [setting, value]).collect();
        output::write_table(out, &["SETTING", "VALUE"], &rows)
    }

    /// Setting, value, origin.
    fn rows(&self) -> Vec<[String; 3]> {
        let row = |shown: &ShownSetting| {
            let nothing = || format!("({})", shown.setting.default.described());
            let value = if shown.text.is_empty() { nothing() } else { output::cut(&shown.text, usize::MAX) };
            [shown.setting.path(), value, shown.origin.to_string()]
        };
        self.settings.iter().map(row).collect()
    }
}

/// An object of areas, each an object of settings.
impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let areas = self.settings.chunk_by(|one, next| one.setting.area == next.setting.area);
        serializer.collect_map(areas.filter_map(|settings| {
            let area = settings.first()?.setting.area;
            Some((area, Area { settings, with_origins: self.with_origins }))
        }))
    }
}

struct Area<'a> {
    settings: &'a [ShownSetting],
    with_origins: bool,
}

impl Serialize for Area<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.settings.iter().map(|shown| {
            let origin = self.with_origins.then(|| JsonOrigin::of(&shown.origin));
            let value = Value::of(shown);
            (
                shown.setting.key,
                origin.map_or(Entry::Plain(value.clone()), |origin| Entry::WithOrigin { value, origin }),
            )
        }))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Plain(Value<'a>),
    WithOrigin { value: Value<'a>, origin: JsonOrigin<'a> },
}

#[derive(Clone, Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Nothing,
    Number(u64),
    Words(Vec<&'a str>),
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// The value with its TOML type. An invalid number remains a text.
    fn of(shown: &'a ShownSetting) -> Self {
        match shown.setting.takes {
            _ if shown.text.is_empty() => Self::Nothing,
            Takes::Whole { .. } => shown.text.trim().parse().map_or(Self::Text(&shown.text), Self::Number),
            Takes::SomeOf(_) => Self::Words(shown.text.split(',').map(str::trim).collect()),
            _ => Self::Text(&shown.text),
        }
    }
}

#[derive(Serialize)]
struct JsonOrigin<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

impl<'a> JsonOrigin<'a> {
    fn of(origin: &'a Origin) -> Self {
        let plain = |kind| Self { kind, variable: None, path: None, line: None };
        match origin {
            Origin::CommandLine => plain("command-line"),
            Origin::Environment(variable) => Self { variable: Some(variable), ..plain("environment") },
            Origin::File { path, line } => Self { path: Some(path), line: Some(*line), ..plain("file") },
            Origin::Default => plain("default"),
        }
    }
}
