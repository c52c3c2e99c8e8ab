//! The pins port: of two acts the greater one wins, and a channel's list.

use dynamo::Cost;
use futures_util::future::join_all;
use messaging::ports::{Acted, PinStore, StoredPin};
use model::{ChangeId, MessageId, MessageRef};

use super::{EmptyTables, Stores, at, channel_id, id, message, user};

on_every_store!(
    g9_of_acts_on_a_message_the_greatest_wins,
    pins_are_read_newest_first_and_only_those_of_their_channel,
);

/// A message of the main log.
fn of(id: MessageId) -> MessageRef {
    MessageRef { id, thread: None }
}

fn act(of: u64, number: u64, is_made: bool) -> StoredPin {
    StoredPin {
        of: self::of(id(of, 1)),
        act: ChangeId::parse(&id(number, 1).to_string()).unwrap(),
        by: user("ada"),
        at: at(number),
        withdrawn: (!is_made).then(|| at(5_000)),
        members_version: number,
    }
}

async fn g9_of_acts_on_a_message_the_greatest_wins(stores: Stores) {
    let pin = async |one: StoredPin| stores.pins.pin(&channel_id(1), &one).await.unwrap();
    let rows = async || stores.pins.pins(&channel_id(1), None, 10).await.unwrap().rows;
    assert_eq!(pin(act(5, 20, false)).await, Acted::Stored);
    for number in [10, 20] {
        assert_eq!(pin(act(5, number, true)).await, Acted::Superseded, "{number}");
    }
    assert_eq!(rows().await, [act(5, 20, false)]);
    join_all((30..50).map(|n| pin(act(5, n, n % 2 == 1)))).await;
    assert_eq!(rows().await, [act(5, 49, true)], "pinned again: it does not expire");
}

async fn pins_are_read_newest_first_and_only_those_of_their_channel(stores: Stores) {
    // Neither messages nor pins of other channels are among them.
    stores.messages.append(&message(1, id(3, 1), "ada", "hello")).await.unwrap();
    stores.pins.pin(&channel_id(2), &act(2, 9, true)).await.unwrap();
    for of in [1, 2, 4] {
        stores.pins.pin(&channel_id(1), &act(of, 9, of != 2)).await.unwrap();
    }
    let read = async |from, limit| {
        let page = stores.pins.pins(&channel_id(1), from, limit).await.unwrap();
        (page.rows.iter().map(|row| row.of.id).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(read(None, 100).await, (vec![id(4, 1), id(2, 1), id(1, 1)], false));
    // A pinned reply is in the same list, beside a message of the main log that has its id.
    let reply = MessageRef { id: id(2, 1), thread: Some(id(1, 1)) };
    stores.pins.pin(&channel_id(3), &act(2, 9, true)).await.unwrap();
    stores.pins.pin(&channel_id(3), &StoredPin { of: reply, ..act(2, 10, true) }).await.unwrap();
    let third = channel_id(3);
    let rows = stores.pins.pins(&third, None, 100).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.of).collect::<Vec<_>>(), [reply, of(id(2, 1))]);
    assert_eq!(stores.pins.pins(&third, reply.previous(), 100).await.unwrap().rows.len(), 1);
    assert_eq!(read(None, 2).await, (vec![id(4, 1), id(2, 1)], true));
    assert_eq!(read(Some(of(id(2, 1))), 100).await, (vec![id(2, 1), id(1, 1)], false));
    assert_eq!(read(Some(of(id(3, 1))), 1).await.0, [id(2, 1)]);
    assert_eq!(read(Some(of(id(0, 1))), 100).await, (vec![], false));
}

#[tokio::test]
async fn a_pin_costs_one_write_unit_and_a_list_of_a_hundred_three_read_units() {
    let tables = EmptyTables::create().await;
    for of in 1..=100 {
        let before = tables.capacity.snapshot();
        tables.store.pin(&channel_id(1), &act(of, 9, true)).await.unwrap();
        let cost = tables.capacity.since(&before).total();
        assert_eq!(cost, Cost { calls: 1, read_units: 0.0, write_units: 1.0 });
    }
    let before = tables.capacity.snapshot();
    tables.store.pins(&channel_id(1), None, 100).await.unwrap();
    let cost = tables.capacity.since(&before).total();
    assert!(cost.calls == 1 && cost.read_units <= 4.0, "{cost:?}");
}
