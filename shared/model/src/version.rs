//! The build's version and revision.

use std::sync::LazyLock;

/// The version of the packages, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision of the build; `None` if `INKWIRE_REVISION` was not set for the build.
pub const REVISION: Option<&str> = option_env!("INKWIRE_REVISION");

/// What `--version` prints after the program's name: `0.1.0 (3f9e4d1)`, or `0.1.0` alone.
#[must_use]
pub fn version() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| line(VERSION, REVISION));
    &LINE
}

fn line(version: &str, revision: Option<&str>) -> String {
    match revision {
        Some(revision) if !revision.is_empty() => format!("{version} ({revision})"),
        Some(_) | None => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_there_if_the_build_knew_it() {
        assert_eq!(line("0.1.0", Some("3f9e4d1")), "0.1.0 (3f9e4d1)");
        assert_eq!(line("0.1.0", Some("")), "0.1.0");
        assert_eq!(line("0.1.0", None), "0.1.0");
        assert!(version().starts_with(VERSION));
    }
}
