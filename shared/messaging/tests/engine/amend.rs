use std::time::Duration;

use messaging::Refusal;
use messaging::amend::{AmendError, Edited, Target, delete_message, edit_message, read_message};
use messaging::ports::{LogEntry, MessageStore, PageQuery};
use messaging::relay::{Outcome, Record, Relay};
use messaging::scroll::{Page, Scroll, scroll};
use model::{
    ChangeId, ChannelId, Direction, EditMessage, ErrorCode, Mentions, Message, MessageId,
    MessageText, Rev, limits,
};
use protocol::frame::{ServerFrame, with_cursor};
use protocol::publication::Payload;

use crate::fixture::{Fixture, caller, origin, stranger};

fn target(message: &Message) -> Target {
    Target { log: message.log(), id: message.id }
}

impl Fixture {
    /// A change id as minted by a client whose clock is `offset_ms` ahead of the server's.
    pub(crate) fn change_at(&self, offset_ms: i64, n: u128) -> ChangeId {
        ChangeId::parse(&self.id_at(offset_ms, n).to_string()).unwrap()
    }

    pub(crate) async fn edit(
        &self,
        who: &str,
        message: &Message,
        text: &str,
        change_id: ChangeId,
        if_rev: Option<&Rev>,
    ) -> Result<Edited, AmendError> {
        let text = MessageText::parse(text.to_owned()).unwrap();
        let mentions = Mentions::of(text.as_str()).unwrap();
        let edit = EditMessage { text, mentions, change_id, if_rev: if_rev.cloned() };
        edit_message(&self.app, &caller(who), &target(message), &edit, origin()).await
    }

    async fn delete(&self, who: &str, message: &Message) -> Result<Message, AmendError> {
        delete_message(&self.app, &caller(who), &target(message), origin()).await
    }

    async fn newer(&self, channel: &ChannelId, offset: MessageId, limit: u32) -> Page {
        let (direction, known) = (Direction::Newer, None);
        let request = Scroll { log: channel.into(), offset: Some(offset), limit, direction, known };
        scroll(&self.app, &caller("alice"), request).await.unwrap()
    }

    pub(crate) async fn last_frame(&self) -> String {
        let entry = self.published().await.pop().unwrap();
        let Payload::Frame(frame) = &entry.publication.payload else { panic!("{entry:?}") };
        frame.to_string()
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, AmendError>) -> ErrorCode {
    result.unwrap_err().code()
}

#[tokio::test]
async fn g9_an_edit_is_stored_in_place_and_published_whole() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "helo").await.message;
    fixture.clock.advance(Duration::from_secs(60));
    let change_id = fixture.change_at(0, 1);
    let edited = fixture.edit("alice", &sent, "hello", change_id, None).await.unwrap();
    assert_eq!((edited.duplicate, edited.superseded), (false, false));
    let message = edited.message;
    assert_eq!((message.text.as_str(), message.id), ("hello", sent.id));
    assert!(message.rev > sent.rev && *message.text_rev() == message.rev);
    assert_eq!(message.edit.as_ref().map(|edit| edit.change_id), Some(change_id));
    let read = read_message(&fixture.app, &caller("bob"), &target(&sent)).await.unwrap();
    assert_eq!(read, message);
    let frame = fixture.last_frame().await;
    assert!(frame.contains("message_changed") && frame.contains("hello"), "{frame}");
    let Some(ServerFrame::Message { message: published, .. }) =
        ServerFrame::decode(&with_cursor(&frame, "c"))
    else {
        panic!("{frame}")
    };
    assert_eq!(published, message);
}

#[tokio::test]
async fn g9_a_retry_of_an_edit_is_a_duplicate_and_publishes_nothing_new() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let sent = fixture.post("alice", &channel, "a").await.message;
    let change_id = fixture.change_at(0, 1);
    let first = fixture.edit("alice", &sent, "b", change_id, None).await.unwrap();
    let published = fixture.published().await.len();
    let again = fixture.edit("alice", &sent, "b", change_id, None).await.unwrap();
    assert!(again.duplicate && !again.superseded);
    assert_eq!(again.message, first.message);
    assert_eq!(fixture.published().await.len(), published);
}

#[tokio::test]
async fn g9_of_two_edits_the_greater_change_id_wins_in_either_order() {
    for order in [[1, 2], [2, 1]] {
        let fixture = Fixture::new();
        let channel = fixture.group("alice", &[]).await.id;
        let sent = fixture.post("alice", &channel, "0").await.message;
        let mut last = None;
        for n in order {
            let change_id = fixture.change_at(0, n);
            last =
                Some(fixture.edit("alice", &sent, &n.to_string(), change_id, None).await.unwrap());
        }
        let last = last.unwrap();
        assert_eq!(last.message.text.as_str(), "2", "{order:?}");
        assert_eq!((last.superseded, last.duplicate), (order == [2, 1], false), "{order:?}");
    }
}

#[tokio::test]
async fn g9_who_expects_another_text_is_told_the_present_one() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let sent = fixture.post("alice", &channel, "0").await.message;
    let [one, two] = [1, 2].map(|n| fixture.change_at(0, n));
    let first = fixture.edit("alice", &sent, "1", one, Some(&sent.rev)).await.unwrap().message;
    let refused = fixture.edit("alice", &sent, "2", two, Some(&sent.rev)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::RevisionConflict);
    assert_eq!(refused.current(), Some(&first));
    let text_rev = first.text_rev().into_owned();
    assert_eq!(
        fixture
            .edit("alice", &sent, "2", two, Some(&text_rev))
            .await
            .unwrap()
            .message
            .text
            .as_str(),
        "2"
    );
}

#[tokio::test]
async fn g9_an_edit_is_refused_with_one_reason_and_changes_nothing() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    let change = |ms| fixture.change_at(ms, 1);
    let absent = Message { id: fixture.id_at(-5, 9), ..sent.clone() };
    assert_eq!(code(fixture.edit("bob", &sent, "x", change(0), None).await), ErrorCode::Forbidden);
    assert_eq!(
        code(fixture.edit("eve", &sent, "x", change(0), None).await),
        ErrorCode::ChannelNotFound
    );
    assert_eq!(
        code(fixture.edit("alice", &absent, "x", change(0), None).await),
        ErrorCode::MessageNotFound
    );
    for ms in [1_100, -86_401_000] {
        assert_eq!(
            code(fixture.edit("alice", &sent, "x", change(ms), None).await),
            ErrorCode::IdOutOfRange
        );
    }
    // The id that a client sent, under which only a redirect is stored.
    let old_id = fixture.id_at(-60_000, 3);
    fixture.send("alice", &channel, "late", Some(old_id), None).await.unwrap();
    let redirect = Message { id: old_id, ..sent.clone() };
    assert_eq!(
        code(fixture.edit("alice", &redirect, "x", change(0), None).await),
        ErrorCode::MessageNotFound
    );
    assert_eq!(code(fixture.delete("alice", &redirect).await), ErrorCode::MessageNotFound);
    let read = read_message(&fixture.app, &caller("alice"), &target(&sent)).await.unwrap();
    assert_eq!(read, sent);
    let outside = read_message(&fixture.app, &stranger("alice"), &target(&sent)).await;
    assert_eq!(code(outside), ErrorCode::ChannelNotFound);
}

#[tokio::test]
async fn g9_a_send_that_is_repeated_after_an_edit_is_a_duplicate() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let id = Some(fixture.id_at(0, 1));
    let sent = fixture.send("alice", &channel, "hi", id, None).await.unwrap().message;
    let edited = fixture.edit("alice", &sent, "ho", fixture.change_at(0, 1), None).await.unwrap();
    let again = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.message, edited.message);
    assert!(fixture.send("bob", &channel, "hi", id, None).await.is_err());
}

#[tokio::test]
async fn g10_a_deleted_text_is_nowhere() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.post("bob", &channel, "needle").await.message;
    let gone = fixture.delete("bob", &sent).await.unwrap();
    assert_eq!(gone.text.as_str(), "");
    assert_eq!(gone.deleted.as_ref().map(|gone| gone.by.as_str()), Some("bob"));
    assert_eq!(fixture.delete("bob", &sent).await.unwrap(), gone, "deleting again changes nothing");
    assert_eq!(
        code(fixture.edit("bob", &sent, "x", fixture.change_at(0, 1), None).await),
        ErrorCode::MessageDeleted
    );
    let page = fixture.newer(&channel, MessageId::MIN, 100).await;
    assert_eq!(page.messages, std::slice::from_ref(&gone));
    assert_eq!(read_message(&fixture.app, &caller("alice"), &target(&sent)).await.unwrap(), gone);
    assert!(!fixture.last_frame().await.contains("needle"));
    assert!(!format!("{:?}", fixture.store).contains("needle"));
}

#[tokio::test]
async fn g10_the_author_the_groups_creator_and_admins_may_delete() {
    let fixture = Fixture::new();
    let group = fixture.group("alice", &["bob", "carol", "admin"]).await.id;
    let dm = fixture.dm("alice", "bob").await.id;
    for (who, channel, may) in [
        ("bob", &group, true),
        ("alice", &group, true),
        ("admin", &group, true),
        ("carol", &group, false),
        ("alice", &dm, false),
        ("bob", &dm, true),
    ] {
        let sent = fixture.post("bob", channel, "hi").await.message;
        let deleted = fixture.delete(who, &sent).await;
        if may {
            assert_eq!(deleted.unwrap().deleted.unwrap().by.as_str(), who);
        } else {
            assert_eq!(code(deleted), ErrorCode::Forbidden, "{who}");
        }
    }
}

#[tokio::test]
async fn g10_a_late_relay_publishes_no_deleted_text() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    fixture.app.publisher().switch(false);
    let sent = fixture.post("alice", &channel, "needle").await.message;
    let Some(LogEntry::Message(stored)) = fixture.store.entry(&sent.log(), sent.id).await.unwrap()
    else {
        panic!()
    };
    fixture.delete("alice", &sent).await.unwrap();
    fixture.clock.advance(limits::RELAY_FRESH + Duration::from_secs(1));
    let relay = Relay::new(fixture.store.clone(), fixture.bus.clone(), fixture.clock.clone());
    let records = [Record::Stored(LogEntry::Message(stored))];
    assert_eq!(relay.relay(&records).await, Outcome::Relayed);
    let frame = fixture.last_frame().await;
    assert!(frame.contains("deleted") && !frame.contains("needle"), "{frame}");
}

/// All pages after `offset`, as id and text, and whether each of them is complete.
async fn read_on(
    fixture: &Fixture,
    channel: &ChannelId,
    offset: MessageId,
    limit: u32,
) -> Vec<(MessageId, String)> {
    let (mut messages, mut from) = (Vec::new(), offset);
    for _ in 0..1_000 {
        let page = fixture.newer(channel, from, limit).await;
        assert!(page.messages.len() <= limit as usize);
        assert_eq!(page.complete, Some(true));
        messages.extend(
            page.messages.into_iter().map(|message| (message.id, message.text.as_str().to_owned())),
        );
        match page.next_offset {
            Some(next) => {
                assert!(next > from, "it goes on");
                from = next;
            }
            None => return messages,
        }
    }
    panic!("the pages do not end");
}

#[tokio::test]
async fn g11_a_newer_page_has_what_changed_as_well() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let mut old = Vec::new();
    for n in 0..6 {
        fixture.clock.advance(Duration::from_millis(1));
        old.push(fixture.post("alice", &channel, &format!("old {n}")).await.message);
    }
    fixture.clock.advance(Duration::from_secs(60));
    let away_since = fixture.id_at(0, 0);
    let mut wanted = Vec::new();
    for n in 0..4 {
        fixture.clock.advance(Duration::from_secs(1));
        let message = fixture.post("alice", &channel, &format!("new {n}")).await.message;
        wanted.push((message.id, format!("new {n}")));
        for (edit, of) in old.iter().skip(n).take(3).enumerate() {
            fixture.clock.advance(Duration::from_secs(1));
            let change_id = fixture.change_at(0, edit as u128);
            fixture.edit("alice", of, &format!("edited in {n}"), change_id, None).await.unwrap();
        }
    }
    fixture.delete("alice", &old[1]).await.unwrap();
    wanted.extend([(old[0].id, "edited in 0".to_owned()), (old[1].id, String::new())]);
    let others = old.iter().enumerate().skip(2);
    wanted.extend(others.map(|(n, of)| (of.id, format!("edited in {}", n.min(3)))));
    wanted.sort();
    for limit in [1, 2, 3, 7, 100] {
        let mut read = read_on(&fixture, &channel, away_since, limit).await;
        read.sort();
        read.dedup();
        assert_eq!(read, wanted, "pages of {limit}");
    }
    let one_page = fixture.newer(&channel, away_since, 100).await;
    assert_eq!(one_page.messages.len(), wanted.len(), "each message once a page");
}

#[tokio::test]
async fn g11_the_change_is_logged_before_it_is_made() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let sent = fixture.post("alice", &channel, "a").await.message;
    let edited = fixture.edit("alice", &sent, "b", fixture.change_at(0, 1), None).await.unwrap();
    let query = PageQuery {
        log: channel.into(),
        lowest: MessageId::MIN,
        highest: MessageId::last_of(model::Timestamp::MAX),
        newest_first: false,
        limit: 100,
        strong: true,
    };
    let changes = fixture.store.changes(&query).await.unwrap().changes;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].1, sent.id);
    assert!(changes[0].0.time() <= edited.message.rev.id().unwrap().time());
    let calls = fixture.store.calls();
    assert_eq!((calls["log_change"], calls["revise"]), (1, 1));
}

#[tokio::test]
async fn g11_a_page_says_when_changes_are_no_longer_kept() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let sent = fixture.post("alice", &channel, "hi").await.message;
    fixture.clock.advance(limits::CHANGES_KEPT - Duration::from_secs(1));
    assert_eq!(fixture.newer(&channel, sent.id, 20).await.complete, Some(true));
    fixture.clock.advance(Duration::from_secs(86_400));
    assert_eq!(fixture.newer(&channel, sent.id, 20).await.complete, Some(false));
    let recent = fixture.id_at(-1_000, 0);
    assert_eq!(fixture.newer(&channel, recent, 20).await.complete, Some(true));
    let request = |direction, offset| {
        let channel_id = channel.clone();
        Scroll { log: channel_id.into(), offset, limit: 20, direction, known: None }
    };
    let alice = caller("alice");
    let from_the_oldest = scroll(&fixture.app, &alice, request(Direction::Newer, None)).await;
    assert_eq!(from_the_oldest.unwrap().complete, Some(true));
    let older = scroll(&fixture.app, &alice, request(Direction::Older, Some(recent))).await;
    assert_eq!(older.unwrap().complete, None);
}

#[tokio::test]
async fn g11_an_edit_that_is_relayed_late_marks_the_channel() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let sent = fixture.post("alice", &channel, "a").await.message;
    fixture.app.publisher().switch(false);
    fixture.clock.advance(Duration::from_secs(3_600));
    let edited = fixture.edit("alice", &sent, "b", fixture.change_at(0, 1), None).await.unwrap();
    fixture.clock.advance(limits::LATE_AGE + Duration::from_secs(1));
    let Some(entry) = fixture.store.entry(&sent.log(), sent.id).await.unwrap() else { panic!() };
    let relay = Relay::new(fixture.store.clone(), fixture.bus.clone(), fixture.clock.clone());
    assert_eq!(relay.relay(&[Record::Stored(entry)]).await, Outcome::Relayed);
    let channels =
        messaging::ports::ChannelStore::channels(&*fixture.store, &[channel]).await.unwrap();
    let late = channels[0].late.unwrap();
    let logged_at = edited.message.rev.id().unwrap().time();
    assert!(late.reread_from.time() <= logged_at && late.reread_from > sent.id, "{late:?}");
}
