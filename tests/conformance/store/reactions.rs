//! The messages port: reactions as rows of their own, and the summary that is counted from them (G9).

use dynamo::Cost;
use futures_util::future::join_all;
use messaging::ports::{
    Acted, Change, Folded, LogEntry, MessageStore, Revised, Revision, StoredReaction,
};
use model::{Attribution, ChangeId, Emoji, MessageId, Reaction, Rev, UserId};

use super::{EmptyTables, Stores, at, id, log_id, message, user};

on_every_store!(
    g9_of_acts_with_one_emoji_the_greatest_wins,
    g9_a_summary_is_replaced_only_as_it_was_read,
    g10_a_deletion_takes_the_summary_along,
    reactions_are_read_in_order_and_only_those_of_their_message,
    which_reactions_are_a_users_own,
);

fn emoji(text: &str) -> Emoji {
    Emoji::parse(text).unwrap()
}

fn act(who: &str, text: &str, number: u64, is_made: bool) -> StoredReaction {
    StoredReaction {
        user_id: user(who),
        emoji: emoji(text),
        change_id: ChangeId::parse(&id(number, 1).to_string()).unwrap(),
        withdrawn: (!is_made).then(|| at(5_000)),
        members_version: number,
    }
}

fn fold(rev: MessageId, if_rev: &Rev, users: &[&str]) -> Revision {
    let reaction = || Reaction {
        emoji: emoji("#️⃣"),
        count: users.len() as u64,
        users: users.iter().map(|name| user(name)).collect(),
        mine: None,
    };
    let reactions = if users.is_empty() { Vec::new() } else { vec![reaction()] };
    let folded = Folded { digest: [7; 8], rows: 3, at: at(90) };
    let change = Change::Fold { reactions, folded, if_rev: if_rev.clone() };
    Revision { rev: Rev::of(rev), members_version: 9, only_of: None, change }
}

async fn g9_of_acts_with_one_emoji_the_greatest_wins(stores: Stores) {
    let react = async |one: StoredReaction| {
        stores.messages.react(&log_id(1), id(5, 1), &one).await.unwrap()
    };
    assert_eq!(react(act("ada", "👍", 20, false)).await, Acted::Stored);
    for number in [10, 20] {
        assert_eq!(react(act("ada", "👍", number, true)).await, Acted::Superseded, "{number}");
    }
    let rows = stores.messages.reactions(&log_id(1), id(5, 1), None, 10).await.unwrap();
    assert_eq!(rows.rows, [act("ada", "👍", 20, false)]);
    let all = join_all((30..50).map(|n| react(act("ada", "👍", n, n % 2 == 1)))).await;
    assert!(all.contains(&Acted::Stored));
    let rows = stores.messages.reactions(&log_id(1), id(5, 1), None, 10).await.unwrap();
    assert_eq!(rows.rows, [act("ada", "👍", 49, true)], "made again: it does not expire");
}

async fn g9_a_summary_is_replaced_only_as_it_was_read(stores: Stores) {
    let stored = message(1, id(5, 1), "ada", "hi");
    stores.messages.append(&stored).await.unwrap();
    let revise = async |revision: Revision| {
        stores.messages.revise(&log_id(1), id(5, 1), &revision).await.unwrap()
    };
    let first = fold(id(20, 1), &Rev::of(id(5, 1)), &["ada", "bob"]);
    let expected = first.applied_to(&stored).unwrap();
    assert_eq!(revise(first.clone()).await, Revised::Done(expected.clone()));
    assert_eq!(expected.message.text, stored.message.text);
    for outdated in [fold(id(30, 1), &Rev::of(id(5, 1)), &["eve"]), first] {
        assert_eq!(outdated.applied_to(&expected), None);
        let entry = Box::new(LogEntry::Message(expected.clone()));
        assert_eq!(revise(outdated).await, Revised::Refused(Some(entry)));
    }
    let read = stores.messages.entry(&log_id(1), id(5, 1)).await.unwrap();
    assert_eq!(read, Some(LogEntry::Message(expected.clone())));
    let emptied = fold(id(40, 1), &Rev::of(id(20, 1)), &[]);
    let expected = emptied.applied_to(&expected).unwrap();
    assert_eq!(revise(emptied).await, Revised::Done(expected));
}

async fn g10_a_deletion_takes_the_summary_along(stores: Stores) {
    stores.messages.append(&message(1, id(5, 1), "ada", "hi")).await.unwrap();
    let folded = fold(id(20, 1), &Rev::of(id(5, 1)), &["ada"]);
    stores.messages.revise(&log_id(1), id(5, 1), &folded).await.unwrap();
    let change = Change::Delete(Attribution { at: at(77), by: user("bob") });
    let deletion = Revision { rev: Rev::of(id(30, 1)), members_version: 9, only_of: None, change };
    let revised = stores.messages.revise(&log_id(1), id(5, 1), &deletion).await.unwrap();
    let Revised::Done(stored) = revised else { panic!("{revised:?}") };
    assert_eq!((stored.message.reactions.len(), stored.folded), (0, None));
    let late = fold(id(40, 1), &Rev::of(id(30, 1)), &["ada"]);
    let refused = stores.messages.revise(&log_id(1), id(5, 1), &late).await.unwrap();
    assert!(matches!(refused, Revised::Refused(Some(_))), "{refused:?}");
}

async fn reactions_are_read_in_order_and_only_those_of_their_message(stores: Stores) {
    let on = async |channel: u128, of: MessageId, one: StoredReaction| {
        stores.messages.react(&log_id(channel), of, &one).await.unwrap();
    };
    on(1, id(4, 1), act("zoe", "👍", 10, true)).await;
    on(1, id(6, 1), act("ada", "👍", 10, true)).await;
    on(2, id(5, 1), act("ada", "👍", 10, true)).await;
    for (who, text) in
        [("bob", "👍"), ("ada", "#️⃣"), ("ada-2", "👍"), ("ada", "👍"), ("ada_3", ":a:")]
    {
        on(1, id(5, 1), act(who, text, 10, who != "bob")).await;
    }
    let (mut found, mut after): (Vec<_>, Option<(UserId, Emoji)>) = (Vec::new(), None);
    loop {
        let from = after.as_ref().map(|(user, emoji)| (user, emoji));
        let page = stores.messages.reactions(&log_id(1), id(5, 1), from, 2).await.unwrap();
        assert!(page.rows.len() <= 2);
        found.extend(page.rows.iter().map(|row| (row.user_id.to_string(), row.emoji.to_string())));
        after = page.rows.last().map(|row| (row.user_id.clone(), row.emoji.clone())).or(after);
        if !page.more {
            break;
        }
    }
    let expected = [("ada", "#️⃣"), ("ada", "👍"), ("ada-2", "👍"), ("ada_3", ":a:"), ("bob", "👍")];
    assert_eq!(found, expected.map(|(who, text)| (who.to_owned(), text.to_owned())));
}

async fn which_reactions_are_a_users_own(stores: Stores) {
    for (who, text, is_made) in [("ada", "👍", true), ("ada", ":b:", false), ("bob", ":c:", true)]
    {
        let one = act(who, text, 10, is_made);
        stores.messages.react(&log_id(1), id(5, 1), &one).await.unwrap();
    }
    let asked = ["👍", ":b:", ":c:", "👍"].map(|text| (id(5, 1), emoji(text)));
    let own = stores.messages.reacted_among(&log_id(1), &user("ada"), &asked).await.unwrap();
    assert_eq!(own.first(), Some(&(id(5, 1), emoji("👍"))));
    assert!(own.iter().all(|(_, emoji)| emoji.as_str() == "👍"), "{own:?}");
    let none = stores.messages.reacted_among(&log_id(1), &user("ada"), &[]).await.unwrap();
    assert_eq!(none, []);
}

#[tokio::test]
async fn a_reaction_costs_one_write_unit() {
    let tables = EmptyTables::create().await;
    let before = tables.capacity.snapshot();
    let one = act(&"u".repeat(64), "👍", 10, true);
    tables.store.react(&log_id(1), id(5, 1), &one).await.unwrap();
    let cost = tables.capacity.since(&before).total();
    assert_eq!(cost, Cost { calls: 1, read_units: 0.0, write_units: 1.0 });
}
