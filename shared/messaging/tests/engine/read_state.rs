use std::collections::BTreeSet;

use std::time::Duration;

use memory::PublishFault;
use messaging::Refusal;
use messaging::amend::{Target, delete_message};
use messaging::channels::create_channel;
use messaging::members::{add_member, remove_member};
use messaging::ports::{Clock, EventBus, Notice};
use messaging::read_state::{MarkError, MarkOutcome, list_unread, mark_read, mark_unread};
use messaging::revoke::revoke_user;
use model::{
    ChannelId, Contract, Epoch, ErrorCode, LogId, MessageId, NewChannel, NewChannelKind,
    NewReadMark, ReadMark, UnreadCount, limits,
};

use protocol::signal::Signal;

use crate::fixture::{Fixture, caller, origin, stranger, user};

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

fn new_mark(channel: &ChannelId, up_to: MessageId, number: u64) -> NewReadMark {
    let mark = ReadMark { epoch: epoch(number), up_to };
    NewReadMark { log: channel.clone().into(), mark }
}

impl Fixture {
    /// One mark, in an epoch.
    pub(crate) async fn mark(
        &self,
        who: &str,
        channel: &ChannelId,
        up_to: MessageId,
        number: u64,
    ) -> Result<MarkOutcome, MarkError> {
        let marks = [new_mark(channel, up_to, number)];
        let marked = mark_read(&self.app, &caller(who), &marks, &BTreeSet::new()).await?;
        assert_eq!(marked.len(), 1);
        Ok(marked[0].1)
    }

    async fn unread_from(
        &self,
        who: &str,
        channel: &ChannelId,
        from: MessageId,
    ) -> Result<ReadMark, MarkError> {
        mark_unread(&self.app, &caller(who), channel, from).await
    }

    /// A user's mark in a channel and what is unread in it.
    pub(crate) async fn unread(&self, who: &str, channel: &ChannelId) -> (ReadMark, UnreadCount) {
        let (channels, _) = list_unread(&self.app, &caller(who), None, 100).await.unwrap();
        let found = channels.into_iter().find(|unread| unread.of.channel_id == *channel).unwrap();
        (found.of.mark, found.count)
    }

    /// What is unread in a channel and mentions the user.
    pub(crate) async fn mentions(&self, who: &str, channel: &ChannelId) -> UnreadCount {
        let (channels, _) = list_unread(&self.app, &caller(who), None, 100).await.unwrap();
        let found = channels.into_iter().find(|unread| unread.of.channel_id == *channel);
        found.unwrap().mentions
    }

    async fn count(&self, who: &str, channel: &ChannelId) -> UnreadCount {
        self.unread(who, channel).await.1
    }

    /// Messages of `who`, a millisecond apart.
    async fn posts(&self, who: &str, channel: &ChannelId, count: usize) -> Vec<MessageId> {
        let mut ids = Vec::new();
        for n in 0..count {
            self.clock.advance(Duration::from_millis(1));
            ids.push(self.post(who, channel, &n.to_string()).await.message.id);
        }
        ids
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, MarkError>) -> (ErrorCode, Option<&'static str>) {
    let error = result.unwrap_err();
    (error.code(), error.field())
}

fn moved(up_to: MessageId, number: u64) -> MarkOutcome {
    MarkOutcome::Moved(ReadMark { epoch: epoch(number), up_to })
}

fn kept(up_to: MessageId, number: u64) -> MarkOutcome {
    MarkOutcome::Kept(ReadMark { epoch: epoch(number), up_to })
}

#[tokio::test]
async fn g12_a_mark_moves_forward_only_and_counts_follow_it() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.posts("alice", &channel, 5).await;
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Exact(5));
    assert_eq!(fixture.mark("bob", &channel, sent[2], 0).await.unwrap(), moved(sent[2], 0));
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Exact(2));
    for back in [sent[2], sent[0], MessageId::MIN] {
        assert_eq!(fixture.mark("bob", &channel, back, 0).await.unwrap(), kept(sent[2], 0));
    }
    assert_eq!(fixture.mark("bob", &channel, sent[4], 0).await.unwrap(), moved(sent[4], 0));
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Exact(0));
    assert_eq!(fixture.count("alice", &channel).await, UnreadCount::Exact(0), "one's own");
}

#[tokio::test]
async fn g12_a_device_that_does_not_know_of_unread_moves_nothing() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.posts("alice", &channel, 5).await;
    fixture.mark("bob", &channel, sent[4], 0).await.unwrap();
    let mark = fixture.unread_from("bob", &channel, sent[1]).await.unwrap();
    assert_eq!(mark, ReadMark { epoch: epoch(1), up_to: sent[1].previous().unwrap() });
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Exact(4));
    // A device that was away still marks in the first epoch.
    assert_eq!(fixture.mark("bob", &channel, sent[4], 0).await.unwrap(), kept(mark.up_to, 1));
    assert_eq!(fixture.mark("bob", &channel, sent[4], 1).await.unwrap(), moved(sent[4], 1));
    let again = fixture.unread_from("bob", &channel, sent[4]).await.unwrap();
    assert_eq!(again.epoch, epoch(2));
    assert_eq!(fixture.unread("bob", &channel).await, (again, UnreadCount::Exact(1)));
}

#[tokio::test]
async fn g12_nobody_raises_an_epoch_by_a_mark() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.posts("alice", &channel, 2).await;
    let (before, _) = fixture.unread("bob", &channel).await;
    for number in [1, 7, 99_999_999] {
        let marked = fixture.mark("bob", &channel, sent[1], number).await.unwrap();
        assert_eq!(marked, MarkOutcome::Kept(before), "epoch {number}");
    }
    assert_eq!(fixture.unread("bob", &channel).await, (before, UnreadCount::Exact(2)));
    // Nothing is stuck: marks and `unread` go on.
    assert_eq!(fixture.mark("bob", &channel, sent[1], 0).await.unwrap(), moved(sent[1], 0));
    let mark = fixture.unread_from("bob", &channel, sent[0]).await.unwrap();
    assert_eq!(mark.epoch, epoch(1));
}

#[tokio::test]
async fn g12_a_mark_is_one_write_and_no_read() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.posts("alice", &channel, 1).await;
    let before = fixture.store.calls();
    fixture.mark("bob", &channel, sent[0], 0).await.unwrap();
    fixture.unread_from("bob", &channel, sent[0]).await.unwrap();
    let mut after = fixture.store.calls();
    assert_eq!(after.remove("change_mark"), Some(2));
    assert_eq!(after, before, "and no other call");
}

#[tokio::test]
async fn g12_a_mark_far_ahead_is_refused_and_hides_nothing() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let other = fixture.group("alice", &["bob"]).await.id;
    let [near, far] = [10_000, 10_001].map(|ms| fixture.id_at(ms, 0));
    let refused = fixture.mark("bob", &channel, far, 0).await;
    assert_eq!(code(refused), (ErrorCode::IdOutOfRange, Some("up_to")));
    let refused = fixture.unread_from("bob", &channel, far).await;
    assert_eq!(code(refused), (ErrorCode::IdOutOfRange, Some("from")));
    // One mark too far ahead, and none moves.
    let marks = [new_mark(&other, near, 0), new_mark(&channel, far, 0)];
    let refused = mark_read(&fixture.app, &caller("bob"), &marks, &BTreeSet::new()).await;
    assert_eq!(code(refused), (ErrorCode::IdOutOfRange, Some("up_to")));
    assert!(fixture.unread("bob", &other).await.0.up_to < near);
    assert_eq!(fixture.mark("bob", &channel, near, 0).await.unwrap(), moved(near, 0));
}

#[tokio::test]
async fn g12_only_ones_own_channels_have_marks() {
    let fixture = Fixture::new();
    let mine = fixture.group("alice", &["bob"]).await.id;
    let other = fixture.group("alice", &[]).await.id;
    let sent = fixture.posts("alice", &mine, 1).await;
    let marks = [new_mark(&other, sent[0], 0), new_mark(&mine, sent[0], 0)];
    let marked = mark_read(&fixture.app, &caller("bob"), &marks, &BTreeSet::new()).await.unwrap();
    assert_eq!(
        marked,
        [
            (LogId::from(&other), MarkOutcome::Refused(ErrorCode::ChannelNotFound)),
            (LogId::from(&mine), moved(sent[0], 0))
        ]
    );
    assert_eq!(code(fixture.mark("bob", &other, sent[0], 0).await).0, ErrorCode::ChannelNotFound);
    let refused = fixture.unread_from("bob", &other, sent[0]).await;
    assert_eq!(code(refused).0, ErrorCode::ChannelNotFound);
    let marks = [new_mark(&mine, sent[0], 0)];
    let refused = mark_read(&fixture.app, &stranger("bob"), &marks, &BTreeSet::new()).await;
    assert_eq!(code(refused).0, ErrorCode::ChannelNotFound);
    assert_eq!(list_unread(&fixture.app, &stranger("bob"), None, 100).await.unwrap().0, []);
    assert_eq!(list_unread(&fixture.app, &caller("eve"), None, 100).await.unwrap().0, []);
}

#[tokio::test]
async fn g12_a_mark_brings_back_nobody_who_left_or_was_revoked() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob", "carol"]).await.id;
    let sent = fixture.posts("alice", &channel, 1).await;
    remove_member(&fixture.app, &caller("bob"), &channel, &user("bob")).await.unwrap();
    revoke_user(&fixture.app, &caller("admin"), &user("carol")).await.unwrap();
    for who in ["bob", "carol"] {
        let refused = fixture.mark(who, &channel, sent[0], 0).await;
        assert_eq!(code(refused).0, ErrorCode::ChannelNotFound, "{who}");
        let refused = fixture.unread_from(who, &channel, sent[0]).await;
        assert_eq!(code(refused).0, ErrorCode::ChannelNotFound, "{who}");
        assert_eq!(
            list_unread(&fixture.app, &caller(who), None, 100).await.unwrap().0,
            [],
            "{who}"
        );
    }
}

#[tokio::test]
async fn g12_what_was_sent_before_one_joined_is_read() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let old = fixture.posts("alice", &channel, 3).await;
    fixture.unread_from("bob", &channel, old[0]).await.unwrap();
    fixture.clock.advance(Duration::from_secs(60));
    add_member(&fixture.app, &caller("alice"), &channel, &user("carol")).await.unwrap();
    assert_eq!(fixture.count("carol", &channel).await, UnreadCount::Exact(0));
    let joined = ReadMark::of_joining(fixture.clock.now());
    // A mark from an earlier membership does not bring the time between back.
    assert_eq!(
        fixture.mark("carol", &channel, old[1], 0).await.unwrap(),
        MarkOutcome::Kept(joined)
    );
    fixture.posts("alice", &channel, 2).await;
    assert_eq!(fixture.unread("carol", &channel).await, (joined, UnreadCount::Exact(2)));
    fixture.clock.advance(Duration::from_secs(60));
    // To be added again changes nothing, and to leave and come back starts afresh.
    add_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    assert_eq!(fixture.unread("bob", &channel).await.0.epoch, epoch(1));
    remove_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    add_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    let afresh = ReadMark::of_joining(fixture.clock.now());
    assert_eq!(fixture.unread("bob", &channel).await, (afresh, UnreadCount::Exact(0)));
    // History from before can still be marked unread on purpose.
    fixture.unread_from("bob", &channel, old[0]).await.unwrap();
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Exact(5));
}

#[tokio::test]
async fn g12_own_and_deleted_messages_and_redirects_do_not_count() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.posts("alice", &channel, 4).await;
    fixture.posts("bob", &channel, 3).await;
    fixture.send("alice", &channel, "late", Some(fixture.id_at(-60_000, 1)), None).await.unwrap();
    fixture.send("alice", &channel, "early", Some(fixture.id_at(5_000, 1)), None).await.unwrap();
    let target = Target { log: (&channel).into(), id: sent[1] };
    delete_message(&fixture.app, &caller("alice"), &target, origin()).await.unwrap();
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Exact(5));
    assert_eq!(fixture.count("alice", &channel).await, UnreadCount::Exact(3));
}

#[tokio::test]
async fn g12_counts_are_exact_to_99_and_cost_at_most_three_queries() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob", "carol"]).await.id;
    let sent = fixture.posts("alice", &channel, 99).await;
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Exact(99));
    fixture.posts("alice", &channel, 1).await;
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Over);
    fixture.mark("bob", &channel, sent[0], 0).await.unwrap();
    assert_eq!(fixture.count("bob", &channel).await, UnreadCount::Exact(99));
    // One's own messages take up rows: beyond three queries nobody knows.
    let own = fixture.group("alice", &["bob"]).await.id;
    for (sent, count) in
        [(1, UnreadCount::Exact(1)), (200, UnreadCount::Exact(2)), (200, UnreadCount::Over)]
    {
        fixture.posts("bob", &own, sent).await;
        fixture.posts("alice", &own, 1).await;
        let before = fixture.store.calls()["page"];
        assert_eq!(fixture.count("bob", &own).await, count);
        let queries = fixture.store.calls()["page"] - before;
        assert!(queries <= 2 + u64::from(limits::UNREAD_QUERIES_MAX), "{queries}");
    }
}

#[tokio::test]
async fn g12_unread_channels_are_paged_like_channels() {
    let fixture = Fixture::new();
    let mut channels = Vec::new();
    for n in 0..7 {
        fixture.clock.advance(Duration::from_millis(1));
        let channel = fixture.group("alice", &["bob"]).await.id;
        fixture.posts("alice", &channel, n).await;
        channels.push(channel);
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) =
            list_unread(&fixture.app, &caller("bob"), after.as_ref(), 3).await.unwrap();
        found.extend(page.into_iter().map(|unread| (unread.of.channel_id, unread.count)));
        if next.is_none() {
            break;
        }
        after = next;
    }
    let wanted = channels.into_iter().zip(0_u32..);
    let wanted: Vec<_> = wanted.map(|(id, n)| (id, UnreadCount::Exact(n))).collect();
    assert_eq!(found, wanted);
    let (all, next) = list_unread(&fixture.app, &caller("bob"), None, 7).await.unwrap();
    assert_eq!((all.len(), next), (7, None), "no call follows a page of all channels");
}

#[tokio::test]
async fn g12_the_last_epoch_is_the_end_of_unread_and_of_nothing_else() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.posts("alice", &channel, 2).await;
    let last = Epoch::LAST.number().into();
    fixture.set_epoch("bob", &channel, last).await;
    let refused = fixture.unread_from("bob", &channel, sent[0]).await;
    assert_eq!(code(refused), (ErrorCode::Forbidden, None));
    assert_eq!(fixture.mark("bob", &channel, sent[1], last).await.unwrap(), moved(sent[1], last));
}

impl Fixture {
    /// Brings a mark to an epoch at once, as no call does.
    async fn set_epoch(&self, who: &str, channel: &ChannelId, number: u64) {
        use messaging::ports::{MarkChange, Marked, ReadMarkStore};
        let mark = ReadMark { epoch: epoch(number), up_to: MessageId::MIN };
        let change = MarkChange { within: Epoch::FIRST, mark };
        let (workspace, who) = (crate::fixture::workspace(), user(who));
        let marked = self.store.change_mark(&workspace, &who, channel, change).await.unwrap();
        assert_eq!(marked, Marked::Moved(mark));
    }
}

#[tokio::test]
async fn g12_a_mark_that_moved_is_signalled_to_its_user_and_needs_no_bus() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.posts("alice", &channel, 2).await;
    let mut subscription = fixture.bus.subscribe(&crate::fixture::workspace()).await.unwrap();
    let signal = |up_to, number| {
        let marks = vec![new_mark(&channel, up_to, number)];
        Some(Notice::Signal(Signal::Read { user_id: user("bob"), marks }))
    };
    fixture.mark("bob", &channel, sent[1], 0).await.unwrap();
    assert_eq!(subscription.next().await, signal(sent[1], 0));
    // One that is kept is not, but a repetition is: its first attempt may have died before.
    fixture.mark("bob", &channel, sent[0], 0).await.unwrap();
    fixture.mark("bob", &channel, sent[1], 0).await.unwrap();
    assert_eq!(subscription.next().await, signal(sent[1], 0));
    let mark = fixture.unread_from("bob", &channel, sent[1]).await.unwrap();
    assert_eq!(subscription.next().await, signal(mark.up_to, 1));
    fixture.bus.fail_publishes(PublishFault::Unavailable, u64::MAX);
    assert_eq!(fixture.mark("bob", &channel, sent[1], 1).await.unwrap(), moved(sent[1], 1));
    assert_eq!(fixture.published().await.len(), 3, "no signal is in the stream");
}

#[tokio::test(start_paused = true)]
async fn g14_marks_that_are_shown_wait_for_a_bus_that_hangs_no_longer_than_a_send() {
    let fixture = Fixture::new();
    let kind = NewChannelKind::Dm { other: user("bob") };
    let new = NewChannel { kind, contract: Contract::DeliverFirst };
    let channel = create_channel(&fixture.app, &caller("alice"), new).await.unwrap().0.id;
    let marks: Vec<NewReadMark> =
        (1..=10).map(|ms| new_mark(&channel, fixture.id_at(ms, 0), 0)).collect();
    fixture.bus.fail_publishes(PublishFault::Hang, u64::MAX);
    let before = tokio::time::Instant::now();
    let shared = BTreeSet::from([channel]);
    mark_read(&fixture.app, &caller("bob"), &marks, &shared).await.unwrap();
    let tries = limits::PUBLISH_TIMEOUTS_MAX;
    assert!(before.elapsed() <= tries * limits::PUBLISH_DEADLINE + Duration::from_millis(5));
}
