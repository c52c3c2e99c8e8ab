//! Queries: unknown parameters are ignored, repeated ones refused.

use std::collections::BTreeSet;

use model::{
    ChangeId, ChannelId, DeviceId, Direction, Emoji, ErrorCode, KnownMessages, LogId, MessageId,
    MessageRef, NodeId, ThreadId, UserId, limits,
};
use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// The parameters of a request.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Splits a query. Bad escapes and bad UTF-8 become characters that no parameter accepts.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    fn one(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (first, None) => Ok(first.map(String::as_str)),
            (_, Some(_)) => Err(Problem::invalid_field(name, "The parameter stands twice")),
        }
    }

    /// `channel_id`, which is required.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn channel_id(&self) -> Result<ChannelId, Problem> {
        let text = self
            .one("channel_id")?
            .ok_or_else(|| Problem::invalid_field("channel_id", "The parameter is missing"))?;
        ChannelId::parse(text)
            .map_err(|_form| Problem::invalid_field("channel_id", "Not a channel id"))
    }

    /// `thread`: the root of the thread that the call is about, not the channel's main log.
    ///
    /// # Errors
    /// `invalid_field` if it is not a message's id, or is repeated.
    pub fn thread(&self) -> Result<Option<MessageId>, Problem> {
        let invalid = |_form| Problem::invalid_field("thread", "Not a message id");
        self.one("thread")?.map(|text| MessageId::parse(text).map_err(invalid)).transpose()
    }

    /// `limit`, or the default of the call.
    ///
    /// # Errors
    /// `invalid_limit`, `invalid_field` if repeated.
    pub fn limit(&self, default: u32) -> Result<u32, Problem> {
        let Some(text) = self.one("limit")? else { return Ok(default) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| text.parse().ok())
            .flatten()
            .filter(|limit| (1..=limits::PAGE_ROWS_MAX).contains(limit))
            .ok_or_else(|| ErrorCode::InvalidLimit.into())
    }

    /// `direction`, or `older`.
    ///
    /// # Errors
    /// `invalid_direction`, `invalid_field` if repeated.
    pub fn direction(&self) -> Result<Direction, Problem> {
        match self.one("direction")? {
            None => Ok(Direction::default()),
            Some(text) => Direction::parse(text).ok_or_else(|| ErrorCode::InvalidDirection.into()),
        }
    }

    /// `offset` as a position in a channel's history.
    ///
    /// # Errors
    /// `invalid_offset`, `invalid_field` if repeated.
    pub fn message_offset(&self) -> Result<Option<MessageId>, Problem> {
        self.offset(|text| MessageId::parse(text).ok())
    }

    /// `known`: which messages after the offset the client has.
    ///
    /// # Errors
    /// `invalid_field` if it has another form, is repeated, or `direction` is not `newer`, because
    /// marks are in ascending order.
    pub fn known(&self, direction: Direction) -> Result<Option<KnownMessages>, Problem> {
        let Some(text) = self.one("known")? else { return Ok(None) };
        let known = KnownMessages::parse(text).map_err(|_form| {
            Problem::invalid_field("known", "Not 1 to 400 marks of 8 base64url characters")
        })?;
        match direction {
            Direction::Newer => Ok(Some(known)),
            Direction::Older => {
                Err(Problem::invalid_field("known", "Only with the direction newer"))
            }
        }
    }

    /// `offset` as a position in a list of reactions: the last one's user and emoji, with a `#`
    /// between them, which is in no user id.
    ///
    /// # Errors
    /// `invalid_offset`, `invalid_field` if repeated.
    pub fn reaction_offset(&self) -> Result<Option<(UserId, Emoji)>, Problem> {
        self.offset(|text| {
            let (user, emoji) = text.split_once('#')?;
            Some((UserId::parse(user).ok()?, Emoji::parse(emoji).ok()?))
        })
    }

    /// `offset` as a position in a list of mentions: the last one's message and log, with a `.` between
    /// them.
    ///
    /// # Errors
    /// `invalid_offset`, `invalid_field` if repeated.
    pub fn mention_offset(&self) -> Result<Option<(MessageId, LogId)>, Problem> {
        self.offset(|text| {
            let (id, log) = text.split_once('.')?;
            Some((MessageId::parse(id).ok()?, LogId::parse(log).ok()?))
        })
    }

    /// `offset` as a position in a list of pins: the last one's message and, for a reply, its thread,
    /// with a `.` between them.
    ///
    /// # Errors
    /// `invalid_offset`, `invalid_field` if repeated.
    pub fn pin_offset(&self) -> Result<Option<MessageRef>, Problem> {
        self.offset(|text| MessageRef::parse(text).ok())
    }

    /// `offset` as a position in a list of threads: the last one's root and channel, with a `.` between
    /// them.
    ///
    /// # Errors
    /// `invalid_offset`, `invalid_field` if repeated.
    pub fn thread_offset(&self) -> Result<Option<ThreadId>, Problem> {
        self.offset(|text| {
            let (root, channel) = text.split_once('.')?;
            let (root, channel_id) =
                (MessageId::parse(root).ok()?, ChannelId::parse(channel).ok()?);
            Some(ThreadId { root, channel_id })
        })
    }

    /// `change_id`: makes a reaction's or a pin's retry safe.
    ///
    /// # Errors
    /// `invalid_id` if it is not a ULID, `invalid_field` if repeated.
    pub fn change_id(&self) -> Result<Option<ChangeId>, Problem> {
        let invalid = |_form| Problem::from(ErrorCode::InvalidId).of_field("change_id");
        self.one("change_id")?.map(|text| ChangeId::parse(text).map_err(invalid)).transpose()
    }

    /// `offset` as a position in a list of channels.
    ///
    /// # Errors
    /// `invalid_offset`, `invalid_field` if repeated.
    pub fn channel_offset(&self) -> Result<Option<ChannelId>, Problem> {
        self.offset(|text| ChannelId::parse(text).ok())
    }

    /// `scope`: whether the list is that of the workspace's public channels.
    ///
    /// # Errors
    /// `invalid_field` if it is not `public`, or is repeated.
    pub fn is_public_scope(&self) -> Result<bool, Problem> {
        match self.one("scope")? {
            None => Ok(false),
            Some("public") => Ok(true),
            Some(_) => Err(Problem::invalid_field("scope", "Not a scope")),
        }
    }

    /// `ids`: 1 to 100 user ids, separated by commas.
    ///
    /// # Errors
    /// `invalid_field` if it has another form, or is repeated.
    pub fn user_ids(&self) -> Result<Option<Vec<UserId>>, Problem> {
        let Some(text) = self.one("ids")? else { return Ok(None) };
        let ids: Result<BTreeSet<_>, _> = text.split(',').map(UserId::parse).collect();
        let is_listed = text.split(',').count() <= limits::PROFILES_MAX;
        match ids {
            Ok(ids) if is_listed => Ok(Some(ids.into_iter().collect())),
            _ => Err(Problem::invalid_field("ids", "Not 1 to 100 user ids")),
        }
    }

    /// `offset` as a position in a list of members.
    ///
    /// # Errors
    /// `invalid_offset`, `invalid_field` if repeated.
    pub fn user_offset(&self) -> Result<Option<UserId>, Problem> {
        self.offset(|text| UserId::parse(text).ok())
    }

    fn offset<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        self.one("offset")?
            .map(|text| parse(text).ok_or_else(|| ErrorCode::InvalidOffset.into()))
            .transpose()
    }

    /// `failed`: the node that the client lost or could not reach.
    ///
    /// # Errors
    /// `invalid_field` if it is not a node id, or is repeated.
    pub fn failed(&self) -> Result<Option<NodeId>, Problem> {
        self.node("failed")
    }

    /// `renew`: the node whose socket is to last longer. Not beside `failed`.
    ///
    /// # Errors
    /// `invalid_field` if it is not a node id, is repeated, or there is a `failed`.
    pub fn renew(&self) -> Result<Option<NodeId>, Problem> {
        let renew = self.node("renew")?;
        if renew.is_some() && self.one("failed")?.is_some() {
            return Err(Problem::invalid_field("renew", "Not together with failed"));
        }
        Ok(renew)
    }

    /// `left`: the node whose socket the client lost with its own network. Unlike with `failed`, nothing is
    /// wrong with the node. Not beside `failed`.
    ///
    /// # Errors
    /// `invalid_field` if it is not a node id, is repeated, or there is a `failed`.
    pub fn left(&self) -> Result<Option<NodeId>, Problem> {
        let left = self.node("left")?;
        if left.is_some() && self.one("failed")?.is_some() {
            return Err(Problem::invalid_field("left", "Not together with failed"));
        }
        Ok(left)
    }

    /// `device`: the client's device.
    ///
    /// # Errors
    /// `invalid_field` if it is not a device's id, or is repeated.
    pub fn device(&self) -> Result<Option<DeviceId>, Problem> {
        let device = self.one("device")?.map(DeviceId::parse).transpose();
        device.map_err(|_form| Problem::invalid_field("device", "Not 1 to 64 of A-Z a-z 0-9 _ -"))
    }

    /// `invisible`: whether the user is invisible on the socket. False if absent.
    ///
    /// # Errors
    /// `invalid_field` if it is neither `true` nor `false`, or is repeated.
    pub fn invisible(&self) -> Result<bool, Problem> {
        match self.one("invisible")? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::invalid_field("invisible", "Neither true nor false")),
        }
    }

    fn node(&self, field: &'static str) -> Result<Option<NodeId>, Problem> {
        self.one(field)?
            .map(|text| {
                NodeId::parse(text).map_err(|_form| Problem::invalid_field(field, "Not a node id"))
            })
            .transpose()
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(Some(text))
    }

    #[test]
    fn limits_are_1_to_100() {
        assert_eq!(query("").limit(20), Ok(20));
        assert_eq!(query("limit=100").limit(20), Ok(100));
        for bad in ["0", "-1", "101", "x", "", "1e2", "%2B5", "+5", "5%00", "99999999999999999999"]
        {
            let found = query(&format!("limit={bad}")).limit(20).map_err(|problem| problem.code);
            assert_eq!(found, Err(ErrorCode::InvalidLimit), "{bad}");
        }
    }

    #[test]
    fn ids_are_1_to_100_distinct_users() {
        let ids = |text: &str| query(text).user_ids();
        let named = |names: &[&str]| {
            let parse = |name: &&str| UserId::parse(name).unwrap();
            Ok(Some(names.iter().map(parse).collect()))
        };
        assert_eq!(ids(""), Ok(None));
        assert_eq!(ids("ids=bob,ada,bob"), named(&["ada", "bob"]));
        assert_eq!(ids("ids=ada%2Cbob"), named(&["ada", "bob"]));
        let many = |count: usize| vec!["ada"; count].join(",");
        assert_eq!(ids(&format!("ids={}", many(100))), named(&["ada"]));
        for bad in ["", ",", "ada,", "ada,,bob", "a%20b", "me", &many(101)] {
            let refused = ids(&format!("ids={bad}")).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some("ids"), "{bad}");
        }
    }

    #[test]
    fn garbage_is_refused_and_unknown_names_are_ignored() {
        for bad in ["%zz", "%", "%C0%80", "%00", "a/b"] {
            assert!(query(&format!("channel_id={bad}")).channel_id().is_err(), "{bad}");
            assert!(query(&format!("offset={bad}")).message_offset().is_err(), "{bad}");
        }
        assert!(query("x=1&x=2&=&&%zz=%zz").limit(1).is_ok());
        let twice = query("limit=5&l%69mit=5").limit(20).unwrap_err();
        assert_eq!((twice.code, twice.field.as_deref()), (ErrorCode::InvalidField, Some("limit")));
    }
}
