//! The ports: narrow traits for everything that the engine needs from outside.
//!
//! Adapters: `dynamo` (store), `redis-bus` (bus, sessions, spool, node directory, book of
//! presence), `memory` (all, in process),
//! `service` (clock, randomness), `auth` (tokens, tickets). One conformance suite per port runs on each.

mod attachments;
mod bus;
mod clock;
mod devices;
mod directory;
mod health_check;
mod identity;
mod members;
mod mentions;
mod pins;
mod presence;
mod profiles;
mod randomness;
mod reaction;
mod read_marks;
mod receipts;
mod relay_bus;
mod revision;
mod sessions;
mod spool;
mod store;
mod threads;

pub use attachments::{
    AttachmentStore, Claimed, FileStore, FileStoreError, SignedUpload, StoredAttachment,
};
pub use bus::{BusError, Entry, EventBus, Notice, Published, Subscription, SubscriptionSender};
pub use clock::Clock;
pub use devices::DeviceStore;
pub use directory::{DirectoryError, FleetNode, Lease, NodeDirectory, Report};
pub use health_check::{Finding, HealthCheck, Issue, Scope};
pub use identity::{Principal, Ticket, TicketError, Tickets, TokenError, TokenVerifier};
pub use members::{Joined, MemberStore, NamePage, RevocationStore};
pub use mentions::{Mention, MentionStore};
pub use pins::{PinPage, PinStore, StoredPin};
pub use presence::{Announcement, NodePresence, PresenceBook};
pub use profiles::{ProfileStore, ProfileWrite};
pub use randomness::Randomness;
pub use reaction::{Acted, Folded, ReactionPage, StoredReaction};
pub use read_marks::{ChannelMark, MarkChange, Marked, ReadMarkStore};
pub use receipts::{ReceiptBook, ReceiptMarks};
pub use relay_bus::{BatchResult, RelayBus, Replication, Routed};
pub use revision::{Change, ChangePage, LoggedChange, Revised, Revision};
pub use sessions::{Seal, Sealed, Sessions};
pub use spool::{Held, Offered, Spool, SpoolEntry};
pub use store::{
    Appended, ChannelStore, Creation, LogEntry, LogPage, Marking, MessageStore, PageQuery,
    ReadError, Redirect, Standing, StoredMessage, WriteError,
};
pub use threads::{CountedReplies, Follow, ThreadMarked, ThreadStore, UserThread};

/// All ports of the tables, for what one store serves.
pub trait Store:
    MessageStore
    + AttachmentStore
    + ChannelStore
    + MemberStore
    + MentionStore
    + PinStore
    + ReadMarkStore
    + RevocationStore
    + ProfileStore
    + ThreadStore
    + DeviceStore
{
}

impl<S> Store for S where
    S: MessageStore
        + AttachmentStore
        + ChannelStore
        + MemberStore
        + MentionStore
        + PinStore
        + ReadMarkStore
        + RevocationStore
        + ProfileStore
        + ThreadStore
        + DeviceStore
{
}

/// The underlying error of the store or the bus. It goes to the log, never to a caller.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;
