use proptest::prelude::*;

use super::*;
use crate::channel::Contract;

fn workspace(text: &str) -> WorkspaceId {
    WorkspaceId::parse(text).unwrap()
}

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

#[test]
fn names_are_1_to_64_of_the_alphabet() {
    for good in ["a", "A-_9", &"x".repeat(64)] {
        assert!(UserId::parse(good).is_ok(), "{good}");
    }
    for bad in ["", " a", "a b", "é", "a/b", "a\0", "a.b", &"x".repeat(65)] {
        assert_eq!(UserId::parse(bad), Err(IdError::Name), "{bad:?}");
    }
}

#[test]
fn no_user_is_me() {
    assert_eq!(UserId::parse("me"), Err(IdError::Name));
    assert!(WorkspaceId::parse("me").is_ok());
    for free in ["Me", "ME", "me_", "mee"] {
        assert!(UserId::parse(free).is_ok(), "{free}");
    }
}

#[test]
fn message_ids_are_upper_case_and_do_not_overflow() {
    assert!(MessageId::parse("7ZZZZZZZZZZZZZZZZZZZZZZZZZ").is_ok());
    for bad in [
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",  // over 128 bits
        "01arz3ndektsv4rrffq69g5fav",  // lower case
        "01ARZ3NDEKTSV4RRFFQ69G5FA",   // 25
        "01ARZ3NDEKTSV4RRFFQ69G5FAVX", // 27
        "01ARZ3NDEKTSV4RRFFQ69G5FAI",  // I is no Crockford character
        "01ARZ3NDEKTSV4RRFFQ69G5FÄ",   // 26 bytes, not 26 characters
        "",
    ] {
        assert_eq!(MessageId::parse(bad), Err(IdError::Ulid), "{bad}");
    }
}

#[test]
fn a_dm_has_one_id_whoever_opens_it() {
    let id = |space: &str, one: &str, other: &str, contract| {
        ChannelId::of_dm(&workspace(space), &user(one), &user(other), contract)
    };
    let (stored, delivered) = (Contract::PersistFirst, Contract::DeliverFirst);
    let one = id("w", "alice", "bob", stored);
    assert_eq!(one, id("w", "bob", "alice", stored));
    assert_ne!(one, id("v", "alice", "bob", stored));
    assert_ne!(one, id("w", "alice", "bobb", stored));
    assert_ne!(one, id("w", "alice", "bob", delivered));
    assert_eq!(id("w", "bob", "alice", delivered), id("w", "alice", "bob", delivered));
    assert_eq!(ChannelId::parse(one.as_str()), Ok(one.clone()));
    assert!(one.is_dm());
    // Golden value: the derivation is a contract, because stored channels depend on it.
    assert_eq!(one.as_str(), "D03CY5MTT75QHGN2MXXBT1ER96D");
}

#[test]
fn channel_ids_have_two_forms() {
    assert!(ChannelId::parse("C01ARZ3NDEKTSV4RRFFQ69G5FAV").is_ok());
    assert!(ChannelId::parse("DZZZZZZZZZZZZZZZZZZZZZZZZZZ").is_ok());
    for bad in ["", "C", "CZZZZZZZZZZZZZZZZZZZZZZZZZZ", "X01ARZ3NDEKTSV4RRFFQ69G5FAV", "Ä01"] {
        assert_eq!(ChannelId::parse(bad), Err(IdError::Channel), "{bad}");
    }
}

#[test]
fn the_neighbours_of_an_id_are_next_to_it() {
    let id = MessageId::mint(Timestamp::from_unix_ms(7), 9);
    assert_eq!(id.next().and_then(MessageId::previous), Some(id));
    // The last id of a millisecond is followed by the first of the next one.
    let at = Timestamp::from_unix_ms;
    assert_eq!(MessageId::last_of(at(5)).next(), Some(MessageId::first_of(at(6))));
    assert_eq!(MessageId::first_of(at(6)).previous(), Some(MessageId::last_of(at(5))));
    assert_eq!(MessageId::MIN.previous(), None);
    assert_eq!(MessageId::parse("7ZZZZZZZZZZZZZZZZZZZZZZZZZ").unwrap().next(), None);
}

proptest! {
    #[test]
    fn an_id_survives_its_text_and_sorts_by_time(a in 0_u64..(1 << 48), b in 0_u64..(1 << 48), r: u128, s: u128) {
        let (one, other) = (
            MessageId::mint(Timestamp::from_unix_ms(a), r),
            MessageId::mint(Timestamp::from_unix_ms(b), s),
        );
        prop_assert_eq!(MessageId::parse(&one.to_string()), Ok(one));
        prop_assert_eq!(one.time().unix_ms(), a);
        prop_assert_eq!(one.to_string().cmp(&other.to_string()), one.cmp(&other));
        if a < b { prop_assert!(one < other); }
    }

    #[test]
    fn no_string_panics(text in ".*") {
        let _ignored = (MessageId::parse(&text).is_ok(), ChannelId::parse(&text).is_ok(), UserId::parse(&text).is_ok());
    }
}
