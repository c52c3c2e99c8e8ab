use std::time::Duration;

use messaging::Refusal;
use messaging::channels::create_channel;
use messaging::deliver::{Sending, deliver};
use messaging::scroll::{Page, Scroll, ScrollError, scroll};
use model::{
    ChannelId, Contract, Direction, ErrorCode, KnownMessages, MessageId, MessageText, NewChannel,
    NewChannelKind, Rev, Visibility, limits,
};

use crate::fixture::{Fixture, caller, user};

async fn page(
    fixture: &Fixture,
    name: &str,
    channel: &ChannelId,
    direction: Direction,
    offset: Option<MessageId>,
    limit: u32,
) -> Result<Page, ScrollError> {
    let known = None;
    let request = Scroll { log: channel.into(), offset, limit, direction, known };
    scroll(&fixture.app, &caller(name), request).await
}

/// The ids of a page after `offset` for a client that claims to have `known`, and the next offset.
async fn newer(
    fixture: &Fixture,
    channel: &ChannelId,
    offset: Option<MessageId>,
    limit: u32,
    known: &[MessageId],
) -> (Vec<MessageId>, Option<MessageId>) {
    let direction = Direction::Newer;
    let known: Vec<Rev> = known.iter().copied().map(Rev::of).collect();
    let known = KnownMessages::of(offset, &known);
    let request = Scroll { log: channel.into(), offset, limit, direction, known };
    let page = scroll(&fixture.app, &caller("alice"), request).await.unwrap();
    (page.messages.into_iter().map(|message| message.id).collect(), page.next_offset)
}

/// A channel with `count` messages, a millisecond apart.
async fn filled(fixture: &Fixture, count: usize) -> (ChannelId, Vec<MessageId>) {
    let channel = fixture.group("alice", &[]).await.id;
    let mut ids = Vec::with_capacity(count);
    for n in 0..count {
        fixture.clock.advance(Duration::from_millis(1));
        ids.push(fixture.post("alice", &channel, &n.to_string()).await.message.id);
    }
    (channel, ids)
}

async fn all(
    fixture: &Fixture,
    channel: &ChannelId,
    direction: Direction,
    limit: u32,
) -> Vec<String> {
    let (mut texts, mut offset) = (Vec::new(), None);
    loop {
        let page = page(fixture, "alice", channel, direction, offset, limit).await.unwrap();
        texts.extend(page.messages.iter().map(|message| message.text.as_str().to_owned()));
        offset = page.next_offset;
        if offset.is_none() {
            return texts;
        }
    }
}

#[tokio::test]
async fn pages_hold_every_message_once_in_both_directions() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    for n in 0..45 {
        fixture.clock.advance(Duration::from_millis(3));
        fixture.post("alice", &channel, &n.to_string()).await;
    }
    let expected: Vec<String> = (0..45).map(|n| n.to_string()).collect();
    for limit in [1, 20, 45, 100] {
        assert_eq!(all(&fixture, &channel, Direction::Newer, limit).await, expected, "{limit}");
        let mut older = all(&fixture, &channel, Direction::Older, limit).await;
        older.reverse();
        assert_eq!(older, expected, "{limit}");
    }
}

#[tokio::test]
async fn redirects_are_nobodys_messages_and_pages_fill_up_around_them() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    for n in 0..30 {
        // Every second message leaves a redirect 20 s in the past, among the others.
        let id = fixture.id_at(if n % 2 == 0 { 0 } else { -20_000 }, n + 1);
        fixture.send("alice", &channel, &n.to_string(), Some(id), None).await.unwrap();
    }
    let newest = page(&fixture, "alice", &channel, Direction::Older, None, 20).await.unwrap();
    assert_eq!(newest.messages.len(), 20);
    assert_eq!(all(&fixture, &channel, Direction::Older, 4).await.len(), 30);
    assert_eq!(all(&fixture, &channel, Direction::Newer, 4).await.len(), 30);
}

#[tokio::test]
async fn redirects_ahead_cost_nobody() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    for n in 0..200 {
        let ahead = fixture.id_at(300_000, n + 1);
        fixture.send("alice", &channel, &n.to_string(), Some(ahead), None).await.unwrap();
    }
    let before = fixture.store.calls();
    let newest = page(&fixture, "alice", &channel, Direction::Older, None, 20).await.unwrap();
    let after = fixture.store.calls();
    assert_eq!(newest.messages.len(), 20);
    assert_eq!(after["page"] - before.get("page").copied().unwrap_or(0), 1, "one query");
    assert_eq!(all(&fixture, &channel, Direction::Newer, 100).await.len(), 200);
}

#[tokio::test]
async fn an_offset_need_not_exist_and_ends_are_null() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let only = fixture.post("alice", &channel, "only").await.message.id;
    let at = |direction, offset| page(&fixture, "alice", &channel, direction, Some(offset), 20);
    let ends = [
        (Direction::Older, MessageId::MIN),
        (Direction::Newer, MessageId::parse("7ZZZZZZZZZZZZZZZZZZZZZZZZZ").unwrap()),
        (Direction::Older, only),
        (Direction::Newer, only),
    ];
    for (direction, offset) in ends {
        let complete = (direction == Direction::Newer).then_some(true);
        let empty = Page { messages: Vec::new(), next_offset: None, complete };
        assert_eq!(at(direction, offset).await.unwrap(), empty, "{direction:?} {offset}");
    }
    let (before, behind) = (only.previous().unwrap(), only.next().unwrap());
    assert_eq!(at(Direction::Newer, before).await.unwrap().messages.len(), 1);
    assert_eq!(at(Direction::Older, behind).await.unwrap().messages.len(), 1);
}

#[tokio::test]
async fn g6_nobody_scrolls_a_channel_they_are_not_in() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    fixture.post("alice", &channel, "hi").await;
    let refused =
        page(&fixture, "mallory", &channel, Direction::Older, None, 20).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ChannelNotFound);
    messaging::members::remove_member(&fixture.app, &caller("alice"), &channel, &user("bob"))
        .await
        .unwrap();
    let removed = page(&fixture, "bob", &channel, Direction::Older, None, 20).await.unwrap_err();
    assert_eq!(removed.code(), ErrorCode::ChannelNotFound);
}

#[tokio::test]
async fn what_a_client_has_is_left_out_and_the_rest_follows() {
    let fixture = Fixture::new();
    let (channel, ids) = filled(&fixture, 30).await;
    let offset = ids[9];
    // It has some of what follows the offset, half, or all but one.
    for has in [1, 10, 19] {
        let read = newer(&fixture, &channel, Some(offset), 100, &ids[10..10 + has]).await;
        assert_eq!(read, (ids[10 + has..].to_vec(), None), "{has}");
    }
    assert_eq!(newer(&fixture, &channel, Some(offset), 100, &ids[10..]).await, (Vec::new(), None));
    // Without an offset, the page starts at the oldest message.
    assert_eq!(newer(&fixture, &channel, None, 100, &ids[..25]).await, (ids[25..].to_vec(), None));
    // The limit counts the returned messages, and the page says where to go on.
    let read = newer(&fixture, &channel, Some(offset), 3, &ids[10..15]).await;
    assert_eq!(read, (ids[15..18].to_vec(), Some(ids[17])));
}

#[tokio::test]
async fn what_a_client_misses_between_is_all_that_is_answered() {
    let fixture = Fixture::new();
    let (channel, ids) = filled(&fixture, 30).await;
    let offset = ids[9];
    let missing = [ids[12], ids[13], ids[20], ids[29]];
    let has: Vec<_> = ids[10..].iter().filter(|id| !missing.contains(id)).copied().collect();
    let (read, next) = newer(&fixture, &channel, Some(offset), 100, &has).await;
    assert_eq!((read, next), (missing.to_vec(), None));
    let (read, next) = newer(&fixture, &channel, Some(offset), 2, &has).await;
    assert_eq!(read, missing[..2]);
    let has: Vec<_> = has.into_iter().filter(|id| Some(*id) > next).collect();
    assert_eq!(newer(&fixture, &channel, next, 3, &has).await, (missing[2..].to_vec(), None));
}

#[tokio::test]
async fn what_a_client_only_thinks_that_it_has_hides_nothing() {
    let fixture = Fixture::new();
    let (channel, ids) = filled(&fixture, 30).await;
    let offset = ids[9];
    let mut with_a_stranger = ids[10..20].to_vec();
    with_a_stranger[3] = fixture.id_at(0, 77);
    let read = newer(&fixture, &channel, Some(offset), 100, &with_a_stranger).await;
    let others = [&ids[13..14], &ids[20..]].concat();
    assert_eq!(read, (others, None), "what follows the stranger counts");
    let more_than_there_is: Vec<_> = ids[10..].iter().chain(&ids[..1]).copied().collect();
    let read = newer(&fixture, &channel, Some(offset), 100, &more_than_there_is).await;
    assert_eq!(read, (Vec::new(), None));
    // The claim begins before the offset: that part is passed over.
    let read = newer(&fixture, &channel, Some(offset), 100, &ids[9..19]).await;
    assert_eq!(read, (ids[19..].to_vec(), None));
}

#[tokio::test]
async fn a_client_that_pages_on_gets_each_missing_message_once() {
    let fixture = Fixture::new();
    let (channel, ids) = filled(&fixture, 700).await;
    // It misses two messages in the middle, and everything after 650.
    let missing = [ids[300], ids[620]];
    let mut has: Vec<_> = ids[..650].iter().filter(|id| !missing.contains(id)).copied().collect();
    let (mut offset, mut calls, mut again) = (None, 0, 0);
    loop {
        let after: Vec<_> = has.iter().filter(|id| Some(**id) > offset).copied().collect();
        let before = fixture.store.calls().get("page").copied().unwrap_or(0);
        let (read, next) = newer(&fixture, &channel, offset, 100, &after).await;
        let queries = fixture.store.calls()["page"] - before;
        assert!(queries <= u64::from(limits::PAGE_QUERIES_MAX), "{queries} queries");
        again += read.iter().filter(|id| has.contains(id)).count();
        has.extend(read.iter().filter(|id| !after.contains(id)));
        has.sort();
        calls += 1;
        offset = next;
        if offset.is_none() {
            break;
        }
    }
    has.dedup();
    assert_eq!(has, ids);
    assert_eq!(again, 0, "rows that it had");
    assert!(calls <= 4, "{calls} calls");
}

#[tokio::test]
async fn redirects_are_no_part_of_what_a_client_has() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let mut ids = Vec::new();
    for n in 0..20 {
        fixture.clock.advance(Duration::from_millis(1));
        let id = fixture.id_at(if n % 2 == 0 { 0 } else { -20_000 }, n + 1);
        let posted = fixture.send("alice", &channel, &n.to_string(), Some(id), None).await.unwrap();
        ids.push(posted.message.id);
    }
    ids.sort();
    assert_eq!(newer(&fixture, &channel, None, 100, &ids[..15]).await, (ids[15..].to_vec(), None));
}

#[tokio::test]
async fn any_id_is_an_offset_even_the_last_of_its_millisecond() {
    let fixture = Fixture::new();
    let (channel, ids) = filled(&fixture, 3).await;
    let just_before = MessageId::first_of(ids[1].time()).previous().unwrap();
    let (read, _) = newer(&fixture, &channel, Some(just_before), 20, &[]).await;
    assert_eq!(read, ids[1..]);
}

#[tokio::test]
async fn a_page_of_long_texts_ends_early_and_the_next_ones_have_the_rest() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let (long, mut ids) = ("😀".repeat(40_000), Vec::new());
    let mut first = None;
    for _ in 0..40 {
        fixture.clock.advance(Duration::from_millis(1));
        let sent = fixture.post("alice", &channel, &long).await.message;
        ids.push(sent.id);
        first.get_or_insert(sent);
    }
    let bytes_max = limits::PAGE_BYTES_MAX + long.len();
    let read = async |direction: Direction, mut offset: Option<MessageId>| {
        let mut all = Vec::new();
        loop {
            let page = page(&fixture, "alice", &channel, direction, offset, 100).await.unwrap();
            let bytes: usize = page.messages.iter().map(|one| one.text.as_str().len()).sum();
            assert!(bytes <= bytes_max, "{bytes}");
            all.extend(page.messages.iter().map(|message| message.id));
            offset = page.next_offset;
            if offset.is_none() {
                return all;
            }
        }
    };
    assert_eq!(read(Direction::Newer, None).await, ids);
    let newest_first: Vec<_> = ids.iter().rev().copied().collect();
    assert_eq!(read(Direction::Older, None).await, newest_first);
    // All of them change after a position, and each comes once more.
    fixture.clock.advance(Duration::from_secs(60));
    let since = fixture.id_at(0, 0);
    for (n, id) in ids.iter().enumerate() {
        fixture.clock.advance(Duration::from_millis(1));
        let message = model::Message { id: *id, ..first.clone().unwrap() };
        let change = fixture.change_at(0, n as u128);
        fixture.edit("alice", &message, &long, change, None).await.unwrap();
    }
    assert_eq!(read(Direction::Newer, Some(since)).await, ids);
}

/// A page has the messages that were accepted since its offset, even those with older ids. It does not repeat
/// those that were accepted before, however long the store is slow.
#[tokio::test]
async fn g13_a_page_has_what_was_accepted_since_its_offset_and_not_all_that_waits() {
    let fixture = Fixture::new();
    let (visibility, name) = (Visibility::Private, "fast".to_owned());
    let kind = NewChannelKind::Group { visibility, name, members: Vec::new() };
    let new = NewChannel { kind, contract: Contract::DeliverFirst };
    let (channel, _) = create_channel(&fixture.app, &caller("alice"), new).await.unwrap();
    let delivers = async |age_s: i64, n: u128| {
        let id = fixture.id_at(-1_000 * age_s, n);
        let (sender, text) = (user("alice"), MessageText::parse(n.to_string()).unwrap());
        let (channel, members_version) = (channel.clone(), Some(1));
        let sending =
            Sending { channel, sender, members_version, id, text, after: None, quote: None };
        deliver(&fixture.app, &sending).await.unwrap();
        id
    };
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(delivers(0, n).await);
        fixture.clock.advance(Duration::from_secs(60));
    }
    let late = delivers(3600, 99).await;
    let read = async |offset: MessageId, limit| {
        newer(&fixture, &channel.id, Some(offset), limit, &[]).await
    };
    assert_eq!(read(ids[9], 5).await, ([&ids[10..15], &[late]].concat(), Some(ids[14])));
    assert_eq!(read(ids[14], 5).await, ([&ids[15..], &[late]].concat(), None));
    fixture.clock.advance(Duration::from_secs(60));
    let newest = delivers(0, 100).await;
    assert_eq!(read(newest, 5).await, (vec![], None), "all of it is known there");
}

/// Clients forget copies that may be outdated. Nothing changes where a message may be on devices only.
#[tokio::test]
async fn g13_no_copy_is_outdated_where_only_devices_have_it() {
    let fixture = Fixture::new();
    for (contract, expected) in
        [(Contract::DeliverFirst, false), (Contract::DeliverUntilAcked, true)]
    {
        let new = NewChannel { kind: NewChannelKind::Dm { other: user("bob") }, contract };
        let (channel, _) = create_channel(&fixture.app, &caller("alice"), new).await.unwrap();
        let offset = fixture.id_at(0, 1);
        fixture.clock.advance(limits::CHANGES_KEPT + Duration::from_secs(86_400));
        let (log, direction) = (channel.id.into(), Direction::Newer);
        let request = Scroll { log, offset: Some(offset), limit: 20, direction, known: None };
        let page = scroll(&fixture.app, &caller("alice"), request).await.unwrap();
        assert_eq!(page.complete, Some(expected));
    }
}
