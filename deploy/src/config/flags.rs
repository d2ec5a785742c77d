//! Settings on the command line: options generated from the list of settings.

use std::{collections::BTreeMap, marker::PhantomData};

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use super::{log::LogSettings, process::Process, setting::Setting, settings, telemetry::Telemetry};

const CONFIG_HELP: &str = "A TOML file with settings; `daybook config example` prints one. [env: DAYBOOK_CONFIG]";

/// Which settings a command takes.
pub(crate) trait Scope {
    fn settings() -> Vec<&'static Setting>;
}

/// All settings.
pub(crate) struct Everything;

impl Scope for Everything {
    fn settings() -> Vec<&'static Setting> {
        settings().collect()
    }
}

/// The settings that opening the log needs.
pub(crate) struct LogOnly;

impl Scope for LogOnly {
    fn settings() -> Vec<&'static Setting> {
        let directory = Process::SETTINGS.iter().filter(|setting| setting.key == "data_dir");
        LogSettings::SETTINGS.iter().chain(directory).chain(Telemetry::SETTINGS).collect()
    }
}

/// The settings of the command line. No `Debug`: it holds passwords.
#[derive(Default, Clone)]
pub(crate) struct FromFlags {
    /// The settings' file.
    pub(crate) config: Option<String>,
    /// Texts by the setting's flag.
    pub(crate) texts: BTreeMap<&'static str, String>,
}

/// The options of a command that takes settings.
pub(crate) struct Flags<S> {
    pub(crate) given: FromFlags,
    scope: PhantomData<S>,
}

impl<S: Scope> Args for Flags<S> {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config").long("config").value_name("FILE").help(CONFIG_HELP).help_heading("Settings");
        S::settings().into_iter().fold(command.arg(config), |command, setting| command.arg(option(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn option(setting: &Setting) -> Arg {
    Arg::new(setting.flag)
        .long(setting.flag)
        .value_name(setting.takes.value_name())
        .help(setting.help_text())
        .help_heading(heading(setting.area))
        // A value may begin with a hyphen: checking the setting refuses it if it is not valid.
        .allow_hyphen_values(true)
}

fn heading(area: &str) -> String {
    if area == "http" {
        return "HTTP".to_owned();
    }
    let mut letters = area.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

impl<S: Scope> FromArgMatches for Flags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let texts = S::settings().into_iter().filter_map(|setting| Some((setting.flag, text(setting.flag)?)));
        Ok(Self { given: FromFlags { config: text("config"), texts: texts.collect() }, scope: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
