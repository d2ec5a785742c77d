//! `daybook config example`: a file with every setting, each commented out, with its help and default.

use super::{
    setting::{Setting, Takes},
    settings,
};

const HEAD: &str = "\
# Settings of daybook. Each is commented out and shows its default, or an example where there is no fixed default.
# The names in the environment and on the command line follow in parentheses.
# Order of precedence, highest first: command line, environment, this file, default.
";

/// The file's text.
pub(crate) fn example() -> String {
    let (mut text, mut area) = (HEAD.to_owned(), "");
    for setting in settings() {
        if setting.area != area {
            area = setting.area;
            text.push_str(&format!("\n[{area}]\n"));
        }
        let (expected, default) = (setting.takes.expected(), setting.default.described());
        text.push_str(&format!("\n# {}\n# Takes {expected}. [default: {default}]\n", setting.help));
        text.push_str(&format!("# ({}, {})\n", setting.variable(), setting.option()));
        text.push_str(&format!("# {} = {}\n", setting.key, value(setting)));
    }
    text
}

fn value(setting: &Setting) -> String {
    let text = setting.default.example();
    match setting.takes {
        Takes::Whole { .. } => text.to_owned(),
        Takes::SomeOf(_) => {
            let words: Vec<_> = text.split(',').map(|word| format!("{word:?}")).collect();
            format!("[{}]", words.join(", "))
        }
        _ => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        Environment, Loaded, check, file,
        flags::FromFlags,
        given::load,
        tests::{Golden, given_in_file},
    };

    /// The file with its settings switched on.
    fn switched_on() -> String {
        let is_setting = |line: &str| settings().any(|setting| line.starts_with(&format!("# {} = ", setting.key)));
        let lines = example()
            .lines()
            .map(|line| if is_setting(line) { line[2..].to_owned() } else { line.to_owned() })
            .collect::<Vec<_>>();
        lines.join("\n")
    }

    #[test]
    fn the_example_is_the_one_in_the_repository() {
        Golden::of("../deploy/example.toml").check(&example());
    }

    #[test]
    fn the_example_as_it_is_sets_nothing() {
        let mut faults = Vec::new();
        let entries = file::parse("example.toml", &example(), &mut faults);
        assert_eq!((entries.len(), faults), (0, Vec::new()));
    }

    #[test]
    fn the_example_switched_on_gives_every_setting_its_default() {
        let mut faults = Vec::new();
        let entries = file::parse("example.toml", &switched_on(), &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(entries.len(), settings().count());
        for entry in entries {
            assert_eq!(entry.text, entry.setting.default.example(), "{}", entry.setting.path());
        }
    }

    #[test]
    fn the_example_switched_on_is_a_valid_configuration() {
        let file = given_in_file(&switched_on());
        let flags = FromFlags { config: Some(file.path()), ..FromFlags::default() };
        let loaded: Loaded = load(&flags, &Environment::default());
        assert_eq!(check(&loaded).err(), None);
    }
}
