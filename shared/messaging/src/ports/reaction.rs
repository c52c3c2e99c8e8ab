//! Reactions as rows of their own, one for each message, user and emoji: the truth from which a
//! message's summary is counted.

use model::{ChangeId, Emoji, Timestamp, UserId};

/// What a user last did with an emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReaction {
    /// The user.
    pub user_id: UserId,
    /// The emoji.
    pub emoji: Emoji,
    /// The id of this act. The greatest one wins.
    pub change_id: ChangeId,
    /// When the store may forget that the reaction was withdrawn; `None` while it stands.
    pub withdrawn: Option<Timestamp>,
    /// The version of the channel's membership that the act read (G6).
    pub members_version: u64,
}

/// The result of storing what a user did: of several acts on one thing, the one with the greatest id
/// wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acted {
    /// It is stored.
    Stored,
    /// This act or a later one was stored before.
    Superseded,
}

/// Rows of a message's reactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactionPage {
    /// Withdrawn ones included; in the order of their users, then of their emoji, byte by byte.
    pub rows: Vec<StoredReaction>,
    /// Whether more may follow; then reading goes on after the last row.
    pub more: bool,
}

/// Which rows a message's summary was counted from, and when. Two folds that read different rows
/// have different digests, even if their summaries look equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folded {
    /// The first bytes of a digest over all rows.
    pub digest: [u8; 8],
    /// How many rows there were, withdrawn reactions included.
    pub rows: u32,
    /// When they were counted.
    pub at: Timestamp,
}
