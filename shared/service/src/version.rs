//! `--version` for programs that take no other arguments from a person.

use std::io::{self, Write as _};
use std::process::ExitCode;

/// Prints the version and returns the exit code if the program was asked for it; `None` if it was
/// started for something else.
#[must_use]
pub fn asked_for_version(program: &str) -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let is_asked = arguments.next().is_some_and(|first| first == "--version" || first == "-V");
    if !is_asked || arguments.next().is_some() {
        return None;
    }
    let printed = writeln!(io::stdout(), "{program} {}", model::version());
    Some(if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
