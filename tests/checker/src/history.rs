//! What a run did and saw, as one sequence of events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    ChangeId, ChannelId, Emoji, LogId, MessageId, ReadMark, Replies, Rev, TextDigest, UnreadCount,
    UserId,
};

use crate::delivering::Delivering;
use crate::lasting::Lasting;
use crate::meetings::Meeting;
use crate::presence::Viewed;

/// One logical send: all attempts under one client-made id, or one attempt without an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// One client: an inbox, which may use many sockets in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// How an attempt to send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// Answered 200 with this id.
    Stored(MessageId),
    /// Refused: this attempt stored nothing.
    NotStored,
    /// No answer, or one that leaves the outcome open.
    Unknown,
}

/// A change of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A user becomes a member.
    Add,
    /// A user stops being one.
    Remove,
}

/// An event. Events are recorded in the order of real time: a start before the call is made, an end
/// after its answer arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An attempt to send begins.
    SendStarted {
        /// Which.
        send: SendId,
        /// The log.
        log: LogId,
        /// Its sender.
        sender: UserId,
        /// Its text.
        text: TextDigest,
        /// The newest message that the sender had seen. The stored id must be greater.
        after: Option<MessageId>,
    },
    /// An attempt to send ended.
    SendEnded {
        /// Which.
        send: SendId,
        /// Its outcome.
        outcome: SendOutcome,
    },
    /// A call that changes a membership begins. A channel's creation counts as one for each member.
    ChangeStarted {
        /// The channel.
        channel: ChannelId,
        /// The user.
        user: UserId,
        /// The change.
        change: Change,
    },
    /// That call was answered with 2xx. Other ends are not recorded: the change may have happened.
    ChangeReturned {
        /// The channel.
        channel: ChannelId,
        /// The user.
        user: UserId,
        /// The change.
        change: Change,
    },
    /// A user edits a message, with one call or more.
    Edits {
        /// The log.
        log: LogId,
        /// The message.
        id: MessageId,
        /// The edit's id: the greatest one of a message wins.
        change_id: ChangeId,
        /// The new text.
        text: TextDigest,
    },
    /// An edit or a deletion of a message was answered with 2xx.
    Revised {
        /// The log.
        log: LogId,
        /// The message.
        id: MessageId,
        /// The revision in the answer.
        rev: Rev,
        /// The edit; `None` for a deletion.
        change_id: Option<ChangeId>,
    },
    /// A user makes or withdraws a reaction, with one call or more.
    Reacts {
        /// The log.
        log: LogId,
        /// The message.
        id: MessageId,
        /// The user.
        user: UserId,
        /// The emoji.
        emoji: Emoji,
        /// The act's id: the greatest one of a user, message and emoji wins.
        change_id: ChangeId,
        /// Whether the reaction is made.
        is_made: bool,
    },
    /// A user pins or unpins a message, with one call or more.
    Pins {
        /// The log.
        log: LogId,
        /// The message.
        id: MessageId,
        /// The act's id: the greatest one of a message wins.
        change_id: ChangeId,
        /// Whether the message is pinned.
        is_made: bool,
    },
    /// A call of that act was answered with 2xx.
    Acted {
        /// The act.
        change_id: ChangeId,
    },
    /// A user's read mark was answered with 2xx: the mark that the answer says.
    Marked {
        /// The user.
        user: UserId,
        /// The channel.
        channel: ChannelId,
        /// The mark.
        mark: ReadMark,
    },
    /// A client starts. What it sees from now on is judged.
    Starts {
        /// Which.
        client: ClientId,
        /// Whose.
        user: UserId,
    },
    /// A client has caught up. From now on it must miss nothing.
    Follows {
        /// Which.
        client: ClientId,
    },
    /// A client ends. Later messages need not reach it.
    Leaves {
        /// Which.
        client: ClientId,
    },
    /// A message reached a client, on any path.
    Seen {
        /// Which client.
        client: ClientId,
        /// The log.
        log: LogId,
        /// Which message.
        id: MessageId,
        /// Its revision.
        rev: Rev,
        /// Whether the client shows this revision for the first time.
        fresh: bool,
    },
    /// A client starts a channel afresh: its messages count as new again.
    Restarts {
        /// Which.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
    },
    /// A client could not be resumed: it got `resync`, or `resumed:false` to its cursor.
    Resynced {
        /// Which.
        client: ClientId,
    },
    /// Something happens in a channel that keeps nothing.
    Meeting(Meeting),
    /// Something happens in a channel that delivers first.
    Delivering(Delivering),
    /// A fault begins.
    FaultBegan {
        /// What is broken, and how.
        kind: String,
    },
    /// A fault ended. That part works again.
    FaultEnded {
        /// The kind with which it began.
        kind: String,
    },
}

/// A message as the store holds it at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// Its log: a channel's main log, or a thread.
    pub log: LogId,
    /// Its id.
    pub id: MessageId,
    /// Its sender.
    pub sender: UserId,
    /// Its text, as it was sent.
    pub text: TextDigest,
    /// Its revision.
    pub rev: Rev,
    /// Its text now.
    pub present: TextDigest,
    /// Whether it was deleted.
    pub is_deleted: bool,
    /// How many reactions its summary says that it has.
    pub reactions: BTreeMap<Emoji, u64>,
    /// Whether it says that it is pinned.
    pub is_pinned: bool,
    /// The replies that its summary says that its thread has.
    pub replies: Option<Replies>,
}

/// What a user is told to be unread in a channel at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The user.
    pub user: UserId,
    /// The channel.
    pub channel: ChannelId,
    /// The user's mark in it.
    pub mark: ReadMark,
    /// How many messages after it are unread.
    pub count: UnreadCount,
}

/// What a client shows of a log at the end, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which client.
    pub client: ClientId,
    /// The log.
    pub log: LogId,
    /// The messages, in the order in which they are shown.
    pub ids: Vec<MessageId>,
    /// The revision of each.
    pub revs: Vec<Rev>,
}

/// A run: its events, each with the time since the start, and the state at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In the order of real time.
    pub events: Vec<(Duration, Event)>,
    /// The messages in the store at the end, without redirects.
    pub stored: Vec<StoredItem>,
    /// What clients show at the end.
    pub shown: Vec<Shown>,
    /// What users are told to be unread at the end, as far as they were asked.
    pub unread: Vec<Unread>,
    /// What clients show of users at the end.
    pub viewed: Vec<Viewed>,
    /// What is left at the end.
    pub lasting: Lasting,
    /// Messages that Redis lost while they waited to be stored.
    pub lost: BTreeSet<MessageId>,
}

impl History {
    /// Records an event.
    pub fn record(&mut self, at: Duration, event: Event) {
        self.events.push((at, event));
    }

    /// One line per event. Two simulated runs of one seed must have equal traces.
    #[must_use]
    pub fn trace(&self) -> String {
        let line = |(at, event): &(Duration, Event)| format!("{:>12} {event:?}\n", at.as_micros());
        self.events.iter().map(line).collect()
    }
}
