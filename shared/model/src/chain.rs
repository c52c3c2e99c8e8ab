//! Prints an error and its causes on one line.

use std::error::Error;

/// An error and its causes, each once: `no lease: the bus did not answer: Connection refused`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Repeats(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("the bus did not answer")]
    struct Adds(#[source] Box<dyn Error>);

    #[test]
    fn a_cause_that_is_repeated_is_shown_once() {
        let refused = || io::Error::other("Connection refused (os error 111)");
        for cause in [refused().into(), Repeats(refused()).into()] {
            let expected = "the bus did not answer: Connection refused (os error 111)";
            assert_eq!(chain(&Adds(cause)), expected);
        }
    }
}
