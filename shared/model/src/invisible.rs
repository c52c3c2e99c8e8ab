//! Invisible characters: white space, and those that Unicode calls default-ignorable.

/// Whether a text is empty, or only white space and default-ignorable characters. Next to visible
/// characters they are part of a text: they join emoji, for example.
#[must_use]
pub fn is_invisible(text: &str) -> bool {
    text.chars().all(|char| char.is_whitespace() || is_default_ignorable(char))
}

fn is_default_ignorable(char: char) -> bool {
    DEFAULT_IGNORABLE.iter().any(|(first, last)| (*first..=*last).contains(&char))
}

/// `Default_Ignorable_Code_Point` of the Unicode Character Database 16.0
/// (`DerivedCoreProperties.txt`), adjacent ranges joined. It reserves whole blocks, so it hardly
/// changes.
const DEFAULT_IGNORABLE: [(char, char); 17] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_of_white_space_and_default_ignorable_characters() {
        for text in ["", " \n", "\u{200b}", "\u{feff} \u{2060}", "\u{3164}", "\u{e0001}\u{e007f}"] {
            assert!(is_invisible(text), "{text:?}");
        }
        for (first, last) in DEFAULT_IGNORABLE {
            assert!(first <= last && is_invisible(&format!("{first}{last}")), "{first:?}");
        }
        assert!(DEFAULT_IGNORABLE.is_sorted());
        for text in
            ["a", "\u{200b}a", "\u{1f469}\u{200d}\u{1f680}", "\u{2800}", "\u{301}", "\u{fffc}"]
        {
            assert!(!is_invisible(text), "{text:?}");
        }
    }
}
