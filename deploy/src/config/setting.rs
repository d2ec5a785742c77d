//! A setting: its names, what it takes, its default, its help.
//!
//! Each setting is declared once, by `area!` in its area's file. Command line, environment, file, `config show`,
//! `config example` and `docs/SETTINGS.md` derive from that. Names: `--requests-max`, `DAYBOOK_REQUESTS_MAX`, and
//! `requests_max` in the table `[http]` of the file.

use super::given::Given;

/// A setting.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    /// The table of the file that it belongs to.
    pub(crate) area: &'static str,
    /// Its key in that table.
    pub(crate) key: &'static str,
    /// The option of the command line, without the hyphens.
    pub(crate) flag: &'static str,
    /// What it takes.
    pub(crate) takes: Takes,
    /// Its value if it is not given.
    pub(crate) default: Preset,
    /// What it does, in a sentence.
    pub(crate) help: &'static str,
}

/// What a setting takes.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// A whole number within bounds, both inclusive.
    Whole { min: u64, max: u64 },
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// Some of some words, separated by commas.
    SomeOf(&'static [&'static str]),
    Text {
        /// The placeholder of the value in `--help`.
        name: &'static str,
        /// What is expected, for errors and docs.
        expected: &'static str,
    },
    /// A text that may hold a password: it is masked wherever it is shown.
    Secret { name: &'static str, expected: &'static str },
}

/// The value of a setting that is not given.
#[derive(Clone, Copy)]
pub(crate) enum Preset {
    /// This text.
    Value(&'static str),
    /// No value: what that means, and an example of a value.
    Nothing { described: &'static str, example: &'static str },
    /// A value that is derived from other settings: in words, as a function, and an example of a value.
    Derived { described: &'static str, from: fn(&Given) -> &'static str, example: &'static str },
}

impl Setting {
    /// The option of the command line.
    pub(crate) fn option(&self) -> String {
        format!("--{}", self.flag)
    }

    /// The environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("DAYBOOK_{}", self.flag.replace('-', "_").to_uppercase())
    }

    /// The key with its table, as in `http.listen`.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", self.area, self.key)
    }

    /// The help text with the expected value and the default.
    pub(crate) fn help_text(&self) -> String {
        let (expected, default) = (self.takes.expected(), self.default.described());
        format!("{} Takes {expected}. [default: {default}]", self.help)
    }

    /// The text as it may be shown.
    pub(crate) fn shown(&self, text: &str) -> String {
        match self.takes {
            Takes::Secret { .. } => super::mask::mask(text),
            _ => text.to_owned(),
        }
    }
}

impl Takes {
    /// The placeholder of the value in `--help`.
    pub(crate) fn value_name(self) -> String {
        match self {
            Self::Whole { .. } => "NUMBER".to_owned(),
            Self::OneOf(words) => words.join("|"),
            Self::SomeOf(words) => words.join(","),
            Self::Text { name, .. } | Self::Secret { name, .. } => name.to_owned(),
        }
    }

    /// What is expected, as in "a whole number from 1 to 10".
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::OneOf(words) => words.join(" or "),
            Self::SomeOf(words) => format!("one or several of {}, separated by commas", words.join(", ")),
            Self::Text { expected, .. } | Self::Secret { expected, .. } => expected.to_owned(),
        }
    }
}

impl Preset {
    /// The default in words.
    pub(crate) const fn described(self) -> &'static str {
        match self {
            Self::Value(text) => text,
            Self::Nothing { described, .. } | Self::Derived { described, .. } => described,
        }
    }

    /// A value that may be given.
    pub(crate) const fn example(self) -> &'static str {
        match self {
            Self::Value(text) => text,
            Self::Nothing { example, .. } | Self::Derived { example, .. } => example,
        }
    }
}

/// Declares an area: the struct of its checked values, and its settings, each with the function that reads its text.
macro_rules! area {
    (
        $(#[$attribute:meta])*
        $name:ident, $area:literal {
            $(
                $field:ident: $type:ty = $read:expr, $key:literal, $flag:literal, $takes:expr, $default:expr, $help:literal;
            )+
        }
    ) => {
        $(#[$attribute])*
        pub(crate) struct $name {
            $(
                #[doc = concat!("Setting `", $area, ".", $key, "`.")]
                pub(crate) $field: $type,
            )+
        }

        impl $name {
            /// The settings, in the order in which they are shown.
            pub(crate) const SETTINGS: &'static [$crate::config::Setting] = &[
                $(
                    $crate::config::Setting {
                        area: $area,
                        key: $key,
                        flag: $flag,
                        takes: $takes,
                        default: $default,
                        help: $help,
                    },
                )+
            ];

            /// Checks what is given. All faults are collected; there is no value if there are any.
            pub(crate) fn check(
                given: &$crate::config::Given,
                faults: &mut Vec<String>,
            ) -> Option<Self> {
                let mut settings = Self::SETTINGS.iter();
                $(
                    let $field: Option<$type> =
                        settings.next().and_then(|setting| given.check(setting, $read, faults));
                )+
                Some(Self { $($field: $field?),+ })
            }
        }
    };
}

pub(crate) use area;
