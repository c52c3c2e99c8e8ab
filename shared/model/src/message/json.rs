//! A message in JSON, the same in responses, in frames and on the bus:
//! `{"id","channel_id","sender_id","message","created_at","rev","text_rev"}`, and `edit`,
//! `thread`, `edited_at`, `deleted`, `mentions`, `mentions_all`, `reactions`, `pinned`, `replies`,
//! `quote` and `attachments` where they apply.

use serde::de::Error;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::attachments::AttachmentFields;
use super::{Attribution, Edit, Message, MessageText, Replies, Rev};
use crate::ids::{ChangeId, ChannelId, MessageId, ULID_CHARS, UserId};
use crate::mentions::Mentions;
use crate::reaction::{Emoji, Reaction};
use crate::time::Timestamp;

/// A message as it is pushed: a long text that did not change may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedMessage {
    /// The message; its text is empty if it was left out.
    pub message: Message,
    /// Whether its text was left out. Whoever has the text of the message's `text_rev` keeps it;
    /// others read the message.
    pub lacks_text: bool,
}

impl PushedMessage {
    /// A message as it is pushed after a change that left its long text as it was.
    #[must_use]
    pub fn without_text(message: &Message) -> Self {
        let message = Message { text: MessageText::absent(), ..message.clone() };
        Self { message, lacks_text: true }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(self, false, serializer)
    }
}

impl Serialize for PushedMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(&self.message, self.lacks_text, serializer)
    }
}

fn write<S: Serializer>(
    message: &Message,
    lacks_text: bool,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Message { id, channel_id, sender_id, text, rev, edit, deleted, .. } = message;
    let Message { thread, mentions, reactions, pinned, replies, quote, attachments, .. } = message;
    let mut buffer = [0; ULID_CHARS];
    let id_text: &str = id.text_in(&mut buffer);
    let mut fields = serializer.serialize_struct("Message", 18)?;
    fields.serialize_field("id", id_text)?;
    fields.serialize_field("channel_id", channel_id.as_str())?;
    if let Some(root) = thread {
        fields.serialize_field("thread", &root.to_string())?;
    }
    fields.serialize_field("sender_id", sender_id.as_str())?;
    if !lacks_text {
        fields.serialize_field("message", text.as_str())?;
    }
    fields.serialize_field("created_at", &id.time().rfc3339())?;
    match message.is_changed() {
        true => fields.serialize_field("rev", rev)?,
        false => fields.serialize_field("rev", id_text)?,
    }
    match edit {
        None => fields.serialize_field("text_rev", id_text)?,
        Some(Edit { rev, change_id }) => {
            fields.serialize_field("text_rev", rev)?;
            fields.serialize_field("edit", &change_id.to_string())?;
            if let Some(id) = rev.id() {
                fields.serialize_field("edited_at", &id.time().rfc3339())?;
            }
        }
    }
    if let Some(deleted) = deleted {
        fields.serialize_field("deleted", &AttributionFields::of(deleted))?;
    }
    if !mentions.users.is_empty() {
        let users: Vec<&str> = mentions.users.iter().map(UserId::as_str).collect();
        fields.serialize_field("mentions", &users)?;
    }
    if mentions.all {
        fields.serialize_field("mentions_all", &true)?;
    }
    if !reactions.is_empty() {
        let reactions: Vec<_> = reactions.iter().map(ReactionFields::of).collect();
        fields.serialize_field("reactions", &reactions)?;
    }
    if let Some(pinned) = pinned {
        fields.serialize_field("pinned", &AttributionFields::of(pinned))?;
    }
    if let Some(replies) = replies {
        fields.serialize_field("replies", &RepliesFields::of(replies))?;
    }
    if let Some(quote) = quote {
        fields.serialize_field("quote", &quote.to_string())?;
    }
    if !attachments.is_empty() {
        let files = attachments.iter().map(|file| AttachmentFields::of(channel_id, file));
        fields.serialize_field("attachments", &files.collect::<Vec<_>>())?;
    }
    fields.end()
}

/// Unknown fields are ignored. So are `created_at` and `edited_at`, which are in the id and in
/// `text_rev`.
#[derive(Deserialize)]
struct Fields {
    id: String,
    channel_id: String,
    thread: Option<String>,
    sender_id: String,
    /// Absent in pushes of a long text that did not change.
    message: Option<String>,
    /// Absent in messages from servers without revisions.
    rev: Option<String>,
    text_rev: Option<String>,
    edit: Option<String>,
    deleted: Option<AttributionFields>,
    #[serde(default)]
    mentions: Vec<String>,
    #[serde(default)]
    mentions_all: bool,
    #[serde(default)]
    reactions: Vec<ReactionFields>,
    pinned: Option<AttributionFields>,
    replies: Option<RepliesFields>,
    quote: Option<String>,
    #[serde(default)]
    attachments: Vec<AttachmentFields>,
}

#[derive(Serialize, Deserialize)]
struct AttributionFields {
    at: String,
    by: String,
}

impl AttributionFields {
    fn of(Attribution { at, by }: &Attribution) -> Self {
        Self { at: at.rfc3339(), by: by.to_string() }
    }

    fn read(self) -> Option<Attribution> {
        let at = Timestamp::parse_rfc3339(&self.at)?;
        Some(Attribution { at, by: UserId::parse(&self.by).ok()? })
    }
}

#[derive(Serialize, Deserialize)]
struct ReactionFields {
    emoji: String,
    count: u64,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mine: Option<bool>,
}

impl ReactionFields {
    fn of(Reaction { emoji, count, users, mine }: &Reaction) -> Self {
        let users = users.iter().map(ToString::to_string).collect();
        Self { emoji: emoji.to_string(), count: *count, users, mine: *mine }
    }

    fn read(self) -> Option<Reaction> {
        let users: Result<_, _> = self.users.iter().map(|user| UserId::parse(user)).collect();
        let (count, mine) = (self.count, self.mine);
        Some(Reaction { emoji: Emoji::parse(&self.emoji).ok()?, count, users: users.ok()?, mine })
    }
}

#[derive(Serialize, Deserialize)]
struct RepliesFields {
    count: u64,
    last: String,
    #[serde(default)]
    users: Vec<String>,
}

impl RepliesFields {
    fn of(Replies { count, last, users }: &Replies) -> Self {
        let users = users.iter().map(ToString::to_string).collect();
        Self { count: *count, last: last.to_string(), users }
    }

    fn read(self) -> Option<Replies> {
        let users: Result<_, _> = self.users.iter().map(|user| UserId::parse(user)).collect();
        let last = MessageId::parse(&self.last).ok()?;
        Some(Replies { count: self.count, last, users: users.ok()? })
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pushed = PushedMessage::deserialize(deserializer)?;
        if pushed.lacks_text { Err(D::Error::missing_field("message")) } else { Ok(pushed.message) }
    }
}

impl<'de> Deserialize<'de> for PushedMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        read(fields).map_err(|field| D::Error::custom(format_args!("`{field}` is malformed")))
    }
}

/// Reads the fields. The error is the name of the malformed one.
fn read(fields: Fields) -> Result<PushedMessage, &'static str> {
    let lacks_text = fields.message.is_none();
    let text = fields.message.map_or_else(MessageText::absent, MessageText::from_stored);
    let mut message = Message::new(
        MessageId::parse(&fields.id).or(Err("id"))?,
        ChannelId::parse(&fields.channel_id).or(Err("channel_id"))?,
        UserId::parse(&fields.sender_id).or(Err("sender_id"))?,
        text,
    );
    let rev_of =
        |text: Option<String>, name| text.map(|text| Rev::parse(&text).or(Err(name))).transpose();
    if let Some(rev) = rev_of(fields.rev, "rev")? {
        message.rev = rev;
    }
    let text_rev = rev_of(fields.text_rev, "text_rev")?;
    if let Some((rev, change_id)) = text_rev.zip(fields.edit) {
        let change_id = ChangeId::parse(&change_id).or(Err("edit"))?;
        message.edit = Some(Edit { rev, change_id });
    }
    if let Some(deleted) = fields.deleted {
        message.deleted = Some(deleted.read().ok_or("deleted")?);
    }
    let users = fields.mentions.iter().map(|user| UserId::parse(user));
    let users = users.collect::<Result<_, _>>().or(Err("mentions"))?;
    message.mentions = Mentions { users, all: fields.mentions_all };
    // An emoji that this version does not know is left out.
    message.reactions = fields.reactions.into_iter().filter_map(ReactionFields::read).collect();
    if let Some(pinned) = fields.pinned {
        message.pinned = Some(pinned.read().ok_or("pinned")?);
    }
    if let Some(root) = fields.thread {
        message.thread = Some(MessageId::parse(&root).or(Err("thread"))?);
    }
    if let Some(replies) = fields.replies {
        message.replies = Some(Box::new(replies.read().ok_or("replies")?));
    }
    if let Some(quote) = fields.quote {
        message.quote = Some(MessageId::parse(&quote).or(Err("quote"))?);
    }
    let files = fields.attachments.into_iter();
    message.attachments = files.filter_map(|file| file.read(&message.channel_id)).collect();
    Ok(PushedMessage { message, lacks_text })
}
