use std::sync::Arc;
use std::time::Duration;

use messaging::Refusal;
use messaging::amend::{AmendError, Target, delete_message, read_message};
use messaging::derive::{Deriver, DeriverPorts, Record};
use messaging::ports::{MemberStore, MessageStore, StoredReaction};
use messaging::react::{Act, list_reactions, react};
use messaging::relay::Outcome;
use model::{ChangeId, Emoji, ErrorCode, Member, Message, UserId, limits};
use protocol::frame::{ServerFrame, with_cursor};

use crate::fixture::{Fixture, caller, origin, stranger};

fn emoji(text: &str) -> Emoji {
    Emoji::parse(text).unwrap()
}

pub(crate) fn target(message: &Message) -> Target {
    Target { log: message.log(), id: message.id }
}

/// Emoji, count, first users, and whether the caller is one of them.
fn summary(message: &Message) -> Vec<(&str, u64, Vec<&str>, Option<bool>)> {
    message
        .reactions
        .iter()
        .map(|one| {
            let users = one.users.iter().map(UserId::as_str).collect();
            (one.emoji.as_str(), one.count, users, one.mine)
        })
        .collect()
}

impl Fixture {
    async fn act(
        &self,
        who: &str,
        message: &Message,
        text: &str,
        is_made: bool,
        change_id: Option<ChangeId>,
    ) -> Result<Message, AmendError> {
        let act = Act { emoji: emoji(text), is_made, change_id };
        react(&self.app, &caller(who), &target(message), &act, origin()).await
    }

    /// Makes a reaction long after the last one, so that it is counted at once.
    async fn react(&self, who: &str, message: &Message, text: &str) -> Message {
        self.clock.advance(Duration::from_secs(60));
        self.act(who, message, text, true, None).await.unwrap()
    }

    pub(crate) async fn read(&self, who: &str, message: &Message) -> Message {
        read_message(&self.app, &caller(who), &target(message)).await.unwrap()
    }

    /// Stores reactions of users who do not exist, as if their functions had died.
    async fn store_reactions(&self, message: &Message, text: &str, users: usize) {
        for n in 0..users {
            let reaction = StoredReaction {
                user_id: UserId::parse(&format!("user{n:05}")).unwrap(),
                emoji: emoji(text),
                change_id: self.change(n as u128),
                withdrawn: None,
                members_version: 1,
            };
            self.store.react(&message.log(), message.id, &reaction).await.unwrap();
        }
    }

    fn change(&self, n: u128) -> ChangeId {
        ChangeId::parse(&self.id_at(0, n).to_string()).unwrap()
    }

    pub(crate) fn deriver(&self) -> Deriver {
        let ports = &self.app;
        let (clock, randomness) = (ports.clock.clone(), ports.randomness.clone());
        let files = Arc::new(self.files.clone());
        Deriver::new(DeriverPorts::of_store(self.store.clone(), files, clock, randomness))
    }

    async fn derive(&self, message: &Message) -> Outcome {
        let record = Record::Reaction(message.log(), message.id);
        self.deriver().derive(&[record]).await
    }
}

fn code(result: Result<Message, AmendError>) -> ErrorCode {
    result.unwrap_err().code()
}

#[tokio::test]
async fn g9_a_reaction_on_a_quiet_message_is_counted_and_published_at_once() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    let reacted = fixture.act("bob", &sent, "👍", true, None).await.unwrap();
    assert_eq!(summary(&reacted), [("👍", 1, vec!["bob"], Some(true))]);
    assert!(reacted.rev > sent.rev && *reacted.text_rev() == sent.rev);
    assert_eq!(summary(&fixture.read("alice", &sent).await), [("👍", 1, vec!["bob"], Some(false))]);
    let frame = fixture.last_frame().await;
    let Some(ServerFrame::Message { message, lacks_text, .. }) =
        ServerFrame::decode(&with_cursor(&frame, "c"))
    else {
        panic!("{frame}")
    };
    assert_eq!((message.text.as_str(), lacks_text, message.rev), ("hi", false, reacted.rev));
    assert_eq!(message.reactions.first().map(|one| one.mine), Some(None), "one frame for all");
    let both = fixture.react("alice", &sent, "👍").await;
    assert_eq!(summary(&both), [("👍", 2, vec!["bob", "alice"], Some(true))]);
    fixture.clock.advance(Duration::from_secs(60));
    let withdrawn = fixture.act("bob", &sent, "👍", false, None).await.unwrap();
    assert_eq!(summary(&withdrawn), [("👍", 1, vec!["alice"], Some(false))]);
}

#[tokio::test]
async fn g9_a_long_text_is_not_pushed_again_with_a_reaction() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    for (length, is_left_out) in [(512, false), (513, true), (30_000, true)] {
        let sent = fixture.post("alice", &channel, &"x".repeat(length)).await.message;
        fixture.act("bob", &sent, "👍", true, None).await.unwrap();
        let frame = fixture.last_frame().await;
        let decoded = ServerFrame::decode(&with_cursor(&frame, "c"));
        let Some(ServerFrame::Message { message, lacks_text, .. }) = decoded else {
            panic!("{frame}")
        };
        assert_eq!((lacks_text, frame.contains("xxx")), (is_left_out, !is_left_out), "{length}");
        assert_eq!(*message.text_rev(), sent.rev);
        let read = fixture.read("bob", &sent).await;
        assert_eq!(read.text, sent.text);
    }
}

#[tokio::test]
async fn g9_of_a_users_acts_the_one_with_the_greatest_id_wins_in_any_order() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let fixture = Fixture::new();
        let channel = fixture.group("alice", &[]).await.id;
        let sent = fixture.post("alice", &channel, "hi").await.message;
        let ids = [1, 2, 3].map(|n| fixture.change(n));
        for n in order {
            let id = ids[n - 1];
            fixture.act("alice", &sent, "👍", n != 2, Some(id)).await.unwrap();
        }
        // Those that came while another was counted are left to `derive`.
        fixture.clock.advance(Duration::from_secs(60));
        assert_eq!(fixture.derive(&sent).await, Outcome::Relayed);
        let read = fixture.read("alice", &sent).await;
        assert_eq!(summary(&read), [("👍", 1, vec!["alice"], Some(true))], "{order:?}");
        // A late retry of the withdrawal does not undo what came after it.
        fixture.clock.advance(Duration::from_secs(60));
        let again = fixture.act("alice", &sent, "👍", false, Some(ids[1])).await;
        assert_eq!(again.unwrap().reactions[0].mine, Some(true), "the later act stands");
    }
}

#[tokio::test]
async fn g9_derive_counts_what_a_function_that_died_left_and_repeats_nothing() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    fixture.store_reactions(&sent, "🎉", 12).await;
    assert_eq!(fixture.read("alice", &sent).await.reactions, []);
    let deriver = fixture.deriver();
    let record = || Record::Reaction(sent.log(), sent.id);
    for _ in 0..3 {
        let outcome = deriver.derive(&[Record::Other, record(), record()]).await;
        assert_eq!(outcome, Outcome::Relayed);
    }
    assert_eq!((deriver.counts().folded, deriver.counts().unchanged), (1, 2));
    let read = fixture.read("alice", &sent).await;
    let [reaction] = read.reactions.as_slice() else { panic!("{read:?}") };
    assert_eq!((reaction.count, reaction.users.len(), reaction.mine), (12, 10, Some(false)));
    // The user is not among the first ten: their own row says so.
    let eleventh = fixture.react("alice", &sent, "🎉").await;
    assert_eq!(eleventh.reactions[0].mine, Some(true));
    assert_eq!(fixture.read("alice", &sent).await.reactions[0].mine, Some(true));
}

#[tokio::test(start_paused = true)]
async fn g9_while_many_react_they_share_a_count() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob", "carol"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    fixture.act("alice", &sent, "👍", true, None).await.unwrap();
    let published = fixture.published().await.len();
    for who in ["bob", "carol"] {
        let lagging = fixture.act(who, &sent, "👍", true, None).await.unwrap();
        assert_eq!(lagging.reactions[0].count, 1, "stored, but not counted yet");
        assert_eq!(lagging.reactions[0].mine, Some(true));
    }
    assert_eq!(fixture.published().await.len(), published);
    let before = tokio::time::Instant::now();
    let clock = fixture.clock.clone();
    let moving = tokio::spawn(async move {
        tokio::time::sleep(limits::FOLD_EVERY / 2).await;
        clock.advance(limits::FOLD_EVERY);
    });
    assert_eq!(fixture.derive(&sent).await, Outcome::Relayed);
    moving.await.unwrap();
    assert!(before.elapsed() >= limits::FOLD_EVERY, "{:?}", before.elapsed());
    assert_eq!(fixture.read("alice", &sent).await.reactions[0].count, 3);
}

#[tokio::test]
async fn g10_a_deleted_message_has_no_reactions_and_takes_none() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    fixture.act("bob", &sent, "👍", true, None).await.unwrap();
    let deleted = delete_message(&fixture.app, &caller("alice"), &target(&sent), origin()).await;
    assert_eq!(deleted.unwrap().reactions, []);
    for is_made in [true, false] {
        let refused = fixture.act("bob", &sent, "👍", is_made, None).await;
        assert_eq!(code(refused), ErrorCode::MessageDeleted);
    }
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(fixture.derive(&sent).await, Outcome::Relayed);
    assert_eq!(fixture.read("bob", &sent).await.reactions, [], "late counting brings none back");
}

#[tokio::test]
async fn reactions_are_refused_to_strangers_and_on_absent_messages() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    let act = Act { emoji: emoji("👍"), is_made: true, change_id: None };
    let refused = react(&fixture.app, &stranger("bob"), &target(&sent), &act, origin()).await;
    assert_eq!(code(refused), ErrorCode::ChannelNotFound);
    let absent = Message { id: fixture.id_at(-5, 9), ..sent.clone() };
    let nothing = fixture.act("bob", &absent, "👍", true, None).await;
    assert_eq!(code(nothing), ErrorCode::MessageNotFound);
    for offset_ms in [-86_401_000, 2_000] {
        let id = ChangeId::parse(&fixture.id_at(offset_ms, 1).to_string()).unwrap();
        let refused = fixture.act("bob", &sent, "👍", true, Some(id)).await;
        assert_eq!(code(refused), ErrorCode::IdOutOfRange, "{offset_ms}");
    }
    assert_eq!(fixture.store.calls().get("react"), None, "nothing is stored");
}

#[tokio::test]
async fn a_21st_emoji_and_a_5001st_reaction_are_refused_but_ones_own_can_be_withdrawn() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    for n in 0..limits::REACTION_EMOJI_MAX {
        fixture.react("alice", &sent, &format!(":e{n}:")).await;
    }
    let refused = fixture.act("bob", &sent, ":another:", true, None).await;
    assert_eq!(code(refused), ErrorCode::TooManyReactions);
    fixture.react("bob", &sent, ":e0:").await;
    let full = fixture.post("alice", &channel, "popular").await.message;
    fixture.store_reactions(&full, "👍", 4_999).await;
    fixture.react("alice", &full, "👍").await;
    let refused = fixture.act("bob", &full, "👍", true, None).await;
    assert_eq!(code(refused), ErrorCode::TooManyReactions);
    assert_eq!(fixture.react("alice", &full, "👍").await.reactions[0].count, 5_000);
    fixture.clock.advance(Duration::from_secs(60));
    let withdrawn = fixture.act("alice", &full, "👍", false, None).await.unwrap();
    assert_eq!(withdrawn.reactions[0].count, 4_999);
}

#[tokio::test]
async fn reactions_are_listed_in_pages_without_the_withdrawn_ones() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    fixture.store_reactions(&sent, "👍", 5).await;
    fixture.react("alice", &sent, "🎉").await;
    fixture.clock.advance(Duration::from_secs(60));
    fixture.act("alice", &sent, "🎉", false, None).await.unwrap();
    let (mut after, mut users) = (None, Vec::new());
    loop {
        let after_row = after.as_ref().map(|(user, emoji): &(UserId, Emoji)| (user, emoji));
        let page =
            list_reactions(&fixture.app, &caller("alice"), &target(&sent), after_row, 2).await;
        let page = page.unwrap();
        let standing = page.rows.iter().filter(|row| row.withdrawn.is_none());
        users.extend(standing.map(|row| row.user_id.to_string()));
        after = page.rows.last().map(|row| (row.user_id.clone(), row.emoji.clone()));
        if !page.more {
            break;
        }
    }
    assert_eq!(users, ["user00000", "user00001", "user00002", "user00003", "user00004"]);
}

#[tokio::test(start_paused = true)]
async fn g9_a_storm_of_5000_reactions_in_10_s_takes_12_folds_at_most() {
    const USERS: usize = 5_000;
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await;
    let users: Vec<UserId> =
        (0..USERS).map(|n| UserId::parse(&format!("user{n:05}")).unwrap()).collect();
    for some in users.chunks(100) {
        let joined_at = channel.created_at;
        let members: Vec<_> =
            some.iter().map(|user| Member { user_id: user.clone(), joined_at }).collect();
        fixture.store.put_members(&channel.workspace_id, &channel.id, &members).await.unwrap();
    }
    let sent = fixture.post("alice", &channel.id, "who is in?").await.message;
    let (deriver, clock) = (fixture.deriver(), fixture.clock.clone());
    let record = Record::Reaction(sent.log(), sent.id);
    // The stream brings what was written before each of its reads.
    let reading = tokio::spawn({
        let deriver = deriver.clone();
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                deriver.derive(std::slice::from_ref(&record)).await;
            }
        }
    });
    let ticking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            clock.advance(Duration::from_millis(1));
        }
    });
    let published = fixture.published().await.len();
    for user in &users {
        tokio::time::sleep(Duration::from_millis(2)).await;
        fixture.act(user.as_str(), &sent, "👍", true, None).await.unwrap();
    }
    tokio::time::sleep(limits::FOLD_EVERY_MAX + Duration::from_secs(1)).await;
    reading.abort();
    ticking.abort();
    let read = fixture.read("user00000", &sent).await;
    assert_eq!(read.reactions[0].count, USERS as u64, "all are counted");
    let by_calls = fixture.published().await.len() - published;
    let folds = deriver.counts().folded + by_calls as u64;
    println!("figure: {folds} folds for {USERS} reactions in 10 s, {by_calls} of them by calls");
    assert!(folds <= 12, "{folds} folds, so as many frames a viewer");
    let writes = fixture.store.calls()["react"];
    assert_eq!(writes, USERS as u64, "one row a reaction");
}
