//! Only the configuration reads the environment. Tests may, to be told where services are or to write golden files.

use crate::{
    crates::members,
    expect_none, is_under,
    source::{Source, Token, sources},
};

const CONFIGURATION: &str = "deploy/src/config";

/// Functions of `std::env` that read variables, and those of `EnvFilter`.
const READERS: [&str; 4] = ["var", "var_os", "vars", "vars_os"];
const HIDDEN_READERS: [&str; 4] = ["from_default_env", "try_from_default_env", "from_env", "try_from_env"];

/// The only variable that tests inside of the crates may read.
const GOLDEN: &str = "UPDATE_GOLDEN";

/// Whether the environment is read here: `env::var`, `env::{…, var}`, `env::*`, `option_env!`.
fn is_reading(tokens: &[Token]) -> bool {
    let is_reader = |token: &Token| READERS.contains(&token.text.as_str());
    match tokens {
        [env, colons, next, ..] if env.is_name("env") && colons.is_sign("::") => {
            let mut names = tokens[3..].iter().take_while(|token| !token.is_sign("}"));
            is_reader(next) || next.is_sign("*") || next.is_sign("{") && names.any(is_reader)
        }
        [name, ..] => name.is_name("option_env") || HIDDEN_READERS.iter().any(|reader| name.is_name(reader)),
        [] => false,
    }
}

/// Whether a test reads the variable that makes it write golden files.
fn is_golden(tokens: &[Token]) -> bool {
    tokens[0].in_tests && tokens.get(4).is_some_and(|argument| argument.text == GOLDEN)
}

fn readings(source: &Source) -> Vec<String> {
    let here = |at: &usize| is_reading(&source.tokens[*at..]) && !is_golden(&source.tokens[*at..]);
    let place = |at: usize| {
        let line: String = source.tokens[at..].iter().take(5).map(|token| token.text.as_str()).collect();
        format!("{}:{}: reads the environment: {line}", source.name, source.tokens[at].line)
    };
    (0..source.tokens.len()).filter(here).map(place).collect()
}

#[test]
fn only_the_configuration_reads_the_environment() {
    let sources = sources();
    let (inside, others): (Vec<_>, Vec<_>) = sources.iter().partition(|source| is_under(&source.name, CONFIGURATION));
    let found: Vec<_> =
        others.into_iter().filter(|source| !source.name.starts_with("tests/")).flat_map(readings).collect();
    expect_none("only deploy/src/config reads the environment", &found);
    assert!(inside.into_iter().any(|source| !readings(source).is_empty()), "{CONFIGURATION} does not read it either");
}

#[test]
fn the_command_line_does_not_read_the_environment_by_itself() {
    for member in members() {
        for used in member.uses.iter().filter(|used| used.name == "clap") {
            let has_feature = used.features.iter().any(|feature| feature == "env");
            assert!(!has_feature, "{}/Cargo.toml: clap has the feature env", member.folder);
        }
    }
}
