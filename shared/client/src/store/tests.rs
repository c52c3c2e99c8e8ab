use model::{Contract, Rev};

use super::*;
use crate::fake_server::{at, general, message};

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob.sqlite");
    (directory, path)
}

fn batch(inbox: &mut Inbox, cursor: &str) -> Batch {
    let snapshot = inbox.snapshot();
    Batch { cursor: Some(cursor.to_owned()), owner: None, snapshot, outbox: Vec::new() }
}

/// Everything of an inbox that a store keeps, as text.
fn all_of(inbox: &mut Inbox) -> String {
    let Snapshot { changes, channels, inbox: state } = inbox.snapshot();
    assert_eq!(changes, []);
    let mut all = format!("{state:?} {channels:?}");
    let ids: Vec<ChannelId> = channels.into_iter().map(|(id, _)| id).collect();
    for id in ids {
        let main = inbox.timeline(&id).into_iter();
        let logs = main.chain(inbox.threads(&id).map(|(_, thread)| thread));
        let messages: Vec<&Message> = logs.flat_map(|log| log.messages()).collect();
        all = format!("{all} {id} {messages:?}");
    }
    all
}

fn reply(ms: u64, root: u64) -> Message {
    Message { thread: Some(message(root).id), ..message(ms) }
}

fn rows(store: &Store) -> Vec<String> {
    let sql = "SELECT channel_id || thread || id FROM messages ORDER BY channel_id, thread, id";
    let mut rows = store.connection.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn place(message: &Message) -> String {
    let thread = message.thread.map_or_else(String::new, |root| root.to_string());
    format!("{}{thread}{}", message.channel_id, message.id)
}

#[test]
fn a_store_is_one_device_for_as_long_as_its_file_lives() {
    let (_directory, path) = file();
    let device = Store::open(&path).unwrap().device().clone();
    assert_eq!(*Store::open(&path).unwrap().device(), device);
    let (_directory, other) = file();
    assert_ne!(*Store::open(&other).unwrap().device(), device);
}

#[test]
fn a_reopened_store_has_the_messages_the_gaps_and_the_cursor() {
    let (_directory, path) = file();
    let mut store = Store::open(&path).unwrap();
    let Resumed { cursor, mut inbox } = store.resume(100).unwrap();
    assert_eq!(cursor, None);
    let other = ChannelId::mint_group(at(0), 2);
    inbox.record_in_step(at(1));
    for message in [message(1), message(2), reply(3, 1), reply(4, 2)] {
        assert!(inbox.upsert(message));
    }
    inbox.record_sent(general(), message(9).id);
    store.write(batch(&mut inbox, "c1")).unwrap();
    inbox.open_gap(Some(&[general(), other.clone()]), at(5));
    inbox.upsert(Message { channel_id: other.clone(), ..message(6) });
    inbox.leave_channel(&other);
    inbox.set_contract(&other, Contract::DeliverFirst);
    store.write(batch(&mut inbox, "c2")).unwrap();
    drop(store);

    let mut store = Store::open(&path).unwrap();
    let Resumed { cursor, inbox: mut again } = store.resume(100).unwrap();
    assert_eq!(cursor.as_deref(), Some("c2"));
    assert_eq!(all_of(&mut again), all_of(&mut inbox));
    assert!(!again.upsert(message(2)), "it is not fresh again");
}

#[test]
fn the_greatest_revision_stays_and_what_is_forgotten_is_gone() {
    let (_directory, path) = file();
    let mut store = Store::open(&path).unwrap();
    let mut inbox = store.resume(3).unwrap().inbox;
    let edited = Message { rev: Rev::of(message(8).id), ..message(1) };
    inbox.upsert(edited.clone());
    inbox.upsert(message(1));
    inbox.upsert(reply(2, 1));
    store.write(batch(&mut inbox, "c1")).unwrap();
    let mut again = Store::open_anew(store, &path);
    assert_eq!(
        again.resume(3).unwrap().inbox.timeline(general()).unwrap().get(edited.id),
        Some(&edited)
    );
    // Only three messages are kept.
    for ms in 3..=5 {
        inbox.upsert(message(ms));
    }
    again.write(batch(&mut inbox, "c2")).unwrap();
    assert_eq!(
        rows(&again),
        [place(&message(3)), place(&message(4)), place(&message(5)), place(&reply(2, 1))]
    );
    inbox.forget_through(&general(), message(4).id);
    again.write(batch(&mut inbox, "c3")).unwrap();
    assert_eq!(rows(&again), [place(&message(5))]);
    inbox.restart_channel(&general(), at(7));
    inbox.upsert(message(7));
    again.write(batch(&mut inbox, "c4")).unwrap();
    assert_eq!(rows(&again), [place(&message(7))]);
    // Where the server does not store what all devices keep, no copy is thrown away.
    inbox.set_contract(&general(), Contract::DeliverUntilAcked);
    inbox.restart_channel(&general(), at(8));
    inbox.upsert(message(8));
    again.write(batch(&mut inbox, "c5")).unwrap();
    assert_eq!(rows(&again), [place(&message(7)), place(&message(8))]);
    assert_eq!(inbox.timeline(general()).unwrap().len(), 2);
}

#[test]
fn the_outbox_is_kept_until_its_messages_are_stored() {
    let (_directory, path) = file();
    let mut store = Store::open(&path).unwrap();
    let mut inbox = store.resume(100).unwrap().inbox;
    let delivery = |ms, state| Delivery {
        channel_id: general(),
        id: message(ms).id,
        text: message(ms).text,
        state,
    };
    let failed = DeliveryState::Failed { code: "id_conflict".to_owned() };
    let accepted = DeliveryState::Accepted { replicated: true };
    let kept = [delivery(1, DeliveryState::Queued), delivery(2, failed), delivery(3, accepted)];
    let key = |delivery: &Delivery| (delivery.channel_id.clone(), delivery.id);
    let outbox = kept.iter().map(|one| (key(one), Some(one.clone()))).collect();
    store.write(Batch { outbox, ..batch(&mut inbox, "c1") }).unwrap();
    let mut store = Store::open_anew(store, &path);
    let resent = delivery(3, DeliveryState::Queued);
    let [first, second, _] = kept;
    assert_eq!(store.take_outbox(), [first.clone(), second.clone(), resent]);
    let outbox = vec![(key(&first), None)];
    store.write(Batch { outbox, ..batch(&mut inbox, "c2") }).unwrap();
    assert_eq!(Store::open_anew(store, &path).take_outbox().len(), 2);
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let (_directory, path) = file();
    let mut store = Store::open(&path).unwrap();
    let mut inbox = store.resume(100).unwrap().inbox;
    inbox.upsert(message(1));
    store.write(batch(&mut inbox, "c1")).unwrap();
    let triggers =
        "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    store.connection.execute_batch(triggers).unwrap();
    inbox.upsert(message(2));
    let delivery = Delivery {
        channel_id: general(),
        id: message(3).id,
        text: message(3).text,
        state: DeliveryState::Queued,
    };
    let outbox = vec![((general(), message(3).id), Some(delivery))];
    let error = store.write(Batch { outbox, ..batch(&mut inbox, "c2") }).unwrap_err();
    assert_eq!(error.to_string(), "cannot use the store: disk full");
    let mut store = Store::open_anew(store, &path);
    let Resumed { cursor, inbox } = store.resume(100).unwrap();
    assert_eq!(cursor.as_deref(), Some("c1"));
    assert_eq!(inbox.timeline(general()).unwrap().ids(), [message(1).id]);
}

#[test]
fn one_client_at_a_time_has_a_store() {
    let (_directory, path) = file();
    let first = Store::open(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert_eq!(error.to_string(), "cannot use the store: database is locked");
    Store::open_anew(first, &path);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let (_directory, path) = file();
    std::fs::write(&path, [b'x'; 4096]).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Disk(_))));
    assert_eq!(std::fs::read(&path).unwrap(), [b'x'; 4096]);
    std::fs::remove_file(&path).unwrap();
    let store = Store::open(&path).unwrap();
    store.connection.pragma_update(None, "user_version", 9).unwrap();
    drop(store);
    assert!(matches!(Store::open(&path), Err(StoreError::OtherFormat(9))));
}

impl Store {
    /// Closes a store and opens its file again.
    fn open_anew(self, path: &Path) -> Self {
        drop(self);
        Self::open(path).unwrap()
    }
}
