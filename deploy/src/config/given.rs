//! Settings as given, unchecked, each with its origin. Order of precedence, highest first: command line, `DAYBOOK_*`
//! variables, a domain's own variables, file, default.
//!
//! No `Debug`: the texts hold passwords.

use std::{collections::BTreeMap, fmt};

use super::{
    environment::{self, Environment},
    file,
    flags::FromFlags,
    setting::{Preset, Setting},
    settings,
};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    CommandLine,
    /// One variable, or several from which the value is made.
    Environment(String),
    File {
        path: String,
        line: usize,
    },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(variables) => f.write_str(variables),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

struct Text {
    text: String,
    origin: Origin,
    /// What is wrong with that from which it was made.
    faults: Vec<String>,
}

/// The texts that are given, by the setting's flag, and the file that was read.
#[derive(Default)]
pub(crate) struct Given {
    texts: BTreeMap<&'static str, Text>,
    /// The file's path.
    pub(crate) file: Option<String>,
    /// The variables of libpq, which give what the address of the tables leaves out.
    pub(crate) libpq: Vec<(&'static str, String)>,
}

/// The settings as messages name them, by their flags: the option, and where its value comes from.
pub(crate) struct Names(BTreeMap<&'static str, String>);

impl Names {
    /// The name of a setting.
    pub(crate) fn of(&self, flag: &str) -> &str {
        self.0.get(flag).map_or("", String::as_str)
    }
}

/// The loaded settings, with faults and warnings.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) given: Given,
    pub(crate) faults: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Loads the settings from all sources.
pub(crate) fn load(flags: &FromFlags, environment: &Environment) -> Loaded {
    let (mut given, mut faults) = (Given { libpq: environment.of_libpq(), ..Given::default() }, Vec::new());
    for (flag, text) in &flags.texts {
        given.add(flag, text.clone(), Origin::CommandLine);
    }
    for setting in settings() {
        let variable = setting.variable();
        if let Some(text) = environment.get(&variable) {
            given.add(setting.flag, text.to_owned(), Origin::Environment(variable));
        }
    }
    faults.extend(environment.unreadable());
    for found in crate::domains::variables(environment) {
        given.add_made(found.flag, found.text, Origin::Environment(found.variables), found.faults);
    }
    let named = environment.get(environment::CONFIG).map(str::to_owned);
    let origin = if flags.config.is_some() { "--config" } else { environment::CONFIG };
    given.file = flags.config.clone().or(named);
    if let Some(path) = given.file.clone() {
        for entry in file::read(&path, origin, &mut faults) {
            given.add(entry.setting.flag, entry.text, Origin::File { path: path.clone(), line: entry.line });
        }
    }
    let warnings = environment.unknown().into_iter().chain(crate::domains::warnings(environment)).collect();
    Loaded { given, faults, warnings }
}

impl Given {
    /// Adds a text, unless there is one of higher precedence.
    fn add(&mut self, flag: &'static str, text: String, origin: Origin) {
        self.add_made(flag, text, origin, Vec::new());
    }

    fn add_made(&mut self, flag: &'static str, text: String, origin: Origin, faults: Vec<String>) {
        self.texts.entry(flag).or_insert(Text { text, origin, faults });
    }

    /// The text in effect; empty if none is given and there is no default.
    pub(crate) fn text(&self, setting: &Setting) -> &str {
        match (self.texts.get(setting.flag), setting.default) {
            (Some(given), _) => &given.text,
            (None, Preset::Value(text)) => text,
            (None, Preset::Nothing { .. }) => "",
            (None, Preset::Derived { from, .. }) => from(self),
        }
    }

    /// The origin of the text in effect.
    pub(crate) fn origin(&self, setting: &Setting) -> Origin {
        self.texts.get(setting.flag).map_or(Origin::Default, |given| given.origin.clone())
    }

    /// Reads a setting; a fault if its text is not what is expected.
    pub(crate) fn check<T>(
        &self,
        setting: &Setting,
        read: impl Fn(&str, &Setting) -> Result<T, String>,
        faults: &mut Vec<String>,
    ) -> Option<T> {
        let of_parts = self.texts.get(setting.flag).map_or(&[][..], |given| given.faults.as_slice());
        if !of_parts.is_empty() {
            // Several settings may be made from one variable.
            let new: Vec<_> = of_parts.iter().filter(|fault| !faults.contains(fault)).cloned().collect();
            faults.extend(new);
            return None;
        }
        read(self.text(setting), setting).map_err(|expected| faults.push(self.fault(setting, &expected))).ok()
    }

    /// A fault of a setting: its name, the origin of its value, the value with secrets masked, and what is expected.
    pub(crate) fn fault(&self, setting: &Setting, expected: &str) -> String {
        format!("{} is {:?}: expected {expected}", self.name(setting), setting.shown(self.text(setting)))
    }

    fn name(&self, setting: &Setting) -> String {
        match self.origin(setting) {
            Origin::CommandLine | Origin::Default => setting.option(),
            origin => format!("{} (from {origin})", setting.option()),
        }
    }

    /// The names of all settings.
    pub(crate) fn names(&self) -> Names {
        Names(settings().map(|setting| (setting.flag, self.name(setting))).collect())
    }
}
