//! The program `daybook` with one domain more.

use std::process::ExitCode;

fn main() -> ExitCode {
    daybook::run(&[daybook::domains::ALL, &[daybook_books::DOMAIN]].concat())
}
