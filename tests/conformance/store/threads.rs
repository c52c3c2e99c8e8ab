//! The threads port: of two acts the greater one wins, marks only move forward, and each thread is a log.

use messaging::ports::{Acted, Follow, LogEntry, PageQuery, StoredMessage, ThreadMarked};
use model::{LogId, MessageId, ThreadId};

use super::{Stores, at, channel_id, id, log_id, message, user, workspace};

on_every_store!(
    the_last_act_says_who_follows_and_the_first_mark_stays,
    g12_a_mark_moves_forward_and_makes_a_row_that_is_not_followed,
    followed_threads_are_read_newest_root_first,
    a_thread_is_a_log_of_its_own,
);

fn thread(root: u64) -> ThreadId {
    ThreadId { root: id(root, 1), channel_id: channel_id(1) }
}

fn act(number: u64, is_followed: bool, up_to: u64) -> Follow {
    let up_to = id(up_to, 1);
    Follow { act: id(number, 1).into(), is_followed, up_to, expires_at: at(9_000) }
}

async fn the_last_act_says_who_follows_and_the_first_mark_stays(stores: Stores) {
    let (ada, acme) = (user("ada"), workspace("acme"));
    let threads = &stores.threads;
    let follow = async |one: Follow| threads.follow(&acme, &ada, &thread(5), &one).await.unwrap();
    assert_eq!(threads.user_thread(&acme, &ada, &thread(5)).await.unwrap(), None);
    assert_eq!(follow(act(20, true, 7)).await, Acted::Stored);
    for (number, is_followed) in [(10, false), (20, false)] {
        assert_eq!(follow(act(number, is_followed, 9)).await, Acted::Superseded, "{number}");
    }
    assert_eq!(follow(act(30, false, 9)).await, Acted::Stored);
    let row = threads.user_thread(&acme, &ada, &thread(5)).await.unwrap().unwrap();
    assert_eq!((row.is_followed, row.up_to, row.thread), (false, id(7, 1), thread(5)));
    let others = [(user("bob"), thread(5)), (ada.clone(), thread(6))];
    for (who, of) in others {
        assert_eq!(threads.user_thread(&acme, &who, &of).await.unwrap(), None, "{who}");
    }
}

async fn g12_a_mark_moves_forward_and_makes_a_row_that_is_not_followed(stores: Stores) {
    let (ada, acme) = (user("ada"), workspace("acme"));
    let threads = &stores.threads;
    let mark = async |up_to: u64| {
        threads.mark_thread(&acme, &ada, &thread(5), id(up_to, 1), at(9_000)).await.unwrap()
    };
    assert_eq!(mark(7).await, ThreadMarked::Moved);
    for lower in [6, 7] {
        assert_eq!(mark(lower).await, ThreadMarked::Kept(id(7, 1)), "{lower}");
    }
    let row = threads.user_thread(&acme, &ada, &thread(5)).await.unwrap().unwrap();
    assert_eq!((row.is_followed, row.up_to), (false, id(7, 1)));
    // Any act is later than none, and the mark stays.
    threads.follow(&acme, &ada, &thread(5), &act(1, true, 3)).await.unwrap();
    assert_eq!(mark(8).await, ThreadMarked::Moved);
    let row = threads.user_thread(&acme, &ada, &thread(5)).await.unwrap().unwrap();
    assert_eq!((row.is_followed, row.up_to), (true, id(8, 1)));
}

async fn followed_threads_are_read_newest_root_first(stores: Stores) {
    let (ada, acme) = (user("ada"), workspace("acme"));
    let threads = &stores.threads;
    for root in [3, 1, 2] {
        threads.follow(&acme, &ada, &thread(root), &act(9, root != 2, 5)).await.unwrap();
    }
    threads.follow(&acme, &user("bob"), &thread(4), &act(9, true, 5)).await.unwrap();
    let read = async |below: Option<ThreadId>, limit| {
        let page = threads.user_threads(&acme, &ada, below.as_ref(), limit).await.unwrap();
        (page.rows.into_iter().map(|row| row.thread.root).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(read(None, 100).await, (vec![id(3, 1), id(2, 1), id(1, 1)], false));
    assert_eq!(read(None, 2).await, (vec![id(3, 1), id(2, 1)], true));
    assert_eq!(read(Some(thread(2)), 100).await, (vec![id(1, 1)], false));
    // They are beside the user's channels, not among them.
    let channels = stores.members.channels_of(&acme, &ada, None, 100).await.unwrap();
    assert_eq!(channels.rows, []);
}

async fn a_thread_is_a_log_of_its_own(stores: Stores) {
    let of_thread = LogId::new(channel_id(1), Some(id(1, 1)));
    let main = message(1, id(5, 1), "ada", "main");
    let mut reply = StoredMessage { members_version: 3, ..main.clone() };
    reply.message.thread = Some(id(1, 1));
    for one in [&main, &reply] {
        stores.messages.append(one).await.unwrap();
    }
    for (log, wanted) in [(log_id(1), &main), (of_thread, &reply)] {
        let found = stores.messages.entry(&log, id(5, 1)).await.unwrap();
        assert_eq!(found, Some(LogEntry::Message(wanted.clone())), "{log}");
        let (lowest, highest) = (MessageId::MIN, MessageId::MAX);
        let query = PageQuery { log, lowest, highest, newest_first: false, limit: 9, strong: true };
        let page = stores.messages.page(&query).await.unwrap();
        assert_eq!(page.entries, [LogEntry::Message(wanted.clone())]);
    }
}
