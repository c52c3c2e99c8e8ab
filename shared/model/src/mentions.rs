//! Mentions: users whom a text names as `<@user_id>`, and everybody as `<!channel>`.

use crate::ids::UserId;
use crate::limits;

/// Whom a text mentions. Any other text between angle brackets is plain text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mentions {
    /// Users, each once, in the order of the text; at most [`limits::MENTIONS_MAX`].
    pub users: Vec<UserId>,
    /// Whether it names all members.
    pub all: bool,
}

/// The error for a text that names too many users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text mentions more than {} users", limits::MENTIONS_MAX)]
pub struct TooManyMentions;

impl Mentions {
    /// Finds the mentions in a text.
    ///
    /// # Errors
    /// [`TooManyMentions`].
    pub fn of(text: &str) -> Result<Self, TooManyMentions> {
        let mut mentions = Self::default();
        for (at, _) in text.match_indices('<') {
            let rest = text.get(at + 1..).unwrap_or_default();
            // The text behind the bracket, so that a text full of brackets is read once.
            let Some((sigil, name)) = split(rest) else { continue };
            match (sigil, name) {
                ('!', "channel") => mentions.all = true,
                ('@', name) => {
                    let Ok(user) = UserId::parse(name) else { continue };
                    if mentions.users.contains(&user) {
                        continue;
                    }
                    if mentions.users.len() == limits::MENTIONS_MAX {
                        return Err(TooManyMentions);
                    }
                    mentions.users.push(user);
                }
                _ => {}
            }
        }
        Ok(mentions)
    }

    /// Whether the text mentions nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && !self.all
    }

    /// Whether it mentions this user, by name or with all members.
    #[must_use]
    pub fn includes(&self, user: &UserId) -> bool {
        self.all || self.users.contains(user)
    }
}

/// The character after an angle bracket, and the name up to the closing one.
fn split(rest: &str) -> Option<(char, &str)> {
    let sigil = rest.chars().next()?;
    let name = rest.get(sigil.len_utf8()..)?;
    let longest = name.len().min(limits::ID_CHARS_MAX + 1);
    let end = name.as_bytes().get(..longest)?.iter().position(|byte| *byte == b'>')?;
    Some((sigil, name.get(..end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> (Vec<String>, bool) {
        let Mentions { users, all } = Mentions::of(text).unwrap();
        (users.iter().map(ToString::to_string).collect(), all)
    }

    #[test]
    fn users_are_named_once_in_the_order_of_the_text() {
        assert_eq!(named("<@bob> and <@ada>, <@bob>!"), (vec!["bob".into(), "ada".into()], false));
        assert_eq!(named("all: <!channel>"), (vec![], true));
        assert_eq!(named("<<@bob>>"), (vec!["bob".into()], false));
    }

    #[test]
    fn other_text_in_brackets_is_plain() {
        for text in
            ["", "<", "<@", "<@>", "<@bob", "<@b ob>", "<@é>", "<bob>", "<!here>", "< @bob>"]
        {
            assert_eq!(named(text), (vec![], false), "{text:?}");
        }
        assert_eq!(named(&format!("<@{}>", "x".repeat(200))), (vec![], false));
    }

    #[test]
    fn the_fifty_first_name_is_one_too_many() {
        let text = |count: usize| (0..count).map(|n| format!("<@user{n}>")).collect::<String>();
        assert_eq!(Mentions::of(&text(50)).unwrap().users.len(), 50);
        assert_eq!(Mentions::of(&(text(50) + "<@user0>")).unwrap().users.len(), 50);
        assert_eq!(Mentions::of(&text(51)), Err(TooManyMentions));
    }
}
