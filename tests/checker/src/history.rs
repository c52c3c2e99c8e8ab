//! What a run did and saw, as one sequence.

use std::time::Duration;

use model::{ChannelId, MessageId, TextDigest, UserId};

/// One logical send: all attempts with one client-made id, or one attempt without an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// One client: an inbox that outlives its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// How an attempt to send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// Answered 200 with this id.
    Stored(MessageId),
    /// Refused for good: nothing was stored by this attempt.
    NotStored,
    /// No answer, or one that does not tell.
    Unknown,
}

/// What happens to a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A user becomes a member.
    Add,
    /// A user stops being one.
    Remove,
}

/// One thing that happened. The order of recording is the order of real time: a start is recorded
/// before the call is made, an end after its answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An attempt to send begins.
    SendStarted {
        /// Which.
        send: SendId,
        /// To where.
        channel: ChannelId,
        /// By whom.
        sender: UserId,
        /// What it says.
        text: TextDigest,
        /// What the sender had seen: the stored id must be greater.
        after: Option<MessageId>,
    },
    /// An attempt to send ended.
    SendEnded {
        /// Which.
        send: SendId,
        /// How.
        outcome: SendOutcome,
    },
    /// A call that changes a membership begins; a channel's creation counts for each member.
    ChangeStarted {
        /// Where.
        channel: ChannelId,
        /// Whose.
        user: UserId,
        /// Which way.
        change: Change,
    },
    /// That call was answered 2xx. Any other end is not recorded: it may have happened.
    ChangeReturned {
        /// Where.
        channel: ChannelId,
        /// Whose.
        user: UserId,
        /// Which way.
        change: Change,
    },
    /// A client starts. What it sees from here on is judged.
    Starts {
        /// Which.
        client: ClientId,
        /// Whose.
        user: UserId,
    },
    /// A client has read what was there: from here on it must miss nothing.
    Follows {
        /// Which.
        client: ClientId,
    },
    /// A client is not run any more: what comes later need not reach it.
    Leaves {
        /// Which.
        client: ClientId,
    },
    /// A message reached a client, on whatever path.
    Seen {
        /// Which client.
        client: ClientId,
        /// In which channel.
        channel: ChannelId,
        /// Which message.
        id: MessageId,
        /// Whether the client shows it for the first time.
        fresh: bool,
    },
    /// A client was told that it cannot be resumed: `resync`, or `resumed:false` to a cursor.
    Resynced {
        /// Which.
        client: ClientId,
    },
    /// A fault begins.
    FaultBegan {
        /// What is broken, and how.
        kind: String,
    },
    /// A fault ended: from here on that part works again.
    FaultEnded {
        /// The name under which it began.
        kind: String,
    },
}

/// A message as the store holds it at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// Where.
    pub channel: ChannelId,
    /// Its id.
    pub id: MessageId,
    /// By whom.
    pub sender: UserId,
    /// What it says.
    pub text: TextDigest,
}

/// What a client shows of a channel at the end, in the order in which it shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which client.
    pub client: ClientId,
    /// Where.
    pub channel: ChannelId,
    /// In order.
    pub ids: Vec<MessageId>,
}

/// A run: events in real order, each with its time since the start, and how things stand at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In the order of real time.
    pub events: Vec<(Duration, Event)>,
    /// The store's messages at the end, redirects left out.
    pub stored: Vec<StoredItem>,
    /// The clients' timelines at the end.
    pub shown: Vec<Shown>,
}

impl History {
    /// Records an event.
    pub fn record(&mut self, at: Duration, event: Event) {
        self.events.push((at, event));
    }

    /// One line per event: two runs of one seed are equal here, or the run was not deterministic.
    #[must_use]
    pub fn trace(&self) -> String {
        let line = |(at, event): &(Duration, Event)| format!("{:>12} {event:?}\n", at.as_micros());
        self.events.iter().map(line).collect()
    }
}
