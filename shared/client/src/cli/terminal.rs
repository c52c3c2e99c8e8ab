//! Writes untrusted text to a terminal.

use std::io::{self, Write};

use model::Message;
use serde_json::Value;

/// Standard output. Colours are left out if it is not a terminal or `NO_COLOR` is set.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Whether `--json` was given.
    pub(crate) json: bool,
}

impl Terminal {
    /// Writes an object as a line of JSON with `--json`, and a text without.
    pub(crate) fn print(&mut self, json: &Value, text: &str) -> io::Result<()> {
        if self.json { self.line(&json_line(json)) } else { self.line(text) }
    }

    /// Writes a line. If the reader has closed the pipe (`| head`), ends the program silently.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => other,
        }
    }
}

/// A status line of this program, dimmed.
pub(crate) fn dim(text: &str) -> String {
    format!("{DIM}{text}{RESET}")
}

/// JSON with every character that could control a terminal as a `\u…` escape. A parser reads the
/// same text.
pub(crate) fn json_line(json: &Value) -> String {
    let mut safe = String::new();
    for char in json.to_string().chars() {
        if is_unsafe(char) {
            safe.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            safe.push(char);
        }
    }
    safe
}

/// A message with its date and time, channel and sender.
pub(crate) fn message_line(label: Option<&str>, message: &Message) -> String {
    let created_at = message.id.time().rfc3339();
    let time = created_at.get(..19).unwrap_or_default().replace('T', " ");
    let label = label.map(|label| format!("{CYAN}{}{RESET} ", escape(label))).unwrap_or_default();
    let (sender, text) = (&message.sender_id, escape(message.text.as_str()));
    let mut line = format!("{DIM}{time}{RESET} {label}{BOLD}{sender}{RESET}: {text}");
    for file in &message.attachments {
        let name = escape(file.name.as_str());
        line.push_str(&format!(" {DIM}[{name}, {} bytes]{RESET}", file.bytes));
    }
    line
}

/// Escapes untrusted text: control characters could move the cursor or make the terminal type,
/// bidirectional overrides could display another text than the real one (Unicode TR 36), and a line
/// break could start a line that looks like another user's message.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.replace("\r\n", "\n").chars() {
        match char {
            '\n' => safe.push_str("\n    | "),
            '\t' => safe.push_str("    "),
            _ if is_unsafe(char) => safe.extend(char.escape_unicode()),
            _ => safe.push(char),
        }
    }
    safe
}

/// Control characters, bidirectional marks, embeddings, overrides, isolates, and the line and
/// paragraph separators.
fn is_unsafe(char: char) -> bool {
    let changes_order = matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    char.is_control() || changes_order
}

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use model::{MessageId, MessageText, Timestamp};

    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_executed() {
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

    #[test]
    fn json_keeps_the_text_and_escapes_control_characters() {
        let text = "\x1b[2J\u{9b}31m \u{202e}fed\n\u{2028}ü 😀";
        let line = json_line(&Value::from(text));
        assert!(!line.chars().any(is_unsafe), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }

    #[test]
    fn a_message_line_has_its_date_and_escapes_label_and_text() {
        let message = Message::new(
            MessageId::mint(Timestamp::from_unix_ms(1_767_225_599_007), 1),
            "C01K0G4ZFXS0000000000000000".parse().unwrap(),
            "bob".parse().unwrap(),
            MessageText::from_stored("\x1b[2Jgone \u{202e}sdrawkcab".to_owned()),
        );
        let line = message_line(Some("#\x1b[31mred"), &message);
        let plain = anstream::adapter::strip_str(&line).to_string();
        let expected = "2025-12-31 23:59:59 #\\u{1b}[31mred bob: \\u{1b}[2Jgone \\u{202e}sdrawkcab";
        assert_eq!(plain, expected);
    }
}
