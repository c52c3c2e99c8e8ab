//! Reactions: emoji that users put to a message.

use std::fmt;
use std::sync::Arc;

use unicode_properties::UnicodeEmoji as _;

use crate::ids::UserId;
use crate::limits;

/// One emoji, compared byte by byte: an emoji sequence (UTS 51: pictographs, flags, keycaps), or a
/// name between colons, such as `:ship-it:`.
///
/// Clones share the string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Emoji(Arc<str>);

/// Why a text is no emoji. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither one emoji of at most 64 bytes nor a name such as :ship-it:")]
pub struct EmojiError;

impl Emoji {
    /// Parses an emoji.
    ///
    /// # Errors
    /// [`EmojiError`] if it has another form, or more than [`limits::EMOJI_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, EmojiError> {
        let is_short = text.len() <= limits::EMOJI_BYTES_MAX;
        let is_emoji = is_short && (is_shortcode(text) || is_sequence(text));
        is_emoji.then(|| Self(text.into())).ok_or(EmojiError)
    }

    /// The emoji in its wire form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All reactions to a message with one emoji.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// The emoji.
    pub emoji: Emoji,
    /// How many users reacted with it.
    pub count: u64,
    /// The first of them, at most [`limits::REACTION_USERS_MAX`].
    pub users: Vec<UserId>,
    /// Whether the reader is one of them. Only answers of calls say so: it is no part of a
    /// message's state.
    pub mine: Option<bool>,
}

fn is_shortcode(text: &str) -> bool {
    let name = text.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
    let is_name_byte = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'+' | b'-')
    };
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(is_name_byte))
}

/// Whether a text is one `emoji_sequence` of UTS 51, 1.4.6, which is also one grapheme cluster.
fn is_sequence(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    match chars.as_slice() {
        ['0'..='9' | '#' | '*', KEYCAP] | ['0'..='9' | '#' | '*', EMOJI_STYLE, KEYCAP] => true,
        [first, second] if is_regional(*first) && is_regional(*second) => true,
        chars => chars.split(|char| *char == JOINER).all(is_element),
    }
}

/// A pictograph, and what may modify it.
fn is_element(chars: &[char]) -> bool {
    let Some((first, rest)) = chars.split_first() else { return false };
    let is_pictograph = !first.is_ascii() && !is_regional(*first) && first.is_emoji_char();
    is_pictograph
        && match rest {
            [] | [EMOJI_STYLE] => true,
            [tone] if is_skin_tone(*tone) => true,
            // Flags of regions, such as Scotland's.
            [tags @ .., TAG_END] => !tags.is_empty() && tags.iter().all(|char| is_tag(*char)),
            _ => false,
        }
}

const fn is_regional(char: char) -> bool {
    matches!(char, '\u{1f1e6}'..='\u{1f1ff}')
}

const fn is_skin_tone(char: char) -> bool {
    matches!(char, '\u{1f3fb}'..='\u{1f3ff}')
}

const fn is_tag(char: char) -> bool {
    matches!(char, '\u{e0020}'..='\u{e007e}')
}

const JOINER: char = '\u{200d}';
const EMOJI_STYLE: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';
const TAG_END: char = '\u{e007f}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictographs_flags_keycaps_and_names_are_emoji() {
        let scotland = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";
        for text in [
            "👍",
            "👍🏽",
            "❤️",
            "❤",
            "🇩🇪",
            "1️⃣",
            "#⃣",
            "👩‍🚀",
            "👨‍👩‍👧‍👦",
            "🏳️‍🌈",
            "👁️‍🗨️",
            "🕵🏽‍♂️",
            "🚶‍➡️",
            scotland,
            ":+1:",
            ":ship-it_2:",
        ] {
            assert!(Emoji::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        let long = format!(":{}:", "a".repeat(63));
        for text in [
            "",
            " ",
            "a",
            "1",
            "👍👍",
            "👍 ",
            "\u{301}",
            "👍\u{301}",
            "\u{202e}👍",
            "\u{200d}",
            "👍\u{200d}",
            "\u{fe0f}",
            "🇩",
            "🇩🇪🇫",
            "🇩🇪🇫🇷",
            "1️",
            ":UPPER:",
            "::",
            ":a b:",
            ":a",
            "a:",
            "é",
            ":é:",
            "👍:a:",
            &long,
        ] {
            assert_eq!(Emoji::parse(text), Err(EmojiError), "{text:?}");
        }
        assert!(Emoji::parse(&format!(":{}:", "a".repeat(62))).is_ok());
    }
}
