use std::time::Duration;

use messaging::Refusal;
use messaging::amend::{AmendError, delete_message};
use messaging::derive::Record;
use messaging::details::change_channel;
use messaging::members::remove_member;
use messaging::pins::{PinAct, Pinned, list_pins, pin};
use messaging::ports::{Clock, LogEntry, MessageStore, PinStore, StoredPin};
use messaging::relay::Outcome;
use model::MessageRef;
use model::{ChangeId, ChannelId, ChannelUpdate, ErrorCode, Message, MessageId, limits};
use protocol::frame::{ServerFrame, with_cursor};

use crate::fixture::{Fixture, caller, origin, stranger, user};
use crate::react::target;

impl Fixture {
    async fn pin_act(
        &self,
        who: &str,
        message: &Message,
        is_made: bool,
        change_id: Option<ChangeId>,
    ) -> Result<Message, AmendError> {
        let act = PinAct { is_made, change_id };
        pin(&self.app, &caller(who), &target(message), act, origin()).await
    }

    async fn pin(&self, who: &str, message: &Message) -> Message {
        self.clock.advance(Duration::from_millis(1));
        self.pin_act(who, message, true, None).await.unwrap()
    }

    async fn pinned(&self, channel: &ChannelId) -> Vec<MessageId> {
        let page = list_pins(&self.app, &caller("alice"), channel, None, 100).await.unwrap();
        page.messages.iter().map(|message| message.id).collect()
    }

    /// Stores an act as if its function had died before the message showed it.
    async fn store_pin(&self, message: &Message, is_made: bool, act: ChangeId) {
        let now = self.clock.now();
        let pin = StoredPin {
            of: MessageRef { id: message.id, thread: message.thread },
            act,
            by: user("bob"),
            at: now,
            withdrawn: (!is_made).then(|| now.plus(limits::WITHDRAWN_TTL)),
            members_version: 1,
        };
        self.store.pin(&message.channel_id, &pin).await.unwrap();
    }

    async fn derive_pin(&self, message: &Message) -> u64 {
        let deriver = self.deriver();
        let record = || Record::Pin(message.log(), message.id);
        assert_eq!(deriver.derive(&[record(), record()]).await, Outcome::Relayed);
        deriver.counts().pins_shown
    }
}

fn by(message: &Message) -> Option<&str> {
    message.pinned.as_ref().map(|pinned| pinned.by.as_str())
}

fn code<T: std::fmt::Debug>(result: Result<T, AmendError>) -> ErrorCode {
    result.unwrap_err().code()
}

#[tokio::test]
async fn g9_a_pin_is_shown_published_and_listed_and_an_unpin_takes_it_back() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let first = fixture.post("alice", &channel, "first").await.message;
    fixture.clock.advance(Duration::from_secs(1));
    let second = fixture.post("alice", &channel, "second").await.message;
    let pinned = fixture.pin("bob", &first).await;
    assert!(by(&pinned) == Some("bob") && pinned.rev > first.rev);
    let frame = fixture.last_frame().await;
    let Some(ServerFrame::Message { message, .. }) = ServerFrame::decode(&with_cursor(&frame, "c"))
    else {
        panic!("{frame}")
    };
    assert_eq!(message, pinned);
    fixture.pin("alice", &second).await;
    assert_eq!(fixture.pinned(&channel).await, [second.id, first.id]);
    assert_eq!(fixture.read("alice", &first).await.pinned, pinned.pinned);
    fixture.clock.advance(Duration::from_secs(1));
    let unpinned = fixture.pin_act("alice", &first, false, None).await.unwrap();
    assert!(by(&unpinned).is_none() && unpinned.rev > pinned.rev);
    assert_eq!(fixture.pinned(&channel).await, [second.id]);
}

#[tokio::test]
async fn g9_of_acts_on_one_message_the_greatest_wins_in_any_order() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let fixture = Fixture::new();
        let channel = fixture.group("alice", &[]).await.id;
        let sent = fixture.post("alice", &channel, "hi").await.message;
        for n in order {
            let id = fixture.change_at(0, n);
            fixture.pin_act("alice", &sent, n != 2, Some(id)).await.unwrap();
        }
        assert_eq!(by(&fixture.read("alice", &sent).await), Some("alice"), "{order:?}");
        assert_eq!(fixture.pinned(&channel).await, [sent.id]);
        // A late retry of the unpinning does not undo what came after it.
        let again = fixture.pin_act("alice", &sent, false, Some(fixture.change_at(0, 2))).await;
        assert!(by(&again.unwrap()).is_some());
    }
}

#[tokio::test]
async fn g9_derive_shows_a_pin_whose_function_died_and_repeats_nothing() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    fixture.store_pin(&sent, true, fixture.change_at(0, 5)).await;
    assert_eq!(fixture.pinned(&channel).await, [sent.id], "the list needs no derive");
    assert_eq!(fixture.derive_pin(&sent).await, 1);
    let shown = fixture.read("alice", &sent).await;
    assert_eq!(by(&shown), Some("bob"));
    assert_eq!(fixture.derive_pin(&sent).await, 0);
    assert_eq!(fixture.read("alice", &sent).await, shown);
    fixture.store_pin(&sent, false, fixture.change_at(0, 6)).await;
    assert_eq!(fixture.derive_pin(&sent).await, 1);
    assert_eq!(by(&fixture.read("alice", &sent).await), None);
}

#[tokio::test]
async fn g10_a_deleted_message_is_not_pinned_and_takes_no_place() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    fixture.pin("bob", &sent).await;
    let deleted = delete_message(&fixture.app, &caller("alice"), &target(&sent), origin()).await;
    assert_eq!(deleted.unwrap().pinned, None);
    assert_eq!(code(fixture.pin_act("bob", &sent, true, None).await), ErrorCode::MessageDeleted);
    assert_eq!(code(fixture.pin_act("bob", &sent, false, None).await), ErrorCode::MessageDeleted);
    let rows = fixture.store.pins(&channel, None, 10).await.unwrap().rows;
    assert!(rows.iter().all(|row| row.withdrawn.is_some()), "{rows:?}");
    // A pin that was stored while the message was deleted is not shown, and is taken back.
    fixture.store_pin(&sent, true, fixture.change_at(900, 9)).await;
    assert_eq!((fixture.derive_pin(&sent).await, fixture.pinned(&channel).await), (0, vec![]));
    let rows = fixture.store.pins(&channel, None, 10).await.unwrap().rows;
    assert!(rows.iter().all(|row| row.withdrawn.is_some()), "{rows:?}");
    // So is one whose deletion died before it came to the pin: its record says that it was pinned.
    let Some(LogEntry::Message(deleted)) = fixture.store.entry(&sent.log(), sent.id).await.unwrap()
    else {
        panic!()
    };
    fixture.store_pin(&sent, true, fixture.change_at(950, 9)).await;
    let record = Record::Message(Box::new(deleted));
    assert_eq!(fixture.deriver().derive(&[record]).await, Outcome::Relayed);
    let rows = fixture.store.pins(&channel, None, 10).await.unwrap().rows;
    assert!(rows.iter().all(|row| row.withdrawn.is_some()), "{rows:?}");
}

#[tokio::test]
async fn a_channel_takes_a_hundred_pins_and_one_more_once_one_is_gone() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let mut sent = Vec::new();
    for n in 0..=limits::PINS_MAX {
        fixture.clock.advance(Duration::from_millis(1));
        sent.push(fixture.post("alice", &channel, &n.to_string()).await.message);
    }
    let (last, pinned) = sent.split_last().unwrap();
    for message in pinned {
        fixture.pin("alice", message).await;
    }
    assert_eq!(code(fixture.pin_act("alice", last, true, None).await), ErrorCode::TooManyPins);
    fixture.pin("alice", &pinned[7]).await;
    fixture.clock.advance(Duration::from_millis(1));
    fixture.pin_act("alice", &pinned[50], false, None).await.unwrap();
    fixture.pin("alice", last).await;
    assert_eq!(fixture.pinned(&channel).await.len(), limits::PINS_MAX);
    let page = async |offset, limit| {
        let alice = caller("alice");
        list_pins(&fixture.app, &alice, &channel, offset, limit).await.unwrap()
    };
    let (mut all, mut offset) = (Vec::new(), None);
    loop {
        let Pinned { messages, next_offset } = page(offset, 30).await;
        all.extend(messages.iter().map(|message| message.id));
        offset = next_offset;
        if offset.is_none() {
            break;
        }
    }
    assert_eq!(all, fixture.pinned(&channel).await);
}

#[tokio::test]
async fn whoever_unpins_over_and_over_fills_rows_up_to_a_bound() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    for n in 0..limits::PIN_ROWS_MAX + 10 {
        let other = fixture.post("alice", &channel, &n.to_string()).await.message;
        for change_id in [None, Some(fixture.change_at(0, 1))] {
            let unpinned = fixture.pin_act("alice", &other, false, change_id).await.unwrap();
            assert_eq!(by(&unpinned), None);
        }
    }
    assert_eq!(fixture.store.calls()["pin"], limits::PIN_ROWS_MAX as u64);
    let pinned = fixture.pin_act("alice", &sent, true, None).await.unwrap();
    assert_eq!(by(&pinned), Some("alice"), "nobody is kept from pinning");
}

#[tokio::test]
async fn g9_a_repeated_pin_changes_nothing_and_a_plain_one_wins_over_a_clock_ahead() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    let never = fixture.pin_act("bob", &sent, false, None).await.unwrap();
    assert_eq!(never, sent, "there was nothing to unpin");
    let pinned = fixture.pin("bob", &sent).await;
    let published = fixture.published().await.len();
    assert_eq!(fixture.pin("alice", &sent).await, pinned, "whoever pinned it first stays");
    assert_eq!(fixture.published().await.len(), published);
    let ahead = Some(fixture.change_at(900, 1));
    fixture.pin_act("bob", &sent, false, ahead).await.unwrap();
    assert_eq!(by(&fixture.pin_act("alice", &sent, true, None).await.unwrap()), Some("alice"));
    // A row whose function died before the message showed it counts as it is.
    fixture.store_pin(&sent, false, fixture.change_at(950, 2)).await;
    let shown = fixture.pin_act("alice", &sent, true, None).await.unwrap();
    assert_eq!(by(&shown), Some("alice"));
    assert_eq!(fixture.pinned(&channel).await, [sent.id]);
}

#[tokio::test]
async fn only_members_pin_and_only_what_is_there() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    assert_eq!(code(fixture.pin_act("eve", &sent, true, None).await), ErrorCode::ChannelNotFound);
    let act = PinAct { is_made: true, change_id: None };
    let foreign = pin(&fixture.app, &stranger("alice"), &target(&sent), act, origin()).await;
    assert_eq!(code(foreign), ErrorCode::ChannelNotFound);
    let absent = Message { id: fixture.id_at(0, 77), ..sent.clone() };
    assert_eq!(code(fixture.pin_act("bob", &absent, true, None).await), ErrorCode::MessageNotFound);
    for offset_ms in [-25 * 3_600_000, 2_000] {
        let change_id = Some(fixture.change_at(offset_ms, 1));
        let refused = fixture.pin_act("bob", &sent, true, change_id).await;
        assert_eq!(code(refused), ErrorCode::IdOutOfRange, "{offset_ms}");
    }
    fixture.pin("bob", &sent).await;
    remove_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    for offset in [None, Some(MessageId::MIN), Some(sent.id)] {
        let offset = offset.map(|id| MessageRef { id, thread: None });
        let listed = list_pins(&fixture.app, &caller("bob"), &channel, offset, 100).await;
        assert_eq!(code(listed), ErrorCode::ChannelNotFound, "{offset:?}");
    }
    let archived = ChannelUpdate { archived: Some(true), ..ChannelUpdate::default() };
    change_channel(&fixture.app, &caller("alice"), &channel, &archived).await.unwrap();
    let other = fixture.pin_act("alice", &sent, true, None).await;
    assert_eq!(code(other), ErrorCode::ChannelArchived);
    fixture.clock.advance(Duration::from_millis(1));
    let unpinned = fixture.pin_act("alice", &sent, false, None).await.unwrap();
    assert_eq!(by(&unpinned), None, "an archived channel's pins can be taken away");
}
