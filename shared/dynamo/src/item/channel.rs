//! Rows of the channels table.

use aws_sdk_dynamodb::types::AttributeValue;
use model::{
    Channel, ChannelDetails, ChannelId, ChannelType, Contract, LateArrivals, MessageId, UserId,
    Visibility, WorkspaceId,
};

use super::{
    ARCHIVED, CONTRACT, DETAILS_VERSION, Item, KIND, LATE_AT, LATE_ID, MADE_AT, MADE_BY,
    MalformedRow, NAME, Row, TOPIC, VERSION, VISIBILITY, WORKSPACE, number,
};
use crate::keys;

pub(crate) fn encode_channel(channel: &Channel) -> Item {
    let mut item = keys::channel(&channel.id);
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put(WORKSPACE, keys::string(channel.workspace_id.as_str()));
    put(KIND, keys::string(channel.channel_type.as_str()));
    put(CONTRACT, keys::string(channel.contract.as_str()));
    put(MADE_AT, number(channel.created_at.unix_ms()));
    put(MADE_BY, keys::string(channel.created_by.as_str()));
    put(VERSION, number(channel.members_version));
    if channel.visibility != Visibility::default() {
        put(VISIBILITY, keys::string(channel.visibility.as_str()));
    }
    let ChannelDetails { name, topic, archived, version } = &channel.details;
    if let Some(name) = name {
        put(NAME, keys::string(name.as_str()));
    }
    if !topic.is_empty() {
        put(TOPIC, keys::string(topic.as_str()));
    }
    if *archived {
        put(ARCHIVED, AttributeValue::Bool(true));
    }
    if *version != 1 {
        put(DETAILS_VERSION, number(*version));
    }
    if let Some(late) = channel.late {
        put(LATE_ID, keys::string(late.reread_from.to_string()));
        put(LATE_AT, number(late.until.unix_ms()));
    }
    item
}

pub(crate) fn decode_channel(item: &Item) -> Result<Channel, MalformedRow> {
    let row = Row { table: "channels", item };
    let late = match item.get(LATE_ID) {
        None => None,
        Some(_) => Some(LateArrivals {
            reread_from: row.parsed(LATE_ID, |text| MessageId::parse(text).ok())?,
            until: row.time(LATE_AT)?,
        }),
    };
    Ok(Channel {
        id: row.parsed(keys::CHANNEL_ID, |text| ChannelId::parse(text).ok())?,
        workspace_id: row.parsed(WORKSPACE, |text| WorkspaceId::parse(text).ok())?,
        channel_type: row.parsed(KIND, ChannelType::parse)?,
        visibility: match row.optional_text(VISIBILITY)? {
            None => Visibility::default(),
            Some(_) => row.parsed(VISIBILITY, Visibility::parse)?,
        },
        details: ChannelDetails {
            name: row.optional_text(NAME)?,
            topic: row.optional_text(TOPIC)?.unwrap_or_default(),
            archived: row.flag(ARCHIVED)?,
            version: match item.get(DETAILS_VERSION) {
                None => 1,
                Some(_) => row.number(DETAILS_VERSION)?,
            },
        },
        contract: row.parsed(CONTRACT, Contract::parse)?,
        created_at: row.time(MADE_AT)?,
        created_by: row.parsed(MADE_BY, |text| UserId::parse(text).ok())?,
        members_version: row.number(VERSION)?,
        late,
    })
}
