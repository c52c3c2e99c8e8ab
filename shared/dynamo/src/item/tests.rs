use model::{
    Channel, ChannelDetails, ChannelType, Contract, LateArrivals, Visibility, WorkspaceId,
};

use super::*;

fn message(text: &str) -> StoredMessage {
    let at = Timestamp::from_unix_ms(1_700_000_000_123);
    let message = Message::new(
        MessageId::mint(at, 7),
        ChannelId::mint_group(at, 9),
        UserId::parse(&"u".repeat(64)).unwrap(),
        MessageText::parse(text.to_owned()).unwrap(),
    );
    StoredMessage::new(message, u64::MAX)
}

fn redirect() -> Redirect {
    let stored = message("moved");
    Redirect {
        log: stored.message.log(),
        id: stored.message.id,
        target: MessageId::mint(Timestamp::from_unix_ms(1_700_000_100_000), 3),
        sender_id: stored.message.sender_id,
        digest: stored.message.text.digest(),
        expires_at: Timestamp::from_unix_ms(1_700_000_200_000),
    }
}

fn channel(name: Option<&str>, late: Option<LateArrivals>) -> Channel {
    let at = Timestamp::from_unix_ms(1_700_000_000_000);
    Channel {
        id: ChannelId::mint_group(at, 1),
        workspace_id: WorkspaceId::parse("acme").unwrap(),
        channel_type: if name.is_some() { ChannelType::Group } else { ChannelType::Dm },
        visibility: Visibility::Private,
        details: ChannelDetails::new(name.map(str::to_owned)),
        contract: Contract::PersistFirst,
        created_at: at,
        created_by: UserId::parse("ada").unwrap(),
        members_version: 3,
        late,
    }
}

fn public_and_archived() -> Channel {
    let (name, topic) = (Some("general".to_owned()), "all of it".to_owned());
    Channel {
        visibility: Visibility::Public,
        details: ChannelDetails { name, topic, archived: true, version: 7 },
        ..channel(None, None)
    }
}

#[test]
fn entries_survive_the_round_trip() {
    let stored = message("hello");
    assert_eq!(decode_log_entry(&encode_message(&stored)), Ok(LogEntry::Message(stored)));
    let redirect = redirect();
    assert_eq!(decode_log_entry(&encode_redirect(&redirect)), Ok(LogEntry::Redirect(redirect)));
}

#[test]
fn a_redirect_is_never_forgotten_early() {
    let mut redirect = redirect();
    redirect.expires_at = Timestamp::from_unix_ms(1_700_000_200_001);
    let Ok(LogEntry::Redirect(read)) = decode_log_entry(&encode_redirect(&redirect)) else {
        panic!("it is a redirect")
    };
    assert_eq!(read.expires_at, Timestamp::from_unix_ms(1_700_000_201_000));
}

#[test]
fn channels_survive_the_round_trip() {
    let late = LateArrivals { reread_from: MessageId::MIN, until: Timestamp::from_unix_ms(5) };
    let channels = [
        channel(Some("général"), None),
        channel(None, None),
        channel(None, Some(late)),
        public_and_archived(),
    ];
    for channel in channels {
        assert_eq!(decode_channel(&encode_channel(&channel)), Ok(channel));
    }
}

#[test]
fn an_800_byte_text_fits_one_write_unit() {
    assert!(billed_bytes(&encode_message(&message(&"x".repeat(800)))) <= 1_024);
    assert!(billed_bytes(&encode_redirect(&redirect())) <= 1_024);
}

#[test]
fn every_attribute_that_is_missing_or_of_another_type_is_named() {
    for (item, optional) in [
        (encode_message(&message("hello")), vec![]),
        // Without its target, a redirect reads as a message without a text.
        (encode_redirect(&redirect()), vec![TARGET]),
    ] {
        for name in item.keys().filter(|name| !optional.contains(&name.as_str())) {
            let mut row = item.clone();
            row.insert(name.clone(), AttributeValue::Bool(true));
            assert_eq!(decode_log_entry(&row).unwrap_err().attribute, name);
            row.remove(name);
            assert_eq!(decode_log_entry(&row).unwrap_err().attribute, name);
        }
    }
    let item = encode_channel(&public_and_archived());
    for name in item.keys() {
        let mut row = item.clone();
        row.insert(name.clone(), AttributeValue::Null(true));
        assert_eq!(decode_channel(&row).unwrap_err().attribute, name);
    }
}

#[test]
fn a_profile_without_texts_is_read_and_a_malformed_one_is_named() {
    let (workspace, user) = (WorkspaceId::parse("acme").unwrap(), UserId::parse("ada").unwrap());
    let mut row = keys::profile(&workspace, &user);
    assert_eq!(decode_profile(&row).unwrap_err().attribute, PROFILE_REV);
    row.insert(PROFILE_REV.to_owned(), keys::string("1"));
    let profile = decode_profile(&row).unwrap();
    assert_eq!((profile.user_id, profile.name.as_str()), (user, ""));
    for name in [PROFILE_REV, PROFILE_NAME, AVATAR, STATUS, STATUS_EMOJI, TIME_ZONE] {
        let mut row = row.clone();
        row.insert(name.to_owned(), AttributeValue::Bool(true));
        assert_eq!(decode_profile(&row).unwrap_err().attribute, name);
    }
}

#[test]
fn an_error_shows_no_content() {
    let mut row = encode_message(&message("secret"));
    row.insert(keys::CREATED_AT.to_owned(), keys::string("secret"));
    let err = decode_log_entry(&row).unwrap_err();
    assert_eq!(err.to_string(), "a row of messages has no well-formed attribute `created_at`");
}
