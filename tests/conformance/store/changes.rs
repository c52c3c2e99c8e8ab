//! The messages port: changes in place under conditions, and the log of changes (G9, G11).

use dynamo::{Cost, Operation};
use futures_util::future::join_all;
use messaging::ports::{
    Appended, Change, CountedReplies, LogEntry, LoggedChange, MessageStore, PageQuery, Revised,
    Revision, StoredMessage,
};
use model::{
    Attribution, ChangeId, Mentions, MessageId, MessageText, Replies, Rev, Timestamp, UserId,
};

use super::{EmptyTables, Stores, at, channel_id, id, log_id, message, redirect, user};

on_every_store!(
    g9_a_revision_is_what_its_rule_says,
    g9_a_refused_revision_changes_nothing_and_shows_the_entry,
    g9_neither_a_redirect_nor_an_absent_message_is_revised,
    g9_of_parallel_edits_the_greatest_change_wins,
    g10_a_tombstone_has_no_text_and_stays_in_its_place,
    g11_changes_are_read_by_position,
    entries_are_read_by_their_ids,
);

fn change_id(ms: u64, number: u128) -> ChangeId {
    ChangeId::parse(&id(ms, number).to_string()).unwrap()
}

fn edit(rev: MessageId, change: ChangeId, text: &str) -> Revision {
    let text = MessageText::from_stored(text.to_owned());
    let mentions = Mentions::of(text.as_str()).unwrap();
    let change = Change::Edit { text, mentions, change_id: change, if_text_rev: None };
    Revision { rev: Rev::of(rev), members_version: 9, only_of: Some(user("ada")), change }
}

fn pin(rev: MessageId, by: Option<UserId>, act: ChangeId) -> Revision {
    let pinned = by.map(|by| Attribution { at: at(66), by });
    let change = Change::Pin { pinned, act };
    Revision { rev: Rev::of(rev), members_version: 8, only_of: None, change }
}

fn deletion(rev: MessageId) -> Revision {
    let change = Change::Delete(Attribution { at: at(77), by: user("bob") });
    Revision { rev: Rev::of(rev), members_version: 9, only_of: None, change }
}

fn if_text_rev(revision: Revision, rev: &Rev) -> Revision {
    let Change::Edit { text, mentions, change_id, .. } = revision.change else { panic!() };
    let if_text_rev = Some(rev.clone());
    Revision { change: Change::Edit { text, mentions, change_id, if_text_rev }, ..revision }
}

/// Revisions of a message with this id, some of which are refused after others.
/// A count of replies that read the message at this revision.
fn replies(rev: MessageId, count: u64, read: MessageId) -> Revision {
    let replies = Replies { count, last: id(9, 1), users: vec![user("bob")] };
    let counted =
        CountedReplies { settled: count, digest: [7; 8], at: at(9), ..CountedReplies::default() };
    let replies = (count > 0).then_some(replies);
    let change = Change::Replies { replies, counted, if_rev: Rev::of(read) };
    Revision { rev: Rev::of(rev), members_version: 4, only_of: None, change }
}

fn revisions(of: MessageId) -> Vec<Revision> {
    let [first, second] = [change_id(10, 1), change_id(10, 2)];
    vec![
        Revision { only_of: Some(user("bob")), ..edit(id(20, 1), first, "of somebody else") },
        edit(id(0, 0), first, "older than the message"),
        if_text_rev(edit(id(20, 1), first, "not that text"), &Rev::of(id(1, 1))),
        if_text_rev(edit(id(20, 2), second, "as it was sent"), &Rev::of(of)),
        if_text_rev(edit(id(30, 1), change_id(10, 3), "not the sent one"), &Rev::of(of)),
        pin(id(24, 1), Some(user("bob")), change_id(5, 1)),
        pin(id(25, 1), None, change_id(5, 1)),
        edit(id(26, 1), change_id(10, 3), "for <@bob>, <@eve> and <!channel>"),
        edit(id(27, 1), change_id(10, 4), "for nobody"),
        edit(id(28, 1), change_id(10, 5), "for <!channel>"),
        pin(id(29, 1), None, change_id(5, 2)),
        pin(id(29, 2), Some(user("ada")), change_id(5, 3)),
        edit(id(30, 1), first, "an earlier change"),
        edit(id(30, 1), second, "the same change"),
        edit(id(20, 1), change_id(10, 3), "an older revision"),
        if_text_rev(edit(id(30, 1), change_id(10, 3), "the edited one"), &Rev::of(id(20, 2))),
        replies(id(31, 1), 0, id(30, 9)),
        replies(id(32, 1), 2, id(29, 2)),
        deletion(id(30, 1)),
        deletion(id(40, 1)),
        deletion(id(50, 1)),
        edit(id(60, 1), change_id(10, 9), "deleted already"),
        // A deleted message keeps its thread.
        replies(id(59, 1), 3, id(40, 1)),
        replies(id(60, 2), 0, id(59, 1)),
        replies(id(60, 2), 0, id(50, 1)),
        pin(id(60, 1), Some(user("bob")), change_id(10, 9)),
    ]
}

async fn entry(stores: &Stores, id: MessageId) -> Option<LogEntry> {
    stores.messages.entry(&log_id(1), id).await.unwrap()
}

async fn g9_a_revision_is_what_its_rule_says(stores: Stores) {
    let mut stored = message(1, id(5, 1), "ada", "hello");
    stores.messages.append(&stored).await.unwrap();
    let mut done = 0;
    for revision in revisions(stored.message.id) {
        let revised =
            stores.messages.revise(&log_id(1), stored.message.id, &revision).await.unwrap();
        match revision.applied_to(&stored) {
            Some(after) => {
                stored = after;
                done += 1;
                assert_eq!(revised, Revised::Done(stored.clone()), "{revision:?}");
            }
            None => {
                let as_it_is = Some(Box::new(LogEntry::Message(stored.clone())));
                assert_eq!(revised, Revised::Refused(as_it_is), "{revision:?}");
            }
        }
        let read = entry(&stores, stored.message.id).await;
        assert_eq!(read, Some(LogEntry::Message(stored.clone())), "{revision:?}");
    }
    assert_eq!(done, 11);
}

async fn g9_a_refused_revision_changes_nothing_and_shows_the_entry(stores: Stores) {
    let stored = message(1, id(5, 1), "ada", "hello");
    stores.messages.append(&stored).await.unwrap();
    let of_bob = Revision { only_of: Some(user("bob")), ..deletion(id(20, 1)) };
    let revised = stores.messages.revise(&log_id(1), id(5, 1), &of_bob).await.unwrap();
    let as_it_is = LogEntry::Message(stored);
    assert_eq!(revised, Revised::Refused(Some(Box::new(as_it_is.clone()))));
    assert_eq!(entry(&stores, id(5, 1)).await, Some(as_it_is));
}

async fn g9_neither_a_redirect_nor_an_absent_message_is_revised(stores: Stores) {
    let late = message(1, id(100, 1), "ada", "hello");
    let redirect = redirect(id(0, 1), &late);
    let appended = stores.messages.append_redirected(&redirect, &late).await.unwrap();
    assert_eq!(appended, Appended::Stored);
    for revision in [edit(id(200, 1), change_id(10, 1), "x"), deletion(id(200, 1))] {
        let channel = log_id(1);
        let revise = |id| stores.messages.revise(&channel, id, &revision);
        assert_eq!(revise(id(7, 7)).await.unwrap(), Revised::Refused(None));
        assert_eq!(entry(&stores, id(7, 7)).await, None, "nothing was made");
        let refused = revise(id(0, 1)).await.unwrap();
        assert!(
            matches!(&refused, Revised::Refused(Some(entry)) if matches!(**entry, LogEntry::Redirect(_))),
            "{refused:?}"
        );
    }
}

async fn g9_of_parallel_edits_the_greatest_change_wins(stores: Stores) {
    let stored = message(1, id(5, 1), "ada", "0");
    stores.messages.append(&stored).await.unwrap();
    // Each one mints a greater revision until its change happened or has lost.
    let edits = (1..=20_u128).map(|number| {
        let messages = &stores.messages;
        async move {
            let change = change_id(10, number);
            let mut rev = id(20, number);
            loop {
                let revision = edit(rev, change, &number.to_string());
                let revised = messages.revise(&log_id(1), id(5, 1), &revision).await.unwrap();
                let Revised::Refused(Some(entry)) = revised else { return };
                let LogEntry::Message(now) = *entry else { panic!() };
                if now.message.edit.is_some_and(|last| last.change_id >= change) {
                    return;
                }
                rev = now.message.rev.id().unwrap().max(rev).next().unwrap();
            }
        }
    });
    join_all(edits).await;
    let Some(LogEntry::Message(last)) = entry(&stores, id(5, 1)).await else { panic!() };
    assert_eq!(last.message.text.as_str(), "20");
    assert_eq!(last.message.edit.map(|edit| edit.change_id), Some(change_id(10, 20)));
}

fn all(newest_first: bool, limit: u32) -> PageQuery {
    let highest = MessageId::last_of(Timestamp::MAX);
    let (channel_id, lowest) = (channel_id(1), MessageId::MIN);
    PageQuery { log: channel_id.into(), lowest, highest, newest_first, limit, strong: true }
}

async fn g10_a_tombstone_has_no_text_and_stays_in_its_place(stores: Stores) {
    for number in 1..=3 {
        stores.messages.append(&message(1, id(5, number), "ada", "needle")).await.unwrap();
    }
    let revised = stores.messages.revise(&log_id(1), id(5, 2), &deletion(id(20, 1))).await;
    let Revised::Done(gone) = revised.unwrap() else { panic!() };
    assert_eq!(gone.message.text.as_str(), "");
    assert_eq!(gone.message.deleted, Some(Attribution { at: at(77), by: user("bob") }));
    let page = stores.messages.page(&all(false, 10)).await.unwrap();
    let ids: Vec<_> = page.entries.iter().map(LogEntry::id).collect();
    assert_eq!(ids, [id(5, 1), id(5, 2), id(5, 3)]);
    assert_eq!(page.entries[1], LogEntry::Message(gone));
}

fn logged(position: MessageId, target: MessageId) -> LoggedChange {
    LoggedChange { log: channel_id(1).into(), position, target, expires_at: at(1_000_000) }
}

async fn g11_changes_are_read_by_position(stores: Stores) {
    stores.messages.append(&message(1, id(5, 1), "ada", "hello")).await.unwrap();
    let wanted: Vec<_> = (1..=5).map(|n| (id(10, n), id(5, n % 2 + 1))).collect();
    for (position, target) in wanted.iter().rev() {
        stores.messages.log_change(&logged(*position, *target)).await.unwrap();
        stores.messages.log_change(&logged(*position, *target)).await.unwrap();
    }
    let read = stores.messages.changes(&all(false, 100)).await.unwrap();
    assert_eq!((read.changes, read.more), (wanted.clone(), false));
    let first = stores.messages.changes(&all(false, 2)).await.unwrap();
    assert_eq!((first.changes, first.more), (wanted[..2].to_vec(), true));
    let within = PageQuery { lowest: id(10, 2), highest: id(10, 3), ..all(false, 100) };
    assert_eq!(stores.messages.changes(&within).await.unwrap().changes, wanted[1..3]);
    let crossed = PageQuery { lowest: id(10, 3), highest: id(10, 2), ..all(false, 100) };
    assert_eq!(stores.messages.changes(&crossed).await.unwrap().changes, []);
    let elsewhere = PageQuery { log: channel_id(2).into(), ..all(false, 100) };
    assert_eq!(stores.messages.changes(&elsewhere).await.unwrap().changes, []);
    // Pages of messages do not see them.
    let page = stores.messages.page(&all(true, 100)).await.unwrap();
    assert_eq!(page.entries.iter().map(LogEntry::id).collect::<Vec<_>>(), [id(5, 1)]);
}

async fn entries_are_read_by_their_ids(stores: Stores) {
    for number in 1..=3 {
        stores.messages.append(&message(1, id(5, number), "ada", "hello")).await.unwrap();
    }
    let ids = [id(5, 3), id(5, 9), id(5, 1), id(5, 1)];
    let read = stores.messages.entries(&log_id(1), &ids).await.unwrap();
    let mut found: Vec<_> = read.iter().map(LogEntry::id).collect();
    found.sort();
    assert_eq!(found, [id(5, 1), id(5, 3)]);
    assert_eq!(stores.messages.entries(&log_id(1), &[]).await.unwrap(), []);
    assert_eq!(stores.messages.entries(&log_id(2), &ids).await.unwrap(), []);
}

const fn cost(calls: u64, read_units: f64, write_units: f64) -> Cost {
    Cost { calls, read_units, write_units }
}

fn of_800_bytes(id: MessageId) -> StoredMessage {
    message(1, id, &"u".repeat(64), &"x".repeat(700))
}

#[tokio::test]
async fn a_change_costs_two_calls_and_two_write_units() {
    let tables = EmptyTables::create().await;
    let stored = of_800_bytes(id(5, 1));
    tables.store.append(&stored).await.unwrap();
    let mut edited = edit(id(20, 1), change_id(10, 1), &"y".repeat(700));
    edited.only_of = Some(stored.message.sender_id.clone());
    for revision in [edited, deletion(id(30, 1))] {
        let before = tables.capacity.snapshot();
        tables.store.log_change(&logged(id(19, 1), id(5, 1))).await.unwrap();
        let revised = tables.store.revise(&log_id(1), id(5, 1), &revision).await.unwrap();
        assert!(matches!(revised, Revised::Done(_)), "{revised:?}");
        let consumed = tables.capacity.since(&before);
        assert_eq!(consumed.total(), cost(2, 0.0, 2.0), "{revision:?}");
        assert_eq!(consumed.of(Operation::Update), cost(1, 0.0, 1.0));
    }
}

#[tokio::test]
async fn reading_a_log_without_changes_costs_one_unit() {
    let tables = EmptyTables::create().await;
    let before = tables.capacity.snapshot();
    tables.store.changes(&all(false, 100)).await.unwrap();
    assert_eq!(tables.capacity.since(&before).total(), cost(1, 1.0, 0.0));
}
