//! The public list of errors that a call may return. Stable: clients branch on these.

/// Whether and how a client may retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// The same request, with the same id, after a wait.
    AfterBackoff,
    /// The same request with a fresh token.
    WithFreshToken,
}

macro_rules! error_codes {
    ($($variant:ident = $name:literal, $status:literal, $retry:ident, $title:literal;)*) => {
        /// An error, as clients see it. Each has one HTTP status, retry class, title and name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $title] $variant,)*
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire, and the metric label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Whether and how a client may retry.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* }
            }

            /// A short sentence for people; the same for every occurrence (RFC 9457, 3.1.3).
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

error_codes! {
    BadJson = "bad_json", 400, Never, "The body is not the JSON that this call takes";
    InvalidField = "invalid_field", 400, Never, "A field is missing, unknown or malformed";
    EmptyMessage = "empty_message", 400, Never, "The message is empty";
    InvalidId = "invalid_id", 400, Never, "An id is not a ULID";
    InvalidOffset = "invalid_offset", 400, Never, "The offset is malformed";
    InvalidLimit = "invalid_limit", 400, Never, "The limit is not a number from 1 to 100";
    InvalidDirection = "invalid_direction", 400, Never, "The direction is neither older nor newer";
    Unauthenticated = "unauthenticated", 401, Never, "The call has no bearer token";
    InvalidToken = "invalid_token", 401, Never, "The token is not valid";
    TokenExpired = "token_expired", 401, WithFreshToken, "The token has expired";
    Forbidden = "forbidden", 403, Never, "The caller may not do this";
    NotFound = "not_found", 404, Never, "There is no such route";
    ChannelNotFound = "channel_not_found", 404, Never, "There is no such channel for the caller";
    MessageNotFound = "message_not_found", 404, Never, "The channel has no such message";
    AttachmentNotFound = "attachment_not_found", 404, Never, "The channel has no such file";
    UserNotFound = "user_not_found", 404, Never, "There is no such user";
    MethodNotAllowed = "method_not_allowed", 405, Never, "The route does not take this method";
    IdConflict = "id_conflict", 409, Never, "The id was used for another message";
    MessageDeleted = "message_deleted", 409, Never, "The message was deleted";
    RevisionConflict = "revision_conflict", 409, Never, "The message has another revision";
    TooManyReactions = "too_many_reactions", 409, Never, "The message has too many reactions";
    TooManyPins = "too_many_pins", 409, Never, "The channel has too many pins";
    DmImmutable = "dm_immutable", 409, Never, "A DM and its members never change";
    WrongContract = "wrong_contract", 409, Never, "The channel's contract does not have this";
    NotKept = "not_kept", 409, Never, "The channel keeps no messages";
    Ended = "ended", 409, Never, "The meeting is over";
    ChannelArchived = "channel_archived", 409, Never, "The channel is archived";
    TooLarge = "too_large", 413, Never, "The body is too large";
    MessageTooLong = "message_too_long", 413, Never, "The message is too long";
    UnsupportedMediaType = "unsupported_media_type", 415, Never, "The body is not application/json";
    IdOutOfRange = "id_out_of_range", 422, Never, "The time in the id is too far from the server's";
    ChannelBusy = "channel_busy", 429, AfterBackoff, "The channel takes too many writes right now";
    RateLimited = "rate_limited", 429, AfterBackoff, "The caller makes too many calls";
    Unavailable = "unavailable", 503, AfterBackoff, "The store does not answer; try again";
    NoCapacity = "no_capacity", 503, AfterBackoff, "No node can take a connection right now";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table_is_total_and_its_names_are_unique() {
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert_eq!(code.retry() == Retry::AfterBackoff, matches!(code.status(), 429 | 503));
        }
    }
}
