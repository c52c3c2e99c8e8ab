use std::collections::BTreeSet;
use std::time::Duration;

use messaging::Refusal;
use messaging::amend::{delete_message, edit_message};
use messaging::derive::Record;
use messaging::members::remove_member;
use messaging::ports::{LogEntry, MessageStore, PageQuery};
use messaging::read_state::{MarkOutcome, list_unread, mark_read};
use messaging::relay::Outcome;
use messaging::scroll::{Scroll, scroll};
use messaging::threads::{follow, list_threads};
use model::{
    ChannelId, Direction, EditMessage, Epoch, ErrorCode, LogId, Mentions, Message, MessageId,
    MessageText, NewReadMark, ReadMark, Replies, ThreadId, UnreadCount, UserId, limits,
};

use crate::fixture::{Fixture, caller, origin, user};
use crate::react::target;

fn thread_of(root: &Message) -> ThreadId {
    ThreadId { root: root.id, channel_id: root.channel_id.clone() }
}

impl Fixture {
    /// Posts, and derives what follows. A second passes: each reply is counted at once.
    async fn says(&self, who: &str, log: impl Into<LogId>, text: &str) -> Message {
        self.clock.advance(Duration::from_secs(2));
        let message = self.post(who, log, text).await.message;
        self.derive_from(&message).await;
        message
    }

    async fn replies(&self, who: &str, root: &Message, text: &str) -> Message {
        self.says(who, thread_of(root).log(), text).await
    }

    /// Derives what follows from a message's row as it is stored.
    async fn derive_from(&self, message: &Message) {
        let entry = self.store.entry(&message.log(), message.id).await.unwrap();
        let Some(LogEntry::Message(stored)) = entry else { panic!("it is not stored") };
        let record = || Record::Message(Box::new(stored.clone()));
        assert_eq!(self.deriver().derive(&[record(), record()]).await, Outcome::Relayed);
    }

    async fn summary(&self, root: &Message) -> Option<Replies> {
        let who = root.sender_id.as_str().to_owned();
        self.read(&who, root).await.replies.map(|replies| *replies)
    }

    async fn reply_count(&self, root: &Message) -> u64 {
        self.summary(root).await.map_or(0, |replies| replies.count)
    }

    async fn deletes(&self, who: &str, message: &Message) {
        self.clock.advance(Duration::from_secs(2));
        delete_message(&self.app, &caller(who), &target(message), origin()).await.unwrap();
        self.derive_from(message).await;
    }

    /// The roots of the threads that a user follows, and whether they have news.
    async fn followed(&self, who: &str) -> Vec<(MessageId, bool)> {
        let (threads, next) = list_threads(&self.app, &caller(who), None, 100).await.unwrap();
        assert_eq!(next, None);
        threads.iter().map(|thread| (thread.root.id, thread.is_unread)).collect()
    }

    async fn marks(&self, who: &str, root: &Message, up_to: MessageId) -> MarkOutcome {
        let mark = ReadMark { epoch: Epoch::FIRST, up_to };
        let marks = [NewReadMark { log: thread_of(root).log(), mark }];
        mark_read(&self.app, &caller(who), &marks, &BTreeSet::new()).await.unwrap()[0].1
    }

    async fn page(&self, log: impl Into<LogId>, offset: Option<MessageId>) -> Vec<MessageId> {
        let (log, direction) = (log.into(), Direction::Newer);
        let request = Scroll { log, offset, limit: 100, direction, known: None };
        let page = scroll(&self.app, &caller("alice"), request).await.unwrap();
        page.messages.iter().map(|message| message.id).collect()
    }
}

async fn channel_and_root(fixture: &Fixture) -> (ChannelId, Message) {
    let channel = fixture.group("alice", &["bob", "carol"]).await.id;
    let root = fixture.says("alice", &channel, "who is in?").await;
    (channel, root)
}

#[tokio::test]
async fn g9_replies_are_counted_into_their_root_and_are_in_no_page_of_the_channel() {
    let fixture = Fixture::new();
    let (channel, root) = channel_and_root(&fixture).await;
    let first = fixture.replies("bob", &root, "me").await;
    let second = fixture.replies("carol", &root, "me too").await;
    let third = fixture.replies("bob", &root, "when?").await;
    assert_eq!((first.thread, &first.channel_id), (Some(root.id), &channel));
    let users = ["bob", "carol"].map(user).to_vec();
    assert_eq!(fixture.summary(&root).await, Some(Replies { count: 3, last: third.id, users }));
    assert_eq!(fixture.page(&channel, None).await, [root.id]);
    let thread = thread_of(&root).log();
    assert_eq!(fixture.page(thread, None).await, [first.id, second.id, third.id]);
}

#[tokio::test]
async fn g9_a_deleted_reply_does_not_count_wherever_it_is() {
    let fixture = Fixture::new();
    let (_, root) = channel_and_root(&fixture).await;
    let mut replies = Vec::new();
    for n in 0..limits::REPLIES_OPEN_MAX * 2 {
        replies.push(fixture.replies("bob", &root, &n.to_string()).await);
    }
    let all = replies.len() as u64;
    let entry = fixture.store.entry(&root.log(), root.id).await.unwrap();
    let Some(LogEntry::Message(stored)) = entry else { panic!() };
    let counted = stored.counted.unwrap();
    assert!(counted.settled > 0 && counted.settled < all, "{counted:?}");
    assert_eq!(fixture.reply_count(&root).await, all);
    // The first one is counted for good, the last one is not.
    for (n, reply) in [&replies[0], &replies[replies.len() - 1]].into_iter().enumerate() {
        fixture.deletes("bob", reply).await;
        assert_eq!(fixture.reply_count(&root).await, all - 1 - n as u64);
    }
    // The record of the first deletion comes again: once nothing is left to settle, the root stays.
    let comes_again = async || {
        fixture.clock.advance(limits::REPLIES_OPEN_FOR * 4);
        fixture.derive_from(&replies[0]).await;
        fixture.read("alice", &root).await
    };
    let before = comes_again().await;
    assert_eq!(comes_again().await, before);
    let last = replies[replies.len() - 2].id;
    assert_eq!(fixture.summary(&root).await.unwrap().last, last);
    for reply in &replies[1..replies.len() - 1] {
        fixture.deletes("bob", reply).await;
    }
    assert_eq!(fixture.summary(&root).await, None);
    let late = fixture.replies("carol", &root, "late").await;
    let users = vec![user("carol")];
    assert_eq!(fixture.summary(&root).await, Some(Replies { count: 1, last: late.id, users }));
}

#[tokio::test]
async fn g11_whoever_reads_the_channel_learns_which_threads_have_changes() {
    let fixture = Fixture::new();
    let (channel, root) = channel_and_root(&fixture).await;
    let reply = fixture.replies("bob", &root, "me").await;
    for change in ["reply", "edit", "deletion"] {
        fixture.clock.advance(Duration::from_secs(3_600));
        let before = MessageId::first_of(fixture.app.clock.now());
        assert_eq!(fixture.page(&channel, Some(before)).await, [], "{change}");
        match change {
            "reply" => drop(fixture.replies("carol", &root, "me too").await),
            "edit" => {
                let change_id = fixture.id_at(0, 5).into();
                let (text, mentions) =
                    (MessageText::from_stored("not me".into()), Mentions::default());
                let edit = EditMessage { text, mentions, change_id, if_rev: None };
                let (bob, reply) = (caller("bob"), target(&reply));
                edit_message(&fixture.app, &bob, &reply, &edit, origin()).await.unwrap();
            }
            _ => fixture.deletes("bob", &reply).await,
        }
        assert_eq!(fixture.page(&channel, Some(before)).await, [root.id], "{change}");
        assert_eq!(fixture.page(thread_of(&root).log(), Some(before)).await.len(), 1, "{change}");
    }
}

#[tokio::test]
async fn a_thread_has_a_root_of_the_channels_main_log() {
    let fixture = Fixture::new();
    let (channel, root) = channel_and_root(&fixture).await;
    let reply = fixture.replies("bob", &root, "me").await;
    for absent in [reply.id, MessageId::MIN] {
        let log = LogId::new(channel.clone(), Some(absent));
        let refused = fixture.send("bob", log.clone(), "hi", None, None).await.unwrap_err();
        assert_eq!((refused.code(), refused.field()), (ErrorCode::MessageNotFound, Some("thread")));
        let request =
            Scroll { log, offset: None, limit: 20, direction: Direction::Older, known: None };
        let refused = scroll(&fixture.app, &caller("bob"), request).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::MessageNotFound);
        let thread = ThreadId { root: absent, channel_id: channel.clone() };
        let refused = follow(&fixture.app, &caller("bob"), &thread, true).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::MessageNotFound);
        let refused = follow(&fixture.app, &caller("mallory"), &thread, true).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::ChannelNotFound, "no oracle");
    }
}

#[tokio::test]
async fn a_deleted_root_takes_replies_only_if_people_talk_there() {
    let fixture = Fixture::new();
    let (channel, root) = channel_and_root(&fixture).await;
    fixture.replies("bob", &root, "me").await;
    let quiet = fixture.says("alice", &channel, "quiet").await;
    for message in [&root, &quiet] {
        fixture.deletes("alice", message).await;
    }
    fixture.replies("carol", &root, "why?").await;
    assert_eq!(fixture.summary(&root).await.map(|replies| replies.count), Some(2));
    let (id, log) = (fixture.id_at(0, 7), thread_of(&quiet).log());
    let refused = fixture.send("bob", log, "hm", Some(id), None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::MessageDeleted);
}

#[tokio::test]
async fn one_id_may_be_in_a_channel_and_in_its_threads() {
    let fixture = Fixture::new();
    let (channel, root) = channel_and_root(&fixture).await;
    let id = fixture.id_at(0, 42);
    for (log, text) in [(LogId::from(&channel), "main"), (thread_of(&root).log(), "reply")] {
        let posted = fixture.send("bob", log.clone(), text, Some(id), None).await.unwrap();
        assert!(!posted.duplicate && posted.message.id == id, "{text}");
        let again = fixture.send("bob", log, text, Some(id), None).await.unwrap();
        assert!(again.duplicate && again.message.text.as_str() == text, "{text}");
    }
}

#[tokio::test]
async fn who_begins_a_thread_writes_in_it_or_is_mentioned_follows_it() {
    let fixture = Fixture::new();
    let (channel, root) = channel_and_root(&fixture).await;
    let other = fixture.says("bob", &channel, "other").await;
    assert_eq!(fixture.followed("alice").await, []);
    let reply = fixture.replies("bob", &root, "me").await;
    assert_eq!(fixture.followed("alice").await, [(root.id, true)]);
    assert_eq!(fixture.followed("bob").await, [(root.id, false)], "their own reply");
    assert_eq!(fixture.followed("carol").await, []);
    fixture.replies("alice", &other, "<@carol> and <@mallory>").await;
    assert_eq!(fixture.followed("carol").await, [(other.id, true)]);
    assert_eq!(fixture.followed("bob").await, [(other.id, true), (root.id, false)]);
    assert_eq!(fixture.followed("mallory").await, [], "no member");
    // What is read is not news, and who leaves a thread hears no more of it until they write in it.
    assert!(matches!(fixture.marks("alice", &root, reply.id).await, MarkOutcome::Moved(_)));
    assert_eq!(fixture.followed("alice").await, [(other.id, false), (root.id, false)]);
    fixture.clock.advance(Duration::from_secs(1));
    follow(&fixture.app, &caller("alice"), &thread_of(&root), false).await.unwrap();
    fixture.replies("bob", &root, "still me").await;
    assert_eq!(fixture.followed("bob").await, [(other.id, true), (root.id, false)], "their own");
    assert_eq!(fixture.followed("alice").await, [(other.id, false)]);
    fixture.replies("alice", &root, "ok").await;
    assert_eq!(fixture.followed("alice").await, [(other.id, false), (root.id, true)]);
    // A late record of an earlier reply does not bring back who left since.
    fixture.clock.advance(Duration::from_secs(1));
    follow(&fixture.app, &caller("bob"), &thread_of(&root), false).await.unwrap();
    fixture.derive_from(&reply).await;
    assert_eq!(fixture.followed("bob").await, [(other.id, true)]);
    remove_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    assert_eq!(fixture.followed("bob").await, []);
}

#[tokio::test]
async fn g12_a_mark_in_a_thread_never_moves_back_and_needs_no_following() {
    let fixture = Fixture::new();
    let (channel, root) = channel_and_root(&fixture).await;
    let first = fixture.replies("alice", &root, "one").await;
    let second = fixture.replies("alice", &root, "two").await;
    let at = |up_to| ReadMark { epoch: Epoch::FIRST, up_to };
    assert_eq!(fixture.marks("bob", &root, second.id).await, MarkOutcome::Moved(at(second.id)));
    assert_eq!(fixture.marks("bob", &root, first.id).await, MarkOutcome::Kept(at(second.id)));
    assert_eq!(fixture.followed("bob").await, []);
    follow(&fixture.app, &caller("bob"), &thread_of(&root), true).await.unwrap();
    assert_eq!(fixture.followed("bob").await, [(root.id, false)]);
    fixture.replies("alice", &root, "three").await;
    assert_eq!(fixture.followed("bob").await, [(root.id, true)]);
    let absent = Message { id: MessageId::MIN, ..root.clone() };
    let refused = MarkOutcome::Refused(ErrorCode::MessageNotFound);
    assert_eq!(fixture.marks("bob", &absent, first.id).await, refused);
    // Replies are not unread messages of the channel.
    let (channels, _) = list_unread(&fixture.app, &caller("bob"), None, 100).await.unwrap();
    let of = channels.iter().find(|unread| unread.of.channel_id == channel).unwrap();
    assert_eq!((of.count, of.mentions), (UnreadCount::Exact(1), UnreadCount::Exact(0)));
}

#[tokio::test]
async fn g9_a_hundred_replies_at_once_count_a_hundred_with_two_derivers() {
    let fixture = Fixture::new();
    let (channel, root) = channel_and_root(&fixture).await;
    let log = thread_of(&root).log();
    let mut records = Vec::new();
    for n in 0..100 {
        let sent = fixture.post("bob", log.clone(), &n.to_string()).await.message;
        let entry = fixture.store.entry(&log, sent.id).await.unwrap();
        let Some(LogEntry::Message(stored)) = entry else { panic!() };
        records.push(stored);
    }
    fixture.clock.advance(Duration::from_secs(2));
    let batch = |part: usize| {
        let part = records.iter().skip(part).step_by(2).cloned();
        part.map(|stored| Record::Message(Box::new(stored))).collect::<Vec<_>>()
    };
    let (one, other) = (fixture.deriver(), fixture.deriver());
    let (even, odd) = (batch(0), batch(1));
    let outcomes = tokio::join!(one.derive(&even), other.derive(&odd));
    assert_eq!(outcomes, (Outcome::Relayed, Outcome::Relayed));
    assert_eq!(fixture.reply_count(&root).await, 100);
    let query = PageQuery {
        log: channel.into(),
        lowest: MessageId::MIN,
        highest: MessageId::MAX,
        newest_first: false,
        limit: 100,
        strong: true,
    };
    let changes = fixture.store.changes(&query).await.unwrap().changes.len();
    assert!(changes <= 4, "many replies share a count: {changes}");
    let users: Vec<UserId> = fixture.summary(&root).await.unwrap().users;
    assert_eq!(users, [user("bob")]);
}
