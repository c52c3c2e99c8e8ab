use messaging::Refusal;
use messaging::scroll::{Page, Scroll, ScrollError, scroll};
use model::{ChannelId, ErrorCode, MessageId};
use protocol::http::Direction;

use crate::rig::{Rig, caller};

async fn page(
    rig: &Rig,
    name: &str,
    channel: &ChannelId,
    direction: Direction,
    offset: Option<MessageId>,
    limit: u32,
) -> Result<Page, ScrollError> {
    let request = Scroll { channel_id: channel.clone(), offset, limit, direction };
    scroll(&rig.app, &caller(name), request).await
}

async fn all(rig: &Rig, channel: &ChannelId, direction: Direction, limit: u32) -> Vec<String> {
    let (mut texts, mut offset) = (Vec::new(), None);
    loop {
        let page = page(rig, "alice", channel, direction, offset, limit).await.unwrap();
        texts.extend(page.messages.iter().map(|message| message.text.as_str().to_owned()));
        offset = page.next_offset;
        if offset.is_none() {
            return texts;
        }
    }
}

#[tokio::test]
async fn pages_hold_every_message_once_in_both_directions() {
    let rig = Rig::new();
    let channel = rig.group("alice", &[]).await.id;
    for n in 0..45 {
        rig.clock.advance(std::time::Duration::from_millis(3));
        rig.post("alice", &channel, &n.to_string()).await;
    }
    let expected: Vec<String> = (0..45).map(|n| n.to_string()).collect();
    for limit in [1, 20, 45, 100] {
        assert_eq!(all(&rig, &channel, Direction::Newer, limit).await, expected, "{limit}");
        let mut older = all(&rig, &channel, Direction::Older, limit).await;
        older.reverse();
        assert_eq!(older, expected, "{limit}");
    }
}

#[tokio::test]
async fn redirects_are_nobodys_messages_and_pages_fill_up_around_them() {
    let rig = Rig::new();
    let channel = rig.group("alice", &[]).await.id;
    for n in 0..30 {
        // Every second message leaves a redirect 20 s in the past, among the others.
        let id = rig.id_at(if n % 2 == 0 { 0 } else { -20_000 }, n + 1);
        rig.send("alice", &channel, &n.to_string(), Some(id), None).await.unwrap();
    }
    let newest = page(&rig, "alice", &channel, Direction::Older, None, 20).await.unwrap();
    assert_eq!(newest.messages.len(), 20);
    assert_eq!(all(&rig, &channel, Direction::Older, 4).await.len(), 30);
    assert_eq!(all(&rig, &channel, Direction::Newer, 4).await.len(), 30);
}

#[tokio::test]
async fn redirects_ahead_cost_nobody() {
    let rig = Rig::new();
    let channel = rig.group("alice", &[]).await.id;
    for n in 0..200 {
        let ahead = rig.id_at(300_000, n + 1);
        rig.send("alice", &channel, &n.to_string(), Some(ahead), None).await.unwrap();
    }
    let before = rig.store.calls();
    let newest = page(&rig, "alice", &channel, Direction::Older, None, 20).await.unwrap();
    let after = rig.store.calls();
    assert_eq!(newest.messages.len(), 20);
    assert_eq!(after["page"] - before.get("page").copied().unwrap_or(0), 1, "one query");
    assert_eq!(all(&rig, &channel, Direction::Newer, 100).await.len(), 200);
}

#[tokio::test]
async fn an_offset_need_not_exist_and_ends_are_null() {
    let rig = Rig::new();
    let channel = rig.group("alice", &[]).await.id;
    let only = rig.post("alice", &channel, "only").await.message.id;
    let at = |direction, offset| page(&rig, "alice", &channel, direction, Some(offset), 20);
    let ends = [
        (Direction::Older, MessageId::MIN),
        (Direction::Newer, MessageId::parse("7ZZZZZZZZZZZZZZZZZZZZZZZZZ").unwrap()),
        (Direction::Older, only),
        (Direction::Newer, only),
    ];
    for (direction, offset) in ends {
        let empty = Page { messages: Vec::new(), next_offset: None };
        assert_eq!(at(direction, offset).await.unwrap(), empty, "{direction:?} {offset}");
    }
    let (before, behind) = (only.previous().unwrap(), only.next().unwrap());
    assert_eq!(at(Direction::Newer, before).await.unwrap().messages.len(), 1);
    assert_eq!(at(Direction::Older, behind).await.unwrap().messages.len(), 1);
}

#[tokio::test]
async fn g6_nobody_scrolls_a_channel_they_are_not_in() {
    let rig = Rig::new();
    let channel = rig.group("alice", &["bob"]).await.id;
    rig.post("alice", &channel, "hi").await;
    let refused = page(&rig, "mallory", &channel, Direction::Older, None, 20).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ChannelNotFound);
    messaging::members::remove_member(
        &rig.app,
        &caller("alice"),
        &channel,
        &crate::rig::user("bob"),
    )
    .await
    .unwrap();
    let removed = page(&rig, "bob", &channel, Direction::Older, None, 20).await.unwrap_err();
    assert_eq!(removed.code(), ErrorCode::ChannelNotFound);
}
