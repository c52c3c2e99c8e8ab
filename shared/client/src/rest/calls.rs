//! The calls of PROTOCOL section 2, and the local ones of section 4.

use model::{
    ChangeId, Channel, ChannelId, ChannelUpdate, Direction, Emoji, KnownMessages, Message,
    MessageId, NewReadMark, NodeId, Profile, ProfileUpdate, ReadMark, Rev, UserId, Visibility,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::http::client::{self, TokenBody};
use protocol::http::{
    AddedBody, ChannelBody, ChannelsBody, EditedBody, MarksBody, PageBody, PostedBody, ProfileBody,
    UnreadBody, UnreadMarkBody,
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answers::offset;
use super::{Api, Assignment, Marked, MemberPage, Page, ProfilePage, Unread};
use crate::error::ApiError;
use crate::token::{DevUser, Token};

/// Every call fails with [`ApiError`]. PROTOCOL section 2 lists the error codes of each route.
#[expect(clippy::missing_errors_doc, reason = "one sentence above says it for all")]
impl Api {
    /// `POST /messages`, one attempt. Use [`crate::Outbox::send`] to retry.
    pub async fn post_message(
        &self,
        channel: &ChannelId,
        text: &str,
        id: Option<MessageId>,
        after: Option<MessageId>,
    ) -> Result<PostedBody, ApiError> {
        let body = client::post_message(channel, text, id, after);
        self.call(Method::POST, "/messages", Some(&body)).await
    }

    /// `GET /channels/{channel_id}/messages/{id}`.
    pub async fn message(&self, channel: &ChannelId, id: MessageId) -> Result<Message, ApiError> {
        self.call(Method::GET, &message_path(channel, id), None).await
    }

    /// `PATCH /channels/{channel_id}/messages/{id}`, one attempt. The same edit may be repeated with
    /// the same `change_id`.
    pub async fn edit_message(
        &self,
        channel: &ChannelId,
        id: MessageId,
        text: &str,
        change_id: ChangeId,
        if_rev: Option<&Rev>,
    ) -> Result<EditedBody, ApiError> {
        let body = client::edit_message(text, change_id, if_rev);
        self.call(Method::PATCH, &message_path(channel, id), Some(&body)).await
    }

    /// `DELETE /channels/{channel_id}/messages/{id}`; idempotent. Returns the tombstone.
    pub async fn delete_message(
        &self,
        channel: &ChannelId,
        id: MessageId,
    ) -> Result<Message, ApiError> {
        self.call(Method::DELETE, &message_path(channel, id), None).await
    }

    /// `PUT /channels/{channel_id}/messages/{id}/reactions/{emoji}`; idempotent. Without a
    /// `change_id` the server mints one. Returns the message, which may lag behind its reactions.
    pub async fn react(
        &self,
        channel: &ChannelId,
        id: MessageId,
        emoji: &Emoji,
        change_id: Option<ChangeId>,
    ) -> Result<Message, ApiError> {
        self.call(Method::PUT, &reaction_path(channel, id, emoji, change_id), None).await
    }

    /// `DELETE /channels/{channel_id}/messages/{id}/reactions/{emoji}`, as [`Api::react`].
    pub async fn unreact(
        &self,
        channel: &ChannelId,
        id: MessageId,
        emoji: &Emoji,
        change_id: Option<ChangeId>,
    ) -> Result<Message, ApiError> {
        self.call(Method::DELETE, &reaction_path(channel, id, emoji, change_id), None).await
    }

    /// `PUT /channels/{channel_id}/pins/{id}`; idempotent. Without a `change_id` the server mints one.
    /// Returns the message.
    pub async fn pin(
        &self,
        channel: &ChannelId,
        id: MessageId,
        change_id: Option<ChangeId>,
    ) -> Result<Message, ApiError> {
        self.call(Method::PUT, &pin_path(channel, id, change_id), None).await
    }

    /// `DELETE /channels/{channel_id}/pins/{id}`, as [`Api::pin`].
    pub async fn unpin(
        &self,
        channel: &ChannelId,
        id: MessageId,
        change_id: Option<ChangeId>,
    ) -> Result<Message, ApiError> {
        self.call(Method::DELETE, &pin_path(channel, id, change_id), None).await
    }

    /// `GET /channels/{channel_id}/pins`, one page: pinned messages, the newest first.
    pub async fn pins(
        &self,
        channel: &ChannelId,
        offset: Option<MessageId>,
    ) -> Result<Page, ApiError> {
        let path = with_offset(format!("/channels/{channel}/pins?limit=100"), offset);
        self.typed(Method::GET, &path, None, Page::read).await
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
        let read = |body: MarksBody| body.marks.into_iter().map(Marked::read).collect();
        self.typed(Method::POST, "/read", Some(&client::mark_read(marks)), read).await
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
        channel: &ChannelId,
        offset: Option<MessageId>,
        limit: u32,
        direction: Direction,
    ) -> Result<Page, ApiError> {
        let direction = direction.as_str();
        let path = format!("/scroll?channel_id={channel}&limit={limit}&direction={direction}");
        self.typed(Method::GET, &with_offset(path, offset), None, Page::read).await
    }

    /// `GET /scroll` newer, oldest first: up to `limit` messages beyond `offset`, without the
    /// `known` ones. A server that does not support the parameter returns those too.
    pub async fn scroll_newer(
        &self,
        channel: &ChannelId,
        offset: MessageId,
        limit: u32,
        known: Option<&KnownMessages>,
    ) -> Result<Page, ApiError> {
        let known = known.map_or_else(String::new, |known| format!("&known={known}"));
        let path = format!("/scroll?channel_id={channel}&limit={limit}&direction=newer{known}");
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

    /// `GET /connect`. `failed` is the node that could not be reached or was lost.
    pub async fn connect(&self, failed: Option<&NodeId>) -> Result<Assignment, ApiError> {
        let path = failed.map_or("/connect".to_owned(), |node| format!("/connect?failed={node}"));
        self.typed(Method::GET, &path, None, Assignment::read).await
    }

    /// `POST /dev/token`: local environments only.
    pub async fn dev_token(&self, user: &DevUser) -> Result<Token, ApiError> {
        let role = user.role.as_deref();
        let body = client::dev_token(&user.workspace_id, &user.user_id, role, user.ttl_s);
        let answer: TokenBody = self.attempt(Method::POST, "/dev/token", None, Some(&body)).await?;
        Ok(Token::new(answer.token))
    }

    /// `POST /dev/nodes/{node_id}/kill`: local environments only.
    pub async fn kill_node(&self, node: &NodeId) -> Result<(), ApiError> {
        let path = format!("/dev/nodes/{node}/kill");
        self.attempt::<Value>(Method::POST, &path, None, None).await.map(drop)
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

    async fn typed<B: DeserializeOwned, T>(
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

fn message_path(channel: &ChannelId, id: MessageId) -> String {
    format!("/channels/{channel}/messages/{id}")
}

fn reaction_path(
    channel: &ChannelId,
    id: MessageId,
    emoji: &Emoji,
    change_id: Option<ChangeId>,
) -> String {
    let emoji = utf8_percent_encode(emoji.as_str(), NON_ALPHANUMERIC);
    with_change_id(format!("{}/reactions/{emoji}", message_path(channel, id)), change_id)
}

fn pin_path(channel: &ChannelId, id: MessageId, change_id: Option<ChangeId>) -> String {
    with_change_id(format!("/channels/{channel}/pins/{id}"), change_id)
}

fn with_change_id(path: String, change_id: Option<ChangeId>) -> String {
    match change_id {
        Some(change_id) => format!("{path}?change_id={change_id}"),
        None => path,
    }
}

/// Identifiers need no escaping: their characters are all unreserved (RFC 3986 2.3).
fn with_offset(path: String, offset: Option<impl std::fmt::Display>) -> String {
    match offset {
        Some(offset) => format!("{path}&offset={offset}"),
        None => path,
    }
}
