//! Reads a request: token, media type, size, JSON, fields, in this order.

use std::borrow::Cow;
use std::collections::BTreeSet;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use model::{
    ChangeId, ChannelId, Contract, EditMessage, Emoji, Epoch, ErrorCode, LogId, Mentions,
    MessageId, MessageText, NewChannel, NewChannelKind, NewMessage, NewReadMark, ReadMark, Rev,
    TextError, UserId, Visibility, is_invisible, limits,
};
use serde_json::{Map, Value};

use super::attachments::files_of;
use crate::json;
use crate::problem::Problem;

/// The bearer token of a request (RFC 6750 2.1).
///
/// # Errors
/// `unauthenticated` if there is none, or more than one header.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ErrorCode::Unauthenticated.into());
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty() && !token.contains(' '))
        .ok_or_else(|| ErrorCode::Unauthenticated.into())
}

/// Reads a request's JSON: media type, content coding, then size, then form.
///
/// # Errors
/// `unsupported_media_type`, `too_large`, `bad_json`, or `invalid_field` if the body is not an
/// object.
pub fn read_json(headers: &HeaderMap, body: &[u8]) -> Result<Fields, Problem> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(ErrorCode::UnsupportedMediaType.into());
    }
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| !is_identity(coding)) {
        let refused = Problem::from(ErrorCode::UnsupportedMediaType);
        return Err(refused.because("The body has a content coding other than identity"));
    }
    if body.len() > limits::BODY_BYTES_MAX {
        return Err(ErrorCode::TooLarge.into());
    }
    match json::parse(body) {
        Ok(Value::Object(fields)) => Ok(Fields(fields)),
        Ok(_) => Err(Problem::invalid_field("body", "The body is not an object")),
        Err(_) => Err(ErrorCode::BadJson.into()),
    }
}

/// Whether these content codings leave the body unchanged.
fn is_identity(codings: &HeaderValue) -> bool {
    let names = codings.to_str().ok().map(|text| text.split(','));
    names.is_some_and(|mut names| names.all(|name| name.trim().eq_ignore_ascii_case("identity")))
}

/// The fields of a body that have not been read yet.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn optional_string(
        &mut self,
        name: &'static str,
    ) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::invalid_field(name, "Not a string")),
        }
    }

    pub(super) fn optional_bool(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(Problem::invalid_field(name, "Neither true nor false")),
        }
    }

    pub(super) fn string(&mut self, name: &'static str) -> Result<String, Problem> {
        self.optional_string(name)?
            .ok_or_else(|| Problem::invalid_field(name, "The field is missing"))
    }

    pub(super) fn whole_number(&mut self, name: &'static str) -> Result<u64, Problem> {
        match self.0.remove(name) {
            None => Err(Problem::invalid_field(name, "The field is missing")),
            Some(value) => {
                value.as_u64().ok_or_else(|| Problem::invalid_field(name, "Not a whole number"))
            }
        }
    }

    fn optional_strings(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Problem> {
        let Some(listed) = self.0.remove(name) else { return Ok(None) };
        serde_json::from_value(listed)
            .map(Some)
            .map_err(|_form| Problem::invalid_field(name, "Not a list of strings"))
    }

    fn message_id(&mut self, name: &'static str) -> Result<Option<MessageId>, Problem> {
        let parse = |text: String| {
            let refused = || Problem::from(ErrorCode::InvalidId).of_field(name);
            MessageId::parse(&text).map_err(|_form| refused())
        };
        self.optional_string(name)?.map(parse).transpose()
    }

    /// The id of another message, if the field is there.
    fn reference(&mut self, name: &'static str) -> Result<Option<MessageId>, Problem> {
        let refused = |_form| Problem::invalid_field(name, "Not a message id");
        self.optional_string(name)?.map(|text| MessageId::parse(&text).map_err(refused)).transpose()
    }

    fn required_id(&mut self, name: &'static str) -> Result<MessageId, Problem> {
        self.message_id(name)?.ok_or_else(|| Problem::invalid_field(name, "The field is missing"))
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid_field(known_form(name), "An unknown field")),
        }
    }
}

/// A field's name is the caller's input, so it is repeated only if it looks like a name.
fn known_form(name: String) -> Cow<'static, str> {
    let harmless = (1..=limits::ID_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if harmless { name.into() } else { "?".into() }
}

/// The body of `POST /messages`.
impl TryFrom<Fields> for NewMessage {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let channel_id = fields.string("channel_id")?;
        let text = fields.string("message")?;
        let id = fields.message_id("id")?;
        let after = fields.message_id("after")?;
        let attachments = fields.optional_strings("attachments")?;
        let thread = fields.reference("thread")?;
        let quote = fields.reference("quote")?;
        fields.finish()?;
        let log = LogId::new(channel_of(&channel_id)?, thread);
        let attachments = files_of(attachments, &log.channel_id)?;
        let text = if text.is_empty() && !attachments.is_empty() {
            MessageText::absent()
        } else {
            MessageText::parse(text).map_err(text_problem)?
        };
        let mentions = mentions(&text)?;
        Ok(Self { log, text, mentions, attachments, id, after, quote })
    }
}

/// The body of `PATCH /channels/{channel_id}/messages/{id}`.
impl TryFrom<Fields> for EditMessage {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let text = fields.string("message")?;
        let change_id = fields.string("change_id")?;
        let if_rev = fields.optional_string("if_rev")?;
        fields.finish()?;
        let change_id = ChangeId::parse(&change_id)
            .map_err(|_form| Problem::from(ErrorCode::InvalidId).of_field("change_id"))?;
        let if_rev = if_rev.map(|rev| Rev::parse(&rev)).transpose();
        let if_rev = if_rev.map_err(|_form| Problem::invalid_field("if_rev", "Not a revision"))?;
        let text = MessageText::parse(text).map_err(text_problem)?;
        let mentions = mentions(&text)?;
        Ok(Self { text, mentions, change_id, if_rev })
    }
}

fn mentions(text: &MessageText) -> Result<Mentions, Problem> {
    let refused = |_many| Problem::invalid_field("message", "More than 50 users are mentioned");
    Mentions::of(text.as_str()).map_err(refused)
}

fn text_problem(error: TextError) -> Problem {
    match error {
        TextError::Empty => Problem::from(ErrorCode::EmptyMessage).of_field("message"),
        TextError::TooLong => Problem::from(ErrorCode::MessageTooLong).of_field("message"),
        TextError::Control => {
            Problem::invalid_field("message", "The text holds a control character")
        }
    }
}

/// The body of `POST /channels`.
impl TryFrom<Fields> for NewChannel {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let kind = fields.string("type")?;
        let name = fields.optional_string("name")?;
        let contract = fields.optional_string("contract")?;
        let keep = fields.optional_string("keep")?;
        let visibility = fields.optional_string("visibility")?;
        let members = members_of(&mut fields)?;
        fields.finish()?;
        let mut contract = match contract.as_deref().map(Contract::of_wire) {
            None => Contract::default(),
            Some(Some(contract)) => contract,
            Some(None) => return Err(Problem::invalid_field("contract", "Not a contract")),
        };
        if let Some(keep) = keep {
            contract = contract.keeping(&keep).ok_or_else(|| {
                Problem::invalid_field(
                    "keep",
                    match contract.delivers_first() {
                        true => "Neither archive nor acked",
                        false => "Only for channels that deliver first",
                    },
                )
            })?;
        }
        let visibility = match visibility.as_deref().map(Visibility::parse) {
            None => Visibility::default(),
            Some(Some(visibility)) => visibility,
            Some(None) => return Err(Problem::invalid_field("visibility", "Not a visibility")),
        };
        let kind = match (kind.as_str(), name) {
            ("GROUP_CHANNEL", Some(name)) => {
                NewChannelKind::Group { visibility, name: channel_name(name)?, members }
            }
            ("GROUP_CHANNEL", None) => {
                return Err(Problem::invalid_field("name", "The field is missing"));
            }
            ("DM", _) if visibility == Visibility::Public => {
                return Err(Problem::invalid_field("visibility", "A DM is private"));
            }
            ("DM", None) => NewChannelKind::Dm { other: the_other(members)? },
            ("DM", Some(_)) => return Err(Problem::invalid_field("name", "A DM has no name")),
            _ => return Err(Problem::invalid_field("type", "Neither GROUP_CHANNEL nor DM")),
        };
        Ok(Self { kind, contract })
    }
}

/// The body of `POST /channels/{channel_id}/members`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddMembersBody {
    /// 1 to 100, distinct.
    pub members: Vec<UserId>,
}

impl TryFrom<Fields> for AddMembersBody {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let members = members_of(&mut fields)?;
        fields.finish()?;
        if members.is_empty() {
            return Err(Problem::invalid_field("members", "No members"));
        }
        Ok(Self { members })
    }
}

/// The body of `POST /read`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkReadBody {
    /// 1 to 20.
    pub marks: Vec<NewReadMark>,
    /// Channels whose members may see the mark, if the channel has receipts.
    pub shared: BTreeSet<ChannelId>,
}

impl TryFrom<Fields> for MarkReadBody {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let refused = |detail| Problem::invalid_field("marks", detail);
        let listed = match fields.0.remove("marks") {
            None => return Err(refused("The field is missing")),
            Some(Value::Array(listed)) => listed,
            Some(_) => return Err(refused("Not an array")),
        };
        fields.finish()?;
        if !(1..=limits::READ_MARKS_MAX).contains(&listed.len()) {
            return Err(refused("Not 1 to 20 marks"));
        }
        let mut shared = BTreeSet::new();
        let marks = listed.into_iter().map(|listed| match listed {
            Value::Object(fields) => Fields(fields).read_mark(&mut shared),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(refused("A mark is not an object")),
        });
        let marks = marks.collect::<Result<_, _>>()?;
        Ok(Self { marks, shared })
    }
}

impl Fields {
    fn read_mark(mut self, shared: &mut BTreeSet<ChannelId>) -> Result<NewReadMark, Problem> {
        let channel_id = self.string("channel_id")?;
        let is_shared = match self.0.remove("share") {
            None => true,
            Some(Value::Bool(is_shared)) => is_shared,
            Some(_) => return Err(Problem::invalid_field("share", "Neither true nor false")),
        };
        let thread = self.reference("thread")?;
        let up_to = self.required_id("up_to")?;
        let epoch = match self.0.remove("epoch") {
            None => Some(Epoch::FIRST),
            Some(value) => value.as_u64().and_then(Epoch::new),
        };
        self.finish()?;
        let epoch =
            epoch.ok_or_else(|| Problem::invalid_field("epoch", "Not a number to 99,999,999"))?;
        if thread.is_some() && epoch != Epoch::FIRST {
            return Err(Problem::invalid_field("epoch", "Threads have only the epoch 0"));
        }
        let log = LogId::new(channel_of(&channel_id)?, thread);
        if is_shared && log.thread.is_none() {
            shared.insert(log.channel_id.clone());
        }
        Ok(NewReadMark { log, mark: ReadMark { epoch, up_to } })
    }
}

/// The body of `POST /channels/{channel_id}/unread`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkUnreadBody {
    /// The first message that is to be unread.
    pub from: MessageId,
}

impl TryFrom<Fields> for MarkUnreadBody {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let from = fields.required_id("from")?;
        fields.finish()?;
        Ok(Self { from })
    }
}

fn members_of(fields: &mut Fields) -> Result<Vec<UserId>, Problem> {
    let refused = |detail| Problem::invalid_field("members", detail);
    let listed = match fields.0.remove("members") {
        None => return Err(refused("The field is missing")),
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(refused("Not an array")),
    };
    if listed.len() > limits::CREATE_MEMBERS_MAX {
        return Err(refused("More than 100 members"));
    }
    let mut members = Vec::with_capacity(listed.len());
    for value in &listed {
        let user = value.as_str().and_then(|text| UserId::parse(text).ok());
        let user = user.ok_or_else(|| refused("A member is not a user id"))?;
        if !members.contains(&user) {
            members.push(user);
        }
    }
    Ok(members)
}

fn the_other(members: Vec<UserId>) -> Result<UserId, Problem> {
    match <[UserId; 1]>::try_from(members) {
        Ok([other]) => Ok(other),
        Err(_) => Err(Problem::invalid_field("members", "A DM takes exactly one other user")),
    }
}

pub(super) fn channel_name(name: String) -> Result<String, Problem> {
    let refused = |detail| Err(Problem::invalid_field("name", detail));
    if name.chars().count() > limits::CHANNEL_NAME_CHARS_MAX {
        return refused("Longer than 80 characters");
    }
    if name.chars().any(char::is_control) {
        return refused("The name holds a control character");
    }
    if is_invisible(&name) {
        return refused("The name is empty");
    }
    Ok(name)
}

/// A channel id in a path.
///
/// # Errors
/// `invalid_field`.
pub fn path_channel(segment: &str) -> Result<ChannelId, Problem> {
    channel_of(segment)
}

fn channel_of(text: &str) -> Result<ChannelId, Problem> {
    ChannelId::parse(text).map_err(|_form| Problem::invalid_field("channel_id", "Not a channel id"))
}

/// A message's id in a path.
///
/// # Errors
/// `invalid_id`.
pub fn path_message(segment: &str) -> Result<MessageId, Problem> {
    MessageId::parse(segment).map_err(|_form| Problem::from(ErrorCode::InvalidId).of_field("id"))
}

/// An emoji in a path.
///
/// # Errors
/// `invalid_field`.
pub fn path_emoji(segment: &str) -> Result<Emoji, Problem> {
    Emoji::parse(segment).map_err(|_form| Problem::invalid_field("emoji", "Not an emoji"))
}

/// A user id in a path, where `me` stands for the caller.
///
/// # Errors
/// `invalid_field`.
pub fn path_user(segment: &str, caller: &UserId) -> Result<UserId, Problem> {
    if segment == "me" {
        return Ok(caller.clone());
    }
    UserId::parse(segment).map_err(|_form| Problem::invalid_field("user_id", "Not a user id"))
}

#[cfg(test)]
mod tests;
