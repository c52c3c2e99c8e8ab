//! Read marks and unread counts (G12).

use client::{Api, Event, Unread};
use model::{ChannelId, Epoch, LogId, Message, MessageId, NewReadMark, ReadMark, UnreadCount};
use tests::cluster::{Cluster, Environment};
use tests::{SOON, eventually};

crate::on_each_environment!(
    g12_marks_of_two_devices_end_equal_and_counts_follow_them,
    g12_ones_own_devices_hear_of_a_mark_and_nobody_else_does,
    g12_a_mention_is_pushed_listed_and_counted,
);

/// Marks a channel read, and returns its mark then, and whether it moved.
async fn reads(api: &Api, channel: &ChannelId, up_to: MessageId, epoch: Epoch) -> (ReadMark, bool) {
    let mark = ReadMark { epoch, up_to };
    let new = NewReadMark { log: channel.clone().into(), mark };
    let marked = api.mark_read(&[new]).await.unwrap().remove(0);
    (marked.mark.unwrap(), marked.moved)
}

async fn unread(api: &Api, channel: &ChannelId) -> Unread {
    let all = api.unread().await.unwrap();
    all.into_iter().find(|unread| unread.channel_id == *channel).unwrap()
}

async fn g12_marks_of_two_devices_end_equal_and_counts_follow_them(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let alice = cluster.api("alice");
    let [phone, desk] = [cluster.api("bob"), cluster.api("bob")];
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(
            alice.post_message(&channel, &n.to_string(), None, None).await.unwrap().message.id,
        );
    }
    assert_eq!(unread(&phone, &channel).await.count, UnreadCount::Exact(3));
    let read = ReadMark { epoch: Epoch::FIRST, up_to: ids[2] };
    assert_eq!(reads(&phone, &channel, ids[2], Epoch::FIRST).await, (read, true));
    assert_eq!(reads(&desk, &channel, ids[0], Epoch::FIRST).await, (read, false), "not back");
    assert_eq!(unread(&desk, &channel).await.count, UnreadCount::Exact(0));
    let mark = desk.mark_unread(&channel, ids[1]).await.unwrap();
    assert_eq!(reads(&phone, &channel, ids[2], Epoch::FIRST).await, (mark, false), "it is behind");
    for device in [&phone, &desk] {
        let found = unread(device, &channel).await;
        assert_eq!((found.mark, found.count), (mark, UnreadCount::Exact(2)));
    }
    alice.delete_message(&channel, ids[1]).await.unwrap();
    assert_eq!(unread(&phone, &channel).await.count, UnreadCount::Exact(1));
    assert!(reads(&phone, &channel, ids[2], mark.epoch).await.1);
    assert_eq!(unread(&desk, &channel).await.count, UnreadCount::Exact(0));
}

async fn g12_a_mention_is_pushed_listed_and_counted(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob", "carol"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let text = "<@bob>, see <@stranger>";
    let id = alice.says(&channel, text).await;
    bob.hears(&channel, text).await;
    let names = |message: &Message| {
        message.mentions.users.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let pushed = bob.client.timeline(&channel);
    assert_eq!(pushed.messages().map(names).next_back().unwrap(), ["bob", "stranger"]);
    eventually("it is listed", SOON, async || {
        let (listed, next) = bob.api.mentions(None).await.unwrap();
        listed.iter().map(|message| message.id).eq([id]) && next.is_none()
    })
    .await;
    alice.says(&channel, "all: <!channel>").await;
    bob.hears(&channel, "all: <!channel>").await;
    for (api, mentions) in [(&bob.api, 2), (&cluster.api("carol"), 1), (&alice.api, 0)] {
        let found = unread(api, &channel).await;
        assert_eq!(found.mentions, UnreadCount::Exact(mentions));
    }
    alice.api.delete_message(&channel, id).await.unwrap();
    assert_eq!(bob.api.mentions(None).await.unwrap().0, []);
    assert_eq!(unread(&bob.api, &channel).await.mentions, UnreadCount::Exact(1));
}

async fn g12_ones_own_devices_hear_of_a_mark_and_nobody_else_does(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let id = alice.says(&channel, "hi").await;
    bob.hears(&channel, "hi").await;
    let phone = cluster.api("bob");
    let hears = async |wanted: ReadMark| {
        bob.until("hears the mark", |event| {
            matches!(event, Event::Read { log, mark } if *log == LogId::from(&channel) && *mark == wanted)
        })
        .await;
    };
    let (mark, _) = reads(&phone, &channel, id, Epoch::FIRST).await;
    hears(mark).await;
    let mark = phone.mark_unread(&channel, id).await.unwrap();
    hears(mark).await;
    assert_eq!(alice.count(|event| matches!(event, Event::Read { .. })), 0);
}
