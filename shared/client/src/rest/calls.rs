//! The calls of PROTOCOL section 2, and the local ones of section 4.

use model::{
    AttachmentId, ChangeId, Channel, ChannelId, ChannelUpdate, Direction, Emoji, KnownMessages,
    LogId, Message, MessageId, MessageRef, NewReadMark, NodeId, Profile, ProfileUpdate, ReadMark,
    Rev, ThreadId, UserId, Visibility,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::http::client::{self, TokenBody};
use protocol::http::{
    AddedBody, ChannelBody, ChannelsBody, EditedBody, MarksBody, PageBody, PostedBody, ProfileBody,
    ThreadsBody, UnreadBody, UnreadMarkBody,
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answers::offset;
use super::{Api, FollowedThread, Marked, MemberPage, Page, ProfilePage, Unread};
use crate::error::ApiError;
use crate::token::{DevUser, Token};

/// Every call fails with [`ApiError`]. PROTOCOL section 2 lists the error codes of each route.
#[expect(clippy::missing_errors_doc, reason = "one sentence above says it for all")]
impl Api {
    /// `POST /messages`, one attempt. Use [`crate::Outbox::send`] to retry.
    pub async fn post_message(
        &self,
        log: impl Into<LogId>,
        text: &str,
        id: Option<MessageId>,
        after: Option<MessageId>,
    ) -> Result<PostedBody, ApiError> {
        self.quote_message(log, text, id, after, None).await
    }

    /// [`Api::post_message`] that quotes another message.
    pub async fn quote_message(
        &self,
        log: impl Into<LogId>,
        text: &str,
        id: Option<MessageId>,
        after: Option<MessageId>,
        quote: Option<MessageId>,
    ) -> Result<PostedBody, ApiError> {
        let body = client::post_message(&log.into(), text, id, after, quote);
        self.call(Method::POST, "/messages", Some(&body)).await
    }

    /// [`Api::post_message`] with uploaded files of the caller's; the text may be empty then.
    pub async fn post_attachments(
        &self,
        log: impl Into<LogId>,
        text: &str,
        attachments: &[AttachmentId],
        id: Option<MessageId>,
        after: Option<MessageId>,
    ) -> Result<PostedBody, ApiError> {
        let mut body = client::post_message(&log.into(), text, id, after, None);
        client::name_attachments(&mut body, attachments);
        self.call(Method::POST, "/messages", Some(&body)).await
    }

    /// `GET /channels/{channel_id}/messages/{id}`.
    pub async fn message(&self, log: impl Into<LogId>, id: MessageId) -> Result<Message, ApiError> {
        self.call(Method::GET, &message_path(&log.into(), id), None).await
    }

    /// `PATCH /channels/{channel_id}/messages/{id}`, one attempt. The same edit may be repeated with
    /// the same `change_id`.
    pub async fn edit_message(
        &self,
        log: impl Into<LogId>,
        id: MessageId,
        text: &str,
        change_id: ChangeId,
        if_rev: Option<&Rev>,
    ) -> Result<EditedBody, ApiError> {
        let body = client::edit_message(text, change_id, if_rev);
        self.call(Method::PATCH, &message_path(&log.into(), id), Some(&body)).await
    }

    /// `DELETE /channels/{channel_id}/messages/{id}`; idempotent. Returns the tombstone.
    pub async fn delete_message(
        &self,
        log: impl Into<LogId>,
        id: MessageId,
    ) -> Result<Message, ApiError> {
        self.call(Method::DELETE, &message_path(&log.into(), id), None).await
    }

    /// `PUT /channels/{channel_id}/messages/{id}/reactions/{emoji}`; idempotent. Without a
    /// `change_id` the server mints one. Returns the message, which may lag behind its reactions.
    pub async fn react(
        &self,
        log: impl Into<LogId>,
        id: MessageId,
        emoji: &Emoji,
        change_id: Option<ChangeId>,
    ) -> Result<Message, ApiError> {
        self.call(Method::PUT, &reaction_path(&log.into(), id, emoji, change_id), None).await
    }

    /// `DELETE /channels/{channel_id}/messages/{id}/reactions/{emoji}`, as [`Api::react`].
    pub async fn unreact(
        &self,
        log: impl Into<LogId>,
        id: MessageId,
        emoji: &Emoji,
        change_id: Option<ChangeId>,
    ) -> Result<Message, ApiError> {
        self.call(Method::DELETE, &reaction_path(&log.into(), id, emoji, change_id), None).await
    }

    /// `PUT /channels/{channel_id}/pins/{id}`; idempotent. Without a `change_id` the server mints one.
    /// Returns the message.
    pub async fn pin(
        &self,
        log: impl Into<LogId>,
        id: MessageId,
        change_id: Option<ChangeId>,
    ) -> Result<Message, ApiError> {
        self.call(Method::PUT, &pin_path(&log.into(), id, change_id), None).await
    }

    /// `DELETE /channels/{channel_id}/pins/{id}`, as [`Api::pin`].
    pub async fn unpin(
        &self,
        log: impl Into<LogId>,
        id: MessageId,
        change_id: Option<ChangeId>,
    ) -> Result<Message, ApiError> {
        self.call(Method::DELETE, &pin_path(&log.into(), id, change_id), None).await
    }

    /// `GET /channels/{channel_id}/pins`, one page: pinned messages, the newest first, replies among
    /// them. Also returns the offset of the next page.
    pub async fn pins(
        &self,
        channel: &ChannelId,
        offset: Option<MessageRef>,
    ) -> Result<(Vec<Message>, Option<MessageRef>), ApiError> {
        let path = with_offset(format!("/channels/{channel}/pins?limit=100"), offset);
        let read = |body: PageBody| {
            let next = match body.next_offset {
                Some(next) => Some(MessageRef::parse(&next).ok()?),
                None => None,
            };
            Some((body.messages, next))
        };
        self.typed(Method::GET, &path, None, read).await
    }

    /// `PUT /channels/{channel_id}/threads/{root}/follow`; idempotent.
    pub async fn follow(&self, thread: &ThreadId) -> Result<(), ApiError> {
        self.call::<Value>(Method::PUT, &follow_path(thread), None).await.map(drop)
    }

    /// `DELETE /channels/{channel_id}/threads/{root}/follow`; idempotent.
    pub async fn unfollow(&self, thread: &ThreadId) -> Result<(), ApiError> {
        self.call::<Value>(Method::DELETE, &follow_path(thread), None).await.map(drop)
    }

    /// `GET /threads`, one page: those that the caller follows, the one with the newest root first. Also
    /// returns the offset of the next page.
    pub async fn threads(
        &self,
        offset: Option<&str>,
    ) -> Result<(Vec<FollowedThread>, Option<String>), ApiError> {
        let offset = offset.map(|offset| utf8_percent_encode(offset, NON_ALPHANUMERIC));
        let path = with_offset("/threads?limit=100".to_owned(), offset);
        let read = |body: ThreadsBody| {
            let threads = body.threads.into_iter().map(FollowedThread::read);
            Some((threads.collect::<Option<_>>()?, body.next_offset))
        };
        self.typed(Method::GET, &path, None, read).await
    }

    /// `GET /mentions`, one page: messages that mention the caller, the newest first. Also returns the
    /// offset of the next page.
    pub async fn mentions(
        &self,
        offset: Option<&str>,
    ) -> Result<(Vec<Message>, Option<String>), ApiError> {
        let offset = offset.map(|offset| utf8_percent_encode(offset, NON_ALPHANUMERIC));
        let path = with_offset("/mentions?limit=100".to_owned(), offset);
        let read = |body: PageBody| Some((body.messages, body.next_offset));
        self.typed(Method::GET, &path, None, read).await
    }

    /// `POST /read`, at most 20 marks; idempotent. Returns what each of their channels has now.
    pub async fn mark_read(&self, marks: &[NewReadMark]) -> Result<Vec<Marked>, ApiError> {
        self.mark(marks, true).await
    }

    /// As [`Api::mark_read`], but the other members do not learn of it.
    pub async fn mark_read_privately(
        &self,
        marks: &[NewReadMark],
    ) -> Result<Vec<Marked>, ApiError> {
        self.mark(marks, false).await
    }

    async fn mark(&self, marks: &[NewReadMark], shared: bool) -> Result<Vec<Marked>, ApiError> {
        let read = |body: MarksBody| body.marks.into_iter().map(Marked::read).collect();
        self.typed(Method::POST, "/read", Some(&client::mark_read(marks, shared)), read).await
    }

    /// `POST /channels/{channel_id}/unread`: this message and all after it are unread again.
    pub async fn mark_unread(
        &self,
        channel: &ChannelId,
        from: MessageId,
    ) -> Result<ReadMark, ApiError> {
        let (path, body) = (format!("/channels/{channel}/unread"), client::mark_unread(from));
        self.typed(Method::POST, &path, Some(&body), |mark: UnreadMarkBody| mark.read()).await
    }

    /// `GET /unread`, all pages: the user's marks, and how much is unread.
    pub async fn unread(&self) -> Result<Vec<Unread>, ApiError> {
        let read = |body: UnreadBody| {
            let channels = body.channels.into_iter().map(Unread::read);
            Some((channels.collect::<Option<Vec<_>>>()?, offset(body.next_offset)?))
        };
        self.pages("/unread?limit=100", read).await
    }

    /// `GET /scroll`: up to `limit` messages beyond `offset`, or from the start of the direction.
    pub async fn scroll(
        &self,
        log: impl Into<LogId>,
        offset: Option<MessageId>,
        limit: u32,
        direction: Direction,
    ) -> Result<Page, ApiError> {
        let direction = direction.as_str();
        let log = log_query(&log.into());
        let path = format!("/scroll?{log}&limit={limit}&direction={direction}");
        self.typed(Method::GET, &with_offset(path, offset), None, Page::read).await
    }

    /// `GET /scroll` newer, oldest first: up to `limit` messages beyond `offset`, without the
    /// `known` ones. A server that does not support the parameter returns those too.
    pub async fn scroll_newer(
        &self,
        log: impl Into<LogId>,
        offset: MessageId,
        limit: u32,
        known: Option<&KnownMessages>,
    ) -> Result<Page, ApiError> {
        let known = known.map_or_else(String::new, |known| format!("&known={known}"));
        let log = log_query(&log.into());
        let path = format!("/scroll?{log}&limit={limit}&direction=newer{known}");
        self.typed(Method::GET, &with_offset(path, Some(offset)), None, Page::read).await
    }

    /// `POST /channels` for a private group. Not idempotent: two calls create two channels.
    pub async fn create_channel(
        &self,
        name: &str,
        members: &[UserId],
    ) -> Result<Channel, ApiError> {
        self.create_group(name, Visibility::Private, members).await
    }

    /// `POST /channels` for a group. Not idempotent: two calls create two channels.
    pub async fn create_group(
        &self,
        name: &str,
        visibility: Visibility,
        members: &[UserId],
    ) -> Result<Channel, ApiError> {
        let body = client::create_group(name, visibility, members);
        self.typed(Method::POST, "/channels", Some(&body), ChannelBody::read).await
    }

    /// `POST /channels` for a DM: returns the existing one or creates it.
    pub async fn create_dm(&self, other: &UserId) -> Result<Channel, ApiError> {
        let body = client::create_dm(other);
        self.typed(Method::POST, "/channels", Some(&body), ChannelBody::read).await
    }

    /// `GET /channels`, all pages: the caller's.
    pub async fn channels(&self) -> Result<Vec<Channel>, ApiError> {
        self.channels_of("/channels?limit=100").await
    }

    /// `GET /channels?scope=public`, all pages: the workspace's public channels.
    pub async fn browse(&self) -> Result<Vec<Channel>, ApiError> {
        self.channels_of("/channels?scope=public&limit=100").await
    }

    async fn channels_of(&self, path: &str) -> Result<Vec<Channel>, ApiError> {
        let read = |body: ChannelsBody| {
            let channels = body.channels.into_iter().map(ChannelBody::read);
            Some((channels.collect::<Option<Vec<_>>>()?, offset(body.next_offset)?))
        };
        self.pages(path, read).await
    }

    /// `GET /channels/{id}`.
    pub async fn channel(&self, channel: &ChannelId) -> Result<Channel, ApiError> {
        let path = format!("/channels/{channel}");
        self.typed(Method::GET, &path, None, ChannelBody::read).await
    }

    /// `PATCH /channels/{id}`; idempotent. Returns the channel after it.
    pub async fn set_channel(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Channel, ApiError> {
        let (path, body) = (format!("/channels/{channel}"), client::change_channel(update));
        self.typed(Method::PATCH, &path, Some(&body), ChannelBody::read).await
    }

    /// `PUT /channels/{id}/members/me`: joins a public channel; idempotent.
    pub async fn join(&self, channel: &ChannelId) -> Result<(), ApiError> {
        let path = format!("/channels/{channel}/members/me");
        self.call::<Value>(Method::PUT, &path, None).await.map(drop)
    }

    /// `GET /channels/{id}/members`, one page.
    pub async fn members(
        &self,
        channel: &ChannelId,
        offset: Option<&UserId>,
    ) -> Result<MemberPage, ApiError> {
        let path = with_offset(format!("/channels/{channel}/members?limit=100"), offset);
        self.typed(Method::GET, &path, None, MemberPage::read).await
    }

    /// `PUT /channels/{id}/members/{user_id}`; idempotent.
    pub async fn add_member(&self, channel: &ChannelId, user: &UserId) -> Result<(), ApiError> {
        let path = format!("/channels/{channel}/members/{user}");
        self.call::<Value>(Method::PUT, &path, None).await.map(drop)
    }

    /// `POST /channels/{id}/members`: up to 100 users in one change; idempotent. Returns the users
    /// that were refused, each with its error code.
    pub async fn add_members(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<(UserId, String)>, ApiError> {
        let path = format!("/channels/{channel}/members");
        let body = client::add_members(users);
        let read = |added: AddedBody| {
            let refused = added.refused.into_iter();
            refused.map(|one| Some((UserId::parse(&one.user_id).ok()?, one.code))).collect()
        };
        self.typed(Method::POST, &path, Some(&body), read).await
    }

    /// `DELETE /channels/{id}/members/{user_id}`; idempotent.
    pub async fn remove_member(&self, channel: &ChannelId, user: &UserId) -> Result<(), ApiError> {
        let path = format!("/channels/{channel}/members/{user}");
        self.call::<Value>(Method::DELETE, &path, None).await.map(drop)
    }

    /// `PUT /users/me`: changes the caller's profile. Returns the profile after it.
    pub async fn set_profile(&self, update: &ProfileUpdate) -> Result<Profile, ApiError> {
        let body = client::change_profile(update);
        self.typed(Method::PUT, "/users/me", Some(&body), ProfileBody::read).await
    }

    /// `GET /users/{user_id}`.
    pub async fn profile(&self, user: &UserId) -> Result<Profile, ApiError> {
        self.typed(Method::GET, &format!("/users/{user}"), None, ProfileBody::read).await
    }

    /// `GET /users?ids=…`: the profiles of these users, at most 100. Leaves out users without one.
    pub async fn profiles_of(&self, users: &[UserId]) -> Result<Vec<Profile>, ApiError> {
        let ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
        let path = format!("/users?ids={}", ids.join(","));
        Ok(self.typed(Method::GET, &path, None, ProfilePage::read).await?.profiles)
    }

    /// `GET /users`, one page of the workspace's profiles.
    pub async fn profiles(&self, offset: Option<&UserId>) -> Result<ProfilePage, ApiError> {
        let path = with_offset("/users?limit=100".to_owned(), offset);
        self.typed(Method::GET, &path, None, ProfilePage::read).await
    }

    /// `DELETE /users/{user_id}`: revokes the user in the workspace.
    pub async fn revoke_user(&self, user: &UserId) -> Result<(), ApiError> {
        self.call::<Value>(Method::DELETE, &format!("/users/{user}"), None).await.map(drop)
    }

    /// `POST /dev/token`: local environments only.
    pub async fn dev_token(&self, user: &DevUser) -> Result<Token, ApiError> {
        let role = user.role.as_deref();
        let body = client::dev_token(&user.workspace_id, &user.user_id, role, user.ttl_s);
        let answer = self.attempt(Method::POST, "/dev/token", None, Some(&body)).await?;
        let answer: TokenBody = Self::read(answer)?;
        Ok(Token::new(answer.token))
    }

    /// `POST /dev/nodes/{node_id}/kill`: local environments only.
    pub async fn kill_node(&self, node: &NodeId) -> Result<(), ApiError> {
        let path = format!("/dev/nodes/{node}/kill");
        Self::read::<Value>(self.attempt(Method::POST, &path, None, None).await?).map(drop)
    }

    /// All pages of a list in order of channel id.
    async fn pages<B: DeserializeOwned, T>(
        &self,
        path: &str,
        read: impl Fn(B) -> Option<(Vec<T>, Option<ChannelId>)>,
    ) -> Result<Vec<T>, ApiError> {
        let (mut rows, mut last) = (Vec::new(), None::<ChannelId>);
        loop {
            let path = with_offset(path.to_owned(), last.as_ref());
            let (page, next) = self.typed(Method::GET, &path, None, &read).await?;
            rows.extend(page);
            // Stop if the offset does not advance, or a faulty server would keep us in a loop.
            if next <= last {
                return Ok(rows);
            }
            last = next;
        }
    }

    pub(super) async fn typed<B: DeserializeOwned, T>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        read: impl Fn(B) -> Option<T>,
    ) -> Result<T, ApiError> {
        let answer = self.call(method, path, body).await?;
        read(answer).ok_or(ApiError::BadAnswer { status: 200, retry_after: None })
    }
}

fn message_path(log: &LogId, id: MessageId) -> String {
    with_query(format!("/channels/{}/messages/{id}", log.channel_id), log, None)
}

fn reaction_path(log: &LogId, id: MessageId, emoji: &Emoji, change_id: Option<ChangeId>) -> String {
    let emoji = utf8_percent_encode(emoji.as_str(), NON_ALPHANUMERIC);
    let path = format!("/channels/{}/messages/{id}/reactions/{emoji}", log.channel_id);
    with_query(path, log, change_id)
}

fn follow_path(ThreadId { root, channel_id }: &ThreadId) -> String {
    format!("/channels/{channel_id}/threads/{root}/follow")
}

fn pin_path(log: &LogId, id: MessageId, change_id: Option<ChangeId>) -> String {
    with_query(format!("/channels/{}/pins/{id}", log.channel_id), log, change_id)
}

fn with_query(path: String, log: &LogId, change_id: Option<ChangeId>) -> String {
    let parameter = |name, value: Option<String>| value.map(|value| format!("{name}={value}"));
    let thread = parameter("thread", log.thread.map(|root| root.to_string()));
    let change_id = parameter("change_id", change_id.map(|id| id.to_string()));
    let query: Vec<String> = thread.into_iter().chain(change_id).collect();
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

fn log_query(LogId { channel_id, thread }: &LogId) -> String {
    let thread = thread.map_or_else(String::new, |root| format!("&thread={root}"));
    format!("channel_id={channel_id}{thread}")
}

/// Identifiers need no escaping: their characters are all unreserved (RFC 3986 2.3).
fn with_offset(path: String, offset: Option<impl std::fmt::Display>) -> String {
    match offset {
        Some(offset) => format!("{path}&offset={offset}"),
        None => path,
    }
}
