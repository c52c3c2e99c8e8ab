//! Routes: which call a request makes. One table for the functions, the gateway and the IaC.

use http::Method;
use model::ErrorCode;
use percent_encoding::percent_decode_str;

use crate::problem::Problem;

mod files;

pub use files::FilesRoute;

/// The function that serves a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `POST /messages`.
    Send,
    /// Pages of messages, and unread counts.
    Scroll,
    /// Channels, members, users.
    Membership,
    /// `GET /connect`.
    Connect,
    /// One message: reading, editing, deleting. Read marks.
    Amend,
    /// Files: their uploads and downloads.
    Files,
}

/// A call, by the function that serves it. Path segments are percent-decoded but not parsed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /messages`
    PostMessage,
    /// Reads of many messages.
    Scroll(ScrollRoute),
    /// Channels, members, users.
    Membership(MembershipRoute),
    /// Changes in place.
    Amend(AmendRoute),
    /// Uploads and downloads.
    Files(FilesRoute),
    /// `GET /connect`
    Connect,
}

/// A call that reads many messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScrollRoute {
    /// `GET /scroll`
    Page,
    /// `GET /unread`
    ListUnread,
    /// `GET /mentions`
    ListMentions,
    /// `GET /threads`
    ListThreads,
}

/// A call about channels, their members, or users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipRoute {
    /// `POST /channels`
    CreateChannel,
    /// `GET /channels`
    ListChannels,
    /// `GET /channels/{channel_id}`
    ReadChannel {
        /// As in the path, percent-decoded.
        channel_id: String,
    },
    /// `PATCH /channels/{channel_id}`
    ChangeChannel {
        /// As in the path, percent-decoded.
        channel_id: String,
    },
    /// `DELETE /channels/{channel_id}`
    EndMeeting {
        /// As in the path, percent-decoded.
        channel_id: String,
    },
    /// `GET /channels/{channel_id}/members`
    ListMembers {
        /// As in the path, percent-decoded.
        channel_id: String,
    },
    /// `POST /channels/{channel_id}/members`
    AddMembers {
        /// As in the path, percent-decoded.
        channel_id: String,
    },
    /// `PUT /channels/{channel_id}/members/{user_id}`
    AddMember {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        user_id: String,
    },
    /// `DELETE /channels/{channel_id}/members/{user_id}`
    RemoveMember {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        user_id: String,
    },
    /// `GET /users`
    ListProfiles,
    /// `GET /users/{user_id}`
    ReadProfile {
        /// As in the path, percent-decoded.
        user_id: String,
    },
    /// `PUT /users/{user_id}`
    ChangeProfile {
        /// As in the path, percent-decoded.
        user_id: String,
    },
    /// `DELETE /users/{user_id}`
    RevokeUser {
        /// As in the path, percent-decoded.
        user_id: String,
    },
}

/// A call on one message, a channel's pins, or what the caller follows and has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmendRoute {
    /// `GET /channels/{channel_id}/messages/{id}`
    ReadMessage {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        id: String,
    },
    /// `PATCH /channels/{channel_id}/messages/{id}`
    EditMessage {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        id: String,
    },
    /// `DELETE /channels/{channel_id}/messages/{id}`
    DeleteMessage {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        id: String,
    },
    /// `GET /channels/{channel_id}/messages/{id}/reactions`
    ListReactions {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        id: String,
    },
    /// `PUT /channels/{channel_id}/messages/{id}/reactions/{emoji}`
    React {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        id: String,
        /// As in the path, percent-decoded.
        emoji: String,
    },
    /// `DELETE /channels/{channel_id}/messages/{id}/reactions/{emoji}`
    Unreact {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        id: String,
        /// As in the path, percent-decoded.
        emoji: String,
    },
    /// `GET /channels/{channel_id}/pins`
    ListPins {
        /// As in the path, percent-decoded.
        channel_id: String,
    },
    /// `PUT /channels/{channel_id}/pins/{id}`
    Pin {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        id: String,
    },
    /// `DELETE /channels/{channel_id}/pins/{id}`
    Unpin {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        id: String,
    },
    /// `PUT /channels/{channel_id}/threads/{root}/follow`
    Follow {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        root: String,
    },
    /// `DELETE /channels/{channel_id}/threads/{root}/follow`
    Unfollow {
        /// As in the path, percent-decoded.
        channel_id: String,
        /// As in the path, percent-decoded.
        root: String,
    },
    /// `POST /read`
    MarkRead,
    /// `POST /channels/{channel_id}/unread`
    MarkUnread {
        /// As in the path, percent-decoded.
        channel_id: String,
    },
    /// `GET /channels/{channel_id}/receipts`.
    ReadReceipts {
        /// The channel's id in the path, unchecked.
        channel_id: String,
    },
}

impl Route {
    /// The function that serves it.
    #[must_use]
    pub const fn function(&self) -> Function {
        match self {
            Self::PostMessage => Function::Send,
            Self::Scroll(_) => Function::Scroll,
            Self::Membership(_) => Function::Membership,
            Self::Amend(_) => Function::Amend,
            Self::Files(_) => Function::Files,
            Self::Connect => Function::Connect,
        }
    }

    /// Its path with placeholders for ids: a label whose values callers cannot choose.
    #[must_use]
    pub const fn template(&self) -> &'static str {
        match self {
            Self::PostMessage => "/messages",
            Self::Scroll(route) => route.template(),
            Self::Membership(route) => route.template(),
            Self::Amend(route) => route.template(),
            Self::Files(route) => route.template(),
            Self::Connect => "/connect",
        }
    }
}

impl ScrollRoute {
    const fn template(&self) -> &'static str {
        match self {
            Self::Page => "/scroll",
            Self::ListUnread => "/unread",
            Self::ListMentions => "/mentions",
            Self::ListThreads => "/threads",
        }
    }
}

impl MembershipRoute {
    const fn template(&self) -> &'static str {
        match self {
            Self::CreateChannel | Self::ListChannels => "/channels",
            Self::ReadChannel { .. } | Self::ChangeChannel { .. } | Self::EndMeeting { .. } => {
                "/channels/{channel_id}"
            }
            Self::ListMembers { .. } | Self::AddMembers { .. } => "/channels/{channel_id}/members",
            Self::AddMember { .. } | Self::RemoveMember { .. } => {
                "/channels/{channel_id}/members/{user_id}"
            }
            Self::ListProfiles => "/users",
            Self::ReadProfile { .. } | Self::ChangeProfile { .. } | Self::RevokeUser { .. } => {
                "/users/{user_id}"
            }
        }
    }
}

impl AmendRoute {
    const fn template(&self) -> &'static str {
        match self {
            Self::ReadMessage { .. } | Self::EditMessage { .. } | Self::DeleteMessage { .. } => {
                "/channels/{channel_id}/messages/{id}"
            }
            Self::ListReactions { .. } => "/channels/{channel_id}/messages/{id}/reactions",
            Self::React { .. } | Self::Unreact { .. } => {
                "/channels/{channel_id}/messages/{id}/reactions/{emoji}"
            }
            Self::ListPins { .. } => "/channels/{channel_id}/pins",
            Self::Pin { .. } | Self::Unpin { .. } => "/channels/{channel_id}/pins/{id}",
            Self::Follow { .. } | Self::Unfollow { .. } => {
                "/channels/{channel_id}/threads/{root}/follow"
            }
            Self::MarkRead => "/read",
            Self::MarkUnread { .. } => "/channels/{channel_id}/unread",
            Self::ReadReceipts { .. } => "/channels/{channel_id}/receipts",
        }
    }
}

/// Finds the call for a method and a path (without its query).
///
/// # Errors
/// `not_found`, or `method_not_allowed` with the methods that the path accepts.
pub fn resolve(method: &Method, path: &str) -> Result<Route, Problem> {
    let segments: Option<Vec<String>> =
        path.strip_prefix('/').map(|rest| rest.split('/').map(decode_segment).collect());
    let segments = segments.unwrap_or_default();
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |text: &str| text.to_owned();
    let is = |wanted: &Method| method == wanted;
    match names.as_slice() {
        ["messages"] if is(&Method::POST) => Ok(Route::PostMessage),
        ["read"] if is(&Method::POST) => Ok(Route::Amend(AmendRoute::MarkRead)),
        ["messages" | "read"] => Err(not_allowed("POST")),
        ["scroll"] if is(&Method::GET) => Ok(Route::Scroll(ScrollRoute::Page)),
        ["connect"] if is(&Method::GET) => Ok(Route::Connect),
        ["unread"] if is(&Method::GET) => Ok(Route::Scroll(ScrollRoute::ListUnread)),
        ["mentions"] if is(&Method::GET) => Ok(Route::Scroll(ScrollRoute::ListMentions)),
        ["threads"] if is(&Method::GET) => Ok(Route::Scroll(ScrollRoute::ListThreads)),
        ["scroll" | "connect" | "unread" | "mentions" | "threads"] => Err(not_allowed("GET")),
        ["channels"] if is(&Method::POST) => Ok(Route::Membership(MembershipRoute::CreateChannel)),
        ["channels"] if is(&Method::GET) => Ok(Route::Membership(MembershipRoute::ListChannels)),
        ["channels"] => Err(not_allowed("GET, POST")),
        ["channels", ""] => Err(ErrorCode::NotFound.into()),
        ["channels", id] if is(&Method::GET) => {
            Ok(Route::Membership(MembershipRoute::ReadChannel { channel_id: own(id) }))
        }
        ["channels", id] if is(&Method::PATCH) => {
            Ok(Route::Membership(MembershipRoute::ChangeChannel { channel_id: own(id) }))
        }
        ["channels", id] if is(&Method::DELETE) => {
            Ok(Route::Membership(MembershipRoute::EndMeeting { channel_id: own(id) }))
        }
        ["channels", _] => Err(not_allowed("GET, PATCH, DELETE")),
        ["channels", id, "unread"] if is(&Method::POST) => {
            Ok(Route::Amend(AmendRoute::MarkUnread { channel_id: own(id) }))
        }
        ["channels", _, "unread"] => Err(not_allowed("POST")),
        ["channels", id, "receipts"] if is(&Method::GET) => {
            Ok(Route::Amend(AmendRoute::ReadReceipts { channel_id: own(id) }))
        }
        ["channels", _, "receipts"] => Err(not_allowed("GET")),
        ["channels", id, "members"] if is(&Method::GET) => {
            Ok(Route::Membership(MembershipRoute::ListMembers { channel_id: own(id) }))
        }
        ["channels", id, "members"] if is(&Method::POST) => {
            Ok(Route::Membership(MembershipRoute::AddMembers { channel_id: own(id) }))
        }
        ["channels", _, "members"] => Err(not_allowed("GET, POST")),
        ["channels", _, "members", ""] => Err(ErrorCode::NotFound.into()),
        ["channels", id, "members", user] if is(&Method::PUT) => {
            Ok(Route::Membership(MembershipRoute::AddMember {
                channel_id: own(id),
                user_id: own(user),
            }))
        }
        ["channels", id, "members", user] if is(&Method::DELETE) => {
            Ok(Route::Membership(MembershipRoute::RemoveMember {
                channel_id: own(id),
                user_id: own(user),
            }))
        }
        ["channels", _, "members", _] => Err(not_allowed("PUT, DELETE")),
        ["channels", channel, "messages", of_message @ ..] => {
            message_route(method, channel, of_message)
        }
        ["channels", channel, "pins", of_pins @ ..] => pin_route(method, channel, of_pins),
        ["channels", channel, "threads", of_threads @ ..] => {
            thread_route(method, channel, of_threads)
        }
        ["attachments", of_files @ ..] => files::resolve(method, of_files),
        ["users", of_user @ ..] => user_route(method, of_user),
        _ => Err(ErrorCode::NotFound.into()),
    }
}

/// The route of a path below a channel's messages.
fn message_route(method: &Method, channel: &str, path: &[&str]) -> Result<Route, Problem> {
    let own = |text: &str| text.to_owned();
    match path {
        [""] | [_, "reactions", ""] => Err(ErrorCode::NotFound.into()),
        [id] => {
            let (channel_id, id) = (own(channel), own(id));
            match *method {
                Method::GET => Ok(Route::Amend(AmendRoute::ReadMessage { channel_id, id })),
                Method::PATCH => Ok(Route::Amend(AmendRoute::EditMessage { channel_id, id })),
                Method::DELETE => Ok(Route::Amend(AmendRoute::DeleteMessage { channel_id, id })),
                _ => Err(not_allowed("GET, PATCH, DELETE")),
            }
        }
        [id, "reactions"] if *method == Method::GET => {
            Ok(Route::Amend(AmendRoute::ListReactions { channel_id: own(channel), id: own(id) }))
        }
        [_, "reactions"] => Err(not_allowed("GET")),
        [id, "reactions", emoji] => {
            let (channel_id, id, emoji) = (own(channel), own(id), own(emoji));
            match *method {
                Method::PUT => Ok(Route::Amend(AmendRoute::React { channel_id, id, emoji })),
                Method::DELETE => Ok(Route::Amend(AmendRoute::Unreact { channel_id, id, emoji })),
                _ => Err(not_allowed("PUT, DELETE")),
            }
        }
        _ => Err(ErrorCode::NotFound.into()),
    }
}

/// The route of a path below a channel's pins.
fn pin_route(method: &Method, channel: &str, path: &[&str]) -> Result<Route, Problem> {
    let own = |text: &str| text.to_owned();
    let channel_id = own(channel);
    match path {
        [] if *method == Method::GET => Ok(Route::Amend(AmendRoute::ListPins { channel_id })),
        [] => Err(not_allowed("GET")),
        [""] => Err(ErrorCode::NotFound.into()),
        [id] => {
            let id = own(id);
            match *method {
                Method::PUT => Ok(Route::Amend(AmendRoute::Pin { channel_id, id })),
                Method::DELETE => Ok(Route::Amend(AmendRoute::Unpin { channel_id, id })),
                _ => Err(not_allowed("PUT, DELETE")),
            }
        }
        _ => Err(ErrorCode::NotFound.into()),
    }
}

/// The route of a path below users.
fn user_route(method: &Method, path: &[&str]) -> Result<Route, Problem> {
    match path {
        [] if *method == Method::GET => Ok(Route::Membership(MembershipRoute::ListProfiles)),
        [] => Err(not_allowed("GET")),
        [user] if !user.is_empty() => {
            let user_id = (*user).to_owned();
            match *method {
                Method::GET => Ok(Route::Membership(MembershipRoute::ReadProfile { user_id })),
                Method::PUT => Ok(Route::Membership(MembershipRoute::ChangeProfile { user_id })),
                Method::DELETE => Ok(Route::Membership(MembershipRoute::RevokeUser { user_id })),
                _ => Err(not_allowed("GET, PUT, DELETE")),
            }
        }
        _ => Err(ErrorCode::NotFound.into()),
    }
}

/// The route of a path below a channel's threads.
fn thread_route(method: &Method, channel: &str, path: &[&str]) -> Result<Route, Problem> {
    match path {
        [root, "follow"] if !root.is_empty() => {
            let (channel_id, root) = (channel.to_owned(), (*root).to_owned());
            match *method {
                Method::PUT => Ok(Route::Amend(AmendRoute::Follow { channel_id, root })),
                Method::DELETE => Ok(Route::Amend(AmendRoute::Unfollow { channel_id, root })),
                _ => Err(not_allowed("PUT, DELETE")),
            }
        }
        _ => Err(ErrorCode::NotFound.into()),
    }
}

fn not_allowed(allow: &'static str) -> Problem {
    Problem { allow: Some(allow), ..ErrorCode::MethodNotAllowed.into() }
}

/// Bad escapes and bad UTF-8 become characters that no identifier has.
fn decode_segment(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(method: &Method, path: &str) -> Option<(ErrorCode, Option<&'static str>)> {
        resolve(method, path).err().map(|problem| (problem.code, problem.allow))
    }

    #[test]
    fn routes_are_found() {
        assert_eq!(resolve(&Method::POST, "/messages"), Ok(Route::PostMessage));
        assert_eq!(
            resolve(&Method::PUT, "/channels/C%31/members/a%20b"),
            Ok(Route::Membership(MembershipRoute::AddMember {
                channel_id: "C1".into(),
                user_id: "a b".into()
            }))
        );
    }

    #[test]
    fn unknown_paths_are_not_found_whatever_the_method() {
        for path in [
            "",
            "/",
            "/x",
            "/messages/",
            "/Messages",
            "//messages",
            "/channels/",
            "/channels/a/b",
            "/channels/a/members/b/c",
            "/users/",
            "/users/a/b",
            "/attachments/",
            "/attachments/a/b",
            "/connect/x",
            "/read/x",
            "/unread/x",
            "/mentions/x",
            "/threads/x",
            "/channels/a/threads",
            "/channels/a/threads/b",
            "/channels/a/threads//follow",
            "/channels/a/threads/b/follow/c",
            "/channels/a/pins/",
            "/channels/a/pins/b/c",
            "/channels/a/unread/b",
        ] {
            for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
                assert_eq!(
                    code(&method, path),
                    Some((ErrorCode::NotFound, None)),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn wrong_methods_name_the_right_ones() {
        for (path, allow) in [
            ("/messages", "POST"),
            ("/scroll", "GET"),
            ("/read", "POST"),
            ("/unread", "GET"),
            ("/mentions", "GET"),
            ("/threads", "GET"),
            ("/channels/a/threads/b/follow", "PUT, DELETE"),
            ("/channels/a/pins", "GET"),
            ("/channels/a/pins/b", "PUT, DELETE"),
            ("/channels/a/unread", "POST"),
            ("/channels/a/receipts", "GET"),
            ("/connect", "GET"),
            ("/channels", "GET, POST"),
            ("/channels/a", "GET, PATCH, DELETE"),
            ("/channels/a/members", "GET, POST"),
            ("/channels/a/members/b", "PUT, DELETE"),
            ("/channels/a/messages/b", "GET, PATCH, DELETE"),
            ("/channels/a/messages/b/reactions", "GET"),
            ("/channels/a/messages/b/reactions/c", "PUT, DELETE"),
            ("/users", "GET"),
            ("/attachments", "POST"),
            ("/attachments/a", "GET"),
            ("/users/a", "GET, PUT, DELETE"),
        ] {
            let found = code(&Method::TRACE, path);
            assert_eq!(found, Some((ErrorCode::MethodNotAllowed, Some(allow))), "{path}");
        }
    }
}
