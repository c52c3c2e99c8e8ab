//! The client's side of a call: writing requests, reading responses.

use model::{
    AttachmentId, ChangeId, Channel, ChannelDetails, ChannelType, ChannelUpdate, Contract, Epoch,
    ErrorCode, LateArrivals, LogId, Member, MessageId, NewAttachment, NewReadMark, Profile,
    ProfileUpdate, ReadMark, Rev, Timestamp, UnreadCount, UserId, Visibility, WorkspaceId, limits,
};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{ChannelBody, CountBody, LateArrivalsBody, MemberBody, ProfileBody, UnreadMarkBody};

/// The body of `POST /messages`.
#[must_use]
pub fn post_message(
    log: &LogId,
    text: &str,
    id: Option<MessageId>,
    after: Option<MessageId>,
    quote: Option<MessageId>,
) -> Value {
    let text_of = |id: Option<MessageId>| id.map(|id| Value::from(id.to_string()));
    given([
        ("channel_id", Some(log.channel_id.as_str().into())),
        ("message", Some(text.into())),
        ("id", text_of(id)),
        ("after", text_of(after)),
        ("thread", text_of(log.thread)),
        ("quote", text_of(quote)),
    ])
}

/// Adds the files that a message names to its body.
pub fn name_attachments(body: &mut Value, attachments: &[AttachmentId]) {
    if let Some(fields) = body.as_object_mut().filter(|_| !attachments.is_empty()) {
        let ids = attachments.iter().map(ToString::to_string).collect::<Vec<_>>();
        fields.insert("attachments".to_owned(), ids.into());
    }
}

/// The body of `POST /attachments`.
#[must_use]
pub fn create_attachment(new: &NewAttachment) -> Value {
    let NewAttachment { channel_id, name, media_type, bytes, digest } = new;
    let sha256: String = digest.0.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "channel_id": channel_id.as_str(), "name": name.as_str(), "type": media_type.as_str(),
        "bytes": bytes, "sha256": sha256,
    })
}

/// The body of `PATCH /channels/{channel_id}/messages/{id}`.
#[must_use]
pub fn edit_message(text: &str, change_id: ChangeId, if_rev: Option<&Rev>) -> Value {
    let mut body = json!({ "message": text, "change_id": change_id.to_string() });
    if let (Some(rev), Some(fields)) = (if_rev, body.as_object_mut()) {
        fields.insert("if_rev".to_owned(), rev.to_string().into());
    }
    body
}

/// The body of `POST /read`. Unless `shared`, the other members do not learn of the marks (G14).
#[must_use]
pub fn mark_read(marks: &[NewReadMark], shared: bool) -> Value {
    let mark = |NewReadMark { log, mark }: &NewReadMark| {
        given([
            ("channel_id", Some(log.channel_id.as_str().into())),
            ("thread", log.thread.map(|root| root.to_string().into())),
            ("up_to", Some(mark.up_to.to_string().into())),
            ("epoch", Some(mark.epoch.number().into())),
            ("share", (!shared).then(|| false.into())),
        ])
    };
    json!({ "marks": marks.iter().map(mark).collect::<Vec<_>>() })
}

/// The body of `POST /channels/{channel_id}/unread`.
#[must_use]
pub fn mark_unread(from: MessageId) -> Value {
    json!({ "from": from.to_string() })
}

/// The body of `POST /channels` for a group.
#[must_use]
pub fn create_group(name: &str, visibility: Visibility, members: &[UserId]) -> Value {
    let members: Vec<&str> = members.iter().map(UserId::as_str).collect();
    json!({
        "type": ChannelType::Group.as_str(), "name": name, "members": members,
        "visibility": visibility.as_str(),
    })
}

/// The body of `PATCH /channels/{channel_id}`.
#[must_use]
pub fn change_channel(update: &ChannelUpdate) -> Value {
    let text = |text: &Option<String>| text.clone().map(Value::from);
    given([
        ("name", text(&update.name)),
        ("topic", text(&update.topic)),
        ("archived", update.archived.map(Value::from)),
    ])
}

/// The body of `PUT /users/me`.
#[must_use]
pub fn change_profile(update: &ProfileUpdate) -> Value {
    let text = |text: &Option<String>| text.clone().map(Value::from);
    given([
        ("name", text(&update.name)),
        ("avatar", text(&update.avatar)),
        ("status", text(&update.status)),
        ("status_emoji", text(&update.status_emoji)),
        ("tz", text(&update.tz)),
    ])
}

/// An object of the fields that have a value.
fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect())
}

/// The body of `POST /channels` for a DM.
#[must_use]
pub fn create_dm(other: &UserId) -> Value {
    json!({ "type": ChannelType::Dm.as_str(), "members": [other.as_str()] })
}

/// The body of `POST /channels/{channel_id}/members`.
#[must_use]
pub fn add_members(members: &[UserId]) -> Value {
    let members: Vec<&str> = members.iter().map(UserId::as_str).collect();
    json!({ "members": members })
}

/// The body of `POST /dev/token`, which only a local environment serves.
#[must_use]
pub fn dev_token(
    workspace_id: &WorkspaceId,
    user_id: &UserId,
    role: Option<&str>,
    ttl_s: Option<u64>,
) -> Value {
    let mut body = json!({ "workspace_id": workspace_id.as_str(), "user_id": user_id.as_str() });
    let options = [("role", role.map(Value::from)), ("ttl_s", ttl_s.map(Value::from))];
    for (name, value) in options {
        if let (Some(value), Some(fields)) = (value, body.as_object_mut()) {
            fields.insert(name.to_owned(), value);
        }
    }
    body
}

/// The response to `POST /dev/token`. It has no `Debug`, because the token is a secret.
#[derive(Deserialize)]
#[expect(missing_debug_implementations, reason = "the token is a secret")]
pub struct TokenBody {
    /// A bearer token.
    pub token: String,
}

/// A refusal as a client reads it (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProblemBody {
    /// The error code; compare it through [`ProblemBody::error_code`].
    pub code: String,
    /// A sentence on this occurrence.
    #[serde(default)]
    pub detail: String,
    /// Leads to the cause in the log.
    #[serde(default)]
    pub request_id: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// How long to wait before the next attempt.
    pub retry_after_ms: Option<u64>,
    /// Why a token was refused.
    pub reason: Option<String>,
    /// The field that is wrong.
    pub field: Option<String>,
    /// The server's clock, if the caller's seems wrong.
    pub server_time: Option<u64>,
}

impl ProblemBody {
    /// The code, if this version knows it.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        ErrorCode::ALL.iter().copied().find(|code| code.as_str() == self.code)
    }
}

fn contract(contract: &str, keep: Option<&str>) -> Option<Contract> {
    let contract = Contract::of_wire(contract)?;
    keep.map_or(Some(contract), |keep| contract.keeping(keep))
}

impl ChannelBody {
    /// Parses the channel; `None` if a part of it is malformed.
    #[must_use]
    pub fn read(self) -> Option<Channel> {
        Some(Channel {
            id: self.channel_id.parse().ok()?,
            workspace_id: self.workspace_id.parse().ok()?,
            channel_type: ChannelType::parse(&self.channel_type)?,
            visibility: Visibility::parse(&self.visibility)?,
            details: ChannelDetails {
                name: self.name,
                topic: self.topic,
                archived: self.archived,
                version: self.details_version,
            },
            contract: contract(&self.contract, self.keep.as_deref())?,
            created_at: instant(&self.created_at)?,
            created_by: self.created_by.parse().ok()?,
            members_version: self.members_version,
            late: match self.late {
                Some(late) => Some(late.read()?),
                None => None,
            },
        })
    }
}

impl ProfileBody {
    /// Parses the profile; `None` if a part of it is malformed.
    #[must_use]
    pub fn read(self) -> Option<Profile> {
        Some(Profile {
            user_id: self.user_id.parse().ok()?,
            name: self.name,
            avatar: self.avatar,
            status: self.status,
            status_emoji: self.status_emoji,
            tz: self.tz,
            rev: Rev::parse(&self.rev).ok()?,
        })
    }
}

impl LateArrivalsBody {
    fn read(&self) -> Option<LateArrivals> {
        let reread_from = self.reread_from.parse().ok()?;
        Some(LateArrivals { reread_from, until: instant(&self.until)? })
    }
}

impl MemberBody {
    /// Parses the member; `None` if a part of it is malformed.
    #[must_use]
    pub fn read(&self) -> Option<Member> {
        Some(Member { user_id: self.user_id.parse().ok()?, joined_at: instant(&self.joined_at)? })
    }
}

impl UnreadMarkBody {
    /// Parses the mark; `None` if a part of it is malformed.
    #[must_use]
    pub fn read(&self) -> Option<ReadMark> {
        Some(ReadMark { epoch: Epoch::new(self.epoch.into())?, up_to: self.up_to.parse().ok()? })
    }
}

impl CountBody {
    /// Parses the count. Whatever is not a small number is more than that.
    #[must_use]
    pub fn read(&self) -> UnreadCount {
        match self {
            Self::Exact(count) if *count <= limits::UNREAD_COUNT_MAX => UnreadCount::Exact(*count),
            Self::Exact(_) | Self::Over(_) => UnreadCount::Over,
        }
    }
}

fn instant(rfc3339: &str) -> Option<Timestamp> {
    let nanos = OffsetDateTime::parse(rfc3339, &Rfc3339).ok()?.unix_timestamp_nanos();
    u64::try_from(nanos / 1_000_000).ok().map(Timestamp::from_unix_ms)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::CONTENT_TYPE;

    use super::*;
    use model::{ChannelId, NewChannel, NewChannelKind, NewMessage};

    use crate::http::read_json;

    fn fields(body: &Value) -> crate::http::Fields {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
        read_json(&headers, body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_a_client_writes_a_server_reads() {
        let channel_id = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
        let id = MessageId::mint(Timestamp::from_unix_ms(9), 9);
        for (thread, quote) in [(None, None), (Some(id), Some(id))] {
            let log = LogId::new(channel_id.clone(), thread);
            let body = post_message(&log, "hi", Some(id), None, quote);
            let read = NewMessage::try_from(fields(&body)).unwrap();
            assert_eq!((read.log, read.id, read.after, read.quote), (log, Some(id), None, quote));
        }

        let other = UserId::parse("bob").unwrap();
        let read = NewChannel::try_from(fields(&create_dm(&other))).unwrap();
        assert_eq!(read.kind, NewChannelKind::Dm { other: other.clone() });
        let visibility = Visibility::Public;
        let body = create_group("general", visibility, std::slice::from_ref(&other));
        let read = NewChannel::try_from(fields(&body)).unwrap();
        let (name, members) = ("general".into(), vec![other]);
        assert_eq!(read.kind, NewChannelKind::Group { visibility, name, members });
    }

    #[test]
    fn what_changes_is_read_as_written() {
        let (name, topic) = (Some("general".to_owned()), Some(String::new()));
        let update = ChannelUpdate { name: name.clone(), topic, archived: Some(false) };
        for update in [ChannelUpdate::default(), update] {
            let read = ChannelUpdate::try_from(fields(&change_channel(&update)));
            assert_eq!(read, Ok(update));
        }
        let (tz, status) = (Some("Europe/Berlin".to_owned()), Some("away".to_owned()));
        let avatar = Some("https://example.com/a.png?s=64".to_owned());
        let status_emoji = Some("\u{1f3d6}\u{fe0f}".to_owned());
        let update = ProfileUpdate { name, avatar, status, status_emoji, tz };
        for update in [ProfileUpdate::default(), update] {
            let read = ProfileUpdate::try_from(fields(&change_profile(&update)));
            assert_eq!(read, Ok(update));
        }
    }

    #[test]
    fn a_channel_survives_the_wire() {
        let at = Timestamp::from_unix_ms(1_767_225_599_007);
        let channel = Channel {
            id: ChannelId::mint_group(at, 1),
            workspace_id: "w".parse().unwrap(),
            channel_type: ChannelType::Group,
            visibility: Visibility::Public,
            details: ChannelDetails {
                name: Some("general".into()),
                topic: "all of it".into(),
                archived: true,
                version: 7,
            },
            contract: Contract::PersistFirst,
            created_at: at,
            created_by: "a".parse().unwrap(),
            members_version: 3,
            late: Some(LateArrivals { reread_from: MessageId::mint(at, 5), until: at }),
        };
        assert_eq!(ChannelBody::of(&channel).read(), Some(channel));
        assert_eq!(instant("1970-01-01T01:00:00+01:00"), Some(Timestamp::from_unix_ms(0)));
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn a_problem_is_read() {
        let written = crate::problem::Problem::from(ErrorCode::ChannelBusy).into_response("R1");
        let read: ProblemBody = serde_json::from_slice(written.body()).unwrap();
        assert_eq!(read.error_code(), Some(ErrorCode::ChannelBusy));
        assert!(read.retryable && read.retry_after_ms == Some(1_000));
        let future: ProblemBody = serde_json::from_str(r#"{"code":"new_one"}"#).unwrap();
        assert_eq!(future.error_code(), None);
    }
}
