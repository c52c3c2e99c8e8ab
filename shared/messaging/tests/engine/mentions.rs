use std::time::Duration;

use messaging::amend::{delete_message, read_message};
use messaging::derive::Record;
use messaging::members::{add_member, remove_member};
use messaging::mentions::list_mentions;
use messaging::ports::StoredMessage;
use messaging::relay::Outcome;
use model::{ChannelId, Message, MessageId, UnreadCount, limits};

use crate::fixture::{Fixture, caller, origin, stranger, user};
use crate::react::target;

impl Fixture {
    /// Posts, and derives what follows.
    async fn tells(&self, who: &str, channel: &ChannelId, text: &str) -> Message {
        self.clock.advance(Duration::from_millis(1));
        let message = self.post(who, channel, text).await.message;
        self.derive_mentions(&message).await;
        message
    }

    async fn derive_mentions(&self, message: &Message) -> u64 {
        let deriver = self.deriver();
        let stored = StoredMessage::new(message.clone(), 1);
        let record = || Record::Message(Box::new(stored.clone()));
        assert_eq!(deriver.derive(&[record(), record()]).await, Outcome::Relayed);
        deriver.counts().mentioned
    }

    async fn mentions_of(&self, who: &str) -> Vec<MessageId> {
        let (messages, next) = list_mentions(&self.app, &caller(who), None, 100).await.unwrap();
        assert_eq!(next, None);
        messages.iter().map(|message| message.id).collect()
    }
}

fn exactly(count: u32) -> UnreadCount {
    UnreadCount::Exact(count)
}

#[tokio::test]
async fn a_mention_is_part_of_the_message_and_listed_for_members_only() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let other = fixture.group("eve", &["bob"]).await.id;
    let first = fixture.tells("alice", &channel, "<@bob>, ask <@eve> and <@alice>").await;
    let second = fixture.tells("eve", &other, "<@bob>?").await;
    let read = read_message(&fixture.app, &caller("bob"), &target(&first)).await.unwrap();
    assert_eq!(read.mentions.users, [user("bob"), user("eve"), user("alice")]);
    assert_eq!(fixture.mentions_of("bob").await, [second.id, first.id]);
    assert_eq!(fixture.mentions_of("eve").await, [], "no member of the channel");
    assert_eq!(fixture.mentions_of("alice").await, [], "a sender does not tell themselves");
    let foreign = list_mentions(&fixture.app, &stranger("bob"), None, 100).await.unwrap();
    assert_eq!(foreign.0, []);
    // Who leaves the channel does not see its messages, and sees them again when they come back.
    remove_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    assert_eq!(fixture.mentions_of("bob").await, [second.id]);
    add_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    assert_eq!(fixture.mentions_of("bob").await, [second.id, first.id]);
}

#[tokio::test]
async fn an_edit_adds_names_and_a_deletion_takes_all_back() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob", "carol"]).await.id;
    let sent = fixture.tells("alice", &channel, "<@bob>").await;
    fixture.clock.advance(Duration::from_millis(1));
    let edit = fixture.change_at(0, 1);
    let edited = fixture.edit("alice", &sent, "<@carol>", edit, None).await.unwrap().message;
    assert_eq!(edited.mentions.users, [user("carol")]);
    assert_eq!(fixture.derive_mentions(&edited).await, 1);
    for (who, count) in [("bob", 0), ("carol", 1)] {
        assert_eq!(fixture.mentions_of(who).await, [sent.id], "{who} stays mentioned");
        assert_eq!(fixture.mentions(who, &channel).await, exactly(count), "{who}");
    }
    let deleted = delete_message(&fixture.app, &caller("alice"), &target(&sent), origin()).await;
    let deleted = deleted.unwrap();
    assert!(deleted.mentions.is_empty());
    assert_eq!(fixture.derive_mentions(&deleted).await, 0);
    // A record that comes late, or again, changes nothing.
    fixture.derive_mentions(&sent).await;
    for who in ["bob", "carol"] {
        assert_eq!(fixture.mentions_of(who).await, [], "{who}");
        assert_eq!(fixture.mentions(who, &channel).await, exactly(0), "{who}");
    }
}

#[tokio::test]
async fn a_change_that_leaves_the_text_writes_no_mention_again() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let sent = fixture.tells("alice", &channel, "<@bob>").await;
    fixture.clock.advance(Duration::from_secs(60));
    let later = fixture.read("bob", &sent).await;
    assert_eq!(fixture.derive_mentions(&later).await, 1);
    let rev = model::Rev::of(fixture.id_at(0, 9));
    assert_eq!(fixture.derive_mentions(&Message { rev, ..later }).await, 0);
}

#[tokio::test]
async fn g12_mentions_are_counted_after_the_mark_by_name_and_with_all() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let other = fixture.group("alice", &["bob"]).await.id;
    fixture.tells("alice", &channel, "hello").await;
    let first = fixture.tells("alice", &channel, "<@bob>").await;
    fixture.tells("alice", &channel, "<!channel> and <@bob>").await;
    fixture.tells("alice", &other, "<!channel>").await;
    fixture.tells("bob", &channel, "<!channel>").await;
    assert_eq!(fixture.mentions("bob", &channel).await, exactly(2), "not their own");
    assert_eq!(fixture.mentions("bob", &other).await, exactly(1));
    assert_eq!(fixture.mentions("alice", &channel).await, exactly(1));
    fixture.mark("bob", &channel, first.id, 0).await.unwrap();
    assert_eq!(fixture.mentions("bob", &channel).await, exactly(1));
    let newest = fixture.id_at(0, u128::MAX);
    fixture.mark("bob", &channel, newest, 0).await.unwrap();
    assert_eq!(fixture.mentions("bob", &channel).await, exactly(0));
}

#[tokio::test]
async fn g12_mentions_beyond_the_rows_that_are_read_count_and_over_99_is_over() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    for n in 0..330 {
        let text = if n >= 310 { format!("{n} <@bob>") } else { n.to_string() };
        fixture.tells("alice", &channel, &text).await;
    }
    assert_eq!(fixture.unread("bob", &channel).await.1, UnreadCount::Over);
    assert_eq!(fixture.mentions("bob", &channel).await, exactly(20));
    for n in 0..80 {
        fixture.tells("alice", &channel, &format!("{n} <@bob>")).await;
    }
    assert_eq!(fixture.mentions("bob", &channel).await, UnreadCount::Over);
}

#[tokio::test]
async fn a_page_of_long_texts_is_cut_and_the_next_one_goes_on() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let mut sent = Vec::new();
    for _ in 0..40 {
        let text = format!("<@bob> {}", "😀".repeat(39_000));
        sent.push(fixture.tells("alice", &channel, &text).await.id);
    }
    sent.reverse();
    let (mut all, mut below, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = list_mentions(&fixture.app, &caller("bob"), below.as_ref(), 100).await.unwrap();
        let bytes: usize = page.0.iter().map(|message| message.text.as_str().len()).sum();
        assert!((1..=limits::PAGE_BYTES_MAX).contains(&bytes), "{bytes}");
        all.extend(page.0.iter().map(|message| message.id));
        (below, pages) = (page.1, pages + 1);
        if below.is_none() {
            break;
        }
    }
    assert_eq!((all, pages), (sent, 3));
}

#[tokio::test]
async fn mentions_are_paged_and_end_after_thirty_days() {
    let fixture = Fixture::new();
    let channels = [fixture.group("alice", &["bob"]).await.id, fixture.dm("alice", "bob").await.id];
    let mut sent = Vec::new();
    for n in 0..25 {
        sent.push(fixture.tells("alice", &channels[n % 2], "<@bob>").await.id);
    }
    sent.reverse();
    let (mut all, mut below) = (Vec::new(), None);
    loop {
        let page = list_mentions(&fixture.app, &caller("bob"), below.as_ref(), 10).await.unwrap();
        all.extend(page.0.iter().map(|message| message.id));
        below = page.1;
        if below.is_none() {
            break;
        }
    }
    assert_eq!(all, sent);
    fixture.clock.advance(limits::MENTIONS_KEPT + Duration::from_secs(1));
    assert_eq!(fixture.mentions_of("bob").await, []);
}
