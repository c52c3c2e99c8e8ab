//! The read marks port: conditional changes on the rows of a user's channels (G12).

use dynamo::{Cost, Operation};
use futures_util::future::join_all;
use messaging::ports::{ChannelMark, MarkChange, Marked, MemberStore, ReadMarkStore};
use model::{Epoch, MessageId, ReadMark};

use super::{EmptyTables, Stores, at, channel, channel_id, id, member, user, workspace};

on_every_store!(
    g12_a_change_of_a_mark_is_what_its_rule_says,
    g12_a_mark_creates_no_row_and_comes_back_with_none,
    g12_a_new_member_has_read_what_came_before,
    g12_nothing_else_that_is_written_to_the_row_touches_the_mark,
    g12_of_parallel_marks_the_greatest_stays,
    g12_parallel_unreads_each_begin_an_epoch,
    g12_marks_are_read_in_pages_in_order_of_channel,
);

fn mark(epoch: u64, up_to: MessageId) -> ReadMark {
    ReadMark { epoch: Epoch::new(epoch).unwrap(), up_to }
}

fn read(epoch: u64, up_to: MessageId) -> MarkChange {
    MarkChange::read(mark(epoch, up_to))
}

fn unread(within: u64, up_to: MessageId) -> MarkChange {
    MarkChange::unread(Epoch::new(within).unwrap(), up_to).unwrap()
}

impl Stores {
    async fn join(&self, name: &str, offset_ms: u64) {
        let members = [member(name, offset_ms)];
        self.members.put_members(&workspace("acme"), &channel_id(1), &members).await.unwrap();
    }

    async fn change(&self, name: &str, change: MarkChange) -> Marked {
        let (acme, who) = (workspace("acme"), user(name));
        self.read_marks.change_mark(&acme, &who, &channel_id(1), change).await.unwrap()
    }

    async fn mark_of(&self, name: &str) -> Option<ReadMark> {
        let (acme, who) = (workspace("acme"), user(name));
        let page = self.read_marks.marks_of(&acme, &who, None, 100).await.unwrap();
        page.rows.into_iter().find(|row| row.channel_id == channel_id(1)).map(|row| row.mark)
    }
}

async fn g12_a_change_of_a_mark_is_what_its_rule_says(stores: Stores) {
    stores.join("ada", 10).await;
    let mut present = ReadMark::of_joining(at(10));
    let mut moved = 0;
    for change in [
        read(1, id(20, 1)),
        read(99_999_999, id(20, 1)),
        read(0, id(9, 9)),
        read(0, id(10, 0)),
        read(0, id(10, 0)),
        read(0, id(30, 5)),
        read(0, id(30, 4)),
        unread(1, id(20, 1)),
        unread(99_999_998, id(20, 1)),
        unread(0, id(20, 1)),
        unread(0, id(20, 2)),
        read(0, id(40, 1)),
        read(2, id(40, 1)),
        read(1, id(40, 1)),
        unread(1, id(50, 1)),
        unread(2, MessageId::MIN),
        read(3, id(50, 1)),
        read(10, id(60, 1)),
    ] {
        let applies = change.applies_to(present);
        if applies {
            present = change.mark;
            moved += 1;
        }
        let wanted = if applies { Marked::Moved(present) } else { Marked::Kept(present) };
        assert_eq!(stores.change("ada", change).await, wanted, "{change:?}");
        assert_eq!(stores.mark_of("ada").await, Some(present), "{change:?}");
    }
    assert_eq!(moved, 7);
}

async fn g12_a_mark_creates_no_row_and_comes_back_with_none(stores: Stores) {
    stores.join("bob", 0).await;
    let (acme, general, ada) = (workspace("acme"), channel_id(1), user("ada"));
    let changes = [read(0, id(5, 1)), unread(0, id(5, 1)), read(3, id(5, 1))];
    for change in changes {
        assert_eq!(stores.change("ada", change).await, Marked::NoRow);
    }
    // Neither a leaving mark nor a tombstone is a row of the channel.
    stores.members.mark_leaving(&acme, &general, &ada, at(1)).await.unwrap();
    stores.revocations.revoke(&acme, &ada, at(1)).await.unwrap();
    for change in changes {
        assert_eq!(stores.change("ada", change).await, Marked::NoRow);
    }
    assert_eq!(stores.mark_of("ada").await, None);
    assert!(stores.members.are_settled(&acme, &general, &[ada], false).await.unwrap());
    // Whoever leaves loses the mark.
    stores.change("bob", unread(0, id(5, 1))).await;
    stores.members.delete_member(&acme, &general, &user("bob")).await.unwrap();
    assert_eq!(stores.change("bob", read(1, id(9, 1))).await, Marked::NoRow);
    stores.join("bob", 70).await;
    assert_eq!(stores.mark_of("bob").await, Some(ReadMark::of_joining(at(70))));
    // Another workspace has other rows.
    let zeta = workspace("zeta");
    let change = read(0, id(99, 1));
    let elsewhere = stores.read_marks.change_mark(&zeta, &user("bob"), &general, change).await;
    assert_eq!(elsewhere.unwrap(), Marked::NoRow);
}

async fn g12_a_new_member_has_read_what_came_before(stores: Stores) {
    stores.join("ada", 10).await;
    let joined = ReadMark::of_joining(at(10));
    assert_eq!(stores.mark_of("ada").await, Some(joined));
    assert_eq!(stores.change("ada", read(0, joined.up_to)).await, Marked::Kept(joined));
    // Unread may reach further back, on purpose.
    let back = mark(1, id(0, 1));
    assert_eq!(stores.change("ada", unread(0, id(0, 1))).await, Marked::Moved(back));
    assert_eq!(stores.mark_of("ada").await, Some(back));
}

async fn g12_nothing_else_that_is_written_to_the_row_touches_the_mark(stores: Stores) {
    stores.join("ada", 10).await;
    let (acme, general, ada) = (workspace("acme"), channel_id(1), user("ada"));
    stores.change("ada", unread(0, id(5, 1))).await;
    stores.join("ada", 900).await;
    stores.members.mark_leaving(&acme, &general, &ada, at(1)).await.unwrap();
    stores.channels.create(&channel(1)).await.unwrap();
    assert_eq!(stores.mark_of("ada").await, Some(mark(1, id(5, 1))));
    // And a mark touches nothing else.
    let page = stores.members.channels_of(&acme, &ada, None, 100).await.unwrap();
    assert_eq!(page.rows, std::slice::from_ref(&general));
    let page = stores.members.members(&general, None, 100).await.unwrap();
    assert_eq!(page.rows, [member("ada", 10)]);
}

async fn g12_of_parallel_marks_the_greatest_stays(stores: Stores) {
    stores.join("ada", 0).await;
    let marks = (1..=20).map(|number| stores.change("ada", read(0, id(5, number))));
    join_all(marks).await;
    assert_eq!(stores.mark_of("ada").await, Some(mark(0, id(5, 20))));
}

async fn g12_parallel_unreads_each_begin_an_epoch(stores: Stores) {
    stores.join("ada", 0).await;
    let unreads = (1..=10_u128).map(|number| {
        let stores = &stores;
        async move {
            let mut within = 0;
            loop {
                match stores.change("ada", unread(within, id(5, number))).await {
                    Marked::Moved(mark) => return mark.epoch.number(),
                    Marked::Kept(mark) => within = mark.epoch.number().into(),
                    Marked::NoRow => panic!(),
                }
            }
        }
    });
    let mut epochs = join_all(unreads).await;
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=10).collect::<Vec<_>>());
}

async fn g12_marks_are_read_in_pages_in_order_of_channel(stores: Stores) {
    let (acme, ada) = (workspace("acme"), user("ada"));
    for number in [3, 1, 5, 2, 4] {
        let members = [member("ada", 10)];
        stores.members.put_members(&acme, &channel_id(number), &members).await.unwrap();
    }
    stores.revocations.revoke(&acme, &ada, at(1)).await.unwrap();
    let marks = &stores.read_marks;
    marks.change_mark(&acme, &ada, &channel_id(2), read(0, id(50, 1))).await.unwrap();
    let wanted: Vec<_> = (1..=5)
        .map(|number| ChannelMark {
            channel_id: channel_id(number),
            mark: match number {
                2 => mark(0, id(50, 1)),
                _ => ReadMark::of_joining(at(10)),
            },
        })
        .collect();
    let first = marks.marks_of(&acme, &ada, None, 2).await.unwrap();
    assert_eq!((first.rows.as_slice(), first.more), (&wanted[..2], true));
    let rest = marks.marks_of(&acme, &ada, Some(&channel_id(2)), 100).await.unwrap();
    assert_eq!((rest.rows.as_slice(), rest.more), (&wanted[2..], false));
    let none = marks.marks_of(&acme, &user("eve"), None, 100).await.unwrap();
    assert_eq!((none.rows, none.more), (vec![], false));
}

#[tokio::test]
async fn a_mark_costs_one_write_unit_and_no_read() {
    let tables = EmptyTables::create().await;
    let (store, acme, ada, general) =
        (&tables.store, workspace("acme"), user("ada"), channel_id(1));
    store.put_members(&acme, &general, &[member("ada", 0)]).await.unwrap();
    let one_write = Cost { calls: 1, read_units: 0.0, write_units: 1.0 };
    for (change, what) in [
        (read(0, id(5, 1)), "moves"),
        (read(0, id(4, 1)), "is kept"),
        (unread(0, id(4, 1)), "is unread"),
        (read(7, id(9, 1)), "of an epoch that was never given out"),
    ] {
        let before = tables.capacity.snapshot();
        store.change_mark(&acme, &ada, &general, change).await.unwrap();
        let consumed = tables.capacity.since(&before);
        assert_eq!(consumed.total(), one_write, "{what}");
        assert_eq!(consumed.of(Operation::Update), one_write, "{what}");
    }
    let before = tables.capacity.snapshot();
    let marked = store.change_mark(&acme, &user("eve"), &general, read(0, id(5, 1))).await;
    assert_eq!(marked.unwrap(), Marked::NoRow);
    assert_eq!(tables.capacity.since(&before).total(), one_write, "of a stranger");
}

#[tokio::test]
async fn the_marks_of_100_channels_are_one_query_of_five_units() {
    let tables = EmptyTables::create().await;
    let (store, acme, ada) = (&tables.store, workspace("acme"), user(&"u".repeat(64)));
    for number in 0..100 {
        // A time whose digits the store cannot shorten.
        let members = [model::Member { user_id: ada.clone(), joined_at: at(1) }];
        store.put_members(&acme, &channel_id(number), &members).await.unwrap();
        store.change_mark(&acme, &ada, &channel_id(number), read(0, id(5, 1))).await.unwrap();
    }
    let before = tables.capacity.snapshot();
    assert_eq!(store.marks_of(&acme, &ada, None, 100).await.unwrap().rows.len(), 100);
    let cost = tables.capacity.since(&before).total();
    assert_eq!(cost, Cost { calls: 1, read_units: 5.0, write_units: 0.0 });
}
