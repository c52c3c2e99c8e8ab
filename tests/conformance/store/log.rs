//! The messages port: every message once, in order.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use messaging::ports::{Appended, LogEntry, LogPage, PageQuery, WriteError};
use model::MessageId;

use super::{Stores, channel_id, id, log_id, message, redirect};

on_every_store!(
    g1_a_message_is_stored_once_and_a_repetition_finds_it,
    g1_another_message_at_the_same_id_finds_the_first,
    g1_a_thousand_appends_in_one_millisecond_are_each_returned_once,
    g1_exactly_one_of_fifty_parallel_appends_of_one_id_stores,
    g1_a_redirect_and_its_message_are_stored_together,
    g1_a_redirected_append_finds_a_message_at_its_id,
    g1_a_redirected_append_finds_a_redirect_at_its_id,
    g1_a_redirected_append_stores_nothing_if_its_target_is_taken,
    g1_exactly_one_of_twenty_parallel_redirected_appends_stores,
    an_append_finds_a_redirect_at_its_id,
    a_missing_entry_is_none,
    the_bounds_of_a_page_are_inclusive,
    a_page_has_the_requested_order,
    a_page_reports_whether_more_may_follow,
    a_page_between_crossed_bounds_is_empty,
    a_page_of_long_texts_ends_early_and_reports_that_more_follows,
    channels_do_not_see_each_other,
);

fn page(lowest: MessageId, highest: MessageId, newest_first: bool, limit: u32) -> PageQuery {
    PageQuery { log: channel_id(1).into(), lowest, highest, newest_first, limit, strong: true }
}

fn ids(page: &LogPage) -> Vec<MessageId> {
    page.entries.iter().map(LogEntry::id).collect()
}

async fn stored(stores: &Stores, count: u128) -> Vec<MessageId> {
    let all: Vec<_> = (1..=count).map(|number| id(5, number)).collect();
    for each in &all {
        let appended = stores.messages.append(&message(1, *each, "ada", "hello")).await.unwrap();
        assert_eq!(appended, Appended::Stored);
    }
    all
}

async fn g1_a_message_is_stored_once_and_a_repetition_finds_it(stores: Stores) {
    let hello = message(1, id(0, 1), "ada", "hello\n\"quoted\" 😀");
    assert_eq!(stores.messages.append(&hello).await.unwrap(), Appended::Stored);
    let entry = LogEntry::Message(hello.clone());
    let again = stores.messages.append(&hello).await.unwrap();
    assert_eq!(again, Appended::Occupied(Box::new(entry.clone())));
    let read = stores.messages.entry(&log_id(1), id(0, 1)).await.unwrap();
    assert_eq!(read, Some(entry));
}

async fn g1_another_message_at_the_same_id_finds_the_first(stores: Stores) {
    let mut first = message(1, id(0, 1), "ada", "hello");
    first.members_version = 7;
    stores.messages.append(&first).await.unwrap();
    for other in [message(1, id(0, 1), "bob", "hello"), message(1, id(0, 1), "ada", "bye")] {
        let appended = stores.messages.append(&other).await.unwrap();
        assert_eq!(appended, Appended::Occupied(Box::new(LogEntry::Message(first.clone()))));
    }
    let read = stores.messages.entry(&log_id(1), id(0, 1)).await.unwrap();
    assert_eq!(read, Some(LogEntry::Message(first)));
}

async fn g1_a_thousand_appends_in_one_millisecond_are_each_returned_once(stores: Stores) {
    let appends = stream::iter(1..=1_000_u128).map(|number| {
        let messages = &stores.messages;
        async move { messages.append(&message(1, id(5, number), "ada", "hello")).await.unwrap() }
    });
    let appended: Vec<_> = appends.buffer_unordered(64).collect().await;
    assert!(appended.iter().all(|appended| *appended == Appended::Stored));

    let mut seen = Vec::new();
    let mut highest = MessageId::last_of(super::at(5));
    loop {
        let query = page(MessageId::MIN, highest, true, 100);
        let found = stores.messages.page(&query).await.unwrap();
        seen.extend(ids(&found));
        match seen.last() {
            Some(last) if found.more => highest = last.previous().unwrap(),
            _ => break,
        }
    }
    assert!(seen.is_sorted_by(|newer, older| newer > older));
    assert_eq!(seen.len(), 1_000);
    let expected: BTreeSet<_> = (1..=1_000_u128).map(|number| id(5, number)).collect();
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

async fn g1_exactly_one_of_fifty_parallel_appends_of_one_id_stores(stores: Stores) {
    let appends = stream::iter(0..50).map(|number| {
        let messages = &stores.messages;
        async move {
            let own = message(1, id(0, 1), "ada", &format!("text {number}"));
            (own.clone(), messages.append(&own).await.unwrap())
        }
    });
    let appended: Vec<_> = appends.buffer_unordered(50).collect().await;
    let stored: Vec<_> =
        appended.iter().filter(|(_, appended)| *appended == Appended::Stored).collect();
    assert_eq!(stored.len(), 1);
    let occupied = Appended::Occupied(Box::new(LogEntry::Message(stored[0].0.clone())));
    assert_eq!(appended.iter().filter(|(_, appended)| *appended == occupied).count(), 49);
}

async fn g1_a_redirect_and_its_message_are_stored_together(stores: Stores) {
    let late = message(1, id(100, 1), "ada", "late");
    let from = redirect(id(0, 1), &late);
    let appended = stores.messages.append_redirected(&from, &late).await.unwrap();
    assert_eq!(appended, Appended::Stored);
    let query = page(MessageId::MIN, id(200, 0), false, 10);
    let found = stores.messages.page(&query).await.unwrap();
    assert_eq!(found.entries, [LogEntry::Redirect(from), LogEntry::Message(late)]);
}

async fn g1_a_redirected_append_finds_a_message_at_its_id(stores: Stores) {
    let first = message(1, id(0, 1), "ada", "hello");
    stores.messages.append(&first).await.unwrap();
    let late = message(1, id(100, 1), "ada", "hello");
    let from = redirect(id(0, 1), &late);
    let appended = stores.messages.append_redirected(&from, &late).await.unwrap();
    assert_eq!(appended, Appended::Occupied(Box::new(LogEntry::Message(first))));
    assert_eq!(stores.messages.entry(&log_id(1), id(100, 1)).await.unwrap(), None);
}

async fn g1_a_redirected_append_finds_a_redirect_at_its_id(stores: Stores) {
    let late = message(1, id(100, 1), "ada", "late");
    let from = redirect(id(0, 1), &late);
    stores.messages.append_redirected(&from, &late).await.unwrap();
    // A retry mints another target id.
    let again = message(1, id(200, 1), "ada", "late");
    let appended =
        stores.messages.append_redirected(&redirect(id(0, 1), &again), &again).await.unwrap();
    assert_eq!(appended, Appended::Occupied(Box::new(LogEntry::Redirect(from))));
    assert_eq!(stores.messages.entry(&log_id(1), id(200, 1)).await.unwrap(), None);
}

async fn g1_a_redirected_append_stores_nothing_if_its_target_is_taken(stores: Stores) {
    let first = message(1, id(100, 1), "bob", "first");
    stores.messages.append(&first).await.unwrap();
    let late = message(1, id(100, 1), "ada", "late");
    for from in [id(0, 1), id(100, 1)] {
        let refused = stores.messages.append_redirected(&redirect(from, &late), &late).await;
        assert!(matches!(refused, Err(WriteError::NotStored(_))), "{refused:?}");
    }
    assert_eq!(stores.messages.entry(&log_id(1), id(0, 1)).await.unwrap(), None);
    let read = stores.messages.entry(&log_id(1), id(100, 1)).await.unwrap();
    assert_eq!(read, Some(LogEntry::Message(first)));
}

async fn g1_exactly_one_of_twenty_parallel_redirected_appends_stores(stores: Stores) {
    let appends = stream::iter(1..=20_u128).map(|number| {
        let messages = &stores.messages;
        async move {
            let late = message(1, id(100, number), "ada", "late");
            messages.append_redirected(&redirect(id(0, 1), &late), &late).await
        }
    });
    let appended: Vec<_> = appends.buffer_unordered(20).collect().await;
    let is_stored = |appended: &&Result<_, WriteError>| matches!(appended, Ok(Appended::Stored));
    assert_eq!(appended.iter().filter(is_stored).count(), 1);
    // Contention may be reported, but never as an unknown outcome.
    let unknown =
        |appended: &Result<_, WriteError>| matches!(appended, Err(WriteError::OutcomeUnknown(_)));
    assert!(!appended.iter().any(unknown));
    let found = stores.messages.page(&page(id(100, 0), id(200, 0), false, 100)).await.unwrap();
    assert_eq!(found.entries.len(), 1);
}

async fn an_append_finds_a_redirect_at_its_id(stores: Stores) {
    let late = message(1, id(100, 1), "ada", "late");
    let from = redirect(id(0, 1), &late);
    stores.messages.append_redirected(&from, &late).await.unwrap();
    let appended = stores.messages.append(&message(1, id(0, 1), "ada", "late")).await.unwrap();
    assert_eq!(appended, Appended::Occupied(Box::new(LogEntry::Redirect(from))));
}

async fn a_missing_entry_is_none(stores: Stores) {
    assert_eq!(stores.messages.entry(&log_id(1), id(0, 1)).await.unwrap(), None);
}

async fn the_bounds_of_a_page_are_inclusive(stores: Stores) {
    let all = stored(&stores, 6).await;
    for newest_first in [false, true] {
        let query = page(all[1], all[4], newest_first, 10);
        let mut found = ids(&stores.messages.page(&query).await.unwrap());
        found.sort_unstable();
        assert_eq!(found, all[1..=4]);
    }
    let one = stores.messages.page(&page(all[2], all[2], true, 10)).await.unwrap();
    assert_eq!(ids(&one), [all[2]]);
}

async fn a_page_has_the_requested_order(stores: Stores) {
    let mut all = stored(&stores, 5).await;
    let (lowest, highest) = (MessageId::MIN, id(100, 0));
    for strong in [true, false] {
        let query = PageQuery { strong, ..page(lowest, highest, false, 3) };
        assert_eq!(ids(&stores.messages.page(&query).await.unwrap()), all[..3]);
    }
    all.reverse();
    let newest = stores.messages.page(&page(lowest, highest, true, 3)).await.unwrap();
    assert_eq!(ids(&newest), all[..3]);
}

async fn a_page_reports_whether_more_may_follow(stores: Stores) {
    stored(&stores, 5).await;
    let (lowest, highest) = (MessageId::MIN, id(100, 0));
    for (limit, count, more) in [(4, 4, true), (6, 5, false), (100, 5, false)] {
        let found = stores.messages.page(&page(lowest, highest, true, limit)).await.unwrap();
        assert_eq!((found.entries.len(), found.more), (count, more), "limit {limit}");
    }
    let none = stores.messages.page(&page(id(200, 0), id(300, 0), true, 10)).await.unwrap();
    assert_eq!((none.entries.len(), none.more), (0, false));
}

async fn a_page_between_crossed_bounds_is_empty(stores: Stores) {
    let all = stored(&stores, 3).await;
    let none = stores.messages.page(&page(all[2], all[0], true, 10)).await.unwrap();
    assert_eq!(none, LogPage { entries: Vec::new(), more: false });
}

async fn a_page_of_long_texts_ends_early_and_reports_that_more_follows(stores: Stores) {
    let text = "€".repeat(40_000);
    for number in 1..=12 {
        stores.messages.append(&message(1, id(5, number), "ada", &text)).await.unwrap();
    }
    let first = stores.messages.page(&page(MessageId::MIN, id(100, 0), false, 100)).await.unwrap();
    assert!(first.more && first.entries.len() < 12, "{} entries", first.entries.len());
    let lowest = ids(&first).last().unwrap().next().unwrap();
    let rest = stores.messages.page(&page(lowest, id(100, 0), false, 100)).await.unwrap();
    assert_eq!(first.entries.len() + rest.entries.len(), 12);
    assert!(!rest.more);
}

async fn channels_do_not_see_each_other(stores: Stores) {
    stored(&stores, 2).await;
    let other = message(2, id(5, 1), "bob", "elsewhere");
    assert_eq!(stores.messages.append(&other).await.unwrap(), Appended::Stored);
    let query =
        PageQuery { log: channel_id(2).into(), ..page(MessageId::MIN, id(100, 0), true, 10) };
    let found = stores.messages.page(&query).await.unwrap();
    assert_eq!(found.entries, [LogEntry::Message(other)]);
}
