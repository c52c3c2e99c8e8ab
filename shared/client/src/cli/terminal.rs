//! Writing to a terminal what strangers wrote.

use std::io::{self, IsTerminal, Write};

use model::Message;

/// Standard output.
#[derive(Debug)]
pub(crate) struct Terminal {
    colours: bool,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self { colours: io::stdout().is_terminal() }
    }

    /// Writes a line; a reader that has gone (`| head`) ends the program without a complaint.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => other,
        }
    }

    /// Writes a remark of this program's own, dimmed.
    pub(crate) fn note(&mut self, note: &str) -> io::Result<()> {
        if self.colours { self.line(&format!("\x1b[2m{note}\x1b[0m")) } else { self.line(note) }
    }

    pub(crate) fn message(&mut self, label: Option<&str>, message: &Message) -> io::Result<()> {
        let created_at = message.id.time().rfc3339();
        let time = created_at.get(11..19).unwrap_or_default();
        let label = label.map(|label| format!("{} ", escape(label))).unwrap_or_default();
        let text = escape(message.text.as_str());
        self.line(&format!("{time} {label}{}: {text}", message.sender_id))
    }
}

/// Makes a text harmless: control characters could move the cursor or ask the terminal to type,
/// bidirectional overrides could show another text than the one that is there (Unicode TR 36),
/// and a line break could begin what looks like somebody else's message.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.replace("\r\n", "\n").chars() {
        match char {
            '\n' => safe.push_str("\n    | "),
            '\t' => safe.push_str("    "),
            _ if char.is_control() || is_invisible_order(char) => {
                safe.extend(char.escape_unicode());
            }
            _ => safe.push(char),
        }
    }
    safe
}

/// Bidirectional marks, embeddings, overrides and isolates, and the two other line breaks.
const fn is_invisible_order(char: char) -> bool {
    matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_shown_and_not_obeyed() {
        let cases = [
            ("plain ü 😀", "plain ü 😀"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("abc\u{202e}fed\u{2066}", "abc\\u{202e}fed\\u{2066}"),
            ("one\r\n12:00:00 bob: two", "one\n    | 12:00:00 bob: two"),
            ("over\rwritten", "over\\u{d}written"),
            ("a\u{2028}b\tc", "a\\u{2028}b    c"),
        ];
        for (text, expected) in cases {
            assert_eq!(escape(text), expected);
        }
    }
}
