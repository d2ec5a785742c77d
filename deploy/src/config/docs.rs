//! `docs/SETTINGS.md` is generated from the list of settings; `UPDATE_GOLDEN=1 cargo test --workspace --lib config`
//! writes it.

use super::{settings, tests::Golden};

const HEAD: &str = "\
# Settings

Generated from the declarations in `deploy/src/config/`; a test checks that it is up to date.

Every setting has three names: an option of the command line, an environment variable, and a key in a table of the TOML
file that `--config` or `DAYBOOK_CONFIG` names. Order of precedence, highest first: command line, `DAYBOOK_*` variable,
a variable of the domain's own (`docs/OPERATIONS.md` lists them), file, default. `daybook config show --origin` shows
the settings in effect and their origin, `daybook config check` finds all faults, `daybook config example` prints a file
to begin with (`deploy/example.toml`).
";

fn document() -> String {
    let (mut text, mut area) = (HEAD.to_owned(), "");
    for setting in settings() {
        if setting.area != area {
            area = setting.area;
            text.push_str(&format!(
                "\n## `[{area}]`\n\n| key | option | variable | takes | default | what it does |\n"
            ));
            text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        }
        let (key, option, variable) = (setting.key, setting.option(), setting.variable());
        let (takes, default) = (setting.takes.expected().replace('|', "\\|"), setting.default.described());
        text.push_str(&format!("| `{key}` | `{option}` | `{variable}` | {takes} | {default} | {} |\n", setting.help));
    }
    text
}

#[test]
fn the_document_of_settings_is_up_to_date() {
    Golden::of("../docs/SETTINGS.md").check(&document());
}
