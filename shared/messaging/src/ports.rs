//! The ports: narrow traits for everything that the engine needs from outside.
//!
//! Adapters: `dynamo` (store), `redis-bus` (bus, node directory), `memory` (all, in process),
//! `runtime` (clock, randomness, tokens, tickets). One conformance suite per port runs on each.

mod bus;
mod chance;
mod checkup;
mod directory;
mod identity;
mod replay;
mod store;

pub use bus::{BusError, Entry, EventBus, Notice, Published, Subscription, SubscriptionSender};
pub use chance::{Clock, Randomness};
pub use checkup::{Checkup, Depth, Finding, Trouble};
pub use directory::{DirectoryError, FleetNode, Lease, NodeDirectory, Report};
pub use identity::{Principal, Ticket, TicketError, Tickets, TokenError, TokenVerifier};
pub use replay::{Addressed, Replay, Replayed, Replication};
pub use store::{
    Appended, ChannelStore, Creation, LogEntry, LogPage, Marking, MemberStore, MessageStore,
    NamePage, PageQuery, ReadError, Redirect, RevocationStore, Standing, StoredMessage, WriteError,
};

/// The underlying error of the store or the bus. It goes to the log, never to a caller.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;
