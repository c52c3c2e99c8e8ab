//! Who types where: what viewers are told, and when.

use std::collections::{BTreeMap, HashMap};

use model::{ChannelId, LogId, Timestamp, UserId, limits};

use crate::roster::UserKey;

/// Who types in the logs that somebody here views, and what local users said lately.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    logs: BTreeMap<LogId, Typists>,
    /// When a local user said last that they type in a log.
    said: HashMap<(UserKey, LogId), Timestamp>,
}

#[derive(Debug, Default)]
struct Typists {
    /// Until when each of them counts, and when they began.
    users: BTreeMap<UserId, Typist>,
    told_at: Option<Timestamp>,
    has_news: bool,
}

#[derive(Debug, Clone, Copy)]
struct Typist {
    since: Timestamp,
    until: Timestamp,
}

/// Everybody who types in a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TypingSet {
    pub(crate) log: LogId,
    pub(crate) users: Vec<UserId>,
    pub(crate) more: u64,
}

impl Typing {
    /// Whether nobody types, as far as this node is to know.
    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.said.is_empty()
    }

    /// Whether somebody types in a channel or one of its threads.
    pub(crate) fn is_typed_in(&self, channel: &ChannelId) -> bool {
        let mut from = self.logs.range(LogId::from(channel)..);
        from.next().is_some_and(|(log, _)| log.channel_id == *channel)
    }

    /// Whether what a local user says is to be passed on: not so soon after the last time.
    pub(crate) fn passes(&mut self, user: UserKey, log: &LogId, now: Timestamp) -> bool {
        let last = self.said.get(&(user, log.clone()));
        let passes = last.is_none_or(|last| is_over(*last, limits::TYPING_EVERY, now));
        if passes {
            self.said.insert((user, log.clone()), now);
        }
        passes
    }

    /// Records that somebody types.
    pub(crate) fn types(&mut self, log: &LogId, user: &UserId, now: Timestamp) {
        let typists = self.logs.entry(log.clone()).or_default();
        let is_new = !typists.users.contains_key(user);
        if is_new && typists.users.len() >= limits::TYPING_KNOWN_MAX {
            return;
        }
        let until = now.plus(limits::TYPING_VOID);
        let since = typists.users.get(user).map_or(now, |known| known.since);
        typists.users.insert(user.clone(), Typist { since, until });
        // Also if the set is the same: clients forget it if nothing comes.
        typists.has_news = true;
    }

    /// Records that somebody's message came: they type no more. Clients know it from the message.
    pub(crate) fn sent(&mut self, log: &LogId, user: &UserId) {
        if let Some(typists) = self.logs.get_mut(log) {
            typists.users.remove(user);
        }
    }

    /// What viewers are to be told now of one log, or of all.
    pub(crate) fn due(&mut self, only: Option<&LogId>, now: Timestamp) -> Vec<TypingSet> {
        let mut due = Vec::new();
        let all = || self.logs.keys().cloned().collect();
        for log in only.map_or_else(all, |log| vec![log.clone()]) {
            let Some(typists) = self.logs.get_mut(&log) else { continue };
            // Nobody is told: clients forget the set if nothing comes, and one more would keep the others.
            // If the clock was set back, `until` may be far ahead.
            typists.users.retain(|_, typist| {
                typist.until > now && typist.until <= now.plus(limits::TYPING_VOID)
            });
            if typists.users.is_empty() {
                self.logs.remove(&log);
                continue;
            }
            let may_tell =
                typists.told_at.is_none_or(|at| is_over(at, limits::TYPING_TOLD_EVERY, now));
            if typists.has_news && may_tell {
                (typists.has_news, typists.told_at) = (false, Some(now));
                due.push(typists.set(log));
            }
        }
        due
    }

    /// Forgets what local users said a while ago.
    pub(crate) fn forget_old(&mut self, now: Timestamp) {
        self.said.retain(|_, last| !is_over(*last, limits::TYPING_EVERY, now));
    }
}

impl Typists {
    fn set(&self, log: LogId) -> TypingSet {
        let mut first: Vec<(Timestamp, &UserId)> =
            self.users.iter().map(|(user, typist)| (typist.since, user)).collect();
        first.sort_unstable();
        first.truncate(limits::TYPING_USERS_MAX);
        let users: Vec<UserId> = first.into_iter().map(|(_, user)| user.clone()).collect();
        let more = self.users.len() - users.len();
        TypingSet { log, users, more: more as u64 }
    }
}

/// Whether a time has passed since a moment. So it has if the clock was set back.
fn is_over(since: Timestamp, wait: std::time::Duration, now: Timestamp) -> bool {
    now < since || now.since(since) >= wait
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LogId {
        ChannelId::mint_group(at(0), 1).into()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000 + ms)
    }

    fn user(n: u64) -> UserId {
        format!("u{n}").parse().unwrap()
    }

    fn told(typing: &mut Typing, ms: u64) -> Vec<(Vec<UserId>, u64)> {
        typing.due(None, at(ms)).into_iter().map(|set| (set.users, set.more)).collect()
    }

    #[test]
    fn g17_viewers_are_told_the_whole_set_once_a_second_at_most() {
        let mut typing = Typing::default();
        for n in 0..7 {
            typing.types(&log(), &user(n), at(n));
        }
        let first: Vec<UserId> = (0..5).map(user).collect();
        assert_eq!(told(&mut typing, 10), [(first.clone(), 2)]);
        typing.types(&log(), &user(7), at(500));
        assert_eq!(told(&mut typing, 1_009), []);
        assert_eq!(told(&mut typing, 1_010), [(first, 3)]);
        assert_eq!(told(&mut typing, 3_000), [], "nothing new");
        // They end after six seconds, and nobody is told: one more frame would keep the others.
        assert_eq!(told(&mut typing, 6_400), []);
        assert!(!typing.is_empty());
        assert_eq!(told(&mut typing, 6_500), []);
        assert!(typing.is_empty());
    }

    #[test]
    fn g17_who_goes_on_is_told_again_and_who_has_sent_is_not() {
        let mut typing = Typing::default();
        typing.types(&log(), &user(1), at(0));
        typing.types(&log(), &user(2), at(0));
        assert_eq!(told(&mut typing, 0).len(), 1);
        typing.types(&log(), &user(1), at(3_000));
        assert_eq!(told(&mut typing, 3_000), [(vec![user(1), user(2)], 0)]);
        typing.sent(&log(), &user(1));
        assert_eq!(told(&mut typing, 4_500), [], "the message says so");
        typing.types(&log(), &user(2), at(4_600));
        assert_eq!(told(&mut typing, 4_600), [(vec![user(2)], 0)]);
    }

    #[test]
    fn g17_what_a_user_says_too_often_is_not_passed_on() {
        let mut typing = Typing::default();
        let key = UserKey::default();
        let passes: Vec<bool> =
            [0, 1_000, 2_999, 3_000].map(|ms| typing.passes(key, &log(), at(ms))).to_vec();
        assert_eq!(passes, [true, false, false, true]);
        typing.forget_old(at(6_000));
        assert!(typing.is_empty());
    }
}
